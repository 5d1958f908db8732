// What a person does to a patient's twin: acknowledge, pause, set limits. It goes over the page's socket together with
// the patient and the record number that stand on this screen; the server refuses it where the two don't belong
// together, so that a press can't reach another patient than the one that was looked at.
import {t} from './i18n.js';
import {store} from './store.js';

const PATIENCE_MS = 8000;

/** Whose screen this is, and the line to the server. */
const shown = () => ({patient: store().patient || store().card?.id, number: store().card?.number ?? '', socket: store().socket});

/**
 * Ask for an act: kind is ack, pause, resume, limits, ... with its body.
 * @param {{patient?: string, number?: string, socket?: object}} [whose] on a page of many patients: whose row it was
 * @returns {Promise<{ok: boolean, error: string}>} never rejects; `error` is a sentence for the person who pressed
 */
export function act(kind, body = {}, whose = {}) {
  const {patient, number, socket} = {...shown(), ...whose};
  if (!socket?.connected) return Promise.resolve({ok: false, error: t('acts.no_line')});
  return new Promise((resolve) => {
    socket.timeout(PATIENCE_MS).emit('act', {patient, number, kind, body}, (late, answer) => {
      if (late) resolve({ok: false, error: t('acts.no_answer')});
      else resolve(answer?.ok ? {ok: true, error: ''} : {ok: false, error: t('acts.refused', {why: answer?.error ?? '?'})});
    });
  });
}
