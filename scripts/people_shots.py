"""The pages of people and of the log, for scripts.screenshots: sign-in, account, broken glass, audit, shield, alarm.

The demo's state directory is taken from EVERBEAT_STATE. Accounts are added to it, with random passwords that nobody
keeps, and at the end a leaf of its log is overwritten: use a state that you throw away.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from everbeat.settings import Settings
from twin_engine.store import keys
from twin_engine.store.connection import connect

PATIENCE_MS = 240_000
Shots = Callable[[Any, str], None]
REASON = "Found unresponsive on the stairs, her own nurse is off shift"


def shield(page: Any, shots: Shots) -> None:
    """In an open room: the panel behind a trace's shield."""
    page.locator(".eb-shield").first.click()
    page.wait_for_selector("[role=dialog]")
    time.sleep(3)
    shots(page, "room-shield")
    page.keyboard.press("Escape")


def people(page: Any, base: str, own: str, foreign: tuple[str, str], shots: Shots) -> None:
    """`own`: id of the patient whom the clinician is granted; `foreign`: id and record number of another one."""
    words = {name: _add(name, role) for name, role in (("dr.wren", "clinician"), ("o.finch", "security-officer"))}
    _everbeat("user", "grant", "dr.wren", own)
    time.sleep(3)  # from the first account on the page asks for one
    page.goto(base + "/")
    page.wait_for_selector("input[name=password]")
    shots(page, "sign-in")
    _sign_in(page, base, "dr.wren", "not her password at all")
    shots(page, "sign-in-wrong")
    _sign_in(page, base, "dr.wren", words["dr.wren"])
    page.wait_for_selector(".eb-wrow")
    time.sleep(5)
    shots(page, "ward-own-patients")
    page.goto(base + "/account")
    shots(page, "account")
    page.goto(base + "/break-glass")
    page.fill("input[name=number]", foreign[1])
    page.fill("input[name=reason]", REASON)
    shots(page, "break-glass")
    page.click("button.eb-danger")
    page.wait_for_selector(".eb-glass")
    page.wait_for_selector('[data-tile][data-live="true"]', timeout=PATIENCE_MS)
    time.sleep(5)
    shots(page, "room-through-glass")
    page.goto(base + f"/patient/{own}")
    page.wait_for_selector('[data-tile][data-live="true"]', timeout=PATIENCE_MS)
    connect(Settings.from_env().redis_login("keeper")).lset(keys.leaves("s0"), 3, bytes(32))
    page.wait_for_selector(".eb-shield-alarm", timeout=PATIENCE_MS)
    shots(page, "room-log-alarm")
    page.locator(".eb-who button, .eb-who input[type=submit]").first.click()
    _sign_in(page, base, "o.finch", words["o.finch"])
    page.goto(base + "/audit")
    shots(page, "audit")


def _sign_in(page: Any, base: str, name: str, password: str) -> None:
    page.goto(base + "/sign-in")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", password)
    page.click("button.eb-primary")
    page.wait_for_load_state()


def _add(name: str, role: str) -> str:
    password = secrets.token_urlsafe(24)
    shown = {"dr.wren": "Dr. Wren", "o.finch": "O. Finch"}[name]
    _everbeat("user", "add", name, "--role", role, "--shown", shown, "--password-stdin", said=password + "\n")
    return password


def _everbeat(*command: str, said: str = "") -> None:
    subprocess.run([sys.executable, "-m", "everbeat.cli", *command], input=said, text=True, check=True)
