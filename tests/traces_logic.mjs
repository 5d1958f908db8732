// The traces' pure parts, tested where they run: clocks under bursts, styles, probes, gains, shares, stamps. Started by
// test_room_logic.py.
import assert from 'node:assert/strict';
import {readFileSync, readdirSync} from 'node:fs';
import {test} from 'node:test';
import {EngineClock, ViewClock} from '../web/ui/src/clock.js';
import {learn} from '../web/ui/src/i18n.js';
import {Series} from '../web/ui/src/series.js';
import {believed, isGhost, lineKind, lines} from '../web/ui/src/strokes.js';
import {Gains, gainedRange} from '../web/ui/src/traces/gains.js';
import {crc32, withText} from '../web/ui/src/traces/png.js';
import {between, exactTime, probe} from '../web/ui/src/traces/probe.js';
import {caliperParts, summaryRow, tooltip} from '../web/ui/src/traces/readout.js';
import {INNER, innerBound} from '../web/ui/src/traces/ribbon.js';
import {shareOf} from '../web/ui/src/traces/share.js';
import {isSlow, paceOf} from '../web/ui/src/traces/speed.js';
import {fileName, stampOf} from '../web/ui/src/traces/stamp.js';
import {sampleAt, shown} from '../web/ui/src/view.js';
import {number, percent} from '../web/ui/src/words.js';

const WORDS = new URL('../web/words/en/', import.meta.url);
learn({en: Object.assign({}, ...readdirSync(WORDS).map((file) => JSON.parse(readFileSync(new URL(file, WORDS), 'utf8'))))});
const [MEASURED, SYNTHESISED, PREDICTED, QUARANTINED, WITHHELD, REVISED] = [0, 1, 2, 3, 4, 0x80];
const LOOK = {unit: 'µS', factor: 1, digits: 2, color: '#ffffff'};
const block = (t0, values, provenance = 0, period = 0.25, confidence = 200) => ({
  period, t: Float64Array.from(values, (_, i) => t0 + i * period), value: Float32Array.from(values),
  lower: Float32Array.from(values, (v) => v - 1), upper: Float32Array.from(values, (v) => v + 1),
  confidence: new Uint8Array(values.length).fill(confidence), provenance: new Uint8Array(values.length).fill(provenance),
});
const rowOf = (...blocks) => ({
  id: 'gsr_uS', label: 'GSR', look: LOOK, period: 0.25, stepped: false, reason: '', kind: 'level',
  series: blocks.reduce((s, b) => (s.put(b), s), new Series('gsr_uS', 0.25)),
});

// ---- the jitter buffer: what store.frame() does, at 60 Hz, on messages that come as they like

/** Play for `seconds`: frames of `frameS` leave when they end and arrive after `delay(t)`; a status comes every second. */
function play({frameS, delay, seconds}) {
  const [engine, view, lag] = [new EngineClock(), new ViewClock(), 2 * frameS + 0.5];
  const messages = [];
  for (let t = -3 * frameS; t < seconds; t += 0.25) {
    const at = 1e9 + t;
    const newest = Math.floor(at / frameS) * frameS;
    messages.push({arrives: t + delay(t), clock: at, newest});
  }
  messages.sort((a, b) => a.arrives - b.arrives);
  let newest = -Infinity;
  let next = 0;
  const seen = [];
  for (let i = 0; i < seconds * 60; i += 1) {
    const now = i / 60;
    for (; next < messages.length && messages[next].arrives <= now; next += 1) {
      engine.hear(messages[next].clock, messages[next].arrives);
      newest = Math.max(newest, messages[next].newest);
    }
    seen.push({now, newest, t: view.advance(engine.now(now) - lag, now, newest)});
  }
  return seen;
}

/** Steps of the view between frames, in units of the time between frames. */
const pacesOf = (seen, from) => seen.slice(1).map(({t}, i) => (t - seen[i].t) * 60).slice(Math.round(from * 60));
const noise = (t) => Math.abs(Math.sin(t * 12.9898) * 43758.5453) % 1;

