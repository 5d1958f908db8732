"""Fills the protocols: which store, which keys and which hub each process gets. The only place that knows them all."""

from __future__ import annotations

import base64
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from device.cloud import renewed_local
from device.commands import DEFAULT_INTERVAL_S
from device.downlink import RestSettings
from device.hub.server import HubSettings, Policy, Right
from device.hub.settings import HTTPS_PORT
from device.ingest import EventHubSettings
from device.link import HubAddress
from device.recording import read_recording
from device.replay import Replay
from device.source import SensorSource
from device.uplink import UplinkSettings
from everbeat.settings import Settings
from security import files
from security.errors import SecurityError
from security.identity import (
    Authority,
    DeviceIdentity,
    EngineIdentity,
    ServerIdentity,
    ensure_device,
    ensure_engine,
    ensure_server,
    load_or_create_ca,
    wall_clock_ms,
)
from security.keys import MasterKey
from security.list_ends import list_warnings
from security.listing import refresh_lists
from security.revocation import TrustWatch
from security.trust import Trust
from twin_engine.store.audit import AuditWriter
from twin_engine.store.audit_reader import AuditReader, SequencedAudit
from twin_engine.store.connection import Client, connect, translated
from twin_engine.store.erasing import Eraser
from twin_engine.store.keys import SHARDS
from twin_engine.store.orders import OrderQueue
from twin_engine.store.patients import PatientStore
from twin_engine.store.people import PeopleStore
from twin_engine.store.raw import RawSink
from twin_engine.store.reader import RedisFeed
from twin_engine.store.sessions import SessionStore
from twin_engine.store.shard import ShardStore
from twin_engine.store.signin import Attempts, Begun
from twin_engine.store.vault import Vault

if TYPE_CHECKING:
    from web.access import People

log = logging.getLogger(__name__)

HUB_POLICY = "service"
HUB_NAME, WEB_NAME = "hub", "web"
LISTS_EVERY_MS = 3_600_000  # between two looks at whether the list of revoked certificates must be signed anew
_READERS = ("engine", "web", "keeper", "eraser")  # Redis users who read what is sealed under patients' keys
EVENTHUB = "everbeat"  # EntityPath of the local hub's event endpoint


def authority(settings: Settings) -> Authority:
    """The certificate authority, made on the first start where nobody made or imported one."""
    return load_or_create_ca(settings.ca)


def live_trust(settings: Settings) -> Callable[[], Trust]:
    """Whom to believe, now: sees a revocation at the next call. Signs the list anew before it ends."""
    ca = authority(settings)
    watch = TrustWatch(ca.trust_path, ca.lists_path, wall_clock_ms)
    signed_ms = wall_clock_ms()

    def warn() -> None:
        for line in list_warnings(ca.trust_path, ca.lists_path, datetime.now(UTC)):
            log.warning("%s", line)

    warn()

    def trust() -> Trust:
        nonlocal signed_ms
        now_ms = wall_clock_ms()
        if not 0 <= now_ms - signed_ms < LISTS_EVERY_MS:
            signed_ms = now_ms
            try:
                refresh_lists(ca, now_ms=now_ms)
            except (SecurityError, OSError, sqlite3.Error) as error:  # a list that is not renewed must stop no engine
                log.error("the list of revoked certificates can't be signed anew, and will end: %s", error)
            warn()
        return watch()

    return trust


def engine_identity(settings: Settings) -> EngineIdentity:
    """What signs recipient keys."""
    return ensure_engine(authority(settings), settings.servers)


def hub_identity(settings: Settings) -> ServerIdentity:
    """The local hub's TLS certificate."""
    return ensure_server(authority(settings), HUB_NAME, [settings.hub_host, "localhost"], settings.servers)


def web_identity(settings: Settings, hosts: Sequence[str]) -> ServerIdentity:
    """The page's TLS certificate, for the names and addresses that browsers call it by. Serve by TLS 1.3 alone."""
    return ensure_server(authority(settings), WEB_NAME, hosts, settings.servers)


def device_identity(settings: Settings, device_id: str) -> DeviceIdentity:
    """A device's key and certificate: made by the CA where that is here, else the ones that were brought."""
    home = settings.device(device_id)
    if not settings.ca.exists() and (home / f"{device_id}.key").exists():
        return DeviceIdentity.load(home, device_id)
    return ensure_device(authority(settings), device_id, home)


def hub_settings(settings: Settings) -> HubSettings:
    """The local hub."""
    server, ca = hub_identity(settings), authority(settings)
    policy = Policy(HUB_POLICY, hub_key(settings), Right.OWNER)
    return HubSettings(
        host=settings.hub_host,
        certificate=server.chain_path,
        key=server.key_path,
        ca=ca.trust_path,
        lists=ca.lists_path,
        state_dir=settings.hub,
        policies=(policy,),
        eventhub=EVENTHUB,
    )


def hub_key(settings: Settings) -> str:
    """The local hub's shared access key (base64), made on first use, 0600."""
    path = settings.hub / "service.key"
    files.private_dir(path.parent)
    if not path.exists():
        files.create_private(path, base64.b64encode(os.urandom(32)))
    return files.read_private(path).decode()


