"""What a sign-in needs for minutes: how often it was tried, what was begun at an identity provider, known browsers.

Attempts are counted before a password is looked at, so that many at once gain nothing. The first few of a quarter of
an hour are free; then each further one must wait, twice as long as the one before, at most :data:`MOST_WAIT_S`. Nothing
is ever locked for good: who stops, or succeeds, is forgotten. A browser in which somebody has signed in before carries
a token for that account and is counted apart, so that a stranger's guesses, from wherever, don't make her wait.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from typing import Any

from security.errors import Rejected
from security.keys import MasterKey
from twin_engine.store.connection import Client, translated
from twin_engine.store.people import Clock, clock_ms

BEGUN = "eb:signin:begun:"
WINDOW_S = 15 * 60
MOST_WAIT_S = 5 * 60
FREE_OF_ACCOUNT, FREE_OF_ADDRESS, FREE_OF_BROWSER = 5, 30, 10
BEGUN_S = 10 * 60  # how long a person may take at her identity provider
KNOWN_MS = 90 * 86_400_000


class Attempts:
    """Counts sign-ins by bucket (an account, an address, a known browser). Raises StoreDown."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def wait_s(self, bucket: str, free: int) -> float:
        """Count one attempt. 0.0: go on; else it does not count, and how long to wait."""
        count, wait = _keys(bucket)
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.incr(count)
            batch.expire(count, WINDOW_S)
            n = int(batch.execute()[0])
            if n <= free:
                return 0.0
            delay_s = min(MOST_WAIT_S, 2 ** min(n - free - 1, 16))
            if self._client.set(wait, b"1", nx=True, px=1000 * delay_s):
                return 0.0  # its turn; the next one waits that long
            self._client.decr(count)
            return max(0.1, int(self._client.pttl(wait)) / 1000)

    def forget(self, bucket: str) -> None:
        """It was the right person."""
        with translated():
            self._client.delete(*_keys(bucket))


class Begun:
    """Sign-ins under way at an identity provider, by their ``state``; each is taken up once."""

    def __init__(self, client: Client, master: MasterKey) -> None:
        self._client, self._master = client, master

    def put(self, state: str, facts: dict[str, Any]) -> None:
        """Remember `facts` for ten minutes."""
        key = _begun(state)
        with translated():
            self._client.set(key, self._master.wrap(json.dumps(facts).encode(), key.encode()), ex=BEGUN_S)

    def take(self, state: str) -> dict[str, Any] | None:
        """The facts, once; None where nothing was begun so, or it is over."""
        key = _begun(state)
        with translated():
            blob = self._client.getdel(key)
        try:
            return None if blob is None else dict(json.loads(self._master.unwrap(blob, key.encode())))
        except (Rejected, ValueError):
            return None


def browser_token(master: MasterKey, name: str, clock: Clock = clock_ms) -> str:
    """What a browser keeps after a sign-in: it says for which account, and opens nothing."""
    facts = {"name": name, "id": secrets.token_hex(16), "t": clock()}
    return master.wrap(json.dumps(facts).encode(), b"browser").hex()


def known_browser(master: MasterKey, token: str, name: str, clock: Clock = clock_ms) -> str:
    """The browser's id where its token is for this account and not too old, else ""."""
    try:
        facts = json.loads(master.unwrap(bytes.fromhex(token[:1024]), b"browser"))
    except (Rejected, ValueError):
        return ""
    return str(facts["id"]) if facts["name"] == name and clock() - facts["t"] < KNOWN_MS else ""


def _keys(bucket: str) -> tuple[str, str]:
    digest = hashlib.sha256(bucket.encode("utf-8", "replace")).hexdigest()[:32]
    return f"eb:signin:count:{digest}", f"eb:signin:wait:{digest}"


def _begun(state: str) -> str:
    return BEGUN + f"{hashlib.sha256(state.encode('utf-8', 'replace')).hexdigest()}"
