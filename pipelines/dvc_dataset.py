"""The kind of data-set source that MLflow shows for data kept by DVC. Imports MLflow: only where a run is tracked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import register_dataset_source

from unlearning.settings import Settings

_SCHEME = "dvc://"


class DvcDatasetSource(DatasetSource):  # type: ignore[misc]  # MLflow has no types
    """`dvc://<path>`: a folder of the DVC project. sha256 is its evidence, md5 DVC's pointer to the same bytes."""

    def __init__(self, path: str, sha256: str | None = None, md5: str | None = None) -> None:
        self.path = path
        self.sha256 = sha256
        self.md5 = md5

    @staticmethod
    def _get_source_type() -> str:
        return "dvc"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, str) and raw_source.startswith(_SCHEME)

    @classmethod
    def _resolve(cls, raw_source: Any) -> DvcDatasetSource:
        return cls(str(raw_source).removeprefix(_SCHEME))

    def load(self) -> Path:
        """The folder, pulled from the DVC remote where it is not here. Raises FileNotFoundError if nobody has it."""
        folder = Path(self.path)
        dvc = shutil.which(Settings().dvc)
        if not folder.exists() and dvc is not None:
            subprocess.run([dvc, "pull", "--quiet", self.path], check=False, timeout=3600)
        if not folder.exists():
            raise FileNotFoundError(f"{_SCHEME}{self.path}: not in the workspace, and DVC could not bring it")
        return folder

    def to_dict(self) -> dict[str, Any]:
        """As MLflow stores it."""
        return {"uri": f"{_SCHEME}{self.path}", "sha256": self.sha256, "md5": self.md5}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> DvcDatasetSource:
        """The inverse of `to_dict`."""
        return cls(str(source_dict["uri"]).removeprefix(_SCHEME), source_dict.get("sha256"), source_dict.get("md5"))


register_dataset_source(DvcDatasetSource)
