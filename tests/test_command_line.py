"""The program as people, cron and other programs meet it: words, exit codes, what is said where, terminals, strange places."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import pytest

from conftest import MIB, NOBODY, SNAPBACK, Cli, as_script, folder_in_memory
from trees import ask, dates, differences, later, remove_tree, twin

pytestmark = pytest.mark.needs("linux")
LONG_AGO = 1_700_000_000
ODD = "\x1b[31mred\n\x07\u202e\udcff"  # what no terminal may ever get as it is


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "src"
    (made / "folder").mkdir(parents=True)
    for name in ("letter", "folder/one"):
        (made / name).write_bytes(name.encode().ljust(3000))
        os.utime(made / name, (LONG_AGO, LONG_AGO))
    return made


@pytest.fixture
def copied(source: Path, drive: Path) -> Path:
    """A drive with one dated copy."""
    assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    return drive


# --- Wrong words ------

# {S} is a source, {D} a drive with a dated copy, {T} a place where nothing is
WRONG: Dict[str, str] = {  # the words -> what the answer speaks of
    "bakcup {S} {D}": "there is no command 'bakcup'; there are: backup",
    "Backup {S} {D}": "there is no command 'Backup'",
    "backup {S} {D} --nonsense": "--nonsense",
    "--nonsense backup {S} {D}": "--nonsense",
    "backup --nonsense=5 {S} {D}": "--nonsense",
    "backup {S} {D} -z": "-z",
    "backup {S} {D} --excl x": "--excl",
    "backup {S} {D} --dry": "--dry",
    "backup {S} {D} --in": "--in",
    "list --driv {D}": "--driv",
    "verify --qui --drive {D}": "--qui",
    "verify --quick=yes --drive {D}": "--quick",
    "--js list --drive {D}": "--js",
    "backup": "say what to copy and where to",
    "backup {S}": "source",
    "backup {D}": "source",
    "backup --init": "source",
    "backup {S} {D} --exclude": "--exclude",
    "backup {S} {D} --set": "--set",
    "backup {S} {D} --set ..": "set",
    "backup {S} {D} --set a/b": "set",
    "backup {S} {D} --set con": "device",
    "backup {S} {D} --set 2026-11-22_231507": "dated copy",
    "backup {S} {D} --jobs 0": "--jobs",
    "backup {S} {D} --jobs many": "--jobs",
    "backup {S} {D} --exclude-from {T}": "{T}",
    "backup {S} {D} --exclude-if-present a/b": "plain name",
    "backup {S} {S} {D}": "twice",
    "backup {S} {S}/folder {D}": "inside",
    "backup {D} {D}": "drive",
    "backup {S} x={S} {D}": "inside|twice",
    "backup --init --if-attached {S} {D}": "--if-attached",
    "init": "DIR",
    "init {D} {D}": "{D}",
    "init {T}": "mkdir",
    "init {S}/letter": "is a file",
    "backup --init {S} {T}": "mkdir",
    "backup --init {S} {S}/folder": "inside",
    "list": "--drive",
    "list {D}": "{D}",
    "list --drive": "--drive",
    "list --drive {D} --set nothing": "nothing",
    "verify": "--drive",
    "verify a b --drive {D}": "b",
    "verify letter --drive {D}": "is no date",
    "verify 1999 --drive {D}": "1999",
    "restore": "WHEN",
    "restore --drive {D}": "WHEN",
    "restore latest": "--drive",
    "restore src/letter --drive {D}": "say a date first: restore latest src/letter",
    "diff src/letter --drive {D}": "'src/letter' is no date; write latest, or a date such as 2026-11-22",
    "diff source latest --drive {D}": "the earlier date comes first, source last",
    "find / --drive {D}": "say what to find: a name, a pattern such as '*.odt', or a path",
    "restore latest nothing --drive {D} --to {T}": "nothing",
    "restore latest --drive {D} --to {S}": "not empty",
    "restore latest --drive {D} --to {S}/letter": "is a file",
    "--json": "command",
    "--set box": "command",
    "-q": "command",
    "--drive {D}": "command",
}


def in_words(line: str, source: Path, drive: Path) -> List[str]:
    return line.format(S=source, D=drive, T=drive.parent / "nowhere").split()


@pytest.mark.parametrize("line", WRONG)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_wrong_words_are_refused_in_one_sentence_and_nothing_is_touched(
    source: Path, copied: Path, home: Path, line: str, more: List[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    before, at_home = twin(copied.parent), twin(home)
    outcome = ask(*in_words(line, source, copied), *more)
    sentence = outcome.err.rstrip("\n")
    about = WRONG[line].format(S=source, D=copied, T=copied.parent / "nowhere")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1), outcome
    assert any(word in sentence for word in about.split("|")), sentence
    assert sentence.startswith("snapback: ")
    if more or "--json" in line:
        assert json.loads(outcome.out) == {"error": sentence[len("snapback: ") :], "exit_code": 2}
    else:
        assert outcome.out == ""
    assert differences(twin(copied.parent), before) == []
    assert differences(twin(home), at_home) == []


RIGHT: Sequence[str] = [  # options may stand anywhere
    "backup --set box {S} {D}", "--set box backup {S} {D}", "backup {S} --set box {D}", "backup {S} {D} --set box",
    "--set=box backup {S} {D}", "-q --set box --jobs 2 backup {S} --exclude *.tmp {D} -x", "--exclude list --set box backup {S} {D}",
    "--exclude-from {S}/letter backup {S} {D} --set box -n", "-n backup --set box {S} {D}", "backup -xn --set box {S} {D}",
    "list --drive {D}", "--drive {D} list", "--json list --drive={D}", "--drive {D} --set box verify latest", "verify --drive {D} latest",
    "verify latest --quick --drive {D} -q", "--quick --drive {D} verify latest", "restore latest src/letter --to {T} --drive {D}",
    "restore --to {T} latest --drive {D} src/letter src/folder", "--to {T} --drive {D} restore latest src/letter --jobs 1",
    "restore latest --to={T} src/letter --drive={D} src/folder", "--merge --drive {D} restore latest --to {T} src/letter",
    "--label drive init {D}", "init {D} --label drive",
]  # fmt: skip


@pytest.mark.parametrize("line", RIGHT)
def test_options_may_stand_anywhere(source: Path, copied: Path, line: str) -> None:
    outcome = ask(*in_words(line, source, copied))
    assert (outcome.code, outcome.err) == (0, ""), outcome


@pytest.mark.parametrize("line", ["--version", "list --version", "--version list", "backup --version {S} {D}"])
def test_the_version_is_told_anywhere(source: Path, copied: Path, line: str) -> None:
    before = twin(copied)
    outcome = ask(*in_words(line, source, copied))
    assert (outcome.code, outcome.err) == (0, ""), outcome
    assert re.fullmatch(r"snapback \d+\.\d+\.\d+\n", outcome.out)
    assert differences(twin(copied), before) == []


@pytest.mark.parametrize("line", ["--help", "-h", "backup -h", "-h backup", "list --help", "restore latest --help", "verify -h",
                                  "init --help", ""])  # fmt: skip
def test_help_explains_itself(source: Path, copied: Path, line: str) -> None:
    before = twin(copied)
    outcome = ask(*in_words(line, source, copied))
    assert (outcome.code, outcome.err, "snapback.py" in outcome.out) == (0, "", True)
    assert differences(twin(copied), before) == []


# --- For machines ------

RESTIC = {"files_new", "files_changed", "files_unmodified", "dirs_new", "dirs_changed", "dirs_unmodified", "data_added",
          "total_files_processed", "total_bytes_processed", "total_duration", "snapshot_id", "dry_run"}  # fmt: skip


def facts(*words: object, code: int = 0) -> Dict[str, object]:
    outcome = ask(*words, "--json")
    assert outcome.code == code, outcome
    assert outcome.out.count("\n") == 1
    found: Dict[str, object] = json.loads(outcome.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["exit_code"] == code
    return found


def test_the_summary_of_a_backup_has_restics_names(source: Path, drive: Path) -> None:
    first = facts("backup", "--init", "--set", "box", source, drive)
    assert set(first) >= RESTIC
    numbers = ("files_new", "files_changed", "files_unmodified", "dirs_new", "data_added", "total_files_processed",
               "total_bytes_processed", "dry_run")  # fmt: skip
    assert [first[name] for name in numbers] == [2, 0, 0, 2, 6000, 2, 6000, False]
    assert first["snapshot_id"] == dates(drive / "box")[0]
    (source / "letter").write_bytes(b"changed")
    (source / "new").write_bytes(b"new")
    planned = facts("backup", "-n", "--set", "box", source, drive)
    assert set(planned) | {"snapshot_id", "total_duration", "dirs_new", "dirs_changed", "dirs_unmodified"} >= RESTIC
    assert len(dates(drive / "box")) == 1
    second = facts("backup", "--set", "box", source, drive)
    assert [second[name] for name in numbers] == [1, 1, 1, 0, 10, 3, 3010, False]
    told = [name for name in numbers if name not in ("dirs_new", "files_unmodified", "dry_run")]  # some it can only tell by reading
    assert [planned[name] for name in told] == [second[name] for name in told]
    assert planned["dry_run"] is True


def test_other_commands_answer_machines_too(source: Path, copied: Path) -> None:
    (one,) = facts("list", "--drive", copied)["snapshots"]  # type: ignore[misc]
    assert {"set", "snapshot", "state", "seq", "taken", "files", "bytes", "sources"} <= set(one)
    assert {"snapshots", "files", "files_read", "bytes_read", "findings", "strewn"} <= set(facts("verify", "--drive", copied))
    given = facts("restore", "latest", "--drive", copied, "--to", copied.parent / "back")
    assert {"snapshot", "target", "files", "bytes", "findings", "set_aside"} <= set(given)
    assert {"id", "label", "made"} <= set(facts("init", copied))
    assert "error" in facts("list", "--drive", copied.parent / "nowhere", code=75)


def test_a_drive_that_is_away_is_told_so_by_every_command_that_reads(copied: Path, tmp_path: Path) -> None:
    remembered = f"the drive {copied.name} is not attached at {copied}; attach it and run the same command"
    stranger = f"{tmp_path / 'empty'} has neither a marker nor dated copies; attach the drive, or check the path"
    copied.rename(tmp_path / "away")
    (tmp_path / "empty").mkdir()
    for mount_point_stays in (False, True):
        for command in (["list"], ["status"], ["verify"], ["restore", "latest"], ["rotate"], ["pin", "latest"]):
            outcome = ask(*command, "--drive", copied)
            assert (outcome.code, outcome.out, outcome.err) == (75, "", f"snapback: {remembered}\n"), command
            outcome = ask(*command, "--drive", tmp_path / "empty")
            assert (outcome.code, outcome.err) == (75, f"snapback: {stranger}\n"), command
        if not mount_point_stays:
            copied.mkdir()
    assert facts("backup", "--if-attached", source, copied.parent / "nowhere") == {"attached": False, "exit_code": 0}


@pytest.mark.parametrize("line", ["backup --set box {S} {D}", "verify --drive {D}", "verify latest --quick --drive {D}", "init {D}",
                                  "list --drive {D}", "restore latest --drive {D} --to {T}", "backup -n --set box {S} {D}",
                                  "backup --if-attached {S} {T}"])  # fmt: skip
def test_quiet_success_is_silent(source: Path, copied: Path, line: str) -> None:
    for quiet in ("-q", "--quiet"):
        outcome = ask(*in_words(line, source, copied), quiet)
        assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
        remove_tree(copied.parent / "nowhere")


def test_quiet_failure_is_not(source: Path, copied: Path) -> None:
    assert ask("-q", "backup", "--set", "box", source, copied.parent / "nowhere").err.count("\n") == 1
    os.truncate(copied / "box" / dates(copied / "box")[0] / "src" / "letter", 1)
    outcome = ask("-q", "verify", "--drive", copied)
    assert (outcome.code, outcome.out, "differs" in outcome.err) == (4, "", True)


# --- What is shown ------


def is_plain(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


def test_odd_names_are_escaped_wherever_they_are_shown(tmp_path: Path, drive: Path) -> None:
    """In every message that could show a source, a drive, a label, a file, a date, a set or an option."""
    odd_source, odd_drive, nowhere = tmp_path / f"s{ODD}", tmp_path / f"d{ODD}", tmp_path / f"n{ODD}"
    for folder in (odd_source, odd_drive):
        folder.mkdir()
    (odd_source / f"f{ODD}").write_bytes(b"x")
    (odd_source / f"l{ODD}").symlink_to("x")
    commands = [
        ["backup", odd_source, odd_drive], ["backup", "--init", "--set", "box", "--label", ODD, odd_source, odd_drive],
        ["backup", "--init", "--set", "box", odd_source, odd_drive], ["backup", "--set", "box", "-n", odd_source, odd_drive],
        ["backup", "--set", "box", odd_source, odd_drive], ["backup", "--set", ODD, odd_source, odd_drive],
        ["backup", "--set", "box", nowhere, odd_drive], ["backup", odd_source, nowhere], ["backup", "--init", odd_source, nowhere],
        ["backup", "--init", odd_source, odd_source / f"f{ODD}"], ["backup", odd_source, odd_source, odd_drive],
        ["backup", odd_source, odd_source / f"f{ODD}", odd_drive], ["backup", f"{ODD}={odd_source}", odd_drive],
        ["backup", "--exclude-from", nowhere, odd_source, odd_drive], ["backup", "--exclude-if-present", f"{ODD}/", odd_source, odd_drive],
        ["backup", "--jobs", ODD, odd_source, odd_drive], ["backup", f"--{ODD}", odd_source, odd_drive], [ODD], [f"--{ODD}"],
        ["backup", f"-{ODD}", odd_source, odd_drive], ["init", odd_drive], ["init", nowhere], ["init", odd_source / f"f{ODD}"],
        ["init", odd_drive, f"--{ODD}={ODD}"], ["init", odd_drive, ODD], ["init", "--label", ODD, drive], ["list", "--drive", drive],
        ["list", "--drive", odd_drive], ["list", "--drive", odd_drive, "--set", ODD], ["list", "--drive", nowhere], ["list", ODD],
        ["verify", "--drive", odd_drive], ["verify", ODD, "--drive", odd_drive], ["verify", "--drive", nowhere],
        ["restore", ODD, "--drive", odd_drive], ["restore", "latest", ODD, "--drive", odd_drive],
        ["restore", "latest", "--drive", odd_drive, "--to", tmp_path / f"r{ODD}"],
        ["restore", "latest", "--drive", odd_drive, "--to", tmp_path / f"r{ODD}"],
        ["restore", "latest", "--drive", odd_drive, "--to", tmp_path / f"r{ODD}", "--merge"],
        ["restore", "latest", "--drive", odd_drive, "--to", odd_source / f"f{ODD}" / "x"],
        ["restore", "latest", "--drive", odd_drive, "--to", odd_drive / "box" / ODD],
    ]  # fmt: skip
    told = [ask(*command) for command in commands]
    copy = odd_drive / "box" / dates(odd_drive / "box")[0] / f"s{ODD}"
    (copy / f"f{ODD}").write_bytes(b"y")
    (copy / f"stray{ODD}").write_bytes(b"y")
    (copy / f"l{ODD}").unlink()
    told += [ask("verify", "--drive", odd_drive), ask("restore", dates(odd_drive / "box")[0], "--drive", odd_drive, "--to", tmp_path / "b")]
    (odd_source / f"x{ODD}").write_bytes(b"x")
    remove_tree(copy)
    told += [ask("verify", "--drive", odd_drive), ask("restore", dates(odd_drive / "box")[0], "--drive", odd_drive, "--to", tmp_path / "c")]
    strange = [(outcome.out, outcome.err) for outcome in told if not is_plain(outcome.out + outcome.err)]
    assert strange == []
    assert sum(r"\x1b[31mred\n\x07\u202e\xff" in outcome.out + outcome.err for outcome in told) > 25


def test_a_label_on_a_drive_cannot_paint_the_terminal(source: Path, copied: Path) -> None:
    marker = copied / "snapback-marker.txt"
    marker.write_bytes(marker.read_bytes().replace(b"label: drive", b"label: \x1b[2J\xff\x07evil\r"))
    for words in (
        ["list", "--drive", copied],
        ["init", copied],
        ["backup", "--set", "box", source, copied],
        ["verify", "--drive", copied],
        ["list", "--drive", copied, "--set", "x"],
    ):
        outcome = ask(*words)
        assert is_plain(outcome.out + outcome.err), outcome
        assert "\\x1b[2J\\xff\\x07evil" in outcome.out + outcome.err or words[0] == "verify", outcome


# --- A process of its own ------


class Ended(NamedTuple):
    code: int
    out: bytes
    err: bytes


def start(
    words: Sequence[object],
    script: Path = SNAPBACK,
    flags: Sequence[str] = (),
    cwd: Optional[Path] = None,
    env: Optional[Dict[str, str]] = None,
) -> Ended:
    """Run a script as people do, without -I, with a bare environment; the program itself is compiled already."""
    program = as_script(*flags) if script == SNAPBACK else [sys.executable, *flags, str(script)]
    ended = subprocess.run(
        [*program, *map(str, words)],
        cwd=cwd or script.parent,
        timeout=60,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


CLOSED: Dict[str, str] = {  # what a shell does with the output
    "a pipe that nobody reads": "{} | head -0",
    "a pipe that one line is read of": "{} | head -1",
    "no output": "{} >&-",
    "no errors": "{} 2>&-",
    "neither": "{} >&- 2>&-",
    "none of the three": "{} <&- >&- 2>&-",
}


@pytest.mark.parametrize("how", CLOSED)
@pytest.mark.parametrize("command", ["list --drive {D} --json", "backup --set box {S} {D}", "--help", "list --drive {T}"])
def test_an_output_that_is_closed_is_no_reason_to_complain(source: Path, copied: Path, home: Path, how: str, command: str) -> None:
    line = " ".join([*map(shlex.quote, as_script("-I")), *in_words(command, source, copied)])
    script = f"( {CLOSED[how].format('{ ' + line + '; echo $? > code; }')} ) 2> errors"
    subprocess.run(["sh", "-c", script], cwd=home, stdout=subprocess.PIPE, timeout=60, check=False)
    said = (home / "errors").read_text()
    assert not re.search("Traceback|Exception|BrokenPipe", said), said
    # a reader that went away is no failure of a backup: the copy is made
    assert int((home / "code").read_text()) in ({75} if "{T}" in command else {0, 141} if "pipe" in how else {0})


def test_a_backup_is_whole_though_nobody_hears_of_it(source: Path, copied: Path, home: Path) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*as_script("-I"), "backup", "--set", "box", str(source), str(copied)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            cwd=home,
            env={"HOME": str(home)},
            check=False,
        )
    assert b"Traceback" not in ended.stderr
    assert len(dates(copied / "box")) == 2
    assert ask("verify", "--drive", copied).code == 0


CYRILLIC = "\u041f\u0438\u0441\u044c\u043c\u0430"
LOCALES: Dict[str, Dict[str, str]] = {
    "ascii output": {"PYTHONIOENCODING": "ascii", "LANG": "C.UTF-8"},
    "the C locale as Python mends it": {"LC_ALL": "C"},
    "none": {},
    "one that is not installed": {"LANG": "xx_YY.KOI8-R", "LC_ALL": "xx_YY.KOI8-R"},
    "latin-1 output": {"PYTHONIOENCODING": "latin-1", "LANG": "C.UTF-8"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_names_in_any_alphabet_survive_any_locale(tmp_path: Path, drive: Path, locale: str) -> None:
    """What one locale has copied another one lists, checks and gives back, unchanged."""
    source = tmp_path / CYRILLIC
    source.mkdir()
    (source / f"{CYRILLIC}.txt").write_bytes(b"x")
    (source / os.fsdecode(b"caf\xe9")).write_bytes(b"y")
    os.utime(source / f"{CYRILLIC}.txt", (LONG_AGO, LONG_AGO))
    env = LOCALES[locale]
    for words in (
        ["backup", "--init", "--set", "box", source, drive],
        ["backup", "--set", "box", source, drive],
        ["list", "--drive", drive],
        ["verify", "--drive", drive],
        ["restore", "latest", CYRILLIC, "--drive", drive, "--to", tmp_path / "back"],
    ):
        ended = start(words, env=env)
        assert (ended.code, ended.err) == (0, b""), ended
    assert differences(twin(tmp_path / "back" / CYRILLIC), twin(source)) == []
    outcome = ask("backup", "--set", "box", source, drive, "--json")
    assert json.loads(outcome.out)["files_unmodified"] == 2, outcome
    assert start(["restore", "latest", "nothing", "--drive", drive], env=env).code == 2
    assert ask("restore", "latest", f"{CYRILLIC}/{CYRILLIC}.txt", "--drive", drive, "--to", tmp_path / "one").code == 0


def test_without_home_it_works_and_leaves_nothing_behind(source: Path, drive: Path, cli: Cli, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for before in (["env", "-u", "HOME"], ["env", "HOME="], ["env", "HOME=/nowhere/at/all"]):
        for words in (["backup", "--init", "--set", "box", source, drive], ["list", "--drive", drive]):
            ended = cli(*words, before=before, cwd=here)
            assert (ended.code, ended.err) == (0, ""), ended
    assert os.listdir(here) == []


@pytest.mark.needs("root", "user")
def test_a_user_whom_the_system_does_not_know_leaves_no_folder_called_tilde(reachable: Path, source: Path) -> None:
    """As in containers: no HOME, and a number without a name."""
    shutil.copytree(source, reachable / "src")
    (reachable / "drive").mkdir()
    for path in [reachable, *reachable.rglob("*")]:
        os.chown(path, NOBODY - 777, NOBODY - 777)
    ended = subprocess.run(
        [
            "setpriv",
            f"--reuid={NOBODY - 777}",
            f"--regid={NOBODY - 777}",
            "--clear-groups",
            "env",
            "-u",
            "HOME",
            sys.executable,
            "-I",
            str(SNAPBACK),
            "backup",
            "--init",
            "--set",
            "box",
            "src",
            "drive",
        ],
        cwd=reachable,
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert sorted(os.listdir(reachable)) == ["drive", "src"]


def test_a_current_folder_that_was_removed_is_no_trouble(source: Path, copied: Path, tmp_path: Path) -> None:
    line = f"mkdir gone && cd gone && rmdir ../gone && {' '.join(map(shlex.quote, as_script('-I')))} "
    codes = {f"verify --drive {copied}": {0}, f"restore latest --drive {copied} --to {tmp_path}/back": {0},
             f"backup --set box {source} {copied}": {0}, "list": {2}, f"restore latest --drive {copied}": {1, 2},
             "list --drive .": {1, 2, 75}, f"backup . {copied}": {1, 2}, f"backup {source} .": {1, 2, 75}, "init .": {1, 2}}  # fmt: skip
    for words, possible in codes.items():
        ended = subprocess.run(["sh", "-c", line + words], cwd=tmp_path, capture_output=True, check=False)
        assert (ended.returncode in possible, b"Traceback" in ended.stderr, b"[Errno" in ended.stderr) == (True, False, False), ended


LONG = "x" * 5000
PLACES: Sequence[str] = [
    f"backup {LONG} {{D}}", f"backup x={LONG} {{D}}", f"backup {{S}} {LONG}", f"backup --init {{S}} {LONG}", f"init {LONG}",
    f"list --drive {LONG}", f"verify --drive {LONG}", f"restore latest --drive {{D}} --to {LONG}", f"restore latest {LONG} --drive {{D}}",
    f"backup --exclude-from {LONG} {{S}} {{D}}", "backup {S}/loop {D}", "backup x={S}/loop {D}", "backup {S}/folder {S}/loop",
    "backup --init {S}/folder {S}/loop", "init {S}/loop", "list --drive {S}/loop", "restore latest --drive {D} --to {S}/loop",
    "backup --exclude-from {S}/loop {S} {D}", "backup {S}/letter/x {D}", "backup {S}/folder {S}/letter/x", "init {S}/letter/x",
    "backup --init {S} {S}/letter/x", "list --drive {S}/letter", "list --drive {S}/letter/x", "backup /dev/null {D}",
    "backup {S} /dev/null", "init /dev/null", "backup --exclude-from /dev/zero {S} {D}", "backup --exclude-from / {S} {D}",
    "backup --exclude-from {S} {S} {D}", "backup {S} {S}", "backup {D}/box {D}", "backup / {S}", "init /proc", "init /dev/full",
    "backup --init {S} /proc", "list --drive /proc", "verify --drive /", "backup ~nobody-at-all {D}", "backup {S} ~nobody-at-all",
]  # fmt: skip


@pytest.mark.parametrize("line", PLACES, ids=lambda line: line.replace(LONG, "LONG"))
def test_places_that_cannot_be_are_one_sentence(source: Path, copied: Path, line: str) -> None:
    (source / "loop").symlink_to("loop")
    before = twin(copied)
    outcome = ask(*in_words(line, source, copied))
    assert outcome.code in (1, 2, 75), outcome
    assert (outcome.out, outcome.err.count("\n"), "[Errno" in outcome.err) == ("", 1, False), outcome
    assert differences(twin(copied), before) == []


# --- Terminals ------


@pytest.fixture(scope="module")
def place_of_large() -> Iterator[Path]:
    """A folder with a source that takes about half a second, and a drive that has a copy of it."""
    with folder_in_memory() as root:
        for nth in range(2000):
            path = root / "large" / f"{nth // 50}" / f"{nth}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * (150 * 1024))
        (root / "full").mkdir()
        assert ask("backup", "--init", "--set", "box", root / "large", root / "full").code == 0
        yield root


@pytest.fixture
def large(place_of_large: Path) -> Path:
    return place_of_large / "large"


@pytest.fixture
def full(place_of_large: Path) -> Path:
    return place_of_large / "full"


def on_a_terminal(words: Sequence[object], columns: int = 80, term: str = "xterm", stdout_too: bool = True) -> Ended:
    """Run it with its output, or only what goes to stderr, on a terminal of its own."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [*as_script("-I"), *map(str, words)],
        stderr=theirs,
        stdin=theirs,
        stdout=theirs if stdout_too else subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "TERM": term, "LANG": "C.UTF-8"},
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    out = process.communicate(timeout=60)[0] or b""
    return Ended(process.returncode, out, said.replace(b"\r\n", b"\n"))


