"""Does what is stored agree with itself, and with what was remembered outside Redis? Reads, compares, changes nothing.

The rules, for the window of records that Redis still holds (:data:`keys.HISTORY_MS`, less a margin, since trimming is
approximate) and for the whole tree:

- every raw record that was folded has one line, and every line its raw record, unless an erasure left its mark;
- a line with an entry: it hashes to its leaf, names this record and its device, holds the hash of its ciphertext, and
  indices follow one another without a hole up to the last leaf;
- a line without one is an open record, an answer, a duplicate, one too many of its device, or a dead letter, and looks
  like it; a dead letter is there, with the same bytes; and none changes once it was seen;
- the record at the cursor is there;
- leaves give the stored inner nodes, and the roots that were signed, at each size that was signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from security.envelope import parse_header
from security.errors import Rejected
from security.keys import MasterKey
from security.log import RecordEntry, ciphertext_hash, read_record_entry
from security.merkle import leaf_hash
from security.tiles import TILE, Grower, tile_root
from twin_engine.store import keys
from twin_engine.store.connection import translated
from twin_engine.store.ledger import VERDICTS
from twin_engine.store.log import Extent, LogReader, order, stream

MARGIN_MS = 300_000  # before a record is trimmed it is no longer asked for
BUCKET_MS = 60_000
MAX_FINDINGS = 20  # more of them say no more
_LEAVES_READ = 64 * TILE
_Fields = Mapping[bytes, bytes]
_Letter = tuple[bytes, bytes]  # digest of a dead letter, SHA-256 of the body in it


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. `kind` is a short code; `where` a record's id, a leaf or a size."""

    kind: str
    where: str
    detail: str


@dataclass(slots=True)
class Seen:
    """What earlier looks remember, outside Redis, so that it can't be rewritten together with it.

    A record that is young is remembered by its own digest; those of a bucket that is over by one for all of them.
    """

    fresh: dict[str, str] = field(default_factory=dict)  # record -> digest, in order
    sealed: dict[int, str] = field(default_factory=dict)  # bucket -> digest of its records' digests
    upto: str = "0-0"
    index: int = -1  # of the last leaf whose record was looked at

    def forget(self, start: str) -> None:
        """What is not younger than `start`: Redis keeps it no longer."""
        self.fresh = {i: d for i, d in self.fresh.items() if order(i) > order(start)}
        self.sealed = {b: d for b, d in self.sealed.items() if order(before_bucket(b + 1)) > order(start)}

    def seal(self, cursor: str) -> None:
        """One digest for each bucket that no record can come to any more."""
        over = bucket_of(cursor)
        buckets: dict[int, list[str]] = {}
        for record in [r for r in self.fresh if bucket_of(r) < over]:
            buckets.setdefault(bucket_of(record), []).append(record + self.fresh.pop(record))
        self.sealed |= {b: _joined(parts) for b, parts in buckets.items()}


Digests = dict[int, tuple[bytes, bytes]]  # tile -> (SHA-256 of its leaves, its root): what need not be hashed again


