"""Published weights, read once: PyTorch archives without running their pickle, safetensors, and folders of either.

A family's own `_*_layouts.py` maps the names; what comes out is saved as our own safetensors checkpoint, and the source
file is never looked at again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from unlearning import conversion, digests, files, tensor_files
from unlearning.errors import CheckpointError, StorageError

ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
FOLDER_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
)
_WRAPPERS = ("model", "state_dict")  # where training scripts put the weights; the rest is optimizer state


@dataclass(frozen=True, slots=True)
class Source:
    """One published file or folder: its tensors by their published names."""

    name: str  # of the file or folder, without the path: paths do not belong into records
    sha256: str  # of the file; of a folder, of its listing of the files that were read
    tensors: dict[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)  # a folder's config.json

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix`, without it."""
        return {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}


def read(path: Path) -> Source:
    """Everything in it that is a tensor. Raises CheckpointError if it is missing, damaged, or needs pickle to be read.

    A folder holds config.json and one of model.safetensors, pytorch_model.bin and their diffusers names.
    """
    if path.is_dir():
        return _read_folder(path)
    if path.suffix not in ENDINGS:
        raise CheckpointError(
            f"{path}: not a weights file by its name; one of {', '.join(ENDINGS)}, or a folder, is right"
        )
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            tensors = _safetensors(file, path) if path.suffix == ".safetensors" else _archive(file, path)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); name a published weights file") from None
    return Source(path.name, sha256, tensors)


def put(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put `tensors` into `network`, every one and nothing else.

    Raises CheckpointError naming the first three names or shapes that do not fit, and what was expected; or a tensor
    that holds a number that is not finite.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    wrong = [f"{name} is missing, {_said(shape)} expected" for name, shape in wanted.items() if name not in found]
    wrong += [
        f"{name} is {_said(found[name])}, {_said(shape)} expected"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    wrong += [
        f"{name} is {_said(shape)}, not a weight of this recipe" for name, shape in found.items() if name not in wanted
    ]
    refuse(wrong, f"{where}: the weights are not those of the recipe")
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{where}: {name} holds a number that is not finite; an undamaged file is right")
    network.load_state_dict(dict(tensors))


def refuse(wrong: Iterable[str], sentence: str) -> None:
    """Raise CheckpointError with the first three of what is wrong, if anything is."""
    every = list(wrong)
    if every:
        more = f" (and {len(every) - 3} more)" if len(every) > 3 else ""
        raise CheckpointError(f"{sentence}: {'; '.join(every[:3])}{more}")


def without(tensors: Mapping[str, Tensor], unused: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors whose names do not begin with any of `unused`: published leftovers that no forward pass reads."""
    return {name: value for name, value in tensors.items() if not name.startswith(unused)}


def _read_folder(path: Path) -> Source:
    present = [path / name for name in FOLDER_FILES if (path / name).is_file()]
    if not present:
        raise CheckpointError(
            f"{path}: no weights in this folder; config.json beside {' or '.join(FOLDER_FILES)} is right"
        )
    try:
        config = files.read_json(path / "config.json")
    except StorageError as error:
        raise CheckpointError(f"{error}; a published folder has its sizes in config.json") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path / 'config.json'}: not a mapping of sizes")
    weights = read(present[0])
    listing = {"config.json": digests.of_file(path / "config.json"), present[0].name: weights.sha256}
    return Source(path.name, digests.of_value(sorted(listing.items())), weights.tensors, config)


def _safetensors(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    content = file.read()
    tensor_files.check(content, str(path))
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from None


def _archive(file: BinaryIO, path: Path) -> dict[str, Tensor]:
    try:
        tensors = conversion.tensors(file, str(path), _WRAPPERS)
    except conversion.Unreadable as error:
        raise CheckpointError(
            f"{path}: damaged, or not readable without running pickle, which is never done ({error}); "
            f"a state dict of tensors, or safetensors, is right"
        ) from None
    if not tensors:
        raise CheckpointError(
            f"{path}: no tensors by name at the top or under {' or '.join(map(repr, _WRAPPERS))}; a state dict is right"
        )
    return tensors


def _said(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
