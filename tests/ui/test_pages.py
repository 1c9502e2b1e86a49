"""What people see, in a real browser: Dagster's asset pages and the report, over a demo that really ran.

Pictures are kept under var/screenshots of the checkout, to be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.tiny import demo, tiny_params
from tests.ui.browser import Page
from tests.ui.webserver import serving, visit

pytestmark = pytest.mark.ui


@pytest.fixture(scope="module")
def home(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the demo ran, in small."""
    folder = tmp_path_factory.mktemp("ui")
    tiny_params(repository, folder / "params.yaml", forgetting_at_least=-10.0, retention_at_least=-10.0)
    done = demo(repository, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def dagster(home: Path, repository: Path) -> Iterator[str]:
    """Dagster's webserver over that folder."""
    env = {**os.environ, "DAGSTER_HOME": str(home / "var" / "dagster"), "PYTHONPATH": str(repository)}
    with serving("pipelines.definitions", home, env) as address:
        yield address


def test_the_asset_page_shows_the_unlearned_checkpoint(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/assets/unlearned_checkpoint?view=partitions", "unlearned_checkpoint")
    page.wait_for("demo")
    page.open(f"{dagster}/assets/unlearned_checkpoint?view=events")
    page.wait_for("params_sha256")
    page.picture(pictures / "asset_unlearned_checkpoint.png")
    for text in ("sha256", "inputs", "mlflow", "dvc", "not kept"):
        assert text in page.text


def test_the_checks_tab_shows_one_check_a_criterion(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/assets/certificate?view=checks", "over_forgetting")
    for name in ("integrity", "retention", "forgetting", "forgetting_trained", "reference_distance"):
        page.wait_for(name)
    page.picture(pictures / "checks_certificate.png")


def test_the_lineage_shows_every_arrow_into_the_report(page: Page, dagster: str, pictures: Path) -> None:
    visit(page, f"{dagster}/assets/evaluation_report?view=lineage", "evaluation_report")
    for name in ("forget_manifest", "retain_proxy_set", "image_dataset", "certificate"):  # longer ones are shortened
        page.wait_for(name)
    page.picture(pictures / "lineage_evaluation_report.png")


def test_the_report_is_readable_offline(page: Page, home: Path, pictures: Path) -> None:
    report = home / "var" / "batches" / "demo" / "evaluation_report" / "report.html"
    page.open(report.as_uri())
    page.wait_for("demo")
    assert "passed" in page.text.lower()
    assert page.value("[...document.images].length") > 0
    assert page.value("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.value("performance.getEntriesByType('resource').filter(r => r.name.startsWith('http')).length") == 0
    assert page.errors == []
    page.picture(pictures / "report.png")
