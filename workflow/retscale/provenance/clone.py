"""The git clone that the running code belongs to."""

import os
import subprocess
from pathlib import Path

from retscale.provenance.code import PACKAGE
from retscale.provenance.schema import Git

UNKNOWN: Git = {"commit": "unknown", "dirty": None}
# Where git would look instead, if it is this process's parent.
ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")


def state(package: Path = PACKAGE) -> Git:
    """The commit, and whether the folder of rules and code around `package` differs from it or has more files.

    Unknown unless that folder lies at the root of its clone, and in the commit: that of another repository, which a copy
    of the code has been put into, does not name this code.
    """
    folder = package.parent
    root = folder.parent
    if not (root / ".git").exists():
        return UNKNOWN
    try:
        commit, _ = _git(root, "rev-parse", "HEAD", f"HEAD:{folder.name}/{package.name}").split()
        changes = _git(root, "--no-optional-locks", "status", "--porcelain", "--", folder.name)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
