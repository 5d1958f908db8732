// The room in WebGL: renderer, stage, figure, cameras, lens and the frame loop. `index.js` decides whether it is used.
//
// Where a second viewer would come in: a viewer is a pose (plain numbers, see `pose`), a list of pins (what is picked or
// pointed at, see `pins`) and what a Figure shows; all three are values, and nothing here assumes that they are ours.

import * as THREE from 'three';
import { loadAvatar } from './avatar.js';
import { ambience } from './ambience.js';
import { Camera } from './camera.js';
import { Facts } from './facts.js';
import { Figure } from './figure.js';
import { listen } from './input.js';
import { Labels } from './labels.js';
import { plan } from './layout.js';
import { Lens, subjectOf } from './lens.js';
import { Picking } from './picking.js';
import { Governor, settleGpu } from './quality.js';
import { FACE, wordOf } from './regions.js';
import { lensTie, rayAt, whereIs } from './sight.js';
import { makeStage } from './stage.js';

const SWAY_RAD = 0.07;
const SWAY_PERIOD_S = 17;
const STATS_MS = 1000;
const WORDS_MS = 60;
const WARM_FRAMES = 8; // the first ones compile shaders and say nothing of the rest

export class Room {
  /** `root` is the overlay's element; `hooks` {getView, pick, lost, restored}; rejects nothing: `ready` does. */
  constructor(root, can, options, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.reducedMotion = options.reducedMotion;
    this.canvas = root.ownerDocument.createElement('canvas');
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute('role', 'img');
    this.canvas.setAttribute('aria-label', options.title);
    root.prepend(this.canvas);
    this.governor = new Governor({ ...can, reducedMotion: this.reducedMotion, devicePixelRatio: window.devicePixelRatio });
    this.samples = can.software ? 0 : 4;
    this.lensEvery = can.software ? 3 : 1; // frames
    this.linesEvery_s = can.software ? 0.12 : 0;
    this.renderer = new THREE.WebGLRenderer({ canvas: this.canvas, antialias: !can.software, alpha: false, stencil: false });
    this.renderer.autoClear = false;
    this.scene = new THREE.Scene();
    this.stage = makeStage();
    this.scene.add(this.stage.group);
    this.camera = new Camera(this.canvas);
    this.lens = new Lens();
    this.camera.pose = options.pose;
    this.facts = new Facts(root, options.labels);
    this.labels = new Labels(root, { pick: (r) => this.pick(r), point: (r) => (this.pointed = r), words: options.labels });
    this.frames = 0; // with the body in them
    this.picked = null;
    this.pointed = null;
    this.time_s = 0;
    this.size = { width: 0, height: 0 };
    this.ready = new Promise((resolve) => (this.settle = resolve));
    this.unlisten = listen(this);
    this.loading = loadAvatar(options.glbUrl).then((avatar) => this.enter(avatar, options.patient));
    this.loop = (now) => {
      this.frameId = requestAnimationFrame(this.loop);
      this.frame(now);
    };
    this.frameId = requestAnimationFrame(this.loop);
  }

  enter(avatar, patient) {
    if (this.gone) {
      avatar.dispose();
      return;
    }
    this.figure = new Figure(avatar);
    this.scene.add(this.figure.group);
    this.setPatient(this.patient ?? patient);
    this.picking = new Picking(this.canvas, this.figure, {
      cast: (x, y) => rayAt(this, x, y),
      isShown: (place) => shows(wordOf(this.view, place)),
      pick: (region) => this.pick(region),
      point: (region) => (this.pointed = region),
    });
  }

  setPatient(patient) {
    this.patient = patient;
    if (!this.figure) return;
    this.figure.avatar.setPatient(patient);
    this.figure.fit();
    this.figure.aim(this.view ?? {});
    this.size = { width: 0, height: 0 }; // frames the body anew
  }

  // ------------------------------------------------------------------------------------------- one frame

  frame(now) {
    if (this.root.ownerDocument.hidden || this.lost || this.hidden) return;
    if (this.offScreen) { // scrolled away: nothing is drawn, but whoever reads the facts reads on
      if (this.facts.due(now)) this.facts.write(this.hooks.getView(now), now);
      return;
    }
    if (!this.governor.due(now)) {
      this.keepWords(now);
      return;
    }
    const dt_s = this.governor.begin(now);
    this.time_s += dt_s;
    this.look(now);
    if (this.figure?.aim(this.view)) this.size = { width: 0, height: 0 }; // lies down or gets up: framed anew
    this.measure();
    if (!this.size.width || !this.size.height) return;
    this.advance(dt_s);
    const check = this.frames > WARM_FRAMES && this.governor.wantsCheck(now);
    if (check) settleGpu(this.renderer.getContext());
    const start = performance.now();
    this.draw();
    if (check) {
      settleGpu(this.renderer.getContext());
      this.governor.spent(performance.now() - start);
    }
    if (this.figure && this.governor.adapt()) this.size = { width: 0, height: 0 };
    this.report(now);
  }

  /** Takes the view as it is now. */
  look(now) {
    this.view = this.hooks.getView(now);
    this.facts.write(this.view, now);
    this.lookedAt = now;
  }

  /** Between two pictures the words stay as fresh as the page's others: a slow GPU must not make values late. */
  keepWords(now) {
    if (!this.view || now - this.lookedAt < WORDS_MS) return;
    this.look(now);
    this.labels.write(this.view, this.picked);
  }

