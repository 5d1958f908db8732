"""What a connection of the event endpoint may have: its claims, the links it may open, the answers of the nodes.

Every refusal is an AmqpError with the condition that Event Hubs would give; the connection turns it into a detach.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from device.hub.amqp_audience import Audience
from device.hub.amqp_codec import Described, Int
from device.hub.amqp_frames import AmqpError, Frame
from device.hub.amqp_links import Answers, Link, Requests, Session
from device.hub.amqp_messages import Request, encode_answer
from device.hub.amqp_nodes import CBS, MANAGEMENT, SAS_TOKEN_TYPE, Address, describe, parse_address, start_of
from device.hub.amqp_reader import Reader
from device.hub.events import EventLog
from device.hub.sas import Grant, Unauthorized, event_key, prove
from device.hub.settings import HubSettings, Right

logger = logging.getLogger("everbeat.hub.amqp")

UNAUTHORIZED = "amqp:unauthorized-access"
_EPOCH, _RUNTIME = "com.microsoft:epoch", "com.microsoft:enable-receiver-runtime-metric"
_MAX_GRANTS = 16  # of a connection; a consumer renews one or two


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections share. `clock` gives Unix s."""

    settings: HubSettings
    log: EventLog
    clock: Callable[[], float]
    audience: Audience
    since_ms: int  # UTC, when the endpoint came up


class Claims:
    """The proven tokens of one connection."""

    def __init__(self, hub: Shared) -> None:
        self._hub = hub
        self._keys = tuple((policy, event_key(policy)) for policy in hub.settings.policies)
        self._grants: list[Grant] = []

    def allow(self, path: str) -> bool:
        """Whether a token that is valid now covers the path (lower case)."""
        now = self._hub.clock()
        return any(grant.covers(path, Right.SERVICE, now) for grant in self._grants)

    def answer(self, request: Request) -> bytes:
        """Judge a token put to $cbs; 202 or 401."""
        now = self._hub.clock()
        try:
            if request.text("operation") != "put-token" or request.text("type") != SAS_TOKEN_TYPE:
                raise Unauthorized("expected put-token with a SAS token, got another; nothing was granted")
            token = request.value if isinstance(request.value, str) else ""
            grant = prove(token, self._keys, self._hub.settings.names, now)
        except Unauthorized as error:
            logger.warning("a consumer's token was refused: %s", error)
            return _answer(request, 401, "Unauthorized access")
        valid = [known for known in self._grants if known.expires_s > now]
        self._grants = [*valid[1 - _MAX_GRANTS :], replace(grant, path=grant.path.lower())]
        return _answer(request, 202, "Accepted")


def answer_facts(hub: Shared, request: Request) -> bytes:
    """Answer a request to $management."""
    try:
        facts = describe(request, hub.settings.eventhub, hub.log.partitions, hub.since_ms)
    except AmqpError as error:
        return _answer(request, 404, str(error))
    return _answer(request, 200, "OK", facts)


def open_link(hub: Shared, claims: Claims, session: Session, frame: Frame) -> Link:
    """The link that an attach asks for. Raises AmqpError where the peer may not have it."""
    peer_receives, handle = frame.flag("role"), frame.integer("handle")
    address = address_of(frame, "source" if peer_receives else "target") or ""
    node = address.rsplit("/", 1)[-1]
    if node == MANAGEMENT and not claims.allow(f"/{hub.settings.eventhub}".lower()):
        raise AmqpError(UNAUTHORIZED, "expected a claim for the event hub, got none; the link was refused")
    if node in (CBS, MANAGEMENT):
        return Answers(session, handle, node) if peer_receives else Requests(session, handle, node)
    if not peer_receives:
        raise AmqpError("amqp:not-allowed", "expected a consumer, got a sender; devices send by MQTT")
    partition = parse_address(address)
    if not claims.allow(partition.path):
        raise AmqpError(UNAUTHORIZED, f"expected a claim for {partition.path}, got none; the link was refused")
    return _open_reader(hub, session, frame, partition)


def _open_reader(hub: Shared, session: Session, frame: Frame, address: Address) -> Reader:
    known = address.hub.lower() == hub.settings.eventhub.lower() and address.group in hub.settings.consumer_groups
    if not known or address.partition >= len(hub.log.partitions):
        raise AmqpError("amqp:not-found", f"expected a known partition, got {address.path}; nothing to read there")
    epoch = _properties(frame).get(_EPOCH)
    if epoch is not None and not isinstance(epoch, int):
        raise AmqpError("amqp:invalid-field", "expected an integer as epoch, got another; the link was refused")
    address = replace(address, hub=hub.settings.eventhub)  # one spelling, so that all its readers know of each other
    hub.audience.check(address, epoch)
    partition = hub.log.partitions[address.partition]
    start = start_of(_terminus(frame, "source"), partition)
    reader = Reader(session, frame.integer("handle"), address, partition, start)
    reader.epoch = epoch
    reader.runtime_clock = hub.clock if _RUNTIME in _capabilities(frame) else None
    reader.on_close = functools.partial(hub.audience.leave, address, reader)
    hub.audience.enter(address, reader)
    return reader


def address_of(frame: Frame, terminus: str) -> str | None:
    """The address in an attach's source or target; None where there is none."""
    fields = _terminus(frame, terminus)
    return fields[0] if fields and isinstance(fields[0], str) else None


def _terminus(frame: Frame, name: str) -> list[object]:
    """The fields of a source or target, section 3.5; empty where it is absent."""
    value = frame.values.get(name)
    fields = value.value if isinstance(value, Described) else None
    return fields if isinstance(fields, list) else []


def _properties(frame: Frame) -> dict[object, object]:
    value = frame.values.get("properties")
    return value if isinstance(value, dict) else {}


def _capabilities(frame: Frame) -> list[object]:
    value = frame.values.get("desired_capabilities")
    return value if isinstance(value, list) else [value]


def _answer(request: Request, status: int, text: str, value: object = None) -> bytes:
    return encode_answer(request, {"status-code": Int(status), "status-description": text}, value)
