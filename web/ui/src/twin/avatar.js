// Loads avatar.glb and gives it the patient's build. Shape morphs are applied once, on the CPU, so that normals are
// true for every build; what moves all the time (breath, two facial muscles, heart, lungs) goes to the GPU as the
// attributes move0 to move2. Leaves materials and motion to others. Units: metres, soles on y = 0, the face towards +z.

import * as THREE from 'three';
import { GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';
import { decode, MOVING, readMasks, toGeometry, topDown } from './decode.js';
import { REGIONS } from './regions.js';
import { add, heightOf, scaleTo, sexAndAge, volumeOf } from './shapes.js';

const LEVELS = 64;
const DEFAULT_PATIENT = { sex: 'male', age: 40, heightCm: 176, weightKg: 76 };
const WEIGHT_STEPS = 14; // bisection: 1 part in 16,000 of the range

/** Fetches and decodes the avatar. Rejects where the file is missing or is not ours. */
export async function loadAvatar(url) {
  const gltf = await new GLTFLoader().loadAsync(url);
  const meshes = {};
  const anchors = {};
  gltf.scene.updateMatrixWorld(true);
  gltf.scene.traverse((node) => {
    if (node.isMesh) meshes[node.name] = node;
    else if (node.name.startsWith('anchor_')) anchors[node.name.slice(7)] = node;
  });
  if (!meshes.body?.geometry.getAttribute('_regions0')) {
    throw new Error(`expected an avatar with a masked body at ${url}, got ${Object.keys(meshes)}; it is not shown`);
  }
  return new Avatar(meshes, anchors);
}

class Avatar {
  constructor(meshes, anchors) {
    this.parts = {};
    for (const [name, mesh] of Object.entries(meshes)) this.parts[name] = decode(mesh);
    this.body = this.parts.body;
    this.frames = meshes.body.userData.frames;
    this.density = meshes.body.userData.density ?? 985;
    this.fissures = { lung_l: meshes.lung_l?.userData.fissures ?? [], lung_r: meshes.lung_r?.userData.fissures ?? [] };
    this.anchors = anchors;
    this.rest = this.body.position.slice();
    this.masks = readMasks(meshes.body.geometry);
    this.fits = { thorax: identityFit(), skull: identityFit() };
    this.height = 0;
    this.body.index = topDown(this.body.index, this.rest);
    for (const part of Object.values(this.parts)) part.geometry = toGeometry(part);
    this.setPatient(DEFAULT_PATIENT);
  }

  /** Gives the body that sex, age (years), height (cm) and weight (kg); what is missing takes the default. */
  setPatient(patient) {
    const known = Object.fromEntries(Object.entries(patient ?? {}).filter(([, value]) => value != null && value !== ''));
    const { sex, age, heightCm, weightKg } = { ...DEFAULT_PATIENT, ...known };
    const shape = { ...sexAndAge(sex, Number(age)), stature: 0, weight: 0 };
    const metres = Math.min(2.3, Math.max(0.45, Number(heightCm) / 100 || 1.7));
    shape.stature = this.solveStature(shape, metres, Number(age));
    shape.weight = this.solveWeight(shape, metres, Number(weightKg));
    const shaped = this.shape(shape);
    scaleTo(shaped, metres);
    this.wear(shaped, metres);
  }

  /** Vertex positions (3 N) m of a mixture of shape morphs; a baby is half as long, so grown-ups' fat counts half. */
  shape({ female, old, child, baby, stature, weight }) {
    const out = this.rest.slice();
    add(out, this.body.morphs.female, female);
    add(out, this.body.morphs.baby, baby);
    for (const [suffix, share] of [['', 1 - baby - female], ['_female', female]]) {
      add(out, this.body.morphs[`old${suffix}`], share * old);
      add(out, this.body.morphs[`child${suffix}`], (share / Math.max(1e-6, 1 - baby)) * child);
      add(out, this.body.morphs[`${stature < 0 ? 'short' : 'tall'}${suffix}`], share * Math.abs(stature));
      add(out, this.body.morphs[`${weight < 0 ? 'light' : 'heavy'}${suffix}`], (share + (suffix ? 0 : 0.45 * baby)) * Math.abs(weight));
    }
    return out;
  }

  /** The stature morph's share -1..1 that brings an adult near `metres`; children are scaled only. */
  solveStature(shape, metres, age) {
    if (age < 16) return 0;
    const tall = (stature) => heightOf(this.shape({ ...shape, stature, weight: 0 }));
    const now = tall(0);
    const end = tall(metres < now ? -1 : 1);
    return Math.max(-1, Math.min(1, ((metres - now) / Math.abs(end - now)) * 0.85));
  }

  /** The weight morph's share -1..1.25 at which the body's volume, at its height, weighs `kg`. */
  solveWeight(shape, metres, kg) {
    if (!(kg > 0)) return 0;
    let low = -1;
    let high = 1.25;
    for (let i = 0; i < WEIGHT_STEPS; i += 1) {
      const middle = (low + high) / 2;
      const trial = this.shape({ ...shape, weight: middle });
      const factor = (metres / heightOf(trial)) ** 3;
      if (volumeOf(trial, this.body.index) * factor * this.density < kg) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** Puts positions on, with new normals, and fits organs and anchors to them. */
  wear(positions, metres) {
    this.positions = positions;
    this.height = metres;
    const geometry = this.body.geometry;
    geometry.getAttribute('position').copyArray(positions).needsUpdate = true;
    geometry.computeVertexNormals();
    const factor = metres / heightOf(this.rest);
    MOVING.forEach((name, i) => {
      geometry.getAttribute(`move${i}`).copyArray(this.body.morphs[name].map((x) => x * factor)).needsUpdate = true;
    });
    geometry.computeBoundingSphere();
    this.levels = this.readLevels();
    for (const frame of Object.keys(this.fits)) this.fits[frame] = this.fit(this.frames[frame]);
  }

  /** For each 64th of the body's height from the top: how many indices lie above it. */
  readLevels() {
    const { index } = this.body;
    const ends = new Uint32Array(LEVELS + 1);
    for (let f = 0; f < index.length; f += 3) {
      const y = Math.max(...[0, 1, 2].map((i) => this.positions[3 * index[f + i] + 1]));
      const level = Math.min(LEVELS, Math.max(0, Math.floor((1 - y / this.height) * LEVELS)));
      ends[level] = Math.max(ends[level], f + 3);
    }
    for (let i = 1; i <= LEVELS; i += 1) ends[i] = Math.max(ends[i], ends[i - 1]);
    return ends;
  }

  /** Draws the body's faces down to `low` m only (null: all of it); the lens need not pay for legs it cannot see. */
  drawDownTo(low) {
    const level = low === null ? LEVELS : Math.min(LEVELS, Math.max(0, Math.ceil((1 - low / this.height) * LEVELS)));
    this.body.geometry.setDrawRange(0, low === null ? Infinity : this.levels[level]);
  }

  /** Scale and offset on each axis that lead from the base body's frame to this body's. */
  fit(frame) {
    const scale = [1, 1, 1];
    const offset = [0, 0, 0];
    ['x', 'y', 'z'].forEach((axis, i) => {
      const [a, b] = frame[axis];
      const [r0, r1] = [this.rest[3 * a + i], this.rest[3 * b + i]];
      const [s0, s1] = [this.positions[3 * a + i], this.positions[3 * b + i]];
      const whole = this.height / heightOf(this.rest);
      const ratio = (s1 - s0) / (r1 - r0) / whole; // fat lies outside the ribs: organs follow girth only in part
      scale[i] = whole * (axis === 'y' ? ratio : Math.min(1.06, 1 + 0.75 * (ratio - 1)));
      offset[i] = (s0 + s1) / 2 - (scale[i] * (r0 + r1)) / 2;
      if (axis === 'z' && ratio > 1) offset[i] -= 0.004;
    });
    return { scale, offset };
  }

  /** Position of an anchor on the body as it is now: `side` 1 = the body's left, -1 = its right. */
  anchor(name, side, out = new THREE.Vector3()) {
    const node = this.anchors[name];
    if (!node) return null;
    const { vertex, mirror, frame } = node.userData;
    if (frame) {
      const { scale, offset } = this.fits[frame];
      return out.set(...node.position.toArray().map((x, i) => x * scale[i] + offset[i]));
    }
    const at = 3 * (side < 0 ? mirror : vertex);
    return out.set(this.positions[at], this.positions[at + 1], this.positions[at + 2]);
  }

  /** Skin normal at an anchor. */
  anchorNormal(name, side, out = new THREE.Vector3()) {
    const { vertex, mirror } = this.anchors[name]?.userData ?? {};
    if (vertex === undefined) return out.set(0, 0, 1);
    return out.fromBufferAttribute(this.body.geometry.getAttribute('normal'), side < 0 ? mirror : vertex);
  }

  /** The region whose mask is strongest at a face's corners, or null below one half. */
  regionAt(corners) {
    let best = null;
    let most = 0.4;
    REGIONS.forEach((name, i) => {
      const mean = corners.reduce((sum, v) => sum + this.masks[8 * v + i], 0) / corners.length;
      if (mean > most) [best, most] = [name, mean];
    });
    return best;
  }

  dispose() {
    for (const part of Object.values(this.parts)) part.geometry.dispose();
  }
}

function identityFit() {
  return { scale: [1, 1, 1], offset: [0, 0, 0] };
}