  advance(dt_s) {
    const turn = this.reducedMotion ? 0 : SWAY_RAD * Math.sin((2 * Math.PI * this.time_s) / SWAY_PERIOD_S);
    this.camera.update(dt_s);
    const { air = {} } = this.view;
    if (this.figure) this.figure.skin.material.uniforms.uPixel.value = this.governor.dpr;
    this.stage.update(this.reducedMotion ? 40 : this.time_s, Object.values(air)[0], ambience(air), this.governor);
    if (this.figure) {
      const stir = this.reducedMotion || !this.view.posture?.moving ? 0 : 0.02 * Math.sin(this.time_s * 2.1);
      this.figure.posture.step(this.figure.group, dt_s, turn + stir, this.reducedMotion);
      this.figure.group.updateMatrixWorld();
      this.figure.update(this.view, new Set([this.picked, this.pointed]), this.time_s, dt_s, this.reducedMotion);
      this.lens.aim(subjectOf(this.picked), this.lensSide(), this.figure, dt_s);
    }
    this.write();
  }

  lensSide() {
    return this.labels.placed[this.picked]?.side === 'left' ? -1 : 1;
  }

  write() {
    const stale = this.labels.write(this.view, this.picked);
    if (!this.figure) return;
    if (stale) {
      this.measure(true);
      this.labels.place(this.size, this.plan, (anchor, side) => whereIs(this, anchor, side, false)?.y ?? 0);
    }
    if (!stale && this.time_s - (this.linesAt_s ?? -1) < this.linesEvery_s) return;
    this.linesAt_s = this.time_s;
    const face = this.lens.rect.size > 0 && subjectOf(this.picked) === 'face';
    this.labels.pointTo((anchor, side, inLens) => whereIs(this, anchor, side, inLens), this.plan, face);
    this.labels.tieLens(this.lens.rect, lensTie(this));
    this.labels.pin(this.pins(), (place, side) => whereIs(this, place, side, false));
  }

  /** What is marked on the body: [{place, kind}]. */
  pins() {
    const pointed = this.pointed && this.pointed !== this.picked ? [{ place: this.pointed, kind: 'pointed' }] : [];
    return [...(this.picked ? [{ place: this.picked, kind: 'picked' }] : []), ...pointed];
  }

  draw() {
    const { renderer } = this;
    if (this.figure) this.frames += 1;
    const lensed = this.figure && this.lens.rect.size;
    const every = this.governor.spare ? Math.max(3, this.lensEvery) : this.lensEvery;
    if (lensed && this.frames % every === 1 % every) this.drawLens();
    renderer.clear();
    renderer.render(this.scene, this.camera.eye);
    if (lensed) renderer.render(this.lens.scene, this.lens.flat);
    if (this.figure && this.settle) {
      this.settle();
      this.settle = null;
    }
  }

  drawLens() {
    const { renderer } = this;
    const faceOnly = FACE.has(this.picked) || !this.picked;
    this.stage.group.visible = false;
    renderer.setRenderTarget(this.lens.target);
    renderer.setClearColor(0x000000, 1);
    renderer.clear();
    this.figure.forLens(this.lens.lowest(), faceOnly, () => renderer.render(this.scene, this.lens.eye));
    renderer.setRenderTarget(null);
    this.stage.group.visible = true;
  }

  report(now) {
    if (now - (this.reported ?? 0) < STATS_MS) return;
    this.reported = now;
    Object.assign(this.root.dataset, {
      fps: this.governor.fps.toFixed(1), dpr: String(this.governor.dpr), frameMs: this.governor.cost.toFixed(1), spare: String(this.governor.spare),
    });
  }

  // ----------------------------------------------------------------------------------------------- places

  /** Takes up a new size, resolution or number of cards. */
  measure(force = false) {
    const width = this.root.clientWidth;
    const height = this.root.clientHeight;
    const same = width === this.size.width && height === this.size.height;
    if (same && !force) return;
    if (!same) this.labels.stale = true;
    this.size = { width, height };
    if (!width || !height) return;
    const before = this.plan;
    this.plan = plan(this.size, this.labels.cards.size, Boolean(this.figure));
    const { stage, gutter, lens, aside } = this.plan;
    const { dpr } = this.governor;
    const unchanged = same && before && stage.height === before.stage.height && lens.size === before.lens.size;
    if (unchanged) return;
    this.renderer.setPixelRatio(dpr);
    this.renderer.setSize(stage.width, stage.height);
    this.camera.frame(stage, this.figure?.posture.extent ?? { width: 1, height: 1.75 }, gutter, aside);
    this.lens.place(lens, stage, dpr, this.samples);
  }

  // ---------------------------------------------------------------------------------------------- people

  pick(region) {
    this.picked = this.picked === region ? null : region;
    this.hooks.pick(this.picked);
  }

  /** Shows what was picked elsewhere on the page; tells nobody. */
  setPicked(region) {
    this.picked = region;
  }

  /** Where the camera stands, as plain values; see camera.js. */
  pose() {
    return this.camera.pose;
  }

  /** Takes canvas, labels and facts away, or brings them back. */
  hide(hidden) {
    this.hidden = hidden;
    this.canvas.style.visibility = hidden ? 'hidden' : '';
    this.labels.show(!hidden);
    this.facts.show(!hidden);
  }

  dispose() {
    this.gone = true;
    cancelAnimationFrame(this.frameId);
    this.unlisten();
    this.picking?.dispose();
    this.labels.dispose();
    this.facts.dispose();
    this.camera.dispose();
    this.lens.dispose();
    this.stage.dispose();
    this.figure?.dispose();
    this.figure = this.picking = null;
    this.renderer.dispose();
    this.renderer.forceContextLoss();
    this.canvas.remove();
  }
}

const shows = (word) => Boolean(word) && (word.illustrative || (word.provenance ?? 'none') !== 'none');
