"""How real sampled paths look: can a classifier tell them from the truth, and do they carry the same physiology?

`real` and `made` are windows (M, S) of the same gaps, in the signal's unit, a step apart in time; `made` holds one
sampled path a gap. A realistic generator is hard to tell apart (AUC near 0.5), moves as much (SD ratio near 1) and
has the same spectrum and the same beats, skin responses and muscle activity.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from device.signals import SIGNALS, Kind
from twin_engine.messages import Floats

_TREES, _LEAF, _FOLDS = 150, 3, 5
_BANDS = 8  # of the spectrum, as the forest sees it
_FLOOR = 1e-9  # of a window's power, so that still windows have a logarithm
_LEAST_RESPONSE = 0.05  # of the largest skin conductance response, to count as one
_LEAST_BEATS = 3


def auc(real: Floats, made: Floats, groups: Sequence[str] | Floats) -> float:
    """Area under the ROC curve, about 0.5 to 1, of a random forest that tells `made` from `real`.

    `groups` (M,) names the person of each window: a person's windows are never both learnt from and judged. Windows
    with a missing value are left out. Raises ValueError where fewer than two people are left.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    whole = np.isfinite(real).all(1) & np.isfinite(made).all(1)
    people = np.unique(np.asarray(groups)[whole], return_inverse=True)[1]
    if not whole.any() or people.max() < 1:
        raise ValueError(f"expected whole windows of two people or more, got {whole.sum()} windows; nothing was judged")
    seen = np.concatenate([traits(real[whole]), traits(made[whole])])
    labels = np.repeat([0, 1], whole.sum())
    forest = RandomForestClassifier(_TREES, min_samples_leaf=_LEAF, n_jobs=1, random_state=0)
    folds = GroupKFold(min(_FOLDS, int(people.max()) + 1))
    odds = cross_val_predict(forest, seen, labels, groups=np.tile(people, 2), cv=folds, method="predict_proba")
    return float(roc_auc_score(labels, odds[:, 1]))


def traits(windows: Floats) -> Floats:
    """(M, F) what the forest sees of `windows` (M, S): spread, steps, roughness, plateaus, drift, spectrum."""
    moves = np.diff(windows, axis=1)
    spread, step = windows.std(1) + _FLOOR, moves.std(1) + _FLOOR
    turn = np.diff(moves, axis=1)
    size = np.abs(moves)
    columns = [
        np.log(spread),
        np.log(step),
        np.log(size.max(1) + _FLOOR),
        np.log(turn.std(1) + _FLOOR) - np.log(step),
        (moves[:, 1:] * moves[:, :-1]).mean(1) / step**2,
        size[:, 0] / step,
        (size <= 1e-6 * spread[:, None]).mean(1),
        (windows[:, -1] - windows[:, 0]) / spread,
    ]
    return np.concatenate([np.stack(columns, 1), _bands(windows)], axis=1)


def sd_ratio(real: Floats, made: Floats) -> float:
    """How much a made window moves: its standard deviation over the real one's; 1 is right.

    Geometric means over windows, because people's signals differ a hundredfold in size and rare bursts would decide
    the arithmetic ones; still windows count with a thousandth of the real ones' mean.
    """
    still = 1e-3 * float(np.nanmean(np.nanstd(real, axis=1)))
    sizes = [np.exp(np.nanmean(np.log(np.nanstd(windows, axis=1) + still))) for windows in (made, real)]
    return float(sizes[0] / sizes[1])


def log_spectral_distance(real: Floats, made: Floats, rate_hz: float) -> float:
    """Root mean square difference, in dB, of the two mean logarithmic spectra up to half of `rate_hz`.

    In third octaves, so that the slow half of the spectrum counts as much as the fast one.
    """
    whole = np.isfinite(real).all(1) & np.isfinite(made).all(1)
    steps = real.shape[1]
    frequency = np.fft.rfftfreq(steps, 1 / rate_hz)[1:]
    edges = frequency[0] * 2 ** (np.arange(0, 3 * np.log2(frequency[-1] / frequency[0]) + 1) / 3)
    band = np.searchsorted(edges, frequency * (1 + 1e-9))
    used = np.unique(band)
    levels = []
    for windows in (real[whole], made[whole]):
        power = _power(windows)[:, 1:]
        levels.append([np.log10(power[:, band == b].mean(1)).mean() for b in used])
    return float(10 * np.sqrt(np.mean((np.array(levels[0]) - np.array(levels[1])) ** 2)))


