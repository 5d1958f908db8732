// The words around the body: a card for each region with a signal, a smaller one for heart and lungs, a line from each to
// its place, the air's values and a legend. Cards are the list of what can be picked: Tab or the arrow keys walk through
// them, Enter picks, and a ring on the body shows where one is. All texts come from the page; none are made here.

import { writeChips } from './chips.js';
import { setAttribute, setData, setStyle, setText } from './dom.js';
import { arrange, MARGIN } from './layout.js';
import { drawLine, tangents } from './lines.js';
import { FACE, ORGANS, PROVENANCE, REGION_SIDE, REGIONS, unit } from './regions.js';
import { Rings, walk } from './rings.js';

const SVG = 'http://www.w3.org/2000/svg';
const NOTES = {
  heart: { anchor: 'heart', side: 'left' },
  lungs: { anchor: 'lungs', side: 'left' },
};

export class Labels {
  /** `root` holds the overlay; `pick(region)` is called on a press; `point(region|null)` when a card is pointed at. */
  constructor(root, { pick, point, words = {} }) {
    this.doc = root.ownerDocument;
    this.root = root;
    this.words = words;
    this.pick = pick;
    this.point = point;
    this.cards = new Map();
    this.notes = new Map();
    this.lines = this.doc.createElementNS(SVG, 'svg');
    this.lines.setAttribute('class', 'eb-lines');
    this.lines.setAttribute('aria-hidden', 'true');
    this.list = this.make('div', 'eb-list');
    this.list.setAttribute('role', 'group');
    this.list.setAttribute('aria-label', words.places ?? '');
    this.list.addEventListener('keydown', (event) => walk(event, this.list));
    this.air = this.make('div', 'eb-air');
    this.legend = this.make('div', 'eb-legend');
    this.legend.setAttribute('aria-hidden', 'true');
    for (const [key, text] of [['m', 'measured'], ['s', 'synthesised'], ['q', 'quarantined'], ['w', 'withheld']]) {
      const item = this.make('span', '', this.legend);
      this.make('i', key, item);
      item.append(words[`legend_${text}`] ?? text);
    }
    this.tie = this.doc.createElementNS(SVG, 'path');
    this.tie.setAttribute('class', 'eb-tie');
    this.lines.append(this.tie);
    this.rings = new Rings(this.lines);
    root.append(this.lines, this.air, this.list, this.legend);
    this.placed = {};
    this.stale = true;
  }

  make(tag, className, parent) {
    const node = this.doc.createElement(tag);
    if (className) node.className = className;
    parent?.append(node);
    return node;
  }

  /** Brings texts up to date; true where the set of cards or a card's height changed, so that places must. */
  write(view, picked) {
    const shown = REGIONS.filter((name) => (view.regions?.[name]?.provenance ?? 'none') !== 'none');
    let changed = this.sync(this.cards, shown, (name) => this.makeCard(name));
    for (const name of shown) changed = this.writeCard(this.cards.get(name), view.regions[name], name, picked) || changed;
    const notes = ORGANS.filter((name) => view.organs?.[name]);
    changed = this.sync(this.notes, notes, (name) => this.makeNote(name)) || changed;
    for (const name of notes) changed = this.writeNote(this.notes.get(name), view.organs[name], name, picked) || changed;
    changed = writeChips(this.air, [view.posture, view.skin, ...Object.values(view.air ?? {})]) || changed;
    this.stale ||= changed;
    return this.stale;
  }

  /** Makes what is missing, drops what is gone; true where anything was. */
  sync(map, names, make) {
    let changed = false;
    for (const [name, entry] of map) {
      if (names.includes(name)) continue;
      entry.node.remove();
      entry.line.remove();
      entry.dot.remove();
      map.delete(name);
      changed = true;
    }
    names.forEach((name) => {
      if (map.has(name)) return;
      map.set(name, make(name));
      changed = true;
    });
    return changed;
  }

