// Crosshair and calipers over the traces. Cursors are moments, not places: each is shown where its moment lies in each
// band, and says what stands there. By pointer (hover, drag) and by keyboard; reads the monitor, changes only the DOM
// nodes it is given.
import {between, probe} from './probe.js';
import {caliperParts, tooltip} from './readout.js';

const GRAB_PX = 14; // a caliper this near to the pointer is the one that is meant
const FAR = 10; // Shift moves so many steps
const TIP_PX = {width: 190, height: 76};

export class Cursors {
  /** @param monitor @param nodes {layer, tip, line, said}: the layer over the canvas, the tooltip, the calipers' line, what is
   * read out to whoever moves them by keyboard */
  constructor(monitor, nodes) {
    Object.assign(this, {monitor, nodes, row: '', hover: null, calipers: null, active: 'a', drag: false});
  }

  get selected() {
    return this.monitor.rows.find((row) => row.id === this.row) ?? this.monitor.rows[0];
  }

  toggleCalipers() {
    this.calipers = this.calipers ? null : this.#spread();
    this.show();
  }

  /** Two moments at a third and two thirds of the picture of the selected row. */
  #spread() {
    const band = this.#bandOf(this.selected);
    if (!band) return null;
    const {t, sweep} = this.monitor;
    const span = sweep.spanOf(band);
    const inSight = (part) => t - span * (1 - part);
    return {a: inSight(0.45), b: inSight(0.75)};
  }

  clear() {
    this.hover = null;
    this.calipers = null;
    this.show();
  }

  #bandOf(row) {
    return this.monitor.sweep.bands.find((band) => band.rows.includes(row));
  }

  // ---- pointer

  /** Where a pointer is: {row, band, t} or null. */
  #under(event) {
    const box = this.monitor.canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    if (x < 0 || x >= box.width) return null;
    const row = this.monitor.rows.find((one) => y >= one.top && y < one.top + one.height);
    const band = row && this.#bandOf(row);
    return band ? {row, band, x, t: this.monitor.sweep.timeAt(band, x, this.monitor.t)} : null;
  }

  move(event) {
    const under = this.#under(event);
    this.hover = under && {row: under.row.id, x: under.x};
    if (under) this.row = under.row.id;
    if (this.drag && under && Number.isFinite(under.t)) this.calipers[this.active] = under.t;
    this.show();
  }

  press(event) {
    const under = this.#under(event);
    if (!under || !this.calipers || !Number.isFinite(under.t)) return;
    this.row = under.row.id;
    const off = (name) => Math.abs((this.monitor.sweep.xAt(under.band, this.calipers[name], this.monitor.t) ?? NaN) - under.x);
    const [a, b] = [off('a'), off('b')].map((d) => (Number.isNaN(d) ? Infinity : d));
    if (Math.min(a, b) < GRAB_PX) this.active = a <= b ? 'a' : 'b';
    this.drag = true;
    this.calipers[this.active] = under.t;
    this.show();
  }

  release() {
    this.drag = false;
  }

  leave() {
    this.hover = null;
    this.drag = false;
    this.show();
  }

  // ---- keyboard

  /** Act on a key of the stage; true where it was one of the cursors'. */
  key(event) {
    const steps = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const rows = {ArrowUp: -1, ArrowDown: 1}[event.key];
    if (steps) this.#step(steps * (event.shiftKey ? FAR : 1));
    else if (rows) this.#choose(rows);
    else if (event.key.toLowerCase() === 'x' && this.calipers) this.active = this.active === 'a' ? 'b' : 'a';
    else return false;
    this.show();
    this.nodes.said.textContent = this.calipers ? this.nodes.line.innerText : `${this.selected?.label}: ${this.nodes.tip.innerText}`;
    return true;
  }

  #step(count) {
    const row = this.selected;
    const band = row && this.#bandOf(row);
    if (!band) return;
    this.row = row.id;
    const by = Math.max(1 / band.pxPerS, row.stepped ? row.period : 0) * count;
    const {t} = this.monitor;
    const held = (at) => Math.min(t, Math.max(t - this.monitor.sweep.spanOf(band) + 0.001, at));
    if (this.calipers) this.calipers[this.active] = held(this.calipers[this.active] + by);
    else this.hover = {row: row.id, t: held((this.#hoverTime() ?? t) + by)};
  }

  #choose(by) {
    const {rows} = this.monitor;
    if (!rows.length) return;
    const at = this.#hoverTime();
    this.row = rows[(rows.indexOf(this.selected) + by + rows.length) % rows.length].id;
    if (!this.calipers) this.hover = {row: this.row, t: at ?? this.monitor.t};
  }

  /** The moment of the crosshair, Unix s; undefined without one. A resting pointer stays in place as time goes on. */
  #hoverTime() {
    if (!this.hover) return undefined;
    if (this.hover.t !== undefined) return this.hover.t;
    const band = this.#bandOf(this.monitor.rows.find((row) => row.id === this.hover.row));
    return band ? this.monitor.sweep.timeAt(band, this.hover.x, this.monitor.t) : undefined;
  }

  // ---- what is seen

  /** Bring lines and texts up to date. */
  show() {
    const {layer, line} = this.nodes;
    this.#place(layer.querySelectorAll('[data-cursor="a"]'), this.calipers?.a);
    this.#place(layer.querySelectorAll('[data-cursor="b"]'), this.calipers?.b);
    for (const node of layer.querySelectorAll('[data-cursor]')) node.dataset.active = String(node.dataset.cursor === this.active);
    this.#showTip();
    this.monitor.stage.querySelectorAll('.eb-row').forEach((node) => {
      node.dataset.selected = String(Boolean(this.calipers || this.hover) && node.dataset.row === this.selected?.id);
    });
    line.hidden = !this.calipers;
    if (!this.calipers || !this.selected) return;
    const {row, parts} = this.measure();
    const texts = [row.label, ...parts];
    if (line.dataset.text === texts.join('|')) return;
    line.dataset.text = texts.join('|');
    line.replaceChildren(...texts.map((text, i) => Object.assign(document.createElement(i ? 'span' : 'b'), {textContent: text})));
  }

  /** What the calipers measure on the selected row: {row, found, parts}. */
  measure() {
    const row = this.selected;
    const found = between(row, this.calipers.a, this.calipers.b);
    return {row, found, parts: caliperParts(row, found)};
  }

  /** A moment's line in each band. */
  #place(nodes, t) {
    const {bands} = this.monitor.sweep;
    nodes.forEach((node) => {
      const band = bands.find((one) => one.name === node.dataset.band);
      const x = t === undefined || !band ? NaN : this.monitor.sweep.xAt(band, t, this.monitor.t);
      node.hidden = Number.isNaN(x);
      if (!node.hidden) Object.assign(node.style, {transform: `translateX(${x}px)`, top: `${band.top}px`, height: `${band.height}px`});
    });
  }

  #showTip() {
    const {layer, tip} = this.nodes;
    const t = this.#hoverTime();
    const row = this.monitor.rows.find((one) => one.id === this.hover?.row);
    const known = row && Number.isFinite(t) && !this.drag;
    this.#place(layer.querySelectorAll('[data-cursor="hover"]'), known ? t : undefined);
    tip.hidden = !known;
    if (!known) return;
    const sample = probe(row, t);
    const texts = tooltip(row, sample, t).filter(Boolean);
    tip.dataset.provenance = sample.provenance;
    if (tip.dataset.text !== texts.join('|')) {
      tip.dataset.text = texts.join('|');
      tip.replaceChildren(...texts.map((text, i) => Object.assign(document.createElement(i === 1 ? 'b' : 'span'), {textContent: text})));
    }
    const x = this.monitor.sweep.xAt(this.#bandOf(row), t, this.monitor.t);
    const {clientWidth, clientHeight} = this.monitor.canvas;
    const left = Number.isNaN(x) ? 0 : x + 12 + TIP_PX.width < clientWidth ? x + 12 : Math.max(0, x - 12 - TIP_PX.width);
    tip.style.transform = `translate(${left}px, ${Math.min(row.top + 4, clientHeight - TIP_PX.height)}px)`;
  }
}
