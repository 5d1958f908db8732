"""What the web needs to know to start. Values only; `everbeat.settings` reads them from wherever they are kept."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
# A hospital behind one address: at a change of shift some hundreds sign in within minutes, each for moments a stranger;
# after a restart all pages come back at once.
CONNECTIONS, STRANGERS, STRANGERS_EACH = 1000, 500, 300
HEAD_S, BODY_S = 10, 20


class BindRefused(ValueError):
    """The web was told to listen where it must not, or where it can't. It did not start."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Where to listen and how patient to be. Raises :class:`BindRefused` on an address that others can reach."""

    host: str = "127.0.0.1"
    port: int = 8050
    assets: Path = ASSETS
    body_url: str = "/assets/avatar.glb"
    block_ms: int = 500  # how long the follower waits for the next entry
    snapshot_s: float = 60.0  # how much of the past a new viewer is given
    silent_after_s: float = 3.0  # an engine that says nothing for this long is silent; it speaks every second
    window: int = 32  # messages on their way to one viewer that it has not confirmed
    person: str = "clinician (demo)"  # who acts and who exports while there is no account
    downtime_contact: str = ""  # whom to call when the twin is down; "" = "your hospital's number"
    patience_s: float = 5.0  # longest wait between two attempts to reach a store that is down

    sign_in: bool = False  # always; else as soon as there is an account
    names: tuple[str, ...] = ()  # host names under which people reach this server, besides `host`
    certificate: Path | None = None  # PEM chain and key: HTTPS, TLS 1.3
    key: Path | None = None

    demo: bool = False  # offer to unplug sensors and to forge a message, as nobody wants it at a bed

    connections: int = CONNECTIONS  # at once, sockets included; each is a thread, a socket two
    strangers: int = STRANGERS  # of these, who have not shown a session
    strangers_each: int = STRANGERS_EACH  # of these, from one address (IPv6: one /64)
    head_s: float = HEAD_S  # for the head of a request, TLS included
    body_s: float = BODY_S  # for its body

    def __post_init__(self) -> None:
        """Whoever reaches the port without signing in, or listens on the way, sees the patients: loopback only then."""
        if not (0 < self.strangers_each <= self.strangers <= self.connections and min(self.head_s, self.body_s) > 0):
            raise BindRefused(
                "expected bounds of connections with 0 < of an address <= before sign-in <= in all, and times above 0, "
                f"got {self.strangers_each}, {self.strangers}, {self.connections}; the web did not start"
            )
        if (self.certificate is None) != (self.key is None):
            raise BindRefused("expected a certificate and its key, got one of them; the web did not start")
        try:
            loopback = ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            loopback = self.host == "localhost"
        if not loopback and not (self.sign_in and self.https):
            lacks = " and ".join(("sign-in",) * (not self.sign_in) + ("HTTPS",) * (not self.https))
            raise BindRefused(
                f"expected a loopback address such as 127.0.0.1, got {self.host!r} without {lacks}; the web would show "
                "patients to the network, so it did not start: require sign-in, and give a certificate and its key"
            )

    @property
    def https(self) -> bool:
        """Whether we speak TLS."""
        return self.certificate is not None

    @property
    def hosts(self) -> frozenset[str]:
        """Host headers that are ours: anything else is a page that rebinds its name to this machine."""
        own = {f"{_bracketed(name)}{port}" for name in (self.host, *self.names) for port in self._ports}
        if self.host in ("127.0.0.1", "::1", "localhost"):
            own |= {f"localhost:{self.port}", f"127.0.0.1:{self.port}"}
        return frozenset(own)

    @property
    def _ports(self) -> tuple[str, ...]:
        return (f":{self.port}", "") if self.https and self.port == 443 else (f":{self.port}",)

    @property
    def origins(self) -> list[str]:
        """Origins whose pages may open a socket or send a command: this server's own."""
        return sorted(f"{'https' if self.https else 'http'}://{host}" for host in self.hosts)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
