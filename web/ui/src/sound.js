// The sound of alarms as numbers: which pulses, when, and whether there is anything to sound. Pure; speaker.js makes
// it heard. After IEC 60601-1-8, tables 3 and 4: bursts of 10 pulses (high), 3 (medium), 2 (low); a pulse's effective
// length is 75-200 ms (high) or 125-250 ms, it rises within 10-40 % of that; between pulses x = 50-125 ms (high) or
// y = 125-250 ms; 2x + a pulse after the 3rd and 8th, 0.35-1.3 s after the 5th; between bursts 2.5-15 s (high),
// 2.5-30 s (medium), more than 15 s (low). The fundamental is within 150-1000 Hz and has at least four harmonics
// within 300-4000 Hz and 15 dB. No file: a page that fetches nothing can't miss its sound.
import {quiet} from './alarms.js';

export const HARMONICS = [1, 0.7, 0.5, 0.36, 0.26]; // amplitude of the fundamental and its multiples: -12 dB at most
const [C5, E5] = [523.25, 659.26]; // Hz
const [X_S, Y_S, HIGH_PULSE_S, PULSE_S, MIDDLE_S] = [0.1, 0.2, 0.15, 0.2, 0.5];
const FIVE = [X_S, X_S, 2 * X_S + HIGH_PULSE_S, X_S];

/** priority -> {pulse s, gaps after each pulse but the last in s, hz of each pulse, every: s from burst to burst, level} */
export const PATTERNS = {
  3: {pulse: HIGH_PULSE_S, gaps: [...FIVE, MIDDLE_S, ...FIVE], hz: [C5], every: 5, level: 0.5},
  2: {pulse: PULSE_S, gaps: [Y_S, Y_S], hz: [C5], every: 10, level: 0.42},
  1: {pulse: PULSE_S, gaps: [Y_S], hz: [E5, C5], every: 20, level: 0.34},
};
const RISE = 0.2; // of a pulse; the fall is as long
const REMIND_S = 180; // acknowledged alarms that still stand are called to mind by one low burst

/** The pulses of one burst: [{at, length, rise (s from the burst's start), hz}]. */
export function pulses(priority) {
  const {pulse, gaps, hz} = PATTERNS[priority];
  let at = 0;
  return [...gaps, 0].map((gap, i) => {
    const made = {at, length: pulse, rise: RISE * pulse, hz: hz[i % hz.length]};
    at += pulse + gap;
    return made;
  });
}

/** Length of one burst, s. */
export const burstLength = (priority) => {
  const last = pulses(priority).at(-1);
  return last.at + last.length;
};

/**
 * What one patient's alarms want to be heard: {priority 0..3, why, left}. `why` is armed (nothing stands), sounding,
 * paused (for `left` s) or acknowledged. `audio` is the engine's {paused_until_s, by}; `now` Unix s.
 */
export function wanted(alarms, audio, now) {
  const loud = alarms.filter((alarm) => !quiet(alarm));
  const priority = Math.max(0, ...loud.map((alarm) => alarm.priority));
  const left = (audio?.paused_until_s ?? -Infinity) - now;
  if (left > 0) return {priority: 0, why: 'paused', left};
  if (priority) return {priority, why: 'sounding', left: 0};
  return {priority: 0, why: alarms.length ? 'acknowledged' : 'armed', left: 0};
}

const WEIGHT = ['armed', 'acknowledged', 'paused', 'sounding'];

/** Of many patients' wishes the one that the page's single sound follows: the highest priority, else the loudest word. */
export function loudest(wishes) {
  return wishes.reduce((best, wish) => (wish.priority - best.priority || WEIGHT.indexOf(wish.why) - WEIGHT.indexOf(best.why)) > 0 ? wish : best,
    {priority: 0, why: 'armed', left: 0});
}

/**
 * The burst to start now, or 0. `t`: the machine's s; `last`: {priority, end (s) of the last burst, since (s): when the
 * page last became quiet}. A higher priority doesn't wait for a lower one's pause.
 */
export function cue({priority, why}, t, last) {
  if (priority) return priority > last.priority || t >= last.end + PATTERNS[priority].every ? priority : 0;
  return why === 'acknowledged' && t >= Math.max(last.end, last.since) + REMIND_S ? 1 : 0;
}
