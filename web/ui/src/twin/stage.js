// The room around the body: backdrop, floor with rings and polar grid, and motes in the air. Adds nothing but look,
// except the air: motes take the colour and the style of the room's own sensors.

import * as THREE from 'three';
import { CYAN, vec3 } from './materials.js';

const MOTES = 90;
const GLOW = {
  transparent: true,
  depthWrite: false,
  blending: THREE.CustomBlending,
  blendSrc: THREE.OneFactor,
  blendDst: THREE.OneFactor,
};

/** Backdrop, floor and air as one group with `update(time_s, air, dt_s)` and `dispose()`. */
export function makeStage() {
  const group = new THREE.Group();
  const floor = makeFloor();
  const air = makeAir();
  const backdrop = makeBackdrop();
  const soft = { haze: 0, warmth: 0, light: 1 }; // eased, so that a new reading does not flicker
  group.add(backdrop, floor, air);
  return {
    group,
    /** `word` is the air's first word, `mood` its {haze, warmth, light}; `quality` {dpr, spare}. */
    update(time_s, word, mood, quality) {
      for (const key of Object.keys(soft)) soft[key] += (mood[key] - soft[key]) * 0.03;
      backdrop.material.uniforms.uMood.value.set(soft.haze, soft.warmth, soft.light);
      floor.material.uniforms.uLight.value = soft.light;
      air.visible = !quality.spare;
      floor.material.uniforms.uTime.value = time_s;
      const u = air.material.uniforms;
      u.uTime.value = time_s;
      u.uPixel.value = quality.dpr;
      const strength = word && word.provenance !== 'none' && word.provenance !== 'withheld' ? 1 : 0.55;
      u.uGain.value += (strength - u.uGain.value) * 0.05;
      u.uHollow.value = word?.provenance === 'synthesised' ? 1 : 0;
      u.uColour.value.copy(vec3(word?.color ?? CYAN)).lerp(vec3(CYAN), 0.35);
    },
    dispose() {
      group.traverse((node) => {
        node.geometry?.dispose();
        node.material?.dispose();
      });
    },
  };
}

function makeBackdrop() {
  const material = new THREE.ShaderMaterial({
    depthTest: false,
    depthWrite: false,
    uniforms: { uMood: { value: new THREE.Vector3(0, 0, 1) } }, // haze, warmth, light
    vertexShader: 'varying vec2 vAt; void main() { vAt = position.xy; gl_Position = vec4(position.xy, 1.0, 1.0); }',
    fragmentShader: `
      uniform vec3 uMood;
      varying vec2 vAt;
      float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
      void main() {
        float glow = exp(-dot(vAt * vec2(1.0, 0.72) - vec2(0.0, 0.12), vAt * vec2(1.0, 0.72) - vec2(0.0, 0.12)) * 1.7);
        vec3 deep = vec3(0.012, 0.022, 0.038);
        vec3 near = vec3(0.026, 0.058, 0.092);
        near += vec3(0.030, 0.004, -0.026) * uMood.y; // warm air, cold air
        deep += vec3(0.010, 0.002, -0.008) * uMood.y;
        float mist = uMood.x * (0.35 + 0.65 * smoothstep(0.5, -0.9, vAt.y));
        vec3 room = mix(deep, near, glow) + vec3(0.030, 0.040, 0.048) * mist;
        gl_FragColor = vec4(room * uMood.z + (hash(gl_FragCoord.xy) - 0.5) * 0.006, 1.0); // grain against bands
      }`,
  });
  const mesh = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), material);
  mesh.frustumCulled = false;
  mesh.renderOrder = -10;
  return mesh;
}

