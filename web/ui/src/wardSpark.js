// The small trace of a ward's row: one minute of one channel. Measured solid, synthesised dashed, quarantined dotted,
// withheld a gap with a hatched floor; a hole is never bridged.
const SPAN_S = 60;
const HOLE_S = 3.5; // points come once a second
const PAD = 4;
const STYLE = {0: [], 1: [5, 3], 2: [5, 3], 3: [1.5, 3.5]};
const AMBER = '#ffb000';

/** Draw `points` ({t, value, provenance}) up to `now` (Unix s). @param {number} least the smallest span of the scale */
export function drawSpark(canvas, points, now, color, least, current) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const {clientWidth: width, clientHeight: height} = canvas;
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const g = canvas.getContext('2d');
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  const x = (t) => width - 5 - ((now - t) / SPAN_S) * (width - 5);
  const [low, high] = scaleOf(points, least);
  const y = (value) => height - PAD - ((value - low) / (high - low)) * (height - 2 * PAD);
  floor(g, points, x, height);
  g.globalAlpha = current ? 1 : 0.4;
  g.lineWidth = 1.6;
  g.lineJoin = 'round';
  for (const run of runs(points)) stroke(g, run, x, y, color);
  const last = points[points.length - 1];
  if (last && last.value !== null && current) dot(g, x(last.t), y(last.value), last.provenance, color);
  g.globalAlpha = 1;
}

/** Stretches of one style; a stretch begins at the last point of the one before, in the less certain style. */
export function runs(points) {
  const found = [];
  for (let i = 1; i < points.length; i += 1) {
    const [a, b] = [points[i - 1], points[i]];
    if (a.value === null || b.value === null || b.t - a.t > HOLE_S) continue;
    const style = Math.max(a.provenance, b.provenance);
    const run = found[found.length - 1];
    if (run && run.style === style && run.points[run.points.length - 1] === a) run.points.push(b);
    else found.push({style, points: [a, b]});
  }
  return found;
}

function stroke(g, {style, points}, x, y, color) {
  g.setLineDash(STYLE[style] ?? []);
  g.strokeStyle = style === 3 ? AMBER : color;
  g.beginPath();
  points.forEach((point, i) => (i ? g.lineTo(x(point.t), y(point.value)) : g.moveTo(x(point.t), y(point.value))));
  g.stroke();
  g.setLineDash([]);
}

function dot(g, x, y, provenance, color) {
  g.fillStyle = g.strokeStyle = provenance === 3 ? AMBER : color;
  g.beginPath();
  g.arc(x, y, 2.4, 0, 7);
  if (provenance === 0) g.fill();
  else g.stroke();
}

/** Hatches where values are withheld. */
function floor(g, points, x, height) {
  g.strokeStyle = '#3a4c5f';
  g.lineWidth = 1;
  g.beginPath();
  for (const point of points) {
    if (point.provenance !== 4) continue;
    g.moveTo(x(point.t) - 4, height - 2);
    g.lineTo(x(point.t), height - 10);
  }
  g.stroke();
}

function scaleOf(points, least) {
  const values = points.filter((point) => point.value !== null).map((point) => point.value);
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const missing = Math.max(0, (least || 1e-9) - (high - low)) / 2;
  return [low - missing, high + missing];
}
