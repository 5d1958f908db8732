// One uPlot a channel over one window of time, cursors in step. uPlot has scales, axes, cursor and selection; what a
// sample looks like is painted by paint.js, which knows provenance.
import uPlot from 'uplot';
import {niceRange} from '../scale.js';
import {fineHatch, paintLater, paintTrace} from './paint.js';
import {spanOf} from './pieces.js';

const AXIS = {stroke: '#a9bccd', font: '11px Inter, system-ui, sans-serif', ticks: {stroke: '#22313f', size: 4}, grid: {stroke: '#13202c', width: 1}};
const LEFT = 58;
const RIGHT = 12;
const FOOT = 24;

export class Charts {
  /**
   * @param {HTMLElement} box holds one child [data-chart=channel] a channel, which may change
   * @param {{clock: (t: number) => string, tick: (v: number, look: object) => string, onPick(channel, t), onRange(t0, t1),
   *   onHover(channel, t, x, y)}} facts
   */
  constructor(box, facts) {
    Object.assign(this, {box, facts, plots: new Map(), rows: new Map(), t0: 0, t1: 1});
    this.watcher = new ResizeObserver(() => this.#fit());
    this.watcher.observe(box);
  }

  /** Where times lie, for the playhead over all charts: px from the box's left edge. */
  place(t) {
    return LEFT + ((t - this.t0) / (this.t1 - this.t0)) * (this.box.clientWidth - LEFT - RIGHT);
  }

  /** Pixels across one chart's plot. */
  get across() {
    return Math.max(50, this.box.clientWidth - LEFT - RIGHT);
  }

  /** rows: channel -> {look, kind, shown: samples | undefined, later: samples | undefined}; the window is [t0, t1]. */
  show(rows, t0, t1) {
    Object.assign(this, {rows, t0, t1});
    for (const [channel, plot] of this.plots) {
      if (rows.has(channel) && this.#holder(channel)?.contains(plot.root)) continue;
      plot.destroy();
      this.plots.delete(channel);
    }
    for (const channel of rows.keys()) {
      if (!this.plots.has(channel) && this.#holder(channel)) this.plots.set(channel, this.#make(channel));
    }
    this.#fit();
    for (const [channel, plot] of this.plots) this.#scale(channel, plot);
  }

  /** The window moved; what is known of it is drawn until more comes. */
  move(t0, t1) {
    Object.assign(this, {t0, t1});
    for (const plot of this.plots.values()) plot.setScale('x', {min: t0, max: t1});
  }

  dispose() {
    this.watcher.disconnect();
    for (const plot of this.plots.values()) plot.destroy();
    this.plots.clear();
  }

  #holder(channel) {
    return this.box.querySelector(`[data-chart="${CSS.escape(channel)}"] .eb-chart-plot`);
  }

  #fit() {
    for (const [channel, plot] of this.plots) {
      const holder = this.#holder(channel);
      if (!holder) continue;
      const {clientWidth: width, clientHeight: height} = holder;
      if (width > 0 && height > 0 && (plot.width !== width || plot.height !== height)) plot.setSize({width, height});
    }
  }

  #scale(channel, plot) {
    const row = this.rows.get(channel);
    const [low, high] = spanOf([row.shown, row.later]);
    const {low: min, high: max} = niceRange(low, high, row.kind, Math.max(row.look.minSpan ?? 0, 1e-9), row.look.limits);
    plot.batch(() => {
      plot.setData([row.shown?.n ? row.shown.t : [], row.shown?.n ? row.shown.value : []], false);
      plot.setScale('x', {min: this.t0, max: this.t1});
      plot.setScale('y', {min, max});
    });
  }

  #make(channel) {
    const {facts} = this;
    const holder = this.#holder(channel);
    const exact = {auto: false, range: (u, min, max) => [min, max]};
    const last = () => [...this.rows.keys()].pop() === channel;
    return new uPlot({
      width: Math.max(60, holder.clientWidth), height: Math.max(30, holder.clientHeight),
      padding: [6, RIGHT, last() ? 0 : 5, 0],
      scales: {x: {...exact, time: true}, y: exact},
      legend: {show: false},
      series: [{}, {paths: () => null, points: {show: false}}],
      axes: [
        {...AXIS, show: true, size: last() ? FOOT : 0, values: (u, splits) => splits.map((t) => (last() ? facts.clock(t) : '')), space: 90},
        {...AXIS, size: LEFT, space: 26, values: (u, splits) => splits.map((v) => facts.tick(v, this.rows.get(channel).look))},
      ],
      cursor: {y: false, points: {show: false}, drag: {x: true, y: false, setScale: false, dist: 6}, sync: {key: 'eb-replay', scales: ['x', null]}},
      hooks: {
        draw: [(u) => this.#paint(u, channel)],
        setSelect: [(u) => this.#selected(u)],
        setCursor: [(u) => this.#hover(u, channel)],
        ready: [(u) => u.over.addEventListener('click', (event) => this.#picked(u, channel, event))],
      },
    }, [[], []], holder);
  }

  #selected(u) {
    const {left, width} = u.select;
    if (width < 6) return;
    u.setSelect({left: 0, top: 0, width: 0, height: 0}, false);
    this.dragged = performance.now();
    this.facts.onRange(u.posToVal(left, 'x'), u.posToVal(left + width, 'x'));
  }

  #picked(u, channel, event) {
    if (performance.now() - (this.dragged ?? -1e9) < 250) return; // the end of a drag
    this.facts.onPick(channel, u.posToVal(event.clientX - u.over.getBoundingClientRect().left, 'x'));
  }

  #hover(u, channel) {
    if (!u.over.matches(':hover')) return;
    const {left, top} = u.cursor;
    const at = u.over.getBoundingClientRect();
    if (left >= 0) this.facts.onHover(channel, u.posToVal(left, 'x'), at.left + left, at.top + top);
    else this.facts.onHover(null);
  }

  #paint(u, channel) {
    const {shown, later, look} = this.rows.get(channel) ?? {};
    const ratio = uPlot.pxRatio;
    const {ctx, bbox} = u;
    const box = {
      x: (t) => u.valToPos(t, 'x', true), y: (v) => u.valToPos(v, 'y', true),
      top: bbox.top, height: bbox.height, ratio, hatch: fineHatch(ctx, ratio),
    };
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    if (later) paintLater(ctx, later, box); // below, so that what was shown then stays visible
    if (shown) paintTrace(ctx, shown, box, look.color);
    ctx.restore();
  }
}
