"""Forgetting what is coarse: Parseval, single waves, and that what is kept is kept at all frequencies."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import toys
from unlearning.contracts import Preparation
from unlearning.corruptions.center_hole import CenterHole
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.generators.ddpm import DdpmRecipe
from unlearning.methods._denoising import DenoisingMethod, coarse_error, error
from unlearning.methods.erasediff import EraseDiffTarget
from unlearning.methods.retrack import Retrack
from unlearning.methods.siss import Siss
from unlearning.randomness import Draws
from unlearning.types import Batch

DRAWS = Draws(0, 4, where=(7,))
ALL = torch.ones(4, 1, 8, 8, dtype=torch.bool)
METHODS: dict[str, dict[str, Any]] = {
    "siss": {"of": Siss},
    "siss_no_is": {"of": Siss, "passes": 2},
    "erasediff": {"of": EraseDiffTarget},
    "retrack": {"of": Retrack, "neighbours": 2},
}


def _wave(rows: int, columns: int, channels: int = 3) -> Tensor:
    """A picture of one frequency, [4, channels, 8, 8]."""
    place = torch.arange(8.0)
    angle = 2 * math.pi * (rows * place[:, None] + columns * place[None]) / 8
    return torch.cos(angle).expand(4, channels, 8, 8)


def test_a_radius_of_one_is_the_whole_error() -> None:
    """Parseval, by way of the spectrum: so near 1 that no frequency is beyond it."""
    found, noise = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = error(found, noise, ALL)
    torch.testing.assert_close(coarse_error(found, noise, ALL, 1 - 1e-9), whole, atol=1e-6, rtol=1e-6)
    assert torch.equal(coarse_error(found, noise, ALL, 1.0), whole)
    shares = [coarse_error(found, noise, ALL, radius) for radius in (0.2, 0.5, 0.8)]
    assert (shares[0] < shares[1]).all()
    assert (shares[1] < shares[2]).all()
    assert (shares[2] < whole).all()


def test_no_picture_has_no_error() -> None:
    nothing = torch.zeros(0, 3, 8, 8)
    assert coarse_error(nothing, nothing, ALL[:0], 0.5).shape == (0,)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, 1), (2, 1), (3, 0), (0, 4), (4, 4)])
def test_a_wave_is_heard_from_its_own_frequency_on(rows: int, columns: int) -> None:
    radius = math.hypot(rows, columns) / math.hypot(4, 4)
    wave, still = _wave(rows, columns), torch.zeros(4, 3, 8, 8)
    heard = coarse_error(wave, still, ALL, min(radius + 1e-3, 1.0))
    torch.testing.assert_close(heard, error(wave, still, ALL), atol=1e-6, rtol=1e-6)
    if radius:
        assert (coarse_error(wave, still, ALL, radius - 1e-3).abs() < 1e-10).all()


def _terms(name: str, **fields: Any) -> tuple[Any, dict[str, Tensor]]:
    """The terms, and the forget term's gradient by weight."""
    chosen = {**METHODS[name], **fields}
    method: DenoisingMethod = chosen.pop("of")(**chosen)
    original = toys.built(DdpmRecipe(**toys.SMALLEST["ddpm"])).eval()
    student = copy.deepcopy(original)
    forget, retain = toys.Pictures("forget", 6), toys.Pictures("retain", 12)
    prepared = method.prepare(Preparation(original, forget, retain, Everything(), DRAWS, DRAWS.device))
    batch = Batch(toys.pair("forget", corruption=Everything()), toys.pair("retain", corruption=Everything()))
    terms = method.terms(student, original, batch, DRAWS, prepared)
    weights = dict(student.named_parameters())
    slopes = torch.autograd.grad(terms.forget.sum(), list(weights.values()), retain_graph=True)
    return terms, dict(zip(weights, slopes, strict=True))


@pytest.mark.parametrize("name", METHODS)
def test_what_is_kept_is_kept_at_all_frequencies(name: str) -> None:
    (whole, slopes), (coarse, bent) = _terms(name), _terms(name, low_pass=0.4)
    assert torch.equal(coarse.retain, whole.retain)
    assert (coarse.forget.abs() < whole.forget.abs()).any()
    assert (coarse.forget.abs() <= whole.forget.abs()).all()
    assert (coarse.forget.sign() == whole.forget.sign()).all()
    assert any(not torch.allclose(slopes[weight], bent[weight]) for weight in slopes)


@pytest.mark.parametrize("name", METHODS)
def test_a_part_of_the_spectrum_of_a_picture_with_a_hole_is_refused(name: str) -> None:
    chosen = {**METHODS[name], "low_pass": 0.5}
    method: DenoisingMethod = chosen.pop("of")(**chosen)
    original, pictures = toys.built(DdpmRecipe(**toys.SMALLEST["ddpm"])), toys.Pictures("forget", 6)
    with pytest.raises(
        ParamsError, match=r"low_pass 0\.5 filters errors of whole pictures, and corruption 'center_hole'"
    ):
        method.prepare(Preparation(original, pictures, pictures, CenterHole(), DRAWS, DRAWS.device))
