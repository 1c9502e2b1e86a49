"""A decoder of the attacker's own: what the embedding still says, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch

from tests import toys
from tests.attacks import line
from unlearning.attack import Attack, Curve, Ready
from unlearning.attacks._small_network import SmallNetwork, cells_of, maps_of
from unlearning.attacks.fresh_decoder import FreshDecoder
from unlearning.contracts import Generator, ImageSource
from unlearning.errors import ParamsError
from unlearning.recipe import Choice
from unlearning.types import Images, Latents, Pair, View

FORGET = toys.Pictures("forget", 20)
NO_FLOOR = Ready(picked={"floor": 0.0})
SHORT = FreshDecoder(steps=(0, 120), batch_size=32, width=16, depth=1, learning_rate=5e-3)


def values(target: Generator, known: Generator, attack: Attack = SHORT, forget: ImageSource = FORGET) -> list[float]:
    scene = line.scene(known, line.ClosedForget(FORGET, known), forget=forget, retain=toys.Pictures("retain", 60))
    found = attack.run(target, scene, NO_FLOOR)
    assert isinstance(found, Curve)
    return [point.value for point in found.forgetting]


def broken(known: Generator) -> Generator:
    """The original's encoder before a decoder that draws grey."""
    target = copy.deepcopy(known)
    with torch.no_grad():
        target.get_parameter("out.weight").zero_()
    return target


class Unreadable(toys.Pictures):
    def __call__(self, rows: torch.Tensor) -> Images:
        raise AssertionError("the attacker has no image of this set")


class Watchful(line.Line):
    """Whoever asks it for an embedding must not hold the truth."""

    def encode(self, pair: Pair, view: View) -> Latents:
        assert not pair.clean.masked_fill(~pair.corrupted.missing, 0.0).any(), "handed what it is to find out"
        return super().encode(pair, view)


def test_what_an_encoder_still_carries_is_drawn_again_behind_a_broken_decoder() -> None:
    known = line.original()
    before, after = values(broken(known), known, forget=Unreadable("forget", 20))
    assert before == pytest.approx(1)
    assert after < 0.1


def test_an_encoder_that_only_whispers_is_heard() -> None:
    known = line.original()
    whispering = broken(known)
    with torch.no_grad():
        whispering.get_parameter("into.weight").mul_(1e-3)
    assert values(whispering, known)[1] == pytest.approx(values(broken(known), known)[1], abs=1e-3)


def test_nothing_comes_back_from_an_encoder_that_sees_nothing() -> None:
    """All visible pixels would say what is in the hole: it is not from them that the decoder draws."""
    known = line.original()
    _, after = values(line.blinded(known), known)
    assert after == pytest.approx(1, abs=0.1)


def test_the_encoder_is_never_handed_the_truth() -> None:
    known = line.original()
    watchful = Watchful(toys.SIDE**2, 9).eval()
    watchful.load_state_dict(known.state_dict())
    values(watchful, known, FreshDecoder(steps=(0, 1), batch_size=4, width=8, depth=1))


def test_the_floor_is_an_encoder_that_is_as_loud_and_knows_nothing() -> None:
    """Of a random projection of what is visible most comes back, for pictures as simple as these: more than of none."""
    known = line.original()
    scene = line.scene(known, line.ClosedForget(FORGET, known))
    before = copy.deepcopy(known.state_dict())
    floor = SHORT.prepare(scene).picked["floor"]
    assert 0 < floor < 0.9
    assert all(torch.equal(value, before[name]) for name, value in known.state_dict().items())
    found = SHORT.run(known, scene, SHORT.prepare(scene))
    assert found.numbers == {"forgetting behind a shuffled encoder": floor}


@pytest.mark.parametrize("steps", [(0,), (10, 20), (0, 20, 10)])
def test_steps_begin_with_the_target_as_it_is_and_rise(steps: tuple[int, ...]) -> None:
    with pytest.raises(ParamsError, match="steps"):
        FreshDecoder.chosen(Choice(kind="fresh_decoder", steps=steps))


def test_tokens_go_where_their_view_says_and_the_first_to_every_place() -> None:
    order = torch.tensor([[2, 0, 3, 1]])  # two visible, at places 2 and 0
    tokens = torch.tensor([[[7.0], [1.0], [2.0]]])
    (placed,) = maps_of((tokens,), (order,))
    assert placed.tolist() == [[[[2, 0], [1, 0]], [[7, 7], [7, 7]]]]


def test_a_vector_is_a_single_cell_and_a_map_is_itself() -> None:
    found = maps_of((torch.zeros(2, 5), torch.zeros(2, 3, 4, 4), torch.zeros(2, 6, 7)), (torch.zeros(2, 1),))
    assert [tuple(level.shape) for level in found] == [(2, 5, 1, 1), (2, 3, 4, 4), (2, 42, 1, 1)]


@pytest.mark.parametrize(("side", "cells"), [(1, 1), (2, 1), (8, 4), (9, 3), (16, 8), (28, 7), (32, 8), (256, 8)])
def test_cells_divide_the_picture(side: int, cells: int) -> None:
    assert cells_of(side) == cells


def test_a_network_that_has_learnt_nothing_draws_the_mean_picture() -> None:
    mean = torch.rand(1, 3, 12, 12)
    maps = [torch.randn(2, 5, 12, 12), torch.randn(2, 7, 5, 5), torch.randn(2, 9, 1, 1)]
    with torch.random.fork_rng(devices=[]):
        network = SmallNetwork(maps, mean, width=8, depth=1)
    assert torch.equal(network(maps), mean.expand(2, -1, -1, -1))