for (const [name, frameS, delay] of [
  ['2 s frames that come a little late', 2, (t) => 0.15 + 0.1 * noise(t)],
  ['10 s frames', 10, (t) => 0.2 + 0.3 * noise(t)],
  ['a line that stalls for 2 s every 7 s and then pours', 2, (t) => (t > 3 && (t % 7) < 2 ? 2 - (t % 7) : 0) + 0.05],
  ['a line that is gone for 2.4 s and comes back', 2, (t) => (t > 20 && t < 22.4 ? 22.4 - t : 0) + 0.05],
]) {
  test(`the view neither freezes nor stutters on ${name}`, () => {
    const seen = play({frameS, delay, seconds: 60});
    const paces = pacesOf(seen, 1);
    assert.ok(Math.min(...paces) >= 0.899, `slowest ${Math.min(...paces)}`);
    assert.ok(Math.max(...paces) <= 1.101, `fastest ${Math.max(...paces)}`);
    assert.ok(seen.slice(60).every(({t, newest}) => t <= newest), 'the view outran its samples');
  });
}

test('when nothing comes the view plays what it has, stands at the newest sample, and goes on when the line is back', () => {
  const seen = play({frameS: 2, delay: (t) => (t > 20 && t < 40 ? 40 - t : 0) + 0.05, seconds: 60});
  const at = (now) => seen[Math.round(now * 60)];
  assert.ok(at(22).t - at(21).t > 0.89, 'the buffer was not played');
  assert.equal(at(35).t, at(38).t);
  assert.ok(at(35).t <= at(35).newest);
  assert.ok(at(42).t - at(38).t > 10, 'the hole was not jumped');
  assert.ok(pacesOf(seen, 0).every((pace) => pace >= 0));
});

// ---- styles

test('a line is measured only where both of its ends were measured and believed', () => {
  for (const [a, b, kind] of [
    [MEASURED, MEASURED, 'measured'], [MEASURED | REVISED, MEASURED, 'measured'], [MEASURED, SYNTHESISED, 'synthesised'],
    [PREDICTED, PREDICTED, 'predicted'], [PREDICTED, MEASURED, 'synthesised'], [QUARANTINED, MEASURED, 'synthesised'],
    [QUARANTINED, QUARANTINED, 'synthesised'], [WITHHELD, MEASURED, null], [SYNTHESISED | REVISED, WITHHELD, null],
  ]) assert.equal(lineKind(a, b), kind, `${a} ${b}`);
});

test('a distrusted reading is the ghost, and what the twin believes is the middle of its estimate', () => {
  const {series} = rowOf({...block(100, [50], QUARANTINED), lower: Float32Array.of(4), upper: Float32Array.of(6)});
  assert.equal(believed(series, 0), 5);
  assert.equal(isGhost(QUARANTINED, QUARANTINED), true);
  assert.equal(isGhost(MEASURED, QUARANTINED), true);
  assert.equal(isGhost(SYNTHESISED, QUARANTINED), false);
  assert.equal(isGhost(MEASURED, MEASURED), false);
});

test('a dashed line cut into strips has its dashes where the whole line has them', () => {
  const drawn = (...ends) => {
    const on = new Set();
    let from = 0;
    const g = {moveTo: (x) => { from = x; }, lineTo: (x) => { for (let k = Math.ceil(from * 10); k < x * 10; k += 1) on.add(k); }};
    ends.slice(1).forEach((end, i) => lines(g, ends[i], 0, end, 0, [14, 4, 3, 4]));
    return [...on].sort((a, b) => a - b).join();
  };
  assert.equal(drawn(0, 200), drawn(0, 33.3, 90, 141.7, 200));
  const cover = drawn(0, 200).split(',').length / 2000;
  assert.ok(cover > 0.6 && cover < 0.8, `${cover}`);
});

test('the inner band is where a two-sided Laplace distribution has half of what its 90 % band has', () => {
  const inside = (part) => 1 - Math.exp(-part * Math.log(10)); // of one side
  assert.ok(Math.abs(inside(1) - 0.9) < 1e-12 && Math.abs(inside(INNER) - 0.5) < 1e-12);
  assert.ok(Math.abs(innerBound(10, 20) - 13.0103) < 1e-4 && innerBound(10, 0) < 7);
});

// ---- one view

