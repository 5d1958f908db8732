// How strokes are made: which kind of line joins two samples, dashes that meet across strips, hatches. Nothing here
// holds state; places are in device pixels.
import {PROVENANCE} from './wire.js';

const {MEASURED, PREDICTED, QUARANTINED, WITHHELD} = PROVENANCE;
const AMBER = '#ffb000';

/** Kinds of line, in the order in which they are painted. `dash`: css px on, off, …; `width`: css px. */
export const LINES = {
  ghost: {dash: [2, 4], width: 1.6, alpha: 0.85, color: AMBER}, // distrusted raw readings
  synthesised: {dash: [9, 5], width: 2.4, alpha: 1},
  predicted: {dash: [14, 4, 3, 4], width: 2, alpha: 1}, // dash and dot
  measured: {dash: null, width: 1.6, alpha: 1},
};

/** The line between two samples, by the less certain of its ends; null where none may be drawn. Both ends of a line
 * that is drawn as measured were measured and believed. */
export function lineKind(before, after) {
  const [a, b] = [before & 0x0f, after & 0x0f];
  if (a === WITHHELD || b === WITHHELD) return null;
  if (a === MEASURED && b === MEASURED) return 'measured';
  if (a === PREDICTED && b === PREDICTED) return 'predicted';
  return 'synthesised';
}

/** Whether the raw readings at both ends are shown as the ghost behind an estimate: one of them is quarantined. */
export function isGhost(before, after) {
  const [a, b] = [before & 0x0f, after & 0x0f];
  const raw = (kind) => kind === QUARANTINED || kind === MEASURED;
  return raw(a) && raw(b) && (a === QUARANTINED || b === QUARANTINED);
}

/** What the twin holds for true of sample i: its value, or, of a distrusted reading, the middle of the estimate. */
export function believed(series, i) {
  if ((series.provenance[i] & 0x0f) !== QUARANTINED) return series.value[i];
  return (series.lower[i] + series.upper[i]) / 2;
}

/** A straight line, cut at the places where the pattern (device px on, off, …; null: none) is off. Patterns are laid by
 * place, not by length of path, so that strips meet. Steep lines keep whatever falls on their column. */
export function lines(g, x0, y0, x1, y1, dash) {
  if (!dash) {
    g.moveTo(x0, y0);
    g.lineTo(x1, y1);
    return;
  }
  let cycle = 0;
  for (const part of dash) cycle += part;
  const slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0;
  for (let start = Math.floor(x0 / cycle) * cycle; start < x1 || start <= x0; start += cycle) {
    for (let k = 0, at = start; k < dash.length; at += dash[k] + dash[k + 1], k += 2) {
      const a = Math.max(x0, at);
      const b = Math.min(x1, at + dash[k]);
      if (b < a) continue;
      g.moveTo(a, y0 + (a - x0) * slope);
      g.lineTo(b, x1 > x0 ? y0 + (b - x0) * slope : y1);
    }
  }
}

export function lineAcross(g, x0, x1, y, ratio) {
  g.strokeStyle = '#41536699';
  g.lineWidth = ratio;
  g.setLineDash([ratio, 5 * ratio]);
  g.lineDashOffset = x0;
  g.beginPath();
  g.moveTo(x0, y);
  g.lineTo(x1, y);
  g.stroke();
  g.setLineDash([]);
}

/** Diagonal lines of `px` and `width` (css px), as a pattern that fills a stretch without an honest value. */
export function hatch(g, ratio, color = '#33475b', px = 9, width = 1.6) {
  const size = Math.round(px * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const h = tile.getContext('2d');
  h.strokeStyle = color;
  h.lineWidth = width * ratio;
  for (const shift of [-size, 0, size]) {
    h.moveTo(shift, size);
    h.lineTo(shift + size, 0);
  }
  h.stroke();
  return g.createPattern(tile, 'repeat');
}

/** `color` (#rrggbb) mixed with white by `part`. */
export function mix(color, part) {
  const channels = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return `rgb(${channels.map((c) => Math.round(c + (255 - c) * part)).join(',')})`;
}
