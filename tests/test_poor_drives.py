"""What a drive cannot hold, or does otherwise than a disk of this computer: nothing is lost by it, and nothing stored twice."""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import functools
import json
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List
from unittest import mock

import pytest

import snapback
import trees
from conftest import Mount
from snapback import Drive, Folder, read_marker
from test_faithful import rsync_finds
from trees import ask, dates, differences, later, twin, without

pytestmark = pytest.mark.needs("linux")


def holdable_tree(root: Path) -> None:
    """Make all that a Linux disk holds beside bytes, under names that any drive holds."""
    top = os.fsencode(root)
    os.mkdir(top)
    for make in (trees.awkward_modes, trees.hard_links, trees.symbolic_links, trees.awkward_xattrs, trees.special_files):
        folder = os.path.join(top, make.__name__.encode())
        os.mkdir(folder)
        make(folder)
    for name in (b"new\nline", b"two/back\\slash"):  # names have tests of their own
        os.unlink(top + b"/hard_links/" + name)
    trees.awkward_owners(root)
    trees.awkward_times(os.path.join(top, b"times"))
    far = {b"before 1980": 200_000_000, b"after 2107": 5_000_000_000, b"before 1970": -5}
    for name, seconds in far.items():
        for path in (top + b"/times/" + name, top + b"/times/folder " + name + b"/"):
            os.mkdir(path) if path.endswith(b"/") else trees.write(path, name)
            os.utime(path, ns=(0, seconds * 10**9 + 123_456_789))
    trees.set_time(root, -77, 7)


@pytest.mark.needs("root", "exfat", "rsync")
@pytest.mark.parametrize("layout", ["changes", "complete"])
def test_what_exfat_cannot_hold_comes_back_on_a_disk_that_can(mounted: Callable[..., Mount], in_memory: Path, layout: str) -> None:
    source, drive = in_memory / "source", mounted("exfat", "64M").path
    holdable_tree(source)
    should = without(twin(source), "socket")
    for more in (["--init"], [], ["--checksum"]):
        outcome = ask("backup", *more, "--no-rotate", "--set", "box", "--layout", layout, source, drive)
        assert outcome.code == 0, outcome
    made = dates(drive / "box")
    assert len(made) == 3
    for date in (made[0], made[-1]):
        back = in_memory / f"back {date}"
        restored = ask("restore", date, "--drive", drive, "--to", back)
        assert restored.code == 0, restored.err
        assert differences(twin(back / "source"), should) == []
        assert rsync_finds(source, back / "source") == ["cS+++++++++ special_files/socket"]
    assert ask("verify", "--drive", drive).code == 0


# --- Inode numbers that mean nothing ------


def renumbered(info: os.stat_result, number: int) -> os.stat_result:
    """Give a stat with another inode number."""
    _, (values, named) = info.__reduce__()  # type: ignore[misc]
    return os.stat_result([number if at == 1 else value for at, value in enumerate(values)], named)


@contextlib.contextmanager
def inodes(number: Callable[[os.stat_result], int]) -> Iterator[List[str]]:
    """Let files have other inode numbers than the disk gives them; give the names of those that are opened meanwhile."""
    scan, open_file, fstat, opened = Folder.scan, Folder.open_file, os.fstat, []  # type: ignore[var-annotated]

    def seen(info: os.stat_result) -> os.stat_result:
        return renumbered(info, number(info)) if stat.S_ISREG(info.st_mode) else info

    def scan_renumbered(self: Folder, *more: Any) -> Any:
        return [(name, seen(info)) for name, info in scan(self, *more)]

    def open_noted(self: Folder, name: str, *more: Any) -> int:
        opened.append(name)
        return open_file(self, name, *more)

    with mock.patch.object(Folder, "scan", scan_renumbered), mock.patch.object(Folder, "open_file", open_noted):
        with mock.patch.object(os, "fstat", lambda fd: seen(fstat(fd))):
            yield opened


def facts_of(*words: Any) -> Dict[str, Any]:
    outcome = ask("backup", "--no-rotate", "--set", "box", "--json", "--jobs", "1", *words)
    assert outcome.code == 0, outcome
    return dict(json.loads(outcome.out))


@pytest.mark.parametrize("layout", ["changes", "complete"])
def test_files_whose_inode_numbers_all_changed_are_neither_read_nor_stored_again(in_memory: Path, layout: str) -> None:
    source, drive = in_memory / "source", in_memory / "drive"
    drive.mkdir()
    for name in ("letter", "photo", "with a note"):
        (source / name).mkdir(parents=True)
        (source / name / name).write_bytes(name.encode() * 1000)
    os.setxattr(source / "with a note" / "with a note", "user.note", b"precious")
    words = ["--layout", layout, source, drive]
    with later(10):
        facts_of("--init", *words)
    for seconds, step in ((20, 0), (30, 1000), (40, 7000)):
        with later(seconds), inodes(lambda info, step=step: info.st_ino + step) as opened:
            facts = facts_of(*words)
        assert (facts["files_unmodified"], facts["files_changed"], facts["data_added"]) == (3, 0, 0)
        assert not {"letter", "photo", "with a note"} & set(opened)
    back = in_memory / "back"
    assert ask("restore", "latest", "--drive", drive, "--to", back).code == 0
    assert differences(twin(back / "source"), twin(source)) == []


