"""The event endpoint: AMQP 1.0 over TLS, compatible with the Event Hubs endpoint of an IoT Hub. Consumers only.

A consumer says hello (SASL proves nothing here: ANONYMOUS or MSSBCBS), shows a signed token to $cbs, and attaches to
partitions that the token covers; without one, or once it has run out, links are refused with unauthorized-access.
Claims belong to the connection. A consumer with an epoch (owner level) drives out those of its group with a lower one.
What is malformed closes the one connection with the error's name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from device.hub import amqp_frames as frames
from device.hub.amqp_attach import UNAUTHORIZED, Claims, Shared, address_of, answer_facts, open_link
from device.hub.amqp_audience import Audience
from device.hub.amqp_codec import DecodeError, Described, Ulong
from device.hub.amqp_frames import AmqpError, Frame, FrameReader, encode_frame
from device.hub.amqp_hello import negotiate
from device.hub.amqp_links import WINDOW, Answers, Outgoing, Requests, Session
from device.hub.amqp_messages import decode_request
from device.hub.amqp_nodes import CBS
from device.hub.amqp_reader import Reader
from device.hub.events import EventLog
from device.hub.listener import read_some
from device.hub.settings import MAX_MESSAGE_BYTES, HubSettings

logger = logging.getLogger("everbeat.hub.amqp")

_IDLE_S = 120.0  # announced; half of what we bear, section 2.4.5
_HEARTBEAT_S = 30.0
_MAX_SESSIONS = 64
_MAX_LINKS = 64  # a session
_HARMLESS = (frames.DETACH, frames.FLOW, frames.END)


class EventEndpoint:
    """The endpoint as a listener sees it. `clock` gives Unix s."""

    def __init__(self, settings: HubSettings, log: EventLog, clock: Callable[[], float]) -> None:
        self._shared = Shared(settings, log, clock, Audience(), int(clock() * 1000))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        await _Connection(self._shared, reader, writer).run()


class _Connection:
    def __init__(self, hub: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._hub, self._reader, self._writer = hub, reader, writer
        self._frames = FrameReader()
        self._sessions: dict[int, Session] = {}
        self._claims = Claims(hub)
        self._tasks: set[asyncio.Task[None]] = set()
        self._max_frame_bytes = frames.MIN_MAX_FRAME_BYTES
        self._beat_s, self._opened, self._closed = _HEARTBEAT_S, False, False

    async def run(self) -> None:
        """From the first header to the last frame."""
        try:
            async with asyncio.timeout(self._hub.settings.handshake_s):
                await negotiate(self._frames, self._reader, self._writer)
            self._spawn(self._beat())
            while not self._closed:
                for frame in self._frames.frames():
                    self._obey(frame)
                if not self._closed:
                    async with asyncio.timeout(2 * _IDLE_S):
                        self._frames.feed(await read_some(self._reader))
                await self._writer.drain()
        except (AmqpError, DecodeError) as error:
            self._fail(error)
        finally:
            self._release()

    # -------------------------------------------------------------------------------------- connection

    def _obey(self, frame: Frame) -> None:
        if frame.kind is None or self._closed:
            return
        if frame.type != frames.AMQP_FRAME or (frame.kind is frames.OPEN) == self._opened:
            raise AmqpError("amqp:illegal-state", f"expected another frame than {frame.kind.code:#x}; peer dropped")
        action = {
            frames.OPEN.code: self._open, frames.BEGIN.code: self._begin, frames.ATTACH.code: self._attach,
            frames.FLOW.code: self._flow, frames.TRANSFER.code: self._transfer, frames.DETACH.code: self._detach,
            frames.END.code: self._end, frames.CLOSE.code: self._close,
        }.get(frame.kind.code)  # fmt: skip
        if action is not None and not self._ended(frame):  # a disposition is for nothing: what we send is settled
            action(frame)

    def _open(self, frame: Frame) -> None:
        self._opened = True
        theirs = frame.integer("max_frame_size", MAX_MESSAGE_BYTES)
        self._max_frame_bytes = min(max(theirs, frames.MIN_MAX_FRAME_BYTES), MAX_MESSAGE_BYTES)
        if idle_ms := frame.integer("idle_time_out", 0):
            self._beat_s = min(_HEARTBEAT_S, max(idle_ms / 2000, 0.5))
        self._send(
            frames.OPEN, container_id="everbeat-hub", hostname=self._hub.settings.host, channel_max=_MAX_SESSIONS,
            max_frame_size=frames.MAX_FRAME_BYTES, idle_time_out=int(_IDLE_S * 1000),
        )  # fmt: skip

    def _close(self, _: Frame) -> None:
        self._closed = True
        self._send(frames.CLOSE)

    def _fail(self, error: AmqpError | DecodeError) -> None:
        logger.warning("an AMQP peer erred: %s", error)
        reason = error if isinstance(error, AmqpError) else AmqpError("amqp:decode-error", str(error))
        if self._opened:
            self._send(frames.CLOSE, error=reason.described())

    async def _beat(self) -> None:
        """A sign of life now and then, and an end to readers whose token has run out."""
        while True:
            await asyncio.sleep(self._beat_s)
            self._writer.write(frames.EMPTY_FRAME)
            for session in self._sessions.values():
                for link in tuple(session.links.values()):
                    if isinstance(link, Reader) and not self._claims.allow(link.address.path):
                        link.detach(AmqpError(UNAUTHORIZED, "expected a token that is valid now; reading ended"))

    # ---------------------------------------------------------------------------------------- sessions

    def _begin(self, frame: Frame) -> None:
        if frame.channel in self._sessions or len(self._sessions) >= _MAX_SESSIONS:
            raise AmqpError("amqp:not-allowed", f"expected a free channel, got {frame.channel}; the peer is dropped")
        self._sessions[frame.channel] = Session(
            frame.channel, self._writer.write, self._max_frame_bytes, frame.integer("incoming_window"),
            frame.integer("next_outgoing_id"),
        )  # fmt: skip
        self._send(
            frames.BEGIN, frame.channel, remote_channel=frame.channel, next_outgoing_id=0, incoming_window=WINDOW,
            outgoing_window=WINDOW, handle_max=_MAX_LINKS,
        )  # fmt: skip

    def _end(self, frame: Frame) -> None:
        session = self._session(frame)
        for link in tuple(session.links.values()):
            link.close()
        del self._sessions[frame.channel]
        self._send(frames.END, frame.channel)

    def _flow(self, frame: Frame) -> None:
        session = self._session(frame)
        session.widen(frame)
        if frame.values.get("handle") is not None and (link := session.links.get(frame.integer("handle"))):
            link.flow(frame)
            if frame.flag("echo") and isinstance(link, Outgoing):
                link.tell()
        for each in tuple(session.links.values()):
            each.wake()

    def _ended(self, frame: Frame) -> bool:
        """Whether the frame belongs to a session that is over: the SDK lets go of links after it has ended theirs."""
        return frame.channel not in self._sessions and frame.kind in _HARMLESS

    def _session(self, frame: Frame) -> Session:
        session = self._sessions.get(frame.channel)
        if session is None:
            raise AmqpError("amqp:not-found", f"expected an open session, got channel {frame.channel}; peer dropped")
        return session

    # ------------------------------------------------------------------------------------------- links

    def _attach(self, frame: Frame) -> None:
        session, handle = self._session(frame), frame.integer("handle")
        if handle in session.links or len(session.links) >= _MAX_LINKS:
            raise AmqpError("amqp:session:handle-in-use", f"expected a free handle, got {handle}; the peer is dropped")
        peer_receives, name = frame.flag("role"), frame.text("name")
        reply: dict[str, object] = {"name": name, "handle": handle, "role": not peer_receives}
        count = 0 if peer_receives else None
        try:
            link = open_link(self._hub, self._claims, session, frame)
        except AmqpError as error:  # section 2.6.3: attach without a terminus, then detach with the reason
            logger.warning("a link was refused: %s", error)
            self._send(frames.ATTACH, frame.channel, initial_delivery_count=count, **reply)
            self._send(frames.DETACH, frame.channel, handle=handle, closed=True, error=error.described())
            return
        session.links[handle] = link
        self._send(
            frames.ATTACH, frame.channel, **reply, snd_settle_mode=1, rcv_settle_mode=0, initial_delivery_count=count,
            source=Described(Ulong(0x28), [address_of(frame, "source")]), max_message_size=MAX_MESSAGE_BYTES,
            target=Described(Ulong(0x29), [address_of(frame, "target")]),
        )  # fmt: skip
        if isinstance(link, Requests):
            link.grant()
        elif isinstance(link, Reader):
            self._spawn(link.pump(self._writer.drain))

    def _detach(self, frame: Frame) -> None:
        session = self._session(frame)
        link = session.links.get(frame.integer("handle"))
        if link is not None:  # else the answer to our own detach
            link.detach()

    def _transfer(self, frame: Frame) -> None:
        """A request to a node, and its answer. Raises AmqpError."""
        session = self._session(frame)
        session.next_incoming_id += 1
        link = session.links.get(frame.integer("handle"))
        if not isinstance(link, Requests) or frame.flag("more"):
            raise AmqpError("amqp:not-allowed", "expected a whole request to a node, got another; the peer is dropped")
        link.received()
        if not frame.flag("settled"):
            number = frame.integer("delivery_id")
            accepted = Described(Ulong(0x24), [])
            self._send(
                frames.DISPOSITION, frame.channel, role=True, first=number, last=number, settled=True, state=accepted
            )
        back = [a for a in session.links.values() if isinstance(a, Answers) and a.node == link.node]
        if not back:
            raise AmqpError("amqp:not-found", f"expected a link from {link.node} to answer on, got none; peer dropped")
        request = decode_request(frame.payload)
        back[-1].send(self._claims.answer(request) if link.node == CBS else answer_facts(self._hub, request))

    # ----------------------------------------------------------------------------------------- helpers

    def _send(self, kind: frames.Performative, channel: int = 0, /, **values: object) -> None:
        self._writer.write(encode_frame(kind, channel, **values))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("an AMQP connection was cut: %s", error or type(error).__name__)
            self._writer.transport.abort()

    def _release(self) -> None:
        self._closed = True
        for session in self._sessions.values():
            for link in session.links.values():
                link.close()
        for task in tuple(self._tasks):
            task.cancel()
