// The state of the alarm sound, in words, and the touch that a browser asks for before it lets a page sound. One on a
// page: it follows whatever `wish` says (sound.js: `wanted` of one patient, `loudest` of many).
import React, {useEffect, useState} from 'react';
import PropTypes from 'prop-types';
import {t} from '../i18n.js';
import {speaker} from '../speaker.js';
import {countdown} from '../words.js';

const EVERY_MS = 200;

/** Follow `wish()` until unmounted; returns {state, left s}. A person's first touch anywhere arms the sound. `heard(f)` has
 * f called at news, too: a tab that is hidden gets its timers seldom. */
export function useSound(wish, heard) {
  const [now, show] = useState({state: 'blocked', left: 0});
  useEffect(() => {
    const touch = () => { if (speaker().state === 'blocked') speaker().arm(); };
    const follow = () => {
      const asked = wish();
      const state = speaker().follow(asked);
      const left = Math.ceil(asked.left);
      show((old) => (old.state === state && old.left === left ? old : {state, left}));
    };
    follow();
    const timer = setInterval(follow, EVERY_MS);
    const deaf = heard(follow);
    for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, touch, true);
    return () => {
      clearInterval(timer);
      deaf();
      speaker().follow({priority: 0, why: 'armed', left: 0}); // no page that asks, no sound
      for (const kind of ['pointerdown', 'keydown']) document.removeEventListener(kind, touch, true);
    };
  }, []);
  return now;
}

/** The button that says how the sound stands. */
function Sound({id, wish, heard}) {
  const {state, left} = useSound(wish, heard);
  const press = () => (state === 'blocked' ? speaker().arm() : speaker().test());
  return (
    <button type="button" id={id} className="eb-sound" data-sound={state} onClick={press} disabled={state === 'unavailable'}
      title={state === 'armed' ? t('sound.test') : undefined}>
      <Horn crossed={['blocked', 'paused', 'unavailable'].includes(state)} />
      <span>{t(`sound.${state}`, {left: countdown(left)})}</span>
    </button>
  );
}

/** A loudspeaker, crossed out where nothing can be heard. */
function Horn({crossed}) {
  return (
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.5">
      <path d="M2 6h3l4-3v10l-4-3H2z" fill="currentColor" />
      {crossed ? <path d="M11 5.5l4 5m0-5l-4 5" /> : <path d="M11.5 5.5q2 2.5 0 5M13.3 3.8q3.2 4.2 0 8.4" />}
    </svg>
  );
}

Sound.propTypes = {
  /** The element's id. */
  id: PropTypes.string,
  /** Returns {priority, why, left} (sound.js). */
  wish: PropTypes.func.isRequired,
  /** Subscribes a listener to news of the line; returns the way out. */
  heard: PropTypes.func.isRequired,
};
export default Sound;
