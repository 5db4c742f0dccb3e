"""The settings: what they may say, how they travel, how the drives that they name are found, and how it goes with several."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Tuple

import pytest

import snapback
from conftest import folder_in_memory
from snapback import DriveSettings, Duration, Retention, Rotation, Settings, Space, parse_settings
from trees import ask, differences, twin

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
    "set": ("annas-laptop", "set_name", "annas-laptop"),
    "hold-at": ("33.5", "hold_at", 33.5),
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
