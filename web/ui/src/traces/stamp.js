// What a snapshot of the traces says about itself: whose, when, from where, how fast and how tall, and what part of each
// trace was measured. Pure; snapshot.js draws it.
import {t} from '../i18n.js';
import {shownNumber} from '../person.js';
import {badge, percent, zone} from '../words.js';
import {shareOf} from './share.js';
import {paceOf} from './speed.js';

/** Everything a snapshot says, as the JSON that is put into the file. Pure. */
export function stampOf({card, status, rows, gains, speed, at, width, frozen, version, now = Date.now() / 1000}) {
  const [fast, slow] = [paceOf('fast', speed), paceOf('slow', speed)];
  const from = (band) => at - width / (band === 'slow' ? slow : fast).pxPerS;
  return {
    app: 'Everbeat', version, notice: t('notice.secondary'),
    patient: {pseudonym: card.pseudonym, number: shownNumber(card), birth_year: card.birth_year ?? null, bed: card.bed},
    taken_utc: iso(now), to_utc: iso(at), from_utc: {fast: iso(from('fast')), slow: iso(from('slow'))}, frozen, zone: zone(new Date(at * 1000)),
    sources: Object.entries(status.devices ?? {}).map(([device, {source}]) => ({device, source})),
    speed_mm_s: {fast: fast.mm, slow: slow.mm, nominal_dpi: 96},
    rows: rows.map((row) => ({
      channel: row.id, label: row.label, unit: row.look.unit, gain: gains.of(row.id), from_utc: iso(from(row.band)),
      low: row.range.low * row.look.factor, high: row.range.high * row.look.factor, ...shareOf(row, from(row.band), at),
    })),
  };
}

const iso = (unixS) => new Date(Math.round(unixS * 1000)).toISOString();

/** "KESTREL-17_2026-11-21T14-32-10Z.png" */
export const fileName = (stamp) => `${stamp.patient.pseudonym.replace(/[^\w-]+/g, '_')}_${stamp.to_utc.slice(0, 19).replaceAll(':', '-')}Z.png`;

/** "MEASURED 62 % · SYNTHESISED 38 %", the most first. */
export const shareText = (parts) => Object.entries(parts).sort(([, a], [, b]) => b - a).map(([word, part]) => `${badge(word)} ${percent(part)}`);
