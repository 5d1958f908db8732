// Which hours of the past are read. An hour that could not be read must not look like one in which nothing is stored, so
// that both are kept apart: what is wanted, what was read and until when, what failed. Pure; times in Unix s.
import {HOUR_S, MAX_S} from './past.js';

const SETTLED_S = 300; // so long after its end an hour may still get late readings and revisions

export class Hours {
  constructor() {
    this.parts = new Map(); // hour number -> answer of /events
    this.readTo = new Map(); // hour number -> when it was read
    this.failed = new Set(); // hours whose last reading failed
  }

  /** Hours to read now, newest first: what may have grown since, and what was never read. Older ones are forgotten. */
  due(now) {
    const [oldest, newest] = [now - MAX_S, now].map((t) => Math.floor(t / HOUR_S));
    for (const kept of [this.parts, this.readTo, this.failed]) for (const k of [...kept.keys()]) if (k < oldest) kept.delete(k);
    const wanted = Array.from({length: newest - oldest + 1}, (_, i) => newest - i);
    return wanted.filter((k) => !(this.readTo.get(k) >= (k + 1) * HOUR_S + SETTLED_S));
  }

  /** Hour k was asked for at `now` and this came. */
  took(k, part, now) {
    this.parts.set(k, part);
    this.readTo.set(k, now);
    this.failed.delete(k);
  }

  missed(k) {
    this.failed.add(k);
  }

  /** Whether all that was asked for came. */
  get whole() {
    return this.failed.size === 0;
  }

  /** Stretches [from, to] up to `now` of which nothing is known because their hours could not be read, in order. */
  unread(now) {
    const parts = [...this.failed].sort((a, b) => a - b)
      .map((k) => [Math.max(k * HOUR_S, this.readTo.get(k) ?? -Infinity, now - MAX_S), Math.min((k + 1) * HOUR_S, now)]);
    const out = [];
    for (const [from, to] of parts) {
      if (to <= from) continue;
      if (out.length && out.at(-1)[1] >= from) out.at(-1)[1] = to;
      else out.push([from, to]);
    }
    return out;
  }
}
