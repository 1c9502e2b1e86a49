"""What one statement may say: its form, its subjects, and the sentence that names what is not right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.evidence import bundles
from tests.evidence.sealing import WEIGHTS, Draft, Tree, measurement, statement
from unlearning.evidence import merkle, predicates
from unlearning.evidence.provenance import Dependency, GitCommit, Provenance, Sha256

OTHER = "0f" * 32
DRAFT, NOTHING = bundles.draft(4, "issued"), bundles.draft(4, "no_match")


def refused(tree: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is compared whole
        predicates.statement(tree)
    return str(caught.value)


@pytest.mark.parametrize("draft", [DRAFT, NOTHING])
def test_a_statement_is_read_with_its_predicate(draft: Draft) -> None:
    for tree in draft.statements[:-1]:  # the index is filled when it is sealed
        found = predicates.statement(tree)
        assert found.predicateType == tree["predicateType"]
        assert found.predicate.model_dump(by_alias=True) == tree["predicate"]
        assert [one.model_dump() for one in found.subject] == tree["subject"]
        named = {one["name"]: one["digest"]["sha256"] for one in tree["subject"]}
        assert found.digest == (named[WEIGHTS] if len(named) > 1 else next(iter(named.values())))


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (None, "the whole: Input should be a valid dictionary or instance of Statement"),
        ({**DRAFT.statements[0], "_type": "Statement"}, "_type: Input should be 'https://in-toto.io/Statement/v1'"),
        (
            {**DRAFT.statements[0], "predicate": []},
            "the whole: Input should be a valid dictionary or instance of SetCommitment",
        ),
        (
            {**DRAFT.statements[0], "subject": [{"digest": {"sha256": "A"}, "name": "dataset"}]},
            "subject.0.digest.sha256: String should match pattern '^[0-9a-f]{64}$'",
        ),
        (
            {**DRAFT.statements[0], "predicateType": "t" * 81},
            f"predicateType: '{'t' * 80}' is none of the eight",
        ),
    ],
)
def test_what_is_no_statement_is_told_where(tree: Any, sentence: str) -> None:
    assert refused(tree) == sentence


def committed(name: str, size: int, root: str, subject: str | None = None) -> Tree:
    said = {**DRAFT.of("set-commitment:1")[0], "set": name, "size": size}
    said["leaf"] = "key/1" if name == "dataset_keys" else "content/1"
    return statement("urn:unlearning:set-commitment:1", said, subject or name, root)


@pytest.mark.parametrize("name", ["dataset", "dataset_keys", "forget", "retain"])
def test_a_set_is_about_itself_and_empty_exactly_for_the_root_of_nothing(name: str) -> None:
    empty = merkle.EMPTY.hex()
    assert predicates.statement(committed(name, 0, empty)).predicate.size == 0
    assert predicates.statement(committed(name, 1, OTHER)).predicate.size == 1
    for size, root in ((0, OTHER), (1, empty)):
        assert refused(committed(name, size, root)) == "size: 0 exactly for the root of no leaves"
    assert refused(committed(name, 1, OTHER, WEIGHTS)) == f"subject: {name!r} alone is right"
    twice = committed(name, 1, OTHER)
    twice["subject"].append({"digest": {"sha256": OTHER}, "name": "more"})
    assert refused(twice) == f"subject: {name!r} alone is right"


@pytest.mark.parametrize("ending", ["test-result/v0.1", "svr/v0.2"])
def test_what_is_said_of_a_model_is_about_its_weights_alone(ending: str) -> None:
    tree = {**DRAFT.statement(ending), "subject": [{"digest": {"sha256": OTHER}, "name": "dataset"}]}
    assert refused(tree) == "subject: 'model.safetensors' alone is right"


def test_an_answer_without_a_match_is_about_the_data_set_and_so_is_its_index() -> None:
    def index(status: str, name: str) -> Tree:
        filled = {**NOTHING.index, "status": status, "payloads": [], "log": {"root": OTHER, "size": 0}}
        return statement("urn:unlearning:erasure-certificate:1", filled, name, OTHER)

    right = {"no_match": "dataset", "issued": WEIGHTS, "refused": WEIGHTS}
    for status, name in right.items():
        assert predicates.statement(index(status, name)).predicate.status == status
        wrong = WEIGHTS if name == "dataset" else "dataset"
        assert refused(index(status, wrong)) == f"subject: {name!r} alone is right"
    answer = {**NOTHING.statement("no-match:1"), "subject": [{"digest": {"sha256": OTHER}, "name": WEIGHTS}]}
    assert refused(answer) == "subject: 'dataset' alone is right"


def test_a_run_made_files_of_which_one_is_the_weights() -> None:
    tree = DRAFT.statement("provenance/v1")
    weights = {"digest": {"sha256": OTHER}, "name": WEIGHTS}
    log = {"digest": {"sha256": "1e" * 32}, "name": "log.jsonl"}
    for subject in ([weights], [weights, log], [log, weights]):
        assert predicates.statement({**tree, "subject": subject}).digest == OTHER
    told = "subject: model.safetensors is among the files of the checkpoint"
    assert refused({**tree, "subject": [log]}) == told
    for subject in ([weights, weights], [weights, log, log]):
        assert refused({**tree, "subject": subject}) == "subject: names are distinct"


def test_a_group_of_measurements_is_sorted_by_what_became_of_them() -> None:
    drawn = [
        measurement(f"{order}{status}{'b' if blocking else 'w'}", status, blocking)
        for order in "ba"
        for status in ("pass", "fail", "not_measured")
        for blocking in (True, False)
    ]
    told = predicates.sorted_tests([predicates.Measurement(**one) for one in drawn])
    assert told == (
        ["apassb", "apassw", "bpassb", "bpassw"],
        ["afailb", "anot_measuredb", "bfailb", "bnot_measuredb"],
        ["afailw", "anot_measuredw", "bfailw", "bnot_measuredw"],
    )
    assert predicates.result_of(["a"], []) == predicates.result_of(["a"], ["b"]) == "FAILED"
    assert (predicates.result_of([], ["b"]), predicates.result_of([], [])) == ("WARNED", "PASSED")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda said: said.update(result="PASSED" if said["result"] != "PASSED" else "FAILED"), "the result does not"),
        (lambda said: said["passedTests"].append("zzz"), "passedTests, failedTests and warnedTests do not follow"),
        (lambda said: said["warnedTests"].insert(0, "zzz"), "passedTests, failedTests and warnedTests do not follow"),
    ],
)
def test_a_group_follows_from_its_measurements(change: Callable[[Tree], Any], sentence: str) -> None:
    tree = bundles.draft(4, "issued").statement("test-result/v0.1")
    change(tree["predicate"])
    assert refused(tree).startswith(f"the whole: Value error, {sentence}")


def run() -> Provenance:
    found: Provenance = predicates.statement(DRAFT.statement("provenance/v1")).predicate
    return found


def test_a_dependency_is_found_by_its_name() -> None:
    definition = run().buildDefinition
    listed = [Dependency(digest=Sha256(sha256=f"{n:02x}" * 32), name=f"file {n}") for n in range(3)]
    listed.insert(1, Dependency(digest=GitCommit(gitCommit="ab" * 20), name="code"))
    definition = definition.model_copy(update={"resolvedDependencies": listed})
    assert [definition.sha256(f"file {n}") for n in range(3)] == [f"{n:02x}" * 32 for n in range(3)]
    assert definition.sha256("code") is None


@pytest.mark.parametrize(("name", "right"), [("a b", True), ("é", True), ("a\x1f", False), ("\n", False), ("~", True)])
def test_a_name_holds_no_control_character(name: str, right: bool) -> None:
    tree = statement("urn:unlearning:no-match:1", {**NOTHING.of("no-match:1")[0], "request_id": name}, "dataset", OTHER)
    if right:
        assert predicates.statement(tree).predicate.request_id == name
    else:
        assert refused(tree) == "request_id: Value error, holds a control character"
