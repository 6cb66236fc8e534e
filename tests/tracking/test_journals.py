"""Reading on gives what reading from the start gives, wherever the readings were, and costs what is new."""

from __future__ import annotations

import builtins
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from study.journal.final import outcome
from study.journal.replay import replay_run, settled_steps
from study.paths import RunPaths
from study.tracking import describe
from study.tracking.journals import Journal, read_on, unsent_steps
from study.tracking.publisher import publish
from tests.fakes.memory_tracker import MemoryTracker
from tests.fakes.published_study import FakeStudy


def some_journals(source: random.Random) -> list[list[dict[str, Any]]]:
    """Events of up to three attempts: each resumes from a checkpoint of an earlier one, whose event may be missing."""
    attempts: list[list[dict[str, Any]]] = []
    saved = [(0, None)]  # step, attempt
    left_out = {step for step in range(1, 12) if source.random() < 0.2}  # of the journals of all attempts
    for number in range(1, source.randint(1, 3) + 1):
        step, origin = source.choice(saved)
        events: list[dict[str, Any]] = [
            {"event": "started", "resumed_step": step, "resumed_attempt": origin, "cpu_s": 0.1}
        ]
        end = source.randint(step, 12)
        for now in range(step + 1, end + 1):
            if now not in left_out:
                events.append({"event": "step", "step": now, "metrics": {"train/loss": now + number / 10}})
            if source.random() < 0.4:
                saved.append((now, number))
                if source.random() < 0.8:
                    events.append({"event": "checkpoint", "step": now, "cpu_s": now / 10})
        ends = [
            [],
            [{"event": "stopped", "cpu_s": 9.0}],
            [{"event": "failed", "kind": "error", "message": "x", "traceback": "y"}],
        ]
        if end == 12:
            ends = [[{"event": "trained", "step": 12, "cpu_s": 5.0}, {"event": "finished", "cpu_s": 6.0}]]
        attempts.append(
            [{"t": 1000.0 * number + i, **event} for i, event in enumerate([*events, *source.choice(ends)])]
        )
    return attempts


@pytest.mark.parametrize("seed", range(60))
def test_read_on_equals_read_from_the_start(seed: int, tmp_path: Path) -> None:
    """Pieces are appended at random places, also in the middle of lines, in the order of the attempts."""
    source = random.Random(seed)
    run, journals, sent, after = RunPaths(tmp_path), dict[int, Journal](), [], 0
    for number, events in enumerate(some_journals(source), start=1):
        attempt = run.attempt(number)
        attempt.root.mkdir(parents=True)
        attempt.claim.write_text("{}")
        data = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        cuts = sorted({0, len(data), *(source.randint(0, len(data)) for _ in range(3))})
        for begin, end in itertools.pairwise(cuts):
            with attempt.events.open("ab") as file:
                file.write(data[begin:end])
            journals = {n: Journal.from_json(json.loads(json.dumps(j.as_json()))) for n, j in journals.items()}
            state, expected = read_on(run, journals), replay_run(run)
            assert outcome(state) | {"start_t": 0} == outcome(expected) | {"start_t": 0}
            assert describe.run_start_s(state) == describe.run_start_s(expected)
            assert describe.run_status(state) is describe.run_status(expected)
            new, settled = (
                list(unsent_steps(run, state, journals, after)),
                settled_steps(expected.attempts, include_provisional=False),
            )
            assert not [step for step in new if step not in settled], "provisional, or done again"
            sent += [step for step, _, _ in new]
            assert sent == sorted(set(sent)), "a step twice, or out of order"
            assert {step for step, _, _ in settled} <= set(sent)
            after = max([after, *sent])
    fresh = dict[int, Journal]()
    state = read_on(run, fresh)
    assert list(unsent_steps(run, state, fresh, 0)) == settled_steps(
        replay_run(run).attempts, include_provisional=False
    )


def test_a_journal_that_was_replaced_is_read_from_its_start(tmp_path: Path) -> None:
    run, journals = RunPaths(tmp_path), dict[int, Journal]()
    events = run.attempt(1).events
    events.parent.mkdir(parents=True)
    for t in (1.0, 2.0):
        lines = [{"t": t, "event": "started", "resumed_step": 0}, {"t": t, "event": "checkpoint", "step": int(t)}]
        events.write_text("".join(json.dumps(line) + "\n" for line in lines) + " " * 0)
        assert read_on(run, journals).attempts[0].checkpoint_step == int(t)


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_what_is_read_of_a_long_journal_is_what_is_new(
    has_checkpoint: bool, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, tracker = FakeStudy(home), MemoryTracker()
    attempt = study.add_run().attempt("knn-test-1a2b3c4d").steps(1, 5000).checkpoint(5000)
    publish(home, "small", tracker)
    size = attempt.paths.events.stat().st_size
    attempt.steps(5001, 5010)
    if has_checkpoint:
        attempt.checkpoint(5010)

    parsed: list[int] = []
    loads = json.loads

    def counted(text: Any, *arguments: Any, **keywords: Any) -> Any:
        parsed.append(len(text))
        return loads(text, *arguments, **keywords)

    positions: list[int] = []
    opened = Path.open

    def watched(path: Path, *arguments: Any, **keywords: Any) -> Any:
        file = opened(path, *arguments, **keywords)
        if path.name == "events.jsonl":
            seek = file.seek

            class Watched:
                def __getattr__(self, name: str) -> Any:
                    return getattr(file, name)

                def __enter__(self) -> Any:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                def seek(self, position: int, whence: int = 0) -> int:
                    if whence == 0:
                        positions.append(position)
                    return seek(position, whence)

            return Watched()
        return file

    monkeypatch.setattr(json, "loads", counted)
    monkeypatch.setattr(Path, "open", watched)
    summary = publish(home, "small", tracker)
    monkeypatch.undo()
    assert summary.num_metrics == (20 if has_checkpoint else 0)
    assert positions
    assert min(positions) >= size - 200, "the line of the checkpoint at most"
    assert sum(parsed) < 30_000 < size
    assert builtins.len(parsed) < 60
