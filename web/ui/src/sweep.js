// Paints traces like a bedside monitor: a cursor sweeps left to right over the last page and erases ahead of it.
// Any strip of columns can be painted at any time and looks the same however it is cut, so a frame paints only the few
// columns that the cursor passed, and a revision or a new scale repaints the rest. How a sample is drawn is decided by
// its provenance alone: measured solid, made dashed with its 90 % ribbon, quarantined raw dotted in amber, withheld
// hatched and empty. A segment is drawn as measured only where both of its ends were.
import {hatch, lineAcross, lines, mix, pattern, quad, segmentStyle} from './strokes.js';

const PAPER = '#070c13';
const GRID = '#101a26';
const RULE = '#182433';
const AMBER = '#ffb000';
const DIM = '#8296ab';
const ERASE_PX = 22;

export class Sweep {
  /** @param {HTMLCanvasElement} canvas @param {number} spanS seconds across */
  constructor(canvas, spanS) {
    Object.assign(this, {canvas, spanS, rows: [], cursor: -1, width: 0, height: 0, ratio: 1});
    this.g = canvas.getContext('2d', {alpha: false});
    this.resize();
  }

  /** Take the element's size in device pixels; the next frame paints everything. */
  resize() {
    this.ratio = Math.min(window.devicePixelRatio || 1, 3);
    this.width = this.canvas.width = Math.max(2, Math.round(this.canvas.clientWidth * this.ratio));
    this.height = this.canvas.height = Math.max(2, Math.round(this.canvas.clientHeight * this.ratio));
    this.hatch = hatch(this.g, this.ratio);
    this.repaint();
  }

  /** Paint everything at the next frame. */
  repaint() {
    this.cursor = -1;
  }

  /** rows: {series, scale, look, kind, period, top, height (css px), marks, reason}. viewT in Unix s. */
  frame(viewT) {
    if (!Number.isFinite(viewT)) return;
    const page = Math.floor(viewT / this.spanS) * this.spanS;
    const cursor = Math.floor(((viewT - page) / this.spanS) * this.width);
    if (this.cursor < 0) this.#paintAll(page, cursor, viewT);
    else if (cursor >= this.cursor) this.#paint(this.cursor - 2, cursor, page, viewT);
    else {
      this.#paint(this.cursor - 2, this.width, page - this.spanS, viewT);
      this.#paint(0, cursor, page, viewT);
    }
    if (cursor === this.cursor) return;
    this.cursor = cursor;
    this.#erase(cursor);
  }

