"""DVC by its command line, from an environment of its own: its ANTLR pin breaks Dagster's selection parser.

DVC keeps the bytes of every artefact by content. Dagster has made them already, so nothing is executed here:
`dvc commit` writes dvc.lock, after which `dvc status` is clean and `dvc repro` skips. dvc.lock is read as YAML.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unlearning import files
from unlearning.errors import StorageError
from unlearning.stages import STAGES
from unlearning.workspace import Workspace

_LOCKED = ("unable to acquire lock", "is busy, it is being blocked by", "waiting for lock")
VARS = Path("infra/dvc/vars.yaml")


@dataclass(frozen=True, slots=True)
class DvcProject:
    """The folder with dvc.yaml, and the command."""

    folder: Path
    command: str
    wait_s: float = 60.0  # for DVC's lock: it gives up at once, we do not
    limit_s: float = 600.0  # for one call

    def absence(self, root: Path, params: Path) -> str | None:
        """Why DVC cannot keep what lies under `root` and was made with `params`; None if it can."""
        if not (self.folder / "dvc.yaml").is_file():
            return f"there is no dvc.yaml in {self.folder}"
        if self._executable() is None:
            return f"there is no command {self.command!r}; `make setup` installs DVC in an environment of its own"
        if root.resolve() != (self.folder / self._vars()["root"]).resolve():
            return f"the root is {root}, and dvc.yaml keeps {self._vars()['root']}/ (root in {VARS})"
        if params.resolve() != (self.folder / "params.yaml").resolve():
            return f"the parameters came from {params}, and dvc.yaml tracks params.yaml"
        return None

    def adopt(self, batch: str) -> bool:
        """Add `batch` to the list that dvc.yaml runs over; False if it is there. Raises StorageError."""
        path = self.folder / VARS
        with files.locked(self.folder / ".dvc" / "tmp" / "vars.lock", f"{VARS}"):
            if batch in self._vars()["batches"]:
                return False
            text = path.read_text(encoding="utf-8").rstrip("\n")  # the list is last, so its comments survive
            files.write_bytes(path, f"{text}\n  - {batch}\n".encode())
        return True

    def commit(self, batch: str, stages: Sequence[str]) -> None:
        """Record what lies there as the result of these stages. Raises StorageError with DVC's own words."""
        self._run("commit", "--force", *(f"{name}@{batch}" for name in stages))

    def commit_all(self, root: Workspace) -> None:
        """Record what lies there as the result of every stage that was made, of every batch. Raises StorageError.

        A batch that was refused, or is on its way, has stages without a result, over which DVC would give up.
        """
        batches = [root.batch(key) for key in self._vars()["batches"]]
        made = [f"{name}@{batch.key}" for batch in batches for name in STAGES if batch.lineage(name).is_file()]
        self._run("commit", "--force", *made)

    def collect(self) -> None:
        """Remove from cache and remote what no batch of this workspace names any more. Raises StorageError."""
        self._run("push")
        self._run("gc", "--workspace", "--cloud", "--force")

    def push(self, batch: str, stages: Sequence[str], remote: str | None = None) -> None:
        """Copy the bytes to the remote; `remote` is a URL that replaces the folder of .dvc/config."""
        if remote is not None:
            self._run("remote", "add", "--local", "--force", "--default", "chosen", remote)
            self._run("remote", "modify", "--local", "chosen", "verify", "true")  # as .dvc/config has it for its own
        self._run("push", *(f"{name}@{batch}" for name in stages))

    def md5(self, path: Path) -> str | None:
        """DVC's pointer to the bytes at `path`, from dvc.lock; None where it has none. Not evidence: that is sha256."""
        lock = self.folder / "dvc.lock"
        if not lock.is_file():
            return None
        here = path.resolve()
        stages: dict[str, Any] = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages") or {}
        for stage in stages.values():
            for out in stage.get("outs", ()):
                if (self.folder / out["path"]).resolve() == here:
                    return str(out["md5"])
        return None

    def _executable(self) -> str | None:
        found = shutil.which(str(self.folder / self.command)) or shutil.which(self.command)
        return str(Path(found).absolute()) if found else None

    def _vars(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.folder / VARS).read_text(encoding="utf-8"))
        return found

    def _run(self, *words: str) -> None:
        deadline = time.monotonic() + self.wait_s
        while True:
            try:
                done = subprocess.run(
                    [self._executable() or self.command, *words],
                    cwd=self.folder,
                    capture_output=True,
                    text=True,
                    timeout=self.limit_s,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise StorageError(f"dvc {words[0]} did not run: {error}") from None
            said = " ".join((done.stderr or done.stdout).split())
            if done.returncode == 0:
                return
            if not any(sign in said.lower() for sign in _LOCKED) or time.monotonic() > deadline:
                raise StorageError(f"dvc {words[0]}: {said[-400:]}")
            time.sleep(0.5)
