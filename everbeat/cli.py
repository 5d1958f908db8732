"""The ``everbeat`` command. ``demo`` runs the whole house; each process also starts alone.

Every command reads its settings once (:mod:`everbeat.settings`), gets its parts from :mod:`everbeat.wiring`, and ends
with one clear line where it can't do its work. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from device.commands import DEFAULT_INTERVAL_S, MAX_INTERVAL_S, MIN_INTERVAL_S
from everbeat import keys, logs, people, pki
from everbeat.settings import Settings
from web.settings import CONNECTIONS, STRANGERS, STRANGERS_EACH

app = typer.Typer(add_completion=False, no_args_is_help=True, help="A medical digital twin that never goes blank.")
app.add_typer(logs.app)
app.add_typer(people.app, name="user")
app.add_typer(pki.app, name="pki")
say = Console(stderr=True)
app.add_typer(keys.app, name="keys")
app.command()(keys.erase)

Recording = Annotated[Path, typer.Argument(help="A recording: CSV or CSV.gz, first column time_s.")]


def main() -> None:
    """Entry point: our own errors are one line, everything else is a fault and shows where it came from."""
    app()


@app.command()
def demo(
    replay: Annotated[
        list[Path] | None,
        typer.Option(help="Play this recording instead of a simulated patient; may be repeated, or name a folder."),
    ] = None,
    patients: Annotated[
        int | None, typer.Option(help="How many: recordings first, the rest simulated; default: one a recording.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, max=1024, envvar="EVERBEAT_SHARDS", help="Engines that share the patients.")
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than it was recorded.")] = 1.0,
    duration: Annotated[float | None, typer.Option("--for", help="Stop by itself after so many seconds.")] = None,
    report: Annotated[Path | None, typer.Option(help="Measure, and write the numbers to this JSON file.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page.")] = 8050,
    interval: Annotated[
        float, typer.Option(min=MIN_INTERVAL_S, max=MAX_INTERVAL_S, help="Seconds between a device's frames.")
    ] = DEFAULT_INTERVAL_S,
) -> None:
    """Run everything on this machine and print the page's address."""
    from everbeat import demo as story
    from everbeat.patients import sources_of

    with _one_line_errors():
        sources = sources_of(story.recordings(replay or []), patients)
        story.fail_on_missing_replays(sources)
        plan = story.DemoPlan(sources, speed, duration, report, port, shards, interval)
        found = story.run(Settings.from_env(), plan, say.print)
        if found is not None:
            say.print_json(data=found.as_json())
            raise typer.Exit(1 if found.lost else 0)


@app.command()
def hub() -> None:
    """The local IoT Hub (MQTT, AMQP, HTTPS), where there is no Azure."""
    from device.hub.server import serve
    from everbeat import wiring
    from everbeat.leaving import leave_in_time

    with _one_line_errors():
        here = Settings.from_env()
        settings = wiring.hub_settings(here)
        leave_in_time(wiring.hub_identity(here))
        asyncio.run(_until_stopped(lambda stop: serve(settings, stop)))


@app.command()
def ingest() -> None:
    """Events from the hub into the store."""
    from device.ingest import ingest as story
    from everbeat import wiring

    with _one_line_errors():
        settings = Settings.from_env()
        sink, source = wiring.raw_sink(settings), wiring.event_source(settings)
        asyncio.run(_until_stopped(lambda stop: story(source, sink, stop)))


@app.command()
def engine(shard: Annotated[str, typer.Option(help="The shard to own.")] = "s0") -> None:
    """The twin engine of one shard."""
    _one_thread()
    from everbeat import wiring
    from everbeat.leaving import leave_in_time
    from everbeat.weights import signers
    from security.identity import wall_clock_ms
    from twin_engine.model import Generator
    from twin_engine.pipeline import Engine
    from twin_engine.steady import Unshaken, since_boot_s

    with _one_line_errors():
        settings = Settings.from_env()
        store, master = wiring.shard_store(settings, shard)
        identity, trust = wiring.engine_identity(settings), wiring.live_trust(settings)
        model = Generator.load(settings.weights, signers=signers(settings))
        clock_ms = Unshaken(wall_clock_ms, since_boot_s)
        story = Engine(
            store, model, trust=trust, identity=identity, master=master, clock_ms=clock_ms, suites=settings.suites
        )
        stop = _stop_event()
        leave_in_time(identity)
        story.run(stop)


@app.command()
def downlink() -> None:
    """Receipts, keys and commands from the store down to devices."""
    from device.downlink import run_downlink
    from everbeat import wiring

    with _one_line_errors():
        settings = Settings.from_env()
        outbox, target = wiring.order_queue(settings), wiring.downlink_settings(settings)
        asyncio.run(_until_stopped(lambda stop: run_downlink(target, outbox, stop)))


