"""A bundle: one DSSE envelope a line, the index last. (certificate-spec.md, section 6)

`<sha256 of the weights>.erasure.intoto.jsonl`, beside the batch's assets and in none of them. What is not of the form
is no bundle; whether its signatures and statements hold is `bundle_verification`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from unlearning import digests, files
from unlearning.errors import EvidenceError, StorageError, printable
from unlearning.evidence import canonical_text, envelope, predicates
from unlearning.evidence.envelope import Envelope
from unlearning.evidence.predicates import (
    Index,
    NoMatch,
    Promotion,
    Purge,
    SetCommitment,
    Statement,
    Svr,
    TestResult,
)
from unlearning.evidence.provenance import Provenance
from unlearning.workspace import BatchFolder

Said = TypeVar("Said")

MOST_LINES = 64
MOST_BYTES = 4 * 2**20
ENDING = ".erasure.intoto.jsonl"
NO_MATCH_ENDING = ".no-match.intoto.jsonl"
_SETS = {"dataset": "D", "dataset_keys": "K", "forget": "F", "retain": "R"}
_LETTERS = {
    predicates.PROVENANCE: "P",
    predicates.TEST_RESULT: "T",
    predicates.SVR: "V",
    predicates.NO_MATCH: "N",
    predicates.PROMOTION: "O",
    predicates.PURGE: "U",
    predicates.INDEX: "X",
}
_MODEL = re.compile(r"DK?FRPT+V(OU?)?X")
_NOTHING = re.compile(r"DK?N(OU?)?X")


@dataclass(frozen=True, slots=True)
class Line:
    """One statement, and what signs it."""

    text: bytes  # without its line feed
    envelope: Envelope
    statement: Statement

    @property
    def sha256(self) -> str:
        """Of the payload: by which the index knows it."""
        return digests.of_bytes(self.envelope.payload)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Statements in their order."""

    lines: tuple[Line, ...]

    @property
    def index(self) -> Index:
        """What the last line says."""
        said: Index = self.lines[-1].statement.predicate
        return said

    @property
    def sets(self) -> dict[str, SetCommitment]:
        """The set commitments, by set."""
        return {said.set: said for said in self._all(SetCommitment)}

    @property
    def roots(self) -> dict[str, tuple[int, bytes]]:
        """Size and root of every set."""
        found = [line.statement for line in self.lines if isinstance(line.statement.predicate, SetCommitment)]
        return {one.predicate.set: (one.predicate.size, bytes.fromhex(one.digest)) for one in found}

    @property
    def tests(self) -> list[TestResult]:
        """The groups of measurements."""
        return self._all(TestResult)

    @property
    def provenance(self) -> Provenance | None:
        """How the model was made."""
        return self._one(Provenance)

    @property
    def svr(self) -> Svr | None:
        """What the policy decided."""
        return self._one(Svr)

    @property
    def no_match(self) -> NoMatch | None:
        """For a request without a match: that it has none."""
        return self._one(NoMatch)

    @property
    def promotion(self) -> Promotion | None:
        """Since when the model is served."""
        return self._one(Promotion)

    @property
    def purge(self) -> Purge | None:
        """What became of the stored copies."""
        return self._one(Purge)

    def _all(self, kind: type[Said]) -> list[Said]:
        return [line.statement.predicate for line in self.lines if isinstance(line.statement.predicate, kind)]

    def _one(self, kind: type[Said]) -> Said | None:
        return next(iter(self._all(kind)), None)


class NotABundle(ValueError):
    """Everything in which a file is not of the form, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__(self.problems[0])


def file(batch: BatchFolder) -> Path:
    """Where the bundle of a certified batch lies. Raises EvidenceError for a batch without a certificate."""
    try:
        weights = files.read_json(batch.certificate)["valid_for"][predicates.WEIGHTS]
    except (StorageError, KeyError, TypeError):
        weights = None
    if not isinstance(weights, str):
        raise EvidenceError(f"batch {batch.key} has no certificate that names its weights; certify it first")
    return batch.path / f"{weights}{ENDING}"


def of_batch(batch: BatchFolder) -> Bundle:
    """The bundle of a certified batch as it lies there, not verified. Raises EvidenceError where there is none."""
    path = file(batch)
    if not path.is_file():
        raise EvidenceError(f"{path}: there is no bundle; `unlearning attest --batch {batch.key}` makes one")
    try:
        return read(path.read_bytes())
    except NotABundle as error:
        raise EvidenceError(f"{path}: not a bundle ({error}); restore it") from None


def roots(batch: BatchFolder) -> dict[str, tuple[int, bytes]]:
    """Size and root of every set that the batch's bundle commits to. Raises EvidenceError where there is none."""
    return of_batch(batch).roots


def read(content: bytes) -> Bundle:
    """The bundle in a file's bytes. Raises NotABundle."""
    if len(content) > MOST_BYTES:
        raise NotABundle([f"spec 6: {len(content)} bytes; at most {MOST_BYTES} are right"])
    texts = content.split(b"\n")
    if texts.pop() != b"" or not texts or len(texts) > MOST_LINES:
        raise NotABundle([f"spec 6: 1 to {MOST_LINES} lines, each ended by one line feed, are right"])
    lines, problems = list[Line](), list[str]()
    for number, text in enumerate(texts, 1):
        try:
            lines.append(_line(text))
        except ValueError as error:
            problems.append(f"spec 6: line {number}: {error}")
    if problems:
        raise NotABundle(problems)
    made = Bundle(tuple(lines))
    problems = [*_order(made), *_distinct(made)]
    if problems:
        raise NotABundle(problems)
    return made


def _line(text: bytes) -> Line:
    sealed = envelope.read(text)
    return Line(text, sealed, predicates.statement(canonical_text.read(sealed.payload)))


def _order(made: Bundle) -> list[str]:
    letters = "".join(_letter(line.statement) for line in made.lines)
    if not letters.endswith("X"):
        return ["spec 6: the last line is not the index"]
    status = made.index.status
    if not (_NOTHING if status == "no_match" else _MODEL).fullmatch(letters):
        return [f"spec 6: a bundle of status {status} holds other statements, or in another order"]
    return []


def _letter(said: Statement) -> str:
    committed = isinstance(said.predicate, SetCommitment)
    return _SETS[said.predicate.set] if committed else _LETTERS[said.predicateType]


def _distinct(made: Bundle) -> list[str]:
    problems = list[str]()
    groups = [one.group for one in made.tests]
    if len(set(groups)) < len(groups):
        problems.append("spec 6: two test-results are of one group")
    names = [measured.name for one in made.tests for measured in one.measurements]
    if len(set(names)) < len(names):
        problems.append("spec 6: two measurements have one name")
    return [*problems, *_nothing(made)]


def _nothing(made: Bundle) -> Iterator[str]:
    """A no-match statement is about the root of the data set, and the index about the same."""
    for line in made.lines:
        if isinstance(line.statement.predicate, NoMatch):
            root = made.roots["dataset"][1].hex() if "dataset" in made.roots else None
            if line.statement.digest != root:
                yield "spec 6: the no-match statement is not about the root of the data set"
            if line.statement.digest != made.lines[-1].statement.digest:
                yield "spec 6: the index is not about the subject of the no-match statement"
