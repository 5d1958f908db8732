// The body without WebGL: a flat outline in SVG with the same regions, styles, labels and lens as the room, a few
// times a second. Doubt thins the dashes as it dissolves the room's; nothing beats or turns. Also stands in while a lost
// graphics context is being restored.

import { skinColour } from './ambience.js';
import { dashDepth, presence } from './doubt.js';
import { setAttribute } from './dom.js';
import { Facts } from './facts.js';
import { Labels } from './labels.js';
import { plan } from './layout.js';
import { OUTLINE } from './outline.js';
import { FACE, ORGANS, PROVENANCE, REGIONS, unit } from './regions.js';

const SVG = 'http://www.w3.org/2000/svg';
const EVERY_MS = 250;
const FACE_BOX = [-128, -12, 256]; // x, y, size of what the lens shows, mm
const ORGAN_INK = { heart: '#ff5d6c', lungs: '#5fe3cf' };
const NOTE_SPOTS = { heart: [25, 470], lungs: [-85, 390] }; // mm

let instances = 0;

export class Flat {
  /** `root` is the overlay's element; `hooks` {getView, pick}. */
  constructor(root, options, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.picked = null;
    this.id = `eb-flat-${(instances += 1)}`;
    this.draw(options.title);
    this.facts = new Facts(root, options.labels);
    this.labels = new Labels(root, { pick: (r) => this.pick(r), point: () => {}, words: options.labels });
    this.size = { width: 0, height: 0 };
    this.timer = setInterval(() => this.frame(), EVERY_MS);
    this.frame();
    this.ready = Promise.resolve();
  }

  setPatient() {} // one outline stands for everyone

  pose() {} // and is seen from the front

  setPicked(place) {
    this.picked = place;
  }

