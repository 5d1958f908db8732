// What a person sees, and is told to do, when engine, server, store, network or all devices are gone. It lies over the
// room; the last values stay visible behind and beside it, greyed and marked. It can be made small, never closed.
import React, {useEffect, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {STEPS, downtime} from '../downtime.js';
import {language, t} from '../i18n.js';
import {hold} from '../store.js';
import {clockTime, span} from '../words.js';
import {useMine} from './hooks.js';

/** The notice. `contact`: whom to call, '' = the catalogue's default. It has its own timer: it must not fall silent with the
 * store's tick. */
function Downtime({id, contact = ''}) {
  const [{failed, since, current, told}, show] = useState({failed: '', since: NaN, current: true, told: ''});
  const [small, shrink] = useState(false);
  const last = useRef('');
  const s = useMine();
  useEffect(() => keepSheet(), []);
  useEffect(() => {
    const look = () => {
      const now = downtime(s.connection(), s.status, s.engineNow() || Date.now() / 1000);
      const words = Number.isFinite(now.since) ? t('downtime.since', {time: clockTime(now.since), span: span(Date.now() / 1000 - now.since)}) : t('downtime.since_unknown');
      const text = `${now.failed}|${now.failed && words}`;
      if (text === last.current) return;
      if (now.failed !== last.current.split('|')[0]) shrink(false);
      last.current = text;
      show({...now, told: words});
    };
    look();
    const [letGo, timer] = [hold(s), setInterval(look, 500)];
    return () => { clearInterval(timer); letGo(); };
  }, []);
  if (!failed) return <div id={id} hidden />;
  return (
    <aside id={id} className="eb-downtime" data-failed={failed} data-since={since} data-current={current} data-small={small} aria-label={t('downtime.region')}>
      <div role="alert">
        <h2>{!current && <b className="eb-downtime-dead">{t('downtime.dead')}</b>} {t(`downtime.${failed}.title`)}</h2>
      </div>
      <p className="eb-downtime-since">{told}</p>
      {!small && <Steps failed={failed} current={current} contact={contact} />}
      <footer>
        <button type="button" onClick={() => shrink(!small)} aria-expanded={!small}>{t(small ? 'downtime.restore' : 'downtime.minimise')}</button>
        <a href="/downtime">{t('downtime.sheet')}</a>
      </footer>
    </aside>
  );
}

function Steps({failed, current, contact}) {
  const facts = {contact: contact || t('downtime.contact_default'), title: t(`downtime.${failed}.title`)};
  return (
    <>
      <p><b>{t('downtime.cause')}:</b> {t(`downtime.${failed}.cause`)}</p>
      {!current && <p>{t('downtime.last')}</p>}
      <h3>{t('downtime.steps')}</h3>
      <ol>{STEPS[failed].map((step) => <li key={step}>{t(`downtime.step.${step}`, facts)}</li>)}</ol>
    </>
  );
}

/** Have the browser keep the sheet /downtime, in the page's language, for when nothing answers (no patient's data). */
export function keepSheet() {
  navigator.serviceWorker?.register(`/downtime/worker.js?language=${language()}`, {scope: '/downtime'})
    .catch((error) => console.warn('everbeat: the downtime sheet is not kept for offline use', error));
}

Downtime.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** Whom to call; '' = "your hospital's number". */
  contact: PropTypes.string,
};
export default Downtime;
