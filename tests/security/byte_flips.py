"""Every byte of a bundle, changed: `python -m tests.security byte_flips`. And every attack of structural_attacks.py.

A bundle has one spelling. So whatever is flipped, inserted, deleted or cut off, nothing may be accepted: not with
another meaning, and not with the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.security.agreement import Answer, asked, first, second
from tests.security.agreement_cases import Case
from tests.security.structural_attacks import ATTACKS, ISSUED, TRUST

Row = dict[str, Any]
REFUSALS: tuple[Answer, ...] = ((1, None, None), (2, None, None))
Verifier = Callable[[Case], Answer]
VERIFIERS: dict[str, Verifier] = {"first": first, "second": second}
INSERTED = b" \n\x00A"  # and, at each place, the byte that stands there


def changes(content: bytes, every: int = 1) -> Iterator[bytes]:
    """Every single-bit flip, insertion, deletion and truncation; or those at every so many-th place only."""
    for at in range(0, len(content), every):
        before, byte, after = content[:at], content[at : at + 1], content[at + 1 :]
        yield from (before + bytes([byte[0] ^ 1 << bit]) + after for bit in range(8))
        yield from (before + bytes([one]) + byte + after for one in dict.fromkeys(INSERTED + byte))
        yield before + after
        yield before


def rows(every: int = 1) -> list[Row]:
    """For both verifiers: the changed bundles, and the attacks; how many were refused, and anything else."""
    found = []
    for name, verifier in VERIFIERS.items():
        tried, odd = 0, list[str]()
        for changed in changes(ISSUED.bundle, every):
            tried += 1
            answer = asked(verifier, Case(changed, TRUST))
            if answer != (1, None, None):
                odd.append(f"change {tried}: {answer}")
        found.append(_row(f"changed bytes, {name}", tried, odd))
        answers = {attack: asked(verifier, case) for attack, case in ATTACKS.items()}
        odd = [f"{attack}: {said}" for attack, said in answers.items() if said not in REFUSALS]
        found.append(_row(f"attacks, {name}", len(ATTACKS), odd))
    return found


def _row(name: str, tried: int, odd: list[str]) -> Row:
    return {"row": name, "tried": tried, "refused": tried - len(odd), "other": len(odd), "odd": odd[:10]}
