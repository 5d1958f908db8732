// When a record is called verified, and when it is not. Started by test_room_logic.py.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {judge} from '../web/ui/src/shield.js';

const NOW = 1_700_000_000_000;
const fresh = (facts = {}) => ({now_ms: NOW, t_ms: NOW - 2000, upto_ms: NOW - 9000, alarm: null, ...facts});

test('a fresh look that found nothing verifies up to what is signed', () => {
  assert.deepEqual(judge(fresh(), 4000), {word: 'verified', why: '', upto: (NOW - 9000) / 1000});
});

test('whatever is unclear is not verified, and says why', () => {
  for (const [state, age, why] of [
    [null, 0, 'asking'], [null, 16_000, 'unheard'], [fresh(), 16_000, 'unheard'], [{now_ms: NOW}, 0, 'never'],
    [fresh({upto_ms: 0}), 0, 'unsigned'], [fresh({t_ms: NOW - 60_001}), 0, 'old'], [fresh({t_ms: NOW - 50_000}), 10_001, 'old'],
  ]) assert.deepEqual([judge(state, age).word, judge(state, age).why], ['waiting', why]);
});

test('an alarm stands, however old, broken log or single record, and whether the server answers or not', () => {
  for (const broken of [true, false]) {
    const alarm = {since_ms: NOW, broken, findings: []};
    for (const [state, age] of [[fresh({alarm}), 0], [fresh({alarm, t_ms: 1}), 0], [fresh({alarm}), 1e9]]) assert.equal(judge(state, age).word, 'alarm');
  }
});
