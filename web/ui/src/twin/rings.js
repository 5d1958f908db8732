// Rings on the body around what is picked or pointed at, and the keys that walk through the list of places.

import { setAttribute, setData, setStyle } from './dom.js';
import { ORGANS } from './regions.js';

const RADIUS = { organ: '20', region: '12' }; // CSS px

export class Rings {
  /** Draws into `svg`. */
  constructor(svg) {
    this.svg = svg;
    this.rings = [];
  }

  /** One ring for each of `pins` [{place, kind: 'picked' | 'pointed'}], where `spotOf(place)` -> {x, y} or null is. */
  write(pins, spotOf) {
    while (this.rings.length < pins.length) {
      const ring = this.svg.ownerDocument.createElementNS(this.svg.namespaceURI, 'circle');
      ring.setAttribute('class', 'eb-ring');
      this.svg.append(ring);
      this.rings.push(ring);
    }
    this.rings.forEach((ring, i) => {
      const spot = pins[i] && spotOf(pins[i].place);
      setStyle(ring, 'display', spot ? '' : 'none');
      if (!spot) return;
      setAttribute(ring, 'cx', spot.x.toFixed(1));
      setAttribute(ring, 'cy', spot.y.toFixed(1));
      setAttribute(ring, 'r', ORGANS.includes(pins[i].place) ? RADIUS.organ : RADIUS.region);
      setData(ring, 'kind', pins[i].kind);
      setData(ring, 'place', pins[i].place);
    });
  }
}

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

/** Arrow keys, Home and End move the focus among the buttons of `list`. */
export function walk(event, list) {
  const buttons = [...list.querySelectorAll('button')];
  const at = buttons.indexOf(list.ownerDocument.activeElement);
  const ends = { Home: 0, End: buttons.length - 1 };
  const next = ends[event.key] ?? (STEPS[event.key] ? (at + STEPS[event.key] + buttons.length) % buttons.length : -1);
  if (at < 0 || next < 0) return;
  event.preventDefault();
  buttons[next].focus();
}
