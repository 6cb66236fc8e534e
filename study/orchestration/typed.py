"""What to type next: every message that says so takes it from here, with the home and the site that were given."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_MANAGE = "__main__.py"  # what Python makes of `-m study`


def same_command(*more: str, given: Sequence[str] | None = None) -> str:
    """The command that this process was started with, to be typed again in the same folder; `more` goes behind it."""
    program, *arguments = sys.argv if given is None else given
    start = ["-m", "study"] if Path(program).name == _MANAGE else [program]
    return shlex.join(["python", *start, *arguments, *(word for word in more if word not in arguments)])


def manage(verb: str, study: str, home: Path, *options: str) -> str:
    """A command that looks after a study, to be typed anywhere where the framework is found."""
    return shlex.join(["python", "-m", "study", verb, study, *options, "--home", str(home.absolute())])


def check_site(site: Path | None) -> str:
    """The command that tries a site file; None: nobody knows which."""
    return shlex.join(["python", "-m", "study", "site", "check", "FILE" if site is None else str(site)])


def record_of_command(home: Path) -> dict[str, Any]:
    """What a study keeps of the command that orchestrates it, so that others can say how to carry on."""
    return {"argv": list(sys.argv), "folder": str(Path.cwd()), "home": str(home.absolute())}


def command_of(record: dict[str, Any] | None) -> str | None:
    """The command of a record, to be typed anywhere; None: nothing was kept."""
    if record is None:
        return None
    argv = [str(word) for word in record["argv"]]
    has_home = any(word == "--home" or word.startswith("--home=") for word in argv)
    typed = same_command(*(() if has_home else ("--home", record["home"])), given=argv)
    return f"cd {shlex.quote(record['folder'])} && {typed}"
