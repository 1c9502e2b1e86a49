"""Which kept classes or people are nearest to the forgotten ones, with pictures whose features are known beforehand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from unlearning.metrics.extractors.extractor import Extractor
from unlearning.types import Images
from unlearning.verbs import _siblings
from unlearning.verbs._measure import Measured
from unlearning.verbs.evaluate import _set_summary

EYE = Extractor("eye", "", nn.Flatten(), torch.device("cpu"))


class Points:
    """Pictures of one pixel."""

    def __init__(self, values: list[float]) -> None:
        self.values = torch.tensor(values).reshape(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.values)

    def __call__(self, rows: Tensor) -> Images:
        return self.values[rows]


def rows(classes: str, subjects: list[str] | None = None) -> pa.Table:
    """One row a letter."""
    return pa.table({"class": list(classes), "subject": subjects or [""] * len(classes)})


def chosen(forget: pa.Table, holdout: pa.Table, known: list[float], kept: list[float]) -> _siblings.Siblings:
    tables = {"forget": forget, "forget_holdout": forget.slice(0, 0), "holdout": holdout}
    return _siblings.nearest(forget, holdout, tables, {"forget": Points(known), "holdout": Points(kept)}, EYE)


def test_the_two_classes_nearest_to_any_forgotten_one_are_named_nearest_first() -> None:
    """Forgotten: a at 0, b at 10. Their common mean, 5, is where c lies, which is near to neither."""
    holdout = rows("cdefdd")
    found = chosen(rows("aabb"), holdout, [-1, 1, 9, 11], [5, 12, 8.5, -7, 12, 12])
    assert found.said["names"] == ["e", "d"]
    assert found.said["of"] == "class"
    assert found.table is not None
    assert found.table["class"].to_pylist() == ["d", "e", "d", "d"]


def test_where_whole_people_are_forgotten_people_are_named() -> None:
    holdout = rows("xxxx", ["q", "r", "s", "q"])
    found = chosen(rows("xx", ["p", "p"]), holdout, [0, 0], [3, -1, 2, 3])
    assert found.table is not None
    assert set(found.table["subject"].to_pylist()) == {"r", "s"}
    assert (found.said["of"], found.said["names"]) == ("subject", ["person 1", "person 2"])  # a report names nobody


@pytest.mark.parametrize(
    ("forget", "holdout", "said"),
    [
        (rows("a"), rows("ab"), "neither whole classes nor whole subjects"),
        (rows("a"), rows("bb"), "of 1 kept class: 2 are needed"),
    ],
)
def test_where_there_are_none_the_report_says_why(forget: pa.Table, holdout: pa.Table, said: str) -> None:
    found = chosen(forget, holdout, [0.0] * len(forget), [1.0] * len(holdout))
    assert found.table is None
    assert found.said["names"] == []
    assert said in found.said["how"]


def test_errors_are_also_said_of_each_person_where_people_have_several_images() -> None:
    table = rows("xxx", ["p", "q", "p"])
    errors = np.array([[1.0], [2.0], [5.0]])
    summary = _set_summary(Measured("forget", table, {"original": {"mse": errors}}, {"original": {}}))
    assert summary["mse_by_subject"] == {"person 1": {"original": 3}, "person 2": {"original": 2}}
    for people in (["", "", ""], ["p", "q", "r"]):
        alone = Measured("forget", rows("xxx", people), {"original": {"mse": errors}}, {"original": {}})
        assert "mse_by_subject" not in _set_summary(alone)
