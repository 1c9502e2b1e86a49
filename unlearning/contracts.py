"""The nouns: what a generator, corruption, method, merge, scope and metric must be able to do.

Who knows this file knows the house; unlearning/attack.py is the same for attacks. `draws` are random numbers as a
function of place (unlearning/randomness.py); the `original` is frozen, in eval mode and never updated; membership is a
place (`batch.forget`, `batch.retain`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from unlearning.errors import CheckpointError
from unlearning.params import Budget
from unlearning.randomness import Draws
from unlearning.recipe import Recipe
from unlearning.types import Batch, Corrupted, Images, Latents, Missing, Pair, PerImage, Terms, View

Prepared: TypeAlias = dict[str, Tensor]  # what a method or scope computed once: neighbours, Fisher, masks, targets


class ImageSource(Protocol):
    """Images of one set by their row: decoded, resized, [B, C, H, W] float32 in [-1, 1]."""

    def __len__(self) -> int: ...
    def __call__(self, rows: Tensor) -> Images:
        """The images of `rows` [B] int64. Raises DataError if one is not what its hash says."""
        ...


class Generator(nn.Module, ABC):
    """An image-to-image generator D(E(T(x))), E the encoder and D the decoder."""

    view_is_fixed: ClassVar[bool] = False  # True: `draw_view` draws nothing, a view is a function of the hole
    constants_are_of: Literal["nothing", "clean", "corrupted"] = "nothing"  # what `constants` looks at

    @abstractmethod
    def draw_view(self, corrupted: Corrupted, draws: Draws) -> View:
        """All randomness of one pass, drawn once, so that student and original share it."""

    def constants(self, pair: Pair) -> Tensor:
        """What `encode` needs of a pair that no training changes: [B, ...]. Used instead if it comes as `pair.known`.

        Asked only of a family that says what they are of; T has no say in those of the clean image.
        """
        raise NotImplementedError

    @abstractmethod
    def encode(self, pair: Pair, view: View) -> Latents:
        """E(T(x)) under `view`. A diffusion encoder is fed the noised hole, so it needs `pair.clean`; others do not."""

    @abstractmethod
    def loss(self, pair: Pair, view: View) -> PerImage:
        """The family's own training loss, on missing pixels, for methods that unlearn through the output."""

    @abstractmethod
    def reconstruct(self, corrupted: Corrupted, draws: Draws) -> Images:
        """D(E(T(x))): the picture a user would get. Visible pixels come back untouched."""

    @abstractmethod
    def encoder_parameters(self) -> dict[str, nn.Parameter]:
        """The weights of E alone, by their names in the state dict."""

    def first_stage(self) -> Generator | None:
        """A trainable copy of the part that is trained before all else and fixed in unlearning; None = no such part.

        A tokenizer, say. It stands in buffers here: no scope finds it.
        """
        return None

    def settle(self, first_stage: Generator) -> None:
        """Take the trained `first_stage()` over; nothing moves it from here on."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Published:
    """A generator read from a published file. What never trains (positions, a tokenizer) stands in its buffers."""

    generator: Generator
    layout: str  # whose names the file has
    sha256: str  # of the file, or of a folder's listing
    whole: bool = True  # False: only the buffers are published, the weights are random and want training


class GeneratorRecipe(Recipe):
    """How to build one generator family for images [B, channels, size, size]. Weights are loaded by the caller."""

    abilities: ClassVar[tuple[type[Generator], ...]] = ()  # Drawing, say: known before anything is built
    reads_degraded: ClassVar[bool] = False  # True: takes a picture that is degraded everywhere as a hint

    def build(self, image_size: int, channels: int) -> Generator:
        """Random weights from torch's global seed. Raises ParamsError if the sizes do not fit."""
        raise NotImplementedError

    def part(self) -> GeneratorRecipe:
        """The recipe of what reads a picture: this one, or a member's where it is made of several."""
        return self

    def first_stage_budget(self, original: Budget) -> Budget | None:
        """How `Generator.first_stage` is trained, on the images of the model it is for, where none is published.

        `original` is the budget of the model itself; the batch size must stay. None = it is left as it is.
        """
        return None

    def build_from(self, path: Path, image_size: int, channels: int) -> Published:
        """The generator in a published weights file or folder, converted. torch's global stream is as before.

        Raises CheckpointError if this family reads none, or the file is damaged, of another layout or of other sizes;
        ParamsError if the recipe leaves open what the file cannot say.
        """
        raise CheckpointError(
            f"{path.name}: generator {self.kind!r} reads no published checkpoint; leave model.weights out to train one"
        )


