"""What every command does around its work: an error in one line, the end when it is asked for, progress."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

say = Console(stderr=True)

_OURS = frozenset({"everbeat", "web", "twin_engine", "device", "security"})


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Our own errors, and the system's, as one line on stderr and exit code 2; a fault of ours shows its traceback."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    for noisy in ("azure", "werkzeug", "engineio", "socketio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _OURS and not isinstance(error, OSError):
            raise
        fail(str(error))


def fail(text: str, code: int = 2) -> NoReturn:
    """Say in one line what was expected, and end the command."""
    say.print(f"everbeat: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def stop_event() -> threading.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


async def until_stopped(story: Callable[[asyncio.Event], Awaitable[object]]) -> None:
    """Run a coroutine with an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await story(stop)


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar, moved by the fraction that is done."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=say) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def progress_of_each() -> Iterator[Callable[[str, float], None]]:
    """A bar for each thing that reports its fraction, from its first report on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=say) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=share)

        yield show
