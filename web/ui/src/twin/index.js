// The patient's body in a dark room. `mountTwin` fills an element with it and asks the page, once a frame, what to show.
//
// The view is words: {provenance: 'measured'|'synthesised'|'predicted'|'quarantined'|'withheld'|'none', confidence 0..1,
// label, text, provenanceText}. `regions` by region (regions.js) have color and activity 0..1 as well, `own`, the provenance of
// the channel whose text they give, and `others`, the words of the region's other channels: what is drawn is the least
// trustworthy of them all; `organs` {heart, lungs} have rate per minute (null: stand still), illustrative (true: nothing measures it) and, where a breath's wave is
// there, fill 0..1; `air` by channel has signal, value and effect, a sentence; `skin` {region, celsius}; `posture` {up:
// the direction of "up" in the trunk's frame or null, moving}. Nothing here judges values; nothing here talks to a server
// but for the avatar's file. The root's `data-state` says loading, live, lost (graphics being restored) or flat (no WebGL).

import { Flat } from './flat.js';
import { probe } from './quality.js';
import { Room } from './room.js';
import { addStyle } from './style.js';

const NOTHING = Object.freeze({ regions: {} });

/**
 * Mounts the twin in `element`. `labels` are all its own words (body.json of web/words); `onPick(place|null)` reports;
 * `pose` is where the camera begins. Gives `dispose()`, `setPatient({sex, age, heightCm, weightKg})`,
 * `setPicked(place|null)`, `pose()`, undefined where nothing turns, and `screenshotReady`, a promise that resolves when
 * the body has been drawn for the first time.
 */
export function mountTwin(element, { glbUrl, getView, onPick = () => {}, labels = {}, reducedMotion, pose } = {}) {
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
    status.textContent = text ?? '';
  };
  const can = probe(doc);
  const options = {
    glbUrl,
    labels,
    pose,
    title: labels.title ?? '',
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
    setPicked: (place) => show.setPicked(place),
    pose: () => show.pose(),
    screenshotReady: show.ready,
  };
}

function enterFlat(root, options, hooks, say) {
  say('flat', options.labels.flat);
  return new Flat(root, options, hooks);
}

/** The room; the flat outline takes its place while the graphics context is lost, and where the avatar fails. */
function enterRoom(root, can, options, hooks, say) {
  let [flat, failed] = [null, false];
  const stand = (state, text) => {
    say(state, text);
    room.hide(true);
    if (flat) return;
    flat = new Flat(root, options, { ...hooks, pick: (place) => room.pick(place) });
    flat.setPicked(room.picked);
  };
  const room = new Room(root, can, options, {
    ...hooks,
    lost: () => stand('lost', options.labels.lost),
    restored: () => {
      if (failed) return; // there is no body to show
      flat?.dispose();
      flat = null;
      room.hide(false);
      say('live');
    },
  });
  say('loading', options.labels.loading);
  room.loading.then(
    () => room.ready.then(() => room.lost || say('live')),
    (error) => {
      console.error('everbeat: the avatar could not be loaded, the flat outline is shown;', error);
      failed = true;
      stand('flat', options.labels.flat);
      room.settle?.();
    },
  );
  return {
    ready: room.ready,
    setPatient: (patient) => room.setPatient(patient),
    setPicked: (place) => {
      room.setPicked(place);
      flat?.setPicked(place);
    },
    pose: () => room.pose(),
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