function makeFloor() {
  const material = new THREE.ShaderMaterial({
    ...GLOW,
    uniforms: { uColour: { value: vec3(CYAN) }, uTime: { value: 0 }, uLight: { value: 1 } },
    vertexShader:
      'varying vec2 vAt; void main() { vAt = position.xy; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }',
    fragmentShader: `
      uniform vec3 uColour;
      uniform float uTime, uLight;
      varying vec2 vAt;
      float stroke(float d, float half_m) { float w = fwidth(d); return clamp((half_m + w * 0.7 - abs(d)) / w, 0.0, 1.0) * min(1.0, half_m * 2.0 / w + 0.35); }
      void main() {
        float r = length(vAt);
        if (r > 1.5) discard;
        float angle = atan(vAt.y, vAt.x);
        float rings = stroke(fract(r / 0.18 + 0.5) * 0.18 - 0.09, 0.0008) * 0.34;
        float spoke = stroke(sin(angle * 12.0) * r / 12.0, 0.0008) * smoothstep(0.44, 0.6, r) * 0.30;
        float bright = stroke(r - 0.42, 0.0022) * 0.95 + stroke(r - 0.46, 0.0010) * 0.45;
        float turn = fract(angle / 6.2832 + uTime * 0.012);
        float arc = stroke(r - 0.66, 0.0016) * smoothstep(0.45, 0.5, abs(fract(turn * 3.0) - 0.5) + 0.22) * 0.8;
        float ticks = step(0.62, fract(angle * 60.0 / 6.2832)) * step(0.475, r) * step(r, 0.495) * 0.30;
        float wave = exp(-pow((r - fract(uTime * 0.07) * 1.6) / 0.05, 2.0)) * 0.05;
        float pool = exp(-r * r * 9.0) * 0.17;
        float fade = 1.0 - smoothstep(0.55, 1.45, r);
        gl_FragColor = vec4(uColour * uLight * ((rings + spoke + wave) * fade + bright + arc * fade + ticks + pool), 1.0);
      }`,
  });
  const floor = new THREE.Mesh(new THREE.PlaneGeometry(3, 3), material);
  floor.rotation.x = -Math.PI / 2;
  floor.renderOrder = 0;
  return floor;
}

function makeAir() {
  const seed = new Float32Array(MOTES * 4);
  let state = 7;
  for (let i = 0; i < seed.length; i += 1) {
    state = (state * 16807) % 2147483647; // Park-Miller: the same air on every screen
    seed[i] = state / 2147483647;
  }
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute('position', new THREE.BufferAttribute(new Float32Array(MOTES * 3), 3));
  geometry.setAttribute('seed', new THREE.BufferAttribute(seed, 4));
  const material = new THREE.ShaderMaterial({
    ...GLOW,
    uniforms: {
      uTime: { value: 0 }, uPixel: { value: 1 }, uColour: { value: vec3(CYAN) }, uGain: { value: 0.5 }, uHollow: { value: 0 },
    },
    vertexShader: `
      attribute vec4 seed;
      uniform float uTime, uPixel;
      varying float vFade;
      void main() {
        float rise = fract(seed.y + uTime * (0.006 + 0.010 * seed.w));
        float turn = seed.x * 6.2832 + uTime * 0.02;
        float r = 0.38 + 0.75 * seed.z + 0.04 * sin(uTime * 0.3 + seed.w * 9.0);
        vec4 eye = viewMatrix * vec4(cos(turn) * r, rise * 2.0, sin(turn) * r, 1.0);
        vFade = sin(rise * 3.1416) * (0.4 + 0.6 * seed.w);
        gl_Position = projectionMatrix * eye;
        gl_PointSize = uPixel * (1.6 + 3.2 * seed.w) * 3.2 / -eye.z;
      }`,
    fragmentShader: `
      uniform vec3 uColour;
      uniform float uGain, uHollow;
      varying float vFade;
      void main() {
        float r = length(gl_PointCoord - 0.5) * 2.0;
        float dot2 = 1.0 - smoothstep(0.1, 1.0, r);
        float ring = smoothstep(0.35, 0.6, r) * (1.0 - smoothstep(0.75, 1.0, r));
        gl_FragColor = vec4(uColour * mix(dot2, ring, uHollow) * vFade * uGain * 0.42, 1.0);
      }`,
  });
  const motes = new THREE.Points(geometry, material);
  motes.frustumCulled = false;
  motes.renderOrder = 20;
  return motes;
}
