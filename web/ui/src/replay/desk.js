// What holds the replay together: it reads the past, moves model, charts and overview together, hears the keyboard, and
// keeps the address. React draws what it holds, a few times a second at most.
import {t} from '../i18n.js';
import {lazy} from '../lazy.js';
import {lookOf, orderChannels, sampleAt} from '../view.js';
import {clockTime, tick} from '../words.js';
import {JUMPS} from './Controls.js';
import {Hours} from './hours.js';
import {onKey} from './keys.js';
import {Model, fromAddress, toAddress} from './model.js';
import {MAX_S, Past} from './past.js';
import {countOf, gapAt, markKind, stopAfter, stops, storyOf} from './story.js';
import {troubleText} from './troubles.js';

const DRAW_MS = 90;
const FETCH_MS = 130;
const ADDRESS_MS = 500;
const REFRESH_MS = 10_000;
const POINTS_PER_PX = 3;
const LABEL_PX = 74;

export class Desk {
  /** @param {object} store of the patient whose replay this is; `number`: her record number on this screen */
  constructor(store, number, render) {
    Object.assign(this, {store, render, hours: new Hours(), story: storyOf(new Map()), rows: [], scores: {}, hover: null, troubles: {}, extent: [NaN, NaN], loading: true, empty: false});
    this.past = new Past(store.patient, number);
    this.past.onTrouble = (error) => (error ? this.#fail('moment', error) : this.#well('moment'));
    const now = Date.now() / 1000;
    this.asked = new URLSearchParams(window.location.search).has('at');
    this.model = new Model(fromAddress(window.location.search, now), () => this.#bounds());
    this.stops = {gap: [], alarm: [], threat: []};
  }

  get chosen() {
    return this.model.channel;
  }

  #bounds() {
    const now = Date.now() / 1000;
    if (!Number.isFinite(this.story.from)) return [now - MAX_S, now];
    return [this.whole ? this.story.from : now - MAX_S, this.#end()]; // older hours are still on their way, or missing
  }

  /** Start, with the elements to draw into. Returns the end. */
  mount({over, charts, head}) {
    Object.assign(this, {head, gone: false});
    const keys = (event) => onKey(event, this.model, this.jump);
    document.addEventListener('keydown', keys);
    const off = this.model.on((what) => this.#moved(what));
    const refresh = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#load(over, charts);
    this.#readHours();
    return () => {
      this.gone = true;
      document.removeEventListener('keydown', keys);
      off();
      clearInterval(refresh);
      for (const timer of ['drawing', 'fetching', 'keeping']) {
        clearTimeout(this[timer]);
        this[timer] = null;
      }
      this.reading?.abort();
      this.model.dispose();
      this.charts?.dispose();
      this.overview?.dispose();
    };
  }

  /** Charts and overview. Where their bundle does not come, the page says so; `retry` and every refresh ask again. */
  #load(over, charts) {
    this.loadAgain = null;
    lazy('timeline').then(({Charts, Overview}) => {
      if (this.gone) return;
      this.charts = new Charts(charts, {
        clock: clockTime, tick, onPick: (channel, at) => { this.model.channel = channel; this.model.go(at); },
        onRange: (t0, t1) => this.model.range(t0, t1), onHover: (...where) => this.#hovered(...where),
      });
      this.overview = new Overview(over, {onRange: (t0, t1, at) => this.model.range(t0, t1, at)});
      this.#well('bundle');
      this.#showOverview();
      this.#fetchSoon(); // as many points as the charts are wide
      this.draw();
    }).catch((error) => {
      console.error('everbeat: charts and overview could not be loaded;', error);
      this.loadAgain = () => this.#load(over, charts);
      this.#fail('bundle', error);
    });
  }

  /** What a person may ask for where something could not be read. */
  retry = () => this.#refresh();

  #refresh() {
    if (this.gone) return;
    this.loadAgain?.();
    if (this.troubles.window) this.#fetchSoon();
    if (this.troubles.gap) this.gapKey = null; // asked for anew when it is drawn, after the hours
    this.#readHours();
  }

  /** The hours that may have changed and those that are missing, newest first, shown as they come. One that can't be read
   * keeps none of the others away. */
  async #readHours() {
    if (this.hoursComing) return;
    this.hoursComing = true;
    let trouble = null;
    for (const k of this.hours.due(Date.now() / 1000)) {
      if (this.gone) break;
      const asked = Date.now() / 1000;
      try {
        this.hours.took(k, await this.past.hour(k), asked);
      } catch (error) {
        this.hours.missed(k);
        trouble = error;
      }
      if (!this.gone) this.#learn();
    }
    this.hoursComing = false;
    if (!this.gone) this.#heard(trouble);
  }

