"""Every corpus of hostile input through the doors that it would come by, and what became of it.

`rows()` counts, for each corpus and door: how many were tried, how many ended in a typed refusal that changed
nothing, and how many in anything else: accepted, another exception, a marker of code that ran, a changed file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import toy_batch
from tests.security import corpora_images, corpora_pickles, corpora_tars, corpora_tensors, corpora_text
from tests.toy_batch import archive, png
from unlearning import digests, overrides
from unlearning.errors import UnlearningError
from unlearning.generators import _weights
from unlearning.log import silent
from unlearning.metrics.extractors.weights import Found
from unlearning.params import Params
from unlearning.requests import schema
from unlearning.requests.ledger import Ledger
from unlearning.training import checkpoint
from unlearning.verbs import ingest, intake, locate
from unlearning.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
Row = dict[str, Any]
Case = tuple[str, Callable[[], object]]  # what it is, and what hands it to its door
ENDINGS = ("pkl", "pickle", "pyd", "pth", "pt", "npy", "bin", "joblib")
ADDRESSES = (
    "pipe:touch {marker}",
    "pipe:touch {marker} |",
    "file:///etc/passwd",
    "http://127.0.0.1:1/train.tar",
    "https://127.0.0.1:1/train.tar",
    "s3://bucket/train.tar",
    "gs://bucket/train.tar",
    "hf://bucket/train.tar",
    "simplecache::http://127.0.0.1:1/train.tar",
    "torchvision:../../os",
    "torchvision:__builtins__",
    "/dev/zero",
    "/proc/self/environ",
    "\0",
    "x" * 5000 + ".tar",
)


class Bench:
    """A root with one small data set and no request, and a place for what is handed in."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.hostile = home / "hostile"
        self.markers = home / "markers"
        for folder in (self.hostile, self.markers):
            folder.mkdir(parents=True)
        self.workspace = Workspace(home / "var")
        tree = home / "good"
        (tree / "a").mkdir(parents=True)
        for number in range(5):
            (tree / "a" / f"{number}.png").write_bytes(png(number))
        ingest.run(str(tree), "toys", self.workspace, silent)
        Ledger(self.workspace.ledger).counts()

    def put(self, name: str, content: bytes | str) -> Path:
        """A hostile file under that name, alone in its folder."""
        path = self.hostile / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def ingest(self, path: Path | str) -> object:
        """The verb; the data set must not come to be."""
        return ingest.run(str(path), "hostile", self.workspace, silent)

    def tried(self, row: str, cases: Iterator[Case] | list[Case]) -> Row:
        """Hand every case in, one by one."""
        counts, odd = {"refused": 0, "other": 0}, list[str]()
        for name, hand_in in cases:
            before = self._state()
            told = _told(hand_in)
            well = told is None and self._state() == before
            counts["refused" if well else "other"] += 1
            if not well:
                odd.append(f"{name}: {told or 'something was written or run'}")
            self._clear()
        return {"row": row, "tried": sum(counts.values()), **counts, "odd": odd}

    def _state(self) -> list[tuple[str, str]]:
        """Everything below the root by name and content, and every marker."""
        kept = [(path, content) for path, content in toy_batch.snapshot(self.workspace.root).items()]
        ran = [(path.name, b"ran") for path in self.markers.iterdir()]
        return sorted((name, digests.of_bytes(content)) for name, content in [*kept, *ran])

    def _clear(self) -> None:
        for path in self.hostile.iterdir():
            path.unlink()


def _told(hand_in: Callable[[], object]) -> str | None:
    """None for a typed refusal in one sentence, else what happened."""
    try:
        hand_in()
    except UnlearningError as error:
        said = str(error)
        return None if said and "\n" not in said and len(said) < 2_000 else f"a refusal of {len(said)} characters"
    except BaseException as error:  # whatever it is, it is no typed refusal
        return f"{type(error).__name__}: {error}"[:200]
    return "accepted"


def pickles(bench: Bench) -> list[Row]:
    """As published weights, as weights of an extractor, as a checkpoint of our own, as members of a shard."""
    made = corpora_pickles.corpus(bench.markers)
    suffixes = {"bare": ".bin", "zipped": ".pt", "legacy": ".pth", "tarred": ".ckpt", "array": ".pt"}

    def published(kind: str, content: bytes) -> object:
        return _weights.read(bench.put(f"weights{suffixes[kind]}", content))

    def extractor(content: bytes) -> object:
        path = bench.put("extractor.pt", content)
        return Found(path, digests.of_file(path)).tensors

    def member(number: int, content: bytes) -> object:
        ending = ENDINGS[number % len(ENDINGS)]
        return bench.ingest(archive(bench.hostile / "s.tar", ("a.png", png(1)), (f"a.{ending}", content)))

    cases = list(made.items())
    return [
        bench.tried("pickle as model.weights", [(n, lambda k=k, c=c: published(k, c)) for n, (k, c, _) in cases]),
        bench.tried("pickle as an extractor", [(n, lambda c=c: extractor(c)) for n, (_, c, _) in cases[::2]]),
        bench.tried("pickle as a checkpoint", [(n, lambda c=c: own(bench, c)) for n, (_, c, _) in cases[::2]]),
        bench.tried(
            "pickle in a shard", [(n, lambda i=i, c=c: member(i, c)) for i, (n, (_, c, _)) in enumerate(cases)]
        ),
    ]


