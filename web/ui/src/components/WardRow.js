// One patient in one row. Drawn anew when the server has news of her (once a second) or the page's line changes; rows
// that are out of sight wait until they come into it.
import React, {memo, useEffect, useReducer, useRef} from 'react';
import {go, roomPath} from '../address.js';
import {STARS, fromEngine} from '../alarms.js';
import {channelName, signalName, t} from '../i18n.js';
import {identifiers} from '../person.js';
import {alarmText} from '../telling.js';
import {lookOf} from '../view.js';
import {drawSpark} from '../wardSpark.js';
import {holdWard, wardStore} from '../wardStore.js';
import {badge, clockTime, notCurrent, number, percent, provenanceWord, sourceWord, span} from '../words.js';

function WardRow({id, current}) {
  const [, draw] = useReducer((n) => n + 1, 0);
  const item = useRef(null);
  useEffect(() => {
    let visible = true;
    let missed = false;
    const seen = new IntersectionObserver(([entry]) => {
      visible = entry.isIntersecting;
      if (visible && missed) draw();
    }, {rootMargin: '120px'});
    seen.observe(item.current);
    const news = () => {
      missed = !visible;
      if (visible) draw();
    };
    const outs = [holdWard(), wardStore().on(`row:${id}`, news), () => seen.disconnect()];
    return () => outs.forEach((out) => out());
  }, [id]);
  const store = wardStore();
  const row = store.rows.get(id);
  if (!row) return <li ref={item} />;
  const live = current && !row.silent;
  return (
    <li ref={item} className="eb-wrow" data-patient={id} data-live={live} data-need={row.need}
      data-locked={row.locked} data-priority={current && row.locked ? 3 : current && row.alarm?.fresh ? row.alarm.priority : 0}>
      <p className="eb-wrow-bed">{row.card.bed}</p>
      <div className="eb-wrow-who">
        <a href={roomPath(id)} onClick={(event) => go(event, roomPath(id))}>{row.card.pseudonym}</a>
        <span>{identifiers(row.card.number, row.card.born)}</span>
      </div>
      <State row={row} now={store.now()} looks={store.looks} current={current} />
      <Sure sure={row.sure} live={live} />
      <ul className="eb-wrow-vitals" aria-label={t('ward.values')}>
        {row.channels.map((channel, i) => <Vital key={channel} look={lookOf(store.looks, channel)} name={nameOf(row, i)} vital={row.v[i]} live={live} />)}
      </ul>
      <Trace row={row} look={lookOf(store.looks, row.spark)} now={store.now()} live={live} />
      <Device row={row} now={store.now()} live={live} />
    </li>
  );
}

/** A signal's own name where the row has one channel of it, else with its part: "EMG cheek". */
function nameOf(row, i) {
  const signal = row.channels[i].split('.')[0];
  const alone = row.channels.filter((channel) => channel.split('.')[0] === signal).length === 1;
  return alone ? signalName(signal, row.labels[i]) : channelName(row.channels[i], row.labels[i]);
}

/** The alarm that counts most, or why there can be none; where the page is not `current`, that it is the last known. */
function State({row, now, looks, current}) {
  if (row.locked) {
    return (
      <p className="eb-wrow-state" data-kind="alarm" data-priority="3" data-fresh={current} role={current ? 'alert' : undefined}>
        <span className="eb-wrow-head"><b className="eb-wrow-stars" aria-hidden="true">{STARS[3]}</b> <b className="eb-wrow-word">{t('ward.priority_3')}</b></span>
        <span className="eb-wrow-text eb-wrow-long">{t('ward.locked')}</span>
      </p>
    );
  }
  if (row.silent) {
    return <p className="eb-wrow-state" data-kind="silent"><b>{t('ward.silent', {since: clockTime(row.silent[0])})}</b> <span>{t('ward.silent_means')}</span></p>;
  }
  const {alarm, audio} = row;
  const paused = audio && audio > now ? <span className="eb-wrow-audio">{t('ward.audio_paused', {left: span(audio - now)})}</span> : null;
  if (!alarm) return <p className="eb-wrow-state" data-kind="calm"><span>{t(current ? 'ward.calm' : 'ward.last_calm')}</span> {current && paused}</p>;
  const text = alarmText(fromEngine(alarm), looks);
  return (
    <p className="eb-wrow-state" data-kind="alarm" data-priority={alarm.priority} data-fresh={current && alarm.fresh > 0}>
      <span className="eb-wrow-head">
        <b className="eb-wrow-stars" aria-hidden="true">{STARS[alarm.priority]}</b> <b className="eb-wrow-word">{t(`ward.priority_${alarm.priority}`)}</b>{' '}
        {!current && <span className="eb-wrow-note">{t('ward.last_known')}</span>}{' '}
        {alarm.acked_by && <span className="eb-wrow-note">{t('ward.acknowledged')}</span>}{' '}
        {alarm.over_s && <span className="eb-wrow-note">{t('ward.over')}</span>}{' '}
        {alarm.all > 1 && <span className="eb-wrow-note">{t('ward.more', {count: alarm.all - 1})}</span>} {current && paused}
      </span>
      <span className="eb-wrow-text" title={text}>{text}</span>
    </p>
  );
}

/** How far the body's channels may be trusted: the word and the percentage of the worst. */
function Sure({sure: [word, confidence, channel], live}) {
  const made = ['synthesised', 'predicted', 'quarantined'].includes(word);
  return (
    <p className="eb-wrow-sure" data-provenance={live ? word : 'none'} title={channel ? t('ward.worst', {channel: channelName(channel, channel)}) : ''}>
      <b>{live ? badge(word) : notCurrent()}</b> <span>{live && made ? percent(confidence) : ''}</span>
    </p>
  );
}

function Vital({look, name, vital: [value, code, sure], live}) {
  const word = provenanceWord(code);
  return (
    <li className="eb-vital" data-provenance={word} style={{'--data': look.color}}>
      <span className="eb-vital-name">{name}</span>
      <span className="eb-vital-value"><b>{number(value ?? NaN, look)}</b> <i>{look.unit}</i></span>
      <span className="eb-vital-word" title={live ? badge(word) : ''}>{live && word !== 'measured' ? t(`ward.short_${word}`) : ''}{live && [1, 2, 3].includes(code) ? ` ${percent(sure / 100)}` : ''}</span>
    </li>
  );
}

function Trace({row, look, now, live}) {
  const canvas = useRef(null);
  useEffect(() => { drawSpark(canvas.current, row.points, now, look.color, look.minSpan, live); });
  return (
    <div className="eb-wrow-trace">
      <canvas ref={canvas} role="img" aria-label={row.spark ? t('ward.trace', {channel: channelName(row.spark, row.labels[0])}) : t('ward.trace_none')} />
    </div>
  );
}

/** Who measures, since when, and what the readings are. */
function Device({row: {device: [word, out], frame_s: frame, source}, now, live}) {
  const said = source.map((name) => sourceWord(name)).join(' + ') || t(word === 'none' ? 'ward.device_none' : 'ward.device_waiting');
  const fault = {unplugged: t('ward.unplugged', {count: out}), quiet: t('ward.quiet')}[live ? word : ''];
  return (
    <p className="eb-wrow-device" data-state={live ? word : 'unknown'}>
      <b>{said}</b>
      <span>{[frame > 0 && t('ward.age', {age: span(now - frame)}), fault].filter(Boolean).join(' · ')}</span>
    </p>
  );
}

export default memo(WardRow);
