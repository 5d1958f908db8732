// The words of the monitor's read-outs: tooltip, calipers, summary. Pure: samples in, texts out; every number is
// words.js's, as on tiles and rows.
import {t} from '../i18n.js';
import {shown} from '../view.js';
import {number, percent} from '../words.js';
import {exactTime, trustText} from './probe.js';

/** Lines of the tooltip at a sample: [head, value, range, confidence]; '' for a line with nothing to say. */
export function tooltip(row, sample, at) {
  const said = shown(sample, row.look);
  if (sample.provenance === 'none') return [exactTime(at), said.word, t('traces.no_sample'), ''];
  if (sample.provenance === 'withheld') return [exactTime(sample.t), said.word, reasonAt(row, sample.t) || t('traces.no_value'), ''];
  const range = said.range && t(sample.provenance === 'quarantined' ? 'traces.estimate' : 'traces.range', {range: said.range});
  const revised = sample.revised ? ` · ${t('traces.revised')}` : '';
  return [
    exactTime(sample.t), `${said.value} ${row.look.unit} ${said.word}${revised}`.replace('  ', ' '), range,
    t('traces.confidence', {percent: percent(sample.confidence)}),
  ];
}

const reasonAt = (row, at) => row.marks?.find((mark) => mark.kind === 'withheld' && mark.from <= at && at < mark.to)?.reason;

/** Parts of the calipers' line, from `between` of probe.js. Nothing is compared across to where no honest value is. */
export function caliperParts(row, found) {
  const at = (name, sample) => `${name} ${[number(sample.value, row.look), row.look.unit].join(' ').trim()} ${trustText(sample, row.look)}`;
  const parts = [t('traces.delta_t', {ms: Math.round(found.ms).toLocaleString('en').replaceAll(',', '\u202f')})];
  if (Number.isFinite(found.perMin)) parts.push(t('traces.rate', {rate: found.perMin.toFixed(1)}));
  parts.push(at('A', found.a), at('B', found.b));
  if (Number.isFinite(found.delta)) {
    const sign = found.delta > 0 ? '+' : '';
    parts.push(`${t('traces.delta', {value: sign + number(found.delta, row.look), unit: row.look.unit})} (${trustText(found.less, row.look)})`);
  }
  if (found.hole) parts.push(t('traces.hole'));
  return parts;
}

/** One sentence a channel, for the read-out. */
export function summaryRow(label, sample, look) {
  const gone = !Number.isFinite(sample.value);
  return t(gone ? 'traces.summary_gone' : 'traces.summary_row', {
    channel: label, value: number(sample.value, look), unit: look.unit, trust: trustText(sample, look),
  });
}
