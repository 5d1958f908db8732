// Every fact that the body shows, as text for those who do not see it: a list, and a line that says when a place turns
// from one provenance to another. Both are updated politely, at most every five seconds.

import { setText } from './dom.js';
import { ORGANS, REGIONS } from './regions.js';

const EVERY_MS = 5000;

/** The sentences of a view, [{key, text, provenance}]: regions, organs, skin, posture, air, as the page words them. */
export function factsOf(view) {
  const places = [...REGIONS.map((name) => [name, view.regions?.[name]]), ...ORGANS.map((name) => [name, view.organs?.[name]])];
  return [...places, ['skin', view.skin], ['posture', view.posture], ...Object.entries(view.air ?? {})]
    .filter(([, word]) => word && (word.illustrative || (word.provenance && word.provenance !== 'none')))
    .map(([key, word]) => ({
      key,
      provenance: word.illustrative ? 'illustrative' : word.provenance,
      text: [word, ...(word.others ?? [])].map(sentence).join('; '),
    }));
}

const sentence = (word) => [[word.label, word.text].filter(Boolean).join(' '), word.provenanceText, word.effect].filter(Boolean).join(', ');

export class Facts {
  /** Appends a visually hidden list and a polite status to `root`; `words` has the list's label, `facts`. */
  constructor(root, words) {
    const doc = root.ownerDocument;
    this.node = doc.createElement('div');
    this.node.className = 'eb-facts';
    this.list = doc.createElement('ul');
    this.list.setAttribute('aria-label', words.facts ?? '');
    this.news = doc.createElement('p');
    this.news.setAttribute('aria-live', 'polite');
    this.node.append(this.list, this.news);
    root.append(this.node);
    this.at = -Infinity;
    this.known = new Map();
  }

  /** Whether the last time is long enough ago. `now` in ms. */
  due(now) {
    return now - this.at >= EVERY_MS;
  }

  /** Another list stands for this one while it is hidden: nobody shall hear everything twice, or what is out of date. */
  show(shown) {
    this.node.hidden = !shown;
  }

  /** Writes `view` if it is due. */
  write(view, now) {
    if (!this.due(now)) return;
    const facts = factsOf(view);
    if (!facts.length && !this.known.size) return; // nothing yet: the first facts shall not wait
    this.at = now;
    while (this.list.children.length > facts.length) this.list.lastChild.remove();
    while (this.list.children.length < facts.length) this.list.append(this.list.ownerDocument.createElement('li'));
    facts.forEach(({ text }, i) => setText(this.list.children[i], text));
    const turned = facts.filter(({ key, provenance }) => this.known.size && this.known.get(key) !== provenance);
    if (turned.length) setText(this.news, turned.map(({ text }) => text).join('. '));
    this.known = new Map(facts.map(({ key, provenance }) => [key, provenance]));
  }

  dispose() {
    this.node.remove();
  }
}
