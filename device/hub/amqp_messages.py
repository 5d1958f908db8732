"""AMQP messages (part 3, section 3.2): a device's event as IoT Hub writes it, requests and their answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from device.hub.amqp_codec import Described, Symbol, Timestamp, Ulong, decode, encode
from device.hub.amqp_frames import AmqpError
from device.hub.events import Partition, Telemetry

_DELIVERY_ANNOTATIONS, _ANNOTATIONS, _PROPERTIES, _APPLICATION, _DATA, _VALUE = 0x71, 0x72, 0x73, 0x74, 0x75, 0x77

# What IoT Hub says of a device that showed a certificate
_X509 = '{"scope":"device","type":"x509","issuer":"external","acceptingIpFilterRule":null}'
# IoT Hub's system properties that become annotations; those of the properties section are in _properties()
_AS_ANNOTATION = {"ifid": "iothub-interface-id", "sub": "dt-subject", "ctime": "iothub-creation-time-utc"}


@dataclass(frozen=True, slots=True)
class Request:
    """A message to $cbs or $management. Application properties by name; text decoded, other values as they are."""

    message_id: object
    properties: dict[str, object]
    value: object

    def text(self, name: str) -> str:
        """An application property that must be text; "" where it is absent or something else."""
        value = self.properties.get(name)
        return value if isinstance(value, str) else ""


def encode_event(sequence: int, enqueued_ms: int, telemetry: Telemetry) -> bytes:
    """The message that consumers of the event endpoint receive, with the annotations that IoT Hub sets."""
    enqueued = Timestamp(enqueued_ms)
    annotations = {
        "x-opt-sequence-number": sequence,
        "x-opt-offset": str(sequence),
        "x-opt-enqueued-time": enqueued,
        "iothub-connection-device-id": telemetry.device,
        "iothub-connection-auth-method": _X509,
        "iothub-connection-auth-generation-id": telemetry.generation,
        "iothub-enqueuedtime": enqueued,
        "iothub-message-source": "Telemetry",
    }
    annotations |= {name: telemetry.system[key] for key, name in _AS_ANNOTATION.items() if key in telemetry.system}
    return b"".join((
        _section(_ANNOTATIONS, {Symbol(name): value for name, value in annotations.items()}),
        _section(_PROPERTIES, _properties(telemetry.system)),
        _section(_APPLICATION, telemetry.properties) if telemetry.properties else b"",
        _section(_DATA, telemetry.body),
    ))  # fmt: skip


def encode_runtime(partition: Partition, now_ms: int) -> bytes:
    """The section that tells a consumer who asked for it how far the partition has come. Goes before the event."""
    last = partition.last
    return _section(_DELIVERY_ANNOTATIONS, {
        Symbol("last_enqueued_sequence_number"): last.sequence if last else partition.end - 1,
        Symbol("last_enqueued_offset"): last.offset if last else str(partition.end - 1),
        Symbol("last_enqueued_time_utc"): Timestamp(last.enqueued_ms if last else now_ms),
        Symbol("runtime_info_retrieval_time_utc"): Timestamp(now_ms),
    })  # fmt: skip


def encode_answer(request: Request, application: dict[str, object], value: object) -> bytes:
    """The answer to a request: its correlation id is the request's message id."""
    properties = [None] * 5 + [request.message_id]
    return _section(_PROPERTIES, properties) + _section(_APPLICATION, application) + _section(_VALUE, value)


def decode_request(payload: bytes) -> Request:
    """The request in a transfer's payload. Raises AmqpError, DecodeError."""
    sections, at = dict[object, object](), 0
    while at < len(payload):
        section, at = decode(payload, at)
        if not isinstance(section, Described) or not isinstance(section.descriptor, int | str):
            raise AmqpError("amqp:decode-error", "expected a message's section, got another value; it was refused")
        sections[section.descriptor] = section.value
    properties, application = sections.get(_PROPERTIES), sections.get(_APPLICATION)
    if not isinstance(properties, list) or not properties or not isinstance(application, dict):
        raise AmqpError("amqp:invalid-field", "expected a message id and properties, got none; it was refused")
    named = {_text(name): _text(value) for name, value in application.items()}
    return Request(properties[0], {str(k): v for k, v in named.items()}, _text(sections.get(_VALUE)))


def _properties(system: dict[str, str]) -> list[object]:
    """The properties section, 3.2.4: message id, user id, to, subject, reply to, correlation id, content type, ..."""
    user = system.get("uid")
    symbols = [Symbol(t) if (t := system.get(k)) and t.isascii() else None for k in ("ct", "ce")]
    return [system.get("mid"), user.encode() if user else None, None, None, None, system.get("cid"), *symbols]


def _section(code: int, value: object) -> bytes:
    return encode(Described(Ulong(code), value))


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
