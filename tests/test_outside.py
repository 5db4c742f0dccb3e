"""The outside world: schedulers, notices, what a person is told by, ejecting; on real daemons where they run, else by recorded calls."""

from __future__ import annotations

import json
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple

import pytest

import snapback
from conftest import COARSE, SNAPBACK, Cli, Mount, Result
from snapback import Schedule
from trees import dates

Run = Callable[..., Result]

AWKWARD = [
    "plain",
    "My Documents",
    "100% mine",
    "%",
    "a\\%b\\\\%",
    "it's \"quoted\"",
    "back\\slash\\",
    "Années été",
    "$HOME ${HOME} $$ `id`",
    "-rf",
    "a;b&c|d>e<f*g?h[i]~#!",
    "%h %% \\n",
    "",
]
WORDS = ["/usr/bin/python3", "-I", "/opt/snapback.py", "backup", *AWKWARD]
OTHERS = "MAILTO=anna@example.org\n# snapback: my own note\n\n5 4 * * *\troot-job 100\\% 'x'  # \xe9\n"  # what is somebody else's
LINE = "17 * * * * /usr/bin/python3 -I /opt/snapback.py backup --if-due -q"
OTHER_LINE = "17 * * * * /usr/bin/python3 -I /opt/snapback.py backup /home/anna/Documents /media/usb -q"


# --- The line for cron ------


def as_cron_reads_it(line: str) -> str:
    """Give the command of a line as Debian's cron hands it to the shell (do_command.c): up to a bare percent sign, others unescaped."""
    command = line.split(" ", 5)[5]
    assert not re.search(r"(?<!\\)(?:\\\\)*%", re.sub(r"\\[^%]", "", command)), "cron would end the command here"
    return command.replace("\\%", "%")


def as_a_shell_reads_it(command: str) -> List[str]:
    script = f"{shlex.quote(sys.executable)} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {command}"
    return [*json.loads(subprocess.run(["/bin/sh", "-c", script], stdout=subprocess.PIPE, check=True, env={}).stdout)]


@pytest.mark.needs("sh")
def test_a_shell_that_cron_starts_reads_every_word_as_it_is() -> None:
    assert as_a_shell_reads_it(as_cron_reads_it(snapback.crontab_line(Schedule(WORDS)))) == WORDS


@pytest.mark.needs("sh")
def test_a_cron_that_leaves_percent_signs_alone_reads_the_same() -> None:
    assert as_a_shell_reads_it(snapback.crontab_line(Schedule(WORDS)).split(" ", 5)[5]) == WORDS  # busybox


@pytest.mark.parametrize(("every", "times"), [(60, "17 * * * *"), (1, "* * * * *"), (20, "*/20 * * * *")])
def test_cron_looks_every_so_many_minutes(every: int, times: str) -> None:
    assert snapback.crontab_line(Schedule(["/p", "backup"], every)) == f"{times} /p backup"


@pytest.mark.parametrize("text", [snapback.crontab_line, snapback.systemd_units, snapback.launchd_plist, snapback.task_xml])
@pytest.mark.parametrize("word", ["a\nb", "a\rb", "a\tb", "a\x1b[2J", "a\udcff", "\x85"])
def test_no_scheduler_is_given_a_line_break_or_what_is_no_text(text: Callable[[Schedule], object], word: str) -> None:
    with pytest.raises(snapback.UsageError, match="a schedule cannot hold"):
        text(Schedule([*WORDS, word]))


# --- A crontab with other people's lines ------

CRONTABS: Dict[str, str] = {  # what is there -> what is there then; {own} is our entry
    "": "{own}",
    OTHERS: OTHERS + "{own}",
    OTHERS.rstrip("\n"): OTHERS + "{own}",
    "\n\n": "\n\n{own}",
    "@daily a\r\n": "@daily a\r\n{own}",
}
OWN = f"{snapback.OWN_COMMENT}\n{LINE}\n"
OTHER_OWN = f"{snapback.OWN_COMMENT}\n{OTHER_LINE}\n"


@pytest.mark.parametrize("old", CRONTABS)
def test_the_rest_of_a_crontab_stays_as_it_is(old: str) -> None:
    new = snapback.crontab_with(old, LINE)
    assert new == CRONTABS[old].format(own=OWN)
    assert snapback.crontab_with(new, LINE) == new
    assert snapback.crontab_without(new) == new[: -len(OWN)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OTHERS + OTHER_OWN + "@daily b", OTHERS + OWN + "@daily b"),
        (OTHER_OWN + OTHERS + OTHER_OWN, OWN + OTHERS),
        (OTHERS + OTHER_OWN.replace("\n17 ", "\n#17 "), OTHERS + OWN),
        (f"{snapback.OWN_COMMENT}\n@daily b\n", f"{OWN}@daily b\n"),
        (f"{snapback.OWN_COMMENT}\n{OTHER_LINE}", OWN),
        (OTHER_LINE + "\n", OTHER_LINE + "\n" + OWN),
    ],
    ids=["in its place", "twice", "put to rest", "the line is gone", "at the end", "written by hand"],
)
def test_an_earlier_entry_is_replaced_and_no_other_line(old: str, new: str) -> None:
    assert snapback.crontab_with(old, LINE) == new
    assert snapback.crontab_without(new) == new.replace(OWN, "")


