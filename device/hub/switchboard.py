"""Who is connected, and what passes between devices and services: methods, desired properties, telemetry.

The one place where the three endpoints meet. It knows no protocol: a device is a :class:`Link`, a service calls plain
methods, events go to the log. Everything here runs in one event loop; nothing blocks but the registry's short writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from device.hub import mqtt_replies, topics
from device.hub.events import Event, EventLog, Telemetry
from device.hub.registry import Device, Registry, UnknownDevice
from device.hub.settings import HubError, HubSettings
from device.hub.twins import Json, Twin
from security.errors import Reason, Rejected
from security.identity import wall_clock_ms
from security.revocation import TrustWatch
from security.trust import Trust

logger = logging.getLogger("everbeat.hub")


class NotAuthorized(HubError):
    """The peer is not, or no longer, who it says."""


class DeviceOffline(HubError):
    """The device is not connected, or takes no methods."""


class NoAnswer(HubError):
    """The device took the request and did not answer in time. Whether it obeyed is unknown."""


class TooManyRequests(HubError):
    """The device has as many unanswered requests as it may; ask again later."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What a device answered: `payload` is any JSON value."""

    status: int
    payload: object


class Link(Protocol):
    """A device's live connection."""

    device: Device
    certificate: bytes  # DER, the one that it came with

    def subscribed(self, topic_filter: str) -> bool:
        """Whether the device wants what comes under this filter."""
        ...

    def send(self, packet: bytes) -> None:
        """Send, without waiting. A device that reads too slowly is dropped instead."""
        ...

    def drop(self, reason: str) -> None:
        """End the connection; nothing that still arrives on it has an effect."""
        ...


