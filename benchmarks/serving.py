"""What it costs to serve the generative core, on one core: batches beside one by one, a live step, memory a patient.

Four measurements in one run. Windows: contexts (536 steps of the target and five channels beside it, read as 70 bins
of 13 numbers) through the encoder alone, as batches are served, and through the whole forecast (all latents, all gap
ages, every expert), in a batch and one by one. A live step: time passes for 1,000 patients whose sensors are silent. A
rehearsal: one shadow forecast of every channel of 100 patients, together and patient by patient. Memory: what 200
twins take after a minute of readings.

    python -m benchmarks.serving
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import psutil

from twin_engine.features import CONTEXT_STEPS
from twin_engine.messages import ChannelReadings, Readings, Tick
from twin_engine.model import Context, Generator
from twin_engine.rehearse import rehearse
from twin_engine.twin import Twin, fold

BATCH, PATIENTS, REHEARSED, KEPT = 1000, 1000, 100, 200
SECONDS = 60
CHANNELS = {"gsr_uS": (0.25, 4.0), "emg_activity_mV": (0.1, 3e-4), "skin_temp_C": (0.25, 33.0), "hr_bpm": (1.0, 70.0)}
T0_US = 1_700_000_000_000_000


def main() -> None:
    """Print what was measured."""
    generator = Generator.load()
    memory(generator)
    windows(generator)
    live_step(generator)
    together(generator)


def windows(generator: Generator) -> None:
    """Windows a second, in batches beside one by one."""
    import torch

    rng = np.random.default_rng(0)
    contexts = [_context(rng, i) for i in range(BATCH)]
    prepared = generator.prepared(contexts)
    network = generator.network("gsr_uS")
    bins, statics = torch.from_numpy(prepared.bins), torch.from_numpy(prepared.statics)
    with torch.inference_mode():
        encoded = BATCH / _best(lambda: network.encode(bins, statics))
    whole = BATCH / _best(lambda: generator.forecast(contexts), 2)
    few = contexts[:50]
    alone = len(few) / _best(lambda: [generator.forecast([context]) for context in few], 2)
    print(f"encoder, batches of {BATCH}:      {encoded:10,.0f} windows/s")
    print(f"whole forecast, batches of {BATCH}:{whole:9,.0f} windows/s")
    print(f"whole forecast, one by one:    {alone:9,.0f} windows/s; ratio {whole / alone:.1f}")


def live_step(generator: Generator) -> None:
    """One tick of many patients whose four sensors have all been silent for ten seconds."""
    twin = _silent(generator)
    step = Tick(twin.now_us + 250_000)
    seconds = _best(lambda: [fold(twin, step, generator) for _ in range(PATIENTS)], 3)
    print(f"live step of {PATIENTS} patients, {len(CHANNELS)} silent channels each: {seconds * 1e3:.0f} ms")


def together(generator: Generator) -> None:
    """Shadow forecasts of many patients in one batch beside patient by patient."""
    twins = {f"p{i}": _alive(generator, f"p{i}") for i in range(REHEARSED)}
    batch = _best(lambda: rehearse(twins, generator), 2)
    alone = _best(lambda: [rehearse({name: twin}, generator) for name, twin in twins.items()], 2)
    each = batch / REHEARSED / len(CHANNELS) * 1e3
    print(f"shadow forecasts of {REHEARSED} patients: together {batch * 1e3:.0f} ms ({each:.2f} ms a channel), "
          f"patient by patient {alone * 1e3:.0f} ms; ratio {alone / batch:.1f}")  # fmt: skip


def memory(generator: Generator) -> None:
    """Growth of the process's memory over many twins, after their first shadow forecasts."""
    process = psutil.Process()
    before = process.memory_info().rss
    twins = {f"m{i}": _alive(generator, f"m{i}") for i in range(KEPT)}
    kept = rehearse(twins, generator)
    del twins
    grown = (process.memory_info().rss - before) / 1024
    print(f"memory: {grown / len(kept):.0f} KB a patient with {len(CHANNELS)} channels ({KEPT} patients)")


def _context(rng: np.random.Generator, seed: int) -> Context:
    walk = 4 + 0.02 * np.cumsum(rng.standard_normal(CONTEXT_STEPS))
    beside = {name: level * (1 + 0.01 * rng.standard_normal(CONTEXT_STEPS)) for name, (_, level) in CHANNELS.items()}
    return Context("gsr_uS", walk, beside, seed)


def _alive(generator: Generator, patient: str) -> Twin:
    """A twin after a minute of readings of every channel, due for its next shadow forecasts."""
    rng, blocks = np.random.default_rng(len(patient)), []
    for name, (period_s, level) in CHANNELS.items():
        at = np.arange(round(SECONDS / period_s)) * period_s
        values = level * (1 + 0.002 * np.cumsum(rng.standard_normal(len(at))))
        blocks.append(ChannelReadings(name, T0_US + np.round(at * 1e6).astype(np.int64), values))
    end_us = T0_US + SECONDS * 1_000_000
    twin, _ = fold(Twin(patient), Tick(end_us), generator)
    return fold(twin, Readings("bench", tuple(blocks), end_us // 1000), generator)[0]


def _silent(generator: Generator) -> Twin:
    """A twin whose sensors all fell silent ten seconds ago."""
    twin = _alive(generator, "p")
    for quarter in range(1, 41):
        twin, _ = fold(twin, Tick(T0_US + SECONDS * 1_000_000 + quarter * 250_000), generator)
    return twin


def _best(work: Callable[[], object], turns: int = 5) -> float:
    """The least seconds of several turns."""
    seconds = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    main()