  /** All hours were asked for; `trouble`: why some did not come. */
  #heard(trouble) {
    const before = this.whole;
    this.whole = this.hours.whole;
    this.empty = !this.rows.length && this.whole;
    if (this.empty) this.loading = false;
    if (this.whole && !before) this.model.range(this.model.t0, this.model.t1);
    if (trouble) this.#fail('hours', trouble);
    else this.#well('hours');
  }

  /** The newest time of which there is something to say, be it that it could not be read. */
  #end() {
    const [, unread] = this.hours.unread(Date.now() / 1000).at(-1) ?? [];
    return Math.max(this.story.to, unread ?? -Infinity);
  }

  #learn() {
    const first = !this.rows.length;
    this.story = storyOf(this.hours.parts);
    const {looks, status} = this.store;
    const before = this.rows.map((row) => row.id).join();
    this.rows = orderChannels(this.story.channels, looks).map((id) => ({
      id, meta: this.story.channels[id], look: lookOf(looks, id), period: status?.channels?.[id]?.period_s ?? this.story.channels[id].period_s,
    }));
    if (!this.rows.length) return;
    this.empty = false;
    for (const kind of Object.keys(JUMPS)) this.stops[kind] = stops(this.story, kind);
    if (first && !this.asked) this.model.range(this.story.to - this.model.span, this.story.to, this.story.to);
    this.#showOverview();
    if (first || before !== this.rows.map((row) => row.id).join()) this.#fetchSoon();
    this.draw();
  }

  #showOverview() {
    if (!this.rows.length) return;
    const unread = this.hours.unread(Date.now() / 1000);
    const to = this.#end();
    this.extent = [Math.min(this.story.from, to - 60, unread[0]?.[0] ?? Infinity), to];
    this.overview?.show({
      from: this.extent[0], to, unread,
      bars: this.rows.map(({id, look}) => ({color: look.color, shown: this.story.shown[id] ?? [], known: this.story.known[id] ?? []})),
      marks: this.story.events.map((e) => ({t: e.t, kind: markKind(e)})).filter((mark) => mark.kind), gaps: Object.values(this.story.gaps).flat(),
    });
    this.#place();
  }

  #moved(what) {
    if (what === 'range' || what === 'view') this.#fetchSoon();
    if (what === 'range') this.charts?.move(this.model.t0, this.model.t1);
    this.#place();
    this.#keepAddress();
    this.draw();
  }

  /** Playhead and overview follow at once; the rest is drawn a little later. */
  #place() {
    const {model} = this;
    this.overview?.move(model.t0, model.t1, model.t);
    if (!this.charts || !this.head) return;
    const x = this.charts.place(model.t);
    this.head.style.transform = `translateX(${x}px)`;
    this.head.style.setProperty('--shift', `${Math.min(0, this.charts.box.clientWidth - x - LABEL_PX / 2)}px`); // its time stays in sight
  }

  draw() {
    this.drawing ??= setTimeout(() => {
      this.drawing = null;
      if (this.gone) return;
      this.#askGap();
      this.render();
    }, DRAW_MS);
  }

  /** React has drawn: places for charts may be new. */
  drawn() {
    if (this.charts && this.data && this.shownData !== this.data) {
      this.shownData = this.data;
      const {best, live, t0, t1} = this.data;
      const rows = this.rows.map(({id, meta, look}) => [id, {
        look, kind: meta.kind, shown: (this.data.view === 'live' ? live : best).get(id), later: this.data.view === 'live' ? best.get(id) : undefined,
      }]);
      this.charts.show(new Map(rows), this.model.t0 ?? t0, this.model.t1 ?? t1);
      this.#place();
    }
  }

  #fetchSoon() {
    clearTimeout(this.fetching);
    this.fetching = setTimeout(() => this.#fetch(), FETCH_MS);
  }

  async #fetch() {
    if (!this.rows.length || this.gone) return;
    this.reading?.abort();
    this.reading = new AbortController();
    const {signal} = this.reading;
    const {t0, t1, view} = this.model;
    const points = Math.min(4000, Math.round((this.charts?.across ?? 800) * POINTS_PER_PX));
    try {
      const [live, best] = await Promise.all(['live', 'best'].map((name) => this.past.window(name, t0, t1, points, signal)));
      this.data = {live, best, t0, t1, view};
      this.loading = false;
      this.#well('window');
      this.scores.window = await this.past.compare(t0, t1, signal);
      this.draw();
    } catch (error) {
      if (!signal.aborted) this.#fail('window', error);
    }
  }

  /** The score of the gap that the moment lies in, asked for once a gap. */
  async #askGap() {
    const id = this.rows.some((row) => row.id === this.chosen) ? this.chosen : this.rows[0]?.id;
    const gap = id && gapAt(this.story, id, this.model.t);
    const key = gap ? `${id}|${gap[0]}` : '';
    if (key === this.gapKey) return;
    this.gapKey = key;
    this.scores.gap = null;
    delete this.troubles.gap; // that was another gap's
    if (!gap) return;
    try {
      const found = await this.past.compare(gap[0] - 0.001, gap[1] + 0.001);
      if (this.gapKey === key) this.scores.gap = found;
      this.draw();
    } catch (error) {
      if (this.gapKey === key) this.#fail('gap', error);
    }
  }

  /** channel -> sample of one view at one time; channels whose samples are on their way are missing. */
  samples(view, at) {
    const series = this.rows.length ? this.past.around(view, at, () => this.draw()) : null;
    return new Map(series ? this.rows.map(({id, period}) => [id, sampleAt(series.get(id), at, period)]) : []);
  }

  thenAndLater(id) {
    const at = this.model.t;
    return {t: at, shown: this.samples('live', at).get(id), known: this.samples('best', at).get(id)};
  }

  choose = (id) => {
    this.model.channel = id;
    this.model.say('view');
  };

  jump = (kind, back) => {
    const stop = stopAfter(this.stops[kind], this.model.t, back);
    if (stop === undefined) return;
    this.model.play(false);
    if (kind === 'gap') this.model.channel = this.rows.find(({id}) => gapAt(this.story, id, stop + 0.6))?.id ?? this.model.channel;
    this.model.go(kind === 'gap' ? stop + 0.5 : stop);
  };

  can = (kind, back) => stopAfter(this.stops[kind], this.model.t, back) !== undefined;

  overviewText() {
    const said = t('replay.overview_text', {
      from: clockTime(this.story.from), to: clockTime(this.story.to), gaps: this.stops.gap.length, alarms: countOf(this.story, 'alarm'), threats: countOf(this.story, 'threat'),
    });
    const unread = this.hours.unread(Date.now() / 1000).map(([from, to]) => t('replay.unread_text', {from: clockTime(from), to: clockTime(to)}));
    return [said, ...unread].join('. ');
  }

  #hovered(channel, at, x, y) {
    this.hover = channel === null ? null : {channel, t: at, x, y};
    this.draw();
  }

  /** The address names the moment, so that it can be sent to a colleague; not more often than browsers allow. */
  #keepAddress() {
    this.keeping ??= setTimeout(() => {
      this.keeping = null;
      if (!this.gone) window.history.replaceState(window.history.state, '', window.location.pathname + toAddress(this.model));
    }, ADDRESS_MS);
  }

  /** What could not be read, in a sentence; '' where nothing is amiss. */
  get trouble() {
    return troubleText(this.troubles, this.rows.length > 0);
  }

  #fail(part, error) {
    this.troubles[part] = error;
    this.loading = false;
    this.draw();
  }

  #well(part) {
    delete this.troubles[part];
    this.draw();
  }
}
