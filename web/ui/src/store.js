// The store of one patient's page: the socket, the samples, the clocks and the state of the line. Components subscribe;
// they hold no data of their own. `tick` comes four times a second with one view of all channels (see view.js); a sweep
// asks frame() for the view time between ticks. When the last component that holds it is gone, its line is closed.
import {io} from 'socket.io-client';
import {EngineClock, SET_BACK_S, ViewClock} from './clock.js';
import {patientOfPage} from './address.js';
import {shownNumber} from './person.js';
import {Scale} from './scale.js';
import {Series} from './series.js';
import {NOTHING, bodyWords, breathFill, channelsOf} from './bodyView.js';
import {lookOf, orderChannels, sampleAt} from './view.js';
import {KIND, decode} from './wire.js';

const TICK_MS = 250;
const PAUSE_S = 1.5; // without a word for this long the view goes on only as far as it has samples
const STALE_S = 3; // without a word from the server for this long the page says so; the engine speaks every second
const RETRY_MS = 2000;
const LINGER_MS = 300;
const MAX_EVENTS = 100;
const DEFAULT_LAG_S = 4.5;
const local = () => performance.now() / 1000;

class Store {
  /** @param {string} patient id of the patient whose room this is */
  constructor(patient) {
    Object.assign(this, {
      patient, holders: 0,
      card: null, looks: {}, status: null, events: [], dropped: null, refusedMessages: 0,
      series: new Map(), scales: new Map(), order: [], silent: null, down: null,
      view: {t: NaN, samples: new Map(), body: NOTHING}, sweepOf: () => 20, // channel -> s across its trace
      picked: null, over: null, drawn: NaN, // the view time that was drawn last
    });
    this.engine = new EngineClock();
    this.clock = new ViewClock();
    this.listeners = new Map();
    this.lastWord = -Infinity; // machine's monotonic s of the last message
  }

  /** Whose screen this is, and the line to the server: what an act is sent with. Capture it where it is drawn. */
  get whose() {
    return {patient: this.patient, number: this.card ? shownNumber(this.card) : '', socket: this.socket};
  }

  /** Subscribe to tick, channels, events, card, past, picked, status or over. Returns the way out. */
  on(kind, listener) {
    if (!this.listeners.has(kind)) this.listeners.set(kind, new Set());
    this.listeners.get(kind).add(listener);
    return () => this.listeners.get(kind)?.delete(listener); // a closed store has forgotten everyone
  }

