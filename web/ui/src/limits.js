// Alarm limits as a form holds them, in the unit a person reads. Pure: values in, words or an act's body out.
import {t} from './i18n.js';
import {tick} from './words.js';

export const BOUNDS = ['crisis_high', 'high', 'low', 'crisis_low'];
const MAX_DELAY_S = 60;
const NOTHING = {low: null, high: null, crisis_low: null, crisis_high: null, delay_s: 5, on: true, default: true};

/** What the form starts with: each bound in the look's unit as text, '' = none. */
export function formOf(limits, look) {
  const row = {...NOTHING, ...limits};
  const texts = BOUNDS.map((name) => [name, row[name] === null ? '' : String(Number((row[name] * look.factor).toPrecision(6)))]);
  return {...Object.fromEntries(texts), delay_s: String(row.delay_s), on: row.on};
}

const NUMBER = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i;

/** A person's number, with a comma or a point; null where nothing stands, NaN where it is none ("12e"). */
export function numberOf(text) {
  const typed = String(text).trim();
  if (typed === '') return null;
  return NUMBER.test(typed) ? Number(typed.replace(',', '.')) : NaN;
}

/** Limits as one text, to compare: what stood when a form was opened, what stands now, what was sent. */
export const signature = (limits) => JSON.stringify([...BOUNDS, 'delay_s', 'on'].map((name) => limits?.[name] ?? null));

/** {body} for the act `limits`, in the signal's unit, or {error}: the sentence that says what is wrong. */
export function bodyOf(signal, form, look) {
  const strange = [...BOUNDS, 'delay_s'].find((name) => Number.isNaN(numberOf(form[name])));
  if (strange) return {error: t('limits.error_number', {name: t(`limits.${strange}`), text: form[strange]})};
  const values = Object.fromEntries(BOUNDS.map((name) => [name, numberOf(form[name])]));
  const order = ['crisis_low', 'low', 'high', 'crisis_high'].map((name) => values[name]).filter((v) => v !== null);
  const rising = order.every((v, i) => i === 0 || v >= order[i - 1]);
  if (!rising || (values.low !== null && values.low === values.high)) return {error: t('limits.error_order')};
  const delay = numberOf(form.delay_s);
  if (!(delay !== null && delay >= 0 && delay <= MAX_DELAY_S)) return {error: t('limits.error_delay')};
  const own = Object.fromEntries(BOUNDS.map((name) => [name, values[name] === null ? null : values[name] / look.factor]));
  return {body: {signal, ...own, delay_s: delay, on: Boolean(form.on)}};
}

/** What these limits will do, in sentences. */
export function meaning(form) {
  if (!form.on) return [t('limits.means_off')];
  const said = [['limits.means_high', form.crisis_low, form.crisis_high], ['limits.means_medium', form.low, form.high]]
    .map(([key, low, high]) => [key, range(low, high)]).filter(([, text]) => text)
    .map(([key, text]) => t(key, {range: text, delay: form.delay_s}));
  return [...(said.length ? said : [t('limits.means_none')]), t('limits.means_measured')];
}

function range(low, high) {
  const below = String(low).trim() === '' ? '' : t('limits.means_below', {low});
  const above = String(high).trim() === '' ? '' : t('limits.means_above', {high});
  return below && above ? t('limits.means_or', {below, above}) : below || above;
}

/** {high, low, off, set}: what stands on a tile, such as "120" and "50". */
export function onTile(limits, look) {
  const shown = (value) => (value === null || value === undefined ? '' : tick(value, look));
  const [high, low] = [shown(limits?.high ?? limits?.crisis_high), shown(limits?.low ?? limits?.crisis_low)];
  return {high, low, set: Boolean(high || low), off: Boolean(limits) && limits.on === false};
}
