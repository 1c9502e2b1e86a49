"""What people see, in a real browser: Dagster's asset pages and the report, over a demo that really ran.

Pictures are kept under var/screenshots of the checkout, to be looked at.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.tiny import demo, tiny_params
from tests.ui import browser
from tests.ui.browser import Page

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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-h", "127.0.0.1", "-p", str(port), "-m", "pipelines.definitions"]
    command = [str(Path(sys.executable).with_name("dagster-webserver")), *words]
    env = {**os.environ, "DAGSTER_HOME": str(home / "var" / "dagster"), "PYTHONPATH": str(repository)}
    with (home / "webserver.log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)
        try:
            _until_it_serves(f"http://127.0.0.1:{port}/server_info", process, home / "webserver.log")
            _dismiss_the_invitation(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if browser.executable() is None:
        pytest.skip("there is no browser: tests/ui/install.sh gets one")
    with browser.page(tmp_path) as tab:
        yield tab


@pytest.fixture(scope="session")
def pictures(repository: Path) -> Path:
    return repository / "var" / "screenshots"


def _until_it_serves(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """The listening socket appears when the code location is loaded; asking again is all one can do until then."""
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            _wait_a_little(process)
    raise AssertionError(log.read_text()[-2000:])


def _wait_a_little(process: subprocess.Popen[bytes]) -> None:
    """A tenth of a second, or the end of the process."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


def _dismiss_the_invitation(address: str) -> None:
    """Dagster greets the first visitor with a newsletter, over everything else."""
    body = json.dumps({"query": "mutation { setNuxSeen }"}).encode()
    request = urllib.request.Request(f"{address}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer) == {"data": {"setNuxSeen": True}}


def _visit(page: Page, address: str, text: str) -> None:
    page.open(address)
    page.wait_for(text)
    assert "Join the Dagster community" not in page.text


def test_the_asset_page_shows_the_unlearned_checkpoint(page: Page, dagster: str, pictures: Path) -> None:
    _visit(page, f"{dagster}/assets/unlearned_checkpoint?view=partitions", "unlearned_checkpoint")
    page.wait_for("demo")
    page.open(f"{dagster}/assets/unlearned_checkpoint?view=events")
    page.wait_for("params_sha256")
    page.picture(pictures / "asset_unlearned_checkpoint.png")
    for text in ("sha256", "inputs", "mlflow", "dvc", "not kept"):
        assert text in page.text


def test_the_checks_tab_shows_one_check_a_criterion(page: Page, dagster: str, pictures: Path) -> None:
    _visit(page, f"{dagster}/assets/certificate?view=checks", "over_forgetting")
    for name in ("integrity", "retention", "forgetting", "forgetting_trained", "reference_distance"):
        page.wait_for(name)
    page.picture(pictures / "checks_certificate.png")


def test_the_lineage_shows_every_arrow_into_the_report(page: Page, dagster: str, pictures: Path) -> None:
    _visit(page, f"{dagster}/assets/evaluation_report?view=lineage", "evaluation_report")
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
