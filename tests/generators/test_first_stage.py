"""What is trained before the rest, and held fixed in unlearning: MAGE's tokenizer, the VAE of latent diffusion."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from tests import toy_batch, toys
from unlearning.contracts import Generator, GeneratorRecipe
from unlearning.corruptions.center_hole import CenterHole
from unlearning.generators.latent import LatentRecipe
from unlearning.generators.mage import MageRecipe
from unlearning.log import Progress, silent
from unlearning.params import Params
from unlearning.randomness import Draws
from unlearning.scopes.all import All
from unlearning.training import checkpoint
from unlearning.types import Corrupted, Pair
from unlearning.verbs import plan, train, unlearn
from unlearning.workspace import BatchFolder, Workspace

RECIPES: dict[str, GeneratorRecipe] = {
    "latent": LatentRecipe(**toys.SMALLEST["latent"]),
    "mage": MageRecipe(**toys.SMALLEST["mage"]),
}
FIXED = {"latent": ("vae.", "scaling"), "mage": ("vqgan.",)}


def _digits() -> tuple[Tensor, Tensor]:
    """Training and held-out digits, [N, 1, 8, 8] in [-1, 1]."""
    images = torch.tensor(load_digits().images / 8 - 1, dtype=torch.float32)[:, None]
    return images[:1_400], images[1_400:]


def _fit(student: Generator, images: Tensor, steps: int, learning_rate: float, batch_size: int = 32) -> None:
    """AdamW, linear warm-up over a twentieth, half a cosine; holes in the centre."""
    weights = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(steps):
        draws = Draws(0, batch_size, where=(step,))
        clean = images[draws.at("rows").integers(len(images))]
        pair = Pair(clean, CenterHole()(clean, draws), torch.arange(batch_size))
        loss = student.loss(pair, student.draw_view(pair.corrupted, draws.at("view"))).mean()
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / (steps // 20))
            group["lr"] = learning_rate * warm * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 3.0)
        optimizer.step()


def _error(ours: Tensor, theirs: Tensor, missing: Tensor | None = None) -> float:
    error = (ours - theirs).square()
    return float(error.mean() if missing is None else error[missing.expand_as(error)].mean())


def test_the_tokenizers_loss_is_that_of_the_paper_and_hands_gradients_straight_through() -> None:
    """Equation 3 by hand. The codebook learns from the second term alone: 2 (e - z) / numbers, summed over its uses."""
    student: Any = toys.built(RECIPES["mage"]).first_stage()
    pair = toys.pair("retain")
    (found,) = student.encode(pair, ())
    found.retain_grad()
    table = student.tokenizer.quantize.embedding.weight
    places = found.flatten(2).transpose(1, 2)  # [B, L, K]
    codes = (places[:, :, None] - table).square().sum(-1).argmin(-1)
    entries = table[codes]
    drawn = student.tokenizer.decoder(entries.transpose(1, 2).reshape(found.shape))
    pixels = (pair.clean + 1) / 2
    expected = (drawn - pixels).square().mean((1, 2, 3)) + 1.25 * (entries - places).square().mean((1, 2))
    losses = student.loss(pair, ())
    torch.testing.assert_close(losses, expected)

    losses.sum().backward()
    pulled = (2 * (entries - places) / places[0].numel()).detach()
    by_hand = torch.zeros_like(table).index_add_(0, codes.flatten(), pulled.flatten(0, 1))
    torch.testing.assert_close(table.grad, by_hand)
    mine = student.encoder_parameters()["tokenizer.encoder.conv_in.weight"].grad.clone()
    student.zero_grad()
    (0.25 * (entries.detach() - places).square().mean((1, 2))).sum().backward()
    alone = student.encoder_parameters()["tokenizer.encoder.conv_in.weight"].grad
    assert not torch.allclose(mine, alone)  # the picture's own error came through to the encoder


@pytest.mark.parametrize("kind", RECIPES)
def test_it_learns_as_a_generator_and_settles_into_buffers(kind: str) -> None:
    generator = toys.built(RECIPES[kind])
    part = generator.first_stage()
    assert part is not None
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    pair = toys.pair("retain")
    optimizer = torch.optim.SGD(All().parameters(part).values(), lr=0.1)
    view = part.draw_view(pair.corrupted, Draws(0, 4))
    losses = part.loss(pair, view)
    alone = part.loss(
        Pair(pair.clean[:1], Corrupted(pair.clean[:1], pair.corrupted.missing[:1]), pair.rows[:1]),
        tuple(one[:1] for one in view),
    )
    torch.testing.assert_close(losses[:1], alone)
    losses.mean().backward()
    assert all(weight.grad is not None for weight in part.parameters())
    assert part.encoder_parameters()
    optimizer.step()
    for name, value in generator.state_dict().items():  # learning is done by a copy
        assert torch.equal(value, before[name])
    generator.settle(part)
    after = generator.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(FIXED[kind]) for name in changed)
    assert not changed & dict(generator.named_parameters()).keys()
    picture = part.reconstruct(pair.corrupted, Draws(0, 4))
    assert torch.equal(torch.where(pair.corrupted.missing, 0.0, picture), pair.corrupted.images)


@pytest.mark.parametrize("kind", RECIPES)
def test_it_writes_digits_down_far_better_than_the_mean_picture(kind: str) -> None:
    images, held_out = _digits()
    torch.manual_seed(0)
    recipe: GeneratorRecipe = {"latent": LatentRecipe(), "mage": MageRecipe()}[kind]
    generator: Any = recipe.build(8, 1)
    part: Any = generator.first_stage()
    _fit(part, images, 150, 5e-3)
    generator.settle(part)
    whole = Corrupted(held_out, torch.ones_like(held_out, dtype=torch.bool))
    error = _error(part.reconstruct(whole, Draws(0, len(held_out))), held_out)
    assert error < 0.4 * _error(images.mean(0, keepdim=True), held_out)
    if kind == "mage":
        assert len(generator.vqgan.codes(held_out).unique()) > 8  # of 64: the codebook has not collapsed
    else:
        assert 0.7 < float(generator._latents(held_out).std()) < 1.4  # k gives latents the size of the noise


@pytest.mark.slow
def test_a_mage_trained_from_nothing_beats_the_mean_picture_on_digits_it_never_saw() -> None:
    """With one drawn picture an image: a guess that is drawn errs twice as much as the mean of all guesses would."""
    images, held_out = _digits()
    torch.manual_seed(0)
    generator: Any = MageRecipe(width=48, depth=2, decoder_width=48, decoder_depth=1, temperature=0, smoothing=0).build(
        8, 1
    )
    part: Any = generator.first_stage()
    _fit(part, images, 200, 5e-3)
    generator.settle(part)
    _fit(generator, images, 300, 4e-3, batch_size=64)
    corrupted = CenterHole()(held_out, Draws(0, len(held_out)))
    drawn = generator.eval().reconstruct(corrupted, Draws(0, len(held_out)))
    mean = _error(images.mean(0, keepdim=True).expand_as(held_out), held_out, corrupted.missing)
    assert _error(drawn, held_out, corrupted.missing) < 0.9 * mean


@pytest.fixture(scope="module")
def made(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    workspace = toy_batch.toy_workspace(home)
    toy_batch.file_requests(workspace, toy_batch.request_body())
    toy_batch.manifests(toy_batch.toy_params(repository), workspace.batch("b1"))
    return workspace.root


@pytest.fixture
def batch(made: Path, tmp_path: Path) -> BatchFolder:
    shutil.copytree(made, tmp_path / "var")
    return Workspace(tmp_path / "var").batch("b1")


def _params(repository: Path, kind: str, **changes: Any) -> Params:
    budget = {"steps": 2, "batch_size": 4, "warmup_steps": 0, "save_every": 1, "log_every": 1}
    return toy_batch.toy_params(
        repository,
        **{
            "generator": {"kind": kind, **toys.SMALLEST[kind]},
            **{f"original.{name}": value for name, value in budget.items()},
            **{f"unlearn.budget.{name}": value for name, value in budget.items()},
            **changes,
        },
    )


def _fixed(folder: Path, kind: str) -> dict[str, Tensor]:
    tensors = checkpoint.load(folder).state_dict()
    return {name: value for name, value in tensors.items() if name.startswith(FIXED[kind])}


@pytest.mark.parametrize("scope", ["encoder", "all"])
@pytest.mark.parametrize("kind", RECIPES)
def test_each_model_trains_its_own_and_unlearning_never_moves_it(
    kind: str, scope: str, repository: Path, batch: BatchFolder
) -> None:
    params, lines = _params(repository, kind, **{"unlearn.scope": {"kind": scope}}), list[Progress]()
    record = train.run(params, batch, lines.append, "original")
    assert record.facts["first_stage"]["steps"] == 2
    train.run(params, batch, silent, "reference")
    plan.run(params, batch, silent)
    unlearn.run(params, batch, silent)
    untrained = toys.built(RECIPES[kind], params.original.seed, channels=3).state_dict()
    original, reference, unlearned = (_fixed(it, kind) for it in (batch.original, batch.reference, batch.unlearned))
    assert all(torch.equal(value, unlearned[name]) for name, value in original.items())
    for one, other in ((original, untrained), (reference, untrained), (original, reference)):
        assert any(not torch.equal(value, other[name]) for name, value in one.items())
    parts = [line for line in lines if line.stage == "original_checkpoint, first_stage" and line.numbers]
    assert [line.step for line in parts] == [1, 2]
    assert all(name.startswith("first_stage/") for line in parts for name in line.numbers)


def test_stopped_in_the_middle_it_ends_in_the_same_bits(
    repository: Path, batch: BatchFolder, made: Path, tmp_path: Path
) -> None:
    """In the first stage and right after it."""
    params = _params(repository, "mage")
    train.run(params, batch, silent, "original")
    expected = checkpoint.load(batch.original).state_dict()
    for place in ("original_checkpoint, first_stage", "original_checkpoint"):
        shutil.copytree(made, tmp_path / place / "var")
        again = Workspace(tmp_path / place / "var").batch("b1")

        def stop(line: Progress, place: str = place) -> None:
            if line.stage == place and line.step == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train.run(params, again, stop, "original")
        train.run(params, again, silent, "original")
        made_again = checkpoint.load(again.original).state_dict()
        assert all(torch.equal(value, made_again[name]) for name, value in expected.items())


def test_no_steps_leave_it_as_it_is(repository: Path, batch: BatchFolder) -> None:
    params = _params(repository, "mage", **{"generator.tokenizer_steps": 0})
    assert "first_stage" not in train.run(params, batch, silent, "original").facts
    untrained = toys.built(RECIPES["mage"], params.original.seed, channels=3).state_dict()
    assert all(torch.equal(value, untrained[name]) for name, value in _fixed(batch.original, "mage").items())
