// The viewer's pure parts, tested where they run: places of cards, quality, motion, styles. Started by test_twin_viewer.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {ambience, skinColour} from '../web/ui/src/twin/ambience.js';
import {dashDepth, presence} from '../web/ui/src/twin/doubt.js';
import {factsOf} from '../web/ui/src/twin/facts.js';
import {arrange, plan} from '../web/ui/src/twin/layout.js';
import {beatShape, Phase} from '../web/ui/src/twin/motion.js';
import {OUTLINE} from '../web/ui/src/twin/outline.js';
import {Governor} from '../web/ui/src/twin/quality.js';
import {PROVENANCE, REGIONS, RegionState, rgb, unit} from '../web/ui/src/twin/regions.js';

const sizes = [[700, 800], [1000, 620], [480, 900], [390, 844], [320, 640], [1600, 1000]];
const cards = REGIONS.map((id, i) => ({
  id, side: i % 3 ? 'right' : 'left', height: 74, wantY: 90 * i, face: id === 'cheek' || id === 'brow',
}));
const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + 74 && b.y < a.y + 74;

test('cards never cover each other, the lens or the body, in boxes from a phone to a wall', () => {
  for (const [width, height] of sizes) {
    const room = plan({width, height}, 6, true);
    const placed = arrange(cards.slice(0, 6), {width, height}, room);
    const boxes = Object.values(placed);
    boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => assert.ok(!overlap(a, b), `${width}x${height}`)));
    const {x, y, size} = room.lens;
    for (const box of boxes) {
      assert.ok(!(box.x + box.width > x && box.y < y + size && box.y + 74 > y), `lens covered at ${width}x${height}`);
      assert.ok(box.x >= 0 && box.x + box.width <= width, `outside at ${width}x${height}`);
      if (!room.narrow) assert.ok(box.x + box.width <= room.gutter || box.x >= width - room.gutter, 'on the body');
      else assert.ok(box.y >= room.stage.height, 'on the body');
    }
  }
});

test('a side that is full gives its lowest cards to the other, but never the face, which belongs to the lens', () => {
  const size = {width: 700, height: 560};
  const right = cards.map((card) => ({...card, side: 'right'}));
  const placed = arrange(right, size, plan(size, right.length, true));
  assert.equal(placed.cheek.side, 'right');
  assert.equal(placed.brow.side, 'right');
  assert.ok(Object.values(placed).some((box) => box.side === 'left'));
  assert.ok(Object.values(placed).every((box) => box.y + 74 <= size.height));
});

test('a region eases to its provenance and keeps no trace of the one before', () => {
  const state = new RegionState();
  const word = {provenance: 'measured', confidence: 1, activity: 0.5, color: '#ffb454'};
  for (let i = 0; i < 90; i += 1) state.step(word, false, 1 / 30);
  assert.ok(state.mode[0] > 0.99 && Math.abs(state.activity - 0.5) < 0.01);
  for (let i = 0; i < 90; i += 1) state.step({...word, provenance: 'synthesised', confidence: 0.3}, false, 1 / 30);
  assert.ok(state.mode[0] < 0.01 && state.mode[1] > 0.99 && Math.abs(state.confidence - 0.3) < 0.01);
  for (let i = 0; i < 90; i += 1) state.step(undefined, false, 1 / 30);
  assert.ok(state.mode.every((weight) => weight < 0.01));
});

test('a word that the viewer does not know is shown as nothing, not as measured', () => {
  const state = new RegionState();
  for (let i = 0; i < 90; i += 1) state.step({provenance: 'guessed', confidence: NaN, activity: NaN}, false, 1 / 30);
  assert.ok(state.mode.every((weight) => weight === 0));
  assert.equal(unit(NaN), 0);
  assert.deepEqual(rgb('no colour'), [0.6, 0.65, 0.7]);
});

test('every provenance has its word in an ink of at least 4.5:1 on the card', () => {
  const light = (hex) => rgb(hex).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  for (const {ink} of Object.values(PROVENANCE)) {
    assert.ok((light(ink) + 0.05) / (light('#102436') + 0.05) >= 4.5, ink); // the lightest ground: a picked card
  }
});

test('software rendering rests between frames and is never asked for more pixels than the screen has', () => {
  const governor = new Governor({software: true, reducedMotion: false, devicePixelRatio: 2});
  assert.ok(governor.dpr <= 1);
  governor.spent(100);
  governor.begin(1000);
  assert.ok(!governor.due(1100));
  assert.ok(governor.due(1160));
});

test('a slow machine gets fewer pixels and a fast one gets them back', () => {
  const governor = new Governor({software: false, reducedMotion: false, devicePixelRatio: 2});
  const run = (gap, frames) => {
    let changed = 0;
    for (let i = 0; i < frames; i += 1) {
      governor.begin(governor.last === -Infinity ? 0 : governor.last + gap);
      changed += governor.adapt() ? 1 : 0;
    }
    return changed;
  };
  assert.equal(governor.dpr, 2);
  assert.ok(run(60, 200) >= 1 && governor.dpr < 2);
  const low = governor.dpr;
  assert.ok(run(16, 1200) >= 1 && governor.dpr > low);
});

