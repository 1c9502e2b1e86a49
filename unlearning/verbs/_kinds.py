"""Every room whose members params.yaml may choose by `kind`."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from unlearning.contracts import Corruption, Generator, GeneratorRecipe, Merge, Method, Metric, Scope
from unlearning.errors import ParamsError
from unlearning.params import Params
from unlearning.recipe import discover

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
    _refuse_unable(Method.chosen(params.unlearn.method, "unlearn.method"), generator)
    Merge.chosen(params.unlearn.merge, "unlearn.merge")
    Scope.chosen(params.unlearn.scope, "unlearn.scope")
    if params.evaluate.corruption is not None:
        evaluated = Corruption.chosen(params.evaluate.corruption, "evaluate.corruption")
        _refuse_unread(evaluated, generator, "evaluate.corruption")
    for choice in params.evaluate.metrics:
        Metric.chosen(choice, "evaluate.metrics")


def _refuse_unread(corruption: Corruption, generator: GeneratorRecipe, where: str) -> None:
    if corruption.degrades and not generator.reads_degraded:
        able = _named(recipe for recipe in GeneratorRecipe.kinds.values() if recipe.reads_degraded)
        raise ParamsError(
            f"{where}: {corruption.kind!r} leaves no pixel as it was, and generator {generator.kind!r} reads only what "
            f"is wholly visible; of the generators {able} takes it"
        )


def _refuse_unable(method: Method, generator: GeneratorRecipe) -> None:
    needed = method.needs()
    if not _does(type(generator), needed):
        able = _named(recipe for recipe in GeneratorRecipe.kinds.values() if _does(recipe, needed))
        raise ParamsError(
            f"unlearn.method: {method.kind!r} with these fields needs a generator that is {needed.__name__}, and "
            f"{generator.kind!r} is not; of the generators {able} is"
        )


def _does(generator: type[GeneratorRecipe], needed: type[nn.Module]) -> bool:
    return issubclass(Generator, needed) or any(issubclass(ability, needed) for ability in generator.abilities)


def _named(recipes: Iterable[type[GeneratorRecipe]]) -> str:
    return ", ".join(sorted(recipe.kind for recipe in recipes)) or "none"
