"""What may be set from outside, read once, then frozen. Every setting has a default that suits a laptop.

Environment variables, all optional:

=========================  =====================================================================================
EVERBEAT_STATE             where keys, certificates, Redis' files and the device's spool lie (0700);
                           default ``$XDG_STATE_HOME/everbeat`` or ``~/.local/state/everbeat``
EVERBEAT_REDIS_URL         a Redis of your own, ``rediss://host:port`` or ``unix:///path``; default: one is started
EVERBEAT_REDIS_PASSWORD    with EVERBEAT_REDIS_URL: the password of each process' own ACL user
EVERBEAT_IOTHUB            connection string of Azure IoT Hub's service policy; default: the local hub
EVERBEAT_EVENTHUB          connection string of its Event Hubs-compatible endpoint; default: the local hub
EVERBEAT_HUB_HOST          loopback address of the local hub; default 127.0.0.2
EVERBEAT_SHARDS            how many shards patients are spread over; default 1
EVERBEAT_SUITES            cipher suites that devices may seal with, of C, A and B; default C,A,B
EVERBEAT_WEIGHTS           a folder of weights that `everbeat train` wrote; default: the packaged ones
EVERBEAT_WITNESSES         who cosigns the logs' checkpoints: ``url+name+id+key``, with spaces between; default: nobody
EVERBEAT_REDIS_MEMORY_MB   how much memory our own Redis may use; default: half of the machine's, or its container's
=========================  =====================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from security.suite import STRONGEST_FIRST
from twin_engine.store.connection import RedisLogin
from twin_engine.store.errors import StoreDown
from twin_engine.store.server import RedisFiles, prepare

_LEAST_MEMORY_MB = 16


class SettingsError(ValueError):
    """A setting can't be used. The text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Paths below `state` are properties, so that nothing is typed twice."""

    state: Path
    redis_url: str | None = None
    redis_password: str | None = field(default=None, repr=False)
    iothub: str | None = field(default=None, repr=False)
    eventhub: str | None = field(default=None, repr=False)
    hub_host: str = "127.0.0.2"
    shards: int = 1
    weights: Path | None = None
    suites: tuple[str, ...] = STRONGEST_FIRST
    witnesses: str | None = None
    redis_memory_mb: int | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Settings as the environment gives them. Raises SettingsError."""
        base = env.get("XDG_STATE_HOME") or str(Path(env.get("HOME", "~")).expanduser() / ".local" / "state")
        state = Path(env.get("EVERBEAT_STATE") or Path(base) / "everbeat").expanduser().absolute()
        try:
            shards = int(env.get("EVERBEAT_SHARDS", "1"))
        except ValueError as error:
            raise SettingsError(f"expected a number in EVERBEAT_SHARDS, got {env['EVERBEAT_SHARDS']!r}") from error
        memory = env.get("EVERBEAT_REDIS_MEMORY_MB") or None
        if memory is not None and not (memory.isdecimal() and int(memory) >= _LEAST_MEMORY_MB):
            raise SettingsError(
                f"expected EVERBEAT_REDIS_MEMORY_MB of at least {_LEAST_MEMORY_MB}, got {memory!r}; nothing was started"
            )
        suites = tuple(name.strip() for name in (env.get("EVERBEAT_SUITES") or ",".join(STRONGEST_FIRST)).split(","))
        if not set(suites) <= set(STRONGEST_FIRST) or len(set(suites)) != len(suites):
            known = ", ".join(STRONGEST_FIRST)
            raise SettingsError(
                f"expected EVERBEAT_SUITES out of {known}, got {','.join(suites)!r}; nothing was started"
            )
        if not 1 <= shards <= 1024:
            raise SettingsError(f"expected EVERBEAT_SHARDS between 1 and 1024, got {shards}; nothing was started")
        if bool(env.get("EVERBEAT_IOTHUB")) != bool(env.get("EVERBEAT_EVENTHUB")):
            raise SettingsError("expected EVERBEAT_IOTHUB and EVERBEAT_EVENTHUB together, got one; nothing was started")
        if env.get("EVERBEAT_IOTHUB") and "HostName=" not in env["EVERBEAT_IOTHUB"]:
            raise SettingsError("expected HostName=... in EVERBEAT_IOTHUB, got none; nothing was started")
        if env.get("EVERBEAT_REDIS_URL") and not env["EVERBEAT_REDIS_URL"].startswith(("unix://", "rediss://")):
            raise SettingsError(
                "expected EVERBEAT_REDIS_URL with unix:// or rediss:// (TLS), got another; not connected"
            )
        return cls(
            state,
            env.get("EVERBEAT_REDIS_URL") or None,
            env.get("EVERBEAT_REDIS_PASSWORD") or None,
            env.get("EVERBEAT_IOTHUB") or None,
            env.get("EVERBEAT_EVENTHUB") or None,
            env.get("EVERBEAT_HUB_HOST", "127.0.0.2"),
            shards,
            Path(env["EVERBEAT_WEIGHTS"]).expanduser().absolute() if env.get("EVERBEAT_WEIGHTS") else None,
            suites,
            witnesses=env.get("EVERBEAT_WITNESSES") or None,
            redis_memory_mb=None if memory is None else int(memory),
        )

    def environment(self) -> dict[str, str]:
        """The variables that give another process these settings."""
        values = {
            "EVERBEAT_STATE": str(self.state),
            "EVERBEAT_REDIS_URL": self.redis_url,
            "EVERBEAT_REDIS_PASSWORD": self.redis_password,
            "EVERBEAT_IOTHUB": self.iothub,
            "EVERBEAT_EVENTHUB": self.eventhub,
            "EVERBEAT_HUB_HOST": self.hub_host,
            "EVERBEAT_SHARDS": str(self.shards),
            "EVERBEAT_SUITES": ",".join(self.suites),
            "EVERBEAT_WEIGHTS": str(self.weights) if self.weights else None,
            "EVERBEAT_WITNESSES": self.witnesses,
            "EVERBEAT_REDIS_MEMORY_MB": None if self.redis_memory_mb is None else str(self.redis_memory_mb),
        }
        return {name: value for name, value in values.items() if value}

    @property
    def local_hub(self) -> bool:
        """Whether the hub is ours, on this machine."""
        return self.iothub is None

    @property
    def ca(self) -> Path:
        """The certificate authority."""
        return self.state / "ca"

    @property
    def servers(self) -> Path:
        """Certificates of our servers and engines."""
        return self.state / "servers"

    @property
    def hub(self) -> Path:
        """The local hub's state and access key."""
        return self.state / "hub"

    @property
    def master_key(self) -> Path:
        """The key that wraps all others."""
        return self.state / "keys" / "master.key"

    @property
    def redis_files(self) -> RedisFiles:
        """Our own Redis, where none is configured."""
        return RedisFiles(self.state / "redis")

    def prepare_redis(self) -> RedisFiles:
        """Write what our own Redis needs to start."""
        megabytes = self.redis_memory_mb
        return prepare(self.redis_files.directory, None if megabytes is None else megabytes << 20)

    @property
    def notary(self) -> Path:
        """What the notary remembers of each log, its key, and the house's name in checkpoints."""
        return self.state / "notary"

    @property
    def witness(self) -> Path:
        """What the demo's witness remembers. A real one runs on a machine of somebody else."""
        return self.state / "witness"

    def device(self, device_id: str) -> Path:
        """What one device keeps: its identity and its spool."""
        return self.state / "devices" / device_id

    def redis_login(self, user: str) -> RedisLogin:
        """How a process reaches Redis. Raises StoreDown where that was never set up."""
        if self.redis_url is None:
            return self.redis_files.login(user)
        if self.redis_password is None:
            raise StoreDown("expected EVERBEAT_REDIS_PASSWORD beside EVERBEAT_REDIS_URL, got none; not connected")
        return RedisLogin(self.redis_url, user, self.redis_password)
