"""What an operator sees of a line that ran for a week: schedule, sensors, both lines' assets, a certificate's evidence.

SOAKED names the home of a longer soak to be looked at instead: `make soak SOAK=folder`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.home import Home
from tests.ui.browser import Page
from tests.ui.webserver import serving, visit

pytestmark = pytest.mark.ui

FIRST = "soak-20270104t0200z"
HOME = "/locations/tests.soak.definitions"


@pytest.fixture(scope="module")
def home(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    if "SOAKED" in os.environ:
        return Home(Path(os.environ["SOAKED"]))
    found = Home(tmp_path_factory.mktemp("soak") / "home", toy=True)
    words = ["-m", "tests.soak", "--toy", "--weeks", "1", "--home", str(found.path)]
    done = subprocess.run([sys.executable, *words], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return found


@pytest.fixture(scope="module")
def dagster(home: Home) -> Iterator[str]:
    with serving("tests.soak.definitions", home.path, home.env) as address:
        yield address


def test_two_lines_stand_side_by_side(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/asset-groups", "soak_release")
    page.wait_for("twin_release")
    page.picture(pictures / "two_lines.png")


def test_the_schedule_says_when_and_that_it_is_on(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}{HOME}/schedules/soak_weekly", "soak_weekly")
    page.wait_for("soak_unlearn_batch")
    page.picture(pictures / "schedule_soak.png")
    visit(page, f"{dagster}/automation", "twin_weekly")
    for name in ("soak_weekly", "soak_seal_early", "soak_refusals", "inbox", "deadlines", "dead_runs", "mlflow_outbox"):
        page.wait_for(name)
    page.picture(pictures / "automation.png")


def test_a_sensor_has_its_page(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}{HOME}/sensors/soak_seal_early", "soak_seal_early")
    page.wait_for("soak_unlearn_batch")
    page.picture(pictures / "sensor_seal_early.png")


def test_from_a_certificate_to_its_inputs(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/assets/soak/certificate?view=partitions&partition={FIRST}", FIRST)
    for text in ("sha256", "inputs", "params_sha256"):
        page.wait_for(text)
    page.picture(pictures / "certificate_metadata.png")


def test_the_runs_show_what_was_killed_and_what_resumed(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/runs", FIRST)
    page.wait_for("Failure")
    page.wait_for("Success")
    page.picture(pictures / "runs.png")
