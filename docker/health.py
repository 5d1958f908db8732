"""Says by its exit code whether a process does its work, for the health checks of ``docker/compose.yaml``.

``hub``: its HTTPS port answers with a certificate of our CA. ``engine SHARD``: somebody holds the shard's lease, which
lasts five seconds and is renewed by a living engine only. ``web PORT``: the page is served. Ingest, downlink and device
answer nobody; they end where they can't work, and are started again.
"""

from __future__ import annotations

import socket
import ssl
import sys
import urllib.request
from collections.abc import Callable

from device.hub.settings import HTTPS_PORT
from everbeat.settings import Settings
from twin_engine.store import keys
from twin_engine.store.connection import connect

TIMEOUT_S = 3.0


def hub(settings: Settings, _: str) -> bool:
    """A whole TLS handshake with the hub."""
    trust = ssl.create_default_context(cafile=str(settings.ca / "root.pem"))
    with socket.create_connection((settings.hub_host, HTTPS_PORT), TIMEOUT_S) as plain:
        trust.wrap_socket(plain, server_hostname=settings.hub_host).close()
    return True


def engine(settings: Settings, shard: str) -> bool:
    """Whether the shard has an owner now."""
    client = connect(settings.redis_login("engine"))
    try:
        return client.get(keys.owner(shard)) is not None
    finally:
        client.close()


def web(_: Settings, port: str) -> bool:
    """Whether the page comes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S) as reply:
        return bool(reply.status == 200)


CHECKS: dict[str, Callable[[Settings, str], bool]] = {"hub": hub, "engine": engine, "web": web}


def main() -> int:
    """0 where the process does its work, 1 where it does not; an error that says why counts as 1, too."""
    name, detail = [*sys.argv[1:], "", ""][:2]
    if name not in CHECKS:
        print(f"expected one of {', '.join(CHECKS)}, got {name!r}; nothing was checked", file=sys.stderr)
        return 2
    return 0 if CHECKS[name](Settings.from_env(), detail) else 1


if __name__ == "__main__":
    sys.exit(main())
