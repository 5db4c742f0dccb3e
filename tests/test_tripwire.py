"""The tripwire: what looks like ransomware stops all deleting until a person decides, and ordinary life does not."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from conftest import COARSE, User
from faults import Call, watched
from snapback import Known, Losses, Toll, time_ns, time_text, trip
from trees import Outcome, ask, dates, later

pytestmark = pytest.mark.needs("linux")
DAY = 86400
REST = 31  # days after which a file has rested
LONG_AGO = time.time() - 400 * DAY


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


class World:
    """Documents and photos that have rested, a drive, and days that pass.

    No test can set a file's change time back, so it is the clock that goes ahead: what was made before it has rested since.
    """

    def __init__(self, folder: Path) -> None:
        self.home, self.drive, self.day = folder / "home", folder / "drive", 0.0
        self.drive.mkdir()
        for number in range(120):
            self.write(f"Documents/{number % 6}/letter {number}.txt", b"letter %d " % number * 20)
        for number in range(80):
            self.write(f"Pictures/{number % 4}/photo {number}.jpg", b"photo %d " % number * 200)

    def write(self, path: str, content: bytes, when: float = LONG_AGO) -> Path:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (when, when))
        return file

    def encrypt(self, file: Path, ending: str = "") -> None:
        """Put other bytes in a file's place, at the time that it is in this world."""
        size = file.stat().st_size
        file.write_bytes(random.Random(f"{file} {self.day}").randbytes(size) if hasattr(random.Random, "randbytes") else os.urandom(size))
        os.utime(file, (self.now, self.now))
        if ending:
            file.rename(file.with_name(file.name + ending))

    @property
    def now(self) -> float:
        return time.time() + self.day * DAY

    def files(self, below: str = "") -> List[Path]:
        return sorted(path for path in (self.home / below).rglob("*") if path.is_file())

    def sources(self) -> List[Path]:
        return sorted(path for path in self.home.iterdir())

    def back_up(self, *more: object, days: float = 1) -> Outcome:
        """Make a dated copy, some days after the last."""
        self.day += days
        with later(int(self.day * DAY)):
            return ask("backup", "--init", "--set", "box", *(more or ()), *self.sources(), self.drive)

    def ask(self, *words: object) -> Outcome:
        with later(int(self.day * DAY) + 60):
            return ask(*words, "--drive", self.drive, "--set", "box")

    def lost(self) -> int:
        """Give how many files the newest copy counts as lost."""
        *_, end = (self.drive / "box" / self.copies[-1] / "SHA256SUMS").read_text().splitlines()
        recent: Dict[str, Dict[str, List[int]]] = json.loads(end[len("# end "):])["recent"]
        return sum(Losses(*losses).lost for losses in recent[max(recent)].values())

    @property
    def copies(self) -> List[str]:
        return dates(self.drive / "box")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    assert made.back_up().code == 0
    made.day += REST
    return made


def hold_cure(world: World) -> List[str]:
    return ["if that was not you, it may be ransomware: unplug this drive, and read READ-ME-FIRST.txt on another computer",
            f"if it was you, run: snapback.py accept --drive {world.drive / 'box'}"]


def half_of(world: World) -> None:
    for file in world.files()[::2]:
        world.encrypt(file)


def only_photos(world: World) -> None:
    for file in world.files("Pictures"):
        world.encrypt(file)


