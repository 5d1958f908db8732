// Tells Dash the little that its callbacks must know of the live line: which signals the device has, which of them are
// unplugged, and whether a command that was asked for has been answered. Draws nothing.
import {useRef} from 'react';
import PropTypes from 'prop-types';
import {answerTo} from '../answers.js';
import {useTick, whileSeen} from './hooks.js';

/** Live state for Dash callbacks. */
function TwinLink({asked = {}, setProps}) {
  const told = useRef('');
  useTick((s) => {
    const live = read(s, asked);
    const text = JSON.stringify(live);
    if (text === told.current) return;
    told.current = text;
    setProps?.({live});
  });
  return null;
}

/** {patient, number, signals, unplugged, pending, failed, connected, seen}: `seen` is the newest command looked at, Unix s. */
function read(s, asked) {
  const channels = s.status?.channels ?? {};
  const unplugged = Object.values(s.status?.devices ?? {}).flatMap((device) => device.unplugged ?? []);
  const {patient, number} = s.whose;
  const state = {patient, number, signals: Object.keys(channels).sort(), unplugged: [...unplugged].sort(), pending: [], failed: [], connected: s.view.moving === true, seen: 0};
  for (const [button, ask] of Object.entries(asked)) {
    state.seen = Math.max(state.seen, ask.t);
    const verdict = answerTo(s.events, ask, unplugged, Date.now() / 1000);
    if (verdict !== 'answered') state[verdict].push(button);
  }
  return state;
}

TwinLink.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** button id -> {signal, connected} or {kinds}, with t (Unix s): commands that were sent. */
  asked: PropTypes.object,
  /** Read only: {patient, number, signals, unplugged, pending, failed, connected}. */
  live: PropTypes.object,
  /** Dash's way to tell callbacks. */
  setProps: PropTypes.func,
};
export default whileSeen(TwinLink);
