"""`unlearning verify`: does the evidence in a batch's folder hold, or a bundle that was handed over alone?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from unlearning import digests, files
from unlearning.errors import EvidenceError
from unlearning.evidence import bundle, bundle_page, bundle_verification, trust, verification
from unlearning.evidence.bundle_verification import Beside
from unlearning.evidence.verification import Exported, Verification
from unlearning.verbs import _set_checks, _traces
from unlearning.verbs._traces import Checked
from unlearning.workspace import Workspace

NO_BUNDLE = "any signature: no bundle lies in the folder; `unlearning attest` makes one"
NO_TRUST = "any signature: no trust file was given, and none lies at the root; name one with --trust"
_NEAR = 4  # folders above a bundle: batch, batches, root


@dataclass(frozen=True, slots=True)
class Given:
    """Files beside a bundle; None: not given."""

    trust: Path | None = None
    model: Path | None = None
    log: Path | None = None
    proof: Path | None = None
    image: Path | None = None
    supersedes: Path | None = None


def run(folder: Path, trusted: Path | None = None) -> Verification:
    """Recompute everything, offline, and verify the bundle in it. Raises EvidenceError if it is no certified batch.

    trusted  a trust file; default: the one at the root that the batch lies in
    """
    found, folder = verification.verify(folder), folder.resolve()
    batch = Exported(Workspace(folder.parent.parent), found.batch, folder)
    found = _with_traces(found, batch)
    path = bundle.file(batch)
    trusted = trusted or near(path)
    if not path.is_file() or trusted is None:
        missing = NO_TRUST if path.is_file() else NO_BUNDLE
        return replace(found, not_checked=(missing, *found.not_checked))
    told = bundle_verification.verify_file(path, trust.load(trusted))
    problems = [f"{path.name[:12]}…{bundle.ENDING}: {problem}" for problem in told.problems]
    if told.bundle is not None and told.bundle.index.certificate_sha256 != digests.of_file(batch.certificate):
        problems.append(f"{path.name[:12]}…{bundle.ENDING}: is about another certificate.json than lies there")
    problems += _page(path, told)
    sets = Checked((), ()) if told.bundle is None else _set_checks.checked(batch, told.bundle)
    by = tuple(f"{key.role} {key.keyid}" for key in told.keys)
    mismatches, not_checked = (
        (*found.mismatches, *problems, *sets.mismatches),
        (*found.not_checked, *sets.not_checked),
    )
    return replace(found, mismatches=mismatches, not_checked=not_checked, signed_by=by)


def _page(path: Path, told: bundle_verification.Verification) -> list[str]:
    """What people read is made from what was signed; a page that says otherwise is no evidence of anything."""
    page = bundle_page.beside(path)
    if not told.verified or not page.is_file() or page.read_bytes() == bundle_page.text(told).encode():
        return []
    return [
        f"{page.name[:12]}….html: does not say what the bundle says: it was edited, or made by another release; "
        "`unlearning page` makes it anew"
    ]


def _with_traces(found: Verification, batch: Exported) -> Verification:
    params = files.read_json(batch.certificate).get("params")
    told = _traces.checked(batch, params if isinstance(params, Mapping) else {})
    mismatches, not_checked = (*found.mismatches, *told.mismatches), (*found.not_checked, *told.not_checked)
    return replace(found, mismatches=mismatches, not_checked=not_checked)


def of_bundle(path: Path, given: Given) -> tuple[bundle_verification.Verification, Path]:
    """What holds of a bundle's file, and the trust file by which. Raises EvidenceError where a file is missing."""
    if not path.is_file():
        raise EvidenceError(f"{path}: there is no such file; a bundle's file, or a batch's folder, is right")
    trusted = given.trust or near(path.resolve())
    if trusted is None:
        raise EvidenceError(f"{path}: no trust file says whose signatures count; name one with --trust")
    if given.image is not None and given.proof is None:
        raise EvidenceError("--image says whose image a proof is about; name the proof with --proof")
    return bundle_verification.verify_file(path, trust.load(trusted), _read(given)), trusted


def near(path: Path) -> Path | None:
    """The trust file of the root that a bundle lies in: what its maker says of itself."""
    homes = (home / "trust.json" for home in path.parents)
    return next((found for found in islice(homes, _NEAR) if found.is_file()), None)


def _read(given: Given) -> Beside:
    try:
        return Beside(
            model=None if given.model is None else digests.of_file(given.model),
            log=None if given.log is None else given.log.read_bytes(),
            proof=None if given.proof is None else given.proof.read_bytes(),
            content=None if given.image is None else given.image.read_bytes(),
            supersedes=None if given.supersedes is None else given.supersedes.read_bytes(),
        )
    except OSError as error:
        raise EvidenceError(f"{error.filename}: cannot be read ({error.strerror})") from None
