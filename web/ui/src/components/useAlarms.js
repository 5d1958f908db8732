// The page's alarms as React sees them: the list is made at every tick, and a component draws anew only when what it
// shows has changed.
import {useEffect, useRef, useState} from 'react';
import {standing} from '../alarms.js';
import {hold, store} from '../store.js';
import {wanted} from '../sound.js';

const here = new Map(); // alarms about this page's own line, acknowledged on this screen: key -> since

/** {alarms, audio, now, heard}: `now` is the engine's time (Unix s), `heard` whether the engine has said anything. */
export function readAlarms(s) {
  const now = s.engineNow() || Date.now() / 1000;
  const alarms = standing({connection: s.connection(), status: s.status, dropped: s.dropped, now, here});
  return {alarms, audio: s.status?.audio ?? null, now, heard: Boolean(s.status)};
}

/** What this patient's page wants to be heard; see sound.js. */
export function patientWish() {
  const {alarms, audio, now} = readAlarms(store());
  return wanted(alarms, audio, now);
}

/** The alarms of the open patient; redrawn at most four times a second, and each second while something counts. */
export function useAlarms() {
  const [seen, show] = useState(() => readAlarms(store()));
  const shown = useRef('');
  useEffect(() => {
    const look = () => {
      const next = readAlarms(store());
      const text = JSON.stringify([next.alarms, next.audio, next.heard, next.alarms.length || next.audio?.paused_until_s ? Math.floor(next.now) : 0]);
      if (text === shown.current) return;
      shown.current = text;
      show(next);
    };
    look();
    const [letGo, off] = [hold(), store().on('tick', look)];
    return () => { off(); letGo(); };
  }, []);
  return seen;
}

/** Acknowledge an alarm that only this page has. */
export const acknowledgeHere = (alarm) => here.set(alarm.key, alarm.since);
