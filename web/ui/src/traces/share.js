// What the samples of a stretch are: how much of its time is measured, made, withheld or empty, and how sure the made
// ones are. For the stamp of a snapshot.
import {isMade, provenanceWord} from '../words.js';

const SLACK_S = 0.002;

/**
 * @returns {{parts: Object<string, number>, sure: [number, number]|null, revised: boolean}} parts: provenance word ->
 *   share of [from, to] (Unix s), "none" for time without samples, summing to 1; sure: lowest and highest confidence of
 *   made values, 0..1
 */
export function shareOf({series, period}, from, to) {
  const seconds = {};
  let sure = null;
  let revised = false;
  let covered = 0;
  const reach = 1.5 * period + SLACK_S;
  for (let i = series ? Math.max(0, series.indexAt(from)) : 0; series && i < series.n && series.t[i] < to; i += 1) {
    const next = i + 1 < series.n ? series.t[i + 1] : Infinity;
    const end = Math.min(to, next - series.t[i] <= reach ? next : series.t[i] + period);
    const lasts = end - Math.max(from, series.t[i]);
    if (!(lasts > 0)) continue;
    const word = provenanceWord(series.provenance[i]);
    seconds[word] = (seconds[word] ?? 0) + lasts;
    covered += lasts;
    revised ||= series.provenance[i] > 0x7f;
    if (isMade(series.provenance[i])) sure = widened(sure, series.confidence[i] / 255);
  }
  const whole = to - from;
  const parts = Object.fromEntries(Object.entries(seconds).map(([word, s]) => [word, s / whole]));
  if (whole - covered > 0.005 * whole) parts.none = 1 - covered / whole;
  return {parts, sure, revised};
}

const widened = (range, at) => (range ? [Math.min(range[0], at), Math.max(range[1], at)] : [at, at]);
