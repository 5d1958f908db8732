// How tall each trace is drawn: automatic, or held at a multiple of the automatic range. Choosing x1 holds the range
// of that moment; x2 shows half of it twice as tall. Kept per patient and channel as long as the browser's tab lives.

export const GAINS = ['auto', 0.5, 1, 2, 4];

/** The range {low, high} of a base range drawn `gain` times as tall: from its foot for an envelope, else its middle. */
export function gainedRange(base, gain, kind) {
  const span = (base.high - base.low) / gain;
  const low = kind === 'envelope' ? base.low : (base.low + base.high - span) / 2;
  return {low, high: low + span};
}

export class Gains {
  /** @param {Storage|null} storage sessionStorage, or null where the browser forbids it @param {string} patient */
  constructor(storage, patient) {
    Object.assign(this, {storage, key: `everbeat.gains.${patient}`, held: new Map()});
    try {
      this.held = new Map(Object.entries(JSON.parse(storage?.getItem(this.key) ?? '{}')).filter(([, h]) => isHeld(h)));
    } catch { /* of another version: begin anew */ }
  }

  of(channel) {
    return this.held.get(channel)?.gain ?? 'auto';
  }

  /** Hold a channel at `gain` times the range of `scale`, or of the range it is held at already. */
  set(channel, gain, scale) {
    if (gain === 'auto') this.held.delete(channel);
    else {
      const base = this.held.get(channel) ?? {low: scale.low, high: scale.high};
      if (!(base.high > base.low)) return; // nothing to hold yet
      this.held.set(channel, {gain, low: base.low, high: base.high});
    }
    try {
      this.storage?.setItem(this.key, JSON.stringify(Object.fromEntries(this.held)));
    } catch { /* full or forbidden: it lasts as long as the page */ }
  }

  /** The range to draw: {low, high}. */
  range(channel, scale, kind) {
    const held = this.held.get(channel);
    return held ? gainedRange(held, held.gain, kind) : scale;
  }
}

const isHeld = (h) => GAINS.includes(h?.gain) && h.gain !== 'auto' && Number.isFinite(h.low) && h.high > h.low;
