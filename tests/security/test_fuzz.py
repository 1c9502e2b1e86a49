"""Whatever a parser is handed, it refuses in its own type and one sentence, or keeps what it reads again the same."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from tests.evidence import bundles, sealing
from tests.security import fuzz, fuzz_stored
from tests.security.fuzz import Counts
from tests.security.fuzz_door import Door
from unlearning import errors, files
from unlearning.data import index, manifest
from unlearning.errors import DataError, EvidenceError, ManifestError, ParamsError, RequestError, UnlearningError
from unlearning.evidence import bundle, lineage, proofs, trust
from unlearning.params import Params

OFTEN = ("request", "params", "manifest", "shard index", "bundle", "proof")  # 100 blocks of 1,000 each, in every run
SELDOM = tuple(name for name in fuzz.DOORS if name not in OFTEN)


@pytest.mark.parametrize("name", OFTEN)
def test_a_hundred_thousand_inputs(name: str) -> None:
    counts = fuzz.run(name, 0, 100)
    assert counts.findings == []
    assert counts.tried == counts.typed + counts.accepted == 100_000
    assert counts.typed > 0 < counts.accepted  # neither a wall nor an open door


@pytest.mark.parametrize("name", SELDOM)
def test_a_few_inputs(name: str) -> None:
    counts = fuzz.run(name, 0, 3)
    assert counts.findings == []
    assert counts.tried == counts.typed + counts.accepted == 3_000
    assert counts.typed > 0 < counts.accepted


def _door(read: Callable[[Any], bytes | None]) -> Door:
    return Door("toy", lambda rng: bytes([rng.randrange(4)]), read)


def _breaks(given: bytes) -> bytes:
    if given == b"\0":
        raise KeyError("no typed error")
    if given == b"\1":
        raise EvidenceError("the input: too small")
    return given


def _drifts(given: bytes) -> bytes:
    return given + b"."


def _mumbles(given: bytes) -> bytes:
    error = EvidenceError("")
    error.args = ("two\nlines",)
    raise error


@pytest.mark.parametrize(
    ("read", "said"),
    [(_breaks, "KeyError: 'no typed error'"), (_drifts, "read to something else"), (_mumbles, "no sentence: 'two")],
)
def test_a_parser_that_breaks_is_found(read: Callable[[Any], bytes | None], said: str) -> None:
    counts = fuzz.block(_door(read), 0)
    assert said in counts.findings[0]
    assert counts.tried == fuzz.BLOCK
    assert counts.crashed > 100


def test_rows_say_what_was_tried_now_and_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "DOORS", {"a": _door(lambda given: given)})
    monkeypatch.setattr(fuzz, "RESULTS", tmp_path / "fuzz.json")
    (row,) = fuzz.rows(1_500)
    assert (row["tried"], row["accepted"], row["other"], row["over_time"]) == (2_000, 2_000, 0, 0)
    files.write_json(tmp_path / "fuzz.json", {"a": {"tried": 7_000}})
    (row,) = fuzz.rows(1)
    assert (row["row"], row["tried"], row["over_time"]) == ("fuzz, a", 1_000, 7_000)


def test_a_slow_input_and_a_large_one_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "LONGEST_S", -1.0)
    monkeypatch.setattr(fuzz, "MOST_MEMORY", -1)
    counts = fuzz.block(_door(lambda given: given), 0)
    assert counts.crashed == fuzz.BLOCK + 1
    assert "took" in counts.findings[0]


def test_a_block_is_the_same_each_time() -> None:
    for door in fuzz.DOORS.values():
        first, again = ([repr(given) for _, given in zip(range(20), fuzz.inputs(door, 7), strict=False)] for _ in "12")
        assert first == again
        assert len(set(first)) > 10


def test_counts_add_up_over_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call goes on where the first one stopped; a parser that ends its process is a finding."""

    def dies(given: bytes) -> bytes:
        import os

        os._exit(9)

    def run(name: str, first: int, count: int) -> Counts:
        blocks.append((name, first, count))
        return Counts(tried=count * fuzz.BLOCK, typed=count * fuzz.BLOCK, seconds=0.5)

    blocks: list[tuple[str, int, int]] = []
    path = tmp_path / "fuzz.json"
    monkeypatch.setattr(fuzz, "DOORS", {"a": _door(_drifts), "b": _door(_drifts)})
    monkeypatch.setattr(fuzz, "_apart", run)
    fuzz.over_time(path, 2_000, 60.0, share=2)
    table = fuzz.over_time(path, 3_000, 60.0, share=1)
    assert blocks == [("a", 0, 2), ("b", 0, 2), ("a", 2, 1), ("b", 2, 1)]
    assert table == files.read_json(path)
    assert {name: (row["tried"], row["inputs_per_s"]) for name, row in table.items()} == {
        "a": (3_000, 3_000),
        "b": (3_000, 3_000),
    }
    monkeypatch.undo()
    monkeypatch.setattr(fuzz, "DOORS", {"a": _door(dies)})
    died = fuzz.over_time(tmp_path / "died.json", 1_000, 60.0, share=1)["a"]
    assert died["crashed"] == 1
    assert "the process ended with 9" in died["findings"][0]


# What the campaigns found, each with its input


