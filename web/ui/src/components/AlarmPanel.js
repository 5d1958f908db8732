// All alarms that stand, each with its own acknowledge button, and the alarm log below. Opens under the bar; Escape
// closes it and the focus goes back to where it came from.
import React, {useEffect, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {quiet} from '../alarms.js';
import {t} from '../i18n.js';
import {identity} from '../person.js';
import {alarmText} from '../telling.js';
import {clockTime, countdown, span} from '../words.js';
import AlarmLog from './AlarmLog.js';
import {Kind, Lamp, State, calm} from './alarmParts.js';
import {useStore} from './hooks.js';

const SHORTCUT = 'eb-no-shortcut-a';

/** Whether key A is a shortcut for this person (WCAG 2.1.4: it can be turned off). */
export const shortcutOn = () => window.localStorage.getItem(SHORTCUT) !== '1';

function AlarmPanel({id, seen, acts, close, shortcut}) {
  const box = useRef(null);
  const {card, looks} = useStore('card');
  useEffect(() => box.current?.focus(), []);
  useEffect(() => { // an acknowledged alarm's button goes away: the focus stays in the panel
    if (document.activeElement === document.body) box.current?.focus();
  });
  useEffect(() => {
    const keys = (event) => { if (event.key === 'Escape' && !event.target.closest?.('dialog')) close(); };
    document.addEventListener('keydown', keys);
    return () => document.removeEventListener('keydown', keys);
  }, []);
  return (
    <div id={id} className="eb-alarm-panel" role="dialog" aria-label={t('alarms.title')} ref={box} tabIndex={-1}>
      <header>
        <h2>{t('alarms.standing')}</h2>
        {card && <p className="eb-alarm-whose">{t('alarms.for', {who: `${card.pseudonym} · ${identity(card)}`})}</p>}
        <button type="button" className="eb-close" onClick={close}>{t('button.close')}</button>
      </header>
      {(seen.audio?.paused_until_s ?? 0) > seen.now && <p className="eb-alarm-paused">{t('alarms.paused_by', {who: seen.audio.by, left: countdown(seen.audio.paused_until_s - seen.now)})}</p>}
      <ul className="eb-alarm-list">
        {seen.alarms.map((alarm) => <Line key={alarm.key} alarm={alarm} now={seen.now} acts={acts} looks={looks} />)}
        {seen.alarms.length === 0 && <li className="eb-bar-calm">{calm(seen)}</li>}
      </ul>
      <div className="eb-alarm-all">
        <button type="button" onClick={acts.acknowledgeAll} disabled={!seen.alarms.some((alarm) => !quiet(alarm))}>{t('alarms.ack_all')}</button>
        {shortcut && <Shortcut />}
      </div>
      <AlarmLog />
    </div>
  );
}

function Line({alarm, now, acts, looks}) {
  const what = alarmText(alarm, looks);
  const waits = acts.pending(alarm);
  return (
    <li data-priority={alarm.priority} data-quiet={quiet(alarm)} data-kind={alarm.kind}>
      <Lamp alarm={alarm} />
      <div>
        <p><span className="eb-priority">{t(`alarms.priority_${alarm.priority}`)}</span> <Kind alarm={alarm} /> <span className="eb-alarm-since">{t('alarms.since', {time: clockTime(alarm.since), span: span(now - alarm.since)})}</span></p>
        <p className="eb-alarm-text">{what}</p>
        <p><State alarm={alarm} /></p>
      </div>
      {!quiet(alarm) && <button type="button" className="eb-ack" disabled={waits} aria-label={t('alarms.ack_what', {what})} onClick={() => acts.acknowledge(alarm)}>{t(waits ? 'alarms.sending' : 'alarms.ack')}</button>}
    </li>
  );
}

function Shortcut() {
  const [on, turn] = useState(shortcutOn());
  const change = (event) => {
    window.localStorage.setItem(SHORTCUT, event.target.checked ? '0' : '1');
    turn(event.target.checked);
  };
  return <label className="eb-shortcut"><input type="checkbox" checked={on} onChange={change} /> {t('alarms.shortcut')}</label>;
}

AlarmPanel.propTypes = {
  /** The element's id. */
  id: PropTypes.string,
  /** {alarms, audio, now, heard}: see useAlarms. */
  seen: PropTypes.object.isRequired,
  /** See useAlarmActs. */
  acts: PropTypes.object.isRequired,
  /** Closes the panel. */
  close: PropTypes.func.isRequired,
  /** Whether key A opens this panel on this page. */
  shortcut: PropTypes.bool,
};
export default AlarmPanel;
