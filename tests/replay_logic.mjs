// The replay's pure parts, tested where they run: hours that could not be read, marks, pieces of line. Also whether a
// command was answered, and why a value is withheld. Started by test_room_logic.py.
import assert from 'node:assert/strict';
import {readFileSync, readdirSync} from 'node:fs';
import {test} from 'node:test';
import {answerTo} from '../web/ui/src/answers.js';
import {learn} from '../web/ui/src/i18n.js';
import {Hours} from '../web/ui/src/replay/hours.js';
import {countOf, markKind, stops, storyOf} from '../web/ui/src/replay/story.js';
import {logPart, whyWithheld} from '../web/ui/src/telling.js';
import {piecesOf, spanOf} from '../web/ui/src/timeline/pieces.js';

const catalogue = (language) => {
  const folder = new URL(`../web/words/${language}/`, import.meta.url);
  return Object.assign({}, ...readdirSync(folder).map((file) => JSON.parse(readFileSync(new URL(file, folder), 'utf8'))));
};
learn({en: catalogue('en')});
const H = 3600;
const NOW = 1000 * H + 1800;

/** Samples of [value, provenance] at 1 Hz; bounds of 8 to 12. */
const trace = (...samples) => ({
  n: samples.length, t: samples.map((_, i) => 100 + i), value: samples.map(([v]) => v), provenance: samples.map(([, p]) => p),
  lower: samples.map(() => 8), upper: samples.map(() => 12),
});

// ---- hours

test('an hour that could not be read is wanted until it comes, and is not taken for one in which nothing is stored', () => {
  const hours = new Hours();
  assert.deepEqual(hours.due(NOW), [1000, 999, 998, 997, 996, 995, 994]);
  for (const k of hours.due(NOW)) if (k === 997) hours.missed(k); else hours.took(k, {}, NOW);
  assert.equal(hours.whole, false);
  assert.deepEqual(hours.unread(NOW), [[997 * H, 998 * H]]);
  assert.deepEqual(hours.due(NOW + 10), [1000, 997]);
  hours.took(997, {}, NOW + 10);
  assert.equal(hours.whole, true);
  assert.deepEqual(hours.unread(NOW + 10), []);
  assert.deepEqual(hours.due(NOW + 20), [1000]);
});

test('an hour is read again until it is settled, and what it holds stands while that fails', () => {
  const hours = new Hours();
  for (const k of hours.due(NOW)) hours.took(k, {k}, NOW);
  const next = 1001 * H + 100;
  assert.deepEqual(hours.due(next).slice(0, 2), [1001, 1000]);
  hours.missed(1001);
  hours.missed(1000);
  assert.deepEqual(hours.parts.get(1000), {k: 1000});
  assert.deepEqual(hours.unread(next), [[NOW, next]]);
  assert.ok(hours.due(next + 3 * H).includes(1000), 'it was read before it was over');
});

test('what is older than the replay reaches is neither kept nor missed', () => {
  const hours = new Hours();
  for (const k of hours.due(NOW)) hours.missed(k);
  assert.deepEqual(hours.unread(NOW), [[NOW - 6 * H, NOW]]);
  hours.due(NOW + 24 * H);
  assert.equal(hours.whole, true);
});

// ---- marks

const event = (t, kind, more = {}) => ({t, kind, channel: 'gsr_uS', text: 'GSR: silent', severity: 'warning', facts: {}, ...more});

test('alarms on the timeline are those of the alarm log, no more and no fewer', () => {
  const events = [event(1, 'gap-opened'), event(2, 'withheld'), event(2.4, 'alarm-raised'), event(2.5, 'alarm-raised', {channel: 'emg', text: 'EMG: silent'}),
    event(9, 'alarm-over'), event(10, 'refused', {channel: ''}), event(11, 'command', {channel: ''})];
  const story = storyOf(new Map([[0, {channels: {}, shown: {}, known: {}, gaps: {}, events}]]));
  for (const e of events) assert.equal(markKind(e) === 'alarm', logPart(e) === 'raised', e.kind);
  assert.deepEqual(['alarm', 'threat', 'command'].map((kind) => countOf(story, kind)), [1, 1, 1], 'two channels of one plug are one line');
  assert.deepEqual(stops(story, 'alarm'), [2.4]);
});

