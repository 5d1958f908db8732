// The inner half of a made value's band. The wire carries the central 90 % of the twin's distribution and no more.
// Where the engine itself knows an error only by its 5 % and 95 % levels it spreads it as a two-sided Laplace
// distribution (`laplace` in twin_engine/simple.py, lab/revise.py): each side falls off as exp(-d / b). A share p of a
// side lies within d = -b ln(1 - p), so the distance to the 95 % level (90 % of a side) is b ln 10, and to the 75 %
// level (half of a side) b ln 2: the central 50 % reaches ln 2 / ln 10 = 0.301 of the way from the value to each bound.
// A normal distribution would say 0.41. benchmarks/ribbon.py measures what it holds on people that the model never saw:
// 51.5 % in the mean of seven signals (90 % band: 88.8 %), by signal from 40 % (skin temperature, EMG) over 50 % (skin
// conductance, heart rate) to 67 and 70 % (SpO2 of whole percents, acceleration of a resting arm). One factor for all
// is therefore right on average and off by 10 to 20 points for single signals: the band is a guide, not a limit.
export const INNER = Math.log(2) / Math.log(10);

/** The end of the central 50 % on the side of `bound`, the end of the central 90 %; `value` is the median. */
export const innerBound = (value, bound) => value + INNER * (bound - value);
