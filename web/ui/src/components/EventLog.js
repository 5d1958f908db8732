// The story of this twin, newest first: gaps, refusals, alarms, answers of the device.
import React from 'react';
import PropTypes from 'prop-types';
import {t} from '../i18n.js';
import {eventText, mergedEvents} from '../telling.js';
import {clockTime} from '../words.js';
import {useStore, whileSeen} from './hooks.js';

const GLYPHS = {info: '·', warning: '!', alarm: '!!'};

/** The newest events, one a line; of several channels at one moment, one line. */
function EventLog({id, limit = 40}) {
  const {events, looks} = useStore('events', 'card');
  return (
    <ol id={id} className="eb-events" aria-label={t('room.events_label')} tabIndex={0}>
      {mergedEvents(events).slice(0, limit).map((e) => (
        <li key={`${e.t}|${e.kind}|${e.channel}|${e.text}`} data-kind={e.kind} data-severity={e.severity}>
          <time dateTime={new Date(e.t * 1000).toISOString()}>{clockTime(e.t)}</time>
          <b role="img" aria-label={t(`severity.${e.severity in GLYPHS ? e.severity : 'info'}`)}>{GLYPHS[e.severity] ?? '·'}</b>
          <span>{eventText(e, e.channels, looks)}</span>
        </li>
      ))}
      {events.length === 0 && <li className="eb-waiting">{t('room.events_none')}</li>}
    </ol>
  );
}

EventLog.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** How many lines at most. */
  limit: PropTypes.number,
};
export default whileSeen(EventLog);
