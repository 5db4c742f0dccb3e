"""Real drives of several kinds: full ones, read-only ones, pulled out ones, dying ones, and two runs on the same."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set, Tuple

import pytest

import snapback
from conftest import MIB, Cli, Mount, Result
from faults import Call, watched
from trees import (
    Outcome,
    Twin,
    ask,
    awkward_tree,
    dates,
    differences,
    leftovers,
    new_copy,
    random_edit,
    random_tree,
    remove_tree,
    skipped_in,
    stock_check,
    text_of,
    twin,
    without,
)

pytestmark = pytest.mark.needs("linux", "sha256sum")
Mounting = Callable[..., Mount]
POSIX_KINDS = ["ext4", "xfs", "btrfs", "tmpfs"]


@pytest.fixture
def source(reachable: Path) -> Iterator[Path]:
    """A source with ten small files; it may grow as awkward as it likes."""
    made = reachable / "source"
    made.mkdir()
    grow(made, 10, 1000)
    yield made
    remove_tree(made)
    remove_tree(reachable / "back")


def grow(source: Path, count: int, size: int) -> None:
    for nth in range(count):
        folder = source / f"of {size}" / f"folder {nth // 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {nth}").write_bytes(text_of(nth % 7, size) + b"%d" % nth)


def back_up(source: Path, drive: Path, *more: str) -> str:
    """Make a dated copy, and say which."""
    return new_copy(drive, *more, source).name


def one_sentence(ended: Outcome | Result, *about: str) -> None:
    """Assert that a run failed, and said so in one line that speaks of these things and of earlier copies."""
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended
    missing = [word for word in (*about, "untouched") if word not in ended.err]
    assert missing == [], ended


def whole(drive: Path, copies: Dict[str, Twin]) -> None:
    """Assert that these dated copies, and no others, are there as they were made, and pass every check."""
    assert set(dates(drive / "box")) == set(copies)
    for date, should in copies.items():
        assert differences(twin(drive / "box" / date / "source"), should) == []
        assert stock_check(drive / "box" / date) == []
    outcome = ask("verify", "--drive", drive)
    assert outcome.code == 0, outcome


def comes_back(source_tree: Twin, drive: Path, date: str, target: Path) -> None:
    """Assert that a restored tree has everything, whatever the drive itself cannot hold."""
    outcome = ask("restore", date, "--drive", drive, "--to", target)
    assert outcome.code == 0, outcome
    assert differences(twin(target / "source"), source_tree) == []
    remove_tree(target)


def in_the_middle(run: subprocess.Popen[str], drive: Path, size: int) -> None:
    """Wait until a run has copied so many bytes, and then stop it for a while; SIGCONT lets it go on."""
    while copied(drive) < size:
        assert run.poll() is None, f"ended too early: {run.communicate()}"
        time.sleep(0.001)
    run.send_signal(signal.SIGSTOP)


def copied(drive: Path) -> int:
    total = 0
    for left in leftovers(drive / "box"):
        for here, _, files in os.walk(drive / "box" / left):
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(here, name)).st_size
    return total


# --- Kinds of drives ------


@pytest.mark.parametrize("kind", POSIX_KINDS)
def test_a_drive_that_can_hold_everything_does(mounted: Mounting, reachable: Path, source: Path, kind: str) -> None:
    drive = mounted(kind, "400M" if kind in ("xfs", "btrfs") else "64M").path
    rng = random.Random(8)
    remove_tree(source)
    random_tree(rng, source, 40)
    copies = {}
    for _ in range(3):
        copies[back_up(source, drive)] = twin(source)
        random_edit(rng, source)
    whole(drive, copies)
    for date, tree in copies.items():
        comes_back(tree, drive, date, reachable / "back")


def test_a_drive_on_the_disk_of_its_source_is_not_called_safe_to_unplug(mounted: Mounting, source: Path) -> None:
    other, same = mounted("ext4", "64M").path, source.with_name("same disk")
    same.mkdir()
    for drive, last in ((other, "safe to unplug"), (same, "on the same disk as what was copied")):
        outcome = ask("backup", "--init", source, drive)
        assert (outcome.code, last in outcome.out.splitlines()[-1]) == (0, True), outcome
        facts = json.loads(ask("backup", "--json", source, drive).out)
        assert (facts["safe_to_unplug"], facts["same_disk"]) == (drive == other, drive == same)


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_the_awkward_tree_fits_on_other_file_systems_too(mounted: Mounting, reachable: Path, kind: str) -> None:
    drive, source = mounted(kind, "400M").path, reachable / "source"
    awkward_tree(source)
    try:
        tree = without(twin(source), "socket")
        date = back_up(source, drive)
        refused = ["symbolic_links/long: missing (link)"] if kind == "xfs" else []  # its targets end at 1024 bytes
        assert differences(twin(drive / "box" / date / "source"), tree) == refused
        comes_back(tree, drive, date, reachable / "back")
    finally:
        remove_tree(source)
        remove_tree(reachable / "back")
        remove_tree(drive / "box")


def plain_tree_with_all_a_stick_cannot_hold(source: Path) -> None:
    (source / "private").mkdir(mode=0o700)
    (source / "private" / "script").write_bytes(b"#!/bin/sh\n")
    (source / "private" / "script").chmod(0o4755)
    os.link(source / "private" / "script", source / "hard link")
    (source / "link").symlink_to("private/script")
    os.mkfifo(source / "fifo")
    os.setxattr(source / "hard link", "user.note", b"x")
    (source / "old").write_bytes(b"x")
    (source / "empty folder").mkdir()
    for name, when in (("old", -5), ("link", 4_500_000_001), ("private", 1_600_000_000_123_456_789)):
        os.utime(source / name, ns=(when, when), follow_symlinks=False)
    with open(source / "sparse", "wb") as file:
        file.truncate(5 * MIB)


@pytest.mark.needs("root")
def test_nothing_is_lost_on_a_stick_that_can_hold_next_to_nothing(mounted: Mounting, reachable: Path, source: Path) -> None:
    drive = mounted("exfat", "128M").path
    plain_tree_with_all_a_stick_cannot_hold(source)
    copies = {back_up(source, drive): twin(source)}
    (source / "old").write_bytes(b"new")
    copies[back_up(source, drive)] = twin(source)
    for date, tree in copies.items():
        assert stock_check(drive / "box" / date) == []
        comes_back(tree, drive, date, reachable / "back")
    assert ask("verify", "--drive", drive).code == 0


HOSTILE_TO_STICKS = [
    b"colon: question? star* quote\" less< more> pipe|", b"new\nline", b"\x01", b"back\\slash", b"trailing dot.",
    b"trailing blank ", b"caf\xe9", b"\xed\xa0\x80", b"Case", b"case", b"CON", b"nul.txt", "\u00e9".encode() * 127,
    "\U0001f600".encode() * 63, b"%41", b"=41",
]  # fmt: skip


@pytest.mark.parametrize("make", ["file", "folder"])
def test_names_that_a_stick_cannot_hold_come_back_or_are_named_as_missing(
    mounted: Mounting, reachable: Path, source: Path, make: str
) -> None:
    drive = mounted("exfat", "64M").path
    for name in HOSTILE_TO_STICKS:
        path = source / os.fsdecode(name)
        if make == "folder":
            path.mkdir()
            path = path / "inside"
        path.write_bytes(b"named " + name)
    tree = twin(source)
    outcomes = [ask("backup", "--init", "--set", "box", source, drive) for _ in range(2)]
    for date, outcome in zip(dates(drive / "box"), outcomes):
        missing = skipped_in(drive / "box" / date / "SHA256SUMS")
        assert outcome.code == (3 if missing else 0), outcome
        assert stock_check(drive / "box" / date) == []
        assert ask("restore", date, "--drive", drive, "--to", reachable / "back").code == outcome.code
        should = {path: entry for path, entry in tree.items() if not within(b"source/" + path, missing)}
        assert differences(twin(reachable / "back" / "source"), should) == []
        remove_tree(reachable / "back")
    assert len(dates(drive / "box")) == len(outcomes)
    assert ask("verify", "--drive", drive).code == 0


def within(path: bytes, places: Set[bytes]) -> bool:
    return any((path + b"/").startswith(place + b"/") for place in places)


@pytest.mark.needs("root")
def test_as_many_attributes_as_a_disk_can_hold_come_back(mounted: Mounting, reachable: Path, source: Path) -> None:
    """The line of such a file has millions of characters; it must be one that is read again."""
    disk = mounted("xfs", "300M").path
    (disk / "source").mkdir()
    (disk / "source" / "heavy").write_bytes(b"light")
    for nth in range(60):
        os.setxattr(disk / "source" / "heavy", f"user.{nth}", text_of(nth, 65536))
    drive = disk / "drive"
    drive.mkdir()
    copies = {back_up(disk / "source", drive): twin(disk / "source") for _ in range(2)}
    whole(drive, copies)
    comes_back(twin(disk / "source"), drive, dates(drive / "box")[-1], disk / "back")


# --- A drive that is met a second time ------


@pytest.fixture
def bound(source: Path) -> Iterator[Callable[[Path, Path], None]]:
    """Return a function that lets a folder be met a second time, at another place in the source."""
    with contextlib.ExitStack() as stack:

        def bind(folder: Path, place: Path) -> None:
            place.mkdir()
            subprocess.run(["mount", "--bind", folder, place], check=True)
            stack.callback(subprocess.run, ["umount", "-l", place], check=True)

        yield bind


@pytest.mark.needs("mount")
@pytest.mark.parametrize("what", ["drive", "set"])
def test_a_drive_or_set_that_is_mounted_a_second_time_inside_a_source_is_not_copied_into_itself(
    bound: Callable[[Path, Path], None], reachable: Path, source: Path, what: str
) -> None:
    drive = reachable / "drive"
    drive.mkdir()
    tree = twin(source)
    copies = {back_up(source, drive): tree}
    bound(drive if what == "drive" else drive / "box", source / "again")
    would = ask("backup", "-n", "--set", "box", source, drive)
    assert (would.code, "again/" in would.out) == (0, False), would
    for _ in range(2):
        copy = drive / "box" / back_up(source, drive) / "source"
        found = differences(twin(copy), tree, ignoring=["mtime_ns"])
        assert [line for line in found if not line.startswith("again: ")] == []
    assert differences(twin(drive / "box" / min(copies) / "source"), tree) == []


# --- Full ------


@pytest.mark.parametrize("earlier", [0, 30])
def test_a_run_that_cannot_fit_is_refused_before_anything_is_copied(mounted: Mounting, source: Path, earlier: int) -> None:
    """Whether there is room must be known however much or little the copy before says about this one."""
    drive = mounted("ext4", "64M").path
    grow(source, earlier, MIB)
    copies = {back_up(source, drive): twin(source)}
    grow(source, 100, MIB + 1)
    before = twin(drive)
    one_sentence(ask("backup", "--set", "box", source, drive), drive.name, "does not fit")
    lately = [line for line in differences(twin(drive), before, ignoring=["mtime_ns"]) if "history.jsonl" not in line]
    assert lately == []
    whole(drive, copies)
    remove_tree(source / f"of {MIB + 1}")
    grow(source, 3, MIB - 1)
    copies[back_up(source, drive)] = twin(source)
    whole(drive, copies)


def test_what_an_interrupted_run_left_takes_no_room_from_the_next(mounted: Mounting, cli: Cli, source: Path) -> None:
    """There is room for the source once, not twice."""
    drive = mounted("ext4", "64M").path
    grow(source, 40, MIB)
    run = cli.start("backup", "--init", "--set", "box", source, drive)
    in_the_middle(run, drive, 32 * MIB)
    run.kill()
    cli.ended(run)
    whole(drive, {back_up(source, drive): twin(source)})
    assert leftovers(drive / "box") == []


def test_a_drive_that_another_program_fills_in_the_middle(mounted: Mounting, cli: Cli, source: Path) -> None:
    disk = mounted("ext4", "256M")
    copies = {back_up(source, disk.path): twin(source)}
    grow(source, 150, MIB)
    run = cli.start("backup", "--set", "box", source, disk.path)
    in_the_middle(run, disk.path, 5 * MIB)
    filler = disk.fill(leave=3 * MIB)
    run.send_signal(signal.SIGCONT)
    one_sentence(cli.ended(run), disk.path.name, "full")
    filler.unlink()
    whole(disk.path, copies)
    copies[back_up(source, disk.path)] = twin(source)
    whole(disk.path, copies)
    assert leftovers(disk.path / "box") == []


def test_a_drive_on_which_no_more_files_can_be_made(mounted: Mounting, source: Path) -> None:
    """Ext4 has a fixed number of inodes: here they are used up while most of the bytes are free."""
    drive = mounted("ext4", "16M").path
    copies = {back_up(source, drive): twin(source)}
    grow(source, 5000, 1)
    one_sentence(ask("backup", "--set", "box", source, drive), drive.name, "full")
    whole(drive, copies)
    remove_tree(source / "of 1")
    copies[back_up(source, drive)] = twin(source)
    whole(drive, copies)
    assert leftovers(drive / "box") == []


# --- Read-only ------


@pytest.mark.parametrize("kind", ["ext4", "exfat"])
def test_a_read_only_drive_can_be_read_and_nothing_else(mounted: Mounting, reachable: Path, source: Path, kind: str) -> None:
    disk = mounted(kind, "64M")
    date = back_up(source, disk.path)
    disk.read_only()
    before = twin(disk.path)
    one_sentence(ask("backup", "--set", "box", source, disk.path), disk.path.name, "read-only")
    listed = ask("list", "--drive", disk.path)
    assert (listed.code, date in listed.out) == (0, True), listed
    assert ask("verify", "--drive", disk.path).code == 0
    assert ask("verify", date, "--quick", "--drive", disk.path).code == 0
    comes_back(twin(source), disk.path, date, reachable / "back")
    assert differences(twin(disk.path), before) == []


def test_a_read_only_drive_is_not_made_a_drive_again(mounted: Mounting) -> None:
    disk = mounted("ext4", "64M")
    assert ask("init", disk.path).code == 0
    disk.read_only()
    before = twin(disk.path)
    outcome = ask("init", disk.path)
    assert outcome.code == 0, outcome  # a marker that exists is said, nothing changes
    assert differences(twin(disk.path), before) == []


def test_a_read_only_drive_that_is_none_yet(mounted: Mounting, source: Path) -> None:
    disk = mounted("ext4", "64M")
    disk.read_only()
    for command in (["init", disk.path], ["backup", "--init", source, disk.path]):
        outcome = ask(*command)
        assert (outcome.code, outcome.err.count("\n")) == (1, 1), outcome
        assert "read-only" in outcome.err.lower()


def test_copies_can_be_read_when_the_marker_is_gone(mounted: Mounting, reachable: Path, source: Path) -> None:
    disk = mounted("ext4", "64M")
    date = back_up(source, disk.path)
    (disk.path / "snapback-marker.txt").unlink()
    disk.read_only()
    assert ask("list", "--drive", disk.path).code == 0
    assert ask("verify", "--drive", disk.path).code == 0
    comes_back(twin(source), disk.path, date, reachable / "back")


# --- Pulled out ------


@pytest.mark.parametrize("kind", ["ext4", "exfat"])
def test_a_drive_pulled_out_in_the_middle(mounted: Mounting, cli: Cli, source: Path, kind: str) -> None:
    disk = mounted(kind, "256M")
    copies = [back_up(source, disk.path)]
    grow(source, 150, MIB)
    run = cli.start("backup", "--set", "box", source, disk.path)
    in_the_middle(run, disk.path, 5 * MIB)
    disk.unplug()
    run.send_signal(signal.SIGCONT)
    one_sentence(cli.ended(run), disk.path.name)
    if kind == "ext4":
        assert os.listdir(disk.path) == []  # it was this machine's own disk by then
    disk.remount()
    assert dates(disk.path / "box") == copies
    assert stock_check(disk.path / "box" / copies[0]) == []
    assert ask("verify", "--drive", disk.path).code == 0
    copies.append(back_up(source, disk.path))
    assert dates(disk.path / "box") == copies
    assert stock_check(disk.path / "box" / copies[1]) == []
    assert leftovers(disk.path / "box") == []


def test_an_empty_mount_point_is_no_drive(mounted: Mounting, source: Path, reachable: Path) -> None:
    disk = mounted("ext4", "64M")
    back_up(source, disk.path)
    disk.unplug()
    outcome = ask("backup", "--set", "box", source, disk.path)
    assert (outcome.code, outcome.err.count("\n")) == (75, 1), outcome
    for reading in (["verify"], ["restore", "latest", "--to", str(reachable / "back")]):
        outcome = ask(*reading, "--drive", disk.path)
        assert outcome.code != 0, outcome
    assert os.listdir(disk.path) == []
    assert not (reachable / "back").exists()


def test_a_stick_pulled_out_while_it_is_read(mounted: Mounting, cli: Cli, source: Path, reachable: Path) -> None:
    """What came back before is whole; what is missing is said, not passed over."""
    disk = mounted("exfat", "256M")
    grow(source, 150, MIB)
    date = back_up(source, disk.path)
    disk.remount()  # so that nothing is in memory
    run = cli.start("restore", date, "--drive", disk.path, "--to", reachable / "back")
    while not (reachable / "back" / "source").exists():
        assert run.poll() is None, f"ended too early: {run.communicate()}"
        time.sleep(0.001)
    run.send_signal(signal.SIGSTOP)
    disk.unplug()
    run.send_signal(signal.SIGCONT)
    ended = cli.ended(run)
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended
    here, should = twin(reachable / "back" / "source"), twin(source)
    wrong = {path for path in here if here[path].kind == "file" and here[path].content != should[path].content}
    assert wrong == set()


def test_a_source_pulled_out_in_the_middle_makes_no_dated_copy(mounted: Mounting, cli: Cli, reachable: Path) -> None:
    """Files that are not there because the disk is gone have not been deleted."""
    disk, drive = mounted("exfat", "256M"), reachable / "drive"
    source = disk.path / "source"
    source.mkdir()
    drive.mkdir()
    grow(source, 10, 1000)
    copies = [back_up(source, drive)]
    grow(source, 150, MIB)
    run = cli.start("backup", "--set", "box", source, drive)
    in_the_middle(run, drive, 5 * MIB)
    disk.unplug()
    run.send_signal(signal.SIGCONT)
    ended = cli.ended(run)
    assert (ended.code, ended.err.count("\n")) == (1, 1), ended
    assert f"the source {source}" in ended.err
    assert dates(drive / "box") == copies
    assert stock_check(drive / "box" / copies[0]) == []
    disk.remount()
    copies.append(back_up(source, drive))
    assert stock_check(drive / "box" / copies[1]) == []
    remove_tree(drive)


# --- Dying ------


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "exfat"])
def test_a_device_that_fails_in_the_middle(mounted: Mounting, cli: Cli, source: Path, kind: str) -> None:
    """Programs notice only when they insist on their bytes being written: until then the system takes them gladly."""
    below = mounted("ext4", "800M")
    disk = mounted(kind, "400M", image_in=below.path)
    copies = [back_up(source, disk.path)]
    os.sync()
    grow(source, 100, MIB)
    run = cli.start("backup", "--set", "box", source, disk.path)
    in_the_middle(run, disk.path, 5 * MIB)
    below.shut_down()
    run.send_signal(signal.SIGCONT)
    one_sentence(cli.ended(run), disk.path.name)
    with contextlib.suppress(OSError):  # a dead disk can often not be listed either
        assert dates(disk.path / "box") in (copies, [])


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_file_system_that_gives_up_loses_no_earlier_copy(mounted: Mounting, cli: Cli, source: Path, kind: str) -> None:
    disk = mounted(kind, "400M")
    copies = {back_up(source, disk.path): twin(source)}
    os.sync()
    grow(source, 100, MIB)
    run = cli.start("backup", "--set", "box", source, disk.path)
    in_the_middle(run, disk.path, 5 * MIB)
    disk.shut_down()
    run.send_signal(signal.SIGCONT)
    one_sentence(cli.ended(run), disk.path.name)
    disk.remount()
    whole(disk.path, copies)
    copies[back_up(source, disk.path)] = twin(source)
    whole(disk.path, copies)
    assert leftovers(disk.path / "box") == []


def test_a_copy_that_was_announced_survives_the_loss_of_all_that_was_not_flushed(mounted: Mounting, source: Path) -> None:
    """The file system drops its journal's tail, as at a power cut the moment after the run has ended."""
    for kind in ("ext4", "xfs"):
        disk = mounted(kind, "400M")
        copies = {}
        for nth in (1, 2):
            grow(source, 20 * nth, 50_000)
            copies[back_up(source, disk.path)] = twin(source)
        disk.shut_down()
        disk.remount()
        whole(disk.path, copies)


