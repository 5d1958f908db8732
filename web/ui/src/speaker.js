// The one voice of a page: turns cues (sound.js) into WebAudio. A browser lets no page sound before a person has
// touched it; until then the state is `blocked`, and the page says so.
import {HARMONICS, PATTERNS, burstLength, cue, pulses} from './sound.js';

const CUT_S = 0.02; // a burst that is cut off fades within this, without a click
const LEAD_S = 0.03;

class Speaker {
  constructor() {
    const Context = window.AudioContext ?? window.webkitAudioContext;
    this.context = Context ? new Context() : null;
    this.last = {priority: 0, end: -Infinity, since: 0};
    this.bursts = 0; // how many were started: for tests and for a curious engineer
    this.voice = null;
    this.wave = this.context?.createPeriodicWave(new Float32Array(HARMONICS.length + 1), Float32Array.of(0, ...HARMONICS));
  }

  /** unavailable, blocked or armed. */
  get state() {
    if (!this.context) return 'unavailable';
    return this.context.state === 'running' ? 'armed' : 'blocked';
  }

  /** After a person's touch: ask the browser for sound. */
  arm() {
    return this.context?.resume() ?? Promise.resolve();
  }

  /** Follow what is wanted now; called a few times a second. Returns the state's word. */
  follow(wish) {
    if (this.state !== 'armed') {
      this.last = {...this.last, priority: 0, end: -Infinity}; // once armed, what stands is heard at once
      return this.state;
    }
    const t = this.context.currentTime;
    if (!wish.priority && this.last.priority) this.#hush(t);
    const burst = cue(wish, t, this.last);
    if (burst) this.#play(burst, t, wish.priority);
    return wish.why;
  }

  /** One low burst, so that a person hears that the sound works. */
  test() {
    if (this.state === 'armed' && !this.last.priority) this.#play(1, this.context.currentTime, 0);
  }

  #hush(t) {
    this.voice?.gain.cancelScheduledValues(t);
    this.voice?.gain.setTargetAtTime(0, t, CUT_S / 3);
    this.last = {priority: 0, end: -Infinity, since: t};
  }

  #play(pattern, t, priority) {
    this.#hush(t);
    this.voice = this.context.createGain();
    this.voice.gain.value = PATTERNS[pattern].level;
    this.voice.connect(this.context.destination);
    for (const pulse of pulses(pattern)) this.#pulse(pulse, t + LEAD_S + pulse.at);
    this.last = {priority, end: t + LEAD_S + burstLength(pattern), since: this.last.since};
    this.bursts += 1;
  }

  #pulse({length, rise, hz}, at) {
    const [tone, shape] = [this.context.createOscillator(), this.context.createGain()];
    tone.setPeriodicWave(this.wave);
    tone.frequency.value = hz;
    shape.gain.setValueAtTime(0, at);
    shape.gain.linearRampToValueAtTime(1, at + rise);
    shape.gain.setValueAtTime(1, at + length - rise);
    shape.gain.linearRampToValueAtTime(0, at + length);
    tone.connect(shape).connect(this.voice);
    tone.start(at);
    tone.stop(at + length);
  }
}

let voice = null;

/** The page's only speaker. */
export const speaker = () => (voice ??= new Speaker());
