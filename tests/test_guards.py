"""Guards around a run: copies that share nothing, suspected rot, disks that are not mounted, a drive on the source's own disk."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

import snapback
from conftest import NOBODY, Mount, command
from faults import Call, watched
from trees import Outcome, ask, dates, differences, later, twin

pytestmark = pytest.mark.needs("linux")
MIB = 1 << 20


class World:
    def __init__(self, folder: Path, drive: Path) -> None:
        self.source, self.drive, self.runs = folder / "source", drive, 0
        (self.source / "sub").mkdir(parents=True)
        for name in ("letter", "sub/photo", "sub/film"):
            (self.source / name).write_bytes(name.encode() * 1000)
        os.link(self.source / "letter", self.source / "sub" / "same letter")
        for path in [*self.source.rglob("*"), self.source]:
            os.utime(path, (1_600_000_000, 1_600_000_000))

    def back_up(self, *more: object) -> Outcome:
        self.runs += 10
        with later(self.runs):
            return ask("backup", "--init", "--set", "box", "--no-rotate", *more, self.source, self.drive)

    @property
    def copies(self) -> List[Path]:
        return [self.drive / "box" / date for date in dates(self.drive / "box")]


@pytest.fixture
def world(in_memory: Path) -> World:
    (in_memory / "drive").mkdir()
    return World(in_memory, in_memory / "drive")


def inodes(tree: Path) -> Dict[str, int]:
    files = (path for path in sorted(tree.rglob("*")) if path.is_file() and path.name != "SHA256SUMS")
    return {str(path.relative_to(tree)): path.stat().st_ino for path in files}


# --- Copies that share nothing ------


def test_a_fresh_copy_shares_nothing_with_earlier_ones_and_keeps_its_hard_links(world: World) -> None:
    assert world.back_up().code == 0
    fresh = world.back_up("--fresh", "--json")
    facts: Dict[str, Any] = json.loads(fresh.out)
    assert (fresh.code, facts["files_unmodified"], facts["data_added"]) == (0, 4, 6000 + 9000 + 8000)
    first, second = world.copies
    assert not set(inodes(first).values()) & set(inodes(second).values())
    assert differences(twin(second / "source"), twin(world.source)) == []
    assert world.back_up().code == 0
    assert inodes(world.copies[2]) == inodes(second)


def test_a_fresh_copy_does_not_link_what_was_moved(world: World) -> None:
    assert world.back_up().code == 0
    (world.source / "sub" / "film").rename(world.source / "film")
    assert json.loads(world.back_up("--fresh", "--json").out)["data_added"] == 6000 + 9000 + 8000


# --- Suspected rot ------


def rot(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change a file's bytes and neither size nor times, as a failing disk does: without change time nothing else can show that here."""
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    seen = path.stat()
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def test_the_copy_before_suspected_rot_is_pinned_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    assert world.back_up().code == 0
    for name in ("sub/photo", "sub/film"):
        rot(world.source / name, monkeypatch)
    outcome = world.back_up("--checksum")
    first = world.copies[0].name
    assert (outcome.code, outcome.err.count(f"{first} is pinned")) == (3, 1), outcome
    assert outcome.err.count("its disk may be failing") == 2
    (pin,) = (world.drive / "box" / "pins").iterdir()
    assert (pin.name, "before suspected rot of source/sub/" in pin.read_text()) == (f"{first}.txt", True)
    assert world.back_up("--checksum").code == 0
    with later(world.runs + 5):
        assert ask("rotate", "--keep-last", "1", "--drive", world.drive).code == 0
    assert world.copies[0].name == first


def test_rot_of_a_hard_linked_file_pins_the_copy_before_it_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    assert world.back_up().code == 0
    rot(world.source / "letter", monkeypatch)
    outcome = world.back_up("--checksum")
    assert (outcome.code, f"{world.copies[0].name} is pinned" in outcome.err) == (3, True), outcome


