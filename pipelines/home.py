"""DAGSTER_HOME below the root: one instance for `make demo`, `make dev` and the browser tests."""

from __future__ import annotations

import os
from pathlib import Path

from unlearning import files
from unlearning.settings import Settings

_TEMPLATES = Path(__file__).parents[1] / "infra" / "dagster"
SQLITE, POSTGRES = _TEMPLATES / "dagster.yaml", _TEMPLATES / "dagster.postgres.yaml"


def prepare(root: Path) -> Path:
    """The folder with its dagster.yaml; what somebody edited there stays. Sets DAGSTER_HOME for this process.

    PostgreSQL where UNLEARNING_POSTGRES_URL is set, else SQLite; the other template's file is replaced if unedited.
    """
    home = root.resolve() / "dagster"
    wanted, other = (POSTGRES, SQLITE) if Settings().postgres_url else (SQLITE, POSTGRES)
    there = home / "dagster.yaml"
    if not there.exists() or there.read_bytes() == other.read_bytes():
        files.write_bytes(there, wanted.read_bytes())
    os.environ["DAGSTER_HOME"] = str(home)
    return home
