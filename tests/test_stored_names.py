"""Names that a drive cannot hold, and files that are too large for it: stored under other names, or said, and never lost or merged."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import string
from pathlib import Path
from typing import Callable, List, Set

import pytest

import snapback
from conftest import Cli, Mount
from faults import Call, watched
from snapback import Naming, storable
from test_changes import Box, KilledError, date
from trees import ask, differences, remove_tree, twin

pytestmark = pytest.mark.needs("linux")

FORBIDDEN = re.compile('[\0-\x1f\x7f<>:"|?*\\\\]')
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *(
    port + digit for port in ("com", "lpt") for digit in "123456789\u00b9\u00b2\u00b3")}


def is_portable(name: str) -> bool:
    """Say by other means than the program's whether Windows, macOS and Linux can hold a name."""
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    stem = name.partition(".")[0].rstrip(" ").lower()
    return len(encoded) <= 255 and not FORBIDDEN.search(name) and name[-1] not in ". " and stem not in DEVICES


# --- The name on the drive ------


EVIL = [
    "a:b", "what?", 'say "hi"', "a*b", "<in>", "pipe|", "back\\slash", "new\nline", "tab\t", "\x7f", "end.", "end..", "end ",
    "dot. .", "con", "CON.txt", "nul .tar.gz", "com1", "lpt\u00b2.x", "aux.", "caf\udce9", "\udced\udca0\udc80", "100%", "a%3Ab",
    "%", " lead", ".hidden",
    "x" * 255, ":" * 255, "\u00e9" * 127, "\udcff" * 255, "l" * 250 + ".jpeg", "~", "a~b", "readme.", "....",
]


@pytest.mark.parametrize("name", EVIL, ids=ascii)
def test_every_name_has_one_that_each_drive_can_hold(name: str) -> None:
    assert storable(name, Naming.BYTES) == name
    assert is_portable(storable(name, Naming.PORTABLE))
    assert storable(name, Naming.TEXT).encode("utf-8")
    ascii_name = storable(name, Naming.ASCII)
    assert ascii_name.isascii()
    assert is_portable(ascii_name)
    if is_portable(name):
        assert storable(name, Naming.PORTABLE) == name


def test_names_drawn_at_random_are_storable_too() -> None:
    rng = random.Random("names")
    characters = string.printable + "\u00e9\u0308\u00df\u0130\U0001f600" + "".join(map(chr, range(0xDC80, 0xDCA0)))
    for _ in range(3000):
        name = "".join(rng.choices(characters, k=rng.choice([1, 2, 3, 8, 60, 255]))).replace("/", "") or "x"
        for naming in (Naming.PORTABLE, Naming.ASCII):
            assert is_portable(storable(name, naming)), ascii(name)


def test_a_name_that_is_too_long_is_cut_before_its_ending_and_stays_one_of_its_kind() -> None:
    one, other = ("\u0436" * 200 + letter + ".jpeg" for letter in "ab")
    cut = storable(one, Naming.BYTES)
    assert (len(os.fsencode(cut)) <= 255, cut.endswith(".jpeg"), cut[:100]) == (True, True, "\u0436" * 100)
    assert storable(other, Naming.BYTES) != cut


def test_a_marker_says_which_names_a_drive_takes_and_an_old_one_says_nothing() -> None:
    marker = snapback.Marker("0" * 32, "BLUE", "now", False, Naming.PORTABLE)
    text = snapback.marker_text(marker)
    assert ("names: portable\n" in text, snapback.parse_marker(text)) == (True, marker)
    for other in (text.replace("names: portable\n", ""), text.replace("portable", "whatever")):
        assert snapback.parse_marker(other) == marker._replace(naming=Naming.BYTES)


def test_the_stricter_of_two_kinds_of_names_counts() -> None:
    assert snapback.stricter(Naming.TEXT, Naming.PORTABLE) is snapback.stricter(Naming.PORTABLE, Naming.BYTES) is Naming.PORTABLE


# --- On drives ------


TWINS = [("Readme.txt", "README.TXT"), ("a:b", "a%3Ab"), ("\u00c9t\u00e9", "\u00e9t\u00e9"), ("end.", "end%2E"), ("stra\u00dfe", "strasse")]