test('tile, row, tooltip, calipers and read-out say the same of every sample', () => {
  let seed = 7;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round += 1) {
    const look = {...LOOK, factor: random() < 0.5 ? 1 : 1000, digits: Math.floor(random() * 3)};
    const kind = [MEASURED, SYNTHESISED, PREDICTED, QUARANTINED, WITHHELD][Math.floor(random() * 5)];
    const value = kind === WITHHELD ? NaN : (random() - 0.3) * 10 ** Math.floor(random() * 5 - 2);
    const row = {...rowOf(block(100, [value, value], kind, 0.25, Math.floor(random() * 256))), look};
    const tile = sampleAt(row.series, 100.25, 0.25);
    const there = probe(row, 100.25);
    const texts = tooltip(row, there, 100.25).join(' ');
    assert.deepEqual(there, tile);
    const said = shown(tile, look);
    assert.equal(said.value, number(tile.value, look));
    assert.ok(texts.includes(said.word) && texts.includes(exactTime(100.25)));
    if (kind !== WITHHELD) {
      const read = summaryRow('GSR', tile, look);
      const parts = caliperParts(row, between(row, 100, 100.25)).join(' ');
      assert.ok(texts.includes(`${number(tile.value, look)} µS`) && texts.includes(said.range), texts);
      assert.ok(read === `GSR: ${number(tile.value, look)} µS, ${said.sure ? `${said.word} ${said.sure}` : said.word}`, read);
      assert.ok(parts.includes(`B ${number(tile.value, look)} µS ${said.word}`), parts);
      if (kind !== MEASURED) assert.ok(parts.includes(percent(tile.confidence)), parts);
    } else assert.ok(!/\d{2,} µS/.test(texts) && said.value === '–');
  }
});

test('a probe gives one sample, the nearest, and none inside a gap', () => {
  const row = rowOf(block(100, [1, 2, 3]), block(105, [9]));
  assert.equal(probe(row, 100.3).value, 2);
  assert.equal(probe(row, 100.63).value, 3);
  for (const t of [101, 103, 104.7, 99.5, 105.5]) assert.equal(probe(row, t).provenance, 'none', `${t}`);
});

test('a level holds until its next reading, and no longer than one and a half periods', () => {
  const row = {...rowOf(block(100, [1, 2], 0, 2)), period: 2, stepped: true};
  assert.equal(probe(row, 101.9).value, 1);
  assert.equal(probe(row, 104.9).value, 2);
  assert.equal(probe(row, 105.1).provenance, 'none');
});

test('calipers measure between samples, say what the less certain end is worth, and tell of a gap between', () => {
  const row = rowOf(block(100, [1, 2, 3, 4]), block(101, [6, 6, 6, 6], SYNTHESISED, 0.25, 222), block(110, [5, 5]));
  const near = between(row, 100.25, 101.5);
  assert.deepEqual([near.ms, near.perMin, near.delta, near.hole], [1250, 48, 4, false]);
  assert.equal(near.less.provenance, 'synthesised');
  assert.ok(caliperParts(row, near).some((part) => part.includes('SYNTHESISED 87\u00a0%')), caliperParts(row, near).join());
  assert.equal(between(row, 100, 100.5).less.provenance, 'measured');
  const far = between(row, 100.25, 110);
  assert.equal(far.hole, true);
  const lost = between(row, 100.25, 105);
  assert.ok(Number.isNaN(lost.delta) && lost.b.provenance === 'none' && lost.hole);
});

// ---- speed, gain, stamp

test('25 mm/s are 94.5 px a second, and levels are swept ten times slower', () => {
  assert.ok(Math.abs(paceOf('fast', 25).pxPerS - 94.488) < 0.001);
  assert.deepEqual([paceOf('slow', 25).mm, paceOf('slow', 25).gridS], [2.5, 10]);
  assert.deepEqual([{kind: 'wave', period_s: 0.004}, {kind: 'envelope', period_s: 0.1}, {kind: 'level', period_s: 0.25}, {kind: 'envelope', period_s: 1}]
    .map(isSlow), [false, false, true, true]);
});

test('a gain holds the range of the moment it was chosen, lasts for the session, and is one patient\'s', () => {
  const kept = new Map();
  const storage = {getItem: (k) => kept.get(k) ?? null, setItem: (k, v) => kept.set(k, v)};
  const gains = new Gains(storage, 'p-1');
  gains.set('ecg_mV.ii', 2, {low: -1, high: 1});
  assert.deepEqual(gains.range('ecg_mV.ii', {low: -9, high: 9}, 'wave'), {low: -0.5, high: 0.5});
  gains.set('ecg_mV.ii', 0.5, {low: -9, high: 9});
  assert.deepEqual(new Gains(storage, 'p-1').range('ecg_mV.ii', {low: -9, high: 9}, 'wave'), {low: -2, high: 2});
  assert.equal(new Gains(storage, 'p-2').of('ecg_mV.ii'), 'auto');
  gains.set('ecg_mV.ii', 'auto');
  assert.deepEqual(gains.range('ecg_mV.ii', {low: -9, high: 9}, 'wave'), {low: -9, high: 9});
  assert.deepEqual(gainedRange({low: 0, high: 8}, 4, 'envelope'), {low: 0, high: 2});
});

