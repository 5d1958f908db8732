// Dash brings PropTypes, like React.
module.exports = window.PropTypes;
