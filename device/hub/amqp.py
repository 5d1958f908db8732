"""The event endpoint: AMQP 1.0 over TLS, compatible with the Event Hubs endpoint of an IoT Hub. Consumers only.

A consumer says hello (SASL proves nothing here: ANONYMOUS or MSSBCBS), shows a signed token to $cbs, and attaches to
partitions that the token covers; without one, or once it has run out, links are refused with unauthorized-access.
Claims belong to the connection. A consumer with an epoch (owner level) drives out those of its group with a lower one.
What is malformed closes the one connection with the error's name.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine

from device.hub import amqp_frames as frames
from device.hub.amqp_audience import Audience
from device.hub.amqp_codec import DecodeError, Described, Int, Strings, Symbol, Ulong
from device.hub.amqp_frames import AmqpError, Frame, FrameReader, encode_frame
from device.hub.amqp_links import WINDOW, Answers, Link, Outgoing, Reader, Requests, Session
from device.hub.amqp_messages import Request, decode_request, encode_answer
from device.hub.amqp_nodes import CBS, MANAGEMENT, SAS_TOKEN_TYPE, Address, describe, parse_address, start_of
from device.hub.events import EventLog
from device.hub.listener import read_some
from device.hub.sas import Grant, Unauthorized, event_key, prove
from device.hub.settings import MAX_MESSAGE_BYTES, HubSettings, Right

logger = logging.getLogger("everbeat.hub.amqp")

_MECHANISMS = Strings((Symbol("MSSBCBS"), Symbol("ANONYMOUS")))
_SASL_OK, _SASL_AUTH = 0, 1
_IDLE_S = 120.0  # announced; half of what we bear, section 2.4.5
_HEARTBEAT_S = 30.0
_MAX_SESSIONS = 64
_MAX_LINKS = 64  # a session
_MAX_GRANTS = 16
_EPOCH, _RUNTIME = "com.microsoft:epoch", "com.microsoft:enable-receiver-runtime-metric"
_HARMLESS = (frames.DETACH, frames.FLOW, frames.END)
_UNAUTHORIZED = "amqp:unauthorized-access"


class EventEndpoint:
    """What all connections share. `clock` gives Unix s."""

    def __init__(self, settings: HubSettings, log: EventLog, clock: Callable[[], float]) -> None:
        self.settings, self.log, self.clock = settings, log, clock
        self.audience = Audience()
        self.since_ms = int(clock() * 1000)
        self._keys = tuple((policy, event_key(policy)) for policy in settings.policies)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        await _Connection(self, reader, writer).run()

    def prove(self, token: str) -> Grant:
        """What a token allows. Raises Unauthorized."""
        return prove(token, self._keys, self.settings.names, self.clock())


class _Connection:
    def __init__(self, hub: EventEndpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._hub, self._reader, self._writer = hub, reader, writer
        self._frames = FrameReader()
        self._sessions: dict[int, Session] = {}
        self._grants: list[Grant] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._max_frame_bytes = frames.MIN_MAX_FRAME_BYTES
        self._beat_s, self._opened, self._closed = _HEARTBEAT_S, False, False

    async def run(self) -> None:
        """From the first header to the last frame."""
        try:
            async with asyncio.timeout(self._hub.settings.handshake_s):
                await self._negotiate()
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

    async def _negotiate(self) -> None:
        """Protocol header and SASL, parts 2.2 and 5.3. Raises AmqpError."""
        if await self._header() != frames.SASL_FRAME:
            self._writer.write(_header_bytes(frames.SASL_FRAME))  # what we would have taken, section 2.2
            raise AmqpError("amqp:not-implemented", "expected SASL first, got AMQP; the peer is dropped")
        self._writer.write(_header_bytes(frames.SASL_FRAME))
        self._send_sasl(frames.SASL_MECHANISMS, sasl_server_mechanisms=_MECHANISMS)
        while (init := self._frames.frame()) is None:
            self._frames.feed(await read_some(self._reader))
        known = init.kind is frames.SASL_INIT and init.text("mechanism") in _MECHANISMS
        self._send_sasl(frames.SASL_OUTCOME, code=_SASL_OK if known else _SASL_AUTH)
        if not known:
            raise AmqpError(_UNAUTHORIZED, "expected MSSBCBS or ANONYMOUS, got another mechanism; the peer is dropped")
        if await self._header() != frames.AMQP_FRAME:
            raise AmqpError("amqp:not-implemented", "expected AMQP after SASL, got SASL again; the peer is dropped")
        self._writer.write(_header_bytes(frames.AMQP_FRAME))

    async def _header(self) -> int:
        while (protocol := self._frames.header()) is None:
            self._frames.feed(await read_some(self._reader))
        return protocol

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
                    if isinstance(link, Reader) and not self._allowed(link.address.path):
                        link.detach(AmqpError(_UNAUTHORIZED, "expected a token that is valid now; reading ended"))

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
            link = self._link(session, handle, frame)
        except AmqpError as error:  # section 2.6.3: attach without a terminus, then detach with the reason
            logger.warning("a link was refused: %s", error)
            self._send(frames.ATTACH, frame.channel, initial_delivery_count=count, **reply)
            self._send(frames.DETACH, frame.channel, handle=handle, closed=True, error=error.described())
            return
        session.links[handle] = link
        self._send(
            frames.ATTACH, frame.channel, **reply, snd_settle_mode=1, rcv_settle_mode=0, initial_delivery_count=count,
            source=Described(Ulong(0x28), [_address(frame, "source")]), max_message_size=MAX_MESSAGE_BYTES,
            target=Described(Ulong(0x29), [_address(frame, "target")]),
        )  # fmt: skip
        if isinstance(link, Requests):
            link.grant()
        elif isinstance(link, Reader):
            self._spawn(link.pump(self._writer.drain))

    def _link(self, session: Session, handle: int, frame: Frame) -> Link:
        """The link that a peer asks for. Raises AmqpError where it may not have it."""
        peer_receives = frame.flag("role")
        address = _address(frame, "source" if peer_receives else "target") or ""
        node = address.rsplit("/", 1)[-1]
        if node == MANAGEMENT and not self._allowed(f"/{self._hub.settings.eventhub}"):
            raise AmqpError(_UNAUTHORIZED, "expected a claim for the event hub, got none; the link was refused")
        if node in (CBS, MANAGEMENT):
            return Answers(session, handle, node) if peer_receives else Requests(session, handle, node)
        if not peer_receives:
            raise AmqpError("amqp:not-allowed", "expected a consumer, got a sender; devices send by MQTT")
        return self._event_reader(session, handle, frame, parse_address(address))

    def _event_reader(self, session: Session, handle: int, frame: Frame, address: Address) -> Reader:
        settings, log = self._hub.settings, self._hub.log
        if not self._allowed(address.path):
            raise AmqpError(_UNAUTHORIZED, f"expected a claim for {address.path}, got none; the link was refused")
        known = address.hub.lower() == settings.eventhub.lower() and address.group in settings.consumer_groups
        if not known or address.partition >= len(log.partitions):
            raise AmqpError("amqp:not-found", f"expected a known partition, got {address.path}; nothing to read there")
        epoch = _properties(frame).get(_EPOCH)
        if epoch is not None and not isinstance(epoch, int):
            raise AmqpError("amqp:invalid-field", "expected an integer as epoch, got another; the link was refused")
        self._hub.audience.check(address, epoch)
        partition = log.partitions[address.partition]
        reader = Reader(session, handle, address, partition, start_of(_terminus(frame, "source"), partition))
        reader.epoch = epoch
        reader.runtime_clock = self._hub.clock if _RUNTIME in _capabilities(frame) else None
        reader.on_close = functools.partial(self._hub.audience.leave, address, reader)
        self._hub.audience.enter(address, reader)
        return reader

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
        back[-1].send(self._claim(request) if link.node == CBS else self._describe(request))

    def _claim(self, request: Request) -> bytes:
        try:
            if request.text("operation") != "put-token" or request.text("type") != SAS_TOKEN_TYPE:
                raise Unauthorized("expected put-token with a SAS token, got another; nothing was granted")
            grant = self._hub.prove(request.value if isinstance(request.value, str) else "")
        except Unauthorized as error:
            logger.warning("a consumer's token was refused: %s", error)
            return _answer(request, 401, "Unauthorized access", None)
        now = self._hub.clock()
        self._grants = [*[g for g in self._grants if g.expires_s > now][-_MAX_GRANTS:], grant]
        return _answer(request, 202, "Accepted", None)

    def _describe(self, request: Request) -> bytes:
        hub = self._hub
        try:
            facts = describe(request, hub.settings.eventhub, hub.log.partitions, hub.since_ms)
        except AmqpError as error:
            return _answer(request, 404, str(error), None)
        return _answer(request, 200, "OK", facts)

    # ----------------------------------------------------------------------------------------- helpers

    def _allowed(self, path: str) -> bool:
        now = self._hub.clock()
        return any(grant.covers(path, Right.SERVICE, now) for grant in self._grants)

    def _send(self, kind: frames.Performative, channel: int = 0, /, **values: object) -> None:
        self._writer.write(encode_frame(kind, channel, **values))

    def _send_sasl(self, kind: frames.Performative, /, **values: object) -> None:
        self._writer.write(encode_frame(kind, 0, b"", frames.SASL_FRAME, **values))

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


def _header_bytes(protocol: int) -> bytes:
    return next(text for text, known in frames.PROTOCOL_HEADERS.items() if known == protocol)


def _answer(request: Request, status: int, text: str, value: object) -> bytes:
    return encode_answer(request, {"status-code": Int(status), "status-description": text}, value)


def _terminus(frame: Frame, name: str) -> list[object]:
    """The fields of a source or target, section 3.5; empty where it is absent."""
    value = frame.values.get(name)
    fields = value.value if isinstance(value, Described) else None
    return fields if isinstance(fields, list) else []


def _address(frame: Frame, name: str) -> str | None:
    fields = _terminus(frame, name)
    return fields[0] if fields and isinstance(fields[0], str) else None


def _properties(frame: Frame) -> dict[object, object]:
    value = frame.values.get("properties")
    return value if isinstance(value, dict) else {}


def _capabilities(frame: Frame) -> list[object]:
    value = frame.values.get("desired_capabilities")
    return value if isinstance(value, list) else [value]
