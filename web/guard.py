"""Security headers and the checks that every request passes first: whose host it names, and from which page it comes.

What is left to others: TLS (web/app.py), sign-in (web/signin.py), and who may see whom (web/access.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Flask, Response, request

from web.settings import WebSettings

MAX_BODY_BYTES = 1024 * 1024  # of a request; nobody has more to say
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a form of ours is sent with the origin "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), xr-spatial-tracking=(self)",
}
HSTS = "max-age=31536000; includeSubDomains"  # ASVS 5.0 3.4.1
_STATIC = ("/assets/", "/_dash-component-suites/")


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """The policy of DESIGN.md section 8. `script_hashes` are Dash's, of its own inline scripts."""
    return "; ".join(
        (
            "default-src 'self'",
            " ".join(("script-src 'self'", *script_hashes)),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def guard(server: Flask, settings: WebSettings, policy: Callable[[], str]) -> None:
    """Check each request and dress each answer of `server`; `policy` is asked for each, as Dash adds scripts late."""
    if server.config["MAX_CONTENT_LENGTH"] is None:
        server.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    @server.before_request
    def check() -> Response | None:
        if request.host not in settings.hosts:
            return _refusal(421, f"expected a request for {_listed(settings.hosts)}, got one for another host")
        origin = request.headers.get("Origin")
        if request.method not in SAFE_METHODS and origin is not None and origin not in settings.origins:
            return _refusal(403, "expected a command from this server's own page, got one from another origin")
        return None

    @server.after_request
    def dress(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy()
        response.headers.update(HEADERS)
        if settings.https:
            response.headers["Strict-Transport-Security"] = HSTS
        if not request.path.startswith(_STATIC):
            response.headers["Cache-Control"] = "no-store"
        return response


def _refusal(status: int, text: str) -> Response:
    return Response(f"{text}; it was refused\n", status, mimetype="text/plain")


def _listed(hosts: frozenset[str]) -> str:
    return " or ".join(sorted(hosts))
