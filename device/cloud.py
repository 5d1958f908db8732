"""What an operator asks of the hub now and then: enrol a device at the local hub, read what a device reports."""

from __future__ import annotations

import hashlib
import time
from contextlib import closing
from pathlib import Path

from device.downlink import Hub, RestSettings
from device.hub.registry import Registry
from security.identity import DeviceIdentity


def enrol_local(state_dir: Path, identity: DeviceIdentity) -> None:
    """Make the device known to the local hub by its certificate's SHA-256. Only while that hub is not running."""
    thumbprint = hashlib.sha256(identity.chain_der[0]).hexdigest()
    with closing(Registry(state_dir, time.time)) as registry:
        registry.enrol(identity.device_id, thumbprint)


def reported_properties(settings: RestSettings, device: str) -> dict[str, object]:
    """What the device last reported of itself, below ``everbeat``; empty where it never did. Raises HubBusy."""
    return Hub(settings).reported(device)