def test_a_copy_that_is_bad_itself_is_not_pinned_for_rot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapback, "WITH_CTIME", False)
    assert world.back_up().code == 0
    rot(world.copies[0] / "source" / "sub" / "photo", monkeypatch)
    rot(world.source / "sub" / "photo", monkeypatch)
    (world.source / "sub" / "photo").write_bytes(b"x" * 9000)
    os.utime(world.source / "sub" / "photo", (1_600_000_000, 1_600_000_000))
    outcome = world.back_up("--checksum")
    assert (outcome.code, "is pinned" in outcome.err) == (3, False), outcome


# --- A source whose disk is not there ------


def test_a_source_whose_disk_is_not_mounted_any_more_stops_the_run(mounted: Callable[..., Mount], tmp_path: Path) -> None:
    """The mount point is not empty: something else was put there meanwhile."""
    disk = mounted("tmpfs")
    drive = tmp_path / "drive"
    drive.mkdir()
    (disk.path / "letter").write_text("dear")
    words = ["backup", "--init", "--set", "box", disk.path, drive]
    assert ask(*words).code == 0
    command("umount", disk.path)
    (disk.path / "something else").write_text("x")
    outcome = ask(*words)
    (disk.path / "something else").unlink()
    assert (outcome.code, outcome.err.count("\n"), f"the disk mounted at {disk.path}" in outcome.err) == (1, 1, True), outcome
    assert len(dates(drive / "box")) == 1
    (disk.path / "something else").write_text("x")
    meant = ask(*words, "--allow-empty")
    (disk.path / "something else").unlink()
    assert (meant.code, len(dates(drive / "box"))) == (0, 2), meant


# --- The same disk ------


@pytest.mark.needs("btrfs")
def test_a_subvolume_of_the_sources_own_disk_is_not_called_safe_to_unplug(mounted: Callable[..., Mount]) -> None:
    disk = mounted("btrfs")
    for name in ("home", "backup"):
        command("btrfs", "subvolume", "create", disk.path / name)
    (disk.path / "home" / "letter").write_text("dear")
    assert os.stat(disk.path / "home").st_dev != os.stat(disk.path / "backup").st_dev
    outcome = ask("backup", "--init", disk.path / "home", disk.path / "backup")
    assert (outcome.code, "safe to unplug" in outcome.out, "same disk" in outcome.out) == (0, False, True), outcome


