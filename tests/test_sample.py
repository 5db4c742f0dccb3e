"""Reading a drive again a part at a time, and what status says of it."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import itertools
import json
import os
import signal
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import pytest

import snapback
from faults import Call, watched
from snapback import Slice
from test_changes import KilledError
from test_verify import rot
from trees import ask, dates, new_copy, text_of

pytestmark = pytest.mark.needs("linux")
LAYOUTS = ["complete", "changes"]


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Make forty files, two with the same bytes, one with two names, and one that is empty."""
    made = tmp_path / "src"
    (made / "below").mkdir(parents=True)
    for number in range(36):
        (made / ("below" if number % 3 else "") / f"file {number}").write_bytes(text_of(str(number), 100 + number))
    for name in ("twin", "below/twin"):
        (made / name).write_bytes(b"the same bytes")
    (made / "empty").write_bytes(b"")
    os.link(made / "file 3", made / "below" / "further name")
    rest(made)
    return made


def rest(source: Path) -> None:
    """Let files be old enough that nothing of them is in doubt."""
    for path in [*source.rglob("*"), source]:
        os.utime(path, (1_700_000_000, 1_700_000_000))


def grown(source: Path, drive: Path, layout: str) -> List[Path]:
    """Make three dated copies that share most of what they hold: one file is new, one changed, one moved, one gone."""
    made = [new_copy(drive, "--layout", layout, source)]
    (source / "new").write_bytes(b"new")
    (source / "file 0").write_bytes(b"other bytes")
    rest(source)
    made.append(new_copy(drive, "--layout", layout, source))
    (source / "below" / "file 1").rename(source / "moved")
    (source / "below" / "file 2").unlink()
    return [*made, new_copy(drive, "--layout", layout, source)]


def stored_files(drive: Path) -> Dict[int, Path]:
    """Give the files of all dated copies by inode."""
    paths = (path for date in dates(drive / "box") for path in (drive / "box" / date / "src").rglob("*"))
    return {path.stat().st_ino: path for path in paths if path.is_file()}


class Sampled(NamedTuple):
    code: int
    facts: Dict[str, Any]
    read: List[int]  # inodes of the stored files that were opened


def sample(drive: Path, *words: str) -> Sampled:
    stored, read = stored_files(drive), []

    def note(call: Call) -> None:
        if call.name == "open" and os.path.isfile(call.path) and os.stat(call.path).st_ino in stored:
            read.append(os.stat(call.path).st_ino)

    with watched(note):
        outcome = ask("verify", "--json", "--jobs", "1", "--drive", drive, *words)
    return Sampled(outcome.code, json.loads(outcome.out), read)


def history(drive: Path) -> Path:
    return drive / "box" / "history.jsonl"


def last_line(drive: Path) -> Dict[str, Any]:
    found: Dict[str, Any] = json.loads(history(drive).read_text().splitlines()[-1])
    return found


# --- The next slice ------

