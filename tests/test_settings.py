"""The settings: what they may say, how they travel, how the drives that they name are found, and how it goes with several."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import pytest

import snapback
from conftest import MIB, SNAPBACK, Cli, Mount, User, command, folder_in_memory
from snapback import DriveSettings, Duration, Retention, Rotation, Settings, Space, parse_settings, settings_text
from test_command_line import on_a_terminal
from trees import Outcome, ask, dates, differences, remove_tree, twin

pytestmark = pytest.mark.needs("linux")
ID, OTHER_ID = "0123456789abcdef" * 2, "f" * 32


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    return in_memory


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "src"
    (made / "folder").mkdir(parents=True)
    (made / "letter").write_bytes(b"letter")
    (made / "folder" / "note.tmp").write_bytes(b"note")
    return made


def made_drive(path: Path, label: str = "") -> str:
    """Make a folder a drive, and give its id."""
    path.mkdir(exist_ok=True)
    assert ask("init", path, *(["--label", label] if label else [])).code == 0
    return id_of(path)


def id_of(drive: Path) -> str:
    (line,) = [line for line in (drive / "snapback-marker.txt").read_text().splitlines() if line.startswith("id:")]
    return line.split()[1]


def reseal(manifest: Path, change: Callable[[bytes], bytes]) -> None:
    """Change a manifest above its last line, and make that line true again."""
    above, _, end = manifest.read_bytes().rpartition(b"# end ")
    facts = {**json.loads(end), "sha256": hashlib.sha256(change(above)).hexdigest()}
    manifest.write_bytes(change(above) + b"# end " + json.dumps(facts).encode() + b"\n")


def write_settings(home: Path, text: str, name: str = ".config/snapback/snapback.ini") -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def for_drives(source: Path, *drives: Path, more: str = "") -> str:
    """Write settings that name each drive with its place, as a folder of a test lies in no place where drives are looked for."""
    return f"[backup]\nsources = {source}\nset = box\n{more}\n" + "".join(f"[drive {id_of(one)}]\npath = {one}\n" for one in drives)


# --- Reading ------

RETENTION: Dict[str, Tuple[str, Rotation]] = {
    "keep-last": ("3", Rotation(Retention(last=3))), "keep-hourly": ("24", Rotation(Retention(hourly=24))),
    "keep-daily": ("14", Rotation(Retention(daily=14))), "keep-weekly": ("unlimited", Rotation(Retention(weekly=snapback.UNLIMITED))),
    "keep-monthly": ("12", Rotation(Retention(monthly=12))), "keep-yearly": ("10", Rotation(Retention(yearly=10))),
    "keep-within": ("1y5m7d2h", Rotation(Retention(within=Duration(1, 5, 7, 2)))),
    "min-free": ("10%", Rotation(min_free=Space(percent=10))),
}  # fmt: skip
BACKUP: Dict[str, Tuple[str, str, object]] = {  # key -> value, field of Settings, what it then holds
    "exclude": ("\n  *.tmp\n  !keep.tmp", "patterns", ((False, "*.tmp"), (False, "!keep.tmp"))),
    "exclude-from": ("\n  one\n  two", "patterns", ((True, "one"), (True, "two"))),
    "exclude-caches": ("yes", "exclude_caches", True),
    "exclude-if-present": ("\n  .nobackup\n  a b", "exclude_if_present", (".nobackup", "a b")),
    "one-file-system": ("On", "one_file_system", True),
    "checksum": ("TRUE", "checksum", True),
    "reread": ("yes", "reread", True),
    "set": ("annas-laptop", "set_name", "annas-laptop"),
    "hold-at": ("33.5", "hold_at", 33.5),
    "page": ("no", "page", False),
    "notify": ("no", "notify", False),
    "on-result": ("'/usr/bin/tell me' --now \"a b\"", "on_result", ("/usr/bin/tell me", "--now", "a b")),
    **{key: (value, "rotation", meant) for key, (value, meant) in RETENTION.items()},
}
DRIVE: Dict[str, Tuple[str, str, object]] = {
    "label": ("\n  BLUE STICK", "label", "BLUE STICK"),
    "path": ("/mnt/usb", "path", "/mnt/usb"),
    "every": ("12h", "every", Duration(hours=12)),
    "remind-after": ("14d", "remind_after", Duration(days=14)),
    "offline": ("no", "offline", False),
    "eject": ("1", "eject", True),
    "reread": ("no", "reread", False),
    "fresh-every": ("3m", "fresh_every", Duration(months=3)),
    **{key: (value, "rotation", meant) for key, (value, meant) in RETENTION.items()},
}


def test_every_key_is_in_these_tables() -> None:
    assert {"sources", *BACKUP} == set(snapback.BACKUP_KEYS)
    assert set(DRIVE) == set(snapback.DRIVE_KEYS)


@pytest.mark.parametrize("key", BACKUP)
def test_a_key_of_backup_sets_one_thing(key: str) -> None:
    value, field, meant = BACKUP[key]
    expected = Settings(("a", "b=c"))._replace(**{field: meant})
    for spelt in (key, key.upper()):
        assert parse_settings(f"[backup]\nsources =\n  a\n  b=c\n{spelt} = {value}\n", str) == expected


@pytest.mark.parametrize("key", DRIVE)
def test_a_key_of_a_drive_sets_one_thing_of_that_drive(key: str) -> None:
    value, field, meant = DRIVE[key]
    text = f"[drive {ID.upper()}]\n{key}={value}\n[backup]\nsources = a\n[drive   {OTHER_ID}]\n"
    drives = (DriveSettings(ID)._replace(**{field: meant}), DriveSettings(OTHER_ID))
    assert parse_settings(text, str) == Settings(("a",), drives=drives)


def test_a_drive_keeps_what_it_says_itself_and_else_what_is_said_for_all() -> None:
    text = (f"[drive {ID}]\nkeep-daily = 5\n[backup]\nsources = a\nkeep-weekly = 6\nkeep-last = 2\nmin-free = 5%\n"
            f"[drive {OTHER_ID}]\nmin-free = 0\n")  # fmt: skip
    settings = parse_settings(text, str)
    general = Retention(last=2, weekly=6)
    assert settings.rotation == Rotation(general, Space(percent=5))
    assert [one.rotation for one in settings.drives] == [Rotation(Retention(daily=5), Space(percent=5)), Rotation(general)]


def test_patterns_of_files_come_before_those_of_the_settings() -> None:
    settings = parse_settings("[backup]\nexclude = *.o\nexclude-from = list\nsources = a\n", str)
    assert settings.patterns == ((True, "list"), (False, "*.o"))


def test_comments_and_empty_lines_may_stand_anywhere() -> None:
    text = "\n# a\n [backup]  \n  # b\nsources =\n    a\n    # c\n\n# d\n    b=c\n\n    # e\nkeep-daily = 7\n    # f\n\n"
    assert parse_settings(text, str) == Settings(("a", "b=c"), rotation=Rotation(Retention(daily=7)))


PATHS: Dict[str, str] = {  # {H} is the home folder, {C} that of the settings, where `old=x` exists
    "~/Documents": "{H}/Documents", "~": "{H}", "$HOME/a b": "{H}/a b", "${HOME}x": "{H}x", "/srv/./a//b/../c/": "/srv/a/c",
    "Documents": "{C}/Documents", "../up": "{H}/.config/up", ".": "{C}", "$EMPTY/srv": "/srv", "/srv/$SUB": "/srv/a b",
    "work=/srv/a=b": "work=/srv/a=b", "work = /srv": "work=/srv", "work=~/x": "work={H}/x", "my work  =  $SUB": "my work={C}/a b",
    "/srv/a = b": "/srv/a = b", "old=x": "{C}/old=x", "./new=x": "{C}/new=x", "a$": "{C}/a$", "a;b # c": "{C}/a;b # c", "%d": "{C}/%d",
    "\u041f\u0438\u0441\u044c\u043c\u0430": "{C}/\u041f\u0438\u0441\u044c\u043c\u0430",
}  # fmt: skip


@pytest.mark.parametrize("word", PATHS)
def test_paths_are_expanded_and_relative_to_the_settings(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUB", "a b")
    monkeypatch.setenv("EMPTY", "")
    path = write_settings(home, f"[backup]\nsources = {word}\nexclude-from =\n   {word}\n")
    (path.parent / "old=x").mkdir()
    meant = PATHS[word].format(H=home, C=path.parent)
    settings = snapback.load_settings(str(path))
    assert (settings.sources, settings.patterns) == ((meant,), ((True, meant),))


def test_without_home_the_path_of_a_home_folder_is_asked_from_the_system(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_settings(home, "[backup]\nsources = ~/Documents\n")
    monkeypatch.delenv("HOME")
    known = os.path.expanduser("~")
    assert snapback.load_settings(str(path)).sources == (f"{known}/Documents",)
    monkeypatch.setattr(os.path, "expanduser", lambda text: text)  # as where the system does not know this user
    with pytest.raises(snapback.UsageError, match="line 2: the home folder of '~/Documents' is not known; write the path in full"):
        snapback.load_settings(str(path))


# --- Refusing ------

# {S} is a source, {D} a drive, {I} its id; the settings -> what the sentence says, parted by |
WRONG: Dict[str, str] = {
    "[backup]\nsources = {S}\n[dirve {I}]\n": "line 3: there is no section [dirve {I}]|[drive ID]",
    "[Backup]\nsources = {S}\n": "line 1: there is no section [Backup]|[backup]",
    "[backup]\nsources = {S}\n[drive 4765abb]\n": "line 3: there is no section [drive 4765abb]|snapback-marker.txt",
    "[DEFAULT]\nsources = {S}\n": "line 1: there is no section [DEFAULT]",
    "# x\n[backup]\nsources = {S}\nexlude = *.o\n": "line 4: there is no setting 'exlude' in [backup]|is exclude meant?",
    "[backup]\nsources = {S}\n[drive {I}]\nevry = 1d\n": "line 4: there is no setting 'evry' in [drive {I}]|is every meant?",
    "[backup]\nsources = {S}\n[drive {I}]\nsources = {S}\n": "line 4: there is no setting 'sources'|there are: label, path",
    "[backup]\nsources = {S}\nevery = 1d\n": "line 3: there is no setting 'every' in [backup]",
    "  [backup]\n  sources = {S}\n\n  colour = red\n": "line 4: there is no setting 'colour' in [backup]",
    "[backup]\nsources =\n  set = {S}\n\nset = ..\n": "line 5: '..' cannot name a set",
    "[backup]\nsources = {S}\n[drive {I}]\nevery = 2w\n": "line 4: '2w' is no duration|14d",
    "[backup]\nsources = {S}\n[drive {I}]\nevery = 0d\n": "line 4: '0d' is no time at all",
    "[backup]\nsources = {S}\n[drive {I}]\nevery = 1\n": "line 4: '1' is no duration",
    "[backup]\nsources = {S}\n[drive {I}]\neject = maybe\n": "line 4: 'maybe' is neither yes nor no",
    "[backup]\nsources = {S}\nmin-free = 10 apples\n": "line 3: '10 apples' is no size",
    "[backup]\nsources = {S}\nkeep-daily = -1\n": "line 3: '-1' is no number of dated copies",
    "[backup]\nsources = {S}\nhold-at = 0\n": "line 3: '0' is no share of files",
    "[backup]\nsources = {S}\nset = con\n": "line 3: 'con' cannot name a set: it is a device name on Windows",
    "[backup]\nsources = {S}\nset = 2026-11-22_231507\n": "line 3: '2026-11-22_231507' cannot name a set",
    "[backup]\nsources = {S}\nset = a/b\n": "line 3: 'a/b' cannot name a set",
    "[backup]\nsources = {S}\nexclude =\n  *.o\n  [z-\n": "line 3: the exclude pattern '[z-' has a '[' without its ']'",
    "[backup]\nsources = {S}\nexclude-if-present = a/b\n": "line 3: exclude-if-present takes a plain name, not 'a/b'",
    "[backup]\nsources = {S}\non-result = 'tell\n": "line 3: ''tell' has a quote that is never closed",
    "[backup]\nsources = {S}\nkeep-daily = 0\n": "line 1: these rules keep nothing at all",
    "[backup]\nsources = {S}\n[drive {I}]\nkeep-last = 0\nkeep-within = 0h\n": "line 3: these rules keep nothing at all",
    "[backup]\nsources = {S}\n[backup]\nchecksum = yes\n": "line 3: the section 'backup' stands twice",
    "[drive {I}]\n[backup]\nsources = {S}\n[drive {I}]\n": "line 4: the section 'drive {I}' stands twice",
    "[drive {I}]\n[backup]\nsources = {S}\n[drive  {I}]\n": "line 4: the drive {I} has two sections",
    "[backup]\nsources = {S}\nexclude = a\nExclude = b\n": "line 4: 'exclude' stands twice|set in",
    "[backup]\nsources =\nset = box\n": "line 2: sources has no value; write one, or remove the line",
    "[backup]\nsources = {S}\n[drive {I}]\nlabel =\n": "line 4: label has no value",
    "[drive {I}]\npath = {D}\n": "it does not say what to copy; in [backup] write: sources = ~/Documents",
    "": "it does not say what to copy",
    "[backup]\nsources = {S}\n": "names no drive; add a section [drive ID]",
    "sources = {S}\n": "line 1: 'sources = |stands in no section; begin with a line [backup]",
    "# snapback\n\nhello\n": "line 3: 'hello' stands in no section",
    "[backup]\nsources = {S}\nchecksum\n": "line 3: 'checksum' is no setting; write KEY = VALUE",
    "[backup]\nsources: {S}\n": "line 2: 'sources: |is no setting; write KEY = VALUE",
    "[backup]\nsources = {S}\n= yes\n": "line 3: '= yes' is no setting",
    "[backup]\n{S}\n": "line 2: '{S}' is no setting",
    "[backup\nsources = {S}\n": "line 1: '[backup' stands in no section",
    "[backup] sources = {S}\n": "line 1: 'sources = {S}' stands behind [backup]; write it on a line of its own",
    "[backup]\nsources = {S}\n[drive {I}] every = 7d\n": "line 3: 'every = 7d' stands behind [drive {I}]",
    "[backup]\nsources = {S}\nexclude = *.o\n  keep-daily = 30\n": "line 3: keep-daily is set in, so that it is a part of exclude",
    "[backup]\nsources = {S}\nexclude-if-present =\n  .no\n\n  # x\n  Hold-at=9\n": "line 3: Hold-at is set in, so that",
    "[backup]\nsources = {S}\n[drive {I}]\nlabel =\n  A\n  B\n": "line 4: 'A B' stands on 2 lines; write it on one",
    "[backup]\nsources = {S}\n[drive {I}]\npath = {D}\n  /mnt\n": "line 4: '{D} /mnt' stands on 2 lines; write it on one",
    "[backup]\nsources = $NO_SUCH/a\n": "line 2: there is no variable 'NO_SUCH' in the environment|cron",
    "[backup]\nsources =\n  {S}\n  x = ${{NO_SUCH}}\n": "line 2: there is no variable 'NO_SUCH'",
    "[backup]\nsources = {S}\n[drive {I}]\npath = $NO_SUCH\n": "line 4: there is no variable 'NO_SUCH'",
    "[backup]\nsources = ~nobody-at-all/a\n": "line 2: the home folder of '~nobody-at-all/a' is not known",
    "[backup]\nsources = x=\n": "line 2: 'x=' names no folder; write NAME=PATH, or only the path",
    "[backup]\nsources = \x1b[2J\u202e\n[\x1bx]\n": "line 3: there is no section [\\x1bx]",
    "[backup]\nsources =\n  {S}\n  {S}\n[drive {I}]\npath = {D}\n": "is named twice",
    "[backup]\nsources =\n  -={S}\n[drive {I}]\npath = {D}\n": "cannot be called '-'",
    "[backup]\nsources = {S}\nexclude-from = {S}/nothing\n[drive {I}]\npath = {D}\n": "there is no exclude file",
    "[backup]\nsources = {S}\nexclude-from = {S}/folder\n[drive {I}]\npath = {D}\n": "exclude file {S}/folder",
    "[backup]\nsources = {S}\nexclude-from = {S}/loop\n[drive {I}]\npath = {D}\n": "the exclude file {S}/loop cannot be read",
    "[backup]\nsources = {S}\nexclude-from = /dev/zero\n[drive {I}]\npath = {D}\n": "exclude file",
}


class Untouched(NamedTuple):
    """A source and a drive with a dated copy, which no test that asks for them changes."""

    place: Path
    source: Path
    drive: Path


@pytest.fixture(scope="module")
def untouched() -> Iterator[Untouched]:
    with folder_in_memory() as root:
        made = Untouched(root, root / "src", root / "drive")
        (made.source / "folder").mkdir(parents=True)
        (made.source / "letter").write_bytes(b"letter")
        (made.source / "loop").symlink_to("loop")
        made.drive.mkdir()
        assert ask("backup", "--init", "--set", "box", made.source, made.drive).code == 0
        yield made


@pytest.mark.parametrize("text", WRONG)
def test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched(home: Path, untouched: Untouched, text: str) -> None:
    fill = {"S": untouched.source, "D": untouched.drive, "I": id_of(untouched.drive)}
    path = write_settings(home, text.format(**fill))
    before, at_home = twin(untouched.place), twin(home)
    for words in (["backup"], ["backup", "--json", "--if-due", "-q"], ["backup", "--config", path]):
        outcome = ask(*words)
        sentence = outcome.err.rstrip("\n")
        assert (outcome.code, outcome.err.count("\n"), sentence.isprintable()) == (2, 1, True), outcome
        about = WRONG[text].format(**fill)
        assert [word for word in about.split("|") if word not in sentence] == []
        assert sentence.startswith(f"snapback: the settings file {path}") or "line" not in about
        if "--json" in words:
            assert json.loads(outcome.out) == {"error": sentence[len("snapback: ") :], "exit_code": 2}
    assert differences(twin(untouched.place), before) == []
    assert differences(twin(home), at_home) == []


# --- The copy on the drive ------


def random_word(rng: random.Random, first: bool = False) -> str:
    """Draw a text that a line of a list can hold; only the first, which stands on the key's own line, may look like a comment."""
    letters = "ab =#;[]%:\\\"'!*?~,\u041f\U0001f600\u00e9"
    word = "".join(rng.choice(letters) for _ in range(rng.randint(1, 12))).strip() or "x"
    return word if first or not word.startswith("#") else "x" + word