# --- systemd ------


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    units = snapback.systemd_units(Schedule([sys.executable, "-I", os.fspath(SNAPBACK), "backup", *AWKWARD]))
    assert (list(units), "Persistent=true" in units["snapback.timer"]) == (["snapback.service", "snapback.timer"], True)
    assert complaints(tmp_path, units) == ""
    assert "Unknown key" in complaints(tmp_path, {**units, "snapback.timer": units["snapback.timer"] + "Nonsense=1\n"})


def complaints(folder: Path, units: Dict[str, str]) -> str:
    for name, text in units.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = ["systemd-analyze", "--user", "--man=no", "verify", *(folder / name for name in units)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, "XDG_RUNTIME_DIR": os.fspath(folder)})
    own = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r"snapback\.(service|timer)", line)]
    return "\n".join(own)  # it reads the machine's own units as well, and complains of them


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["plain", "a b", "100%", "%h%%", "é", "a$HOME", "$"])
def test_systemd_finds_the_program_whatever_its_folder_is_called(tmp_path: Path, name: str) -> None:
    program = tmp_path / name / "python3"
    program.parent.mkdir()
    assert "is not executable" in complaints(tmp_path, snapback.systemd_units(Schedule([os.fspath(program)])))
    shutil.copy("/bin/true", program)
    assert complaints(tmp_path, snapback.systemd_units(Schedule([os.fspath(program)]))) == ""


@pytest.mark.parametrize("path", ["/a\\b/python", '/a"b/python', "/a'b/python"])
def test_a_program_that_systemd_would_not_start_is_refused(path: str) -> None:
    with pytest.raises(snapback.UsageError, match="systemd starts no program with a quote or a backslash"):
        snapback.systemd_units(Schedule([path, "-I"]))


def as_systemd_reads_it(line: str) -> List[str]:
    """Split an ExecStart= by systemd.service(5): quotes, escapes as in C, then specifiers, then variables in all but the program."""
    pieces = re.findall(r'"((?:[^"\\]|\\.)*)"(?: |$)', line)
    assert " ".join(f'"{piece}"' for piece in pieces) == line
    words = [re.sub(r"\\(.)", r"\1", piece) for piece in pieces]
    assert [word for word in words if re.search(r"(?<!%)(?:%%)*%(?!%)", word)] == [], "that is a specifier"
    words = [word.replace("%%", "%") for word in words]
    assert [word for word in words[1:] if re.search(r"(?<!\$)(?:\$\$)*\$(?!\$)", word)] == [], "that is a variable"
    return [words[0], *(word.replace("$$", "$") for word in words[1:])]


def test_systemd_reads_every_word_as_it_is() -> None:
    words = ["/opt/$x 100%/python3", *WORDS[1:]]
    (line,) = re.findall(r"^ExecStart=(.*)$", snapback.systemd_units(Schedule(words))["snapback.service"], re.MULTILINE)
    assert as_systemd_reads_it(line) == words


# --- launchd and the Task Scheduler ------


def test_the_agent_of_macos_holds_every_word_as_it_is() -> None:
    assert plistlib.loads(snapback.launchd_plist(Schedule(WORDS))) == {
        "Label": "snapback",
        "ProgramArguments": WORDS,
        "RunAtLoad": True,
        "StartInterval": 3600,
        "ProcessType": "Background",
    }


TASKS = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def task_of(schedule: Schedule) -> Dict[str, str]:
    """Give the texts of a task by their paths, as a parser reads its file."""
    found: Dict[str, str] = {}

    def read(element: ET.Element, above: str) -> None:
        assert element.tag.startswith(TASKS)
        path = f"{above}/{element.tag[len(TASKS) :]}"
        found.update({path: element.text or ""} if not len(element) else {})
        for child in element:
            read(child, path)

    top = ET.fromstring(snapback.task_xml(schedule).encode("utf-16"))
    for child in top:
        read(child, "")
    return found


def test_the_task_of_windows_starts_on_battery_and_makes_up_for_what_was_missed() -> None:
    python = "C:\\Program Files\\Python & Co\\pythonw.exe"
    task = task_of(Schedule([python, "-I", "C:\\<été>\\snapback.py", "backup", "D:\\My Documents\\"]))
    wanted = {
        "/Triggers/TimeTrigger/Repetition/Interval": "PT60M",
        "/Triggers/TimeTrigger/Repetition/StopAtDurationEnd": "false",
        "/Triggers/TimeTrigger/StartBoundary": "2020-01-01T00:17:00",
        "/Settings/MultipleInstancesPolicy": "IgnoreNew",
        "/Settings/DisallowStartIfOnBatteries": "false",
        "/Settings/StopIfGoingOnBatteries": "false",
        "/Settings/StartWhenAvailable": "true",
        "/Settings/ExecutionTimeLimit": "PT0S",
        "/Actions/Exec/Command": python,
        "/Actions/Exec/Arguments": '-I C:\\<été>\\snapback.py backup "D:\\My Documents\\\\"',
    }
    assert {path: task.get(path) for path in wanted} == wanted


