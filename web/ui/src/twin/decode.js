// Turns the quantised meshes of avatar.glb into plain arrays in metres, and those into geometry for the GPU.

import * as THREE from 'three';

// the body's morphs that stay in motion, in the order of the attributes move0 to move2
export const MOVING = ['breath', 'zygomaticus', 'corrugator'];

/** Plain arrays of a quantised mesh, in metres. */
export function decode(mesh) {
  const { geometry, matrixWorld } = mesh;
  const position = floats(geometry.getAttribute('position'));
  const normal = floats(geometry.getAttribute('normal'));
  const scale = matrixWorld.elements[0];
  const shift = [12, 13, 14].map((i) => matrixWorld.elements[i]);
  for (let i = 0; i < position.length; i += 1) position[i] = position[i] * scale + shift[i % 3];
  const morphs = {};
  Object.entries(mesh.morphTargetDictionary ?? {}).forEach(([name, i]) => {
    morphs[name] = floats(geometry.morphAttributes.position[i]).map((x) => x * scale);
  });
  const tissue = geometry.getAttribute('_tissue');
  const regions = ['_regions0', '_regions1'].map((name) => geometry.getAttribute(name)).filter(Boolean);
  return { name: mesh.name, position, normal, morphs, index: Uint32Array.from(geometry.index.array), tissue, regions };
}

function floats(attribute) {
  const out = new Float32Array(attribute.count * 3);
  for (let i = 0; i < attribute.count; i += 1) {
    out[3 * i] = attribute.getX(i);
    out[3 * i + 1] = attribute.getY(i);
    out[3 * i + 2] = attribute.getZ(i);
  }
  return out;
}

/** (8 N) masks, 0..1, in the order of REGIONS. */
export function readMasks(geometry) {
  const [a, b] = [geometry.getAttribute('_regions0'), geometry.getAttribute('_regions1')];
  const out = new Float32Array(a.count * 8);
  for (let i = 0; i < a.count; i += 1) {
    [a.getX(i), a.getY(i), a.getZ(i), a.getW(i), b.getX(i), b.getY(i), b.getZ(i), b.getW(i)].forEach((m, j) => {
      out[8 * i + j] = m;
    });
  }
  return out;
}

/** What the GPU draws of a decoded part. */
export function toGeometry(part) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute('position', new THREE.BufferAttribute(part.position.slice(), 3));
  geometry.setAttribute('normal', new THREE.BufferAttribute(part.normal, 3));
  if (part.tissue) geometry.setAttribute('tissue', part.tissue);
  part.regions.forEach((mask, i) => geometry.setAttribute(`regions${i}`, mask));
  const names = part.name === 'body' ? MOVING : Object.keys(part.morphs);
  names.forEach((name, i) => geometry.setAttribute(`move${i}`, new THREE.BufferAttribute(part.morphs[name].slice(), 3)));
  geometry.setIndex(new THREE.BufferAttribute(part.position.length / 3 > 65535 ? part.index : Uint16Array.from(part.index), 1));
  return geometry;
}

/** The faces of `index`, highest first. */
export function topDown(index, positions) {
  const faces = Array.from({ length: index.length / 3 }, (_, i) => i);
  const height = faces.map((f) => positions[3 * index[3 * f] + 1]);
  faces.sort((a, b) => height[b] - height[a] || a - b);
  return Uint32Array.from(faces.flatMap((f) => [index[3 * f], index[3 * f + 1], index[3 * f + 2]]));
}
