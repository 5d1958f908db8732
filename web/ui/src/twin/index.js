// The patient's body in a dark room. `mountTwin` fills an element with it and asks the page, once a frame, what to show.
//
// The view: { regions: {cheek|brow|forearm|palm|wrist|finger|chest|head: {provenance: 'measured'|'synthesised'|
// 'predicted'|'quarantined'|'withheld'|'none', confidence: 0..1, activity: 0..1, label, text, provenanceText, color}},
// heartRate, breathRate: per minute or null, heartIllustrative, breathIllustrative: true where no such signal is
// measured, air: one such word, or several by name }. Nothing here judges values; nothing here talks to a server but
// for the avatar's file. The root's `data-state` says loading, live, lost (graphics being restored) or flat (no WebGL).

import { Flat } from './flat.js';
import { probe } from './quality.js';
import { Room } from './room.js';
import { addStyle } from './style.js';

const TITLE = 'Patient twin: a body whose regions show what is measured and what is synthesised. Arrow keys turn it.';
const NOTHING = Object.freeze({ regions: {} });

/**
 * Mounts the twin in `element`. Gives `dispose()`, `setPatient({sex, age, heightCm, weightKg})` and `screenshotReady`,
 * a promise that resolves when the body has been drawn for the first time.
 */
export function mountTwin(element, { glbUrl, getView, onPick = () => {}, labels = {}, reducedMotion } = {}) {
  const doc = element.ownerDocument;
  addStyle(doc);
  const root = doc.createElement('div');
  root.className = 'eb-twin';
  const status = doc.createElement('div');
  status.className = 'eb-status';
  status.setAttribute('role', 'status');
  root.append(status);
  element.append(root);

  const say = (state, text = '') => {
    root.dataset.state = state;
    status.textContent = text;
  };
  const can = probe(doc);
  const options = {
    glbUrl,
    labels: labels || {},
    title: labels?.title ?? TITLE,
    reducedMotion: reducedMotion ?? window.matchMedia('(prefers-reduced-motion: reduce)').matches,
  };
  const hooks = { getView: safeView(getView), pick: onPick };
  const show = can.webgl ? enterRoom(root, can, options, hooks, say) : enterFlat(root, options, hooks, say);
  return {
    dispose() {
      show.dispose();
      root.remove();
    },
    setPatient: (patient) => show.setPatient(patient),
    screenshotReady: show.ready,
  };
}

function enterFlat(root, options, hooks, say) {
  say('flat');
  return new Flat(root, options, hooks);
}

/** The room; the flat outline takes its place while the graphics context is lost, and where the avatar fails. */
function enterRoom(root, can, options, hooks, say) {
  let flat = null;
  const stand = (state, text) => {
    say(state, text);
    room.hide(true);
    flat ??= new Flat(root, options, hooks);
  };
  const room = new Room(root, can, options, {
    ...hooks,
    lost: () => stand('lost', ''),
    restored: () => {
      flat?.dispose();
      flat = null;
      room.hide(false);
      say('live');
    },
  });
  say('loading', options.labels.loading ?? 'Preparing the body…');
  room.loading.then(
    () => room.ready.then(() => room.lost || say('live')),
    (error) => {
      console.error('everbeat: the avatar could not be loaded, the flat outline is shown;', error);
      stand('flat', '');
      room.settle?.();
    },
  );
  return {
    ready: room.ready,
    setPatient: (patient) => room.setPatient(patient),
    dispose() {
      flat?.dispose();
      room.dispose();
    },
  };
}

/** The page's view; where it fails, an empty one, so that nothing stale is shown as the present. Logged once. */
function safeView(getView) {
  let told = false;
  return (now) => {
    try {
      return getView(now) ?? NOTHING;
    } catch (error) {
      if (!told) console.error('everbeat: the view failed; the body shows no values;', error);
      told = true;
      return NOTHING;
    }
  };
}
