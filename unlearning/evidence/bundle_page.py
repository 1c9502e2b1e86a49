"""The page that a person or a court reads: one file, nothing fetched, made from a verified bundle and nothing else.

Every number is one of the signed statements, in four digits. A page proves nothing by itself, and says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from unlearning.errors import EvidenceError
from unlearning.evidence import bundle
from unlearning.evidence.bundle import Bundle
from unlearning.evidence.bundle_verification import Verification

_STATUS = {
    "issued": (
        "Issued",
        "The algorithm named below ran on this model, and the model passed every test that was asked.",
    ),
    "refused": ("Refused", "The model did not pass its tests. It was not released for them, and this page says why."),
    "no_match": ("No matching data", "Nothing in the data set below matches what the request named."),
}
_LEVELS = {
    "C1": "Approximate. An algorithm changed the model's weights, and the model passed the tests listed here. "
    "That nothing is left cannot be proved from weights.",
    "C2": "Exact for a part. Those members of the model that had learned from the data were trained again without it, "
    "and the result is bit for bit the one of such a training.",
    "C3": "Trained again. The whole model was trained anew without the data.",
    "none": "None. No level of forgetting is claimed.",
}
_SETS = {
    "dataset": "Everything stored",
    "dataset_keys": "Everything stored, by name",
    "forget": "To be forgotten",
    "retain": "To be kept, as the run could read it",
}
_ROLES = {"pipeline": "Pipeline", "privacy_officer": "Privacy officer"}


def beside(path: Path) -> Path:
    """Where the page of a bundle's file lies."""
    return path.with_name(path.name.removesuffix(".intoto.jsonl") + ".html")


def text(found: Verification) -> str:
    """The page of a bundle that holds. Raises EvidenceError for one that does not: there is nothing to show."""
    if found.bundle is None or not found.verified:
        raise EvidenceError(f"no page is made of a bundle that does not verify: {found.problems[0]}")
    made = found.bundle
    title, meaning = _STATUS[made.index.status]
    return _TEMPLATE.render(
        bundle=made,
        index=made.index,
        title=title,
        meaning=meaning,
        level=_level(made.index.claim_level),
        about=made.lines[-1].statement.digest,
        own=made.lines[-1].sha256,
        name=_name(made),
        sets=[(said, _SETS[said.set], made.roots[said.set][1].hex()) for said in made.sets.values()],
        run=_run(made),
        signatures=sum(len(line.envelope.signatures) for line in made.lines),
        keys=[(key, _ROLES[key.role]) for key in found.keys],
    )


def _level(claimed: str) -> str:
    level, _, again = claimed.partition("+")
    return _LEVELS[level] + (" Somebody else ran it again with the same result." if again else "")


def _name(made: Bundle) -> str:
    if made.no_match is not None:
        return f"{made.no_match.request_id}{bundle.NO_MATCH_ENDING}"
    return f"{made.lines[-1].statement.digest}{bundle.ENDING}"


def _run(made: Bundle) -> dict[str, Any]:
    """What provenance says, in rows; empty where no run was made."""
    if made.provenance is None:
        return {}
    definition, details = made.provenance.buildDefinition, made.provenance.runDetails
    return {
        "asked": definition.externalParameters,
        "inside": definition.internalParameters,
        "read": [(one.name, next(iter(one.digest.model_dump().values()))) for one in definition.resolvedDependencies],
        "left": [(one.name, one.digest.sha256) for one in details.byproducts],
        "times": details.metadata,
    }


def _moment(time: str) -> str:
    return f"{time[:10]} {time[11:16]} UTC"


def _word(code: str) -> str:
    return code.replace("_", " ").replace("by.", "named by ").replace("near.", "near by ")


def _short(number: str | None) -> str:
    """A decimal in four digits; a text that is none stays as it was signed."""
    try:
        return "" if number is None else f"{float(number):.4g}"
    except ValueError:
        return str(number)


_ENVIRONMENT = Environment(
    loader=PackageLoader("unlearning.evidence", "."),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(moment=_moment, short=_short, word=_word)
_TEMPLATE = _ENVIRONMENT.get_template("bundle_page.html.j2")