  /** Makes the drawing once; `frame` only changes attributes. */
  draw(title) {
    const doc = this.root.ownerDocument;
    const make = (tag, attributes, parent) => {
      const node = doc.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      parent?.append(node);
      return node;
    };
    this.svg = make('svg', { class: 'eb-flat', role: 'img', 'aria-label': title });
    const defs = make('defs', {}, this.svg);
    this.patterns = Object.fromEntries([...REGIONS, ...ORGANS].map((name) => [name, this.pattern(make, defs, name)]));
    const hatch = make('pattern', { id: `${this.id}-hatch`, width: 9, height: 9, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' }, defs);
    make('path', { d: 'M0 0H9M0 0V9', stroke: '#ff6b38', 'stroke-width': 2.4, fill: 'none' }, hatch);
    const body = make('g', { id: `${this.id}-body` }, this.svg);
    this.floor(make, body);
    make('path', { d: OUTLINE.body, fill: '#081a2b', stroke: '#38bdf8', 'stroke-width': 2.4, 'stroke-linejoin': 'round' }, body);
    make('path', { d: OUTLINE.shade, fill: '#38bdf8', 'fill-opacity': 0.16, 'fill-rule': 'evenodd' }, body);
    make('path', { d: OUTLINE.face, fill: 'none', stroke: '#7fd0ff', 'stroke-opacity': 0.55, 'stroke-width': 1.1, 'stroke-linecap': 'round' }, body);
    this.organs = Object.entries(OUTLINE.organs).map(([part, d]) => {
      const place = part === 'heart' ? 'heart' : 'lungs';
      const path = make('path', { d, style: 'cursor: pointer', 'data-organ': place }, body);
      path.addEventListener('click', () => this.pick(place));
      return [place, path];
    });
    this.regions = {};
    for (const name of REGIONS) {
      const path = make('path', { d: OUTLINE.regions[name], style: 'cursor: pointer', 'stroke-linejoin': 'round' }, body);
      path.addEventListener('click', () => this.pick(name));
      this.regions[name] = path;
    }
    const clip = make('clipPath', { id: `${this.id}-clip` }, defs);
    this.clip = make('circle', {}, clip);
    this.body = body;
    this.lensGroup = make('g', { 'clip-path': `url(#${this.id}-clip)` }, this.svg);
    this.lensGround = make('circle', { fill: '#07131f' }, this.lensGroup);
    this.lensUse = make('use', { href: `#${this.id}-body` }, this.lensGroup);
    this.lensRing = make('circle', { fill: 'none', stroke: '#38bdf8', 'stroke-opacity': 0.75, 'stroke-width': 2 }, this.svg);
    this.root.prepend(this.svg);
  }

  pattern(make, defs, name) {
    const box = { id: `${this.id}-${name}`, width: 10, height: 10, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(-45)' };
    const pattern = make('pattern', box, defs);
    return make('rect', { width: 7, height: 4, y: 3 }, pattern);
  }

  floor(make, parent) {
    for (const [rx, opacity] of [[300, 0.8], [345, 0.4], [460, 0.25]]) {
      make('ellipse', { cx: 0, cy: OUTLINE.height - 8, rx, ry: rx * 0.16, fill: 'none', stroke: '#38bdf8', 'stroke-opacity': opacity, 'stroke-width': 2 }, parent);
    }
  }

  frame() {
    if (this.root.ownerDocument.hidden) return;
    const view = this.hooks.getView(performance.now());
    const words = this.labels.write(view, this.picked);
    for (const name of REGIONS) this.style(name, view.regions?.[name], view.skin);
    for (const [place, path] of this.organs) this.styleOrgan(path, place, view.organs?.[place]);
    this.facts.write(view, performance.now());
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    if (words || width !== this.size.width || height !== this.size.height) this.place({ width, height });
    else this.ring();
  }

  /** A region's look by its provenance: solid, dashed, hatched or hollow. */
  style(name, word, skin) {
    const path = this.regions[name];
    const mode = PROVENANCE[word?.provenance ?? 'none']?.mode ?? -1;
    const colour = mode === 2 ? '#ff7a59' : mode === 3 ? '#b3c1ce' : (word?.color ?? '#7fc4ea');
    this.patterns[name].setAttribute('fill', colour);
    this.thin(name, word);
    const fills = [colour, `url(#${this.id}-${name})`, `url(#${this.id}-hatch)`, '#04080e'];
    const strength = [0.3 + 0.5 * unit(word?.activity), 0.75, 0.9, 0.95];
    const attributes = {
      fill: mode < 0 ? 'transparent' : mode === 0 && skin?.region === name ? css(skinColour(skin.celsius)) : fills[mode],
      'fill-opacity': mode < 0 ? 0 : strength[mode] * (name === 'chest' && mode === 0 ? 0.4 : 1),
      stroke: mode < 0 ? 'none' : colour,
      'stroke-width': this.picked === name ? 5 : 2.2,
      'stroke-dasharray': mode === 1 ? `${(3 + 9 * presence(unit(word?.confidence))).toFixed(1)} 6` : '',
      'pointer-events': mode < 0 ? 'none' : 'auto',
    };
    for (const [key, value] of Object.entries(attributes)) {
      setAttribute(path, key, String(value));
    }
  }

  /** An organ in the style of what moves it; faint where nothing measures it. */
  styleOrgan(path, place, word) {
    const mode = word?.illustrative ? -1 : (PROVENANCE[word?.provenance ?? 'none']?.mode ?? -1);
    const ink = mode === 2 ? '#ff7a59' : mode === 3 ? '#b3c1ce' : ORGAN_INK[place];
    const fills = { 1: `url(#${this.id}-${place})`, 2: `url(#${this.id}-hatch)`, 3: '#04080e' };
    const solid = place === 'heart' ? 0.55 : 0.14;
    this.patterns[place].setAttribute('fill', ink);
    this.thin(place, word);
    const attributes = {
      fill: fills[mode] ?? ink,
      'fill-opacity': mode === 0 ? solid : mode < 0 ? solid * 0.7 : place === 'heart' ? 0.8 : 0.4,
      stroke: ink,
      'stroke-opacity': mode < 0 ? 0.5 : 0.8,
      'stroke-width': this.picked === place ? 4.5 : 2,
      'stroke-dasharray': mode === 1 ? `${(2 + 7 * presence(unit(word?.confidence))).toFixed(1)} 5` : '',
    };
    for (const [key, value] of Object.entries(attributes)) setAttribute(path, key, String(value));
  }

  /** Thins a place's dashes as its confidence falls. */
  thin(place, word) {
    const sure = unit(word?.confidence);
    const width = 10 * presence(sure) * (1 - 0.4 * dashDepth(sure));
    setAttribute(this.patterns[place], 'width', Math.max(0.9, width).toFixed(2));
  }

  /** Takes up a new size or a new set of cards. */
  place(size) {
    this.size = size;
    this.plan = plan(size, this.labels.cards.size, true);
    const { stage, gutter, lens, aside } = this.plan;
    this.svg.setAttribute('width', stage.width);
    this.svg.setAttribute('height', stage.height);
    this.scale = Math.min((stage.height * 0.9) / (OUTLINE.height + 60), (stage.width - 2 * gutter) / 960);
    this.origin = { x: stage.width / 2 - aside, y: (stage.height - OUTLINE.height * this.scale) / 2 };
    this.body.setAttribute('transform', `translate(${this.origin.x} ${this.origin.y}) scale(${this.scale})`);
    const r = lens.size / 2;
    for (const circle of [this.clip, this.lensGround, this.lensRing]) {
      circle.setAttribute('cx', lens.x + r);
      circle.setAttribute('cy', lens.y + r);
      circle.setAttribute('r', r);
    }
    const zoom = lens.size / FACE_BOX[2] / this.scale;
    const shift = [
      lens.x - (FACE_BOX[0] * this.scale + this.origin.x) * zoom, lens.y - (FACE_BOX[1] * this.scale + this.origin.y) * zoom,
    ];
    this.lensUse.setAttribute('transform', `translate(${shift[0]} ${shift[1]}) scale(${zoom})`);
    this.labels.place(size, this.plan, (anchor, side) => this.where(anchor, side).y);
    this.labels.pointTo((anchor, side, inLens) => this.where(anchor, side, inLens), this.plan, true);
    const [x, y, box] = FACE_BOX;
    const middle = this.screen(x + box / 2, y + box / 2);
    this.labels.tieLens(lens, { ...middle, r: (box / 2) * this.scale });
    this.ring();
  }

  ring() {
    this.labels.pin(this.picked ? [{ place: this.picked, kind: 'picked' }] : [], (place, side) => this.where(place, side));
  }

  screen(x, y) {
    return { x: this.origin.x + x * this.scale, y: this.origin.y + y * this.scale };
  }

  where(anchor, side, inLens) {
    const [x, y] = NOTE_SPOTS[anchor] ?? OUTLINE.anchors[anchor][side < 0 ? 1 : 0];
    const { lens } = this.plan;
    if (!inLens || !FACE.has(anchor) || !lens.size) return this.screen(x, y);
    const zoom = lens.size / FACE_BOX[2];
    return { x: lens.x + (x - FACE_BOX[0]) * zoom, y: lens.y + (y - FACE_BOX[1]) * zoom };
  }

  pick(region) {
    this.picked = this.picked === region ? null : region;
    this.hooks.pick(this.picked);
    this.frame();
  }

  dispose() {
    clearInterval(this.timer);
    this.labels.dispose();
    this.facts.dispose();
    this.svg.remove();
  }
}

const css = (colour) => `rgb(${colour.map((c) => Math.round(c * 255)).join(' ')})`;
