"""Who may do what: roles as a table of rights, an account, and how long a session of each role lasts. Pure.

A right says *what*; for *whom* is said by an account's grants. Both are asked in one place, ``web/access.py``. An
administrator looks after accounts and sees no patient: whoever hands out grants can't use them unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from security.errors import Reason, Rejected, SecurityError

EVERYBODY = "*"  # a grant for every patient of the house
GLASS_MS = 60 * 60_000  # how long a broken glass stays open
MAX_GRANTS, MAX_SHOWN = 512, 40
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_MINUTE_S, _HOUR_S = 60, 3600


class Right(StrEnum):
    """What a role may do."""

    VIEW = "view"  # see a patient, live and stored
    ACT = "act"  # change her record, alarms, limits, device
    ADMIT = "admit"  # begin a stay; whoever does sees her
    COMMAND = "command"  # speak to her device
    EXPORT = "export"  # take her data away
    BREAK_GLASS = "break-glass"  # see a patient without a grant, with a reason, for a time
    AUDIT = "audit"  # read what everybody did
    PEOPLE = "people"  # accounts, roles, grants, sessions


R = Right
ROLES: Mapping[str, frozenset[Right]] = MappingProxyType({
    "admin": frozenset({R.PEOPLE, R.AUDIT}),
    "security-officer": frozenset({R.AUDIT}),
    "clinician": frozenset({R.VIEW, R.ACT, R.ADMIT, R.COMMAND, R.EXPORT, R.BREAK_GLASS}),
    "viewer": frozenset({R.VIEW}),
    "kiosk": frozenset({R.VIEW}),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a session lasts: without a touch of the person, and at most. `idle_s` 0: no limit."""

    idle_s: int
    most_s: int


# NIST SP 800-63B-4 2.2.3 (AAL2) asks for at most 24 h and 1 h; a screen on a wall is touched by nobody
PATIENCE: Mapping[str, Patience] = MappingProxyType({
    "admin": Patience(15 * _MINUTE_S, 8 * _HOUR_S),
    "security-officer": Patience(15 * _MINUTE_S, 8 * _HOUR_S),
    "clinician": Patience(30 * _MINUTE_S, 12 * _HOUR_S),
    "viewer": Patience(30 * _MINUTE_S, 12 * _HOUR_S),
    "kiosk": Patience(0, 30 * 24 * _HOUR_S),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """One person, or one screen. `password`: its argon2id hash, "" where an identity provider vouches.

    Raises SecurityError on a name, role or grant that could be taken for another.
    """

    name: str
    role: str
    shown: str = ""
    password: str = ""
    grants: frozenset[str] = frozenset()
    disabled: bool = False
    changed_ms: int = 0  # of the password: older sessions are over

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SecurityError(
                f"expected a name of 1 to 32 of a-z, 0-9, '.', '_' and '-', got {self.name[:80]!r}; nothing was changed"
            )
        if self.role not in ROLES:
            raise SecurityError(f"expected a role of {', '.join(ROLES)}, got {self.role[:80]!r}; nothing was changed")
        if len(self.grants) > MAX_GRANTS or any(not 0 < len(g) <= 64 for g in self.grants):
            raise SecurityError(f"expected at most {MAX_GRANTS} grants of patients' ids; nothing was changed")
        if len(self.shown) > MAX_SHOWN or not self.shown.isprintable():
            raise SecurityError(f"expected a printable name of at most {MAX_SHOWN} letters; nothing was changed")

    @property
    def called(self) -> str:
        """What records say: never only the name that a person gave herself. At most 64 letters."""
        return f"{self.shown[: 61 - len(self.name)]} ({self.name})" if self.shown else self.name

    @property
    def rights(self) -> frozenset[Right]:
        """What the role may do; a disabled account nothing."""
        return frozenset() if self.disabled else ROLES[self.role]

    def granted(self, *patients: str) -> Account:
        """With these patients as well."""
        return replace(self, grants=self.grants | set(patients))

    def ungranted(self, *patients: str) -> Account:
        """Without these patients."""
        return replace(self, grants=self.grants - set(patients))

    def to_json(self) -> str:
        """For the store, which seals it."""
        return json.dumps(asdict(self) | {"grants": sorted(self.grants)})

    @classmethod
    def from_json(cls, text: str) -> Account:
        """The inverse of :meth:`to_json`. Raises Rejected on anything else."""
        try:
            facts = json.loads(text)
            return cls(**facts | {"grants": frozenset(facts["grants"])})
        except (ValueError, TypeError, KeyError, SecurityError) as error:
            raise Rejected(Reason.MALFORMED, "an account", "another value", "nobody may sign in with it") from error
