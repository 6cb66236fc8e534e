"""Of a run that is over a summary is believed, as long as nothing that it was made from has changed, and not longer."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.errors import JournalError
from study.journal.endings import Ending, EndKind
from study.journal.files import create_once, write_json
from study.journal.final import outcome
from study.journal.replay import RunState, replay_run
from study.journal.states import brief
from study.journal.summary import brief_state, final_state, is_summed_up
from study.orchestration.snapshot import Observer
from study.paths import RunPaths
from tests.fakes.published_study import FakeRun, FakeStudy, home_in

LONG_AGO_S = 1_600_000_000
CLOCK = itertools.count(LONG_AGO_S)
KEY = "knn-test-1a2b3c4d"


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeStudy(home_in(tmp_path)).add_run()


def age(run: RunPaths) -> None:
    """What has just been changed is as if it had been long ago, though after all that was changed before."""
    since_s, t = time.time() - 60, next(CLOCK)
    for path in (run.root, *run.root.rglob("*")):
        if path.name != "summary" and path.stat().st_mtime > since_s:
            os.utime(path, (t, t))


def plainly(run: RunPaths) -> RunState:
    """What a complete replay says, without what summaries leave out."""
    state = replay_run(run)
    evaluations = {k: {n: v for n, v in e.items() if n != "details"} for k, e in state.evaluations.items()}
    return replace(state, attempts=tuple(replace(a, steps=()) for a in state.attempts), evaluations=evaluations)


def check(run: RunPaths) -> None:
    """All answers are those of a replay."""
    expected, (spec, found) = plainly(run), final_state(run)
    found_evaluations = {k: {n: v for n, v in e.items() if n != "details"} for k, e in found.evaluations.items()}
    assert repr(replace(found, evaluations=found_evaluations)) == repr(expected)  # NaN is not equal to itself
    assert spec == json.loads(run.spec.read_text())
    assert json.dumps(outcome(found)) == json.dumps(outcome(expected))
    if is_summed_up(run):
        assert repr(brief_state(run)) == repr(brief(expected))
    views = [Observer(lambda _: False).view(run, keys) for keys in ([], [KEY])]
    (run.root / "summary").unlink(missing_ok=True)
    assert repr(views) == repr([Observer(lambda _: False).view(run, keys) for keys in ([], [KEY])])


def finished(run: FakeRun) -> FakeRun:
    """A run with all that there can be: an attempt that was lost, one that finished, evaluations with details."""
    attempt = run.attempt().steps(1, 4).event("checkpoint", step=4, cpu_s=2.25).event("interim", epoch=1, objective=0.5)
    write_json(attempt.paths.verdict, Ending(EndKind.NODE_LOST, "node 7").as_json())
    run.attempt(KEY, resumed_step=4).steps(5, 8).trained(8).event("finished", cpu_s=1.5)
    write_json(run.paths.trained, {"attempt": 2, "step": 8, "code": "c0de", "cpu_s": 4.0})
    run.evaluate(KEY, {"top1": 50.0})
    content = {"evaluation": {"name": "s", "params": {}}, "metrics": {}, "details": [1, 2], "cpu_s": 3.0}
    create_once(run.paths.evaluations / "s-test-1.json", content)
    age(run.paths)
    return run


def test_what_is_over_is_summed_up_once_and_not_parsed_again(run: FakeRun) -> None:
    paths = finished(run).paths
    expected = plainly(paths)
    assert not is_summed_up(paths)
    assert final_state(paths).state.last is not None and is_summed_up(paths)
    for attempt in paths.existing_attempts():  # nonsense that looks as before: only who parses it can tell
        look = attempt.events.stat()
        attempt.events.write_bytes(b"x" * look.st_size)
        os.utime(attempt.events, ns=(look.st_atime_ns, look.st_mtime_ns))
    written = paths.summary.stat().st_mtime_ns
    assert repr(final_state(paths).state) == repr(expected)
    assert repr(brief_state(paths)) == repr(brief(expected))
    assert Observer(lambda _: False).view(paths, [KEY]).num_attempts == 2
    assert paths.summary.stat().st_mtime_ns == written, "nor is it written again"


CHANGES: dict[str, Callable[[RunPaths], object]] = {
    "a later attempt": lambda run: (run.attempts / "003").mkdir(),
    "an attempt removed": lambda run: shutil.rmtree(run.attempt(1).root),
    "an evaluation added": lambda run: write_json(run.evaluations / "b.json", {"metrics": {"x": 1.0}, "cpu_s": 1.0}),
    "an evaluation removed": lambda run: (run.evaluations / f"{KEY}.json").unlink(),
    "all evaluations removed": lambda run: shutil.rmtree(run.evaluations),
    "training removed": lambda run: run.trained.unlink(),
    "reused": lambda run: write_json(run.reused, {"study": "other", "run_id": "r"}),
    "a verdict": lambda run: write_json(run.attempt(2).verdict, Ending(EndKind.LOST, "who knows").as_json()),
    "a verdict removed": lambda run: run.attempt(1).verdict.unlink(),
    "a claim removed": lambda run: run.attempt(2).claim.unlink(),
    "more events": lambda run: run.attempt(2).events.open("a").write('{"t": 9.5, "event": "stopped", "reason": "x"}\n'),
    "journal removed": lambda run: run.attempt(2).events.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(run: FakeRun, change: str) -> None:
    paths = finished(run).paths
    before = final_state(paths)
    assert is_summed_up(paths)
    CHANGES[change](paths)
    assert not is_summed_up(paths)
    assert repr(final_state(paths)) != repr(before)
    check(paths)


def test_an_edit_of_any_file_shows_though_its_size_stays(run: FakeRun) -> None:
    paths = finished(run).paths
    kept = {path: path.read_bytes() for path in paths.root.rglob("*") if path.is_file()}
    edited = {
        paths.spec: (b'"phase": "confirm"', b'"phase": "Confirm"'),
        paths.trained: (b'"step": 8', b'"step": 9'),
        paths.evaluations / f"{KEY}.json": (b"50.0", b"51.0"),
        paths.evaluations / "s-test-1.json": (b"3.0", b"4.0"),
        **{attempt.events: (b"started", b"Started") for attempt in paths.existing_attempts()},
        **{attempt.job: (b"abc123", b"abc124") for attempt in paths.existing_attempts()},
        **{attempt.claim: (b'"pid": 1', b'"pid": 2') for attempt in paths.existing_attempts()},
        paths.attempt(1).verdict: (b"node 7", b"node 8"),
    }
    not_read = {paths.attempt(2).trained}  # the run's is another link to it
    assert edited.keys() | not_read == kept.keys()
    for file, (old, new) in edited.items():
        before = repr(final_state(paths))
        assert is_summed_up(paths) and old in kept[file]
        file.write_bytes(kept[file].replace(old, new))
        assert not is_summed_up(paths), file
        assert repr(final_state(paths)) != before, file
        check(paths)
        file.write_bytes(kept[file])
        age(paths)


def test_a_damaged_or_foreign_summary_is_made_anew(run: FakeRun) -> None:
    paths = finished(run).paths
    expected = repr(final_state(paths))
    good = paths.summary.read_bytes()
    body = good.partition(b"\n")[2]
    foreign = body.replace(b'{"format":1', b'{"format":999', 1).replace(b"node 7", b"node 8")
    wrong = [b"", b"\n", b"\xff\xfe", b"nonsense\n{}\n{}\n", b"%08x\n[]\n[]\n" % zlib.crc32(b"[]\n[]\n")]
    wrong += [good[:length] for length in range(1, len(good), 97)]
    wrong += [good[:i] + bytes([good[i] ^ 1]) + good[i + 1 :] for i in range(0, len(good), 31)]
    for content in (*wrong, b"%08x\n" % zlib.crc32(foreign) + foreign):
        paths.summary.write_bytes(content)
        assert not is_summed_up(paths)
        assert repr(final_state(paths)) == expected
        assert paths.summary.read_bytes() == good
    paths.summary.unlink()
    assert repr(brief_state(paths)) == repr(brief(plainly(paths))) and paths.summary.read_bytes() == good


def test_what_was_changed_a_moment_ago_is_not_believed_to_stay(run: FakeRun) -> None:
    paths = finished(run).paths
    for t in (time.time() - 1, time.time() + 3600):  # another machine's clock may be ahead
        os.utime(paths.trained, (t, t))
        assert final_state(paths).state.trained is not None
        assert not paths.summary.exists()
    os.utime(paths.trained, (LONG_AGO_S, LONG_AGO_S))
    final_state(paths)
    assert is_summed_up(paths)


def test_the_file_systems_clock_decides(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is an hour ahead, so that what has just been written looks old."""
    paths = finished(run).paths
    now = time.time()
    os.utime(paths.trained, (now, now))
    monkeypatch.setattr(time, "time_ns", lambda: int((now + 3600) * 1e9))
    final_state(paths)
    assert not paths.summary.exists() and not list(paths.root.glob(".summary*"))


