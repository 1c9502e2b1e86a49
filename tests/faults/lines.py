"""The lines that faults are tried on, at a fixed moment, and everything that one leaves behind.

`toy`: ingest to promotion, every real verb but training; checkpoints are only bytes, so that an attempt takes a second.
`trained`: `unlearning run` on digits with a few steps of real training and a real evaluation.
"""

from __future__ import annotations

import datetime as clock
import hashlib
import importlib
import json
import pkgutil
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import unlearning
from tests.toy_batch import fake_training, file_requests, manifests, picture_tree, request_body, toy_params
from unlearning import digests
from unlearning.__main__ import main
from unlearning.data import tombstones
from unlearning.evidence import bundle_verification, key_files, lineage, log, trust
from unlearning.log import silent
from unlearning.verbs import _ledger, certify, ingest, promote, request
from unlearning.workspace import Workspace

KEY = "b1"
MOMENT = clock.datetime(2026, 11, 20, 12, 0, 0, tzinfo=clock.UTC)
_CODE = {"revision": "none", "dirty": False, "source_sha256": "0" * 64, "version": unlearning.__version__}
REPOSITORY = Path(__file__).resolve().parents[2]
_BUDGET = "{steps: 12, batch_size: 32, learning_rate: 0.002, warmup_steps: 2, save_every: 2, log_every: 2}"
_TRAINED = (
    "generator.width=24",
    "generator.depth=1",
    "generator.decoder_width=24",
    f"original={_BUDGET}",
    f"unlearn.budget={_BUDGET}",
    "evaluate.metrics=[{kind: mse}]",
    "evaluate.seeds=[0]",
    "evaluate.max_images=24",
    "evaluate.bootstrap=100",
    "evaluate.profile=none",
    "gates.attacks={}",
    "report.pictures=2",
)


class Noon(clock.datetime):
    """It is always noon."""

    @classmethod
    def now(cls, tz: clock.tzinfo | None = None) -> clock.datetime:  # type: ignore[override]
        """MOMENT."""
        return MOMENT if tz is None else MOMENT.astimezone(tz)


class Second(float):
    """Whatever is timed took a second."""

    def __sub__(self, other: float) -> float:
        return 1.0


def nothing_by_chance() -> None:
    """No clock, revision or secret in any module of ours that is imported: the same run leaves the same bytes."""
    vars(tombstones)["secrets"] = SimpleNamespace(token_bytes=bytes)
    vars(key_files)["write_secret"] = _write_known_secret
    vars(lineage)["code_identity"] = lambda: dict(_CODE)
    still = SimpleNamespace(monotonic=Second, perf_counter=Second, sleep=time.sleep, time=time.time)
    for name, module in list(sys.modules.items()):
        if name.startswith("unlearning.") and getattr(module, "datetime", None) is clock.datetime:
            vars(module)["datetime"] = Noon
        if name.startswith("unlearning.") and getattr(module, "time", None) is time:
            vars(module)["time"] = still


def _write_known_secret(path: Path, content: bytes) -> None:
    """In place of a new secret, the one of its name."""
    seed = hashlib.sha256(path.name.encode()).digest()
    kind = _KEYS.get(path.suffix)
    _write_secret(path, seed if kind is None else _pem(kind.from_private_bytes(seed)))


