"""Published weights on this machine: found by their published file names, checked, read without running pickle.

Nothing is ever fetched. Folders that are looked into, in order: the one that `evaluate.extractor_weights` names, and
torch hub's own (`$TORCH_HOME/hub/checkpoints`). A release name that ends in the first digits of its sha256
(`resnet18-f37072fd.pth`) is held to it: a file of another content is not the published network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from unlearning import conversion, digests, tensor_files
from unlearning.errors import CheckpointError

_SHA256 = re.compile(r"-([0-9a-f]{8})$")
_WRAPPERS = ("model", "state_dict", "teacher")  # where training scripts put the weights


@dataclass(frozen=True, slots=True)
class Found:
    """One weights file."""

    path: Path
    sha256: str

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Everything in it that is a tensor, by its published name. Raises CheckpointError if it is damaged."""
        where = self.path.name
        try:
            if self.path.suffix == ".safetensors":
                tensor_files.check(self.path, where)
                held = load_file(self.path)
            else:
                with self.path.open("rb") as file:
                    held = conversion.tensors(file, where, _WRAPPERS)
        except SafetensorError as error:
            raise CheckpointError(f"{where}: not a safetensors file ({error})") from None
        except conversion.Unreadable as error:
            raise CheckpointError(
                f"{where}: damaged, or not readable without running pickle ({error}); a state dict of tensors is right"
            ) from None
        return {name.removeprefix("module."): value for name, value in held.items()}


def folders(named: Path | None) -> tuple[Path, ...]:
    """Where weights are looked for."""
    hub = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    return (hub,) if named is None else (named, hub)


def find(patterns: tuple[str, ...], named: Path | None) -> Found | str:
    """The first file of one of these names, or the sentence that says why there is none."""
    wrong = None
    for folder in folders(named):
        for pattern in patterns:
            for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
                sha256, promised = digests.of_file(path), _SHA256.search(path.stem)
                if promised is None or sha256.startswith(promised[1]):
                    return Found(path, sha256)
                wrong = f"{path.name} is not the published file: its sha256 begins with {sha256[:8]}"
    return wrong or f"no weights on this machine: no file {' or '.join(patterns)} in torch hub's folder of checkpoints"


def put(network: nn.Module, tensors: Mapping[str, Tensor], found: Found) -> nn.Module:
    """`network` with every one of `tensors` and nothing else, frozen. Raises CheckpointError for another layout."""
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{found.path.name}: not the layout that its name promises ({reason})") from None
    return network.eval().requires_grad_(False)
