// Modules that are fetched when a page first needs them: the 3D body (three.js), the timeline (uPlot) and the
// proof behind a shield. They lie beside the bundle that this code is in.
const base = globalThis.document?.currentScript?.src ?? '';
let again = 0;

/** What `load(url)` promises; where that fails, once more under another address, for a browser remembers failures. */
export const twice = (load, url) => load(url).catch(() => load(`${url}?retry=${again += 1}`));

/** @param {'body'|'timeline'|'proof'} name @returns {Promise<object>} the module's exports; rejects where it can't be had */
export const lazy = (name) => twice((url) => import(url), base.replace(/everbeat_ui[^/]*$/, `everbeat_${name}.min.js`));
