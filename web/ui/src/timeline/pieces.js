// The pieces of line of which a stretch of the past is drawn, by provenance alone and with the rules of the room
// (strokes.js): a distrusted reading is a ghost, and the line is what the twin believed. Pure.
import {believed, isGhost, lineKind} from '../strokes.js';
import {PROVENANCE} from '../wire.js';

const KIND = 0x0f;
export const HOLE = 0x0f; // a mark of web/data.py's thinned traces: no sample from here to the next one

/** Whether samples i - 1 and i are neighbours: no hole is marked between them. */
export const joins = (s, i) => i > 0 && (s.provenance[i - 1] & KIND) !== HOLE;

/** In order of time {kind: of strokes.js's LINES, i, from, to}: a line from sample i - 1, at value `from`, to sample i, at
 * value `to`; where nothing joins it to the one before, `from` is NaN and the sample a dot. */
export function* piecesOf(s) {
  for (let i = 0; i < s.n; i += 1) {
    const byte = s.provenance[i];
    if ((byte & KIND) === HOLE) continue;
    const before = joins(s, i) ? s.provenance[i - 1] : HOLE;
    if ((byte & KIND) === PROVENANCE.QUARANTINED || isGhost(before, byte)) {
      if (Number.isFinite(s.value[i])) yield {kind: 'ghost', i, from: isGhost(before, byte) ? s.value[i - 1] : NaN, to: s.value[i]};
    }
    const [from, to] = [before !== HOLE && lineKind(before, byte) ? believed(s, i - 1) : NaN, believed(s, i)];
    const kind = Number.isFinite(from) ? lineKind(before, byte) : lineKind(byte, byte);
    if (kind && Number.isFinite(to)) yield {kind, i, from, to};
  }
}

/** [low, high] of all that is believed and its bounds, these up to once the values' own span: a ribbon must not make a trace
 * flat, and neither must a distrusted reading, which is held at the edge. */
export function spanOf(traces) {
  let [low, high] = [Infinity, -Infinity];
  const bounds = [];
  for (const s of traces) {
    for (let i = 0; i < (s?.n ?? 0); i += 1) {
      const value = believed(s, i);
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
      if (s.upper[i] > s.lower[i]) bounds.push([s.lower[i], s.upper[i]]);
    }
  }
  if (low > high) return [0, 1];
  const [floor, top, room] = [low, high, Math.max(high - low, 1e-12)];
  for (const [a, b] of bounds) {
    low = Math.min(low, Math.max(a, floor - room));
    high = Math.max(high, Math.min(b, top + room));
  }
  return [low, high];
}
