"""What counts as the same file as before, and what is no place for a backup."""

from __future__ import annotations

import os
from typing import Dict, List, Optional, Sequence, Tuple

import pytest

from conftest import MIB
from snapback import SYNCHRONISERS, Known, Same, compare_file, how_same, parse_keywords, plainly_same, synchroniser_of

SECOND = 10**9
LATER = 1000 * SECOND  # nothing in these tables was touched after that, unless it says so
LARGE = 16 * MIB
DIGEST, OTHER = "1" * 64, "2" * 64


def line(size: int = 3, time: str = "100.000000000", ctime: str = "100.000000000", mode: str = "0644", more: str = "") -> str:
    """Write the line of a file as it is made from its stat."""
    change = f" ctime={ctime} ino=7" if ctime else ""
    return f"# type=file mode={mode} uid=1000 gid=1000 size={size} time={time}{change}{more}"


def known(meta: str, digest: str = DIGEST) -> Known:
    return Known(meta, f"{digest}  Documents/report.odt")


# --- Is it read at all? ------


@pytest.mark.parametrize(
    ("now", "before", "same"),
    [
        (line(), None, Same.NEW),
        (line(), Known("# type=link link=x path=Documents/report.odt"), Same.NEW),
        (line(), Known("# type=skipped why=permission\\040denied path=Documents/report.odt"), Same.NEW),
        (line(), known(line()), Same.UNCHANGED),
        (line(size=4), known(line()), Same.CHANGED),
        (line(size=LARGE), known(line(size=LARGE + 1)), Same.CHANGED),
        (line(size=0), known(line()), Same.CHANGED),
        (line(time="101.000000000"), known(line()), Same.CHANGED),
        (line(time="100.000000001"), known(line()), Same.CHANGED),
        (line(time="99.000000000"), known(line()), Same.CHANGED),  # an older time is another time
        (line(time="-1.500000000"), known(line(time="-1.500000000")), Same.UNCHANGED),
        (line(ctime="101.000000000"), known(line()), Same.DOUBTFUL),  # touched back, moved here, or of another owner
        (line(size=LARGE, time="101.000000000"), known(line(size=LARGE)), Same.DOUBTFUL),
        (line(size=LARGE - 1, time="101.000000000"), known(line(size=LARGE - 1)), Same.CHANGED),
        (line(ctime=""), known(line()), Same.DOUBTFUL),  # a Windows computer goes on with the set of a Linux one
        (line(), known(line(ctime="")), Same.DOUBTFUL),
        (line(ctime=""), known(line(ctime="")), Same.UNCHANGED),
        (line(mode="0600"), known(line()), Same.UNCHANGED),  # cannot happen: a new mode has a new ctime
        (line().replace("ino=7", "ino=8"), known(line()), Same.UNCHANGED),  # many file systems invent the number anew
        (line(more=" nlink=2 resdevice=1"), known(line()), Same.UNCHANGED),
        (line(), known(line() + " kept=2026-11-20_090000"), Same.DOUBTFUL),
        (line(), known(line() + " path=Documents/report\\040of\\040old.odt"), Same.UNCHANGED),
    ],
)
def test_size_and_times_say_whether_a_file_is_read(now: str, before: Optional[Known], same: Same) -> None:
    assert compare_file(now, before, LATER) is same


@pytest.mark.parametrize(
    ("time", "ctime", "racy_after_s", "same"),
    [
        ("100.000000000", "100.000000000", 100, Same.UNCHANGED),
        ("100.000000001", "100.000000000", 100, Same.DOUBTFUL),
        ("100.000000000", "100.000000001", 100, Same.DOUBTFUL),
        ("50.000000000", "100.500000000", 100, Same.DOUBTFUL),
        ("4000000000.000000000", "50.000000000", 100, Same.DOUBTFUL),  # a time in the future proves nothing either
        ("50.000000000", "", 100, Same.UNCHANGED),
        ("100.000000001", "", 100, Same.DOUBTFUL),
    ],
)
def test_a_file_touched_just_before_the_last_run_is_read_again(time: str, ctime: str, racy_after_s: int, same: Same) -> None:
    both = line(time=time, ctime=ctime)
    assert compare_file(both, known(both), racy_after_s * SECOND) is same


