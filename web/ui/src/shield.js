// Whether what is stored of this patient is as it was written: asked of the server every 5 s while somebody watches, and
// judged in one word. Verified is said only of a fresh look by the notary that found nothing; whatever is unclear is not.

const EVERY_MS = 5000;
const OLD_MS = 60_000; // a notary looks every 2 s
const UNHEARD_MS = 15_000;
const local = () => performance.now();

/**
 * @param {object|null} state what /proof/state said; null: nothing yet
 * @param {number} age ms since it said so
 * @returns {{word: 'verified'|'waiting'|'alarm', why: string, upto: number}} why: '' or never, old, unsigned, unheard,
 *   asking; upto: Unix s, NaN where nothing was signed. An alarm stands, however old: only the log's keeper ends it.
 */
export function judge(state, age) {
  const upto = state?.upto_ms ? state.upto_ms / 1000 : NaN;
  const waits = (why) => ({word: 'waiting', why, upto});
  if (state?.alarm) return {word: 'alarm', why: '', upto};
  if (!state) return waits(age > UNHEARD_MS ? 'unheard' : 'asking');
  if (age > UNHEARD_MS) return waits('unheard');
  if (!state.t_ms) return waits('never');
  if (state.now_ms + age - state.t_ms > OLD_MS) return waits('old');
  return Number.isFinite(upto) ? {word: 'verified', why: '', upto} : waits('unsigned');
}

class Watch {
  constructor(patient) {
    Object.assign(this, {patient, state: null, heard: local(), listeners: new Set(), timer: 0});
  }

  get seen() {
    return {...judge(this.state, local() - this.heard), state: this.state};
  }

  add(listener) {
    this.listeners.add(listener);
    if (!this.timer) {
      this.timer = setInterval(() => this.ask(), EVERY_MS);
      this.ask();
    }
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size) return;
      clearInterval(this.timer);
      this.timer = 0;
    };
  }

  async ask() {
    try {
      const answer = await fetch(`/data/${encodeURIComponent(this.patient)}/proof/state`, {signal: AbortSignal.timeout(EVERY_MS - 500)});
      if (!answer.ok) throw new Error(`expected the state of the log, got ${answer.status}`);
      this.state = await answer.json();
      this.heard = local();
    } catch (error) {
      console.warn('everbeat: the log is not known to be verified', error);
    }
    this.listeners.forEach((listener) => listener());
  }
}

const watches = new WeakMap(); // store -> Watch

/** The one watch over a store's patient; it asks while it has listeners. */
export function watchOf(store) {
  if (!watches.has(store)) watches.set(store, new Watch(store.patient));
  return watches.get(store);
}
