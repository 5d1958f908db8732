"""What the local hub is told when it starts: addresses, certificates, access policies, limits. Frozen, no I/O.

Limits carry Azure IoT Hub's own value where it has one, so that what works here is not refused there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path

MQTT_PORT = 8883  # the device SDK can not be told another one
AMQPS_PORT = 5671
HTTPS_PORT = 8443  # Azure has 443, which needs root here; the REST client takes "host:port"

KIB = 1024
MAX_MESSAGE_BYTES = 256 * KIB  # IoT Hub: device-to-cloud message with its properties
MAX_TWIN_SECTION_BYTES = 32 * KIB  # IoT Hub: desired and reported properties, each
MAX_METHOD_BYTES = 128 * KIB  # IoT Hub: payload of a direct method, each way


class HubError(Exception):
    """The hub can not do what was asked; the text says what was expected, what was found, what follows."""


class CannotStart(HubError):
    """A port is taken, a certificate or the registry can not be read: the hub did not start."""


class Right(Flag):
    """What an access policy allows, as IoT Hub divides it."""

    SERVICE = auto()  # ServiceConnect: read events, read and patch twins, invoke methods
    REGISTRY_READ = auto()
    REGISTRY_WRITE = auto()
    OWNER = SERVICE | REGISTRY_READ | REGISTRY_WRITE


@dataclass(frozen=True, slots=True)
class Policy:
    """A shared access policy. `key` is base64 text of at least 32 random bytes."""

    name: str
    key: str
    rights: Right

    def __repr__(self) -> str:  # the key must not reach a log
        return f"Policy({self.name!r}, rights={self.rights})"


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub listens, whom it trusts, how much it holds."""

    host: str  # loopback address, in the server certificate's SAN
    certificate: Path  # PEM, server certificate with its chain
    key: Path  # PEM, its private key
    ca: Path  # PEM, the CA that issued the device certificates
    state_dir: Path  # hub.sqlite lies here
    policies: tuple[Policy, ...]
    lists: Path | None = None  # PEM, signed lists of who is revoked; with it `ca` holds all issuers; None = not asked
    hostnames: tuple[str, ...] = ()  # further names under which clients sign their tokens, such as "localhost"
    eventhub: str = "everbeat"  # EntityPath of the event endpoint
    consumer_groups: tuple[str, ...] = ("$Default",)
    partitions: int = 2
    mqtt_port: int = MQTT_PORT
    amqp_port: int = AMQPS_PORT
    rest_port: int = HTTPS_PORT
    log_events: int = 100_000  # a partition; older ones are dropped and counted
    log_bytes: int = 64 * KIB * KIB  # a partition
    max_connections: int = 1_000  # a listener
    handshake_s: float = 10.0  # TLS, and the first packet after it
    write_buffer_bytes: int = 1024 * KIB  # a peer that reads slower than this is dropped
    max_methods: int = 16  # outstanding ones of one device
    watch_s: float = 0.5  # between two looks at the lists
    close_s: float = 2.0  # a connection that its peer does not close with us is cut after this

    @property
    def names(self) -> frozenset[str]:
        """Names and name:port pairs by which a token may call this hub, in lower case."""
        bare = (self.host, *self.hostnames)
        ports = (self.amqp_port, self.rest_port)
        return frozenset(n.lower() for n in bare) | frozenset(f"{n.lower()}:{p}" for n in bare for p in ports)
