// Stretches of a series that are marked on the trace: revised, withheld, quarantined, missing. Pure; computed once a
// change, not once a frame.
import {PROVENANCE, REVISED} from './wire.js';

const MISSING_S = 1; // a hole shorter than this, or than 2.5 periods, is not worth a mark

/** @returns {Array<{kind: string, from: number, to: number, open?: boolean, cut?: boolean}>} Unix s; `open`: it may still grow;
 * `cut`: it began before the first sample that is looked at, or may have */
export function marksOf(series, from, to, periodS) {
  const marks = [];
  const period = periodS || series.period || 1;
  let open = new Map();
  let last = NaN;
  const first = Math.max(0, series.indexAt(from));
  for (let i = first; i < series.n && series.t[i] <= to; i += 1) {
    const t = series.t[i];
    if (t - last > Math.max(MISSING_S, 2.5 * period)) {
      marks.push({kind: 'missing', from: last, to: t});
      open = new Map();
    }
    const kinds = kindsOf(series.provenance[i]);
    for (const kind of kinds) {
      const mark = open.get(kind);
      if (mark) mark.to = t + period;
      else marks.push(open.set(kind, {kind, from: t, to: t + period, ...(i === first && {cut: true})}).get(kind));
    }
    for (const kind of open.keys()) if (!kinds.includes(kind)) open.delete(kind);
    last = t;
  }
  for (const mark of open.values()) mark.open = true;
  return marks;
}

function kindsOf(byte) {
  const kinds = [];
  if (byte & REVISED) kinds.push('revised');
  if ((byte & 0x0f) === PROVENANCE.WITHHELD) kinds.push('withheld');
  if ((byte & 0x0f) === PROVENANCE.QUARANTINED) kinds.push('quarantined');
  return kinds;
}
