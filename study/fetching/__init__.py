"""Files that a user names by path or address: found or downloaded, hashed, compared with the hash that is expected."""

from study.fetching.source import Source, sha256_of

__all__ = ["Source", "sha256_of"]
