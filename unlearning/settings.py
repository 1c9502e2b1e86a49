"""Where things lie and which services are used: one object, every field replaceable by an environment variable."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`UNLEARNING_ROOT=/data UNLEARNING_MLFLOW_URI=http://mlflow:5000 …` replaces a field; nothing need be set."""

    model_config = SettingsConfigDict(env_prefix="UNLEARNING_", frozen=True, extra="forbid")

    root: Path = Field(Path("var"), description="all that a run makes lies under here")
    params: Path = Field(Path("params.yaml"), description="the parameter file of a launch that names no other")
    ledger_url: str | None = Field(None, description="path of the ledger; default: ledger.sqlite under the root")
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: SQLite under the root")
    mlflow_timeout_s: float = Field(3.0, gt=0, description="longest wait for one MLflow call, seconds")
    dvc: str = Field(".venv-dvc/bin/dvc", description="the dvc command, in an environment of its own")
    dvc_remote: str | None = Field(None, description="URL of the DVC remote; default: a folder under the root")
    launcher: str = Field("local", pattern=r"^(local|torchrun)$", description="where training runs: local | torchrun")
    processes: int = Field(1, ge=1, description="processes of a torchrun launch")
