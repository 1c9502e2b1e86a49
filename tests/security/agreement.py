"""Two verifiers that share no code, asked about 10,000 bundles: `python -m tests.security agreement`.

They agree on a case when both say the same exit code, status and claim level. A case of which it is known beforehand
whether it holds has to be judged so by both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

from infra.verifier import verify_certificate as second_verifier
from tests.security.agreement_cases import LEVELS, Case, case
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle_verification, trust

CASES = 10_000
Row = dict[str, Any]
Answer = tuple[int, str | None, str | None]  # exit code, status, claim level


def first(given: Case) -> Answer:
    """What `unlearning verify` says."""
    try:
        keys = trust.read(given.trust, "trust")
    except EvidenceError:
        return 2, None, None
    beside = bundle_verification.Beside(given.model, given.log, given.proof, given.image, given.supersedes)
    said = bundle_verification.verify(given.bundle, keys, beside).as_json()
    return int(not said["verified"]), said["status"], said["claim_level"]


def second(given: Case) -> Answer:
    """What `verify_certificate.py` says."""
    try:
        keys = second_verifier.read_trust(given.trust)
    except second_verifier.Unjudged:
        return 2, None, None
    image = None if given.image is None else hashlib.sha256(given.image).hexdigest()
    beside = second_verifier.Given(given.model, given.log, given.proof, image, given.supersedes)
    said = json.loads(second_verifier.judge(given.bundle, keys, beside).document())
    return int(not said["verified"]), said["status"], said["claim_level"]


def asked(verifier: Callable[[Case], Answer], given: Case) -> Answer | str:
    """A verifier's answer, or what it raised: that is one, too, and never the right one."""
    try:
        return verifier(given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def row(level: Callable[[Random], Case], cases: int) -> Row:
    """A level's cases: how many were tried, how many both judged alike (and rightly), how many held, and the rest."""
    odd, held = [], 0
    for number in range(cases):
        given = case(level, number)
        one, other = asked(first, given), asked(second, given)
        held += one == other and one[0] == 0
        wrong = given.holds is not None and not isinstance(one, str) and (one[0] == 0) != given.holds
        if one != other or isinstance(one, str) or wrong:
            odd.append(f"{level.__name__} {number}: first {one}, second {other}, known {given.holds}")
    told = {"row": level.__name__, "tried": cases, "agree": cases - len(odd), "held": held, "other": len(odd)}
    return {**told, "odd": odd[:10]}


def rows(cases: int = CASES) -> list[Row]:
    """A row a level, the cases shared evenly among them."""
    return [row(level, cases // len(LEVELS) + (at < cases % len(LEVELS))) for at, level in enumerate(LEVELS)]
