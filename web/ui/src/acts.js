// What a person does to a patient's twin: acknowledge, pause, set limits. It goes over the page's socket together with
// the patient and the record number that stand on this screen; the server refuses it where the two don't belong
// together, so that a press can't reach another patient than the one that was looked at.
import {t} from './i18n.js';

const PATIENCE_MS = 8000;

/**
 * Ask for an act: kind is ack, pause, resume, limits, ... with its body.
 * @param {{patient: string, number: string, socket: object}} whose a store's `whose`, captured with what was drawn
 * @returns {Promise<{ok: boolean, error: string}>} never rejects; `error` is a sentence for the person who pressed
 */
export function act(kind, body, {patient, number, socket}) {
  if (!socket?.connected) return Promise.resolve({ok: false, error: t('acts.no_line')});
  return new Promise((resolve) => {
    socket.timeout(PATIENCE_MS).emit('act', {patient, number, kind, body}, (late, answer) => {
      if (late) resolve({ok: false, error: t('acts.no_answer')});
      else resolve(answer?.ok ? {ok: true, error: ''} : {ok: false, error: t('acts.refused', {why: answer?.error ?? '?'})});
    });
  });
}
