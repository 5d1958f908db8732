// What the room's sensors and the skin's temperature do to colours. Pure arithmetic; every effect is subtle, and its
// number always stands beside it in words. A value that is not known changes nothing.

const USED = new Set(['measured', 'synthesised', 'predicted']);
const span = (x, low, high) => Math.min(1, Math.max(0, (x - low) / (high - low)));

/** Skin temperatures, in Cel, of the tint's ends and its middle: a cold hand, a comfortable wrist, fever at the skin. */
export const SKIN_SCALE_C = [26, 33, 39];
const COLD = [0.25, 0.50, 1.0];
const PLAIN = [0.45, 0.72, 0.85];
const WARM = [1.0, 0.38, 0.22];

/** Display RGB 0..1 of skin at `celsius`. */
export function skinColour(celsius) {
  const [low, middle, high] = SKIN_SCALE_C;
  const [from, to, share] = celsius < middle ? [COLD, PLAIN, span(celsius, low, middle)] : [PLAIN, WARM, span(celsius, middle, high)];
  return from.map((c, i) => c + (to[i] - c) * share);
}

/**
 * {haze 0..1, warmth -1..1, light 0.6..1.3} from the air's words {signal, value, provenance}: haze grows from 30 to
 * 90 % humidity; warmth is 0 at 21 Cel and 1 at 30; light follows the logarithm of lux, 1 at 100 lx.
 */
export function ambience(air) {
  const value = (signal) => {
    const word = Object.values(air ?? {}).find((w) => w?.signal === signal && USED.has(w.provenance) && Number.isFinite(w.value));
    return word?.value;
  };
  const [humidity, celsius, lux] = ['room_rh_pct', 'room_temp_C', 'light_lux'].map(value);
  return {
    haze: humidity === undefined ? 0 : span(humidity, 30, 90),
    warmth: celsius === undefined ? 0 : Math.min(1, Math.max(-1, (celsius - 21) / 9)),
    light: lux === undefined ? 1 : Math.min(1.3, Math.max(0.6, 1 + 0.15 * Math.log10(Math.max(lux, 0.1) / 100))),
  };
}
