"""What a sign-in needs for minutes: how often it was tried, what was begun at an identity provider, known browsers.

Attempts are counted before a password is looked at, so that many at once gain nothing. The first few of a quarter of
an hour are free; then each further one must wait, twice as long as the one before, at most :data:`MOST_WAIT_S`. Nothing
is ever locked for good: who stops, or succeeds, is forgotten. An address may be a whole hospital: there only failures
count, and they cost each name one short wait (:meth:`Attempts.crowd`). A browser in which somebody has signed in before
carries a token for that account and is counted apart, so that a stranger's guesses, from wherever, don't make her wait.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from security.errors import Rejected
from security.keys import MasterKey
from twin_engine.store.connection import Client, translated
from twin_engine.store.people import Clock, clock_ms

WINDOW_S = 15 * 60
MOST_WAIT_S = 5 * 60
FREE_OF_ACCOUNT, FREE_OF_BROWSER = 5, 10
FREE_OF_ADDRESS = (
    200  # failures: a hospital's change of shift behind one address, every fifth of 400 typing wrong twice
)
FREE_OF_MACHINE = 20  # failures in browsers where one person signed in last, by whoever sits there now
CROWD_WAITS_S = (10, 60, 300)  # of one name where its place has used that up: the first for others' failures
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

    def crowd(self, bucket: str, name: str, free: int) -> tuple[float, bool]:
        """Count one sign-in of `name` as a failure of a place where many are (an address, a shared machine), until it
        turns out right (:meth:`spare`). (0.0: go on; else how long to wait; whether it was counted).

        Beyond `free` failures nobody is shut out for what others did: each name must only come a second time, after a
        short wait; then it must wait for what it did itself, ever longer.
        """
        count, _ = _keys(bucket)
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.set(count, 0, ex=WINDOW_S, nx=True)  # a window that ends, however many fail in it
            batch.incr(count)
            if int(batch.execute()[1]) <= free:
                return 0.0, True
            self._client.decr(count)
        return self._own_turn(f"turn|{bucket}|{name}"), False

    def _own_turn(self, bucket: str) -> float:
        count, wait = _keys(bucket)
        with translated():
            batch = self._client.pipeline(transaction=True)
            batch.incr(count)
            batch.expire(count, WINDOW_S)
            n = int(batch.execute()[0])
            delay_s = CROWD_WAITS_S[min(n, len(CROWD_WAITS_S)) - 1]
            if self._client.set(wait, b"1", nx=True, px=1000 * delay_s):
                return float(delay_s) if n == 1 else 0.0
            self._client.decr(count)
            return max(0.1, int(self._client.pttl(wait)) / 1000)

    def spare(self, bucket: str, name: str, counted: bool) -> None:
        """It was right: no failure of the place, where it was `counted` as one, and the name need not wait there."""
        count, _ = _keys(bucket)
        with translated():
            batch = self._client.pipeline(transaction=True)
            if counted:
                batch.set(count, 0, ex=WINDOW_S, nx=True)
                batch.decr(count)
            batch.delete(*_keys(f"turn|{bucket}|{name}"))
            batch.execute()

    def forget(self, bucket: str) -> None:
        """It was the right person."""
        with translated():
            self._client.delete(*_keys(bucket))


class Begun:
    """Which sign-ins at an identity provider have led to a session, by their ``state``: each may do so once.

    What was begun is kept by the browser itself (:func:`begun_token`), so that whoever only begins leaves nothing here.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def first(self, state: str) -> bool:
        """Whether this one has not led to a session yet. Call it once the provider has vouched for somebody."""
        key = f"eb:signin:begun:{hashlib.sha256(state.encode('utf-8', 'replace')).hexdigest()}"
        with translated():
            return bool(self._client.set(key, b"1", nx=True, ex=BEGUN_S))


def begun_token(master: MasterKey, facts: Mapping[str, str], clock: Clock = clock_ms) -> str:
    """A sign-in under way at an identity provider, sealed for the browser that began it."""
    sealed = master.wrap(json.dumps({**facts, "t": clock()}).encode(), b"oidc")
    return base64.urlsafe_b64encode(sealed).decode()


def begun_facts(master: MasterKey, token: str, clock: Clock = clock_ms) -> dict[str, Any] | None:
    """The facts; None where the token is none of ours, or older than ten minutes."""
    try:
        facts = dict(json.loads(master.unwrap(base64.urlsafe_b64decode(token[:4096].encode("ascii")), b"oidc")))
    except (Rejected, ValueError):
        return None
    return facts if 0 <= clock() - facts["t"] < 1000 * BEGUN_S else None


def browser_token(master: MasterKey, name: str, clock: Clock = clock_ms) -> str:
    """What a browser keeps after a sign-in: it says for which account, and opens nothing."""
    facts = {"name": name, "id": secrets.token_hex(16), "t": clock()}
    return master.wrap(json.dumps(facts).encode(), b"browser").hex()


def known_browser(master: MasterKey, token: str, name: str, clock: Clock = clock_ms) -> str:
    """The browser's id where its token is for this account and not too old, else ""."""
    facts = _browser(master, token, clock)
    return str(facts["id"]) if facts and facts["name"] == name else ""


def browser_of(master: MasterKey, token: str, clock: Clock = clock_ms) -> str:
    """Who signed in last in this browser, "" where nobody did: a machine of the house, whoever sits down at it."""
    facts = _browser(master, token, clock)
    return str(facts["name"]) if facts else ""


def _browser(master: MasterKey, token: str, clock: Clock) -> dict[str, Any] | None:
    try:
        facts = dict(json.loads(master.unwrap(bytes.fromhex(token[:1024]), b"browser")))
    except (Rejected, ValueError):
        return None
    return facts if clock() - facts["t"] < KNOWN_MS else None


def _keys(bucket: str) -> tuple[str, str]:
    """Of so few digits that names and addresses made up without end fill no store: 65,536 keys a kind at most."""
    kind = bucket.partition("|")[0]
    digest = hashlib.sha256(bucket.encode("utf-8", "replace")).hexdigest()[:4]
    return f"eb:signin:count:{kind}:{digest}", f"eb:signin:wait:{kind}:{digest}"
