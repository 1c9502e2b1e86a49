"""A recipe is a frozen set of hyper-parameters, chosen by `kind` in params.yaml; its class line is its registration."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer

from unlearning import yaml_text
from unlearning.errors import ParamsError


class Choice(BaseModel):
    """A recipe as params.yaml writes it: a `kind` and its fields, not yet looked up.

    params.yaml is read in processes that must not import torch; only the process that computes turns a choice into a
    recipe, by `Method.chosen(choice)`.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str

    @property
    def fields(self) -> dict[str, Any]:
        """Everything but the kind, as written."""
        return dict(self.model_extra or {})


class Recipe(BaseModel):
    """Base of every thing that params.yaml may choose by `kind`.

    A *family* derives from `Recipe` directly (`Method`, `Corruption`, ...). A member derives from its family and names
    itself: `class NoiseTarget(Method, kind="noise_target")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: ClassVar[str]
    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type[Self]]]

    def __init_subclass__(cls, *, kind: str | None = None, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if Recipe in cls.__bases__:
            cls.kinds = {}
            cls.family = cls.__name__.removesuffix("Recipe").lower()
        elif kind is not None:
            if kind in cls.kinds:
                raise TypeError(f"{cls.__name__} and {cls.kinds[kind].__name__} are both {kind!r}")
            cls.kind = kind
            cls.kinds[kind] = cls  # type: ignore[assignment]  # Self of the family, not of the member

    @classmethod
    def chosen(cls, choice: Choice, where: str = "params.yaml") -> Self:
        """The recipe that `choice` names, its fields validated. Raises ParamsError naming what exists."""
        if choice.kind not in cls.kinds:
            known = ", ".join(sorted(cls.kinds)) or "none"
            raise ParamsError(f"{where}: no {cls.family} of kind {choice.kind!r}; known kinds: {known}")
        member = cls.kinds[choice.kind]
        try:
            return member.model_validate(choice.fields)
        except ValidationError as error:
            raise ParamsError(explain(error, member, f"{where}: {cls.family} {choice.kind!r}")) from None

    @classmethod
    def paper(cls) -> str:
        """Where the thing comes from: the first paragraph of its module's docstring."""
        doc = inspect.getdoc(inspect.getmodule(cls)) or ""
        return " ".join(doc.split("\n\n")[0].split())

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Any) -> dict[str, Any]:
        return {"kind": type(self).kind, **handler(self)}


def read_mapping(path: Path, keys: Iterable[str], absent: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ParamsError, of a file that is not there in the words `absent`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: {absent}") from None
    except UnicodeDecodeError:
        raise ParamsError(f"{path}: not YAML (not UTF-8 text)") from None
    return mapping(text, keys, str(path))


def mapping(text: str, keys: Iterable[str], where: str) -> dict[str, Any]:
    """The mapping in a YAML text. Raises ParamsError."""
    try:
        tree = yaml_text.parse(text)
    except yaml_text.NotYaml as error:
        raise ParamsError(f"{where}: {error}") from None
    if not isinstance(tree, dict):
        raise ParamsError(f"{where}: a mapping with the keys {', '.join(sorted(keys))} is expected")
    return tree


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """The first thing wrong, in one sentence: the key, what is wrong with it, and what would be right."""
    first = error.errors(include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"]) or "the document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        exists = ", ".join(_fields_at(model, first["loc"][:-1]))
        return f"{where}: there is no key {path!r}; keys that exist there: {exists}{more}"
    return f"{where}: {path!r} {first['msg'][0].lower()}{first['msg'][1:]}, got {str(first.get('input'))[:60]!r}{more}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model nested at `path`."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)


def discover(package: str) -> None:
    """Import every public module of `package`, so that its recipes are known."""
    path = importlib.import_module(package).__path__
    for name in sorted(module.name for module in pkgutil.iter_modules(path)):
        if not name.startswith("_"):
            importlib.import_module(f"{package}.{name}")
