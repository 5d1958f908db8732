"""What an operator asks of the hub now and then: enrol a device at the local hub, read what a device reports."""

from __future__ import annotations

import hashlib
import time
from contextlib import closing, suppress
from pathlib import Path

from device.downlink import Hub, RestSettings
from device.hub.registry import Registry, UnknownDevice
from security.identity import DeviceIdentity


def enrol_local(state_dir: Path, identity: DeviceIdentity) -> None:
    """Make the device known to the local hub by its certificate's SHA-256, running or not."""
    pin_local(state_dir, identity.device_id, identity.chain_der[0])


def pin_local(state_dir: Path, device_id: str, certificate: bytes, before: bytes | None = None) -> None:
    """The same by a certificate (DER) alone; the one `before` it stays good until it ends, for who has not switched."""
    pins = [hashlib.sha256(der).hexdigest() for der in (certificate, before) if der is not None]
    with closing(Registry(state_dir, time.time)) as registry:
        registry.enrol(device_id, *pins)


def renewed_local(state_dir: Path, device_id: str, certificate: bytes, before: bytes | None = None) -> None:
    """Pin a renewed certificate (DER), and keep the one `before` it, which the device has until it has switched.

    A device that is unknown stays so, one that is disabled too.
    """
    pin, old = _pin(certificate), None if before is None else _pin(before)
    with closing(Registry(state_dir, time.time)) as registry, suppress(UnknownDevice):
        known = registry.device(device_id)
        if known.pinned and pin not in known.thumbprints:
            first, second = known.thumbprints
            kept = old if old and old in known.thumbprints else first or second
            registry.enrol(known.id, pin, kept, enabled=known.enabled)


def reported_properties(settings: RestSettings, device: str) -> dict[str, object]:
    """What the device last reported of itself, below ``everbeat``; empty where it never did. Raises HubBusy."""
    return Hub(settings).reported(device)


def _pin(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest().upper()