ONCE: Dict[str, Sequence[str]] = {  # shares that together are everything
    "ten tenths": ["10%"] * 10,
    "three thirds, and the rest": ["33%", "33%", "33%", "1%"],
    "other shares each time": ["2.5%", "50%", "12.375%", "0.125%", "35%"],
    "all at once": ["100%"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shares", ONCE)
def test_samples_that_make_a_whole_read_every_stored_file_exactly_once(source: Path, drive: Path, layout: str, shares: str) -> None:
    grown(source, drive, layout)
    runs = [sample(drive, "--sample", share) for share in ONCE[shares]]
    assert {one.code for one in runs} == {0}
    assert Counter(inode for one in runs for inode in one.read) == dict.fromkeys(stored_files(drive), 1)
    assert sum(one.facts["files_read"] for one in runs) == len(stored_files(drive))
    assert len({one.facts["files"] for one in runs}) == 1  # names and sizes of all are looked at each time
    after = sample(drive, "--sample", ONCE[shares][0])
    assert after.read == runs[0].read  # and it begins anew


def test_seven_samples_of_a_seventh_leave_nothing_out(source: Path, drive: Path) -> None:
    grown(source, drive, "complete")
    read = [inode for _ in range(7) for inode in sample(drive, "--sample", "14.3%").read]
    assert set(read) == set(stored_files(drive))


def test_a_sample_goes_on_where_the_last_one_ended_whatever_was_checked_and_copied_between(source: Path, drive: Path) -> None:
    grown(source, drive, "complete")
    assert sample(drive, "--sample", "40%").facts["sample"] == {"from": 0, "to": 40, "percent": 40}
    for words in ((), ("latest",), ("--quick",)):
        facts = sample(drive, *words).facts
        assert facts["sample"] is None
        assert "sample" not in last_line(drive)
    new_copy(drive, source)
    assert sample(drive, "--sample", "14.3%").facts["sample"] == {"from": 40, "to": 54.3, "percent": 14.3}
    assert last_line(drive)["sample"] == {"from": 40, "to": 54.3, "percent": 14.3}
    assert sample(drive, "--sample", "50%").facts["sample"] == {"from": 54.3, "to": 4.3, "percent": 50}


DONE = {"what": "verify", "time": "2026-11-22T23:15:07+01:00", "sample": {"from": 10, "to": 30, "percent": 20}}
SPOILT: Dict[str, str] = {
    "torn": json.dumps(DONE)[:60],
    "interrupted": json.dumps({**DONE, "interrupted": True}),
    "no time": json.dumps({**DONE, "time": "yesterday"}),
    "no slice": json.dumps({**DONE, "sample": "10%"}),
    "a list": json.dumps([DONE]),
    "nothing read": json.dumps({**DONE, "sample": {"from": 10, "to": 10, "percent": 0}}),
    "an end that does not follow": json.dumps({**DONE, "sample": {"from": 10, "to": 31, "percent": 20}}),
    "more than all": json.dumps({**DONE, "sample": {"from": 10, "to": 20, "percent": 110}}),
    "yes for a number": json.dumps({**DONE, "sample": {"from": True, "to": 21, "percent": 20}}),
    "no number": json.dumps({**DONE, "sample": {"from": float("nan"), "to": 30, "percent": 20}}),
    "text for a number": json.dumps({**DONE, "sample": {"from": "10", "to": 30, "percent": 20}}),
    "too deep": '{"what": "verify", "sample": ' + "[" * 100_000,
    "another run's": json.dumps({**DONE, "what": "backup"}),
}


@pytest.mark.parametrize("last", SPOILT)
def test_the_last_line_that_makes_sense_says_where_a_sample_goes_on(last: str) -> None:
    text = "\n".join([json.dumps(DONE), SPOILT[last], ""])
    assert snapback.next_sample(text, 5_000) == Slice(30_000, 5_000)
    assert snapback.read_again(text) == snapback.ReadAgain("", DONE["time"], 20_000)
    assert snapback.next_sample(SPOILT[last], 5_000) == Slice(0, 5_000)


def test_a_sample_that_was_interrupted_is_read_again(source: Path, drive: Path) -> None:
    grown(source, drive, "complete")
    first = sample(drive, "--sample", "30%")
    opened = itertools.count(1)

    def ended(call: Call) -> None:
        if call.name == "open" and "/src/" in call.path and next(opened) == 3:
            signal.raise_signal(signal.SIGINT)

    with watched(ended):
        assert ask("verify", "--jobs", "1", "--drive", drive, "--sample", "30%").code == 130
    assert last_line(drive)["interrupted"] is True
    assert sample(drive, "--sample", "30%").facts["sample"]["from"] == first.facts["sample"]["to"]


def killed_at(nth: int, folder: Path) -> Callable[[Call], None]:
    """Let the process end at the nth call that is about a file directly in a folder."""
    met = itertools.count(1)

    def kill(call: Call) -> None:
        if call.name != "close" and os.path.dirname(call.path) == str(folder) and next(met) == nth:
            raise KilledError

    return kill


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_sample_killed_at_any_moment_leaves_no_gap(source: Path, drive: Path) -> None:
    """The one after it begins where it began or, if it was noted by then, where it ended."""
    copy = grown(source, drive, "complete")[0]
    (copy / "src" / "empty").write_bytes(b"x")  # so that damaged.txt is written, too
    ends, code = [0], -1
    for nth in itertools.count(1):
        with watched(killed_at(nth, drive / "box")), contextlib.suppress(KilledError):
            code = ask("verify", "--jobs", "1", "--drive", drive, "--sample", "7%").code
        gc.collect()  # which lets go of the lock
        noted = [one.sample for one in snapback.past_checks(history(drive).read_text()) if one.sample]
        assert [one.begins for one in reversed(noted)] == ends[:len(noted)]
        ends = [0, *(one.ends for one in reversed(noted))]
        if code != -1:
            break
    assert (code, nth > 20, len(ends) > 2) == (4, True, True)
    assert sample(drive, "--sample", "7%").facts["sample"]["from"] == ends[-1] / 1000


BAD_WORDS: Dict[str, Sequence[str]] = {
    "no percent": ("--sample", "10"),
    "nothing": ("--sample", "0%"),
    "less than nothing": ("--sample=-1%",),
    "more than all": ("--sample", "100.1%"),
    "too fine": ("--sample", "0.0001%"),
    "no word": ("--sample", ""),
    "other digits": ("--sample", "\u0661\u0660%"),
    "with a date": ("latest", "--sample", "10%"),
    "with another way": ("--quick", "--sample", "10%"),
}


@pytest.mark.parametrize("words", BAD_WORDS)
def test_a_share_that_makes_no_sense_is_refused_in_one_sentence(source: Path, drive: Path, words: str) -> None:
    new_copy(drive, source)
    before = history(drive).read_bytes()
    outcome = ask("verify", "--drive", drive, *BAD_WORDS[words])
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert history(drive).read_bytes() == before


# --- What a sample finds ------


def place_of(path: Path) -> float:
    """Give where a file stands in the order of samples, in percent."""
    return int(hashlib.sha256(path.read_bytes()).hexdigest()[:13], 16) / 16**13 * 100


def listed(drive: Path) -> List[str]:
    """Give the paths in damaged.txt."""
    path = drive / "box" / "damaged.txt"
    return sorted(line.partition("  ")[2] for line in path.read_text().splitlines() if not line.startswith("#")) if path.exists() else []


def in_halves(source: Path) -> Tuple[List[str], List[str]]:
    """Give the names of files by the half of the order in which they stand."""
    names = [str(path.relative_to(source)) for path in sorted(source.rglob("file *")) if path.name != "file 3"]
    return [name for name in names if place_of(source / name) < 50], [name for name in names if place_of(source / name) >= 50]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_tells_of_what_it_read_and_of_all_that_is_missing_or_has_another_size(source: Path, drive: Path, layout: str) -> None:
    copy = new_copy(drive, "--layout", layout, source)
    early, late = in_halves(source)
    for name in (early[0], late[0]):
        rot(copy / "src" / name)
    (copy / "src" / late[1]).unlink()
    (copy / "src" / late[2]).write_bytes(b"short")
    seen = sample(drive, "--sample", "50%")
    named = sorted(f"src/{name}" for name in (early[0], late[1], late[2]))
    assert (seen.code, sorted(one["path"] for one in seen.facts["findings"])) == (4, named)
    assert listed(drive) == sorted(f"{copy.name}/{path}" for path in named)
    seen = sample(drive, "--sample", "50%")
    assert sorted(one["path"] for one in seen.facts["findings"]) == sorted(f"src/{name}" for name in late[:3])
    assert listed(drive) == sorted(f"{copy.name}/src/{name}" for name in (early[0], *late[:3]))
    newer = new_copy(drive, "--layout", layout, source)
    assert [(newer / "src" / name).read_bytes() == (source / name).read_bytes() for name in (early[0], *late[:3])] == [True] * 4


def test_a_sample_takes_off_the_list_what_it_read_good_again_and_nothing_else(source: Path, drive: Path) -> None:
    copy = new_copy(drive, source)
    early, late = in_halves(source)
    for name in (early[0], early[1], late[0]):
        rot(copy / "src" / name)
    assert ask("verify", "--drive", drive).code == 4
    assert len(listed(drive)) == 3
    for name in (early[0], late[0]):
        rot(copy / "src" / name)  # twice is good again
    assert sample(drive, "--sample", "50%").code == 4
    assert listed(drive) == sorted(f"{copy.name}/src/{name}" for name in (early[1], late[0]))
    assert sample(drive, "--sample", "50%").code == 0
    assert listed(drive) == [f"{copy.name}/src/{early[1]}"]
    rot(copy / "src" / early[1])
    assert sample(drive, "--sample", "50%").code == 0
    assert not (drive / "box" / "damaged.txt").exists()


def test_what_a_sample_says_to_people(source: Path, drive: Path) -> None:
    copy = new_copy(drive, source)
    outcome = ask("verify", "--drive", drive, "--sample", "50%")
    assert (outcome.code, outcome.err) == (0, "")
    assert " read (by checksum, from 0% on, 50% of all) in " in outcome.out
    assert outcome.out.splitlines()[-1] == (
        "OK - everything is there, and what was read has the bytes that were written; the next sample begins at 50%")
    late = in_halves(source)[1][0]
    rot(copy / "src" / late)
    outcome = ask("verify", "--drive", drive, "--sample", "50%")
    assert (outcome.code, "NOT OK - 1 damaged entry; what was not named is there; " in outcome.err) == (4, True), outcome


def test_without_a_marker_a_sample_is_read_but_the_series_stays(source: Path, drive: Path) -> None:
    new_copy(drive, source)
    (drive / "snapback-marker.txt").unlink()
    for _ in range(2):
        outcome = ask("verify", "--drive", drive, "--sample", "50%")
        assert (outcome.code, "the next sample" in outcome.out, "from 0% on" in outcome.out) == (0, False, True), outcome
        assert "the result was not noted on it" in outcome.out


# --- What the status says of it ------

NOW = datetime(2026, 12, 24, 12, tzinfo=timezone.utc)


def past(days: float, begins: float = 0, share: float = 0, **facts: Any) -> str:
    """Write the line of a check so many days ago; without a share it read everything."""
    slice_ = {"sample": Slice(round(begins * 1000), round(share * 1000)).facts()} if share else {}
    return json.dumps({"what": "verify", "time": (NOW - timedelta(days=days)).isoformat(), "whole": True, **slice_, **facts})


STATUS: Dict[str, Tuple[Sequence[str], str]] = {
    "nothing": ([], ""),
    "names only": ([past(3, quick=True)], ""),
    "everything": ([past(9), past(3)], "3 days ago"),
    "a part": ([past(3, 0, 10)], "10% in samples, the last 3 days ago; the rest never"),
    "the same part twice": ([past(4, 0, 10), past(3, 0, 10)], "10% in samples, the last 3 days ago; the rest never"),
    "everything, then a part": ([past(9), past(3, 0, 10)], "all, the oldest part 9 days ago, the last 3 days ago"),
    "a part, then everything": ([past(9, 0, 10), past(3)], "3 days ago"),
    "ten tenths": ([past(20 - n, 10 * n, 10) for n in range(10)], "all, the oldest part 20 days ago, the last 11 days ago"),
    "all but a tenth": ([past(20 - n, 10 * n, 10) for n in range(9)], "90% in samples, the last 12 days ago; the rest never"),
    "all but a thousandth": ([past(3, 0, 99.999)], "99.999% in samples, the last 3 days ago; the rest never"),
    "the second time round": ([past(30 - n, 10 * n % 100, 10) for n in range(13)],
                              "all, the oldest part 27 days ago, the last 18 days ago"),
    "over the end": ([past(9, 50, 30), past(6, 80, 30), past(3, 10, 40)], "all, the oldest part 9 days ago, the last 3 days ago"),
    "three thirds are not all": ([past(9 - n, 33 * n, 33) for n in range(3)], "99% in samples, the last 7 days ago; the rest never"),
}  # fmt: skip


@pytest.mark.parametrize("case", STATUS)
def test_status_says_since_when_everything_was_read(case: str) -> None:
    lines, text = STATUS[case]
    found = snapback.read_again("\n".join(lines))
    seen = snapback.Seen(checked=found.since, sampled=found.sampled, share=found.share)
    assert snapback.check_text(seen, NOW) == text


@pytest.mark.parametrize("lines", [[past(9), past(3, 0, 10, damaged=2), past(2, 10, 10, damaged=0)], [past(3, damaged=2)]])
def test_damage_counts_until_everything_was_read_without(lines: List[str]) -> None:
    assert snapback.read_again("\n".join(lines)).damaged == 2
    assert snapback.read_again("\n".join([*lines, past(1, damaged=0)])).damaged == 0


def test_a_check_of_one_date_is_no_check_of_all_and_takes_no_damage_off() -> None:
    lines = [past(9), past(3, damaged=1), past(1, damaged=0, whole=False)]
    found = snapback.read_again("\n".join(lines))
    assert (found.damaged, found.since[:10], bool(found.parted)) == (1, (NOW - timedelta(days=3)).isoformat()[:10], True)
    seen = snapback.Seen(checked=found.since, parted=found.parted)
    assert snapback.check_text(seen, NOW) == "all 3 days ago, some dates 1 day ago"
    alone = snapback.read_again(past(1, whole=False))
    assert snapback.check_text(snapback.Seen(checked=alone.since, parted=alone.parted), NOW) == "not all, some dates 1 day ago"


def test_status_tells_of_samples_and_of_the_damage_that_one_found(source: Path, drive: Path) -> None:
    copy = new_copy(drive, source)
    assert ask("verify", "--drive", drive, "--sample", "50%").code == 0
    lines = ask("status", "--drive", drive).out.splitlines()
    assert "  last check   50% in samples, the last just now; the rest never" in lines
    assert not any("damage" in line for line in lines)
    rot(copy / "src" / in_halves(source)[1][0])
    assert ask("verify", "--drive", drive, "--sample", "50%").code == 4
    lines = ask("status", "--drive", drive).out.splitlines()
    at = lines.index("  last check   all, the oldest part just now, the last just now")
    assert lines[at + 1] == "               damage was found: snapback.py list says in which dates"
