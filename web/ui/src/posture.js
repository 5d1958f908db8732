// Posture and motion from three axes of acceleration, g. At rest an accelerometer feels +1 g along the axis that points up.
// On the trunk: x to the body's left, y to the head, z out of the chest.

const WINDOW_S = 4; // gravity is what stays the same over a few seconds
const MOVING_G = 0.06; // standard deviation of the magnitude; sitting still stays under 0.02
const UPRIGHT_DEG = 25;
const LYING_DEG = 60;

/** {up: unit vector, moving} from the last seconds before `t_s` of the axes' series; null where they have too little. */
export function gravity(axes, t_s) {
  const sums = [0, 0, 0];
  const sizes = [];
  const [first] = axes;
  const end = first ? first.indexAt(t_s) : -1;
  for (let i = end; i >= 0 && first.t[i] > t_s - WINDOW_S; i -= 1) {
    const at = axes.map((series) => series?.value[series.indexAt(first.t[i] + 1e-3)] ?? NaN);
    if (!at.every(Number.isFinite)) continue;
    at.forEach((value, k) => { sums[k] += value; });
    sizes.push(Math.hypot(...at));
  }
  const length = Math.hypot(...sums);
  if (sizes.length < 3 || !(length / sizes.length > 0.5)) return null; // free fall or nonsense says nothing of up
  const mean = sizes.reduce((a, b) => a + b, 0) / sizes.length;
  const spread = Math.sqrt(sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / sizes.length);
  return {up: sums.map((sum) => sum / length), moving: spread > MOVING_G};
}

/** upright, reclined, supine, prone, left_side, right_side or head_down, from "up" in the trunk's frame. */
export function postureOf([x, y, z]) {
  const tilt = (Math.acos(Math.max(-1, Math.min(1, y))) * 180) / Math.PI;
  if (tilt < UPRIGHT_DEG) return 'upright';
  if (tilt > 180 - LYING_DEG) return 'head_down';
  if (tilt < LYING_DEG) return 'reclined';
  if (Math.abs(z) >= Math.abs(x)) return z > 0 ? 'supine' : 'prone';
  return x > 0 ? 'right_side' : 'left_side'; // the left is up: the body lies on its right
}
