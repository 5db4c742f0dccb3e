"""Checking dated copies: what is found, what is read, what is noted on the drive, and what the next run makes of it."""

from __future__ import annotations

import collections
import errno
import fcntl
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Set, Tuple

import pytest

from conftest import MIB, Cli, Mount, User
from faults import Call, watched
from snapback import Folder, Rereading, Suspect, Workers, new_pulse
from trees import ask, dates, differences, hash_of, new_copy, opened_folder, remove_tree, text_of, twin

pytestmark = pytest.mark.needs("linux")
DATED = re.compile(r"\d{4}-\d\d-\d\d_\d{6}(?:_\d+)?")


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return grown(tmp_path / "src")


def grown(source: Path) -> Path:
    """Make a small source with one of everything, old enough that nothing in it is in doubt."""
    (source / "folder" / "below").mkdir(parents=True)
    (source / "empty").mkdir()
    for name in ("letter", "photo", "folder/one", "folder/two", "folder/below/deep"):
        (source / name).write_bytes(text_of(name, 5000))
    (source / "nothing").write_bytes(b"")
    os.link(source / "letter", source / "folder" / "same letter")
    (source / "link").symlink_to("letter")
    os.mkfifo(source / "fifo")
    for path in [*source.rglob("*"), source]:
        os.utime(path, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    return source


def back_up(source: Path, drive: Path, *more: str) -> Path:
    return new_copy(drive, *more, source, codes=(0, 3))


Found = Tuple[str, str]  # kind, and path from the set on


class Checked(NamedTuple):
    code: int
    facts: Dict[str, Any]
    err: str

    @property
    def found(self) -> List[Found]:
        return [(one["kind"], f"{one['snapshot']}/{one['path']}") for one in self.facts["findings"]]


def check(drive: Path, *more: str) -> Checked:
    outcome = ask("verify", "--json", "--drive", drive, *more)
    return Checked(outcome.code, json.loads(outcome.out), outcome.err)


def inode(path: Path) -> int:
    return path.stat().st_ino


# --- The closed set of findings ------


def rewrite(path: Path, content: bytes) -> None:
    """Put other bytes in a stored file, as a bad block does: same size, same times, same inode."""
    seen = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def rot(path: Path) -> None:
    rewrite(path, bytes(byte ^ 1 for byte in path.read_bytes()))


def instead(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a file, link or fifo."""
    path.unlink()
    make(path)


def moved_away(folder: Path) -> Path:
    """Move a folder out of the drive."""
    return folder.rename(folder.parents[3] / "outside")


def linked_to_equal_folder(folder: Path) -> None:
    folder.symlink_to(moved_away(folder))


def file_for_folder(folder: Path) -> None:
    moved_away(folder)
    folder.write_bytes(b"x")


IN_FOLDER = ["src/folder/one", "src/folder/same letter", "src/folder/two", "src/folder/below/deep"]

# What happened to a path of the dated copy -> what is to be found.
DAMAGES: Dict[str, Tuple[str, Callable[[Path], object], Sequence[Found]]] = {
    "other bytes, same size": ("src/photo", rot, [("differs", "src/photo")]),
    "one byte more": ("src/photo", lambda path: path.write_bytes(path.read_bytes() + b"x"), [("differs", "src/photo")]),
    "cut off": ("src/photo", lambda path: os.truncate(path, 4000), [("differs", "src/photo")]),
    "emptied": ("src/photo", lambda path: os.truncate(path, 0), [("differs", "src/photo")]),
    "an empty file grew": ("src/nothing", lambda path: path.write_bytes(b"x"), [("differs", "src/nothing")]),
    "removed": ("src/photo", os.unlink, [("missing", "src/photo")]),
    "a folder in its place": ("src/photo", lambda path: instead(path, Path.mkdir), [("differs", "src/photo")]),
    "a fifo in its place": ("src/photo", lambda path: instead(path, os.mkfifo), [("differs", "src/photo")]),
    "a link to an equal file": (
        "src/photo",
        lambda path: (path.rename(path.parents[3] / "equal"), path.symlink_to(path.parents[3] / "equal")),
        [("differs", "src/photo")],
    ),
    "one name of a hard link rotted": (
        "src/letter", rot, [("differs", "src/folder/same letter"), ("differs", "src/letter")],
    ),
    "the link removed": ("src/link", os.unlink, [("missing", "src/link")]),
    "the link points elsewhere": (
        "src/link", lambda path: instead(path, lambda at: at.symlink_to("photo")), [("differs", "src/link")],
    ),
    "a file for the link": (
        "src/link", lambda path: instead(path, lambda at: at.write_bytes(b"letter")), [("differs", "src/link")],
    ),
    "the fifo removed": ("src/fifo", os.unlink, [("missing", "src/fifo")]),
    "a file for the fifo": (
        "src/fifo", lambda path: instead(path, lambda at: at.write_bytes(b"")), [("differs", "src/fifo")],
    ),
    "an empty folder removed": ("src/empty", os.rmdir, [("missing", "src/empty")]),
    "a file for an empty folder": (
        "src/empty",
        lambda path: (path.rmdir(), path.write_bytes(b"")),
        [("missing", "src/empty")],
    ),
    "a folder removed": (
        "src/folder", moved_away,
        [("missing", path) for path in sorted(["src/folder", "src/folder/below", *IN_FOLDER])],
    ),
    "a link to an equal folder": (
        "src/folder", linked_to_equal_folder,
        [("missing", path) for path in sorted(["src/folder", "src/folder/below", *IN_FOLDER])],
    ),
    "a file for a folder": (
        "src/folder", file_for_folder,
        [("missing", path) for path in sorted(["src/folder", "src/folder/below", *IN_FOLDER])],
    ),
    "a byte of the manifest": (
        "SHA256SUMS", lambda path: path.write_bytes(path.read_bytes().replace(b"mode=0644", b"mode=0666", 1)),
        [("manifest damaged", "SHA256SUMS")],
    ),
    "the manifest cut off": ("SHA256SUMS", lambda path: os.truncate(path, 1000), [("manifest damaged", "SHA256SUMS")]),
    "the manifest emptied": ("SHA256SUMS", lambda path: os.truncate(path, 0), [("manifest damaged", "SHA256SUMS")]),
    "something after its end": (
        "SHA256SUMS", lambda path: path.write_bytes(path.read_bytes() + b"# comment\n"),
        [("manifest damaged", "SHA256SUMS")],
    ),
    "the manifest removed": ("SHA256SUMS", os.unlink, [("manifest damaged", "SHA256SUMS")]),
    "a folder for the manifest": (
        "SHA256SUMS", lambda path: instead(path, Path.mkdir), [("manifest damaged", "SHA256SUMS")],
    ),
    "a fifo for the manifest": (
        "SHA256SUMS", lambda path: instead(path, os.mkfifo), [("manifest damaged", "SHA256SUMS")],
    ),
    "a link to an equal manifest": (
        "SHA256SUMS",
        lambda path: (path.rename(path.parents[2] / "equal"), path.symlink_to(path.parents[2] / "equal")),
        [("manifest damaged", "SHA256SUMS")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_named_and_ends_with_4(source: Path, drive: Path, damage: str) -> None:
    """Everything else is found good, and nothing in the dated copy is touched."""
    path, do, should = DAMAGES[damage]
    copy = back_up(source, drive)
    do(copy / path)
    before = twin(copy)
    expected = [(kind, f"{copy.name}/{path}") for kind, path in should]
    checked = check(drive)
    assert (checked.code, sorted(checked.found), checked.facts["damaged"]) == (4, sorted(expected), len(expected))
    outcome = ask("verify", "--drive", drive, "--jobs", "1")
    assert outcome.code == 4
    *named, last = outcome.err.splitlines()
    assert sorted(line.partition(" (")[0] for line in named) == sorted(f"{kind}: {path}" for kind, path in expected)
    assert last.startswith(f"NOT OK - {len(expected)} damaged")
    assert "[Errno" not in outcome.err
    assert differences(twin(copy), before) == []


# What happens to files alone: the stock tools see no links, no empty folders and no manifest.
IN_FILES = [
    "other bytes, same size", "one byte more", "cut off", "emptied", "an empty file grew", "removed", "a folder in its place",
    "one name of a hard link rotted", "a folder removed", "a file for a folder",
]  # fmt: skip


@pytest.mark.needs("sha256sum", "shasum")
@pytest.mark.parametrize("damage", ["none", *IN_FILES])
def test_stock_tools_agree(source: Path, drive: Path, damage: str) -> None:
    """Their list of failed files is the list of snapback's."""
    copy = back_up(source, drive)
    if damage != "none":
        path, do, _ = DAMAGES[damage]
        do(copy / path)
    ours = {path.partition("/")[2] for _, path in check(drive).found} - {"src/folder", "src/folder/below"}
    for tool in (["sha256sum", "-c", "SHA256SUMS"], ["shasum", "-a", "256", "-c", "SHA256SUMS"]):
        told = subprocess.run(tool, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8")
        failed = {line.rpartition(": FAILED")[0] for line in told.stdout.splitlines() if ": FAILED" in line}
        assert failed == ours, tool
        assert bool(told.returncode) == bool(ours)


def test_what_is_not_part_of_a_copy_is_a_note(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    (copy / "src" / "mine.txt").write_bytes(b"left here by a person")
    (copy / "src" / "folder" / "new").mkdir()
    (copy / "src" / "folder" / "new" / "inside").write_bytes(b"is not named by itself")
    (copy / "top").symlink_to("src")
    checked = check(drive)
    strays = ["src/folder/new", "src/mine.txt", "top"]
    assert (checked.code, checked.err) == (0, "")
    assert sorted(checked.found) == [("stray", f"{copy.name}/{path}") for path in strays]
    outcome = ask("verify", "--drive", drive)
    assert (outcome.code, outcome.err) == (0, "")
    assert all(f"{copy.name}/{path}" in outcome.out for path in strays)
    assert not (drive / "box" / "damaged.txt").exists()


STREWN = [".DS_Store", "Thumbs.db", "desktop.ini", "._letter", "._x", "thumbs.db", "Desktop.ini"]


def test_what_systems_strew_is_only_counted(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    for folder in (copy, copy / "src", copy / "src" / "folder"):
        for name in STREWN:
            (folder / name).write_bytes(b"strewn")
    checked = check(drive)
    assert (checked.code, checked.found, checked.facts["strewn"]) == (0, [], 3 * len(STREWN))


def test_a_strewn_name_that_was_copied_is_checked_like_any_other(source: Path, drive: Path) -> None:
    for name in STREWN:
        (source / name).write_bytes(b"part of the source")
    copy = back_up(source, drive)
    assert (check(drive).code, check(drive).facts["strewn"]) == (0, 0)
    for name in STREWN:
        rot(copy / "src" / name)
    assert sorted(check(drive).found) == sorted(("differs", f"{copy.name}/src/{name}") for name in STREWN)


@pytest.mark.needs("user")
def test_what_cannot_be_read_is_found_and_the_rest_is_checked(ordinary_user: User) -> None:
    source, drive = ordinary_user.home / "src", ordinary_user.home / "drive"
    with ordinary_user.acting():
        grown(source)
        drive.mkdir()
        copy, newer = back_up(source, drive), back_up(source, drive, "--checksum")
        (copy / "src" / "photo").chmod(0)
        rot(newer / "src" / "folder" / "one")
        checked = check(drive)
        names = [f"{date.name}/src/folder/one" for date in (copy, newer)] + [f"{date.name}/src/photo" for date in (copy, newer)]
        assert checked.code == 4
        assert sorted(checked.found) == sorted(zip(["differs", "differs", "unreadable", "unreadable"], names))
        (copy / "src" / "photo").chmod(0o600)
        (newer / "src" / "folder").chmod(0)
        kinds = {path: kind for kind, path in check(drive).found}
        assert kinds[f"{newer.name}/src/folder"] == "unreadable"
        assert kinds[f"{copy.name}/src/folder/one"] == "differs"
        (newer / "src" / "folder").chmod(0o700)
        newer.chmod(0)
        checked = check(drive)
        newer.chmod(0o700)
    assert checked.code == 4, checked
    assert {path.partition("/")[0] for _, path in checked.found} == {copy.name, newer.name}


NO_DATES: Dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_bytes(b"x"),
    "a link to a folder": lambda path: path.symlink_to("manifests"),
    "a link to another date": lambda path: path.symlink_to(dates(path.parent)[0]),
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a fifo": os.mkfifo,
    "an empty folder": Path.mkdir,
}


@pytest.mark.parametrize("what", NO_DATES)
@pytest.mark.parametrize("with_twin", [False, True])
def test_what_is_no_dated_copy_in_the_place_of_one_hides_nothing(source: Path, drive: Path, what: str, with_twin: bool) -> None:
    """It is damage by itself, and all other dates are checked."""
    copy, newer = back_up(source, drive), back_up(source, drive)
    newer.rename(drive / "moved away")
    NO_DATES[what](newer)
    if not with_twin:
        (drive / "box" / "manifests" / f"{newer.name}.gz").unlink()
    rot(copy / "src" / "photo")
    checked = check(drive)
    assert checked.code == 4, checked
    assert ("differs", f"{copy.name}/src/photo") in checked.found
    assert {path.partition("/")[0] for _, path in checked.found} == {copy.name, newer.name}


def test_many_findings_are_cut_short_for_people_only(source: Path, drive: Path) -> None:
    for nth in range(50):
        (source / f"nr {nth}").write_bytes(b"%d" % nth)
    copy = back_up(source, drive)
    for nth in range(50):
        rot(copy / "src" / f"nr {nth}")
    outcome = ask("verify", "--drive", drive)
    assert outcome.code == 4
    assert len(outcome.err.splitlines()) == 22
    assert "... and 30 more; all are in damaged.txt" in outcome.err
    assert len(check(drive).found) == 50
    assert (drive / "box" / "damaged.txt").read_text().count("/src/nr ") >= 50


def test_no_list_is_promised_that_cannot_be_written(source: Path, drive: Path) -> None:
    for nth in range(30):
        (source / f"nr {nth}").write_bytes(b"%d" % nth)
    copy = back_up(source, drive)
    for nth in range(30):
        rot(copy / "src" / f"nr {nth}")
    (drive / "snapback-marker.txt").unlink()
    outcome = ask("verify", "--drive", drive)
    assert outcome.code == 4
    assert "damaged.txt" not in outcome.err


# --- What is read ------


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[int]:
    """Count how often each file is opened, by inode."""
    seen: collections.Counter[int] = collections.Counter()
    real = os.open

    def counting(*args: Any, **options: Any) -> int:
        fd = real(*args, **options)
        seen[os.fstat(fd).st_ino] += 1
        return fd

    monkeypatch.setattr(os, "open", counting)
    return seen


def stored_files(drive: Path) -> Set[int]:
    """Give the inodes of all files that lie in dated copies."""
    return {
        inode(path)
        for date in dates(drive / "box")
        for path in (drive / "box" / date / "src").rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_every_stored_file_is_read_once_however_many_dates_share_it(
    source: Path, drive: Path, opened: collections.Counter[int], jobs: str
) -> None:
    for nth in range(4):
        (source / "photo").write_bytes(text_of(nth, 6000))
        back_up(source, drive)
    stored = stored_files(drive)
    assert len(stored) == 6 + 3  # one letter has two names; the photo is another one each time
    opened.clear()
    checked = check(drive, "--jobs", jobs)
    assert (checked.code, checked.facts["files_read"], checked.facts["files"]) == (0, len(stored), 4 * 7)
    if jobs == "1":  # what other processes open is not seen here
        assert {number: opened[number] for number in stored} == dict.fromkeys(stored, 1)
    assert checked.facts["bytes_read"] == 4 * 5000 + 4 * 6000


def test_the_system_is_asked_to_read_every_file_from_the_drive(
    source: Path, drive: Path, opened: collections.Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(source, drive)
    forgotten: Set[int] = set()
    real = os.posix_fadvise

    def watching(fd: int, offset: int, length: int, advice: int) -> None:
        if (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED):
            forgotten.add(os.fstat(fd).st_ino)
        real(fd, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", watching)
    assert check(drive, "--jobs", "1").code == 0
    assert stored_files(drive) <= forgotten


@pytest.mark.needs("mount")
def test_bytes_that_changed_on_the_disk_are_found_though_memory_has_the_good_ones(mounted: Callable[..., Mount], source: Path) -> None:
    disk = mounted("ext4", "64M")
    copy = back_up(source, disk.path)
    os.sync()
    photo = copy / "src" / "photo"
    good = photo.read_bytes()
    at = disk.image.read_bytes().index(good)
    with open(disk.image, "r+b") as image:
        image.seek(at)
        image.write(bytes([good[0] ^ 1]))
    assert photo.read_bytes() == good  # from memory
    assert check(disk.path).found == [("differs", f"{copy.name}/src/photo")]


# The sizes of a folder's files -> how many of them are read in one go: so long the result of the first has to wait.
BATCHES: Sequence[Tuple[Sequence[int], Sequence[int]]] = [
    ([], []),
    ([0] * 64, [64]),
    ([0] * 65, [64, 1]),
    ([Workers.PARCEL], [1]),
    ([Workers.PARCEL // 2] * 4, [2, 2]),
    ([Workers.PARCEL // 2 + 1] * 3, [1, 1, 1]),
    ([1, Workers.PARCEL, 1], [1, 1, 1]),
    ([100 * Workers.PARCEL, 1, 1, 100 * Workers.PARCEL], [1, 2, 1]),
    ([Workers.PARCEL // 64] * 65, [64, 1]),
    ([Workers.PARCEL // 10] * 25, [10, 10, 5]),
]


@pytest.mark.parametrize(("sizes", "batches"), BATCHES)
def test_no_more_is_read_in_one_go_than_fits_a_parcel_but_for_a_single_file(
    tmp_path: Path, sizes: Sequence[int], batches: Sequence[int]
) -> None:
    given: List[List[str]] = []
    costs: List[int] = []

    class Noting(Workers):
        def submit(self, piece: Any, _then: object, _folders: object, cost: int) -> None:
            given.append(piece.names)
            costs.append(cost)

    workers = Noting(1, new_pulse(lambda _files, _size: None, 1), lambda _piece: [])
    (tmp_path / "file").write_bytes(b"")
    suspects = [(Suspect(str(nth), f"src/{nth}", "0" * 64, nth, size), (tmp_path / "file").stat()) for nth, size in enumerate(sizes)]
    Rereading(workers).read("2026-11-22_231507", (Folder.top(str(tmp_path)), ""), suspects)
    assert [name for names in given for name in names] == [suspect.name for suspect, _ in suspects]
    assert [len(names) for names in given] == batches
    assert sum(costs) == sum(sizes)


def test_a_bad_file_that_dates_share_is_reported_for_each(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(3)]
    rot(copies[1] / "src" / "letter")
    for jobs in ("1", "3"):
        assert sorted(check(drive, "--jobs", jobs).found) == sorted(
            ("differs", f"{copy.name}/src/{path}") for copy in copies for path in ("letter", "folder/same letter")
        )


def test_one_inode_with_two_checksums_is_read_for_each(source: Path, drive: Path) -> None:
    """A date whose list tells another checksum of a shared file is not hidden by the one that is right."""
    first = back_up(source, drive)
    (source / "photo").write_bytes(text_of("other", 5000))
    second = back_up(source, drive)
    (second / "src" / "photo").unlink()
    os.link(first / "src" / "photo", second / "src" / "photo")
    assert check(drive).found == [("differs", f"{second.name}/src/photo")]


def test_quick_reads_no_stored_file_and_finds_what_a_look_can(source: Path, drive: Path, opened: collections.Counter[int]) -> None:
    copy = back_up(source, drive)
    stored = stored_files(drive)
    rot(copy / "src" / "letter")
    opened.clear()
    checked = check(drive, "--quick")
    assert (checked.code, checked.found, checked.facts["files_read"], checked.facts["quick"]) == (0, [], 0, True)
    assert not stored & set(opened)
    os.truncate(copy / "src" / "photo", 10)
    (copy / "src" / "folder" / "one").unlink()
    checked = check(drive, "--quick")
    assert checked.code == 4
    assert sorted(checked.found) == [("differs", f"{copy.name}/src/photo"), ("missing", f"{copy.name}/src/folder/one")]
    assert "not read" in ask("verify", "--quick", "--drive", drive).out


def test_when_chooses_the_date_and_the_answer_names_it(source: Path, drive: Path) -> None:
    names = [back_up(source, drive).name for _ in range(3)]
    chosen = {"latest": names[2], names[0]: names[0], names[1]: names[1], names[0][:4]: names[2], "9999": names[2]}
    checked = {when: check(drive, when).facts["snapshots"] for when in chosen}
    assert checked == {when: [name] for when, name in chosen.items()}
    said = {when: ask("verify", when, "--drive", drive).out for when in chosen}
    assert {when: set(DATED.findall(text)) for when, text in said.items()} == {when: {name} for when, name in chosen.items()}
    assert [when for when, text in said.items() if "There is no dated copy of" in text] == ["9999"]


@pytest.mark.parametrize("when", ["1999", "src/photo", "lately", "2026-13-45x", " ", "../x", "2026-11-22_231507/../../x"])
def test_a_when_that_means_nothing_is_refused(source: Path, drive: Path, when: str) -> None:
    back_up(source, drive)
    before = twin(drive)
    outcome = ask("verify", when, "--drive", drive)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert differences(twin(drive), before) == []


# --- What is noted, and what the next run makes of it ------


@pytest.mark.parametrize("damage", ["rotted", "removed", "cut off"])
def test_the_next_run_stores_a_good_copy_anew(source: Path, drive: Path, damage: str) -> None:
    copy = back_up(source, drive)
    path = copy / "src" / "photo"
    {"rotted": rot, "removed": os.unlink, "cut off": lambda at: os.truncate(at, 5)}[damage](path)
    assert check(drive).code == 4
    listed = (drive / "box" / "damaged.txt").read_text()
    assert f"  {copy.name}/src/photo\n" in listed
    newer = back_up(source, drive)
    assert hash_at(newer / "src" / "photo") == hash_at(source / "photo")
    assert inode(newer / "src" / "letter") == inode(copy / "src" / "letter")
    assert check(drive, "latest").code == 0
    assert check(drive).code == 4
    assert {path for _, path in check(drive).found} == {f"{copy.name}/src/photo"}


def test_the_summary_says_what_was_stored_anew_because_it_was_damaged(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    for name in ("photo", "folder/one"):
        rot(copy / "src" / name)
    said = "stored anew, as the older copy is damaged"
    for expected in (None, "2", None):
        if expected:
            assert check(drive).code == 4
        outcome = ask("backup", "--no-rotate", "--set", "box", source, drive)
        found = re.search(rf"(\d+) {said}", outcome.out)
        assert (outcome.code, found and found.group(1)) == (0, expected), outcome


def hash_at(path: Path) -> bytes:
    with opened_folder(path.parent) as folder:
        return hash_of(folder, os.fsencode(path.name))


def test_a_check_of_one_date_keeps_the_bad_file_out_of_the_next_through_any_other(source: Path, drive: Path) -> None:
    """The bad file has a name in every date; only the oldest was checked."""
    copies = [back_up(source, drive) for _ in range(3)]
    rot(copies[0] / "src" / "photo")
    assert check(drive, copies[0].name).code == 4
    newer = back_up(source, drive)
    assert inode(newer / "src" / "photo") != inode(copies[2] / "src" / "photo")
    assert check(drive, "latest").code == 0


def test_a_check_of_a_good_date_takes_no_other_off_the_list(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    check(drive)
    listed = (drive / "box" / "damaged.txt").read_text()
    (source / "photo").rename(source.parent / "aside")
    back_up(source, drive)
    assert check(drive, "latest").code == 0
    assert (drive / "box" / "damaged.txt").read_text() == listed
    assert check(drive, "--quick").code == 0
    assert (drive / "box" / "damaged.txt").read_text() == listed


def test_a_check_of_everything_that_finds_no_damage_clears_the_list(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    good = (copy / "src" / "photo").read_bytes()
    rot(copy / "src" / "photo")
    check(drive)
    rewrite(copy / "src" / "photo", good)
    assert check(drive).code == 0
    assert not (drive / "box" / "damaged.txt").exists()
    assert inode(back_up(source, drive) / "src" / "photo") == inode(copy / "src" / "photo")


def test_a_good_copy_is_not_stored_again_and_again_because_an_old_one_is_bad(source: Path, drive: Path) -> None:
    """Old damage stays where it is; whoever checks every week does not want the file anew every week."""
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    check(drive)
    newer = back_up(source, drive)
    check(drive)
    newest = back_up(source, drive)
    assert inode(newest / "src" / "photo") == inode(newer / "src" / "photo")


def test_the_list_does_not_grow_when_the_same_is_found_again(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    os.truncate(copy / "src" / "photo", 7)
    check(drive, "latest")
    size = (drive / "box" / "damaged.txt").stat().st_size
    for _ in range(3):
        check(drive, "latest")
        check(drive, "--quick")
    assert (drive / "box" / "damaged.txt").stat().st_size < 2 * size


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"\xff\xfe\n# found=x seq=" + b"9" * 5000, b"# seq=1\n" * 999])
def test_a_list_that_makes_no_sense_disturbs_nothing(source: Path, drive: Path, content: bytes) -> None:
    back_up(source, drive)
    (drive / "box" / "damaged.txt").write_bytes(content)
    back_up(source, drive)
    assert check(drive).code == 0


def test_each_check_has_a_line_in_the_history(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    check(drive)
    check(drive, "latest", "--quick")
    lines = [json.loads(line) for line in (drive / "box" / "history.jsonl").read_text().splitlines()]
    assert [(line["what"], line.get("damaged"), line.get("quick")) for line in lines] == [
        ("backup", None, None),
        ("verify", 1, False),
        ("verify", 0, True),
    ]


# --- Manifests and twins ------


def test_a_twin_tells_what_should_be_there_when_the_manifest_is_damaged(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    os.truncate(copy / "SHA256SUMS", 700)
    assert sorted(check(drive).found) == [("differs", f"{copy.name}/src/photo"), ("manifest damaged", f"{copy.name}/SHA256SUMS")]
    assert ask("list", "--drive", drive).code == 3
    newer = back_up(source, drive)
    assert inode(newer / "src" / "letter") == inode(copy / "src" / "letter")
    assert check(drive, "latest").code == 0


def test_without_a_twin_a_damaged_manifest_proves_nothing_and_is_never_built_upon(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    os.truncate(copy / "SHA256SUMS", 700)
    (drive / "box" / "manifests" / f"{copy.name}.gz").unlink()
    assert check(drive).found == [("manifest damaged", f"{copy.name}/SHA256SUMS")]
    listed = ask("list", "--drive", drive)
    assert (listed.code, "its list and its second list are damaged" in listed.err) == (3, True)
    before = twin(copy)
    newer = back_up(source, drive)
    assert inode(newer / "src" / "letter") != inode(copy / "src" / "letter")
    assert check(drive, "latest").code == 0
    assert differences(twin(copy), before) == []


@pytest.mark.parametrize("whole_dates", [0, 1])
def test_a_newest_copy_whose_both_lists_are_cut_off_is_said_by_backup_and_its_dry_run(source: Path, drive: Path, whole_dates: int) -> None:
    copies = [back_up(source, drive) for _ in range(whole_dates + 1)]
    for path in (copies[-1] / "SHA256SUMS", drive / "box" / "manifests" / f"{copies[-1].name}.gz"):
        os.truncate(path, path.stat().st_size // 2)
    for words in (["-n"], []):
        outcome = ask("backup", "--no-rotate", "--set", "box", *words, source, drive)
        assert outcome.code == 3, outcome
        assert f"the list of {copies[-1].name} is damaged, and so is its second list: it was not used" in outcome.err
    newest = drive / "box" / dates(drive / "box")[-1]
    assert (inode(newest / "src" / "photo") == inode(copies[0] / "src" / "photo")) == bool(whole_dates)
    assert check(drive, "latest").code == 0


# A digit of a first line, by the date that it belongs to -> what became of it; each would change the order of the dates.
FLIPPED = [(0, b"9"), (1, b"7"), (2, b"1"), (2, b"2")]


@pytest.mark.parametrize(("nth", "digit"), FLIPPED)
def test_a_digit_that_flipped_in_a_number_leaves_the_order_of_dates_as_it_was(
    source: Path, drive: Path, tmp_path: Path, nth: int, digit: bytes
) -> None:
    copies = []
    for number in range(3):
        (source / "photo").write_bytes(b"%d" % number)
        copies.append(back_up(source, drive))
    damaged = copies[nth] / "SHA256SUMS"
    text = damaged.read_bytes()
    at = text.index(b'"seq": ') + len(b'"seq": ')
    assert (text[at : at + 1], text[at + 1 : at + 2]) == (b"%d" % (nth + 1), b",")
    rewrite(damaged, text[:at] + digit + text[at + 1 :])
    listed = ask("list", "--json", "--drive", drive)
    assert listed.code == 3, listed
    assert [(one["snapshot"], one["seq"]) for one in json.loads(listed.out)["snapshots"]] == [
        (copy.name, number) for number, copy in enumerate(copies, 1)
    ]
    assert f"box/{copies[nth].name}: its list is damaged, and its second list serves" in ask("list", "--drive", drive).err
    assert ask("restore", "latest", "--drive", drive, "--to", tmp_path / "back").code == 0
    assert (tmp_path / "back" / "src" / "photo").read_bytes() == b"2"


@pytest.mark.parametrize("damage", ["bytes", "packed", "removed", "of another date", "a link"])
def test_a_damaged_twin_is_no_twin(source: Path, drive: Path, damage: str) -> None:
    copy, other = back_up(source, drive), back_up(source, drive)
    twins = drive / "box" / "manifests"
    path = twins / f"{copy.name}.gz"
    if damage == "bytes":
        rot(path)
    elif damage == "packed":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"mode=0644", b"mode=0666")))
    elif damage == "removed":
        path.unlink()
    elif damage == "of another date":
        path.write_bytes((twins / f"{other.name}.gz").read_bytes())
    else:
        path.rename(drive / "elsewhere.gz")
        path.symlink_to(drive / "elsewhere.gz")
    os.truncate(copy / "SHA256SUMS", 700)
    assert check(drive).found == [("manifest damaged", f"{copy.name}/SHA256SUMS")]


def test_a_deleted_twin_is_made_anew_by_the_next_run(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    path = drive / "box" / "manifests" / f"{copy.name}.gz"
    path.unlink()
    back_up(source, drive)
    assert gzip.decompress(path.read_bytes()) == (copy / "SHA256SUMS").read_bytes()


def test_a_twin_of_a_damaged_manifest_is_not_made(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    path = drive / "box" / "manifests" / f"{copy.name}.gz"
    path.unlink()
    (copy / "SHA256SUMS").write_bytes((copy / "SHA256SUMS").read_bytes().replace(b"mode=0644", b"mode=0666", 1))
    back_up(source, drive)
    assert not path.exists()


# --- Drives that are only read ------


def test_nothing_is_written_on_a_drive_without_a_marker(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    (drive / "snapback-marker.txt").unlink()
    before = twin(drive)
    for more in ([], ["latest"], ["--quick"]):
        outcome = ask("verify", "--drive", drive, *more)
        assert outcome.code == (0 if more == ["--quick"] else 4)
        assert "no marker" in outcome.out
    assert differences(twin(drive), before) == []


@pytest.mark.needs("user")
def test_a_drive_that_may_only_be_read_is_checked_and_nothing_is_written(ordinary_user: User, reachable: Path) -> None:
    source, drive = grown(reachable / "src"), reachable / "drive"
    drive.mkdir()
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")
    for folder in (drive, drive / "box", drive / "box" / "manifests", copy):
        folder.chmod(0o555)
    for path in [*copy.glob("SHA*"), *drive.glob("box/manifests/*"), *drive.glob("box/*.jsonl")]:
        path.chmod(0o444)
    before = twin(drive)
    with ordinary_user.acting():
        outcome = ask("verify", "--drive", drive)
    assert (outcome.code, "could not be noted" in outcome.out) == (4, True), outcome
    assert differences(twin(drive), before) == []
    for folder in (drive, drive / "box", drive / "box" / "manifests", copy):
        folder.chmod(0o755)


@pytest.mark.needs("mount")
def test_a_drive_mounted_read_only_is_checked(mounted: Callable[..., Mount], source: Path) -> None:
    disk = mounted("tmpfs", "8M")
    copy = back_up(source, disk.path)
    disk.read_only()
    for target in (disk.path, disk.path / "box"):
        outcome = ask("verify", "--drive", target)
        assert (outcome.code, outcome.err, "could not be noted" in outcome.out) == (0, "", True), outcome
    assert ask("list", "--drive", disk.path).code == 0
    assert ask("restore", "latest", "--drive", disk.path, "--to", source.parent / "back").code == 0
    assert differences(twin(source.parent / "back" / "src"), twin(source), ["mtime_ns"]) == []
    assert copy.exists()


@pytest.mark.needs("user", "root")
@pytest.mark.parametrize("words", [["verify"], ["verify", "latest"], ["restore", "latest"], ["list", "--set", "box"],
                                   ["verify", "--set", "box"], ["list"]])  # fmt: skip
def test_the_set_of_another_user_is_named_in_one_sentence(ordinary_user: User, reachable: Path, words: Sequence[str]) -> None:
    source, drive = grown(reachable / "src"), reachable / "drive"
    drive.mkdir()
    back_up(source, drive)
    before = twin(drive)
    with ordinary_user.acting():
        outcome = ask(*words, "--drive", drive)
    assert outcome.err.count("\n") == 1, outcome
    assert all(word in outcome.err for word in ("box", "another user", "sudo")), outcome
    assert outcome.code == (3 if words == ["list"] else 2), outcome
    assert differences(twin(drive), before) == []


def test_a_check_of_large_files_does_not_keep_them_in_memory(source: Path, drive: Path, cli: Cli) -> None:
    (source / "large").write_bytes(b"")
    os.truncate(source / "large", 300 * MIB)
    back_up(source, drive)
    ended = cli("verify", "--drive", drive, before=["prlimit", f"--as={200 * MIB}"])
    assert ended.code == 0, ended


def test_a_check_leaves_all_times_and_bytes_of_the_copies_alone(source: Path, drive: Path) -> None:
    copies = [back_up(source, drive) for _ in range(2)]
    rot(copies[1] / "src" / "photo")
    before = twin(drive / "box")
    check(drive)
    lines = [line for line in differences(twin(drive / "box"), before) if line.startswith("2")]
    assert lines == []


# --- What stands beside the copies ------


@pytest.mark.parametrize("content", [b"", b"junk", gzip.compress(b"junk"), gzip.compress(b"x" * 4_000_000)])
def test_a_spoilt_twin_is_found_and_made_anew(source: Path, drive: Path, content: bytes) -> None:
    first, second = back_up(source, drive), back_up(source, drive)
    spoilt = drive / "box" / "manifests" / f"{first.name}.gz"
    spoilt.write_bytes(content)
    checked = check(drive)
    assert (checked.code, checked.found) == (4, [("manifest damaged", f"manifests/{first.name}.gz")])
    assert gzip.decompress(spoilt.read_bytes()) == (first / "SHA256SUMS").read_bytes()
    assert (check(drive).code, check(drive, second.name).code) == (0, 0)


def test_the_twin_of_another_copy_is_no_twin(source: Path, drive: Path) -> None:
    first, second = back_up(source, drive), back_up(source, drive)
    twins = drive / "box" / "manifests"
    shutil.copy(twins / f"{second.name}.gz", twins / f"{first.name}.gz")
    assert check(drive).found == [("manifest damaged", f"manifests/{first.name}.gz")]


def test_a_date_of_which_only_the_list_is_left_is_missed(source: Path, drive: Path) -> None:
    first, second = back_up(source, drive), back_up(source, drive)
    remove_tree(first)
    checked = check(drive)
    assert (checked.code, checked.found) == (4, [("missing", f"{first.name}/")])
    assert check(drive, second.name).code == 0
    (drive / "box" / "manifests" / f"{first.name}.gz").unlink()
    assert check(drive).code == 0


def test_a_check_writes_nothing_while_another_run_has_the_set(source: Path, drive: Path) -> None:
    rot(back_up(source, drive) / "src" / "photo")
    before = twin(drive)
    with open(drive / "box" / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = ask("verify", "--drive", drive)
    assert (outcome.code, "another run is working on the set" in outcome.out) == (4, True)
    assert "the next backup does not know of it" in outcome.err
    assert differences(twin(drive), before) == []


def test_a_check_says_which_sets_it_did_not_look_at(source: Path, drive: Path) -> None:
    back_up(source, drive)
    assert ask("backup", "--set", "other", source, drive).code == 0
    outcome = ask("verify", "--drive", drive, "--set", "box")
    assert "other sets: other" in outcome.out
    assert "other sets" not in ask("verify", "--drive", drive / "box").out.replace("other sets: other", "")


def test_the_list_of_dates_tells_what_a_check_found(source: Path, drive: Path) -> None:
    first, second = back_up(source, drive), back_up(source, drive)
    rot(second / "src" / "photo")
    assert check(drive).code == 4
    outcome = ask("list", "--drive", drive)
    assert (outcome.code, outcome.out.count("1 found damaged")) == (3, 2)
    listed = json.loads(ask("list", "--json", "--drive", drive).out)["snapshots"]
    assert [(one["snapshot"], one["damaged"]) for one in listed] == [(first.name, 1), (second.name, 1)]


def test_damage_in_older_dates_alone_is_said_but_no_reason_to_complain_for_ever(source: Path, drive: Path) -> None:
    old = back_up(source, drive)
    rot(old / "src" / "photo")
    assert (check(drive).code, ask("list", "--drive", drive).code) == (4, 3)
    back_up(source, drive)
    outcome = ask("list", "--drive", drive)
    assert (outcome.code, outcome.err, outcome.out.count("1 found damaged")) == (0, "", 1), outcome
    assert "box: older dated copies have damaged files; the newest has none that is known" in outcome.out
    assert check(drive).code == 4
    assert ask("list", "--drive", drive).code == 0


@pytest.mark.needs("prlimit")
def test_what_this_computer_lacks_is_no_damage(source: Path, drive: Path, cli: Cli) -> None:
    """With hardly any descriptors a check fails, and says that it did; nothing is noted as damaged."""
    for nth in range(200):
        (source / f"{nth}" / "below").mkdir(parents=True)
        (source / f"{nth}" / "below" / "file").write_bytes(b"x")
    back_up(source, drive)
    for limit in (12, 16, 24, 40, 64, 256):
        ended = cli("verify", "--drive", drive, before=["prlimit", f"--nofile={limit}:{limit}"])
        assert ended.code in (0, 1), ended
        assert not (drive / "box" / "damaged.txt").exists()
    assert ended.code == 0


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_file_for_which_this_computer_has_no_descriptor_is_not_damaged(source: Path, drive: Path, number: int) -> None:
    copy = back_up(source, drive)

    def lacking(call: Call) -> None:
        if (call.name, call.path) == ("open", str(copy / "src" / "photo")):
            raise OSError(number, os.strerror(number))

    with watched(lacking):
        outcome = ask("verify", "--jobs", "1", "--drive", drive)
    assert (outcome.code, outcome.err.startswith("snapback: this computer let no more files be opened")) == (1, True), outcome
    assert not (drive / "box" / "damaged.txt").exists()


def test_what_a_check_found_before_it_was_interrupted_is_said_and_noted(source: Path, drive: Path) -> None:
    """Files are read in their order: the first is bad, and the person ends it while the last one is read."""
    (source / "folder" / "zzz").write_bytes(b"last")
    copy = back_up(source, drive)
    rot(copy / "src" / "photo")

    def ended(call: Call) -> None:
        if (call.name, call.path) == ("open", str(copy / "src" / "folder" / "zzz")):
            signal.raise_signal(signal.SIGINT)

    with watched(ended):
        outcome = ask("verify", "--jobs", "1", "--drive", drive)
    assert (outcome.code, outcome.out.count("OK - ")) == (130, 0), outcome
    assert "differs: " in outcome.err
    assert "interrupted; not everything was read; 1 damaged entry so far" in outcome.err
    assert "/src/photo\n" in (drive / "box" / "damaged.txt").read_text()
    assert ask("list", "--drive", drive).out.count("1 found damaged") == 1


def test_the_list_of_dates_tells_when_a_copys_own_list_is_damaged_and_the_second_serves(source: Path, drive: Path) -> None:
    copy = back_up(source, drive)
    rewrite(copy / "SHA256SUMS", b"x")
    outcome = ask("list", "--drive", drive)
    assert (outcome.code, outcome.out.count(copy.name)) == (3, 1)
    assert f"box/{copy.name}: its list is damaged, and its second list serves; put it back" in outcome.err
    way_out = outcome.err.rpartition("with: ")[2]
    subprocess.run(["sh", "-c", way_out], cwd=drive / "box", check=True)
    assert (check(drive).code, ask("list", "--drive", drive).code) == (0, 0)
