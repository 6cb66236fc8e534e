"""A home keeps the text of what made its results, and what other code made is named with what it concerns."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.errors import HomeError, UserError
from study.journal.files import read_json, write_json
from study.orchestration.aside import ACCEPTED, occasions
from study.orchestration.code import code_for
from study.orchestration.provenance import check_code
from study.paths import HomePaths
from study.plan.expand import base_spec, required_evaluations, run_spec
from study.plan.model import Phase
from study.plan.spec import EvaluationRequest, RunSpec
from study.provenance import commit
from study.provenance.audit import Wanted
from study.provenance.identity import CodeIdentity, evaluation_code, training_code
from study.provenance.imports import ROOT, source
from study.provenance.results import code_of_study
from study.provenance.store import changes, keep, kept, restore
from tests.fakes.tiny_study import tiny_plan

PLAN = tiny_plan()
BASE = base_spec(PLAN, 1)
REQUESTS = required_evaluations(PLAN, Phase.CONFIRM)


def spec_of(arm: str, seed: int = 1) -> RunSpec:
    return run_spec(PLAN, PLAN.arm(arm), PLAN.arm(arm).start, seed, 1, Phase.CONFIRM)


@pytest.fixture
def home(tmp_path: Path) -> HomePaths:
    home = HomePaths(tmp_path / "home")
    home.study("tiny").root.mkdir(parents=True)
    write_json(home.study("tiny").plan, PLAN.as_json())
    return home


class TestTexts:
    def test_every_file_is_kept_under_the_hash_of_its_text(self, home: HomePaths) -> None:
        identity = training_code(BASE.training)
        keep(home, identity)
        found = kept(home, identity.hash)
        assert found is not None and found.as_json() == identity.as_json()
        for path, sha256 in identity.files.items():
            text = home.code_text(sha256).read_bytes()
            assert hashlib.sha256(text).hexdigest() == sha256 and text == (ROOT / "study" / path).read_bytes()

    def test_texts_are_shared(self, home: HomePaths) -> None:
        for arm in ("continued", "uniformity"):
            keep(home, training_code(spec_of(arm).training))
        both = {
            **training_code(spec_of("continued").training).files,
            **training_code(spec_of("uniformity").training).files,
        }
        assert len(list(home.code_texts.iterdir())) == len(set(both.values()))

    def test_what_is_restored_runs(self, home: HomePaths, tmp_path: Path) -> None:
        identity = training_code(spec_of("uniformity").training)
        keep(home, identity)
        assert restore(home, identity, tmp_path / "old") == []
        assert {f.relative_to(tmp_path / "old/study").as_posix() for f in (tmp_path / "old").rglob("*.py")} == set(
            identity.files
        )
        home.code_text(identity.files["training/loop.py"]).unlink()
        assert restore(home, identity, tmp_path / "again") == ["training/loop.py"]


class TestChanges:
    NOW = CodeIdentity({"worker/train.py": "a", "criteria/mine.py": "b"}, {"torch": "2"}, "now")

    def test_equal_ones_have_none(self) -> None:
        assert changes(self.NOW, self.NOW) == []

    def test_files_and_versions_are_named(self) -> None:
        old = CodeIdentity({"worker/train.py": "a", "criteria/mine.py": "x", "helper.py": "c"}, {"torch": "1"}, "old")
        assert changes(old, self.NOW) == ["criteria/mine.py", "helper.py (gone)", "torch 1 → 2"]

    def test_earlier_code_hashed_all_components_and_no_worker(self) -> None:
        old = CodeIdentity({"criteria/mine.py": "b", "criteria/another.py": "z"}, {"torch": "2"}, "old")
        assert changes(old, self.NOW) == [], "what it did not look at says nothing"
        old = replace(old, files={**old.files, "criteria/mine.py": "x"})
        assert changes(old, self.NOW) == ["criteria/mine.py"]


def trained(
    home: HomePaths, spec: RunSpec, code: str | None = None, evaluations: Mapping[str, str | None] | None = None
) -> Wanted:
    """A run as files say it: trained by a hash of code, its evaluations by others."""
    paths = home.run_of("tiny", spec.run_id, Phase(spec.labels["phase"]))
    paths.evaluations.mkdir(parents=True)
    write_json(paths.spec, spec.as_json())
    write_json(paths.trained, {"attempt": 1, "code": code or training_code(spec.training).hash})
    requests: tuple[EvaluationRequest, ...] = () if spec.labels["phase"] == "prepare" else REQUESTS
    for request in requests:
        name = request.evaluation.name
        own = (evaluations or {}).get(name, evaluation_code(request.evaluation, spec.training).hash)
        record = {"evaluation": {"name": name}, "metrics": {}, **({} if own is None else {"code": own})}
        write_json(paths.evaluations / f"{request.key}.json", record)
    return Wanted(paths, spec, requests)


def other(home: HomePaths, identity: CodeIdentity, **files: str) -> str:
    """Keep an identity that differs in some files, by `family__name`; return its hash."""
    edited = {name.replace("__", "/") + ".py": text for name, text in files.items()}
    data = {**identity.as_json(), "files": {**identity.files, **edited}}
    data["hash"] = hashlib.sha256(repr(data).encode()).hexdigest()
    write_json(home.code_identity(data["hash"]), data)
    return str(data["hash"])


class TestCheck:
    def check(self, home: HomePaths, *runs: Wanted, accept_change: bool = False) -> str | None:
        return check_code(home, "tiny", runs, accept_change=accept_change)

    @pytest.fixture(autouse=True)
    def code_folder(self, home: HomePaths) -> None:
        home.code.mkdir()

    def test_equal_code_and_runs_that_are_not_there_are_fine(self, home: HomePaths) -> None:
        nothing = Wanted(home.base("0" * 12), base_spec(PLAN, 2))
        assert self.check(home, trained(home, BASE), trained(home, spec_of("uniformity")), nothing) is None

    def test_an_edited_criterion_concerns_its_arm_and_no_base(self, home: HomePaths) -> None:
        spec = spec_of("uniformity")
        code = other(home, training_code(spec.training), criteria__uniformity="older")
        runs = [trained(home, BASE), trained(home, spec_of("continued")), trained(home, spec, code)]
        with pytest.raises(HomeError) as caught:
            self.check(home, *runs)
        message = str(caught.value)
        assert "  - criteria/uniformity.py: 1 run of arm uniformity\n" in message and "base" not in message
        assert f"python -m study redo tiny uniformity --home {home.root}\n" in message
        assert "--accept-code-change" in message

    def test_an_edited_core_names_bases_and_arms(self, home: HomePaths) -> None:
        base = other(home, training_code(BASE.training), training__loop="older")
        runs = [trained(home, BASE, base)]
        for seed in (1, 2):
            spec = spec_of("uniformity", seed)
            runs.append(trained(home, spec, other(home, training_code(spec.training), training__loop="older")))
        with pytest.raises(HomeError) as caught:
            self.check(home, *runs)
        line = f"  - training/loop.py: 1 base ({BASE.run_id}), 2 runs of arm uniformity\n"
        assert line in str(caught.value) and "redo tiny bases uniformity --home" in str(caught.value)

    def test_an_edited_evaluation_costs_no_training(self, home: HomePaths) -> None:
        spec = spec_of("uniformity")
        (request,) = [r for r in REQUESTS if r.evaluation.name == "knn"]
        code = other(home, evaluation_code(request.evaluation, spec.training), evaluations__knn="older")
        with pytest.raises(HomeError) as caught:
            self.check(home, trained(home, spec, evaluations={"knn": code}))
        assert "  - evaluations/knn.py: knn of 1 run of arm uniformity\n" in str(caught.value)
        assert "redo tiny --evaluation knn --home" in str(caught.value)

    def test_records_of_earlier_code_have_one_hash_for_all(self, home: HomePaths) -> None:
        spec = spec_of("uniformity")
        files = {p: source(p).sha256 for p in (*training_code(spec.training).files, "evaluations/knn.py")}
        earlier = {path: text for path, text in files.items() if not path.startswith("worker/")}
        none = {"knn": None, "linear_probe": None}
        for edited, complaint in (({}, None), ({"evaluations/knn.py": "older"}, "knn of 1 run of arm uniformity")):
            data = {
                **training_code(spec.training).as_json(),
                "files": {**earlier, **edited},
                "hash": f"{len(edited)}" * 64,
            }
            write_json(home.code_identity(data["hash"]), data)
            run = trained(home, spec_of("uniformity", 1 + len(edited)), data["hash"], none)
            if complaint is None:
                assert self.check(home, run) is None
            else:
                with pytest.raises(HomeError, match=complaint):
                    self.check(home, run)

    def test_code_that_is_not_kept_is_named_by_its_hash(self, home: HomePaths) -> None:
        with pytest.raises(HomeError, match="unknown code 000000000000"):
            self.check(home, trained(home, BASE, "0" * 64))

    def test_what_is_accepted_is_on_record_and_not_asked_for_again(self, home: HomePaths) -> None:
        spec = spec_of("uniformity")
        run = trained(home, spec, other(home, training_code(spec.training), criteria__uniformity="older"))
        for accept in (True, False, True):
            warning = self.check(home, run, accept_change=accept)
            assert warning is not None and "criteria/uniformity.py: 1 run of arm uniformity" in warning
        (record,) = occasions(home.study("tiny"))
        assert record.kind == ACCEPTED and "criteria/uniformity.py" in record.what
        more = trained(
            home, spec_of("uniformity", 2), other(home, training_code(spec.training), training__loop="older")
        )
        with pytest.raises(HomeError, match=r"training/loop\.py"):
            self.check(home, run, more)


class TestCommit:
    @pytest.fixture
    def git(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A checkout with two committed files, of which one is edited, and one that git does not know."""
        root = tmp_path / "checkout"
        (root / "study" / "criteria").mkdir(parents=True)
        for name in ("kept", "edited"):
            (root / "study" / "criteria" / f"{name}.py").write_text(f"# {name}\n")

        def run(*arguments: str) -> None:
            subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)

        run("init", "-q")
        run("add", ".")
        run("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "first")
        (root / "study/criteria/edited.py").write_text("# edited since\n")
        (root / "study/criteria/mine.py").write_text("# new\n")
        monkeypatch.setattr("study.provenance.imports.ROOT", root)
        monkeypatch.setattr(commit, "ROOT", root)
        self.forget()
        yield root
        monkeypatch.undo()
        self.forget()

    @staticmethod
    def forget() -> None:
        for function in (commit.commit, commit._committed, commit._state, source):
            function.cache_clear()

    def test_files_that_the_commit_does_not_have_are_told(self, git: Path) -> None:
        paths = ["criteria/kept.py", "criteria/edited.py", "criteria/mine.py"]
        assert commit.uncommitted(paths) == {"criteria/edited.py": "changed", "criteria/mine.py": "new"}
        found = commit.commit()
        assert found is not None and len(found) == 40 and commit.is_known(found) and not commit.is_known("f" * 40)
        assert commit.committed_text("criteria/edited.py", found) == b"# edited\n"
        assert commit.committed_text("criteria/mine.py", found) is None

    def test_outside_of_git_nothing_is_said(self, git: Path) -> None:
        (git / ".git").rename(git / "no.git")
        assert commit.commit() is None and commit.uncommitted(["criteria/edited.py"]) == {}


def test_a_job_names_its_code_and_what_is_not_committed(home: HomePaths) -> None:
    spec = spec_of("uniformity")
    found: dict[str, Any] = code_for(home, spec, REQUESTS)
    assert found["code"]["training"] == training_code(spec.training).hash
    assert set(found["code"]["evaluations"]) == {request.key for request in REQUESTS}
    assert all(kept(home, code) for code in found["code"]["evaluations"].values())
    assert (found["commit"] or "").endswith("-dirty") == bool(found["uncommitted"])


def test_the_code_of_a_study(home: HomePaths) -> None:
    home.code.mkdir()
    spec = spec_of("uniformity")
    for identity in (training_code(spec.training), *(evaluation_code(r.evaluation, spec.training) for r in REQUESTS)):
        keep(home, identity)
    older = other(home, training_code(spec.training), criteria__uniformity="older")
    trained(home, spec)
    trained(home, spec_of("uniformity", 2), older)
    code = code_of_study(home, "tiny")
    assert code.runs == [spec.run_id, spec_of("uniformity", 2).run_id]
    text = code.as_text()
    assert f"{training_code(spec.training).hash[:12]}" in text and "trained: uniformity (1)" in text
    (merged,) = code.sets(spec.run_id)
    assert set(merged.files) >= {"criteria/uniformity.py", "evaluations/knn.py"}
    assert len(code.sets()) == 4, "two versions of a file are not mixed"
    home.code_identity(older).unlink()
    with pytest.raises(UserError, match=f"keeps no text of code {older[:12]} \\(trained: uniformity"):
        code_of_study(home, "tiny").sets()


def test_hashing_needs_no_torch() -> None:
    """`python -m study code` and a finished study answer at once."""
    program = "import sys, study.provenance.results, study.orchestration.finished; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_records_name_the_hashes(home: HomePaths) -> None:
    run = trained(home, BASE)
    assert read_json(run.paths.trained)["code"] == training_code(BASE.training).hash
