// What is known of a picked place of the body: for each of its channels the value, where it comes from, how sure it is, when
// the sensor last spoke, the last minute as a small trace, and the way to its history.
import React, {useRef} from 'react';
import {go, replayPath} from '../address.js';
import {channelName, has, t} from '../i18n.js';
import {lookOf, shown} from '../view.js';
import {clockTime, notCurrent, span} from '../words.js';
import {drawSpark} from '../spark.js';
import {mark, put, useMine, useTick} from './hooks.js';

/** A card for `place`, a region or an organ, with a row for each of `channels`; `onClose` when it is to go. */
export default function RegionCard({place, channels, onClose}) {
  const card = useRef(null);
  const {patient} = useMine();
  useTick((s) => card.current && channels.forEach((id) => write(s, id, card.current.querySelector(`[data-channel="${id}"]`))));
  const name = t(has(`region.${place}`) ? `region.${place}` : `body.${place}`);
  return (
    <section className="eb-region-card" ref={card} aria-label={name} data-place={place}>
      <header><h3>{name}</h3><button type="button" onClick={onClose} aria-label={t('button.close')}>×</button></header>
      {channels.length === 0 && <p>{t('body.no_sensor')}</p>}
      {channels.map((id) => <Row key={id} id={id} patient={patient} />)}
    </section>
  );
}

function Row({id, patient}) {
  const path = replayPath(patient, `?channel=${encodeURIComponent(id)}`);
  return (
    <div className="eb-region-row" data-channel={id}>
      <div className="eb-region-line"><span>{channelName(id)}</span><b className="eb-region-word" /></div>
      <div className="eb-region-line"><strong className="eb-region-value" /><span className="eb-region-sure" /></div>
      <canvas className="eb-spark" width="250" height="38" aria-hidden="true" />
      <div className="eb-region-line"><span className="eb-region-last" /><a href={path} onClick={(event) => go(event, path)}>{t('body.history')}</a></div>
    </div>
  );
}

function write(s, id, row) {
  const sample = s.view.samples.get(id);
  if (!sample || !row) return;
  const look = lookOf(s.looks, id);
  const said = shown(sample, look);
  mark(row, 'data-provenance', sample.provenance);
  put(row.querySelector('.eb-region-word'), s.view.moving ? said.word : notCurrent());
  put(row.querySelector('.eb-region-value'), `${said.value} ${look.unit}`);
  put(row.querySelector('.eb-region-sure'), said.range && `${t('body.confidence', {percent: said.sure})} · 90 %: ${said.range}`);
  const last = s.lastMeasured(id);
  const known = Number.isFinite(last) && last > 0;
  put(row.querySelector('.eb-region-last'), known ? t('body.last', {time: clockTime(last), ago: span(s.engineNow() - last)}) : t('body.never'));
  drawSpark(row.querySelector('.eb-spark'), s.series.get(id), s.view.t, look.color);
}
