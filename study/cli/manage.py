"""`python -m study status|publish|report|stop|redo|code STUDY` and `python -m study site init|check`."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path

from study.cli.code import add_code_arguments, run_code
from study.cli.common import FINISHED, SOME_FAILED, add_home, chosen_home, guarded
from study.cli.redo import add_redo_arguments, run_redo
from study.cli.site import add_site_commands, run_site_command
from study.errors import JournalError, UserError, did_you_mean
from study.orchestration.typed import manage
from study.paths import HomePaths, from_user

_AT_ONCE = ("status", "stop")
_HELP = {
    "status": "what is done, what runs, what failed",
    "publish": "copy the journals into MLflow",
    "report": "write a page, tables and figures from what there is, and attach them in MLflow",
    "stop": "ask the orchestrator and its runs to save and leave",
    "redo": "move runs, an arm or bases aside, so that they are made anew",
    "code": "show, compare or restore the code that made the results",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run one command."""
    parser = argparse.ArgumentParser(prog="python -m study", description="Look after a study.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _HELP.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("study", metavar="STUDY", help="name of the study")
        add_home(command)
        if name == "status":
            command.add_argument("--json", action="store_true", help="as JSON")
        if name == "report":
            command.add_argument("--no-publish", action="store_true", help="do not attach it in MLflow")
            command.add_argument("--from", dest="uri", metavar="URI", help="read it from this MLflow store instead")
            command.add_argument(
                "--out", metavar="DIR", help="where to write what --from reads (default: ./STUDY-report)"
            )
        if name == "stop":
            command.add_argument("--now", action="store_true", help="cancel what runs; its checkpoints stay")
        if name == "publish":
            command.add_argument("--follow", action="store_true", help="go on until standard input closes")
        if name == "redo":
            add_redo_arguments(command)
        if name == "code":
            add_code_arguments(command)
    text = "where runs execute: write a site file, or try one"
    add_site_commands(commands.add_parser("site", help=text, description=text))
    args = parser.parse_args(argv)
    if args.command == "site":
        return guarded(lambda: run_site_command(args), lambda: None)
    if args.command == "report" and args.out and not args.uri:
        parser.error("--out belongs to --from: the report of a study in a home goes into its own folder")
    if args.command == "report" and args.no_publish and args.uri:
        parser.error("--no-publish has no use with --from, which attaches nothing; leave it out")
    if args.command in _AT_ONCE:
        gc.disable()  # looking for garbage among what is known of ten thousand runs takes as long as reading it
    run = {"status": _status, "publish": _publish, "report": _report, "stop": _stop, "redo": _redo, "code": _code}[
        args.command
    ]
    return guarded(lambda: run(args), lambda: chosen_home(args))


def _status(args: argparse.Namespace) -> int:
    from study.orchestration.status import study_status

    status = study_status(chosen_home(args), _known_study(args))
    print(json.dumps(status.as_json(), indent=1) if args.json else status.as_text())
    return FINISHED


def _publish(args: argparse.Namespace) -> int:
    home, name = chosen_home(args), _known_study(args)
    from study.tracking.follow import follow
    from study.tracking.mlflow_tracker import MlflowTracker
    from study.tracking.parent import wants_frame
    from study.tracking.publisher import Publisher
    from study.tracking.store import store_uri, without_password

    uri = store_uri(home)
    if args.follow:
        logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
        return FINISHED if follow(home, name, uri, stop=_input_closed) else SOME_FAILED
    publisher = Publisher(home, name, MlflowTracker(uri, home.mlartifacts))
    summary = publisher.publish()
    if wants_frame(home.study(name)):
        from analysis.published import write_frame

        try:
            write_frame(home.study(name).root)
            publisher.publish_study(summary)
        except JournalError as error:
            print(f"without a frame of all runs: {error}", file=sys.stderr)
    print(summary.as_text(name, without_password(uri)))
    for problem in summary.problems:
        print(f"not published: {problem}", file=sys.stderr)
    if not summary.is_complete:
        print(f"not complete: another process publishes {name!r} just now; type the same again", file=sys.stderr)
    return FINISHED if summary.has_arrived else SOME_FAILED


def _input_closed() -> bool:
    """Whether the orchestrator, which holds the other end, is gone or wants us to end."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def _report(args: argparse.Namespace) -> int:
    if args.uri:
        return _report_from(args.uri, args.study, from_user(args.out or f"{args.study}-report"))
    home, name = chosen_home(args), _known_study(args)
    study = home.study(name)
    from analysis.report import PAGE, write_report

    print(write_report(study.root).text)
    print(f"Open it: {(study.report / PAGE).absolute().as_uri()}")
    if not args.no_publish:
        print(_attach(home, name))
    return FINISHED


def _report_from(uri: str, name: str, folder: Path) -> int:
    """Write the report of a study that is known from MLflow alone; it has been attached there, or never will be."""
    from analysis.frames import Published, load_study
    from analysis.report import PAGE, write_report_of

    print(write_report_of(load_study(Published(name, uri)), folder).text)
    print(f"Open it: {(folder / PAGE).absolute().as_uri()}")
    return FINISHED


def _attach(home: HomePaths, name: str) -> str:
    """Attach what was written to the study's run in MLflow; say what came of it, for the report stands either way."""
    from study.tracking.base import TrackerError
    from study.tracking.store import store_uri, without_password

    command = manage("publish", name, home.root)
    try:
        from study.tracking.mlflow_tracker import MlflowTracker
        from study.tracking.publisher import publish_study

        uri = store_uri(home)
        summary = publish_study(home, name, MlflowTracker(uri, home.mlartifacts))
    except TrackerError as error:
        return f"Not attached in MLflow ({str(error).splitlines()[0][:200]}). When it works again: {command}"
    if summary.problems:
        return f"Not attached in MLflow: {'; '.join(summary.problems)}"
    if not summary.is_complete:
        return "Another process publishes this study to MLflow just now, and will attach the report."
    where = f"run {name!r} of experiment {summary.experiment!r} in MLflow: {without_password(uri)}"
    return "\n".join([f"Attached to {where}", *summary.remarks()])


def _stop(args: argparse.Namespace) -> int:
    from study.orchestration.stop import request_stop

    print(request_stop(chosen_home(args), _known_study(args), now=args.now))
    return FINISHED


def _redo(args: argparse.Namespace) -> int:
    return run_redo(args, chosen_home(args), _known_study(args))


def _code(args: argparse.Namespace) -> int:
    return run_code(args, chosen_home(args), _known_study(args))


def _known_study(args: argparse.Namespace) -> str:
    home = chosen_home(args)
    known = sorted(path.parent.name for path in home.root.glob("*/plan.json"))
    if args.study not in known:
        advice = "Name its home with --home DIR, or start one: python study/run_sweep.py sweeps/ablation.yaml"
        raise UserError(f"no study {args.study!r} in {home.root}.{did_you_mean(args.study, known)} {advice}")
    return str(args.study)
