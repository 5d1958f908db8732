// The head of every page: where one can go, in which language, what time it is; on a patient's pages also whose they are,
// where the readings come from, and whether the page is current.
import React, {useEffect, useRef} from 'react';
import PropTypes from 'prop-types';
import {causeOf} from '../alarms.js';
import {go, patientOfPage, replayPath, roomPath} from '../address.js';
import {language, languages, t} from '../i18n.js';
import {identity} from '../person.js';
import {clockTime, hourMinute, sourceWord, zone} from '../words.js';
import {mark, put, useStore, useTick, useTitle} from './hooks.js';

let moved = false; // to another page without loading everything anew: the focus goes there, too
for (const kind of ['_dashprivate_pushstate', 'popstate']) window.addEventListener(kind, () => { moved = true; });

/** Places, patient, line, language and clock. */
function SessionBar({id, page}) {
  useEffect(() => { if (moved) focusContent(); }, [page]);
  return ['room', 'replay'].includes(page) ? <OfPatient id={id} page={page} /> : <Plain id={id} page={page} />;
}

/** What a browser does after a load: who reads by ear or keyboard begins at the new page's start. */
function focusContent() {
  moved = false;
  const content = document.getElementById('content');
  content?.setAttribute('tabindex', '-1');
  content?.focus({preventScroll: true});
}

function OfPatient({id, page}) {
  const {card, over} = useStore('card', 'over');
  useTitle(card ? [card.pseudonym, card.bed, t(`nav.${page}`)].join(' · ') : t(`nav.${page}`));
  const bar = useRef(null);
  useTick((s) => bar.current && write(s, bar.current));
  return (
    <header id={id} className="eb-session" ref={bar} data-connected="false">
      <Places page={page} />
      <div className="eb-patient">
        <h1>{card?.pseudonym ?? '…'}</h1>
        <span>{card ? identity(card) : over ? '' : t('patient.finding')}</span>
      </div>
      <span className="eb-source" />
      <span className="eb-notice">{t('notice.secondary')}</span>
      <div className="eb-line"><i aria-hidden="true" /><b className="eb-state" role="status">{t('line.connecting')}</b> <span className="eb-lag" /></div>
      <Languages />
      <Clock />
      {over && <Over why={over.why} since={over.since} />}
    </header>
  );
}

/** Over the whole page: why nothing is shown here any more. */
function Over({why, since}) {
  const way = useRef(null);
  useEffect(() => way.current.focus(), []);
  return (
    <div className="eb-gone" role="alertdialog" aria-labelledby="eb-gone-title" aria-describedby="eb-gone-why">
      <h2 id="eb-gone-title">{t('room.over.title')}</h2>
      <p id="eb-gone-why">{t(`room.over.${why}`)}</p>
      <p>{t('room.over.cleared', {time: clockTime(since)})}</p>
      <a className="eb-button" href="/" ref={way}>{t('room.over.ward')}</a>
    </div>
  );
}

function Plain({id, page}) {
  useTitle([t(`nav.${page}`), t('app.name')].join(' · '));
  return (
    <header id={id} className="eb-session">
      <Places page={page} />
      <span className="eb-notice">{t('notice.secondary')}</span>
      <Languages />
      <Clock />
    </header>
  );
}

function Places({page}) {
  const patient = patientOfPage();
  const places = [['ward', '/'], ...(patient ? [['room', roomPath(patient)], ['replay', replayPath(patient)]] : []), ['patients', '/patients']];
  return (
    <nav className="eb-places" aria-label={t('nav.label')}>
      {places.map(([name, path]) => (
        <a key={name} href={path} aria-current={name === page ? 'page' : undefined} onClick={(event) => go(event, path)}>{t(`nav.${name}`)}</a>
      ))}
      <a href="/downtime">{t('nav.downtime')}</a>
    </nav>
  );
}

function Languages() {
  return (
    <nav className="eb-languages" aria-label={t('nav.language')}>
      {languages().map((name) => (
        <a key={name} href={`/language/${name}?next=${encodeURIComponent(window.location.pathname + window.location.search)}`}
          lang={name} hrefLang={name} aria-current={name === language() ? 'true' : undefined} title={t(`language.${name}`)}>{name.toUpperCase()}</a>
      ))}
    </nav>
  );
}

function Clock() {
  const clock = useRef(null);
  useEffect(() => {
    const show = () => put(clock.current, clockTime(Date.now() / 1000));
    show();
    const timer = setInterval(show, 250);
    return () => clearInterval(timer);
  }, []);
  const [offset, ...name] = zone().split(' ');
  return <div className="eb-clock" title={zone()}><b ref={clock} /> <span>{offset}<i> {name.join(' ')}</i></span></div>;
}

function write(s, bar) {
  const {state, since, why} = s.connection();
  mark(bar, 'data-connected', ['live', 'reconnecting'].includes(state));
  mark(bar, 'data-state', state);
  put(bar.querySelector('.eb-state'), t(`line.${causeOf(why) === 'locked' ? 'locked' : state}`, {time: hourMinute(since)}));
  put(bar.querySelector('.eb-lag'), state === 'live' ? t('line.behind', {seconds: s.lag.toFixed(1)}) : '');
  const sources = [...new Set(Object.values(s.status?.devices ?? {}).map((device) => sourceWord(device.source)))];
  const gone = Boolean(s.card?.discharged_ms);
  put(bar.querySelector('.eb-source'), gone ? t('ward.discharged') : sources.join(' + '));
  mark(bar.querySelector('.eb-source'), 'data-discharged', gone);
  bar.querySelector('.eb-source').title = Object.keys(s.status?.devices ?? {}).join(', ');
}

SessionBar.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** "ward", "room", "replay" or "patients". */
  page: PropTypes.string.isRequired,
};
export default SessionBar;
