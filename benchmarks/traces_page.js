// What benchmarks/traces.py runs in the page. `everbeat` is {Series, Sweep}, bundled from the sources; Plotly is its wheel's.
const RATE = 250, CHANNELS = 8, FPS = 60, T0 = 1.7e9;
const wave = (t, c) => Math.sin(2 * Math.PI * (1.1 + 0.1 * c) * t) + 0.3 * Math.sin(37 * t + c);
const stats = (times) => {
  times.sort((a, b) => a - b);
  const at = (q) => times[Math.floor(q * (times.length - 1))];
  return {mean: times.reduce((a, b) => a + b, 0) / times.length, p50: at(0.5), p95: at(0.95), p99: at(0.99)};
};
function setUp(provenance) {
  document.body.innerHTML = '<canvas style="width:1600px;height:900px;display:block"></canvas>';
  const sweep = new everbeat.Sweep(document.querySelector('canvas'));
  const rows = Array.from({length: CHANNELS}, (_, c) => ({
    series: new everbeat.Series(`ecg_mV.${c}`, 1 / RATE), range: {low: -1.5, high: 1.5}, look: {color: '#3ddc84'}, kind: 'wave',
    period: 1 / RATE, stepped: false, top: c * 112, height: 112, padTop: 20, padBottom: 9, marks: [], reason: '',
  }));
  sweep.layOut([{name: 'fast', pxPerS: 25 * 96 / 25.4, gridS: 1, top: 0, height: 896, rows}]);
  return {sweep, rows, provenance, made: 0};
}
function feed(bench, upTo) {
  const n = Math.floor((upTo - T0) * RATE) - bench.made;
  if (n <= 0) return;
  bench.rows.forEach(({series}, c) => {
    const value = Float32Array.from({length: n}, (_, i) => wave((bench.made + i) / RATE, c));
    series.put({
      period: 1 / RATE, t: Float64Array.from({length: n}, (_, i) => T0 + (bench.made + i) / RATE), value,
      lower: value.map((v) => v - 0.3), upper: value.map((v) => v + 0.3),
      confidence: new Uint8Array(n).fill(200), provenance: new Uint8Array(n).fill(bench.provenance),
    });
  });
  bench.made += n;
}
window.sweepFrames = async (frames, provenance) => {
  const bench = setUp(provenance);
  const times = [];
  for (let i = 0; i < frames; i += 1) {
    const t = T0 + i / FPS;
    feed(bench, t + 0.5);
    const began = performance.now();
    bench.sweep.frame(t);
    times.push(performance.now() - began);
    if (i % 20 === 0) await new Promise(requestAnimationFrame);
  }
  return stats(times.slice(60));
};
window.wholePictures = (count, provenance) => {
  const bench = setUp(provenance);
  feed(bench, T0 + 40);
  const times = [];
  for (let i = 0; i < count; i += 1) {
    bench.sweep.repaint();
    const began = performance.now();
    bench.sweep.frame(T0 + 39);
    times.push(performance.now() - began);
  }
  return stats(times);
};
window.minutes = async (from, to) => {
  window.kept ??= setUp(0);
  for (let s = from * 60; s < to * 60; s += 1) {
    feed(window.kept, T0 + s + 2);
    window.kept.sweep.frame(T0 + s);
    if (s % 60 === 0) await new Promise(requestAnimationFrame);
  }
  return window.kept.rows[0].series.n;
};
window.plotlyFrames = async (frames) => {
  document.body.innerHTML = '<div style="width:1600px;height:900px"></div>';
  const node = document.querySelector('div');
  const window_s = 1600 / (25 * 96 / 25.4);
  const keep = Math.round(window_s * RATE);
  const axes = {};
  for (let c = 0; c < CHANNELS; c += 1) axes[`yaxis${c ? c + 1 : ''}`] = {domain: [c / 8, (c + 1) / 8], range: [-1.5, 1.5], fixedrange: true};
  const first = Array.from({length: keep}, (_, i) => i / RATE);
  await Plotly.newPlot(node, Array.from({length: CHANNELS}, (_, c) => ({
    type: 'scatter', mode: 'lines', x: first, y: first.map((t) => wave(t, c)), yaxis: `y${c ? c + 1 : ''}`, line: {width: 1.6},
  })), {...axes, showlegend: false, margin: {l: 0, r: 0, t: 0, b: 0}, xaxis: {fixedrange: true}}, {staticPlot: true});
  const which = Array.from({length: CHANNELS}, (_, c) => c);
  const times = [];
  let made = keep;
  for (let i = 0; i < frames; i += 1) {
    const n = Math.floor(keep + (i + 1) * RATE / FPS) - made;
    const x = Array.from({length: n}, (_, k) => (made + k) / RATE);
    made += n;
    const began = performance.now();
    await Plotly.extendTraces(node, {x: which.map(() => x), y: which.map((c) => x.map((t) => wave(t, c)))}, which, keep);
    times.push(performance.now() - began);
    if (i % 20 === 0) await new Promise(requestAnimationFrame);
  }
  return stats(times.slice(5));
};
