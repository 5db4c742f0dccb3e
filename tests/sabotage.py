"""Take out one guard of snapback.py after the other, on a copy, and see that a test fails each time.

    python tests/sabotage.py [WORD...]     all rows, or those whose promise holds one of the words

A row is an error when its line is not found exactly once, or when its test passes all the same:
then the guard is not there any more, or nothing would notice if it were not.
"""

from __future__ import annotations

import ast
import bisect
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import coverage  # noqa: F401  # pyfakefs loads it; that these are loaded once is all that is wanted
import pyfakefs.fake_filesystem_unittest  # noqa: F401
import pytest

HERE = Path(__file__).resolve().parent


class Row(NamedTuple):
    """A promise or guard, a piece of snapback.py that keeps it, what stands there instead, the test that must fail."""

    promise: str
    piece: str
    instead: str
    test: str
    in_full: bool = False  # only what a loop tries in full misses it


ROWS: Sequence[Row] = (
    Row(
        "1: an interrupted run leaves no folder with a final name",
        "target = self.set_folder.make(name + INCOMPLETE)",
        "self.set_folder.make(name + INCOMPLETE); self.set_folder.rmdir(name + INCOMPLETE); target = self.set_folder.make(name)",
        "test_interruption.py::test_killed_at_nine_tenths_the_next_run_writes_little_again",
    ),
    Row(
        "1: a manifest without a valid end is no dated copy",
        "        if sha.hexdigest() != end[\"sha256\"]:",
        "        if False:",
        "test_verify.py::test_damage_is_found_named_and_ends_with_4",
    ),
    Row(
        "1: a leftover is used only when its bytes are the source's",
        "            if next(mine, b\"\") != piece:\n                return None\n",
        "            next(mine, b\"\")\n",
        "test_interruption.py::test_a_leftover_file_that_is_not_the_sources_is_stored_anew",
    ),
    Row(
        "2: a leftover that may lie in an older copy is not touched",
        "or found.st_nlink != 1 or found.st_size",
        "or found.st_size",
        "test_interruption.py::test_a_leftover_hard_link_never_changes_the_copy_it_shares",
    ),
    Row(
        "2: no folder is entered through a link",
        "FOLDER_FLAGS | NOFOLLOW, dir_fd=self.fd",
        "FOLDER_FLAGS, dir_fd=self.fd",
        "test_restore.py::test_links_on_a_drive_lead_nowhere",
    ),
    Row(
        "4: the marker is read again before publishing",
        "            return not self.marker or read_marker(Folder.top(self.path), from_disk=True) == self.marker\n",
        "            return True\n",
        "test_fake_disks.py::test_a_drive_that_is_swapped_in_the_middle_gets_no_dated_copy",
    ),
    Row(
        "5: without its marker a drive is absent",
        "        if marker:\n            return Drive(where, marker)\n",
        "        if info:\n            return Drive(where, marker or Marker('0' * 32, 'drive'))\n",
        "test_fake_disks.py::test_an_absent_drive_is_said_and_nothing_is_made",
    ),
    Row(
        "6: a source that is missing stops the run",
        "            raise SourceGone(f\"there is no {show(source.path)}: no dated copy was made; check the path, or attach its disk\")\n",
        "            continue\n",
        "test_fake_disks.py::test_a_source_that_is_missing_stops_the_run_and_makes_nothing",
    ),
    Row(
        "6: a source that has become empty stops the run",
        "        if order.allow_empty or not source.is_folder",
        "        if True or not source.is_folder",
        "test_fake_disks.py::test_a_source_that_has_become_empty_stops_the_run_unless_that_is_meant",
    ),
    Row(
        "7: what cannot be read keeps its last good copy",
        "        if errand.known is None or errand.old is None:\n            return skipped\n",
        "        return skipped\n",
        "test_faithful.py::test_what_can_no_longer_be_read_keeps_its_last_good_copy_on_every_newer_date",
    ),
    Row(
        "8: a full drive is said to be full before anything is copied",
        "        if look.room > free + reusable:",
        "        if False:",
        "test_fake_disks.py::test_a_run_that_cannot_fit_is_refused_before_anything_is_copied",
    ),
    Row(
        "8: what earlier runs left does not keep a drive full for ever",
        "            if not err.full or not left_behind:\n                raise\n",
        "            raise\n",
        "test_drives.py::test_a_drive_on_which_no_more_files_can_be_made",
    ),
    Row(
        "9: two copies of one second have two names",
        "    return next(name for name in names if name not in in_use)\n",
        "    return base\n",
        "test_names.py::test_a_dated_copy_is_named_by_local_time_and_never_as_another_is",
    ),
    Row(
        "10: restore asks for a new folder",
        "        if info is not None and not wish.merge and Folder.top(where).names():",
        "        if False:",
        "test_restore.py::test_only_a_new_or_empty_folder_is_filled",
    ),
    Row(
        "10: stored paths have plain parts only",
        "    if not PATH_ONLY.isdisjoint(parts) or \"\\0\" in path:",
        "    if False:",
        "test_restore.py::test_a_hostile_manifest_leads_nowhere",
    ),
    Row(
        "10: nothing is restored among the dated copies",
        "    if where == drive.path or any(",
        "    if False and any(",
        "test_restore.py::test_nothing_is_restored_among_the_dated_copies",
    ),
    Row(
        "10: the checksum decides which name a restored file gets",
        "                if not outcome.in_place and outcome.digest != piece.digest:",
        "                if False:",
        "test_restore.py::test_a_damaged_file_comes_back_beside_its_name",
    ),
    Row(
        "11: a check compares the bytes",
        "                if hash_file(self.reach.at(piece.set_folder, piece.path), name, self.pulse, from_disk=True) != digest:",
        "                if not hash_file(self.reach.at(piece.set_folder, piece.path), name, self.pulse):",
        "test_verify.py::test_damage_is_found_named_and_ends_with_4",
    ),
    Row(
        "11: nothing is written on a drive without a marker",
        "    if drive.marker is None:\n        return False, \"the drive has no marker, so the result was not noted on it\"\n",
        "",
        "test_verify.py::test_nothing_is_written_on_a_drive_without_a_marker",
    ),
    Row(
        "12: one run at a time for a set",
        "        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)\n",
        "        fcntl.flock(fd, fcntl.LOCK_UN)\n",
        "test_drives.py::test_a_second_run_is_turned_away_at_once_and_does_no_harm",
    ),
    Row(
        "13: names are shown with control characters escaped",
        "    if text.isprintable():\n        return text\n",
        "    return text\n",
        "test_names.py::test_nothing_that_is_shown_can_drive_a_terminal_or_deceive_the_eye",
    ),
    Row(
        "section 3: a set belongs to one machine",
        "    if owner and owner.get(\"machine\") != machine and not adopt:",
        "    if False:",
        "test_fake_disks.py::test_a_set_of_another_computer_is_refused",
    ),
    Row(
        "section 4: content known to be damaged is stored anew",
        "            same, linkable = Same.CHANGED, False  # the stored file is known to be bad\n",
        "            pass\n",
        "test_verify.py::test_the_next_run_stores_a_good_copy_anew",
    ),
    Row(
        "section 6: a synchronised folder is no drive",
        "    service = \"\" if anyway else synchroniser_of(trace_upwards(path))\n",
        "    service = \"\"\n",
        "test_fake_disks.py::test_a_synchronised_folder_is_no_backup",
    ),
    Row(
        "section 6: --init does not go with --if-attached",
        "    if args.init and (args.if_attached or args.if_due or args.every):",
        "    if False:",
        "test_fake_disks.py::test_init_and_if_attached_do_not_go_together",
    ),
    Row(
        "section 6: no marker is made where a marked drive is known",
        "    if known:\n        raise DriveAbsent(f\"the drive {show(known.get('label', ''))} was at",
        "    if False:\n        raise DriveAbsent(f\"the drive {show(known.get('label', ''))} was at",
        "test_fake_disks.py::test_where_a_drive_is_known_to_be_none_is_made",
    ),
    Row(
        "an offline drive is not on this computer's own disk",
        "            if disks & disks_of(path):",
        "            if False:",
        "test_fake_disks.py::test_offline_is_refused_for_a_disk_that_stays",
    ),
    Row(
        "1: all bytes are flushed before a copy gets its name",
        "        writer.settle()\n        if flush:\n            flush.finish()\n        writer.finish",
        "        writer.settle()\n        writer.finish",
        "test_faults.py::test_a_drive_that_fails_for_good_in_the_middle",
    ),
    Row(
        "4: a stored file that somebody edited is not linked on",
        " or (time is not None and stored.st_mtime_ns != time)",
        "",
        "test_sources.py::test_a_stored_file_that_somebody_edited_is_not_linked_on",
    ),
    Row(
        "4: the change time tells of a file whose size and time were put back",
        "    if same_time and now.get(\"ctime\") == then.get(\"ctime\") and not racy:",
        "    if same_time and not racy:",
        "test_sources.py::test_the_change_time_tells_of_a_file_whose_size_and_time_were_put_back",
    ),
    Row(
        "4: a file younger than three seconds is read again",
        "RACY_NS = 3 * 10**9 ",
        "RACY_NS = 0 ",
        "test_sources.py::test_a_file_younger_than_three_seconds_at_the_last_run_is_read_again",
    ),
    Row(
        "4: one stored file never serves two files",
        "        if \" nlink=\" in was.line and (file.info.st_nlink == 1 or not self.claim(was, stamp(file.info))):",
        "        if False:",
        "test_sources.py::test_files_share_their_bytes_in_a_copy_exactly_where_they_do_in_the_source",
    ),
    Row(
        "4: a small file that was only touched is stored anew",
        "self._again(errand) if same is Same.UNCHANGED or info.st_size >= LARGE_FILE or self.refers else",
        "self._again(errand) if True else",
        "test_sources.py::test_a_small_file_that_was_only_touched_is_stored_anew",
    ),
    Row(
        "6: the source as a whole is looked at before anything is believed to be gone",
        "        if info is None or not is_same_folder(source.path, info, from_top(source, top.own_stat)):",
        "        if False:",
        "test_sources.py::test_the_source_itself_that_vanishes_stops_the_run",
    ),
    Row(
        "9: order is by number, not by date",
        "    whole = sorted((one for one in snapshots if one.state is State.WHOLE), key=lambda one: one.seq)\n    if not whole:",
        "    whole = sorted((one for one in snapshots if one.state is State.WHOLE), key=lambda one: one.name)\n    if not whole:",
        "test_sources.py::test_a_clock_that_jumps_loses_and_overwrites_no_copy",
    ),
    Row(
        "9: the number of a removed copy is not given again",
        "    for name in set(twin_names(set_folder)) - {one.name for one in snapshots}:",
        "    for name in ():",
        "test_sources.py::test_the_number_of_a_copy_that_was_removed_is_not_given_again",
    ),
    Row(
        "11: a check finds a twin that is none",
        "        else:\n            self._check_twin(manifest)\n",
        "",
        "test_verify.py::test_a_spoilt_twin_is_found_and_made_anew",
    ),
    Row(
        "11: a check finds a date that is gone",
        "                run.miss(name)\n",
        "                pass\n",
        "test_verify.py::test_a_date_of_which_only_the_list_is_left_is_missed",
    ),
    Row(
        "12: a check writes nothing while another run has the set",
        "    except Locked:\n        return False, \"another",
        "    except ValueError:\n        return False, \"another",
        "test_verify.py::test_a_check_writes_nothing_while_another_run_has_the_set",
    ),
    Row(
        "13: options are never abbreviated",
        "add_help=False, allow_abbrev=False)",
        "add_help=False)",
        "test_command_line.py::test_wrong_words_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "14: a file beside the script is never imported",
        "    del sys.path[0]  #",
        "    pass  #",
        "test_command_line.py::test_a_file_beside_the_script_is_never_imported",
    ),
    Row(
        "section 3: what snapback did not write at the top is left alone",
        "    elif tool_version(present or \"\") is None:",
        "    elif False:",
        "test_fake_disks.py::test_a_file_of_somebody_elses_is_left_alone",
    ),
    Row(
        "section 3: the tool is replaced only by a newer one",
        "    elif (tool_version(present or \"\") or ()) < (tool_version(own) or ()):",
        "    elif True:",
        "test_fake_disks.py::test_the_tool_on_a_drive_is_replaced_only_by_a_newer_one",
    ),
    Row(
        "the drive inside a source is left out",
        "        inside = [name for name in below if stamp(below[name]) not in closed]",
        "        inside = list(below)",
        "test_fake_disks.py::test_a_dry_run_leaves_out_what_is_excluded_and_the_drive",
    ),
    Row(
        "-x: other disks are not entered",
        "        if rules.one_file_system and info.st_dev != top_info.st_dev:",
        "        if False:",
        "test_fake_disks.py::test_a_disk_that_is_not_entered_leaves_its_folder",
    ),
    Row(
        "10: merging replaces nothing",
        "    try:\n        folder.link(name, other, new_name)\n    except FileExistsError:\n        return False\n",
        "    try:\n        folder.rename(name, folder, new_name)\n        return True\n    except FileExistsError:\n        return False\n",
        "test_restore.py::test_what_is_in_the_way_is_set_aside_and_never_followed",
    ),
    Row(
        "10: an interrupted restore leaves no half file under its name",
        "        if not whole:  # also when the run is asked to end: half a file must",
        "        if False:  # also when the run is asked to end: half a file must",
        "test_interruption.py::test_a_restore_asked_to_stop_leaves_no_half_file_under_its_name",
    ),
    Row(
        "11: what this computer lacks is no damage",
        "                if err.errno in OWN_LIMITS:\n                    raise\n                bad.append(",
        "                bad.append(",
        "test_verify.py::test_a_file_for_which_this_computer_has_no_descriptor_is_not_damaged",
    ),
    Row(
        "section 8: few folders are open at a time",
        "        while self.waiting and not self.stepping and (self.kept + keeps > self.most_kept or not",
        "        while self.waiting and not self.stepping and (not",
        "test_sources.py::test_no_more_files_are_open_than_a_system_allows",
    ),
    Row(
        "a worker that does not move keeps nobody waiting",
        "                os.kill(hand.pid, signal.SIGKILL)\n",
        "                os.waitpid(hand.pid, 0)\n",
        "test_interruption.py::test_a_worker_that_does_not_move_keeps_nobody_waiting",
    ),
    Row(
        "section 6: a drive on the disk of its source is not called safe to unplug",
        "    if taken.same_disk:\n",
        "    if False:\n",
        "test_drives.py::test_a_drive_on_the_disk_of_its_source_is_not_called_safe_to_unplug",
    ),
    Row(
        "7: a kept file is said to be of the date that it is of",
        "    return parse_keywords(line).get(\"kept\", snapshot)\n",
        "    return snapshot\n",
        "test_sources.py::test_the_last_good_copy_is_kept_from_copy_to_copy",
    ),
    Row(
        "10: merging does not go on where a link leads",
        "        if merging and is_real_folder(path):\n",
        "        if merging:\n",
        "test_restore.py::test_merging_does_not_go_on_where_a_link_leads",
    ),
    Row(
        "1: what a flush beside the work was told fails the run",
        "            self.error = err\n",
        "            pass\n",
        "test_drives.py::test_a_write_that_failed_while_the_copy_went_on_fails_the_run",
    ),
    Row(
        "7: a small file that changes while it is read is read with more care",
        "        return small if len(data) == info.st_size and steady(info, os.fstat(fd)) else None\n",
        "        return small\n",
        "test_sources.py::test_a_file_that_changes_once_while_it_is_read_is_read_again",
    ),
    Row(
        "7: a link that cannot be looked at keeps its last good copy",
        "        if was is None or was.line.startswith(\"# type=skipped \") or place.before is None:\n",
        "        if was is None or not was.hash_line or place.before is None:\n",
        "test_faults.py::test_a_copy_of_a_failing_source_says_what_is_missing_and_keeps_what_there_was",
        in_full=True,
    ),
    Row(
        "7: what is older than its date is named when it is given back",
        "        if \"kept\" in words and not (self.kept_folder and path.startswith(self.kept_folder)):\n            self.notes",
        "        if False:\n            self.notes",
        "test_faithful.py::test_a_kept_folder_is_named_once_when_it_is_given_back",
    ),
    Row(
        "11: what a check found before it was interrupted is noted",
        "        except KeyboardInterrupt:  # what was found by then is worth as much as ever\n            interrupted = True\n",
        "        finally:\n            pass\n",
        "test_verify.py::test_what_a_check_found_before_it_was_interrupted_is_said_and_noted",
    ),
    Row(
        "3: the newest copy of a group stays, whatever the rules",
        "    reasons[group[0].name].append(\"newest copy\")     # whatever the rules say\n",
        "",
        "test_retention.py::test_that_the_newest_stays_is_a_reason_of_its_own",
    ),
    Row(
        "3: groups of same sources are counted by themselves",
        "        groups.setdefault(copy.sources, []).append(copy)\n",
        "        groups.setdefault(frozenset(), []).append(copy)\n",
        "test_retention.py::test_each_group_of_same_sources_is_counted_by_itself",
    ),
    Row(
        "3: a pinned copy stays",
        "        if copy.pinned is not None:\n",
        "        if False:\n",
        "test_retention.py::test_a_pinned_copy_stays_whatever_the_rules",
    ),
    Row(
        "9: a copy dated in the future stays",
        "        if copy.name in ahead:\n",
        "        if False:\n",
        "test_retention.py::test_a_copy_dated_in_the_future_stays_and_takes_no_slot",
    ),
    Row(
        "9: a copy dated in the future takes no slot",
        "        counted = [copy for copy in group if copy.name not in ahead]\n        slots",
        "        counted = group\n        slots",
        "test_retention.py::test_a_copy_dated_in_the_future_stays_and_takes_no_slot",
    ),
    Row(
        "9: rotation goes by number, not by date",
        "key=lambda copy: (copy.seq, copy.taken, copy.name))",
        "key=lambda copy: (copy.taken, copy.seq, copy.name))",
        "test_retention.py::test_the_order_is_that_of_the_numbers_not_of_dates_or_names",
    ),
    Row(
        "9: a clock set back takes no slot from a copy of that time",
        "            slots[slot] = made, (copy if copy.taken > dated.taken else dated)\n",
        "            slots[slot] = made, dated\n",
        "test_retention.py::test_a_clock_set_back_for_one_run_takes_no_slot_from_the_copies_that_are_really_of_that_day",
    ),
    Row(
        "9: --keep-within takes no copy for older than one made before it",
        "itertools.accumulate((copy.taken for copy in reversed(newest_first)), max)",
        "(copy.taken for copy in reversed(newest_first))",
        "test_retention.py::test_a_copy_made_while_the_clock_stood_at_its_beginning_is_not_old",
    ),
    Row(
        "13: an empty policy is refused",
        "    if not any(getattr(retention, period.rule) for period in PERIODS) and not any(retention.within):\n",
        "    if False:\n",
        "test_retention.py::test_an_empty_policy_is_refused",
    ),
    Row(
        "section 7: an ISO week has its own year",
        "\"%G-W%V\"",
        "\"%Y-W%V\"",
        "test_retention.py::test_the_year_of_a_week_is_not_that_of_its_days",
    ),
    Row(
        "section 7: the slots of retention are of local time",
        "    return copy.taken.strftime(period.slot)",
        "    return copy.taken.astimezone(timezone.utc).strftime(period.slot)",
        "test_retention.py::test_slots_are_of_local_time",
    ),
    Row(
        "section 7: the retention rules are restic's",
        "        elif count == UNLIMITED or len(slots) < count:\n",
        "        elif count == UNLIMITED or len(slots) <= count:\n",
        "test_retention.py::test_restic_keeps_the_same",
    ),
    Row(
        "section 4: what seems moved shares only when its old name is gone",
        "            if self._is_gone(before, path, parse_keywords(known.line)):\n",
        "            if True:\n",
        "test_moves.py::test_a_copy_beside_the_original_is_stored_on_its_own",
    ),
    Row(
        "section 4: two files share no stored file because both seem moved",
        "            if (before.name, place) in self.claimed or",
        "            if",
        "test_moves.py::test_two_copies_of_a_film_whose_name_is_gone_do_not_share_what_is_stored",
    ),
    Row(
        "section 4: what seems moved shares only when its hash agrees",
        "        if digest != parse_hash_line(moved.known.hash_line)[0] or (",
        "        if (",
        "test_moves.py::test_an_inode_that_another_file_has_now_proves_nothing",
    ),
    Row(
        "section 4: a stored file known to be bad gets no further name by a move",
        " or self.suspects.get(parse_hash_line(known.hash_line)[0], 0) >= before.seq:\n                continue\n",
        ":\n                continue\n",
        "test_moves.py::test_a_stored_file_that_is_known_to_be_bad_gets_no_further_name",
    ),
    Row(
        "3: rotation comes after the new copy",
        "        taken = run.take(expect)\n",
        "        run.rotate(expect)\n        taken = run.take(expect)\n",
        "test_rotation.py::test_a_backup_that_fails_deletes_nothing",
    ),
    Row(
        "section 7: --no-rotate",
        "rotation=None if args.no_rotate else rotation",
        "rotation=rotation",
        "test_rotation.py::test_a_backup_that_is_told_so_deletes_nothing",
    ),
    Row(
        "3: while a list cannot be read nothing is deleted",
        "    if unreadable:\n        return (f\"the list of",
        "    if False:\n        return (f\"the list of",
        "test_rotation.py::test_while_no_list_of_some_copy_can_be_read_nothing_in_the_set_is_deleted",
    ),
    Row(
        "3: a copy whose own list is damaged stays",
        "        if one.state is State.DAMAGED or one.by_twin or (",
        "        if one.state is State.DAMAGED or (",
        "test_rotation.py::test_a_copy_whose_list_is_damaged_stays_and_that_is_said",
    ),
    Row(
        "3: a list is proved before its copy is deleted",
        "        proved_manifest(manifest_file(folder, MANIFEST if folder.has(MANIFEST) else EXPIRED)).file.close()\n",
        "",
        "test_rotation.py::test_a_list_that_is_damaged_in_its_middle_keeps_its_copy",
    ),
    Row(
        "3: the newest copy of each group proves itself before others are deleted",
        "    for name in newest_of.values():",
        "    for name in ():",
        "test_rotation.py::test_the_newest_copy_that_can_be_proved_stays_where_a_newer_one_has_a_list_damaged_in_its_middle",
    ),
    Row(
        "section 4: a layout that is not known stops rotation",
        "    if any(one.header.get(\"layout\") not in LAYOUTS for",
        "    if any(not one.header for",
        "test_rotation.py::test_a_way_to_share_files_that_is_not_known_stops_all_deletions",
    ),
    Row(
        "9: nothing is deleted by a clock that is behind",
        "    if taken - now > AHEAD:\n",
        "    if False:\n",
        "test_rotation.py::test_with_a_clock_that_cannot_be_right_a_copy_is_made_and_none_deleted",
    ),
    Row(
        "9: nothing is deleted by a clock that is far ahead",
        "    if now - taken > YEAR:\n",
        "    if False:\n",
        "test_rotation.py::test_with_a_clock_that_cannot_be_right_a_copy_is_made_and_none_deleted",
    ),
    Row(
        "4: the marker is read again before every deletion",
        "                self.drive.check()\n                try:\n                    self.deletions",
        "                try:\n                    self.deletions",
        "test_rotation.py::test_when_the_marker_changes_between_two_deletions_the_second_does_not_happen",
    ),
    Row(
        "4: a deletion never follows a link",
        "FOLDER_FLAGS | NOFOLLOW, dir_fd=self.fd",
        "FOLDER_FLAGS, dir_fd=self.fd",
        "test_rotation.py::test_what_no_list_names_is_set_apart_under_its_path",
    ),
    Row(
        "4: a deletion never crosses a device",
        "    if folder.fd is not None and folder.own_stat().st_dev != device:",
        "    if False:",
        "test_rotation.py::test_a_disk_mounted_inside_a_dated_copy_is_not_entered",
    ),
    Row(
        "4: a disk mounted where no list names it is said to be one",
        "        if is_folder(info) and info.st_dev != self.device:",
        "        if False:",
        "test_rotation.py::test_a_disk_mounted_inside_a_dated_copy_is_not_entered",
    ),
    Row(
        "4: strays are moved to found/",
        "        folder.rename(name, place, new_name)\n",
        "        remove_tree(folder, name) if is_folder(folder.stat(name)) else folder.unlink(name)\n",
        "test_rotation.py::test_what_no_list_names_is_set_apart_under_its_path",
    ),
    Row(
        "4: a folder in the place of a listed file is a stray",
        "                if not is_folder(folder.stat(name)):",
        "                if True:",
        "test_rotation.py::test_what_no_list_names_is_set_apart_under_its_path",
    ),
    Row(
        "7: attributes too large for a line stop no run",
        "            if room < 0:",
        "            if False:",
        "test_sources.py::test_attributes_too_large_for_a_line_keep_nothing_else_from_being_copied",
    ),
    Row(
        "4: what cannot be removed is no stray, nor is a folder on the way to it",
        "            if path != self.list and path not in self.kept:",
        "            if path != self.list:",
        "test_rotation.py::test_what_another_user_put_into_a_copy_is_reported_and_keeps_nothing_else",
    ),
    Row(
        "4: no name of a list leads out of its folder",
        "            return [name_in(stored, one) for one in plain]\n",
        "            return [one.rpartition(\"/\")[2] for one in plain]\n",
        "test_rotation.py::test_a_list_that_is_wrong_though_its_checksum_is_right_leads_nowhere",
    ),
    Row(
        "4: by a list that is wrong nothing is set apart",
        "        if self.damage:\n            raise ManifestDamaged(self.damage)\n",
        "",
        "test_rotation.py::test_a_list_that_is_wrong_though_its_checksum_is_right_leads_nowhere",
    ),
    Row(
        "4: of a folder that several workers have in part no file is a stray",
        "        self.workers.drain()\n        if self.damage:",
        "        if self.damage:",
        "test_rotation.py::test_however_a_list_is_cut_up_all_that_it_names_goes_and_nothing_else",
    ),
    Row(
        "4: what was set apart before is not replaced",
        "        new_name = name if not place.has(name) else free_name(",
        "        new_name = name if True else free_name(",
        "test_rotation.py::test_what_is_set_apart_never_replaces_what_was_set_apart_before",
    ),
    Row(
        "4: a person's folder is not taken for what systems strew",
        "        if not is_folder(info) and (STREWN",
        "        if (STREWN",
        "test_rotation.py::test_a_strewn_name_that_a_person_gave_to_a_folder_is_set_apart",
    ),
    Row(
        "4: one thing that cannot be removed stops no other deletion",
        "            self._fail(\"/\".join(parts), reason(err))\n",
        "            raise\n",
        "test_rotation.py::test_an_ordinary_users_closed_folder_that_is_in_no_list_does_not_stop_the_others",
    ),
    Row(
        "a list goes last, so that a deletion can be finished",
        "        with proved_manifest(self._manifest_file()) as manifest:\n",
        "        with proved_manifest(self._manifest_file()) as manifest:\n            self.top.unlink(MANIFEST)\n",
        "test_rotation.py::test_a_rotation_asked_to_stop_says_what_is_so_and_a_later_run_finishes",
    ),
    Row(
        "a deletion that was killed before its last step is finished",
        "        if not self.top.names():",
        "        if False:",
        "test_rotation.py::test_a_deletion_that_was_begun_is_finished_by_a_later_run",
    ),
    Row(
        "folders that their owner may not write to are deleted",
        "    if folder.fd is not None and not folder.own_stat().st_mode & stat.S_IWUSR:\n",
        "    if False:\n",
        "test_rotation.py::test_an_ordinary_user_deletes_folders_that_he_may_not_write_to",
    ),
    Row(
        "5: without its marker nothing on a drive is deleted",
        "    if not drive.marker and list_sets(drive.root)[0]:\n        raise DriveAbsent(marker_gone(drive.path))\n"
        "    if not drive.marker:\n",
        "    if False:\n",
        "test_rotation.py::test_without_its_marker_nothing_on_a_drive_is_touched",
    ),
    Row(
        "section 3: the set of another computer is not rotated",
        "    if not named and owner and owner.get(\"machine\") != machine_id():",
        "    if False:",
        "test_rotation.py::test_the_set_of_another_computer_is_refused_unless_it_is_named",
    ),
    Row(
        "12: rotation is put off while somebody reads",
        "            system_lock(set_folder.fd)\n",
        "            pass\n",
        "test_rotation.py::test_while_somebody_reads_rotation_is_put_off",
    ),
    Row(
        "12: readers do not begin while rotation is at work",
        "            system_lock(set_folder.fd, shared=True)\n",
        "            pass\n",
        "test_rotation.py::test_who_comes_while_rotation_is_at_work_is_told_so_in_one_sentence",
    ),
    Row(
        "12: rotation takes the lock of its set",
        "        lock = lock_set(drive, set_name)\n    try:\n        moment",
        "        lock = os.open(os.devnull, os.O_RDONLY)\n    try:\n        moment",
        "test_rotation.py::test_a_locked_set_is_not_rotated",
    ),
    Row(
        "section 3: a pin that cannot be read is a pin",
        "            except OSError:\n                pins[date] = \"\"\n",
        "            except OSError:\n                pass\n",
        "test_rotation.py::test_a_pinned_copy_stays",
    ),
    Row(
        "section 3: a pin without .txt is a pin",
        "        date = name[:-4] if name.endswith(\".txt\") else name\n",
        "        date = name[:-4]\n",
        "test_rotation.py::test_a_pinned_copy_stays",
    ),
    Row(
        "a copy that is pinned while rotation is at work stays",
        "                if name not in begun and name in read_pins(set_folder):",
        "                if False:",
        "test_rotation.py::test_what_is_pinned_while_a_rotation_is_under_way_stays",
    ),
    Row(
        "no newest copy goes for room",
        "        if copy.name != newest[copy.sources] and copy.pinned",
        "        if copy.pinned",
        "test_rotation.py::test_a_newest_copy_of_its_group_does_not_go_for_room",
    ),
    Row(
        "no pinned copy goes for room",
        " and copy.pinned is None and ",
        " and ",
        "test_rotation.py::test_for_room_the_oldest_go_but_no_newest_no_pinned_one_and_no_last_of_its_month",
    ),
    Row(
        "no last copy of its month goes for room",
        "months[month] > 1:",
        "months[month]:",
        "test_rotation.py::test_for_room_the_oldest_go_but_no_newest_no_pinned_one_and_no_last_of_its_month",
    ),
    Row(
        "no more go for room than are needed",
        "if name in spare and self.rotation.min_free.is_there(*settled_space(self.drive.root)):",
        "if name in spare and self.rotation.min_free.is_there(*free_space(self.drive.path)):",
        "test_rotation.py::test_for_room_no_more_go_than_are_needed[xfs]",
    ),
    Row(
        "the history tells of each rotation",
        "            if self.deletions or self.expired:  # also when the rest was interrupted",
        "            if False:  # also when the rest was interrupted",
        "test_rotation.py::test_what_is_said_to_machines_is_what_was_done",
    ),
    Row(
        "a copy is said to be made though its rotation was interrupted",
        "        except KeyboardInterrupt:\n            why = \"it was interrupted, and a later run goes on with it\"\n",
        "",
        "test_rotation.py::test_a_backup_asked_to_stop_in_its_rotation_says_that_its_copy_was_made",
    ),
    Row(
        "a copy is said to be made though its rotation failed",
        "        except SnapbackError as err:\n            why = str(err)\n",
        "        except UsageError as err:\n            why = str(err)\n",
        "test_rotation.py::test_a_backup_whose_rotation_fails_says_that_its_copy_was_made",
    ),
    Row(
        "section 6: the tripwire trips",
        "        tripped = (trip(toll.sources, percent) or trip_slowly(recent, percent)) if percent else None\n",
        "        tripped = trip_slowly(recent, percent) if percent else None\n",
        "test_tripwire.py::test_files_that_had_not_rested_count_as_well",
    ),
    Row(
        "section 6: slow damage trips",
        "(trip(toll.sources, percent) or trip_slowly(recent, percent)) if percent",
        "trip(toll.sources, percent) if percent",
        "test_tripwire.py::test_a_tenth_a_day_holds_the_set_within_the_week_and_nothing_needed_is_gone",
    ),
    Row(
        "section 6: a held set is not rotated",
        "    held = held_by(snapshots, read_accepted(set_folder))\n    why = held_text(held) ",
        "    held = None\n    why = held_text(held) ",
        "test_tripwire.py::test_a_hold_lasts_until_it_is_accepted",
    ),
    Row(
        "section 6: a hold is read from the copies themselves",
        "        held = held_by([*self.snapshots, Snapshot(name, State.WHOLE, {\"seq\": self.seq}, facts)], self.accepted)\n",
        "        held = held_by([Snapshot(name, State.WHOLE, {\"seq\": self.seq}, facts)], self.accepted)\n",
        "test_tripwire.py::test_the_verdict_is_published_with_the_copy_so_that_a_crash_after_it_loses_nothing",
    ),
    Row(
        "section 6: only a number accepts",
        "    return int(text) if re.fullmatch(r\"\\d{1,15}\", text, re.ASCII) else 0\n",
        "    return int(text) if re.fullmatch(r\"\\d{1,99}\", text, re.ASCII) else 0\n",
        "test_tripwire.py::test_an_accepted_number_that_makes_no_sense_accepts_nothing",
    ),
    Row(
        "section 6: what was moved is not lost",
        "                self.tally.toll.found_again(path, known)\n",
        "                pass\n",
        "test_tripwire.py::test_ordinary_life_does_not_hold_the_set",
    ),
    Row(
        "section 6: what is left out on purpose is not lost",
        "                    before.left_out.update(",
        "                    set().update(",
        "test_tripwire.py::test_a_source_or_exclude_changed_in_the_call_does_not_hold_the_set",
    ),
    Row(
        "section 6: bytes at rest count by themselves",
        "            if half_gone(one.rested_bytes_lost, one.rested_bytes, percent):\n",
        "            if False:\n",
        "test_tripwire.py::test_only_the_photos_beside_very_many_small_files_hold_the_set_by_their_bytes",
    ),
    Row(
        "section 6: what was written lately has not rested, though its time is put back",
        " and (\"ctime\" not in words or time_ns(words[\"ctime\"]) < rested_ns)",
        "",
        "test_tripwire.py::test_a_container_that_is_written_hourly_with_its_time_put_back_has_not_rested",
    ),
    Row(
        "section 6: unchanged files have rested by the same rule as lost ones",
        " and (not WITH_CTIME or info.st_ctime_ns < limit)]",
        "]",
        "test_tripwire.py::test_a_file_has_rested_when_neither_of_its_times_is_young",
    ),
    Row(
        "4: a set that is another disk is not rotated",
        "self.drive.stamp[0]:\n                raise DriveError(f\"the folder {self.set_name} on the drive",
        "0:\n                print(f\"the folder {self.set_name} on the drive",
        "test_rotation.py::test_a_set_that_is_another_disk_is_not_rotated",
    ),
    Row(
        "4: a folder that may not be changed stops no other deletion",
        "            if err.errno in (errno.EACCES, errno.EPERM, errno.EXDEV):  # somebody else's",
        "            if err.errno == errno.EXDEV:  # somebody else's",
        "test_rotation.py::test_what_another_user_put_into_a_copy_is_reported_and_keeps_nothing_else",
    ),
    Row(
        "section 7: the line to schedule keeps what was said of rotation",
        "            words += [\"--\" + option.replace(\"_\", \"-\"), getattr(args, option)]\n",
        "            pass\n",
        "test_rotation.py::test_the_line_to_schedule_keeps_what_was_said_of_rotation",
    ),
    Row(
        "a rotation that is asked to stop does not say that all is untouched",
        "    \"rotate\": \"no dated copy was touched but those that the plan drops; a later run goes on with them\",\n",
        "",
        "test_rotation.py::test_a_rotation_asked_to_stop_says_what_is_so_and_a_later_run_finishes",
    ),
    Row(
        "8: a read-only folder of an interrupted run blocks no later one",
        "    make_writable(leftover)\n    # after the close",
        "    # after the close",
        "test_interruption.py::test_a_leftover_folder_that_forbids_changes_blocks_no_later_run",
    ),
    Row(
        "2: a leftover never replaces a file of this run",
        "    return copied if move_to_free(leftover, new_name, target, new_name) else None\n",
        "    leftover.rename(new_name, target, new_name)\n    return copied\n",
        "test_interruption.py::test_a_leftover_never_takes_the_place_of_a_file_of_this_run",
    ),
    Row(
        "8: an interrupted run leaves no half file that fills the drive",
        "        except (SourceError, Stopped, KeyboardInterrupt):  # half a large file",
        "        except SourceError:  # half a large file",
        "test_interruption.py::test_asked_to_stop_in_a_large_file_it_leaves_no_half_one_to_fill_the_drive",
    ),
    Row(
        "7: a stored file known to be bad is not kept as the last good one",
        "            return False  # known to be bad, it must not pass for good on a newer date\n",
        "            pass\n",
        "test_faithful.py::test_a_stored_file_known_to_be_bad_is_not_taken_for_good_once_its_folder_was_closed",
    ),
    Row(
        "7: nor is one whose original cannot be looked at",
        "self.comparison.may_keep(was, place.before)",
        "True",
        "test_sources.py::test_a_stored_file_known_to_be_bad_is_not_taken_for_good_once_its_original_could_not_be_looked_at",
    ),
    Row(
        "10: attributes of a small file that nobody may write are kept",
        "0o600 if small.xattrs else small.info.st_mode & 0o777",
        "small.info.st_mode & 0o777",
        "test_faithful.py::test_an_ordinary_users_small_file_that_nobody_may_write_keeps_its_attributes",
    ),
    Row(
        "1: no manifest has a line that no reader believes",
        "            raise SourceGone(f\"what is to be noted of",
        "            str(f\"what is to be noted of",
        "test_sources.py::test_a_line_that_no_reader_believes_is_never_published",
    ),
    Row(
        "9: no copy gets a number that no reader believes",
        "            if self.seq > COUNT_LIMIT:\n",
        "            if False:\n",
        "test_sources.py::test_a_number_that_no_reader_believes_is_never_given",
    ),
    Row(
        "1: a rename that a failing disk took and did not keep publishes nothing",
        "            self.set_folder.flush()\n        except OSError:\n            with contextlib.suppress(OSError):\n"
        "                self.set_folder.rename(name, self.set_folder, name + INCOMPLETE)\n            raise\n",
        "            self.set_folder.flush()\n        except OSError:\n            pass\n",
        "test_dying_drives.py::test_whatever_happens_while_a_copy_is_made_what_was_announced_is_there_and_the_next_run_gets_there[ext4]",
    ),
    Row(
        "1: what was not published for good has no final name",
        "            with contextlib.suppress(OSError):\n"
        "                self.set_folder.rename(name, self.set_folder, name + INCOMPLETE)\n",
        "",
        "test_dying_drives.py::test_a_copy_that_could_not_be_published_for_good_is_none",
    ),
    Row(
        "8: a dead disk's marker is not believed from memory",
        "read_marker(Folder.top(self.path), from_disk=True)",
        "read_marker(Folder.top(self.path))",
        "test_dying_drives.py::test_a_dead_disk_is_not_believed_to_be_there_because_its_marker_is_in_memory[ext4]",
    ),
    Row(
        "8: a drive that went away while its copies were listed is not called empty",
        "        drive.check()  # a drive that went away meanwhile may look empty\n",
        "",
        "test_dying_drives.py::test_a_drive_that_went_away_while_it_was_looked_at_is_not_called_empty[restore latest]",
        in_full=True,
    ),
    Row(
        "8: a drive that went away before its sets were listed is not called empty",
        "        raise not_there(drive.path)\n    drive.check()\n",
        "        raise not_there(drive.path)\n",
        "test_dying_drives.py::test_a_drive_that_went_away_while_it_was_looked_at_is_not_called_empty[verify]",
    ),
    Row(
        "8: a list that went away with its drive is not called damaged",
        "    except ManifestDamaged as err:\n        drive.check()\n",
        "    except ManifestDamaged as err:\n",
        "test_dying_drives.py::test_a_drive_that_went_away_while_it_was_looked_at_is_not_called_empty[restore latest]",
        in_full=True,
    ),
    Row(
        "8: lists that cannot be read are not taken for no copies",
        "    if newest_whole(snapshots) is None and any(",
        "    if False and any(",
        "test_dying_drives.py::test_lists_that_cannot_be_read_are_not_taken_for_no_copies",
    ),
    Row(
        "8: a broken file system is to be repaired",
        "        if err.errno in BROKEN or",
        "        if False or",
        "test_dying_drives.py::test_what_is_wrong_with_a_disk_is_told_from_what_is_wrong_with_the_computer",
    ),
    Row(
        "8: ext4's lack of memory may be a disk that is gone",
        "in {*GONE, errno.ENOMEM} or not",
        "in GONE or self.root.fd is None and not",
        "test_dying_drives.py::test_a_disk_that_is_gone_is_no_lack_of_memory",
    ),
    Row(
        "8: a write that failed for a moment, and was told to somebody else, fails the run",
        "        if libc.syncfs(root.fd) != 0:",
        "        if libc.syncfs(root.fd) != 0 and False:",
        "test_dying_drives.py::test_a_device_that_fails_writes_for_a_moment_is_noticed[xfs]",
    ),
    Row(
        "8: what cannot be read makes verify doubt the disk",
        "    if any(one.kind is Found.UNREADABLE for one in checked.damage):",
        "    if False:",
        "test_dying_drives.py::test_a_spot_that_cannot_be_read_makes_verify_and_restore_doubt_the_disk",
    ),
    Row(
        "8: what cannot be read makes restore doubt the disk",
        "kind = Found.UNREADABLE if outcome.why else Found.DIFFERS",
        "kind = Found.DIFFERS",
        "test_dying_drives.py::test_a_spot_that_cannot_be_read_makes_verify_and_restore_doubt_the_disk",
    ),
    Row(
        "8: a drive that went away is not kept busy by the list that was begun",
        "        except OSError:\n            close_read(self.fd)\n            raise\n",
        "        except OSError:\n            raise\n",
        "test_dying_drives.py::test_a_call_that_fails_leaves_no_file_open_on_the_drive",
    ),
    Row(
        "8: a drive that went away is not kept busy by the list that was read",
        "        return open(fd, \"rb\")\n    except OSError:\n        close_read(fd)\n",
        "        return open(fd, \"rb\")\n    except OSError:\n",
        "test_dying_drives.py::test_a_call_that_fails_leaves_no_file_open_on_the_drive",
    ),
    Row(
        "8: a drive that went away is not kept busy by the file that was opened",
        "            raise OSError(errno.EINVAL, \"it is no regular file\", name)\n    except OSError:\n        close_read(fd)\n",
        "            raise OSError(errno.EINVAL, \"it is no regular file\", name)\n    except OSError:\n",
        "test_dying_drives.py::test_a_call_that_fails_leaves_no_file_open_on_the_drive",
    ),
    Row(
        "11: a check asks the system to read from the drive",
        "            forget_cached(fd)\n        for piece in chunks",
        "            pass\n        for piece in chunks",
        "test_verify.py::test_the_system_is_asked_to_read_every_file_from_the_drive",
    ),
    Row(
        "11: a check keeps nobody waiting for a hundred large files",
        "            count = max(1, bisect.bisect_right(costs, self.workers.most_cost))\n",
        "            count = len(costs)\n",
        "test_verify.py::test_no_more_is_read_in_one_go_than_fits_a_parcel_but_for_a_single_file",
    ),
    Row(
        "9: a digit that flipped in a first line does not change the order of dates",
        "prove=is_twin or (bool(other) and file.readline(LINE_LIMIT) != other)",
        "prove=False",
        "test_verify.py::test_a_digit_that_flipped_in_a_number_leaves_the_order_of_dates_as_it_was",
    ),
    Row(
        "13: a newest copy that could not be used is said",
        "                 for one in snapshots if one.state is State.DAMAGED)\n    for snapshot",
        "                 for one in ())\n    for snapshot",
        "test_verify.py::test_a_newest_copy_whose_both_lists_are_cut_off_is_said_by_backup_and_its_dry_run",
    ),
    Row(
        "13: a dry run says what could not be used",
        "            return look._replace(notes=[*notes, *look.notes]), set_name\n",
        "            return look, set_name\n",
        "test_verify.py::test_a_newest_copy_whose_both_lists_are_cut_off_is_said_by_backup_and_its_dry_run",
    ),
    Row(
        "section 7: damage in older dates alone is no reason to complain for ever",
        "    if newest_is_bad(listed):\n        lines.append(",
        "    if listed.bad:\n        lines.append(",
        "test_verify.py::test_damage_in_older_dates_alone_is_said_but_no_reason_to_complain_for_ever",
    ),
    Row(
        "section 4: what was stored anew because it was damaged is counted",
        "            self.mended += 1\n",
        "            pass\n",
        "test_verify.py::test_the_summary_says_what_was_stored_anew_because_it_was_damaged",
    ),
    Row(
        "2: a line of history is added to no file of a dated copy",
        "        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:\n            raise OSError(errno.EMLINK",
        "        if False:\n            raise OSError(errno.EMLINK",
        "test_sources.py::test_a_history_that_is_something_else_changes_no_older_copy",
    ),
    Row(
        "a set that is mounted a second time is not copied into itself",
        "    return {drive.stamp, *(stamp(drive.root.stat(name)) for name in list_sets(drive.root)[0])}\n",
        "    return {drive.stamp}\n",
        "test_drives.py::test_a_drive_or_set_that_is_mounted_a_second_time_inside_a_source_is_not_copied_into_itself",
    ),
    Row(
        "10: merging names what the target takes for something else",
        "        return Outcome(refused=True) if taken_for_another(piece.folder, piece.name) else Outcome(in_place=True)\n",
        "        return Outcome(in_place=True)\n",
        "test_restore.py::test_merging_onto_a_disk_that_takes_one_name_for_another_names_what_it_could_not_hold",
    ),
    Row(
        "10: merging goes on in the newest folder",
        "            begun = name\n",
        "            begun = begun or name\n",
        "test_restore.py::test_merging_goes_on_in_the_newest_of_several_restored_folders",
    ),
    Row(
        "13: a path that a date lacks is looked for in all others",
        "f\" path={escape(path)}\"\n    for snapshot",
        "f\" path={path}\"\n    for snapshot",
        "test_restore.py::test_a_path_that_this_date_lacks_is_looked_for_in_all_others",
    ),
    Row(
        "section 3: a schedule never starts the drive's own tool",
        "    if made and is_inside(script_path(), drive.path):\n",
        "    if False:\n",
        "test_command_line.py::test_a_script_on_a_drive_names_no_schedule_that_would_start_it_from_there",
    ),
    Row(
        "5: a drive whose marker is gone is said to be one",
        "    if info is not None and is_folder(info) and list_sets(Folder.top(where))[0]:\n        raise MarkerGone(marker_gone(path))\n",
        "",
        "test_fake_disks.py::test_a_drive_whose_marker_is_gone_is_told_from_one_that_is_absent",
    ),
    Row(
        "5: no new marker is made among dated copies without a word",
        "    if info is not None and is_folder(info) and list_sets(Folder.top(where))[0]:\n        raise DriveAbsent(marker_gone(place))\n",
        "",
        "test_fake_disks.py::test_a_drive_whose_marker_is_gone_is_told_from_one_that_is_absent",
    ),
    Row(
        "section 7: ages are written as people say them",
        "seconds if seconds >= 3600 else seconds // 60 * 60",
        "seconds",
        "test_names.py::test_ages_are_written_as_people_say_them",
    ),
    Row(
        "section 4: a fresh copy shares nothing with earlier ones",
        "        linkable = linkable and not self.order.fresh\n",
        "",
        "test_guards.py::test_a_fresh_copy_shares_nothing_with_earlier_ones_and_keeps_its_hard_links",
    ),
    Row(
        "section 6: the copy before suspected rot is pinned",
        "        late_notes += self._pin_before_rot(tally.rotten)\n",
        "",
        "test_guards.py::test_the_copy_before_suspected_rot_is_pinned_once",
    ),
    Row(
        "section 6: a copy that is bad itself is not pinned for rot",
        "                            self.set_folder.child(holder).reach(folders), name, pulse) == digest:\n",
        "                            self.set_folder.child(holder).reach(folders), name, pulse) != '':\n",
        "test_guards.py::test_a_copy_that_is_bad_itself_is_not_pinned_for_rot",
    ),
    Row(
        "6: a source whose disk is not mounted stops the run",
        "            refuse_unmounted(source, earlier[source.alias])\n",
        "            pass\n",
        "test_guards.py::test_a_source_whose_disk_is_not_mounted_any_more_stops_the_run",
    ),
    Row(
        "section 6: partitions of one disk are one disk",
        "        if os.path.exists(f\"{place}/partition\"):\n",
        "        if False:\n",
        "test_guards.py::test_partitions_of_one_disk_are_one_disk",
    ),
    Row(
        "3: nothing is deleted to make room in the middle of a run",
        "            if trouble.full:\n",
        "            if trouble.full:\n                self.rotate(expect)\n",
        "test_guards.py::test_a_drive_that_fills_up_in_the_middle_says_so_too",
    ),
    Row(
        "section 3: the last line of very many sources is found",
        "    for reach in (HEAD_LIMIT, LINE_LIMIT):",
        "    for reach in (HEAD_LIMIT,):",
        "test_guards.py::test_copies_of_very_many_sources_can_be_read_again",
    ),
    Row(
        "section 4: a large file whose time alone changed may still need what is stored",
        "words.get(\"size\") and (self.refers or info.st_size >= LARGE_FILE):\n",
        "words.get(\"size\") and self.refers:\n",
        "test_moves.py::test_one_stored_file_never_serves_two_names",
    ),
    Row(
        "section 4: names of one file are left to their group",
        "            if int(size) >= MIB and not names:",
        "            if int(size) >= MIB:",
        "test_moves.py::test_one_stored_file_never_serves_two_names",
    ),
    Row(
        "section 4: a new name of what was a group shares nothing by itself",
        "        if moved and (info.st_nlink != 1 or \" nlink=\" in moved.known.line):\n",
        "        if moved and info.st_nlink != 1:\n",
        "test_moves.py::test_one_stored_file_never_serves_two_names",
    ),
    Row(
        "section 9: the many names of one file are not looked through for each of them",
        "        if info.st_nlink > self.FEW_NAMES:\n",
        "        if False:\n",
        "test_moves.py::test_each_of_very_many_names_of_one_file_is_looked_at_once",
    ),
    Row(
        "section 6: the first name of a hard-linked file that was moved is not lost",
        "                self.tally.note_move(before, errand, result)\n                group.lines =",
        "                group.lines =",
        "test_tripwire.py::test_hard_linked_files_that_were_renamed_are_not_lost",
    ),
    Row(
        "section 6: further names of a hard-linked file that was moved are not lost",
        "        moved = errand.moved is not None and not other_content(lines, errand.moved.known)\n",
        "        moved = False\n",
        "test_tripwire.py::test_hard_linked_files_that_were_renamed_are_not_lost",
    ),
    Row(
        "section 6: a hard-linked file that was renamed and has other content is lost",
        "        moved = errand.moved is not None and not other_content(lines, errand.moved.known)\n",
        "        moved = errand.moved is not None\n",
        "test_tripwire.py::test_hard_linked_files_that_were_encrypted_and_renamed_are_lost",
    ),
    Row(
        "section 4: good bytes are not given up for bad ones",
        "        stored = self._reads_well(moved) and self.run",
        "        stored = self.run",
        "test_moves.py::test_good_bytes_are_not_given_up_for_bad_ones_that_are_stored",
    ),
    Row(
        "section 6: a planted tag hides no loss",
        "                if before and not (visit.tagged and",
        "                if before and not (False and",
        "test_tripwire.py::test_a_tag_that_is_planted_hides_no_loss",
    ),
    Row(
        "section 6: what stays unreadable is counted once",
        "(result.kept and \" kept=\" not in known.line)",
        "result.kept",
        "test_tripwire.py::test_files_that_stay_unreadable_are_counted_once",
    ),
    Row(
        "section 6: a hold is seen also when the numbers began anew",
        "            self.seq = max(next_seq(set_folder, self.snapshots), self.accepted + 1)",
        "            self.seq = next_seq(set_folder, self.snapshots)",
        "test_tripwire.py::test_a_hold_is_seen_also_when_the_numbers_began_anew",
    ),
    Row(
        "section 7: nobody else is given the copies by a marker of their own",
        "and entry.is_dir(follow_symlinks=False) and is_ours(entry.path, MARKER):",
        "and entry.is_dir(follow_symlinks=False):",
        "test_guards.py::test_nobody_else_can_have_the_copies_by_a_marker_of_their_own",
    ),
    Row(
        "section 12: a crontab that cannot be read is not written",
        "        raise ScheduleError(f\"the crontab cannot be read, so it was not changed",
        "        return \"\"\n        raise ScheduleError(f\"the crontab cannot be read, so it was not changed",
        "test_outside.py::test_a_crontab_that_cannot_be_read_is_not_written",
    ),
    Row(
        "section 12: only a crontab that is not there counts as empty",
        "    if ran.code == 1 and not ran.out and \"no crontab for\" in ran.err:",
        "    if \"no crontab for\" in ran.err:",
        "test_outside.py::test_a_crontab_that_cannot_be_read_is_not_written",
    ),
    Row(
        "section 12: a crontab is read back after writing",
        "    if not found.endswith(text):",
        "    if False:",
        "test_outside.py::test_a_crontab_that_is_not_what_was_written_is_said",
    ),
    Row(
        "section 12: nobody else's line is taken out of a crontab",
        "(marked and \" -I \" in line and \" backup \" in line)",
        "marked",
        "test_outside.py::test_an_earlier_entry_is_replaced_and_no_other_line",
    ),
    Row(
        "section 12: a comment of somebody else is not ours",
        "line.startswith(\"# \" + OWN)",
        "line.startswith(\"# snapback:\")",
        "test_outside.py::test_the_rest_of_a_crontab_stays_as_it_is",
    ),
    Row(
        "section 12: a percent sign does not end cron's command",
        ".replace(\"%\", \"'\\\\%'\")",
        "",
        "test_outside.py::test_a_shell_that_cron_starts_reads_every_word_as_it_is",
    ),
    Row(
        "section 12: a percent sign means nothing to systemd",
        ".replace(\"%\", \"%%\")",
        "",
        "test_outside.py::test_systemd_finds_the_program_whatever_its_folder_is_called",
    ),
    Row(
        "section 12: a dollar sign means nothing to systemd",
        "text.replace(\"$\", \"$$\")",
        "text",
        "test_outside.py::test_systemd_reads_every_word_as_it_is",
    ),
    Row(
        "section 12: a line break gets into no schedule",
        "        if NO_ENTRY.search(word):",
        "        if False:",
        "test_outside.py::test_no_scheduler_is_given_a_line_break_or_what_is_no_text",
    ),
    Row(
        "section 12: nothing that is scheduled makes a drive",
        "    return [*backup_words(sources), drive, \"--if-attached\"",
        "    return [*backup_words(sources), drive, \"--init\", \"--if-attached\"",
        "test_outside.py::test_with_paths_they_are_scheduled_as_absolute_ones",
    ),
    Row(
        "section 12: no schedule waits for what is no drive",
        "    if drive not in known_drives() and marked",
        "    if False and marked",
        "test_outside.py::test_what_cannot_be_scheduled_is_refused_before_anything_is_touched",
    ),
    Row(
        "section 12: what lies on a drive is not scheduled",
        "        if there:\n            raise UsageError(f\"{show(path)} lies on the drive",
        "        if False:\n            raise UsageError(f\"{show(path)} lies on the drive",
        "test_outside.py::test_what_lies_on_the_drive_is_not_scheduled",
    ),
    Row(
        "section 12: a scheduler's file of somebody else is left alone",
        "        if mark not in text:",
        "        if False:",
        "test_outside.py::test_units_of_somebody_else_are_left_alone",
    ),
    Row(
        "14: a program of the current folder is not taken for the system's",
        "            if os.path.isabs(folder) and os.path",
        "            if os.path",
        "test_outside.py::test_a_program_of_the_current_folder_is_never_taken_for_the_systems",
    ),
    Row(
        "13: a notice's text is no option",
        "\"--app-name=snapback\", \"--\", title",
        "\"--app-name=snapback\", title",
        "test_outside.py::test_a_notice_on_linux_is_words_behind_a_double_dash",
    ),
    Row(
        "13: a notice's text is no part of a script on macOS",
        "display notification (item 2 of argv) with",
        "display notification \" + json.dumps(text) + \" with",
        "test_outside.py::test_a_notice_on_macos_is_arguments_of_a_fixed_script",
    ),
    Row(
        "13: a notice's text is no part of a script on Windows",
        "\"$n.ShowBalloonTip(5000, $env:SNAPBACK_TITLE, $env:SNAPBACK_TEXT, 'Info')",
        "f\"$n.ShowBalloonTip(5000, $env:SNAPBACK_TITLE, '{text}', 'Info')",
        "test_outside.py::test_a_notice_on_windows_is_variables_of_a_fixed_script",
    ),
    Row(
        "section 12: a drive in use is not called ejected",
        "        return \"; \".join(whys), \"\"\n",
        "        return \"\", \"\"\n",
        "test_outside.py::test_a_drive_in_use_is_not_ejected_and_that_is_said",
    ),
    Row(
        "section 12: a disk that is mounted elsewhere too is not called ejected",
        "    if beside:\n",
        "    if False:\n",
        "test_outside.py::test_a_drive_whose_disk_is_mounted_elsewhere_too_stays",
    ),
    Row(
        "section 12: no drive is ejected from under the program",
        "    if is_inside(script, drive_path):\n        return f\"snapback itself runs",
        "    if False:\n        return f\"snapback itself runs",
        "test_outside.py::test_a_drive_is_not_ejected_from_under_the_program_or_its_user",
    ),
    Row(
        "section 12: a drive that cannot be flushed is not ejected",
        "        flush_drive(drive_path)\n",
        "        pass\n",
        "test_outside.py::test_a_drive_that_cannot_be_flushed_is_not_ejected",
    ),
    Row(
        "by itself: a copy dated in the future does not stop copies",
        " or (taken is not None and taken - now > AHEAD)\n",
        "\n",
        "test_unattended.py::test_a_newest_copy_dated_in_the_future_does_not_stop_copies",
    ),
    Row(
        "by itself: the hour of the daily copy does not wander",
        "return is_past(taken, every, now + early)",
        "return is_past(taken, every, now)",
        "test_unattended.py::test_the_hour_of_the_daily_copy_does_not_wander",
    ),
    Row(
        "by itself: changed sources are due at once",
        "newest = newest_whole(one for one in snapshots if one.sources == sources)",
        "newest = newest_whole(snapshots)",
        "test_unattended.py::test_only_a_whole_copy_of_the_same_sources_makes_the_next_one_wait",
    ),
    Row(
        "by itself: nothing is made on a drive on which nothing is due",
        "    early = too_early(drive, order, standing, every) if args.if_due or args.every else None\n",
        "    early = None\n",
        "test_unattended.py::test_nothing_is_written_on_a_drive_on_which_nothing_is_due",
    ),
    Row(
        "by itself: an absent drive is spoken of once a day",
        "    if quiet and is_told(seen, Exit.ATTENTION, now):\n",
        "    if False:\n",
        "test_unattended.py::test_an_absent_drive_is_quiet_until_remind_after_and_then_heard_of_once_a_day",
    ),
    Row(
        "by itself: an absent drive is quiet until remind-after",
        "    if not is_past(last, one.remind_after, now):\n",
        "    if False:\n",
        "test_unattended.py::test_an_absent_drive_is_quiet_until_remind_after_and_then_heard_of_once_a_day",
    ),
    Row(
        "by itself: no drive is missed before a copy is due on it",
        "every if is_longer(every, WEEK) else WEEK",
        "WEEK",
        "test_unattended.py::test_a_drive_is_not_spoken_of_before_a_copy_is_due_on_it",
    ),
    Row(
        "by itself: one drive's failure does not stop the others",
        "            answers[one.id] = Answer(err.code, (), [str(err)], "
        "{\"error\": str(err), \"busy\": isinstance(err, Locked), \"full\": is_full(err)})\n",
        "            raise\n",
        "test_unattended.py::test_one_drives_failure_does_not_stop_the_others",
    ),
    Row(
        "by itself: an absent drive counts only when none was attached",
        " if answer.code is not Exit.ABSENT or not there]",
        "]",
        "test_unattended.py::test_an_absent_drive_counts_only_when_none_was_attached",
    ),
    Row(
        "by itself: each kind of trouble is told once a day",
        "answer.problems or answer.lines, dict(seen.told)\n",
        "answer.problems or answer.lines, {}\n",
        "test_unattended.py::test_a_notice_is_shown_once_a_day_for_each_kind_of_trouble",
    ),
    Row(
        "by itself: whoever watches needs no notice",
        "                scene.watched or notify(",
        "                notify(",
        "test_unattended.py::test_whoever_watches_needs_no_notice",
    ),
    Row(
        "by itself: notify = no",
        "        if settings.notify and texts and",
        "        if texts and",
        "test_unattended.py::test_no_notice_where_none_is_wanted",
    ),
    Row(
        "on-result: not run for an absent drive, nor where nothing is due",
        "tried = (places or one.id in search.broken) and answers[one.id].facts.get(\"due\", True) and",
        "tried =",
        "test_unattended.py::test_on_result_is_run_for_each_copy_that_was_made_or_failed",
    ),
    Row(
        "on-result: not run when another run is at work",
        " and not answers[one.id].facts.get(\"busy\")\n",
        "\n",
        "test_unattended.py::test_on_result_is_run_for_each_copy_that_was_made_or_failed",
    ),
    Row(
        "on-result: not run for a dry run",
        "if settings.on_result and tried and not args.dry_run:",
        "if settings.on_result and tried:",
        "test_unattended.py::test_on_result_is_run_for_each_copy_that_was_made_or_failed",
    ),
    Row(
        "on-result: its failure needs attention",
        "answer._replace(code=min(answer.code, Exit.ATTENTION, key=WORST_FIRST.index), ",
        "answer._replace(",
        "test_unattended.py::test_when_nobody_could_be_told_the_copy_is_good_all_the_same",
    ),
    Row(
        "eject: no file of the drive is kept open",
        "    drive.let_go()\n",
        "",
        "test_unattended.py::test_a_drive_is_unmounted_after_its_copy_and_the_last_line_says_that_it_may_be_unplugged",
    ),
    Row(
        "eject: not from under the current folder",
        "    if here and is_inside(here, drive_path):\n",
        "    if False:\n",
        "test_unattended.py::test_a_drive_that_cannot_be_ejected_gets_its_copy_all_the_same",
    ),
    Row(
        "fresh-every: a copy is fresh when the last fresh one is older",
        "fresh=order.fresh or fresh, read_back",
        "fresh=order.fresh, read_back",
        "test_unattended.py::test_a_copy_is_fresh_when_the_last_fresh_one_is_older",
    ),
    Row(
        "fresh-every: also when that one was rotated away",
        "    return since if isinstance(since, str) and parse_time(since) else str(header[\"taken\"])\n",
        "    return str(header[\"taken\"])\n",
        "test_unattended.py::test_a_copy_is_fresh_when_the_last_fresh_one_is_older",
    ),
    Row(
        "status: a drive that stays attached is no offline drive",
        "one.seen.offline and not (one.attached and since and now - since > NO_OFFLINE)",
        "one.seen.offline",
        "test_unattended.py::test_an_offline_drive_that_stays_attached_for_days_is_no_offline_drive",
    ),
    Row(
        "status: nobody knows what nobody looked at",
        "(before.attached_since if stayed else \"\")",
        "before.attached_since",
        "test_unattended.py::test_a_drive_that_was_away_in_between_is_still_an_offline_drive",
    ),
    Row(
        "status: a run by paths notes that the drive is away",
        "        note_missed_at(place, scene.now)\n",
        "",
        "test_unattended.py::test_a_drive_that_was_away_in_between_is_still_an_offline_drive",
    ),
    Row(
        "status: a check is known when the drive is away",
        "    noted, note = note_check(drive, order, checked)\n    look_after(drive, set_name, scene.now)\n",
        "    noted, note = note_check(drive, order, checked)\n",
        "test_unattended.py::test_what_was_checked_or_accepted_last_is_known_when_the_drive_is_away",
    ),
    Row(
        "status: the sources' own disk stays known without settings",
        " or (not sources and before.same_disk)",
        "",
        "test_unattended.py::test_without_settings_a_disk_that_is_the_sources_own_stays_known_as_that",
    ),
    Row(
        "status: no copy of other folders counts",
        " if not wanted or one.sources == wanted)",
        ")",
        "test_unattended.py::test_of_other_sources_no_copy_counts",
    ),
    Row(
        "status: no copy of another computer counts",
        "if mine or (sets and asked.anyones) else",
        "if sets else",
        "test_unattended.py::test_a_set_of_another_computer_makes_nobody_safe",
    ),
    Row(
        "status: what cannot be looked at proves nothing",
        "bool(one.seen.snapshot) and not (one.attached and one.trouble)",
        "bool(one.seen.snapshot)",
        "test_unattended.py::test_two_drives_with_one_id_are_told",
    ),
    Row(
        "status: nobody is safe without a recent copy",
        "    code = Exit.FAILED if not young else",
        "    code =",
        "test_unattended.py::test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe",
    ),
    Row(
        "status: a hold needs attention",
        "    if seen.hold:\n        troubles",
        "    if False:\n        troubles",
        "test_unattended.py::test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe",
    ),
    Row(
        "status: damage needs attention",
        "    if seen.damaged:\n",
        "    if False:\n",
        "test_unattended.py::test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe",
    ),
    Row(
        "status: a nearly full drive needs attention",
        "seen.free * 20 < seen.total",
        "False",
        "test_unattended.py::test_a_nearly_full_drive_needs_attention",
    ),
    Row(
        "13: a drive that is away is told as absent, not as one without copies",
        "    if not drive.marker and not sets and not closed:\n        raise not_there(drive.path)\n",
        "",
        "test_command_line.py::test_a_drive_that_is_away_is_told_so_by_every_command_that_reads",
    ),
    Row(
        "13: no line of a history breaks a run",
        "parse_time(str(one.get(\"time\")))",
        "parse_time(one.get(\"time\", \"\"))",
        "test_unattended.py::test_a_history_that_somebody_wrote_on_a_drive_cannot_break_a_run",
    ),
    Row(
        "several drives: one that cannot be used hides no other from list",
        "            if len(drives) == 1:\n                raise\n            answer =",
        "            if drives:\n                raise\n            answer =",
        "test_unattended.py::test_list_shows_the_other_drives_where_one_cannot_be_used",
    ),
    Row(
        "several drives: a command that tends one asks which",
        "    if len(drives) > 1:\n        raise",
        "    if False:\n        raise",
        "test_unattended.py::test_list_shows_all_attached_drives_of_the_settings_and_other_commands_ask_which",
    ),
    Row(
        "section 7: no command is taken from a drive",
        "        if settings.on_result and left_copy:",
        "        if False:",
        "test_settings.py::test_a_command_in_the_copy_on_a_drive_is_never_obeyed",
    ),
    Row(
        "section 7: no link hides that settings lie on a drive",
        "    names = (whole_path(path), join_path(whole_path(parent_path(path)), plain_name(path)))",
        "    names = (whole_path(path),)",
        "test_settings.py::test_a_command_in_the_copy_on_a_drive_is_never_obeyed",
    ),
    Row(
        "section 7: the settings of another computer are not carried out",
        ".get(\"machine\") == machine_id() and root.child(name).has(SET_SETTINGS)",
        "and root.child(name).has(SET_SETTINGS)",
        "test_settings.py::test_a_drive_in_another_computer_backs_up_nothing_by_itself",
    ),
    Row(
        "section 7: a person's own settings go before the copy on a drive",
        "    return configuration_path() if is_taken(configuration_path()) else settings_on_drive(script_path())",
        "    return settings_on_drive(script_path()) or configuration_path()",
        "test_settings.py::test_named_settings_go_before_a_persons_own_and_these_before_the_copy_on_the_drive",
    ),
    Row(
        "section 7: the copy of the settings says the very same",
        "        settings = parse_settings(text, str if left_copy else expand)",
        "        settings = parse_settings(text, expand)",
        "test_settings.py::test_settings_come_back_from_their_text_without_the_command",
    ),
    Row(
        "section 7: a drive that wants no free space says so in the copy",
        "    return [*lines, f\"min-free = {space if space.wanted else 0}\"]",
        "    return [*lines, *([f\"min-free = {space}\"] if space.wanted else [])]",
        "test_settings.py::test_settings_come_back_from_their_text_without_the_command",
    ),
    Row(
        "section 7: unknown sections are errors",
        "        if not drive and section != BACKUP_SECTION:\n",
        "        if not drive and section != BACKUP_SECTION:\n            continue\n        if False:\n",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: unknown keys are errors",
        "            if key not in keys:\n",
        "            if key not in keys:\n                continue\n            if False:\n",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: empty settings are errors",
        "            if not value.strip():\n                raise UsageError(f\"{key} has",
        "            if not value.strip():\n                continue\n            if False:\n                raise UsageError(f\"{key} has",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: a setting behind a section's name is an error",
        "        if rest and not rest.startswith(\"#\"):",
        "        if False:",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: a setting that is swallowed by another is an error",
        "                if equals and name.strip().lower() in keys:",
        "                if False:",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: an unknown variable is an error",
        "    missing = [name for name in map(\"\".join, names) if name not in os.environ]",
        "    missing: List[str] = []",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: the line of a mistake is told",
        "(in_setting and indent > margin)",
        "False",
        "test_settings.py::test_wrong_settings_are_refused_in_one_sentence_and_nothing_is_touched",
    ),
    Row(
        "section 7: a drive's own rules go before the general ones",
        "    retention = Retention(**rules) if rules else otherwise.retention",
        "    retention = otherwise.retention if otherwise != Rotation() else Retention(**rules) if rules else otherwise.retention",
        "test_settings.py::test_a_drive_keeps_what_it_says_itself_and_else_what_is_said_for_all",
    ),
    Row(
        "section 7: names of settings are read as names on the disk are",
        "    return text if WINDOWS else os.fsdecode(text.encode(\"utf-8\", \"surrogateescape\"))",
        "    return text",
        "test_settings.py::test_names_in_any_alphabet_stand_in_settings_in_any_locale",
    ),
    Row(
        "section 7: names of mounts are read as names on the disk are",
        "encoding=NAME_CODEC[0], errors=NAME_CODEC[1], newline=\"\\n\") as file",
        "encoding=\"utf-8\", errors=\"surrogateescape\") as file",
        "test_settings.py::test_names_of_mounts_are_read_in_any_locale",
    ),
    Row(
        "section 7: two drives with one id are refused",
        "    if len(places) > 1:\n        raise UsageError(f\"two drives",
        "    if False:\n        raise UsageError(f\"two drives",
        "test_settings.py::test_two_drives_with_one_id_are_refused_and_others_served",
    ),
    Row(
        "section 7: a drive in two places is one",
        ".setdefault(drive[1], place)",
        ".setdefault((0, len(found[drive[0]])), place)",
        "test_settings.py::test_one_drive_in_two_places_is_one_drive",
    ),
    Row(
        "section 7: a network's disk is not looked at unasked",
        "        if is_network(mount) or mount.kind in PSEUDO_KINDS or any(",
        "        if mount.kind in PSEUDO_KINDS or any(",
        "test_settings.py::test_what_may_lie_on_another_computer_is_looked_at_only_when_its_path_is_said",
    ),
    Row(
        "section 7: nor is its top, from the folder that holds it",
        "entry.path not in tops and entry.is_dir",
        "entry.is_dir",
        "test_settings.py::test_what_may_lie_on_another_computer_is_looked_at_only_when_its_path_is_said",
    ),
    Row(
        "section 7: a server that is gone keeps nobody waiting",
        "        if path and may_hang(path, all_mounts) and not",
        "        if False and not",
        "test_settings.py::test_a_server_that_is_gone_keeps_nobody_waiting",
    ),
    Row(
        "section 7: behind a link there may be a server",
        "            or leads_through_link(path))",
        "            )",
        "test_settings.py::test_which_paths_are_asked_for_by_a_process_of_their_own",
    ),
    Row(
        "section 7: one drive's failure does not stop the others",
        "        except SnapbackError as err:\n            answers[one.id]",
        "        except Locked as err:\n            answers[one.id]",
        "test_settings.py::test_several_failures_end_with_the_worst",
    ),
    Row(
        "section 7: an absent drive counts only alone",
        "if answer.code is not Exit.ABSENT or not there]\n    lines",
        "]\n    lines",
        "test_settings.py::test_the_worst_of_two_drives_is_told_and_an_absent_one_counts_only_alone",
    ),
    Row(
        "section 7: a drive that was unplugged before its turn is absent",
        "        except DriveAbsent as gone:  # since it was found\n",
        "        except Locked as gone:\n",
        "test_settings.py::test_a_drive_that_is_unplugged_after_it_was_found_is_absent",
    ),
    Row(
        "section 3: the local record is never a failure",
        "and is_sound(field, found[field])",
        "",
        "test_settings.py::test_a_local_record_is_never_needed_and_never_a_failure",
    ),
    Row(
        "section 3: nor are its labels",
        "if all(isinstance(word, str) for word in one.values())",
        "",
        "test_settings.py::test_a_local_record_is_never_needed_and_never_a_failure",
    ),
    Row(
        "5: a drive that took another one's place during the run gets no copy",
        "    if drive.marker is None or drive.marker.id != drive_id:\n",
        "    if False:\n",
        "test_unattended.py::test_a_drive_that_was_exchanged_during_the_run_gets_no_copy",
    ),
    Row(
        "section 7: nor by a marker at the top of a disk that is open to all, such as /tmp",
        "        if not is_open_to_all(mount.place) or is_ours(mount.place, MARKER):\n",
        "        if True:\n",
        "test_guards.py::test_a_disk_on_which_anybody_may_make_files_is_a_drive_only_by_ones_own_marker",
    ),
    Row(
        "section 7: a disk below a server's one keeps nobody waiting",
        " or any(is_inside(parent_path(mount.place), one) for one in servers):\n",
        ":\n",
        "test_settings.py::test_a_disk_below_a_servers_one_is_not_looked_at_unasked",
    ),
    Row(
        "section 7: a drive that is there and fails is no absent one",
        "    except (DriveError, MarkerGone) as err:\n        return str(err)\n",
        "    except (DriveError, MarkerGone):\n        return \"\"\n",
        "test_unattended.py::test_a_drive_that_is_there_and_cannot_be_used_is_no_absent_one",
    ),
    Row(
        "section 7: --if-attached pardons no drive whose marker is gone",
        "        if args.if_attached and not isinstance(absent, MarkerGone):\n",
        "        if args.if_attached:\n",
        "test_unattended.py::test_a_drive_that_is_there_and_cannot_be_used_is_no_absent_one",
    ),
    Row(
        "section 7: a clock that was ahead puts no reminder off",
        "    return moment if moment and moment - now <= AHEAD else None\n",
        "    return moment\n",
        "test_unattended.py::test_a_clock_that_was_ahead_puts_no_reminder_off",
    ),
    Row(
        "section 7: an absent drive is heard of where nothing can be remembered",
        "    return seen_drives().get(drive_id, seen)\n",
        "    return seen._replace(missed_since=since)\n",
        "test_unattended.py::test_where_nothing_can_be_remembered_an_absent_drive_is_heard_of_each_time",
    ),
    Row(
        "status: a date in the future makes nobody safe",
        " and (taken[one.id] or now) - now <= AHEAD]\n",
        "]\n",
        "test_unattended.py::test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe",
    ),
    Row(
        "on-result: another run that hangs is told of",
        "            if is_past(last, one.remind_after, scene.now):\n                newest",
        "            if False:\n                newest",
        "test_unattended.py::test_another_run_that_hangs_is_told_of_when_the_newest_copy_is_old",
    ),
    Row(
        "told: settings that lead to nothing usable",
        "            run_on_result(settings.on_result, results_for_others(Answer(",
        "            (settings.on_result, results_for_others(Answer(",
        "test_unattended.py::test_settings_that_lead_to_nothing_usable_are_told_of_as_well",
    ),
    Row(
        "by itself: a notice that could not be shown is tried again",
        ", scene.now, NOTICE) and (\n",
        ", scene.now) and (\n",
        "test_unattended.py::test_a_notice_that_nobody_could_be_shown_is_tried_again",
    ),
    Row(
        "fresh-every: without room for a fresh copy one that shares is made",
        "        if not fresh_by_rule or not is_full(err):\n",
        "        if True:\n",
        "test_unattended.py::test_without_room_for_a_fresh_copy_one_that_shares_files_is_made",
    ),
    Row(
        "fresh-every: a clock that was ahead puts it not off",
        " or shares_since - now > AHEAD)\n",
        ")\n",
        "test_unattended.py::test_a_fresh_copy_is_due_though_a_clock_was_ahead",
    ),
    Row(
        "status: what is not in the newest copy needs attention",
        "skipped=int(newest.end.get(\"skipped\", 0)), ",
        "",
        "test_unattended.py::test_status_ends_with_0_when_all_is_well_3_when_something_needs_attention_and_1_when_nobody_is_safe",
    ),
    Row(
        "section 7: a source on a server that is gone keeps nobody waiting",
        "        if leads_to_server(full_path(path), all_mounts) and not answers(",
        "        if False and not answers(",
        "test_settings.py::test_a_source_on_a_server_that_is_gone_keeps_nobody_waiting",
    ),
    Row(
        "section 12: somebody else's timer is not switched off",
        "    if TIMER in own:\n",
        "    if True:\n",
        "test_outside.py::test_units_of_somebody_else_are_left_alone",
    ),
    Row(
        "section 12: there is one entry, whichever scheduler has it",
        "lines=[*answer.lines, *take_other_entries(kind)])\n",
        "lines=[*answer.lines])\n",
        "test_outside.py::test_there_is_one_entry_whichever_scheduler_has_it",
    ),
    Row(
        "section 7: what the settings keep no command deletes that does not say so",
        "next((one.rotation for one in drives if drive.marker and one.id == drive.marker.id), Rotation()))\n",
        "Rotation())\n",
        "test_unattended.py::test_what_the_settings_keep_no_command_deletes_that_does_not_say_so",
    ),
    Row(
        "section 7: --min-free alone leaves what the settings keep",
        "    return Rotation(otherwise.retention, otherwise.min_free if",
        "    return Rotation(said.retention, otherwise.min_free if",
        "test_unattended.py::test_what_the_settings_keep_no_command_deletes_that_does_not_say_so",
    ),
    Row(
        "section 7: settings that cannot be read let nothing be deleted",
        "        return order._replace(rotation=None), f\"nothing old",
        "        return order, f\"nothing old",
        "test_unattended.py::test_settings_that_cannot_be_read_let_nothing_be_deleted",
    ),
    Row(
        "section 7: an automounter is not asked for what was ejected",
        " if one.path and not may_hang(one.path, all_mounts)}\n",
        " if one.path}\n",
        "test_unattended.py::test_an_automounter_is_not_asked_where_a_drive_was_seen_last",
    ),
    Row(
        "4 changes: what a kept list refers to stays",
        "if hash(path) in needed or path == EXPIRED:",
        "if path == EXPIRED:",
        "test_changes.py::test_rotation_frees_what_no_kept_list_needs_and_nothing_else",
    ),
    Row(
        "4 changes: a date that stays though the plan drops it needs its files too",
        "one.name not in {*dropped, *self.removed}]",
        "one.name not in {*wanted, *self.removed}]",
        "test_changes.py::test_a_damaged_list_with_a_good_twin_loses_no_file",
    ),
    Row(
        "4 changes: and so does one that is pinned in the last moment",
        "                needed[folder] |= paths\n",
        "                pass\n",
        "test_changes.py::test_a_date_pinned_in_the_last_moment_keeps_what_it_needs",
    ),
    Row(
        "4 changes: all that go lose their names before the first file goes",
        "                expire(set_folder, name)\n                self.expired.append(name)\n",
        "                expire(set_folder, name)\n                self.expired.append(name)\n"
        "                self._free(set_folder, [name], needed, [])\n",
        "test_changes.py::test_whatever_happens_in_a_rotation_no_date_that_is_shown_lacks_a_file",
    ),
    Row(
        "4 changes: while a list cannot be read nothing is deleted",
        "            with load_manifest(set_folder, name) as manifest:\n                for entries in manifest.entries():\n",
        "            with contextlib.suppress(ManifestDamaged), load_manifest(set_folder, name) as manifest:\n"
        "                for entries in manifest.entries():\n",
        "test_changes.py::test_while_a_list_and_its_twin_are_damaged_nothing_is_deleted",
    ),
    Row(
        "4 changes: no other disk is entered to free what is not needed",
        "trail.at(parts[:-1], functools.partial(enter_to_clear, device)).unlink(parts[-1])",
        "trail.at(parts[:-1]).unlink(parts[-1])",
        "test_changes.py::test_a_disk_that_is_mounted_in_a_date_that_was_let_go_is_not_entered",
    ),
    Row(
        "4 changes: a list does not free itself",
        " or path == EXPIRED:",
        ":",
        "test_changes.py::test_a_list_of_a_date_that_was_let_go_leads_no_deletion_out_of_it",
    ),
    Row(
        "4 changes: nor does it lead out of its date",
        "                parts = plain_parts(path)\n                try:\n                    trail.at",
        "                parts = tuple(path.split(\"/\"))\n                try:\n                    trail.at",
        "test_changes.py::test_a_list_of_a_date_that_was_let_go_leads_no_deletion_out_of_it",
    ),
    Row(
        "4: a drive that refuses one link in passing still has links",
        "    for _ in range(2):\n        try:\n            trial.link",
        "    for _ in range(1):\n        try:\n            trial.link",
        "test_faults.py::test_a_drive_that_refuses_one_link_in_passing_still_has_links",
    ),
    Row(
        "8: a drive that goes away while it is tried is none without hard links",
        "if not link_refused(err) or err.errno == errno.ENOENT:  # what was just made",
        "if not link_refused(err):  # what was just made",
        "test_stored_names.py::test_a_drive_that_goes_away_while_it_is_tried_is_not_taken_for_one_without_hard_links",
    ),
    Row(
        "1: an open folder of btrfs is listed with what was put into it since",
        "            os.lseek(self.fd, 0, os.SEEK_SET)\n",
        "            pass\n",
        "test_drives.py::test_a_drive_that_can_hold_everything_does",
    ),
    Row(
        "4 changes: a date that was let go is none",
        "if not is_twin and folder.has(EXPIRED) and not folder.has(MANIFEST):",
        "if False:",
        "test_changes.py::test_a_date_that_was_let_go_is_none_for_any_command",
    ),
    Row(
        "4 changes: what a failed rotation left is freed later",
        "wanted = names or any(not nothing_to_free(set_folder, name) for name in expired)",
        "wanted = names",
        "test_changes.py::test_what_a_failed_rotation_left_is_freed_though_the_plan_drops_nothing_more",
    ),
    Row(
        "4 changes: what was let go goes with the last that needs it",
        "any(one.state is State.EXPIRED or one.header.get(\"layout\")",
        "any(one.header.get(\"layout\")",
        "test_changes.py::test_a_complete_date_that_was_let_go_goes_with_the_last_that_needs_it",
    ),
    Row(
        "4 changes: a file is referred to only where a listing shows it",
        "if found.get(name) != size]",
        "if False]",
        "test_changes.py::test_what_an_old_date_has_no_more_is_stored_again_and_that_is_said",
    ),
    Row(
        "4 changes: or a look at it",
        "return old.stored if old.is_there(size) else \"\"",
        "return old.stored",
        "test_changes.py::test_what_an_old_date_has_no_more_is_stored_again_and_that_is_said",
    ),
    Row(
        "4 changes: that it was stored again is said",
        "            self.missing[result.missing] = self.missing.get(result.missing, 0) + 1\n",
        "            pass\n",
        "test_changes.py::test_what_was_stored_again_is_said_in_a_sentence",
    ),
    Row(
        "4 changes: what was only touched is referred to",
        "return self.refers and errand.same is Same.CHANGED and",
        "return False and",
        "test_changes.py::test_what_has_the_same_bytes_is_referred_to",
    ),
    Row(
        "4 changes: one stored file never serves two names",
        "words.get(\"size\") and (self.refers or info.st_size >= LARGE_FILE):",
        "words.get(\"size\") and info.st_size >= LARGE_FILE:",
        "test_changes.py::test_a_file_that_came_in_the_place_of_one_that_moved_away_has_its_own_content",
    ),
    Row(
        "3: names that a drive takes for one have two names there",
        "            self.taken.add(self._key(given))\n",
        "",
        "test_changes.py::test_folders_that_differ_by_case_alone_are_never_merged",
    ),
    Row(
        "3: so have those that another computer takes for one",
        "        self.exact = can.naming in (Naming.BYTES, Naming.TEXT) and can.exact_names\n",
        "        self.exact = can.exact_names\n",
        "test_stored_names.py::test_names_that_a_drive_refuses_come_back_from_every_date",
    ),
    Row(
        "3: a name that a drive refuses is known before it is tried",
        "        self.takes_all = can.naming is Naming.BYTES and can.exact_names and not can.decomposes\n",
        "        self.takes_all = True\n",
        "test_stored_names.py::test_names_that_a_drive_refuses_come_back_from_every_date",
    ),
    Row(
        "3: the names that a marker says are kept to",
        "                abilities = abilities._replace(naming=stricter(abilities.naming, self.drive.marker.naming))\n",
        "                pass\n",
        "test_stored_names.py::test_names_that_a_drive_refuses_come_back_from_every_date",
    ),
    Row(
        "3: a file that has another name on the drive is linked by that",
        "and (plain or place.lies_plainly(name)):\n                linked",
        "and True:\n                linked",
        "test_stored_names.py::test_names_that_a_drive_refuses_come_back_from_every_date",
    ),
    Row(
        "3: a list says where a folder with another name lies",
        "        lines = [stored_at(line, place.names.stored)]\n",
        "        lines = [line]\n",
        "test_stored_names.py::test_names_that_a_drive_refuses_come_back_from_every_date",
    ),
    Row(
        "3: so does the line of a folder that is kept",
        "        lines = [stored_at(keep_line(block.line, before.name), names.stored)]\n",
        "        lines = [keep_line(block.line, before.name)]\n",
        "test_stored_names.py::test_a_folder_that_cannot_be_read_is_kept_under_the_names_on_the_drive",
    ),
    Row(
        "3: an interrupted run is gone on with under the names on the drive",
        "leftovers=self._leftover_folders(place.names.stored.split(\"/\"))",
        "leftovers=self._leftover_folders(place.path.split(\"/\"))",
        "test_stored_names.py::test_an_interrupted_run_is_gone_on_with_under_the_names_on_the_drive",
    ),
    Row(
        "3: a name that is too long everywhere is cut",
        "    return text if fits(text) else told_apart(text, name)\n",
        "    return text\n",
        "test_stored_names.py::test_every_name_has_one_that_each_drive_can_hold",
    ),
    Row(
        "4: a file that is too large is known before it is tried",
        "        if self.largest and errand.file.info.st_size > self.largest:\n",
        "        if False:\n",
        "test_stored_names.py::test_all_but_what_is_too_large_is_copied_and_the_cure_is_said",
    ),
    Row(
        "4: it is named before anything is copied",
        "        if look.too_large and self.order.foretell:\n",
        "        if False:\n",
        "test_stored_names.py::test_files_that_are_too_large_are_named_before_anything_is_copied",
    ),
    Row(
        "4: a drive whose files are limited is always looked at before",
        "and not largest_file(self.drive.path) and free",
        "and free",
        "test_stored_names.py::test_files_that_are_too_large_are_named_before_anything_is_copied",
    ),
    Row(
        "4: half of what a drive refuses as too large is removed",
        "                errand.target.unlink(errand.name)\n                return self.keep(errand, TOO_LARGE_THERE)",
        "                return self.keep(errand, TOO_LARGE_THERE)",
        "test_stored_names.py::test_what_a_drive_refuses_as_too_large_in_the_middle_is_left_out_without_a_trace",
    ),
    Row(
        "4: what fits is counted in clusters",
        "room + in_clusters(stored, cluster)\n",
        "room + stored\n",
        "test_stored_names.py::test_what_fits_is_counted_in_the_clusters_of_the_drive",
    ),
    Row(
        "4: many small files may not fit where their bytes would",
        "(files or used // COMMON_CLUSTER) * (cluster if cluster > COMMON_CLUSTER else 0)",
        "0",
        "test_stored_names.py::test_no_look_is_left_out_because_a_disk_with_smaller_clusters_has_less_in_use",
    ),
    Row(
        "7 doctor: a source with something closed is found",
        "                if visit.folder and found and stat.S_ISREG(found.st_mode) and not visit.folder.can_read(name):\n",
        "                if False:\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "7 doctor: a drive is really written to",
        "            abilities = try_drive(drive.root)\n            free",
        "            abilities = Abilities()\n            free",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "7 doctor: a schedule that starts what is gone is found",
        "    gone = next((word for word in needed if stat_path(word) is None), \"\")\n",
        "    gone = \"\"\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "7 doctor: so is one of another file",
        "    if len(words) < 3 or whole_path(words[2]) != script_path():\n",
        "    if len(words) < 3:\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "7 doctor: and a cron that does not run",
        "    if kind == \"cron\" and running(\"cron\", \"crond\", \"fcron\", \"busybox\") is False:\n",
        "    if False:\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "7 doctor: a clock behind the newest copy is found",
        "    trouble = clock_trouble(newest_whole(snapshots), now)\n    return [*found",
        "    trouble = \"\"\n    return [*found",
        "test_doctor.py::test_a_clock_that_is_wrong_is_found",
    ),
    Row(
        "7 doctor: findings end with 3",
        "    return Answer(Exit.ATTENTION if ill else Exit.DONE, lines if ill",
        "    return Answer(Exit.DONE, lines if ill",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "menu: without settings no copy is offered",
        "        if not find_settings(\"\"):\n            return [get",
        "        if False:\n            return [get",
        "test_menu.py::test_the_bad_day",
    ),
    Row(
        "menu: nothing is let go unless a person says so",
        "        if dates and self.talk.agrees(\"Let go of these for ever?\", False):\n",
        "        if dates:\n",
        "test_menu.py::test_a_full_stick",
    ),
    Row(
        "menu: what is let go is what was shown, on the drive that was meant",
        "            if self._where(one) != where or self._let_go(strict, \"-q\") != dates:",
        "            if False:",
        "test_menu.py::test_what_is_let_go_is_what_was_shown_on_the_drive_that_was_meant",
    ),
    Row(
        "menu: a drive is found by its id, not where it was seen last",
        "        return [f\"--drive={places[0]}\", *([f\"--set={set_name}\"] if set_name else [])] if len(places) == 1 else []\n",
        "        return [f\"--drive={seen_drives()[drive_id].path}\", *([f\"--set={set_name}\"] if set_name else [])]\n",
        "test_menu.py::test_what_is_let_go_is_what_was_shown_on_the_drive_that_was_meant",
    ),
    Row(
        "menu: a name is never an option",
        "            words = [f\"./{path}\" if path.startswith(\"-\") else path for path in paths if path]",
        "            words = [path for path in paths if path]",
        "test_menu.py::test_a_name_that_looks_like_an_option_is_a_name",
    ),
    Row(
        "menu: what was interrupted does not interrupt what comes after it",
        "        self.ending.asked = 0  # what",
        "        pass  # what",
        "test_menu.py::test_what_was_interrupted_does_not_interrupt_what_comes_after_it",
    ),
    Row(
        "menu: the system may end it while a question waits",
        "signal.signal(signal.SIGTERM, signal.SIG_DFL))]\n",
        "signal.getsignal(signal.SIGTERM))]\n",
        "test_menu.py::test_the_system_may_end_it_while_a_question_waits",
    ),
    Row(
        "doctor: a timer that systemd does not heed is found",
        ".out.strip() in (\"inactive\", \"failed\"):",
        ".out.strip() in ():",
        "test_doctor.py::test_an_entry_that_starts_nothing_is_no_schedule",
    ),
    Row(
        "doctor: so is a line that was made a comment",
        "if not line.lstrip().startswith(\"#\")]",
        "if not line.startswith(\"# \")]",
        "test_doctor.py::test_an_entry_that_starts_nothing_is_no_schedule",
    ),
    Row(
        "doctor: so is a set that cannot be written to",
        "            if set_folder and not set_folder.can_write():\n",
        "            if False:\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "doctor: what a killed trial left is removed",
        "    remove_unique(folder, \"init\")  # what a killed one left\n",
        "",
        "test_doctor.py::test_what_a_killed_trial_left_on_a_drive_is_removed",
    ),
    Row(
        "menu: keys that write no letters make no path",
        "        if not re.search(r\"[\\0-\\x1f\\x7f]\", said):\n",
        "        if True:\n",
        "test_menu.py::test_keys_that_write_no_letters_make_no_path",
    ),
    Row(
        "menu: a date whose list is damaged is not passed over in silence",
        "            for one in found_there:\n",
        "            for one in ():\n",
        "test_menu.py::test_a_date_whose_list_is_damaged_is_not_passed_over_in_silence",
    ),
    Row(
        "doctor: a schedule by settings that are gone is found",
        "zip(words, words[1:]) if word == \"--config\")]\n",
        "zip(words, words[1:]) if word == \"\")]\n",
        "test_doctor.py::test_what_would_hinder_backups_is_found_with_its_cure",
    ),
    Row(
        "setup: no drive is missed before a copy is due on it",
        "        remind_after=chosen.every if is_longer(chosen.every, drive.remind_after) else drive.remind_after,\n",
        "",
        "test_menu.py::test_no_drive_is_missed_before_a_copy_is_due_and_settings_are_for_nobody_else",
    ),
    Row(
        "setup: settings, which may hold a password, are for nobody else",
        "write_text(folder, new, text, \"setup\", 0o600)",
        "write_text(folder, new, text, \"setup\")",
        "test_menu.py::test_no_drive_is_missed_before_a_copy_is_due_and_settings_are_for_nobody_else",
    ),
    Row(
        "menu: Ctrl-C is an answer",
        "        except (KeyboardInterrupt, UnicodeDecodeError, OSError) as err:\n",
        "        except (UnicodeDecodeError, OSError) as err:\n",
        "test_menu.py::test_whoever_leaves_is_let_go_politely_and_nothing_was_changed",
    ),
    Row(
        "setup: nothing is done unless a person agrees",
        "            if not self.talk.agrees(\"Shall it?\", True):\n                raise Left\n",
        "            self.talk.agrees(\"Shall it?\", True)\n",
        "test_menu.py::test_who_does_not_agree_in_the_end_has_changed_nothing",
    ),
    Row(
        "menu: on a strange computer the drive is found wherever the program lies",
        "for place in mine or marked_places()}",
        "for place in mine}",
        "test_menu.py::test_on_a_strange_computer_the_drive_is_found_wherever_the_program_lies",
    ),
    Row(
        "setup: what is typed is written as a whole path, as the settings lie elsewhere",
        "                return self._written(sources)\n",
        "                return tuple(said.split(\",\"))\n",
        "test_menu.py::test_what_is_typed_is_meant_from_the_home_folder_and_written_whole_and_told_before_it_is_done",
    ),
    Row(
        "setup: what lies on a drive is refused before anything is written",
        "            refuse_schedule_on_drive(scheduled_words((), \"\", self.args.config)[:3:2], place)\n",
        "            pass\n",
        "test_menu.py::test_what_lies_on_the_drive_is_never_scheduled_and_then_nothing_is_half_done",
    ),
    Row(
        "setup: where the scheduler fails all else is set up",
        "            scheduler.install(scheduled_words((), \"\", args.config))\n",
        "",
        "test_menu.py::test_where_the_scheduler_fails_all_else_is_set_up",
    ),
    Row(
        "menu: who ended one thing has not ended the next",
        "        self.ending.asked = 0  # what was asked of an earlier command of the menu does not concern this one\n",
        "",
        "test_menu.py::test_who_ended_one_thing_has_not_ended_the_next",
    ),
    Row(
        "menu: nothing comes back onto the drive with the copies",
        "            if is_inside(whole_path(where), drive_path):\n",
        "            if False:\n",
        "test_menu.py::test_what_comes_back_comes_into_a_new_folder_wherever_it_is_wanted",
    ),
    Row(
        "menu: spoiled settings are not in the way of getting things back",
        "        with contextlib.suppress(SnapbackError):  # spoiled settings must not",
        "        with contextlib.suppress(KeyError):  # spoiled settings must not",
        "test_menu.py::test_on_a_strange_computer_the_drive_is_found_wherever_the_program_lies",
    ),
    Row(
        "setup: there are settings at any moment",
        "                folder.link(name, folder, aside)  # so that there are settings at any moment\n",
        "                folder.rename(name, folder, aside)\n",
        "test_menu.py::test_there_are_settings_whichever_call_fails_when_new_ones_are_written",
    ),
    Row(
        "setup: earlier settings stay beside the new ones",
        "                folder.link(name, folder, aside)  # so that there are settings at any moment\n",
        "                pass\n",
        "test_menu.py::test_setting_up_again_keeps_what_is_not_said_and_the_earlier_settings_beside_the_new_ones",
    ),
    Row(
        "setup: settings are read as they are meant, or not written",
        "        if words_of(found) != words_of(settings) or settings_text(found, OWN_SETTINGS) != text:\n",
        "        if False:\n",
        "test_menu.py::test_settings_that_are_written_say_what_was_chosen_or_are_not_written",
    ),
    Row(
        "setup: what a drive keeps stays where nothing else is said",
        "        before = drive.rotation if drive else self.before.rotation\n",
        "        before = self.before.rotation\n",
        "test_menu.py::test_setting_up_again_keeps_what_a_drive_has_of_its_own",
    ),
    Row(
        "setup: a label on a drive adds nothing to the settings",
        "label=\" \".join(show(marker.label).split()), path=chosen.place",
        "label=marker.label, path=chosen.place",
        "test_menu.py::test_a_label_on_a_strange_drive_adds_nothing_to_the_settings",
    ),
    Row(
        "setup: a synchronised folder is said to be no backup",
        "                    if service:\n                        self.talk.tell(f\"{show(one.path)} is sync",
        "                    if False:\n                        self.talk.tell(f\"{show(one.path)} is sync",
        "test_menu.py::test_a_synchronised_folder_is_copied_and_said_to_be_no_backup",
    ),
    Row(
        "8: what was stored on a drive without hard links is not stored again",
        "if can.counts_links or not can.hard_links else ():",
        "if can.counts_links else ():",
        "test_changes.py::test_what_a_killed_run_had_stored_is_not_stored_again",
    ),
    Row(
        "launchers: Snapback.command can be started",
        "UNIX_LAUNCHER_TEXT, 0o755), *page)",
        "UNIX_LAUNCHER_TEXT), *page)",
        "test_launchers.py::test_init_puts_launchers_on_the_drive_and_later_runs_renew_them",
    ),
    Row(
        "launchers: lines that cmd reads wrongly are renewed",
        "if found == paper.text.encode(\"utf-8\", \"surrogateescape\"):",
        "if (found or b\"\").split() == paper.text.encode(\"utf-8\", \"surrogateescape\").split():",
        "test_launchers.py::test_init_puts_launchers_on_the_drive_and_later_runs_renew_them",
    ),
    Row(
        "launchers: Snapback.cmd has the line ends of Windows",
        "\"\"\").replace(\"\\n\", \"\\r\\n\")",
        "\"\"\")",
        "test_launchers.py::test_each_launcher_is_plain_text_that_its_system_reads",
    ),
    Row(
        "launchers, 14: cmd starts no Python of the current folder",
        "set \"NoDefaultCurrentDirectoryInExePath=1\"\n",
        "",
        "test_launchers.py::test_cmd_takes_paths_as_they_are",
    ),
    Row(
        "launchers, 14: cmd starts Python with -I",
        "%RUN% -I \"%HERE%snapback.py\" %*",
        "%RUN% \"%HERE%snapback.py\" %*",
        "test_launchers.py::test_cmd_takes_paths_as_they_are",
    ),
    Row(
        "launchers: a path is what it is to cmd",
        "EnableExtensions DisableDelayedExpansion",
        "EnableExtensions EnableDelayedExpansion",
        "test_launchers.py::test_cmd_takes_paths_as_they_are",
    ),
    Row(
        "launchers: a blank or & in a path is no end of it to cmd",
        "set RUN=\"%HERE%python\\python.exe\"",
        "set RUN=%HERE%python\\python.exe",
        "test_launchers.py::test_cmd_takes_paths_as_they_are",
    ),
    Row(
        "launchers, 14: no Python is found by a path that is not absolute",
        "        case $try in /*) ;; *) continue ;; esac\n",
        "",
        "test_launchers.py::test_without_python_it_says_what_to_do",
    ),
    Row(
        "launchers, 14: Snapback.command starts Python with -I",
        "|| exec \"$python\" -I ",
        "|| exec \"$python\" ",
        "test_launchers.py::test_it_starts_the_program_beside_it_from_any_folder",
    ),
    Row(
        "launchers: Apple's offer of developer tools is not started",
        "&& ! /usr/bin/xcode-select -p > /dev/null 2>&1; then",
        "&& false; then",
        "test_launchers.py::test_apples_offer_of_developer_tools_is_not_started",
    ),
    Row(
        "launchers: no program on a drive is asked for Apple's tools",
        "&& [ -x /usr/bin/xcode-select ] &&",
        "&& { command -v xcode-select && ! xcode-select -p; } > /dev/null || [ -x /usr/bin/xcode-select ] &&",
        "test_launchers.py::test_apples_offer_of_developer_tools_is_not_started",
    ),
    Row(
        "launchers: a Python that is too old is not taken",
        "sys.version_info < (3, 8) else 42)' <",
        "sys.version_info < (3, 7) else 42)' <",
        "test_launchers.py::test_it_takes_the_first_python_that_is_new_enough",
    ),
    Row(
        "launchers: a Python that fails is not taken",
        "        42) python=$try; break 2 ;;",
        "        *) python=$try; break 2 ;;",
        "test_launchers.py::test_it_takes_the_first_python_that_is_new_enough",
    ),
    Row(
        "launchers: a double click's window stays open",
        "[ $# != 0 ] || [ ! -t 0 ] || window=yes",
        "",
        "test_launchers.py::test_a_window_stays_open_until_it_was_read",
    ),
    Row(
        "launchers: nothing waits for a person who is not there",
        "[ $# != 0 ] || [ ! -t 0 ] || window=yes",
        "[ $# != 0 ] || window=yes",
        "test_launchers.py::test_without_python_it_says_what_to_do",
    ),
    Row(
        "launchers: nor for one who gave arguments",
        "[ $# != 0 ] || [ ! -t 0 ] || window=yes",
        "[ ! -t 0 ] || window=yes",
        "test_launchers.py::test_a_window_stays_open_until_it_was_read",
    ),
    Row(
        "launchers: Ctrl-C does not close the window",
        "trap : INT  #",
        ":  #",
        "test_launchers.py::test_ctrl_c_ends_the_program_and_not_its_window",
    ),
    Row(
        "launchers: a desktop starts the program with its words as they are",
        r"""re.sub(r"[\\%]", r"\g<0>\g<0>",""",
        r"""re.sub(r"[\\]", r"\g<0>\g<0>",""",
        "test_launchers.py::test_a_desktop_starts_the_program_in_a_terminal",
    ),
    Row(
        "launchers: a desktop entry of somebody else is left alone",
        "{DESKTOP_ENTRY: desktop_entry(words)}, DESKTOP_MARK)",
        "{DESKTOP_ENTRY: desktop_entry(words)}, '')",
        "test_launchers.py::test_an_entry_of_somebody_elses_is_left_alone",
    ),
    Row(
        "what was only touched is not stored, so nothing is given up for what another file had",
        'only_touched = at.startswith("../")',
        'only_touched = at.startswith("?")',
        "test_changes.py::test_a_large_file_that_was_only_touched_does_not_stop_the_run_where_another_of_its_content_is_gone",
    ),
    Row(
        "restore.sh: a list that was cut off or changed is not called good",
        """*'"sha256": "'"${is%% *}"*) ;;""",
        "*) ;;",
        "test_restore_script.py::test_a_list_that_lacks_files_is_not_called_good_and_the_second_one_serves",
    ),
    Row(
        "restore.sh: no file is written over another that the target takes for the same",
        'plain "$path" && free "$path" || continue\n        if [ -L',
        'plain "$path" || continue\n        if [ -L',
        "test_restore_script.py::test_no_file_is_written_over_another_where_the_target_takes_their_names_for_one",
    ),
    Row(
        "nobody is told to remove a folder that other dates may need, be its own lists damaged",
        "    if need_each_other(snapshots):\n        return (f",
        "    if not snapshots:\n        return (f",
        "test_changes.py::test_what_is_said_of_a_date_whose_lists_are_damaged_costs_no_other_date_a_file",
    ),
    Row(
        "nobody is told to remove a date with damaged files that other dates may need",
        'as other dates may need what is in it" if checked.in_need else',
        'as other dates may need what is in it" if not checked else',
        "test_changes.py::test_nobody_is_told_to_delete_a_damaged_date_that_others_may_need",
    ),
    Row(
        "a large new file that is found to be stored already is looked for where it lies",
        "lines[at], lines[at + 1] = self.tally.stored(path, self._shared(place, path, stored))",
        "self.tally.stored(path, self._shared(place, path, stored))",
        "test_changes.py::test_a_large_file_that_came_as_a_copy_of_one_that_is_gone_is_in_its_date",
    ),
    Row(
        "4 changes: what is needed of a folder that has another name now stays",
        "    for name in to if lost else ():\n",
        "    for name in ():\n",
        "test_changes.py::test_a_folder_that_a_person_gave_another_name_keeps_what_other_dates_need_of_it",
    ),
    Row(
        "list tells nobody to delete damaged dates that others may need",
        '("" if need_each_other(listed.snapshots) else ", and delete',
        '("" if not listed.snapshots else ", and delete',
        "test_changes.py::test_nobody_is_told_to_delete_a_damaged_date_that_others_may_need",
    ),
    Row(
        "4 changes: what a list needs is found however its line of checksums is written",
        "([0-9a-f]{64} [ *]\\.\\./.*)$",
        "([0-9a-f]{64}  \\.\\./.*)$",
        "test_changes.py::test_what_a_list_needs_stays_also_where_it_says_so_as_sha256sum_does_on_windows",
    ),
    Row(
        "restore.sh: no file comes back as a program that runs as its owner",
        "    [0246][0-7][0-7][0-7]) mode=0${text#?} ;;",
        "    [0246][0-7][0-7][0-7]) mode=$text ;;",
        "test_restore_script.py::test_folders_come_back_with_their_permissions_and_times_and_no_file_as_another_users_program",
    ),
    Row(
        "restore.sh: a folder gets its permissions back",
        'word time\n    touch -d "@$text" "$to/$path" 2> /dev/null\n    permissions\n',
        'word time\n    touch -d "@$text" "$to/$path" 2> /dev/null\n    mode=\n',
        "test_restore_script.py::test_folders_come_back_with_their_permissions_and_times_and_no_file_as_another_users_program",
    ),
    Row(
        "restore.sh: of many files each one's checksum is compared",
        '[ "${got#\\\\}" = "${digest_rest%% *}" ] ||',
        '[ -n "$got" ] ||',
        "test_restore_script.py::test_many_files_of_a_folder_are_copied_by_few_calls_and_each_is_judged_by_itself",
    ),
    Row(
        "restore.sh: many files get the times of the list where the drive has others",
        '[ "${are%%"$newline"*}" = "${time_rest%% *}" ] ||',
        '[ -n "${time_rest%% *}" ] ||',
        "test_restore_script.py::test_many_files_of_a_folder_are_copied_by_few_calls_and_each_is_judged_by_itself",
    ),
    Row(
        "restore.sh: what fails for many files is tried for each",
        '            one "$from_folder/$each"',
        '            : "$from_folder/$each"',
        "test_restore_script.py::test_where_one_call_for_many_files_fails_each_is_copied_by_itself",
    ),
    Row(
        "restore.sh: only a file is read where a file should be",
        'if [ -L "$from" ] || [ ! -f "$from" ]; then',
        'if [ -L "$from" ] || [ ! -e "$from" ]; then',
        "test_restore_script.py::test_many_files_of_a_folder_are_copied_by_few_calls_and_each_is_judged_by_itself",
    ),
    Row(
        "the recovery plan speaks of a whole copy only where there is one",
        "whole = [(one, date) for one, date in dates if date not in one.parts]",
        "whole = list(dates)",
        "test_recovery_plan.py::test_the_plan_says_what_is_on_this_drive",
    ),
    Row(
        "the recovery plan names dates with folders that the newest does not hold",
        "return (self.best, *(one for one in self.others if one < self.best))",
        "return (self.best,)",
        "test_recovery_plan.py::test_folders_that_the_newest_date_does_not_hold_are_brought_back_by_commands_of_their_own",
    ),
    Row(
        'the recovery plan is made anew by a backup, after its rotation',
        "[*taken.notes, *(run.tend_papers() if taken.settled else ())]",
        "[*(run.tend_papers() if taken.settled else ()), *taken.notes][::1] if not taken.rotated else taken.notes",
        'test_recovery_plan.py::test_after_a_rotation_the_plan_does_not_speak_of_what_is_gone',
    ),
    Row(
        'the recovery plan is made anew after a rotation by a person',
        "with_papers(rotate_answer(done, snapshots, set_folder.path, False), drive, set_name)",
        "rotate_answer(done, snapshots, set_folder.path, False)",
        'test_recovery_plan.py::test_whatever_changes_something_makes_the_plan_true_again',
    ),
    Row(
        'the recovery plan is made anew when a hold ends',
        "with_papers(Answer(Exit.DONE, [said], (), {\"set\": set_name, \"accepted\": held.name if held else None}), drive, set_name)",
        "Answer(Exit.DONE, [said], (), {\"set\": set_name, \"accepted\": held.name if held else None})",
        'test_recovery_plan.py::test_whatever_changes_something_makes_the_plan_true_again',
    ),
    Row(
        'the recovery plan is made anew after a verification',
        "    return with_papers(answer, drive, set_name) if noted else answer\n\n\ndef add_restore",
        "    return answer\n\n\ndef add_restore",
        'test_recovery_plan.py::test_whatever_changes_something_makes_the_plan_true_again',
    ),
    Row(
        'the recovery plan is not written again when it says the same',
        '    if found == paper.text.encode("utf-8", "surrogateescape"):\n        return ""\n',
        '',
        'test_recovery_plan.py::test_a_plan_that_says_the_same_is_not_written_again',
    ),
    Row(
        "nothing at the top of a drive that snapback did not write is replaced",
        "    if there and not ours:\n",
        "    if False:\n",
        "test_recovery_plan.py::test_the_plan_of_somebody_else_is_left_alone_and_so_is_what_lies_behind_a_link",
    ),
    Row(
        "a user who may not replace the plan of another makes copies all the same",
        "        if not ours:\n            raise  # else",
        "        if ours:\n            raise  # else",
        "test_recovery_plan.py::test_a_set_of_another_user_is_named_and_not_looked_into_and_each_may_make_copies",
    ),
    Row(
        'the recovery plan shows names of computers escaped, and short',
        'of the computer {quoted(one.host[:60])}"',
        'of the computer {one.host}"',
        'test_recovery_plan.py::test_what_a_hostile_drive_calls_its_computer_or_itself_is_shown_and_short',
    ),
    Row(
        'the recovery plan names the last date before a hold',
        'before_hold=before[-1] if before else "")',
        'before_hold="")',
        'test_recovery_plan.py::test_the_plan_says_what_is_on_this_drive',
    ),
    Row(
        "while a set is on hold the recovery plan gets files back from before that",
        "return self.before_hold if self.spoiled else self.newest",
        "return self.newest",
        "test_recovery_plan.py::test_each_posix_command_of_the_plan_does_what_it_says_on_both_layouts",
    ),
    Row(
        "the folder of a rehearsal is removed whatever happens",
        "    try:\n        yield path\n    finally:\n        try:\n            remove_tree(",
        "    yield path\n    if True:\n        try:\n            remove_tree(",
        "test_rehearse.py::test_the_folder_is_gone_also_after_an_interruption_at_any_moment",
    ),
    Row(
        'a folder of a rehearsal that stays is said',
        'raise SnapbackError(f"{show(usual(path))} could not be removed',
        'raise SnapbackError(f"something could not be removed',
        'test_rehearse.py::test_whichever_call_fails_in_the_temporary_place_the_drive_is_untouched_and_what_is_left_there_is_said',
    ),
    Row(
        "a rehearsal compares the metadata of what came back",
        "        wrong = unlike(found, wanted)\n",
        "        wrong: List[str] = []\n",
        "test_rehearse.py::test_metadata_that_does_not_come_back_is_a_failure",
    ),
    Row(
        "a rehearsal tells what a place cannot hold from what did not come back",
        "            refused = set(wrong) & set(unlike(possible, wanted)) - set(unlike(possible, found))\n",
        "            refused = set(wrong)\n",
        "test_rehearse.py::test_metadata_that_does_not_come_back_is_a_failure",
    ),
    Row(
        "what a place cannot hold is no failure of a rehearsal",
        "            refused = set(wrong) & set(unlike(possible, wanted)) - set(unlike(possible, found))\n",
        "            refused: Set[str] = set()\n",
        "test_rehearse.py::test_what_the_temporary_place_cannot_hold_is_said_and_no_failure",
    ),
    Row(
        "a rehearsal begins only where there is room",
        "        if free < size + len(chosen) * CHUNK:\n",
        "        if free < 0:\n",
        "test_rehearse.py::test_a_place_without_room_is_said_and_nothing_is_made_there",
    ),
    Row(
        'a rehearsal does not fill the drive itself',
        '        if is_inside(place, drive.path):\n            raise UsageError(f"{show(place)} is on the drive itself',
        '        if False:\n            raise UsageError(f"{show(place)} is on the drive itself',
        'test_rehearse.py::test_nothing_is_tried_on_the_drive_itself',
    ),
    Row(
        "what a rehearsal finds damaged is noted for the next run",
        "            list_damage(set_folder, order, checked, seqs, time)\n",
        "            pass\n",
        "test_rehearse.py::test_what_does_not_come_back_is_named_and_noted_as_verify_does",
    ),
    Row(
        "a rehearsal that could not be noted needs attention",
        "    return with_problem(answer, unnoted)\n",
        "    return answer\n",
        "test_rehearse.py::test_a_result_that_cannot_be_noted_needs_attention",
    ),
    Row(
        'a rehearsal in which files did not come back counts as none',
        'return "" if last.get("damaged") else',
        'return "" if not last else',
        'test_rehearse.py::test_status_reminds_after_90_days_and_that_alone_is_no_trouble',
    ),
    Row(
        "each file is as likely as any other to be rehearsed",
        "at = len(drawn) if len(drawn) < count else chance.randrange(files)",
        "at = len(drawn) if len(drawn) < count else chance.randrange(count)",
        "test_rehearse.py::test_each_file_is_as_likely_as_any_other",
    ),
    Row(
        "a rehearsal reads no more than is affordable",
        "        if one.size <= room:\n            chosen.append(one)",
        "        if True:\n            chosen.append(one)",
        "test_rehearse.py::test_no_more_is_read_than_is_affordable_but_for_a_single_file",
    ),
    Row(
        "restore.sh: nothing is written through a link in the target",
        '    inside "$to" "$1" || return 1\n',
        "",
        "test_restore_script.py::test_a_hostile_list_leads_nowhere_else",
    ),
    Row(
        "restore.sh: no folder is made through a link in the target",
        'plain "$text" && inside "$to" "$text/" &&',
        'plain "$text" &&',
        "test_restore_script.py::test_a_hostile_list_leads_nowhere_else",
    ),
    Row(
        "restore.sh: where a link points to is no option",
        'ln -s -- "$text"',
        'ln -s "$text"',
        "test_restore_script.py::test_a_whole_date_comes_back_without_python",
    ),
    Row(
        "restore goes on where a target refuses a name as exfat-fuse does",
        " or (err.errno == errno.ENOENT and folder.is_in_its_place()):",
        ":",
        "test_stored_names.py::test_what_a_target_refuses_is_said_and_all_else_is_restored_there",
    ),
    Row(
        "restore leaves nothing under a passing name where a target refuses the file's own",
        "        if piece.merging:\n            with contextlib.suppress(OSError):",
        "        if not piece:\n            with contextlib.suppress(OSError):",
        "test_stored_names.py::test_what_a_target_refuses_is_said_and_all_else_is_restored_there",
    ),
    Row(
        "a copy is not refused for the size of files that were only touched",
        "return Same.DOUBTFUL if perhaps_touched else same",
        "return same",
        "test_stored_names.py::test_a_copy_of_files_that_were_only_touched_fits_where_they_would_not_fit_twice",
    ),
    Row(
        "restore.sh: what a date does not have is said",
        "        skipped=$((skipped + 1)) ;;",
        "        ;;",
        "test_restore_script.py::test_what_a_date_does_not_have_is_said",
    ),
    Row(
        "Windows: a path of a file may be of any length",
        "return extended(os.path.join(self.path, name))",
        "return os.path.join(self.path, name)",
        "test_fake_disks.py::test_paths_of_any_length_are_copied_checked_given_back_and_deleted",
    ),
    Row(
        "Windows: a path of a folder may be of any length",
        "return extended(self.path) if self.fd is None else self.fd",
        "return self.path if self.fd is None else self.fd",
        "test_fake_disks.py::test_paths_of_any_length_are_copied_checked_given_back_and_deleted",
    ),
    Row(
        "Windows: files come back to a place of any length",
        "os.makedirs(extended(path), mode=NEW_FOLDER_MODE)",
        "os.makedirs(path, mode=NEW_FOLDER_MODE)",
        "test_fake_disks.py::test_paths_of_any_length_are_copied_checked_given_back_and_deleted",
    ),
    Row(
        "Windows: what is only in the cloud is not downloaded",
        "        if info and not download and in_cloud(info):\n",
        "        if False:\n",
        "test_fake_disks.py::test_what_only_a_cloud_service_has_is_named_in_one_line_and_not_downloaded",
    ),
    Row(
        "Windows: what a look alone may download is not looked at",
        "if of_source and getattr(info, \"st_file_attributes\", 0) & IN_CLOUD_UNOPENED and not is_folder(info):",
        "if False:",
        "test_fake_disks.py::test_what_only_a_cloud_service_has_is_named_in_one_line_and_not_downloaded",
    ),
    Row(
        "Windows: a dry run names what is only in the cloud",
        "why = CLOUD_ONLY if in_cloud(info) and same is not Same.UNCHANGED else \"\"",
        "why = \"\"",
        "test_fake_disks.py::test_what_only_a_cloud_service_has_is_named_in_one_line_and_not_downloaded",
    ),
    Row(
        "Windows: files of the same trouble are named in one line",
        "found.get(note.why.partition(\";\")[0], rest).append(note)",
        "rest.append(note)",
        "test_fake_disks.py::test_files_that_other_programs_have_open_are_named_in_one_line",
    ),
    Row(
        "Windows: a file that can be read while others may delete it is read",
        "            return open_shared(self.at(name))\n",
        "            raise\n",
        "test_fake_disks.py::test_files_that_other_programs_have_open_are_named_in_one_line",
    ),
    Row(
        "Windows: a file of which a part is locked is one that is open elsewhere",
        "    if is_in_use(err) or of_read:\n",
        "    if is_in_use(err):\n",
        "test_fake_disks.py::test_files_that_other_programs_have_open_are_named_in_one_line",
    ),
    Row(
        "Windows: a file that is open elsewhere is no matter of permission",
        "    if is_in_use(err) or of_read:\n",
        "    if of_read:\n",
        "test_fake_disks.py::test_files_that_other_programs_have_open_are_named_in_one_line",
    ),
    Row(
        "Windows: a virus scanner is waited for",
        "for wait in WINDOWS_WAITS if WINDOWS else ():",
        "for wait in ():",
        "test_fake_disks.py::test_a_virus_scanner_that_holds_what_is_new_is_waited_for",
    ),
    Row(
        "Windows: a folder in which a virus scanner reads is renamed when it is done",
        "and not (number == WINDOWS_DENIED and len(paths) > 1):",
        "and True:",
        "test_fake_disks.py::test_a_virus_scanner_that_holds_what_is_new_is_waited_for",
    ),
    Row(
        "Windows: a virus scanner is named where it never lets go",
        "    if is_in_use(err):\n        return \"another program, perhaps",
        "    if False:\n        return \"another program, perhaps",
        "test_fake_disks.py::test_a_virus_scanner_that_holds_what_is_new_is_waited_for",
    ),
    Row(
        "Windows: the guard against ransomware is named",
        "or not guards_folders():",
        "or True:",
        "test_fake_disks.py::test_the_guard_against_ransomware_is_named_where_it_may_have_refused",
    ),
    Row(
        "Windows: a guard that only takes notes is not named",
        "            return number == 1  # others",
        "            return number != 0  # others",
        "test_fake_disks.py::test_the_guard_against_ransomware_is_named_where_it_may_have_refused",
    ),
    Row(
        "Windows: a mark read-only hinders no deletion",
        "            unmark(self.at(name))\n",
        "",
        "test_fake_disks.py::test_a_mark_read_only_hinders_no_deletion_and_comes_back_with_the_file",
    ),
    Row(
        "Windows: a mark read-only hinders no replacement",
        "            unmark(other.at(new_name))\n",
        "",
        "test_fake_disks.py::test_a_mark_read_only_hinders_no_deletion_and_comes_back_with_the_file",
    ),
    Row(
        "Windows: a mark read-only comes back",
        "if WINDOWS and not meta.mode & stat.S_IWUSR:",
        "if False:",
        "test_fake_disks.py::test_a_mark_read_only_hinders_no_deletion_and_comes_back_with_the_file",
    ),
    Row(
        "Windows: a restored file is moved with its mark read-only",
        "    if WINDOWS:  # where one does not\n",
        "    if False:\n",
        "test_fake_disks.py::test_a_mark_read_only_hinders_no_deletion_and_comes_back_with_the_file",
    ),
    Row(
        "Windows: a file that can have no more names is copied",
        "return err.errno in LINK_REFUSED or getattr(err, \"winerror\", None) in WINDOWS_LINK_REFUSED",
        "return False",
        "test_fake_disks.py::test_a_file_that_can_have_no_more_names_is_copied_again",
    ),
    Row(
        "Windows: no junction is entered",
        "return not (WINDOWS and getattr(info, \"st_reparse_tag\", 0) & 0x20000000)",
        "return True",
        "test_fake_disks.py::test_no_junction_is_entered_and_a_disk_behind_one_is_named",
    ),
    Row(
        "Windows: a junction is noted as a link",
        "return \"link\" if junction else SPECIAL_KINDS.get",
        "return SPECIAL_KINDS.get",
        "test_fake_disks.py::test_no_junction_is_entered_and_a_disk_behind_one_is_named",
    ),
    Row(
        "Windows: a disk behind a junction is named",
        "return WINDOWS and target.startswith(EXTENDED + \"Volume{\")",
        "return False",
        "test_fake_disks.py::test_no_junction_is_entered_and_a_disk_behind_one_is_named",
    ),
    Row(
        "Windows: a link of an unknown kind is noted",
        "        raise OSError(errno.EINVAL, \"a kind of link that is not known\", name) from err\n",
        "        raise\n",
        "test_fake_disks.py::test_no_junction_is_entered_and_a_disk_behind_one_is_named",
    ),
    Row(
        "Windows: of a path's length some characters count twice",
        "    if len(path) < WINDOWS_PATH_LIMIT and max(path) < \"\\U00010000\":",
        "    if len(path) < WINDOWS_PATH_LIMIT:",
        "test_fake_disks.py::test_paths_of_any_length_are_copied_checked_given_back_and_deleted",
    ),
    Row(
        "5: a drive is known again where inode numbers change by themselves",
        " or is_far(path) or mount_kind(whole_path(path)) in NUMBERLESS)",
        ")",
        "test_poor_drives.py::test_a_drive_is_known_again_by_its_device_where_inode_numbers_change_by_themselves",
    ),
    Row(
        "4 moves: one inode number of two files proves nothing",
        "        if digest != parse_hash_line(moved.known.hash_line)[0] or (same",
        "        if (same",
        "test_poor_drives.py::test_files_that_all_have_one_inode_number_are_not_taken_for_each_other",
    ),
    Row(
        "1: one flush for all is trusted from Linux 5.8 on",
        "int(release.group(2))) < (5, 8):",
        "int(release.group(2))) < (0, 0):",
        "test_poor_drives.py::test_one_flush_for_all_is_trusted_only_where_it_tells_of_failed_writes",
    ),
    Row(
        "1: macOS: a drive that cannot empty its memory fails the run",
        "            if err.errno not in FULL_FLUSH_REFUSED:\n",
        "            if False:\n",
        "test_poor_drives.py::test_on_macos_the_drives_own_memory_is_flushed_after_the_file",
    ),
    Row(
        "1: macOS: the drive's memory is emptied after the manifest",
        "    os.fsync(fd)\n    flush_memory(fd)\n",
        "    os.fsync(fd)\n",
        "test_poor_drives.py::test_on_macos_the_drives_own_memory_is_flushed_after_the_file",
    ),
    Row(
        "section 6: safe to unplug is said once the drive's memory is empty",
        "                flush_memory(self.set_folder.fd)  # the new name",
        "                pass  # the new name",
        "test_poor_drives.py::test_on_macos_the_last_thing_before_safe_to_unplug_is_to_empty_the_drives_memory",
    ),
    Row(
        "6: macOS: what is kept private is explained",
        "errno.EPERM: private,",
        "errno.EPERM: \"permission denied\",",
        "test_poor_drives.py::test_what_macos_keeps_private_is_explained",
    ),
    Row(
        "12: a local lock stands in where the drive has none",
        "local_name), flags, 0o600)\n        try:\n            system_lock(fd)\n",
        "local_name), flags, 0o600)\n        try:\n            pass\n",
        "test_poor_drives.py::test_a_lock_of_this_computer_stands_in_where_a_drive_has_none",
    ),
    Row(
        "4 network: a file that counts as open a moment longer stops no deletion",
        "            if not pause or err.errno not in (",
        "            if True or err.errno not in (",
        "test_poor_drives.py::test_a_list_that_counts_as_open_a_moment_longer_stops_no_deletion",
    ),
    Row(
        "4 network: nobody keeps the list of a date open that is deleted",
        "        self._call_workers()\n",
        "",
        "test_poor_drives.py::test_no_worker_keeps_the_list_open_of_a_date_that_is_deleted",
    ),
    Row(
        "section 9: far away eight hide what each has to wait",
        "(8 if far else",
        "(8 if False else",
        "test_poor_drives.py::test_more_share_the_work_where_each_has_to_wait",
    ),
    Row(
        "section 9: results are taken in order, also when they bring new work",
        "            while self.parcels > self.most_waiting and not self.stepping:\n",
        "            while self.parcels > self.most_waiting:\n",
        "test_poor_drives.py::test_results_are_taken_in_order_also_when_they_bring_new_work",
    ),
    Row(
        "verify: a sample reads its part and no more",
        "        elif not self.quick and self.part.holds(digest):\n",
        "        elif not self.quick:\n",
        "test_sample.py::test_samples_that_make_a_whole_read_every_stored_file_exactly_once",
    ),
    Row(
        "verify: a sample goes on where the last one ended",
        "one.sample.ends for one in past_checks(text)",
        "0 for one in past_checks(text)",
        "test_sample.py::test_a_sample_goes_on_where_the_last_one_ended_whatever_was_checked_and_copied_between",
    ),
    Row(
        "verify: a sample that was interrupted is read again",
        "not one.get(\"quick\") and not one.get(\"interrupted\") and (sample",
        "not one.get(\"quick\") and (sample",
        "test_sample.py::test_a_sample_that_was_interrupted_is_read_again",
    ),
    Row(
        "verify: a sample is noted with where it ended",
        "**({\"sample\": order.sample.facts()} if order.sample else {})",
        "\"sample\": None",
        "test_sample.py::test_a_sample_goes_on_where_the_last_one_ended_whatever_was_checked_and_copied_between",
    ),
    Row(
        "verify: an end that does not follow moves no series",
        "if size and begins < CIRCLE and one.ends == ends else None",
        "if size and begins < CIRCLE else None",
        "test_sample.py::test_the_last_line_that_makes_sense_says_where_a_sample_goes_on",
    ),
    Row(
        "verify: what a sample did not read stays listed as damaged",
        "unread_damage(before or \"\", order.sample)",
        "\"\"",
        "test_sample.py::test_a_sample_takes_off_the_list_what_it_read_good_again_and_nothing_else",
    ),
    Row(
        "verify: what a sample read good again is taken off the list",
        "unread_damage(before or \"\", order.sample)",
        "before or \"\"",
        "test_sample.py::test_a_sample_takes_off_the_list_what_it_read_good_again_and_nothing_else",
    ),
    Row(
        "verify: samples are everything when they hold every place",
        "        if places == EVERY_PLACE:\n",
        "        if places:\n",
        "test_sample.py::test_status_says_since_when_everything_was_read",
    ),
    Row(
        "verify: a sample over the end holds the beginning, too",
        "return (bits | bits >> CIRCLE) & EVERY_PLACE",
        "return bits & EVERY_PLACE",
        "test_sample.py::test_status_says_since_when_everything_was_read",
    ),
    Row(
        "verify: status says that a sample found damage",
        "in which dates\"] if seen.rotten else []",
        "in which dates\"] if False else []",
        "test_sample.py::test_status_tells_of_samples_and_of_the_damage_that_one_found",
    ),
    Row(
        "verify: a sample of one date is refused",
        "    if share and args.when:\n",
        "    if False:\n",
        "test_sample.py::test_a_share_that_makes_no_sense_is_refused_in_one_sentence",
    ),
    Row(
        "verify: no next sample is spoken of where none was noted",
        "if checked.noted else \"\"\n        return Exit.DONE, f\"OK",
        "if checked else \"\"\n        return Exit.DONE, f\"OK",
        "test_sample.py::test_without_a_marker_a_sample_is_read_but_the_series_stays",
    ),
    Row(
        "reread: a copy is read back before it has its name",
        "expect(0, counts.bytes)) if self.order.read_back else None\n            self._publish(name)\n",
        "expect(0, counts.bytes)) if False else None\n            self._publish(name)\n",
        "test_reread.py::test_a_copy_whose_new_part_does_not_read_back_is_none",
    ),
    Row(
        "reread: its list is read from the drive, too",
        "proved_manifest(manifest_file(folder, from_disk=True))",
        "proved_manifest(manifest_file(folder))",
        "test_reread.py::test_all_that_a_copy_holds_and_its_list_is_read_from_the_drive_before_it_has_its_name",
    ),
    Row(
        "reread: a drive that went away is not called damaged",
        "            return size\n        self.drive.check()\n",
        "            return size\n",
        "test_reread.py::test_a_drive_that_went_away_meanwhile_is_not_called_damaged",
    ),
    Row(
        "reread: damage that dates share is noted",
        "            write_text(self.set_folder, DAMAGED_LIST, text, self.set_name)\n            self.suspects",
        "            self.suspects",
        "test_reread.py::test_damage_that_older_dates_share_is_stored_anew_in_the_same_run",
    ),
    Row(
        "reread: damage that dates share is stored anew at once",
        "            self.suspects = parse_damaged(text)\n",
        "",
        "test_reread.py::test_damage_that_older_dates_share_is_stored_anew_in_the_same_run",
    ),
    Row(
        "reread: only what an older date holds damaged is noted of it",
        "if old and not reads_as(old, digest, pulse):",
        "if old:",
        "test_reread.py::test_a_new_file_with_the_bytes_of_an_old_one_is_no_reason_to_call_that_damaged",
    ),
    Row(
        "reread: what is new and bad makes no copy, whatever dates share",
        "        if spoilt:\n",
        "        if False:\n",
        "test_reread.py::test_damage_in_what_is_shared_and_in_what_is_new_makes_no_copy_and_both_are_remembered",
    ),
    Row(
        "reread: a run that stored anew says so",
        "        self.notes = notes\n",
        "        self.notes = []\n",
        "test_reread.py::test_damage_that_older_dates_share_is_stored_anew_in_the_same_run",
    ),
    Row(
        "reread: a drive's own setting goes before the general one",
        "(settings.reread if one.reread is None else one.reread)",
        "settings.reread",
        "test_reread.py::test_the_settings_say_whether_a_copy_is_read_back",
    ),
    Row(
        "reread: the command to be scheduled reads back, too",
        "(\"--reread\", args.reread), ",
        "",
        "test_reread.py::test_the_command_to_be_scheduled_reads_back_as_the_run_did",
    ),
    Row(
        "11: a good copy is believed for its bytes alone",
        "        if digest == candidate.digest and hash_file(",
        "        if hash_file(",
        "test_repair.py::test_what_another_date_has_is_not_believed_either",
    ),
    Row(
        "11: a good copy is read back before it replaces anything",
        " and hash_file(self.quarantine, ready, self.pulse, from_disk=True) == digest:",
        ":",
        "test_repair.py::test_a_good_copy_that_the_drive_does_not_give_back_replaces_nothing",
    ),
    Row(
        "11: a good copy is flushed before it replaces anything",
        "Care(self.pulse, flush=True)",
        "Care(self.pulse, flush=False)",
        "test_repair.py::test_a_good_copy_that_the_drive_does_not_give_back_replaces_nothing",
    ),
    Row(
        "11: what is good now is not replaced",
        "            if look is Proof.GOOD:\n",
        "            if False:\n",
        "test_repair.py::test_a_passing_error_of_reading_is_no_damage",
    ),
    Row(
        "11: a list that is good now is not replaced",
        "            self._prove(folder, MANIFEST)\n            self.good",
        "            raise ManifestDamaged(\"\")\n            self.good",
        "test_repair.py::test_a_list_that_can_be_read_again_is_left_alone",
    ),
    Row(
        "11: a bad file is kept in the quarantine",
        "            aside = self._set_apart(folder, name, spot.place) if look is Proof.BAD else \"\"\n",
        "            aside = \"\"\n            if look is Proof.BAD:\n                folder.unlink(name)\n",
        "test_repair.py::test_a_file_that_was_healed_twice_is_kept_twice",
    ),
    Row(
        "11: what a repair did not find bad it does not write over",
        "            self.quarantine.link(ready, folder, name)\n            return ready\n",
        "            self.quarantine.rename(ready, folder, name)\n            return \"\"\n",
        "test_repair.py::test_what_was_put_in_the_place_meanwhile_is_not_written_over",
    ),
    Row(
        "11: a bad file stays where the good one cannot be put",
        "                    if aside and move_to_free(",
        "                    if False and move_to_free(",
        "test_repair.py::test_where_the_good_one_cannot_be_put_the_bad_one_stays",
    ),
    Row(
        "11: healed is what is right in its place",
        "        if self._look(folder, name, spot.digest, known) is Proof.GOOD:\n            self._heal(",
        "        if True:\n            self._heal(",
        "test_repair.py::test_what_is_not_right_in_its_place_is_not_called_healed",
    ),
    Row(
        "11: what may not be read is not taken for damaged",
        "            if self._says_nothing(err):\n                raise\n            self.drive.check()\n",
        "            self.drive.check()\n",
        "test_repair.py::test_what_this_user_may_not_read_is_not_taken_for_damaged",
    ),
    Row(
        "11: a list that may not be read is not taken for damaged",
        "            if self._says_nothing(err):\n                raise\n        changed",
        "            pass\n        changed",
        "test_repair.py::test_what_this_user_may_not_read_is_not_taken_for_damaged",
    ),
    Row(
        "11: a list is put back by one that has proved itself",
        "                self._prove(self.quarantine, ready)\n",
        "",
        "test_repair.py::test_a_second_list_that_rots_after_it_was_read_puts_nothing_in_the_place_of_the_first",
    ),
    Row(
        "11: what a killed repair left may be the last good copy",
        "        if not left and self.order.whole and healing.quarantine is not",
        "        if healing.quarantine is not",
        "test_repair.py::test_killed_when_the_only_good_copy_is_in_the_quarantine_it_is_found_there_whichever_date_comes_first",
    ),
    Row(
        "11: what a killed repair left is found again",
        "        yield from self._left_over()\n",
        "",
        "test_repair.py::test_killed_when_the_only_good_copy_is_in_the_quarantine_it_is_found_there_whichever_date_comes_first",
    ),
    Row(
        "11: a trial opens no quarantine",
        "        if not self.trial and (checked.damage or",
        "        if (checked.damage or",
        "test_repair.py::test_a_trial_writes_nothing_at_all",
    ),
    Row(
        "11: folders get their times back",
        "        finally:\n            self._put_back(changed)\n        folder.flush()",
        "        finally:\n            pass\n        folder.flush()",
        "test_repair.py::test_whatever_was_damaged_is_as_it_was",
    ),
    Row(
        "11: a special file gets its name when it is whole",
        "        ready = unique_name(\"entry\", REPAIR)     #",
        "        ready, self.quarantine = name, folder     #",
        "test_repair.py::test_killed_at_any_moment_nothing_is_lost_and_the_next_repair_heals_all",
    ),
    Row(
        "4: the marker is read again before a file is replaced",
        "            self.drive.check()\n            ready = self._replace(",
        "            ready = self._replace(",
        "test_repair.py::test_a_drive_that_is_swapped_meanwhile_is_not_written_to",
    ),
    Row(
        "4: a repair stays on its disk",
        "            make_clearable(parent, self.device)\n            if not missing:\n",
        "            if not missing:\n",
        "test_repair.py::test_another_disk_that_is_mounted_among_the_copies_is_not_written_to",
    ),
    Row(
        "4: a quarantine on another disk is refused",
        "        if self.quarantine.own_stat().st_dev != self.device:",
        "        if False:",
        "test_repair.py::test_another_disk_that_is_mounted_among_the_copies_is_not_written_to",
    ),
    Row(
        "12: who reads is asked to wait before hours are spent",
        "        self._keep_readers_out()\n        lock_for_reading",
        "        lock_for_reading",
        "test_repair.py::test_a_set_that_somebody_reads_is_not_repaired_and_that_is_said_at_once",
    ),
    Row(
        "12: nothing is healed while somebody reads",
        "        self._keep_readers_out()\n        healing",
        "        healing",
        "test_repair.py::test_who_begins_to_read_while_it_reads_puts_the_healing_off",
    ),
    Row(
        "12: a repair takes the lock of its set",
        "        lock = None if args.dry_run else lock_set(drive, set_name)",
        "        lock = None",
        "test_repair.py::test_a_set_on_which_another_run_works_is_not_repaired",
    ),
    Row(
        "10: the source of another computer is not read",
        "            if snapshot.header.get(\"machine\") == machine_id():\n                yield",
        "            if True:\n                yield",
        "test_repair.py::test_the_source_of_another_computer_is_not_read",
    ),
    Row(
        "section 7: other names of a bad file are healed with it",
        "            self._note_shared()\n",
        "",
        "test_repair.py::test_one_date_is_asked_for_and_the_names_that_others_have_for_the_bad_file_are_healed_as_well",
    ),
    Row(
        "section 4: a fresh date shares nothing, be it healed",
        "    return shares_since(one.header), link_group(",
        "    return \"\", link_group(",
        "test_repair.py::test_what_is_put_back_takes_no_more_room_than_before_but_shares_nothing_with_a_fresh_date",
    ),
    Row(
        "section 4: what is put back is one file with what it was one with",
        "                if not self._heal_group(group, candidate):\n                    break\n",
        "                if seeking.kin or not self._heal_group(group, candidate):\n                    break\n",
        "test_repair.py::test_what_is_put_back_takes_no_more_room_than_before_but_shares_nothing_with_a_fresh_date",
    ),
    Row(
        "section 4: files of one content stay two",
        "            key: Any = spot.kin\n",
        "            key: Any = \"\"\n",
        "test_repair.py::test_two_files_of_one_content_never_become_one",
    ),
    Row(
        "section 4: what was healed is not stored anew",
        "        text = without_lines(before, {",
        "        text = before if before else without_lines(before, {",
        "test_repair.py::test_the_list_of_damage_is_brought_up_to_date",
    ),
    Row(
        "11: a whole folder that is gone hides no link",
        "            else:\n                self._check_special(f\"{block.path}/{name}\", known, None)\n",
        "",
        "test_repair.py::test_a_link_in_a_folder_that_is_gone_is_named_and_made_anew",
    ),
    Row(
        "11: damage that a repair found is noted even when it could heal nothing",
        "            if checked.damage and not self.trial:\n",
        "            if healing.healed and not self.trial:\n",
        "test_repair.py::test_damage_that_was_found_before_a_repair_stopped_is_not_forgotten",
    ),
    Row(
        "11: what one list has good is not replaced by what a forged one says",
        "        self._leave_contradicted()\n",
        "",
        "test_repair.py::test_what_one_list_has_good_is_not_replaced_by_what_another_one_says",
    ),
    Row(
        "11: nor what lies on the way to where a forged one says",
        " or (place in above and not is_folder):\n",
        ":\n",
        "test_repair.py::test_what_one_list_has_good_is_not_replaced_by_what_another_one_says",
    ),
    Row(
        "11: nor a link where a forged list has a file",
        "                    yield Claim(f\"{stored}/{last}\", \"\")\n",
        "                    continue\n",
        "test_repair.py::test_what_one_list_has_good_is_not_replaced_by_what_another_one_says",
    ),
    Row(
        "11: nor a folder where a forged list has a file",
        "                yield Claim(stored, \"\", is_folder=True)\n",
        "                pass\n",
        "test_repair.py::test_what_one_list_has_good_is_not_replaced_by_what_another_one_says",
    ),
    Row(
        "11: nothing from outside the set is written before its bytes are known",
        "        if candidate.top is not self.set_folder and not self._is_wanted(candidate):\n            return \"\"\n",
        "",
        "test_repair.py::test_nothing_from_outside_the_set_is_written_to_the_drive_before_its_bytes_are_known",
    ),
    Row(
        "11: a forged list leads to no file below the working folder",
        "    return full_path(path) == path and not path.startswith(",
        "    return not path.startswith(",
        "test_repair.py::test_a_source_that_a_forged_list_has_elsewhere_is_not_read",
    ),
    Row(
        "11: a forged list leads to no other computer",
        "    return full_path(path) == path and not path.startswith((\"//\", \"\\\\\\\\\"))\n",
        "    return full_path(path) == path\n",
        "test_repair.py::test_a_source_that_a_forged_list_has_elsewhere_is_not_read",
    ),
    Row(
        "speed: what has another size than what is wanted is not read in the quarantine",
        "                    if size in self.sizes:\n",
        "                    if True:\n",
        "test_repair.py::test_what_has_another_size_is_not_read_in_the_quarantine",
    ),
    Row(
        "11: the quarantine that root made belongs to the owner of the set",
        "            give_to_owner(self.set_folder, QUARANTINE)\n",
        "            pass\n",
        "test_repair.py::test_what_root_heals_for_somebody_does_not_lock_them_out",
    ),
    Row(
        "11: and so does its log",
        "            give_to_owner(self.quarantine, QUARANTINE_LOG)\n",
        "            pass\n",
        "test_repair.py::test_what_root_heals_for_somebody_does_not_lock_them_out",
    ),
    Row(
        "11: two files of one date never become one by being healed",
        "            if not self.dated_names.may_share(group, there.stat(name).st_ino):\n                return \"\"\n",
        "",
        "test_repair.py::test_a_file_that_comes_back_is_not_made_one_with_what_has_another_name_in_its_date",
    ),
    Row(
        "11: nor do two that were both missing",
        "            if where in self.used:\n                self.used[where].setdefault(inode, set()).add(key)\n",
        "            pass\n",
        "test_repair.py::test_a_file_that_comes_back_is_not_made_one_with_what_has_another_name_in_its_date",
    ),
    Row(
        "page: a name cannot end the script that it stands in",
        "UNSAFE_IN_SCRIPT = re.compile(\"[<",
        "UNSAFE_IN_SCRIPT = re.compile(\"[",
        "test_page.py::test_what_a_manifest_or_a_history_says_is_no_markup_either",
    ),
    Row(
        "page: what the drive is called is no markup",
        "{\"&\": \"&amp;\", \"<\": \"&lt;\", ",
        "{\"&\": \"&amp;\", ",
        "test_page.py::test_the_label_of_a_drive_is_no_markup",
    ),
    Row(
        "page: the browser runs no script but the page's own",
        "script-src 'sha256-$script_hash' file:;",
        "script-src 'unsafe-inline' file:;",
        "test_page.py::test_a_browser_runs_and_applies_nothing_but_what_the_program_wrote",
    ),
    Row(
        "page: each part of a link is encoded",
        "path.split(\"/\").map(encoded).join(\"/\")",
        "path",
        "test_page.py::test_whatever_a_file_is_called_its_name_is_shown_and_leads_to_it",
    ),
    Row(
        "page: a byte that is no text leads to its file",
        "\"%\" + hex(byteOf(char), 2)",
        "\"%EF%BF%BD\"",
        "test_page.py::test_whatever_a_file_is_called_its_name_is_shown_and_leads_to_it",
    ),
    Row(
        "page: a script that brings another date's names is none",
        "if (!value || value.date !== date) throw",
        "if (!value) throw",
        "test_page.py::test_a_list_that_is_lacking_or_torn_is_said_and_the_others_are_read",
    ),
    Row(
        "page: no file of a list leads elsewhere",
        " and \"\\n../\" not in lines and \"\\n./\" not in lines",
        "",
        "test_page.py::test_no_file_of_a_list_leads_elsewhere",
    ),
    Row(
        "page: no folder of a list leads elsewhere",
        "path, readable = \"/\".join(plain_parts(path_word(line)))",
        "path, readable = path_word(line)",
        "test_page.py::test_no_folder_of_a_list_leads_elsewhere_and_no_other_line_is_read",
    ),
    Row(
        "page: a line that is none of a manifest makes no list",
        "            if not line.startswith(\"# type=\"):\n                raise",
        "            if False:\n                raise",
        "test_page.py::test_no_folder_of_a_list_leads_elsewhere_and_no_other_line_is_read",
    ),
    Row(
        "page: what was kept from an earlier date is marked",
        "if \" path=\" in entries or \" kept=\" in entries:",
        "if \" path=\" in entries:",
        "test_page.py::test_what_could_not_be_read_is_marked",
    ),
    Row(
        "page: what a date has of it goes before the date does",
        "its twin first, then its name. Raises OSError.\"\"\"\n    drop_page_list(set_folder, name)\n",
        "its twin first, then its name. Raises OSError.\"\"\"\n",
        "test_page.py::test_the_list_of_a_date_goes_with_it",
    ),
    Row(
        "page: what an expired date has of it goes too",
        "set_folder.child(name)\n    drop_page_list(set_folder, name)\n",
        "set_folder.child(name)\n",
        "test_page.py::test_the_list_of_a_date_goes_with_it",
    ),
    Row(
        "page: what there is of dates that a person removed goes",
        "(not ending and name != date and date not in kept)",
        "False",
        "test_page.py::test_lists_are_made_up_for_and_those_of_dates_that_a_person_removed_go",
    ),
    Row(
        "page: what a killed run left of it is in nobody's way",
        "(ending == INCOMPLETE or (not",
        "((not",
        "test_page.py::test_whoever_kills_a_run_while_the_page_is_written_finds_it_whole_after_the_next_one",
    ),
    Row(
        "page: a failure of it is no failure of the copy",
        "        except (OSError, DriveError) as err:\n            why = reason(err)\n        return [Note(\"\", f\"the dated",
        "        except ZeroDivisionError as err:\n            why = reason(err)\n        return [Note(\"\", f\"the dated",
        "test_page.py::test_whichever_call_for_the_page_fails_the_dated_copy_is_whole_and_the_next_run_makes_up_for_it",
    ),
    Row(
        "page: whoever interrupts it has the copy all the same",
        "        except KeyboardInterrupt:\n            why = \"it was interrupted\"\n",
        "",
        "test_page.py::test_whoever_kills_a_run_while_the_page_is_written_finds_it_whole_after_the_next_one",
    ),
    Row(
        "page: a drive that fails then is told, and what the command did stays done",
        "            put_paper(drive.root, paper, owner)\n    except (OSError, DriveError) as err:",
        "            put_paper(drive.root, paper, owner)\n    except ZeroDivisionError as err:",
        "test_page.py::test_whichever_call_for_the_html_fails_the_one_before_stays",
    ),
    Row(
        "page: page = no turns it off",
        "else order.hold_at, page=settings.page)",
        "else order.hold_at)",
        "test_page.py::test_a_run_by_the_settings_heeds_them_too",
    ),
    Row(
        "page: page = no counts for folders that are named too",
        "page=not path or load_settings(path).page",
        "page=True",
        "test_page.py::test_page_no_takes_away_what_was_there_and_leaves_what_is_somebody_elses",
    ),
    Row(
        "page: a drive's own memory is emptied once more after it",
        "        flush_memory(set_folder.fd)  # before anybody",
        "        pass  # before anybody",
        "test_poor_drives.py::test_on_macos_the_last_thing_before_safe_to_unplug_is_to_empty_the_drives_memory",
    ),
    Row(
        "page: page = no leaves another computer's set its page",
        "elif has_page(drive.root) and not others_with_lists(drive.root, set_name):",
        "elif has_page(drive.root):",
        "test_page.py::test_page_no_takes_away_what_was_there_and_leaves_what_is_somebody_elses",
    ),
    Row(
        "page: where there is none no command but backup makes one",
        "facts_of_drive(drive.root, drive.marker, has_page(drive.root)))",
        "facts_of_drive(drive.root, drive.marker, True))",
        "test_page.py::test_page_no_takes_away_what_was_there_and_leaves_what_is_somebody_elses",
    ),
    Row(
        "page: another user's set is no reason to have none",
        "        except PermissionError:  # it is another user's",
        "        except ZeroDivisionError:",
        "test_page.py::test_another_users_set_is_named_and_no_more",
    ),
    Row(
        "page: a sample is no check of a whole date",
        "return PART_READ if parse_slice(one[\"sample\"]) else \"\"",
        "return ALL_READ",
        "test_page.py::test_the_last_check_of_each_kind_is_told_and_what_read_nothing_is_none",
    ),
    Row(
        "page: what read no file or was interrupted is told of as no check",
        "    if one.get(\"quick\") or one.get(\"interrupted\"):\n        return \"\"\n",
        "",
        "test_page.py::test_the_last_check_of_each_kind_is_told_and_what_read_nothing_is_none",
    ),
    Row(
        "page: damage is said above the files of a date",
        "...damageIn(facts.damaged ? [facts] : []),",
        "",
        "test_page.py::test_above_the_files_of_a_date_and_the_versions_of_one_damage_is_said",
    ),
    Row(
        "page: damage is said above the versions of a file",
        "view.querySelector(\"h2\").after(...damageIn(",
        "void (damageIn(",
        "test_page.py::test_above_the_files_of_a_date_and_the_versions_of_one_damage_is_said",
    ),
    Row(
        "page: a line of the history may be anything",
        "if isinstance(one, dict) and one.get(\"what\") in wanted",
        "if one.get(\"what\") in wanted",
        "test_page.py::test_a_history_that_says_anything_else_is_passed_over",
    ),
    Row(
        "8: a drive that went away does not look as if it had nothing of what is sought",
        "    drive.check()  # one that went away meanwhile may look empty, or damaged\n",
        "",
        "test_find.py::test_a_drive_that_goes_away_is_not_taken_for_one_without_the_file[find letter]",
    ),
    Row(
        "12: nobody looks for files while old dates are deleted",
        "    lock_for_reading(set_folder)\n    there = survey(set_folder)\n",
        "    there = survey(set_folder)\n",
        "test_find.py::test_nothing_is_read_while_old_dates_are_deleted[find a]",
    ),
    Row(
        "10: find names no stored file outside the set",
        "            stored_place(stored, \"\")\n",
        "",
        "test_restore.py::test_a_hostile_manifest_leads_nowhere[stored above]",
    ),
    Row(
        "10: find names no path that leads elsewhere",
        "        plain_parts(path)\n        words = parse_keywords(known.line)\n        kind, what",
        "        words = parse_keywords(known.line)\n        kind, what",
        "test_find.py::test_nothing_of_a_date_counts_whose_list_turns_out_to_be_hostile[path=src/sub-path=../sub]",
    ),
    Row(
        "a date that turns out not to be readable while something is sought is named",
        "            unreadable[one.name] = str(err)\n",
        "            pass\n",
        "test_find.py::test_nothing_of_a_date_counts_whose_list_turns_out_to_be_hostile[path=src/sub-path=../sub]",
    ),
    Row(
        "a date whose lists are damaged is named when something is sought",
        " for one in there if one.state is State.DAMAGED}\n    whole = ",
        " for one in there if False}\n    whole = ",
        "test_find.py::test_a_date_that_cannot_be_looked_through_is_named",
    ),
    Row(
        "what a date of other folders does not have is not called gone",
        "any(one.sources.get(alias) == self.snapshots[last].sources.get(alias) for one in",
        "any(True for one in",
        "test_find.py::test_a_date_of_other_folders_makes_nothing_look_gone",
    ),
    Row(
        "what is known to be damaged is marked until a date has it whole",
        ">= self.snapshots[version.last].seq",
        ">= 0",
        "test_find.py::test_what_a_check_found_damaged_is_marked_until_a_date_has_it_whole",
    ),
    Row(
        "an entry is found by its original name, which stands beside its checksum",
        "        elif ends >= 0 and text.startswith(FILE_LINE, line):",
        "        elif False:",
        "test_find.py::test_names_that_the_drive_spells_otherwise_are_found_as_they_were",
    ),
    Row(
        "small files with the same content by chance are not called moved",
        "\"\" if number(words, \"size\") >= MIB else words.get(\"time\")",
        "\"\"",
        "test_find.py::test_small_files_that_are_alike_by_chance_are_not_called_moved",
    ),
    Row(
        "a folder that could not be read is not called removed",
        "        if any(line.startswith(SKIPPED_DIR_LINE) for line in lines) or path in self.unread:",
        "        if path in self.unread:",
        "test_find.py::test_what_could_not_be_read_is_not_called_removed",
    ),
    Row(
        "a file that could not be read is not called removed",
        "        if any(line.startswith(\"# type=skipped \") for line in lines):\n            self._unread",
        "        if False:\n            self._unread",
        "test_find.py::test_what_could_not_be_read_is_not_called_removed",
    ),
    Row(
        "another computer's copy is not compared with the folders of this one",
        "    if chosen.header.get(\"machine\") != machine_id():",
        "    if False:",
        "test_find.py::test_another_computers_copy_is_not_compared_with_folders_of_this_one",
    ),
    Row(
        "what the rules leave out is not called added",
        "walk(Folder.top(source.path), self.rules, self.closed)",
        "walk(Folder.top(source.path), Rules(), self.closed)",
        "test_find.py::test_what_was_left_out_is_not_called_added",
    ),
    Row(
        "10: a pattern that matches nothing makes nothing",
        "        if not spelt[one.path] and not matched[one.path]:",
        "        if not spelt[one.path] and not one.is_wild:",
        "test_restore.py::test_patterns_bring_back_what_they_match_and_no_empty_folders",
    ),
    Row(
        "a path that is there is no pattern",
        "    patterns = [one for one in wild if not spelt[one.path]]",
        "    patterns = wild",
        "test_restore.py::test_a_path_that_is_there_is_no_pattern",
    ),
    Row(
        "10: a plan of a restore writes nothing",
        "Foresight(wish, find_target(wish, drive, set_name)",
        "Foresight(wish, make_target(wish, drive, set_name)",
        "test_restore.py::test_a_plan_says_what_a_restore_then_does",
    ),
    Row(
        "a plan reads what has the same size before it calls it the same",
        "return here.stat(name).st_size == number(words, \"size\") and same_content(",
        "return here.stat(name).st_size == number(words, \"size\") or same_content(",
        "test_restore.py::test_a_plan_says_what_merging_would_set_aside",
    ),
    Row(
        "why knows that the drive itself is not copied",
        "or holds dated copies\" if stamp(info) in closed else \"\"",
        "or holds dated copies\" if False else \"\"",
        "test_find.py::test_the_drive_itself_is_told",
    ),
    Row(
        "13: a path in a list that can be none ends no command in a traceback",
        "        with contextlib.suppress(ValueError):  # from a damaged list comes what can be no path",
        "        with contextlib.suppress(TypeError):",
        "test_restore.py::test_odd_words_in_the_first_line_disturb_nobody",
    ),
    Row(
        "the last pattern that matches decides, and its place is told",
        "for one in reversed(patterns) if excluded(path, is_folder, [one._replace(includes=False)])",
        "for one in patterns if excluded(path, is_folder, [one._replace(includes=False)])",
        "test_find.py::test_the_rule_that_decides_is_told_with_its_place",
    ),
    Row(
        "restore.sh: no file that waits is written through a link that comes after it",
        "        flush \"$@\"     # none of these may be written through the link\n        set --\n",
        "",
        "test_restore_script.py::test_no_file_that_waits_for_others_is_written_through_a_link_that_comes_after_it",
    ),
    Row(
        "restore.sh: no file is read through a link on the drive",
        " && inside \"$set_folder\" \"$place/$path\"",
        "",
        "test_restore_script.py::test_no_file_that_waits_for_others_is_written_through_a_link_that_comes_after_it",
    ),
    Row(
        "verify: a check of one date is no check of all",
        "count_in(one, \"damaged\"), sample is not None or one.get(\"whole\") is True)",
        "count_in(one, \"damaged\"), True)",
        "test_recovery_plan.py::test_one_date_that_was_read_is_not_said_to_be_all_of_them",
    ),
    Row(
        "13: a date that is in no calendar stops nothing",
        "    except ValueError:  # somebody renamed it to a day that no month has\n",
        "    except ZeroDivisionError:\n",
        "test_recovery_plan.py::test_a_date_that_is_in_no_calendar_stops_nothing",
    ),
    Row(
        "status: a newer date whose lists are damaged needs attention",
        "    if seen.unlisted:\n",
        "    if False:\n",
        "test_rehearse.py::test_a_newer_date_whose_lists_are_damaged_is_not_passed_over_in_silence",
    ),
    Row(
        "a rehearsal says what newer date it passed over",
        "                                            for name in newer_unlisted(snapshots, newest)))",
        "                                            for name in ()))",
        "test_rehearse.py::test_a_newer_date_whose_lists_are_damaged_is_not_passed_over_in_silence",
    ),
    Row(
        "the recovery page tells of a rehearsal",
        "    return with_papers(answer, drive, set_name) if noted else answer\n\n\ndef run_rehearse",
        "    return answer\n\n\ndef run_rehearse",
        "test_rehearse.py::test_random_files_come_back_are_compared_and_noted_and_nothing_is_left",
    ),
    Row(
        "section 7: a repair is noted as complete when the drive has kept it",
        "            if not self.trial:\n                flush_drive(self.drive.path)\n",
        "",
        "test_repair.py::test_what_the_drive_may_not_have_kept_is_not_noted_as_healed_for_good",
    ),
    Row(
        "section 7: a disk that spoils files is told, be all of it healed",
        "    (problems if checked.damage else lines).append(verdict)",
        "    (problems if done.left else lines).append(verdict)",
        "test_repair.py::test_a_disk_that_spoils_files_is_news_also_for_who_wants_to_hear_no_good_ones",
    ),
    Row(
        "status: damage in older dates needs attention",
        "    elif seen.rotten:\n",
        "    elif False:\n",
        "test_repair.py::test_status_needs_attention_while_older_dates_are_damaged",
    ),
    Row(
        "a rehearsal makes no folder of its own at a place that is none",
        "        if info is None or not is_folder(info):\n            raise UsageError(f\"there is no folder {show(place)}",
        "        if False:\n            raise UsageError(f\"there is no folder {show(place)}",
        "test_rehearse.py::test_a_place_that_is_no_folder_is_refused",
    ),
)


