// The patient in the room: meshes with their materials, how heart, lungs and muscles move, and how it stands or lies.
// Asks nobody for data; `update` is told what to show. One figure is one patient: a room may hold several.

import * as THREE from 'three';
import { bodyMaterial, depthMaterial } from './materials.js';
import { lungMaterial, organMaterial, veilMaterial } from './organMaterials.js';
import { skinColour } from './ambience.js';
import { beatShape, breathShape, Phase } from './motion.js';
import { Posture } from './posture.js';
import { REGIONS, RegionState, unit } from './regions.js';

const ORGANS = {
  lung_l: { word: 'lungs', frame: 'thorax', colour: '#5fe3cf', order: 3, make: (hex, f) => lungMaterial(hex, f) },
  lung_r: { word: 'lungs', frame: 'thorax', colour: '#5fe3cf', order: 3, make: (hex, f) => lungMaterial(hex, f) },
  airways: { word: 'lungs', frame: 'thorax', colour: '#79dcd2', order: 2, make: (hex) => organMaterial(hex, { gain: 1.0, rim: 0.5 }) },
  heart: { word: 'heart', frame: 'thorax', colour: '#ff5d6c', order: 2, make: (hex) => organMaterial(hex, { tissue: true }) },
  brain: { frame: 'skull', colour: '#9fc6e6', order: 3, make: (hex) => veilMaterial(hex) },
};

/** Meshes of the avatar under one group, with `update` and `dispose`. */
export class Figure {
  constructor(avatar) {
    this.avatar = avatar;
    this.group = new THREE.Group();
    this.states = Object.fromEntries(REGIONS.map((name) => [name, new RegionState()]));
    this.inside = { heart: new RegionState(), lungs: new RegionState() };
    this.beat = new Phase();
    this.breath = new Phase(0.3);
    this.posture = new Posture();
    this.organs = {};
    const { geometry } = avatar.body;
    this.moves = new THREE.Vector3(); // breath, cheek, brow
    this.depth = mesh(geometry, depthMaterial(this.moves), 10);
    this.skin = mesh(geometry, bodyMaterial(this.moves), 11);
    this.group.add(this.depth, this.skin);
    for (const [name, row] of Object.entries(ORGANS)) {
      if (!avatar.parts[name]) continue;
      const organ = mesh(avatar.parts[name].geometry, row.make(row.colour, avatar.fissures[name] ?? []), row.order);
      organ.userData.frame = row.frame;
      organ.matrixAutoUpdate = false;
      organ.frustumCulled = true;
      this.organs[name] = organ;
      this.group.add(organ);
    }
    this.fit();
  }

  /** Places the organs in the body as it is now; call after `avatar.setPatient`. */
  fit() {
    for (const organ of Object.values(this.organs)) {
      const { scale, offset } = this.avatar.fits[organ.userData.frame];
      organ.matrix.compose(new THREE.Vector3(...offset), new THREE.Quaternion(), new THREE.Vector3(...scale));
      organ.matrixWorldNeedsUpdate = true;
    }
    this.skin.material.uniforms.uHeight.value = this.avatar.height;
  }

  /** Takes the posture of `view`; true where the room must frame the figure anew. */
  aim(view) {
    return this.posture.aim(view.posture?.up, this.avatar.positions);
  }

  /** Shows `view` (see index.js); `accented` names places that are picked or pointed at; `still`: no motion. */
  update(view, accented, time_s, dt_s, still) {
    const { heart, lungs } = view.organs ?? {};
    this.beat.step(dt_s, rateOf(heart));
    this.breath.step(dt_s, rateOf(lungs));
    const uniforms = this.skin.material.uniforms;
    uniforms.uTime.value = still ? 0 : time_s;
    const skin = tintOf(view.skin);
    REGIONS.forEach((name, i) => {
      const state = this.states[name];
      state.step(view.regions?.[name], accented.has(name), dt_s);
      uniforms.uColour.value[i].set(...state.colour);
      uniforms.uMode.value[i].set(...state.mode);
      uniforms.uLevel.value[i].set(state.confidence, state.activity, state.accent);
      uniforms.uTint.value[i].set(...skin.colour, skin.region === name ? skin.strength : 0);
    });
    this.doubt(view, accented, still ? 0 : time_s, dt_s);
    this.move(still, lungs);
  }

