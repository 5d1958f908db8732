"""The demo's patients: nobody, under a pseudonym made from the source, so that two sources never share a twin.

Of the person in a recording nothing is invented: year of birth and sex stay unknown. A simulated patient is made up
from her seed, card and body alike.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from twin_engine.registry import PatientCard

_BIRDS = (
    "WREN",
    "HERON",
    "SISKIN",
    "PLOVER",
    "DUNLIN",
    "AVOCET",
    "PETREL",
    "CURLEW",
    "MARTIN",
    "LINNET",
    "BITTERN",
    "SHRIKE",
)
_FIRST_NUMBER, _LAST_NUMBER = 10, 99
DEMO_PREFIX = "demo-"
FIRST_BED = 4
MAX_PATIENTS = 200
_YEAR = 2026  # whose ages are meant; a card keeps the year of birth
_NOT_IN_AN_ID = re.compile(r"[^a-z0-9]+")


class TooManyPatients(ValueError):
    """More patients were asked for than the demo has beds."""


@dataclass(frozen=True, slots=True)
class Source:
    """A patient of the demo, and what plays her: a recording, or a seed."""

    card: PatientCard
    replay: Path | None = None
    seed: int = 0

    @property
    def age(self) -> int:
        """In years; 0 where it is not known."""
        return _YEAR - self.card.birth_year if self.card.birth_year else 0


def sources_of(replays: Sequence[Path], patients: int | None) -> tuple[Source, ...]:
    """The first patients are recordings, the rest simulated; as many as there are recordings, at least one, by default.

    Raises TooManyPatients.
    """
    replays = list({path.resolve(): path for path in replays}.values())  # one file is one person, however often named
    count = max(1, len(replays)) if patients is None else patients
    if not 1 <= count <= MAX_PATIENTS:
        raise TooManyPatients(f"expected 1 to {MAX_PATIENTS} patients, got {count}; nothing was started")
    played = [Source(card_of(path, FIRST_BED + i), path) for i, path in enumerate(replays[:count])]
    made_up = [
        Source(simulated(seed, FIRST_BED + len(played) + seed), None, seed) for seed in range(count - len(played))
    ]
    return tuple(_named_apart([*played, *made_up]))


def _named_apart(sources: Sequence[Source]) -> Iterator[Source]:
    """No pseudonym twice: who comes later takes the next name that is free, the same one at every start."""
    taken = set[str]()
    for source in sources:
        name = source.card.pseudonym
        while name in taken:
            name = _next(name)
        taken.add(name)
        yield replace(source, card=replace(source.card, pseudonym=name))


def _next(name: str) -> str:
    """The name after this one; all of them come before one comes again."""
    bird, _, number = name.partition("-")
    if int(number) < _LAST_NUMBER:
        return f"{bird}-{int(number) + 1}"
    return f"{_BIRDS[(_BIRDS.index(bird) + 1) % len(_BIRDS)]}-{_FIRST_NUMBER}"


def card_of(replay: Path | None, bed: int = FIRST_BED) -> PatientCard:
    """The first simulated patient, or the unknown person of a recording."""
    if replay is None:
        return simulated(0, bed)
    name = _NOT_IN_AN_ID.sub("-", replay.name.split(".")[0].lower()).strip("-")[:40] or "recording"
    mark = zlib.crc32(str(replay.resolve()).encode())
    name = f"{name}-{mark & 0xFFFF:04x}"  # two files of one name are two people
    return PatientCard(
        f"{DEMO_PREFIX}{name}", _pseudonym(mark), 0, f"Bed {bed}", f"esp32-{name}", number=record_number(mark)
    )


def simulated(seed: int, bed: int) -> PatientCard:
    """A made-up person: the same seed, the same person."""
    name = "simulated" if seed == 0 else f"simulated-{seed}"
    mark = zlib.crc32(f"everbeat {name}".encode())
    place, device, number = f"Bed {bed}", f"esp32-{name}", record_number(mark)
    if seed == 0:
        return PatientCard(f"{DEMO_PREFIX}{name}", "KESTREL-17", 1984, place, device, "female", 168.0, 64.0, number)
    rng = np.random.default_rng([seed, 17])
    sex = "female" if rng.random() < 0.5 else "male"
    height_cm = round(float(rng.normal(165 if sex == "female" else 178, 7)))
    weight_kg = round(float(np.clip(rng.normal(25.5, 3.5), 18, 40)) * (height_cm / 100) ** 2)
    born = _YEAR - int(rng.integers(19, 90))
    return PatientCard(
        f"{DEMO_PREFIX}{name}", _pseudonym(mark), born, place, device, sex, float(height_cm), float(weight_kg), number
    )


def record_number(mark: int) -> str:
    """As on a wristband: seven digits and a check digit (Luhn), so that one wrong digit is no other patient's."""
    digits = [int(digit) for digit in f"{mark % 10**7:07d}"]
    doubled = [digit * 2 - 9 * (digit > 4) if i % 2 == 0 else digit for i, digit in enumerate(digits)]
    text = "".join(map(str, digits)) + str(-sum(doubled) % 10)
    return f"{text[:4]}-{text[4:]}"


def _pseudonym(mark: int) -> str:
    return f"{_BIRDS[mark % len(_BIRDS)]}-{mark // 64 % (_LAST_NUMBER - _FIRST_NUMBER + 1) + _FIRST_NUMBER}"
