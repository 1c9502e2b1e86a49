"""Stable Diffusion as diffusers saves it: a folder with unet, vae, scheduler, and the text's two parts.

unet/, vae/                config.json and diffusion_pytorch_model.safetensors or .bin
scheduler/                 scheduler_config.json; of any scheduler: betas and prediction_type are read
text_encoder/, tokenizer/  asked for the empty prompt's embedding, where `transformers` is installed
empty_prompt.safetensors   in their stead: one tensor `context` [tokens, C], or [1, tokens, C]
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearning import digests, files, tensor_files
from unlearning.errors import CheckpointError, StorageError
from unlearning.generators import _weights
from unlearning.generators._weights import Source

# Options that change what a network computes and leave its two halves as they are.
UNET_OPTIONS = frozenset(
    {
        "freq_shift",
        "flip_sin_to_cos",
        "down_block_types",
        "up_block_types",
        "only_cross_attention",
        "downsample_padding",
        "mid_block_scale_factor",
        "dropout",
        "act_fn",
        "norm_num_groups",
        "norm_eps",
        "transformer_layers_per_block",
        "attention_head_dim",
        "use_linear_projection",
        "upcast_attention",
        "resnet_time_scale_shift",
        "conv_in_kernel",
        "conv_out_kernel",
    }
)
VAE_OPTIONS = frozenset(
    {"act_fn", "norm_num_groups", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"}
)
EMPTY_PROMPT = "empty_prompt.safetensors"
_NO_SAY = {"sample_size", "scaling_factor", "force_upcast"}  # sizes come from the images, k is read
# The attention of a VAE saved before diffusers 0.17, and what it is called since.
_RENAMED = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def autoencoder(image_size: int, channels: int, widths: Sequence[int], layers: int, latents: int) -> dict[str, Any]:
    """What builds an AutoencoderKL of these sizes, as its config.json has it."""
    return {
        "sample_size": image_size,
        "in_channels": channels,
        "out_channels": channels,
        "down_block_types": ("DownEncoderBlock2D",) * len(widths),
        "up_block_types": ("UpDecoderBlock2D",) * len(widths),
        "block_out_channels": widths,
        "layers_per_block": layers,
        "latent_channels": latents,
        "norm_num_groups": math.gcd(32, *widths),
    }


@dataclass(frozen=True, slots=True)
class Found:
    """Tensors under our names, and the sha256 of the listing of every file that was read."""

    tensors: dict[str, Tensor]
    sha256: str


def read(path: Path, generator: Any, tokens: int, prompt: str = "") -> Found:
    """A pipeline folder whose configs agree with those of `generator`. Raises CheckpointError if not."""
    if not path.is_dir():
        raise CheckpointError(f"{path}: a pipeline folder with unet, vae and scheduler is right, this is none")
    unet, vae = _part(path, "unet", "UNet2DConditionModel"), _part(path, "vae", "AutoencoderKL")
    wrong = _differing(unet, generator.unet, "unet", UNET_OPTIONS) + _differing(vae, generator.vae, "vae", VAE_OPTIONS)
    _weights.refuse(wrong, f"{path.name}: not the networks of the recipe")
    betas, velocity, scheduler = _schedule(path)
    context, said = _context(path, tokens, prompt)
    tensors = {f"unet.{name}": value for name, value in unet.tensors.items()}
    tensors |= {f"up_time_embedding.{name}": value.clone() for name, value in unet.under("time_embedding.").items()}
    tensors |= {f"vae.{_today(name)}": value for name, value in vae.tensors.items()}
    scaling = vae.config.get("scaling_factor", 0.18215)  # what diffusers supposes of older folders
    tensors |= {
        "betas": betas,
        "predicts_velocity": velocity,
        "context": context,
        "scaling": torch.tensor(float(scaling)),
    }
    listing = {"unet": unet.sha256, "vae": vae.sha256, "scheduler": scheduler, **said}
    return Found(tensors, digests.of_value(sorted(listing.items())))


def _part(path: Path, name: str, kind: str) -> Source:
    source = _weights.read(path / name)
    found = source.config.get("_class_name")
    if found != kind:
        raise CheckpointError(f"{path.name}/{name}: diffusers' {kind} is right, this is {found or 'not of diffusers'}")
    return source


def _differing(source: Source, network: Any, part: str, options: frozenset[str]) -> list[str]:
    """Every name in which a folder's config.json differs from the built network's own."""
    known = inspect.signature(type(network).__init__).parameters
    expected: Mapping[str, Any] = network.config
    return [
        f"{part}: {name} is {theirs!r}, {expected[name]!r} expected"
        f"{f' (generator.{part} sets it)' if name in options else ''}"
        for name in known
        if name in expected and name not in _NO_SAY
        if _plain(theirs := source.config.get(name, known[name].default)) != _plain(expected[name])
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _today(name: str) -> str:
    """A VAE's attention under the names of today."""
    if ".attentions." in name:
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
    return name


