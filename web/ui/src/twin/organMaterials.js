// The organs' shaders: heart and airways solid, lungs as glass, the brain as a veil. An organ is drawn in the style of what
// moves it (doubt.js). Colours are display RGB, as in materials.js.

import * as THREE from 'three';
import { DOUBT } from './doubt.js';
import { GLOW, head, place, vec3 } from './materials.js';

/** The brain: so faint that the face stays readable; `uGain` lifts it. */
export function veilMaterial(hex) {
  return new THREE.ShaderMaterial({
    ...GLOW,
    uniforms: { uMove: { value: new THREE.Vector3() }, uColour: { value: vec3(hex) }, uGain: { value: 1 } },
    vertexShader: `${head(0)} void main() { ${place(0)} }`,
    fragmentShader: `
      uniform vec3 uColour;
      uniform float uGain;
      varying vec3 vNormal, vView, vAt;
      void main() {
        float facing = clamp(dot(normalize(vNormal), normalize(vView)), 0.0, 1.0);
        float rim = 1.0 - facing;
        gl_FragColor = vec4(uColour * uGain * (0.03 + 0.32 * rim * rim * rim), 1.0);
      }`,
  });
}

const doubtful = () => ({
  uMode: { value: new THREE.Vector4() }, // solid, dashed, hatched, hollow
  uSure: { value: 1 },
  uTime: { value: 0 },
  uPixel: { value: 1 },
  uLift: { value: 1 },
});

// What is left of an organ's light by what moves it; `rim` 0..1 is how near a point is to the organ's outline.
const ORGAN_DOUBT = /* glsl */ `
  uniform vec4 uMode;
  uniform float uSure, uTime, uPixel, uLift;
  ${DOUBT}
  float left(float rim, vec2 px) {
    float grain = step(doubtHash(floor(px / 2.0) + floor(uTime * 5.0) * 0.37), uSure);
    float dissolved = mix(1.0, mix(0.45 * grain, 1.0, made(uSure, px, uTime)), uMode.y); // an organ's form outlives its dashes
    float hollow = mix(1.0, smoothstep(0.45, 0.75, rim), uMode.w);
    return dissolved * hollow * uLift;
  }
`;

/** Heart and airways: solid, dark within and bright at the rim. `tissue` tints atria, arteries and veins. */
export function organMaterial(hex, { tissue = false, gain = 1, rim = 1, moves = 1 } = {}) {
  return new THREE.ShaderMaterial({
    uniforms: { uMove: { value: new THREE.Vector3() }, uColour: { value: vec3(hex) }, uGain: { value: gain }, uRim: { value: rim }, uPulse: { value: 0 }, ...doubtful() },
    defines: tissue ? { TISSUE: '' } : {},
    vertexShader: `
      #ifdef TISSUE
        attribute vec4 tissue;
        varying vec4 vTissue;
      #endif
      ${head(moves)}
      void main() {
        #ifdef TISSUE
          vTissue = tissue;
        #endif
        ${place(moves)} }`,
    fragmentShader: `
      uniform vec3 uColour;
      uniform float uGain, uRim, uPulse;
      varying vec3 vNormal, vView, vAt;
      ${ORGAN_DOUBT}
      #ifdef TISSUE
        varying vec4 vTissue;
      #endif
      void main() {
        vec3 n = normalize(vNormal);
        float facing = clamp(dot(n, normalize(vView)), 0.0, 1.0);
        float rim = uRim * pow(1.0 - facing, 1.8);
        float key = max(dot(n, normalize(vec3(-0.4, 0.7, 0.6))), 0.0);
        vec3 colour = uColour;
        #ifdef TISSUE
          vec3 tints = vec3(1.0, 0.36, 0.42) * vTissue.x + vec3(0.90, 0.34, 0.46) * vTissue.y;
          colour = tints + vec3(1.0, 0.52, 0.45) * vTissue.z + vec3(0.40, 0.50, 0.95) * vTissue.w;
        #endif
        float light = 0.16 + 0.34 * key + 0.75 * rim + uPulse * (0.12 + 0.25 * rim);
        vec2 px = gl_FragCoord.xy / uPixel;
        float rest = left(1.0 - facing, px);
        if (rest < 0.08) discard; // holes: what lies behind is seen
        vec3 lit = (colour * light + vec3(0.25) * rim * rim) * uGain;
        lit = mix(lit, vec3(0.62, 0.70, 0.78) * 0.8, uMode.w);
        lit = mix(lit, mix(lit * 0.35, vec3(1.0, 0.42, 0.22), hatched(px)), uMode.z);
        gl_FragColor = vec4(lit * rest, 1.0);
      }`,
  });
}

/** Lungs: a glass shell with the fissures drawn on it as fine lines, each lobe in its own shade. */
export function lungMaterial(hex, fissures) {
  const planes = [...fissures, [0, 0, 0, -1], [0, 0, 0, -1]].slice(0, 2).map((p) => new THREE.Vector4(...p));
  return new THREE.ShaderMaterial({
    ...GLOW,
    uniforms: { uMove: { value: new THREE.Vector3() }, uColour: { value: vec3(hex) }, uGain: { value: 1 }, uPlane: { value: planes }, ...doubtful() },
    vertexShader: `${head(1)} void main() { ${place(1)} }`,
    fragmentShader: `
      uniform vec3 uColour;
      uniform float uGain;
      uniform vec4 uPlane[2];
      varying vec3 vNormal, vView, vAt;
      ${ORGAN_DOUBT}
      float line(float d) { return 1.0 - smoothstep(0.0007, 0.0007 + 1.5 * fwidth(d), abs(d)); }
      void main() {
        float facing = clamp(dot(normalize(vNormal), normalize(vView)), 0.0, 1.0);
        float rim = pow(1.0 - facing, 2.0);
        float oblique = dot(uPlane[0].xyz, vAt) - uPlane[0].w;
        float horizontal = dot(uPlane[1].xyz, vAt) - uPlane[1].w;
        float cleft = max(line(oblique), line(horizontal) * step(0.0, oblique));
        float lobe = oblique < 0.0 ? 0.75 : horizontal < 0.0 ? 1.35 : 1.0; // lower, middle (right side only), upper
        vec2 px = gl_FragCoord.xy / uPixel;
        vec3 light = uColour * (0.060 * lobe + 0.42 * rim + 0.30 * cleft) * uGain;
        light = mix(light, vec3(0.62, 0.70, 0.78) * (0.02 + 0.5 * rim), uMode.w);
        light = mix(light, vec3(1.0, 0.42, 0.22) * (0.10 + 0.25 * rim) * hatched(px), uMode.z);
        gl_FragColor = vec4(light * left(1.0 - facing, px) * mix(1.0, 1.35, uMode.y), 1.0);
      }`,
  });
}
