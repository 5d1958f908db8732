// Vertical scales that hold still. A row's scale follows the data of the last sweep robustly, on round numbers, and
// changes only when a trace leaves it or has used little of it for a while.

const HOLD_S = 10; // a scale may widen at once and narrow no sooner than this

/** Round steps: 1, 2, 2.5, 5 x 10^k. */
export function niceStep(raw) {
  const power = 10 ** Math.floor(Math.log10(raw));
  for (const m of [1, 2, 2.5, 5, 10]) if (raw <= m * power * 1.0001) return m * power;
  return 10 * power;
}

/** {low, high} that holds [low, high], at least minSpan wide, on round numbers, within the signal's own range. */
export function niceRange(low, high, kind, minSpan, limits = [-Infinity, Infinity]) {
  if (kind === 'envelope') low = 0;
  if (kind === 'wave') {
    const reach = Math.max(Math.abs(low), Math.abs(high), minSpan / 2);
    const step = niceStep(reach / 2);
    const top = Math.ceil((reach * 1.05) / step) * step;
    return {low: -top, high: top};
  }
  const lack = Math.max(0, minSpan - (high - low));
  const step = niceStep(Math.max(high - low, minSpan) / 4);
  const floor = kind === 'envelope' ? low : low - lack / 2;
  const ends = {low: Math.floor(floor / step) * step, high: Math.ceil((high + lack / 2) / step) * step};
  if (high <= limits[1] && ends.high > limits[1]) return {low: Math.min(ends.low, limits[1] - minSpan), high: limits[1]};
  if (low >= limits[0] && ends.low < limits[0]) return {low: limits[0], high: Math.max(ends.high, limits[0] + minSpan)};
  return ends;
}

/**
 * The span of a series between two times, robust against single spikes: 0.5 and 99.5 percent points of all values.
 * Of the bounds of made values the middle ones count, up to once the values' own span: a ribbon should be seen, and
 * should not make a trace flat.
 */
export function robustSpan(series, from, to) {
  const values = [];
  const lower = [];
  const upper = [];
  const end = series.indexAt(to);
  const stride = Math.max(1, Math.floor((end - series.indexAt(from)) / 800));
  for (let i = Math.max(0, series.indexAt(from) + 1); i <= end; i += stride) {
    if (!Number.isFinite(series.value[i])) continue;
    values.push(series.value[i]);
    if (!(series.upper[i] > series.lower[i])) continue;
    lower.push(series.lower[i]);
    upper.push(series.upper[i]);
  }
  if (!values.length) return null;
  const few = values.length < 20;
  const [low, high] = [quantile(values, few ? 0 : 0.005), quantile(values, few ? 1 : 0.995)];
  if (!lower.length) return [low, high];
  const room = high - low;
  return [Math.min(low, Math.max(low - room, quantile(lower, 0.4))), Math.max(high, Math.min(high + room, quantile(upper, 0.6)))];
}

function quantile(values, q) {
  values.sort((a, b) => a - b);
  return values[Math.round(q * (values.length - 1))];
}

export class Scale {
  constructor(kind, minSpan, limits) {
    Object.assign(this, {kind, minSpan, limits, low: NaN, high: NaN, changed: -Infinity});
  }

  /** Look at the data of [from, to]; returns true where the scale changed. */
  follow(series, from, to) {
    const seen = robustSpan(series, from, to);
    if (!seen) return false;
    const want = niceRange(seen[0], seen[1], this.kind, this.minSpan, this.limits);
    if (want.low === this.low && want.high === this.high) return false;
    const room = this.high - this.low;
    const outside = !(seen[0] >= this.low - 0.02 * room && seen[1] <= this.high + 0.02 * room);
    const roomy = want.high - want.low < 0.55 * room && to - this.changed > HOLD_S;
    if (!outside && !roomy) return false;
    Object.assign(this, want, {changed: to});
    return true;
  }
}
