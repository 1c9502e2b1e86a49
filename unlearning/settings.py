"""Where things lie and which services are used: one object, every field replaceable by an environment variable."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

LAUNCHERS = r"^(local|torchrun|kubernetes|ray)$"


class Settings(BaseSettings):
    """`UNLEARNING_ROOT=/data UNLEARNING_MLFLOW_URI=http://mlflow:5000 …` replaces a field; nothing need be set."""

    model_config = SettingsConfigDict(env_prefix="UNLEARNING_", frozen=True, extra="forbid", allow_inf_nan=False)

    root: Path = Field(Path("var"), description="all that a run makes lies under here")
    vault: Path | None = Field(
        None, description="private keys, keys of data sets, sealed old checkpoints, mode 0700; default: <root>/keys"
    )
    params: Path = Field(Path("params.yaml"), description="the parameter file of a launch that names no other")
    ledger_url: str | None = Field(
        None, description="path or URL of the ledger (postgresql+psycopg2://…); default: ledger.sqlite under the root"
    )
    deadlines: dict[str, dict[str, int | str]] = Field(
        {}, description='legal time by regulation, JSON: {"contract": {"days": 14}}; `house` holds for every request'
    )
    mlflow_uri: str | None = Field(None, description="MLflow tracking URI; default: SQLite under the root")
    mlflow_timeout_s: float = Field(3.0, gt=0, description="longest wait for one MLflow call, seconds")
    openlineage_url: str | None = Field(
        None, description="lineage server, http://marquez:5000; default: <root>/openlineage/events.jsonl alone"
    )
    openlineage_timeout_s: float = Field(2.0, gt=0, description="longest wait for the lineage server, seconds")
    dvc: str = Field(".venv-dvc/bin/dvc", description="the dvc command, in an environment of its own")
    dvc_remote: str | None = Field(None, description="URL of the DVC remote; default: a folder under the root")
    automation: bool = Field(False, description="true: every schedule and sensor of every line starts switched on")
    launcher: str = Field(
        "local", pattern=LAUNCHERS, description="where training runs: local | torchrun | kubernetes | ray"
    )
    processes: int = Field(1, ge=1, description="processes of a torchrun launch")
    python: str | None = Field(None, description="interpreter of the compute process; default: the one that launches")
    postgres_url: str | None = Field(
        None, description="Dagster's own tables (postgresql+psycopg2://…); default: SQLite under the root"
    )
    inbox: str | None = Field(
        None,
        description="where controllers leave requests: a folder, s3://…, gs://…; default: <root>/inbox",
    )
    inbox_settle_s: float = Field(1.0, ge=0, description="seconds a file in the inbox must have been at rest")
    intake_host: str = Field("127.0.0.1", description="address of the HTTP intake; beyond this machine it needs tokens")
    intake_port: int = Field(8080, ge=1, le=65535, description="port of the HTTP intake")
