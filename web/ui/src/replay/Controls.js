// The replay's controls: play and speed, steps, jumps, how much is shown, and what can be taken away.
import React from 'react';
import {go, roomPath} from '../address.js';
import {t} from '../i18n.js';
import {SPANS, SPEEDS} from './model.js';

export const JUMPS = {gap: 'g', alarm: 'a', threat: 't'};

/** @param {{model, past, jump(kind, back), can(kind, back): boolean}} props */
export function Controls({model, past, jump, can}) {
  return (
    <div className="eb-controls" role="group" aria-label={t('replay.controls')}>
      <div className="eb-control">
        <Button name="back10" text="−10 s" onClick={() => model.go(model.t - 10)} />
        <Button name="back1" text="−1 s" onClick={() => model.go(model.t - 1)} />
        <button type="button" className="eb-play" data-do="play" aria-label={t(model.playing ? 'replay.pause' : 'replay.play')} title={t('replay.play_key')} onClick={() => model.play()}>
          <span aria-hidden="true">{model.playing ? '❚❚' : '▶'}</span> {t(model.playing ? 'replay.pause' : 'replay.play')}
        </button>
        <Button name="forward1" text="+1 s" onClick={() => model.go(model.t + 1)} />
        <Button name="forward10" text="+10 s" onClick={() => model.go(model.t + 10)} />
        <Choice label={t('replay.speed')} value={model.speed} options={SPEEDS.map((s) => [s, `${s}×`])} onChange={(s) => { model.speed = s; model.say('play'); }} />
      </div>
      <div className="eb-control">
        {Object.entries(JUMPS).map(([kind, key]) => (
          <span key={kind} className="eb-jump" role="group" aria-label={t(`replay.jump_${kind}`)}>
            <Button name={`${kind}-back`} text="◀" disabled={!can(kind, true)} title={`⇧${key.toUpperCase()}`} onClick={() => jump(kind, true)} />
            <i aria-hidden="true">{t(`replay.jump_${kind}`)}</i>
            <Button name={`${kind}-on`} text="▶" disabled={!can(kind, false)} title={key.toUpperCase()} onClick={() => jump(kind, false)} />
          </span>
        ))}
      </div>
      <div className="eb-control" role="group" aria-label={t('replay.span')}>
        {SPANS.map((s) => <button type="button" key={s} data-span={s} aria-pressed={Math.abs(model.span - s) < 1} onClick={() => model.zoom(s)}>{s < 3600 ? `${s / 60} min` : `${s / 3600} h`}</button>)}
      </div>
      <Choice label={t('replay.view')} value={model.view} options={[['live', t('replay.view_live')], ['best', t('replay.view_best')]]} onChange={(view) => { model.view = view; model.say('view'); }} />
      <div className="eb-control eb-take">
        <a data-do="export" href={past.address('export.csv', away(model))} download>{t('replay.export')}</a>
        <a data-do="report" href={past.address('report', away(model))} target="_blank" rel="noopener">{t('replay.report')}</a>
        <a data-do="live" className="eb-live-link" href={roomPath(past.patient)} onClick={(event) => go(event, roomPath(past.patient))}>{t('replay.to_live')}</a>
      </div>
    </div>
  );
}

/** What is taken away: the visible range in the chosen view; times in the viewer's zone. */
const away = (model) => ({
  from: model.t0.toFixed(3), to: model.t1.toFixed(3), view: model.view, zone: Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC',
});

function Button({name, text, title, ...rest}) {
  return <button type="button" data-do={name} aria-label={t(`replay.do_${name}`)} title={title ?? t(`replay.do_${name}`)} {...rest}>{text}</button>;
}

function Choice({label, value, options, onChange}) {
  return (
    <label className="eb-choice">{label}
      <select value={value} onChange={(event) => onChange(options[event.target.selectedIndex][0])}>
        {options.map(([key, text]) => <option key={key} value={key}>{text}</option>)}
      </select>
    </label>
  );
}
