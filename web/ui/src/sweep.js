// Sweeps traces like a bedside monitor: in each band a cursor goes left to right over the last page and erases ahead of
// it. Any strip of columns can be painted at any time and looks the same however it is cut, so a frame paints only the
// few columns that a cursor passed, and a revision, a new scale or a late sample repaints the rest. A sweep that stands
// (frozen) is a plain sheet instead: oldest left, newest right, no cursor. What a row looks like is row.js's.
import {marksAbove, marksBelow} from './traces/drawMarks.js';
import {paintTrace} from './traces/row.js';
import {hatch} from './strokes.js';

const PAPER = '#070c13';
const GRID = '#111c29';
const RULE = '#182433';
const BAND_RULE = '#2c4056';
const CURSOR = '#4a6a86';
const ERASE_PX = 22;
const OVERLAP = 2; // device px that a strip paints again, so that lines join
const MARGIN = 3; // device px of samples beyond a strip that are drawn too: a line's end may not show inside it

export class Sweep {
  /** @param {HTMLCanvasElement} canvas @param {number} [ratio] device px a css px; the screen's where not given */
  constructor(canvas, ratio = 0) {
    Object.assign(this, {canvas, fixed: ratio, bands: [], width: 0, height: 0, ratio: 1, still: false});
    this.g = canvas.getContext('2d', {alpha: false});
    this.resize();
  }

  /** Take the element's size in device pixels; the next frame paints everything. */
  resize(width = this.canvas.clientWidth, height = this.canvas.clientHeight) {
    this.ratio = this.fixed || Math.min(window.devicePixelRatio || 1, 3);
    this.width = this.canvas.width = Math.max(2, Math.round(width * this.ratio));
    this.height = this.canvas.height = Math.max(2, Math.round(height * this.ratio));
    this.hatch = hatch(this.g, this.ratio);
    this.repaint();
  }

  /** bands: {name, pxPerS (css px), gridS, top, height (css px), rows}; rows as in row.js, with marks and reason. */
  layOut(bands) {
    this.bands = bands.map((band) => ({...band, cursor: -1, page: NaN}));
    this.repaint();
  }

  /** Paint everything at the next frame. */
  repaint() {
    this.dirty = true;
  }

  /** Draw up to view time viewT (Unix s). */
  frame(viewT) {
    if (!Number.isFinite(viewT)) return;
    for (const band of this.bands) {
      if (this.still) this.#sheet(band, viewT);
      else this.#advance(band, viewT);
    }
    this.dirty = false;
  }

  /** Seconds across a band. */
  spanOf(band) {
    return this.width / (band.pxPerS * this.ratio);
  }

  /** Unix s at css px x of a band as it stands; NaN on the erase bar. */
  timeAt(band, x, viewT) {
    const span = this.spanOf(band);
    if (this.still) return viewT - span + x / band.pxPerS;
    const page = Math.floor(viewT / span) * span;
    const cursor = (viewT - page) * band.pxPerS;
    if (x > cursor && x < cursor + ERASE_PX) return NaN;
    return page + x / band.pxPerS - (x > cursor ? span : 0);
  }

  /** css px of a time in a band as it stands; NaN where it is not on the sheet. */
  xAt(band, t, viewT) {
    const span = this.spanOf(band);
    if (this.still) return t >= viewT - span && t <= viewT ? (t - viewT + span) * band.pxPerS : NaN;
    if (t > viewT || t <= viewT - span) return NaN;
    const x = (t - Math.floor(t / span) * span) * band.pxPerS;
    return Number.isNaN(this.timeAt(band, x, viewT)) ? NaN : x;
  }

  #sheet(band, viewT) {
    if (!this.dirty) return;
    this.#paint(band, 0, this.width, viewT - this.spanOf(band), viewT);
  }

  #advance(band, viewT) {
    const span = this.spanOf(band);
    const page = Math.floor(viewT / span) * span;
    const cursor = Math.floor((viewT - page) * band.pxPerS * this.ratio);
    const turned = page !== band.page && page - band.page < 1.5 * span && page > band.page && cursor < band.cursor;
    if (this.dirty || !(page === band.page || turned)) this.#whole(band, page, cursor, viewT);
    else if (cursor === band.cursor && !turned) return;
    else if (turned) {
      this.#paint(band, band.cursor - OVERLAP, this.width, page - span, viewT);
      this.#paint(band, 0, cursor, page, viewT);
    } else this.#paint(band, band.cursor - OVERLAP, cursor, page, viewT);
    band.cursor = cursor;
    band.page = page;
    this.#erase(band, cursor);
  }

  #whole(band, page, cursor, viewT) {
    this.#paint(band, 0, cursor, page, viewT);
    this.#paint(band, cursor + Math.round(ERASE_PX * this.ratio), this.width, page - this.spanOf(band), viewT);
  }

  #erase(band, cursor) {
    const {g, ratio, width} = this;
    const bar = Math.round(ERASE_PX * ratio);
    const [top, height] = this.#extent(band);
    g.fillStyle = PAPER;
    g.fillRect(cursor, top, bar, height);
    if (cursor + bar > width) g.fillRect(0, top, cursor + bar - width, height);
    g.fillStyle = CURSOR;
    g.fillRect(cursor, top, Math.max(1, Math.round(ratio)), height);
  }

  /** [top, height] of a band, device px. */
  #extent(band) {
    const top = Math.round(band.top * this.ratio);
    return [top, Math.round((band.top + band.height) * this.ratio) - top];
  }

  /** Columns [a, b) of the page that starts at `page` (Unix s). Nothing later than viewT is drawn. */
  #paint(band, a, b, page, viewT) {
    const from = Math.max(0, a);
    const to = Math.min(this.width, b);
    if (to <= from) return;
    const {g, ratio} = this;
    const [top, height] = this.#extent(band);
    g.fillStyle = PAPER;
    g.fillRect(from, top, to - from, height);
    this.#grid(band, page, from, to, top, height);
    const pxPerS = band.pxPerS * ratio;
    const strip = {page, pxPerS, t0: page + (from - MARGIN) / pxPerS, t1: Math.min(viewT, page + to / pxPerS) + MARGIN / pxPerS, ratio};
    for (const row of band.rows) if (row.series?.n) this.#row(row, strip, from, to);
  }

  /** A line every gridS of absolute time, and one between rows. */
  #grid(band, page, from, to, top, height) {
    const {g, ratio} = this;
    const pxPerS = band.pxPerS * ratio;
    g.fillStyle = GRID;
    for (let k = Math.ceil((page + (from - 1) / pxPerS) / band.gridS); ; k += 1) {
      const x = Math.round((k * band.gridS - page) * pxPerS);
      if (x >= to) break;
      if (x >= from) g.fillRect(x, top, Math.max(1, Math.round(ratio)), height);
    }
    for (let i = 0; i < band.rows.length; i += 1) {
      g.fillStyle = i ? RULE : BAND_RULE;
      if (i || band.top > 0) g.fillRect(from, Math.round(band.rows[i].top * ratio), to - from, Math.max(1, Math.round(ratio)));
    }
  }

  /** A row's part of a strip, cut at the strip's columns and at the row's edges. */
  #row(row, strip, from, to) {
    const {g, ratio} = this;
    g.save();
    g.beginPath();
    g.rect(from, Math.round(row.top * ratio), to - from, Math.round(row.height * ratio));
    g.clip();
    if (row.marks.length) marksBelow(this, row, strip);
    if (row.range.high > row.range.low) paintTrace(this.g, row, strip); // else withheld from the first: nothing to scale
    if (row.marks.length) marksAbove(this, row, strip);
    g.restore();
  }
}
