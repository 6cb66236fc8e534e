"""What a component does wrong while it runs is said with its file and line."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.checkout import answer_of, copy_of_checkout

CRITERION = """\
from dataclasses import dataclass
from study.criteria.base import Criterion, CriterionResult, Views

@dataclass(frozen=True)
class Mine(Criterion):
    weight: float = 1.0

    def compute(self, views: Views) -> CriterionResult:
        z = views.projections
        return CriterionResult((z[0] @ z[1]).mean(), {})
"""
EVALUATION = """\
from dataclasses import dataclass
from study.evaluations.base import Evaluation

@dataclass(frozen=True)
class {name}(Evaluation):
    def __call__(self, task):
        return {{"top1": {value}, {more}}}

    def metric_names(self):
        return ("top1",)
"""
PROGRAM = """
import io, json, sys
from contextlib import redirect_stderr
from pathlib import Path
from study.cli import run_sweep
from study.journal.events import read_events
from study.paths import HomePaths
from study.plan.expand import base_spec, required_evaluations
from study.plan.model import Phase
from study.worker.entry import run_attempt
from tests.fakes.tiny_study import SWEEP, Nowhere, continuation, submit, tiny_plan

for name, source in json.load(sys.stdin).items():
    (Path("study") / name).write_text(source)
home = HomePaths(Path("home").absolute())
plan = tiny_plan(
    "arms.uniformity={criterion: mine}", "evaluations={more: {}, text: {}, knn: {}}", "primary=knn/top1", "tune=none",
)
failures = []
for spec, evaluations in (
    (base_spec(plan, 1), ()),
    (continuation(plan, "uniformity"), ()),
    *((continuation(plan, "continued"), (one,)) for one in required_evaluations(plan, Phase.CONFIRM)),
):
    attempt = submit(home, spec, Nowhere(), evaluations=evaluations)
    run_attempt(str(attempt.root))
    last = list(read_events(attempt.events))[-1]
    failures.append([last["event"], last.get("kind"), last.get("message")])
said = io.StringIO()
Path("tiny.yaml").write_text(SWEEP.replace("continued:  {criterion: none}", "continued: {criterion: mine}").replace(
    "uniformity: {criterion: uniformity, start: {weight: 0.5}}", "uniformity: {criterion: none}"))
with redirect_stderr(said):
    code = run_sweep(["tiny.yaml", "tune=none", "--dry-run", "--home", "home"])
print(json.dumps([*failures, [code, said.getvalue()]]))
"""


def test_a_failure_names_file_and_line_of_the_component(tmp_path: Path) -> None:
    files = {
        "criteria/mine.py": CRITERION,
        "evaluations/more.py": EVALUATION.format(name="More", value="1.0", more="'top5': 2.0"),
        "evaluations/text.py": EVALUATION.format(name="Text", value="'1.0'", more=""),
    }
    base, criterion, more, text, knn, (code, said) = answer_of(PROGRAM, copy_of_checkout(tmp_path), files)
    assert (base[0], knn[0]) == ("finished", "finished")
    assert criterion[:2] == ["failed", "error"]
    assert criterion[2].startswith("study/criteria/mine.py, line 10, in compute: RuntimeError: mat1 and mat2 shapes")
    expected = "study/evaluations/more.py returned the metrics ['top1', 'top5'], but its metric_names() are ['top1']"
    assert more == ["failed", "error", expected]
    assert text[2] == (
        "study/evaluations/text.py returned metrics that are no Python numbers: {'top1': '1.0'}; write float(…)"
    )
    assert code == 2, "while a few steps are timed, before anything is started"
    (line,) = said.splitlines()
    assert line.startswith("error: study/criteria/mine.py, line 10, in compute: RuntimeError: mat1 and mat2 shapes")
    assert line.endswith("(STUDY_TRACEBACK=1 shows how it got there)")
