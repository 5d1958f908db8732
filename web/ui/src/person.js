// Who a patient is, in words: two identifiers beside the pseudonym, the record's number and the year of birth; the bed is
// where, not who.
import {t} from './i18n.js';

/** The record's number as a screen shows it, and as an act must name it. */
export const shownNumber = (card) => card.number || card.id;

/** "No. 4711 · born 1968". */
export const identifiers = (number, born) => [t('patient.number', {number}), born ? t('patient.born', {year: born}) : t('patient.born_unknown')].join(' · ');

/** "No. 4711 · born 1968 · Bed 4". */
export const identity = (card) => `${identifiers(shownNumber(card), card.birth_year)} · ${card.bed}`;
