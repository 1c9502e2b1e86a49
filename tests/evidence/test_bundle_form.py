"""What a bundle is before anybody asks whether it holds: its lines, their order, and where it lies."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import bundles
from tests.evidence.forged_bundles import BREAKS
from tests.evidence.sealing import Draft, group, line, measurement, spelled
from unlearning import files
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, predicates
from unlearning.evidence.bundle import NotABundle
from unlearning.evidence.predicates import Promotion
from unlearning.workspace import BatchFolder, Workspace

OTHER = "0f" * 32
_LINES = "spec 6: 1 to 64 lines, each ended by one line feed, are right"
_JSON = "not JSON without fractions"
_WHOLE = [seed for seed in range(200) if bundles.draft(seed, "issued").of("purge:1")]


def problems(content: bytes) -> list[str]:
    with pytest.raises(NotABundle) as caught:
        bundle.read(content)
    assert str(caught.value) == caught.value.problems[0]
    return caught.value.problems


def drafted(status: str = "issued") -> Draft:
    return bundles.draft(_WHOLE[0] if status == "issued" else 4, status)


@pytest.mark.parametrize("status", ["issued", "refused", "no_match"])
def test_every_line_is_kept_as_it_was_written(status: str) -> None:
    draft = drafted(status)
    content = draft.sealed()
    made = bundle.read(content)
    assert b"".join(one.text + b"\n" for one in made.lines) == content
    assert [one.envelope.payload for one in made.lines] == [spelled(one) for one in draft.statements]
    assert [one.sha256 for one in made.lines] == [sha256(spelled(one)).hexdigest() for one in draft.statements]
    assert made.index.status == status
    assert made.roots == {
        one["predicate"]["set"]: (one["predicate"]["size"], bytes.fromhex(one["subject"][0]["digest"]["sha256"]))
        for one in draft.statements
        if "set-commitment" in one["predicateType"]
    }
    assert {name: one.size for name, one in made.sets.items()} == {name: one[0] for name, one in made.roots.items()}
    assert [one.group for one in made.tests] == [one["group"] for one in draft.of("test-result/v0.1")]


def test_what_is_not_there_is_none() -> None:
    made, nothing = bundle.read(drafted().sealed()), bundle.read(drafted("no_match").sealed())
    assert None not in (made.provenance, made.svr, made.promotion, made.purge, nothing.no_match)
    assert {nothing.provenance, nothing.svr, nothing.promotion, nothing.purge, made.no_match} == {None}
    assert isinstance(made._one(Promotion), Promotion)
    assert len(made._all(predicates.TestResult)) == len(made.tests) > 0
    assert nothing._all(predicates.TestResult) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", [_LINES]),
        (b"{}", [_LINES]),
        (b"x" * bundle.MOST_BYTES, [_LINES]),
        (b"x" * (bundle.MOST_BYTES + 1), ["spec 6: 4194305 bytes; at most 4194304 are right"]),
        (b"x\n" * 65, [_LINES]),
        (b"x\n" * 64, [f"spec 6: line {number}: {_JSON}" for number in range(1, 65)]),
        (b"\n", [f"spec 6: line 1: {_JSON}"]),
    ],
)
def test_a_file_of_another_form_is_none(content: bytes, told: list[str]) -> None:
    assert problems(content) == told


def test_every_wrong_line_is_told() -> None:
    draft = drafted()
    texts = draft.sealed().splitlines()
    texts[0], texts[2] = b"[]", line(b"{}", ["pipeline"])
    assert problems(b"".join(one + b"\n" for one in texts)) == [
        "spec 6: line 1: the whole: Input should be a valid dictionary or instance of _Line",
        "spec 6: line 3: _type: Field required",
    ]


def test_what_is_told_can_be_printed() -> None:
    error = NotABundle(["a\x1b[2J", "b"])
    assert error.problems[1:] == ["b"]
    assert "\x1b" not in str(error) == error.problems[0]
    assert str(error).startswith("a")


_ORDER = "spec 6: a bundle of status issued holds other statements, or in another order"
_ABOUT = "spec 6: the no-match statement is not about the root of the data set"
_SUBJECT = "spec 6: the index is not about the subject of the no-match statement"
SENTENCES = {
    "index_not_last": "spec 6: the last line is not the index",
    "line_twice": _ORDER,
    "statement_left_out": _ORDER,
    "statements_swapped": _ORDER,
    "purge_without_promotion": _ORDER,
    "group_twice": "spec 6: two test-results are of one group",
    "measurement_twice": "spec 6: two measurements have one name",
    "nothing_of_another_set": _ABOUT,
    "nothing_issued_about_another": _SUBJECT,
}


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_statements_stand_in_their_order_and_each_once(name: str) -> None:
    assert problems(BREAKS[name].broken(0).sealed()) == [SENTENCES[name]]


def test_a_status_has_statements_of_its_own() -> None:
    for status, other in (("issued", "no_match"), ("no_match", "issued"), ("no_match", "refused")):
        draft = drafted(status)
        draft.index["status"] = other
        draft.statements[-1]["subject"][0]["name"] = "dataset" if other == "no_match" else "model.safetensors"
        assert problems(draft.sealed())[0] == (
            f"spec 6: a bundle of status {other} holds other statements, or in another order"
        )


def _swapped_and_doubled(draft: Draft) -> None:
    tests = [one for one in draft.statements if "test-result" in one["predicateType"]]
    draft.statements[0], draft.statements[1] = draft.statements[1], draft.statements[0]
    doubled = {**tests[0], "predicate": group(tests[0]["predicate"]["group"], [measurement("a"), measurement("a")])}
    draft.statements.insert(draft.statements.index(tests[0]), doubled)


def test_all_that_is_wrong_with_the_order_is_told_at_once() -> None:
    draft = drafted()
    _swapped_and_doubled(draft)
    assert problems(draft.sealed()) == [_ORDER, SENTENCES["group_twice"], SENTENCES["measurement_twice"]]


def test_one_name_in_two_groups_is_one_name_twice() -> None:
    draft = drafted()
    tests = draft.of("test-result/v0.1")
    assert len(tests) > 1
    for one in tests:
        one.update(group(one["group"], [measurement("a")]))
    assert problems(draft.sealed()) == [SENTENCES["measurement_twice"]]


def test_a_no_match_statement_without_a_data_set_is_about_none() -> None:
    draft = drafted("no_match")
    draft.statements = [one for one in draft.statements if one["predicate"].get("set") != "dataset"]
    told = problems(draft.sealed())
    assert told == ["spec 6: a bundle of status no_match holds other statements, or in another order", _ABOUT]
    draft = drafted("no_match")
    draft.statement("no-match:1")["subject"][0]["digest"]["sha256"] = OTHER
    assert problems(draft.sealed()) == [_ABOUT, _SUBJECT]


@pytest.fixture
def batch(tmp_path: Path) -> BatchFolder:
    found = Workspace(tmp_path).batch("b1")
    found.certificate.parent.mkdir(parents=True)
    files.write_json(found.certificate, {"valid_for": {"model.safetensors": "ab" * 32}})
    return found


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


def test_it_lies_beside_the_assets_under_the_name_of_the_weights(batch: BatchFolder) -> None:
    assert bundle.file(batch) == batch.path / f"{'ab' * 32}.erasure.intoto.jsonl"


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"valid_for":{}}', b'{"valid_for":[]}'])
def test_a_batch_without_a_certificate_has_no_place_for_one(batch: BatchFolder, content: bytes | None) -> None:
    batch.certificate.unlink()
    if content is not None:
        batch.certificate.write_bytes(content)
    told = "batch b1 has no certificate that names its weights; certify it first"
    assert refused(lambda: bundle.file(batch)) == told
    assert refused(lambda: bundle.of_batch(batch)) == told


@pytest.mark.parametrize("weights", [None, 7, ["ab"]])
def test_weights_are_named_by_their_digest(batch: BatchFolder, weights: Any) -> None:
    files.write_json(batch.certificate, {"valid_for": {"model.safetensors": weights}})
    told = "batch b1 has no certificate that names its weights; certify it first"
    assert refused(lambda: bundle.file(batch)) == told


def test_the_bundle_of_a_batch_is_read_where_it_lies(batch: BatchFolder) -> None:
    path = bundle.file(batch)
    assert refused(lambda: bundle.of_batch(batch)) == (
        f"{path}: there is no bundle; `unlearning attest --batch b1` makes one"
    )
    path.write_bytes(b"x")
    assert refused(lambda: bundle.roots(batch)) == f"{path}: not a bundle ({_LINES}); restore it"
    content = drafted().sealed()
    path.write_bytes(content)
    assert bundle.of_batch(batch) == bundle.read(content)
    assert bundle.roots(batch) == bundle.read(content).roots
