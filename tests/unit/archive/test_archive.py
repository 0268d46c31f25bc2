"""The pure parts of the archive: lines, order, manifests, keys, times."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from stack.archive import ArchiveError
from stack.archive.engines.victorialogs import record_of_line
from stack.archive.failpoints import NAMES, failpoint
from stack.archive.format import id_filter, lines
from stack.archive.format.layout import further_part_key, hours, manifest_key, part_key
from stack.archive.format.manifest import Manifest, parse, sha256, signed
from stack.archive.format.ordering import difference, in_batches, in_order, sorted_batches
from stack.archive.search import Matcher, needle
from stack.archive.service import next_run
from stack.archive.storage.documents import (
    SignedDocument,
    UnsignedError,
    newest_first,
    signed_document,
)
from stack.archive.storage.ledger import Ledger
from stack.archive.storage.part_cache import NotCachedError, PartCache
from stack.archive.storage.parts import PartWriter, own_parts, read_lines
from stack.archive.storage.store import Access, Store
from stack.engines import Selection
from stack.settings import ROOT

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"))


def test_a_line_is_exactly_this() -> None:
    """The form that the documentation promises."""
    labels = lines.stream_key({"service_name": "a", "host": "", "environment": "dev"})
    assert (
        lines.encode(b"1769860800000000001", labels, {"level": "INFO", "a": "\u2028"}, 'x "y"')
        == (
            '{"ts_ns":"1769860800000000001","labels":{"environment":"dev","service_name":"a"},'
            '"metadata":{"a":"\u2028","level":"INFO"},"line":"x \\"y\\""}'
        ).encode()
    )


@given(st.integers(0, 10**19 - 1), TEXT, st.dictionaries(TEXT, TEXT), TEXT)
def test_a_line_is_read_back_as_it_was(
    ts_ns: int, label: str, metadata: dict[str, str], text: str
) -> None:
    """Whatever the text is, invalid UTF-8 included; it has no line break."""
    labels = lines.stream_key({"service_name": label})
    line = lines.encode(b"%019d" % ts_ns, labels, metadata, text)
    expected = {"service_name": label} if label else {}
    assert lines.decode(line) == (ts_ns, expected, metadata, text)
    assert b"\n" not in line
    assert (lines.timestamp(line), lines.stream(line)) == (ts_ns, labels)


def test_an_invalid_utf8_byte_stays_that_byte() -> None:
    """It is not replaced on the way through."""
    row = lines.load(b'{"_msg":"caf\xe9"}')
    assert b"caf\xe9" in lines.encode(b"%019d" % 1, b"{}", {}, row["_msg"])


@pytest.mark.parametrize("text", [b"{}", b"[]", b"null", b'{"ts_ns":"1","labels":{}}', b"no"])
def test_an_invalid_line_is_refused(text: bytes) -> None:
    """With a ValueError, whatever it is instead."""
    with pytest.raises(ValueError, match=r"expected|Expecting"):
        lines.decode(text)


@pytest.mark.parametrize(
    ("text", "ts_ns"),
    [
        ("2026-01-31T12:00:00Z", 1769860800000000000),
        ("2026-01-31T12:00:00.1Z", 1769860800100000000),
        ("2026-01-31T12:00:00.123456789Z", 1769860800123456789),
    ],
)
def test_nanoseconds_are_exact(text: str, ts_ns: int) -> None:
    """There and back."""
    assert lines.parse_ns(text) == ts_ns
    assert lines.parse_ns(lines.format_ns(ts_ns)) == ts_ns


def test_a_typed_record_comes_from_a_line() -> None:
    """As the engine itself would give it."""
    line = lines.encode(b"1769860800000001000", b"{}", {"user_id": "7", "mark": "7"}, "")
    assert record_of_line(line) == {
        "timestamp": "2026-01-31T12:00:00.000001Z",
        "message": "",
        "user_id": 7,
        "mark": "7",
    }


@given(st.lists(st.binary().filter(lambda text: b"\n" not in text)), st.integers(1, 40))
def test_lines_are_sorted_with_and_without_the_disk(held: list[bytes], run_bytes: int) -> None:
    """Runs on disk change nothing of the result."""
    assert list(in_order(held, Path("/tmp"), run_bytes)) == sorted(held)


@given(st.lists(st.binary().filter(lambda text: b"\n" not in text)))
def test_batches_hold_every_line_in_order(held: list[bytes]) -> None:
    """Of many runs, whatever they hold."""
    batches = list(sorted_batches(held * 20, Path("/tmp"), run_bytes=50))
    assert [line for batch in batches for line in batch] == sorted(held * 20)
    assert [line for batch in in_batches(sorted(held)) for line in batch] == sorted(held)
    assert all(batches)


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_the_difference_counts_equal_lines(ours: list[str], theirs: list[str]) -> None:
    """Of three equal ones of which one is known, two are left."""
    found = list(difference(_bytes(ours), _bytes(theirs)))
    assert found == _bytes(
        [t for t in "abcd" for _ in range(max(0, ours.count(t) - theirs.count(t)))]
    )


def test_at_most_sixteen_large_services_have_own_parts() -> None:
    """Each under way holds a compressor's memory."""
    streams = {f'{{"host":"{h}","service_name":"s{n}"}}': n for h in "ab" for n in range(40)}
    assert own_parts(streams, 70) == {"s35", "s36", "s37", "s38", "s39"}
    assert own_parts(streams, 1) == {f"s{n}" for n in range(24, 40)}


