"""What report.json says of attacks, on numbers whose answer is known; and that what was found is kept to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unlearning.attack import Curve, Finding, Forgotten, Separation, Told
from unlearning.params import Evaluate
from unlearning.verbs import _findings, _kept_findings

PLAN = Evaluate.model_validate({"metrics": [{"kind": "mse"}], "bootstrap": 200})
N = 40


def forgotten(value: float, spread: float = 0.0) -> Forgotten:
    """Forgetting of exactly `value`: the original errs by 1, who knows nothing by 3."""
    noise = np.random.default_rng(0).normal(0, spread, N)
    return Forgotten(1 + 2 * value + noise - noise.mean(), np.ones(N), np.full(N, 3.0))


def curve(*values: float, spread: float = 0.0) -> Curve:
    return Curve(list(range(len(values))), [forgotten(value, spread) for value in values], "steps")


def entry(unlearned: Finding, reference: Finding, goal: Any = "never_seen", **more: Any) -> dict[str, Any]:
    found = {"original": more.get("original", unlearned), "unlearned": unlearned, "reference": reference}
    return _findings.entry(found, more.get("control"), PLAN, goal)


def test_a_curve_is_told_point_by_point_with_intervals() -> None:
    said = entry(curve(0.9, 0.4, spread=0.5), curve(0.8, 0.7))
    assert said["finding"] == "curve"
    assert said["unlearned"]["forgetting"] == pytest.approx([0.9, 0.4])
    assert said["unlearned"]["low"][1] < 0.4 < said["unlearned"]["high"][1]
    assert said["reference"]["low"] == said["reference"]["high"] == pytest.approx([0.8, 0.7])


def test_who_should_never_have_seen_it_is_judged_by_what_comes_back_beyond_the_reference() -> None:
    """At the second point 0.3; at the first, before any effort, no attack was made yet."""
    assert entry(curve(0.2, 0.4, 0.6), curve(0.9, 0.7, 0.5))["signal"]["value"] == pytest.approx(0.3)
    assert entry(curve(0.2, 0.4), curve(0.2, 0.1))["signal"]["value"] == pytest.approx(-0.3)


def test_what_must_not_be_restored_is_judged_by_what_comes_back_at_all() -> None:
    """That a model which never saw them draws them, too, is no excuse here."""
    said = entry(curve(0.9, 0.5, 0.6), curve(0.1, 0.0, 0.0), "unreconstructable")
    assert said["signal"] == {"value": pytest.approx(0.4), "low": pytest.approx(0.4), "high": pytest.approx(0.4),
                              "meaning": "known again"}  # fmt: skip
    assert entry(curve(0.9, 0.95), curve(0.1, 0.0), "unreconstructable")["signal"]["value"] == pytest.approx(-0.05)
    assert entry(curve(0.9), curve(0.1), "unreconstructable")["signal"] is None


def test_an_attack_that_teaches_is_judged_beside_the_reference_that_it_teaches_too() -> None:
    taught = [replace(one, teaches=True) for one in (curve(0.9, 0.2), curve(0.8, 0.3))]
    assert entry(*taught, "unreconstructable")["signal"]["value"] == pytest.approx(0.1)


def test_worse_than_knowing_nothing_is_knowing_nothing() -> None:
    """An over-forgotten picture that comes to be as wrong as the mean picture brings nothing back."""
    assert entry(curve(2.5, 1.1), curve(0.9, 0.9), "unreconstructable")["signal"]["value"] == 0
    assert entry(curve(2.5, 0.8), curve(0.9, 1.4), "unreconstructable")["signal"]["value"] == pytest.approx(0.2)
    assert entry(curve(2.5, 0.8), curve(0.9, 1.4))["signal"]["value"] == pytest.approx(0.2)


@pytest.mark.parametrize("goal", ["never_seen", "unreconstructable"])
def test_a_number_that_is_none_is_no_signal(goal: str) -> None:
    broken = curve(0.9, 0.5)
    broken.forgetting[1].errors[3] = np.nan
    said = entry(broken, curve(0.9, 0.9), goal)
    assert said["signal"] is None
    assert said["unlearned"]["forgetting"] == [pytest.approx(0.9), None]


@pytest.mark.parametrize("goal", ["never_seen", "unreconstructable"])
def test_a_point_at_which_the_original_knows_nothing_is_passed_over(goal: str) -> None:
    """Under a hole that it was never trained on, say. Where that is so of every point, nothing is said."""
    there = Forgotten(np.ones(N), np.full(N, 3.0), np.full(N, 2.0))
    some = Curve([0, 1, 2], [forgotten(0.9), there, forgotten(0.5)], "place")
    beside = Curve([0, 1, 2], [forgotten(0.9), there, forgotten(0.9)], "place")
    assert entry(some, beside, goal)["signal"]["value"] == pytest.approx(0.4)
    assert entry(some, beside, goal)["unlearned"]["forgetting"][1] is None
    none = Curve([0, 1], [forgotten(0.9), there], "place")
    assert entry(none, none, goal)["signal"] is None


def told(shift: float, **said: Any) -> Told:
    """Scores of N and of N + 10 images, equal but for a shift."""
    one, other = np.linspace(0, 1, N), np.linspace(0, 1, N + 10)
    return Told([Separation("own loss", one + shift, other)], ("trained on", "held out"), **said)


def test_a_telling_is_an_auc_for_every_model_and_how_far_it_goes_beyond_the_reference() -> None:
    said = entry(told(2.0), told(0.0))
    (unlearned,), (reference,) = said["unlearned"]["separations"], said["reference"]["separations"]
    assert (unlearned["auc"], unlearned["ones"], unlearned["others"]) == (1.0, N, N + 10)
    assert reference["auc"] == pytest.approx(0.5, abs=0.01)
    assert reference["low"] < 0.5 < reference["high"]
    assert said["signal"]["value"] == pytest.approx(0.5, abs=0.01)
    assert unlearned["tpr_at_1_percent"] is None  # 50 others cannot resolve it


def test_two_sided_means_that_lower_tells_as_much_as_higher() -> None:
    assert entry(told(-2.0), told(0.0))["signal"]["value"] == pytest.approx(-0.5, abs=0.01)
    both = entry(told(-2.0, two_sided=True), told(0.0, two_sided=True))
    assert both["signal"]["value"] == pytest.approx(0.5, abs=0.02)


def test_what_kept_images_give_away_stands_beside_the_original() -> None:
    said = entry(told(0.0, beside="original"), told(9.0), original=told(2.0))
    assert said["signal"]["value"] == pytest.approx(-0.5, abs=0.01)
    assert said["signal"]["meaning"] == "AUC beyond the original's"


@pytest.mark.parametrize(("shift", "blind"), [(2.0, False), (0.0, True), (-2.0, True)])
def test_an_attack_that_cannot_tell_what_it_should_is_blind(shift: float, blind: bool) -> None:
    control = told(shift).separations[0]
    assert entry(told(0.0), told(0.0), control=control)["blind"] is blind
    assert "blind" not in entry(told(0.0), told(0.0))


@pytest.mark.parametrize(
    "finding",
    [
        Curve([0, 1], [forgotten(0.5, 0.3), forgotten(0.1, 0.3)], "steps", ("here", "there"), {"ratio": np.inf}, True),
        Told([Separation("a", np.array([0.1, np.nan]), np.array([3.0]))], ("x", "y"), True, "original", {"cka": 0.25}),
    ],
    ids=["curve", "told"],
)
def test_what_was_found_is_kept_to_the_bit(finding: Finding, tmp_path: Path) -> None:
    path = tmp_path / "kept" / "one.npz"
    assert _kept_findings.read(path) is None
    _kept_findings.write(path, finding, 1.25)
    again = _kept_findings.read(path)
    assert again is not None
    np.testing.assert_equal(_flat(again[0]), _flat(finding))
    assert again[1] == 1.25
    path.write_bytes(path.read_bytes()[:-40])
    assert _kept_findings.read(path) is None  # damaged: made again


def _flat(finding: Finding) -> list[Any]:
    if isinstance(finding, Curve):
        points = [[point.errors, point.original, point.nothing] for point in finding.forgetting]
        places = list(finding.places)
        return [list(finding.effort), points, finding.effort_unit, places, dict(finding.numbers), finding.teaches]
    each = [[one.name, one.one, one.other] for one in finding.separations]
    return [each, list(finding.groups), finding.two_sided, finding.beside, dict(finding.numbers)]


def test_a_control_is_kept_and_so_is_that_there_is_none(tmp_path: Path) -> None:
    assert _kept_findings.read_control(tmp_path / "none.npz") is None
    _kept_findings.write_control(tmp_path / "none.npz", None)
    assert _kept_findings.read_control(tmp_path / "none.npz") == (None,)
    _kept_findings.write_control(tmp_path / "one.npz", Separation("loss", np.ones(3), np.zeros(2)))
    kept = _kept_findings.read_control(tmp_path / "one.npz")
    assert kept is not None
    assert kept[0] is not None
    np.testing.assert_array_equal(kept[0].one, np.ones(3))
