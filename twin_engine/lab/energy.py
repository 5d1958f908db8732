"""What a training took from the socket: measured where the machine tells, else estimated, and which of the two.

Measured: Intel's and AMD's RAPL counters below ``/sys/class/powercap`` (processor packages; since 2020 often readable
by root alone) and, for an NVIDIA card, the counter of its own driver. They count the whole machine, other programs
included. Estimated: processor seconds of this process and its ended children, times ``WATTS_A_CORE``.
"""

from __future__ import annotations

import ctypes
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

RAPL = Path("/sys/class/powercap")
WATTS_A_CORE = 10.0  # a busy core of a server of 2020 to 2025 with its share of memory and fans; from 5 to 15
_NVML = "libnvidia-ml.so.1"
_J_A_WH = 3600.0


@dataclass(frozen=True, slots=True)
class Energy:
    """What was used. Several add up; the sum is called measured only where all of it was."""

    joules: float
    cpu_s: float  # of all threads
    wall_s: float
    measured: bool
    how: str  # one clause for people

    def __add__(self, other: Energy) -> Energy:
        how = self.how if self.how == other.how else f"partly {self.how}, partly {other.how}"
        joules, cpu_s, wall_s = self.joules + other.joules, self.cpu_s + other.cpu_s, self.wall_s + other.wall_s
        return Energy(joules, cpu_s, wall_s, self.measured and other.measured, how)

    def as_json(self) -> dict[str, Any]:
        """For the metadata of the weights; :func:`from_json` is the inverse."""
        return asdict(self)

    def text(self) -> str:
        """One clause: how much, and how we know."""
        word = "measured" if self.measured else "an estimate, not a measurement"
        return f"{self.joules / _J_A_WH:.3g} Wh ({word}: {self.how}; {self.cpu_s:.0f} processor seconds)"


def from_json(value: dict[str, Any]) -> Energy:
    """The inverse of :meth:`Energy.as_json`. Raises TypeError on another form."""
    return Energy(**value)


class Meter:
    """``with Meter() as meter: ...`` then ``meter.used``. Blocks must be shorter than a counter's turn (over 10 min).

    `device` is torch's name of where the work is done; a graphics card counts where that is ``cuda``. A resumed
    training gives what it used before as `before`. `shared_by` meters run at once on this machine: each takes its
    part of the counters, so that their sum counts nothing twice.
    """

    def __init__(
        self, device: str = "cpu", before: Energy | None = None, shared_by: int = 1, rapl: Path = RAPL
    ) -> None:
        self._on_card, self._before, self._parts, self._rapl = device.startswith("cuda"), before, shared_by, rapl
        self.used = Energy(0.0, 0.0, 0.0, False, "not yet ended")

    def __enter__(self) -> Meter:
        self._began = self._read()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.used = self.so_far()

    def so_far(self) -> Energy:
        """What was used since the block began, and before."""
        now = self._read()
        cpu_s, wall_s = now.cpu_s - self._began.cpu_s, now.wall_s - self._began.wall_s
        card_j = None if now.card_j is None or self._began.card_j is None else now.card_j - self._began.card_j
        counted = (_turned(self._began.packages, now.packages), card_j)
        packages_j, card_j = (None if joules is None else joules / self._parts for joules in counted)
        used = _used(packages_j, card_j, cpu_s, wall_s, self._on_card)
        return used if self._before is None else self._before + used

    def _read(self) -> _Reading:
        return _Reading(_cpu_s(), time.monotonic(), _packages(self._rapl), _card_j() if self._on_card else None)


@dataclass(frozen=True, slots=True)
class _Reading:
    cpu_s: float
    wall_s: float
    packages: dict[str, tuple[float, float]]  # name -> (J, J at which it begins again)
    card_j: float | None


def _used(packages_j: float | None, card_j: float | None, cpu_s: float, wall_s: float, on_card: bool) -> Energy:
    """The parts put together; what could not be measured is estimated or named as left out."""
    if packages_j is None:
        joules, how = cpu_s * WATTS_A_CORE, f"processor seconds × {WATTS_A_CORE:g} W a core"
    else:
        joules, how = packages_j, "RAPL counters of the processor packages, other programs included"
    if on_card:
        how += ", graphics card by its driver's counter" if card_j is not None else ", graphics card left out"
    measured = packages_j is not None and (card_j is not None or not on_card)
    return Energy(joules + (card_j or 0.0), cpu_s, wall_s, measured, how)


def _cpu_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _packages(rapl: Path) -> dict[str, tuple[float, float]]:
    """Counters of whole packages (``intel-rapl:0``, not their parts ``intel-rapl:0:0``); none where unreadable."""
    found = {}
    for zone in sorted(rapl.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:
            try:
                values = [float((zone / name).read_text()) / 1e6 for name in ("energy_uj", "max_energy_range_uj")]
            except (OSError, ValueError):
                return {}
            found[zone.name] = (values[0], values[1])
    return found


def _turned(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> float | None:
    """Joules between two readings, with counters that began again; None where there are none."""
    if not before or before.keys() != after.keys():
        return None
    return sum((after[name][0] - start) % turn for name, (start, turn) in before.items())


def _card_j() -> float | None:
    """Joules of the first NVIDIA card since its driver was loaded; None where it doesn't tell (older than Volta)."""
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return None
    card, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(card)):
        return None
    failed = library.nvmlDeviceGetTotalEnergyConsumption(card, ctypes.byref(millijoules))
    return None if failed else millijoules.value / 1000