def test_keys_are_exactly_these() -> None:
    """Other programs find them by day and hour."""
    digest = "3f6c0a1d9b52" + "0" * 52
    assert part_key("t", NOON, 3, digest) == (
        "v1/tenant=t/dt=2026-01-31/hr=12/part-3-3f6c0a1d9b52.ndjson.zst"
    )
    assert manifest_key("t", 42) == "v1/tenant=t/manifests/00000042.json"
    assert list(hours(NOON + timedelta(minutes=5), NOON + timedelta(hours=2))) == [
        NOON,
        NOON + timedelta(hours=1),
    ]


def manifest() -> Manifest:
    return Manifest(
        tenant="t",
        sequence=0,
        previous_sha256="",
        kind="hour",
        start=NOON,
        until=NOON + timedelta(hours=1),
        complete=True,
        engine="victorialogs",
        engine_version="1",
        exporter_version="1",
        query="*",
        created=NOON,
        engine_records=0,
        archived_records=0,
        engine_streams={'{"service_name":"größe"}': 1},
        archived_streams={},
        parts=(),
    )


def test_a_manifest_is_read_back_and_any_changed_byte_is_noticed() -> None:
    """Every single byte, the signature's included."""
    document = signed(manifest(), KEY)
    assert parse(document, KEY.public_key()) == manifest()
    positions = random.Random(1).sample(range(len(document) - 1), 150)
    for position in positions:
        changed = bytearray(document)
        changed[position] ^= 1
        with pytest.raises(ArchiveError):
            parse(bytes(changed), KEY.public_key())
    with pytest.raises(ArchiveError, match="rewritten"):
        parse(document, Ed25519PrivateKey.generate().public_key())


def test_a_manifest_of_another_shape_is_refused_although_it_is_signed() -> None:
    """A later version's field is not passed over."""
    values = json.loads(signed(manifest(), KEY))
    for document in (b"", b"[]", b"{}", json.dumps({**values, "more": 1}).encode()):
        with pytest.raises(ArchiveError):
            parse(document, KEY.public_key())


@pytest.mark.parametrize(
    ("matches", "grep", "found"),
    [
        ({"request_id": "abc-1"}, "", b"abc-1"),
        ({"user_id": "7"}, "", b""),
        ({"name": 'a "b"'}, "", b""),
        ({"a": "longer text", "b": "short"}, "", b"longer text"),
        ({}, "ValueError", b"ValueError"),
        ({}, "Value.rror", b""),
    ],
)
def test_only_text_that_stands_in_every_line_is_looked_for(
    matches: dict[str, str], grep: str, found: bytes
) -> None:
    """Text that JSON would write otherwise, and patterns, are matched on records alone."""
    assert needle(Selection(NOON, NOON, matches=matches, grep=grep)) == found


