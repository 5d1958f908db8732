"""``everbeat registrar``: answers devices that ask over the hub for their next certificate (``device/renewing.py``).

It runs where the CA's intermediate key lies. The CA's index says which certificates end within ten days, and only
those devices are looked up at the hub. It grants what ``everbeat pki renew --request`` grants (``security.renewal``):
an enrolled device, a certificate in force, its own present key, each request once. The hub carries; it proves nothing.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from cryptography.hazmat.primitives.serialization import Encoding

from device.cloud import renewed_local
from device.downlink import Hub, HubBusy, Outcome
from device.hub.settings import HubError
from device.renewing import ANSWER, REQUEST, make_answer, parse_request
from everbeat import house_ca, wiring
from everbeat.settings import Settings
from security.authority import Authority
from security.errors import SecurityError
from security.identity import RENEW_BEFORE, wall_clock_ms
from security.index import Issued
from security.renewal import grant
from twin_engine.store.errors import StoreDown

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0  # well within the ten minutes that a request is good for
WHO = "registrar"
_SOON_MS = int(RENEW_BEFORE / timedelta(milliseconds=1))
_PASSING = (SecurityError, HubError, StoreDown, OSError, sqlite3.Error)  # of one device, or one round


class Twins(Protocol):
    """What it asks of the hub: ``device.downlink.Hub``."""

    def reported(self, device: str) -> dict[str, object]:
        """What a device reports below ``everbeat``. Raises HubBusy."""

    def patch(self, device: str, properties: dict[str, object]) -> Outcome:
        """Sets desired properties below ``everbeat``. Raises HubBusy."""


def run(settings: Settings, stop: threading.Event) -> None:
    """Looks every minute until `stop` is set. Raises SecurityError where there is no CA here."""
    house_ca.existing(settings)
    seen, hub = dict[str, object](), Hub(wiring.downlink_settings(settings))
    while not stop.is_set():
        try:
            look(settings, hub, seen, wall_clock_ms, stop)
        except _PASSING as error:
            log.error("this round ended early, the next one begins in a minute: %s", error)
        stop.wait(LOOK_EVERY_S)


def look(
    settings: Settings, hub: Twins, seen: dict[str, object], clock: Callable[[], int],
    stop: threading.Event | None = None,
) -> int:  # fmt: skip
    """One round; how many devices were answered. `seen` remembers each one's last request.

    In any order, and no further than to a hub that has no time: what is first must not always be first.
    """
    ca, told = house_ca.existing(settings), 0
    devices = sorted(due(ca, clock()))
    secrets.SystemRandom().shuffle(devices)
    for device in devices:
        if stop is not None and stop.is_set():
            break
        try:
            request = hub.reported(device).get(REQUEST)
            if request and seen.get(device) != request:
                seen[device] = request
                _answer(settings, ca, hub, device, parse_request(request), clock())
                told += 1
        except HubBusy as busy:
            log.warning("%s; trying again in the next round", busy)
            break
        except _PASSING as error:
            log.error("%s got no certificate: %s", device, error)
        except Exception:  # the edge: whatever one device sends, the others get theirs
            log.exception("%s got no certificate: a fault", device)
    if told:
        house_ca.tell(settings)
    return told


def due(ca: Authority, now_ms: int) -> set[str]:
    """Devices with a certificate of this CA that is in force, ends within ten days, and not because its issuer ends."""
    issuer_ends_ms = int(ca.certificate.not_valid_after_utc.timestamp() * 1000)
    if issuer_ends_ms - now_ms <= _SOON_MS:
        log.error("the intermediate ends within ten days: no device can be renewed; everbeat pki renew --issuer")

    def ends_soon(one: Issued) -> bool:
        ours = one.certificate.issuer == ca.certificate.subject and one.ends_ms < issuer_ends_ms
        left_ms = one.ends_ms - now_ms
        return ours and one.role == "device" and one.revoked_ms is None and 0 < left_ms <= _SOON_MS

    with ca.index() as index:
        return {one.name for one in index.all() if ends_soon(one)}


def _answer(settings: Settings, ca: Authority, hub: Twins, device: str, request: bytes, now_ms: int) -> None:
    """Raises HubBusy, and SecurityError where the request is refused.

    Where the hub can't take the answer the device asks again, and gets the same one.
    """
    found, chain = grant(ca, request, now_ms=now_ms, who=WHO, device=device)
    if settings.local_hub:
        ders = [one.public_bytes(Encoding.DER) for one in (chain[0], found.old)]
        renewed_local(settings.hub, device, ders[0], ders[1])
    outcome = hub.patch(device, {ANSWER: make_answer(chain)})
    if outcome.status >= 400:
        raise HubBusy(f"{device} has another certificate, and could not be told: {outcome.detail}")
    log.info("%s: renewed until %s", device, f"{chain[0].not_valid_after_utc:%F}")
