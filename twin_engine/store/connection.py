"""One connection to Redis, and its failures in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis

from twin_engine.store.errors import NotPermitted, StoreCorrupt, StoreDown

Client = Any  # a redis.Redis that answers in bytes; its own annotations say "bytes or str" everywhere


@dataclass(frozen=True, slots=True)
class RedisLogin:
    """Where Redis is, and as whom to speak: a unix socket path or a ``rediss://`` URL, and an ACL user."""

    url: str  # unix:///path, rediss://host:port
    user: str
    password: str = field(repr=False)


def connect(login: RedisLogin) -> Client:
    """A client that has proven it can speak. Raises StoreDown with what to do where it can't."""
    client: Client = redis.Redis.from_url(login.url, username=login.user, password=login.password, protocol=3)
    try:
        client.ping()
    except (redis.AuthenticationError, redis.ResponseError) as error:
        client.close()
        text = f"expected Redis to know the user '{login.user}', got '{error}'; nothing can be read or written"
        raise StoreDown(text) from error
    except redis.RedisError as error:
        client.close()
        text = f"expected Redis at {login.url}, got '{error}'; start it, or set EVERBEAT_REDIS_URL"
        raise StoreDown(text) from error
    return client


@contextmanager
def translated() -> Iterator[None]:
    """Redis' errors as ours: StoreDown (wait, try again) for all that may pass, NotPermitted for an operator,
    StoreCorrupt for the rest."""
    try:
        yield
    except redis.OutOfMemoryError as error:
        text = "expected Redis to have room, but it uses all the memory it may (EVERBEAT_REDIS_MEMORY_MB, maxmemory)"
        raise StoreDown(f"{text}; nothing was written, and everything waits") from error
    except (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError) as error:
        raise StoreDown(f"expected Redis to answer, got '{error}'; nothing was written") from error
    except redis.BusyLoadingError as error:
        raise StoreDown("expected Redis to be ready, but it still loads its data; nothing was written") from error
    except redis.exceptions.NoPermissionError as error:
        raise NotPermitted(
            f"expected the Redis user of this process to be allowed what it does, got '{error}'; nothing was read or "
            "written: an operator must give it this version's rules (docs/operations.md, 'A Redis of your own')"
        ) from error
    except redis.ResponseError as error:
        if str(error).startswith(("MISCONF", "LOADING", "NOAUTH")):
            raise StoreDown(f"expected Redis to take the write, got '{error}'; nothing was written") from error
        raise StoreCorrupt(f"expected Redis' data to be ours, got '{error}'; stop and look") from error
