// The small chips above the body: the room's air, the skin's temperature, the posture.

import { setAttribute, setData, setStyle, setText } from './dom.js';
import { PROVENANCE } from './regions.js';

/** Writes `all` words, where they say anything, as chips into `box`; true where their number changed. */
export function writeChips(box, all) {
  const words = all.filter((w) => w?.provenance && w.provenance !== 'none');
  const changed = box.children.length !== words.length;
  while (box.children.length > words.length) box.lastChild.remove();
  words.forEach((word, i) => {
    const chip = box.children[i] ?? box.appendChild(box.ownerDocument.createElement('span'));
    if (!chip.firstChild) {
      chip.append('');
      chip.append(box.ownerDocument.createElement('em'));
    }
    const text = `${word.label ?? ''} ${word.text ?? ''}`.trim();
    if (chip.firstChild.data !== text) chip.firstChild.data = text;
    setText(chip.lastChild, word.provenanceText ?? '');
    setStyle(chip.lastChild, 'color', PROVENANCE[word.provenance]?.ink ?? '#b3c1ce');
    setData(chip, 'provenance', word.provenance);
    setData(chip, 'fact', word.fact ?? '');
    setAttribute(chip, 'title', word.effect ?? '');
  });
  return changed;
}