@pytest.mark.parametrize("layout", ["changes", "complete"])
def test_files_that_all_have_one_inode_number_are_not_taken_for_each_other(in_memory: Path, layout: str) -> None:
    source, drive = in_memory / "source", in_memory / "drive"
    for folder in (source, drive):
        folder.mkdir()
    old = 1_600_000_000 * 10**9

    def write(name: str, content: bytes) -> None:
        (source / name).write_bytes(content)
        os.utime(source / name, ns=(old, old))

    write("a", b"first")
    write("b", b"other")
    words = ["--layout", layout, source, drive]
    with inodes(lambda _: 7):
        with later(10):
            facts_of("--init", *words)
        (source / "a").unlink()
        write("c", b"third")
        os.rename(source / "b", source / "d")
        with later(20):
            facts_of(*words)
    back = in_memory / "back"
    assert ask("restore", "latest", "--drive", drive, "--to", back).code == 0
    assert differences(twin(back / "source"), twin(source)) == []


@pytest.mark.parametrize(("kind", "there"), [("cifs", True), ("fuse.sshfs", True), ("vfat", True), ("exfat", True), ("ext4", False)])
def test_a_drive_is_known_again_by_its_device_where_inode_numbers_change_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, there: bool
) -> None:
    assert ask("init", tmp_path).code == 0
    drive = Drive(str(tmp_path), read_marker(Folder.top(str(tmp_path))))
    monkeypatch.setattr(snapback, "mount_kind", lambda _path: kind)
    assert drive.is_there()
    other = renumbered(tmp_path.stat(), 7)
    monkeypatch.setattr(snapback, "stat_path", lambda _path: other)
    assert drive.is_there() is there


# --- What macOS strews, and what it keeps private ------


STREWN_FILES = ["._{}", ".DS_Store"]
STREWN_FOLDERS = [".Spotlight-V100", ".Trashes", ".fseventsd", ".TemporaryItems"]


def strew(drive: Path) -> None:
    """Put beside each file and folder of a drive what macOS puts there, and at its top what it keeps of a disk."""
    for folder, folders, files in list(os.walk(drive)):
        for name in [*files, *folders]:
            if not name.startswith("._"):
                (Path(folder) / f"._{name}"[:255]).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
        (Path(folder) / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    for name in STREWN_FOLDERS:
        (drive / name).mkdir(exist_ok=True)
        (drive / name / "inside").write_bytes(b"of macOS")


@pytest.mark.parametrize("layout", ["changes", "complete"])
def test_what_macos_strews_over_a_drive_is_no_damage_and_in_nobodys_way(in_memory: Path, layout: str) -> None:
    source, drive = in_memory / "source", in_memory / "drive"
    (source / "folder").mkdir(parents=True)
    drive.mkdir()
    for nth in range(4):
        (source / "folder" / "letter").write_bytes(b"letter %d" % nth)
        (source / f"new {nth}").write_bytes(b"%d" % nth)
        with later(10 * nth):
            facts_of("--init", "--layout", layout, source, drive)
        strew(drive)
    made = dates(drive / "box")
    assert ask("pin", made[0], "--drive", drive).code == 0
    assert ask("unpin", made[0], "--drive", drive).code == 0
    listed = ask("list", "--json", "--drive", drive)
    assert (listed.code, sorted(set(re.findall(r"\d{4}-\d\d-\d\d_\d{6}", listed.out)))) == (0, made), listed
    for date in made:
        verified = ask("verify", date, "--drive", drive)
        assert (verified.code, verified.err) == (0, ""), verified
    with later(60):
        rotated = ask("rotate", "--keep-last", "1", "--drive", drive)
    assert (rotated.code, rotated.err) == (0, ""), rotated
    assert not (drive / "box" / "found").exists()
    left = [name for name in os.listdir(drive / "box") if name.partition(".")[0] in made[:-1]]
    assert left == [] if layout == "complete" else sorted(left) == made[:-1]  # in which lies what the newest needs
    assert [path.parent.name for path in drive.glob("box/[0-9]*/SHA256SUMS")] == made[-1:]
    assert [path.parents[2].name for path in drive.glob("box/[0-9]*/source/folder/letter")] == made[-1:]
    back = in_memory / "back"
    assert ask("restore", "latest", "--drive", drive, "--to", back).code == 0
    assert differences(twin(back / "source"), twin(source)) == []
    assert ask("verify", "--drive", drive).code == 0


@pytest.mark.parametrize(("macos", "number", "words"), [
    (True, errno.EPERM, "Full Disk Access"), (True, errno.EACCES, "permission denied"), (False, errno.EPERM, "permission denied"),
])
def test_what_macos_keeps_private_is_explained(monkeypatch: pytest.MonkeyPatch, macos: bool, number: int, words: str) -> None:
    monkeypatch.setattr(snapback, "MACOS", macos)
    assert words in snapback.source_error(OSError(number, os.strerror(number))).why


# --- Locks that a drive does not have ------


@pytest.mark.parametrize("refusal", ["ENOLCK", "ENOTSUP", "EINVAL", "ENOSYS"])
def test_a_lock_of_this_computer_stands_in_where_a_drive_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    source, drive, local = (tmp_path / name for name in ("source", "drive", "local"))
    for folder in (source, drive, local):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(local))
    (source / "letter").write_bytes(b"x")
    flock = fcntl.flock

    def refuse(fd: int, how: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}").startswith(str(drive)):
            raise OSError(getattr(errno, refusal), "no locks here")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", refuse)
    facts_of("--init", source, drive)
    (lock,) = os.listdir(local)
    assert lock.endswith("-box.lock")
    with open(local / lock, "rb") as other:
        flock(other.fileno(), fcntl.LOCK_EX)
        assert ask("backup", "--set", "box", source, drive).code == 11
    with later(10):
        assert ask("backup", "--set", "box", "--keep-last", "1", source, drive).code == 0
    assert len(dates(drive / "box")) == 1
    assert ask("verify", "--drive", drive).code == 0


