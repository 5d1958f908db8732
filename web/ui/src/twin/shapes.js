// The arithmetic of body shapes: mixing morphs, measuring height and volume. Positions are flat arrays (3 N), metres.

const ADULT_AGE = 25;

/** Shares 0..1 of the shapes `female`, `old`, `child` (ten years old) and `baby` (one year old). */
export function sexAndAge(sex, age) {
  const female = /^f/i.test(String(sex)) ? 1 : /^m/i.test(String(sex)) ? 0 : 0.5; // unknown: between the two
  const years = Number.isFinite(age) ? age : ADULT_AGE;
  const baby = clamp((10 - years) / 9);
  return {
    female: female * (1 - baby), // the baby's shape is one for both
    old: clamp((years - ADULT_AGE) / 60),
    child: Math.min(clamp((18 - years) / 8), 1 - baby),
    baby,
  };
}

const clamp = (x) => Math.min(1, Math.max(0, x));

/** Adds a share of a morph. */
export function add(out, delta, share) {
  if (!delta || Math.abs(share) < 1e-4) return;
  for (let i = 0; i < out.length; i += 1) out[i] += share * delta[i];
}

/** Height of a shape, m. */
export function heightOf(positions) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 1; i < positions.length; i += 3) {
    if (positions[i] < low) low = positions[i];
    if (positions[i] > high) high = positions[i];
  }
  return high - low;
}

/** Signed volume m3 inside a closed surface: the sum of its faces' tetrahedra with the origin. */
export function volumeOf(p, index) {
  let six = 0;
  for (let f = 0; f < index.length; f += 3) {
    const [a, b, c] = [3 * index[f], 3 * index[f + 1], 3 * index[f + 2]];
    six += p[a] * (p[b + 1] * p[c + 2] - p[b + 2] * p[c + 1]);
    six += p[a + 1] * (p[b + 2] * p[c] - p[b] * p[c + 2]);
    six += p[a + 2] * (p[b] * p[c + 1] - p[b + 1] * p[c]);
  }
  return six / 6;
}

/** Scales a shape to a height, m, and puts its soles on y = 0. */
export function scaleTo(positions, metres) {
  const factor = metres / heightOf(positions);
  let low = Infinity;
  for (let i = 1; i < positions.length; i += 3) low = Math.min(low, positions[i]);
  for (let i = 0; i < positions.length; i += 1) positions[i] = (positions[i] - (i % 3 === 1 ? low : 0)) * factor;
}