def test_partitions_of_one_disk_are_one_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a picture of /sys: sda with two partitions, and a volume made of sda2 and sdb1."""
    for disk in ("sda", "sdb"):
        for part in ("1", "2"):
            (tmp_path / disk / f"{disk}{part}").mkdir(parents=True)
            (tmp_path / disk / f"{disk}{part}" / "partition").write_text(part)
    for name, number in (("sda2", "8:2"), ("sdb1", "8:17")):
        (tmp_path / "dm-0" / "slaves" / name).mkdir(parents=True)
        (tmp_path / "dm-0" / "slaves" / name / "dev").write_text(number + "\n")
    places = {"8:1": "sda/sda1", "8:2": "sda/sda2", "8:17": "sdb/sdb1", "253:0": "dm-0", "8:0": "sda"}
    monkeypatch.setattr(snapback.os.path, "realpath", lambda path: str(tmp_path / places[path.rpartition("/")[2]]))
    assert [snapback.disks_below(number) for number in places] == [{"sda"}, {"sda"}, {"sdb"}, {"sda", "sdb"}, {"sda"}]


# --- Very many sources ------


def test_copies_of_very_many_sources_can_be_read_again(in_memory: Path) -> None:
    """Their last line, with what became of each source in a week, is longer than the usual look at the end."""
    (in_memory / "drive").mkdir()
    (in_memory / "home").mkdir()
    files = [in_memory / "home" / f"a rather long name of a single file that is a source by itself {number}" for number in range(900)]
    for file in files:
        file.write_bytes(b"x")
    for run in range(3):
        with later(run * 86_400):
            outcome = ask("backup", "--init", "--set", "box", *files, in_memory / "drive")
            assert outcome.code == 0, outcome
            assert ask("verify", "--drive", in_memory / "drive").code == 0
    newest = in_memory / "drive" / "box" / dates(in_memory / "drive" / "box")[-1]
    assert len((newest / "SHA256SUMS").read_bytes().rpartition(b"# end")[2]) > 1 << 16


# --- A full drive ------


def test_a_full_drive_says_which_command_would_let_old_copies_go_and_deletes_nothing(mounted: Callable[..., Mount], tmp_path: Path) -> None:
    disk = mounted("tmpfs", "24M")
    world = World(tmp_path, disk.path)
    for _ in range(6):
        (world.source / "grows").write_bytes(os.urandom(2 * MIB))
        assert world.back_up().code == 0
    (world.source / "large").write_bytes(os.urandom(14 * MIB))
    outcome = world.back_up()
    assert (outcome.code, len(world.copies)) == (1, 6), outcome
    words = outcome.err.rpartition("snapback.py ")[2].split()
    with later(world.runs + 5):
        planned = ask(*words, "--json")
        assert planned.code == 0, planned
        assert len(json.loads(planned.out)["remove"]) == 5
        words.remove("-n")
        assert ask(*words).code == 0
    assert world.back_up().code == 0
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=world.copies[-1]).returncode == 0


def test_a_drive_that_fills_up_in_the_middle_says_so_too(world: World) -> None:
    assert world.back_up().code == 0
    assert world.back_up().code == 0
    (world.source / "new").write_bytes(b"x" * 300_000)

    def full(call: Call) -> None:
        if call.name == "write" and call.path.endswith("/new"):
            raise OSError(28, "No space left on device")

    with watched(full), later(world.runs + 10):
        outcome = ask("backup", "--set", "box", "--keep-last", "1", "--jobs", "1", world.source, world.drive)
    assert (outcome.code, "rotate -n --keep-last 1" in outcome.err, len(world.copies)) == (1, True, 2), outcome


# --- Where drives are looked for ------


@pytest.mark.needs("root")
def test_nobody_else_can_have_the_copies_by_a_marker_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /tmp anybody may make a folder, and the id stands in the marker of a drive that anybody may read."""
    marker = snapback.marker_text(snapback.Marker("0" * 32, "STICK"))
    for name, owners in {"own": (0, 0), "theirs": (NOBODY, NOBODY), "their marker": (0, NOBODY), "their folder": (NOBODY, 0)}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / snapback.MARKER).write_text(marker)
        for path, owner in zip((tmp_path / name, tmp_path / name / snapback.MARKER), owners):
            os.chown(path, owner, owner)
    monkeypatch.setattr(snapback, "mounts", lambda: [snapback.Mounted(str(tmp_path), "ext4")])
    assert snapback.find_drives({"0" * 32: ""}).places == {"0" * 32: [str(tmp_path / "own")]}


@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("mode", "owner", "found"), [(0o1777, NOBODY, False), (0o1777, 0, True), (0o755, NOBODY, True), (0o777, NOBODY, True)]
)
def test_a_disk_on_which_anybody_may_make_files_is_a_drive_only_by_ones_own_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, found: bool
) -> None:
    """Often /tmp is a disk of its own; and a stick may come from a computer where one has another number."""
    (tmp_path / snapback.MARKER).write_text(snapback.marker_text(snapback.Marker("0" * 32, "STICK")))
    os.chown(tmp_path / snapback.MARKER, owner, owner)
    tmp_path.chmod(mode)
    monkeypatch.setattr(snapback, "mounts", lambda: [snapback.Mounted(str(tmp_path), "tmpfs")])
    assert bool(snapback.find_drives({"0" * 32: ""}).places) == found
    assert snapback.find_drives({"0" * 32: str(tmp_path)}).places == {"0" * 32: [str(tmp_path)]}
