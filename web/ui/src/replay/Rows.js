// A row a channel: its name, its chart's place and its number at the moment. The charts themselves are drawn by the
// timeline bundle into the places.
import React from 'react';
import {channelName, t} from '../i18n.js';
import {shown} from '../view.js';

/** @param {{rows: [{id, meta, look}], chosen, onChoose(id)}} props */
export function Rows({rows, chosen, onChoose}) {
  return rows.map(({id, meta, look}, i) => (
    <div key={id} className="eb-chart" data-chart={id} data-last={i === rows.length - 1} data-chosen={id === chosen} style={{'--data': look.color}}>
      <button type="button" className="eb-chart-name" aria-pressed={id === chosen} onClick={() => onChoose(id)}>{channelName(id, meta.label)} <span>{look.unit}</span></button>
      <div className="eb-chart-plot" role="img" aria-label={t('replay.chart', {channel: channelName(id, meta.label)})} />
    </div>
  ));
}

/** The values of the moment in the chosen view, by the same functions as the room's tiles. */
export function Values({rows, samples, chosen, onChoose}) {
  return rows.map(({id, meta, look}) => {
    const sample = samples.get(id);
    const said = sample ? shown(sample, look) : {value: '…', word: '', range: ''};
    return (
      <button type="button" key={id} className="eb-then" data-then={id} data-provenance={sample?.provenance ?? 'none'} data-chosen={id === chosen}
        data-value={Number.isFinite(sample?.value) ? sample.value : ''} data-at={Number.isFinite(sample?.t) ? sample.t : ''} style={{'--data': look.color}} onClick={() => onChoose(id)}>
        <span className="eb-then-name">{channelName(id, meta.label)}</span>
        <span className="eb-then-main"><b>{said.value}</b> <i>{look.unit}</i></span>
        <span className="eb-then-word">{said.word}{sample?.revised ? ` · ${t('replay.revised')}` : ''}</span>
        <span className="eb-then-sure">{said.range && `${said.range} · ${said.sure}`}</span>
      </button>
    );
  });
}
