"""The page for people says what the signed statements say, runs nothing, fetches nothing."""

from __future__ import annotations

import pytest

from tests.evidence import bundles
from tests.evidence.forged_bundles import BREAKS
from tests.evidence.sealing import Draft, measurement
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle_page, bundle_verification, trust


def page(draft: Draft) -> str:
    known = trust.read(draft.trust(), "trust.json")
    return bundle_page.text(bundle_verification.verify(draft.sealed(), known))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("issued", ("Issued", "What was measured", "Valid for", "Is it served?")),
        ("refused", ("Refused", "What was measured", "no promotion statement")),
        ("no_match", ("No matching data", "What was looked for")),
    ],
)
def test_every_shape_has_its_page(status: str, words: tuple[str, ...]) -> None:
    for seed in range(12):
        told = page(bundles.draft(seed, status))
        for word in (*words, "What is not claimed", "Who signed", "unlearning verify"):
            assert word in told, (seed, word)
        assert "default-src 'none'" in told
        assert "<script" not in told


def test_what_is_signed_is_text_on_the_page() -> None:
    draft = bundles.draft(3, "issued")
    draft.index["requests"] = ["<script>alert(1)</script>"]
    told = page(draft)
    assert "&lt;script&gt;alert(1)" in told


def test_a_number_is_rounded_and_never_cut() -> None:
    draft = bundles.draft(3, "issued")
    said = draft.of("test-result/v0.1")[0]
    measured = {**measurement("tiny"), "value": "1.23456789e-05", "low": "-0.15000000000000013", "high": "many"}
    said.update(measurements=[measured], passedTests=["tiny"], failedTests=[], warnedTests=[], result="PASSED")
    told = page(draft)
    assert "1.235e-05" in told
    assert "-0.15 to many" in told


def test_no_page_is_made_of_what_does_not_hold() -> None:
    for name in ("payload_left_out", "empty"):
        with pytest.raises(EvidenceError, match="no page is made"):
            page(BREAKS[name].broken(1))
