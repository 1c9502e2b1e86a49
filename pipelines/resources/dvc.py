"""DVC as a Dagster resource: after an asset is made, its bytes are DVC's too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines.dvc import DvcProject
from unlearning import files
from unlearning.errors import StorageError
from unlearning.settings import Settings


class Dvc(dg.ConfigurableResource[Any]):
    """Which project. What cannot be kept is said in the asset's metadata, and the run goes on."""

    project: str = Field(default=".", description="the folder with dvc.yaml")
    enabled: bool = Field(default=True, description="false: leave dvc.lock alone")

    def open(self) -> DvcProject:
        """The project, with the command of the settings."""
        return DvcProject(Path(self.project).resolve(), Settings().dvc)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """DVC gives up where another DVC works; two lines at once wait here, in turn."""
        with files.locked(self.open().folder / ".dvc" / "tmp" / "kept.lock", "dvc.lock", wait=True):
            yield

    def keep(self, root: Path, params: Path, batch: str, stages: Sequence[str], push: bool = False) -> str:
        """Commit `stages` of `batch` (and push them); one sentence on what came of it."""
        if not self.enabled:
            return "switched off"
        project = self.open()
        absence = project.absence(root, params)
        if absence is not None:
            return f"not kept: {absence}"
        try:
            with self.alone():
                project.adopt(batch)
                project.commit(batch, stages)
                if push:
                    project.push(batch, stages, Settings().dvc_remote)
        except StorageError as error:
            return f"not kept: {error}"
        return "committed and pushed" if push else "committed"
