"""A journal survives the death of its writer at any byte."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest

from study.errors import JournalError
from study.journal.events import EventWriter, read_events


def written(path: Path) -> bytes:
    with EventWriter(path) as events:
        events.append("started", durable=True, attempt=1)
        events.append("step", step=1, metrics={"train/loss": 0.5})
        events.append("step", step=2, metrics={"train/loss": math.nan})
        events.append("finished", durable=True)
    return path.read_bytes()


def test_events_come_back_in_order_with_time_and_cpu(tmp_path: Path) -> None:
    begin = time.time()
    written(tmp_path / "events.jsonl")
    events = list(read_events(tmp_path / "events.jsonl"))
    assert [event["event"] for event in events] == ["started", "step", "step", "finished"]
    assert begin <= events[0]["t"] <= events[-1]["t"] <= time.time()
    assert ["cpu_s" in event for event in events] == [True, False, False, True]
    assert math.isnan(events[2]["metrics"]["train/loss"])


def test_no_file_means_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "events.jsonl")) == []


def test_a_journal_cut_at_any_byte_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    content = written(path)
    whole = [json.loads(line) for line in content.splitlines()]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        expected = whole[: content[:length].count(b"\n")]
        assert str(list(read_events(path))) == str(expected)  # NaN is not equal to itself


@pytest.mark.parametrize("line", [0, 1, 2])
def test_damage_in_the_middle_names_file_and_line(tmp_path: Path, line: int) -> None:
    path = tmp_path / "events.jsonl"
    lines = written(path).splitlines(keepends=True)
    lines[line] = lines[line][:20] + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=rf"events\.jsonl:{line + 1} is damaged .*move the run's folder away"):
        list(read_events(path))


def test_a_line_is_in_the_file_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "events.jsonl") as events:
        for step in range(1, 4):
            events.append("step", step=step, metrics={})
            assert [event["step"] for event in read_events(tmp_path / "events.jsonl")] == list(range(1, step + 1))
