// How strokes are made: which style a segment has, dashes that meet across strips, ribbons, hatches. Nothing here
// holds state; paths are in device pixels.
import {PROVENANCE, REVISED} from './wire.js';

const DASH = [9, 5]; // css px on, off; by place, not by length of path, so that strips meet
const DOT = [2, 4];

/** How the line between two samples is drawn: by the less certain of its ends. */
export function segmentStyle(before, after) {
  const kinds = [before & 0x0f, after & 0x0f];
  const revised = before & after & REVISED ? '-revised' : '';
  if (kinds.includes(PROVENANCE.WITHHELD)) return null;
  if (kinds.includes(PROVENANCE.QUARANTINED)) return 'quarantined';
  return (kinds.every((k) => k === PROVENANCE.MEASURED) ? 'measured' : 'made') + revised;
}

export function pattern(style, ratio) {
  if (style.startsWith('made')) return DASH.map((d) => d * ratio);
  return style === 'quarantined' ? DOT.map((d) => d * ratio) : null;
}

/** A straight line, cut at the places where the pattern is off. Steep lines keep whatever falls on their column. */
export function lines(path, x0, y0, x1, y1, dash) {
  if (!dash) {
    path.moveTo(x0, y0);
    path.lineTo(x1, y1);
    return;
  }
  const [on, off] = dash;
  const cycle = on + off;
  const slope = x1 > x0 ? (y1 - y0) / (x1 - x0) : 0;
  for (let k = Math.floor(x0 / cycle); k * cycle < x1 || k * cycle <= x0; k += 1) {
    const a = Math.max(x0, k * cycle);
    const b = Math.min(x1, k * cycle + on);
    if (b < a) continue;
    path.moveTo(a, y0 + (a - x0) * slope);
    path.lineTo(b, x1 > x0 ? y0 + (b - x0) * slope : y1);
  }
}

/** Add the 90 % band between samples i and j. */
export function quad(path, series, i, j, x0, x1, y) {
  const edges = [series.upper[i], series.upper[j], series.lower[j], series.lower[i]].map(y);
  if (!edges.every(Number.isFinite)) return;
  path.moveTo(x0, edges[0]);
  path.lineTo(x1, edges[1]);
  path.lineTo(x1, edges[2]);
  path.lineTo(x0, edges[3]);
  path.closePath();
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

export function hatch(g, ratio) {
  const size = Math.round(9 * ratio);
  const tile = document.createElement('canvas');
  tile.width = tile.height = size;
  const h = tile.getContext('2d');
  h.strokeStyle = '#2a3a4b';
  h.lineWidth = 1.6 * ratio;
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