class Corruption(Recipe):
    """A degradation operator T. The hole has equal size on every image of a batch.

    Most take pixels away. Some (`degrades`) take something away of every pixel: all are missing, and what is left of
    the picture is shown.
    """

    fixed: ClassVar[bool] = False  # True: nothing is drawn, T(x) of an image is the same at every step
    degrades: ClassVar[bool] = False  # True: there is no hole, every pixel must be invented from `degraded`
    leaves_nothing: ClassVar[bool] = False  # True: it `degrades` to the same grey for every image
    least_channels: ClassVar[int] = 1  # of fewer T takes nothing away, and refuses

    def missing(self, images: Images, draws: Draws) -> Missing:
        """Which pixels T takes away; never none, all only if it `degrades`. Raises ParamsError if T does not fit."""
        if self.degrades:
            return torch.ones_like(images[:, :1], dtype=torch.bool)
        raise NotImplementedError

    def degraded(self, images: Images) -> Images:
        """Where T `degrades`: what is left of the picture, in the picture's own shape. Nothing is drawn."""
        raise NotImplementedError

    def __call__(self, images: Images, draws: Draws) -> Corrupted:
        """T(x): missing pixels are set to 0, the middle grey, or to what is left of them."""
        if self.degrades:
            return Corrupted(self.degraded(images), self.missing(images, draws), self.degraded)
        missing = self.missing(images, draws)
        return Corrupted(images.masked_fill(missing, 0.0), missing)


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a method or scope may look at before the first step."""

    original: Generator
    forget: ImageSource
    retain: ImageSource
    corruption: Corruption
    draws: Draws
    device: torch.device
    spread: Prepared | None = None  # variance of the original's weights over its training, by name; None = not kept


class Method(Recipe):
    """One way to forget: two terms per image. What merges them and what moves are chosen beside it."""

    requires: ClassVar[type[nn.Module]] = Generator  # the family whose abilities the terms use
    uses_targets: ClassVar[bool] = False  # True: takes `batch.retain.known.target` in the original's stead
    uses_original: ClassVar[bool] = True  # False: the frozen original is never looked at
    uses_forget: ClassVar[bool] = True  # False: no forget image is ever loaded
    forget_reads_retain: ClassVar[bool] = False  # True: what forget images are taught depends on the retain images
    retain_reads_forget: ClassVar[bool] = False  # True: the retain term is taken where forget images say
    reads_retain: ClassVar[bool] = True  # False: no retain image is ever loaded, `batch.retain` is empty

    def needs(self) -> type[nn.Module]:
        """What the generator must be for these fields: `requires`, or more."""
        return self.requires

    def asks_original(self, prepared: Prepared, targets_known: bool) -> bool:
        """Whether `terms` still looks at the original, when its encodings of retain images come with the batch."""
        return self.uses_original

    def prepare(self, given: Preparation) -> Prepared:
        """Computed once, cached by content, handed to every call of `terms`."""
        return {}

    def terms(self, student: Generator, original: Generator, batch: Batch, draws: Draws, prepared: Prepared) -> Terms:
        """The two losses of one batch; to be minimised, whatever the sign inside."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Voice:
    """One term alone: its mean loss [] and its gradient, a tensor a moving parameter, averaged over all ranks."""

    loss: Tensor
    gradient: Sequence[Tensor]


class Merge(Recipe):
    """How two terms become one step. `apart` says whether their gradients are needed one by one."""

    apart: ClassVar[bool] = False

    def loss(self, forget: Tensor, retain: Tensor) -> Tensor:
        """Not apart: one scalar from the two mean losses; one backward pass serves both."""
        raise NotImplementedError

    def gradient(self, forget: Voice, retain: Voice) -> list[Tensor]:
        """Apart: the gradient that is applied."""
        raise NotImplementedError


class Scope(Recipe):
    """Which parameters move."""

    def prepare(self, given: Preparation) -> Prepared:
        """Elementwise gradient masks, say, by parameter name."""
        return {}

    def adapt(self, student: Generator) -> None:
        """Put in what moves in the stead of the student's own weights (adapters, say), so that it does as before.

        Before the first step; random weights from torch's global seed.
        """

    def fold(self, student: Generator) -> None:
        """After the last step: take out what `adapt` put in; what it learnt goes into the student's own weights."""

    def parameters(self, student: Generator) -> dict[str, nn.Parameter]:
        """The parameters that may move, by name. Everything else stays bit-identical."""
        raise NotImplementedError

    def mask(self, name: str, gradient: Tensor, prepared: Prepared) -> Tensor:
        """The part of a gradient that is applied. Default: all of it."""
        return gradient


@dataclass(frozen=True, slots=True)
class Layers:
    """What one network sees of both whole pictures at several depths, each [B, C, h, w] float32."""

    truth: Sequence[Tensor]
    generated: Sequence[Tensor]
    weights: Sequence[Tensor] | None = None  # of each map's channels [C], where they are published


@dataclass(frozen=True, slots=True)
class Features:
    """What one extractor makes of both pictures: [B, F] float64; the rest only where a metric reads it."""

    truth: Tensor
    generated: Tensor
    classes: Tensor | None = None  # [B, K] float64, how sure it is of each of its classes in the generated pictures
    layers: Layers | None = None
    forget: Tensor | None = None  # [M, F] of the whole images to forget; truth and generated are whole pictures, too


@dataclass(frozen=True, slots=True)
class Compared:
    """What a metric reads: pictures in identical framing, and what each extractor makes of them, by its name.

    Features are of missing pixels alone, but those of `copies`, and maps, which are of whole pictures.
    """

    truth: Images
    generated: Images
    missing: Missing
    features: Mapping[str, Features] = field(default_factory=dict)


Reads: TypeAlias = Literal["pictures", "features", "classes", "layers"]


class Metric(Recipe):
    """One number an image ([B]), or one number a set ([]), over missing pixels only."""

    per_image: ClassVar[bool] = True
    higher_is_closer: ClassVar[bool] = False
    reads: ClassVar[Reads] = "pictures"

    @property
    def name(self) -> str:
        """What it is called in reports: its kind, and its extractor where that is chosen by name."""
        return self.kind

    def through(self) -> str | None:
        """The name of the extractor that it reads; None = pictures alone."""
        return None

    def __call__(self, compared: Compared) -> Tensor:
        """[B] float64 where `per_image`, else [] float64; NaN where nothing can be said."""
        raise NotImplementedError
