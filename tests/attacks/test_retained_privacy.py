"""Retained privacy of models that know retain images by heart, or do not."""

from __future__ import annotations

from dataclasses import replace

from tests.attacks import crowd
from unlearning.attack import Group
from unlearning.attacks.retained_privacy import RetainedPrivacy
from unlearning.metrics import _separation

ATTACK = RetainedPrivacy(views=1)


def test_a_target_that_learnt_retain_images_by_heart_leaks_them_and_its_original_does_not() -> None:
    original, target = crowd.knows("forget"), crowd.knows("retain")
    scene = crowd.scene(original, original)
    ready = ATTACK.prepare(scene)
    told, before = (ATTACK.run(model, scene, ready) for model in (target, original))
    here, there = told.separations[0], before.separations[0]
    assert told.beside == "original"
    assert crowd.apart(here).auc == 1
    blind = crowd.apart(there)
    assert blind.low < 0.5 < blind.high
    found = _separation.further((here.one, here.other), (there.one, there.other), told.two_sided, 200, 0.95)
    assert found is not None
    assert found[1] > 0.2


def test_it_says_which_set_is_missing() -> None:
    model = crowd.knows("retain")
    scene = crowd.scene(model, model)
    empty = Group("holdout", crowd.Crowd(crowd.noise("none", 1)[:0]), [])
    assert ATTACK.why_not(scene) is None
    assert ATTACK.why_not(replace(scene, holdout=empty)) == "the holdout set is empty"