# --- One at a time ------


Held = Tuple[Path, "subprocess.Popen[str]"]
Running = Callable[[str], Held]


@pytest.fixture
def running(mounted: Mounting, cli: Cli, source: Path) -> Running:
    """Return a function that gives a drive and a run that is held in its middle."""

    def run(kind: str) -> Held:
        drive = mounted(kind, "256M").path
        back_up(source, drive)
        grow(source, 100, MIB)
        process = cli.start("backup", "--set", "box", source, drive)
        in_the_middle(process, drive, 5 * MIB)
        return drive, process

    return run


@pytest.mark.parametrize("kind", ["ext4", "exfat"])
def test_a_second_run_is_turned_away_at_once_and_does_no_harm(running: Running, cli: Cli, source: Path, kind: str) -> None:
    drive, first = running(kind)
    start = time.monotonic()
    second = cli("backup", "--set", "box", source, drive)
    assert (second.code, second.err.count("\n")) == (11, 1), second
    assert time.monotonic() - start < 15  # the first run does not go on before
    assert ask("list", "--drive", drive).code == 0
    assert ask("verify", "--drive", drive).code == 0
    first.send_signal(signal.SIGCONT)
    assert cli.ended(first).code == 0
    made = dates(drive / "box")
    assert len(made) == 2
    assert [stock_check(drive / "box" / date) for date in made] == [[], []]


