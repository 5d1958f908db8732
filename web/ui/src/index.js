// The package that Dash finds as window.everbeat_ui.
import catalogues from 'everbeat-words';
import {learn} from './i18n.js';

export {default as AlarmBar} from './components/AlarmBar.js';
export {default as Downtime} from './components/Downtime.js';
export {default as EventLog} from './components/EventLog.js';
export {default as PatientTwin} from './components/PatientTwin.js';
export {default as SessionBar} from './components/SessionBar.js';
export {default as Timeline} from './components/Timeline.js';
export {default as TwinLink} from './components/TwinLink.js';
export {default as VitalBoard} from './components/VitalBoard.js';
export {default as VitalTile} from './components/VitalTile.js';
export {default as WardBoard} from './components/WardBoard.js';
export {default as WaveMonitor} from './components/WaveMonitor.js';

learn(catalogues);
