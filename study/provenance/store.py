"""The text of all code that made results, kept once per home.

::

    <home>/code/<hash12>.json        a `CodeIdentity`: which files and libraries
    <home>/code/files/<sha256>.py    the text of a file, under the hash of its bytes

Both are written before anything is trained by them. Homes of earlier code have the first alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from study.journal.files import create_once, read_json_or_none, write_bytes
from study.paths import HomePaths
from study.provenance.identity import CodeIdentity
from study.provenance.imports import source


@cache
def keep(home: HomePaths, identity: CodeIdentity) -> None:
    """Keep a code identity of this process and the text of its files; what is there already stays."""
    home.code_texts.mkdir(parents=True, exist_ok=True)
    for path, sha256 in identity.files.items():
        file, text = home.code_text(sha256), source(path).text
        if not file.exists():
            write_bytes(file, text)
    if not home.code_identity(identity.hash).exists():
        create_once(home.code_identity(identity.hash), identity.as_json())


def kept(home: HomePaths, code: str) -> CodeIdentity | None:
    """Return what a home keeps under a hash; None when it is not there."""
    found = read_json_or_none(home.code_identity(code))
    return None if found is None else _from_json(found)


def text_of(home: HomePaths, sha256: str) -> bytes | None:
    """Return the kept text of a file; None when a home does not have it."""
    file = home.code_text(sha256)
    return file.read_bytes() if file.exists() else None


def restore(home: HomePaths, identity: CodeIdentity, folder: Path) -> list[str]:
    """Write the files of an identity below `<folder>/study`; return the paths of those whose text was not kept."""
    missing = []
    for path, sha256 in identity.files.items():
        text = text_of(home, sha256)
        if text is None:
            missing.append(path)
            continue
        target = folder / path[3:] if path.startswith("../") else folder / "study" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text)
    return missing


def changes(old: CodeIdentity, new: CodeIdentity) -> list[str]:
    """Name the files and libraries that differ between two identities; of files, those that `new` can execute.

    Earlier code hashed all components at once and no part of the worker: a file that only one of the two looked at
    says nothing.
    """
    files = [path for path, sha256 in new.files.items() if old.files.get(path, sha256) != sha256]
    if not _is_earlier(old):
        files += [f"{path} (gone)" for path in old.files if path not in new.files]
        files += [f"{path} (new)" for path in new.files if path not in old.files]
    libraries = [
        f"{name} {old.libraries[name]} → {found}"
        for name, found in new.libraries.items()
        if old.libraries.get(name, found) != found
    ]
    return sorted(files) + libraries


def _is_earlier(identity: CodeIdentity) -> bool:
    """Whether earlier code made it: of all components at once, and without the worker."""
    return not any(path.startswith("worker/") for path in identity.files)


def _from_json(data: Mapping[str, Any]) -> CodeIdentity:
    return CodeIdentity(data["files"], data["libraries"], data["hash"])
