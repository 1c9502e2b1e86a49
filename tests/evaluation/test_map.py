"""The embedding map: how many images of which set, seeded, kept by content, and never a name beside a point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.evaluation.small_run import Trained
from unlearning.log import silent
from unlearning.params import Params
from unlearning.verbs import _map, _timed, evaluate
from unlearning.verbs._timed import Clock


def test_what_a_small_set_cannot_give_the_larger_ones_do() -> None:
    rows = _map._shares({"forget": 1000, "forget_holdout": 60, "retain": 5000, "holdout": 200})
    assert {name: len(some) for name, some in rows.items()} == {
        "forget": 180, "forget_holdout": 60, "retain": 180, "holdout": 180,
    }  # fmt: skip
    assert rows["retain"][:3].tolist() == [0, 27, 55]  # evenly over the set
    assert {name: len(some) for name, some in _map._shares({"forget": 3, "retain": 0}).items()} == {"forget": 3}


def test_two_kinds_of_images_lie_apart_and_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4)) + 40 * (np.arange(60) >= 30)[:, None]
    first, again = _map._laid_out(features), _map._laid_out(features)
    assert (first == again).all()
    left, right = first[:30].mean(axis=0), first[30:].mean(axis=0)
    spread = max(np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in (first[:30], first[30:]))
    assert np.linalg.norm(left - right) > 2 * spread
    assert (_map._laid_out(np.ones((60, 4))) == 0).all()


@pytest.fixture(scope="module")
def mapped(short_run: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    trained = short_run.copied(tmp_path_factory.mktemp("map") / "root")
    evaluate.run(_params(trained), trained.batch, silent)
    return trained


def _params(trained: Trained) -> Params:
    light = {"evaluate.metrics": [{"kind": "mse"}], "evaluate.siblings": [], "evaluate.seeds": [0]}
    return trained.params_with(**light, **{"report.map": True})


def test_the_report_has_a_map_and_its_times_and_made_again_is_the_same(
    mapped: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = mapped.batch.report.with_name("report.html")
    html = page.read_text()
    assert html.count('class="cloud"') == 3 * 4
    assert "measure forget holdout" in html
    assert "unlearned checkpoint" in html[html.index("How long it took") :]
    assert (mapped.batch.report.parent / "figures" / "map.png").is_file()
    names = pq.read_table(mapped.batch.forget)["key"].to_pylist()
    assert not [name for name in names if name in html]

    def never(*_: object) -> None:
        raise AssertionError("a map that was kept is made again")

    monkeypatch.setattr(_map, "_laid_out", never)
    mapped.batch.lineage("evaluation_report").unlink()
    evaluate.run(_params(mapped), mapped.batch, silent)
    assert page.read_text() == html


def test_a_profile_asks_for_a_map_and_the_parameters_have_the_last_word(short_run: Trained) -> None:
    def asked(**changes: object) -> bool:
        return _map.asked(short_run.params_with(**changes))

    assert not asked()
    assert asked(**{"evaluate.profile": "standard"})
    assert not asked(**{"evaluate.profile": "audit", "report.map": False})
    assert not asked(**{"evaluate.profile": "quick"})
    plain = short_run.params.section_digest("report")
    assert plain != short_run.params_with(**{"report.map": True}).section_digest("report")
    assert "map" not in short_run.params.model_dump()["report"]


def test_a_clock_keeps_the_first_time_and_a_damaged_one_starts_anew(short_run: Trained, tmp_path: Path) -> None:
    batch = short_run.copied(tmp_path / "root").batch
    clock = Clock.of_evaluation(batch, "key")
    assert clock.of("measure forget", lambda: 7) == 7
    took = clock.seconds["measure forget"]
    again = Clock.of_evaluation(batch, "key")
    again.of("measure forget", lambda: sum(range(100_000)))
    assert again.seconds == {"measure forget": took}
    clock.path.write_text("[1")
    assert Clock.of_evaluation(batch, "key").seconds == {}
    stages = _timed.stages(batch)
    assert [name for name, _, _ in stages] == ["original_checkpoint", "reference_checkpoint", "unlearned_checkpoint"]
    assert all(seconds > 0 for _, seconds, _ in stages)