def fill(source: Path) -> List[Path]:
    """Put every evil name into a source: as a file, as a folder with a file, some as links; give the files."""
    files = []
    for nth, name in enumerate(dict.fromkeys([*EVIL, *(one for pair in TWINS for one in pair)])):
        (source / "files").mkdir(exist_ok=True)
        files.append(source / "files" / name)
        if nth % 2 == 0 or "readme" in name.lower() or any(name in pair for pair in TWINS):
            folder = source / "folders" / name / "deeper: and?"
            folder.mkdir(parents=True)
            files += [folder / "plain", folder / name]
    for nth, path in enumerate(files):
        path.write_bytes(b"%d of its own" % nth)
    os.link(files[0], source / "folders" / "linked: too")
    os.link(files[0], source / "linked.")
    os.symlink("nowhere:", source / "files" / "sym:link")
    return files


def names_on(top: Path) -> Set[str]:
    """Assert that no two names in a folder would be one on the poorest of drives; give them all."""
    found = set()
    for _folder, folders, files in os.walk(top):
        alike = [name.lower().rstrip(". ") for name in [*folders, *files]]
        assert len(alike) == len(set(alike)), alike
        found |= {*folders, *files}
    return found


DRIVES = ["exfat", "exfat complete", "memory", "memory changes"]


@pytest.fixture(params=DRIVES)
def poor(request: pytest.FixtureRequest, mounted: Callable[..., Mount], in_memory: Path) -> Box:
    """A source with every evil name and a drive that takes few: by nature, or by its marker; each in both layouts."""
    kind, _, layout = request.param.partition(" ")
    drive = mounted("exfat").path if kind == "exfat" else in_memory / "drive"
    poor = Box(in_memory, drive, layout or ("changes" if kind == "exfat" else "complete"))
    marker = drive / "snapback-marker.txt"
    if kind == "memory":
        marker.write_text(marker.read_text().replace("names: any", "names: portable"))
    assert "names: portable\n" in marker.read_text()
    return poor


@pytest.mark.needs("exfat")
def test_names_that_a_drive_refuses_come_back_from_every_date(poor: Box) -> None:
    files = fill(poor.source)
    poor.take(0)
    poor.take(1)                                     # nothing changed
    for nth, path in enumerate(files):
        if nth % 3 == 0:
            path.write_bytes(b"%d changed" % nth)
    os.rename(poor.source / "files" / "what?", poor.source / "folders" / "moved?")
    poor.take(2)
    for pair in TWINS:                               # the one that had the plain name is gone: the other has it now
        (poor.source / "files" / pair[0]).unlink()
        remove_tree(poor.source / "folders" / pair[0])
    poor.take(3)
    for name in (one for day in range(4) for one in names_on(poor.a_set / date(day))):
        assert is_portable(name), ascii(name)
    poor.sound(*map(date, range(4)))
    outcome = poor.rotate(4, "--keep-last", "2", "--json")
    assert (outcome.code, json.loads(outcome.out)["found"]) == (0, []), outcome
    poor.sound(date(2), date(3))
    assert not (poor.a_set / "found").exists()
    assert not (poor.a_set / date(0)).exists() or poor.layout == "changes"


@pytest.mark.needs("exfat")
def test_a_file_is_not_stored_twice_because_of_its_name(poor: Box) -> None:
    fill(poor.source)
    poor.take(0)
    outcome = poor.back_up(1, "--no-rotate", "--json")
    facts = json.loads(outcome.out)
    whole_folders_without_links = poor.layout == "complete" and poor.drive.parent != poor.folder
    assert (facts["files_new"], facts["files_changed"], facts["data_added"] > 0) == (0, 0, whole_folders_without_links)


