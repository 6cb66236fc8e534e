"""The page of a report, opened in a real browser: its numbers, its sorting, its width, and what names cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.contrasts import contrasts_frame, declared_contrasts
from analysis.frames import load_study
from analysis.report import write_report
from analysis.sections import all_sections
from analysis.tables import comparison_columns, comparison_frame
from study.paths import StudyPaths
from study.plan.model import Confirm
from tests.fakes.chromium import dom
from tests.fakes.study_home import StudyHome, make_plan

ASK = """<script>
const texts = table => [...table.rows].map(row => [...row.cells].map(cell => cell.textContent));
const all = selector => [...document.querySelectorAll(selector)];
const tables = Object.fromEntries(all("section table").map(table => [table.closest("section").id, texts(table)]));
const budget = document.querySelector("#budget table"), contrasts = document.querySelector("#contrasts table");
const sorted = (table, column) => {
  table.querySelectorAll("th span")[column].click();
  return texts(table).slice(1).map(row => row[column]);
};
const answer = {
  numbers: JSON.parse(document.getElementById("numbers").textContent),
  tables,
  twice: [sorted(contrasts, 1), sorted(contrasts, 1)],
  names: sorted(budget, 0),
  widths: [innerWidth, document.documentElement.clientWidth, document.documentElement.scrollWidth],
  links: all("td:first-child a").map(a => [a.textContent, document.querySelector(a.getAttribute("href")).textContent]),
  title: document.title,
  scripts: document.scripts.length,
  images: [...document.images].map(image => image.naturalWidth),
  loaded: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
};
document.body.style.width = "360px";  // no window is narrower than 500 pixels
answer.narrowed = document.body.scrollWidth;
const out = document.createElement("pre");
out.id = "answer";
out.textContent = btoa(encodeURIComponent(JSON.stringify(answer)));
document.body.append(out);
</script>"""


def ask(report: Path, folder: Path, width: int = 1280) -> dict:
    """Open the page, click, and say what there is."""
    import base64
    import urllib.parse

    page = folder / f"asked-{width}.html"
    page.write_text(report.read_text(encoding="utf-8").replace("</body>", f"{ASK}</body>"), encoding="utf-8")
    found = re.search(r'<pre id="answer">([^<]*)</pre>', dom(page, folder / f"profile-{width}", width))
    assert found is not None
    return json.loads(urllib.parse.unquote(base64.b64decode(found[1]).decode()))


def value(arm: str, base: int, metric: str) -> float:
    return 60 + base + len(arm) / 3 + 0.1 * ((7 * base + len(arm)) % 5)


def number(text: str) -> float:
    return float(re.match(r"[+-]?\d+(\.\d+)?", text.replace("−", "-"))[0])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> StudyHome:
    """MMCR diverged once."""
    home = StudyHome(tmp_path_factory.mktemp("page") / "toy", make_plan(confirm=Confirm((1, 2, 3), (1,))), value)
    diverged = home.confirm_spec("mmcr", 2)
    home.build(skip=lambda spec: spec.run_id == diverged.run_id).write_failed_run(diverged)
    write_report(home.root)
    return home


@pytest.fixture(scope="module")
def answer(home: StudyHome, tmp_path_factory: pytest.TempPathFactory) -> dict:
    return ask(StudyPaths(home.root).report / "report.html", tmp_path_factory.mktemp("asked"))


def test_the_numbers_in_the_page_are_those_of_the_frames(home: StudyHome, answer: dict) -> None:
    frames = load_study(home.root)
    metrics = comparison_columns(frames.runs, frames.plan)
    contrasts = contrasts_frame([c for m in metrics for c in declared_contrasts(frames.runs, frames.plan, m)])
    for name, expected in (("comparison", comparison_frame(frames.runs, frames.plan)), ("contrasts", contrasts)):
        found = pd.DataFrame(answer["numbers"][name])
        for column in expected:
            pd.testing.assert_series_equal(
                found[column], expected[column], check_dtype=False, check_exact=False, rtol=1e-12, obj=column
            ) if expected[column].notna().any() else None


def test_the_tables_show_what_the_frames_hold(home: StudyHome, answer: dict) -> None:
    frames = load_study(home.root)
    for section in all_sections(frames):
        head, *rows = answer["tables"][section.stem]
        assert head == list(section.table.columns)
        assert rows == [list(map(str, row)) for row in section.table.itertuples(index=False, name=None)]
    numbers = comparison_frame(frames.runs, frames.plan).set_index(["arm", "metric"])
    for arm, *cells in answer["tables"]["comparison"][1:]:
        shown = dict(zip(comparison_columns(frames.runs, frames.plan), cells, strict=False))
        for metric, text in shown.items():
            row = numbers.loc[(arm, metric)]
            assert text == "n=2/3" if row["n"] < 3 else number(text) == pytest.approx(row["mean"], abs=0.00501)
    runs = {row[0]: row[6] for row in answer["tables"]["provenance"][1:]}
    for run in frames.everything.to_dict(orient="records"):
        primary = run["test/linear_probe/top1_mean"]
        assert runs[run["run_id"]] == ("–" if pd.isna(primary) else f"{primary:.2f}")


def test_a_click_sorts_by_number_with_what_is_missing_last(answer: dict) -> None:
    falling, rising = answer["twice"]
    assert falling[-1] == rising[-1] == "n=2/3" or {"n=2/3"} & set(falling)
    numbers = [number(text) for text in falling if not text.startswith("n=")]
    assert numbers == sorted(numbers, reverse=True) and len(set(numbers)) > 2
    assert [number(t) for t in rising if not t.startswith("n=")] == numbers[::-1]
    assert answer["names"] == sorted(answer["names"], reverse=True)


def test_every_arm_leads_to_its_runs_and_nothing_is_loaded(home: StudyHome, answer: dict) -> None:
    assert len(answer["links"]) > 20
    for arm, target in answer["links"]:
        assert f"{arm}-b1-c" in target
    assert answer["loaded"] == []
    assert answer["images"] and all(width > 500 for width in answer["images"])
    text = (StudyPaths(home.root).report / "report.html").read_text(encoding="utf-8")
    assert all(
        target.startswith(("#", "data:image/png;base64,")) for target in re.findall(r'(?:src|href)="([^"]*)"', text)
    )
    assert not re.search(r"@import|url\(", text)
    window, room, used = answer["widths"]
    assert window == 1280 and used <= room


HOSTILE = (
    "</title></p></script><script>document.title='owned'</script>"
    "<img src=http://127.0.0.1:9/x onerror=alert(1)> \\input{x} | & é"
)
ARM = "<b>[uni_%</b>"


def test_hostile_names_stay_text_and_a_phone_has_room(tmp_path: Path) -> None:
    plan = replace(make_plan(confirm=Confirm((1, 2), (1,))), question=HOSTILE)
    home = StudyHome(tmp_path / "toy", plan)
    failed = home.confirm_spec("mmcr", 1)
    home.build(skip=lambda spec: spec.run_id == failed.run_id)
    home.write_failed_run(failed, HOSTILE)
    arms = tuple(replace(arm, name=ARM) if arm.name == "uniformity" else arm for arm in plan.arms)
    home.plan = replace(plan, arms=arms, contrasts=((ARM, "continued"),))
    home.write_plan()
    write_report(home.root)
    folder = StudyPaths(home.root).report
    answer = ask(folder / "report.html", tmp_path, width=500)
    assert answer["title"] == "toy"
    assert answer["scripts"] == 3, "the numbers, the sorting, and this test"
    assert len(answer["images"]) == 1 and answer["loaded"] == []
    assert answer["tables"]["contrasts"][1][0] == f"{ARM} − continued"
    assert any(" ".join(HOSTILE.split()) in cell for row in answer["tables"]["failures"] for cell in row)
    window, room, used = answer["widths"]
    assert window <= 500 and used <= room, "wide tables scroll by themselves, the page does not"
    assert answer["narrowed"] <= 360
    for file in folder.glob("*.md"):
        assert not re.search(r"<(script|b|img)", file.read_text(encoding="utf-8")), file.name
    for file in folder.glob("*.tex"):
        text = file.read_text(encoding="utf-8")
        assert "\\input" not in text and "uni_" not in text, file.name
