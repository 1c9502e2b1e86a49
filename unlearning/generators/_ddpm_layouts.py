"""Published unconditional diffusion under our names: diffusers pipelines of a UNet2DModel, and such networks alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unlearning import digests, files
from unlearning.errors import CheckpointError, StorageError
from unlearning.generators import _palette_layouts, _weights
from unlearning.generators._palette_layouts import OPTIONS
from unlearning.generators._weights import Source

__all__ = ["OPTIONS", "PublishedUnet", "read", "unet"]

_PIPELINES = ("DDPMPipeline", "DDIMPipeline")
_INDEX, _SCHEDULER = "model_index.json", Path("scheduler") / "scheduler_config.json"
# What a scheduler's config says of the noise that was trained on, and what diffusers takes where it is silent. The rest
# of it (clipping, variance) is about sampling, which the recipe decides.
_NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
    "rescale_betas_zero_snr": False,
}
# Blocks of the score SDE's network hand a second, coarser picture from block to block.
_UNREAD_BLOCKS = "Skip"
# Names of the attention's weights before diffusers 0.15; google/ddpm-* are kept under them.
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


@dataclass(frozen=True, slots=True)
class PublishedUnet:
    """A network, and the noise it was trained on if the folder says so."""

    source: Source
    scheduler: Mapping[str, Any] | None
    layout: str
    sha256: str


def read(path: Path) -> PublishedUnet:
    """Raises CheckpointError if it is neither a folder of a UNet2DModel nor a pipeline with one."""
    if not path.is_dir():
        raise CheckpointError(
            f"{path}: not a folder; one that diffusers' DDPMPipeline or UNet2DModel has saved is right"
        )
    if not (path / _INDEX).is_file():
        source = _weights.read(path)
        return PublishedUnet(source, None, "diffusers UNet2DModel", source.sha256)
    kind = _mapping(path / _INDEX).get("_class_name")
    if kind not in _PIPELINES:
        raise CheckpointError(f"{path}: a pipeline of {' or '.join(_PIPELINES)} is right, this is {kind!r}")
    scheduler = _mapping(path / _SCHEDULER)
    source = _weights.read(path / "unet")
    listing = [["scheduler", digests.of_file(path / _SCHEDULER)], ["unet", source.sha256]]
    return PublishedUnet(source, scheduler, f"diffusers {kind}", digests.of_value(listing))


def unet(published: PublishedUnet, config: Mapping[str, Any], schedule: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's tensors, if folder and recipe agree on network and noise. Raises CheckpointError if not."""
    source = published.source
    kind = source.config.get("_class_name")
    if kind != "UNet2DModel":
        raise CheckpointError(
            f"{source.name}: a folder of diffusers' UNet2DModel is right, this is {kind or 'not a diffusers folder'}"
        )
    blocks = [*source.config.get("down_block_types", ()), *source.config.get("up_block_types", ())]
    unread = [block for block in blocks if str(block).startswith(_UNREAD_BLOCKS)]
    if unread:
        raise CheckpointError(f"{source.name}: block {unread[0]!r} is of a network this family does not read")
    if published.scheduler is not None:
        _refuse_other_noise(published.scheduler, schedule)
    tensors = _palette_layouts.diffusers(source, config)
    return {_renamed(name): value for name, value in tensors.items()}


def _refuse_other_noise(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    wrong = [
        f"{name} is {theirs.get(name, default)!r}, {ours[name]!r} expected"
        for name, default in _NOISE.items()
        if theirs.get(name, default) != ours[name]
    ]
    _weights.refuse(wrong, f"{_SCHEDULER}: not the noise schedule of the recipe")


def _renamed(name: str) -> str:
    for before, after in _RENAMED.items():
        if ".attentions." in name:
            name = name.replace(before, after)
    return name


def _mapping(path: Path) -> Mapping[str, Any]:
    try:
        held = files.read_json(path)
    except StorageError as error:
        raise CheckpointError(f"{error}; a folder that diffusers has saved is right") from None
    if not isinstance(held, dict):
        raise CheckpointError(f"{path}: not a mapping")
    return held
