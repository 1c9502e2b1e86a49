"""MLflow's model registry as a picture of what is served here: versions by checkpoint sha256, and three aliases.

`<root>/models/<name>/champion.json` is the truth (unlearning/evidence/promotion.py); candidate, champion and previous
are its projection, and may lag behind when MLflow is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.tracking import Run


@dataclass(frozen=True, slots=True)
class Registered:
    """One checkpoint as the registry knows it."""

    model: str
    sha256: str  # of the checkpoint's folder


def register(run: Run, model: Registered, artifacts: Sequence[Path], tags: dict[str, str]) -> str | None:
    """The version whose tag is this sha256, made if there is none. None where MLflow does not answer."""

    def act(client: Any) -> str:
        found = _version(client, model)
        if found is not None:
            return found
        logged = client.create_logged_model(
            run.experiment,
            name=model.model,
            source_run_id=run.id,
            tags={"sha256": model.sha256},
            model_type="checkpoint",
        )
        for path in artifacts:
            client.log_model_artifact(logged.model_id, str(path))
        client.finalize_logged_model(logged.model_id, "READY")
        if not client.search_registered_models(f"name = '{model.model}'"):
            client.create_registered_model(model.model)
        version = client.create_model_version(
            model.model,
            f"models:/{logged.model_id}",
            run.id,
            tags={"sha256": model.sha256, **tags},
            model_id=logged.model_id,
        )
        return str(version.version)

    arguments = {"model": model.model, "sha256": model.sha256, "tags": tags}
    return run.tracking.ask(run.outbox, "register", arguments, act) if run.id else None


def propose(run: Run, model: Registered) -> None:
    """Move the alias `candidate` to this checkpoint."""
    run.tracking.ask(
        run.outbox, "candidate", {"sha256": model.sha256}, lambda client: _move(client, model, "candidate")
    )


def crown(run: Run, model: Registered, previous: str | None) -> str | None:
    """Move `champion` to this checkpoint and `previous` to the one it replaces; the version, where MLflow answers."""

    def act(client: Any) -> str | None:
        if previous is not None:
            _move(client, Registered(model.model, previous), "previous")
        version = _move(client, model, "champion")
        candidate = client.get_registered_model(model.model).aliases.get("candidate")
        if version is not None and str(candidate) == version:
            client.delete_registered_model_alias(model.model, "candidate")
        return version

    return run.tracking.ask(run.outbox, "champion", {"sha256": model.sha256, "previous": previous}, act)


def _move(client: Any, model: Registered, alias: str) -> str | None:
    version = _version(client, model)
    if version is not None:
        client.set_registered_model_alias(model.model, alias, version)
    return version


def _version(client: Any, model: Registered) -> str | None:
    found = client.search_model_versions(f"name = '{model.model}' and tags.`sha256` = '{model.sha256}'")
    return str(max(int(version.version) for version in found)) if found else None
