"""Random histories over both layouts: runs, crashes, rotation by random rules, pins, dates deleted by hand.

After each step every date that is shown as whole verifies and comes back as its source was. One of these costs as much as
sixteen of test_histories.py: HISTORIES // 16 are lived through, and one at least. SEED says where they begin (1). A failure names
its seed and tells the story.
"""

from __future__ import annotations

import gc
import json
import os
import random
import re
from pathlib import Path
from typing import Dict, List, Set

import pytest

import snapback
from faults import Call, watched
from trees import Twin, ask, dates, differences, later, random_edit, random_tree, remove_tree, stock_check, twin, without

pytestmark = [
    pytest.mark.needs("linux"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),  # of what is killed
]

HISTORIES = int(os.environ.get("HISTORIES", "200"))
FIRST_SEED = int(os.environ.get("SEED", "1"))
DAY = 24 * 3600
LAYOUTS = ["changes", "changes", "changes", "complete"]
RULES = [["--keep-last", "1"], ["--keep-last", "2"], ["--keep-last", "3"], ["--keep-within", "2d"], ["--keep-weekly", "2"]]
WHOLE = re.compile(r"\d{4}-\d\d-\d\d_\d{6}(_\d+)?$")


class KilledError(BaseException):
    """No call comes after it, as when the process is killed."""


