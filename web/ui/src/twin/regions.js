// The body regions that sensors sit on, and how a region's state eases from one provenance to the next.
// Order and names equal those of the masks in avatar.glb (`_REGIONS0`, `_REGIONS1`).

export const REGIONS = ['cheek', 'brow', 'forearm', 'palm', 'wrist', 'finger', 'chest', 'head'];

// Organs that a signal moves; they can be picked as regions can.
export const ORGANS = ['heart', 'lungs'];

/** The view's word for a region or an organ; undefined where it says nothing. */
export const wordOf = (view, place) => (ORGANS.includes(place) ? view?.organs?.[place] : view?.regions?.[place]);

// Which gutter a label prefers; the face is read in the lens, which stands on the right.
export const REGION_SIDE = {
  cheek: 'right', brow: 'right', head: 'right', palm: 'right', finger: 'right',
  chest: 'left', forearm: 'left', wrist: 'left',
};

export const FACE = new Set(['cheek', 'brow']);

// How each provenance is drawn, and the colour of its word; every one has at least 4.5:1 on the card's ground.
export const PROVENANCE = {
  measured: { ink: '#d7e9f7', mode: 0 },
  predicted: { ink: '#9cd6ff', mode: 0 },
  synthesised: { ink: '#ffc06b', mode: 1 },
  quarantined: { ink: '#ff8a6b', mode: 2 },
  withheld: { ink: '#b3c1ce', mode: 3 },
  none: { ink: '#b3c1ce', mode: -1 },
};

const EASE_MODE_S = 0.35;
const EASE_VALUE_S = 0.12;

/** What one region looks like right now: four style weights and three levels, each eased towards the view's word. */
export class RegionState {
  constructor() {
    this.mode = [0, 0, 0, 0]; // solid, dashed, hatched, hollow; each 0..1
    this.confidence = 1;
    this.activity = 0;
    this.accent = 0; // picked or pointed at
    this.colour = [0.22, 0.74, 0.97]; // display RGB, 0..1
  }

  /** Moves towards `word` (a region of the view, or undefined); `dt_s` since the last call. */
  step(word, accent, dt_s) {
    const target = PROVENANCE[word?.provenance ?? 'none']?.mode ?? -1;
    const k = 1 - Math.exp(-dt_s / EASE_MODE_S);
    const fast = 1 - Math.exp(-dt_s / EASE_VALUE_S);
    for (let i = 0; i < 4; i += 1) this.mode[i] += ((i === target ? 1 : 0) - this.mode[i]) * k;
    this.confidence += (unit(word?.confidence ?? 1) - this.confidence) * k;
    this.activity += (unit(word?.activity ?? 0) - this.activity) * fast;
    this.accent += ((accent ? 1 : 0) - this.accent) * fast;
    if (word?.color) this.colour = rgb(word.color);
  }
}

/** A number held in 0..1; anything that is no number counts as 0. */
export function unit(value) {
  return Number.isFinite(value) ? Math.min(1, Math.max(0, value)) : 0;
}

const colours = new Map();

/** Display RGB, 0..1, of a CSS hex colour (#rgb or #rrggbb); grey where it is neither. */
export function rgb(hex) {
  let found = colours.get(hex);
  if (!found) {
    const long = /^#[0-9a-f]{3}$/i.test(hex) ? `#${[...hex.slice(1)].map((c) => c + c).join('')}` : hex;
    const valid = /^#[0-9a-f]{6}$/i.test(long);
    found = valid ? [1, 3, 5].map((i) => parseInt(long.slice(i, i + 2), 16) / 255) : [0.6, 0.65, 0.7];
    if (colours.size < 256) colours.set(hex, found);
  }
  return found;
}
