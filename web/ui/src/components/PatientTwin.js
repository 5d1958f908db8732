// The 3D body. The viewer is twin/; this gives it the page's one view of the samples, and shows what is picked on it.
import React, {useEffect, useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {area, language, t} from '../i18n.js';
import {lazy} from '../lazy.js';
import {useStore, whileSeen} from './hooks.js';
import RegionCard from './RegionCard.js';

const poses = new Map(); // patient -> where the camera stood when the room was left: one comes back to the same view

/** The patient as a hologram; regions and organs show value, provenance and uncertainty, and can be picked. */
function PatientTwin({id, glbUrl, setProps}) {
  const box = useRef(null);
  const viewer = useRef(null);
  const s = useStore('card', 'picked');
  const {card, picked, patient} = s;
  const [missing, setMissing] = useState(false); // its module could not be had
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let gone = false;
    lazy('body').then(({mountTwin}) => {
      if (gone) return;
      viewer.current = mountTwin(box.current, {
        glbUrl, getView: () => s.body(), onPick: (place) => s.pick(place), labels: area('body'), pose: poses.get(patient),
      });
      if (s.card) viewer.current.setPatient(measures(s.card));
      viewer.current.setPicked(s.picked?.region ?? null);
    }).catch((error) => {
      console.warn('everbeat: the body was not loaded', error);
      if (!gone) setMissing(true);
    });
    return () => {
      gone = true;
      const pose = viewer.current?.pose();
      if (pose) poses.set(patient, pose);
      viewer.current?.dispose();
      viewer.current = null;
    };
  }, [glbUrl, language(), tries]);
  useEffect(() => { if (card) viewer.current?.setPatient(measures(card)); }, [card]);
  useEffect(() => {
    viewer.current?.setPicked(picked?.region ?? null);
    highlight(picked?.channels ?? []);
    setProps?.({picked});
    return () => highlight([]);
  }, [picked]);
  const close = () => {
    box.current?.querySelector(`[data-region="${picked?.region}"]`)?.focus();
    s.pick(null);
  };
  const onKeyDown = (event) => {
    if (event.key !== 'Escape' || !picked) return;
    event.stopPropagation();
    close();
  };
  return (
    <div className="eb-body-place" onKeyDown={onKeyDown}>
      <div id={id} className="eb-body" ref={box} />
      {missing && <Missing retry={() => { setMissing(false); setTries(tries + 1); }} />}
      {picked && <RegionCard key={picked.region} place={picked.region} channels={picked.channels} onClose={close} />}
    </div>
  );
}

/** Instead of the body: everything it shows stands in the tiles, too. */
const Missing = ({retry}) => (
  <div className="eb-body-missing" role="alert">
    <p>{t('body.unavailable')}</p>
    <button type="button" onClick={retry}>{t('body.retry')}</button>
  </div>
);

/** Marks the tiles and traces of these channels on the page, and brings the first tile into sight. */
function highlight(channels) {
  const wanted = new Set(channels);
  document.querySelectorAll('[data-tile], [data-row]').forEach((node) => {
    if (wanted.has(node.dataset.tile ?? node.dataset.row)) node.setAttribute('data-picked', 'true');
    else node.removeAttribute('data-picked');
  });
  document.querySelector('[data-tile][data-picked]')?.scrollIntoView({block: 'nearest', inline: 'nearest'});
}

/** What the body is shaped by; what is not known takes the viewer's default. */
function measures(card) {
  const age = card.birth_year ? new Date().getFullYear() - card.birth_year : undefined;
  return {sex: card.sex === 'unknown' ? undefined : card.sex, age, heightCm: card.height_cm, weightKg: card.weight_kg};
}

PatientTwin.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
  /** URL of the baked body. */
  glbUrl: PropTypes.string.isRequired,
  /** Read only: what was picked last, {region, channels}; null where nothing is. */
  picked: PropTypes.object,
  /** Dash's way to tell callbacks. */
  setProps: PropTypes.func,
};
export default whileSeen(PatientTwin);
