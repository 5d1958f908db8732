"""A small OpenID provider on loopback, of Authlib's own parts: real HTTP, real codes, PKCE and signatures. `lie` makes
it give out one token that must not be believed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from flask import Flask, Response, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from werkzeug.serving import make_server

CLIENT, SECRET = "everbeat", "a client secret of the test"


@dataclass
class OpenIdProvider:
    """Signs in whoever comes as `subject`, at once."""

    port: int
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-17", "name": "Ada Wren", "groups": ["icu", "x"]})
    lie: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    sign_as: str = "own"
    kind: str = "RS256"
    calls_itself: str = ""

    def __post_init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
        self.other = RSAKey.generate_key(2048, {"kid": "k1"})
        self.codes: dict[str, dict[str, str]] = {}
        self.app = Flask("provider")
        self.app.add_url_rule("/.well-known/openid-configuration", "about", self.about)
        self.app.add_url_rule("/jwks", "jwks", lambda: jsonify(KeySet([self.key]).as_dict()))
        self.app.add_url_rule("/authorize", "authorize", self.authorize)
        self.app.add_url_rule("/token", "token", self.token, methods=["POST"])
        self._server = make_server("127.0.0.1", self.port, self.app, threaded=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def about(self) -> Response:
        names = ("authorize", "token", "jwks")
        ends = dict(zip(("authorization_endpoint", "token_endpoint", "jwks_uri"), names, strict=True))
        return jsonify({"issuer": self.calls_itself or self.issuer, "id_token_signing_alg_values_supported": ["RS256"],
                        **{name: f"{self.issuer}/{end}" for name, end in ends.items()}})  # fmt: skip

    def authorize(self) -> Any:
        args = request.args.to_dict()
        if args.get("code_challenge_method") != "S256" or args.get("response_type") != "code":
            return Response("expected PKCE", 400)
        code = f"code-{len(self.codes)}"
        self.codes[code] = args
        return redirect(f"{args['redirect_uri']}?{urlencode({'code': code, 'state': args['state']})}", 302)

    def token(self) -> Any:
        asked = self.codes.pop(request.form.get("code", ""), None)
        basic = request.authorization
        if asked is None or basic is None or (basic.username, basic.password) != (CLIENT, SECRET):
            return jsonify(error="invalid_grant"), 400
        if create_s256_code_challenge(request.form.get("code_verifier", "")) != asked["code_challenge"]:
            return jsonify(error="invalid_grant"), 400
        now_s = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now_s, "exp": now_s + 300, "nonce": asked["nonce"]}
        return jsonify(access_token="a", token_type="Bearer", id_token=self._signed(self.lie(claims | self.claims)))

    def _signed(self, claims: dict[str, Any]) -> str:
        key: Any = {"own": self.key, "other": self.other, "ec": None, "public": None}[self.sign_as]
        if self.sign_as == "public":  # the old trick: the public key as the secret of an HMAC
            key = OctKey.import_key(self.key.as_pem(private=False))
        if self.sign_as == "ec":
            key = ECKey.generate_key("P-256", {"kid": "k1"})
        return jwt.encode({"alg": self.kind, "kid": "k1"}, claims, key, algorithms=[self.kind])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
