"""The log at a million leaves: what an append costs, making a proof, verifying it, beside two other ways.

Beside it: the recursion of RFC 9162 as it is written (``security.merkle.inclusion_proof``, which needs every leaf), and
pymerkle, a kept Python library (``pip install everbeat[benchmark]``), at a size at which it ends in a reasonable time.

    python -m benchmarks.merkle [--leaves 1000000]
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from security.log import record_entry
from security.merkle import inclusion_proof, leaf_hash, verify_consistency, verify_inclusion
from security.tiles import Grower, Tree
from twin_engine.store import keys
from twin_engine.store.connection import connect
from twin_engine.store.errors import StoreDown
from twin_engine.store.ledger import Ledger, Line, StoredHashes
from twin_engine.store.server import prepare, start

PROOFS = 2000
PEER_LEAVES = 20_000
ROUNDS = 5
APPEND_US, VERIFY_US = 5.0, 25.0  # what was promised


class Lists:
    """Stored levels in memory."""

    def __init__(self) -> None:
        self.levels: dict[int, list[bytes]] = {0: [], 8: [], 16: []}

    def read(self, level: int, start: int, count: int) -> Sequence[bytes]:
        """Hashes of a level."""
        return self.levels[level][start : start + count]


def best_us(action: Callable[[], object], calls: int, rounds: int = ROUNDS) -> float:
    """Microseconds a call: the best of several rounds, since others use this machine too."""
    times = []
    for _ in range(rounds):
        start_s = time.perf_counter()
        action()
        times.append((time.perf_counter() - start_s) / calls * 1e6)
    return min(times)


def append_us(entries: list[bytes], lists: Lists) -> float:
    """Microseconds to hash an entry, to append it, and to note the inner nodes. Fills `lists`."""
    grower, leaves, times = Grower(), lists.levels[0], list[float]()
    for first in range(0, len(entries), 100_000):
        part = entries[first : first + 100_000]
        start_s = time.perf_counter()
        for entry in part:
            leaf = leaf_hash(entry)
            grower.append(leaf)
            leaves.append(leaf)
        for level, node in grower.take_completed():
            lists.levels[level].append(node)
        times.append((time.perf_counter() - start_s) / len(part) * 1e6)
    return min(times)


def ours(count: int) -> None:
    """Our numbers in memory, and the recursion beside them."""
    entries = [record_entry(f"17000{n:09d}-0", "esp32-01", 1, 0, n, bytes(32)) for n in range(count)]
    lists = Lists()
    appended = append_us(entries, lists)
    print(f"append                      {appended:9.2f} µs  {'<' if appended < APPEND_US else 'NOT <'} {APPEND_US:g}")
    dice, leaves = random.Random(0), lists.levels[0]
    asked = [dice.randrange(count) for _ in range(PROOFS)]
    head, proofs = Tree(lists).root(count), [Tree(lists).inclusion(i, count) for i in asked[:50]]
    cold = best_us(lambda: [Tree(lists).inclusion(i, count) for i in asked[:50]], 50)
    warm_tree = Tree(lists)
    near = [count // 2 + n for n in range(200)]
    warm = best_us(lambda: [warm_tree.inclusion(i, count) for i in near], len(near))
    print(f"inclusion proof, alone      {cold:9.2f} µs  (five tiles of 256 hashes)")
    print(f"inclusion proof, neighbours {warm:9.2f} µs  (a bundle of one device)")
    proofs = [warm_tree.inclusion(i, count) for i in asked]
    ok = [True]

    def verify() -> None:
        ok[0] &= all(verify_inclusion(leaves[i], i, count, p, head) for i, p in zip(asked, proofs, strict=True))

    verified = best_us(verify, len(asked))
    assert ok[0]  # noqa: S101 - a benchmark of proofs that fail would be none
    print(f"verify inclusion            {verified:9.2f} µs  {'<' if verified < VERIFY_US else 'NOT <'} {VERIFY_US:g}")
    sizes = [dice.randrange(1, count) for _ in range(200)]
    steps = [warm_tree.consistency(n, count) for n in sizes]
    roots = [warm_tree.root(n) for n in sizes]
    consistent = best_us(
        lambda: [verify_consistency(n, count, s, r, head) for n, s, r in zip(sizes, steps, roots, strict=True)], 200
    )
    print(f"verify consistency          {consistent:9.2f} µs")
    start_s = time.perf_counter()
    assert inclusion_proof(leaves, asked[0]) == proofs[0]  # noqa: S101 - the two ways must agree
    print(f"inclusion proof, recursion  {(time.perf_counter() - start_s) * 1e6:9.0f} µs  (reads every leaf)")


def stored(count: int) -> None:
    """The same from a real Redis, and what the log adds to a commit."""
    with tempfile.TemporaryDirectory(prefix="eb-") as home:
        files = prepare(Path(home))
        server = start(files)
        try:
            client = _wait(lambda: connect(files.login("engine")))
            with client.pipeline(transaction=False) as batch:
                for first in range(0, count, 10_000):
                    leaves = [leaf_hash(n.to_bytes(8, "big")) for n in range(first, min(count, first + 10_000))]
                    batch.rpush(keys.leaves("s0"), *leaves)
                    batch.execute()
            ledger = Ledger(client, "s0")
            start_s = time.perf_counter()
            ledger.load()
            print(f"Redis: nodes of {count:,} leaves made anew in {time.perf_counter() - start_s:.1f} s")
            hashes, dice = StoredHashes(client, "s0"), random.Random(1)
            asked = [dice.randrange(count) for _ in range(40)]
            cold = best_us(lambda: [Tree(hashes).inclusion(i, count) for i in asked], len(asked))
            print(f"Redis: inclusion proof      {cold:9.0f} µs")
            with_log, without = _commit_us(client, ledger, True), _commit_us(client, ledger, False)
            print(f"Redis: commit of 50 records {with_log:9.0f} µs with the log, {without:.0f} µs without")
        finally:
            server.kill()
            server.wait()


def _commit_us(client: object, ledger: Ledger, logged: bool) -> float:
    """Microseconds of one transaction (fsynced) with 50 records' lines and leaves, or with a cursor alone."""
    times = []
    for _ in range(20):
        now = time.time_ns() // 10**6
        lines = [Line(f"{now}-{n}", record_entry(f"{now}-{n}", "esp32-01", 1, 0, n, bytes(32))) for n in range(50)]
        start_s = time.perf_counter()
        with client.pipeline(transaction=True) as batch:  # type: ignore[attr-defined]
            if logged:
                ledger.append(batch, lines)
            batch.hset(keys.cursor("s0"), "id", lines[-1].record)
            replies = batch.execute()
        if logged:
            ledger.settle(replies)
        times.append((time.perf_counter() - start_s) * 1e6)
        time.sleep(0.002)
    return sorted(times)[len(times) // 2]


def peer() -> None:
    """pymerkle's numbers, where it is installed."""
    try:
        import pymerkle
    except ImportError:
        print("pymerkle is not installed: pip install everbeat[benchmark]")
        return
    tree, entries = pymerkle.InmemoryTree(algorithm="sha256"), [n.to_bytes(100, "big") for n in range(PEER_LEAVES)]
    appended = best_us(lambda: [tree.append_entry(entry) for entry in entries], PEER_LEAVES, 1)
    asked = [1 + n * 97 % PEER_LEAVES for n in range(20)]
    made = best_us(lambda: [tree.prove_inclusion(i, PEER_LEAVES) for i in asked], len(asked), 2)
    proofs, head = [tree.prove_inclusion(i, PEER_LEAVES) for i in asked], tree.get_root(PEER_LEAVES)
    bases = [tree.get_leaf(i) for i in asked]
    verified = best_us(
        lambda: [pymerkle.verify_inclusion(b, head, p) for b, p in zip(bases, proofs, strict=True)], len(asked)
    )
    print(f"pymerkle {pymerkle.__version__}, {PEER_LEAVES:,} leaves: append {appended:.1f} µs, proof {made:,.0f} µs, "
          f"verify {verified:.1f} µs")  # fmt: skip


def _wait(connected: Callable[[], object]) -> object:
    for _ in range(200):
        try:
            return connected()
        except StoreDown:
            time.sleep(0.02)
    raise SystemExit("expected Redis to start, it did not")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--leaves", type=int, default=1_000_000, help="size of the tree (default: a million)")
    count = parser.parse_args().leaves
    print(f"{count:,} leaves (SHA-256, RFC 9162)")
    ours(count)
    stored(count)
    peer()


if __name__ == "__main__":
    main()
