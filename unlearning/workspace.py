"""The layout of everything a run makes, in one place: `<root>/batches/<batch>/<asset>/…`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unlearning.errors import UnlearningError
from unlearning.settings import Settings

NAME = r"[a-z0-9][a-z0-9._-]{0,63}"  # of a batch, a model, a data set: it becomes a part of paths
_BATCH = re.compile(NAME)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The root folder. Nothing outside it is ever written by a verb."""

    root: Path

    @property
    def ledger(self) -> Path:
        """The SQLite ledger of deletion requests."""
        return self.root / "ledger.sqlite"

    @property
    def vault(self) -> Path:
        """Private keys, keys of data sets, sealed old checkpoints; `UNLEARNING_VAULT` moves it elsewhere."""
        return Settings().vault or self.root / "keys"

    def dataset(self, name: str) -> Path:
        """Shards, index.parquet and dataset.json of one ingested data set."""
        return self.root / "data" / name

    def model(self, name: str) -> Path:
        """What is served under one model name: champion.json, and the bases trained here."""
        return self.root / "models" / name

    def work(self, key: str) -> Path:
        """Resumable state of an unfinished stage, addressed by the stage's content key."""
        return self.root / "work" / key

    def batch(self, key: str) -> BatchFolder:
        """The folder of one batch of deletion requests. Raises UnlearningError for a key that is not a plain name."""
        if not _BATCH.fullmatch(key):
            raise UnlearningError(
                f"batch key {key[:80]!r} is not a plain name: 1 to 64 of a-z, 0-9, dot, underscore, hyphen"
            )
        return BatchFolder(self, key)

    def batches(self) -> list[BatchFolder]:
        """Every batch that has a folder, by name."""
        home = self.root / "batches"
        return [BatchFolder(self, path.name) for path in sorted(home.iterdir())] if home.is_dir() else []


@dataclass(frozen=True, slots=True)
class BatchFolder:
    """One batch: a folder an asset, and `lineage/<asset>.json` beside them."""

    workspace: Workspace
    key: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.workspace.root / "batches" / self.key

    def asset(self, name: str) -> Path:
        """Where the asset `name` lies once it is whole; it appears there in one rename."""
        return self.path / name

    def lineage(self, name: str) -> Path:
        """The lineage record of the asset `name`."""
        return self.path / "lineage" / f"{name}.json"

    # The files inside the assets, named once.

    @property
    def requests(self) -> Path:
        """The sealed requests, JSON Lines."""
        return self.asset("deletion_requests") / "requests.jsonl"

    @property
    def forget(self) -> Path:
        """Every stored image that the requests cover, of any split, Parquet."""
        return self.asset("forget_manifest") / "forget.parquet"

    @property
    def earlier(self) -> Path:
        """What earlier batches of the model forgot, Parquet; there only where any was served before this one."""
        return self.asset("forget_manifest") / "earlier.parquet"

    @property
    def retain(self) -> Path:
        """What the model must keep, or stands in for it, Parquet."""
        return self.asset("retain_proxy_set") / "retain.parquet"

    @property
    def holdout(self) -> Path:
        """Images that no training ever saw and no request covers, Parquet."""
        return self.asset("retain_proxy_set") / "holdout.parquet"

    @property
    def original(self) -> Path:
        """The checkpoint before forgetting."""
        return self.asset("original_checkpoint")

    @property
    def reference(self) -> Path:
        """The checkpoint that never saw the forget set."""
        return self.asset("reference_checkpoint")

    @property
    def unlearned(self) -> Path:
        """The checkpoint after forgetting."""
        return self.asset("unlearned_checkpoint")

    @property
    def report(self) -> Path:
        """The evaluation report, JSON; report.html and per_image.parquet lie beside it."""
        return self.asset("evaluation_report") / "report.json"

    @property
    def certificate(self) -> Path:
        """The certificate, canonical JSON."""
        return self.asset("certificate") / "certificate.json"
