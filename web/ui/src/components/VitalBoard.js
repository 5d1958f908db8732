// A tile for every channel that has a number worth reading: levels and envelopes, the body's large, the room's small.
import React from 'react';
import PropTypes from 'prop-types';
import VitalTile from './VitalTile.js';
import {useStore} from './hooks.js';

const MANY = 4; // more of the body's tiles than this stand two in a row

/** All tiles of a patient. */
function VitalBoard({id}) {
  const s = useStore('channels', 'card');
  const channels = s.status?.channels ?? {};
  const shown = s.order.filter((channel) => channels[channel].kind !== 'wave');
  const dense = shown.filter((channel) => channels[channel].region !== 'room').length > MANY;
  return (
    <div id={id} className="eb-board" data-dense={dense}>
      {shown.map((channel) => (
        <VitalTile key={channel} channel={channel} size={channels[channel].region === 'room' ? 'small' : dense ? 'medium' : 'large'} />
      ))}
      {shown.length === 0 && <p className="eb-waiting">Waiting for the first reading</p>}
    </div>
  );
}

VitalBoard.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default VitalBoard;