def _schedule(path: Path) -> tuple[Tensor, Tensor, str]:
    """betas [T], whether v is predicted [], and the sha256 of what says so."""
    where = path / "scheduler" / "scheduler_config.json"
    try:
        config = files.read_json(where)
    except StorageError as error:
        raise CheckpointError(f"{error}; a pipeline folder has its noise schedule there") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: not a mapping")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(f"{where}: prediction_type is {prediction!r}; epsilon or v_prediction is right")
    from diffusers import DDIMScheduler  # takes seconds to import

    names = (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "rescale_betas_zero_snr",
    )
    try:
        betas = DDIMScheduler(**{name: config[name] for name in names if name in config}).betas
    except (NotImplementedError, TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: not a schedule that diffusers knows ({error})") from None
    return betas, torch.tensor(prediction == "v_prediction"), digests.of_file(where)


def _context(path: Path, tokens: int, prompt: str) -> tuple[Tensor, dict[str, str]]:
    """The prompt's embedding [tokens, C], and the sha256 of what it was read from, by name."""
    beside = path / EMPTY_PROMPT
    if beside.is_file() and not prompt:
        source = _weights.read(beside)
        if "context" not in source.tensors:
            raise CheckpointError(f"{beside}: one tensor named context is right; it holds {sorted(source.tensors)[:3]}")
        return source.tensors["context"].float().reshape(-1, source.tensors["context"].shape[-1]), {
            EMPTY_PROMPT: source.sha256
        }
    parts = [path / "text_encoder", path / "tokenizer"]
    if not all(part.is_dir() for part in parts) or importlib.util.find_spec("transformers") is None:
        raise CheckpointError(
            f"{path}: nothing says what {f'the prompt {prompt[:40]!r}' if prompt else 'the empty prompt'} is to this "
            f"network; {'' if prompt else f'{EMPTY_PROMPT} with a tensor `context` of {tokens} tokens is right, or '}"
            f"text_encoder and tokenizer where the package `transformers` is installed{' are right' if prompt else ''}"
        )
    listing = {part.name: digests.of_listing(digests.of_folder(part)) for part in parts}
    return _embedded(path, tokens, prompt), listing


@torch.no_grad()
def _embedded(path: Path, tokens: int, prompt: str) -> Tensor:
    """As diffusers' pipeline does: padded to the tokenizer's length, the text encoder's last hidden state."""
    transformers: Any = importlib.import_module("transformers")
    for weights in sorted((path / "text_encoder").glob("*.safetensors")):
        tensor_files.check(weights, str(weights))  # the library looks at none of it before it reads all of it
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(path / "tokenizer", local_files_only=True)
        # never a pickle: a folder with text_encoder/pytorch_model.bin alone is refused
        encoder = transformers.CLIPTextModel.from_pretrained(
            path / "text_encoder", local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: text_encoder or tokenizer cannot be read ({reason}); {EMPTY_PROMPT} beside them "
            f"is read in their stead"
        ) from None
    words = tokenizer(prompt, padding="max_length", max_length=tokens, truncation=True, return_tensors="pt")
    embedded: Tensor = encoder.eval()(words.input_ids)[0][0].float()
    return embedded
