// Two clocks of a screen. EngineClock estimates the engine's time from what messages say (the least delayed message
// of the last seconds counts). ViewClock runs `lag` behind it, evenly: it slews, jumps only over holes, and never
// goes back, so that a trace neither freezes nor stutters while messages arrive in bursts: what lies between it and the
// newest sample is the jitter buffer, and a late message costs nothing as long as that lasts.

const WINDOW_S = 30;
const JUMP_S = 3; // further off than this is a hole (sleep, reconnect), not drift
export const SET_BACK_S = 10; // twin_engine/messages.py: BEHIND_MS
const SLEW = 0.1; // at most 10 % faster or slower than true

export class EngineClock {
  #seen = []; // [local s, offset s]
  #best = NaN; // the greatest offset of those seen

  /** @param {number} clock engine's Unix s in a message @param {number} local this machine's monotonic s */
  hear(clock, local) {
    const newest = clock - local;
    this.#seen.push([local, newest]);
    while (this.#seen.length > 1 && (local - this.#seen[0][0] > WINDOW_S || this.#seen.length > 400)) this.#seen.shift();
    this.#best = this.#seen.reduce((best, [, offset]) => Math.max(best, offset), -Infinity);
    if (this.#best - newest <= JUMP_S) return;
    this.#seen = [[local, newest]]; // the engine's clock was set back
    this.#best = newest;
  }

  /** Whether a message says that the engine's clock was clearly ahead until now, and was set right. */
  isSetBack(clock, local) {
    return this.now(local) - clock > SET_BACK_S;
  }

  /** The engine's Unix s now, NaN before the first message. */
  now(local) {
    return local + this.#best;
  }
}

export class ViewClock {
  #at = NaN;
  #local = 0;

  /** Advance to the machine's monotonic s `local`; `target` is engine time less lag. Returns the view time, Unix s.
   * Beyond `limit` (Unix s, the newest sample there is) the clock stands: it plays what it has, and no more. */
  advance(target, local, limit = Infinity) {
    const step = local - this.#local;
    this.#local = local;
    const due = Number.isNaN(this.#at) ? target : Math.min(target, Math.max(limit, this.#at));
    if (!(Math.abs(due - this.#at) < JUMP_S)) {
      this.#at = due;
      return this.#at;
    }
    const error = due - (this.#at + step);
    const next = this.#at + Math.max(0, step + Math.max(-SLEW * step, Math.min(SLEW * step, error)));
    this.#at = Math.max(this.#at, Math.min(next, limit));
    return this.#at;
  }

  /** The clock stands: a dead feed never draws on. */
  hold(local) {
    this.#local = local;
    return this.#at;
  }
}
