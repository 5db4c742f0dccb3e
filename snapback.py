#!/usr/bin/env python3
"""snapback: dated copies of your folders on another disk, proved readable, and given back.

Synchronisation looks after the present; backup preserves history.  snapback makes whole
dated copies in a separate place.  Each one is a plain folder that any file manager opens.

  snapback.py init DIR                     prepare a drive (a folder, usually the top of a disk)
  snapback.py backup SOURCE... DRIVE       make a dated copy; unchanged files cost no space
  snapback.py status                       am I safe? how each drive stands
  snapback.py list --drive DRIVE           show the dated copies
  snapback.py verify [WHEN] --drive DRIVE  read everything again and compare the checksums;
                                           --sample 10% reads the next tenth of it
  snapback.py repair [WHEN] --drive DRIVE  heal what is damaged, from another date, drive or the source
  snapback.py restore WHEN [PATH...]       give files back, into a new folder; -n only says which
  snapback.py rehearse --drive DRIVE       try a restore: bring random files back, and compare
  snapback.py find PATTERN --drive DRIVE   every version of a file, in all dated copies
  snapback.py diff WHEN [WHEN]             what changed between two dates, or since one
  snapback.py why PATH                     which rule lets it be copied, or leaves it out
  snapback.py rotate --drive DRIVE         delete old dated copies by rule; -n only says which
  snapback.py accept --drive DRIVE         go on after a hold: the big change was yours
  snapback.py pin WHEN --drive DRIVE       protect a dated copy from deletion
  snapback.py unpin WHEN --drive DRIVE     take that protection back
  snapback.py schedule --install           let this computer make them by itself
  snapback.py setup                        answer a few questions, and all is ready
  snapback.py doctor                       what on this computer would make copies fail

The first copy on a new drive:  snapback.py backup --init ~/Documents /media/usb
"snapback.py COMMAND --help" explains one command.
"""

# Not "from __future__ import annotations": that imports a module, and one beside this script would be taken.
import sys

if __name__ == "__main__" and not getattr(sys.flags, "safe_path", sys.flags.isolated):
    del sys.path[0]  # a file "random.py" beside the script, on a stick, must never be imported

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` listens, Ctrl-C ends it without a traceback

import argparse
import base64
import bisect
import contextlib
import errno
import functools
import gc
import hashlib
import io
import itertools
import json
import os
import pickle
import re
import shutil
import stat
import string
import time
import zlib
from array import array
from collections import Counter, deque
from datetime import datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import (
    Any,
    BinaryIO,
    Callable,
    Collection,
    Container,
    Deque,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Set,
    TextIO,
    Tuple,
    Type,
    TypeVar,
    Union,
)

__version__ = "0.1.0"

# --- 1. Constants ------------------------------------------------------------------------------


class Exit(IntEnum):
    """What the exit status tells the caller (README has the same table)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ATTENTION = 3
    DAMAGED = 4
    HELD = 5
    LOCKED = 11
    ABSENT = 75
    INTERRUPTED = 130


MARKER = "snapback-marker.txt"
MANIFEST = "SHA256SUMS"
EXPIRED = "SHA256SUMS.expired"   # the list of a deleted date, while later dates need files of it
TWINS = "manifests"
FOUND = "found"              # what stood in a deleted dated copy and was in no list
PINS = "pins"
ACCEPTED = "accepted.txt"    # up to which number of a dated copy a person has accepted what looked suspicious
HOLD_NOTICE = "HOLD.txt"
NOTE_LENGTH = 200            # characters of a pin's note that are shown
HISTORY = "history.jsonl"
DAMAGED_LIST = "damaged.txt"
QUARANTINE = "quarantine"    # what `repair` took out of dated copies, and what is about to replace it
QUARANTINE_LOG = "log.txt"
SET_SETTINGS = "settings.ini"    # in a set: the settings of its last run
SETTINGS = "snapback.ini"        # on the computer
LOCK = "lock"
LATEST = "latest"
PART_NOTICE = "NOT-THE-WHOLE-DATE.txt"   # says what a dated folder is that does not hold every file
RECOVERY = "READ-ME-FIRST.txt"
RECOVERY_TITLE = "READ ME FIRST: how to get files back from this drive"
RECOVERY_PAGE = "GET-FILES-BACK.html"
PAGE_TITLE = "<!DOCTYPE html>\n<!-- Made by snapback: how to get files back from this drive -->"
PAGE_LISTS, PAGE_ENDING = "page", ".js"     # in a set: what the recovery page reads of each date
RESTORER = "restore.sh"
RESTORER_TITLE = "#!/bin/sh\n# Brings a whole date back from this drive, without Python"
TOOL = "snapback.py"
WINDOWS_LAUNCHER, UNIX_LAUNCHER = "Snapback.cmd", "Snapback.command"
WINDOWS_LAUNCHER_TITLE = "@echo off\nrem Starts snapback.py, which lies beside this file"
UNIX_LAUNCHER_TITLE = "#!/bin/sh\n# Starts snapback.py, which lies beside this file"
INCOMPLETE = ".incomplete"
DELETING = ".deleting"

# Names that stand at the top of a drive, in the set's way or on Windows' list of devices.
TOP_NAMES = frozenset(name.casefold() for name in (
    MARKER, RECOVERY, RECOVERY_PAGE, TOOL, RESTORER, WINDOWS_LAUNCHER, UNIX_LAUNCHER, "python"))
SOURCE_WORD = "source"       # stands where a date could: the folders as they are now
DEVICE_NAMES = frozenset(["con", "prn", "aux", "nul", "conin$", "conout$", *(
    port + digit for port in ("com", "lpt") for digit in "123456789\u00b9\u00b2\u00b3")])

KIB, MIB = 1 << 10, 1 << 20
CHUNK = 256 * KIB            # one read; larger buffers measured no faster
LARGE_FILE = 16 * MIB        # from here on, same content with new times is linked, not stored again
RACY_NS = 3 * 10**9          # FAT keeps two seconds: a file this young may change without a trace
READ_ATTEMPTS = 3            # how often a file that changes under our hands is read again
ANY_DISK_NS = 2**31 * 10**9  # times this far from 1970 are moved to others by some file systems
COUNT_LIMIT = 1 << 53        # the largest number that is believed: what every JSON reader can hold
GZIP = 31                    # zlib's wbits for a stream with a header as gzip writes it
TWIN_RATIO = 200             # a twin that unpacks to more than so many times its size is no list of names
LINE_LIMIT = 16 * MIB        # the longest manifest line that is believed, or written
HEAD_LIMIT = 64 * KIB        # the longest marker or settings text that is read
PAPER_LIMIT = 4 * MIB        # the longest paper that is read, to see whether it is as it should be

PATH_ONLY = frozenset(("", ".", ".."))  # parts of a path that name nothing

# How names become bytes on this system; what Linux calls a name may be no text at all.
NAME_CODEC = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())

# --- 2. Errors ---------------------------------------------------------------------------------


class SnapbackError(Exception):
    """The run stops here; the text is for a person and the code is the exit status."""

    code = Exit.FAILED


class UsageError(SnapbackError):
    """Wrong words on the command line or in a settings file; nothing was touched."""

    code = Exit.USAGE


class DriveError(SnapbackError):
    """The drive failed: full, unplugged, read-only, broken."""

    full = False

    @classmethod
    def of_full(cls, text: str) -> "DriveError":
        """Make the error of a drive that is full."""
        error = cls(text)
        error.full = True
        return error


class TooSmall(DriveError):
    """What is to be copied does not fit on the drive; nothing of it was."""


class SharedDamage(DriveError):
    """What older dated copies share with a new one is damaged; it is noted, so that a run from here on stores it anew."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{found}; no new dated copy was made; the disk may be failing; run the same command again, which stores anew "
                         "what the source still has")
        self.found = found


class DriveAbsent(SnapbackError):
    """There is no marked drive where one was named."""

    code = Exit.ABSENT


class MarkerGone(DriveAbsent):
    """Dated copies are where a drive was named, but no marker: nobody unplugged it."""


class Locked(SnapbackError):
    """Another run works on this set."""

    code = Exit.LOCKED


class SourceGone(SnapbackError):
    """A whole source is missing, unreadable or suspiciously empty."""


class DamagedCopy(SnapbackError):
    """A dated copy cannot be used, because its manifest is damaged."""

    code = Exit.DAMAGED


class SourceError(Exception):
    """One file of a source cannot be read; it is noted and the run goes on."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ManifestDamaged(Exception):
    """A manifest is not what snapback wrote; the text says where and why."""


class Stopped(Exception):
    """A worker was told to stop, because the run has ended elsewhere."""


# --- 3. Values ---------------------------------------------------------------------------------


class Naming(Enum):
    """Which names a drive holds; each kind takes fewer than the one before."""

    BYTES = "any"                # whatever Linux calls a name
    TEXT = "text"                # UTF-8
    PORTABLE = "portable"        # what Windows takes, too
    ASCII = "ascii"              # of those the plainest


class Marker(NamedTuple):
    """What the marker file says of a drive."""

    id: str
    label: str
    created: str = ""
    offline: bool = False
    naming: Naming = Naming.BYTES    # as it was found out when the marker was made; a drive that is poorer here is taken as it is


class Paper(NamedTuple):
    """A text that lies at the top of a drive for a bad day: its name, its first lines, by which we know our own, all of it, its mode."""

    name: str
    title: str
    text: str
    mode: int = 0o644


class Source(NamedTuple):
    """A folder or file to be copied, and the name it has on the drive."""

    alias: str
    path: str
    is_folder: bool = True


class State(Enum):
    """What a folder in a set is."""

    WHOLE = "whole"
    DAMAGED = "manifest damaged"
    INCOMPLETE = "interrupted"
    DELETING = "being deleted"
    EXPIRED = "deleted, but for the files that later dates need"


class Layout(Enum):
    """How a dated copy stores unchanged files."""

    COMPLETE = "complete"        # every file is in its folder, unchanged ones as hard links
    CHANGES = "changes"          # only what is new or changed; the list says in which earlier folder the rest lies


class DateFacts(NamedTuple):
    """What is told everybody of one dated copy: no names of files."""

    name: str
    taken: str
    layout: str
    files: int = 0
    bytes: int = 0
    added: int = 0                   # bytes
    new: int = 0
    changed: int = 0
    gone: int = 0
    skipped: int = 0
    kept: int = 0
    hold: bool = False
    pinned: bool = False
    damaged: int = 0                 # files that a check found so
    checked: str = ""                # when it was last read again, whatever was found
    listed: bool = False             # the page has its names


class SetFacts(NamedTuple):
    """What is told everybody of a set; dated copies by their names, times as ISO 8601 text, empty where there is none."""

    name: str
    host: str = ""                   # the computer whose copies these are
    dates: Tuple[DateFacts, ...] = ()    # of the whole dated copies, in their order
    checks: Tuple[Tuple[str, str, int], ...] = ()    # the last of each kind, newest first: when, what, how much was damaged
    others: Tuple[str, ...] = ()     # the newest dates of what the newest does not hold
    unlisted: int = 0                # dated copies of which no list can be read
    checked: str = ""                # all of it was read again then, or later
    checked_bad: bool = False        # damage was found since
    checked_in_part: bool = False    # some of it was read
    held_by: str = ""                # the dated copy by which it is on hold
    before_hold: str = ""            # the newest one before that

    @property
    def oldest(self) -> str:
        """Give the first date."""
        return self.dates[0].name

    @property
    def newest(self) -> str:
        """Give the last date."""
        return self.dates[-1].name

    @property
    def parts(self) -> Set[str]:
        """Give the dates that have only what was new or had changed."""
        return {one.name for one in self.dates if one.layout != Layout.COMPLETE.value}

    @property
    def spoiled(self) -> bool:
        """Tell whether what is newest may be spoiled, and there is something before that."""
        return bool(self.held_by and self.before_hold)

    @property
    def best(self) -> str:
        """Give the last date that is not probably spoiled."""
        return self.before_hold if self.spoiled else self.newest

    @property
    def needed(self) -> Tuple[str, ...]:
        """Give the dates that hold the newest of everything, but for what may be spoiled."""
        return (self.best, *(one for one in self.others if one < self.best))


class DriveFacts(NamedTuple):
    """What is true of a drive, for the recovery plan and the recovery page: anybody may read these, so it names no file and no source."""

    label: str
    sets: Tuple[SetFacts, ...] = ()
    closed: Tuple[str, ...] = ()     # sets that this user may not read
    changes_names: bool = False      # the drive does not take every name
    page: bool = False               # the recovery page lies beside the plan


class Snapshot(NamedTuple):
    """One dated copy, as its manifest's first and last line describe it."""

    name: str
    state: State
    header: Mapping[str, Any] = {}
    end: Mapping[str, Any] = {}
    by_twin: bool = False            # the manifest itself is damaged

    @property
    def seq(self) -> int:
        """Give the place in the set's order; 0 where no manifest tells it."""
        return int(self.header.get("seq", 0))

    @property
    def sources(self) -> Mapping[str, str]:
        """Give the original path of each alias."""
        sources: Mapping[str, str] = self.header.get("sources", {})
        return sources


class Known(NamedTuple):
    """What an earlier manifest says of one entry: its '#' line, and its hash line if it is a file."""

    line: str
    hash_line: str = ""


class Block(NamedTuple):
    """One folder of a manifest: its path, its own line, and what is in it but not a folder."""

    path: str
    line: str
    entries: Dict[str, Known]


class Same(Enum):
    """What the comparison of a file with an earlier manifest says."""

    NEW = "new"              # nothing of that name before
    CHANGED = "changed"      # other size or time: read and stored
    DOUBTFUL = "doubtful"    # perhaps the same content: read, then decided
    UNCHANGED = "unmodified"  # not read


class Found(Enum):
    """The closed set of what a verification can find."""

    DIFFERS = "differs"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    MANIFEST = "manifest damaged"
    STRAY = "stray"


class Finding(NamedTuple):
    """One thing found by a verification."""

    kind: Found
    snapshot: str
    path: str
    detail: str = ""
    digest: str = ""


class Kind(Enum):
    """What can become of a path between two dated copies, or since one."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"
    RETYPED = "other type"       # a file that is a folder now, and the like
    METADATA = "metadata"        # the same content, with another time, mode, owner or attribute
    DOUBTFUL = "perhaps"         # only reading it would tell
    UNREAD = "not read"          # on one side it could not be read


class Change(NamedTuple):
    """One difference: sizes in bytes, before and after; of a whole folder the number of files, and their sizes added up."""

    kind: Kind
    path: str
    before: int = 0
    after: int = 0
    detail: str = ""
    origin: str = ""             # of what was moved: its earlier path
    files: int = 1
    is_folder: bool = False


class Abilities(NamedTuple):
    """What a drive was seen to do, by trying it."""

    hard_links: bool = True
    counts_links: bool = True     # st_nlink tells the truth
    symlinks: bool = True
    modes: bool = True
    time_step_ns: int = 1
    exact_names: bool = True      # two that differ in case, or in how a letter is composed, are two
    naming: Naming = Naming.BYTES
    decomposes: bool = False      # it takes letters in names apart, as HFS+ does

    def facts(self) -> Dict[str, Any]:
        """Give all this for JSON."""
        return {**self._asdict(), "naming": self.naming.value}


class Counts:
    """What a run has done so far; the summary is made of it."""

    def __init__(self) -> None:
        self.files: Dict[Same, int] = dict.fromkeys(Same, 0)
        self.dirs: Dict[Same, int] = dict.fromkeys(Same, 0)
        self.bytes = self.added = self.other = self.sockets = self.excluded = self.gone = self.kept = self.skipped = 0
        self.mended = self.moved = self.occupied = 0

    @property
    def total_files(self) -> int:
        """Count the files that the dated copy holds."""
        return sum(self.files.values())


class Note(NamedTuple):
    """One thing that needs a person's attention: a path as in the copy, and why."""

    path: str
    why: str


Notes = List[Note]
Stamp = Tuple[int, int]      # (st_dev, st_ino)
Watch = Callable[[int, int], None]       # is told how many files and bytes are done
Expect = Callable[[int, int], Watch]     # is told how many there will be (0: not known), and gives the watch
T = TypeVar("T")


class Pulse:
    """What the workers of a run share: how far each of them is, and the word to stop.

    `cells` may lie in memory that processes share: the first is the word to stop, the others
    hold the bytes that each worker has read.
    """

    def __init__(self, watch: Watch, cells: "memoryview") -> None:
        self.watch, self.cells, self.mine, self.files = watch, cells, 1, 0
        self.alone = True   # in this process and thread, which may tell

    def beat(self, size: int) -> None:
        """Count bytes that were read; raise Stopped when the run has ended elsewhere."""
        if self.cells[0]:
            raise Stopped
        self.cells[self.mine] += size  # two threads may lose a beat to each other: it is for the eye alone
        if self.alone:
            self.tell()

    def stop(self) -> None:
        """Tell every worker that the run has ended."""
        self.cells[0] = 1

    def tell(self) -> None:
        """Tell the watch how far the run is; only the main thread does. Raises KeyboardInterrupt when asked to end."""
        self.watch(self.files, sum(self.cells[1:]))

# --- 4. Policy: names and dates ----------------------------------------------------------------

SNAPSHOT_NAME = re.compile(r"(\d{4}-\d\d-\d\d_\d{6})(?:_([2-9]|[1-9]\d+))?", re.ASCII)
SET_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)
WHEN = re.compile(r"\d{4}(-\d\d(-\d\d(_\d{0,6}(_\d+)?)?)?)?", re.ASCII)


def snapshot_name(now: datetime, taken: Iterable[str]) -> str:
    """Name a dated copy by local time; `taken` are the names (with any ending) that are in use.

    >>> snapshot_name(datetime(2026, 11, 22, 23, 15, 7), ["2026-11-22_231507.incomplete"])
    '2026-11-22_231507_2'
    """
    in_use = {name.partition(".")[0] for name in taken}
    base = now.strftime("%Y-%m-%d_%H%M%S")
    names = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in in_use)


def parse_time(text: str) -> Optional[datetime]:
    """Read an ISO 8601 time with its offset from UTC; None for anything else.

    >>> parse_time("2026-11-22T23:15:07+01:00").utctimetuple().tm_hour
    22
    """
    try:
        moment = datetime.fromisoformat(text)
        moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


def why_no_set_name(name: str) -> str:
    """Say why `name` cannot name a set, or give an empty text.

    >>> why_no_set_name("annas-laptop"), why_no_set_name("nul.txt")
    ('', 'it is a device name on Windows')
    """
    if not SET_NAME.fullmatch(name) or name.strip(".") == "":
        return "only letters, digits, '.', '-' and '_' are possible (at most 100)"
    if name.endswith("."):
        return "Windows drops a dot at the end"
    if SNAPSHOT_NAME.fullmatch(name.partition(".")[0]):
        return "it looks like a dated copy"
    if name.partition(".")[0].casefold() in DEVICE_NAMES:
        return "it is a device name on Windows"
    if name.casefold() in TOP_NAMES:
        return "that name has another use on a drive"
    return ""


def set_name_for(host: str) -> str:
    """Make a set's name from a host's name.

    >>> set_name_for("Annas Laptop.local"), set_name_for("con")
    ('Annas-Laptop', 'con-set')
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", host.partition(".")[0]).strip("-")[:60] or "computer"
    return name + "-set" if why_no_set_name(name) else name


def why_no_alias(alias: str) -> str:
    """Say why `alias` cannot be a source's name on the drive, or give an empty text.

    >>> why_no_alias("Documents"), why_no_alias("sha256sums.old")
    ('', 'that name has another use in a dated copy')
    """
    if alias in ("", ".", "..", "-") or "/" in alias or "\0" in alias:
        return "it is no plain file name"
    if alias.casefold().startswith(MANIFEST.casefold()) or alias.casefold() == PART_NOTICE.casefold():
        return "that name has another use in a dated copy"
    return ""


def show(text: str) -> str:
    r"""Escape what could deceive or disturb a terminal: control, invisible and undecodable characters.

    >>> show("a\x1b[2J\udcff.txt")
    'a\\x1b[2J\\xff.txt'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else
                   f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else
                   char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text)


def quoted(text: str) -> str:
    """Write a word that a person gave, in quotes, so that blanks in it can be seen."""
    return f"'{show(text)}'"


def give_aliases(words: Sequence[Tuple[str, str]]) -> List[Tuple[str, str]]:
    """Give each source its name on the drive; `words` are (alias or "", path) pairs.

    Raises UsageError where two would have the same name, which some drives cannot tell apart
    by case alone.
    """
    named: Dict[str, str] = {}
    result: List[Tuple[str, str]] = []
    for given, path in words:
        alias = given or path.replace("\\", "/").rstrip("/").rpartition("/")[2].rstrip(":") or "root"
        why = why_no_alias(alias)
        if why:
            raise UsageError(f"{show(path)} cannot be called {quoted(alias)} on the drive ({why}); "
                             f"give it another name: NAME={show(path)}")
        other = named.setdefault(alias.casefold(), path)
        if other != path or any(path == earlier for _, earlier in result):
            if other == path:
                raise UsageError(f"{show(path)} is named twice; name it once")
            raise UsageError(f"{show(other)} and {show(path)} would both be called {quoted(alias)} on the drive; "
                             f"give one another name, for example: {show(alias)}-2={show(path)}")
        result.append((alias, path))
    return result


def path_in_copy(path: str, sources: Mapping[str, str]) -> str:
    """Translate a path with slashes, as in the copy or as it was on the computer, to the copy's. Raises UsageError.

    >>> path_in_copy("/home/anna/Documents/x/", {"Documents": "/home/anna/Documents"})
    'Documents/x'
    """
    plain = path.rstrip("/")
    if not plain.strip("./"):
        raise UsageError(f"there is no {quoted(path)} in a dated copy; to have all of it back name no path")
    for alias, origin in sources.items():
        top, whole = origin, plain
        if re.match(r"[A-Za-z]:\\|\\\\", origin):  # of a Windows computer, where case does not count
            top, slashed = origin.replace("\\", "/").rstrip("/"), path.replace("\\", "/").rstrip("/")
            whole = top + slashed[len(top):] if slashed[:len(top)].casefold() == top.casefold() else slashed
        if whole == top or whole.startswith(top.rstrip("/") + "/"):
            plain = whole
            return "/".join(part for part in (alias, plain[len(top):].strip("/")) if part)
    while plain.startswith("./"):
        plain = plain[2:]
    return plain.lstrip("/")


def holding(paths: Sequence[str], snapshots: Sequence[Snapshot]) -> List[Snapshot]:
    """Leave out the dated copies that do not hold the sources of these paths, unless that leaves none."""
    able = [one for one in snapshots if one.state is not State.WHOLE or all(
        path_in_copy(path, one.sources).split("/")[0] in one.sources for path in paths)]
    return able if any(one.state is State.WHOLE for one in able) else list(snapshots)


def held_elsewhere(chosen: Snapshot, snapshots: Sequence[Snapshot]) -> Dict[str, str]:
    """Say of each source that a dated copy does not hold, in which one up to its time it is; the newest."""
    whole = sorted((one for one in snapshots if one.state is State.WHOLE and one.seq < chosen.seq), key=lambda one: one.seq)
    return {alias: one.name for one in whole for alias in one.sources if alias not in chosen.sources}


def choose_snapshot(when: str, snapshots: Sequence[Snapshot], way: str = "write latest, or a date such as 2026-11-22") -> Snapshot:
    """Find the dated copy that a person means by `when`: 'latest', a date, or its beginning.

    The newest whole copy that begins so is taken, else the newest one before it. `way` says what helps where it is no date.
    Raises UsageError where there is none, or where `when` is no date.

    >>> copies = [Snapshot(f"2026-11-{day}_120000", State.WHOLE, {"seq": day}) for day in (20, 22)]
    >>> choose_snapshot("2026-11", copies).name, choose_snapshot("2026-11-21", copies).name
    ('2026-11-22_120000', '2026-11-20_120000')
    """
    whole = sorted((one for one in snapshots if one.state is State.WHOLE), key=lambda one: one.seq)
    if not whole:
        raise UsageError("there is no whole dated copy here yet")
    if when == "latest":
        return whole[-1]
    text = re.sub(r"[ T]", "_", when.strip(), count=1).replace(":", "")
    if not WHEN.fullmatch(text):
        raise UsageError(f"{quoted(when)} is no date; {way}")
    if any(one.name == text and one.state is State.DAMAGED for one in snapshots):
        raise DamagedCopy(f"the list of {text} and its second list are damaged, so nothing of it can be proved; take another date, "
                          "or copy its folder by hand")
    begins = [one for one in whole if one.name == text] or [one for one in whole if one.name.startswith(text)]
    before = [one for one in whole if one.name < text]
    if not begins and not before:
        raise UsageError(f"there is no dated copy from {show(when)} or before; the first one is {whole[0].name}")
    return (begins or before)[-1]


def plain_parts(path: str) -> Tuple[str, ...]:
    """Split a path of a manifest; raise ManifestDamaged if a part of it could lead elsewhere.

    >>> plain_parts("Documents/a b")
    ('Documents', 'a b')
    """
    parts = tuple(path.split("/"))
    if not PATH_ONLY.isdisjoint(parts) or "\0" in path:
        raise ManifestDamaged(f"the path {quoted(path[:200])} leads elsewhere")
    return parts


def name_bytes(name: str) -> bytes:
    """Give a name as the bytes that lie on the disk; names are ordered by them."""
    return name.encode(*NAME_CODEC)


def fitting(name: str, ending: str, limit: int = 255) -> str:
    """Add an ending to a file name, shortening the name so that the whole fits `limit` bytes.

    >>> fitting("photo.jpg", ".damaged"), len(fitting("x" * 255, ".damaged"))
    ('photo.jpg.damaged', 255)
    """
    while len(name_bytes(name + ending)) > limit:
        name = name[:-1]
    return name + ending


REFUSED = {
    Naming.TEXT: re.compile("[\ud800-\udfff]"),
    Naming.PORTABLE: re.compile('[\0-\x1f\x7f<>:"|?*\\\\\ud800-\udfff]'),
    Naming.ASCII: re.compile(r'[^ -~]|[<>:"|?*\\]'),
}


def stricter(one: Naming, other: Naming) -> Naming:
    """Give that one of two kinds that takes fewer names."""
    return max(one, other, key=list(Naming).index)


UTF_8 = ("utf-8", "surrogateescape")


def percent(text: str) -> str:
    """Write characters as a web address does, each of their bytes as %XX."""
    return "".join(f"%{byte:02X}" for byte in text.encode(*UTF_8))


def fits(name: str) -> bool:
    """Tell whether a name is short enough for every file system, and for every computer that a drive is carried to."""
    return len(name) < 64 or len(name_bytes(name)) <= 255


def told_apart(name: str, original: str) -> str:
    """Put a few digits that stand for the original name before the ending of a name.

    >>> told_apart("notes.txt", "Notes.txt")
    'notes~aa53ccca.txt'
    """
    stem, dot, ending = name.rpartition(".")
    if not stem or len(name_bytes(ending)) > 20:
        stem, dot, ending = name, "", ""
    return fitting(stem, f"~{hashlib.sha256(name_bytes(original)).hexdigest()[:8]}{dot}{ending}")


def storable(name: str, naming: Naming, decomposes: bool = False) -> str:
    """Give the name under which a drive of this kind holds what is called `name`: the same, wherever it can.

    It is to be read, not to be read back: the list has the original name.

    >>> storable("a: b?.txt", Naming.PORTABLE), storable("nul.txt", Naming.PORTABLE), storable("end.", Naming.PORTABLE)
    ('a%3A b%3F.txt', 'nu%6C.txt', 'end%2E')
    """
    if naming is Naming.BYTES and not decomposes:
        return name if fits(name) else told_apart(name, name)
    text = name_bytes(name).decode(*UTF_8)  # a locale may hide from Python that a name is text
    text = REFUSED[naming].sub(lambda found: percent(found.group()), text) if naming in REFUSED else text
    if naming in (Naming.PORTABLE, Naming.ASCII):
        stem = text.partition(".")[0].rstrip(" ")
        if stem.casefold() in DEVICE_NAMES:
            text = stem[:-1] + percent(stem[-1]) + text[len(stem):]
        if text.endswith((".", " ")):
            text = text[:-1] + percent(text[-1])
    if decomposes and not text.isascii():
        import unicodedata  # here, because hardly a drive changes names
        text = unicodedata.normalize("NFD", text)
    text = text.encode(*UTF_8).decode(*NAME_CODEC)
    return text if fits(text) else told_apart(text, name)


def folded(name: str) -> str:
    """Give what names share that some drive takes for one: one may hold fewer letters than another, and none is asked.

    >>> folded("Docs.") == folded("docs"), folded("u\u0308") == folded("\u00dc")
    (True, True)
    """
    if not name.isascii():
        import unicodedata  # here, because most names do without
        name = name_bytes(name).decode(*UTF_8)
        name = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).upper().casefold())
    return name.casefold().rstrip(". ")


def folders_above(path: str) -> Iterator[str]:
    """Give the folders on the way to a path, from the innermost on.

    >>> list(folders_above("a/b/c"))
    ['a/b', 'a']
    """
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def byte_order(names: Iterable[str]) -> Optional[Callable[[str], bytes]]:
    """Give the key that sorts names by their bytes; none where text sorts so by itself, which is three times as fast."""
    return None if "".join(names).isascii() else name_bytes


def folder_key(path: str) -> Tuple[bytes, ...]:
    """Give the place of a folder in a manifest: folder by folder, by the bytes of each name.

    >>> folder_key("a/b") < folder_key("a-b")
    True
    """
    return tuple(name_bytes(path).split(b"/")) if path else ()


def shell_word(text: str) -> str:
    """Quote a word for a POSIX shell, so that a command in a message can be used as it is.

    >>> shell_word("My Disk")
    "'My Disk'"
    """
    if re.match(r"([^=/]+=)?([A-Za-z]:)?\\", text):  # a path of Windows, where only double quotes serve
        return text if re.fullmatch(r"[\w@+=:,.\\~-]+", text) else '"' + show(text).rstrip("\\") + '"'
    return text if re.fullmatch(r"[\w@%+=:,./~-]+", text, re.ASCII) else "'" + show(text).replace("'", "'\\''") + "'"


def count_text(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun.

    >>> count_text(1, "file"), count_text(78579, "file")
    ('1 file', '78,579 files')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size_text(count: float) -> str:
    """Write a number of bytes for people, in the decimal units that disks are sold in.

    >>> size_text(999), size_text(1298681992)
    ('999 B', '1.3 GB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while count >= 999.5 and power < len(units) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.0f} {units[power]}" if power == 0 or count >= 99.5 else f"{count:.1f} {units[power]}"


# --- 5. Policy: excludes -----------------------------------------------------------------------

CACHE_TAG = "CACHEDIR.TAG"
CACHE_SIGNATURE = b"Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/


Segment = Optional["re.Pattern[str]"]    # what one name of a path must match; None: any number of names ("**")


class Pattern(NamedTuple):
    """One line of exclude patterns: what it matches and what that means."""

    segments: Tuple[Segment, ...]
    whole_path: bool             # matched against the path below the source, not the last name alone
    folders_only: bool
    includes: bool               # "!": takes back an earlier exclusion
    text: str
    where: str = ""              # which file and line, or option, it comes from


NAMED_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r" \t\n\r",
    "blank": r" \t", "punct": re.escape(string.punctuation), "xdigit": "0-9a-fA-F", "cntrl": r"\x00-\x1f\x7f",
    "print": r"\x20-\x7e", "graph": r"\x21-\x7e"}


def class_character(glob: str, at: int) -> Tuple[str, int]:
    """Read one character of a bracket expression, perhaps behind a backslash; give it and where it ends."""
    at += glob[at:at + 1] == "\\"
    if at >= len(glob):
        raise UsageError(f"the exclude pattern {quoted(glob)} has a '[' without its ']'; write \\[ for the character itself")
    return glob[at], at + 1


def class_regex(glob: str, at: int) -> Tuple[str, int]:
    """Translate the bracket expression that opens just before `at`; give it and where it ends.

    Raises UsageError for one that is never closed or makes no sense: git would match nothing at
    all, and an exclude that silently does nothing deserves a word.
    """
    negated = glob[at:at + 1] in ("!", "^") and at < len(glob)
    at += negated
    start, items = at, []
    while glob[at:at + 1] != "]" or at == start:
        named = re.compile(r"\[:([^]]*):\]").match(glob, at)
        if named:
            if named.group(1) not in NAMED_CLASSES:
                raise UsageError(f"the exclude pattern {quoted(glob)} names an unknown class of characters")
            items.append(NAMED_CLASSES[named.group(1)])
            at = named.end()
            continue
        low, at = class_character(glob, at)
        if glob[at:at + 1] == "-" and glob[at + 1:at + 2] not in ("]", ""):
            high, at = class_character(glob, at + 1)
            if high < low:
                raise UsageError(f"the exclude pattern {quoted(glob)} has an impossible range: {show(low)}-{show(high)}")
            items.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            items.append(re.escape(low))
    return f"[{'^' if negated else ''}{''.join(items)}]", at + 1


def name_regex(pieces: Sequence[str]) -> "re.Pattern[str]":
    """Make the expression of one name from what stands between its stars.

    Each piece has a fixed length, so the first place where it fits is as good as any; the
    look-ahead keeps it there, and many stars take no more time than one.
    """
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    middle = "".join(f"(?=(?P<p{number}>.*?{piece}))(?P=p{number})" for number, piece in enumerate(pieces[1:-1]) if piece)
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", re.DOTALL)


def parse_glob(glob: str) -> Tuple[Segment, ...]:
    r"""Translate a gitignore glob, name by name of the path (gitignore(5), "PATTERN FORMAT").

    `*` and `?` stop at a slash, `**` as a whole name crosses folders, a class in brackets never
    matches a slash, a backslash takes the next character literally. Raises UsageError.

    >>> [segment and segment.pattern for segment in parse_glob("a/**/b?")]
    ['a', None, 'b.']
    """
    names: List[List[str]] = [[""]]      # of each name the pieces between its stars
    at = 0
    while at < len(glob):
        char, at = glob[at], at + 1
        if char == "/":
            names.append([""])
        elif char == "*":
            names[-1].append("")
        elif char == "[":
            piece, at = class_regex(glob, at)
            names[-1][-1] += piece
        elif char == "\\":
            if at == len(glob):
                raise UsageError(f"the exclude pattern {quoted(glob)} ends with a backslash; write two for the character itself")
            if glob[at] != "/":  # an escaped slash is a slash
                names[-1][-1] += re.escape(glob[at])
                at += 1
        else:
            names[-1][-1] += "." if char == "?" else re.escape(char)
    segments = [None if len(pieces) > 2 and not any(pieces) else name_regex(pieces) for pieces in names]
    if len(segments) > 1 and segments[-1] is None:
        segments.append(name_regex(["", ""]))   # "a/**" is what is in a, not a itself
    return tuple(segments)


def parse_pattern(text: str, ignore_case: bool = False, where: str = "") -> Optional[Pattern]:
    """Read one line of gitignore; None for a blank line or a comment. Raises UsageError for one that makes no sense.

    `where` says where it stands.

    >>> parse_pattern("!/build/").includes, parse_pattern("# no") is None
    (True, True)
    """
    glob = re.sub(r"(?<!\\)((?:\\\\)*) +$", r"\1", text.rstrip("\r\n"))
    if not glob or glob.startswith("#"):
        return None
    includes = glob.startswith("!")
    glob = glob[includes:]
    folders_only = glob.endswith("/")
    glob = glob[:-1] if folders_only else glob
    whole_path = "/" in glob
    glob = glob[glob.startswith("/"):]
    if not glob:
        raise UsageError(f"the exclude pattern {quoted(text)} would leave out everything; name a folder or file")
    segments = parse_glob(glob)
    if ignore_case:
        segments = tuple(one and re.compile(one.pattern, re.DOTALL | re.IGNORECASE) for one in segments)
    return Pattern(segments, whole_path, folders_only, includes, text, where)


NOTHING = re.compile("(?!)")


def path_matches(segments: Sequence[Segment], names: Sequence[str]) -> bool:
    """Match a path, name by name; "**" takes as few names as it can, and more when that leads nowhere."""
    at = done = 0
    star = star_done = -1
    while done < len(names):
        segment = segments[at] if at < len(segments) else NOTHING
        if segment is None:
            star, star_done, at = at, done, at + 1
        elif segment.fullmatch(names[done]):
            at, done = at + 1, done + 1
        elif star >= 0:
            star_done += 1
            at, done = star + 1, star_done
        else:
            return False
    return all(segment is None for segment in segments[at:])


def excluded(path: str, is_folder: bool, patterns: Sequence[Pattern]) -> bool:
    """Tell whether a path below its source is left out: the last pattern that matches decides.

    >>> rules = [parse_pattern("*.o"), parse_pattern("!keep.o")]
    >>> excluded("a/b.o", False, rules), excluded("a/keep.o", False, rules)
    (True, False)
    """
    names = path.split("/")
    for pattern in reversed(patterns):
        if (is_folder or not pattern.folders_only) and path_matches(
                pattern.segments, names if pattern.whole_path else names[-1:]):
            return not pattern.includes
    return False


def deciding(path: str, is_folder: bool, patterns: Sequence[Pattern]) -> Optional[Pattern]:
    """Give the pattern that decides about a path below its source: the last that matches; None where none does.

    >>> deciding("a/keep.o", False, [parse_pattern("*.o"), parse_pattern("!keep.o"), parse_pattern("*.c")]).text
    '!keep.o'
    """
    return next((one for one in reversed(patterns) if excluded(path, is_folder, [one._replace(includes=False)])), None)


class Sought(NamedTuple):
    """What one word of a person seeks in a dated copy: a path as it is spelt or, by its pattern, whatever matches."""

    word: str                    # as it was said
    path: str                    # as in the copy
    anywhere: bool               # a name at any depth, as it has no slash
    pattern: Optional[Pattern]   # none where it makes no sense as one
    hint: str                    # stands in every line of what is sought; empty where nothing is known to

    @property
    def is_wild(self) -> bool:
        """Tell whether it can match more than one path."""
        return self.pattern is not None and re.search(r"[*?\[]", self.word) is not None

    def is_spelt(self, path: str, is_folder: bool) -> bool:
        """Tell whether this very path is meant."""
        spelt = path == self.path or (self.anywhere and path.endswith("/" + self.path))
        return spelt and (is_folder or not self.word.endswith("/"))

    def matches(self, path: str, is_folder: bool) -> bool:
        """Tell whether the pattern matches a path of the copy."""
        if self.pattern is None or (self.pattern.folders_only and not is_folder):
            return False
        names = path.split("/")
        return path_matches(self.pattern.segments, names if self.pattern.whole_path else names[-1:])


# What ends such a piece: an escape, a class of characters and all behind it, a wildcard, what some lists write otherwise.
NOT_PLAIN = re.compile("\\\\.|\\[.*|[*?\0-\x20\\\\\x7f-\xa0\ud800-\udfff]", re.DOTALL)


def plain_part(glob: str) -> str:
    """Give a long piece of a pattern, of its last name if possible, that stands for itself, and that every form of a list writes as it is.

    >>> plain_part("Documents/**/report*.odt"), plain_part("Documents/*"), plain_part("[ab]c")
    ('report', 'Documents', '')
    """
    def longest(text: str) -> str:
        return max((piece.strip("/") for piece in NOT_PLAIN.split(text)), key=len)

    name = longest(glob.rpartition("/")[2]) if "[" not in glob else ""
    return name if len(name) > 2 else longest(glob)


def sought(word: str, sources: Mapping[str, str], ignore_case: bool = False) -> Sought:
    """Read a word (with slashes) of who seeks something: a path as in the copy or as it was on the computer, or a pattern.

    Patterns are gitignore's; one with a slash is anchored at the top of the copy, where the sources are. Raises UsageError for nothing.

    >>> one = sought("/home/anna/Documents/*.odt", {"Documents": "/home/anna/Documents"})
    >>> one.path, one.matches("Documents/a.odt", False), one.matches("Documents/b/a.odt", False), one.hint
    ('Documents/*.odt', True, False, '.odt')
    """
    path = path_in_copy(word, sources)
    glob = path_in_copy(word, {re.sub(r"([*?\[\\])", r"\\\1", alias): origin for alias, origin in sources.items()})
    anywhere = "/" not in (word[2:] if word.startswith("./") else word).rstrip("/")
    folders_only = "/" if word.endswith("/") else ""
    try:
        pattern = parse_pattern((re.sub("^(?=[!#])", r"\\", glob) if anywhere else "/" + glob) + folders_only, ignore_case)
    except UsageError:
        pattern = None
    return Sought(word, path, anywhere, pattern, "" if ignore_case else plain_part(glob))


# --- 6. Policy: retention ----------------------------------------------------------------------

UNLIMITED = -1
YEAR = timedelta(days=366)
AHEAD = timedelta(minutes=5)     # clocks differ by as much; a date further ahead of now was written by a wrong one


class Duration(NamedTuple):
    """A stretch of the calendar; all zero: none."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    def __str__(self) -> str:
        """Write it as `parse_duration` reads it."""
        return "".join(f"{count}{word[0]}" for word, count in zip(self._fields, self) if count)


class Retention(NamedTuple):
    """Which dated copies stay: so many copies, hours, days ...; 0 is no such rule, UNLIMITED has no end."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Duration = Duration()


DEFAULT_RETENTION = Retention(last=3, daily=7, weekly=5, monthly=12, yearly=10)


class Period(NamedTuple):
    """A rule that counts: its field of Retention, what it counts, and which local times share a slot (for strftime)."""

    rule: str
    noun: str
    plural: str
    slot: str


PERIODS = (
    Period("last", "copy", "copies", ""),           # each copy has a slot of its own
    Period("hourly", "hour", "hours", "%Y-%m-%d %Hh"),
    Period("daily", "day", "days", "%Y-%m-%d"),
    Period("weekly", "week", "weeks", "%G-W%V"),    # an ISO week has its own year
    Period("monthly", "month", "months", "%Y-%m"),
    Period("yearly", "year", "years", "%Y"))


class Dated(NamedTuple):
    """What retention must know of a whole dated copy; two of the same sources are of one group."""

    name: str
    seq: int
    taken: datetime                      # with the offset from UTC that its computer had: slots are of local time
    sources: FrozenSet[Tuple[str, str]] = frozenset()    # (alias, path)
    pinned: Optional[str] = None         # the note, perhaps an empty one


class Verdict(NamedTuple):
    """What becomes of a dated copy is said by the list it is in; here are the reasons, in plain words."""

    name: str
    reasons: Tuple[str, ...]


class Plan(NamedTuple):
    """A rotation before it is carried out, oldest copies first; `spare` are those that stay unless room is wanted."""

    keep: List[Verdict]
    remove: List[Verdict]
    spare: Sequence[Verdict] = ()
    damaged: Sequence[Verdict] = ()      # of those that stay, the ones whose list cannot be read


def parse_count(text: str) -> int:
    """Read how many copies, days ... a rule keeps: a number or 'unlimited' (restic's forget). Raises UsageError.

    >>> parse_count("7"), parse_count("unlimited") == UNLIMITED
    (7, True)
    """
    if text == "unlimited":
        return UNLIMITED
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise UsageError(f"{quoted(text)} is no number of dated copies to keep; write 0 or more, or unlimited")
    return int(text)


def parse_duration(text: str) -> Duration:
    """Read restic's form of a duration: years, months, days and hours, in any order. Raises UsageError.

    >>> parse_duration("1y5m7d2h")
    Duration(years=1, months=5, days=7, hours=2)
    """
    pieces = re.findall(r"(\d+)([ymdh])", text, re.ASCII)
    units = {unit: count for count, unit in pieces}
    if not re.fullmatch(r"(?:\d{1,9}[ymdh])+", text.strip(), re.ASCII) or len(units) < len(pieces):
        raise UsageError(f"{quoted(text)} is no duration; write years, months, days and hours, each once, as in 1y5m7d2h "
                         "(two weeks: 14d)")
    return Duration(*(int(units.get(word[0], 0)) for word in Duration._fields))


def check_retention(retention: Retention) -> None:
    """Refuse an empty policy: what is meant by it, everything or nothing, cannot be known. Raises UsageError.

    >>> check_retention(Retention(daily=7))
    """
    if not any(getattr(retention, period.rule) for period in PERIODS) and not any(retention.within):
        raise UsageError("these rules keep nothing at all; say how much to keep, for example: --keep-daily 7")


def parse_retention(words: Mapping[str, str]) -> Retention:
    """Read what was said for the fields of a Retention; nothing said is the default. Raises UsageError.

    >>> parse_retention({"daily": "7", "within": "1y"}).daily, parse_retention({}) == DEFAULT_RETENTION
    (7, True)
    """
    if not words:
        return DEFAULT_RETENTION
    values: Dict[str, Any] = {}
    for field, text in words.items():
        try:
            values[field] = parse_duration(text) if field == "within" else parse_count(text)
        except UsageError as err:
            raise UsageError(f"keep-{field}: {err}") from err
    retention = Retention(**values)
    check_retention(retention)
    return retention


def count_back(moment: datetime, duration: Duration) -> Optional[datetime]:
    """Go back by the calendar, as Go's AddDate does, which restic uses; None where the calendar does not reach.

    A day that a month has not runs over into the next one.

    >>> count_back(datetime(2026, 3, 31, 12), Duration(months=1)).isoformat()
    '2026-03-03T12:00:00'
    """
    months = (moment.year - duration.years) * 12 + moment.month - 1 - duration.months
    try:
        first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
        return first + timedelta(days=moment.day - 1 - duration.days, hours=-duration.hours)
    except (ValueError, OverflowError):
        return None


def ordinal(number: int) -> str:
    """Write a place in an order.

    >>> [ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def enumerate_words(words: Sequence[str]) -> str:
    """Write a list as people do.

    >>> enumerate_words(["day", "week", "month"])
    'day, week and month'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def first_of(words: Sequence[str], shown: int = 10) -> str:
    """Write the first words of a list, and how many there are beside.

    >>> first_of(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    rest = len(words) - shown
    return f"{', '.join(words[:shown])} and {rest:,} more" if rest > 0 else enumerate_words(words)


def slot_of(copy: Dated, period: Period) -> str:
    """Name the hour, day ... of a dated copy, by the local time at which it was taken."""
    return copy.taken.strftime(period.slot) if period.slot else copy.name


def fill_slots(newest_first: Sequence[Dated], period: Period, count: int) -> Dict[str, Tuple[Dated, Dated]]:
    """Give the `count` newest slots that have a copy, each with the copy made last and the one dated last.

    They are two only where a clock was wrong, and it is not known which of them is right: both stay.
    """
    slots: Dict[str, Tuple[Dated, Dated]] = {}
    for copy in newest_first:
        slot = slot_of(copy, period)
        if slot in slots:
            made, dated = slots[slot]
            slots[slot] = made, (copy if copy.taken > dated.taken else dated)
        elif count == UNLIMITED or len(slots) < count:
            slots[slot] = copy, copy
    return slots


def within_reach(newest_first: Sequence[Dated], duration: Duration) -> Set[str]:
    """Name the copies that are younger than `duration` before the newest one.

    None is older than one that was made before it, whatever its date says: a clock was wrong.
    """
    limit = count_back(newest_first[0].taken, duration)
    times = itertools.accumulate((copy.taken for copy in reversed(newest_first)), max)
    return {copy.name for copy, time in zip(reversed(newest_first), times) if limit is None or time > limit}


Slots = Dict[Period, Dict[str, Tuple[Dated, Dated]]]


def reasons_to_keep(group: Sequence[Dated], ahead: Set[str], retention: Retention, slots: Slots) -> Dict[str, List[str]]:
    """Say what keeps each copy of a group, newest first; the dates of those `ahead` lie in the future."""
    reasons: Dict[str, List[str]] = {copy.name: [] for copy in group}
    reasons[group[0].name].append("newest copy")     # whatever the rules say
    for copy in group:
        if copy.name in ahead:
            reasons[copy.name].append("date in the future")
        if copy.pinned is not None:
            reasons[copy.name].append(f"pinned: {show(copy.pinned)}" if copy.pinned else "pinned")
    counted = [copy for copy in group if copy.name not in ahead]
    if counted and any(retention.within):
        for name in within_reach(counted, retention.within):
            reasons[name].append(f"within {retention.within} of the newest copy")
    for period, filled in slots.items():
        count = getattr(retention, period.rule)
        for place, (slot, (made, dated)) in enumerate(filled.items(), 1):
            last = f"last {'unlimited' if count == UNLIMITED else count} ({ordinal(place)})"
            reasons[made.name].append(f"{period.rule}: newest of {slot}" if period.slot else last)
            if dated is not made:
                reasons[dated.name].append(f"{period.rule}: latest date in {slot}")
    return reasons


def reasons_to_remove(copy: Dated, retention: Retention, slots: Slots) -> Tuple[str, ...]:
    """Say which newer copies took the slots of one that nothing keeps."""
    takers: Dict[str, List[str]] = {}
    full: List[str] = []
    for period, filled in slots.items():
        slot, count = slot_of(copy, period), getattr(retention, period.rule)
        if slot in filled:
            takers.setdefault(filled[slot][0].name, []).append(period.noun)
        else:
            full.append(f"{count} {period.noun if count == 1 else period.plural}")
    reasons = [f"{name} is the newest of that {enumerate_words(nouns)}" for name, nouns in takers.items()]
    if full:
        reasons.append(f"older than the {enumerate_words(full)} kept")
    if any(retention.within):
        reasons.append(f"not within {retention.within} of the newest copy")
    return tuple(reasons)


def plan_rotation(copies: Iterable[Dated], retention: Retention, now: datetime) -> Plan:
    """Decide which whole dated copies of a set stay: what any rule keeps, for each group of same sources by itself.

    The rules are those of restic's forget before version 0.16 (its manual: "Removing snapshots
    according to a policy"), which keeps no oldest copy for its age alone.  The order is that of
    the numbers, never that of the dates: one dated in the future stays and takes no slot, and
    the newest stays, whatever its date.  A pinned copy stays; for the others all is as if it
    were not pinned.  Raises UsageError for an empty policy.

    >>> days = [Dated(f"2026-11-2{day}_230000", day, datetime(2026, 11, 20 + day, 23, tzinfo=timezone.utc)) for day in (1, 2)]
    >>> plan = plan_rotation(days, Retention(monthly=12), datetime(2026, 11, 23, tzinfo=timezone.utc))
    >>> plan.keep, plan.remove[0].reasons
    ([Verdict(name='2026-11-22_230000', reasons=('newest copy', 'monthly: newest of 2026-11'))], \
('2026-11-22_230000 is the newest of that month',))
    """
    check_retention(retention)
    oldest_first = sorted(copies, key=lambda copy: (copy.seq, copy.taken, copy.name))
    groups: Dict[FrozenSet[Tuple[str, str]], List[Dated]] = {}
    for copy in reversed(oldest_first):
        groups.setdefault(copy.sources, []).append(copy)
    keep: Dict[Dated, Tuple[str, ...]] = {}
    remove: Dict[Dated, Tuple[str, ...]] = {}
    for group in groups.values():
        ahead = {copy.name for copy in group if copy.taken - now > AHEAD}
        counted = [copy for copy in group if copy.name not in ahead]
        slots = {period: fill_slots(counted, period, getattr(retention, period.rule))
                 for period in PERIODS if getattr(retention, period.rule)}
        reasons = reasons_to_keep(group, ahead, retention, slots)
        keep.update((copy, tuple(reasons[copy.name])) for copy in group if reasons[copy.name])
        remove.update((copy, reasons_to_remove(copy, retention, slots)) for copy in group if not reasons[copy.name])
    return Plan([Verdict(copy.name, keep[copy]) for copy in oldest_first if copy in keep],
                [Verdict(copy.name, remove[copy]) for copy in oldest_first if copy in remove])


class Space(NamedTuple):
    """How much of a drive shall be free: bytes, or a share of it in percent; both zero: nothing is asked for."""

    size: int = 0
    percent: float = 0

    def __str__(self) -> str:
        """Write it as `parse_space` reads it."""
        power = next(power for power in range(1, 5) if self.size < 10**6 * 1000**power or power == 4)
        return f"{self.percent:g}%" if self.percent else f"{self.size / 1000**power:.3f}{' KMGT'[power]}"

    @property
    def wanted(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self.size or self.percent)

    def is_there(self, free: int, total: int) -> bool:
        """Tell whether so much is free; `free` and `total` in bytes."""
        return free >= self.size and free * 100 >= total * self.percent


def parse_space(text: str) -> Space:
    """Read a size (50G, 500MB, 2GiB) or a share of the drive (10%). Raises UsageError.

    >>> parse_space("50G"), parse_space("10%")
    (Space(size=50000000000, percent=0), Space(size=0, percent=10.0))
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?) ?(%|([kmgt])(i?)b?)", text.strip(), re.ASCII | re.IGNORECASE)
    if text.strip() == "0":
        return Space()
    if not found or (found.group(2) == "%" and float(found.group(1)) >= 100):
        raise UsageError(f"{quoted(text)} is no size; write it as 50G or 500M, or as a share of the drive: 10%")
    number, unit, letter, binary = found.groups()
    if unit == "%":
        return Space(percent=float(number))
    power = " KMGT".index(letter.upper())
    return Space(int(float(number) * (1024 if binary else 1000) ** power))


class Rotation(NamedTuple):
    """What a person wants of a rotation: what is kept, and how much of the drive shall be free after it."""

    retention: Retention = DEFAULT_RETENTION
    min_free: Space = Space()


def spare_copies(plan: Plan, copies: Sequence[Dated], now: datetime) -> List[Verdict]:
    """Name the dated copies that may go, oldest first, when room is wanted beyond a plan.

    Never the newest of a group, a pinned one, one dated in the future, or the last one left of its month.
    """
    kept = {one.name for one in plan.keep}
    left = sorted((copy for copy in copies if copy.name in kept), key=lambda copy: copy.seq)
    months = Counter((copy.sources, copy.taken.strftime("%Y-%m")) for copy in left)
    newest = {copy.sources: copy.name for copy in left}
    spare = []
    for copy in left:
        month = copy.sources, copy.taken.strftime("%Y-%m")
        if copy.name != newest[copy.sources] and copy.pinned is None and copy.taken - now <= AHEAD and months[month] > 1:
            months[month] -= 1
            spare.append(Verdict(copy.name, ("oldest that others of its month outlive; goes only while too little is free",)))
    return spare


def newest_whole(snapshots: Iterable[Snapshot]) -> Optional[Snapshot]:
    """Give the whole dated copy that was made last; None where there is none."""
    whole = sorted((one for one in snapshots if one.state is State.WHOLE), key=lambda one: one.seq)
    return whole[-1] if whole else None


LAYOUTS = frozenset(layout.value for layout in Layout)


def newer_unlisted(snapshots: Iterable[Snapshot], than: Snapshot) -> List[str]:
    """Name the dated copies that are newer than one by their names, and of which no list can be read."""
    return [one.name for one in snapshots if one.state is State.DAMAGED and one.name > than.name]


def need_each_other(snapshots: Iterable[Snapshot]) -> bool:
    """Tell whether dated copies of a set may need files in the folders of others."""
    return any(one.state is State.EXPIRED or one.header.get("layout") == Layout.CHANGES.value for one in snapshots)


def letting_go(name: str, snapshots: Iterable[Snapshot]) -> str:
    """Say how a person lets go of a dated copy whose lists are damaged, and of nothing that others need."""
    if need_each_other(snapshots):
        return (f"copy what you need of it by hand, then rename its list {MANIFEST} to {EXPIRED} (or make an empty file of that name); do "
                "not remove its folder, as other dates may need what is in it")
    return f"copy what you need of it by hand, then remove its folder and {TWINS}/{name}.gz"


def why_no_rotation(snapshots: Sequence[Snapshot]) -> str:
    """Say why nothing of a set may be deleted (a hold aside), or give an empty text."""
    unreadable = [one.name for one in snapshots if one.state is State.DAMAGED]
    if unreadable:
        return (f"the list of {unreadable[0]} is damaged, and its second list too, so it is not known what that date needs; "
                f"{letting_go(unreadable[0], snapshots)}")
    if newest_whole(snapshots) is None:
        return "there is no whole dated copy"
    if any(one.header.get("layout") not in LAYOUTS for one in snapshots if one.state is State.WHOLE):
        return "some dated copies share files in a way that this version does not know; use the newest snapback"
    return ""


def clock_trouble(newest: Optional[Snapshot], now: datetime) -> str:
    """Say why a clock is not trusted to delete by it, held against the dated copy made last; or give an empty text."""
    taken = parse_time(str(newest.header.get("taken", ""))) if newest else None
    if taken is None or newest is None:
        return ""
    clock = f"this computer's clock says {now:%Y-%m-%d %H:%M}"
    right = "make a new dated copy: the run after it deletes again"
    if taken - now > AHEAD:
        return f"{clock}, which is before the dated copy {newest.name}; set it right or, if it is right, {right}"
    if now - taken > YEAR:
        return f"{clock}, more than a year after the dated copy {newest.name}; if that is right, {right}"
    return ""


EARLY = timedelta(minutes=30)    # a schedule's run may start a little earlier than the one the day before


def is_longer(one: Duration, other: Duration) -> bool:
    """Tell whether a duration is longer than another, counted back over a January.

    >>> is_longer(Duration(months=1), Duration(days=30)), is_longer(Duration(days=7), Duration(hours=168))
    (True, False)
    """
    at = datetime(2026, 2, 1)
    one_end, other_end = count_back(at, one), count_back(at, other)
    return other_end is not None and (one_end is None or one_end < other_end)


def is_past(moment: Optional[datetime], span: Duration, now: datetime) -> bool:
    """Tell whether a moment lies so far back, or further; what is not known does.

    >>> is_past(datetime(2026, 11, 21), Duration(days=1), datetime(2026, 11, 22, 12))
    True
    """
    limit = count_back(now, span)
    return moment is None or (limit is not None and moment <= limit)


def is_due(taken: Optional[datetime], every: Duration, now: datetime) -> bool:
    """Tell whether it is time for the next dated copy; a little early is in time, and a date in the future is no reason to wait.

    >>> [is_due(datetime(2026, 11, 21, hour), Duration(days=1), datetime(2026, 11, 22, 11, 45)) for hour in (12, 13)]
    [True, False]
    """
    limit = count_back(now, every)
    early = min(EARLY, (now - limit) / 10) if limit else EARLY
    return is_past(taken, every, now + early) or (taken is not None and taken - now > AHEAD)


def is_fresh_due(shares_since: datetime, fresh_every: Duration, now: datetime) -> bool:
    """Tell whether it is time for a copy that shares nothing with earlier ones; a date in the future is no reason to wait.

    >>> is_fresh_due(datetime(2026, 11, 21), Duration(), datetime(2026, 11, 22))
    False
    """
    return any(fresh_every) and (is_past(shares_since, fresh_every, now) or shares_since - now > AHEAD)


# --- 7. Policy: comparison, and what may be a drive --------------------------------------------


def compare_words(now: Mapping[str, str], then: Mapping[str, str], racy: bool) -> Same:
    """Compare what a manifest's line would say of a file today with what an earlier one says.

    Size, modification and change time decide, never the inode number, which many file systems
    invent anew.  `racy`: the file was touched so late that it may have changed once more in the
    same tick of a coarse clock, so its times prove nothing.

    >>> old = {"size": "3", "time": "1.000000000", "ctime": "1.000000000", "ino": "7"}
    >>> compare_words({**old, "ino": "8"}, old, False)
    <Same.UNCHANGED: 'unmodified'>
    """
    if now["size"] != then.get("size"):
        return Same.CHANGED
    same_time = now["time"] == then.get("time")
    if same_time and now.get("ctime") == then.get("ctime") and not racy:
        return Same.UNCHANGED
    # large: reading it twice costs less than storing it for nothing
    return Same.DOUBTFUL if same_time or int(now["size"]) >= LARGE_FILE else Same.CHANGED


HIDDEN_WORDS = frozenset(("ctime", "ino", "nlink", "resdevice", "kept", "changing", "path"))


def plainly_same(now: Mapping[str, str], then: Mapping[str, str]) -> bool:
    """Tell whether all that a plain copy can show (mode, owner, time, attributes) is as before.

    >>> plainly_same({"mode": "0644", "ino": "7"}, {"mode": "0644", "ino": "8"})
    True
    """
    return {word: now[word] for word in now if word not in HIDDEN_WORDS} == {
        word: then[word] for word in then if word not in HIDDEN_WORDS}


RESTED = timedelta(days=30)      # a file untouched for so long is one that its owner wants as it is
SLOW = timedelta(days=7)         # over which slow damage is added up
LEAST_LOST = 50                  # files: fewer trip nothing
HOLD_AT = 50.0                   # percent lost, unless a person says otherwise


class Losses(NamedTuple):
    """What became of a source's files since the earlier copy: files in all, and those that are gone, unreadable or other now.

    The same of the files that had rested (RESTED), and of their bytes.
    """

    files: int = 0
    lost: int = 0
    rested: int = 0
    rested_lost: int = 0
    rested_bytes: int = 0
    rested_bytes_lost: int = 0

    def plus(self, other: "Losses") -> "Losses":
        """Add two up."""
        return Losses(*map(sum, zip(self, other)))


class Tripped(NamedTuple):
    """A threshold that was reached: of what, how much is lost of how much, in files and (of bytes) in bytes."""

    what: str
    lost: int
    of: int
    is_bytes: bool = False


def half_gone(lost: int, of: int, percent: float) -> bool:
    """Tell whether a share is lost that trips."""
    return of > 0 and lost * 100 >= of * percent


def trip_at_rest(losses: Mapping[str, Losses], percent: float) -> Optional[Tripped]:
    """Judge the files that had rested alone: what is worked on every day has no say here."""
    total = functools.reduce(Losses.plus, losses.values(), Losses())
    at_rest = f"the files untouched for {RESTED.days} days"
    for what, one in [(at_rest, total), *((f"{at_rest} in {alias}", losses[alias]) for alias in sorted(losses))]:
        if one.rested_lost >= LEAST_LOST:
            if half_gone(one.rested_bytes_lost, one.rested_bytes, percent):
                return Tripped(what, one.rested_bytes_lost, one.rested_bytes, True)
            if half_gone(one.rested_lost, one.rested, percent):
                return Tripped(what, one.rested_lost, one.rested)
    return None


def trip(losses: Mapping[str, Losses], percent: float) -> Optional[Tripped]:
    """Judge one run: does it look like ransomware, or a big reorganisation? `percent` of the files, or bytes at rest, is enough.

    >>> trip({"Documents": Losses(files=100, lost=60)}, 50)
    Tripped(what='all files', lost=60, of=100, is_bytes=False)
    """
    total = functools.reduce(Losses.plus, losses.values(), Losses())
    for what, one in [("all files", total), *((f"the files of {alias}", losses[alias]) for alias in sorted(losses))]:
        if one.lost >= LEAST_LOST and half_gone(one.lost, one.files, percent):
            return Tripped(what, one.lost, one.files)
    return trip_at_rest(losses, percent)


Recent = Dict[str, Dict[str, Losses]]    # of each day (UTC, YYYY-MM-DD) of the last week what became of each source's files


def all_in_all(runs: Iterable[Losses]) -> Losses:
    """Add up what several runs lost, of the most that there was at one time."""
    total = Losses()
    for one in runs:
        total = Losses(max(total.files, one.files), total.lost + one.lost, max(total.rested, one.rested),
                       total.rested_lost + one.rested_lost, max(total.rested_bytes, one.rested_bytes),
                       total.rested_bytes_lost + one.rested_bytes_lost)
    return total


def add_up(recent: Recent, losses: Mapping[str, Losses], now: datetime) -> Recent:
    """Add a run to those of the week before, so that slow damage is seen; days further back are forgotten."""
    today, first = (moment.astimezone(timezone.utc).strftime("%Y-%m-%d") for moment in (now, now - SLOW))
    week = {day: dict(sources) for day, sources in recent.items() if first <= day <= today}
    of_today = week.setdefault(today, {})
    for alias, one in losses.items():
        of_today[alias] = all_in_all([of_today.get(alias, Losses()), one])
    return week


def trip_slowly(recent: Recent, percent: float) -> Optional[Tripped]:
    """Judge a week: what was lost in all its runs of what was at rest."""
    aliases = {alias for sources in recent.values() for alias in sources}
    return trip_at_rest({alias: all_in_all(sources.get(alias, Losses()) for sources in recent.values()) for alias in aliases}, percent)


def parse_hold_at(text: str) -> float:
    """Read at which share of lost files a set is held, in percent; 0 for off. Raises UsageError.

    >>> parse_hold_at("30"), parse_hold_at("off")
    (30.0, 0.0)
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%?", text.strip(), re.ASCII)
    if text.strip() != "off" and not (found and 0 < float(found.group(1)) <= 100):
        raise UsageError(f"{quoted(text)} is no share of files; write a number from 1 to 100 (percent), or off")
    return float(found.group(1)) if found else 0.0


def held_by(snapshots: Iterable[Snapshot], accepted: int) -> Optional[Snapshot]:
    """Give the first dated copy by which a set is held; None where it is not. `accepted`: the number accepted by a person."""
    holding_it = sorted((one for one in snapshots if one.state is State.WHOLE and one.end.get("hold") and one.seq > accepted),
                        key=lambda one: one.seq)
    return holding_it[0] if holding_it else None


# Where a synchroniser keeps its folders: (service, a folder's name, a file or folder that betrays it).
# A drive there would be no backup: the service carries every deletion to all devices.
SYNCHRONISERS: Tuple[Tuple[str, str, str], ...] = (
    ("Dropbox", r"Dropbox( \(.*\))?", ".dropbox.cache"),
    ("OneDrive", r"OneDrive( - .*)?", ""),
    ("iCloud Drive", r"Mobile Documents|iCloud ?Drive|com~apple~CloudDocs", ""),
    ("Google Drive", r"Google ?Drive(-.*)?|My Drive|GoogleDrive-.*", ".tmp.drivedownload"),
    ("a cloud service", r"CloudStorage", ""),
    ("Syncthing", r"", ".stfolder"),
    ("Nextcloud or ownCloud", r"Nextcloud\d*|ownCloud", ".owncloudsync.log"),
    ("Seafile", r"Seafile", ""),
    ("pCloud", r"pCloud ?Drive|pCloud Sync", ""),
    ("MEGA", r"MEGA(sync)?( .*)?", ".megaignore"),
    ("Box", r"Box( Sync)?", ""),
    ("Proton Drive", r"Proton ?Drive.*", ""),
    ("Resilio Sync", r"Resilio ?Sync|BTSync", ".sync"),
    ("Tresorit", r"Tresorit.*", ""),
)


def synchroniser_of(parts: Sequence[Tuple[str, Sequence[str]]]) -> str:
    """Name the service that synchronises a folder, or give an empty text.

    `parts` are the folders from the top down to the one in question: (name, names in it).

    >>> synchroniser_of([("home", []), ("Dropbox", []), ("copies", [])])
    'Dropbox'
    """
    for name, content in parts:
        for service, names, sign in SYNCHRONISERS:
            if (names and re.fullmatch(names, name, re.IGNORECASE)) or (sign and sign in content):
                return service
    return ""


# --- 8. Text forms -----------------------------------------------------------------------------

MANIFEST_MAGIC = "# snapback manifest 1 "
FORMAT_WORDS = "# snapback manifest "
END_MAGIC = "# end "
FILE_LINE = "# type=file "
DIR_LINE = "# type=dir "
SKIPPED_DIR_LINE = "# type=skipped of=dir "
DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
UNSAFE = re.compile("[\0-\x20\\\\\x7f-\xa0\ud800-\udfff]")


def escape(text: str) -> str:
    r"""Write a name or value for a '#' line: mtree(5)'s \ooo for blanks, backslash, control and undecodable bytes.

    >>> escape("a shortcut\udcff")
    'a\\040shortcut\\377'
    """
    if not UNSAFE.search(text):
        return text
    return UNSAFE.sub(lambda found: "".join(f"\\{byte:03o}" for byte in name_bytes(found.group())), text)


def unescape(text: str) -> str:
    r"""Read what `escape` wrote.

    >>> unescape(escape("a\\b \n\udcff")) == "a\\b \n\udcff"
    True
    """
    if "\\" not in text:
        return text
    raw = re.sub(rb"\\([0-3][0-7]{2})", lambda found: bytes([int(found.group(1), 8)]), name_bytes(text))
    return raw.decode(*NAME_CODEC)


def time_text(ns: int) -> str:
    """Write a time in nanoseconds since 1970 as decimal seconds.

    >>> time_text(1732312345123456789), time_text(-1500000000)
    ('1732312345.123456789', '-1.500000000')
    """
    digits = str(ns)
    if len(digits) > 9 and ns > 0:  # nearly every file: slicing is half as long as dividing
        return f"{digits[:-9]}.{digits[-9:]}"
    return f"{'-' if ns < 0 else ''}{abs(ns) // 10**9}.{abs(ns) % 10**9:09d}"


def time_ns(text: str) -> int:
    """Read what `time_text` wrote; raise ManifestDamaged for anything else.

    >>> time_ns("-1.500000000")
    -1500000000
    """
    found = re.fullmatch(r"(-?)(\d{1,19})\.(\d{9})", text, re.ASCII)
    if not found:
        raise ManifestDamaged(f"{quoted(text[:60])} is no time")
    sign, seconds, fraction = found.groups()
    return (-1 if sign else 1) * (int(seconds) * 10**9 + int(fraction))


def number(words: Mapping[str, str], word: str, base: int = 10) -> int:
    """Read a whole number of a '#' line; raise ManifestDamaged where there is none."""
    text = words.get(word, "")
    if not re.fullmatch(r"\d{1,20}", text, re.ASCII) or (base == 8 and re.search("[89]", text)):
        raise ManifestDamaged(f"{word}={show(text[:60])} is no number")
    return int(text, base)


def stat_words(info: os.stat_result, with_ctime: bool) -> str:
    """Write what is recorded of a file, in mtree's words; hard-linked ones carry what finds the group."""
    words = (f"mode={info.st_mode & 0o7777:04o} uid={info.st_uid} gid={info.st_gid} "
             f"size={info.st_size} time={time_text(info.st_mtime_ns)}")
    if with_ctime:
        words += f" ctime={time_text(info.st_ctime_ns)}"
    if with_ctime or info.st_nlink > 1:
        words += f" ino={info.st_ino}"
    if info.st_nlink > 1:
        words += f" nlink={info.st_nlink} resdevice={info.st_dev}"
    return words


def xattr_words(attributes: Mapping[str, bytes]) -> str:
    """Write extended attributes, each as ' xattr.NAME=base64'."""
    return "".join(f" xattr.{escape(name).replace('=', chr(92) + '075')}={base64.b64encode(value).decode('ascii')}"
                   for name, value in sorted(attributes.items()))


def parse_xattrs(words: Mapping[str, str]) -> Dict[str, bytes]:
    """Read the extended attributes of a '#' line; raise ManifestDamaged for a broken value.

    >>> parse_xattrs(parse_keywords("# type=file" + xattr_words({"user.a=b": b"1"})))
    {'user.a=b': b'1'}
    """
    try:
        found = {unescape(word[6:]): base64.b64decode(value, validate=True)
                 for word, value in words.items() if word.startswith("xattr.")}
    except ValueError as err:
        raise ManifestDamaged("an extended attribute is no base64") from err
    if any("\0" in name for name in found):
        raise ManifestDamaged("the name of an extended attribute has a zero byte")
    return found


def parse_keywords(line: str) -> Dict[str, str]:
    """Read the words of a '#' line; values stay escaped.

    >>> parse_keywords("# type=dir mode=0755 path=a")
    {'type': 'dir', 'mode': '0755', 'path': 'a'}
    """
    return {word: value for word, _, value in (piece.partition("=") for piece in line[2:].split(" "))}


def keep_line(line: str, snapshot: str) -> str:
    """Mark a line of an earlier manifest as kept from that dated copy, unless it is marked already.

    >>> keep_line("# type=dir mode=0755 path=a", "2026-11-22_231507")
    '# type=dir mode=0755 kept=2026-11-22_231507 path=a'
    """
    if " kept=" in line:
        return line
    before, word, path = line.partition(" path=")
    return f"{before} kept={snapshot}{word}{path}"


def kept_of(line: str, snapshot: str) -> str:
    """Say of which dated copy a stored file is that is kept once more from `snapshot`.

    >>> kept_of("# type=dir kept=2026-11-20_230001 path=a", "2026-11-22_231507")
    '2026-11-20_230001'
    """
    return parse_keywords(line).get("kept", snapshot)


def stored_at(line: str, stored: str) -> str:
    """Say in a folder's line where in the dated copy it is stored, unless at its own path.

    >>> stored_at("# type=dir mode=0755 stored=was path=a:b", "a%3Ab"), stored_at("# type=dir mode=0755 stored=was path=a", "a")
    ('# type=dir mode=0755 stored=a%3Ab path=a:b', '# type=dir mode=0755 path=a')
    """
    before, word, path = re.sub(r" stored=[^ ]*", "", line).partition(" path=")
    return f"{before}{'' if escape(stored) == path else ' stored=' + escape(stored)}{word}{path}"


def optional_line(line: str) -> str:
    """Mark a link, fifo or device that the drive cannot hold: mtree(5)'s word for what may be missing.

    >>> optional_line("# type=fifo mode=0644 path=a")
    '# type=fifo mode=0644 optional path=a'
    """
    return line if " optional " in line else line.replace(" path=", " optional path=", 1)


def hash_line(digest: str, path: str) -> str:
    r"""Write a line as GNU sha256sum does, which escapes backslash and newline (coreutils manual, "md5sum").

    >>> hash_line("00", "a\nb")
    '\\00  a\\nb'
    """
    if "\\" in path or "\n" in path or path.endswith("\r"):
        path = path.replace("\\", "\\\\").replace("\n", "\\n")
        return f"\\{digest}  {path[:-1]}\\r" if path.endswith("\r") else f"\\{digest}  {path}"
    return f"{digest}  {path}"


def parse_hash_line(line: str) -> Tuple[str, str]:
    r"""Read a line of sha256sum: the digest and the stored path; raise ManifestDamaged for anything else.

    >>> parse_hash_line(hash_line("0" * 64, "a\\\nb\r"))[1]
    'a\\\nb\r'
    """
    escaped = line.startswith("\\")
    digest, gap, path = line[escaped:escaped + 64], line[escaped + 64:escaped + 66], line[escaped + 66:]
    if gap not in ("  ", " *") or not path or not DIGEST.fullmatch(digest):
        raise ManifestDamaged(f"{quoted(line[:100])} is no line of checksums")
    if escaped:
        if re.search(r"\\(?![\\nr])", re.sub(r"\\\\", "", path)):
            raise ManifestDamaged(f"{quoted(line[:100])} has an unknown escape")
        path = re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r"}.get(found.group(1), "\\"), path)
    return digest, path


def original_path(known: Known) -> str:
    """Give the path that an entry has in the dated copy, wherever its content lies."""
    _, word, path = known.line.rpartition(" path=")
    if word:
        return unescape(path)
    stored = parse_hash_line(known.hash_line)[1]
    return stored.split("/", 2)[2] if stored.startswith("../") and stored.count("/") > 1 else stored


def path_word(line: str) -> str:
    """Read the path of a '#' line, its last word; raise ManifestDamaged where there is none."""
    _, word, path = line.rpartition(" path=")
    if not word:
        raise ManifestDamaged(f"{quoted(line[:60])} has no path")
    return unescape(path)


def stored_path_of(line: str) -> str:
    """Read where in the dated copy a folder is stored, from its line; raise ManifestDamaged where it has no path.

    >>> stored_path_of("# type=dir mode=0755 stored=a%3Ab path=a:b"), stored_path_of("# type=dir mode=0755 path=a")
    ('a%3Ab', 'a')
    """
    path = path_word(line)
    found = re.search(r" stored=([^ ]*)", line)
    return unescape(found.group(1)) if found else path


def name_in(folder: str, path: str) -> str:
    """Give the last name of a path; raise ManifestDamaged unless it lies in this very folder."""
    parent, _, name = path.rpartition("/")
    if parent != folder or "\0" in path:
        raise ManifestDamaged(f"{quoted(path[:100])} stands outside its folder")
    return name


def in_byte_order(entries: Dict[str, Known]) -> Dict[str, Known]:
    """Give the entries back if their names are in order of their bytes; else raise ManifestDamaged."""
    names = list(entries)
    if names != sorted(names, key=byte_order(names)):
        raise ManifestDamaged("names are out of order")
    return entries


def next_folder(line: str, above: List[Tuple[str, Dict[str, Known]]]) -> str:
    """Read the path of a folder's line; raise ManifestDamaged unless it may stand there.

    `above` are the folders on the way to the one before, each with its entries; it is cut back to the new one's parent.
    """
    path = path_word(line)
    *folders, name = plain_parts(path)
    parent = "/".join(folders)
    if folder_key(path) <= folder_key(above[-1][0]):
        raise ManifestDamaged(f"the folder {quoted(path[:100])} is out of order")
    while above and above[-1][0] != parent:
        above.pop()
    if not above:
        raise ManifestDamaged(f"the folder {quoted(path[:100])} stands in a folder that was not named")
    if name in above[-1][1]:
        raise ManifestDamaged(f"{quoted(path[:100])} stands twice")
    return path


def plain_reference(line: str, prefix: str) -> str:
    """Read the name out of the hash line of a file of the folder at hand that lies in an earlier date; nothing where that takes parsing."""
    begins = line.find("/", 69) + 1 if line.startswith("  ../", 64) and line[0] != "\\" else 0
    name = line[begins + len(prefix):]
    return name if begins and line.startswith(prefix, begins) and "/" not in name else ""


def read_blocks(lines: Iterable[str]) -> Iterator[Block]:
    """Read a manifest's lines (without first and last) folder by folder; memory holds one folder.

    Raises ManifestDamaged, with the line's number, for anything that `backup` does not write:
    entries out of order, doubled, in a folder that was not named, metadata without its hash line.
    """
    path, prefix, own, meta = "", "", "", ""
    entries: Dict[str, Known] = {}
    above: List[Tuple[str, Dict[str, Known]]] = []
    at = 1
    try:
        for at, line in enumerate(lines, 2):  # noqa: B007 - the number is for the error below
            if meta:
                # the hot case is a plain name in the folder at hand: it is sliced, not parsed
                name = line[66 + len(prefix):]
                plain = line.startswith(prefix, 66) and line[64:66] == "  " and "/" not in name
                if not plain or line[0] == "\\" or " path=" in meta:
                    name = plain_reference(line, prefix) if " path=" not in meta else ""
                    name = name or name_in(path, original_path(Known(meta, line)))
                if name in entries or name in PATH_ONLY:
                    raise ManifestDamaged(f"{quoted(name[:100])} stands twice, or is no name")
                entries[name] = Known(meta, line)
                meta = ""
            elif line.startswith(FILE_LINE):
                meta = line
            elif line.startswith((DIR_LINE, SKIPPED_DIR_LINE)):
                yield Block(path, own, in_byte_order(entries))
                above.append((path, entries))
                path = next_folder(line, above)
                prefix, own, entries = path + "/", line, {}
            elif line.startswith("# type="):
                name = name_in(path, path_word(line))
                if name in entries or name in PATH_ONLY:
                    raise ManifestDamaged(f"{quoted(name[:100])} stands twice, or is no name")
                entries[name] = Known(line)
            else:
                raise ManifestDamaged(f"unknown line {quoted(line[:60])}")
        if meta:
            raise ManifestDamaged("the last file has no checksum")
        yield Block(path, own, in_byte_order(entries))
    except ManifestDamaged as err:
        raise ManifestDamaged(f"line {at}: {err}") from err


# The two lines of a file whose name has no escape; looking at the digest as well takes twice as long.
PLAIN_FILE = re.compile(r"# type=file .*\n[^\\].{63}  (?!\.\./)(.*)(?:\n|\Z)")


def listed_names(path: str, stored: str, entries: str) -> Sequence[str]:
    r"""Read which names the entries of one folder have there: files, links and all else that is no folder.

    What lies elsewhere has none: in an earlier date, or under another name of the same file. `stored` is where the folder lies.

    >>> listed_names("a", "a", "# type=file size=0\n" + "0" * 64 + "  a/b\n# type=fifo path=a/c\\040d")
    ['b', 'c d']
    """
    if " path=" not in entries:  # nearly every folder: all names are found at once
        plain: List[str] = PLAIN_FILE.findall(entries)
        if 2 * len(plain) == entries.count("\n") + 1:
            return [name_in(stored, one) for one in plain]
    names, lines = [], iter(entries.split("\n") if entries else ())
    for line in lines:
        if line.startswith(FILE_LINE):
            place = parse_hash_line(next(lines, ""))[1]
            if place.rpartition("/")[0] == stored or not (place.startswith("../") or " path=" in line):
                names.append(name_in(stored, place))
        elif not line.startswith("# type="):
            raise ManifestDamaged(f"unknown line {quoted(line[:60])}")
        elif not line.startswith(SKIPPED_DIR_LINE):  # such a folder is not in the dated copy
            names.append(name_in(path, path_word(line)))
    return names


# The line of checksums of a file that lies in an earlier date, and of one that lies in its own; escaped or not.
REFERENCE = re.compile(r"^(\\?)([0-9a-f]{64} [ *]\.\./.*)$", re.MULTILINE)
OWN_FILE = re.compile(r"^(\\?)([0-9a-f]{64} [ *](?!\.\./).*)$", re.MULTILINE)


def stored_paths(entries: str, wanted: "re.Pattern[str]") -> Iterator[str]:
    """Read the stored paths of a piece of a manifest: REFERENCE or OWN_FILE.

    >>> list(stored_paths("# type=file size=0" + chr(10) + "0" * 64 + "  ../2026-11-20_230001/a", REFERENCE))
    ['../2026-11-20_230001/a']
    """
    for escaped, line in wanted.findall(entries):
        yield parse_hash_line(escaped + line)[1] if escaped else line[66:]


ENTRY = re.compile(r"^# type=file .*\n.*$|^# type=(?!file ).*$", re.MULTILINE)


def entries_with(text: str, hint: str) -> Iterator[str]:
    r"""Give the entries of a piece of a manifest that hold a text, each with all its lines; all entries for an empty one.

    >>> list(entries_with("# type=dir path=a\n# type=file size=0\n" + "0" * 64 + "  a/b\n# type=fifo path=a/c", "a/b"))[0][-5:]
    '  a/b'
    """
    at = text.find(hint) if hint else -1
    if not hint:
        yield from (found.group() for found in ENTRY.finditer(text))
    while at >= 0:
        line = begins = text.rfind("\n", 0, at) + 1
        ends = text.find("\n", at)
        if not text.startswith("# ", line) and line:  # a line of checksums, which stands below its metadata
            begins = text.rfind("\n", 0, line - 1) + 1
        elif ends >= 0 and text.startswith(FILE_LINE, line):
            ends = text.find("\n", ends + 1)
        yield text[begins:ends if ends >= 0 else len(text)]
        at = text.find(hint, ends) if ends >= 0 else -1


def known_of(entry: str) -> Known:
    """Split the lines of an entry; raise ManifestDamaged where they are none that `backup` writes."""
    line, _, hashed = entry.partition("\n")
    if not line.startswith("# type=") or bool(hashed) != line.startswith(FILE_LINE):
        raise ManifestDamaged(f"unknown line {quoted(line[:60])}")
    return Known(line, hashed)


FILE_LINES = re.compile(r"^(# type=file .*)\n(\\?([0-9a-f]{64}) [ *].*)$", re.MULTILINE)
FOLDER_LINE = re.compile(r"^# type=dir .*$", re.MULTILINE)


def files_with(entries: str, wanted: Container[str]) -> Iterator[Tuple[str, Known]]:
    """Find the files of a piece of a manifest that have one of these checksums: of each the checksum and its lines.

    >>> [digest[0] for digest, known in files_with("# type=file size=0" + chr(10) + "0" * 64 + "  a", {"0" * 64})]
    ['0']
    """
    for line, hashed, digest in FILE_LINES.findall(entries):
        if digest in wanted:
            yield digest, Known(line, hashed)


def folders_at(entries: str, wanted: Container[str]) -> Iterator[Tuple[str, str]]:
    """Find the folders of a piece of a manifest that lie at one of these places: of each the place and its line."""
    for line in FOLDER_LINE.findall(entries):
        stored = stored_path_of(line)
        if stored in wanted:
            yield stored, line


def split_folder(text: str) -> Tuple[str, str]:
    """Split what follows DIR_LINE into the rest of the folder's line and its entries."""
    line, _, entries = text.partition("\n")
    return line, entries


def last_folder(begins_in: str, entries: str) -> str:
    """Say in which folder a piece of a manifest ends: what follows DIR_LINE, and nothing for the top."""
    _, found, last = ("\n" + entries).rpartition("\n" + DIR_LINE)
    return split_folder(last)[0] if found else begins_in


def read_names(begins_in: str, entries: str) -> Iterator[Tuple[str, Sequence[str]]]:
    """Read where the folders in a piece of a manifest lie, and which names each has; it begins in the folder `begins_in`.

    This is what a deletion needs of `read_blocks`, in half its time. Raises ManifestDamaged for a
    line that `backup` does not write, or that leads elsewhere; the order is not looked at.
    """
    first, *folders = ("\n" + entries).split("\n" + DIR_LINE)
    for line, listed in itertools.chain([(begins_in, first[1:])], map(split_folder, folders)):
        path = path_word(" " + line) if line else ""
        stored = stored_path_of(" " + line) if " stored=" in line else path
        names = listed_names(path, stored, listed)
        if not PATH_ONLY.isdisjoint(names):
            raise ManifestDamaged(f"the folder {quoted(path[:100])} has something without a name")
        yield stored, names


def compare_file(line: str, known: Optional[Known], racy_after_ns: int) -> Same:
    """Compare today's line of a file with an earlier manifest's; touched after `racy_after_ns`, its times prove nothing."""
    if known is None or not known.hash_line:
        return Same.NEW
    now = parse_keywords(line)
    then = parse_keywords(known.line)
    # what was kept or changing then was not seen at the time of that copy
    racy = "kept" in then or "changing" in then or any(
        time_ns(now[word]) > racy_after_ns for word in ("time", "ctime") if word in now)
    return compare_words(now, then, racy)


def how_same(line: str, digest: str, known: Optional[Known]) -> Same:
    """Say how a file that was read differs from what an earlier manifest says of it."""
    if known is None:
        return Same.NEW
    same_bytes_as_before = digest == parse_hash_line(known.hash_line)[0]
    plain = plainly_same(parse_keywords(line), parse_keywords(known.line))
    return Same.UNCHANGED if same_bytes_as_before and plain else Same.CHANGED


def dir_line(path: str, info: os.stat_result, xattrs: Mapping[str, bytes]) -> str:
    """Write the line of a folder."""
    return (f"{DIR_LINE}mode={info.st_mode & 0o7777:04o} uid={info.st_uid} gid={info.st_gid} "
            f"time={time_text(info.st_mtime_ns)}{xattr_words(xattrs)} path={escape(path)}")


def special_line(kind: str, path: str, info: os.stat_result, words: str = "") -> str:
    """Write the line of a link, fifo or device; `words` are those that its kind alone has."""
    group = f" ino={info.st_ino} nlink={info.st_nlink} resdevice={info.st_dev}" if info.st_nlink > 1 else ""
    return (f"# type={kind} mode={info.st_mode & 0o7777:04o} uid={info.st_uid} gid={info.st_gid} "
            f"time={time_text(info.st_mtime_ns)}{group}{words} path={escape(path)}")


class Meta(NamedTuple):
    """The metadata of a file or folder, as it shall be on a disk; `time` in nanoseconds since 1970."""

    mode: int
    uid: int
    gid: int
    time: int
    xattrs: Mapping[str, bytes] = {}


def meta_of(words: Mapping[str, str]) -> Meta:
    """Read the metadata of a '#' line; raise ManifestDamaged where something is missing or impossible."""
    return Meta(number(words, "mode", 8) & 0o7777, number(words, "uid"), number(words, "gid"),
                time_ns(words.get("time", "")), parse_xattrs(words))


def metadata_differences(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Say which metadata of an entry are other ones; the time of a folder counts for nothing, as it changes with what is in it.

    >>> metadata_differences({"mode": "0644", "time": "1.0"}, {"mode": "0600", "time": "2.0", "xattr.user.a": ""})
    'mode 0644 to 0600, time, attributes'
    """
    said = [f"{word} {show(old[word])} to {show(new[word])}" for word in ("mode", "uid", "gid")
            if word in old and word in new and old[word] != new[word]]
    said += ["time"] if new.get("type") != "dir" and old.get("time") != new.get("time") else []
    attributes = [{word: value for word, value in one.items() if word.startswith("xattr.")} for one in (old, new)]
    return ", ".join([*said, *(["attributes"] if attributes[0] != attributes[1] else [])])


def compare_entries(old: Known, new: Known) -> Optional[Tuple[Kind, str]]:
    """Say how an entry differs from what an earlier list says of it; None where it does not.

    >>> compare_entries(Known("# type=link link=a path=x"), Known("# type=link link=b path=x"))
    (<Kind.CHANGED: 'changed'>, 'leads to b')
    """
    then, now = parse_keywords(old.line), parse_keywords(new.line)
    if then.get("type") != now.get("type"):
        return Kind.RETYPED, f"{show(then.get('type', ''))} then, {show(now.get('type', ''))} now"
    if old.hash_line and parse_hash_line(old.hash_line)[0] != parse_hash_line(new.hash_line)[0]:
        return Kind.CHANGED, ""
    if then.get("link") != now.get("link"):
        return Kind.CHANGED, f"leads to {show(unescape(now.get('link', '')))}"
    if then.get("device") != now.get("device"):
        return Kind.CHANGED, "another device"
    differences = metadata_differences(then, now)
    if differences:
        return Kind.METADATA, differences
    return (Kind.UNREAD, f"could not be read now, and is as on {show(now['kept'])}") if "kept" in now and "kept" not in then else None


def as_seen(line: str) -> str:
    """Leave of a line what is seen without reading: neither attributes nor what a run noted.

    >>> as_seen("# type=dir mode=0755 xattr.user.a=MQ== kept=2026-11-22_231507 path=a")
    '# type=dir mode=0755 path=a'
    """
    return " ".join(word for word in line.split(" ") if not word.startswith(("xattr.", "kept=", "changing", "stored=", "optional")))


def side_by_side(old: Iterator[Block], new: Iterator[Block]) -> Iterator[Tuple[Optional[Block], Optional[Block]]]:
    """Go through two lists at the same time, folder by folder; None where one of them does not have it."""
    one, other = next(old, None), next(new, None)
    while one or other:
        if one and other and one.path == other.path:
            yield one, other
            one, other = next(old, None), next(new, None)
        elif other is None or (one and folder_key(one.path) < folder_key(other.path)):
            yield one, None
            one = next(old, None)
        else:
            yield None, other
            other = next(new, None)


def refer(hash_text: str, snapshot: str) -> str:
    """Give the hash line of a later dated copy for what lies where this line of the dated copy `snapshot` says.

    >>> refer("0" * 64 + "  Documents/a", "2026-11-20_230001")[64:]
    '  ../2026-11-20_230001/Documents/a'
    >>> refer(refer("0" * 64 + "  a", "2026-11-20_230001"), "2026-11-21_230001")[64:]
    '  ../2026-11-20_230001/a'
    """
    at = 67 if hash_text.startswith("\\") else 66
    return hash_text if hash_text.startswith("../", at) else f"{hash_text[:at]}../{snapshot}/{hash_text[at:]}"


def link_group(words: Mapping[str, str], known: Known) -> Tuple[str, ...]:
    """Give what the names of one hard-linked file have in common; empty for a file with one name."""
    if "nlink" not in words:
        return ()
    digest = parse_hash_line(known.hash_line)[0] if known.hash_line else words["type"]
    return words.get("resdevice", ""), words.get("ino", ""), words.get("kept", ""), digest, words.get("size", "")


def without_path(line: str) -> str:
    """Take the original path off the line of a file; what it is follows from the stored path, or is said anew."""
    return line.partition(" path=")[0]


def stored_lines(line: str, digest: str, stored: str, path: str) -> Known:
    """Write the two lines of a file whose content lies at `stored`; its own path is said where that does not tell it.

    >>> stored_lines("# type=file size=0", "0" * 64, "../2026-11-20_230001/old", "new").line
    '# type=file size=0 path=new'
    """
    known = Known(without_path(line), hash_line(digest, stored))
    return known if original_path(known) == path else known._replace(line=f"{known.line} path={escape(path)}")


def stored_place(stored: str, snapshot: str) -> Tuple[str, Tuple[str, ...]]:
    """Say in which dated copy, and where in it, a stored path lies; raise ManifestDamaged if it leads elsewhere.

    >>> stored_place("../2026-11-20_230001/Documents/a", "2026-11-22_231507")
    ('2026-11-20_230001', ('Documents', 'a'))
    """
    parts = tuple(stored.split("/"))
    if parts[0] == ".." and len(parts) > 2 and SNAPSHOT_NAME.fullmatch(parts[1]):
        snapshot, parts = parts[1], parts[2:]
    return snapshot, plain_parts("/".join(parts))


# The line of a folder, in the date or not; and the two of a file: its size, its time, the date where it lies if not here, its place.
PAGE_FOLDER = re.compile(r"\n# type=(?:dir|skipped of=dir) [^\n]*")
PAGE_FILE = re.compile(r"# type=file [^\n]*? size=([0-9]+) time=(-?[0-9]+)[^\n]*\n[0-9a-f]{64}  (?:\.\./([^/\n]+)/)?([^\n]*)")
UNSAFE_IN_SCRIPT = re.compile("[<\u2028\u2029\ud800-\udfff]")


def script_text(value: Any) -> str:
    r"""Write a value as JSON that can stand in a script, be that in a page or in a file of its own.

    >>> print(script_text(["</script>", "caf\udce9", "\u2028"]))
    ["\u003c/script>","caf\udce9","\u2028"]
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return UNSAFE_IN_SCRIPT.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


class PageList:
    r"""Turns the manifest of one date into what the recovery page reads of it: a script that calls `snapback1` with one value.

    In there a folder is a list: its depth, its name, its entries in one text and, unless that is its own path, where it is stored;
    a long folder comes in several of these, and one that could not be read has no text. An entry is three words, with a slash,
    which no name has, between any two words of the text:

        NAME / SIZE[,DATE[,FOLDER[,NAME]]] / SECONDS[k]

    DATE and FOLDER are numbers of the tables that follow, and say with NAME where the file lies if not here; k: it could not be
    read, so an earlier date's is kept. Of what is no file SIZE is a letter: L is a link, S could not be read, X is special.

    >>> one = PageList("2026-11-22_231507").script(["# type=dir mode=0755 path=a\n# type=fifo time=5.000000000 path=a/b"])
    >>> print("".join(one), end="")
    snapback1({"date":"2026-11-22_231507","list":[
    [0,"",""],
    [1,"a","b/X/5"]],
    "dates":[],"folders":[]});
    """

    def __init__(self, date: str) -> None:
        self.date = date
        self.dates: Dict[str, int] = {}
        self.folders: Dict[str, int] = {}

    def script(self, manifest: Iterable[str]) -> Iterator[str]:
        """Give the script in pieces, made of the pieces of a manifest. Raises ManifestDamaged."""
        path, stored, readable = "", "", True
        between = f'snapback1({{"date":{script_text(self.date)},"list":[\n'
        for piece in manifest:
            entries, begins, rows = "\n" + piece, 1, []  # type: str, int, List[str]
            for found in PAGE_FOLDER.finditer(entries):
                rows.append(self._row(path, stored, entries[begins:found.start()] if readable else None))
                line, begins = found.group()[1:], found.end() + 1
                path, readable = "/".join(plain_parts(path_word(line))), line.startswith(DIR_LINE)
                stored = "/".join(plain_parts(stored_path_of(line))) if " stored=" in line else path
            rows.append(self._row(path, stored, entries[begins:] if readable else None))
            yield between + ",\n".join(rows)
            between = ",\n"
        yield f'],\n"dates":{script_text(list(self.dates))},"folders":{script_text(list(self.folders))}}});\n'

    def _row(self, path: str, stored: str, entries: Optional[str]) -> str:
        words = entries and (self._plain_words(stored, entries) or "/".join(self._words(path, stored, entries)))
        row = [path.count("/") + 1 if path else 0, path.rpartition("/")[2], words]
        return script_text(row if stored == path else [*row, stored])

    def _plain_words(self, stored: str, entries: str) -> str:
        """Give the words of entries that are all plain files, as in nearly every folder; empty where they are not."""
        if " path=" in entries or " kept=" in entries:
            return ""
        lines = "\n" + PAGE_FILE.sub("\\4/\\1\0\\3/\\2", entries)  # nothing else has a zero byte
        lines = lines.replace(f"\n{stored}/", "\n") if stored else lines
        while "\0" in lines:
            date = lines[lines.index("\0") + 1:].partition("/")[0]
            lines = lines.replace(f"\0{date}/", f",{self.dates.setdefault(date, len(self.dates))}/" if date else "/")
        count = lines.count("\n")
        plain = 2 * count == entries.count("\n") + 1 and lines.count("/") == 2 * count and "\n../" not in lines and "\n./" not in lines
        return lines[1:].replace("\n", "/") if plain else ""

    def _words(self, path: str, stored: str, entries: str) -> Iterator[str]:
        lines = iter(entries.split("\n"))
        for line in lines:
            words = parse_keywords(line)
            if not line.startswith("# type="):
                raise ManifestDamaged(f"unknown line {quoted(line[:60])}")
            seconds = words.get("time", "").partition(".")[0] + "k" * ("kept" in words)
            if not line.startswith(FILE_LINE):
                yield from (name_in(path, path_word(line)), {"link": "L", "skipped": "S"}.get(words["type"], "X"), seconds)
                continue
            known = Known(line, next(lines, ""))
            name = name_in(path, original_path(known))
            holder, (*folders, own) = stored_place(parse_hash_line(known.hash_line)[1], self.date)
            where = [str(self.dates.setdefault(holder, len(self.dates))) if holder != self.date else ""]
            where.append(str(self.folders.setdefault("/".join(folders), len(self.folders))) if "/".join(folders) != stored else "")
            place = ",".join((*where, own)) if own != name else ",".join(where).rstrip(",")
            yield from (name, f"{number(words, 'size')}{',' * bool(place)}{place}", seconds)


def parse_json_line(line: str, magic: str) -> Dict[str, Any]:
    """Read the JSON object of a manifest's first or last line; raise ManifestDamaged for anything else."""
    if magic == MANIFEST_MAGIC and line.startswith(FORMAT_WORDS) and not line.startswith(magic):
        raise ManifestDamaged("it was written by a newer snapback; use that one")
    try:
        value = json.loads(line[len(magic):]) if line.startswith(magic) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ManifestDamaged("its first or last line is missing" if magic == END_MAGIC else "it is no manifest")
    return value


def parse_header(line: str) -> Dict[str, Any]:
    """Read a manifest's first line; raise ManifestDamaged where something is missing or has another type."""
    header = parse_json_line(line, MANIFEST_MAGIC)
    kinds: Dict[str, Type[Any]] = {"set": str, "seq": int, "taken": str, "sources": dict}
    if not all(isinstance(header.get(word), kind) for word, kind in kinds.items()) or not 1 <= header["seq"] <= COUNT_LIMIT:
        raise ManifestDamaged("its first line is not complete")
    if not all(isinstance(path, str) and not why_no_alias(alias) for alias, path in header["sources"].items()):
        raise ManifestDamaged("its sources have impossible names")
    if parse_time(header["taken"]) is None:
        raise ManifestDamaged("its date is no date")
    return header


def parse_end(line: str) -> Dict[str, Any]:
    """Read a manifest's last line; raise ManifestDamaged where something is missing or has another type."""
    end = parse_json_line(line, END_MAGIC)
    counts = [end.get(word) for word in ("files", "dirs", "bytes")] + [end.get(word, 0) for word in (
        "added", "occupied", "skipped", "kept", "gone", "excluded", "sockets", "other", "new", "changed")]
    if not all(type(count) is int and 0 <= count <= COUNT_LIMIT for count in counts) or not isinstance(end.get("sha256"), str):
        raise ManifestDamaged("its last line is not complete")
    return end


def put_back(name: str) -> str:
    """Say how the list of a dated copy is put back from the second one."""
    return f"gunzip -c {TWINS}/{name}.gz > {name}/{MANIFEST}"


def recent_facts(recent: Recent) -> Dict[str, Any]:
    """Give what a manifest's last line says of the week before.

    >>> parse_recent(recent_facts({"2026-11-22": {"a": Losses(5, 1)}}))
    {'2026-11-22': {'a': Losses(files=5, lost=1, rested=0, rested_lost=0, rested_bytes=0, rested_bytes_lost=0)}}
    """
    return {day: {alias: list(one) for alias, one in sources.items()} for day, sources in recent.items()}


def parse_recent(found: Any) -> Recent:
    """Read what `recent_facts` gave; what is not of its form counts as nothing."""
    recent: Recent = {}
    for day, sources in found.items() if isinstance(found, dict) else ():
        for alias, counts in sources.items() if isinstance(sources, dict) else ():
            if isinstance(counts, list) and len(counts) == len(Losses._fields) and all(
                    type(count) is int and abs(count) <= COUNT_LIMIT for count in counts):
                recent.setdefault(day, {})[alias] = Losses(*counts)
    return recent


def tripped_text(tripped: Any) -> str:
    """Say what tripped, from the words of a manifest's last line.

    >>> tripped_text(["all files", 612, 1200, False])
    '612 of 1,200 (51%) of all files are gone, unreadable or have other content'
    """
    try:
        what, lost, of, is_bytes = tripped
        lost = min(lost, of)  # over a week the same file may be lost twice
        amounts = (size_text(lost), size_text(of)) if is_bytes else (f"{lost:,}", f"{of:,}")
        return f"{amounts[0]} of {amounts[1]} ({lost * 100 // of}%) of {show(str(what))} are gone, unreadable or have other content"
    except (TypeError, ValueError, ZeroDivisionError):
        return "much is gone or has other content"


def hold_notice(date: str, tripped: Any) -> str:
    """Write the notice to people while a set is held."""
    return (f"ON HOLD since the dated copy {date}: {tripped_text(tripped)}.\n\n"
            "This looks like ransomware, or like a big reorganisation. Nothing old is deleted until a person decides.\n\n"
            "If it was not you: unplug this drive, do not attach it to that computer again, and read READ-ME-FIRST.txt on\n"
            "another computer. The dated copies before this one are as they were.\n\n"
            "If it was you: snapback.py accept --drive FOLDER\n"
            "(FOLDER is the one in which this file lies)\n")


def part_notice(set_name: str, date: str) -> str:
    """Write the notice in a dated folder that does not hold every file."""
    return (f"This folder is a part of the dated copy {date}: it has the files that\n"
            "were new, or had changed, at that time. In a first copy all files are new.\n\n"
            "What had not changed is in the folders of earlier dates, and the list of this\n"
            "one, SHA256SUMS, says where. Please delete no dated folder by hand: later dates\n"
            "need what is in it.\n\n"
            "To get one file back, copy it from here or, if it is not here, from the next\n"
            "earlier date that has it. To get the whole date back, start one of these at the\n"
            "top of this drive (FOLDER is a new folder on the computer):\n\n"
            f"  python3 snapback.py restore {date} --drive . --set {set_name} --to FOLDER\n"
            f"  sh restore.sh {set_name}/{date} FOLDER\n\n"
            "The first needs Python (on Windows say py instead of python3), the second Linux\n"
            "or macOS. Both bring back, too, what a drive cannot hold as it is: links, empty\n"
            "folders, and names such as a:b, which may be written a%3Ab here.\n")


def expired_notice(date: str) -> str:
    """Write the notice in the folder of an expired dated copy, once nothing is in it but what later ones need."""
    return (f"This folder is what is left of {date}, a dated copy that was deleted:\n"
            "it has the files that later dates need, as they had not changed since. It goes\n"
            "by itself when no date needs it any more. Please do not delete it by hand.\n")


def marker_text(marker: Marker) -> str:
    """Write a marker file."""
    return (f"This file marks a backup drive of snapback. Please leave it here: without it no copies are made.\n\n"
            f"id: {marker.id}\nlabel: {marker.label}\ncreated: {marker.created}\n"
            f"offline: {'yes' if marker.offline else 'no'}\nnames: {marker.naming.value}\n")


def parse_marker(text: str) -> Optional[Marker]:
    """Read a marker file; None for what is not one.

    >>> parse_marker(marker_text(Marker("0" * 32, "BLUE", "now", True))).label
    'BLUE'
    """
    words = {word.strip(): value.strip() for word, _, value in (line.partition(":") for line in text.split("\n"))}
    if not re.fullmatch(r"[0-9a-f]{32}", words.get("id", ""), re.ASCII):
        return None
    naming = next((one for one in Naming if one.value == words.get("names")), Naming.BYTES)
    return Marker(words["id"], words.get("label") or "drive", words.get("created", ""), words.get("offline") == "yes", naming)


def parse_damaged(text: str) -> Dict[str, int]:
    """Read damaged.txt: for each bad checksum, the newest dated copy (its number) that may share the bad file.

    >>> parse_damaged("# found=now seq=7" + chr(10) + hash_line("0" * 64, "2026-11-22_231507/a"))["0" * 64]
    7
    """
    seq, found = 0, {}  # type: int, Dict[str, int]
    for line in text.split("\n"):
        with contextlib.suppress(ManifestDamaged):
            if line.startswith("# "):
                seq = number(parse_keywords(line), "seq")
            elif line:
                digest = parse_hash_line(line)[0]
                found[digest] = max(seq, found.get(digest, 0))
    return found


def damaged_in(text: str) -> Dict[str, int]:
    """Count the damaged files of each dated copy that damaged.txt names.

    >>> damaged_in("# found=now seq=7" + chr(10) + hash_line("0" * 64, "2026-11-22_231507/a"))
    {'2026-11-22_231507': 1}
    """
    paths = set()
    for line in text.split("\n"):
        with contextlib.suppress(ManifestDamaged):
            paths.add(parse_hash_line(line)[1])
    return dict(Counter(path.partition("/")[0] for path in paths))


def damaged_text(findings: Iterable[Finding], found: str, seqs: Mapping[str, int]) -> str:
    """Write damaged.txt; `found` is the time, `seqs` says of each dated copy up to which one its bad files may be shared."""
    listed = sorted((one for one in findings if one.digest), key=lambda one: seqs.get(one.snapshot, 0))
    lines = []
    for seq, group in itertools.groupby(listed, key=lambda one: seqs.get(one.snapshot, 0)):
        lines += [f"# found={found} seq={seq}", *(hash_line(one.digest, f"{one.snapshot}/{one.path}") for one in group)]
    return "\n".join([*lines, ""]) if lines else ""


def added_damage(before: str, findings: Iterable[Finding], found: str, seqs: Mapping[str, int]) -> str:
    """Add to damaged.txt what is not in it; `seqs` are the numbers of all dated copies, of which any may share a bad file."""
    listed = set(before.split("\n"))
    new = [one for one in findings if hash_line(one.digest, f"{one.snapshot}/{one.path}") not in listed]
    return before + damaged_text(new, found, dict.fromkeys(seqs, max(seqs.values(), default=0)))


def without_lines(text: str, lines: Collection[str]) -> str:
    r"""Take lines, and the heads under which none is left, off the text of damaged.txt.

    >>> without_lines("# found=now seq=7" + chr(10) + "a" + chr(10) + "# found=now seq=8" + chr(10) + "b" + chr(10), {"a"})
    '# found=now seq=8\nb\n'
    """
    kept: List[str] = []
    for line in (one for one in text.split("\n") if one and one not in lines):
        if line.startswith("# ") and kept and kept[-1].startswith("# "):
            kept.pop()
        kept.append(line)
    if kept and kept[-1].startswith("# "):
        kept.pop()
    return "\n".join([*kept, ""]) if kept else ""


# -- what was read again, and when --

CIRCLE = 100_000             # thousandths of a percent: so shares such as 14.3% add up without a rest
EVERY_PLACE = (1 << CIRCLE) - 1


class Slice(NamedTuple):
    """Stored files that a sample reads: those whose checksum, as a place on a circle, lies in so much of it, from here on."""

    begins: int
    size: int

    @property
    def ends(self) -> int:
        """Give the place where the next one begins."""
        return (self.begins + self.size) % CIRCLE

    @property
    def places(self) -> int:
        """Give all places of it, each of them a bit."""
        bits = ((1 << self.size) - 1) << self.begins
        return (bits | bits >> CIRCLE) & EVERY_PLACE

    def holds(self, digest: str) -> bool:
        """Tell whether files with a checksum belong to it.

        >>> [Slice(90_000, 20_000).holds(digest) for digest in ("f" * 64, "0" * 64, "7" * 64)]
        [True, True, False]
        """
        return self.size == CIRCLE or ((int(digest[:13], 16) * CIRCLE >> 52) - self.begins) % CIRCLE < self.size

    def facts(self) -> Dict[str, float]:
        """Give it for JSON, in percent.

        >>> Slice(71_500, 14_300).facts(), parse_slice(Slice(71_500, 14_300).facts()) == Slice(71_500, 14_300)
        ({'from': 71.5, 'to': 85.8, 'percent': 14.3}, True)
        """
        return {"from": self.begins * 100 / CIRCLE, "to": self.ends * 100 / CIRCLE, "percent": self.size * 100 / CIRCLE}


EVERYTHING = Slice(0, CIRCLE)


def percent_text(size: int) -> str:
    """Write a share of the circle.

    >>> percent_text(14_300), percent_text(10_000)
    ('14.3%', '10%')
    """
    return f"{size * 100 / CIRCLE:g}%"


def parse_share(text: str) -> int:
    """Read how much a sample is to read, in percent. Raises UsageError.

    >>> parse_share("10%"), parse_share("2.5%")
    (10000, 2500)
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?)%", text.strip(), re.ASCII)
    if not found or not 0 < float(found.group(1)) <= 100:
        raise UsageError(f"{quoted(text)} is no share of the files; write it as 10% or 2.5%, at most 100%")
    return round(float(found.group(1)) * CIRCLE / 100)


def parse_slice(found: Any) -> Optional[Slice]:
    """Read what `Slice.facts` gives; None for anything else, and where its numbers contradict each other."""
    numbers: List[Any] = [found.get(word) for word in ("from", "to", "percent")] if isinstance(found, dict) else []
    if not numbers or not all(type(one) in (int, float) and 0 <= one <= 100 for one in numbers):
        return None
    begins, ends, size = (round(one * CIRCLE / 100) for one in numbers)
    one = Slice(begins, size)
    return one if size and begins < CIRCLE and one.ends == ends else None


def count_in(facts: Mapping[str, Any], word: str) -> int:
    """Read a number that may be lacking, or be none."""
    found = facts.get(word)
    return found if type(found) is int and 0 <= found <= COUNT_LIMIT else 0


class PastCheck(NamedTuple):
    """A verification that came to its end: when, the sample it was if it was one, how much damage it found, whether of all dates."""

    time: str
    sample: Optional[Slice]
    damaged: int
    whole: bool


def parse_history(text: str, wanted: Collection[str]) -> Iterator[Dict[str, Any]]:
    """Read the lines of history.jsonl that tell of some commands, the newest first; what is no such line, or torn, is passed over."""
    for line in reversed(text.split("\n")):
        if any(f'"{word}"' in line for word in wanted):
            with contextlib.suppress(ValueError, RecursionError):
                one = json.loads(line)
                if isinstance(one, dict) and one.get("what") in wanted and parse_time(str(one.get("time"))):
                    yield one


def past_checks(text: str) -> Iterator[PastCheck]:
    """Read the verifications in history.jsonl, the newest first; what was interrupted or read no file is passed over.

    A repair that came to its end is one, too: it read everything, and what it left is damaged.
    """
    for one in parse_history(text, ("verify", "repair")):
        if one["what"] == "repair":
            if one.get("complete"):
                yield PastCheck(str(one["time"]), None, count_in(one, "left"), one.get("whole") is True)
            continue
        sample = parse_slice(one["sample"]) if one.get("sample") is not None else None
        if not one.get("quick") and not one.get("interrupted") and (sample or one.get("sample") is None):
            yield PastCheck(str(one["time"]), sample, count_in(one, "damaged"), sample is not None or one.get("whole") is True)


def next_sample(text: str, size: int) -> Slice:
    """Give the sample that follows the last one in history.jsonl."""
    return Slice(next((one.sample.ends for one in past_checks(text) if one.sample), 0), size)


def unread_damage(text: str, sample: Slice) -> str:
    r"""Give what of damaged.txt a sample did not read again.

    >>> text = "".join(f"# found=now seq={seq}\n{hash_line(str(seq) * 64, 'date/a')}\n" for seq in (1, 8))
    >>> unread_damage(text, Slice(0, 50_000)) == "# found=now seq=8\n" + hash_line("8" * 64, "date/a") + "\n"
    True
    """
    read = set()
    for line in text.split("\n"):
        with contextlib.suppress(ManifestDamaged):
            if sample.holds(parse_hash_line(line)[0]):
                read.add(line)
    return without_lines(text, read)


class ReadAgain(NamedTuple):
    """How far the files of a set were read again."""

    since: str = ""                  # everything was, then or later; empty: not everything
    sampled: str = ""                # when the last sample was read, if samples were the last
    share: int = 0                   # of everything
    damaged: int = 0                 # how much was found so
    parted: str = ""                 # when some dates alone were read, later than that


def read_again(text: str) -> ReadAgain:
    """Add up in history.jsonl, backwards from the end, what was read, until that is everything.

    >>> lines = [json.dumps({"what": "verify", "time": f"2026-11-0{day}T00:00:00+00:00", "sample": Slice(begins, 40_000).facts()})
    ...          for day, begins in ((1, 0), (2, 40_000), (3, 80_000), (4, 20_000))]
    >>> read_again(chr(10).join(lines[:2])).share, read_again(chr(10).join(lines)).since[:10]
    (80000, '2026-11-02')
    """
    places, sampled, damaged, parted = 0, "", 0, ""
    for one in past_checks(text):
        damaged += one.damaged
        if not one.whole:
            parted = parted or one.time
            continue
        places |= (one.sample or EVERYTHING).places
        sampled = sampled or (one.time if one.sample else "")
        if places == EVERY_PLACE:
            return ReadAgain(one.time, sampled, CIRCLE, damaged, parted)
    return ReadAgain("", sampled, bin(places).count("1"), damaged, parted)


class Seen(NamedTuple):
    """What this computer last saw of a drive; times as ISO 8601 text, empty where there is none."""

    label: str = ""
    path: str = ""
    set_name: str = ""
    snapshot: str = ""                   # the newest whole dated copy
    taken: str = ""                      # when that was made
    checked: str = ""                    # when the copies were last verified: all was read then, or later in samples
    sampled: str = ""                    # when the last sample was read, if samples were the last
    share: int = 0                       # of all, that was read since they began, in thousandths of a percent
    parted: str = ""                     # when some dates alone were read again, later than that
    rotten: bool = False                 # what was read again was damaged
    unlisted: int = 0                    # dated copies of which no list can be read, newer than the newest whole one
    rehearsed: str = ""                  # when random files of it last came back as they were
    oldest: str = ""                     # when the oldest whole dated copy was made
    hold: str = ""                       # why the set is on hold
    damaged: int = 0                     # files of the newest dated copy that a check found damaged
    skipped: int = 0                     # files and folders that could not be read or stored, and are not in it
    kept: int = 0                        # files that could not be read, of which it has an earlier content
    unguarded: bool = False              # the tripwire was off when it was made
    offline: bool = False
    same_disk: bool = False              # as what is copied
    pace: int = 0                        # bytes that a day's copies take
    free: int = 0
    total: int = 0
    seen: str = ""                       # when it was last attached
    attached_since: str = ""             # since when it is, as far as was looked; empty while it is not
    missed_since: str = ""               # since when it is not
    told: Mapping[str, str] = {}         # for each kind of its trouble, by exit code, when a person was last told of it


SEEN_TIMES = frozenset(("taken", "checked", "sampled", "parted", "rehearsed", "oldest", "seen", "attached_since", "missed_since", "told"))


def parse_seen(found: Any) -> Seen:
    """Read what the local record says of a drive; what is not of its form counts as nothing.

    >>> parse_seen({"label": "BLUE", "free": "much", "total": -1, "taken": "today"})._replace(label="") == Seen()
    True
    """
    def is_sound(field: str, value: Any) -> bool:
        if isinstance(value, str) and field in SEEN_TIMES:
            return bool(parse_time(value))
        return not isinstance(value, int) or 0 <= value < 2**63

    found = found if isinstance(found, dict) else {}
    return Seen(**{field: found[field] for field, default in Seen._field_defaults.items()
                   if type(found.get(field)) is type(default) and is_sound(field, found[field])})


def tool_version(text: str) -> Optional[Tuple[int, ...]]:
    """Read the version out of a snapback.py; None where the text is something else.

    >>> tool_version("#!/usr/bin/env python3" + chr(10) + '\"\"\"snapback: x' + chr(10) + '__version__ = "1.10.2"')
    (1, 10, 2)
    """
    found = re.search(r'^__version__ = "(\d{1,6}(?:\.\d{1,6})*)"$', text, re.MULTILINE)
    if not found or not re.match(r'(#!.*\n)?"""snapback: ', text):
        return None
    return tuple(map(int, found.group(1).split(".")))


# -- settings --


WEEK = Duration(days=7)


class DriveSettings(NamedTuple):
    """What the settings say of one drive."""

    id: str
    label: str = ""
    path: str = ""                       # where to look besides the local disks
    offline: Optional[bool] = None       # None: as its marker says
    every: Duration = Duration(days=1)
    remind_after: Duration = WEEK        # where `every` is longer: that
    eject: bool = False
    fresh_every: Duration = Duration()   # none: never
    rotation: Rotation = Rotation()
    reread: Optional[bool] = None        # None: as the general settings say


class Settings(NamedTuple):
    """What a person wants copied, and where to."""

    sources: Tuple[str, ...]             # PATH or NAME=PATH, as on the command line
    patterns: Tuple[Tuple[bool, str], ...] = ()      # (whether it is a file of patterns, text), the last that matches decides
    exclude_caches: bool = False
    exclude_if_present: Tuple[str, ...] = ()
    one_file_system: bool = False
    checksum: bool = False
    set_name: str = ""
    hold_at: float = HOLD_AT
    rotation: Rotation = Rotation()
    notify: bool = True
    on_result: Tuple[str, ...] = ()      # a command and its arguments; never from a drive
    drives: Tuple[DriveSettings, ...] = ()
    reread: bool = False
    page: bool = True                    # the recovery page is written


def parse_yes(text: str) -> bool:
    """Read a yes or no. Raises UsageError.

    >>> parse_yes("Yes"), parse_yes("off")
    (True, False)
    """
    words = {"yes": True, "on": True, "true": True, "1": True, "no": False, "off": False, "false": False, "0": False}
    if text.lower() not in words:
        raise UsageError(f"{quoted(text)} is neither yes nor no")
    return words[text.lower()]


def parse_span(text: str) -> Duration:
    """Read a duration that is longer than nothing. Raises UsageError."""
    span = parse_duration(text)
    if not any(span):
        raise UsageError(f"{quoted(text)} is no time at all; write it as 12h, 1d or 3m (h: hours, d: days, m: months, y: years)")
    return span


def parse_lines(text: str) -> Tuple[str, ...]:
    """Split a value that may have several lines.

    >>> parse_lines(chr(10) + "~/Documents" + chr(10) + "work=/srv/a b")
    ('~/Documents', 'work=/srv/a b')
    """
    return tuple(line for line in map(str.strip, text.split("\n")) if line)


def parse_line(text: str) -> str:
    """Read a value that has one line. Raises UsageError."""
    lines = parse_lines(text)
    if len(lines) > 1:
        raise UsageError(f"{quoted(' '.join(lines))} stands on {len(lines)} lines; write it on one")
    return "".join(lines)


def parse_words(text: str) -> Tuple[str, ...]:
    r"""Split a command into its words: one a line or, on a single line, at blanks that stand in no quotes. Raises UsageError.

    >>> parse_words('"C:\\My Tools\\tell.exe" --quiet')
    ('C:\\My Tools\\tell.exe', '--quiet')
    """
    import shlex  # here, because few runs need it
    lines = parse_lines(text)
    if len(lines) > 1:
        return lines
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        return tuple(lexer)
    except ValueError as err:
        raise UsageError(f"{quoted(text)} has a quote that is never closed") from err


def parse_set_name(text: str) -> str:
    """Read the name of a set. Raises UsageError."""
    if why_no_set_name(text):
        raise UsageError(f"{quoted(text)} cannot name a set: {why_no_set_name(text)}")
    return text


def parse_tag_name(text: str) -> Tuple[str, ...]:
    """Read the names of entries that mark a folder to be left out. Raises UsageError."""
    for name in parse_lines(text):
        if "/" in name or name in PATH_ONLY:
            raise UsageError(f"exclude-if-present takes a plain name, not {quoted(name)}")
    return parse_lines(text)


def parse_patterns(text: str) -> Tuple[str, ...]:
    """Read exclude patterns, which must make sense. Raises UsageError."""
    for line in parse_lines(text):
        parse_pattern(line)
    return parse_lines(text)


RETENTION_KEYS: Dict[str, Callable[[str], Any]] = {
    **{f"keep-{period.rule}": parse_count for period in PERIODS}, "keep-within": parse_duration, "min-free": parse_space}
# For each section its keys, and what reads their values. A key of [backup] is the option of that name.
BACKUP_KEYS: Dict[str, Callable[[str], Any]] = {
    "sources": parse_lines, "exclude": parse_patterns, "exclude-from": parse_lines, "exclude-caches": parse_yes,
    "exclude-if-present": parse_tag_name, "one-file-system": parse_yes, "checksum": parse_yes, "reread": parse_yes,
    "set": parse_set_name, "hold-at": parse_hold_at, **RETENTION_KEYS, "page": parse_yes, "notify": parse_yes, "on-result": parse_words}
DRIVE_KEYS: Dict[str, Callable[[str], Any]] = {
    "label": parse_line, "path": parse_line, "offline": parse_yes, "every": parse_span, "remind-after": parse_span, "eject": parse_yes,
    "reread": parse_yes, "fresh-every": parse_span, **RETENTION_KEYS}
PATH_KEYS = frozenset(("sources", "exclude-from", "path"))   # `~` and variables in their values are expanded
NAME_KEYS = frozenset(("exclude", "exclude-if-present"))     # anything can be a value of these, so also a setting by mistake
BACKUP_SECTION, DRIVE_SECTION = "backup", re.compile(r"drive\s+([0-9a-f]{32})", re.ASCII | re.IGNORECASE)


def ini_lines(text: str) -> Iterator[Tuple[int, str, str, str]]:
    """Give of each line that begins a section or a setting its number, the section, the key, and what stands behind a section's name.

    As configparser has it, what is set in further than a setting goes on with its value.

    >>> list(ini_lines(chr(10).join(("[backup]", "Sources =", "    set = /srv", "  # said", "[drive 0] x"))))
    [(1, 'backup', '', ''), (2, 'backup', 'sources', ''), (5, 'drive 0', '', 'x')]
    """
    section, margin, in_setting = "", 0, False
    for number, line in enumerate(text.split("\n"), 1):
        words, indent = line.strip(), len(line) - len(line.lstrip())
        if not words or words.startswith("#") or (in_setting and indent > margin):
            continue
        header = re.match(r"\[([^]]+)\](.*)", words)
        section, margin, in_setting = header.group(1) if header else section, indent, not header
        yield number, section, "" if header else words.partition("=")[0].strip().lower(), header.group(2).strip() if header else ""


def line_of(text: str, section: str, key: str = "") -> int:
    """Find the line of a section, or of a key in it, in a settings file that was read."""
    return next((number for number, *names, _rest in ini_lines(text) if names == [section, key.lower()]), 1)


def value_lines(text: str, key: str) -> List[int]:
    """Give the lines of a settings file on which the values of a key of [backup] stand, one for each that `parse_lines` gives.

    >>> value_lines(chr(10).join(("[backup]", "exclude =", "    *.tmp", "    # no", "    *.o", "set = a")), "exclude")
    [3, 5]
    """
    lines, begins = text.split("\n"), line_of(text, BACKUP_SECTION, key)
    ends = next((number for number, *_ in ini_lines(text) if number > begins), len(lines) + 1)
    words = [lines[begins - 1].partition("=")[2].strip(), *(re.sub(r"^#.*", "", line.strip()) for line in lines[begins:ends - 1])]
    return [number for number, word in enumerate(words, begins) if word]


def meant(word: str, words: Iterable[str]) -> str:
    """Say which word a person may have meant, where one is close."""
    import difflib  # here, because only a mistake needs it
    close = difflib.get_close_matches(word.lower(), list(words), 1)
    return f"; is {close[0]} meant?" if close else f"; there are: {', '.join(words)}"


def read_ini(text: str) -> Dict[str, Dict[str, str]]:
    """Read sections, keys and values of an INI file. Raises UsageError with the line's number."""
    import configparser  # here, because a run without settings does not need it
    for number, section, _key, rest in ini_lines(text):
        if rest and not rest.startswith("#"):  # configparser passes over it
            raise UsageError(f"line {number}: {quoted(rest[:60])} stands behind [{show(section)}]; write it on a line of its own")
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), default_section="")
    try:
        parser.read_string(text)
    except configparser.DuplicateSectionError as err:
        raise UsageError(f"line {err.lineno}: the section {quoted(err.section)} stands twice") from err
    except configparser.DuplicateOptionError as err:
        raise UsageError(f"line {err.lineno}: {quoted(err.option)} stands twice in its section; several values go on lines of their own, "
                         "each set in by some blanks") from err
    except configparser.MissingSectionHeaderError as err:
        raise UsageError(f"line {err.lineno}: {quoted(err.line.strip()[:60])} stands in no section; begin with a line [{BACKUP_SECTION}]"
                         ) from err
    except configparser.ParsingError as err:
        number = err.errors[0][0] if err.errors else 1
        raise UsageError(f"line {number}: {quoted(text.split(chr(10))[number - 1].strip()[:60])} is no setting; write KEY = VALUE") from err
    return {section: dict(parser[section]) for section in parser.sections()}


def read_section(text: str, section: str, found: Mapping[str, str], keys: Mapping[str, Callable[[str], Any]],
                 expand: Callable[[str], str]) -> Dict[str, Any]:
    """Read the values of a section. Raises UsageError with the line's number."""
    values: Dict[str, Any] = {}
    for key, value in found.items():
        try:
            if key not in keys:
                raise UsageError(f"there is no setting {quoted(key)} in [{show(section)}]{meant(key, keys)}")
            if not value.strip():
                raise UsageError(f"{key} has no value; write one, or remove the line")
            for name, equals, _rest in (line.partition("=") for line in value.split("\n")[1:] if key in NAME_KEYS):
                if equals and name.strip().lower() in keys:
                    raise UsageError(f"{name.strip()} is set in, so that it is a part of {key}; let it begin its line")
            values[key] = keys[key](value)
            if key in PATH_KEYS:
                values[key] = expand(value) if key == "path" else tuple(map(expand, values[key]))
        except UsageError as err:
            raise UsageError(f"line {line_of(text, section, key)}: {err}") from err
    return values


def rotation_of(values: Mapping[str, Any], otherwise: Rotation) -> Rotation:
    """Give the rotation that a section asks for; what it does not speak of is as in `otherwise`. Raises UsageError."""
    rules = {key[len("keep-"):]: value for key, value in values.items() if key.startswith("keep-")}
    retention = Retention(**rules) if rules else otherwise.retention
    check_retention(retention)
    return Rotation(retention, values.get("min-free", otherwise.min_free))


def fields_of(values: Mapping[str, Any]) -> Dict[str, Any]:
    """Give the values of a section, but those of retention, under the names of their fields."""
    return {key.replace("-", "_"): value for key, value in values.items() if key not in RETENTION_KEYS}


def parse_settings(text: str, expand: Callable[[str], str]) -> Settings:
    """Read a settings file; `expand` makes a path or NAME=PATH absolute. Raises UsageError, with the line's number.

    >>> parse_settings("[backup]" + chr(10) + "sources = a" + chr(10) + "keep-daily = 7", str).rotation.retention.daily
    7
    """
    values: Dict[str, Dict[str, Any]] = {BACKUP_SECTION: {}}
    lines: Dict[str, str] = {}           # of each section, for a message
    for section, found in read_ini(text).items():
        drive = DRIVE_SECTION.fullmatch(section)
        name = drive.group(1).lower() if drive else section
        lines[name] = f"line {line_of(text, section)}: "
        if not drive and section != BACKUP_SECTION:
            raise UsageError(f"{lines[name]}there is no section [{show(section)}]; there are [{BACKUP_SECTION}] and, for each drive, "
                             f"[drive ID] with the id that stands in its {MARKER}")
        if drive and name in values:
            raise UsageError(f"{lines[name]}the drive {name} has two sections")
        values[name] = read_section(text, section, found, DRIVE_KEYS if drive else BACKUP_KEYS, expand)
    general = values.pop(BACKUP_SECTION)
    general["set-name"] = general.pop("set", "")
    command = general.get("on-result", ())
    if command and re.search(r"[/\\~$]", command[0]):  # else it is looked for where all programs are
        general["on-result"] = (expand(command[0]), *command[1:])
    if not general.get("sources"):
        raise UsageError(f"it does not say what to copy; in [{BACKUP_SECTION}] write: sources = ~/Documents")
    rotations: Dict[str, Rotation] = {}
    for name, said in ((BACKUP_SECTION, general), *values.items()):
        try:
            rotations[name] = rotation_of(said, rotations.get(BACKUP_SECTION, Rotation()))
        except UsageError as err:
            raise UsageError(f"{lines[name]}{err}") from err
    for said in values.values():         # no drive is missed before a copy is due on it
        every = said.get("every", WEEK)
        said.setdefault("remind-after", every if is_longer(every, WEEK) else WEEK)
    patterns = (*((True, name) for name in general.pop("exclude-from", ())), *((False, one) for one in general.pop("exclude", ())))
    drives = tuple(DriveSettings(name, rotation=rotations[name], **fields_of(said)) for name, said in values.items())
    return Settings(patterns=patterns, rotation=rotations[BACKUP_SECTION], drives=drives, **fields_of(general))


def yes_text(wanted: bool) -> str:
    """Write what `parse_yes` reads."""
    return "yes" if wanted else "no"


def rotation_lines(rotation: Rotation) -> List[str]:
    """Write a rotation as settings."""
    space, rules = rotation.min_free, rotation.retention
    counts = [(period.rule, getattr(rules, period.rule)) for period in PERIODS]
    lines = [f"keep-{rule} = {'unlimited' if count == UNLIMITED else count}" for rule, count in counts if count]
    lines += [f"keep-within = {rules.within}"] if any(rules.within) else []
    return [*lines, f"min-free = {space if space.wanted else 0}"]  # a drive without it would get the general one


LEFT_SETTINGS = "# The settings of the last run, without its commands. snapback reads them when it is started from this drive.\n"
OWN_SETTINGS = "# What snapback copies, and where to. README says what else can stand here; a line that begins with # counts for nothing.\n"
OFTEN_LEFT_OUT = """\
# These are often left out. To leave one out, take away the # before it, and the one before "exclude".
#exclude =
#    *.tmp
#    .cache/
#    node_modules/
#    .Trash/
#    Downloads/"""


def settings_text(settings: Settings, heading: str = LEFT_SETTINGS) -> str:
    """Write settings as `parse_settings` reads them. On a drive they are without the commands, which are never taken from one.

    >>> here = Settings(("/home/anna/a b", "work=/srv"), ((False, "*.o"),), on_result=("tell",), drives=(DriveSettings("0" * 32),))
    >>> parse_settings(settings_text(here), str) == here._replace(on_result=())
    True
    """
    lists = {"sources": settings.sources, "exclude-from": [text for is_file, text in settings.patterns if is_file],
             "exclude": [text for is_file, text in settings.patterns if not is_file], "exclude-if-present": settings.exclude_if_present}
    # the first stands beside its key, where alone it may begin with #
    lines = [f"[{BACKUP_SECTION}]", *(f"{key} = " + "\n    ".join(texts) for key, texts in lists.items() if texts)]
    lines += [f"set = {settings.set_name}"] if settings.set_name else []
    if settings.on_result and heading != LEFT_SETTINGS:
        # one word a line, or a single one in quotes
        lines.append("on-result = " + ("\n    ".join(settings.on_result) if len(settings.on_result) > 1 else f'"{settings.on_result[0]}"'))
    lines += [f"exclude-caches = {yes_text(settings.exclude_caches)}", f"one-file-system = {yes_text(settings.one_file_system)}",
              f"checksum = {yes_text(settings.checksum)}", f"reread = {yes_text(settings.reread)}",
              f"hold-at = {f'{settings.hold_at:g}' if settings.hold_at else 'off'}",
              f"page = {yes_text(settings.page)}", f"notify = {yes_text(settings.notify)}", *rotation_lines(settings.rotation)]
    lines += [OFTEN_LEFT_OUT] if heading != LEFT_SETTINGS and not settings.patterns else []
    for drive in settings.drives:
        words = {"label": drive.label, "path": drive.path, "every": str(drive.every), "remind-after": str(drive.remind_after),
                 "fresh-every": str(drive.fresh_every), "offline": "" if drive.offline is None else yes_text(drive.offline),
                 "eject": yes_text(drive.eject), "reread": "" if drive.reread is None else yes_text(drive.reread)}
        lines += ["", f"[drive {drive.id}]", *(f"{key} = {value}" for key, value in words.items() if value)]
        lines += rotation_lines(drive.rotation)
    return heading + "\n".join([*lines, ""])


# --- 9. Disk -----------------------------------------------------------------------------------

WINDOWS = os.name == "nt"
MACOS = sys.platform == "darwin"
WITH_CTIME = not WINDOWS     # there st_ctime is the time of creation and tells nothing
IGNORE_CASE = WINDOWS        # of exclude patterns
HAS_DIR_FD = {os.open, os.stat, os.mkdir, os.link} <= os.supports_dir_fd and os.scandir in os.supports_fd
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)
FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
NONBLOCK = getattr(os, "O_NONBLOCK", 0)      # a fifo in a file's place must not hang us
READ_FLAGS = os.O_RDONLY | NOFOLLOW | BINARY | NONBLOCK
CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | BINARY
OPEN_LEVELS = 20             # macOS gives a process 256 descriptors; several walks share them
PAGE = 4096

FULL = {errno.ENOSPC, errno.EDQUOT}
GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ECONNABORTED, errno.ESHUTDOWN, errno.ESTALE}
# What a file system says of its own damage; Linux alone has EUCLEAN.
BROKEN = {errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EBADMSG)}
WINDOWS_BROKEN = {1392, 1393}
# "Cannot link" has many names, and none is a reason to stop: the file is copied instead.
LINK_REFUSED = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.EINVAL,
                errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EEXIST}
WINDOWS_LINK_REFUSED = {1, 5, 50, 1142}
WINDOWS_NO_SUCH_NAME = 123   # such as NAME=C:\folder taken for a path
WINDOWS_READ_ONLY = 19
WINDOWS_IN_USE = {32, 33}    # another program has a file open, or a part of it locked
WINDOWS_DENIED = 5           # also while a virus scanner looks at what is in a folder that is to be renamed
WINDOWS_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds between attempts; a virus scanner is done with a new file by then
WINDOWS_PATH_LIMIT = 248     # a longer path of a folder is refused, and one of a file from 260 on
EXTENDED, EXTENDED_SHARE = "\\\\?\\", "\\\\?\\UNC\\"  # before a path that may be longer
# Attributes of what a cloud service's folder only shows (offline, recall on open, recall on data access): whoever reads it waits
# for a download, which fills this computer's disk. Listings alone tell the second.
IN_CLOUD, IN_CLOUD_UNOPENED = 0x441000, 0x40000
# What Windows takes for a path, a stream of another file, or a name without its end.
NO_NAME_ON_WINDOWS = re.compile(r'[\\/:*?"<>|\0-\x1f]|[. ]$')
NEW_FOLDER_MODE = 0o777 if WINDOWS else 0o700  # there 0o700 is an ACL (from 3.12.4 on) that shuts out the next computer
# What a drive may refuse of a file's metadata; the manifest keeps it (ext4 says ENOSPC for a large attribute).
METADATA_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.E2BIG,
                    errno.ERANGE, errno.ENOSPC, errno.EOVERFLOW}
SPECIAL_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EIO,
                   errno.ENAMETOOLONG, errno.EEXIST, errno.EILSEQ, errno.ENOENT}
# A name that the drive cannot hold, or takes for another one; ENOENT (exfat-fuse) counts only while the drive is there.
NAME_REFUSED = {errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.ENOENT, errno.EEXIST}


def is_folder(info: os.stat_result) -> bool:
    """Tell whether `info` is of a real folder, not of a link, a Windows junction, or a disk that Windows shows in its place."""
    if not stat.S_ISDIR(info.st_mode):
        return False
    return not (WINDOWS and getattr(info, "st_reparse_tag", 0) & 0x20000000)  # a link; OneDrive's folders have others


def in_cloud(info: os.stat_result) -> bool:
    """Tell whether what a file holds is kept only by a cloud service, such as OneDrive, which would download it to be read."""
    return WINDOWS and bool(getattr(info, "st_file_attributes", 0) & IN_CLOUD)


def extended(path: str) -> str:
    """Give a path in the form that Windows takes at any length, where it is too long for the usual one."""
    if not WINDOWS or len(path) < WINDOWS_PATH_LIMIT // 2 or path.startswith(EXTENDED):
        return path
    if len(path) < WINDOWS_PATH_LIMIT and max(path) < "\U00010000":  # those from there on, such as emojis, count twice
        return path
    path = os.path.abspath(path)  # in that form nothing is put right
    return EXTENDED_SHARE + path[2:] if path.startswith("\\\\") else EXTENDED + path


def usual(path: str) -> str:
    """Give a path as people write it, without what `extended` put before it."""
    if WINDOWS and path.startswith(EXTENDED_SHARE):
        return "\\\\" + path[len(EXTENDED_SHARE):]
    return path[len(EXTENDED):] if WINDOWS and path.startswith(EXTENDED) and path[5:6] == ":" else path


def patiently(call: Callable[..., None], *paths: str) -> None:
    """Move or remove something; on Windows again while another program, mostly a virus scanner, holds it. Raises OSError."""
    for wait in WINDOWS_WAITS if WINDOWS else ():
        try:
            return call(*paths)
        except OSError as err:
            number = getattr(err, "winerror", None)
            if number not in WINDOWS_IN_USE and not (number == WINDOWS_DENIED and len(paths) > 1):
                raise
        time.sleep(wait)
    return call(*paths)


def unmark(path: str) -> None:
    """Take the mark "read-only" from what is to be removed or replaced on Windows.

    Only a person can have set it there; the file's other names, in later dated copies, lose it, too.
    """
    with contextlib.suppress(OSError):
        if not os.lstat(path).st_mode & stat.S_IWUSR:
            os.chmod(path, stat.S_IWRITE)


def open_shared(path: str) -> int:
    """Open a file for reading as Windows lets several programs do it, each of which may delete it; OSErrors tell what is wrong."""
    import ctypes
    import msvcrt as real
    system, msvcrt = ctypes, real  # type: Any, Any
    create_file = system.WinDLL("kernel32", use_last_error=True).CreateFileW
    read, share_all, existing, no_handle = 0x80000000, 7, 3, system.c_void_p(-1).value
    create_file.argtypes = (system.c_wchar_p, system.c_uint32, system.c_uint32, system.c_void_p, system.c_uint32, system.c_uint32,
                            system.c_void_p)
    create_file.restype = system.c_void_p
    handle = create_file(path, read, share_all, None, existing, 0, None)
    if handle == no_handle:
        raise system.WinError(system.get_last_error())
    file: int = msvcrt.open_osfhandle(handle, READ_FLAGS)
    return file


class Folder:
    """An open folder: what is in it is reached without walking its path again, and never through a link.

    Where the system has no folder descriptors (Windows), `fd` is None and paths are used.
    It closes itself when nobody refers to it any more, because work that is still done in it
    outlives the walk that opened it.
    """

    __slots__ = ("_close", "fd", "path")

    def __init__(self, path: str, fd: Optional[int]) -> None:
        self.path, self.fd, self._close = path, fd, os.close  # the close of the disk that opened it

    def __del__(self) -> None:
        if self.fd is not None:
            try:  # noqa: SIM105 - half as long as suppress(), and this happens for every folder
                self._close(self.fd)
            except OSError:
                pass

    @classmethod
    def top(cls, path: str) -> "Folder":
        """Open a folder that a person named; here alone links are followed."""
        if HAS_DIR_FD:
            return cls(path, os.open(path, FOLDER_FLAGS))
        if not os.path.isdir(extended(path)):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", path)
        return cls(path, None)

    def at(self, name: str) -> str:
        """Give what names an entry to a call that also gets `dir_fd=self.fd`.

        Where paths are used, a name that is more than a name could lead anywhere: it is an OSError.
        """
        if self.fd is not None:
            return name
        if (name in PATH_ONLY or NO_NAME_ON_WINDOWS.search(name)
                or name.partition(".")[0].rstrip().casefold() in DEVICE_NAMES):
            raise OSError(errno.EINVAL, "no name of a file", name)
        return extended(os.path.join(self.path, name))

    @property
    def whole(self) -> Union[int, str]:
        """Give what names the folder itself to a call."""
        return extended(self.path) if self.fd is None else self.fd

    def child(self, name: str) -> "Folder":
        """Open a subfolder; a link there, or a junction, is an error (OSError)."""
        if self.fd is not None:
            path = f"{self.path.rstrip(os.sep)}{os.sep}{name}"
            return Folder(path, os.open(name, FOLDER_FLAGS | NOFOLLOW, dir_fd=self.fd))
        if not is_folder(os.lstat(self.at(name))):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", self.at(name))
        return Folder(os.path.join(self.path, name), None)

    def reach(self, parts: Sequence[str]) -> "Folder":
        """Open a folder further down, part by part."""
        return functools.reduce(Folder.child, parts, self)

    def make(self, name: str) -> "Folder":
        """Make a subfolder, readable for its owner alone until its own mode is set, and open it."""
        os.mkdir(self.at(name), NEW_FOLDER_MODE, dir_fd=self.fd)
        return self.child(name)

    def stat(self, name: str) -> os.stat_result:
        """Look at an entry without following it."""
        return os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)

    def own_stat(self) -> os.stat_result:
        """Look at the folder itself."""
        return os.stat(self.whole) if self.fd is None else os.fstat(self.fd)

    def is_in_its_place(self) -> bool:
        """Tell whether the folder is still where it was opened."""
        try:
            return os.path.samestat(os.stat(extended(self.path)), self.own_stat())
        except OSError:
            return False

    def has(self, name: str) -> bool:
        """Tell whether there is an entry of that name, whatever it is."""
        try:
            self.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _beginning(self) -> Union[int, str]:
        """Give what is listed, at its beginning: btrfs names of an open folder only what was in it when it was last set back."""
        if self.fd is not None:
            with contextlib.suppress(OSError):  # who is not asked for a place in a folder need not know one; the listing says what is wrong
                os.lseek(self.fd, 0, os.SEEK_SET)
        return self.whole

    def names(self) -> List[str]:
        """List the names in it, by their bytes."""
        return sorted(os.listdir(self._beginning()), key=name_bytes)

    def scan(self, unreadable: Optional[Dict[str, OSError]] = None) -> List[Tuple[str, os.stat_result]]:
        """List its entries with what `stat` says of each; one that vanishes in between is left out.

        An entry that cannot be looked at is added to `unreadable` or, without that, an OSError. So is
        one that does not exist and is listed all the same: a dying disk answers so, from memory.
        """
        gone: Dict[str, OSError] = {}
        with os.scandir(self._beginning()) as entries:
            found = []
            for entry in entries:
                try:
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
                except OSError as err:
                    gone[entry.name] = err
        if WINDOWS:
            found = self._looked_at(found, gone, unreadable is not None)
        still_listed = set(self.names()) if gone else set()
        for name, why in gone.items():
            if isinstance(why, FileNotFoundError) and name not in still_listed:
                continue
            if isinstance(why, FileNotFoundError) and self.reappeared(name, found):
                continue
            if unreadable is None or not found:  # none at all can be seen: that is the folder's trouble
                raise why
            unreadable[name] = why
        return found

    def _looked_at(self, listed: Iterable[Tuple[str, os.stat_result]], gone: Dict[str, OSError], of_source: bool
                   ) -> List[Tuple[str, os.stat_result]]:
        """Look at each entry itself: Windows' listings know no inode, device or links, and lag behind open files.

        That opens it, by which a cloud service may begin to download a file; the names in a folder it may well send.
        """
        found = []
        for name, info in listed:
            try:
                if of_source and getattr(info, "st_file_attributes", 0) & IN_CLOUD_UNOPENED and not is_folder(info):
                    gone[name] = OSError(errno.EREMOTE, "kept only in the cloud", name)
                    continue
                found.append((name, self.stat(name)))
            except FileNotFoundError as err:
                gone[name] = err
            except OSError:  # such as a name that only a listing can tell of
                found.append((name, info))
        return found

    def reappeared(self, name: str, found: List[Tuple[str, os.stat_result]]) -> bool:
        """Look once more at an entry that was gone and is listed: another program may have put it back, or taken it since."""
        try:
            found.append((name, self.stat(name)))
        except FileNotFoundError:
            return name not in self.names()
        return True

    def open_file(self, name: str, download: bool = True) -> int:
        """Open a file for reading, but not to `download` it from a cloud service; the descriptor is the caller's to close."""
        info = self.stat(name) if not NOFOLLOW else None
        if info and stat.S_ISLNK(info.st_mode):
            raise OSError(errno.ELOOP, "it is a symbolic link", name)
        if info and not download and in_cloud(info):
            raise OSError(errno.EREMOTE, "kept only in the cloud", name)
        try:
            return os.open(self.at(name), READ_FLAGS, dir_fd=self.fd)
        except PermissionError:
            if not WINDOWS:
                raise
            return open_shared(self.at(name))

    def can_read(self, name: str) -> bool:
        """Tell, without opening a file, whether this user may read it."""
        return os.access(self.at(name), os.R_OK, dir_fd=self.fd, effective_ids=os.access in os.supports_effective_ids)

    def can_write(self) -> bool:
        """Tell whether this user may make something in this folder."""
        itself = self.whole if self.fd is None else "."
        return os.access(itself, os.W_OK, dir_fd=self.fd, effective_ids=os.access in os.supports_effective_ids)

    def create_file(self, name: str, mode: int = 0o600) -> int:
        """Create a file that is not there yet; the descriptor is the caller's to close."""
        return os.open(self.at(name), CREATE_FLAGS, mode, dir_fd=self.fd)

    def link(self, name: str, other: "Folder", new_name: str) -> None:
        """Give a file of this folder a second name in another one."""
        if self.fd is None:
            os.link(self.at(name), other.at(new_name))
        else:
            os.link(name, new_name, src_dir_fd=self.fd, dst_dir_fd=other.fd, follow_symlinks=False)

    def rename(self, name: str, other: "Folder", new_name: str) -> None:
        """Move an entry to another folder of the same drive; a file of the new name is replaced at once."""
        try:
            os.replace(self.at(name), other.at(new_name), src_dir_fd=self.fd, dst_dir_fd=other.fd)
        except PermissionError:
            if not WINDOWS:
                raise
            unmark(other.at(new_name))
            patiently(os.replace, self.at(name), other.at(new_name))

    def unlink(self, name: str) -> None:
        """Remove a file's or link's name."""
        self._remove(os.unlink, name)

    def rmdir(self, name: str) -> None:
        """Remove an empty subfolder."""
        self._remove(os.rmdir, name)

    def _remove(self, call: Callable[..., None], name: str) -> None:
        try:
            call(self.at(name), dir_fd=self.fd)
        except PermissionError:
            if not WINDOWS:
                raise
            unmark(self.at(name))
            patiently(call, self.at(name))

    def flush(self) -> None:
        """Make new names in it survive a power cut; Windows has no such call."""
        if self.fd is not None:
            try:
                os.fsync(self.fd)
            except OSError as err:
                if err.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network shares
                    raise


class Trail:
    """The way from a root folder to where an ordered walk stands.

    At most OPEN_LEVELS of it are open, so depth is limited neither by PATH_MAX nor by descriptors.
    """

    def __init__(self, root: Folder) -> None:
        self.root = root
        self.names: List[str] = []
        self.folders: List[Optional[Folder]] = [root]   # the root, then one for each name

    def at(self, parts: Sequence[str], enter: Callable[[Folder, str], Folder] = Folder.child) -> "Folder":
        """Give the folder at `parts` below the root; `enter` opens (or makes) one that is not open yet."""
        shared = [*map(str.__eq__, self.names, parts), False].index(False)
        del self.names[shared:], self.folders[shared + 1:]
        folder = self.folders[-1] or self._reopen()
        for part in parts[shared:]:
            folder = enter(folder, part)
            self.folders.append(folder)
            self.names.append(part)
            if len(self.names) > OPEN_LEVELS:
                self.folders[-OPEN_LEVELS - 1] = None
        return folder

    def _reopen(self) -> "Folder":
        """Open again what was closed on the way down, from the root, as nothing nearer is open."""
        folder = self.root
        for level, name in enumerate(self.names, 1):
            folder = folder.child(name)
            self.folders[level] = folder if level > len(self.names) - OPEN_LEVELS else None
        return folder


class Reach:
    """Opens folders below another one for a worker, which gets that one anew with each parcel of an ordered walk."""

    def __init__(self) -> None:
        self.trail: Optional[Trail] = None

    def at(self, top: Folder, path: str) -> Folder:
        """Open the folder at a path. Raises OSError, also for a link on the way."""
        if self.trail is None or self.trail.root.path != top.path:
            self.trail = Trail(top)
        return self.trail.at(path.split("/") if path else ())


# -- paths --


def stamp(info: os.stat_result) -> Stamp:
    """Give what tells one file or folder from all others while it is mounted."""
    return info.st_dev, info.st_ino


def whole_path(path: str) -> str:
    """Give the absolute path, with `~` and links resolved."""
    path = os.path.expanduser(path)
    try:
        return usual(os.path.realpath(extended(path)))
    except OSError:  # Wine knows no long path's links
        if not WINDOWS:
            raise
        return os.path.abspath(path)


def stat_path(path: str) -> Optional[os.stat_result]:
    """Look at a path that a person named; None where there is nothing. Raises OSError where it cannot be seen."""
    try:
        return os.stat(extended(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        if getattr(err, "winerror", None) == WINDOWS_NO_SUCH_NAME:
            return None
        raise


def mount_point(path: str) -> str:
    """Give the top of the disk that holds a path."""
    while not os.path.ismount(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return path


def is_inside(path: str, folder: str) -> bool:
    """Tell whether an absolute path lies in a folder, or is it."""
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)


def way_to(path: str) -> List[str]:
    """Give the folders on the way to an absolute path, from the top down to itself, each with a separator at its end."""
    whole = path.rstrip(os.sep) + os.sep
    return [whole[:at + 1] for at, letter in enumerate(whole) if letter == os.sep]


def existing_folder(path: str) -> str:
    """Give the innermost folder on the way to an absolute path that is there."""
    return next((place for place in reversed(way_to(path)) if os.path.isdir(place)), path)


def path_parts(path: str) -> Tuple[str, ...]:
    """Split an absolute path into its names, from the top down."""
    return tuple(part for part in os.path.splitdrive(path)[1].replace(os.sep, "/").split("/") if part)


def slashes(path: str) -> str:
    """Write a path of this system with slashes."""
    return path.replace(os.sep, "/")


def user_path(path: str) -> str:
    """Read a path as a person writes it: `~` is the home folder."""
    return os.path.expanduser(path)


def as_names(text: str) -> str:
    """Give a text with its names as this Python reads names from the disk, which in some locales are no Unicode for it."""
    return text if WINDOWS else os.fsdecode(text.encode("utf-8", "surrogateescape"))


def expand_path(text: str, base: str) -> str:
    """Make a path of a settings file absolute: `~`, variables, relative to the folder `base`. Raises UsageError."""
    names = re.findall(r"\$(?:(\w+)|\{([^}]*)\})" + (r"|%(\w+)%" if WINDOWS else ""), text, re.ASCII)
    missing = [name for name in map("".join, names) if name not in os.environ]
    if missing:
        raise UsageError(f"there is no variable {quoted(missing[0])} in the environment, where cron has but a few; write the path in full")
    path = os.path.expanduser(os.path.expandvars(text))
    if path.startswith("~"):
        raise UsageError(f"the home folder of {quoted(text)} is not known; write the path in full")
    return os.path.normpath(os.path.join(base, path))


def full_path(path: str) -> str:
    """Give the absolute path without looking at anything that lies there."""
    return os.path.abspath(os.path.expanduser(path))


def plain_name(path: str) -> str:
    """Give the last name of a path as a person wrote it, before links are resolved."""
    return os.path.basename(full_path(path))


def parent_path(path: str) -> str:
    """Give the path of the folder that holds `path`."""
    return os.path.dirname(path)


def join_path(*parts: str) -> str:
    """Join a path for this system."""
    return os.path.join(*parts)


def trace_upwards(path: str) -> List[Tuple[str, Sequence[str]]]:
    """List the folders from the top down to `path`, each with the names in it (none where it is unreadable)."""
    trace: List[Tuple[str, Sequence[str]]] = []
    while True:
        try:
            content: Sequence[str] = os.listdir(path)
        except OSError:
            content = ()
        trace.append((os.path.basename(path), content))
        if os.path.dirname(path) == path:
            return trace[::-1]
        path = os.path.dirname(path)


# -- bytes, metadata and entries of a folder --


def reason(err: Exception) -> str:
    """Give the system's own words for a failure, with the name it is about; or what any other error says."""
    if not isinstance(err, OSError):
        return str(err)
    name = f": {show(usual(str(err.filename))[-200:])}" if err.filename is not None and not isinstance(err.filename, int) else ""
    return f"{err.strerror or type(err).__name__}{name}"


def is_read_only(err: OSError) -> bool:
    """Tell whether a call failed because the disk is read-only or write-protected."""
    return err.errno == errno.EROFS or getattr(err, "winerror", None) == WINDOWS_READ_ONLY


def is_in_use(err: OSError) -> bool:
    """Tell whether a call failed on Windows because another program has the file open."""
    return getattr(err, "winerror", None) in WINDOWS_IN_USE


IN_USE = "another program has it open"
CLOUD_ONLY = "it is kept only in the cloud"
OWN_LIMITS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}  # this computer's trouble, not a disk's


def source_error(err: OSError) -> SourceError:
    """Say in a person's words why a file of a source cannot be read."""
    of_read = WINDOWS and err.errno == errno.EACCES and getattr(err, "winerror", None) is None  # a part of it is locked
    if is_in_use(err) or of_read:
        return SourceError(IN_USE)
    private = "macOS keeps it private: allow Full Disk Access in System Settings, Privacy & Security" if MACOS else "permission denied"
    words = {errno.EACCES: "permission denied", errno.EPERM: private, errno.ENOENT: "vanished",
             errno.ENOTDIR: "vanished", errno.ELOOP: "vanished", errno.ESTALE: "vanished", errno.EREMOTE: CLOUD_ONLY,
             errno.EIO: "its disk cannot read it"}
    return SourceError(words.get(err.errno or 0) or err.strerror or type(err).__name__)


def from_source(call: Callable[..., T], *args: Any) -> T:
    """Make a call on the source's side; its failure is a SourceError."""
    try:
        return call(*args)
    except OSError as err:
        raise source_error(err) from err


def chunks(fd: int, size: int) -> Iterator[Union[bytes, memoryview]]:
    """Read a file to its end; `size` bytes are expected. The last view is overwritten by the next."""
    if size < CHUNK:
        data = os.read(fd, size + 1)
        if data:
            yield data
        if len(data) == size:  # one byte more was asked for, so this is the end
            return
    view = memoryview(bytearray(CHUNK))
    with open(fd, "rb", buffering=0, closefd=False) as file:
        while True:
            length = file.readinto(view)
            if not length:
                return
            yield view[:length]


def close_read(fd: int) -> None:
    """Close a descriptor to which nothing is left to be written; a disk that went away refuses even that."""
    with contextlib.suppress(OSError):
        os.close(fd)


def write_all(fd: int, data: Union[bytes, memoryview]) -> None:
    """Write every byte, however the system cuts it up."""
    written = os.write(fd, data)
    while written < len(data):
        data = data[written:]
        written = os.write(fd, data)


def write_sparse(fd: int, data: Union[bytes, memoryview]) -> None:
    """Write what is not zero, page by page, and step over the rest; the caller sets the length."""
    raw = bytes(data)
    pages = [raw[at:at + PAGE] for at in range(0, len(raw), PAGE)] if raw.count(0) != len(raw) else [raw]
    for is_hole, run in itertools.groupby(pages, key=lambda page: page.count(0) == len(page)):
        block = b"".join(run)
        if is_hole:
            os.lseek(fd, len(block), os.SEEK_CUR)
        else:
            write_all(fd, block)


def set_length(fd: int, length: int) -> None:
    """Set the length of a file whose last bytes were stepped over."""
    os.ftruncate(fd, length)


def is_sparse(info: os.stat_result) -> bool:
    """Tell whether a file has holes: it takes fewer blocks (of 512 bytes) than its length needs."""
    blocks: Optional[int] = getattr(info, "st_blocks", None)
    return blocks is not None and blocks * 512 < info.st_size


XFS_OWN_ATTRIBUTES = "trusted.SGI_ACL_"  # what system.posix_acl_* says, once more; other file systems take it for something else


def read_xattrs(fd: int) -> Dict[str, bytes]:
    """Read all extended attributes (ACLs are among them) of an open file; none where there are none to be had.

    More than half a manifest's line holds is an OSError: in base64 they take a third more, and a path stands there as well.
    """
    found: Dict[str, bytes] = {}
    room = LINE_LIMIT // 2
    try:
        for name in os.listxattr(fd) if hasattr(os, "listxattr") else ():
            if name.startswith(XFS_OWN_ATTRIBUTES):
                continue
            try:
                found[name] = os.getxattr(fd, name)
            except PermissionError:
                if name.startswith("user."):
                    raise  # security.* and trusted.* are root's, but these are the file's own
                continue
            room -= len(found[name])
            if room < 0:
                raise OSError(errno.E2BIG, "too many or too large extended attributes")
    except AttributeError:
        return {}
    except OSError as err:
        if err.errno not in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, getattr(errno, "ENODATA", errno.ENOTSUP)):
            raise
    return found


def meta_from(info: os.stat_result, xattrs: Mapping[str, bytes]) -> Meta:
    """Take the metadata of a file or folder from its stat."""
    return Meta(stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime_ns, xattrs)


def attempt(call: Callable[..., None], *args: Any, **options: Any) -> bool:
    """Set one thing about a file; False where the disk or the system refuses it."""
    try:
        call(*args, **options)
    except OSError as err:
        if err.errno not in METADATA_REFUSED:
            raise
        return False
    except (NotImplementedError, OverflowError):
        return False
    return True


def set_metadata(target: Union[int, str], meta: Meta, dir_fd: Optional[int] = None) -> None:
    """Set what the disk can hold of a file's or folder's metadata; the manifest has the rest.

    `target` is an open descriptor, or a name below `dir_fd`.  The order matters: a change of
    owner drops set-uid bits and capabilities, and a read-only mode refuses attributes.
    """
    where: Dict[str, Any] = {} if dir_fd is None else {"dir_fd": dir_fd}
    if not WINDOWS:
        root = os.geteuid() == 0
        owned = root or meta.uid == os.geteuid()
        now = os.fstat(target) if isinstance(target, int) else None  # a look is soon taken, a call that changes something is not
        if (root or meta.gid != os.getegid()) and (now is None or (now.st_uid if root else meta.uid, now.st_gid) != (meta.uid, meta.gid)):
            owned = attempt(os.chown, target, meta.uid if root else -1, meta.gid, **where) and owned
        if dir_fd is None:
            for name, value in meta.xattrs.items():
                attempt(os.setxattr, target, name, value)
        # a set-uid program must not become one of whoever runs the copy
        attempt(os.chmod, target, meta.mode if owned else meta.mode & 0o1777, **where)
    attempt(os.utime, target, ns=(meta.time, meta.time), **where)


def set_folder_metadata(folder: Folder, meta: Meta) -> None:
    """Set what the disk can hold of a folder's own metadata."""
    set_metadata(folder.whole, meta)


def target_of(fd: int, folder: Folder, name: str) -> Union[int, str]:
    """Give what `set_metadata` shall work on: the descriptor, or the path where the system takes no descriptor."""
    return fd if os.utime in os.supports_fd else folder.at(name)


def set_metadata_open(fd: int, meta: Meta) -> None:
    """Set the metadata of a new file while it is open, where the system takes a descriptor."""
    if os.utime in os.supports_fd:
        set_metadata(fd, meta)


def set_metadata_closed(folder: Folder, name: str, meta: Meta) -> None:
    """Set it after the close where the system takes a path only: Windows gives a written file the time of its close."""
    if os.utime not in os.supports_fd:
        set_metadata(folder.at(name), meta)


def folder_xattrs(folder: Folder) -> Dict[str, bytes]:
    """Read the extended attributes of a folder itself."""
    return {} if folder.fd is None else read_xattrs(folder.fd)


class Copied(NamedTuple):
    """A file as it was stored: the hash of its bytes, what was true of it before they were read, how many there were."""

    digest: str
    info: os.stat_result
    xattrs: Mapping[str, bytes]
    size: int
    changing: bool = False


def steady(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether a file stayed as it was; the inode number does not count, exFAT changes it at will."""
    return (before.st_size, before.st_mtime_ns, stat.S_IFMT(before.st_mode)) == (
        after.st_size, after.st_mtime_ns, stat.S_IFMT(after.st_mode)) and (
        not WITH_CTIME or before.st_ctime_ns == after.st_ctime_ns)


def make_special(folder: Folder, name: str, mode: int, device: int = 0) -> bool:
    """Make a fifo or a device node; False where the disk or the system does not let us."""
    try:
        os.mknod(folder.at(name), mode, device, dir_fd=folder.fd)
    except (OSError, AttributeError, OverflowError) as err:
        if isinstance(err, OSError) and err.errno not in SPECIAL_REFUSED:
            raise
        return False
    return True


def make_link(folder: Folder, name: str, target: str) -> bool:
    """Make a symbolic link; False where the disk cannot hold one."""
    try:
        os.symlink(target, folder.at(name), dir_fd=folder.fd)
    except (OSError, NotImplementedError) as err:
        if isinstance(err, OSError) and err.errno not in SPECIAL_REFUSED:
            raise
        return False
    return not WINDOWS or folder.has(name)  # Wine says that it made one, and did not


def set_link_metadata(folder: Folder, name: str, meta: Meta) -> None:
    """Set owner and time of a symbolic link itself, as far as the disk can."""
    with contextlib.suppress(NotImplementedError, PermissionError, OverflowError):
        if not WINDOWS and os.geteuid() == 0:
            os.chown(folder.at(name), meta.uid, meta.gid, dir_fd=folder.fd, follow_symlinks=False)
        os.utime(folder.at(name), ns=(meta.time, meta.time), dir_fd=folder.fd, follow_symlinks=False)


def read_link(folder: Folder, name: str) -> str:
    """Read where a symbolic link, or a junction, points."""
    try:
        return usual(os.readlink(folder.at(name), dir_fd=folder.fd))
    except ValueError as err:  # Windows has more kinds than Python
        raise OSError(errno.EINVAL, "a kind of link that is not known", name) from err


def forget_cached(fd: int) -> None:
    """Ask the system to read this file from the drive next time, not from memory."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class SourceFile(NamedTuple):
    """A regular file of a source, and its stat from before it is read."""

    folder: Folder
    name: str
    info: os.stat_result


class Care(NamedTuple):
    """How files are stored: `flush` asks for fsync of every single file."""

    pulse: Pulse
    flush: bool


def read_source(fd: int, size: int, pulse: Pulse) -> Iterator[Union[bytes, memoryview]]:
    """Read an open file of a source to its end. Raises SourceError, or Stopped."""
    pieces = chunks(fd, size)
    while True:
        piece = from_source(next, pieces, None)
        if piece is None:
            return
        pulse.beat(len(piece))
        yield piece


def pour(fd: int, out: int, info: os.stat_result, pulse: Pulse) -> Tuple[str, int]:
    """Copy a file's bytes, holes as holes; give their SHA-256 and how many there were.

    Raises SourceError for the side that is read, OSError for the side that is written.
    """
    sha, length, sparse = hashlib.sha256(), 0, is_sparse(info)
    write = write_sparse if sparse else write_all
    for piece in read_source(fd, info.st_size, pulse):
        sha.update(piece)
        write(out, piece)
        length += len(piece)
    if sparse:
        set_length(out, length)
    return sha.hexdigest(), length


def examine(file: SourceFile, pulse: Pulse) -> Copied:
    """Read a file of a source without storing it; `changing` says that it was not steady. Raises SourceError."""
    fd = from_source(file.folder.open_file, file.name, False)
    try:
        sha = hashlib.sha256()
        for piece in read_source(fd, file.info.st_size, pulse):
            sha.update(piece)
        xattrs, after = from_source(read_xattrs, fd), from_source(os.fstat, fd)
        return Copied(sha.hexdigest(), file.info, xattrs, file.info.st_size, changing=not steady(file.info, after))
    finally:
        close_read(fd)


def pour_whole(fd: int, out: int, file: SourceFile, care: Care) -> Copied:
    """Copy an open file of a source into a new one, which is closed; `changing` says that it was not steady."""
    try:
        digest, length = pour(fd, out, file.info, care.pulse)
        xattrs, after = from_source(read_xattrs, fd), from_source(os.fstat, fd)
        set_metadata_open(out, meta_from(file.info, xattrs))
        if care.flush:
            os.fsync(out)
        return Copied(digest, file.info, xattrs, length, not steady(file.info, after) or length != file.info.st_size)
    finally:
        os.close(out)


def copy_once(file: SourceFile, target: Folder, new_name: str, care: Care) -> Copied:
    """Copy one file, whether it changes meanwhile (then the result says so) or not."""
    fd = from_source(file.folder.open_file, file.name, False)
    try:
        out = target.create_file(new_name)
        try:
            copied = pour_whole(fd, out, file, care)
            set_metadata_closed(target, new_name, meta_from(file.info, copied.xattrs))
            return copied
        except (SourceError, Stopped, KeyboardInterrupt):  # half a large file would only fill the drive
            with contextlib.suppress(OSError):
                target.unlink(new_name)  # closed by now: Windows removes no open file
            raise
    finally:
        close_read(fd)


def copy_file(file: SourceFile, target: Folder, new_name: str, care: Care) -> Copied:
    """Copy one file of a source, new, with its metadata; read it again if it changes meanwhile.

    Raises SourceError for the source's side, and then no new name is left, or OSError for the drive's.
    """
    for attempt in range(1, READ_ATTEMPTS + 1):
        copied = copy_once(file, target, new_name, care)
        if not copied.changing or attempt == READ_ATTEMPTS:
            return copied
        target.unlink(new_name)
        file = file._replace(info=from_source(file.folder.stat, file.name))
        if not stat.S_ISREG(file.info.st_mode):
            raise SourceError("became something else while it was read")
    raise AssertionError("not reached")


class Small(NamedTuple):
    """A small file of a source, read whole: its bytes, and what was true of it before they were read."""

    data: bytes
    info: os.stat_result
    xattrs: Mapping[str, bytes]


def read_small(folder: Folder, name: str) -> Optional[Small]:
    """Read a small file that makes no trouble; None for any other: it takes `copy_file`, which says what is wrong.

    Windows sets no metadata of an open file, so there every file takes that.  A first copy
    consists of these files: read in one call and written in one (`write_small`), with nothing
    in between, they take a third of the time.
    """
    if os.utime not in os.supports_fd:
        return None
    try:
        fd = folder.open_file(name)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size >= CHUNK or info.st_nlink != 1 or is_sparse(info):
            return None
        data = os.read(fd, info.st_size + 1)
        small = Small(data, info, read_xattrs(fd))
        return small if len(data) == info.st_size and steady(info, os.fstat(fd)) else None
    except OSError:
        return None
    finally:
        close_read(fd)


def write_small(out: int, small: Small, flush: bool) -> None:
    """Write a small file to a new one, which is closed; its owner and mode are often right already, and a look is soon taken."""
    info = small.info
    try:
        write_all(out, small.data)
        made = os.fstat(out)
        if small.xattrs or (made.st_mode, made.st_uid, made.st_gid) != (info.st_mode, info.st_uid, info.st_gid):
            set_metadata(out, meta_from(info, small.xattrs))
        else:
            attempt(os.utime, out, ns=(info.st_mtime_ns, info.st_mtime_ns))
        if flush:
            os.fsync(out)
    finally:
        os.close(out)


def same_bytes(fd: int, file: SourceFile, pulse: Pulse) -> Optional[Copied]:
    """Compare an open file with a file of the source, byte by byte; None where they differ or the first is unreadable."""
    other = from_source(file.folder.open_file, file.name, False)
    try:
        sha, mine = hashlib.sha256(), chunks(fd, file.info.st_size)
        for piece in read_source(other, file.info.st_size, pulse):
            if next(mine, b"") != piece:
                return None
            sha.update(piece)
        xattrs, after = from_source(read_xattrs, other), from_source(os.fstat, other)
        if next(mine, None) is not None or not steady(file.info, after):
            return None
        return Copied(sha.hexdigest(), file.info, xattrs, file.info.st_size)
    except OSError:  # the drive cannot read it back
        return None
    finally:
        close_read(other)


def make_writable(folder: Folder) -> None:
    """Let entries of a folder be removed or moved away, whatever its mode."""
    if folder.fd is not None and not folder.own_stat().st_mode & stat.S_IWUSR:
        os.chmod(folder.fd, 0o700)


def link_refused(err: OSError) -> bool:
    """Tell whether a hard link cannot be had, as far as that is no reason to stop."""
    return err.errno in LINK_REFUSED or getattr(err, "winerror", None) in WINDOWS_LINK_REFUSED


def move_to_free(folder: Folder, name: str, other: Folder, new_name: str) -> bool:
    """Move a file; False where something has the new name already, which a plain rename would replace."""
    if WINDOWS:  # where one does not
        try:
            patiently(os.rename, folder.at(name), other.at(new_name))
        except FileExistsError:
            return False
        return True
    try:
        folder.link(name, other, new_name)
    except FileExistsError:
        return False
    except OSError as err:
        if not link_refused(err):
            raise
        if other.has(new_name):
            return False
        folder.rename(name, other, new_name)
    else:
        folder.unlink(name)
    return True


def adopt_leftover(leftover: Folder, file: SourceFile, target: Folder, new_name: str, care: Care) -> Optional[Copied]:
    """Move a file of an interrupted run into the new one, if its bytes prove to be the source's; else None.

    Only a regular file with a single name is taken: another name may lie in an older dated copy.
    Raises SourceError for the source's side and OSError for a failure to move.
    """
    if WINDOWS:  # there a file that was opened for reading cannot be flushed
        return None
    try:
        fd = leftover.open_file(new_name)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size != file.info.st_size:
            return None
        forget_cached(fd)
        copied = same_bytes(fd, file, care.pulse)
        if copied is None or set(read_xattrs(fd)) - set(copied.xattrs):
            return None
        set_metadata(target_of(fd, leftover, new_name), meta_from(file.info, copied.xattrs))
        os.fsync(fd)
    finally:
        close_read(fd)
    make_writable(leftover)
    # after the close: Windows moves no open file
    return copied if move_to_free(leftover, new_name, target, new_name) else None


def open_regular(folder: Folder, name: str, download: bool = True) -> Tuple[int, os.stat_result]:
    """Open a regular file for reading: its descriptor and stat. Anything else is an OSError."""
    fd = folder.open_file(name, download)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", name)
    except OSError:
        close_read(fd)
        raise
    return fd, info


def hash_file(folder: Folder, name: str, pulse: Pulse, from_disk: bool = False) -> str:
    """Read a regular file, `from_disk` if possible rather than from memory, and give its SHA-256. Raises OSError, or Stopped."""
    fd, info = open_regular(folder, name)
    try:
        sha = hashlib.sha256()
        if from_disk:
            forget_cached(fd)
        for piece in chunks(fd, info.st_size):
            pulse.beat(len(piece))
            sha.update(piece)
        return sha.hexdigest()
    finally:
        close_read(fd)


def write_again(fd: int, info: os.stat_result, folder: Folder, name: str, meta: Meta, care: Care
                ) -> Tuple[str, str]:
    """Write an open stored file to a new one; give the checksum of what was read, or why it could not be read.

    Raises OSError for the side that is written.
    """
    out, whole = folder.create_file(name), False
    try:
        try:
            try:
                digest, why = pour(fd, out, info, care.pulse)[0], ""
            except SourceError as err:
                digest, why = "", err.why
            set_metadata_open(out, meta)
            if care.flush:
                os.fsync(out)
        finally:
            os.close(out)
        set_metadata_closed(folder, name, meta)
        whole = True
        return digest, why
    finally:
        if not whole:  # also when the run is asked to end: half a file must not stand under its name
            with contextlib.suppress(OSError):
                folder.unlink(name)  # closed by now: Windows removes no open file


def write_restored(fd: int, info: os.stat_result, folder: Folder, name: str, meta: Meta, pulse: Pulse
                   ) -> Tuple[str, str]:
    """Give an open stored file back as a new one, as `write_again` does."""
    written = write_again(fd, info, folder, name, meta, Care(pulse, flush=False))
    if WINDOWS and not meta.mode & stat.S_IWUSR:  # in dated copies no file has that mark: it stands in the list
        attempt(os.chmod, folder.at(name), stat.S_IREAD)
    return written


def open_nothing() -> Tuple[int, os.stat_result]:
    """Open what has no bytes, as an empty file has none. Raises OSError."""
    fd = os.open(os.devnull, READ_FLAGS)
    return fd, os.fstat(fd)


def write_pieces(folder: Folder, name: str, pieces: Iterable[bytes]) -> None:
    """Write a new file, flushed. Raises OSError, and whatever the pieces raise; then it may be there in part."""
    out = folder.create_file(name)
    try:
        for piece in pieces:
            write_all(out, piece)
        os.fsync(out)
    finally:
        os.close(out)


def free_name(folder: Folder, name: str, ending: str, taken: Mapping[str, Any] = {}) -> str:
    """Give `name` with an ending that nothing in a folder has yet, nor will have (`taken`), within 255 bytes."""
    endings = itertools.chain([ending], (f"{ending}_{count}" for count in itertools.count(2)))
    return next(one for one in (fitting(name, each) for each in endings) if one not in taken and not folder.has(one))


def taken_for_another(folder: Folder, name: str) -> bool:
    """Tell whether what is there under a name is spelt otherwise: some disks take `Foo` for `foo`."""
    other = name.swapcase()
    return other != name and folder.has(other) and name not in folder.names()


def put_aside(folder: Folder, name: str, date: str) -> str:
    """Give something that stands in the way of a restored file a dated name; give that name."""
    aside = free_name(folder, name, f".before-restore-{date}")
    folder.rename(name, folder, aside)
    return aside


def link_same(old: Folder, old_name: str, new: Folder, name: str, size: int, time: Optional[int]) -> bool:
    """Link a stored file of `size` bytes into another folder; False where that cannot be.

    The look before tells when somebody has been at the older copy: it keeps what it has, but the
    new one must be right. `time`, in nanoseconds, is what the drive was told; None: it may have another.
    """
    try:
        stored = os.stat(old.at(old_name), dir_fd=old.fd, follow_symlinks=False)
        if stored.st_size != size or not stat.S_ISREG(stored.st_mode) or (time is not None and stored.st_mtime_ns != time):
            return False
        old.link(old_name, new, name)
    except OSError as err:
        if not link_refused(err):
            raise
        return False
    return True


def file_line(info: os.stat_result) -> str:
    """Write a manifest's line of a regular file, without what is not in its stat.

    Nearly every file has one name and times after September 2001, whose digits are sliced here
    in one go: that takes half as long as `stat_words`, which writes the same.
    """
    mtime, ctime = info.st_mtime_ns, info.st_ctime_ns
    if not WITH_CTIME or info.st_nlink != 1 or mtime < 10**18 or ctime < 10**18:
        return FILE_LINE + stat_words(info, WITH_CTIME)
    changed, modified = str(ctime), str(mtime)
    return (f"{FILE_LINE}mode={info.st_mode & 0o7777:04o} uid={info.st_uid} gid={info.st_gid} size={info.st_size} "
            f"time={modified[:-9]}.{modified[-9:]} ctime={changed[:-9]}.{changed[-9:]} ino={info.st_ino}")


def line_if_same(info: os.stat_result, was: Known, racy_after_ns: int) -> str:
    """Give quickly today's line of a file, if an earlier one says the same of it; nothing where that takes a closer look.

    The lines are compared as text, nothing is parsed: that is a fifth of an unchanged run. Another inode
    number says nothing: FAT and many network file systems invent all of them anew at each mount.
    """
    if not info.st_mtime_ns < racy_after_ns > info.st_ctime_ns:
        return ""
    line = file_line(info)
    if was.line == line:
        return line
    alike = line[:line.rfind("=") + 1]   # up to the inode number, which comes last
    if not was.line.startswith(alike) or not alike.endswith(" ino="):
        return ""
    _, _, more = was.line[len(alike):].partition(" ")
    if more and (not more.startswith("xattr.") or any(word in more for word in (" kept=", " changing", " path="))):
        return ""
    return f"{line} {more}" if more else line


SPECIAL_KINDS = {stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFCHR: "char", stat.S_IFBLK: "block"}
MOUNTED_THERE = "another disk is shown there, which was not copied; name it as a source of its own, or leave this folder out with --exclude"


def kind_of_special(info: os.stat_result) -> Optional[str]:
    """Name the kind of what is neither a file nor a folder that is entered; None for a socket. A Windows junction is a link."""
    junction = stat.S_ISDIR(info.st_mode) and not is_folder(info)
    return "link" if junction else SPECIAL_KINDS.get(stat.S_IFMT(info.st_mode))


def is_volume(target: str) -> bool:
    """Tell whether a junction points to no folder but to a whole disk of Windows, which may have no letter."""
    return WINDOWS and target.startswith(EXTENDED + "Volume{")


KIND_BITS = {"fifo": stat.S_IFIFO, "char": stat.S_IFCHR, "block": stat.S_IFBLK}


def device_words(info: os.stat_result) -> str:
    """Write a device number as mtree(5) does."""
    return f" device=linux,{os.major(info.st_rdev)},{os.minor(info.st_rdev)}"


def device_number(text: str) -> int:
    """Read what `device_words` wrote; raise ManifestDamaged for anything else."""
    found = re.fullmatch(r"linux,(\d{1,9}),(\d{1,9})", text, re.ASCII)
    if not found:
        raise ManifestDamaged(f"{quoted(text[:60])} is no device")
    return os.makedev(int(found.group(1)), int(found.group(2)))


def same_entry(folder: Folder, name: str, words: Mapping[str, str]) -> bool:
    """Tell whether a link, fifo or device that is there already is the one that a manifest's line describes."""
    info = folder.stat(name)
    if kind_of_special(info) != words.get("type"):
        return False
    if words["type"] == "link":
        return escape(read_link(folder, name)) == words.get("link")
    return words["type"] == "fifo" or device_number(words.get("device", "")) == info.st_rdev


def entry_path(folder: Folder, name: str) -> str:
    """Give a path to an entry for calls that take no folder descriptor; short, however deep the folder lies (Linux)."""
    return f"/proc/self/fd/{folder.fd}/{name}"


def entry_xattrs(folder: Folder, name: str) -> Dict[str, bytes]:
    """Read the extended attributes of a link, fifo or device itself; only root's programs give it any."""
    try:
        names = os.listxattr(entry_path(folder, name), follow_symlinks=False)
        return {one: os.getxattr(entry_path(folder, name), one, follow_symlinks=False) for one in names}
    except (OSError, AttributeError):
        return {}


def set_entry_xattrs(folder: Folder, name: str, xattrs: Mapping[str, bytes]) -> None:
    """Set the extended attributes of a link, fifo or device itself, as far as the disk can."""
    for one, value in xattrs.items():
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(entry_path(folder, name), one, value, follow_symlinks=False)


def make_entry(folder: Folder, name: str, line: str) -> bool:
    """Make the link, fifo or device that a manifest's line describes; False where the disk cannot hold it.

    Raises ManifestDamaged for a line that makes no sense, OSError where the disk fails.
    """
    words = parse_keywords(line)
    kind, meta = words.get("type", ""), meta_of(words)
    if kind == "link":
        target = unescape(words.get("link", ""))
        if "\0" in target or not target:
            raise ManifestDamaged(f"the link {quoted(name[:100])} points to nothing that can be")
        made = make_link(folder, name, target)
        if made:
            set_link_metadata(folder, name, meta)
            set_entry_xattrs(folder, name, meta.xattrs)
        return made
    if kind not in KIND_BITS:
        raise ManifestDamaged(f"nothing is known of the type {quoted(kind)}")
    device = device_number(words.get("device", "")) if kind != "fifo" else 0
    made = make_special(folder, name, KIND_BITS[kind] | 0o600, device)
    if made:
        set_metadata(folder.at(name), meta, folder.fd)
        set_entry_xattrs(folder, name, meta.xattrs)
    return made


def enter_forced(parent: Folder, name: str) -> "Folder":
    """Open a subfolder that is to be removed, also where its mode forbids it to its owner."""
    try:
        return parent.child(name)
    except PermissionError:
        if stat.S_ISDIR(parent.stat(name).st_mode):
            os.chmod(parent.at(name), 0o700, dir_fd=parent.fd)
        return parent.child(name)


def enter_or_make(parent: Folder, name: str) -> "Folder":
    """Open a subfolder, and make it first where it is missing."""
    try:
        return parent.child(name)
    except FileNotFoundError:
        return parent.make(name)


UNLINKED = re.compile(r"\.(fuse_hidden|nfs|smbdelete).+")     # what network disks make of a file that was removed while it was open


def remove_emptied(parent: Folder, name: str) -> None:
    """Remove a folder from which everything was removed. Raises OSError.

    On FUSE and network disks a file that was closed a moment ago may still count as open; then it gets another name
    when it is removed, and goes a moment later.
    """
    for pause in (0.01, 0.1, 1.0, 0.0):
        try:
            parent.rmdir(name)
            return
        except OSError as err:
            if not pause or err.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY) or not all(
                    map(UNLINKED.fullmatch, parent.child(name).names())):
                raise
        time.sleep(pause)


def remove_tree(parent: Folder, name: str) -> None:
    """Remove a folder and all below it, entering no link and no other device.

    Raises OSError where something cannot be removed; what is gone by then stays gone.
    """
    trail, device = Trail(parent.child(name)), parent.own_stat().st_dev
    todo: List[Tuple[Tuple[str, ...], bool]] = [((), False)]
    while todo:
        parts, emptied = todo.pop()
        if emptied:
            trail.at(parts[:-1]).rmdir(parts[-1])
            continue
        folder = trail.at(parts, enter_forced)
        info = folder.own_stat()
        if folder.fd is not None and info.st_dev != device:  # on Windows a mounted disk is no folder to `is_folder`
            raise OSError(errno.EXDEV, "another disk is mounted there", folder.path)
        make_writable(folder)
        if parts:
            todo.append((parts, True))
        for entry, found in folder.scan():
            if is_folder(found):
                todo.append(((*parts, entry), False))
            else:
                folder.unlink(entry)
    remove_emptied(parent, name)


def name_refused(err: OSError, drive_is_there: Callable[[], bool]) -> bool:
    """Tell whether a new entry failed because of its name alone."""
    return err.errno in NAME_REFUSED and drive_is_there()


# -- small texts --


def read_head(folder: Folder, name: str, limit: int = HEAD_LIMIT, from_disk: bool = False) -> Optional[bytes]:
    """Read a file as it is; None where there is none or it is larger than `limit` bytes. Raises OSError.

    `from_disk` if possible rather than from memory.
    """
    try:
        fd = folder.open_file(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > limit:
            return None
        if from_disk:
            forget_cached(fd)
        return b"".join(bytes(piece) for piece in chunks(fd, info.st_size))
    finally:
        close_read(fd)


def read_text(folder: Folder, name: str, limit: int = HEAD_LIMIT, from_disk: bool = False) -> Optional[str]:
    """Read a small text file, whatever ends its lines; None where `read_head` gives none. Raises OSError."""
    data = read_head(folder, name, limit, from_disk)
    return None if data is None else data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def open_at_once(path: str, flags: int) -> int:
    """Open a file that may lie behind links, for `open`; a fifo in its place is opened without waiting for who writes to it."""
    return os.open(path, flags | NONBLOCK)


def read_settings_text(path: str) -> str:
    """Read a settings file, which is UTF-8 or, from some editors of Windows, UTF-16. Raises UsageError."""
    why = ""
    try:
        with open(user_path(path), "rb", opener=open_at_once) as file:
            info = os.fstat(file.fileno())
            data = file.read(MIB + 1) if stat.S_ISREG(info.st_mode) else b""
        why = "it is no file" if not stat.S_ISREG(info.st_mode) else "it is larger than a megabyte" if len(data) > MIB else ""
        codec = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
        text = data.decode(codec).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        text, why = "", "it is no text, or in no encoding that is known here; save it as UTF-8"
    except OSError as err:
        text, why = "", "it is a folder" if err.errno == errno.EISDIR else reason(OSError(err.errno, err.strerror))
    if not why and "\0" in text:
        why = "it is no text"
    if why:
        raise UsageError(f"the settings file {show(path)} cannot be read: {why}")
    return as_names(text)


def unique_name(name: str, owner: str) -> str:
    """Make a passing name for something that is to become `name`; `owner`'s next run removes it after a crash."""
    return f".{owner}-{os.urandom(6).hex()}.{name}{INCOMPLETE}"


def remove_unique(folder: Folder, owner: str) -> None:
    """Remove what a killed run of `owner` left under passing names. Raises OSError."""
    for name in folder.names():
        if re.fullmatch(rf"\.{re.escape(owner)}-[0-9a-f]{{12}}\..+{re.escape(INCOMPLETE)}", name):
            if is_folder(folder.stat(name)):
                remove_tree(folder, name)
            else:
                folder.unlink(name)


def write_text(folder: Folder, name: str, text: str, owner: str, mode: int = 0o644) -> None:
    """Put a text file in place whole or not at all: written under a passing name, flushed, renamed."""
    unique = unique_name(name, owner)
    fd = folder.create_file(unique)
    try:
        try:
            write_all(fd, text.encode("utf-8", "surrogateescape"))
            os.fsync(fd)
        finally:
            os.close(fd)
        with contextlib.suppress(OSError):
            os.chmod(folder.at(unique), mode, dir_fd=folder.fd)
        folder.rename(unique, folder, name)
    except OSError:
        with contextlib.suppress(OSError):
            folder.unlink(unique)
        raise
    folder.flush()


def write_new(folder: Folder, name: str, text: str) -> None:
    """Write a text file that is not there yet, under its own name: nothing else is left of it when that is interrupted. Raises OSError."""
    fd = folder.create_file(name)
    try:
        write_all(fd, text.encode("utf-8", "surrogateescape"))
        os.fsync(fd)
    finally:
        os.close(fd)


def append_line(folder: Folder, name: str, line: str) -> None:
    """Add a line to a file of the set, on a line of its own even if the last one was torn by a power cut."""
    fd = os.open(folder.at(name), os.O_RDWR | os.O_APPEND | os.O_CREAT | NOFOLLOW | BINARY, 0o600, dir_fd=folder.fd)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise OSError(errno.EMLINK, "it has another name, perhaps in a dated copy", name)
        size = info.st_size
        torn = False
        if size:
            os.lseek(fd, size - 1, os.SEEK_SET)
            torn = os.read(fd, 1) != b"\n"
        write_all(fd, ("\n" * torn + line + "\n").encode("utf-8", "surrogateescape"))
        os.fsync(fd)
    finally:
        os.close(fd)


def open_real_folders(parent: Folder, names: Iterable[str]) -> List[Folder]:
    """Open those subfolders that are folders indeed, not links, and can be read."""
    found = []
    for name in names:
        with contextlib.suppress(OSError):
            found.append(parent.child(name))
    return found


def make_private(folder: Folder, name: str) -> None:
    """Make a folder that is nobody else's business, and let its name survive a power cut."""
    folder.make(name)
    folder.flush()


def give_to_owner(folder: Folder, name: str) -> None:
    """Give what was just made in a folder to whom the folder belongs, where this user may: root's would lock the owner out."""
    if not WINDOWS:
        info = folder.own_stat()
        attempt(os.chown, folder.at(name), info.st_uid, info.st_gid, dir_fd=folder.fd, follow_symlinks=False)


def point_latest(set_folder: Folder, name: str, owner: str) -> None:
    """Make the link `latest` point to a dated copy, where the drive has links; better none than one that is out of date."""
    unique = unique_name(LATEST, owner)
    if set_folder.has(LATEST) and not stat.S_ISLNK(set_folder.stat(LATEST).st_mode):
        return
    try:
        os.symlink(name, set_folder.at(unique), target_is_directory=True, dir_fd=set_folder.fd)
    except (OSError, NotImplementedError):
        return
    if not set_folder.has(unique):  # Wine says that it made one, and did not
        return
    if WINDOWS:  # which replaces no link to a folder
        for remove in (set_folder.rmdir, set_folder.unlink):
            with contextlib.suppress(OSError):
                remove(LATEST)
    set_folder.rename(unique, set_folder, LATEST)


# -- what is mounted, and on which disks --


def free_space(path: str) -> Tuple[int, int]:
    """Give the free and the total bytes of the disk that holds `path`."""
    usage = shutil.disk_usage(path)
    return usage.free, usage.total


COMMON_CLUSTER = 4 * KIB


def cluster_size(path: str) -> int:
    """Give the bytes that the smallest file takes on the disk that holds `path`, as far as the system tells: many on exFAT."""
    with contextlib.suppress(OSError, AttributeError):
        if WINDOWS:
            import ctypes
            numbers = [ctypes.c_ulong() for _ in range(4)]  # sectors in a cluster, bytes in a sector, and what is free
            if not ctypes.windll.kernel32.GetDiskFreeSpaceW(mount_point(path), *map(ctypes.byref, numbers)):  # type: ignore[attr-defined,unused-ignore]
                return COMMON_CLUSTER
            return numbers[0].value * numbers[1].value or COMMON_CLUSTER
        return os.statvfs(path).f_frsize or COMMON_CLUSTER
    return COMMON_CLUSTER


def in_clusters(size: int, cluster: int) -> int:
    """Give the bytes that a file of this size takes on a drive, whose clusters are whole.

    >>> in_clusters(1, 4096), in_clusters(4096, 4096), in_clusters(0, 4096)
    (4096, 4096, 0)
    """
    return -(-size // cluster) * cluster


def used_on_disks(paths: Iterable[str], cluster: int) -> Dict[int, int]:
    """Give the bytes in use on each of the disks that hold these paths, as they would be at most on a drive with such clusters."""
    found = {}
    for path in paths:
        used, files = shutil.disk_usage(path).used, 0
        with contextlib.suppress(OSError, AttributeError):
            files = os.statvfs(path).f_files - os.statvfs(path).f_ffree
        found[os.stat(path).st_dev] = used + (files or used // COMMON_CLUSTER) * (cluster if cluster > COMMON_CLUSTER else 0)
    return found


def disks_below(device: str) -> Set[str]:
    """Name the whole disks that a block device of Linux ("8:1") lies on, be it a partition or made of several."""
    try:
        place = os.path.realpath(f"/sys/dev/block/{device}")
        if os.path.exists(f"{place}/partition"):
            return {os.path.basename(os.path.dirname(place))}
        parts = os.listdir(f"{place}/slaves") if os.path.isdir(f"{place}/slaves") else []
        found = {os.path.basename(place)} if os.path.isdir(place) and not parts else set()
        for part in parts:
            with open(f"{place}/slaves/{part}/dev", encoding="ascii") as file:
                found |= disks_below(file.read().strip())
        return found
    except OSError:
        return set()


class Mounted(NamedTuple):
    """One mounted file system: where and, as far as the system tells, its type, its number ("8:1"), its device."""

    place: str
    kind: str = ""
    number: str = ""
    device: str = ""


NETWORK = "network"      # the type of what lies on another computer, where the system tells no more


def drive_letters() -> List[Mounted]:
    """List the disks that have a letter on Windows."""
    import ctypes
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    network, removable, fixed, memory = 4, 2, 3, 6  # GetDriveTypeW; an optical disk (5) is none to copy to, and slow to ask
    letters = [f"{letter}:{os.sep}" for at, letter in enumerate(string.ascii_uppercase) if kernel.GetLogicalDrives() >> at & 1]
    kinds = {letter: kernel.GetDriveTypeW(letter) for letter in letters}
    return [Mounted(letter, NETWORK if kind == network else "") for letter, kind in kinds.items()
            if kind in (network, removable, fixed, memory)]


def volume_kind(path: str) -> str:
    """Name the file system that holds `path`, as Windows calls it: NTFS, exFAT, FAT32."""
    import ctypes
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    top, kind = ctypes.create_unicode_buffer(1024), ctypes.create_unicode_buffer(64)
    if kernel.GetVolumePathNameW(path, top, len(top)) and kernel.GetVolumeInformationW(top, None, 0, None, None, None, kind, len(kind)):
        return kind.value
    return ""


@functools.lru_cache(maxsize=1)
def parse_mounts(text: str) -> Tuple[Mounted, ...]:
    """Read Linux' list of mounts, which a run asks for again and again, and which seldom changes meanwhile."""
    found = []
    for line in text.split("\n"):
        words, _, rest = line.partition(" - ")
        if rest:
            number, _, place = words.split(" ")[2:5]
            kind, device = map(unescape, rest.split(" ")[:2])
            found.append(Mounted(unescape(place), kind, number, device))
    return tuple(found)


def mounts() -> Sequence[Mounted]:
    """List what is mounted on this computer."""
    if WINDOWS:
        return drive_letters()
    try:
        with open("/proc/self/mountinfo", encoding=NAME_CODEC[0], errors=NAME_CODEC[1], newline="\n") as file:
            return parse_mounts(file.read())
    except OSError:  # macOS has no such list, but one folder where all disks appear
        with contextlib.suppress(OSError):
            return [Mounted("/"), *(Mounted(os.path.join("/Volumes", name)) for name in os.listdir("/Volumes"))]
        return [Mounted("/")]


def mount_entry(path: str) -> Tuple[str, str]:
    """Give the type and the device of the file system that holds `path`, from Linux' list of mounts; empty elsewhere."""
    best = Mounted("")
    for one in mounts():
        if is_inside(path, one.place) and len(one.place) >= len(best.place):
            best = one
    return best.kind, best.device


def disks_behind(device: str) -> Set[str]:
    """Name the whole disks that a device of Linux, such as /dev/sdb1, lies on."""
    with contextlib.suppress(OSError):
        if device.startswith("/dev/"):
            number = os.stat(device).st_rdev
            return disks_below(f"{os.major(number)}:{os.minor(number)}")
    return set()


# What holds no person's files, and what must not be touched unasked: a network's server may be gone, and whoever asks it waits.
PSEUDO_KINDS = frozenset((
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs", "fusectl",
    "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tracefs"))
NETWORK_KINDS = frozenset((
    "9p", "afs", "afpfs", "ceph", "cifs", "coda", "davfs", "fuse", "glusterfs", "lustre", "ncpfs", NETWORK, "nfs", "nfs4", "smb3",
    "smbfs", "webdav"))


NUMBERLESS = frozenset(("exfat", "fuseblk", "msdos", "vfat"))     # whose inode numbers are made up, anew while they are mounted, too


def is_network(mount: Mounted) -> bool:
    """Tell whether a mounted file system may lie on another computer; who serves a "fuse.sshfs" and its like is not known."""
    return mount.kind in NETWORK_KINDS or mount.kind.startswith("fuse.")


def is_ours(folder: str, name: str) -> bool:
    """Tell whether a folder and a file in it belong to this user or to root; so does all where users have no numbers.

    Anybody may make a folder in /tmp with a marker in it, and would be given the copies.
    """
    if not hasattr(os, "geteuid"):
        return True
    try:
        return all(os.lstat(path).st_uid in (0, os.geteuid()) for path in (folder, os.path.join(folder, name)))
    except OSError:
        return False


def is_open_to_all(folder: str) -> bool:
    """Tell whether anybody may make files in a folder but nobody take away another's, as in /tmp, which may be a disk of its own."""
    try:
        return not WINDOWS and os.stat(folder).st_mode & (stat.S_ISVTX | stat.S_IWOTH) == stat.S_ISVTX | stat.S_IWOTH
    except OSError:
        return False


def local_places(all_mounts: Sequence[Mounted]) -> Iterator[str]:
    """Give where a drive may lie: the top of each local disk, and our own folders directly below it that are no other disk.

    What lies below a network's disk is not looked at either, as the way there leads over it; but for the system's own top.
    """
    tops = {one.place for one in all_mounts}
    servers = [one.place for one in all_mounts if one.place != "/" and is_network(one)]
    for mount in all_mounts:
        if is_network(mount) or mount.kind in PSEUDO_KINDS or any(is_inside(parent_path(mount.place), one) for one in servers):
            continue
        if not is_open_to_all(mount.place) or is_ours(mount.place, MARKER):
            yield mount.place
        with contextlib.suppress(OSError):
            for entry in os.scandir(mount.place):
                # the name is looked up first: to look at the top of a dead server's disk may take for ever
                if entry.path not in tops and entry.is_dir(follow_symlinks=False) and is_ours(entry.path, MARKER):
                    yield entry.path


def answers(path: str, seconds: float) -> bool:
    """Tell whether a path can be looked at within some seconds. A process of its own asks, as whoever asks a dead server hangs."""
    import subprocess  # here, because only a network's drive needs it
    ask = "import os, sys; os.stat(sys.argv[1])"
    try:
        asking = subprocess.Popen([sys.executable, "-I", "-S", "-c", ask, path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
    except (OSError, ValueError):
        return True  # whoever wants it finds out
    try:
        asking.wait(seconds)
    except subprocess.TimeoutExpired:
        asking.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            asking.wait(1)  # and not until it has ended: the system may not be able to end it
        return False
    return True


def leads_through_link(path: str) -> bool:
    """Tell whether a path, or one of the folders above it, is a symbolic link; nothing behind one is touched."""
    above = os.path.dirname(path)
    return (above != path and leads_through_link(above)) or os.path.islink(path)


def may_hang(path: str, all_mounts: Sequence[Mounted]) -> bool:
    """Tell whether to look at a path may take for ever: it leads over a network's disk, or where it leads cannot be known."""
    holders = [one for one in all_mounts if is_inside(path, one.place)]
    return (WINDOWS or MACOS or not holders or any(is_network(one) or one.kind == "autofs" for one in holders)
            or leads_through_link(path))


def leads_to_server(path: str, all_mounts: Sequence[Mounted]) -> bool:
    """Tell whether a path is known to lead over a network's disk, or a link may lead there where one is mounted."""
    servers = [one for one in all_mounts if is_network(one) and one.place != "/"]  # without that one nothing runs anyway
    return any(is_inside(path, one.place) for one in servers) or (bool(servers) and leads_through_link(path))


def disks_of(path: str) -> Set[str]:
    """Name the disks that hold a path: its device and, where Linux tells, the whole disks below it; btrfs hides them behind a number."""
    device = os.stat(path).st_dev
    found = {str(device)}
    if hasattr(os, "major"):
        found |= disks_below(f"{os.major(device)}:{os.minor(device)}")
    return found | disks_behind(mount_entry(path)[1])


def mounted_beside(path: str) -> List[str]:
    """List the other places where something of the disk of `path`, a mount point, is mounted, as far as Linux tells."""
    own = {disk for one in mounts() if one.place == path for disk in disks_below(one.number) | disks_behind(one.device)}
    return [one.place for one in mounts() if one.place != path and own & (disks_below(one.number) | disks_behind(one.device))]


def system_disks() -> Set[str]:
    """Give the disks of this computer's own system and home, which no offline drive can be on."""
    places = (os.environ.get("SYSTEMDRIVE", "C:") + os.sep if WINDOWS else "/", os.path.expanduser("~"))
    found: Set[str] = set()
    for place in places:
        with contextlib.suppress(OSError):  # a home folder that cannot be looked at is on no drive that can be written to
            found |= disks_of(place)
    return found


def mount_kind(path: str) -> str:
    """Name the type of file system that holds `path`, from Linux' list of mounts; empty elsewhere."""
    return mount_entry(path)[0]


FAT_FILE = 2**32 - 1     # bytes: FAT has four bytes for the size


def largest_file(path: str) -> int:
    """Give how many bytes a file can have at most on the disk that holds `path`; 0 where no limit is known."""
    if MACOS:  # a FAT there has 33 bits, signed (POSIX, pathconf)
        with contextlib.suppress(OSError, ValueError):
            return FAT_FILE if os.pathconf(path, "PC_FILESIZEBITS") <= 33 else 0
    return FAT_FILE if (volume_kind(path) if WINDOWS else mount_kind(path)) in ("vfat", "msdos", "FAT32", "FAT") else 0


def takes_portable_names(path: str) -> bool:
    """Tell whether the disk that holds `path` is known to take no other names than Windows does."""
    return WINDOWS or mount_kind(path) in ("exfat", "msdos", "vfat")


def is_far(path: str) -> bool:
    """Tell whether each call to the disk that holds a path may take long, as on a network. macOS does not tell: there it may."""
    return MACOS or is_network(Mounted("", mount_kind(whole_path(path))))


def worker_count(asked: int, far: bool) -> int:
    """Give how many share the work, when nothing is asked for (0): with two cores four measured best.

    On a disk far away nearly all of a worker's time is waiting for an answer, which others use.
    """
    return asked or (8 if far else min(8, 2 + (os.cpu_count() or 1)))


def is_same_folder(path: str, now: os.stat_result, then: os.stat_result) -> bool:
    """Tell whether what is at a path is still the folder that it was; the device decides where inode numbers change by themselves."""
    return now.st_dev == then.st_dev and (now.st_ino == then.st_ino or is_far(path) or mount_kind(whole_path(path)) in NUMBERLESS)


# -- flushing --


class Flushing:
    """Flushes a whole drive at the end of a run and, beside the work, whenever so many bytes were written.

    That leaves little for the end: a first copy of small files takes a tenth less. The system tells
    of a failed write once, so what a flush beside the work was told fails the run.
    """

    EACH = 300_000_000      # bytes; a third of it, or no end of it, measured slower

    def __init__(self, flush: Callable[[], None]) -> None:
        self.flush = flush
        self.begun_at = 0                       # bytes
        self.thread: Any = None
        self.error: Optional[OSError] = None

    def go_on(self, written: int) -> None:
        """Take how many bytes were written so far. Raises OSError when the drive failed."""
        if self.error:
            raise self.error
        if written - self.begun_at >= self.EACH and not (self.thread and self.thread.is_alive()):
            import threading  # here, because only long runs need it
            self.begun_at = written
            self.thread = threading.Thread(target=self._flush_beside, daemon=True)
            self.thread.start()

    def _flush_beside(self) -> None:
        try:
            self.flush()
        except OSError as err:
            self.error = err

    def finish(self) -> None:
        """Flush everything. Raises OSError when the drive failed, now or before."""
        if self.thread:
            self.thread.join()
        self.go_on(self.begun_at)
        self.flush()


def whole_flush(root: Folder) -> Optional[Flushing]:
    """Give what flushes a whole drive and reports failed writes, where the system has a call that can be trusted.

    That is Linux' syncfs from 5.8 on, for disks of this machine: os.sync(), an older syncfs, and syncfs on FUSE or
    network file systems return as if all were well, also when a device that failed writes for a moment has lost
    some.  It reports the failures since `root` was opened.  Without it each file is flushed by itself: so on
    Windows and macOS, which have no such call, and on ZFS, which does not tell syncfs what went wrong.
    """
    kind = mount_kind(os.path.realpath(root.path)) if root.fd is not None else ""
    if kind not in ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat", "ntfs3", "tmpfs", "jfs"):
        return None
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if not release or (int(release.group(1)), int(release.group(2))) < (5, 8):
        return None
    import ctypes  # here, because it is slow to load and few commands need it
    libc = ctypes.CDLL(None, use_errno=True)

    def flush() -> None:
        if libc.syncfs(root.fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), root.path)
    return Flushing(flush) if hasattr(libc, "syncfs") else None


def flush_drive(path: str) -> None:
    """Flush a whole drive, where the system has a call that can be trusted. Raises OSError when the drive failed."""
    flushing = whole_flush(Folder.top(path))
    if flushing:
        flushing.finish()


def settled_space(root: Folder) -> Tuple[int, int]:
    """Give the free and the total bytes of a drive when all counts that was removed there. Raises OSError.

    Btrfs counts it only when it is flushed, XFS a moment later.
    """
    flush, before = whole_flush(root), (-1, -1)
    for _ in range(20):
        if flush:
            flush.finish()
        space = free_space(root.path)
        if space == before:
            break
        before = space
        time.sleep(0.05)
    return before


# Network shares have no such thing as a drive's own memory, and what they say of it differs.
FULL_FLUSH_REFUSED = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY, errno.ENOSYS}


def flush_memory(fd: int) -> None:
    """Have a drive empty its own memory, if fsync does not see to that: on macOS it leaves bytes there, which a pulled plug loses.

    Once, at the end, is enough, and all that is bearable: for each file it would mean to wait for the drive each time.
    """
    if MACOS:
        import fcntl
        try:
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined,unused-ignore]
        except OSError as err:
            if err.errno not in FULL_FLUSH_REFUSED:
                raise


def flush_hard(fd: int) -> None:
    """Flush a file and, with all that was flushed before, the drive's own memory. Raises OSError."""
    os.fsync(fd)
    flush_memory(fd)


# -- what a drive can do --


def takes_names(folder: Folder, names: Iterable[str]) -> bool:
    """Tell whether a folder can have entries of these names, and calls them so."""
    try:
        for name in names:
            os.close(folder.create_file(name))
    except (OSError, UnicodeError):
        return False
    return set(folder.names()).issuperset(names)


# What Windows wrote or may read one day; a server often has such a disk, and Linux calls each file system in FUSE on a disk the same.
OF_WINDOWS = {"ntfs", "ntfs3", "exfat", "vfat", "msdos", "fuseblk", "cifs", "smb3", "smbfs"}


def try_names(folder: Folder, hard_links: bool) -> Naming:
    """Find out in a trial folder which names a drive takes; on those of Windows, which go to other computers, only what all can read.

    What has no hard links is of that kind as well. Half of a surrogate pair is never tried: it ends exfat-fuse.
    """
    naming = Naming.BYTES if takes_names(folder, ["\udce9"]) else Naming.TEXT
    if WINDOWS or not hard_links or mount_kind(folder.path) in OF_WINDOWS or not takes_names(
            folder, ["a:b", "c?", 'd"', "e<*>|", "f\\g", "h ", "i.", "j\1"]):
        naming = Naming.PORTABLE
    return naming if takes_names(folder, [as_names("\u65e5")]) else Naming.ASCII


def can_link(trial: Folder) -> bool:
    """Tell whether a drive has hard links, by linking "a" to "b". Raises OSError.

    How a copy is laid out hangs on that, so a refusal counts when it comes twice: one alone may be a failure that passes.
    """
    for _ in range(2):
        try:
            trial.link("a", trial, "b")
            return True
        except OSError as err:
            if not link_refused(err) or err.errno == errno.ENOENT:  # what was just made is gone: so is the drive
                raise
    return False


def try_drive(folder: Folder) -> Abilities:
    """Find out what a drive can do by trying it in a new folder, which is removed again. Raises OSError."""
    remove_unique(folder, "init")  # what a killed one left
    name = unique_name("trial", "init")
    trial = folder.make(name)
    try:
        os.close(trial.create_file("a"))
        links = can_link(trial)
        counts = links and trial.stat("b").st_nlink == 2
        modes = not WINDOWS
        if modes:
            os.chmod(trial.at("a"), 0o640, dir_fd=trial.fd)
            modes = stat.S_IMODE(trial.stat("a").st_mode) == 0o640
        odd = 1700000001_123456789
        os.utime(trial.at("a"), ns=(odd, odd), dir_fd=trial.fd)
        off = abs(trial.stat("a").st_mtime_ns - odd)
        step = next((unit for unit in (1, 100, 1000, 10**7, 10**9) if off < unit), 2 * 10**9)
        symlinks = make_link(trial, "c", "a")
        composed, apart = as_names("\u00fc"), as_names("u\u0308")
        takes_names(trial, [composed])
        same, decomposes = trial.has(apart), apart in trial.names()
        return Abilities(links, counts, symlinks, modes, step, not trial.has("A") and not same, try_names(trial, links), decomposes)
    finally:
        remove_tree(folder, name)


# -- what the system is set to --


def hides_folders() -> bool:
    """Tell whether macOS keeps this program from people's private folders (Full Disk Access)."""
    try:
        return MACOS and not os.listdir(os.path.expanduser("~/Library/Mail"))
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def running(*programs: str) -> Optional[bool]:
    """Tell whether one of these programs runs on Linux; None where that is not known."""
    names = set()
    try:
        for one in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{one}/comm", encoding="utf-8", errors="replace") as file:
                names.add(file.read().strip())
    except OSError:
        return None
    return bool(names.intersection(programs)) if names else None


# -- locks --


def system_lock(fd: int, shared: bool = False) -> None:
    """Lock a descriptor without waiting; the system lets go of it when the process dies. Raises OSError."""
    if WINDOWS:
        import msvcrt
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def lock_file(set_folder: Folder, local_name: str) -> int:
    """Take the set's lock until the descriptor that is given back is closed, or this process dies.

    Where the drive has no locks, a file of this computer named `local_name` stands in.
    Raises Locked when another run has it.
    """
    flags = os.O_RDWR | os.O_CREAT | NOFOLLOW | BINARY
    fd = os.open(set_folder.at(LOCK), flags, 0o600, dir_fd=set_folder.fd)
    try:
        system_lock(fd)
    except OSError as err:
        os.close(fd)
        if not err.errno or err.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):  # Wine gives no number
            raise Locked("another run of snapback is working on this set; wait for it, nothing was done now") from err
        import tempfile  # here, because few drives need it
        fd = os.open(os.path.join(tempfile.gettempdir(), local_name), flags, 0o600)
        try:
            system_lock(fd)
        except OSError as again:
            os.close(fd)
            raise Locked("another run of snapback is working on this set; wait for it, nothing was done now") from again
    return fd


def lock_for_reading(set_folder: Folder) -> None:
    """Share the set with other readers until the folder is closed: whoever deletes dated copies waits for them.

    The folder itself is locked: that needs no file, and works on a drive that is read-only.
    Raises Locked while old dated copies are being deleted.
    """
    if set_folder.fd is not None:
        try:
            system_lock(set_folder.fd, shared=True)
        except OSError as err:
            if err.errno == errno.EAGAIN:
                raise Locked("old dated copies are being deleted, or damaged files healed, on this drive just now; try again in a few "
                             "minutes, nothing was done now") from err


def keep_readers_out(set_folder: Folder) -> bool:
    """Keep readers out of a set until the folder is closed, or shared with them again; False where somebody reads.

    Where the drive has no locks, nobody is known of.
    """
    try:
        if set_folder.fd is not None:
            system_lock(set_folder.fd)
    except OSError as err:
        if err.errno in (errno.EAGAIN, errno.EACCES):
            return False
    return True


def let_others_in(set_folder: Folder) -> None:
    """Let go of a lock on a set's folder, which may stay open for a while: an error and its frames hold each other."""
    if set_folder.fd is not None:
        with contextlib.suppress(OSError, ImportError):
            import fcntl
            fcntl.flock(set_folder.fd, fcntl.LOCK_UN)


def unlock(fd: int) -> None:
    """Let go of a lock."""
    close_read(fd)


# -- this computer, and its record of drives --


def host_name() -> str:
    """Give this computer's name."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "computer")


def machine_id() -> str:
    """Give what tells this computer from others, whatever its name: a hash of the system's own identity."""
    identity = ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with contextlib.suppress(OSError):
            with open(path, encoding="ascii", errors="replace") as file:
                identity = identity or file.read(100).strip()
    if not identity and WINDOWS:
        import winreg
        with contextlib.suppress(OSError):
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE,  # type: ignore[attr-defined,unused-ignore]
                                r"SOFTWARE\Microsoft\Cryptography") as key:
                identity = str(winreg.QueryValueEx(key, "MachineGuid")[0])  # type: ignore[attr-defined,unused-ignore]
    if not identity and MACOS:
        import ctypes
        value, wait = (ctypes.c_ubyte * 16)(), (ctypes.c_long * 2)(5, 0)
        with contextlib.suppress(AttributeError):
            if ctypes.CDLL(None).gethostuuid(value, wait) == 0:
                identity = bytes(value).hex()
    return hashlib.sha256(f"snapback {identity or 'host ' + host_name()}".encode()).hexdigest()[:32]


def registry_number(key: str, name: str) -> Optional[int]:
    """Read a number that holds for a whole computer from the registry of Windows; None where there is none."""
    import winreg as real
    winreg: Any = real
    with contextlib.suppress(OSError):
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key, 0, winreg.KEY_READ | winreg.KEY_WOW64_64KEY) as opened:
            return int(winreg.QueryValueEx(opened, name)[0])
    return None


def guards_folders() -> bool:
    """Tell whether Windows keeps programs that it does not know from writing into people's folders."""
    for policy in ("Policies\\", "") if WINDOWS else ():
        place = f"SOFTWARE\\{policy}Microsoft\\Windows Defender\\Windows Defender Exploit Guard\\Controlled Folder Access"
        number = registry_number(place, "EnableControlledFolderAccess")
        if number is not None:
            return number == 1  # others only note, or guard disks
    return False


def shows_long_paths() -> bool:
    """Tell whether other programs here open paths of more than 260 characters, as snapback does."""
    return not WINDOWS or registry_number("SYSTEM\\CurrentControlSet\\Control\\FileSystem", "LongPathsEnabled") == 1


def refusal_cure(err: OSError) -> str:
    """Say what helps where another program, or Windows' guard against ransomware, may have kept us from writing; else an empty text.

    The guard says of a new file also that there is none.
    """
    if is_in_use(err):
        return "another program, perhaps a virus scanner, has something open there: close it, or wait a little, then run the same again"
    if err.errno not in (errno.EACCES, errno.EPERM, errno.ENOENT) or not guards_folders():
        return ""
    return ('"Controlled folder access" of Windows is on, and may be what refused: in Windows Security, Virus & threat protection, '
            f"Ransomware protection, allow {show(sys.executable)} through it, then run the same command again")


def own_folder(variable: str, on_windows: str, on_others: str) -> str:
    """Give the folder where this platform's programs of one user keep something: what a variable names, else the usual one."""
    if MACOS:
        return os.path.expanduser("~/Library/Application Support/snapback")
    return os.path.join(os.environ.get(variable) or os.path.expanduser(on_windows if WINDOWS else on_others), "snapback")


def configuration_path() -> str:
    """Give the path of this user's settings."""
    return os.path.join(own_folder("APPDATA" if WINDOWS else "XDG_CONFIG_HOME", "~\\AppData\\Roaming", "~/.config"), SETTINGS)


def usual_folders() -> Dict[str, str]:
    """Give where this user's documents, pictures, desktop and the like are, as far as they are there (xdg-user-dirs on Linux)."""
    home = os.path.expanduser("~")
    found = {name: os.path.join(home, name) for name in ("Documents", "Pictures", "Desktop", "Music", "Movies" if MACOS else "Videos")}
    with contextlib.suppress(OSError), open(os.path.join(own_folder("XDG_CONFIG_HOME", "", "~/.config"), "..", "user-dirs.dirs"),
                                            encoding="utf-8", errors=NAME_CODEC[1]) as file:
        for word, path in re.findall(r'^XDG_(\w+)_DIR="\$HOME/([^"\\]+)"', file.read(), re.MULTILINE):
            if word.title() in found or word == "DOCUMENTS":
                found[word.title()] = os.path.join(home, path)
    return {name: path for name, path in found.items() if os.path.isdir(path) and os.path.realpath(path) != os.path.realpath(home)}


def state_path() -> str:
    """Give the path of the local record of drives; it is a convenience, never needed."""
    return os.path.join(own_folder("LOCALAPPDATA" if WINDOWS else "XDG_STATE_HOME", "~\\AppData\\Local", "~/.local/state"), "drives.json")


def read_record() -> Dict[str, Any]:
    """Read the local record; whatever is wrong with it, it is then an empty one."""
    try:
        with open(state_path(), encoding="utf-8", opener=open_at_once) as file:
            record = json.loads(file.read(MIB))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(record: Mapping[str, Any]) -> None:
    """Write the local record; a failure to do so is no failure."""
    if not os.path.isabs(state_path()):  # no home folder
        return
    with contextlib.suppress(OSError, ValueError):
        os.makedirs(os.path.dirname(state_path()), mode=0o700, exist_ok=True)
        folder = Folder.top(os.path.dirname(state_path()))
        write_text(folder, "drives.json", json.dumps(record, indent=1), "init")


def known_drives() -> Dict[str, Dict[str, str]]:
    """Give from the local record, for each path where a marked drive was seen, its id and label."""
    drives = read_record().get("drives")
    found = {path: one for path, one in drives.items() if isinstance(one, dict)} if isinstance(drives, dict) else {}
    return {path: one for path, one in found.items() if all(isinstance(word, str) for word in one.values())}


def remember_drive(path: str, marker: Marker) -> None:
    """Note in the local record that a marked drive was seen at `path`."""
    known = known_drives()
    if known.get(path) != {"id": marker.id, "label": marker.label}:
        write_record({**read_record(), "drives": {**known, path: {"id": marker.id, "label": marker.label}}})


def seen_drives() -> Dict[str, Seen]:
    """Give from the local record what was last seen on each drive."""
    seen = read_record().get("seen")
    found = seen.items() if isinstance(seen, dict) else ()
    return {name: parse_seen(one) for name, one in found if re.fullmatch(r"[0-9a-f]{32}", name, re.ASCII)}


def note_seen(drive_id: str, seen: Seen) -> None:
    """Note in the local record what was seen on a drive."""
    if seen_drives().get(drive_id) != seen:
        record = read_record()
        kept = record.get("seen")
        write_record({**record, "seen": {**(kept if isinstance(kept, dict) else {}), drive_id: seen._asdict()}})


# -- the program and its surroundings --


def terminal_width(stream: TextIO) -> int:
    """Give how many columns the terminal behind a stream has."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def silence(stream: TextIO) -> None:
    """Let what is still printed to a closed stream go nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def script_path() -> str:
    """Give the path of this very file."""
    return os.path.realpath(__file__)


def own_text() -> str:
    """Read this very file."""
    with open(script_path(), encoding="utf-8") as file:
        return file.read()


def is_taken(path: str) -> bool:
    """Tell whether there is anything at a path, be it a link that leads nowhere."""
    return os.path.lexists(path)


IN_MEMORY = {"tmpfs", "ramfs", "devtmpfs", "overlay"}    # no place for copies: it is empty after the next start


def spare_places() -> List[Tuple[str, int]]:
    """List the tops of local disks that are not this computer's own, where copies could go, and the bytes that are free there."""
    found, own, kinds = [], system_disks(), {one.place: one.kind for one in mounts()}
    for place in local_places(mounts()):
        with contextlib.suppress(OSError):
            spare = kinds.get(place) not in IN_MEMORY and bool(disks_of(place)) and not disks_of(place) & own
            if os.access(place, os.W_OK) and (spare or is_taken(join_path(place, MARKER))):
                found.append((place, free_space(place)[0]))
    return found


def marked_places() -> List[str]:
    """List the drives that are attached, whether this computer knows them or not."""
    return [place for place in local_places(mounts()) if is_taken(join_path(place, MARKER))]


def is_real_folder(path: str) -> bool:
    """Tell whether there is a folder at a path, not a link to one."""
    try:
        return is_folder(os.lstat(path))
    except OSError:
        return False


def leads_nowhere(path: str) -> bool:
    """Tell whether a path is a link to something that is not there."""
    return os.path.islink(user_path(path)) and not os.path.exists(user_path(path))


def typed_paths(text: str, base: str, several: bool = True) -> List[str]:
    """Read the paths that a person types, with commas between them, or drags into a terminal, where they come quoted or escaped.

    What is no whole path is meant from the folder `base`. Quotes and commas that belong to a name do no harm.
    """
    import shlex  # here, because few commands need it

    def unquoted(part: str) -> List[str]:
        lexer = shlex.shlex(part, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", "" if WINDOWS else "\\"
        with contextlib.suppress(ValueError):  # an apostrophe in a name is no quote
            return list(lexer)
        return [part]

    def read(part: str) -> List[str]:
        words = unquoted(part)
        if is_taken(os.path.join(base, user_path(part))):
            words = [part]
        elif len(words) > 1 and not (several and all(os.path.isabs(word) and is_taken(word) for word in words)):
            words = [part]  # blanks of one name
        return [os.path.normpath(os.path.join(base, user_path(word))) for word in words]

    parts = re.findall(r"""\s*('[^']*'|"[^"]*"|[^,]+?)\s*(?:,|$)""", text) if several else [text.strip()]
    return [path for part in parts if part for path in read(part)]


def make_folders(path: str) -> None:
    """Make a folder and those above it that are missing. Raises OSError."""
    os.makedirs(extended(path), mode=NEW_FOLDER_MODE)


def new_id() -> str:
    """Make an id that no other drive has: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def current_folder() -> str:
    """Give the current folder; an empty text where it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def find_program(name: str) -> str:
    """Give the path of a program that the system's own search path leads to; empty where there is none.

    The current folder never counts, though Windows looks there first: it may be one on a stranger's drive.
    """
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        for ending in ("", ".exe", ".cmd", ".bat") if WINDOWS else ("",):
            path = os.path.join(folder, name + ending)
            if os.path.isabs(folder) and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    return ""


def user_number() -> int:
    """Give the number of this user; 0 where users have none."""
    return os.getuid() if hasattr(os, "getuid") else 0


def session_bus() -> str:
    """Give the address of this user's desktop, which cron does not tell; empty where nobody is logged in."""
    path = f"/run/user/{user_number()}/bus"
    return f"unix:path={path}" if os.path.exists(path) else ""


def without_console(python: str) -> str:
    """Give the Python that opens no window of its own when Windows starts it."""
    silent = re.sub(r"python(\.exe)?$", r"pythonw\1", python, flags=re.IGNORECASE)
    return silent if WINDOWS and os.path.isfile(silent) else python


@contextlib.contextmanager
def passing_file(data: bytes, ending: str) -> Iterator[str]:
    """Lend the path of a file with this content, as long as another program needs it. Raises OSError."""
    import tempfile  # here, because it is slow to load and one command needs it
    fd, path = tempfile.mkstemp(ending)
    try:
        try:
            write_all(fd, data)
        finally:
            os.close(fd)
        yield path
    finally:
        os.unlink(path)


@contextlib.contextmanager
def passing_folder(place: str) -> Iterator[str]:
    """Lend the path of a new folder at a place; it goes again with all that is in it. Raises OSError; SnapbackError where it stays."""
    import tempfile  # here, because it is slow to load and one command needs it
    path = tempfile.mkdtemp("", "snapback-rehearsal-", extended(place))
    try:
        yield path
    finally:
        try:
            remove_tree(Folder.top(os.path.dirname(path)), os.path.basename(path))
        except OSError as err:
            raise SnapbackError(f"{show(usual(path))} could not be removed ({reason(err)}); it holds copies of files: remove it by hand"
                                ) from err


def passing_place(place: str) -> str:
    """Give the folder in which `passing_folder` makes one. Raises OSError."""
    import tempfile
    return place or tempfile.gettempdir()


def forget_file(folder: Folder, name: str) -> None:
    """Let a stored file be read from the drive next time, not from memory. Raises OSError."""
    fd = open_regular(folder, name)[0]
    forget_cached(fd)
    close_read(fd)


def read_restored(folder: Folder, name: str, pulse: Pulse) -> Tuple[str, int, Meta]:
    """Read a restored file of this user's: the checksum of its bytes, their number, and its metadata. Raises OSError, or Stopped."""
    info = folder.stat(name)
    if not info.st_mode & stat.S_IRUSR and stat.S_ISREG(info.st_mode):
        os.chmod(folder.at(name), stat.S_IMODE(info.st_mode) | stat.S_IRUSR, dir_fd=folder.fd)
    fd, now = open_regular(folder, name)
    try:
        xattrs = read_xattrs(fd)
    finally:
        close_read(fd)
    return hash_file(folder, name, pulse, from_disk=True), now.st_size, meta_from(info, xattrs)


def metadata_on(folder: Folder, meta: Meta) -> Meta:
    """Give what of some metadata a new file has that gets all of it, as the disk of a folder, or the system, may refuse a part."""
    name = unique_name("probe", "snapback")
    fd = folder.create_file(name)
    try:
        try:
            set_metadata_open(fd, meta)
        finally:
            os.close(fd)
        set_metadata_closed(folder, name, meta)
        fd, info = open_regular(folder, name)
        try:
            return meta_from(info, read_xattrs(fd))
        finally:
            close_read(fd)
    finally:
        folder.unlink(name)


def may_set_owners() -> bool:
    """Tell whether this user may give files to others."""
    return not WINDOWS and os.geteuid() == 0


def chance() -> Any:
    """Give what makes random choices: a random.Random, which the system seeds."""
    import random  # here, because one command needs it
    return random.Random()  # noqa: S311 - nothing is kept secret by it


# -- manifests on the disk --


# What stays when a file is moved within its disk, and whether it had several names.
MOVED_FILE = re.compile(rb"^# type=file [^\n]*? size=(\d+) time=(\S+)(?: ctime=\S+)? ino=(\d+)( nlink=)?[^\n]*\n\\?([0-9a-f]{6})",
                        re.MULTILINE)


class Manifest:
    """A manifest whose last line has proved every byte above it; its lines can be read again and again."""

    def __init__(self, file: BinaryIO, header: Dict[str, Any], end: Dict[str, Any], begins: int, ends: int) -> None:
        self.file, self.header, self.end = file, header, end
        self.begins, self.ends = begins, ends

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a drive that went away refuses even this
            self.file.close()

    def lines(self) -> Iterator[str]:
        """Give the lines between the first and the last. Raises ManifestDamaged for one that is endless."""
        for piece in self._pieces(MIB, b"\n"):
            yield from piece.split("\n")

    def entries(self, size: int = CHUNK) -> Iterator[str]:
        """Give the same in pieces of whole entries, of about `size` bytes: a file's two lines stay together. Raises ManifestDamaged."""
        return self._pieces(size, b"\n# type=")

    def _pieces(self, size: int, cut: bytes) -> Iterator[str]:
        """Give the text between the first and the last line, in pieces between which a `cut` stands; its newline goes."""
        at, rest = self.begins, b""
        while at < self.ends:
            self.file.seek(at)  # another reader of the same manifest may be under way
            data = self.file.read(min(self.ends - at, size))
            if not data:
                raise ManifestDamaged("it became shorter while it was read")
            at += len(data)
            data = rest + data
            whole = data.rfind(cut) if at < self.ends else len(data) - 1
            rest = data[whole + 1:]
            if len(rest) > 2 * LINE_LIMIT:  # a file has two lines
                raise ManifestDamaged("it has an endless line")
            if b"\0" in data:
                raise ManifestDamaged("it has a zero byte")
            if at == self.ends and not data.endswith(b"\n"):
                raise ManifestDamaged("its last line is cut off")
            if whole >= 0:
                yield data[:whole].decode(*NAME_CODEC)

    def files_at(self) -> Iterator[Tuple[int, "re.Match[bytes]"]]:
        """Give where each regular file's lines begin, in bytes, and what MOVED_FILE finds in them."""
        at, rest = self.begins, b""
        while at < self.ends:
            self.file.seek(at)
            data = self.file.read(min(self.ends - at, MIB))
            if not data:
                return
            at += len(data)
            data = rest + data
            whole = data.rfind(b"\n# type=") + 1 if at < self.ends else len(data)
            for found in MOVED_FILE.finditer(data, 0, whole):
                yield at - len(data) + found.start(), found
            rest = data[whole:]

    def known_at(self, offset: int) -> Known:
        """Give the two lines of the file that begin at a place."""
        self.file.seek(offset)
        line, hashed = (self.file.readline(LINE_LIMIT).decode(*NAME_CODEC).rstrip("\n") for _ in range(2))
        return Known(line, hashed)


class Index:
    """Finds a file of a manifest by what stays when it is moved, or (from 1 MiB) by its checksum, in 8 bytes a file, or 16.

    Each is a number: 24 bits of what it is found by, and where its lines begin. A clash costs a look at another file's lines.
    """

    PLACE_BITS = 40      # a manifest has less than a terabyte

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        moved, large = array("Q"), array("Q")
        for offset, found in manifest.files_at():
            size, time, inode, names, digest = found.groups()
            moved.append(self.key(b" ".join((size, time, inode))) << self.PLACE_BITS | offset)
            if int(size) >= MIB and not names:  # one stored file of several names is left to its group
                large.append(int(digest, 16) << self.PLACE_BITS | offset)
        self.moved, self.large = array("Q", sorted(moved)), array("Q", sorted(large))

    @staticmethod
    def key(text: bytes) -> int:
        """Give 24 bits of a hash."""
        return zlib.crc32(text) >> 8

    def by_stat(self, info: os.stat_result, begins: int = 0) -> Iterator[Tuple[int, Known]]:
        """Give files of the same size, time and inode, each with its place, from a place on."""
        words = (str(info.st_size), time_text(info.st_mtime_ns), str(info.st_ino))
        for place, known in self._at(self.moved, self.key(" ".join(words).encode("ascii")), begins):
            found = parse_keywords(known.line)
            if (found.get("size"), found.get("time"), found.get("ino")) == words:
                yield place, known

    def by_digest(self, digest: str) -> Iterator[Tuple[int, Known]]:
        """Give files of the same checksum, each with its place."""
        for place, known in self._at(self.large, int(digest[:6], 16)):
            if parse_hash_line(known.hash_line)[0] == digest:
                yield place, known

    def _at(self, numbers: "array[int]", key: int, begins: int = 0) -> Iterator[Tuple[int, Known]]:
        for at in range(bisect.bisect_left(numbers, key << self.PLACE_BITS | begins), len(numbers)):
            if numbers[at] >> self.PLACE_BITS != key:
                return
            place = numbers[at] & ((1 << self.PLACE_BITS) - 1)
            yield place, self.manifest.known_at(place)


def open_manifest(file: BinaryIO, prove: bool = True) -> "Manifest":
    """Read a manifest's first and last line and, to `prove` it, hash what lies above the last.

    Raises ManifestDamaged for what is not whole, OSError where it cannot be read.
    """
    file.seek(0, 2)
    size = file.tell()
    tail, begins_end = b"", 0
    for reach in (HEAD_LIMIT, LINE_LIMIT):  # the last line of many sources is long
        file.seek(max(0, size - reach))
        tail = file.read(reach)
        begins_end = tail.rfind(b"\n", 0, -1) + 1
        if begins_end:
            break
    if not tail.endswith(b"\n") or not tail.startswith(END_MAGIC.encode(), begins_end):
        raise ManifestDamaged("its last line is missing: the dated copy was never finished, or the file was cut off")
    ends = size - len(tail) + begins_end
    end = parse_end(tail[begins_end:-1].decode(*NAME_CODEC))
    file.seek(0)
    first = file.readline(LINE_LIMIT)
    if not first.endswith(b"\n"):
        raise ManifestDamaged("its first line is missing")
    header = parse_header(first[:-1].decode(*NAME_CODEC))
    if prove:
        sha, left = hashlib.sha256(), ends
        file.seek(0)
        while left:
            data = file.read(min(left, MIB))
            if not data:
                raise ManifestDamaged("it became shorter while it was read")
            left -= len(data)
            sha.update(data)
        if sha.hexdigest() != end["sha256"]:
            raise ManifestDamaged("its bytes are not those that were written")
    return Manifest(file, header, end, len(first), ends)


def manifest_file(folder: Folder, name: str = MANIFEST, from_disk: bool = False) -> BinaryIO:
    """Open a manifest for reading, `from_disk` if possible. Raises OSError, also where it is no regular file."""
    fd = open_regular(folder, name)[0]
    if from_disk:
        forget_cached(fd)
    try:
        return open(fd, "rb")
    except OSError:
        close_read(fd)
        raise


def unpacked_twin(set_folder: Folder, name: str) -> Iterator[bytes]:
    """Unpack the twin of a manifest piece by piece. Raises OSError or ManifestDamaged."""
    with manifest_file(set_folder.child(TWINS), name + ".gz") as packed:
        unpacker = zlib.decompressobj(GZIP)
        left = TWIN_RATIO * os.fstat(packed.fileno()).st_size + MIB
        while not unpacker.eof:
            data = unpacker.unconsumed_tail or packed.read(MIB)
            if not data:
                raise ManifestDamaged("it is cut off")
            try:
                piece = unpacker.decompress(data, MIB)
            except zlib.error as err:
                raise ManifestDamaged("it is damaged") from err
            left -= len(piece)
            if left < 0:
                raise ManifestDamaged("it would fill the disk")
            yield piece


def twin_first_line(set_folder: Folder, name: str) -> bytes:
    """Read the first line of the twin of a manifest; empty where there is none to be had, or it is long."""
    try:
        with manifest_file(set_folder.child(TWINS), name + ".gz") as packed:
            text = zlib.decompressobj(GZIP).decompress(packed.read(HEAD_LIMIT), HEAD_LIMIT)
    except (OSError, zlib.error):
        return b""
    line, end, _rest = text.partition(b"\n")
    return line + end if end else b""


def twin_file(set_folder: Folder, name: str) -> BinaryIO:
    """Unpack the twin of a manifest into a nameless file. Raises OSError or ManifestDamaged."""
    import tempfile  # here, because a twin is read only when something is wrong
    out: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the manifest
    try:
        for piece in unpacked_twin(set_folder, name):
            out.write(piece)
    except (ManifestDamaged, OSError):
        out.close()
        raise
    return out


def same_as_twin(manifest: "Manifest", set_folder: Folder, name: str) -> bool:
    """Tell whether a manifest and its twin are the same, byte by byte. Raises OSError or ManifestDamaged."""
    manifest.file.seek(0)
    return all(manifest.file.read(len(piece)) == piece for piece in unpacked_twin(set_folder, name)) and not manifest.file.read(1)


def proved_manifest(file: BinaryIO) -> "Manifest":
    """Open a manifest that is closed again if it proves nothing. Raises ManifestDamaged, OSError."""
    try:
        return open_manifest(file)
    except (ManifestDamaged, OSError):
        file.close()
        raise


def load_manifest(set_folder: Folder, name: str) -> "Manifest":
    """Open the proved manifest of a dated copy, or its twin. Raises ManifestDamaged where neither is whole."""
    why: Optional[Exception] = None
    try:
        for is_twin in (False, True):
            try:
                return proved_manifest(twin_file(set_folder, name) if is_twin else manifest_file(set_folder.child(name)))
            except (ManifestDamaged, OSError) as err:
                why = why or err
        raise ManifestDamaged(reason(why) if why else "") from why
    finally:
        why = None  # else the error and this frame hold each other, and with them the locks of whoever called


class ManifestWriter:
    """Writes a manifest and, beside it, its twin, while a run goes on; hashing and packing on a thread of their own.

    Nothing of it is valid before `finish` has written the last line.
    """

    def __init__(self, folder: Folder, twins: Folder, twin: str) -> None:
        self.fd = folder.create_file(MANIFEST)
        self.open_fds = [self.fd]
        try:
            self.twin_fd = twins.create_file(twin)
        except OSError:
            close_read(self.fd)
            raise
        self.open_fds.append(self.twin_fd)
        self.packer = zlib.compressobj(1, zlib.DEFLATED, GZIP)  # higher levels measured: 4 times slower for 15 % less
        self.sha = hashlib.sha256()
        self.waiting: List[str] = []
        self.length = 0
        self.thread, self.under_way = None, deque()  # type: Any, Deque[Any]

    def work_beside(self) -> None:
        """Hash and pack on a thread from now on."""
        if not self.thread:
            from concurrent.futures import ThreadPoolExecutor  # here, because it is slow to load
            self.thread = ThreadPoolExecutor(1)

    def add(self, lines: List[str]) -> None:
        """Write lines (without their ends). Raises SourceGone for one that no reader would believe."""
        if not lines:
            return
        text = "\n".join(lines)
        if len(text) > LINE_LIMIT // 4:  # a character has four bytes at most
            at, line = max(enumerate(lines), key=lambda one: len(one[1]))
            if len(line.encode(*NAME_CODEC)) >= LINE_LIMIT:
                stored = "".join(lines[at + 1:at + 2]).partition("  ")[2]  # a file's metadata names it only in its next line
                path = (line.partition(" path=")[2] or stored)[-200:]
                raise SourceGone(f"what is to be noted of {show(path)} (its attributes, its path, or the excludes) is too long to be read "
                                 "again: no dated copy was made; leave it out with --exclude")
        self.waiting.append(text)
        self.length += len(text)
        if self.length > CHUNK:
            self._hand_over()

    def _hand_over(self) -> None:
        data = ("\n".join(self.waiting) + "\n").encode(*NAME_CODEC) if self.waiting else b""
        self.waiting, self.length = [], 0
        if not self.thread:
            self._write(data)
            return
        self.under_way.append(self.thread.submit(self._write, data))
        while len(self.under_way) > 4:
            self.under_way.popleft().result()

    def _write(self, data: bytes) -> None:
        self.sha.update(data)
        self._put(data)

    def _put(self, data: bytes) -> None:
        write_all(self.fd, data)
        write_all(self.twin_fd, self.packer.compress(data))

    def settle(self) -> None:
        """Write out all lines so far. Raises OSError if that failed, also earlier."""
        self._hand_over()
        while self.under_way:
            self.under_way.popleft().result()

    def finish(self, end: Mapping[str, Any]) -> None:
        """Write the last line, and flush both files. Raises OSError."""
        self.settle()
        self._put((END_MAGIC + json.dumps({**end, "sha256": self.sha.hexdigest()}) + "\n").encode("ascii"))
        write_all(self.twin_fd, self.packer.flush())
        flush_hard(self.fd)
        os.fsync(self.twin_fd)

    def close(self) -> None:
        """Close both files and end the thread, whatever happened."""
        if self.thread:
            self.thread.shutdown(wait=True)
        for fd in self.open_fds:
            close_read(fd)
        self.open_fds = []


def write_twin(set_folder: Folder, twins: Folder, name: str) -> None:
    """Write the twin of a manifest that has none. Raises ManifestDamaged where the manifest is not whole."""
    with manifest_file(set_folder.child(name)) as file:
        open_manifest(file)
        file.seek(0)
        out = twins.create_file(name + ".gz" + INCOMPLETE)
        try:
            packer = zlib.compressobj(1, zlib.DEFLATED, GZIP)
            for data in iter(lambda: file.read(MIB), b""):
                write_all(out, packer.compress(data))
            write_all(out, packer.flush())
            os.fsync(out)
        finally:
            os.close(out)
    twins.rename(name + ".gz" + INCOMPLETE, twins, name + ".gz")


def write_page_list(set_folder: Folder, lists: Folder, name: str) -> None:
    """Write what the recovery page reads of a date, which has none of it yet. Raises ManifestDamaged, OSError."""
    unique = name + PAGE_ENDING + INCOMPLETE
    with load_manifest(set_folder, name) as manifest:
        write_pieces(lists, unique, (piece.encode("utf-8") for piece in PageList(name).script(manifest.entries())))
    lists.rename(unique, lists, name + PAGE_ENDING)


# -- walking a source --


class Rules(NamedTuple):
    """What of a source is left out."""

    patterns: Tuple[Pattern, ...] = ()
    caches: bool = False
    if_present: Tuple[str, ...] = ()
    one_file_system: bool = False

    @property
    def tags(self) -> List[str]:
        """Name the entries that let a folder be left out."""
        return sorted({*self.if_present, *([CACHE_TAG] if self.caches else ())})


class Visit(NamedTuple):
    """One folder of a source, on the way down (`folder` is open), on the way up, or unreadable (`error`)."""

    parts: Tuple[str, ...]
    info: os.stat_result
    folder: Optional[Folder] = None
    files: Sequence[Tuple[str, Optional[os.stat_result]]] = ()   # None: it cannot be looked at
    left_out: Sequence[str] = ()     # names that the rules exclude
    tagged: bool = False             # because of an entry in the folder, which any program may put there
    unreadable: Mapping[str, OSError] = {}
    error: Optional[SourceError] = None

    @property
    def leaving(self) -> bool:
        """Tell whether all that is in the folder has been visited."""
        return self.folder is None and self.error is None


def is_cache(folder: Folder) -> bool:
    """Tell whether the CACHEDIR.TAG in a folder has the signature that makes it one."""
    try:
        fd = folder.open_file(CACHE_TAG, False)
    except OSError:
        return False
    try:
        return os.read(fd, len(CACHE_SIGNATURE)) == CACHE_SIGNATURE
    except OSError:
        return False
    finally:
        close_read(fd)


def tags_in(folder: Folder, found: Iterable[Tuple[str, os.stat_result]], rules: Rules) -> List[str]:
    """Name the entries by which a folder is left out."""
    names = {name for name, _ in found}
    tags = [name for name in rules.if_present if name in names]
    return [*tags, CACHE_TAG] if rules.caches and CACHE_TAG in names and is_cache(folder) else tags


def keep_wanted(folder: Folder, parts: Tuple[str, ...], found: List[Tuple[str, os.stat_result]],
                rules: Rules) -> List[Tuple[str, os.stat_result]]:
    """Leave out what the rules exclude; of a tagged folder only the tag stays, so that it is known again."""
    tags = tags_in(folder, found, rules)
    if tags:
        return [pair for pair in found if pair[0] in tags and not is_folder(pair[1])]
    prefix = "".join(part + "/" for part in parts)
    return [(name, info) for name, info in found if not excluded(prefix + name, is_folder(info), rules.patterns)]


def walk(top: Folder, rules: Rules, closed: Collection[Stamp] = ()) -> Iterator[Visit]:
    """Visit a source folder by folder, in the order of a manifest; links and what is `closed`, as the drive, are not entered."""
    trail, top_info = Trail(top), top.own_stat()
    todo: List[Tuple[Tuple[str, ...], os.stat_result, Union[bool, OSError]]] = [((), top_info, False)]
    while todo:
        parts, info, visited = todo.pop()
        if isinstance(visited, OSError):
            yield Visit(parts, info, error=source_error(visited))
            continue
        if visited:
            yield Visit(parts, info)
            continue
        try:
            folder, unreadable = trail.at(parts), {}  # type: Folder, Dict[str, OSError]
            found = folder.scan(unreadable)
        except OSError as err:
            yield Visit(parts, info, error=source_error(err))
            continue
        wanted = found
        if rules.one_file_system and info.st_dev != top_info.st_dev:
            wanted = []
        elif rules.patterns or rules.caches or rules.if_present:
            wanted = keep_wanted(folder, parts, found, rules)
        files, below = dict(wanted), {}  # type: Dict[str, os.stat_result], Dict[str, os.stat_result]
        for name in [name for name, one in wanted if is_folder(one)]:
            below[name] = files.pop(name)
        inside = [name for name in below if stamp(below[name]) not in closed]
        todo.append((parts, info, True))
        inside += unreadable  # perhaps a folder: the earlier copy will tell
        for name in sorted(inside, key=byte_order(inside), reverse=True):
            todo.append(((*parts, name), below.get(name, info), unreadable.get(name, False)))
        names = [*files, *unreadable]
        in_order = [(name, files.get(name)) for name in sorted(names, key=byte_order(names))]
        left_out = [] if wanted is found else list(dict(found).keys() - dict(wanted).keys())
        tagged = bool(left_out) and bool(tags_in(folder, found, rules))
        yield Visit(parts, info, folder, in_order, left_out, tagged, unreadable)


# -- working side by side --

# Processes are forked, as threads of one Python wait for each other at every call: with them a first copy of small files took
# 1.5 times as long, and linking unchanged ones on threads brought nothing. macOS' own libraries do not survive a fork.
CAN_FORK = sys.platform == "linux" and HAS_DIR_FD
PATIENCE = 300               # looks at processes that are to end: about five seconds in all
TICK = 0.2                   # seconds between two looks at how far a long piece of work is
CROSSING = (OSError, SnapbackError, SourceError, ManifestDamaged)  # what a worker's failure may be


def spare_descriptors() -> int:
    """Give how many folders may be kept open for others to work in; the system's limit is raised where it lets us.

    Linux gives 1,024 descriptors and macOS 256 to those who do not ask; several walks hold OPEN_LEVELS each.
    """
    try:
        import resource  # not on Windows
    except ImportError:
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    with contextlib.suppress(OSError, ValueError):
        if 0 < soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return min(512, soft // 4)


class WorkerDied(SnapbackError):
    """A process of the run was ended from outside."""

    def __init__(self) -> None:
        super().__init__("the system ended a part of this run, perhaps for want of memory: nothing new was finished, and every "
                         "earlier dated copy is untouched; run the same command again, with --jobs 1 if this comes back")


class Parcel:
    """Pieces of work that go to a worker together, what is to be done with each result, and the results."""

    def __init__(self) -> None:
        self.pieces: List[Any] = []
        self.then: List[Callable[[Any], None]] = []
        self.cost = self.open = 0
        self.last: Optional[Folder] = None
        self.results: Optional[Sequence[Any]] = None

    def add(self, piece: Any, then: Callable[[Any], None], folders: Sequence[Optional[Folder]], cost: int) -> None:
        """Put a piece in; `folders` are those in which it works: the parcel keeps them open."""
        self.pieces.append(piece)
        self.then.append(then)
        self.cost += cost
        if folders[0] is not self.last:
            self.last = folders[0]
            self.open += len(folders)


class FolderPickler(pickle.Pickler):
    """Writes pieces of work for another process; of a folder only the place of its descriptor among `fds`."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.fds: List[int] = []
        self.places: Dict[int, Tuple[int, str]] = {}

    def persistent_id(self, thing: Any) -> Optional[Tuple[int, str]]:
        """Name a folder by its descriptor's place, and anything else not at all."""
        if type(thing) is not Folder or thing.fd is None:
            return None
        if thing.fd not in self.places:
            self.places[thing.fd] = (len(self.fds), thing.path)
            self.fds.append(thing.fd)
        return self.places[thing.fd]


class FolderUnpickler(pickle.Unpickler):
    """Reads what FolderPickler wrote, with the descriptors that came with it."""

    def __init__(self, file: io.BytesIO, fds: Sequence[int]) -> None:
        super().__init__(file)
        self.fds, self.folders = fds, {}  # type: Sequence[int], Dict[int, Folder]

    def persistent_load(self, place: Tuple[int, str]) -> Folder:
        """Give the folder, the same for the same place."""
        at, path = place
        if at not in self.folders:
            self.folders[at] = Folder(path, self.fds[at])
        return self.folders[at]


def receive(source: Any, length: int) -> bytes:
    """Read so many bytes from another process. Raises WorkerDied when it has ended."""
    data = bytearray()
    try:
        while len(data) < length:
            more = source.recv(length - len(data))
            if not more:
                raise WorkerDied
            data += more
    except OSError as err:
        raise WorkerDied from err
    return bytes(data)


def die_with(boss: int) -> None:
    """Let this process be killed when process `boss` dies, and by nothing that a terminal sends to both (prctl(2))."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ImportError, AttributeError):  # without it, it ends when it has done its parcel
        import ctypes
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != boss:
        os._exit(0)


class Hand:
    """A forked process that works for this one: it has what was open at the fork, and gets further folders as descriptors.

    It has one parcel at a time, so that neither side waits for the other to read (a pipe holds little).
    """

    MOST_FDS = 250  # Linux passes 253 at a time
    HEAD = 8        # bytes that say how long what follows is

    def __init__(self, handle: Callable[[Any], Any], pulse: Pulse, number: int, others: Sequence["Hand"]) -> None:
        import socket  # here and in the other methods, because only long runs need it
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.parcel: Optional[Parcel] = None
        boss = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for one in (self, *others):  # or the end of this process would not be seen there
                    one.socket.close()
                die_with(boss)
                pulse.mine, pulse.alone = number, False
                self.serve(theirs, handle)
            finally:
                os._exit(0)  # whatever happens: nothing of the other process may be tidied up here
        theirs.close()

    def serve(self, theirs: Any, handle: Callable[[Any], Any]) -> None:
        """Do pieces of work until the other side closes."""
        import array
        import socket
        room = socket.CMSG_SPACE(self.MOST_FDS * array.array("i").itemsize)
        with contextlib.suppress(Stopped, WorkerDied, OSError):
            while True:
                head, extra, _flags, _address = theirs.recvmsg(self.HEAD, room, socket.MSG_WAITALL)
                if not head:
                    return
                fds = array.array("i")
                for _level, _kind, data in extra:
                    fds.frombytes(data)
                text = receive(theirs, int.from_bytes(head, "big"))
                try:
                    answer: Any = [handle(piece) for piece in FolderUnpickler(io.BytesIO(text), fds).load()]
                except CROSSING as err:
                    answer = err
                text = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
                theirs.sendall(len(text).to_bytes(self.HEAD, "big") + text)

    def give(self, parcel: Parcel) -> None:
        """Hand over a parcel. Raises WorkerDied."""
        import array
        import socket
        file = io.BytesIO()
        pickler = FolderPickler(file)
        pickler.dump(parcel.pieces)
        text = file.getvalue()
        fds = array.array("i", pickler.fds)
        try:
            self.socket.sendmsg([len(text).to_bytes(self.HEAD, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else [])
            self.socket.sendall(text)
        except OSError as err:
            raise WorkerDied from err
        self.parcel = parcel

    def take(self) -> None:
        """Take what became of the parcel; raise what was raised there, or WorkerDied."""
        length = int.from_bytes(receive(self.socket, self.HEAD), "big")
        answer = pickle.loads(receive(self.socket, length))  # noqa: S301 - from a fork of this very process
        parcel, self.parcel = self.parcel, None
        if isinstance(answer, BaseException):
            raise answer
        if parcel:
            parcel.results = answer

    def has_ended(self) -> bool:
        """Tell whether the process is no more."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True


def new_pulse(watch: Watch, count: int) -> Pulse:
    """Make what `count` workers share, be they processes."""
    cells: Any = bytearray(16)
    if CAN_FORK and count > 1:
        import mmap  # here, because only long runs need it
        cells = mmap.mmap(-1, 8 * (1 + count))
    return Pulse(watch, memoryview(cells).cast("Q"))


class Crew:
    """Some forked processes; a parcel goes to whichever is idle."""

    def __init__(self, handle: Callable[[Any], Any], pulse: Pulse, count: int) -> None:
        self.pulse = pulse
        self.hands: List[Hand] = []
        for number in range(1, count + 1):
            try:
                self.hands.append(Hand(handle, pulse, number, self.hands))
            except OSError:  # no more processes are to be had: those that there are do the work
                break

    def give(self, parcel: Parcel) -> None:
        """Hand over a parcel as soon as somebody is idle."""
        self._collect(0)
        while all(hand.parcel for hand in self.hands):
            self._collect(TICK)
        next(hand for hand in self.hands if not hand.parcel).give(parcel)

    def wait_for(self, parcel: Parcel) -> None:
        """Wait until a parcel is done; raise what was raised there."""
        while parcel.results is None:
            self._collect(TICK)

    def _collect(self, seconds: float) -> None:
        """Take what is done by now, or within some seconds."""
        import select
        busy = {hand.socket.fileno(): hand for hand in self.hands if hand.parcel}
        poll = select.poll()
        for fd in busy:
            poll.register(fd, select.POLLIN)
        for fd, _event in poll.poll(seconds * 1000) if busy else ():
            busy[fd].take()
        self.pulse.tell()

    def close(self) -> None:
        """Let all end when they have done their piece, and end those that take long: a dead disk may hold them for ever."""
        left = self.hands
        for hand in left:
            hand.socket.close()
        for patience in range(PATIENCE):
            left = [hand for hand in left if not hand.has_ended()]
            if not left:
                return
            for hand in left if patience == PATIENCE // 2 else ():
                os.kill(hand.pid, signal.SIGKILL)
            time.sleep(0.001 if patience < 50 else 0.02)


class Threads:
    """Some threads, where no process can be forked."""

    def __init__(self, handle: Callable[[Any], Any], pulse: Pulse, count: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # here, because it is slow to load
        self.handle, self.pulse = handle, pulse
        pulse.alone = False  # only the main thread may tell
        self.pool = ThreadPoolExecutor(count)
        self.under_way: Dict[Parcel, Any] = {}

    def give(self, parcel: Parcel) -> None:
        """Hand over a parcel."""
        self.under_way[parcel] = self.pool.submit(lambda: [self.handle(piece) for piece in parcel.pieces])

    def wait_for(self, parcel: Parcel) -> None:
        """Wait until a parcel is done; raise what was raised there."""
        from concurrent.futures import wait
        future = self.under_way.pop(parcel)
        while not future.done():
            wait([future], TICK)
            self.pulse.tell()
        parcel.results = future.result()

    def close(self) -> None:
        """Let all go, when they have done what they are at."""
        for future in self.under_way.values():
            future.cancel()
        self.pool.shutdown(wait=True)


class Workers:
    """Does pieces of work side by side, and takes the results in the order in which they were given.

    `handle` does one piece and gives its result. Pieces travel in parcels, as handing over each
    small file alone takes longer than copying it.
    """

    PARCEL = 4 * MIB            # the most that a parcel costs
    FAR_PARCEL = PARCEL // 8   # where waiting is what takes long, and all are to share it

    def __init__(self, count: int, pulse: Pulse, handle: Callable[[Any], Any], far: bool = False) -> None:
        self.count, self.pulse, self.handle = count, pulse, handle
        self.far, self.most_cost = far, self.FAR_PARCEL if far else self.PARCEL
        self.stepping = False                           # somebody's result is being taken here
        self.others: Union[Crew, Threads, None] = None
        spare = spare_descriptors()
        self.most_waiting = 2 * count
        self.most_open = spare // self.most_waiting     # folders of a parcel
        self.most_kept = spare // 2                     # folders that what is to be done afterwards keeps open
        self.parcel = Parcel()                          # the one that is being filled
        self.waiting: Deque[Union[Parcel, Tuple[Callable[[], None], int]]] = deque()
        self.parcels = self.kept = 0                    # of what is waiting

    def submit(self, piece: Any, then: Callable[[Any], None], folders: Sequence[Optional[Folder]], cost: int) -> None:
        """Have a piece done by somebody, and `then` with its result here, before any `after` that is given later.

        A `then` may give further pieces, which come last. `folders` are those in which it works, `cost` is in bytes to be read and
        their like.
        """
        if self.count == 1:
            then(self.handle(piece))
            return
        if not self.parcel.pieces:
            self.waiting.append(self.parcel)
            self.parcels += 1
        self.parcel.add(piece, then, folders, cost)
        if self.parcel.cost >= self.most_cost or self.parcel.open >= self.most_open:
            self.gather()
            self._give()
            while self.parcels > self.most_waiting and not self.stepping:
                self._step()

    def after(self, then: Callable[[], None], keeps: int = 0) -> None:
        """Do `then` here, after everything given before; it keeps so many folders open until then."""
        while self.waiting and not self.stepping and (self.kept + keeps > self.most_kept or not isinstance(
                self.waiting[0], Parcel) or self.waiting[0].results is not None):
            self._step()
        if self.waiting or self.stepping:
            self.waiting.append((then, keeps))
            self.kept += keeps
        else:
            then()

    def gather(self) -> None:
        """Get the others together when there is a parcel for them: little work is sooner done alone."""
        if not self.others:
            self.others = Crew(self.handle, self.pulse, self.count) if CAN_FORK else Threads(self.handle, self.pulse, self.count)
        if isinstance(self.others, Crew) and not self.others.hands:  # no process is to be had
            self.others, self.count = None, 1

    def _give(self) -> None:
        parcel, self.parcel = self.parcel, Parcel()
        if self.others:
            self.others.give(parcel)
        else:
            parcel.results = [self.handle(piece) for piece in parcel.pieces]

    def _step(self) -> None:
        """Finish what has waited longest."""
        first = self.waiting[0]
        if isinstance(first, Parcel):
            if first is self.parcel:
                self._give()
            if self.others and first.results is None:
                self.others.wait_for(first)
        self.waiting.popleft()
        self.stepping = True
        try:
            if isinstance(first, Parcel):
                self.parcels -= 1
                for then, result in zip(first.then, first.results or ()):
                    then(result)
            else:
                then_here, keeps = first
                self.kept -= keeps
                then_here()
        finally:
            self.stepping = False

    def drain(self) -> None:
        """Wait for everything."""
        while self.waiting:
            self._step()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.pulse.stop()
        if self.others:
            self.others.close()
        self.waiting.clear()


# --- 10. Jobs ----------------------------------------------------------------------------------


def read_marker(root: Folder, from_disk: bool = False) -> Optional[Marker]:
    """Read the marker of a drive; None where there is none. Raises OSError where the drive fails."""
    text = read_text(root, MARKER, from_disk=from_disk)
    return parse_marker(text) if text is not None else None


class Drive:
    """An open drive; it knows its root again, so that a run never writes beside it."""

    def __init__(self, path: str, marker: Optional[Marker]) -> None:
        self.path, self.marker = path, marker
        self.root = Folder.top(path)
        self.info = self.root.own_stat()
        self.stamp = stamp(self.info)
        self.safe = "every earlier dated copy on it is untouched"    # what is so whatever fails; deleting changes that

    @property
    def label(self) -> str:
        """Give the name that people know the drive by."""
        return show(self.marker.label) if self.marker else show(self.path)

    @property
    def where(self) -> str:
        """Give the name and the place, for sentences about trouble."""
        return f"{self.label} ({show(self.path)})" if self.marker else self.label

    def let_go(self) -> None:
        """Close the drive, so that it can be ejected; nothing can be done with it any more."""
        self.root = Folder(self.path, None)

    def is_there(self) -> bool:
        """Look at the root and the marker anew: same device, same folder, same id; a dead disk goes on giving what is in memory."""
        try:
            info = stat_path(self.path)
            if info is None or not is_same_folder(self.path, info, self.info):
                return False
            return not self.marker or read_marker(Folder.top(self.path), from_disk=True) == self.marker
        except OSError:
            return False

    def check(self) -> None:
        """Raise DriveError unless the drive is still there; asked before each publishing and each deletion."""
        if not self.is_there():
            raise DriveError(f"the drive {self.where} went away or failed; {self.safe}; attach it again and run the same command: it "
                             "carries on")

    def trouble(self, err: OSError, missing: int = 0) -> DriveError:
        """Turn a failed call on the drive into a sentence; `missing` bytes would still have been needed."""
        if err.errno in FULL:
            with contextlib.suppress(OSError):  # it may be names that there is no room for
                missing = missing if missing > free_space(self.path)[0] else 0
            much = f" (about {size_text(missing)} more are needed)" if missing > 0 else ""
            return DriveError.of_full(f"the drive {self.where} is full{much}; {self.safe}; make room on it or take a larger one, then run "
                                      "the same command again: it carries on with what was already copied")
        what, way_out = self._diagnose(err)
        return DriveError("; ".join(part for part in (what, self.safe, way_out) if part))

    def _diagnose(self, err: OSError) -> Tuple[str, str]:
        """Say what a failed call on the drive, which is not full, comes from, and what to do."""
        why = reason(err)
        if is_read_only(err):
            return f"the drive {self.where} is read-only", "check it, attach it again and run the same command: it carries on"
        if err.errno in BROKEN or getattr(err, "winerror", None) in WINDOWS_BROKEN:
            return f"the file system on the drive {self.where} is broken ({why})", (
                "let the system repair it (chkdsk on Windows, First Aid on macOS, fsck on Linux), then run: snapback.py verify")
        if err.errno in OWN_LIMITS and (err.errno != errno.ENOMEM or self.is_there()):  # ext4 says so of a disk that is gone
            return f"this computer let no more files be opened, or had no memory left ({why})", (
                "end other programs, or add --jobs 1, and run the same command again")
        if err.errno in {*GONE, errno.ENOMEM} or not self.is_there():
            return f"the drive {self.where} went away or failed ({why})", "attach it again and run the same command: it carries on"
        cure = refusal_cure(err)
        if err.errno in (errno.EACCES, errno.EPERM) and not cure:
            return f"this user may not write on the drive {self.where} ({why})", "run as the user who made the copies there"
        return f"the drive {self.where} refused ({why})", cure

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn failures of the drive into sentences."""
        try:
            yield
        except OSError as err:
            raise self.trouble(err) from err


def looks_like_set(folder: Folder) -> bool:
    """Tell whether a folder on a drive holds dated copies. Raises OSError where it cannot be read."""
    return any(SNAPSHOT_NAME.fullmatch(name.partition(".")[0]) or name == TWINS for name in folder.names())


def list_sets(root: Folder) -> Tuple[List[str], List[str]]:
    """List the sets on a drive, and those that this user may not read."""
    sets, closed = [], []
    for name, info in root.scan():
        if is_folder(info) and not why_no_set_name(name):
            try:
                if looks_like_set(root.child(name)):
                    sets.append(name)
            except PermissionError:
                closed.append(name)
    return sorted(sets), sorted(closed)


def closed_to_walks(drive: "Drive") -> Set[Stamp]:
    """Give the drive and its sets, which no copy may hold, wherever they are met: a set may be mounted a second time elsewhere."""
    return {drive.stamp, *(stamp(drive.root.stat(name)) for name in list_sets(drive.root)[0])}


def marker_gone(path: str) -> str:
    """Say that dated copies are there, and no marker."""
    return (f"{show(path)} holds dated copies, but its marker, {MARKER}, is gone: nothing was done; if this is your backup drive, run: "
            f"snapback.py init {shell_word(path)} (the dated copies stay as they are)")


def not_there(path: str) -> DriveAbsent:
    """Say that a drive which was only to be read is not where it was named."""
    known = known_drives().get(whole_path(path))
    if known:
        return DriveAbsent(f"the drive {show(known.get('label', ''))} is not attached at {show(path)}; attach it and run the same command")
    if stat_path(whole_path(path)) is None:
        return DriveAbsent(f"there is no folder {show(path)}; attach the drive, or check the path")
    return DriveAbsent(f"{show(path)} has neither a marker nor dated copies; attach the drive, or check the path")


def open_drive(path: str) -> Drive:
    """Open a marked drive for writing. Raises DriveAbsent where there is no marker: nothing may be written there."""
    where = whole_path(path)
    known = known_drives().get(where)
    try:
        info = stat_path(where)
        marker = read_marker(Folder.top(where)) if info and is_folder(info) else None
        if marker:
            return Drive(where, marker)
        spoilt = info is not None and is_folder(info) and Folder.top(where).has(MARKER)
    except OSError as err:
        raise DriveError(f"{show(path)} cannot be read ({reason(err)}): nothing was copied; attach the drive again, or run as a "
                         "user who may read it") from err
    if spoilt:
        raise DriveError(f"the marker of {show(path)}, {MARKER}, is damaged: nothing was copied, and every earlier dated copy is "
                         "untouched; put it back from another place, or remove it and run: snapback.py init "
                         + shell_word(path))
    if info is not None and is_folder(info) and list_sets(Folder.top(where))[0]:
        raise MarkerGone(marker_gone(path))
    if known:
        raise DriveAbsent(f"the drive {show(known.get('label', ''))} is not attached at {show(path)}: nothing was copied; "
                          "attach it and run the same command")
    if info is None:
        raise DriveAbsent(f"there is no {show(path)}: nothing was copied; attach the drive or, for a new folder, "
                          f"first run: mkdir {shell_word(path)}")
    if not is_folder(info):
        raise UsageError(f"the drive {show(path)} is a file; name a folder, usually the top of a disk")
    raise DriveAbsent(f"no marker on {show(path)}, so it is no backup drive: nothing was copied; the drive is named last; if it "
                      f"is a new one, run: snapback.py init {shell_word(path)}")


def marked_drive_of(path: str) -> str:
    """Give the drive that a file lies on, however deep; empty where it is on none."""
    place = parent_path(path)
    while True:
        with contextlib.suppress(OSError):
            if read_marker(Folder.top(place)):
                return place
        if parent_path(place) == place:
            return ""
        place = parent_path(place)


# -- preparing a drive --


class Prepared(NamedTuple):
    """What `init` did: the marker, what the drive can do, the space on it, and what was left alone."""

    marker: Marker
    made: bool
    abilities: Optional[Abilities]   # None: not tried, as there is a marker already
    free: int
    total: int
    largest: int                     # bytes that a file can have; 0: no limit is known
    notes: Tuple[str, ...]
    same_disk: bool                  # as this computer's own files
    has_copies: bool


def check_place(path: str, sources: Sequence[str], offline: bool, anyway: Optional[bool]) -> None:
    """Raise UsageError where a folder cannot, or should not, be a drive for these sources; `anyway` is None where nobody types options."""
    info = stat_path(path)
    if info is None:
        raise UsageError(f"there is no folder {show(path)}: nothing was made; attach the drive or, for a new folder, make it first"
                         + ("" if anyway is None else f": mkdir {shell_word(path)}"))
    if not is_folder(info):
        raise UsageError(f"{show(path)} is a file; name a folder, usually the top of a disk")
    for source in sources:
        top = stat_path(source)
        if top and is_inside(path, source) and top.st_dev == info.st_dev:
            raise UsageError(f"{show(path)} lies inside {show(source)}, which is to be copied; copies belong on another disk")
    service = "" if anyway else synchroniser_of(trace_upwards(path))
    if service:
        raise UsageError(f"{show(path)} is synchronised by {service}, which carries every deletion to all devices, so copies "
                         "there are no backup; take a folder outside of it" + (
                             "" if anyway is None else ", or add --anyway if you are sure"))
    if offline:
        own = {show(source): disks_of(source) for source in sources if stat_path(source)}
        own["this computer's own files"] = system_disks()
        for what, disks in own.items():
            if disks & disks_of(path):
                raise UsageError(f"{show(path)} is on the same disk as {what}, so it can never be unplugged; leave out --offline or take "
                                 "another disk")


def is_our_paper(found: Optional[bytes], title: str) -> bool:
    """Tell by its first lines whether snapback wrote what lies at the top of a drive."""
    return found is not None and found.replace(b"\r\n", b"\n").startswith(title.encode("ascii"))


# -- sets --


def describe_expired(folder: Folder, name: str) -> Snapshot:
    """Read the first and last line of an expired dated copy; whatever is wrong with them, it is none any more. Raises OSError."""
    try:
        with manifest_file(folder, EXPIRED) as file:
            manifest = open_manifest(file, prove=False)
            return Snapshot(name, State.EXPIRED, manifest.header, manifest.end)
    except ManifestDamaged:
        return Snapshot(name, State.EXPIRED)


def describe(set_folder: Folder, name: str) -> Snapshot:
    """Read a dated copy's first and last line, from its manifest or the twin.

    A first line that is not the twin's is a reason to prove every byte: the order of dates hangs on it.
    """
    for is_twin in (False, True):
        try:
            folder = set_folder.child(name)
            if not is_twin and folder.has(EXPIRED) and not folder.has(MANIFEST):
                return describe_expired(folder, name)
            with twin_file(set_folder, name) if is_twin else manifest_file(folder) as file:
                other = b"" if is_twin else twin_first_line(set_folder, name)
                manifest = open_manifest(file, prove=is_twin or (bool(other) and file.readline(LINE_LIMIT) != other))
                return Snapshot(name, State.WHOLE, manifest.header, manifest.end, is_twin)
        except (ManifestDamaged, OSError):
            continue
    return Snapshot(name, State.DAMAGED)


def survey(set_folder: Folder) -> List[Snapshot]:
    """List what a set holds, in its own order, from the first and last lines of its manifests."""
    found = []
    for name in set_folder.names():
        date, _, ending = name.partition(".")
        if not SNAPSHOT_NAME.fullmatch(date) or ending not in ("", INCOMPLETE[1:], DELETING[1:]):
            continue
        if ending:
            found.append(Snapshot(name, State.INCOMPLETE if ending == INCOMPLETE[1:] else State.DELETING))
        else:
            found.append(describe(set_folder, name))
    return sorted(found, key=lambda one: (one.seq, one.name))


def twin_names(set_folder: Folder) -> List[str]:
    """List the dated copies that have a twin of their manifest."""
    names = set_folder.child(TWINS).names() if set_folder.has(TWINS) else []
    return [name[:-3] for name in names if name.endswith(".gz") and SNAPSHOT_NAME.fullmatch(name[:-3])]


def next_seq(set_folder: Folder, snapshots: Sequence[Snapshot]) -> int:
    """Give the next number of the set: one more than in any manifest or twin."""
    highest = max((one.seq for one in snapshots), default=0)
    for name in set(twin_names(set_folder)) - {one.name for one in snapshots}:
        with contextlib.suppress(ManifestDamaged, OSError), twin_file(set_folder, name) as file:
            highest = max(highest, open_manifest(file, prove=False).header["seq"])
    return highest + 1


def set_owner(root: Folder, name: str) -> Mapping[str, Any]:
    """Give the newest whole copy's header of a set; empty for a new set. Raises OSError."""
    if not root.has(name):
        return {}
    whole = [one for one in survey(root.child(name)) if one.state is State.WHOLE]
    return whole[-1].header if whole else {}


def lock_set(drive: Drive, name: str) -> int:
    """Take a set's lock; it is the caller's to let go. Raises Locked."""
    return lock_file(drive.root.child(name), f"snapback-{drive.marker.id if drive.marker else ''}-{name}.lock")


def find_set(root: Folder, wanted: str, host: str, machine: str, adopt: bool) -> Tuple[str, bool]:
    """Find this computer's set on a drive: (name, whether it was named after a host).

    Raises UsageError where the set belongs to another computer and `adopt` was not said.
    """
    if wanted:
        owner = set_owner(root, wanted)
        name, by_host = wanted, bool(owner.get("named_after_host"))
    else:
        sets = list_sets(root)[0]
        name, by_host = set_name_for(host), True
        if name not in sets:
            mine = [one for one in sets if set_owner(root, one).get("machine") == machine
                    and set_owner(root, one).get("named_after_host")]
            if not mine and adopt:
                mine = sets
            if len(mine) > 1:
                raise UsageError(f"several sets on this drive could be meant: {', '.join(mine)}; add --set NAME")
            name = mine[0] if mine else name
        owner = set_owner(root, name)
    if owner and owner.get("machine") != machine and not adopt:
        raise UsageError(f"the set {name} on this drive belongs to another computer ({show(str(owner.get('host', '?')))}); "
                         "to begin a new one add --set NEW-NAME; if this computer goes on with its history add --adopt")
    return name, by_host


# -- finding the drives of the settings --

PATIENCE_FOR_SERVERS = 10        # seconds that a network's disk may take to answer


class Search(NamedTuple):
    """Where drives were found, by their ids, why one could not be looked for, and what keeps one that is there from being used."""

    places: Mapping[str, Sequence[str]]
    silent: Mapping[str, str]
    broken: Mapping[str, str] = {}


def marked(path: str) -> Optional[Tuple[str, Stamp]]:
    """Give the id of the drive at a path, and what tells it from others; None where there is none, or it cannot be read."""
    try:
        root = Folder.top(path)
        marker = read_marker(root)
        return (marker.id, stamp(root.own_stat())) if marker else None
    except (OSError, ValueError):  # ValueError: from a damaged record comes what can be no path
        return None


def why_broken(place: str) -> str:
    """Say what is wrong with a drive that was seen at a place and is still there; empty where nothing is, or it was unplugged.

    A marker that cannot be read, is damaged, or is gone from beside dated copies is nobody's absence.
    """
    try:
        open_drive(place)
    except (DriveError, MarkerGone) as err:
        return str(err)
    except (SnapbackError, ValueError):  # the latter: the local record holds what is no path
        return ""
    return ""


def find_drives(wanted: Mapping[str, str]) -> Search:
    """Look for marked drives: `wanted` gives of each id a path to look at first, or an empty text.

    What is mounted in two places is found once. One that is found nowhere may be broken, there or where it was
    seen last, unless to look there could wake a server, or mount again what was ejected.
    """
    all_mounts, silent = mounts(), {}  # type: Sequence[Mounted], Dict[str, str]
    places: List[str] = []
    for drive_id, path in wanted.items():
        if path and may_hang(path, all_mounts) and not answers(path, PATIENCE_FOR_SERVERS):
            silent[drive_id] = f"{show(path)} does not answer: its server may be switched off"
        elif path:
            places.append(path)
    found: Dict[str, Dict[Stamp, str]] = {}
    for place in itertools.chain(places, local_places(all_mounts)):
        drive = marked(place)
        if drive and drive[0] in wanted:
            found.setdefault(drive[0], {}).setdefault(drive[1], place)
    broken: Dict[str, str] = {}
    seen = {drive_id: one.path for drive_id, one in seen_drives().items() if one.path and not may_hang(one.path, all_mounts)}
    for drive_id in wanted.keys() - found.keys() - silent.keys():
        why = (wanted[drive_id] and why_broken(wanted[drive_id])) or (drive_id in seen and why_broken(seen[drive_id]))
        if why:
            broken[drive_id] = why
    return Search({drive_id: list(tops.values()) for drive_id, tops in found.items()}, silent, broken)


def open_found(drive_id: str, place: str) -> Drive:
    """Open a drive where it was found. Raises DriveAbsent where another one is by now: work on other drives may have taken hours."""
    drive = open_drive(place)
    if drive.marker is None or drive.marker.id != drive_id:
        raise DriveAbsent(f"another drive, {drive.label}, is now at {show(place)}")
    return drive


def the_only_place(label: str, places: Sequence[str]) -> str:
    """Give where a drive is attached. Raises UsageError where two have its id, as one was cloned: which is meant cannot be known."""
    if len(places) > 1:
        raise UsageError(f"two drives have the id of {label}: {show(places[0])} and {show(places[1])}; one is a clone of the other, so "
                         f"neither is used; unplug one or, to make it a drive of its own, remove its {MARKER} and run: "
                         "snapback.py init")
    return places[0]


# -- settings --


def split_alias(word: str, base: str) -> Tuple[str, str]:
    """Split NAME=PATH; what has no name gets an empty one. Raises UsageError where the path is missing."""
    alias, equals, path = word.partition("=")
    if not equals or "/" in slashes(alias) or stat_path(join_path(base, user_path(word))) is not None:
        return "", word
    if not path:
        raise UsageError(f"{quoted(word)} names no folder; write NAME=PATH, or only the path")
    return alias, path


def is_left_copy(path: str) -> bool:
    """Tell whether a settings file is what a run left in a set of a drive; no link to it, or in its place, hides that."""
    names = (whole_path(path), join_path(whole_path(parent_path(path)), plain_name(path)))
    return any(path_parts(name)[-1:] == (SET_SETTINGS,) and marked(parent_path(parent_path(name))) for name in names)


def load_settings(path: str) -> Settings:
    """Read a settings file; paths in it are relative to its folder. Raises UsageError.

    What a run left on a drive has been expanded. Others may have had it in their hands, so no command is taken from it.
    """
    base, left_copy = parent_path(whole_path(path)), is_left_copy(path)

    def expand(word: str) -> str:
        alias, rest = map(str.strip, split_alias(word, base))  # here blanks around the sign are no part of either
        return f"{alias}={expand_path(rest, base)}" if alias else expand_path(rest, base)

    text = read_settings_text(path)
    try:
        settings = parse_settings(text, str if left_copy else expand)
        if settings.on_result and left_copy:
            raise UsageError(f"line {line_of(text, BACKUP_SECTION, 'on-result')}: on-result names a command, and none is ever taken from "
                             "a drive; remove it")
    except UsageError as err:
        raise UsageError(f"the settings file {show(path)}, {err}; nothing was done") from err
    return settings


def settings_on_drive(script: str) -> str:
    """Give the path of the settings that this computer's last run left on the drive that a script lies on; empty where there are none."""
    try:
        root = Folder.top(parent_path(script))
        sets = list_sets(root)[0] if read_marker(root) else []
        mine = [name for name in sets if set_owner(root, name).get("machine") == machine_id() and root.child(name).has(SET_SETTINGS)]
    except OSError:
        return ""
    return join_path(parent_path(script), mine[0], SET_SETTINGS) if len(mine) == 1 else ""


def find_settings(named: str) -> str:
    """Find the settings: the file that was named, the one of this computer's user, or the copy on the drive where this script lies.

    An empty text where there are none.
    """
    if named:
        return named
    return configuration_path() if is_taken(configuration_path()) else settings_on_drive(script_path())


def leave_settings(drive: "Drive", set_name: str, settings: Settings) -> str:
    """Leave a copy of the settings in the set, without commands; say why that failed, or nothing."""
    try:
        folder, text = drive.root.child(set_name), settings_text(settings)
        if read_text(folder, SET_SETTINGS, MIB) != text:
            write_text(folder, SET_SETTINGS, text, set_name)
    except OSError as err:
        return f"the settings could not be left on the drive ({reason(err)})"
    return ""


def words_of(settings: Settings) -> Tuple[object, ...]:
    """Give what people wrote into settings in words of their own, which can hold any character."""
    return (settings.sources, settings.patterns, settings.exclude_if_present, settings.set_name, settings.on_result,
            [(one.id, one.label, one.path) for one in settings.drives])


def write_settings(path: str, settings: Settings) -> str:
    """Write this user's settings; earlier ones stay beside them under another name, which is given. Raises OSError, UsageError.

    They take their place only when they are read as they are meant: no path there can begin with a blank, or hold a line break or `$`.
    """
    name, place, text = path_parts(path)[-1], parent_path(path), settings_text(settings, OWN_SETTINGS)
    if not is_real_folder(place):
        make_folders(place)
    folder, aside = Folder.top(place), ""
    new = free_name(folder, name, ".new")
    try:
        write_text(folder, new, text, "setup", 0o600)  # a command there may hold a password
        try:
            found = load_settings(join_path(place, new))
        except UsageError:
            found = Settings(())
        if words_of(found) != words_of(settings) or settings_text(found, OWN_SETTINGS) != text:
            raise UsageError("a file of settings cannot hold one of these paths or names as it is (a line break, a blank at its end, a $, "
                             "or letters that are no Unicode), so the settings were not changed; take a folder above it, or rename it")
        if folder.has(name) and read_text(folder, name, MIB) != text:
            aside = free_name(folder, name, ".before")
            try:
                folder.link(name, folder, aside)  # so that there are settings at any moment
            except OSError:
                folder.rename(name, folder, aside)
        folder.rename(new, folder, name)
    finally:
        if folder.has(new):
            folder.unlink(new)
    return aside


# -- deleting old dated copies --

# What systems strew over drives by themselves; it is never damage.
STREWN = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|\.fseventsd|\.Spotlight-V100|\.Trashes|\$RECYCLE\.BIN|"
                    r"System Volume Information|\.directory|\.fuse_hidden.*|\.nfs[0-9a-f]{16,}|\.smbdelete.*", re.IGNORECASE)


def read_accepted(set_folder: Folder) -> int:
    """Read up to which number a person has accepted the dated copies of a set; 0 where nothing is said. Raises OSError."""
    text = (read_text(set_folder, ACCEPTED) or "").strip()
    return int(text) if re.fullmatch(r"\d{1,15}", text, re.ASCII) else 0


def take_notice_away(set_folder: Folder) -> None:
    """Remove the notice of a hold that is no more, be it that its dated copy was removed by hand. Raises OSError."""
    if set_folder.has(HOLD_NOTICE):
        set_folder.unlink(HOLD_NOTICE)


def accept(set_folder: Folder, now: datetime, owner: str) -> Optional[Snapshot]:
    """Release the hold of a set whose lock the caller holds; give the dated copy by which it was held. Raises OSError."""
    snapshots = survey(set_folder)
    held = held_by(snapshots, read_accepted(set_folder))
    if held is not None:
        write_text(set_folder, ACCEPTED, f"{max(one.seq for one in snapshots)}\n", owner)
    take_notice_away(set_folder)
    if held is None:
        return None
    append_line(set_folder, HISTORY, json.dumps({"what": "accept", "time": now.isoformat(timespec="seconds"), "snapshot": held.name}))
    return held


def read_pins(set_folder: Folder) -> Dict[str, str]:
    """Read which dated copies are pinned, each with its note; a note that cannot be read pins all the same. Raises OSError."""
    pins: Dict[str, str] = {}
    if not set_folder.has(PINS):
        return pins
    folder = set_folder.child(PINS)
    for name in folder.names():
        date = name[:-4] if name.endswith(".txt") else name
        if SNAPSHOT_NAME.fullmatch(date):
            try:
                pins[date] = " ".join((read_text(folder, name) or "").split())[:NOTE_LENGTH]
            except OSError:
                pins[date] = ""
    return pins


def pin(set_folder: Folder, name: str, note: str, owner: str) -> None:
    """Protect a dated copy from deletion. Raises OSError."""
    if not set_folder.has(PINS):
        make_private(set_folder, PINS)
    write_text(set_folder.child(PINS), name + ".txt", note + "\n", owner)


def unpin(set_folder: Folder, name: str) -> bool:
    """Take back the protection of a dated copy; False where there was none. Raises OSError."""
    if name not in read_pins(set_folder):
        return False
    pins = set_folder.child(PINS)
    for one in (name + ".txt", name):
        if pins.has(one):
            pins.unlink(one)
    pins.flush()
    return True


class Stretch(NamedTuple):
    """Some entries, one after the other, of the list of a dated copy that is to be removed."""

    top: Folder
    begins_in: str   # the folder, as last_folder() says it
    entries: str


class Cleared(NamedTuple):
    """What became of a stretch: how many names it had, which folders are still there, what could not be removed and why."""

    names: int
    left: Sequence[str]
    failed: Sequence[Tuple[str, str]]
    damage: str                      # why the rest was not read


def make_clearable(folder: Folder, device: int) -> None:
    """Let what is in a folder be removed. Raises OSError, also where another disk is mounted there."""
    if folder.fd is not None and folder.own_stat().st_dev != device:  # on Windows such a disk is no folder at all
        raise OSError(errno.EXDEV, "another disk is mounted there")
    make_writable(folder)


def enter_to_clear(device: int, parent: Folder, name: str) -> Folder:
    """Open a subfolder to remove what is in it. Raises OSError."""
    folder = enter_forced(parent, name)
    make_clearable(folder, device)
    return folder


class Clearing:
    """Removes the files and links that a stretch names, and the folders that are empty then.

    A folder with anything else in it, or of which more may follow, is left to Deletion.
    """

    def __init__(self, pulse: Pulse, top: Folder) -> None:
        self.pulse, self.trail = pulse, Trail(top)
        self.enter = functools.partial(enter_to_clear, top.own_stat().st_dev)
        self.above: List[str] = []       # folders on the way to the one at hand
        self.names = 0
        self.failed: List[Tuple[str, str]] = []
        self.left: List[str] = []

    def run(self, stretch: Stretch) -> Cleared:
        """Remove what a stretch names. Raises OSError where the drive fails."""
        damage = ""
        try:
            self._clear(stretch)
        except ManifestDamaged as err:
            damage = str(err)
        return Cleared(self.names, [*self.left, *self.above], self.failed, damage)

    def _clear(self, stretch: Stretch) -> None:
        passed_over = ""
        for path, names in read_names(stretch.begins_in, stretch.entries):
            if passed_over and path.startswith(passed_over):
                continue
            while self.above and not path.startswith(self.above[-1] + "/"):
                self._leave(self.above.pop())
            folder = self._enter(path)
            if folder is None:
                passed_over = path + "/"
                continue
            if path:
                self.above.append(path)
            self._remove(folder, path, names)
            self.names += len(names)
            self.pulse.beat(0)

    def _enter(self, path: str) -> Optional[Folder]:
        """Open a folder to remove what is in it; None where it is gone, has become something else, or may not be entered."""
        parts = plain_parts(path) if path else ()
        try:
            return self.trail.at(parts, self.enter)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as err:
            if err.errno in (errno.EACCES, errno.EPERM, errno.EXDEV):  # somebody else's, or another disk
                self.failed.append(("/".join(parts[:len(self.trail.names) + 1]), reason(err)))
            elif err.errno != errno.ELOOP:
                raise
            return None

    def _remove(self, folder: Folder, path: str, names: Sequence[str]) -> None:
        """Remove names from a folder; what is a folder by now stays: it is none of those that were listed."""
        for name in names:
            try:
                folder.unlink(name)
            except FileNotFoundError:
                continue  # an interrupted run removed it
            except OSError as err:
                if err.errno in GONE or is_read_only(err):
                    raise
                if not is_folder(folder.stat(name)):
                    self.failed.append((f"{path}/{name}" if path else name, reason(err)))

    def _leave(self, path: str) -> None:
        """Remove a folder, if it is empty."""
        *parts, name = path.split("/")
        try:
            self.trail.at(parts, self.enter).rmdir(name)
        except OSError as err:
            if err.errno in GONE or is_read_only(err):
                raise
            self.left.append(path)


def clear(pulse: Pulse, stretch: Stretch) -> Cleared:
    """Remove a stretch of a dated copy. Raises OSError where the drive fails."""
    return Clearing(pulse, stretch.top).run(stretch)


class Deletion:
    """Removes one dated copy that is marked for it, as its manifest lists it.

    What the manifest does not list is moved to `found/`: perhaps a person put it there. The
    manifest goes last, so a later run finishes what was interrupted, by the same list.

    The workers get the list as text, and read it themselves: reading takes as long as removing. What
    is in no list shows in that its folder is not empty in the end, so no folder need be listed for it.
    """

    def __init__(self, set_folder: Folder, name: str, workers: Workers) -> None:
        self.set_folder, self.name, self.workers = set_folder, name, workers
        self.stretch = CHUNK // 16 if workers.far else CHUNK     # bytes of the list
        self.top = set_folder.child(name + DELETING)
        self.device = set_folder.own_stat().st_dev
        self.left: Set[str] = set()      # folders that the workers did not remove
        self.kept: Set[str] = set()      # what cannot be removed, and the folders on the way to it
        self.failed: Notes = []
        self.found: List[str] = []
        self.damage = ""
        self.list = EXPIRED if self.top.has(EXPIRED) and not self.top.has(MANIFEST) else MANIFEST

    def run(self) -> None:
        """Remove everything that is listed. Raises ManifestDamaged, with the rest still there, or OSError for the drive."""
        if not self.top.names():  # an interrupted run came as far as that
            self.set_folder.rmdir(self.name + DELETING)
            return
        self._noting((), make_clearable, self.top, self.device)
        if self.failed:
            return
        self._call_workers()
        with proved_manifest(self._manifest_file()) as manifest:
            begins_in = ""
            for entries in manifest.entries(self.stretch):
                cost = len(entries) * self.workers.most_cost // self.stretch
                self.workers.submit(Stretch(self.top, begins_in, entries), self._note, (self.top,), cost)
                begins_in = last_folder(begins_in, entries)
        self.workers.drain()
        if self.damage:
            raise ManifestDamaged(self.damage)
        trail = Trail(self.top)
        for path in sorted(self.left, key=folder_key, reverse=True):
            parts = path.split("/")
            self._noting(parts, self._leave, trail, parts)
        self._noting((), self._leave, trail, ())
        if not self.failed:
            self.top.unlink(self.list)
            remove_emptied(self.set_folder, self.name + DELETING)

    def _call_workers(self) -> None:
        """Call the others before the list is opened. They would keep it open, and on a network disk it would outlast its removal."""
        with contextlib.suppress(FileNotFoundError):
            if self.workers.count > 1 and self.top.stat(self.list).st_size >= self.stretch:
                self.workers.gather()

    def _manifest_file(self) -> BinaryIO:
        """Open the manifest. Raises ManifestDamaged where there is none, OSError."""
        try:
            return manifest_file(self.top, self.list)
        except FileNotFoundError as err:
            raise ManifestDamaged("it is gone") from err

    def _note(self, cleared: Cleared) -> None:
        """Take what became of a stretch."""
        for path, why in cleared.failed:
            self._fail(path, why)
        self.left.update(cleared.left)
        self.damage = self.damage or cleared.damage
        self.workers.pulse.files += cleared.names
        self.workers.pulse.tell()

    def _fail(self, path: str, why: str) -> None:
        """Note what cannot be removed, unless the reason lies in something below it that is noted already."""
        if path in self.kept:
            return
        self.failed.append(Note("/".join(filter(None, (self.name, path))), why))
        while path not in self.kept:
            self.kept.add(path)
            path = path.rpartition("/")[0]

    def _noting(self, parts: Sequence[str], call: Callable[..., None], *args: Any) -> None:
        """Make a call, and note what is refused for one thing alone. Raises OSError where the drive fails."""
        try:
            call(*args)
        except OSError as err:
            if err.errno in {*GONE, *FULL, *OWN_LIMITS} or is_read_only(err):
                raise
            self._fail("/".join(parts), reason(err))

    def _leave(self, trail: Trail, parts: Sequence[str]) -> None:
        """Set apart what is still in a folder though nothing listed it, and remove the folder itself."""
        try:
            folder = trail.at(parts, functools.partial(enter_to_clear, self.device))
        except FileNotFoundError:
            return  # two workers had a part of it, and the other one removed it
        for name in folder.names():
            path = "/".join((*parts, name))
            if path != self.list and path not in self.kept:
                self._noting([*parts, name], self._set_apart, folder, parts, name)
        if parts and "/".join(parts) not in self.kept:
            trail.at(parts[:-1]).rmdir(parts[-1])

    def _set_apart(self, folder: Folder, parts: Sequence[str], name: str) -> None:
        """Move something that no list names to `found/`; what systems strew is removed."""
        info = folder.stat(name)
        if not is_folder(info) and (STREWN.fullmatch(name) or (name == PART_NOTICE and not parts)):
            folder.unlink(name)
            return
        if is_folder(info) and info.st_dev != self.device:
            raise OSError(errno.EXDEV, "another disk is mounted there")
        place = functools.reduce(enter_or_make, (FOUND, self.name, *parts), self.set_folder)
        new_name = name if not place.has(name) else free_name(place, name, "_2")
        folder.rename(name, place, new_name)
        place.flush()
        self.found.append("/".join((self.name, *parts, name)))


class Moment(NamedTuple):
    """When a job is done, by how many, and who is told how far it is."""

    now: datetime
    jobs: int
    expect: Expect


SOMEBODY_READS = "somebody is reading the dated copies, so no old one was deleted; a later run does it"


class Rotated(NamedTuple):
    """What a rotation did: the plan, the dated copies that are gone, the bytes that this freed, what was set apart, what failed."""

    plan: Plan
    removed: Sequence[str] = ()
    freed: int = 0
    found: Sequence[str] = ()
    notes: Sequence[Note] = ()
    put_off: str = ""                # why nothing was deleted
    held: bool = False               # namely because the set is on hold
    attention: bool = False          # and that needs a person's attention
    broken_off: str = ""             # why it did not come to its end


def plan_of(set_folder: Folder, snapshots: Sequence[Snapshot], rotation: Rotation, now: datetime) -> Plan:
    """Plan the rotation of a set; what cannot be read stays. Raises UsageError, OSError."""
    pins, copies, damaged = read_pins(set_folder), [], []
    for one in snapshots:
        taken = parse_time(str(one.header.get("taken", "")))
        if one.state is State.DAMAGED or one.by_twin or (one.state is State.WHOLE and taken is None):
            way_out = f"; put it back, in the set's folder, with: {put_back(one.name)}" if one.by_twin else ""
            damaged.append(Verdict(one.name, (f"its list is damaged{way_out}",)))
        elif one.state is State.WHOLE and taken:
            copies.append(Dated(one.name, one.seq, taken, frozenset(one.sources.items()), pins.get(one.name)))
    plan = plan_rotation(copies, rotation.retention, now)
    spare = spare_copies(plan, copies, now) if rotation.min_free.wanted else []
    return Plan([*damaged, *plan.keep], plan.remove, spare, damaged)


def held_text(held: Snapshot) -> str:
    """Say why a set is on hold."""
    return f"on hold since {held.name}: {tripped_text(held.end.get('tripped'))}"


def why_put_off(set_folder: Folder, snapshots: Sequence[Snapshot], newest: Optional[Snapshot], now: datetime) -> str:
    """Say why nothing of a set may be deleted now, or give an empty text: each group's newest copy must prove itself. Raises OSError."""
    why = why_no_rotation(snapshots) or clock_trouble(newest, now)
    newest_of = {frozenset(one.sources.items()): one.name for one in snapshots if one.state is State.WHOLE}  # they are in order
    if why:
        return why
    for name in newest_of.values():
        try:
            load_manifest(set_folder, name).file.close()
        except ManifestDamaged as err:
            return (f"the list of {name}, the newest of its sources, is damaged, and its second list too ({err}); "
                    f"{letting_go(name, snapshots)}")
    return why


def lock_against_readers(drive: Drive, set_name: str) -> Optional[Folder]:
    """Keep readers out of a set until the folder that is given is closed; None where somebody reads."""
    folder = drive.root.child(set_name)
    return folder if keep_readers_out(folder) else None


def drop_page_list(set_folder: Folder, name: str) -> None:
    """Remove what the recovery page reads of a dated copy that is to go. Raises OSError."""
    lists = set_folder.child(PAGE_LISTS) if set_folder.has(PAGE_LISTS) else None
    if lists and lists.has(name + PAGE_ENDING):
        lists.unlink(name + PAGE_ENDING)


def mark_for_deletion(set_folder: Folder, twins: Folder, name: str) -> None:
    """Take a dated copy out of the series: its twin first, then its name. Raises OSError."""
    drop_page_list(set_folder, name)
    if twins.has(name + ".gz"):
        twins.unlink(name + ".gz")
        twins.flush()
    set_folder.rename(name, set_folder, name + DELETING)
    set_folder.flush()


def delete_copy(set_folder: Folder, name: str, begun: bool, workers: Workers) -> Deletion:
    """Delete one dated copy, or finish that. Raises ManifestDamaged, OSError."""
    if not begun:
        folder = set_folder.child(name)
        proved_manifest(manifest_file(folder, MANIFEST if folder.has(MANIFEST) else EXPIRED)).file.close()
        mark_for_deletion(set_folder, set_folder.child(TWINS), name)
    elif not is_folder(set_folder.stat(name + DELETING)):
        raise ManifestDamaged("it is no folder")
    deletion = Deletion(set_folder, name, workers)
    deletion.run()
    return deletion


def prepare_rotation(set_folder: Folder, snapshots: Sequence[Snapshot], rotation: Rotation, newest: Optional[Snapshot], now: datetime
                     ) -> Rotated:
    """Plan a rotation, and say what forbids it now. Raises UsageError, OSError."""
    plan = plan_of(set_folder, snapshots, rotation, now)
    held = held_by(snapshots, read_accepted(set_folder))
    why = held_text(held) if held else why_put_off(set_folder, snapshots, newest, now)
    return Rotated(plan, put_off=why, held=held is not None, attention=bool(why))


def own_paths(set_folder: Folder, name: str) -> Set[int]:
    """Give the hashes of the stored paths that lie in the folder of a dated copy, as far as its list can be read. Raises OSError."""
    folder, found = set_folder.child(name), set()  # type: Folder, Set[int]
    with contextlib.suppress(ManifestDamaged):
        with proved_manifest(manifest_file(folder, MANIFEST if folder.has(MANIFEST) else EXPIRED)) as manifest:
            for entries in manifest.entries():
                found.update(map(hash, stored_paths(entries, OWN_FILE)))
    return found


def references(set_folder: Folder, by: Iterable[str], to: Collection[str]) -> Dict[str, Set[int]]:
    """Find what the lists of some dated copies need of the folders of others: for each of those the hashes of stored paths.

    What they need of a folder that is not there stays wherever it is found: a person may have given the folder another name.
    Two paths of one hash can only mean that a file stays which might go. Raises ManifestDamaged where a list cannot be read.
    """
    needed: Dict[str, Set[int]] = {name: set() for name in to}
    there, lost = set(set_folder.names()), set()  # type: Set[str], Set[int]
    for name in by:
        try:
            with load_manifest(set_folder, name) as manifest:
                for entries in manifest.entries():
                    for stored in stored_paths(entries, REFERENCE):
                        snapshot, _, path = stored[3:].partition("/")
                        if snapshot in needed:
                            needed[snapshot].add(hash(path))
                        elif snapshot not in there:
                            lost.add(hash(path))
        except ManifestDamaged as err:
            raise ManifestDamaged(f"the list of {name} is damaged, and its second list too ({err})") from err
    for name in to if lost else ():
        needed[name] |= lost & own_paths(set_folder, name)
    return needed


def expire(set_folder: Folder, name: str) -> None:
    """Let a dated copy be none any more, though files of it are needed: its twin goes, and its list gets another name. Raises OSError."""
    twins, folder = set_folder.child(TWINS), set_folder.child(name)
    drop_page_list(set_folder, name)
    if twins.has(name + ".gz"):
        twins.unlink(name + ".gz")
        twins.flush()
    folder.rename(MANIFEST, folder, EXPIRED)
    folder.flush()


def free_unneeded(set_folder: Folder, name: str, needed: Collection[int], pulse: Pulse) -> Notes:
    """Remove those files of an expired dated copy that no list needs; give what could not be removed. Raises ManifestDamaged, OSError."""
    top, failed = set_folder.child(name), []  # type: Folder, Notes
    device, trail = set_folder.own_stat().st_dev, Trail(top)
    make_clearable(top, device)
    with proved_manifest(manifest_file(top, EXPIRED)) as manifest:
        emptied: Set[Tuple[str, ...]] = set()
        for entries in manifest.entries():
            for path in stored_paths(entries, OWN_FILE):
                if hash(path) in needed or path == EXPIRED:
                    continue
                parts = plain_parts(path)
                try:
                    trail.at(parts[:-1], functools.partial(enter_to_clear, device)).unlink(parts[-1])
                except (FileNotFoundError, NotADirectoryError):
                    continue  # it went before
                except OSError as err:
                    if err.errno in GONE or is_read_only(err):
                        raise
                    failed.append(Note(f"{name}/{path}", reason(err)))
                emptied.update(parts[:count] for count in range(1, len(parts)))
            pulse.tell()
    for parts in sorted(emptied, key=len, reverse=True):
        with contextlib.suppress(OSError):  # something is still in it
            trail.at(parts[:-1]).rmdir(parts[-1])
    top.flush()
    return failed


def note_expired(folder: Folder, name: str) -> None:
    """Say in the folder of an expired dated copy what it is. What is cut off here is written anew later. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        folder.unlink(PART_NOTICE)
    write_new(folder, PART_NOTICE, expired_notice(name))


def nothing_to_free(set_folder: Folder, name: str) -> bool:
    """Tell whether what was not needed of an expired dated copy is gone: its notice says so last. Raises OSError."""
    return read_text(set_folder.child(name), PART_NOTICE) == expired_notice(name)


class Rotating:
    """The rotation of a set whose lock the caller holds; what it has deleted stays known when the rest fails."""

    def __init__(self, drive: Drive, set_name: str, rotation: Rotation, moment: Moment) -> None:
        self.drive, self.set_name, self.rotation, self.moment = drive, set_name, rotation, moment
        self.deletions: List[Deletion] = []
        self.expired: List[str] = []     # dated copies that are gone, though later ones need files of their folders
        self.stuck: Notes = []           # what of those could not be removed

    @property
    def removed(self) -> List[str]:
        """Name the dated copies that are gone."""
        gone = [one.name for one in self.deletions if not one.failed and one.list == MANIFEST]
        return list(dict.fromkeys([*self.expired, *gone]))

    @property
    def found(self) -> List[str]:
        """Name what was set apart, as no list had it."""
        return [path for one in self.deletions for path in one.found]

    @property
    def failed(self) -> List[Note]:
        """Give what could not be deleted, and why."""
        return [*self.stuck, *(note for one in self.deletions for note in one.failed)]

    def run(self, newest: Optional[Snapshot]) -> Rotated:
        """Rotate, unless something forbids it; `newest` is what the clock is held against. Raises UsageError, DriveError."""
        with self.drive.guarded():
            set_folder = self.drive.root.child(self.set_name)
            if set_folder.own_stat().st_dev != self.drive.stamp[0]:
                raise DriveError(f"the folder {self.set_name} on the drive {self.drive.where} is another disk: nothing was deleted; make "
                                 "that disk a drive of its own, or unmount it")
            ready = prepare_rotation(set_folder, survey(set_folder), self.rotation, newest, self.moment.now)
        if ready.put_off:
            return ready
        try:
            with self.drive.guarded():
                return self._carry_out(set_folder, ready.plan)
        finally:
            if self.deletions or self.expired:  # also when the rest was interrupted; a drive that went away says so itself
                with contextlib.suppress(OSError):
                    append_line(set_folder, HISTORY, json.dumps({
                        "what": "rotate", "time": self.moment.now.isoformat(timespec="seconds"), "removed": self.removed,
                        "found": self.found, "failed": [note._asdict() for note in self.failed]}))

    def _carry_out(self, set_folder: Folder, plan: Plan) -> Rotated:
        """Delete what the plan drops, and finish what an earlier run began to delete; a later run finishes what is left.

        Of what the plan can spare, the oldest go until enough is free.
        """
        drive, min_free = self.drive, self.rotation.min_free
        present = survey(set_folder)
        begun = [one.name[:-len(DELETING)] for one in present if one.state is State.DELETING]
        spare = [one.name for one in plan.spare if not min_free.is_there(*free_space(drive.path))]
        names = [*begun, *(one.name for one in plan.remove), *spare]
        expired = [one.name for one in present if one.state is State.EXPIRED]
        wanted = names or any(not nothing_to_free(set_folder, name) for name in expired)
        guard = lock_against_readers(drive, self.set_name) if wanted else None
        if guard is None:
            return Rotated(plan, put_off=SOMEBODY_READS if names else "")
        drive.safe = "no dated copy on it was touched but those that the plan drops"
        before = free_space(drive.path)[0]
        if need_each_other(present):
            notes = self._expire_or_delete(set_folder, present, names, begun, spare)
        else:
            files = sum(int(one.end.get("files", 0)) for one in present if one.name in names)
            notes = self._delete(set_folder, names, begun, spare, files)
        set_folder.flush()
        flush = whole_flush(drive.root)
        if flush:
            flush.finish()
        if not min_free.is_there(*free_space(drive.path)):
            notes.append(Note("", f"{size_text(free_space(drive.path)[0])} are free, which is less than --min-free asks for; what is left "
                              "is protected, or the last of its month"))
        return Rotated(plan, self.removed, max(0, free_space(drive.path)[0] - before), self.found, [*notes, *self.failed])

    def _expire_or_delete(self, set_folder: Folder, present: Sequence[Snapshot], names: Sequence[str], begun: Collection[str],
                          spare: Sequence[str]) -> Notes:
        """Delete dated copies of a set in which later ones may need their files: those of the plan, then one by one for room."""
        at_once = [name for name in names if name not in begun and name not in spare]
        notes = [*self._delete(set_folder, begun, begun, (), 0), *self._expire_together(set_folder, present, at_once)]
        for name in spare:
            if self.rotation.min_free.is_there(*settled_space(self.drive.root)):
                break
            notes += self._expire_together(set_folder, present, [name])
        return notes

    def _expire_together(self, set_folder: Folder, present: Sequence[Snapshot], wanted: Sequence[str]) -> Notes:
        """Expire dated copies, all of them before the first file goes, as they may need each other's; then remove what nobody needs."""
        dropped, notes = [], []  # type: List[str], Notes
        for name in wanted:
            try:
                proved_manifest(manifest_file(set_folder.child(name))).file.close()
                dropped.append(name)
            except ManifestDamaged as err:
                notes.append(Note(name, f"its list is damaged ({err}); look at it, and delete nothing by hand: later dates may need it"))
        kept = [one.name for one in present if one.state is State.WHOLE and one.name not in {*dropped, *self.removed}]
        before = [one.name for one in present if one.state is State.EXPIRED] + self.expired
        before = [name for name in before if set_folder.has(name)]
        try:
            needed = references(set_folder, kept, {*before, *dropped})
            self._expire(set_folder, dropped, needed)
        except ManifestDamaged as err:
            why = f"{err}, so it is not known what that date needs: nothing more was deleted"
            return [*notes, Note("", f"{why}; {letting_go('', present)}")]
        self._free(set_folder, [*before, *(name for name in dropped if name in self.expired)], needed, notes)
        return notes

    def _expire(self, set_folder: Folder, dropped: Sequence[str], needed: Dict[str, Set[int]]) -> None:
        """Let dated copies be none any more, but those that were pinned a moment ago; what these need is added to `needed`."""
        for name in dropped:
            self.drive.check()
            if name not in read_pins(set_folder):
                expire(set_folder, name)
                self.expired.append(name)
                continue
            for folder, paths in references(set_folder, [name], needed).items():
                needed[folder] |= paths

    def _free(self, set_folder: Folder, names: Sequence[str], needed: Mapping[str, Collection[int]], notes: Notes) -> None:
        """Remove of expired dated copies what nobody needs; `notes` gets what was left alone, and why."""
        pulse = new_pulse(self.moment.expect(0, 0), 1)
        with Workers(1, pulse, functools.partial(clear, pulse)) as workers:
            for name in names:
                self.drive.check()
                try:
                    if not needed[name]:
                        self.deletions.append(delete_copy(set_folder, name, False, workers))
                        continue
                    stuck = free_unneeded(set_folder, name, needed[name], pulse)
                    self.stuck += stuck
                except ManifestDamaged as err:
                    stuck = []
                    notes.append(Note(name, f"its list is damaged ({err}); what is in it stays" + (
                        "" if needed[name] else ", though no date needs it any more: look at it, and delete it by hand")))
                if not stuck:
                    with contextlib.suppress(OSError):  # then a later run looks again
                        note_expired(set_folder.child(name), name)

    def _delete(self, set_folder: Folder, names: Collection[str], begun: Collection[str], spare: Collection[str], files: int) -> Notes:
        """Delete dated copies, `files` files in all; the drive is looked at again before each. Give what was left alone, and why."""
        notes: Notes = []
        far = is_far(self.drive.path)
        jobs = worker_count(self.moment.jobs, far)
        pulse = new_pulse(self.moment.expect(files, 0), jobs)
        with Workers(jobs, pulse, functools.partial(clear, pulse), far) as workers:
            for name in names:
                if name in spare and self.rotation.min_free.is_there(*settled_space(self.drive.root)):
                    break
                if name not in begun and name in read_pins(set_folder):
                    continue  # pinned a moment ago
                self.drive.check()
                try:
                    self.deletions.append(delete_copy(set_folder, name, name in begun, workers))
                except ManifestDamaged as err:
                    notes.append(Note(name, f"its list is damaged ({err}); look at it, and delete it by hand"))
        return notes


# -- what lies on a drive for a bad day --


CHECKING = ("verify", "repair", "rehearse")
ALL_READ, ONE_READ, SOME_READ, PART_READ, MENDED = "everything read", "one date read", "some dates read", "a part read", "repair"


def kind_of_check(one: Mapping[str, Any]) -> str:
    """Say what a line of history.jsonl tells of a check; nothing where it read no file, or was interrupted."""
    if one["what"] == "rehearse":
        return "try of a restore"
    if one["what"] == "repair":
        return MENDED if one.get("complete") else ""
    if one.get("quick") or one.get("interrupted"):
        return ""
    if one.get("sample") is not None:
        return PART_READ if parse_slice(one["sample"]) else ""
    names = one.get("snapshots")
    return ALL_READ if one.get("whole") is True else ONE_READ if isinstance(names, list) and len(names) == 1 else SOME_READ


def told_checks(history: str) -> Tuple[Dict[str, str], List[Tuple[str, str, int]]]:
    """Read when each date was last read again as a whole, and what the last check of each kind found, newest first."""
    checked: Dict[str, str] = {}
    told: Dict[str, Tuple[str, str, int]] = {}
    for one in parse_history(history, CHECKING):
        kind = kind_of_check(one)
        if kind:
            told.setdefault(kind, (one["time"], kind, count_in(one, "left" if one["what"] == "repair" else "damaged")))
        if kind in (ALL_READ, ONE_READ, SOME_READ, MENDED):
            names = one.get("snapshots")
            for name in names if isinstance(names, list) else ():
                checked.setdefault(str(name), one["time"])
    return checked, list(told.values())


def last_rehearsal(history: str) -> str:
    """Give when the last rehearsal of a set was, if it went as it should; from its history."""
    last: Mapping[str, Any] = next(parse_history(history, ("rehearse",)), {})
    return "" if last.get("damaged") else str(last.get("time", ""))


def oldest_taken(snapshots: Sequence[Snapshot]) -> str:
    """Give when the oldest whole dated copy was made."""
    return next((str(one.header.get("taken", "")) for one in snapshots if one.state is State.WHOLE), "")


def facts_of_set(root: Folder, name: str) -> SetFacts:
    """Look what is to be said of a set; the first and last lines of its lists tell. Raises OSError."""
    set_folder = root.child(name)
    snapshots = survey(set_folder)
    whole = [one for one in snapshots if one.state is State.WHOLE]
    history, accepted, pins = read_text(set_folder, HISTORY, 64 * MIB) or "", read_accepted(set_folder), read_pins(set_folder)
    (checked, told), read, held = told_checks(history), read_again(history), held_by(snapshots, accepted)
    damaged = damaged_in(read_text(set_folder, DAMAGED_LIST, 64 * MIB) or "")
    lists = set_folder.child(PAGE_LISTS).names() if set_folder.has(PAGE_LISTS) else []
    dates = []
    for one in whole:
        counts = {word: count_in(one.end, word) for word in ("files", "bytes", "added", "new", "changed", "gone", "skipped", "kept")}
        hold = bool(one.end.get("hold")) and one.seq > accepted
        dates.append(DateFacts(one.name, str(one.header.get("taken", "")), str(one.header.get("layout", "")), **counts, hold=hold,
                               pinned=one.name in pins, damaged=damaged.get(one.name, 0), checked=checked.get(one.name, ""),
                               listed=one.name + PAGE_ENDING in lists))
    before = [one.name for one in whole if held and one.seq < held.seq]
    return SetFacts(
        name, str(whole[-1].header.get("host", "")) if whole else "", tuple(dates), tuple(told),
        others=tuple(sorted(set(held_elsewhere(whole[-1], whole).values()), reverse=True)) if whole else (),
        unlisted=sum(one.state is State.DAMAGED for one in snapshots), checked=read.since,
        checked_bad=bool(read.damaged), checked_in_part=bool(read.sampled or read.parted), held_by=held.name if held else "",
        before_hold=before[-1] if before else "")


def has_page(root: Folder) -> bool:
    """Tell whether a recovery page of ours lies on a drive. Raises OSError."""
    return is_our_paper(read_head(root, RECOVERY_PAGE, PAPER_LIMIT), PAGE_TITLE)


def facts_of_drive(root: Folder, marker: Marker, page: bool) -> DriveFacts:
    """Look what is true of a drive; `page` says whether the recovery page is to be there. Raises OSError."""
    sets, closed = list_sets(root)
    found = []
    for name in sets:
        try:
            found.append(facts_of_set(root, name))
        except PermissionError:  # it is another user's
            closed.append(name)
    return DriveFacts(marker.label, tuple(found), tuple(sorted(closed)), marker.naming is not Naming.BYTES, page)


Papers = Callable[[DriveFacts], Sequence[Paper]]


def put_paper(root: Folder, paper: Paper, owner: str) -> str:
    """Put a paper on a drive where that is not so already; say so if it is left alone because snapback did not write it. Raises OSError."""
    there = root.has(paper.name) or paper.name in root.names()   # a dying drive says of what it has that it has it not
    found = read_head(root, paper.name, PAPER_LIMIT) if there and stat.S_ISREG(root.stat(paper.name).st_mode) else None
    if found == paper.text.encode("utf-8", "surrogateescape"):
        return ""
    ours = is_our_paper(found, paper.title)
    if there and not ours:
        return f"{paper.name} on the drive was not written by snapback; it was left alone"
    try:
        write_text(root, paper.name, paper.text, owner, paper.mode)
    except PermissionError:
        if not ours:
            raise  # else another user keeps it, and it is true of that one's copies
    return ""


def furnish(root: Folder, papers: Iterable[Paper], owner: str) -> List[str]:
    """Put the tool and the papers on a drive; say what is left alone because snapback did not write it."""
    remove_unique(root, owner)
    notes = [note for note in [put_paper(root, paper, owner) for paper in papers] if note]
    own = own_text()
    present = read_text(root, TOOL, 4 * MIB)
    if present is None and not root.has(TOOL):
        write_text(root, TOOL, own, owner)
    elif tool_version(present or "") is None:
        notes.append(f"{TOOL} on the drive was not written by snapback; it was left alone")
    elif (tool_version(present or "") or ()) < (tool_version(own) or ()):
        write_text(root, TOOL, own, owner)
    return notes


def renew_papers(drive: Drive, papers: Papers, owner: str) -> str:
    """Bring the papers at the top of a drive up to date, after something on it has changed; say why if that failed."""
    if not drive.marker:
        return ""
    try:
        drive.check()
        for paper in papers(facts_of_drive(drive.root, drive.marker, has_page(drive.root))):
            put_paper(drive.root, paper, owner)
    except (OSError, DriveError) as err:
        return f"{RECOVERY} on {drive.label} could not be brought up to date ({reason(err)}); the next run of backup does that"
    return ""


def remove_page_lists(set_folder: Folder, kept: Collection[str] = ()) -> None:
    """Remove what the recovery page had of dates but those that are kept, and halves of it. Raises OSError."""
    if not set_folder.has(PAGE_LISTS):
        return
    lists = set_folder.child(PAGE_LISTS)
    for name in lists.names():
        date, _, ending = name.partition(PAGE_ENDING)
        if SNAPSHOT_NAME.fullmatch(date) and (ending == INCOMPLETE or (not ending and name != date and date not in kept)):
            lists.unlink(name)
    if not kept and not lists.names():
        set_folder.rmdir(PAGE_LISTS)


def write_page_lists(set_folder: Folder, snapshots: Iterable[Snapshot]) -> None:
    """Write what the recovery page lacks of the dates of a set, the newest first. Raises OSError."""
    if not set_folder.has(PAGE_LISTS):
        make_private(set_folder, PAGE_LISTS)
    lists = set_folder.child(PAGE_LISTS)
    present = lists.names()
    for one in reversed([one for one in snapshots if one.state is State.WHOLE and one.name + PAGE_ENDING not in present]):
        with contextlib.suppress(ManifestDamaged):  # `verify` tells
            write_page_list(set_folder, lists, one.name)
    lists.flush()


def others_with_lists(root: Folder, set_name: str) -> List[str]:
    """Name the other sets that the recovery page has the names of. Raises OSError."""
    return [name for name in list_sets(root)[0] if name != set_name and root.child(name).has(PAGE_LISTS)]


def tend_papers(drive: Drive, set_name: str, papers: Papers, page: bool) -> List[str]:
    """Bring what lies on a drive for a bad day up to date, and what the recovery page reads of a set; take that away if it is not wanted.

    Says what is left alone, as snapback did not write it. Raises OSError, DriveError.
    """
    set_folder = drive.root.child(set_name)
    snapshots = survey(set_folder)
    drive.check()
    remove_page_lists(set_folder, [one.name for one in snapshots if one.state is State.WHOLE] if page else ())
    if page:
        write_page_lists(set_folder, snapshots)
    elif has_page(drive.root) and not others_with_lists(drive.root, set_name):
        drive.root.unlink(RECOVERY_PAGE)
        drive.root.flush()
    notes = []
    if drive.marker:
        facts = facts_of_drive(drive.root, drive.marker, page or has_page(drive.root))
        notes = furnish(drive.root, papers(facts), set_name)
    if set_folder.fd is not None:
        flush_memory(set_folder.fd)  # before anybody is told that the drive may be unplugged
    return notes


def prepare_drive(path: str, label: str, offline: bool, created: str, papers: Papers) -> Prepared:
    """Make a marker (unless there is one), put the tool and the plan there, and try what the drive can do."""
    root = Folder.top(path)
    marker, made = read_marker(root), False
    if marker is None and root.has(MARKER):
        raise UsageError(f"{show(path)} has a file {MARKER} that is no marker; look at it, and remove it if it is not needed")
    abilities, notes = None, []  # type: Optional[Abilities], List[str]
    if marker is None:
        abilities = try_drive(root)
        name = " ".join(show(label).split()) or show(path_parts(path)[-1] if path_parts(path) else "drive")
        marker, made = Marker(new_id(), name[:100], created, offline, abilities.naming), True
        notes = furnish(root, papers(facts_of_drive(root, marker, False)), "init")
        write_text(root, MARKER, marker_text(marker), "init")  # last: it alone makes the folder a drive
    free, total = free_space(path)
    return Prepared(marker, made, abilities, free, total, largest_file(path), tuple(notes),
                    bool(disks_of(path) & system_disks()), any(list_sets(root)))


# -- taking a dated copy --


class Unproved(NamedTuple):
    """A dated copy that is finished, but is to be read back before it counts as one."""

    set_folder: Folder
    name: str
    by_path: bool                    # stored files are shared by reference, not by links alone
    jobs: int
    far: bool


ReadBack = Callable[[Unproved, Watch], Tuple[List[Finding], int]]    # gives the damage, and the bytes that were read


class Order(NamedTuple):
    """What a person asked `backup` to do; `now` has its offset from UTC."""

    sources: Tuple[Source, ...]
    now: datetime
    papers: Papers
    rules: Rules = Rules()
    set_name: str = ""
    adopt: bool = False
    checksum: bool = False
    allow_empty: bool = False
    fresh: bool = False              # share nothing with earlier copies
    hold_at: float = HOLD_AT         # percent of files lost at which the set is held; 0: never
    rotation: Optional[Rotation] = None      # None: nothing old is deleted
    watched: bool = True             # somebody is shown how far the run is
    jobs: int = 1
    layout: Optional[Layout] = None  # None: what suits the drive
    foretell: Optional[Callable[[str], None]] = None     # says at once what a person should know before all is done
    read_back: Optional[ReadBack] = None     # reads the new copy again before it counts as one
    page: bool = True                # the recovery page is to be on the drive


def has_rested(words: Mapping[str, str], rested_ns: int) -> bool:
    """Tell whether nothing of a file is younger: neither its content nor, where its line has that, its change time.

    The time alone would do for a container that is in use, as an encrypting program puts its time back after each write.
    """
    return time_ns(words.get("time", "")) < rested_ns and ("ctime" not in words or time_ns(words["ctime"]) < rested_ns)


def lost_alone(known: Known, rested_ns: int) -> Losses:
    """Give what a lost file counts, without counting that it was there."""
    words = parse_keywords(known.line)
    rested = has_rested(words, rested_ns)
    return Losses(lost=1, rested_lost=rested, rested_bytes_lost=number(words, "size") * rested)


class Toll:
    """Counts what became of the files of the earlier copies, for the tripwire."""

    def __init__(self, now: datetime) -> None:
        self.rested_ns = int((now - RESTED).timestamp()) * 10**9     # whoever is older has rested
        self.sources: Dict[str, Losses] = {}

    def add(self, path: str, losses: Losses) -> None:
        """Add to the losses of the source that a path lies in."""
        alias = path.partition("/")[0]
        self.sources[alias] = self.sources.get(alias, Losses()).plus(losses)

    def met(self, path: str, files: Sequence[os.stat_result]) -> None:
        """Count files of the earlier copy that are as they were, as `has_rested` would do by their lines."""
        limit = self.rested_ns
        rested = [info.st_size for info in files if info.st_mtime_ns < limit and (not WITH_CTIME or info.st_ctime_ns < limit)]
        self.add(path, Losses(len(files), 0, len(rested), 0, sum(rested)))

    def one(self, path: str, known: Known, lost: bool) -> None:
        """Count one file of the earlier copy."""
        words = parse_keywords(known.line)
        size = number(words, "size")
        rested = has_rested(words, self.rested_ns)
        self.add(path, Losses(1, lost, rested, lost and rested, size * rested, size * (lost and rested)))

    def found_again(self, path: str, known: Known) -> None:
        """Take back that a file is lost: it was only moved."""
        self.add(path, Losses(*(-count for count in lost_alone(known, self.rested_ns))))


class StoredFile(NamedTuple):
    """A file on the drive: the folder in which it lies, its name there, and its path as another dated copy's list says it."""

    folder: Folder
    name: str
    stored: str

    def is_there(self, size: int) -> bool:
        """Tell whether it is a file of so many bytes. Raises OSError where the drive fails."""
        try:
            info = self.folder.stat(self.name)
        except FileNotFoundError:
            return False
        return stat.S_ISREG(info.st_mode) and info.st_size == size


class Earlier:
    """The dated copy that a source is compared with: its manifest, read side by side with the walk."""

    MOST_TRAILS = 8      # several folders of each are kept open

    def __init__(self, manifest: Manifest, name: str, set_folder: Folder, aliases: Set[str]) -> None:
        self.manifest, self.name, self.aliases = manifest, name, aliases
        self.blocks = read_blocks(manifest.lines())
        self.block: Optional[Block] = next(self.blocks, None)
        self.gone = 0
        self.toll: Optional[Toll] = None
        self.left_out: Set[str] = set()      # paths that the rules exclude now
        self.set_folder = set_folder
        self.trails: Dict[Tuple[str, bool], Trail] = {}      # of the dates whose folders are looked into
        taken = parse_time(manifest.header["taken"])
        self.racy_after_ns = int(taken.timestamp()) * 10**9 - RACY_NS if taken else 0

    @property
    def seq(self) -> int:
        """Give the dated copy's number."""
        return int(self.manifest.header["seq"])

    @property
    def is_complete(self) -> bool:
        """Tell whether it has every file in its own folder."""
        return bool(self.manifest.header.get("layout") == Layout.COMPLETE.value)

    @property
    def sources(self) -> Mapping[str, str]:
        """Give where each of its sources was then."""
        sources: Mapping[str, str] = self.manifest.header["sources"]
        return sources

    def holds(self, alias: str) -> bool:
        """Tell whether anything was in a source then (read anew, as it is asked before the walk)."""
        return any((block.path.split("/")[0] == alias and block.entries) or block.path.startswith(alias + "/")
                   or alias in block.entries for block in read_blocks(self.manifest.lines()))

    def at(self, path: str) -> Optional[Block]:
        """Give the block of a folder, and pass by those before it: their files are gone."""
        while self.block is not None and self.block.path != path and folder_key(self.block.path) < folder_key(path):
            self.pass_by()
        return self.block if self.block is not None and self.block.path == path else None

    def pass_by(self) -> None:
        """Go on to the next block; what is still in this one was not met in the source, or left out on purpose."""
        block = self.block
        if block is None:
            return
        if block.entries and not self._is_left_out(block.path):
            of_folder = block.path.split("/")[0] in self.aliases
            for name, known in block.entries.items():
                path = f"{block.path}/{name}" if block.path else name
                if known.hash_line and (of_folder or name in self.aliases) and path not in self.left_out:
                    self.gone += 1
                    if self.toll:
                        self.toll.one(path, known, lost=True)
        self.block = next(self.blocks, None)

    def _is_left_out(self, path: str) -> bool:
        """Tell whether a folder lies in one that the rules exclude now."""
        parts = path.split("/")
        return bool(self.left_out) and any("/".join(parts[:count]) in self.left_out for count in range(1, len(parts) + 1))

    def pass_all(self) -> None:
        """Go on to the end."""
        while self.block is not None:
            self.pass_by()

    def folder(self, path: str) -> Optional[Folder]:
        """Open the folder on the drive; None where a person has removed it."""
        return self._open(self.name, path.split("/") if path else ())

    def stored(self, known: Known, for_moves: bool = False) -> Optional[StoredFile]:
        """Find the stored file of an entry, in this dated copy or an earlier one; `for_moves`: away from where the walk is.

        None where a person has removed its folder, or the list leads elsewhere; whether the file is there is not looked at.
        """
        try:
            snapshot, parts = stored_place(parse_hash_line(known.hash_line)[1], self.name)
        except ManifestDamaged:
            return None
        folder = self._open(snapshot, parts[:-1], for_moves)
        return StoredFile(folder, parts[-1], "/".join(("..", snapshot, *parts))) if folder else None

    def _open(self, snapshot: str, parts: Sequence[str], for_moves: bool = False) -> Optional[Folder]:
        trail = self.trails.pop((snapshot, for_moves), None)
        try:
            trail = trail or Trail(self.set_folder.child(snapshot))
        except OSError:
            return None
        self.trails[snapshot, for_moves] = trail  # the one that was used last comes last
        if len(self.trails) > self.MOST_TRAILS:
            del self.trails[next(iter(self.trails))]
        try:
            return trail.at(parts)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None


class Moved(NamedTuple):
    """A file that the earlier copy has under another name, which is gone: its path there, its lines, its stored file."""

    path: str
    known: Known
    old: StoredFile
    linkable: bool = True            # what is stored may get one more name
    place: int = 0                   # where its lines begin in the manifest


class Errand(NamedTuple):
    """One file to be stored: where it is, where it goes, and what is known of it."""

    file: SourceFile
    target: Folder
    path: str                        # as in the copy
    same: Same = Same.NEW
    known: Optional[Known] = None
    old: Optional[StoredFile] = None     # what the earlier copy stored of it
    linkable: bool = True            # that may get one more name
    old_name: str = ""               # the earlier dated copy
    rot: bool = False                # its times say unchanged: other bytes would be rot
    moved: Optional[Moved] = None    # what it was, by its inode, before it got this name
    leftovers: Tuple[Folder, ...] = ()
    renamed: str = ""                # where it lies in the copy, if not at its path, as the drive does not take that

    @property
    def stored(self) -> str:
        """Give where it will lie in the copy."""
        return self.renamed or self.path

    @property
    def name(self) -> str:
        """Give the name under which it will lie in its folder."""
        return self.stored.rpartition("/")[2]

    @property
    def folders(self) -> Tuple[Optional[Folder], ...]:
        """Give the folders in which it is done."""
        return (self.target, self.file.folder, self.old and self.old.folder, self.moved and self.moved.old.folder, *self.leftovers)

    @property
    def cost(self) -> int:
        """Give the bytes to be read; a small file costs more than its bytes."""
        return self.file.info.st_size + 128 * KIB


class Links(NamedTuple):
    """Unchanged files of one folder: the folder of the earlier copy, that of the new one, names, sizes and times."""

    old: Folder
    new: Folder
    names: List[str]
    sizes: List[int]
    times: List[int]


class Wanted(NamedTuple):
    """Stored files that must be where a list says: for each folder of the set their numbers, names and sizes."""

    set_folder: Folder
    places: Sequence[Tuple[str, Sequence[Tuple[int, str, int]]]]


LINK_COST = 16 * KIB         # of linking a file, or of seeing that it is there
FINISH_COST = 32 * KIB       # of a folder's metadata


class Finish(NamedTuple):
    """A folder of the new copy into which nothing more is put, and the metadata that it is to have."""

    folder: Folder
    meta: Meta


class NewFiles(NamedTuple):
    """Files of one folder of which nothing is known yet: where they are, where they go, the path of the folder in the copy."""

    source: Folder
    target: Folder
    path: str
    names: List[str]


class Stored(NamedTuple):
    """What became of an errand: its lines, how it counts, the bytes written, what a person should know."""

    lines: Known
    same: Optional[Same]             # None: neither stored nor kept
    size: int = 0
    added: int = 0
    note: str = ""
    kept: bool = False
    rot: bool = False                # other bytes, though size and times are as before
    moved: bool = False              # it was only moved: what was stored of it has one more name
    missing: str = ""                # the dated copy whose folder should have had its content


class StoredNew(NamedTuple):
    """What became of new files: two lines for each, the bytes of those that made no trouble and the room they take, and the others."""

    lines: List[str]
    bytes: int
    occupied: int
    others: List[Tuple[int, Stored]]     # by place


NO_SUCH_NAME = "the drive cannot hold a name like this, or takes it for another one"
TOO_LARGE = "it is larger than 4 GiB, the most that a FAT32 drive holds; exFAT holds it, but formatting erases the drive"
TOO_LARGE_THERE = "it is larger than the drive takes; take another drive for it"


def other_content(lines: Known, known: Known) -> bool:
    """Tell whether two files have other bytes."""
    return parse_hash_line(lines.hash_line)[0] != parse_hash_line(known.hash_line)[0]


class NewFolder:
    """A folder of the new copy that is made when something is put into it; most folders of a drive without hard links stay empty."""

    def __init__(self, make: Callable[[], Folder]) -> None:
        self._make = make
        self.folder: Optional[Folder] = None

    def get(self) -> Folder:
        """Give the folder. Raises OSError where it cannot be made."""
        if self.folder is None:
            self.folder = self._make()
        return self.folder


class Store:
    """Stores files, as each of the workers does: it knows what the drive can do."""

    def __init__(self, abilities: Abilities, layout: Layout, care: Care, drive: Drive) -> None:
        self.abilities, self.layout, self.care, self.drive = abilities, layout, care, drive
        self.refers = layout is Layout.CHANGES
        self.links = abilities.hard_links and not self.refers
        self.reach = Reach()
        self.cluster, self.largest = cluster_size(drive.path), largest_file(drive.path)

    def serve(self, piece: Union[Errand, NewFiles, Links, Wanted, Finish]) -> Union[Stored, StoredNew, List[int], None]:
        """Do a piece of work: store files, finish a folder, or share unchanged files and tell which could not be (by place)."""
        if isinstance(piece, Errand):
            return self.store(piece)
        if isinstance(piece, NewFiles):
            return self.store_new(piece)
        self.care.pulse.beat(0)
        if isinstance(piece, Finish):
            self.give_metadata(piece)
            return None
        if isinstance(piece, Wanted):
            return [at for place, files in piece.places for at in self.absent(piece.set_folder, place, files)]
        return [at for at, (name, size, time) in enumerate(zip(piece.names, piece.sizes, piece.times))
                if not link_same(piece.old, name, piece.new, name, size, self.stored_time(size, time))]

    def absent(self, set_folder: Folder, place: str, files: Iterable[Tuple[int, str, int]]) -> List[int]:
        """List a folder of the set, and give those files that are not there, or have another size. Raises OSError for the drive."""
        try:
            found = {name: info.st_size for name, info in self.reach.at(set_folder, place).scan() if stat.S_ISREG(info.st_mode)}
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            found = {}
        return [at for at, name, size in files if found.get(name) != size]

    def stored_time(self, size: int, time: int) -> Optional[int]:
        """Give the time that a stored file must have, as otherwise somebody has changed it; None where it proves nothing.

        A large file is linked on when its time alone has changed, and a time far away may have been moved by the drive.
        """
        return time if self.abilities.time_step_ns == 1 and size < LARGE_FILE and abs(time) < ANY_DISK_NS else None

    def store(self, errand: Errand) -> Stored:
        """Link, adopt or copy one file. Raises OSError for the drive; the source's trouble is in the result."""
        if self.largest and errand.file.info.st_size > self.largest:
            return self.keep(errand, TOO_LARGE)
        try:
            return self._linked(errand) or self._moved(errand) or self._copied(errand)
        except SourceError as err:
            return self.keep(errand, err.why)
        except OSError as err:
            if err.errno == errno.EFBIG:
                errand.target.unlink(errand.name)
                return self.keep(errand, TOO_LARGE_THERE)
            if not name_refused(err, self.drive.is_there) or (err.errno != errno.EEXIST and errand.target.has(errand.name)):
                raise  # what could be made was not refused for its name
            return self.skip(errand.path, NO_SUCH_NAME)

    def store_new(self, piece: NewFiles) -> StoredNew:
        """Store files of which nothing is known; each that is not small and plain has an errand of its own."""
        lines: List[str] = []
        others, size, occupied = [], 0, 0
        for at, name in enumerate(piece.names):
            path = f"{piece.path}/{name}"
            small = self._store_small(piece, name)
            if small is None:
                stored = self._store_other(piece, name, path)
                others.append((at, stored))
                lines += stored.lines
            else:
                size += small.info.st_size
                occupied += in_clusters(small.info.st_size, self.cluster)
                lines.append(file_line(small.info) + xattr_words(small.xattrs) if small.xattrs else file_line(small.info))
                lines.append(hash_line(hashlib.sha256(small.data).hexdigest(), path))
        return StoredNew(lines, size, occupied, others)

    def _store_small(self, piece: NewFiles, name: str) -> Optional[Small]:
        """Store a small file that makes no trouble; None, and nothing is left, for any other. Raises OSError for the drive."""
        small = read_small(piece.source, name)
        if small is None:
            return None
        self.care.pulse.beat(small.info.st_size)
        try:
            # a mode that forbids its owner to write also forbids him to set attributes
            out = piece.target.create_file(name, 0o600 if small.xattrs else small.info.st_mode & 0o777)
        except OSError:  # tried again with more care, which says why
            return None
        write_small(out, small, self.care.flush)
        return small

    def _store_other(self, piece: NewFiles, name: str, path: str) -> Stored:
        """Store any other file, which may have gone meanwhile."""
        try:
            info = from_source(piece.source.stat, name)
            if not stat.S_ISREG(info.st_mode):
                raise SourceError("became something else before it was read")
        except SourceError as err:
            return self.skip(path, err.why)
        return self.store(Errand(SourceFile(piece.source, name, info), piece.target, path))

    def skip(self, path: str, why: str) -> Stored:
        """Note a file that is not in the copy."""
        return Stored(Known(f"# type=skipped why={escape(why)} path={escape(path)}"), None, note=why)

    def make_special(self, new: NewFolder, name: str, line: str) -> bool:
        """Make a link, fifo or device as its line says; False where it lives in the list alone, as where most folders are not made."""
        return not self.refers and make_entry(new.get(), name, line)

    def is_needed(self, parent: Folder, folder: Folder, name: str) -> bool:
        """Tell whether a folder of the new copy, into which nothing more is put, has to be there; else it goes."""
        if self.refers and not folder.names():
            parent.rmdir(name)
            return False
        return True

    def give_metadata(self, done: Finish) -> None:
        """Give a folder of the new copy its own metadata."""
        if self.care.flush:
            done.folder.flush()
        set_folder_metadata(done.folder, done.meta)

    def finish(self, parent: Folder, folder: Folder, name: str, meta: Meta) -> None:
        """Finish a folder of the new copy into which nothing more is put."""
        if self.is_needed(parent, folder, name):
            self.give_metadata(Finish(folder, meta))

    def can_share(self) -> bool:
        """Tell whether dated copies can share stored files here at all."""
        return self.refers or self.abilities.hard_links

    def share(self, old: StoredFile, known: Known, target: Folder, stored: str) -> str:
        """Let the new copy have a stored file too, by a link at `stored` or a reference; give where it lies for it, or nothing."""
        words = parse_keywords(known.line)
        size, time = number(words, "size"), time_ns(words.get("time", ""))
        if self.refers:
            return old.stored if old.is_there(size) else ""
        name = stored.rpartition("/")[2]
        linked = self.abilities.hard_links and link_same(old.folder, old.name, target, name, size, self.stored_time(size, time))
        return stored if linked else ""

    def _again(self, errand: Errand) -> str:
        """Share the earlier copy's file; give where it lies for the new one, or nothing where that cannot be."""
        if errand.old is None or errand.known is None or not errand.linkable:
            return ""
        return self.share(errand.old, errand.known, errand.target, errand.stored)

    def unchanged(self, errand: Errand) -> Optional[Stored]:
        """Store a file that is surely as it was; None where it has to be copied."""
        known, info = errand.known, errand.file.info
        stored = self._again(errand) if errand.same is Same.UNCHANGED else ""
        if known is None or not stored:
            return None
        line = file_line(info) + xattr_words(parse_xattrs(parse_keywords(known.line)))
        return Stored(stored_lines(line, parse_hash_line(known.hash_line)[0], stored, errand.path), Same.UNCHANGED, info.st_size)

    def _may_be_touched(self, errand: Errand) -> bool:
        """Tell whether a file with another time may have the same bytes, which then need not be stored again."""
        words = parse_keywords(errand.known.line) if errand.known else {}
        return self.refers and errand.same is Same.CHANGED and errand.linkable and words.get("size") == str(errand.file.info.st_size)

    def _linked(self, errand: Errand) -> Optional[Stored]:
        """Store a file whose content is that of the earlier copy; None where it has to be copied."""
        known, info = errand.known, errand.file.info
        if known is None or not (errand.same is Same.DOUBTFUL or self._may_be_touched(errand)):
            return self.unchanged(errand)
        seen = examine(errand.file, self.care.pulse)
        line = file_line(info) + xattr_words(seen.xattrs)
        if seen.changing or seen.digest != parse_hash_line(known.hash_line)[0]:
            return None
        same = how_same(line, seen.digest, known)
        stored = self._again(errand) if same is Same.UNCHANGED or info.st_size >= LARGE_FILE or self.refers else ""
        return Stored(stored_lines(line, seen.digest, stored, errand.path), same, info.st_size) if stored else None

    def _moved(self, errand: Errand) -> Optional[Stored]:
        """Link a file that was only moved to what is stored of it under its old name; None where it has to be copied."""
        moved, info = errand.moved, errand.file.info
        if moved is None or not moved.linkable:
            return None
        seen = examine(errand.file, self.care.pulse)
        lines = Known(file_line(info) + xattr_words(seen.xattrs), hash_line(seen.digest, errand.path))
        stored = "" if seen.changing else self.share_moved(moved, lines, errand.target, errand.stored)
        if not stored:
            return None
        return Stored(stored_lines(lines.line, seen.digest, stored, errand.path), Same.CHANGED if errand.known else Same.NEW, info.st_size,
                      moved=True)

    def share_moved(self, moved: Moved, lines: Known, target: Folder, at: str) -> str:
        """Share the stored file of a moved one, if it is the same in all that a plain copy shows; or large, or only referred to."""
        digest = parse_hash_line(lines.hash_line)[0]
        size = number(parse_keywords(lines.line), "size")
        same = how_same(lines.line, digest, moved.known)
        if digest != parse_hash_line(moved.known.hash_line)[0] or (same is not Same.UNCHANGED and size < LARGE_FILE and not self.refers):
            return ""
        return self.share(moved.old, lines, target, at)

    def _copied(self, errand: Errand) -> Stored:
        """Store a file's bytes anew, or take over what an interrupted run had stored of it."""
        adopted = (adopt_leftover(leftover, errand.file, errand.target, errand.name, self.care)
                   for leftover in errand.leftovers)
        copied, added = next((one for one in adopted if one), None), 0
        if copied is None:
            copied = copy_file(errand.file, errand.target, errand.name, self.care)
            added = copied.size
        line = file_line(copied.info) + xattr_words(copied.xattrs)
        if copied.changing:  # what is stored is what was read, whatever the stat before said
            line = re.sub(r" size=\d+ ", f" size={copied.size} ", line, count=1) + " changing"
        lines = stored_lines(line, copied.digest, errand.stored, errand.path)
        same = how_same(line, copied.digest, errand.known)
        missing = ""
        if self.refers and errand.known and errand.linkable and not other_content(lines, errand.known):
            missing = stored_place(parse_hash_line(errand.known.hash_line)[1], errand.old_name)[0]
        if copied.changing:
            return Stored(lines, same, copied.size, added, "kept changing while it was read")
        if errand.moved and not other_content(lines, errand.moved.known):
            return Stored(lines, same, copied.size, added, moved=True)
        if errand.rot and same is Same.CHANGED:
            return Stored(lines, same, copied.size, added, "has other content though its size and times are as before: its disk may be "
                          f"failing; the earlier version is in the dated copy {errand.old_name}", rot=True)
        return Stored(lines, same, copied.size, added, missing=missing)

    def keep(self, errand: Errand, why: str) -> Stored:
        """Keep the earlier copy of a file that cannot be read now, or note that there is none."""
        skipped = self.skip(errand.path, why)
        if errand.known is None or errand.old is None:
            return skipped
        digest = parse_hash_line(errand.known.hash_line)[0]
        added, stored = 0, self._again(errand)
        if not stored:
            try:
                old = SourceFile(errand.old.folder, errand.old.name, errand.old.folder.stat(errand.old.name))
                copied = copy_file(old, errand.target, errand.name, self.care)
            except (SourceError, FileNotFoundError):
                return skipped
            added, stored = copied.info.st_size, errand.stored
            if copied.digest != digest:
                errand.target.unlink(errand.name)
                return skipped
        line = errand.known.line
        lines = stored_lines(keep_line(without_path(line), errand.old_name), digest, stored, errand.path)
        note = f"{why}; the copy of {kept_of(line, errand.old_name)} is kept"
        return Stored(lines, Same.UNCHANGED, number(parse_keywords(line), "size"), added, note, kept=True)


class FolderNames:
    """Says where a folder of the new copy, and what is in it, lies on the drive: where it can, at its own path.

    No two names of a folder are one to the drive, which may take few characters, and small letters for large ones.
    """

    def __init__(self, can: Abilities, path: str = "", stored: str = "") -> None:
        self.can, self.path, self.stored = can, path, stored
        self.takes_all = can.naming is Naming.BYTES and can.exact_names and not can.decomposes
        self.exact = can.naming in (Naming.BYTES, Naming.TEXT) and can.exact_names
        self.given: Dict[str, str] = {}      # the name on the drive of each that was asked for
        self.taken: Set[str] = set()         # what no further name there may be

    def below(self, name: str) -> "FolderNames":
        """Give the names of a subfolder."""
        return FolderNames(self.can, f"{self.path}/{name}" if self.path else name, self.path_of(name))

    def are_plain(self, names: Collection[str]) -> bool:
        """Tell whether files of these names surely lie at their own paths; else each is to be asked for."""
        return self.takes_all and self.stored == self.path and (
            len(max(names, key=len, default="")) < 64 or all(map(fits, names)))

    def path_of(self, name: str) -> str:
        """Give where an entry lies on the drive."""
        given = storable(name, Naming.BYTES) if self.takes_all else self._unique(name)
        return f"{self.stored}/{given}" if self.stored else given

    def _unique(self, name: str) -> str:
        if name not in self.given:
            plain = storable(name, self.can.naming, self.can.decomposes)
            others = (told_apart(plain, name + "/" * count) for count in itertools.count())
            given = next(one for one in itertools.chain([plain], others) if self._key(one) not in self.taken)
            self.taken.add(self._key(given))
            self.given[name] = given
        return self.given[name]

    def _key(self, name: str) -> str:
        return name if self.exact else folded(name)


class NewFolders:
    """The folders of the new copy on the way to where the walk stands."""

    def __init__(self, target: Folder, refers: bool) -> None:
        self.trail, self.refers = Trail(target), refers
        self.made: Set[str] = set()      # as they lie on the drive

    def folder(self, stored: str, was_there: bool) -> NewFolder:
        """Give the folder at a path, which is made at once unless it may stay empty: because it `was_there` in the earlier copy.

        Raises OSError where it cannot be made.
        """
        new = NewFolder(functools.partial(self._make, stored, was_there))
        if not (self.refers and was_there):
            new.get()
        return new

    def _make(self, stored: str, was_there: bool) -> Folder:
        *parts, name = stored.split("/")
        parent = self.trail.at(parts, enter_or_make if self.refers else Folder.child)
        self.made.add(stored)
        above = stored.rpartition("/")[0]
        while self.refers and above and above not in self.made:
            self.made.add(above)
            above = above.rpartition("/")[0]
        del parent
        return self.trail.at([*parts, name], enter_or_make if self.refers and was_there else Folder.make)

    def find(self, stored: str) -> Optional[Folder]:
        """Give a folder that the walk leaves, if it was made."""
        if stored not in self.made:
            return None
        self.made.discard(stored)
        return self.trail.at(stored.split("/"))

    def parent(self, stored: str) -> Folder:
        """Give the folder that holds a folder which was made."""
        return self.trail.at(stored.split("/")[:-1])


class Place(NamedTuple):
    """A folder of a source, its counterpart in the new copy, and in the earlier one."""

    source: Folder
    new: NewFolder
    names: FolderNames
    before: Optional[Earlier] = None
    old: Optional[Folder] = None     # where every file lies at its own path
    leftovers: Tuple[Folder, ...] = ()
    unreadable: Mapping[str, OSError] = {}

    @property
    def path(self) -> str:
        """Give its path as in the copy; empty at its top."""
        return self.names.path

    def of(self, name: str) -> str:
        """Give the path of an entry."""
        return f"{self.path}/{name}" if self.path else name

    def lies_plainly(self, name: str) -> bool:
        """Tell whether a file lies at its own path."""
        return self.names.path_of(name) == self.of(name)

    def put(self, errand: Errand) -> Errand:
        """Say in an errand where a file of this folder goes; its folder is made for that. Raises OSError."""
        stored = self.names.path_of(errand.path.rpartition("/")[2])
        return errand._replace(target=self.new.get(), renamed=stored if stored != errand.path else "")


class Run(NamedTuple):
    """What all parts of taking one dated copy share."""

    order: Order
    drive: Drive
    target: Folder
    store: Store
    workers: Workers
    writer: ManifestWriter
    flushing: Optional[Flushing]
    counts: Counts
    notes: Notes


class Tally:
    """Takes the results of a run in their order: counts, notes, and the manifest's lines."""

    def __init__(self, run: Run) -> None:
        self.run, self.toll = run, Toll(run.order.now)
        self.moved: List[Tuple[Optional[Earlier], str, Known]] = []
        self.missing: Dict[str, int] = {}        # dated copies, and how many files that had not changed are not in their folders
        self.rotten: List[Tuple[str, str, str]] = []     # dated copy, path and line of checksums of what suspected rot replaced

    def stored(self, path: str, result: Stored, known: Optional[Known] = None) -> Known:
        """Count one file, of which the earlier copy may have known something, and give its lines."""
        counts = self.run.counts
        if known is not None and known.hash_line:
            self.toll.one(path, known, result.same is None or (result.kept and " kept=" not in known.line)
                          or other_content(result.lines, known))
        if result.same is None:
            counts.skipped += 1
        else:
            counts.files[result.same] += 1
            counts.bytes += result.size
        counts.kept += result.kept
        counts.moved += result.moved
        if result.missing:
            self.missing[result.missing] = self.missing.get(result.missing, 0) + 1
        counts.added += result.added
        counts.occupied += in_clusters(result.added, self.run.store.cluster)
        self.run.workers.pulse.files += 1
        if result.note:
            self.run.notes.append(Note(path, result.note))
        return result.lines

    def note_move(self, before: Optional[Earlier], errand: Errand, result: Stored) -> None:
        """Remember that a file was only moved, so that its old name is not lost."""
        if result.moved and errand.moved:
            self.moved.append((before, errand.moved.path, errand.moved.known))

    def note_rot(self, errand: Errand, result: Stored) -> None:
        """Remember which dated copy has the version before suspected rot."""
        if result.rot and errand.known:
            self.rotten.append((errand.old_name, errand.path, errand.known.hash_line))

    def plain(self, same: Same, files: int, size: int, added: int, occupied: int = 0) -> None:
        """Count files that made no trouble: new ones that were stored, or unchanged ones that were linked."""
        self.run.counts.files[same] += files
        self.run.counts.bytes += size
        self.run.counts.added += added
        self.run.counts.occupied += occupied
        self.run.workers.pulse.files += files

    def skipped(self, path: str, why: str, of_dir: bool = False) -> str:
        """Count an entry that could not be read and has no earlier copy; give its line."""
        self.run.counts.skipped += 1
        self.run.notes.append(Note(path, why))
        return f"{SKIPPED_DIR_LINE if of_dir else '# type=skipped '}why={escape(why)} path={escape(path)}"

    def emit(self, lines: List[str]) -> None:
        """Write lines, all results before them being known; empty ones were kept free for nothing."""
        if self.run.workers.others:  # all processes are forked: threads do not survive that
            self.run.writer.work_beside()
            if self.run.flushing:
                self.run.flushing.go_on(self.run.counts.added)
        self.run.writer.add([line for line in lines if line])
        self.run.workers.pulse.tell()


class LinkGroup:
    """The names of one hard-linked file: the path of the first, where it lies, how many are still to come, and its lines once stored."""

    def __init__(self, first: str, stored: str, names: int) -> None:
        self.first, self.stored, self.left = first, stored, names
        self.lines: Optional[Known] = None


class LinkGroups:
    """The names of hard-linked files, met one by one: the first is stored, the others are linked to it.

    A group is forgotten when its last name was met, so only those with names elsewhere take memory.
    """

    def __init__(self, run: Run, tally: Tally) -> None:
        self.run, self.tally = run, tally
        self.open: Dict[Tuple[int, ...], LinkGroup] = {}

    def join(self, before: Optional[Earlier], errand: Errand, at: int, lines: List[str]) -> None:
        """Store the first name of a group, or link a further one when the first is done."""
        group = self.meet(errand.file.info, errand.path, errand.stored)
        if group.first == errand.path:
            def first(result: Stored) -> None:
                lines[at], lines[at + 1] = self.tally.stored(errand.path, result, errand.known)
                self.tally.note_rot(errand, result)
                self.tally.note_move(before, errand, result)
                group.lines = result.lines if result.same is not None and not result.kept else None
            self.run.workers.submit(errand, first, errand.folders, errand.cost)
        else:
            def further() -> None:
                result = self._linked(group, errand) or self.run.store.store(errand)
                self.tally.note_move(before, errand, result)
                lines[at], lines[at + 1] = self.tally.stored(errand.path, result, errand.known)
            self.run.workers.after(further, keeps=len(errand.folders))

    def meet(self, info: os.stat_result, path: str, stored: str) -> LinkGroup:
        """Find or open the group of a name; its times are part of the key, as a deleted file's inode is soon another's."""
        key = (*stamp(info), info.st_mode, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        group = self.open.setdefault(key, LinkGroup(path, stored, info.st_nlink))
        group.left -= 1
        if group.left <= 0:
            del self.open[key]
        return group

    def _linked(self, group: LinkGroup, errand: Errand) -> Optional[Stored]:
        lines = group.lines
        if lines is None:
            return None
        digest, stored = parse_hash_line(lines.hash_line)
        if not self.run.store.refers:
            stored = errand.stored
            if not self.run.store.abilities.hard_links or not self.link(group, errand.target, errand.name):
                return None
        same = how_same(lines.line, digest, errand.known)
        moved = errand.moved is not None and not other_content(lines, errand.moved.known)
        return Stored(stored_lines(lines.line, digest, stored, errand.path), same, errand.file.info.st_size, moved=moved)

    def link(self, group: LinkGroup, folder: Folder, name: str) -> bool:
        """Give the group's first entry in this copy a further name; False where the drive refuses."""
        *folders, first = group.stored.split("/")
        try:
            self.run.target.reach(folders).link(first, folder, name)
        except OSError as err:
            if not link_refused(err):
                raise
            return False
        return True


def unreadable_source(path: str, err: OSError) -> str:
    """Say why a whole source cannot be read, and what helps."""
    way_out = "check the path, or attach its disk"
    if err.errno in (errno.EACCES, errno.EPERM):
        way_out = ("allow it in System Settings, Privacy & Security, Full Disk Access" if MACOS
                   else "run as a user who may read it")
    return (f"the source {show(path)} cannot be read ({reason(err)}): no dated copy was made, and every earlier one is "
            f"untouched; {way_out}")


def from_top(source: Source, call: Callable[..., T], *args: Any) -> T:
    """Make a call on a source as a whole; its failure stops the run."""
    try:
        return call(*args)
    except OSError as err:
        raise SourceGone(unreadable_source(source.path, err)) from err


KEPT: Stamp = (0, 0)         # stands for a file that cannot be looked at


class Comparison:
    """Says what is to be done with a file: what the earlier copy knows of it, and whether its stored file may be linked."""

    def __init__(self, order: Order, suspects: Mapping[str, int], nowhere: Folder) -> None:
        self.order, self.suspects, self.nowhere = order, suspects, nowhere
        self.origins = {source.alias: source.path for source in order.sources}
        self.mended = 0              # stored files known to be damaged, of which a good copy is stored now
        self.claims: Dict[Tuple[str, str], Stamp] = {}

    def shares_at_once(self, place: Place) -> bool:
        """Tell whether unchanged files of a folder may be shared without a second thought."""
        return (WITH_CTIME and not self.order.fresh and not self.suspects and not self.order.checksum
                and self._same_origin(place.before, place.path))

    def errand(self, place: Place, name: str, file: SourceFile, was: Optional[Known]) -> Errand:
        """Decide what is to be done with a file; where it goes to is not said yet."""
        errand = Errand(file, self.nowhere, place.of(name), leftovers=place.leftovers)
        before, linkable = place.before, True
        if before is None or was is None or not was.hash_line:
            return errand
        same = compare_file(file_line(file.info), was, before.racy_after_ns)
        expected = same is Same.UNCHANGED
        if expected and (self.order.checksum or not self._same_origin(before, errand.path)):
            same = Same.DOUBTFUL
        if self.suspects.get(parse_hash_line(was.hash_line)[0], 0) >= before.seq:
            same, linkable = Same.CHANGED, False  # the stored file is known to be bad
            self.mended += 1
        linkable = linkable and not self.order.fresh
        if " nlink=" in was.line and (file.info.st_nlink == 1 or not self.claim(was, stamp(file.info))):
            linkable = False  # the last name left of a group: others may have been met in this very run
        return errand._replace(same=same, known=was, old=before.stored(was), linkable=linkable, old_name=before.name,
                               rot=expected and self.order.checksum)

    def may_keep(self, was: Known, before: Earlier) -> bool:
        """Tell whether the stored file of something that cannot be looked at may get one more name."""
        if self.order.fresh or self.suspects.get(parse_hash_line(was.hash_line)[0], 0) >= before.seq:
            return False  # known to be bad, it must not pass for good on a newer date
        return " nlink=" not in was.line or self.claim(was, KEPT)

    def claim(self, was: Known, who: Stamp) -> bool:
        """Let one file of today have the stored file of a hard-linked group; two files must not share it."""
        words = parse_keywords(was.line)
        return self.claims.setdefault((words.get("resdevice", ""), words.get("ino", "")), who) == who

    def _same_origin(self, before: Optional[Earlier], path: str) -> bool:
        """Tell whether the source was at the same path when the earlier copy was made; else times prove nothing."""
        alias = path.partition("/")[0]
        return before is not None and before.sources.get(alias) == self.origins.get(alias)


class Moves:
    """Finds out that a file which seems new was only moved or renamed since the earlier copy.

    Its old name must be gone, or another file's: one stored file never serves two names of a copy.
    """

    FEW_NAMES = 16       # of one file, each of which looks through all that it had

    def __init__(self, order: Order, suspects: Mapping[str, int], can_share: bool, refers: bool) -> None:
        self.suspects, self.can_share, self.refers = suspects, can_share, refers
        self.origins = {source.alias: source.path for source in order.sources if source.is_folder}
        self.indexes: Dict[str, Index] = {}
        self.tops: Dict[str, Trail] = {}
        self.claimed: Set[Tuple[str, int]] = set()
        self.passed: Dict[Tuple[str, int, int, int], int] = {}       # up to where the many names of one file were looked through

    def by_stat(self, before: Earlier, info: os.stat_result) -> Optional[Moved]:
        """Find what a file was, by its size, time and inode. One with several names, then or now, shares nothing by that."""
        if info.st_mtime_ns >= before.racy_after_ns:
            return None  # a file that was written since then is new
        one = before.name, info.st_size, info.st_mtime_ns, info.st_ino
        moved = self._first(before, self._index(before).by_stat(info, self.passed.get(one, 0)))
        if info.st_nlink > self.FEW_NAMES:
            self.passed[one] = moved.place + 1 if moved else (1 << Index.PLACE_BITS) - 1
        if moved and (info.st_nlink != 1 or " nlink=" in moved.known.line):
            return moved._replace(linkable=False)
        return moved

    def by_content(self, before: Earlier, digest: str) -> Optional[Moved]:
        """Find what a large file was, by its checksum."""
        return self._first(before, self._index(before).by_digest(digest))

    def _index(self, before: Earlier) -> Index:
        if before.name not in self.indexes:
            self.indexes[before.name] = Index(before.manifest)
        return self.indexes[before.name]

    def _first(self, before: Earlier, found: Iterable[Tuple[int, Known]]) -> Optional[Moved]:
        """Give the first that is not another's already, is not known to be bad, and whose old name is gone."""
        for place, known in found:
            path = original_path(known)
            if (before.name, place) in self.claimed or self.suspects.get(parse_hash_line(known.hash_line)[0], 0) >= before.seq:
                continue
            if self._is_gone(before, path, parse_keywords(known.line)):
                old = before.stored(known, for_moves=True)
                if old is not None:
                    self.claimed.add((before.name, place))
                    return Moved(path, known, old, self.can_share, place)
        return None

    def _is_gone(self, before: Earlier, path: str, words: Mapping[str, str]) -> bool:
        """Tell whether a path of the earlier copy is no more in the source, or has become another file."""
        alias, *folders = path.split("/")
        if not folders or alias not in before.aliases or before.sources.get(alias) != self.origins.get(alias):
            return False  # of another source a newer copy tells what became of what is stored
        try:
            if alias not in self.tops:
                self.tops[alias] = Trail(Folder.top(self.origins[alias]))
            folder = self.tops[alias].at(folders[:-1])
            info = folder.stat(folders[-1])
            if not folder.can_read(folders[-1]):
                return False  # it is kept under its name
        except OSError as err:
            return err.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        if str(info.st_size) == words.get("size") and (self.refers or info.st_size >= LARGE_FILE):
            return False  # its content may be as before, and then what is stored serves that name
        return (str(info.st_size), time_text(info.st_mtime_ns)) != (words.get("size"), words.get("time"))


class Keeping:
    """Keeps what the earlier copy has of a folder that cannot be read now."""

    def __init__(self, run: Run, tally: Tally, comparison: Comparison, new: NewFolders) -> None:
        self.run, self.tally, self.comparison, self.new = run, tally, comparison, new

    def folder(self, path: str, error: SourceError, before: Optional[Earlier], above: FolderNames) -> None:
        """Keep a folder and all below, or note that nothing is known of it; `above` has the names of the folder around it."""
        self.run.workers.drain()
        block = before.at(path) if before else None
        if before is None or block is None or not block.line.startswith(DIR_LINE):
            self.tally.emit([self.tally.skipped(path, error.why, of_dir=True)])
            return
        self.run.notes.append(Note(path, f"{error.why}; the copy of {kept_of(block.line, before.name)} is kept"))
        inside: List[Tuple[FolderNames, Meta]] = []
        while block is not None and (block.path == path or block.path.startswith(path + "/")):
            while inside and not block.path.startswith(inside[-1][0].path + "/"):
                self._finish(*inside.pop())
            if block.line.startswith(DIR_LINE):
                names = (inside[-1][0] if inside else above).below(block.path.rpartition("/")[2])
                self._block(block, before, names)
                inside.append((names, meta_of(parse_keywords(block.line))))
            else:
                self.tally.emit([block.line])
            block.entries.clear()
            before.pass_by()
            block = before.block
        while inside:
            self._finish(*inside.pop())

    def _finish(self, names: FolderNames, meta: Meta) -> None:
        folder = self.new.find(names.stored)
        if folder:
            self.run.store.finish(self.new.parent(names.stored), folder, names.stored.rpartition("/")[2], meta)

    def _block(self, block: Block, before: Earlier, names: FolderNames) -> None:
        """Keep one folder of the earlier copy."""
        lines = [stored_at(keep_line(block.line, before.name), names.stored)]
        new = self.new.folder(names.stored, True)
        info = self.run.target.own_stat()  # nothing is known of the source's files
        self.run.counts.dirs[Same.UNCHANGED] += 1
        for name, known in block.entries.items():
            path = f"{block.path}/{name}"
            if known.hash_line:
                errand = Errand(SourceFile(self.run.target, name, info), self.run.target, path, Same.UNCHANGED, known, before.stored(known),
                                self.comparison.may_keep(known, before), before.name)
                if not self.run.store.refers or not self.run.store.unchanged(errand):
                    errand = errand._replace(target=new.get(), renamed=names.path_of(name))
                result = self.run.store.keep(errand, "its folder cannot be read")
                # of what is kept the folder's note says all
                lines += self.tally.stored(path, result._replace(note="") if result.kept else result, known)
            else:
                line = keep_line(known.line, before.name)
                if not known.line.startswith("# type=skipped "):
                    made = names.path_of(name) == path and self.run.store.make_special(new, name, known.line)
                    line = line if made else optional_line(line)
                    self.run.counts.other += 1
                lines.append(line)
        self.tally.emit(lines)


Linked = Tuple[int, str, SourceFile, Known]     # an unchanged file: where its lines stand, its name, and what made them


class Present:
    """The unchanged files of one folder to which the list can refer, if they lie where the earlier copy says."""

    def __init__(self, before: Earlier) -> None:
        self.before = before
        self.places: Dict[str, List[Tuple[int, str, int]]] = {}
        self.files: Dict[int, Linked] = {}

    def refer(self, today: str, file: Linked, lines: List[str]) -> bool:
        """Write the lines that refer to a file, which is still to be looked for; False where that takes more."""
        at, _name, found, was = file
        line = refer(was.hash_line, self.before.name)
        if line[0] == "\\" or " path=" in was.line:
            return False
        folder, _, name = line[69:].rpartition("/")  # behind the checksum and "  ../"
        self.places.setdefault(folder, []).append((at, name, found.info.st_size))
        self.files[at] = file
        lines += (today, line)
        return True


class Entries:
    """Takes what is in a folder but not a folder, in a manifest's order."""

    NEW = 100    # new ones
    NEW_COST = 40 * KIB  # what a small file costs beside its bytes

    def __init__(self, run: Run, tally: Tally, comparison: Comparison) -> None:
        self.run, self.tally, self.comparison = run, tally, comparison
        self.moves = Moves(run.order, comparison.suspects, run.store.can_share() and not run.order.fresh, run.store.refers)
        self.link_groups = LinkGroups(run, tally)
        self.unseen: Set[str] = set()    # files that cannot be looked at, until they are met again among the folders

    def take(self, place: Place, files: Sequence[Tuple[str, Optional[os.stat_result], str]], known: Dict[str, Known],
             lines: List[str]) -> None:
        """Take files, links and special files; `known` loses what is met, `lines` gets the result.

        The loop is the hot one: of an unchanged file it makes one line, compares it with the
        earlier manifest's as text, and links the stored file or refers to it; nothing is parsed.
        """
        old, present = self._at_once(place)
        most_links = self.run.workers.most_cost // LINK_COST
        racy_ns = place.before.racy_after_ns if place.before and (old or present) else 0     # else nothing is surely the same
        linked, new = [], []  # type: List[Linked], List[Tuple[int, str]]
        new_cost, all_new = 0, place.path and not place.leftovers
        plain = place.names.are_plain([name for name, _, _ in files]) if old or all_new else True
        for name, info, source_name in files:
            was = known.pop(name, None)
            if info is None:
                self._unreadable(place, name, was, lines)
                continue
            if not stat.S_ISREG(info.st_mode):
                self._special(place, name, SourceFile(place.source, source_name, info), was, lines)
                continue
            same = line_if_same(info, was, racy_ns) if racy_ns and was and info.st_nlink == 1 else ""
            if old and was and same and (plain or place.lies_plainly(name)):
                linked.append((len(lines), name, SourceFile(place.source, source_name, info), was))
                lines += (same, was.hash_line)
                if len(linked) == most_links:
                    self._link(place, old, linked, lines)
                    linked = []
                continue
            if present and was and same and present.refer(
                    same, (len(lines), name, SourceFile(place.source, source_name, info), was), lines):
                continue
            moved = None if was or not place.before else self.moves.by_stat(place.before, info)
            if was is None and all_new and info.st_nlink == 1 and moved is None and (plain or place.lies_plainly(name)):
                new.append((len(lines), name))
                new_cost += info.st_size + self.NEW_COST
                lines += ("", "")
                if len(new) == self.NEW or new_cost >= self.run.workers.most_cost:
                    self._store_new(place, new, new_cost, lines)
                    new, new_cost = [], 0
                continue
            self._store(place, self.comparison.errand(place, name, SourceFile(place.source, source_name, info), was), moved, lines)
        if present and present.files:
            self._refer(place, present, lines)
        if linked and old:
            self._link(place, old, linked, lines)
        if new:
            self._store_new(place, new, new_cost, lines)

    def _at_once(self, place: Place) -> Tuple[Optional[Folder], Optional[Present]]:
        """Give what unchanged files of a folder are linked to, or referred to, without a second thought."""
        if place.before is None or not self.comparison.shares_at_once(place):
            return None, None
        if self.run.store.refers:
            return None, Present(place.before)
        return place.old, None

    def _refer(self, place: Place, present: Present, lines: List[str]) -> None:
        """Have somebody see whether the files that the list refers to are there; one that is not is stored again."""
        infos = [file.info for _, _, file, _ in present.files.values()]

        def then(absent: List[int]) -> None:
            gone = [present.files[at] for at in absent]
            self.tally.plain(Same.UNCHANGED, len(infos) - len(gone), sum(info.st_size for info in infos)
                             - sum(file.info.st_size for _, _, file, _ in gone), 0)
            self.tally.toll.met(place.of(next(iter(present.files.values()))[1]), infos)
            for at, name, file, was in gone:
                errand = place.put(self.comparison.errand(place, name, file, was))
                lines[at], lines[at + 1] = self.tally.stored(errand.path, self.run.store.store(errand))  # counted as met
        wanted = Wanted(present.before.set_folder, list(present.places.items()))
        self.run.workers.submit(wanted, then, (place.source, wanted.set_folder), LINK_COST * len(infos))

    def _store(self, place: Place, errand: Errand, moved: Optional[Moved], lines: List[str]) -> None:
        """Have one file stored, be it what another name was before."""
        single = errand.file.info.st_nlink == 1
        unchanged = self.run.store.unchanged(errand) if self.run.store.refers and single else None
        if unchanged:
            lines += self.tally.stored(errand.path, unchanged, errand.known)
            return
        if place.before and errand.same is Same.CHANGED:
            moved = self.moves.by_stat(place.before, errand.file.info)  # its name was another file's
        at = len(lines)
        lines += ("", "")
        errand = place.put(errand)._replace(moved=moved)
        if single:
            self._send(place, errand, at, lines)
        else:
            self.link_groups.join(place.before, errand, at, lines)

    def _unreadable(self, place: Place, name: str, was: Optional[Known], lines: List[str]) -> None:
        """Keep the earlier copy of an entry that cannot even be looked at, unless it was a folder then."""
        why = source_error(place.unreadable[name]).why
        if was is None or was.line.startswith("# type=skipped ") or place.before is None:
            return  # it is met again among the folders
        self.unseen.add(place.of(name))
        if not was.hash_line:
            self._keep_special(place, name, was, why, lines)
            return
        new = place.new.get()
        errand = Errand(SourceFile(place.source, name, new.own_stat()), new, place.of(name), Same.UNCHANGED, was,
                        place.before.stored(was), self.comparison.may_keep(was, place.before), place.before.name)
        lines += self.tally.stored(errand.path, self.run.store.keep(place.put(errand), why), was)

    def _keep_special(self, place: Place, name: str, was: Known, why: str, lines: List[str]) -> None:
        """Keep what the earlier copy says of a link, fifo or device that cannot be read now."""
        before = place.before.name if place.before else ""
        self.run.notes.append(Note(place.of(name), f"{why}; the copy of {kept_of(was.line, before)} is kept"))
        self.run.counts.kept += 1
        self.run.counts.other += 1
        kept = keep_line(was.line, before)
        lines.append(kept if self._make_special(place, name, was.line) else optional_line(kept))

    def _make_special(self, place: Place, name: str, line: str) -> bool:
        """Make a link, fifo or device, unless it lives in the list alone: on drives without hard links, and those that refuse its name."""
        store = self.run.store
        return not store.refers and place.lies_plainly(name) and store.make_special(place.new, name, line)

    def _send(self, place: Place, errand: Errand, at: int, lines: List[str]) -> None:
        """Have a file stored by somebody; take the result here, in order."""
        def then(result: Stored) -> None:
            self.tally.note_rot(errand, result)
            self.tally.note_move(place.before, errand, result)
            lines[at], lines[at + 1] = self.tally.stored(errand.path, self._shared(place, errand.path, result), errand.known)
        self.run.workers.submit(errand, then, errand.folders, errand.cost)

    def _shared(self, place: Place, path: str, result: Stored) -> Stored:
        """Let a large file that was stored anew, and proves to be one whose old name is gone, share what is stored of that."""
        if place.before is None or result.same not in (Same.NEW, Same.CHANGED) or result.size < MIB or result.moved or result.note:
            return result
        digest, at = parse_hash_line(result.lines.hash_line)
        only_touched = at.startswith("../")  # then nothing was stored that might be given up
        moved = None if only_touched else self.moves.by_content(place.before, digest)
        if moved is None:
            return result
        if not moved.linkable:
            self.tally.moved.append((place.before, moved.path, moved.known))
            return result
        new, passing = place.new.get(), unique_name("moved", "snapback")
        name = place.names.path_of(path.rpartition("/")[2]).rpartition("/")[2]
        stored = self._reads_well(moved) and self.run.store.share_moved(moved, result.lines, new, passing)
        if not stored:
            return result
        self.tally.moved.append((place.before, moved.path, moved.known))
        if not self.run.store.refers:
            new.rename(passing, new, name)  # at once: the file is never without its name
            return result._replace(added=0, moved=True)
        new.unlink(name)
        return result._replace(lines=stored_lines(result.lines.line, digest, stored, path), added=0, moved=True)

    def _reads_well(self, moved: Moved) -> bool:
        """Tell whether what is stored has the bytes that it should have: good ones must not be given up for bad ones."""
        try:
            return hash_file(moved.old.folder, moved.old.name, self.run.store.care.pulse) == parse_hash_line(moved.known.hash_line)[0]
        except OSError:
            return False

    def _store_new(self, place: Place, new: Sequence[Tuple[int, str]], cost: int, lines: List[str]) -> None:
        """Have new files stored by somebody; those that made trouble are counted one by one."""
        names = [name for _, name in new]

        def then(result: StoredNew) -> None:
            for nth, (at, _) in enumerate(new):
                lines[at], lines[at + 1] = result.lines[2 * nth], result.lines[2 * nth + 1]
            self.tally.plain(Same.NEW, len(new) - len(result.others), result.bytes, result.bytes, result.occupied)
            for nth, stored in result.others:
                at, path = new[nth][0], place.of(names[nth])
                lines[at], lines[at + 1] = self.tally.stored(path, self._shared(place, path, stored))
        piece = NewFiles(place.source, place.new.get(), place.path, names)
        self.run.workers.submit(piece, then, (piece.target, place.source), cost)

    def _link(self, place: Place, old: Folder, linked: List[Linked], lines: List[str]) -> None:
        """Have unchanged files linked by somebody; one that cannot be is stored anew."""
        names = [name for _, name, _, _ in linked]
        sizes = [file.info.st_size for _, _, file, _ in linked]
        times = [file.info.st_mtime_ns for _, _, file, _ in linked]

        def then(refused: List[int]) -> None:
            self.tally.plain(Same.UNCHANGED, len(linked) - len(refused), sum(sizes) - sum(sizes[one] for one in refused), 0)
            self.tally.toll.met(place.of(names[0]), [file.info for _, _, file, _ in linked])
            for one in refused:
                at, name, file, was = linked[one]
                errand = place.put(self.comparison.errand(place, name, file, was))
                lines[at], lines[at + 1] = self.tally.stored(errand.path, self.run.store.store(errand))  # counted as met
        links = Links(old, place.new.get(), names, sizes, times)
        self.run.workers.submit(links, then, (links.new, old, place.source), LINK_COST * len(linked))

    def _special(self, place: Place, name: str, file: SourceFile, was: Optional[Known], lines: List[str]) -> None:
        """Take a symbolic link, fifo or device; a socket is only counted."""
        info = file.info
        kind = kind_of_special(info)
        if kind is None:
            self.run.counts.sockets += 1
            return
        words = device_words(info) if kind in ("char", "block") else ""
        if kind == "link":
            try:
                target = from_source(read_link, file.folder, file.name)
                if is_volume(target):
                    lines.append(self.tally.skipped(place.of(name), MOUNTED_THERE))
                    return
                words = f" link={escape(target)}"
            except SourceError as err:
                if was is not None and was.line.startswith("# type=link "):
                    self._keep_special(place, name, was, err.why, lines)
                else:
                    lines.append(self.tally.skipped(place.of(name), err.why))
                return
        line = special_line(kind, place.of(name), info, words + xattr_words(entry_xattrs(file.folder, file.name)))
        self.run.counts.other += 1
        group = self.link_groups.meet(info, place.of(name), place.of(name)) if info.st_nlink > 1 else None
        if (self.run.store.refers or group is None or group.first == place.of(name) or not self.link_groups.link(
                group, place.new.get(), name)) and not self._make_special(place, name, line):
            line = optional_line(line)
        lines.append(line)


class Taking:
    """The walk of one run of `backup`: it decides what is to be done with each entry, in a manifest's order."""

    def __init__(self, run: Run, tally: Tally, earlier: Mapping[str, Earlier], leftovers: Sequence[Folder],
                 suspects: Mapping[str, int]) -> None:
        self.run, self.tally, self.earlier = run, tally, earlier
        self.new = NewFolders(run.target, run.store.refers)
        self.tops: List[Tuple[Source, Folder]] = []
        self.leftovers = [Trail(leftover) for leftover in leftovers]
        self.names = [FolderNames(run.store.abilities)]      # of the folders on the way
        self.comparison = Comparison(run.order, suspects, run.target)
        self.entries = Entries(run, tally, self.comparison)
        self.keeping = Keeping(run, tally, self.comparison, self.new)
        for before in earlier.values():
            before.toll = tally.toll

    def take_sources(self) -> None:
        """Take single files, then folder by folder."""
        sources = sorted(self.run.order.sources, key=lambda source: name_bytes(source.alias))
        lines: List[str] = []
        for source in (one for one in sources if not one.is_folder):
            self._take_file(source, lines)
        self.run.workers.after(lambda: self.tally.emit(lines))
        for source in (one for one in sources if one.is_folder):
            self._take_folder(source)
        self.run.workers.drain()
        for source, top in self.tops if self.run.notes else ():
            self._check_source(source, top)
        for before in set(self.earlier.values()):
            before.pass_all()
            self.run.counts.gone += before.gone
        for before_one, path, known in self.tally.moved:
            if before_one and not before_one._is_left_out(path):  # then it was never counted as lost
                self.tally.toll.found_again(path, known)
        self.run.counts.mended = self.comparison.mended
        self.run.notes.extend(
            Note("", f"{count_text(count, 'file')} that had not changed {'was' if count == 1 else 'were'} stored again, as the folder of "
                 f"{name} no longer has {'it' if count == 1 else 'them'}: what other dates need of it is gone; run: snapback.py verify")
            for name, count in sorted(self.tally.missing.items()))

    def _take_file(self, source: Source, lines: List[str]) -> None:
        parent, name = Folder.top(parent_path(source.path)), path_parts(source.path)[-1]
        before = self.earlier.get(source.alias)
        block = before.at("") if before else None
        was = block.entries.pop(source.alias, None) if block else None
        place = Place(parent, NewFolder(lambda: self.run.target), self.names[0], before, before.folder("") if before else None,
                      self._leftover_folders(()))
        info = from_top(source, parent.stat, name)
        self.entries.take(place, [(source.alias, info, name)], {source.alias: was} if was else {}, lines)

    def _take_folder(self, source: Source) -> None:
        top = from_top(source, Folder.top, source.path)
        self.tops.append((source, top))
        before = self.earlier.get(source.alias)
        metas: List[Meta] = []
        passed_over = ""
        for visit in walk(top, self.run.order.rules, closed_to_walks(self.run.drive)):
            path = "/".join((source.alias, *visit.parts))
            if passed_over and (path + "/").startswith(passed_over):
                continue
            if visit.leaving:
                self._leave(metas.pop())
            elif visit.error is not None and path in self.entries.unseen:
                self.entries.unseen.discard(path)
            elif visit.error is not None:
                self._check_source(source, top)
                if not visit.parts:
                    raise SourceGone(f"the source {show(source.path)} cannot be read ({visit.error.why}): no dated copy "
                                     "was made; run as a user who may read it")
                self.keeping.folder(path, visit.error, before, self.names[-1])
            elif visit.folder is not None:
                self.run.counts.excluded += len(visit.left_out)
                # a tag that came since is no order of a person: what it hides counts as lost
                if before and not (visit.tagged and self.run.order.rules.tags == before.manifest.header.get("tags")):
                    before.left_out.update(f"{path}/{name}" for name in visit.left_out)
                new = self._make(path, before)
                if new is None:
                    passed_over = path + "/"
                    self.run.workers.after(functools.partial(self.tally.emit, [
                        self.tally.skipped(path, NO_SUCH_NAME, of_dir=True)]))
                    continue
                metas.append(self._enter(Place(visit.folder, new, self.names[-1], before), visit))

    def _make(self, path: str, before: Optional[Earlier]) -> Optional[NewFolder]:
        """Make a folder in the copy, on whose names the last of `names` looks then; None where the drive cannot hold its name."""
        names = self.names[-1].below(path.rpartition("/")[2])
        block = before.at(path) if before else None
        try:
            new = self.new.folder(names.stored, block is not None and block.line.startswith(DIR_LINE))
        except OSError as err:
            made = err.errno != errno.EEXIST and self.new.parent(names.stored).has(names.stored.rpartition("/")[2])
            if made or "/" not in path or not name_refused(err, self.run.drive.is_there):
                raise
            return None
        self.names.append(names)
        return new

    def _leave(self, meta: Meta) -> None:
        """Finish a folder of the copy when all is in it."""
        stored = self.names.pop().stored
        folder, name = self.new.find(stored), stored.rpartition("/")[2]
        if folder:
            finish = self._finish_far if self.run.workers.far else self.run.store.finish
            self.run.workers.after(functools.partial(finish, self.new.parent(stored), folder, name, meta), keeps=2)
        elif self.run.store.refers:
            self.run.workers.after(functools.partial(self._finish_late, stored, meta))

    def _finish_far(self, parent: Folder, folder: Folder, name: str, meta: Meta) -> None:
        """Have somebody finish a folder of the copy: to wait for a drive far away would keep all the others idle."""
        if self.run.store.is_needed(parent, folder, name):
            self.run.workers.submit(Finish(folder, meta), lambda _: None, (folder,), FINISH_COST)

    def _finish_late(self, stored: str, meta: Meta) -> None:
        """Finish a folder of the copy that was made when the walk had left it, for a file that is not where the list says."""
        folder = self.new.find(stored)
        if folder:
            self.run.store.finish(self.new.parent(stored), folder, stored.rpartition("/")[2], meta)

    def _check_source(self, source: Source, top: Folder) -> None:
        """Believe that something vanished only if the source as a whole has not."""
        info = from_top(source, stat_path, source.path)
        from_top(source, top.names)
        if info is None or not is_same_folder(source.path, info, from_top(source, top.own_stat)):
            raise SourceGone(f"the source {show(source.path)} went away while it was copied: no dated copy was made, and "
                             "every earlier one is untouched; attach it again and run the same command: it carries on")

    def _enter(self, place: Place, visit: Visit) -> Meta:
        """Take what is in a folder; give the metadata that it gets when all is in it."""
        block = place.before.at(place.path) if place.before else None
        try:
            xattrs = from_source(folder_xattrs, place.source)
        except SourceError as err:
            xattrs = parse_xattrs(parse_keywords(block.line)) if block else {}
            self.run.notes.append(Note(place.path, f"its extended attributes could not be read ({err.why})"
                                       + ("; those of the copy before are kept" if xattrs else "")))
        line = dir_line(place.path, visit.info, xattrs)
        same = Same.NEW if block is None or not block.line.startswith(DIR_LINE) else (
            Same.UNCHANGED if stored_at(block.line, place.path) == line else Same.CHANGED)
        self.run.counts.dirs[same] += 1
        known = block.entries if block else {}
        if place.before and block and known and " stored=" not in block.line and place.before.is_complete and self.run.store.links:
            place = place._replace(old=place.before.folder(place.path))
        place = place._replace(leftovers=self._leftover_folders(place.names.stored.split("/")), unreadable=visit.unreadable)
        lines = [stored_at(line, place.names.stored)]
        for why in visit.unreadable.values():
            if isinstance(why, FileNotFoundError):
                raise SourceGone(f"the disk of {show(place.source.path)} answers no more: no dated copy was made, and every earlier "
                                 "one is untouched; check it and run the same command: it carries on") from why
        self.entries.take(place, [(name, info, name) for name, info in visit.files], known, lines)
        self.run.workers.after(functools.partial(self.tally.emit, lines))
        return meta_from(visit.info, xattrs)

    def _leftover_folders(self, parts: Sequence[str]) -> Tuple[Folder, ...]:
        """Open the folders of interrupted runs; where a drive miscounts a file's names, none is safe to take from."""
        found = []
        can = self.run.store.abilities
        for trail in self.leftovers if can.counts_links or not can.hard_links else ():
            with contextlib.suppress(OSError):
                found.append(trail.at(parts))
        return tuple(found)


class Taken(NamedTuple):
    """The result of `backup`: what was made, where, and what needs attention."""

    name: str
    seq: int
    set_name: str
    counts: Counts
    notes: Notes
    path: str
    settled: bool = True             # everything is flushed, the tidying up too
    rotated: Optional[Rotated] = None        # None: that was not wanted, or not safe
    hold: str = ""                   # why the set is on hold
    inside: Tuple[str, ...] = ()     # sources that the drive lies in
    same_disk: bool = False          # as a source: the drive cannot be unplugged without it
    full_size: bool = False          # as was asked for, unchanged files were copied again, since the drive has no hard links
    read_back: Optional[int] = None  # bytes that were read again before it counted as a dated copy


@contextlib.contextmanager
def sound_manifests() -> Iterator[None]:
    """Stop a run where an earlier manifest, though its end proves it, holds what snapback does not write."""
    try:
        yield
    except ManifestDamaged as err:
        raise DamagedCopy(f"an earlier dated copy's list is not what snapback writes ({err}): no dated copy was made; "
                          f"run: snapback.py verify, and rename the list {MANIFEST} of the dated copy that it names to {EXPIRED}, which "
                          "lets go of that date alone") from err


def find_earlier(set_folder: Folder, snapshots: Sequence[Snapshot], sources: Sequence[Source], notes: Notes,
                 manifests: contextlib.ExitStack) -> Dict[str, Earlier]:
    """Find, for each source, the newest whole dated copy that holds it, and prove its manifest.

    The manifests stay open until `manifests` is closed; `notes` gets those that are damaged.
    """
    wanted, found = {source.alias for source in sources}, {}  # type: Set[str], Dict[str, Earlier]
    notes.extend(Note("", f"the list of {one.name} is damaged, and so is its second list: it was not used; run: snapback.py verify")
                 for one in snapshots if one.state is State.DAMAGED)
    for snapshot in reversed([one for one in snapshots if one.state is State.WHOLE]):
        aliases = wanted & set(snapshot.sources)
        if not aliases:
            continue
        try:
            manifest = manifests.enter_context(load_manifest(set_folder, snapshot.name))
            found.update(dict.fromkeys(aliases, Earlier(manifest, snapshot.name, set_folder, aliases)))
            wanted -= aliases
        except ManifestDamaged as err:
            notes.append(Note("", f"the list of {snapshot.name} is damaged ({err}): what it holds was stored anew, or "
                              "compared with an older copy; run: snapback.py verify"))
    return found


def check_sources(sources: Sequence[Source]) -> None:
    """Raise SnapbackError where a source is missing or lies in another one."""
    places = {way_to(source.path)[-1]: source for source in sources}
    for source in sources:
        info = from_top(source, stat_path, source.path)
        if info is None:
            raise SourceGone(f"there is no {show(source.path)}: no dated copy was made; check the path, or attach its disk")
        for folder in way_to(source.path):
            other = places.get(folder, source)
            if other is not source:
                raise UsageError(f"{show(source.path)} lies inside {show(other.path)}, which is copied anyway; name only one")


def check_sources_beside(drive: Drive, set_name: str, sources: Sequence[Source]) -> None:
    """Raise UsageError where a source is the drive, or lies in a set there, which would grow without end."""
    sets = {set_name, *list_sets(drive.root)[0]}
    for source in sources:
        info = from_top(source, stat_path, source.path)
        if info and stamp(info) == drive.stamp and source.is_folder:
            raise UsageError(f"{show(source.path)} is the drive itself; name the folders to be copied, then the drive")
        if any(is_inside(source.path, join_path(drive.path, one)) for one in sets):
            raise UsageError(f"{show(source.path)} lies among the dated copies, which would grow without end; name the folders "
                             "to be copied, then the drive")


def refuse_unmounted(source: Source, before: Earlier) -> None:
    """Raise SourceGone where a source lay on a disk of its own, and its mount point is none now: that disk is not attached."""
    noted = before.manifest.header.get("mounts")
    then = noted.get(source.alias) if isinstance(noted, dict) else None
    if isinstance(then, str) and before.sources.get(source.alias) == source.path and then != mount_point(source.path) and is_inside(
            then, mount_point(source.path)):
        raise SourceGone(f"{show(source.path)} was on the disk mounted at {show(then)} when {before.name} was made, and no disk is mounted "
                         "there now: no dated copy was made; attach that disk or, if the files have moved for good, add --allow-empty")


def refuse_empty(order: Order, earlier: Mapping[str, Earlier]) -> None:
    """Raise SourceGone where a folder is empty now and was not: more likely a disk that is not attached."""
    for source in order.sources:
        if source.alias in earlier and not order.allow_empty:
            refuse_unmounted(source, earlier[source.alias])
        if order.allow_empty or not source.is_folder or source.alias not in earlier:
            continue
        if not from_top(source, Folder.names, from_top(source, Folder.top, source.path)) and earlier[
                source.alias].holds(source.alias):
            raise SourceGone(f"{show(source.path)} is empty, but the dated copy {earlier[source.alias].name} has files of it: no "
                             "dated copy was made; attach its disk or, if it is meant to be empty, add --allow-empty")


class Look(NamedTuple):
    """What a run would do: files in all, the bytes that would be stored, all bytes; the files, and what cannot be read.

    `room` is what would be stored in whole clusters of the drive; `too_large` are files of which each is more than it can hold.
    """

    files: int
    bytes: int
    total: int
    entries: List[Tuple[Same, int, str]]
    notes: Notes
    room: int = 0
    too_large: Sequence[str] = ()


class Sight(NamedTuple):
    """A regular file of a source: where it is, and what the earlier copy's manifest says of it."""

    path: str                        # as in the copy
    folder: Folder
    name: str
    info: os.stat_result
    before: Optional[Earlier]
    known: Optional[Known]


def walk_files(order: Order, drive: Drive, set_folder: Optional[Folder], earlier: Mapping[str, Earlier], notes: Notes
               ) -> Iterator[Sight]:
    """Give each regular file of the sources; what cannot be looked at is added to `notes`."""
    fresh: Dict[str, Earlier] = {}
    for source in sorted(order.sources, key=lambda source: (source.is_folder, name_bytes(source.alias))):
        before = earlier.get(source.alias)
        if before and set_folder:
            before = fresh.setdefault(before.name, Earlier(before.manifest, before.name, set_folder, before.aliases))
        if not source.is_folder:
            block, parent, name = before.at("") if before else None, Folder.top(parent_path(source.path)), path_parts(source.path)[-1]
            yield Sight(source.alias, parent, name, from_top(source, parent.stat, name), before,
                        block.entries.get(source.alias) if block else None)
            continue
        for visit in walk(from_top(source, Folder.top, source.path), order.rules, closed_to_walks(drive)):
            path = "/".join((source.alias, *visit.parts))
            block = before.at(path) if before and not visit.leaving else None
            if visit.error:
                notes.append(Note(path, visit.error.why))
            for name, found in visit.files:
                if found is not None and visit.folder and stat.S_ISREG(found.st_mode):
                    yield Sight(f"{path}/{name}", visit.folder, name, found, before, block.entries.get(name) if block else None)


def compare_unread(info: os.stat_result, known: Known, racy_after_ns: int, refers: bool) -> Same:
    """Compare a file that is not read with the earlier copy; where what is stored may serve on (`refers`), it was perhaps only touched."""
    same = compare_file(file_line(info), known, racy_after_ns)
    perhaps_touched = refers and same is Same.CHANGED and parse_keywords(known.line).get("size") == str(info.st_size)
    return Same.DOUBTFUL if perhaps_touched else same


def had_links(before: Earlier) -> bool:
    """Tell whether the drive had hard links when a dated copy was made."""
    drive = before.manifest.header.get("drive")
    return isinstance(drive, dict) and drive.get("hard_links") is True


def look_ahead(order: Order, drive: Drive, set_folder: Optional[Folder], earlier: Mapping[str, Earlier],
               watch: Optional[Watch] = None) -> Look:
    """Compare the sources with their earlier copies without reading a file; write nothing.

    With a `watch` only the numbers are wanted; without one the files are listed, too, and those that cannot be read.
    """
    files = size = total = room = 0
    entries, notes, too_large = [], [], []  # type: List[Tuple[Same, int, str]], Notes, List[str]
    cluster, largest, folder_at_hand = cluster_size(drive.path), largest_file(drive.path), drive.root
    seen: Set[Stamp] = set()
    links = all(had_links(before) for before in earlier.values())
    refers = order.layout is Layout.CHANGES or (order.layout is None and not links)
    moves = Moves(order, {}, links or refers, refers)
    for path, folder, name, info, before, known in walk_files(order, drive, set_folder, earlier, notes):
        if watch and files % 100 == 0:
            watch(files, total)
        files, total = files + 1, total + info.st_size
        compared = known if before and not order.fresh else None
        if compared and before and line_if_same(info, compared, before.racy_after_ns):
            continue
        same = compare_unread(info, compared, before.racy_after_ns, refers) if compared and before else Same.NEW
        why = CLOUD_ONLY if in_cloud(info) and same is not Same.UNCHANGED else ""
        if not watch and (why or not folder.can_read(name)):
            notes.append(Note(path, why or "permission denied"))
            files, total = files - 1, total - info.st_size
            continue
        moved = moves.by_stat(before, info) if same in (Same.NEW, Same.CHANGED) and before and not order.fresh else None
        if moved and moved.linkable:
            continue  # only moved or renamed: it costs no room
        if same is Same.UNCHANGED or (info.st_nlink > 1 and stamp(info) in seen):
            continue
        if info.st_nlink > 1:
            seen.add(stamp(info))
        if largest and info.st_size > largest:
            too_large.append(path)
            continue
        if same is not Same.DOUBTFUL:
            # what has no hard links has no files with holes, either
            stored = info.st_size if not links else min(info.st_size, getattr(info, "st_blocks", info.st_size) * 512 or info.st_size)
            size, room = size + stored, room + in_clusters(stored, cluster)
            if folder is not folder_at_hand:  # which takes at least a cluster, too
                folder_at_hand, room = folder, room + cluster
        if not watch:
            entries.append((same, info.st_size, path))
    return Look(files, size, total, entries, notes, room, too_large)


def tree_size(top: Folder) -> int:
    """Add up the bytes of the regular files with one name in a folder, which a next run could use."""
    return sum(info.st_size for visit in walk(top, Rules()) for _, info in visit.files
               if info is not None and stat.S_ISREG(info.st_mode) and info.st_nlink == 1)


def end_facts(counts: Counts) -> Dict[str, Any]:
    """Give what a manifest's last line and the history say of a run."""
    return {"files": counts.total_files, "dirs": sum(counts.dirs.values()), "bytes": counts.bytes, "other": counts.other,
            "new": counts.files[Same.NEW], "changed": counts.files[Same.CHANGED], "added": counts.added, "occupied": counts.occupied,
            "skipped": counts.skipped, "kept": counts.kept, "gone": counts.gone, "excluded": counts.excluded,
            "sockets": counts.sockets}


MOST_LEFTOVERS = 8           # of interrupted runs: each keeps folders open, and the last of them have nearly all there is


def shares_since(header: Mapping[str, Any]) -> str:
    """Say since when the dated copies share files with each other, up to the one with this header: the time of the last fresh one."""
    since = header.get("shares_since")
    return since if isinstance(since, str) and parse_time(since) else str(header["taken"])


def reads_as(old: StoredFile, digest: str, pulse: Pulse) -> bool:
    """Tell whether a stored file has the bytes of a checksum on the drive. Raises OSError for what is not the drive's fault."""
    try:
        return hash_file(old.folder, old.name, pulse, from_disk=True) == digest
    except OSError as err:
        if err.errno in OWN_LIMITS:
            raise
        return False


class SetRun:
    """A run of `backup` on its locked set: what stands around the walk."""

    def __init__(self, drive: Drive, set_name: str, set_folder: Folder, order: Order, facts: Dict[str, Any]) -> None:
        self.drive, self.set_name, self.set_folder, self.order, self.facts = drive, set_name, set_folder, order, facts
        self.notes: Notes = []
        with drive.guarded():
            if not set_folder.has(TWINS):
                make_private(set_folder, TWINS)
            self.twins = set_folder.child(TWINS)
            self.snapshots = survey(set_folder)
            self.accepted = read_accepted(set_folder)
            self.seq = max(next_seq(set_folder, self.snapshots), self.accepted + 1)  # what was accepted may be gone by now
            if self.seq > COUNT_LIMIT:
                raise DamagedCopy(f"the numbers of the dated copies in {set_name} have come to their end, which no run of snapback does: "
                                  "nothing was copied; begin a new set with --set NEW-NAME")
            self.suspects = parse_damaged(read_text(set_folder, DAMAGED_LIST, 64 * MIB) or "")

    def take(self, expect: Expect) -> Taken:
        """Take the dated copy, publish it, and tidy up after earlier interrupted runs.

        What those left may be what fills the drive; then it is removed, and the run begins anew, once. So it does where
        older copies share damaged files, which it then stores anew.
        """
        left_behind, notes = [one.name for one in self.snapshots if one.state is State.INCOMPLETE], []  # type: List[str], Notes
        try:
            return self._take_beside(left_behind, expect)
        except SharedDamage as err:
            notes, left_behind = [Note("", f"{err.found}; a good copy is stored anew of what the source still has; the disk may be "
                                       "failing: what else is damaged says: snapback.py verify")], []
        except DriveError as err:
            if not err.full or not left_behind:
                raise
        with self.drive.guarded():
            self._remove_leftovers(left_behind)
            left_behind = [one.name for one in survey(self.set_folder) if one.state is State.INCOMPLETE]
        self.notes = notes
        return self._take_beside(left_behind, expect)

    def _take_beside(self, left_behind: Sequence[str], expect: Expect) -> Taken:
        with contextlib.ExitStack() as manifests, self.drive.guarded(), sound_manifests():
            earlier = find_earlier(self.set_folder, self.snapshots, self.order.sources, self.notes, manifests)
            refuse_empty(self.order, earlier)
            return self._take(earlier, left_behind, expect)

    def _take(self, earlier: Mapping[str, Earlier], left_behind: Sequence[str], expect: Expect) -> Taken:
        look = self._first_look(earlier, left_behind, expect(0, 0))
        name = snapshot_name(self.order.now, [*self.set_folder.names(), *self.twins.names()])
        flush = whole_flush(self.drive.root)
        same_disk = any(from_top(source, disks_of, source.path) & disks_of(self.drive.path) for source in self.order.sources)
        with self.drive.guarded():
            target = self.set_folder.make(name + INCOMPLETE)
            abilities = try_drive(target)
            layout = self.order.layout or (Layout.COMPLETE if abilities.hard_links else Layout.CHANGES)
            if layout is Layout.CHANGES:
                write_text(target, PART_NOTICE, part_notice(self.set_name, name), self.set_name)
            writer = ManifestWriter(target, self.twins, name + ".gz" + INCOMPLETE)
        counts, notes = Counts(), self.notes
        try:
            far = any(map(is_far, (self.drive.path, *(source.path for source in self.order.sources))))
            pulse = new_pulse(expect(look.files, look.bytes), worker_count(self.order.jobs, far))
            if self.drive.marker:  # the names that another computer found out are kept to here
                abilities = abilities._replace(naming=stricter(abilities.naming, self.drive.marker.naming))
            store = Store(abilities, layout, Care(pulse, flush is None), self.drive)
            with Workers(worker_count(self.order.jobs, far), pulse, store.serve, far) as workers:
                leftovers = open_real_folders(self.set_folder, left_behind[-MOST_LEFTOVERS:])
                run = Run(self.order, self.drive, target, store, workers, writer, flush, counts, notes)
                writer.add([MANIFEST_MAGIC + json.dumps(self._header(store, earlier.values()))])
                tally = Tally(run)
                Taking(run, tally, earlier, leftovers, self.suspects).take_sources()
            facts = {**end_facts(counts), **self._judge(tally.toll)}
            self._finish(target, writer, facts, flush)
            read = self._read_back(name, earlier, store.refers, expect(0, counts.bytes)) if self.order.read_back else None
            self._publish(name)
        except OSError as err:
            trouble = self.drive.trouble(err, look.bytes - counts.added)
            if trouble.full:
                trouble = DriveError.of_full(f"{trouble}{self._way_to_room()}")
            raise trouble from err
        finally:
            writer.close()
        late_notes, settled = self._after_publishing(name, facts, left_behind, flush)
        late_notes += self._pin_before_rot(tally.rotten)
        where = join_path(self.drive.path, self.set_name, name)
        inside = tuple(source.path for source in self.order.sources if is_inside(self.drive.path, source.path))
        return Taken(name, self.seq, self.set_name, counts, notes + late_notes, where, settled, None, self._hold(name, facts), inside,
                     same_disk, store.layout is Layout.COMPLETE and not abilities.hard_links, read)

    def _header(self, store: Store, earlier: Iterable[Earlier]) -> Dict[str, Any]:
        taken = self.order.now.isoformat(timespec="seconds")
        shared = [] if self.order.fresh else [shares_since(before.manifest.header) for before in earlier]
        return {**self.facts, "seq": self.seq, "taken": taken, "layout": store.layout.value, "fresh": self.order.fresh,
                "hold_at": self.order.hold_at,
                "shares_since": min(shared, default=taken, key=lambda text: parse_time(text) or self.order.now),
                "sources": {source.alias: source.path for source in self.order.sources},
                "mounts": {source.alias: mount_point(source.path) for source in self.order.sources},
                "tags": self.order.rules.tags, "excludes": [pattern.text for pattern in self.order.rules.patterns],
                "drive": store.abilities.facts(), "version": __version__}

    def _first_look(self, earlier: Mapping[str, Earlier], left_behind: Sequence[str], watch: Watch) -> Look:
        """Count the files of the run and the bytes that it will store; raise DriveError where they cannot fit.

        When all that is used on the sources' disks would fit nothing is counted beforehand: the
        earlier copy's end line tells the files, and a second walk costs a third of an unchanged run.
        Of a first copy only somebody who watches it wants to know how many there will be.
        """
        free = free_space(self.drive.path)[0]
        before = {one.name: one.manifest.end for one in earlier.values()}
        if (len(earlier) == len(self.order.sources) or not self.order.watched) and not largest_file(self.drive.path) and free > sum(
                used_on_disks([source.path for source in self.order.sources], cluster_size(self.drive.path)).values()):
            return Look(sum(int(end["files"]) for end in before.values()), 0, 0, [], [])
        look = look_ahead(self.order, self.drive, self.set_folder, earlier, watch)
        reusable = sum(map(tree_size, open_real_folders(self.set_folder, left_behind)))
        if look.too_large and self.order.foretell:
            self.order.foretell(f"{count_text(len(look.too_large), 'file')} will be left out, as this is a FAT32 drive, which holds 4 GiB "
                                f"at most in one: {first_of([show(path) for path in look.too_large])}")
        if look.room > free + reusable:
            raise TooSmall(f"this copy does not fit on the drive {self.drive.where}: it needs {size_text(look.room)} and "
                           f"{size_text(free)} are free; nothing was copied, and every earlier dated copy is untouched; make "
                           f"room, leave something out (--exclude), or take a larger drive{self._way_to_room()}")
        return look

    def _judge(self, toll: Toll) -> Dict[str, Any]:
        """Judge what became of the earlier copy's files: the verdict is published with the dated copy."""
        newest = newest_whole(self.snapshots)
        before = parse_recent(newest.end.get("recent")) if newest and newest.seq > self.accepted else {}
        recent, percent = add_up(before, toll.sources, self.order.now), self.order.hold_at
        tripped = (trip(toll.sources, percent) or trip_slowly(recent, percent)) if percent else None
        return {"hold": tripped is not None, "tripped": tripped, "recent": recent_facts(recent)}

    def _hold(self, name: str, facts: Mapping[str, Any]) -> str:
        """Say why the set is on hold now, with a notice on the drive; an empty text where it is not."""
        held = held_by([*self.snapshots, Snapshot(name, State.WHOLE, {"seq": self.seq}, facts)], self.accepted)
        if held is None:
            with contextlib.suppress(OSError):
                take_notice_away(self.set_folder)
            return ""
        with contextlib.suppress(OSError):  # the verdict is published: the notice is for whoever looks at the drive
            notice = hold_notice(held.name, held.end.get("tripped"))
            if read_text(self.set_folder, HOLD_NOTICE) != notice:
                write_text(self.set_folder, HOLD_NOTICE, notice, self.set_name)
        return held_text(held) if held.name == name else (
            f"on hold since {held.name}, as much was lost at once ({HOLD_NOTICE} there says what)")

    def _way_to_room(self) -> str:
        """Say how a stricter policy would make room; nothing is deleted for that unless a person says so."""
        strict = Rotation(Retention(last=1, monthly=12, yearly=10))
        try:
            ready = prepare_rotation(self.set_folder, self.snapshots, strict, newest_whole(self.snapshots), self.order.now)
        except (OSError, UsageError):
            return ""
        if any(one.state is State.DELETING for one in self.snapshots):
            return ("; an interrupted deletion still holds room, which this finishes: snapback.py rotate "
                    f"--drive {shell_word(self.drive.path)} --set {self.set_name}")
        if ready.put_off or not ready.plan.remove:
            return ""
        number = count_text(len(ready.plan.remove), "older dated copy", "older dated copies")
        return (f"; to delete {number}, first look and then run it without -n: snapback.py rotate -n --keep-last 1 --keep-monthly 12 "
                f"--keep-yearly 10 --drive {shell_word(self.drive.path)} --set {self.set_name}")

    def _finish(self, target: Folder, writer: ManifestWriter, facts: Mapping[str, Any], flush: Optional[Flushing]) -> None:
        """Flush all bytes of a copy and then write the end of its manifest, flushed too."""
        writer.settle()
        if flush:
            flush.finish()
        writer.finish(facts)
        writer.close()  # Windows renames no folder with an open file in it
        target.flush()

    def _read_back(self, name: str, earlier: Mapping[str, Earlier], refers: bool, watch: Watch) -> int:
        """Read the finished copy back from the drive, and give its bytes. Raises DriveError where they are not what was written.

        Of damage in what it shares, older dated copies are noted as damaged: whoever runs next stores that anew.
        """
        if self.order.read_back is None:
            return 0
        far = is_far(self.drive.path)
        unproved = Unproved(self.set_folder, name + INCOMPLETE, refers or need_each_other(self.snapshots),
                            worker_count(self.order.jobs, far), far)
        damage, size = self.order.read_back(unproved, watch)
        if not damage:
            return size
        self.drive.check()
        shared = self._damage_in(earlier.values(), {one.digest for one in damage}, watch)
        if shared:
            before, seqs = read_text(self.set_folder, DAMAGED_LIST, 64 * MIB) or "", {one.name: one.seq for one in self.snapshots}
            text = added_damage(before, shared, self.order.now.isoformat(timespec="seconds"), seqs)
            write_text(self.set_folder, DAMAGED_LIST, text, self.set_name)
            self.suspects = parse_damaged(text)
        explained = {one.digest for one in shared}
        spoilt = [one.path or MANIFEST for one in damage if one.digest not in explained]
        if spoilt:
            raise DriveError(f"what was just written on the drive {self.drive.where} does not read back as it was written, as "
                             f"{first_of([show(path) for path in spoilt], 3)}: no new dated copy was made, and {self.drive.safe}; the disk "
                             "or its cable may be failing: try another cable or socket, then run the same command again")
        raise SharedDamage(f"{count_text(len(shared), 'file')} of {first_of(sorted({one.snapshot for one in shared}))} did not read back "
                           f"as written, as {first_of([show(one.path) for one in shared], 3)}")

    def _damage_in(self, earlier: Iterable[Earlier], digests: Collection[str], watch: Watch) -> List[Finding]:
        """Read those files of earlier dated copies again that have one of these checksums; give those that are damaged."""
        damage, pulse = [], new_pulse(watch, 1)
        for before in sorted(set(earlier), key=lambda one: one.seq):
            for block in read_blocks(before.manifest.lines()):
                for name, known in block.entries.items():
                    digest = parse_hash_line(known.hash_line)[0] if known.hash_line else ""
                    old = before.stored(known) if digest in digests and digest else None
                    if old and not reads_as(old, digest, pulse):
                        path = f"{block.path}/{name}" if block.path else name
                        damage.append(Finding(Found.DIFFERS, before.name, path, "", digest))
        return damage

    def _publish(self, name: str) -> None:
        """Make the finished copy a dated copy by the rename, flushed too.

        A failing disk may take a rename and forget it: until that is flushed there is no new dated copy to speak of.
        """
        self.drive.check()
        self.set_folder.rename(name + INCOMPLETE, self.set_folder, name)
        try:
            self.set_folder.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self.set_folder.rename(name, self.set_folder, name + INCOMPLETE)
            raise

    def _after_publishing(self, name: str, facts: Mapping[str, Any], left_behind: Sequence[str],
                          flush: Optional[Flushing]) -> Tuple[Notes, bool]:
        """Do what a whole dated copy can do without: a failure here is told, and mended by the next run."""
        notes: Notes = []
        try:
            self.twins.rename(name + ".gz" + INCOMPLETE, self.twins, name + ".gz")
            self.twins.flush()
            remove_unique(self.set_folder, self.set_name)
            point_latest(self.set_folder, name, self.set_name)
            append_line(self.set_folder, HISTORY, json.dumps({
                "what": "backup", "time": self.order.now.isoformat(timespec="seconds"), "snapshot": name, "seq": self.seq,
                "read_back": self.order.read_back is not None,
                **{word: fact for word, fact in facts.items() if word != "recent"}}))
            self._mend_twins()
            self._remove_leftovers(left_behind)
            self.set_folder.flush()
            if flush:
                flush.finish()
            elif self.set_folder.fd is not None:
                flush_memory(self.set_folder.fd)  # the new name too, before anybody is told that the drive may be unplugged
        except (OSError, DriveError) as err:
            why = reason(err)
            return [*notes, Note("", f"the dated copy is whole, but tidying up after it failed ({why}); the next run does that")], False
        return notes, True

    def rotate(self, expect: Expect) -> Optional[Rotated]:
        """Delete what the policy no longer keeps; the new dated copy is whole, whatever becomes of that."""
        if self.order.rotation is None:
            return None
        rotating = Rotating(self.drive, self.set_name, self.order.rotation, Moment(self.order.now, self.order.jobs, expect))
        try:
            return rotating.run(newest_whole(self.snapshots))
        except KeyboardInterrupt:
            why = "it was interrupted, and a later run goes on with it"
        except SnapbackError as err:
            why = str(err)
        return Rotated(Plan([], []), rotating.removed, broken_off=why)

    def tend_papers(self) -> Notes:
        """Bring what lies on the drive for a bad day up to date; the new dated copy is whole, whatever becomes of that."""
        try:
            return [Note("", text) for text in tend_papers(self.drive, self.set_name, self.order.papers, self.order.page)]
        except KeyboardInterrupt:
            why = "it was interrupted"
        except (OSError, DriveError) as err:
            why = reason(err)
        return [Note("", f"the dated copy is whole, but {RECOVERY} could not be brought up to date ({why}); the next run does that")]

    def _pin_before_rot(self, rotten: Sequence[Tuple[str, str, str]]) -> Notes:
        """Pin the dated copies that have the earlier version of what suspected rot changed, once, if it still hashes right."""
        notes: Notes = []
        pulse = new_pulse(lambda _files, _bytes: None, 1)
        for date in sorted({date for date, _path, _line in rotten}):
            try:
                for path, line in [(path, line) for one, path, line in rotten if one == date]:
                    digest, stored = parse_hash_line(line)
                    holder, (*folders, name) = stored_place(stored, date)
                    if date not in read_pins(self.set_folder) and hash_file(
                            self.set_folder.child(holder).reach(folders), name, pulse) == digest:
                        pin(self.set_folder, date, f"before suspected rot of {show(path)[:100]}", self.set_name)
                        notes.append(Note("", f"{date} is pinned, as it has the earlier version of {show(path)}"))
            except OSError as err:
                notes.append(Note("", f"{date}, which has the earlier version, could not be pinned ({reason(err)})"))
        return notes

    def _mend_twins(self) -> None:
        """Make twins that are missing, and remove halves of twins."""
        present = set(self.twins.names())
        for half in (one for one in present if one.endswith(".gz" + INCOMPLETE)):
            self.twins.unlink(half)
        for snapshot in self.snapshots:
            if snapshot.state is State.WHOLE and snapshot.name + ".gz" not in present:
                with contextlib.suppress(ManifestDamaged):
                    write_twin(self.set_folder, self.twins, snapshot.name)

    def _remove_leftovers(self, names: Sequence[str]) -> None:
        """Remove what interrupted runs left; never anything else."""
        for name in names:
            self.drive.check()
            if not name.endswith(INCOMPLETE) or not SNAPSHOT_NAME.fullmatch(name[:-len(INCOMPLETE)]):
                continue
            if is_folder(self.set_folder.stat(name)):
                remove_tree(self.set_folder, name)
            else:
                self.set_folder.unlink(name)


def take_snapshot(drive: Drive, order: Order, expect: Expect) -> Taken:
    """Make a dated copy of the order's sources on a marked drive.

    Raises SnapbackError; then no earlier copy has changed, and the next run goes on from here.
    """
    host, machine = host_name(), machine_id()
    with drive.guarded():
        set_name, by_host = find_set(drive.root, order.set_name, host, machine, order.adopt)
        check_sources(order.sources)
        check_sources_beside(drive, set_name, order.sources)
        if not drive.root.has(set_name):
            drive.check()
            make_private(drive.root, set_name)
        set_folder = drive.root.child(set_name)
        if set_folder.own_stat().st_dev != drive.stamp[0]:
            raise DriveError(f"the folder {set_name} on the drive {drive.where} is another disk: nothing was copied; make that disk "
                             "a drive of its own, or unmount it")
        lock = lock_set(drive, set_name)
    try:
        run = SetRun(drive, set_name, set_folder, order, {
            "set": set_name, "host": host, "machine": machine, "named_after_host": by_host})
        taken = run.take(expect)
        taken = taken._replace(rotated=run.rotate(expect) if taken.settled and not taken.hold else None)
        return taken._replace(notes=[*taken.notes, *(run.tend_papers() if taken.settled else ())])
    finally:
        unlock(lock)


def preview(drive: Drive, order: Order) -> Tuple[Look, str]:
    """Say what `backup` would do now, as a dry run: the look and the name of the set. Nothing is written."""
    with drive.guarded():
        set_name, _by_host = find_set(drive.root, order.set_name, host_name(), machine_id(), order.adopt)
        check_sources(order.sources)
        check_sources_beside(drive, set_name, order.sources)
        if not drive.root.has(set_name):
            return look_ahead(order, drive, None, {}), set_name
        set_folder = drive.root.child(set_name)
        with contextlib.ExitStack() as manifests, sound_manifests():
            notes: Notes = []
            earlier = find_earlier(set_folder, survey(set_folder), order.sources, notes, manifests)
            refuse_empty(order, earlier)
            look = look_ahead(order, drive, set_folder, earlier)
            return look._replace(notes=[*notes, *look.notes]), set_name


# -- how a drive stands --


class Standing(NamedTuple):
    """What the next run for the same sources finds: the name of the set, the newest dated copy, and since when copies share files."""

    set_name: str
    taken: Optional[datetime] = None
    shares_since: Optional[datetime] = None


def standing_of(drive: Drive, order: Order) -> Standing:
    """Look what is there of the order's sources. Raises SnapbackError."""
    with drive.guarded():
        set_name = find_set(drive.root, order.set_name, host_name(), machine_id(), order.adopt)[0]
        snapshots = survey(drive.root.child(set_name)) if drive.root.has(set_name) else []
    sources = {source.alias: source.path for source in order.sources}
    newest = newest_whole(one for one in snapshots if one.sources == sources)
    if newest is None:
        return Standing(set_name)
    return Standing(set_name, parse_time(str(newest.header["taken"])), parse_time(shares_since(newest.header)))


def pace_of(snapshots: Sequence[Snapshot]) -> int:
    """Give how many bytes a day's copies take, on average since the oldest, whose own bytes do not count; 0: not known yet."""
    whole = [one for one in snapshots if one.state is State.WHOLE]
    times = [parse_time(str(one.header["taken"])) for one in whole]
    if len(whole) < 2 or not times[0] or not times[-1]:
        return 0
    days = (times[-1] - times[0]).total_seconds() / 86400
    return int(sum(int(one.end.get("added", 0)) for one in whole[1:]) / days) if days >= 1 else 0


UNWATCHED = timedelta(days=2)    # when nobody looked for longer, it is not known whether a drive stayed attached


def see_drive(drive: Drive, set_name: str, sources: Sequence[Source], before: Seen, now: datetime) -> Seen:
    """Look how a drive stands, for the local record; of other sources than these no dated copy counts. Raises OSError.

    Without sources all count, and of the disks that hold them nothing new is known.
    """
    disks = system_disks()
    for source in sources:
        with contextlib.suppress(OSError):
            disks |= disks_of(source.path)
    offline = bool(drive.marker and drive.marker.offline)
    text, looked = now.isoformat(timespec="seconds"), parse_time(before.seen)
    stayed = looked is not None and timedelta(0) <= now - looked <= UNWATCHED
    free, total = free_space(drive.path)
    since = (before.attached_since if stayed else "") or text
    seen = Seen(drive.marker.label if drive.marker else "", drive.path, set_name, offline=offline, seen=text, free=free, total=total,
                same_disk=bool(disks & disks_of(drive.path)) or (not sources and before.same_disk), attached_since=since, told=before.told)
    if not set_name or not drive.root.has(set_name):
        return seen
    folder = drive.root.child(set_name)
    snapshots = survey(folder)
    held, wanted = held_by(snapshots, read_accepted(folder)), {source.alias: source.path for source in sources}
    newest = newest_whole(one for one in snapshots if not wanted or one.sources == wanted)
    history = read_text(folder, HISTORY, 64 * MIB) or ""
    read = read_again(history)
    seen = seen._replace(checked=read.since, sampled=read.sampled, share=read.share, parted=read.parted, rotten=bool(read.damaged),
                         rehearsed=last_rehearsal(history), hold=held_text(held) if held else "", pace=pace_of(snapshots))
    if newest:
        damaged = damaged_in(read_text(folder, DAMAGED_LIST, 64 * MIB) or "").get(newest.name, 0)
        seen = seen._replace(snapshot=newest.name, taken=str(newest.header["taken"]), damaged=damaged, oldest=oldest_taken(snapshots),
                             unlisted=len(newer_unlisted(snapshots, newest)),
                             skipped=int(newest.end.get("skipped", 0)), kept=int(newest.end.get("kept", 0)),
                             unguarded=newest.header.get("hold_at") == 0)
    return seen


# -- what would make backups fail --


class Checkup(NamedTuple):
    """One thing that was looked at: what was found and, where something is wrong, what helps."""

    about: str
    found: str
    cure: str = ""


LOOKED_THROUGH = 20_000      # files of a source whose permissions are looked at


def check_source(source: Source, rules: Rules) -> Checkup:
    """Look whether a source can be read, as far as a quick look tells."""
    about, seen = show(source.path), 0
    closed: List[str] = []
    try:
        info = from_top(source, stat_path, source.path)
        if info is None:
            return Checkup("Source", f"{about} is not there", "attach its disk, or take it out of the settings")
        for visit in walk(from_top(source, Folder.top, source.path), rules) if is_folder(info) else ():
            closed += ["/".join(visit.parts)] * (visit.error is not None)
            for name, found in visit.files if visit.folder else ():
                seen += 1
                if visit.folder and found and stat.S_ISREG(found.st_mode) and not visit.folder.can_read(name):
                    closed.append("/".join((*visit.parts, name)))
            if seen > LOOKED_THROUGH:
                break
    except SourceGone as err:
        return Checkup("Source", str(err), "run as a user who may read it")
    if closed:
        return Checkup("Source", f"in {about} {count_text(len(closed), 'file or folder', 'files and folders')} cannot be read, as "
                       f"{show(closed[0])}", "give yourself the right to read them, or leave them out with an exclude")
    return Checkup("Source", f"{about} can be read")


def check_drive(one: DriveSettings, search: Search, set_name: str, now: datetime) -> List[Checkup]:
    """Look what would hinder the next copy to a drive; of one that is away nothing is known."""
    label, trouble = show(one.label or one.id), search.silent.get(one.id) or search.broken.get(one.id)
    if trouble:
        return [Checkup("Drive", trouble, "see to that, then run: snapback.py doctor")]
    if one.id not in search.places:
        return [Checkup("Drive", f"{label} is not attached, so it was not looked at")]
    found: List[Checkup] = []
    try:
        drive = open_found(one.id, the_only_place(label, search.places[one.id]))
        about = f"{drive.label} at {show(drive.path)}"
        with drive.guarded():
            abilities = try_drive(drive.root)
            free, total = free_space(drive.path)
            set_folder = drive.root.child(set_name) if set_name and drive.root.has(set_name) else None
            snapshots = survey(set_folder) if set_folder else []
            if set_folder and not set_folder.can_write():
                raise PermissionError(errno.EACCES, "Permission denied", set_folder.path)
    except (SnapbackError, OSError) as err:
        return [Checkup("Drive", str(err) if isinstance(err, SnapbackError) else f"{label} cannot be written to ({reason(err)})",
                        "attach it so that it can be written to, or check its file system")]
    kept = "unchanged files cost no space" if abilities.hard_links else "a dated folder holds only what is new or changed"
    found.append(Checkup("Drive", f"{about} can be written to; {kept}"))
    if free * 20 < total:
        found.append(Checkup("Space", f"only {size_text(free)} of {size_text(total)} are free on {drive.label}",
                             "keep fewer old copies (--keep-...), or take a larger drive"))
    service = synchroniser_of(trace_upwards(drive.path))
    if service:
        found.append(Checkup("Drive", f"{about} is synchronised by {service}, which carries every deletion to all devices",
                             "take a folder outside of it"))
    trouble = clock_trouble(newest_whole(snapshots), now)
    return [*found, Checkup("Clock", trouble, "set the clock of this computer")] if trouble else found


# -- verifying --

class Checked(NamedTuple):
    """The result of `verify`."""

    snapshots: List[str]
    files: int
    read_files: int
    read_bytes: int
    findings: List[Finding]
    strewn: int
    by_twin: Sequence[str] = ()      # dated copies that were checked by their second list
    interrupted: bool = False        # not all was read
    in_need: bool = False            # dated copies may need files in the folders of others
    noted: bool = False              # on the drive, so that the next run knows

    @property
    def damage(self) -> List[Finding]:
        """Give the findings that are damage."""
        return [one for one in self.findings if one.kind is not Found.STRAY]


class Suspect(NamedTuple):
    """A stored file that is to be read: its name in its folder, its path, its checksum, and what tells it from others."""

    name: str
    path: str
    digest: str
    key: int
    cost: int


class Shown(NamedTuple):
    """What a listing shows of an entry, as in its stat, and where it leads if it is a symbolic link."""

    st_mode: int
    st_size: int
    st_nlink: int
    st_ino: int
    link: str = ""


class Listing(NamedTuple):
    """A folder of a set, whose entries are to be looked at; or only these."""

    set_folder: Folder
    path: str
    names: Optional[Sequence[str]] = None


class Reading(NamedTuple):
    """Stored files of one folder of a set that are to be read, and their checksums."""

    set_folder: Folder
    path: str
    names: List[str]
    digests: List[str]


LOOK_COST = 4 * KIB          # of an entry that is looked at


class Inspector:
    """Looks at stored files and reads them, as each of the workers does."""

    def __init__(self, pulse: Pulse) -> None:
        self.pulse, self.reach = pulse, Reach()

    def serve(self, piece: Union[Listing, Reading]) -> Union[Dict[str, Shown], OSError, List[Tuple[int, Found, str]]]:
        """Do a piece of work."""
        return self.read(piece) if isinstance(piece, Reading) else self.list(piece)

    def list(self, piece: Listing) -> Union[Dict[str, Shown], OSError]:
        """Look at what is in a folder, or say why that cannot be. Raises OSError for what is not the drive's fault."""
        self.pulse.beat(0)
        try:
            folder = self.reach.at(piece.set_folder, piece.path)
            if piece.names is None:
                return {name: self._shown(folder, name, info) for name, info in folder.scan()}
            found = {}
            for name in piece.names:
                with contextlib.suppress(FileNotFoundError):
                    found[name] = self._shown(folder, name, folder.stat(name))
            return found
        except OSError as err:
            if err.errno in OWN_LIMITS:
                raise
            return err.with_traceback(None)  # which would keep folders of the drive open

    def _shown(self, folder: Folder, name: str, info: os.stat_result) -> Shown:
        link = read_link(folder, name) if stat.S_ISLNK(info.st_mode) else ""
        return Shown(info.st_mode, info.st_size, info.st_nlink, info.st_ino, link)

    def read(self, piece: Reading) -> List[Tuple[int, Found, str]]:
        """Hash stored files; give those that are not what they should be, by place."""
        bad = []
        for at, (name, digest) in enumerate(zip(piece.names, piece.digests)):
            try:
                if hash_file(self.reach.at(piece.set_folder, piece.path), name, self.pulse, from_disk=True) != digest:
                    bad.append((at, Found.DIFFERS, "its bytes are not those that were written"))
            except OSError as err:
                if err.errno in OWN_LIMITS:
                    raise
                bad.append((at, Found.UNREADABLE, reason(err)))
        return bad


class Rereading:
    """Has stored files read by workers, each of them once, however many dates and names share it."""

    BATCH = 64  # files of one folder, at most, that are read by the same worker; and so many bytes, as the result comes at the end

    def __init__(self, workers: Workers) -> None:
        self.workers, self.findings = workers, []  # type: Workers, List[Finding]
        # A stored file with several names is told by inode and checksum; one number for both, as a million fit in 100 MB.
        self.seen: Set[int] = set()
        self.bad: Dict[int, Tuple[Found, str]] = {}
        self.files = self.bytes = 0

    def read(self, snapshot: str, folder: Tuple[Folder, str], found: Sequence[Tuple[Suspect, Shown]], shared_by_list: bool = False
             ) -> None:
        """Have files of a folder of the set hashed; of those that were met before, say again what was found of them."""
        to_read: List[Suspect] = []
        shared: List[Suspect] = []
        for suspect, info in found:
            may_come_again = info.st_nlink > 1 or shared_by_list
            if may_come_again and suspect.key in self.seen:
                shared.append(suspect)
                continue
            if may_come_again:
                self.seen.add(suspect.key)
            to_read.append(suspect)
            self.bytes += info.st_size
        self.files += len(to_read)
        while to_read:
            costs = list(itertools.accumulate(one.cost for one in to_read[:self.BATCH]))
            count = max(1, bisect.bisect_right(costs, self.workers.most_cost))
            part, to_read = to_read[:count], to_read[count:]
            reading = Reading(*folder, [one.name for one in part], [one.digest for one in part])
            self.workers.submit(reading, functools.partial(self._note, snapshot, part), folder[:1], costs[count - 1])
        if shared:
            self.workers.after(functools.partial(self._share, snapshot, shared))

    def _note(self, snapshot: str, part: Sequence[Suspect], bad: Sequence[Tuple[int, Found, str]]) -> None:
        for at, kind, detail in bad:
            self.bad[part[at].key] = (kind, detail)
            self.findings.append(Finding(kind, snapshot, part[at].path, detail, part[at].digest))

    def _share(self, snapshot: str, shared: Sequence[Suspect]) -> None:
        """Report what was found of a stored file for each further name of it."""
        for suspect in shared if self.bad else ():
            if suspect.key in self.bad:
                kind, detail = self.bad[suspect.key]
                self.findings.append(Finding(kind, snapshot, suspect.path, detail, suspect.digest))


class Verification:
    """Reads dated copies of one set again; every stored file once, however many dates share it."""

    def __init__(self, set_folder: Folder, workers: Workers, quick: bool, by_path: bool, part: Slice = EVERYTHING) -> None:
        self.set_folder, self.workers, self.quick, self.part = set_folder, workers, quick, part
        self.snapshot = ""
        self.rereading = Rereading(workers)
        self.findings = self.rereading.findings
        self.by_twin: List[str] = []     # dated copies that were checked by their second list
        self.files = self.strewn = 0
        self.partly = False              # the dated copy at hand has not every file in its folder
        self.by_path = by_path           # stored files are shared by reference, not by links alone

    def check(self, name: str) -> None:
        """Check one dated copy."""
        self.snapshot = name
        try:
            folder = self.set_folder.child(name)
        except OSError as err:
            if err.errno in OWN_LIMITS:
                raise
            self._find(Found.UNREADABLE if err.errno == errno.EACCES else Found.MISSING, "", "folder: " + reason(err))
            return
        try:
            manifest = proved_manifest(manifest_file(folder, from_disk=True))
        except (ManifestDamaged, OSError) as err:
            try:
                manifest = load_manifest(self.set_folder, name)  # the twin still tells what should be there
            except ManifestDamaged:
                self._find(Found.MANIFEST, MANIFEST, f"{reason(err)}; its second list is damaged, too: NO file of this date could be "
                           "checked")
                return
            self._find(Found.MANIFEST, MANIFEST, reason(err))
            self.by_twin.append(name)
        else:
            self._check_twin(manifest)
        self.partly = manifest.header.get("layout") == Layout.CHANGES.value
        with manifest:
            try:
                self._check_blocks(read_blocks(manifest.lines()))
            except ManifestDamaged as err:
                self._find(Found.MANIFEST, MANIFEST, str(err))
            self._settle()

    def _settle(self) -> None:
        """Take all that is still to come of this dated copy."""
        try:
            self.workers.drain()
        except ManifestDamaged as err:
            self._find(Found.MANIFEST, MANIFEST, str(err))
            self._settle()

    def _check_twin(self, manifest: Manifest) -> None:
        """Compare the twin, if there is one, with the manifest that is whole; the next run makes up for one that is missing."""
        try:
            why = "" if same_as_twin(manifest, self.set_folder, self.snapshot) else "it is not the same as the first list"
        except FileNotFoundError:
            return
        except (ManifestDamaged, OSError) as err:
            if isinstance(err, OSError) and err.errno in OWN_LIMITS:
                raise
            why = reason(err)
        if why:
            self.findings.append(Finding(Found.MANIFEST, TWINS, f"{self.snapshot}.gz", f"the second list: {why}"))

    def miss(self, name: str) -> None:
        """Note a dated copy of which only the list is left."""
        self.snapshot = name
        self._find(Found.MISSING, "", f"the whole dated copy; if you removed it, remove {TWINS}/{name}.gz as well")

    def _check_blocks(self, blocks: Iterator[Block]) -> None:
        """Check folder by folder; what is there but in no line is a stray once its folder is left."""
        open_folders: List[Tuple[str, Set[str], Set[str]]] = []      # with what no line of its block has, and its subfolders
        for block in blocks:
            while open_folders and open_folders[-1][0] and not block.path.startswith(open_folders[-1][0] + "/"):
                self.workers.after(functools.partial(self._report_strays, *open_folders.pop()))
            stored = stored_path_of(block.line) if block.path else ""
            if open_folders:
                open_folders[-1][2].add(stored.rpartition("/")[2])
            if block.line.startswith(DIR_LINE) or not block.path:
                open_folders.append((block.path, set(), set()))
                self._check_block(block, stored, open_folders[-1][1])
        while open_folders:
            self.workers.after(functools.partial(self._report_strays, *open_folders.pop()))

    def _find(self, kind: Found, path: str, detail: str = "", digest: str = "") -> None:
        self.findings.append(Finding(kind, self.snapshot, path, detail, digest))

    def _report_strays(self, path: str, names: Set[str], subfolders: Set[str]) -> None:
        for name in sorted(names - subfolders, key=name_bytes):
            if STREWN.fullmatch(name):
                self.strewn += 1
            else:
                self._find(Found.STRAY, f"{path}/{name}" if path else name)

    def _check_block(self, block: Block, stored: str, others: Set[str]) -> None:
        """Check one folder, which lies at `stored`; `others` gets the names in it that are not in the block (subfolders, strays)."""
        if block.path:
            meta_of(parse_keywords(block.line))
        listing = Listing(self.set_folder, "/".join((self.snapshot, *(plain_parts(stored) if stored else ()))))
        self.workers.submit(listing, functools.partial(self._check_listed, block, stored, others), (self.set_folder,),
                            LOOK_COST * (2 + len(block.entries)))

    def _check_listed(self, block: Block, stored: str, others: Set[str], listed: Union[Dict[str, Shown], OSError]) -> None:
        """Check what is in a folder, or that nothing of it had to be there."""
        if not isinstance(listed, OSError):
            met = self._check_entries(block, stored, listed)
            others.update(set(listed) - met - (set() if block.path else {MANIFEST, PART_NOTICE}))
            return
        missing = listed.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        if missing and self.partly:
            self._check_absent(block, stored)
            return
        self._find(Found.MISSING if missing else Found.UNREADABLE, block.path, "folder: " + reason(listed))
        for name, known in block.entries.items():
            if known.hash_line:
                self.files += 1
                self._find(Found.MISSING, f"{block.path}/{name}", "", parse_hash_line(known.hash_line)[0])
            else:
                self._check_special(f"{block.path}/{name}", known, None)

    def _check_entries(self, block: Block, stored: str, present: Mapping[str, Shown]) -> Set[str]:
        """Check what is in a folder, which has the names `present`; give those that were met."""
        to_read: List[Tuple[Suspect, Shown]] = []
        elsewhere: List[Tuple[str, Known]] = []
        met: Set[str] = set()
        for name, known in block.entries.items():
            path = f"{block.path}/{name}" if block.path else name
            if not known.hash_line:
                self._check_special(path, known, present.get(name))
                met.add(name)
                continue
            self.files += 1
            in_folder, _, own = parse_hash_line(known.hash_line)[1].rpartition("/")
            if in_folder != stored:
                elsewhere.append((path, known))
                continue
            met.add(own)
            suspect = self._look(own, path, known, present.get(own))
            if suspect is not None:
                to_read.append((suspect, present[own]))
        folder = f"{self.snapshot}/{stored}" if stored else self.snapshot
        if self.by_path:
            to_read = [(self._by_path(one, info, f"{folder}/{one.name}"), info) for one, info in to_read]
        self.rereading.read(self.snapshot, (self.set_folder, folder), to_read, self.by_path)
        self._check_elsewhere(elsewhere)
        self.workers.pulse.files = self.files
        self.workers.pulse.tell()
        return met

    def _check_absent(self, block: Block, stored: str) -> None:
        """Check the files of a folder that was not needed in this dated copy: all lie elsewhere."""
        elsewhere: List[Tuple[str, Known]] = []
        for name, known in block.entries.items():
            path = f"{block.path}/{name}" if block.path else name
            if not known.hash_line:
                continue
            self.files += 1
            digest, place = parse_hash_line(known.hash_line)
            if place.rpartition("/")[0] == stored:
                self._find(Found.MISSING, path, "", digest)
            else:
                elsewhere.append((path, known))
        self._check_elsewhere(elsewhere)

    def _look(self, name: str, path: str, known: Known, info: Optional[Shown]) -> Optional[Suspect]:
        """Compare a stored file's kind and size with the manifest; give it if its bytes are to be read."""
        words = parse_keywords(known.line)
        meta_of(words)  # what `restore` will need must make sense, too
        digest, size = parse_hash_line(known.hash_line)[0], number(words, "size")
        if info is None:
            self._find(Found.MISSING, path, "", digest)
        elif not stat.S_ISREG(info.st_mode):
            self._find(Found.DIFFERS, path, "it is no file any more", digest)
        elif info.st_size != size:
            self._find(Found.DIFFERS, path, f"it has {info.st_size:,} bytes instead of {size:,}", digest)
        elif not self.quick and self.part.holds(digest):
            return Suspect(name, path, digest, info.st_ino << 28 | int(digest[:7], 16), size + 64 * KIB)
        return None

    def _check_elsewhere(self, files: Iterable[Tuple[str, Known]]) -> None:
        """Check files whose content lies in another dated copy, or under another of its names; once, as many dates refer to it."""
        wanted: Dict[str, List[Tuple[str, str, Known]]] = {}
        for path, known in files:
            snapshot, parts = stored_place(parse_hash_line(known.hash_line)[1], self.snapshot)
            wanted.setdefault("/".join((snapshot, *parts[:-1])), []).append((parts[-1], path, known))
        for folder, group in wanted.items():
            listing = Listing(self.set_folder, folder, [name for name, _, _ in group])
            self.workers.submit(listing, functools.partial(self._check_elsewhere_listed, folder, group), (self.set_folder,),
                                LOOK_COST * (2 + len(group)))

    def _check_elsewhere_listed(self, folder: str, group: Sequence[Tuple[str, str, Known]], listed: Union[Dict[str, Shown], OSError]
                                ) -> None:
        """Check files of one folder of another dated copy."""
        to_read: List[Tuple[Suspect, Shown]] = []
        for name, path, known in group:
            if isinstance(listed, OSError):
                self._find(Found.MISSING, path, reason(listed), parse_hash_line(known.hash_line)[0])
                continue
            info = listed.get(name)
            suspect = self._look(name, path, known, info)
            if suspect is not None and info is not None:
                to_read.append((self._by_path(suspect, info, f"{folder}/{name}"), info))
        self.rereading.read(self.snapshot, (self.set_folder, folder), to_read, True)

    def _by_path(self, suspect: Suspect, info: Shown, stored: str) -> Suspect:
        """Let a stored file with one name be known by its path, as dates share it by reference."""
        return suspect if info.st_nlink > 1 else suspect._replace(key=hash(stored) << 28 | int(suspect.digest[:7], 16))

    def _check_special(self, path: str, known: Known, info: Optional[Shown]) -> None:
        """Check a link, fifo or device, unless it lives in the manifest alone."""
        if known.line.startswith("# type=skipped ") or " optional " in known.line:
            return
        words = parse_keywords(known.line)
        meta_of(words)
        if info is None:
            self._find(Found.MISSING, path, "a link or special file")
        elif SPECIAL_KINDS.get(stat.S_IFMT(info.st_mode)) != words["type"]:
            self._find(Found.DIFFERS, path, "it has become something else")
        elif words["type"] == "link" and escape(info.link) != words.get("link"):
            self._find(Found.DIFFERS, path, "the symbolic link points elsewhere")


class Check(NamedTuple):
    """What a person asked `verify` to do: which dated copies of which set, and how."""

    set_name: str
    names: Tuple[str, ...]
    whole: bool                      # they are all there are
    quick: bool
    jobs: int
    now: datetime
    place: str                       # of the drive
    sample: Optional[Slice] = None   # read no more than this of them


def check_copies(drive: Drive, set_folder: Folder, order: Check, watch: Watch) -> Checked:
    """Check dated copies of a set that the caller has opened and locked. Raises DriveError, OSError."""
    far = is_far(drive.path)
    jobs = worker_count(order.jobs, far)
    pulse = new_pulse(watch, jobs)
    with Workers(jobs, pulse, Inspector(pulse).serve, far) as workers:
        by_path = need_each_other(survey(set_folder))
        run, interrupted = Verification(set_folder, workers, order.quick, by_path, order.sample or EVERYTHING), False
        try:
            for name in order.names:
                run.check(name)
            for name in sorted(set(twin_names(set_folder)) - set(set_folder.names())) if order.whole else ():
                run.miss(name)
        except KeyboardInterrupt:  # what was found by then is worth as much as ever
            interrupted = True
    if run.findings:
        drive.check()
    findings = sorted(set(run.findings), key=lambda one: (one.snapshot, name_bytes(one.path)))
    return Checked(list(order.names), run.files, run.rereading.files, run.rereading.bytes, findings, run.strewn, run.by_twin,
                   interrupted, by_path)


def verify(drive: Drive, order: Check, watch: Watch) -> Checked:
    """Check dated copies of a set; nothing is written. Raises DriveError where the drive goes away meanwhile."""
    with drive.guarded():
        set_folder = drive.root.child(order.set_name)
        lock_for_reading(set_folder)
        return check_copies(drive, set_folder, order, watch)


def read_back(copy: Unproved, watch: Watch) -> Tuple[List[Finding], int]:
    """Read from the drive all that a finished copy holds, before it counts as one; give the damage, and the bytes that were read."""
    pulse = new_pulse(watch, copy.jobs)
    with Workers(copy.jobs, pulse, Inspector(pulse).serve, copy.far) as workers:
        run = Verification(copy.set_folder, workers, False, copy.by_path)
        run.check(copy.name)
    return [one for one in run.findings if one.kind is not Found.STRAY], run.rereading.bytes


def list_damage(set_folder: Folder, order: Check, checked: Checked, seqs: Mapping[str, int], time: str) -> None:
    """Bring damaged.txt up to date; `seqs` are the numbers of all dated copies. Raises OSError."""
    before = read_text(set_folder, DAMAGED_LIST, 64 * MIB)
    dated = {name for name in seqs if SNAPSHOT_NAME.fullmatch(name)}
    if not order.whole or order.quick or checked.interrupted or not dated <= set(order.names):
        # dates that were not read now may share the bad file: it counts for all of them
        text = added_damage(before or "", checked.damage, time, seqs)
    elif order.sample:
        text = added_damage(unread_damage(before or "", order.sample), checked.damage, time, seqs)
    else:
        text = damaged_text(checked.damage, time, seqs)
    if text and text != before:
        write_text(set_folder, DAMAGED_LIST, text, order.set_name)
    elif not text and before is not None:
        set_folder.unlink(DAMAGED_LIST)


def damaged_twins(checked: Checked) -> List[str]:
    """Name the dated copies whose twin is damaged, and whose manifest is good."""
    return [one.path[:-3] for one in checked.damage if one.snapshot == TWINS]


def mend_twins(set_folder: Folder, names: Iterable[str]) -> List[str]:
    """Make twins of good manifests anew; name those that were made. Raises OSError."""
    mended = []
    for name in names:
        twins = set_folder.child(TWINS)
        with contextlib.suppress(FileNotFoundError):
            twins.unlink(name + ".gz" + INCOMPLETE)
        with contextlib.suppress(ManifestDamaged):
            write_twin(set_folder, twins, name)
            mended.append(name)
    return mended


def note_on_drive(drive: Drive, set_name: str, write: Callable[[Folder], str]) -> Tuple[bool, str]:
    """Let something be written into a set as its next run would: tell whether it was, and what `write` says, or why it was not."""
    if drive.marker is None:
        return False, "the drive has no marker, so the result was not noted on it"
    try:
        drive.check()
        lock = lock_set(drive, set_name)
    except DriveError as err:
        return False, str(err)
    except Locked:
        return False, "another run is working on the set, so the result was not noted on the drive"
    except OSError as err:
        return False, f"the result could not be noted on the drive ({reason(err)})"
    try:
        return True, write(drive.root.child(set_name))
    except OSError as err:
        return False, f"the result could not be noted on the drive ({reason(err)})"
    finally:
        unlock(lock)


def note_check(drive: Drive, order: Check, checked: Checked) -> Tuple[bool, str]:
    """Note a verification on the drive, for the next run and for `list`; tell whether that was done, and what to say of it.

    When every date was read, what is not damaged now is taken off the list.
    """
    def write(set_folder: Folder) -> str:
        time = order.now.isoformat(timespec="seconds")
        snapshots = survey(set_folder)
        list_damage(set_folder, order, checked, {one.name: one.seq for one in snapshots if one.state is not State.EXPIRED}, time)
        append_line(set_folder, HISTORY, json.dumps({
            "what": "verify", "time": time, "snapshots": checked.snapshots, "whole": order.whole, "quick": order.quick,
            "files": checked.files, "read": checked.read_files, "bytes": checked.read_bytes, "damaged": len(checked.damage),
            "interrupted": checked.interrupted, **({"sample": order.sample.facts()} if order.sample else {})}))
        mended = mend_twins(set_folder, damaged_twins(checked))
        return f"the second list was made anew for: {', '.join(mended)}" if mended else ""
    return note_on_drive(drive, order.set_name, write)


# -- restoring --


class Restored(NamedTuple):
    """The result of `restore`."""

    path: str
    files: int
    bytes: int
    findings: List[Finding]
    notes: Notes
    set_aside: List[str]


NO_SUCH_NAME_HERE = "the disk that files are restored to cannot hold a name like this; take another place for it with --to"
NAME_REFUSED_HERE = NAME_REFUSED - {errno.ENOENT}  # a target that went away says that, and exfat-fuse of a name


class TargetError(SnapbackError):
    """The place that files are restored to failed."""


class Wish(NamedTuple):
    """What a person asked `restore` to give back: paths of one dated copy (none: all), and where to."""

    snapshot: str
    paths: Tuple[str, ...]
    target: str
    merge: str = ""                  # the date for the names of what is set aside; empty: into a new folder only
    jobs: int = 1
    where: Tuple[str, ...] = ()      # the options that name the drive, and the set where it was named


class Piece(NamedTuple):
    """One file to be restored: where it is stored, where it goes, what its bytes and metadata must be."""

    source: Folder
    stored_name: str
    folder: Folder
    name: str
    passing: str                     # a name for what is not, or not yet, to stand under its own
    merging: bool
    path: str                        # as in the copy
    digest: str
    meta: Meta
    size: int


class Outcome(NamedTuple):
    """What became of a piece: it has its own name, or was written under the passing one, or why that could not be."""

    digest: str = ""                 # of what was written
    in_place: bool = False           # under its own name, now or before
    kind: Optional[Found] = None     # nothing was written, for what lies on the drive
    why: str = ""
    refused: bool = False            # nothing was written, as the target cannot have such a name


class NameRefused(Exception):
    """The place that files are restored to cannot have an entry of that name."""


@contextlib.contextmanager
def restoring(folder: Folder, name: str) -> Iterator[None]:
    """Turn a failure of the place that files are restored to into a sentence; NameRefused where only the name is to blame."""
    try:
        yield
    except OSError as err:
        if err.errno in NAME_REFUSED_HERE or (err.errno == errno.ENOENT and folder.is_in_its_place()):
            raise NameRefused from err
        what = "is full" if err.errno in FULL else f"refused ({reason(err)})"
        cure = refusal_cure(err) or "make room or take another place with --to, and run it again"
        raise TargetError(f"the disk that files are restored to {what} at {show(join_path(folder.path, name))}; the copies on "
                          f"the drive are untouched; {cure}") from err


def same_content(folder: Folder, name: str, digest: str, pulse: Pulse) -> bool:
    """Tell whether a file that is there already has these bytes."""
    try:
        return hash_file(folder, name, pulse) == digest
    except OSError:
        return False


def write_piece(fd: int, info: os.stat_result, piece: Piece, pulse: Pulse) -> Outcome:
    """Write an open stored file; it stands under its own name only if its bytes are right and nothing was in the way.

    Merging, it is written under the passing name first; into a new folder under its own, as creating a file is
    the one way to see that the disk takes its name for another one.
    """
    folder, name = piece.folder, piece.name
    first = piece.passing if piece.merging else name
    digest, why = write_restored(fd, info, folder, first, piece.meta, pulse)
    if digest != piece.digest and not piece.merging:
        folder.rename(name, folder, piece.passing)
    if digest != piece.digest:
        return Outcome(digest, why=why)
    return Outcome(digest, in_place=not piece.merging or move_to_free(folder, piece.passing, folder, name))


def give_back(pulse: Pulse, piece: Piece) -> Outcome:
    """Write one file; on the drive only a regular file is read, and through no link. Raises TargetError."""
    if piece.merging and same_content(piece.folder, piece.name, piece.digest, pulse):
        return Outcome(refused=True) if taken_for_another(piece.folder, piece.name) else Outcome(in_place=True)
    try:
        fd, info = open_regular(piece.source, piece.stored_name)
    except OSError as err:
        return Outcome(kind=Found.MISSING if err.errno == errno.ENOENT else Found.UNREADABLE, why=reason(err))
    try:
        with restoring(piece.folder, piece.name):
            return write_piece(fd, info, piece, pulse)
    except NameRefused:
        if piece.merging:
            with contextlib.suppress(OSError):
                piece.folder.unlink(piece.passing)
        return Outcome(refused=True)
    finally:
        close_read(fd)


class Caveats:
    """Notes what of a dated copy is older than that, or not in it."""

    def __init__(self) -> None:
        self.notes: Notes = []
        self.kept_folder = ""            # with a slash behind it: all that is in it is older, which has been said

    def note_skipped(self, path: str, line: str) -> None:
        """Note what the dated copy does not have."""
        why = unescape(parse_keywords(line).get("why", ""))
        self.notes.append(Note(path, f"it is not in this copy: it could not be read then ({show(why)})"))

    def note_kept(self, path: str, words: Mapping[str, str]) -> None:
        """Note what is older than the dated copy; of a whole folder that is said once."""
        if "kept" in words and not (self.kept_folder and path.startswith(self.kept_folder)):
            self.notes.append(Note(path, f"it is as it was on {show(words['kept'])}, as it could not be read on the date of this copy"))

    def enter_kept(self, path: str, words: Mapping[str, str]) -> None:
        """Note a folder that is older than the dated copy, with all that is in it."""
        self.note_kept(path, words)
        if "kept" in words and not (self.kept_folder and path.startswith(self.kept_folder)):
            self.kept_folder = path + "/"


class Landing(Caveats):
    """Puts what is not a folder in its place in the target; a file gets its own name only if its bytes are right."""

    def __init__(self, set_folder: Folder, target: Folder, wish: Wish, workers: Workers) -> None:
        super().__init__()
        self.set_folder, self.target, self.wish, self.workers = set_folder, target, wish, workers
        self.stored: Dict[str, Trail] = {}
        self.first_of: Dict[Tuple[str, ...], str] = {}     # of each hard-linked file the path of its first name
        self.spoilt: Set[str] = set()
        self.findings: List[Finding] = []
        self.set_aside: List[str] = []
        self.files = self.bytes = 0

    def put(self, folder: Folder, path: str, known: Known, neighbours: Mapping[str, Known]) -> None:
        """Restore what is not a folder; further names of a hard-linked file wait for its first."""
        if known.line.startswith("# type=skipped "):
            self.note_skipped(path, known.line)
            return
        words = parse_keywords(known.line)
        self.note_kept(path, words)
        key = link_group(words, known)
        if key in self.first_of:
            self.workers.after(functools.partial(self._link, self.first_of[key], folder, path, known, neighbours), keeps=1)
            return
        if key:
            self.first_of[key] = path
        self._first(folder, path, known, neighbours)

    def _first(self, folder: Folder, path: str, known: Known, neighbours: Mapping[str, Known], at_once: bool = False) -> None:
        """Restore a file from its bytes, or a link or special file from its line."""
        words, name = parse_keywords(known.line), path.rpartition("/")[2]
        if known.hash_line:
            self._send(folder, path, known, neighbours, at_once)
            return
        try:
            with restoring(folder, name):
                if self.wish.merge and folder.has(name):
                    if same_entry(folder, name, words):
                        return
                    self.set_aside.append(put_aside(folder, name, self.wish.merge))
                if not make_entry(folder, name, known.line):
                    self.notes.append(Note(path, "it could not be made here; its description is in the list of the dated copy"))
        except NameRefused:
            self.refuse(path)

    def _link(self, first: str, folder: Folder, path: str, known: Known, neighbours: Mapping[str, Known]) -> None:
        """Make a further name of a file that is restored already; where that cannot be, restore it once more."""
        *folders, first_name = first.split("/")
        name = path.rpartition("/")[2]
        try:
            if first in self.spoilt or (self.wish.merge and folder.has(name)):
                raise FileExistsError(errno.EEXIST, "it is there already", name)
            self.target.reach(folders).link(first_name, folder, name)
        except OSError:
            self._first(folder, path, known, neighbours, at_once=True)
            return
        self.files += bool(known.hash_line)

    def _send(self, folder: Folder, path: str, known: Known, neighbours: Mapping[str, Known], at_once: bool) -> None:
        """Have one file restored by somebody, or here `at_once`; look after its name here."""
        words, name = parse_keywords(known.line), path.rpartition("/")[2]
        digest, stored = parse_hash_line(known.hash_line)
        meta, size = meta_of(words), number(words, "size")
        try:
            snapshot, parts = stored_place(stored, self.wish.snapshot)
            if snapshot not in self.stored:
                self.stored[snapshot] = Trail(self.set_folder.child(snapshot))
            source = self.stored[snapshot].at(parts[:-1])
        except OSError as err:
            self._miss(path, Found.MISSING, reason(err), digest)
            return
        piece = Piece(source, parts[-1], folder, name, unique_name("restored", "snapback"), bool(self.wish.merge), path, digest,
                      meta, size)
        if at_once:
            self._name(piece, neighbours, self.workers.handle(piece))
        else:
            self.workers.submit(piece, functools.partial(self._name, piece, neighbours), (folder, source), size + 128 * KIB)

    def _miss(self, path: str, kind: Found, why: str, digest: str) -> None:
        """Note a file that cannot be given back as it was."""
        self.findings.append(Finding(kind, self.wish.snapshot, path, why, digest))
        self.spoilt.add(path)

    def _name(self, piece: Piece, neighbours: Mapping[str, Known], outcome: Outcome) -> None:
        """Give a file that was written its name: its own only if its bytes are right."""
        folder, name = piece.folder, piece.name
        self.workers.pulse.files += 1
        if outcome.kind:
            self._miss(piece.path, outcome.kind, outcome.why, piece.digest)
            return
        try:
            if outcome.refused:
                raise NameRefused
            with restoring(folder, name):
                if not outcome.in_place and outcome.digest != piece.digest:
                    folder.rename(piece.passing, folder, free_name(folder, name, ".damaged", neighbours))
                    kind = Found.UNREADABLE if outcome.why else Found.DIFFERS
                    self._miss(piece.path, kind, outcome.why or "its bytes are not those that were written", piece.digest)
                    return
                if not outcome.in_place:
                    self._put_in_place(piece)
        except NameRefused:
            self.refuse(piece.path)
            return
        self.files += 1
        self.bytes += piece.size

    def _put_in_place(self, piece: Piece) -> None:
        """Give a file its own name, and what stands there another one."""
        folder, name = piece.folder, piece.name
        try:
            if taken_for_another(folder, name):
                raise NameRefused
            self.set_aside.append(put_aside(folder, name, self.wish.merge))
            if not move_to_free(folder, piece.passing, folder, name):
                raise FileExistsError(errno.EEXIST, "something took its name", name)
        except (OSError, NameRefused):
            with contextlib.suppress(OSError):
                folder.unlink(piece.passing)
            raise

    def refuse(self, path: str) -> None:
        """Note what the target cannot have under its name."""
        self.notes.append(Note(path, NO_SUCH_NAME_HERE))
        self.spoilt.add(path)


class Selection:
    """Tells what of a dated copy is wanted, while its folders are gone through in the order of the list.

    `ways` are the folders that lead to what patterns match: no others are made.
    """

    def __init__(self, paths: Collection[str], patterns: Sequence[Sought] = (), ways: Collection[str] = ()) -> None:
        self.paths, self.patterns = frozenset(paths), patterns
        self.ways = {*ways, *(folder for path in paths for folder in folders_above(path))}
        self.everything = not paths and not patterns
        self.whole = ""          # with a slash behind it: a folder that is wanted with all that is in it

    def picks(self, path: str, is_folder: bool) -> bool:
        """Tell whether an entry is wanted for its own sake."""
        return path in self.paths or any(one.matches(path, is_folder) for one in self.patterns)

    def enters(self, folder: str) -> bool:
        """Tell whether a folder is wanted, or leads to what is; it is the one at hand from now on."""
        if self.everything or not folder or (self.whole and folder.startswith(self.whole)):
            return True
        if self.picks(folder, True):
            self.whole = folder + "/"
            return True
        return folder in self.ways

    def wants(self, path: str) -> bool:
        """Tell whether what is no folder is wanted, in the folder at hand."""
        return self.everything or bool(self.whole and path.startswith(self.whole)) or self.picks(path, False)


class Restoration:
    """Writes files of one dated copy below a target folder; the manifest decides, the drive is believed in nothing."""

    def __init__(self, set_folder: Folder, target: Folder, wish: Wish, selection: Selection, workers: Workers) -> None:
        self.wish, self.selection, self.workers = wish, selection, workers
        self.new, self.finished = Trail(target), Trail(target)
        self.landing = Landing(set_folder, target, wish, workers)
        self.passed_over = ""
        self.forbidden: Set[Stamp] = {stamp(set_folder.own_stat())}

    def run(self, blocks: Iterable[Block]) -> None:
        """Restore everything that is wanted. Raises ManifestDamaged, TargetError."""
        inside: List[Tuple[str, Meta]] = []
        for block in blocks:
            while inside and not block.path.startswith(inside[-1][0] + "/"):
                self._leave(*inside.pop())
            if not self.selection.enters(block.path):
                continue
            if self.passed_over and block.path.startswith(self.passed_over):
                continue
            if block.line.startswith(SKIPPED_DIR_LINE):
                self.landing.note_skipped(block.path, block.line)
                continue
            folder = self._open(block.path)
            if folder is None:
                continue
            if block.path:
                words = parse_keywords(block.line)
                inside.append((block.path, meta_of(words)))
                self.landing.enter_kept(block.path, words)
            for name, known in block.entries.items():
                path = f"{block.path}/{name}" if block.path else name
                if self.selection.wants(path):
                    self.landing.put(folder, path, known, block.entries)
            self.workers.pulse.tell()
        while inside:
            self._leave(*inside.pop())
        self.workers.drain()

    def _open(self, path: str) -> Optional[Folder]:
        """Make and open a folder of the target; None where it refuses such a name, and then all below is passed over."""
        try:
            return self.new.at(path.split("/") if path else (), self._enter)
        except NameRefused:
            self.landing.refuse(path)
            self.passed_over = path + "/"
            return None

    def _enter(self, parent: Folder, name: str) -> "Folder":
        """Make a folder in the target; with --merge an existing one serves, and a file in its place is set aside."""
        with restoring(parent, name):
            if parent.has(name) and taken_for_another(parent, name):
                raise NameRefused
            if self.wish.merge and parent.has(name):
                if is_folder(parent.stat(name)):
                    if stamp(parent.stat(name)) in self.forbidden:
                        raise UsageError(f"{show(join_path(parent.path, name))} is where the dated copies are, which must stay "
                                         "as they are; take another place")
                    return parent.child(name)
                self.landing.set_aside.append(put_aside(parent, name, self.wish.merge))
            elif parent.has(name):  # a damaged file was given this very name
                parent.rename(name, parent, free_name(parent, name, ".damaged"))
            return parent.make(name)

    def _leave(self, path: str, meta: Meta) -> None:
        def finish() -> None:
            folder = self.finished.at(path.split("/"))
            with contextlib.suppress(NameRefused), restoring(folder, ""):
                set_folder_metadata(folder, meta)
        self.workers.after(finish)


def no_list_readable(drive: Drive, set_name: str) -> DamagedCopy:
    """Say that nothing in a set can be proved."""
    return DamagedCopy(f"no dated copy in {set_name} on the drive {drive.where} has a list that can be read; the drive may be failing: "
                       "attach it again and run the same command, or copy files from its folders by hand")


def newest_with(set_folder: Folder, path: str) -> str:
    """Find the newest dated copy that has a path; empty where none has it."""
    wanted = hash_line("0" * 64, path)
    endings = wanted[wanted.index("  "):], f" path={escape(path)}"
    for snapshot in reversed([one for one in survey(set_folder) if one.state is State.WHOLE]):
        with contextlib.suppress(ManifestDamaged), load_manifest(set_folder, snapshot.name) as manifest:
            # a longer line of checksums only ends in the same way: `src/x  src/letter` is no `src/letter`
            if any(line.endswith(endings) and (len(line) == len(wanted) if line[:1] != "#" else not line.startswith("# type=skipped "))
                   for line in manifest.lines()):
                return snapshot.name
    return ""


def drive_words(drive: str, set_name: str = "") -> Tuple[str, ...]:
    """Write the options that name a drive and, where it must be said, a set."""
    return ("--drive", drive, *(("--set", set_name) if set_name else ()))


def finding_words(word: str, where: Sequence[str]) -> List[str]:
    """Write the command that looks for something in all dates; what is sought is never an option."""
    return ["find", f"./{word}" if word.startswith("-") else word, *where]


def command_text(words: Iterable[str]) -> str:
    """Write a command of snapback as a line to be typed."""
    return " ".join([TOOL, *map(shell_word, words)])


def not_in_copy(one: Sought, word: str, manifest: Manifest, set_folder: Folder, where: Sequence[str]) -> str:
    """Say that a dated copy has nothing of that name, and where it is."""
    look = f"to look for it in all dates: {command_text(finding_words(word, where))}"
    if one.is_wild:
        return f"nothing in that dated copy matches {quoted(word)}; {look}"
    other = newest_with(set_folder, one.path)
    return f"there is no {show(word)} in that dated copy; " + (
        f"the newest that has it is {other}: restore {other} {shell_word(word)}" if other else
        f"it has: {', '.join(sorted(map(show, manifest.header['sources'])))}; {look}")


def select(manifest: Manifest, wish: Wish, set_folder: Folder) -> Selection:
    """Read which paths, names and patterns a person wants. Raises UsageError for one that nothing matches, before anything is made.

    A word that is the path of something is no pattern; one without a slash that is none is a name at any depth.
    """
    words = wish.paths
    wishes = [sought(slashes(word), manifest.header["sources"], IGNORE_CASE) for word in words]
    spelt, matched = {one.path: False for one in wishes}, {one.path: set() for one in wishes}  # type: Dict[str, bool], Dict[str, Set[str]]
    wild = [one for one in wishes if one.is_wild or one.anywhere]
    for block in read_blocks(manifest.lines()) if wishes else ():
        for path, is_folder in itertools.chain([(block.path, True)], (
                (f"{block.path}/{name}" if block.path else name, False) for name in block.entries)):
            if path in spelt:
                spelt[path] = True
            for one in wild:
                if one.matches(path, is_folder):
                    matched[one.path].add(path if is_folder else block.path)
    for one, word in zip(wishes, words):
        if not spelt[one.path] and not matched[one.path]:
            raise UsageError(not_in_copy(one, word, manifest, set_folder, wish.where))
    patterns = [one for one in wild if not spelt[one.path]]
    ways = {way for one in patterns for folder in matched[one.path] for way in (folder, *folders_above(folder))}
    return Selection([one.path for one in wishes if spelt[one.path]], patterns, ways)


@contextlib.contextmanager
def opening_target(said: str) -> Iterator[None]:
    """Turn a failure to make or open the folder that files are restored to into a sentence."""
    try:
        yield
    except OSError as err:
        cure = refusal_cure(err)
        raise TargetError(f"{said} cannot be made or opened ({reason(err)}); {cure + ', or ' if cure else ''}take another place "
                          "with --to") from err


def find_target(wish: Wish, drive: Drive, set_name: str) -> Optional[Folder]:
    """Open the folder that files are restored to; None where it is still to be made. It must be new or empty unless merging.

    Raises UsageError, TargetError.
    """
    where, said = whole_path(wish.target), show(wish.target)
    sets = {set_name, *list_sets(drive.root)[0]}
    if where == drive.path or any(is_inside(where, join_path(drive.path, one)) for one in sets):
        raise UsageError(f"{said} lies among the dated copies, which must stay as they are; take another place with --to")
    if leads_nowhere(wish.target):
        raise TargetError(f"{said} is a link that leads nowhere; take another place with --to")
    with opening_target(said):
        info = stat_path(where)
        if info is not None and not is_folder(info):
            raise UsageError(f"{said} is a file; name a folder with --to")
        if info is not None and not wish.merge and Folder.top(where).names():
            raise UsageError(f"{said} is not empty; take a new folder with --to, or add --merge to restore into this one "
                             "(what differs there is set aside under a dated name)")
        return None if info is None else Folder.top(where)


def make_target(wish: Wish, drive: Drive, set_name: str) -> "Folder":
    """Open the folder that files are restored to, and make it where it is not there. Raises UsageError, TargetError."""
    target = find_target(wish, drive, set_name)
    if target is None:
        with opening_target(show(wish.target)):
            make_folders(whole_path(wish.target))
            target = Folder.top(whole_path(wish.target))
    return target


@contextlib.contextmanager
def proved_list(drive: Drive, set_folder: Folder, name: str) -> Iterator[Manifest]:
    """Open the list of a dated copy; one that is damaged becomes a sentence, unless the drive went away. Raises DamagedCopy."""
    try:
        with load_manifest(set_folder, name) as manifest:
            yield manifest
    except ManifestDamaged as err:
        drive.check()
        raise DamagedCopy(f"the list of {name} is damaged ({err}) and so is its second list: nothing can be proved; take "
                          "another date or, to have the files as they lie there, copy the folder itself") from err


def restore(drive: Drive, set_name: str, wish: Wish, expect: Expect) -> Restored:
    """Give files of a dated copy back below a new folder (or, merging, one that exists).

    Paths are as in the copy or as they were on the computer. Raises UsageError, TargetError, DriveError.
    """
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)
        with contextlib.ExitStack() as opened:
            manifest = opened.enter_context(proved_list(drive, set_folder, wish.snapshot))
            far = is_far(drive.path) or is_far(wish.target)
            jobs = worker_count(wish.jobs, far)
            pulse = new_pulse(expect(0, 0 if wish.paths else int(manifest.end["bytes"])), jobs)
            selection = select(manifest, wish, set_folder)
            target = make_target(wish, drive, set_name)
            workers = opened.enter_context(Workers(jobs, pulse, functools.partial(give_back, pulse), far))
            run = Restoration(set_folder, target, wish, selection, workers)
            run.run(read_blocks(manifest.lines()))
        if run.landing.findings:
            drive.check()
        done = run.landing
        return Restored(wish.target, done.files, done.bytes, done.findings, done.notes, done.set_aside)


class Planned(NamedTuple):
    """What a restore would do: files and bytes of each source, what is there already or would be set aside, the room that it has."""

    path: str
    sources: Mapping[str, Tuple[int, int]]
    there: int
    set_aside: Sequence[str]
    room: int                        # bytes that would be written
    free: int
    notes: Notes
    paths: Sequence[str]             # of what would be written; no more of them than were asked for
    written: int                     # how many entries that is in all


class Foresight(Caveats):
    """Goes through what a restore would write, and looks at what is in the target; writes nothing. It keeps `most` paths of that."""

    def __init__(self, wish: Wish, target: Optional[Folder], pulse: Pulse, most: int) -> None:
        super().__init__()
        self.wish, self.pulse, self.most = wish, pulse, most
        self.paths: List[str] = []
        self.written = 0
        self.trail = Trail(target) if target and wish.merge else None
        self.absent = ""                 # with a slash behind it: a folder that the target does not have
        self.sources: Dict[str, Tuple[int, int]] = {}
        self.there = self.room = 0
        self.set_aside: List[str] = []
        self.groups: Set[Tuple[str, ...]] = set()
        self.place = existing_folder(whole_path(wish.target))
        self.largest, self.portable = largest_file(self.place), takes_portable_names(self.place)

    def run(self, manifest: Manifest, selection: Selection) -> None:
        """Go through everything that is wanted. Raises ManifestDamaged, TargetError."""
        for block in read_blocks(manifest.lines()):
            if not selection.enters(block.path):
                continue
            if block.line.startswith(SKIPPED_DIR_LINE):
                self.note_skipped(block.path, block.line)
                continue
            if block.path:
                self.enter_kept(block.path, parse_keywords(block.line))
                self._try_name(block.path)
            with opening_target(show(join_path(self.wish.target, block.path))):
                here = self._here(block.path)
                for name, known in block.entries.items():
                    path = f"{block.path}/{name}" if block.path else name
                    if selection.wants(path):
                        self._look(here, path, known)
            self.pulse.tell()

    def _here(self, path: str) -> Optional[Folder]:
        """Open a folder of the target; None where it is not there, and if something else is in its place, that would be set aside."""
        if self.trail is None or (self.absent and path.startswith(self.absent)):
            return None
        *above, name = path.split("/")
        try:
            return self.trail.at([*above, name] if path else ())
        except (FileNotFoundError, NotADirectoryError):
            self.absent = path + "/"
            if self.trail.at(above).has(name):
                self.set_aside.append(path)
            return None

    def _look(self, here: Optional[Folder], path: str, known: Known) -> None:
        """Look at what is not a folder."""
        if known.line.startswith("# type=skipped "):
            self.note_skipped(path, known.line)
            return
        words, name = parse_keywords(known.line), path.rpartition("/")[2]
        self.note_kept(path, words)
        self._try_name(path)
        size, key = number(words, "size") if known.hash_line else 0, link_group(words, known)
        if self.largest and size > self.largest:
            self.notes.append(Note(path, "the disk that files are restored to holds no file of this size; take another place with --to"))
        size = 0 if key in self.groups else size     # one more name of a file costs no room
        self.groups.update([key] if key else ())
        if known.hash_line:
            files, total = self.sources.get(path.partition("/")[0], (0, 0))
            self.sources[path.partition("/")[0]] = files + 1, total + size
        if here and here.has(name):
            if self._is_same(here, name, words, known):
                self.there += 1
                return
            self.set_aside.append(path)
        self.room += size
        self.written += 1
        if len(self.paths) < self.most:
            self.paths.append(path)

    def _is_same(self, here: Folder, name: str, words: Mapping[str, str], known: Known) -> bool:
        """Tell whether what is there is what the dated copy has; only what has the same size is read."""
        if not known.hash_line:
            return same_entry(here, name, words)
        return here.stat(name).st_size == number(words, "size") and same_content(
            here, name, parse_hash_line(known.hash_line)[0], self.pulse)

    def _try_name(self, path: str) -> None:
        """Note a name that the target is known to refuse."""
        name = path.rpartition("/")[2]
        if storable(name, Naming.PORTABLE if self.portable else Naming.BYTES) != name:
            self.notes.append(Note(path, NO_SUCH_NAME_HERE))


def plan_restore(drive: Drive, set_name: str, wish: Wish, expect: Expect, most: int) -> Planned:
    """Say what a restore would do, with `most` paths, and write nothing. Raises UsageError, TargetError, DriveError."""
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)
        with proved_list(drive, set_folder, wish.snapshot) as manifest:
            selection = select(manifest, wish, set_folder)
            look = Foresight(wish, find_target(wish, drive, set_name), new_pulse(expect(0, 0), 1), most)
            look.run(manifest, selection)
        return Planned(wish.target, look.sources, look.there, look.set_aside, look.room, free_space(look.place)[0], look.notes,
                       look.paths, look.written)


# -- finding things --


class Version:
    """One content that a path had: what it is, in which of the dated copies looked through it is (a bit for each), its newest entry."""

    __slots__ = ("dates", "entry", "kind", "what")

    def __init__(self, kind: str, what: str) -> None:
        self.kind, self.what = kind, what        # of a file its checksum, of a link where it leads, of what was skipped why
        self.dates, self.entry = 0, ""

    @property
    def last(self) -> int:
        """Give the number of the newest dated copy that has it."""
        return self.dates.bit_length() - 1

    @property
    def first(self) -> int:
        """Give the number of the oldest dated copy that has it."""
        return (self.dates & -self.dates).bit_length() - 1

    @property
    def words(self) -> Mapping[str, str]:
        """Give its metadata, as its newest dated copy has it."""
        return parse_keywords(self.entry.partition("\n")[0])


class Hunt:
    """Looks for what a person seeks in one dated copy after the other; memory holds what was found.

    Most entries of a dated copy are those of the one before, letter by letter: they are looked up, not read.
    """

    def __init__(self, word: str) -> None:
        self.word = word
        self.found: Dict[str, Dict[Tuple[str, str], Version]] = {}       # of each path, by kind and content
        self.by_entry: Dict[str, Version] = {}

    def search(self, manifest: Manifest, number: int, watch: Callable[[], None]) -> None:
        """Look through the dated copy of that number. Raises UsageError and, before anything is noted, ManifestDamaged."""
        seeks, met = sought(self.word, manifest.header["sources"], IGNORE_CASE), []  # type: Sought, List[Tuple[Version, str]]
        for piece in manifest.entries(MIB):
            watch()
            for entry in entries_with(piece, seeks.hint):
                version = self.by_entry.get(entry) or self._meet(entry, seeks)
                if version:
                    met.append((version, entry))
        for version, entry in met:
            version.dates |= 1 << number
            version.entry = entry

    def _meet(self, entry: str, seeks: Sought) -> Optional[Version]:
        """Read an entry that was not met before; None where it is not what is sought."""
        known = known_of(entry)
        path = original_path(known)
        is_dir = entry.startswith((DIR_LINE, SKIPPED_DIR_LINE))
        if not seeks.is_spelt(path, is_dir) and not seeks.matches(path, is_dir):
            return None
        plain_parts(path)
        words = parse_keywords(known.line)
        kind, what = words["type"], unescape(words.get("link", words.get("why", "")))
        if kind != "skipped":
            meta_of(words)
        if known.hash_line:
            what, stored = parse_hash_line(known.hash_line)
            stored_place(stored, "")
            number(words, "size")
        version = self.found.setdefault(path, {}).setdefault((kind, what), Version(kind, what))
        self.by_entry[entry] = version
        return version


class Searched(NamedTuple):
    """What was found in a set: the dated copies that were looked through, by their numbers, and what each path was in them."""

    set_name: str
    snapshots: Sequence[Snapshot]
    found: Mapping[str, Sequence[Version]]
    unreadable: Mapping[str, str]    # dated copies whose lists could not be read, and why
    bad: Mapping[str, int]           # checksums that are known to be damaged, as parse_damaged has them

    def is_gone(self, path: str) -> bool:
        """Tell whether the newest dated copy of the same source does not have a path any more."""
        last = max(one.last for one in self.found[path])
        alias = path.partition("/")[0]
        return any(one.sources.get(alias) == self.snapshots[last].sources.get(alias) for one in self.snapshots[last + 1:])

    def is_damaged(self, version: Version) -> bool:
        """Tell whether a check found the content damaged in the newest dated copy that has it."""
        return version.kind == "file" and self.bad.get(version.what, 0) >= self.snapshots[version.last].seq

    def place(self, version: Version) -> str:
        """Say where below the drive the newest copy of a file lies."""
        stored = parse_hash_line(known_of(version.entry).hash_line)[1]
        snapshot, parts = stored_place(stored, self.snapshots[version.last].name)
        return "/".join((self.set_name, snapshot, *parts))


def find_in_set(drive: Drive, set_name: str, word: str, expect: Expect) -> Searched:
    """Look through the lists of all dated copies of a set, within `drive.guarded()`.

    Raises UsageError, DamagedCopy where no list can be read, DriveError where the drive goes away meanwhile.
    """
    set_folder = drive.root.child(set_name)
    lock_for_reading(set_folder)
    there = survey(set_folder)
    bad = parse_damaged(read_text(set_folder, DAMAGED_LIST, 64 * MIB) or "")
    unreadable = {one.name: "its list and its second list are damaged" for one in there if one.state is State.DAMAGED}
    whole = [one for one in there if one.state is State.WHOLE]
    hunt, snapshots, done = Hunt(word), [], 0  # type: Hunt, List[Snapshot], int
    watch = expect(sum(int(one.end["files"]) for one in whole), 0)
    for one in whole:
        try:
            with load_manifest(set_folder, one.name) as manifest:
                hunt.search(manifest, len(snapshots), functools.partial(watch, done, 0))
            snapshots.append(one)
        except ManifestDamaged as err:
            unreadable[one.name] = str(err)
        done += int(one.end["files"])
    drive.check()  # one that went away meanwhile may look empty, or damaged
    if unreadable and not snapshots:
        raise no_list_readable(drive, set_name)
    versions = {path: sorted((one for one in found.values() if one.dates), key=lambda one: (one.first, one.last))
                for path, found in hunt.found.items()}
    return Searched(set_name, snapshots, {path: versions[path] for path in sorted(versions, key=name_bytes) if versions[path]},
                    unreadable, bad)


# -- comparing --


class Side(NamedTuple):
    """One of two sides that are compared: its folders, as often as wanted, and the key of what is only moved (0: it cannot be)."""

    blocks: Callable[[], Iterator[Block]]
    key: Callable[[Known], int]


Compare = Callable[[Known, Known], Optional[Tuple[Kind, str]]]


def content_key(known: Known) -> int:
    """Give a number for what stays of a file when it is moved: its content and, as many small ones are alike by chance, its time."""
    words = parse_keywords(known.line)
    return hash((parse_hash_line(known.hash_line)[0], "" if number(words, "size") >= MIB else words.get("time"))) or 1


def unread_key(known: Known) -> int:
    """Give a number for what stays of a file when it is moved within its disk, as far as is known without reading it."""
    words = parse_keywords(known.line)
    return hash((words.get("size"), words.get("time"), words["ino"])) or 1 if "ino" in words else 0


def size_of(known: Optional[Known]) -> int:
    """Give the size of a file by its line; 0 for anything else."""
    return number(parse_keywords(known.line), "size") if known and known.line.startswith(FILE_LINE) else 0


def folders_between(old: str, old_whole: str, new: str, new_whole: str) -> Tuple[str, str]:
    """Give the outermost folders that a file shows to have been moved with all that is in them: one is gone, the other new.

    >>> folders_between("a/b/c/x", "a/b", "d/c/x", "d")
    ('a/b', 'd')
    """
    found = "", ""
    while old_whole and new_whole and old.rpartition("/")[2] == new.rpartition("/")[2]:
        old, new = old.rpartition("/")[0], new.rpartition("/")[0]
        if not (old + "/").startswith(old_whole + "/") or not (new + "/").startswith(new_whole + "/"):
            break
        found = old, new
    return found


class MovedFiles:
    """Finds files that only one side has under their names, and the other under others, in 8 bytes for each that may be one."""

    def __init__(self, sides: Tuple[Side, Side], aliases: Collection[str], watch: Callable[[], None]) -> None:
        """Look through both sides."""
        self.sides = sides
        keys = array("q"), array("q")
        for pair in side_by_side(sides[0].blocks(), sides[1].blocks()):
            watch()
            for side, (mine, other) in enumerate((pair, pair[::-1])):
                if mine and mine.path.partition("/")[0] in (*aliases, ""):
                    alone = mine.entries.keys() - other.entries.keys() if other else mine.entries
                    keys[side].extend(self.key(side, mine.entries[name]) for name in alone if mine.path or name in aliases)
        gone, come = (array("q", sorted(side)) for side in keys)
        self.left: Tuple[Dict[int, int], Dict[int, int]] = {}, {}    # of each key how many files are still to be met
        for key in come:
            at = bisect.bisect_left(gone, key)
            if key and at < len(gone) and gone[at] == key:
                count = min(bisect.bisect_right(side, key) - bisect.bisect_left(side, key) for side in (gone, come))
                self.left[0][key] = self.left[1][key] = count
        self.met: Tuple[Dict[int, List[Tuple[str, str, int]]], Dict[int, List[Tuple[str, str, int]]]] = {}, {}

    def key(self, side: int, known: Known) -> int:
        """Give the key of a file; 0 for anything else."""
        return self.sides[side].key(known) if known.line.startswith(FILE_LINE) else 0

    def take(self, side: int, known: Known, path: str, whole: str, size: int) -> bool:
        """Tell whether a file that one side alone has was moved; `whole` is the outermost folder around it that is gone, or new."""
        key = self.key(side, known)
        if not self.left[side].get(key):
            return False
        self.left[side][key] -= 1
        self.met[side].setdefault(key, []).append((path, whole, size))
        return True

    def changes(self, each: bool) -> Iterator[Change]:
        """Tell what was moved; a folder that was moved with all its files in one line, unless `each` file is wanted."""
        folders: Dict[Tuple[str, str], List[Change]] = {}
        for key in self.met[0].keys() | self.met[1].keys():
            gone, come = (side.get(key, []) for side in self.met)
            for (old, old_whole, _), (new, new_whole, size) in zip(gone, come):
                between = ("", "") if each else folders_between(old, old_whole, new, new_whole)
                folders.setdefault(between, []).append(Change(Kind.MOVED, new, size, size, origin=old))
            # a source may change between two looks
            yield from (Change(Kind.REMOVED, path, size) for path, _, size in gone[len(come):])
            yield from (Change(Kind.ADDED, path, 0, size) for path, _, size in come[len(gone):])
        for (old, new), files in folders.items():
            if old and len(files) > 1:
                size = sum(one.after for one in files)
                yield Change(Kind.MOVED, new, size, size, "", old, len(files), True)
            else:
                yield from files


class OneSided:
    """A folder that only one side has, with what was met in it so far: files and bytes that are not moved, and whether others are."""

    def __init__(self, path: str, kind: Kind) -> None:
        self.path, self.kind, self.files, self.bytes, self.moved = path, kind, 0, 0, False

    def change(self) -> Optional[Change]:
        """Tell of the folder; None where all its files were moved."""
        if self.moved and not self.files:
            return None
        sizes = (self.bytes, 0) if self.kind is Kind.REMOVED else (0, self.bytes)
        return Change(self.kind, self.path, *sizes, files=self.files, is_folder=True)


class Differences:
    """Compares two sides, folder by folder; memory holds a folder of each, and what differs.

    What is new or gone as a whole folder is one change, unless `each` file is wanted.
    """

    def __init__(self, sides: Tuple[Side, Side], aliases: Collection[str], compare: Compare, each: bool) -> None:
        self.sides, self.aliases, self.compare, self.each = sides, frozenset(aliases), compare, each
        self.changes: List[Change] = []
        self.whole: Optional[OneSided] = None
        self.alone: List[Tuple[str, Dict[str, int]]] = [("", {})]    # of the folders on the way: which names one side alone has
        self.unread: Set[str] = set()
        self.unread_folder = self.kept_folder = ""                   # with a slash behind it

    def run(self, watch: Callable[[], None]) -> List[Change]:
        """Find all that differs. Raises ManifestDamaged."""
        moved = MovedFiles(self.sides, self.aliases, watch)
        for old, new in side_by_side(self.sides[0].blocks(), self.sides[1].blocks()):
            watch()
            path = (old or new or Block("", "", {})).path
            if path.partition("/")[0] not in self.aliases and path:
                continue
            self._leave(path)
            if path and not (self.unread_folder and path.startswith(self.unread_folder)):
                self._folder(path, old, new)
            if self.unread_folder and (path + "/").startswith(self.unread_folder):
                continue
            before, after = (one.entries if one else {} for one in (old, new))
            for name in before.keys() | after.keys() if before != after else ():
                if path or name in self.aliases:
                    self._entry(f"{path}/{name}" if path else name, before.get(name), after.get(name), moved)
        self._leave("")
        self.changes += moved.changes(self.each)
        return sorted(self.changes, key=lambda one: (folder_key(one.path), one.kind.value))

    def _leave(self, path: str) -> None:
        """End with the folders in which a path does not lie."""
        while self.alone[-1][0] and not path.startswith(self.alone[-1][0] + "/"):
            self.alone.pop()
        self.unread_folder = self.unread_folder if path.startswith(self.unread_folder) else ""
        self.kept_folder = self.kept_folder if path.startswith(self.kept_folder) else ""
        if self.whole and not path.startswith(self.whole.path + "/"):
            self.changes += filter(None, [self.whole.change()])
            self.whole = None

    def _folder(self, path: str, old: Optional[Block], new: Optional[Block]) -> None:
        """Compare a folder itself."""
        lines = [one.line if one else "" for one in (old, new)]
        if any(line.startswith(SKIPPED_DIR_LINE) for line in lines) or path in self.unread:
            self.unread_folder = path + "/"
            if path not in self.unread:
                self._unread(path, lines)
        elif not old or not new:
            self._one_sided(path, Kind.REMOVED if old else Kind.ADDED)
        else:
            found = self.compare(Known(lines[0]), Known(lines[1])) if lines[0] != lines[1] else None
            if found and not (found[0] is Kind.UNREAD and self.kept_folder):
                self.changes.append(Change(found[0], path, detail=found[1], files=0, is_folder=True))
            if not self.kept_folder and " kept=" in lines[1]:
                self.kept_folder = path + "/"
        self.alone.append((path, {}))

    def _one_sided(self, path: str, kind: Kind) -> None:
        """Begin with a folder that the other side does not have, or has as something else."""
        parent, _, name = path.rpartition("/")
        at = self.alone[-1][1].get(name) if self.alone[-1][0] == parent else None
        if at is not None:
            self.changes[at] = self.changes[at]._replace(
                kind=Kind.RETYPED, detail="a folder then" if kind is Kind.REMOVED else "a folder now")
        if self.each:
            self.changes.append(Change(kind, path, files=0, is_folder=True))
        elif not self.whole:
            self.whole = OneSided(path, kind)

    def _unread(self, path: str, lines: Sequence[str]) -> None:
        """Note what could not be read on one side, by the lines of both."""
        skipped = [line.startswith("# type=skipped ") for line in lines]
        self.unread.add(path)
        if skipped != [True, True]:
            why = unescape(parse_keywords(lines[skipped.index(True)]).get("why", ""))
            self.changes.append(Change(Kind.UNREAD, path, detail=f"could not be read {'then' if skipped[0] else 'now'}: {show(why)}"))

    def _entry(self, path: str, was: Optional[Known], now: Optional[Known], moved: MovedFiles) -> None:
        """Compare what is no folder; one side may not have it."""
        lines, sizes = [one.line if one else "" for one in (was, now)], (size_of(was), size_of(now))
        if any(line.startswith("# type=skipped ") for line in lines):
            self._unread(path, lines)
        elif was and now:
            found = self.compare(was, now)
            if found and not (found[0] is Kind.UNREAD and self.kept_folder):
                self.changes.append(Change(found[0], path, *sizes, detail=found[1]))
        elif moved.take(int(was is None), was or now or Known(""), path, self.whole.path if self.whole else "", sum(sizes)):
            if self.whole:
                self.whole.moved = True
        elif self.whole:
            self.whole.files, self.whole.bytes = self.whole.files + 1, self.whole.bytes + sum(sizes)
        else:
            self.alone[-1][1][path.rpartition("/")[2]] = len(self.changes)
            self.changes.append(Change(Kind.REMOVED if was else Kind.ADDED, path, *sizes))


class Compared(NamedTuple):
    """The result of `diff`: what differs of the sources that both sides have, those that only one has, and what was not looked at."""

    changes: Sequence[Change]
    only_old: Sequence[str]
    only_new: Sequence[str]


def manifest_side(manifest: Manifest) -> Side:
    """Give a dated copy as one side of a comparison."""
    return Side(lambda: read_blocks(manifest.lines()), content_key)


def compare_dates(drive: Drive, set_name: str, names: Tuple[str, str], each: bool, expect: Expect) -> Compared:
    """Compare two dated copies of a set by their lists; no file is read. Raises UsageError, DamagedCopy, DriveError."""
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)
        with proved_list(drive, set_folder, names[0]) as old, proved_list(drive, set_folder, names[1]) as new:
            before, after = old.header["sources"].keys(), new.header["sources"].keys()
            if not before & after:
                raise UsageError(f"{names[0]} and {names[1]} have no source in common: {', '.join(map(show, sorted(before)))} here, "
                                 f"{', '.join(map(show, sorted(after)))} there")
            run = Differences((manifest_side(old), manifest_side(new)), before & after, compare_entries, each)
            watch = expect(0, 0)
            changes = run.run(lambda: watch(0, 0))
        return Compared(changes, sorted(before - after), sorted(after - before))


class Origins(NamedTuple):
    """The sources that a dated copy is compared with, what of them is left out, and whether their files are to be read."""

    sources: Sequence[Source]
    rules: Rules
    checksum: bool = False


class SourcesNow:
    """The sources as they are now, in the form of a list's folders; `pulse` is for files that are read."""

    def __init__(self, origins: Origins, closed: Collection[Stamp], racy_after_ns: int, pulse: Pulse) -> None:
        self.sources, self.rules, self.checksum = origins
        self.closed, self.racy_after_ns, self.pulse = closed, racy_after_ns, pulse
        self.singles: Dict[str, Tuple[Folder, str]] = {}     # of sources that are files where they are
        self.folder: Optional[Folder] = None                 # of the block that was given last

    def blocks(self) -> Iterator[Block]:
        """Go through the sources. Raises SourceGone."""
        for source in (one for one in self.sources if not one.is_folder):
            self.singles[source.alias] = from_top(source, Folder.top, parent_path(source.path)), path_parts(source.path)[-1]
        found = {source.alias: self._entry(*self.singles[source.alias], source.alias, from_top(source, stat_path, source.path))
                 for source in self.sources if not source.is_folder}
        yield Block("", "", {alias: known for alias, known in found.items() if known})
        for source in sorted((one for one in self.sources if one.is_folder), key=lambda one: name_bytes(one.alias)):
            try:
                yield from self._folders(source)
            except OSError as err:
                raise SourceGone(unreadable_source(source.path, err)) from err

    def _folders(self, source: Source) -> Iterator[Block]:
        """Go through a source that is a folder. Raises SourceGone, OSError."""
        unseen: Set[str] = set()
        for visit in walk(Folder.top(source.path), self.rules, self.closed):
            path = "/".join((source.alias, *visit.parts))
            if visit.error and not visit.parts:
                raise SourceGone(f"the source {show(source.path)} cannot be read ({visit.error.why}); run as a user who may read it")
            if visit.error and path not in unseen:
                yield Block(path, f"{SKIPPED_DIR_LINE}why={escape(visit.error.why)} path={escape(path)}", {})
            elif visit.folder:
                unseen.update(f"{path}/{name}" for name in visit.unreadable)
                entries = {name: self._entry(visit.folder, name, f"{path}/{name}", info, visit.unreadable.get(name))
                           for name, info in visit.files}
                self.folder = visit.folder
                yield Block(path, dir_line(path, visit.info, {}), {name: known for name, known in entries.items() if known})

    def _entry(self, folder: Folder, name: str, path: str, info: Optional[os.stat_result], why: Optional[OSError] = None
               ) -> Optional[Known]:
        """Give the line of what is no folder; None for a socket, and for what vanished."""
        if info is None:
            return Known(f"# type=skipped why={escape(reason(why))} path={escape(path)}") if why else None
        if stat.S_ISREG(info.st_mode):
            return Known(file_line(info))
        kind = kind_of_special(info)
        try:
            words = f" link={escape(read_link(folder, name))}" if kind == "link" else ""
        except OSError as err:
            return Known(f"# type=skipped why={escape(reason(err))} path={escape(path)}")
        words = device_words(info) if kind in ("char", "block") else words
        return Known(special_line(kind, path, info, words)) if kind else None

    def compare(self, old: Known, new: Known) -> Optional[Tuple[Kind, str]]:
        """Say how an entry of a source differs from that of a dated copy; None where it does not."""
        if not old.line.startswith(FILE_LINE) or not new.line.startswith(FILE_LINE):
            return compare_entries(Known(as_seen(old.line)), new)
        then, now = parse_keywords(as_seen(old.line)), parse_keywords(new.line)
        differences = metadata_differences(then, now)
        same = compare_file(new.line, old, self.racy_after_ns)
        if then.get("size") != now["size"]:
            return Kind.CHANGED, ""
        if self.checksum:
            try:
                same = Same.UNCHANGED if self._digest(original_path(old)) == parse_hash_line(old.hash_line)[0] else Same.CHANGED
            except OSError as err:
                return Kind.UNREAD, f"could not be read now: {reason(err)}"
        if same is Same.UNCHANGED or (same is Same.DOUBTFUL and then.get("time") == now["time"] and differences):
            return (Kind.METADATA, differences) if differences else None
        if self.checksum:
            return Kind.CHANGED, ""
        touched = "its time changed; " if then.get("time") != now["time"] else ""
        return Kind.DOUBTFUL, f"{touched}only reading would tell: --checksum"

    def _digest(self, path: str) -> str:
        """Read a file of the folder at hand, or a source that is a file. Raises OSError."""
        folder, name = self.singles.get(path, (self.folder, path.rpartition("/")[2]))
        return hash_file(folder, name, self.pulse) if folder else ""


def compare_with_sources(drive: Drive, set_name: str, name: str, origins: Origins, each: bool, expect: Expect) -> Compared:
    """Compare a dated copy with its sources as they are now. Raises SourceGone, UsageError, DamagedCopy, DriveError."""
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)
        with proved_list(drive, set_folder, name) as manifest:
            taken = parse_time(manifest.header["taken"])
            pulse = new_pulse(expect(0, 0), 1)
            racy_after_ns = int(taken.timestamp()) * 10**9 - RACY_NS if taken else 0
            here, aliases = SourcesNow(origins, closed_to_walks(drive), racy_after_ns, pulse), {one.alias for one in origins.sources}
            old = manifest_side(manifest)._replace(key=unread_key)
            changes = Differences((old, Side(here.blocks, unread_key)), aliases, here.compare, each).run(pulse.tell)
        return Compared(changes, sorted(manifest.header["sources"].keys() - aliases), ())


# -- why something is copied, or is not --


class Ruling(NamedTuple):
    """What the rules make of a path of a source: whether it is copied, why, and where the rule stands that decides."""

    source: Source
    path: str                    # as in the copy
    included: bool
    why: str
    where: str = ""
    is_there: bool = True


RULE_KEYS = ("exclude-caches", "exclude-if-present", "one-file-system")


def rule_of_folder(folder: Folder, name: str, top: os.stat_result, rules: Rules, where: Mapping[str, str]) -> Tuple[str, str]:
    """Say why something is left out because of the folder that it lies in, and by which rule; nothing where it is not. Raises OSError."""
    if rules.one_file_system and folder.own_stat().st_dev != top.st_dev:
        return f"{show(folder.path)} is on another disk than the source", where["one-file-system"]
    found = folder.scan()
    tags = tags_in(folder, found, rules)
    if not tags or (name in tags and not any(one == name and is_folder(info) for one, info in found)):
        return "", ""
    key = "exclude-if-present" if tags[0] in rules.if_present else "exclude-caches"
    return f"{show(folder.path)} has an entry {quoted(tags[0])}, and what is in such a folder is left out", where[key]


def rule_of_entry(folder: Folder, name: str, info: Optional[os.stat_result], is_last: bool, closed: Collection[Stamp]) -> str:
    """Say why something is not copied for what it is, or that lies behind it; nothing where it is."""
    if info is None:
        return ""
    path = show(join_path(folder.path, name))
    if is_folder(info):
        return f"{path} is the drive, or holds dated copies" if stamp(info) in closed else ""
    if not stat.S_ISREG(info.st_mode) and kind_of_special(info) is None:
        return f"{path} is a socket, which holds nothing"
    if is_last:
        return ""
    return f"{path} is a symbolic link: it is copied as such, and what it leads to is not" if stat.S_ISLNK(info.st_mode) else (
        f"{path} is no folder")


class Descent:
    """Goes down to a path of a source, folder by folder, and asks the rules at each step, as `walk` does."""

    def __init__(self, source: Source, rules: Rules, where: Mapping[str, str], closed: Collection[Stamp]) -> None:
        """Begin at the top; `where` says where the rules but the patterns stand. Raises SourceGone."""
        self.source, self.rules, self.where, self.closed = source, rules, where, closed
        self.folder: Optional[Folder] = from_top(source, Folder.top, source.path)    # None: it is not there
        self.top = from_top(source, Folder.own_stat, self.folder)
        self.info: Optional[os.stat_result] = self.top

    def why_not(self, parts: Sequence[str], is_last: bool) -> Tuple[str, str]:
        """Say why the next step is not copied, and where that rule stands; nothing where it is."""
        name, folder, self.info = parts[-1], self.folder, None
        if folder:
            try:
                with contextlib.suppress(FileNotFoundError):
                    self.info = folder.stat(name)
                why = rule_of_folder(folder, name, self.top, self.rules, self.where)
            except OSError as err:
                return f"{show(folder.path)} cannot be read ({reason(err)})", ""
            if why[0]:
                return why
        is_dir = is_folder(self.info) if self.info else not is_last
        pattern = deciding("/".join(parts), is_dir, self.rules.patterns)
        if pattern and not pattern.includes:
            what = "" if is_last else f" {show('/'.join(parts))}, and all that is in that is left out"
            return f"the pattern {quoted(pattern.text)} matches{what}", pattern.where
        self.folder = folder.child(name) if folder and self.info and is_dir and not is_last else None
        return rule_of_entry(folder, name, self.info, is_last, self.closed) if folder else "", ""


def rule_on(source: Source, parts: Sequence[str], rules: Rules, where: Mapping[str, str], closed: Collection[Stamp]) -> Ruling:
    """Say what becomes of a path of a source; `where` says where the rules but the patterns stand. Raises SourceGone."""
    path = "/".join((source.alias, *parts))
    if not source.is_folder or not parts:
        return Ruling(source, path, True, "it is a source itself, and no rule leaves out a source", "", stat_path(source.path) is not None)
    steps = Descent(source, rules, where, closed)
    for at in range(1, len(parts) + 1):
        why, place = steps.why_not(parts[:at], at == len(parts))
        if why:
            return Ruling(source, path, False, why, place, steps.info is not None)
    pattern = deciding("/".join(parts), steps.info is not None and is_folder(steps.info), rules.patterns)
    why, place = (f"the pattern {quoted(pattern.text)} takes it in", pattern.where) if pattern else ("no rule leaves it out", "")
    return Ruling(source, path, True, why, place, steps.info is not None)


class Holding(NamedTuple):
    """Whether the last dated copy on a drive has a path: its entry, or why it could not be read then."""

    label: str
    drive: str
    set_name: str
    snapshot: str
    entry: Optional[Known]
    skipped: str = ""
    damaged: bool = False        # found so by a check


def entry_of(manifest: Manifest, path: str) -> Tuple[Optional[Known], str]:
    """Give the entry of a path, and why it, or a folder around it, could not be read at that time. Raises ManifestDamaged."""
    skipped, folders, hint = "", {path, *folders_above(path)}, plain_part(path)
    for piece in manifest.entries(MIB):
        for entry in itertools.chain(entries_with(piece, hint), entries_with(piece, SKIPPED_DIR_LINE) if folders else ()):
            known = known_of(entry)
            found = original_path(known)
            if found in folders and known.line.startswith("# type=skipped ") and (found == path or " of=dir " in known.line):
                skipped = unescape(parse_keywords(known.line).get("why", ""))
            elif found == path:
                return known, ""
    return None, skipped


def last_holding(drive: Drive, set_name: str, path: str) -> Optional[Holding]:
    """Look whether the newest dated copy of a source has a path; None where there is no copy of it. Raises DamagedCopy, DriveError."""
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)
        newest = newest_whole(one for one in survey(set_folder) if path.partition("/")[0] in one.sources)
        bad = parse_damaged(read_text(set_folder, DAMAGED_LIST, 64 * MIB) or "")
        drive.check()
        if newest is None:
            return None
        with proved_list(drive, set_folder, newest.name) as manifest:
            entry, skipped = entry_of(manifest, path)
        digest = parse_hash_line(entry.hash_line)[0] if entry and entry.hash_line else ""
        return Holding(drive.label, drive.path, set_name, newest.name, entry, skipped, bad.get(digest, 0) >= newest.seq)


# -- repairing --

REPAIR = "repair"            # whose passing names stand in the quarantine
NO_BYTES = hashlib.sha256().hexdigest()      # the checksum of every empty file
NO_GOOD_COPY = "no good copy of it was found"
CONTRADICTION = "two lists contradict each other about what belongs there, and one of them is wrong"


class Shelf(NamedTuple):
    """A set in which good copies are looked for: its folder, and what people call it (nothing: the set itself that is repaired)."""

    folder: Folder
    label: str = ""


class Candidate(NamedTuple):
    """A file that may have the content which is wanted; only its bytes can tell."""

    digest: str
    size: int
    top: Optional[Folder]            # None: there are no bytes to be looked for
    path: str                        # below it
    origin: str                      # in words
    kin: Tuple[Any, ...] = ()        # what it has in common with what shared its file; nothing outside of the set itself


def kinship(one: Snapshot, path: str, known: Known) -> Tuple[Any, ...]:
    """Give what those files of a set have in common that are one stored file: names of a hard-linked one, or the same one in several dates.

    Dates before and after `--fresh` share nothing. Raises ManifestDamaged.
    """
    words = parse_keywords(known.line)
    meta = meta_of(words)
    return shares_since(one.header), link_group(words, known) or path, meta[:4], tuple(sorted(meta.xattrs.items()))


class Spot:
    """A place in a set where something is damaged or missing: what belongs there, and which dates need it, under which path."""

    def __init__(self, finding: Finding, snapshot: str, parts: Sequence[str], digest: str) -> None:
        self.finding, self.snapshot, self.parts, self.digest = finding, snapshot, tuple(parts), digest
        self.line, self.seq, self.kin = "", -1, ()  # type: str, int, Tuple[Any, ...] # of the newest date that needs it
        self.needed_by: List[Tuple[str, str]] = []

    @property
    def place(self) -> str:
        """Give the path from the set on."""
        return "/".join((self.snapshot, *self.parts))

    def note(self, one: Snapshot, path: str, line: str) -> None:
        """Note that a date needs it, and what that date's list says of it."""
        self.needed_by.append((one.name, path))
        if one.seq > self.seq:
            self.line, self.seq = line, one.seq
            with contextlib.suppress(ManifestDamaged):
                self.kin = kinship(one, path, Known(line, hash_line(self.digest, path))) if self.digest else ()


class Healed(NamedTuple):
    """What was put right, or can be: where it lies, whether it is a file, the dates that have it, where its content is from."""

    place: str
    is_file: bool
    dates: Sequence[str]
    origin: str


class Unhealed(NamedTuple):
    """What was not put right, and why."""

    place: str
    dates: Sequence[str]
    why: str


class Repaired(NamedTuple):
    """What a repair found and did."""

    checked: Checked
    healed: Sequence[Healed]
    left: Sequence[Unhealed]
    good: Sequence[str]              # places that were damaged when they were read first, and are good now
    lists: Sequence[str]             # dates whose list was put back
    twins: Sequence[str]             # dates whose second list was made anew
    searched: Sequence[str]          # where good copies were looked for
    set_apart: int                   # how many things lie in the quarantine now that did not before


class Claim(NamedTuple):
    """What a list says of a place in the set: the checksum that belongs there; nothing for what is no file."""

    place: str
    digest: str
    is_folder: bool = False


def file_claim(hashed: str, name: str) -> Claim:
    """Read what a line of checksums in the list of a date says. Raises ManifestDamaged."""
    digest, path = parse_hash_line(hashed)
    date, parts = stored_place(path, name)
    return Claim("/".join((date, *parts)), digest)


def own_claims(set_folder: Folder, name: str) -> Iterator[Claim]:
    """Give what the list of a date says of all places. Raises ManifestDamaged."""
    with load_manifest(set_folder, name) as manifest:
        for block in read_blocks(manifest.lines()):
            stored = "/".join((name, *plain_parts(stored_path_of(block.line)))) if block.path else name
            if block.line.startswith(DIR_LINE):
                yield Claim(stored, "", is_folder=True)
            for last, known in block.entries.items():
                if known.hash_line:
                    yield file_claim(known.hash_line, name)
                elif not known.line.startswith("# type=skipped "):
                    yield Claim(f"{stored}/{last}", "")


def claims_on(set_folder: Folder, name: str, others: Sequence[str]) -> Iterator[Claim]:
    """Give what the list of a date says of files that lie in other ones. Raises ManifestDamaged."""
    hints = [f"../{other}/" for other in others]
    with load_manifest(set_folder, name) as manifest:
        for entries in manifest.entries():
            if any(hint in entries for hint in hints):
                yield from (file_claim(hashed, name) for _line, hashed, _digest in FILE_LINES.findall(entries))


class Diagnosis:
    """Says where in a set the things lie that a verification found damaged, what they must be, and who needs them."""

    def __init__(self, set_folder: Folder, snapshots: Iterable[Snapshot], checked: Checked) -> None:
        self.set_folder, self.checked = set_folder, checked
        self.whole = [one for one in reversed(list(snapshots)) if one.state is State.WHOLE]     # the newest first
        self.spots: Dict[str, Spot] = {}         # by place
        self.hopeless: List[Unhealed] = []
        self.shared: Dict[Tuple[str, int], Spot] = {}    # by checksum and inode: what has further names

    def run(self) -> None:
        """Find all spots. Raises OSError where the drive fails."""
        found: Dict[str, Dict[str, Finding]] = {}
        for one in self.checked.damage:
            if one.kind is not Found.MANIFEST and one.path:
                found.setdefault(one.snapshot, {})[one.path] = one
            elif one.kind is not Found.MANIFEST:
                self.hopeless.append(Unhealed(one.snapshot, (one.snapshot,), one.detail))
        for snapshot in self.whole:
            if snapshot.name in found:
                with contextlib.suppress(ManifestDamaged):
                    self._read(snapshot, found[snapshot.name])
        for name, findings in found.items():
            self.hopeless += [Unhealed(f"{name}/{path}", (name,), one.detail or one.kind.value) for path, one in findings.items()]
        others = [one for one in self.whole if one.name not in self.checked.snapshots]
        wanted = {spot.digest for spot in self.spots.values() if spot.digest}
        if others and wanted:
            self._note_shared()
            for snapshot in others:
                with contextlib.suppress(ManifestDamaged):
                    self._read_other(snapshot, wanted)
        self._leave_contradicted()

    def _read(self, snapshot: Snapshot, findings: Dict[str, Finding]) -> None:
        """Look up what was found in one date; each finding that has its place is taken out of `findings`."""
        folders: Dict[str, List[str]] = {}
        for path in findings:
            folders.setdefault(path.rpartition("/")[0], []).append(path)
        with load_manifest(self.set_folder, snapshot.name) as manifest:
            for block in read_blocks(manifest.lines()):
                stored = plain_parts(stored_path_of(block.line)) if block.path else ()
                if block.path in findings and findings[block.path].kind is Found.MISSING:
                    self._add(findings.pop(block.path), snapshot, block.path, stored, Known(block.line))
                for path in folders.get(block.path, ()):
                    known = block.entries.get(path.rpartition("/")[2])
                    if known:
                        self._add(findings.pop(path), snapshot, path, (*stored, path.rpartition("/")[2]), known)

    def _add(self, finding: Finding, snapshot: Snapshot, path: str, parts: Sequence[str], known: Known) -> None:
        digest, name = "", snapshot.name
        if known.hash_line:
            digest, stored = parse_hash_line(known.hash_line)
            name, parts = stored_place(stored, snapshot.name)
        place = "/".join((name, *parts))
        if place not in self.spots:
            self.spots[place] = Spot(finding, name, parts, digest)
        self.spots[place].note(snapshot, path, known.line)

    def _leave_contradicted(self) -> None:
        """Leave alone what one list has otherwise than another one: who believes the wrong one would lose what is good."""
        above = {"/".join((spot.snapshot, *spot.parts[:count])) for spot in self.spots.values() for count in range(1, len(spot.parts))}
        dates = sorted({spot.snapshot for spot in self.spots.values()})
        denied: Set[str] = set()
        for name in (one.name for one in self.whole if dates):
            with contextlib.suppress(ManifestDamaged):
                for claims in (own_claims(self.set_folder, name) if name in dates else (), claims_on(self.set_folder, name, dates)):
                    for place, digest, is_folder in claims:
                        spot = self.spots.get(place)
                        if (spot and spot.digest != digest) or (place in above and not is_folder):
                            denied.add(place)
        for bad in [*self.spots.values()] if denied else ():
            if not denied.isdisjoint("/".join((bad.snapshot, *bad.parts[:count])) for count in range(1, len(bad.parts) + 1)):
                del self.spots[bad.place]
                self.hopeless.append(Unhealed(bad.place, [date for date, _path in bad.needed_by], CONTRADICTION))

    def _note_shared(self) -> None:
        """Note which bad files have further names, perhaps in dates that were not verified."""
        reach = Reach()
        for spot in self.spots.values():
            with contextlib.suppress(OSError):
                info = reach.at(self.set_folder, "/".join((spot.snapshot, *spot.parts[:-1]))).stat(spot.parts[-1])
                if spot.digest and stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
                    self.shared[spot.digest, info.st_ino] = spot

    def _read_other(self, snapshot: Snapshot, wanted: Container[str]) -> None:
        """Note which spots a date needs that was not verified, and which of its files are other names of a bad one."""
        reach = Reach()
        with load_manifest(self.set_folder, snapshot.name) as manifest:
            for entries in manifest.entries():
                for digest, known in files_with(entries, wanted):
                    name, parts = stored_place(parse_hash_line(known.hash_line)[1], snapshot.name)
                    place = "/".join((name, *parts))
                    if place not in self.spots and self.shared:
                        with contextlib.suppress(OSError):
                            info = reach.at(self.set_folder, "/".join((name, *parts[:-1]))).stat(parts[-1])
                            same = self.shared.get((digest, info.st_ino)) if stat.S_ISREG(info.st_mode) else None
                            if same:
                                self.spots[place] = Spot(same.finding, name, parts, digest)
                    if place in self.spots and self.spots[place].digest == digest:
                        self.spots[place].note(snapshot, original_path(known), known.line)


def ways_to(spots: Iterable[Spot]) -> Dict[str, Set[str]]:
    """Give of each dated copy the folders on the way to spots in it, and those that are spots themselves."""
    ways: Dict[str, Set[str]] = {}
    for spot in spots:
        ways.setdefault(spot.snapshot, set()).update("/".join(spot.parts[:count]) for count in range(1, len(spot.parts) + 1))
    return ways


def folder_lines(set_folder: Folder, spots: Iterable[Spot]) -> Dict[str, str]:
    """Read what the lists say of the folders on the way to spots, by place. Raises OSError where the drive fails."""
    lines: Dict[str, str] = {}
    for name, wanted in ways_to(spots).items():
        if not set_folder.has(name):
            continue
        folder = set_folder.child(name)
        with contextlib.suppress(ManifestDamaged):
            with proved_manifest(manifest_file(folder, EXPIRED)) if folder.has(EXPIRED) else load_manifest(set_folder, name) as manifest:
                for entries in manifest.entries():
                    lines.update((f"{name}/{stored}", line) for stored, line in folders_at(entries, wanted))
    return lines


class Names:
    """The names that dates have for files of the same content, told apart by the stored files they are now.

    Two names of one date that were two files must not become one: who changes one of them would change the other.
    """

    def __init__(self, set_folder: Folder, spots: Sequence[Spot]) -> None:
        self.set_folder, self.wanted = set_folder, {spot.digest for spot in spots}
        self.keys: Dict[Tuple[str, str], Any] = dict.fromkeys(itertools.chain.from_iterable(spot.needed_by for spot in spots))
        self.used: Dict[Tuple[str, str], Dict[int, Set[Any]]] = {}       # by date and checksum: which names each inode has there
        for date in sorted({date for date, _path in self.keys}):
            with contextlib.suppress(ManifestDamaged):
                self._read(date)

    def _read(self, date: str) -> None:
        """Note the names of one date, but for content that has only one there. Raises OSError where the drive fails."""
        places: Dict[str, List[Tuple[Any, str]]] = {}
        with load_manifest(self.set_folder, date) as manifest:
            for entries in manifest.entries():
                for digest, known in files_with(entries, self.wanted):
                    name, parts = stored_place(parse_hash_line(known.hash_line)[1], date)
                    path = original_path(known)
                    key = link_group(parse_keywords(known.line), known) or path
                    places.setdefault(digest, []).append((key, "/".join((name, *parts))))
                    if (date, path) in self.keys:
                        self.keys[date, path] = key
        reach = Reach()
        for digest, those in places.items():
            used = self.used.setdefault((date, digest), {}) if len(those) > 1 else {}
            for key, place in those if len(those) > 1 else ():
                with contextlib.suppress(OSError):
                    folder, _, name = place.rpartition("/")
                    used.setdefault(reach.at(self.set_folder, folder).stat(name).st_ino, set()).add(key)

    def may_share(self, spots: Iterable[Spot], inode: int) -> bool:
        """Tell whether places may get a stored file, as no other file of their dates is that one; note that they have it."""
        wishes = [((date, spot.digest), self.keys.get((date, path))) for spot in spots for date, path in spot.needed_by]
        if any(self.used.get(where, {}).get(inode, set()) - {key} for where, key in wishes):
            return False
        for where, key in wishes:
            if where in self.used:
                self.used[where].setdefault(inode, set()).add(key)
        return True


def shelves_at(place: str, label: str = "") -> List[Shelf]:
    """Open the sets of a drive, or the one set that is named. Raises OSError."""
    root = Folder.top(place)
    marker = read_marker(root)
    called = label or (show(marker.label) if marker else show(place))
    if not marker and looks_like_set(root):
        return [Shelf(root, called)]
    return [Shelf(root.child(name), called) for name in list_sets(root)[0]]


def is_plain_source(path: str) -> bool:
    """Tell whether a source that a list names may be read: lists can be forged, and lead to another computer, which would be given a login.

    >>> [is_plain_source(path) for path in ("home", "/home/../etc", "//nas/home", "~")]
    [False, False, False, False]
    """
    return full_path(path) == path and not path.startswith(("//", "\\\\"))


class Seeking:
    """Looks for good copies of what is wanted: in other dates, in other sets and drives, in the source, in the quarantine."""

    def __init__(self, set_folder: Folder, shelves: Sequence[Shelf], pulse: Pulse) -> None:
        self.set_folder, self.shelves, self.pulse = set_folder, [Shelf(set_folder), *shelves], pulse
        self.spots: Container[str] = ()          # where nothing good is
        self.wanted: Set[str] = set()
        self.sizes: Set[int] = set()     # of what is wanted
        self.kin: Set[Tuple[Any, ...]] = set()   # of what is missing, and should be one file again with others
        self.searched: List[str] = []

    def candidates(self) -> Iterator[Candidate]:
        """Give what may be a good copy, the nearest first, for as long as something is `wanted`. Raises OSError where the drive fails."""
        for snapshot in reversed(survey(self.set_folder)) if self.kin else ():
            yield from (one for one in self._listed(self.shelves[0], snapshot) if one.kin in self.kin)
        self.kin = set()     # from here on, whatever has the right bytes
        if NO_BYTES in self.wanted:
            yield Candidate(NO_BYTES, 0, None, "", "nothing, as an empty file")
        for shelf in self.shelves:
            self.searched.append(shelf.label or "the other dates")
            for snapshot in reversed(survey(shelf.folder)) if self.wanted else ():
                yield from self._listed(shelf, snapshot)
        for snapshot in reversed(survey(self.set_folder)) if self.wanted else ():
            if snapshot.header.get("machine") == machine_id():
                yield from self._in_source(snapshot)
        yield from self._left_over()

    def _left_over(self) -> Iterator[Candidate]:
        """Give what an interrupted repair left in the quarantine; it may be the last good copy."""
        folder = self.set_folder.child(QUARANTINE) if self.wanted and self.set_folder.has(QUARANTINE) else None
        for name in folder.names() if folder else ():
            if folder and name.startswith(f".{REPAIR}-"):
                with contextlib.suppress(OSError):
                    size = folder.stat(name).st_size
                    if size in self.sizes:
                        digest = hash_file(folder, name, self.pulse)
                        yield Candidate(digest, size, folder, name, f"what an interrupted repair left in {QUARANTINE}")

    def _files(self, shelf: Shelf, snapshot: Snapshot) -> Iterator[Tuple[str, Known]]:
        """Give the wanted files of a date, each with its checksum, as far as its list can be read."""
        if snapshot.state is not State.WHOLE:
            return
        with contextlib.suppress(ManifestDamaged, OSError), load_manifest(shelf.folder, snapshot.name) as manifest:
            for entries in manifest.entries():
                if not self.wanted:
                    return
                yield from files_with(entries, self.wanted)

    def _listed(self, shelf: Shelf, snapshot: Snapshot) -> Iterator[Candidate]:
        """Give where a date has what is wanted."""
        on = f" on {shelf.label}" if shelf.label else ""
        for digest, known in self._files(shelf, snapshot):
            with contextlib.suppress(ManifestDamaged):
                name, parts = stored_place(parse_hash_line(known.hash_line)[1], snapshot.name)
                place = "/".join((name, *parts))
                if shelf.label or place not in self.spots:
                    kin = () if shelf.label else kinship(snapshot, original_path(known), known)
                    yield Candidate(digest, number(parse_keywords(known.line), "size"), shelf.folder, place, f"the copy of {name}{on}", kin)

    def _in_source(self, snapshot: Snapshot) -> Iterator[Candidate]:
        """Give where this computer had what is wanted when a dated copy of it was made."""
        sources = {alias: path for alias, path in snapshot.sources.items() if is_plain_source(path)}
        if sources and "the source" not in self.searched:
            self.searched.append("the source")
        for digest, known in self._files(self.shelves[0], snapshot) if sources else ():
            with contextlib.suppress(ManifestDamaged, OSError):
                alias, _, rest = original_path(known).partition("/")
                if alias not in sources:
                    continue
                path = sources[alias]
                top = Folder.top(path if rest else parent_path(path))
                where = show(join_path(path, *plain_parts(rest)) if rest else path)
                yield Candidate(digest, number(parse_keywords(known.line), "size"), top, rest or plain_name(path), f"the source, {where}")


class Proof(Enum):
    """What stands in a place that was found damaged, when it is looked at once more."""

    GOOD = "good"
    BAD = "bad"
    GONE = "gone"


class Bench:
    """Where something in a set is put right: the quarantine, the folders that are changed meanwhile, and what has become of each place."""

    def __init__(self, drive: Drive, order: Check, set_folder: Folder, pulse: Pulse, trial: bool) -> None:
        self.drive, self.order, self.set_folder, self.pulse, self.trial = drive, order, set_folder, pulse, trial
        self.device, self.reach = drive.stamp[0], Reach()
        self.folders: Mapping[str, str] = {}     # what the lists say of them, by place
        self.healed: List[Healed] = []
        self.left: List[Unhealed] = []
        self.good: List[str] = []
        self.names: Dict[Tuple[str, str], str] = {}      # dates and paths in them that are right now, with checksums
        self.unfinished: Dict[str, Meta] = {}    # folders that are not as they were
        self.set_apart = 0
        self.quarantine = set_folder     # until it is opened

    def open_quarantine(self) -> None:
        """Open the quarantine, and make it first where there is none. Raises DriveError where it is on another disk, OSError."""
        if not self.set_folder.has(QUARANTINE):
            make_private(self.set_folder, QUARANTINE)
            give_to_owner(self.set_folder, QUARANTINE)
        self.quarantine = self.set_folder.child(QUARANTINE)
        if self.quarantine.own_stat().st_dev != self.device:
            raise DriveError(f"the folder {QUARANTINE} of {self.order.set_name} on the drive {self.drive.where} is another disk: nothing "
                             "was healed; unmount it")

    def _refuse(self, place: str, dates: Sequence[str], err: OSError) -> None:
        """Leave something as it is for what is wrong with it alone. Raises DriveError, or the error where it is the drive's."""
        if err.errno in {*FULL, *OWN_LIMITS} or is_read_only(err):
            raise err
        self.drive.check()
        self.left.append(Unhealed(place, dates, reason(err)))

    def _leave(self, spot: Spot, why: str) -> None:
        self.left.append(Unhealed(spot.place, [date for date, _path in spot.needed_by], why))

    def _is_good_now(self, spot: Spot) -> None:
        self.good.append(spot.place)
        self.names.update(dict.fromkeys(spot.needed_by, spot.digest))

    def _heal(self, spot: Spot, origin: str) -> None:
        self.healed.append(Healed(spot.place, bool(spot.digest), [date for date, _path in spot.needed_by], origin))
        self.names.update(dict.fromkeys(spot.needed_by, spot.digest))
        self.pulse.files += 1
        self.pulse.tell()

    def _set_apart(self, folder: Folder, name: str, place: str) -> str:
        """Move what is bad to the quarantine, under a name that tells where it was; give that name. Raises OSError."""
        aside = free_name(self.quarantine, place.replace("/", "__"), "")
        time = self.order.now.isoformat(timespec="seconds")
        is_first = not self.quarantine.has(QUARANTINE_LOG)
        append_line(self.quarantine, QUARANTINE_LOG, f"{time} {show(aside)} was {show(place)}")  # first: nothing lies there unexplained
        if is_first:
            give_to_owner(self.quarantine, QUARANTINE_LOG)
        folder.rename(name, self.quarantine, aside)
        self.set_apart += 1
        return aside

    def _enter(self, snapshot: str, parts: Sequence[str], changed: Dict[str, Meta]) -> Folder:
        """Open a folder of a dated copy to put something into it; one that is missing is made, what stands in its place set apart.

        `changed` gets the places of folders whose metadata are to be put back. Raises OSError.
        """
        top, at = self.set_folder.child(snapshot), [snapshot]

        def enter(parent: Folder, name: str) -> Folder:
            above = "/".join(at)
            at.append(name)
            try:
                return parent.child(name)
            except OSError as err:
                missing = isinstance(err, FileNotFoundError)
                if not missing and is_folder(parent.stat(name)):
                    raise
            changed.setdefault(above, meta_from(parent.own_stat(), {}))
            make_clearable(parent, self.device)
            if not missing:
                self._set_apart(parent, name, "/".join(at))
            made = parent.make(name)
            parent.flush()
            return made

        folder = Trail(top).at(parts, enter)
        changed.setdefault("/".join(at), meta_from(folder.own_stat(), {}))
        make_clearable(folder, self.device)
        return folder

    def _put_back(self, changed: Mapping[str, Meta]) -> None:
        """Give folders the metadata that the list has of them, or else those that they had; what fails is tried again later."""
        for place in sorted(changed, key=folder_key, reverse=True):
            meta = changed[place]
            try:
                with contextlib.suppress(ManifestDamaged):
                    meta = meta_of(parse_keywords(self.folders[place])) if place in self.folders else meta
                set_folder_metadata(Reach().at(self.set_folder, place), meta)
            except OSError:
                self.unfinished[place] = meta

    def finish(self) -> None:
        """Give folders their metadata to which that could not be given at once; name those that have them not."""
        again, self.unfinished = self.unfinished, {}
        self._put_back(again)
        self.left += [Unhealed(place, [place.partition("/")[0]], "its time and permissions could not be put back")
                      for place in self.unfinished]

    @staticmethod
    def _says_nothing(err: OSError) -> bool:
        """Tell whether a file's being unreadable says nothing of the file: it may be as good as ever."""
        return err.errno in {errno.EACCES, errno.EPERM, *OWN_LIMITS} or is_in_use(err)


class Healing(Bench):
    """Puts right what is damaged in a set whose lock the caller holds: nothing is written over, what was bad is kept in the quarantine.

    A trial only says what would be done.
    """

    def __init__(self, drive: Drive, order: Check, set_folder: Folder, pulse: Pulse, trial: bool) -> None:
        super().__init__(drive, order, set_folder, pulse, trial)
        self.lists: List[str] = []
        self.tried: Set[Tuple[str, str, str]] = set()    # what was no good copy, by checksum and place
        self.tried_links: Set[Tuple[str, Stamp]] = set()         # and by stored file, where that has several names
        self.dated_names = Names(set_folder, ())         # until it is known what is missing

    # lists

    def heal_lists(self, names: Iterable[str]) -> None:
        """Put back lists from their twins, which have proved themselves. Raises DriveError, OSError."""
        for name in names:
            if self.trial:
                self.lists.append(name)
                continue
            ready = unique_name(MANIFEST, REPAIR)
            try:
                write_pieces(self.quarantine, ready, unpacked_twin(self.set_folder, name))
                self._prove(self.quarantine, ready)
            except ManifestDamaged as err:
                self.left.append(Unhealed(f"{name}/{MANIFEST}", [name], f"its second list is damaged, too ({err})"))
                self.quarantine.unlink(ready)
                continue
            self.drive.check()
            try:
                self._replace_list(name, ready)
            except OSError as err:
                with contextlib.suppress(OSError):
                    self.quarantine.unlink(ready)  # it can be had from the second list again
                self._refuse(f"{name}/{MANIFEST}", [name], err)

    def _prove(self, folder: Folder, name: str) -> None:
        """Read a list from the disk, to its last line, which must prove it. Raises ManifestDamaged, OSError."""
        file = manifest_file(folder, name)
        forget_cached(file.fileno())
        proved_manifest(file).file.close()

    def _replace_list(self, name: str, ready: str) -> None:
        """Put a list in the place of one that does not prove itself, even now. Raises OSError."""
        folder, changed = self.set_folder.child(name), {}  # type: Folder, Dict[str, Meta]
        try:
            self._prove(folder, MANIFEST)
            self.good.append(f"{name}/{MANIFEST}")
            self.quarantine.unlink(ready)
            return
        except ManifestDamaged:
            pass
        except OSError as err:
            if self._says_nothing(err):
                raise
        changed[name] = meta_from(folder.own_stat(), {})
        try:
            make_clearable(folder, self.device)
            if folder.has(MANIFEST):
                self._set_apart(folder, MANIFEST, f"{name}/{MANIFEST}")
            if not move_to_free(self.quarantine, ready, folder, MANIFEST):
                raise FileExistsError(errno.EEXIST, "something took its name", MANIFEST)
            folder.flush()
            self.quarantine.flush()
            self._prove_again(folder, name)
        finally:
            self._put_back(changed)

    def _prove_again(self, folder: Folder, name: str) -> None:
        """Believe that a list is put back when it has proved itself in its place."""
        try:
            self._prove(folder, MANIFEST)
            self.lists.append(name)
        except ManifestDamaged as err:
            self.left.append(Unhealed(f"{name}/{MANIFEST}", [name], f"the drive did not give back what was written ({err})"))

    # folders, links and special files

    def heal_entries(self, spots: Iterable[Spot]) -> None:
        """Make missing folders anew, and what is no file, from what the lists say of them. Raises DriveError, OSError."""
        for spot in sorted(spots, key=lambda one: folder_key(one.place)):
            if not self._has_its_folder(spot):
                continue
            if self.trial:
                self._heal(spot, "the list")
                continue
            self.drive.check()
            changed: Dict[str, Meta] = {}
            try:
                self._make_entry(spot, changed)
            except (OSError, ManifestDamaged) as err:
                if isinstance(err, OSError):
                    self._refuse(spot.place, [date for date, _path in spot.needed_by], err)
                else:
                    self._leave(spot, str(err))
            finally:
                self._put_back(changed)

    def _has_its_folder(self, spot: Spot) -> bool:
        """Tell whether the dated folder is there that a spot lies in; without it, it is left."""
        if self.set_folder.has(spot.snapshot):
            return True
        self._leave(spot, f"it lies in the folder of {spot.snapshot}, which is gone")
        return False

    def _make_entry(self, spot: Spot, changed: Dict[str, Meta]) -> None:
        if spot.line.startswith(DIR_LINE):
            self._enter(spot.snapshot, spot.parts, changed)
            self._heal(spot, "the list")
            return
        folder, name = self._enter(spot.snapshot, spot.parts[:-1], changed), spot.parts[-1]
        present = folder.has(name)
        if present and same_entry(folder, name, parse_keywords(spot.line)):
            self._is_good_now(spot)
            return
        ready = unique_name("entry", REPAIR)     # under its own name it would stand half done, were this run killed
        if not make_entry(self.quarantine, ready, spot.line):
            self._leave(spot, "it could not be made here; its description is in the list")
            return
        if present:
            self._set_apart(folder, name, spot.place)
        if not move_to_free(self.quarantine, ready, folder, name):
            raise FileExistsError(errno.EEXIST, "something took its name", name)
        folder.flush()
        self._heal(spot, "the list")

    # files

    def heal_files(self, spots: Iterable[Spot], seeking: Seeking) -> None:
        """Replace damaged and missing files by good copies, as far as these are found. Raises DriveError, OSError."""
        waiting: Dict[str, List[List[Spot]]] = {}
        for group in self._shared(spot for spot in spots if self._has_its_folder(spot)):
            waiting.setdefault(group[0].digest, []).append(group)
        seeking.wanted.update(waiting)
        for spot in (group[0] for groups in waiting.values() for group in groups):
            with contextlib.suppress(ManifestDamaged):
                seeking.sizes.add(number(parse_keywords(spot.line), "size"))
        missing = [spot for groups in waiting.values() for group in groups if group[0].kin for spot in group]
        seeking.kin = {spot.kin for spot in missing}
        self.dated_names = Names(self.set_folder, () if self.trial else missing)
        for candidate in seeking.candidates():
            groups = waiting.get(candidate.digest, [])
            for group in [one for one in groups if not seeking.kin or one[0].kin == candidate.kin]:
                if not self._heal_group(group, candidate):
                    break
            waiting[candidate.digest] = [group for group in groups if group]
            if not waiting[candidate.digest]:
                seeking.wanted.discard(candidate.digest)
        for group in itertools.chain.from_iterable(waiting.values()):
            for spot in group:
                self._leave(spot, f"{spot.finding.detail or spot.finding.kind.value}; {NO_GOOD_COPY}")

    def _shared(self, spots: Iterable[Spot]) -> List[List[Spot]]:
        """Put together what is one stored file under several names, or was one as far as the lists tell."""
        groups: Dict[Any, List[Spot]] = {}
        for spot in spots:
            key: Any = spot.kin
            try:
                info = self.reach.at(self.set_folder, "/".join((spot.snapshot, *spot.parts[:-1]))).stat(spot.parts[-1])
                if stat.S_ISREG(info.st_mode):
                    key, spot.kin = info.st_ino if info.st_nlink > 1 else spot.place, ()
            except OSError:  # it is missing; whatever else is wrong is seen when it is replaced
                pass
            groups.setdefault((spot.digest, key), []).append(spot)
        return list(groups.values())

    def _open(self, candidate: Candidate) -> Optional[Tuple[int, os.stat_result]]:
        """Open a candidate, unless it cannot be what is wanted."""
        if candidate.top is None:
            return open_nothing()
        if (candidate.digest, candidate.top.path, candidate.path) in self.tried:
            return None
        try:
            folder, _, name = candidate.path.rpartition("/")
            fd, info = open_regular(self.reach.at(candidate.top, folder), name, download=False)
        except OSError as err:
            if err.errno in OWN_LIMITS:
                raise
            return None
        if info.st_size == candidate.size and (candidate.digest, stamp(info)) not in self.tried_links:
            return fd, info
        close_read(fd)
        return None

    def _forget(self, candidate: Candidate, info: os.stat_result) -> None:
        """Note that a candidate was not what is wanted, so that it is not read again."""
        self.tried.add((candidate.digest, candidate.top.path if candidate.top else "", candidate.path))
        if info.st_nlink > 1:
            self.tried_links.add((candidate.digest, stamp(info)))

    def _fetch(self, candidate: Candidate, meta: Meta) -> str:
        """Write what a candidate has to the quarantine, flushed, and read it back; give its passing name, or nothing if it is not wanted.

        What lies outside of the set is read before any of it is written: a forged list may name somebody's secrets.
        Raises DriveError, OSError.
        """
        if candidate.top is not self.set_folder and not self._is_wanted(candidate):
            return ""
        opened = self._open(candidate)
        if opened is None:
            return ""
        fd, info = opened
        ready = unique_name("healed", REPAIR)
        try:
            digest = write_again(fd, info, self.quarantine, ready, meta, Care(self.pulse, flush=True))[0]
        finally:
            close_read(fd)
        if digest == candidate.digest and hash_file(self.quarantine, ready, self.pulse, from_disk=True) == digest:
            self.quarantine.flush()
            return ready
        self.quarantine.unlink(ready)
        if digest == candidate.digest:
            raise DriveError(f"the drive {self.drive.where} did not give back what had just been written; {self.drive.safe}; it may be "
                             "failing: copy what matters from it")
        self._forget(candidate, info)
        return ""

    def _link(self, candidate: Candidate, group: Sequence[Spot]) -> str:
        """Give a stored file that is to get back names one in the quarantine, if its bytes are right; nothing where that cannot be.

        So what is put back takes no more room than before. Raises OSError.
        """
        if not candidate.top or not self._is_wanted(candidate):
            return ""
        folder, _, name = candidate.path.rpartition("/")
        ready = unique_name("healed", REPAIR)
        try:
            there = self.reach.at(candidate.top, folder)
            if not self.dated_names.may_share(group, there.stat(name).st_ino):
                return ""
            there.link(name, self.quarantine, ready)
        except OSError as err:
            if not link_refused(err):
                raise
            return ""
        return ready

    def _is_wanted(self, candidate: Candidate) -> bool:
        """Tell whether a candidate has the right bytes; nothing is written."""
        opened = self._open(candidate)
        if opened is None:
            return False
        close_read(opened[0])
        if candidate.top is None:
            return True
        folder, _, name = candidate.path.rpartition("/")
        try:
            if hash_file(self.reach.at(candidate.top, folder), name, self.pulse, from_disk=True) == candidate.digest:
                return True
        except OSError as err:
            if err.errno in OWN_LIMITS:
                raise
        self._forget(candidate, opened[1])
        return False

    def _heal_group(self, group: List[Spot], candidate: Candidate) -> bool:
        """Put one good copy in the place of each name of a bad file; False where the candidate has other bytes."""
        newest, known = max(group, key=lambda one: one.seq), {}  # type: Spot, Dict[int, bool]
        is_kin = bool(candidate.kin) and candidate.kin == group[0].kin
        while group and self.trial:
            if not self._is_wanted(candidate):
                return False
            self._foresee(group.pop(0), known, candidate.origin)
        ready = ""
        while group:
            ready = ready or (is_kin and self._link(candidate, group)) or self._fetch(candidate, meta_of(parse_keywords(newest.line)))
            if not ready:
                return False
            self.drive.check()
            ready = self._replace(group[0], ready, known, candidate.origin)
            group.pop(0)
        if ready:
            self.quarantine.unlink(ready)
        return True

    def _foresee(self, spot: Spot, known: Dict[int, bool], origin: str) -> None:
        """Say what would become of a bad file for which there is a good copy."""
        try:
            folder = self.reach.at(self.set_folder, "/".join((spot.snapshot, *spot.parts[:-1])))
            if self._look(folder, spot.parts[-1], spot.digest, known) is Proof.GOOD:
                self._is_good_now(spot)
                return
        except OSError as err:
            if err.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                self._refuse(spot.place, [date for date, _path in spot.needed_by], err)
                return
        self._heal(spot, origin)

    def _replace(self, spot: Spot, ready: str, known: Dict[int, bool], origin: str) -> str:
        """Put what is ready in the place of a bad file; give its name if it is still there, for further names of the file.

        `known` says of stored files with several names whether they proved good or bad a moment ago.
        """
        changed: Dict[str, Meta] = {}
        try:
            folder, name = self._enter(spot.snapshot, spot.parts[:-1], changed), spot.parts[-1]
            look = self._look(folder, name, spot.digest, known)
            if look is Proof.GOOD:
                self._is_good_now(spot)
                return ready
            aside = self._set_apart(folder, name, spot.place) if look is Proof.BAD else ""
            try:
                ready = self._put(ready, folder, name)
            except OSError:
                with contextlib.suppress(OSError):  # a damaged file is better than none
                    if aside and move_to_free(self.quarantine, aside, folder, name):
                        self.set_apart -= 1
                raise
        except OSError as err:
            self._refuse(spot.place, [date for date, _path in spot.needed_by], err)
            return ready
        finally:
            self._put_back(changed)
        folder.flush()
        self.quarantine.flush()
        if self._look(folder, name, spot.digest, known) is Proof.GOOD:
            self._heal(spot, origin)
        else:
            self._leave(spot, "the drive did not give back what was written")
        return ready

    def _look(self, folder: Folder, name: str, digest: str, known: Dict[int, bool]) -> Proof:
        """Look once more at what was found damaged or put right, from the disk.

        Raises OSError where that cannot be told, and DriveError where the drive went away.
        """
        good, info = False, None
        try:
            info = folder.stat(name)
            if not stat.S_ISREG(info.st_mode):
                return Proof.BAD
            if info.st_nlink > 1 and info.st_ino in known:
                return Proof.GOOD if known[info.st_ino] else Proof.BAD
            good = hash_file(folder, name, self.pulse, from_disk=True) == digest
        except FileNotFoundError:
            self.drive.check()
            return Proof.GONE
        except OSError as err:
            if self._says_nothing(err):
                raise
            self.drive.check()
        if info and info.st_nlink > 1:
            known[info.st_ino] = good
        return Proof.GOOD if good else Proof.BAD

    def _put(self, ready: str, folder: Folder, name: str) -> str:
        """Give what is ready one more name or, where the disk has no links, that one alone; nothing is written over. Raises OSError."""
        try:
            self.quarantine.link(ready, folder, name)
            return ready
        except FileExistsError:
            raise
        except OSError as err:
            if not link_refused(err):
                raise
        if not move_to_free(self.quarantine, ready, folder, name):
            raise FileExistsError(errno.EEXIST, "something took its name", name)
        return ""


class Repair:
    """The repair of a set whose lock the caller holds, unless it is a trial; what it has healed stays so when the rest fails."""

    def __init__(self, drive: Drive, order: Check, shelves: Sequence[Shelf], trial: bool) -> None:
        self.drive, self.order, self.shelves, self.trial = drive, order, shelves, trial
        self.set_folder = drive.root.child(order.set_name)
        self.twins: List[str] = []

    def run(self, watch: Watch, expect: Expect) -> Repaired:
        """Verify, and heal what is damaged. Raises Locked, DriveError, OSError."""
        try:
            return self._run(watch, expect)
        finally:
            let_others_in(self.set_folder)

    def _run(self, watch: Watch, expect: Expect) -> Repaired:
        if self.set_folder.own_stat().st_dev != self.drive.stamp[0]:
            raise DriveError(f"the folder {self.order.set_name} on the drive {self.drive.where} is another disk: nothing was healed; make "
                             "that disk a drive of its own, or unmount it")
        self._keep_readers_out()
        lock_for_reading(self.set_folder)
        checked = check_copies(self.drive, self.set_folder, self.order, watch)
        if checked.interrupted:
            raise KeyboardInterrupt
        self._keep_readers_out()
        healing = Healing(self.drive, self.order, self.set_folder, new_pulse(expect(0, 0), 1), self.trial)
        seeking = Seeking(self.set_folder, self.shelves, healing.pulse)
        self.drive.safe = "what was healed so far stays so, and nothing else was touched"
        try:
            left = self._carry_out(checked, healing, seeking)
            if not self.trial:
                flush_drive(self.drive.path)
        except (DriveError, OSError, KeyboardInterrupt):
            if checked.damage and not self.trial:
                with contextlib.suppress(OSError):
                    self._note(checked, healing, [], complete=False)
            raise
        if not self.trial:
            self._note(checked, healing, left, complete=True)
        return Repaired(checked, healing.healed, left, healing.good, healing.lists, self.twins, seeking.searched, healing.set_apart)

    def _keep_readers_out(self) -> None:
        if not self.trial and not keep_readers_out(self.set_folder):
            raise Locked("somebody is reading the dated copies: nothing was healed; wait for it, and run the same command again")

    def _carry_out(self, checked: Checked, healing: Healing, seeking: Seeking) -> List[Unhealed]:
        """Put lists right first, then all else; give what was left."""
        snapshots = survey(self.set_folder)
        without = [one.name for one in snapshots if one.state is State.WHOLE and not one.by_twin and one.name in self.order.names]
        twins = [*damaged_twins(checked), *(name for name in without if name not in twin_names(self.set_folder))]
        diagnosis = Diagnosis(self.set_folder, snapshots, checked)
        diagnosis.run()
        spots = diagnosis.spots
        if not self.trial and (checked.damage or self.set_folder.has(QUARANTINE)):
            healing.open_quarantine()
        unclear = Counter(one.snapshot for one in checked.damage if one.kind is Found.MANIFEST)
        healing.heal_lists([name for name in checked.by_twin if unclear[name] == 1])
        if not self.trial and twins and not self.set_folder.has(TWINS):
            make_private(self.set_folder, TWINS)
        self.twins = twins if self.trial else mend_twins(self.set_folder, twins)
        healing.folders = folder_lines(self.set_folder, spots.values())
        healing.heal_entries(spot for spot in spots.values() if not spot.digest)
        seeking.spots = spots
        healing.heal_files([spot for spot in spots.values() if spot.digest], seeking)
        healing.finish()
        said = {*healing.good, *(one.place for one in healing.left), *(f"{name}/{MANIFEST}" for name in healing.lists),
                *(f"{TWINS}/{name}.gz" for name in self.twins)}
        lists = [Unhealed(f"{one.snapshot}/{one.path}", [one.snapshot], one.detail) for one in checked.damage
                 if one.kind is Found.MANIFEST and f"{one.snapshot}/{one.path}" not in said]
        left = [*lists, *diagnosis.hopeless, *healing.left]
        if not left and self.order.whole and healing.quarantine is not self.set_folder:
            remove_unique(healing.quarantine, REPAIR)  # nothing can be in need of it
        return left

    def _note(self, checked: Checked, healing: Healing, left: Sequence[Unhealed], complete: bool) -> None:
        """Note on the drive what was done, and what is still damaged. Raises OSError."""
        set_folder, order, time = self.set_folder, self.order, self.order.now.isoformat(timespec="seconds")
        seqs = {one.name: one.seq for one in survey(set_folder) if one.state is not State.EXPIRED}
        before = read_text(set_folder, DAMAGED_LIST, 64 * MIB) or ""
        text = without_lines(before, {hash_line(digest, "/".join(name)) for name, digest in healing.names.items() if digest})
        if text and text != before:
            write_text(set_folder, DAMAGED_LIST, text, order.set_name)
        elif before and not text:
            set_folder.unlink(DAMAGED_LIST)
        damaged = [one for one in checked.findings if (one.snapshot, one.path) not in healing.names]
        list_damage(set_folder, order, checked._replace(findings=damaged), seqs, time)
        append_line(set_folder, HISTORY, json.dumps({
            "what": "repair", "time": time, "snapshots": checked.snapshots, "whole": order.whole, "files": checked.files,
            "damaged": len(checked.damage), "healed": len(healing.healed), "lists": healing.lists, "second_lists": self.twins,
            "left": len(left), "complete": complete}))


# -- rehearsing --


REHEARSED_FILES = 20             # unless a person says otherwise; and then, of their bytes:
REHEARSED_BYTES = 10**9
LARGE_PIECE = MIB                # from here on, its bytes and not the calls are what restoring a file takes
UNMEASURED_RATE = 50 * 10**6     # bytes a second, where no large file was among those that were tried
SIZE_WORD = re.compile(r" size=(\d{1,16}) ")


class Sampled(NamedTuple):
    """A file of a dated copy that is to be restored for a try: its folder, the line of that, its name, its own lines, its bytes."""

    folder: str
    folder_line: str
    name: str
    known: Known
    size: int

    @property
    def path(self) -> str:
        """Give its path as in the dated copy."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


def draw_files(blocks: Iterable[Block], count: int, chance: Any) -> Tuple[List[Sampled], Optional[Sampled]]:
    """Draw files at random, each as likely as any other, and a large one besides, by which the speed of a drive is told.

    `chance` is a random.Random. (Reservoir sampling: Vitter, algorithm R.)
    """
    drawn: List[Sampled] = []
    large: Optional[Sampled] = None
    files = large_files = 0
    for block in blocks:
        for name, known in block.entries.items():
            if not known.hash_line:
                continue
            found = SIZE_WORD.search(known.line)
            size = int(found[1]) if found else 0
            files += 1
            at = len(drawn) if len(drawn) < count else chance.randrange(files)
            if at < count:
                drawn[at:at + 1] = [Sampled(block.path, block.line, name, known, size)]
            if LARGE_PIECE <= size <= REHEARSED_BYTES // 4:
                large_files += 1
                if chance.randrange(large_files) == 0:
                    large = Sampled(block.path, block.line, name, known, size)
    return drawn, large


def affordable(drawn: Sequence[Sampled], room: int) -> List[Sampled]:
    """Leave out files for which there is no room, in bytes; the smallest stays whatever it takes.

    >>> [one.size for one in affordable([Sampled("", "", "", Known(""), size) for size in (5, 9, 3, 1)], 10)]
    [5, 3, 1]
    """
    chosen = []
    for one in drawn:
        if one.size <= room:
            chosen.append(one)
            room -= one.size
    return chosen or sorted(drawn, key=lambda one: one.size)[:1]


def blocks_of(sample: Iterable[Sampled]) -> Iterator[Block]:
    """Put some files of a dated copy into the order of a manifest, with their folders' lines."""
    ordered = sorted(sample, key=lambda one: (folder_key(one.folder), name_bytes(one.name)))
    for (path, line), group in itertools.groupby(ordered, key=lambda one: (one.folder, one.folder_line)):
        yield Block(path, line, {one.name: one.known for one in group})


def median(numbers: Sequence[float]) -> float:
    """Give the middle one of some numbers, which a few that are far out do not move; 0 of none.

    >>> median([1, 2, 90])
    2
    """
    return sorted(numbers)[len(numbers) // 2] if numbers else 0.0


class Trial(NamedTuple):
    """What a person asked `rehearse` to do: how many files (0: as usual) of which dated copy, at which place (empty: the system's)."""

    set_name: str
    snapshot: str
    wanted: int
    place: str
    jobs: int
    now: datetime
    chance: Any                      # a random.Random
    clock: Callable[[], float]
    drive: str = ""                  # where it is


class Rehearsed(NamedTuple):
    """The result of `rehearse`."""

    files: int                       # that were tried
    bytes: int
    findings: List[Finding]
    unheld: Dict[str, int]           # what the temporary place cannot hold: what of how many files
    left_out: int                    # files that were drawn and are too large
    all_files: int
    all_bytes: int
    estimate: float                  # seconds for all of them


def full_time(small: Tuple[int, int, float], large: Tuple[int, int, float], files: int, size: int) -> float:
    """Estimate how long a full restore takes, from (files, bytes, seconds) of small and of large files that were restored.

    >>> full_time((20, 20_000, 0.2), (2, 2 * 10**8, 2.02), 1000, 10**9)
    19.99
    """
    each = small[2] / small[0] if small[0] else 0.0
    rest = max(large[2] - each * large[0], 0.0)
    per_byte = rest / large[1] if large[1] else 1 / UNMEASURED_RATE
    in_small = files * small[1] / small[0] if small[0] else 0
    return round(each * files + per_byte * max(size - in_small, 0), 2)


def unlike(one: Meta, other: Meta) -> List[str]:
    """Say in which respects the metadata of two files differs, as far as this user and system can set it."""
    bits = stat.S_IWUSR if WINDOWS else 0o7777 if may_set_owners() else 0o1777  # nobody else's file may become a program of this user's
    same = {"permissions": one.mode & bits == other.mode & bits, "time": one.time == other.time,
            "owner": not may_set_owners() or (one.uid, one.gid) == (other.uid, other.gid)}
    names = sorted(name for name in {*one.xattrs, *other.xattrs} if one.xattrs.get(name) != other.xattrs.get(name)
                   and (may_set_owners() or not name.startswith(("security.", "trusted."))))
    return [what for what, is_same in same.items() if not is_same] + [f"attribute {show(name)}" for name in names]


class Rehearsing:
    """Restores some files of a dated copy for a try, and compares them."""

    def __init__(self, drive: Drive, set_folder: Folder, trial: Trial, expect: Expect) -> None:
        self.drive, self.set_folder, self.trial, self.expect = drive, set_folder, trial, expect
        self.findings: List[Finding] = []
        self.unheld: Dict[str, int] = {}

    def draw(self) -> Tuple[Mapping[str, Any], List[Sampled], int]:
        """Choose the files: what the end of the list says of all of them, those to be tried, how many are too large. Raises DamagedCopy."""
        tell = self.expect(0, 0)

        def watched(blocks: Iterable[Block]) -> Iterator[Block]:
            for block in blocks:
                tell(0, 0)
                yield block

        trial = self.trial
        with proved_list(self.drive, self.set_folder, trial.snapshot) as manifest:
            drawn, large = draw_files(watched(read_blocks(manifest.lines())), trial.wanted or REHEARSED_FILES, trial.chance)
            end = manifest.end
        trial.chance.shuffle(drawn)
        chosen = drawn if trial.wanted else affordable(drawn, REHEARSED_BYTES)
        if large and not trial.wanted and large not in chosen and max(one.size for one in chosen) < LARGE_PIECE:
            chosen.append(large)
        return end, chosen, len(set(drawn) - set(chosen))

    def try_out(self, sample: Sequence[Sampled], target: Folder) -> Tuple[int, int, float]:
        """Restore files into a new folder, read from the drive, and compare them; give (files, bytes, seconds of the restore)."""
        for one in sample:
            with contextlib.suppress(OSError, ManifestDamaged):  # what is wrong is found when it is restored
                snapshot, parts = stored_place(parse_hash_line(one.known.hash_line)[1], self.trial.snapshot)
                forget_file(self.set_folder.child(snapshot).reach(parts[:-1]), parts[-1])
        far = is_far(self.drive.path) or is_far(target.path)
        jobs = worker_count(self.trial.jobs, far)
        size = sum(one.size for one in sample)
        pulse = new_pulse(self.expect(0, size), jobs)
        each: List[float] = []       # seconds, of what is not done by another process

        def timed(piece: Piece) -> Outcome:
            began = self.trial.clock()
            outcome = give_back(pulse, piece)
            each.append(self.trial.clock() - began)
            return outcome

        began = self.trial.clock()
        with Workers(jobs, pulse, timed, far) as workers:
            run = Restoration(self.set_folder, target, Wish(self.trial.snapshot, (), target.path), Selection(()), workers)
            run.run(blocks_of(sample))
        seconds = self.trial.clock() - began
        if len(each) == len(sample) and size < len(sample) * LARGE_PIECE:
            seconds = median(each) * len(each)  # to begin takes longer than it does in a full restore
        landing = run.landing
        self.findings += landing.findings
        self._lack(["name"] * sum(note.why == NO_SUCH_NAME_HERE for note in landing.notes))
        trail, pulse = Trail(target), new_pulse(self.expect(0, size), 1)
        for block in blocks_of(sample):
            if block.path in landing.spoilt or (run.passed_over and block.path.startswith(run.passed_over)):
                continue  # the place cannot hold the name of that folder
            for name, known in block.entries.items():
                path = f"{block.path}/{name}" if block.path else name
                if path not in landing.spoilt:
                    self.compare(trail.at(block.path.split("/") if block.path else ()), name, path, known, pulse)
        return len(sample), size, seconds

    def compare(self, folder: Folder, name: str, path: str, known: Known, pulse: Pulse) -> None:
        """Compare one restored file with what the list says of it."""
        words = parse_keywords(known.line)
        wanted, digest = meta_of(words), parse_hash_line(known.hash_line)[0]
        try:
            is_digest, size, found = read_restored(folder, name, pulse)
        except OSError as err:
            self._find(Found.UNREADABLE, path, f"it came back, and could not be read then ({reason(err)})")
            return
        if (is_digest, size) != (digest, number(words, "size")):
            self._find(Found.DIFFERS, path, "what was restored has not the bytes that were written")
        wrong = unlike(found, wanted)
        if wrong:
            possible = metadata_on(folder, wanted)
            refused = set(wrong) & set(unlike(possible, wanted)) - set(unlike(possible, found))
            self._lack(refused)
            for what in wrong:
                if what not in refused:
                    self._find(Found.DIFFERS, path, f"its {what} did not come back")

    def _lack(self, what: Iterable[str]) -> None:
        """Count what the temporary place cannot hold."""
        for one in what:
            self.unheld[one] = self.unheld.get(one, 0) + 1

    def _find(self, kind: Found, path: str, why: str) -> None:
        self.findings.append(Finding(kind, self.trial.snapshot, path, why))


def rehearse(drive: Drive, trial: Trial, expect: Expect) -> Rehearsed:
    """Restore random files of a dated copy into a temporary folder, and compare them; the folder is gone afterwards, come what may.

    Raises SnapbackError: UsageError for a place on the drive itself, TargetError where there is no room, DriveError, DamagedCopy.
    """
    with drive.guarded():
        set_folder = drive.root.child(trial.set_name)
        lock_for_reading(set_folder)
        run = Rehearsing(drive, set_folder, trial, expect)
        end, chosen, left_out = run.draw()
    groups = [[one for one in chosen if one.size < LARGE_PIECE], [one for one in chosen if one.size >= LARGE_PIECE]]
    size = sum(one.size for one in chosen)
    try:
        place = whole_path(passing_place(trial.place))
        if is_inside(place, drive.path):
            raise UsageError(f"{show(place)} is on the drive itself, so that would prove nothing; take another place with --to")
        info = stat_path(place)
        if info is None or not is_folder(info):
            raise UsageError(f"there is no folder {show(place)}; make it first, or take another place with --to")
        free = free_space(place)[0]
        if free < size + len(chosen) * CHUNK:
            raise TargetError(f"{size_text(size)} are needed in {show(place)}, and {size_text(free)} are free; take another place with "
                              "--to")
        with passing_folder(place) as path:
            tried = [run.try_out(group, Folder.top(path).make(name)) for name, group in zip(("small", "large"), groups)]
    except OSError as err:
        drive.check()
        raise TargetError(f"the temporary folder cannot be used ({reason(err)}); take another place with --to") from err
    if run.findings:
        drive.check()
    all_files, all_bytes = int(end["files"]), int(end["bytes"])
    return Rehearsed(len(chosen), size, run.findings, run.unheld, left_out, all_files,
                     all_bytes, full_time(tried[0], tried[1], all_files, all_bytes))


def note_rehearsal(drive: Drive, trial: Trial, done: Rehearsed, seconds: float) -> Tuple[bool, str]:
    """Note a rehearsal on the drive, and what it found damaged there; tell whether that was done, and why not."""
    def write(set_folder: Folder) -> str:
        time = trial.now.isoformat(timespec="seconds")
        order = Check(trial.set_name, (trial.snapshot,), False, False, trial.jobs, trial.now, drive.path)
        checked = Checked([trial.snapshot], done.files, done.files, done.bytes, done.findings, 0)
        if any(one.digest for one in done.findings):
            seqs = {one.name: one.seq for one in survey(set_folder) if one.state is not State.EXPIRED}
            list_damage(set_folder, order, checked, seqs, time)
        append_line(set_folder, HISTORY, json.dumps({
            "what": "rehearse", "time": time, "snapshot": trial.snapshot, "files": done.files, "bytes": done.bytes,
            "seconds": round(seconds, 2), "estimate": done.estimate, "damaged": len(done.findings)}))
        return ""
    return note_on_drive(drive, trial.set_name, write)


# --- 11. Reports -------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a command says: exit code, lines for people, lines about trouble, facts for machines."""

    code: Exit
    lines: Sequence[str]
    problems: Sequence[str]
    facts: Mapping[str, Any]


WORST_FIRST = (Exit.INTERRUPTED, Exit.FAILED, Exit.USAGE, Exit.LOCKED, Exit.DAMAGED, Exit.HELD, Exit.ATTENTION, Exit.ABSENT, Exit.DONE)


def with_problem(answer: Answer, problem: str) -> Answer:
    """Add a line about trouble that leaves the dated copy as good as it is; an empty one adds nothing."""
    if not problem:
        return answer
    return answer._replace(code=min(answer.code, Exit.ATTENTION, key=WORST_FIRST.index), problems=[problem, *answer.problems],
                           facts={**answer.facts, "problem": problem})


def drives_answer(answers: Mapping[str, Tuple[str, Answer]]) -> Answer:
    """Put together how it went with several drives: for each id its label and its answer; an absent one counts when none was there.

    >>> missed, made = Answer(Exit.ABSENT, (), ["A is away"], {"attached": False}), Answer(Exit.DONE, ["made"], (), {})
    >>> drives_answer({"1": ("A", missed), "2": ("B", made)}).code.name
    'DONE'
    """
    there = any(answer.facts.get("attached", True) for _label, answer in answers.values())
    codes = [answer.code for _label, answer in answers.values() if answer.code is not Exit.ABSENT or not there]
    lines: List[str] = []
    problems: List[str] = []
    for label, answer in answers.values():
        head = f"{label}: " if len(answers) > 1 else ""
        loud = answer.code is not Exit.ABSENT or not there
        lines += [*answer.lines, *(() if loud else answer.problems)]
        problems += [line if line.startswith(label) else head + line for line in answer.problems] if loud else []
    return Answer(min(codes, key=WORST_FIRST.index, default=Exit.DONE), lines, problems, {"drives": [
        {"attached": True, "due": True, **answer.facts, "id": drive_id, "label": label, "exit_code": int(answer.code)}
        for drive_id, (label, answer) in answers.items()]})


# -- the recovery plan --


def date_in_words(name: str) -> str:
    """Write the name of a dated copy as a date.

    >>> date_in_words("2026-11-02_231507_2")
    '2 November 2026, 23:15:07'
    """
    try:
        moment = datetime.strptime(name[:17], "%Y-%m-%d_%H%M%S")
    except ValueError:  # somebody renamed it to a day that no month has
        return name
    return f"{moment.day} {moment:%B %Y, %H:%M:%S}"


def check_in_words(one: SetFacts) -> str:
    """Say when a set was last verified, and what came of it."""
    moment = parse_time(one.checked)
    if one.checked_bad:
        return "DAMAGE was found: list says in which dates, repair heals what it can"
    if moment is None:
        return "checked only in part: nothing damaged so far" if one.checked_in_part else "not checked yet"
    return f"last checked as a whole on {moment.day} {moment:%B %Y}: all was good"


def set_lines(one: SetFacts) -> List[str]:
    """Say what a set on a drive is."""
    damaged = [f"      {count_text(one.unlisted, 'date', 'dates')} more: the lists are damaged; copy by hand what you need"
               ] if one.unlisted else []
    if not one.dates:
        return [f"  {one.name}: no whole dated copy yet", *damaged]
    whole = {0: "each dated folder is a whole copy", len(one.dates): "no dated folder is a whole copy"}.get(
        len(one.parts), "the newest dated folder is no whole copy" if one.newest in one.parts else
        "the newest dated folder is a whole copy, but not every older one")
    lines = [f"  {one.name}: {count_text(len(one.dates), 'dated copy', 'dated copies')} of the computer {quoted(one.host[:60])}",
             f"      newest  {one.newest}   ({date_in_words(one.newest)})"]
    lines += [f"      oldest  {one.oldest}   ({date_in_words(one.oldest)})"] if len(one.dates) > 1 else []
    lines += [f"      {date} holds folders that the newest does not" for date in one.others]
    lines += [*damaged, f"      {whole}", f"      {check_in_words(one)}"]
    return [*lines, f"      ON HOLD since {one.held_by}: see the last part"] if one.held_by else lines


def contents_part(facts: DriveFacts) -> List[str]:
    """Say what is on a drive."""
    lines = ["WHAT IS HERE", *(line for one in facts.sets for line in set_lines(one)),
             *(f"  {name}: copies of another user, who alone (or an administrator) can look at them" for name in facts.closed)]
    if not facts.sets and not facts.closed:
        lines += ["  No dated copy yet. This text is written anew with each."]
    if any(one.parts for one in facts.sets):
        lines += ["", f"  A dated folder with a file {PART_NOTICE} in it is no whole copy: it has",
                  "  what was new or had changed, and the rest lies in the folders of earlier dates."]
    if facts.changes_names:
        lines += ["", "  This drive cannot hold every name: a:b.txt, say, is a%3Ab.txt here. What comes",
                  f"  back by {TOOL} or {RESTORER} has its right name again."]
    return lines


def beginning_part(facts: DriveFacts) -> List[str]:
    """Say what counts for each way of getting something back."""
    return [
        "BEFORE YOU BEGIN",
        "  If you suspect ransomware, read the last part first.",
        "  Copy a file to the computer before you open it. Change, move and delete nothing",
        "  in the dated folders: several dates share the same file.",
        "  A folder that will not open belongs to another user: open it as administrator",
        "  (on Linux and macOS: sudo in front of a command).",
        "  The commands below are typed in a terminal, at the top of this drive: type cd and",
        "  a blank, drag the drive into the window, press Enter. On Windows py stands",
        "  for python3. What comes back goes into a new folder in your home folder (~); where",
        "  that is there already, take another name.",
        *(["  (A set of another user has the same commands, with its name and one of its dates.)"] if facts.closed else [])]


def spoiled_lines(sets: Sequence[SetFacts]) -> List[str]:
    """Say why the commands of a part do not name the newest date."""
    return [line for one in sets if one.spoiled for line in (
        f"  ({one.name}: the newest date, {one.newest}, may be spoiled,",
        f"  see the last part; {one.best} is the one before the trouble.)")]


def one_file_part(facts: DriveFacts, sets: Sequence[SetFacts]) -> List[str]:
    """Say how to get one file back."""
    lines = ["TO GET ONE FILE BACK", *spoiled_lines(sets)]
    if facts.page:
        lines += [f"  In a browser: open {RECOVERY_PAGE}, choose a date and find the file.", ""]
    lines += [f"  Double-click {WINDOWS_LAUNCHER} (Windows) or {UNIX_LAUNCHER} (macOS), which say what to",
              "  do where there is no Python; on Linux type:",
              f"      python3 {TOOL}",
              "  Then choose: get something back.", "",
              "  By hand: open the folder of the set, then that of the date, and copy the file."]
    if any(one.parts for one in sets):
        lines += ["  Where that is no whole copy and the file is not in it, take the file from the next",
                  "  earlier date that has it."]
    lines += ["", "  By a command with Python 3.8 or newer (Documents/letter.odt is your file):",
              *(f"      python3 {TOOL} restore {one.best if one.spoiled else 'latest'} Documents/letter.odt --drive . "
                f"--set {one.name} --to ~/restored-file" for one in sets),
              "", "  To learn which dates have a file (letter is a part of its name):",
              f'      python3 {TOOL} find "*letter*" --drive .',
              "", "  Without Python, on Linux or macOS, to learn where a file lies:",
              *(f"      grep letter {one.name}/{one.best}/{MANIFEST}" for one in sets),
              "  What begins with ../ there lies in the folder of another date."]
    return lines


def everything_part(sets: Sequence[SetFacts]) -> List[str]:
    """Say how to get all of a date back."""
    dates = [(one, date) for one in sets for date in one.needed]
    whole = [(one, date) for one, date in dates if date not in one.parts]
    lines = ["TO GET EVERYTHING BACK", *spoiled_lines(sets), "  With Python 3.8 or newer, which checks every file on the way:",
             *(f"      python3 {TOOL} restore {date} --drive . --set {one.name} --to ~/{one.name}-{date}" for one, date in dates),
             "", "  Without Python, on Linux or macOS:",
             *(f"      sh {RESTORER} {one.name}/{date} ~/{one.name}-{date}" for one, date in dates)]
    if whole:
        lines += ["", "  A dated folder that is a whole copy may also be copied by any file manager or,",
                  "  with dates and permissions:",
                  *(f"      cp -a {one.name}/{date} ~/{one.name}-{date}" for one, date in whole)]
    if any(one.parts for one in sets):
        lines += ["", "  Do not put together by hand what lies in several dated folders: what had been",
                  "  deleted would come back, and old files would take the place of newer ones."]
    return [*lines, "", "  On Windows without Python:",
            '  1. On any computer get a "Windows embeddable package (64-bit)" from',
            "     https://www.python.org/downloads/windows/",
            f"  2. Make a folder python on this drive, beside {WINDOWS_LAUNCHER}, and unpack it into",
            "     that: python\\python.exe is then there.",
            f"  3. Double-click {WINDOWS_LAUNCHER}, or type in a terminal (E: is this drive):",
            *(f"      E:\\{WINDOWS_LAUNCHER} restore {date} --set {one.name} --to C:\\{one.name}-{date}" for one, date in dates)]


def proof_part(sets: Sequence[SetFacts]) -> List[str]:
    """Say how to check that the newest copies are readable."""
    return ["TO CHECK THAT THE COPIES ARE READABLE",
            "  With Python 3.8 or newer:",
            *(f"      python3 {TOOL} verify latest --drive . --set {one.name}" for one in sets),
            "", "  Without Python, on Linux:",
            *(f"      (cd {one.name}/{one.newest} && sha256sum -c --quiet {MANIFEST})" for one in sets),
            "", "  Without Python, on macOS:",
            *(f"      (cd {one.name}/{one.newest} && shasum -a 256 -c {MANIFEST})" for one in sets)]


def ransomware_part(sets: Sequence[SetFacts]) -> List[str]:
    """Say what to do when files may have been taken hostage."""
    lines = ["IF YOU SUSPECT RANSOMWARE",
             "  Do not attach this drive to that computer, not even for a look: whatever is",
             "  attached can be locked, too. Unplug what is attached, take the computer off the",
             "  network, and do not pay before you know what is here.",
             "  Read this drive on another computer. Bring files back only to one that was set",
             "  up anew, and only from a date before the trouble began. All dates:",
             f"      python3 {TOOL} list --drive ."]
    for one in sets:
        if one.held_by:
            lines += ["", f"  {one.name} is on hold: since {date_in_words(one.held_by)} much of what was",
                      "  there before is gone or has other content. If you know of no big tidying up, that",
                      "  is when it began. Nothing old was deleted since."]
        if one.spoiled:
            lines += [f"  The newest date before it is {one.before_hold}. With Python:",
                      f"      python3 {TOOL} restore {one.before_hold} --drive . --set {one.name} --to ~/{one.name}-{one.before_hold}",
                      "  Without Python, on Linux or macOS:",
                      f"      sh {RESTORER} {one.name}/{one.before_hold} ~/{one.name}-{one.before_hold}"]
    return lines


def recovery_text(facts: DriveFacts) -> str:
    """Write the recovery plan of a drive: plain words, for a bad day, on a strange computer."""
    sets = [one for one in facts.sets if one.dates]
    beginning = [RECOVERY_TITLE, "",
                 f"This drive ({show(facts.label)}) holds dated copies of folders, made by snapback.",
                 "Each set of copies is a folder here, each date is a folder in it, and in that are",
                 "plain folders and files: nothing is packed or hidden."]
    parts = [beginning, contents_part(facts)]
    if sets or facts.closed:
        parts.append(beginning_part(facts))
    if sets:
        parts += [one_file_part(facts, sets), everything_part(sets), proof_part(sets)]
    parts.append(ransomware_part(sets))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


PAGE_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1f24; --soft: #57606a; --line: #c9d1d9; --link: #0a58ca; --bar: #2f6fb3;
  --change: #b35900; --bad: #b00020; --raised: #f3f5f7; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e6e9ec; --soft: #a3acb5; --line: #3d444c; --link: #7db4ff;
  --bar: #6ba4e0; --change: #f0a04b; --bad: #ff8a8a; --raised: #1f2429; } }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
* { box-sizing: border-box; } h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 1.5rem 0 .3rem; font-size: 1.25rem; } p { margin: .4rem 0; }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--link); outline-offset: 2px; } [tabindex="-1"]:focus { outline: none; }
nav a { margin-right: 1rem; } form, .bar { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .6rem 0; }
input, select, button { font: inherit; padding: .3rem .6rem; color: inherit; background: var(--raised); border: 1px solid var(--soft);
  border-radius: 4px; } input { flex: 1 1 14rem; min-width: 0; } button { cursor: pointer; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--soft); }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 400; } .n { text-align: right; white-space: nowrap; }
.when, .word { white-space: nowrap; } td bdi, th bdi { overflow-wrap: anywhere; } figure { margin: 0; }
.soft { color: var(--soft); } .bad { color: var(--bad); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--raised); padding: 1rem; border-radius: 4px; }
svg { display: block; font: 11px system-ui, sans-serif; } svg text { fill: var(--text); } svg .files { fill: var(--bar); }
svg .changes { fill: var(--change); } svg .bad { fill: var(--bad); } svg path { stroke: var(--soft); }
.app [data-date] { cursor: pointer; } .viewing .home { display: none; } [hidden] { display: none !important; }
#view tbody th { width: 45%; } @media (max-width: 48rem) { #dates td { white-space: nowrap; } }
@media (max-width: 30rem) { #view table { font-size: .85rem; } #view td { padding-right: .4rem; } #view .when { white-space: normal; } }
@media print { form, nav, .bar, button { display: none !important; } body { max-width: none; padding: 0; }
  .scroll { overflow: visible; } a { color: inherit; text-decoration: none; } svg { max-width: 100%; height: auto; }
  tr, svg, h2 { break-inside: avoid; } h2 { break-after: avoid; } }
"""
# What lies on the drive reaches the page as text nodes and as encoded parts of links, and nowhere as markup.
PAGE_SCRIPT = r"""
"use strict";
const sets = JSON.parse(document.getElementById("facts").textContent);
const view = document.getElementById("view"), status = document.getElementById("status");
const TITLE = document.title, ROWS = 300, MOST = 3000;
const opened = new Map();       // the lists of the dates that were looked at last
let arrived = null, turn = 0;   // what a list's script brought; which view is wanted by now
window.snapback1 = value => { arrived = value; };

// A byte that is no text has the number 0xDC00 + byte, as in Python.
const byteOf = char => { const code = char.codePointAt(0); return code >= 0xdc80 && code <= 0xdcff ? code - 0xdc00 : null; };
const hex = (number, digits) => number.toString(16).padStart(digits, "0");
function shown(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, char => {
    const code = byteOf(char) === null ? char.codePointAt(0) : byteOf(char);
    return code < 256 ? "\\x" + hex(code, 2) : "\\u" + hex(code, 4);
  });
}
function encoded(name) {
  if (!/\p{Cs}/u.test(name)) return encodeURIComponent(name);
  return Array.from(name, char => byteOf(char) === null ? encodeURIComponent(char) : "%" + hex(byteOf(char), 2)).join("");
}
const linkTo = path => path.split("/").map(encoded).join("/");
const place = (...words) => "#/" + words.map(word => encodeURIComponent(JSON.stringify(word).slice(1, -1))).join("/");
const wordsOf = hash => hash.slice(2).split("/").map(word => JSON.parse('"' + decodeURIComponent(word) + '"'));
const join = (folder, name) => folder ? folder + "/" + name : name, folded = text => text.normalize("NFC").toLowerCase();

function sizeText(count) {
  let unit = 0;
  while (count >= 999.5 && unit < 5) { count /= 1000; unit += 1; }
  return (unit && count < 99.5 ? count.toFixed(1) : count.toFixed(0)) + " " + ["B", "kB", "MB", "GB", "TB", "PB"][unit];
}
const many = (count, one, more) => count.toLocaleString("en") + " " + (count === 1 ? one : more || one + "s");
const dateText = date => date.replace(/^(.{10})_(..)(..)(..)/, "$1 $2:$3:$4").replace("_", " no. ");
// As ISO 8601 has it, in the time of this computer; no date is further from 1970 than that.
const timeText = seconds => Math.abs(seconds) <= 8.64e12 ? new Date(seconds * 1000).toLocaleString("sv-SE").slice(0, 16) : "";
function make(tag, how, ...inside) {
  const made = Object.assign(document.createElement(tag), how);
  made.append(...inside);
  return made;
}
const named = name => make("bdi", null, shown(name));
const link = (href, ...inside) => make("a", {href}, ...inside);
const toFile = ({where}, name) => make("a", {href: linkTo(where), target: "_blank", rel: "noopener", title: shown(where)}, named(name));

// --- What lies in a date ---
function readList(value, set, date) {
  const folders = new Map(), above = [];
  for (const [depth, name, text, stored] of value.list) {
    const path = depth > 1 ? join(above[depth - 1].path, name) : name;
    let folder = folders.get(path);
    if (!folder) {
      folder = {path, name, text: "", stored: stored === undefined ? path : stored, readable: text !== null, folders: []};
      folders.set(path, folder);
      if (depth) above[depth - 1].folders.push(folder);
    }
    if (text) folder.text += (folder.text && "/") + text;
    above.splice(depth, above.length, folder);
  }
  return {set, date, folders, dates: value.dates, places: value.folders};
}
async function load(set, date) {
  const key = set + "/" + date;
  let list = opened.get(key);
  opened.delete(key);
  if (!list) {
    const script = make("script", {src: linkTo(`${set}/page/${date}.js`)});
    const value = await new Promise(done => {
      script.onload = () => { done(arrived); arrived = null; };
      script.onerror = () => done(null);
      document.head.append(script);
    });
    script.remove();
    if (!value || value.date !== date) throw new Error(`The list of ${dateText(date)} cannot be opened: it is missing or damaged, or the ` +
      `folder ${set} belongs to another user of this computer. The files are in the folder of the date all the same.`);
    list = readList(value, set, date);
  }
  opened.set(key, list);
  if (opened.size > 3) opened.delete(opened.keys().next().value);
  return list;
}
const KINDS = {L: "a link; restore brings it back", X: "a special file; restore brings it back", S: "could not be read on that date"};
class Entry {
  constructor(list, folder, at) { this.list = list; this.folder = folder; this.words = folder.words; this.at = at; }
  get name() { return this.words[this.at]; }
  get kind() { return KINDS[this.words[this.at + 1][0]]; }
  get size() { return parseInt(this.words[this.at + 1], 10); }
  get seconds() { return parseInt(this.words[this.at + 2], 10); }
  get kept() { return this.words[this.at + 2].endsWith("k"); }
  get path() { return join(this.folder.path, this.name); }
  get where() {
    const [, date, folder, ...own] = this.words[this.at + 1].split(","), parent = folder ? this.list.places[folder] : this.folder.stored;
    return [this.list.set, date ? this.list.dates[date] : this.list.date, join(parent, own.length ? own.join(",") : this.name)].join("/");
  }
}
function* entriesIn(list, folder) {
  folder.words = folder.words || folder.text.split("/");
  for (let at = 0; at + 2 < folder.words.length; at += 3) yield new Entry(list, folder, at);
}

// --- Views ---
function table(heads, rows, row, more) {
  const body = make("tbody"), button = make("button", {type: "button"});
  let at = 0;
  const show = () => {
    const next = rows.slice(at, at + ROWS).map(row);
    body.append(...next);
    if (at) next[0].querySelector("a, button, th").focus();
    at += ROWS;
    button.hidden = at >= rows.length;
    button.textContent = `Show more (${many(rows.length - at, more)} not shown)`;
  };
  button.onclick = show;
  show();
  const head = make("tr", null, ...heads.map(text => make("th", {scope: "col", className: text === "Size" ? "n" : ""}, text)));
  return [make("div", {className: "scroll"}, make("table", null, make("thead", null, head), body)), button];
}
const cells = (first, ...rest) => make("tr", null, make("th", {scope: "row"}, ...first), ...rest);
const number = text => make("td", {className: "n"}, text), cell = (...inside) => make("td", null, ...inside);
const unbroken = text => text.split(" ").flatMap((word, at) => [at ? " " : "", make("span", {className: "word"}, word)]);
const timeCell = entry => make("td", {className: "when"}, ...unbroken(entry.isFolder ? "" : timeText(entry.seconds)));
function fileRow(list, entry) {
  if (entry.kind) return cells([named(entry.name)], number(""), timeCell(entry), cell(entry.kind));
  const versions = make("a", {href: place("file", list.set, entry.path), ariaLabel: "versions of " + shown(entry.name)}, "versions");
  return cells([toFile(entry, entry.name)], number(sizeText(entry.size)), timeCell(entry),
    cell(versions, entry.kept ? " kept from an earlier date, as it could not be read on this one" : ""));
}
function crumbs(list, path) {
  const parts = path ? path.split("/") : [], to = at => place("date", list.set, list.date, parts.slice(0, at).join("/"));
  return make("p", {ariaLabel: "folder"}, link(to(0), list.set), ...parts.flatMap((name, at) =>
    [" / ", at + 1 === parts.length ? named(name) : link(to(at + 1), named(name))]));
}
function choice(set, date, path) {
  const dates = set.dates.filter(one => one.listed).reverse(), at = dates.findIndex(one => one.name === date);
  const choose = make("select", {id: "when"}, ...dates.map(one => make("option", {value: one.name}, dateText(one.name))));
  choose.value = date;
  choose.onchange = () => { location.hash = place("date", set.name, choose.value, path); };
  const step = (text, one) => one ? link(place("date", set.name, one.name, path), text) : make("span", {className: "soft"}, text);
  return make("div", {className: "bar"}, make("label", {htmlFor: "when"}, "The same folder on"), choose,
    step("older date", dates[at + 1]), step("newer date", dates[at - 1]));
}
const damageIn = dates => dates.length ? [make("p", {className: "bad"}, "A check found " + dates.map(one =>
  `${many(one.damaged, "damaged file")} in ${dateText(one.name)}`).join(", ") + "; restore and repair say which.")] : [];
async function showDate(isWanted, name, date, path) {
  const set = sets.find(one => one.name === name), facts = set && set.dates.find(one => one.name === date);
  if (!facts) throw new Error("There is no such date on this drive.");
  status.textContent = `Opening ${dateText(date)} ...`;
  const list = await load(name, date), folder = list.folders.get(path);
  if (!isWanted()) return;
  const parts = [make("h2", {tabIndex: -1}, `${name}, ${dateText(date)}`),
    make("p", {className: facts.damaged ? "bad" : "soft"}, facts.said), ...damageIn(facts.damaged ? [facts] : []),
    choice(set, date, path), crumbs(list, path)];
  status.textContent = "";
  if (folder && folder.readable) {
    const order = new Intl.Collator(undefined, {numeric: true}), byName = (a, b) => order.compare(a.name, b.name);
    const entries = [...entriesIn(list, folder)], folders = folder.folders.sort(byName);
    const folderRow = one => cells([link(place("date", name, date, one.path), named(one.name), "/")], number("folder"), cell(), cell());
    const rows = [...folders, ...entries.length > 5000 ? entries : entries.sort(byName)];
    parts.push(...table(["Name", "Size", "Changed", "More"], rows, one => one.folders ? folderRow(one) : fileRow(list, one), "entry"));
    status.textContent = `${many(folders.length, "folder")} and ${many(entries.length, "file")} here.`;
  } else parts.push(make("p", null, folder ? "This folder could not be read on that date." : "This folder is not in this date."));
  view.replaceChildren(...parts);
}

// --- Search ---
// Gives of each path its versions over all dates, newest first; `pick` gives the entries of a date that are wanted.
async function collect(isWanted, among, pick) {
  const found = new Map(), dates = among.flatMap(set => set.dates.filter(one => one.listed).reverse().map(one => [set.name, one.name]));
  let lost = 0, beyond = false;
  for (const [at, [set, date]] of dates.entries()) {
    status.textContent = `Searching ${dateText(date)} (${at + 1} of ${dates.length}) ...`;
    const list = await load(set, date).catch(() => null);
    await new Promise(done => setTimeout(done));
    if (!isWanted()) return null;
    if (!list) { lost += 1; continue; }
    for (const entry of pick(list)) {
      const key = set + "/" + entry.path, version = entry.isFolder ? "folder" : `${entry.kind || entry.size}/${entry.seconds}`;
      if (!found.has(key) && found.size >= MOST) { beyond = true; continue; }
      if (!found.has(key)) found.set(key, {set, path: entry.path, versions: new Map()});
      const versions = found.get(key).versions;
      if (!versions.has(version)) versions.set(version, {entry, dates: []});
      versions.get(version).dates.push(date);
    }
  }
  return {found: [...found.values()], lost, beyond, dates: dates.map(one => one[1])};
}
function* matching(list, words) {
  const wanted = folded(words), whole = wanted.includes("/");
  for (const folder of list.folders.values()) {
    const at = folded(folder.path);
    if (folder.path && (whole ? at : folded(folder.name)).includes(wanted)) yield {path: folder.path, isFolder: true};
    if (!whole && !folded(folder.text).includes(wanted)) continue;
    for (const entry of entriesIn(list, folder)) {
      if ((whole ? join(at, folded(entry.name)) : folded(entry.name)).includes(wanted)) yield entry;
    }
  }
}
function versionRow(one, version, all) {
  const {entry, dates} = version, newest = dates[0], oldest = dates[dates.length - 1];
  const toDate = date => link(place("date", one.set, date, entry.isFolder ? one.path : parentOf(one.path)), ...unbroken(dateText(date)));
  const what = entry.isFolder ? link(place("date", one.set, newest, one.path), named(one.path), "/") :
    entry.kind ? named(one.path) : toFile(entry, one.path);
  const when = all ? dates.flatMap(date => [toDate(date), make("br")]) :
    [toDate(newest), ...dates.length > 1 ? [` and ${many(dates.length - 1, "other")}, back to `, ...unbroken(dateText(oldest))] : []];
  return cells([what], number(entry.isFolder ? "folder" : entry.kind || sizeText(entry.size)), timeCell(entry), cell(...when));
}
const parentOf = path => path.slice(0, Math.max(0, path.lastIndexOf("/")));
function showResult(result, said, head, all) {
  const rows = result.found.flatMap(one => [...one.versions.values()].map(version => [one, version]));
  status.textContent = said + (result.lost ? `; ${many(result.lost, "date")} cannot be opened.` : ".");
  const shown = table(["Name", "Size", "Changed", "On"], rows, ([one, version]) => versionRow(one, version, all), "version");
  view.replaceChildren(make("h2", {tabIndex: -1}, ...head), ...rows.length ? shown : []);
}
async function showFound(isWanted, words) {
  const result = await collect(isWanted, sets, list => matching(list, words)), more = "; there are more: type more of the name";
  if (result) showResult(result, `${many(result.found.length, "name")} found in ${many(result.dates.length - result.lost, "date")}` +
    (result.beyond ? more : ""), ["Found: ", named(words)], false);
}
async function showVersions(isWanted, set, path) {
  const result = await collect(isWanted, sets.filter(one => one.name === set), list => {
    const folder = list.folders.get(parentOf(path));
    return folder ? [...entriesIn(list, folder)].filter(entry => entry.path === path) : [];
  });
  if (!result) return;
  const versions = result.found.length ? [...result.found[0].versions.values()] : [], there = versions.flatMap(one => one.dates);
  showResult(result, `${many(versions.length, "version")} in ${many(there.length, "date")}`, ["Versions of ", named(path)], true);
  const gone = result.dates.filter(date => !there.includes(date)), all = sets.filter(one => one.name === set).flatMap(one => one.dates);
  view.querySelector("h2").after(...damageIn(all.filter(one => one.damaged && there.includes(one.name)).reverse()));
  if (gone.length && !result.lost) view.append(make("p", {className: "soft"}, "Not in: " + gone.map(dateText).join(", ")));
}

// --- Which view is shown stands behind the # of the address, so that the browser's own way back works ---
const VIEWS = new Map([["date", showDate], ["find", showFound], ["file", showVersions]]);
async function route() {
  const mine = turn += 1, isWanted = () => mine === turn, isView = location.hash.startsWith("#/");
  document.body.classList.toggle("viewing", isView);
  view.replaceChildren();
  status.textContent = "";
  document.title = TITLE;
  if (!isView) return;
  try {
    const [kind, ...words] = wordsOf(location.hash);
    if (!VIEWS.has(kind)) throw new Error("There is nothing at this address.");
    await VIEWS.get(kind)(isWanted, ...words);
  } catch (error) {
    if (isWanted()) status.textContent = error.message;
  }
  const head = view.querySelector("h2");
  if (!isWanted() || !head) return;
  document.title = head.textContent + " - " + TITLE;
  head.focus();
}
document.body.classList.add("app");
document.onclick = event => {
  const date = event.target.closest("[data-date]");
  if (date) { event.preventDefault(); location.hash = place("date", ...date.dataset.date.split("/"), ""); }
};
document.getElementById("search").hidden = !sets.some(set => set.dates.some(one => one.listed));
document.getElementById("search").onsubmit = event => {
  event.preventDefault();
  const to = place("find", document.getElementById("words").value.trim());
  if (location.hash === to) route(); else location.hash = to;
};
window.onhashchange = route;
route();
"""
PAGE_SET = """$head
<figure><div class="scroll"><svg role="img" width="$width" height="196" viewBox="0 0 $width 196"
aria-label="Chart of $dates; the table below says the same"><path d="M0 130.5H$width"/>$bars</svg></div>
<figcaption class="soft">Above the line: the size of each date, at most $size. Below it, as square roots: how many files were new,
changed or gone, up to $change. \u2713 checked and good, \u2717 damaged, ! deleting is on hold, \u25c6 pinned.</figcaption></figure>
<p>Last checks: $checks.</p><div class="scroll"><table><thead><tr><th scope="col">Date<th scope="col" class="n">Files
<th scope="col" class="n">Size<th scope="col" class="n">New<th scope="col" class="n">Changed<th scope="col" class="n">Gone
<th scope="col">Checked<th scope="col">Remarks<tbody>$rows</table></div>
"""
PAGE_FRAME = """$title
<html lang="en"><head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-$script_hash' file:; \
style-src 'sha256-$style_hash'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>Get files back from $label</title>
<style>$style</style></head><body>
<header><h1>Get files back from <bdi>$label</bdi></h1>
<p>Open a date, find the file, and copy it to the computer (right-click its name and save it) before you open it. Please change
nothing on the drive: several dates share the same file.</p>
<nav aria-label="Parts of this page"><a href="#dates">Dates</a><a href="#plan">Recovery plan</a></nav>
<noscript><p class="bad">This browser runs no scripts for this page, so a date leads to its folder, and there is no search.</p></noscript>
</header><main><form id="search" role="search" hidden><label for="words">Search names on all dates</label><input id="words" type="search"
required><button>Search</button></form><p id="status" role="status" aria-live="polite"></p><div id="view"></div>
<section id="dates" class="home">$sets</section>
<section id="plan" class="home"><h2>Recovery plan</h2><pre>$plan</pre></section></main>
<script type="application/json" id="facts">$facts</script>
<script>$script</script></body></html>
"""


def markup(text: str) -> str:
    """Write text that is nothing but text in HTML, in values of attributes too."""
    return "".join({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}.get(char, char) for char in show(text))


def page_date(name: str) -> str:
    """Write a dated copy's name for people."""
    day, time, *again = name.split("_")
    return f"{day} {time[:2]}:{time[2:4]}:{time[4:6]}{''.join(' no. ' + one for one in again)}"


def page_remarks(one: DateFacts) -> Tuple[str, str]:
    """Say in a few words what checks found of a date, and what else is to be known of it."""
    when = one.checked[:16].replace("T", " ")
    found = count_text(one.damaged, "damaged file") if one.damaged else "good" if when else "not yet"
    said = (("on hold: much was lost at once", one.hold), ("pinned", one.pinned), (f"{one.skipped:,} could not be read", one.skipped),
            (f"{one.kept:,} kept from earlier", one.kept), ("holds only what was new", one.layout == Layout.CHANGES.value))
    return f"{found}{', ' * bool(when)}{when}", "; ".join(text for text, is_so in said if is_so)


def page_sentence(one: DateFacts) -> str:
    """Say all that is told of a date."""
    changed = f"{one.new:,} new, {one.changed:,} changed, {one.gone:,} gone"
    checked, remarks = page_remarks(one)
    return f"{size_text(one.bytes)} in {count_text(one.files, 'file')}; {changed}; checked: {checked}{'; ' * bool(remarks)}{remarks}"


def page_bar(place: str, one: DateFacts, at: int, step: int, heights: Tuple[float, float]) -> str:
    """Draw one date: its size above the line, what changed below it, and over both the marks of what is to be known of it."""
    (up, down), x = heights, at * step + 1
    marks = [("bad", "\u2717")] if one.damaged else [("", "\u2713")] if one.checked else []
    marks += [("bad", "!")] * one.hold + [("", "\u25c6")] * one.pinned
    texts = [f'<text class="{kind}" x="{x}" y="{12 + 12 * row}">{mark}</text>' for row, (kind, mark) in enumerate(marks)]
    texts += [f'<text x="{x}" y="192">{one.name[:10]}</text>'] if at % -(-75 // step) == 0 else []
    return (f'<g{place}><title>{page_date(one.name)}: {markup(page_sentence(one))}</title>'
            f'<rect class="files" x="{x}" y="{130 - up:.1f}" width="{step - 2}" height="{up:.1f}"/>'
            f'<rect class="changes" x="{x}" y="131" width="{step - 2}" height="{down:.1f}"/>{"".join(texts)}</g>')


def page_set(a_set: SetFacts) -> str:
    """Write what the page shows of a set without a script: a chart of its dates, the last checks, a table, newest first.

    The oldest date, in which all may be new, does not count for the scale of changes.
    """
    head, dates, bars, rows = f"<h2>{markup(a_set.name)}</h2>", a_set.dates, [], []
    if not dates:
        return head + "<p>There is no dated copy yet.</p>"
    changes, step = [one.new + one.changed + one.gone for one in dates], max(9, min(48, 900 // len(dates)))
    size, change, width = max(1, *(one.bytes for one in dates)), max(1, *(changes[1:] or changes)), max(len(dates) * step + 70, 320)
    for at, one in enumerate(dates):
        place = f' data-date="{a_set.name}/{one.name}"' if one.listed else ""
        bars.append(page_bar(place, one, at, step, (90 * one.bytes / size, 45 * min(1, changes[at] / change) ** 0.5)))
        numbers = (f"{one.files:,}", size_text(one.bytes), *(f"{count:,}" for count in (one.new, one.changed, one.gone)))
        rows.append('<tr><th scope="row" class="when"><a{} href="{}/{}/" target="_blank">{}</a></th>{}<td{}>{}</td><td>{}</td></tr>'.format(
            place, a_set.name, one.name, page_date(one.name), "".join(f"<td class=n>{number}</td>" for number in numbers),
            " class=bad" * bool(one.damaged), *map(markup, page_remarks(one))))
    checks = "; ".join(f"{when[:16].replace('T', ' ')} {what}: {count_text(bad, 'damaged file') if bad else 'nothing damaged'}"
                       for when, what, bad in a_set.checks)
    return string.Template(PAGE_SET).substitute(
        head=head, width=width, dates=count_text(len(dates), "date"), bars="".join(bars), size=size_text(size), change=f"{change:,}",
        checks=markup(checks) or "none yet", rows="\n".join(reversed(rows)))


def page_text(facts: DriveFacts, plan: str) -> str:
    """Write the recovery page: whole with a script, and readable without one."""
    sets = [{"name": one.name, "dates": [{**date._asdict(), "said": page_sentence(date)} for date in one.dates]} for one in facts.sets]
    sets += [{"name": name, "dates": []} for name in facts.closed]
    closed = "<p>Its copies belong to another user of this drive, and cannot be shown here.</p>"
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")  # CSP: what may run and apply
              for name, text in (("style_hash", PAGE_STYLE), ("script_hash", PAGE_SCRIPT))}
    return string.Template(PAGE_FRAME).substitute(
        hashes, title=PAGE_TITLE, label=markup(show(facts.label)), style=PAGE_STYLE, script=PAGE_SCRIPT,
        sets="\n".join([*map(page_set, facts.sets), *(f"<h2>{markup(name)}</h2>{closed}" for name in facts.closed)]),
        plan="\n".join(map(markup, plan.split("\n"))), facts=script_text(sets))


RESTORE_SCRIPT = RESTORER_TITLE + r""": sh restore.sh SET/DATE NEW-FOLDER
# It copies the files of the date, wherever on the drive they lie, and checks them where sha256sum or shasum is there.
# Owners, extended attributes, hard links and special files come back with snapback.py alone.

LC_ALL=C
export LC_ALL
date=${1%/} to=$2
list=$date/SHA256SUMS
if [ $# != 2 ] || [ ! -f "$list" ]; then
    echo "usage: sh restore.sh SET/DATE NEW-FOLDER   (a dated folder with its list SHA256SUMS, and where the files are to go)" >&2
    exit 2
fi
if [ -e "$to" ]; then
    echo "$to is there already; name a new folder" >&2
    exit 2
fi
case $date in */*) ;; *) date=./$date ;; esac
case $to in /*) ;; *) to=./$to ;; esac
set_folder=${date%/*} files=0 bad=0 newline='
'
if command -v sha256sum > /dev/null; then sum=sha256sum
elif command -v shasum > /dev/null; then sum='shasum -a 256'
else sum=; fi
case $(stat -c %.9Y "$list" 2> /dev/null) in *[0-9].?????????) tells_times=yes ;; *) tells_times= ;; esac

# Gives in $text what stands behind a word of a line: \ooo is a byte.
word() {
    case $line in *" $1="*) ;; *) text=; return ;; esac
    text=${line##*" $1="}
    text=${text%% *}
    case $text in *\\*)
        rest=$text text=
        while case $rest in *\\*) ;; *) false ;; esac; do
            text=$text${rest%%\\*}\\0
            rest=${rest#*\\}
        done
        text=$(printf '%bx' "$text$rest")
        text=${text%x} ;;
    esac
}

# Gives in $mode what is to be: nothing becomes another user's program, and what makes no sense is left out.
permissions() {
    word mode
    case $text in
    [1357][0-7][0-7][0-7]) mode=1${text#?} ;;
    [0246][0-7][0-7][0-7]) mode=0${text#?} ;;
    *) mode= ;;
    esac
}

# Says what is not as it should be.
complain() {
    echo "$1" >&2
    bad=$((bad + 1))
}

# Refuses a path that would lead elsewhere.
plain() {
    case "/$1/" in *//* | */./* | */../*) complain "not restored, as its path leads elsewhere: $1"; return 1 ;; esac
}

# Refuses a path that leads through a link, below a folder: that folder, and the path.
inside() {
    at=$1
    rest=$2
    while case $rest in */*) ;; *) false ;; esac; do
        at=$at/${rest%%/*}
        rest=${rest#*/}
        if [ -L "$at" ]; then complain "not restored, as its path leads elsewhere: $2"; return 1; fi
    done
}

# Refuses a name that something else has in the target, as where small letters are the same as large ones.
free() {
    inside "$to" "$1" || return 1
    if [ -e "$to/$1" ] || [ -L "$to/$1" ]; then
        complain "NOT RESTORED, as this disk takes its name for another one: $1"
        return 1
    fi
}

# Copies one file: its place, its path, its time, its checksum.
one() {
    if ! cp -p -- "$1" "$to/$2"; then
        complain "MISSING: $2"
        return
    fi
    [ -z "$mode" ] || chmod "$mode" "$to/$2" 2> /dev/null
    touch -d "@$3" "$to/$2" 2> /dev/null
    files=$((files + 1))
    if [ -n "$sum" ]; then
        is=$($sum < "$to/$2")
        [ "${is%% *}" = "$4" ] || complain "DAMAGED: $2"
    fi
}

# Copies files from one folder to another that keep their names, which are given; $times and $digests are theirs.
# A call of another program costs more than copying a small file, so each serves many of them.
many() {
    were=$mode mode=$their_mode time_rest=$times digest_rest=$digests is= are=
    if (cd "$from_folder" && cp -p -- "$@" "$whole_to/$to_folder/") 2> /dev/null && (
        cd "$to/$to_folder" && { [ -z "$mode" ] || chmod "$mode" "$@" 2> /dev/null; }) && {
        [ -z "$sum" ] || is=$(cd "$to/$to_folder" && $sum "$@"); }; then
        [ -z "$tells_times" ] || are=$(cd "$to/$to_folder" && stat -c %.9Y "$@")
        is=$is$newline are=$are$newline
        for each; do
            put=$to_folder/${each#./}
            [ "${are%%"$newline"*}" = "${time_rest%% *}" ] || touch -d "@${time_rest%% *}" "$to/$put" 2> /dev/null
            got=${is%% *}
            [ -z "$sum" ] || [ "${got#\\}" = "${digest_rest%% *}" ] || complain "DAMAGED: ${put#./}"
            files=$((files + 1)) time_rest=${time_rest#* } digest_rest=${digest_rest#* } is=${is#*"$newline"} are=${are#*"$newline"}
        done
    else
        for each; do
            put=$to_folder/${each#./}
            rm -f -- "$to/$put"
            one "$from_folder/$each" "${put#./}" "${time_rest%% *}" "${digest_rest%% *}"
            time_rest=${time_rest#* } digest_rest=${digest_rest#* }
        done
    fi
    mode=$were
}

# Copies the files that wait for others of the same folder.
flush() {
    [ $# = 0 ] || many "$@"
    from_folder= times= digests=
}

mkdir -p -- "$to" || exit 1
whole_to=$(cd -- "$to" && pwd && echo x) || exit 1
whole_to=${whole_to%??}
umask 077   # until a folder has its own permissions, it is nobody else's business
most=100
for name in restore-probe "$(printf 'restore-\303\204')"; do # a disk that takes two names for one is given each file by itself
    mkdir -- "$to/$name" 2> /dev/null || most=1
    if [ -e "$to/RESTORE-PROBE" ] || [ -e "$to/$(printf 'restore-A\314\210')" ]; then most=1; fi
    rmdir -- "$to/$name" 2> /dev/null
done
own= mode= time= end= skipped=0 from_folder= to_folder= their_mode= times= digests=
set --
while IFS= read -r line; do
    case $line in
    '# type=dir '*)
        flush "$@"
        set --
        word path
        plain "$text" && inside "$to" "$text/" && mkdir -p -- "$to/$text" ;;
    '# type=link '*)
        word path; path=$text
        word link
        flush "$@"     # none of these may be written through the link
        set --
        plain "$path" && free "$path" || continue
        ln -s -- "$text" "$to/$path" || complain "MISSING: $path" ;;
    '# type=file '*)
        permissions
        word time; time=$text
        word path; own=$text ;;
    '# type=skipped '*)
        word path
        echo "not in this date, as it could not be read then: $text" >&2
        skipped=$((skipped + 1)) ;;
    '# end '*) end=$line ;;
    '#'*) ;;
    *)
        stored=${line#*  }
        digest=${line%%  *}
        case $line in \\*) stored=$(printf '%bx' "$stored"); stored=${stored%x} digest=${digest#?} ;; esac
        case $stored in
        ../*/*) place=${stored#../}; path=${place#*/}; place=${place%%/*} ;;
        *) place=${date##*/} path=$stored ;;
        esac
        from=$set_folder/$place/$path
        plain "$place/$path" && inside "$set_folder" "$place/$path" || continue
        [ -z "$own" ] || path=$own
        plain "$path" && free "$path" || continue
        if [ -L "$from" ] || [ ! -f "$from" ]; then complain "MISSING: $path"; continue; fi
        name=${path##*/} folder=.
        case $path in */*) folder=${path%/*} ;; esac
        case $name in *"$newline"*) alone=yes ;; *) alone= ;; esac
        if [ -n "$alone" ] || [ "$most" = 1 ] || [ "${from##*/}" != "$name" ]; then
            one "$from" "$path" "$time" "$digest"
            continue
        fi
        if [ "${from%/*}|$folder|$mode" != "$from_folder|$to_folder|$their_mode" ] || [ $# -ge "$most" ]; then
            flush "$@"
            set --
            from_folder=${from%/*} to_folder=$folder their_mode=$mode
        fi
        set -- "$@" "./$name"
        times="$times$time " digests="$digests$digest " ;;
    esac
done < "$list"
flush "$@"
grep '^# type=dir ' "$list" | awk '{ line[NR] = $0 } END { for (n = NR; n; n--) print line[n] }' | while IFS= read -r line; do
    word path; path=$text
    plain "$path" 2> /dev/null && inside "$to" "$path/" 2> /dev/null && [ -d "$to/$path" ] || continue
    word time
    touch -d "@$text" "$to/$path" 2> /dev/null
    permissions
    [ -z "$mode" ] || chmod "$mode" "$to/$path" 2> /dev/null
done
is=
[ -z "$sum" ] || is=$(sed '$d' "$list" | $sum)
case $end in
*'"sha256": "'"${is%% *}"*) ;;
*)
    echo "NOT OK - the list $list is damaged, so files may be lacking; put the second list in its place with:" >&2
    echo "    gzip -dc < '$set_folder/manifests/${date##*/}.gz' > '$list'" >&2
    echo "and run this again with another new folder; until then take what is in $to as it is" >&2
    exit 4 ;;
esac
if [ $bad != 0 ]; then echo "NOT OK - $files files were copied to $to, and $bad are missing or damaged" >&2; exit 4; fi
if [ -n "$sum" ]; then echo "OK - $files files were copied to $to, and every checksum was right"
else echo "$files files were copied to $to; nothing here can check them"; fi
if [ $skipped != 0 ]; then echo "NOT COMPLETE - what is named above is not in this date" >&2; exit 3; fi
"""


def span_text(seconds: float) -> str:
    """Write a span of time for people.

    >>> span_text(0.4), span_text(75), span_text(90000)
    ('0.4 s', '1 min 15 s', '1 day 1 h')
    """
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds + 0.5)
    steps = ((86400, "day"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, unit), (next_size, next_unit) in zip(steps, steps[1:]):
        if whole >= size:
            more = whole % size // next_size
            name = unit + "s" if unit == "day" and whole >= 2 * size else unit
            return f"{whole // size} {name}" + (f" {more} {next_unit}" if more else "")
    return f"{whole} s"


def age_text(taken: Optional[datetime], now: datetime) -> str:
    """Write how long ago something was.

    >>> now = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    >>> [age_text(now - timedelta(seconds=one), now) for one in (30, 3599.7, 3900, 90000)]
    ['just now', '59 min ago', '1 h 5 min ago', '1 day 1 h ago']
    """
    if taken is None:
        return "?"
    seconds = (now - taken).total_seconds()
    if seconds < 60:
        return "in the future" if seconds < -60 else "just now"
    return span_text(seconds if seconds >= 3600 else seconds // 60 * 60) + " ago"


def ability_lines(prepared: Prepared) -> List[str]:
    """Say in plain words what a drive can do."""
    can, space = prepared.abilities, f"Space:        {size_text(prepared.free)} free of {size_text(prepared.total)}"
    if can is None:
        return [space]
    lines = [
        space,
        "Same files:   " + ("unchanged files cost no space in later copies (hard links)" if can.hard_links else
                            "stored once: a dated folder has only what is new or has changed"),
        "Permissions:  " + ("kept on the drive" if can.modes else "kept in each copy's list, and come back when you restore"),
        "Links:        " + ("kept on the drive" if can.symlinks else "kept in each copy's list, and come back when you restore"),
        "Times:        " + ("exact" if can.time_step_ns <= 100 else
                            f"to {can.time_step_ns / 1e9:g} s on the drive, exact in each list and when you restore"),
    ]
    if can.naming is not Naming.BYTES or not can.exact_names:
        lines.append("Names:        some are changed there (a:b to a%3Ab), and come back on restore")
    if prepared.largest:
        lines.append("Large files:  4 GiB at most, as it is a FAT32 drive; larger ones are named")
    return lines


def init_answer(prepared: Prepared, path: str, unheard: Sequence[str]) -> Answer:
    """Report what `init` did; `unheard` are options that an existing marker left without effect."""
    label = show(prepared.marker.label)
    first = (f"{show(path)} is now a backup drive, called {label}." if prepared.made else
             f"{show(path)} is a backup drive already, called {label}; nothing was changed.")
    lines = [first, *ability_lines(prepared)]
    if prepared.same_disk:
        lines.append("Same disk:    this computer's own: it helps with mistakes, not if that disk dies")
    instead = ", in the place of the one it had" if prepared.made and prepared.has_copies else ""
    lines += ["", f"It has dated copies already:  snapback.py list --drive {shell_word(path)}" if prepared.has_copies else
              f"Next, make a dated copy:  snapback.py backup ~/Documents {shell_word(path)}",
              f"Its section in {SETTINGS}, for runs by themselves{instead}:", f"  [drive {prepared.marker.id}]"]
    problems = [*prepared.notes, *(f"{option} had no effect, as the drive keeps what its marker says; to change that, edit {MARKER} there"
                                   for option in unheard)]
    return Answer(Exit.ATTENTION if problems else Exit.DONE, lines, problems, {
        "id": prepared.marker.id, "label": prepared.marker.label, "offline": prepared.marker.offline, "made": prepared.made,
        "free": prepared.free, "total": prepared.total,
        "same_disk": prepared.same_disk, "largest_file": prepared.largest, **(prepared.abilities.facts() if prepared.abilities else {})})


NOTES_SHOWN = 20
ALL_IN_JSON = "add --json to see all"


def note_lines(notes: Notes, all_are: str) -> List[str]:
    """Name what needs attention, the first few in full; `all_are` says where the others are named."""
    lines = [f"{show(note.path)}: {note.why}" if note.path else note.why for note in notes[:NOTES_SHOWN]]
    rest = len(notes) - NOTES_SHOWN
    return [*lines, f"... and {rest:,} more; {all_are}"] if rest > 0 else lines


class Trouble(NamedTuple):
    """What many files of a source have in common that could not be read: words for one and for many of them, and the way out."""

    one: str
    many: str
    cure: str


TROUBLES: Mapping[str, Trouble] = {
    IN_USE: Trouble("is open in another program", "are open in another program", "close it, and run the same command again"),
    CLOUD_ONLY: Trouble(
        "is kept only in the cloud (OneDrive or the like)", "are kept only in the cloud (OneDrive or the like)",
        'in their folder\'s menu choose "Always keep on this device", wait until they are there, and run the same command again'),
}
NAMED_TOGETHER = 5


def together(notes: Notes, all_are: str) -> Notes:
    """Put files of a source that could not be read for the same reason into one note, before all others; `all_are` says where to look."""
    rest, found = [], {why: [] for why in TROUBLES}  # type: Notes, Dict[str, Notes]
    for note in notes:
        found.get(note.why.partition(";")[0], rest).append(note)
    lines = []
    for why, files in found.items():
        trouble, kept = TROUBLES[why], sum(";" in note.why for note in files)
        names = ", ".join(show(note.path) for note in files[:NAMED_TOGETHER])
        names += f", and {len(files) - NAMED_TOGETHER:,} more ({all_are})" if len(files) > NAMED_TOGETHER else ""
        older = "; an earlier copy is kept" + (f" of {kept:,}" if len(files) > kept else "") if kept else ""
        if files:
            lines.append(Note("", f"{count_text(len(files), 'file')} {trouble.one if len(files) == 1 else trouble.many} and "
                                  f"{'was' if len(files) == 1 else 'were'} not copied: {names}{older}; {trouble.cure}"))
    return [*lines, *rest]  # none of the former is to be cut off


def group_names(snapshots: Iterable[Snapshot]) -> Dict[str, str]:
    """Name the sources of each dated copy, with their paths where the names alone do not tell the groups; empty if there is one group.

    >>> old, new = (Snapshot(path, State.WHOLE, {"sources": {"Documents": path}}) for path in ("/old", "/new"))
    >>> group_names([old]), group_names([old, new])["/new"]
    ({}, 'Documents=/new')
    """
    groups = {one.name: frozenset(one.sources.items()) for one in snapshots if one.sources}
    names = Counter(frozenset(alias for alias, _path in group) for group in set(groups.values()))
    if sum(names.values()) < 2:
        return {}
    named = {}
    for name, group in groups.items():
        alone = names[frozenset(dict(group))] == 1
        named[name] = ", ".join(show(alias if alone else f"{alias}={path}") for alias, path in sorted(group))
    return named


def plan_lines(plan: Plan, groups: Mapping[str, str]) -> List[str]:
    """Write a plan, each dated copy once with its reasons and, where there are several groups, its sources."""
    spare = {one.name: one.reasons for one in plan.spare}
    rows = [("keep", one.name, one.reasons) for one in plan.keep if one.name not in spare]
    rows += [("delete", one.name, one.reasons) for one in plan.remove]
    rows += [("spare", one.name, (*one.reasons, *spare[one.name])) for one in plan.keep if one.name in spare]
    return [f"{word:<7} {name:<20}  {'; '.join([*reasons, *([f'of {groups[name]}'] if name in groups else [])])}"
            for word, name, reasons in rows]


def plan_facts(plan: Plan) -> Dict[str, Any]:
    """Give a plan for machines."""
    return {word: [{"snapshot": one.name, "reasons": list(one.reasons)} for one in verdicts]
            for word, verdicts in (("keep", plan.keep), ("remove", plan.remove), ("spare", plan.spare))}


def rotated_lines(done: Rotated) -> List[str]:
    """Say what was deleted, and what was set apart."""
    number = count_text(len(done.removed), "old dated copy", "old dated copies")
    lines = [f"Deleted {number}, which freed {size_text(done.freed)}: {', '.join(done.removed)}"] if done.removed else []
    lines += [f"was in no list, so it was moved to {FOUND}: {show(path)}" for path in done.found[:NOTES_SHOWN]]
    if done.put_off and not done.attention:
        lines.append(f"Note: {done.put_off}.")
    return lines


def rotated_notes(done: Rotated) -> Notes:
    """Give what of a rotation needs a person's attention."""
    put_off = [Note("", f"no old dated copy was deleted: {done.put_off}")] if done.attention else []
    broken = [Note("", f"deleting old dated copies did not come to its end: {done.broken_off}")] if done.broken_off else []
    damaged = [Note(one.name, f"it stays, as {one.reasons[0]}") for one in done.plan.damaged if not done.put_off]
    failed = [note._replace(why=f"could not be deleted ({note.why})") if note.path else note for note in done.notes]
    return [*put_off, *broken, *damaged, *failed]


def hold_cure(set_path: str) -> List[str]:
    """Say what to do about a hold."""
    return [f"if that was not you, it may be ransomware: unplug this drive, and read {RECOVERY} on another computer",
            f"if it was you, run: snapback.py accept --drive {shell_word(set_path)}"]


def hold_lines(hold: str, set_path: str) -> List[str]:
    """Say that a set is on hold, and what to do."""
    return [f"{hold}; nothing old is deleted", *hold_cure(set_path)]


def rotate_answer(done: Rotated, snapshots: Sequence[Snapshot], set_path: str, dry_run: bool) -> Answer:
    """Report a rotation of these dated copies, or what it would do."""
    lines = plan_lines(done.plan, group_names(snapshots))
    if dry_run:
        go, stay, spare = len(done.plan.remove), len(done.plan.keep), len(done.plan.spare)
        only = f", of which {spare} only while enough is free" if spare else ""
        lines.append(f"By the rules {go} would go and {stay} stay{only}; nothing is deleted now." if done.put_off else
                     f"Would delete {go} and keep {stay}{only}; nothing was deleted.")
    else:
        lines += rotated_lines(done) or ["Nothing was deleted."]
    problems = note_lines(rotated_notes(done), ALL_IN_JSON) + (hold_cure(set_path) if done.held else [])
    return Answer(Exit.HELD if done.held else Exit.ATTENTION if problems else Exit.DONE, lines, problems, {
        **plan_facts(done.plan), "dry_run": dry_run, "removed": done.removed, "freed": done.freed, "found": done.found,
        "put_off": done.put_off, "failed": [note._asdict() for note in done.notes]})


def is_settled(taken: Taken) -> bool:
    """Tell whether everything is flushed that a run did, the deleting too."""
    return taken.settled and not (taken.rotated and taken.rotated.broken_off)


def backup_facts(taken: Taken, seconds: float) -> Dict[str, Any]:
    """Give the summary of a dated copy under restic's names, and our own beside them."""
    counts, rotated = taken.counts, taken.rotated
    return {**{f"files_{same.value}": counts.files[same] for same in (Same.NEW, Same.CHANGED, Same.UNCHANGED)},
            **{f"dirs_{same.value}": counts.dirs[same] for same in (Same.NEW, Same.CHANGED, Same.UNCHANGED)},
            "data_added": counts.added, "total_files_processed": counts.total_files, "total_bytes_processed": counts.bytes,
            "total_duration": round(seconds, 3), "snapshot_id": taken.name, "dry_run": False, "set": taken.set_name,
            "bytes_read_back": taken.read_back,
            "seq": taken.seq, "path": taken.path, "skipped": counts.skipped, "kept": counts.kept, "gone": counts.gone,
            "excluded": counts.excluded, "sockets": counts.sockets, "other": counts.other,
            "safe_to_unplug": is_settled(taken) and not taken.same_disk, "same_disk": taken.same_disk,
            "hold": taken.hold, "removed": list(rotated.removed) if rotated else [], "freed": rotated.freed if rotated else 0,
            "notes": [note._asdict() for note in [*taken.notes, *(rotated_notes(rotated) if rotated else ())]]}


def backup_answer(taken: Taken, label: str, seconds: float, schedule: str, ejected: Optional[Tuple[bool, str]] = None) -> Answer:
    """Report a dated copy; `ejected` says whether the drive was ejected after it, and in which words."""
    counts, files = taken.counts, taken.counts.files
    numbers = f"{files[Same.NEW]:,} new, {files[Same.CHANGED]:,} changed, {files[Same.UNCHANGED]:,} unchanged"
    total = f"{count_text(counts.total_files, 'file')}, {size_text(counts.bytes)}"
    lines = [f"Dated copy {taken.name} made on {label}: {show(taken.path)}",
             f"{total}: {numbers}; {size_text(counts.added)} copied in {span_text(seconds)}"]
    asides = [(counts.skipped, "not in this copy"), (counts.kept, "kept from an earlier copy"), (counts.excluded, "left out as you asked"),
              (counts.sockets, "sockets left out (they hold nothing)"), (counts.mended, "stored anew, as the older copy is damaged"),
              (counts.moved, "only moved or renamed")]
    if any(count for count, _ in asides):
        lines.append("; ".join(f"{count:,} {words}" for count, words in asides if count))
    lines += [] if taken.read_back is None else [f"All {size_text(taken.read_back)} of it read back from {label} as written"]
    lines += [f"{label} lies inside {show(source)}: nothing that is on it was copied" for source in taken.inside]
    if taken.full_size:
        lines.append(f"{label} cannot share files between dates, so each whole copy takes its full size; without --layout complete only "
                     "what is new or has changed is stored")
    lines += rotated_lines(taken.rotated) if taken.rotated else []
    if schedule:
        lines += ["From now on, by hand or from cron:", "  " + schedule]
    unplug = f"safe to unplug {label}" if is_settled(taken) else f"do not unplug {label} yet: eject it first"
    if taken.same_disk:
        unplug = f"{label} is on the same disk as what was copied: this helps against mistakes, not when that disk dies"
    if ejected:
        unplug = ejected[1] if ejected[0] else f"do not unplug {label} yet"
    old = rotated_notes(taken.rotated) if taken.rotated else []
    old += [Note("", ejected[1])] if ejected and not ejected[0] else []
    if any(note.path for note in taken.notes) or counts.skipped or counts.kept:
        end = (f"NOT COMPLETE - {count_text(len(taken.notes), 'thing')} above "
               f"{'needs' if len(taken.notes) == 1 else 'need'} attention; everything else is in this copy; {unplug}")
    else:
        end = f"OK - you can rely on this copy; {unplug}"
        if taken.notes or old:
            end = f"OK - you can rely on this copy, but what is said above needs attention; {unplug}"
    in_list = f"all are named in its list, {MANIFEST}"
    problems = note_lines(together(taken.notes, in_list), in_list) + note_lines(old, ALL_IN_JSON)
    if taken.hold:
        problems += hold_lines(taken.hold, parent_path(taken.path))
        end = f"ON HOLD - the dated copy was made, and every earlier one is untouched; {unplug}"
    facts = backup_facts(taken, seconds)
    if ejected:
        facts.update(ejected=ejected[0], safe_to_unplug=ejected[0])
    code = Exit.HELD if taken.hold else Exit.ATTENTION if problems else Exit.DONE
    return Answer(code, lines if problems else [*lines, end], [*problems, end] if problems else (), facts)


def top_folders(entries: Iterable[Tuple[Same, int, str]]) -> List[str]:
    """Add up what would be copied, for each source and each folder directly in it.

    >>> top_folders([(Same.NEW, 1, "a/b/c"), (Same.NEW, 2, "a/b/d/e"), (Same.NEW, 3, "a/f")])
    ['new             3 B  a/: 1 file', 'new             3 B  a/b/: 2 files']
    """
    found: Dict[str, List[int]] = {}
    for _same, size, path in entries:
        found.setdefault("/".join(path.split("/")[:-1][:2]), []).append(size)
    return [f"{Same.NEW.value:<10} {size_text(sum(sizes)):>8}  {show(folder + '/') if folder else 'sources that are files'}: "
            f"{count_text(len(sizes), 'file')}" for folder, sizes in sorted(found.items())]


def preview_answer(look: Look, set_name: str, label: str, free: int) -> Answer:
    """Report what a dry run found; `free` is the space on the drive, in bytes."""
    words = {Same.NEW: "new", Same.CHANGED: "changed", Same.DOUBTFUL: "read again"}
    lines = [f"{words[same]:<10} {size_text(size):>8}  {show(path)}" for same, size, path in look.entries]
    new = sum(1 for same, _, _ in look.entries if same is Same.NEW)
    changed = sum(1 for same, _, _ in look.entries if same is Same.CHANGED)
    doubtful = len(look.entries) - new - changed
    if new == look.files and new > NOTES_SHOWN:  # a first copy: who asks wants to see the folders, not all files
        lines = [*top_folders(look.entries), "All files are new; " + ALL_IN_JSON]
    lines.append(f"Would copy {size_text(look.bytes)} to {label}, set {set_name}: {new:,} new and {changed:,} changed of "
                 f"{count_text(look.files, 'file')} ({size_text(look.total)})"
                 + (f"; {doubtful:,} would be read again, to see whether they changed" if doubtful else "") + ". Nothing was written.")
    notes = together(look.notes, ALL_IN_JSON)
    problems = [one.why for one in notes if not one.path]
    problems += [f"cannot be read: {line}" for line in note_lines([one for one in notes if one.path], ALL_IN_JSON)]
    too_large = [Note(path, TOO_LARGE) for path in look.too_large]
    problems += note_lines(too_large, ALL_IN_JSON)
    if look.room > free:
        problems.append(f"this copy would not fit: it needs {size_text(look.room)}, and {size_text(free)} are free on {label}")
    return Answer(Exit.ATTENTION if problems else Exit.DONE, lines, problems, {
        "dry_run": True, "free": free, "files_new": new, "files_changed": changed, "files_unmodified": look.files - len(look.entries),
        "notes": [note._asdict() for note in [*look.notes, *too_large]],
        "data_added": look.bytes, "total_files_processed": look.files, "total_bytes_processed": look.total, "set": set_name,
        "files": [{"path": path, "size": size, "state": same.value} for same, size, path in look.entries]})


def closed_lines(closed: Sequence[str]) -> List[str]:
    """Say how to read the sets of other users."""
    return [f"the set {name} belongs to another user of this computer: run the same command as that user, or with sudo"
            for name in closed]


class Listed(NamedTuple):
    """A set as `list` shows it: its dated copies, how many files of each are known to be damaged, which are pinned and why."""

    snapshots: Sequence[Snapshot]
    bad: Mapping[str, int]
    pins: Mapping[str, str]
    hold: Sequence[str] = ()         # that the set is on hold, and what to do


def newest_is_bad(listed: Listed) -> bool:
    """Tell whether the newest dated copy of a set has files that are known to be damaged."""
    newest = newest_whole(listed.snapshots)
    return newest is not None and newest.name in listed.bad


def damage_lines(name: str, listed: Listed) -> List[str]:
    """Say what of a set is damaged, and the way out."""
    lines = [f"{name}/{one.name}: its list and its second list are damaged; the files are there, but nothing proves them: copy by hand "
             "what you need" for one in listed.snapshots if one.state is State.DAMAGED]
    lines += [f"{name}/{one.name}: its list is damaged, and its second list serves; put it back, in the set's folder, with: "
              f"{put_back(one.name)}" for one in listed.snapshots if one.by_twin]
    lines += [f"{name}: {line}" for line in listed.hold]
    if newest_is_bad(listed):
        lines.append(f"{name}: a check found damaged files, which the next backup stores anew if the source still has them")
    return lines


def list_answer(sets: Mapping[str, Listed], closed: Sequence[str], drive: str, now: datetime) -> Answer:
    """Report the dated copies of each set on a drive."""
    lines, facts = [], []  # type: List[str], List[Dict[str, Any]]
    for name, (snapshots, bad, pins, _hold) in sets.items():
        groups = group_names(snapshots)
        lines.append(f"{name} on {drive}")
        lines.append(f"  {'date':<20} {'files':>10} {'size':>8} {'room':>8}  age")
        for one in snapshots:
            taken = parse_time(str(one.header.get("taken", "")))
            if one.state is State.WHOLE:
                end = one.end
                lines.append(f"  {one.name:<20} {end['files']:>10,} {size_text(end['bytes']):>8} "
                             f"{size_text(end.get('occupied', end.get('added', 0))):>8}  {age_text(taken, now)}"
                             + (f"; {groups[one.name]}" if one.name in groups else "")
                             + ("; not all files could be read or stored" if end.get("skipped") or end.get("kept") else "")
                             + (f"; {bad[one.name]:,} found damaged" if one.name in bad else "")
                             + ("; pinned" if one.name in pins else ""))
                if pins.get(one.name):
                    lines.append(f"  {'':<20} {show(pins[one.name])}")
            else:
                lines.append(f"  {one.name:<20}  {one.state.value}")
            facts.append({"set": name, "snapshot": one.name, "state": one.state.value, "seq": one.seq,
                          "taken": one.header.get("taken"), "files": one.end.get("files"), "bytes": one.end.get("bytes"),
                          **{word: one.end.get(word) for word in ("added", "occupied", "skipped", "kept")},
                          "damaged": bad.get(one.name, 0), "pinned": pins.get(one.name), "sources": dict(one.sources)})
    problems = [line for name, listed in sets.items() for line in damage_lines(name, listed)]
    lines += [f"{name}: older dated copies have damaged files; the newest has none that is known: restore from it"
              + ("" if need_each_other(listed.snapshots) else ", and delete the older ones if you do not need them")
              for name, listed in sets.items() if listed.bad and not newest_is_bad(listed)]
    if not sets and not closed:
        lines.append(f"There is no dated copy on {drive} yet.")
    return Answer(Exit.ATTENTION if problems or closed else Exit.DONE, lines, [*problems, *closed_lines(closed)], {"snapshots": facts})


class DriveStatus(NamedTuple):
    """What `status` knows of a drive."""

    id: str
    label: str
    seen: Seen
    attached: bool
    remind_after: Duration
    trouble: str = ""                    # why it cannot be looked at


NO_OFFLINE = timedelta(days=2)           # whoever leaves a drive attached for longer has no offline drive


def is_offline(one: DriveStatus, now: datetime) -> bool:
    """Tell whether a drive is really unplugged most of the time."""
    since = parse_time(one.seen.attached_since)
    return one.seen.offline and not (one.attached and since and now - since > NO_OFFLINE)


def drive_troubles(one: DriveStatus, now: datetime) -> List[str]:
    """Say what needs attention of a drive."""
    seen, troubles = one.seen, [one.trouble] if one.trouble else []
    taken, cure = parse_time(seen.taken), "run: snapback.py backup" if one.attached else "attach it for a new one"
    heal = "run: snapback.py repair" if one.attached else "attach it and repair it"
    if not seen.snapshot and not one.trouble:
        troubles.append(f"{'there is no dated copy on it' if one.attached else 'no dated copy on it is known here'}: {cure}")
    elif taken and is_past(taken, one.remind_after, now):
        troubles.append(f"its newest copy is {span_text((now - taken).total_seconds())} old: {cure}")
    elif taken and taken - now > AHEAD:
        troubles.append("its newest copy is dated in the future: is the clock right?")
    if seen.hold:
        troubles.append(f"{seen.hold.partition(':')[0]}, as much was lost at once\n  " + (
            f"unplug it, or if it was you: snapback.py accept --drive {shell_word(seen.path)}" if one.attached else
            "if that was you, attach it and run: snapback.py accept"))
    if seen.unlisted:
        troubles.append(f"{count_text(seen.unlisted, 'newer date', 'newer dates')} with damaged lists: run: snapback.py verify")
    if seen.damaged:
        troubles.append(f"{count_text(seen.damaged, 'damaged file')} in its newest copy: {heal}")
    elif seen.rotten:
        troubles.append(f"damage was found in its copies: {heal}")
    for count, what in ((seen.skipped, "not in its newest copy"), (seen.kept, "only as before in its newest copy")):
        if count:
            troubles.append(f"{count_text(count, 'file or folder', 'files and folders')} {'is' if count == 1 else 'are'} {what}, as they "
                            "could not be read or stored; which ones, and why, says: snapback.py backup")
    if seen.total and seen.free * 20 < seen.total:
        troubles.append(f"only {size_text(seen.free)} of {size_text(seen.total)} are free")
    return [f"{one.label}: {trouble}" for trouble in troubles]


def space_text(seen: Seen) -> str:
    """Say how much is free on a drive, and for how long that will do."""
    if not seen.total:
        return "not known"
    days = seen.free // seen.pace if seen.pace else 0
    lasts = f"; at the present pace enough for {'years' if days > 1000 else count_text(days, 'day')}" if seen.pace else ""
    return f"{size_text(seen.free)} of {size_text(seen.total)} free{lasts}"


def check_text(seen: Seen, now: datetime) -> str:
    """Say when all that is on a drive was last read again, at once or in samples; empty where nothing was."""
    whole, sample, part = (age_text(parse_time(text), now) if text else "" for text in (seen.checked, seen.sampled, seen.parted))
    if sample:
        return f"all, the oldest part {whole}, the last {sample}" if whole else (
            f"{percent_text(seen.share)} in samples, the last {sample}; the rest never")
    return f"{f'all {whole}' if whole else 'not all'}, some dates {part}" if part else whole


def status_lines(one: DriveStatus, now: datetime) -> List[str]:
    """Show one drive."""
    seen = one.seen
    since = parse_time(seen.attached_since)
    where = f"attached at {show(seen.path)}" if one.attached else (
        f"away, last seen {age_text(parse_time(seen.seen), now)}" if seen.seen else "never seen here")
    stays = [f"  attached     for {span_text((now - since).total_seconds())}, so no offline drive: unplug it between copies"
             ] if since and seen.offline and one.attached and not is_offline(one, now) else []
    newest = f"{seen.snapshot}, {age_text(parse_time(seen.taken), now)}" if seen.snapshot else "none that is known here"
    cure = f": run snapback.py verify --drive {shell_word(seen.path)}" if one.attached else ": attach it and run snapback.py verify"
    checked = check_text(seen, now) or f"never{cure if seen.snapshot else ''}"
    more = [f"{'':15}damage was found: snapback.py list says in which dates"] if seen.rotten else []
    more += [f"  last trial   {age_text(parse_time(seen.rehearsed), now)}: random files came back as they were"] if seen.rehearsed else []
    more.append(f"  space        {space_text(seen)}")
    more += ["  tripwire     off: much lost at once holds nothing"] if seen.unguarded else []
    return [f"{one.label}{' (offline)' if seen.offline else ''}: {where}", *stays, f"  newest copy  {newest}", f"  last check   {checked}",
            *more]


def has_copy(one: DriveStatus) -> bool:
    """Tell whether a drive holds a dated copy; of one that is attached and cannot be looked at the local record proves nothing."""
    return bool(one.seen.snapshot) and not (one.attached and one.trouble)


def three_two_one(drives: Sequence[DriveStatus], now: datetime) -> List[str]:
    """Say in words how far three copies, on two disks, one of them offline, are reached."""
    have = [one for one in drives if has_copy(one)]
    other = [one.label for one in have if not one.seen.same_disk]
    offline = [one.label for one in have if is_offline(one, now) and not one.seen.same_disk]
    names = enumerate_words(["the original", *(one.label for one in have)])
    return [f"Three copies  {'yes' if len(have) >= 2 else 'NO'}: {names}" + ("" if len(have) >= 2 else "; add another drive"),
            f"Two disks     {'yes: ' + enumerate_words(other) if other else 'NO: nothing is on another disk than the original'}",
            f"One offline   {'yes: ' + enumerate_words(offline) if offline else 'NO: ransomware reaches what stays attached; unplug one'}"]


REHEARSE_AFTER = timedelta(days=90)


def rehearsal_lines(drives: Sequence[DriveStatus], now: datetime) -> List[str]:
    """Remind of drives whose copies have been there for long, and of which nobody has tried for as long to get something back."""
    due = [one for one in drives if has_copy(one) and any(
        moment and now - moment > REHEARSE_AFTER for moment in [parse_time(one.seen.rehearsed) or parse_time(one.seen.oldest)])]
    return [f"Try a restore {one.label}: " + (
        f"run snapback.py rehearse --drive {shell_word(one.seen.path)}" if one.attached else "attach it and run snapback.py rehearse")
        for one in due]


def status_answer(drives: Sequence[DriveStatus], now: datetime, unguarded: bool) -> Answer:
    """Say whether a person is safe: 0 good, 3 attention, 1 bad."""
    troubles = [line for one in drives for line in drive_troubles(one, now)]
    taken = {one.id: parse_time(one.seen.taken) for one in drives if has_copy(one)}
    young = [one for one in drives if not is_past(taken.get(one.id), one.remind_after, now) and (taken[one.id] or now) - now <= AHEAD]
    code = Exit.FAILED if not young else Exit.ATTENTION if troubles else Exit.DONE
    newest = max(young, key=lambda one: taken[one.id] or now, default=None)
    safe = "Safe, but see below" if troubles else "Safe"
    first = "NOT SAFE: there is no recent dated copy" if newest is None else (
        f"{safe}: newest dated copy {age_text(parse_time(newest.seen.taken), now)}, on {newest.label}")
    away = sorted((one for one in drives if not one.attached), key=lambda one: one.seen.taken)
    lines = [first, "", *(line for one in drives for line in status_lines(one, now)), "", *three_two_one(drives, now)]
    lines += [f"Plug in next  {away[0].label}"] if away else []
    lines += rehearsal_lines(drives, now)
    lines += ["Tripwire      off in the settings: much lost at once holds nothing"] if unguarded else []
    return Answer(code, lines, [line for trouble in troubles for line in trouble.split("\n")], {
        "safe": code is Exit.DONE, "tripwire": not unguarded, "three_copies": sum(map(has_copy, drives)) >= 2,
        "two_disks": any(has_copy(one) and not one.seen.same_disk for one in drives),
        "one_offline": any(has_copy(one) and is_offline(one, now) and not one.seen.same_disk for one in drives),
        "plug_in_next": away[0].id if away else None,
        "drives": [{**one.seen._asdict(), "id": one.id, "label": one.label, "attached": one.attached,
                    "troubles": [" ".join(trouble.split()) for trouble in drive_troubles(one, now)]}
                   for one in drives]})


def passed_over(when: str, snapshot: str) -> List[str]:
    """Say that there is no dated copy of the time that a person named, if so, and which was taken for it."""
    text = re.sub(r"[ T]", "_", when.strip(), count=1).replace(":", "")
    if not when or when == "latest" or snapshot.startswith(text):
        return []
    return [f"There is no dated copy of {show(when)}; the newest before it is {snapshot}"]


MAY_BE_FAILING = "the disk may be failing: attach it again and run"


def after_damage(checked: Checked, order: Check) -> List[str]:
    """Say what becomes of what a verification found damaged, and what a person can do."""
    then = [f"to heal what can be healed, run: snapback.py repair --drive {shell_word(order.place)} --set {order.set_name}"]
    if any(one.kind is Found.UNREADABLE for one in checked.damage):
        then.append(f"{MAY_BE_FAILING} verify once more before you believe it")
    if any(one.digest for one in checked.damage):
        then.append("the next backup stores good copies of what the source still has" if checked.noted else
                    "this could not be noted, so the next backup does not know of it: run verify again before it")
        then.append("delete no dated folder by hand, as other dates may need what is in it" if checked.in_need else
                    "an old dated copy that you do not need may be deleted")
    if any(one.kind is Found.MANIFEST and one.snapshot not in (TWINS, *checked.by_twin) for one in checked.damage):
        then.append("of a date whose two lists are damaged, copy by hand what you need" + (
            f", then rename its list {MANIFEST} to {EXPIRED}" if checked.in_need else ""))
    return then


def verify_verdict(checked: Checked, order: Check) -> Tuple[Exit, str]:
    """Say in one line what a verification comes to."""
    damage = checked.damage
    number = count_text(len(damage), "damaged entry", "damaged entries")
    if checked.interrupted:
        found = "; ".join([f"{number} so far", *after_damage(checked, order)]) if damage else "nothing bad was found by then"
        return Exit.INTERRUPTED, f"snapback: interrupted; not everything was read; {found}"
    if damage:
        unproved = any(one.kind is Found.MANIFEST for one in damage)
        rest = "there" if order.quick or order.sample else "good, as far as the lists tell" if unproved else "good"
        return Exit.DAMAGED, "; ".join([f"NOT OK - {number}", f"what was not named is {rest}", *after_damage(checked, order)])
    everything = "everything" if order.whole else "everything of this date"
    if order.sample:
        following = f"; the next sample begins at {percent_text(order.sample.ends)}" if checked.noted else ""
        return Exit.DONE, f"OK - everything is there, and what was read has the bytes that were written{following}"
    how = " (names and sizes; no file was read)" if order.quick else " and has the bytes that were written"
    return Exit.DONE, f"OK - {everything} is there{how}"


def sample_text(sample: Optional[Slice]) -> str:
    """Say which part of all was read, if not all was.

    >>> sample_text(Slice(90_000, 20_000))
    ' (by checksum, from 90% on, 20% of all)'
    """
    return f" (by checksum, from {percent_text(sample.begins)} on, {percent_text(sample.size)} of all)" if sample else ""


def verify_answer(checked: Checked, order: Check, others: Sequence[str], seconds: float, note: str) -> Answer:
    """Report a verification; `others` are sets that it did not look at."""
    quick, set_name = order.quick, order.set_name
    strays = [one for one in checked.findings if one.kind is Found.STRAY]
    damage = checked.damage
    what = f"{count_text(checked.files, 'file')} in {count_text(len(checked.snapshots), 'dated copy', 'dated copies')}"
    read = "looked at, not read" if quick else f"{size_text(checked.read_bytes)} read{sample_text(order.sample)}"
    one = f"{checked.snapshots[0]} of " if len(checked.snapshots) == 1 else ""
    lines = [f"Checked {one}{set_name}: {what}, {read} in {span_text(seconds)}"]
    if others:
        lines.append(f"Not checked, as they are other sets: {', '.join(others)}")
    lines += [f"not part of the copy (left alone): {show(one.snapshot + '/' + one.path)}" for one in strays[:NOTES_SHOWN]]
    if len(strays) > NOTES_SHOWN:
        lines.append(f"... and {len(strays) - NOTES_SHOWN:,} more that are not part of the copies")
    if note:
        lines.append(f"Note: {note}.")
    problems = [f"{one.kind.value}: {show(one.snapshot + '/' + one.path)}" + (f" ({one.detail})" if one.detail else "")
                for one in damage[:NOTES_SHOWN]]
    if len(damage) > NOTES_SHOWN:
        where = ALL_IN_JSON if not checked.noted else f"all are in {DAMAGED_LIST} of the set"
        problems.append(f"... and {len(damage) - NOTES_SHOWN:,} more; {where}")
    code, verdict = verify_verdict(checked, order)
    (lines if code is Exit.DONE else problems).append(verdict)
    return Answer(code, lines if code is not Exit.INTERRUPTED else (), problems, {
        "snapshots": checked.snapshots, "files": checked.files, "files_read": checked.read_files,
        "bytes_read": checked.read_bytes, "quick": quick, "damaged": len(damage), "strewn": checked.strewn,
        "interrupted": checked.interrupted, "sample": order.sample.facts() if order.sample else None,
        "findings": [{"kind": one.kind.value, "snapshot": one.snapshot, "path": one.path, "detail": one.detail}
                     for one in checked.findings]})


def shared_text(place: str, dates: Sequence[str]) -> str:
    """Say how many dates more than the one in whose folder something lies have it.

    >>> shared_text("2026-11-20_230001/a", ["2026-11-20_230001", "2026-11-21_230001"])
    ' (and of 1 more date)'
    """
    others = len({date for date in dates if not place.startswith(date + "/")})
    return f" (and of {count_text(others, 'more date')})" if others else ""


def healed_text(healed: Sequence[Healed]) -> str:
    """Count what was healed.

    >>> healed_text([Healed("d/a", True, ["d"], ""), Healed("d/b", False, ["d"], "")])
    '1 file, 1 folder or link'
    """
    files = sum(one.is_file for one in healed)
    others = len(healed) - files
    return ", ".join([*([count_text(files, "file")] if files or not others else []),
                      *([count_text(others, "folder or link", "folders or links")] if others else [])])


def repair_verdict(done: Repaired, trial: bool, quarantine: str) -> Tuple[Exit, str]:
    """Say in one line what a repair comes to."""
    damage, parts = done.checked.damage, [healed_text(done.healed)] if done.healed else []
    for names, one in ((done.lists, "list"), (done.twins, "second list")):
        parts += [count_text(len(names), one)] if names else []
    what = " and ".join(parts) or "nothing"
    lost = count_text(len(done.left), "damaged entry", "damaged entries")
    where = f"; good copies were looked for in {enumerate_words(done.searched)}" if done.searched else ""
    more = f"{where}; attach another drive that may have them, or name it with --from, and run it again; what matters copy from a good date"
    kept = f"; what was replaced lies in {show(quarantine)} and is never deleted by snapback" if done.set_apart else ""
    if not damage:
        return Exit.DONE, "OK - nothing is damaged: everything is there and has the bytes that were written"
    if trial:
        left = f", {lost} cannot{more}" if done.left else ""
        return Exit.DAMAGED, f"NOT OK - {what} can be healed{left}; nothing was changed; to heal, run the same command without -n"
    if done.left:
        return Exit.DAMAGED, f"NOT OK - {lost} could not be healed{more}; healed: {what}{kept}"
    return Exit.DONE, f"OK - healed: {what}{kept}" if parts else "OK - what was damaged when it was read first is good now"


def repair_answer(done: Repaired, trial: bool, seconds: float, quarantine: str, unsearched: Sequence[str]) -> Answer:
    """Report a repair; `unsearched` says which drives could not be searched, and why."""
    checked, would = done.checked, "would be " if trial else ""
    what = f"{count_text(checked.files, 'file')} in {count_text(len(checked.snapshots), 'dated copy', 'dated copies')}"
    lines = [f"Checked {what}: {size_text(checked.read_bytes)} read; {span_text(seconds)} in all"]
    lines += [f"{would}put back: the list of {name}, from its second list" for name in done.lists]
    lines += [f"{would}made anew: the second list of {name}" for name in done.twins]
    lines += [f"{would}healed: {show(one.place)}{shared_text(one.place, one.dates)} from {one.origin}" for one in done.healed[:NOTES_SHOWN]]
    if len(done.healed) > NOTES_SHOWN:
        lines.append(f"... and {len(done.healed) - NOTES_SHOWN:,} more; {ALL_IN_JSON}")
    lines += [f"left as it is, because it is good now: {show(place)}" for place in done.good[:NOTES_SHOWN]]
    lines += [f"Note: {one}." for one in unsearched] if checked.damage else []
    problems = [f"not healed: {show(one.place)}{shared_text(one.place, one.dates)}: {one.why}" for one in done.left[:NOTES_SHOWN]]
    if len(done.left) > NOTES_SHOWN:
        problems.append(f"... and {len(done.left) - NOTES_SHOWN:,} more; {ALL_IN_JSON}")
    code, verdict = repair_verdict(done, trial, quarantine)
    (problems if checked.damage else lines).append(verdict)  # a disk that spoils files is news, also where all was healed
    return Answer(code, lines, problems, {
        "snapshots": checked.snapshots, "files": checked.files, "files_read": checked.read_files, "bytes_read": checked.read_bytes,
        "damaged": len(checked.damage), "dry_run": trial, "lists": done.lists, "second_lists": done.twins, "good_now": done.good,
        "healed": [{"path": one.place, "snapshots": one.dates, "from": one.origin} for one in done.healed],
        "left": [{"path": one.place, "snapshots": one.dates, "why": one.why} for one in done.left],
        "searched": done.searched, "unsearched": unsearched, "quarantine": quarantine if done.set_apart else None})


def elsewhere_lines(chosen: Snapshot, elsewhere: Mapping[str, str]) -> List[str]:
    """Say in which dated copies those sources are that this one does not hold."""
    return [f"{chosen.name} holds {', '.join(map(show, sorted(chosen.sources)))} only; {show(alias)} is in {name}: "
            f"restore {name} {shell_word(alias)}" for alias, name in sorted(elsewhere.items())]


def restore_answer(done: Restored, snapshot: str, asides: Sequence[str], seconds: float) -> Answer:
    """Report what was given back; `asides` are lines on how the dated copy was chosen."""
    lines = list(asides)
    number = f"{count_text(done.files, 'file')} ({size_text(done.bytes)})"
    lines.append(f"Restored {number} from {snapshot} to {show(done.path)} in {span_text(seconds)}")
    lines += [f"set aside, because it differed: {show(name)}" for name in done.set_aside[:NOTES_SHOWN]]
    problems = [f"{one.kind.value}: {show(one.path)}" + (f" ({one.detail})" if one.detail else "")
                for one in done.findings[:NOTES_SHOWN]]
    if len(done.findings) > NOTES_SHOWN:
        problems.append(f"... and {len(done.findings) - NOTES_SHOWN:,} more")
    problems += note_lines(done.notes, ALL_IN_JSON)
    code = Exit.DAMAGED if done.findings else Exit.ATTENTION if done.notes else Exit.DONE
    if done.findings:
        unread = any(one.kind is Found.UNREADABLE for one in done.findings)
        again = f"{MAY_BE_FAILING} the same command with --merge, or " if unread else ""
        problems.append(f"NOT OK - {count_text(len(done.findings), 'file')} could not be given back whole; what could be read of a "
                        f"damaged file stands beside its name with .damaged; {again}try another date for it")
    elif done.notes:
        problems.append("Everything else was restored, and every file's checksum was right")
    else:
        lines.append("OK - every file's checksum was right")
    return Answer(code, lines, problems, {
        "snapshot": snapshot, "target": done.path, "files": done.files, "bytes": done.bytes, "set_aside": done.set_aside,
        "findings": [{"kind": one.kind.value, "path": one.path, "detail": one.detail} for one in done.findings],
        "notes": [note._asdict() for note in done.notes]})


def rehearsal_answer(done: Rehearsed, trial: Trial, label: str, seconds: float, unnoted: str) -> Answer:
    """Report a rehearsal; `unnoted` says why it could not be noted on the drive."""
    facts = {"set": trial.set_name, "snapshot": trial.snapshot, "files": done.files, "bytes": done.bytes, "estimate": done.estimate,
             "all_files": done.all_files, "all_bytes": done.all_bytes, "left_out": done.left_out, "unheld": done.unheld,
             "findings": [{"kind": one.kind.value, "path": one.path, "detail": one.detail} for one in done.findings]}
    copy = f"{trial.snapshot} of {trial.set_name} on {label}"
    if not done.files:
        return Answer(Exit.DONE, [f"{copy} has no file in it, so there was nothing to try"], (), facts)
    files = count_text(done.files, "random file") if done.files < done.all_files else f"all {count_text(done.files, 'file')}"
    tried, everything = f"{files} ({size_text(done.bytes)})", count_text(done.all_files, "file")
    span = f"about {span_text(done.estimate)}" if done.estimate >= 1 else "less than a second"
    lines = [f"Tried {tried} of {copy}: restored into a temporary folder, compared and removed in {span_text(seconds)}",
             f"A full restore would take {span} ({everything}, {size_text(done.all_bytes)})"]
    if done.left_out:
        lines.append(f"Note: {count_text(done.left_out, 'large file')} that had been drawn {'was' if done.left_out == 1 else 'were'} left "
                     f"out; --count {done.files} leaves out none")
    for what, count in sorted(done.unheld.items()):
        lines.append(f"Note: the temporary place could not hold the {what} of {count_text(count, 'file')}, so that was not compared; "
                     "another one may, see --to")
    problems = [f"{one.kind.value}: {show(one.path)} ({one.detail})" for one in done.findings[:NOTES_SHOWN]]
    if len(done.findings) > NOTES_SHOWN:
        problems.append(f"... and {len(done.findings) - NOTES_SHOWN:,} more; {ALL_IN_JSON}")
    if done.findings:
        bad = len({one.path for one in done.findings})
        problems.append(f"NOT OK - {bad:,} of {count_text(done.files, 'file')} did not come back as written; to see what else is damaged, "
                        f"and can be healed, run: snapback.py repair -n --drive {shell_word(trial.drive)} --set {trial.set_name}")
        answer = Answer(Exit.DAMAGED, lines, problems, facts)
    else:
        answer = Answer(Exit.DONE, [*lines, "OK - each came back as it was"], (), facts)
    return with_problem(answer, unnoted)


def doctor_answer(checkups: Sequence[Checkup]) -> Answer:
    """Report what was looked at, and what would make backups fail."""
    lines: List[str] = []
    for one in checkups:
        lines.append(f"{one.about:<13} {'NOT OK: ' if one.cure else ''}{one.found}")
        lines += [f"{'':<13} What helps: {one.cure}"] if one.cure else []
    ill = [one for one in checkups if one.cure]
    verdict = f"NOT OK - {count_text(len(ill), 'thing')} would hinder backups: see above"
    return Answer(Exit.ATTENTION if ill else Exit.DONE, lines if ill else [*lines, "OK - nothing here would hinder backups"],
                  [verdict] if ill else [], {"findings": [one._asdict() for one in ill], "checked": [one._asdict() for one in checkups]})


def restore_plan_answer(plan: Planned, snapshot: str, asides: Sequence[str]) -> Answer:
    """Report what a restore would do."""
    files, size = (sum(numbers) for numbers in zip((0, 0), *plan.sources.values()))
    lines = [*asides, f"Would restore {count_text(files, 'file')} ({size_text(size)}) from {snapshot} to {show(plan.path)}:"]
    sources = sorted(plan.sources.items())
    lines += [f"  {show(alias)}: {count_text(number, 'file')}, {size_text(total)}" for alias, (number, total) in sources]
    lines += [f"would be written: {show(path)}" for path in plan.paths[:NOTES_SHOWN]]
    if plan.written > NOTES_SHOWN:
        lines.append(f"... and {plan.written - NOTES_SHOWN:,} more that would be written; {ALL_IN_JSON}")
    lines += [f"{plan.there:,} of them are there already, with the same bytes"] if plan.there else []
    lines += [f"would be set aside, because it differs: {show(path)}" for path in plan.set_aside[:NOTES_SHOWN]]
    if len(plan.set_aside) > NOTES_SHOWN:
        lines.append(f"... and {len(plan.set_aside) - NOTES_SHOWN:,} more that would be set aside; {ALL_IN_JSON}")
    lines.append(f"{size_text(plan.room)} would be written, and {size_text(plan.free)} are free there. Nothing was written.")
    problems = note_lines(plan.notes, ALL_IN_JSON)
    if plan.room > plan.free:
        problems.append(f"this would not fit: it needs {size_text(plan.room)}, and {size_text(plan.free)} are free; take another place "
                        "with --to")
    return Answer(Exit.ATTENTION if problems else Exit.DONE, lines, problems, {
        "dry_run": True, "snapshot": snapshot, "target": plan.path, "files": files, "bytes": size, "there": plan.there,
        "sources": [{"source": alias, "files": number, "bytes": total} for alias, (number, total) in sources],
        "paths": list(plan.paths), "set_aside": list(plan.set_aside),
        "room": plan.room, "free": plan.free, "notes": [note._asdict() for note in plan.notes]})


# -- what differs --


def change_line(one: Change) -> str:
    """Write a change for people."""
    folder = "/" if one.is_folder else ""
    path = f"{show(one.origin)}{folder} -> {show(one.path)}{folder}" if one.origin else show(one.path) + folder
    said = [count_text(one.files, "file")] if one.is_folder and (one.files or one.kind in (Kind.ADDED, Kind.REMOVED)) else []
    said += [f"was {size_text(one.before)}"] if one.kind is Kind.CHANGED and one.before != one.after else []
    said += [one.detail] if one.detail else []
    size = size_text(one.before if one.kind is Kind.REMOVED else one.after)
    shows_size = one.kind in (Kind.ADDED, Kind.REMOVED, Kind.CHANGED, Kind.MOVED)
    return f"{one.kind.value:<10} {size if shows_size else '':>8}  {path}{' (' + '; '.join(said) + ')' if said else ''}"


def totals_of(changes: Iterable[Change]) -> Dict[str, Dict[str, int]]:
    """Count each kind of change, and add up the bytes: of what was removed as they were, else as they are."""
    totals: Dict[str, Dict[str, int]] = {}
    for one in changes:
        total = totals.setdefault(one.kind.value, {"files": 0, "folders": 0, "bytes": 0})
        total["files"] += one.files
        total["folders"] += one.is_folder
        total["bytes"] += one.before if one.kind is Kind.REMOVED else one.after
    return totals


def diff_answer(compared: Compared, old: str, new: str, asides: Sequence[str]) -> Answer:
    """Report what differs between two dates, or since one."""
    totals = totals_of(compared.changes)
    counts = ", ".join(f"{total['files']:,} {kind.value}" + (f" ({size_text(total['bytes'])})" if total["bytes"] else "")
                       for kind in Kind for total in [totals.get(kind.value)] if total)
    lines = [*asides, *map(change_line, compared.changes)]
    lines += [f"not compared, as only {name} has it: {show(alias)}"
              for name, aliases in ((old, compared.only_old), (new, compared.only_new)) for alias in aliases]
    lines.append(f"From {old} to {new}: {counts}" if counts else f"Nothing differs between {old} and {new}.")
    unread = [one for one in compared.changes if one.kind is Kind.UNREAD and new == SOURCE_WORD]
    problems = [f"{count_text(len(unread), 'entry', 'entries')} could not be read, so this is not all"] if unread else []
    return Answer(Exit.ATTENTION if problems else Exit.DONE, lines, problems, {
        "old": old, "new": new, "totals": totals, "only_old": list(compared.only_old), "only_new": list(compared.only_new),
        "changes": [{"kind": one.kind.value, "path": one.path, "folder": one.is_folder, "before": one.before,
                     "after": one.after, "detail": one.detail, "origin": one.origin or None} for one in compared.changes]})


# -- what is found --


def moment_text(ns: int, for_machines: bool = False) -> str:
    """Write a time in nanoseconds since 1970 for people, by the local clock, or for machines; '?' where no calendar reaches.

    >>> moment_text(0, True), moment_text(10**30)
    ('1970-01-01T00:00:00+00:00', '?')
    """
    try:
        moment = datetime.fromtimestamp(ns // 10**9, timezone.utc)
        return moment.isoformat() if for_machines else f"{moment.astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return "?"


def restoring_words(date: str, path: str, drive: str, set_name: str = "") -> List[str]:
    """Write the command that gives a path of a dated copy back; a path is never an option."""
    return ["restore", date, f"./{path}" if path.startswith("-") else path, *drive_words(drive, set_name)]


def version_text(version: Version) -> str:
    """Say what a version is, but not of when."""
    what = show(version.what)
    kinds = {"dir": "folder", "link": f"link to {what}", "skipped": f"not in it, as it could not be read then ({what})"}
    if version.kind == "file":
        words = version.words
        text = f"{size_text(number(words, 'size')):>8}  changed {moment_text(time_ns(words['time']))}"
        return text + (f"; kept from {show(words['kept'])}, as it could not be read then" if "kept" in words else "")
    return kinds.get(version.kind, f"special file ({show(version.kind)})")


class Whereabouts(NamedTuple):
    """A drive and a set on it, as commands name them: its label, its path, the set where it must be said."""

    label: str
    path: str
    set_word: str = ""


def version_facts(searched: Searched, path: str, version: Version, where: Whereabouts) -> Dict[str, Any]:
    """Give a version for machines."""
    words, is_file = version.words, version.kind == "file"
    last = searched.snapshots[version.last].name
    return {"type": version.kind, "first": searched.snapshots[version.first].name, "last": last,
            "dates": bin(version.dates).count("1"), "size": number(words, "size") if is_file else None,
            "mtime": moment_text(time_ns(words['time']), True) if version.kind != "skipped" else None,
            "sha256": version.what if is_file else None, "link": version.what if version.kind == "link" else None,
            "why": version.what if version.kind == "skipped" else None, "kept": words.get("kept"),
            "damaged": searched.is_damaged(version), "stored": searched.place(version) if is_file else None,
            "restore": None if version.kind == "skipped" else restoring_words(last, path, where.path, where.set_word)}


def version_lines(searched: Searched, path: str, version: Version, where: Whereabouts) -> List[str]:
    """Show a version: from when to when, what it is, and the command that gives it back."""
    first, last = (searched.snapshots[number].name for number in (version.first, version.last))
    dates = first if first == last else f"{first} to {last}"
    damage = "; FOUND DAMAGED by a check" if searched.is_damaged(version) else ""
    lines = [f"    {dates:<38}  {version_text(version)}{damage}"]
    if version.kind != "skipped":
        lines.append(f"      {command_text(restoring_words(last, path, where.path, where.set_word))}")
    return lines


def dates_text(names: Sequence[str]) -> str:
    """Say which dated copies were looked through."""
    if len(names) < 2:
        return f"the one dated copy, {names[0]}" if names else "no dated copy"
    return f"{len(names):,} dated copies, {names[0]} to {names[-1]}"


def no_luck_lines(word: str, where: Whereabouts) -> List[str]:
    """Say how to go on where nothing was found: by a part of the name and, where case counts, with other letters."""
    name = word.rstrip("/").rpartition("/")[2]
    part = "" if re.search(r"[*?\[\\]", name) else name.partition(".")[0] or name
    case = "" if IGNORE_CASE else "capitals count"
    look = f"for a part of a name: {command_text(finding_words(f'*{part}*', drive_words(where.path, where.set_word)))}" if part else ""
    said = "; ".join(one for one in (look, case) if one)
    return [said] if said else []


def found_answer(searched: Sequence[Searched], word: str, where: Whereabouts, closed: Sequence[str]) -> Answer:
    """Report what was found on a drive; that nothing was is an answer, too."""
    lines: List[str] = []
    files: List[Dict[str, Any]] = []
    for one in searched:
        here = where._replace(set_word=one.set_name if where.set_word or len(searched) + len(closed) > 1 else "")
        looked = dates_text([snapshot.name for snapshot in one.snapshots])
        number = count_text(len(one.found), "path") if one.found else "nothing"
        lines.append(f"{one.set_name} on {where.label}: {number} found for {quoted(word)} in {looked}")
        for path, versions in one.found.items():
            gone = one.is_gone(path)
            lines.append(f"  {show(path)}{'; not in the newest date' if gone else ''}")
            lines += [line for version in versions for line in version_lines(one, path, version, here)]
            files.append({"drive": where.path, "set": one.set_name, "path": path, "gone": gone,
                          "versions": [version_facts(one, path, version, here) for version in versions]})
    if searched and not files:
        lines += no_luck_lines(word, where)
    if not searched and not closed:
        lines.append(f"There is no dated copy on {where.label} yet.")
    problems = [f"{one.set_name}/{name} could not be looked through: {why}; copy by hand what you need of it"
                for one in searched for name, why in one.unreadable.items()]
    return Answer(Exit.ATTENTION if problems or closed else Exit.DONE, lines, [*problems, *closed_lines(closed)], {
        "files": files,
        "searched": [{"drive": where.path, "set": one.set_name, "snapshots": [snapshot.name for snapshot in one.snapshots]}
                     for one in searched],
        "unreadable": [{"drive": where.path, "set": one.set_name, "snapshot": name, "why": why}
                       for one in searched for name, why in one.unreadable.items()]})


# -- why something is copied, or is not --


def ruling_line(one: Ruling) -> str:
    """Say what the rules make of a path."""
    verdict = "is copied" if one.included else "is left out"
    if not one.is_there:
        verdict = f"would be {'copied' if one.included else 'left out'}, if it were there"
    return f"{show(one.path)}, of the source {show(one.source.path)}, {verdict}: {one.why}" + (f" ({one.where})" if one.where else "")


def holding_line(one: Holding) -> str:
    """Say whether a dated copy has a path."""
    last = f"the last copy on {one.label}, {one.set_name}/{one.snapshot}"
    if one.entry is None:
        return f"{last}, does not have it" + (f", as it could not be read then ({show(one.skipped)})" if one.skipped else "")
    words = parse_keywords(one.entry.line)
    size = f" ({size_text(number(words, 'size'))}, changed {moment_text(time_ns(words['time']))})" if one.entry.hash_line else ""
    kept = f", as it was on {show(words['kept'])}: it could not be read then" if "kept" in words else ""
    return f"{last}, has it{size}{kept}" + ("; FOUND DAMAGED by a check" if one.damaged else "")


def holding_lines(one: Holding, path: str) -> List[str]:
    """Say whether a dated copy has a path and, where it does not or has it damaged, how to look for it in others."""
    look = f"an earlier date may have it: {command_text(finding_words(path, drive_words(one.drive)))}"
    return [holding_line(one), *([look] if one.entry is None or one.damaged else [])]


def why_answer(ruling: Ruling, holdings: Sequence[Holding], absent: str) -> Answer:
    """Report what the rules make of a path, and whether the last dated copies have it; `absent` says why none could be asked."""
    unknown = [f"Whether the last copy has it is not known: {absent}"] if absent else []
    lines = [line for one in holdings for line in holding_lines(one, ruling.path)]
    return Answer(Exit.DONE, [ruling_line(ruling), *lines, *unknown], (), {
        **ruling._asdict(), "source": ruling.source.path,
        "copies": [{"drive": one.drive, "set": one.set_name, "snapshot": one.snapshot, "has": one.entry is not None,
                    "damaged": one.damaged,
                    "skipped": one.skipped or None, "kept": parse_keywords(one.entry.line).get("kept") if one.entry else None}
                   for one in holdings]})


def no_source_answer(word: str, sources: Sequence[Source]) -> Answer:
    """Report that a path is in no source."""
    paths = [one.path for one in sources]
    said = f"{show(word)} lies in no source, so it is not copied; the sources are: {first_of([*map(show, paths)])}"
    return Answer(Exit.DONE, [said], (), {"path": None, "included": False, "sources": paths})


# --- 12. Outside world -------------------------------------------------------------------------


class Call(NamedTuple):
    """What is asked of another program: its words, its input, and variables beside those of this process."""

    words: Sequence[str]
    given: str = ""
    variables: Mapping[str, str] = {}


class Ran(NamedTuple):
    """How a call ended: exit status (negative: a signal; None: not started, or not done in time), and what it said."""

    code: Optional[int]
    out: str
    err: str


def run_program(call: Call, seconds: float, heard: bool = True) -> Ran:
    """Start a program by its words, without a shell, and wait for it; the one place where this happens.

    What it prints is caught, unless it is not `heard`: then its trouble goes where ours does.
    """
    import subprocess  # here, because it is slow to load and few commands need it
    program = call.words[0] if parent_path(call.words[0]) else find_program(call.words[0])
    if not program:
        return Ran(None, "", f"there is no program {show(call.words[0])} here")
    given: Dict[str, Any] = {"input": call.given.encode("utf-8", "surrogateescape")} if call.given else {"stdin": subprocess.DEVNULL}
    try:
        done = subprocess.run([program, *call.words[1:]], timeout=seconds, env={**os.environ, **call.variables}, check=False,
                              stdout=subprocess.PIPE if heard else subprocess.DEVNULL, stderr=subprocess.PIPE if heard else None,
                              creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0), **given)
    except subprocess.TimeoutExpired:
        return Ran(None, "", f"it was not done after {span_text(seconds)}, and was ended")
    except (OSError, ValueError) as err:  # ValueError: a word that no program can be given
        return Ran(None, "", f"it cannot be started ({reason(err)})")
    return Ran(done.returncode, *((said or b"").decode("utf-8", "surrogateescape") for said in (done.stdout, done.stderr)))


def why_failed(ran: Ran) -> str:
    r"""Say why a call failed, in the program's own words where it had any; empty when it did not fail.

    >>> why_failed(Ran(1, "", "no\nway\n")), why_failed(Ran(2, "", "")), why_failed(Ran(-9, "", "")), why_failed(Ran(0, "", "hm"))
    ('no way', 'it ended with exit status 2', 'it was ended by signal 9', '')
    """
    if ran.code == 0:
        return ""
    words = show(" ".join((ran.err.strip() or ran.out.strip()).split())[:300])
    ending = f"it was ended by signal {-ran.code}" if ran.code and ran.code < 0 else f"it ended with exit status {ran.code}"
    return words or ending


# -- schedules --


MINUTE = 17                  # of each hour at which a scheduler starts us: one at which few others start
OWN = "snapback: from the command schedule"     # by this we know our own entries again
OWN_COMMENT = f"# {OWN}, and taken away by: snapback.py schedule --remove"
SERVICE, TIMER, AGENT, TASK = "snapback.service", "snapback.timer", "snapback.plist", "snapback.xml"
NO_ENTRY = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what one scheduler or the other cannot hold


def check_words(words: Iterable[str], where: str = "a schedule") -> None:
    r"""Refuse words that some scheduler, or a desktop, cannot hold. Raises UsageError.

    >>> check_words(["backup", "/home/anna/My Documents"])
    """
    for word in words:
        if NO_ENTRY.search(word):
            raise UsageError(f"{where} cannot hold {quoted(word)}: there is a line break in it, or something else that is no text; "
                             "give it another name")


def crontab_line(words: Sequence[str]) -> str:
    r"""Write a line of crontab(5), for /bin/sh; cron takes a bare `%` for the end of the command. Raises UsageError.

    >>> crontab_line(["/usr/bin/python3", "-I", "/home/anna/100% mine/snapback.py", "backup"])
    "17 * * * * /usr/bin/python3 -I '/home/anna/100'\\%' mine/snapback.py' backup"
    """
    check_words(words)
    quoted_words = [word if re.fullmatch(r"[\w@+=:,./-]+", word, re.ASCII) else
                    "'" + word.replace("'", "'\\''").replace("%", "'\\%'") + "'" for word in words]
    return f"{MINUTE} * * * * {' '.join(quoted_words)}"


def crontab_parts(text: str) -> Tuple[List[str], List[str], int]:
    """Part a crontab into other people's lines, our own, and how many of the others stand before the first of ours."""
    others: List[str] = []
    own: List[str] = []
    place = -1
    marked = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        is_comment = line.startswith("# " + OWN)
        if is_comment or (marked and " -I " in line and " backup " in line):
            place = len(others) if place < 0 else place
            own.append(line)
        else:
            others.append(line)
        marked = is_comment
    return others, own, place if own else len(others)


def crontab_without(old: str) -> str:
    r"""Take our own entry out of a crontab; everything else stays byte for byte.

    >>> crontab_without(f"MAILTO=anna\n# {OWN}\n17 * * * * python3 -I snapback.py backup -q\n# end")
    'MAILTO=anna\n# end'
    """
    return "".join(crontab_parts(old)[0])


def crontab_with(old: str, line: str) -> str:
    r"""Put our own entry into a crontab, in the place of an earlier one; everything else stays byte for byte.

    >>> crontab_with("@daily x", "1 * * * * y").split("\n")
    ['@daily x', '# snapback: from the command schedule, and taken away by: snapback.py schedule --remove', '1 * * * * y', '']
    """
    others, _, place = crontab_parts(old)
    before, after = "".join(others[:place]), "".join(others[place:])
    return f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{OWN_COMMENT}\n{line}\n{after}"


def systemd_word(word: str, program: bool = False) -> str:
    r"""Quote a word for ExecStart= of systemd.service(5); of the program itself `$` is not special.

    >>> systemd_word("100% \"mine\" $HOME")
    '"100%% \\"mine\\" $$HOME"'
    """
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return '"' + (text if program else text.replace("$", "$$")) + '"'


def systemd_units(words: Sequence[str]) -> Dict[str, str]:
    """Write a user's service and timer, systemd.timer(5); Persistent: what was missed while off is made up for. Raises UsageError."""
    check_words(words)
    if re.search(r"[\"'\\]", words[0]):
        raise UsageError(f"systemd starts no program with a quote or a backslash in its path, as in {quoted(words[0])}; run "
                         "snapback with another Python, or take --with cron")
    command = " ".join([systemd_word(words[0], program=True), *map(systemd_word, words[1:])])
    service = ["[Unit]", "Description=Dated copies by snapback", "", "[Service]", "Type=oneshot", f"ExecStart={command}"]
    timer = ["[Unit]", "Description=See now and then whether a dated copy is due", "",
             "[Timer]", f"OnCalendar=*-*-* *:{MINUTE}:00", "Persistent=true", "", "[Install]", "WantedBy=timers.target"]
    return {name: "\n".join([OWN_COMMENT, *lines, ""]) for name, lines in ((SERVICE, service), (TIMER, timer))}


def launchd_plist(words: Sequence[str]) -> bytes:
    """Write an agent, launchd.plist(5); what was missed while asleep is made up for. Raises UsageError."""
    import plistlib  # here, because it is slow to load and one command needs it
    check_words(words)
    agent = {"Label": "snapback", "ProgramArguments": list(words), "RunAtLoad": True, "StartInterval": 3600,
             "ProcessType": "Background"}
    text = plistlib.dumps(agent, sort_keys=False).replace(b"\t", b"  ")  # no word has a tab in it
    return text.replace(b"<plist ", f"<!-- {OWN} -->\n<plist ".encode(), 1)


def xml_text(text: str) -> str:
    """Write text between two tags of XML.

    >>> xml_text("Anna & <Otto>")
    'Anna &amp; &lt;Otto&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def from_xml(text: str) -> str:
    """Read what `xml_text` wrote.

    >>> from_xml(xml_text("Anna & <Otto> &lt;"))
    'Anna & <Otto> &lt;'
    """
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


def task_xml(words: Sequence[str]) -> str:
    """Write a task of Windows, which schtasks reads from a file in UTF-16; quoted as CommandLineToArgvW reads it. Raises UsageError.

    Without StartWhenAvailable what was missed would never be made up for, and by default nothing starts on battery.
    """
    import subprocess  # here, because it is slow to load; only its rules of quoting are used
    check_words(words)
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{xml_text(OWN)}</Description>
  </RegistrationInfo>
  <Triggers>
    <TimeTrigger>
      <Repetition>
        <Interval>PT60M</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2020-01-01T00:{MINUTE}:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <LogonType>InteractiveToken</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <Enabled>true</Enabled>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{xml_text(words[0])}</Command>
      <Arguments>{xml_text(subprocess.list2cmdline(words[1:]))}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


ASKING = 60                  # seconds that a scheduler may take to answer


class ScheduleError(SnapbackError):
    """The scheduler of this computer refused."""


def ask_scheduler(words: Sequence[str], given: str = "") -> str:
    """Call a scheduler's tool and give what it prints. Raises ScheduleError."""
    ran = run_program(Call(words, given, {"LC_ALL": "C"}), ASKING)
    if ran.code != 0:
        raise ScheduleError(f"{' '.join(words[:2])} refused ({why_failed(ran)})")
    return ran.out


def read_crontab() -> str:
    """Read this user's crontab; empty where there is none. Raises ScheduleError: what cannot be read must not be replaced."""
    ran = run_program(Call(["crontab", "-l"], "", {"LC_ALL": "C"}), ASKING)
    if ran.code == 1 and not ran.out and "no crontab for" in ran.err:
        return ""
    if ran.code != 0:
        raise ScheduleError(f"the crontab cannot be read, so it was not changed ({why_failed(ran)}); see what this says: crontab -l")
    return ran.out


def write_crontab(text: str) -> None:
    """Replace this user's crontab as a whole, and see that it is there. Raises ScheduleError."""
    try:
        ask_scheduler(["crontab", "-"], text)
    except ScheduleError as err:
        raise ScheduleError(f"{err}; nothing was changed; the entry is printed by: snapback.py schedule") from err
    found = read_crontab()
    if not found.endswith(text):  # some put lines of their own before it
        raise ScheduleError("the crontab is not what was written; look at it: crontab -l")


def crontab_texts(words: Sequence[str]) -> Dict[str, str]:
    """Give what is to be put into the crontab."""
    return {"crontab": f"{OWN_COMMENT}\n{crontab_line(words)}\n"}


def install_crontab(words: Sequence[str]) -> str:
    """Put our entry into this user's crontab; give the one that was there before. Raises ScheduleError."""
    old = read_crontab()
    new = crontab_with(old, crontab_line(words))
    if new != old:
        write_crontab(new)
    earlier = [line.strip() for line in crontab_parts(old)[1] if not line.startswith("# ")]
    return "" if earlier == [crontab_line(words)] else "".join(earlier)


def remove_crontab() -> bool:
    """Take our entry out of this user's crontab; tell whether there was one. Raises ScheduleError."""
    old = read_crontab()
    new = crontab_without(old)
    if new != old:
        write_crontab(new)
    return new != old


def put_entry(place: str, texts: Mapping[str, str], mark: str = OWN) -> str:
    """Write files that a scheduler or desktop reads; give the earlier ones as one text. Raises OSError, ScheduleError.

    A file that is there already and has not our `mark` in it is somebody else's, and is left alone.
    """
    if not is_real_folder(whole_path(place)):
        make_folders(whole_path(place))
    folder = Folder.top(whole_path(place))
    earlier = {name: read_text(folder, name) or "" for name in texts if folder.has(name)}
    for name, text in earlier.items():
        if mark not in text:
            raise ScheduleError(f"there is a {place}/{name} that snapback did not write, so it was left alone; move it away")
    for name, text in texts.items():
        write_text(folder, name, text, "schedule")
    return "".join(text for name, text in earlier.items())


def own_entries(place: str, names: Iterable[str]) -> List[str]:
    """Name the files in a scheduler's folder that `put_entry` wrote; somebody else may have one of the same name. Raises OSError."""
    if not is_real_folder(whole_path(place)):
        return []
    folder = Folder.top(whole_path(place))
    files = [name for name, info in folder.scan() if stat.S_ISREG(info.st_mode)]
    return [name for name in names if name in files and OWN in (read_text(folder, name) or "")]


def take_entries(place: str, names: Iterable[str]) -> None:
    """Remove files that `put_entry` wrote. Raises OSError."""
    folder = Folder.top(whole_path(place))
    for name in names:
        folder.unlink(name)


def units_place() -> str:
    """Give the folder of this user's own units, systemd.unit(5)."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return f"{base if base.startswith('/') else '~/.config'}/systemd/user"


def install_units(words: Sequence[str]) -> str:
    """Put our units into this user's systemd; give those that were there before. Raises ScheduleError, OSError."""
    units = systemd_units(words)
    ask_scheduler(["systemctl", "--user", "show-environment"])  # before anything is written: is it there at all?
    earlier = put_entry(units_place(), units)
    ask_scheduler(["systemctl", "--user", "daemon-reload"])
    ask_scheduler(["systemctl", "--user", "enable", "--now", TIMER])
    return "" if earlier == "".join(units.values()) else earlier


def remove_units() -> bool:
    """Take our units out of this user's systemd; tell whether there were any. Raises ScheduleError, OSError."""
    own = own_entries(units_place(), (SERVICE, TIMER))
    if TIMER in own:
        ask_scheduler(["systemctl", "--user", "disable", "--now", TIMER])
    if own:
        take_entries(units_place(), own)
        ask_scheduler(["systemctl", "--user", "daemon-reload"])
    return bool(own)


AGENTS_PLACE = "~/Library/LaunchAgents"


def agent_texts(words: Sequence[str]) -> Dict[str, str]:
    """Give the agent as text."""
    return {AGENT: launchd_plist(words).decode("utf-8")}


def install_agent(words: Sequence[str]) -> str:
    """Put our agent into this user's launchd; give the one that was there before. Raises ScheduleError, OSError."""
    texts = agent_texts(words)
    earlier = put_entry(AGENTS_PLACE, texts)
    domain = f"gui/{user_number()}"
    run_program(Call(["launchctl", "bootout", f"{domain}/snapback"]), ASKING)  # it fails where none is loaded
    load = ["launchctl", "bootstrap", domain, join_path(whole_path(AGENTS_PLACE), AGENT)]
    for _ in range(10):  # the earlier one may still be on its way out
        if run_program(Call(load), ASKING).code == 0:
            return "" if earlier == texts[AGENT] else earlier
        time.sleep(0.3)
    ask_scheduler(load)
    return earlier


def remove_agent() -> bool:
    """Take our agent out of this user's launchd; tell whether there was one. Raises OSError."""
    own = own_entries(AGENTS_PLACE, (AGENT,))
    if own:
        run_program(Call(["launchctl", "bootout", f"gui/{user_number()}/snapback"]), ASKING)
        take_entries(AGENTS_PLACE, own)
    return bool(own)


def task_name() -> str:
    """Give our task's name: all users of a computer share one list."""
    return "snapback-" + (re.sub(r"[^\w.-]", "_", os.environ.get("USERNAME", "")) or "user")


def task_texts(words: Sequence[str]) -> Dict[str, str]:
    """Give the task as text."""
    return {TASK: task_xml(words)}


def install_task(words: Sequence[str]) -> str:
    """Put our task into Windows' list; give the earlier one's text. Raises ScheduleError, OSError."""
    earlier = run_program(Call(["schtasks", "/Query", "/TN", task_name()]), ASKING)
    with passing_file(task_xml(words).encode("utf-16"), ".xml") as path:
        ask_scheduler(["schtasks", "/Create", "/TN", task_name(), "/XML", path, "/F"])
    return "the task of the same name" if earlier.code == 0 else ""


def remove_task() -> bool:
    """Take our task out of Windows' list; tell whether there was one. Raises ScheduleError."""
    if run_program(Call(["schtasks", "/Query", "/TN", task_name()]), ASKING).code != 0:
        return False
    ask_scheduler(["schtasks", "/Delete", "/TN", task_name(), "/F"])
    return True


def cron_entry() -> List[str]:
    """Give the command of our entry in this user's crontab. Raises ScheduleError, ValueError."""
    import shlex  # here, because few commands need it
    own = [line for line in crontab_parts(read_crontab())[1] if not line.lstrip().startswith("#")]
    return [word for line in own[:1] for word in shlex.split(line)[5:]]


def units_entry() -> List[str]:
    """Give the command of our service in this user's systemd. Raises OSError, ValueError."""
    import shlex  # here, because few commands need it
    if set(own_entries(units_place(), (SERVICE, TIMER))) != {SERVICE, TIMER}:
        return []
    text = read_text(Folder.top(whole_path(units_place())), SERVICE) or ""
    return [word.replace("%%", "%").replace("$$", "$") for line in text.split("\n") if line.startswith("ExecStart=")
            for word in shlex.split(line.partition("=")[2])]


def agent_entry() -> List[str]:
    """Give the command of our agent in this user's launchd. Raises OSError."""
    if not own_entries(AGENTS_PLACE, (AGENT,)):
        return []
    _, _, rest = (read_text(Folder.top(whole_path(AGENTS_PLACE)), AGENT) or "").partition("<key>ProgramArguments</key>")
    return [from_xml(word) for word in re.findall("<string>(.*?)</string>", rest.partition("</array>")[0])]


def task_entry() -> List[str]:
    """Give the program of our task in Windows' list, and its arguments as it takes them apart."""
    ran = run_program(Call(["schtasks", "/Query", "/TN", task_name(), "/XML"]), ASKING)
    command, words = (re.search(f"<{tag}>(.*?)</{tag}>", ran.out, re.DOTALL) for tag in ("Command", "Arguments"))
    if ran.code != 0 or not command or not words:
        return []
    parts = re.findall(r'"([^"]*)"|(\S+)', from_xml(words.group(1)))  # no path there has a quote in it
    return [from_xml(command.group(1)), *(one or other for one, other in parts)]


class Scheduler(NamedTuple):
    """What starts programs by itself on some system: how people call it, its tool, its texts, how to install and remove."""

    name: str
    tool: str
    texts: Callable[[Sequence[str]], Dict[str, str]]
    place: str                                  # where a person would put a text
    then: str                                   # and the command after that
    install: Callable[[Sequence[str]], str]          # gives what it replaced
    remove: Callable[[], bool]
    entry: Callable[[], List[str]]                   # gives the command that is installed; nothing where none is
    know: str                                   # what is good to know once it is installed


SCHEDULERS: Dict[str, Scheduler] = {
    "cron": Scheduler("the crontab", "crontab", crontab_texts, "Put this into your crontab (crontab -e):", "", install_crontab,
                      remove_crontab, cron_entry,
                      "What a run has to say is mailed by cron, to the address in a line MAILTO=... of the crontab, where this computer "
                      "can send mail."),
    "systemd": Scheduler("systemd", "systemctl", systemd_units, "Save this as ~/.config/systemd/user/{name}:",
                         f"systemctl --user daemon-reload && systemctl --user enable --now {TIMER}",
                         install_units, remove_units, units_entry,
                         "It runs while you are logged in; to let it run at any time: loginctl enable-linger"),
    "launchd": Scheduler("launchd", "launchctl", agent_texts, f"Save this as {AGENTS_PLACE}/{{name}}:",
                         f"launchctl bootstrap gui/$(id -u) {AGENTS_PLACE}/{AGENT}", install_agent, remove_agent, agent_entry,
                         "If macOS does not let it read your folders, give that Python Full Disk Access, in System Settings."),
    "task": Scheduler("the Task Scheduler", "schtasks", task_texts, "Save this as {name}, in UTF-16:",
                      f"schtasks /Create /TN snapback-%USERNAME% /XML {TASK}", install_task, remove_task, task_entry,
                      "It runs while you are logged in, on battery too."),
}


def schedule_answer(kind: str, words: Sequence[str], texts: Mapping[str, str], replaced: Optional[str]) -> Answer:
    """Show an entry and where to put it or, once it is installed, what was installed; `replaced` is what it took the place of."""
    scheduler, lines = SCHEDULERS[kind], []
    shown = {name: [show(line) for line in text.rstrip("\n").split("\n")] for name, text in texts.items()}
    if replaced is None:
        for name, text in shown.items():
            lines += [scheduler.place.format(name=name), "", *text, ""]
        lines += [f"Then run:  {scheduler.then}"] if scheduler.then else []
        lines.append("Or let snapback do that: the same command with --install.")
        if any("\n".join(text) != texts[name].rstrip("\n") for name, text in shown.items()):
            lines.append("Some characters above cannot be shown as they are; with --install they are right.")
    else:
        lines = [f"Installed in {scheduler.name}; every hour it starts this, which makes a dated copy if one is due:"]
        lines.append("  " + (shown["crontab"][1] if kind == "cron" else " ".join(map(shell_word, words))))
        lines += [f"It takes the place of:  {show(' '.join(replaced.split()))[:1000]}"] if replaced else []
        lines += [scheduler.know, "To take it away again:  snapback.py schedule --remove"]
    return Answer(Exit.DONE, lines, (), {"kind": kind, "command": list(words), "texts": dict(texts),
                                         "installed": replaced is not None, "replaced": replaced or ""})


def scheduler_here() -> str:
    """Name the scheduler that this system has. Raises UsageError."""
    order = ("task",) if WINDOWS else ("launchd",) if MACOS else ("cron", "systemd")
    for kind in order:
        if find_program(SCHEDULERS[kind].tool):
            return kind
    raise UsageError(f"there is no scheduler here ({' or '.join(SCHEDULERS[kind].tool for kind in order)} is needed); install one, for "
                     "example cron, or print an entry for another computer: --with cron, systemd, launchd or task")


NO_SCHEDULE = "nothing makes copies by itself"


INSTALL_AGAIN = "run: snapback.py schedule --install"


def why_asleep(kind: str) -> Tuple[str, str]:
    """Say why a scheduler starts nothing of what it has, and what helps; empty texts where nothing speaks for that."""
    if kind == "cron" and running("cron", "crond", "fcron", "busybox") is False:
        return "the entry is in the crontab, but no cron is running", "start it: sudo systemctl enable --now cron"
    if kind == "systemd" and run_program(Call(["systemctl", "--user", "is-active", TIMER]), ASKING).out.strip() in ("inactive", "failed"):
        return f"{TIMER} is there, but systemd does not heed it", INSTALL_AGAIN
    return "", ""


def check_schedule(kind: str) -> Checkup:
    """Look whether a scheduler starts this very program, and can."""
    scheduler, again = SCHEDULERS[kind], INSTALL_AGAIN
    try:
        words = scheduler.entry()
    except (SnapbackError, OSError, ValueError) as err:
        return Checkup("Schedule", f"the entry in {scheduler.name} cannot be read ({reason(err)})", again)
    if not words:
        return Checkup("Schedule", NO_SCHEDULE, f"if you want that, {again}")
    needed = [*words[:3:2], *(after for word, after in zip(words, words[1:]) if word == "--config")]
    gone = next((word for word in needed if stat_path(word) is None), "")
    if gone:
        return Checkup("Schedule", f"{scheduler.name} is to {'start' if gone in words[:3] else 'read'} {show(gone)}, which is gone", again)
    if len(words) < 3 or whole_path(words[2]) != script_path():
        return Checkup("Schedule", f"{scheduler.name} starts {show(' '.join(words[:3]))}, and not this file, {show(script_path())}",
                       f"if that is not what you want, {again}")
    asleep, cure = why_asleep(kind)
    found = asleep or f"{scheduler.name} starts this program every hour, which makes a copy when one is due"
    return Checkup("Schedule", found, cure)


# -- telling people --


def notification(title: str, text: str, system: str) -> Call:
    r"""Write the call that shows a notice on a desktop of "linux", "macos" or "windows"; texts are never part of a script.

    notify-send reads `\` and, in the text, the tags of HTML.

    >>> notification("snapback", "50 % & more", "linux").words
    ['notify-send', '--app-name=snapback', '--', 'snapback', '50 % &amp; more']
    """
    title, text = (show(" ".join(one.split()))[:400] or " " for one in (title, text))
    if system == "macos":
        script = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run\n"
        return Call(["osascript", "-", title, text], script)
    if system == "windows":
        script = ("Add-Type -AssemblyName System.Windows.Forms, System.Drawing; $n = New-Object System.Windows.Forms.NotifyIcon; "
                  "$n.Icon = [System.Drawing.SystemIcons]::Information; $n.Visible = $true; "
                  "$n.ShowBalloonTip(5000, $env:SNAPBACK_TITLE, $env:SNAPBACK_TEXT, 'Info'); Start-Sleep 4; $n.Dispose()")
        return Call(["powershell", "-NoProfile", "-NonInteractive", "-Command", script], "",
                    {"SNAPBACK_TITLE": title, "SNAPBACK_TEXT": text})
    return Call(["notify-send", "--app-name=snapback", "--", title, xml_text(text.replace("\\", "\\\\"))])


NOTIFYING = 10               # seconds that a desktop may take


def notify(title: str, text: str) -> bool:
    """Show a notice on the desktop, where there is one; tell whether that went well. It never raises."""
    call = notification(title, text, "windows" if WINDOWS else "macos" if MACOS else "linux")
    if not WINDOWS and not MACOS and not os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        bus = session_bus()
        if not bus and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
            return False
        call = call._replace(variables={"DBUS_SESSION_BUS_ADDRESS": bus} if bus else {})
    return run_program(call, NOTIFYING).code == 0


def why_no_notices() -> str:
    """Say why nobody can be told on the desktop, or give an empty text."""
    tool = "powershell" if WINDOWS else "osascript" if MACOS else "notify-send"
    return "" if find_program(tool) else f"there is no {tool}"


TELLING = 600                # seconds that a person's own program may take


def run_on_result(words: Sequence[str], facts: Mapping[str, str]) -> str:
    """Start the program that a person wants to be told by; say what failed, if anything did.

    Facts become variables: {"exit_code": "0"} is SNAPBACK_EXIT_CODE=0.
    """
    variables = {f"SNAPBACK_{name.upper().replace('-', '_')}": as_names(text.replace("\0", "")) for name, text in facts.items()}
    ran = run_program(Call(words, "", variables), TELLING, heard=False) if words else Ran(None, "", "it names no program")
    return "" if ran.code == 0 else f"on-result was not told of this run: {show(words[0]) if words else 'the setting'}: {why_failed(ran)}"


def opening(path: str, system: str) -> Call:
    """Write the call that shows a folder to the person, on "linux", "macos" or "windows"."""
    return Call([{"macos": "open", "windows": "explorer"}.get(system, "xdg-open"), path])


def open_folder(path: str) -> bool:
    """Show a folder in the file manager, where there is a desktop; tell whether that could be asked for."""
    call = opening(path, "windows" if WINDOWS else "macos" if MACOS else "linux")
    return bool(find_program(call.words[0])) and run_program(call, NOTIFYING, heard=False).code is not None


# -- ejecting --


def why_not_eject(drive_path: str, script: str) -> str:
    """Say why a drive cannot be ejected, before it is tried; empty where nothing is in the way. Raises OSError."""
    top, here = mount_point(drive_path), current_folder()
    if is_inside(script, drive_path):
        return f"snapback itself runs from {show(drive_path)}; start the one on this computer, or eject the drive by hand"
    if here and is_inside(here, drive_path):
        return f"the current folder lies on {show(drive_path)}; leave it first, with: cd"
    if top != drive_path:
        return f"{show(drive_path)} is a folder on {show(top)}, not the top of a drive of its own; eject that one by hand"
    if disks_of(drive_path) & system_disks():
        return f"{show(drive_path)} is on the disk of this computer's own system"
    return ""


def ejecting(place: str, system: str) -> Call:
    """Write the call that ejects a drive of "macos" or "windows", where the verb says nothing, so that one looks whether it is gone."""
    if system == "macos":
        return Call(["diskutil", "eject", place])
    script = ("(New-Object -ComObject Shell.Application).Namespace(17).ParseName($env:SNAPBACK_DRIVE).InvokeVerb('Eject'); "
              "foreach ($i in 1..30) { if (-not (Test-Path -LiteralPath $env:SNAPBACK_DRIVE)) { exit 0 }; Start-Sleep 1 }; exit 1")
    return Call(["powershell", "-NoProfile", "-NonInteractive", "-Command", script], "", {"SNAPBACK_DRIVE": place})


UNMOUNTING = 600             # seconds; what programs have written may still be on its way


def unmount(place: str) -> Tuple[str, str]:
    """Unmount a drive on Linux; give why that failed, or what else is to be known."""
    beside, device = mounted_beside(place), mount_entry(place)[1]
    by_udisks = bool(device.startswith("/dev/") and find_program("udisksctl"))
    whys = []
    ways = [["udisksctl", "unmount", "--no-user-interaction", "-b", device]] if by_udisks else []
    for words in [*ways, ["umount", place]]:
        ran = run_program(Call(words, "", {"LC_ALL": "C"}), UNMOUNTING)
        if ran.code == 0:
            break
        whys.append(why_failed(ran))
    else:
        return "; ".join(whys), ""
    if any(one.place == place for one in mounts()):
        return "something is still mounted there", ""
    if beside:
        return f"it is unmounted, but {', '.join(map(show, beside))} on the same disk is not", ""
    if not by_udisks:
        return "", ""
    off = Call(["udisksctl", "power-off", "--no-user-interaction", "-b", device], "", {"LC_ALL": "C"})
    return "", why_failed(run_program(off, UNMOUNTING))


def eject(drive_path: str) -> Tuple[bool, str]:
    """Flush a drive and unmount or eject it; give whether it may be unplugged now, and the sentence that says so.

    Whoever calls this has asked `why_not_eject`, and keeps no `Drive` or `Folder` of it: what is open cannot be ejected.
    """
    gc.collect()  # folders that nobody refers to any more but each other
    place, more = show(drive_path), ""
    try:
        flush_drive(drive_path)
        if WINDOWS or MACOS:
            why = why_failed(run_program(ejecting(drive_path, "windows" if WINDOWS else "macos"), UNMOUNTING))
        else:
            why, more = unmount(drive_path)
    except OSError as err:
        why = reason(err)
    if why:
        return False, f"{place} was not ejected ({why}): do not unplug it yet; end what uses it, then eject it by hand"
    return True, f"{place} is ejected: you may unplug it now" + (f" (its power stays on: {more})" if more else "")


# -- launchers --


# On a drive they are read by whatever computer it is attached to, so they take nothing for granted but cmd.exe and a POSIX shell.
# cmd.exe reads on in its file after each line; its paths hold %, &, ! and ( as they are, inside of quotes and without delayed expansion.
WINDOWS_LAUNCHER_TEXT = (WINDOWS_LAUNCHER_TITLE + r""", with a Python of 3.8 or newer.

setlocal EnableExtensions DisableDelayedExpansion
rem Otherwise a py.exe in the current folder would be started, and that may lie on a stranger's drive.
set "NoDefaultCurrentDirectoryInExePath=1"
rem py is not to fetch a Python from the internet.
set "PYTHON_MANAGER_AUTOMATIC_INSTALL=false"
set "HERE=%~dp0"
set "GOOD="
set "TERMINAL="
set "WHY=none"
if not exist "%HERE%snapback.py" set "WHY=alone"
if not exist "%HERE%snapback.py" goto sorry

if not exist "%HERE%python\python.exe" goto installed
set RUN="%HERE%python\python.exe"
call :try
if not defined GOOD if %WHY%==none set "WHY=beside"
:installed
for %%P in ("py.exe -3" python3.exe python.exe) do if not defined GOOD call :named %%P
if defined GOOD goto start
rem With this code ends what Windows puts in Python's place, and what is not there at all.
if %CODE%==9009 for %%P in (python.exe) do if not "%%~$PATH:P"=="" if %WHY%==none set "WHY=store"
goto sorry

:start
if defined TERMINAL if [%1]==[] goto window
%RUN% -I "%HERE%snapback.py" %*
exit /b %errorlevel%

:window
rem On one line, up to a label: the program may have put a newer file in the place of this one, which cmd would read on in.
%RUN% -I "%HERE%snapback.py" & call set "CODE=%%errorlevel%%" & echo. & pause & goto ended
:ended
exit /b %CODE%

:named
set "RUN=%~1"
:try
%RUN% -E -c "import sys; sys.exit(41 if sys.version_info < (3, 8) else 43 if sys.stdin and sys.stdin.isatty() else 42)" >nul 2>&1
set "CODE=%errorlevel%"
if %CODE%==41 set "WHY=old"
if %CODE%==42 set "GOOD=yes"
if %CODE%==43 set "GOOD=yes"
if %CODE%==43 set "TERMINAL=yes"
exit /b 0

:sorry
call :explain 1>&2
if [%1]==[] pause
exit /b 1

:explain
echo.
if %WHY%==alone goto alone
echo snapback cannot start: it needs Python 3.8 or newer, a free program.
if %WHY%==none echo There is none on this PC.
if %WHY%==old echo The one on this PC is older than that.
if %WHY%==store echo What this PC has in its place is only a link to the Microsoft Store.
if %WHY%==beside echo The one in the folder "python" beside this file does not start on this PC.
echo Nothing was changed. What you can do:
echo.
echo * Get files back without it: open READ-ME-FIRST.txt, which lies beside this file.
echo * Install Python from https://www.python.org/downloads/ and double-click Snapback.cmd again.
echo * Or install nothing: get a "Windows embeddable package" from https://www.python.org/downloads/windows/
echo   and unpack it into a new folder "python" beside Snapback.cmd, then double-click that again.
echo.
exit /b 0

:alone
echo snapback cannot start: its file snapback.py does not lie beside this one.
echo Nothing was changed. Start Snapback.cmd where it lay first, or put snapback.py beside it.
echo.
exit /b 0
""").replace("\n", "\r\n")

UNIX_LAUNCHER_TEXT = UNIX_LAUNCHER_TITLE + r""", with a Python of 3.8 or newer.

case $0 in
/*) here=${0%/*} ;;
*/*) here=./${0%/*} ;;
*) here=. ;;
esac
window=
[ $# != 0 ] || [ ! -t 0 ] || window=yes

# Ends with an exit code; a window that a double click has opened stays until its text was read.
leave() {
    [ -z "$window" ] || { printf '\nPress Return to close this window. '; read -r _; }
    exit "$1"
}

if [ ! -f "$here/snapback.py" ]; then
    echo 'snapback cannot start: its file snapback.py does not lie beside this one.
Nothing was changed. Start Snapback.command where it lay first, or put snapback.py beside it.' >&2
    leave 1
fi

# Tries each Python that the search path leads to, but none by a path like ".": that may be a stranger's drive.
python='' why='There is none on this computer.'
set -f
IFS=:
for name in python3 python; do
    for folder in $PATH; do
        try=${folder%/}/$name
        case $try in /*) ;; *) continue ;; esac
        { [ -f "$try" ] && [ -x "$try" ]; } || continue
        # Where Apple's developer tools are missing, Apple's python3 only opens a window that offers them.
        if [ "$try" = /usr/bin/python3 ] && [ -x /usr/bin/xcode-select ] && ! /usr/bin/xcode-select -p > /dev/null 2>&1; then
            why='What this Mac has in its place only offers to install tools for developers.'
            continue
        fi
        "$try" -E -c 'import sys; sys.exit(41 if sys.version_info < (3, 8) else 42)' < /dev/null > /dev/null 2>&1
        case $? in
        41) why='The one on this computer is older than that.' ;;
        42) python=$try; break 2 ;;
        esac
    done
done

if [ -z "$python" ]; then
    echo "snapback cannot start: it needs Python 3.8 or newer, a free program.
$why
Nothing was changed. What you can do:

* Get files back without it: open READ-ME-FIRST.txt, which lies beside this file.
* On a Mac, get Python at https://www.python.org/downloads/ and install it; on Linux, install your system's package python3.
  Then start Snapback.command again." >&2
    leave 1
fi
[ -n "$window" ] || exec "$python" -I "$here/snapback.py" "$@"
trap : INT  # Ctrl-C ends the program, which then says so, but not this window
"$python" -I "$here/snapback.py"
leave $?
"""


DESKTOP_ENTRY = "snapback.desktop"
DESKTOP_MARK = "# snapback: from the command setup"     # by this we know our own entry again


def exec_word(word: str) -> str:
    r"""Quote a word of an Exec line, and escape the line as any value is (Desktop Entry Specification: Exec, value types).

    >>> print(exec_word("/home/anna/100% $mine"))
    "/home/anna/100%% \\$mine"
    """
    quoted_word = re.sub(r'["`$\\]', r"\\\g<0>", word)
    return '"' + re.sub(r"[\\%]", r"\g<0>\g<0>", quoted_word) + '"'


def desktop_entry(words: Sequence[str]) -> str:
    """Write an entry for the menu of applications, which opens a terminal with a program in it. Raises UsageError."""
    check_words(words, "a desktop entry")
    return f"""{DESKTOP_MARK}
[Desktop Entry]
Type=Application
Version=1.0
Name=snapback
GenericName=Backup
Comment=Dated copies of your folders on another disk, and your files back from them
Exec={" ".join(map(exec_word, words))}
Icon=drive-removable-media
Terminal=true
Categories=Utility;Archiving;
Keywords=backup;restore;copy;
"""


def install_desktop_entry(words: Sequence[str]) -> str:
    """Put a program among this user's applications, on Linux; give the entry's path. Raises OSError, SnapbackError."""
    base = os.environ.get("XDG_DATA_HOME", "")
    place = f"{base if base.startswith('/') else '~/.local/share'}/applications"
    put_entry(place, {DESKTOP_ENTRY: desktop_entry(words)}, DESKTOP_MARK)
    return f"{place}/{DESKTOP_ENTRY}"


def write_papers(facts: DriveFacts) -> Sequence[Paper]:
    """Write what lies at the top of a drive beside the program."""
    plan = recovery_text(facts)
    page = [Paper(RECOVERY_PAGE, PAGE_TITLE, page_text(facts, plan))] if facts.page else []
    return (Paper(RECOVERY, RECOVERY_TITLE, plan), Paper(RESTORER, RESTORER_TITLE, RESTORE_SCRIPT),
            Paper(WINDOWS_LAUNCHER, WINDOWS_LAUNCHER_TITLE, WINDOWS_LAUNCHER_TEXT),
            Paper(UNIX_LAUNCHER, UNIX_LAUNCHER_TITLE, UNIX_LAUNCHER_TEXT, 0o755), *page)


# --- 13. Command line --------------------------------------------------------------------------


class Scene(NamedTuple):
    """What a command gets of the outside: the time, a stop-watch, and where progress is shown."""

    now: datetime
    clock: Callable[[], float]
    expect: Expect
    watched: bool                    # it is shown indeed
    foretell: Callable[[str], None]  # shows a person at once what the report will say, too
    talk: "Talk"                     # asks a person


def say(stream: Optional[TextIO], lines: Iterable[str]) -> None:
    """Print lines, whatever characters the stream can take; a closed stream is no reason to fail."""
    if not stream:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        for line in lines:
            print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream)
        stream.flush()
    except (OSError, ValueError):  # closed, or nobody listens: Python would complain once more at its end
        silence(stream)


class Left(Exception):
    """A person wants to leave: by the end of input, by Ctrl-C, or by a word."""


LEAVING = ("q", "quit", "exit")


def number_in(said: str, last: int) -> int:
    """Read a number from 1 to `last`; 0 for anything else.

    >>> number_in("2", 2), number_in("3", 2), number_in("\u00b2", 2)
    (2, 0, 0)
    """
    return int(said) if said.isdecimal() and len(said) < 10 and int(said) <= last else 0


class Talk:
    """Asks the person at a terminal, and takes what is answered."""

    def __init__(self, source: Optional[TextIO], out: Optional[TextIO]) -> None:
        self.source, self.out = source, out

    @property
    def is_possible(self) -> bool:
        """Tell whether a person sits there."""
        return bool(self.source and self.out) and all(one.isatty() for one in (self.source, self.out) if one)

    def tell(self, *lines: str) -> None:
        """Say something, in lines that fit the window."""
        import textwrap  # here, because commands that ask nothing do without
        width = max(30, min(terminal_width(self.out) - 1, 100)) if self.out else 79
        say(self.out, [part for line in lines for part in textwrap.wrap(
            line, width, break_on_hyphens=False, subsequent_indent=" " * (
                len(line) - len(line.lstrip(" ")) + 2 * (line[:1] == " "))) or [""]])

    def ask(self, question: str, default: str = "", anything: bool = False) -> str:
        """Ask for a line; an empty one is the default, and `q` leaves, unless it can be meant as `anything` else. Raises Left."""
        self.tell(question + (f" [{default}]" if default else ""))
        if not self.source or not self.out:
            raise Left
        # while it waits, Ctrl-C is an answer, and as nothing is being written, the system may end it at once
        before = [(signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler)),
                  (signal.SIGTERM, signal.signal(signal.SIGTERM, signal.SIG_DFL))]
        try:
            self.out.write("> ")
            self.out.flush()
            line = self.source.readline()
        except (KeyboardInterrupt, UnicodeDecodeError, OSError) as err:
            self.tell("")
            raise Left from err
        finally:
            for number, handler in before:
                signal.signal(number, handler)
        if not line or (not anything and line.strip().casefold() in LEAVING):
            raise Left
        said = line.strip()
        if not re.search(r"[\0-\x1f\x7f]", said):
            return said or default
        self.tell("There were keys in that which write no letters, such as arrows. Please type it again.")
        return self.ask(question, default, anything)

    def choose(self, question: str, options: Sequence[Tuple[str, str]], default: int = 1) -> str:
        """Let one of some (word, meaning) be chosen, by its number, the beginning of either, or a word of it. Raises Left."""
        self.tell("", question, *(f"  {nth}  {meaning}" for nth, (_, meaning) in enumerate(options, 1)))
        while True:
            said = self.ask("Which? A number, please", str(default) if default else "").casefold()
            if number_in(said, len(options)):
                return options[number_in(said, len(options)) - 1][0]
            texts = [(option[0], text.casefold()) for option in options for text in option[said.isdigit():]]  # the word may be a number
            for fitting_words in ({word for word, text in texts if said and text.startswith(said)},
                                  {word for word, text in texts if said in re.findall(r"\w+", text)}):
                if len(fitting_words) == 1:
                    return fitting_words.pop()
            unknown = f"There is no {quoted(said)} here. " if said else ""
            self.tell(f"{unknown}Please type a number from 1 to {len(options)}, or q to leave.")

    def agrees(self, question: str, default: bool) -> bool:
        """Ask for yes or no. Raises Left."""
        while True:
            said = self.ask(f"{question} (yes or no)", "yes" if default else "no").casefold()
            if said and ("yes".startswith(said) or "no".startswith(said)):
                return said[0] == "y"
            self.tell("Please answer yes or no.")

    def wait(self) -> None:
        """Wait until the person has read. Raises Left."""
        self.ask("Press Enter to go on.")


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving, and whose options may stand anywhere."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say as a UsageError."""
        raise UsageError(f"{show(message)}; see: {self.prog} --help")


class Finished(Exception):
    """The parser has answered by itself (--help)."""


class Help(argparse.Action):
    """Print the help and end, without leaving the interpreter."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Say the help text."""
        raise Finished(parser.format_help())


class PatternWords(argparse.Action):
    """Collect --exclude and --exclude-from in their order, as the last pattern that matches decides."""

    def __call__(self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: Optional[str] = None) -> None:
        """Add one word."""
        namespace.patterns = [*(namespace.patterns or []), (option_string == "--exclude-from", values)]


def positive(text: str) -> int:
    """Read how many processes or threads shall share the work."""
    if not re.fullmatch(r"[1-9]\d?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number from 1 to 99")
    return int(text)


def add_retention(parser: Parser) -> None:
    """Declare the options that say which dated copies stay."""
    for period in PERIODS:
        what = "the newest N dated copies" if period.rule == "last" else f"the newest of each of the last N {period.plural} that have one"
        parser.add_argument(f"--keep-{period.rule}", metavar="N", help=f"keep {what} (a number, or unlimited)")
    parser.add_argument("--keep-within", metavar="TIME", help="keep what is younger than this before the newest, such as 1y5m7d2h")
    parser.add_argument("--min-free", metavar="SIZE",
                        help="then delete the oldest until this much is free, such as 50G or 10%%")


def read_rotation(args: argparse.Namespace) -> Rotation:
    """Read the options of retention. Raises UsageError."""
    said = {word: getattr(args, f"keep_{word}") for word in Retention._fields if getattr(args, f"keep_{word}") is not None}
    return Rotation(parse_retention(said), Space() if args.min_free is None else parse_space(args.min_free))


def said_over(args: argparse.Namespace, otherwise: Rotation) -> Rotation:
    """Read the options of retention; where none says what to keep, that is as in `otherwise`. Raises UsageError."""
    said = read_rotation(args)
    if any(getattr(args, f"keep_{word}") is not None for word in Retention._fields):
        return said
    return Rotation(otherwise.retention, otherwise.min_free if args.min_free is None else said.min_free)


def rotation_on(drive: Drive, args: argparse.Namespace) -> Rotation:
    """Give the rotation of a drive whose folders were named: what a person's settings keep there nobody deletes. Raises UsageError."""
    read_rotation(args)  # wrong words are wrong whatever else is so
    path = "" if any(getattr(args, f"keep_{word}") is not None for word in Retention._fields) else find_settings(args.config)
    drives = load_settings(path).drives if path else ()
    return said_over(args, next((one.rotation for one in drives if drive.marker and one.id == drive.marker.id), Rotation()))


def add_config(parser: Parser) -> None:
    """Declare the option that names the settings."""
    parser.add_argument("--config", default="", metavar="FILE", help=f"the settings (default: {SETTINGS} of this user)")


def add_excludes(parser: Parser) -> None:
    """Declare the options that leave something out."""
    parser.add_argument("--exclude", action=PatternWords, dest="patterns", metavar="PATTERN",
                        help="leave out what matches (as in .gitignore, from each source's top; may be repeated)")
    parser.add_argument("--exclude-from", action=PatternWords, dest="patterns", metavar="FILE",
                        help="read such patterns from a file, one a line")
    parser.add_argument("--exclude-caches", action="store_true", help="leave out folders tagged by a CACHEDIR.TAG")
    parser.add_argument("--exclude-if-present", action="append", default=[], metavar="NAME",
                        help="leave out what is in a folder that has an entry of this name")
    parser.add_argument("-x", "--one-file-system", action="store_true", help="do not enter other disks mounted in a source")


def add_backup(parser: Parser) -> None:
    """Declare the options of `backup`."""
    parser.add_argument("paths", nargs="*", metavar="SOURCE... DRIVE",
                        help="folders or files to copy (NAME=PATH gives one another name on the drive), then the drive; "
                             "without them: what the settings say, on every drive of theirs that is attached")
    add_config(parser)
    parser.add_argument("--init", action="store_true", help="make the marker first, where the drive has none yet")
    parser.add_argument("--if-attached", action="store_true", help="an absent drive is no failure (exit 0)")
    parser.add_argument("--if-due", action="store_true", help="only on drives whose newest copy is as old as the settings' every")
    parser.add_argument("--every", default="", metavar="TIME", help="only when the newest copy is as old as this, such as 12h or 1d")
    parser.add_argument("--eject", action="store_true", help="let the drive be unplugged afterwards, and say whether it may be")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be copied; write nothing")
    parser.add_argument("--set", default="", metavar="NAME", help="the folder on the drive for this computer's copies")
    parser.add_argument("--adopt", action="store_true", help="go on with a set that another computer began")
    add_excludes(parser)
    parser.add_argument("--checksum", action="store_true", help="read every file, also those whose size and times are as before")
    parser.add_argument("--reread", action="store_true", help="read all of the new copy back from the drive before it counts as one")
    parser.add_argument("--fresh", action="store_true", help="store every file anew, so that this copy shares nothing with earlier ones")
    parser.add_argument("--layout", choices=[layout.value for layout in Layout],
                        help="complete: every dated folder holds every file; changes: only what is new, and the list says where the rest "
                             "lies (default: complete, where the drive has hard links)")
    parser.add_argument("--allow-empty", action="store_true",
                        help="a source that has become empty, or is on another disk than before, is meant to be so")
    parser.add_argument("--hold-at", metavar="PERCENT",
                        help="stop deleting when so many files are gone or other at once (default: 50), or off")
    parser.add_argument("--no-rotate", action="store_true", help="delete no old dated copy")
    add_retention(parser)


def read_rules(args: argparse.Namespace, where: Sequence[str] = ()) -> Rules:
    """Read the exclude options; `where` says of the first of their patterns where they stand, if not on the command line."""
    patterns: List[Pattern] = []
    for (is_file, text), place in zip(args.patterns or (), itertools.chain(where, itertools.repeat(""))):
        lines = [text]
        if is_file:
            path = whole_path(text)
            try:
                content = read_text(Folder.top(parent_path(path)), path_parts(path)[-1], MIB)
            except (OSError, IndexError) as err:
                why = reason(err) if isinstance(err, OSError) else "it names no file"
                raise UsageError(f"the exclude file {show(text)} cannot be read: {why}") from err
            if content is None:
                raise UsageError(f"there is no exclude file {show(text)}, or it is no text file of less than a megabyte")
            lines = as_names(content.lstrip("\ufeff")).split("\n")
        patterns += [pattern for number, line in enumerate(lines, 1) for pattern in [parse_pattern(
            line, IGNORE_CASE, f"{show(text)}, line {number}" if is_file else place or f"--exclude {shell_word(text)}")] if pattern]
    for name in args.exclude_if_present:
        if "/" in name or name in ("", ".", ".."):
            raise UsageError(f"--exclude-if-present takes a plain name, not {quoted(name)}")
    return Rules(tuple(patterns), args.exclude_caches, tuple(args.exclude_if_present), args.one_file_system)


def rules_of_settings(settings: Settings) -> Rules:
    """Read what settings leave out. Raises UsageError."""
    return read_rules(argparse.Namespace(patterns=settings.patterns, exclude_caches=settings.exclude_caches,
                                         one_file_system=settings.one_file_system, exclude_if_present=settings.exclude_if_present))


def rules_of_copy(snapshot: Snapshot) -> Rules:
    """Read what a dated copy left out, as far as its list tells; what is of another form counts as nothing."""
    texts, tags = ([text for text in found if isinstance(text, str)] if isinstance(found, list) else []
                   for found in (snapshot.header.get("excludes"), snapshot.header.get("tags")))
    patterns = []
    for text in texts:
        with contextlib.suppress(UsageError):
            patterns.append(parse_pattern(text, IGNORE_CASE, f"as it stands in the list of {snapshot.name}"))
    return Rules(tuple(filter(None, patterns)), CACHE_TAG in tags, tuple(tag for tag in tags if tag != CACHE_TAG))


def read_sources(words: Sequence[str]) -> Tuple[Source, ...]:
    """Read the words before the drive: paths, or NAME=PATH. Raises UsageError, SourceGone."""
    pairs, all_mounts = [split_alias(word, "") for word in words], mounts()
    for _alias, path in pairs:
        if leads_to_server(full_path(path), all_mounts) and not answers(full_path(path), PATIENCE_FOR_SERVERS):
            raise SourceGone(f"{show(path)} does not answer: no dated copy was made; its server may be switched off")
    named = give_aliases([(alias or plain_name(path), whole_path(path)) for alias, path in pairs])
    sources = []
    for alias, path in named:
        info = from_top(Source(alias, path), stat_path, path)
        if info is not None and not is_folder(info) and not stat.S_ISREG(info.st_mode):
            raise UsageError(f"{show(path)} is neither a folder nor a file, so it cannot be a source")
        sources.append(Source(alias, path, info is None or is_folder(info)))
    return tuple(sources)


def not_preparable(place: str, err: OSError) -> DriveError:
    """Say why a folder cannot be made a drive."""
    why, cure = f"does not let files be made in it ({err.strerror})", refusal_cure(err) or "check that this user may write there"
    if is_read_only(err):
        why, cure = "is read-only", "unlock it, or take another disk"
    elif err.errno in FULL:
        why, cure = "is full", "make room on it, or take a larger disk"
    return DriveError(f"{show(place)} {why}: it cannot be made a drive; {cure}")


def init_for_backup(place: str, sources: Sequence[str], dry_run: bool, now: datetime) -> bool:
    """Make the marker that `backup --init` asks for; tell whether one was made."""
    where = whole_path(place)
    info = stat_path(where)
    if info is not None and is_folder(info) and read_marker(Folder.top(where)):
        return False
    if info is not None and is_folder(info) and list_sets(Folder.top(where))[0]:
        raise DriveAbsent(marker_gone(place))
    known = known_drives().get(where)
    if known:
        raise DriveAbsent(f"the drive {show(known.get('label', ''))} was at {show(place)}, and is not attached now; attach it; or, to make "
                          f"a new drive of this folder, run: snapback.py init {shell_word(place)}")
    check_place(where, sources, False, False)
    if dry_run:
        raise UsageError(f"{show(place)} is no drive yet, so a dry run has nothing to compare with; first run: "
                         f"snapback.py init {shell_word(place)}")
    try:
        prepare_drive(where, "", False, now.isoformat(timespec="seconds"), write_papers)
    except OSError as err:
        raise not_preparable(place, err) from err
    return True


def backup_words(sources: Iterable[Source]) -> List[str]:
    """Write the command that copies sources from anywhere and unattended, as far as they go; without any it copies by the settings."""
    paths = [source.path if plain_name(source.path) == source.alias else f"{source.alias}={source.path}" for source in sources]
    return [sys.executable or "python3", "-I", script_path(), "backup", *paths]


def repeating_words(args: argparse.Namespace, sources: Sequence[Source], drive: Drive) -> List[str]:
    """Write the command that repeats this run, from anywhere and unattended; never with --init."""
    words = backup_words(sources)
    words += [drive.path, "--if-attached", "-q", *(["--set", args.set] if args.set else [])]
    for is_file, text in args.patterns or ():
        words += ["--exclude-from", whole_path(text)] if is_file else ["--exclude", text]
    for name in args.exclude_if_present:
        words += ["--exclude-if-present", name]
    for option in (*(f"keep_{rule}" for rule in Retention._fields), "min_free", "hold_at", "layout"):
        if getattr(args, option) is not None:
            words += ["--" + option.replace("_", "-"), getattr(args, option)]
    flags = (("--exclude-caches", args.exclude_caches), ("-x", args.one_file_system), ("--checksum", args.checksum),
             ("--reread", args.reread), ("--no-rotate", args.no_rotate))
    return words + [flag for flag, wanted in flags if wanted]


def make_order(args: argparse.Namespace, sources: Tuple[Source, ...], scene: Scene) -> Order:
    """Read the options of `backup` into an order. Raises UsageError."""
    hold_at = HOLD_AT if args.hold_at is None else parse_hold_at(args.hold_at)
    rotation = read_rotation(args)
    return Order(sources, scene.now, write_papers, read_rules(args), set_name=args.set, adopt=args.adopt, checksum=args.checksum,
                 allow_empty=args.allow_empty, fresh=args.fresh, hold_at=hold_at, rotation=None if args.no_rotate else rotation,
                 watched=scene.watched, jobs=args.jobs, foretell=scene.foretell, layout=Layout(args.layout) if args.layout else None,
                 read_back=read_back if args.reread else None)


def with_rotation_on(drive: Drive, order: Order, args: argparse.Namespace) -> Tuple[Order, str]:
    """Let an order do what else the settings say of its drive; where they cannot be read it does not rotate, and the sentence says so."""
    try:
        path = find_settings(args.config)
        order = order._replace(page=not path or load_settings(path).page)
        return order._replace(rotation=rotation_on(drive, args) if order.rotation else None), ""
    except UsageError as err:  # a copy is made all the same
        return order._replace(rotation=None), f"nothing old was deleted, as it is not known what to keep: {err}"


def look_again(drive: Drive, set_name: str, sources: Sequence[Source], now: datetime) -> Seen:
    """Look how a drive stands, and note it in the local record. Raises OSError."""
    drive_id = drive.marker.id if drive.marker else ""
    seen = see_drive(drive, set_name, sources, seen_drives().get(drive_id, Seen()), now)
    if drive_id:
        note_seen(drive_id, seen)
    return seen


def look_after(drive: Drive, set_name: str, now: datetime) -> None:
    """Note what a command changed of the set that the local record speaks of, so that it is known when the drive is away."""
    before = seen_drives().get(drive.marker.id) if drive.marker else None
    if before and before.set_name == set_name:
        with contextlib.suppress(OSError):  # the record is a convenience
            look_again(drive, set_name, (), now)


def believable(text: str, now: datetime) -> Optional[datetime]:
    """Read a time of the local record; None where there is none, or it lies in the future, as a clock was wrong then or is now."""
    moment = parse_time(text)
    return moment if moment and moment - now <= AHEAD else None


def note_missed(drive_id: str, seen: Seen, now: datetime) -> Seen:
    """Note in the local record that a drive is not attached; give what is in there now."""
    since = seen.missed_since if believable(seen.missed_since, now) else now.isoformat(timespec="seconds")
    note_seen(drive_id, seen._replace(attached_since="", missed_since=since))
    return seen_drives().get(drive_id, seen)


def note_missed_at(place: str, now: datetime) -> None:
    """Note in the local record that the drive that was seen at a path is not attached."""
    known, seen = str(known_drives().get(whole_path(place), {}).get("id")), seen_drives()
    if known in seen:
        note_missed(known, seen[known], now)


def eject_drive(drive: Drive) -> Tuple[bool, str]:
    """Eject a drive that nothing more is to be done with; give whether it may be unplugged, and the sentence that says so."""
    try:
        why = why_not_eject(drive.path, script_path())
    except OSError as err:
        why = reason(err)
    if why:
        return False, f"{drive.label} was not ejected: {why}"
    drive.let_go()
    return eject(drive.path)


class Afterwards(NamedTuple):
    """What follows a dated copy: whether the drive is ejected, the settings to be left there, and a line for cron to be shown."""

    eject: bool = False
    settings: Optional[Settings] = None
    schedule: str = ""


def back_up(drive: Drive, order: Order, scene: Scene, then: Afterwards) -> Answer:
    """Make one dated copy, remember what was seen of the drive, and do what follows."""
    began = scene.clock()
    taken = take_snapshot(drive, order, scene.expect)
    unsaved = leave_settings(drive, taken.set_name, then.settings) if then.settings else ""
    if drive.marker:
        remember_drive(drive.path, drive.marker)
    with contextlib.suppress(OSError):  # the record is a convenience
        look_again(drive, taken.set_name, order.sources, scene.now)
    if unsaved:
        taken.notes.append(Note("", unsaved))
    ejected = eject_drive(drive) if then.eject else None
    return backup_answer(taken, drive.label, scene.clock() - began, then.schedule, ejected)


def too_early(drive: Drive, order: Order, standing: Standing, every: Duration) -> Optional[Answer]:
    """Report that it is too early for a dated copy, and note how the drive stands; None where one is due."""
    if is_due(standing.taken, every, order.now):
        return None
    with contextlib.suppress(OSError):  # the record is a convenience
        look_again(drive, standing.set_name, order.sources, order.now)
    said = f"{drive.label}: nothing is due yet; its newest dated copy was made {age_text(standing.taken, order.now)}"
    return Answer(Exit.DONE, [said], (), {"attached": True, "due": False, "set": standing.set_name})


def try_out(drive: Drive, order: Order) -> Answer:
    """Report what a dated copy would hold, and make none."""
    look, set_name = preview(drive, order)
    return preview_answer(look, set_name, drive.label, free_space(drive.path)[0])


def is_full(err: SnapbackError) -> bool:
    """Tell whether a run failed for want of room on the drive."""
    return isinstance(err, TooSmall) or (isinstance(err, DriveError) and err.full)


def back_up_somehow(drive: Drive, order: Order, scene: Scene, then: Afterwards, fresh_by_rule: bool) -> Answer:
    """Make one dated copy; where there is no room for a fresh one that only a rule asks for, one that shares files is better than none."""
    try:
        return back_up(drive, order, scene, then)
    except DriveError as err:
        if not fresh_by_rule or not is_full(err):
            raise
        why = (f"{drive.label} has no room for the fresh copy that fresh-every asks for, so this one shares files with earlier ones; make "
               "room, or take a larger drive")
    return with_problem(back_up(drive, order._replace(fresh=False), scene, then), why)


class Stuck(SnapbackError):
    """Another run works on this set, and has for so long that a person should look at it."""

    code = Exit.LOCKED


def serve_drive(one: DriveSettings, where: str, order: Order, args: argparse.Namespace, scene: Scene, settings: Settings) -> Answer:
    """Make the dated copy that is due on a drive of the settings, if one is. Raises SnapbackError, OSError."""
    drive = open_found(one.id, where)
    standing = standing_of(drive, order)
    every = parse_span(args.every) if args.every else one.every
    early = too_early(drive, order, standing, every) if args.if_due or args.every else None
    if early:
        return early
    fresh = standing.shares_since is not None and is_fresh_due(standing.shares_since, one.fresh_every, scene.now) and not order.fresh
    reread = args.reread or (settings.reread if one.reread is None else one.reread)
    order = order._replace(fresh=order.fresh or fresh, read_back=read_back if reread else None)
    if args.dry_run:
        return try_out(drive, order)
    try:
        answer = back_up_somehow(drive, order, scene, Afterwards(args.eject or one.eject, settings), fresh)
    except Locked as busy:
        with contextlib.suppress(OSError):
            seen = look_again(drive, standing.set_name, order.sources, scene.now)
            last = believable(seen.taken, scene.now) or believable(seen.attached_since, scene.now)
            if is_past(last, one.remind_after, scene.now):
                newest = f"its newest dated copy was made {age_text(last, scene.now)}" if seen.taken else "there is no dated copy on it yet"
                raise Stuck(f"{busy}; {newest}: that other run may hang; look at it, and end it or start this computer anew") from busy
        raise
    return answer._replace(facts={**answer.facts, "attached": True, "due": True})


TOLD_AGAIN = timedelta(hours=20)     # once a day, also when the hours wander a little


def is_told(seen: Seen, code: Exit, now: datetime, kind: str = "") -> bool:
    """Tell whether a person was told of a drive's trouble not long ago; of kind NOTICE: on the desktop."""
    told = parse_time(str(seen.told.get(f"{kind}{int(code)}", "")))
    return told is not None and timedelta(0) <= now - told < TOLD_AGAIN


NOTICE = "notice "


def label_of(one: DriveSettings, seen: Optional[Seen] = None) -> str:
    """Give the name that people know a drive of the settings by."""
    return show((seen or seen_drives().get(one.id, Seen())).label or one.label) or f"the drive {one.id[:8]}..."


def miss_drive(one: DriveSettings, silent: str, quiet: bool, now: datetime) -> Answer:
    """Report a drive of the settings that is not attached: loudly only once a day, after `remind-after`.

    `silent` says why it could not be looked for; `quiet`: nobody asked, so that it is no failure.
    """
    label = label_of(one)
    seen = note_missed(one.id, seen_drives().get(one.id, Seen(label=one.label)), now)
    last = believable(seen.taken, now) or believable(seen.missed_since, now)  # neither: the record cannot be written
    facts = {"attached": False, "due": False}
    said = f"{label} is not attached, so nothing was copied to it" + (f": {silent}" if silent else "")
    if not is_past(last, one.remind_after, now):
        return Answer(Exit.DONE, [said], (), facts) if quiet else Answer(Exit.ABSENT, (), [said], facts)
    made = age_text(parse_time(seen.taken), now) if seen.taken else ""
    newest = f"its newest dated copy was made {made}" if made else "there is no dated copy on it that is known here"
    said = f"{said}; {newest}: attach it soon, and let it be copied to"
    facts["overdue"] = True
    if quiet and is_told(seen, Exit.ATTENTION, now):
        return Answer(Exit.DONE, [said], (), facts)
    return Answer(Exit.ATTENTION, (), [said], facts)


def order_of_settings(settings: Settings, args: argparse.Namespace, scene: Scene) -> Order:
    """Make the order for all drives: what the settings say, and over it what stands on the command line. Raises SnapbackError.

    What is kept on each drive is not said yet.
    """
    said = {**vars(args), "patterns": [*settings.patterns, *(args.patterns or ())], "set": args.set or settings.set_name,
            "exclude_caches": args.exclude_caches or settings.exclude_caches, "checksum": args.checksum or settings.checksum,
            "exclude_if_present": [*settings.exclude_if_present, *args.exclude_if_present],
            "one_file_system": args.one_file_system or settings.one_file_system}
    order = make_order(argparse.Namespace(**said), read_sources(settings.sources), scene)
    return order._replace(hold_at=settings.hold_at if args.hold_at is None else order.hold_at, page=settings.page)


def tell_people(answers: Mapping[str, Answer], settings: Settings, scene: Scene) -> None:
    """Notify whoever sits at this computer of what went wrong with a drive, once a day for each kind of trouble.

    A notice that could not be shown, as nobody was logged in, is tried again by the next run.
    """
    for one in settings.drives:
        answer, seen = answers[one.id], seen_drives().get(one.id, Seen())
        overdue = bool(answer.facts.get("overdue"))
        if (answer.code in (Exit.DONE, Exit.ABSENT) and not overdue) or answer.facts.get("busy"):
            if answer.facts.get("due") and seen.told:
                note_seen(one.id, seen._replace(told={}))
            continue
        code, texts, told = Exit.ATTENTION if overdue else answer.code, answer.problems or answer.lines, dict(seen.told)
        if answer.problems and not is_told(seen, code, scene.now):
            told[str(int(code))] = scene.now.isoformat(timespec="seconds")
        if settings.notify and texts and not is_told(seen, code, scene.now, NOTICE) and (
                scene.watched or notify(f"snapback: {label_of(one)}", texts[-1])):
            told[f"{NOTICE}{int(code)}"] = scene.now.isoformat(timespec="seconds")
        if told != seen.told:
            note_seen(one.id, seen._replace(told=told))


def results_for_others(answer: Answer, one: DriveSettings) -> Dict[str, str]:
    """Give the facts of a run to the command that a person wants carried out after it; a drive without an id stands for all."""
    words = {Exit.DONE: "ok", Exit.ATTENTION: "attention", Exit.HELD: "held", Exit.DAMAGED: "damaged"}
    return {"RESULT": words.get(answer.code, "failed"), "EXIT_CODE": str(int(answer.code)), "DRIVE": label_of(one) if one.id else "",
            "DRIVE_ID": one.id, "SNAPSHOT": str(answer.facts.get("snapshot_id", "")), "PATH": str(answer.facts.get("path", "")),
            "MESSAGE": (answer.problems or answer.lines or [""])[-1]}


def tell_of_settings(trouble: str, scene: Scene) -> None:
    """Notify whoever sits at this computer, once a day, that a run by itself cannot use its settings."""
    record = read_record()
    told = record.get("told_of_settings")
    before = parse_time(told) if isinstance(told, str) else None
    lately = before is not None and timedelta(0) <= scene.now - before < TOLD_AGAIN
    if not scene.watched and not lately and notify("snapback: nothing is copied", trouble):
        write_record({**record, "told_of_settings": scene.now.isoformat(timespec="seconds")})


def settings_here(named: str, command: str) -> Settings:
    """Read the settings that `command` needs, as it names no folders. Raises UsageError where there are none, or no drive in them."""
    path = find_settings(named)
    if not path:
        raise UsageError(f"say what to copy and where to: snapback.py {command} ~/Documents /media/usb (or write that into {SETTINGS}, "
                         f"see README, and put it here: {show(configuration_path())})")
    settings = load_settings(path)
    if not settings.drives:
        raise UsageError(f"the settings file {show(path)} names no drive; add a section [drive ID] with the id that stands in the drive's "
                         f"{MARKER}; for a new drive run: snapback.py init DIR")
    return settings


def run_by_settings(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `backup` without arguments: what the settings say, for each drive that is attached."""
    settings = Settings(())
    try:
        settings = settings_here(args.config, "backup")
        order = order_of_settings(settings, args, scene)
    except SnapbackError as err:
        if settings.notify:
            tell_of_settings(str(err), scene)
        if settings.on_result and not args.dry_run:
            run_on_result(settings.on_result, results_for_others(Answer(err.code, (), [str(err)], {}), DriveSettings("")))
        raise
    search = find_drives({one.id: one.path for one in settings.drives})
    answers: Dict[str, Answer] = {}
    for one in settings.drives:
        quiet, places = args.if_attached or args.if_due or bool(args.every), search.places.get(one.id, ())
        try:
            if places:
                place = the_only_place(label_of(one), places)
                rotation = said_over(args, one.rotation) if order.rotation else None
                answers[one.id] = serve_drive(one, place, order._replace(rotation=rotation), args, scene, settings)
            elif one.id in search.broken:
                raise DriveError(search.broken[one.id])
            else:
                answers[one.id] = miss_drive(one, search.silent.get(one.id, ""), quiet, scene.now)
        except DriveAbsent as gone:  # since it was found
            answers[one.id] = miss_drive(one, str(gone), quiet, scene.now)
        except SnapbackError as err:
            answers[one.id] = Answer(err.code, (), [str(err)], {"error": str(err), "busy": isinstance(err, Locked), "full": is_full(err)})
        except OSError as err:
            why = f"the system refused ({reason(err)}); every earlier dated copy is untouched"
            answers[one.id] = Answer(Exit.FAILED, (), [why], {"error": why})
        tried = (places or one.id in search.broken) and answers[one.id].facts.get("due", True) and not answers[one.id].facts.get("busy")
        if settings.on_result and tried and not args.dry_run:
            why = run_on_result(settings.on_result, results_for_others(answers[one.id], one))
            answers[one.id] = with_problem(answers[one.id], why)
    if not args.dry_run:
        tell_people(answers, settings, scene)
    return drives_answer({one.id: (label_of(one), answers[one.id]) for one in settings.drives})


def run_backup(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `backup`."""
    if args.init and (args.if_attached or args.if_due or args.every):
        raise UsageError("--init makes a new drive of whatever folder is there, so it does not go with --if-attached, --if-due or "
                         "--every; run it once by hand, then leave it out")
    if args.set:
        parse_set_name(args.set)
    every = parse_span(args.every) if args.every else None
    if not args.paths and not args.init:
        return run_by_settings(args, scene)
    if len(args.paths) < 2:
        raise UsageError("name at least one source and then the drive: snapback.py backup ~/Documents /media/usb")
    if args.config or args.if_due:
        raise UsageError(f"{'--config' if args.config else '--if-due'} is for a run by the settings, which names no folders; leave it out, "
                         "or leave out the folders" + ("" if args.config else "; with folders, --every 1d does the same"))
    *words, place = args.paths
    order = make_order(args, read_sources(words), scene)
    made = False
    if args.init:
        check_sources(order.sources)
        made = init_for_backup(place, [source.path for source in order.sources], args.dry_run, scene.now)
    try:
        drive = open_drive(place)
    except DriveAbsent as absent:
        note_missed_at(place, scene.now)
        if args.if_attached and not isinstance(absent, MarkerGone):
            return Answer(Exit.DONE, [str(absent)], (), {"attached": False})
        raise
    order, unplanned = with_rotation_on(drive, order, args)
    early = too_early(drive, order, standing_of(drive, order), every) if every else None
    if early:
        return early
    if args.dry_run:
        return try_out(drive, order)
    schedule = " ".join(map(shell_word, repeating_words(args, order.sources, drive))) if made else ""
    if made and is_inside(script_path(), drive.path):
        schedule = (f"first copy {TOOL} from the drive to this computer, as nothing can start it while the drive is away; then run it "
                    "there by hand")
    return with_problem(back_up(drive, order, scene, Afterwards(args.eject, schedule=schedule)), unplanned)


def add_init(parser: Parser) -> None:
    """Declare the options of `init`."""
    parser.add_argument("dir", metavar="DIR", help="a folder, usually the top of a disk")
    parser.add_argument("--label", default="", metavar="TEXT", help="what people call the drive (default: the folder's name)")
    parser.add_argument("--offline", action="store_true", help="this drive will be unplugged between copies")
    parser.add_argument("--anyway", action="store_true", help="take it even if a synchroniser looks after that folder")


def run_init(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `init`."""
    where = whole_path(args.dir)
    try:
        check_place(where, (), args.offline, args.anyway)
        prepared = prepare_drive(where, args.label, args.offline, scene.now.isoformat(timespec="seconds"), write_papers)
    except OSError as err:
        raise not_preparable(args.dir, err) from err
    remember_drive(where, prepared.marker)
    with contextlib.suppress(OSError):  # the record is a convenience
        look_again(Drive(where, prepared.marker), "", (), scene.now)
    wanted = (("--label", args.label not in ("", prepared.marker.label)), ("--offline", args.offline and not prepared.marker.offline))
    return init_answer(prepared, args.dir, [option for option, unheard in wanted if unheard and not prepared.made])


def add_drive_options(parser: Parser) -> None:
    """Declare what names a drive and a set for the commands that read."""
    parser.add_argument("--drive", default="", metavar="DIR",
                        help="the drive (default: where this script lies, or the current folder, or the settings' one)")
    parser.add_argument("--set", default="", metavar="NAME", help="the set (default: the only one, or this computer's)")
    add_config(parser)


def add_list(parser: Parser) -> None:
    """Declare the options of `list`."""
    add_drive_options(parser)


def drive_named(args: argparse.Namespace, place: str) -> Optional[Tuple[Drive, str]]:
    """Open the drive that `place` lies on, or is when it was named; give it with the name of the set. Raises DriveAbsent, OSError."""
    where, named = whole_path(place), args.set
    info = stat_path(where)
    if info is None or not is_folder(info):
        return None
    if args.drive and not named and not why_no_set_name(path_parts(where)[-1] if path_parts(where) else ".") and (
            looks_like_set(Folder.top(where))):
        where, named = parent_path(where), path_parts(where)[-1]
    while not args.drive and read_marker(Folder.top(where)) is None:
        if parent_path(where) == where:
            break
        where = parent_path(where)
    marker = read_marker(Folder.top(where))
    return (Drive(where, marker), named) if args.drive or marker else None


def drive_at_hand(args: argparse.Namespace) -> Optional[Tuple[Drive, str]]:
    """Find the drive that was named, else the one that this script or the current folder lies on, marked or not, and the set named.

    Raises DriveAbsent where the one that was named is not there.
    """
    for place in [args.drive] if args.drive else [one for one in (parent_path(script_path()), current_folder()) if one]:
        try:
            found = drive_named(args, place)
        except OSError as err:
            raise DriveAbsent(f"{show(place)} cannot be read ({reason(err)}); attach the drive, or run as a user who may read it") from err
        if found:
            return found
    if args.drive:
        raise not_there(args.drive)
    return None


def drives_attached(args: argparse.Namespace) -> List[Tuple[str, Sequence[str]]]:
    """Find the drives of the settings that are attached: of each its label, and where it is. Raises UsageError, DriveAbsent for none."""
    path = find_settings(args.config)
    settings = load_settings(path) if path else Settings(())
    search = find_drives({one.id: one.path for one in settings.drives})
    drives = [(label_of(one), search.places[one.id]) for one in settings.drives if one.id in search.places]
    if path and not drives:
        raise DriveAbsent("no drive of the settings is attached; attach one, or say which: --drive DIR")
    if not drives:
        raise UsageError("say which drive: --drive DIR (this script does not lie on one, the current folder is on none, and there are no "
                         "settings)")
    return drives


def open_to_read(args: argparse.Namespace) -> Tuple[Drive, str]:
    """Find the one drive that a reading command means, and the name of the set, if one was named. Raises UsageError where several are."""
    found = drive_at_hand(args)
    if found:
        return found
    drives = [open_drive(the_only_place(label, places)) for label, places in drives_attached(args)]
    if len(drives) > 1:
        raise UsageError(f"several drives are attached; say which: {', '.join(f'--drive {shell_word(one.path)}' for one in drives)}")
    return drives[0], args.set


def no_set(drive: Drive, named: str, sets: Sequence[str], closed: Sequence[str]) -> str:
    """Say why no set can be chosen, and what there is."""
    if named in closed or (closed and not sets):
        return closed_lines([named if named in closed else closed[0]])[0]
    if not sets:
        return f"there is no dated copy on {drive.label} yet"
    there = f"there are: {', '.join(sets)}; add --set NAME"
    return f"no set {quoted(named)} on {drive.label}; {there}" if named else f"on {drive.label} {there}"


def sets_on(drive: Drive) -> Tuple[List[str], List[str]]:
    """List the sets on a drive, and those that this user may not read; a drive that went away may look empty.

    Raises DriveAbsent where neither a marker nor any set is, DriveError, OSError.
    """
    sets, closed = list_sets(drive.root)
    if not drive.marker and not sets and not closed:
        raise not_there(drive.path)
    drive.check()
    return sets, closed


def sets_named(drive: Drive, named: str) -> Tuple[List[str], List[str]]:
    """Give the set that was named, or all on a drive, and those that this user may not read. Raises UsageError, DriveError, OSError."""
    sets, closed = sets_on(drive)
    if named and named not in sets:
        raise UsageError(no_set(drive, named, sets, closed))
    return ([named], []) if named else (sets, closed)


def list_drive(drive: Drive, named: str, now: datetime) -> Answer:
    """List the dated copies on one drive."""
    with drive.guarded():
        wanted, closed = sets_named(drive, named)
        found = {}
        for name in wanted:
            folder = drive.root.child(name)
            bad = damaged_in(read_text(folder, DAMAGED_LIST, 64 * MIB) or "")
            snapshots = survey(folder)
            held = held_by(snapshots, read_accepted(folder))
            found[name] = Listed(snapshots, {date: count for date, count in bad.items() if folder.has(date)}, read_pins(folder),
                                 hold_lines(held_text(held), folder.path) if held else ())
        drive.check()
        return list_answer(found, closed, drive.label, now)


def of_each_drive(args: argparse.Namespace, look: Callable[[Drive, str], Answer], *lists: str) -> Answer:
    """Look at the drive at hand or at all attached ones: of several, one that cannot be used does not hide the others.

    `lists` are the facts of which each drive has its part.
    """
    found = drive_at_hand(args)
    if found:
        return look(*found)
    drives = drives_attached(args)
    places: List[str] = []
    answers: List[Answer] = []
    for label, tops in drives:
        try:
            drive = open_drive(the_only_place(label, tops))
            answer = look(drive, args.set)
        except SnapbackError as err:
            if len(drives) == 1:
                raise
            answer = Answer(err.code, (), [str(err)], {key: [] for key in lists})
        if len(drives) == 1:
            return answer
        places.append(tops[0])
        answers.append(answer._replace(problems=[f"{label}: {line}" for line in answer.problems]))
    return Answer(min((answer.code for answer in answers), key=WORST_FIRST.index),
                  [line for answer in answers for line in answer.lines],
                  [line for answer in answers for line in answer.problems],
                  {name: [{"drive": place, **one} for place, answer in zip(places, answers) for one in answer.facts[name]]
                   for name in lists})


def run_list(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `list`."""
    return of_each_drive(args, lambda drive, named: list_drive(drive, named, scene.now), "snapshots")


def choose_set(drive: Drive, named: str) -> str:
    """Choose the set that a command means. Raises UsageError where several could be meant, or none is there; DriveError."""
    sets, closed = sets_on(drive)
    if named:
        if named not in sets:
            raise UsageError(no_set(drive, named, sets, closed))
        return named
    if len(sets) == 1:
        return sets[0]
    mine = [name for name in sets if set_owner(drive.root, name).get("machine") == machine_id()]
    if len(mine) == 1:
        return mine[0]
    raise UsageError(no_set(drive, "", sets, closed))


def copies_on(drive: Drive, named: str) -> Tuple[str, List[Snapshot]]:
    """Give the set that a command means and all that is in it. Raises UsageError, DriveError."""
    with drive.guarded():
        set_name = choose_set(drive, named)
        snapshots = survey(drive.root.child(set_name))
        drive.check()  # a drive that went away meanwhile may look empty
    return set_name, snapshots


def add_status(parser: Parser) -> None:
    """Declare the options of `status`."""
    add_config(parser)
    parser.add_argument("--drive", default="", metavar="DIR", help="this drive only (default: those of the settings, or all known here)")
    parser.add_argument("--set", default="", metavar="NAME", help="the set (default: the only one, or this computer's)")


class Asked(NamedTuple):
    """What `status` is asked about each drive."""

    set_name: str
    sources: Sequence[Source]        # of the settings; without settings any dated copy counts
    anyones: bool                    # a drive was named that this computer need not know, and may be somebody else's
    now: datetime


def set_to_judge(drive: Drive, asked: Asked, before: Seen) -> str:
    """Choose the set that tells whether a person is safe; empty where there is none of this computer. Raises SnapbackError, OSError."""
    sets, closed = list_sets(drive.root)
    mine = [name for name in sets if set_owner(drive.root, name).get("machine") == machine_id()]
    if asked.sources:
        return find_set(drive.root, asked.set_name, host_name(), machine_id(), False)[0]
    if asked.set_name or before.set_name in sets:
        return asked.set_name or before.set_name
    if closed and not sets:
        raise UsageError(closed_lines(closed)[0])
    return choose_set(drive, "") if mine or (sets and asked.anyones) else ""


def status_of(one: DriveSettings, search: Search, asked: Asked) -> DriveStatus:
    """Look how a drive stands; of an absent one the local record tells."""
    places, known = search.places.get(one.id, ()), seen_drives()
    seen, label = known.get(one.id, Seen(label=one.label)), label_of(one)
    trouble = search.silent.get(one.id, "") or search.broken.get(one.id, "")
    try:
        if places:
            drive = open_found(one.id, the_only_place(label, places))
            with drive.guarded():
                seen = see_drive(drive, set_to_judge(drive, asked, seen), asked.sources, seen, asked.now)
            if not asked.anyones:
                note_seen(one.id, seen)
        elif one.id in known and one.id not in search.broken:
            note_missed(one.id, seen, asked.now)
    except SnapbackError as err:
        trouble = str(err)
    seen = seen._replace(offline=seen.offline if one.offline is None else one.offline)
    attached = bool(places) or one.id in search.broken
    return DriveStatus(one.id, label_of(one, seen), seen, attached, one.remind_after, trouble)


def run_status(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `status`."""
    path = find_settings(args.config)
    settings = load_settings(path) if path else Settings(())
    drives = settings.drives or tuple(DriveSettings(name, path=seen.path) for name, seen in seen_drives().items())
    sources, name, anyones = read_sources(settings.sources), args.set or settings.set_name, False
    if args.drive:
        try:
            marker = open_drive(args.drive).marker
        except MarkerGone:
            raise
        except DriveAbsent as absent:
            raise not_there(args.drive) from absent
        named = [one for one in drives if marker and one.id == marker.id]
        drives = ((named[0] if named else DriveSettings(marker.id if marker else ""))._replace(path=whole_path(args.drive)),)
        sources, name, anyones = (sources, name, False) if named else ((), args.set, True)
    if not drives:
        raise SnapbackError("NOT SAFE: no drive is known here yet; make the first dated copy: snapback.py backup --init ~/Documents "
                            "/media/usb")
    search = find_drives({one.id: one.path for one in drives})
    asked = Asked(name, sources, anyones, scene.now)
    return status_answer([status_of(one, search, asked) for one in drives], scene.now, bool(path) and not settings.hold_at)


def with_papers(answer: Answer, drive: Drive, set_name: str) -> Answer:
    """Let what lies on a drive for a bad day tell what a command has changed; that is done, whatever becomes of the telling."""
    unrenewed = renew_papers(drive, write_papers, set_name)
    return answer._replace(lines=[*answer.lines, unrenewed]) if unrenewed else answer


def add_verify(parser: Parser) -> None:
    """Declare the options of `verify`."""
    parser.add_argument("when", nargs="?", default="", metavar="WHEN", help="latest, or a date or its beginning (default: all dates)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="look at names and sizes only; read no file")
    how.add_argument("--sample", metavar="SHARE",
                     help="read so much, such as 10%%, and go on there the next time: ten of these read every file once")
    add_drive_options(parser)


def chosen_to_read(when: str, snapshots: Sequence[Snapshot], drive: Drive) -> Tuple[List[Snapshot], int]:
    """Choose the dated copies that are to be read, all or one, and give their bytes. Raises UsageError where there is none."""
    chosen = [choose_snapshot(when, snapshots)] if when else [one for one in snapshots if one.state in (State.WHOLE, State.DAMAGED)]
    if not chosen:
        raise UsageError(f"there is no dated copy on {drive.label} yet")
    new = sum(int(one.end.get("added", 0)) for one in chosen[1:])  # what several dates share is read once
    return chosen, int(chosen[0].end.get("bytes", 0)) + new


def run_verify(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `verify`."""
    share = 0 if args.sample is None else parse_share(args.sample)
    if share and args.when:
        raise UsageError(f"a sample is taken of all dates; leave out {quoted(args.when)}, or --sample")
    drive, named = open_to_read(args)
    set_name, snapshots = copies_on(drive, named)
    chosen, size = chosen_to_read(args.when, snapshots, drive)
    with drive.guarded():
        others = [name for name in list_sets(drive.root)[0] if name != set_name]
        sample = next_sample(read_text(drive.root.child(set_name), HISTORY, 64 * MIB) or "", share) if share else None
    began = scene.clock()
    order = Check(set_name, tuple(one.name for one in chosen), not args.when, args.quick, args.jobs, scene.now, drive.path, sample)
    files, size = sum(int(one.end.get("files", 0)) for one in chosen), size * (share or CIRCLE) // CIRCLE
    checked = verify(drive, order, scene.expect(files if args.quick else 0, 0 if args.quick else size))
    noted, note = note_check(drive, order, checked)
    look_after(drive, set_name, scene.now)
    answer = verify_answer(checked._replace(noted=noted), order, others, scene.clock() - began, note)
    answer = answer._replace(lines=[*passed_over(args.when, chosen[0].name), *answer.lines])
    return with_papers(answer, drive, set_name) if noted else answer


def add_restore(parser: Parser) -> None:
    """Declare the options of `restore`."""
    parser.add_argument("when", metavar="WHEN", help="latest, or a date or its beginning")
    parser.add_argument("paths", nargs="*", metavar="PATH",
                        help="what to give back: a path as in the copy or as it was on the computer, or a pattern as in .gitignore")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be restored, and where to; write nothing")
    parser.add_argument("--to", default="", metavar="DIR", help="a new folder for it (default: restored-DATE in the current folder)")
    parser.add_argument("--merge", action="store_true",
                        help="restore into a folder that exists; what differs there is set aside under a dated name")
    add_drive_options(parser)


def default_target(date: str, merging: bool, place: str = "") -> str:
    """Name the folder for restored files, in the current one or at a `place`: a new one, or the one that an interrupted restore began.

    A link of that name is not it: who stands on a strange drive must not write where its links lead.
    """
    begun = ""
    for name in itertools.chain([f"restored-{date}"], (f"restored-{date}_{count}" for count in itertools.count(2))):
        path = join_path(place or current_folder(), name)
        if not is_taken(path):
            return begun or (path if place else name)
        if merging and is_real_folder(path):
            begun = name
    raise AssertionError("not reached")


def run_restore(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `restore`."""
    drive, named = open_to_read(args)
    set_name, snapshots = copies_on(drive, named)
    if newest_whole(snapshots) is None and any(one.state is State.DAMAGED for one in snapshots):
        raise no_list_readable(drive, set_name)
    exact = any(one.name == args.when for one in snapshots)
    chosen = choose_snapshot(args.when, snapshots if exact else holding([slashes(path) for path in args.paths], snapshots),
                             f"say a date first: restore latest {shell_word(args.when)}")
    wish = Wish(chosen.name, tuple(args.paths), args.to or default_target(chosen.name, args.merge),
                scene.now.strftime("%Y-%m-%d_%H%M%S") if args.merge else "", args.jobs, drive_words(drive.path, named))
    began = scene.clock()
    notes = [Note("", f"{name} is newer, but its list is damaged, so it was passed over; copy what you need from "
                  f"its folder by hand: {show(join_path(drive.path, set_name, name))}") for name in newer_unlisted(snapshots, chosen)]
    if not args.paths and not exact:
        notes += [Note("", line) for line in elsewhere_lines(chosen, held_elsewhere(chosen, snapshots))]
    asides = passed_over(args.when, chosen.name)
    if chosen != choose_snapshot(args.when, snapshots):
        asides.append(f"{chosen.name} is the newest dated copy that holds {', '.join(map(show, args.paths))}")
    if args.dry_run:
        plan = plan_restore(drive, set_name, wish, scene.expect, sys.maxsize if args.json else NOTES_SHOWN)
        return restore_plan_answer(plan._replace(notes=plan.notes + notes), chosen.name, asides)
    done = restore(drive, set_name, wish, scene.expect)
    return restore_answer(done._replace(notes=done.notes + notes), chosen.name, asides, scene.clock() - began)


def add_find(parser: Parser) -> None:
    """Declare the options of `find`."""
    parser.add_argument("pattern", metavar="PATTERN", help="a name, a pattern as in .gitignore, or a path")
    add_drive_options(parser)


def find_on_drive(drive: Drive, named: str, word: str, expect: Expect) -> Answer:
    """Look for something in all dated copies on a drive, or in those of the set that was named."""
    with drive.guarded():
        sets, closed = sets_named(drive, named)
        searched = [find_in_set(drive, name, word, expect) for name in sets]
    return found_answer(searched, word, Whereabouts(drive.label, drive.path, named), closed)


def run_find(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `find`."""
    word = slashes(args.pattern)
    if not word.strip("./"):
        raise UsageError("say what to find: a name, a pattern such as '*.odt', or a path")
    return of_each_drive(args, lambda drive, named: find_on_drive(drive, named, word, scene.expect), "files", "searched", "unreadable")


def add_diff(parser: Parser) -> None:
    """Declare the options of `diff`."""
    parser.add_argument("when", metavar="WHEN", help="the earlier dated copy: latest, or a date or its beginning")
    parser.add_argument("other", nargs="?", default="", metavar="WHEN|source",
                        help="the later one, or source: the folders as they are now (default: the newest; for the newest: source)")
    parser.add_argument("--checksum", action="store_true", help="read every file, also those whose size and times are as before")
    add_drive_options(parser)


def sources_of_copy(snapshot: Snapshot) -> List[Source]:
    """Give the sources of a dated copy of this computer, for reading alone; what is no absolute path is none."""
    found = []
    for alias, origin in snapshot.sources.items():
        with contextlib.suppress(ValueError):  # from a damaged list comes what can be no path
            info = from_top(Source(alias, origin), stat_path, origin)
            found += [Source(alias, origin, info is None or is_folder(info))] if full_path(origin) == origin else []
    return found


def origins_of(args: argparse.Namespace, chosen: Snapshot) -> Origins:
    """Say which folders of this computer a dated copy can be compared with, and what of them is left out. Raises UsageError.

    The settings tell; without any, a dated copy of this computer does: nothing is written there.
    """
    if chosen.header.get("machine") != machine_id():
        raise UsageError(f"{chosen.name} was made on another computer ({show(str(chosen.header.get('host', '?')))}), so it cannot be "
                         "compared with the folders of this one; say another date: diff OLDER NEWER")
    path = find_settings(args.config)
    settings = load_settings(path) if path else None
    rules = rules_of_settings(settings) if settings else rules_of_copy(chosen)
    sources = {one.alias: one for one in (read_sources(settings.sources) if settings else ())}
    wanted = [sources[alias] for alias in chosen.sources if alias in sources] if settings else sources_of_copy(chosen)
    if not wanted:
        raise UsageError(f"none of the sources of {chosen.name} is known here: {', '.join(map(show, chosen.sources))}")
    check_sources(wanted)
    return Origins(wanted, rules, args.checksum)


def run_diff(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `diff`."""
    drive, named = open_to_read(args)
    set_name, snapshots = copies_on(drive, named)
    turned = args.when == SOURCE_WORD
    old = choose_snapshot(args.when, snapshots, *([f"the earlier date comes first, {SOURCE_WORD} last"] if turned else []))
    shared = [one for one in snapshots if one.state is State.WHOLE and one.sources.keys() & old.sources.keys()]
    newest, asides = newest_whole(shared) or old, passed_over(args.when, old.name)
    if args.other != SOURCE_WORD and (args.other or newest.seq > old.seq):
        if args.checksum:
            raise UsageError("--checksum reads the folders as they are now; dates are compared by their checksums anyway: leave it out, or "
                             f"add {SOURCE_WORD}")
        new = choose_snapshot(args.other, snapshots) if args.other else newest
        asides += passed_over(args.other, new.name)
        compared = compare_dates(drive, set_name, (old.name, new.name), args.json, scene.expect)
        return diff_answer(compared, old.name, new.name, asides)
    compared = compare_with_sources(drive, set_name, old.name, origins_of(args, old), args.json, scene.expect)
    return diff_answer(compared, old.name, SOURCE_WORD, asides)


def add_why(parser: Parser) -> None:
    """Declare the options of `why`."""
    parser.add_argument("path", metavar="PATH", help="a file or folder, as on the computer or as in the copy")
    add_excludes(parser)
    add_drive_options(parser)


class Reasons(NamedTuple):
    """What decides about what is copied: the sources and rules, and where those of RULE_KEYS stand."""

    sources: Sequence[Source]
    rules: Rules
    where: Mapping[str, str]


def reasons_of_settings(path: str, args: argparse.Namespace) -> Reasons:
    """Read what the settings and the command line say, and where. Raises SnapbackError."""
    settings, text = load_settings(path), read_settings_text(path)
    lines = [number for key in ("exclude-from", "exclude") if any(is_file == (key == "exclude-from") for is_file, _ in settings.patterns)
             for number in value_lines(text, key)]
    said = argparse.Namespace(
        patterns=[*settings.patterns, *(args.patterns or ())], exclude_caches=args.exclude_caches or settings.exclude_caches,
        exclude_if_present=[*settings.exclude_if_present, *args.exclude_if_present],
        one_file_system=args.one_file_system or settings.one_file_system)
    rules = read_rules(said, [f"{show(path)}, line {number}" for number in lines])
    where = {key: f"{show(path)}, line {line_of(text, BACKUP_SECTION, key)}" if getattr(settings, key.replace("-", "_")) else f"--{key}"
             for key in RULE_KEYS}
    return Reasons(read_sources(settings.sources), rules, where)


def reasons_of_copies(drives: Sequence[Tuple[Drive, str]], args: argparse.Namespace) -> Reasons:
    """Read from the newest dated copy what was copied, and from it or the command line what is left out. Raises SnapbackError."""
    newest = newest_whole(one for drive, set_name in drives for one in copies_on(drive, set_name)[1]
                          if one.header.get("machine") == machine_id())
    if newest is None:
        raise UsageError(f"there are no settings, and no dated copy of this computer is at hand, so nothing says what is copied; name a "
                         f"drive with --drive, or write {SETTINGS} (see README)")
    given = bool(args.patterns or args.exclude_caches or args.exclude_if_present or args.one_file_system)
    where = {key: f"--{key}" if given else f"as it stands in the list of {newest.name}" for key in RULE_KEYS}
    return Reasons(sources_of_copy(newest), read_rules(args) if given else rules_of_copy(newest), where)


def place_of(word: str, sources: Sequence[Source]) -> Optional[Tuple[Source, Tuple[str, ...]]]:
    """Say in which source, and where in it, a path lies; as on the computer or, if it is in none, as in the copy. None: it is in none."""
    whole = full_path(word)
    for path in (whole, join_path(whole_path(parent_path(whole)), plain_name(whole)), whole_path(whole)):
        found = [one for one in sources if is_inside(path, one.path)]
        if found:
            innermost = max(found, key=lambda one: len(one.path))
            return innermost, path_parts(path)[len(path_parts(innermost.path)):]
    alias, *rest = slashes(word).strip("/").split("/")
    return next(((one, tuple(rest)) for one in sources if one.alias == alias), None)


def run_why(args: argparse.Namespace, _scene: Scene) -> Answer:
    """Carry out `why`."""
    path, found = find_settings(args.config), drive_at_hand(args)
    drives, absent = [found] if found else [], ""
    try:
        drives = drives or [(open_drive(the_only_place(label, places)), args.set) for label, places in drives_attached(args)]
    except DriveAbsent as err:
        absent = str(err)
    except UsageError:
        if path:
            raise
    named = [(drive, choose_set(drive, name)) for drive, name in drives]
    reasons = reasons_of_settings(path, args) if path else reasons_of_copies(named, args)
    closed = {one for drive, _ in named for one in closed_to_walks(drive)}
    place = place_of(args.path, reasons.sources)
    if place is None:
        return no_source_answer(args.path, reasons.sources)
    ruling = rule_on(*place, reasons.rules, reasons.where, closed)
    holdings = [last_holding(drive, set_name, ruling.path) for drive, set_name in named]
    return why_answer(ruling, [one for one in holdings if one], absent)


def file_count(text: str) -> int:
    """Read how many files are to be tried."""
    if not re.fullmatch(r"[1-9]\d{0,5}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number from 1 to 999999")
    return int(text)


def add_rehearse(parser: Parser) -> None:
    """Declare the options of `rehearse`."""
    parser.add_argument("--count", type=file_count, default=0, metavar="N",
                        help=f"how many files (default: {REHEARSED_FILES}, of {size_text(REHEARSED_BYTES)} at most)")
    parser.add_argument("--to", default="", metavar="DIR", help="where the temporary folder is made (default: where this system has such)")
    add_drive_options(parser)


def rehearse_on(drive: Drive, named: str, args: argparse.Namespace, scene: Scene) -> Answer:
    """Try a restore from one drive. Raises SnapbackError."""
    set_name, snapshots = copies_on(drive, named)
    newest = choose_snapshot("latest", snapshots)
    trial = Trial(set_name, newest.name, args.count, args.to, args.jobs, scene.now, chance(), scene.clock, drive.path)
    began = scene.clock()
    done = rehearse(drive, trial, scene.expect)
    seconds = scene.clock() - began
    noted, why = note_rehearsal(drive, trial, done, seconds) if done.files else (False, "")
    if noted:
        look_after(drive, set_name, scene.now)
    answer = rehearsal_answer(done, trial, drive.label, seconds, "" if noted else why)
    answer = with_problem(answer, "; ".join(f"{name} is newer, but its list is damaged, so it was passed over"
                                            for name in newer_unlisted(snapshots, newest)))
    return with_papers(answer, drive, set_name) if noted else answer


def run_rehearse(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `rehearse`: of several drives, one that cannot be used does not hide the others."""
    found = drive_at_hand(args)
    if found:
        return rehearse_on(*found, args, scene)
    answers = {}
    for label, places in drives_attached(args):
        try:
            drive = open_drive(the_only_place(label, places))
            answers[drive.path] = (label, rehearse_on(drive, args.set, args, scene))
        except SnapbackError as err:
            answers[places[0]] = (label, Answer(err.code, (), [str(err)], {"error": str(err)}))
    return drives_answer(answers)


def open_to_tend(args: argparse.Namespace) -> Tuple[Drive, str]:
    """Find the drive and the set that a command changes. Raises DriveAbsent without a marker, UsageError for another computer's set."""
    drive, named = open_to_read(args)
    if not drive.marker and list_sets(drive.root)[0]:
        raise DriveAbsent(marker_gone(drive.path))
    if not drive.marker:
        raise not_there(drive.path)
    with drive.guarded():
        name = choose_set(drive, named)
        owner = set_owner(drive.root, name)
    if not named and owner and owner.get("machine") != machine_id():
        raise UsageError(f"the set {name} on this drive belongs to another computer ({show(str(owner.get('host', '?')))}); if it is "
                         f"meant, add --set {name}")
    return drive, name


def add_rotate(parser: Parser) -> None:
    """Declare the options of `rotate`."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be deleted, and why; delete nothing")
    add_retention(parser)
    add_drive_options(parser)


def run_rotate(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `rotate`."""
    read_rotation(args)
    drive, set_name = open_to_tend(args)
    rotation = rotation_on(drive, args)
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        snapshots = survey(set_folder)
        if args.dry_run:
            ready = prepare_rotation(set_folder, snapshots, rotation, newest_whole(snapshots), scene.now)
            return rotate_answer(ready, snapshots, set_folder.path, True)
        lock = lock_set(drive, set_name)
    try:
        moment = Moment(scene.now, args.jobs, scene.expect)
        done = Rotating(drive, set_name, rotation, moment).run(newest_whole(snapshots))
        return with_papers(rotate_answer(done, snapshots, set_folder.path, False), drive, set_name)
    finally:
        unlock(lock)


def add_repair(parser: Parser) -> None:
    """Declare the options of `repair`."""
    parser.add_argument("when", nargs="?", default="", metavar="WHEN", help="latest, or a date or its beginning (default: all dates)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be healed, and from where; write nothing")
    parser.add_argument("--from", dest="origins", action="append", default=[], metavar="DIR",
                        help="another drive, or a set on one, to look for good copies on (besides the settings' attached ones); "
                             "may be said several times")
    add_drive_options(parser)


def shelves_named(places: Iterable[str]) -> List[Shelf]:
    """Open the sets on drives that were named to look for good copies on. Raises DriveAbsent, UsageError."""
    shelves: List[Shelf] = []
    for place in places:
        try:
            found = shelves_at(whole_path(place)) if stat_path(whole_path(place)) else []
        except OSError as err:
            raise DriveAbsent(f"{show(place)} cannot be read ({reason(err)}): nothing was done; attach the drive, or check the "
                              "path") from err
        if not found:
            raise not_there(place)
        shelves += found
    return shelves


def shelves_elsewhere(drive: Drive, args: argparse.Namespace) -> Tuple[List[Shelf], List[str]]:
    """Open all other sets to look for good copies in: on this drive, on those that were named, on the settings' drives that are attached.

    Gives the sets, and why some cannot be searched. Raises UsageError, DriveAbsent.
    """
    shelves, silent = shelves_named(args.origins), []  # type: List[Shelf], List[str]
    path = find_settings(args.config)
    drives = load_settings(path).drives if path else ()
    wanted = {one.id: one.path for one in drives if not drive.marker or one.id != drive.marker.id}
    search = find_drives(wanted) if wanted else Search({}, {})
    places = [("", drive.path), *((label_of(one), place) for one in drives for place in search.places.get(one.id, ()))]
    for label, place in places:
        try:
            shelves += shelves_at(place, label)
        except OSError as err:
            silent.append(f"{label or show(place)} cannot be read ({reason(err)}), so no good copy was looked for there")
    return shelves, [*silent, *search.silent.values(), *search.broken.values()]


def open_shelves(drive: Drive, set_name: str, args: argparse.Namespace) -> Tuple[List[Shelf], List[str]]:
    """Open each set but the one that is repaired once, and let nothing in it be deleted meanwhile; say what cannot be searched."""
    shelves, silent = shelves_elsewhere(drive, args)
    with drive.guarded():
        met, ready = {stamp(drive.root.child(set_name).own_stat())}, []  # type: Set[Stamp], List[Shelf]
    for shelf in shelves:
        if stamp(shelf.folder.own_stat()) not in met:
            met.add(stamp(shelf.folder.own_stat()))
            try:
                lock_for_reading(shelf.folder)
                ready.append(shelf)
            except Locked:
                silent.append(f"dated copies on {shelf.label} are being changed just now, so no good copy was looked for there")
    return ready, silent


def run_repair(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `repair`."""
    drive, set_name = open_to_tend(args)
    shelves, unsearched = open_shelves(drive, set_name, args)
    with drive.guarded():
        lock = None if args.dry_run else lock_set(drive, set_name)
    try:
        snapshots = copies_on(drive, set_name)[1]
        chosen, size = chosen_to_read(args.when, snapshots, drive)
        began = scene.clock()
        order = Check(set_name, tuple(one.name for one in chosen), not args.when, False, args.jobs, scene.now, drive.path)
        with drive.guarded():
            done = Repair(drive, order, shelves, args.dry_run).run(scene.expect(0, size), scene.expect)
    finally:
        if lock is not None:
            unlock(lock)
    if not args.dry_run:
        look_after(drive, set_name, scene.now)
    answer = repair_answer(done, args.dry_run, scene.clock() - began, join_path(drive.path, set_name, QUARANTINE), unsearched)
    answer = answer._replace(lines=[*passed_over(args.when, chosen[0].name), *answer.lines])
    return answer if args.dry_run else with_papers(answer, drive, set_name)


def add_accept(parser: Parser) -> None:
    """Declare the options of `accept`."""
    add_drive_options(parser)


def run_accept(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `accept`."""
    drive, set_name = open_to_tend(args)
    with drive.guarded():
        lock = lock_set(drive, set_name)
        try:
            held = accept(drive.root.child(set_name), scene.now, set_name)
        finally:
            unlock(lock)
    look_after(drive, set_name, scene.now)
    said = (f"{set_name} is not on hold any more: old dated copies are deleted again when their time comes." if held else
            f"{set_name} is not on hold; nothing was changed.")
    return with_papers(Answer(Exit.DONE, [said], (), {"set": set_name, "accepted": held.name if held else None}), drive, set_name)


def add_pin(parser: Parser) -> None:
    """Declare the options of `pin`."""
    parser.add_argument("when", metavar="WHEN", help="latest, or a date or its beginning")
    parser.add_argument("--note", default=None, metavar="TEXT", help="why it is to stay")
    add_drive_options(parser)


def choose_exactly(when: str, snapshots: Sequence[Snapshot]) -> Snapshot:
    """Choose the dated copy that is named, or begins so; never one before it: protection is no guess. Raises UsageError."""
    chosen = choose_snapshot(when, snapshots)
    if passed_over(when, chosen.name):
        raise UsageError(f"there is no dated copy of {show(when)}, so nothing was changed; the newest before it is {chosen.name}")
    return chosen


def run_pin(args: argparse.Namespace, _scene: Scene) -> Answer:
    """Carry out `pin`."""
    drive, set_name = open_to_tend(args)
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        lock_for_reading(set_folder)  # what is being deleted cannot be pinned any more
        chosen = choose_exactly(args.when, survey(set_folder))
        note = read_pins(set_folder).get(chosen.name, "") if args.note is None else " ".join(show(args.note).split())
        pin(set_folder, chosen.name, note, set_name)
    answer = Answer(Exit.DONE, [f"{chosen.name} is pinned: it is never deleted until you unpin it."], (), {
        "snapshot": chosen.name, "pinned": True, "note": note})
    return with_papers(answer, drive, set_name)


def add_unpin(parser: Parser) -> None:
    """Declare the options of `unpin`."""
    parser.add_argument("when", metavar="WHEN", help="latest, or a date or its beginning")
    add_drive_options(parser)


def run_unpin(args: argparse.Namespace, _scene: Scene) -> Answer:
    """Carry out `unpin`."""
    drive, set_name = open_to_tend(args)
    with drive.guarded():
        set_folder = drive.root.child(set_name)
        chosen = choose_exactly(args.when, survey(set_folder))
        was, others = unpin(set_folder, chosen.name), ", ".join(sorted(read_pins(set_folder))) or "none"
    said = (f"{chosen.name} is not pinned any more: it is deleted when its time comes." if was else
            f"{chosen.name} was not pinned; pinned are: {others}.")
    return with_papers(Answer(Exit.DONE, [said], (), {"snapshot": chosen.name, "pinned": False}), drive, set_name)


def add_schedule(parser: Parser) -> None:
    """Declare the options of `schedule`."""
    parser.add_argument("paths", nargs="*", metavar="SOURCE... DRIVE", help="what to copy, and the drive (default: what the settings say)")
    parser.add_argument("--every", metavar="TIME", help="make a dated copy when the newest is older than this (default: 1d)")
    add_config(parser)
    parser.add_argument("--with", dest="scheduler", choices=list(SCHEDULERS), help="which scheduler (default: the one of this system)")
    parser.add_argument("--install", action="store_true", help="install the entry; without this it is only shown")
    parser.add_argument("--remove", action="store_true", help="take the entry away again")


def scheduled_words(paths: Sequence[str], every: str, config: str) -> List[str]:
    """Write the command that a scheduler is to start, with absolute paths and never with --init. Raises UsageError."""
    if not paths:
        return [*backup_words(()), "--if-due", "-q", *(["--config", whole_path(config)] if config else [])]
    if len(paths) < 2:
        raise UsageError("name at least one source and then the drive: snapback.py schedule ~/Documents /media/usb")
    *names, place = paths
    sources, drive = read_sources(names), whole_path(place)
    for source in sources:
        if stat_path(source.path) is None:
            raise UsageError(f"there is no {show(source.path)}, so it is not scheduled; check the path")
    if drive not in known_drives() and marked_drive_of(join_path(drive, MARKER)) != drive:
        raise UsageError(f"{show(place)} is no backup drive, so a schedule would wait for it for ever; attach it or, if it is a new "
                         f"one, first run: snapback.py init {shell_word(place)}")
    parse_span(every)
    return [*backup_words(sources), drive, "--if-attached", "--every", every, "-q"]


def refuse_schedule_on_drive(paths: Sequence[str], drive: str) -> None:
    """Refuse to schedule what would be away when the drive is. Raises UsageError."""
    for path in paths:
        there = drive if drive and is_inside(path, drive) else marked_drive_of(path)
        if there:
            raise UsageError(f"{show(path)} lies on the drive {show(there)}, and nothing can start it while that is away; first copy it "
                             "to this computer, and use it there")


def remove_schedule(kinds: Sequence[str]) -> Answer:
    """Take the entry away from these schedulers."""
    removed = [kind for kind in kinds if SCHEDULERS[kind].remove()]
    names = " and ".join(SCHEDULERS[kind].name for kind in removed or kinds)
    said = f"Taken away from {names}: nothing is started by itself any more." if removed else (
        f"There was no entry of snapback in {names or 'any scheduler'}; nothing was changed.")
    return Answer(Exit.DONE, [said], (), {"removed": removed})


def take_other_entries(kind: str) -> List[str]:
    """Take our entry away from the other schedulers, as there is but one; give lines that say so."""
    lines = []
    for name, other in SCHEDULERS.items():
        if name != kind and find_program(other.tool):
            try:
                lines += [f"The earlier entry in {other.name} was taken away."] if other.remove() else []
            except (SnapbackError, OSError) as err:
                lines.append(f"Whether {other.name} has an earlier entry is not known: {reason(err)}")
    return lines


def run_schedule(args: argparse.Namespace, _scene: Scene) -> Answer:
    """Carry out `schedule`."""
    if args.install and args.remove:
        raise UsageError("--install and --remove do not go together; say one of them")
    if args.remove and (args.paths or args.every):
        raise UsageError("--remove takes away whatever is scheduled; leave everything else out: snapback.py schedule --remove")
    if args.every and not args.paths:
        raise UsageError("--every goes with paths, as the settings say it otherwise: snapback.py schedule ~/Documents /media/usb --every "
                         "12h")
    if args.remove:
        return remove_schedule([args.scheduler] if args.scheduler else [
            kind for kind, one in SCHEDULERS.items() if find_program(one.tool)])
    kind = args.scheduler or scheduler_here()
    if not args.paths:
        settings_here(args.config, "schedule")
    elif args.config:
        raise UsageError("--config is for a schedule by the settings, which names no folders; leave it out, or leave out the folders")
    words = scheduled_words(args.paths, args.every or "1d", args.config)
    needed = [words[0], words[2], *([whole_path(args.config)] if args.config else [])]
    refuse_schedule_on_drive(needed, whole_path(args.paths[-1]) if args.paths else "")
    words[0] = without_console(words[0]) if kind == "task" else words[0]
    if args.install and not find_program(SCHEDULERS[kind].tool):
        raise UsageError(f"there is no {SCHEDULERS[kind].tool} on this computer; install it, or take another one: --with "
                         f"{' or '.join(other for other in SCHEDULERS if other != kind)}")
    texts = SCHEDULERS[kind].texts(words)
    if not args.install:
        return schedule_answer(kind, words, texts, None)
    answer = schedule_answer(kind, words, texts, SCHEDULERS[kind].install(words))
    return answer._replace(lines=[*answer.lines, *take_other_entries(kind)])


WRITTEN = 2026               # a clock that shows an earlier year is wrong


def add_doctor(parser: Parser) -> None:
    """Declare the options of `doctor`."""
    add_config(parser)


def check_schedules() -> Checkup:
    """Look at the schedulers of this system, and give what there is of the one that serves best."""
    checkups = [check_schedule(kind) for kind, one in SCHEDULERS.items() if find_program(one.tool)]
    return min(checkups, key=lambda one: (bool(one.cure), one.found == NO_SCHEDULE),
               default=Checkup("Schedule", "there is no scheduler here, so copies are made when you say so"))


def check_settings(named: str) -> Tuple[Settings, Rules, Checkup]:
    """Look at the settings; none at all and bad ones are as if nothing stood there."""
    path = find_settings(named)
    if not path:
        return Settings(()), Rules(), Checkup("Settings", f"there are none at {show(configuration_path())}",
                                              "answer a few questions: snapback.py setup")
    try:
        settings = load_settings(path)
        rules = rules_of_settings(settings)
    except SnapbackError as err:
        return Settings(()), Rules(), Checkup("Settings", str(err), "mend that, then run: snapback.py doctor")
    return settings, rules, Checkup("Settings", show(path))


def check_system(settings: Settings) -> List[Checkup]:
    """Look at what this system lets programs do."""
    found = []
    if settings.notify and settings.drives:
        no_notices = why_no_notices()
        found.append(Checkup("Notices", no_notices or "can be shown on the desktop", no_notices and
                             "install it (on Debian: libnotify-bin), or write notify = no into the settings"))
    if hides_folders():
        found.append(Checkup("Privacy", "macOS keeps this program from some of your folders",
                             "allow Python in System Settings, Privacy & Security, Full Disk Access"))
    if guards_folders():
        found.append(Checkup("Privacy", "Windows lets only programs that it knows write into your folders (Controlled Folder Access)",
                             "allow python.exe in Windows Security, Ransomware protection"))
    if not shows_long_paths():
        found.append(Checkup("Long paths", "snapback copies them, but other programs here open none of more than 260 characters"))
    return found


def run_doctor(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `doctor`."""
    settings, rules, about_settings = check_settings(args.config)
    found = [Checkup("Python", f"{'.'.join(map(str, sys.version_info[:3]))}, {show(sys.executable or 'python3')}"),
             Checkup("Clock", f"{scene.now:%Y-%m-%d %H:%M}", "" if scene.now.year >= WRITTEN else "set the clock of this computer"),
             about_settings, *(check_source(source, rules) for source in read_sources(settings.sources))]
    search, seen = find_drives({one.id: one.path for one in settings.drives}), seen_drives()
    for one in settings.drives:
        set_name = settings.set_name or seen.get(one.id, Seen()).set_name
        found += check_drive(one._replace(label=label_of(one)), search, set_name, scene.now)
    return doctor_answer([*found, *([check_schedules()] if settings.drives else []), *check_system(settings)])


# How long copies are kept: what can be chosen when somebody asks no more than that.
KEEP_AS_USUAL = "the last 3, and one for each of 7 days, 5 weeks, 12 months and 10 years"
KEEP_A_YEAR = "all copies of the last year"
A_YEAR = Rotation(Retention(last=1, within=Duration(years=1)))
RHYTHMS = {"1d": "every day", "12h": "twice a day", "7d": "every week"}    # by their duration


def rhythm_text(every: Duration) -> str:
    """Say how often in plain words.

    >>> rhythm_text(Duration(days=1)), rhythm_text(Duration(days=2, hours=3))
    ('every day', 'every 2 days and 3 hours')
    """
    return RHYTHMS.get(str(every)) or "every " + enumerate_words([
        count_text(count, word[:-1]) for word, count in zip(every._fields, every) if count])


def rotation_text(rotation: Rotation) -> str:
    """Say which copies stay in plain words."""
    known = {Rotation(): KEEP_AS_USUAL, A_YEAR: KEEP_A_YEAR}
    return known.get(rotation) or ", ".join(line.replace(" = ", " ") for line in rotation_lines(rotation))


def add_setup(parser: Parser) -> None:
    """Declare the options of `setup`: each is the answer to a question."""
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="what to copy: folders or files")
    parser.add_argument("--drive", default="", metavar="DIR", help="where to copy to: usually the top of a disk")
    parser.add_argument("--label", default="", metavar="TEXT", help="what people call the drive (default: the folder's name)")
    parser.add_argument("--offline", action="store_true", help="the drive will be unplugged between copies")
    parser.add_argument("--every", metavar="TIME", help="how old the newest copy may become: 12h, 1d, 7d")
    add_retention(parser)
    parser.add_argument("--install", action="store_true", help="let the computer make copies by itself")
    parser.add_argument("--first-copy", action="store_true", help="make the first copy at once")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing: what is not said here stays as it is, or as it is suggested")
    add_config(parser)


def has_applications_folder(place: str) -> bool:
    """Tell whether the program can stand among a person's applications: on Linux, unless it lies on the drive."""
    return not (WINDOWS or MACOS or is_inside(script_path(), place) or marked_drive_of(script_path()))


class Chosen(NamedTuple):
    """What a person wants: what is copied, as written in the settings, to which drive, how often, and so on."""

    words: Tuple[str, ...]
    place: str
    offline: Optional[bool]
    every: Duration
    rotation: Rotation
    by_itself: bool


class Setup:
    """Questions and answers that become settings, a drive and a schedule; what was answered on the command line is not asked."""

    def __init__(self, args: argparse.Namespace, talk: Talk, before: Settings) -> None:
        self.args, self.talk, self.before = args, talk, before
        self.asks = talk.is_possible and not args.yes

    def known(self, place: str) -> Optional[DriveSettings]:
        """Give what the settings say of the drive at a place, if they do."""
        marker = marked(place)
        return next((one for one in self.before.drives if marker and one.id == marker[0]), None)

    def choose(self, path: str) -> Chosen:
        """Learn all that is to be known, and whether it is to be done; `path` is that of the settings. Raises Left, SnapbackError."""
        words = self.sources()
        place = self.drive(read_sources(words))
        known = self.known(place)
        chosen = Chosen(words, place, self.offline(place, known), self.every(known), self.rotation(known), self.schedule(place))
        if self.asks:
            self.talk.tell("", "THIS WILL BE DONE", *(f"  {line}" for line in self.plan(chosen, path)))
            if not self.talk.agrees("Shall it?", True):
                raise Left
        return chosen

    def plan(self, chosen: Chosen, path: str) -> List[str]:
        """Say what will be done, before it is."""
        lines = [f"copy {', '.join(map(show, chosen.words))}", f"to {show(chosen.place)}, {rhythm_text(chosen.every)}"]
        if disks_of(chosen.place) & system_disks():
            lines.append("(that is a disk of this computer itself: such copies help against mistakes, but not when it breaks or is stolen)")
        lines += [f"put there: {TOOL}, files to start it and {RECOVERY}; what else lies there stays as it is",
                  f"keep {rotation_text(chosen.rotation)}", f"write all that into {show(path)}"]
        if chosen.by_itself:
            lines.append("let this computer look every hour whether a copy is due")
        if has_applications_folder(chosen.place):
            lines.append("put snapback among your applications")
        return lines

    def sources(self) -> Tuple[str, ...]:
        """Learn what to copy. Raises Left, UsageError."""
        if self.args.sources:
            return self._written(self._checked(self.args.sources))
        usual = list(self.before.sources) or list(usual_folders().values())
        if not self.asks:
            return tuple(usual)
        self.talk.tell("", "WHICH FOLDERS?", *(f"  {nth}  {show(path)}" for nth, path in enumerate(usual, 1)))
        while True:
            said = self.talk.ask("Numbers or paths, with a comma between them", "all of these" if usual else "")
            if not said:
                self.talk.tell("None is found here. Type the path of a folder, or drag the folder into this window.")
                continue
            try:
                sources = self._checked(usual if said in ("all of these", "all") else self._meant(said, usual))
                for one in sources:
                    service = synchroniser_of(trace_upwards(one.path))
                    if service:
                        self.talk.tell(f"{show(one.path)} is synchronised by {service}. That is no backup: what is deleted or spoiled "
                                       "there is deleted or spoiled everywhere. So it is good to copy it here, too.")
                return self._written(sources)
            except SnapbackError as err:
                self.talk.tell(f"That does not work: {err}")

    def _meant(self, said: str, usual: Sequence[str]) -> List[str]:
        """Give the paths that somebody types, or means by numbers. Raises UsageError for a number that is none of these."""
        if not re.fullmatch(r"[\d\s,]+", said, re.ASCII):
            home, parts = user_path("~"), [part.strip() for part in said.split(",")]
            numbers = [part for part in parts if number_in(part, len(usual))]
            rest = ", ".join(part for part in parts if part not in numbers)
            return list(dict.fromkeys([*(usual[int(one) - 1] for one in numbers), *typed_paths(rest, home)]))
        numbers = re.findall(r"\d+", said)
        wrong = [one for one in numbers if not number_in(one, len(usual))]
        if wrong:
            raise UsageError(f"there is no number {wrong[0]} in the list")
        return list(dict.fromkeys(usual[int(one) - 1] for one in numbers))

    @staticmethod
    def _written(sources: Sequence[Source]) -> Tuple[str, ...]:
        """Write sources as they stand in the settings: with whole paths, as these lie elsewhere."""
        return tuple(f"{one.alias}={one.path}" if plain_name(one.path) != one.alias else one.path for one in sources)

    def _checked(self, words: Sequence[str]) -> Tuple[Source, ...]:
        """Give the sources that are meant. Raises SnapbackError where one is not there."""
        sources = read_sources(words)
        if not sources:
            raise UsageError("say at least one folder to copy" + (
                "" if self.asks else ": snapback.py setup ~/Documents --drive /media/usb"))
        check_sources(sources)
        return sources

    def drive(self, sources: Sequence[Source]) -> str:
        """Learn where to copy to. Raises Left, SnapbackError."""
        paths = [source.path for source in sources]
        if self.args.drive or not self.asks:
            place = whole_path(self.args.drive) if self.args.drive else ""
            if not place:
                raise UsageError("say where to copy to: --drive DIR, usually the top of a disk that can be unplugged")
            check_place(place, paths, self.args.offline, None)
            return place
        while True:
            places = spare_places()
            self.talk.tell("", "WHICH DRIVE?", *(f"  {nth}  {show(path)} ({size_text(free)} free)"
                                                     for nth, (path, free) in enumerate(places, 1)))
            if not places:
                self.talk.tell("No other disk is attached. Attach one now, or say the path of a folder on another disk.")
            known = [nth for nth, (path, _) in enumerate(places, 1) if self.known(path) or len(places) == 1]
            again = "A number or a path" + ("" if len(known) == 1 else " (Enter: look again)")
            said = self.talk.ask(again, str(known[0]) if len(known) == 1 else "")
            try:
                if said.isdigit():
                    if not number_in(said, len(places)):
                        raise UsageError(f"there is no number {said} in the list")
                    said = places[number_in(said, len(places)) - 1][0]
                if said:
                    place = whole_path(typed_paths(said, user_path("~"), several=False)[0])
                    check_place(place, paths, self.args.offline, None)
                    return place
            except SnapbackError as err:
                self.talk.tell(f"That does not work: {err}")

    def offline(self, place: str, before: Optional[DriveSettings]) -> Optional[bool]:
        """Learn whether the drive is unplugged between copies; None: as its marker says. Raises Left."""
        if self.args.offline or not self.asks or disks_of(place) & system_disks():
            return True if self.args.offline else before.offline if before else None
        return self.talk.agrees("Will you unplug it between copies? Ransomware reaches what stays attached", True)

    def every(self, before: Optional[DriveSettings]) -> Duration:
        """Learn how often. Raises Left, UsageError."""
        usual = str(before.every) if before else "1d"
        if self.args.every or not self.asks:
            return parse_span(self.args.every or usual)
        options = [(word, text) for word, text in RHYTHMS.items() if word != usual]
        return parse_span(self.talk.choose("How often?", [(usual, rhythm_text(parse_span(usual))), *options]))

    def rotation(self, drive: Optional[DriveSettings]) -> Rotation:
        """Learn how long copies are kept on a drive; what it has of its own stays, where nothing else is said. Raises Left, UsageError."""
        before = drive.rotation if drive else self.before.rotation
        said = said_over(self.args, before)
        if not self.asks or said != before:
            return said
        options = [("usual", KEEP_AS_USUAL), ("year", KEEP_A_YEAR)]
        if before != Rotation():
            options.insert(0, ("before", "as before: " + rotation_text(before)))
        chosen = self.talk.choose("How long are copies kept?", options)
        return {"usual": Rotation(), "year": A_YEAR}.get(chosen, before)

    def schedule(self, place: str) -> bool:
        """Learn whether the computer is to make copies by itself. Raises Left, and UsageError where what it would start goes away."""
        try:
            refuse_schedule_on_drive(scheduled_words((), "", self.args.config)[:3:2], place)
        except UsageError:
            if self.args.install:
                raise
            if self.asks:
                self.talk.tell("", "This computer cannot make the copies by itself, as snapback was started from a drive that will be "
                               f"away. You can do that later: copy {TOOL} to this computer, start it there, and choose: settings.")
            return False
        return self.args.install or (self.asks and self.talk.agrees("Shall this computer make the copies by itself?", True))

    def first_copy(self) -> bool:
        """Learn whether the first copy is to be made at once."""
        with contextlib.suppress(Left):
            return self.args.first_copy or (self.asks and self.talk.agrees("All is ready. Make the first copy now?", True))
        return False


def get_started(args: argparse.Namespace, chosen: Chosen, asked: bool) -> Tuple[List[str], List[str]]:
    """Let the computer start snapback: by itself, if so chosen, and for the person, on a Linux desktop; say what was done, what failed."""
    lines, problems = [], []
    if chosen.by_itself:
        try:
            scheduler = SCHEDULERS[scheduler_here()]
            scheduler.install(scheduled_words((), "", args.config))
            lines.append("This computer looks every hour whether a copy is due" + ("." if asked else f". {scheduler.know}"))
        except (SnapbackError, OSError) as err:
            why = str(err) if isinstance(err, SnapbackError) else reason(err)
            problems.append(f"This computer will not make copies by itself ({why}); all else is set up: start snapback for a copy")
    if has_applications_folder(chosen.place):
        try:
            entry = install_desktop_entry([sys.executable or "python3", "-I", script_path()])
            lines.append(f"snapback is among your applications now ({entry}).")
        except (SnapbackError, OSError) as err:
            lines.append(f"snapback could not be put among your applications ({reason(err)}).")
    return lines, problems


def first_copy(args: argparse.Namespace, scene: Scene) -> Answer:
    """Make the copy that the new settings ask for."""
    parser = Parser(add_help=False)
    add_backup(parser)
    wanted = parser.parse_args(["--config", args.config] if args.config else [])
    return run_backup(argparse.Namespace(**vars(wanted), jobs=args.jobs), scene)


def run_setup(args: argparse.Namespace, scene: Scene) -> Answer:
    """Carry out `setup`."""
    path = whole_path(args.config) if args.config else configuration_path()
    try:
        before = load_settings(path) if is_taken(path) else Settings(())
    except UsageError as err:
        if args.yes or not scene.talk.is_possible:
            raise
        scene.talk.tell(f"The present settings cannot be read: {err}. If you answer all questions, new ones are written, and these stay "
                        "beside them under another name.")
        before = Settings(())
    setup = Setup(args, scene.talk, before)
    try:
        chosen = setup.choose(path)
    except Left:
        return Answer(Exit.FAILED, (), ["Nothing was changed."], {"changed": False})
    try:
        marker = prepare_drive(chosen.place, args.label, bool(chosen.offline), scene.now.isoformat(timespec="seconds"), write_papers).marker
    except OSError as err:
        raise not_preparable(chosen.place, err) from err
    remember_drive(chosen.place, marker)
    drive = setup.known(chosen.place) or DriveSettings(marker.id)
    drive = drive._replace(
        remind_after=chosen.every if is_longer(chosen.every, drive.remind_after) else drive.remind_after,
        label=" ".join(show(marker.label).split()), path=chosen.place, offline=chosen.offline, every=chosen.every, rotation=chosen.rotation)
    others = tuple(one for one in before.drives if one.id != drive.id)
    general = before.rotation if before.drives else chosen.rotation  # each drive's own stands in its section
    settings = before._replace(sources=chosen.words, rotation=general, drives=(*others, drive))
    aside = write_settings(path, settings)
    started, problems = get_started(args, chosen, setup.asks)
    lines = [f"The drive {show(marker.label)} is ready.", f"The settings are in {show(path)}" + (
        f"; the earlier ones are beside them, in {aside}" if aside else ""), *started]
    facts = {"changed": True, "settings": path, "drive": drive.id, "path": chosen.place, "scheduled": chosen.by_itself and not problems}
    if not setup.first_copy():
        lines.append("Nothing is copied yet; next, back up now: snapback.py backup")
        return Answer(Exit.ATTENTION if problems else Exit.DONE, lines, problems, facts)
    copied = first_copy(args, scene)
    return Answer(Exit.ATTENTION if problems and copied.code is Exit.DONE else copied.code, [*lines, *copied.lines],
                  [*problems, *copied.problems], {**facts, **copied.facts})


class Command(NamedTuple):
    """One command: what it is for, its options, and what carries it out."""

    purpose: str
    add: Callable[[Parser], None]
    run: Callable[[argparse.Namespace, Scene], Answer]
    example: str


COMMANDS: Dict[str, Command] = {
    "backup": Command("make a dated copy of folders or files on a drive", add_backup, run_backup,
                      "snapback.py backup ~/Documents ~/Pictures /media/usb"),
    "init": Command("prepare a drive: make its marker, say what it can do", add_init, run_init,
                    "snapback.py init /media/usb --label BLUE-STICK --offline"),
    "list": Command("show the dated copies on a drive", add_list, run_list, "snapback.py list --drive /media/usb"),
    "status": Command("am I safe? how each drive stands, and which to plug in next", add_status, run_status, "snapback.py status"),
    "verify": Command("read dated copies again and compare every checksum", add_verify, run_verify,
                      "snapback.py verify latest --drive /media/usb"),
    "repair": Command("heal what is damaged, from another date, another drive, or the source", add_repair, run_repair,
                      "snapback.py repair -n --drive /media/usb --from /media/other"),
    "restore": Command("give files back, into a new folder", add_restore, run_restore,
                       "snapback.py restore 2026-11-20 Documents/letter.odt --drive /media/usb"),
    "find": Command("find every version of files, in all dated copies", add_find, run_find,
                    "snapback.py find 'letter*.odt' --drive /media/usb"),
    "diff": Command("show what changed between two dated copies, or since one", add_diff, run_diff,
                    "snapback.py diff 2026-11-20 latest --drive /media/usb"),
    "why": Command("say which rule lets a file or folder be copied, or leaves it out, and whether the last copy has it", add_why, run_why,
                   "snapback.py why ~/Documents/film.iso --drive /media/usb"),
    "rehearse": Command("try a restore: bring random files back into a temporary folder, and compare them", add_rehearse, run_rehearse,
                        "snapback.py rehearse --drive /media/usb"),
    "rotate": Command("delete old dated copies by rule, the newest never", add_rotate, run_rotate,
                      "snapback.py rotate -n --keep-daily 7 --keep-monthly 12 --drive /media/usb"),
    "accept": Command("end a hold: the big change was yours, and old dated copies may go by rule again", add_accept, run_accept,
                      "snapback.py accept --drive /media/usb"),
    "pin": Command("protect a dated copy from deletion", add_pin, run_pin,
                   "snapback.py pin 2026-11-20 --note 'before the move' --drive /media/usb"),
    "unpin": Command("take that protection back", add_unpin, run_unpin, "snapback.py unpin 2026-11-20 --drive /media/usb"),
    "schedule": Command("let this computer make dated copies by itself: show the entry for its scheduler, or install it", add_schedule,
                        run_schedule, "snapback.py schedule ~/Documents /media/usb --install"),
    "setup": Command("ask what to copy, where to and how often, and get everything ready for it", add_setup, run_setup,
                     "snapback.py setup ~/Documents ~/Pictures --drive /media/usb --offline --install"),
    "doctor": Command("look at all that could make backups fail on this computer, and say what helps", add_doctor, run_doctor,
                      "snapback.py doctor"),
}
VALUE_OPTIONS = frozenset(("--set", "--drive", "--config", "--every", "--sample", "--with", "--jobs", "--to", "--count",
                           "--from", "--label", "--note", "--exclude", "--exclude-from", "--exclude-if-present", "--min-free",
                           "--hold-at", "--layout",
                           *(f"--keep-{rule}" for rule in Retention._fields)))


def parser_of(name: str) -> Parser:
    """Build the parser of one command."""
    command = COMMANDS[name]
    usage = {"backup": "%(prog)s [options] SOURCE... DRIVE", "schedule": "%(prog)s [options] [SOURCE... DRIVE]"}.get(name)
    parser = Parser(prog=f"snapback.py {name}", description=command.purpose, epilog=f"example:  {command.example}", usage=usage,
                    formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action=Help, nargs=0, help="show this and do nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object for machines")
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing when all is well")
    parser.add_argument("--jobs", type=positive, default=0, metavar="N", help="how many processes, or threads, share the work "
                        f"(default: {worker_count(0, False)}; {worker_count(0, True)} for what lies on a network)")
    command.add(parser)
    return parser


def split_command(words: Sequence[str]) -> Tuple[str, List[str]]:
    """Find the command among the words; options may stand before it.

    >>> split_command(["-q", "--set", "list", "backup", "a"])
    ('backup', ['-q', '--set', 'list', 'a'])
    """
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in VALUE_OPTIONS else 1
    if at >= len(words):
        return "", list(words)
    return words[at], [*words[:at], *words[at + 1:]]


def carry_out(words: Sequence[str], scene: Scene) -> Tuple[Answer, argparse.Namespace]:
    """Read the command line and do what it says. Raises SnapbackError, Finished."""
    if "--version" in words:
        raise Finished(f"snapback {__version__}\n")
    name, rest = split_command(words)
    if not name:
        if rest and not {"-h", "--help"} & set(rest):
            raise UsageError(f"say a command first: {', '.join(COMMANDS)} (not only {show(' '.join(rest))})")
        raise Finished(__doc__ or "")
    if name not in COMMANDS:
        raise UsageError(f"there is no command {quoted(name)}; there are: {', '.join(COMMANDS)}")
    args = parser_of(name).parse_intermixed_args(rest)
    return COMMANDS[name].run(args, scene), args


def progress_text(files: int, size: int, all_files: int, all_bytes: int, seconds: float) -> str:
    """Write the line of progress: percentage and time left first, as a narrow terminal cuts the end.

    `all_files` and `all_bytes` are what is expected; what is not known (0) does not count.
    """
    each = 32 * KIB  # a small file costs about as much as this many bytes of a large one
    done = (size if all_bytes else 0) + (each * files if all_files else 0)
    whole = all_bytes + each * all_files
    part = min(done / whole, 0.99) if whole else 0.0
    left = f", {span_text(seconds / part - seconds)} left" if part > 0.01 and seconds > 2 else ""
    rate = f", {size_text(size / seconds)}/s" if seconds > 0.5 and size else ""
    share = f"{part:4.0%}{left}, " if whole else ""
    return f"{share}{count_text(files, 'file')}, {size_text(size)}{rate}"


GOING_ON = {  # what to do after an interruption, for each command
    "backup": "every earlier dated copy is untouched; the next run carries on with what was already copied",
    "restore": "every earlier dated copy is untouched; what was restored so far under its own name is whole: run the same command with "
               "--merge to go on",
    "repair": "what was healed so far stays so, and nothing else was touched; run the same command again: it carries on",
    "rehearse": "no dated copy was touched, and the temporary folder is gone; run the same command again",
    "rotate": "no dated copy was touched but those that the plan drops; a later run goes on with them",
}


class Ending:
    """Remembers that a person or the system asked the run to end; it ends at the next moment that is told to the watch.

    Raising from the signal's handler would not do: Python drops what is raised while it
    deletes an object, and a second Ctrl-C would tear up the tidying after the first.
    After three the system's own handling is back, and the next one ends it at once:
    that is safe, as a run may die at any moment.
    """

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, number: int, _frame: object) -> None:
        """Take a signal."""
        self.asked += 1
        if self.asked >= 3:
            signal.signal(number, signal.SIG_DFL)

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM for as long as a command runs."""
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread
                before[number] = signal.signal(number, self.ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Progress:
    """One line on a terminal that is written again and again; nothing anywhere else."""

    EVERY = 0.2  # seconds

    def __init__(self, stream: TextIO, clock: Callable[[], float], shown: bool, ending: Ending) -> None:
        self.stream, self.clock, self.shown, self.ending = stream, clock, shown, ending
        self.began = self.last = clock()
        self.drawn = False

    def expect(self, files: int, size: int) -> Watch:
        """Take the expected numbers and give the function that is told of the progress."""
        self.began = self.clock()

        def tell(done_files: int, done_bytes: int) -> None:
            if self.ending.asked:
                raise KeyboardInterrupt
            now = self.clock()
            if self.shown and now - self.last >= self.EVERY:
                self.last = now
                self.draw(progress_text(done_files, done_bytes, files, size, now - self.began))
        return tell

    def draw(self, text: str) -> None:
        """Replace the line."""
        width = terminal_width(self.stream) - 1
        self.stream.write("\r" + text[:width].ljust(width))
        self.stream.flush()
        self.drawn = True

    def clear(self) -> None:
        """Take the line away."""
        if self.drawn:
            self.draw("")
            self.stream.write("\r")
            self.stream.flush()


# What commands are called in the menu, where nobody types them.
IN_THE_MENU = {"backup": "back up now", "verify": "check that the copies are readable", "rehearse": "try a restore",
               "repair": "check that the copies are readable", "accept": "back up now", "doctor": "settings"}


def said_in_menu(line: str) -> str:
    """Say a line of a report to somebody who chooses and types no command.

    >>> said_in_menu("BLUE: its newest copy is 9 days old: run: snapback.py backup")
    "BLUE: its newest copy is 9 days old: choose 'back up now'"
    >>> said_in_menu("last check   never: run snapback.py verify --drive '/media/my stick'")
    "last check   never: choose 'check that the copies are readable'"
    >>> said_in_menu("to see it run: snapback.py verify 2026-11-22_231507 --drive /mnt --set box; the next backup helps")
    "to see it choose 'check that the copies are readable'; the next backup helps"
    """
    line = re.sub(r"; to delete [^;]*, first look and then run it without -n: .*| \(--exclude\)| with --to|, or name it with --from",
                  "", line)
    line = re.sub(r"(?:run:? )?snapback\.py (backup|verify|rehearse|accept|doctor|repair)\b(?: -n)?(?: \d{4}[-\d_]*)?"
                  r"(?: --(?:drive|set) (?:'[^']*'|[^\s;,]+))*",
                  lambda found: f"choose {quoted(IN_THE_MENU[found[1]])}", line)
    return re.sub(r"run the same command(?: again)?", "choose the same again", line)


class Done(NamedTuple):
    """How a command ended: its exit code, and what it has for machines."""

    code: Exit
    facts: Mapping[str, Any]


class Stage:
    """What stands between commands and the person who gives them: the streams, the line of progress, and the wish to end."""

    def __init__(self, words: Sequence[str]) -> None:
        """Prepare for the words of a command line."""
        self.as_json, self.ending = "--json" in words, Ending()
        self.reader: Optional[Talk] = None    # a person in the menu, for whom lines are broken between words
        self.quiet = bool({"-q", "--quiet"} & set(words))
        shown = bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not self.as_json
        self.progress = Progress(sys.stderr, time.monotonic, shown and not self.quiet, self.ending)

    def _foretell(self, text: str) -> None:
        self.progress.clear()
        say(None if self.quiet else sys.stderr, [f"snapback: {text}"])

    def _report(self, stream: Optional[TextIO], lines: Sequence[str]) -> None:
        if self.reader:
            self.reader.tell(*map(said_in_menu, lines))
        else:
            say(stream, lines)

    def perform(self, words: Sequence[str]) -> Done:
        """Carry out one command and say what came of it. Raises Finished."""
        scene = Scene(datetime.now(timezone.utc).astimezone(), time.monotonic, self.progress.expect, self.progress.shown, self._foretell,
                      Talk(sys.stdin, sys.stdout))
        facts: Mapping[str, Any] = {}
        self.ending.asked = 0  # what was asked of an earlier command of the menu does not concern this one
        try:
            try:
                answer, args = carry_out(words, scene)
            finally:
                self.progress.clear()
            if self.as_json:
                say(sys.stdout, [json.dumps({**answer.facts, "exit_code": int(answer.code)})])
            elif not args.quiet:
                self._report(sys.stdout, answer.lines)
            self._report(sys.stderr, answer.problems)
            return Done(answer.code, answer.facts)
        except SnapbackError as err:
            code, sentence, facts = err.code, str(err), {"full": is_full(err)}
        except OSError as err:
            code, sentence = Exit.FAILED, f"the system refused ({reason(err)}); every earlier dated copy is untouched"
        except KeyboardInterrupt:
            going_on = GOING_ON.get(split_command(words)[0], "every earlier dated copy is untouched")
            code, sentence = Exit.INTERRUPTED, f"interrupted; {going_on}"
        if self.as_json:
            say(sys.stdout, [json.dumps({"error": sentence, "exit_code": int(code)})])
        self._report(sys.stderr, [f"snapback: {sentence}"])
        return Done(code, facts)


def as_searched(name: str) -> str:
    """Give a name as it is searched: without capitals, and its accents written in one way, as macOS writes them in another."""
    import unicodedata  # here, because few commands need it
    return unicodedata.normalize("NFC", name).casefold()


class Menu:
    """What a person sees who started snapback by a double click: a few things to choose from, each in plain words."""

    DATES = 20       # that are offered at once
    HITS = 30        # of a search

    def __init__(self, talk: Talk, perform: Callable[[Sequence[str]], Done]) -> None:
        self.talk, self.perform = talk, perform

    def run(self) -> None:
        """Offer things until the person has enough."""
        with contextlib.suppress(Left):
            while True:
                self.talk.tell("", f"snapback {__version__}: dated copies of your folders on another disk",
                               "Answer with a number or a word; q leaves any question.")
                chosen = self.talk.choose("What would you like to do?", self._offers(), 0)
                if chosen == "quit":
                    break
                self.talk.tell("")
                try:
                    {"back": self.back_up, "safe": self.am_i_safe, "get": self.get_back, "check": self.check, "try": self.rehearse,
                     "set": self.settings}[chosen]()
                except Left:
                    self.talk.tell("", "You left this, and nothing more was done.")
                self.talk.wait()
        self.talk.tell("", "Good-bye. Nothing is being written: this window may be closed.")

    def _offers(self) -> List[Tuple[str, str]]:
        """Give what can be chosen: without settings getting something back comes first, and no copy is made."""
        get, leave = ("get", "get something back"), ("quit", "quit")
        prove = [("check", "check that the copies are readable"), ("try", "try a restore")]
        if not find_settings(""):
            return [get, *prove, ("set", "set up copies on this computer"), leave]
        return [("back", "back up now"), ("safe", "am I safe?"), get, *prove, ("set", "settings"), leave]

    def back_up(self) -> None:
        """Make dated copies by the settings; where a drive is full, or a set on hold, ask what is to be done."""
        self.talk.tell("Your folders are copied to each of your drives that is attached. Older copies stay, as long as your settings keep "
                       "them.")
        done = self._do(["backup"], "not every drive has a new copy; earlier copies are as they were")
        for one in done.facts.get("drives", ()):
            if one.get("full"):
                self._make_room(one)
            elif one.get("hold"):
                self._explain_hold(one)

    def _do(self, words: Sequence[str], otherwise: str) -> Done:
        """Carry out a command; where it fails as a whole, say in the end what that means."""
        done = self.perform(words)
        if done.code in (Exit.FAILED, Exit.USAGE, Exit.LOCKED, Exit.ABSENT, Exit.INTERRUPTED):
            self.talk.tell(f"NOT OK - {otherwise}")
        return done

    def _where(self, one: Mapping[str, Any]) -> List[str]:
        """Give the options that name a drive of the settings, where it is now; none where it is away, or has a double."""
        drive_id = str(one.get("id"))
        set_name = seen_drives().get(drive_id, Seen()).set_name
        try:
            drives = load_settings(find_settings("")).drives
        except SnapbackError:  # they were changed meanwhile
            return []
        places = find_drives({drive.id: drive.path for drive in drives if drive.id == drive_id}).places.get(drive_id, ())
        return [f"--drive={places[0]}", *([f"--set={set_name}"] if set_name else [])] if len(places) == 1 else []

    def _let_go(self, words: Sequence[str], more: str = "-n") -> List[str]:
        """Show what a rotation would delete, and give the dates."""
        return [one["snapshot"] for one in self.perform([*words, "-n", more]).facts.get("remove", ())]

    def _make_room(self, one: Mapping[str, Any]) -> None:
        where = self._where(one)
        if not where:
            self.talk.tell("", f"NOT OK - {one['label']} is full, and it is not attached any more")
            return
        strict = ["rotate", "--keep-last", "1", "--keep-monthly", "12", "--keep-yearly", "10", *where]
        self.talk.tell("", f"{one['label']} is full. Letting go of older copies makes room: of each of the last twelve months one would "
                       "stay, one of each year before, and the newest. This is what would be let go:", "")
        dates = self._let_go(strict)
        if dates and self.talk.agrees("Let go of these for ever?", False):
            if self._where(one) != where or self._let_go(strict, "-q") != dates:  # the answer may have taken hours
                self.talk.tell(f"NOT OK - {one['label']} is not as it was when that was shown, so nothing was let go")
                return
            self.perform(strict)
            self._do(["backup"], "there is still no new copy; earlier copies are as they were")
        else:
            self.talk.tell(f"NOT OK - there is no new copy on {one['label']}; earlier copies are as they were. Take a larger drive, or "
                           "copy fewer folders")

    def _explain_hold(self, one: Mapping[str, Any]) -> None:
        self.talk.tell("", f"On {one['label']} nothing old is deleted at present, as much of what was there before is gone or has other "
                       "content. After a big tidying up that is right. If you know of none, it may be ransomware: then unplug the drive "
                       "now, and look for help before you attach it to this computer again.")
        if self.talk.agrees("Was it you who changed so much?", False):
            where = self._where(one)
            if where:
                self._do(["accept", *where], "nothing was changed")
            else:
                self.talk.tell(f"NOT OK - {one['label']} is not attached any more, so nothing was changed")
        else:
            self.talk.tell(f"NOT OK - find out what happened to your files; every earlier copy on {one['label']} is kept until then")

    def am_i_safe(self) -> None:
        """Say how each drive stands."""
        code, facts = self.perform(["status"])
        verdicts = {Exit.DONE: "OK - you have a recent copy",
                    Exit.ATTENTION: "NOT OK - you have a recent copy, but something above needs your attention",
                    Exit.FAILED: "NOT OK - you have no recent copy; attach a drive, and choose: back up now"}
        unknown = "NOT OK - how you stand could not be found out; earlier copies are as they were"
        self.talk.tell("", verdicts.get(code, unknown) if "safe" in facts else unknown)

    def _attached(self) -> List[Drive]:
        """Open the drives that are attached: those of the settings or, as on a strange computer, whatever was prepared as one."""
        path, wanted = find_settings(""), {}
        with contextlib.suppress(SnapbackError):  # spoiled settings must not be in the way of getting things back
            wanted = {one.id: one.path for one in load_settings(path).drives} if path else {}
        mine = [place for places in find_drives(wanted).places.values() for place in places]
        found = {marked(place): place for place in mine or marked_places()}  # what is mounted in two places is one drive
        return self._open([place for seen, place in found.items() if seen])

    def _drive(self) -> Optional[Tuple[Drive, str]]:
        """Choose the drive and, on it, the set, with which something is to be done; None where there is none."""
        try:
            found = drive_at_hand(parser_of("list").parse_args([]))
            drives = [found[0]] if found else self._attached()
            if not drives:
                self.talk.tell("NOT OK - no drive with copies is attached. Attach it, wait until this computer shows it, and choose this "
                               "again. The copies on it are as they were")
                return None
            drive = drives[0] if len(drives) == 1 else drives[int(self.talk.choose("Which drive?", [
                (str(nth), f"{one.label} ({show(one.path)})") for nth, one in enumerate(drives)]))]
            with drive.guarded():
                sets = list_sets(drive.root)[0]
        except SnapbackError as err:
            self.talk.tell(f"NOT OK - {err}")
            return None
        if not sets:
            self.talk.tell(f"NOT OK - there is no dated copy on {drive.label} yet")
            return None
        self.talk.tell(f"These are the copies on {drive.label} ({show(drive.path)}).")
        return drive, sets[0] if len(sets) == 1 else self.talk.choose("Whose copies?", [(one, one) for one in sets])

    def _open(self, places: Sequence[str]) -> List[Drive]:
        """Open the drives that can be; one that cannot does not hide the others."""
        drives = []
        for place in places:
            try:
                drives.append(open_drive(place))
            except SnapbackError as err:
                self.talk.tell(f"NOT OK - {err}")
        return drives

    def check(self) -> None:
        """Read copies again."""
        found = self._drive()
        if found:
            what = self.talk.choose("Every file is read again and compared with its checksum; nothing is changed.", [
                ("newest", "the newest copy"), ("all", "all copies (this may take hours)"), ("nothing", "nothing now")])
            words = [*(["latest"] if what == "newest" else []), f"--drive={found[0].path}", f"--set={found[1]}"]
            if what == "nothing":
                self.talk.tell("Nothing was read, and nothing was changed.")
            elif self._do(["verify", *words], "not everything could be read; no copy was changed").code is Exit.DAMAGED:
                self._mend(words)

    def _mend(self, words: Sequence[str]) -> None:
        """Offer to heal what was found damaged."""
        self.talk.tell("", "What is damaged can be replaced by a good copy from another date, another drive that is attached, or this "
                       "computer. Attach your other drives first. What is replaced is kept beside the copies.")
        if self.talk.agrees("Heal what can be healed?", True):
            self._do(["repair", *words], "not everything was healed; what was healed stays so, and nothing else was changed")
        else:
            self.talk.tell("NOT OK - nothing was healed; choose this again to do it later")

    def rehearse(self) -> None:
        """Try whether files would come back."""
        found = self._drive()
        if found:
            self.talk.tell("Some files, chosen at random, are brought back into a temporary folder and compared with what they were; "
                           "then that folder is removed. Nothing else is changed.")
            self._do(["rehearse", f"--drive={found[0].path}", f"--set={found[1]}"], "this could not be tried; no copy was changed")

    def get_back(self) -> None:
        """Let a date and something in it be chosen, and give it back into a new folder."""
        found = self._drive()
        if found is None:
            return
        drive, set_name = found
        try:
            with drive.guarded():
                set_folder = drive.root.child(set_name)
                found_there = survey(set_folder)
            snapshots = [one for one in reversed(found_there) if one.state is State.WHOLE]
            for one in found_there:
                if one.state is State.DAMAGED:
                    self.talk.tell(f"{one.name} is not offered, as its list is damaged; copy what you need from its folder by hand: "
                                   f"{show(join_path(set_folder.path, one.name))}")
            if not snapshots:
                self.talk.tell(f"NOT OK - there is no whole dated copy on {drive.label}")
                return
            date = self._date(snapshots)
            taken = next(self._dated(one) for one in snapshots if one.name == date)
            what = self.talk.choose(f"What do you want back from {taken}?", [
                ("name", "search for a name"), ("folder", "look through the folders"), ("everything", "everything")])
            paths = {"name": self._search, "folder": self._browse}[what](set_folder, date) if what != "everything" else [""]
        except (SnapbackError, ManifestDamaged, OSError) as err:
            self.talk.tell(f"NOT OK - this date cannot be read ({err if isinstance(err, SnapbackError) else reason(err)}); try another")
            return
        if paths:
            words = [f"./{path}" if path.startswith("-") else path for path in paths if path]  # a name is never an option
            self._give_back(["restore", date, *words, f"--drive={drive.path}", f"--set={set_name}"], date, drive.path)

    def _date(self, snapshots: Sequence[Snapshot]) -> str:
        """Choose a dated copy, the newest first."""
        for begin in range(0, len(snapshots), self.DATES):
            part = snapshots[begin:begin + self.DATES]
            more = [("older", "older ones")] if begin + self.DATES < len(snapshots) else []
            chosen = self.talk.choose("From which date?", [(one.name, self._dated(one)) for one in part] + more)
            if chosen != "older":
                return chosen
        return snapshots[-1].name

    def _dated(self, one: Snapshot) -> str:
        taken = parse_time(str(one.header.get("taken", "")))
        return f"{taken:%A}, {taken.day} {taken:%B %Y, %H:%M} ({age_text(taken, datetime.now(timezone.utc))})" if taken else one.name

    def _search(self, set_folder: Folder, date: str) -> List[str]:
        """Choose among what has a name that holds a text."""
        text, count = "", 0
        while not text:
            text = as_searched(self.talk.ask("What is in its name? (a part is enough)", anything=True))
        hits: List[str] = []
        with load_manifest(set_folder, date) as manifest:
            for block in read_blocks(manifest.lines()):
                parent, _, own = block.path.rpartition("/")
                paths = [(parent, own)] if own else []
                found = [(place, name) for place, name in (*paths, *((block.path, name) for name in block.entries))
                         if text in as_searched(name)]
                hits += ["/".join(filter(None, one)) for one in found[:max(0, self.HITS - len(hits))]]
                count += len(found)
        if not hits:
            self.talk.tell("NOT OK - nothing on that date has such a name; try a shorter part of it, or another date")
            return []
        if count > self.HITS:
            self.talk.tell(f"There are {count:,}, and these are the first {self.HITS}; a longer part of the name finds fewer.")
        chosen = self.talk.choose("Which one?", [(str(nth), show(path)) for nth, path in enumerate(hits, 1)] + [
            ("none", "none of these")], 0)
        if chosen == "none":
            self.talk.tell("Nothing was brought back; try another part of the name, or another date.")
        return [] if chosen == "none" else [hits[int(chosen) - 1]]

    def _browse(self, set_folder: Folder, date: str) -> List[str]:
        """Walk through the folders of a date, down and up, until something is chosen."""
        here, begin = "", 0
        while True:
            folders, files = self._inside(set_folder, date, here)
            shown = [(f"folder {show(name)}", f"{here}/{name}".lstrip("/")) for name in folders] + [
                (show(name), f"{here}/{name}".lstrip("/")) for name in files]
            end = begin + self.HITS
            options = [*([("more", f"more: {end + 1:,} and on, of {len(shown):,}")] if end < len(shown) else []),
                       ("this", f"all of {show(here) or 'this date'}"), *([("up", "back to the folder above")] if here else [])]
            chosen = self.talk.choose(f"In {show(here) or 'this date'} there are:", [
                *((str(nth), text) for nth, (text, _) in enumerate(shown[begin:end], begin + 1)), *options], 0)
            begin = end if chosen == "more" else 0
            if chosen == "more":
                continue
            if chosen == "this":
                return [here]
            if chosen == "up":
                here = here.rpartition("/")[0]
            elif int(chosen) <= len(folders):
                here = shown[int(chosen) - 1][1]
            else:
                return [shown[int(chosen) - 1][1]]

    def _inside(self, set_folder: Folder, date: str, here: str) -> Tuple[List[str], List[str]]:
        """Give the folders and the files in a folder of a dated copy, from its list."""
        folders: List[str] = []
        files: List[str] = []
        with load_manifest(set_folder, date) as manifest:
            for block in read_blocks(manifest.lines()):
                parent, _, name = block.path.rpartition("/")
                folders += [name] if block.path and parent == here else []
                files = list(block.entries) if block.path == here else files
        return folders, files

    def _new_folder(self, base: str, date: str, drive_path: str) -> str:
        """Choose where files come back to: what is not there yet, and not on the drive with the copies; as suggested in `base`."""
        target = default_target(date, False, base)
        while True:
            said = self.talk.ask("Into which new folder?", target)
            where = target if said == target else typed_paths(said, base, several=False)[0]
            if is_inside(whole_path(where), drive_path):
                self.talk.tell("That is on the drive with the copies, and would fill it. Take a place on this computer.")
            elif not is_taken(where):
                return where
            elif is_real_folder(where):
                target = default_target(date, False, where)
                self.talk.tell(f"{show(where)} is there already. A new folder in it is suggested now.")
            else:
                self.talk.tell(f"{show(where)} is there already, and no folder.")

    def _give_back(self, words: Sequence[str], date: str, drive_path: str) -> None:
        self.talk.tell("", "What you get back is a copy in a new folder; nothing on this computer is overwritten.")
        where = self._new_folder(usual_folders().get("Desktop") or expand_path("~", ""), date, drive_path)
        done = self._do([*words, f"--to={where}"], "not everything came back; what is on the drive is as it was")
        if done.code in (Exit.DONE, Exit.ATTENTION) and open_folder(whole_path(where)):
            self.talk.tell("The folder is being opened.")

    def settings(self) -> None:
        """Ask what to copy and where to, or look what hinders copies."""
        if find_settings("") and self.talk.choose("Settings:", [
                ("look", "look whether anything would hinder copies"), ("change", "answer the questions again")]) == "look":
            self.perform(["doctor"])
        else:
            done = self.perform(["setup"])
            if done.code not in (Exit.DONE, Exit.ATTENTION) and done.facts.get("changed") is not False:
                self.talk.tell("NOT OK - " + ("all is set up, but there is no copy yet" if done.facts.get("changed") else
                                              "not everything was set up, or there is no copy yet"))


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Carry out one command and give the exit code; without one offer the menu on a terminal, and say how drives stand elsewhere."""
    words = list(sys.argv[1:] if argv is None else argv)
    stage, talk = Stage(words), Talk(sys.stdin, sys.stdout)
    with stage.ending.heard():
        try:
            if not words and talk.is_possible:
                stage.reader = talk
                Menu(talk, stage.perform).run()
                return int(Exit.DONE)
            return int(stage.perform(words or ["status"]).code)
        except Finished as text:
            say(sys.stdout, [str(text).rstrip("\n")])
            return int(Exit.DONE)


if __name__ == "__main__":
    gc.set_threshold(100_000, 20, 100)  # a run makes many records and hardly a cycle: looking for them took a tenth of its time
    sys.exit(main())
