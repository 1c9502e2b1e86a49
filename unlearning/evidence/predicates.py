"""What a statement may say: the predicates of certificate-spec.md, section 6, field by field.

Only the form of one statement is judged here. How statements go together is `bundle_rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from unlearning.evidence import merkle
from unlearning.evidence.provenance import Builder, Code, Count, File, Name, Provenance, Sha256, Strict
from unlearning.evidence.trust import Hex, Time

STATEMENT = "https://in-toto.io/Statement/v1"
SET_COMMITMENT = "urn:unlearning:set-commitment:1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SVR = "https://in-toto.io/attestation/svr/v0.2"
NO_MATCH = "urn:unlearning:no-match:1"
PROMOTION = "urn:unlearning:promotion:1"
PURGE = "urn:unlearning:purge:1"
INDEX = "urn:unlearning:erasure-certificate:1"
TREE = "rfc9162-sha256-sorted"
WEIGHTS = "model.safetensors"
EMPTY = merkle.EMPTY.hex()


Set: TypeAlias = Literal["dataset", "dataset_keys", "forget", "retain"]
Level: TypeAlias = Literal["none", "C1", "C2", "C3", "C1+R", "C2+R", "C3+R"]
Status: TypeAlias = Literal["issued", "refused", "no_match"]


class SetCommitment(Strict):
    """Which images, by the root of their tokens."""

    counts: dict[Code, Count]
    dataset: Code
    dataset_sha256: Hex
    key_id: Hex
    leaf: Literal["content/1", "key/1"]
    set: Set
    size: Count
    tree: Literal["rfc9162-sha256-sorted"]

    @model_validator(mode="after")
    def _leaf(self) -> Self:
        if (self.set == "dataset_keys") != (self.leaf == "key/1"):
            raise ValueError("leaf is key/1 for dataset_keys, and for no other set")
        return self


class Measurement(Strict):
    """One criterion of the gates."""

    blocking: bool
    bound: str
    high: str | None
    low: str | None
    name: Code
    source: str
    status: Literal["pass", "fail", "not_measured"]
    value: str | None


class TestResult(Strict):
    """One group of criteria (in-toto test-result v0.1)."""

    configuration: Annotated[list[File], Field(min_length=1)]
    failedTests: list[Code]
    group: Code
    measurements: Annotated[list[Measurement], Field(min_length=1)]
    passedTests: list[Code]
    reference: Hex | None
    result: Literal["PASSED", "WARNED", "FAILED"]
    warnedTests: list[Code]

    @model_validator(mode="after")
    def _follows(self) -> Self:
        names = [one.name for one in self.configuration]
        if len(set(names)) < len(names):
            raise ValueError("configuration: names are distinct")
        passed, failed, warned = sorted_tests(self.measurements)
        if (self.passedTests, self.failedTests, self.warnedTests) != (passed, failed, warned):
            raise ValueError("passedTests, failedTests and warnedTests do not follow from the measurements")
        if self.result != result_of(failed, warned):
            raise ValueError("the result does not follow from the measurements")
        return self


class Svr(Strict):
    """What the policy decided (in-toto simple verification result v0.2)."""

    policy: Sha256
    properties: list[str]
    timeCreated: Time
    verifier: Builder

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        if self.properties != sorted(set(self.properties)):
            raise ValueError("properties are sorted, each once")
        return self


class Selector(Strict):
    """One way in which a request named images, and whether a proof can show that there is none."""

    kind: Code
    provable: bool


class NoMatch(Strict):
    """A request to which no stored image belongs."""

    dataset: Code
    request_id: Name
    selectors: Annotated[list[Selector], Field(min_length=1)]


class Served(Strict):
    """A generation that was served."""

    sha256: Hex
    version: Count


class Promotion(Strict):
    """That the model is served, since when, and in whose place."""

    approver_role: Code
    at: Time
    certificate_sha256: Hex
    checkpoint_sha256: Hex
    model: Code
    pending_requests: Count | None
    previous: Served | None
    version: Count


class Location(Strict):
    """One place that held copies of forget images."""

    expires_at: Time | None
    found: Count
    location: Code
    method: Literal["rewrite", "delete", "gc", "none"]
    remaining: Count
    removed: Count
    verified_at: Time | None
    why: Code | None


class Scan(Strict):
    """The search for copies afterwards."""

    bytes: Count
    files: Count
    hits: Count


class Purge(Strict):
    """What became of the stored copies."""

    finished_at: Time
    locations: Annotated[list[Location], Field(min_length=1)]
    record_sha256: Hex
    scan: Scan
    started_at: Time
    status: Literal["complete", "partial"]
    tool: Name

    @model_validator(mode="after")
    def _honest(self) -> Self:
        names = [one.location for one in self.locations]
        if len(set(names)) < len(names):
            raise ValueError("locations are distinct")
        open_ended = any(one.remaining and one.expires_at is None for one in self.locations)
        if (self.status == "complete") == (open_ended or self.scan.hits > 0):
            raise ValueError("complete is right exactly when nothing remains without an end and the scan found nothing")
        return self


class Log(Strict):
    """The head of the append-only log."""

    root: Hex
    size: Count


class Index(Strict):
    """The last line: what the bundle is, whole."""

    batch: Code
    certificate_sha256: Hex | None
    claim_level: Level
    cut_off: Time | None
    goal: Code | None
    issued_at: Time
    log: Log
    not_claimed: list[str]
    payloads: list[Hex]
    requests: list[Name]
    sequence: Count
    status: Status
    supersedes: Hex | None


Predicate: TypeAlias = SetCommitment | Provenance | TestResult | Svr | NoMatch | Promotion | Purge | Index
_FORMS: dict[str, TypeAdapter[Predicate]] = {
    SET_COMMITMENT: TypeAdapter(SetCommitment),
    PROVENANCE: TypeAdapter(Provenance),
    TEST_RESULT: TypeAdapter(TestResult),
    SVR: TypeAdapter(Svr),
    NO_MATCH: TypeAdapter(NoMatch),
    PROMOTION: TypeAdapter(Promotion),
    PURGE: TypeAdapter(Purge),
    INDEX: TypeAdapter(Index),
}


class Statement(Strict):
    """An in-toto Statement v1, its predicate already read."""

    type_: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    predicate: Any
    predicateType: str
    subject: Annotated[list[File], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """sha256 of its one subject, or of the weights where it has more."""
        return next(one.digest.sha256 for one in self.subject if one.name == self._about)

    @property
    def _about(self) -> str:
        return self.subject[0].name if len(self.subject) == 1 else WEIGHTS


def statement(value: Any) -> Statement:
    """The statement in a payload's value. Raises ValueError, in words, for any that is not of its form."""
    try:
        found = _STATEMENT.validate_python(value)
        if found.predicateType not in _FORMS:
            raise ValueError(f"predicateType: {found.predicateType[:80]!r} is none of the eight")
        read = found.model_copy(update={"predicate": _FORMS[found.predicateType].validate_python(found.predicate)})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}") from None
    _about(read)
    return read


