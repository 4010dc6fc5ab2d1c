"""One file of a git repository at a commit.

The id of a commit is a hash of all that lies below it, and git computes anew the id of every object it receives. So
either the file comes out as it was committed or not at all, whoever serves it.
"""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from retscale.common.terminal import say
from retscale.offline import TOKENS

WAITS_S = (5, 30)  # before the second and the third try
# Protocol 2 lets a client ask for any object; a transfer below 1 kB/s for a minute has stalled.
SETTINGS = {"protocol.version": 2, "http.lowSpeedLimit": 1000, "http.lowSpeedTime": 60}
# The repository is public, so nobody is asked for a name or a password.
ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": ""}
# How git puts it that what arrived has other ids than what was asked for; and what a second try would not change.
ALTERED = "bad (object|revision)|did not send all necessary"
FINAL = f"{ALTERED}|not our ref|unadvertised|not found|not appear to be a git|dubious ownership|not read Username"


class FetchError(Exception):
    """Why the file cannot be fetched, in one line."""


def read(url: str, commit: str, path: str, work: Path) -> tuple[bytes, str]:
    """The bytes of `path` at `commit` and their id in git; FetchError if they cannot be had.

    Only listings and this one file are transferred, where the server can select (GitHub can). What is fetched lies in
    `work` meanwhile; nothing of it is left.
    """
    with tempfile.TemporaryDirectory(dir=work) as folder:
        git(folder, "init", "--quiet", "--bare", "--template=")
        git(folder, "remote", "add", "origin", url)
        fetch(folder, "--depth=1", "--filter=blob:none", commit)
        blob = git(folder, "rev-parse", f"{commit}:{path}").decode().strip()
        fetch(folder, blob)
        return git(folder, "cat-file", "blob", blob), blob


def fetch(folder: str, *objects: str) -> None:
    """Fetch objects; where the connection breaks or the server is busy, again a little later."""
    for wait in (*WAITS_S, None):
        try:
            git(folder, "fetch", "--quiet", "--no-tags", "origin", *objects)
            return
        except FetchError as error:
            if wait is None or re.search(FINAL, str(error)):
                raise
            say(f"{error}; trying again in {wait} s")
            time.sleep(wait)


def git(folder: str, *arguments: str) -> bytes:
    """What git prints, run on the repository `folder`; FetchError with its complaint if it fails."""
    settings = [option for key, value in SETTINGS.items() for option in ("-c", f"{key}={value}")]
    command = ["git", f"--git-dir={folder}", *settings, *arguments]
    try:
        environment = {name: value for name, value in os.environ.items() if name not in TOKENS} | ENVIRONMENT
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise FetchError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        complaint = next(
            (line for line in lines if line.startswith(("fatal: ", "error: "))), lines[-1] if lines else ""
        )
        if re.search(ALTERED, complaint):
            complaint = f"the repository is damaged or altered: what it sent does not match its id ({complaint})"
        raise FetchError(complaint or f"git {arguments[0]} exited with status {error.returncode}") from None
