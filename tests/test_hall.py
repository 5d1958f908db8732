"""Connections before anybody has signed in: real sockets against the real server, slow, many, silent and cut short."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from websocket import WebSocket, WebSocketBadStatusException, WebSocketException, create_connection

from tests.people_kit import House, Visitor
from tests.socket_viewer import Viewer
from tests.web_kit import wait_until
from web.hall import Bounds, Hall, network_of
from web.listener import MAX_HEAD_BYTES
from web.settings import BindRefused, WebSettings

pytestmark = pytest.mark.redis
HOST, PORT = "127.0.1.97", 8597
SETTINGS = WebSettings(host=HOST, port=PORT, block_ms=50, sign_in=True, connections=40, strangers=20, strangers_each=8,
                       head_s=2, body_s=2)  # fmt: skip
HEAD = f"GET /sign-in HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n"


@pytest.fixture
def house(redis_server) -> Iterator[House]:  # type: ignore[no-untyped-def]
    made = House(redis_server[0], SETTINGS)
    yield made
    made.close()


@contextmanager
def connections(count: int, said: str = "", source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """So many open connections that have said so much."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((HOST, PORT), 5, source_address=(source, 0)))
            sock.sendall(said.encode())
            opened.append(sock)
        yield opened


def heard(sock: socket.socket, timeout_s: float = 6.0) -> bytes:
    """Everything until the end, which must come in time."""
    sock.settimeout(timeout_s)
    found = b""
    try:
        while data := sock.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def quiet(house: House) -> None:
    """No connection is left of a test before."""
    wait_until(lambda: hall(house).count(), lambda found: found == (0, 0), 8)


def hall(house: House) -> Hall:
    made: Hall = house._server.hall  # type: ignore[attr-defined]
    return made


def test_a_head_that_comes_too_slowly_is_answered_and_ended_though_bytes_keep_coming(house: House) -> None:
    quiet(house)
    with connections(1, HEAD) as [sock]:
        start, stop = time.monotonic(), threading.Event()

        def trickle() -> None:
            while not stop.wait(0.1):
                try:
                    sock.sendall(b"X-Slow: 1\r\n")
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        answer, took_s = heard(sock), time.monotonic() - start
        stop.set()
    assert answer.startswith(b"HTTP/1.1 408 ") and b"Retry-After" in answer and b"within 2 s" in answer
    assert 1.5 < took_s < 4, took_s


def test_a_connection_that_says_nothing_at_all_is_closed(house: House) -> None:
    quiet(house)
    with connections(1) as [sock]:
        start = time.monotonic()
        assert heard(sock) == b""
        assert 1.5 < time.monotonic() - start < 4


def test_a_body_that_comes_too_slowly_is_answered_and_ended(house: House) -> None:
    quiet(house)
    head = HEAD.replace("GET", "POST") + f"Origin: {house.url}\r\nContent-Length: 500\r\n" + (
        "Content-Type: application/x-www-form-urlencoded\r\nCookie: __Host-everbeat-before=x\r\n\r\nname=a"
    )  # fmt: skip
    with connections(1, head) as [sock]:
        start = time.monotonic()
        answer = heard(sock)
        assert answer.startswith(b"HTTP/1.1 408 "), answer[:300]
        assert 1.5 < time.monotonic() - start < 4


def test_whoever_sends_on_and_on_after_the_answer_holds_no_thread(house: House) -> None:
    quiet(house)
    with connections(1, HEAD + "\r\nmore than was asked for") as [sock]:
        sock.settimeout(5)
        assert sock.recv(15).startswith(b"HTTP/1.1 200")
        wait_until(lambda: hall(house).count()[0], lambda n: n == 0, 4)


def test_a_head_cut_in_the_middle_is_not_taken_for_a_whole_one(house: House) -> None:
    quiet(house)
    with connections(1, HEAD) as [sock]:  # http.server takes the end of the line for the end of the head
        assert b" 408 " in heard(sock).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (HEAD + "X: " + "y" * MAX_HEAD_BYTES + "\r\n\r\n", 431),
        (HEAD + "".join(f"X-{n}: {'y' * 1000}\r\n" for n in range(60)) + "\r\n", 431),
        ("GET /" + "a" * MAX_HEAD_BYTES + " HTTP/1.1\r\n\r\n", 414),
        (HEAD.replace("GET", "POST") + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 411),
        (HEAD.replace("GET", "POST") + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400),
        (HEAD.replace("GET", "POST") + "Content-Length: -5\r\n\r\nhello", 400),
        ("nonsense\r\n\r\n", 400),
    ],
)
def test_a_head_too_long_or_of_two_minds_is_refused(house: House, said: str, status: int) -> None:
    """ASVS 4.2.1 (request smuggling)."""
    with connections(1, said) as [sock]:
        assert f" {status} ".encode() in heard(sock).split(b"\r\n")[0]


