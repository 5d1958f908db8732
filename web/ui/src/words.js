// What a screen says, in words and numbers: provenance, values in a person's unit, times of day. Pure functions.
import {has, locale, t} from './i18n.js';
import {PROVENANCE, REVISED} from './wire.js';

const WORDS = ['measured', 'synthesised', 'predicted', 'quarantined', 'withheld'];
export const NONE = 'none'; // no sample at all at this time

/** The provenance byte of a sample as a lower-case word. */
export const provenanceWord = (byte) => WORDS[byte & 0x0f] ?? NONE;
export const isRevised = (byte) => (byte & REVISED) !== 0;
export const isWithheld = (byte) => (byte & 0x0f) === PROVENANCE.WITHHELD;
export const isMade = (byte) => [PROVENANCE.SYNTHESISED, PROVENANCE.PREDICTED].includes(byte & 0x0f);

/** What stands on a badge. */
export const badge = (word) => t(`provenance.${word}`);

/** What stands instead where the page is not current. */
export const notCurrent = () => t('provenance.not_current');

/** A value in the look's unit and digits; an en dash where there is none. */
export function number(value, look) {
  if (!Number.isFinite(value)) return '–';
  const shown = value * look.factor;
  return shown.toFixed(digits(shown, look)).replace('-', '−');
}

/** Fewer decimals as numbers grow, so that the numeral keeps its width. */
function digits(shown, look) {
  const size = Math.abs(shown);
  if (size >= 100) return Math.min(look.digits, size >= 1000 ? 0 : 1);
  return look.digits;
}

/** A scale's end, without idle zeros. */
export function tick(value, look) {
  if (!Number.isFinite(value)) return '';
  return String(Number((value * look.factor).toPrecision(4))).replace('-', '−');
}

export const percent = (confidence) => `${Math.round(confidence * 100)}\u00a0%`; // the sign stays with its number

/** hh:mm:ss of a Unix time in the viewer's zone. */
export const clockTime = (unixS) => (Number.isFinite(unixS) ? new Date(unixS * 1000).toLocaleTimeString(locale()) : '--:--:--');

/** hh:mm of a Unix time in the viewer's zone. */
export const hourMinute = (unixS) => (Number.isFinite(unixS) ? new Date(unixS * 1000).toLocaleTimeString(locale(), {hour: '2-digit', minute: '2-digit'}) : '--:--');

/** "1:43": what is left of a pause, s. */
export const countdown = (seconds) => {
  const s = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
};

/** The viewer's zone, such as "UTC+02:00 Europe/Madrid". */
export function zone(date = new Date()) {
  const minutes = -date.getTimezoneOffset();
  const pad = (n) => String(Math.floor(Math.abs(n))).padStart(2, '0');
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone ?? '';
  return `UTC${minutes < 0 ? '−' : '+'}${pad(minutes / 60)}:${pad(minutes % 60)}${name && name !== 'UTC' ? ` ${name}` : ''}`;
}

/** "12 s", "3 min", "2 h": how long ago, never negative. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

const UNITS = {uS: 'µS', Cel: '°C', '/min': 'bpm'}; // of UCUM, as people write them
const AMOUNT = /-?\d[\d.e+-]*(?: (?:%|s|uS|Cel|\/min|[mu]V|lx|hPa|uT|\[g\])(?=$|[ ,;]))?/g; // a number with its unit
export const asWritten = (text) => text.replace(/(?<= )(?:uS|Cel|\/min)(?=$|[ ,;])/g, (unit) => UNITS[unit]);

/** "Bad signal – electrode off: 0.02 µS, …": what the twin holds of a channel's recent past; '' where it is good. */
export function qualityText(quality) {
  if (!has(`quality.${quality?.verdict}`)) return '';
  const verdict = t(`quality.${quality.verdict}`);
  return quality.reason ? t('quality.lead', {verdict, reason: reasonText(quality.reason)}) : verdict;
}

/** The engine's reason in the page's language: the rule's own sentence with the engine's amounts, else as it came. */
export function reasonText(reason) {
  const [lead, details = ''] = reason.split(/: (.*)/s);
  const key = `quality.${lead.replaceAll(' ', '_')}`;
  if (!has(key)) return asWritten(reason);
  const amounts = (details.match(AMOUNT) ?? []).map(asWritten);
  const told = t(key, {a: amounts[0], b: amounts[1], c: amounts[2]});
  return /\{[abc]\}/.test(told) ? asWritten(reason) : told;
}

/** The same in the two words that a trace has room for: "electrode off". */
export const qualityWord = (quality) => (qualityText(quality) ? (quality.reason ? reasonText(quality.reason) : t(`quality.${quality.verdict}`)).split(':')[0] : '');

/** Who sends: what a screen must say about the source of the readings. */
export const sourceWord = (source) => t(`source.${['simulated', 'recording', 'sensor'].includes(source) ? source : 'unknown'}`);
