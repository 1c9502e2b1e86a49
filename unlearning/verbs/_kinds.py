"""Every room whose members params.yaml may choose by `kind`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from unlearning import policy
from unlearning.abilities import Denoising, Scoring, Sharding
from unlearning.attack import Attack
from unlearning.contracts import Corruption, Generator, GeneratorRecipe, Merge, Method, Metric, Scope
from unlearning.errors import ParamsError
from unlearning.params import Budget, Params
from unlearning.recipe import Recipe, discover

ROOMS = ("generators", "corruptions", "methods", "merges", "scopes", "metrics", "attacks")


def register() -> None:
    """Import every recipe there is, so that a `Choice` can be looked up. Cheap when done before."""
    for room in ROOMS:
        discover(f"unlearning.{room}")


def check(params: Params) -> None:
    """Look up everything that params.yaml chooses, so that a typo in a late stage stops the first one.

    Raises ParamsError naming the key and what exists.
    """
    register()
    generator = GeneratorRecipe.chosen(params.generator, "generator")
    _refuse_unread(Corruption.chosen(params.corruption, "corruption"), generator, "corruption")
    for where, unlearn in policy.reachable(params):
        _refuse_unable(Method.chosen(unlearn.method, f"{where}.method"), generator)
        Merge.chosen(unlearn.merge, f"{where}.merge")
        _refuse_decay(Scope.chosen(unlearn.scope, f"{where}.scope"), unlearn.budget)
    if params.evaluate.corruption is not None:
        evaluated = Corruption.chosen(params.evaluate.corruption, "evaluate.corruption")
        _refuse_unread(evaluated, generator, "evaluate.corruption")
    _refuse_twins([Metric.chosen(choice, "evaluate.metrics") for choice in params.evaluate.metrics])
    _check_attacks(params, generator)
    _check_whole_pictures(params, generator)


def _check_attacks(params: Params, generator: GeneratorRecipe) -> None:
    corruption = Corruption.chosen(params.evaluate.corruption or params.corruption, "evaluate.corruption")
    if params.evaluate.attacks and corruption.leaves_nothing and not _does(type(generator.part()), Scoring):
        raise ParamsError(
            f"evaluate.attacks: under corruption {corruption.kind!r} a picture reconstructs nothing, and generator "
            f"{generator.kind!r} does not say how well it knows one; set evaluate.corruption to a hole, or leave the "
            f"attacks out"
        )
    for choice in params.evaluate.attacks:
        Attack.chosen(choice, "evaluate.attacks")


def _check_whole_pictures(params: Params, generator: GeneratorRecipe) -> None:
    plan, trained = params.evaluate, Corruption.chosen(params.corruption, "corruption")
    if plan.drawn.images and not trained.leaves_nothing:
        raise ParamsError(
            f"evaluate.drawn.images: a generator trained under corruption {trained.kind!r} draws no picture from "
            f"nothing; 0 is right with it"
        )
    if plan.likelihood.images and not _does(type(generator), Denoising):
        able = _named(recipe for recipe in GeneratorRecipe.kinds.values() if _does(recipe, Denoising))
        raise ParamsError(
            f"evaluate.likelihood.images: generator {generator.kind!r} has no probability-flow ODE; of the generators "
            f"{able} has one, and 0 is right with any other"
        )


def _refuse_twins(metrics: Sequence[Metric]) -> None:
    names = [metric.name for metric in metrics]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ParamsError(
            f"evaluate.metrics: two metrics are called {twice[0]!r} in the report; leave one out, or name another "
            f"extractor"
        )


def _refuse_unread(corruption: Corruption, generator: GeneratorRecipe, where: str) -> None:
    if corruption.degrades and not _reads(type(generator.part()), corruption):
        able = _named(recipe for recipe in GeneratorRecipe.kinds.values() if _reads(recipe, corruption))
        raise ParamsError(
            f"{where}: {corruption.kind!r} leaves no pixel as it was, and generator {generator.part().kind!r} reads "
            f"only what is wholly visible; of the generators {able} takes it"
        )


def _reads(generator: type[GeneratorRecipe], corruption: Corruption) -> bool:
    """Whether it takes a picture that is degraded everywhere; one that is told nothing does if nothing is left."""
    return generator.reads_degraded or (corruption.leaves_nothing and _does(generator, Denoising))


def _refuse_unable(method: Method, generator: GeneratorRecipe) -> None:
    needed = method.needs()
    if not _does(type(generator), needed):
        able = _named(recipe for recipe in GeneratorRecipe.kinds.values() if _does(recipe, needed))
        raise ParamsError(
            f"unlearn.method: {method.kind!r} with these fields needs a generator that is {needed.__name__}, and "
            f"{generator.kind!r} is not; of the generators {able} is"
        )
    if _does(type(generator), Sharding) and not issubclass(needed, Sharding):
        able = _named(each for each in Method.kinds.values() if issubclass(each.requires, Sharding))
        raise ParamsError(
            f"unlearn.method: {method.kind!r} moves the members of generator {generator.kind!r} by one another's "
            f"images, and none would be exact again; {able} is right with it"
        )


def _does(generator: type[GeneratorRecipe], needed: type[nn.Module]) -> bool:
    return issubclass(Generator, needed) or any(issubclass(ability, needed) for ability in generator.abilities)


def _refuse_decay(scope: Scope, budget: Budget) -> None:
    """AdamW takes its decay off every weight it is given, whatever the gradient says."""
    if type(scope).mask is not Scope.mask and budget.weight_decay:
        raise ParamsError(
            f"unlearn.budget.weight_decay: {budget.weight_decay:g} would move the weights that scope {scope.kind!r} "
            f"keeps still; 0 is right with it"
        )


def _named(recipes: Iterable[type[Recipe]]) -> str:
    return ", ".join(sorted(recipe.kind for recipe in recipes)) or "none"
