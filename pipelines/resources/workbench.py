"""Where a batch lies and which parameters it is made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from unlearning import files
from unlearning.errors import StorageError
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.workspace import BatchFolder, Workspace


@dataclass(frozen=True, slots=True)
class Launch:
    """The parameters a batch was first asked for, so that a click in the UI does not make it with others."""

    params: Path
    overrides: Mapping[str, Any]

    def pin(self, workspace: Workspace, batch: str) -> None:
        """Remember it for `batch`."""
        files.write_json(_pinned(workspace, batch), {"params": str(self.params), "overrides": dict(self.overrides)})


class Workbench(dg.ConfigurableResource[Any]):
    """The root folder and params.yaml. What is left out comes from the batch's launch, then from the settings."""

    root: str | None = Field(
        default=None, description="all that a run makes lies under here; default: UNLEARNING_ROOT or var"
    )
    params: str | None = Field(
        default=None, description="the parameter file; default: the one the batch was launched with"
    )
    overrides: dict[str, Any] = Field(default={}, description='put over the file, e.g. {"unlearn.budget.steps": 8}')

    @property
    def workspace(self) -> Workspace:
        """The root, absolute: the compute process may have another working folder."""
        return Workspace(Path(self.root or Settings().root).resolve())

    def launch(self, batch: str) -> Launch:
        """Which parameter file and overrides hold for `batch`."""
        if self.params is not None:
            return Launch(Path(self.params), self.overrides)
        try:
            pinned = files.read_json(_pinned(self.workspace, batch))
        except StorageError:
            return Launch(Settings().params, self.overrides)
        return Launch(Path(pinned["params"]), {**pinned["overrides"], **self.overrides})

    def open(self, batch: str) -> tuple[Params, BatchFolder]:
        """Parameters and folder of `batch`. Raises ParamsError, and UnlearningError for a key that is no plain name."""
        folder = self.workspace.batch(batch)
        launch = self.launch(batch)
        return Params.read(launch.params, launch.overrides), folder


def _pinned(workspace: Workspace, batch: str) -> Path:
    return workspace.root / "launches" / f"{batch}.json"
