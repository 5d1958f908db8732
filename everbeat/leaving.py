"""A process leaves while its certificate is still good, so that its next start renews it.

Certificates are renewed at a start alone (``security.identity: ensure_*``). One that ran out under a running process
would blank every twin behind it, so each process ends in time, gracefully, and whoever watches it (our supervisor,
systemd, a container engine) starts it again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from security.identity import RENEW_BEFORE, Identity

log = logging.getLogger(__name__)

LEAVE_BEFORE = RENEW_BEFORE - timedelta(days=1)  # by then a start does renew


def leave_in_time(*identities: Identity, leave: Callable[[], None] | None = None) -> threading.Timer | None:
    """Call `leave` (default: SIGTERM to this process) once, when the first certificate is due to be renewed.

    None where one is overdue already: this start could not renew it, so another could not either; that is logged.
    """
    first = min(identities, key=_end)
    left = _end(first) - LEAVE_BEFORE - datetime.now(UTC)
    if left <= timedelta():
        log.error(
            "expected the certificate of %s to be renewed at this start, got one that ends %s; renew it by hand "
            "(everbeat pki renew), or it will be refused from then on", first.name, _end(first),
        )  # fmt: skip
        return None

    def go() -> None:
        log.warning("the certificate of %s ends %s: leaving, so that the next start renews it", first.name, _end(first))
        (leave or _terminate)()

    timer = threading.Timer(left.total_seconds(), go)
    timer.daemon = True
    timer.start()
    return timer


def _end(identity: Identity) -> datetime:
    return identity.certificate.not_valid_after_utc


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
