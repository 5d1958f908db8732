// The sweep monitor of a room: controls, traces, rows of words, cursors. React keeps what a person has chosen; what
// moves is written by traces/monitor.js (canvas, at frames) and at ticks (words, cursors).
import React, {useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {causeOf} from '../alarms.js';
import {version} from '../../package-lock.json';
import {channelName, t} from '../i18n.js';
import {Cursors} from '../traces/cursors.js';
import {Monitor} from '../traces/monitor.js';
import {exactTime} from '../traces/probe.js';
import {summaryRow} from '../traces/readout.js';
import {download, snapshot} from '../traces/snapshot.js';
import {DEFAULT_SPEED} from '../traces/speed.js';
import {lookOf} from '../view.js';
import {clockTime} from '../words.js';
import {ShieldAlarm, ShieldPanel, useShield} from './Shield.js';
import WaveControls from './WaveControls.js';
import WaveRows, {writeRows} from './WaveRows.js';
import {mark, put, useStore, useTick, whileSeen} from './hooks.js';

const LEAST_PROOF_S = 60;

/** Traces of all channels of a patient, swept like a bedside monitor. */
function WaveMonitor({id}) {
  const s = useStore('channels', 'card');
  const box = useRef(null);
  const [monitor, cursors] = useMonitor(s, box);
  useLayoutEffect(() => monitor.current?.layOut(), [s.order.join()]); // as soon as the rows stand there, and not before
  const seen = useShield(s);
  const [proven, prove] = useState(''); // the channel whose proof is open
  const closeProof = useCallback(() => prove(''), []);
  const [, render] = useReducer((n) => n + 1, 0);
  useTick((st) => box.current && monitor.current && write(st, box.current, monitor.current, cursors.current));
  const after = (act) => { act(); render(); if (monitor.current) write(s, box.current, monitor.current, cursors.current); };
  const acts = {
    speed: (mm) => after(() => monitor.current?.setSpeed(mm)),
    gain: (channel, gain) => after(() => monitor.current?.setGain(channel, gain)),
    freeze: () => after(() => monitor.current?.freeze()),
    clear: () => after(() => cursors.current?.clear()),
    calipers: () => after(() => cursors.current?.toggleCalipers()),
    snapshot: () => monitor.current && save(monitor.current, box.current),
    read: () => say(box.current, summary(s)),
  };
  const speed = monitor.current?.speed ?? DEFAULT_SPEED;
  return (
    <div id={id} className="eb-waves" ref={box} data-moving="false" data-frozen="false">
      <WaveControls speed={speed} frozen={Boolean(monitor.current?.frozen)} calipers={Boolean(cursors.current?.calipers)}
        onSpeed={acts.speed} onFreeze={acts.freeze} onCalipers={acts.calipers} onSnapshot={acts.snapshot} onRead={acts.read} />
      <ShieldAlarm seen={seen} onOpen={() => prove(s.order[0] ?? '')} />
      <p className="eb-calipers" hidden />
      <div className="eb-wave-stage" tabIndex={0} role="application" aria-label={t('traces.label', {count: s.order.length})}
        aria-describedby={`${id}-keys`} {...pointerOf(cursors)} onKeyDown={(e) => onKey(e, acts, cursors)}>
        <canvas className="eb-sweep" />
        <WaveRows order={s.order} channels={s.status?.channels ?? {}} looks={s.looks} speed={speed}
          gainOf={(channel) => monitor.current?.gains.of(channel) ?? 'auto'} onGain={acts.gain} seen={seen} onShield={prove} />
        <Layer />
        <span className="eb-now-live">{t('traces.live')}</span>
        <p className="eb-waves-stop" role="status" />
      </div>
      {proven && <ShieldPanel store={s} channel={proven} seen={seen} range={() => onScreen(s, proven, monitor.current)} close={closeProof} />}
      <p id={`${id}-keys`} hidden>{t('traces.keys')}</p>
      <div className="eb-said" role="status" aria-live="polite" />
    </div>
  );
}

/** [from, to] of a channel's trace as it stands on screen, Unix s; at least a minute: the last seconds are not signed yet. */
function onScreen(s, channel, monitor) {
  const to = monitor?.frozen?.t ?? s.view.t;
  return [to - Math.max(s.sweepOf(channel), LEAST_PROOF_S), to];
}

/** Where crosshair and calipers are placed. */
const Layer = () => (
  <div className="eb-cursors" aria-hidden="true">
    {['fast', 'slow'].flatMap((band) => ['hover', 'a', 'b'].map((name) => <i key={band + name} data-cursor={name} data-band={band} hidden />))}
    <div className="eb-tip" hidden />
  </div>
);

/** The monitor and its cursors for as long as the component lives. */
function useMonitor(s, box) {
  const monitor = useRef(null);
  const cursors = useRef(null);
  useEffect(() => {
    const find = (name) => box.current.querySelector(name);
    monitor.current = new Monitor(s, find('.eb-wave-stage'));
    cursors.current = new Cursors(monitor.current, {layer: find('.eb-cursors'), tip: find('.eb-tip'), line: find('.eb-calipers'), said: find('.eb-said')});
    monitor.current.onLayout = () => cursors.current.show();
    return monitor.current.start();
  }, []);
  return [monitor, cursors];
}

const pointerOf = (cursors) => ({
  onPointerMove: (e) => cursors.current?.move(e),
  onPointerDown: (e) => cursors.current?.press(e),
  onPointerUp: () => cursors.current?.release(),
  onPointerLeave: () => cursors.current?.leave(),
});

function onKey(event, acts, cursors) {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {' ': acts.freeze, c: acts.calipers, s: acts.snapshot}[event.key.toLowerCase()];
  if (act) act();
  else if (event.key === 'Escape') acts.clear();
  if (act || event.key === 'Escape' || cursors.current?.key(event)) event.preventDefault();
}

/** Everything that is words, at a tick. */
function write(s, box, monitor, cursors) {
  mark(box, 'data-moving', s.view.moving === true);
  mark(box, 'data-frozen', Boolean(monitor.frozen));
  mark(box, 'data-at', monitor.frozen?.t ?? '');
  put(box.querySelector('.eb-frozen'), monitor.frozen ? t('traces.frozen', {time: clockTime(monitor.frozen.t)}) : '');
  put(box.querySelector('.eb-waves-stop'), s.view.moving || s.connection().state === 'connecting' ? '' : stopText(s));
  const ranges = new Map(monitor.rows.map((row) => [row.id, row.range]));
  writeRows(s, box, (channel) => ranges.get(channel));
  cursors.show();
}

function stopText(s) {
  const line = s.connection();
  const key = {silent: causeOf(line.why) === 'locked' ? 'traces.stopped' : 'traces.stopped_silent', discharged: 'traces.stopped_discharged'}[line.state] ?? 'traces.stopped';
  return t(key, {time: clockTime(line.since)});
}

/** The traces in words, for whoever can't see them. */
const summary = (s) => [
  t('traces.summary_time', {time: exactTime(s.view.t)}),
  ...s.order.map((channel) => summaryRow(channelName(channel, s.status.channels[channel].label), s.view.samples.get(channel), lookOf(s.looks, channel))),
];

function say(box, texts) {
  box.querySelector('.eb-said').replaceChildren(...texts.map((text) => Object.assign(document.createElement('p'), {textContent: text})));
}

async function save(monitor, box) {
  try {
    const {blob, name} = await snapshot(monitor, version);
    download(blob, name);
    say(box, [t('traces.png_saved', {name})]);
  } catch (error) {
    console.warn('everbeat: no snapshot', error);
    say(box, [t('traces.png_failed')]);
  }
}

WaveMonitor.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default whileSeen(WaveMonitor);
