"""What methods with two voices share: both sets in one pass, the distance of two encodings, and rows to measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from unlearning.contracts import Generator, ImageSource, Preparation, Prepared
from unlearning.randomness import Draws
from unlearning.types import Batch, Images, Latents, Pair, PerImage, Terms, View, joined_view

_CHUNK_IMAGES = 64  # measured at once: memory, not the result, depends on it


def views_of(student: Generator, batch: Batch, draws: Draws) -> tuple[View, View]:
    """The view of the forget rows, and that of the retain rows."""
    return (
        student.draw_view(batch.forget.corrupted, draws.at("view", "forget")),
        student.draw_view(batch.retain.corrupted, draws.at("view", "retain")),
    )


def view_of(student: Generator, batch: Batch, draws: Draws) -> View:
    """The view of forget and retain rows along one batch, forget first."""
    return joined_view(*views_of(student, batch, draws))


@torch.no_grad()
def kept(original: Generator, retain: Pair, view: View) -> Latents:
    """E0(T(x_r)); what was computed before comes with the images."""
    return original.encode(retain, view) if retain.known.target is None else retain.known.target


@torch.no_grad()
def targets(original: Generator, shown: Pair, retain: Pair, views: tuple[View, View]) -> Latents:
    """E0 of what is shown in the place of the forget images, then E0(T(x_r)), along one batch.

    Asked apart, so that either may be remembered without the other.
    """
    return beside_kept(original.encode(shown, views[0]) if len(shown) else (), original, retain, views[1])


def beside_kept(sent: Latents, original: Generator, retain: Pair, view: View) -> Latents:
    """Where the forget rows are sent (no map at all if there are none), then E0(T(x_r)), along one batch."""
    parts = [sent, kept(original, retain, view) if len(retain) else ()]
    return along_batch(*(part for part in parts if part))


@torch.no_grad()
def encoded_once(given: Preparation, pictures: Images) -> Prepared:
    """E0(T(p)) of pictures [K, C, H, W], {"encoded/0": [K, ...], ...}; empty where T or the view is drawn anew."""
    if not (given.corruption.fixed and given.original.view_is_fixed):
        return {}
    parts = list[Latents]()
    for number, some in enumerate(pictures.split(_CHUNK_IMAGES)):  # type: ignore[no-untyped-call]
        clean = some.to(given.device)
        draws = replace(given.draws, rows=len(clean), first=0, total=None).at("encoded_once", number)
        pair = Pair(clean, given.corruption(clean, draws), torch.arange(len(clean)))
        parts.append(given.original.encode(pair, given.original.draw_view(pair.corrupted, draws)))
    return {f"encoded/{level}": part.cpu() for level, part in enumerate(along_batch(*parts))}


def mean_encoded_once(given: Preparation, most: int) -> Prepared:
    """The mean over retain images of E0(T(x_r)), place by place, [1, ...] a level; empty where `encoded_once` is."""
    sums, count = dict[str, Tensor](), 0
    for images in spread(given.retain, most):
        for name, codes in encoded_once(given, images).items():
            sums[name] = sums.get(name, 0.0) + codes.double().sum(dim=0, keepdim=True)
        if not sums:
            return {}
        count += len(images)
    return {name: (total / count).float() for name, total in sums.items()}


def remembered(prepared: Prepared, which: Tensor) -> Latents:
    """What `encoded_once` found, of the pictures `which` [F] int64; no map at all where it found nothing."""
    levels = sum(name.startswith("encoded/") for name in prepared)
    return tuple(prepared[f"encoded/{level}"][which] for level in range(levels))


def along_batch(*parts: Latents) -> Latents:
    """Encodings of several sets as one, map by map."""
    return tuple(torch.cat(maps) for maps in zip(*parts, strict=True))


def under_holes(picture: Images, forget: Pair) -> Pair:
    """Another picture [F, C, H, W] in the place of each forget image: x and T(x) under that image's hole."""
    return Pair(picture, forget.corrupted.of(picture), forget.rows)


def others(batch: Batch) -> Images:
    """A retain image for each forget image, row by row: [F, C, H, W].

    A batch has as many of either, and walks them in orders of their own: a forget image meets another every time.
    """
    return batch.retain.clean[: len(batch.forget)]


def mean_picture(retain: ImageSource, most: int) -> Images:
    """The mean of at most `most` images, evenly over the set: [C, H, W]."""
    sums, count = torch.zeros((), dtype=torch.float64), 0
    for images in spread(retain, most):
        sums, count = sums + images.double().sum(dim=0), count + len(images)
    return (sums / count).float()


def kept_alone(student: Generator, batch: Batch, draws: Draws) -> Terms:
    """The retain images' own loss; the forget voice is absent: length 0."""
    retain = student.loss(batch.retain, student.draw_view(batch.retain.corrupted, draws.at("view", "retain")))
    return Terms(forget=retain.new_zeros(0), retain=retain)


def terms_of(per_image: PerImage, batch: Batch) -> Terms:
    """[F + R] -> ([F], [R])."""
    return Terms(forget=per_image[: len(batch.forget)], retain=per_image[len(batch.forget) :])


def distance(moved: Latents, target: Latents) -> PerImage:
    """Squared L2, averaged over tokens and channels of a map, summed over maps: [B]."""
    maps = [_squared(a, b) for a, b in zip(moved, target, strict=True)]
    return torch.stack(maps).sum(dim=0)


def spread(source: ImageSource, most: int, chunk: int = _CHUNK_IMAGES) -> Iterator[Images]:
    """At most `most` images, `chunk` at a time, evenly over the set: a manifest sorted by class is no bias."""
    count = min(len(source), most)
    rows = torch.arange(count) * len(source) // count
    for start in range(0, count, chunk):
        yield source(rows[start : start + chunk])


def _squared(moved: Tensor, target: Tensor) -> PerImage:
    return (moved.float() - target.float()).square().flatten(1).mean(dim=1)