def test_where_nothing_can_be_written_it_works_without(run: FakeRun) -> None:
    paths = finished(run).paths
    paths.summary.mkdir()
    for _ in range(2):
        assert repr(final_state(paths).state) == repr(
            replace(plainly(paths), evaluations=replay_run(paths).evaluations)
        )
        assert not is_summed_up(paths)
    assert not list(paths.root.glob(".summary*"))


def test_what_is_not_over_is_not_summed_up(run: FakeRun) -> None:
    paths = run.paths

    def is_now_summed_up() -> bool:
        age(paths)
        check(paths)
        brief_state(paths)
        return is_summed_up(paths)

    assert not is_now_summed_up(), "no attempt"
    attempt = run.attempt().steps(1, 3)
    assert not is_now_summed_up(), "it runs"
    attempt.event("stopped", reason="SIGTERM")
    assert not is_now_summed_up(), "who has sent that signal is not known yet"
    write_json(attempt.paths.verdict, Ending(EndKind.PREEMPTED, "by SLURM").as_json())
    assert is_now_summed_up()
    second = paths.attempt(2)
    second.root.mkdir()
    write_json(second.job, {})
    assert not is_now_summed_up(), "it may start"
    create_once(second.claim, {"revoked": True})
    assert not is_now_summed_up(), "its job may still stand in a queue"
    run.attempt().event("failed", kind="data", message="no such file", traceback="…")
    assert is_now_summed_up()


