"""A batch that was really trained, briefly: digits, a tiny generator, a few seconds. A test may ruin its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unlearning import files
from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.log import silent
from unlearning.params import Params
from unlearning.training import checkpoint
from unlearning.verbs import _asset, ingest, plan, request, resolve, retain, seal, train, unlearn
from unlearning.workspace import BatchFolder, Workspace

BUDGET = {"steps": 400, "batch_size": 64, "learning_rate": 6e-3, "warmup_steps": 20, "save_every": 400}
OVERRIDES = {
    "corruption.ratio": 0.25,  # an easy hole: a short run must do better than the mean picture
    "generator.width": 48,
    "generator.depth": 1,
    "generator.decoder_width": 32,
    "original": BUDGET,
    "unlearn.budget": {**BUDGET, "steps": 80, "learning_rate": 3e-3},
    "unlearn.method": {"kind": "noise_target"},
    "unlearn.scope": {"kind": "encoder"},
    "unlearn.merge.forget_weight": 1.0,
    "evaluate.profile": "none",
    "evaluate.max_images": 120,
    "evaluate.bootstrap": 200,
    "gates.attacks": {},
    "report.show_forget_images": False,
    "report.pictures": 4,
}


@dataclass(frozen=True)
class Trained:
    """The batch, and the parameters it was made with; `params_with` puts more over them."""

    repository: Path
    batch: BatchFolder

    @property
    def params(self) -> Params:
        return self.params_with()

    def params_with(self, **changes: Any) -> Params:
        return Params.read(self.repository / "params.yaml", {**OVERRIDES, **changes})

    def copied(self, root: Path) -> Trained:
        """The same in another root."""
        shutil.copytree(self.batch.workspace.root, root)
        return Trained(self.repository, Workspace(root).batch(self.batch.key))

    def replaced(self, change: Callable[[Generator], None]) -> None:
        """Put the original in the unlearned model's place, changed."""
        batch, params = self.batch, self.params

        def fill(folder: Path, key: str) -> dict[str, Any]:
            generator = checkpoint.load(batch.original)
            with torch.no_grad():
                change(generator)
            recipe = GeneratorRecipe.chosen(params.generator, "generator")
            checkpoint.save(folder, generator, recipe, params.data.image_size, params.data.channels, {})
            return {}

        batch.lineage("unlearned_checkpoint").unlink()
        _asset.make("unlearned_checkpoint", params, batch, silent, fill)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = files.read_json(self.batch.report)
        return found


def made(repository: Path, root: Path) -> Trained:
    """Every asset up to the unlearned checkpoint."""
    torch.set_num_threads(1)
    trained = Trained(repository, Workspace(root).batch("b1"))
    params, batch = trained.params, trained.batch
    ingest.run("digits", "digits", batch.workspace, silent)
    request.add(repository / "infra" / "requests" / "forget-digits-3-and-8.jsonl", batch.workspace)
    for verb in (seal, resolve, retain):
        verb.run(params, batch, silent)
    train.run(params, batch, silent, "original")
    train.run(params, batch, silent, "reference")
    plan.run(params, batch, silent)
    unlearn.run(params, batch, silent)
    return trained
