"""Device twins as values: merging a patch, limits, the JSON that devices and services read. Pure.

Rules after "Understand and use device twins in IoT Hub": a patch merges recursively, null deletes a key, arrays are
replaced whole; a section is at most 32 KiB of JSON and 10 levels deep; keys carry no control characters, dots,
dollars or blanks. Every accepted patch raises the section's ``$version`` by one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from device.hub.settings import MAX_TWIN_SECTION_BYTES, HubError

Json = dict[str, object]

_MAX_DEPTH = 10
_MAX_KEY_BYTES = 1024
_RESERVED = ("$version", "$metadata")  # ours to say; a service may send back what it has read


class BadPatch(HubError):
    """The patch is no JSON object, or breaks a limit; the twin is unchanged."""


@dataclass(frozen=True, slots=True)
class Section:
    """Desired or reported properties, or tags."""

    properties: Json
    version: int
    updated_ms: int

    def patched(self, patch: Json, now_ms: int) -> Section:
        """This section with `patch` merged in. Raises BadPatch."""
        _check(patch, 1)
        merged = _merge(self.properties, patch)
        _check_size(merged)
        return Section(merged, self.version + 1, now_ms)

    def replaced(self, properties: Json, now_ms: int) -> Section:
        """`properties` in the place of this section's. Raises BadPatch."""
        return replace(self, properties={}).patched(properties, now_ms)

    def difference(self, newer: Section) -> Json:
        """The patch that makes `newer` of this section: what a device is told after a replacement."""
        gone: Json = {key: None for key in self.properties if key not in newer.properties}
        return gone | newer.properties


@dataclass(frozen=True, slots=True)
class Twin:
    """What the hub keeps about a device's state."""

    desired: Section
    reported: Section
    tags: Section

    @property
    def version(self) -> int:
        """Grows with every change of any section; the twin's ETag."""
        return self.desired.version + self.reported.version + self.tags.version

    def for_device(self) -> Json:
        """What a device reads: both sections, each with its version; never the tags."""
        return {
            "desired": self.desired.properties | {"$version": self.desired.version},
            "reported": self.reported.properties | {"$version": self.reported.version},
        }


def parse_json(data: bytes) -> object:
    """The JSON value in `data`; NaN and infinity, which Python would take, are no JSON. Raises BadPatch."""
    try:
        value = json.loads(data)
        json.dumps(value, allow_nan=False)  # 1e999 parses as infinity
    except (ValueError, RecursionError) as error:
        raise BadPatch("expected JSON, got bytes that do not parse; nothing was changed") from error
    return value


def parse_object(data: bytes) -> Json:
    """The JSON object in `data`, without what is reserved to the hub. Raises BadPatch."""
    return as_object(parse_json(data), "the body")


def as_object(value: object, name: str) -> Json:
    """`value` as an object, without what is reserved to the hub. Raises BadPatch."""
    if not isinstance(value, dict):
        raise BadPatch(f"expected an object as {name}, got {type(value).__name__}; nothing was changed")
    return {k: v for k, v in value.items() if k not in _RESERVED}


def _merge(old: Json, patch: Json) -> Json:
    merged = dict(old)
    for key, value in patch.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _check(value: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise BadPatch(f"expected at most {_MAX_DEPTH} levels, got more; nothing was changed")
    if isinstance(value, dict):
        for key, below in value.items():
            _check_key(key)
            _check(below, depth + 1)
    elif isinstance(value, list):
        for below in value:
            _check(below, depth + 1)


def _check_key(key: str) -> None:
    plain = key.isprintable() and not set(key) & {".", "$", " "}
    if not key or not plain or len(key.encode(errors="replace")) > _MAX_KEY_BYTES:
        raise BadPatch(f"expected a key without dots, dollars and blanks, got {key[:40]!r}; nothing was changed")


def _check_size(properties: Json) -> None:
    size = len(json.dumps(properties, separators=(",", ":")))
    if size > MAX_TWIN_SECTION_BYTES:
        raise BadPatch(f"expected at most {MAX_TWIN_SECTION_BYTES} bytes of JSON, got {size}; nothing was changed")
