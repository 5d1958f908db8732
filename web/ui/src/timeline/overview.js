// The strip over the whole stored past: a bar of coverage a channel, marks of gaps, alarms, threats and commands above
// them, and the window that the charts show, which can be dragged and stretched.
import {fineHatch} from './paint.js';

const MARKS_PX = 30; // two rows: alarms and threats above, gaps and commands below
const HANDLE_PX = 9;
const KIND = 0x0f;
const LATE = 0x80;
const INK = {alarm: '#ff7a7d', threat: '#ffb000', command: '#8fd7ff', gap: '#eaf2f9'};

export class Overview {
  /** @param {HTMLElement} box holds a canvas and the window's element @param {{onRange(t0, t1, t)}} facts */
  constructor(box, facts) {
    Object.assign(this, {box, facts, canvas: box.querySelector('canvas'), pane: box.querySelector('.eb-over-window'), from: 0, to: 1});
    this.watcher = new ResizeObserver(() => this.#paint());
    this.watcher.observe(box);
    box.addEventListener('pointerdown', (event) => this.#grab(event));
  }

  /** story: {from, to}; bars: [{color, shown, known}] top to bottom; marks: [{t, kind}]; gaps, unread: [[from, to]], what
   * was not measured and what could not be read. */
  show({from, to, bars, marks, gaps, unread}) {
    Object.assign(this, {from, to, bars, marks, gaps, unread});
    this.#paint();
  }

  /** The charts' window and the moment. */
  move(t0, t1, t) {
    Object.assign(this, {t0, t1, t});
    const width = this.box.clientWidth;
    const [x0, x1] = [Math.max(0, this.#x(t0)), Math.min(width, this.#x(t1))];
    this.pane.style.transform = `translateX(${x0}px)`;
    this.pane.style.width = `${Math.max(6, x1 - x0)}px`;
    this.pane.querySelector('i').style.left = `${this.#x(t) - x0}px`;
  }

  dispose() {
    this.watcher.disconnect();
  }

  #x = (t) => ((t - this.from) / (this.to - this.from)) * this.box.clientWidth;

  #t = (x) => this.from + (x / this.box.clientWidth) * (this.to - this.from);

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const left = this.box.getBoundingClientRect().left;
    const start = this.#t(event.clientX - left);
    const {t0, t1} = this;
    const part = this.#partAt(event.clientX - left);
    if (part === 'outside') this.#set(start - (t1 - t0) / 2, start + (t1 - t0) / 2, start);
    const [from0, from1] = [this.t0, this.t1];
    const move = (e) => {
      const by = this.#t(e.clientX - left) - start;
      if (part === 'left') this.#set(Math.min(from0 + by, from1 - 10), from1);
      else if (part === 'right') this.#set(from0, Math.max(from1 + by, from0 + 10));
      else this.#set(from0 + by, from1 + by);
    };
    const ends = ['pointerup', 'pointercancel']; // a gesture that the browser takes over ends without an "up"
    const end = () => {
      window.removeEventListener('pointermove', move);
      ends.forEach((name) => window.removeEventListener(name, end));
    };
    window.addEventListener('pointermove', move);
    ends.forEach((name) => window.addEventListener(name, end));
  }

  #partAt(x) {
    const [x0, x1] = [this.#x(this.t0), this.#x(this.t1)];
    if (x1 - x0 > 3 * HANDLE_PX && Math.abs(x - x0) < HANDLE_PX) return 'left';
    if (x1 - x0 > 3 * HANDLE_PX && Math.abs(x - x1) < HANDLE_PX) return 'right';
    return x >= x0 && x <= x1 ? 'inside' : 'outside';
  }

  #set(t0, t1, t) {
    this.facts.onRange(t0, t1, t);
  }

  #paint() {
    const ratio = window.devicePixelRatio || 1;
    const {clientWidth: width, clientHeight: height} = this.box;
    if (!this.bars || !width) return;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const g = this.canvas.getContext('2d');
    g.scale(ratio, ratio);
    const row = (height - MARKS_PX - 4) / Math.max(1, this.bars.length);
    this.bars.forEach((bar, i) => this.#bar(g, bar, MARKS_PX + i * row, Math.max(2, Math.min(9, row - 2))));
    this.#unread(g, ratio);
    this.#gaps(g);
    for (const mark of this.marks) this.#mark(g, mark);
    if (this.t0 !== undefined) this.move(this.t0, this.t1, this.t);
  }

  #bar(g, bar, top, height) {
    g.fillStyle = '#101a25';
    g.fillRect(0, top, this.box.clientWidth, height);
    for (const [from, to, byte] of bar.shown) this.#stretch(g, bar.color, this.#x(from), this.#x(to), top, height, byte & KIND);
    g.fillStyle = '#ffffff';
    for (const [from, to, byte] of bar.known) {
      if (byte === LATE) g.fillRect(this.#x(from), top + height - 1.5, Math.max(1, this.#x(to) - this.#x(from)), 1.5);
    }
  }

  /** measured: full; made: dashes; quarantined: amber dots; withheld: an outline. */
  #stretch(g, color, x0, x1, top, height, kind) {
    const width = Math.max(1, x1 - x0);
    if (kind === 0) {
      g.fillStyle = color;
      g.globalAlpha = 0.75;
      g.fillRect(x0, top, width, height);
      g.globalAlpha = 1;
    } else if (kind === 4) {
      g.strokeStyle = '#a9bccd';
      g.lineWidth = 1;
      g.strokeRect(x0 + 0.5, top + 0.5, Math.max(1, width - 1), height - 1);
    } else {
      const [on, off] = kind === 3 ? [1.5, 2] : [4, 2.5];
      g.fillStyle = kind === 3 ? INK.threat : color;
      const from = top + height / 2 - (kind === 3 ? height / 2 : 1);
      const thick = kind === 3 ? height : 2;
      for (let x = x0; x < x0 + width; x += on + off) g.fillRect(x, from, Math.min(on, x0 + width - x), thick);
    }
  }

  /** Hours that could not be read are neither a bar nor nothing: hatched from top to foot. */
  #unread(g, ratio) {
    if (!this.unread.length) return;
    g.save();
    g.setTransform(1, 0, 0, 1, 0, 0); // the hatch is of device px
    g.fillStyle = fineHatch(g, ratio);
    for (const [from, to] of this.unread) {
      g.fillRect(this.#x(from) * ratio, MARKS_PX * ratio, Math.max(2, this.#x(to) - this.#x(from)) * ratio, (this.box.clientHeight - MARKS_PX) * ratio);
    }
    g.restore();
  }

  #gaps(g) {
    g.fillStyle = INK.gap;
    for (const [from, to] of this.gaps) g.fillRect(this.#x(from), MARKS_PX - 7, Math.max(2, this.#x(to) - this.#x(from)), 3);
  }

  /** Each kind has a shape of its own: triangle, diamond, dot. */
  #mark(g, {t, kind}) {
    const x = this.#x(t);
    g.fillStyle = INK[kind];
    g.beginPath();
    if (kind === 'alarm') g.moveTo(x, 3), g.lineTo(x + 4.5, 11), g.lineTo(x - 4.5, 11);
    else if (kind === 'threat') g.moveTo(x, 2), g.lineTo(x + 5, 7), g.lineTo(x, 12), g.lineTo(x - 5, 7);
    else g.arc(x, 17, 2.6, 0, 7);
    g.fill();
  }
}
