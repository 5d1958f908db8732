// Keeps the twin usable on any machine: resolution follows the frame time, frames are capped, and where the GPU is a
// CPU (software rendering) it takes at most about half of one.

const SOFTWARE = /swiftshader|llvmpipe|software|basic render/i;
const DPR_STEPS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const SLOW_MS = 40; // 25 frames a second
const FAST_MS = 19;
const PATIENCE_FRAMES = 24;

/** What the browser can draw with: `{webgl, software}`. Probes with a context that is given back at once. */
export function probe(doc = document) {
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
    this.dpr = software ? Math.min(1, this.most) : this.most;
    this.minGap = reducedMotion ? 100 : software ? 33 : 0;
    this.reducedMotion = reducedMotion;
    this.cost = 0; // of the GPU for a frame, smoothed
    this.last = -Infinity;
    this.slow = 0;
    this.fast = 0;
    this.fps = 0;
  }

  /** Whether a frame is due. */
  due(now) {
    return now - this.last >= Math.max(this.minGap, this.software ? 1.7 * this.cost : 0) - 3;
  }

  /** Notes that a frame starts; gives the seconds since the last one, at most a quarter. */
  begin(now) {
    const gap = now - this.last;
    this.last = now;
    if (gap < 2000) this.fps += (1000 / Math.max(gap, 1) - this.fps) * 0.08;
    return Math.min(0.25, Math.max(0, gap / 1000) || 0);
  }

  /** Notes what a frame cost the GPU; true where the resolution should change to `dpr`. */
  spent(ms) {
    this.cost += (ms - this.cost) * 0.15;
    this.slow = this.cost > SLOW_MS ? this.slow + 1 : 0;
    this.fast = this.cost < FAST_MS ? this.fast + 1 : 0;
    if (this.slow > PATIENCE_FRAMES) return this.shift(-1);
    if (this.fast > 6 * PATIENCE_FRAMES && !this.software) return this.shift(1);
    return false;
  }

  shift(by) {
    this.slow = 0;
    this.fast = 0;
    const steps = DPR_STEPS.filter((step) => step <= this.most && (!this.software || step <= 1));
    const at = steps.reduce((best, step, i) => (Math.abs(step - this.dpr) < Math.abs(steps[best] - this.dpr) ? i : best), 0);
    const next = steps[Math.min(steps.length - 1, Math.max(0, at + by))];
    if (next === undefined || next === this.dpr) return false;
    this.dpr = next;
    this.cost = 0;
    return true;
  }
}

/** Measures how long the GPU takes: `mark()` after a frame, `poll(now)` gives ms once the frame is through, else null. */
export class GpuClock {
  constructor(gl) {
    this.gl = gl;
    this.fence = null;
  }

  mark(now) {
    if (this.fence || this.gl.isContextLost()) return;
    this.fence = this.gl.fenceSync(this.gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    this.started = now;
    this.gl.flush();
  }

  poll(now) {
    if (!this.fence || this.gl.isContextLost()) return null;
    if (this.gl.getSyncParameter(this.fence, this.gl.SYNC_STATUS) !== this.gl.SIGNALED) return null;
    this.drop();
    return now - this.started;
  }

  drop() {
    if (this.fence) this.gl.deleteSync(this.fence);
    this.fence = null;
  }
}
