"""Commands to a device and its answers, MACed under keys of the session: nobody between can make or swap one.

A command is JSON ``{sid, n, after, issued_ms, expires_ms, body, mac}``, an answer ``{sid, n, body, mac}`` beside its
status; `body` is JSON text, proven as it stands and parsed only then. What is MACed is a domain and deterministic CBOR
of all fields, with the device, the kind and the name, which travel beside them; an answer's holds its command's MAC
too. So neither can be taken for another's, another device's, another session's or a receipt's. Pure: whether a number
was seen and whether a command comes late is the device's memory (``device/orders.py``). See ADR 0019.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from security import canonical
from security.errors import Reason, Rejected, SecurityError
from security.receipts import MAX_MESSAGES
from security.wire import MAX_TIME_MS, SID_BYTES

METHOD, DESIRED = "method", "desired"  # kinds: carried out once and answered; a setting, which lasts
MAX_COMMANDS = 2**31  # of a session
MAX_BODY_BYTES, MAX_ANSWER_BYTES, MAX_COMMAND_NAME = 1024, 8192, 64
MAC_BYTES = 32
_COMMAND, _ANSWER = b"everbeat/1 command|", b"everbeat/1 answer|"
_COMMAND_FIELDS = frozenset({"sid", "n", "after", "issued_ms", "expires_ms", "body", "mac"})
_ANSWER_FIELDS = frozenset({"sid", "n", "body", "mac"})
_NOTHING_DONE, _NOTHING_COUNTED = "nothing was done", "the answer counts nothing"


@dataclass(frozen=True, slots=True)
class Command:
    """What a device is told to do. `after` is the last message of the session that the engine had proven; -1: none."""

    sid: bytes
    device: str
    kind: str
    name: str
    number: int
    after: int
    issued_ms: int  # the engine's clock; only the difference to `expires_ms` means anything to the device
    expires_ms: int
    body: str  # JSON
    mac: bytes = b""

    @property
    def life_ms(self) -> int:
        """How long it may be on its way."""
        return self.expires_ms - self.issued_ms

    @property
    def payload(self) -> dict[str, object]:
        """What is in `body`. Raises Rejected("malformed") where that is no JSON object."""
        return _object(self.body, _NOTHING_DONE)


def make_command(command: Command, key: bytes) -> dict[str, object]:
    """JSON-able and MACed. Raises SecurityError on a command that no device would take."""
    if not _plausible(command):
        raise SecurityError(f"expected a command in form and bounds, got {str(command)[:200]}; none was made")
    return {
        "sid": command.sid.hex(),
        "n": command.number,
        "after": command.after,
        "issued_ms": command.issued_ms,
        "expires_ms": command.expires_ms,
        "body": command.body,
        "mac": _command_mac(command, key).hex(),
    }


def named_session(data: object) -> bytes | None:
    """The session that a command or an answer names; None in anything else. Nothing is proven by it."""
    sid = data.get("sid") if isinstance(data, Mapping) else None
    return _hex(sid, SID_BYTES)


def check_command(data: object, kind: str, name: str, device: str, sid: bytes, key: bytes) -> Command:
    """The command in `data`. Raises Rejected unless it is the engine's word to this device in this very session."""
    fields = _fields(data, _COMMAND_FIELDS, "a command", _NOTHING_DONE)
    number, after, issued_ms, expires_ms = numbers = [fields[at] for at in ("n", "after", "issued_ms", "expires_ms")]
    mac, body = _hex(fields["mac"], MAC_BYTES), fields["body"]
    if mac is None or not isinstance(body, str) or not all(type(value) is int for value in numbers):
        raise Rejected(Reason.MALFORMED, "a command with fields of their form", "others", _NOTHING_DONE)
    if _hex(fields["sid"], SID_BYTES) != sid:
        got = f"one of session {str(fields['sid'])[:16]}"
        raise Rejected(Reason.UNKNOWN_SESSION, f"a command of session {sid.hex()}", got, _NOTHING_DONE)
    command = Command(sid, device, kind, name, number, after, issued_ms, expires_ms, body, mac)
    if not _plausible(command):
        raise Rejected(Reason.MALFORMED, "a command within its bounds", "one beyond them", _NOTHING_DONE)
    if not hmac.compare_digest(mac, _command_mac(command, key)):
        raise Rejected(Reason.FORGED, "a command made by the engine", "one with a wrong MAC", _NOTHING_DONE)
    return command


