"""`make demo`: one deletion request through the whole graph, in this process, and what came of it as a table.

Run it again and it resumes or reuses. 0: promoted or ready, 2: an input is wrong, 3: a gate refused, 130: stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import evidence, home, summary
from pipelines.definitions import defs
from pipelines.partitions import open_batch
from pipelines.resources.workbench import Launch
from unlearning import files
from unlearning.errors import DataError, RequestError, UnlearningError
from unlearning.evidence import bundle, bundle_page, promotion
from unlearning.log import Bars
from unlearning.params import Params
from unlearning.settings import Settings
from unlearning.verbs import ingest, request
from unlearning.workspace import BatchFolder, Workspace

HOUSE = Path(__file__).parents[1]
DEMO_REQUESTS = HOUSE / "infra" / "requests" / "forget-digits-3-and-8.jsonl"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it and return the exit code."""
    options = _parser().parse_args(argv)
    try:
        params = Params.read(options.params)
        batch = Workspace(Settings().root.resolve()).batch(options.batch)
        _take_in(options, params, batch)
        return _unlearn(options, params, batch)
    except UnlearningError as error:
        sys.stderr.write(f"unlearning: {error}\n")
        return 2
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        sys.stderr.write("unlearning: stopped; the same command again resumes\n")
        return 130


def _take_in(options: argparse.Namespace, params: Params, batch: BatchFolder) -> None:
    """The data set and the requests, each once. Raises DataError or RequestError."""
    name, workspace = params.data.name, batch.workspace
    known = (workspace.dataset(name) / "dataset.json").is_file()
    source = options.source or ("digits" if name == "digits" else None)
    if source is None and not known:
        raise DataError(f"there is no data set {name!r} below {workspace.root}; name its source with --source")
    if options.source or not known:
        done = ingest.run(str(source), name, workspace, Bars(), options.subject_from)
        _say(f"data set {name}: {done.described['images']} images, {'reused' if done.reused else 'ingested'}")
    else:
        _say(f"data set {name}: reused")
    path = options.requests or (DEMO_REQUESTS if name == "digits" else None)
    if path is None and not batch.requests.is_file():
        raise RequestError(f"batch {batch.key}: no request says what to forget; name a file with --requests")
    if path is not None:
        _say(f"requests: {len(request.add(path, workspace))} in {_short(path)}, in the ledger")


def _unlearn(options: argparse.Namespace, params: Params, batch: BatchFolder) -> int:
    place = home.prepare(batch.workspace.root)
    Launch(options.params.resolve(), {}).pin(batch.workspace, batch.key)
    with dg.DagsterInstance.from_config(str(place)) as instance:
        open_batch(instance, batch.key)
        _observe(instance, params, batch)
        result = (
            defs()
            .resolve_job_def("unlearn_batch")
            .execute_in_process(
                instance=instance,
                partition_key=batch.key,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                raise_on_error=False,
            )
        )
    broken = _broken(result)
    _say(_work_done(result))
    if not batch.report.is_file():
        raise UnlearningError(broken or "no report was made; `make dev` shows why")
    verdict = promotion.judge(params, batch)
    sys.stdout.write(f"\n{summary.text(files.read_json(batch.report), verdict)}\n\n{_doors(params, batch, result)}")
    if broken is not None:
        sys.stderr.write(f"unlearning: {broken}\n")
    sys.stdout.write(f"report: {_short(batch.report)}\n")
    return 2 if broken is not None else 0 if verdict.passed else 3


def _observe(instance: dg.DagsterInstance, params: Params, batch: BatchFolder) -> None:
    """Tell Dagster which data set is there, so that its lineage starts with a hash."""
    described = files.read_json(batch.workspace.dataset(params.data.name) / "dataset.json")
    version = f"sha256:{described['index_sha256']}"
    known = evidence.upstream(instance, batch.key, ["image_dataset"]).get("image_dataset")
    if known is not None and known.data_version == version:
        return
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "image_dataset",
            metadata={"name": params.data.name, "images": described["images"]},
            tags={"dagster/data_version": version},
        )
    )


def _work_done(result: dg.ExecuteInProcessResult) -> str:
    made = [event.materialization for event in result.get_asset_materialization_events()]
    reused = [one for one in made if "reused" in one.metadata and one.metadata["reused"].value is True]
    if made and len(reused) + 1 >= len(made):
        return f"{len(reused)} of {len(reused)} assets were made before and are reused"
    return f"{len(made) - len(reused)} assets made, {len(reused)} reused"


def _broken(result: dg.ExecuteInProcessResult) -> str | None:
    """The sentence of the first asset that failed; a refused check is a verdict, not a failure."""
    for event in result.all_events:
        data: Any = event.step_failure_data if event.is_step_failure else None
        if data is None or data.error.cls_name == "DagsterAssetCheckFailedError":
            continue
        if data.user_failure_data is not None:
            return str(data.user_failure_data.description)
        error = data.error
        while error.cause is not None:
            error = error.cause
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            raise KeyboardInterrupt
        return f"{event.step_key} broke: {' '.join(error.message.split())[:400]}"
    return None


def _doors(params: Params, batch: BatchFolder, result: dg.ExecuteInProcessResult) -> str:
    runs = {
        event.asset_key.to_user_string(): str(event.materialization.metadata["mlflow"].value)
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and "mlflow" in event.materialization.metadata
    }
    lines = [
        f"pictures and curves:  {_short(batch.report.with_suffix('.html'))}",
        f"certificate:          {_short(batch.certificate)}  (check it: unlearning verify {_short(batch.path)})",
        f"signed, for people:   {_short(bundle_page.beside(bundle.file(batch)))}",
        f"MLflow, evaluation:   {runs.get('evaluation_report', 'not reached')}",
        f"MLflow, unlearning:   {runs.get('unlearned_checkpoint', 'not reached')}",
        "the same in pages:    make dev  (Dagster http://127.0.0.1:3000, MLflow http://127.0.0.1:5000)",
    ]
    served = promotion.champion(batch.workspace, params.model.name)
    if served is not None and served.batch == batch.key:
        lines.append(f"served now:           {params.model.name} version {served.version}")
    return "\n".join(lines) + "\n\n"


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__)
    parser.add_argument("--params", type=Path, default=Settings().params, help="parameter file (%(default)s)")
    parser.add_argument("--batch", default="demo", help="key of the batch (%(default)s)")
    parser.add_argument("--requests", type=Path, help="requests to file first; default: the demo's, for the digits")
    parser.add_argument("--source", help="source of the data set, as `unlearning ingest` takes it; default: the digits")
    parser.add_argument(
        "--subject-from", default="none", help="whom an image belongs to, as `unlearning ingest` has it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