  makeCard(name) {
    const node = this.makeButton('eb-card', name);
    const entry = { node, ...this.makeLine() };
    for (const part of ['name', 'value', 'word', 'others', 'meter']) entry[part] = this.make('span', `eb-${part}`, node);
    entry.fill = this.make('i', '', entry.meter);
    const after = REGIONS.slice(REGIONS.indexOf(name) + 1).map((n) => this.cards.get(n)?.node).find(Boolean);
    this.list.insertBefore(node, after ?? [...this.notes.values()][0]?.node ?? null); // Tab goes in the order of REGIONS
    return entry;
  }

  makeNote(name) {
    const node = this.makeButton('eb-note', name);
    node.dataset.note = name;
    this.list.append(node);
    return { node, value: this.make('b', '', node), word: this.make('i', '', node), ...this.makeLine() };
  }

  makeButton(className, place) {
    const node = this.make('button', className);
    node.type = 'button';
    node.dataset.region = place;
    node.style.visibility = 'hidden'; // until it has a place
    node.addEventListener('click', () => this.pick(place));
    for (const [event, who] of [['pointerenter', place], ['pointerleave', null], ['focus', place], ['blur', null]]) {
      node.addEventListener(event, () => this.point(who));
    }
    return node;
  }

  makeLine() {
    const line = this.doc.createElementNS(SVG, 'path');
    const dot = this.doc.createElementNS(SVG, 'circle');
    dot.setAttribute('r', '2.6');
    this.lines.append(line, dot);
    return { line, dot };
  }

  writeCard(card, word, name, picked) {
    const kind = PROVENANCE[word.provenance] ? word.provenance : 'none';
    const { ink } = PROVENANCE[word.own] ?? PROVENANCE[kind];
    const others = (word.others ?? []).filter((other) => other.provenance !== 'measured');
    const grown = (card.value.textContent.split('\n').length !== String(word.text ?? '').split('\n').length) ||
      card.node.dataset.provenance !== kind || card.others.childElementCount !== others.length;
    setText(card.name, word.label ?? name);
    setText(card.value, kind === 'withheld' && !word.text ? '– –' : (word.text ?? ''));
    setText(card.word, word.provenanceText ?? '');
    this.writeOthers(card.others, others);
    setStyle(card.node, '--ink', word.color ?? '#7fc4ea');
    setStyle(card.node, '--word', ink);
    setStyle(card.fill, 'transform', `scaleX(${unit(word.confidence).toFixed(2)})`);
    setData(card.node, 'provenance', kind);
    setAttribute(card.node, 'aria-pressed', String(picked === name));
    const spoken = [card.name.textContent, card.value.textContent, card.word.textContent, ...[...card.others.children].map((line) => line.textContent)].filter(Boolean).join(', ');
    setAttribute(card.node, 'aria-label', spoken);
    return grown;
  }

  /** Those of a region's other channels that are not measured, a line each: they are why the region is drawn as it is. */
  writeOthers(box, others) {
    while (box.children.length > others.length) box.lastChild.remove();
    while (box.children.length < others.length) this.make('span', 'eb-other', box);
    others.forEach((other, i) => {
      setText(box.children[i], [other.label, other.text, other.provenanceText].filter(Boolean).join(' '));
      setStyle(box.children[i], '--word', PROVENANCE[other.provenance]?.ink ?? '');
    });
  }

  /** An organ's rate and where it comes from; true where the card's height changed. */
  writeNote(note, word, name, picked) {
    const kind = word.illustrative || !PROVENANCE[word.provenance] ? 'illustrative' : word.provenance;
    const before = note.node.textContent.length;
    setText(note.value, `${[word.label ?? name, word.text].filter(Boolean).join(' ')} `);
    setText(note.word, word.provenanceText ?? '');
    setStyle(note.word, 'color', PROVENANCE[kind]?.ink ?? '');
    setData(note.node, 'provenance', kind);
    setAttribute(note.node, 'aria-pressed', String(picked === name));
    setAttribute(note.node, 'aria-label', [`${note.value.textContent}`.trim(), note.word.textContent].filter(Boolean).join(', '));
    return Math.abs(note.node.textContent.length - before) > 6; // words come and go; digits keep the lines
  }

