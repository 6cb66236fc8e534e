import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.audit import environment_table, failures_table
from analysis.contrasts import declared_contrasts
from analysis.findings import findings
from analysis.frames import runs_frame, trials_frame
from analysis.render import escape_latex, to_latex, to_markdown, to_text
from analysis.tables import (
    budget_table,
    comparison_columns,
    comparison_table,
    components_table,
    contrasts_table,
    secondary_table,
    winners_table,
)
from study.journal.endings import Ending, EndKind
from study.journal.files import write_json
from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.study_home import StudyHome, make_plan


def value(arm: str, base: int, metric: str) -> float:
    """MMCR gains 0.9, 1.0, 1.1; all else is equal, and the bases are 70, 71, 72."""
    gain = {1: 0.9, 2: 1.0, 3: 1.1}.get(base, 0.0) if arm == "mmcr" else 0.0
    return 69.0 + base + gain + (10.0 if metric == "knn/top1" else 0.0)


PLAN = make_plan(confirm=Confirm((1, 2, 3), (1,)))


@pytest.fixture
def home(tmp_path: Path) -> StudyHome:
    return StudyHome(tmp_path / "toy", PLAN, value)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All runs, completed."""
    return runs_frame(StudyHome(tmp_path_factory.mktemp("finished") / "toy", PLAN, value).build().root)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> StudyHome:
    """A study in which MMCR diverged on base 2."""
    home = StudyHome(tmp_path_factory.mktemp("damaged") / "toy", PLAN, value)
    spec = home.confirm_spec("mmcr", 2)
    home.build(skip=lambda s: s.run_id == spec.run_id).write_failed_run(spec)
    return home


def row(table: pd.DataFrame, name: str) -> "pd.Series[str]":
    return table.set_index(table.columns[0]).loc[name]


def test_comparison_in_closed_form(runs: pd.DataFrame) -> None:
    table = comparison_table(runs, PLAN)
    assert table.columns.tolist() == ["arm", "1 %", "10 %", "100 %", "mean", "kNN", "n"]
    assert table["arm"].tolist() == [arm.name for arm in PLAN.arms]
    half_width = "2.48"  # t(0.975, 2) · 1 / √3
    expected = [*[f"71.00 ± {half_width}"] * 4, f"81.00 ± {half_width}", "3"]
    assert row(table, "continued").tolist() == row(table, "base").tolist() == expected


def test_contrasts_in_closed_form(runs: pd.DataFrame) -> None:
    table = contrasts_table(runs, PLAN)
    # mean 1, sd 0.1: interval 1 ± 4.3027 · 0.1 / √3, t = 17.32, p = 0.0033, six contrasts; floor 2 / 2³; 3.264 sd are
    # detectable with three units, 11.55 sd with two, so that 0.5 pp (five sd) need three
    assert row(table, "mmcr − continued").to_dict() == {
        "Δ (pp)": "+1.00", "95 % CI": "[+0.75, +1.25]", "n": "3", "wins": "3/3", "effect": "+10.00", "p": "0.003",
        "p sign-flip": "0.250", "floor": "0.250", "p Holm": "0.020", "MDD (pp)": "0.33", "n for 0.5 pp": "3",
        "verdict": "better",
    }  # fmt: skip
    assert row(table, "e2mc − continued")["verdict"] == "all values are zero"
    assert row(table, "e2mc − continued")["p"] == "1.000"


def test_a_worse_arm_is_called_worse_not_merely_small(runs: pd.DataFrame) -> None:
    table = contrasts_table(runs, replace(PLAN, contrasts=(("continued", "mmcr"),)))
    assert row(table, "continued − mmcr")["Δ (pp)"] == "−1.00"
    assert row(table, "continued − mmcr")["verdict"] == "worse"


def test_the_margin_decides_what_is_small(runs: pd.DataFrame) -> None:
    plan = replace(PLAN, contrasts=(("mmcr", "continued"),))
    runs = runs.assign(**{"test/linear_probe/top1_mean": runs["test/linear_probe/top1_mean"].where(
        runs["arm"] != "mmcr", 69.0 + runs["base_seed"] + runs["base_seed"].map({1: -0.1, 2: 0.1, 3: 0.06})
    )})  # fmt: skip
    assert contrasts_table(runs, plan)["verdict"].tolist() == ["not notable"]
    assert contrasts_table(runs, replace(plan, equivalence_margin_pp=0.1))["verdict"].tolist() == ["undetermined"]
    assert contrasts_table(runs, replace(plan, equivalence_margin_pp=None))["verdict"].tolist() == ["undetermined"]


def test_an_arm_that_lost_a_run_has_no_interval_and_says_so(damaged: StudyHome) -> None:
    runs = runs_frame(damaged.root)
    assert row(comparison_table(runs, PLAN), "mmcr").tolist() == [*["n=2/3"] * 5, "2/3, 1 diverged"]
    contrast = row(contrasts_table(runs, PLAN), "mmcr − continued")
    assert contrast[["Δ (pp)", "n", "verdict"]].tolist() == ["n=2/3", "2", "mmcr 2/3 (1 diverged)"]
    assert set(contrast.drop(["Δ (pp)", "n", "verdict"])) == {"–"}
    assert row(secondary_table(runs, PLAN), "mmcr − continued").tolist() == [*["n=2/3"] * 4, "2"]


def test_one_base_seed_gives_values_without_intervals(tmp_path: Path) -> None:
    plan = make_plan(confirm=Confirm((1,), (1,)))
    runs = runs_frame(StudyHome(tmp_path / "toy", plan, value).build().root)
    assert row(comparison_table(runs, plan), "mmcr")["mean"] == "70.90 (n=1)"
    assert row(contrasts_table(runs, plan), "mmcr − continued")["verdict"] == "n=1: no interval"


def test_columns_follow_the_label_fractions_in_numerical_order() -> None:
    plan = make_plan()
    names = [
        "knn/top1",
        "linear_probe/top1_mean",
        "linear_probe/top1_100pct",
        "linear_probe/top1_10pct",
        "linear_probe/top1_1pct",
    ]
    runs = pd.DataFrame(columns=[f"test/{name}" for name in names] + ["validation/knn/top1", "test/knn/rank"])
    assert list(comparison_columns(runs, plan).values()) == ["1 %", "10 %", "100 %", "mean", "kNN"]
    assert list(comparison_columns(pd.DataFrame(), plan).values()) == ["mean"]


def test_continuation_seeds_do_not_inflate_n(tmp_path: Path) -> None:
    plan = make_plan(confirm=Confirm((1, 2, 3), (1, 2)))
    runs = runs_frame(StudyHome(tmp_path / "toy", plan, value, continuation_spread=0.3).build().root)
    assert row(comparison_table(runs, plan), "continued")["n"] == "3"
    assert row(contrasts_table(runs, plan), "mmcr − continued")["95 % CI"] == "[+0.75, +1.25]"
    assert row(contrasts_table(runs, plan), "mmcr − continued")["wins"] == "3/3"


def test_winners_name_their_origin_and_the_edge_of_the_range(home: StudyHome) -> None:
    home.write_plan()
    for number, objective in enumerate((60.0, 61.0, 59.0)):
        home.write_trial("mmcr", number, "complete", objective)
    table = winners_table(trials_frame(home.root), PLAN)
    assert row(table, "mmcr").tolist() == ["1", "61.00", "–", "weight = 0.09, lr = 0.0009"]
    assert row(table, "e2mc")["parameters"] == "no winner yet"
    assert row(table, "base")["parameters"] == "not continued"
    low = {name: bounds.low / 0.9 for name, bounds in PLAN.arm("mmcr").space.items()}
    home.plan = replace(PLAN, arms=(replace(PLAN.arm("mmcr"), start=low),))
    home.write_trial("mmcr", 1, "complete", 61.0)
    assert row(winners_table(trials_frame(home.root), PLAN), "mmcr")["at edge of range"] == "weight, lr"


def test_budget_counts_every_outcome(damaged: StudyHome) -> None:
    table = budget_table(runs_frame(damaged.root), trials_frame(damaged.root), PLAN)
    assert row(table, "mmcr").to_dict() == {
        "trials": "2/2", "runs": "5", "diverged": "1", "failed": "0", "incomplete": "0", "attempts": "5",
        "interrupted": "–", "tune CPU s": "20", "confirm CPU s": "30",
    }  # fmt: skip
    assert row(table, "base").tolist() == ["–", "3", "0", "0", "0", "3", "–", "0", "30"]


def test_budget_says_what_interrupted_runs(tmp_path: Path) -> None:
    home = StudyHome(tmp_path / "toy", PLAN, value).build()
    run = StudyPaths(home.root).run(home.confirm_spec("e2mc", 1).run_id)
    for number, kind in enumerate((EndKind.PREEMPTED, EndKind.NODE_LOST, EndKind.PREEMPTED, EndKind.NOT_STARTED), 2):
        attempt = run.attempt(number)
        attempt.root.mkdir()
        write_json(attempt.claim, {"revoked": kind is EndKind.NOT_STARTED})
        write_json(attempt.verdict, Ending(kind, "so it goes").as_json())
    runs = runs_frame(home.root)
    assert runs.set_index("run_id").loc[run.root.name, "interruptions"] == "preempted; node lost; preempted"
    assert runs.set_index("run_id").loc[run.root.name, "num_attempts"] == 4, "what never began is no attempt"
    assert row(budget_table(runs, trials_frame(home.root), PLAN), "e2mc")["interrupted"] == "2 preempted, 1 node lost"


def test_secondary_metrics_have_intervals_and_no_p(runs: pd.DataFrame) -> None:
    table = secondary_table(runs, PLAN)
    assert table.columns.tolist() == ["contrast", "1 %", "10 %", "100 %", "kNN", "n"]
    assert row(table, "mmcr − continued").tolist() == [*["+1.00 [+0.75, +1.25]"] * 4, "3"]
    assert row(table, "e2mc − continued")["kNN"] == "+0.00 (n=3)"


def test_components_are_judged_where_they_were_declared(runs: pd.DataFrame) -> None:
    gain = {("e2mc", 1): 1.0, ("e2mc", 2): 1.1, ("e2mc", 3): 0.9}
    added = [gain.get((arm, base), 0.0) for arm, base in zip(runs["arm"], runs["base_seed"], strict=True)]
    runs = runs.assign(**{"test/linear_probe/top1_mean": runs["test/linear_probe/top1_mean"] + added})
    plan = replace(PLAN, contrasts=(("e2mc", "e2mc-no-entropy"),))
    table = components_table(runs, plan)
    assert row(table, "e2mc-no-entropy").tolist() == [
        "without entropy", "71.00 ± 2.48", "+1.00", "[+0.75, +1.25]", "0.003", "3", "better",
    ]  # fmt: skip
    assert row(table, "e2mc-no-covariance").tolist() == [
        "without covariance", "71.00 ± 2.48", "+1.00", "[+0.75, +1.25]", "–", "3", "secondary",
    ]  # fmt: skip
    assert components_table(runs, replace(PLAN, arms=PLAN.arms[:3], contrasts=())).empty


def test_failures_name_the_run_and_the_reason(damaged: StudyHome) -> None:
    runs = runs_frame(damaged.root, include_unused=True)
    diverged = damaged.confirm_spec("mmcr", 2).run_id
    assert failures_table(runs, PLAN).to_dict(orient="records") == [
        {"run": diverged, "phase": "confirm", "status": "diverged", "attempts": "1", "interrupted": "–",
         "reason": "diverged: loss is nan"},
    ]  # fmt: skip
    absent = failures_table(runs[runs["run_id"] != diverged], PLAN)
    assert absent[["run", "status"]].to_numpy().tolist() == [["mmcr-b2-c1", "not there yet"]]


def test_environments_and_accuracies_say_what_drifted(runs: pd.DataFrame) -> None:
    own = (runs["arm"] == "mmcr") & (runs["base_seed"] == 1) & (runs["phase"] == "confirm")
    runs = runs.assign(
        code=runs["code"].where(~own, "0ther"), cpu_model=runs["cpu_model"].where(~own, "another CPU"),
        code_differs=runs["code_differs"].where(~own, "criteria/mmcr.py"),
    )  # fmt: skip
    table = environment_table(runs, PLAN)
    assert row(table, "mmcr")[["code", "CPU", "differs"]].tolist() == [
        "2 × c0de; 1 × 0ther", "2 × a CPU; 1 × another CPU", "other code: criteria/mmcr.py",
    ]  # fmt: skip
    assert row(table, "e2mc")[["code", "data", "commit", "differs"]].tolist() == ["c0de", "da7a", "c0ffee", "–"]
    changed = runs.assign(dataset=runs["dataset"].where(~own, f"{'a' * 64} {'b' * 64}"))
    two = f"2 × da7a; 1 × {'a' * 12}… {'b' * 12}…"
    assert row(environment_table(changed, PLAN), "mmcr")[["data", "differs"]].tolist() == [
        two,
        "other data, other code: criteria/mmcr.py",
    ]
    assert row(comparison_table(runs, PLAN), "mmcr")["n"] == "3, other code"
    assert row(contrasts_table(runs, PLAN), "mmcr − continued")["verdict"] == "better (mmcr: other code)"


def test_two_units_are_too_few(tmp_path: Path) -> None:
    plan = make_plan(confirm=Confirm((1, 2), (1,)), contrasts=(("mmcr", "continued"),))
    runs = runs_frame(StudyHome(tmp_path / "toy", plan, value).build().root)
    assert row(comparison_table(runs, plan), "mmcr")["n"] == "2, few units"
    assert row(contrasts_table(runs, plan), "mmcr − continued")["verdict"].endswith("(only 2 units)")
    assert "None of these verdicts is to be trusted: only 2 units." in findings(declared_contrasts(runs, plan), plan)


def test_markdown() -> None:
    table = pd.DataFrame({"arm": ["a|b"], "mean": ["1.00 ± 0.10"]})
    assert to_markdown(table) == "| arm | mean |\n| :-- | --: |\n| a\\|b | 1.00 ± 0.10 |\n"
    assert to_markdown(pd.DataFrame({"arm": ["<b>\n&"]})).endswith("| &lt;b> &amp; |\n")


def test_latex_is_well_formed(damaged: StudyHome) -> None:
    runs = runs_frame(damaged.root)
    for table in (comparison_table(runs, PLAN), contrasts_table(runs, PLAN)):
        text = to_latex(table, "On 10_000 images, 95 %", "tab:x")
        assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
            ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
        ]  # fmt: skip
        rules = [text.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
        assert rules == sorted(rules)
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(table) + 1
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(table.columns) - 1}
        columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
        assert columns is not None
        assert len(columns[1]) == len(table.columns)
        assert not re.search(r"(?<!\\)[%#_]", text.replace(r"\label{tab:x}", ""))
        assert text.count("$") % 2 == 0
        assert text.replace(r"\{", "").count("{") == text.replace(r"\}", "").count("}")
        assert text.isascii()
    assert r"\caption{On 10\_000 images, 95 \%}" in text


def test_latex_escapes() -> None:
    assert escape_latex("two\nlines") == "two lines"
    assert "\n{}[x]" in to_latex(pd.DataFrame({"arm": ["[x]", "y"]})).replace("  ", ""), (
        "no argument of the line before"
    )
    assert escape_latex("a_b & 5 % {x} #1 $2 ~^\\") == (
        r"a\_b \& 5 \% \{x\} \#1 \$2 \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )


def test_text_is_aligned_and_fits_the_terminal(damaged: StudyHome) -> None:
    runs = runs_frame(damaged.root)
    for table in (comparison_table(runs, PLAN), contrasts_table(runs, PLAN)):
        for width in (60, 80, 100):
            assert max(map(len, to_text(table, width).splitlines())) <= width
    assert to_text(pd.DataFrame({"arm": ["a", "bcd"], "n": ["10", "9"]})) == "arm   n\n───────\na    10\nbcd   9\n"


def test_text_continues_below_when_it_is_too_wide() -> None:
    wide = pd.DataFrame({"arm": ["a"], **{f"metric_{i}": [f"{i}.00"] for i in range(6)}})
    text = to_text(wide, 40)
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("arm") == 2
    assert all(f"metric_{i}" in text for i in range(6))


def test_text_wraps_a_long_last_column() -> None:
    text = to_text(pd.DataFrame({"contrast": ["a − b"], "verdict": ["no verdict because of several reasons"]}), 30)
    assert text.splitlines()[2:] == ["a − b     no verdict because", "          of several reasons"]
