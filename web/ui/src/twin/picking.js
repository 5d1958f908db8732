// From a pointer to a region: a ray through the room, or through the lens when the pointer is on it.

import * as THREE from 'three';
import { FACE } from './regions.js';

const CLICK_PX = 6; // a press that moves farther is a turn of the body, not a pick
const HOVER_MS = 110;

export class Picking {
  /** `cast(x, y)` -> {camera, x, y} for a point in CSS px; `pick(region|null)` and `point(region|null)` report. */
  constructor(canvas, figure, { cast, isShown, pick, point }) {
    Object.assign(this, { canvas, figure, cast, isShown, pick, point });
    this.ray = new THREE.Raycaster();
    this.down = null;
    this.hoveredAt = 0;
    this.listeners = {
      pointerdown: (e) => (this.down = { x: e.clientX, y: e.clientY }),
      pointerup: (e) => this.up(e),
      pointermove: (e) => this.hover(e),
      pointerleave: () => this.point(null),
    };
    for (const [name, listener] of Object.entries(this.listeners)) canvas.addEventListener(name, listener);
  }

  up(event) {
    const start = this.down;
    this.down = null;
    if (!start || Math.hypot(event.clientX - start.x, event.clientY - start.y) > CLICK_PX) return;
    const found = this.at(event);
    if (found) this.pick(found);
  }

  hover(event) {
    if (event.buttons || event.pointerType === 'touch' || event.timeStamp - this.hoveredAt < HOVER_MS) return;
    this.hoveredAt = event.timeStamp;
    const found = this.at(event);
    this.canvas.style.cursor = found ? 'pointer' : 'grab';
    this.point(found);
  }

  /** The shown region under an event, or null. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const aim = this.cast(event.clientX - box.left, event.clientY - box.top);
    this.ray.setFromCamera(new THREE.Vector2(aim.x, aim.y), aim.camera);
    const [hit] = this.ray.intersectObject(this.figure.skin, false);
    if (!hit) return null;
    const region = this.figure.avatar.regionAt([hit.face.a, hit.face.b, hit.face.c]);
    const organ = region && region !== 'chest' ? null : this.organAt();
    if (organ) return organ;
    if (region && this.isShown(region)) return region;
    return region === 'head' || FACE.has(region) ? [...FACE].find((name) => this.isShown(name)) ?? null : null;
  }

  /** The organ behind the chest's skin at the ray, or null. */
  organAt() {
    const { heart, lung_l: left, lung_r: right } = this.figure.organs;
    const hits = this.ray.intersectObjects([heart, left, right].filter(Boolean), false);
    if (!hits.length) return null;
    const organ = hits.some(({ object }) => object === heart) ? 'heart' : 'lungs'; // a lung is glass: one picks what one sees
    return this.isShown(organ) ? organ : null;
  }

  dispose() {
    for (const [name, listener] of Object.entries(this.listeners)) this.canvas.removeEventListener(name, listener);
  }
}
