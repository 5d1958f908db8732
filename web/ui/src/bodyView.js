// What the 3D body is told: words for regions, organs, air, skin and posture, made of the page's one view of the samples.
// Pure functions of channels, samples, looks, scales and series. The viewer's contract is in twin/index.js.
import {channelName, t} from './i18n.js';
import {gravity, postureOf} from './posture.js';
import {lookOf, orderChannels, sampleAt} from './view.js';
import {badge, number, percent} from './words.js';

const RANK = {envelope: 0, level: 1, wave: 2}; // which of a region's channels speaks for it
const BARE = ['measured', 'withheld', 'none']; // their confidence goes without saying
const MOVING = ['measured', 'synthesised', 'predicted']; // what may move the body
const ORGANS = {heart: {rates: ['hr_bpm', 'hr_bpm.pulse'], idle: 60}, lungs: {rates: ['resp_rpm'], idle: 14, wave: 'resp_wave'}};
const WORST = ['none', 'withheld', 'quarantined', 'synthesised', 'predicted', 'measured'];
export const NOTHING = Object.freeze({regions: {}, organs: {}, air: {}, skin: null, posture: null});

/** Ids of the channels that a region or an organ stands for. */
export function channelsOf(channels, place) {
  const organ = ORGANS[place];
  if (organ) return [...organ.rates, organ.wave].filter((id) => id in channels);
  return Object.keys(channels).filter((id) => channels[id].region === place);
}

/** All words of a view at time `t_s`; `series` are the page's, by channel. */
export function bodyWords(channels, samples, looks, scales, series, t_s) {
  return {
    ...placeWords(channels, samples, looks, scales),
    organs: Object.fromEntries(Object.keys(ORGANS).map((name) => [name, organWord(name, channels, samples, looks, scales)])),
    skin: skinWord(channels, samples, looks),
    posture: postureWord(channels, samples, series, t_s),
  };
}

/** {regions, air}: by region of the body and, for the room's sensors, by channel. */
function placeWords(channels, samples, looks, scales) {
  const [spoken, air] = [{}, {}];
  for (const id of orderChannels(channels, looks)) {
    const {region, kind, label} = channels[id];
    const sample = samples.get(id);
    if (!sample) continue;
    const look = lookOf(looks, id);
    const word = {...wordOf(sample, look), label: channelName(id, label), color: look.color, activity: activity(sample, scales.get(id))};
    if (region === 'room') air[id] = {...word, signal: id.split('.')[0], value: sample.value, effect: effect(id, sample)};
    else (spoken[region] ??= []).push({...word, rank: RANK[kind]});
  }
  return {regions: Object.fromEntries(Object.entries(spoken).map(([region, all]) => [region, regionWord(all)])), air};
}

/** A region's word: label, text and activity of its main channel with that channel's own provenance (`own`,
 * `provenanceText`), but drawn by the least trustworthy of its levels and envelopes, or a region would look measured while
 * one of them is not. `others` are the words of these. Raw waves count only where there is nothing else. */
function regionWord(all) {
  const heard = all.filter((word) => word.provenance !== 'none');
  const voices = heard.filter((word) => word.rank < RANK.wave);
  const speakers = [voices, heard, all].find((words) => words.length);
  const main = speakers.reduce((best, word) => (word.rank < best.rank ? word : best));
  const worst = speakers.reduce((least, word) => ((rankOf(word) - rankOf(least) || word.confidence - least.confidence) < 0 ? word : least));
  return {...main, own: main.provenance, provenance: worst.provenance, confidence: worst.confidence, others: speakers.filter((word) => word !== main)};
}

const wordOf = (sample, look) => ({
  provenance: sample.provenance,
  confidence: sample.confidence,
  text: `${number(sample.value, look)} ${look.unit}`.trim(),
  provenanceText: provenanceText(sample),
});

const provenanceText = ({provenance, confidence}) => (
  BARE.includes(provenance) ? badge(provenance) : `${badge(provenance)} ${percent(confidence)}`);

/** Where the value lies in its row's scale, 0..1; 0 where there is no honest value. */
function activity(sample, scale) {
  if (!scale || !Number.isFinite(sample.value) || !(scale.high > scale.low)) return 0;
  return Math.max(0, Math.min(1, (sample.value - scale.low) / (scale.high - scale.low)));
}

