"""READ-ME-FIRST.txt: it is true of the drive that it lies on, and each command in it does what it says.

The commands are taken out of the text of a real drive: one that nobody has written a test for is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

import snapback
from conftest import WINE_PYTHON, WINE_WORLD, User
from snapback import DateFacts, DriveFacts, SetFacts, recovery_text
from trees import ask, ask_at, dates

PLAN = "READ-ME-FIRST.txt"
DAY = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def text_of(drive: Path) -> str:
    return (drive / PLAN).read_text(encoding="utf-8")


def said(drive: Path, *words: str) -> List[bool]:
    """Say of each piece whether the text has it, however its lines are broken."""
    text = " ".join(text_of(drive).split())
    return [word in text for word in words]


def commands_in(text: str) -> List[str]:
    """Take out of the plan what is to be typed in a POSIX shell: what is set apart by six blanks and begins with a program."""
    found = re.findall(r"^      ((?:python3|sh|cp|grep|\(cd|sudo|ls|gzip|sha256sum|shasum)\b.*)$", text, re.MULTILINE)
    others = re.findall(r"^      (?!newest |oldest |ON HOLD|https:|[A-Z]:\\)(\S*/\S*.*|.* --\S+.*)$", text, re.MULTILINE)
    assert set(others) <= set(found), "a line that looks like a command, and no test knows its program"
    return found


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    made = tmp_path / "Documents"
    (made / "deep er").mkdir(parents=True)
    (made / "letter.odt").write_text("Dear Otto")
    (made / "deep er" / 'it\'s "a"\n\\b').write_text("awkward")
    os.utime(made / "letter.odt", (1_500_000_000, 1_500_000_000))
    return made


def copied(drive: Path, *words: object, day: int = 0, codes: Tuple[int, ...] = (0,)) -> str:
    """Make a dated copy in the set `box` some days after the first; give its name."""
    outcome = ask_at(DAY + timedelta(days=day), "backup", "--init", "--set", "box", *words, drive)
    assert outcome.code in codes, outcome
    return dates(drive / "box")[-1]


@pytest.fixture(params=["complete", "changes"])
def old_drive(request: pytest.FixtureRequest, documents: Path, drive: Path) -> Path:
    """A drive whose newest date shares most of its files with an older one, and on which a set is on hold."""
    copied(drive, "--layout", request.param, documents)
    (documents / "new since").write_text("new")
    copied(drive, "--layout", request.param, documents, day=1)
    for nth in range(60):
        (documents / f"a {nth}").write_text("a")
    copied(drive, "--layout", request.param, documents, day=2)
    for path in documents.iterdir():
        if path.is_file():
            path.write_text("LOCKED! pay")
    copied(drive, "--layout", request.param, "--no-rotate", documents, day=3, codes=(5,))
    (documents / "letter.odt").write_text("Dear Otto")
    copied(drive, "--layout", request.param, documents, day=4, codes=(5,))
    return drive


Outcome = Callable[[Path, Path, str], None]     # looks at the home folder, the source and what the command said


def came_back_whole(home: Path, source: Path, _said: str) -> None:
    (made,) = home.glob("box-*")
    back = {str(path.relative_to(made)): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    back.pop("SHA256SUMS", None)     # who copies a dated folder has its list as well
    assert back == {str(path.relative_to(source.parent)): path.read_bytes() for path in source.rglob("*") if path.is_file()}


def came_back_from_before(home: Path, _source: Path, _said: str) -> None:
    (made,) = home.glob("box-*")
    assert [(made / "Documents" / name).read_text() for name in ("letter.odt", "new since", "a 7")] == ["Dear Otto", "new", "a"]


def one_came_back(home: Path, _source: Path, _said: str) -> None:
    files = {str(path.relative_to(home)): path.read_text() for path in home.glob("*/Documents/**/*") if path.is_file()}
    assert files == {"restored-file/Documents/letter.odt": "Dear Otto"}


def says(*words: str) -> Outcome:
    def look(_home: Path, _source: Path, text: str) -> None:
        assert [word in text for word in words] == [True] * len(words), text
    return look


BEFORE = "2026-11-22_120000"
NEWEST = "2026-11-24_120000"
NEW = DateFacts(NEWEST, "", "complete")
AT_REST: Dict[str, Outcome] = {      # a pattern of the whole command -> what it must have done
    r"python3 snapback\.py": says("NOT SAFE"),     # no person is at the terminal of a test
    r"python3 snapback\.py restore latest Documents/letter\.odt --drive \. --set box --to ~/restored-file": one_came_back,
    r'python3 snapback\.py find "\*letter\*" --drive \.': says("Documents/letter.odt"),
    rf"grep letter box/{NEWEST}/SHA256SUMS": says("Documents/letter.odt"),
    rf"python3 snapback\.py restore {NEWEST} --drive \. --set box --to ~/box-{NEWEST}": came_back_whole,
    rf"sh restore\.sh box/{NEWEST} ~/box-{NEWEST}": came_back_whole,
    rf"cp -a box/{NEWEST} ~/box-{NEWEST}": came_back_whole,
    r"python3 snapback\.py verify latest --drive \. --set box": says("OK - everything of this date is there"),
    rf"\(cd box/{NEWEST} && sha256sum -c --quiet SHA256SUMS\)": says(""),
    rf"\(cd box/{NEWEST} && shasum -a 256 -c SHA256SUMS\)": says("Documents/letter.odt: OK"),
    r"python3 snapback\.py list --drive \.": says(BEFORE, NEWEST),
}
GETS_BACK = re.compile(r".*(?:restore|grep|cp -a)")
ON_HOLD: Dict[str, Outcome] = {      # then what gets something back takes it from before the trouble
    **{pattern: outcome for pattern, outcome in AT_REST.items() if not GETS_BACK.match(pattern)},
    rf"python3 snapback\.py restore {BEFORE} Documents/letter\.odt --drive \. --set box --to ~/restored-file": one_came_back,
    rf"grep letter box/{BEFORE}/SHA256SUMS": says("Documents/letter.odt"),
    rf"python3 snapback\.py restore {BEFORE} --drive \. --set box --to ~/box-{BEFORE}": came_back_from_before,
    rf"sh restore\.sh box/{BEFORE} ~/box-{BEFORE}": came_back_from_before,
    rf"cp -a box/{BEFORE} ~/box-{BEFORE}": came_back_from_before,
}
ONLY_WHOLE = r"cp -a box/"


@pytest.mark.needs("linux")
@pytest.mark.parametrize("outcomes", [AT_REST, ON_HOLD], ids=["at rest", "on hold"])
def test_each_posix_command_of_the_plan_does_what_it_says_on_both_layouts(
        outcomes: Dict[str, Outcome], old_drive: Path, documents: Path, tmp_path: Path) -> None:
    if outcomes is AT_REST:
        assert ask_at(DAY + timedelta(days=4), "accept", "--drive", old_drive).code == 0
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").symlink_to(sys.executable)
    left = {pattern for pattern in outcomes if not pattern.startswith(ONLY_WHOLE) or not list(old_drive.glob("box/*/NOT-THE-WHOLE*"))}
    for nth, command in enumerate(commands_in(text_of(old_drive))):
        (pattern,) = [one for one in outcomes if re.fullmatch(one, command)]
        left.discard(pattern)
        home = tmp_path / f"home {nth}"
        home.mkdir()
        if "shasum" in command and not shutil.which("shasum"):
            continue
        done = subprocess.run(["sh", "-c", command], cwd=old_drive, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                              env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home), "XDG_STATE_HOME": str(home)})
        codes = (1,) if command == "python3 snapback.py" else (0, 3)
        assert done.returncode in codes, (command, done)
        outcomes[pattern](home, documents, done.stdout + done.stderr)
    assert not left, "the plan does not say this any more"


def windows_commands(text: str) -> List[str]:
    return re.findall(r"^      ([A-Z]:\\.*)$", text, re.MULTILINE)


@pytest.mark.needs("wine")
def test_the_command_for_windows_brings_everything_back_under_wine(old_drive: Path, documents: Path, tmp_path: Path) -> None:
    (documents / "deep er" / 'it\'s "a"\n\\b').unlink()     # Windows has no such names
    newest = copied(old_drive, documents, day=5, codes=(0, 5))
    assert ask_at(DAY + timedelta(days=5), "accept", "--drive", old_drive).code == 0
    commands = windows_commands(text_of(old_drive))
    assert commands == [f"E:\\Snapback.cmd restore {newest} --set box --to C:\\box-{newest}"]

    def z(path: Path) -> str:
        return "Z:" + str(path).replace("/", "\\")
    words = commands[0].replace("E:\\", z(old_drive) + "\\").replace("C:\\", z(tmp_path) + "\\")
    starts = ("import os, subprocess, sys; here = os.path.dirname(sys.executable); done = subprocess.run('cmd.exe /c \"' + sys.argv[1] + "
              "'\"', env={**os.environ, 'PATH': here + ';' + os.environ['PATH']}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, "
              "stderr=subprocess.STDOUT); print(done.stdout.decode('utf-8', 'replace')); sys.exit(done.returncode)")
    done = subprocess.run([*WINE_PYTHON, "-c", starts, words], input=b"", capture_output=True, env=WINE_WORLD, timeout=300)
    assert done.returncode == 0, done
    came_back_whole(tmp_path, documents, "")


def test_the_plan_says_what_is_on_this_drive(old_drive: Path, tmp_path: Path) -> None:
    layout = "changes" if list(old_drive.glob("box/*/NOT-THE-WHOLE*")) else "complete"
    host = snapback.host_name()
    assert said(old_drive, f"box: 5 dated copies of the computer '{host}'", "newest 2026-11-24_120000 (24 November 2026, 12:00:00)",
                "oldest 2026-11-20_120000 (20 November 2026, 12:00:00)", "ON HOLD since 2026-11-23_120000", "not checked yet",
                f"The newest date before it is {BEFORE}.",
                f"(box: the newest date, {NEWEST}, may be spoiled, see the last part; {BEFORE} is the one before the trouble.)",
                "On Windows py stands for python3.") == [True] * 8
    assert said(old_drive, "each dated folder is a whole copy", "no dated folder is a whole copy", "NOT-THE-WHOLE-DATE.txt",
                "Do not put together by hand", "cp -a") == {
        "complete": [True, False, False, False, True], "changes": [False, True, True, True, False]}[layout]
    assert not any(said(old_drive, "new since", str(tmp_path), "deep er"))


def test_whatever_changes_something_makes_the_plan_true_again(old_drive: Path) -> None:
    assert ask_at(DAY + timedelta(days=6), "verify", "--drive", old_drive).code == 0
    assert said(old_drive, "last checked as a whole on 26 November 2026: all was good", "ON HOLD") == [True, True]
    assert ask_at(DAY + timedelta(days=6), "accept", "--drive", old_drive).code == 0
    assert said(old_drive, "5 dated copies", "ON HOLD", "on hold") == [True, False, False]
    assert ask_at(DAY + timedelta(days=6), "rotate", "--keep-last", "2", "--drive", old_drive).code == 0
    assert said(old_drive, "2 dated copies", "oldest 2026-11-23_120000") == [True, True]
    next(old_drive.glob("box/2*/Documents/letter.odt")).write_text("Dear Karl")
    assert ask_at(DAY + timedelta(days=7), "verify", "--drive", old_drive).code == 4
    assert said(old_drive, "DAMAGE was found: list says in which dates") == [True]


def test_after_a_rotation_the_plan_does_not_speak_of_what_is_gone(documents: Path, drive: Path) -> None:
    for day in range(3):
        copied(drive, "--keep-last", "1", documents, day=day)
    assert said(drive, "box: 1 dated copy", "oldest", "2026-11-21", "2026-11-20") == [True, False, False, False]


def test_a_plan_that_says_the_same_is_not_written_again(documents: Path, drive: Path) -> None:
    copied(drive, documents)
    before = (drive / PLAN).stat()
    assert ask("verify", "--quick", "--drive", drive).code == 0
    after = (drive / PLAN).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_folders_that_the_newest_date_does_not_hold_are_brought_back_by_commands_of_their_own(
        documents: Path, drive: Path, tmp_path: Path) -> None:
    (tmp_path / "Pictures").mkdir()
    (tmp_path / "Pictures" / "cat.jpg").write_text("cat")
    pictures = copied(drive, documents, tmp_path / "Pictures")
    copied(drive, documents, tmp_path / "Pictures", day=1)
    newest = copied(drive, documents, day=2)
    pictures = dates(drive / "box")[1]
    text = text_of(drive)
    assert [line for line in commands_in(text) if line.startswith("sh ")] == [
        f"sh restore.sh box/{date} ~/box-{date}" for date in (newest, pictures)]
    assert said(drive, f"{pictures} holds folders that the newest does not") == [True]


def test_another_computers_set_is_described_and_one_without_a_whole_copy_is_said_to_have_none(documents: Path, drive: Path) -> None:
    copied(drive, documents)
    (drive / "karl").mkdir()
    (drive / "karl" / "2026-11-01_120000.incomplete").mkdir()
    shutil.copytree(drive / "box", drive / "otto", symlinks=True)
    copied(drive, documents, day=1)
    assert said(drive, "box: 2 dated copies", "otto: 1 dated copy of the computer", "karl: no whole dated copy yet") == [True] * 3
    assert [line for line in commands_in(text_of(drive)) if line.startswith("sh ")] == [
        "sh restore.sh box/2026-11-21_120000 ~/box-2026-11-21_120000", "sh restore.sh otto/2026-11-20_120000 ~/otto-2026-11-20_120000"]


def test_a_date_whose_lists_are_damaged_is_counted_apart(documents: Path, drive: Path) -> None:
    copied(drive, documents)
    first = dates(drive / "box")[0]
    (drive / "box" / first / "SHA256SUMS").write_text("?")
    (drive / "box" / "manifests" / f"{first}.gz").write_text("?")
    copied(drive, "--no-rotate", documents, day=1, codes=(0, 3))
    assert said(drive, "box: 1 dated copy", "1 date more: the lists are damaged") == [True, True]


def test_on_a_new_drive_the_plan_says_that_there_is_nothing_yet(drive: Path) -> None:
    assert ask("init", drive).code == 0
    assert said(drive, "No dated copy yet", "Do not attach this drive to that computer", "TO GET ONE FILE BACK") == [True, True, False]
    assert commands_in(text_of(drive)) == ["python3 snapback.py list --drive ."]


def test_what_a_hostile_drive_calls_its_computer_or_itself_is_shown_and_short() -> None:
    facts = DriveFacts("BLUE\x1b[2J\n      sh evil.sh", (SetFacts("box", "x" * 1000 + "\n      rm -rf ~", (NEW,)),))
    text = recovery_text(facts)
    assert ("\x1b" in text, "\n      sh evil.sh" in text, "\n      rm" in text, "x" * 61 in text) == (False,) * 4


def test_lines_of_prose_fit_a_narrow_window() -> None:
    old = DateFacts(BEFORE, "", "changes")
    box = SetFacts("box", "annas-laptop", (old, old, NEW), others=(BEFORE,), unlisted=1, held_by=NEWEST, before_hold=BEFORE)
    facts = DriveFacts("BLUE-STICK", (box,), ("otto",), True, True)
    lines = recovery_text(facts).split("\n")
    assert [line for line in lines if len(line) > 84 and not re.match(r"      (python3|sh|cp|grep|\(cd|E:)", line)] == []
    assert "GET-FILES-BACK.html" in recovery_text(facts)
    assert "GET-FILES-BACK.html" not in recovery_text(facts._replace(page=False))


def test_a_date_that_is_in_no_calendar_stops_nothing(documents: Path, drive: Path) -> None:
    first = copied(drive, documents)
    (drive / "box" / first).rename(drive / "box" / "2026-02-30_000000")
    assert ask_at(DAY + timedelta(days=1), "verify", "--drive", drive).code in (0, 3, 4)
    assert said(drive, "newest 2026-02-30_000000 (2026-02-30_000000)") == [True]
    copied(drive, documents, day=2, codes=(0, 3))


def test_one_date_that_was_read_is_not_said_to_be_all_of_them(documents: Path, drive: Path) -> None:
    first = copied(drive, documents)
    (documents / "letter.odt").write_text("Dear Anna")
    copied(drive, documents, day=1)
    (drive / "box" / first / "Documents" / "letter.odt").write_text("Dear Xtto")
    assert ask_at(DAY + timedelta(days=2), "verify", "--drive", drive).code == 4
    assert said(drive, "DAMAGE was found") == [True]
    assert ask_at(DAY + timedelta(days=3), "verify", "latest", "--drive", drive).code == 0
    assert said(drive, "DAMAGE was found", "all was good") == [True, False]


def test_the_plan_of_somebody_else_is_left_alone_and_so_is_what_lies_behind_a_link(documents: Path, drive: Path, tmp_path: Path) -> None:
    copied(drive, documents)
    for nth, spoil in enumerate((lambda path: path.write_text("mine"), lambda path: path.symlink_to(tmp_path / "mine"))):
        (drive / PLAN).unlink()
        (tmp_path / "mine").write_text("mine")
        spoil(drive / PLAN)
        outcome = ask_at(DAY + timedelta(days=nth + 1), "backup", "--set", "box", documents, drive)
        assert (outcome.code, "left alone" in outcome.err, (tmp_path / "mine").read_text()) == (3, True, "mine"), outcome
        assert (drive / PLAN).read_text() == "mine"


@pytest.mark.needs("root")
def test_a_set_of_another_user_is_named_and_not_looked_into_and_each_may_make_copies(
        documents: Path, reachable: Path, ordinary_user: User) -> None:
    shared = reachable / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (ordinary_user.home / "own").mkdir()
    (ordinary_user.home / "own" / "file").write_text("mine")
    os.chown(ordinary_user.home / "own", ordinary_user.uid, ordinary_user.gid)
    copied(shared, documents)
    words = ["backup", "--set", "karl", ordinary_user.home / "own", shared]
    with ordinary_user.acting():
        outcome = ask_at(DAY + timedelta(days=1), *words)
        assert outcome.code == 0, outcome
        assert said(shared, "karl: 1 dated copy", "box: copies of another user", "box: 1 dated copy", "sh restore.sh box/") == [
            True, True, False, False]
    assert ask_at(DAY + timedelta(days=2), "verify", "--drive", shared, "--set", "box").code == 0
    shared.chmod(0o1777)     # there only who made a file may put another in its place
    with ordinary_user.acting():
        outcome = ask_at(DAY + timedelta(days=3), *words)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert said(shared, "box: 1 dated copy", "karl: 1 dated copy") == [True, True]
    (shared / PLAN).unlink()
    with ordinary_user.acting():
        assert ask_at(DAY + timedelta(days=4), *words).code == 0
    assert said(shared, "karl: 3 dated copies") == [True]