  /** Finds places for all cards. `wantY(anchor, side)` is where each would like to be, CSS px. */
  place(size, room, wantY) {
    this.root.classList.toggle('eb-narrow', room.narrow);
    const items = [...this.cards].map(([id, card]) => ({ id, ...this.measure(card, room), ...prefer(id, wantY) }));
    for (const [id, note] of this.notes) {
      const row = NOTES[id];
      const measured = this.measure(note, room);
      if (!room.narrow) items.push({ id: `note-${id}`, ...measured, side: row.side, wantY: wantY(row.anchor, -1) });
    }
    this.air.style.top = room.narrow ? `${room.lens.y + room.lens.size + 8}px` : '';
    this.air.style.maxWidth = `${(room.lens.size ? room.lens.x : size.width) - 2 * MARGIN}px`;
    const top = this.air.childElementCount ? MARGIN + this.air.offsetHeight + 10 : MARGIN;
    this.placed = arrange(items, size, room, top);
    for (const [id, entry] of this.cards) this.move(entry.node, this.placed[id]);
    let corner = room.stage.height - MARGIN; // in a narrow box notes stand in the body's lower right corner
    for (const [id, entry] of this.notes) {
      if (room.narrow) corner -= entry.node.offsetHeight + 4;
      this.move(entry.node, room.narrow ? { x: size.width - MARGIN - entry.node.offsetWidth, y: corner } : this.placed[`note-${id}`]);
    }
    this.legend.hidden = room.narrow || size.width < 560 || size.height < 560;
    this.legend.style.left = this.legend.style.right = `${room.gutter}px`;
    this.lines.classList.toggle('eb-rings-only', room.narrow);
    this.stale = false;
  }

  measure(entry, room) {
    const narrow = this.notes.has(entry.node.dataset.note) ? 'auto' : `calc(50% - ${MARGIN * 1.5}px)`;
    const width = room.narrow ? narrow : `${Math.round(room.gutter - MARGIN)}px`;
    setStyle(entry.node, 'width', width);
    return { height: entry.node.offsetHeight };
  }

  move(node, at) {
    if (!at) return;
    node.style.transform = `translate(${at.x}px, ${at.y}px)`;
    node.style.visibility = '';
  }

  show(shown) {
    for (const { node } of [...this.cards.values(), ...this.notes.values()]) node.hidden = !shown;
    for (const node of [this.lines, this.air, this.list, this.legend]) node.style.visibility = shown ? '' : 'hidden';
    this.stale = true;
  }

  /** Draws the lines; `faceInLens`: the face is seen there. `where(anchor, side, inLens)` -> {x, y, faint} CSS px or null. */
  pointTo(where, room, faceInLens) {
    if (room.narrow) return;
    for (const [id, entry] of this.cards) {
      const at = this.placed[id];
      if (!at) continue;
      const face = faceInLens && FACE.has(id);
      const spot = where(id, at.side === 'left' ? -1 : 1, face);
      const colour = entry.node.style.getPropertyValue('--ink');
      drawLine(entry, at, spot, face ? 'lens' : at.side, colour, entry.node.dataset.provenance);
    }
    for (const [id, entry] of this.notes) {
      const at = this.placed[`note-${id}`];
      if (at) drawLine(entry, at, where(NOTES[id].anchor, -1, false), at.side, '#9db4c6', 'note');
    }
  }

  /** Draws the circle on the body that the lens enlarges, and the two lines that lead from it to the lens. */
  tieLens({ x, y, size }, spot) {
    const lens = { x: x + size / 2, y: y + size / 2, r: size / 2 };
    setStyle(this.tie, 'display', size ? '' : 'none');
    if (size) setAttribute(this.tie, 'd', tangents(spot, lens));
  }

  /** Rings on the body, see Rings; `where` as for `pointTo`. A region on both sides is ringed on the side of its card. */
  pin(pins, where) {
    this.rings.write(pins, (place) => where(place, this.placed[place]?.side === 'left' ? -1 : 1));
  }

  dispose() {
    for (const node of [this.lines, this.air, this.list, this.legend]) node.remove();
  }
}

function prefer(id, wantY) {
  const side = REGION_SIDE[id];
  return { side, face: FACE.has(id), wantY: FACE.has(id) ? REGIONS.indexOf(id) : wantY(id, side === 'left' ? -1 : 1) };
}
