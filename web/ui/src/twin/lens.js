// A round lens in the corner: a second, near view of the face, or of whatever region is picked. It is rendered to a
// texture and drawn as a disc, so its edge is smooth and the room behind it stays whole.

import * as THREE from 'three';
import { CYAN, vec3 } from './materials.js';

const FOV_DEG = 20;
const EASE_S = 0.28;

// half height in m of what the lens shows, and where it looks from (body frame)
const SUBJECTS = {
  face: { anchor: null, half: 0.134, from: [0.10, 0.03, 1] },
  head: { anchor: null, half: 0.150, from: [0.10, 0.03, 1] },
  palm: { anchor: 'palm', half: 0.120, from: [0.10, 0.05, 1] },
  finger: { anchor: 'finger', half: 0.075, from: [0.15, 0.05, 1] },
  wrist: { anchor: 'wrist', half: 0.110, from: [0.10, 0.05, 1] },
  forearm: { anchor: 'forearm', half: 0.170, from: [0.10, 0.05, 1] },
  chest: { anchor: 'chest', half: 0.190, from: [0.08, 0.08, 1] },
  heart: { anchor: 'heart', half: 0.095, from: [0.05, 0.02, 1] },
  lungs: { anchor: 'heart', half: 0.185, from: [0.02, 0.02, 1] },
};

/** What the lens looks at for a picked region, or for none. */
export function subjectOf(region) {
  if (region === 'cheek' || region === 'brow') return 'face';
  return SUBJECTS[region] ? region : 'face';
}

export class Lens {
  constructor() {
    this.eye = new THREE.PerspectiveCamera(FOV_DEG, 1, 0.05, 10);
    this.target = new THREE.WebGLRenderTarget(256, 256, { samples: 0, depthBuffer: true });
    this.spot = new THREE.Vector3(0, 1.62, 0.1);
    this.focus = this.spot.clone(); // in the room
    this.half = 0.13;
    this.from = new THREE.Vector3(0.1, 0.03, 1).normalize();
    this.rect = { x: 0, y: 0, size: 0 }; // CSS px from the top left
    this.disc = makeDisc(this.target.texture);
    this.scene = new THREE.Scene();
    this.scene.add(this.disc);
    this.flat = new THREE.OrthographicCamera(0, 1, 0, 1, -1, 1);
    this.settled = false;
  }

  /** Where the disc is, CSS px, and how many device pixels a CSS pixel has. */
  place(rect, size, dpr, samples) {
    this.rect = rect;
    this.flat.right = size.width;
    this.flat.bottom = size.height;
    this.flat.top = 0;
    this.flat.updateProjectionMatrix();
    this.disc.position.set(rect.x + rect.size / 2, rect.y + rect.size / 2, 0);
    this.disc.scale.setScalar(rect.size / 2);
    const pixels = Math.max(64, Math.round(rect.size * dpr));
    if (this.target.width !== pixels || this.target.samples !== samples) {
      this.target.samples = samples;
      this.target.setSize(pixels, pixels);
    }
    this.disc.visible = rect.size > 0;
  }

  /** Moves smoothly to `subject` on `figure`, and stays with it in every posture. */
  aim(subject, side, { avatar, group }, dt_s) {
    const row = SUBJECTS[subject];
    const k = this.settled ? 1 - Math.exp(-dt_s / EASE_S) : 1;
    const scale = SUBJECTS[subject].anchor ? avatar.height / 1.74 : headScale(avatar);
    const at = row.anchor ? avatar.anchor(row.anchor, side) : faceCentre(avatar);
    const from = new THREE.Vector3(row.from[0] * side, row.from[1], row.from[2]).normalize();
    this.spot.lerp(at, k); // in the body's frame
    this.focus.copy(this.spot).applyMatrix4(group.matrixWorld);
    this.half += (row.half * scale - this.half) * k;
    this.from.lerp(from, k).normalize();
    const distance = this.half / Math.tan((FOV_DEG * Math.PI) / 360);
    this.eye.up.copy(UP).applyQuaternion(group.quaternion);
    this.eye.position.copy(this.from).applyQuaternion(group.quaternion).multiplyScalar(distance).add(this.focus);
    this.eye.lookAt(this.focus);
    this.eye.updateMatrixWorld();
    this.settled = true;
  }

  /** Height m on the standing body below which the lens sees nothing. */
  lowest() {
    return this.spot.y - this.half * 1.5;
  }

  /** Screen position, CSS px, of a point of the world as the lens shows it; null where it shows it not. */
  project(point) {
    const p = point.clone().project(this.eye);
    if (Math.hypot(p.x, p.y) > 0.96) return null;
    const r = this.rect.size / 2;
    return { x: this.rect.x + r + p.x * r, y: this.rect.y + r - p.y * r };
  }

  /** Normalised device coordinates within the lens of a screen point, or null outside the disc. */
  pointer(x, y) {
    const r = this.rect.size / 2;
    if (!r) return null;
    const [u, v] = [(x - this.rect.x - r) / r, -(y - this.rect.y - r) / r];
    return Math.hypot(u, v) <= 1 ? { x: u, y: v } : null;
  }

  dispose() {
    this.target.dispose();
    this.disc.geometry.dispose();
    this.disc.material.dispose();
  }
}

const UP = new THREE.Vector3(0, 1, 0);

/** Size of the head, 1 for the base body: children's are large for their height. */
function headScale(avatar) {
  return (avatar.height - avatar.anchor('cheek', 1).y) / 0.167;
}

function faceCentre(avatar) {
  const [left, right] = [avatar.anchor('brow', 1), avatar.anchor('brow', -1)];
  const cheek = avatar.anchor('cheek', 1);
  return left.add(right).multiplyScalar(0.5).setY(left.y * 0.52 + cheek.y * 0.48).setZ(cheek.z);
}

function makeDisc(texture) {
  const material = new THREE.ShaderMaterial({
    transparent: true,
    side: THREE.DoubleSide, // the flat camera looks with y down
    depthTest: false,
    depthWrite: false,
    uniforms: { uImage: { value: texture }, uColour: { value: vec3(CYAN) } },
    vertexShader:
      'varying vec2 vAt; void main() { vAt = position.xy; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }',
    fragmentShader: `
      uniform sampler2D uImage;
      uniform vec3 uColour;
      varying vec2 vAt;
      void main() {
        float r = length(vAt);
        float w = fwidth(r);
        float cover = 1.0 - smoothstep(1.0 - w, 1.0, r);
        vec3 image = texture2D(uImage, vec2(vAt.x, -vAt.y) * 0.5 + 0.5).rgb;
        image += vec3(0.020, 0.048, 0.074) * (1.0 - r * r) + vec3(0.008, 0.018, 0.030);
        image *= 1.0 - 0.30 * smoothstep(0.78, 1.0, r);
        float ring = 1.0 - smoothstep(w * 0.7, w * 1.7, abs(r - 0.985));
        float angle = atan(vAt.y, vAt.x);
        float tick = (1.0 - smoothstep(w, w * 2.0, abs(r - 0.955))) * step(0.93, cos(angle * 36.0)) * 0.5;
        gl_FragColor = vec4(image + uColour * (ring * 0.75 + tick), cover);
      }`,
  });
  const disc = new THREE.Mesh(new THREE.PlaneGeometry(2, 2), material);
  disc.frustumCulled = false;
  return disc;
}
