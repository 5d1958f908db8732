// The moment and the window of the replay, and how they move: playing, stepping, jumping, choosing a range. It draws
// nothing; whoever listens is told 'at' (the moment moved), 'range' (the window moved) or 'play'.

export const SPEEDS = [0.5, 1, 2, 5, 10];
export const SPANS = [120, 600, 1800, 3600, 21600];
const LEAST_S = 10;
const MAX_S = 21600;
const LEAD = 0.9; // playing past this share of the window turns the page

export class Model {
  #listeners = new Set();
  #frame = 0;

  /** @param {{at: number, span: number, channel: string}} start @param {() => [number, number]} bounds stored past, Unix s */
  constructor({at, span, channel}, bounds) {
    Object.assign(this, {bounds, channel, playing: false, speed: 1, view: 'live'});
    const size = clamp(span, LEAST_S, MAX_S);
    Object.assign(this, {t: at, t0: at - size * 0.7, t1: at + size * 0.3});
  }

  on(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  say(what) {
    this.#listeners.forEach((listener) => listener(what));
  }

  get span() {
    return this.t1 - this.t0;
  }

  /** Go to `t`; the window follows where it would leave it. */
  go(t) {
    const [from, to] = this.bounds();
    this.t = clamp(t, from, to);
    if (this.t < this.t0 || this.t > this.t1) this.range(this.t - this.span / 2, this.t + this.span / 2);
    this.say('at');
  }

  /** The window is [t0, t1], as far as the past is stored; the moment stays in it. */
  range(t0, t1, t = this.t) {
    const [from, to] = this.bounds();
    const size = clamp(t1 - t0, LEAST_S, MAX_S);
    const start = to - from > size ? clamp(t0, from, to - size) : to - size;
    Object.assign(this, {t0: start, t1: start + size, t: clamp(t, Math.max(from, start), Math.min(to, start + size))});
    this.say('range');
    this.say('at');
  }

  /** As much as `span` s around the moment. */
  zoom(span) {
    const share = clamp((this.t - this.t0) / this.span, 0.1, 0.9);
    this.range(this.t - share * span, this.t + (1 - share) * span);
  }

  play(on = !this.playing) {
    if (on === this.playing) return;
    this.playing = on;
    cancelAnimationFrame(this.#frame);
    let before = performance.now();
    const step = (now) => {
      this.#advance(((now - before) / 1000) * this.speed);
      before = now;
      if (this.playing) this.#frame = requestAnimationFrame(step);
    };
    if (on) this.#frame = requestAnimationFrame(step);
    this.say('play');
  }

  #advance(by) {
    const end = this.bounds()[1];
    if (this.t + by >= end) {
      this.go(end);
      this.play(false);
      return;
    }
    this.t += by;
    if (this.t > this.t0 + LEAD * this.span && this.t1 < end) this.range(this.t - 0.2 * this.span, this.t + 0.8 * this.span);
    this.say('at');
  }

  dispose() {
    this.playing = false;
    cancelAnimationFrame(this.#frame);
    this.#listeners.clear();
  }
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

/** What the address says: ?at=unix&span=s&channel=id; what is missing or no number takes the fallback. */
export function fromAddress(search, fallbackAt) {
  const asked = new URLSearchParams(search);
  const number = (name, otherwise) => {
    const value = Number(asked.get(name) ?? NaN);
    return Number.isFinite(value) && value > 0 ? value : otherwise;
  };
  return {at: number('at', fallbackAt), span: number('span', 600), channel: asked.get('channel') ?? ''};
}

export const toAddress = (model) => `?at=${model.t.toFixed(1)}&span=${Math.round(model.span)}${model.channel ? `&channel=${encodeURIComponent(model.channel)}` : ''}`;
