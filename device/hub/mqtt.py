"""The device endpoint: MQTT 3.1.1 over mutual TLS, as IoT Hub speaks it.

In this order, failing closed: TLS proves that our CA issued the certificate (the context's work); its common name
must be the client id and the device in the user name; the device must be registered, enabled, and, where its
certificate is pinned, come with that one; and no list may name it as revoked. After that it publishes to its own
topics alone. A PUBACK is sent once the event is in the log, never before. Whatever is malformed or foreign ends this
one connection.

Left out, as IoT Hub leaves it out or the device SDK never asks: QoS 2, wills, retained messages, cloud-to-device mail.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import cast

from device.hub import mqtt_codec as codec
from device.hub import mqtt_replies
from device.hub.listener import read_some
from device.hub.mqtt_codec import Connect, MalformedPacket, Packet, Refusal, Type
from device.hub.mqtt_session import Session
from device.hub.registry import Device
from device.hub.switchboard import NotAuthorized, Switchboard

logger = logging.getLogger("everbeat.hub.mqtt")


async def serve_device(board: Switchboard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, from the packet after the TLS handshake to its end."""
    packets = codec.PacketReader()
    try:
        connected = await _connect(board, packets, reader, writer)
    except (MalformedPacket, NotAuthorized) as error:
        logger.warning("refused before it was connected: %s", error)
        return
    if connected is None:
        return
    session, early = connected
    board.arrive(session)
    try:
        await session.run(early)
    except MalformedPacket as error:
        logger.warning("%s: %s", session.device.id, error)
    finally:
        board.leave(session)


async def _connect(
    board: Switchboard, packets: codec.PacketReader, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[Session, list[Packet]] | None:
    """The accepted connection and what came with its first packet; None where it was refused with a CONNACK."""
    received = list[Packet]()
    async with asyncio.timeout(board.settings.handshake_s):
        while not received:
            received = list(packets.feed(await read_some(reader)))
    if received[0].type is not Type.CONNECT:
        raise MalformedPacket("expected CONNECT first, got another packet; the peer is dropped")  # 3.1
    connect = codec.read_connect(received[0])
    refusal, admitted = _admit(board, connect, writer)
    if admitted is None:
        writer.write(mqtt_replies.connack(refusal))
        return None
    session = Session(board, *admitted, connect, packets, reader, writer)
    writer.write(mqtt_replies.connack(None, session.present))
    return session, received[1:]


def _admit(
    board: Switchboard, connect: Connect, writer: asyncio.StreamWriter
) -> tuple[Refusal | None, tuple[Device, bytes] | None]:
    """The device and its certificate, or why not."""
    if connect.level != 4:
        return Refusal.PROTOCOL, None
    if not connect.client_id:
        return Refusal.IDENTIFIER, None
    try:
        name, certificate = _certificate(writer)
        claimed = connect.username.split("/")[1:2]  # {hub}/{device}/?api-version=...
        if connect.client_id != name or claimed != [name]:
            raise NotAuthorized(
                f"expected client id and user name of {name!r}, got {connect.client_id!r}, {claimed}; it was refused"
            )
        if connect.has_will:
            raise NotAuthorized("expected no will, got one, which this hub can not keep; it was refused")
        return None, (board.identify(name, certificate), certificate)
    except NotAuthorized as error:
        logger.warning("%s", error)
        return Refusal.NOT_AUTHORIZED, None


def _certificate(writer: asyncio.StreamWriter) -> tuple[str, bytes]:
    """Common name and DER of the client's certificate, which TLS has verified."""
    tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate, der = tls.getpeercert(), tls.getpeercert(binary_form=True)
    if not certificate or der is None:  # the context demands one; this is the second lock on the same door
        raise NotAuthorized("expected a client certificate, got none; it was refused")
    subject = cast(tuple[tuple[tuple[str, str], ...], ...], certificate.get("subject", ()))
    names = [value for rdn in subject for key, value in rdn if key == "commonName"]
    if len(names) != 1:
        raise NotAuthorized(f"expected one common name, got {len(names)}; it was refused")
    return names[0], der
