// The ward: a toolbar (how many need somebody, search, order) and a row for each patient. Rows listen for their own
// news; the list is drawn anew only where somebody came, left or moved to another category, and never under a pointer
// that is about to press.
import React, {useEffect, useMemo, useReducer, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {go} from '../address.js';
import {STARS} from '../alarms.js';
import {t} from '../i18n.js';
import {loudest, wanted} from '../sound.js';
import {arrange, count} from '../wardOrder.js';
import {holdWard, wardStore} from '../wardStore.js';
import {clockTime} from '../words.js';
import {keepSheet} from './Downtime.js';
import Sound from './Sound.js';
import WardRow from './WardRow.js';

const CALM_MS = 1200; // rows keep their places while a pointer moves over them, and this much longer
const PATIENCE_MS = 5000; // but no longer than this

/** Every patient at a glance. */
function WardBoard({id}) {
  const [by, setBy] = useState('need');
  const [wanted, setWanted] = useState('');
  const list = useRef(null);
  const version = useRows(list);
  const [line, hush] = useLine();
  useEffect(() => keepSheet(), []);
  const store = wardStore();
  const rows = useMemo(() => arrange(store.rows.values(), by, wanted), [version, by, wanted]);
  return (
    <div id={id} className="eb-ward" data-line={line.state} data-rows={rows.length}>
      <div className="eb-ward-tools">
        <h1>{t('ward.title')}</h1>
        <Counts sum={count(store.rows.values())} known={store.known} />
        <label className="eb-search"><span>{t('ward.search')}</span>
          <input type="search" value={wanted} maxLength={60} placeholder={t('ward.search_hint')} onChange={(e) => setWanted(e.target.value)} />
        </label>
        <span className="eb-heard"><Sound id={`${id}-sound`} wish={wish} heard={(listener) => wardStore().on('news', listener)} /></span>
        <div className="eb-order" role="group" aria-label={t('ward.order')}>
          {['need', 'bed'].map((name) => (
            <button key={name} type="button" aria-pressed={by === name} onClick={() => setBy(name)}>{t(`ward.by_${name}`)}</button>
          ))}
        </div>
      </div>
      <div role="alert" className="eb-ward-stop">
        {line.state === 'down' && <p>{t('ward.down', {since: clockTime(line.since)})}</p>}
        {line.state === 'down' && <a href="/downtime">{t('downtime.sheet')}</a>}
        {line.state === 'down' && !line.heard && <button type="button" className="eb-quiet" onClick={hush}>{t('alarms.ack')}</button>}
      </div>
      <ol className="eb-ward-list" ref={list} aria-label={t('ward.list')} onKeyDown={walk}>
        {rows.map((row) => <WardRow key={row.id} id={row.id} current={line.state !== 'down'} alarm={row.alarm} silent={row.silent} />)}
      </ol>
      {!rows.length && <Nobody known={store.known} wanted={wanted} clear={() => setWanted('')} />}
    </div>
  );
}

function Counts({sum, known}) {
  if (!known) return <p className="eb-ward-counts" role="status">{t('ward.loading')}</p>;
  return (
    <p className="eb-ward-counts" role="status">
      <span>{t(sum.all === 1 ? 'ward.patient' : 'ward.patients', {count: sum.all})}</span>
      {[3, 2, 1].filter((p) => sum[p]).map((p) => (
        <span key={p} className="eb-chip" data-priority={p}><b aria-hidden="true">{STARS[p]}</b> {sum[p]} <i>{t(`ward.priority_${p}`)}</i></span>
      ))}
      {sum.silent > 0 && <span className="eb-chip" data-priority="silent">{t('ward.silent_count', {count: sum.silent})}</span>}
    </p>
  );
}

function Nobody({known, wanted, clear}) {
  if (!known) return null;
  if (wanted) {
    return <div className="eb-ward-empty"><h2>{t('ward.no_match', {wanted})}</h2><p><button type="button" className="eb-quiet" onClick={clear}>{t('ward.clear')}</button></p></div>;
  }
  return (
    <div className="eb-ward-empty">
      <h2>{t('ward.empty')}</h2>
      <p>{t('ward.empty_do')}</p>
      <p><a className="eb-do" href="/patients" onClick={(event) => go(event, '/patients')}>{t('ward.empty_go')}</a></p>
    </div>
  );
}

/** Grows when the list must be drawn anew. While a pointer moves over the list, that waits a little. */
function useRows(list) {
  const [version, grow] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    let moved = 0;
    let timer = 0;
    let since = 0;
    const busy = () => { moved = performance.now(); };
    const draw = () => {
      const now = performance.now();
      since ||= now;
      clearTimeout(timer);
      if (wardStore().rows.size && now - moved < CALM_MS && now - since < PATIENCE_MS) timer = setTimeout(draw, CALM_MS);
      else {
        since = 0;
        grow();
      }
    };
    const node = list.current;
    node.addEventListener('pointermove', busy, {passive: true});
    const outs = [holdWard(), wardStore().on('list', draw), () => clearTimeout(timer), () => node.removeEventListener('pointermove', busy)];
    grow(); // what came between drawing and listening
    return () => outs.forEach((out) => out());
  }, []);
  return version;
}

/** [whether the page is current, looked at once a second; how a person says that she knows it is not]. */
function useLine() {
  const [line, setLine] = useState({state: 'connecting', since: NaN, heard: false});
  useEffect(() => wardStore().on('tick', () => {
    const now = wardStore().connection();
    setLine((old) => (old.state === now.state ? old : {...now, heard: false}));
    if (now.state !== 'down') wardStore().hushed = false;
  }), []);
  const hush = () => {
    wardStore().hushed = true;
    setLine((old) => ({...old, heard: true}));
  };
  return [line, hush];
}

/** What the ward wants to be heard: its loudest patient; of a lost line, that, until somebody has said she knows. */
function wish() {
  const s = wardStore();
  if (s.connection().state === 'down') return {priority: s.hushed ? 0 : 3, why: s.hushed ? 'acknowledged' : 'sounding', left: 0};
  const now = s.now();
  return loudest([...s.rows.values()].map(({alarm, audio}) => wanted(
    alarm ? [{priority: alarm.priority, ackedBy: alarm.fresh ? '' : alarm.acked_by}] : [], {paused_until_s: audio}, now)));
}

/** Arrow keys walk from row to row. */
function walk(event) {
  const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
  const links = [...event.currentTarget.querySelectorAll('a')];
  const next = links[links.indexOf(document.activeElement) + step];
  if (!step || !next) return;
  event.preventDefault();
  next.focus();
}

WardBoard.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default WardBoard;
