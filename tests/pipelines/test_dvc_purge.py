"""A purge and the real DVC: what was forgotten leaves its cache and its remote, and its status is clean again."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.purging import recommitted
from pipelines.resources.dvc import Dvc
from tests.pipelines import dvc_project
from tests.toy_batch import toy_params
from unlearning.log import silent
from unlearning.stages import STAGES
from unlearning.verbs import promote, purge, verify
from unlearning.workspace import Workspace


def _dvc(home: Path, *words: str) -> str:
    command = [str(home / ".venv-dvc" / "bin" / "dvc"), *words]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _objects(home: Path, path: Path) -> list[Path]:
    """Where the bytes of a file lie in the cache and in the remote."""
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return [home / "var" / "dvc" / place / "files" / "md5" / md5[:2] / md5[2:] for place in ("cache", "remote")]


def test_what_dvc_kept_of_what_must_go_is_gone_and_the_rest_stays(repository: Path, tmp_path: Path) -> None:
    home = dvc_project.made(tmp_path, repository)
    params, batch = toy_params(home), Workspace(home / "var").batch("b1")
    promote.run(params, batch)
    Dvc(project=str(home)).open().adopt("b2")  # refused at its first stage: nothing of it lies there
    knew = _objects(home, batch.original / "model.safetensors")
    stays = [
        path for asset in (batch.unlearned, batch.reference) for path in _objects(home, asset / "model.safetensors")
    ]
    assert all(path.is_file() for path in (*knew, *stays))

    done = purge.run(params, batch, silent, datetime.now(UTC) + timedelta(days=8))
    said = recommitted(Dvc(project=str(home)), batch, home / "params.yaml")

    assert (done.record.status, said) == ("complete", "committed")
    told = {one.location: one for one in done.record.locations}
    for place in ("dvc_cache", "dvc_remote"):
        assert (told[place].removed > 0, told[place].remaining) == (True, 0)
    assert not any(path.exists() for path in knew)
    assert all(path.is_file() for path in stays)
    assert verify.run(batch.path).verified
    mine = [f"{name}@b1" for name in STAGES]
    assert "Data and pipelines are up to date." in _dvc(home, "status", *mine)
    weights = batch.unlearned / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    _dvc(home, "pull", *mine)  # what stayed comes back, and what went is not missed
    assert weights.read_bytes() == content
    assert not (batch.original / "model.safetensors").exists()