@app.command()
def web(
    port: Annotated[int, typer.Option(help="Port.")] = 8050,
    host: Annotated[
        str, typer.Option(help="Address; another than loopback needs sign-in and a certificate.")
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="Host name under which people reach it; may be repeated.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="HTTPS: certificate chain (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="HTTPS: its private key (PEM).")] = None,
    https: Annotated[bool, typer.Option(help="HTTPS with a certificate of this house's own CA.")] = False,
    sign_in: Annotated[bool, typer.Option(help="Require it even while there is no account.")] = False,
    connections: Annotated[int, typer.Option(help="Connections at once, in all.")] = CONNECTIONS,
    strangers: Annotated[int, typer.Option(help="Of these, without a session.")] = STRANGERS,
    strangers_each: Annotated[int, typer.Option(help="Of these, from one address.")] = STRANGERS_EACH,
) -> None:
    """The page and its sockets. As soon as there is an account (`everbeat user add`), people must sign in."""
    from everbeat import wiring
    from everbeat.leaving import leave_in_time
    from everbeat.people import oidc_settings
    from web.app import create_app, serve
    from web.settings import WebSettings

    with _one_line_errors():
        here, provider = Settings.from_env(), oidc_settings()
        own = None
        if https and certificate is None:
            own = wiring.web_identity(here, [host, *(name or ())])
            certificate, key = own.chain_path, own.key_path
        settings = WebSettings(
            host,
            port,
            sign_in=sign_in or provider is not None,
            names=tuple(name or ()),
            certificate=certificate,
            key=key,
            connections=connections,
            strangers=strangers,
            strangers_each=strangers_each,
        )
        page, _ = create_app(
            wiring.feed(here), settings, people=wiring.people(here), reader=wiring.audit_reader(here), provider=provider
        )
        server = serve(page, settings)
        stop = _stop_event()
        if own is not None:
            leave_in_time(own)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stop.wait()
        server.shutdown()


@app.command()
def device(
    device_id: Annotated[str, typer.Argument(help="Its id, which its certificate must prove.")],
    replay: Annotated[Path | None, typer.Option(help="Play this recording.")] = None,
    simulate: Annotated[bool, typer.Option(help="A simulated patient.")] = False,
    speed: Annotated[float, typer.Option(help="Speed of the replay.")] = 1.0,
    loop: Annotated[bool, typer.Option(help="Start the recording again at its end.")] = False,
    drain: Annotated[float, typer.Option(help="How long to wait for receipts when stopping, in seconds.")] = 12.0,
    host: Annotated[str | None, typer.Option(help="Host name of an Azure IoT Hub; default: the local hub.")] = None,
) -> None:
    """One device: sensors (replayed or simulated), frames, seals, spool, MQTT."""
    from device.uplink import run_device
    from everbeat import wiring
    from everbeat.leaving import leave_in_time

    if simulate == (replay is not None):
        _fail("expected either --replay FILE or --simulate, got both or none; no device was started")
    with _one_line_errors():
        settings = Settings.from_env()
        link = wiring.uplink_settings(settings, device_id, drain, hostname=host)
        source = wiring.sensor_source(replay, speed, loop)
        leave_in_time(link.identity)
        asyncio.run(_until_stopped(lambda stop: run_device(link, source, stop)))


@app.command()
def registrar() -> None:
    """Answers devices that ask over the hub for their next certificate; runs where the CA's key lies."""
    from everbeat import registrar

    with _one_line_errors():
        registrar.run(Settings.from_env(), _stop_event())


@app.command()
def fleet(
    file: Annotated[Path, typer.Argument(help="A JSON list: device, and replay, or seed, sex and age, of each.")],
    drain: Annotated[float, typer.Option(help="How long to wait for receipts when stopping, in seconds.")] = 12.0,
) -> None:
    """Many devices in one process; one that fails is started again alone."""
    _one_thread()
    from everbeat import fleet as story

    with _one_line_errors():
        members = story.read_fleet(file)
        run = story.runner(Settings.from_env(), drain)
        asyncio.run(_until_stopped(lambda stop: story.run_fleet(members, run, stop)))