def _pem(private: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


_KEYS: dict[str, type[Ed25519PrivateKey | X25519PrivateKey]] = {
    ".ed25519": Ed25519PrivateKey,
    ".x25519": X25519PrivateKey,
}


_write_secret = key_files.write_secret


def everything() -> None:
    """Import the whole core once: a process that is forked from here starts at once."""
    for found in pkgutil.walk_packages(unlearning.__path__, "unlearning."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def sources(home: Path) -> None:
    """What the toy line is given: pictures and one request."""
    if not (home / "pictures").is_dir():
        picture_tree(home / "making").rename(home / "pictures")
        (home / "requests.jsonl").write_text(json.dumps(request_body()) + "\n")


def toy(home: Path) -> None:
    """From pictures to the champion. Called again, it goes on where it was."""
    params, workspace = toy_params(REPOSITORY), Workspace(home / "var")
    sources(home)
    ingest.run(str(home / "pictures"), "toys", workspace, silent, "folder")
    request.add(home / "requests.jsonl", workspace)
    batch = workspace.batch(KEY)
    manifests(params, batch)
    fake_training(params, batch)
    certify.run(params, batch, silent)
    promote.run(params, batch)


def trained(home: Path) -> None:
    """Real training and evaluation, by the command line. The data set and the request are there."""
    settings = [word for one in _TRAINED for word in ("--set", one)]
    words = ["run", "--root", str(home / "var"), "--batch", KEY, "--params", str(REPOSITORY / "params.yaml")]
    code = main([*words, *settings])
    if code != 0:
        raise SystemExit(code)


def prepared(home: Path) -> None:
    """What `trained` starts from."""
    workspace = Workspace(home / "var")
    ingest.run("digits", "digits", workspace, silent)
    chosen = [{"class": "3", "approved_by": "privacy-officer"}]
    file_requests(workspace, request_body(dataset="digits", selectors=chosen))


LINES: dict[str, Callable[[Path], None]] = {"toy": toy, "trained": trained, "prepared": prepared}


def left(home: Path) -> dict[str, Any]:
    """Everything below the root that a reader may see: files by sha256, and every row and event of the ledger."""
    root = home / "var"
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(_ASIDE) and not any(part.startswith(".") for part in name.split("/")):
            found[name] = _said(path)
    ledger = _ledger.of(Workspace(root))
    for entry in ledger.entries() if ledger.path.exists() else []:
        row = [entry.request_id, entry.model, entry.attempt, entry.state, entry.batch, entry.due_at]
        found[f"ledger:{entry.seq}"] = [*row, [[one.new, one.reason] for one in ledger.events(entry, every=True)]]
    return found


def torn(home: Path, whole: dict[str, Any]) -> list[str]:
    """What a reader would see half made after a kill: an asset that lacks a file, or a file that is not as it will be.

    history.jsonl and the tombstones grow by whole lines; the ledger's rows are another state until the end. Bundle and
    log grow, too: what is there of them must hold.
    """
    here, root = left(home), home / "var"
    files = {name for name in here if not name.startswith("ledger:") and not name.startswith("work/")}
    wrong = [name for name in files if name in whole and here[name] != whole[name] and not _holds(root, name)]
    wrong += [name for name in files if name not in whole and not name.endswith(".why")]
    for folder in {tuple(name.split("/")[:3]) for name in whole if name.startswith("batches/")}:
        if (root / Path(*folder)).is_dir() and folder[-1] != "lineage":
            wrong += [name for name in whole if tuple(name.split("/")[:3]) == folder and name not in files]
    return sorted(wrong)


def _holds(root: Path, name: str) -> bool:
    """Whether it is an earlier bundle that verifies, its page, or a log of whole lines."""
    if name == "log/digests":
        return (root / name).stat().st_size == 65 * len(log.read(root / name))
    if not name.endswith((".erasure.intoto.jsonl", ".erasure.html")):
        return False
    bundle = root / name.replace(".erasure.html", ".erasure.intoto.jsonl")
    trusted = trust.load(root / "trust.json")
    return bundle_verification.verify(bundle.read_bytes(), trusted).verified


def leftovers(home: Path) -> list[str]:
    """Temporary files and folders that nobody will ever finish: they may hold what was to be forgotten."""
    root = home / "var"
    names = (path.relative_to(root) for path in root.rglob("*"))
    inside = (name for name in names if ".partial" in name.parts[:-1] or name.name.endswith(".partial"))
    return sorted(str(name) for name in inside if name.name != ".partial")


_ASIDE = ("ledger.sqlite", "work/")  # the ledger is read by its rows; work is what an unfinished attempt needs


def _said(path: Path) -> str:
    """sha256 of a file; of what it says but for where a run was resumed, which a record of lineage keeps."""
    if path.parent.name not in ("lineage", "certificate", "base") or path.suffix != ".json":
        return digests.of_file(path)
    text = _RESUMED.sub("", path.read_text(encoding="utf-8"))
    if path.name == "certificate.json":
        text = _OF_A_RECORD.sub("", text)
    return digests.of_bytes(text.encode())


_RESUMED = re.compile(r'"resumed_from":\d+,')
_OF_A_RECORD = re.compile(r'"(lineage_sha256|sha256|bytes)":("[0-9a-f]{64}"|\d+),?')  # of certificate and its record
