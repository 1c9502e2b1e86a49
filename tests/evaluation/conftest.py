"""The short run that tests of evaluation share; each module has a copy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation import small_run
from tests.evaluation.small_run import Trained


@pytest.fixture(scope="session")
def short_run(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once; nobody writes to it."""
    return small_run.made(repository, tmp_path_factory.mktemp("short_run") / "root")
