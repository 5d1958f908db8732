// The hologram's skin, and what all its shaders share; the organs' are in organMaterials.js. Colours are display RGB
// throughout (no colour management), so that the lens, which is rendered to a texture first, looks the same as the room.
// What glows is added to what lies behind it.

import * as THREE from 'three';
import { DOUBT } from './doubt.js';
import { REGIONS, rgb } from './regions.js';

export const CYAN = '#38bdf8';

// Motions are plain attributes, `move0` to `move2`, weighed by `uMove`: cheaper than morph textures, above all where
// the GPU is a CPU. They move positions only; normals change too little in a breath to pay for more.
export const head = (moves) => /* glsl */ `
  ${Array.from({ length: moves }, (_, i) => `attribute vec3 move${i};`).join('\n')}
  uniform vec3 uMove;
  varying vec3 vNormal;
  varying vec3 vView;
  varying vec3 vAt;
`;
export const place = (moves) => /* glsl */ `
    vec3 moved = position${Array.from({ length: moves }, (_, i) => ` + move${i} * uMove.${'xyz'[i]}`).join('')};
    vec4 eye = modelViewMatrix * vec4(moved, 1.0);
    vAt = position;
    vView = -eye.xyz;
    vNormal = normalMatrix * normal;
    gl_Position = projectionMatrix * eye;
`;

export const GLOW = {
  transparent: true,
  depthWrite: false,
  blending: THREE.CustomBlending,
  blendSrc: THREE.OneFactor,
  blendDst: THREE.OneFactor,
  blendEquation: THREE.AddEquation,
};

export const vec3 = (hex) => new THREE.Vector3(...rgb(hex));

/** Writes the body's depth first, so that only its nearest layer glows. */
export function depthMaterial(moves) {
  return new THREE.ShaderMaterial({
    uniforms: { uMove: { value: moves } },
    vertexShader: `${head(3)} void main() { ${place(3)} }`,
    fragmentShader: 'void main() { gl_FragColor = vec4(0.0); }',
    colorWrite: false,
    transparent: true, // sorted with the glowing parts, by renderOrder
  });
}