/** What the room's air does to the picture, in words; '' where nothing. */
function effect(id, {value, provenance}) {
  const key = {room_rh_pct: 'haze', room_temp_C: 'warmth', light_lux: 'brightness'}[id.split('.')[0]];
  return key && MOVING.includes(provenance) && Number.isFinite(value) ? t(`body.effect_${key}`) : '';
}

/** An organ's word: its best rate's, a wave's, or an idle one that says that it is illustrative and gives no number: the rate
 * that moves the picture was measured of nobody. */
function organWord(name, channels, samples, looks, scales) {
  const {rates, wave, idle} = ORGANS[name];
  const label = t(`body.${name}`);
  const live = rates.filter((id) => id in channels && (samples.get(id)?.provenance ?? 'none') !== 'none');
  const best = live.sort((a, b) => rankOf(samples.get(b)) - rankOf(samples.get(a)))[0];
  const waved = waveWord(wave, samples, scales);
  if (!best && waved) return {...waved, label, rate: null};
  if (!best) return {label, illustrative: true, rate: idle, text: '', provenance: 'none', confidence: 0, provenanceText: t('body.illustrative')};
  const sample = samples.get(best);
  const moves = MOVING.includes(sample.provenance) && Number.isFinite(sample.value);
  return {...wordOf(sample, lookOf(looks, best)), label, rate: moves ? sample.value : null, ...(moves && waved ? {fill: waved.fill} : {})};
}

const rankOf = (sample) => WORST.indexOf(sample.provenance);

/** The lungs' filling 0..1 from a wave of breath; null where it has no honest value now. */
function waveWord(id, samples, scales) {
  const sample = id && samples.get(id);
  if (!sample || !MOVING.includes(sample.provenance) || !Number.isFinite(sample.value)) return null;
  return {provenance: sample.provenance, confidence: sample.confidence, text: '', provenanceText: provenanceText(sample), fill: activity(sample, scales.get(id))};
}

/** The filling of the lungs at a time between two ticks; undefined where no wave says so. */
export function breathFill(series, scales, channels, t_s) {
  const id = ORGANS.lungs.wave;
  if (!(id in channels)) return undefined;
  return waveWord(id, new Map([[id, sampleAt(series.get(id), t_s, channels[id].period_s)]]), scales)?.fill;
}

function skinWord(channels, samples, looks) {
  const id = Object.keys(channels).find((known) => known.split('.')[0] === 'skin_temp_C');
  const sample = id && samples.get(id);
  if (!sample || sample.provenance === 'none') return null;
  const celsius = MOVING.includes(sample.provenance) ? sample.value : NaN;
  return {
    ...wordOf(sample, lookOf(looks, id)), fact: 'skin', region: channels[id].region, celsius, label: channelName(id, channels[id].label),
    effect: Number.isFinite(celsius) ? t('body.effect_skin') : '',
  };
}

/** Posture from a sensor on the trunk; from one on a limb only the limb's orientation, and it says so. */
function postureWord(channels, samples, series, t_s) {
  const ids = ['acc_g.x', 'acc_g.y', 'acc_g.z'];
  if (!ids.every((id) => (samples.get(id)?.provenance ?? 'none') !== 'none')) return null;
  const worst = ids.map((id) => samples.get(id)).sort((a, b) => rankOf(a) - rankOf(b) || a.confidence - b.confidence)[0];
  const word = {label: t('body.posture'), fact: 'posture', provenance: worst.provenance, confidence: worst.confidence, provenanceText: provenanceText(worst), up: null, moving: false};
  const felt = MOVING.includes(worst.provenance) ? gravity(ids.map((id) => series.get(id)), t_s) : null;
  if (!felt) return {...word, text: t('body.posture_unknown')};
  const moving = t(felt.moving ? 'body.moving' : 'body.still');
  if (channels[ids[0]].region !== 'chest') {
    return {...word, label: t('body.wrist_orientation'), moving: felt.moving, text: `${t(`body.wrist_${wristOf(felt.up)}`)}, ${moving}`, provenanceText: `${word.provenanceText}, ${t('body.illustrative')}`};
  }
  return {...word, up: felt.up, moving: felt.moving, text: `${t(`body.posture_${postureOf(felt.up)}`)}, ${moving}`};
}

/** How a wrist is held, by the axis along the forearm: x of a watch, towards the fingers. */
const wristOf = ([x]) => (x > 0.5 ? 'up' : x < -0.5 ? 'down' : 'level');
