// What moves: phases of heart and lungs that run at a rate and never jump, and their shapes over one cycle. No three.js.

/** A phase 0..1 that takes 60 / rate seconds for one cycle; a new rate changes its speed, never where it is. */
export class Phase {
  constructor(start = 0) {
    this.at = start;
  }

  /** Goes on by `dt_s` at `rate` per minute; stands where the rate is null. */
  step(dt_s, rate) {
    if (rate > 0) this.at = (this.at + (dt_s * rate) / 60) % 1;
    return this.at;
  }
}

/** Contraction of the ventricles over one beat, phase 0..1: a strong stroke, then a small rebound. */
export function beatShape(phase) {
  const bump = (at, width) => Math.exp(-(((phase - at) / width) ** 2));
  return bump(0.22, 0.085) + 0.34 * bump(0.44, 0.06) - 0.12 * bump(0.08, 0.05);
}

/** Filling of the lungs over one breath, phase 0..1: in for two fifths, out for the rest with a short rest. */
export function breathShape(phase) {
  const smooth = (x) => x * x * (3 - 2 * x);
  return phase < 0.4 ? smooth(phase / 0.4) : 1 - smooth(Math.min(1, (phase - 0.4) / 0.5));
}
