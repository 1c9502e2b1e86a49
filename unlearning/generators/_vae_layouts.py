"""Published VAEs under our names: a folder that diffusers' AutoencoderKL has saved.

Its encoder is told x and its decoder z; ours are told T(x) and the hole beside them, through weights that are 0 until
they are trained.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearning.errors import CheckpointError
from unlearning.generators import _weights
from unlearning.generators._latent_layouts import VAE_OPTIONS
from unlearning.generators._weights import Source

_SIZES = ("in_channels", "out_channels", "block_out_channels", "layers_per_block", "latent_channels")
_BLOCKS = ("down_block_types", "up_block_types")
# Names of the attention's weights before diffusers 0.17.
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def diffusers(source: Source, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Of a folder whose config.json agrees with `config`, which names sizes and options of an AutoencoderKL.

    Raises CheckpointError if it does not.
    """
    kind = source.config.get("_class_name")
    if kind != "AutoencoderKL":
        raise CheckpointError(
            f"{source.name}: a folder of diffusers' AutoencoderKL is right, this is {kind or 'not a diffusers folder'}"
        )
    from diffusers import AutoencoderKL  # takes seconds to import

    absent = {name: known.default for name, known in inspect.signature(AutoencoderKL.__init__).parameters.items()}
    wrong = [
        f"{name} is {theirs!r}, {ours!r} expected{' (generator.vae sets it)' if name in VAE_OPTIONS else ''}"
        for name in (*_SIZES, *_BLOCKS, *sorted(VAE_OPTIONS))
        if _plain(theirs := source.config.get(name, absent[name])) != _plain(ours := config.get(name, absent[name]))
    ]
    _weights.refuse(wrong, f"{source.name}/config.json: not the network of the recipe")
    more = {"encoder.conv_in.weight": config["in_channels"] + 1, "decoder.conv_in.weight": config["latent_channels"]}
    tensors = {name: _widened(value, more.get(name, 0)) for name, value in source.tensors.items()}
    return {f"{_part(name)}.{_today(name)}": value for name, value in tensors.items()}


def _part(name: str) -> str:
    """Where a published weight lies: encoder.* and quant_conv.* in ours' encoder, all else in its decoder."""
    return "encoder" if name.startswith(("encoder.", "quant_conv.")) else "decoder"


def _widened(weight: Tensor, by: int) -> Tensor:
    """[D, C, 3, 3] -> [D, C + by, 3, 3], which reads nothing of what is new."""
    return torch.cat([weight, weight.new_zeros(len(weight), by, *weight.shape[2:])], dim=1) if by else weight


def _today(name: str) -> str:
    if ".attentions." in name:
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
    return name


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
