// What the body is told, tested where it runs: organs, posture, picked channels, the small trace. Started by test_twin_viewer.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {bodyWords, channelsOf} from '../web/ui/src/bodyView.js';
import {gravity, postureOf} from '../web/ui/src/posture.js';
import {Series} from '../web/ui/src/series.js';
import {runsOf} from '../web/ui/src/spark.js';

const sample = (value, provenance = 'measured', confidence = 1) => ({value, provenance, confidence, lower: value, upper: value, t: 100});
const channels = {
  hr_bpm: {kind: 'level', region: 'chest', label: 'Heart rate'}, 'hr_bpm.pulse': {kind: 'level', region: 'finger', label: 'Pulse'},
  resp_rpm: {kind: 'level', region: 'chest', label: 'Respiration'},
};
const words = (samples, known = channels, series = new Map()) => bodyWords(known, new Map(Object.entries(samples)), {}, new Map(), series, 100);

/** Series of x, y and z at 4 Hz up to t = 100 s. */
function axes(at) {
  const out = ['x', 'y', 'z'].map((axis) => new Series(`acc_g.${axis}`, 0.25));
  const t = Float64Array.from({length: 40}, (_, i) => 90.25 + i * 0.25);
  out.forEach((series, k) => {
    const value = Float32Array.from(t, (_, i) => at(i)[k]);
    series.put({t, value, lower: value, upper: value, confidence: new Uint8Array(40).fill(255), provenance: new Uint8Array(40), period: 0.25});
  });
  return out;
}

test('the heart beats at the most trustworthy rate there is', () => {
  const {organs} = words({hr_bpm: sample(80, 'synthesised', 0.72), 'hr_bpm.pulse': sample(77)});
  assert.deepEqual([organs.heart.rate, organs.heart.provenance], [77, 'measured']);
});

test('an organ says that its rate is synthesised and how sure that is; one that nothing measures says illustrative', () => {
  const {organs} = words({hr_bpm: sample(80, 'synthesised', 0.72)});
  assert.match(organs.heart.provenanceText, /72\u00a0%$/);
  assert.equal(organs.heart.confidence, 0.72);
  assert.ok(organs.lungs.illustrative && organs.lungs.rate > 0 && organs.lungs.provenance === 'none');
  assert.equal(organs.lungs.text, '', 'a rate that nobody measured is no number to be read');
});

test('a withheld or distrusted rate moves nothing', () => {
  for (const provenance of ['withheld', 'quarantined']) {
    const {organs} = words({hr_bpm: sample(provenance === 'withheld' ? NaN : 250, provenance, 0.3)});
    assert.deepEqual([organs.heart.rate, organs.heart.provenance, organs.heart.illustrative], [null, provenance, undefined]);
  }
});

test('a region is drawn by the least trustworthy of its levels and envelopes, and says what each of them is worth', () => {
  const known = {...channels, 'ecg_mV.ii': {kind: 'wave', region: 'chest', label: 'ECG'}};
  for (const [provenance, confidence] of [['synthesised', 0.6], ['withheld', 0], ['quarantined', 0.4]]) {
    const {chest} = words({hr_bpm: sample(80), resp_rpm: sample(14, provenance, confidence), 'ecg_mV.ii': sample(0, 'withheld', 0)}, known).regions;
    assert.deepEqual([chest.provenance, chest.confidence], [provenance, confidence]);
    const all = [chest, ...chest.others];
    assert.deepEqual(all.map((word) => [word.label, word.own ?? word.provenance]).sort(), [['Heart rate', 'measured'], ['Respiration', provenance]]);
  }
});

test('a channel of which nothing is known hides no other, and raw waves count where there is nothing else', () => {
  const known = {...channels, 'ecg_mV.ii': {kind: 'wave', region: 'chest', label: 'ECG'}, 'ecg_mV.i': {kind: 'wave', region: 'chest', label: 'ECG I'}};
  const none = sample(NaN, 'none', 0);
  assert.equal(words({hr_bpm: none, resp_rpm: sample(14)}, known).regions.chest.provenance, 'measured');
  const {chest} = words({hr_bpm: none, resp_rpm: none, 'ecg_mV.ii': sample(0.1), 'ecg_mV.i': sample(0.1, 'synthesised', 0.5)}, known).regions;
  assert.deepEqual([chest.provenance, chest.others.length], ['synthesised', 1]);
  assert.equal(words({hr_bpm: none}, known).regions.chest.provenance, 'none');
});

test('a picked organ stands for its rates, a picked region for all its channels', () => {
  assert.deepEqual(channelsOf(channels, 'heart'), ['hr_bpm', 'hr_bpm.pulse']);
  assert.deepEqual(channelsOf(channels, 'lungs'), ['resp_rpm']);
  assert.deepEqual(channelsOf(channels, 'chest'), ['hr_bpm', 'resp_rpm']);
  assert.deepEqual(channelsOf(channels, 'head'), []);
});

test('up in the trunk\'s frame is a posture', () => {
  const postures = [[[0, 1, 0], 'upright'], [[0, 0.7, 0.7], 'reclined'], [[0, 0, 1], 'supine'], [[0.1, 0, -1], 'prone'],
    [[1, 0, 0], 'right_side'], [[-1, 0.1, 0.2], 'left_side'], [[0, -1, 0], 'head_down']];
  for (const [up, name] of postures) assert.equal(postureOf(up.map((x) => x / Math.hypot(...up))), name);
});

test('gravity is what lasts, motion what does not, and free fall says nothing', () => {
  const still = gravity(axes(() => [0.02, 0.05, 0.99]), 100);
  assert.ok(!still.moving && still.up[2] > 0.99);
  const walking = gravity(axes((i) => [0, 1 + (i % 2 ? 0.3 : -0.3), 0]), 100);
  assert.ok(walking.moving && walking.up[1] > 0.99);
  assert.equal(gravity(axes(() => [0, 0.01, 0]), 100), null);
  assert.equal(gravity(axes(() => [0, 1, 0]), 50), null, 'nothing known before the series begins');
});

test('a sensor on the wrist tells no posture and says that it is illustrative; one on the trunk lays the body down', () => {
  const series = new Map(axes(() => [0, 0, 1]).map((one) => [one.channel, one]));
  for (const [region, lies] of [['wrist', false], ['chest', true]]) {
    const known = Object.fromEntries(['x', 'y', 'z'].map((axis) => [`acc_g.${axis}`, {kind: 'wave', region, label: axis}]));
    const {posture} = words({'acc_g.x': sample(0), 'acc_g.y': sample(0), 'acc_g.z': sample(1)}, known, series);
    assert.equal(posture.up !== null, lies, region);
    assert.equal(/illustrative/.test(posture.provenanceText), !lies, region);
  }
});

test('the small trace breaks at gaps and at every change of provenance, and leaves out what is withheld', () => {
  const series = new Series('gsr_uS', 1);
  const t = Float64Array.from([1, 2, 3, 10, 11, 12, 13, 14]);
  const value = Float32Array.from([1, 2, 3, 4, 5, NaN, 7, 8]);
  const provenance = Uint8Array.from([0, 0, 1, 1, 1, 4, 0, 0]);
  series.put({t, value, lower: value, upper: value, confidence: new Uint8Array(8), provenance, period: 1});
  assert.deepEqual(runsOf(series, 0, 20).map(({word, points}) => [word, points.map(([at]) => at)]),
    [['measured', [1, 2]], ['synthesised', [3]], ['synthesised', [10, 11]], ['measured', [13, 14]]]);
});