def horizon(now_ms: int) -> str:
    """The id after which records are asked for: a bucket's border, younger than anything that may have been trimmed."""
    oldest = max(0, now_ms - keys.HISTORY_MS + MARGIN_MS)
    return before_bucket(-(-oldest // BUCKET_MS))


def before_bucket(bucket: int) -> str:
    """The last id before a bucket, whether it is anybody's or not."""
    return f"{bucket * BUCKET_MS - 1}-{2**64 - 1}" if bucket > 0 else "0-0"


def bucket_of(record: str) -> int:
    """Which stretch of time a record came in."""
    return int(record.partition("-")[0]) // BUCKET_MS


# ------------------------------------------------------------------------------------------------- the tree


def check_tree(reader: LogReader, extent: Extent, roots: Mapping[int, bytes], known: Digests) -> list[Finding]:
    """Every leaf and node, and the `roots` (by size) that were signed. `known` is read and filled."""
    grower, findings = Grower(), list[Finding]()
    for level, count in extent.nodes.items():
        if count != extent.size >> level:
            findings.append(Finding("nodes-missing", f"level {level}", f"{count} nodes, not {extent.size >> level}"))
    stored = {level: reader.read(level, 0, count) for level, count in extent.nodes.items() if count}
    borders, made = sorted(roots), dict[int, list[bytes]]()
    for start in range(0, extent.size, _LEAVES_READ):
        leaves = reader.read(0, start, min(_LEAVES_READ, extent.size - start))
        if len(leaves) < min(_LEAVES_READ, extent.size - start) or any(len(leaf) != 32 for leaf in leaves):
            return [*findings, Finding("leaves-missing", f"leaf {start}", "fewer leaves than there were, or no hashes")]
        for at in range(0, len(leaves), TILE):
            _grow(grower, leaves[at : at + TILE], (start + at) // TILE, borders, roots, known, findings)
        for level, node in grower.take_completed():
            made.setdefault(level, []).append(node)
    findings += [Finding("tree-shorter", f"size {n}", f"signed at {n} leaves, {extent.size} are left")
                 for n in borders if n > extent.size]  # fmt: skip
    for level, nodes in made.items():
        wrong = [i for i, (a, b) in enumerate(zip(nodes, stored.get(level, []), strict=False)) if a != b]
        findings += [
            Finding("node-changed", f"level {level}, node {i}", "not the hash of its leaves") for i in wrong[:4]
        ]
    return findings[:MAX_FINDINGS]


def _grow(
    grower: Grower, leaves: list[bytes], tile: int, borders: list[int], roots: Mapping[int, bytes], known: Digests,
    findings: list[Finding],
) -> None:  # fmt: skip
    """One tile of leaves; the roots that were signed in it are compared."""
    first, inside = tile * TILE, [n for n in borders if tile * TILE < n <= tile * TILE + len(leaves)]
    inner = [n for n in inside if n < first + TILE]
    if len(leaves) == TILE and not inner:
        grower.append_tile(_root_of(leaves, tile, known))
    else:
        for n, leaf in enumerate(leaves, first + 1):
            grower.append(leaf)
            if n in inner and grower.root() != roots[n]:
                findings.append(Finding("leaf-changed", f"size {n}", f"another root than was signed at {n} leaves"))
    if grower.size in roots and grower.size not in inner and grower.root() != roots[grower.size]:
        n = grower.size
        findings.append(Finding("leaf-changed", f"size {n}", f"another root than was signed at {n} leaves"))


def _root_of(leaves: list[bytes], tile: int, known: Digests) -> bytes:
    digest = hashlib.sha256(b"".join(leaves)).digest()
    held = known.get(tile)
    if held is None or held[0] != digest:
        held = known[tile] = (digest, tile_root(leaves))
    return held[1]


# ---------------------------------------------------------------------------------------------- the records


_Pair = tuple[str, _Fields | None, _Fields | None]  # id, raw record, line


class RecordCheck:
    """One walk over raw records and lines side by side, from `after` to the cursor, bucket by bucket.

    A bucket whose digest is the remembered one was looked at in detail when it was new, and is not again; `thorough`
    looks at each record in detail whatever is remembered.
    """

    def __init__(
        self, reader: LogReader, extent: Extent, master: MasterKey | None, seen: Seen, thorough: bool = False
    ) -> None:
        self._reader, self._extent, self._master, self._seen = reader, extent, master, seen
        self._thorough = thorough
        self.findings = list[Finding]()
        self._pending: list[tuple[str, int, bytes]] = []  # lines whose leaves are still to be compared
        self._index = -1  # of the last line with an entry
        self._last = ""
        self._digests: dict[str, str] = {}  # of records in buckets that are not sealed
        self._same = set[int]()  # buckets that are as they were sealed

    @property
    def _since(self) -> str:
        """After which record there are lines; from the first one on, where Redis was emptied and says nothing."""
        return self._extent.since or "0-0"

    def whole(self, now_ms: int) -> list[Finding]:
        """Everything that Redis still holds; also that nothing that was seen has gone or changed."""
        start = max(horizon(now_ms), self._since, key=order)
        self._seen.forget(start)
        self._walk(start)
        if len(self.findings) < MAX_FINDINGS:
            self._compare_seen(start)
            self._end(start)
        return self.findings

    def newest(self, now_ms: int) -> list[Finding]:
        """What was folded since the last look."""
        start = max(horizon(now_ms), self._since, self._seen.upto, key=order)
        if start == self._seen.upto:
            self._index = self._seen.index
        self._walk(start)
        if len(self.findings) < MAX_FINDINGS:
            self._end(start)
        return self.findings

    def _compare_seen(self, start: str) -> None:
        for record, digest in self._digests.items():
            if order(record) <= order(self._seen.upto) and record not in self._seen.fresh:
                self._say("record-inserted", record, "it was not here when its neighbours were looked at")
            elif self._seen.fresh.get(record, digest) != digest:
                self._say("record-changed", record, "it is another than when it was first seen")
        for record in self._seen.fresh:
            if record not in self._digests:
                self._say("record-missing", record, "it was here, and is gone with its line")
        for bucket in self._seen.sealed.keys() - self._same:
            span = f"{bucket * BUCKET_MS}-0 to {(bucket + 1) * BUCKET_MS}-0"
            self._say("record-changed", span, "the records of this minute are not those that were first seen")

    def _walk(self, start: str) -> None:
        client, upto = self._reader.client, self._extent.cursor
        raws, lines = stream(client, keys.raw(self._reader.name), start, upto), self._reader.lines(start, upto)
        self._letters = self._read_letters(start)
        for bucket, pairs in groupby(_side_by_side(raws, lines), key=lambda pair: bucket_of(pair[0])):
            self._bucket(bucket, list(pairs))
            if len(self.findings) >= MAX_FINDINGS:
                return
        self._compare_leaves()

    def _bucket(self, bucket: int, pairs: list[_Pair]) -> None:
        digests = {record: self._digest(record, raw, line) for record, raw, line in pairs}
        if bucket not in self._seen.sealed:
            self._digests |= digests
        elif _joined([record + digest for record, digest in digests.items()]) == self._seen.sealed[bucket]:
            self._same.add(bucket)
        detailed = self._thorough or bucket not in self._same
        for record, raw, line in pairs:
            self._last = record if raw is not None else self._last
            self._follow(record, line)
            if detailed:
                self._check(record, raw, line)
            if len(self._pending) >= TILE:
                self._compare_leaves()

    def _follow(self, record: str, line: _Fields | None) -> None:
        """Indices follow one another."""
        number = line.get(b"i", b"") if line is not None else b""
        if not number.isdigit():
            return
        index = int(number)
        if self._index >= 0 and index != self._index + 1:
            detail = f"after leaf {self._index} follows {index} ({record})"
            self._say("entry-missing", f"leaf {self._index + 1}", detail)
        self._index = index

    def _end(self, start: str) -> None:
        cursor, size = self._extent.cursor, self._extent.size
        if order(cursor) > order(start) and self._last != cursor and not self._erased(cursor):
            self._say("record-missing", cursor, "the last record that was folded is gone")
        if self._index >= 0 and self._index != size - 1:
            detail = f"{size} leaves, the last line is of leaf {self._index}"
            self._say("entry-missing", f"leaf {self._index + 1}", detail)
        self._seen.index = max(self._seen.index, self._index)
        for record, digest in self._digests.items():
            if order(record) > order(self._seen.upto):
                self._seen.fresh[record] = digest
        self._seen.upto = max(cursor, self._seen.upto, key=order)
        self._seen.seal(self._seen.upto)

    def _check(self, record: str, raw: _Fields | None, line: _Fields | None) -> None:
        if line is None:
            self._say("record-unlogged", record, "a raw record that was folded has no line")
        elif raw is None and not self._erased(record):
            self._say("record-missing", record, "its line is here, the raw record is not")
        elif b"e" in line:
            self._check_entry(record, raw, line)
        else:
            self._check_other(record, raw, line, self._letters.get(record))

    def _check_entry(self, record: str, raw: _Fields | None, line: _Fields) -> None:
        try:
            entry, index = read_record_entry(line[b"e"]), int(line[b"i"])
        except (Rejected, ValueError, KeyError):
            return self._say("entry-changed", record, "its line is no entry any more")
        if entry.stream_id != record:
            self._say("entry-changed", record, f"its entry names the record {entry.stream_id}")
        if raw is not None:
            same = raw.get(b"device") == entry.device.encode() and raw.get(b"k") == b"event"
            if not same or ciphertext_hash(raw.get(b"body", b"")) != entry.ciphertext_hash:
                self._say("record-changed", record, "the raw record is not the one that was logged")
            elif not _same_header(raw.get(b"body", b""), entry):
                self._say("record-changed", record, "the raw record's header is not the one that was logged")
        self._pending.append((record, index, leaf_hash(line[b"e"])))
        return None

    def _check_other(self, record: str, raw: _Fields | None, line: _Fields, letter: _Letter | None) -> None:
        verdict = line.get(b"v", b"").decode(errors="replace")
        if verdict not in VERDICTS:
            self._say("entry-changed", record, "its line is no verdict any more")
        elif raw is not None and not _fits(verdict, raw, letter):
            self._say("record-changed", record, f"the raw record is no '{verdict}', or its dead letter is another")

    def _digest(self, record: str, raw: _Fields | None, line: _Fields | None) -> str:
        held = _digests_of(raw, self._letters.get(record)) if raw is not None else self._erased(record)
        return hashlib.sha256((b"" if line is None else record_digest(line)) + held).hexdigest()[:32]

    def _compare_leaves(self) -> None:
        if not self._pending:
            return
        first = self._pending[0][1]
        stored = self._reader.read(0, first, self._pending[-1][1] - first + 1) if first >= 0 else []
        for record, index, leaf in self._pending:
            at = index - first
            if not 0 <= at < len(stored) or stored[at] != leaf:
                self._say("entry-changed", record, f"its entry does not hash to leaf {index}")
        self._pending.clear()

    def _read_letters(self, start: str) -> dict[str, _Letter]:
        """The dead letters of records after `start`, by the record's id; those of acts may have the same ids."""
        letters = stream(self._reader.client, keys.dead(self._reader.name), f"{order(start)[0]}-0")
        found: dict[str, _Letter] = {}
        for _, fields in letters:
            record = fields.get(b"id", b"").decode(errors="replace")
            if fields.get(b"device") or record not in found:
                found[record] = letter_of(fields)
        return found

    def _erased(self, record: str) -> bytes:
        """The digest of a record that an erasure destroyed, where it left its mark; empty where it did not."""
        if self._master is None:
            return b""
        with translated():
            mark = self._reader.client.hget(keys.erased(self._reader.name), record)
        try:
            return b"" if mark is None else self._master.unwrap(mark, _erasure_context(self._reader.name, record))
        except Rejected:
            return b""

    def _say(self, kind: str, where: str, detail: str) -> None:
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(Finding(kind, where, detail))


def record_digest(fields: _Fields) -> bytes:
    """SHA-256 over all fields of a stream's entry, in one form."""
    parts = [b"%d:%b%d:%b" % (len(name), name, len(value), value) for name, value in sorted(fields.items())]
    return hashlib.sha256(b"".join(parts)).digest()


def letter_of(fields: _Fields) -> tuple[bytes, bytes]:
    """What is compared of a dead letter."""
    return record_digest(fields), hashlib.sha256(fields.get(b"body", b"")).digest()


def erasure_mark(master: MasterKey, name: str, record: str, raw: _Fields, letter: _Letter | None) -> bytes:
    """What an erasure leaves in ``eb:{s0}:erased`` for a raw record that it destroys, and for its dead letter if any.

    Written in one transaction with their deletion. Only who has the master key can make one.
    """
    return master.wrap(_digests_of(raw, letter), _erasure_context(name, record))


def _erasure_context(name: str, record: str) -> bytes:
    return f"erased|{name}|{record}".encode()


def _digests_of(raw: _Fields, letter: _Letter | None) -> bytes:
    return record_digest(raw) + (letter[0] if letter is not None else b"")


def _joined(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _same_header(body: bytes, entry: RecordEntry) -> bool:
    """Whether what lies before the ciphertext is what was logged; the session's id is not in an entry."""
    try:
        header = parse_header(body)
    except Rejected:
        return False
    return (header.is_open, int(header.lane), header.seq) == (False, entry.lane, entry.seq)


def _fits(verdict: str, raw: _Fields, letter: _Letter | None) -> bool:
    body = raw.get(b"body", b"")
    match verdict:
        case "answer":
            return raw.get(b"k") == b"answer"
        case "dead":
            return letter is not None and letter[1] == hashlib.sha256(body[:65536]).digest()
        case "throttled":
            return raw.get(b"k") == b"event"
    try:
        return raw.get(b"k") == b"event" and parse_header(body).is_open == (verdict == "open")
    except Rejected:
        return False


def _side_by_side(raws: Iterator[tuple[bytes, _Fields]], lines: Iterator[tuple[bytes, _Fields]]) -> Iterator[_Pair]:
    """Two ordered streams by id: (id, raw record or None, line or None)."""
    raw, line = next(raws, None), next(lines, None)
    while raw is not None or line is not None:
        if raw is not None and line is not None and raw[0] == line[0]:
            yield line[0].decode(), raw[1], line[1]
            raw, line = next(raws, None), next(lines, None)
        elif raw is not None and (line is None or order(raw[0]) < order(line[0])):
            yield raw[0].decode(), raw[1], None
            raw = next(raws, None)
        elif line is not None:
            yield line[0].decode(), None, line[1]
            line = next(lines, None)
