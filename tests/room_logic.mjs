// The room's pure parts, tested where they run: series, clocks, marks, scales, alarms. Started by test_room_logic.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {readFileSync, readdirSync} from 'node:fs';
import {acknowledging, fromEngine, newBelow, quiet, standing} from '../web/ui/src/alarms.js';
import {EngineClock, ViewClock} from '../web/ui/src/clock.js';
import {downtime} from '../web/ui/src/downtime.js';
import {learn} from '../web/ui/src/i18n.js';
import {twice} from '../web/ui/src/lazy.js';
import {bodyOf, formOf, meaning, numberOf, signature} from '../web/ui/src/limits.js';
import {marksOf} from '../web/ui/src/marks.js';
import {Scale, niceRange} from '../web/ui/src/scale.js';
import {KEEP_S, Series} from '../web/ui/src/series.js';
import {bodyWords} from '../web/ui/src/bodyView.js';
import {HARMONICS, PATTERNS, cue, loudest, pulses, wanted} from '../web/ui/src/sound.js';
import {alarmText, eventText, mergedEvents} from '../web/ui/src/telling.js';
import {orderChannels, sampleAt} from '../web/ui/src/view.js';
import {number, provenanceWord, qualityText, qualityWord} from '../web/ui/src/words.js';

const WORDS = new URL('../web/words/en/', import.meta.url);
const english = Object.assign({}, ...readdirSync(WORDS).map((file) => JSON.parse(readFileSync(new URL(file, WORDS)))));
learn({en: english});

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

test('an engine that was clearly ahead and is set right is noticed, a slewed or late one is not', () => {
  const clock = new EngineClock();
  assert.equal(clock.isSetBack(5000, 10), false, 'nothing was heard before');
  clock.hear(5000, 10);
  assert.equal(clock.isSetBack(4995, 11), false);
  assert.equal(clock.isSetBack(4000, 11), true);
  clock.hear(4000, 11);
  assert.equal(clock.isSetBack(4001, 12), false);
});

