"""A copy of the project's DVC files and code, and a certified toy batch `b1` below its root, kept by the real DVC."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.dvc import VARS
from pipelines.resources.dvc import Dvc
from tests.toy_batch import certified
from unlearning.stages import STAGES


def command(repository: Path) -> Path:
    """The real DVC. Skips where it is not installed."""
    path = repository / ".venv-dvc" / "bin" / "dvc"
    if not path.is_file():
        pytest.skip("there is no .venv-dvc: `make setup` makes it")
    return path


def made(home: Path, repository: Path) -> Path:
    """The project in `home`; everything is committed, and pushed to the remote of .dvc/config."""
    shutil.copytree(repository / "unlearning", home / "unlearning", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config", str(VARS)):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, home / name)
    tree = yaml.safe_load((repository / "params.yaml").read_text())
    tree["data"].update(name="toys", channels=3)
    (home / "params.yaml").write_text(yaml.safe_dump(tree))
    told = (home / VARS).read_text().replace("python: .venv/bin/python", f"python: {sys.executable}")
    (home / VARS).write_text(told.replace("- demo", "- b1"))
    certified(home, home)
    (home / ".venv-dvc" / "bin").mkdir(parents=True)
    (home / ".venv-dvc" / "bin" / "dvc").symlink_to(command(repository))
    said = Dvc(project=str(home)).keep(home / "var", home / "params.yaml", "b1", list(STAGES), push=True)
    assert said == "committed and pushed"
    return home