@pytest.mark.needs("exfat")
def test_an_interrupted_run_is_gone_on_with_under_the_names_on_the_drive(poor: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(poor.source)

    def dies(*_: object, **__: object) -> None:
        raise KilledError
    with monkeypatch.context() as patched:
        patched.setattr(snapback.SetRun, "_publish", dies)
        with pytest.raises(KilledError):
            poor.back_up(0, "--no-rotate")
    outcome = poor.back_up(1, "--no-rotate", "--json")
    added = json.loads(outcome.out)["data_added"]  # at most the file with several names, of which no leftover is safe to take
    assert (outcome.code, added <= len(b"10 of its own")) == (0, True), outcome
    poor.was[date(1)] = twin(poor.source)
    poor.sound(date(1))


@pytest.mark.needs("root", "exfat")
def test_a_folder_that_cannot_be_read_is_kept_under_the_names_on_the_drive(poor: Box) -> None:
    fill(poor.source)
    for name in ("Twin", "twin"):
        (poor.source / name).mkdir()
        (poor.source / name / "in").write_bytes(name.encode())
    poor.take(0)
    remove_tree(poor.source / "Twin")                # the other one gets the plain name
    was = twin(poor.source)

    def refuse(call: Call) -> None:
        if call.name == "open" and call.path in (str(poor.source / "folders"), str(poor.source / "twin")):
            raise PermissionError(errno.EACCES, "not allowed", call.path)
    with watched(refuse):
        outcome = poor.back_up(1, "--no-rotate", "--hold-at", "off")
    assert outcome.code == 3, outcome
    assert differences(poor.restored(date(1), code=3), was, ["group"]) == []
    assert all(map(is_portable, names_on(poor.a_set / date(1))))
    checked = ask("verify", "--drive", poor.drive, "--json")
    assert (checked.code, json.loads(checked.out)["findings"]) == (0, []), checked
    assert poor.rotate(2, "--keep-last", "1").code == 0
    assert differences(poor.restored(date(1), code=3), was, ["group"]) == []
    poor.take(3, "--hold-at", "off")
    outcome = poor.rotate(4, "--keep-last", "1", "--json")
    assert (outcome.code, json.loads(outcome.out)["found"]) == (0, []), outcome
    poor.sound(date(3))


@pytest.mark.needs("exfat")
@pytest.mark.parametrize("merge", [False, True])
def test_what_a_target_refuses_is_said_and_all_else_is_restored_there(mounted: Callable[..., Mount], in_memory: Path, merge: bool) -> None:
    box = Box(in_memory, in_memory / "drive")
    for name in ("a: b", "Twin", "twin", "sub/what?"):
        (box.source / name).write_bytes(name.encode())
    (box.source / "in: vain").mkdir()
    (box.source / "in: vain" / "file").write_bytes(b"file")
    box.take(0)
    target = mounted("exfat").path / "back"
    for _ in range(1 + merge):
        outcome = ask("restore", "latest", "--drive", box.drive, "--to", target, *["--merge"] * merge)
        assert outcome.code == 3, outcome
        for name in ("a: b", "twin", "sub/what?", "in: vain"):
            assert f"source/{name}: the disk that files are restored to cannot hold a name like this" in outcome.err
        found = twin(target / "source")
        assert sorted(found) == [b".", b"Twin", b"empty", b"one", b"sub", b"sub/deep", b"sub/deep/four", b"sub/deep/three", b"sub/two"]
        assert (target / "source" / "Twin").read_bytes() == b"Twin"


# --- Files that are too large for a drive, and how much fits on it ------


@pytest.fixture
def box(in_memory: Path) -> Box:
    return Box(in_memory, in_memory / "drive")


@pytest.fixture
def fat(box: Box, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A drive that is formatted with FAT32, whose files have a million bytes at most."""
    monkeypatch.setattr(snapback, "FAT_FILE", 1_000_000)
    monkeypatch.setattr(snapback, "mount_kind", lambda path: "vfat" if snapback.is_inside(path, str(box.drive)) else "ext4")
    (box.source / "film").write_bytes(b"x" * 1_000_001)
    (box.source / "sub" / "just so").write_bytes(b"x" * 1_000_000)
    return box


def test_files_that_are_too_large_are_named_before_anything_is_copied(fat: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(*_: object) -> None:
        raise snapback.UsageError("not a byte was copied")
    monkeypatch.setattr(snapback, "try_drive", stops)
    outcome = fat.back_up(0)
    assert outcome.err == ("snapback: 1 file will be left out, as this is a FAT32 drive, which holds 4 GiB at most in one: source/film\n"
                           "snapback: not a byte was copied\n")
    assert fat.back_up(0, "-q").err == "snapback: not a byte was copied\n"


def test_all_but_what_is_too_large_is_copied_and_the_cure_is_said(fat: Box) -> None:
    for day in range(2):
        outcome = fat.back_up(day, "--no-rotate", "--json")
        notes = json.loads(outcome.out)["notes"]
        assert (outcome.code, [note["path"] for note in notes]) == (3, ["source/film"])
        assert "exFAT holds it, but formatting erases the drive" in notes[0]["why"]
        should = {path: entry for path, entry in twin(fat.source).items() if path != b"film"}
        assert differences(fat.restored(date(day), code=3), should, ["mtime"]) == []
    looked = fat.back_up(2, "-n")
    assert (looked.code, "source/film: it is larger than 4 GiB" in looked.err) == (3, True)
    (fat.source / "film").write_bytes(b"short now")
    fat.take(3)
    (fat.source / "film").write_bytes(b"x" * 2_000_000)           # its last good copy is kept
    outcome = fat.back_up(4, "--no-rotate")
    assert (outcome.code, f"the copy of {date(3)} is kept" in outcome.err) == (3, True), outcome
    assert fat.a_set.joinpath(date(3), "source", "film").read_bytes() == b"short now"
    assert ask("verify", "--drive", fat.drive).code == 0


def test_a_drive_that_goes_away_while_it_is_tried_is_not_taken_for_one_without_hard_links(box: Box) -> None:
    def refuse(call: Call) -> None:
        if call.name == "link" and ".trial" in call.path:
            raise OSError(errno.ENOENT, "gone")
    with watched(refuse):
        outcome = box.back_up(0)
    assert (outcome.code, "every earlier dated copy" in outcome.err, [*box.states().values()]) == (1, True, ["interrupted"]), outcome


def test_what_a_drive_refuses_as_too_large_in_the_middle_is_left_out_without_a_trace(box: Box) -> None:
    (box.source / "film").write_bytes(b"x" * 300_000)

    def refuse(call: Call) -> None:
        if call.name == "write" and call.path.endswith("/film"):
            raise OSError(errno.EFBIG, "too large")
    with watched(refuse):
        outcome = box.back_up(0, "--no-rotate")
    assert (outcome.code, "source/film: it is larger than the drive takes" in outcome.err) == (3, True), outcome
    assert "source/film" not in box.stored(date(0))
    assert ask("verify", "--drive", box.drive).code == 0


def test_what_fits_is_counted_in_the_clusters_of_the_drive(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for nth in range(20):
        (box.source / "sub" / f"small {nth}").write_bytes(b"x")
    monkeypatch.setattr(snapback, "cluster_size", lambda _path: 128 * 1024)
    # 24 files and 3 folders of files, so 27 clusters
    for clusters, fits in ((27, True), (26, False)):
        monkeypatch.setattr(snapback, "free_space", lambda _path, free=clusters: (free * 128 * 1024, 1 << 40))
        looked = box.back_up(0, "-n")
        assert (looked.code, "would not fit" in looked.err) == ((0, False) if fits else (3, True)), looked
    refused = box.back_up(0)
    assert (refused.code, "does not fit on the drive" in refused.err, box.states()) == (1, True, {}), refused


def test_a_copy_of_files_that_were_only_touched_fits_where_they_would_not_fit_twice(
        box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    (box.source / "large").write_bytes(b"x" * 3_000_000)
    box.take(0)
    monkeypatch.setattr(snapback, "free_space", lambda _path: (1_000_000, 1 << 40))
    os.utime(box.source / "large", (1_600_000_000, 1_600_000_000))
    looked = box.back_up(1, "-n")
    assert (looked.code, "1 would be read again, to see whether they changed" in looked.out) == (0, True), looked
    box.take(1)
    box.sound(date(0), date(1))
    (box.source / "large").write_bytes(b"x" * 3_000_001)
    assert "does not fit on the drive" in box.back_up(2).err


def test_no_look_is_left_out_because_a_disk_with_smaller_clusters_has_less_in_use(in_memory: Path) -> None:
    for nth in range(50):
        (in_memory / str(nth)).write_bytes(b"x")
    fine, coarse = (sum(snapback.used_on_disks([str(in_memory)], cluster).values()) for cluster in (4096, 128 * 1024))
    assert coarse - fine >= 50 * 128 * 1024


def test_which_names_a_drive_takes_does_not_hang_on_the_locale(box: Box, cli: Cli) -> None:
    """Cron may start it with one in which Python takes no name for text."""
    (box.source / "caf\u00e9").write_bytes(b"x")
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for naming, name in (("any", "caf\u00e9"), ("portable", "caf\u00e9"), ("ascii", "caf%C3%A9")):
        marker = box.drive / "snapback-marker.txt"
        marker.write_text(re.sub("names: .*", f"names: {naming}", marker.read_text()))
        done = cli("backup", "--set", naming, "--layout", "changes", str(box.source), str(box.drive), env=poor)
        assert done.code == 0, done
        assert [path.name for path in (box.drive / naming).glob("2*/source/caf*")] == [name]
