"""What would make backups fail: doctor finds it before it matters, says what helps, and is content where all is well."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

import snapback
from conftest import SNAPBACK
from test_outside import AWKWARD
from test_unattended import Person, Programs, anna, programs, tmp_path

pytestmark = pytest.mark.needs("linux")
__all__ = ["anna", "programs", "tmp_path"]  # fixtures

ENTRY = f"17 * * * * {shlex.quote(os.sys.executable)} -I {shlex.quote(str(SNAPBACK))} backup --if-due -q"


@pytest.fixture
def well(anna: Person, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody of whose backups nothing will come to harm: settings, a drive, a schedule that runs, a desktop."""
    (anna.place / "crontab").write_text(f"{snapback.OWN_COMMENT}\n{ENTRY}\n")
    programs.add("crontab", f"cat {shlex.quote(str(anna.place / 'crontab'))}")
    monkeypatch.setattr(snapback, "running", lambda *_: True)
    anna.drive("BLUE")
    anna.settings(BLUE="")
    assert anna.at(0, "backup").code == 0
    return anna


def findings(anna: Person, hours: float = 1) -> List[Tuple[str, str]]:
    outcome = anna.at(hours, "doctor")
    facts = json.loads(anna.at(hours, "doctor", "--json").out)
    assert (outcome.code, facts["exit_code"]) == ((3, 3) if facts["findings"] else (0, 0)), outcome
    for one in facts["findings"]:
        assert f"NOT OK: {one['found']}\n" in outcome.out
        assert f"What helps: {one['cure']}\n" in outcome.out
    return [(one["about"], one["found"]) for one in facts["findings"]]


def test_where_all_is_well_it_says_what_it_looked_at_and_writes_nothing(well: Person) -> None:
    outcome = well.at(1, "doctor")
    assert (outcome.code, outcome.err) == (0, "")
    assert [line.split()[0] for line in outcome.out.splitlines()] == [
        "Python", "Clock", "Settings", "Source", "Drive", "Schedule", "Notices", "OK"]
    assert outcome.out.endswith("\nOK - nothing here would hinder backups\n")
    assert {path.name for path in (well.place / "BLUE").iterdir() if "trial" in path.name} == set()


def no_settings(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.home / ".config" / "snapback" / "snapback.ini").unlink()


def bad_settings(anna: Person, _: pytest.MonkeyPatch) -> None:
    anna.settings("kep-last = 3", BLUE="")


def no_exclude_file(anna: Person, _: pytest.MonkeyPatch) -> None:
    anna.settings("exclude-from = ~/gone", BLUE="")


def no_source(anna: Person, _: pytest.MonkeyPatch) -> None:
    anna.documents.rename(anna.home / "Papers")


def closed_file(anna: Person, patched: pytest.MonkeyPatch) -> None:
    real = snapback.Folder.can_read
    patched.setattr(snapback.Folder, "can_read", lambda folder, name: name != "letter" and real(folder, name))


def closed_top(anna: Person, patched: pytest.MonkeyPatch) -> None:
    real = snapback.Folder.top

    def top(path: str) -> snapback.Folder:
        if path == str(anna.documents):
            raise PermissionError(13, "not allowed", path)
        return real(path)
    patched.setattr(snapback.Folder, "top", staticmethod(top))


