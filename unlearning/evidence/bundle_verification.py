"""Does a bundle hold? Form, signatures and the rules between its statements, and whatever else was given beside it.

Nothing but the bundle and a trust file is needed. No torch, no network, no pickle. (certificate-spec.md, section 8)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, bundle_rules, envelope, merkle, proofs
from unlearning.evidence.bundle import Bundle, Line, NotABundle
from unlearning.evidence.envelope import Signature
from unlearning.evidence.trust import Key, Trust

_LOG = re.compile(rb"([0-9a-f]{64}\n)*")
NEVER_CHECKED = (
    "that the data is gone: what is signed is that an algorithm ran on these inputs and passed these tests",
    "the numbers: they are what the pipeline measured; to measure again, run `unlearning evaluate` on the same weights",
    "that the keys belong to whom the trust file says: compare their ids with those you were told another way",
)
NOT_THE_FORM = "anything but the form: a file that is no bundle says nothing"
WANTED_LAST = "the pipeline and the privacy officer, once each, sign"
_BOTH = ["pipeline", "privacy_officer"]


@dataclass(frozen=True, slots=True)
class Beside:
    """What a verifier was given beside bundle and trust; None: that is not checked."""

    model: str | None = None  # sha256 of the weights that it holds
    log: bytes | None = None  # its file
    proof: bytes | None = None  # a subject's proof, its file
    content: bytes | None = None  # the subject's own image
    supersedes: bytes | None = None  # the bundle before it, its file


@dataclass(frozen=True, slots=True)
class Verification:
    """What holds, what does not, and what nobody looked at."""

    bundle: Bundle | None  # None: it is none
    problems: tuple[str, ...]
    checked: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    keys: tuple[Key, ...] = field(default=())  # those whose signatures count

    @property
    def verified(self) -> bool:
        """Whether everything that was looked at holds."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """`verification/1`: nobody shall read a status off something that does not hold."""
        index = self.bundle.index if self.bundle is not None and self.verified else None
        return {
            "schema": "verification/1",
            "verified": self.verified,
            "status": None if index is None else index.status,
            "claim_level": None if index is None else index.claim_level,
            "problems": list(self.problems),
            "not_checked": list(self.not_checked),
        }


def verify(content: bytes, trust: Trust, beside: Beside = Beside()) -> Verification:
    """Everything that does not hold in a bundle's bytes; raises nothing."""
    try:
        made = bundle.read(content)
    except NotABundle as error:
        return Verification(None, tuple(error.problems), not_checked=(NOT_THE_FORM,))
    problems = [*signatures(made, trust), *bundle_rules.problems(made), *_given(made, trust, beside)]
    used = {one.keyid for line in made.lines for one in line.envelope.signatures}
    keys = tuple(key for key in trust.keys if key.keyid in used)
    return Verification(made, tuple(problems), tuple(_looked_at(made, beside)), tuple(_left_out(made, beside)), keys)


def verify_file(path: Path, trust: Trust, beside: Beside = Beside()) -> Verification:
    """As `verify`; a longer file than a bundle may be is read no further. Raises EvidenceError where there is none."""
    try:
        with path.open("rb") as file:
            return verify(file.read(bundle.MOST_BYTES + 1), trust, beside)
    except OSError as error:
        raise EvidenceError(f"{path}: cannot be read ({error.strerror}); a bundle's file is right") from None


def signatures(made: Bundle, trust: Trust) -> Iterator[str]:
    """Sections 5 and 6: every signature by a trusted key that was good, and of the roles that a line needs."""
    issued_at = made.index.issued_at
    for number, line in enumerate(made.lines, 1):
        for one in line.envelope.signatures:
            yield from (f"{problem} (line {number})" for problem in _signature(line, one, trust, issued_at))
        roles = sorted(key.role for one in line.envelope.signatures if (key := trust.find(one.keyid)) is not None)
        last = line is made.lines[-1]
        if len(roles) == len(line.envelope.signatures) and roles != (_BOTH if last else _BOTH[:1]):
            wanted = WANTED_LAST if last else "the pipeline alone signs"
            yield f"spec 6: signed by {' and '.join(roles)}, where {wanted} (line {number})"


def _signature(line: Line, one: Signature, trust: Trust, issued_at: str) -> Iterator[str]:
    key, name = trust.find(one.keyid), one.keyid[:12]
    if key is None:
        yield f"spec 6: key {name} is not in the trust file"
        return
    if not key.good_at(issued_at):
        yield f"spec 5: key {name} was not good at {issued_at}"
    if not envelope.signed_by(line.envelope.payload, one, key):
        yield f"spec 6: the signature of key {name} is not over this payload"


