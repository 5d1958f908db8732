// The samples of one channel that a screen keeps: the newest keepS seconds, in order of time, in typed arrays.
// Appending is the common case. A block that reaches back in time (a revision, a snapshot after a dropped message)
// replaces what lay between its first and its last time: in the view, never in the record.

export const KEEP_S = 180;
export const SLOW_KEEP_S = 640; // at 0.625 mm/s a wide screen is as long
const SAME_S = 0.0005; // two times closer than this are the same sample (device clocks count whole ms)
export const COLUMNS = [
  ['t', Float64Array], ['value', Float32Array], ['lower', Float32Array], ['upper', Float32Array],
  ['confidence', Uint8Array], ['provenance', Uint8Array],
];

/** Index of the last of the first `n` times, which rise, that is not after `t`; -1 where there is none. */
export function lastAt(times, n, t) {
  let low = 0;
  let high = n;
  while (low < high) {
    const mid = (low + high) >> 1;
    if (times[mid] <= t) low = mid + 1;
    else high = mid;
  }
  return low - 1;
}

export class Series {
  /** @param {string} channel @param {number} period nominal, s */
  constructor(channel, period = 0) {
    this.channel = channel;
    this.period = period;
    this.keepS = KEEP_S; // a screen that sweeps slowly asks for more
    this.version = 0; // grows with every change
    this.n = 0;
    this.size = 1024;
    for (const [name, Type] of COLUMNS) this[name] = new Type(this.size);
  }

  get last() {
    return this.n ? this.t[this.n - 1] : -Infinity;
  }

  /** Take one decoded block. Returns true where it changed the past rather than appended to it. */
  put(block) {
    const count = block.t.length;
    if (!count) return false;
    if (block.period > 0 && count > 1) this.period = block.period;
    this.version += 1;
    const past = block.t[0] <= this.last + SAME_S;
    if (past) this.#splice(block);
    else this.#insert(block, this.n, this.n);
    this.#trim();
    return past;
  }

  /** Forget everything. */
  clear() {
    this.n = 0;
    this.version += 1;
  }

  /** Index of the last sample at or before `t` (Unix s); -1 where there is none. */
  indexAt(t) {
    return lastAt(this.t, this.n, t);
  }

  /** A copy of the samples since `from` (Unix s), which no later message changes. */
  copy(from) {
    const first = Math.max(0, this.indexAt(from));
    const copy = new Series(this.channel, this.period);
    for (const [name] of COLUMNS) copy[name] = this[name].slice(first, this.n);
    return Object.assign(copy, {n: this.n - first, size: Math.max(1, this.n - first), version: this.version});
  }

  #splice(block) {
    const from = this.indexAt(block.t[0] - SAME_S) + 1;
    const to = this.indexAt(block.t[block.t.length - 1] + SAME_S) + 1;
    this.#insert(block, from, to);
  }

  /** Replace samples [from, to) by the block's. */
  #insert(block, from, to) {
    const count = block.t.length;
    const total = this.n - (to - from) + count;
    if (total > this.size) this.#grow(total);
    for (const [name] of COLUMNS) {
      if (to < this.n) this[name].copyWithin(from + count, to, this.n);
      this[name].set(block[name], from);
    }
    this.n = total;
  }

  #grow(total) {
    while (this.size < total) this.size *= 2;
    for (const [name, Type] of COLUMNS) {
      const wider = new Type(this.size);
      wider.set(this[name].subarray(0, this.n));
      this[name] = wider;
    }
  }

  /** Forget what is older than KEEP_S, in large steps so that it costs nothing on average. */
  #trim() {
    const old = this.indexAt(this.last - this.keepS) + 1;
    if (old < this.n / 4 || old < 256) return;
    for (const [name] of COLUMNS) this[name].copyWithin(0, old, this.n);
    this.n -= old;
  }
}
