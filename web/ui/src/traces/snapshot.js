// A picture of the traces that can be passed on: whose they are, when, from where, at which speed and gain, and what
// part of each was measured, all stamped into the pixels, and once more as JSON in the file (iTXt "Everbeat").
import {locale, t} from '../i18n.js';
import {identity} from '../person.js';
import {LINES} from '../strokes.js';
import {Sweep} from '../sweep.js';
import {badge, clockTime, percent, sourceWord, tick} from '../words.js';
import {FONT} from './drawMarks.js';
import {withText} from './png.js';
import {exactTime} from './probe.js';
import {fileName, shareText, stampOf} from './stamp.js';

const RATIO = 2; // device px a css px: sharp on paper
const SIDE = 210; // css px of words beside the traces
const TICKS = 46;
const HEAD = 84;
const FOOT = 46;
const [PAPER, INK, SOFT, DIM] = ['#070c13', '#eaf2f9', '#a9bccd', '#8296ab'];
const LEGEND = ['measured', 'synthesised', 'predicted', 'quarantined', 'withheld'];

/** @returns {Promise<{name: string, stamp: object, blob: Blob}>} the picture of the monitor as it stands */
export async function snapshot(monitor, version) {
  const {s, canvas} = monitor;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const stamp = stampOf({
    card: s.card, status: s.status, rows: monitor.rows, gains: monitor.gains, speed: monitor.speed, at: monitor.t, width,
    frozen: Boolean(monitor.frozen), version,
  });
  const sheet = document.createElement('canvas');
  sheet.width = (TICKS + width + SIDE) * RATIO;
  sheet.height = (HEAD + height + FOOT) * RATIO;
  const g = sheet.getContext('2d', {alpha: false});
  g.fillStyle = PAPER;
  g.fillRect(0, 0, sheet.width, sheet.height);
  g.drawImage(tracesOf(monitor, width, height), TICKS * RATIO, HEAD * RATIO);
  g.scale(RATIO, RATIO);
  head(g, stamp, monitor.t, TICKS + width + SIDE);
  monitor.rows.forEach((row, i) => beside(g, row, stamp.rows[i], TICKS + width));
  foot(g, stamp, HEAD + height);
  const plain = await new Promise((done) => { sheet.toBlob(done, 'image/png'); });
  if (!plain) throw new Error('expected a PNG of the sheet, got none; nothing was saved');
  const bytes = withText(new Uint8Array(await plain.arrayBuffer()), 'Everbeat', JSON.stringify(stamp));
  return {name: fileName(stamp), stamp, blob: new Blob([bytes], {type: 'image/png'})};
}

/** The traces alone, oldest left, newest right. */
function tracesOf(monitor, width, height) {
  const canvas = document.createElement('canvas');
  const sweep = new Sweep(canvas, RATIO);
  sweep.still = true;
  sweep.resize(width, height);
  sweep.layOut(monitor.sweep.bands);
  sweep.frame(monitor.t);
  return canvas;
}

function say(g, text, x, y, size, color, weight = 400, width = undefined) {
  g.font = `${weight} ${size}px ${FONT}`;
  g.fillStyle = color;
  g.textBaseline = 'alphabetic';
  g.fillText(text, x, y, width);
}

function head(g, stamp, at, width) {
  const {pseudonym} = stamp.patient;
  say(g, pseudonym, 14, 28, 20, INK, 650);
  const after = 14 + g.measureText(pseudonym).width + 14;
  say(g, identity(stamp.patient), after, 28, 13, SOFT);
  g.textAlign = 'right';
  say(g, stamp.notice, width - 14, 28, 12, INK, 600);
  say(g, t('traces.png_app', {app: stamp.app, version: stamp.version}), width - 14, 50, 11, DIM);
  say(g, t('traces.png_source', {source: stamp.sources.map(({device, source}) => `${sourceWord(source)} (${device})`).join(', ')}), width - 14, 69, 11, SOFT, 600);
  g.textAlign = 'left';
  const from = (band) => clockTime(Date.parse(stamp.from_utc[band]) / 1000);
  const date = new Date(at * 1000).toLocaleDateString(locale());
  const when = t('traces.png_title', {date, to: exactTime(at), fast: from('fast'), slow: from('slow')});
  say(g, [when, stamp.zone, ...(stamp.frozen ? [t('traces.png_frozen')] : [])].join(' · '), 14, 50, 12, INK);
  const utc = `${stamp.to_utc.slice(0, 10)} ${stamp.to_utc.slice(11, -1)} UTC`;
  say(g, `${utc} · ${t('traces.png_speed', {fast: stamp.speed_mm_s.fast, slow: stamp.speed_mm_s.slow})}`, 14, 69, 11, SOFT);
}

/** Name, scale, gain and honesty of one row. */
function beside(g, row, said, x) {
  const top = HEAD + row.top;
  g.fillStyle = '#182433';
  g.fillRect(0, top, x + SIDE, 1);
  say(g, `${row.label} ${row.look.unit}`, TICKS + 8, top + 15, 12, row.look.color, 650);
  g.textAlign = 'right';
  say(g, tick(row.range.high, row.look), TICKS - 6, top + 15, 10.5, DIM);
  say(g, tick(row.range.low, row.look), TICKS - 6, top + row.height - 6, 10.5, DIM);
  g.textAlign = 'left';
  const gain = said.gain === 'auto' ? t('traces.gain_auto') : `×${said.gain}`;
  const lines = [...shareText(said.parts)];
  if (said.sure) lines.push(t('traces.png_sure', {range: said.sure[0] === said.sure[1] ? percent(said.sure[0]) : `${percent(said.sure[0])} – ${percent(said.sure[1])}`}));
  const last = [t('traces.png_gain', {gain}), ...(said.revised ? [t('traces.revised')] : [])].join(' · ');
  const step = Math.min(14, (row.height - 4) / (lines.length + 1));
  [...lines, last].forEach((text, i) => say(g, text, x + 12, top + 3 + step * (i + 0.85), Math.min(11, step - 1.5), i < lines.length ? INK : DIM, i ? 400 : 600, SIDE - 18));
}

/** The legend: each kind of line as it is drawn, with its word. */
function foot(g, stamp, top) {
  g.fillStyle = '#182433';
  g.fillRect(0, top, 4000, 1);
  let x = 14;
  for (const word of LEGEND) {
    sample(g, word, x, top + 23);
    say(g, badge(word), x + 40, top + 27, 10.5, SOFT, 600);
    x += 40 + g.measureText(badge(word)).width + 22;
  }
}

function sample(g, word, x, y) {
  if (word === 'withheld') {
    hatched(g, x, y);
    return;
  }
  if (word === 'synthesised' || word === 'predicted') {
    g.fillStyle = '#a9bccd33';
    g.fillRect(x, y - 7, 32, 14);
    g.fillRect(x, y - 3, 32, 6);
  }
  const {dash, width, color} = LINES[word === 'quarantined' ? 'ghost' : word];
  g.setLineDash(dash ?? []);
  Object.assign(g, {strokeStyle: color ?? SOFT, lineWidth: width});
  g.beginPath();
  g.moveTo(x, y);
  g.lineTo(x + 32, y);
  g.stroke();
  g.setLineDash([]);
}

function hatched(g, x, y) {
  g.strokeStyle = DIM;
  g.strokeRect(x + 0.5, y - 5.5, 31, 11);
  g.beginPath();
  for (let k = 2; k < 26; k += 6) {
    g.moveTo(x + k, y + 5);
    g.lineTo(x + k + 5, y - 5);
  }
  g.stroke();
}

/** Hand a blob to the person as a file. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement('a'), {href: url, download: name});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
