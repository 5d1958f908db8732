"""A made-up body: vital signs, sweat, muscles and a room that belong together, in chunks that join without a seam.

One state drives everything: a stress level between 0 and 1 that comes in episodes. It raises the heart rate, which
paces the pulse wave; it raises breathing, which sways the heart rate and the pulse baseline; it makes sweat glands
fire and muscles tense. Shapes come from neurokit2 (Makowski et al. 2021, Behavior Research Methods 53:1689): the pulse
of one beat, one skin conductance response (Bach et al. 2010) and surface EMG noise. Phases, filters and tails are
carried from chunk to chunk, so a chunk's border shows in no signal.

The same seed gives the same body. Nothing here knows a clock or a channel's wire form: ``device/simulator.py`` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHUNK_S = 10
SLOW_HZ = 4
PULSE_HZ = 64
EMG_HZ = 200
ENVELOPE_HZ = 10
ROOM_PERIOD_S = 2

_SLOW_N = CHUNK_S * SLOW_HZ
_SCR_S = 18  # one skin conductance response: neurokit2 draws it in 9 s, a palm takes about twice that
_ENVELOPE_WINDOW = EMG_HZ // 5  # rectified and averaged over 0.2 s, as an amplifier does
_FAILED_READS = 0.01  # of a DHT11's reads; the recordings show about 1 %


@dataclass(frozen=True, slots=True)
class Shapes:
    """What neurokit2 lends."""

    beat: Floats  # (P,) one pulse from foot to foot, 0..1
    response: Floats  # (R,) one skin conductance response at SLOW_HZ, peak 1
    muscle: Floats  # (M,) EMG noise at EMG_HZ, mean absolute value 1


@dataclass(frozen=True, slots=True)
class Traits:
    """What makes one body differ from another at rest, and how strongly it answers to stress."""

    heart_bpm: float = 66.0
    breath_rpm: float = 14.0
    oxygen_pct: float = 97.6
    sweat_uS: float = 4.2
    skin_C: float = 33.2
    muscle: float = 1.0  # times the usual EMG amplitude
    answer: float = 1.0  # times the usual change of heart and breath under stress
    room_C: float = 22.4
    room_rh_pct: float = 44.0


REFERENCE = Traits()


def traits_of(seed: int, sex: str, age: int) -> Traits:
    """A person's own traits, drawn from what is usual among adults at rest; `age` in years, 0 = not known.

    Women's hearts beat a little faster, old hearts answer less, old skin is drier, old lungs give a little less oxygen.
    """
    rng = np.random.default_rng([seed, 1])
    old = float(np.clip((age - 40) / 45, 0, 1))
    return Traits(
        heart_bpm=float(np.clip(rng.normal(66, 8) + 3 * (sex == "female"), 48, 92)),
        breath_rpm=float(np.clip(rng.normal(14, 1.8) + old, 10, 20)),
        oxygen_pct=float(np.clip(rng.normal(97.8, 0.5) - 1.6 * old, 94, 99)),
        sweat_uS=float(np.clip(4.2 * rng.lognormal(0, 0.45) * (1 - 0.4 * old), 0.8, 12)),
        skin_C=float(np.clip(rng.normal(33.2, 0.6), 31, 35)),
        muscle=float(np.clip(rng.lognormal(0, 0.35) * (1.15 if sex == "male" else 1.0), 0.4, 2.5)),
        answer=float(np.clip(rng.lognormal(0, 0.25) * (1 - 0.35 * old), 0.4, 1.6)),
        room_C=float(np.clip(rng.normal(22.4, 0.8), 20, 26)),
        room_rh_pct=float(np.clip(rng.normal(44, 5), 30, 60)),
    )


def load_shapes(seed: int) -> Shapes:
    """Asks neurokit2 for the shapes. Takes about 2 s the first time: neurokit2 is slow to import."""
    import neurokit2 as nk

    pulse = np.asarray(nk.ppg_simulate(duration=20, sampling_rate=500, heart_rate=60, random_state=seed, drift=0,
                                       motion_amplitude=0, ibi_randomness=0, powerline_amplitude=0))  # fmt: skip
    feet = [int(i) + 300 + int(np.argmin(pulse[i + 300 : i + 700])) for i in range(1000, 8500, 500)]
    beats = [np.interp(np.linspace(0, 1, 200), np.linspace(0, 1, b - a), pulse[a:b])
             for a, b in pairwise(feet) if 400 < b - a < 600]  # fmt: skip
    beat = np.mean(beats, axis=0)
    beat = (beat - np.linspace(beat[0], beat[-1], len(beat))).clip(0)
    scr = np.asarray(nk.eda_simulate(duration=9, sampling_rate=100, scr_number=1, noise=0, drift=0,
                                     random_state=seed)) - 1  # fmt: skip
    n = _SCR_S * SLOW_HZ
    response = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(scr)), scr) * np.linspace(4, 0, n).clip(0, 1)
    noise = np.asarray(nk.emg_simulate(duration=40, sampling_rate=EMG_HZ, burst_number=1, burst_duration=38,
                                       noise=0.1, random_state=seed))[EMG_HZ * 2 : -EMG_HZ * 2]  # fmt: skip
    noise = noise - noise.mean()
    return Shapes(beat / beat.max(), response / response.max(), noise / np.abs(noise).mean())


class _Drift:
    """A value that wanders around its mean: an Ornstein-Uhlenbeck process sampled evenly."""

    def __init__(self, mean: float, sd: float, tau_s: float, rate_hz: float, rng: np.random.Generator) -> None:
        self._mean, self._rng = mean, rng
        self._keep = float(np.exp(-1 / (tau_s * rate_hz)))
        self._kick = sd * float(np.sqrt(1 - self._keep**2))
        self._x = float(rng.normal(0, sd))

    def __call__(self, n: int) -> Floats:
        out = np.empty(n)
        for i, kick in enumerate(self._rng.normal(0, self._kick, n)):
            self._x = self._keep * self._x + kick
            out[i] = self._mean + self._x
        return out


class _Follow:
    """First-order lag with its own time constants up and down."""

    def __init__(self, start: float, rise_s: float, fall_s: float, rate_hz: float) -> None:
        self._x = start
        self._rise, self._fall = 1 - np.exp(-1 / (rise_s * rate_hz)), 1 - np.exp(-1 / (fall_s * rate_hz))

    def __call__(self, target: Floats) -> Floats:
        out = np.empty(len(target))
        for i, goal in enumerate(target):
            self._x += (goal - self._x) * (self._rise if goal > self._x else self._fall)
            out[i] = self._x
        return out


class _Muscle:
    """EMG of one muscle: noise under an envelope of bursts. `rest_mV` and bursts are mean rectified values."""

    def __init__(self, shapes: Shapes, rest_mV: float, burst_mV: float, rng: np.random.Generator) -> None:
        self._noise, self._rest, self._burst, self._rng = shapes.muscle, rest_mV, burst_mV, rng
        self._at = int(rng.integers(len(shapes.muscle)))
        self._follow = _Follow(0.0, 0.08, 0.25, EMG_HZ)
        self._left, self._level = 0, 0.0  # samples left of the burst going on, its height
        self._tail = np.full(_ENVELOPE_WINDOW - 1, rest_mV)

    def __call__(self, stress: float, per_min: float) -> tuple[Floats, Floats]:
        """Raw EMG at EMG_HZ (mV) and its envelope at ENVELOPE_HZ (mV) for one chunk."""
        n = CHUNK_S * EMG_HZ
        target, at = np.zeros(n), 0
        while at < n:
            if self._left == 0:
                at += int(self._rng.exponential(60 / per_min) * EMG_HZ)
                self._left = int(self._rng.uniform(0.4, 2.5) * EMG_HZ)
                self._level = self._burst * float(self._rng.lognormal(0, 0.5)) * (1 + stress)
            if at < n:
                run = min(self._left, n - at)
                target[at : at + run] = self._level
                at, self._left = at + run, self._left - run
        envelope = self._rest * (1 + 0.5 * stress) + self._follow(target)
        raw = envelope * self._noise[(self._at + np.arange(n)) % len(self._noise)]
        self._at = (self._at + n) % len(self._noise)
        rectified = np.concatenate([self._tail, np.abs(raw)])
        self._tail = rectified[-(_ENVELOPE_WINDOW - 1) :]
        smooth = np.convolve(rectified, np.full(_ENVELOPE_WINDOW, 1 / _ENVELOPE_WINDOW), "valid")
        return raw, smooth[:: EMG_HZ // ENVELOPE_HZ]


class Body:
    """Call it for the next CHUNK_S seconds: {channel id: (values, rate_hz)}, NaN where a sensor fails to read."""

    def __init__(self, shapes: Shapes, rng: np.random.Generator, traits: Traits = REFERENCE) -> None:
        self._shapes, self._rng, self._answer = shapes, rng, traits.answer
        self._calm_left = int(rng.uniform(20, 40) * SLOW_HZ)  # until the next episode, then its length, in samples
        self._stressed = False
        self._stress, self._sweat = _Follow(0, 3, 10, SLOW_HZ), _Follow(0, 20, 60, SLOW_HZ)
        self._hr = _Drift(traits.heart_bpm, 2.0, 30, SLOW_HZ, rng)
        self._resp = _Drift(traits.breath_rpm, 0.8, 25, SLOW_HZ, rng)
        self._hr_shown = _Follow(traits.heart_bpm, 3, 3, SLOW_HZ)
        self._spo2, self._spo2_shown = (
            _Drift(traits.oxygen_pct, 0.5, 60, SLOW_HZ, rng),
            _Follow(traits.oxygen_pct, 6, 6, SLOW_HZ),
        )
        self._skin = _Drift(traits.skin_C, 0.12, 240, SLOW_HZ, rng)
        self._tonic = _Drift(traits.sweat_uS, 0.35, 120, SLOW_HZ, rng)
        self._room_temp = _Drift(traits.room_C, 0.7, 900, 1 / ROOM_PERIOD_S, rng)
        self._room_rh = _Drift(traits.room_rh_pct, 2.0, 900, 1 / ROOM_PERIOD_S, rng)
        self._cheek = _Muscle(shapes, 0.0012 * traits.muscle, 0.012 * traits.muscle, rng)
        self._brow = _Muscle(shapes, 0.0016 * traits.muscle, 0.010 * traits.muscle, rng)
        self._beats, self._breaths = 0.0, 0.0  # phases, in cycles
        self._last_hr = traits.heart_bpm
        self._scr_tail = np.zeros(len(shapes.response))

    def __call__(self) -> dict[str, tuple[Floats, float]]:
        stress = self._stress(self._episodes())
        breaths = self._breathe(resp := self._resp(_SLOW_N) + 5 * self._answer * stress)
        hr = self._hr(_SLOW_N) + 24 * self._answer * stress + 2.2 * np.sin(2 * np.pi * breaths)
        sweat = self._sweat(stress)
        tense = float(stress.mean())
        cheek_raw, cheek = self._cheek(tense, 5 + 4 * tense)
        _, brow = self._brow(tense, 3 + 14 * tense)
        shown_hr = self._hr_shown(hr)
        return {
            "hr_bpm": (np.rint(shown_hr[::SLOW_HZ]), 1.0),
            "resp_rpm": (np.rint(resp[::SLOW_HZ]), 1.0),
            "spo2_pct": (np.rint(self._spo2_shown(self._spo2(_SLOW_N) - 0.8 * sweat)[::SLOW_HZ]).clip(80, 100), 1.0),
            "ppg": (self._pulse(hr, stress, breaths), PULSE_HZ),
            "gsr_uS": (self._tonic(_SLOW_N).clip(0.5) + 2.5 * sweat + self._sweat_glands(stress), SLOW_HZ),
            "skin_temp_C": (self._skin(_SLOW_N) - 0.7 * sweat, SLOW_HZ),
            "emg_activity_mV.zyg": (cheek, ENVELOPE_HZ),
            "emg_activity_mV.corr": (brow, ENVELOPE_HZ),
            "emg_raw_mV.zyg": (cheek_raw, EMG_HZ),
            **self._room(),
        }

    def _episodes(self) -> Floats:
        """1 during an episode of stress, else 0."""
        out = np.empty(_SLOW_N)
        for i in range(_SLOW_N):
            if self._calm_left == 0:
                self._stressed = not self._stressed
                span_s = self._rng.uniform(12, 30) if self._stressed else 25 + self._rng.exponential(40)
                self._calm_left = int(span_s * SLOW_HZ)
            self._calm_left -= 1
            out[i] = self._stressed
        return out

    def _breathe(self, resp: Floats) -> Floats:
        breaths = self._breaths + np.cumsum(resp / 60 / SLOW_HZ)
        self._breaths = float(breaths[-1]) % 1.0
        return breaths

    def _pulse(self, hr: Floats, stress: Floats, breaths: Floats) -> Floats:
        """Pulse wave, arbitrary unit: one neurokit2 beat a heart beat, weaker under stress, swaying with breath."""
        slow, fast = np.arange(1, _SLOW_N + 1) / SLOW_HZ, np.arange(1, CHUNK_S * PULSE_HZ + 1) / PULSE_HZ
        rate = np.interp(fast, np.concatenate([[0], slow]), np.concatenate([[self._last_hr], hr]))
        self._last_hr = float(hr[-1])
        beats = self._beats + np.cumsum(rate / 60 / PULSE_HZ)
        self._beats = float(beats[-1]) % 1.0
        before = 2 * breaths[0] - breaths[1]
        sway = np.sin(2 * np.pi * np.interp(fast, np.concatenate([[0], slow]), np.concatenate([[before], breaths])))
        strength = np.interp(fast, slow, 1 - 0.35 * stress) * (1 + 0.05 * sway)
        shape = np.interp(beats % 1.0, np.linspace(0, 1, len(self._shapes.beat)), self._shapes.beat)
        pulse: Floats = strength * shape + 0.08 * sway + self._rng.normal(0, 0.004, len(fast))
        return pulse

    def _sweat_glands(self, stress: Floats) -> Floats:
        """Skin conductance responses, µS: more and higher ones under stress. The tail goes to the next chunk."""
        response = self._shapes.response
        out = np.zeros(_SLOW_N + len(response))
        out[: len(response)] = self._scr_tail
        fired = self._rng.random(_SLOW_N) < (2.5 + 14 * stress) / 60 / SLOW_HZ
        for i in np.flatnonzero(fired):
            out[i : i + len(response)] += response * self._rng.lognormal(-1.4, 0.5) * (1 + stress[i])
        self._scr_tail = out[_SLOW_N:]
        return out[:_SLOW_N]

    def _room(self) -> dict[str, tuple[Floats, float]]:
        """A DHT11: whole degrees and whole per cent; a failed read fails both."""
        n = CHUNK_S // ROOM_PERIOD_S
        failed = np.where(self._rng.random(n) < _FAILED_READS, np.nan, 0.0)
        temp, rh = np.rint(self._room_temp(n)) + failed, np.rint(self._room_rh(n)) + failed
        return {"room_temp_C": (temp, 1 / ROOM_PERIOD_S), "room_rh_pct": (rh, 1 / ROOM_PERIOD_S)}