class Statement(NamedTuple):
    """A statement at the top of the program, with what stands above it: where it begins in the text, and on which line."""

    at: int
    line: int
    code: CodeType


class Program:
    """The program, compiled one statement at a time: a row changes one or two of them, and all of it takes as long as the average test."""

    def __init__(self, text: str, path: str) -> None:
        self.text, self.path = text, path
        lines = [0, *itertools.accumulate(len(line) for line in text.splitlines(keepends=True))]
        ends = [one.end_lineno or one.lineno for one in ast.parse(text).body]
        begins = [0, *ends[:-1]]
        self.statements = [Statement(lines[first], first, self.compiled(text[lines[first]:lines[last]], first))
                           for first, last in zip(begins, ends)]  # fmt: skip
        self.starts = [one.at for one in self.statements]

    def compiled(self, text: str, line: int) -> CodeType:
        """Compile a part of the program that begins after so many lines."""
        return compile("\n" * line + text, self.path, "exec", dont_inherit=True)

    def spoilt(self, row: Row) -> List[CodeType]:
        """Give all statements, those that a row changes compiled anew. Raises SyntaxError."""
        at = self.text.index(row.piece)
        first, last = (bisect.bisect_right(self.starts, one) for one in (at, at + len(row.piece) - 1))
        begins = self.statements[first - 1]
        ends = self.starts[last] if last < len(self.starts) else len(self.text)
        changed = self.compiled(self.text[begins.at:ends].replace(row.piece, row.instead), begins.line)
        return [*(one.code for one in self.statements[:first - 1]), changed, *(one.code for one in self.statements[last:])]


