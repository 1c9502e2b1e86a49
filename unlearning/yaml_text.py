"""YAML as far as a file of parameters needs it: plain values, lists and mappings; small, shallow, and no key twice.

The safe loader runs nothing, but it lets a key stand twice (the last one counts), and nine lines of aliases say a
billion values that explode as soon as somebody prints them. What no parameter needs is refused: tags, and numbers that
are not finite. A date stays text.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

LONGEST = 2**20  # characters of one document
DEEPEST = 32  # levels of nesting
MOST_VALUES = 100_000  # once every alias is written out
MOST_ALIASES = 1_000
_NOT_MEANT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"


class NotYaml(ValueError):
    """What is wrong with a text, as a clause; the door that read it says where."""


def parse(text: str) -> Any:
    """The one value in `text`; None of an empty one. Raises NotYaml."""
    if len(text) > LONGEST:
        raise NotYaml(f"more than {LONGEST} characters of YAML")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise NotYaml(f"not YAML ({' '.join(str(error).split())[:160]})") from None
    except NotYaml:
        raise
    except ValueError:  # `0b_`, say, has the form of a number
        raise NotYaml("not YAML (a number that is none)") from None


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own way to say what a plain word may become
        first: [(tag, form) for tag, form in resolvers if tag not in _NOT_MEANT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = self._aliases = 0
        self._sizes = dict[str | None, int]()  # values below each anchor, once it is whole

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node, counted before it is made."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self._aliases += 1
            if event.anchor in self.anchors and event.anchor not in self._sizes:
                raise NotYaml("an alias inside of what it stands for")
            self._count(self._sizes.get(event.anchor, 0))
            return super().compose_node(parent, index)
        if getattr(event, "tag", None) is not None:
            raise NotYaml("a value with a tag; plain values are right, text in quotes")
        before = self._values
        self._count(1)
        self._depth += 1
        if self._depth > DEEPEST:
            raise NotYaml(f"nested deeper than {DEEPEST}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if event.anchor is not None:
            self._sizes[event.anchor] = self._values - before
        return node

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MOST_VALUES or self._aliases > MOST_ALIASES:
            raise NotYaml(f"more than {MOST_VALUES} values or {MOST_ALIASES} aliases")

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """A mapping whose own keys differ; what `<<` brings in may be said again."""
        node = super().compose_mapping_node(anchor)
        seen = set[Any]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise NotYaml("a key that is no plain value")
            name = key.value if key.tag == _MERGE else self.construct_object(key)
            if name in seen:
                raise NotYaml(f"key {str(name)[:40]!r} stands there twice; once is right")
            seen.add(name)
        return node

    def finite(self, node: yaml.ScalarNode) -> float:
        """A number that can be compared with a bound: NaN passes every one."""
        number = float(self.construct_yaml_float(node))
        if not math.isfinite(number):
            raise NotYaml("a number that is not finite")
        return number


_Loader.add_constructor(_FLOAT, _Loader.finite)
