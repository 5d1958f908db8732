"""Signing in at an identity provider: OpenID Connect, authorization code with PKCE, state and nonce (Authlib).

In order: the provider's own description of itself (its issuer must be the one that was configured); the person goes
there; she comes back with a code and the state that was given to this very browser, within ten minutes; the code
is exchanged; the ID token's signature (asymmetric algorithms only), issuer, audience, time and nonce are checked. Her
role comes from a claim, each time anew; which patients are hers is said here (``everbeat user grant``), never there.

What was begun (state, nonce, verifier) is kept by the browser, in a sealed cookie, as Authlib's own integrations keep
it in the session's: whoever only begins leaves nothing in our store. Of a sign-in that succeeded the state is kept for
ten minutes, so that it leads to one session.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from flask import Flask, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from security.errors import SecurityError
from security.people import ROLES, Account
from twin_engine.store.people import AccountExists
from twin_engine.store.signin import BEGUN_S, FREE_OF_ADDRESS, begun_facts, begun_token
from web.access import Access, People
from web.hall import network_of
from web.pages.frame import WARD, back_to
from web.pages.people import OIDC_START
from web.signin import SIGN_IN, Door, cookie

log = logging.getLogger(__name__)

CALLBACK = "/oidc/callback"
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # what only the provider can sign
LEEWAY_S, TIMEOUT_S, KNOWN_S = 60, 10.0, 3600.0
AGAIN_S = 5.0  # a provider that did not describe itself is asked again


class ProviderRefused(SecurityError):
    """What the identity provider said can't be trusted, or doesn't let this person in."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One provider. `roles`: value of the claim -> role here; the first that fits, in the table's order."""

    issuer: str
    client_id: str
    secret: str = field(repr=False)
    claim: str = "groups"
    roles: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises SecurityError where it can't be used safely."""
        parts = urlsplit(self.issuer)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
        if not local and parts.scheme != "https":
            raise SecurityError(f"expected an issuer with https://, got {self.issuer[:80]!r}; nobody can sign in there")
        wrong = sorted(role for role in self.roles.values() if role not in ROLES)
        if wrong or not self.roles or not self.client_id:
            raise SecurityError(f"expected a client id, and roles of {', '.join(ROLES)}, got {wrong}; nothing started")

    def role_of(self, claims: Mapping[str, Any]) -> str:
        """The role that the claim gives. Raises ProviderRefused where it gives none."""
        value = claims.get(self.claim)
        values = {value} if isinstance(value, str) else {v for v in value or () if isinstance(v, str)}
        for wanted, role in self.roles.items():
            if wanted in values:
                return role
        raise ProviderRefused(f"expected a role in the claim {self.claim!r}, got none that is mapped; not signed in")


