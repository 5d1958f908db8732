// What has failed, as far as a page can know it. Pure: from the state of the line and the engine's status to one word,
// for which the catalogue has a title, a cause, and what to do (`downtime.<word>.*`).
import {causeOf} from './alarms.js';

const DEVICES_SILENT_S = 15; // no frame of any device for this long: the hub, the radio or all devices
const FRAMES = 5; // and at least so many frame intervals
export const STEPS = {
  network: ['patient', 'monitor', 'manual', 'call', 'back'],
  server: ['patient', 'monitor', 'manual', 'call', 'back'],
  engine: ['patient', 'monitor', 'manual', 'call', 'back'],
  store: ['patient', 'monitor', 'manual', 'call', 'back'],
  locked: ['patient', 'monitor', 'manual', 'call', 'back'],
  devices: ['patient', 'monitor', 'device', 'call', 'back'],
};

/** {failed: '' | network | server | store | locked | engine | devices, since: Unix s or NaN, current: whether values are} */
export function downtime(connection, status, now) {
  const {state, since, why = ''} = connection;
  if (state === 'down') return {failed: 'network', since, current: false};
  if (state === 'stale') return {failed: 'server', since, current: false};
  if (state === 'silent') return {failed: causeOf(why) || 'engine', since, current: false};
  const heard = Object.values(status?.devices ?? {}).map((device) => device.last_frame_s ?? 0);
  const newest = Math.max(...heard, 0);
  const patience = Math.max(DEVICES_SILENT_S, FRAMES * (status?.frame_interval_s ?? 0));
  if (state === 'live' && newest > 0 && now - newest > patience) return {failed: 'devices', since: newest, current: true};
  return {failed: '', since: NaN, current: true};
}
