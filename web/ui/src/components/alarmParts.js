// What bar and panel show of an alarm alike: lamp, kind and state, each with a sign and words.
import React from 'react';
import {STARS, quiet} from '../alarms.js';
import {t} from '../i18n.js';
import {clockTime, hourMinute} from '../words.js';

/** The stars on the priority's colour; flashing while nobody has acknowledged. */
export const Lamp = ({alarm}) => <b className="eb-lamp" data-priority={alarm.priority} data-quiet={quiet(alarm)}>{STARS[alarm.priority]}</b>;

/** Patient or technical: a sign and a word. */
export function Kind({alarm}) {
  return (
    <span className="eb-alarm-kind" data-physiological={alarm.physiological}>
      <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.6">
        {alarm.physiological ? <path d="M8 13.5C3 9.8 1.6 7.7 1.6 5.4a3.2 3.2 0 0 1 6.4-.9 3.2 3.2 0 0 1 6.4.9c0 2.3-1.4 4.4-6.4 8.1z" fill="currentColor" stroke="none" />
          : <path d="M3 13l5-5m3-5a3.4 3.4 0 1 0 2.6 4.5l-2 .4-1.4-1.4.4-2z" />}
      </svg>
      {t(alarm.physiological ? 'alarms.physiological' : 'alarms.technical')}
    </span>
  );
}

/** What stands where no alarm does. */
export const calm = ({gone, heard}) => (gone ? t('alarms.discharged', {time: hourMinute(gone)}) : t(heard ? 'alarms.none' : 'alarms.waiting'));

/** That it is the engine's last word, and when that was. */
export const Last = ({alarm}) => (alarm.last === undefined ? null : <span className="eb-alarm-over">{t('alarms.last_known', {time: hourMinute(alarm.last)})}</span>);

/** No longer known, over but latched, or acknowledged: in words. */
export function State({alarm}) {
  if (alarm.last !== undefined) return <Last alarm={alarm} />;
  if (quiet(alarm)) {
    const words = alarm.ackedBy === 'here' ? t('alarms.acked_here') : t('alarms.acked', {time: clockTime(alarm.acked), who: alarm.ackedBy});
    return <span className="eb-alarm-acked">✓ {words}</span>;
  }
  return alarm.over === null ? null : <span className="eb-alarm-over">{t('alarms.over', {time: clockTime(alarm.over)})}</span>;
}