# --- What has become of it, once it was read? ------


@pytest.mark.parametrize(
    ("now", "digest", "before", "same"),
    [
        (line(), DIGEST, None, Same.NEW),
        (line(), DIGEST, known(line()), Same.UNCHANGED),
        (line(), OTHER, known(line()), Same.CHANGED),
        (line(time="101.000000000"), DIGEST, known(line()), Same.CHANGED),
        (line(mode="0600"), DIGEST, known(line()), Same.CHANGED),
        (line(ctime="101.000000000"), DIGEST, known(line()), Same.UNCHANGED),
    ],
)
def test_a_file_that_was_read_is_unchanged_only_with_the_same_bytes_and_the_same_face(
    now: str, digest: str, before: Optional[Known], same: Same
) -> None:
    assert how_same(now, digest, before) is same


FACES: Dict[str, Tuple[str, bool]] = {
    "nothing": (line(), True),
    "time of change": (line(ctime="101.000000000"), True),
    "number on the disk": (line().replace("ino=7", "ino=8"), True),
    "a second name": (line(more=" nlink=2 resdevice=5"), True),
    "kept from an earlier copy": (line(more=" kept=2026-11-20_090000"), True),
    "was changing": (line(more=" changing"), True),
    "size": (line(size=4), False),
    "time": (line(time="100.000000001"), False),
    "mode": (line(mode="0645"), False),
    "owner": (line().replace("uid=1000", "uid=1001"), False),
    "group": (line().replace("gid=1000", "gid=1001"), False),
    "an attribute more": (line(more=" xattr.user.a=MQ=="), False),
}


@pytest.mark.parametrize(("other", "same"), FACES.values(), ids=FACES)
def test_what_a_plain_copy_can_show(other: str, same: bool) -> None:
    now, then = parse_keywords(other), parse_keywords(line())
    assert [plainly_same(now, then), plainly_same(then, now)] == [same, same]


def test_an_attribute_with_another_value_shows() -> None:
    now, then = (parse_keywords(line(more=f" xattr.user.a={value}")) for value in ("MQ==", "Mg=="))
    assert not plainly_same(now, then)


# --- No place for a backup ------


def trail(path: str, content: Sequence[str] = ()) -> List[Tuple[str, Sequence[str]]]:
    """Give the folders down to a place; `content` is what lies in the last."""
    names = path.strip("/").replace("\\", "/").split("/")
    return [(name, content if name is names[-1] else ()) for name in names]


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/home/anna/Dropbox", "Dropbox"),
        ("/home/anna/Dropbox/copies/blue", "Dropbox"),
        ("/home/anna/Dropbox (Personal)", "Dropbox"),
        ("C:\\Users\\Anna\\Dropbox (Acme Inc.)\\backup", "Dropbox"),
        ("/Users/anna/Library/CloudStorage/Dropbox-Personal/backup", "a cloud service"),
        ("C:\\Users\\Anna\\OneDrive", "OneDrive"),
        ("C:\\Users\\Anna\\OneDrive - Acme Inc\\Documents\\x", "OneDrive"),
        ("/home/anna/onedrive/x", "OneDrive"),
        ("/Users/anna/Library/CloudStorage/OneDrive-Personal", "a cloud service"),
        ("/Users/anna/Library/Mobile Documents/com~apple~CloudDocs/backup", "iCloud Drive"),
        ("/Users/anna/Library/Mobile Documents", "iCloud Drive"),
        ("C:\\Users\\Anna\\iCloudDrive\\backup", "iCloud Drive"),
        ("/home/anna/Google Drive/backup", "Google Drive"),
        ("/home/anna/GoogleDrive", "Google Drive"),
        ("/Users/anna/Library/CloudStorage/GoogleDrive-anna@example.com/My Drive", "a cloud service"),
        ("G:\\My Drive\\backup", "Google Drive"),
        ("/home/anna/Nextcloud/backup", "Nextcloud or ownCloud"),
        ("/home/anna/Nextcloud2", "Nextcloud or ownCloud"),
        ("/home/anna/ownCloud", "Nextcloud or ownCloud"),
        ("/home/anna/Seafile/My Library", "Seafile"),
        ("/home/anna/pCloudDrive/backup", "pCloud"),
        ("C:\\Users\\Anna\\pCloud Sync", "pCloud"),
        ("/home/anna/MEGA/backup", "MEGA"),
        ("/home/anna/MEGAsync", "MEGA"),
        ("C:\\Users\\Anna\\Box\\backup", "Box"),
        ("/Users/anna/Box Sync", "Box"),
        ("/Users/anna/Library/CloudStorage/Box-Box/backup", "a cloud service"),
        ("C:\\Users\\Anna\\Proton Drive\\anna\\My files", "Proton Drive"),
        ("/Users/anna/Library/CloudStorage/ProtonDrive-anna@proton.me", "a cloud service"),
        ("/home/anna/Resilio Sync/x", "Resilio Sync"),
        ("C:\\Users\\Anna\\Tresorit\\x", "Tresorit"),
    ],
)
def test_a_synchronised_folder_and_all_below_it_is_known(path: str, service: str) -> None:
    assert synchroniser_of(trail(path)) == service


