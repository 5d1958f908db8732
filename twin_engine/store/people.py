"""Accounts, and glass that was broken, in Redis: each sealed by the master key under its own name and place.

Whoever can write to the database can therefore delete an account, or put back an older one of the same name; not make
one, read one, or give one's rights to another. The user ``people`` reaches these keys and no others.

======================  =======  ===============================================================================
eb:people               hash     account's name -> the account, sealed
eb:people:glass         hash     name|patient -> until when and why, sealed
eb:people:session:HASH  string   one session, sealed (sessions.py); gone when its time is up
eb:people:of:NAME       set      hashes of the sessions of one account
eb:people:saw:HASH      set      patients whose view this session has already been audited
eb:signin:*             strings  counted attempts, and sign-ins at an identity provider (signin.py)
======================  =======  ===============================================================================
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import redis

from security.errors import Rejected
from security.keys import MasterKey
from security.people import GLASS_MS, Account
from twin_engine.store.connection import Client, translated

log = logging.getLogger(__name__)

PEOPLE, GLASS = "eb:people", "eb:people:glass"
Clock = Callable[[], int]  # UTC ms
_SLACK_MS = 60_000  # clocks of two machines


def clock_ms() -> int:
    """The machine's."""
    return time.time_ns() // 10**6


class NoSuchAccount(LookupError):
    """There is no account of that name."""


class AccountExists(ValueError):
    """There is one already."""


@dataclass(frozen=True, slots=True)
class Glass:
    """Somebody sees a patient without a grant, because of an emergency she has named."""

    who: str
    patient: str
    reason: str
    from_ms: int
    until_ms: int

    def is_open(self, now_ms: int) -> bool:
        """Also not before its time: a clock that was ahead and is set back must not hold it open for longer."""
        return self.from_ms - _SLACK_MS <= now_ms < self.until_ms


class PeopleStore:
    """Accounts by name. Every method raises StoreDown. One instance may serve several threads."""

    def __init__(self, client: Client, master: MasterKey, clock: Clock = clock_ms) -> None:
        self.client, self.master, self._clock = client, master, clock

    # ------------------------------------------------------------------------------------------- accounts

    def any(self) -> bool:
        """Whether there is an account, or ever was one: then nobody is let in without one.

        The key directory remembers it, so that an older or empty copy of the database opens no house.
        """
        home = self.master.home
        if home is not None and home.has_people:
            return True
        with translated():
            found = bool(self.client.hlen(PEOPLE))
        if found and home is not None:
            home.note_people()
        return found

    def find(self, name: str) -> Account | None:
        """The account; None where there is none, or one that was tampered with."""
        with translated():
            blob = self.client.hget(PEOPLE, name)
        return None if blob is None else self._open(name, blob)

    def find_all(self, names: list[str]) -> dict[str, Account]:
        """Several in one round trip."""
        if not names:
            return {}
        with translated():
            blobs = self.client.hmget(PEOPLE, names)
        found = {name: self._open(name, blob) for name, blob in zip(names, blobs, strict=True) if blob is not None}
        return {name: account for name, account in found.items() if account is not None}

    def all(self) -> list[Account]:
        """Everybody, by name."""
        with translated():
            stored = self.client.hgetall(PEOPLE)
        opened = (self._open(name.decode(), blob) for name, blob in stored.items())
        return sorted((account for account in opened if account is not None), key=lambda account: account.name)

    def add(self, account: Account) -> None:
        """A new one. Raises AccountExists."""
        if self.master.home is not None:
            self.master.home.note_people()
        with translated():
            new = self.client.hsetnx(PEOPLE, account.name, self._seal(account))
        if not new:
            raise AccountExists(f"expected a name that is free, got {account.name!r}; nothing was changed")

    def change(self, name: str, how: Callable[[Account], Account]) -> Account:
        """The account as `how` makes it, which is stored. Raises NoSuchAccount."""
        with translated(), self.client.pipeline(transaction=True) as batch:
            while True:
                try:
                    batch.watch(PEOPLE)  # else a grant that is made at that moment undoes a "disable"
                    blob = batch.hget(PEOPLE, name)
                    account = None if blob is None else self._open(name, blob)
                    if account is None:
                        raise NoSuchAccount(f"expected the name of an account, got {name!r}; nothing was changed")
                    changed = how(account)
                    batch.multi()
                    batch.hset(PEOPLE, name, self._seal(changed))
                    batch.execute()
                    return changed
                except redis.WatchError:
                    continue

    def remove(self, name: str) -> None:
        """Forget an account and what it broke. Whoever is unknown is no error."""
        with translated():
            self.client.hdel(PEOPLE, name)
        for glass in self.glasses():
            if glass.who == name:
                self.mend(name, glass.patient)

    def _seal(self, account: Account) -> bytes:
        return self.master.wrap(account.to_json().encode(), b"people|" + account.name.encode())

    def _open(self, name: str, blob: bytes) -> Account | None:
        try:
            account = Account.from_json(self.master.unwrap(blob, b"people|" + name.encode()).decode())
        except Rejected as error:
            log.error("the account %r can't be read (%s); it may not sign in", name, error)
            return None
        return account if account.name == name else None

    # ------------------------------------------------------------------------------------------- broken glass

    def break_glass(self, who: str, patient: str, reason: str, for_ms: int = GLASS_MS) -> Glass:
        """From now on `who` sees `patient`, for a time."""
        now_ms = self._clock()
        glass = Glass(who, patient, reason, now_ms, now_ms + for_ms)
        sealed = self.master.wrap(json.dumps(asdict(glass)).encode(), _glass_context(who, patient))
        with translated():
            self.client.hset(GLASS, _glass_field(who, patient), sealed)
        return glass

    def mend(self, who: str, patient: str) -> None:
        """It is over, before its time or after."""
        with translated():
            self.client.hdel(GLASS, _glass_field(who, patient))

    def glasses(self) -> list[Glass]:
        """What is open now, newest first."""
        with translated():
            stored = self.client.hgetall(GLASS)
        now_ms = self._clock()
        opened = (self._open_glass(field.decode(), blob) for field, blob in stored.items())
        return sorted((g for g in opened if g is not None and g.is_open(now_ms)), key=lambda g: -g.from_ms)

    def seen_through_glass(self) -> Mapping[str, dict[str, int]]:
        """name -> patient -> until when (UTC ms), of all that is open now."""
        found = dict[str, dict[str, int]]()
        for glass in self.glasses():
            found.setdefault(glass.who, {})[glass.patient] = glass.until_ms
        return found

    def _open_glass(self, field: str, blob: bytes) -> Glass | None:
        who, _, patient = field.partition("|")
        try:
            return Glass(**json.loads(self.master.unwrap(blob, _glass_context(who, patient))))
        except (Rejected, ValueError, TypeError) as error:
            log.error("broken glass %r can't be read (%s); nobody sees anything through it", field, error)
            return None


def _glass_field(who: str, patient: str) -> str:
    return f"{who}|{patient}"  # a name holds no bar


def _glass_context(who: str, patient: str) -> bytes:
    return b"glass|" + _glass_field(who, patient).encode()