test('quality does not swing where a finer picture proves too slow: each failure makes the next try later', () => {
  const governor = new Governor({software: false, reducedMotion: false, devicePixelRatio: 1});
  const changes = [];
  let now = 0;
  for (let i = 0; i < 12000; i += 1) { // fine pictures take 50 ms, coarser ones 10 ms
    now += governor.dpr >= 1 ? 50 : 10;
    governor.begin(now);
    if (governor.adapt()) changes.push(i);
  }
  const pauses = changes.slice(1).map((at, i) => at - changes[i]).filter((_, i) => i % 2 === 0);
  assert.ok(pauses.length >= 3 && pauses.every((pause, i) => i === 0 || pause >= pauses[i - 1]), String(pauses));
  assert.ok(pauses.at(-1) > 4 * pauses[0], String(pauses));
});

test('the lowest tier spares more than pixels', () => {
  const governor = new Governor({software: false, reducedMotion: false, devicePixelRatio: 1});
  assert.equal(governor.spare, false);
  for (let i = 0; i < 400; i += 1) {
    governor.begin(i * 60);
    governor.adapt();
  }
  assert.equal(governor.spare, true);
});

test('one cycle takes 60 / rate seconds at any frame rate, and a new rate never makes the phase jump', () => {
  for (const rate of [14, 60, 72, 181]) for (const dt of [1 / 60, 0.05, 0.4]) {
    const phase = new Phase();
    let [cycles, last] = [0, 0];
    for (let t = 0; t < 60 - 1e-9; t += dt) {
      const at = phase.step(Math.min(dt, 60 - t), rate);
      cycles += at < last ? 1 : 0;
      last = at;
    }
    assert.ok(Math.abs(cycles + last - rate) < 0.51 || dt * rate > 60, `${rate}/min at ${dt} s: ${cycles + last}`);
  }
  const phase = new Phase();
  for (let i = 0; i < 100; i += 1) {
    const before = phase.at;
    const after = phase.step(0.016, i < 50 ? 60 : 170);
    const step = (after - before + 1) % 1;
    assert.ok(step <= (0.016 * 170) / 60 + 1e-9, `jumped by ${step}`);
  }
  const stood = phase.at;
  assert.equal(phase.step(5, null), stood, 'without an honest rate the organ stands');
  assert.ok(beatShape(0.22) > 0.9 && Math.abs(beatShape(0.95)) < 0.02);
});

test('what is left of a synthesised part is its confidence, and its dashes deepen as that falls', () => {
  const steps = [1, 0.95, 0.9, 0.7, 0.5, 0.3, 0.15, 0];
  steps.slice(1).forEach((sure, i) => {
    assert.ok(presence(sure) < presence(steps[i]));
    assert.ok(dashDepth(sure) >= dashDepth(steps[i]));
  });
  assert.equal(presence(0.72), 0.72);
  assert.ok(dashDepth(1) > 0.2, 'even a sure synthesised value is dashed');
  assert.ok(dashDepth(0.5) > 0.999);
});

test('skin is blue when cold and red when warm, and air that is not known changes nothing', () => {
  const [cold, mild, warm] = [26, 33, 39].map(skinColour);
  assert.ok(cold[2] > cold[0] && warm[0] > warm[2] && mild[0] < mild[2]);
  assert.deepEqual(skinColour(10), cold);
  const word = (signal, value, provenance = 'measured') => ({signal, value, provenance});
  assert.deepEqual(ambience({}), {haze: 0, warmth: 0, light: 1});
  assert.deepEqual(ambience({a: word('room_rh_pct', 90, 'withheld'), b: word('light_lux', NaN)}), ambience(undefined));
  const felt = ambience({a: word('room_rh_pct', 90), b: word('room_temp_C', 12), c: word('light_lux', 1000)});
  assert.ok(felt.haze === 1 && felt.warmth === -1 && felt.light > 1 && felt.light <= 1.3);
});

test('every word of a view is a fact to be read, and what is not there is none', () => {
  const word = (label, more) => ({label, text: '1', provenance: 'measured', provenanceText: 'MEASURED', ...more});
  const facts = factsOf({
    regions: {palm: word('Palm'), cheek: word('Cheek', {provenance: 'none'})},
    organs: {heart: word('Heart', {text: '', provenance: 'none', illustrative: true, provenanceText: 'illustrative'})},
    air: {room_rh_pct: word('Humidity', {effect: 'haze'})},
    posture: null,
  });
  assert.deepEqual(facts.map((fact) => fact.text), ['Palm 1, MEASURED', 'Heart, illustrative', 'Humidity 1, MEASURED, haze']);
});

test('a region\'s fact names all of its channels, and is told anew when the least trustworthy turns', () => {
  const others = [{label: 'Temperature', text: '–', provenanceText: 'WITHHELD', provenance: 'withheld'}];
  const [fact] = factsOf({regions: {palm: {label: 'Palm', text: '1', own: 'measured', provenance: 'withheld', provenanceText: 'MEASURED', others}}});
  assert.deepEqual([fact.text, fact.provenance], ['Palm 1, MEASURED; Temperature –, WITHHELD', 'withheld']);
});

test('the flat outline has every region and an anchor on both sides', () => {
  for (const name of REGIONS) {
    assert.match(OUTLINE.regions[name], /^M-?\d/, name);
    const [left, right] = OUTLINE.anchors[name];
    assert.equal(left[0], -right[0] + 0, name);
    assert.equal(left[1], right[1], name);
  }
});
