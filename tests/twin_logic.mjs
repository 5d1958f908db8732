// The viewer's pure parts, tested where they run: places of cards, quality, motion, styles. Started by test_twin_viewer.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {arrange, plan} from '../web/ui/src/twin/layout.js';
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

test('the flat outline has every region and an anchor on both sides', () => {
  for (const name of REGIONS) {
    assert.match(OUTLINE.regions[name], /^M-?\d/, name);
    const [left, right] = OUTLINE.anchors[name];
    assert.equal(left[0], -right[0] + 0, name);
    assert.equal(left[1], right[1], name);
  }
});