def sorted_tests(measurements: list[Measurement]) -> tuple[list[str], list[str], list[str]]:
    """Names of what passed, of what failed and blocks, and of what only warns."""
    passed = sorted(one.name for one in measurements if one.status == "pass")
    failed = sorted(one.name for one in measurements if one.status != "pass" and one.blocking)
    warned = sorted(one.name for one in measurements if one.status != "pass" and not one.blocking)
    return passed, failed, warned


def result_of(failed: list[str], warned: list[str]) -> str:
    """The one word for a group."""
    return "FAILED" if failed else "WARNED" if warned else "PASSED"


def _about(found: Statement) -> None:
    """Raises ValueError unless its subjects are those that its type asks for."""
    names = [one.name for one in found.subject]
    if len(set(names)) < len(names):
        raise ValueError("subject: names are distinct")
    said = found.predicate
    if isinstance(said, Provenance):
        if WEIGHTS not in names:
            raise ValueError(f"subject: {WEIGHTS} is among the files of the checkpoint")
    elif names != [_subject(said)]:
        raise ValueError(f"subject: {_subject(said)!r} alone is right")
    if isinstance(said, SetCommitment) and (said.size == 0) != (found.digest == EMPTY):
        raise ValueError("size: 0 exactly for the root of no leaves")


def _subject(said: Predicate) -> str:
    if isinstance(said, SetCommitment):
        return said.set
    nothing = isinstance(said, NoMatch) or (isinstance(said, Index) and said.status == "no_match")
    return "dataset" if nothing else WEIGHTS


_STATEMENT = TypeAdapter(Statement)