def test_another_set_on_the_same_drive_is_not_turned_away(running: Running, cli: Cli, source: Path) -> None:
    drive, first = running("ext4")
    outcome = ask("backup", "--set", "other", source / "of 1000", drive)
    assert outcome.code == 0, outcome
    first.send_signal(signal.SIGCONT)
    assert cli.ended(first).code == 0


@pytest.mark.parametrize("kind", ["ext4", "exfat"])
def test_a_dead_run_locks_nobody_out(running: Running, cli: Cli, source: Path, kind: str) -> None:
    drive, first = running(kind)
    first.kill()
    cli.ended(first)
    give_up = time.monotonic() + 60
    while ask("backup", "--set", "box", source, drive).code == 11:  # its own processes die with it, but a moment later
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert leftovers(drive / "box") == []
    assert len(dates(drive / "box")) == 2


def test_two_runs_started_together_make_one_copy_or_two_but_never_half_a_one(
    mounted: Mounting, cli: Cli, source: Path
) -> None:
    drive = mounted("ext4", "256M").path
    back_up(source, drive)
    grow(source, 30, 100_000)
    runs = [cli.start("backup", "--no-rotate", "--set", "box", source, drive) for _ in range(4)]
    codes = sorted(cli.ended(run).code for run in runs)
    assert set(codes) <= {0, 11}
    assert 0 in codes
    made = dates(drive / "box")
    assert len(made) == 1 + codes.count(0)
    whole(drive, {made[0]: twin(drive / "box" / made[0] / "source"), **{date: twin(source) for date in made[1:]}})


