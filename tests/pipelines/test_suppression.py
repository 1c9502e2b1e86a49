"""The interim filter in Dagster: beside the line, with its numbers and its claim level."""

from __future__ import annotations

import pytest

from tests.pipelines.line import Line, errors, materialized
from tests.pipelines.same_process import SameProcess
from unlearning import files
from unlearning.evidence import suppression
from unlearning.metrics.extractors import in_domain, inception


def test_a_filter_is_made_beside_the_line_and_shows_what_it_is(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_domain, "_STEPS", 2)
    monkeypatch.setattr(inception, "load", lambda *_: "none here")
    asked = ["deletion_requests", "forget_manifest", "retain_proxy_set", "interim_filter"]
    done = line.run("b1", only=asked, compute=SameProcess())
    assert done.success, errors(done)
    shown = materialized(done)["interim_filter"].metadata
    said = files.read_json(line.batch("b1").asset("interim_filter") / "filter.json")
    assert (shown["claim_level"].value, shown["claim"].value) == ("C0", "suppression, never deletion")
    for name in ("recall", "false_positive_rate"):
        assert shown[name].value == said["held_out"][name]["rate"]
    assert shown["dvc"].value == "not kept: dvc.yaml has the stages of the line alone"
    assert [one.batch for one in suppression.in_force(line.workspace, "digits-mae")] == ["b1"]
