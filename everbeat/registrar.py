"""``everbeat registrar``: answers devices that ask over the hub for their next certificate (``device/renewing.py``).

It runs where the CA's intermediate key lies. The CA's index says which certificates end within ten days, and only
those devices are looked up at the hub. It grants what ``everbeat pki renew --request`` grants (``security.renewal``):
an enrolled device, a certificate in force, its own present key, each request once. The hub carries; it proves nothing.
"""

from __future__ import annotations

import base64
import binascii
import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from device.cloud import renewed_local
from device.downlink import Hub, HubBusy, Outcome
from device.renewing import ANSWER, REQUEST, make_answer
from everbeat import house_ca, wiring
from everbeat.settings import Settings
from security.authority import Authority
from security.errors import SecurityError
from security.identity import RENEW_BEFORE, wall_clock_ms
from security.index import Issued
from security.renewal import grant

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0  # well within the ten minutes that a request is good for
WHO = "registrar"
_SOON_MS = int(RENEW_BEFORE / timedelta(milliseconds=1))


class Twins(Protocol):
    """What it asks of the hub: ``device.downlink.Hub``."""

    def reported(self, device: str) -> dict[str, object]:
        """What a device reports below ``everbeat``. Raises HubBusy."""

    def patch(self, device: str, properties: dict[str, object]) -> Outcome:
        """Sets desired properties below ``everbeat``. Raises HubBusy."""


def run(settings: Settings, stop: threading.Event) -> None:
    """Looks every minute until `stop` is set. Raises SecurityError where there is no CA here."""
    house_ca.existing(settings)
    seen, hub = dict[str, str](), Hub(wiring.downlink_settings(settings))
    while not stop.is_set():
        for line in look(settings, hub, seen, wall_clock_ms):
            log.info("%s", line)
        stop.wait(LOOK_EVERY_S)


def look(settings: Settings, hub: Twins, seen: dict[str, str], clock: Callable[[], int]) -> list[str]:
    """One round: a line for each device that was answered. `seen` remembers each device's last request."""
    ca, told = house_ca.existing(settings), list[str]()
    for device in sorted(due(ca, clock())):
        try:
            request = hub.reported(device).get(REQUEST)
            if isinstance(request, str) and request and seen.get(device) != request:
                seen[device] = request
                told.append(_answer(settings, ca, hub, device, request, clock()))
        except HubBusy as busy:
            seen.pop(device, None)
            log.warning("%s; trying again", busy)
        except SecurityError as error:
            log.error("%s got no certificate: %s", device, error)
    if told:
        house_ca.tell(settings)
    return told


def due(ca: Authority, now_ms: int) -> set[str]:
    """Devices with a certificate of this CA that is in force and ends within ten days."""

    def ends_soon(one: Issued) -> bool:
        ours = one.certificate.issuer == ca.certificate.subject
        left_ms = one.ends_ms - now_ms
        return ours and one.role == "device" and one.revoked_ms is None and 0 < left_ms <= _SOON_MS

    with ca.index() as index:
        return {one.name for one in index.all() if ends_soon(one)}


def _answer(settings: Settings, ca: Authority, hub: Twins, device: str, request: str, now_ms: int) -> str:
    """Raises HubBusy, and SecurityError where the request is refused."""
    try:
        data = base64.b64decode(request, validate=True)
    except (ValueError, binascii.Error) as error:
        raise SecurityError(f"expected a renewal in base64, got something else ({error}); it was ignored") from error
    found, chain = grant(ca, data, now_ms=now_ms, who=WHO)
    if found.device != device:
        log.error("%s carried the renewal of %s, which got its answer by its own twin", device, found.device)
    if settings.local_hub:
        renewed_local(settings.hub, found.device, chain[0].public_bytes(Encoding.DER))
    hub.patch(found.device, {ANSWER: make_answer(chain)})
    return f"{found.device}: renewed until {chain[0].not_valid_after_utc:%F}"