  /** Each organ in the style of what moves it; one that nothing measures is dimmer, and its label says illustrative. */
  doubt(view, accented, time_s, dt_s) {
    for (const [name, state] of Object.entries(this.inside)) state.step(view.organs?.[name], accented.has(name), dt_s);
    for (const [name, organ] of Object.entries(this.organs)) {
      const state = this.inside[ORGANS[name].word];
      if (!state) continue;
      const { uMode, uSure, uTime, uPixel, uLift } = organ.material.uniforms;
      uMode.value.set(...state.mode);
      uSure.value = state.confidence;
      uTime.value = time_s;
      uPixel.value = this.skin.material.uniforms.uPixel.value;
      uLift.value = (Math.max(...state.mode) > 0.5 ? 1 : 0.72) + 0.35 * state.accent;
    }
  }

  /** Heart, lungs, chest and face at their present phase. Standing still, nothing moves: labels say the rates. */
  move(still, lungs) {
    const systole = beatShape(this.beat.at);
    const air = still ? 0.3 : (lungs?.fill ?? breathShape(this.breath.at));
    const { heart, lung_l: left, lung_r: right, airways, brain } = this.organs;
    if (heart) {
      heart.material.uniforms.uMove.value.x = still ? 0 : systole;
      heart.material.uniforms.uPulse.value = still ? 0 : Math.max(0, systole);
    }
    for (const part of [left, right, airways]) if (part) part.material.uniforms.uMove.value.x = air;
    for (const lung of [left, right]) if (lung) lung.material.uniforms.uGain.value = 0.85 + 0.35 * air;
    if (brain) brain.material.uniforms.uGain.value = this.brainGain();
    const effort = (name) => {
      const { activity, mode } = this.states[name];
      return unit(activity) * (mode[0] + mode[1]);
    };
    this.moves.set(still ? 0 : 0.75 * air, 0.7 * effort('cheek'), 0.8 * effort('brow'));
  }

  /** The brain lies behind the face: bright when the head has a signal, faint when the face has one. */
  brainGain() {
    const shown = (name) => Math.max(...this.states[name].mode);
    return Math.max(shown('head') * (1 + this.states.head.activity), 0.7 - 0.5 * Math.max(shown('cheek'), shown('brow')));
  }

  /** Draws for the lens: what lies below `low` m is left out, and before a face whatever lies behind it. */
  forLens(low, faceOnly, draw) {
    const hidden = faceOnly ? Object.values(this.organs) : [];
    for (const organ of hidden) organ.visible = false;
    this.skin.material.uniforms.uLens.value = 1;
    this.avatar.drawDownTo(low);
    draw();
    this.avatar.drawDownTo(null);
    this.skin.material.uniforms.uLens.value = 0;
    for (const organ of hidden) organ.visible = true;
  }

  dispose() {
    this.group.traverse((node) => node.material?.dispose());
    this.avatar.dispose();
  }
}

function mesh(geometry, material, order) {
  const made = new THREE.Mesh(geometry, material);
  made.renderOrder = order;
  made.frustumCulled = false;
  return made;
}

/** Beats or breaths per minute; null where there is no honest rate, or no word at all: then the organ stands. */
const rateOf = (word) => word?.rate ?? null;

/** The skin's tint: display RGB, its strength 0..1 and its region; a temperature nobody is sure of tints little. */
function tintOf(skin) {
  const used = skin && Number.isFinite(skin.celsius);
  if (!used) return { region: null, colour: [0, 0, 0], strength: 0 };
  return { region: skin.region, colour: skinColour(skin.celsius), strength: 0.85 * unit(skin.confidence) };
}