def test_damage_is_named_and_not_summed_up(run: FakeRun) -> None:
    paths = finished(run).paths
    paths.attempt(1).events.write_bytes(b"nonsense\n")
    age(paths)
    for read in (final_state, brief_state):
        with pytest.raises(JournalError, match=r"events\.jsonl:1 is damaged"):
            read(paths)
    assert not paths.summary.exists()


ENDINGS = ("finished", "diverged", "data", "SIGTERM", "stop file", "lost", "revoked", "running", "intended", "torn")


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_those_of_a_replay_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Attempts, evaluations and edits in any order, and between them questions whose answers may be kept."""
    run = FakeStudy(home_in(tmp_path_factory.mktemp("any"))).add_run()
    for _ in range(data.draw(st.integers(1, 6))):
        match data.draw(st.sampled_from(["attempt", "attempt", "evaluate", "trained", "verdict", "reused", "remove"])):
            case "attempt":
                _any_attempt(run, data.draw(st.sampled_from(ENDINGS)), data.draw(st.integers(0, 3)))
            case "evaluate":
                run.paths.evaluations.mkdir(exist_ok=True)
                value = data.draw(st.sampled_from([1.0, float("nan")]))
                content = {"metrics": {"top1": value}, "cpu_s": 1.0, "labels_sha256": "ab", "details": {"x": 1}}
                write_json(run.paths.evaluations / data.draw(st.sampled_from([f"{KEY}.json", "b.json"])), content)
            case "trained":
                write_json(run.paths.trained, {"step": data.draw(st.integers(1, 9)), "cpu_s": 2.0, "code": "c0de"})
            case "verdict":
                for attempt in run.paths.existing_attempts()[-1:]:
                    kind = data.draw(st.sampled_from(list(EndKind)))
                    write_json(attempt.verdict, Ending(kind, "so it was", "node1").as_json())
            case "reused":
                write_json(run.paths.reused, {"study": "other", "run_id": "r"})
            case "remove":
                files = sorted(
                    f for f in run.paths.root.rglob("*") if f.is_file() and f not in (run.paths.spec, run.paths.summary)
                )
                if files:
                    data.draw(st.sampled_from(files)).unlink()
        age(run.paths)
        if data.draw(st.booleans()):
            final_state(run.paths)
            check(run.paths)
            brief_state(run.paths)
    check(run.paths)


def _any_attempt(run: FakeRun, ending: str, num_steps: int) -> None:
    if ending in ("intended", "revoked"):
        paths = run.paths.attempt(len(run.paths.existing_attempts()) + 1)
        paths.root.mkdir(parents=True)
        write_json(paths.job, {"study": "small"})
        if ending == "revoked":
            create_once(paths.claim, {"revoked": True})
        return
    attempt = run.attempt(KEY).steps(1, num_steps).event("checkpoint", step=num_steps, cpu_s=1.0)
    attempt.steps(num_steps + 1, num_steps + 1)
    if ending in ("diverged", "data"):
        attempt.event("failed", kind=ending, message="so it goes", traceback=None, cpu_s=2.0)
    elif ending in ("SIGTERM", "stop file"):
        attempt.event("stopped", reason=ending, cpu_s=2.0)
    elif ending == "finished":
        attempt.event("finished", cpu_s=2.0)
    elif ending == "torn":
        with attempt.paths.events.open("ab") as file:
            file.write(b'{"t": 1.0, "event": "failed"')
