"""The git commit of the checkout, and which of the files that were executed differ from it."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache

from study.provenance.imports import PACKAGE, ROOT, source

_TIMEOUT_S = 10.0


@cache
def commit() -> str | None:
    """Return the commit that is checked out (40 hex digits); None outside of git."""
    found = _git("rev-parse", "--verify", "HEAD")
    return found.decode().strip() if found else None


def uncommitted(paths: Iterable[str]) -> dict[str, str]:
    """Say of each of some files that the commit does not have as it is whether it is `changed` or `new` to git.

    Args:
        paths: as in `CodeIdentity.files`. Compared is the text that this process executes.

    Returns:
        Path → `changed` or `new`; empty outside of git, where nothing can be said.
    """
    return {path: state for path in paths if (state := _state(path)) is not None}


def committed_text(path: str, revision: str) -> bytes | None:
    """Return the text of a file in a commit; None when the commit, or the file in it, is not there."""
    return _git("show", f"{revision}:{_from_root(path)}")


def is_known(revision: str) -> bool:
    """Whether git has a commit of that name here."""
    return _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is not None


@cache
def _state(path: str) -> str | None:
    committed = _committed()
    if committed is None:
        return None
    known = committed.get(_from_root(path))
    if known is None:
        return "new"
    return None if known == _blob(source(path).text, len(known)) else "changed"


def _from_root(path: str) -> str:
    return path[3:] if path.startswith("../") else f"{PACKAGE}/{path}"


@cache
def _committed() -> Mapping[str, str] | None:
    """Path from the root → id of the blob, of all files of the commit; None outside of git."""
    listed = _git("ls-tree", "-r", "-z", "HEAD")
    if listed is None:
        return None
    entries = (entry.split("\t", 1) for entry in listed.decode(errors="surrogateescape").split("\0") if entry)
    return {name: head.split(" ")[2] for head, name in entries}


def _blob(text: bytes, num_digits: int) -> str:
    """The id of a blob with this text, by the hash that a repository with ids of that length uses."""
    content = b"blob %d\0" % len(text) + text
    return hashlib.sha256(content).hexdigest() if num_digits == 64 else hashlib.sha1(content).hexdigest()


def _git(*arguments: str) -> bytes | None:
    """What git prints; None when it fails, is missing or takes too long."""
    try:
        result = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=_TIMEOUT_S, check=False
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None
