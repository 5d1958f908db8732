"""Runs one target for a while, in a process of its own, and says what came of it as the last line of its output.

Two engines. ``atheris`` (libFuzzer) searches by coverage, and keeps what reached new code in the corpus. ``plain``
mutates seeds and corpus without looking at coverage; it watches what atheris hides in its own growing tables: memory.
It measures the process's resident set after a warm-up, and again at the end.

    python -m fuzzing.once frame --engine plain --seconds 10 --corpus DIR
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import logging
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import psutil

from fuzzing.targets import Target, make

HANG_S = 5
MAX_BYTES = 4096
GROWTH_BYTES = 8 * 2**20  # what a process may grow by, from the first third of a run to its end
MIB = 2**20
HOUSE = ["device", "security", "twin_engine", "web", "everbeat", "engineio", "socketio", "h11"]


class Hang(Exception):
    """An input took longer than HANG_S."""


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target")
    parser.add_argument("--engine", choices=("atheris", "plain"), default="plain")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    logging.disable(logging.ERROR)  # each refusal is a warning, and there are millions; this process is for them alone
    asked.corpus.mkdir(parents=True, exist_ok=True)
    if asked.engine == "atheris":
        search(asked.target, asked.seconds, asked.corpus, asked.seed)
    else:
        print(json.dumps(plain(make(asked.target), asked.seconds, asked.corpus, asked.seed)))


def search(name: str, seconds: int, corpus: Path, seed: int) -> None:
    """libFuzzer's loop; it ends the process. Finds lie beside the corpus, its statistics on stderr."""
    import atheris

    with atheris.instrument_imports(include=HOUSE, enable_loader_override=False):
        target = make(name)
    for number, data in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-timeout={HANG_S}", "-rss_limit_mb=2048", f"-max_len={MAX_BYTES}",
               "-print_final_stats=1", "-verbosity=0", f"-seed={seed}", f"-artifact_prefix={corpus}.find-"]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run)
    atheris.Fuzz()


def plain(target: Target, seconds: float, corpus: Path, seed: int = 1) -> dict[str, object]:
    """What came of it: executions, memory grown in MiB, the slowest input in s; `find` names the file of the first."""
    known = [*target.seeds, *(p.read_bytes() for p in sorted(corpus.iterdir()) if p.is_file())]
    mutants, process = mutate(known, random.Random(seed)), psutil.Process()
    runs, slowest_s, start = 0, 0.0, time.perf_counter()
    early = 0
    with watchdog():
        while (spent := time.perf_counter() - start) < seconds:
            if not early and spent > seconds / 3:
                gc.collect()
                early = process.memory_info().rss
            data = next(mutants)
            begun = time.perf_counter()
            found = tried(target.run, data)
            runs, slowest_s = runs + 1, max(slowest_s, time.perf_counter() - begun)
            if found:
                return {"runs": runs, "find": kept(corpus, data), "why": found}
    gc.collect()
    grown = process.memory_info().rss - early
    result: dict[str, object] = {"runs": runs, "grown_mib": round(grown / MIB, 1), "slowest_s": round(slowest_s, 3)}
    return result | ({"find": "memory", "why": f"grew by {grown / MIB:.0f} MiB"} if grown > GROWTH_BYTES else {})


def tried(run: Callable[[bytes], None], data: bytes) -> str:
    """What `run` raised on `data`, in words; empty where it returned."""
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        run(data)
    except Hang:
        return f"took longer than {HANG_S} s"
    except Exception as error:  # noqa: BLE001 - any exception is a find
        return f"{type(error).__name__}: {error}"[:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return ""


@contextlib.contextmanager
def watchdog() -> Iterator[None]:
    """Raises Hang in whatever runs when the timer of :func:`tried` goes off."""

    def bark(_: int, __: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, bark)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def kept(corpus: Path, data: bytes) -> str:
    """The file that now holds the input that failed."""
    path = corpus.with_name(f"{corpus.name}.find-{hashlib.sha256(data).hexdigest()[:16]}")
    path.write_bytes(data)
    return str(path)


def mutate(known: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """The known inputs themselves, then for ever mutants of them, sometimes of two joined."""
    yield from known
    while True:
        data = bytearray(chance.choice(known))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _CHANGES[chance.randrange(len(_CHANGES))](data, chance, known)
        yield bytes(data[:MAX_BYTES])


def _flip(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _number(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    """A length or a count that somebody believes."""
    if data:
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256)))


def _cut(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.randrange(1, 20)]


def _insert(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice((chance.randbytes(chance.randrange(1, 20)), b"\xff" * 8, b"\0" * 8, b"[" * 300))


def _repeat(data: bytearray, chance: random.Random, _: list[bytes]) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = data[at : at + 40] * chance.randrange(1, 30)


def _join(data: bytearray, chance: random.Random, known: list[bytes]) -> None:
    other = chance.choice(known)
    at = chance.randrange(len(data) + 1)
    data[at:] = other[chance.randrange(len(other) + 1) :]


_CHANGES = (_flip, _number, _cut, _insert, _repeat, _join)

if __name__ == "__main__":
    main()