class Spoilt(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads the program of one row."""

    def __init__(self, path: Path, statements: Sequence[CodeType]) -> None:
        self.path, self.statements = path, statements

    def find_spec(self, name: str, _path: Any, _target: Optional[ModuleType] = None) -> Optional[importlib.machinery.ModuleSpec]:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.path.stem else None

    def exec_module(self, module: ModuleType) -> None:
        for statement in self.statements:
            exec(statement, module.__dict__)


class Place(NamedTuple):
    """A folder with a copy of the tests and room for a sabotaged snapback.py; rows take turns in it."""

    folder: Path

    def prepare(self) -> None:
        """Copy the tests."""
        self.folder.mkdir(mode=0o755)
        shutil.copytree(HERE, self.folder / "tests")

    def start(self, row: Row, whole: Program) -> int:
        """Let a forked process run the test on the sabotaged program; give its id."""
        program = self.folder / "snapback.py"
        program.write_text(whole.text.replace(row.piece, row.instead), encoding="utf-8")
        process = os.fork()
        if process:
            return process
        code = BROKEN
        try:
            os.chdir(self.folder)
            os.environ["LOOPS"] = "" if row.in_full else "coarse"
            sys.meta_path.insert(0, Spoilt(program, whole.spoilt(row)))
            os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            options = ["-c", "tests/pytest.ini", "-q", "-x", "--no-header", "--tb=no", "-W", LOADED]
            code = int(pytest.main([*options, f"tests/{row.test}"]))
            sys.stdout.flush()
        finally:
            os._exit(code)

    def ended(self, row: Row, status: int) -> str:
        """Say what is wrong with a row whose process has ended with that status; an empty text if nothing is."""
        last = (self.folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no word"]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == pytest.ExitCode.TESTS_FAILED:
            return ""
        if status == 0 and "passed" not in last[0]:
            return ""  # skipped here: a need that this machine does not meet, and that its own run reports
        return f"{row.test} did not fail ({last[0]})"


BROKEN = 70  # no test has failed, but something here
LOADED = "ignore::pytest.PytestAssertRewriteWarning"  # pyfakefs is loaded before pytest begins


def carry_out(rows: Sequence[Row], jobs: int = 3) -> List[str]:
    """Carry out rows, so many at a time; give what is wrong with each.

    Each is a fork of this process, which has loaded pytest and compiled the program, and the compiled tests are kept until
    the end: a new Python for each row takes four times as long. One more than there are processors, as some tests wait.
    """
    path = HERE.parent / "snapback.py"
    text = path.read_text(encoding="utf-8")
    whole = Program(text, os.fspath(path))
    wrong = {row: f"its piece stands {text.count(row.piece)} times in snapback.py" for row in rows if text.count(row.piece) != 1}
    waiting = [row for row in rows if row not in wrong]
    with tempfile.TemporaryDirectory(prefix="snapback-sabotage-") as folder:
        os.chmod(folder, 0o755)  # an ordinary user's tests look in, too
        sys.dont_write_bytecode, sys.pycache_prefix = False, os.path.join(folder, "compiled")
        sys.path[:] = [path for path in sys.path if path != os.fspath(HERE)]  # the copy's modules are meant
        free = [Place(Path(folder, str(nth))) for nth in range(jobs)]
        for place in free:
            place.prepare()
        gc.freeze()  # pytest collects garbage again and again
        running: Dict[int, Tuple[Place, Row]] = {}
        while waiting or running:
            while waiting and free:
                row, place = waiting.pop(0), free.pop()
                running[place.start(row, whole)] = (place, row)
            process, status = os.wait()
            place, row = running.pop(process)
            wrong[row] = place.ended(row, status)
            free.append(place)
    return [wrong[row] for row in rows]


def main(words: Sequence[str]) -> int:
    """Carry out all rows, or those whose promise holds one of the words, and report."""
    rows = [row for row in ROWS if not words or any(word in row.promise for word in words)]
    wrong = [f"{row.promise}: {why}" for row, why in zip(rows, carry_out(rows)) if why]
    print("\n".join(wrong), end="\n" if wrong else "")
    print(f"{len(rows) - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
