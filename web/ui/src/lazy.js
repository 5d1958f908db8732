// Modules that are fetched when a page first needs them: the 3D body (three.js) and the timeline (uPlot). They lie
// beside the bundle that this code is in.
const base = document.currentScript?.src ?? '';

/** @param {'body'|'timeline'} name @param {number} again how often it failed before: some browsers keep a failure in mind
 * for an address, so that another try needs another one. @returns {Promise<object>} the module's exports */
export const lazy = (name, again = 0) => import(base.replace(/everbeat_ui[^/]*$/, `everbeat_${name}.min.js${again ? `?again=${again}` : ''}`));
