// The last minute of a channel as a small trace. Stretches of one provenance are drawn in its style; a gap is never bridged.
import {provenanceWord} from './words.js';

const SECONDS = 60;
const POINTS = 500; // more than the picture has pixels across: longer series are thinned to the extremes of each step
const DASHES = {synthesised: [3, 3], predicted: [1, 2]};
const QUARANTINED = '#ff8a6b';

/** Draws `series` up to view time `t` (Unix s) on `canvas` in `colour`, once a second at most. */
export function drawSpark(canvas, series, t, colour) {
  if (!series || !(Math.abs(t - (canvas.drawnAt ?? -Infinity)) >= 1)) return;
  canvas.drawnAt = t;
  const runs = runsOf(series, t - SECONDS, t);
  const pen = canvas.getContext('2d');
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const values = runs.flatMap((run) => run.points.map(([, value]) => value));
  if (!values.length) return;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = high - low || Math.abs(high) || 1;
  const x = (at) => ((at - (t - SECONDS)) / SECONDS) * canvas.width;
  const y = (value) => canvas.height - 4 - ((value - low) / room) * (canvas.height - 8);
  for (const {word, points} of runs) {
    pen.strokeStyle = word === 'quarantined' ? QUARANTINED : colour;
    pen.setLineDash(DASHES[word] ?? []);
    pen.beginPath();
    points.forEach(([at, value], i) => (i ? pen.lineTo(x(at), y(value)) : pen.moveTo(x(at), y(value))));
    if (points.length === 1) pen.lineTo(x(points[0][0]) + 1, y(points[0][1]));
    pen.stroke();
  }
}

/** [{word, points: [[t, value]]}] between two times: a new run at every change of provenance, hole or withheld sample. */
export function runsOf(series, from, to) {
  const runs = [];
  const end = series.indexAt(to);
  const start = series.indexAt(from) + 1;
  const step = Math.max(1, Math.floor((end - start) / POINTS));
  const hole = 2.5 * step * (series.period || 1) + 0.05;
  let last = -Infinity;
  for (let i = start; i <= end; i += step) {
    const value = extreme(series.value, i, Math.min(end, i + step - 1), runs.length ? runs.at(-1).points.length % 2 : 0);
    const word = provenanceWord(series.provenance[i]);
    if (word === 'withheld' || !Number.isFinite(value)) {
      last = -Infinity;
      continue;
    }
    const fresh = series.t[i] - last > hole || runs.at(-1)?.word !== word;
    if (fresh) runs.push({word, points: []});
    runs.at(-1).points.push([series.t[i], value]);
    last = series.t[i];
  }
  return runs;
}

/** The largest (odd) or smallest (even) of values[from..to]: thinning by turns keeps both edges of a wave. */
function extreme(values, from, to, odd) {
  let best = values[from];
  for (let i = from + 1; i <= to; i += 1) if (odd ? values[i] > best : values[i] < best) best = values[i];
  return best;
}
