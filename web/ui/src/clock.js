// Two clocks of a screen. EngineClock estimates the engine's time from what messages say (the least delayed message
// of the last seconds counts). ViewClock runs `lag` behind it, evenly: it slews, jumps only over holes, and never
// goes back, so that a trace neither freezes nor stutters while messages arrive in bursts.

const WINDOW_S = 30;
const JUMP_S = 3; // further off than this is a hole (sleep, reconnect), not drift
const SLEW = 0.1; // at most 10 % faster or slower than true

export class EngineClock {
  #seen = []; // [local s, offset s]

  /** @param {number} clock engine's Unix s in a message @param {number} local this machine's monotonic s */
  hear(clock, local) {
    this.#seen.push([local, clock - local]);
    while (this.#seen.length > 1 && (local - this.#seen[0][0] > WINDOW_S || this.#seen.length > 400)) this.#seen.shift();
    const newest = this.#seen[this.#seen.length - 1][1];
    const best = Math.max(...this.#seen.map(([, offset]) => offset));
    if (best - newest > JUMP_S) this.#seen = [[local, clock - local]]; // the engine's clock was set back
  }

  /** The engine's Unix s now, NaN before the first message. */
  now(local) {
    if (!this.#seen.length) return NaN;
    return local + Math.max(...this.#seen.map(([, offset]) => offset));
  }
}

export class ViewClock {
  #at = NaN;
  #local = 0;

  /** Advance to the machine's monotonic s `local`; `target` is engine time less lag. Returns the view time, Unix s. */
  advance(target, local) {
    const step = local - this.#local;
    this.#local = local;
    if (!(Math.abs(target - this.#at) < JUMP_S)) {
      this.#at = target;
      return this.#at;
    }
    const error = target - (this.#at + step);
    this.#at += Math.max(0, step + Math.max(-SLEW * step, Math.min(SLEW * step, error)));
    return this.#at;
  }

  /** The clock stands: a dead feed never draws on. */
  hold(local) {
    this.#local = local;
    return this.#at;
  }
}
