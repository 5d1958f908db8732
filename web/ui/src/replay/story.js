// The overview of hours: coverage, gaps and marks of all hours that were read, joined where they meet. Pure.
import {logPart, mergedEvents} from '../telling.js';

const MEET_S = 3; // two stretches of neighbouring hours closer than this are one

/** hours: Map of hour number -> answer of /events. Returns {from, to, channels, shown, known, gaps, events}, Unix s. */
export function storyOf(hours) {
  const parts = [...hours].sort(([a], [b]) => a - b).map(([, part]) => part);
  const out = {from: Infinity, to: -Infinity, channels: {}, shown: {}, known: {}, gaps: {}, events: []};
  for (const part of parts) {
    Object.assign(out.channels, part.channels);
    for (const name of ['shown', 'known', 'gaps']) {
      for (const [channel, list] of Object.entries(part[name])) out[name][channel] = joined(out[name][channel] ?? [], list);
    }
    out.events.push(...part.events);
    for (const list of Object.values(part.shown)) {
      if (!list.length) continue;
      out.from = Math.min(out.from, list[0][0]);
      out.to = Math.max(out.to, list[list.length - 1][1]);
    }
  }
  return out;
}

function joined(before, after) {
  const last = before[before.length - 1];
  const [first, ...rest] = after;
  if (!last || !first || first[0] - last[1] > MEET_S || last[2] !== first[2]) return [...before, ...after];
  return [...before.slice(0, -1), [last[0], first[1], ...last.slice(2)], ...rest];
}

const THREATS = ['refused', 'quarantined', 'put-back'];

/** What an event is on a timeline: 'alarm', 'threat', 'command' or '' for what has no mark. */
export function markKind(event) {
  if (THREATS.includes(event.kind)) return 'threat';
  if (event.kind === 'command') return 'command';
  return logPart(event) === 'raised' ? 'alarm' : ''; // as the alarm log has it; gaps have marks of their own
}

/** How many alarms, threats or commands there were: as many as there are lines of them in the alarm log. */
export const countOf = (story, kind) => mergedEvents(story.events.filter((e) => markKind(e) === kind)).length;

/** Times to jump to, in order: 'gap' (their starts), 'alarm', 'threat' or 'command'. */
export function stops(story, kind) {
  const times = kind === 'gap' ? Object.values(story.gaps).flat().map(([from]) => from) : story.events.filter((e) => markKind(e) === kind).map((e) => e.t);
  const sorted = times.sort((a, b) => a - b);
  return sorted.filter((t, i) => i === 0 || t - sorted[i - 1] > 0.5); // channels of one plug fall silent together
}

/** The next (or the previous) stop after `t`; undefined where there is none. */
export function stopAfter(list, t, back) {
  return back ? list.filter((stop) => stop < t - 1).pop() : list.find((stop) => stop > t + 0.2);
}

/** The gap of a channel that holds `t`: [from, to], or undefined. */
export const gapAt = (story, channel, t) => story.gaps[channel]?.find(([from, to]) => from < t && t < to);
