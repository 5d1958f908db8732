// Whose patient this is, where the readings come from, what time it is where, and whether the page is current.
import React, {useRef} from 'react';
import PropTypes from 'prop-types';
import {clockTime, sourceWord, zone} from '../words.js';
import {mark, put, useStore, useTick} from './hooks.js';

const STATES = {live: 'Live', connecting: 'Connecting', reconnecting: 'Reconnecting', stale: 'No data', down: 'Disconnected', silent: 'Engine silent'};

/** Patient banner and state of the line. */
function SessionBar({id}) {
  const {card} = useStore('card');
  const bar = useRef(null);
  useTick((s) => bar.current && write(s, bar.current));
  return (
    <header id={id} className="eb-session" ref={bar} data-connected="false">
      <div className="eb-patient">
        <h1>{card?.pseudonym ?? '…'}</h1>
        <span>{card ? `${card.bed} · ${card.birth_year ? `born ${card.birth_year}` : 'birth year unknown'} · ID ${card.id}` : 'finding the patient'}</span>
      </div>
      <span className="eb-source" />
      <span className="eb-notice">Secondary display, not a primary alarm system</span>
      <div className="eb-line"><i aria-hidden="true" /><b className="eb-state" role="status">Connecting</b> <span className="eb-lag" /></div>
      <div className="eb-clock"><b /> <span>{zone()}</span></div>
    </header>
  );
}

function write(s, bar) {
  const {state} = s.connection();
  mark(bar, 'data-connected', ['live', 'reconnecting'].includes(state));
  mark(bar, 'data-state', state);
  put(bar.querySelector('.eb-state'), STATES[state]);
  put(bar.querySelector('.eb-lag'), state === 'live' ? `view ${s.lag.toFixed(1)} s behind` : '');
  const device = s.status?.device;
  put(bar.querySelector('.eb-source'), device ? sourceWord(device.source) : '');
  bar.querySelector('.eb-source').title = device ? `${device.id}: ${device.label ?? ''}` : '';
  put(bar.querySelector('.eb-clock b'), clockTime(Date.now() / 1000));
}

SessionBar.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default SessionBar;
