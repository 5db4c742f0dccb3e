#!/usr/bin/env python3
"""Find the Pythons on this machine that can run the tests: releases of CPython from 3.8 on that can make a venv.

usage: pythons.py        the oldest and the newest, as in "3.8 3.13" (one, where there is only one)
       pythons.py 3.8    the path of that one
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, Optional, Sequence, Tuple

Version = Tuple[int, int]

OLDEST_SUPPORTED: Version = (3, 8)
# Debian's Python comes without ensurepip until python3-venv is installed.
PROBE = """
import ensurepip, json, sys, venv
release = sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
print(json.dumps([release, sys.version_info[:2], sys.executable]))
"""


def candidates() -> Iterator[Path]:
    """Yield every path at which a Python may stand: the one that runs this, python3.X on PATH, pyenv's."""
    yield Path(sys.executable)
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder and Path(folder).name != "shims":  # pyenv's shims are slow, and what they start is found below
            yield from sorted(path for path in Path(folder).glob("python3.*") if re.search(r"3\.\d+$", path.name))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob("versions/*/bin/python"))


def version_of(python: Path) -> Optional[Tuple[Version, str]]:
    """Ask a Python for its version and its true path; None when it cannot run the tests."""
    try:
        answer = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0:
        return None
    release, version, path = json.loads(answer.stdout)
    return ((version[0], version[1]), path) if release and tuple(version) >= OLDEST_SUPPORTED else None


def find_pythons() -> Dict[Version, str]:
    """Map each version to the first Python that has it, oldest version first."""
    found: Dict[Version, str] = {}
    for python in dict.fromkeys(candidates()):
        answer = version_of(python)
        if answer:
            found.setdefault(*answer)
    return dict(sorted(found.items()))


def main(argv: Sequence[str]) -> int:
    """Print what the usage says; exit code 1 where no such Python is found."""
    by_name = {f"{major}.{minor}": path for (major, minor), path in find_pythons().items()}
    if argv and argv[0] in by_name:
        print(by_name[argv[0]])
    elif by_name and not argv:
        names = list(by_name)
        print(*dict.fromkeys([names[0], names[-1]]))
    else:
        wanted = argv[0] if argv else "3.8 or newer"
        print(f"no Python {wanted} here that can make a venv (on Debian: apt install python3-venv)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