def test_candidates_are_found_wherever_the_blocks_end() -> None:
    """Also when the text or a line is cut by the end of a block."""
    rows = [f'{{"n":{n},"id":"{"searched" if n % 3 == 0 else "other"}"}}' for n in range(30)]
    data = "".join(f"{row}\n" for row in rows).encode()
    matcher = Matcher(Selection(NOON, NOON, matches={"id": "searched"}))
    for size in (1, 7, 50, 10_000):
        blocks = [data[start : start + size] for start in range(0, len(data), size)]
        found = [line.decode() for line in matcher.candidates(blocks)]
        assert found == [row for row in rows if "searched" in row]


@pytest.mark.parametrize(
    ("now", "expected"),
    [("12:00", "12:05"), ("12:05", "13:05"), ("12:59", "13:05"), ("23:30", "00:05")],
)
def test_the_archiver_wakes_shortly_after_each_hour(now: str, expected: str) -> None:
    """When the hour has had its time to settle."""
    moment = datetime.fromisoformat(f"2026-01-31T{now}:00+00:00")
    found = next_run(moment, timedelta(hours=1), timedelta(minutes=5))
    assert f"{found:%H:%M}" == expected
    assert moment < found <= moment + timedelta(hours=1)


def test_an_unknown_failpoint_is_an_error() -> None:
    """A test that names one that is nowhere would prove nothing."""
    with pytest.raises(ValueError, match="not listed"):
        failpoint("nowhere")