def read_only_drive(anna: Person, patched: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")
    patched.setattr(snapback, "try_drive", refuse)


def closed_set(anna: Person, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(snapback.Folder, "can_write", lambda _: False)


def full_drive(anna: Person, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(snapback, "free_space", lambda _path: (1 << 30, 100 << 30))


def synchronised_drive(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.place / ".dropbox.cache").mkdir()
    (anna.place / "BLUE" / ".stfolder").mkdir()


def damaged_marker(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.place / "BLUE" / "snapback-marker.txt").write_text("nothing")


def no_entry(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.place / "crontab").write_text("MAILTO=anna\n")


def entry_of_another_file(anna: Person, _: pytest.MonkeyPatch) -> None:
    other = anna.home / "old-snapback.py"
    other.write_text("")
    (anna.place / "crontab").write_text(f"{snapback.OWN_COMMENT}\n{ENTRY.replace(str(SNAPBACK), str(other))}\n")


def entry_of_a_python_that_is_gone(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.place / "crontab").write_text(f"{snapback.OWN_COMMENT}\n17 * * * * /opt/python3.7 -I {SNAPBACK} backup --if-due -q\n")


def entry_of_settings_that_are_gone(anna: Person, _: pytest.MonkeyPatch) -> None:
    (anna.place / "crontab").write_text(f"{snapback.OWN_COMMENT}\n{ENTRY} --config /gone.ini\n")


def no_cron(anna: Person, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(snapback, "running", lambda *_: False)


def no_notices(anna: Person, patched: pytest.MonkeyPatch) -> None:
    real = snapback.find_program
    patched.setattr(snapback, "find_program", lambda name: "" if name == "notify-send" else real(name))


def guarded_folders(anna: Person, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(snapback, "guards_folders", lambda: True)


def hidden_folders(anna: Person, patched: pytest.MonkeyPatch) -> None:
    patched.setattr(snapback, "hides_folders", lambda: True)


ILL: Dict[str, Tuple[Callable[[Person, pytest.MonkeyPatch], None], str, str]] = {
    "no settings": (no_settings, "Settings", "there are none at"),
    "bad settings": (bad_settings, "Settings", "kep-last"),
    "an exclude file that is gone": (no_exclude_file, "Settings", "there is no exclude file"),
    "a source that is gone": (no_source, "Source", "is not there"),
    "a file that cannot be read": (closed_file, "Source", "1 file or folder cannot be read, as letter"),
    "a source that cannot be read": (closed_top, "Source", "cannot be read"),
    "a drive that cannot be written to": (read_only_drive, "Drive", "is read-only"),
    "a set of another user": (closed_set, "Drive", "may not write on the drive BLUE"),
    "a drive that is nearly full": (full_drive, "Space", "only 1.1 GB of 107 GB are free on BLUE"),
    "a drive in a synchronised folder": (synchronised_drive, "Drive", "is synchronised by"),
    "a damaged marker": (damaged_marker, "Drive", "marker"),
    "no schedule": (no_entry, "Schedule", "nothing makes copies by itself"),
    "a schedule of another file": (entry_of_another_file, "Schedule", "and not this file"),
    "a schedule with a Python that is gone": (entry_of_a_python_that_is_gone, "Schedule", "is to start /opt/python3.7, which is gone"),
    "a schedule by settings that are gone": (entry_of_settings_that_are_gone, "Schedule", "is to read /gone.ini, which is gone"),
    "a cron that does not run": (no_cron, "Schedule", "no cron is running"),
    "no notices": (no_notices, "Notices", "there is no notify-send"),
    "folders that Windows guards": (guarded_folders, "Privacy", "Controlled Folder Access"),
    "folders that macOS hides": (hidden_folders, "Privacy", "macOS keeps this program from"),
}


@pytest.mark.parametrize("case", ILL)
def test_what_would_hinder_backups_is_found_with_its_cure(well: Person, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    spoil, about, text = ILL[case]
    spoil(well, monkeypatch)
    found = findings(well)
    assert [one for one in found if one[0] == about and text in one[1]], found
    assert len(found) == 1, found


def test_what_a_killed_trial_left_on_a_drive_is_removed(well: Person) -> None:
    (well.place / "BLUE" / snapback.unique_name("trial", "init")).mkdir()
    assert findings(well) == []
    assert [path.name for path in (well.place / "BLUE").iterdir() if "trial" in path.name] == []


def test_a_clock_that_is_wrong_is_found(well: Person) -> None:
    assert [about for about, _ in findings(well, -24 * 30)] == ["Clock"]
    assert [about for about, _ in findings(well, -24 * 365)][:1] == ["Clock"]


def test_a_drive_that_is_away_is_no_finding(well: Person) -> None:
    well.unplug("BLUE")
    outcome = well.at(1, "doctor")
    assert (outcome.code, "BLUE is not attached, so it was not looked at" in outcome.out) == (0, True)


def test_what_is_there_to_be_installed_is_read_as_it_was_written(monkeypatch: pytest.MonkeyPatch, programs: Programs, home: Path) -> None:
    words = ["/usr/bin/python3", "-I", "/opt/it's 100% $mine/snapback.py", "backup", *(word for word in AWKWARD if word)]
    table = home / "crontab"
    programs.add("crontab", f'if [ "$1" = -l ]; then cat {shlex.quote(str(table))}; else cat >{shlex.quote(str(table))}; fi')
    table.write_text("MAILTO=anna\n")
    programs.add("systemctl")
    programs.add("launchctl")
    for kind in ("cron", "systemd", "launchd"):
        assert snapback.SCHEDULERS[kind].entry() == []
        snapback.SCHEDULERS[kind].install(words)
        assert snapback.SCHEDULERS[kind].entry() == words
    text = snapback.task_xml(words[:4])
    monkeypatch.setattr(snapback, "run_program", lambda *_: snapback.Ran(0, text, ""))
    assert snapback.task_entry() == words[:4]
    monkeypatch.setattr(snapback, "run_program", lambda *_: snapback.Ran(1, "", "ERROR: there is no such task"))
    assert snapback.task_entry() == []


def test_an_entry_that_cannot_be_read_is_said_to_be(well: Person, programs: Programs) -> None:
    programs.add("crontab", "echo 'not allowed' >&2; exit 1")
    (finding,) = findings(well)
    assert finding[0] == "Schedule"
    assert "cannot be read" in finding[1]


def test_an_entry_that_starts_nothing_is_no_schedule(well: Person, programs: Programs) -> None:
    (well.place / "crontab").write_text(f"{snapback.OWN_COMMENT}\n#{ENTRY}\n")
    programs.add("systemctl", "echo inactive; exit 3")
    assert [about for about, _ in findings(well)] == ["Schedule"]
    words = [os.sys.executable, "-I", str(SNAPBACK), "backup", "--if-due", "-q"]
    snapback.put_entry(snapback.units_place(), snapback.systemd_units(words))
    assert findings(well) == [("Schedule", f"{snapback.TIMER} is there, but systemd does not heed it")]
    programs.add("systemctl", "echo active")
    assert findings(well) == []


def test_a_program_that_runs_is_found_among_the_processes() -> None:
    own = Path("/proc/self/comm").read_text().strip()
    assert (snapback.running("no such program", own), snapback.running("no such program")) == (True, False)


def test_whether_a_folder_can_be_written_to_is_known_on_windows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (snapback.Folder.top(str(tmp_path)), snapback.Folder(str(tmp_path), None)):  # there folders have no descriptors
        assert folder.can_write()
        with monkeypatch.context() as patched:
            patched.setattr(os, "access", lambda *_, **__: False)
            patched.setattr(os, "supports_effective_ids", {os.access})
            assert not folder.can_write()
