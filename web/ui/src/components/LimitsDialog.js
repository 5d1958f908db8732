// The alarm limits of one signal: what they are, what the default is, what a change will do, and the change itself.
// A modal dialog of the browser: the focus stays in it, Escape closes it.
import React, {useEffect, useId, useReducer, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {act} from '../acts.js';
import {signalName, t} from '../i18n.js';
import {BOUNDS, bodyOf, formOf, meaning, numberOf, signature} from '../limits.js';
import {identity} from '../person.js';
import {lookOf} from '../view.js';
import {useStore} from './hooks.js';

/** Edit, reset or switch off the limits of `channel`'s signal. */
function LimitsDialog({channel, close}) {
  const s = useStore('card');
  const signal = channel.split('.')[0];
  const look = lookOf(s.looks, channel);
  const limits = s.card?.limits?.[signal];
  const box = useRef(null);
  const [whose] = useState(s.whose); // who stood here when it was opened: all that is sent goes to her
  const [form, setForm] = useState(() => formOf(limits, look));
  const [note, setNote] = useState({text: '', bad: false});
  const [busy, setBusy] = useState(false);
  const [changed, showNew] = useChanged(limits);
  const again = () => { showNew(); setForm(formOf(limits, look)); setNote({text: '', bad: false}); };
  useEffect(() => { if (!box.current.open) box.current.showModal(); }, []);
  const send = async (body) => {
    if (changed.now()) return setNote({text: t('limits.changed'), bad: true});
    setBusy(true);
    changed.expect(body.reset ? limits?.usual : body);
    const {ok, error} = await act('limits', body, whose);
    setBusy(false);
    if (!ok) changed.expect(undefined);
    return setNote({text: ok ? t('limits.sent') : error, bad: !ok});
  };
  const submit = (event) => {
    event.preventDefault();
    const {body, error} = bodyOf(signal, form, look);
    if (error) setNote({text: error, bad: true});
    else send(body);
  };
  const name = signalName(signal, look.label);
  return (
    <dialog className="eb-limits" ref={box} aria-label={t('limits.title', {name})} onClose={close}>
      <form onSubmit={submit} noValidate>
        <h2>{t('limits.title', {name})}</h2>
        {s.card && <p className="eb-alarm-whose">{t('alarms.for', {who: `${s.card.pseudonym} · ${identity(s.card)}`})}</p>}
        <p className="eb-limits-state">{t(`limits.${limits ? (limits.default ? 'is_default' : 'is_own') : 'is_none'}`)} {look.unit && t('limits.unit', {unit: look.unit})}</p>
        <Fields form={form} setForm={setForm} usual={limits?.usual} look={look} />
        <section className="eb-limits-means" aria-live="polite">
          <h3>{t('limits.means')}</h3>
          {meaning(form).map((line) => <p key={line}>{line}</p>)}
        </section>
        <p className="eb-limits-note" role="status" data-bad={note.bad || changed.seen}>{changed.seen ? t('limits.changed') : note.text}</p>
        {changed.seen && <p><button type="button" className="eb-limits-again" onClick={again}>{t('limits.look_again')}</button></p>}
        <div className="eb-limits-acts">
          <button type="button" onClick={() => send({signal, reset: true})} disabled={busy || !limits || limits.default}>{t('limits.reset')}</button>
          <button type="button" onClick={() => box.current.close()}>{t('button.close')}</button>
          <button type="submit" className="eb-primary" disabled={busy}>{t(busy ? 'alarms.sending' : 'button.save')}</button>
        </div>
      </form>
    </dialog>
  );
}

/** Whether the limits have become others than those that stood here, and than those sent from here; and the way to take
 * them as seen. `limits` are the record's now. */
function useChanged(limits) {
  const known = useRef({stood: signature(limits), sent: undefined});
  const [, draw] = useReducer((n) => n + 1, 0);
  const current = signature(limits);
  if (current === known.current.sent) known.current = {stood: current, sent: undefined};
  const newest = useRef(current);
  newest.current = current;
  const now = () => newest.current !== known.current.stood;
  const expect = (sent) => { known.current.sent = sent && signature(sent); };
  return [{seen: now(), now, expect}, () => { known.current = {stood: newest.current, sent: undefined}; draw(); }];
}

function Fields({form, setForm, usual, look}) {
  const own = useId();
  const set = (name) => (event) => setForm({...form, [name]: event.target.type === 'checkbox' ? event.target.checked : event.target.value});
  const standard = formOf(usual, look);
  return (
    <div className="eb-limits-fields">
      {[...BOUNDS, 'delay_s'].map((name) => (
        <div key={name} data-field={name}>
          <label htmlFor={`${own}-${name}`}>{t(`limits.${name}`)}</label>
          <input id={`${own}-${name}`} name={name} type="text" inputMode="decimal" autoComplete="off" maxLength={16} value={form[name]} onChange={set(name)} aria-invalid={Number.isNaN(numberOf(form[name]))} aria-describedby={`${own}-${name}-usual`} />
          <span id={`${own}-${name}-usual`}>{usual ? t('limits.default', {value: standard[name] || t('limits.none_value')}) : t(name === 'delay_s' ? 'limits.delay_range' : 'limits.empty')}</span>
        </div>
      ))}
      <label className="eb-limits-on"><input type="checkbox" name="on" checked={form.on} onChange={set('on')} /> {t('limits.on')}</label>
    </div>
  );
}

LimitsDialog.propTypes = {
  /** Channel id, such as "hr_bpm". */
  channel: PropTypes.string.isRequired,
  /** Called once it is closed. */
  close: PropTypes.func.isRequired,
};
export default LimitsDialog;