@pytest.mark.parametrize(
    ("content", "service"),
    [
        ([".stfolder", "a"], "Syncthing"),
        ([".dropbox.cache"], "Dropbox"),
        ([".tmp.drivedownload"], "Google Drive"),
        ([".owncloudsync.log"], "Nextcloud or ownCloud"),
        ([".megaignore"], "MEGA"),
        ([".sync"], "Resilio Sync"),
        ([".stfolderx", "dropbox.cache", "sync", "x.sync"], ""),
        ([], ""),
        (["Dropbox", "OneDrive", "Nextcloud"], ""),  # beside this place, not above it
    ],
)
def test_what_lies_in_a_folder_betrays_a_service_whatever_the_folder_is_called(content: Sequence[str], service: str) -> None:
    here = synchroniser_of(trail("/media/anna/shared", content))
    above = synchroniser_of([*trail("/media/anna/shared", content), ("copies", ()), ("blue", ())])
    assert (here, above) == (service, service)


@pytest.mark.parametrize(
    "path",
    [
        "/media/usb",
        "/media/anna/BLUE-STICK/copies",
        "/run/media/anna/My Passport",
        "/Volumes/Backup",
        "E:\\",
        "/mnt/Boxes",
        "/mnt/Toolbox",
        "/mnt/box-of-disks",
        "/home/anna/my-dropbox-notes",
        "/home/anna/Dropbox.old",
        "/home/anna/not OneDrive",
        "/home/anna/OneDriveBackup",
        "/home/anna/My Drives",
        "/home/anna/mega-tools",
        "/home/anna/megasyncing",
        "/home/anna/Nextcloud-server",
        "/home/anna/owncloud-docs",
        "/home/anna/Seafile2",
        "/home/anna/iCloud photos, exported",
        "/home/anna/Mobile",
        "/home/anna/Documents",
        "/srv/drive",
        "/home/anna/cloud",
        "/home/anna/syncthing",
        "/",
    ],
)
def test_a_place_that_only_sounds_like_one_is_taken(path: str) -> None:
    assert synchroniser_of(trail(path)) == ""


def test_the_topmost_service_is_named() -> None:
    assert synchroniser_of(trail("/home/anna/Nextcloud/Dropbox/Seafile")) == "Nextcloud or ownCloud"


def test_every_row_of_the_table_can_be_met() -> None:
    assert [row for row in SYNCHRONISERS if not row[1] and not row[2]] == []
    signs = [sign for _, _, sign in SYNCHRONISERS if sign]
    assert sorted(set(signs)) == sorted(signs)
    assert not any(os.sep in sign for sign in signs)