class Kill:
    """A hook that lets every call from the nth on fail: nothing reaches the disk any more."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __call__(self, call: Call) -> None:
        if call.name == "close":
            return
        self.left -= 1
        if self.left < 0:
            raise KilledError(call.name)


class History:
    """One source, one drive, what the source was at each date, and which dates a person's hand has hurt."""

    def __init__(self, seed: int, folder: Path) -> None:
        print(f"SEED={seed} HISTORIES=1")  # shown when anything fails, be it no assertion
        self.rng = random.Random(seed)
        self.story = [f"seed {seed}"]
        self.folder, self.source, self.drive = folder, folder / f"source {seed}", folder / f"drive {seed}"
        self.moments: Dict[str, Twin] = {}
        self.hurt: Set[str] = set()
        self.pins: Set[str] = set()
        self.seqs: List[int] = []
        self.day = 0
        self.layout = self.rng.choice(LAYOUTS)
        self.drive.mkdir()
        random_tree(self.rng, self.source, 20)

    @property
    def a_set(self) -> Path:
        return self.drive / "box"

    def told(self, *what: object) -> str:
        return "\n".join([*map(str, what), "", *self.story])

    def back_up(self, crash: bool = False) -> None:
        if self.rng.random() < 0.2:
            self.layout = self.rng.choice(LAYOUTS)
        words: List[str] = ["--layout", self.layout]
        words += [word for word, chance in (("--fresh", 0.05), ("--checksum", 0.1)) if self.rng.random() < chance]
        words += self.rng.choice(RULES) if self.rng.random() < 0.4 else ["--no-rotate"]
        moment, before = without(twin(self.source), "socket"), set(os.listdir(self.a_set)) if self.a_set.exists() else set()
        self.story.append(f"-- backup {' '.join(words)}{' killed' * crash} on day {self.day}")
        self.run(crash, "backup", "--init", "--set", "box", *words, self.source, self.drive)
        new = {name for name in os.listdir(self.a_set) if WHOLE.match(name)} - before if self.a_set.exists() else set()
        assert crash or len(new) == 1, self.told("no new date, or several", new)
        for name in new:
            self.moments[name] = moment
            self.story.append(f"   {name}")

    def rotate(self, crash: bool = False) -> None:
        words = self.rng.choice(RULES)
        self.story.append(f"-- rotate {' '.join(words)}{' killed' * crash}")
        if dates(self.a_set):
            self.run(crash, "rotate", "--drive", self.drive, "--set", "box", *words)

    def run(self, crash: bool, *words: object) -> None:
        with later(self.day * DAY):
            if crash:
                with watched(Kill(self.rng.choice([30, 100, 300, 1000]) * self.rng.randint(1, 9))):
                    try:
                        ask(*words, "--jobs", "1")
                    except KilledError as err:
                        self.story.append(f"   killed at {err}")
                gc.collect()
                return
            outcome = ask(*words, "--jobs", "1")
        gc.collect()
        good = (0, 3, 5) if self.hurt or outcome.err else (0, 5)
        assert outcome.code in good, self.told(*outcome)
        assert "Traceback" not in outcome.err, self.told(*outcome)
        if outcome.code:
            self.story += [f"   {line}" for line in outcome.err.splitlines()]

    def whole(self) -> List[str]:
        """Name the dates that are shown as whole."""
        outcome = ask("list", "--drive", self.drive, "--set", "box", "--json")
        return [one["snapshot"] for one in json.loads(outcome.out)["snapshots"] if one["state"] == "whole"]

    def pin(self) -> None:
        if self.whole():
            name = self.rng.choice(self.whole())
            what = "unpin" if name in self.pins else "pin"
            self.pins ^= {name}
            self.story.append(f"-- {what} {name}")
            outcome = ask(what, name, "--drive", self.drive, "--set", "box")
            assert outcome.code == 0, self.told(*outcome)

    def accept(self) -> None:
        self.story.append("-- accept")
        assert ask("accept", "--drive", self.drive, "--set", "box").code == 0

    def hurt_by_hand(self) -> None:
        """Remove a date, or a stored file of one: dates that need it are hurt, and only these."""
        names = dates(self.a_set)
        if len(names) < 2:
            return
        name = self.rng.choice(names)
        files = [path for path in (self.a_set / name / self.source.name).rglob("*") if path.is_file() and not path.is_symlink()]
        if self.rng.random() < 0.5 and files:
            gone = self.rng.choice(files)
            gone.unlink()
        else:
            gone = self.a_set / name
            remove_tree(gone)
            (self.a_set / "manifests" / f"{name}.gz").unlink(missing_ok=True)
            self.moments.pop(name, None)
        self.story.append(f"-- removed by hand: {gone.relative_to(self.a_set)}")
        for date in self.whole():
            if stock_check(self.a_set / date):
                self.hurt.add(date)
                self.story.append(f"   hurts {date}")

    def check(self) -> None:
        whole = self.whole()
        assert set(whole) <= set(self.moments), self.told("unknown dates", whole)
        for name in whole:
            if name in self.hurt:
                continue
            complaints = stock_check(self.a_set / name)
            assert not complaints, self.told(f"sha256sum on {name}", *complaints)
            self.check_names(name)
            target = self.folder / "restored"
            outcome = ask("restore", name, "--drive", self.drive, "--set", "box", "--to", target)
            assert outcome.code == 0, self.told(f"restore {name}", *outcome)
            found = differences(twin(target / self.source.name), self.moments[name])
            assert not found, self.told(f"{name} restored", *found)
            remove_tree(target)
            outcome = ask("verify", name, "--drive", self.drive, "--set", "box")
            assert outcome.code == 0, self.told(f"verify {name}", *outcome)

    def check_names(self, name: str) -> None:
        """One stored file serves two names of one date only if they are hard links in the source."""
        owner: Dict[str, bytes] = {}
        with snapback.manifest_file(snapback.Folder.top(str(self.a_set / name))) as file:
            lines = file.read().decode("utf-8", "surrogateescape").split("\n")
        for meta, line in zip(lines, lines[1:]):
            if meta.startswith("# type=file"):
                stored = snapback.parse_hash_line(line)[1]
                path = os.fsencode(snapback.original_path(snapback.Known(meta, line)).partition("/")[2])
                group = self.moments[name][path].group or path
                assert owner.setdefault(stored, group) == group, self.told(f"{stored!r} serves several names in {name}")

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.day += self.rng.choice([1, 1, 1, 2, 8])
            self.story += [random_edit(self.rng, self.source) for _ in range(self.rng.choice([0, 1, 3, 6]))]
            step = self.rng.random()
            if step < 0.55 or not self.moments:
                self.back_up()
            elif step < 0.65:
                self.back_up(crash=True)
            elif step < 0.75:
                self.rotate()
            elif step < 0.85:
                self.rotate(crash=True)
            elif step < 0.90:
                self.pin()
            elif step < 0.95:
                self.accept()
            else:
                self.hurt_by_hand()
            if self.a_set.exists():
                self.check()
        self.back_up()
        self.check()
        assert self.whole()[-1] not in self.hurt, self.told("the newest is hurt")


SEEDS = range(FIRST_SEED, FIRST_SEED + max(1, HISTORIES // 16))


@pytest.mark.needs("root", "sha256sum")
@pytest.mark.parametrize("seed", SEEDS)
def test_every_date_that_is_shown_as_whole_is_whole(in_memory: Path, seed: int) -> None:
    History(seed, in_memory).live(12)
