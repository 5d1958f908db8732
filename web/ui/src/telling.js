// Alarms and events as sentences in the page's language. The engine sends a kind, facts and an English text; a
// catalogue's template of that kind is filled from the facts. Where there is none, or a fact that it asks for is
// missing, the engine's own text stands: never a sentence with a hole.
import {channelName, has, raw, t} from './i18n.js';
import {lookOf} from './view.js';
import {asWritten, number, reasonText} from './words.js';

/** One line of words for an alarm of alarms.js: "EMG (4 channels): sensor silent". */
export function alarmText(alarm, looks = {}) {
  if (alarm.source === 'page') return t(`alarms.page.${alarm.kind}`, alarm.facts);
  const [first] = alarm.members;
  const facts = {...asShown(first.facts ?? {}, alarm.channels[0], looks), label: names(alarm)};
  return filled(keyOf('alarm', alarm.kind, facts), facts) ?? labelled(first.text, alarm.members.length > 1 ? names(alarm) : '');
}

/** An event's sentence; `channels`: all channels of which it says the same. */
export function eventText(event, channels = [event.channel], looks = {}) {
  const label = channels[0] ? channels.map((id) => channelName(id, id)).join(', ') : event.facts?.label ?? '';
  const facts = {...asShown(event.facts ?? {}, channels[0], looks), label, who: event.who ?? ''};
  return filled(keyOf('event', event.kind, facts), facts) ?? textOf(event, channels);
}

const keyOf = (area, kind, {variant}) => [area, kind, variant].filter(Boolean).join('.');

const SAME_S = 10; // an event belongs to a stretch that begins so near to it

/** Why a stretch of a channel is withheld, in few words; '' where no event tells. It is the event nearest to the stretch's
 * start, Unix s, of those whose kind explains it; of a stretch whose start is not known any more (`cut`) the last before. */
export function whyWithheld(events, channel, {from, cut}) {
  const near = events.filter((e) => e.channel === channel && e.t <= from + SAME_S && (cut || e.t >= from - SAME_S))
    .map((e) => ({said: filled(`traces.why.${[e.kind, e.facts?.variant].filter(Boolean).join('.')}`, e.facts ?? {}), away: Math.abs(e.t - from)}))
    .filter(({said}) => said);
  return near.reduce((best, one) => (one.away < best.away ? one : best), {said: '', away: Infinity}).said;
}

const BOUNDS = ['crisis_low', 'low', 'high', 'crisis_high'];
const AMOUNTS = ['value', 'limit', 'now', 'low', 'high']; // facts that are numbers in the unit of the fact `unit`

/** Facts as the page writes them: amounts in the look's unit, a judgement of the signal in the page's words. */
function asShown(facts, channel, looks) {
  const shown = {...facts};
  if (facts.fields) shown.fields = facts.fields.split(', ').map((name) => (has(`patients.field.${name}`) ? t(`patients.field.${name}`) : name)).join(', ');
  if (facts.limits) {
    const given = BOUNDS.filter((name) => facts[name]).map((name) => `${t(`patients.field.${name}`)} ${facts[name]}`);
    shown.limits = facts.limits === 'off' ? t('patients.limit_off') : given.join(', ');
  }
  if (facts.act && has(`patients.do.${facts.act}`)) shown.act = t(`patients.do.${facts.act}`);
  for (const name of ['quality', 'reason']) if (shown[name]) shown[name] = reasonText(shown[name]);
  if (!facts.unit || !channel) return shown;
  const look = lookOf(looks, channel);
  if (!look.label) return shown; // no look known: the engine's own unit and digits
  for (const name of AMOUNTS) if (Number.isFinite(Number.parseFloat(facts[name]))) shown[name] = number(Number.parseFloat(facts[name]), look);
  return {...shown, unit: look.unit};
}

const textOf = (event, channels) => labelled(event.text, channels.length > 1 ? channels.map((id) => channelName(id, id)).join(', ') : '');

/** The engine's own text; where `label` is given, that stands before its colon. */
function labelled(text, label) {
  const [, said] = /^[^:]+(: .*)$/.exec(text) ?? [];
  return asWritten(label && said ? `${label}${said}` : text);
}

/** The template of `key` with every placeholder filled, or null. */
export function filled(key, facts) {
  if (!has(key)) return null;
  const wanted = [...raw(key).matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  return wanted.every((name) => facts[name] !== undefined && facts[name] !== null && facts[name] !== '') ? t(key, facts) : null;
}

/** "EMG cheek and EMG brow"; of many, what they have in common and how many: "EMG (4 channels)". */
export function names(alarm) {
  const labels = alarm.channels.map((id, i) => channelName(id, alarm.members[i]?.facts?.label ?? id));
  if (!labels.length) return alarm.members[0]?.facts?.label ?? '';
  if (labels.length === 1) return labels[0];
  if (labels.length === 2) return t('alarms.and', {first: labels[0], second: labels[1]});
  const words = labels.map((label) => label.split(' '));
  const common = words[0].filter((word) => words.every((w) => w.includes(word))).join(' ');
  return common ? t('alarms.channels', {name: common, count: labels.length}) : labels.join(', ');
}

/** Events of one moment that say the same of several channels become one line. @returns events with `channels` */
export function mergedEvents(events, sameMomentS = 0.5) {
  const lines = [];
  const said = (e) => /^[^:]+(: .*)$/.exec(e.text)?.[1] ?? e.text;
  for (const e of events) {
    const last = lines[lines.length - 1];
    if (e.channel && last?.channel && last.kind === e.kind && said(last) === said(e) && Math.abs(last.t - e.t) < sameMomentS) {
      last.channels.unshift(e.channel);
    } else lines.push({...e, channels: [e.channel]});
  }
  return lines;
}

const LOG_KINDS = {'alarm-raised': 'raised', 'alarm-over': 'over', 'alarm-acknowledged': 'acknowledged', 'audio-paused': 'audio', 'audio-resumed': 'audio'};

/** Which part of the alarm log an event belongs to; '' for events that are no alarm's. */
export const logPart = (event) => LOG_KINDS[event.kind] ?? '';
