"""Random trees with random edits between runs: every dated copy is what the source was, on the drive and restored.

HISTORIES says how many (200; `make check` has 20 on an older Python), SEED where they begin (1). A failure names its seed
and tells what was done to the tree.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import threading
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple
from unittest import mock

import pytest

import snapback
from conftest import User
from trees import (
    Twin,
    ask,
    dates,
    differences,
    joined,
    later,
    random_edit,
    random_tree,
    remove_tree,
    stock_check,
    twin,
    without,
)

pytestmark = pytest.mark.needs("linux")

HISTORIES = int(os.environ.get("HISTORIES", "200"))
FIRST_SEED = int(os.environ.get("SEED", "1"))
CHUNK = 10  # histories in one test, so that tests can be shared among workers
REST = 10  # seconds; files younger than three seconds are read again whatever their times say

Inodes = Dict[bytes, Tuple[int, int]]  # of files that are no hard links: path -> inode, ctime


@contextlib.contextmanager
def help_from(others: str) -> Iterator[None]:
    """Work alone, as so little work is done, or have others take part in each piece of it."""
    patches = {"threads": {"CAN_FORK": False}}.get(others, {})
    with contextlib.ExitStack() as stack:
        for name, value in patches.items():
            stack.enter_context(mock.patch.object(snapback, name, value))
        if others != "nobody":
            stack.enter_context(mock.patch.object(snapback.Workers, "PARCEL", 1))
        yield


OTHERS = [*["nobody"] * 6, "threads", "processes"]  # to start others for so little costs more than all that they do


class Moment(NamedTuple):
    """The source when a dated copy was made."""

    tree: Twin
    inodes: Inodes


class History:
    """One source, one drive, and what the source was at each date."""

    def __init__(self, seed: int, folder: Path) -> None:
        print(f"SEED={seed} HISTORIES=1")  # shown when anything fails, be it no assertion
        self.rng = random.Random(seed)
        self.story = [f"seed {seed}"]
        self.source, self.drive = folder / f"source {seed}", folder / f"drive {seed}"
        self.moments: Dict[str, Moment] = {}
        self.drive.mkdir()
        random_tree(self.rng, self.source, 25)

    @property
    def set_folder(self) -> Path:
        return self.drive / "box"

    def edit(self, most: int) -> None:
        self.story += [random_edit(self.rng, self.source) for _ in range(self.rng.randint(0, most))]

    def back_up(self, after: int = 0) -> None:
        """Make a dated copy, so many seconds later than it is."""
        before = set(dates(self.set_folder))
        moment = Moment(without(twin(self.source), "socket"), inodes(self.source))
        jobs = ["--jobs", "1"] if self.rng.random() < 0.3 else []
        with help_from(self.rng.choice(OTHERS)), later(after):
            outcome = ask("backup", "--init", "--no-rotate", "--set", "box", *jobs, self.source, self.drive)
        # 5: the copy was made, and so much has changed that a person should look; random edits do that
        assert outcome.code in (0, 5), self.told(f"backup ended with {outcome.code}", outcome.err)
        (new,) = set(dates(self.set_folder)) - before
        self.moments[new] = moment
        self.story.append(f"-- {new}")

    def check(self, folder: Path) -> None:
        """Compare every date with the source of its moment: in place, by other people's tools, and restored."""
        assert dates(self.set_folder) == list(self.moments), self.told("other dates than the runs made")
        for date, moment in self.moments.items():
            copy = self.set_folder / date / self.source.name
            self.compare(f"the copy of {date}", copy, moment.tree)
            complaints = stock_check(self.set_folder / date)
            assert not complaints, self.told(f"sha256sum on {date}", *complaints)
            target = folder / "restored"
            with help_from(self.rng.choice(OTHERS)):
                outcome = ask("restore", date, "--drive", self.drive, "--set", "box", "--to", target)
            assert outcome.code == 0, self.told(f"restore {date} ended with {outcome.code}", outcome.err)
            assert os.listdir(target) == [self.source.name], self.told(f"{date} restored has other things")
            self.compare(f"{date} restored", target / self.source.name, moment.tree)
            remove_tree(target)
        self.check_links()
        outcome = ask("verify", "--drive", self.drive, "--set", "box")
        assert outcome.code == 0, self.told("verify found damage", outcome.out, outcome.err)

    def compare(self, what: str, tree: Path, should: Twin) -> None:
        found = differences(twin(tree), should)
        assert not found, self.told(what, *found)

    def check_links(self) -> None:
        """A file that nobody touched between two dates lies on the drive once."""
        made = list(self.moments)
        for names in zip(made, made[1:]):
            older, newer = names
            then, now = (self.moments[date].inodes for date in names)
            for path in then.keys() & now.keys():
                if then[path] == now[path] and self.moments[older].tree[path] == self.moments[newer].tree[path]:
                    one, other = (joined(os.fsencode(self.set_folder / date / self.source.name), path) for date in names)
                    assert os.path.samefile(one, other), self.told(f"{path!r} was stored again on {newer}")

    def told(self, *what: str) -> str:
        return "\n".join([*what, "", *self.story])

    def forget(self) -> None:
        for tree in (self.source, self.drive):
            remove_tree(tree)


