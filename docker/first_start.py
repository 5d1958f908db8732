"""What containers need before their processes start, in two steps. Both may run again at each start; they keep what is.

``redis``: Redis' configuration, users and passwords, for the Redis container. ``patient`` (needs that Redis): the CA,
the engine's, the hub's and the device's certificates, the hub's knowledge of the device, the demo's patient and the
assignment of the device to the patient. ``everbeat demo`` does all this by itself; this file is for processes that
start alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from everbeat.demo_patients import admit
from everbeat.patients import card_of
from everbeat.settings import Settings
from twin_engine.store.server import prepare


def redis(settings: Settings) -> None:
    """Write what the Redis container reads."""
    prepare(settings.redis_files.directory)


STEPS: dict[str, Callable[[Settings], None]] = {
    "redis": redis,
    "patient": lambda settings: admit(settings, [card_of(None)]),
}


def main() -> int:
    """0 where the step was done; 2 where there is no such step."""
    step = STEPS.get(sys.argv[1]) if len(sys.argv) == 2 else None
    if step is None:
        print(f"expected one of {', '.join(STEPS)}, got {sys.argv[1:]}; nothing was made", file=sys.stderr)
        return 2
    step(Settings.from_env())
    return 0


if __name__ == "__main__":
    sys.exit(main())
