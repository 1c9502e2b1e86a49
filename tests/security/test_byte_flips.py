"""A share of the changed bytes, and every structural attack, at both verifiers: nothing of it is accepted."""

from __future__ import annotations

import pytest

from tests.security import byte_flips
from tests.security.agreement import asked
from tests.security.structural_attacks import ATTACKS, HOLDING


@pytest.mark.parametrize("verifier", byte_flips.VERIFIERS.values(), ids=byte_flips.VERIFIERS)
@pytest.mark.parametrize("name", HOLDING)
def test_what_the_attacks_start_from_holds(verifier: byte_flips.Verifier, name: str) -> None:
    answer = asked(verifier, HOLDING[name])
    assert (answer[0], answer[1]) == (0, {"refused": "refused", "no match": "no_match"}.get(name, "issued"))


def test_nothing_changed_is_accepted() -> None:
    found = byte_flips.rows(every=149)
    assert [row["odd"] for row in found] == [[], [], [], []]
    assert all(row["tried"] >= 40 for row in found)
    assert len(ATTACKS) > 100


def test_every_place_is_changed_in_every_way() -> None:
    content = b"ab\n"
    made = list(byte_flips.changes(content))
    assert len(set(made)) == len(made) - 1  # the last byte deleted, or cut off
    assert content not in made
    assert {len(one) for one in made} == {0, 1, 2, 3, 4}
    assert {content[:at] for at in range(3)} <= set(made)


def test_an_accepted_change_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_flips, "VERIFIERS", {"gullible": lambda _: (0, "issued", "C1")})
    assert [row["other"] == row["tried"] > 0 for row in byte_flips.rows(every=5000)] == [True, True]
