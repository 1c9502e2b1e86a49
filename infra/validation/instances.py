"""dagster.yaml files through Dagster's own schema, storage and run launcher included."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from dagster._core.instance.config import dagster_instance_config
from dagster_shared.error import DagsterError

from infra.validation import INFRA, Row

_STAND_IN = {"UNLEARNING_POSTGRES_URL": "postgresql+psycopg2://user:word@host:5432/dagster"}


def rows() -> Iterator[Row]:
    """Every template."""
    for file in sorted((INFRA / "dagster").glob("*.yaml")):
        yield Row(f"dagster/{file.name}", "Dagster's own schema", tuple(faults(file)))


def faults(file: Path) -> Iterator[str]:
    """What Dagster says of it."""
    with tempfile.TemporaryDirectory() as home, patch.dict(os.environ, _STAND_IN):
        shutil.copyfile(file, Path(home) / "dagster.yaml")
        try:
            dagster_instance_config(home)
        except DagsterError as error:
            yield f"{file.name}: {error}"