def screen(said: bytes, columns: int) -> List[str]:
    """Show what a terminal shows after all that; nothing but CR and newline may move its cursor."""
    lines, at = [""], 0
    for char in said.decode():
        if char == "\r":
            at = 0
        elif char == "\n":
            lines.append("")
            at = 0
        else:
            assert char.isprintable(), repr(char)
            assert at < columns, "a line goes beyond the edge, so that CR does not come back to its beginning"
            lines[-1] = lines[-1][:at].ljust(at) + char + lines[-1][at + 1 :]
            at += 1
    return [line.rstrip() for line in lines]


def test_a_line_of_progress_comes_and_goes(large: Path, drive: Path) -> None:
    ended = on_a_terminal(["backup", "--init", "--set", "box", "--jobs", "1", large, drive], columns=500)
    assert ended.code == 0
    progress = [part for part in re.split(rb"[\r\n]", ended.err) if b"%" in part]
    assert len(progress) >= 2, ended.err
    assert all(re.match(rb" *\d+%.* files?, .*B", part) for part in progress), progress
    shown = screen(ended.err, 500)
    assert shown[0].startswith("Dated copy ")
    assert not any("%" in line for line in shown)


@pytest.mark.parametrize("words", [["verify"], ["restore", "latest", "--to", "{}/back"]])
def test_checking_and_restoring_show_progress_too(full: Path, tmp_path: Path, words: List[str]) -> None:
    ended = on_a_terminal([*(word.format(tmp_path) for word in words), "--jobs", "1", "--drive", full], columns=500)
    assert (ended.code, b"%" in ended.err) == (0, True), ended
    assert not any("%" in line for line in screen(ended.err, 500))