def as_windows_reads_it(arguments: str) -> List[str]:
    """Split a command line by the rules of CommandLineToArgvW: 2n backslashes and a quote are n and the end of a quoted part."""
    words: List[str] = []
    word, inside, begun, at = "", False, False, 0
    while at < len(arguments):
        slashes = len(arguments[at:]) - len(arguments[at:].lstrip("\\"))
        at += slashes
        char = arguments[at : at + 1]
        if char == '"':
            word += "\\" * (slashes // 2) + ('"' if slashes % 2 else "")
            inside ^= not slashes % 2
            begun = True
        elif char in (" ", "") and not inside:
            word += "\\" * slashes
            words += [word] if word or begun else []
            word, begun = "", False
        else:
            word += "\\" * slashes + char
        at += 1
    return words + ([word] if word or begun else [])


def test_windows_splits_the_arguments_into_every_word_as_it_is() -> None:
    assert as_windows_reads_it(task_of(Schedule(WORDS))["/Actions/Exec/Arguments"]) == WORDS[1:]


# --- Programs that record how they are called ------


class Called(NamedTuple):
    """One call of a program: its words, its input, its environment."""

    words: List[str]
    given: str
    variables: Dict[str, str]


class Programs:
    """The only folder on PATH, with programs that record how they are called."""

    def __init__(self, folder: Path) -> None:
        """The folder is empty."""
        self.folder = folder

    def add(self, name: str, script: str = "") -> None:
        """Make a program that records its call and does then what a script says; its own words are `$@`, its input lies in `$given`."""
        record = f"""#!/bin/sh
call=$(/bin/mktemp -d {shlex.quote(os.fspath(self.folder))}/call-$(/bin/date +%s.%N)-XXXXXX)
given=$call/given
printf '%s\\0' {name} "$@" >"$call/words"
/usr/bin/env -0 >"$call/variables"
/bin/cat >"$given"
"""
        (self.folder / name).write_text(record + script, encoding="utf-8")
        (self.folder / name).chmod(0o755)

    def calls(self) -> List[Called]:
        """Give all calls so far, in their order."""
        found = []
        for call in sorted(self.folder.glob("call-*")):
            words, given, variables = ((call / name).read_text(encoding="utf-8") for name in ("words", "given", "variables"))
            pairs = (pair.partition("=") for pair in variables.split("\0"))
            found.append(Called(words.split("\0")[:-1], given, {name: value for name, _, value in pairs}))
        return found

    def words(self) -> List[List[str]]:
        """Give the words of all calls so far."""
        return [call.words for call in self.calls()]


def write_settings(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / snapback.SETTINGS).write_text(f"[backup]\nsources = {folder}\n[drive {'0' * 32}]\n")


@pytest.fixture(autouse=True)
def settings(home: Path) -> None:
    """A run by the settings is not scheduled where there are none; each system has its own place for them."""
    for place in (".config/snapback", "Library/Application Support/snapback", "snapback"):
        write_settings(home / place)


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    folder = tmp_path / "programs"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:  # of its own: what is unmounted after the test needs the usual PATH
        patch.setenv("PATH", os.fspath(folder))
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS"):
            patch.delenv(name, raising=False)
        yield Programs(folder)


@pytest.fixture
def paths(tmp_path: Path, run: Run) -> List[str]:
    """A source and a drive with a marker."""
    source, drive = tmp_path / "My Documents", tmp_path / "100% drive"
    source.mkdir()
    (source / "letter").write_bytes(b"1")
    drive.mkdir()
    assert run("init", drive, "--anyway").code == 0
    return [os.fspath(source), os.fspath(drive)]


CRONTAB = """
cd {folder}
case "$1" in
-l) [ -e table ] && /bin/cat table || {{ echo 'no crontab for anna' >&2; exit 1; }} ;;
-) /bin/cat "$given" >table ;;
esac
"""


@pytest.fixture
def table(programs: Programs) -> Path:
    """What a `crontab` keeps that stands on PATH; it is not there yet."""
    programs.add("crontab", CRONTAB.format(folder=shlex.quote(os.fspath(programs.folder))))
    return programs.folder / "table"


def scheduled(*words: str) -> List[str]:
    return [sys.executable, "-I", os.fspath(SNAPBACK), "backup", *words]


# --- schedule: shown ------


def test_without_paths_the_settings_are_scheduled(run: Run, table: Path) -> None:
    done = run("schedule", "--json")
    facts = json.loads(done.out)
    assert (done.code, done.err, facts["kind"], facts["command"], facts["installed"]) == (0, "", "cron", scheduled("--if-due", "-q"), False)
    assert facts["texts"] == {"crontab": f"{snapback.OWN_COMMENT}\n{snapback.crontab_line(Schedule(facts['command']))}\n"}
    assert not table.exists()


def test_settings_that_were_named_are_named_to_the_scheduler(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert snapback.scheduled_words([], "1d", "my.ini") == scheduled("--if-due", "-q", "--config", os.path.realpath(home / "my.ini"))


@pytest.mark.parametrize("kind", snapback.SCHEDULERS)
def test_with_paths_they_are_scheduled_as_absolute_ones(run: Run, paths: List[str], monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    source, drive = paths
    monkeypatch.chdir(Path(drive).parent)
    done = run("schedule", "My Documents", f"work={source}/letter", "100% drive", "--every", "12h", "--with", kind, "--json")
    command = json.loads(done.out)["command"]
    assert command == scheduled(source, f"work={source}/letter", drive, "--if-attached", "--every", "12h", "-q")
    assert "--init" not in command


@pytest.mark.parametrize("kind", snapback.SCHEDULERS)
def test_an_entry_is_shown_with_the_place_where_to_put_it(run: Run, paths: List[str], kind: str) -> None:
    done = run("schedule", *paths, "--with", kind)
    texts = json.loads(run("schedule", *paths, "--with", kind, "--json").out)["texts"]
    assert (done.code, done.err) == (0, "")
    assert all(text in done.out for text in texts.values())
    assert {"cron": "crontab -e", "systemd": "~/.config/systemd/user/snapback.timer:", "launchd": "~/Library/LaunchAgents/snapback.plist:",
            "task": "schtasks /Create"}[kind] in done.out  # fmt: skip
    assert "--install" in done.out


# --- schedule: refused ------


def refusal(done: Result) -> str:
    """Give the one sentence with which a command is refused, before anything was touched."""
    assert (done.code, done.out) == (2, "")
    (sentence,) = done.err.splitlines()
    return sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("schedule {S}", "name at least one source and then the drive"),
        ("schedule {S} {T}", "is no backup drive, so a schedule would wait for it for ever"),
        ("schedule {S}/nothing {D}", "there is no"),
        ("schedule {S} {D} --every soon", "is no duration"),
        ("schedule {S} {D} --every 0d", "is no time at all"),
        ("schedule --every 2d", "--every goes with paths"),
        ("schedule --install --remove", "do not go together"),
        ("schedule {S} {D} --remove", "--remove takes away whatever is scheduled"),
        ("schedule --with at", "invalid choice"),
        ("schedule --with launchd --install", "there is no launchctl on this computer"),
    ],
)
def test_what_cannot_be_scheduled_is_refused_before_anything_is_touched(
    run: Run, paths: List[str], table: Path, tmp_path: Path, words: str, said: str
) -> None:
    places = {"{S}": paths[0], "{D}": paths[1], "{T}": os.fspath(tmp_path)}
    done = run(*(word.replace(word[:3], places.get(word[:3], word[:3])) for word in words.split()))
    assert said in refusal(done)
    assert not table.exists()


def test_without_settings_schedule_says_how_it_is_called(run: Run, home: Path) -> None:
    for place in (".config/snapback", "Library/Application Support/snapback", "snapback"):
        (home / place / "snapback.ini").unlink()
    assert "say what to copy and where to: snapback.py schedule ~/Documents /media/usb (or write" in refusal(run("schedule"))


def test_without_a_scheduler_that_is_said(run: Run, programs: Programs) -> None:
    assert "there is no scheduler here (crontab or systemctl is needed)" in refusal(run("schedule"))


def test_systemd_serves_where_there_is_no_crontab(run: Run, programs: Programs) -> None:
    programs.add("systemctl")
    assert json.loads(run("schedule", "--json").out)["kind"] == "systemd"


def test_a_path_with_a_line_break_is_refused(run: Run, paths: List[str], table: Path) -> None:
    Path(paths[0], "a\nb").mkdir()
    assert "a schedule cannot hold" in refusal(run("schedule", paths[0] + "/a\nb", paths[1], "--install"))
    assert not table.exists()


@pytest.mark.parametrize("with_paths", [True, False])
def test_what_lies_on_the_drive_is_not_scheduled(cli: Cli, paths: List[str], with_paths: bool) -> None:
    on_drive = Path(paths[1], "tools", "snapback.py")
    on_drive.parent.mkdir()
    shutil.copy(SNAPBACK, on_drive)
    words = [sys.executable, "-I", on_drive, "schedule", *(paths if with_paths else []), "--with", "cron"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8")
    assert f"snapback.py lies on the drive {paths[1]}, and nothing can start it while that is away" in refusal(
        Result(done.returncode, done.stdout, done.stderr)
    )


def test_a_drive_that_was_seen_here_may_be_away(run: Run, paths: List[str], table: Path) -> None:
    shutil.rmtree(paths[1])
    assert run("schedule", *paths).code == 0


# --- schedule: installed ------


def test_installing_leaves_other_lines_alone_and_says_how_to_undo_it(run: Run, paths: List[str], table: Path) -> None:
    table.write_text(OTHERS, encoding="utf-8")
    done = run("schedule", *paths, "--install")
    line = snapback.crontab_line(Schedule(scheduled(*paths, "--if-attached", "--every", "1d", "-q")))
    assert (done.code, done.err, table.read_text(encoding="utf-8")) == (0, "", f"{OTHERS}{snapback.OWN_COMMENT}\n{line}\n")
    assert (line in done.out, "snapback.py schedule --remove" in done.out, "in the place of" in done.out) == (True, True, False)
    assert run("schedule", *paths, "--install") == done
    again = run("schedule", "--install")
    assert (again.code, f"It takes the place of:  {line}" in again.out) == (0, True)
    assert table.read_text(encoding="utf-8").count("snapback.py backup") == 1
    assert run("schedule", "--remove").out == "Taken away from the crontab: nothing is started by itself any more.\n"
    assert table.read_text(encoding="utf-8") == OTHERS
    assert "nothing was changed" in run("schedule", "--remove").out


def test_a_crontab_that_is_in_place_is_not_written_again(run: Run, programs: Programs, table: Path) -> None:
    run("schedule", "--install")
    before = len(programs.calls())
    run("schedule", "--install")
    assert programs.words()[before:] == [["crontab", "-l"]]


UNREADABLE = {  # why a crontab cannot be read -> what `crontab -l` does
    "You (anna) are not allowed to use this program": "echo 'You (anna) are not allowed to use this program (crontab)' >&2; exit 1",
    "crontabs/anna/: fopen: Permission denied": "echo 'crontabs/anna/: fopen: Permission denied' >&2; exit 1",
    "no crontab for anna": "echo 'no crontab for anna' >&2; exit 2",
    "it was ended by signal 9": "kill -9 $$",
    "it ended with exit status 1": "exit 1",
    "MAILTO=anna": "echo 'MAILTO=anna'; echo 'no crontab for the moment: I/O error' >&2; exit 1",
}


@pytest.mark.parametrize("why", UNREADABLE)
@pytest.mark.parametrize("option", ["--install", "--remove"])
def test_a_crontab_that_cannot_be_read_is_not_written(run: Run, programs: Programs, why: str, option: str) -> None:
    programs.add("crontab", UNREADABLE[why])
    done = run("schedule", "--with", "cron", option)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("snapback: the crontab cannot be read, so it was not changed (")
    assert why in done.err or why == "MAILTO=anna"
    assert programs.words() == [["crontab", "-l"]]


def test_a_crontab_that_is_refused_is_said_to_be(run: Run, programs: Programs) -> None:
    programs.add("crontab", "[ \"$1\" = -l ] || { echo '\"-\":1: bad minute' >&2; exit 1; }")
    done = run("schedule", "--install")
    assert (done.code, done.out) == (1, "")
    assert 'crontab - refused ("-":1: bad minute); nothing was changed' in done.err


def test_a_crontab_that_is_not_what_was_written_is_said(run: Run, programs: Programs) -> None:
    programs.add("crontab", "exit 0")
    done = run("schedule", "--install")
    assert (done.code, "the crontab is not what was written" in done.err) == (1, True)


def test_installing_units_starts_the_timer(run: Run, programs: Programs, home: Path) -> None:
    programs.add("systemctl")
    done = run("schedule", "--install")
    units = snapback.systemd_units(Schedule(scheduled("--if-due", "-q")))
    folder = home / ".config/systemd/user"
    user = ["systemctl", "--user"]
    assert (done.code, done.err, "loginctl enable-linger" in done.out) == (0, "", True)
    assert {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()} == units
    assert programs.words() == [[*user, "show-environment"], [*user, "daemon-reload"], [*user, "enable", "--now", "snapback.timer"]]
    assert run("schedule", "--install") == done
    assert run("schedule", "--remove").code == 0
    assert programs.words()[-2:] == [[*user, "disable", "--now", "snapback.timer"], [*user, "daemon-reload"]]
    assert list(folder.iterdir()) == []


def test_units_are_not_written_where_no_systemd_answers(run: Run, programs: Programs, home: Path) -> None:
    programs.add("systemctl", "echo 'Failed to connect to bus: No medium found' >&2; exit 1")
    done = run("schedule", "--install")
    assert (done.code, done.out) == (1, "")
    assert done.err == "snapback: systemctl --user refused (Failed to connect to bus: No medium found)\n"
    assert list(home.glob(".config/**/*.service")) == []


def test_units_of_somebody_else_are_left_alone(run: Run, programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", os.fspath(tmp_path / "config"))
    write_settings(tmp_path / "config/snapback")
    programs.add("systemctl")
    service = tmp_path / "config/systemd/user/snapback.service"
    service.parent.mkdir(parents=True)
    service.write_text("[Service]\nExecStart=/bin/true\n")
    done = run("schedule", "--install")
    assert (done.code, "that snapback did not write" in done.err) == (1, True)
    assert [file.name for file in service.parent.iterdir()] == ["snapback.service"]
    timer = service.parent / "snapback.timer"
    timer.write_text("[Timer]\nOnCalendar=daily\n")
    called = len(programs.words())
    assert run("schedule", "--remove").code == 0
    assert (service.exists(), timer.exists(), len(programs.words())) == (True, True, called)  # nor is it switched off


def test_there_is_one_entry_whichever_scheduler_has_it(run: Run, programs: Programs, table: Path, home: Path) -> None:
    programs.add("systemctl")
    table.write_text("MAILTO=anna\n")
    units = home / ".config/systemd/user"
    assert "was taken away" not in run("schedule", "--with", "systemd", "--install").out
    done = run("schedule", "--with", "cron", "--install")
    assert (done.code, list(units.iterdir()), "snapback.py backup" in table.read_text()) == (0, [], True)
    assert done.out.endswith("The earlier entry in systemd was taken away.\n"), done
    done = run("schedule", "--with", "systemd", "--install")
    assert (done.code, len(list(units.iterdir())), table.read_text()) == (0, 2, "MAILTO=anna\n")
    programs.add("crontab", "echo 'you may not' >&2; exit 1")
    done = run("schedule", "--with", "systemd", "--install")
    assert (done.code, done.err) == (0, "")
    assert "Whether the crontab has an earlier entry is not known: the crontab cannot be read" in done.out


def test_an_agent_is_loaded_and_taken_away(run: Run, programs: Programs, home: Path) -> None:
    programs.add("launchctl")
    domain = f"gui/{os.getuid()}"
    agent = os.path.realpath(home / "Library/LaunchAgents/snapback.plist")
    assert run("schedule", "--with", "launchd", "--install").code == 0
    assert plistlib.loads(Path(agent).read_bytes())["ProgramArguments"] == scheduled("--if-due", "-q")
    assert programs.words() == [["launchctl", "bootout", f"{domain}/snapback"], ["launchctl", "bootstrap", domain, agent]]
    assert run("schedule", "--with", "launchd", "--remove").code == 0
    assert (programs.words()[2:], os.path.exists(agent)) == ([["launchctl", "bootout", f"{domain}/snapback"]], False)


def test_an_agent_that_is_refused_is_said_to_be(run: Run, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    programs.add("launchctl", "echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5")
    done = run("schedule", "--with", "launchd", "--install")
    assert (done.code, "launchctl bootstrap refused (Bootstrap failed: 5: Input/output error)" in done.err) == (1, True)


def test_a_task_is_made_from_a_file_in_utf_16_and_taken_away(run: Run, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERNAME", "Anna Müller")
    known = programs.folder / "known"
    programs.add("schtasks", f'case "$1" in /Create) /bin/cp "$5" {known} ;; /Query) [ -e {known} ] ;; /Delete) /bin/rm {known} ;; esac')
    name = ["/TN", "snapback-Anna_Müller"]
    assert run("schedule", "--with", "task", "--install").code == 0
    query, create = programs.words()
    assert (query, create[:5], create[6:]) == (["schtasks", "/Query", *name], ["schtasks", "/Create", *name, "/XML"], ["/F"])
    assert known.read_bytes().decode("utf-16") == snapback.task_xml(Schedule(scheduled("--if-due", "-q")))
    assert not os.path.exists(create[5])
    assert "It takes the place of:" in run("schedule", "--with", "task", "--install").out
    assert run("schedule", "--with", "task", "--remove").code == 0
    assert (programs.words()[-1], known.exists()) == (["schtasks", "/Delete", *name, "/F"], False)


def test_on_windows_a_task_opens_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapback, "WINDOWS", True)
    python = os.fspath(tmp_path / "Python.exe")
    assert snapback.without_console(python) == python
    (tmp_path / "pythonw.exe").touch()
    assert snapback.without_console(python) == os.fspath(tmp_path / "pythonw.exe")


def test_a_program_of_the_current_folder_is_never_taken_for_the_systems(programs: Programs) -> None:
    programs.add("crontab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(programs.folder)
        patch.setenv("PATH", os.pathsep.join(["", ".", "../programs"]))
        assert snapback.find_program("crontab") == ""
        assert snapback.run_program(snapback.Call(["crontab"]), 5) == snapback.Ran(None, "", "there is no program crontab here")
    assert programs.calls() == []


# --- Real daemons ------


# It sees no other daemon's files, and whatever is started in it ends with it. (Not for systemd: it would move every process of
# this machine into a control group of its own.)
OWN_WORLD = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec"]


def in_own_world(script: str, *words: object) -> str:
    """Carry out a shell script, whose words are `$1` ..., where it may mount and start what it likes; give what it prints."""
    command = [*OWN_WORLD, script, "sh", *map(str, words)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


CRON_WORLD = """
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/spool/cron
mount -t tmpfs tmpfs /etc/cron.d
mount --bind /dev/null /etc/crontab
mkdir -m 1730 /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
"""


@pytest.fixture
def awkward(tmp_path: Path, run: Run) -> List[str]:
    """A source and a drive whose names are anything but plain."""
    source, drive = tmp_path / "100% d'été $HOME \"x\" \\% y", tmp_path / "-drive & co"
    source.mkdir()
    (source / "letter").write_bytes(b"1")
    drive.mkdir()
    assert run("init", drive, "--anyway").code == 0
    return [os.fspath(source), os.fspath(drive)]


def own_command(*words: str) -> List[str]:
    return [sys.executable, "-I", os.fspath(SNAPBACK), "schedule", *words]


@pytest.mark.needs("root", "mount", "cron", "crontab")
def test_a_real_crontab_keeps_other_lines(awkward: List[str]) -> None:
    others = OTHERS.replace("\xe9", "\xe9 \\%")
    script = f"""{CRON_WORLD}
crontab -l && exit 1
printf %s {shlex.quote(others)} | crontab -
"$@" >/dev/null
"$@" >/dev/null
crontab -l | grep -c snapback.py' backup'
"$1" "$2" "$3" "$4" --remove >/dev/null
crontab -l
"""
    assert in_own_world(script, *own_command(*awkward, "--install", "--with", "cron")) == "1\n" + others


@pytest.mark.skipif(COARSE, reason="it waits for a full minute; where loops run in full it is tried")
@pytest.mark.needs("root", "mount", "cron", "crontab")
def test_a_real_cron_starts_the_line_that_was_installed(awkward: List[str], home: Path) -> None:
    script = f"""{CRON_WORLD}
"$@" >&2
crontab -l | sed 's/^{snapback.MINUTE} /* /' | crontab -
env -i /usr/sbin/cron -f >/dev/null 2>&1 &
for second in $(seq 75); do
    sleep 1
    ls -d "$6"/*/20*/SHA256SUMS 2>/dev/null | grep -v incomplete && break
done
"""
    source, drive = awkward
    in_own_world(script, *own_command(source, drive, "--install", "--with", "cron"))
    (a_set,) = [entry for entry in Path(drive).iterdir() if entry.is_dir()]
    (date,) = dates(a_set)
    assert (a_set / date / Path(source).name / "letter").read_bytes() == b"1"


# --- Notices ------

TITLE, TEXT = "--urgency=critical", "-x 50% <b>of</b> \\n $(id) `id` \"q\" 'q' & \x1b[2J\nlast"
CLEAN = "-x 50% <b>of</b> \\n $(id) `id` \"q\" 'q' & \\x1b[2J last"


def test_a_notice_on_linux_is_words_behind_a_double_dash(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("notify-send")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(snapback, "session_bus", lambda: "unix:path=/run/user/1000/bus")
    assert snapback.notify(TITLE, TEXT) is True
    (call,) = programs.calls()
    body = CLEAN.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert call.words == ["notify-send", "--app-name=snapback", "--", TITLE, body]
    assert call.variables["DBUS_SESSION_BUS_ADDRESS"] == "unix:path=/run/user/1000/bus"


def test_a_notice_from_cron_goes_to_the_desktop_that_is_there(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("notify-send")
    monkeypatch.setattr(snapback, "session_bus", lambda: "")
    assert snapback.notify("snapback", "x") is False
    assert programs.calls() == []
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/elsewhere")
    assert snapback.notify("snapback", "x") is True
    assert programs.calls()[0].variables["DBUS_SESSION_BUS_ADDRESS"] == "unix:path=/elsewhere"


def test_a_notice_on_macos_is_arguments_of_a_fixed_script(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("osascript")
    monkeypatch.setattr(snapback, "MACOS", True)
    assert snapback.notify(TITLE, TEXT) is True
    assert snapback.notify("other", "texts") is True
    first, second = programs.calls()
    assert (first.words, second.words) == (["osascript", "-", TITLE, CLEAN], ["osascript", "-", "other", "texts"])
    assert (first.given, "item 1 of argv" in first.given) == (second.given, True)


def test_a_notice_on_windows_is_variables_of_a_fixed_script(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.add("powershell.exe")
    monkeypatch.setattr(snapback, "WINDOWS", True)
    assert snapback.notify(TITLE, TEXT) is True
    assert snapback.notify("other", "texts") is True
    first, second = programs.calls()
    assert first.words == second.words
    assert (first.variables["SNAPBACK_TITLE"], first.variables["SNAPBACK_TEXT"]) == (TITLE, CLEAN)
    assert {"$env:SNAPBACK_TITLE", "$env:SNAPBACK_TEXT"} <= set(re.findall(r"\$env:\w+", first.words[-1]))


@pytest.mark.parametrize("script", ["exit 1", "exec /bin/sleep 60", "kill -9 $$"])
def test_a_notice_that_fails_is_no_failure(programs: Programs, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(snapback, "NOTIFYING", 1)
    assert snapback.notify("snapback", "x") is False
    programs.add("notify-send", script)
    assert snapback.notify("snapback\udcff\0", "") is False


# --- on-result ------


def test_what_is_told_of_a_run_gets_its_own_words_and_the_facts(programs: Programs) -> None:
    programs.add("tell")
    facts = {"exit_code": "3", "summary": "50% $(id) \"x\" ;|&\nsecond line\0", "label": "BLUE-STICK"}
    assert snapback.run_on_result(["tell", "$SNAPBACK_LABEL", "; id", "--x y"], facts) == ""
    (call,) = programs.calls()
    assert (call.words, call.given) == (["tell", "$SNAPBACK_LABEL", "; id", "--x y"], "")
    assert {name: text for name, text in call.variables.items() if name.startswith("SNAPBACK_")} == {
        "SNAPBACK_EXIT_CODE": "3",
        "SNAPBACK_SUMMARY": facts["summary"][:-1],
        "SNAPBACK_LABEL": "BLUE-STICK",
    }


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 7", "tell: it ended with exit status 7"),
        ("kill -9 $$", "tell: it was ended by signal 9"),
        ("exec /bin/sleep 60", "tell: it was not done after 1.0 s, and was ended"),
        ("", ""),
    ],
)
def test_what_could_not_be_told_is_said(programs: Programs, monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    monkeypatch.setattr(snapback, "TELLING", 1)
    programs.add("tell", script)
    assert snapback.run_on_result(["tell"], {}) == (f"on-result was not told of this run: {why}" if why else "")


def test_a_program_that_is_not_there_or_is_none_is_said(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    said = [snapback.run_on_result(words, {}) for words in ([], ["tell"], [os.fspath(tmp_path / "text")], [os.fspath(tmp_path / "no")])]
    ends = ["it names no program", "there is no program tell here", "it cannot be started (Permission denied", "(No such file or directory"]
    assert [end in one for one, end in zip(said, ends)] == [True] * 4, said


def test_what_it_prints_spoils_no_answer_and_its_trouble_is_seen(programs: Programs, capfd: pytest.CaptureFixture[str]) -> None:
    programs.add("tell", "echo out; echo trouble >&2")
    assert snapback.run_on_result(["tell"], {}) == ""
    assert capfd.readouterr() == ("", "trouble\n")


# --- Ejecting ------


@pytest.fixture
def stick(mounted: Callable[..., Mount]) -> Path:
    return Path(os.path.realpath(mounted("ext4").path))


def is_mounted(path: Path) -> bool:
    return any(one.place == os.fspath(path) for one in snapback.mounts())


@pytest.mark.needs("ext4")
def test_a_drive_is_unmounted_and_may_be_unplugged_then(stick: Path) -> None:
    assert snapback.why_not_eject(os.fspath(stick), os.fspath(SNAPBACK)) == ""
    (stick / "a").write_bytes(b"1")
    assert snapback.eject(os.fspath(stick)) == (True, f"{stick} is ejected: you may unplug it now")
    assert not is_mounted(stick)


@pytest.mark.needs("ext4")
def test_a_drive_in_use_is_not_ejected_and_that_is_said(stick: Path) -> None:
    with open(stick / "a", "wb"):
        done, said = snapback.eject(os.fspath(stick))
    assert (done, is_mounted(stick)) == (False, True)
    assert re.fullmatch(rf"{re.escape(os.fspath(stick))} was not ejected \(.*busy.*\): do not unplug it yet; .*", said)


@pytest.mark.needs("ext4")
def test_udisks_unmounts_and_switches_off(stick: Path, programs: Programs) -> None:
    (device,) = [one.device for one in snapback.mounts() if one.place == os.fspath(stick)]
    programs.add("udisksctl", f'[ "$1" = power-off ] || {shutil.which("umount", path="/bin:/usr/bin")} "$4"')
    assert snapback.eject(os.fspath(stick)) == (True, f"{stick} is ejected: you may unplug it now")
    quietly = ["--no-user-interaction", "-b", device]
    assert programs.words() == [["udisksctl", "unmount", *quietly], ["udisksctl", "power-off", *quietly]]


@pytest.mark.needs("ext4")
def test_a_drive_that_cannot_be_switched_off_may_be_unplugged_all_the_same(stick: Path, programs: Programs) -> None:
    umount = shutil.which("umount", path="/bin:/usr/bin")
    programs.add("udisksctl", f'[ "$1" = unmount ] && exec {umount} "$4"; echo "No usb device" >&2; exit 1')
    assert snapback.eject(os.fspath(stick)) == (True, f"{stick} is ejected: you may unplug it now (its power stays on: No usb device)")


@pytest.mark.needs("ext4")
def test_where_udisks_refuses_the_plain_way_is_tried(stick: Path, programs: Programs) -> None:
    programs.add("udisksctl", 'echo "Not authorized" >&2; exit 1')
    programs.add("umount", 'echo "must be superuser" >&2; exit 32')
    done, said = snapback.eject(os.fspath(stick))
    assert (done, "(Not authorized; must be superuser)" in said) == (False, True)
    assert programs.words()[-1] == ["umount", os.fspath(stick)]


@pytest.mark.needs("ext4")
def test_a_drive_whose_disk_is_mounted_elsewhere_too_stays(stick: Path, tmp_path: Path) -> None:
    (device,) = [one.device for one in snapback.mounts() if one.place == os.fspath(stick)]
    other = tmp_path / "other place"
    other.mkdir()
    subprocess.run(["mount", device, other], check=True)
    try:
        done, said = snapback.eject(os.fspath(stick))
        assert (done, f"{other} on the same disk is not" in said) == (False, True)
    finally:
        subprocess.run(["umount", other], check=True)


@pytest.mark.needs("ext4")
def test_a_drive_is_not_ejected_from_under_the_program_or_its_user(stick: Path) -> None:
    (stick / "folder").mkdir()
    drive = os.fspath(stick)
    assert "snapback itself runs from" in snapback.why_not_eject(drive, drive + "/snapback.py")
    assert "is a folder on" in snapback.why_not_eject(drive + "/folder", os.fspath(SNAPBACK))
    assert snapback.why_not_eject(drive, drive + "-2/snapback.py") == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stick / "folder")
        assert "the current folder lies on" in snapback.why_not_eject(drive, os.fspath(SNAPBACK))


def test_the_systems_own_disk_is_not_ejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapback, "current_folder", lambda: "")
    assert "is on the disk of this computer's own system" in snapback.why_not_eject("/", "nowhere")


@pytest.mark.parametrize(("script", "done"), [("", True), ("echo 'Volume failed to eject' >&2; exit 1", False)])
def test_macos_and_windows_have_a_program_of_their_own_for_it(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch, script: str, done: bool
) -> None:
    programs.add("diskutil", script)
    programs.add("powershell", script)
    monkeypatch.setattr(snapback, "MACOS", True)
    drive = os.fspath(tmp_path)
    said = f"{drive} is ejected: you may unplug it now" if done else (
        f"{drive} was not ejected (Volume failed to eject): do not unplug it yet; end what uses it, then eject it by hand")  # fmt: skip
    assert snapback.eject(drive) == (done, said)
    monkeypatch.setattr(snapback, "MACOS", False)
    monkeypatch.setattr(snapback, "WINDOWS", True)
    monkeypatch.setattr(snapback, "drive_letters", list)  # which only Windows can tell
    assert snapback.eject(drive) == (done, said)
    mac, windows = programs.calls()
    assert (mac.words, windows.variables["SNAPBACK_DRIVE"], drive in "".join(windows.words)) == (["diskutil", "eject", drive], drive, False)


def test_a_drive_that_cannot_be_flushed_is_not_ejected(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: str) -> None:
        raise OSError(5, "Input/output error")

    programs.add("umount")
    monkeypatch.setattr(snapback, "flush_drive", fail)
    done, said = snapback.eject(os.fspath(tmp_path))
    assert (done, "was not ejected (Input/output error): do not unplug it yet" in said, programs.calls()) == (False, True, [])


# --- Start ------


def test_starting_needs_no_module_that_takes_long_to_load() -> None:
    script = "import sys; import snapback; print(sorted({'subprocess', 'plistlib', 'xml', 'tempfile', 'socket'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-S", "-c", script], cwd=SNAPBACK.parent, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"