// ---- pieces of line

test('a distrusted reading is a ghost, and the line goes on with what was believed', () => {
  const pieces = [...piecesOf(trace([10, 0], [90, 3], [95, 3], [11, 0]))];
  assert.deepEqual(pieces.filter(({kind}) => kind === 'ghost').map(({i, from, to}) => [i, from, to]), [[1, 10, 90], [2, 90, 95], [3, 95, 11]]);
  assert.deepEqual(pieces.filter(({kind}) => kind !== 'ghost').map(({kind, from, to}) => [kind, from, to]),
    [['measured', NaN, 10], ['synthesised', 10, 10], ['synthesised', 10, 10], ['synthesised', 10, 11]]);
  assert.ok(pieces.every(({kind, to}) => kind === 'ghost' || to < 20), 'no distrusted value is drawn as the line');
});

test('a distrusted reading widens no scale', () => {
  assert.deepEqual(spanOf([trace([10, 0], [9000, 3], [11, 0]), undefined]), [9, 12]);
  assert.deepEqual(spanOf([trace()]), [0, 1]);
});

test('no line leads over a hole or into what is withheld', () => {
  const pieces = [...piecesOf(trace([10, 0], [NaN, 15], [11, 0], [NaN, 4], [12, 1], [12, 1]))];
  assert.deepEqual(pieces.map(({kind, from}) => [kind, Number.isFinite(from)]), [['measured', false], ['measured', false], ['synthesised', false], ['synthesised', true]]);
});

// ---- answers and reasons

test('a refusal is known by its facts, whatever its text, and another command\'s answer is none', () => {
  const ask = {method: 'identify', kinds: ['command'], t: 50};
  const told = (facts, text) => [event(51, 'command', {channel: '', facts, text})];
  assert.equal(answerTo(told({command: 'identify', status: '200'}, 'x'), ask, [], 52), 'answered');
  assert.equal(answerTo(told({command: 'identify', status: '504', variant: 'failed'}, 'führte nicht aus'), ask, [], 52), 'failed');
  assert.equal(answerTo(told({command: 'sensor', status: '504', variant: 'failed'}, "did not carry out 'identify'"), ask, [], 52), 'pending');
  assert.equal(answerTo(told({command: 'sensor', status: '200'}, 'x'), ask, [], 52), 'pending');
  assert.equal(answerTo([], ask, [], 66), 'failed');
  assert.equal(answerTo([event(51, 'refused')], {method: 'tamper', kinds: ['refused'], t: 50}, [], 52), 'answered');
  assert.equal(answerTo([], {method: 'sensor', signal: 'emg', connected: false, t: 50}, ['emg_raw_mV.zyg'], 51), 'answered');
  assert.equal(answerTo([], {method: 'sensor', signal: 'emg', connected: false, t: 50}, [], 51), 'pending');
});

test('a withheld stretch has the reason of the event nearest to its start, in the page\'s language', () => {
  const opened = event(100, 'gap-opened', {facts: {seconds: '3.2', variant: 'withheld'}});
  const later = event(400, 'withheld');
  const events = [later, event(395, 'gap-opened', {facts: {seconds: '2.0'}}), event(101, 'withheld', {channel: 'emg'}), opened];
  const why = (mark) => whyWithheld(events, 'gsr_uS', mark);
  assert.equal(why({from: 98}), 'no reading for 3.2 s, too unsure');
  assert.equal(why({from: 398}), 'too unsure');
  assert.equal(why({from: 250}), '', 'no event tells');
  assert.equal(why({from: 250, cut: true}), 'no reading for 3.2 s, too unsure', 'its start is not known any more');
  learn({en: catalogue('en'), de: catalogue('de')});
  globalThis.document = {documentElement: {lang: 'de'}};
  assert.equal(why({from: 398}), 'zu unsicher');
  delete globalThis.document;
});
