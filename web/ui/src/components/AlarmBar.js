// The alarm that matters most, in one line, and how many others stand. Priority is a colour, stars and a word.
import React, {useRef, useState, useEffect} from 'react';
import PropTypes from 'prop-types';
import {PRIORITY, standing} from '../alarms.js';
import {store} from '../store.js';

/** Standing technical alarms, highest first. */
function AlarmBar({id}) {
  const [alarms, show] = useState([]);
  const shown = useRef('');
  useEffect(() => store().on('tick', () => {
    const now = read(store());
    const text = JSON.stringify(now);
    if (text !== shown.current) {
      shown.current = text;
      show(now);
    }
  }), []);
  const [top, ...others] = alarms;
  return (
    <div id={id} className="eb-alarms" data-priority={top?.priority ?? 0} data-count={alarms.length}>
      {top ? <Top alarm={top} /> : <p className="eb-calm">No technical alarm</p>}
      <ul className="eb-others" aria-label="Other alarms">
        {others.slice(0, 2).map((alarm) => (
          <li key={alarm.key} data-priority={alarm.priority}><b>{PRIORITY[alarm.priority].stars}</b> {alarm.text}</li>
        ))}
        {others.length > 2 && <li>+{others.length - 2} more</li>}
      </ul>
      {alarms.some((alarm) => alarm.acknowledge) && (
        <button type="button" className="eb-ack" onClick={() => store().acknowledge()}>Acknowledge</button>
      )}
    </div>
  );
}

function Top({alarm}) {
  const {stars, word} = PRIORITY[alarm.priority];
  return (
    <p className="eb-alarm" role="alert" key={alarm.key}>
      <b className="eb-stars">{stars}</b> <span className="eb-priority">{word}</span> <span className="eb-alarm-text" title={alarm.text}>{alarm.text}</span>
      {alarm.ago && <span className="eb-ago" aria-hidden="true">{alarm.ago}</span>}
    </p>
  );
}

const read = (s) => standing({
  connection: s.connection(), status: s.status, events: s.events, dropped: s.dropped,
  now: s.engineNow() || Date.now() / 1000, acknowledged: s.acknowledged,
});

AlarmBar.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default AlarmBar;
