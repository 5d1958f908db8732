// A tile for every channel that has a number worth reading: levels and envelopes, the body's large, the room's small;
// and the dialog of the limits of the one whose button was pressed.
import React, {useRef, useState} from 'react';
import PropTypes from 'prop-types';
import {t} from '../i18n.js';
import LimitsDialog from './LimitsDialog.js';
import VitalTile from './VitalTile.js';
import {useStore, whileSeen} from './hooks.js';

const MANY = 4; // more of the body's tiles than this stand two in a row

/** All tiles of a patient. */
function VitalBoard({id}) {
  const s = useStore('channels', 'card');
  const [asked, ask] = useState('');
  const opener = useRef(null);
  const channels = s.status?.channels ?? {};
  const shown = s.order.filter((channel) => channels[channel].kind !== 'wave');
  const dense = shown.filter((channel) => channels[channel].region !== 'room').length > MANY;
  const open = (channel, button) => { opener.current = button; ask(channel); };
  const close = () => { ask(''); opener.current?.focus(); };
  return (
    <div id={id} className="eb-board" data-dense={dense}>
      {shown.map((channel) => (
        <VitalTile key={channel} channel={channel} openLimits={channels[channel].region !== 'room' || s.card?.limits?.[channels[channel].signal] ? open : undefined}
          size={channels[channel].region === 'room' ? 'small' : dense ? 'medium' : 'large'} />
      ))}
      {shown.length === 0 && <p className="eb-waiting">{t('room.waiting')}</p>}
      {asked && <LimitsDialog channel={asked} close={close} />}
    </div>
  );
}

VitalBoard.propTypes = {
  /** The ID used in Dash callbacks. */
  id: PropTypes.string,
};
export default whileSeen(VitalBoard);
