// How fast traces are swept. Waves and envelopes run at the chosen speed; levels, and whatever has a reading a second
// or fewer, ten times slower, in a band of their own. A millimetre is CSS's: 96 px an inch, so the speed is nominal.

export const SPEEDS = [6.25, 12.5, 25, 50]; // mm/s
export const DEFAULT_SPEED = 25;
export const SLOWER = 10;
export const PX_PER_MM = 96 / 25.4;
const SLOW_PERIOD_S = 1;
const GRID_S = 1; // of the fast band; the slow one's is SLOWER times as wide

/** Whether a channel belongs into the slow band. */
export const isSlow = (info) => info.kind === 'level' || info.period_s >= SLOW_PERIOD_S;

/** {mm (mm/s), pxPerS (css px), gridS} of a band at the chosen speed. */
export function paceOf(band, speed) {
  const slower = band === 'slow' ? SLOWER : 1;
  return {mm: speed / slower, pxPerS: (speed / slower) * PX_PER_MM, gridS: GRID_S * slower};
}
