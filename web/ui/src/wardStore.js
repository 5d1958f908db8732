// The store of the ward's page: the socket, one row a patient, and whether the page is current. Rows are replaced, never
// changed, so that a component sees at a glance whether its row is new. When the last component that holds it is gone,
// its line is closed.
import {io} from 'socket.io-client';

const STALE_S = 4; // the server speaks every second
const LINGER_MS = 300;
const TICK_MS = 1000;
const POINTS_S = 60;
const local = () => performance.now() / 1000;

export class WardStore {
  constructor() {
    Object.assign(this, {holders: 0, rows: new Map(), looks: {}, down: null, known: false, clock: NaN, hushed: false});
    this.lastWord = -Infinity; // machine's monotonic s of the last message
    this.listeners = new Map();
  }

  /** Subscribe to `row:ID` (news of one patient), `list` (who is there, or in which order), `news` (any) or `tick`. Returns the way out. */
  on(kind, listener) {
    if (!this.listeners.has(kind)) this.listeners.set(kind, new Set());
    this.listeners.get(kind).add(listener);
    return () => this.listeners.get(kind)?.delete(listener);
  }

  #say(kind) {
    this.listeners.get(kind)?.forEach((listener) => listener());
  }

  /** Open the line once. */
  connect() {
    this.socket = io('/ward', {transports: ['websocket'], forceNew: true, reconnectionDelayMax: 3000, timeout: 5000});
    const hear = (name, take) => this.socket.on(name, (data, received) => {
      this.lastWord = local();
      take(data);
      if (typeof received === 'function') received(); // the server sends no more than it hears back
    });
    hear('hello', ({looks}) => { this.looks = looks; });
    hear('ward', (message) => this.take(message));
    hear('over', () => this.end());
    this.socket.on('connect', () => { this.down = null; });
    this.socket.on('disconnect', () => { this.down ??= Date.now() / 1000; });
    this.socket.on('connect_error', () => { this.down ??= Date.now() / 1000; });
    this.timer = setInterval(() => this.#say('tick'), TICK_MS);
  }

  close() {
    clearInterval(this.timer);
    this.socket?.disconnect();
    this.listeners.clear();
  }

  /** The session is over: no row stays, and session.js says so. */
  end() {
    if (!this.socket?.active && !this.rows.size) return;
    this.socket?.disconnect();
    this.rows.clear();
    this.#say('list');
    this.#say('news');
    window.dispatchEvent(new Event('everbeat:session'));
  }

  /** One message of the server: all rows, or what is new of some. */
  take({t, all, rows, gone}) {
    let moved = !this.known || gone.length > 0;
    this.clock = t;
    this.heard = local();
    this.known = true;
    if (all) {
      for (const id of this.rows.keys()) if (!(id in rows)) moved = this.rows.delete(id);
    }
    for (const id of gone) this.rows.delete(id);
    for (const [id, news] of Object.entries(rows)) {
      const old = this.rows.get(id);
      moved ||= !old || ['need', 'card', 'alarm', 'silent', 'locked'].some((name) => name in news);
      this.rows.set(id, merged(id, all ? null : old, news, t));
    }
    if (moved) this.#say('list');
    for (const id of Object.keys(rows)) this.#say(`row:${id}`);
    this.#say('news');
  }

  /** The server's Unix s now. */
  now() {
    return this.clock + (local() - this.heard);
  }

  /** {state, since (Unix s)}: connecting, live or down. */
  connection() {
    const quiet = local() - this.lastWord;
    if (this.lastWord === -Infinity) return {state: this.down ? 'down' : 'connecting', since: this.down ?? NaN};
    return quiet > STALE_S ? {state: 'down', since: Date.now() / 1000 - quiet} : {state: 'live', since: NaN};
  }
}

/** The row after the news; points are kept for a minute, with their Unix times. */
function merged(id, old, news, t) {
  const fresh = (news.points ?? []).map(([age, value, provenance]) => ({t: t - age, value, provenance}));
  const kept = old && !('spark' in news) ? old.points.filter((point) => Math.abs(point.t - t) < POINTS_S) : []; // none to come: clocks are set back
  return {...old, ...news, id, points: [...kept, ...fresh]};
}

let current = null;
window.addEventListener('everbeat:ended', () => current?.end());

/** The ward's store; the first call makes it and opens the line. */
export function wardStore() {
  if (!current) {
    current = window.everbeatWard = new WardStore(); // on window for tests and for a curious engineer
    current.connect();
  }
  return current;
}

/** Keep the store until the returned function is called; the last to let go closes the line. */
export function holdWard() {
  const held = wardStore();
  held.holders += 1;
  return () => {
    held.holders -= 1;
    setTimeout(() => {
      if (held.holders || current !== held) return;
      held.close();
      current = window.everbeatWard = null;
    }, LINGER_MS);
  };
}
