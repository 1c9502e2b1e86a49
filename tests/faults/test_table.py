"""The table in the pages is the one that was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import table


def test_the_page_says_what_was_kept() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page()


def test_the_readme_says_what_was_kept(repository: Path) -> None:
    found = table.shown((repository / "README.md").read_text(encoding="utf-8"))
    assert found == table.short()


KEYS = ["edges", "full", "overtaken", "at-once", "changed", "moments", "mlflow", "dvc", "cancelled", "clock", "stopped"]


@pytest.mark.parametrize("key", KEYS)
def test_every_fault_was_tried_and_survived(key: str) -> None:
    row = table.outcomes()[key]
    assert row["tried"] == row["survived"] > 0