/** The body's skin: rim light, scan lines, and a style for each region by its provenance. */
export function bodyMaterial(moves) {
  const eight = (make) => Array.from({ length: REGIONS.length }, make);
  return new THREE.ShaderMaterial({
    ...GLOW,
    depthFunc: THREE.LessEqualDepth,
    uniforms: {
      uMove: { value: moves },
      uBase: { value: vec3(CYAN) },
      uTime: { value: 0 },
      uPixel: { value: 1 }, // device pixels per CSS pixel
      uHeight: { value: 1.75 },
      uLens: { value: 0 }, // 1 while the lens is drawn
      uColour: { value: eight(() => new THREE.Vector3()) },
      uMode: { value: eight(() => new THREE.Vector4()) }, // solid, dashed, hatched, hollow
      uLevel: { value: eight(() => new THREE.Vector3()) }, // confidence, activity, accent
      uTint: { value: eight(() => new THREE.Vector4()) }, // display RGB and strength of the skin's own colour
    },
    vertexShader: `
      attribute vec4 regions0;
      attribute vec4 regions1;
      varying vec4 vMask0;
      varying vec4 vMask1;
      ${head(3)}
      void main() { vMask0 = regions0; vMask1 = regions1; ${place(3)} }`,
    fragmentShader: `
      uniform vec3 uBase;
      uniform float uTime, uPixel, uHeight, uLens;
      uniform vec3 uColour[8];
      uniform vec4 uMode[8];
      uniform vec3 uLevel[8];
      uniform vec4 uTint[8];
      varying vec3 vNormal, vView, vAt;
      varying vec4 vMask0, vMask1;

      ${DOUBT}

      // Adds one region's light to \`glow\`, tints \`ink\` and takes away \`skin\` where it is hollow or in doubt.
      void region(float mask, float edge, int i, float rim, vec2 px, inout vec3 glow, inout float skin, inout vec3 ink) {
        vec4 mode = uMode[i];
        float soft = smoothstep(0.12, 0.9, mask);
        ink = mix(ink, uTint[i].rgb, soft * uTint[i].w);
        skin *= 1.0 + 1.4 * soft * uTint[i].w;
        if (mask < 0.02 || mode.x + mode.y + mode.z + mode.w < 0.01) return;
        vec3 level = uLevel[i];
        float inside = smoothstep(0.5 - edge, 0.5 + edge, mask);
        float line = 1.0 - smoothstep(edge * 0.8, edge * 2.0, abs(mask - 0.5));
        vec3 colour = uColour[i];
        float lift = 1.0 + 0.6 * level.z;
        float veil = i == 6 ? 0.34 : 1.0; // the chest's glow must not drown the organs behind it

        if (mode.x > 0.004) { // measured: steady light, brighter with activity
          float solid = soft * (0.16 + 0.55 * level.y + 0.4 * rim) * veil + 0.42 * line;
          glow += colour * solid * mode.x * lift;
        }
        if (mode.y > 0.004) { // synthesised: dashed, and dissolving as confidence falls, the skin under it as well
          float keep = level.x;
          float drawn = made(level.x, px, uTime);
          float solid = inside * (0.24 + 0.55 * level.y + 0.4 * rim) * veil;
          float broken = line * step(fract((px.x - px.y) / 9.0 + uTime * 0.35), mix(0.25, 0.72, keep));
          glow += colour * (solid * drawn + broken * mix(0.30, 0.62, keep)) * mode.y * lift;
          skin *= 1.0 - 0.92 * inside * mode.y * (1.0 - keep) * (1.0 - 0.6 * drawn);
        }
        if (mode.z > 0.004) { // quarantined: crossed hatch in alarm amber, not in the channel's colour
          float hatch = hatched(px);
          float pulse = 0.75 + 0.25 * sin(uTime * 2.4);
          glow += vec3(1.0, 0.42, 0.22) * (inside * hatch * 0.42 * (0.35 + 0.65 * veil) + line * 1.1 * pulse) * mode.z * lift;
        }
        // withheld: cut out, only its border is left
        skin *= 1.0 - 0.93 * inside * mode.w;
        glow += vec3(0.62, 0.70, 0.78) * line * 0.75 * mode.w * lift;
      }

      void main() {
        vec3 n = normalize(vNormal);
        vec3 v = normalize(vView);
        float facing = clamp(dot(n, v), 0.0, 1.0);
        float rim = pow(1.0 - facing, 2.4);
        rim *= mix(0.55, 1.0, smoothstep(0.0, 0.16, facing)); // the last pixel softens the silhouette
        float key = max(dot(n, normalize(vec3(-0.55, 0.70, 0.46))), 0.0);
        float high = clamp(vAt.y / uHeight, 0.0, 1.0);

        vec2 px = gl_FragCoord.xy / uPixel;
        float lines = 0.5 + 0.5 * sin(vAt.y * mix(430.0, 1500.0, uLens) - uTime * 1.2);
        float sweep = smoothstep(0.03, 0.0, abs(fract(high * 0.8 - uTime * 0.045) - 0.5));
        float ground = mix(0.70, 1.0, smoothstep(0.0, 0.5, high));

        float form = key * key;
        float fill = mix(0.045 + 0.13 * form, 0.06 + 0.46 * form, uLens) * (0.90 + 0.10 * lines);
        vec3 ink = mix(uBase * vec3(0.55, 0.84, 1.0), vec3(0.70, 0.93, 1.0), clamp(rim * 0.7 + 0.25 * form * uLens, 0.0, 1.0));
        float skin = (fill + mix(1.15, 0.85, uLens) * rim * (0.93 + 0.07 * lines)) * ground + 0.04 * sweep * (1.0 - uLens);

        vec3 glow = vec3(0.0);
        vec4 edge0 = max(fwidth(vMask0), 0.002);
        vec4 edge1 = max(fwidth(vMask1), 0.002);
        vec4 most = max(vMask0, vMask1);
        if (max(max(most.x, most.y), max(most.z, most.w)) > 0.02) {
          // masks hardly overlap: the strongest one alone speaks for a pixel
          float mask = vMask0.x, edge = edge0.x;
          int i = 0;
          if (vMask0.y > mask) { mask = vMask0.y; edge = edge0.y; i = 1; }
          if (vMask0.z > mask) { mask = vMask0.z; edge = edge0.z; i = 2; }
          if (vMask0.w > mask) { mask = vMask0.w; edge = edge0.w; i = 3; }
          if (vMask1.x > mask) { mask = vMask1.x; edge = edge1.x; i = 4; }
          if (vMask1.y > mask) { mask = vMask1.y; edge = edge1.y; i = 5; }
          if (vMask1.z > mask) { mask = vMask1.z; edge = edge1.z; i = 6; }
          if (vMask1.w > mask) { mask = vMask1.w; edge = edge1.w; i = 7; }
          region(mask, edge, i, rim, px, glow, skin, ink);
        }
        gl_FragColor = vec4(ink * skin + glow, 1.0);
      }`,
  });
}
