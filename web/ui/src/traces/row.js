// Paints the trace of one row into a strip of columns. How a sample is drawn is decided by its provenance alone:
// measured solid, made dashed within its 90 % and 50 % ribbons, a distrusted reading as an amber ghost behind the
// estimate, nothing where a value is withheld or absent. What all frames do (a few measured samples) takes the short
// way; nothing is allocated on it.
import {INNER} from './ribbon.js';
import {LINES, believed, isGhost, lineKind, lines, mix} from '../strokes.js';
import {PROVENANCE, REVISED} from '../wire.js';

const {MEASURED, QUARANTINED} = PROVENANCE;
const SLACK_S = 0.002; // device clocks count whole ms
const POINT_PX = 1.3;
const FINE = 0.8; // of a line's width, in a wave: its swings lie close together

/**
 * @param {CanvasRenderingContext2D} g
 * @param {object} row {series, range {low, high}, look, period, stepped, top, height, padTop, padBottom (css px)}
 * @param {object} strip {page (Unix s at x = 0), pxPerS, t0, t1 (Unix s), ratio}
 */
export function paintTrace(g, row, strip) {
  const {series} = row;
  const first = Math.max(0, series.indexAt(strip.t0) - 1);
  let last = Math.min(series.n - 1, series.indexAt(strip.t1) + 1);
  if (last > 0 && series.t[last] > strip.t1 + row.period) last -= 1;
  if (last < first) return;
  const place = placeOf(row, strip);
  if (row.stepped) paintSteps(g, row, strip, place, first, last);
  else if (onlyMeasured(series, first, last)) paintMeasured(g, row, strip, place, first, last);
  else paintSegments(g, row, strip, place, first, last);
}

function placeOf(row, {ratio}) {
  const span = row.range.high - row.range.low;
  const height = (row.height - row.padTop - row.padBottom) * ratio;
  return {
    zero: (row.top + row.padTop) * ratio + (row.range.high / span) * height, perUnit: height / span,
    ceiling: (row.top + 2) * ratio, floor: (row.top + row.height - 2) * ratio,
  };
}

/** y of a value. Beyond the row's edges a trace is cut, as on every monitor: it leaves, and does not look flat. */
const y = (place, value) => place.zero - value * place.perUnit;

/** y of a distrusted reading, held inside the row: however wild, it stays in sight. */
const heldY = (place, value) => Math.max(place.ceiling, Math.min(place.floor, y(place, value)));

function onlyMeasured(series, first, last) {
  for (let i = first; i <= last; i += 1) if (series.provenance[i] !== MEASURED) return false;
  return true;
}

function paintMeasured(g, {series, look, period}, {page, pxPerS, ratio}, place, first, last) {
  const reach = 1.5 * period + SLACK_S;
  pen(g, 'measured', look, false, ratio);
  g.beginPath();
  for (let i = first; i <= last; i += 1) {
    const x = (series.t[i] - page) * pxPerS;
    const at = y(place, series.value[i]);
    if (i > first && series.t[i] - series.t[i - 1] <= reach) g.lineTo(x, at);
    else {
      g.moveTo(x, at);
      if (i === last || series.t[i + 1] - series.t[i] > reach) g.lineTo(x + 0.01, at); // alone: a point
    }
  }
  g.stroke();
}

function paintSegments(g, row, strip, place, first, last) {
  const {series, period} = row;
  const reach = 1.5 * period + SLACK_S;
  const x = (i) => (series.t[i] - strip.page) * strip.pxPerS;
  const joined = (i) => i > 0 && series.t[i] - series.t[i - 1] <= reach;
  const segments = [];
  for (let i = Math.max(1, first); i <= last; i += 1) {
    if (joined(i)) segments.push({i, kind: lineKind(series.provenance[i - 1], series.provenance[i])});
  }
  ribbons(g, row, segments.filter((s) => s.kind && s.kind !== 'measured').map(({i}) => [i - 1, i, x(i - 1), x(i)]), place);
  const ghosts = segments.filter(({i}) => isGhost(series.provenance[i - 1], series.provenance[i]));
  strokeAll(g, row, strip, 'ghost', ghosts, (i, dash) => lines(g, x(i - 1), heldY(place, series.value[i - 1]), x(i), heldY(place, series.value[i]), dash));
  for (const kind of ['synthesised', 'predicted', 'measured']) {
    strokeAll(g, row, strip, kind, segments.filter((s) => s.kind === kind), (i, dash) => {
      const [from, to] = [believed(series, i - 1), believed(series, i)];
      if (Number.isFinite(from + to)) lines(g, x(i - 1), y(place, from), x(i), y(place, to), dash);
    });
  }
}

