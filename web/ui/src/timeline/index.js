// The heavy part of the replay, fetched when it is opened: charts (uPlot) and the overview strip. It knows no words and
// no store: texts, numbers and data come in through arguments.
export {Charts} from './charts.js';
export {Overview} from './overview.js';