def _given(made: Bundle, trust: Trust, beside: Beside) -> Iterator[str]:
    """Section 8: what was given beside it."""
    if beside.model is not None and made.index.status == "no_match":
        yield "spec 8: weights were given, and the bundle is about none"
    elif beside.model is not None and beside.model != made.lines[-1].statement.digest:
        yield f"spec 8: the weights given hash to {beside.model[:12]}, the bundle is about another model"
    if beside.log is not None:
        yield from _logged(made, beside.log)
    if beside.proof is not None:
        yield from _proved(made, beside.proof, beside.content)
    if beside.supersedes is not None:
        yield from _superseded(made, trust, beside.supersedes)


def _logged(made: Bundle, content: bytes) -> Iterator[str]:
    """Section 9."""
    if not _LOG.fullmatch(content):
        yield "spec 9: not a log: lines of 64 lower-case hex digits, and nothing else, are right"
        return
    leaves, said = [bytes.fromhex(line.decode()) for line in content.split()], made.index.log
    if said.size > len(leaves) or merkle.root(leaves[: said.size]) != bytes.fromhex(said.root):
        yield "spec 9: the log given does not continue the one that the index was written into"
    before = set(leaves[: said.size])
    if any(bytes.fromhex(payload) not in before for payload in made.index.payloads):
        yield "spec 9: a payload is not in the log as it was when the index was signed"
    if bytes.fromhex(made.lines[-1].sha256) not in leaves[said.size :]:
        yield "spec 9: the index itself is not in the log after that"


def _proved(made: Bundle, text: bytes, content: bytes | None) -> Iterator[str]:
    """Section 4."""
    try:
        found = proofs.read(text, "the proof")
    except EvidenceError as error:
        yield f"spec 4: {error}"
        return
    if found.batch != made.index.batch:
        yield "spec 4: the proof is about another batch"
    if content is not None and found.kind != "content":
        yield "spec 4: the proof is about a sample's name, and says nothing of an image"
    for problem in proofs.problems(found, made.roots, content):
        yield f"spec 4: {problem}"


def _superseded(made: Bundle, trust: Trust, content: bytes) -> Iterator[str]:
    """Section 8."""
    earlier = verify(content, trust)
    for problem in earlier.problems:
        yield f"spec 8: the bundle before it does not hold: {problem}"
    if earlier.bundle is None:
        return
    now, then = made.index, earlier.bundle.index
    if now.supersedes != earlier.bundle.lines[-1].sha256 or now.sequence != then.sequence + 1:
        yield "spec 8: it does not supersede the bundle given, but another"
    if (now.batch, made.lines[-1].statement.digest) != (then.batch, earlier.bundle.lines[-1].statement.digest):
        yield "spec 8: the bundle given is about another batch or another model"
    if then.issued_at > now.issued_at or then.log.size >= now.log.size:
        yield "spec 8: the bundle given is not earlier than this one"


def _looked_at(made: Bundle, beside: Beside) -> Iterator[str]:
    count = sum(len(line.envelope.signatures) for line in made.lines)
    yield f"the form of {len(made.lines)} statements, and {count} signatures, against the keys that are trusted"
    yield "whether statements, sets, run, tests, decision and times agree (spec 7, ten rules)"
    if beside.model is not None:
        yield "the weights given: whether they are the model that the bundle is about"
    if beside.log is not None:
        yield "the log given: whether it holds every statement, and continues the log of then"
    if beside.proof is not None:
        whose = "the bytes given" if beside.content is not None else "the image it names"
        yield f"the proof given, about {whose}, against the sets that are committed to"
    if beside.supersedes is not None:
        yield "the bundle given: whether it is the one that this supersedes"


def _left_out(made: Bundle, beside: Beside) -> Iterator[str]:
    if beside.model is None and made.index.status != "no_match":
        yield "any weights: give them with --model"
    if beside.log is None:
        yield "the log: give it with --log"
    if beside.proof is None:
        yield "whether one image is in a set: a person's proof says so, with --proof"
    elif beside.content is None:
        yield "whose image the proof is about: give the image with --image"
    if beside.supersedes is None and made.index.sequence > 0:
        yield f"the bundle that it supersedes (number {made.index.sequence - 1}): give it with --supersedes"
    yield "that no later bundle supersedes it: ask for the newest"
    yield from NEVER_CHECKED
