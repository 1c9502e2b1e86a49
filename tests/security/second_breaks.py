"""One change for every clause of the certificate's specification, and the clause that it breaks, and nothing else.

Every broken draft is signed anew by the right keys: what refuses it is the clause, not a signature.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tests.security import second_bundles as signing
from tests.security import second_sets as sets

REMOVED = object()


class Field(NamedTuple):
    """A field of one statement gets another value (or a function of its value), or is removed."""

    clause: str
    status: str
    part: str
    path: str
    value: Any

    def broken(self) -> signing.Draft:
        """The draft with this change and no other."""
        draft = signing.draft(self.status)
        return {**draft, self.part: edited(draft[self.part], self.path, self.value)}


def edited(document: Any, path: str, value: Any) -> Any:
    """A copy of a document in which one place (`a.b.0`) has another value, or a function of its value, or is gone."""
    found = copy.deepcopy(document)
    place, steps = found, [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps[:-1]:
        place = place[step]
    if value is REMOVED:
        del place[steps[-1]]
    else:
        place[steps[-1]] = value(place[steps[-1]]) if callable(value) else value
    return found


A, B = sets.digest("a"), sets.digest("b")
LATE = "2026-11-22T10:00:01+00:00"


def of(clause: str, part: str, changes: dict[str, list[Any]], status: str = "issued") -> list[Field]:
    """Breaks of one clause: values for each field of one statement's predicate."""
    return [Field(clause, status, part, f"predicate.{path}", value) for path in changes for value in changes[path]]


NO_HEX = ["", A.upper(), A[:-1], A + "\n", A[:-1] + "\u0661", 7, None]
NO_TIME = [
    "2026-11-22T10:00:00Z",
    "2026-11-22T10:00:00+01:00",
    "2026-11-22T10:00:00.0+00:00",
    "2026-11-22 10:00:00+00:00",
    "2026-11-22T10:00:00+00:00\n",
    "2026-02-30T10:00:00+00:00",
    "2026-11-21T24:00:00+00:00",
    "2026-11-22T09:59:60+00:00",
    "0000-11-22T10:00:00+00:00",
    "202\uff16-11-22T10:00:00+00:00",
    0,
]
NO_CODE = ["", "A", "-a", "a b", "a" * 65, "a\n", "\u0430", 1, None]
NO_NAME = ["", "a" * 201, "a\tb", "a\n", 1, None]
NO_COUNT = [-1, True, "1", None]

