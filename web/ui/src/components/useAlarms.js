// The page's alarms as React sees them: the list is made at every tick, and a component draws anew only when what it
// shows has changed.
import {useRef, useState} from 'react';
import {standing} from '../alarms.js';
import {wanted} from '../sound.js';
import {useMine, useTick} from './hooks.js';

const here = new Map(); // patient -> alarms about this page's own line, acknowledged on this screen: key -> since
const hereOf = (patient) => here.get(patient) ?? here.set(patient, new Map()).get(patient);

/** {alarms, audio, now, heard, gone, whose}: `now` is the engine's time (Unix s), `heard` whether the engine has said
 * anything, `gone` when she was discharged (Unix s or null), `whose` the patient and number that stand beside them. */
export function readAlarms(s) {
  const now = s.engineNow() || Date.now() / 1000;
  const connection = s.connection();
  const alarms = standing({connection, status: s.status, dropped: s.dropped, now, here: hereOf(s.patient)});
  const gone = connection.state === 'discharged' ? connection.since : null;
  return {alarms, audio: gone ? null : s.status?.audio ?? null, now, heard: Boolean(s.status), gone, whose: s.whose};
}

/** What this patient's page wants to be heard; see sound.js. */
export function wishOf(s) {
  const {alarms, audio, now} = readAlarms(s);
  return wanted(alarms, audio, now);
}

/** The alarms of the open patient; redrawn at most four times a second, and each second while something counts. */
export function useAlarms() {
  const s = useMine();
  const [seen, show] = useState(() => readAlarms(s));
  const shown = useRef('');
  useTick(() => {
    const next = readAlarms(s);
    const counts = next.alarms.length || next.audio?.paused_until_s;
    const text = JSON.stringify([next.alarms, next.audio, next.heard, next.gone, next.whose.number, counts ? Math.floor(next.now) : 0]);
    if (text === shown.current) return;
    shown.current = text;
    show(next);
  });
  return seen;
}

/** Acknowledge an alarm that only this page of this patient has. */
export const acknowledgeHere = (patient, alarm) => hereOf(patient).set(alarm.key, alarm.since);
