// The replay of one patient: an overview of what is stored, charts of a window, the values of one moment, and what was
// learnt later. Numbers come from whole samples (replay/past.js); charts and overview are drawn by the lazy bundle.
import React, {useEffect, useReducer, useRef} from 'react';
import PropTypes from 'prop-types';
import {channelName, t} from '../i18n.js';
import {shownNumber} from '../person.js';
import {Controls} from '../replay/Controls.js';
import {Desk} from '../replay/desk.js';
import {Later} from '../replay/Later.js';
import {Rows, Values} from '../replay/Rows.js';
import {gapAt} from '../replay/story.js';
import {badge, clockTime, number} from '../words.js';
import {useStore, whileSeen} from './hooks.js';

/** Replay of the stored history of the page's patient. */
function Timeline({id}) {
  const s = useStore('card');
  const {card} = s;
  return (
    <div id={id} className="eb-timeline">
      {card ? <Replay key={card.id} store={s} number={shownNumber(card)} /> : <p className="eb-waiting" role="status">{t('patient.finding')}</p>}
    </div>
  );
}

function Replay({store, number: record}) {
  const [, render] = useReducer((n) => n + 1, 0);
  const desk = useRef(null);
  const [over, charts, head] = [useRef(null), useRef(null), useRef(null)];
  desk.current ??= new Desk(store, record, render);
  useEffect(() => desk.current.mount({over: over.current, charts: charts.current, head: head.current}), []);
  useEffect(() => desk.current.drawn());
  const d = desk.current;
  const {model, rows} = d;
  const chosen = rows.find((row) => row.id === d.chosen) ?? rows[0];
  return (
    <>
      <Controls model={model} past={d.past} jump={d.jump} can={d.can} />
      {d.trouble && <p className="eb-trouble" role="alert">{d.trouble} <button type="button" data-do="retry" onClick={d.retry}>{t('replay.retry')}</button></p>}
      {d.empty && <p className="eb-nothing" role="status">{t('replay.empty')}</p>}
      <section className="eb-over eb-panel" aria-label={t('replay.overview')} hidden={d.empty}>
        <div className="eb-over-box" ref={over}>
          <canvas role="img" aria-label={d.overviewText()} />
          <div className="eb-over-window" aria-hidden="true"><i /></div>
        </div>
        <p className="eb-over-key"><span>{clockTime(d.extent[0])}</span><Key /><span>{clockTime(d.extent[1])}</span></p>
        <input className="eb-scrub" type="range" aria-label={t('replay.scrub')} aria-valuetext={clockTime(model.t)} min={model.t0} max={model.t1} step="0.1"
          value={model.t} onChange={(event) => model.go(Number(event.target.value))} />
      </section>
      <div className="eb-replay-main" hidden={d.empty}>
        <section className="eb-charts eb-panel" aria-label={t('replay.charts')} ref={charts}>
          <Rows rows={rows} chosen={chosen?.id} onChoose={d.choose} />
          <div className="eb-head" ref={head} aria-hidden="true"><b>{clockTime(model.t)}</b></div>
          {d.loading && <p className="eb-charts-wait" role="status">{t('replay.loading')}</p>}
        </section>
        {chosen && <Later channel={chosen.id} meta={chosen.meta} look={chosen.look} at={d.thenAndLater(chosen.id)} gap={gapAt(d.story, chosen.id, model.t)} scores={d.scores} />}
      </div>
      <section className="eb-values" aria-label={t('replay.values', {time: clockTime(model.t)})} hidden={d.empty}>
        <Values rows={rows} samples={d.samples(model.view, model.t)} chosen={chosen?.id} onChoose={d.choose} />
      </section>
      {d.hover && <Tip hover={d.hover} row={rows.find((row) => row.id === d.hover.channel)} sample={d.samples(model.view, d.hover.t).get(d.hover.channel)} />}
    </>
  );
}

/** What the marks of the overview mean, with the shapes they have. */
function Key() {
  return (
    <span className="eb-key">
      {[['▲', 'alarm'], ['◆', 'threat'], ['●', 'command'], ['▬', 'gap']].map(([shape, kind]) => <span key={kind} data-mark={kind}><i aria-hidden="true">{shape}</i> {t(`replay.key_${kind}`)}</span>)}
      {['measured', 'synthesised', 'quarantined', 'withheld', 'late', 'unread'].map((kind) => <span key={kind}><i className="eb-swatch" data-swatch={kind} aria-hidden="true" /> {t(`replay.key_${kind}`)}</span>)}
    </span>
  );
}

function Tip({hover, row, sample}) {
  if (!row || !sample) return null;
  return (
    <div className="eb-tip" role="tooltip" data-tip={hover.channel} data-value={Number.isFinite(sample.value) ? sample.value : ''} style={{left: hover.x, top: hover.y}}>
      <b>{channelName(row.id, row.meta.label)}</b> {clockTime(hover.t)}<br />
      {number(sample.value, row.look)} {row.look.unit} · {badge(sample.provenance)}
    </div>
  );
}

Timeline.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default whileSeen(Timeline);