def test_a_refusal_is_one_line_whatever_it_quotes() -> None:
    """Found: keys of a proof, a trust file, a lineage record and a column's name came back with their line breaks."""
    said = str(UnlearningError("key 'a\nb\x1b[2J\u202e\ud800' is none"))
    assert said == r"key 'a\nb\x1b[2J\u202e\ud800' is none"
    assert errors.printable("plain é 中") == "plain é 中"
    for read in (lambda t: proofs.read(t, "here"), lambda t: trust.read(t, "here")):
        with pytest.raises(EvidenceError) as refused:
            read(b'{"a\\nb":1}\n')
        assert str(refused.value).isprintable()
    with pytest.raises(bundle.NotABundle) as told:
        bundle.read(b'{"a\\nb":1}\n')
    assert all(problem.isprintable() for problem in told.value.problems)


def test_a_lineage_record_is_typed_to_the_last_field() -> None:
    """Found: a number for a hash was taken, and broke whoever showed its first letters."""
    record = json.loads(base64.b64decode(_RECORD))
    assert lineage.of(record, "here").outputs[0].bytes == 12
    for change in ({"sha256": 5}, {"outputs": [{"path": 1, "sha256": "a", "bytes": 1}]}, {"facts": None}, {"x": 1}):
        with pytest.raises(EvidenceError, match="not a lineage record"):
            lineage.of({**record, **change}, "here")
    for tree in ([], None, {**record, "schema": "lineage/2"}):
        with pytest.raises(EvidenceError, match="its schema is not lineage/1"):
            lineage.of(tree, "here")


_RECORD = base64.b64encode(
    json.dumps(
        {
            "schema": "lineage/1",
            "asset": "forget_manifest",
            "batch": "b1",
            "key": "k",
            "sha256": "s",
            "outputs": [{"path": "forget.parquet", "sha256": "a", "bytes": 12}],
            "inputs": {},
            "params_sha256": "p",
            "code": {"dirty": False},
            "made_at": "2026-11-01T09:30:00+00:00",
            "facts": {},
        }
    ).encode()
)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/b", "", "a\nb", 7])
def test_a_description_names_no_file_elsewhere(name: object) -> None:
    """Found: the purge joined the name of a shard to a path as dataset.json said it."""
    tree = {"schema": "dataset/1", "index_sha256": "ab" * 32, "images": 1, "splits": {}, "classes": {}}
    good = {"file": "train-000000.tar", "bytes": 1, "sha256": "ab" * 32}
    assert index.described({**tree, "shards": [good]}, "here")["shards"] == [good]
    with pytest.raises(DataError, match="shards"):
        index.described({**tree, "shards": [{**good, "file": name}]}, "here")


def test_a_manifest_of_text_that_is_none_is_refused() -> None:
    """Found: bytes that are no UTF-8 stood in a column of text, and broke whoever looked at it."""
    good = manifest.parse(pa.BufferReader(fuzz_stored.tables()[0]), "here")
    broken = pa.Array.from_buffers(pa.string(), 2, pa.array([b"\xff", b"k"]).buffers())
    table = good.set_column(good.column_names.index("subject"), good.schema.field("subject"), broken)
    with pytest.raises(ManifestError, match="not a Parquet manifest"):
        manifest.parse(pa.BufferReader(fuzz_stored.parquet(table, 1)), "here")


def test_a_footer_that_claims_a_million_parts_takes_no_memory() -> None:
    """Found: 1,880 bytes took 430 MiB before they were refused."""
    given = fuzz_stored.tables()[0]
    size = int.from_bytes(given[-8:-4], "little")
    # Thrift's compact protocol: the columns are a list of structs (0x19 0xfc), their count follows as a varint.
    claims = b"\x15\x04\x19\xfc\xc0\x84\x3d" + given[-8 - size :][8:size]
    with pytest.raises(ManifestError, match="Exceeded size limit"):
        manifest.parse(pa.BufferReader(b"PAR1" + claims + len(claims).to_bytes(4, "little") + b"PAR1"), "here")


def test_columns_are_judged_before_a_page_is_decoded() -> None:
    """A page of another file's types may be anything: it is not looked at."""
    table = pa.table({"key": ["a"], "x\nof many": [1]})
    with pytest.raises(ManifestError, match=r"columns are key, x\\nof many"):
        manifest.parse(pa.BufferReader(fuzz_stored.parquet(table, 1)), "here")


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (lambda: Params.of({"model": 1}, "here"), ParamsError),
        (lambda: Params.of({"model": {"name": "a"}}, "here", {"model.name.x": 1}), ParamsError),
        # Found: a value so deep was taken, and could not be written out again.
        (lambda: Params.of({}, "here", {"unlearn.method" + ".x" * 300: 1}), ParamsError),
    ],
)
def test_a_tree_is_refused_in_the_words_of_its_door(said: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^here: "):
        said()


def test_no_changed_bundle_holds_for_want_of_trying() -> None:
    """The campaign's own judge: of one payload the length is kept, and one digit differs."""
    draft = bundles.draft(3)
    line = draft.sealed().split(b"\n")[0]
    payload = json.loads(base64.b64decode(json.loads(line)["payload"]))
    payload["predicate"]["size"] += 1
    changed = {**json.loads(line), "payload": base64.b64encode(sealing.spelled(payload)).decode()}
    given = draft.sealed().replace(line, sealing.spelled(changed))
    assert bundle.read(given)
    door = fuzz.DOORS["bundle"]
    assert door.read(given) == given
    assert fuzz.ended(door, given, Counts()) is None
    rng = Random(1)
    assert any(door.read(door.make(rng)) is None for _ in range(20))


def test_a_request_of_half_a_pair_is_refused() -> None:
    with pytest.raises(RequestError):
        fuzz.DOORS["request"].read(('{"schema": "\\ud800"}', ".json"))
