"""An original that somebody else trained: read from its published file, converted once, kept like a base of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from unlearning import digests, files
from unlearning.contracts import Generator, GeneratorRecipe, Published
from unlearning.errors import CheckpointError
from unlearning.log import Log, Progress
from unlearning.params import Params
from unlearning.training import checkpoint


def read(params: Params, recipe: GeneratorRecipe) -> Published | None:
    """What `model.weights` holds; None if it names nothing. Raises CheckpointError, also for another sha256."""
    path, wanted = params.model.weights, params.model.weights_sha256
    if path is None:
        return None
    published = recipe.build_from(path, params.data.image_size, params.data.channels)
    if wanted is not None and published.sha256 != wanted:
        raise CheckpointError(
            f"{path}: its sha256 is {published.sha256[:12]}, model.weights_sha256 is {wanted[:12]}; "
            f"restore the file, or accept it by its sha256"
        )
    return published


def take_over(student: Generator, published: Published) -> None:
    """The parts that never train (buffers: positions, a tokenizer) become the published ones."""
    theirs = dict(published.generator.named_buffers())
    with torch.no_grad():
        for name, buffer in student.named_buffers():
            buffer.copy_(theirs[name])


def converted(params: Params, recipe: GeneratorRecipe, published: Published, home: Path, log: Log) -> Path:
    """Our checkpoint of it, below the model's folder; made once. Raises StorageError for a full disk."""
    sizes = params.data.image_size, params.data.channels
    key = digests.of_value([recipe.model_dump(mode="json"), sizes, published.sha256])
    base = home / "base" / key
    told = facts(params, published)
    try:
        checkpoint.load(base, expected=recipe)
    except CheckpointError:
        with files.new_folder(base) as partial:
            checkpoint.save(
                partial, published.generator, recipe, *sizes, {"role": "original", "source": "published", **told}
            )
    log(
        Progress("original_checkpoint", 0, 0, note=f"the published {told['file']} ({published.sha256[:12]}), converted")
    )
    return base


def facts(params: Params, published: Published) -> dict[str, Any]:
    """What is recorded of the source: its name without the path, its sha256 and its layout."""
    name = params.model.weights.name if params.model.weights else ""
    return {"file": name, "sha256": published.sha256, "layout": published.layout}
