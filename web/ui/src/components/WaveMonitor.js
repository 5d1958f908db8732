// The sweep monitor: one canvas under one row of text a channel. Text changes at ticks, the canvas at frames.
import React, {useEffect, useRef} from 'react';
import PropTypes from 'prop-types';
import {marksOf} from '../marks.js';
import {Scale} from '../scale.js';
import {store} from '../store.js';
import {Sweep} from '../sweep.js';
import {lookOf} from '../view.js';
import {badge, clockTime, notCurrent, number, percent, qualityWord, tick} from '../words.js';
import {mark, put, useStore, useTick} from './hooks.js';

const FRAME_MS = 1000 / 40; // a sweep needs no more; the 3D body does

/** Traces of all channels of a patient, swept like a bedside monitor. */
function WaveMonitor({id, seconds = 20}) {
  const s = useStore('channels', 'card');
  const box = useRef(null);
  const canvas = useRef(null);
  useEffect(() => mountSweep(store(), canvas.current, box.current, seconds), [seconds]);
  useTick((st) => box.current && writeRows(st, box.current));
  const channels = s.status?.channels ?? {};
  return (
    <div id={id} className="eb-waves" ref={box} data-moving="false">
      <canvas ref={canvas} className="eb-sweep" role="img" aria-label={`Traces of ${s.order.length} channels, ${seconds} seconds across`} />
      <div className="eb-rows">
        {s.order.map((channel) => <Row key={channel} id={channel} info={channels[channel]} look={lookOf(s.looks, channel)} />)}
      </div>
      <p className="eb-waves-stop" role="status" />
    </div>
  );
}

function Row({id, info, look}) {
  const slow = info.period_s >= 1 ? 'slow' : info.kind;
  return (
    <div className="eb-row" data-row={id} data-kind={slow} style={{'--data': look.color}}>
      <div className="eb-row-name"><b>{info.label}</b> <span>{look.unit}</span></div>
      <span className="eb-tick eb-tick-high" /><span className="eb-tick eb-tick-low" />
      <div className="eb-row-now">
        <span className="eb-row-value">–</span>
        <span className="eb-word" />
        <span className="eb-row-sure" />
      </div>
    </div>
  );
}

/** Numbers, words and ticks of every row, from the one view. */
function writeRows(s, box) {
  mark(box, 'data-moving', s.view.moving === true);
  put(box.querySelector('.eb-waves-stop'), s.view.moving || s.connection().state === 'connecting' ? '' : stopText(s));
  for (const row of box.querySelectorAll('.eb-row')) {
    const sample = s.view.samples.get(row.dataset.row);
    if (!sample) continue;
    const look = lookOf(s.looks, row.dataset.row);
    const scale = s.scales.get(row.dataset.row);
    mark(row, 'data-provenance', sample.provenance);
    put(row.querySelector('.eb-row-value'), number(sample.value, look));
    put(row.querySelector('.eb-word'), s.view.moving ? badge(sample.provenance)  : notCurrent());
    put(row.querySelector('.eb-row-sure'), besides(sample, s.view.moving ? s.status.channels[row.dataset.row] : null));
    put(row.querySelector('.eb-tick-high'), scale ? tick(scale.high, look) : '');
    put(row.querySelector('.eb-tick-low'), scale ? tick(scale.low, look) : '');
  }
}

/** Beside the word: how sure a made value is, or what spoils a measured one. */
function besides(sample, info) {
  if (['synthesised', 'predicted'].includes(sample.provenance)) return `${percent(sample.confidence)} sure`;
  return sample.provenance === 'measured' ? qualityWord(info?.quality) : '';
}

function stopText(s) {
  const line = s.connection();
  return line.state === 'silent' ? `Twin engine silent since ${clockTime(line.since)}` : `No data from the twin since ${clockTime(line.since)}`;
}

/** Drive a sweep from the store until the returned function is called. */
function mountSweep(s, canvas, box, seconds) {
  s.sweepS = seconds;
  const sweep = new Sweep(canvas, seconds);
  const layOut = () => { sweep.rows = rowsOf(s, box, sweep); sweep.repaint(); };
  const watcher = new ResizeObserver(() => { sweep.resize(); layOut(); });
  watcher.observe(canvas);
  const outs = [s.on('past', () => layOut()), s.on('channels', () => requestAnimationFrame(layOut)), s.on('tick', () => refreshMarks(s, sweep))];
  let request = 0;
  let drawn = 0;
  const loop = (now) => {
    request = requestAnimationFrame(loop);
    if (now - drawn < FRAME_MS - 2) return;
    drawn = now;
    const {t, moving} = s.frame();
    if (moving || sweep.cursor < 0) sweep.frame(t);
  };
  request = requestAnimationFrame(loop);
  return () => {
    cancelAnimationFrame(request);
    watcher.disconnect();
    outs.forEach((out) => out());
  };
}

/** What the sweep needs of each row, with its place taken from the row's element. */
function rowsOf(s, box, sweep) {
  const origin = box.getBoundingClientRect().top;
  return [...box.querySelectorAll('.eb-row')].map((element) => {
    const id = element.dataset.row;
    const info = s.status.channels[id];
    const at = element.getBoundingClientRect();
    const tight = at.height < 60;
    const row = {
      id, element, series: s.series.get(id), scale: s.scales.get(id) ?? new Scale(info.kind, 0), look: lookOf(s.looks, id),
      period: info.period_s, stepped: info.kind === 'level' && info.period_s >= 1,
      top: at.top - origin, height: at.height, padTop: tight ? 18 : 20, padBottom: tight ? 5 : 9,
    };
    return Object.assign(row, marksFor(s, row, sweep.spanS));
  });
}

function marksFor(s, row, spanS) {
  const {t} = s.view;
  const reason = reasonOf(s.events.find((e) => e.kind === 'withheld' && e.channel === row.id));
  if (!row.series || !Number.isFinite(t)) return {marks: [], reason, version: -1};
  return {marks: marksOf(row.series, t - 2 * spanS, t + 1, row.period), reason, version: row.series.version};
}

/** Why a value is withheld, in few words: the event's sentence without the channel's name and the consequence. */
const reasonOf = (event) => event?.text.replace(/^[^:]*:\s*/, '').split(/[;,]/)[0].slice(0, 48) ?? '';

/** Marks grow with the samples; one that opened or closed changes strips that are painted already. */
function refreshMarks(s, sweep) {
  for (const row of sweep.rows) {
    row.series ??= s.series.get(row.id);
    if (!row.series || row.series.version === row.version) continue;
    const before = signature(row.marks);
    Object.assign(row, marksFor(s, row, sweep.spanS));
    if (signature(row.marks) !== before) sweep.repaint();
  }
}

const signature = (marks) => marks.map((m) => `${m.kind}${m.from}${m.open ? '' : m.to}`).join();

WaveMonitor.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** Seconds across the monitor. */
  seconds: PropTypes.number,
};
export default WaveMonitor;
