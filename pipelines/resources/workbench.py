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
from unlearning.settings import Settings
from unlearning.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Launch:
    """The parameters a batch was first asked for, so that a click in the UI does not make it with others."""

    params: Path
    overrides: Mapping[str, Any]

    def pin(self, workspace: Workspace, batch: str) -> None:
        """Remember it for `batch`, in place of what was remembered."""
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

    def pinned(self, batch: str) -> Launch | None:
        """What `batch` was launched with; None where nobody launched it."""
        try:
            pinned = files.read_json(_pinned(self.workspace, batch))
        except StorageError:
            return None
        return Launch(Path(pinned["params"]), {**pinned["overrides"], **self.overrides})


def _pinned(workspace: Workspace, batch: str) -> Path:
    return workspace.root / "launches" / f"{batch}.json"
