// Keeps the twin usable on any machine: resolution follows the frame time, frames are capped, and where the GPU is a
// CPU (software rendering) it takes at most about half of one.

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;
const DPR_STEPS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const SLOW_MS = 40; // 25 frames a second
const FAST_MS = 17.5;
const SLOW_SOFTWARE_MS = 130;
const REST = 1.5; // of a frame's cost, from one frame's start to the next
const CHECK_MS = 3000;
const PATIENCE_FRAMES = 20;

let known = null; // one probe a page, not one a visit

/** What the browser can draw with: `{webgl, software}`. Probes with a context that is given back at once. */
export function probe(doc = document) {
  known ??= look(doc);
  return known;
}

function look(doc) {
  const canvas = doc.createElement('canvas');
  const gl = canvas.getContext('webgl2');
  if (!gl) return { webgl: false, software: false };
  const info = gl.getExtension('WEBGL_debug_renderer_info');
  const name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension('WEBGL_lose_context')?.loseContext();
  return { webgl: true, software: SOFTWARE.test(name), name };
}

/** Decides when to draw and at which resolution. Times in ms. */
export class Governor {
  constructor({ software, reducedMotion, devicePixelRatio }) {
    this.software = software;
    this.most = Math.min(2, devicePixelRatio || 1);
    this.steps = DPR_STEPS.filter((step) => step <= this.most && (!software || (step <= 1 && step >= 0.75)));
    this.dpr = this.steps.at(-1) ?? this.most;
    this.minGap = reducedMotion ? 100 : software ? 33 : 0;
    this.cost = 0; // of a frame, smoothed: the GPU's where it is a CPU, else the time between frames
    this.last = -Infinity;
    this.checked = -Infinity;
    this.slow = 0;
    this.fast = 0;
    this.fps = 0;
    this.patience = 1; // grows where a finer step proved too slow, so that quality does not swing
  }

  /** Whether a frame is due. Software rendering rests as long as it works: the page needs the CPU too. */
  due(now) {
    return now - this.last >= Math.max(this.minGap, this.software ? REST * this.cost : 0) - 4;
  }

  /** Notes that a frame starts; gives the seconds since the last one, at most two. */
  begin(now) {
    const gap = now - this.last;
    this.last = now;
    if (gap < 2000) this.fps += (1000 / Math.max(gap, 1) - this.fps) * 0.1;
    if (gap < 500 && !this.software && !this.minGap) this.cost += (gap - this.cost) * 0.1;
    return Math.min(2, Math.max(0, gap / 1000) || 0); // a rate must hold at two frames a second, too
  }

  /** Whether this frame's true cost should be measured: rarely, as the page waits for it. Software rendering only. */
  wantsCheck(now) {
    if (!this.software || now - this.checked < (this.cost ? CHECK_MS : 300)) return false;
    this.checked = now;
    return true;
  }

  /** Notes what a frame cost the renderer. */
  spent(ms) {
    this.cost = this.cost ? this.cost + (ms - this.cost) * 0.4 : ms;
  }

  /** True where the resolution should now change to `dpr`. */
  adapt() {
    const slow = this.software ? SLOW_SOFTWARE_MS : SLOW_MS;
    this.slow = this.cost > slow ? this.slow + 1 : 0;
    this.fast = this.cost < FAST_MS ? this.fast + 1 : 0;
    if (this.slow > PATIENCE_FRAMES) return this.shift(-1);
    if (this.fast > 12 * PATIENCE_FRAMES * this.patience) return this.shift(1);
    return false;
  }

  /** The lowest tier also spares the motes and draws the lens less often. */
  get spare() {
    return this.dpr === this.steps[0] && this.steps.length > 1;
  }

  shift(by) {
    this.slow = 0;
    this.fast = 0;
    const next = this.steps[this.steps.indexOf(this.dpr) + by];
    if (next === undefined) return false;
    if (by < 0 && this.rose) this.patience = Math.min(8, 2 * this.patience);
    this.rose = by > 0;
    this.dpr = next;
    this.cost = 0;
    return true;
  }
}

/** Milliseconds until all that was asked of the GPU is done. Blocks. */
export function settleGpu(gl) {
  const start = performance.now();
  gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  return performance.now() - start;
}
