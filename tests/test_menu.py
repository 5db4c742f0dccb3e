"""What a person sees who does not program: the menu and the set-up, through a terminal, as stories.

Each story is told by answers; what stands before `> ` must be what the person needs to answer.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Sequence, Tuple, Union

import pexpect
import pytest

import snapback
from conftest import SNAPBACK, Cli, Mount, as_script
from faults import Fault, Hit, watched
from test_unattended import START, Programs
from trees import Outcome, ask, dates, later

pytestmark = pytest.mark.needs("linux")

GOOD_BYE = "Good-bye. Nothing is being written: this window may be closed."


class Person:
    """Somebody at a terminal, with a home folder, a place where sticks appear, and a crontab."""

    def __init__(self, home: Path, place: Path, programs: Programs) -> None:
        self.home, self.stick, self.away = home, place / "BLUE STICK", place / "away"
        self.stick.mkdir()
        self.said: List[str] = []
        table = shlex.quote(str(place / "crontab"))
        programs.add("crontab", f'if [ "$1" = -l ]; then cat {table} 2>/dev/null || {{ echo "no crontab for anna" >&2; exit 1; }}; '
                                f"else cat >{table}; fi")
        programs.add("xdg-open")

    def runs(self, *answers: Tuple[str, str], script: Path = SNAPBACK, size: Tuple[int, int] = (24, 80), **variables: str) -> str:
        """Start snapback without a command, and answer each question that ends with a text; give all that was shown."""
        program, *words = as_script("-I") if script == SNAPBACK else [sys.executable, "-I", str(script)]
        child = pexpect.spawn(program, words, env={**os.environ, "HOME": str(self.home), "TERM": "xterm", **variables},
                              cwd=str(self.home), dimensions=size, encoding="utf-8", timeout=60)
        shown = ""
        for question, answer in answers:
            child.expect("\r\n> ")
            shown += child.before + "\r\n> "
            asked = " ".join(shown[-2000:].split())
            assert question in asked[-len(question) - 400:], f"{question!r} was not asked:\n{shown}"
            if answer == "^C":
                child.sendintr()
            elif answer == "^D":
                child.sendeof()
            else:
                child.sendline(answer)
        child.expect(pexpect.EOF)
        shown += child.before
        child.close()
        assert (child.exitstatus, child.signalstatus) == (0, None), shown
        return shown.replace("\r\n", "\n")


CHOOSE = "Which? A number, please"
AGAIN = f"Please type a number from 1 to 5, or q to leave. {CHOOSE}"
ON = "Press Enter to go on."
QUIT = ("7 quit " + CHOOSE, "quit")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Programs(tmp_path / "bin")


@pytest.fixture
def anna(home: Path, tmp_path: Path, programs: Programs) -> Person:
    (home / "Documents" / "Letters").mkdir(parents=True)
    (home / "Documents" / "Letters" / "to Otto.txt").write_text("dear Otto")
    (home / "Documents" / "photo.jpg").write_bytes(b"\xff" * 3000)
    (home / "Pictures").mkdir()
    return Person(home, tmp_path, programs)


SET_UP: Tuple[Tuple[str, str], ...] = (
    ("4 set up copies on this computer", "4"),
    ("2 {home}/Pictures Numbers or paths, with a comma between them [all of these]", ""),
    ("A number or a path", "{stick}"),
    ("How often? 1 every day 2 twice a day 3 every week " + CHOOSE + " [1]", ""),
    ("1 the last 3, and one for each of 7 days, 5 weeks, 12 months and 10 years 2 all copies of the last year " + CHOOSE + " [1]", ""),
    ("Shall this computer make the copies by itself? (yes or no) [yes]", "yes"),
    ("Shall it? (yes or no) [yes]", ""),
    ("All is ready. Make the first copy now? (yes or no) [yes]", ""),
    (ON, ""),
)


def set_up(anna: Person) -> List[Tuple[str, str]]:
    return [(question.replace("{home}", str(anna.home)), answer.replace("{stick}", str(anna.stick))) for question, answer in SET_UP]


def settings_of(home: Path) -> Path:
    return home / ".config" / "snapback" / "snapback.ini"


def test_the_first_hour_with_a_stick(anna: Person, programs: Programs) -> None:
    shown = anna.runs(*set_up(anna), QUIT)
    assert "2 files, 3.0 kB: 2 new" in shown
    assert "OK - you can rely on this copy" in shown
    assert shown.endswith(f"{GOOD_BYE}\n")
    assert "--if-due -q" in (anna.stick.parent / "crontab").read_text()
    anna.stick.rename(anna.away)
    shown = anna.runs(("1 back up now 2 am I safe?", "1"), (ON, ""), QUIT)
    assert "is not attached" in shown
    assert "NOT OK - not every drive has a new copy; earlier copies are as they were" in " ".join(shown.split())
    anna.away.rename(anna.stick)
    (anna.home / "Documents" / "Letters" / "to Otto.txt").write_text("dear Otto, sorry")
    shown = anna.runs(("7 quit", "back"), (ON, ""), ("7 quit", "2"), (ON, ""), QUIT)
    assert "1 changed" in shown
    assert "Safe: newest dated copy just now, on BLUE STICK" in shown
    assert "OK - you have a recent copy\nPress Enter" in shown
    (a_set,) = [path for path in anna.stick.iterdir() if (path / "manifests").exists()]
    second = dates(a_set)[-1]
    target = anna.home / "Letters of old"
    shown = anna.runs(
        ("3 get something back", "3"), ("From which date? 1", "2"), ("(just now)? 1 search for a name", "1"),
        ("What is in its name? (a part is enough)", "OTTO"), ("1 Documents/Letters/to Otto.txt 2 none of these", "1"),
        ("nothing on this computer is overwritten. Into which new folder?", str(target)), (ON, ""), QUIT)
    assert (target / "Documents" / "Letters" / "to Otto.txt").read_text() == "dear Otto"
    assert "OK - every file's checksum was right" in shown
    assert [call.words for call in programs.calls("xdg-open")] == [[str(target)]]
    assert second in shown or "From which date?" in shown
    shown = anna.runs(("4 check that the copies are readable", "4"), ("2 all copies (this may take hours)", "1"), (ON, ""),
                      ("5 try a restore", "5"), (ON, ""),
                      ("6 settings", "6"), ("1 look whether anything would hinder copies", "1"), (ON, ""), QUIT)
    assert ["OK - everything of this date is there" in shown, "OK - each came back as it was" in shown] == [True, True]
    assert "Schedule" in shown


@pytest.mark.parametrize("heal", [True, False])
def test_what_a_check_finds_damaged_is_healed_if_that_is_wanted(anna: Person, heal: bool) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    (stored,) = anna.stick.rglob("photo.jpg")
    stored.write_bytes(b"\xfe" * 3000)
    shown = " ".join(anna.runs(("4 check that the copies are readable", "4"), ("1 the newest copy 2 all copies", "2"),
                               ("Heal what can be healed? (yes or no) [yes]", "" if heal else "no"), (ON, ""), QUIT).split())
    assert ("OK - healed: 1 file; what was replaced lies in" in shown) == heal
    assert ("NOT OK - nothing was healed; choose this again to do it later" in shown) != heal
    assert "--" not in shown
    assert (stored.read_bytes() == b"\xff" * 3000) == heal


@pytest.mark.parametrize("mine", [True, False])
def test_much_is_gone_and_somebody_asks_whether_that_was_right(anna: Person, mine: bool) -> None:
    for nth in range(60):
        (anna.home / "Documents" / f"letter {nth}").write_text(str(nth))
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    for nth in range(60):
        (anna.home / "Documents" / f"letter {nth}").unlink()
    shown = " ".join(anna.runs(("1 back up now", "1"), ("Was it you who changed so much? (yes or no) [no]", "yes" if mine else ""),
                               (ON, ""), QUIT).split())
    assert "it may be ransomware: then unplug the drive now" in shown
    (a_set,) = [path for path in anna.stick.iterdir() if (path / "manifests").exists()]
    assert (a_set / "HOLD.txt").exists() != mine
    assert mine or "NOT OK - find out what happened to your files; every earlier copy on BLUE STICK is kept until then" in shown


@pytest.mark.needs("root")
def test_a_full_stick(anna: Person, mounted: Callable[..., Mount]) -> None:
    anna.stick.rmdir()
    anna.stick = mounted("tmpfs").path
    big = anna.home / "Documents" / "film"
    big.write_bytes(os.urandom(9 << 20))
    answers = set_up(anna)
    answers.insert(3, ("Will you unplug it between copies? Ransomware reaches what stays attached (yes or no) [yes]", "yes"))
    anna.runs(*answers, QUIT)
    for _ in range(2):
        big.write_bytes(os.urandom(9 << 20))
        anna.runs(("1 back up now", "1"), (ON, ""), QUIT)
    (a_set,) = [path for path in anna.stick.iterdir() if (path / "manifests").exists()]
    before = dates(a_set)
    big.write_bytes(os.urandom(9 << 20))
    shown = anna.runs(("1 back up now", "1"), ("Let go of these for ever? (yes or no) [no]", ""), (ON, ""), QUIT)
    assert dates(a_set) == before
    assert "NOT OK - there is no new copy on " in shown
    assert "does not fit" in shown or "full" in shown
    shown = anna.runs(("1 back up now", "1"), ("Let go of these for ever? (yes or no) [no]", "yes"), (ON, ""), QUIT)
    assert all(name in shown for name in before[:-1])
    assert "OK - you can rely on this copy" in shown
    assert len(dates(a_set)) == 2
    assert before[-1] in dates(a_set)


def test_the_bad_day(anna: Person, tmp_path: Path) -> None:
    """A strange computer, the stick alone, everything is brought back."""
    anna.runs(*set_up(anna), QUIT)
    shutil.copytree(anna.home / "Documents", tmp_path / "as it was")
    shutil.rmtree(anna.home)
    anna.home.mkdir()
    for settings in anna.stick.glob("*/settings.ini"):  # a strange computer does not look at them
        settings.unlink()
    shown = anna.runs(
        ("1 get something back 2 check that the copies are readable 3 try a restore 4 set up copies on this computer 5 quit", "1"),
        ("From which date?", "1"), ("3 everything", "3"), ("Into which new folder?", ""), (ON, ""), ("5 quit", "5"),
        script=anna.stick / "snapback.py")
    (back,) = anna.home.glob("restored-*")
    assert "OK - every file's checksum was right" in shown
    assert {str(path.relative_to(back / "Documents")): path.read_bytes() for path in (back / "Documents").rglob("*") if path.is_file()} == {
        str(path.relative_to(tmp_path / "as it was")): path.read_bytes() for path in (tmp_path / "as it was").rglob("*") if path.is_file()}
    assert not (anna.home / ".config").exists()


LEAVING: Dict[str, List[Tuple[str, str]]] = {
    "at the menu": [("5 quit", "{leave}")],
    "in a question": [("5 quit", "4"), ("Numbers or paths", "{leave}"), (ON, "{leave}")],
}


@pytest.mark.parametrize("leave", ["^C", "^D"])
@pytest.mark.parametrize("where", LEAVING)
def test_whoever_leaves_is_let_go_politely_and_nothing_was_changed(anna: Person, where: str, leave: str) -> None:
    shown = anna.runs(*[(question, answer.replace("{leave}", leave)) for question, answer in LEAVING[where]])
    assert shown.endswith(f"{GOOD_BYE}\n")
    assert ("Nothing was changed." in shown) == (where == "in a question")
    assert not (anna.home / ".config").exists()
    assert list(anna.stick.iterdir()) == []


@pytest.mark.parametrize(("size", "term"), [((24, 80), "dumb"), ((10, 40), "xterm")])
def test_a_poor_or_a_small_terminal_is_enough(anna: Person, size: Tuple[int, int], term: str) -> None:
    shown = anna.runs(("5 quit", "nonsense"), ("There is no 'nonsense' here. " + AGAIN, ""), (AGAIN, "q"), size=size, TERM=term)
    assert max(map(len, shown.split("\n"))) <= size[1]
    assert "\x1b" not in shown


def test_who_does_not_agree_in_the_end_has_changed_nothing(anna: Person) -> None:
    shown = anna.runs(*set_up(anna)[:6], ("Shall it? (yes or no) [yes]", "no"), (ON, "^D"))
    assert "Nothing was changed." in shown
    assert list(anna.stick.iterdir()) == []
    assert not settings_of(anna.home).exists()


def test_a_synchronised_folder_is_copied_and_said_to_be_no_backup(anna: Person) -> None:
    (anna.home / "Dropbox").mkdir()
    answers = set_up(anna)
    answers[1] = (answers[1][0], "~/Dropbox")
    shown = " ".join(anna.runs(*answers[:2], ("synchronised by Dropbox. That is no backup", "^D"), (ON, "^D")).split())
    assert "So it is good to copy it here, too." in shown


def test_what_is_typed_is_meant_from_the_home_folder_and_written_whole_and_told_before_it_is_done(anna: Person) -> None:
    answers = set_up(anna)
    answers[1] = (answers[1][0], f"2, '{anna.home}/Documents/'")
    answers[2] = (answers[2][0], f"'{anna.stick}/'")
    answers[3] = (answers[3][0], "once a week")
    answers[4:4] = [("There is no 'once a week' here. Please type a number from 1 to 3, or q to leave. " + CHOOSE + " [1]", "week")]
    shown = " ".join(anna.runs(*answers, QUIT).split())
    plan = shown[shown.index("THIS WILL BE DONE"):shown.index("Shall it?")]
    for line in (f"to {anna.stick}, every week", "put there: snapback.py", snapback.KEEP_AS_USUAL, "write all that into",
                 "look every hour", "among your applications"):
        assert line.replace(" ", "") in plan.replace(" ", ""), line
    settings = snapback.load_settings(str(settings_of(anna.home)))
    assert settings.sources == (f"{anna.home}/Pictures", f"{anna.home}/Documents")
    shown = anna.runs(("6 settings", "set"), ("2 answer the questions again", "again"), ("with a comma", "Documents"),
                      ("A number or a path", str(anna.stick)), ("1 every week", ""), (CHOOSE, ""), ("by itself?", "no"), ("Shall it?", ""),
                      ("first copy now?", "no"), (ON, ""), QUIT)
    assert snapback.load_settings(str(settings_of(anna.home))).sources == (f"{anna.home}/Documents",)
    assert "Nothing is copied yet" in shown


def test_q_leaves_a_question_and_comes_back_to_the_menu(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    shown = anna.runs(("7 quit", "get something"), ("From which date?", "q"), (ON, ""), ("7 quit", "check"), ("3 nothing now", "nothing"),
                      (ON, ""), ("7 quit", "get"), ("From which date?", "^C"), (ON, ""), QUIT)
    assert shown.count("You left this, and nothing more was done.") == 2
    assert "Nothing was read, and nothing was changed.\nPress Enter" in shown
    assert list(anna.home.glob("restored-*")) == []


def told(answers: str, act: Callable[[snapback.Talk], object]) -> Tuple[object, str]:
    """Give what an act comes to, and all that is said, when these are the answers."""
    out = io.StringIO()
    return act(snapback.Talk(io.StringIO(answers), out)), out.getvalue()


@pytest.mark.parametrize(("said", "word"), [("2", "all"), ("ALL", "all"), ("every", "all"), ("hours", "all"), ("the new", "newest"),
                                            ("nothing now", "nothing"), ("\ncopies\n1", "newest")])
def test_a_number_and_a_word_of_what_is_shown_choose(said: str, word: str) -> None:
    options = [("newest", "the newest copy"), ("all", "every date: all copies (this may take hours)"), ("nothing", "nothing now"),
               ("some", "a few copies")]
    chosen, shown = told(said + "\n", lambda talk: talk.choose("What?", options, 0))
    assert chosen == word
    assert "''" not in shown


def test_on_a_strange_computer_the_drive_is_found_wherever_the_program_lies(anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    shutil.rmtree(anna.home / ".config")
    monkeypatch.setenv("HOME", str(anna.home))
    settings_of(anna.home).parent.mkdir(parents=True)
    settings_of(anna.home).write_text("rubbish, which is in the way of nothing here")
    for places, said in (([str(anna.stick)], "These are the copies on BLUE STICK"), ([], "NOT OK - no drive with copies is attached.")):
        monkeypatch.setattr(snapback, "marked_places", lambda places=places: places)
        found, shown = told("", lambda talk: snapback.Menu(talk, lambda _: snapback.Done(snapback.Exit.DONE, {}))._drive())
        assert (bool(found), said in shown, "--drive" in shown) == (bool(places), True, False), shown


def test_a_folder_with_many_files_is_shown_in_parts(anna: Person) -> None:
    for nth in range(70):
        (anna.home / "Pictures" / f"p{nth:02}").write_text(str(nth))
    assert ask("setup", anna.home / "Pictures", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    shown = anna.runs(("7 quit", "get"), ("From which date?", ""), ("What do you want back", "folders"), ("1 folder Pictures", "1"),
                      ("31 more: 31 and on, of 70 32 all of Pictures", "more"), ("31 more: 61 and on, of 70", "31"),
                      ("10 p69 11 all of Pictures 12 back to the folder above", "69"),
                      (f"There is no '69' here. {AGAIN.replace('5', '12')}", "p69"),
                      ("Into which new folder?", "my picture"), (ON, ""), QUIT)
    assert (anna.home / "my picture" / "Pictures" / "p69").read_text() == "69"
    assert "OK - every file's checksum was right" in shown


def test_what_comes_back_comes_into_a_new_folder_wherever_it_is_wanted(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    into = "Into which new folder?"
    shown = " ".join(anna.runs(
        ("7 quit", "get"), ("From which date?", ""), ("What do you want back", "everything"), (into, f"'{anna.stick}/new'"),
        (into, "Documents/photo.jpg"), (into, "~/Documents/"), (into, ""), (ON, ""), QUIT).split())
    for said in ("That is on the drive with the copies", "is there already, and no folder.", "A new folder in it is suggested now."):
        assert said in shown
    (back,) = (anna.home / "Documents").glob("restored-*")
    assert (back / "Documents" / "Letters" / "to Otto.txt").read_text() == "dear Otto"


def test_spoiled_settings_are_in_the_way_of_nothing(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    spoiled = settings_of(anna.home).read_text() + "rubbish\n"
    settings_of(anna.home).write_text(spoiled)
    outcome = ask("setup", "--drive", anna.stick, "--yes")
    assert (outcome.code, settings_of(anna.home).read_text()) == (2, spoiled)
    answers = set_up(anna)[1:]
    shown = anna.runs(("7 quit", "safe"), (ON, ""), ("7 quit", "settings"), ("2 answer", "2"), *answers, QUIT)
    assert "NOT OK - how you stand could not be found out" in shown
    assert "The present settings cannot be read" in shown
    assert "OK - you can rely on this copy" in shown
    assert settings_of(anna.home).with_name("snapback.ini.before").read_text() == spoiled


def test_who_ended_one_thing_has_not_ended_the_next(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    out = io.StringIO()
    stage = snapback.Stage([])
    stage.reader = snapback.Talk(io.StringIO(), out)
    stage.ending.ask(2, None)
    assert stage.perform(["backup"]).code == 0
    shown = anna.runs(("7 quit", "safe"), (ON, ""), QUIT)
    assert "never: choose 'check that the copies are readable'" in " ".join(shown.split())
    assert "snapback.py" not in shown


@pytest.mark.parametrize(("text", "paths"), [
    ("a b", ["{home}/a b"]), ("'{home}/a b/'", ["{home}/a b"]), ('"a b", c', ["{home}/a b", "{home}/c"]), ("a\\ b", ["{home}/a b"]),
    ("'{home}/a b' {home}/c", ["{home}/a b", "{home}/c"]), ("Otto's", ["{home}/Otto's"]), ("'a, b'", ["{home}/a, b"]),
    ("~/c/", ["{home}/c"]), (", ,", []), ("no such, c", ["{home}/no such", "{home}/c"]), ('say "hi"', ['{home}/say "hi"']),
])
def test_paths_are_read_as_people_type_and_drag_them(home: Path, text: str, paths: List[str]) -> None:
    for name in ("a b", "c", "Otto's", "a, b", 'say "hi"'):
        (home / name).mkdir()
    assert snapback.typed_paths(text.format(home=home), str(home)) == [path.format(home=home) for path in paths]


class Script(snapback.Talk):
    """A person whose answers are written down; each may do something first."""

    def __init__(self, *answers: Union[str, Callable[[], str]]) -> None:
        super().__init__(None, None)
        self.answers, self.told = list(answers), []  # type: List[Union[str, Callable[[], str]]], List[str]

    def tell(self, *lines: str) -> None:
        self.told += lines

    def ask(self, question: str, default: str = "") -> str:
        self.told.append(question)
        answer = self.answers.pop(0)
        return (answer if isinstance(answer, str) else answer()) or default


@pytest.mark.parametrize("meanwhile", ["another drive", "another copy", "nothing", "it was never there"])
def test_what_is_let_go_is_what_was_shown_on_the_drive_that_was_meant(anna: Person, meanwhile: str) -> None:
    other = anna.stick.parent / "other"
    other.mkdir()
    minutes = itertools.count()

    def at_last(*words: object) -> Outcome:
        with later(60 * next(minutes), START):
            return ask(*words)
    for drive in (other, anna.stick):
        for command in ("setup", "backup"):
            words = ["--first-copy", "--yes", "--drive"] if command == "setup" else []
            assert at_last(command, anna.home / "Documents", *words, drive).code == 0
    own = next(one.id for one in snapback.load_settings(str(settings_of(anna.home))).drives if one.path == str(anna.stick))

    def all_dates() -> List[str]:
        return sorted(date for drive in (anna.stick, other, anna.away) for path in drive.glob("*/manifests") for date in dates(path.parent))
    before = all_dates()

    def swap() -> str:
        anna.stick.rename(anna.away)
        other.rename(anna.stick)
        return "yes"

    def copy() -> str:
        assert at_last("backup", anna.home / "Documents", anna.stick).code == 0
        return "yes"

    if meanwhile == "it was never there":
        swap()
    performed: List[List[str]] = []

    def perform(words: Sequence[str]) -> snapback.Done:
        performed.append(list(words))
        outcome = at_last(*words, "--json")
        return snapback.Done(snapback.Exit(outcome.code), json.loads(outcome.out) if outcome.out else {})
    talk = Script({"another drive": swap, "another copy": copy}.get(meanwhile, "yes"))
    menu = snapback.Menu(talk, perform)
    menu._make_room({"id": own, "label": "BLUE STICK"})
    lost = [date for date in before if date not in all_dates()]
    assert (len(lost) > 0, len(before)) == (meanwhile == "nothing", 5)
    assert (["backup"] in performed, "NOT OK" in talk.told[-1]) == ((True, False) if meanwhile == "nothing" else (False, True))
    if meanwhile != "nothing":
        menu.talk = Script("yes")
        performed.clear()
        menu._explain_hold({"id": own, "label": "BLUE STICK"})
        assert [words[0] for words in performed] == (["accept"] if meanwhile == "another copy" else [])


def test_a_name_that_looks_like_an_option_is_a_name(anna: Person) -> None:
    target = anna.home / "back"
    (anna.home / "--version").mkdir()
    (anna.home / "--version" / "Lu\u0308cke").write_text("found")
    assert ask("setup", f"{anna.home}/--version", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    anna.runs(("3 get something back", "3"), ("From which date? 1", "1"), ("1 search for a name", "1"), ("(a part is enough)", ""),
              ("(a part is enough)", "ERSI"), ("1 --version 2 none of these", "1"), ("Into which new folder?", str(target)), (ON, ""), QUIT)
    assert (target / "--version" / "Lu\u0308cke").read_text() == "found"
    anna.runs(("3 get something back", "3"), ("From which date? 1", "1"), ("1 search for a name", "1"), ("(a part is enough)", "l\u00dcck"),
              ("2 none of these", "1"), ("Into which new folder?", "-x"), (ON, ""), QUIT)
    assert (anna.home / "-x" / "--version" / "Lu\u0308cke").read_text() == "found"


def test_a_date_whose_list_is_damaged_is_not_passed_over_in_silence(anna: Person) -> None:
    for hours in (0, 1):
        with later(3600 * hours, START):
            assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--first-copy", "--yes").code == 0
    (a_set,) = [path for path in anna.stick.iterdir() if (path / "manifests").exists()]
    newest = dates(a_set)[-1]
    (a_set / newest / "SHA256SUMS").write_text("nothing")
    (a_set / "manifests" / f"{newest}.gz").write_text("nothing")
    talk = Script("1", "everything", str(anna.home / "back"))
    snapback.Menu(talk, lambda words: snapback.Done(snapback.Exit(ask(*words).code), {})).get_back()
    assert [line for line in talk.told if line.startswith(f"{newest} is not offered, as its list is damaged")]
    assert (anna.home / "back" / "Documents" / "photo.jpg").exists()


@pytest.mark.parametrize("key", ["\x1b[D", "\x16\0"])
def test_keys_that_write_no_letters_make_no_path(anna: Person, key: str) -> None:
    """An arrow, or Ctrl and the space bar: a frightened person strikes them."""
    shown = anna.runs(("5 quit", "1" + key), ("Please type it again. " + CHOOSE, "5"))
    assert "There were keys in that which write no letters" in " ".join(shown.split())


def test_what_was_interrupted_does_not_interrupt_what_comes_after_it(anna: Person) -> None:
    stage = snapback.Stage([])
    stage.ending.ask(signal.SIGINT, None)
    assert stage.perform(["list", "--drive", str(anna.stick)]).code is snapback.Exit.ABSENT
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    stage.ending.ask(signal.SIGINT, None)
    assert stage.perform(["backup"]).code is snapback.Exit.DONE


def test_the_system_may_end_it_while_a_question_waits(anna: Person) -> None:
    child = pexpect.spawn(sys.executable, ["-I", str(SNAPBACK)], env={**os.environ, "HOME": str(anna.home)}, encoding="utf-8", timeout=20)
    child.expect("\r\n> ")
    child.kill(signal.SIGTERM)
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == signal.SIGTERM


# --- Setting up by options ------


def test_what_lies_on_the_drive_is_never_scheduled_and_then_nothing_is_half_done(anna: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    before = settings_of(anna.home).read_text()
    with monkeypatch.context() as patch:
        patch.setattr(snapback, "script_path", lambda: str(anna.stick / "snapback.py"))
        outcome = ask("setup", "--drive", anna.stick, "--install", "--every", "9d", "--yes")
    assert (outcome.code, "nothing can start it while that is away" in outcome.err) == (2, True), outcome
    assert settings_of(anna.home).read_text() == before
    shown = " ".join(anna.runs(("6 settings", "6"), ("2 answer", "2"), ("with a comma", ""), ("A number or a path", str(anna.stick)),
                               ("How often?", ""), (CHOOSE, ""), ("Shall it? (yes or no)", ""), ("first copy now?", ""), (ON, ""), QUIT,
                               script=anna.stick / "snapback.py").split())
    assert "This computer cannot make the copies by itself" in shown
    assert "OK - you can rely on this copy" in shown


def test_where_the_scheduler_fails_all_else_is_set_up(anna: Person, programs: Programs) -> None:
    programs.add("crontab", "echo 'you are not allowed' >&2; exit 1")
    outcome = ask("setup", anna.home / "Documents", "--drive", anna.stick, "--install", "--first-copy", "--yes")
    assert (outcome.code, "This computer will not make copies by itself" in outcome.err, "OK - you can rely" in outcome.out) == (
        3, True, True), outcome
    assert settings_of(anna.home).exists()


def test_every_answer_can_be_given_as_an_option(anna: Person) -> None:
    outcome = ask("setup", anna.home / "Documents", f"photos={anna.home}/Pictures", "--drive", anna.stick, "--label", "BLUE",
                  "--every", "12h", "--keep-daily", "5", "--install", "--first-copy", "--yes")
    assert (outcome.code, outcome.err, "Dated copy" in outcome.out) == (0, "", True), outcome
    settings = snapback.load_settings(str(settings_of(anna.home)))
    assert settings.sources == (f"{anna.home}/Documents", f"photos={anna.home}/Pictures")
    (drive,) = settings.drives
    assert (drive.label, drive.path, str(drive.every), drive.rotation.retention.daily) == ("BLUE", str(anna.stick), "12h", 5)
    assert "--if-due -q" in (anna.stick.parent / "crontab").read_text()
    assert str(SNAPBACK) in (anna.home / ".local" / "share" / "applications" / "snapback.desktop").read_text()
    assert {"Snapback.cmd", "Snapback.command", "snapback.py", "READ-ME-FIRST.txt"} <= {path.name for path in anna.stick.iterdir()}
    assert ask("backup").code == 0


def test_setting_up_again_keeps_what_is_not_said_and_the_earlier_settings_beside_the_new_ones(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--keep-daily", "5", "--yes").code == 0
    more = "notify = no\non-result = /usr/bin/tell me\nexclude = *.tmp\nset = box"
    text = settings_of(anna.home).read_text().replace("notify = yes", more)
    settings_of(anna.home).write_text(text)
    (anna.stick.parent / "other").mkdir()
    outcome = ask("setup", "--drive", anna.stick.parent / "other", "--every", "2d", "--yes")
    assert (outcome.code, "the earlier ones are beside them, in snapback.ini.before" in outcome.out) == (0, True), outcome
    settings = snapback.load_settings(str(settings_of(anna.home)))
    assert (settings.notify, settings.on_result, settings.patterns, settings.set_name) == (
        False, ("/usr/bin/tell", "me"), ((False, "*.tmp"),), "box")
    assert [str(one.every) for one in settings.drives] == ["1d", "2d"]
    assert settings_of(anna.home).with_name("snapback.ini.before").read_text() == text


def test_setting_up_again_keeps_what_a_drive_has_of_its_own(anna: Person) -> None:
    """What only this drive keeps must not be deleted there, as nobody said so; nor is it kept on others then."""
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    general, section, own = settings_of(anna.home).read_text().partition("[drive ")
    own = "\n".join([line for line in own.split("\n") if not line.startswith(("keep-", "offline"))] + ["keep-daily = 365", "offline = yes"])
    settings_of(anna.home).write_text(general + section + own)
    before = snapback.load_settings(str(settings_of(anna.home)))
    assert ask("setup", "--drive", anna.stick, "--every", "2d", "--yes").code == 0
    settings = snapback.load_settings(str(settings_of(anna.home)))
    assert settings.drives[0] == before.drives[0]._replace(every=snapback.parse_span("2d"))
    (anna.stick.parent / "other").mkdir()
    assert ask("setup", "--drive", anna.stick.parent / "other", "--keep-last", "2", "--yes").code == 0
    settings = snapback.load_settings(str(settings_of(anna.home)))
    assert settings.drives[0].rotation == before.drives[0].rotation
    assert (settings.rotation, settings.drives[1].rotation.retention.last) == (before.rotation, 2)


@pytest.mark.parametrize("name", ["two\nlines", "a\rb", " [drive]", "100% #;=", "end ", "$HOME", "$5", b"\xff\xfe"])
def test_settings_that_are_written_say_what_was_chosen_or_are_not_written(anna: Person, name: Union[str, bytes]) -> None:
    folder = Path(os.fsdecode(bytes(anna.home) + b"/" + os.fsencode(name)))
    folder.mkdir()
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    text = settings_of(anna.home).read_text()
    outcome = ask("setup", anna.home / "Documents", f"x={folder}/.", "--drive", anna.stick, "--yes")
    if outcome.code == 0:
        assert snapback.load_settings(str(settings_of(anna.home))).sources == (f"{anna.home}/Documents", f"x={folder}")
    else:
        assert (outcome.code, "cannot hold one of these" in outcome.err, settings_of(anna.home).read_text()) == (2, True, text), outcome
    assert (outcome.code == 0) == (name in (" [drive]", "100% #;="))
    assert [path.name for path in settings_of(anna.home).parent.iterdir() if path.name.endswith(".new")] == []


def test_what_a_question_offers_are_answers() -> None:
    assert [str(snapback.parse_span(word)) for word in snapback.RHYTHMS] == list(snapback.RHYTHMS)


def test_no_drive_is_missed_before_a_copy_is_due_and_settings_are_for_nobody_else(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--every", "14d", "--yes").code == 0
    assert str(snapback.load_settings(str(settings_of(anna.home))).drives[0].remind_after) == "14d"
    assert settings_of(anna.home).stat().st_mode & 0o777 == 0o600


def test_a_label_on_a_strange_drive_adds_nothing_to_the_settings(anna: Person) -> None:
    assert ask("init", anna.stick, "--label", "BLUE").code == 0
    marker = anna.stick / "snapback-marker.txt"
    marker.write_bytes(marker.read_bytes().replace(b"label: BLUE", b"label: BLUE\r[drive " + b"0" * 32 + b"]"))
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    assert len(snapback.load_settings(str(settings_of(anna.home))).drives) == 1


def test_folders_may_be_named_from_where_one_stands_and_odd_digits_are_no_numbers(anna: Person) -> None:
    answers = set_up(anna)
    answers[0] = (answers[0][0], "\u00b2")
    answers[1:2] = [("There is no '\u00b2' here. Please type a number from 1 to 5, or q to leave. " + CHOOSE, "4"),
                    (answers[1][0], "\u00b2"), ("That does not work", "Documents")]
    anna.runs(*answers, QUIT)
    assert snapback.load_settings(str(settings_of(anna.home))).sources == (str(anna.home / "Documents"),)


def test_what_is_often_left_out_stands_ready_to_be_chosen(anna: Person) -> None:
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    text = settings_of(anna.home).read_text()
    for wanted in ("exclude =", "    *.tmp", "    Downloads/"):
        text = text.replace("#" + wanted, wanted)
    settings_of(anna.home).write_text(text)
    assert snapback.load_settings(str(settings_of(anna.home))).patterns == ((False, "*.tmp"), (False, "Downloads/"))


@pytest.mark.parametrize(("words", "text"), [
    (["{docs}"], "say where to copy to"),
    (["{docs}", "--drive", "{place}/nowhere"], "there is no folder"),
    (["{home}/nowhere", "--drive", "{stick}"], "there is no"),
    (["{docs}", "--drive", "{docs}/Letters"], "lies inside"),
    (["{docs}", "--drive", "{stick}", "--every", "sometimes"], "sometimes"),
    (["{docs}", "--drive", "{stick}", "--keep-last", "many"], "many"),
])
def test_an_answer_that_is_none_changes_nothing(anna: Person, words: List[str], text: str) -> None:
    outcome = ask("setup", "--yes", *[word.format(docs=anna.home / "Documents", home=anna.home, place=anna.stick.parent, stick=anna.stick)
                                      for word in words])
    assert (outcome.code in (1, 2), text in outcome.err, outcome.err.count("\n")) == (True, True, 1), outcome
    assert not settings_of(anna.home).exists()
    assert list(anna.stick.iterdir()) == []


def test_without_a_terminal_and_a_command_it_says_how_the_drives_stand(anna: Person, cli: Cli) -> None:
    outcome = cli()
    assert (outcome.code, "NOT SAFE: no drive is known here yet; make the first dated copy" in outcome.err) == (1, True), outcome


def test_what_lies_on_the_drive_is_not_scheduled_and_nothing_was_changed(anna: Person, cli: Cli) -> None:
    shutil.copy(SNAPBACK, anna.stick / "snapback.py")
    words = ["-I", str(anna.stick / "snapback.py"), "setup", str(anna.home / "Documents"), "--drive", str(anna.stick), "--yes"]
    ran = subprocess.run([sys.executable, *words, "--install"], capture_output=True, text=True, check=False)
    assert (ran.returncode, "first copy it to this computer" in ran.stderr) == (2, True), ran
    assert (settings_of(anna.home).exists(), [path.name for path in anna.stick.iterdir()]) == (False, ["snapback.py"])
    answers = set_up(anna)
    del answers[5]
    shown = anna.runs(*answers, QUIT, script=anna.stick / "snapback.py")
    assert "This computer cannot make the copies by itself" in " ".join(shown.split())
    assert not (anna.home / ".local" / "share" / "applications").exists()


def test_there_are_settings_whichever_call_fails_when_new_ones_are_written(anna: Person) -> None:
    folder = settings_of(anna.home).parent
    assert ask("setup", anna.home / "Documents", "--drive", anna.stick, "--yes").code == 0
    old = snapback.load_settings(str(settings_of(anna.home)))
    new = old._replace(sources=(str(anna.home / "Pictures"),))
    for nth in range(1, 200):
        hit = Hit(Fault(str(folder), nth, errno.EIO))
        with watched(hit):
            with contextlib.suppress(OSError, snapback.SnapbackError):
                snapback.write_settings(str(settings_of(anna.home)), new)
        assert snapback.load_settings(str(settings_of(anna.home))).sources in (old.sources, new.sources), nth
        if not hit.calls:
            break
        for aside in folder.glob("*before*"):
            aside.unlink()  # or looking for a free name takes one call more each time
        snapback.write_settings(str(settings_of(anna.home)), old)
    assert 10 < nth < 199