SHAPES = [
    *of("6, set-commitment", "dataset", {"dataset_sha256": NO_HEX, "dataset": NO_CODE, "size": NO_COUNT}),
    *of("6, set-commitment", "dataset", {"tree": ["rfc6962"], "set": ["all"], "counts": [[], {"A": 1}, {"a": -1}]}),
    *of("6, set-commitment", "dataset", {"leaf": ["key/1", "content/2"], "more": [1], "key_id": [REMOVED]}),
    *of("6, set-commitment", "dataset_keys", {"leaf": ["content/1"]}),
    *of(
        "6, provenance", "provenance", {"buildDefinition.buildType": ["urn:other:1"], "runDetails.builder.id": NO_NAME}
    ),
    *of("6, provenance", "provenance", {"buildDefinition.externalParameters": [{"a/b": 1}, {"": 1}, {"a": True}, []]}),
    *of("6, provenance", "provenance", {"buildDefinition.internalParameters": [{"a": []}, {"a" * 65: 1}]}),
    *of(
        "6, provenance", "provenance", {"buildDefinition.resolvedDependencies.4.digest": [{"gitCommit": "0" * 39}, {}]}
    ),
    *of(
        "6, provenance",
        "provenance",
        {"buildDefinition.resolvedDependencies.4.digest": [{"sha256": A, "gitCommit": "0" * 40}]},
    ),
    *of("6, provenance", "provenance", {"buildDefinition.resolvedDependencies.4.name": ["dataset"]}),
    *of("6, provenance", "provenance", {"buildDefinition.resolvedDependencies.3": [REMOVED]}),
    *of("6, provenance", "provenance", {"buildDefinition.resolvedDependencies.3.digest": [{"gitCommit": "0" * 40}]}),
    *of(
        "6, provenance", "provenance", {"runDetails.metadata.startedOn": NO_TIME, "runDetails.byproducts.0.name": [""]}
    ),
    Field("6, provenance", "issued", "provenance", "subject.1.name", "weights.safetensors"),
    Field("6, provenance", "issued", "provenance", "subject.0.name", "model.safetensors"),
    Field("6, provenance", "issued", "provenance", "subject", []),
    *of(
        "6, test-result",
        "utility",
        {"failedTests": [["psnr"], None], "passedTests": [[]], "warnedTests": [["drop", "drop"]]},
    ),
    *of(
        "6, test-result", "utility", {"result": ["PASSED", "FAILED", "OK"], "group": NO_CODE, "reference": [A.upper()]}
    ),
    *of("6, test-result", "utility", {"configuration": [[]], "configuration.0.digest": [{"sha512": A}]}),
    *of("6, test-result", "utility", {"configuration": [lambda held: held * 2], "measurements.0.blocking": [True, 0]}),
    *of("6, test-result", "utility", {"measurements.0.value": [0], "measurements.0.status": ["pass", "skipped"]}),
    *of("6, test-result", "utility", {"measurements.0.name": ["other"], "measurements.0.unit": ["1"]}),
    *of("6, test-result", "forgetting", {"passedTests": [["gap", "forgotten"]]}),
    *of("6, svr", "svr", {"policy": [{"sha256": A, "uri": "x"}], "verifier": [{}], "properties.0": [1]}),
    *of(
        "6, svr", "svr", {"properties": [["GATES_PASSED", "FORGET_C1"], ["FORGET_C1", "GATES_PASSED", "GATES_PASSED"]]}
    ),
    *of("6, no-match", "no-match", {"selectors": [[], [{"kind": "key"}]], "request_id": NO_NAME}, "no_match"),
    *of("6, promotion", "promotion", {"at": NO_TIME, "previous": [A, {"sha256": A}], "version": NO_COUNT}),
    *of("6, promotion", "promotion", {"pending_requests": [-1, False], "model": [None], "checkpoint_sha256": NO_HEX}),
    *of("6, purge", "purge", {"locations": [[], {}], "scan": [{"files": 1, "bytes": 1}], "scan.hits": [1]}),
    *of("6, purge", "purge", {"status": ["partial", "done"], "locations.1.location": ["dvc_cache"], "tool": [""]}),
    *of(
        "6, purge",
        "purge",
        {"locations.0.method": ["shred"], "locations.0.remaining": [1, -1], "locations.0.why": [""]},
    ),
    *of("6, purge", "purge", {"locations.1.expires_at": [None, "never"], "record_sha256": [None]}),
    *of("6, erasure-certificate", "index", {"issued_at": NO_TIME, "batch": NO_CODE, "sequence": NO_COUNT}),
    *of("6, erasure-certificate", "index", {"claim_level": ["C4", "c1", "C1+", "+R", None], "status": ["done"]}),
    *of("6, erasure-certificate", "index", {"log": [{"root": A}, {"root": A, "size": -1}], "payloads": [[7]]}),
    *of("6, erasure-certificate", "index", {"requests": [[1]], "not_claimed": [[1], "no"], "supersedes": [0]}),
    *of("6, erasure-certificate", "index", {"cut_off": ["soon"], "goal": ["A"], "certificate_sha256": ["0"]}),
    *(
        Field(f"6, {word}", status, part, "subject.0.name", "other")
        for word, status, part in (
            ("set-commitment", "issued", "forget"),
            ("test-result", "issued", "utility"),
            ("svr", "issued", "svr"),
            ("no-match", "no_match", "no-match"),
            ("promotion", "issued", "promotion"),
            ("purge", "issued", "purge"),
            ("erasure-certificate", "issued", "index"),
            ("erasure-certificate", "no_match", "index"),
        )
    ),
    Field("6, svr", "issued", "svr", "subject", lambda held: [*held, {"digest": {"sha256": A}, "name": "more"}]),
    Field("6, svr", "issued", "svr", "_type", "https://in-toto.io/Statement/v0.1"),
    Field("6, svr", "issued", "svr", "comment", ""),
    Field("6, svr", "issued", "svr", "subject.0.digest", {"sha256": A, "sha512": A * 2}),
    Field("6", "issued", "svr", "predicateType", "https://in-toto.io/attestation/svr/v0.1"),
    Field("6", "issued", "svr", "predicateType", REMOVED),
    Field("6", "issued", "svr", "predicateType", ["https://in-toto.io/attestation/svr/v0.2"]),
]

