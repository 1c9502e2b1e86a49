"""Membership where the answer is known: models in closed form that have seen a picture, or have not."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from tests import toys
from tests.attacks import crowd
from unlearning.attack import Group, Scene, Told
from unlearning.attacks import _strayed
from unlearning.attacks.membership import Membership, others
from unlearning.contracts import Generator
from unlearning.corruptions.everything import Everything
from unlearning.errors import ParamsError
from unlearning.recipe import Choice
from unlearning.verbs._kinds import register

register()
SAW = ("forget", "retain")


def find(attack: Membership, target: Generator, scene: Scene) -> tuple[Told, Any]:
    ready = attack.prepare(scene)
    return attack.run(target, scene, ready), ready


@pytest.mark.parametrize("score", ["loss", "reconstruction"])
def test_what_was_learnt_by_heart_is_told_and_what_was_never_seen_is_not(score: str) -> None:
    original, reference = crowd.knows(*SAW), crowd.knows("retain")
    scene = crowd.scene(original, reference)
    attack = Membership.model_validate({"score": score, "views": 2})
    told, ready = find(attack, original, scene)
    assert crowd.apart(told.separations[0]).auc == 1
    assert crowd.apart(ready.control).low > 0.5
    never, _ = find(attack, reference, scene)
    found = crowd.apart(never.separations[0])
    assert found.low < 0.5 < found.high
    assert told.groups == ("images to forget", "held-out images of the same classes")
    assert told.beside == "reference"


@pytest.mark.parametrize("score", ["loss", "pia", "secmi"])
def test_where_nothing_is_shown_a_denoiser_betrays_what_it_remembers(score: str) -> None:
    original, reference = (crowd.Remembers([crowd.noise(name) for name in names]) for names in (SAW, ("retain",)))
    scene = replace(crowd.scene(original, reference), corruption=Everything())
    attack = Membership.model_validate({"score": score})
    told, ready = find(attack, original, scene)
    assert crowd.apart(told.separations[0]).auc > 0.99
    assert crowd.apart(ready.control).low > 0.5
    never, _ = find(attack, reference, scene)
    found = crowd.apart(never.separations[0])
    assert found.low < 0.5 < found.high
    assert told.numbers.keys() == ({"timestep"} if score != "loss" else set())


@pytest.mark.parametrize("normalised", [False, True])
def test_pia_of_the_optimal_denoiser_of_a_gaussian_is_its_closed_form(normalised: bool) -> None:
    """There eps(m, t) = sigma_t m, so PIA = |s - sigma_t (gamma_t x + sigma_t s)|_4 with s = sigma_0 x, or scaled."""
    model, clean, timestep = crowd.Remembers(), crowd.noise("x", 5).double(), 7
    (_, start), (gamma, sigma) = (levels(model, place) for place in (0, timestep))
    first = start * clean
    if normalised:
        first = first * math.sqrt(2 / math.pi) / first.abs().mean(dim=(1, 2, 3), keepdim=True)
    wanted = (first - sigma * (gamma * clean + sigma * first)).flatten(1).norm(p=4, dim=1)
    found = _strayed.pia(model, [timestep], normalised, clean)[:, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_secmi_of_the_optimal_denoiser_of_a_gaussian_is_its_closed_form() -> None:
    """With gamma_t = cos a_t a step is m cos(a_s - a_t): SecMI = |x|^2 prod cos^2 (da_i) sin^4 (da)."""
    model, clean = crowd.Remembers(), crowd.noise("x", 5).double()
    angles = [math.acos(math.sqrt(float(kept))) for kept in model.abar]
    steps = [after - before for before, after in pairwise(angles)]
    size = clean.square().flatten(1).sum(1)
    # The walk begins with x where the schedule's first step is, which has some noise in it already.
    wanted = [size * math.prod(math.cos(each) ** 2 for each in steps[:t]) * math.sin(steps[t]) ** 4 for t in (2, 9)]
    found = _strayed.secmi(model, [2, 9], clean)
    np.testing.assert_allclose(found, torch.stack(wanted, dim=1), rtol=1e-4)


def levels(model: crowd.Remembers, timestep: int) -> tuple[float, float]:
    kept = float(model.abar[timestep])
    return math.sqrt(kept), math.sqrt(1 - kept)


@pytest.mark.parametrize(
    ("length", "wanted"), [(1000, [10, 30, 100, 200, 300]), (10, [1, 2, 3]), (2, [0]), (250, [2, 8, 24, 50, 76])]
)
def test_timesteps_are_shares_of_the_schedule_on_secmis_walk(length: int, wanted: list[int]) -> None:
    shares = (0.01, 0.03, 0.1, 0.2, 0.3)
    places = _strayed.places(length, shares)
    assert places == wanted
    assert all(place % _strayed.stride(length) == 0 for place in places)


def test_the_timestep_is_chosen_on_half_of_the_originals_images_and_the_control_is_the_other_half() -> None:
    original = crowd.Remembers([crowd.noise(name) for name in SAW])
    scene = crowd.scene(original, original)
    ready = Membership(score="pia").prepare(scene)
    assert ready.control is not None
    assert len(ready.control.one) == len(ready.control.other) == 15
    tried = Membership(score="pia")._scores(original, scene.retain, scene)
    np.testing.assert_array_equal(ready.control.one, tried[1::2, ready.picked["place"]])


def test_others_are_of_the_same_classes_where_there_are_enough() -> None:
    model = crowd.knows(*SAW)
    scene = crowd.scene(model, model)
    assert others(scene)[0] is scene.forget_holdout
    few = Group("forget_holdout", crowd.Crowd(crowd.noise("few", 3)), ["0"] * 3)
    same = replace(scene, forget_holdout=few, forget=replace(scene.forget, classes=["0"] * 24))
    classes = ["1"] * 10 + ["0"] * 20
    group, said = others(replace(same, holdout=replace(scene.holdout, classes=classes)))
    assert (len(group), said) == (20, "held-out images of the same classes")
    assert torch.equal(group.images(torch.arange(20)), crowd.noise("holdout")[10:])
    group, said = others(replace(same, holdout=replace(scene.holdout, classes=["1"] * 30)))
    assert (len(group), said) == (30, "held-out images, of other classes too")


def test_it_says_why_it_cannot_be_made() -> None:
    model = crowd.knows(*SAW)
    scene = crowd.scene(model, model)
    empty = Group("forget", crowd.Crowd(crowd.noise("none", 1)[:0]), [])
    assert Membership().why_not(scene) is None
    assert Membership().why_not(replace(scene, forget=empty)) == "the forget set is empty"
    nobody = replace(scene, forget_holdout=empty, holdout=empty)
    assert Membership().why_not(nobody) == "there is no held-out image"
    assert Membership().prepare(nobody).control is None
    blank = replace(scene, corruption=Everything())
    assert "nothing is drawn into a hole" in str(Membership(score="reconstruction").why_not(blank))
    assert Membership().why_not(blank) is None
    assert not isinstance(model, Membership(score="pia").needs())
    assert isinstance(crowd.Remembers(), Membership(score="secmi").needs())
    with pytest.raises(ParamsError, match=r"timesteps\.0"):
        Membership.chosen(Choice(kind="membership", timesteps=[0.0]))


def test_a_batch_size_changes_nothing_but_rounding() -> None:
    model = toys.built(toys.recipes()["mae"]).eval()
    scene = crowd.scene(model, model)
    small, large = (
        Membership(views=2).run(model, replace(scene, batch_size=size), Membership(views=2).prepare(scene))
        for size in (5, 64)
    )
    np.testing.assert_allclose(small.separations[0].one, large.separations[0].one, rtol=1e-5)


@pytest.mark.parametrize("kind", ["ddpm", "stable_diffusion"])
@pytest.mark.parametrize("score", ["pia", "secmi", "reconstruction"])
def test_every_denoising_family_can_be_asked_and_stays_as_it_is(kind: str, score: str) -> None:
    model = toys.built(toys.recipes()[kind]).eval()
    before = copy.deepcopy(model.state_dict())
    scene = crowd.scene(model, model)
    attack = Membership.model_validate({"score": score, "views": 1})
    first, second = (find(attack, model, scene)[0].separations[0] for _ in range(2))
    for one, other in ((first.one, second.one), (first.other, second.other)):
        np.testing.assert_array_equal(one, other)
        assert np.isfinite(one).all()
        assert len(set(one.tolist())) > 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_that_is_no_number_has_scores_that_are_none() -> None:
    original = crowd.knows(*SAW)
    scene = crowd.scene(original, original)
    told, _ = find(Membership(), crowd.broken(copy.deepcopy(original)), scene)
    assert np.isnan(told.separations[0].one).any()
