"""Every page a person opens: values are escaped, a policy lets nothing in, and nothing is fetched from anywhere."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from pipelines.intake import page as intake_page
from unlearning.report import page

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted(ROOT.glob("unlearning/**/*.j2")) + sorted(ROOT.glob("pipelines/**/*.j2"))
NOTHING = "default-src 'none'"
NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_lets_nothing_in(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\|\s*safe\b|autoescape\s+false|<script|javascript:|\son\w+=", text, re.IGNORECASE)
    assert not re.search(r"""(src|href|action|data)\s*=\s*["']?\s*(https?:)?//|@import|url\(""", text, re.IGNORECASE)
    if "<html" in text:
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
        assert policy.startswith(NOTHING)
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
        assert set(rules) <= {"default-src", "img-src", "style-src", "base-uri", "form-action"}
        assert {"base-uri", "form-action"} <= set(rules)
        # Widths and colours of bars are style attributes, which no hash can name; no script can stand in one.
        assert rules.get("style-src", ["'unsafe-inline'"]) == ["'unsafe-inline'"]
        assert rules.get("img-src", ["data:"]) == ["data:"]
        assert text.index("Content-Security-Policy") < text.index("<style")


def test_the_environment_escapes_and_misses_nothing() -> None:
    environment = page.environment()
    for name in (path.name for path in TEMPLATES if path.parent.name == "report"):
        environment.get_template(name)
    shown = environment.from_string('<a title="{{ x }}">{{ x }}</a>').render(x=NASTY)
    assert "<script" not in shown
    assert "<img" not in shown
    assert "49" not in shown
    assert environment.autoescape is not False


def test_the_page_of_the_intake() -> None:
    assert intake_page.POLICY.startswith(NOTHING)
    described = {
        "info": {"title": NASTY, "version": NASTY, "description": NASTY},
        "paths": {NASTY: {"get": {"summary": NASTY, "parameters": [{"in": "query", "name": NASTY}]}}},
        "components": {"schemas": {"Request": {"properties": {NASTY: {"description": NASTY}}, "required": []}}},
    }
    shown = intake_page.render(described)
    assert "<script" not in shown
    assert "<img" not in shown


def test_markup_is_made_in_few_places_and_from_drawings_alone() -> None:
    """What is marked as safe is an ElementTree that was written out, or a constant: never a value pasted into text."""
    for path in [*ROOT.glob("unlearning/**/*.py"), *ROOT.glob("pipelines/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Markup" and node.args:
                pasted = isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
                assert not pasted, f"{path.name} line {node.lineno}: a value is pasted into markup"
    assert Markup.escape(NASTY) != NASTY


def test_nothing_writes_csv() -> None:
    """A cell that begins with = + - @ runs in a spreadsheet. Tables leave as Parquet, JSON, Markdown and HTML only."""
    words = re.compile(r"csv\.writer|csv\.DictWriter|to_csv|pyarrow\.csv|write_csv|savetxt")
    for path in [*ROOT.glob("unlearning/**/*.py"), *ROOT.glob("pipelines/**/*.py")]:
        assert not words.search(path.read_text()), f"{path.name}: writes CSV; escape = + - @ TAB CR first"
