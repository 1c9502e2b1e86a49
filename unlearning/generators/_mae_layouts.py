"""Published masked autoencoders under our names: facebookresearch/mae files and Hugging Face ViTMAE folders.

Our names are facebookresearch's. A Hugging Face folder keeps query, key and value apart, and its sizes in config.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from unlearning.errors import CheckpointError
from unlearning.generators import _weights
from unlearning.generators._tokens import sincos_positions
from unlearning.generators._weights import Source

_POSITIONS = ("pos_embed", "decoder_pos_embed")
_BLOCK = re.compile(r"(vit\.encoder\.layer|decoder\.decoder_layers)\.(\d+)\.(.+)\.(weight|bias)")
_STEMS = {"vit.encoder.layer": "blocks", "decoder.decoder_layers": "decoder_blocks"}
_INSIDE = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_FUSED = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))
_OUTSIDE = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "vit.embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "vit.layernorm.weight": "norm.weight",
    "vit.layernorm.bias": "norm.bias",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_pos_embed": "decoder_pos_embed",
    **{
        f"decoder.{part}.{kind}": f"{part}.{kind}"
        for part in ("decoder_embed", "decoder_norm", "decoder_pred")
        for kind in ("weight", "bias")
    },
}


def mapped(source: Source, sizes: Mapping[str, int]) -> tuple[str, dict[str, Tensor]]:
    """The layout's name, and its tensors under our names. `sizes` are those wanted, named as in config.json.

    Raises CheckpointError for an encoder without a decoder, for a config.json of other sizes, and for other layouts.
    """
    names = source.tensors.keys()
    if any(name.startswith(("vit.encoder.layer.", "encoder.layer.")) for name in names):
        _refuse_encoder_only(source, "decoder.decoder_layers.", sizes["hidden_size"])
        _refuse_other_sizes(source, sizes)
        return "transformers ViTMAE", _positions(_from_transformers(source.tensors), sizes)
    if any(name.startswith("blocks.") for name in names):
        _refuse_encoder_only(source, "decoder_embed.", sizes["hidden_size"])
        return "facebookresearch/mae", _positions(dict(source.tensors), sizes)
    first = ", ".join(sorted(names)[:3])
    raise CheckpointError(
        f"{source.name}: no masked autoencoder of facebookresearch/mae (blocks.0.…) or of a Hugging Face ViTMAE folder "
        f"(vit.encoder.layer.0.…); its first names are {first}"
    )


def _refuse_encoder_only(source: Source, decoder: str, width: int) -> None:
    if any(name.startswith(decoder) for name in source.tensors):
        return
    size = {768: "base", 1024: "large", 1280: "huge"}.get(width, "base")
    raise CheckpointError(
        f"{source.name}: holds an encoder only, and a picture needs the decoder too; mae_visualize_vit_{size}.pth "
        f"(plain pixels), mae_pretrain_vit_{size}_full.pth (with normalise_pixels: true) or the folder "
        f"facebook/vit-mae-{size} would do"
    )


def _refuse_other_sizes(source: Source, sizes: Mapping[str, int]) -> None:
    """The number of heads cannot be seen in any tensor. Another image size is possible: positions are a formula."""
    wrong = [
        f"{name} is {source.config.get(name)!r}, {wanted} expected"
        for name, wanted in sizes.items()
        if name != "image_size" and source.config.get(name) != wanted
    ]
    _weights.refuse(wrong, f"{source.name}/config.json: of other sizes than the recipe")


def _from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names mapped; what is unknown keeps its name, so that it is named as an offender."""
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        block = _BLOCK.fullmatch(name)
        if block is None:
            renamed[_OUTSIDE.get(name, name)] = value
            continue
        stem, number, inside, kind = block.groups()
        home = f"{_STEMS[stem]}.{number}"
        if inside == _FUSED[0]:
            parts = [tensors.get(f"{stem}.{number}.{part}.{kind}") for part in _FUSED]
            whole = [part for part in parts if part is not None]
            renamed[f"{home}.attn.qkv.{kind}"] = torch.cat(whole)  # [3 D, D]: a part that is absent shows in the shape
        elif inside not in _FUSED:
            renamed[f"{home}.{_INSIDE.get(inside, inside)}.{kind}"] = value
    return renamed


def _positions(tensors: dict[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """For images of another size than the file's, its position tables drawn anew, if they are the published formula's.

    Both tables are sines and cosines of row and column, and were never trained.
    """
    grid = sizes["image_size"] // sizes["patch_size"]
    for name in _POSITIONS:
        table = tensors.get(name)
        if table is None or table.ndim != 3 or table.shape[1] == 1 + grid**2 or table.shape[2] % 4:
            continue
        theirs = math.isqrt(max(table.shape[1] - 1, 0))
        formula = sincos_positions(theirs, table.shape[2])
        if formula.shape == table.shape and torch.allclose(formula, table.float(), atol=1e-5):
            tensors[name] = sincos_positions(grid, table.shape[2])
    return tensors