/** Slow levels: a tread from the sample to the next (or 1.5 periods), with a point where the reading is. */
function paintSteps(g, row, strip, place, first, last) {
  const {series, period} = row;
  const treads = [];
  for (let i = first; i <= last; i += 1) {
    const kind = lineKind(series.provenance[i], series.provenance[i]);
    if (!kind || !Number.isFinite(believed(series, i))) continue;
    const next = i + 1 < series.n ? series.t[i + 1] : Infinity;
    const end = Math.min(next, series.t[i] + 1.5 * period, Math.max(strip.t1, series.t[i]));
    const x0 = (series.t[i] - strip.page) * strip.pxPerS;
    treads.push({i, kind, x0, x1: (end - strip.page) * strip.pxPerS, riser: next - series.t[i] <= 1.5 * period + SLACK_S && next <= strip.t1});
  }
  const sure = (tread) => tread.kind === 'measured';
  ribbons(g, row, treads.filter((tread) => !sure(tread)).map(({i, x0, x1}) => [i, i, x0, x1]), place);
  const raw = treads.filter(({i}) => (series.provenance[i] & 0x0f) === QUARANTINED);
  strokeAll(g, row, strip, 'ghost', raw.map((tread) => ({...tread, ghost: true})), tread);
  for (const kind of ['synthesised', 'predicted', 'measured']) strokeAll(g, row, strip, kind, treads.filter((one) => one.kind === kind), tread);

  function tread(i, dash, {x0, x1, riser, ghost}) {
    const level = ghost ? heldY(place, series.value[i]) : y(place, believed(series, i));
    lines(g, x0, level, x1, level, dash);
    g.moveTo(x0 + POINT_PX * strip.ratio, level);
    g.arc(x0, level, POINT_PX * strip.ratio, 0, 2 * Math.PI);
    const after = riser && !ghost ? believed(series, i + 1) : NaN;
    if (Number.isFinite(after) && lineKind(series.provenance[i], series.provenance[i + 1])) lines(g, x1, level, x1, y(place, after), null);
  }
}

/** The central 90 % of made values, and within it the 50 %; of a distrusted reading only the 90 % (its estimate's
 * median isn't sent, so that the half around it is not known). spans: [from, to (sample), x0, x1]. */
function ribbons(g, {series, look}, spans, place) {
  if (!spans.length) return;
  g.fillStyle = look.color;
  for (const [inner, alpha] of [[false, 0.17], [true, 0.24]]) {
    g.globalAlpha = alpha;
    g.beginPath();
    for (let from = 0; from < spans.length;) {
      let to = from + 1;
      while (to < spans.length && spans[to][0] === spans[to - 1][1] && hasEdges(series, spans[to], inner)) to += 1;
      if (hasEdges(series, spans[from], inner)) outline(g, series, spans.slice(from, to), inner, place);
      from = to;
    }
    g.fill();
  }
  g.globalAlpha = 1;
}

/** Whether a span has this band at both ends. */
function hasEdges(series, [i, j], inner) {
  const distrusted = (k) => (series.provenance[k] & 0x0f) === QUARANTINED;
  if (inner && (distrusted(i) || distrusted(j))) return false;
  return Number.isFinite(series.upper[i] + series.upper[j] + series.lower[i] + series.lower[j]);
}

/** One outline around spans that hang together: a polygon each would cost a hundred times as much to fill. */
function outline(g, series, spans, inner, place) {
  const edge = (k, bounds) => y(place, inner ? series.value[k] + INNER * (bounds[k] - series.value[k]) : bounds[k]);
  g.moveTo(spans[0][2], edge(spans[0][0], series.upper));
  for (const [, j, , x1] of spans) g.lineTo(x1, edge(j, series.upper));
  for (let k = spans.length - 1; k >= 0; k -= 1) g.lineTo(spans[k][3], edge(spans[k][1], series.lower));
  g.lineTo(spans[0][2], edge(spans[0][0], series.lower));
  g.closePath();
}

/** Stroke parts of one kind of line in two goes: as issued, and as revised. */
function strokeAll(g, {series, look, kind: signal}, {ratio}, kind, parts, add) {
  const dash = LINES[kind].dash?.map((part) => part * ratio) ?? null;
  for (const revised of [false, true]) {
    const these = parts.filter(({i}) => ((series.provenance[i] & REVISED) !== 0) === revised);
    if (!these.length) continue;
    pen(g, kind, look, revised, signal === 'wave' ? ratio * FINE : ratio);
    g.beginPath();
    for (const part of these) add(part.i, dash, part);
    g.stroke();
    g.globalAlpha = 1;
  }
}

function pen(g, kind, look, revised, ratio) {
  const {width, alpha, color} = LINES[kind];
  g.strokeStyle = color ?? (revised ? mix(look.color, 0.45) : look.color);
  g.globalAlpha = alpha;
  g.lineWidth = width * ratio;
  g.lineJoin = 'round';
  g.lineCap = 'butt';
}
