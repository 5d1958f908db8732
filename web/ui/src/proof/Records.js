// The newest records of the log, a row each, with their hashes: short, whole under pointer or focus, copied by a press.
import React from 'react';

const SHORT = 10; // hexadecimal digits

/** `rows`: newest first; null: not heard yet. */
export function Records({rows, t, clockTime, say}) {
  if (!rows?.length) return <p className="eb-proof-none" role="status">{t(rows ? 'shield.no_records' : 'shield.why.asking')}</p>;
  return (
    <table className="eb-proof-records">
      <caption>{t('shield.records')}</caption>
      <thead><tr>{['time', 'device', 'seq', 'index', 'hash', 'leaf', 'covered'].map((name) => <th key={name} scope="col">{t(`shield.head.${name}`)}</th>)}</tr></thead>
      <tbody>
        {rows.map((row) => (
          <tr key={row.index}>
            <td>{clockTime(row.t_ms / 1000)}</td><td>{row.device}</td><td>{row.seq}</td><td>{row.index}</td>
            <td><Hash what={t('shield.head.hash')} text={row.hash} t={t} say={say} /></td>
            <td><Hash what={t('shield.head.leaf')} text={row.leaf} t={t} say={say} /></td>
            <td>{row.covered ? `✓ ${t('shield.covered')}` : `… ${t('shield.soon')}`}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Hash({what, text, t, say}) {
  const copy = () => navigator.clipboard.writeText(text).then(() => say(t('shield.copied', {what})), () => say(t('shield.not_copied')));
  return (
    <button type="button" className="eb-hash" aria-label={t('shield.copy', {short: `${text.slice(0, SHORT)}…`, what, text})} onClick={copy}>
      <span>{text.slice(0, SHORT)}…</span><i aria-hidden="true">{text}</i>
    </button>
  );
}
