"""A finished checkpoint: model.safetensors and checkpoint.json. No pickle is ever written or read.

The weights' sha256 stands in checkpoint.json, and is compared whenever they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from unlearning import digests, files, tensor_files
from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.errors import CheckpointError, ParamsError, StorageError
from unlearning.recipe import Choice

SCHEMA = "checkpoint/1"
WEIGHTS = "model.safetensors"
DESCRIPTION = "checkpoint.json"


def save(
    folder: Path,
    generator: Generator,
    recipe: GeneratorRecipe,
    image_size: int,
    channels: int,
    facts: dict[str, Any],
) -> None:
    """Write both files. `facts` are stored as they are. Raises CheckpointError for a weight that is not finite."""
    weights = tensors(generator)
    refuse_not_finite(weights, f"{folder.name}: nothing was written")
    sha256 = write_tensors(folder / WEIGHTS, weights)
    files.write_json(
        folder / DESCRIPTION,
        {
            "schema": SCHEMA,
            "generator": recipe.model_dump(mode="json"),
            "image_size": image_size,
            "channels": channels,
            "weights_sha256": sha256,
            "parameters": sum(weight.numel() for weight in generator.parameters()),
            "facts": facts,
        },
    )


def load(folder: Path, expected: GeneratorRecipe | None = None) -> Generator:
    """The generator, on the CPU, in eval mode.

    The registry of kinds must be filled first. Raises CheckpointError when a file is missing or damaged, when the
    weights do not fit the recipe or are not finite, and when the recipe is not the `expected` one.
    """
    described = describe(folder)
    recipe = _recipe(folder, described)
    if expected is not None:
        refuse_other_recipe(folder, recipe, expected)
    weights = read_tensors(folder / WEIGHTS, described["weights_sha256"])
    refuse_not_finite(weights, str(folder / WEIGHTS))
    try:
        with torch.random.fork_rng(devices=[]), _Undrawn():  # they are overwritten: drawing them would take seconds
            generator = recipe.build(described["image_size"], described["channels"])
        generator.load_state_dict(weights)
    except (ParamsError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder}: the weights are not those of the recipe beside them ({reason})") from None
    return generator.eval()


def describe(folder: Path) -> dict[str, Any]:
    """checkpoint.json, checked for its shape. Raises CheckpointError."""
    try:
        tree = files.read_json(folder / DESCRIPTION)
    except StorageError as error:
        raise CheckpointError(f"no checkpoint: {error}") from None
    kinds = {"generator": dict, "image_size": int, "channels": int, "weights_sha256": str, "facts": dict}
    whole = isinstance(tree, dict) and tree.get("schema") == SCHEMA
    if not whole or not all(isinstance(tree.get(name), kind) for name, kind in kinds.items()):
        raise CheckpointError(f"{folder / DESCRIPTION}: not a {SCHEMA} description with {', '.join(sorted(kinds))}")
    return dict(tree)


def weights_sha256(folder: Path) -> str:
    """sha256 of model.safetensors as it lies there. Raises CheckpointError when it is missing."""
    try:
        return digests.of_file(folder / WEIGHTS)
    except OSError:
        raise CheckpointError(f"{folder / WEIGHTS}: there is no such checkpoint file") from None


def refuse_other_recipe(folder: Path, found: GeneratorRecipe, expected: GeneratorRecipe) -> None:
    """Raise CheckpointError naming every field in which the two differ."""
    mine, wanted = found.model_dump(mode="json"), expected.model_dump(mode="json")
    differing = [name for name in sorted(mine.keys() | wanted.keys()) if mine.get(name) != wanted.get(name)]
    if differing:
        said = "; ".join(f"{name} is {mine.get(name)!r}, expected {wanted.get(name)!r}" for name in differing)
        raise CheckpointError(f"{folder}: a checkpoint of another recipe: {said}")


def tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU, each tensor with memory of its own (safetensors stores no shared memory)."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}


def write_tensors(path: Path, values: dict[str, Tensor]) -> str:
    """The same tensors give the same bytes. The sha256 of the file. Raises StorageError for a full disk."""
    content = safetensors.torch.save(values)
    files.write_bytes(path, content)
    return digests.of_bytes(content)


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """The tensors, if the file is the one with that sha256. Raises CheckpointError otherwise."""
    try:
        content = path.read_bytes()
    except OSError:
        raise CheckpointError(f"{path}: there is no such checkpoint file") from None
    if digests.of_bytes(content) != sha256:
        raise CheckpointError(f"{path}: damaged, its sha256 is not the recorded {sha256[:12]}; restore or remake it")
    tensor_files.check(content, str(path))
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from None


def refuse_not_finite(values: dict[str, Tensor], where: str) -> None:
    """Raise CheckpointError naming the first tensor that holds a NaN or an infinity."""
    for name, value in values.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{where}: {name} holds a number that is not finite; a smaller learning rate may help"
            )


class _Undrawn(TorchFunctionMode):
    """Inside, random initialisation leaves memory as it is. For networks whose every weight is read next."""

    _DRAWN = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What `func` does, or its first argument as it came."""
        return args[0] if func in self._DRAWN else func(*args, **(kwargs or {}))


def _recipe(folder: Path, described: dict[str, Any]) -> GeneratorRecipe:
    try:
        return GeneratorRecipe.chosen(Choice.model_validate(described["generator"]), str(folder / DESCRIPTION))
    except (ParamsError, ValueError) as error:
        raise CheckpointError(f"{folder}: of a generator this code cannot build: {error}") from None
