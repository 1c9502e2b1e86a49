"""The browser, and where the pictures of what it saw are kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ui import browser
from tests.ui.browser import Page


@pytest.fixture(scope="session")
def pictures(repository: Path) -> Path:
    return repository / "var" / "screenshots"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A tab for one test."""
    if browser.executable() is None:
        pytest.skip("there is no browser: tests/ui/install.sh gets one")
    with browser.page(tmp_path) as tab:
        yield tab


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab for all tests of a file."""
    if browser.executable() is None:
        pytest.skip("there is no browser: tests/ui/install.sh gets one")
    with browser.page(tmp_path_factory.mktemp("browser")) as found:
        yield found
