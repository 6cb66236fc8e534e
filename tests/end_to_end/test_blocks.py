"""One command runs the studies of all blocks, and answers at once when it has run them all."""

from __future__ import annotations

from collections.abc import Callable

from study.journal.files import read_json
from tests.fakes.command import Sweep

_BLOCKS = "blocks={base.method.projection_dim: [16, 32]}"
_UNTUNED = ("tune=none", "arms.uniformity={criterion: uniformity, strength: 0.2}", "confirm.base_seeds=[1]")


def test_blocks_are_studies_of_one_command(sweep: Callable[..., Sweep]) -> None:
    study = sweep(_BLOCKS, *_UNTUNED)
    first = study.start()
    assert first.wait() == 0, first.output
    dims = {}
    for name in ("tiny-16", "tiny-32"):
        paths = study.home.study(name)
        assert paths.finished.exists() and (paths.report / "comparison.csv").exists()
        dims[name] = read_json(paths.plan)["method"]["params"]["projection_dim"]
        assert len(list(paths.existing_runs())) == 3
    assert dims == {"tiny-16": 16, "tiny-32": 32}
    assert len(list(study.home.bases.iterdir())) == 2
    assert first.output.count("Exploratory: nothing was tuned") == 2

    before = {path: path.stat().st_mtime_ns for path in study.home_root.rglob("*.json")}
    second = study.start()
    assert second.wait() == 0
    assert second.output.count("Exploratory: nothing was tuned") == 2
    assert {path: path.stat().st_mtime_ns for path in study.home_root.rglob("*.json")} == before

    finished = study.home.study("tiny-16").finished
    finished.unlink()
    third = study.start()
    assert third.wait() == 0 and finished.exists()
    assert third.output.count("Exploratory: nothing was tuned") == 2
