"""System calls that can be watched and made to fail: the `os` that snapback sees, with a say in every call.

    with watched(hook):         hook(call) before every call that takes a path or a descriptor; it may raise
    Hit(Fault(folder, nth, EIO))    a hook by which the nth call below a folder fails

Nothing of snapback is replaced: its `os`, the `open` and `ctypes.CDLL` that it uses are stood in for by ones that ask
first and then do the same. Both the real disk and the fake one (pyfakefs) can lie below.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

import snapback


class Call(NamedTuple):
    """One call that is about to be made: its name, the path it works on (of a link or a move, the new one), flags."""

    name: str
    path: str
    flags: int = 0  # of open


Hook = Callable[[Call], None]

# Which argument is the path or descriptor, and which option the folder it is relative to.
PLACES: Dict[str, Tuple[int, str]] = {
    "open": (0, "dir_fd"), "stat": (0, "dir_fd"), "mkdir": (0, "dir_fd"), "unlink": (0, "dir_fd"),
    "rmdir": (0, "dir_fd"), "chmod": (0, "dir_fd"), "chown": (0, "dir_fd"), "utime": (0, "dir_fd"),
    "readlink": (0, "dir_fd"), "mknod": (0, "dir_fd"), "symlink": (1, "dir_fd"), "link": (1, "dst_dir_fd"),
    "replace": (1, "dst_dir_fd"), "rename": (1, "dst_dir_fd"), "lstat": (0, "dir_fd"), "makedirs": (0, ""),
    "fstat": (0, ""), "listdir": (0, ""), "scandir": (0, ""), "listxattr": (0, ""), "getxattr": (0, ""),
    "setxattr": (0, ""), "read": (0, ""), "write": (0, ""), "lseek": (0, ""), "truncate": (0, ""),
    "ftruncate": (0, ""), "fsync": (0, ""), "close": (0, ""),
}  # fmt: skip


class Os:
    """The os module with a hook before its calls; it knows which path every open descriptor has."""

    def __init__(self, below: Any, hook: Hook, flushing: bool = False) -> None:
        self.below, self.hook, self.flushing = below, hook, flushing
        self.paths: Dict[int, str] = {}
        self.wrapped: Dict[str, Callable[..., Any]] = {}
        for name in ("supports_fd", "supports_dir_fd", "supports_follow_symlinks"):
            setattr(self, name, {getattr(self, call.__name__, call) for call in getattr(below, name)})

    def __getattr__(self, name: str) -> Any:
        if name not in PLACES or not hasattr(self.below, name):
            return getattr(self.below, name)
        if name not in self.wrapped:
            self.wrapped[name] = self.asking(name)
        return self.wrapped[name]

    def asking(self, name: str) -> Callable[..., Any]:
        which, relative_to = PLACES[name]

        def ask_first(*words: Any, **options: Any) -> Any:
            path = self.path_of(words[which], options.get(relative_to))
            self.hook(Call(name, path, words[1] if name == "open" else 0))
            if name == "fsync" and not self.flushing:  # no power fails here, and a shared disk takes its time
                return None
            result = getattr(self.below, name)(*words, **options)
            if name == "open":
                self.paths[result] = path
            return self.scanned(path, result) if name == "scandir" else result

        ask_first.__name__ = name
        return ask_first

    def path_of(self, place: Any, folder: Optional[int]) -> str:
        """Say where something is, by the path under which it, or its folder, was opened."""
        if isinstance(place, int):
            return self.paths.get(place, f"descriptor {place}")
        path = self.below.fspath(place)
        return str(self.below.path.join(self.paths[folder], path) if folder in self.paths else path)

    @contextlib.contextmanager
    def scanned(self, folder: str, entries: Any) -> Iterator[Iterable[Scanned]]:
        with entries:
            yield (Scanned(entry, self.below.path.join(folder, entry.name), self.hook) for entry in entries)


class Scanned:
    """An entry of scandir."""

    def __init__(self, below: Any, path: str, hook: Hook) -> None:
        self.below, self.hook, self.full_path = below, hook, path
        self.name: str = below.name

    def stat(self, follow_symlinks: bool = True) -> Any:
        self.hook(Call("stat", self.full_path))
        return self.below.stat(follow_symlinks=follow_symlinks)

    def is_dir(self, follow_symlinks: bool = True) -> bool:
        return bool(self.below.is_dir(follow_symlinks=follow_symlinks))


class Opened:
    """A file that was opened by the builtin `open`: reading it asks first."""

    def __init__(self, below: Any, path: str, hook: Hook) -> None:
        self.below, self.path, self.hook = below, path, hook

    def __getattr__(self, name: str) -> Any:
        if name in ("read", "readinto", "readline"):
            self.hook(Call("read", self.path))
        return getattr(self.below, name)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.below.close()


REAL_LIBC = ctypes.CDLL(None, use_errno=True)


class NoLibc:
    """A libc that cannot flush a whole disk: every file has to be flushed by itself."""

    def __init__(self, calls: Os) -> None:
        self.calls = calls
        self.prctl = REAL_LIBC.prctl


class Libc(NoLibc):
    """As much of libc as snapback calls."""

    def syncfs(self, fd: int) -> int:
        try:
            self.calls.hook(Call("syncfs", self.calls.paths.get(fd, "")))
        except OSError as err:
            ctypes.set_errno(err.errno or 0)
            return -1
        return int(REAL_LIBC.syncfs(fd)) if self.calls.flushing else 0


@contextlib.contextmanager
def watched(hook: Hook, syncfs: bool = True, flushing: bool = False) -> Iterator[Os]:
    """Ask `hook` before each of snapback's system calls.

    `syncfs` says whether the system can flush a whole disk; nothing is flushed unless `flushing` says so.
    """
    calls = Os(snapback.os, hook, flushing)
    below = getattr(snapback, "open", open)  # pyfakefs puts its own there

    def opening(place: Any, *words: Any, **options: Any) -> Any:
        path = calls.path_of(place, None)
        if not isinstance(place, int):
            hook(Call("open", path))
        return Opened(below(place, *words, **options), path, hook)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(snapback, "os", calls))
        stack.enter_context(mock.patch.object(snapback, "open", opening, create=True))
        stack.enter_context(mock.patch.object(ctypes, "CDLL", return_value=(Libc if syncfs else NoLibc)(calls)))
        yield calls


# --- Faults ------


class Fault(NamedTuple):
    """What is to go wrong: the nth call below a folder fails, or (`for_good`) that one and every later one."""

    folder: str
    nth: int
    number: int
    names: Collection[str] = frozenset(PLACES) | {"syncfs"}
    for_good: bool = False

    def __str__(self) -> str:
        return f"{errno.errorcode[self.number]} at call {self.nth}{' and after' * self.for_good}"


class Hit:
    """A hook that lets a fault happen, counts the calls that it is about, and notes those that it let fail."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.met = 0
        self.calls: List[Call] = []

    def __call__(self, call: Call) -> None:
        fault = self.fault
        if call.name == "close" or call.name not in fault.names or not is_below(call.path, fault.folder):
            return
        self.met += 1
        if self.met == fault.nth or (fault.for_good and self.met > fault.nth):
            self.calls.append(call)
            raise OSError(fault.number, os.strerror(fault.number), call.path)


def is_below(path: str, folder: str) -> bool:
    return (path + os.sep).startswith(folder + os.sep)


def nothing(_call: Call) -> None:
    """Let every call pass."""