  #paintAll(page, cursor, viewT) {
    const ahead = cursor + Math.round(ERASE_PX * this.ratio);
    this.#paint(0, cursor, page, viewT);
    this.#paint(ahead, this.width, page - this.spanS, viewT);
    this.cursor = -2; // the bar must be drawn again
  }

  #erase(cursor) {
    const {g, ratio, width, height} = this;
    const bar = Math.round(ERASE_PX * ratio);
    g.fillStyle = PAPER;
    g.fillRect(cursor, 0, bar, height);
    if (cursor + bar > width) g.fillRect(0, 0, cursor + bar - width, height);
    g.fillStyle = '#4a6a86';
    g.fillRect(cursor, 0, Math.max(1, Math.round(ratio)), height);
  }

  /** Columns [a, b) of the page that starts at `page`. Nothing later than viewT is drawn. */
  #paint(a, b, page, viewT) {
    const from = Math.max(0, a);
    const to = Math.min(this.width, b);
    if (to <= from) return;
    const {g} = this;
    g.save();
    g.beginPath();
    g.rect(from, 0, to - from, this.height);
    g.clip();
    g.fillStyle = PAPER;
    g.fillRect(from, 0, to - from, this.height);
    this.#grid(page, from, to);
    const pxPerS = this.width / this.spanS;
    const strip = {page, pxPerS, t0: page + from / pxPerS, t1: Math.min(viewT, page + to / pxPerS), from, to};
    for (const row of this.rows) this.#row(row, strip);
    g.restore();
  }

  #grid(page, from, to) {
    const {g, ratio} = this;
    g.fillStyle = GRID;
    const first = Math.ceil(page / 5) * 5;
    for (let t = first; t < page + this.spanS; t += 5) {
      const x = Math.round(((t - page) / this.spanS) * this.width);
      if (x >= from && x < to) g.fillRect(x, 0, Math.max(1, Math.round(ratio)), this.height);
    }
    g.fillStyle = RULE;
    for (const row of this.rows.slice(1)) g.fillRect(from, Math.round(row.top * ratio), to - from, 1);
  }

  #row(row, strip) {
    const {series, scale} = row;
    if (!series?.n) return;
    const x = (t) => (t - strip.page) * strip.pxPerS;
    if (scale.high > scale.low) this.#trace(row, strip, x);
    else this.#marksBelow(row, strip, x); // withheld from its first sample on: there is nothing to scale
  }

  #trace(row, strip, x) {
    const {series} = row;
    const y = this.#yOf(row);
    const first = Math.max(0, series.indexAt(strip.t0) - 1);
    const last = Math.min(series.n - 1, series.indexAt(strip.t1) + 1);
    this.#marksBelow(row, strip, x);
    const paths = {};
    const add = {line: (style) => (paths[style] ??= new Path2D()), ribbon: new Path2D()};
    for (let i = first; i <= last && series.t[i] <= strip.t1 + row.period; i += 1) {
      if (row.stepped) this.#step(row, i, x, y, strip, add);
      else this.#segment(row, i, x, y, add);
    }
    this.g.globalAlpha = 0.22;
    this.g.fillStyle = row.look.color;
    this.g.fill(add.ribbon);
    this.g.globalAlpha = 1;
    for (const [style, path] of Object.entries(paths)) this.#stroke(style, path, row);
    this.#marksAbove(row, strip, x);
  }

  #yOf(row) {
    const {ratio} = this;
    const top = (row.top + row.padTop) * ratio;
    const height = (row.height - row.padTop - row.padBottom) * ratio;
    const floor = (row.top + row.height - 2) * ratio;
    const {low, high} = row.scale;
    return (value) => Math.max((row.top + 2) * ratio, Math.min(floor, top + ((high - value) / (high - low)) * height));
  }

  /** Add the line from sample i - 1 to i, where one may be drawn. */
  #segment({series, period}, i, x, y, add) {
    if (i === 0 || !(series.t[i] - series.t[i - 1] <= 1.5 * period + 0.002)) return;
    const style = segmentStyle(series.provenance[i - 1], series.provenance[i]);
    if (!style || !Number.isFinite(series.value[i - 1] + series.value[i])) return;
    const x0 = x(series.t[i - 1]);
    const x1 = x(series.t[i]);
    lines(add.line(style), x0, y(series.value[i - 1]), x1, y(series.value[i]), pattern(style, this.ratio));
    if (!style.startsWith('measured')) quad(add.ribbon, series, i - 1, i, x0, x1, y);
  }

  /** Add a slow level: a tread from the sample to the next (or 1.5 periods), with a point where the reading is. */
  #step({series, period}, i, x, y, strip, add) {
    const style = segmentStyle(series.provenance[i], series.provenance[i]);
    if (!style || !Number.isFinite(series.value[i])) return;
    const next = i + 1 < series.n ? series.t[i + 1] : Infinity;
    const x0 = x(series.t[i]);
    const x1 = x(Math.min(next, series.t[i] + 1.5 * period, Math.max(strip.t1, series.t[i])));
    const level = y(series.value[i]);
    const path = add.line(style);
    lines(path, x0, level, x1, level, pattern(style, this.ratio));
    path.moveTo(x0 + 1.2 * this.ratio, level);
    path.arc(x0, level, 1.2 * this.ratio, 0, 2 * Math.PI);
    const joined = next - series.t[i] <= 1.5 * period && next <= strip.t1 && Number.isFinite(series.value[i + 1]);
    if (joined) lines(path, x1, level, x1, y(series.value[i + 1]), null);
    if (!style.startsWith('measured')) quad(add.ribbon, series, i, i, x0, x1, y);
  }

  #stroke(style, path, row) {
    const {g, ratio} = this;
    const [width, alpha, color] = {
      measured: [1.6, 1, row.look.color],
      'measured-revised': [1.6, 1, mix(row.look.color, 0.4)],
      made: [2.6, 1, row.look.color],
      'made-revised': [2.6, 0.9, mix(row.look.color, 0.4)],
      quarantined: [2, 0.75, AMBER],
    }[style];
    g.strokeStyle = color;
    g.globalAlpha = alpha;
    g.lineWidth = width * ratio;
    g.lineJoin = 'round';
    g.stroke(path);
    g.globalAlpha = 1;
  }

  #marksBelow(row, strip, x) {
    const {g, ratio} = this;
    const top = (row.top + 1) * ratio;
    const height = (row.height - 2) * ratio;
    for (const mark of row.marks) {
      if (mark.to < strip.t0 - 1 || mark.from > strip.t1) continue;
      const x0 = x(mark.from);
      const x1 = Math.min(x(mark.to), x(strip.t1));
      if (mark.kind === 'withheld') {
        g.fillStyle = this.hatch;
        g.fillRect(x0, top, x1 - x0, height);
        const says = `WITHHELD${row.reason ? `: ${row.reason}` : ''}`;
        this.#text(says, x0, x1, mark, top + height / 2, '#dbe5ee', 11);
      }
      if (mark.kind === 'missing') {
        lineAcross(g, x0, x1, top + height / 2, ratio);
        this.#text('NO DATA', x0, x1, mark, top + height / 2 - 9 * ratio, DIM, 10);
      }
    }
  }

  #marksAbove(row, strip, x) {
    const {g, ratio} = this;
    for (const mark of row.marks) {
      if (mark.kind !== 'revised' || mark.to < strip.t0 - 1 || mark.from > strip.t1) continue;
      const y = (row.top + row.height - 5) * ratio;
      const x0 = x(mark.from);
      const x1 = x(mark.to);
      g.strokeStyle = DIM;
      g.lineWidth = ratio;
      g.beginPath();
      g.moveTo(x0, y - 4 * ratio);
      g.lineTo(x0, y);
      g.lineTo(x1, y);
      g.lineTo(x1, y - 4 * ratio);
      g.stroke();
      this.#text('REVISED', x0, x1, mark, y - 7 * ratio, '#b9c8d6', 9);
    }
  }

  /** Words at the start of a mark; none where the mark is too short for them. */
  #text(text, x0, x1, mark, y, color, size) {
    const {g, ratio} = this;
    g.font = `600 ${size * ratio}px "Inter", system-ui, sans-serif`;
    const room = g.measureText(text).width + 6 * ratio;
    const x = Math.max(x0, 0) + 8 * ratio;
    if (x + room > Math.min(mark.open ? Infinity : x1, this.width)) return;
    g.textBaseline = 'middle';
    g.lineWidth = 3 * ratio;
    g.strokeStyle = PAPER;
    g.strokeText(text, x, y);
    g.fillStyle = color;
    g.fillText(text, x, y);
  }
}
