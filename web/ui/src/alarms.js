// Which alarms stand now, from the engine's status and events and the state of the connection. Pure. Priorities
// after IEC 60601-1-8: *** high, ** medium, * low, always with the word. Everything here is technical: silence of a
// sensor, of the engine or of the line, a refused message. No alarm on a patient's limit is raised by a made value,
// and none is silenced by one. Alarms follow the engine's newest word, not the delayed view.
import {clockTime, span} from './words.js';

export const PRIORITY = {
  3: {stars: '***', word: 'High priority'},
  2: {stars: '**', word: 'Medium priority'},
  1: {stars: '*', word: 'Low priority'},
};
const REFUSAL_S = 60; // how long a refused message stays in the bar
const DROPPED_S = 30;
const KINDS = {synthesised: 'silent', withheld: 'silent', quarantined: 'distrusted'};

/** @returns {Array<{key: string, priority: number, text: string, ago?: string}>} highest and newest first */
export function standing({connection, status, events, dropped, now, acknowledged}) {
  const alarms = [...lineAlarms(connection)];
  if (status && !alarms.length) alarms.push(...channelAlarms(status, now));
  alarms.push(...refusals(events, now, acknowledged));
  if (dropped && now - dropped.t < DROPPED_S) {
    alarms.push({key: 'dropped', priority: 1, since: dropped.t, text: `This screen is slow: ${dropped.count} updates were skipped for the newest.`});
  }
  return alarms.sort((a, b) => b.priority - a.priority || b.since - a.since);
}

function lineAlarms(connection) {
  const since = clockTime(connection.since);
  if (connection.state === 'silent') {
    return [{key: 'line', priority: 3, since: connection.since, text: `Twin engine silent since ${since}${connection.why ? ` (${connection.why})` : ''}. Nothing on this page is current.`}];
  }
  if (connection.state === 'down' || connection.state === 'stale') {
    return [{key: 'line', priority: 3, since: connection.since, text: `No data from the twin since ${since}. Nothing on this page is current.`}];
  }
  return [];
}

/** Channels of one sensor that fell silent, or are distrusted, together are one alarm. */
function channelAlarms(status, now) {
  const groups = new Map();
  for (const [id, channel] of Object.entries(status.channels ?? {})) {
    const kind = KINDS[channel.provenance];
    if (!kind) continue;
    const key = `${(channel.signal ?? id).split('_')[0]}|${kind}`;
    const group = groups.get(key) ?? {kind, labels: [], since: Infinity, withheld: 0};
    group.labels.push(channel.label ?? id);
    group.withheld += channel.provenance === 'withheld' ? 1 : 0;
    group.since = Math.min(group.since, (kind === 'silent' ? channel.last_reading_s : null) ?? channel.since_s ?? now);
    groups.set(key, group);
  }
  return [...groups].map(([key, g]) => ({key, priority: 2, since: g.since, ago: span(now - g.since), text: sentence(g)}));
}

function sentence({kind, labels, since, withheld}) {
  if (kind === 'distrusted') return `${names(labels)}: readings distrusted since ${clockTime(since)}. Raw value shown in amber.`;
  const shown = withheld === labels.length ? 'No honest value: withheld' : `Shown values are synthesised${withheld ? `, ${withheld} withheld` : ''}`;
  return `${names(labels)}: sensor silent since ${clockTime(since)}. ${shown}.`;
}

/** "EMG cheek, EMG brow"; of many, what they have in common and how many: "EMG (4 channels)". */
function names(labels) {
  if (labels.length < 3) return labels.join(' and ');
  const words = labels.map((label) => label.split(' '));
  const common = words[0].filter((word, i) => words.every((w) => w[i] === word)).join(' ');
  return common ? `${common} (${labels.length} channels)` : labels.join(', ');
}

function refusals(events, now, acknowledged) {
  const recent = events.filter((e) => e.kind === 'refused' && now - e.t < REFUSAL_S && e.t > acknowledged);
  if (!recent.length) return [];
  const more = recent.length > 1 ? ` (${recent.length} in the last minute)` : '';
  return [{key: 'refused', priority: 2, since: recent[0].t, acknowledge: true, text: `${recent[0].text.startsWith('Refused') ? '' : 'Message refused: '}${recent[0].text}${more}`}];
}
