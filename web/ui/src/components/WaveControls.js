// The bar over the traces: speed, freeze, calipers, snapshot, read-out.
import React from 'react';
import PropTypes from 'prop-types';
import {t} from '../i18n.js';
import {SPEEDS, paceOf} from '../traces/speed.js';

/** Buttons of the monitor; the state lies with whoever draws it. */
function WaveControls({speed, frozen, calipers, onSpeed, onFreeze, onCalipers, onSnapshot, onRead}) {
  return (
    <div className="eb-wave-bar" role="toolbar" aria-label={t('traces.controls')}>
      <select className="eb-wave-speed" aria-label={t('traces.speed')} title={t('traces.nominal')} value={speed} onChange={(e) => onSpeed(Number(e.target.value))}>
        {SPEEDS.map((mm) => <option key={mm} value={mm}>{t('traces.speed_of', {mm})}</option>)}
      </select>
      <b className="eb-frozen" role="status" title={t('traces.frozen_note')} />
      <span className="eb-wave-nominal" title={t('traces.nominal')}>{t('traces.nominal_short')}</span>
      <button type="button" className="eb-wave-freeze" aria-pressed={frozen} aria-keyshortcuts="Space" onClick={onFreeze}>{t(frozen ? 'traces.unfreeze' : 'traces.freeze')}</button>
      <button type="button" className="eb-wave-calipers" aria-pressed={calipers} aria-keyshortcuts="C" onClick={onCalipers}>{t('traces.calipers')}</button>
      <button type="button" className="eb-wave-snapshot" aria-keyshortcuts="S" onClick={onSnapshot}>{t('traces.snapshot')}</button>
      <button type="button" className="eb-wave-read" title={t('traces.read_title')} onClick={onRead}>{t('traces.read')}</button>
    </div>
  );
}

/** "25 mm/s · 1 s a line": how fast a band is swept. */
export function paceText(band, speed) {
  const {mm, gridS} = paceOf(band, speed);
  return `${t('traces.speed_of', {mm})} · ${t('traces.grid', {s: gridS})}`;
}

WaveControls.propTypes = {
  /** mm/s of the waves. */
  speed: PropTypes.number.isRequired,
  frozen: PropTypes.bool.isRequired,
  calipers: PropTypes.bool.isRequired,
  onSpeed: PropTypes.func.isRequired,
  onFreeze: PropTypes.func.isRequired,
  onCalipers: PropTypes.func.isRequired,
  onSnapshot: PropTypes.func.isRequired,
  onRead: PropTypes.func.isRequired,
};
export default WaveControls;
