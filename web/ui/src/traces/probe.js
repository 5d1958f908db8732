// What a trace shows at a moment, for crosshair, calipers and the read-out: always one sample, never between two, and
// none where none was. Its texts come from the same function as tiles' and rows'.
import {sampleOf, shown} from '../view.js';
import {NONE, clockTime} from '../words.js';

/** The sample nearest to t (Unix s) that stands there: of a stepped row the one before it; provenance "none" in a gap. */
export function probe({series, period, stepped}, t) {
  if (!series?.n) return sampleOf(null, -1);
  const before = series.indexAt(t);
  const after = before + 1;
  const nearer = !stepped && after < series.n && (before < 0 || series.t[after] - t < t - series.t[before]);
  const i = nearer ? after : before;
  const reach = (stepped ? 1.5 : 0.75) * period + 0.002;
  return i >= 0 && Math.abs(series.t[i] - t) <= reach ? sampleOf(series, i) : sampleOf(null, -1);
}

/** Whether a stretch without samples, or of withheld ones, lies between two times. */
export function holeBetween({series, period}, from, to) {
  let last = from;
  for (let i = Math.max(0, series.indexAt(from)); i < series.n && series.t[i] <= to; i += 1) {
    if (!Number.isFinite(series.value[i])) return true;
    if (series.t[i] - last > 1.5 * period + 0.002) return true;
    last = Math.max(last, series.t[i]);
  }
  return to - last > 1.5 * period + 0.002;
}

/** Two calipers on one row: {ms, perMin, a, b (samples), delta, word}. `word` is the provenance of the less certain end. */
export function between(row, from, to) {
  const [a, b] = [probe(row, from), probe(row, to)];
  const seconds = Math.abs(to - from);
  return {
    a, b,
    ms: seconds * 1000,
    perMin: seconds > 0 ? 60 / seconds : NaN,
    delta: b.value - a.value, // NaN where either has no honest value
    less: lessCertain(a, b),
    hole: Boolean(row.series?.n) && holeBetween(row, Math.min(from, to), Math.max(from, to)),
  };
}

const TRUST = ['measured', 'predicted', 'synthesised', 'quarantined', 'withheld', NONE];

/** Of two samples the one that may be trusted less; a difference is worth no more than that. */
export function lessCertain(a, b) {
  const [ra, rb] = [TRUST.indexOf(a.provenance), TRUST.indexOf(b.provenance)];
  if (ra !== rb) return ra > rb ? a : b;
  return a.confidence <= b.confidence ? a : b;
}

/** "SYNTHESISED 87 %": how far a sample may be trusted, in words; a measured one needs no number. */
export function trustText(sample, look) {
  const {word, sure} = shown(sample, look);
  return sure ? `${word} ${sure}` : word;
}

/** hh:mm:ss.mmm in the viewer's zone. */
export function exactTime(t) {
  const ms = Math.round(t * 1000);
  return `${clockTime(Math.floor(ms / 1000))}.${String(ms % 1000).padStart(3, '0')}`;
}
