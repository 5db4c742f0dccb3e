"""README's way from nothing to copies by themselves, walked as it is written: its lines alone, by a shell, on real mounts."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Callable, Dict, List, Optional

import pytest

from conftest import SNAPBACK, Mount
from trees import dates

pytestmark = pytest.mark.needs("root", "mount", "ext4", "tmpfs")
README = SNAPBACK.parent / "README.md"
HEADING = "## From nothing to copies by themselves"
CRONTAB = """#!/bin/sh
# stands in for the crontab of the person who runs the tests
case "$1" in
    -l) cat "{file}" 2>/dev/null || {{ echo "no crontab for anna" >&2; exit 1; }} ;;
    -) cat > "{file}" ;;
esac
"""


def blocks() -> List[str]:
    """Give the blocks of lines for a shell that the section has."""
    section = README.read_text(encoding="utf-8").partition(HEADING + "\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", section, re.MULTILINE)
    return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip("\n") + "\n" for block in found]


class Newcomer:
    """A person with a home folder, two drives and README."""

    def __init__(self, home: Path, near: Path, stick: Path) -> None:
        self.home, self.near, self.stick = home, near, stick
        self.crontab = home / "crontab of anna"
        tools = home / "bin"
        tools.mkdir(parents=True)
        (tools / "crontab").write_text(CRONTAB.format(file=self.crontab))
        (tools / "python3").symlink_to(sys.executable)
        (tools / "crontab").chmod(0o755)
        self.world = {"HOME": str(home), "PATH": f"{tools}:/usr/bin:/bin", "SHELL": "/bin/sh"}
        for folder in ("Documents", "Pictures"):
            (home / folder).mkdir()
            (home / folder / "first").write_text(folder)

    def types(self, lines: str, world: Optional[Dict[str, str]] = None) -> subprocess.CompletedProcess[str]:
        """Carry out lines of README as they are, but for the places of the drives."""
        text = lines.replace("/media/home-disk", shlex.quote(str(self.near))).replace("/media/blue-stick", shlex.quote(str(self.stick)))
        return subprocess.run(["sh", "-c", text], cwd=SNAPBACK.parent, env=world or self.world, capture_output=True, text=True)

    def copies(self) -> List[int]:
        """Count the dated copies on both."""
        return [sum(len(dates(one)) for one in place.iterdir() if one.is_dir()) for place in (self.near, self.stick)]


def test_the_check_for_nagios_ends_as_nagios_has_it(tmp_path: Path, mounted: Callable[..., Mount]) -> None:
    (script,) = re.findall(r"^ {4}#!/bin/sh\n(?: {4}.*\n)+", README.read_text(encoding="utf-8"), re.MULTILINE)
    script = re.sub(r"^ {4}", "", script, flags=re.MULTILINE).replace("/home/anna/snapback.py", shlex.quote(str(SNAPBACK)))
    near = mounted("tmpfs").path
    anna = Newcomer(tmp_path / "anna", near, near)
    ended = [anna.types(script)]  # no drive is known
    assert anna.types(f"python3 {SNAPBACK} backup --init ~/Documents /media/home-disk\n").returncode == 0
    ended.append(anna.types(script))
    (near / "filler").write_bytes(bytes(31 << 20))  # of 32 MiB
    ended.append(anna.types(script))
    (anna.home / ".config/snapback").mkdir(parents=True)
    (anna.home / ".config/snapback/snapback.ini").write_text("nonsense")
    ended.append(anna.types(script))
    assert [(done.returncode, done.stdout.count("\n"), done.stderr) for done in ended] == [(2, 1, ""), (0, 1, ""), (1, 1, ""), (3, 1, "")]
    assert [word in done.stdout for word, done in zip(("NOT SAFE", ": Safe: ", "Safe, but", "line 1"), ended)] == [True] * 4


def test_a_newcomer_gets_from_nothing_to_copies_by_themselves(tmp_path: Path, mounted: Callable[..., Mount]) -> None:
    near, stick = mounted("tmpfs"), mounted("ext4")
    anna = Newcomer(tmp_path / "anna", near.path, stick.path)
    prepare, settings, run, failure = blocks()
    shown = anna.types(prepare)
    assert (shown.returncode, shown.stderr) == (0, "")
    ids = re.findall(r"\[drive ([0-9a-f]{32})\]", shown.stdout)
    stick.unplug()
    for example, own in zip(re.findall(r"\[drive ([0-9a-f]{32})\]", settings), ids):
        settings = settings.replace(example, own)
    assert anna.types(settings).returncode == 0
    shown = anna.types(run)
    assert (shown.returncode, anna.copies()) == (3, [1, 0]), shown  # of the last line: nothing was copied to the stick yet
    assert "HOME-DISK" in shown.stdout
    assert re.search(r"Plug in next +BLUE-STICK", shown.stdout)
    line = anna.crontab.read_text().splitlines()[-1].partition("* * * * ")[2]
    bare = {"HOME": str(anna.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "anna"}
    hour = anna.types(line, bare)
    assert (hour.returncode, hour.stdout, hour.stderr) == (0, "", "")  # nothing is due, and one day away is no trouble
    stick.remount()
    hour = anna.types(line, bare)
    assert (hour.returncode, hour.stdout, hour.stderr, anna.copies()) == (0, "", "", [1, 1])
    assert anna.types("python3 ~/snapback.py status\n").returncode == 0
    told = anna.types(failure)
    assert "no dated copy was made" in told.stderr
    assert str(anna.home / "Pictures") in told.stderr
    assert (anna.home / "Pictures" / "first").read_text() == "Pictures"
    assert anna.copies() == [1, 1]