test('a storage that is full, forbidden or of another version costs nothing but the memory', () => {
  const broken = {getItem: () => '{"x": {"gain": 3}, nonsense', setItem: () => { throw new Error('full'); }};
  const gains = new Gains(broken, 'p-1');
  gains.set('x', 2, {low: 0, high: 1});
  assert.equal(gains.of('x'), 2);
  gains.set('y', 2, {low: NaN, high: NaN});
  assert.equal(gains.of('y'), 'auto');
});

test('the shares of a stretch are by time, sum to one, and count what is absent', () => {
  const row = rowOf(block(100, [1, 1, 1, 1]), block(101, [2, 2], SYNTHESISED, 0.25, 102), block(101.5, [2, 2], SYNTHESISED | REVISED, 0.25, 204), block(104, [1, 1, 1, 1]));
  const {parts, sure, revised} = shareOf(row, 100, 105);
  assert.ok(Math.abs(Object.values(parts).reduce((a, b) => a + b) - 1) < 1e-9, JSON.stringify(parts));
  assert.ok(Math.abs(parts.measured - 0.4) < 1e-9 && Math.abs(parts.synthesised - 0.2) < 1e-9 && Math.abs(parts.none - 0.4) < 1e-9, JSON.stringify(parts));
  assert.deepEqual([sure, revised], [[0.4, 0.8], true]);
  assert.deepEqual(shareOf({series: undefined, period: 1}, 0, 10), {parts: {none: 1}, sure: null, revised: false});
});

test('a snapshot says whose it is, when, how fast, how tall, from where, and what part was measured', () => {
  const row = {...rowOf(block(100, new Array(40).fill(1))), range: {low: 0, high: 2}, band: 'slow'};
  const gains = new Gains(null, 'p-1');
  gains.set('gsr_uS', 2, row.range);
  const stamp = stampOf({
    card: {id: 'p-1', number: '4711', pseudonym: 'KESTREL 17', birth_year: 1968, bed: 'Bed 4'}, rows: [row], gains, speed: 25,
    status: {devices: {'sim-01': {source: 'simulated'}}}, at: 110, width: 94.488, frozen: true, version: '9.9', now: 111,
  });
  assert.deepEqual(stamp.patient, {pseudonym: 'KESTREL 17', number: '4711', birth_year: 1968, bed: 'Bed 4'});
  assert.deepEqual([stamp.to_utc, stamp.taken_utc, stamp.from_utc.slow], ['1970-01-01T00:01:50.000Z', '1970-01-01T00:01:51.000Z', '1970-01-01T00:01:40.000Z']);
  assert.deepEqual([stamp.speed_mm_s.fast, stamp.speed_mm_s.slow, stamp.rows[0].gain, stamp.rows[0].parts], [25, 2.5, 2, {measured: 1}]);
  assert.deepEqual(stamp.sources, [{device: 'sim-01', source: 'simulated'}]);
  assert.equal(fileName(stamp), 'KESTREL_17_1970-01-01T00-01-50Z.png');
});

test('text is put into a PNG as a chunk whose length and sum are right, and into nothing else', () => {
  assert.equal(crc32(new TextEncoder().encode('IEND')), 0xae426082);
  const png = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10, ...new Array(25).fill(1), 7, 7]);
  const out = withText(png, 'Everbeat', '{"bed":"Tür 4"}');
  const view = new DataView(out.buffer);
  const length = view.getUint32(33);
  assert.equal(out.length, png.length + length + 12);
  assert.equal(view.getUint32(33 + 8 + length), crc32(out.subarray(37, 41 + length)));
  assert.deepEqual([...out.subarray(out.length - 2)], [7, 7]);
  assert.throws(() => withText(new Uint8Array(40), 'Everbeat', ''), RangeError);
});
