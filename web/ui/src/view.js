// What a screen shows at one view time. One record a channel, read once a tick; traces' numbers, tiles and the body
// all take it from here, so that they cannot disagree. Pure functions over series, status and looks.
import {NONE, badge, isRevised, number, percent, provenanceWord} from './words.js';

const FALLBACK = {unit: '', factor: 1, digits: 2, color: '#9fb3c8', order: 999, minSpan: 0, label: ''};

/** The look of a channel's signal; a plain one where the server sent none. */
export const lookOf = (looks, channel) => ({...FALLBACK, ...looks[channel.split('.')[0]]});

/** Channel ids in the order of the page: the body's before the room's, then as the table of signals has them. */
export function orderChannels(channels, looks) {
  const key = (id) => [channels[id].region === 'room' ? 1 : 0, lookOf(looks, id).order];
  return Object.keys(channels).sort((a, b) => {
    const [ra, oa] = key(a);
    const [rb, ob] = key(b);
    return ra - rb || oa - ob || a.localeCompare(b) * -1;
  });
}

/** The sample of a series at view time `t` (Unix s), or one of provenance "none" where none is due there. */
export function sampleAt(series, t, periodS) {
  const i = series ? series.indexAt(t) : -1;
  const hold = 1.5 * (periodS || series?.period || 1) + 0.5;
  return sampleOf(series, i >= 0 && t - series.t[i] <= hold ? i : -1);
}

/** Sample i of a series; for -1 the one of provenance "none", without value. */
export function sampleOf(series, i) {
  if (i < 0) return {provenance: NONE, confidence: 0, value: NaN, lower: NaN, upper: NaN, t: NaN};
  return {
    t: series.t[i],
    value: series.value[i],
    lower: series.lower[i],
    upper: series.upper[i],
    confidence: series.confidence[i] / 255,
    provenance: provenanceWord(series.provenance[i]),
    revised: isRevised(series.provenance[i]),
  };
}

/** A sample in words, for whatever shows it: {value, range, word, sure}; range and sure are '' where the value speaks
 * for itself (measured) or there is none. */
export function shown(sample, look) {
  const made = !['measured', 'withheld', NONE].includes(sample.provenance);
  return {
    value: number(sample.value, look),
    range: made ? rangeText(sample, look) : '',
    word: badge(sample.provenance),
    sure: made ? percent(sample.confidence) : '',
  };
}

/** "0.12–0.34": the central 90 %, in the look's unit. */
export const rangeText = (sample, look) => `${number(sample.lower, look)}–${number(sample.upper, look)}`;
