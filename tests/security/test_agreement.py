"""A share of the 10,000 cases about which the two verifiers have to agree: `python -m tests.security agreement`."""

from __future__ import annotations

import pytest

from infra.verifier import verify_certificate as second_verifier
from tests.evidence.broken_bundles import BREAKS
from tests.security import agreement
from tests.security.agreement_cases import LEVELS, Case
from unlearning.evidence import bundle_rules, bundle_verification

CASES = 330


def test_two_verifiers_agree() -> None:
    found = agreement.rows(CASES)
    assert [row["odd"] for row in found] == [[]] * len(LEVELS)
    assert sum(row["agree"] for row in found) == CASES
    assert CASES / 5 < sum(row["held"] for row in found) < CASES / 2  # both answers are given often


def test_a_verifier_that_forgot_a_rule_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = BREAKS["later_supersedes_nothing"].broken(7)
    given = Case(chosen.sealed(), chosen.trust(), holds=False)
    monkeypatch.setattr(agreement, "case", lambda level, number: given)
    assert agreement.row(LEVELS[0], 1)["other"] == 0
    forgotten = tuple(rule for rule in bundle_rules._RULES if rule is not bundle_rules._follows)
    monkeypatch.setattr(bundle_rules, "_RULES", forgotten)
    assert agreement.row(LEVELS[0], 1)["other"] == 1


def test_what_a_verifier_raises_is_no_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("sets")

    monkeypatch.setattr(second_verifier, "judge", fails)
    monkeypatch.setattr(bundle_verification, "verify", fails)
    assert agreement.row(LEVELS[0], 3)["other"] == 3
