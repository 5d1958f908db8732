"""Sessions and links of the event endpoint (AMQP 1.0 part 2, sections 2.5 and 2.6): windows, credit, deliveries."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from device.hub.amqp_frames import DETACH, FLOW, TRANSFER, AmqpError, Frame, encode_frame

WINDOW = 5_000  # transfer frames that we let a peer send, and claim to send at most
REQUEST_CREDIT = 100
_MAX_ANSWERS = 64
_TRANSFER_OVERHEAD = 64  # frame header and performative, at most
_SERIAL = 0xFFFFFFFF  # sequence numbers wrap, RFC 1982
# Deliveries are settled when sent, so their tags need not differ; the Event Hubs SDK keeps each different one for good
_TAG = b"\0"

Write = Callable[[bytes], None]


@dataclass
class Session:
    """A session of a connection, as the sender of transfers sees it."""

    channel: int
    write: Write
    max_frame_bytes: int  # the peer's
    window: int  # transfer frames that the peer takes now
    next_incoming_id: int  # of the peer's transfers
    next_outgoing_id: int = 0
    next_delivery_id: int = 0
    links: dict[int, Link] = field(default_factory=dict)  # by the peer's handle, which is ours too

    def widen(self, frame: Frame) -> None:
        """Learn the window from the peer's flow, section 2.5.6."""
        seen = frame.integer("next_incoming_id", 0)
        self.window = (seen + frame.integer("incoming_window") - self.next_outgoing_id) & _SERIAL
        if self.window > _SERIAL // 2:  # fewer than what is under way
            self.window = 0

    def cut(self, handle: int, payload: bytes) -> list[bytes]:
        """The frames of one settled delivery."""
        delivery_id, self.next_delivery_id = self.next_delivery_id, (self.next_delivery_id + 1) & _SERIAL
        room = self.max_frame_bytes - _TRANSFER_OVERHEAD
        return [
            encode_frame(
                TRANSFER, self.channel, payload[at : at + room], handle=handle, delivery_id=delivery_id,
                delivery_tag=_TAG, message_format=0, settled=True, more=at + room < len(payload),
            )
            for at in range(0, len(payload), room)
        ]  # fmt: skip

    def transfer(self, frame: bytes) -> None:
        """Send one frame of a delivery. The caller has seen that the window is open."""
        self.next_outgoing_id = (self.next_outgoing_id + 1) & _SERIAL
        self.window -= 1
        self.write(frame)

    def flow(self, handle: int, delivery_count: int, credit: int) -> None:
        """Tell the peer our view of the session and of one of its links."""
        self.write(
            encode_frame(
                FLOW, self.channel, next_incoming_id=self.next_incoming_id, incoming_window=WINDOW,
                next_outgoing_id=self.next_outgoing_id, outgoing_window=WINDOW, handle=handle,
                delivery_count=delivery_count, link_credit=credit,
            )
        )  # fmt: skip


class Link:
    """An attached link. `handle` is the same number in both directions."""

    def __init__(self, session: Session, handle: int, node: str) -> None:
        self.session, self.handle, self.node = session, handle, node

    def flow(self, frame: Frame) -> None:
        """The peer grants credit."""

    def wake(self) -> None:
        """The peer has widened the session's window, or granted credit."""

    def detach(self, error: AmqpError | None = None) -> None:
        """Tell the peer that the link is gone."""
        self.close()
        self.session.links.pop(self.handle, None)
        reason = error.described() if error else None
        self.session.write(encode_frame(DETACH, self.session.channel, handle=self.handle, closed=True, error=reason))

    def close(self) -> None:
        """Let go of what the link holds."""


class Outgoing(Link):
    """A link on which we send: counts deliveries and credit, section 2.6.7."""

    def __init__(self, session: Session, handle: int, node: str) -> None:
        super().__init__(session, handle, node)
        self.credit = 0
        self.delivery_count = 0
        self.drain = False

    def flow(self, frame: Frame) -> None:
        """Credit counts from the delivery that the peer had seen when it wrote this."""
        if frame.values.get("link_credit") is not None:
            seen = frame.integer("delivery_count", 0)
            credit = (seen + frame.integer("link_credit") - self.delivery_count) & _SERIAL
            self.credit = 0 if credit > _SERIAL // 2 else credit
            self.drain = frame.flag("drain")

    def spend(self) -> None:
        """One delivery is on its way."""
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & _SERIAL

    def give_back(self) -> None:
        """Nothing is left to send and the peer wants its credit back."""
        self.delivery_count, self.credit, self.drain = (self.delivery_count + self.credit) & _SERIAL, 0, False
        self.tell()

    def tell(self) -> None:
        """Our view of the link and its session."""
        self.session.flow(self.handle, self.delivery_count, self.credit)


class Answers(Outgoing):
    """The link on which answers of $cbs or $management go back."""

    def __init__(self, session: Session, handle: int, node: str) -> None:
        super().__init__(session, handle, node)
        self._waiting: deque[bytes] = deque()

    def send(self, payload: bytes) -> None:
        """Send when there is credit. Raises AmqpError where the peer asks much and reads nothing."""
        if len(self._waiting) >= _MAX_ANSWERS:
            raise AmqpError("amqp:resource-limit-exceeded", "expected answers to be read, got more requests; dropped")
        self._waiting.append(payload)
        self.wake()

    def wake(self) -> None:
        """See Link."""
        while self._waiting and self.credit > 0 and self.session.window > 0:
            self.spend()
            for frame in self.session.cut(self.handle, self._waiting.popleft()):
                self.session.transfer(frame)


class Requests(Link):
    """The link on which requests to $cbs or $management come in."""

    def __init__(self, session: Session, handle: int, node: str) -> None:
        super().__init__(session, handle, node)
        self._received = 0

    def grant(self) -> None:
        """Let the peer send its next requests."""
        self.session.flow(self.handle, self._received, REQUEST_CREDIT)

    def received(self) -> None:
        """Count a request; renew the credit before it is spent."""
        self._received += 1
        if self._received % (REQUEST_CREDIT // 2) == 0:
            self.grant()
