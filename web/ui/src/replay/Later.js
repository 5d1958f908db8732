// "Then and later": at the moment, over the gap it lies in and over the window, what the twin showed of one channel
// against what was measured afterwards. Where nothing was measured later, it says so and gives no error.
import React from 'react';
import {channelName, t} from '../i18n.js';
import {rangeText} from '../view.js';
import {badge, clockTime, number, percent} from '../words.js';

/** @param {{channel, meta, look, at: {t, shown, known}, gap: [number, number]|undefined, scores: {window, gap}}} props */
export function Later({channel, meta, look, at, gap, scores}) {
  if (!channel) return null;
  return (
    <aside className="eb-later eb-panel" aria-label={t('replay.later')} tabIndex={0}>
      <h2>{t('replay.later')}</h2>
      <p className="eb-later-channel" style={{'--data': look.color}}>{channelName(channel, meta.label)}</p>
      <Moment at={at} look={look} tolerance={meta.tolerance} />
      {gap && <Part name="gap" title={t('replay.over_gap', {from: clockTime(gap[0]), to: clockTime(gap[1]), seconds: (gap[1] - gap[0]).toFixed(0)})} score={scores.gap?.[channel]} look={look} />}
      <Part name="window" title={t('replay.over_window')} score={scores.window?.[channel]} look={look} />
    </aside>
  );
}

function Moment({at, look, tolerance}) {
  const {shown, known} = at;
  const truth = known?.provenance === 'measured' && known.revised ? known : null;
  const made = ['synthesised', 'predicted'].includes(shown?.provenance);
  const error = truth && made ? Math.abs(shown.value - truth.value) : NaN;
  const allowed = truth ? Math.max(tolerance?.[0] ?? 0, (tolerance?.[1] ?? 0) * Math.abs(truth.value)) : NaN;
  return (
    <section data-later="moment">
      <h3>{t('replay.at', {time: clockTime(at.t)})}</h3>
      <dl>
        <Line name={t('replay.showed')} value={shown ? `${text(shown, look)} · ${badge(shown.provenance)}` : '…'} data="shown" />
        {made && <Line name={t('replay.bounds')} value={`${rangeText(shown, look)} · ${percent(shown.confidence)}`} data="bounds" />}
        {later(known, shown, truth, look).map(([name, value, data]) => <Line key={data} name={name} value={value} data={data} />)}
        {Number.isFinite(error) && <Line name={t('replay.error')} value={`${number(error, look)} ${look.unit}`} data="error" />}
        {Number.isFinite(error) && <Line name={t('replay.inside')} value={yes(shown.lower <= truth.value && truth.value <= shown.upper)} data="inside" />}
        {Number.isFinite(error) && <Line name={t('replay.tolerated', {allowed: `±${number(allowed, look)} ${look.unit}`})} value={yes(error <= allowed)} data="tolerated" />}
      </dl>
    </section>
  );
}

/** What is known now of the moment: a late reading, the twin's own revision, or nothing new. */
function later(known, shown, truth, look) {
  if (truth) return [[t('replay.measured_later'), text(truth, look), 'truth']];
  if (known?.revised && known.provenance !== 'none') {
    return [[t('replay.revised_to'), text(known, look), 'revision'], [t('replay.measured_later'), t('replay.nothing_later'), 'truth']];
  }
  if (shown?.provenance === 'measured') return [[t('replay.measured_later'), t('replay.measured_then'), 'truth']];
  return [[t('replay.measured_later'), t('replay.nothing_later'), 'truth']];
}

function Part({name, title, score, look}) {
  return (
    <section data-later={name}>
      <h3>{title}</h3>
      {score ? <Score score={score} look={look} /> : <p>…</p>}
    </section>
  );
}

function Score({score, look}) {
  if (!score.made && !score.late) return <p>{t('replay.nothing_made')}</p>;
  return (
    <dl>
      {score.confidence !== null && <Line name={t('replay.mean_confidence')} value={percent(score.confidence)} data="confidence" />}
      {score.pairs > 0 && <Line name={t('replay.mean_error')} value={`${number(score.error, look)} ${look.unit}`} data="mae" />}
      {score.pairs > 0 && <Line name={t('replay.worst_error')} value={`${number(score.worst, look)} ${look.unit}`} data="worst" />}
      {score.pairs > 0 && <Line name={t('replay.share_inside')} value={percent(score.inside)} data="inside" />}
      {score.pairs > 0 && <Line name={t('replay.share_tolerated')} value={percent(score.tolerated)} data="tolerated" />}
      <Line name={t('replay.truths')} value={score.late ? String(score.late) : t('replay.nothing_later')} data="late" />
    </dl>
  );
}

const Line = ({name, value, data}) => <><dt>{name}</dt><dd data-fact={data}>{value}</dd></>;
const text = (sample, look) => `${number(sample.value, look)} ${look.unit}`.trim();
const yes = (is) => t(is ? 'replay.yes' : 'replay.no');