def inodes(source: Path) -> Inodes:
    found: Inodes = {}
    for here, _, files in os.walk(os.fsencode(source)):
        for name in files:
            seen = os.lstat(os.path.join(here, name))
            if stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1:
                found[os.path.relpath(os.path.join(here, name), os.fsencode(source))] = (seen.st_ino, seen.st_ctime_ns)
    return found


def chunks(first: int, count: int, size: int) -> List[range]:
    """Share out seeds.

    >>> chunks(1, 5, 2)
    [range(1, 3), range(3, 5), range(5, 6)]
    """
    return [range(start, min(start + size, first + count)) for start in range(first, first + count, size)]


def live_through(seeds: range, folder: Path) -> None:
    """Edit and back up at once, each history by itself: every file is younger than three seconds."""
    for seed in seeds:
        history = History(seed, folder)
        for _ in range(history.rng.randint(3, 6)):
            history.edit(6)
            history.back_up()
        history.check(folder)
        history.forget()


def live_slowly(seeds: range, folder: Path) -> None:
    """Let files rest between runs, so that unchanged files are not read again."""
    for seed in seeds:
        history = History(seed, folder)
        for nth in range(1, 5):
            history.edit(4)
            history.back_up(after=nth * REST)
        history.check(folder)
        history.forget()


@contextlib.contextmanager
def edited_meanwhile(history: History) -> Iterator[None]:
    """Let somebody go on working in the source."""
    enough = threading.Event()
    edits: List[str] = []

    def work() -> None:
        while not enough.is_set():
            edits.append(random_edit(history.rng, history.source))

    somebody = threading.Thread(target=work)
    somebody.start()
    try:
        yield
    finally:
        enough.set()
        somebody.join()
        history.story.append(f"-- a run, and in the meantime {len(edits)} edits")


def live_on_while_copied(seeds: range, folder: Path) -> None:
    """Back up three times while the source changes, and once in peace."""
    for seed in seeds:
        history = History(seed, folder)
        for _ in range(3):
            with edited_meanwhile(history):
                outcome = ask("backup", "--init", "--no-rotate", "--set", "box", history.source, history.drive)
            assert outcome.code in (0, 3, 5), history.told(f"backup ended with {outcome.code}", outcome.err)
        restless = dates(history.set_folder)
        history.back_up()
        ((quiet, moment),) = history.moments.items()
        history.compare("the copy made in peace", history.set_folder / quiet / history.source.name, moment.tree)
        complaints = [line for date in [*restless, quiet] for line in stock_check(history.set_folder / date)]
        assert complaints == [], history.told("sha256sum")
        outcome = ask("verify", "--drive", history.drive)
        assert outcome.code == 0, history.told("verify found damage", outcome.out, outcome.err)
        history.forget()


SEEDS = chunks(FIRST_SEED, HISTORIES, CHUNK)
SOME_SEEDS = range(FIRST_SEED, FIRST_SEED + max(1, HISTORIES // 20))


@pytest.mark.needs("root", "sha256sum")
@pytest.mark.parametrize("seeds", SEEDS[::2], ids=str)
def test_each_dated_copy_is_what_the_source_was(in_memory: Path, seeds: range) -> None:
    live_through(seeds, in_memory)


@pytest.mark.needs("sha256sum")
@pytest.mark.parametrize("seeds", SEEDS[1::2], ids=str)
def test_each_dated_copy_is_what_an_ordinary_users_source_was(ordinary_user: User, seeds: range) -> None:
    with ordinary_user.acting():
        live_through(seeds, ordinary_user.home)


@pytest.mark.needs("sha256sum")
def test_each_dated_copy_is_what_the_source_was_when_files_had_rested(tmp_path: Path) -> None:
    live_slowly(SOME_SEEDS, tmp_path)


@pytest.mark.needs("sha256sum")
def test_a_source_that_changes_while_it_is_copied_spoils_no_copy(tmp_path: Path) -> None:
    live_on_while_copied(SOME_SEEDS, tmp_path)


@pytest.mark.needs("sha256sum")
def test_a_source_that_never_changes_is_stored_once(tmp_path: Path) -> None:
    history = History(FIRST_SEED, tmp_path)
    for _ in range(3):
        history.back_up()
    history.check(tmp_path)
    history.forget()
