"""Moved and renamed files cost no room, and one stored file never serves two names of a copy."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

import snapback
from conftest import COARSE
from trees import Outcome, ask, dates, differences, later, remove_tree, stock_check, text_of, twin

pytestmark = pytest.mark.needs("linux")
LONG_AGO = 1_600_000_000
VERY_MANY = 300 if COARSE else 10_000  # files in a folder that is moved
MIB = 1 << 20


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


class World:
    """A source, a drive, and time that passes from run to run."""

    def __init__(self, folder: Path) -> None:
        self.source, self.drive, self.runs = folder / "source", folder / "drive", 0
        self.source.mkdir()
        self.drive.mkdir()

    def write(self, path: str, content: bytes, time: int = 0) -> Path:
        """Write a file that is old; its time tells it from others unless `time` says otherwise."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        when = time or LONG_AGO + len(content) + sum(map(ord, path))
        os.utime(file, (when, when))
        return file

    def back_up(self, *more: str) -> Dict[str, Any]:
        """Make a dated copy ten seconds after the last; assert that it is what the source is, and give its numbers."""
        self.runs += 10
        with later(self.runs):
            outcome = ask("backup", "--init", "--json", "--no-rotate", "--set", "box", *more, self.source, self.drive)
        assert outcome.code == 0, outcome
        newest = self.drive / "box" / dates(self.drive / "box")[-1]
        assert differences(twin(newest / "source"), twin(self.source)) == []
        assert stock_check(newest) == []
        facts: Dict[str, Any] = json.loads(outcome.out)
        return facts

    def verify(self) -> Outcome:
        return ask("verify", "--drive", self.drive)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


MOVES = [("a", "z", VERY_MANY), ("z", "a", VERY_MANY), ("a", "deep/down/b", 300), ("deep/down/a", "b", 300)]


@pytest.mark.parametrize(("old", "new", "files"), MOVES)
def test_a_moved_folder_costs_no_stored_bytes_in_either_direction_of_name_order(world: World, old: str, new: str, files: int) -> None:
    for number in range(files):
        world.write(f"{old}/{number % 7}/{number}", b"file %d" % number)
    world.write("stays", b"x")
    assert world.back_up()["data_added"] > 0
    (world.source / new).parent.mkdir(parents=True, exist_ok=True)
    (world.source / old).rename(world.source / new)
    assert world.back_up()["data_added"] == 0
    assert world.verify().code == 0


def swap(source: Path) -> None:
    os.rename(source / "one", source / "passing")
    os.rename(source / "two", source / "one")
    os.rename(source / "passing", source / "two")


def chain(source: Path) -> None:
    os.rename(source / "log.1", source / "log.2")
    os.rename(source / "log", source / "log.1")


def copy_over_and_remove(source: Path) -> None:
    """What mv does between two disks: other inode, same bytes, same times."""
    shutil.copy2(source / "film", source / "moved film")
    (source / "film").unlink()


COST_NOTHING: Dict[str, Callable[[Path], object]] = {
    "a swapped pair of names": swap,
    "a chain of renames": chain,
    "a large file that came by another disk": copy_over_and_remove,
    "only the case": lambda source: os.rename(source / "film", source / "FILM"),
    "into the place of a deleted one": lambda source: os.replace(source / "one", source / "two"),
}


@pytest.mark.parametrize("edit", COST_NOTHING)
def test_what_was_only_renamed_is_not_stored_again(world: World, edit: str) -> None:
    for name, content in (("one", b"1"), ("two", b"22"), ("log", b"333"), ("log.1", b"4444"), ("film", text_of(1, 2 * MIB))):
        world.write(name, content)
    world.back_up()
    COST_NOTHING[edit](world.source)
    assert world.back_up()["data_added"] == 0
    assert world.back_up()["data_added"] == 0
    assert world.verify().code == 0


def test_a_copy_beside_the_original_is_stored_on_its_own(world: World) -> None:
    """Editing one of them on the drive must not change the other."""
    world.write("film", text_of(1, 2 * MIB))
    world.write("letter", b"dear")
    world.back_up()
    for name in ("film", "letter"):
        shutil.copy2(world.source / name, world.source / f"copy of {name}")
    assert world.back_up()["data_added"] == 2 * MIB + 4
    newest = world.drive / "box" / dates(world.drive / "box")[-1] / "source"
    assert os.stat(newest / "film").st_ino != os.stat(newest / "copy of film").st_ino


def test_two_copies_of_a_film_whose_name_is_gone_do_not_share_what_is_stored(world: World) -> None:
    world.write("film", text_of(1, 2 * MIB))
    world.back_up()
    for name in ("a", "b"):
        shutil.copy2(world.source / "film", world.source / name)
    (world.source / "film").unlink()
    assert world.back_up()["data_added"] == 2 * MIB
    newest = world.drive / "box" / dates(world.drive / "box")[-1] / "source"
    assert os.stat(newest / "a").st_ino != os.stat(newest / "b").st_ino


def copy_aside_and_back(source: Path) -> None:
    (source / "film").rename(source / "film.bak")
    shutil.copyfile(source / "film.bak", source / "film")


