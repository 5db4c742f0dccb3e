#!/usr/bin/env python3
"""Show a folder once more at another place, where each call takes longer: what a share far away is like.

    python3 slow_disk.py FOLDER PLACE SECONDS       serves until PLACE is unmounted

It needs libfuse and the package mfusepy, which bench.py fetches. Calls wait side by side, as on a network. Attributes of an
open file come for nothing, since network file systems send them along with every answer; there are no extended ones.
"""

# ruff: noqa: ARG002 - the library calls by position

from __future__ import annotations

import errno
import os
import sys
import time
from typing import Dict, Iterable, Optional, Tuple

import mfusepy


class SlowDisk(mfusepy.Operations):
    """Passes each call on to a folder, after a pause."""

    use_ns = True

    def __init__(self, folder: str, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds

    def _at(self, path: str) -> str:
        """Let a call travel; give where it is to be done."""
        time.sleep(self.seconds)
        return self.folder + path

    def getattr(self, path: str, fh: Optional[int] = None) -> Dict[str, int]:
        info = os.lstat(self._at(path)) if fh is None else os.fstat(fh)
        words = ("mode", "nlink", "uid", "gid", "size", "blocks", "ino", "rdev")
        found = {f"st_{word}": getattr(info, f"st_{word}") for word in words}
        return {**found, **{f"st_{one}time": getattr(info, f"st_{one}time_ns") for one in "amc"}}

    def readdir(self, path: str, fh: int) -> Iterable[str]:
        return [".", "..", *os.listdir(self._at(path))]

    def opendir(self, path: str) -> int:
        self._at(path)
        return 0

    def readlink(self, path: str) -> str:
        return os.readlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> None:
        os.mkdir(self._at(path), mode)

    def unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def symlink(self, target: str, source: str) -> None:
        os.symlink(source, self._at(target))

    def rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self.folder + new)

    def link(self, target: str, source: str) -> None:
        os.link(self.folder + source, self._at(target), follow_symlinks=False)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(self._at(path), uid, gid)

    def truncate(self, path: str, length: int, fh: Optional[int] = None) -> None:
        os.truncate(self._at(path), length)

    def utimens(self, path: str, times: Optional[Tuple[int, int]] = None) -> None:
        os.utime(self._at(path), ns=times, follow_symlinks=False)

    def create(self, path: str, mode: int, flags: int) -> int:
        return os.open(self._at(path), flags, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._at(path)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._at(path)
        return os.pwrite(fh, data, offset)

    def flush(self, path: str, fh: int) -> None:
        self._at(path)

    def fsync(self, path: str, datasync: int, fh: int) -> None:
        self._at(path)

    def fsyncdir(self, path: str, datasync: int, fh: int) -> None:
        self._at(path)

    def release(self, path: str, fh: int) -> None:
        os.close(fh)

    def statfs(self, path: str) -> Dict[str, int]:
        room = os.statvfs(self._at(path))
        return {name: getattr(room, name) for name in dir(room) if name.startswith("f_") and name != "f_fsid"}


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(errno.EINVAL)
    mfusepy.FUSE(SlowDisk(sys.argv[1], float(sys.argv[3])), sys.argv[2], foreground=True, allow_other=True)
