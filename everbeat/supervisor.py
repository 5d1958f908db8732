"""Starts processes, watches them, starts them again when they die, and leaves none behind.

Children run in sessions of their own, so that Ctrl-C reaches the supervisor alone, which then stops them in the
reverse of their order: SIGTERM, patience, SIGKILL. Should the supervisor itself be killed, the kernel ends its
children (PR_SET_PDEATHSIG). A child that dies again and again is restarted ever more slowly, never given up.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_CALM_S = 20.0  # after so long without dying, a child counts as healthy again
_MAX_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """One process to be kept running. `grace_s` is how long it may take to stop; `env` is for it alone."""

    name: str
    command: Sequence[str]
    grace_s: float = 5.0
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Child:
    job: Job
    process: subprocess.Popen[bytes]
    started_s: float
    deaths: int = 0
    again_s: float = 0.0  # when it may be started again; 0 while it runs
    restarts: int = 0


@dataclass(slots=True)
class Supervisor:
    """Holds children. Not thread-safe: one loop calls :meth:`watch`."""

    env: Mapping[str, str]
    logs: Path
    clock: Callable[[], float] = time.monotonic
    _children: dict[str, _Child] = field(default_factory=dict)
    _peaks: dict[str, int] = field(default_factory=dict)

    def start(self, job: Job) -> None:
        """Start a process; its output goes to ``LOGS/NAME.log``."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._children[job.name] = _Child(job, self._spawn(job), self.clock())

    def watch(self) -> list[str]:
        """Look after everybody once: note memory, restart the dead. Returns one line for each thing that happened."""
        news = list[str]()
        for child in self._children.values():
            if child.process.poll() is None:
                self._note_memory(child)
                if child.deaths and self.clock() - child.started_s > _CALM_S:
                    child.deaths = 0
            else:
                news += self._revive(child)
        return news

    def alive(self, name: str) -> bool:
        """Whether the process runs now."""
        child = self._children.get(name)
        return child is not None and child.process.poll() is None

    def pid(self, name: str) -> int:
        """Its process id."""
        return self._children[name].process.pid

    def peaks_mb(self) -> dict[str, float]:
        """The most resident memory (MiB) that each process was seen with."""
        return {name: round(peak / 2**20, 1) for name, peak in self._peaks.items()}

    def restarts(self) -> dict[str, int]:
        """How often each process was started again."""
        return {name: child.restarts for name, child in self._children.items() if child.restarts}

    def stop(self, name: str) -> int:
        """Stop one process for good. Returns its exit code."""
        child = self._children.pop(name)
        if child.process.poll() is None:
            self._note_memory(child)
            child.process.terminate()
            try:
                child.process.wait(child.job.grace_s)
            except subprocess.TimeoutExpired:
                log.warning("%s did not stop within %g s; killed", name, child.job.grace_s)
                child.process.kill()
                child.process.wait()
        return int(child.process.returncode)

    def stop_all(self) -> None:
        """Stop everybody, last started first."""
        for name in reversed(list(self._children)):
            self.stop(name)

    def _note_memory(self, child: _Child) -> None:
        name = child.job.name
        self._peaks[name] = max(self._peaks.get(name, 0), _memory_bytes(child.process.pid))

    def _revive(self, child: _Child) -> list[str]:
        now_s = self.clock()
        if not child.again_s:
            wait_s = min(_MAX_WAIT_S, 0.25 * 2**child.deaths)
            child.deaths += 1
            child.again_s = now_s + wait_s
            return [f"{child.job.name} died ({_cause(child.process.returncode)}); starting it again in {wait_s:g} s"]
        if now_s < child.again_s:
            return []
        child.process, child.started_s, child.again_s = self._spawn(child.job), now_s, 0.0
        child.restarts += 1
        return [f"{child.job.name} is running again (process {child.process.pid})"]

    def _spawn(self, job: Job) -> subprocess.Popen[bytes]:
        with (self.logs / f"{job.name}.log").open("ab") as out:
            return subprocess.Popen(
                list(job.command),
                env={**self.env, **job.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )


def _die_with_parent(parent: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died in between
            os._exit(1)

    return prepare


def _memory_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
