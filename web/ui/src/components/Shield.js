// A shield by each trace says in shape, word and colour whether what is stored was verified, and opens the panel with the
// proof (a bundle of its own, fetched when it is first opened). A log that was changed is said over the traces.
import React, {useEffect, useReducer, useState} from 'react';
import PropTypes from 'prop-types';
import {channelName, t} from '../i18n.js';
import {lazy} from '../lazy.js';
import {identity, shownNumber} from '../person.js';
import {watchOf} from '../shield.js';
import {download} from '../traces/snapshot.js';
import {clockTime} from '../words.js';

/** {word, why, upto, state} of the store's patient; asked for while the component lives. */
export function useShield(s) {
  const [, render] = useReducer((n) => n + 1, 0);
  useEffect(() => watchOf(s).add(render), [s]);
  return watchOf(s).seen;
}

/** The whole sentence: "verified up to 12:04:31". */
export const shieldText = ({word, why, upto}) => (word === 'waiting' ? `${t('shield.waiting')}: ${t(`shield.why.${why}`)}` : t(`shield.${word}_long`, {time: clockTime(upto)}));

const shortText = ({word, upto}) => (word === 'verified' ? clockTime(upto) : t(`shield.${word}`));

/** Three shapes: a shield with a tick, a hollow one with a question, a full one with an exclamation mark. */
export function Mark({word}) {
  return (
    <svg className="eb-shield-mark" viewBox="0 0 24 24" width="16" height="16" aria-hidden="true">
      <path className="eb-shield-body" d="M12 2.2 20 5v6.2c0 4.9-3.3 8.6-8 10.6-4.7-2-8-5.7-8-10.6V5z" />
      <path className="eb-shield-sign" d={{verified: 'M8 12l3 3 5.5-6', waiting: 'M9.5 9.5a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M12 16.5v.6', alarm: 'M12 6.5v7M12 16.7v.5'}[word]} />
    </svg>
  );
}

/** The button by one trace. */
export function Shield({name, seen, onOpen}) {
  return (
    <button type="button" className="eb-shield" data-shield={seen.word} title={shieldText(seen)} aria-haspopup="dialog"
      aria-label={t('shield.open', {text: shieldText(seen), channel: name, short: shortText(seen)})}
      onPointerDown={(e) => e.stopPropagation()} onClick={onOpen}>
      <Mark word={seen.word} /><span>{shortText(seen)}</span>
    </button>
  );
}

/** Over the traces of every room whose log was changed. */
export function ShieldAlarm({seen, onOpen}) {
  if (seen.word !== 'alarm') return null;
  return (
    <section className="eb-shield-alarm" aria-label={t('shield.alarm')}>
      <Mark word="alarm" />
      <div role="alert"><b>{t('shield.banner')}</b> {t('shield.banner_do')}</div>
      <button type="button" onClick={onOpen}>{t('shield.details')}</button>
    </section>
  );
}

/** The panel, for as long as a channel is chosen. `range`: () -> [from, to] on screen, Unix s. */
export function ShieldPanel({store, channel, seen, range, close}) {
  const [Panel, setPanel] = useState(null);
  const [failed, fail] = useState(false);
  useEffect(() => {
    let here = true;
    lazy('proof').then((found) => here && setPanel(() => found.Panel), () => here && fail(true));
    return () => { here = false; };
  }, []);
  const {card} = store;
  if (failed) return <p className="eb-shield-lost" role="alert">{t('shield.lost')} <button type="button" onClick={close}>{t('button.close')}</button></p>;
  if (!Panel || !card) return null;
  return (
    <Panel {...{t, clockTime, download, seen, range, close, patient: store.patient, number: shownNumber(card)}} mark={<Mark word={seen.word} />} text={shieldText(seen)}
      whose={`${card.pseudonym} · ${identity(card)}`} channel={channelName(channel, store.status?.channels?.[channel]?.label ?? channel)} />
  );
}

const SEEN = PropTypes.shape({word: PropTypes.string, why: PropTypes.string, upto: PropTypes.number, state: PropTypes.object}).isRequired;
Mark.propTypes = {word: PropTypes.string.isRequired};
Shield.propTypes = {
  /** The channel's name. */
  name: PropTypes.string.isRequired,
  seen: SEEN,
  onOpen: PropTypes.func.isRequired,
};
ShieldAlarm.propTypes = {seen: SEEN, onOpen: PropTypes.func.isRequired};
ShieldPanel.propTypes = {
  store: PropTypes.object.isRequired,
  channel: PropTypes.string.isRequired,
  seen: SEEN,
  range: PropTypes.func.isRequired,
  close: PropTypes.func.isRequired,
};
export default Shield;
