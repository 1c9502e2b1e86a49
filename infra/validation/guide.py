"""The operator's guide: its table of settings is what the code says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from infra.validation import INFRA, Row
from pipelines.resources.cluster import Cluster
from unlearning.settings import Settings

GUIDE = INFRA / "README.md"
_TABLE = re.compile(r"(<!-- settings: [^\n]* -->\n).*?(<!-- /settings -->)", re.DOTALL)
# Read by the code before any settings object is made.
_ASIDE = {"UNLEARNING_CODE_REVISION": ("", "revision of the code where there is no git, as in the images")}


def rows() -> Iterator[Row]:
    """One."""
    text = GUIDE.read_text(encoding="utf-8")
    current = table() in text and written(text) == text
    wrong = () if current else ("it is old; run `python -m infra.validate --write`",)
    yield Row("README.md", "its table of settings is what the code says", wrong)


def written(text: str) -> str:
    """The guide with the table as it should be."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", text)


def table() -> str:
    """Every variable, its default and its meaning, as Markdown."""
    lines = ["| Variable | Default | What |", "| --- | --- | --- |"]
    found = {**_of(Settings), **_of(Cluster), **_ASIDE}
    lines += [f"| `{name}` | {f'`{default}`' if default else ''} | {what} |" for name, (default, what) in found.items()]
    text = "\n".join(lines).replace("local | torchrun | kubernetes | ray", "local, torchrun, kubernetes or ray")
    return text.replace("<", "&lt;") + "\n"


def _of(settings: type[BaseSettings]) -> dict[str, tuple[str, str]]:
    prefix = settings.model_config.get("env_prefix", "")
    return {
        f"{prefix}{name}".upper(): (_spoken(field.default), field.description or "")
        for name, field in settings.model_fields.items()
    }


def _spoken(default: Any) -> str:
    if default is None:
        return ""
    return str(default) if isinstance(default, (str, Path)) else json.dumps(default)
