"""The picture and the table of a study's summary: whole with everything there, and with almost nothing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlearning import files
from unlearning.report import pareto, quality

METHODS = [f"method_{place}" for place in range(9)]  # more than there are colours


def score(value: float, spread: float = 0.01) -> dict[str, Any]:
    ends = {"low": value - spread, "high": value + spread, "least": value - spread, "most": value + spread}
    return {"mean": value, "seeds": 3, **ends}


def point(place: int, value: float) -> dict[str, Any]:
    return {
        "value": value,
        "seeds": [0, 1, 2],
        "forgetting": score(min(1.0, value)),
        "forgetting_trained": score(value),
        "retention": score(1 - 0.02 * place * value),
        "sibling_retention": None,
        "steps": 600,
        "seconds": score(12.0),
        "memory_mib": None,
        "meets_target": place == 0 and value == 1.0,
    }


def panel(corruption: str, methods: list[str], **changes: Any) -> dict[str, Any]:
    return {
        "family": "mae",
        "forget": "cat",
        "corruption": corruption,
        "siblings": ["dog"],
        "reference": {name: {"value": 0.95} for name in ("forgetting", "retention")}
        | dict.fromkeys(("forgetting_trained", "sibling_retention")),
        "ceiling": {
            "images": 500, "top_1": 0.6, "balanced_accuracy": 0.6, "auc": 0.8, "recall": 0.31,
            "false_positive_rate": 0.03, "curve": [[0.0, 0.0], [0.03, 0.31], [1.0, 1.0]],
        },
        "methods": [
            {"method": name, "varied": "unlearn.merge.forget_weight", "hypervolume": 0.25,
             "points": [point(place, value) for value in (0.1, 1.0)]}
            for place, name in enumerate(methods)
        ],
        **changes,
    }  # fmt: skip


def summary(*panels: dict[str, Any]) -> dict[str, Any]:
    target = {"forgetting": 0.9, "retention": 0.97, "sibling_retention": 0.93}
    return {
        "name": "s",
        "dataset": "d",
        "command": "unlearning study s.yaml",
        "machines": [{"processor": "a processor", "cores": 2}],
        "made_at": "2026-11-01T00:00:00+00:00",
        "code": {"revision": "abc", "dirty": False},
        "methods": METHODS[::-1],
        "plan": {"target": target},
        "counts": {"points": 20, "finished": 18, "failed": 1, "unfinished": 1},
        "hypervolume": {"worst": [0.0, 0.8], "best": [1.0, 1.0]},
        "panels": list(panels),
        "failed": [{"id": "mae-cat-border-x-s0", "sentence": "the gradient norm is nan at step 2"}],
    }


def test_every_panel_and_method_is_drawn_and_the_same_numbers_give_the_same_bytes() -> None:
    whole = summary(panel("border", METHODS), panel("center_hole", METHODS))
    content = pareto.picture(whole)
    assert content == pareto.picture(files.parse_json(files.canonical(whole), "study.json"))
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).reshape(-1, 3)
    seen = {tuple(colour) for colour in np.unique(pixels, axis=0)}
    for colour in ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", pareto.ROLE_COLOURS["reference"]):
        assert tuple(bytes.fromhex(colour[1:])) in seen


@pytest.mark.parametrize("changes", [{"methods": []}, {"reference": None, "ceiling": None, "methods": []}])
def test_an_unfinished_panel_is_drawn_too(changes: dict[str, Any]) -> None:
    whole = summary(panel("border", []) | changes, panel("center_hole", METHODS[:1]))
    assert Image.open(io.BytesIO(pareto.picture(whole))).format == "PNG"
    assert "## mae, forget cat, border" in quality.table(whole)


def test_a_method_that_forgets_everything_is_counted_where_it_cannot_be_drawn() -> None:
    ruined = point(0, 1.0) | {"retention": score(-3.0)}
    line = {"method": METHODS[0], "varied": None, "hypervolume": 0.0, "points": [ruined]}
    whole = summary(panel("border", []) | {"methods": [line]})
    assert pareto.picture(whole) != pareto.picture(summary(panel("border", [])))


def test_a_score_that_an_older_summary_lacks_is_an_empty_cell() -> None:
    newer = panel("border", METHODS[:1])
    for one in newer["methods"][0]["points"]:
        one |= {"forgetting_bounded": score(0.771), "observer_auc": score(0.612)}
    newer["observer_auc_original"] = {"value": 0.934, "low": 0.9, "high": 0.96, "images": 200}
    page = quality.table(summary(newer))
    assert "the original from the reference with AUC 0.934 (0.900 to 0.960, 200 images)" in page
    assert "0.612 (0.602 to 0.622)" in page
    assert "0.771 (0.761 to 0.781)" in page
    assert "| method_0, forget_weight 0.1 | 0.100 (0.090 to 0.110) | 0.100 (0.090 to 0.110) |  |" in quality.table(
        summary(panel("border", METHODS[:1]))
    )


def test_the_table_says_every_number_the_ceiling_and_what_failed() -> None:
    page = quality.table(summary(panel("border", METHODS[:2])))
    assert "| **method_0, forget_weight 1.0** | 1.000 (0.990 to 1.010) |" in page
    assert "| method_1, forget_weight 0.1 |" in page
    assert "it finds 0.310 of the forget images where 3% of the retained" in page
    assert "- `mae-cat-border-x-s0`: the gradient norm is nan at step 2" in page
    assert "    unlearning study s.yaml" in page
    assert "- processor a processor, cores 2" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1  # no row is ragged


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        ([], "held-out images, missing pixels: 0"),
        ([{}, {"measure": "mse"}], "held-out images, missing pixels: 0"),
        ([{"measure": "surprise"}], "held-out images, surprise at whole pictures where nothing is shown: 0"),
        ([{"measure": "surprise"}, {}], "missing pixels, or surprise at whole pictures where nothing is shown: 0"),
    ],
)
def test_the_table_says_what_scores_are_made_of(measures: list[dict[str, Any]], words: str) -> None:
    assert words in quality.table({**summary(panel("border", METHODS[:1])), "points": measures})