# --- Flushing ------


Uname = collections.namedtuple("Uname", "sysname nodename release version machine")
FLUSHED_AS_A_WHOLE = [
    *((kind, "6.1.0-18-amd64", True) for kind in ("ext4", "xfs", "btrfs", "vfat", "exfat", "ntfs3")),
    *((kind, "6.1.0", False) for kind in ("fuseblk", "fuse.sshfs", "cifs", "nfs4", "9p", "zfs", "overlay", "")),
    *(("ext4", release, True) for release in ("5.8.0", "10.0.0")),
    *(("ext4", release, False) for release in ("5.7.19", "4.19.0", "odd")),
]


@pytest.mark.parametrize(("kind", "release", "whole"), FLUSHED_AS_A_WHOLE)
def test_one_flush_for_all_is_trusted_only_where_it_tells_of_failed_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, release: str, whole: bool
) -> None:
    monkeypatch.setattr(snapback, "mount_kind", lambda _path: kind)
    monkeypatch.setattr(os, "uname", lambda: Uname("Linux", "host", release, "", ""))
    assert (snapback.whole_flush(Folder.top(str(tmp_path))) is not None) is whole


@pytest.mark.parametrize(("refusal", "fails"), [(0, False), (errno.ENOTSUP, False), (errno.EINVAL, False), (errno.ENOTTY, False),
                                                (errno.EIO, True), (errno.ENXIO, True)])
def test_on_macos_the_drives_own_memory_is_flushed_after_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, fails: bool
) -> None:
    calls: List[Any] = []

    def full_fsync(fd: int, what: int) -> None:
        calls.append((fd, what))
        if refusal:
            raise OSError(refusal, "refused")

    monkeypatch.setattr(snapback, "MACOS", True)
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full_fsync)
    monkeypatch.setattr(os, "fsync", calls.append)
    with open(tmp_path / "file", "wb") as file:
        with pytest.raises(OSError) if fails else contextlib.nullcontext():
            snapback.flush_hard(file.fileno())
        assert calls == [file.fileno(), (file.fileno(), 51)]


