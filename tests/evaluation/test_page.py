"""report.html: complete, safe, self-contained; and the PNG figures beside it."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unlearning.report import figures, page

ROLES = ("original", "unlearned", "reference", "mean_picture")
HOSTILE = "<script>alert(1)</script>"


def report(verdict: str = "passed", label: str = "3") -> dict[str, Any]:
    def score(value: float, on: str) -> dict[str, Any]:
        return {"value": value, "low": value - 0.05, "high": value + 0.05, "images": 70, "set": on}

    metrics = {role: {"mse": 0.1 * place, "psnr": 12.5, "ssim": 0.8} for place, role in enumerate(ROLES, 1)}
    found = {"images": 70, "metrics": metrics, "mse_by_class": {label: dict.fromkeys(ROLES, 0.2)}}
    return {
        "model": "digits-mae",
        "batch": "demo",
        "goal": "unreconstructable",
        "verdict": verdict,
        "scores": {
            "forgetting": score(1.2, "forget_holdout"),
            "forgetting_trained": score(1.1, "forget"),
            "retention": score(0.99, "holdout"),
            "retention_trained": None,
            "reference_forgetting": score(1.1, "forget_holdout"),
            "reference_forgetting_trained": score(1.0, "forget"),
            "reference_retention": score(1.01, "holdout"),
        },
        "sets": {"forget": found, "forget_holdout": found, "retain": found, "holdout": found},
        "criteria": [
            {"name": "forgetting", "status": "pass", "blocking": True, "sentence": HOSTILE, "source": "a policy"},
            {"name": "over_forgetting", "status": "fail", "blocking": False, "sentence": "1.2", "source": "a policy"},
        ],
        "extractor": {"name": "a classifier", "weights_sha256": "ab" * 32},
        "corruption": {"kind": "random_patches"},
        "seeds": [0, 1, 2],
        "confidence": 0.95,
    }


def rows(count: int = 6, channels: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = ("what it sees", "original", "unlearned", "reference", "mean_picture", "truth")
    return {label: rng.uniform(-1, 1, (count, channels, 8, 8)).astype(np.float32) for label in labels}


def render(shown: dict[str, dict[str, np.ndarray]], **changes: Any) -> str:
    history = {"unlearned_checkpoint": [{"step": s, "forget": 1 / s, "retain": 0.1, "loss": 1.0} for s in (1, 2, 3)]}
    return page.render(
        {**report(), **changes},
        shown,
        history,
        {"forget_manifest": "cd" * 32},
        {"revision": "abc", "dirty": True, "source_sha256": "ef" * 32},
    )


def test_it_fetches_nothing_and_runs_nothing() -> None:
    html = render({"holdout": rows()})
    assert "default-src 'none'" in html
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html)
    assert "<script" not in html
    assert "url(" not in html


def test_what_stands_in_the_report_is_text_never_markup() -> None:
    html = render({"holdout": rows()}, **{"batch": HOSTILE})
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_the_verdict_comes_first_and_missing_numbers_are_said() -> None:
    html = render({"holdout": rows()}, verdict="refused")
    assert "Refused: this model must not ship" in html
    assert html.index("must not ship") < html.index("Gates") < html.index("What the models draw")
    assert "not measured" in html
    assert "uncommitted changes" in html


def test_scores_that_an_older_report_lacks_are_left_out() -> None:
    newer = {"forgetting_bounded": {"value": 0.87, "low": 0.8, "high": 0.9, "images": 70, "set": "forget_holdout"}}
    assert "Forgetting, bounded" not in render({})
    assert "Forgetting, bounded" in render({}, scores=report()["scores"] | newer)


def test_forget_pictures_appear_only_when_they_are_handed_over() -> None:
    hidden, shown = render({"holdout": rows()}), render({"holdout": rows(), "forget_holdout": rows()})
    assert "Not shown: forget (trained on), forget (held out), retain (trained on)" in hidden
    assert shown.count("<img") == hidden.count("<img") + 5


def test_an_attack_is_a_curve_a_table_and_its_fields() -> None:
    line = {"effort": [0.0, 10.0, 40.0], "forgetting": [0.9, 0.25, None]}
    attack = {
        "kind": "relearn",
        "finding": "curve",
        "signal": None,
        "recipe": {"kind": "relearn", "on": HOSTILE, "images": None},
        "set": "forget_holdout",
        "images": 70,
        "effort_unit": "steps",
        "original": {**line, "forgetting": [0.0, 0.0, 0.0]},
        "unlearned": line,
        "reference": {**line, "forgetting": [1.25, 1.0, 0.75]},
    }
    html = render({}, attacks=[attack])
    assert "relearn · 70 images, forget (held out)" in html
    assert [cell for cell in ("-0.350", "-0.750", "1.250", "—") if f'<td class="number">{cell}</td>' not in html] == []
    # Of 120 high, 0 at the foot and 1.25 at the head: 0.9 stands at 118 - 114 * 0.9 / 1.25; what is null is left out.
    assert 'points="0.0,35.9 150.0,95.2"' in html
    assert 'points="0.0,4.0 150.0,26.8 600.0,49.6"' in html
    assert HOSTILE not in html
    assert "No attack was run here" not in html
    assert "No attack was run here" in render({})
    assert "<h2>Attacks</h2>" not in render({})


def _whole(**scores: Any) -> dict[str, Any]:
    """A report on models that are shown nothing, with drawn pictures and likelihoods."""
    found = {"images": 70, "metrics": {role: {"surprise": 0.25} for role in ROLES}}
    copies = {"count": 12, "of": 400, "rate": 0.03, "low": 0.0172, "high": 0.0517}
    quality = {"inception_score": {"mean": 4.21, "std": 0.5}, "frechet": 1.5, "kid": None, "precision": 0.75}
    drawn = {"images": 400, "copies": copies, "judged": 388, "similarity": 0.9, "recall": 0.5, **quality}
    bits = {"images": 3, "bits": -1.25, "standard_error": 0.0125, "beyond_reference": 0.375}
    return {
        "measure": "surprise",
        "sets": {"retain": {**found, "surprise_by_class": {"3": dict.fromkeys(ROLES, 0.2)}}},
        "whole_pictures": {
            "drawn": dict.fromkeys(ROLES[:3], drawn),
            "copy_distance": 0.357,
            "against": "retain",
            "likelihood": {"forget": dict.fromkeys(ROLES[:3], bits)},
            "extractor": {"name": HOSTILE, "weights_sha256": "ab" * 32},
        },
    }


def test_whole_pictures_are_a_table_of_copies_quality_and_bits() -> None:
    html = render({}, **_whole())
    assert HOSTILE not in html
    cells = ("3.00 %", "1.72 – 5.17 %", "4.21 ± 0.50", "—", "-1.250 ± 0.013", "0.375")
    assert [cell for cell in cells if f'<td class="number">{cell}</td>' not in html] == []
    assert "Surprise is a model's own loss" in html
    assert "MSE" not in html
    assert "on missing pixels" not in html
    plain = render({})
    assert "Surprise" not in plain
    assert "drawn from nothing" not in plain


def test_drawn_pictures_stand_by_model_and_a_hidden_copy_is_faint() -> None:
    drawn = {role: rows()["truth"].copy() for role in ROLES[:3]}
    drawn["original"][1] = np.nan
    strip = np.asarray(Image.open(io.BytesIO(figures.strip(drawn["original"]))))
    alpha = [int(strip[4, 10 * place + 4, 3]) for place in range(6)]
    assert alpha[0] == alpha[2] == 255
    assert 0 < alpha[1] < 128
    history: dict[str, Any] = {}
    html = page.render(
        {**report(), **_whole()}, {}, history, {}, {"revision": "", "dirty": False, "source_sha256": ""}, drawn
    )
    assert html.count("drawn from nothing</h3>") == 1
    assert html.count("<img") == 3
    assert figures.drawn(drawn).startswith(b"\x89PNG")


def test_no_extractor_is_said() -> None:
    assert "not measured: no extractor" in render({}, extractor=None)


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_are_png_of_a_sensible_size(channels: int) -> None:
    shown = {"holdout": rows(channels=channels), "forget_holdout": rows(4, channels)}
    for content in (figures.pictures(shown), figures.scores(report()), figures.classes(report())):
        width, height = Image.open(io.BytesIO(content)).size
        assert 200 < width < 4000
        assert 100 < height < 4000


def test_a_strip_shows_the_pixels_it_was_given() -> None:
    row = np.full((2, 1, 4, 4), -1.0, dtype=np.float32)
    row[1] = 1.0
    pixels = np.asarray(Image.open(io.BytesIO(figures.strip(row))))
    assert pixels.shape == (6, 12, 4)
    assert pixels[2, 2].tolist() == [0, 0, 0, 255]
    assert pixels[2, 8].tolist() == [255, 255, 255, 255]
    assert pixels[0, 0, 3] == 0


def test_figures_without_any_picture_are_still_figures() -> None:
    assert figures.pictures({}).startswith(b"\x89PNG")
