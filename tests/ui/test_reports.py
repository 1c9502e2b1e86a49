"""The two pages that people read, in a real browser: light and dark, wide and narrow, and on paper.

Pictures are kept under var/screenshots of the checkout, to be looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.tiny_report import report, told
from tests.ui.browser import Page
from unlearning import files
from unlearning.report import page as report_page
from unlearning.report.page import Aside
from unlearning.verbs import compare
from unlearning.workspace import Workspace

pytestmark = pytest.mark.ui

ROLES = ("original", "unlearned", "reference")
WIDE, NARROW = 1050, 400


def attacked(batch: str) -> dict[str, Any]:
    line = {"effort": [0.0, 10.0, 100.0], "forgetting": [0.9, 0.5, 0.25], "low": [0.8, 0.4, 0.2], "high": [1, 0.6, 0.3]}
    signal = {"value": 0.65, "low": 0.5, "high": 0.8, "meaning": "brought back"}
    curve = {"finding": "curve", "effort_unit": "steps", "set": "forget_holdout", "images": 70, "signal": signal}
    curve |= dict.fromkeys(ROLES, line)
    places = {"places": ["as evaluated", "a border of the picture, a quarter of its side", "half of the picture"]}
    attacks = [
        {**curve, "kind": "relearn", "recipe": {"kind": "relearn", "on": "retain", "steps": list(range(0, 2000, 100))}},
        {**curve, **places, "kind": "other_holes", "recipe": {"kind": "other_holes"}},
        told(),
        {"kind": "membership", "recipe": {"kind": "membership"}, "not_made": "the retain set has two images alone"},
    ]
    judged = {"name": "attack_relearn", "status": "fail", "blocking": True, "sentence": "0.650", "source": "a policy"}
    weights = {"original": "a", "reference": "b", "unlearned": "c"}
    criteria = [*report()["criteria"], {**judged, "bound": "<= 0.1"}]
    return {**report(), "batch": batch, "attacks": attacks, "criteria": criteria, "weights": weights}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of a report and of a comparison."""
    home, rng = tmp_path_factory.mktemp("pages"), np.random.default_rng(0)
    sets = ("forget", "forget_holdout", "retain", "holdout")
    aside = Aside(
        shown={"holdout": {row: rng.uniform(-1, 1, (8, 1, 8, 8)).astype(np.float32) for row in (*ROLES, "truth")}},
        inputs={"forget_manifest": "cd" * 32},
        code={"revision": "abc", "dirty": True, "source_sha256": "ef" * 32},
        points={role: {name: rng.normal(size=(150, 2)) for name in sets} for role in ROLES},
        timings=[("unlearned_checkpoint", 63.2, 0.2)],
        machine={"cores": 2},
        not_shown=["resistance to membership: not made"],
    )
    (home / "report.html").write_text(report_page.render(attacked("a"), aside))
    for name in ("a", "b", "c"):
        (home / name).mkdir()
        files.write_json(home / name / "report.json", attacked(name))
    runs = [str(home / name) for name in ("a", "b", "c")]
    done = compare.run(runs, Workspace(home / "root"), home / "out")
    return {"report": (home / "report.html").as_uri(), "compare": (done.folder / "compare.html").as_uri()}


@pytest.mark.parametrize("name", ["report", "compare"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_fits_its_screen(
    tab: Page, pages: dict[str, str], repository: Path, name: str, width: int, dark: bool
) -> None:
    tab.dress(width, dark)
    tab.open(pages[name])
    tab.wait_for("What this report does not show" if name == "report" else "How to read it")
    assert tab.value("document.documentElement.scrollWidth") <= width
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 23, 28)") == dark
    shown = "[...document.querySelectorAll('svg')].filter(one => one.checkVisibility())"
    assert tab.value(f"{shown}.length") >= 4
    assert tab.value(f"{shown}.every(one => one.getBoundingClientRect().height > 20)")
    assert tab.value("performance.getEntriesByType('resource').filter(r => r.name.startsWith('http')).length") == 0
    assert tab.errors == []
    tab.whole_picture(repository / "var" / "screenshots" / f"{name}_{width}_{'dark' if dark else 'light'}.png")


def test_what_is_folded_on_the_screen_is_open_on_paper_and_the_paper_is_white(tab: Page, pages: dict[str, str]) -> None:
    tab.dress(WIDE, dark=True)
    tab.open(pages["report"])
    tab.wait_for("What this report does not show")
    folded = "[...document.querySelectorAll('details:not([open]) table')].map(one => one.checkVisibility())"
    assert set(tab.value(folded)) == {False}
    tab.dress(WIDE, dark=True, paper=True)
    assert set(tab.value(folded)) == {True}
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
