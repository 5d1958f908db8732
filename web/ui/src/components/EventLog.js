// The story of this twin, newest first: gaps, refusals, answers of the device.
import React from 'react';
import PropTypes from 'prop-types';
import {clockTime} from '../words.js';
import {useStore} from './hooks.js';

const GLYPHS = {info: '·', warning: '!', alarm: '!!'};

/** The newest events, one a line. */
function EventLog({id, limit = 40}) {
  const {events} = useStore('events');
  return (
    <ol id={id} className="eb-events" aria-label="Events, newest first" tabIndex={0}>
      {events.slice(0, limit).map((e) => (
        <li key={`${e.t}|${e.kind}|${e.channel}|${e.text}`} data-kind={e.kind} data-severity={e.severity}>
          <time dateTime={new Date(e.t * 1000).toISOString()}>{clockTime(e.t)}</time>
          <b aria-label={e.severity}>{GLYPHS[e.severity] ?? '·'}</b>
          <span>{e.text}</span>
        </li>
      ))}
      {events.length === 0 && <li className="eb-waiting">No events yet</li>}
    </ol>
  );
}

EventLog.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** How many lines at most. */
  limit: PropTypes.number,
};
export default EventLog;