@pytest.mark.parametrize("how", ["TERM=dumb", "-q", "--json", "no terminal"])
def test_no_progress_where_nobody_wants_it(large: Path, drive: Path, cli: Cli, how: str) -> None:
    words = ["backup", "--init", "--set", "box", large, drive, *([how] if how.startswith("-") else [])]
    if how == "no terminal":
        result = cli(*words, env={"TERM": "xterm"})
        said = (result.out + result.err).encode()
    else:
        said = on_a_terminal(words, term="dumb" if how == "TERM=dumb" else "xterm").err
    assert b"\r" not in said
    assert b"\x1b" not in said
    assert b"%" not in said


@pytest.mark.parametrize("stdout_too", [True, False])
def test_progress_fits_a_terminal_of_twenty_columns(large: Path, drive: Path, stdout_too: bool) -> None:
    """Also where the output goes elsewhere, so that only stderr knows how wide the terminal is."""
    ended = on_a_terminal(["backup", "--init", "--set", "box", "--jobs", "1", large, drive], columns=20, stdout_too=stdout_too)
    assert ended.code == 0
    progress = [part for part in re.split(rb"[\r\n]", ended.err) if b"%" in part]
    assert progress
    assert max(len(part.rstrip()) for part in progress) < 20


# --- Interruption ------