RULES = [
    *of("6, test-result", "utility", {"group": ["forgetting"]}),
    Field("6, no-match", "no_match", "no-match", "subject.0.digest.sha256", A),
    Field("6, no-match", "no_match", "index", "subject.0.digest.sha256", A),
    *of("6, set-commitment", "retain", {"size": [0]}),
    *of("7.1", "index", {"payloads": [[], [A] * 10]}),
    *(
        Field("7.2", "issued", part, f"subject.{at}.digest.sha256", A)
        for part, at in (("provenance", 1), ("utility", 0), ("svr", 0), ("promotion", 0), ("purge", 0), ("index", 0))
    ),
    *of("7.3", "retain", {"dataset": ["faces-2"], "dataset_sha256": [A], "key_id": [A]}),
    *of("7.3", "forget", {"size": [8]}),
    *of("7.3", "no-match", {"dataset": ["faces-2"]}, "no_match"),
    *(
        Field("7.4", "issued", "provenance", f"predicate.buildDefinition.resolvedDependencies.{at}.digest.sha256", A)
        for at in range(3)
    ),
    *of("7.5", "svr", {"properties": [["FORGET_C1"], ["GATES_PASSED"], ["FORGET_C2", "GATES_PASSED"]]}),
    *of("7.5", "svr", {"properties": [["FORGET_C1", "FORGET_C3", "GATES_PASSED"], ["FORGET_none", "GATES_PASSED"]]}),
    *of("7.5", "index", {"claim_level": ["C2", "C1+R"]}),
    *of("7.5", "svr", {"properties": [["GATES_PASSED"], ["FORGET_C1"], ["FORGET_none"]]}, "refused"),
    *of("7.6", "index", {"claim_level": ["C1"], "goal": [None], "certificate_sha256": [None]}, "refused"),
    *of("7.6", "index", {"claim_level": ["C3"], "goal": ["erase"], "certificate_sha256": [A]}, "no_match"),
    *of("7.7", "promotion", {"certificate_sha256": [B], "version": [0, 1]}),
    *of("7.8", "provenance", {"runDetails.metadata.startedOn": ["2026-11-22T08:30:01+00:00"]}),
    *of("7.8", "provenance", {"runDetails.metadata.finishedOn": [LATE]}),
    *of("7.8", "svr", {"timeCreated": [LATE]}),
    *of("7.8", "promotion", {"at": ["2026-11-22T09:40:01+00:00", LATE]}),
    *of(
        "7.8",
        "purge",
        {"started_at": ["2026-11-22T09:50:01+00:00"], "finished_at": [LATE, "2026-11-22T09:39:59+00:00"]},
    ),
    *of("7.9", "index", {"sequence": [1], "supersedes": [A], "log": [{"root": A, "size": 9}]}),
    *of("7.10", "index", {"requests": [["r-2", "r-1"], ["r-1", "r-1"]]}),
    *of("7.10", "index", {"requests": [["r-2"], ["r-1", "r-2"]]}, "no_match"),
    *of("6, erasure-certificate", "index", {"requests": [[]], "not_claimed": [[]]}),
]


def _with(status: str, **parts: dict[str, Any]) -> signing.Draft:
    """A draft with other statements of these names, or more of them before the index."""
    draft = signing.draft(status)
    index = draft.pop("index")
    return {**draft, **parts, "index": index}


def _order(*names: str, status: str = "issued") -> signing.Draft:
    """Of a draft these statements, in this order; one that is named again is there again."""
    draft = signing.draft(status)
    return {name if name not in names[:at] else f"{name} again": draft[name] for at, name in enumerate(names)}


ISSUED = tuple(signing.draft("issued"))
RUN = ISSUED[: ISSUED.index("promotion")]
NOTHING = sets.tree([]).hex()


def _without(*names: str) -> signing.Draft:
    return _order(*(name for name in ISSUED if name not in names))


def _again(name: str) -> signing.Draft:
    at = ISSUED.index(name)
    return _order(*ISSUED[: at + 1], name, *ISSUED[at + 1 :])


def _forgets_nothing() -> signing.Draft:
    """Of an empty forget set, whose root is right and which the run read."""
    empty = edited(signing.draft("issued")["forget"], "predicate.size", 0)
    read = "predicate.buildDefinition.resolvedDependencies.1.digest.sha256"
    run = edited(signing.draft("issued")["provenance"], read, NOTHING)
    return {**signing.draft("issued"), "forget": edited(empty, "subject.0.digest.sha256", NOTHING), "provenance": run}


ORDERS: dict[str, tuple[str, signing.Draft]] = {  # the clause, and a draft that breaks it
    "retain before forget": ("6", _order("dataset", "dataset_keys", "retain", "forget", *ISSUED[4:])),
    "the keys before the data set": ("6", _order("dataset_keys", "dataset", *ISSUED[2:])),
    "tests before the run": ("6", _order(*ISSUED[:4], "forgetting", "provenance", *ISSUED[6:])),
    "purge before promotion": ("6", _order(*RUN, "purge", "promotion", "index")),
    "the index first": ("6", _order("index", *ISSUED[:-1])),
    "purged, not promoted": ("6", _without("promotion")),
    **{f"no {name}": ("6", _without(name)) for name in ("dataset", "forget", "retain", "provenance", "svr", "index")},
    "no tests": ("6", _without("forgetting", "utility")),
    "only an index": ("6", _order("index")),
    "a set twice": ("6", _again("forget")),
    "a test twice": ("6, test-result", _again("utility")),
    **{f"{name} twice": ("6", _again(name)) for name in ("provenance", "svr", "promotion", "purge")},
    "two indexes": ("6", _again("index")),
    "no-match twice": ("6", _order("dataset", "no-match", "no-match", "index", status="no_match")),
    "no-match, and a forget set": ("6", _with("no_match", forget=signing.commitment("forget"))),
    "no-match missing": ("6", _order("dataset", "index", status="no_match")),
    "no-match of what was issued": ("6", _with("issued", nothing=signing.draft("no_match")["no-match"])),
    "refused, and promoted": ("7.7", _with("refused", promotion=signing.promotion(sets.digest("weights refused")))),
    "forgets nothing": ("7.3", _forgets_nothing()),
}
