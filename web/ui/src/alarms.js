// Which alarms stand, as the page shows them: the engine's (status.alarms) and the page's own, about its line. Pure.
// Priorities after IEC 60601-1-8: *** high, ** medium, * low, always with the word. The engine raises, latches and
// clears; nothing here invents or hides one. While the line is dead, the engine's alarms are its last word: they stay,
// marked with when that was, below the line's own alarm, and neither flash nor sound.
import {clockTime} from './words.js';

export const STARS = {3: '***', 2: '**', 1: '*'};
const PHYSIOLOGICAL = new Set(['limit-high', 'limit-low']);
const TOGETHER_S = 5; // channels of one sensor that changed within this are one line
const MAX_IDS = 64;
const DROPPED_S = 30; // how long a slow screen says so

/**
 * @param {{connection: object, status: object, dropped: object, now: number, here: Map}} seen `now` in Unix s; `here`:
 *   key of a page's own alarm -> the `since` that was acknowledged on this screen
 * @returns {Array<object>} not acknowledged first, then highest and newest first. Each has key, ids (the engine's),
 *   kind, priority, physiological, channels, signal, since, over, ackedBy, acked (Unix s or null), members, source; those
 *   that are no longer known to stand also `last`, the Unix s of the engine's last word. None of a discharged patient, none of a closed room.
 */
export function standing({connection, status, dropped, now, here = new Map()}) {
  if (['discharged', 'over'].includes(connection.state)) return [];
  const line = lineAlarm(connection);
  const last = line.length ? {last: connection.since} : {};
  const engine = together((status?.alarms ?? []).map(fromEngine)).map((alarm) => ({...alarm, ...last}));
  const own = [...line, ...slow(dropped, now)].map((alarm) => quietHere(alarm, here));
  return [...own, ...engine].sort((a, b) => isLast(a) - isLast(b) || quiet(a) - quiet(b) || b.priority - a.priority || b.since - a.since);
}

/** Whether somebody has acknowledged it, or it is only the engine's last word: it stays on screen and makes no sound. */
export const quiet = (alarm) => Boolean(alarm.ackedBy) || isLast(alarm);

const isLast = (alarm) => alarm.last !== undefined;

/** The acts that acknowledge exactly these alarms of the engine; one takes at most 64 ids. */
export function acknowledging(ids) {
  const bodies = [];
  for (let i = 0; i < ids.length; i += MAX_IDS) bodies.push({alarm: ids.length === 1 ? ids[0] : ids.slice(i, i + MAX_IDS)});
  return bodies;
}

/** Alarms that nobody has acknowledged, other than the top one, with an id that is not among `known`. */
export const newBelow = (alarms, known) => alarms.slice(1).filter((alarm) => !quiet(alarm) && !alarm.ids.every((id) => known.has(id)));

/** An alarm as the engine's status has it, as the page shows it. */
export function fromEngine(alarm) {
  return {
    key: alarm.id, ids: [alarm.id], kind: alarm.kind, priority: alarm.priority, source: 'engine',
    physiological: PHYSIOLOGICAL.has(alarm.kind), channels: alarm.channel ? [alarm.channel] : [], signal: alarm.signal ?? '',
    since: alarm.since_s, over: alarm.over_s ?? null, ackedBy: alarm.acked_by ?? '', acked: alarm.acked_s ?? null, members: [alarm],
  };
}

/** Alarms of one kind and state on channels of one sensor, raised together, become one line. */
function together(alarms) {
  const groups = [];
  for (const alarm of alarms) {
    const group = alarm.channels.length && !alarm.physiological && groups.find((g) => oneLine(g, alarm));
    if (!group) groups.push(alarm);
    else join(group, alarm);
  }
  return groups;
}

const sensorOf = (alarm) => (alarm.signal || alarm.channels[0]).split(/[_.]/)[0];

function oneLine(group, alarm) {
  return group.channels.length > 0 && group.kind === alarm.kind && group.priority === alarm.priority && sensorOf(group) === sensorOf(alarm)
    && group.ackedBy === alarm.ackedBy && (group.over === null) === (alarm.over === null) && Math.abs(group.since - alarm.since) <= TOGETHER_S;
}

function join(group, alarm) {
  group.ids.push(...alarm.ids);
  group.channels.push(...alarm.channels);
  group.members.push(...alarm.members);
  group.since = Math.min(group.since, alarm.since);
  group.over = group.over === null ? null : Math.max(group.over, alarm.over);
}

const ofPage = (kind, priority, since, facts) => ({
  key: `page-${kind}`, ids: [], kind, priority, since, facts, source: 'page', physiological: false, channels: [], signal: '',
  over: null, ackedBy: '', acked: null, members: [],
});

/** Why nothing comes, out of the server's words (web/relay.py, web/room.py): store, locked, or '' where it is the engine. */
export const causeOf = (why = '') => /^locked|store/.exec(why)?.[0] ?? '';

function lineAlarm({state, since, why = ''}) {
  const facts = {since: clockTime(since)};
  if (state === 'silent') return [ofPage({store: 'silent_store', locked: 'locked'}[causeOf(why)] ?? 'silent', 3, since, facts)];
  return ['down', 'stale'].includes(state) ? [ofPage('down', 3, since, facts)] : [];
}

function slow(dropped, now) {
  return dropped && now - dropped.t < DROPPED_S ? [ofPage('slow', 1, dropped.t, {count: dropped.count})] : [];
}

/** The page's own alarm is acknowledged on this screen only, and anew when the line fails again. */
function quietHere(alarm, here) {
  const since = here.get(alarm.key);
  return since !== undefined && !(alarm.since > since + TOGETHER_S) ? {...alarm, ackedBy: 'here', acked: since} : alarm;
}

/** The limit alarm that stands on a channel (not one that is over), or undefined. */
export const limitAlarmOf = (status, channel) => (status?.alarms ?? [])
  .filter((a) => a.channel === channel && PHYSIOLOGICAL.has(a.kind) && (a.over_s ?? null) === null)
  .sort((a, b) => b.priority - a.priority)[0];