def copy_and_touch(source: Path) -> None:
    shutil.copy2(source / "film", source / "copy")
    os.utime(source / "film")


def move_linked_files_as_copies(source: Path) -> None:
    """What rsync makes of hard links without -H."""
    (source / "new").mkdir()
    for name in ("a", "b"):
        shutil.copy2(source / name, source / "new" / name)
        (source / name).unlink()


def part_link_and_rename(source: Path) -> None:
    """What is stored of a and b goes to b, which is another file with two names now."""
    shutil.copy2(source / "b", source / "passing")
    os.replace(source / "passing", source / "b")
    os.link(source / "b", source / "d")
    (source / "a").rename(source / "c")


@pytest.mark.parametrize("edit", [copy_aside_and_back, copy_and_touch, move_linked_files_as_copies, part_link_and_rename])
def test_one_stored_file_never_serves_two_names(world: World, edit: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files are linked although their time is another, so a name whose time alone changed may still need what is stored."""
    monkeypatch.setattr(snapback, "LARGE_FILE", MIB)
    world.write("film", text_of(1, 2 * MIB))
    world.write("a", text_of(2, 2 * MIB))
    os.link(world.source / "a", world.source / "b")
    world.back_up()
    edit(world.source)
    world.runs += 10
    with later(world.runs):
        assert ask("backup", "--no-rotate", "--set", "box", world.source, world.drive).code == 0
    newest = world.drive / "box" / dates(world.drive / "box")[-1] / "source"
    stored: Dict[int, int] = {}
    for path in sorted(newest.rglob("*")):
        if path.is_file():
            original = (world.source / path.relative_to(newest)).stat().st_ino
            assert stored.setdefault(path.stat().st_ino, original) == original, path


def test_good_bytes_are_not_given_up_for_bad_ones_that_are_stored(world: World) -> None:
    film = world.write("film", text_of(1, 2 * MIB))
    world.back_up()
    stored = world.drive / "box" / dates(world.drive / "box")[0] / "source" / "film"
    seen = stored.stat()
    stored.write_bytes(b"rot" + stored.read_bytes()[3:])
    os.utime(stored, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    shutil.copy2(film, world.source / "moved")
    film.unlink()
    assert world.back_up()["data_added"] == 2 * MIB


@pytest.mark.parametrize("large", [snapback.LARGE_FILE, 4])
def test_an_inode_that_another_file_has_now_proves_nothing(world: World, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same size, same time, same inode number, other bytes: the hash decides, of a large file too."""
    monkeypatch.setattr(snapback, "LARGE_FILE", large)
    path = world.write("old", b"before")
    world.back_up()
    seen = path.stat()
    path.rename(world.source / "new")
    (world.source / "new").write_bytes(b"after!")
    os.utime(world.source / "new", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert world.back_up()["data_added"] == 6


def test_a_stored_file_that_is_known_to_be_bad_gets_no_further_name(world: World) -> None:
    world.write("old", b"good")
    world.back_up()
    stored = world.drive / "box" / dates(world.drive / "box")[0] / "source" / "old"
    seen = stored.stat()
    stored.write_bytes(b"evil")
    os.utime(stored, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert world.verify().code == 4
    (world.source / "old").rename(world.source / "new")
    assert world.back_up()["data_added"] == 4
    with later(world.runs + 5):
        assert ask("verify", "latest", "--drive", world.drive).code == 0


def test_a_moved_file_with_another_mode_is_stored_anew_so_that_the_plain_copy_tells_the_truth(world: World) -> None:
    world.write("old", b"good")
    world.back_up()
    (world.source / "old").rename(world.source / "new")
    (world.source / "new").chmod(0o600)
    assert world.back_up()["data_added"] == 4


def test_looking_up_takes_at_most_16_bytes_a_file(world: World) -> None:
    for number in range(500):
        world.write(f"{number}", b"x" * (MIB if number < 5 else number))
    world.back_up()
    (date,) = dates(world.drive / "box")
    with snapback.load_manifest(snapback.Folder.top(str(world.drive / "box")), date) as manifest:
        index = snapback.Index(manifest)
        assert (len(index.moved), len(index.large)) == (500, 5)
        assert index.moved.itemsize + index.large.itemsize == 16
        found = list(index.by_stat((world.source / "77").stat()))
        assert [snapback.original_path(known) for _, known in found] == ["source/77"]
    remove_tree(world.drive)


@pytest.mark.parametrize("edit", ["renamed", "linked again"])
def test_each_of_very_many_names_of_one_file_is_looked_at_once(
    world: World, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.write("old/0", b"x")
    for number in range(1, 300):
        os.link(first, world.source / "old" / str(number))
    world.back_up()
    if edit == "renamed":
        (world.source / "old").rename(world.source / "new")
    else:
        (world.source / "new").mkdir()
        for number in range(300):
            os.link(first, world.source / "new" / str(number))
    looks = []
    known_at = snapback.Manifest.known_at
    monkeypatch.setattr(snapback.Manifest, "known_at", lambda self, offset: looks.append(offset) or known_at(self, offset))
    world.back_up()
    assert 300 <= len(looks) <= 650  # by the look ahead, too
