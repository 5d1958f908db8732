"""What the event endpoint serves: claims ($cbs), facts ($management), and where a consumer begins to read. Pure.

$cbs after "AMQP Claims-based Security 1.0", $management and the selectors after what the Event Hubs SDK sends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from device.hub.amqp_codec import Described, Int, Strings, Timestamp
from device.hub.amqp_frames import AmqpError
from device.hub.amqp_messages import Request
from device.hub.events import Partition

CBS, MANAGEMENT = "$cbs", "$management"
SAS_TOKEN_TYPE = "servicebus.windows.net:sastoken"  # noqa: S105  the name of a kind of token  # nosec B105

_ADDRESS = re.compile(r"/?(?P<hub>[^/]+)/ConsumerGroups/(?P<group>[^/]+)/Partitions/(?P<partition>\d{1,5})", re.I)
_SELECTOR = re.compile(
    r"amqp\.annotation\.x-opt-(?P<field>offset|sequence-number|enqueued-time)\s*(?P<op>>=?)\s*'?"
    r"(?P<value>@latest|-?\d{1,19})'?"
)
_FILTER_FIELD = 7  # of a source, section 3.5.3


@dataclass(frozen=True, slots=True)
class Address:
    """A partition as a consumer group sees it."""

    hub: str
    group: str
    partition: int

    @property
    def path(self) -> str:
        """What a token must cover, in lower case: to Event Hubs the case of names is all one."""
        return f"/{self.hub}/consumergroups/{self.group}/partitions/{self.partition}".lower()


def parse_address(text: str) -> Address:
    """Raises AmqpError where the text names no partition."""
    try:
        path = urlsplit(text).path if "://" in text else text
    except ValueError:  # such as half of an IPv6 address
        path = ""
    match = _ADDRESS.fullmatch(path)
    if match is None:
        raise AmqpError("amqp:not-found", f"expected a partition's address, got {text[:120]!r}; nothing to read there")
    return Address(match["hub"], match["group"], int(match["partition"]))


def start_of(source: Sequence[object], partition: Partition) -> int:
    """Number of the first event for a consumer whose source (its list of fields) may carry a selector."""
    filters = source[_FILTER_FIELD] if len(source) > _FILTER_FIELD else None
    if not isinstance(filters, dict) or not filters:
        return partition.end  # as Event Hubs: without a position, what comes from now on
    value = next(iter(filters.values()))
    value = value.value if isinstance(value, Described) else value
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    match = _SELECTOR.fullmatch(text.strip())
    if match is None:
        raise AmqpError("com.microsoft:argument-error", f"expected a known selector, got {text[:120]!r}; not attached")
    if match["value"] == "@latest":
        return partition.end
    position = int(match["value"]) - (match["op"] == ">=")
    return partition.since(position) if match["field"] == "enqueued-time" else partition.after(position)


def describe(request: Request, eventhub: str, partitions: Sequence[Partition], since_ms: int) -> dict[str, object]:
    """The answer to a READ of $management. Raises AmqpError on what there is not."""
    if request.text("operation") != "READ" or request.text("name").lower() != eventhub.lower():
        raise AmqpError("amqp:not-found", f"expected READ of {eventhub!r}, got another; nothing was read")
    kind = request.text("type")
    if kind == "com.microsoft:eventhub":
        ids = Strings(str(i) for i in range(len(partitions)))
        return {"name": eventhub, "type": kind, "created_at": Timestamp(since_ms), "partition_count": Int(len(ids)),
                "partition_ids": ids}  # fmt: skip
    number = request.text("partition")
    if kind == "com.microsoft:partition" and number in (known := [str(i) for i in range(len(partitions))]):
        return {"name": eventhub, "type": kind, "partition": number} | _facts(partitions[known.index(number)], since_ms)
    raise AmqpError("amqp:not-found", f"expected a known entity, got {kind!r} {number!r}; nothing was read")


def _facts(partition: Partition, since_ms: int) -> dict[str, object]:
    last = partition.last
    return {
        "begin_sequence_number": partition.start,
        "last_enqueued_sequence_number": partition.end - 1,
        "last_enqueued_offset": last.offset if last else str(partition.end - 1),
        "last_enqueued_time_utc": Timestamp(last.enqueued_ms if last else since_ms),
        "is_partition_empty": partition.start == partition.end,
    }
