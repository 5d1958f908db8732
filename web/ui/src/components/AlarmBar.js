// The alarm that matters most in one line: a lamp with stars that flashes at its priority's rate, the priority and the
// kind in words, what it is and since when; beside it what a hand needs at once: acknowledge, pause, the state of the
// sound. The panel with all of them opens below (AlarmPanel).
import React, {useEffect, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {STARS, quiet} from '../alarms.js';
import {t} from '../i18n.js';
import {store} from '../store.js';
import {alarmText} from '../telling.js';
import {clockTime, countdown, span} from '../words.js';
import AlarmPanel, {shortcutOn} from './AlarmPanel.js';
import {Kind, Lamp, State} from './alarmParts.js';
import Sound from './Sound.js';
import {useAlarmActs} from './useAlarmActs.js';
import {patientWish, useAlarms} from './useAlarms.js';

/** Standing alarms, the loudest first. */
function AlarmBar({id}) {
  const seen = useAlarms();
  const acts = useAlarmActs(seen.alarms);
  const [open, setOpen] = useState(false);
  const opener = useRef(null);
  useShortcut(() => setOpen((was) => !was));
  const close = () => { setOpen(false); opener.current?.focus(); };
  const [top, ...others] = seen.alarms;
  return (
    <div id={id} className="eb-bar" data-priority={top?.priority ?? 0} data-count={seen.alarms.length} data-quiet={top ? quiet(top) : 'none'}>
      {top ? <Top alarm={top} now={seen.now} /> : <p className="eb-bar-calm">{t(seen.heard ? 'alarms.none' : 'alarms.waiting')}</p>}
      {others.length > 0 && <Others alarms={others} />}
      <div className="eb-bar-acts">
        {top && !quiet(top) && <button type="button" className="eb-ack" disabled={acts.pending(top)} onClick={() => acts.acknowledge(top)}>{t(acts.pending(top) ? 'alarms.sending' : 'alarms.ack')}</button>}
        <Pause seen={seen} acts={acts} />
        <Sound id={`${id}-sound`} wish={patientWish} />
        <button type="button" className="eb-bar-open" ref={opener} aria-expanded={open} aria-controls={`${id}-panel`} aria-keyshortcuts="a"
          onClick={() => (open ? close() : setOpen(true))}>{t('alarms.open', {count: seen.alarms.length})}</button>
      </div>
      {acts.refusal && <p className="eb-bar-refusal" role="alert">{acts.refusal}</p>}
      {open && <AlarmPanel id={`${id}-panel`} seen={seen} acts={acts} close={close} />}
    </div>
  );
}

/** Key A, where nobody is writing: it can be turned off in the panel. */
function useShortcut(toggle) {
  useEffect(() => {
    const press = (event) => {
      if (event.key.toLowerCase() !== 'a' || event.ctrlKey || event.metaKey || event.altKey || !shortcutOn()) return;
      if (event.target.closest?.('input, textarea, select, dialog, [contenteditable]')) return;
      toggle();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}

function Top({alarm, now}) {
  const text = alarmText(alarm, store().looks);
  return (
    <>
      <Lamp alarm={alarm} />
      <p className="eb-alarm" role="alert" key={alarm.key}>
        <span className="eb-priority">{t(`alarms.priority_${alarm.priority}`)}</span>
        <Kind alarm={alarm} />
        <b className="eb-alarm-text" title={text}>{text}</b>
        <State alarm={alarm} />
      </p>
      <span className="eb-since" aria-hidden="true">{t('alarms.since', {time: clockTime(alarm.since), span: span(now - alarm.since)})}</span>
    </>
  );
}

function Others({alarms}) {
  return (
    <ul className="eb-bar-others" aria-label={t('alarms.others')}>
      {alarms.slice(0, 1).map((alarm) => (
        <li key={alarm.key} data-priority={alarm.priority}><b>{STARS[alarm.priority]}</b> {alarmText(alarm, store().looks)}</li>
      ))}
      {alarms.length > 1 && <li className="eb-bar-more">{t('alarms.more', {count: alarms.length - 1})}</li>}
    </ul>
  );
}

function Pause({seen, acts}) {
  const until = seen.audio?.paused_until_s ?? 0;
  if (until > seen.now) {
    return <button type="button" className="eb-pause" onClick={acts.resume}>{t('alarms.resume')} <span className="eb-left">{countdown(until - seen.now)}</span></button>;
  }
  if (!seen.alarms.some((alarm) => !quiet(alarm))) return null;
  return <button type="button" className="eb-pause" onClick={acts.pause}>{t('alarms.pause')}</button>;
}

AlarmBar.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default AlarmBar;
