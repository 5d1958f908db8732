"""What is fuzzed: one row a parser that reads bytes from outside the house. A target takes any bytes and returns.

Whatever it raises is a find: each target names the refusals that are its parser's right, and asserts what must hold
where nothing was refused (what opens was sealed, what decodes encodes to the same). Seeds are true messages.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

Run = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Target:
    """One parser: `run` takes any bytes, `seeds` are bytes that it takes."""

    name: str
    run: Run
    seeds: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Where a target is made: a function of a module, so that a fuzzer can instrument what the module imports."""

    module: str
    maker: str
    needs: str = ""  # a module without which there is nothing to fuzz


ROWS = {
    "frame": Row("fuzzing.house", "frame"),
    "canonical": Row("fuzzing.house", "canonical_cbor"),
    "envelope": Row("fuzzing.house", "envelope"),
    "open-record": Row("fuzzing.house", "open_record"),
    "open-record-signed": Row("fuzzing.house", "signed_open_record"),
    "device-orders": Row("fuzzing.house", "device_orders"),
    "commands": Row("fuzzing.commands", "commands"),
    "renewals": Row("fuzzing.house", "renewals"),
    "notes": Row("fuzzing.notes", "notes", "security.proofs"),
    "hub-mqtt": Row("fuzzing.hub_mqtt", "mqtt"),
    "hub-mqtt-codec": Row("fuzzing.hub_mqtt", "mqtt_codec"),
    "hub-amqp": Row("fuzzing.hub_amqp", "amqp"),
    "hub-amqp-codec": Row("fuzzing.hub_amqp", "amqp_codec"),
    "hub-http": Row("fuzzing.hub_http", "http"),
    "sockets": Row("fuzzing.page", "sockets"),
    "page-heads": Row("fuzzing.door", "heads"),
    "page-cookies": Row("fuzzing.door", "cookies"),
    "page-queries": Row("fuzzing.page", "queries"),
}


def present() -> list[str]:
    """Names of the targets whose parser is in this house."""
    return [name for name, row in ROWS.items() if not row.needs or importlib.util.find_spec(row.needs)]


def make(name: str) -> Target:
    """The target of that name. Raises KeyError."""
    row = ROWS[name]
    run, seeds = getattr(importlib.import_module(row.module), row.maker)()
    return Target(name, run, tuple(seeds))