def hub_address(settings: Settings, identity: DeviceIdentity, hostname: str | None) -> HubAddress:
    """Where a device finds its hub: `hostname`, the Azure hub of the settings, or the local one."""
    if hostname is None and settings.iothub is not None:
        hostname = dict(part.partition("=")[::2] for part in settings.iothub.split(";"))["HostName"]
    if hostname is not None:
        return HubAddress(hostname)
    return HubAddress(settings.hub_host, root=identity.root_path)


def uplink_settings(
    settings: Settings,
    device_id: str,
    drain_s: float,
    *,
    hostname: str | None = None,
    frame_interval_s: float = DEFAULT_INTERVAL_S,
) -> UplinkSettings:
    """A device as it runs: its own identity and state, and its hub (see :func:`hub_address`)."""
    identity = device_identity(settings, device_id)
    if settings.local_hub and hostname is None and settings.ca.exists() and settings.hub.exists():
        renewed_local(settings.hub, device_id, identity.chain_der[0])
    return UplinkSettings(
        address=hub_address(settings, identity, hostname),
        identity=identity,
        state_dir=settings.device(device_id),
        frame_interval_s=frame_interval_s,
        drain_s=drain_s,
    )


def root_certificate(settings: Settings) -> Path:
    """Our CA's root as PEM."""
    return authority(settings).root_path


def vault(settings: Settings, user: str) -> Vault:
    """A connection to Redis as `user`, with the keys to read what lies there."""
    client = connect(settings.redis_login(user))
    made = Vault(client, MasterKey.load_or_create(settings.master_key))
    if user in _READERS:  # at every start: who was erased stays erased
        made.sync_tombstones(write=user != "web")
    return made


def shard_store(settings: Settings, shard: str) -> tuple[ShardStore, MasterKey]:
    """A shard for its engine."""
    keys = vault(settings, "engine")
    return ShardStore(keys.client, keys, shard, settings.shards), keys.master


def eraser(settings: Settings) -> Eraser:
    """Who erases patients."""
    keys = vault(settings, "eraser")
    return Eraser(keys.client, keys, shards_here(keys.client, settings))


def shards_here(client: Client, settings: Settings) -> int:
    """Over how many shards the patients here are spread, whatever the settings say."""
    with translated():
        return int(client.get(SHARDS) or settings.shards)


def counters(settings: Settings) -> dict[str, int]:
    """The counters of all shards together."""
    keys = vault(settings, "keeper")
    total = Counter[str]()
    for i in range(settings.shards):
        total += Counter(ShardStore(keys.client, keys, f"s{i}", settings.shards).cursor().counts)
    return dict(total)


def feed(settings: Settings) -> RedisFeed:
    """The twins for the web."""
    keys = vault(settings, "web")
    return RedisFeed(keys.client, keys, settings.shards, connect(settings.redis_login("acts")))


def people(settings: Settings) -> People:
    """Who may sign in, and where what they do is told."""
    from web.access import People  # the web's weight only where it is used

    client, master = connect(settings.redis_login("people")), MasterKey.load_or_create(settings.master_key)
    return People(
        PeopleStore(client, master), SessionStore(client, master), Attempts(client), Begun(client),
        AuditWriter(connect(settings.redis_login("acts")), master),
    )  # fmt: skip


def audit_reader(settings: Settings) -> AuditReader:
    """What was audited, for the page."""
    keys = vault(settings, "web")
    return SequencedAudit(keys.client, keys.master)


def patient_store(settings: Settings) -> PatientStore:
    """Where patients are admitted."""
    keys = vault(settings, "keeper")
    return PatientStore(keys.client, keys, settings.shards)


def raw_sink(settings: Settings) -> RawSink:
    """Where ingest puts events."""
    return RawSink(connect(settings.redis_login("ingest")), settings.shards)


def order_queue(settings: Settings) -> OrderQueue:
    """Where downlink takes orders from."""
    return OrderQueue(connect(settings.redis_login("downlink")), settings.shards)


def event_source(settings: Settings) -> EventHubSettings:
    """Where ingest reads events: Azure's endpoint, or the local hub's."""
    if settings.eventhub is not None:
        return EventHubSettings(settings.eventhub)
    local = f"Endpoint=sb://{settings.hub_host}/;{_access(settings)};EntityPath={EVENTHUB}"
    return EventHubSettings(local, root=root_certificate(settings))


def downlink_settings(settings: Settings) -> RestSettings:
    """Where downlink sends orders: Azure's service endpoint, or the local hub's."""
    if settings.iothub is not None:
        return RestSettings(settings.iothub)
    local = f"HostName={settings.hub_host}:{HTTPS_PORT};{_access(settings)}"
    return RestSettings(local, root=root_certificate(settings))


def sensor_source(replay: Path | None, speed: float, loop: bool) -> SensorSource:
    """A recording, or a simulated patient."""
    if replay is None:
        from device.simulator import Simulator

        return Simulator()
    return Replay(read_recording(replay), replay.name, speed=speed, loop=loop)


def simulated_person(seed: int, sex: str, age: int) -> SensorSource:
    """A made-up patient whose body fits her card; `age` in years, 0 = not known."""
    from device.physiology import traits_of
    from device.simulator import Simulator

    return Simulator(seed, traits_of(seed, sex, age))


def _access(settings: Settings) -> str:
    return f"SharedAccessKeyName={HUB_POLICY};SharedAccessKey={hub_key(settings)}"
