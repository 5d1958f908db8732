"""How long a stolen device goes on after ``everbeat pki revoke``: until the hub has closed its socket and the engine
refuses.

Real processes (Redis, hub, engine, ingest), the unmodified device SDK, and messages put past the hub into the engine.

    python -m benchmarks.revocation [--times 3]
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.revocation_kit import Cut, running_house, steal_and_revoke

HOST = "127.0.1.31"
LIMIT_S = 5.0


def main() -> None:
    """Exit code 1 where one of the cuts came too late, or was none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=3)
    cuts = list[Cut]()
    for _ in range(parser.parse_args().times):
        with running_house(HOST) as house:
            cut = asyncio.run(steal_and_revoke(house))
        cuts.append(cut)
        print(
            f"seconds from the start of the command: list signed {cut.listed_s:.2f}, command over {cut.command_s:.2f}, "
            f"cut by the hub {cut.hub_s:.2f}, refused by the engine {cut.engine_s:.2f}; past the hub came and counted "
            f"before that {cut.stored_before} messages, after it {cut.stored_after}"
        )
    worst_s = max(cut.whole_s for cut in cuts)
    held = worst_s <= LIMIT_S and not any(cut.stored_after or cut.readmitted for cut in cuts)
    print(f"revoked certificate: live session cut within {worst_s:.2f} s (worst of {len(cuts)}, limit {LIMIT_S:g} s)")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
