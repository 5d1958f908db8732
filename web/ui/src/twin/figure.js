// The patient in the room: meshes with their materials, and how heart, lungs and muscles move. Asks nobody for data;
// `update` is told what to show.

import * as THREE from 'three';
import { bodyMaterial, depthMaterial, lungMaterial, organMaterial, veilMaterial } from './materials.js';
import { REGIONS, RegionState, unit } from './regions.js';

export const IDLE_HEART = 60; // per minute, shown as illustrative while no such signal is measured
export const IDLE_BREATH = 14;

const ORGANS = {
  lung_l: { frame: 'thorax', colour: '#5fe3cf', order: 3, make: (hex, f) => lungMaterial(hex, f) },
  lung_r: { frame: 'thorax', colour: '#5fe3cf', order: 3, make: (hex, f) => lungMaterial(hex, f) },
  airways: { frame: 'thorax', colour: '#79dcd2', order: 2, make: (hex) => organMaterial(hex, { gain: 0.9, rim: 0.35 }) },
  heart: { frame: 'thorax', colour: '#ff5d6c', order: 2, make: (hex) => organMaterial(hex, { tissue: true }) },
  brain: { frame: 'skull', colour: '#9fc6e6', order: 3, make: (hex) => veilMaterial(hex) },
};

/** Meshes of the avatar under one group, with `update` and `dispose`. */
export class Figure {
  constructor(avatar) {
    this.avatar = avatar;
    this.group = new THREE.Group();
    this.states = Object.fromEntries(REGIONS.map((name) => [name, new RegionState()]));
    this.beat = 0; // phase of the heart, 0..1
    this.breath = 0.3;
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

  /** Shows `view` (see index.js); `accented` names regions that are picked or pointed at; `still`: no motion. */
  update(view, accented, time_s, dt_s, still) {
    this.beat = (this.beat + (dt_s * (view.heartRate ?? IDLE_HEART)) / 60) % 1;
    this.breath = (this.breath + (dt_s * (view.breathRate ?? IDLE_BREATH)) / 60) % 1;
    const uniforms = this.skin.material.uniforms;
    uniforms.uTime.value = still ? 0 : time_s;
    REGIONS.forEach((name, i) => {
      const state = this.states[name];
      state.step(view.regions?.[name], accented.has(name), dt_s);
      uniforms.uColour.value[i].set(...state.colour);
      uniforms.uMode.value[i].set(...state.mode);
      uniforms.uLevel.value[i].set(state.confidence, state.activity, state.accent);
    });
    this.move(still);
  }

  /** Heart, lungs, chest and face at their present phase. Standing still, the heart only brightens. */
  move(still) {
    const systole = beatShape(this.beat);
    const air = still ? 0.3 : breathShape(this.breath);
    const { heart, lung_l: left, lung_r: right, airways, brain } = this.organs;
    if (heart) {
      heart.material.uniforms.uMove.value.x = still ? 0 : systole;
      heart.material.uniforms.uPulse.value = Math.max(0, systole);
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

/** Contraction of the ventricles over one beat, phase 0..1: a strong stroke, then a small rebound. */
export function beatShape(phase) {
  const bump = (at, width) => Math.exp(-(((phase - at) / width) ** 2));
  return bump(0.22, 0.085) + 0.34 * bump(0.44, 0.06) - 0.12 * bump(0.08, 0.05);
}

/** Filling of the lungs over one breath, phase 0..1: in for two fifths, out for the rest with a short rest. */
export function breathShape(phase) {
  const smooth = (x) => x * x * (3 - 2 * x);
  return phase < 0.4 ? smooth(phase / 0.4) : 1 - smooth(Math.min(1, (phase - 0.4) / 0.5));
}