def random_words(rng: random.Random) -> Tuple[str, ...]:
    return tuple(random_word(rng, nth == 0) for nth in range(rng.randint(0, 4)))


def random_span(rng: random.Random) -> Duration:
    return Duration(*(rng.choice((0, 0, 1, 12, 999_999_999)) for _ in Duration._fields))


def random_rotation(rng: random.Random) -> Rotation:
    counts = [rng.choice((0, 0, 1, 7, 999_999_999, snapback.UNLIMITED)) for _ in range(6)]
    space = rng.choice((Space(), Space(), Space(percent=12.5), Space(percent=99), Space(50 * 10**9), Space(123_456), Space(7 * 10**15)))
    return Rotation(Retention(*counts, random_span(rng)) if any(counts) else Retention(within=Duration(hours=1)), space)


def random_drive(rng: random.Random, nth: int) -> DriveSettings:
    return DriveSettings(
        f"{nth:032x}", rng.choice(("", "BLUE", random_word(rng))), rng.choice(("", "/mnt/a b", "/x=$y #z")),
        rng.choice((None, True, False)),
        rng.choice((Duration(hours=1), Duration(days=1), Duration(1, 2, 3, 4))), rng.choice((Duration(days=7), Duration(months=3))),
        rng.random() < 0.5, random_span(rng), random_rotation(rng),
    )  # fmt: skip