class Provider:
    """The provider, as the web speaks to it. Raises ProviderRefused."""

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._described: tuple[float, dict[str, Any], KeySet] | None = None
        self._failed_s = float("-inf")

    def begin(self, callback: str) -> tuple[str, dict[str, str]]:
        """(where the person goes, what must be remembered until she is back)."""
        about, _ = self._description()
        kept = {"nonce": secrets.token_urlsafe(32), "verifier": secrets.token_urlsafe(48), "callback": callback}
        with self._session(callback) as session:
            url, state = session.create_authorization_url(
                about["authorization_endpoint"], nonce=kept["nonce"], code_verifier=kept["verifier"]
            )
        return url, kept | {"state": state}

    def finish(self, code: str, kept: Mapping[str, str]) -> dict[str, Any]:
        """The claims of who came back."""
        about, keys = self._description()
        try:
            with self._session(kept["callback"]) as session:
                token = session.fetch_token(
                    about["token_endpoint"], code=code, code_verifier=kept["verifier"], timeout=TIMEOUT_S
                )
            return self._claims(token, kept["nonce"], keys)
        except (AuthlibBaseError, JoseError, requests.RequestException, ValueError, KeyError, TypeError) as error:
            self._described = None  # its keys may have changed: ask again next time
            raise ProviderRefused(
                f"expected a signed identity of this sign-in, got {type(error).__name__}: {error}; nobody was let in"
            ) from error

    def _claims(self, token: Mapping[str, Any], nonce: str, keys: KeySet) -> dict[str, Any]:
        decoded = jwt.decode(str(token["id_token"]), keys, algorithms=ALGORITHMS)
        must = {
            "iss": {"essential": True, "value": self.settings.issuer},
            "aud": {"essential": True, "value": self.settings.client_id},
            "sub": {"essential": True}, "exp": {"essential": True}, "iat": {"essential": True},
            "nonce": {"essential": True, "value": nonce},
        }  # fmt: skip
        known = {"nonce": nonce, "client_id": self.settings.client_id, "access_token": token.get("access_token")}
        claims = CodeIDToken(decoded.claims, decoded.header, must, known)
        claims.validate(leeway=LEEWAY_S)
        return dict(claims)

    def _session(self, callback: str) -> Any:
        return OAuth2Session(self.settings.client_id, self.settings.secret, scope="openid profile",
                             redirect_uri=callback, code_challenge_method="S256")  # fmt: skip

    def _description(self) -> tuple[dict[str, Any], KeySet]:
        """What the provider says of itself, and its keys; asked once an hour."""
        with self._lock:
            if self._described is None or time.monotonic() - self._described[0] > KNOWN_S:
                if time.monotonic() - self._failed_s < AGAIN_S:  # strangers ask, too: one question at a time is enough
                    raise ProviderRefused(f"expected {self.settings.issuer} to answer, it did not just now")
                try:
                    about = _get(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                    if about["issuer"] != self.settings.issuer:
                        raise ValueError(f"it calls itself {about['issuer']!r:.80}")
                    keys = KeySet.import_key_set(_get(about["jwks_uri"]))  # type: ignore[arg-type]
                except (requests.RequestException, ValueError, KeyError, TypeError, JoseError) as error:
                    self._failed_s = time.monotonic()
                    raise ProviderRefused(
                        f"expected {self.settings.issuer} to describe itself, got {error}; nobody can sign in there"
                    ) from error
                self._described = (time.monotonic(), about, keys)
            return self._described[1], self._described[2]


def _get(url: str) -> dict[str, Any]:
    answer = requests.get(url, timeout=TIMEOUT_S, allow_redirects=False)
    answer.raise_for_status()
    return dict(answer.json())


def account_of(settings: OidcSettings, claims: Mapping[str, Any]) -> Account:
    """The account that this identity has here: its name is made from issuer and subject, so that no local account can
    be taken over by choosing a name there."""
    subject = f"{settings.issuer}|{claims['sub']}"
    name = f"oidc-{hashlib.sha256(subject.encode()).hexdigest()[:20]}"
    shown = str(claims.get("name") or claims.get("preferred_username") or "")
    printable = "".join(c for c in shown if c.isprintable() and c not in "<>()")[:24]
    return Account(name, settings.role_of(claims), printable)


def register(server: Flask, access: Access, door: Door, settings: OidcSettings | None) -> None:
    """The way there and back; nothing where there is no provider."""
    if settings is None:
        return
    access.identity_provider = True
    gate = _Way(access, door, Provider(settings))
    server.add_url_rule(OIDC_START, "oidc-start", gate.start, methods=["GET"])
    server.add_url_rule(CALLBACK, "oidc-callback", gate.back, methods=["GET"])


BEGUN = "__Host-everbeat-oidc"  # what was begun, sealed; SameSite=Lax: she comes back from another site
TO_MOST = 1024  # letters of the page she wanted; a cookie has 4,096 bytes


class _Way:
    """There and back."""

    def __init__(self, access: Access, door: Door, provider: Provider) -> None:
        self._access, self._door, self._provider = access, door, provider

    def start(self) -> Response:
        """Send her there, and remember that this browser was sent."""
        people = self._access.people
        if people is None:
            return _to(SIGN_IN)
        try:
            url, kept = self._provider.begin(request.host_url.rstrip("/") + CALLBACK)
        except ProviderRefused as error:
            log.warning("%s", error)
            return self._door.refuse("provider")
        to = back_to(request.args.get("next", ""))
        token = begun_token(people.accounts.master, kept | {"to": to if len(to) <= TO_MOST else WARD})
        answer = _to(url)
        cookie(answer, BEGUN, token, BEGUN_S, same_site="Lax")
        return answer

    def back(self) -> Response:
        """Let her in, or say that it did not work; why is in the log and the audit."""
        people = self._access.people
        kept = begun_facts(people.accounts.master, request.cookies.get(BEGUN, "")) if people else None
        state = request.args.get("state", "")[:256]
        try:
            if people is None or kept is None or not hmac.compare_digest(str(kept["state"]).encode(), state.encode()):
                # anybody can ask for this without end: not a word of it goes into a log that is kept for good
                log.info("expected a sign-in that this browser began, got another; nobody was let in")
                return self._door.refuse("provider")
            claims = self._provider.finish(request.args.get("code", "")[:4096], kept)
            if not people.begun.first(state):
                raise ProviderRefused("expected a sign-in that was not finished yet, got a copy; nobody was let in")
            account = self._known(account_of(self._provider.settings, claims))
        except SecurityError as error:
            log.warning("%s", error)
            self._tell(people, error)
            return self._door.refuse("provider")
        answer = self._door.let_in(account, str(kept["to"]), "oidc")
        # a cookie that is SameSite=Strict does not travel with a redirect that another site began: go on from here
        target = answer.headers.pop("Location")
        answer.status_code, answer.mimetype = 200, "text/html"
        answer.set_data(f'<!DOCTYPE html><meta http-equiv="refresh" content="0;url={target}"><title>Everbeat</title>')
        cookie(answer, BEGUN, "", 0, same_site="Lax")
        return answer

    def _tell(self, people: People | None, error: SecurityError) -> None:
        """In the audit log, as long as this address has not told it too often: beginning a sign-in is free for all."""
        address = network_of(request.remote_addr or "")
        if people and not people.attempts.crowd(f"oidc|{address}", "", FREE_OF_ADDRESS)[1]:
            return
        self._access.tell("person.sign-in-failed", "oidc", "", {"why": str(error)})

    def _known(self, account: Account) -> Account:
        """Her account here, made at the first time; the role as the provider says it today."""
        people = self._access.people
        if people is None:
            raise ProviderRefused("expected a store of accounts, got none; nobody was let in")
        found = people.accounts.find(account.name)
        if found is None:
            self._access.tell("person.added", "oidc", account.name, {"role": account.role})
            try:
                people.accounts.add(account)
            except AccountExists as error:  # one that can't be read, or a second tab
                raise ProviderRefused(str(error)) from error
            return account
        if found.disabled:
            raise ProviderRefused(f"expected an account that is not disabled, got {found.name!r}; not signed in")
        if (found.role, found.shown) != (account.role, account.shown):
            self._access.tell("person.changed", "oidc", found.name, {"role": account.role})
            people.accounts.change(found.name, lambda a: changed(a, role=account.role, shown=account.shown))
        return changed(found, role=account.role, shown=account.shown)


def _to(url: str) -> Response:
    return Response(status=303, headers={"Location": url})
