"""The description of the service as one page that loads nothing: no script, no font, no address but its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ info.title }}</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .3rem; }
code, .verb { font: .9em ui-monospace, monospace; }
.verb { font-weight: 700; display: inline-block; min-width: 4.5rem; }
.quiet { opacity: .7; } table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
td, th { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
pre { padding: .8rem 1rem; border: 1px solid var(--line); border-radius: .4rem; overflow-x: auto; }
</style></head><body>
<h1>{{ info.title }}</h1>
<p class="quiet">version {{ info.version }} · machine-readable: <a href="openapi.json">openapi.json</a></p>
<p>{{ info.description }}</p>
<pre>curl --data @request.json -H "Authorization: Bearer $TOKEN" …/v1/requests</pre>
{% for path, operations in paths.items() %}{% for verb, operation in operations.items() %}
<h2><span class="verb">{{ verb | upper }}</span> <code>{{ path }}</code></h2>
<p>{{ operation.summary }}. {{ operation.description or "" }}</p>
{% set asked = operation.parameters | default([]) | rejectattr("in", "equalto", "path") | list %}
{% if asked %}<table>{% for one in asked %}
<tr><td><code>{{ one.name }}</code></td><td class="quiet">{{ one.in }}{{ ", required" if one.required }}</td></tr>
{% endfor %}</table>{% endif %}
{% endfor %}{% endfor %}
<h2>A request</h2>
<table>{% for name, field in request.properties.items() %}
<tr><td><code>{{ name }}</code></td><td class="quiet">{{ "required" if name in request.required }}</td>
<td>{{ field.description or (field.enum | join(", ") if field.enum) or field.pattern or field.type or "" }}</td></tr>
{% endfor %}</table>
<p class="quiet">Anything else is refused: free text would be personal data.</p>
</body></html>
"""


def render(described: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    template = Environment(autoescape=True).from_string(_PAGE)
    request = described["components"]["schemas"]["Request"]
    return template.render(info=described["info"], paths=described["paths"], request=request)
