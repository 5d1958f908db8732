// A tile: what a channel is now, in a large numeral, and how far it may be trusted. React draws it once; numbers,
// words and bars are written into the DOM at each tick.
import React, {useRef} from 'react';
import PropTypes from 'prop-types';
import {STARS, limitAlarmOf} from '../alarms.js';
import {channelName, has, t} from '../i18n.js';
import {onTile} from '../limits.js';
import {lookOf, rangeText} from '../view.js';
import {badge, clockTime, hourMinute, notCurrent, number, percent, qualityText, qualityWord, span, tick} from '../words.js';
import {mark, put, useStore, useTick} from './hooks.js';

/** One channel's value, unit, provenance, confidence, range, limits, method and age; of a measured one, what spoils it. */
function VitalTile({id, channel, size = 'large', openLimits}) {
  const s = useStore('channels', 'card');
  const tile = useRef(null);
  useTick((st) => tile.current && write(st, channel, tile.current));
  const look = lookOf(s.looks, channel);
  const name = channelName(channel, s.status?.channels?.[channel]?.label ?? channel);
  return (
    <section id={id} className={`eb-tile eb-tile-${size}`} ref={tile} data-tile={channel} data-provenance="none" data-confidence="0"
      style={{'--data': look.color}} aria-label={name}>
      <header><span className="eb-tile-name">{name}</span><span className="eb-badge">{badge('none')}</span></header>
      <div className="eb-tile-main">
        <span className="eb-numeral">–</span>
        <span className="eb-unit">{look.unit}</span>
      </div>
      <div className="eb-range" title={t('tile.interval')}><i>{t('tile.ninety')} </i><span /></div>
      {openLimits && <LimitsButton name={name} limits={s.card?.limits?.[channel.split('.')[0]]} look={look} open={(event) => openLimits(channel, event.currentTarget)} />}
      <div className="eb-sure">
        <div className="eb-sure-bar" role="meter" aria-label={t('tile.confidence')} aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><i /></div>
        <span className="eb-sure-text" /><span className="eb-sure-word">{t('tile.confidence')}</span>
      </div>
      <footer className="eb-tile-foot" />
      <p className="eb-tile-alarm" />
    </section>
  );
}

/** What the limits are, and the way to change them; a crossed-out bell where they are off. */
function LimitsButton({name, limits, look, open}) {
  const {high, low, set, off} = onTile(limits, look);
  return (
    <button type="button" className="eb-tile-limits" data-limits={off ? 'off' : set ? 'on' : 'none'} aria-label={`${t('limits.open', {name})}: ${said(high, low, set, off)}`} onClick={open}>
      {(off || !set) && <Bell crossed={off} />}
      {off ? <span>{t('limits.off_word')}</span> : set && <span>{high && `▲${high}`} {low && `▼${low}`}</span>}
    </button>
  );
}

function said(high, low, set, off) {
  if (off) return t('limits.off');
  return set ? `▲ ${high || t('limits.none_value')}, ▼ ${low || t('limits.none_value')}` : t('limits.unset');
}

const Bell = ({crossed}) => (
  <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.5">
    <path d="M3 12h10c-1.4-1.2-1.6-2.6-1.6-4.6A3.4 3.4 0 0 0 8 4a3.4 3.4 0 0 0-3.4 3.4c0 2-.2 3.4-1.6 4.6zM7 14h2" />
    {crossed && <path d="M2 2l12 12" strokeWidth="2" />}
  </svg>
);

