"""Listening with TLS: contexts, one task a connection, a bound on connections, an end to all of them.

The process edge of the hub: an exception of a connection is logged here and ends that connection, never the hub.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import ssl
from collections.abc import Awaitable, Callable

from device.hub.settings import CannotStart, HubSettings

logger = logging.getLogger("everbeat.hub")

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
# TLS 1.2 only; those of 1.3 are all sound. RSA here is a hospital's own server key, never the key exchange.
DEVICE_CIPHERS = ":".join((
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
))  # fmt: skip
_READ_BYTES = 64 * 1024
_STOP_GRACE_S = 0.2


def server_context(settings: HubSettings, *, demand_certificate: bool) -> ssl.SSLContext:
    """TLS 1.3 for services, TLS 1.2 or newer for devices: their SDK speaks no other, and few boards do.

    By 1.2 only with ephemeral keys and GCM (RFC 9325, section 4.2). With `demand_certificate`, clients must show one of
    our CA's, as devices do. Raises CannotStart where a file can not be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2 if demand_certificate else ssl.TLSVersion.TLSv1_3
    context.set_ciphers(DEVICE_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.sslobject_class = _Watched
    try:
        context.load_cert_chain(settings.certificate, settings.key)
        if demand_certificate:
            context.load_verify_locations(settings.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"expected readable PEM certificates, got {error}; the hub did not start") from error
    return context


class _Watched(ssl.SSLObject):
    """A TLS object that says why it refuses a peer: asyncio drops the reason of a failed handshake."""

    def do_handshake(self) -> None:
        """See ssl.SSLObject."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise  # not a failure: more bytes are needed
        except ssl.SSLCertVerificationError as error:
            logger.warning("expected a certificate of our CA, got one that fails: %s; refused", error.verify_message)
            raise
        except ssl.SSLError as error:
            logger.warning("expected a TLS peer with a certificate where one is due, got %s; refused", error.reason)
            raise


async def read_some(reader: asyncio.StreamReader) -> bytes:
    """The next bytes, at least one. Raises ConnectionError at the stream's end."""
    data = await reader.read(_READ_BYTES)
    if not data:
        raise ConnectionError("the peer closed the connection")
    return data


class Listener:
    """One port. Start it once, close it once."""

    def __init__(self, name: str, handler: Handler, settings: HubSettings) -> None:
        self._name, self._handler, self._settings = name, handler, settings
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int, context: ssl.SSLContext) -> None:
        """Accept connections. Raises CannotStart where the port is taken or not ours to take."""
        host = self._settings.host
        try:
            self._server = await asyncio.start_server(
                self._accept, host, port, ssl=context, ssl_handshake_timeout=self._settings.handshake_s
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            found = "another process listening there" if taken else str(error)
            raise CannotStart(
                f"expected {host}:{port} to be free for {self._name}, got {found}; the hub did not start"
            ) from error

    async def close(self) -> None:
        """Accept no more, end what is open, wait for it."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.close_s)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  start_server runs this in a task of its own
        if len(self._tasks) >= self._settings.max_connections:
            logger.warning(
                "%s: expected at most %d connections, got one more; it was cut", self._name, len(self._tasks)
            )
            writer.transport.abort()
            return
        self._tasks.add(task)
        grace_s = self._settings.close_s
        try:
            await self._handler(reader, writer)
        except asyncio.CancelledError:
            grace_s = _STOP_GRACE_S  # the hub stops; nobody awaits this task
        except (ConnectionError, ssl.SSLError, TimeoutError, asyncio.IncompleteReadError) as error:
            logger.info("%s: connection lost: %s", self._name, error or type(error).__name__)
        except Exception:
            logger.exception("%s: a fault of the hub; the connection was cut", self._name)
        finally:
            await _end(writer, grace_s)
            self._tasks.discard(task)


async def _end(writer: asyncio.StreamWriter, grace_s: float) -> None:
    """Flush and close; cut where the peer does not close with us."""
    writer.close()
    try:
        async with asyncio.timeout(grace_s):
            await writer.wait_closed()
    except (OSError, ssl.SSLError, TimeoutError, asyncio.CancelledError):
        writer.transport.abort()
