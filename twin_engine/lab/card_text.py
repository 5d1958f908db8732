"""The words of the model card that no measurement changes. Numbers are in ``card_tables`` and come from the files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """Where a folder of recordings comes from."""

    what: str
    origin: str
    licence: str
    caveat: str = ""  # one sentence
    patients: bool = False


SOURCES: dict[str, Source] = {
    "emg_gsr": Source(
        "facial EMG and palm skin conductance of 25 healthy adults, about 5 min each, 14 after a sedative (oxazepam)",
        "Nilsonne et al., oxazepam and emotion (figshare 1558201)",
        "CC0 1.0",
        "EMG comes from two muscles of the face and one laboratory amplifier; no limb muscle was trained on.",
    ),
    "wrist_e4": Source(
        "wristband: skin conductance, temperature, pulse, motion; 23 healthy adults, 55 min each, rest and stress",
        "Iqbal et al. 2022, Sensors 22(21):8135",
        "MIT",
        "The wristband's heart rate is heavily averaged by its maker; other devices move faster.",
    ),
    "vitals_1hz": Source(
        "wrist pulse oximeter: heart rate and oxygen saturation of 13 healthy adults, about 43 min each",
        "Birjandtalab et al. 2016, PhysioNet noneeg 1.0.0",
        "PhysioNet open access, believed ODC-By 1.0, not verified",
    ),
    "dht": Source(
        "two DHT11 and one DHT22 side by side in one room", "GeoSensorWebLab/dht-sensor-test", "PDDL (public domain)"
    ),
    "room": Source(
        "temperature and humidity of an office and of a home",
        "Candanedo and Feldheim 2016 (office); JohnTitor/butlers (home)",
        "office: UCI lists CC BY 4.0, not verified; home: MIT or Apache-2.0",
    ),
    "multi": Source("resting adult: ECG, PPG or skin conductance, breath", "NeuroKit, Makowski et al. 2021", "MIT"),
    "motion": Source(
        "wrist PPG during exercise",
        "Jarchi and Casson 2017, PhysioNet",
        "PhysioNet open access, believed ODC-By 1.0, not verified",
    ),
    "icu": Source(
        "bedside monitors of patients",
        "PhysioNet, Goldberger et al. 2000; Clifford et al. 2015",
        "PhysioNet open access (ODC-By or ODbL by database, not verified)",
        patients=True,
    ),
    "ppg": Source("finger, ring and camera PPG", "biosignalsnotebooks; HeartPy; Welltory", "MIT; MIT; CC0 1.0"),
    "emg": Source(
        "surface and needle EMG", "biosignalsnotebooks; BioSPPy; PhysioNet emgdb",
        "MIT; BSD 3-clause; PhysioNet open access, not verified",
    ),
    "gsr": Source("skin conductance of single people", "biosignalsnotebooks; BioSPPy", "MIT; BSD 3-clause"),
}  # fmt: skip
UNKNOWN_SOURCE = Source("recordings of your own", "not stated", "not stated: whoever trained these weights knows")

INTRODUCTION = """\
The generative core answers one question: given what a sensor did until its last reading, what is it reporting now? It
answers with a range and a probability, not with a single value, and it looks at nothing later than the last reading.
When the sensor speaks again, a second model looks at both sides of the gap and revises the past, with a mark.

This card says what these weights were made from, how well they do on people they have never seen, and where they
fail. It is written by the training and the evaluation; no result in it was typed by hand."""

INTENDED_USE = """\
**For:** showing, on a secondary display, marked as synthesised and with its uncertainty, what a silent sensor would
most likely report, for seconds to a few minutes. While the sensor is alive the engine makes forecasts and scores them a
moment later; from these it learns, for each patient, how far to trust itself. Until it has learnt that, the screen says
"still learning".

**Not for:** diagnosis; raising, silencing or delaying an alarm; controlling a pump, a ventilator or anything else;
replacing a measurement or a look at the patient. It is no medical device and has been approved by nobody."""

CANNOT = """\
- **It can't see a deterioration that begins in the gap.** It continues what it has seen. Arrhythmia, fever, seizure,
  shivering, bleeding or an arrest begin without announcement in the signals it knows: while a sensor is silent, only
  the patient and other sensors can tell.
- **It can't fill long gaps.** The longer the gap, the wider the range, up to the point where nothing is shown.
- **The line in the middle is smoother than the real signal.** It is the middle of what is likely and must not be read
  as a trace.
- **It can't say how errors differ by sex, age or skin colour:** none of the recordings says who these people were."""

HEALTHY_ONLY = """\
- **It was trained on healthy adults**, at rest or in mild laboratory stress. What drugs (but for one sedative), age,
  illness, childhood or pregnancy change, it has not seen."""
SOMEBODY = """\
- **It knows only people like those it was trained on.** Who they were is in the table of data below, as far as the
  training could know."""

LEFT_OUT = (
    "The first seconds of each recording are left out, while sensors are being put on, and so is every stretch that "
    "the quality stage calls bad (docs/normal.md says what that is)."
)

METHOD = """\
1. **Normal stretches only.** A quality stage marks what is no physiology (electrode off, stuck, clipped, bursts when
   sensors are taken off); nothing is learnt from it.
2. **A normaliser that knows only the past.** A context is centred on its last value and divided by its own movement,
   shrunk towards that of the training people when the context is short.
3. **Cheap forecasts** (last value, mean, autoregression, Kalman filter, ridge regression …) of the same context.
4. **LSTM-VAE.** An encoder LSTM reads the context and the device's other signals and gives the prior of a latent
   variable; a decoder LSTM walks over ages of the gap and says, for each, how to mix the cheap forecasts, how to
   correct them, and how unsure to be. Trained on samples from the prior with proper scores (CRPS, energy scores) and a
   part of the evidence lower bound, on windows that were spoilt the way life spoils them.
5. **Experts.** LSTM-VAE and cheap forecasts are weighed against each other: first as was best for held-out people, then
   for each patient as shadow forecasts show. Every shown value knows what made it.
6. **Calibration** per patient, channel and age of the gap (adaptive conformal inference), fed by shadow forecasts."""

LIMITS = """\
- The people tested are few. Intervals in this card are bootstraps over them; with fewer than three people in a subgroup
  there is none. A subgroup without a row was not measured, which is not the same as being served well.
- All data come from the devices named above. Expect larger errors on a device that smooths, rounds or fails
  differently, until the calibration has seen enough of it.
- Errors are given in the person's own standard deviation over the whole recording (only the report knows it; no
  forecast does), so that signals can be compared: 1.0 is as far off as that person's signal usually is from its own
  mean.
- People of the test set are never trained on, and their numbers are in no weights. The same split was used for every
  version of this model; choices made after looking at an earlier version's table may have taken a few percent of
  their worth from it.
- Numbers in the literature for this task (mean absolute error 0.0928 for DHT11, 0.6992 for EMG, 0.2719 for GSR;
  Tripathi, 2026) come without scale, gap length or split and can't be compared with these.
- The signature says who made these weights, not that they are good. An old, worse version with a good signature
  is accepted."""
