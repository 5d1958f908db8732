// The main camera: frames the whole body between the gutters, orbits gently, comes back on a double click.

import * as THREE from 'three';
import { OrbitControls } from 'three/examples/jsm/controls/OrbitControls.js';

const FOV_DEG = 24; // long lens: little distortion of face and hands
const HOME_AZIMUTH = 0.0;
const STANDING_POLAR = 1.52; // rad from the vertical; a little above the horizon
const LYING_POLAR = 1.08; // a lying body is looked down upon, as from a bedside
const EASE_S = 0.5;
const ZOOM = [0.55, 1.25];

export class Camera {
  constructor(canvas) {
    this.eye = new THREE.PerspectiveCamera(FOV_DEG, 1, 0.1, 30);
    this.controls = new OrbitControls(this.eye, canvas);
    Object.assign(this.controls, {
      enablePan: false, enableDamping: true, dampingFactor: 0.08, rotateSpeed: 0.6, zoomSpeed: 0.6,
      minPolarAngle: 0.95, maxPolarAngle: 1.62,
    });
    canvas.style.touchAction = 'pan-y'; // a finger that goes up or down scrolls the page
    this.returning = null;
    this.controls.addEventListener('start', () => (this.returning = null));
    this.distance = 4.4;
    this.polar = STANDING_POLAR;
    this.target = new THREE.Vector3(0, 0.92, 0);
    this.place();
  }

  /** Fits a body of `extent` {width, height} m into `size` CSS px, `gutter` px free on both sides, `aside` px to the left. */
  frame(size, extent, gutter, aside) {
    const height = Math.max(extent.height, 0.5 * extent.width); // a lying body keeps some air above it
    const tan = Math.tan((FOV_DEG * Math.PI) / 360);
    const tall = (height * 1.10) / (2 * tan);
    const across = 1.08 * extent.width * (size.width / Math.max(120, size.width - 2 * gutter));
    const wide = across / (2 * tan * (size.width / size.height));
    this.distance = Math.max(tall, wide);
    this.target.set(0, extent.height * 0.505, 0);
    this.polar = extent.width > extent.height ? LYING_POLAR : STANDING_POLAR;
    this.eye.aspect = size.width / size.height;
    if (aside) this.eye.setViewOffset(size.width, size.height, aside, 0, size.width, size.height);
    else this.eye.clearViewOffset();
    this.eye.updateProjectionMatrix();
    this.controls.minDistance = this.distance * ZOOM[0];
    this.controls.maxDistance = this.distance * ZOOM[1];
    if (!this.framed) this.place();
    else this.reset();
    this.framed = true;
  }

  /** {azimuth, polar} rad and zoom (1 = all of the body): plain values, which another screen could take or give. */
  get pose() {
    const { theta, phi, radius } = this.spherical();
    return { azimuth: theta, polar: phi, zoom: this.distance / radius };
  }

  /** Takes a pose before the body is framed; undefined: from the front. */
  set pose(pose) {
    this.home = pose;
  }

  place() {
    const { azimuth, polar, zoom } = this.home ?? { azimuth: HOME_AZIMUTH, polar: this.polar, zoom: 1 };
    this.eye.position.setFromSphericalCoords(this.distance / zoom, polar, azimuth).add(this.target);
    this.controls.target.copy(this.target);
    this.controls.update();
  }

  /** Starts the way back to where the body was first seen. */
  reset() {
    this.returning = new THREE.Spherical(this.distance, this.polar, HOME_AZIMUTH);
  }

  /** Turns by `azimuth` rad and moves nearer by `zoom` (1 = as is): for the keyboard. */
  nudge(azimuth, zoom = 1) {
    const now = this.spherical();
    const far = Math.min(this.controls.maxDistance, Math.max(this.controls.minDistance, now.radius / zoom));
    this.returning = new THREE.Spherical(far, now.phi, now.theta + azimuth);
  }

  spherical() {
    return new THREE.Spherical().setFromVector3(this.eye.position.clone().sub(this.controls.target));
  }

  update(dt_s) {
    if (this.returning) {
      const now = this.spherical();
      const k = 1 - Math.exp(-dt_s / (EASE_S / 3));
      const turn = Math.atan2(Math.sin(this.returning.theta - now.theta), Math.cos(this.returning.theta - now.theta));
      now.set(
        now.radius + (this.returning.radius - now.radius) * k, now.phi + (this.returning.phi - now.phi) * k, now.theta + turn * k,
      );
      this.controls.target.lerp(this.target, k);
      this.eye.position.setFromSpherical(now).add(this.controls.target);
      if (Math.abs(turn) < 1e-3 && Math.abs(this.returning.radius - now.radius) < 1e-3) this.returning = null;
    }
    this.controls.update(dt_s);
  }

  dispose() {
    this.controls.dispose();
  }
}
