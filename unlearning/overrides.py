"""Single values over a parameter file: `unlearn.budget.steps=8`."""

from __future__ import annotations

from typing import Any

from unlearning import yaml_text
from unlearning.errors import ParamsError


def read(text: str) -> tuple[str, Any]:
    """`unlearn.budget.steps=8` as a key and a value. Raises ParamsError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ParamsError(f"--set {text[:80]!r}: KEY=VALUE is right, unlearn.budget.steps=8, say")
    try:
        return key, yaml_text.parse(value)
    except yaml_text.NotYaml as error:
        raise ParamsError(f"--set {text[:80]!r}: the value is {error}") from None


def put(tree: dict[str, Any], path: list[str], value: Any, where: str) -> None:
    """Set one value of a mapping, by its path. Raises ParamsError, naming `where`, if that goes through no section."""
    if len(path) > yaml_text.DEEPEST:  # as the file: whoever writes it out again has a limit, too
        raise ParamsError(f"{where}: an override of {len(path)} levels; at most {yaml_text.DEEPEST} are read")
    for branch in path[:-1]:
        tree = tree.setdefault(branch, {})
        if not isinstance(tree, dict):
            raise ParamsError(f"{where}: override {'.'.join(path)!r} goes through {branch!r}, which is not a section")
    tree[path[-1]] = value
