"""Requests that are attacks, without a training: what each is held up by. The trained ones: `requests_as_attacks`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.security import attacked_digits
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
