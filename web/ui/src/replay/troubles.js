// What of the replay could not be read, part by part, and the one sentence that the page says of it. Pure.
import {has, t} from '../i18n.js';

const PARTS = ['bundle', 'hours', 'window', 'moment', 'gap']; // the first that is amiss is the one that is told

/** @param {Object<string, Error>} troubles part -> error @param {boolean} some whether anything could be read @returns '' where
 * nothing is amiss */
export function troubleText(troubles, some) {
  const part = PARTS.find((name) => troubles[name]);
  if (!part) return '';
  const why = whyOf(troubles[part]);
  if (part === 'bundle') return t('replay.no_charts', {why});
  return t(some ? 'replay.trouble_part' : 'replay.trouble', {why});
}

/** Why something could not be read, in the page's language: by the status of the server's answer, if it gave one. */
function whyOf({status}) {
  if (!status) return t('replay.why_line');
  return has(`replay.why_${status}`) ? t(`replay.why_${status}`) : t('replay.why_other', {status});
}
