// The lines from cards to places on the body, and from the body to the lens, as SVG.

import { setAttribute, setStyle } from './dom.js';

/** A circle `a` and its two outer tangents to the circle `b`, as an SVG path. */
export function tangents(a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const far = Math.hypot(dx, dy);
  const ring = `M${n(a.x - a.r)} ${n(a.y)} a${n(a.r)} ${n(a.r)} 0 1 0 ${n(2 * a.r)} 0 a${n(a.r)} ${n(a.r)} 0 1 0 ${n(-2 * a.r)} 0`;
  if (far <= b.r) return ring;
  const base = Math.atan2(dy, dx);
  const lean = Math.acos(Math.max(-1, Math.min(1, (a.r - b.r) / far)));
  const lines = [base + lean, base - lean].map((t) => {
    const [c, s] = [Math.cos(t), Math.sin(t)];
    return `M${n(a.x + a.r * c)} ${n(a.y + a.r * s)} L${n(b.x + b.r * c)} ${n(b.y + b.r * s)}`;
  });
  return `${ring} ${lines.join(' ')}`;
}

const n = (x) => x.toFixed(1);

const DASHES = { synthesised: '5 4', predicted: '2 3', withheld: '1 4', note: '1 4', quarantined: '' };

/**
 * Draws the line of `entry` {line, dot, node} from its card at `at` to `spot` {x, y, faint}, or hides it where there is
 * none. `route`: 'left' or 'right', the card's gutter, or 'lens'; `kind`: the provenance, or 'note'.
 */
export function drawLine(entry, at, spot, route, colour, kind) {
  const shown = Boolean(spot);
  setStyle(entry.line, 'display', shown ? '' : 'none');
  setStyle(entry.dot, 'display', shown ? '' : 'none');
  if (!shown) return;
  const height = entry.height ?? (entry.height = entry.node.offsetHeight);
  const middle = at.y + Math.min(22, height / 2);
  const [x, y] = [spot.x.toFixed(1), spot.y.toFixed(1)];
  let path;
  if (route === 'lens' && at.first) {
    path = `M${at.x + at.width / 2} ${at.y} L${x} ${y}`;
  } else if (route === 'lens') {
    const right = at.x + at.width;
    path = `M${right} ${middle} H${right + 6} V${y} H${x}`; // round the lens, so that it crosses no face
  } else {
    const edge = route === 'left' ? at.x + at.width : at.x;
    const elbow = edge + (route === 'left' ? 1 : -1) * Math.min(26, Math.abs(spot.x - edge) * 0.35);
    path = `M${edge} ${middle} H${elbow.toFixed(1)} L${x} ${y}`;
  }
  const ink = kind === 'quarantined' ? '#ff7a59' : kind === 'withheld' ? '#9fb0c0' : colour;
  setAttribute(entry.line, 'd', path);
  setAttribute(entry.line, 'stroke', ink);
  setAttribute(entry.line, 'stroke-dasharray', DASHES[kind] ?? '');
  setAttribute(entry.line, 'stroke-opacity', spot.faint ? '0.28' : '0.75');
  setAttribute(entry.dot, 'cx', x);
  setAttribute(entry.dot, 'cy', y);
  setAttribute(entry.dot, 'fill', ink);
  setAttribute(entry.dot, 'fill-opacity', spot.faint ? '0.3' : '1');
}
