"""How the statements of a bundle go together: certificate-spec.md, section 7, rule by rule.

Every rule is looked at, whatever the others say, and gives its own sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from unlearning.evidence.bundle import Bundle
from unlearning.evidence.predicates import Index, SetCommitment
from unlearning.evidence.provenance import Provenance

GATES_PASSED = "GATES_PASSED"
FORGET = "FORGET_"


def problems(made: Bundle) -> list[str]:
    """What does not hold between the statements of a bundle that is well formed; none where all of it does."""
    return [
        f"spec 7.{number}: {sentence}" for number, rule in enumerate(_RULES, 1) for sentence in rule(made, made.index)
    ]


def _listed(made: Bundle, index: Index) -> Iterator[str]:
    if index.payloads != [line.sha256 for line in made.lines[:-1]]:
        yield "the index does not list the payloads of this bundle, in their order"


def _one_model(made: Bundle, index: Index) -> Iterator[str]:
    about = [line for line in made.lines if not isinstance(line.statement.predicate, SetCommitment)]
    if len({line.statement.digest for line in about}) > 1:
        yield "the statements are not all about the same weights"


def _one_data_set(made: Bundle, index: Index) -> Iterator[str]:
    sets = made.sets
    if len({(one.dataset, one.dataset_sha256, one.key_id) for one in sets.values()}) > 1:
        yield "the sets are not of one data set under one key"
    if made.no_match is not None and made.no_match.dataset != sets["dataset"].dataset:
        yield "the no-match statement is about another data set"
    if "forget" in sets and not 0 < sets["forget"].size <= sets["dataset"].size:
        yield "the forget set is empty, or larger than the data set"


def _from_these_sets(made: Bundle, index: Index) -> Iterator[str]:
    provenance = made.provenance
    for name, (_, root) in made.roots.items():
        if provenance is not None and name != "dataset_keys" and provenance.buildDefinition.sha256(name) != root.hex():
            yield f"the run was not made from the {name} set that is committed to"


def _decided(made: Bundle, index: Index) -> Iterator[str]:
    svr = made.svr
    if svr is None:
        return
    passed = all(one.result != "FAILED" for one in made.tests)
    says_so = GATES_PASSED in svr.properties
    forgets = [one for one in svr.properties if one.startswith(FORGET)]
    if (index.status == "issued") != (passed and says_so) or (index.status == "refused") != (
        not passed and not says_so
    ):
        yield f"status {index.status}, but the test results and the policy's decision say otherwise"
    if index.status == "issued" and forgets != [FORGET + index.claim_level]:
        yield f"of levels of forgetting the policy's decision does not hold {FORGET}{index.claim_level} alone"
    if index.status == "refused" and forgets:
        yield "the policy's decision holds a level of forgetting for a refused model"


def _level(made: Bundle, index: Index) -> Iterator[str]:
    if (index.status == "issued") != (index.claim_level != "none"):
        yield f"claim level {index.claim_level} for a bundle of status {index.status}"
    nothing = index.status == "no_match"
    if (index.certificate_sha256 is None) != nothing or (index.goal is None) != nothing:
        yield "certificate_sha256 and goal are null for no_match, and only then"


def _served(made: Bundle, index: Index) -> Iterator[str]:
    said = made.promotion
    if said is None:
        return
    if index.status != "issued":
        yield f"a model was promoted, but the status is {index.status}"
    if said.certificate_sha256 != index.certificate_sha256:
        yield "what was promoted was promoted by another certificate"
    if said.previous is not None and said.version <= said.previous.version:
        yield "the promotion's version is not above the one it replaced"


def _in_order(made: Bundle, index: Index) -> Iterator[str]:
    if any(one > other for chain in _chains(made) for one, other in pairwise(chain)):
        yield "a time stands before one that it must follow"


def _chains(made: Bundle) -> Iterator[list[str]]:
    """Times that follow each other. They have one spelling, and compare as text."""
    issued, promotion, purge = made.index.issued_at, made.promotion, made.purge
    if isinstance(made.provenance, Provenance):
        ran = made.provenance.runDetails.metadata
        yield [ran.startedOn, ran.finishedOn, issued]
    if made.svr is not None:
        yield [made.svr.timeCreated, issued]
    if promotion is not None:
        yield [promotion.at, issued]
    if promotion is not None and purge is not None:
        yield [promotion.at, purge.started_at, purge.finished_at, issued]


def _follows(made: Bundle, index: Index) -> Iterator[str]:
    if (index.supersedes is None) != (index.sequence == 0):
        yield "the first of a sequence supersedes nothing, and every later one something"
    if index.log.size < len(index.payloads):
        yield "the log is shorter than the bundle that was written into it"


def _answered(made: Bundle, index: Index) -> Iterator[str]:
    if not index.requests or index.requests != sorted(set(index.requests)):
        yield "requests are sorted, each once, and at least one"
    if not index.not_claimed:
        yield "a bundle that leaves nothing unclaimed"
    if made.no_match is not None and index.requests != [made.no_match.request_id]:
        yield "a bundle of status no_match answers another request than its own"


_RULES: tuple[Callable[[Bundle, Index], Iterator[str]], ...] = (
    _listed,
    _one_model,
    _one_data_set,
    _from_these_sets,
    _decided,
    _level,
    _served,
    _in_order,
    _follows,
    _answered,
)
