// The room's pure parts, tested where they run: series, clocks, marks, scales, alarms. Started by test_room_logic.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {standing} from '../web/ui/src/alarms.js';
import {EngineClock, ViewClock} from '../web/ui/src/clock.js';
import {marksOf} from '../web/ui/src/marks.js';
import {Scale, niceRange} from '../web/ui/src/scale.js';
import {KEEP_S, Series} from '../web/ui/src/series.js';
import {bodyWords} from '../web/ui/src/bodyView.js';
import {orderChannels, sampleAt} from '../web/ui/src/view.js';
import {number, provenanceWord, qualityText, qualityWord} from '../web/ui/src/words.js';

const block = (t0, values, provenance = 0, period = 0.25) => ({
  period, t: Float64Array.from(values, (_, i) => t0 + i * period), value: Float32Array.from(values),
  lower: Float32Array.from(values, (v) => v - 1), upper: Float32Array.from(values, (v) => v + 1),
  confidence: new Uint8Array(values.length).fill(200), provenance: new Uint8Array(values.length).fill(provenance),
});
const filled = (...blocks) => blocks.reduce((s, b) => (s.put(b), s), new Series('gsr_uS', 0.25));
const values = (s) => [...s.value.subarray(0, s.n)];

test('a revision replaces what was shown between its ends and nothing else', () => {
  const s = filled(block(100, [1, 2, 3, 4, 5]));
  assert.equal(s.put(block(100.5, [30, 40], 0x80)), true);
  assert.deepEqual(values(s), [1, 2, 30, 40, 5]);
});

test('a revision may hold more or fewer samples than it replaces', () => {
  const s = filled(block(100, [1, 2, 3, 4, 5]));
  s.put({...block(100.25, [9, 9, 9, 9, 9], 0x80, 0.125)});
  assert.deepEqual(values(s), [1, 9, 9, 9, 9, 9, 5]);
  assert.ok([...s.t.subarray(1, s.n)].every((t, i) => t > s.t[i]));
});

test('a snapshot that repeats what is known changes nothing', () => {
  const s = filled(block(100, [1, 2, 3, 4]), block(100, [1, 2, 3, 4]), block(101, [5]));
  assert.deepEqual(values(s), [1, 2, 3, 4, 5]);
});

test('a series forgets what is older than it keeps and stays in order', () => {
  const s = new Series('x', 0.01);
  for (let t = 0; t < 3 * KEEP_S; t += 2) s.put(block(1e9 + t, new Array(200).fill(t), 0, 0.01));
  assert.ok(s.n * 0.01 < 1.5 * KEEP_S && s.n * 0.01 >= KEEP_S - 3, `${s.n}`);
  assert.ok(s.last > 1e9 + 3 * KEEP_S - 3);
});

test('a sample older than one and a half periods is not passed off as the present', () => {
  const s = filled(block(100, [1, 2, 3]));
  assert.equal(sampleAt(s, 100.6, 0.25).value, 3);
  assert.equal(sampleAt(s, 103, 0.25).provenance, 'none');
  assert.equal(sampleAt(undefined, 103, 0.25).provenance, 'none');
});

test('the engine clock trusts the least delayed message', () => {
  const clock = new EngineClock();
  for (const [at, delay] of [[10, 0.3], [11, 0.05], [12, 0.8]]) clock.hear(1000 + at - delay, at);
  assert.ok(Math.abs(clock.now(20) - 1019.95) < 1e-9);
});

test('the engine clock follows an engine whose clock was set back', () => {
  const clock = new EngineClock();
  clock.hear(5000, 10);
  clock.hear(1000, 11);
  assert.equal(clock.now(11), 1000);
});

test('the view clock never goes back, and jumps only over holes', () => {
  const clock = new ViewClock();
  let last = clock.advance(100, 0);
  for (let i = 1; i < 200; i += 1) {
    const now = clock.advance(100 + i * 0.025 + (i % 7 === 0 ? -1 : 0.4), i * 0.025);
    assert.ok(now >= last && now - last < 0.03);
    last = now;
  }
  assert.equal(clock.advance(500, 6), 500);
});

test('the view clock stands while it is held', () => {
  const clock = new ViewClock();
  clock.advance(100, 0);
  assert.equal(clock.hold(50), 100);
  assert.ok(clock.advance(100.1, 50.1) - 100 < 0.12);
});

test('withheld, revised and missing stretches are marked from their first to their last sample', () => {
  const s = filled(block(100, [1, 1]), block(100.5, [NaN, NaN], 4), block(101, [2, 2], 0x81), block(110, [3, 3]));
  const marks = marksOf(s, 0, 200, 0.25);
  assert.deepEqual(marks.map((m) => [m.kind, m.from, m.to]), [
    ['withheld', 100.5, 101], ['revised', 101, 101.5], ['missing', 101.25, 110],
  ]);
});

test('a mark that reaches the newest sample may still grow', () => {
  const [mark] = marksOf(filled(block(100, [NaN, NaN], 4)), 0, 200, 0.25);
  assert.equal(mark.open, true);
});

test('a scale stays while its data stays inside and gives way when they leave it', () => {
  const scale = new Scale('level', 0.2);
  const s = filled(block(100, [4.0, 4.3, 4.6, 4.2]));
  assert.equal(scale.follow(s, 99, 101), true);
  const {low, high} = scale;
  s.put(block(101, [4.1, 4.5, 4.4, 4.2]));
  assert.equal(scale.follow(s, 99, 102), false);
  assert.deepEqual([scale.low, scale.high], [low, high]);
  s.put(block(102, [7, 7, 7, 7]));
  assert.equal(scale.follow(s, 99, 103), true);
  assert.ok(scale.high >= 7);
});

