"""Published MAGE files and their VQ-GAN files under our names, which are theirs but for one.

Published, the decoder's output table is the encoder's input table. Here it is `mlm_layer.weight`, a copy made at the
door: "only the encoder moves" would move the decoder otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unlearning import digests
from unlearning.errors import CheckpointError
from unlearning.generators import _weights
from unlearning.generators._weights import Source

# Left over from the masked autoencoder that MAGE grew out of, and from GAN training: no forward pass reads them.
_UNUSED = ("patch_embed.", "decoder_pred.", "vqgan.loss.", "loss.", "token_emb.position_ids")
_UNUSED_EXACTLY = {"cls_token", "pos_embed", "mask_token", "decoder_pos_embed"}
_TOKENIZER = "vqgan."


@dataclass(frozen=True, slots=True)
class Found:
    """Tensors under our names: of the whole generator, or of the tokenizer alone."""

    name: str
    sha256: str
    layout: str
    tensors: dict[str, Tensor]
    whole: bool


def read(path: Path) -> Found:
    """One file, or a folder with a MAGE file and a VQ-GAN file. Raises CheckpointError."""
    sources = _sources(path)
    mage = [source for source in sources if _is_mage(source)]
    tokenizers = [source for source in sources if _is_tokenizer(source)]
    strangers = [source for source in sources if source not in mage and source not in tokenizers]
    if strangers or len(mage) > 1 or len(tokenizers) > 1 or not sources:
        names = ", ".join(sorted((strangers or mage or tokenizers)[0].tensors)[:3]) if sources else "none"
        raise CheckpointError(
            f"{path}: not a MAGE file (token_emb.…), nor its VQ-GAN (quantize.embedding.…), nor a folder with one of "
            f"each; the first names are {names}"
        )
    sha256 = sources[0].sha256
    if path.is_dir():
        sha256 = digests.of_value([[source.name, source.sha256] for source in sources])
    beside = {f"{_TOKENIZER}{name}": value for source in tokenizers for name, value in _tokenizer(source).items()}
    if not mage:
        alone = {name.removeprefix(_TOKENIZER): value for name, value in beside.items()}
        return Found(path.name, sha256, "VQ-GAN of LTH14/mage", alone, whole=False)
    tensors = {**beside, **_mage(mage[0])}
    if not any(name.startswith(_TOKENIZER) for name in tensors):
        raise CheckpointError(
            f"{path}: holds no VQ-GAN (vqgan.…), and codes mean nothing without theirs; a folder with this file and "
            f"its VQ-GAN file (vqgan_jax_strongaug.ckpt for the published MAGE) is right"
        )
    return Found(path.name, sha256, "LTH14/mage", tensors, whole=True)


def _sources(path: Path) -> list[Source]:
    if not path.is_dir():
        return [_weights.read(path)]
    return [_weights.read(file) for file in sorted(path.iterdir()) if file.suffix in _weights.ENDINGS]


def _is_mage(source: Source) -> bool:
    return any(name.startswith("token_emb.") for name in source.tensors)


def _is_tokenizer(source: Source) -> bool:
    return "quantize.embedding.weight" in source.tensors


def _mage(source: Source) -> dict[str, Tensor]:
    tensors = _weights.without(source.tensors, _UNUSED)
    tensors = {name: value for name, value in tensors.items() if name not in _UNUSED_EXACTLY}
    words = tensors.get("token_emb.word_embeddings.weight")
    if words is not None:
        tensors.setdefault("mlm_layer.weight", words.clone())
    return tensors


def _tokenizer(source: Source) -> dict[str, Tensor]:
    if any(name.startswith("quant_conv.") for name in source.tensors):
        raise CheckpointError(
            f"{source.name}: a VQ-GAN of taming-transformers (it has quant_conv and attention); MAGE's own port of "
            f"MaskGIT's VQ-GAN is read, vqgan_jax_strongaug.ckpt"
        )
    return _weights.without(source.tensors, _UNUSED)
