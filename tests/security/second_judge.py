"""The second verifier's judgement, as the clauses that are broken."""

from __future__ import annotations

import re
from typing import Any

from infra.verifier import verify_certificate as verifier
from tests.security import second_bundles as signing

KEYS = verifier.read_trust(signing.trust())
CLAUSE = re.compile("spec ([^:]*): ")


def clauses(bundle: bytes, keys: dict[str, verifier.Key] = KEYS, **given: Any) -> set[str]:
    """The clauses that are broken."""
    found = {CLAUSE.match(problem) for problem in verifier.judge(bundle, keys, verifier.Given(**given)).problems}
    return {match[1] if match else "none is named" for match in found}


def sealed(draft: signing.Draft) -> bytes:
    return signing.sealed(draft).bundle