  #say(kind, detail) {
    this.listeners.get(kind)?.forEach((listener) => listener(detail));
  }

  /** Open the line once; later calls change nothing. Without a patient there is none. */
  connect() {
    if (this.socket || !this.patient) return;
    this.closed = false;
    this.socket = io('/twin', {
      transports: ['websocket'], auth: {patient: this.patient}, forceNew: true, reconnectionDelayMax: 3000, timeout: 5000,
    });
    const hear = (name, take) => this.socket.on(name, (data, received) => {
      this.lastWord = local();
      take(data);
      if (typeof received === 'function') received(); // the server sends no more than it hears back
    });
    hear('hello', (hello) => this.#hello(hello));
    hear('card', ({card}) => { this.card = card; this.#say('card'); }); // the record was edited, or the patient moved
    for (const name of ['snapshot', 'frame', 'revision']) hear(name, (data) => this.#samples(data));
    hear('status', (status) => this.#status(status));
    hear('event', (event) => this.#events([event]));
    hear('events', (events) => this.#events(events));
    hear('silent', (silent) => { this.silent = silent.since === null ? null : silent; });
    hear('over', ({why}) => this.end(why));
    hear('dropped', ({count}) => { this.dropped = {count: (this.dropped?.count ?? 0) + count, t: this.engineNow() || Date.now() / 1000}; });
    this.socket.on('connect', () => { this.down = null; });
    this.socket.on('disconnect', (reason) => {
      this.down ??= Date.now() / 1000;
      if (reason === 'io server disconnect' && !this.closed && !this.over) setTimeout(() => this.socket.connect(), RETRY_MS); // no such patient, yet
    });
    this.socket.on('connect_error', ({message}) => {
      if (message === 'gone' && this.card) return this.end('gone'); // it was here, and what was drawn still is
      this.down ??= Date.now() / 1000;
      if (!this.socket.active && !this.closed) setTimeout(() => this.socket.connect(), RETRY_MS); // refused: admitted a moment ago?
    });
    this.timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** Close the line for good and forget everything. */
  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.socket?.disconnect();
    this.socket = null;
    this.listeners.clear();
    this.series.clear();
  }

  /** Nothing may be shown here any more, and why: erased, rights, session or gone. What was drawn and kept is cleared. */
  end(why) {
    if (this.over || this.closed) return;
    this.over = {why, since: Date.now() / 1000};
    this.socket?.disconnect();
    Object.assign(this, {
      card: null, status: null, events: [], dropped: null, series: new Map(), scales: new Map(), order: [], silent: null,
      view: {t: NaN, moving: false, samples: new Map(), body: NOTHING}, drawn: NaN,
    });
    this.pick(null);
    for (const kind of ['over', 'card', 'channels', 'events', 'past', 'status', 'tick']) this.#say(kind);
    if (why === 'session') window.dispatchEvent(new Event('everbeat:session')); // session.js looks, and says so
  }

  #hello({card, looks}) {
    Object.assign(this, {card, looks, silent: null});
    this.#say('card');
  }

  #samples(data) {
    let message;
    try {
      message = decode(data);
    } catch (error) {
      this.refusedMessages += 1; // not whole, or of another version: never drawn
      console.warn('everbeat: dropped a message', error);
      return;
    }
    if (message.kind === KIND.LIVE) this.#hearClock(message.clock);
    const late = (block) => block.t[0] < this.drawn; // after the sweep had passed its place
    const changed = message.blocks.filter((block) => this.#seriesOf(block.channel).put(block) || late(block));
    if (changed.length) this.#say('past');
  }

  #seriesOf(channel) {
    if (!this.series.has(channel)) this.series.set(channel, new Series(channel, this.status?.channels?.[channel]?.period_s));
    return this.series.get(channel);
  }

  /** The engine's clock, out of a message. Where it was ahead and was set right, nothing that lies in the future is shown. */
  #hearClock(clock) {
    if (this.engine.isSetBack(clock, local())) {
      for (const series of this.series.values()) series.clear();
      this.events = this.events.filter((event) => event.t <= clock + SET_BACK_S);
      this.drawn = NaN;
      this.#say('past');
      this.#say('events');
    }
    this.engine.hear(clock, local());
  }

  #status(status) {
    this.status = status;
    this.silent = null;
    this.#hearClock(status.t);
    this.#say('status');
    const order = orderChannels(status.channels ?? {}, this.looks);
    if (order.join() === this.order.join()) return;
    this.order = order;
    for (const id of order.filter((known) => !this.scales.has(known))) {
      const {minSpan, limits} = lookOf(this.looks, id);
      this.scales.set(id, new Scale(status.channels[id].kind, minSpan, limits));
    }
    this.#say('channels');
  }

  #events(events) {
    const key = (e) => `${e.t}|${e.kind}|${e.channel}|${e.text}`;
    const known = new Set(this.events.map(key));
    const fresh = events.filter((e) => !known.has(key(e)));
    if (!fresh.length) return;
    this.events = [...fresh, ...this.events].sort((a, b) => b.t - a.t).slice(0, MAX_EVENTS);
    this.#say('events');
  }

  engineNow() {
    return this.engine.now(local());
  }

  /** {state, since (Unix s), why}: connecting, live, silent (engine), stale (no word), down (no socket), discharged, over. */
  connection() {
    if (this.over) return {state: 'over', since: this.over.since};
    if (this.card?.discharged_ms) return {state: 'discharged', since: this.card.discharged_ms / 1000}; // nothing is expected of her
    const quiet = local() - this.lastWord;
    if (this.lastWord === -Infinity) return {state: this.down ? 'down' : 'connecting', since: this.down ?? NaN};
    const since = Date.now() / 1000 - quiet;
    if (this.down && quiet > PAUSE_S) return {state: 'down', since};
    if (this.silent) return {state: 'silent', since: this.silent.since, why: this.silent.why};
    if (quiet > STALE_S) return {state: 'stale', since};
    return {state: this.down ? 'reconnecting' : this.status ? 'live' : 'connecting', since: NaN};
  }

  get lag() {
    return this.status?.view_lag_s ?? DEFAULT_LAG_S;
  }

  /** {t, moving}: the view time now (Unix s), and whether the page is current. It stands while nothing comes. */
  frame() {
    const now = local();
    const moving = ['live', 'reconnecting'].includes(this.connection().state);
    const limit = now - this.lastWord < PAUSE_S ? Infinity : this.#newest();
    const t = moving ? this.clock.advance(this.engine.now(now) - this.lag, now, limit) : this.clock.hold(now);
    this.drawn = t;
    return {t, moving};
  }

  #newest() {
    let newest = -Infinity;
    for (const series of this.series.values()) newest = Math.max(newest, series.last);
    return newest;
  }

  #tick() {
    if (this.over) return;
    const {t, moving} = this.frame();
    const samples = new Map();
    for (const id of this.order) samples.set(id, sampleAt(this.series.get(id), t, this.status.channels[id].period_s));
    for (const id of this.order) {
      const series = this.series.get(id);
      if (moving && series && this.scales.get(id).follow(series, t - this.sweepOf(id), t)) this.#say('past');
    }
    const body = bodyWords(this.status?.channels ?? {}, samples, this.looks, this.scales, this.series, t);
    this.view = {t, moving, samples, body};
    this.#say('tick');
  }

  /** What the 3D body shows; see the twin viewer. Nothing of a standing line is passed off as present. */
  body() {
    if (!this.view.moving) return NOTHING;
    const {body} = this.view;
    const fill = body.organs.lungs?.fill === undefined ? undefined : breathFill(this.series, this.scales, this.status.channels, this.frame().t);
    return fill === undefined ? body : {...body, organs: {...body.organs, lungs: {...body.organs.lungs, fill}}};
  }

  /** Pick a place on the body, or none (null): {region, channels}, which tiles, traces and the body's card follow. */
  pick(region) {
    this.picked = region ? {region, channels: channelsOf(this.status?.channels ?? {}, region)} : null;
    this.#say('picked', this.picked);
  }

  /** The last measured time of a channel at or before the view time, Unix s; NaN where there is none in memory. */
  lastMeasured(id) {
    const series = this.series.get(id);
    for (let i = series ? series.indexAt(this.view.t) : -1; i >= 0; i -= 1) if ((series.provenance[i] & 0x0f) === 0) return series.t[i];
    return this.status?.channels?.[id]?.last_reading_s ?? NaN;
  }
}

const stores = new Map(); // patient -> Store
window.addEventListener('everbeat:ended', () => stores.forEach((store) => store.end('session')));

/**
 * The store of the patient whose page is open. Ask once, where a component is mounted, and keep the answer (useMine): the
 * address may name the next patient while the last one's values are still on screen. It has no line until it is held.
 */
export function storeOfPage() {
  const patient = patientOfPage();
  if (!stores.has(patient)) stores.set(patient, new Store(patient));
  return stores.get(patient);
}

/** Keep a store, and its line open, until the returned function is called; the last to let go closes it. */
export function hold(held) {
  held.holders += 1;
  stores.set(held.patient, held);
  if (held.patient) window.everbeat = held; // for tests and for a curious engineer; nothing on the page reads it
  held.connect();
  return () => {
    held.holders -= 1;
    setTimeout(() => { if (!held.holders) letGo(held); }, LINGER_MS); // the next page of this patient may want it
  };
}

function letGo(held) {
  held.close();
  if (stores.get(held.patient) === held) stores.delete(held.patient);
  if (window.everbeat === held) window.everbeat = null;
}
