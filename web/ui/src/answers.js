// Whether a command that was sent to a device has been answered. Told by kind and facts of events, never by their text.
const FAILED = ['failed', 'unproven', 'unanswered']; // of a device's answer
const PATIENCE_S = 15; // an answer later than this is a failure, and says so

/** 'answered', 'pending' or 'failed'. A `sensor` command is answered when the device reports the new state; any other by an
 * event of one of its kinds after it, which, where that is a device's answer, names the command.
 * @param ask {method, signal, connected} or {method, kinds}, with t (Unix s) @param unplugged ids @param now Unix s */
export function answerTo(events, ask, unplugged, now) {
  const since = events.filter((e) => e.t > ask.t - 1);
  const own = (e) => e.kind === 'command' && e.facts?.command === ask.method;
  const failed = (e) => own(e) && FAILED.includes(e.facts.variant);
  if (ask.signal !== undefined) {
    const out = unplugged.some((id) => id.startsWith(ask.signal));
    if (out === !ask.connected) return 'answered';
  } else if (since.some((e) => ask.kinds.includes(e.kind) && (e.kind !== 'command' || (own(e) && !failed(e))))) return 'answered';
  const patient = now - ask.t < 2 * PATIENCE_S;
  if (since.some(failed)) return patient ? 'failed' : 'answered';
  if (now - ask.t < PATIENCE_S) return 'pending';
  return patient ? 'failed' : 'answered';
}
