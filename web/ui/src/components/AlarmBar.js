// The alarm that matters most in one line: a lamp with stars that flashes at its priority's rate, the priority and the
// kind in words, what it is and since when; beside it what a hand needs at once: acknowledge, pause, the state of the
// sound. The panel with all of them opens below (AlarmPanel).
import React, {useEffect, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {STARS, newBelow, quiet} from '../alarms.js';
import {t} from '../i18n.js';
import {alarmText} from '../telling.js';
import {clockTime, countdown, span} from '../words.js';
import AlarmPanel, {shortcutOn} from './AlarmPanel.js';
import {Kind, Lamp, Last, State, calm} from './alarmParts.js';
import Sound from './Sound.js';
import {useMine, whileSeen} from './hooks.js';
import {useAlarmActs} from './useAlarmActs.js';
import {useAlarms, wishOf} from './useAlarms.js';

/** Standing alarms, the loudest first. `shortcut`: key A opens the panel, where the page has no other use for it. */
function AlarmBar({id, shortcut = true}) {
  const s = useMine();
  const seen = useAlarms();
  const acts = useAlarmActs(seen);
  const [open, setOpen] = useState(false);
  const opener = useRef(null);
  useShortcut(shortcut, () => setOpen((was) => !was));
  const close = () => { setOpen(false); opener.current?.focus(); };
  const [top, ...others] = seen.alarms;
  return (
    <div id={id} className="eb-bar" data-priority={top?.priority ?? 0} data-count={seen.alarms.length} data-quiet={top ? quiet(top) : 'none'} data-number={seen.whose.number}>
      {top ? <Top alarm={top} now={seen.now} looks={s.looks} /> : <p className="eb-bar-calm">{calm(seen)}</p>}
      {others.length > 0 && <Others alarms={others} looks={s.looks} />}
      <Below alarms={seen.alarms} looks={s.looks} />
      <div className="eb-bar-acts">
        {top && !quiet(top) && <button type="button" className="eb-ack" disabled={acts.pending(top)} onClick={() => acts.acknowledge(top)}>{t(acts.pending(top) ? 'alarms.sending' : 'alarms.ack')}</button>}
        <Pause seen={seen} acts={acts} />
        <Sound id={`${id}-sound`} wish={() => wishOf(s)} heard={(listener) => s.on('status', listener)} />
        <button type="button" className="eb-bar-open" ref={opener} aria-expanded={open} aria-controls={`${id}-panel`} aria-keyshortcuts="a"
          onClick={() => (open ? close() : setOpen(true))}>{t('alarms.open', {count: seen.alarms.length})}</button>
      </div>
      {acts.refusal && <p className="eb-bar-refusal" role="alert">{acts.refusal}</p>}
      {open && <AlarmPanel id={`${id}-panel`} seen={seen} acts={acts} close={close} shortcut={shortcut} />}
    </div>
  );
}

/** Says, to who can't see the bar, which alarms came that are not the top one; that one is announced where it stands. */
function Below({alarms, looks}) {
  const known = useRef(new Set());
  const [said, say] = useState('');
  const ids = alarms.flatMap((alarm) => alarm.ids);
  useEffect(() => {
    const fresh = newBelow(alarms, known.current);
    known.current = new Set(ids);
    if (fresh.length) say(fresh.map((alarm) => `${t(`alarms.priority_${alarm.priority}`)}: ${alarmText(alarm, looks)}`).join('. '));
  }, [ids.join()]);
  return <p className="eb-said eb-bar-said" role="status">{said}</p>;
}

/** Key A, where nobody is writing: it can be turned off in the panel. */
function useShortcut(on, toggle) {
  useEffect(() => {
    if (!on) return undefined;
    const press = (event) => {
      if (event.key.toLowerCase() !== 'a' || event.ctrlKey || event.metaKey || event.altKey || !shortcutOn()) return;
      if (event.target.closest?.('input, textarea, select, dialog, [contenteditable]')) return;
      toggle();
    };
    document.addEventListener('keydown', press);
    return () => document.removeEventListener('keydown', press);
  }, []);
}

function Top({alarm, now, looks}) {
  const text = alarmText(alarm, looks);
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

function Others({alarms, looks}) {
  return (
    <ul className="eb-bar-others" aria-label={t('alarms.others')}>
      {alarms.slice(0, 1).map((alarm) => (
        <li key={alarm.key} data-priority={alarm.priority}><b>{STARS[alarm.priority]}</b> {alarmText(alarm, looks)} <Last alarm={alarm} /></li>
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
  /** Whether key A opens the panel. */
  shortcut: PropTypes.bool,
};
export default whileSeen(AlarmBar);
