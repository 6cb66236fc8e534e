"""`python -m study redo STUDY [RUN|ARM|bases ...] [--evaluation NAME] [--why TEXT]`."""

from __future__ import annotations

import argparse

from study.cli.common import FINISHED
from study.paths import HomePaths


def add_redo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be made anew, and why."""
    parser.add_argument("targets", metavar="RUN|ARM|bases", nargs="*", help="a run id, an arm, or all bases")
    parser.add_argument("--evaluation", metavar="NAME", help="evaluate anew, and leave the trainings as they are")
    parser.add_argument("--why", metavar="TEXT", default="", help="kept on record and shown in the report")


def run_redo(args: argparse.Namespace, home: HomePaths, name: str) -> int:
    """Move what is named aside and say what the next start will do."""
    from study.orchestration.redo import redo

    done = redo(home, name, args.targets, args.evaluation, args.why)
    what = f"{args.evaluation} of {len(done.runs)} runs" if args.evaluation else f"{len(done.runs)} runs"
    print(f"Moved {what} to {done.folder}:")
    for run_id in done.runs:
        print(f"  {run_id}")
    if done.searches:
        print(f"Searches that start anew, because their runs go with them: {', '.join(done.searches)}")
    print("The report says so. Start the study's command again to make them anew.")
    return FINISHED
