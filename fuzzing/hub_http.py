"""Target at the hub's service endpoint: HTTP, and tokens that nobody signed."""

from __future__ import annotations

from typing import Any, cast

from device.hub.http import serve_http
from device.hub.sas import Unauthorized, prove, rest_key
from device.hub.settings import Policy, Right
from fuzzing.hub import DEVICE, KEY, NOW_S, Endpoint, Made, token


def http() -> Made:
    """The service's endpoint; ``$T`` in the bytes stands for a true token, so that what lies behind it is reached."""
    policy = Policy("service", KEY, Right.OWNER)
    signed = token("127.0.0.9", rest_key(policy)).encode()
    endpoint = Endpoint(lambda hub, reader, writer: serve_http(hub.rest.answer, reader, cast(Any, writer)))

    def run(data: bytes) -> None:
        endpoint.run(data.replace(b"$T", signed))
        try:
            prove(data.decode("latin-1"), [(policy, rest_key(policy))], frozenset({"127.0.0.9"}), NOW_S)
        except Unauthorized:
            return
        raise AssertionError("a token was believed that nobody signed")

    return run, _requests()


def _requests() -> list[bytes]:
    def request(line: str, body: str = "") -> bytes:
        head = f"{line} HTTP/1.1\r\nHost: h\r\nAuthorization: $T\r\nContent-Length: {len(body)}\r\n\r\n"
        return (head + body).encode()

    return [
        request(f"GET /devices/{DEVICE}?api-version=2021-04-12"),
        request("GET /devices?top=3"),
        request("PUT /devices/other", '{"deviceId":"other","status":"disabled"}'),
        request(f"GET /twins/{DEVICE}"),
        request(f"PATCH /twins/{DEVICE}", '{"properties":{"desired":{"everbeat":{"a":1}}}}'),
        request(f"PUT /twins/{DEVICE}", '{"properties":{"desired":{}},"tags":{"a":"b"}}'),
        request(f"POST /twins/{DEVICE}/methods", '{"methodName":"identify","payload":{},"responseTimeoutInSeconds":5}'),
        request("DELETE /devices/nobody"),
        b"GET /devices HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ]
