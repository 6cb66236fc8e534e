"""`python -m study code STUDY [--run RUN] [--diff [COMMIT]] [--restore FOLDER]`: the code that made its results."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from study.cli.common import FINISHED
from study.errors import UserError, did_you_mean
from study.paths import HomePaths, from_user
from study.provenance.commit import committed_text, is_known
from study.provenance.identity import CodeIdentity
from study.provenance.results import DIGITS, code_of_study
from study.provenance.store import restore, text_of


def add_code_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which run, compared with what, restored to where."""
    parser.add_argument("--run", metavar="RUN", help="the code of this run or base alone")
    parser.add_argument(
        "--diff",
        metavar="COMMIT",
        nargs="?",
        const="",
        help="show how it differs from a commit (default: the run's own)",
    )
    parser.add_argument("--restore", metavar="FOLDER", help="write its files into FOLDER/study")


def run_code(args: argparse.Namespace, home: HomePaths, name: str) -> int:
    """Show, compare or restore what a study's results were made by.

    Where results have contradicting versions of a file, every version is compared, or written into a folder, by itself.

    Raises:
        UserError: the run or the commit is not known, or a version is not kept.
    """
    code = code_of_study(home, name)
    if not code.versions:
        raise UserError(f"{name} has no results yet, and so no code that made any")
    if args.run is not None and args.run not in code.runs:
        raise UserError(f"{name} has no trained run {args.run!r}.{did_you_mean(args.run, code.runs)}")
    if args.diff is None and args.restore is None:
        print(code.as_text(args.run))
        return FINISHED
    sets = code.sets(args.run)
    missing: set[str] = set()
    for identity in sets:
        if args.diff is not None:
            _print_difference(home, identity, _revision(args.diff or code.commit(args.run)))
        if args.restore is not None:
            folder = from_user(args.restore) / (identity.hash[:DIGITS] if len(sets) > 1 else "")
            lacking = restore(home, identity, folder)
            print(f"Written: {len(identity.files) - len(lacking)} files below {folder / 'study'}")
        missing |= {path for path, sha256 in identity.files.items() if not home.code_text(sha256).exists()}
    if missing:
        print(
            f"Their text is not kept, because earlier code kept hashes: {', '.join(sorted(missing))}", file=sys.stderr
        )
    return FINISHED


def _revision(commit: str) -> str:
    if not commit:
        raise UserError("the runs name no commit; give one: --diff COMMIT")
    if not is_known(commit):
        raise UserError(f"git knows no commit {commit!r} in {Path(__file__).parents[2]}; give another: --diff COMMIT")
    return commit


def _print_difference(home: HomePaths, identity: CodeIdentity, commit: str) -> None:
    """A unified diff from the commit to what was executed, file by file; nothing where they are equal."""
    for path, sha256 in identity.files.items():
        text, before = text_of(home, sha256), committed_text(path, commit)
        if text is None or text == before:
            continue
        old, new = (content.decode(errors="replace").splitlines(keepends=True) for content in (before or b"", text))
        label = path[3:] if path.startswith("../") else f"study/{path}"
        sys.stdout.writelines(difflib.unified_diff(old, new, f"{commit}:{label}" if before else "/dev/null", label))
