// The alarm log: what was raised, what ended, who acknowledged and who paused the sound, newest first; can be narrowed
// to one kind and searched.
import React, {useState} from 'react';
import {t} from '../i18n.js';
import {eventText, logPart, mergedEvents} from '../telling.js';
import {clockTime} from '../words.js';
import {useStore} from './hooks.js';

const PARTS = ['all', 'raised', 'over', 'acknowledged', 'audio'];

/** Alarm events of the open patient. */
export default function AlarmLog() {
  const {events, looks} = useStore('events', 'card');
  const [part, setPart] = useState('all');
  const [search, setSearch] = useState('');
  const lines = mergedEvents(events.filter((e) => logPart(e))).map((e) => ({...e, says: eventText(e, e.channels, looks)}))
    .filter((e) => (part === 'all' || logPart(e) === part) && `${e.says} ${e.who ?? ''}`.toLowerCase().includes(search.toLowerCase()));
  return (
    <section className="eb-alarm-log" aria-label={t('alarms.log')}>
      <header>
        <h2>{t('alarms.log')}</h2>
        <label>{t('alarms.filter')} <select value={part} onChange={(event) => setPart(event.target.value)}>
          {PARTS.map((name) => <option key={name} value={name}>{t(`alarms.filter_${name}`)}</option>)}
        </select></label>
        <input type="search" aria-label={t('alarms.filter_text')} placeholder={t('alarms.filter_text')} value={search} onChange={(event) => setSearch(event.target.value)} />
      </header>
      <ol tabIndex={0} aria-label={t('alarms.log')}>
        {lines.map((e) => (
          <li key={`${e.t}|${e.kind}|${e.channel}|${e.text}`} data-part={logPart(e)}>
            <time dateTime={new Date(e.t * 1000).toISOString()}>{clockTime(e.t)}</time>
            <b>{t(`alarms.filter_${logPart(e)}`)}</b>
            <span>{e.says}</span>
            {e.who && <i>{e.who}</i>}
          </li>
        ))}
        {lines.length === 0 && <li className="eb-bar-calm">{t('alarms.log_empty')}</li>}
      </ol>
      <p className="eb-alarm-reach">{t('alarms.log_reach')}</p>
    </section>
  );
}