def feature_errors(signal: str, real: Floats, made: Floats, rate_hz: float) -> dict[str, float]:
    """What a clinician would read off the windows: mean absolute error of each feature, over windows that have it.

    PPG: "hr_bpm". Skin conductance: "scr_per_min" and "scr_amplitude_uS". EMG, raw or envelope: "rms_relative" (of the
    real one). "<feature>_windows" says in how many windows both had it. Empty for other signals.
    """
    readers: dict[str, dict[str, Callable[[Floats], float]]] = {
        "ppg": {"hr_bpm": lambda window: heart_rate_bpm(window, rate_hz)},
        "gsr_uS": {
            "scr_per_min": lambda window: skin_responses(window, rate_hz)[0] * 60 * rate_hz / len(window),
            "scr_amplitude_uS": lambda window: skin_responses(window, rate_hz)[1],
        },
    }
    out: dict[str, float] = {}
    if signal.startswith("emg_"):
        true, shown = (rms(x, SIGNALS[signal].kind is Kind.WAVE) for x in (real, made))
        known = np.isfinite(true) & np.isfinite(shown) & (true > 0)
        out["rms_relative"] = float(np.mean(np.abs(shown - true)[known] / true[known]))
        out["rms_relative_windows"] = float(known.sum())
    for name, reader in readers.get(signal, {}).items():
        errors = np.array([abs(reader(b) - reader(a)) for a, b in zip(real, made, strict=True)])
        known = np.isfinite(errors)
        out[name] = float(errors[known].mean()) if known.any() else float("nan")
        out[f"{name}_windows"] = float(known.sum())
    return out


def heart_rate_bpm(window: Floats, rate_hz: float) -> float:
    """Heart rate of a PPG `window` (S,) from the median interval of its systolic peaks; NaN with fewer than three.

    Peaks after Elgendi et al. 2013, "Systolic peak detection in acceleration photoplethysmograms", by neurokit2.
    """
    import neurokit2 as nk

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peaks = nk.ppg_findpeaks(nk.ppg_clean(window, sampling_rate=rate_hz), sampling_rate=rate_hz)["PPG_Peaks"]
    except (ValueError, IndexError, KeyError):  # no peak in a still window
        return float("nan")
    return float(60 * rate_hz / np.median(np.diff(peaks))) if len(peaks) >= _LEAST_BEATS else float("nan")


def skin_responses(window: Floats, rate_hz: float) -> tuple[int, float]:
    """Skin conductance responses in `window` (S,) µS: how many, and their mean amplitude in µS (NaN where none).

    The phasic part is what is faster than 0.05 Hz; peaks as neurokit2 finds them.
    """
    import neurokit2 as nk

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            phasic = nk.eda_phasic(window, sampling_rate=rate_hz, method="highpass")["EDA_Phasic"].to_numpy()
            found = nk.eda_peaks(phasic, sampling_rate=rate_hz, amplitude_min=_LEAST_RESPONSE)[1]
    except (ValueError, IndexError, KeyError):
        return 0, float("nan")
    heights = np.asarray(found["SCR_Amplitude"], np.float64)
    heights = heights[np.isfinite(heights)]
    return len(heights), float(heights.mean()) if len(heights) else float("nan")


def rms(windows: Floats, about_mean: bool) -> Floats:
    """(M,) root mean square of `windows` (M, S), of what is left of the mean where `about_mean`."""
    x = windows - windows.mean(1, keepdims=True) if about_mean else windows
    out: Floats = np.sqrt((x**2).mean(1))
    return out


def _power(windows: Floats) -> Floats:
    """(M, S // 2 + 1) periodograms of `windows` (M, S) without their mean, under a Hann window."""
    x = (windows - windows.mean(1, keepdims=True)) * np.hanning(windows.shape[1] + 2)[1:-1]
    power: Floats = np.abs(np.fft.rfft(x, axis=1)) ** 2
    floored: Floats = power + _FLOOR * (power.mean(1, keepdims=True) + _FLOOR)
    return floored


def _bands(windows: Floats) -> Floats:
    """(M, at most _BANDS) logarithm of the power in bands that widen with frequency."""
    power = _power(windows)
    edges = np.unique(np.geomspace(1, power.shape[1], _BANDS + 1).astype(np.int64))
    bands: Floats = np.log(np.stack([power[:, low:high].mean(1) for low, high in pairwise(edges)], axis=1))
    return bands
