"""IoT Hub's topics: which of them a device may publish to, and what they mean. Pure.

After "Communicate with your IoT hub using the MQTT protocol". The device's id is in no ``$iothub`` topic: whose twin
is meant follows from the connection alone, so nobody can name another's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from device.hub.mqtt_codec import MalformedPacket

METHODS = "$iothub/methods/POST/#"
TWIN_RESPONSES = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"

_RID = re.compile(r"\?\$rid=([^&]{1,128})(?:&.*)?")
_METHOD_RESPONSE = re.compile(r"\$iothub/methods/res/(-?\d{1,9})/(\?.*)")
_MAX_PROPERTIES = 100
_SYSTEM = "$."


@dataclass(frozen=True, slots=True)
class TelemetryTopic:
    """``devices/{id}/messages/events/{properties}``."""

    system: dict[str, str]  # "mid", "cid", "ct", "ce", ...
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class TwinGet:
    """``$iothub/twin/GET/?$rid={rid}``."""

    rid: str


@dataclass(frozen=True, slots=True)
class TwinPatch:
    """``$iothub/twin/PATCH/properties/reported/?$rid={rid}``."""

    rid: str


@dataclass(frozen=True, slots=True)
class MethodResponse:
    """``$iothub/methods/res/{status}/?$rid={rid}``."""

    status: int
    rid: str


Meaning = TelemetryTopic | TwinGet | TwinPatch | MethodResponse


class ForeignTopic(MalformedPacket):
    """A topic that this device may not publish to. Its connection must be closed, without a PUBACK."""


def subscribable(device: str) -> frozenset[str]:
    """Topic filters that a device may subscribe to."""
    return frozenset((METHODS, TWIN_RESPONSES, DESIRED, f"devices/{device}/messages/devicebound/#"))


def meaning(device: str, topic: str) -> Meaning:
    """What a publish of `device` to `topic` asks for. Raises ForeignTopic."""
    events = f"devices/{device}/messages/events/"
    if topic.startswith(events) or topic == events[:-1]:
        return TelemetryTopic(*_properties(topic[len(events) :]))
    if topic.startswith("$iothub/twin/GET/"):
        return TwinGet(_rid(topic.removeprefix("$iothub/twin/GET/")))
    if topic.startswith("$iothub/twin/PATCH/properties/reported/"):
        return TwinPatch(_rid(topic.removeprefix("$iothub/twin/PATCH/properties/reported/")))
    if match := _METHOD_RESPONSE.fullmatch(topic):
        return MethodResponse(int(match[1]), _rid(match[2]))
    raise ForeignTopic(f"expected a topic of {device}, got {topic[:120]!r}; the peer is dropped")


def twin_response(status: int, rid: str, version: int | None = None) -> str:
    """Topic of the answer to a twin request. `rid` goes back as it came."""
    suffix = "" if version is None else f"&$version={version}"
    return f"$iothub/twin/res/{status}/?$rid={rid}{suffix}"


def desired_patch(version: int) -> str:
    """Topic under which a device learns what is newly desired."""
    return f"$iothub/twin/PATCH/properties/desired/?$version={version}"


def method_request(name: str, rid: str) -> str:
    """Topic under which a device is asked to do something."""
    return f"$iothub/methods/POST/{quote(name, safe='')}/?$rid={rid}"


def _rid(query: str) -> str:
    match = _RID.fullmatch(query)
    if match is None:
        raise ForeignTopic(f"expected ?$rid=..., got {query[:60]!r}; the peer is dropped")
    return match[1]


def _properties(bag: str) -> tuple[dict[str, str], dict[str, str]]:
    """The property bag that ends a telemetry topic: URL-encoded pairs; ``$.`` marks the system's."""
    pairs = [pair for pair in bag.strip("/").removeprefix("?").split("&") if pair]
    if len(pairs) > _MAX_PROPERTIES:
        raise MalformedPacket(f"expected at most {_MAX_PROPERTIES} properties, got {len(pairs)}; the peer is dropped")
    system, own = dict[str, str](), dict[str, str]()
    for pair in pairs:
        key, _, value = pair.partition("=")
        key, value = unquote(key), unquote(value)
        if key.startswith(_SYSTEM):
            system[key.removeprefix(_SYSTEM)] = value
        else:
            own[key] = value
    return system, own
