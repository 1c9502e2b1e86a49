"""Published diffusion U-Nets under our names: the released Palette's flat state dict, diffusers UNet2DModel folders."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unlearning.errors import CheckpointError
from unlearning.generators import _weights
from unlearning.generators._weights import Source

# Options of UNet2DModel that change what it computes and leave its two halves as they are.
OPTIONS = frozenset(
    {
        "freq_shift",
        "flip_sin_to_cos",
        "down_block_types",
        "up_block_types",
        "mid_block_scale_factor",
        "downsample_padding",
        "downsample_type",
        "upsample_type",
        "dropout",
        "act_fn",
        "attention_head_dim",
        "norm_num_groups",
        "attn_norm_num_groups",
        "norm_eps",
        "resnet_time_scale_shift",
        "add_attention",
    }
)
_SIZES = ("in_channels", "out_channels", "block_out_channels", "layers_per_block")
_FIXED = ("center_input_sample", "time_embedding_type", "mid_block_type", "class_embed_type", "num_class_embeds")
_GUIDED = "denoise_fn."
_SCHEDULE = ("gammas", "sqrt_recip_gammas", "sqrt_recipm1_gammas", "posterior_")


def guided(source: Source) -> dict[str, Tensor]:
    """Of *_Network.pth; its schedules are recomputed from the recipe. Raises CheckpointError for another layout."""
    tensors = {name.removeprefix("module."): value for name, value in source.tensors.items()}  # saved from DDP
    tensors = _weights.without(tensors, _SCHEDULE)
    if not any(name.startswith(f"{_GUIDED}input_blocks.") for name in tensors):
        first = ", ".join(sorted(source.tensors)[:3])
        raise CheckpointError(
            f"{source.name}: not a Palette network (denoise_fn.input_blocks.…), its first names are {first}; for a "
            f"diffusers folder leave out `network: guided`"
        )
    return tensors


def diffusers(source: Source, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of a folder whose config.json agrees with `config`, the built network's own. Raises CheckpointError if not."""
    kind = source.config.get("_class_name")
    if kind != "UNet2DModel":
        raise CheckpointError(
            f"{source.name}: a folder of diffusers' UNet2DModel is right, this is {kind or 'not a diffusers folder'}; "
            f"for the released Palette's file write `network: guided`"
        )
    from diffusers import UNet2DModel  # takes seconds to import

    absent = {name: known.default for name, known in inspect.signature(UNet2DModel.__init__).parameters.items()}
    wrong = [
        f"{name} is {theirs!r}, {config[name]!r} expected{' (generator.unet sets it)' if name in OPTIONS else ''}"
        for name in (*_SIZES, *_FIXED, *sorted(OPTIONS))
        if _plain(theirs := source.config.get(name, absent[name])) != _plain(config[name])
    ]
    _weights.refuse(wrong, f"{source.name}/config.json: not the network of the recipe")
    return {f"unet.{name}": value for name, value in source.tensors.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
