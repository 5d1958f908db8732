// The story of this twin, newest first: gaps, refusals, answers of the device.
import React from 'react';
import PropTypes from 'prop-types';
import {clockTime} from '../words.js';
import {useStore} from './hooks.js';

const GLYPHS = {info: '·', warning: '!', alarm: '!!'};

const SAME_MOMENT_S = 0.5;

/** The newest events, one a line. */
function EventLog({id, limit = 40}) {
  const {events} = useStore('events');
  return (
    <ol id={id} className="eb-events" aria-label="Events, newest first" tabIndex={0}>
      {together(events).slice(0, limit).map((e) => (
        <li key={`${e.t}|${e.kind}|${e.text}`} data-kind={e.kind} data-severity={e.severity}>
          <time dateTime={new Date(e.t * 1000).toISOString()}>{clockTime(e.t)}</time>
          <b aria-label={e.severity}>{GLYPHS[e.severity] ?? '·'}</b>
          <span>{e.text}</span>
        </li>
      ))}
      {events.length === 0 && <li className="eb-waiting">No events yet</li>}
    </ol>
  );
}

/** Events of one moment that say the same of several channels become one line: "EMG cheek, EMG brow: ...". */
function together(events) {
  const lines = [];
  for (const e of events) {
    const [, name, said] = /^([^:]+)(: .*)$/.exec(e.text) ?? [];
    const last = lines[lines.length - 1];
    if (e.channel && last?.said === said && last.kind === e.kind && Math.abs(last.t - e.t) < SAME_MOMENT_S) {
      last.names.unshift(name);
      last.text = `${last.names.join(', ')}${said}`;
    } else lines.push({...e, said, names: [name]});
  }
  return lines;
}

EventLog.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** How many lines at most. */
  limit: PropTypes.number,
};
export default EventLog;