# --- Flushing beside the work ------


def test_a_write_that_failed_while_the_copy_went_on_fails_the_run(tmp_path: Path) -> None:
    """The system tells of a failed write once; the flush at the end hears nothing of it."""
    answers = iter([OSError(errno.EIO, "it failed")])

    def flush() -> None:
        for err in answers:
            raise err

    flushing = snapback.Flushing(flush)
    flushing.go_on(flushing.EACH - 1)
    assert flushing.thread is None
    flushing.go_on(flushing.EACH)
    with pytest.raises(OSError, match="it failed"):
        flushing.finish()
    flushing.error = None
    flushing.finish()


def test_a_large_copy_is_flushed_beside_the_work_and_fails_when_that_fails(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    for number in range(600):
        (source / f"{number % 20}").mkdir(parents=True, exist_ok=True)
        (source / f"{number % 20}" / f"{number}").write_bytes(bytes([number % 251]) * 40_000)
    monkeypatch.setattr(snapback.Flushing, "EACH", 100_000)
    flushes: List[str] = []

    def first_fails(call: Call) -> None:
        if call.name == "syncfs":
            flushes.append(call.path)
            if len(flushes) == 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert ask("init", drive).code == 0
    with watched(first_fails):
        outcome = ask("backup", "--set", "box", "--jobs", "2", source, drive)
    assert (outcome.code, dates(drive / "box")) == (1, []), outcome
    with watched(lambda call: flushes.append(call.path) if call.name == "syncfs" else None):
        assert ask("backup", "--set", "box", "--jobs", "2", source, drive).code == 0
    assert len(flushes) > 2