ATTACKS: Dict[str, Callable[[World], object]] = {
    "everything encrypted in place": lambda world: [world.encrypt(file) for file in world.files()],
    "everything renamed with a new extension": lambda world: [world.encrypt(file, ".locked") for file in world.files()],
    "half of it": half_of,
    "only the photos, one source of two": only_photos,
    "all deleted but one folder": lambda world: [file.unlink() for file in world.files() if "/0/" not in str(file)],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_looks_like_ransomware_holds_the_set(world: World, attack: str) -> None:
    ATTACKS[attack](world)
    before = world.copies
    outcome = world.back_up("--keep-last", "1")
    assert (outcome.code, "ransomware" in outcome.err, outcome.err.count("ON HOLD")) == (5, True, 1), outcome
    assert set(before) < set(world.copies)
    assert "ON HOLD since" in (world.drive / "box" / "HOLD.txt").read_text()
    why, *cure, end = outcome.err.splitlines()
    assert (why.startswith(f"on hold since {world.copies[-1]}: "), why.endswith("; nothing old is deleted")) == (True, True)
    assert cure == hold_cure(world)
    assert end.startswith("ON HOLD - the dated copy was made")
    listed = world.ask("list")
    assert (listed.code, listed.err.splitlines()) == (3, [f"box: {line}" for line in (why, *cure)])
    rotated = world.ask("rotate")
    assert (rotated.code, rotated.err.splitlines()) == (5, [f"no old dated copy was deleted: {why.rpartition(';')[0]}", *cure])


def test_files_that_had_not_rested_count_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "young"
    folder.mkdir()
    world = World(folder)
    for file in world.files():
        os.utime(file, (world.now - DAY, world.now - DAY))
    assert world.back_up().code == 0
    for file in world.files():
        world.encrypt(file)
    outcome = world.back_up()
    assert (outcome.code, "untouched for" in outcome.err) == (5, False), outcome


def photos_beside_a_cache(world: World, small_files: int = 1500) -> None:
    """One source, in which the photos are few files and most of the bytes."""
    for number in range(60):
        world.write(f"Documents/photos/{number}.jpg", b"jpg %d " % number * 2000)
    cache = world.home / "Documents" / "cache"
    for folder in range(0, small_files, 500):
        os.makedirs(cache / str(folder))
        for name in range(min(500, small_files - folder)):
            file = os.open(f"{cache}/{folder}/{name}", os.O_WRONLY | os.O_CREAT)
            os.write(file, b"%d" % name)
            os.utime(file, (LONG_AGO, LONG_AGO))
            os.close(file)


def test_only_the_photos_beside_very_many_small_files_hold_the_set_by_their_bytes(world: World) -> None:
    photos_beside_a_cache(world, 1500 if COARSE else 100_000)
    assert world.back_up().code == 0
    world.day += REST
    for file in world.files("Documents/photos"):
        world.encrypt(file)
    outcome = world.back_up()
    assert (outcome.code, "files untouched for 30 days" in outcome.err) == (5, True), outcome


def test_a_tenth_a_day_holds_the_set_within_the_week_and_nothing_needed_is_gone(world: World) -> None:
    untouched = world.files()
    random.Random(1).shuffle(untouched)
    first = world.copies[0]
    for day in range(7):
        for file in untouched[20 * day:20 * day + 20]:
            world.encrypt(file)
        code = world.back_up("--keep-daily", "30").code
        if code == 5:
            break
    assert code == 5
    assert day in (4, 5)
    assert first in world.copies


LIFE: Dict[str, Callable[[World], object]] = {
    "a photo import that doubles the folder": lambda world: [
        world.write(f"Pictures/import/{number}.jpg", b"new %d" % number, world.now) for number in range(400)],
    "a folder renamed": lambda world: (world.home / "Documents").joinpath("0").rename(world.home / "Documents" / "zero"),
    "all folders renamed": lambda world: [
        (world.home / "Documents" / str(number)).rename(world.home / "Documents" / f"year {number}") for number in range(6)],
    "every time touched": lambda world: [os.utime(file) for file in world.files()],
    "every mode changed": lambda world: [file.chmod(0o640) for file in world.files()],
    "a few files deleted": lambda world: [file.unlink() for file in world.files()[:40]],
}


@pytest.mark.parametrize("edit", LIFE)
def test_ordinary_life_does_not_hold_the_set(world: World, edit: str) -> None:
    LIFE[edit](world)
    assert world.back_up().code == 0
    assert world.back_up().code == 0


def linked_pairs(world: World) -> Path:
    """Write a hundred files of two names each, far more than else there is; let them rest."""
    folder = world.home / "Documents" / "pairs"
    for number in range(100):
        os.link(world.write(f"Documents/pairs/{number}.one", b"pair " * (1000 + number)), folder / f"{number}.two")
    assert world.back_up().code == 0
    world.day += REST
    return folder


def rename_each(folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        file.rename(file.with_name(f"renamed {file.name}"))


def rename_one_of_each_pair(folder: Path) -> None:
    """The other name stays, its change time does not."""
    for file in sorted(folder.glob("*.one")):
        file.rename(folder.parent / f"moved {file.name}")


def swap_pairs(folder: Path) -> None:
    for number in range(0, 100, 2):
        for name in ("one", "two"):
            one, other = folder / f"{number}.{name}", folder / f"{number + 1}.{name}"
            one.rename(folder / "passing")
            other.rename(one)
            (folder / "passing").rename(other)


def part_and_rename(folder: Path) -> None:
    """The name that stays of each pair is a new one."""
    for file in sorted(folder.glob("*.one")):
        file.rename(file.with_name(f"renamed {file.name}"))
        file.with_suffix(".two").unlink()


def rename_and_link(folder: Path) -> None:
    """What had one name has two new ones."""
    for file in sorted((folder.parent.parent / "Pictures").rglob("*.jpg")):
        os.link(file, file.with_name(f"linked {file.name}"))
        file.rename(file.with_name(f"renamed {file.name}"))


PAIRS: Dict[str, Callable[[Path], object]] = {
    "their folder renamed, to come earlier": lambda folder: folder.rename(folder.with_name("0 pairs")),
    "their folder renamed, to come later": lambda folder: folder.rename(folder.with_name("zz")),
    "each renamed": rename_each,
    "one name of each moved to another folder": rename_one_of_each_pair,
    "swapped": swap_pairs,
    "single files renamed and linked": rename_and_link,
}


@pytest.mark.parametrize("edit", PAIRS)
@pytest.mark.parametrize("more", [[], ["--fresh"]], ids=["", "fresh"])
def test_hard_linked_files_that_were_renamed_are_not_lost(world: World, edit: str, more: List[str]) -> None:
    PAIRS[edit](linked_pairs(world))
    assert (world.back_up(*more).code, world.lost()) == (0, 0)
    assert (world.back_up().code, world.lost()) == (0, 0)


def test_of_a_pair_that_has_one_new_name_left_one_is_lost(world: World) -> None:
    part_and_rename(linked_pairs(world))
    assert (world.back_up().code, world.lost()) == (0, 100)


def test_hard_linked_files_that_were_encrypted_and_renamed_are_lost(world: World) -> None:
    """With their times put back, too: what is stored tells that they are others."""
    folder = linked_pairs(world)
    for file in sorted(folder.glob("*.one")):
        world.encrypt(file)
        os.utime(file, (LONG_AGO, LONG_AGO))
    rename_each(folder)
    assert world.back_up().code == 5


@pytest.mark.needs("root")
def test_a_change_of_owner_does_not_hold_the_set(world: World) -> None:
    for file in world.files():
        os.chown(file, 1234, 1234)
    assert world.back_up().code == 0


def test_a_source_or_exclude_changed_in_the_call_does_not_hold_the_set(world: World) -> None:
    assert world.back_up("--exclude", "*.txt").code == 0
    assert world.back_up("--exclude", "/0", "--exclude", "/1", "--exclude", "/2").code == 0
    shutil.rmtree(world.home / "Documents")  # no more among the sources of the call
    assert world.back_up().code == 0


def test_a_build_folder_that_is_rewritten_daily_does_not_hold_the_set(world: World) -> None:
    for day in range(10):
        for number in range(60):
            world.write(f"Documents/build/{number}.o", b"day %d object %d" % (day, number), world.now)
        assert world.back_up().code == 0, day


def test_a_container_that_is_written_hourly_with_its_time_put_back_has_not_rested(tmp_path: Path) -> None:
    """VeraCrypt does that, so that nobody sees from outside when it was used: one file, and many bytes, at every run."""
    world = World(tmp_path)
    shutil.rmtree(world.home)
    for hour in range(53):  # a week's losses are added up, and fifty trip
        world.write("Documents/container", os.urandom(100_000))
        assert world.back_up(days=1 / 24).code == 0, hour


def test_what_came_from_another_computer_has_rested_after_thirty_days_and_not_before(tmp_path: Path) -> None:
    world = World(tmp_path)
    photos_beside_a_cache(world)
    for days, code in ((1, 0), (REST, 5)):
        assert world.back_up(days=days).code == 0
        for file in world.files("Documents/photos"):
            world.encrypt(file)
        assert world.back_up().code == code, days


def test_a_hold_lasts_until_it_is_accepted(world: World) -> None:
    only_photos(world)
    assert world.back_up().code == 5
    held = world.back_up("--keep-last", "1")
    assert (held.code, len(world.copies)) == (5, 3)
    why = f"on hold since {world.copies[1]}, as much was lost at once (HOLD.txt there says what); nothing old is deleted"
    assert held.err.splitlines()[:-1] == [why, *hold_cure(world)], held
    rotated = world.ask("rotate", "--keep-last", "1")
    assert (rotated.code, len(world.copies), "on hold since" in rotated.err) == (5, 3, True), rotated
    assert world.ask("rotate", "-n", "--keep-last", "1").code == 5
    accepted = world.ask("accept")
    assert (accepted.code, (world.drive / "box" / "HOLD.txt").exists()) == (0, False), accepted
    assert world.ask("list").code == 0
    assert world.ask("accept").out == "box is not on hold; nothing was changed.\n"
    assert world.back_up("--keep-last", "1").code == 0
    assert len(world.copies) == 1
    history = [json.loads(line)["what"] for line in (world.drive / "box" / "history.jsonl").read_text().splitlines()]
    assert history[-3:] == ["accept", "backup", "rotate"]


def test_the_verdict_is_published_with_the_copy_so_that_a_crash_after_it_loses_nothing(world: World) -> None:
    only_photos(world)

    def dies(call: Call) -> None:
        if call.name == "replace" and call.path.endswith("latest"):
            raise KeyboardInterrupt

    with watched(dies):
        world.back_up("--keep-last", "1")
    assert len(world.copies) == 2
    assert not (world.drive / "box" / "HOLD.txt").exists()
    outcome = world.back_up("--keep-last", "1", "--hold-at", "off")  # this run judges nothing: the copy before it says so
    assert (outcome.code, len(world.copies)) == (5, 3)
    assert (world.drive / "box" / "HOLD.txt").exists()


@pytest.mark.parametrize("content", ["", "garbage", "-1", "9" * 40])
def test_an_accepted_number_that_makes_no_sense_accepts_nothing(world: World, content: str) -> None:
    only_photos(world)
    assert world.back_up().code == 5
    (world.drive / "box" / "accepted.txt").write_text(content)
    assert world.back_up().code == 5


def test_the_threshold_can_be_set_and_taken_off(world: World) -> None:
    for file in world.files()[:60]:
        world.encrypt(file)
    assert world.back_up("--hold-at", "off").code == 0
    for file in world.files()[-70:]:
        world.encrypt(file)
    assert world.back_up("--hold-at", "20").code == 5
    for wrong in ("0", "101", "half", "", "-5"):
        assert world.back_up(f"--hold-at={wrong}").code == 2


def test_few_files_trip_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "few"
    folder.mkdir()
    world = World(folder)
    shutil.rmtree(world.home)
    for number in range(49):
        world.write(f"Documents/{number}", b"%d" % number)
    assert world.back_up().code == 0
    for file in world.files():
        world.encrypt(file)
    assert world.back_up().code == 0


# --- Ways around it ------


@pytest.mark.parametrize("options", [["--exclude-caches"], ["--exclude-if-present", ".nobackup"]])
def test_a_tag_that_is_planted_hides_no_loss(world: World, options: List[str]) -> None:
    assert world.back_up(*options).code == 0
    for source in world.sources():
        for file in source.rglob("*.*"):
            world.encrypt(file)
        (source / "CACHEDIR.TAG").write_bytes(b"Signature: 8a477f597d28d172789f06886806bc55\n")
        (source / ".nobackup").touch()
    assert world.back_up(*options, "--keep-last", "1").code == 5
    assert len(world.copies) == 3


def test_what_is_moved_out_of_a_folder_that_is_excluded_now_makes_up_for_no_loss(world: World) -> None:
    assert world.back_up().code == 0
    (world.home / "Documents" / "kept").mkdir()
    for folder in ("0", "1", "2"):
        for file in world.files(f"Documents/{folder}"):
            file.rename(world.home / "Documents" / "kept" / file.name)
    for folder in ("3", "4", "5"):
        for file in world.files(f"Documents/{folder}"):
            world.encrypt(file)
    shutil.rmtree(world.home / "Pictures")
    assert world.back_up("--exclude", "/0", "--exclude", "/1", "--exclude", "/2").code == 5


def test_moved_files_are_not_lost_in_a_copy_that_shares_nothing(world: World) -> None:
    for number in range(6):
        (world.home / "Documents" / str(number)).rename(world.home / "Documents" / f"year {number}")
    assert world.back_up("--fresh").code == 0


def test_a_hold_is_seen_also_when_the_numbers_began_anew(world: World) -> None:
    """A person accepted once, and later removed every date by hand."""
    only_photos(world)
    assert world.back_up().code == 5
    assert world.ask("accept").code == 0
    for date in world.copies:
        shutil.rmtree(world.drive / "box" / date)
    shutil.rmtree(world.drive / "box" / "manifests")
    assert world.back_up().code == 0
    for file in world.files():
        world.encrypt(file)
    assert world.back_up("--keep-last", "1").code == 5
    assert len(world.copies) == 2


def test_files_that_stay_unreadable_are_counted_once(ordinary_user: User) -> None:
    with ordinary_user.acting():
        folder = ordinary_user.home / "world"
        folder.mkdir()
        world = World(folder)
        assert world.back_up().code == 0
        world.day += REST
        for file in world.files()[:4]:
            file.chmod(0)
        assert [world.back_up(days=0.1).code for _ in range(20)] == [3] * 20
        for file in world.files()[:4]:
            file.chmod(0o600)


# --- The judgement itself ------


TRIPS: List[Any] = [
    ({"a": Losses(100, 50)}, 50, True),
    ({"a": Losses(100, 49)}, 49, False),      # fewer than fifty files
    ({"a": Losses(200, 99)}, 50, False),
    ({"a": Losses(10_000, 10), "b": Losses(60, 60)}, 50, True),
    ({"a": Losses(1000, 60, 60, 60, 900, 900)}, 50, True),
    ({"a": Losses(1000, 60, 100, 60, 10_000, 5000)}, 50, True),
    ({"a": Losses(1000, 60, 200, 60, 10_000, 4999)}, 50, False),
    ({}, 50, False),
    ({"a": Losses()}, 50, False),
]


AGES: List[Any] = [  # days since the content, and since anything of the file changed; has it rested?
    (400, 400, True),
    (31, 31, True),
    (400, 29, False),     # a container whose time is put back, a file that came from another computer
    (29, 29, False),
    (-400, 400, False),   # dated ahead
    (400, None, True),    # a copy made on Windows
    (29, None, False),
]


@pytest.mark.parametrize(("age", "changed", "rested"), AGES)
def test_a_file_has_rested_when_neither_of_its_times_is_young(age: int, changed: Optional[int], rested: bool) -> None:
    now = datetime(2026, 11, 22, tzinfo=timezone.utc)
    times = {word: time_text(int(now.timestamp() - days * DAY) * 10**9) for word, days in (("time", age), ("ctime", changed))
             if days is not None}
    known = Known("# type=file size=9 " + " ".join(f"{word}={text}" for word, text in times.items()), "")
    toll = Toll(now)
    toll.one("a/lost", known, lost=True)
    assert toll.sources == {"a": Losses(1, 1, rested, rested, 9 * rested, 9 * rested)}
    toll.found_again("a/lost", known)
    assert toll.sources == {"a": Losses(1, 0, rested, 0, 9 * rested, 0)}
    if changed is not None:  # of an unchanged file no line is read
        ages = {f"st_{word[0]}time_ns": time_ns(text) for word, text in zip(("mtime", "ctime"), times.values())}
        unchanged = Toll(now)
        unchanged.met("a/met", [os.stat_result((0, 0, 0, 0, 0, 0, 9, 0, 0, 0), ages)])
        assert unchanged.sources == toll.sources


@pytest.mark.parametrize(("losses", "percent", "trips"), TRIPS)
def test_what_trips(losses: Dict[str, Losses], percent: float, trips: bool) -> None:
    assert (trip(losses, percent) is not None) == trips