def own(bench: Bench, weights: bytes) -> object:
    """The checkpoint reader, told the sha256 that the bytes really have."""
    bench.put("model.safetensors", weights)
    return checkpoint.read_tensors(bench.hostile / "model.safetensors", digests.of_bytes(weights))


def tars(bench: Bench) -> list[Row]:
    """As shards."""
    plain = [(n, lambda f=f: bench.ingest(bench.put("s.tar", f()))) for n, f in corpora_tars.HOSTILE.items()]
    packed = [(n, lambda c=c: bench.ingest(bench.put("s.tar.gz", c))) for n, c in corpora_tars.bombs().items()]
    return [bench.tried("tar as a shard", [*plain, *packed])]


def images(bench: Bench) -> list[Row]:
    """In a shard, in a folder of pictures, and as an upload."""
    made = {name: make() for name, make in corpora_images.HOSTILE.items()}

    def folder(content: bytes) -> object:
        home = bench.home / "pictures" / "a"
        home.mkdir(parents=True, exist_ok=True)
        (home / "x.png").write_bytes(content)
        return bench.ingest(home.parent)

    def shard(content: bytes) -> object:
        return bench.ingest(archive(bench.hostile / "s.tar", ("a.png", png(1)), ("b.png", content)))

    def upload(content: bytes) -> object:
        return locate.run(content, "toys", bench.workspace, near=8)

    return [
        bench.tried(f"picture {where}", [(n, lambda d=door, c=c: d(c)) for n, c in made.items()])  # type: ignore[misc]
        for where, door in (("in a shard", shard), ("in a folder", folder), ("uploaded", upload))
    ]


def tensors(bench: Bench) -> list[Row]:
    """As published weights and as a checkpoint of our own."""
    made = corpora_tensors.HOSTILE

    def published(content: bytes) -> object:
        return _weights.read(bench.put("model.safetensors", content))

    return [
        bench.tried("safetensors as model.weights", [(n, lambda f=f: published(f())) for n, f in made.items()]),
        bench.tried("safetensors as a checkpoint", [(n, lambda f=f: own(bench, f())) for n, f in made.items()]),
    ]


def addresses(bench: Bench) -> list[Row]:
    """What `ingest` is told to read."""
    cases = [(a[:40], lambda a=a: bench.ingest(a.format(marker=bench.markers / "ran"))) for a in ADDRESSES]
    return [bench.tried("address of a source", cases)]


def params(bench: Bench) -> list[Row]:
    """As params.yaml, and as --set."""

    def read(text: str) -> object:
        return Params.read(bench.put("params.yaml", text))

    def over(text: str) -> object:
        return Params.read(REPOSITORY / "params.yaml", dict([overrides.read(f"data.name={text}")]))

    made = corpora_text.YAML
    return [
        bench.tried("YAML as params.yaml", [(n, lambda t=t: read(t)) for n, t in made.items()]),
        bench.tried("YAML as --set", [(n, lambda t=t: over(t)) for n, t in made.items()]),
    ]


def requests(bench: Bench) -> list[Row]:
    """One by one at the schema, which HTTP and the command line share; then all of them at once in the inbox."""
    made = [("json", *item) for item in corpora_text.JSON.items()]
    made += [("csv", *item) for item in corpora_text.CSV.items()]

    def read(ending: str, content: bytes | str) -> object:
        return schema.read(bench.put(f"r.{ending}", content))

    rows = [
        bench.tried(f"{word} as a request", [(n, lambda e=e, c=c: read(e, c)) for e, n, c in made if e == word.lower()])
        for word in ("JSON", "CSV")
    ]
    return [*rows, _inbox(bench, made)]


def _inbox(bench: Bench, made: list[tuple[str, str, bytes | str]]) -> Row:
    """A file is set aside with its reason; nothing is filed, and nothing of it stands in the reason."""
    box = bench.workspace.root / "inbox"
    box.mkdir(exist_ok=True)
    for number, (ending, _, content) in enumerate(made):
        spelled = content if isinstance(content, bytes) else content.encode()
        (box / f"{number:03d}.{ending}").write_bytes(spelled)
    taken = intake.take_in(bench.workspace, settle_s=0)
    filed = sum(Ledger(bench.workspace.ledger).counts().values())
    reasons = [path.read_text() for path in (box / "refused").glob("*.why")]
    refused = len(taken.refused) if all(reason.count("\n") == 1 for reason in reasons) else 0
    odd = [] if refused == len(made) and not filed else [f"{filed} filed, {refused} refused"]
    return {
        "row": "file in the inbox",
        "tried": len(made),
        "refused": refused,
        "other": len(made) - refused,
        "odd": odd,
    }


CORPORA = (pickles, tars, images, tensors, addresses, params, requests)


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as home:
        yield Bench(Path(home))


def rows() -> list[Row]:
    """All of it; before anything else, that the pickles really run where nobody refuses them."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        ran, made = corpora_pickles.proven(Path(scratch)), corpora_pickles.corpus(Path(scratch))
        told: Row = {"row": "pickles that run in a plain reader", "tried": len(made), "ran": len(ran)}
    found = [told]
    for corpus in CORPORA:
        with bench() as here:
            found += corpus(here)
    return found