def make_answer(command: Command, status: int, payload: Mapping[str, object], key: bytes) -> dict[str, object]:
    """What the device says to a command that it could prove; goes beside `status`. Raises SecurityError if too long."""
    body = json.dumps(payload, allow_nan=False)
    if _size(body) > MAX_ANSWER_BYTES:
        raise SecurityError(f"expected an answer of at most {MAX_ANSWER_BYTES} bytes, got {len(body)}; none was made")
    mac = _answer_mac(command, status, body, key).hex()
    return {"sid": command.sid.hex(), "n": command.number, "body": body, "mac": mac}


def check_answer(data: object, status: object, command: Command, key: bytes) -> dict[str, object]:
    """What the device answered to `command`. Raises Rejected unless it made this answer to this very command."""
    fields = _fields(data, _ANSWER_FIELDS, "an answer", _NOTHING_COUNTED)
    mac, body, number = _hex(fields["mac"], MAC_BYTES), fields["body"], fields["n"]
    if mac is None or not isinstance(body, str) or not 0 <= _size(body) <= MAX_ANSWER_BYTES or type(status) is not int:
        raise Rejected(Reason.MALFORMED, "an answer with fields of their form", "others", _NOTHING_COUNTED)
    if _hex(fields["sid"], SID_BYTES) != command.sid or type(number) is not int or number != command.number:
        expected = f"an answer to command {command.number} of session {command.sid.hex()}"
        raise Rejected(Reason.UNKNOWN_SESSION, expected, "one to another", _NOTHING_COUNTED)
    if not hmac.compare_digest(mac, _answer_mac(command, status, body, key)):
        raise Rejected(Reason.FORGED, "an answer made by the device", "one with a wrong MAC", _NOTHING_COUNTED)
    return _object(body, _NOTHING_COUNTED)


def _plausible(c: Command) -> bool:
    times = 0 <= c.issued_ms < c.expires_ms < MAX_TIME_MS
    counts = 0 <= c.number < MAX_COMMANDS and -1 <= c.after < MAX_MESSAGES
    named = c.kind in (METHOD, DESIRED) and 0 < len(c.name) <= MAX_COMMAND_NAME and _size(c.name) > 0
    return len(c.sid) == SID_BYTES and times and counts and named and 0 < _size(c.body) <= MAX_BODY_BYTES


def _command_mac(c: Command, key: bytes) -> bytes:
    fields = [c.sid, c.device, c.kind, c.name, c.number, c.after, c.issued_ms, c.expires_ms, c.body]
    return hmac.digest(key, _COMMAND + canonical.encode(fields), "sha256")


def _answer_mac(c: Command, status: int, body: str, key: bytes) -> bytes:
    fields = [c.sid, c.device, c.kind, c.name, c.number, c.mac, status, body]
    return hmac.digest(key, _ANSWER + canonical.encode(fields), "sha256")


def _fields(data: object, names: frozenset[str], what: str, consequence: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or data.keys() != names:
        raise Rejected(Reason.MALFORMED, f"{what} of {len(names)} fields", "something else", consequence)
    return data


def _hex(text: object, count: int) -> bytes | None:
    """The bytes in `text`; None unless it is their one form: lower case, nothing between."""
    if not isinstance(text, str) or len(text) != 2 * count or set(text) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(text)


def _size(text: str) -> int:
    """Bytes of UTF-8; -1 where the text has no such form (half of a pair of surrogates)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def _object(body: str, consequence: str) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED, "a JSON object in the body", "something else", consequence) from error
    if not isinstance(value, dict):
        raise Rejected(Reason.MALFORMED, "a JSON object in the body", "another value", consequence)
    return value
