"""One file that a sweep file names, wherever it lies."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import Request, url2pathname, urlopen

from study.errors import DataError, shown
from study.journal.files import write_atomic
from study.paths import from_user

_TIMEOUT_S = 60.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """A file by path, `file://`, `https://` or, with a hash, `http://`.

    Attributes:
        location: path or address.
        sha256: what the file's hash must be (64 hex digits), or None: any.

    Raises:
        DataError: the hash is no sha256, or the address is of another kind.
    """

    location: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise DataError(f"a sha256 has 64 hex digits in lower case, but got {shown(self.sha256)}")
        scheme = self._scheme
        if scheme not in ("", "file", "https", "http"):
            raise DataError(f"{self.location}: expected a path, file:// or https://, but got {scheme}://")
        if scheme == "http" and self.sha256 is None:
            raise DataError(f"{self.location}: over http:// anyone can change a file; use https://, or give its sha256")

    @classmethod
    def parse(cls, text: str | Path, sha256: str | None = None) -> Source:
        """Read `location` or `location#sha256=<64 hex digits>`, as pip writes it; `sha256` is another way to say so."""
        location, mark, digest = str(text).partition("#sha256=")
        if mark and sha256 is not None and digest != sha256:
            raise DataError(f"{location}: two hashes are given: {digest} and {sha256}")
        return cls(location, digest if mark else sha256)

    @property
    def is_remote(self) -> bool:
        """Whether the file has to be downloaded."""
        return self._scheme in ("http", "https")

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(unquote(urlsplit(self.location).path) if self._scheme else self.location).name

    def is_here(self, downloads: Path) -> bool:
        """Whether `file` needs no network."""
        return not self.is_remote or self._target(downloads).exists()

    def file(self, downloads: Path) -> tuple[Path, str]:
        """Return the local file and its sha256; what is remote is downloaded into `downloads` unless it is there.

        Raises:
            DataError: there is no such file, it cannot be downloaded, or its hash is not the expected one.
        """
        path = self._downloaded(downloads) if self.is_remote else self._local()
        found = sha256_of(path)
        if self.sha256 not in (None, found):
            again = f"delete {path}" if self.is_remote else "fetch it again"
            raise DataError(
                f"{self.location}: the file is damaged or another one:\n"
                f"  sha256 expected: {self.sha256}\n  sha256 found:    {found}\n"
                f"If it is damaged, {again}; if it is the right one, give the hash that was found."
            )
        return path, found

    @property
    def _scheme(self) -> str:
        return self.location.partition("://")[0] if "://" in self.location else ""

    def _local(self) -> Path:
        path = Path(url2pathname(urlsplit(self.location).path)) if self._scheme else from_user(self.location)
        if not path.is_file():
            raise DataError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
        return path

    def _target(self, downloads: Path) -> Path:
        place = hashlib.sha256(self.location.encode()).hexdigest()[:12]
        return downloads / f"{place}-{self.name or 'file'}"

    def _downloaded(self, downloads: Path) -> Path:
        target = self._target(downloads)
        if not target.exists():
            try:
                downloads.mkdir(parents=True, exist_ok=True)
                write_atomic(target, self._download)
            except (OSError, HTTPException) as error:
                raise DataError(
                    f"cannot download {self.location}: {error}\nOne of these helps:\n"
                    f"  - download it where there is internet, and give the path of the file instead\n"
                    f"  - put it at {target}"
                ) from error
        return target

    def _download(self, file: BinaryIO) -> None:
        # The scheme is one of two (checked above), so no file:// hides behind the address.
        with urlopen(Request(self.location, headers={"User-Agent": "study"}), timeout=_TIMEOUT_S) as response:
            shutil.copyfileobj(response, file, 1 << 20)
            announced = response.headers.get("Content-Length")
        if announced is not None and file.tell() != int(announced):
            raise OSError(f"the connection ended after {file.tell()} of {announced} bytes")


def sha256_of(path: Path) -> str:
    """sha256 of a file (hex).

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