function write(s, channel, tile) {
  const sample = s.view.samples.get(channel);
  const info = s.status?.channels?.[channel];
  if (!sample || !info) return;
  const look = lookOf(s.looks, channel);
  const find = (name) => tile.querySelector(name);
  const live = s.view.moving === true;
  const known = sample.provenance !== 'none' && sample.provenance !== 'withheld';
  mark(tile, 'data-provenance', sample.provenance);
  mark(tile, 'data-confidence', sample.confidence.toFixed(3));
  mark(tile, 'data-live', live);
  const roomy = tile.classList.contains('eb-tile-large');
  const poor = live && sample.provenance === 'measured' ? qualityText(info.quality) : '';
  mark(tile, 'data-quality', poor ? info.quality.verdict : 'good');
  mark(tile, 'data-value', Number.isFinite(sample.value) ? sample.value : '');
  put(find('.eb-badge'), live ? badge(sample.provenance) : notCurrent());
  put(find('.eb-numeral'), number(sample.value, look));
  put(find('.eb-range span'), known && sample.provenance !== 'measured' ? rangeText(sample, look) : '');
  const sure = known ? Math.round(sample.confidence * 100) : 0;
  put(find('.eb-sure-word'), known ? sureWord(info, poor) : t('tile.no_honest'));
  find('.eb-sure-bar i').style.width = `${sure}%`;
  mark(find('.eb-sure-bar'), 'aria-valuenow', sure);
  put(find('.eb-sure-text'), known ? percent(sample.confidence) : '');
  put(find('.eb-tile-foot'), poor ? (roomy ? poor : qualityWord(info.quality)) : footText(s, channel, sample, info, live, roomy));
  mark(find('.eb-tile-foot'), 'title', poor); // narrow tiles cut it short
  const {state, since} = s.connection();
  writeAlarm(state === 'discharged' ? undefined : limitAlarmOf(s.status, channel), look, tile, live ? null : since || s.view.t);
}

/** A limit alarm that stands: the border flashes at its priority's rate, and the words say which limit; or stood, when it
 * was `last` known (Unix s, null: it is): then nothing flashes. */
function writeAlarm(alarm, look, tile, last) {
  mark(tile, 'data-alarm', alarm?.priority ?? 0);
  mark(tile, 'data-alarm-acked', Boolean(alarm?.acked_by));
  mark(tile, 'data-alarm-last', Boolean(alarm) && last !== null);
  const key = {'limit-high': 'limits.beyond_high', 'limit-low': 'limits.beyond_low'}[alarm?.kind];
  const words = key && Number.isFinite(alarm.limit) ? t(key, {limit: `${tick(alarm.limit, look)} ${look.unit}`.trim()}) : t('limits.beyond');
  put(tile.querySelector('.eb-tile-alarm'), alarm ? `${STARS[alarm.priority]} ${words}${last === null ? '' : ` · ${t('alarms.last_known', {time: hourMinute(last)})}`}` : '');
}

/** What the percentage is of: a sensor that fell off reports its value surely, and the value says nothing. */
const sureWord = (info, poor) => t(poor ? 'tile.reported' : info.learning ? 'tile.confidence_learning' : 'tile.confidence');

/** What made the value, and when the sensor last spoke. */
function footText(s, channel, sample, info, live, roomy) {
  if (!live) return t('tile.shown_at', {time: clockTime(s.view.t)});
  if (sample.provenance === 'quarantined') return t('tile.distrusted');
  const parts = info.learning && !roomy ? [t('tile.learning')] : [];
  if (sample.provenance === 'measured') parts.push(t(sample.revised ? 'tile.sensor_late' : 'tile.sensor'));
  else {
    if (info.method && ['synthesised', 'predicted'].includes(sample.provenance)) parts.push(has(`method.${info.method}`) ? t(`method.${info.method}`) : info.method);
    const last = s.lastMeasured(channel);
    if (Number.isFinite(last) && last > 0) parts.push(t(roomy ? 'tile.last' : 'tile.last_short', {time: clockTime(last), span: span(s.engineNow() - last)}));
  }
  return parts.join(' · ');
}

VitalTile.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** Channel id, such as "gsr_uS". */
  channel: PropTypes.string.isRequired,
  /** "large" for the body's signals ("medium" where there are many), "small" for the room's. */
  size: PropTypes.oneOf(['large', 'medium', 'small']),
  /** Called with the channel and the button where a person asks for its limits; without it there is no such button. */
  openLimits: PropTypes.func,
};
export default VitalTile;
