// The panel behind a shield, fetched when it is first opened: what the log says of itself, the newest records with their
// hashes, and the proof to take away. It knows no store and no catalogue: words and data come in through arguments.
import React, {useEffect, useRef, useState} from 'react';
import {Records} from './Records.js';

const AGAIN_MS = 5000;
const WHY = {400: 'range', 403: 'right', 409: 'early', 429: 'often'};

/** A dialog that lets the room go on: Escape closes it, and the focus goes back to the shield. */
export function Panel({t, clockTime, download, seen, range, close, patient, number, mark, text, whose, channel}) {
  const box = useRef(null);
  const [said, say] = useState('');
  const records = useRecords(patient);
  useEffect(() => {
    const before = document.activeElement;
    box.current.focus();
    return () => before?.isConnected && before.focus();
  }, []);
  useEffect(() => {
    const keys = (event) => { if (event.key === 'Escape') close(); };
    document.addEventListener('keydown', keys);
    return () => document.removeEventListener('keydown', keys);
  }, [close]);
  const take = async () => {
    const [from, to] = range();
    say(t('shield.taking'));
    say(await fetchProof(patient, number, from, to, download, t));
  };
  const [from, to] = range();
  return (
    <div className="eb-proof" role="dialog" aria-label={t('shield.title', {channel})} ref={box} tabIndex={-1}>
      <header>
        <h2>{t('shield.title', {channel})}</h2>
        <button type="button" className="eb-close" onClick={close}>{t('button.close')}</button>
        <p>{whose}</p>
      </header>
      <p className="eb-proof-verdict" data-shield={seen.word}>{mark}<b>{text}</b></p>
      {seen.word === 'alarm' && <Findings alarm={seen.state.alarm} t={t} clockTime={clockTime} />}
      <Facts state={seen.state ?? {}} t={t} clockTime={clockTime} />
      <Records rows={records} t={t} clockTime={clockTime} say={say} />
      <p className="eb-proof-note">{t('shield.whole', {channel})} <b>{t('shield.estimates')}</b></p>
      <footer>
        <button type="button" className="eb-proof-take" onClick={take}>{t('shield.take', {from: clockTime(from), to: clockTime(to)})}</button>
        <p>{t('shield.check')}<br /><code>everbeat verify --proof FILE --log-key KEY</code></p>
        <p className="eb-proof-said" role="status">{said}</p>
      </footer>
    </div>
  );
}

function Findings({alarm, t, clockTime}) {
  return (
    <div className="eb-proof-findings">
      <p>{t('shield.since', {time: clockTime(alarm.since_ms / 1000)})} {t('shield.banner_do')}</p>
      <ul>{alarm.findings.slice(0, 5).map((found, i) => <li key={i}><code>{found.kind}</code> {found.where}: {found.detail}</li>)}</ul>
    </div>
  );
}

function Facts({state, t, clockTime}) {
  const none = t('shield.none');
  const time = (ms) => (ms ? clockTime(ms / 1000) : none);
  const witnesses = (state.witnesses ?? []).map(({name, t_s: at}) => t('shield.witness', {name, time: clockTime(at)}));
  const rows = [
    ['upto', time(state.upto_ms)], ['size', state.size ? t('shield.leaves', {count: state.size.toLocaleString()}) : none],
    ['whole', time(state.whole_ms)], ['origin', state.origin || none],
    ['signed', state.key ? t('shield.signed_by', {name: state.key.split('+')[0], time: time(state.signed_ms)}) : none],
    ['witnessed', witnesses.join(', ') || t(state.witnesses_wanted ? 'shield.witness_silent' : 'shield.witness_none')],
    ['key', state.key ? <code>{state.key}</code> : none],
  ];
  return <dl className="eb-proof-facts">{rows.map(([name, value]) => <div key={name} data-fact={name}><dt>{t(`shield.fact.${name}`)}</dt><dd>{value}</dd></div>)}</dl>;
}

/** The newest records, asked for again while the panel is open; null: not heard yet. */
function useRecords(patient) {
  const [rows, setRows] = useState(null);
  useEffect(() => {
    let here = true;
    const ask = async () => {
      try {
        const answer = await fetch(`/data/${encodeURIComponent(patient)}/records?limit=8`);
        if (here && answer.ok) setRows((await answer.json()).records);
      } catch (error) {
        console.warn('everbeat: no records', error);
      }
    };
    ask();
    const timer = setInterval(ask, AGAIN_MS);
    return () => { here = false; clearInterval(timer); };
  }, [patient]);
  return rows;
}

/** Save the proof; returns the sentence for who pressed. */
async function fetchProof(patient, number, from, to, download, t) {
  const query = new URLSearchParams({from: from.toFixed(3), to: to.toFixed(3), number});
  try {
    const answer = await fetch(`/data/${encodeURIComponent(patient)}/proof?${query}`);
    if (!answer.ok) return t(`shield.refused.${WHY[answer.status] ?? 'other'}`);
    const name = /filename="([^"]+)"/.exec(answer.headers.get('Content-Disposition') ?? '')?.[1] ?? 'everbeat.proof.json';
    download(await answer.blob(), name);
    return t('shield.taken', {name});
  } catch {
    return t('shield.refused.other');
  }
}
