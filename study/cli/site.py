"""`python -m study site init|check`: site files for the cluster that answers here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from study.cli.common import FINISHED, MISTAKE, ROOT
from study.errors import PlanError, UserError
from study.orchestration.typed import check_site
from study.paths import from_user

_DEFAULT = Path("slurm/site.yaml")


def add_site_commands(parser: argparse.ArgumentParser) -> None:
    """Add `init` and `check`."""
    commands = parser.add_subparsers(dest="action", required=True)
    text = "write a site file for the SLURM cluster that answers here"
    init = commands.add_parser("init", help=text, description=text)
    init.add_argument("--force", action="store_true", help="overwrite a file that exists")
    text = "say whether the SLURM cluster that answers here takes the site's jobs"
    check = commands.add_parser("check", help=text, description=text)
    for command in (init, check):
        command.add_argument("file", metavar="FILE", nargs="?", help=f"the site file (default: {_DEFAULT})")


def run_site_command(args: argparse.Namespace) -> int:
    """Run one of them.

    Raises:
        UserError: the file or the cluster is not as it should be.
    """
    path = from_user(args.file) if args.file else ROOT / _DEFAULT
    if args.action == "check" and not args.file and not path.exists():
        raise UserError(f"there is no {path}; write one with `python -m study site init`, or name another file")
    return _init(path, force=args.force) if args.action == "init" else _check(path)


def _init(path: Path, *, force: bool) -> int:
    from study.execution.slurm.proposal import propose_site
    from study.execution.slurm.validation import live_cluster

    if path.exists() and not force:
        raise UserError(f"{path} exists; name another file, or overwrite it with --force")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: there is no folder {path.parent}; create it, or name another file")
    cluster = live_cluster(path)
    path.write_text(propose_site(cluster), encoding="utf-8")
    print(f"Written: {path}. Edit it, then try it: {check_site(path)}")
    return FINISHED


def _check(path: Path) -> int:
    from study.plan.site import load_site

    site = load_site(path, "the command")
    if site.slurm is None:
        print(f"{path}: executor {site.executor}; runs go to this machine")
        return FINISHED
    from study.execution.slurm.proposal import describe_site
    from study.execution.slurm.reasons import Obstacle, reason_of_refusal
    from study.execution.slurm.trial import opinion_on
    from study.execution.slurm.validation import check_site, live_cluster

    cluster = live_cluster(path)
    problems = check_site(site, cluster)
    if problems:
        raise PlanError(str(path), problems)
    for fact in describe_site(site, cluster):
        print(fact)
    code = FINISHED
    for place, resources in site.slurm.requests.items():
        opinion = opinion_on(resources)
        prefix = f"{place}: " if place else ""
        if opinion.is_accepted:
            print(f"{prefix}SLURM takes it: a job of that kind is {opinion.message}")
        elif reason_of_refusal(opinion.message).obstacle is Obstacle.PASSING:
            print(f"{prefix}SLURM takes no such job at present, a study waits until it does: {opinion.message}")
        else:
            print(f"error: {prefix}SLURM refuses such a job now: {opinion.message}", file=sys.stderr)
            code = MISTAKE
    return code