@pytest.mark.parametrize("words", [["verify"], ["restore", "latest", "--to", "{}/back"]])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_says_so_in_one_sentence(
    full: Path, tmp_path: Path, cli: Cli, words: List[str], how: signal.Signals
) -> None:
    process = cli.start(*(word.format(tmp_path) for word in words), "--drive", full, "--jobs", "1")
    while bytes_read(process.pid) < 20 * MIB:
        assert process.poll() is None, cli.ended(process)
    process.send_signal(how)
    ended = cli.ended(process)
    assert (ended.code, ended.out, ended.err.count("\n")) == (130, "", 1), ended
    assert ended.err.startswith("snapback: interrupted")
    assert ask("verify", "--quick", "--drive", full).code == 0


def bytes_read(pid: int) -> int:
    return int(Path(f"/proc/{pid}/io").read_text().split()[1])


# --- Where the script lies ------

POISON = "import os, sys\nos.write(2, b'POISON of ' + __name__.encode() + b'\\n')\nos._exit(66)\n"


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder with snapback.py, and beside it a file for every module that it could import."""
    made = tmp_path / "stick"
    made.mkdir()
    shutil.copy(SNAPBACK, made)
    library = Path(os.__file__).parent
    names = {path.name.partition(".")[0] for path in [*library.iterdir(), *library.glob("lib-dynload/*")]}
    for name in {*names, *sys.builtin_module_names, "sitecustomize", "usercustomize", "winreg", "msvcrt"} - {"sys", "builtins"}:
        if name.isidentifier():
            (made / f"{name}.py").write_text(POISON)
    return made


@pytest.mark.parametrize("flags", [[], ["-I"], ["-S"]], ids=str)
def test_a_file_beside_the_script_is_never_imported(poisoned: Path, source: Path, drive: Path, flags: List[str]) -> None:
    script = poisoned / "snapback.py"
    for cwd in (poisoned, drive.parent):
        for words in (
            ["--version"],
            ["backup", "--init", "--set", "box", source, drive],
            ["list", "--drive", drive],
            ["verify", "--drive", drive],
        ):
            ended = start(words, script, flags, cwd)
            assert (ended.code, ended.err) == (0, b""), ended


def test_a_script_that_is_started_by_its_name_or_through_a_link_imports_nothing_beside_it(poisoned: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(poisoned / "snapback.py")
    (poisoned / "snapback.py").chmod(0o755)
    commands = [
        [sys.executable, "snapback.py"],
        [sys.executable, "./snapback.py"],
        [sys.executable, str(tmp_path / "link")],
        ["./snapback.py"],
    ]
    for command in commands:
        told = subprocess.run(
            [*command, "--version"],
            cwd=poisoned,
            capture_output=True,
            timeout=60,
            check=False,
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert (told.returncode, told.stderr) == (0, b""), (command, told)


def test_a_script_on_a_drive_finds_its_drive(source: Path, copied: Path, home: Path, tmp_path: Path) -> None:
    script = copied / "snapback.py"
    for cwd in (home, copied / "box"):
        for words in (["list"], ["verify", "--quick"], ["restore", "latest", "--to", tmp_path / "back"]):
            ended = start(words, script, cwd=cwd)
            assert (ended.code, ended.err) == (0, b""), ended
        assert differences(twin(tmp_path / "back" / "src"), twin(source)) == []
        remove_tree(tmp_path / "back")


def test_a_script_on_a_drive_names_no_schedule_that_would_start_it_from_there(source: Path, drive: Path, tmp_path: Path) -> None:
    """Nothing can start it while the drive is away; and what lies on a drive is never what a schedule runs."""
    for place, scheduled in ((drive, 0), (tmp_path / "bin", 1)):
        place.mkdir(exist_ok=True)
        shutil.copy(SNAPBACK, place)
        (tmp_path / "other").mkdir(exist_ok=True)
        onto = drive if place == drive else tmp_path / "other"
        ended = start(["backup", "--init", "--set", "box", source, onto], place / "snapback.py", ["-I"], tmp_path)
        lines = ended.out.decode().splitlines()
        assert (ended.code, sum("snapback.py" in line and " backup " in line for line in lines)) == (0, scheduled), ended
        assert [line for line in lines if f"{drive}/snapback.py" in line] == []
        assert (sum("copy snapback.py from the drive to this computer" in line for line in lines)) == 1 - scheduled


@pytest.mark.parametrize("inside", ["", "box", "box/{date}", "box/{date}/src/folder"])
def test_the_drive_that_one_stands_on_is_meant(source: Path, copied: Path, tmp_path: Path, inside: str) -> None:
    here = copied / inside.format(date=dates(copied / "box")[0])
    before = twin(copied / "box" / dates(copied / "box")[0])
    for words in (["list"], ["verify"], ["restore", "latest", "--to", tmp_path / "back"]):
        ended = start(words, cwd=here)
        assert (ended.code, ended.err) == (0, b""), ended
    restored = start(["restore", "latest", "src/letter"], cwd=here)
    assert restored.code == (2 if inside else 0), restored
    assert differences(twin(copied / "box" / dates(copied / "box")[0]), before) == []


SETS: Dict[str, Callable[[Path], object]] = {
    "two sets, none of this machine": lambda drive: [
        rewrite(path, b'"machine": "', b'"machine": "x') for path in drive.glob("*/2*/SHA256SUMS")
    ],
    "two sets of this machine": lambda _drive: None,
}


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize("case", SETS)
def test_when_more_than_one_set_would_do_they_are_named(source: Path, copied: Path, case: str) -> None:
    assert ask("backup", "--set", "second", source, copied).code == 0
    SETS[case](copied)
    for words in (["verify"], ["restore", "latest"]):
        outcome = ask(*words, "--drive", copied)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
        assert all(word in outcome.err for word in ("box", "second", "--set")), outcome
    assert ask("verify", "latest", "--set", "second", "--drive", copied, "--quick").code in (0, 4)
    assert sorted({line.split()[0] for line in ask("list", "--drive", copied).out.splitlines() if " on " in line}) == ["box", "second"]


def test_start_imports_nothing_that_few_commands_need() -> None:
    """Starting takes half of the time of `list`; these modules are asked for only where they are used."""
    told = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", str(SNAPBACK), "--version"], capture_output=True, encoding="utf-8", check=True
    ).stderr
    names = {line.rpartition("|")[2].strip() for line in told.splitlines()}
    assert names & {"ctypes", "tempfile", "socket", "ssl", "urllib", "asyncio", "multiprocessing", "http", "email"} == set()


def test_a_large_output_is_not_lost(tmp_path: Path, drive: Path) -> None:
    source = tmp_path / "many"
    source.mkdir()
    (source / "first").write_bytes(b"1")
    with later(60):
        assert ask("backup", "--init", "--set", "box", source, drive).code == 0
    for nth in range(3000):
        (source / f"file with a rather long name {nth}").write_bytes(b"")
    outcome = ask("backup", "-n", "--set", "box", source, drive)
    assert (outcome.code, outcome.out.count("\n"), len(outcome.out) > MIB // 10) == (0, 3001, True), outcome.out[:300]
