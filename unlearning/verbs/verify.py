"""`unlearning verify DIR`: does the evidence in a batch's folder hold?"""

from __future__ import annotations

from pathlib import Path

from unlearning.evidence import verification
from unlearning.evidence.verification import Verification


def run(folder: Path) -> Verification:
    """Recompute everything, offline. Raises EvidenceError if it is not the folder of a certified batch."""
    return verification.verify(folder)