@app.command()
def twin(
    recording: Recording,
    out: Annotated[Path, typer.Option(help="What was shown, row by row (CSV).")],
    revisions: Annotated[Path | None, typer.Option(help="What was revised when gaps closed (CSV).")] = None,
) -> None:
    """Run the twin over a recording: what would it have shown, knowing only what came before?"""
    from device.recording import read_recording
    from everbeat.weights import signers
    from twin_engine.model import Generator
    from twin_engine.offline import HEADER, twin_of_recording

    with _one_line_errors(), _progress("twin") as step:
        read = read_recording(recording)
        for warning in read.warnings:
            say.print(f"warning: {warning}", style="yellow")
        if read.skipped:
            say.print(f"columns without a signal, skipped: {', '.join(read.skipped)}", style="dim")
        settings = Settings.from_env()
        model = Generator.load(settings.weights, signers=signers(settings))
        lines, revised = twin_of_recording(read, model, step)
        _write_lines(out, HEADER, lines)
        if revisions is not None:
            _write_lines(revisions, HEADER, iter(revised))


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="Folder of recordings (CSV.gz, one folder a device).")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where to; default: weights/, with --baselines rivals/ in the state directory."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps a signal; default: the recipe's.")] = None,
    signals: Annotated[str | None, typer.Option(help="Only these, with commas between; default: all.")] = None,
    device: Annotated[str, typer.Option(help="auto (a graphics card where there is one), cpu or cuda.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Signals at once; default: a core each.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Keep what was trained, or begin anew.")] = True,
    release: Annotated[
        bool, typer.Option(help="Sign with the release key, which every installation believes.")
    ] = False,
    ablate: Annotated[
        bool, typer.Option(help="Also train without latent and without baselines, for the model card: thrice the time.")
    ] = False,
    baselines: Annotated[bool, typer.Option(help="Train the rivals for `evaluate` instead (SAITS, BRITS).")] = False,
    seconds: Annotated[float, typer.Option(help="With --baselines: processor time to train.")] = 1200.0,
) -> None:
    """Train the generative model; write its weights, signed, and its model card."""
    from everbeat.training import TrainingPlan, run

    with _one_line_errors(), _progress_of_each() as show:
        settings = Settings.from_env()
        if baselines:
            from twin_engine.lab.fit_rivals import train_rivals

            train_rivals(data, out or settings.state / "rivals", seconds=seconds, seed=seed, progress=show)
            return
        chosen = None if signals is None else tuple(name.strip() for name in signals.split(",") if name.strip())
        plan = TrainingPlan(data, out or Path("weights"), seed, steps, chosen, device, workers, resume, release, ablate)
        run(settings, plan, show, lambda line: say.print(line, soft_wrap=True, highlight=False))


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of recordings, in any folders below it.")],
    json_out: Annotated[Path, typer.Option("--json", help="Write every number to this JSON file.")],
    report: Annotated[Path, typer.Option(help="Write the page with plots and tables to this HTML file.")],
    model: Annotated[Path | None, typer.Option(help="Folder of weights; default: the packaged ones.")] = None,
    baselines: Annotated[
        Path | None,
        typer.Option(help="Folder that `train --baselines` wrote; default: rivals/ in the state directory, else ours."),
    ] = None,
    signals: Annotated[str | None, typer.Option(help="Only these, with commas between; default: all.")] = None,
    gaps: Annotated[int, typer.Option(min=1, help="Gaps a channel, length, kind of place and seed.")] = 24,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default: a core each.")] = None,
) -> None:
    """The model beside every rival, on people it has never seen: tables, JSON, a page of plots, the model card."""
    from everbeat.weights import signers
    from twin_engine.lab import evaluate as story
    from twin_engine.lab.card import write_card
    from twin_engine.lab.outcome import outcome, text, write_json
    from twin_engine.lab.report import write_report
    from twin_engine.lab.rivals import CACHED

    chosen = None if signals is None else tuple(name.strip() for name in signals.split(",") if name.strip())
    with _one_line_errors(), _progress("evaluate") as step:
        settings = Settings.from_env()
        size = story.Settings(count=gaps, signals=chosen, jobs=jobs or os.cpu_count() or 1)
        own = settings.state / "rivals"
        rivals = baselines or (own if own.exists() else CACHED)
        try:
            told = outcome(story.evaluate(data, model, size, rivals, signers(settings), step))
        except story.EvaluationError as error:
            _fail(str(error), code=1)
        write_json(told, json_out)
        write_card(json_out.parent, told.evaluation.metadata, json.loads(json_out.read_text()))
        write_report(told, report)
    print(text(told))


# ---------------------------------------------------------------------------------------------- small parts


_OURS = frozenset({"everbeat", "web", "twin_engine", "device", "security"})


@contextmanager
def _one_line_errors() -> Iterator[None]:
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
        _fail(str(error))


def _fail(text: str, code: int = 2) -> NoReturn:
    say.print(f"everbeat: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def _one_thread() -> None:
    """One thread for linear algebra, before numpy is loaded: its matrices are small, and a second thread that waits for
    a busy core makes every product wait. Measured on two busy cores: a round of the engine took eleven times as long.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


async def _until_stopped(story: Callable[[asyncio.Event], Awaitable[object]]) -> None:
    """Run a coroutine with an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await story(stop)


def _stop_event() -> threading.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


one_line_errors = _one_line_errors  # for commands in files of their own


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=say) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def _progress_of_each() -> Iterator[Callable[[str, float], None]]:
    """A bar for each thing that reports its fraction, from its first report on."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=say) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=1.0)
            bar.update(tasks[what], completed=share)

        yield show


def _write_lines(path: Path, header: str, lines: Iterator[str]) -> None:
    """All or nothing: a run that is cut off leaves no half file behind."""
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        file.write(header + "\n")
        file.writelines(line + "\n" for line in lines)
    part.replace(path)


if __name__ == "__main__":
    main()
