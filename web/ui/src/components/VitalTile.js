// A tile: what a channel is now, in a large numeral, and how far it may be trusted. React draws it once; numbers,
// words and bars are written into the DOM at each tick.
import React, {useRef} from 'react';
import PropTypes from 'prop-types';
import {lookOf, rangeText} from '../view.js';
import {badge, clockTime, notCurrent, number, percent, qualityText, qualityWord, span} from '../words.js';
import {mark, put, useStore, useTick} from './hooks.js';

const METHODS = {'lstm-vae': 'LSTM-VAE', locf: 'last value held', linear: 'linear', ridge: 'ridge regression', ar: 'autoregression'};

/** One channel's value, unit, provenance, confidence, range, method and age; of a measured one, what spoils it. */
function VitalTile({id, channel, size = 'large'}) {
  const s = useStore('channels', 'card');
  const tile = useRef(null);
  useTick((st) => tile.current && write(st, channel, tile.current));
  const info = s.status?.channels?.[channel];
  const look = lookOf(s.looks, channel);
  return (
    <section id={id} className={`eb-tile eb-tile-${size}`} ref={tile} data-tile={channel} data-provenance="none" data-confidence="0"
      style={{'--data': look.color}} aria-label={info?.label ?? channel}>
      <header><span className="eb-tile-name">{info?.label ?? channel}</span><span className="eb-badge">NO DATA</span></header>
      <div className="eb-tile-main">
        <span className="eb-numeral">–</span>
        <span className="eb-unit">{look.unit}</span>
      </div>
      <div className="eb-range" title="Central 90 % interval"><i>90 %: </i><span /></div>
      <div className="eb-sure">
        <div className="eb-sure-bar" role="meter" aria-label="Confidence" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><i /></div>
        <span className="eb-sure-text" /><span className="eb-sure-word">confidence</span>
      </div>
      <footer className="eb-tile-foot" />
    </section>
  );
}

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
  put(find('.eb-badge'), live ? badge(sample.provenance)  : notCurrent());
  put(find('.eb-numeral'), number(sample.value, look));
  put(find('.eb-range span'), known && sample.provenance !== 'measured' ? rangeText(sample, look) : '');
  const sure = known ? Math.round(sample.confidence * 100) : 0;
  put(find('.eb-sure-word'), known ? sureWord(info, poor) : 'no honest value');
  find('.eb-sure-bar i').style.width = `${sure}%`;
  mark(find('.eb-sure-bar'), 'aria-valuenow', sure);
  put(find('.eb-sure-text'), known ? percent(sample.confidence) : '');
  put(find('.eb-tile-foot'), poor ? (roomy ? poor : qualityWord(info.quality)) : footText(s, channel, sample, info, live, roomy));
  mark(find('.eb-tile-foot'), 'title', poor); // narrow tiles cut it short
}

/** What the percentage is of: a sensor that fell off reports its value surely, and the value says nothing. */
const sureWord = (info, poor) => (poor ? 'as the sensor reports' : `confidence${info.learning ? ', still learning' : ''}`);

/** What made the value, and when the sensor last spoke. */
function footText(s, channel, sample, info, live, roomy) {
  if (!live) return `shown at ${clockTime(s.view.t)}`;
  if (sample.provenance === 'quarantined') return 'raw reading, distrusted; range: the twin\'s estimate';
  const parts = info.learning && !roomy ? ['still learning'] : [];
  if (sample.provenance === 'measured') parts.push(sample.revised ? 'sensor, delivered late' : 'sensor');
  else {
    if (info.method && ['synthesised', 'predicted'].includes(sample.provenance)) parts.push(METHODS[info.method] ?? info.method);
    const last = s.lastMeasured(channel);
    if (Number.isFinite(last) && last > 0) parts.push(roomy ? `last reading ${clockTime(last)}, ${span(s.engineNow() - last)} ago` : `read ${span(s.engineNow() - last)} ago`);
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
};
export default VitalTile;
