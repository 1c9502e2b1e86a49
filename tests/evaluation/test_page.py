"""report.html: complete, safe, self-contained; and the PNG figures beside it."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.tiny_report import HOSTILE, ROLES, report, told
from unlearning.report import attack_figures, figures, page, standing_view
from unlearning.report.charts import Corner
from unlearning.report.page import Aside


def rows(count: int = 6, channels: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = ("what it sees", "original", "unlearned", "reference", "mean_picture", "truth")
    return {label: rng.uniform(-1, 1, (count, channels, 8, 8)).astype(np.float32) for label in labels}


def render(shown: dict[str, dict[str, np.ndarray]], **changes: Any) -> str:
    history = {"unlearned_checkpoint": [{"step": s, "forget": 1 / s, "retain": 0.1, "loss": 1.0} for s in (1, 2, 3)]}
    aside = Aside(
        shown=shown,
        history=history,
        inputs={"forget_manifest": "cd" * 32},
        code={"revision": "abc", "dirty": True, "source_sha256": "ef" * 32},
    )
    return page.render({**report(), **changes}, aside)


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


def test_of_an_earlier_batch_whose_images_are_purged_it_says_who_measured_them_last() -> None:
    purged = {"batch": "b1", "sha256": "ab" * 32, "purged": {"record_sha256": "cd" * 32, "last_measured": "b2"}}
    gone = {"batch": "b0", "not_measured": "shard toys-000000.tar is gone"}
    html = render({"holdout": rows()}, earlier={"images": 0, "batches": [purged, gone]})
    assert "its images are purged, and nothing is left to draw; they were measured last by batch b2" in html
    assert "not measured: shard toys-000000.tar is gone" in html


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
        "recipe": {"kind": "relearn", "source": HOSTILE, "images": None},
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
    # From -0.075 at 190 to 1.325 at 8 pixels: 0.9 stands at 190 - 182 * 0.975 / 1.4; what is null is left out.
    drawn = re.findall(r'<polyline points="([^"]+)" style="stroke: var\(--(?:unlearned|reference)\)', html)
    points = [[float(number) for point in line.split() for number in point.split(",")] for line in drawn]
    assert points[0] == pytest.approx([46, 63.25, 139.5, 147.75], abs=0.06)
    assert points[1] == pytest.approx([46, 17.75, 139.5, 50.25, 420, 82.75], abs=0.06)
    assert HOSTILE not in html
    assert "No attack was run here" not in html
    assert "No attack was run here" in render({})
    assert "<h2>Attacks</h2>" not in render({})


def test_a_kind_stands_at_a_glance_by_its_worst_variant_with_its_gate() -> None:
    judged = {"name": "attack_exposure", "status": "fail", "blocking": True, "sentence": "", "source": "a policy"}
    silent = {"kind": "membership", "recipe": {"kind": "membership"}, "not_made": "the retain set has 2 images"}
    attacks = [told(value=0.1), told(value=0.31), told("probe", value=None, blind=True), silent]
    html = render({}, attacks=attacks, criteria=[*report()["criteria"], judged])
    glance = html[html.index("Attacks at a glance") : html.index("Where it stands")]
    assert "(worst of 2)" in glance
    assert "0.310" in glance
    assert "0.100" not in glance
    assert '<span class="fail">fail</span>' in glance
    assert "blind here: its silence says nothing" in glance
    assert "not made: the retain set has 2 images" in glance
    assert html.index("Gates") < html.index("Attacks at a glance") < html.index("What the models draw")
    assert "<details open><summary>exposure" in html  # its gate refuses
    assert "<details><summary>probe" in html
    assert HOSTILE not in html
    assert "CKA, level 1" in html
    assert "tells as much" not in html
    assert "tells as much" in render({}, attacks=[told(two_sided=True)])


def test_an_epsilon_score_is_a_table_and_what_is_unknown_is_left_out() -> None:
    spread = {"median": 1.25, "mean": 1.5, "low": 1.0, "high": 1.75, "at_limit": 0.125}
    score = {"forgetting": 0.5, "kept": {"retain": 1.0}, "retention_ratio": 1.0, "final": None}
    facts = {"limit": 1.94, "chance": 0.375, "p_value": 0.005, "models": 8, "images": 70}
    found = {"original": {**spread, "median": 1.875}, "epsilon": spread, "floor": {**spread, "median": 0.4375}}
    recipe = {"kind": "epsilon_score", "models": 8}
    entry = {"kind": "epsilon_score", "finding": "epsilon", "recipe": recipe, "score": score, **facts, **found}
    other = {"kind": "of_tomorrow", "finding": "unheard of", "recipe": {"kind": "of_tomorrow"}, "signal": None}
    html = render({}, attacks=[{**entry, "signal": {"value": 0.8125, "low": 0.5, "high": 1.0}}, other])
    assert [cell for cell in ("1.875", "1.250", "0.438", "0.005", "12 %") if f'"number">{cell}' not in html] == []
    assert "of tomorrow" in html


def test_where_it_stands_shades_what_the_gates_ask_for() -> None:
    bounds = {"retention": ">= 0.98", "forgetting": ">= 0.9"}
    criteria = [
        {"name": name, "status": "pass", "blocking": True, "sentence": "", "source": "a policy", "bound": bound}
        for name, bound in bounds.items()
    ]
    assert standing_view.corner(report() | {"criteria": criteria}) == Corner(0.98, 0.9, None)
    assert 'class="corner"' in render({}, criteria=criteria)
    assert 'class="corner"' not in render({})
    unmeasured = {**report()["scores"], "retention": None}
    assert "Where it stands" not in render({}, scores=unmeasured)


def test_who_must_be_as_one_that_never_saw_stands_within_a_distance_of_the_reference() -> None:
    criteria = [
        {"name": "retention", "bound": ">= 0.98"},
        {"name": "reference_distance", "bound": "<= 0.1"},
    ]
    corner = standing_view.corner(report() | {"goal": "never_seen", "criteria": criteria})
    assert (corner.retention, corner.low, corner.high) == (0.98, pytest.approx(0.9), pytest.approx(1.1))


def test_people_are_numbered_and_never_named() -> None:
    found = report()["sets"]["holdout"]
    by_subject = {f"person-{place:02d}": dict.fromkeys(ROLES, 0.2) | {"unlearned": 0.2 + place} for place in range(15)}
    html = render({}, sets={**report()["sets"], "holdout": {**found, "mse_by_subject": by_subject}})
    assert "person-" not in html
    assert "retain (held out), 15" in html
    assert "retain (held out), 3<" not in html  # of fifteen, those who paid least are left out
    assert "3 more are left out" in html


def test_a_map_has_a_panel_a_model_and_says_that_it_is_no_evidence() -> None:
    rng = np.random.default_rng(0)
    points = {role: {name: rng.normal(size=(9, 2)) for name in ("forget", "retain")} for role in ROLES[:3]}
    aside = Aside(code={"revision": "", "dirty": False, "source_sha256": ""}, points=points)
    html = page.render(report(), aside)
    assert html.count('class="cloud"') == 6
    assert "picture, not evidence" in html
    assert "picture, not evidence" not in render({})
    drawn = attack_figures.embedding_map(points)
    assert drawn is not None
    assert drawn.startswith(b"\x89PNG")
    assert attack_figures.embedding_map({}) is None


def test_times_and_what_is_not_claimed_are_listed() -> None:
    aside = Aside(
        code={"revision": "", "dirty": False, "source_sha256": ""},
        timings=[("unlearned_checkpoint", 63.25, 0.25), ("attack probe", 1.0, 0.0)],
        machine={"cores": 2, "processor": HOSTILE},
        not_shown=["resistance to probe: it was blind"],
    )
    html = page.render(report(), aside)
    assert '<td>unlearned checkpoint</td><td class="number">63.2</td><td class="number">0.2</td>' in html
    assert "<li>resistance to probe: it was blind</li>" in html
    assert HOSTILE not in html
    assert "How long it took" not in render({})


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
    aside = Aside(drawn=drawn, code={"revision": "", "dirty": False, "source_sha256": ""})
    html = page.render({**report(), **_whole()}, aside)
    assert html.count("drawn from nothing</h3>") == 1
    assert html.count("<img") == 3
    assert figures.drawn(drawn).startswith(b"\x89PNG")


def test_no_extractor_is_said() -> None:
    assert "not measured: no extractor" in render({}, extractor=None)


def _figures(shown: dict[str, dict[str, np.ndarray]]) -> list[bytes]:
    attacks = attack_figures.attacks(report() | {"attacks": [told(), told("probe")]})
    assert attacks is not None
    return [figures.pictures(shown), figures.scores(report()), figures.classes(report()), attacks]


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_are_png_of_a_sensible_size(channels: int) -> None:
    shown = {"holdout": rows(channels=channels), "forget_holdout": rows(4, channels)}
    for content in _figures(shown):
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
    assert attack_figures.attacks(report()) is None