def test_every_failpoint_is_somewhere_in_the_code() -> None:
    """One that nothing reaches would be tested by a run that is not killed."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "stack").rglob("*.py")]
    placed = {name for text in texts for name in re.findall(r'\bfailpoint\("([a-z-]+)"\)', text)}
    assert placed == NAMES


def _bytes(texts: list[str]) -> list[bytes]:
    return sorted(text.encode() for text in texts)


@given(st.sets(st.from_regex(r"\A[A-Za-z0-9_.:-]{1,40}\Z"), max_size=50))
def test_an_id_that_is_there_is_never_passed_over(ids: set[str]) -> None:
    """In the metadata, or in a line of JSON."""
    rows = [lines.encode(b"%019d" % 1, b"{}", {"request_id": value}, "") for value in ids]
    rows += [
        lines.encode(b"%019d" % 1, b"{}", {}, json.dumps({"trace_id": f"{value}x"}))
        for value in ids
    ]
    text = id_filter.build(id_filter.ids_in(b"\n".join(rows)))
    for value in ids:
        assert id_filter.may_hold(text, "request_id", value)
        assert id_filter.may_hold(text, "trace_id", f"{value}x")
        assert id_filter.may_hold(text, "user_id", "anything")


def test_few_parts_are_read_in_vain() -> None:
    """Of ids that are not there about one in a hundred is taken for one that is."""
    text = id_filter.build(f"r-{n}".encode() for n in range(2000))
    wrong = sum(id_filter.may_hold(text, "request_id", f"x-{n}") for n in range(5000))
    assert wrong < 150
    assert id_filter.may_hold("", "request_id", "x-1")
    assert id_filter.may_hold(text, "request_id", "not only letters")


def kept_copies(folder: Path, count: int) -> tuple[PartCache, list[str]]:
    """Copies of 10 bytes, one an hour from noon on, of which 25 bytes may stay."""
    copies = PartCache(folder, 25)
    keys = []
    for number in range(count):
        body = b"%010d" % number
        digest = hashlib.sha256(body).hexdigest()
        keys.append(part_key("t", NOON + timedelta(hours=number), 0, digest))
        copies.add(keys[-1], io.BytesIO(body))
    return copies, keys


def test_copies_are_of_the_window_of_known_parts_and_within_their_limit(tmp_path: Path) -> None:
    """What is left out is missed by its key."""
    copies, keys = kept_copies(tmp_path, 6)
    copies.tidy(set(keys) - {keys[3]}, NOON + timedelta(hours=1))
    left = [key for key in keys if (tmp_path / key[12:].replace("/", " ")).exists()]
    assert left == [keys[4], keys[5]]
    assert b"".join(copies.chunks(keys[5])) == b"0000000005"
    for key in keys[:4]:
        with pytest.raises(NotCachedError, match=key):
            list(copies.chunks(key))


def test_a_damaged_copy_is_refused(tmp_path: Path) -> None:
    """Comparing with it would archive records twice."""
    copies, [key] = kept_copies(tmp_path, 1)
    (tmp_path / key[12:].replace("/", " ")).write_bytes(b"0000000001")
    with pytest.raises(NotCachedError, match="damaged"):
        list(copies.chunks(key))


def test_a_part_whose_key_is_taken_has_the_next_number() -> None:
    """Of the hour; its hash stays in it."""
    key = part_key("t", NOON, 9, "3f6c0a1d9b52" + "0" * 52)
    assert further_part_key(key) == key.replace("part-9-", "part-10-")
    with pytest.raises(ValueError, match="expected the key of a part"):
        further_part_key(manifest_key("t", 1))


def test_equal_lines_make_equal_parts_however_they_came(tmp_path: Path) -> None:
    """A run after one that was killed finds the key of its part taken by the very same bytes."""
    rows = [
        lines.encode(b"%019d" % n, b'{"service_name":"a"}', {"n": "x" * (n % 900)}, f"{n * n}")
        for n in range(3000)
    ]
    keys = set()
    for size in (1, 7, 500, 3000):
        writer = PartWriter(tmp_path, 6)
        for start in range(0, len(rows), size):
            batch = rows[start : start + size]
            count = {lines.stream(rows[0]): len(batch)}
            writer.extend(batch, sum(map(len, batch)) + len(batch), count)
        part = writer.finish("t", NOON, 0)
        assert list(read_lines([writer.file.read()])) == rows
        assert part.records == 3000
        keys.add(part.key)
        writer.close()
    writer = PartWriter(tmp_path, 6)
    for row in rows:
        writer.write(row, lines.stream(row))
    keys.add(writer.finish("t", NOON, 0).key)
    writer.close()
    assert len(keys) == 1


def test_a_manifest_that_a_signed_one_names_needs_no_check_and_any_other_does() -> None:
    first = signed(manifest(), KEY)
    second = signed(
        manifest().model_copy(update={"sequence": 1, "previous_sha256": sha256(first)}), KEY
    )
    changed = first.replace(b"victorialogs", b"victorialogz", 1)
    checked = []

    def read(number: int, document: bytes, named: Collection[str]) -> SignedDocument:
        checked.append(sha256(document) not in named)
        return signed_document(str(number), document, KEY.public_key(), named)

    def kinds(old: bytes) -> list[type]:
        held = {0: [old], 1: [second]}
        found = newest_first(held, read, older=lambda number: [])
        return [type(item) for _, items in found for item in items]

    assert kinds(first) == [SignedDocument, SignedDocument]
    assert kinds(changed) == [SignedDocument, UnsignedError]
    assert checked == [True, False, True, True]


def test_another_tenants_manifest_is_refused() -> None:
    """The cache of a machine whose settings were changed holds such ones."""
    store = Store(Access("http://127.0.0.1:1", "r", "b", "", "", ""))
    document = signed_document("0", signed(manifest(), KEY), KEY.public_key())
    Ledger(store, "t", KEY).append(manifest_key("t", 0), document)
    with pytest.raises(ArchiveError, match="expected tenant u, got t"):
        Ledger(store, "u", KEY).append(manifest_key("u", 0), document)
