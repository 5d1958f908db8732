// How doubt looks, the same on skin, organs and the flat outline. What is synthesised is dashed always, and dissolves into
// grains: the share of a part that is still drawn is its confidence. At 95 % that hardly shows, at 50 % nobody misses it,
// at 15 % little is left. Withheld is hollow, quarantined hatched. `dashDepth` here and in GLSL are the same formula.

/** The share 0..1 of a synthesised part that is still drawn at `confidence` 0..1. */
export const presence = (confidence) => Math.min(1, Math.max(0, confidence));

/** How dark the gaps between dashes are, 0..1, at `confidence`. */
export const dashDepth = (confidence) => {
  const x = Math.min(1, Math.max(0, (0.95 - confidence) / 0.45));
  return 0.3 + 0.7 * x * x * (3 - 2 * x);
};

/** GLSL: `made` gives the light 0..1 of a synthesised pixel, `hatched` that of a quarantined one. */
export const DOUBT = /* glsl */ `
  float doubtHash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
  float dashDepth(float sure) { return 0.3 + 0.7 * smoothstep(0.0, 0.45, 0.95 - sure); }
  float made(float sure, vec2 px, float time) {
    float along = (px.x + px.y) / 9.0 - time * 0.35;
    float stripe = fract(along);
    float dash = smoothstep(0.0, 0.14, stripe) * (1.0 - smoothstep(0.52, 0.66, stripe));
    float grain = doubtHash(floor(px / 2.0) + floor(time * 5.0) * 0.37);
    return mix(1.0, dash, dashDepth(sure)) * step(grain, sure);
  }
  float hatched(vec2 px) {
    vec2 crossing = abs(fract(vec2(px.x + px.y, px.x - px.y) / 8.0) - 0.5);
    return max(smoothstep(0.30, 0.44, crossing.x), smoothstep(0.30, 0.44, crossing.y));
  }
`;
