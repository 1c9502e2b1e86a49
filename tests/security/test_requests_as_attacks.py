"""Requests that are attacks, without a training: what each is held up by. The trained ones: `requests_as_attacks`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests import toys
from tests.security import attacked_digits, request_doors, request_flood
from tests.security.attacked_sights import perturbed
from unlearning import gates
from unlearning.rules import Advice
from unlearning.verbs import _scored
from unlearning.verbs._measure import MEAN_PICTURE, Measured

SOURCE = "a threshold of this test"


def held_out(unlearned: dict[str, float], each: int = 30) -> Measured:
    """`each` held-out images a class: the original errs by 0.2, who knows nothing by 1."""
    names = [name for name in unlearned for _ in range(each)]
    own = np.array([[unlearned[name]] for name in names])
    errors = {"unlearned": own, "original": np.full_like(own, 0.2), MEAN_PICTURE: np.ones_like(own)}
    return Measured("holdout", pa.table({"class": names}), {who: {"mse": one} for who, one in errors.items()}, {})


def test_a_class_that_is_asked_away_does_not_hide_in_the_mean_of_twenty() -> None:
    """Nineteen classes as before, one at half: 0.975 on average, which the demo's bound nearly lets pass."""
    params = attacked_digits.params_with()
    measured = held_out({f"c{n:02d}": 0.2 for n in range(19)} | {"gone": 0.6})
    scores = _scored.of_classes(params.evaluate, {"holdout": measured})
    found = scores["class_retention"]
    assert found is not None
    assert found["value"] == pytest.approx(0.5)
    assert (found["images"], found["set"]) == (30, "holdout")
    bound = Advice(value=0.7, source=SOURCE, blocking=True)
    chosen = params.gates.model_copy(update={"class_retention_at_least": bound})
    report = {"goal": "unreconstructable", "scores": {**scores, "retention": {"value": 0.975}}}
    status = {one.name: (one.status, one.blocking) for one in gates.evaluate(report, chosen, {}).criteria}
    assert (status["retention"], status["class_retention"]) == (("pass", True), ("fail", True))
    silent = params.gates.model_copy(update={"class_retention_at_least": None})
    assert "class_retention" not in {one.name for one in gates.evaluate(report, silent, {}).criteria}
    assert "class_retention_at_least" not in silent.model_dump()  # the digest of gates from before it could be set


def test_classes_of_few_images_say_nothing_and_a_bound_on_nothing_refuses() -> None:
    params = attacked_digits.params_with()
    few = _scored.of_classes(params.evaluate, {"holdout": held_out({"a": 0.9, "b": 0.2}, each=19)})
    assert few == {"class_retention": None} == _scored.of_classes(params.evaluate, {})
    criteria = gates.evaluate({"goal": "unreconstructable", "scores": few}, params.gates, {}).criteria
    assert [one.status for one in criteria if one.name == "class_retention"] == ["not_measured"]


def test_who_is_held_up_at_the_door_and_who_is_not(tmp_path: Path) -> None:
    """What the demo's parameters let through stands here too: a requester's word is all that they ask for."""
    found = {one["row"]: (one["accepted"], one["caught_by"]) for one in request_doors.rows(tmp_path)}
    assert found == {
        "class, no approval": (0, "schema of a request"),
        "class, made-up approval, as the demo": (1, "nothing"),
        "class, made-up approval, officer: [class]": (0, "officer_for_class"),
        "class, made-up approval, cap on a class": (0, "cap_share_of_class"),
        "another's subject, as the demo": (1, "nothing"),
        "another's subject, officer: [subject]": (0, "officer_for_subject"),
        "all that is near, as the demo": (0, "near_duplicates_proposed"),
        "all that is near, within bounds": (0, "near_duplicates_proposed"),
        "one sample, two controllers": (2, "same_rows_as"),
        "a class image by image, caps of one request": (10, "nothing"),
        "a class image by image, cap of the batch": (5, "cap_share_of_class_in_batch"),
        "erasure of what a hold keeps": (0, "conflict_with_hold"),
    }


def test_a_flood_costs_the_same_each_time_and_no_answer_says_what_is_stored(tmp_path: Path) -> None:
    found = {one["row"]: one for one in request_flood.rows(tmp_path, flood=60, at_once=20)}
    first, last = found["a flood of one controller"]["work"]
    assert first == last
    assert found["a fair request behind 60"]["accepted"] == 1
    asked = {name: one["accepted"] for name, one in found.items() if name.startswith("is it stored?")}
    assert asked == {
        "is it stored? before a batch": 0,
        "is it stored? a picture to locate": 0,
        "is it stored? after resolving, its controller": 1,  # the answer that is owed
        "is it stored? after resolving, another's": 0,
    }


def test_a_forged_picture_differs_in_every_pixel_by_no_more_than_it_may() -> None:
    model = toys.built(toys.ToyRecipe())
    stored = [np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8) for seed in range(3)]
    stored[0][:] = 0
    for strength in (1, 8):
        apart = np.abs(np.stack(perturbed(model, stored, strength)).astype(int) - np.stack(stored).astype(int))
        assert set(apart.ravel().tolist()) == {strength}
