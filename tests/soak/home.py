"""Where the soak lives: a project's folder with parameters, lines, DVC, and the environment of its processes."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unlearning.workspace import Workspace

HOUSE = Path(__file__).parents[2]
MODEL, DATA, LINE = "soak-mae", "digits", "soak"

# What a platform team writes. The second line is there to be seen; nobody switches it on.
LINES: tuple[dict[str, Any], ...] = (
    {
        "name": LINE,
        "model_name": MODEL,
        "dataset": DATA,
        "cron": "0 2 * * 1",
        "active": True,
        "on_refusal": "requeue",
        "max_attempts": 4,
        "freshness_days": 35,
        "crash_delay_s": 0,
    },
    {
        "name": "twin",
        "model_name": "twin-mae",
        "dataset": DATA,
        "overrides": {"model.name": "twin-mae"},
        "cron": "0 3 1 * *",
    },
)


@dataclass(frozen=True, slots=True)
class Home:
    """A folder in which everything of one soak lies."""

    path: Path
    toy: bool = False  # checkpoints that are only bytes, and no DVC

    @property
    def workspace(self) -> Workspace:
        """Its root."""
        return Workspace(self.path / "var")

    @property
    def params(self) -> Path:
        """The parameters of every batch."""
        return self.path / "params.yaml"

    @property
    def env(self) -> dict[str, str]:
        """Of every process of the soak. Bytecode is kept, beside everything else: dozens of processes start."""
        ours = {
            "UNLEARNING_ROOT": str(self.workspace.root),
            "UNLEARNING_PARAMS": str(self.params),
            "UNLEARNING_DVC": str(HOUSE / ".venv-dvc" / "bin" / "dvc"),
            "UNLEARNING_DEADLINES": '{"contract": {"days": 12}}',
            "UNLEARNING_INBOX_SETTLE_S": "0",
            "DAGSTER_HOME": str(self.workspace.root / "dagster"),
            "SOAK_HOME": str(self.path),
            "SOAK_TOY": "1" if self.toy else "",
            "PYTHONPATH": str(HOUSE),
            "TMPDIR": str(self.path / "tmp"),  # a purge removes what was left in it, by a clock that is far ahead
            "PYTHONPYCACHEPREFIX": str(self.path / "bytecode"),
            "OMP_NUM_THREADS": "1",
            "GOMP_SPINCOUNT": "2000",
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("UNLEARNING_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        return {**kept, **ours}

    def furnish(self, first_batch: str) -> None:
        """Write it, once."""
        (self.path / "tmp").mkdir(parents=True, exist_ok=True)
        self.params.write_text(yaml.safe_dump(_params(), sort_keys=False))
        for line in LINES:
            defs = {"type": "pipelines.components.RecurringUnlearning", "attributes": {**line, "params": "params.yaml"}}
            place = self.path / "defs" / line["name"] / "defs.yaml"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(yaml.safe_dump(defs, sort_keys=False))
        if not self.toy:
            self._keep_with_dvc(first_batch)

    def _keep_with_dvc(self, first_batch: str) -> None:
        """The project's own DVC files; a list of batches may not be empty, so it starts with the first."""
        shutil.copytree(HOUSE / "unlearning", self.path / "unlearning", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore", ".dvc/config", "infra/dvc/vars.yaml"):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(HOUSE / name, self.path / name)
        vars_file = self.path / "infra/dvc/vars.yaml"
        text = vars_file.read_text().replace("python: .venv/bin/python", f"python: {sys.executable}")
        vars_file.write_text(text.replace("- demo", f"- {first_batch}"))


def _params() -> dict[str, Any]:
    """The demo's parameters with budgets of seconds, and thresholds that such budgets can meet.

    What is tried is the operation: unlearning moves every weight a little and forgets next to nothing, so that what was
    certified of earlier batches stays as it was, and the gate `earlier` has no excuse.
    """
    tree: dict[str, Any] = yaml.safe_load((HOUSE / "params.yaml").read_text())
    budget = {"batch_size": 64, "learning_rate": 3e-3, "warmup_steps": 10, "save_every": 100}
    tree["model"]["name"] = MODEL
    tree["generator"] = {"kind": "mae", "size": "tiny", "width": 48, "depth": 1}
    tree["corruption"]["ratio"] = 0.25
    tree["original"] = {**budget, "steps": 800, "learning_rate": 6e-3}
    tree["unlearn"] |= {"method": {"kind": "ascent_repair", "worse": 0.01}}
    tree["unlearn"]["budget"] = {**budget, "steps": 30, "learning_rate": 1e-5}
    tree["evaluate"] |= {"metrics": [{"kind": "mse"}, {"kind": "psnr"}], "profile": "none", "siblings": []}
    tree["evaluate"] |= {"seeds": [0], "bootstrap": 100, "max_images": 600}
    tree["report"] |= {"show_forget_images": False, "pictures": 2}
    tree["gates"]["attacks"] = {}
    for name in ("forgetting_at_least", "retention_at_least"):
        tree["gates"][name]["value"] = -10.0  # what so short a training comes to is not what is tried here
    tree["gates"]["reference_distance_at_most"]["value"] = 10.0
    # The first batch forgets five images: of so few, a tenth comes and goes with every later batch by chance alone.
    few = "soak: five images of a model that was trained for seconds"
    tree["gates"]["earlier_forgetting_drop"] = {"value": 0.5, "source": few}
    tree["policy"] = {
        "rules": [
            {
                "when": {"attempts_at_least": 2},
                "then": "approximate",
                "unlearn": {"method": {"kind": "naive_deletion"}, "budget": {"steps": 20}},
                "because": "what was refused once is not tried the same way again",
            },
            {"then": "approximate", "because": "the usual way"},
        ]
    }
    return tree
