"""Every generator family, because it is registered, and two toys, one of them with several latent maps."""

from __future__ import annotations

import pytest
import torch

from tests import toys
from unlearning.abilities import Diffusing, Drawing, Variational
from unlearning.contracts import Generator
from unlearning.randomness import Draws
from unlearning.types import Corrupted, Pair, joined_view
from unlearning.verbs._kinds import register

register()
RECIPES = toys.recipes()


@pytest.fixture(params=RECIPES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def generator(kind: str) -> Generator:
    return toys.built(RECIPES[kind]).eval()


def test_building_is_a_function_of_the_seed(kind: str) -> None:
    first, same, other = (toys.built(RECIPES[kind], seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_visible_pixels_come_back_untouched_and_the_rest_is_finite(kind: str, channels: int) -> None:
    generator = toys.built(RECIPES[kind], channels=channels).eval()
    corrupted = toys.pair("retain", channels=channels).corrupted
    with torch.no_grad():
        picture = generator.reconstruct(corrupted, Draws(0, 4))
    seen = ~corrupted.missing.expand_as(picture)
    assert picture.shape == corrupted.images.shape
    assert torch.equal(picture[seen], corrupted.images[seen])
    assert picture.isfinite().all()
    assert picture.abs().max() <= 1


def test_the_same_draws_give_the_same_view_and_the_same_picture(generator: Generator) -> None:
    corrupted = toys.pair("retain").corrupted
    views = [generator.draw_view(corrupted, Draws(0, 4)) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*views, strict=True))
    with torch.no_grad():
        first, second = (generator.reconstruct(corrupted, Draws(3, 4)) for _ in range(2))
    assert torch.equal(first, second)


def test_does_what_its_recipe_says_before_anything_is_built(kind: str, generator: Generator) -> None:
    abilities = RECIPES[kind].abilities
    assert [isinstance(generator, ability) for ability in (Drawing, Diffusing)] == [
        ability in abilities for ability in (Drawing, Diffusing)
    ]


def test_what_is_drawn_is_the_picture_before_it_is_clamped(generator: Generator) -> None:
    """And gradients go through it to the encoder; not to a posterior, which who draws does not ask."""
    if not isinstance(generator, Drawing):
        pytest.skip("a family that draws in many steps has no picture that gradients flow through")
    pair = toys.pair("retain")
    drawn = generator.draw(pair, generator.draw_view(pair.corrupted, Draws(0, 4)))
    clamped = torch.where(pair.corrupted.missing, drawn.clamp(-1, 1), drawn)
    assert torch.equal(clamped, generator.reconstruct(pair.corrupted, Draws(0, 4)))
    drawn.square().sum().backward()
    mine = generator.encoder_parameters()
    taught = {name for name, weight in mine.items() if weight.grad is not None and weight.grad.any()}
    assert taught < mine.keys() if isinstance(generator, Variational) else taught == mine.keys()
    assert taught


def test_a_drowned_hole_is_noise_at_every_timestep(generator: Generator) -> None:
    """Nothing of the truth is left in it; what is visible still is, and the timestep is told."""
    if not isinstance(generator, Diffusing):
        pytest.skip("a family whose encoder is never fed the hole has nothing to drown")
    pair, shown = toys.pair("retain"), {}
    missing = pair.corrupted.missing
    timestep, *noise = generator.draw_view(pair.corrupted, Draws(0, 4))
    other = Pair(torch.where(missing, -pair.clean, pair.clean), pair.corrupted, pair.rows)
    with torch.no_grad():
        for number in (0, 1):
            view = (torch.full_like(timestep, number), *noise)
            shown[number] = generator.encode_drowned(pair, view)
            hidden = generator.encode_drowned(other, view)
            assert all(torch.equal(a, b) for a, b in zip(shown[number], hidden, strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(shown[0], shown[1], strict=True))
    seen = Pair(pair.clean * 0.5, Corrupted(pair.corrupted.images * 0.5, missing), pair.rows)
    with torch.no_grad():
        assert not torch.equal(generator.encode_drowned(seen, view)[-1], shown[1][-1])


def test_views_join_along_the_batch(generator: Generator) -> None:
    """One pass over both sets is two passes over one each: nothing in an encoder mixes images."""
    batch = toys.batch()
    views = [
        generator.draw_view(batch.forget.corrupted, Draws(0, 4)),
        generator.draw_view(batch.retain.corrupted, Draws(1, 4)),
    ]
    with torch.no_grad():
        joint = generator.encode(batch.forget.joined(batch.retain), joined_view(*views))
        alone = generator.encode(batch.forget, views[0]), generator.encode(batch.retain, views[1])
    for whole, first, second in zip(joint, *alone, strict=True):
        torch.testing.assert_close(whole, torch.cat([first, second]), atol=1e-5, rtol=1e-4)


def test_an_empty_set_passes_through(generator: Generator) -> None:
    """A method joins the sets without asking whether one is absent."""
    retain = toys.pair("retain")
    clean = retain.clean[:0]
    empty = Pair(clean, Corrupted(clean, clean[:, :1].bool()), retain.rows[:0])
    views = generator.draw_view(empty.corrupted, Draws(0, 0)), generator.draw_view(retain.corrupted, Draws(0, 4))
    with torch.no_grad():
        maps = generator.encode(empty.joined(retain), joined_view(*views))
    assert all(len(latents) == 4 for latents in maps)


def test_the_latents_reach_every_encoder_parameter_and_leave_a_decoder(generator: Generator) -> None:
    pair = toys.pair("forget")
    mine, named = generator.encoder_parameters(), dict(generator.named_parameters())
    assert mine
    assert all(named[name] is weight for name, weight in mine.items())
    maps = generator.encode(pair, generator.draw_view(pair.corrupted, Draws(0, 4)))
    torch.stack([latents.square().mean() for latents in maps]).sum().backward()
    reached = {name for name, weight in named.items() if weight.grad is not None}
    assert mine.keys() <= reached < named.keys()


def test_the_loss_is_per_image_and_finite(generator: Generator) -> None:
    """Another truth in one image's hole changes that image's loss and no other."""
    pair = toys.pair("retain")
    view = generator.draw_view(pair.corrupted, Draws(0, 4))
    clean = pair.clean.clone()
    clean[0] = torch.where(pair.corrupted.missing[0], -clean[0].flip(-1), clean[0])
    with torch.no_grad():
        losses = generator.loss(pair, view)
        other = generator.loss(Pair(clean, pair.corrupted, pair.rows), view)
    assert losses.shape == (4,)
    assert losses.isfinite().all()
    assert losses[0] != other[0]
    torch.testing.assert_close(losses[1:], other[1:])


def test_the_loss_teaches(generator: Generator) -> None:
    pair = toys.pair("retain")
    generator.loss(pair, generator.draw_view(pair.corrupted, Draws(0, 4))).sum().backward()
    taught = {name for name, weight in generator.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert taught & generator.encoder_parameters().keys()
    assert taught - generator.encoder_parameters().keys()