test('samples that were cleared are gone, and those that follow lie earlier', () => {
  const s = filled(block(5000, [1, 2, 3]));
  s.clear();
  assert.equal(s.last, -Infinity);
  assert.equal(s.put(block(100, [7, 8])), false);
  assert.deepEqual(values(s), [7, 8]);
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

const live = {connection: {state: 'live', since: NaN}, dropped: null, now: 60};
const raised = (id, more = {}) => ({
  id, kind: 'silent', channel: 'emg_activity_mV.zyg', signal: 'emg_activity_mV', priority: 2, since_s: 50, over_s: null,
  acked_by: '', acked_s: null, text: 'EMG cheek: sensor silent', facts: {}, value: null, limit: null, ...more,
});
const status = (...alarms) => ({alarms});

test('channels of one sensor that fell silent together are one line, which acknowledges all of them', () => {
  const alarms = standing({...live, status: status(raised('a'), raised('b', {channel: 'emg_activity_mV.corr', since_s: 52}), raised('c', {channel: 'gsr_uS', signal: 'gsr_uS'}))});
  assert.deepEqual(alarms.map((a) => a.ids), [['a', 'b'], ['c']]);
  assert.equal(alarmText(alarms[0]), 'EMG cheek and EMG brow: sensor silent. The shown value is synthesised.');
  assert.equal(alarms[0].since, 50);
});

test('what fell silent at another time, or was acknowledged by itself, keeps its own line', () => {
  const late = raised('b', {channel: 'emg_activity_mV.corr', since_s: 40});
  const acked = raised('c', {channel: 'emg_raw_mV.zyg', acked_by: 'Ada', acked_s: 55});
  assert.deepEqual(standing({...live, status: status(raised('a'), late, acked)}).map((a) => a.key), ['a', 'b', 'c']);
});

test('limit alarms are the patient\'s and are never put together', () => {
  const [a, b, ...rest] = standing({...live, status: status(raised('a', {kind: 'limit-high', priority: 3}), raised('b', {kind: 'limit-high', priority: 3}))});
  assert.deepEqual([a.physiological, b.physiological, rest.length], [true, true, 0]);
});

test('not acknowledged comes before acknowledged, then the highest, then the newest', () => {
  const alarms = standing({...live, status: status(
    raised('acked', {priority: 3, acked_by: 'Ada'}), raised('low', {priority: 1, kind: 'bad-signal'}), raised('old', {channel: 'gsr_uS', signal: 'gsr_uS', since_s: 10}), raised('new'),
  )});
  assert.deepEqual(alarms.map((a) => a.key), ['new', 'old', 'low', 'acked']);
});

test('an alarm that is over stays until it is acknowledged, and says so in its record', () => {
  const [alarm] = standing({...live, status: status(raised('a', {over_s: 58}))});
  assert.equal(alarm.over, 58);
  assert.equal(wanted([alarm], null, 60).priority, 2);
});

test('without an alarm of the engine there is none, whatever the channels show', () => {
  assert.deepEqual(standing({...live, status: {channels: {gsr_uS: {provenance: 'synthesised', value: 900}}}}), []);
});

test('a dead line outranks everything and what it can no longer know stays, marked and quiet', () => {
  const alarms = standing({...live, connection: {state: 'down', since: 55}, status: status(raised('a'))});
  assert.deepEqual(alarms.map((a) => [a.priority, a.source, a.last, quiet(a)]), [[3, 'page', undefined, false], [2, 'engine', 55, true]]);
  const known = standing({...live, connection: {state: 'down', since: 55}, status: status(raised('a')), here: new Map([['page-down', 55]])});
  assert.equal(known[0].source, 'page', 'also when it is acknowledged here');
  assert.equal(wanted(known, null, 60).priority, 0);
  assert.match(alarmText(alarms[0]), /No data from the twin since/);
});

test('of a discharged patient nothing is an alarm', () => {
  assert.deepEqual(standing({...live, connection: {state: 'discharged', since: 50}, status: status(raised('a')), dropped: {t: 59, count: 3}}), []);
  assert.equal(downtime({state: 'discharged', since: 50}, {devices: {a: {last_frame_s: 1}}}, 60).failed, '');
});

test('an acknowledgement names exactly the alarms that were shown, never all', () => {
  assert.deepEqual(acknowledging(['a']), [{alarm: 'a'}]);
  assert.deepEqual(acknowledging(['a', 'b']), [{alarm: ['a', 'b']}]);
  assert.deepEqual(acknowledging([]), []);
  const many = acknowledging(Array.from({length: 130}, (_, i) => `a${i}`));
  assert.deepEqual(many.map(({alarm}) => alarm.length), [64, 64, 2]);
});

test('what came below the top alarm is told once, and nothing that is acknowledged', () => {
  const alarms = standing({...live, status: status(raised('top', {priority: 3, kind: 'limit-high'}), raised('b', {kind: 'bad-signal'}), raised('c', {kind: 'bad-signal', channel: 'gsr_uS', signal: 'gsr_uS', acked_by: 'Ada'}))});
  assert.deepEqual(newBelow(alarms, new Set()).map((a) => a.key), ['b']);
  assert.deepEqual(newBelow(alarms, new Set(['b'])), []);
});

test('a row of the ward says an alarm in the same words as its room, with variant and unit', () => {
  const row = {id: 'a', kind: 'limit-high', channel: 'skin_temp_C', signal: 'skin_temp_C', priority: 2, since_s: 5, over_s: null, acked_by: '', fresh: 1, all: 1,
    text: 'as it came', facts: {label: 'Skin temperature', value: '39.2', limit: '38.5', unit: 'Cel', variant: 'unmeasured'}};
  const looks = {skin_temp_C: {unit: '°C', factor: 1, digits: 1, label: 'Skin temperature'}};
  assert.match(alarmText(fromEngine(row), looks), /when last measured: 39.2 °C, limit 38.5 °C/);
});

test('a module that could not be fetched is asked for once more under another address', async () => {
  const asked = [];
  const flaky = (url) => { asked.push(url); return asked.length < 2 ? Promise.reject(new Error('gone')) : Promise.resolve('it'); };
  assert.equal(await twice(flaky, 'x.js'), 'it');
  assert.deepEqual(asked, ['x.js', 'x.js?retry=1']);
  await assert.rejects(twice(() => Promise.reject(new Error('gone')), 'x.js'), /gone/);
});

test('a typed number has a comma or a point, and what is none is refused by name', () => {
  assert.deepEqual(['1,5', ' 1.5 ', '-.5', '12', ''].map(numberOf), [1.5, 1.5, -0.5, 12, null]);
  for (const text of ['12e', '1,5,0', 'x', '1 2', 'NaN', '0x1']) assert.ok(Number.isNaN(numberOf(text)), text);
  const form = formOf({low: 1, high: 2, crisis_low: null, crisis_high: null, delay_s: 4, on: true}, {factor: 1});
  assert.equal(bodyOf('gsr_uS', {...form, high: '2,5'}, {factor: 1}).body.high, 2.5);
  assert.match(bodyOf('gsr_uS', {...form, crisis_high: '12e'}, {factor: 1}).error, /Crisis high.*12e.*Nothing was sent/);
  assert.match(bodyOf('gsr_uS', {...form, delay_s: '4s'}, {factor: 1}).error, /Delay/);
});

test('limits that were sent from here are known again when the record comes back with them', () => {
  const sent = bodyOf('gsr_uS', formOf({low: 1, high: 2, delay_s: 4}, {factor: 1}), {factor: 1}).body;
  const record = {low: 1, high: 2, crisis_low: null, crisis_high: null, delay_s: 4, on: true, default: false, usual: null};
  assert.equal(signature(sent), signature(record));
  assert.notEqual(signature({...record, high: 3}), signature(record));
});

test('the page\'s own alarm is acknowledged on this screen until the line fails again', () => {
  const here = new Map([['page-down', 55]]);
  assert.equal(standing({...live, here, connection: {state: 'down', since: 55.4}})[0].ackedBy, 'here');
  assert.equal(standing({...live, here, connection: {state: 'down', since: 90}})[0].ackedBy, '');
});

test('a sentence is filled from the facts in the look\'s unit, and one with a missing fact is the engine\'s own', () => {
  learn({en: {...english, 'alarm.limit-high': '{label} high: {value} {unit}, limit {limit} {unit}', 'alarm.limit-high.bad': '{label} {missing}'}});
  const looks = {emg_activity_mV: {unit: 'µV', factor: 1000, digits: 1, label: 'EMG'}};
  const alarm = (facts) => standing({...live, status: status(raised('a', {kind: 'limit-high', facts, text: 'as it came'}))})[0];
  assert.equal(alarmText(alarm({value: '0.0213', unit: 'mV', limit: '0.02'}), looks), 'EMG cheek high: 21.3 µV, limit 20.0 µV');
  assert.equal(alarmText(alarm({variant: 'bad'}), looks), 'as it came');
  learn({en: english});
});

test('events of one moment that say the same of several channels are one line with all names', () => {
  const event = (channel, text) => ({t: 5, kind: 'gap-opened', channel, text});
  const lines = mergedEvents([event('emg_activity_mV.corr', 'EMG brow: no reading'), event('emg_activity_mV.zyg', 'EMG cheek: no reading'), event('', 'other')]);
  assert.equal(lines.length, 2);
  assert.equal(eventText(lines[0], lines[0].channels), 'EMG cheek, EMG brow: no reading');
});

const within = (value, [low, high]) => value >= low - 1e-9 && value <= high + 1e-9;
const gapsOf = (list) => list.slice(1).map((p, i) => p.at - list[i].at - list[i].length);

test('pulses keep the standard\'s numbers: how many, how long, how far apart, how steep, how high', () => {
  const rules = {3: {n: [10, 10], length: [0.075, 0.2]}, 2: {n: [3, 3], length: [0.125, 0.25]}, 1: {n: [1, 2], length: [0.125, 0.25]}};
  for (const [priority, {n, length}] of Object.entries(rules)) {
    const list = pulses(priority);
    assert.ok(within(list.length, n), `${priority}: ${list.length} pulses`);
    for (const pulse of list) {
      assert.ok(within(pulse.length, length) && within(pulse.hz, [150, 1000]) && within(pulse.rise / pulse.length, [0.1, 0.4]));
      assert.ok(HARMONICS.filter((_, i) => within(pulse.hz * (i + 1), [300, 4000])).length >= 4);
    }
  }
  assert.ok(HARMONICS.every((level) => 20 * Math.log10(HARMONICS[0] / level) <= 15));
});

test('the high burst is two groups of five with the standard\'s pauses; medium and low are even', () => {
  const list = pulses(3);
  const gaps = gapsOf(list);
  const x = gaps[0];
  assert.ok(within(x, [0.05, 0.125]));
  for (const i of [1, 3, 5, 6, 8]) assert.ok(Math.abs(gaps[i] - x) < 1e-9, `gap ${i}`);
  for (const i of [2, 7]) assert.ok(Math.abs(gaps[i] - 2 * x - list[0].length) < 1e-9, `gap ${i}`);
  assert.ok(within(gaps[4], [0.35, 1.3]));
  for (const priority of [2, 1]) assert.ok(gapsOf(pulses(priority)).every((gap) => within(gap, [0.125, 0.25])));
});

test('bursts come again after the standard\'s pause, and a higher priority waits for none', () => {
  const rules = {3: [2.5, 15], 2: [2.5, 30], 1: [15.001, Infinity]};
  for (const [priority, range] of Object.entries(rules)) {
    const wish = {priority: Number(priority), why: 'sounding'};
    const last = {priority: Number(priority), end: 100, since: 0};
    const every = PATTERNS[priority].every;
    assert.ok(within(every, range));
    assert.deepEqual([cue(wish, 100 + every - 0.1, last), cue(wish, 100 + every, last)], [0, Number(priority)]);
  }
  assert.equal(cue({priority: 3, why: 'sounding'}, 100.1, {priority: 2, end: 101, since: 0}), 3);
});

test('nothing sounds while paused or when all is acknowledged, but what is acknowledged is called to mind', () => {
  const [loud] = standing({...live, status: status(raised('a'))});
  const [acked] = standing({...live, status: status(raised('a', {acked_by: 'Ada'}))});
  assert.deepEqual(wanted([loud], {paused_until_s: 90}, 60), {priority: 0, why: 'paused', left: 30});
  assert.equal(wanted([loud], {paused_until_s: 59}, 60).why, 'sounding');
  assert.deepEqual(wanted([acked], null, 60), {priority: 0, why: 'acknowledged', left: 0});
  assert.equal(wanted([], null, 60).why, 'armed');
  const last = {priority: 0, end: -Infinity, since: 10};
  assert.deepEqual([cue({priority: 0, why: 'acknowledged'}, 100, last), cue({priority: 0, why: 'acknowledged'}, 190, last), cue({priority: 0, why: 'paused'}, 999, last)], [0, 1, 0]);
});

test('of many patients the page sounds the highest priority', () => {
  const wishes = [{priority: 0, why: 'paused', left: 9}, {priority: 2, why: 'sounding', left: 0}, {priority: 3, why: 'sounding', left: 0}];
  assert.equal(loudest(wishes).priority, 3);
  assert.equal(loudest(wishes.slice(0, 1)).why, 'paused');
  assert.equal(loudest([]).why, 'armed');
});

test('what failed is named as far as it is known', () => {
  const devices = {devices: {a: {last_frame_s: 40}, b: {last_frame_s: 10}}, frame_interval_s: 2};
  assert.equal(downtime({state: 'down', since: 5}, null, 60).failed, 'network');
  assert.equal(downtime({state: 'stale', since: 5}, null, 60).failed, 'server');
  assert.equal(downtime({state: 'silent', since: 5, why: ''}, null, 60).failed, 'engine');
  assert.equal(downtime({state: 'silent', since: 5, why: "the record store can't be reached"}, null, 60).failed, 'store');
  assert.deepEqual(downtime({state: 'live'}, devices, 60), {failed: 'devices', since: 40, current: true});
  assert.equal(downtime({state: 'live'}, devices, 50).failed, '');
});

test('a form of limits becomes an act in the signal\'s unit, and one that makes no sense is refused in words', () => {
  const look = {factor: 1000, digits: 2, unit: 'µV'};
  const form = formOf({low: 0.001, high: 0.02, crisis_low: null, crisis_high: 0.03, delay_s: 4, on: true}, look);
  assert.deepEqual([form.low, form.high, form.crisis_low], ['1', '20', '']);
  assert.deepEqual(bodyOf('emg', {...form, high: '25'}, look).body, {signal: 'emg', low: 0.001, high: 0.025, crisis_low: null, crisis_high: 0.03, delay_s: 4, on: true});
  assert.match(bodyOf('emg', {...form, high: '40'}, look).error, /crisis high/);
  assert.match(bodyOf('emg', {...form, delay_s: '61'}, look).error, /delay/);
  assert.match(bodyOf('emg', {...form, low: 'x'}, look).error, /Nothing was sent/);
  assert.ok(meaning({...form, on: false})[0].includes('OFF'));
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
  assert.equal(regions.cheek.label, 'EMG cheek', 'the name is of the page\'s language, not the engine\'s');
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
