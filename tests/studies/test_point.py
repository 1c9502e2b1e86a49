"""What point.json keeps of a report."""

from __future__ import annotations

from unlearning.verbs._study_point import said


def test_a_point_keeps_whole_pictures_only_where_the_report_has_them() -> None:
    report = {"schema": "report/1", "scores": {"forgetting": None}, "measure": "surprise", "finite": True}
    assert said(report) == {"scores": {"forgetting": None}, "measure": "surprise"}
    block = {"drawn": {"unlearned": {"copies": {"rate": 0.0}}}}
    assert said({**report, "whole_pictures": block})["whole_pictures"] == block
