// The ward's pure parts, tested where they run: order, search, merging of news, strokes. Started by test_ward.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {arrange, count} from '../web/ui/src/wardOrder.js';
import {runs} from '../web/ui/src/wardSpark.js';

const row = (id, bed, need, more = {}) => ({id, need, card: {pseudonym: `BIRD-${id}`, number: `20${id}`, born: 1950, bed}, ...more});
const ids = (rows) => rows.map(({id}) => id);
const rows = [row('1', 'Bed 10', 0), row('2', 'Bed 2', 0), row('3', 'Bed 30', 43), row('4', 'Bed 4', 12)];

test('the neediest come first, then beds as people count them', () => {
  assert.deepEqual(ids(arrange(rows, 'need', '')), ['3', '4', '2', '1']);
  assert.deepEqual(ids(arrange(rows, 'bed', '')), ['2', '4', '1', '3']);
});

test('a search takes words of pseudonym, number, year and bed in any order', () => {
  assert.deepEqual(ids(arrange(rows, 'need', 'bird 4')), ['4']);
  assert.deepEqual(ids(arrange(rows, 'bed', '1950 BED')), ['2', '4', '1', '3']);
  assert.deepEqual(ids(arrange(rows, 'bed', 'nobody')), []);
});

test('acknowledged alarms are not counted as needing somebody', () => {
  const sum = count([row('1', 'a', 43, {alarm: {priority: 3, fresh: 1}}), row('2', 'b', 23, {alarm: {priority: 3, fresh: 0}}), row('3', 'c', 30, {silent: [1, '']})]);
  assert.deepEqual([sum.all, sum[3], sum[2], sum.silent], [3, 1, 0, 1]);
});

const points = (...list) => list.map(([t, value, provenance]) => ({t, value, provenance}));

test('a withheld value and a hole are gaps in the small trace, and the less certain end gives the style', () => {
  const found = runs(points([0, 1, 0], [1, 2, 0], [2, 3, 1], [3, 4, 1], [4, null, 4], [5, 6, 0], [6, 7, 0], [12, 8, 0]));
  assert.deepEqual(found.map(({style, points: p}) => [style, p.map(({t}) => t)]), [[0, [0, 1]], [1, [1, 2, 3]], [0, [5, 6]]]);
});
