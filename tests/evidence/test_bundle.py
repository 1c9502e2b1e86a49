"""A bundle holds, or the one rule that it breaks says so: every clause of the specification on its own."""

from __future__ import annotations

import pytest

from tests.evidence import bundles
from tests.evidence.forged_bundles import BREAKS
from unlearning.evidence import bundle_verification, trust


def problems(content: bytes, trusted: bytes) -> tuple[str, ...]:
    return bundle_verification.verify(content, trust.read(trusted, "trust.json")).problems


def test_every_shape_that_the_specification_allows_holds() -> None:
    shapes = set()
    for seed in range(120):
        draft = bundles.draft(seed)
        assert problems(draft.sealed(), draft.trust()) == (), seed
        shapes.add(tuple(one["predicateType"] for one in draft.statements))
    assert len(shapes) > 20


@pytest.mark.parametrize("name", sorted(BREAKS))
def test_one_broken_rule_speaks_alone(name: str) -> None:
    for seed in range(2):
        draft = BREAKS[name].broken(seed)
        found = problems(draft.sealed(), draft.trust())
        assert found, f"{name} was not noticed"
        assert [one for one in found if not one.startswith(f"{BREAKS[name].rule}:")] == [], f"{name}: {found}"


def test_every_rule_is_broken_by_something() -> None:
    rules = {one.rule for one in BREAKS.values()}
    assert rules == {"spec 5", "spec 6", *(f"spec 7.{number}" for number in range(1, 11))}


def test_the_generator_says_what_is_to_come_out() -> None:
    expected = [bundles.generate(seed) for seed in range(60)]
    assert {holds for _, _, holds in expected} == {True, False}
    for content, trusted, holds in expected:
        assert (problems(content, trusted) == ()) == holds
    assert bundles.generate(7) == bundles.generate(7)
