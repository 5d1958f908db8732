// How a stretch of the past is painted into a chart: measured solid, made dashed with its ribbon, quarantined dotted amber,
// withheld hatched, missing left blank with a baseline; revised marked at the foot. Nothing is drawn across a hole.
import {PROVENANCE, REVISED} from '../wire.js';

const AMBER = '#ffb000';
const HOLE = 0x0f; // a mark of web/data.py's thinned traces: no sample from here to the next one
const KIND = 0x0f;
const isMade = (byte) => [PROVENANCE.SYNTHESISED, PROVENANCE.PREDICTED].includes(byte & KIND);

/** A diagonal hatch of this context's pixels. */
export function hatch(ctx, ratio) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = Math.round(8 * ratio);
  const g = tile.getContext('2d');
  g.strokeStyle = '#54687d';
  g.lineWidth = ratio;
  for (const shift of [-1, 0, 1]) {
    g.moveTo(shift * tile.width, tile.height);
    g.lineTo((shift + 1) * tile.width, 0);
  }
  g.stroke();
  return ctx.createPattern(tile, 'repeat');
}

/** Whether samples i - 1 and i are neighbours: no hole is marked between them. */
const joins = (s, i) => i > 0 && (s.provenance[i - 1] & KIND) !== HOLE;

/** @param box {x(t), y(value), top, height (px), ratio} */
export function paintTrace(ctx, s, box, color) {
  const paths = {measured: new Path2D(), made: new Path2D(), quarantined: new Path2D()};
  const ribbon = new Path2D();
  for (let i = 0; i < s.n; i += 1) addSample(s, i, box, paths, ribbon);
  withheld(ctx, s, box);
  ctx.globalAlpha = 0.2;
  ctx.fillStyle = color;
  ctx.fill(ribbon);
  ctx.globalAlpha = 1;
  stroke(ctx, paths.measured, color, 1.5 * box.ratio, []);
  stroke(ctx, paths.made, color, 2.2 * box.ratio, [7 * box.ratio, 4 * box.ratio]);
  stroke(ctx, paths.quarantined, AMBER, 2 * box.ratio, [2 * box.ratio, 4 * box.ratio]);
  revisedMarks(ctx, s, box);
}

function addSample(s, i, box, paths, ribbon) {
  const byte = s.provenance[i];
  if (!Number.isFinite(s.value[i])) return;
  const x = box.x(s.t[i]);
  const y = box.y(s.value[i]);
  const before = joins(s, i) && Number.isFinite(s.value[i - 1]);
  const style = styleOf(before ? s.provenance[i - 1] : byte, byte);
  const path = paths[style];
  if (!before) path.moveTo(x - box.ratio, y); // a sample alone is a dot
  else if (paths.last !== style) path.moveTo(box.x(s.t[i - 1]), box.y(s.value[i - 1]));
  path.lineTo(x, y); // one stroke as long as the style holds, or dashes would begin anew at every sample
  paths.last = style;
  if (isMade(byte) && before) quad(ribbon, s, i, box);
}

/** The style of the line between two samples: that of the less certain. */
function styleOf(before, after) {
  const kinds = [before & KIND, after & KIND];
  if (kinds.includes(PROVENANCE.QUARANTINED)) return 'quarantined';
  return kinds.every((kind) => kind === PROVENANCE.MEASURED) ? 'measured' : 'made';
}

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
    if (!(byte & REVISED) || !Number.isFinite(s.value[i])) continue;
    const path = (byte & KIND) === PROVENANCE.MEASURED ? truth : revision;
    const [x, y] = [box.x(s.t[i]), box.y(s.value[i])];
    if (!(joins(s, i) && s.provenance[i - 1] === byte)) path.moveTo(x - box.ratio, y);
    path.lineTo(x, y);
  }
  stroke(ctx, revision, '#b9c8d6', 1.2 * box.ratio, [2 * box.ratio, 2 * box.ratio]);
  stroke(ctx, truth, '#ffffff', 1.6 * box.ratio, []);
}
