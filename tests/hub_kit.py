"""What the tests of the local hub share: a throw-away CA, a hub in a thread, and the three SDKs pointed at it.

Certificates are made here, not with `security.identity`: the hub is tested against what any CA may issue, also the
wrong, the expired and the self-signed.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from azure.iot.device import X509
from azure.iot.device.aio import IoTHubDeviceClient
from azure.iot.hub import IoTHubRegistryManager
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from device.hub.registry import Registry
from device.hub.server import HubSettings, Policy, Right, serve

KEY = base64.b64encode(b"everbeat test key of 32 bytes ok").decode()
OTHER_KEY = base64.b64encode(b"another key of 32 bytes, not it.").decode()


def in_loop(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Run an async test in a loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def name_of(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path
    thumbprint: str  # SHA-256, lower-case hex


class Authority:
    """A CA that issues whatever a test needs."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self.folder, self._name = folder, name_of(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        ca = (
            self._builder(self._name, self._key.public_key(), timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str) -> Pair:
        names = [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName("localhost")]
        return self._issue(host, ExtendedKeyUsageOID.SERVER_AUTH, names, timedelta(days=1), sign_with=self._key)

    def device(self, name: str, *, life: timedelta = timedelta(days=1), self_signed: bool = False) -> Pair:
        key = None if self_signed else self._key
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, [x509.DNSName(name)], life, sign_with=key)

    def _issue(
        self,
        name: str,
        usage: x509.ObjectIdentifier,
        names: list[x509.GeneralName],
        life: timedelta,
        *,
        sign_with: ec.EllipticCurvePrivateKey | None,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = name_of(name) if sign_with is None else self._name
        certificate = (
            self._builder(name_of(name), key.public_key(), life, issuer)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(sign_with or key, hashes.SHA256())
        )
        stem = self.folder / f"{name}-{certificate.serial_number:x}"
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"), certificate.fingerprint(hashes.SHA256()).hex())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + life)
        )


class HubThread:
    """A hub in a thread of its own: the SDKs under test run as they do in another process."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        up = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(up,), daemon=True)
        self._thread.start()
        up.wait(10)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)

    def _run(self, up: threading.Event) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            await serve(self.settings, self._stop, ready=up.set)

        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  handed to the test's thread
            self._failure = error
        finally:
            up.set()


@dataclass(frozen=True)
class Kit:
    """A running hub and what speaks to it."""

    hub: HubThread
    ca: Authority

    @property
    def host(self) -> str:
        return self.hub.settings.host

    def enrol(self, device_id: str, *, pinned: bool = True) -> Pair:
        pair = self.ca.device(device_id)
        registry = Registry(self.hub.settings.state_dir, time.time)
        registry.enrol(device_id, pair.thumbprint if pinned else None)
        registry.close()
        return pair

    async def subscribed(self, device_id: str, topic_filter: str) -> None:
        """Wait until the hub knows of a subscription: the SDK subscribes in the background."""
        registry = Registry(self.hub.settings.state_dir, time.time)
        await eventually(lambda: topic_filter in (registry.subscriptions(device_id) or ()), what=topic_filter)
        registry.close()

    def device(self, device_id: str, pair: Pair, **options: object) -> IoTHubDeviceClient:
        return IoTHubDeviceClient.create_from_x509_certificate(
            x509=X509(cert_file=str(pair.certificate), key_file=str(pair.key)),
            hostname=self.host,
            device_id=device_id,
            server_verification_cert=self.ca.file.read_text(),
            **({"connection_retry_interval": 1} | options),
        )

    def consumer(self, *, key: str = KEY, hub: str = "everbeat", **options: object) -> EventHubConsumerClient:
        return EventHubConsumerClient.from_connection_string(
            f"Endpoint=sb://{self.host}/;SharedAccessKeyName=service;SharedAccessKey={key};EntityPath={hub}",
            consumer_group=str(options.pop("group", "$Default")),
            connection_verify=str(self.ca.file),
            **options,
        )

    def rest(self, *, key: str = KEY, policy: str = "owner") -> IoTHubRegistryManager:
        port = self.hub.settings.rest_port
        manager = IoTHubRegistryManager.from_connection_string(
            f"HostName={self.host}:{port};SharedAccessKeyName={policy};SharedAccessKey={key}"
        )
        manager.protocol.config.connection.verify = str(self.ca.file)
        return manager


@contextmanager
def running_hub(host: str, folder: Path, **changes: object) -> Iterator[Kit]:
    """A hub on `host`, stopped at the end."""
    ca = Authority(folder)
    server = ca.server(host)
    settings = HubSettings(
        host=host,
        certificate=server.certificate,
        key=server.key,
        ca=ca.file,
        state_dir=folder / "state",
        policies=(
            Policy("service", KEY, Right.SERVICE),
            Policy("owner", KEY, Right.OWNER),
            Policy("reader", KEY, Right.REGISTRY_READ),
        ),
    )
    hub = HubThread(replace(settings, **changes))  # type: ignore[arg-type]
    hub.start()
    try:
        yield Kit(hub, ca)
    finally:
        hub.stop()


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the hub itself did wrong, by its own log."""
    return [
        r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and r.name.startswith(("every", "asyn"))
    ]


async def eventually(holds: Callable[[], object], within_s: float = 10.0, what: str = "it") -> None:
    """Wait until something holds; a test that gives up says what never came."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"expected {what} within {within_s:g} s"
        await asyncio.sleep(0.01)


def device_sha(device_id: str, partitions: int) -> int:
    """The partition of a device, computed by the documented rule and not by the hub's code."""
    return int.from_bytes(hashlib.sha256(device_id.encode()).digest()[:8], "big") % partitions
