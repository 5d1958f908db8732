// What a hand can do to alarms, and how far it got: sent and not yet seen in the engine's status, or refused in words.
import {useState} from 'react';
import {act} from '../acts.js';
import {quiet} from '../alarms.js';
import {acknowledgeHere} from './useAlarms.js';

const PAUSE_S = 120;
const SEEN_WITHIN_MS = 6000; // an accepted act that the status doesn't show by then is offered again

/** {acknowledge, acknowledgeAll, pause, resume, pending, refusal} for the alarms on screen. */
export function useAlarmActs(alarms) {
  const [sent, setSent] = useState(() => new Set());
  const [refusal, setRefusal] = useState('');
  const wait = (ids) => setSent((old) => new Set([...old, ...ids]));
  const forget = (ids) => setSent((old) => new Set([...old].filter((id) => !ids.includes(id))));
  const ask = async (kind, body) => {
    const {ok, error} = await act(kind, body);
    setRefusal(ok ? '' : error);
    return ok;
  };
  const acknowledge = async (alarm) => {
    if (alarm.source === 'page') return acknowledgeHere(alarm);
    const ids = alarm.members.filter((member) => !member.acked_by).map((member) => member.id);
    wait(ids);
    const all = alarms.every((other) => other.key === alarm.key || other.source === 'page' || quiet(other));
    const answers = await Promise.all((all ? ['all'] : ids).map((id) => ask('ack', {alarm: id})));
    setTimeout(() => forget(ids), answers.every(Boolean) ? SEEN_WITHIN_MS : 0);
  };
  const acknowledgeAll = async () => {
    const open = alarms.filter((alarm) => !quiet(alarm));
    open.filter((alarm) => alarm.source === 'page').forEach(acknowledgeHere);
    const ids = open.flatMap((alarm) => alarm.ids);
    if (!ids.length) return;
    wait(ids);
    const ok = await ask('ack', {alarm: 'all'});
    setTimeout(() => forget(ids), ok ? SEEN_WITHIN_MS : 0);
  };
  return {
    acknowledge, acknowledgeAll, refusal,
    pause: () => ask('pause', {seconds: PAUSE_S}),
    resume: () => ask('resume', {}),
    pending: (alarm) => !quiet(alarm) && alarm.ids.some((id) => sent.has(id)),
  };
}
