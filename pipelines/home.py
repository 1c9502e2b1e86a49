"""DAGSTER_HOME below the root: one instance for `make demo`, `make dev` and the browser tests."""

from __future__ import annotations

import os
from pathlib import Path

from unlearning import files

TEMPLATE = Path(__file__).parents[1] / "infra" / "dagster" / "dagster.yaml"


def prepare(root: Path) -> Path:
    """The folder with its dagster.yaml; what somebody edited there stays. Sets DAGSTER_HOME for this process."""
    home = root.resolve() / "dagster"
    if not (home / "dagster.yaml").exists():
        files.write_bytes(home / "dagster.yaml", TEMPLATE.read_bytes())
    os.environ["DAGSTER_HOME"] = str(home)
    return home
