// What a hand can do to alarms, and how far it got: sent and not yet seen in the engine's status, or refused in words.
// Every act goes to the patient whose alarms were drawn, and acknowledges exactly those that were.
import {useState} from 'react';
import {act} from '../acts.js';
import {acknowledging, quiet} from '../alarms.js';
import {acknowledgeHere} from './useAlarms.js';

const PAUSE_S = 120;
const SEEN_WITHIN_MS = 6000; // an accepted act that the status doesn't show by then is offered again

/** {acknowledge, acknowledgeAll, pause, resume, pending, refusal} for the alarms on screen: {alarms, whose}. */
export function useAlarmActs({alarms, whose}) {
  const [sent, setSent] = useState(() => new Set());
  const [refusal, setRefusal] = useState('');
  const wait = (ids) => setSent((old) => new Set([...old, ...ids]));
  const forget = (ids) => setSent((old) => new Set([...old].filter((id) => !ids.includes(id))));
  const ask = async (kind, body) => {
    const {ok, error} = await act(kind, body, whose);
    setRefusal(ok ? '' : error);
    return ok;
  };
  const acknowledge = async (...chosen) => {
    chosen.filter((alarm) => alarm.source === 'page').forEach((alarm) => acknowledgeHere(whose.patient, alarm));
    const ids = chosen.flatMap((alarm) => alarm.members).filter((member) => !member.acked_by).map((member) => member.id);
    wait(ids);
    let ok = true;
    for (const body of acknowledging(ids)) ok = ok && await ask('ack', body);
    setTimeout(() => forget(ids), ok ? SEEN_WITHIN_MS : 0);
  };
  return {
    acknowledge, refusal,
    acknowledgeAll: () => acknowledge(...alarms.filter((alarm) => !quiet(alarm))),
    pause: () => ask('pause', {seconds: PAUSE_S}),
    resume: () => ask('resume', {}),
    pending: (alarm) => !quiet(alarm) && alarm.ids.some((id) => sent.has(id)),
  };
}