test('a wave is drawn around zero, an envelope from zero, a level around its values', () => {
  assert.deepEqual(niceRange(-3, 8, 'wave', 0.1), {low: -10, high: 10});
  assert.equal(niceRange(-0.5, 3, 'envelope', 0.1).low, 0);
  assert.deepEqual(niceRange(97, 98, 'level', 8, [30, 100]), {low: 92, high: 100});
  const level = niceRange(22, 22.1, 'level', 4);
  assert.ok(level.low <= 20.1 && level.high >= 24);
});

const status = (provenance, since = 50) => ({
  channels: {'emg_activity_mV.zyg': {label: 'EMG cheek', signal: 'emg_activity_mV', provenance, since_s: since}},
});
const live = {connection: {state: 'live', since: NaN}, events: [], dropped: null, now: 60, acknowledged: 0};

test('the silence of a sensor is an alarm that names it, with priority in stars and words', () => {
  const [alarm] = standing({...live, status: status('synthesised')});
  assert.equal(alarm.priority, 2);
  assert.match(alarm.text, /EMG cheek: sensor silent since \S+\. Shown values are synthesised/);
  assert.equal(alarm.ago, '10 s');
});

test('channels of one sensor are one alarm, which says how many values are withheld', () => {
  const channel = (label, provenance) => ({label, signal: 'emg_raw_mV', provenance, since_s: 55, last_reading_s: 48});
  const channels = {a: channel('EMG cheek', 'synthesised'), b: channel('EMG brow', 'synthesised'), c: channel('EMG raw cheek', 'withheld')};
  const alarms = standing({...live, status: {channels}});
  assert.equal(alarms.length, 1);
  assert.match(alarms[0].text, /^EMG \(3 channels\): sensor silent since .* synthesised, 1 withheld\.$/);
  assert.equal(alarms[0].ago, '12 s');
});

test('a measured channel raises no alarm', () => {
  assert.deepEqual(standing({...live, status: status('measured')}), []);
});

test('a dead line outranks everything and silences what it can no longer know', () => {
  const alarms = standing({...live, connection: {state: 'down', since: 55}, status: status('synthesised')});
  assert.deepEqual(alarms.map((a) => a.priority), [3]);
  assert.match(alarms[0].text, /No data from the twin since/);
});

test('a refused message stays for a minute or until it is acknowledged', () => {
  const events = [{kind: 'refused', t: 30, text: 'forged: nothing was stored'}];
  assert.equal(standing({...live, status: status('measured'), events})[0].acknowledge, true);
  assert.equal(standing({...live, status: status('measured'), events, acknowledged: 30}).length, 0);
  assert.equal(standing({...live, status: status('measured'), events, now: 95}).length, 0);
});

test('numbers are printed in the unit of the look, and no number where there is none', () => {
  const look = {factor: 1000, digits: 2, unit: 'µV'};
  assert.equal(number(0.000153, look), '0.15');
  assert.equal(number(-0.0129, look), '−12.90');
  assert.equal(number(NaN, look), '–');
});

test('a provenance byte is read by its low bits', () => {
  assert.equal(provenanceWord(0x81), 'synthesised');
  assert.equal(provenanceWord(4), 'withheld');
  assert.equal(provenanceWord(9), 'none');
});

test('the envelope speaks for a region before the raw wave, and the room is no part of the body', () => {
  const channels = {
    'emg_raw_mV.zyg': {kind: 'wave', region: 'cheek', label: 'raw'}, 'emg_activity_mV.zyg': {kind: 'envelope', region: 'cheek', label: 'EMG'},
    room_temp_C: {kind: 'level', region: 'room', label: 'Room'},
  };
  const samples = new Map(Object.keys(channels).map((id) => [id, {value: 1, confidence: 1, provenance: 'measured'}]));
  const {regions, air} = bodyWords(channels, samples, {}, new Map(), new Map(), 0);
  assert.equal(regions.cheek.label, 'EMG');
  assert.deepEqual([Object.keys(regions), Object.keys(air)], [['cheek'], ['room_temp_C']]);
  assert.equal(orderChannels(channels, {}).at(-1), 'room_temp_C');
});

test('a poor signal is told in words, with the number and the unit as people write it', () => {
  const off = {verdict: 'bad', reason: 'electrode off: 0.02 uS, below 0.05 uS'};
  assert.equal(qualityText(off), 'Bad signal – electrode off: 0.02 µS, below 0.05 µS');
  assert.equal(qualityWord(off), 'electrode off');
  assert.equal(qualityText({verdict: 'doubtful', reason: 'few readings: 20 % came'}), 'Doubtful signal – few readings: 20 % came');
  assert.equal(qualityText({verdict: 'bad', reason: 'sensor off the skin: 4.9 Cel within 10 s'}), 'Bad signal – sensor off the skin: 4.9 °C within 10 s');
  assert.equal(qualityWord({verdict: 'doubtful', reason: ''}), 'Doubtful signal');
});

test('of a good signal, or one that nobody judged, nothing is said', () => {
  for (const quality of [undefined, null, {verdict: 'good', reason: ''}, {verdict: 'something new', reason: 'x'}]) {
    assert.equal(qualityText(quality), '');
    assert.equal(qualityWord(quality), '');
  }
});
