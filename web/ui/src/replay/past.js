// What the replay reads of the stored past (web/data.py), and keeps: whole samples in short chunks, from which every number
// on the page comes; thinned windows for the charts; the story and coverage hour by hour; comparisons. Requests name
// the record number that the page shows, so that the server refuses where it would be another patient's.
import {COLUMNS, lastAt} from '../series.js';
import {decode} from '../wire.js';

const CHUNK_S = 30;
const BEFORE_S = 25; // slow channels: the sample that still stands at a chunk's start lies before it
const KEEP = 80;
const ROUNDING_S = 1e-6; // times are sums: a moment may fall this little short of its sample
const YOUNG_S = 240; // what is younger may still grow
const FRESH_MS = {young: 4000, old: 60000};
export const HOUR_S = 3600;
export const MAX_S = 6 * HOUR_S;

/** Samples of one channel that do not change. The same shape as a Series, so that sampleAt reads both. */
export class Fixed {
  constructor(channel, blocks) {
    this.channel = channel;
    this.n = blocks.reduce((n, b) => n + b.t.length, 0);
    for (const [name, Type] of COLUMNS) {
      this[name] = new Type(this.n);
      let at = 0;
      for (const b of blocks) {
        this[name].set(b[name], at);
        at += b.t.length;
      }
    }
  }

  /** Index of the last sample at or before `t` (Unix s); -1 where there is none. */
  indexAt(t) {
    return lastAt(this.t, this.n, t + ROUNDING_S);
  }
}

/** channel -> Fixed of one message. */
export function seriesOf(data) {
  const blocks = new Map();
  for (const block of decode(data).blocks) {
    if (!blocks.has(block.channel)) blocks.set(block.channel, []);
    blocks.get(block.channel).push(block);
  }
  return new Map([...blocks].map(([channel, list]) => [channel, new Fixed(channel, list)]));
}

export class Past {
  #chunks = new Map(); // key -> {at: ms, series: Map | null, coming: Promise}

  /** `onTrouble` is told why a chunk could not be read, and null when one could again. */
  constructor(patient, number) {
    Object.assign(this, {patient, number, onTrouble: () => {}});
  }

  address(name, facts) {
    return `/data/${encodeURIComponent(this.patient)}/${name}?${new URLSearchParams({...facts, number: this.number})}`;
  }

  async #ask(name, facts, signal) {
    const answer = await fetch(this.address(name, facts), {signal, credentials: 'same-origin'});
    if (!answer.ok) throw Object.assign(new Error((await answer.text()).trim().slice(0, 200)), {status: answer.status});
    return answer;
  }

  /** The thinned window, at most `points` samples a channel. */
  async window(view, t0, t1, points, signal) {
    return seriesOf(await (await this.#ask('history', {from: t0, to: t1, view, points}, signal)).arrayBuffer());
  }

  /** Story, coverage and gaps of one whole hour. */
  async hour(k) {
    return (await this.#ask('events', {from: k * HOUR_S, to: (k + 1) * HOUR_S})).json();
  }

  async compare(t0, t1, signal) {
    return (await (await this.#ask('compare', {from: t0, to: t1}, signal)).json()).channels;
  }

  /** channel -> Fixed around `t`, null while it is on its way; `onCome` is called when it is there. */
  around(view, t, onCome) {
    const k = Math.floor(t / CHUNK_S);
    const key = `${view}|${k}`;
    const held = this.#chunks.get(key);
    const age = Date.now() / 1000 - (k + 1) * CHUNK_S < YOUNG_S ? 'young' : 'old';
    if (!held || (!held.coming && Date.now() - held.at > FRESH_MS[age])) this.#fetchChunk(key, view, k, held?.series ?? null, onCome);
    return this.#chunks.get(key).series;
  }

  #fetchChunk(key, view, k, series, onCome) {
    const held = {at: Date.now(), series, coming: true};
    this.#chunks.delete(key);
    this.#chunks.set(key, held);
    while (this.#chunks.size > KEEP) this.#chunks.delete(this.#chunks.keys().next().value);
    this.#ask('history', {from: k * CHUNK_S - BEFORE_S, to: (k + 1) * CHUNK_S, view})
      .then(async (answer) => {
        held.series = seriesOf(await answer.arrayBuffer());
        this.onTrouble(null);
      })
      .catch((error) => this.onTrouble(error))
      .finally(() => {
        held.at = Date.now();
        held.coming = false;
        onCome();
      });
  }
}
