// Drives the sweep of a room from its store: which rows there are and where, when to paint, and what stands still while
// the picture is frozen. Frozen rows hold copies of their samples, so that neither time nor a revision changes them.
import {channelName} from '../i18n.js';
import {Scale} from '../scale.js';
import {SLOW_KEEP_S} from '../series.js';
import {Sweep} from '../sweep.js';
import {whyWithheld} from '../telling.js';
import {lookOf} from '../view.js';
import {marksOf} from '../marks.js';
import {Gains} from './gains.js';
import {DEFAULT_SPEED, isSlow, paceOf} from './speed.js';

const FRAME_MS = 1000 / 60; // faster screens gain nothing
const PAD = {tight: [18, 5], roomy: [20, 9]}; // css px above and below a trace, for its name and its brackets
const TIGHT_PX = 60;

export class Monitor {
  /** @param s the store @param {HTMLElement} stage holds the canvas `.eb-sweep` and the rows */
  constructor(s, stage) {
    Object.assign(this, {s, stage, speed: DEFAULT_SPEED, frozen: null, rows: [], onLayout: () => {}});
    this.gains = new Gains(sessionOf(), s.patient);
    this.canvas = stage.querySelector('.eb-sweep');
    this.sweep = new Sweep(this.canvas);
    s.sweepOf = (id) => this.canvas.clientWidth / this.#pace(s.status.channels[id]).pxPerS;
  }

  /** Begin to paint; returns the way out. */
  start() {
    const watcher = new ResizeObserver(() => { // a resized canvas is empty: paint before it is seen
      this.sweep.resize();
      this.layOut();
      this.paint();
    });
    watcher.observe(this.canvas);
    const outs = [
      this.s.on('past', () => this.#refresh(true)), this.s.on('tick', () => this.#refresh(false)),
    ];
    let request = requestAnimationFrame(this.#loop(() => { request = requestAnimationFrame(this.loop); }));
    return () => {
      cancelAnimationFrame(request);
      watcher.disconnect();
      outs.forEach((out) => out());
    };
  }

  #loop(again) {
    let drawn = 0;
    this.loop = (now) => {
      again();
      if (now - drawn < FRAME_MS - 3) return;
      drawn = now;
      this.paint();
    };
    return this.loop;
  }

  /** One frame: what the cursor passed, or everything where something changed. */
  paint() {
    if (this.frozen) {
      if (this.sweep.dirty) this.sweep.frame(this.frozen.t);
      return;
    }
    const now = this.s.frame();
    if (now.moving || this.sweep.dirty) this.sweep.frame(now.t);
  }

  /** The view time of the picture, Unix s. */
  get t() {
    return this.frozen ? this.frozen.t : this.s.view.t;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.layOut();
  }

  setGain(id, gain) {
    const row = this.rows.find((one) => one.id === id);
    if (!row) return;
    this.gains.set(id, gain, row.scale);
    this.#rescale(row);
    this.sweep.repaint();
  }

  /** Hold the picture as it stands, or let it go. */
  freeze(on = !this.frozen) {
    if (on === Boolean(this.frozen) || !Number.isFinite(this.s.view.t)) return;
    this.frozen = on ? this.#held() : null;
    this.sweep.still = on;
    this.layOut();
    this.paint(); // what stands is seen at once, not at the next frame
  }

  #held() {
    const at = this.s.view.t;
    const copies = this.rows.map((row) => [row.id, {
      series: row.series?.copy(at - SLOW_KEEP_S), scale: {low: row.scale.low, high: row.scale.high},
    }]);
    return {t: at, rows: new Map(copies), events: this.s.events};
  }

  /** Take the rows' places from their elements: whoever draws other rows calls this once they are there. */
  layOut() {
    const origin = this.canvas.getBoundingClientRect().top;
    this.rows = [...this.stage.querySelectorAll('.eb-row')].filter((element) => this.s.status?.channels?.[element.dataset.row])
      .map((element) => this.#row(element, origin));
    const bands = ['fast', 'slow'].map((name) => ({name, ...paceOf(name, this.speed), rows: this.rows.filter((row) => row.band === name)}));
    this.sweep.layOut(bands.filter((band) => band.rows.length).map((band) => ({...band, ...extent(band.rows)})));
    this.#refresh(true);
    this.onLayout();
  }

  #row(element, origin) {
    const id = element.dataset.row;
    const info = this.s.status.channels[id];
    const at = element.getBoundingClientRect();
    const [padTop, padBottom] = at.height < TIGHT_PX ? PAD.tight : PAD.roomy;
    return {
      id, info, label: channelName(id, info.label), look: lookOf(this.s.looks, id), period: info.period_s, kind: info.kind,
      band: isSlow(info) ? 'slow' : 'fast', stepped: info.kind === 'level' && info.period_s >= 1,
      top: at.top - origin, height: at.height, padTop, padBottom, marks: [], version: -1, told: null, range: {low: NaN, high: NaN},
    };
  }

  #pace(info) {
    return paceOf(isSlow(info) ? 'slow' : 'fast', this.speed);
  }

  /** Bring every row up to its samples and scale; whatever changes strips that are painted already repaints all. */
  #refresh(all) {
    let changed = all;
    for (const row of this.rows) {
      this.#feed(row);
      changed = this.#rescale(row) || changed;
      changed = this.#mark(row) || changed;
    }
    if (changed) this.sweep.repaint();
  }

  #feed(row) {
    const held = this.frozen?.rows.get(row.id);
    row.series = this.frozen ? held?.series : this.s.series.get(row.id);
    row.scale = (this.frozen ? held?.scale : this.s.scales.get(row.id)) ?? new Scale(row.kind, 0);
    if (!this.frozen && row.series && row.band === 'slow') row.series.keepS = SLOW_KEEP_S;
  }

  #rescale(row) {
    const {low, high} = this.gains.range(row.id, row.scale, row.kind);
    if (Object.is(low, row.range.low) && Object.is(high, row.range.high)) return false;
    row.range = {low, high};
    return true;
  }

  #mark(row) {
    const {events} = this.frozen ?? this.s;
    if (!row.series || !Number.isFinite(this.t) || (row.series.version === row.version && row.told === events)) return false;
    const before = signature(row.marks);
    const span = this.canvas.clientWidth / this.#pace(row.info).pxPerS;
    row.marks = marksOf(row.series, this.t - 2 * span, this.t + 1, row.period);
    for (const mark of row.marks) if (mark.kind === 'withheld') mark.reason = whyWithheld(events, row.id, mark);
    Object.assign(row, {version: row.series.version, told: events});
    return signature(row.marks) !== before;
  }
}

const extent = (rows) => ({top: rows[0].top, height: rows.at(-1).top + rows.at(-1).height - rows[0].top});
const signature = (marks) => marks.map((m) => `${m.kind}${m.from}${m.open ? '' : m.to}${m.reason ?? ''}`).join();

function sessionOf() {
  try {
    return window.sessionStorage;
  } catch {
    return null; // the browser forbids it: gains last as long as the page
  }
}