def test_an_address_with_too_many_strangers_is_told_and_the_others_are_served(house: House) -> None:
    quiet(house)
    with connections(8, HEAD), connections(1, HEAD + "\r\n") as [ninth]:
        answer = heard(ninth, 2)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"Retry-After: 2" in answer and b"of an address" in answer
        with connections(1, HEAD + "\r\n", "127.0.0.9") as [other]:
            assert heard(other).startswith(b"HTTP/1.1 200 ")


def test_half_sent_requests_push_out_each_other_and_not_a_person_who_signs_in(house: House) -> None:
    quiet(house)
    with connections(8, HEAD):
        time.sleep(1.1)  # a whole request takes milliseconds
        assert Visitor(house).sign_in("dr.wren").status_code == 303


def test_strangers_in_all_are_bounded_and_whoever_has_a_session_is_none(house: House) -> None:
    quiet(house)
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    quiet(house)
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(line(wren))) for _ in range(10)]
        assert wait_until(lambda: hall(house).count(), lambda found: found == (10, 0)) == (10, 0), "ten, of one address"
        for last in (3, 4, 5):
            stack.enter_context(connections(20 // 3 + (last == 3) + (last == 4), HEAD, f"127.0.0.{last}"))
        [one] = stack.enter_context(connections(1, HEAD, "127.0.0.8"))
        answer = heard(one, 2)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"20 connections before sign-in" in answer
        assert all(sock.connected for sock in lines)
    quiet(house)


def test_more_connections_than_there_are_places_are_told_so_and_cost_nobody_a_line(house: House) -> None:
    quiet(house)
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(line(wren))) for _ in range(40)]
        wait_until(lambda: hall(house).count(), lambda found: found == (40, 0))
        [one] = stack.enter_context(connections(1, HEAD))
        assert b" 503 " in heard(one, 2).split(b"\r\n")[0]
        assert all(sock.connected for sock in lines)
    quiet(house)


def line(visitor: Visitor, origin: str = "", cookie: str = "", host: str | None = None) -> WebSocket:
    """A bare WebSocket, as a page would open it; it speaks no Socket.IO."""
    address = visitor.house.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    return create_connection(address, 5, origin=origin or visitor.house.url, cookie=cookie or visitor.cookie_header,
                             host=host)  # fmt: skip


@contextmanager
def closing(sock: WebSocket) -> Iterator[WebSocket]:
    try:
        yield sock
    finally:
        sock.shutdown()


@pytest.mark.parametrize("headers", [{"cookie": "x=y"}, {"cookie": "__Host-everbeat=made-up"},
                                     {"origin": "https://evil.example"}, {"host": "evil.example"}])  # fmt: skip
def test_nobody_gets_a_socket_without_a_session_or_from_another_page(house: House, headers: dict[str, str]) -> None:
    """ASVS 4.4.2, 8.3.1."""
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    with pytest.raises(WebSocketBadStatusException):
        line(wren, **headers)
    quiet(house)  # and no thread is kept for it


def test_a_socket_that_asks_for_no_patient_is_closed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.upgrade.SILENT_MOST_S", 1)
    quiet(house)
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    with closing(line(wren)) as sock:
        start = time.monotonic()
        with pytest.raises((WebSocketException, OSError)):
            while time.monotonic() - start < 10:
                if sock.recv() == "2":
                    sock.send("3")  # it is well, only silent
        assert time.monotonic() - start < 5
    quiet(house)


def test_a_socket_with_a_patient_stays_and_one_whose_session_ends_is_closed_though_the_client_is_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.upgrade.SILENT_MOST_S", 1)
    quiet(house)
    wren = Visitor(house)
    wren.sign_in("dr.wren")
    page = Viewer(house.url, "p-0001", cookie=wren.cookie_header)
    page.until("hello")
    time.sleep(3)
    assert not page.closed.is_set() and hall(house).count() == (1, 0)
    page.close()
    with closing(line(wren)) as sock:
        sock.send('40/twin,{"patient":"p-0001"}')
        wait_until(lambda: len(house.flask.extensions["relay"].viewers("p-0001")), lambda n: n == 1)
        time.sleep(2)
        assert sock.connected
        house.people.sessions.end_all("dr.wren")
        wait_until(lambda: hall(house).count()[0], lambda n: n == 0, 4)


def test_one_session_has_no_more_connections_than_a_desk_full_of_tabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.hall.OF_SESSION_MOST", 3)
    with ExitStack() as stack:
        one = Hall(Bounds(10, 10, 10, 9, 9))
        places = [one.enter(stack.enter_context(socket.socket()), "10.0.0.1") for _ in range(5)]
        assert [p.known("s") for p in places[:4]] == [True, True, True, False]  # type: ignore[union-attr]
        assert places[0].known("s") and places[4].known("another")  # type: ignore[union-attr]
        one.stop()


def test_an_address_is_what_one_customer_has() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") != network_of("10.0.0.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2") and network_of("") == "unknown"


@pytest.mark.parametrize("wrong", [{"strangers": 41}, {"strangers_each": 21}, {"strangers_each": 0}, {"head_s": 0}])
def test_bounds_that_would_lock_out_everybody_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(BindRefused):
        replace(SETTINGS, **wrong)
