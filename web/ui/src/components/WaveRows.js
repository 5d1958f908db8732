// The words beside the traces: one row a channel with its name, scale, gain and what it is now, in two bands (fast,
// slow). React draws them once; numbers are written into the DOM at each tick, from the one view.
import React from 'react';
import PropTypes from 'prop-types';
import {channelName, t} from '../i18n.js';
import {GAINS} from '../traces/gains.js';
import {isSlow} from '../traces/speed.js';
import {lookOf, shown} from '../view.js';
import {notCurrent, qualityWord, tick} from '../words.js';
import Shield from './Shield.js';
import {paceText} from './WaveControls.js';
import {mark, put} from './hooks.js';

/** Rows of all channels, fast band first. */
function WaveRows({order, channels, looks, speed, gainOf, onGain, seen, onShield}) {
  const bands = [['fast', order.filter((id) => !isSlow(channels[id]))], ['slow', order.filter((id) => isSlow(channels[id]))]];
  return (
    <div className="eb-rows">
      {bands.flatMap(([band, ids]) => ids.map((id, i) => (
        <Row key={id} id={id} info={channels[id]} look={lookOf(looks, id)} band={band} gain={gainOf(id)} onGain={onGain}
          seen={seen} onShield={onShield} pace={i === 0 ? paceText(band, speed) : ''} />
      )))}
    </div>
  );
}

function Row({id, info, look, band, gain, onGain, seen, onShield, pace}) {
  const name = channelName(id, info.label);
  return (
    <div className="eb-row" data-row={id} data-kind={band === 'slow' ? 'slow' : info.kind} data-band={band} style={{'--data': look.color}}>
      <div className="eb-row-name"><b>{name}</b> <span>{look.unit}</span></div>
      <div className="eb-row-tools">
        {pace && <span className="eb-row-pace" title={t('traces.nominal')}>{pace}</span>}
        <Shield name={name} seen={seen} onOpen={() => onShield(id)} />
        <select className="eb-row-gain" aria-label={t('traces.gain', {channel: name})} value={gain} data-gain={gain}
          onChange={(e) => onGain(id, e.target.value === 'auto' ? 'auto' : Number(e.target.value))}>
          {GAINS.map((one) => <option key={one} value={one}>{one === 'auto' ? t('traces.gain_auto') : `×${one}`}</option>)}
        </select>
      </div>
      <span className="eb-tick eb-tick-high" /><span className="eb-tick eb-tick-low" />
      <div className="eb-row-now">
        <span className="eb-row-value">–</span>
        <span className="eb-word" />
        <span className="eb-row-sure" />
      </div>
    </div>
  );
}

/** Numbers, words and ticks of every row. `rangeOf`: channel -> {low, high} as drawn. */
export function writeRows(s, box, rangeOf) {
  for (const row of box.querySelectorAll('.eb-row')) {
    const id = row.dataset.row;
    const sample = s.view.samples.get(id);
    if (!sample) continue;
    const look = lookOf(s.looks, id);
    const said = shown(sample, look);
    mark(row, 'data-provenance', sample.provenance);
    put(row.querySelector('.eb-row-value'), said.value);
    put(row.querySelector('.eb-word'), s.view.moving ? said.word : notCurrent());
    put(row.querySelector('.eb-row-sure'), besides(sample, said, s.view.moving ? s.status.channels[id] : null));
    writeScale(row, rangeOf(id), sample, look);
  }
}

/** The ends of the scale; an arrow where the value lies beyond one and the trace is cut. */
function writeScale(row, range, sample, look) {
  if (!range) return;
  put(row.querySelector('.eb-tick-high'), `${sample.value > range.high ? '▲ ' : ''}${tick(range.high, look)}`);
  put(row.querySelector('.eb-tick-low'), `${sample.value < range.low ? '▼ ' : ''}${tick(range.low, look)}`);
}

/** Beside the word: how sure a made value is, or what spoils a measured one. */
function besides(sample, said, info) {
  if (['synthesised', 'predicted'].includes(sample.provenance)) return t('traces.sure', {percent: said.sure});
  return sample.provenance === 'measured' ? qualityWord(info?.quality) : '';
}

WaveRows.propTypes = {
  order: PropTypes.arrayOf(PropTypes.string).isRequired,
  /** Channel id -> what the status says of it. */
  channels: PropTypes.object.isRequired,
  looks: PropTypes.object.isRequired,
  speed: PropTypes.number.isRequired,
  /** Channel id -> gain. */
  gainOf: PropTypes.func.isRequired,
  onGain: PropTypes.func.isRequired,
  /** Whether what is stored was verified: see useShield. */
  seen: PropTypes.object.isRequired,
  /** Opens the proof of a channel. */
  onShield: PropTypes.func.isRequired,
};
export default WaveRows;
