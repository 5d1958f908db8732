// How a stretch of the past is painted into a chart, with the lines of the room (strokes.js): measured solid, made dashed
// with its ribbon, a distrusted reading as a dotted amber ghost behind the estimate, withheld hatched, missing left blank;
// revised marked at the foot. Nothing is drawn across a hole.
import {LINES, believed, hatch} from '../strokes.js';
import {PROVENANCE, REVISED} from '../wire.js';
import {HOLE, joins, piecesOf} from './pieces.js';

const KIND = 0x0f;

/** The room's hatch, finer and lighter: charts are small. */
export const fineHatch = (ctx, ratio) => hatch(ctx, ratio, '#54687d', 8, 1);

/** @param box {x(t), y(value), top, height (px), ratio} */
export function paintTrace(ctx, s, box, color) {
  const paths = Object.fromEntries(Object.keys(LINES).map((kind) => [kind, new Path2D()]));
  const ribbon = new Path2D();
  for (const piece of piecesOf(s)) {
    addPiece(paths[piece.kind], s, piece, box);
    if (!['measured', 'ghost'].includes(piece.kind) && Number.isFinite(piece.from)) quad(ribbon, s, piece.i, box);
  }
  withheld(ctx, s, box);
  ctx.globalAlpha = 0.2;
  ctx.fillStyle = color;
  ctx.fill(ribbon);
  for (const [kind, {dash, width, alpha, color: own}] of Object.entries(LINES)) { // the ghost first: it lies behind
    ctx.globalAlpha = alpha;
    stroke(ctx, paths[kind], own ?? color, width * box.ratio, (dash ?? []).map((part) => part * box.ratio));
  }
  ctx.globalAlpha = 1;
  revisedMarks(ctx, s, box);
}

function addPiece(path, s, {kind, i, from, to}, box) {
  const y = kind === 'ghost' ? (value) => held(box, box.y(value)) : box.y;
  const x = box.x(s.t[i]);
  if (!Number.isFinite(from)) path.moveTo(x - box.ratio, y(to)); // a sample alone is a dot
  else if (path.last !== i - 1) path.moveTo(box.x(s.t[i - 1]), y(from));
  path.lineTo(x, y(to)); // one stroke as long as the style holds, or dashes would begin anew at every sample
  path.last = i;
}

/** However wild a distrusted reading is, it stays in sight. */
const held = (box, y) => Math.max(box.top + 2 * box.ratio, Math.min(box.top + box.height - 2 * box.ratio, y));

function quad(path, s, i, box) {
  const [x0, x1] = [box.x(s.t[i - 1]), box.x(s.t[i])];
  const ys = [s.upper[i - 1], s.upper[i], s.lower[i], s.lower[i - 1]].map(box.y);
  if (!ys.every(Number.isFinite)) return;
  path.moveTo(x0, ys[0]);
  path.lineTo(x1, ys[1]);
  path.lineTo(x1, ys[2]);
  path.lineTo(x0, ys[3]);
  path.closePath();
}

function stroke(ctx, path, color, width, dash) {
  ctx.strokeStyle = color;
  ctx.lineWidth = width;
  ctx.lineJoin = 'round';
  ctx.setLineDash(dash);
  ctx.stroke(path);
  ctx.setLineDash([]);
}

/** Runs of samples for which `is(byte)` holds: [first, last] indices. */
function* runsOf(s, is) {
  for (let i = 0; i < s.n; i += 1) {
    if (!is(s.provenance[i])) continue;
    const first = i;
    while (i + 1 < s.n && is(s.provenance[i + 1]) && joins(s, i + 1)) i += 1;
    yield [first, i];
  }
}

function withheld(ctx, s, box) {
  ctx.fillStyle = box.hatch;
  for (const [a, b] of runsOf(s, (byte) => (byte & KIND) === PROVENANCE.WITHHELD)) {
    ctx.fillRect(box.x(s.t[a]), box.top, Math.max(2, box.x(s.t[b]) - box.x(s.t[a])), box.height);
  }
}

function revisedMarks(ctx, s, box) {
  ctx.strokeStyle = '#b9c8d6';
  ctx.lineWidth = box.ratio;
  const y = box.top + box.height - 2 * box.ratio;
  for (const [a, b] of runsOf(s, (byte) => (byte & REVISED) !== 0 && (byte & KIND) !== HOLE)) {
    const [x0, x1] = [box.x(s.t[a]), box.x(s.t[b])];
    ctx.beginPath();
    ctx.moveTo(x0, y - 5 * box.ratio);
    ctx.lineTo(x0, y);
    ctx.lineTo(x1, y);
    ctx.lineTo(x1, y - 5 * box.ratio);
    ctx.stroke();
  }
}

/** Beside what was shown: true readings that came late (white, solid, thin), and the twin's own revision (fine dashes). */
export function paintLater(ctx, s, box) {
  const truth = new Path2D();
  const revision = new Path2D();
  for (let i = 0; i < s.n; i += 1) {
    const byte = s.provenance[i];
    const value = believed(s, i);
    if (!(byte & REVISED) || !Number.isFinite(value)) continue;
    const path = (byte & KIND) === PROVENANCE.MEASURED ? truth : revision;
    const [x, y] = [box.x(s.t[i]), box.y(value)];
    if (!(joins(s, i) && s.provenance[i - 1] === byte)) path.moveTo(x - box.ratio, y);
    path.lineTo(x, y);
  }
  stroke(ctx, revision, '#b9c8d6', 1.2 * box.ratio, [2 * box.ratio, 2 * box.ratio]);
  stroke(ctx, truth, '#ffffff', 1.6 * box.ratio, []);
}
