// Dash brings React; the bundle must use that one and no second copy.
module.exports = window.React;
