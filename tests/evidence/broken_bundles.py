"""Bundles in which one thing is wrong and everything else is signed anew: by name, with the rule that it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.evidence import bundles
from tests.evidence.sealing import Draft, Tree, group, measurement
from unlearning.evidence import merkle

LATE = "2027-05-05T05:05:05+00:00"
OTHER = "0f" * 32


@dataclass(frozen=True)
class Break:
    """One change of a draft, and what it breaks."""

    rule: str  # how every problem that follows from it begins
    change: Callable[[Draft], Any]
    status: str = "issued"
    needs: tuple[str, ...] = ()  # ends of predicate types that must be there

    def broken(self, seed: int) -> Draft:
        """A draft with the change in it."""
        rng = Random(f"broken {seed}")
        while True:
            draft = bundles.draft(rng.randrange(2**32), self.status)
            if all(draft.of(one) for one in self.needs):
                self.change(draft)
                return draft


BREAKS: dict[str, Break] = {}


def breaks(
    rule: str, status: str = "issued", *needs: str
) -> Callable[[Callable[[Draft], Any]], Callable[[Draft], Any]]:
    def keep(change: Callable[[Draft], Any]) -> Callable[[Draft], Any]:
        BREAKS[change.__name__] = Break(rule, change, status, needs)
        return change

    return keep


def _put(rule: str, name: str, ending: str, status: str = "issued", **fields: Any) -> None:
    """A break that only puts other values into a predicate."""
    BREAKS[name] = Break(rule, lambda draft: draft.of(ending)[0].update(fields), status, (ending,))


def _late(rule: str, name: str, change: Callable[[Tree], Any], status: str = "issued") -> None:
    """A break of the index, after its lists were filled."""
    BREAKS[name] = Break(rule, lambda draft: draft.late.append(change), status)


_late("spec 7.1", "payload_left_out", lambda index: index["payloads"].pop())
_late("spec 7.1", "payload_swapped", lambda index: index["payloads"].reverse())
_late("spec 7.1", "payload_of_another", lambda index: index["payloads"].__setitem__(0, OTHER))
_late("spec 7.9", "log_too_short", lambda index: index["log"].update(size=len(index["payloads"]) - 1))
_late("spec 7.9", "first_supersedes", lambda index: index.update(sequence=0, supersedes=OTHER))
_late("spec 7.9", "later_supersedes_nothing", lambda index: index.update(sequence=3, supersedes=None))
_late("spec 7.10", "nobody_asked", lambda index: index.update(requests=[]))
_late("spec 7.10", "requests_unsorted", lambda index: index.update(requests=["b", "a"]))
_late("spec 7.10", "request_twice", lambda index: index.update(requests=["a", "a"]))
_late("spec 7.10", "all_claimed", lambda index: index.update(not_claimed=[]))
_late("spec 7.10", "nothing_for_another", lambda index: index.update(requests=["another"]), "no_match")
_late("spec 7.6", "goal_missing", lambda index: index.update(goal=None))
_late("spec 7.6", "goal_of_nothing", lambda index: index.update(goal="never_seen"), "no_match")
_late("spec 7.6", "certificate_of_nothing", lambda index: index.update(certificate_sha256=OTHER), "no_match")
_late("spec 7.6", "refused_with_a_level", lambda index: index.update(claim_level="C1"), "refused")
_late("spec 7.6", "nothing_with_a_level", lambda index: index.update(claim_level="C2"), "no_match")
_late("spec 6", "index_field_more", lambda index: index.update(more=1))
_late("spec 6", "index_field_less", lambda index: index.pop("cut_off"))
_late("spec 6", "sequence_true", lambda index: index.update(sequence=True, supersedes=OTHER))
_late("spec 6", "sequence_negative", lambda index: index.update(sequence=-1, supersedes=OTHER))
_late("spec 6", "level_unknown", lambda index: index.update(claim_level="C0"))
_late("spec 6", "issued_no_day", lambda index: index.update(issued_at="2026-09-31T00:00:00+00:00"))
_late("spec 6", "issued_zulu", lambda index: index.update(issued_at="2026-09-30T00:00:00Z"))
_late("spec 6", "request_too_long", lambda index: index.update(requests=["x" * 201]))
_late("spec 6", "request_with_tab", lambda index: index.update(requests=["a\tb"]))
_late("spec 6", "batch_upper_case", lambda index: index.update(batch="Batch-1"))
_late("spec 6", "batch_newline", lambda index: index.update(batch="batch\n"))
_put("spec 7.3", "other_data_set", "set-commitment:1", dataset="letters")
_put("spec 7.3", "other_data_set_version", "set-commitment:1", dataset_sha256=OTHER)
_put("spec 7.3", "nothing_in_another_data_set", "no-match:1", "no_match", dataset="letters")
_put("spec 6", "no_selector", "no-match:1", "no_match", selectors=[])
_put("spec 6", "no_measurement", "test-result/v0.1", "refused", measurements=[])
_put("spec 6", "no_location", "purge:1", locations=[])
_put("spec 6", "empty_but_of_some_root", "set-commitment:1", size=0)
_put("spec 7.3", "other_key", "set-commitment:1", key_id=OTHER)
_put("spec 6", "leaf_of_a_key", "set-commitment:1", leaf="key/1")
_put("spec 6", "hex_upper_case", "set-commitment:1", key_id="AB" * 32)
_put("spec 6", "hex_short", "set-commitment:1", key_id="ab" * 31)
_put("spec 6", "hex_newline", "set-commitment:1", key_id="ab" * 32 + "\n")
_put("spec 6", "count_negative", "set-commitment:1", counts={"rows": -1})
_put("spec 6", "count_named_oddly", "set-commitment:1", counts={"Rows": 1})
_put("spec 6", "size_true", "set-commitment:1", size=True)
_put("spec 6", "size_string", "set-commitment:1", size="7")
_put("spec 6", "tree_other", "set-commitment:1", tree="sha256")
_put("spec 6", "result_better", "test-result/v0.1", "refused", result="PASSED")
_put("spec 6", "properties_unsorted", "svr/v0.2", properties=["GATES_PASSED", "FORGET_C1"])
_put("spec 6", "property_twice", "svr/v0.2", properties=["FORGET_C1", "FORGET_C1", "GATES_PASSED"])
_put(
    "spec 7.5",
    "gates_not_passed",
    "svr/v0.2",
    properties=[],
)
_put("spec 7.5", "level_not_decided", "svr/v0.2", properties=["FORGET_C0", "GATES_PASSED"])
_put("spec 7.5", "refused_gates_passed", "svr/v0.2", "refused", properties=["GATES_PASSED"])
_put("spec 7.5", "refused_forgets", "svr/v0.2", "refused", properties=["FORGET_C1"])
_put("spec 7.8", "decided_after_issue", "svr/v0.2", timeCreated=LATE)
_put("spec 7.7", "promoted_by_another", "promotion:1", certificate_sha256=OTHER)
_put("spec 7.7", "promoted_backwards", "promotion:1", version=3, previous={"sha256": OTHER, "version": 3})
_put("spec 7.8", "promoted_after_issue", "promotion:1", at=LATE)
_put("spec 6", "approver_spelled", "promotion:1", approver_role="Privacy Officer")
_put("spec 7.8", "purged_before_promotion", "purge:1", started_at="2026-01-01T00:00:00+00:00")
_put("spec 7.8", "purged_after_issue", "purge:1", finished_at=LATE)
_put("spec 6", "selector_unknown_field", "no-match:1", "no_match", selectors=[{"kind": "a", "provable": True, "x": 1}])


def _place() -> Tree:
    counts = {"expires_at": None, "found": 0, "remaining": 0, "removed": 0, "verified_at": None, "why": None}
    return {**counts, "location": "inbox", "method": "delete"}


@breaks("spec 6", "issued", "purge:1")
def purge_complete_with_hits(draft: Draft) -> None:
    draft.of("purge:1")[0].update(status="complete", scan={"bytes": 1, "files": 1, "hits": 1})


@breaks("spec 6", "issued", "purge:1")
def purge_partial_without_cause(draft: Draft) -> None:
    draft.of("purge:1")[0].update(status="partial", locations=[_place()], scan={"bytes": 1, "files": 1, "hits": 0})


@breaks("spec 6", "issued", "purge:1")
def purge_location_twice(draft: Draft) -> None:
    draft.of("purge:1")[0].update(
        locations=[_place(), _place()], status="complete", scan={"bytes": 1, "files": 1, "hits": 0}
    )


@breaks("spec 6", "issued", "purge:1")
def purge_without_promotion(draft: Draft) -> None:
    draft.statements.remove(draft.statement("promotion:1"))


@breaks("spec 7.2")
def decided_about_another(draft: Draft) -> None:
    draft.statement("svr/v0.2")["subject"][0]["digest"]["sha256"] = OTHER


@breaks("spec 7.2")
def made_another(draft: Draft) -> None:
    subject = draft.statement("provenance/v1")["subject"]
    next(one for one in subject if one["name"] == "model.safetensors")["digest"]["sha256"] = OTHER


@breaks("spec 7.2")
def issued_about_another(draft: Draft) -> None:
    draft.statements[-1]["subject"][0]["digest"]["sha256"] = OTHER


@breaks("spec 7.3")
def nothing_forgotten(draft: Draft) -> None:
    forget = next(one for one in draft.statements if one["predicate"].get("set") == "forget")
    forget["predicate"]["size"] = 0
    forget["subject"][0]["digest"]["sha256"] = merkle.EMPTY.hex()
    _depends(draft, "forget")["digest"]["sha256"] = merkle.EMPTY.hex()


@breaks("spec 7.3")
def more_forgotten_than_there_is(draft: Draft) -> None:
    next(one for one in draft.of("set-commitment:1") if one["set"] == "forget")["size"] = 999


def _depends(draft: Draft, name: str) -> Tree:
    depends = draft.of("provenance/v1")[0]["buildDefinition"]["resolvedDependencies"]
    return next(one for one in depends if one["name"] == name)  # type: ignore[no-any-return]


@breaks("spec 7.4")
def forgot_another_set(draft: Draft) -> None:
    _depends(draft, "forget")["digest"]["sha256"] = OTHER


@breaks("spec 6")
def retained_a_commit(draft: Draft) -> None:
    _depends(draft, "retain")["digest"] = {"gitCommit": "ab" * 20}


@breaks("spec 6")
def original_unknown(draft: Draft) -> None:
    _depends(draft, "original_checkpoint")["name"] = "something"


@breaks("spec 6")
def dependency_twice(draft: Draft) -> None:
    depends = draft.of("provenance/v1")[0]["buildDefinition"]["resolvedDependencies"]
    depends.append(depends[0])


@breaks("spec 7.5")
def issued_with_a_failed_test(draft: Draft) -> None:
    draft.of("test-result/v0.1")[0].update(group("failing", [measurement("broken", "fail")]))


@breaks("spec 7.5", "refused")
def refused_with_all_passed(draft: Draft) -> None:
    for said in draft.of("test-result/v0.1"):
        said.update(group(said["group"], [measurement(f"{said['group']}_held")]))


@breaks("spec 7.5")
def level_none_is_none(draft: Draft) -> None:
    draft.index["claim_level"] = "C2+R"


@breaks("spec 7.6")
def issued_at_no_level(draft: Draft) -> None:
    draft.of("svr/v0.2")[0]["properties"] = ["FORGET_none", "GATES_PASSED"]
    draft.index["claim_level"] = "none"


@breaks("spec 7.7", "refused")
def promoted_though_refused(draft: Draft) -> None:
    subject, certificate = draft.statements[-1]["subject"][0]["digest"]["sha256"], draft.index["certificate_sha256"]
    draft.statements.insert(-1, bundles.promotion(Random(1), subject, certificate))


@breaks("spec 7.8")
def began_after_its_end(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["runDetails"]["metadata"]["startedOn"] = LATE


@breaks("spec 7.8")
def ended_after_issue(draft: Draft) -> None:
    draft.of("provenance/v1")[0]["runDetails"]["metadata"]["finishedOn"] = LATE


@breaks("spec 6")
def group_twice(draft: Draft) -> None:
    said = draft.statement("test-result/v0.1")
    draft.statements.insert(
        draft.statements.index(said), {**said, "predicate": group(said["predicate"]["group"], [measurement("other")])}
    )


@breaks("spec 6")
def measurement_twice(draft: Draft) -> None:
    draft.of("test-result/v0.1")[0].update(group("integrity", [measurement("a"), measurement("a")]))


@breaks("spec 6")
def subject_twice(draft: Draft) -> None:
    subject = draft.statement("provenance/v1")["subject"]
    subject.append(subject[0])


@breaks("spec 6")
def subject_named_otherwise(draft: Draft) -> None:
    draft.statement("svr/v0.2")["subject"][0]["name"] = "weights.safetensors"


@breaks("spec 6")
def no_subject(draft: Draft) -> None:
    draft.statement("test-result/v0.1")["subject"] = []


@breaks("spec 6")
def statement_of_another_kind(draft: Draft) -> None:
    draft.statement("svr/v0.2")["predicateType"] = "https://in-toto.io/attestation/svr/v0.1"


@breaks("spec 6")
def statement_left_out(draft: Draft) -> None:
    draft.statements.remove(draft.statement("svr/v0.2"))


@breaks("spec 6")
def statements_swapped(draft: Draft) -> None:
    draft.statements[0], draft.statements[1] = draft.statements[1], draft.statements[0]


@breaks("spec 6")
def index_not_last(draft: Draft) -> None:
    draft.text.append(lambda content: b"".join(content.splitlines(keepends=True)[::-1]))


@breaks("spec 6", "no_match")
def nothing_of_another_set(draft: Draft) -> None:
    for one in (draft.statement("no-match:1"), draft.statements[-1]):
        one["subject"][0]["digest"]["sha256"] = OTHER


@breaks("spec 6", "no_match")
def nothing_issued_about_another(draft: Draft) -> None:
    draft.statements[-1]["subject"][0]["digest"]["sha256"] = OTHER