class Switchboard:
    """See above. Use from the event loop only."""

    def __init__(self, settings: HubSettings, registry: Registry, log: EventLog) -> None:
        self.settings, self.registry, self.log = settings, registry, log
        self._links: dict[str, Link] = {}
        self._methods: defaultdict[str, dict[str, asyncio.Future[MethodResult]]] = defaultdict(dict)
        self._request_ids = itertools.count(1)
        self._watch = None if settings.lists is None else TrustWatch(settings.ca, settings.lists, wall_clock_ms)
        self._ready = asyncio.Event()  # set, and replaced, whenever a device begins to take methods

    # --------------------------------------------------------------------------------------- from the device

    def identify(self, device_id: str, certificate: bytes) -> Device:
        """The enabled device that may use a certificate (DER) of this name. Or NotAuthorized.

        Where revocation is watched, the whole certificate is judged again, in the role of a device and by the lists.
        """
        try:
            device = self.registry.device(device_id)
            if self._watch is not None:
                self._watch().verify_device((certificate,), device_id, wall_clock_ms())
        except UnknownDevice as error:
            raise NotAuthorized(f"expected a registered device, got {device_id!r}; it was refused") from error
        except Rejected as error:
            raise NotAuthorized(str(error)) from error
        if not device.accepts(hashlib.sha256(certificate).hexdigest().upper()):
            why = "another certificate" if device.enabled else "a disabled device"
            raise NotAuthorized(f"expected {device_id}'s pinned certificate, got {why}; it was refused")
        return device

    def arrive(self, link: Link) -> None:
        """The device is connected from now on by `link`. An older connection of the same device ends, as in IoT Hub."""
        earlier = self._links.get(link.device.id)
        self._links[link.device.id] = link
        if earlier is not None:
            earlier.drop("the device connected a second time")
        if link.subscribed(topics.METHODS):
            self.became_ready()

    def leave(self, link: Link) -> None:
        """`link` has ended. Harmless where a newer one has taken its place."""
        if self._links.get(link.device.id) is link:
            del self._links[link.device.id]

    def publish(self, telemetry: Telemetry) -> Event:
        """Log a message; on return consumers can read it."""
        return self.log.append(telemetry)

    def answer(self, device_id: str, rid: str, result: MethodResult) -> None:
        """A device's answer to a method. One that nobody waits for (any more) is dropped."""
        waiting = self._methods.get(device_id, {}).get(rid)
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def became_ready(self) -> None:
        """A device subscribed to methods: whoever waits for it may look again."""
        self._ready.set()
        self._ready = asyncio.Event()

    async def watch(self) -> None:
        """Cut whoever is revoked, as soon as the lists say so. Runs until cancelled; at once over without lists.

        A list that can't be believed cuts nobody who is here, and keeps everybody else out.
        """
        if self._watch is None:
            return
        known: Trust | None = None
        while True:
            trust = self._watch()
            if trust is not known:
                known = trust
                if trust.doubt:
                    logger.error("%s", trust.doubt)
                for link in tuple(self._links.values()):
                    if _is_out(trust, link):
                        self.drop(link.device.id, "its certificate was revoked")
            await asyncio.sleep(self.settings.watch_s)

    # -------------------------------------------------------------------------------------- from the service

    def connected(self, device_id: str) -> bool:
        """Whether the device is connected now."""
        return device_id in self._links

    def drop(self, device_id: str, reason: str) -> None:
        """End the device's connection, where there is one."""
        link = self._links.pop(device_id, None)
        if link is not None:
            link.drop(reason)

    def patch_twin(self, device_id: str, desired: Json | None, tags: Json | None) -> Twin:
        """Merge into the twin, and tell the device what is newly desired. Raises BadPatch, UnknownDevice."""
        twin = self.registry.patch_twin(device_id, desired, tags)
        if desired is not None:
            self._tell(device_id, desired, twin.desired.version)
        return twin

    def replace_twin(self, device_id: str, desired: Json | None, tags: Json | None) -> Twin:
        """Replace parts of the twin, and tell the device the difference. Raises BadPatch, UnknownDevice."""
        old = self.registry.twin(device_id)
        twin = self.registry.replace_twin(device_id, desired, tags)
        if desired is not None:
            self._tell(device_id, old.desired.difference(twin.desired), twin.desired.version)
        return twin

    async def invoke(
        self, device_id: str, name: str, payload: object, *, answer_s: float, wait_s: float
    ) -> MethodResult:
        """Ask a device to do something. Waits `wait_s` for it to connect, then `answer_s` for its answer.

        Raises UnknownDevice, DeviceOffline, TooManyRequests, NoAnswer.
        """
        self.registry.device(device_id)
        link = await self._find(device_id, wait_s)
        waiting = self._methods[device_id]
        if len(waiting) >= self.settings.max_methods:
            raise TooManyRequests(f"expected at most {len(waiting)} open methods, got one more; it was not sent")
        rid = f"{next(self._request_ids):x}"
        waiting[rid] = asyncio.get_running_loop().create_future()
        try:
            link.send(mqtt_replies.publish(topics.method_request(name, rid), _json(payload)))
            async with asyncio.timeout(answer_s):
                return await waiting[rid]
        except TimeoutError as error:
            raise NoAnswer(f"expected an answer to {name!r} in {answer_s:g} s, got none; it may have run") from error
        finally:
            del waiting[rid]
            if not waiting:
                self._methods.pop(device_id, None)

    async def _find(self, device_id: str, wait_s: float) -> Link:
        """The device's link, once it takes methods. Raises DeviceOffline after `wait_s`."""
        link = self._taking_methods(device_id)
        if link is None and wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while (link := self._taking_methods(device_id)) is None:
                        await self._ready.wait()
        if link is None:
            raise DeviceOffline(f"expected {device_id} to be connected and to take methods, it does not; not sent")
        return link

    def _taking_methods(self, device_id: str) -> Link | None:
        link = self._links.get(device_id)
        return link if link is not None and link.subscribed(topics.METHODS) else None

    def _tell(self, device_id: str, desired: Json, version: int) -> None:
        link = self._links.get(device_id)
        if link is not None and link.subscribed(topics.DESIRED):
            payload = _json(desired | {"$version": version})
            link.send(mqtt_replies.publish(topics.desired_patch(version), payload))


def _is_out(trust: Trust, link: Link) -> bool:
    """Whether a connected device is believed no longer: it is on a list, or who signed its certificate is gone."""
    if trust.serials((link.certificate,)) & trust.revoked:
        return True
    try:
        trust.verify_device((link.certificate,), link.device.id, wall_clock_ms())
    except Rejected as error:
        return error.reason in (Reason.REVOKED, Reason.UNTRUSTED)
    return False


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
