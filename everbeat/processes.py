"""Commands that run the house: ``demo`` all of it, each other one process.

Every command reads its settings once (:mod:`everbeat.settings`), gets its parts from :mod:`everbeat.wiring`, and ends
with one clear line where it can't do its work. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Annotated

import typer

from device.commands import DEFAULT_INTERVAL_S, MAX_INTERVAL_S, MIN_INTERVAL_S
from everbeat.console import fail, one_line_errors, say, stop_event, until_stopped
from everbeat.settings import Settings
from web.settings import CONNECTIONS, STRANGERS, STRANGERS_EACH

app = typer.Typer()


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
    from everbeat.demo_plan import DemoPlan, fail_on_missing_replays, recordings
    from everbeat.patients import sources_of

    with one_line_errors():
        sources = sources_of(recordings(replay or []), patients)
        fail_on_missing_replays(sources)
        plan = DemoPlan(sources, speed, duration, report, port, shards, interval)
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

    with one_line_errors():
        here = Settings.from_env()
        settings = wiring.hub_settings(here)
        leave_in_time(wiring.hub_identity(here))
        asyncio.run(until_stopped(lambda stop: serve(settings, stop)))


@app.command()
def ingest() -> None:
    """Events from the hub into the store."""
    from device.ingest import ingest as story
    from everbeat import wiring

    with one_line_errors():
        settings = Settings.from_env()
        sink, source = wiring.raw_sink(settings), wiring.event_source(settings)
        asyncio.run(until_stopped(lambda stop: story(source, sink, stop)))


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

    with one_line_errors():
        settings = Settings.from_env()
        store, master = wiring.shard_store(settings, shard)
        identity, trust = wiring.engine_identity(settings), wiring.live_trust(settings)
        model = Generator.load(settings.weights, signers=signers(settings))
        clock_ms = Unshaken(wall_clock_ms, since_boot_s)
        story = Engine(
            store, model, trust=trust, identity=identity, master=master, clock_ms=clock_ms, suites=settings.suites
        )
        stop = stop_event()
        leave_in_time(identity)
        story.run(stop)


@app.command()
def downlink() -> None:
    """Receipts, keys and commands from the store down to devices."""
    from device.downlink import run_downlink
    from everbeat import wiring

    with one_line_errors():
        settings = Settings.from_env()
        outbox, target = wiring.order_queue(settings), wiring.downlink_settings(settings)
        asyncio.run(until_stopped(lambda stop: run_downlink(target, outbox, stop)))


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
    demo: Annotated[bool, typer.Option(help="Buttons that unplug sensors and forge a message.")] = False,
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

    with one_line_errors():
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
            demo=demo,
            connections=connections,
            strangers=strangers,
            strangers_each=strangers_each,
        )
        page, _ = create_app(
            wiring.feed(here), settings, people=wiring.people(here), reader=wiring.audit_reader(here), provider=provider
        )
        server = serve(page, settings)
        stop = stop_event()
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
        fail("expected either --replay FILE or --simulate, got both or none; no device was started")
    with one_line_errors():
        settings = Settings.from_env()
        link = wiring.uplink_settings(settings, device_id, drain, hostname=host)
        source = wiring.sensor_source(replay, speed, loop)
        leave_in_time(link.identity)
        asyncio.run(until_stopped(lambda stop: run_device(link, source, stop)))


@app.command()
def registrar() -> None:
    """Answers devices that ask over the hub for their next certificate; runs where the CA's key lies."""
    from everbeat import registrar

    with one_line_errors():
        registrar.run(Settings.from_env(), stop_event())


@app.command()
def fleet(
    file: Annotated[Path, typer.Argument(help="A JSON list: device, and replay, or seed, sex and age, of each.")],
    drain: Annotated[float, typer.Option(help="How long to wait for receipts when stopping, in seconds.")] = 12.0,
) -> None:
    """Many devices in one process; one that fails is started again alone."""
    _one_thread()
    from everbeat import fleet as story

    with one_line_errors():
        members = story.read_fleet(file)
        run = story.runner(Settings.from_env(), drain)
        asyncio.run(until_stopped(lambda stop: story.run_fleet(members, run, stop)))


def _one_thread() -> None:
    """One thread for linear algebra, before numpy is loaded: its matrices are small, and a second thread that waits for
    a busy core makes every product wait. Measured on two busy cores: a round of the engine took eleven times as long.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