def random_settings(rng: random.Random) -> Settings:
    """Draw settings that a file can hold, with paths as they are once they have been read."""
    tops = ("/", "work=/", "y#=/")
    sources = tuple(rng.choice(("/", "#x=/") if nth == 0 else tops) + random_word(rng) for nth in range(rng.randint(1, 4)))
    sense = str.maketrans("[\\!", "(/?")  # a pattern must make some
    patterns = (*((True, f"/{word}") for word in random_words(rng)), *((False, "x" + word.translate(sense)) for word in random_words(rng)))
    return Settings(
        sources, patterns, rng.random() < 0.5, tuple(word for word in random_words(rng) if word not in (".", "..")), rng.random() < 0.5,
        rng.random() < 0.5, rng.choice(("", "box", "annas-laptop")), rng.choice((0.0, 50.0, 1.0, 33.333, 100.0, 0.001)),
        random_rotation(rng), rng.random() < 0.5, rng.choice(((), ("tell", "a b"))),
        tuple(random_drive(rng, nth) for nth in range(rng.randint(0, 3))), rng.random() < 0.5,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_settings_come_back_from_their_text_without_the_command(drive: Path, seed: int) -> None:
    rng = random.Random(seed)
    made_drive(drive)
    (drive / "box").mkdir()
    for _ in range(40):
        settings = random_settings(rng)
        text = settings_text(settings)
        assert parse_settings(text, str) == settings._replace(on_result=())
        assert "on-result" not in text
        (drive / "box" / "settings.ini").write_text(text, encoding="utf-8")
        assert snapback.load_settings(str(drive / "box" / "settings.ini")) == settings._replace(on_result=())


@pytest.fixture
def drive_with_copy(home: Path, source: Path, drive: Path) -> Path:
    """A drive with a dated copy that was made by settings, which lie there too, with a command that leaves `told`."""
    made_drive(drive)
    write_settings(home, for_drives(source, drive, more=f"exclude = *.tmp\non-result = touch {home}/told"))
    assert ask("backup").code == 0
    (home / "told").unlink()
    return drive


def test_each_run_leaves_its_settings_in_the_set(home: Path, source: Path, drive_with_copy: Path) -> None:
    own, copy = home / ".config/snapback/snapback.ini", drive_with_copy / "box" / "settings.ini"
    first = copy.stat()
    assert snapback.load_settings(str(copy)) == snapback.load_settings(str(own))._replace(on_result=())
    assert "touch" not in copy.read_text()
    assert ask("backup").code == 0
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    own.write_text(own.read_text().replace("*.tmp", "*.o"))
    assert ask("backup", "-n").code == 0
    assert "*.tmp" in copy.read_text()
    assert ask("backup").code == 0
    assert "*.o" in copy.read_text()
    assert (home / "told").exists()


def elsewhere(drive: Path, home: Path, *words: object) -> Outcome:
    """Run the program that lies on a drive, as another person would, whose home folder is empty."""
    other = home / "other"
    other.mkdir(exist_ok=True)
    started = [sys.executable, "-I", str(drive / "snapback.py"), *map(str, words)]
    env = {"PATH": os.environ["PATH"], "HOME": str(other), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(started, cwd=other, env=env, capture_output=True, encoding="utf-8", timeout=60)
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


def in_newest(drive: Path) -> List[str]:
    return sorted(path.name for path in (drive / "box" / dates(drive / "box")[-1]).iterdir() if path.is_dir())


def test_named_settings_go_before_a_persons_own_and_these_before_the_copy_on_the_drive(home: Path, drive_with_copy: Path) -> None:
    drive = drive_with_copy
    assert elsewhere(drive, home, "backup")[::2] == (0, "")
    assert (len(dates(drive / "box")), in_newest(drive)) == (2, ["src"])
    for name, more in ((".config/snapback/snapback.ini", []), ("named.ini", ["--config", home / "named.ini"])):
        folder = home / name.partition(".")[0] / "own" if not more else home / "named"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_bytes(b"x")
        write_settings(home / "other" if not more else home, for_drives(folder, drive), name)
        assert elsewhere(drive, home, "backup", *more)[::2] == (0, "")
        assert in_newest(drive) == [folder.name]


def of_another_computer(a_set: Path) -> None:
    """Let all dated copies of a set be of another computer."""
    for date in dates(a_set):
        reseal(a_set / date / "SHA256SUMS", lambda above: above.replace(b'"machine": "', b'"machine": "other'))
        (a_set / "manifests" / f"{date}.gz").unlink()


def test_a_drive_in_another_computer_backs_up_nothing_by_itself(home: Path, drive_with_copy: Path) -> None:
    of_another_computer(drive_with_copy / "box")
    before, at_home = twin(drive_with_copy), twin(home)
    outcome = elsewhere(drive_with_copy, home, "backup")
    (home / "other").rmdir()
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
    assert outcome.err.startswith("snapback: say what to copy and where to: snapback.py backup ~/Documents /media/usb")
    assert differences(twin(drive_with_copy), before) == []
    assert differences(twin(home), at_home, ["mtime_ns"]) == []


def test_copies_of_several_sets_of_this_computer_are_not_chosen_from(home: Path, source: Path, drive_with_copy: Path) -> None:
    own = home / ".config/snapback/snapback.ini"
    own.write_text(own.read_text().replace("set = box", "set = second"))
    assert ask("backup").code == 0
    outcome = elsewhere(drive_with_copy, home, "backup")
    assert (outcome.code, "say what to copy" in outcome.err) == (2, True), outcome


@pytest.mark.parametrize("how", ["found", "named", "linked to", "a link"])
def test_a_command_in_the_copy_on_a_drive_is_never_obeyed(home: Path, drive_with_copy: Path, how: str) -> None:
    """Whoever had the drive in hand may have put it there."""
    copy, own = drive_with_copy / "box" / "settings.ini", home / ".config/snapback/snapback.ini"
    copy.write_text(copy.read_text().replace("[backup]\n", f"[backup]\nOn-Result = touch {home}/told\n"))
    if how == "linked to":
        own.unlink()
        own.symlink_to(copy)
    if how == "a link":
        copy.rename(drive_with_copy / "other.ini")
        copy.symlink_to("../other.ini")
    before = twin(drive_with_copy)
    for words in (["backup"], ["status"]):
        more = [*words, "--config", copy] if how == "named" else words
        outcome = elsewhere(drive_with_copy, home, *more) if how in ("found", "a link") else ask(*more)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
        assert "box/settings.ini" in outcome.err or how == "linked to"
        assert "line 3: on-result names a command, and none is ever taken from a drive; remove it" in outcome.err
    assert differences(twin(drive_with_copy), before) == []
    assert not (home / "told").exists()


def test_a_command_is_obeyed_from_a_file_of_ones_own_on_a_drive(home: Path, source: Path, drive_with_copy: Path) -> None:
    """Such as where the home folder lies on a disk that holds dated copies as well."""
    write_settings(drive_with_copy, for_drives(source, drive_with_copy, more=f"on-result = touch {home}/told"), "box/own.ini")
    assert ask("backup", "--config", drive_with_copy / "box" / "own.ini").code == 0
    assert (home / "told").exists()


def test_settings_that_cannot_be_left_on_the_drive_are_a_note(home: Path, drive_with_copy: Path) -> None:
    (drive_with_copy / "box" / "settings.ini").unlink()
    (drive_with_copy / "box" / "settings.ini").mkdir()
    outcome = ask("backup")
    assert (outcome.code, len(dates(drive_with_copy / "box"))) == (3, 2), outcome
    assert "the settings could not be left on the drive" in outcome.err


# --- Strange files ------

TEXT = "[backup]\nsources = {S}\nset = box\nexclude =\n    *.tmp\n\n[drive {I}]\npath = {D}\n"
ENCODED: Dict[str, Callable[[str], bytes]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "no newline at the end": lambda text: text.rstrip("\n").encode(),
    "BOM": lambda text: codecs.BOM_UTF8 + text.encode(),
    "BOM and CRLF": lambda text: codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
    "UTF-16, little end first": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: codecs.BOM_UTF16_BE + text.replace("\n", "\r\n").encode("utf-16-be"),
    "tabs": lambda text: text.replace("    ", "\t").replace(" = ", "\t=\t").encode(),
}
CYRILLIC = "\u041f\u0438\u0441\u044c\u043c\u0430"


@pytest.mark.parametrize("how", ENCODED)
def test_settings_may_come_from_any_editor(home: Path, tmp_path: Path, drive: Path, how: str) -> None:
    source = tmp_path / CYRILLIC
    source.mkdir()
    text = TEXT.format(S=source, D=drive, I=made_drive(drive))
    path = write_settings(home, "")
    path.write_bytes(ENCODED[how](text))
    assert snapback.load_settings(str(path)) == parse_settings(text, str)


def no_file(path: Path) -> None:
    path.unlink()


def a_link_to(target: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return make


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def huge(path: Path) -> None:
    os.truncate(path, 100 * MIB)


def bytes_are(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


STRANGE: Dict[str, Tuple[Callable[[Path], None], str]] = {
    "a folder": (a_folder, "it is a folder"),
    "a fifo": (a_fifo, "it is no file"),
    "a device": (a_link_to("/dev/zero"), "it is no file"),
    "a link to itself": (a_link_to("snapback.ini"), "Too many levels of symbolic links"),
    "a link that leads nowhere": (a_link_to("nowhere"), "No such file or directory"),
    "100 MB": (huge, "it is larger than a megabyte"),
    "binary": (bytes_are(bytes(range(256))), "it is no text"),
    "zeros": (bytes_are(bytes(100)), "it is no text"),
    "Latin-1": (bytes_are(b"[backup]\nsources = /caf\xe9\n"), "save it as UTF-8"),
    "UTF-16 without its mark": (bytes_are("[backup]".encode("utf-16-le")), "it is no text"),
    "half of UTF-16": (bytes_are(codecs.BOM_UTF16_LE + b"x"), "save it as UTF-8"),
    "UTF-32": (bytes_are("[backup]\n".encode("utf-32")), "it is no text"),
    "a program": (bytes_are(Path(sys.executable).read_bytes()[:5000]), "it is no text"),
}


@pytest.mark.parametrize("how", STRANGE)
def test_settings_that_are_no_text_are_refused_in_one_sentence(home: Path, untouched: Untouched, how: str) -> None:
    path = write_settings(home, "")
    make, why = STRANGE[how]
    make(path)
    before = twin(untouched.place)
    for words in (["backup"], ["backup", "--config", path], ["status"], ["list"]):
        outcome = ask(*words)
        assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), outcome
        assert outcome.err.startswith(f"snapback: the settings file {path} cannot be read: "), outcome
        assert why in outcome.err, outcome
    assert differences(twin(untouched.place), before) == []
    assert sorted(os.listdir(home)) == [".config"]


def test_named_settings_that_are_missing_are_not_replaced_by_others(home: Path, source: Path, drive: Path) -> None:
    made_drive(drive)
    write_settings(home, for_drives(source, drive))
    outcome = ask("backup", "--config", home / "nothing.ini")
    assert (outcome.code, f"the settings file {home}/nothing.ini cannot be read" in outcome.err) == (2, True), outcome
    assert not (drive / "box").exists()


def test_a_home_folder_in_the_name_of_the_settings_is_found(home: Path, source: Path, drive: Path) -> None:
    """A shell leaves the ~ in --config=~/x.ini as it is."""
    made_drive(drive)
    write_settings(home, for_drives(source, drive), "x.ini")
    assert ask("backup", "--config=~/x.ini").code == 0


SOURCES: Dict[str, Tuple[str, int, str]] = {  # what is said to be a source -> exit code, what is said of it
    "{S}/letter": ("", 0, ""),
    "{S}/nothing": ("", 1, "there is no {S}/nothing: no dated copy was made"),
    "{S}/loop": ("loop", 1, "{S}/loop"),
    "{S}/fifo": ("fifo", 2, "{S}/fifo is neither a folder nor a file"),
    "{S}/letter/below": ("", 1, "there is no {S}/letter/below"),
    "{D}": ("", 2, "{D}"),
}


@pytest.mark.parametrize("word", SOURCES)
def test_odd_sources_of_settings(home: Path, source: Path, drive: Path, word: str) -> None:
    made_drive(drive)
    kind, code, said = SOURCES[word]
    if kind == "loop":
        (source / "loop").symlink_to("loop")
    elif kind == "fifo":
        os.mkfifo(source / "fifo")
    write_settings(home, for_drives(Path(word.format(S=source, D=drive)), drive))
    before = twin(source)
    outcome = ask("backup", "-q", "--if-due")
    assert (outcome.code, outcome.err.count("\n")) == (code, 1 if code else 0), outcome
    assert said.format(S=source, D=drive) in outcome.err
    assert len(dates(drive / "box")) == (0 if code else 1)
    assert differences(twin(source), before) == []


@pytest.mark.needs("user")
def test_folders_of_ones_own_that_are_read_only_are_no_trouble(ordinary_user: User, cli: Cli, reachable: Path) -> None:
    """The configuration folder need not be written, and the record of what was seen is never needed."""
    home, source, drive = ordinary_user.home, reachable / "src", reachable / "drive"
    source.mkdir()
    (source / "letter").write_bytes(b"letter")
    made_drive(drive)
    path = write_settings(home, for_drives(source, drive, more="on-result = sh -c 'exit 0'"))
    (home / ".local/state/snapback").mkdir(parents=True)
    for one in (drive, *drive.iterdir(), *home.rglob("*"), home):
        os.chown(one, ordinary_user.uid, ordinary_user.gid)
    for one in (path.parent, home / ".local/state/snapback", home / ".local/state", home):
        one.chmod(0o500)
    for words in (["backup"], ["backup", "-q", "--if-due"], ["status", "--json"]):
        ended = cli(*words, user=ordinary_user)
        assert (ended.code in (0, 3), "Traceback" in ended.err, "denied" in ended.err.lower()) == (True, False, False), ended
    assert len(dates(drive / "box")) == 1
    for one in (path.parent, home / ".local/state/snapback", home / ".local/state", home):
        one.chmod(0o700)


@pytest.mark.needs("user")
def test_settings_that_may_not_be_read_are_said_to_be_so(ordinary_user: User, cli: Cli, source: Path) -> None:
    path = write_settings(ordinary_user.home, "[backup]\n")
    for one in (path, path.parent, path.parent.parent):
        os.chown(one, ordinary_user.uid, ordinary_user.gid)
    path.chmod(0)
    ended = cli("backup", user=ordinary_user)
    assert (ended.code, ended.err.count("\n"), "Permission denied" in ended.err) == (2, 1, True), ended


CLOSED = ["{} <&-", "{} | head -0", "{} >&-", "{} 2>&-", "{} <&- >&- 2>&-"]


@pytest.mark.parametrize("how", CLOSED)
def test_a_run_by_settings_needs_no_open_output(home: Path, source: Path, drive: Path, how: str) -> None:
    made_drive(drive)
    write_settings(home, for_drives(source, drive, more=f"on-result = touch {home}/told"))
    line = how.format(f"{sys.executable} -I {SNAPBACK} backup")
    subprocess.run(["sh", "-c", f"( {line} ) 2> errors"], cwd=home, stdout=subprocess.PIPE, timeout=60, check=False)
    assert not re.search("Traceback|Exception|BrokenPipe", (home / "errors").read_text())
    assert len(dates(drive / "box")) == 1
    assert (home / "told").exists()
    assert ask("verify", "--drive", drive).code == 0


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES: Sequence[Dict[str, str]] = [{}, {"LC_ALL": "C"}, {"LANG": "xx_YY.KOI8-R"}, ASCII]


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_names_in_any_alphabet_stand_in_settings_in_any_locale(home: Path, tmp_path: Path, drive: Path, locale: Dict[str, str]) -> None:
    source = tmp_path / CYRILLIC / "\U0001f600"
    source.mkdir(parents=True)
    (source / CYRILLIC).write_bytes(b"x")
    made_drive(drive, CYRILLIC)
    (source / f"{CYRILLIC}.tmp").write_bytes(b"x")
    (source / f"{CYRILLIC}.o").write_bytes(b"x")
    (home / "list").write_text(f"{CYRILLIC}.o\n", encoding="utf-8")
    more = f"exclude-from = {home}/list\nexclude = {CYRILLIC}.tmp\non-result = sh -c 'echo \"$SNAPBACK_DRIVE\" > {home}/told'"
    write_settings(home, for_drives(source, drive, more=more))
    for nth in (1, 2):
        words = [sys.executable, str(SNAPBACK), "backup"]
        env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **locale}
        ended = subprocess.run(words, cwd=home, env=env, capture_output=True, timeout=60)
        assert (ended.returncode, ended.stderr) == (0, b""), ended
        assert len(dates(drive / "box")) == nth
    assert (home / "told").read_text(encoding="utf-8") == CYRILLIC + "\n"
    assert os.listdir(drive / "box" / dates(drive / "box")[-1] / source.name) == [CYRILLIC]
    assert snapback.load_settings(str(drive / "box" / "settings.ini")).sources == (str(source),)
    outcome = ask("backup")
    assert json.loads(ask("backup", "--json").out)["drives"][0]["files_unmodified"] == 1, outcome


def test_a_narrow_terminal_shows_it_all_the_same(home: Path, source: Path, drive: Path) -> None:
    made_drive(drive)
    write_settings(home, for_drives(source, drive))
    ended = on_a_terminal(["backup"], columns=20)
    assert (ended.code, b"OK - you can rely on this copy" in ended.err) == (0, True), ended
    ended = on_a_terminal(["status"], columns=20)
    assert (ended.code in (0, 3), b"Plug in" in ended.err or b"One offline" in ended.err) == (True, True), ended


ODD = "\x1b[31mred\x1b[0m\x07\u202e\"'`$(touch told)\\"


def test_an_odd_label_is_escaped_wherever_it_is_shown(home: Path, source: Path, drive: Path, tmp_path: Path) -> None:
    """In the marker anything can stand; a newline cannot, as it ends the label."""
    made_drive(drive)
    other = tmp_path / "other"
    made_drive(other)
    (drive / "snapback-marker.txt").write_text(re.sub("label: .*", lambda _: f"label: {ODD}", (drive / "snapback-marker.txt").read_text()))
    write_settings(home, for_drives(source, drive, other, more=f"on-result = sh -c 'printf %s \"$SNAPBACK_DRIVE\" > {home}/told'").replace(
        f"path = {other}", f"path = {tmp_path}/nowhere\nlabel = {ODD}"))  # fmt: skip
    for words in (["backup"], ["status"], ["backup", "--if-due"], ["backup", "-n"], ["list"]):
        outcome = ask(*words)
        told = outcome.out + outcome.err
        assert all(char == "\n" or char.isprintable() for char in told), outcome
        assert "\\x1b[31mred" in told, outcome
    drive.rename(tmp_path / "gone")
    for words in (["backup"], ["status"]):
        outcome = ask(*words)
        assert all(char == "\n" or char.isprintable() for char in outcome.out + outcome.err), outcome
    assert "\x1b" not in (home / "told").read_text()
    assert os.listdir(home).count("told") == 1


# --- Finding drives ------


def by_id(source: Path, *ids: str, more: str = "") -> str:
    """Write settings that name drives by their ids alone."""
    return f"[backup]\nsources = {source}\nset = box\n{more}\n" + "".join(f"[drive {one}]\n" for one in ids)


@contextlib.contextmanager
def also_at(disk: Path, place: Path, how: str = "--bind") -> Iterator[Path]:
    """Mount what is mounted at `disk` at another place as well or, with --move, instead."""
    place.mkdir()
    command("mount", how, disk, place)
    try:
        yield place
    finally:
        command(*(["umount", place] if how == "--bind" else ["mount", "--move", place, disk]))


Mounting = Callable[..., Mount]


@pytest.mark.needs("root", "mount")
def test_a_drive_is_found_wherever_it_is_mounted(home: Path, source: Path, mounted: Mounting, reachable: Path) -> None:
    disk = mounted("tmpfs").path
    write_settings(home, by_id(source, made_drive(disk, "BLUE")))
    assert ask("backup").code == 0
    with also_at(disk, reachable / "el se\nwhere", "--move") as place:
        outcome = ask("backup")
        assert (outcome.code, len(dates(disk / "box")), len(dates(place / "box"))) == (0, 0, 2), outcome
    command("mount", "-t", "tmpfs", "tmpfs", disk)  # another disk hides it
    try:
        outcome = ask("backup", "-q")
        assert (outcome.code, "BLUE is not attached, so nothing was copied to it" in outcome.err) == (75, True), outcome
        assert os.listdir(disk) == []
    finally:
        command("umount", disk)
    assert ask("backup").code == 0


@pytest.mark.needs("root", "mount")
def test_a_drive_is_sought_one_folder_deep_and_deeper_only_by_its_path(home: Path, source: Path, mounted: Mounting) -> None:
    disk = mounted("tmpfs").path
    (disk / "a b").mkdir()
    drive_id = made_drive(disk / "a b" / "deep")
    write_settings(home, by_id(source, drive_id))
    assert ask("backup").code == 75
    write_settings(home, by_id(source, drive_id) + f"path = {disk}/a b/deep")
    assert ask("backup").code == 0
    (disk / "a b" / "deep").rename(disk / "up")
    outcome = ask("backup")  # the path that is said is but the first place to look at
    assert (outcome.code, len(dates(disk / "up" / "box"))) == (0, 2), outcome


@pytest.mark.needs("root", "mount")
def test_two_drives_with_one_id_are_refused_and_others_served(home: Path, source: Path, mounted: Mounting, tmp_path: Path) -> None:
    one, other, third = mounted("tmpfs").path, mounted("tmpfs").path, tmp_path / "third"
    clone_id = made_drive(one, "BLUE")
    shutil.copy2(one / "snapback-marker.txt", other)
    made_drive(third)
    write_settings(home, by_id(source, clone_id) + f"[drive {id_of(third)}]\npath = {third}\n")
    before = twin(one), twin(other)
    outcome = ask("backup")
    assert (outcome.code, outcome.err.count("\n"), len(dates(third / "box"))) == (2, 1, 1), outcome
    said = "two drives have the id of BLUE: |clone of the other, so neither is used|remove its snapback-marker.txt"
    assert [word for word in (str(one), str(other), *said.split("|")) if word not in outcome.err] == []
    assert (differences(twin(one), before[0]), differences(twin(other), before[1])) == ([], [])
    status = ask("status")
    assert (status.code, str(one) in status.err, str(other) in status.err) == (3, True, True), status


@pytest.mark.needs("root", "mount")
def test_one_drive_in_two_places_is_one_drive(home: Path, source: Path, mounted: Mounting, reachable: Path) -> None:
    disk = mounted("tmpfs").path
    write_settings(home, by_id(source, made_drive(disk)))
    with also_at(disk, reachable / "again"):
        outcome = ask("backup")
        assert (outcome.code, outcome.err, len(dates(disk / "box"))) == (0, "", 1), outcome


@pytest.mark.needs("root", "mount")
def test_names_of_mounts_are_read_in_any_locale(home: Path, source: Path, mounted: Mounting, reachable: Path) -> None:
    disk = mounted("tmpfs").path
    write_settings(home, by_id(source, made_drive(disk)))
    for name in (CYRILLIC, "car\rriage\x0c\u2028", os.fsdecode(b"caf\xe9")):
        with also_at(disk, reachable / name, "--move") as place:
            ended = subprocess.run(
                [sys.executable, str(SNAPBACK), "backup"],
                cwd=home,
                env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **ASCII},
                capture_output=True,
                timeout=60,
            )
            assert (ended.returncode, ended.stderr) == (0, b""), ended
            shutil.rmtree(place / "box")


KINDS = {"ext4": True, "fuseblk": True, "exfat": True, "btrfs": True, "tmpfs": True, "overlay": True, "nfs": False, "nfs4": False,
         "cifs": False, "smb3": False, "fuse.sshfs": False, "fuse.rclone": False, "9p": False, "davfs": False, "network": False,
         "autofs": False, "proc": False, "squashfs": False}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_lie_on_another_computer_is_looked_at_only_when_its_path_is_said(
    tmp_path: Path, drive: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    drive_id = made_drive(drive)
    mounts = [snapback.Mounted(str(tmp_path), "ext4"), snapback.Mounted(str(drive), kind)]
    monkeypatch.setattr(snapback, "mounts", lambda: mounts)
    found = {drive_id: [str(drive)]}
    assert snapback.find_drives({drive_id: ""}) == snapback.Search(found if KINDS[kind] else {}, {})
    assert snapback.find_drives({drive_id: str(drive)}) == snapback.Search(found, {})
    assert snapback.find_drives({OTHER_ID: str(drive)}) == snapback.Search({}, {})


def test_a_disk_below_a_servers_one_is_not_looked_at_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way to it leads over the server."""
    disk = tmp_path / "home" / "disk"
    disk.parent.mkdir()
    drive_id = made_drive(disk)
    for kind, places in {"ext4": [str(disk)], "nfs": [], "autofs": [str(disk)], "fuse.sshfs": []}.items():
        for where in (tmp_path, tmp_path / "home"):
            mounts = [snapback.Mounted("/", "9p"), snapback.Mounted(str(where), kind), snapback.Mounted(str(disk), "ext4")]
            monkeypatch.setattr(snapback, "mounts", lambda mounts=mounts: mounts)
            assert snapback.find_drives({drive_id: ""}).places.get(drive_id, []) == places


def test_which_paths_are_asked_for_by_a_process_of_their_own(tmp_path: Path) -> None:
    """A link may lead anywhere, and an automounter asks a server."""
    (tmp_path / "plain" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to("plain")
    mounts = [snapback.Mounted("/", "ext4"), *(snapback.Mounted(f"{tmp_path}/{kind}", kind) for kind in ("nfs", "autofs", "fuseblk")),
              snapback.Mounted(f"{tmp_path}/nfs/local", "ext4")]  # fmt: skip
    asked = {"plain": False, "plain/folder": False, "nothing": False, "fuseblk/x": False, "nfsx": False, "nfs": True, "nfs/x": True,
             "nfs/local/x": True, "autofs/server/share": True, "link": True, "link/folder": True}  # fmt: skip
    assert {name: snapback.may_hang(f"{tmp_path}/{name}", mounts) for name in asked} == asked
    assert snapback.may_hang(f"{tmp_path}/plain", mounts[1:])  # where it lies is not known


@contextlib.contextmanager
def a_server_that_is_gone(disk: Mount, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """Let a disk be a server's that answers nobody; give what asks the program something, and fails when that takes long."""
    listed = [one._replace(kind="nfs") if one.place == str(disk.path) else one for one in snapback.mounts()]
    assert [one.kind for one in listed].count("nfs") == 1
    monkeypatch.setattr(snapback, "mounts", lambda: listed)
    monkeypatch.setattr(snapback, "PATIENCE_FOR_SERVERS", 0.3)
    daemon = disk._daemon()
    assert daemon
    with ThreadPoolExecutor(1) as pool:
        os.kill(daemon, signal.SIGSTOP)
        try:
            time.sleep(1.1)  # so long the system itself remembers what the daemon said
            yield lambda *words: pool.submit(ask, *words).result(timeout=20)
        finally:
            os.kill(daemon, signal.SIGCONT)  # also lets a thread go that waits for it


@pytest.mark.needs("root", "exfat")
def test_a_server_that_is_gone_keeps_nobody_waiting(
    home: Path, source: Path, tmp_path: Path, mounted: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, good = mounted("exfat"), tmp_path / "good"
    dead_id = made_drive(disk.path, "NAS")
    made_drive(good)
    (tmp_path / "link").symlink_to(disk.path)
    with a_server_that_is_gone(disk, monkeypatch) as ask_in_time:
        for path in ("", disk.path, disk.path / "below", tmp_path / "link", tmp_path / "link" / "below"):
            dead = f"[drive {dead_id}]\nlabel = NAS\n" + (f"path = {path}\n" if path else "")
            write_settings(home, for_drives(source, good) + dead)
            outcome = ask_in_time("backup")
            why = f": {path} does not answer: its server may be switched off" if path else ""
            assert (outcome.code, outcome.err) == (0, ""), outcome
            assert f"NAS is not attached, so nothing was copied to it{why}\n" in outcome.out
    assert len(dates(good / "box")) == 3


@pytest.mark.needs("root", "exfat")
def test_a_source_on_a_server_that_is_gone_keeps_nobody_waiting(
    home: Path, source: Path, drive: Path, tmp_path: Path, mounted: Mounting, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mounted("exfat")
    (disk.path / "letter").write_text("dear Anna")
    made_drive(drive)
    (tmp_path / "link").symlink_to(disk.path)
    with a_server_that_is_gone(disk, monkeypatch) as ask_in_time:
        for path in (disk.path, disk.path / "below", tmp_path / "link"):
            write_settings(home, for_drives(source, drive).replace(f"sources = {source}", f"sources =\n  {source}\n  nas = {path}"))
            for words in (["backup"], ["status"], ["backup", f"nas={path}", drive]):
                outcome = ask_in_time(*words)
                assert (outcome.code, f"{path} does not answer: no dated copy was made" in outcome.err) == (1, True), outcome
    assert ask("backup").code == 0


# --- Several drives ------

ORDER = [130, 1, 2, 11, 4, 5, 3, 75, 0]  # worst first


def answer_of(code: int) -> snapback.Answer:
    return snapback.Answer(snapback.Exit(code), (), [f"{code}"] if code else [], {"attached": code != 75})


@pytest.mark.parametrize("code", ORDER)
def test_the_worst_of_two_drives_is_told_and_an_absent_one_counts_only_alone(code: int) -> None:
    assert snapback.drives_answer({"a": ("A", answer_of(code))}).code == code
    for other in ORDER:
        for codes in ((code, other), (other, code)):
            both = snapback.drives_answer({str(nth): (f"D{nth}", answer_of(one)) for nth, one in enumerate(codes)})
            counted = [one for one in codes if one != 75] or [75]
            assert both.code == min(counted, key=ORDER.index)
            loud = [one for one in codes if one and (one != 75 or codes == (75, 75))]
            assert [line.split(": ")[1] for line in both.problems] == [str(one) for one in loud]
            assert [one["exit_code"] for one in both.facts["drives"]] == list(codes)


def test_an_absent_drive_that_is_overdue_counts_beside_others() -> None:
    overdue = snapback.Answer(snapback.Exit.ATTENTION, (), ["A is not attached"], {"attached": False})
    both = snapback.drives_answer({"a": ("A", overdue), "b": ("B", answer_of(0))})
    assert (both.code, both.problems) == (3, ["A is not attached"])


def fill_up(disk: Mount) -> None:
    disk.fill()


def make_read_only(disk: Mount) -> None:
    disk.read_only()


def damage_marker(disk: Mount) -> None:
    os.truncate(disk.path / "snapback-marker.txt", 10)


def give_away(disk: Mount) -> None:
    shutil.copytree(disk.path / "mine", disk.path / "box")
    of_another_computer(disk.path / "box")


def put_a_file_in_its_place(disk: Mount) -> None:
    (disk.path / "box").write_bytes(b"")


FAILING: Dict[str, Tuple[Callable[[Mount], None], int, str]] = {  # what becomes of a drive -> exit code, what is said
    "full": (fill_up, 1, "this copy does not fit on the drive BAD"),
    "read-only": (make_read_only, 1, "read-only"),
    "without its marker": (damage_marker, 1, "is damaged"),
    "another's": (give_away, 2, "belongs to another computer"),
    "with a file in its set's place": (put_a_file_in_its_place, 1, "box"),
}


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize("case", FAILING)
def test_one_drives_failure_does_not_stop_the_others(home: Path, source: Path, tmp_path: Path, mounted: Mounting, case: str) -> None:
    make, code, said = FAILING[case]
    bad, good = mounted("tmpfs", "2M"), tmp_path / "good"
    bad_id, good_id = made_drive(bad.path, "BAD"), made_drive(good, "GOOD")
    if case == "another's":
        assert ask("backup", "--set", "mine", source, bad.path).code == 0
    (source / "large").write_bytes(os.urandom(MIB))
    make(bad)
    before = twin(bad.path)
    tell = f"on-result = sh -c 'echo $SNAPBACK_DRIVE $SNAPBACK_RESULT >> {home}/told'"
    one_of = f"[drive {bad_id}]\nlabel = BAD\npath = {bad.path}\n", f"[drive {good_id}]\nlabel = GOOD\npath = {good}\n"
    for drives, code_of_all in ((one_of, code if code != 75 else 0), (one_of[:1], code)):
        write_settings(home, by_id(source, more=tell) + "".join(drives))
        outcome = ask("backup", "--json")
        assert outcome.code == code_of_all, outcome
        told = {one["id"]: one["exit_code"] for one in json.loads(outcome.out)["drives"]}
        assert (told[bad_id], told.get(good_id, 0)) == (code, 0)
        problems = outcome.err.splitlines()
        assert [said in line and ("BAD" in line or drives == one_of[:1]) for line in problems] == [True] * (code_of_all != 0), outcome
    assert len(dates(good / "box")) == 1
    assert sorted((home / "told").read_text().splitlines()) == ["BAD failed", "BAD failed", "GOOD ok"][2 if code == 75 else 0 :]
    assert case == "full" or differences(twin(bad.path), before) == []
    assert case != "full" or dates(bad.path / "box") == []


def test_several_failures_end_with_the_worst(home: Path, source: Path, tmp_path: Path) -> None:
    drives = [tmp_path / name for name in ("foreign", "busy", "spoilt", "good")]
    for one in drives:
        made_drive(one, one.name)
    assert ask("backup", "--set", "box", source, drives[0]).code == 0
    of_another_computer(drives[0] / "box")
    (drives[1] / "box").mkdir()
    lock = snapback.lock_set(snapback.open_drive(str(drives[1])), "box")
    write_settings(home, for_drives(source, *drives))
    (drives[2] / "box").write_bytes(b"")
    try:
        assert exit_codes() == (1, [2, 11, 1, 0])
        (drives[2] / "box").unlink()
        assert exit_codes() == (2, [2, 11, 0, 0])
        remove_tree(drives[0] / "box")
        assert exit_codes() == (11, [0, 11, 0, 0])
        drives[0].rename(tmp_path / "away")
        assert exit_codes() == (11, [75, 11, 0, 0])
    finally:
        snapback.unlock(lock)
    assert exit_codes() == (0, [75, 0, 0, 0])
    for one in drives[1:]:
        one.rename(tmp_path / f"{one.name}-away")
    assert exit_codes() == (75, [75, 75, 75, 75])
    assert exit_codes("--if-attached") == (0, [0, 0, 0, 0])


def exit_codes(*words: str) -> Tuple[int, List[int]]:
    outcome = ask("backup", "--json", *words)
    return outcome.code, [one["exit_code"] for one in json.loads(outcome.out)["drives"]]


@pytest.mark.parametrize("others", [0, 1])
def test_a_drive_that_is_unplugged_after_it_was_found_is_absent(
    home: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """All are sought at once, and hours may go by before the last one's turn."""
    drives = [tmp_path / f"drive{nth}" for nth in range(others + 1)]
    for one in drives:
        made_drive(one, one.name)
    write_settings(home, for_drives(source, *drives))
    search = snapback.find_drives({id_of(one): str(one) for one in drives})
    monkeypatch.setattr(snapback, "find_drives", lambda _wanted: search)
    drives[-1].rename(tmp_path / "away")
    outcome = ask("backup", "--json")
    assert (outcome.code, exit_codes("--if-attached")[0]) == (0 if others else 75, 0), outcome
    assert [one["attached"] for one in json.loads(outcome.out)["drives"]] == [True] * others + [False]


# --- The local record ------

DEEP = "[" * 960 + "]" * 960
RECORDS: Dict[str, str] = {  # {I} is the drive's id, {D} the drive
    "empty": "", "half": "{{", "a list": "[]", "a number": "5", "null": "null", "a text": '"x"', "deep": '{{"x": ' + DEEP + "}}",
    "other types": '{{"drives": 5, "seen": [5]}}', "other types within": '{{"drives": {{"{D}": 5, "x": []}}, "seen": {{"{I}": 5}}}}',
    "other types of each": '{{"drives": {{"{D}": {{"id": 5, "label": 5}}}}, "seen": {{"{I}": {{"label": 5, "taken": [], "free": "x"}}}}}}',
    "vast numbers": '{{"seen": {{"{I}": {{"free": 1' + 4000 * "0" + ', "total": 1' + 4000 * "0" + ', "pace": -1, "damaged": 1e999}}}}}}',
    "no ids": '{{"seen": {{"": {{"path": "/"}}, "x": {{"path": "x"}}, "\\u001b[2J": {{"path": "/tmp", "label": "\\u001b"}}}}}}',
    "NUL": '{{"drives": {{"\\u0000": {{"id": "\\u0000", "label": "\\u0000"}}}}, "seen": {{"{I}": {{"path": "a\\u0000b"}}}}}}',
    "surrogates": '{{"seen": {{"{I}": {{"path": "\\ud800", "label": "\\ud800\\udcff"}}}}}}',
    "odd times": '{{"seen": {{"{I}": {{"taken": "9999-12-31T23:59:59+00:00", "told": "0001-01-01T00:00:00+00:00", "seen": "now"}}}}}}',
    "times without a zone": '{{"seen": {{"{I}": {{"taken": "2020-01-01", "missed_since": "2020-01-01T00:00:00"}}}}}}',
    "huge": "[" + 3 * MIB * " " + "]",
}  # fmt: skip


@pytest.mark.parametrize("case", RECORDS)
@pytest.mark.parametrize("settings", [True, False])
def test_a_local_record_is_never_needed_and_never_a_failure(
    home: Path, source: Path, drive: Path, tmp_path: Path, case: str, settings: bool
) -> None:
    record = home / ".local/state/snapback/drives.json"
    fill = {"D": drive, "I": made_drive(drive)}
    if settings:
        write_settings(home, for_drives(source, drive))
    assert ask("backup", "--set", "box", source, drive).code == 0
    for there in (True, False):
        for words in (["backup"], ["status"], ["list", "--drive", drive], ["backup", "--set", "box", source, drive], ["init", drive]):
            if not there:
                drive.rename(tmp_path / "away")
            codes = []
            for text in ("", RECORDS[case].format(**fill)):
                record.write_text(text)
                if not there and words[0] == "init":
                    continue
                outcome = ask(*words)
                codes.append(outcome.code)
                assert all(char == "\n" or char.isprintable() for char in outcome.out + outcome.err), outcome
            assert len(set(codes)) < 2 or words == ["status"], (words, codes)
            if not there:
                (tmp_path / "away").rename(drive)
    assert ask("backup", "--set", "box", source, drive).code == 0
    assert json.loads(record.read_text())["seen"][fill["I"]]["path"] == str(drive)


@pytest.mark.parametrize("kind", ["a folder", "a link to itself", "its folder is a file", "a fifo"])
def test_a_local_record_that_cannot_be_written_is_no_failure(home: Path, source: Path, drive: Path, kind: str) -> None:
    made_drive(drive)
    write_settings(home, for_drives(source, drive))
    folder = home / ".local/state/snapback"
    remove_tree(folder)
    if kind == "its folder is a file":
        folder.write_bytes(b"")
    else:
        folder.mkdir()
        make = {"a folder": os.mkdir, "a link to itself": lambda path: os.symlink(path, path), "a fifo": os.mkfifo}[kind]
        make(folder / "drives.json")
    for words in (["backup"], ["status"], ["backup", "--set", "box", source, drive]):
        outcome = ask(*words)
        assert (outcome.code in (0, 3), "record" in outcome.err) == (True, False), outcome
    assert len(dates(drive / "box")) == 2
