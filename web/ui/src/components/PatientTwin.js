// The 3D body. The viewer is twin/; this gives it the page's one view of the samples.
import React, {useEffect, useRef} from 'react';
import PropTypes from 'prop-types';
import {lazy} from '../lazy.js';
import {store} from '../store.js';
import {useStore} from './hooks.js';

/** The patient as a hologram; regions show value, provenance and uncertainty. */
function PatientTwin({id, glbUrl, setProps}) {
  const box = useRef(null);
  const viewer = useRef(null);
  const {card} = useStore('card');
  useEffect(() => {
    const reducedMotion = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const onPick = (region) => setProps?.({picked: region});
    let gone = false;
    lazy('body').then(({mountTwin}) => {
      if (gone) return;
      viewer.current = mountTwin(box.current, {glbUrl, getView: () => store().body(), onPick, labels: {}, reducedMotion});
      if (store().card) viewer.current.setPatient(measures(store().card));
    });
    return () => {
      gone = true;
      viewer.current?.dispose();
    };
  }, [glbUrl]);
  useEffect(() => { if (card) viewer.current?.setPatient(measures(card)); }, [card]);
  return <div id={id} className="eb-body" ref={box} />;
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
  /** Read only: the region that was picked last. */
  picked: PropTypes.string,
  /** Dash's way to tell callbacks. */
  setProps: PropTypes.func,
};
export default PatientTwin;
