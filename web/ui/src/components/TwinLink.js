// Tells Dash the little that its callbacks must know of the live line: which signals the device has, which of them are
// unplugged, and whether a command that was asked for has been answered. Draws nothing.
import {useEffect, useRef} from 'react';
import PropTypes from 'prop-types';
import {hold} from '../store.js';
import {useMine} from './hooks.js';

const PATIENCE_S = 15; // an answer later than this is a failure, and says so

/** Live state for Dash callbacks. */
function TwinLink({asked = {}, setProps}) {
  const told = useRef('');
  const newest = useRef({});
  newest.current = {asked, setProps};
  const s = useMine();
  useEffect(() => {
    const look = () => {
      const state = read(s, newest.current.asked);
      const text = JSON.stringify(state);
      if (text === told.current) return;
      told.current = text;
      newest.current.setProps?.({live: state});
    };
    const outs = [hold(s), s.on('tick', look)];
    return () => outs.forEach((out) => out());
  }, [s]);
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
    const verdict = answerTo(s, ask, unplugged);
    if (verdict !== 'answered') state[verdict].push(button);
  }
  return state;
}

/** A `sensor` command is answered when the device reports the new state; any other, by an event after it. */
function answerTo(s, ask, unplugged) {
  const now = Date.now() / 1000;
  if (ask.signal !== undefined) {
    const out = unplugged.some((id) => id.startsWith(ask.signal));
    if (out === !ask.connected) return 'answered';
  } else if (s.events.some((e) => e.severity !== 'warning' && ask.kinds.includes(e.kind) && e.t > ask.t - 1)) return 'answered';
  const refused = (e) => e.kind === 'command' && e.severity !== 'info' && e.t > ask.t - 1 && e.text.includes(ask.method);
  if (s.events.some(refused)) return now - ask.t < 2 * PATIENCE_S ? 'failed' : 'answered';
  if (now - ask.t < PATIENCE_S) return 'pending';
  return now - ask.t < 2 * PATIENCE_S ? 'failed' : 'answered';
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
export default TwinLink;
