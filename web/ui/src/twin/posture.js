// How the figure stands or lies, from the direction of "up" in the trunk's own frame (x to the body's left, y to the head,
// z out of the chest). Vectors are [x, y, z]; angles rad. The figure turns about the floor's middle, so that a lying
// body is seen from its side, its head to the left of the screen.

import * as THREE from 'three';

const EASE_S = 0.8;
const WORLD_UP = new THREE.Vector3(0, 1, 0);
const ACROSS = -Math.PI / 2; // a body on its back points its head away from the camera: turned so, it lies across

/** The rotation that brings `up` of the body's frame upright, and lays a lying body across the view. */
export function rotationOf(up) {
  const axis = new THREE.Vector3(...(up ?? [0, 1, 0]));
  if (!(axis.lengthSq() > 1e-6)) return new THREE.Quaternion();
  axis.normalize();
  const tilt = Math.acos(Math.min(1, Math.max(-1, axis.y)));
  const upright = new THREE.Quaternion().setFromUnitVectors(axis, WORLD_UP);
  const head = new THREE.Vector3(0, 1, 0).applyQuaternion(upright); // where the head points now
  const lies = Math.min(1, tilt / (Math.PI / 3));
  const heading = Math.hypot(head.x, head.z) > 1e-3 ? Math.atan2(head.x, head.z) : 0;
  const turn = Math.atan2(Math.sin(ACROSS - heading), Math.cos(ACROSS - heading));
  return new THREE.Quaternion().setFromAxisAngle(WORLD_UP, turn * lies).multiply(upright);
}

/** Turns a group towards the posture it is told, and says what room the body then takes. */
export class Posture {
  constructor() {
    this.rotation = new THREE.Quaternion();
    this.wanted = new THREE.Quaternion();
    this.box = new THREE.Box3();
  }

  /** Takes `up` (null: upright); true where the body has to be framed anew. `positions` (3 N) m. */
  aim(up, positions) {
    const next = rotationOf(up);
    if (this.told === positions && next.angleTo(this.wanted) < 0.06) return false; // 3.5 degrees: sensors tremble
    this.told = positions;
    this.wanted.copy(next);
    this.measure(positions);
    return true;
  }

  /** The box of the body in the posture that it will have, m. */
  measure(positions) {
    const point = new THREE.Vector3();
    this.box.makeEmpty();
    for (let i = 0; i < positions.length; i += 12) { // every fourth vertex
      this.box.expandByPoint(point.fromArray(positions, i).applyQuaternion(this.wanted));
    }
  }

  /** Eases `group` there by `dt_s`, `turn` rad about the vertical on top; the lowest part rests on the floor. */
  step(group, dt_s, turn, still) {
    const k = still ? 1 : 1 - Math.exp(-dt_s / EASE_S);
    this.rotation.slerp(this.wanted, k);
    group.quaternion.setFromAxisAngle(WORLD_UP, turn).multiply(this.rotation);
    const { min, max } = this.box;
    const centre = [-(min.x + max.x) / 2, this.lying ? -(min.z + max.z) / 2 : 0];
    group.position.x += (centre[0] - group.position.x) * k;
    group.position.z += (centre[1] - group.position.z) * k;
    group.position.y += (-min.y - group.position.y) * k;
  }

  /** Whether the body takes more width than height. */
  get lying() {
    return this.box.max.x - this.box.min.x > this.box.max.y - this.box.min.y;
  }

  /** {width, height} m that the camera must hold. */
  get extent() {
    const { min, max } = this.box;
    return { width: max.x - min.x, height: max.y - min.y };
  }
}