def test_on_macos_the_last_thing_before_safe_to_unplug_is_to_empty_the_drives_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, drive = tmp_path / "source", tmp_path / "drive"
    for folder in (source, drive):
        folder.mkdir()
    (source / "letter").write_bytes(b"x")
    calls: List[str] = []
    fsync, rename = os.fsync, os.replace

    def note_fsync(fd: int) -> None:
        calls.append("fsync " + os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    def note_rename(old: Any, new: Any, **where: Any) -> None:
        calls.append(f"rename {new}")
        rename(old, new, **where)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_rename)
    monkeypatch.setattr(snapback, "whole_flush", lambda _root: None)
    monkeypatch.setattr(snapback, "flush_memory", lambda fd: calls.append("memory " + os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
    facts_of("--init", source, drive)
    (date,) = dates(drive / "box")
    assert calls.index("fsync letter") < calls.index("memory SHA256SUMS") < calls.index(f"rename {date}")
    after_copy, after_page = (at for at, call in enumerate(calls) if call == "memory box")
    assert (calls[after_copy - 1], calls[after_page - 1]) == ("fsync box", "fsync drive")
    assert all("drives.json" in call or call == "fsync snapback" for call in calls[after_page + 1 :])  # this computer's own record


# --- Far away ------


def two_dates(source: Path, drive: Path) -> None:
    for folder in (source, drive):
        folder.mkdir()
    for nth in range(300):
        (source / f"letter {nth}").write_bytes(b"%d" % nth)
    for seconds in (10, 20):
        with later(seconds):
            facts_of("--init", source, drive)


def test_a_list_that_counts_as_open_a_moment_longer_stops_no_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, drive = tmp_path / "source", tmp_path / "drive"
    two_dates(source, drive)
    unlink, hidden = Folder.unlink, []  # type: ignore[var-annotated]

    def hide(self: Folder, name: str) -> None:
        if name != "SHA256SUMS":
            unlink(self, name)
            return
        self.rename(name, self, ".nfs000000000000a1b200000001")
        hidden.append(Path(self.path) / ".nfs000000000000a1b200000001")

    def sleep(_seconds: float) -> None:
        while hidden:
            hidden.pop().unlink()

    monkeypatch.setattr(Folder, "unlink", hide)
    monkeypatch.setattr(snapback.time, "sleep", sleep)
    rotated = ask("rotate", "--keep-last", "1", "--drive", drive, "--jobs", "1")
    assert (rotated.code, rotated.err) == (0, ""), rotated
    assert [name for name in os.listdir(drive / "box") if name.endswith(".deleting")] == []


def test_no_worker_keeps_the_list_open_of_a_date_that_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, drive, open_files = tmp_path / "source", tmp_path / "drive", tmp_path / "open files"
    two_dates(source, drive)
    clear = snapback.clear

    def note_open_files(pulse: Any, stretch: Any) -> Any:
        with open(open_files, "a", encoding="utf-8") as file:
            for fd in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):
                    file.write(f"{os.getpid()} {os.readlink('/proc/self/fd/' + fd)}\n")
        return clear(pulse, stretch)

    monkeypatch.setattr(snapback, "clear", note_open_files)
    monkeypatch.setattr(snapback, "is_far", lambda _path: True)
    assert ask("rotate", "--keep-last", "1", "--drive", drive, "--jobs", "2").code == 0
    seen = [line.split(" ", 1) for line in open_files.read_text(encoding="utf-8").splitlines()]
    assert {pid for pid, _ in seen} - {str(os.getpid())}
    assert [path for pid, path in seen if pid != str(os.getpid()) and path.endswith("SHA256SUMS")] == []


def test_more_share_the_work_where_each_has_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, drive = tmp_path / "source", tmp_path / "drive"
    two_dates(source, drive)
    made: List[Any] = []

    class Noting(snapback.Workers):
        def __init__(self, count: int, *more: Any) -> None:
            made.append((count, more[2]))
            super().__init__(1, *more)

    monkeypatch.setattr(snapback, "Workers", Noting)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for kind, asked, expected in (("ext4", [], (4, False)), ("nfs4", [], (8, True)), ("fuse.sshfs", ["--jobs", "3"], (3, True))):
        monkeypatch.setattr(snapback, "mount_kind", lambda _path, kind=kind: kind)
        made.clear()
        back = tmp_path / f"back {kind}"
        for words in (["backup", "--set", "box", "--no-rotate", source, drive], ["verify", "--drive", drive],
                      ["restore", "latest", "--drive", drive, "--to", back], ["rotate", "--keep-last", "1", "--drive", drive]):
            with later(100 + len(kind)):
                assert ask(*words, *asked).code == 0
        assert made == [expected] * 4


@pytest.mark.parametrize("count", [1, 3])
def test_results_are_taken_in_order_also_when_they_bring_new_work(count: int) -> None:
    taken: List[Any] = []
    pulse = snapback.new_pulse(lambda _files, _size: None, count)
    with snapback.Workers(count, pulse, lambda piece: piece * 10, far=True) as workers:

        def first(piece: int, result: int) -> None:
            assert result == piece * 10
            taken.append(piece)
            workers.submit(piece + 1000, lambda _: taken.append(piece + 1000), (None,), workers.most_cost)
            workers.after(lambda: taken.append(piece + 2000))

        for piece in range(100):
            workers.submit(piece, functools.partial(first, piece), (None,), workers.most_cost // 4)
        workers.drain()
    for level in (0, 1000, 2000):
        assert [one - level for one in taken if level <= one < level + 1000] == list(range(100))
    assert all(taken.index(piece + 1000) < taken.index(piece + 2000) for piece in range(100))
