"""Fuzzes all parsers, round robin, for a given time: ``make fuzz MINUTES=60``, or

    python -m fuzzing.run [--minutes 60] [--only frame,sockets] [--corpus DIR] [--engine plain]

Each turn is a process of its own (:mod:`fuzzing.once`): first atheris, which searches by coverage (where it is
installed: ``pip install everbeat[fuzz]``), then a shorter turn that watches memory. A find is an exception that a
parser does not promise, an input that takes longer than 5 s, or a process that grows. Prints executions and finds; ends
with 1 where there is one. Inputs of finds lie beside the corpus; the corpus is kept for the next time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.targets import ROWS, present

CORPUS = Path("dist/fuzz")
TURN_S, LEAST_TURN_S = 60, 4  # of one engine on one target
PLAIN_SHARE = 0.25  # of a turn
PATIENCE_S = 60.0  # beyond its turn that a process may take to start, and to end
_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)|Done (\d+) runs")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass(slots=True)
class Tally:
    """What came of one target so far."""

    runs: int = 0
    grown_mib: float = 0.0
    slowest_s: float = 0.0
    finds: list[str] = field(default_factory=list)


def main(argv: list[str] | None = None) -> int:
    """Runs, prints, and gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", default="", help="names of targets, with commas")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--engine", choices=("both", "plain"), default="both")
    asked = parser.parse_args(argv)
    names = [name for name in asked.only.split(",") if name] or present()
    if unknown := set(names) - set(ROWS):
        parser.error(f"expected targets of {', '.join(ROWS)}, got {', '.join(sorted(unknown))}")
    both = asked.engine == "both" and importlib.util.find_spec("atheris") is not None
    print(f"{len(names)} targets, {asked.minutes:g} min, {'atheris and plain' if both else 'plain mutation only'}")
    started_s = time.monotonic()
    tallies = fuzz(names, asked.minutes * 60, asked.corpus, both)
    return report(tallies, time.monotonic() - started_s)


def fuzz(names: list[str], budget_s: float, corpus: Path, both: bool) -> dict[str, Tally]:
    """Turn by turn until the time is up. A target with five finds has no more turns."""
    tallies = {name: Tally() for name in names}
    turn_s = int(min(TURN_S, max(LEAST_TURN_S, budget_s / len(names) - 2)))
    end_s, seed = time.monotonic() + budget_s, 0
    while time.monotonic() < end_s:
        seed += 1
        for name in names:
            if time.monotonic() >= end_s and seed > 1:
                break
            if len(tallies[name].finds) < 5:
                turn(tallies[name], name, turn_s, corpus / name, seed, both)
    return tallies


def turn(tally: Tally, name: str, seconds: int, corpus: Path, seed: int, both: bool) -> None:
    """One turn of one target with each engine."""
    corpus.mkdir(parents=True, exist_ok=True)
    plain_s = max(LEAST_TURN_S, int(seconds * PLAIN_SHARE)) if both else seconds
    if both:
        _run(tally, name, "atheris", max(LEAST_TURN_S, seconds - plain_s), corpus, seed, _read_atheris)
    _run(tally, name, "plain", plain_s, corpus, seed, _read_plain)


Read = Callable[[Tally, int, str], None]


def _run(tally: Tally, name: str, engine: str, seconds: int, corpus: Path, seed: int, read: Read) -> None:
    command = [sys.executable, "-m", "fuzzing.once", name, "--engine", engine, "--seconds", str(seconds),
               "--corpus", str(corpus), "--seed", str(seed)]  # fmt: skip
    quiet = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds + PATIENCE_S, check=False,
            env=quiet,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        tally.finds.append(f"{engine}: the process did not end, its seed was {seed}")
        return
    clean = engine == "plain" and not done.returncode  # its result is the last line; warnings are on stderr
    read(tally, done.returncode, done.stdout if clean else done.stdout + done.stderr)


def _read_atheris(tally: Tally, status: int, said: str) -> None:
    counts = [int(a or b) for a, b in _DONE.findall(said)]
    tally.runs += max(counts, default=0)
    if status:
        where = _ARTIFACT.search(said)
        why = next((line for line in said.splitlines() if "Error" in line or "ERROR" in line), said[-300:])
        tally.finds.append(f"atheris: {why.strip()[:300]} ({where[1] if where else 'no input kept'})")


def _read_plain(tally: Tally, status: int, said: str) -> None:
    try:
        result = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        tally.finds.append(f"plain: ended with {status}: {said[-300:]}")
        return
    tally.runs += result["runs"]
    tally.grown_mib = max(tally.grown_mib, result.get("grown_mib", 0.0))
    tally.slowest_s = max(tally.slowest_s, result.get("slowest_s", 0.0))
    if "find" in result:
        tally.finds.append(f"plain: {result['why']} ({result['find']})")


def report(tallies: dict[str, Tally], spent_s: float) -> int:
    """A line a target, the sums, the finds; 1 where there are any."""
    print(f"{'target':20} {'executions':>12} {'grown MiB':>10} {'slowest s':>10} {'finds':>6}")
    for name, tally in tallies.items():
        print(f"{name:20} {tally.runs:12,d} {tally.grown_mib:10.1f} {tally.slowest_s:10.3f} {len(tally.finds):6d}")
    finds = [f"{name}: {find}" for name, tally in tallies.items() for find in tally.finds]
    runs = sum(tally.runs for tally in tallies.values())
    print(f"{runs:,d} executions in {spent_s / 60:.1f} min; crashes, hangs and growths found: {len(finds)}")
    for find in finds:
        print(f"  {find}")
    return 1 if finds else 0


if __name__ == "__main__":
    raise SystemExit(main())
