"""The JSON of IoT Hub's REST: devices, twins, method calls. Read strictly, written as the service SDK expects. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from device.hub.registry import Device
from device.hub.settings import MAX_METHOD_BYTES
from device.hub.twins import BadPatch, Json, Section, Twin, as_object

_ANSWER_S = (5.0, 30.0, 300.0)  # IoT Hub: least, usual, most
_WAIT_S = (0.0, 0.0, 300.0)
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class MethodCall:
    """A request to a device. `payload` is any JSON value."""

    name: str
    payload: object
    answer_s: float
    wait_s: float  # for a device that is not connected yet


def device_json(device: Device, connected: bool) -> Json:
    """An identity as GET /devices/{id} shows it."""
    primary, secondary = device.thumbprints
    return {
        "deviceId": device.id,
        "generationId": device.generation,
        "etag": str(device.revision),
        "connectionState": _state(connected),
        "status": _status(device),
        "cloudToDeviceMessageCount": 0,
        "authentication": {
            "type": _authentication(device),
            "x509Thumbprint": {"primaryThumbprint": primary, "secondaryThumbprint": secondary},
        },
        "capabilities": {"iotEdge": False},
    }


def twin_json(device: Device, twin: Twin, connected: bool) -> Json:
    """A twin as GET /twins/{id} shows it, with versions and times."""
    return {
        "deviceId": device.id,
        "etag": str(twin.version),
        "deviceEtag": str(device.revision),
        "status": _status(device),
        "connectionState": _state(connected),
        "authenticationType": _authentication(device),
        "cloudToDeviceMessageCount": 0,
        "version": twin.version,
        "tags": twin.tags.properties,
        "properties": {"desired": _section(twin.desired), "reported": _section(twin.reported)},
        "capabilities": {"iotEdge": False},
    }


def thumbprints(wanted: Json) -> tuple[str | None, str | None]:
    """Primary and secondary thumbprint of a device to be made; (None, None) by its CA. Raises BadPatch."""
    authentication = wanted.get("authentication")
    kind = authentication.get("type") if isinstance(authentication, dict) else None
    if not isinstance(authentication, dict) or kind not in ("selfSigned", "certificateAuthority"):
        raise BadPatch(f"expected X.509 authentication, got {str(kind)[:40]!r}; no device was made")
    if kind == "certificateAuthority":
        return None, None
    given = authentication.get("x509Thumbprint")
    given = given if isinstance(given, dict) else {}
    primary, secondary = given.get("primaryThumbprint"), given.get("secondaryThumbprint")
    if not isinstance(primary, str) or not isinstance(secondary, str | None):
        raise BadPatch("expected a primary thumbprint, got none; no device was made")
    return primary, secondary


def twin_sections(wanted: Json) -> tuple[Json | None, Json | None]:
    """Desired properties and tags of a twin's change; None where it does not touch them. Raises BadPatch."""
    properties = wanted.get("properties")
    desired = properties.get("desired") if isinstance(properties, dict) else None
    tags = wanted.get("tags")
    return (
        None if desired is None else as_object(desired, "desired"),
        None if tags is None else as_object(tags, "tags"),
    )


def method_call(wanted: Json) -> MethodCall:
    """A method's call. Raises BadPatch."""
    name, payload = wanted.get("methodName"), wanted.get("payload")
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _MAX_NAME:
        raise BadPatch(f"expected a method name of 1 to {_MAX_NAME} characters, got another; nothing was sent")
    if (size := len(json.dumps(payload))) > MAX_METHOD_BYTES:
        raise BadPatch(f"expected a payload of at most {MAX_METHOD_BYTES} bytes, got {size}; nothing was sent")
    answer_s = _seconds(wanted, "responseTimeoutInSeconds", _ANSWER_S)
    return MethodCall(name, payload, answer_s, _seconds(wanted, "connectTimeoutInSeconds", _WAIT_S))


def _seconds(wanted: Json, key: str, bounds: tuple[float, float, float]) -> float:
    least, usual, most = bounds
    value = wanted.get(key)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadPatch(f"expected {key} of {least:g} to {most:g}, got {str(value)[:40]}; nothing was sent")
    return float(value)


def _section(section: Section) -> Json:
    updated = datetime.fromtimestamp(section.updated_ms / 1000, UTC).isoformat()
    return section.properties | {"$metadata": {"$lastUpdated": updated}, "$version": section.version}


def _state(connected: bool) -> str:
    return "Connected" if connected else "Disconnected"


def _status(device: Device) -> str:
    return "enabled" if device.enabled else "disabled"


def _authentication(device: Device) -> str:
    return "selfSigned" if device.pinned else "certificateAuthority"
