// Modules that are fetched when a page first needs them: the 3D body (three.js) and the timeline (uPlot). They lie
// beside the bundle that this code is in.
const base = document.currentScript?.src ?? '';

/** @param {'body'|'timeline'} name @returns {Promise<object>} the module's exports */
export const lazy = (name) => import(base.replace(/everbeat_ui[^/]*$/, `everbeat_${name}.min.js`));
