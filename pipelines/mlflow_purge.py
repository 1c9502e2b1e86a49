"""What MLflow was given of a purged batch goes from there too: pages and figures with pictures, weights that knew them.

MLflow deletes in two steps: what is deleted is only marked, and `mlflow gc` frees the bytes. What lies below our own
root is freed here at once; of a server's store its weekly `gc` (infra/k8s) does it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from pipelines.tracking import Tracking
from unlearning.evidence import lineage
from unlearning.evidence.purge import Location
from unlearning.verbs import purge as verb
from unlearning.verbs._purge_job import Counted, Job

_PICTURES = ("report.html", "figures")


def cleared(tracking: Tracking, job: Job, before: Location | None) -> Counted:
    """Delete pages and figures that may show an image, and model versions that knew it, with their bytes.

    Where MLflow does not answer, what it was given is said to be left.
    """
    wanted = verb.recorded_elsewhere(job.workspace)
    pages = sorted({batch.key for batch, one in wanted if one.asset == "evaluation_report"})
    weights = sorted({one.sha256 for _, one in wanted if one.asset == "unlearned_checkpoint"})

    def act(client: Any) -> int:
        name = job.params.model.name
        return _pages(client, name, pages) + _versions(client, name, job.workspace.root, _checkpoints(job))

    removed = tracking.ask(f"{job.batch.key}.purge", "purge", {"pages": len(pages)}, act) if wanted else 0
    so_far = 0 if before is None else before.removed
    if removed is None:
        box = tracking.outbox(f"{job.batch.key}.purge")
        box.drop(box.lines())  # the next purge asks again: nothing is said anew from the files
        return Counted("gc", so_far, len(pages) + len(weights), None, "mlflow_is_away", looked=False)
    return Counted("gc", so_far + removed)


def _checkpoints(job: Job) -> set[str]:
    """sha256 of the checkpoints, as the registry names them, whose weights were taken out."""
    taken = {(batch.key, one.asset) for batch, one in verb.recorded_elsewhere(job.workspace)}
    return {
        lineage.read(job.workspace.batch(key), asset).sha256 for key, asset in taken if asset == "unlearned_checkpoint"
    }


def _pages(client: Any, model: str, batches: list[str]) -> int:
    """Pages and figures of the evaluations of some batches; how many files went."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    experiment, went = client.get_experiment_by_name(model), 0
    for batch in batches if experiment is not None else []:
        where = f"tags.`unlearning.asset` = 'evaluation_report' and tags.`unlearning.batch` = '{batch}'"
        for run in client.search_runs([experiment.experiment_id], where):
            store = get_artifact_repository(run.info.artifact_uri)
            for path in _PICTURES:
                found = _listed(client, run.info.run_id, path)
                if found:
                    store.delete_artifacts(path)
                went += found
    return went


def _listed(client: Any, run_id: str, path: str) -> int:
    """How many files an artifact path holds."""
    beside = client.list_artifacts(run_id, str(Path(path).parent) if "/" in path else None)
    here = next((one for one in beside if one.path == path), None)
    if here is None:
        return 0
    return sum(_listed_below(client, run_id, path)) if here.is_dir else 1


def _listed_below(client: Any, run_id: str, path: str) -> list[int]:
    found = client.list_artifacts(run_id, path)
    return [sum(_listed_below(client, run_id, one.path)) if one.is_dir else 1 for one in found]


def _versions(client: Any, model: str, root: Path, checkpoints: set[str]) -> int:
    """Registered versions of these checkpoints, and the logged model with its files that each was made of."""
    went = 0
    for sha256 in sorted(checkpoints):
        for version in client.search_model_versions(f"name = '{model}' and tags.`sha256` = '{sha256}'"):
            logged = client.get_logged_model(str(version.source).removeprefix("models:/"))
            client.delete_model_version(model, version.version)
            client.delete_logged_model(logged.model_id)
            went += 1 + _bytes_of(logged.artifact_location, root)
    return went


def _bytes_of(address: str, root: Path) -> int:
    """MLflow marks a logged model as deleted and leaves its files to `mlflow gc`; below our root they go at once."""
    parsed = urlparse(address)
    folder = Path(unquote(parsed.path))
    if parsed.scheme not in ("", "file") or not folder.is_dir() or not folder.resolve().is_relative_to(root.resolve()):
        return 0
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder)
    return count
