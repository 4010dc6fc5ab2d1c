"""Programs of Debian that some tests need: which are absent, and their installation."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Debian asks this program whether the service of a new package may start; 101 is no.
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


def absent(packages: Mapping[str, str]) -> list[str]:
    """Those of `packages`, by program, whose program is not there."""
    # Daemons lie in /usr/sbin, which is not on everybody's PATH.
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    return sorted({package for program, package in packages.items() if not shutil.which(program, path=path)})


def install(packages: list[str]) -> str:
    """Install them, starting no service. Why that failed, in one line; empty if it did not."""
    names = " ".join(packages)
    if os.geteuid() != 0:
        return f"not installed: {names}; only root can install them"
    if not shutil.which("apt-get"):
        return f"not installed: {names}; only Debian's apt-get is known here"
    print(f"installing {names}", flush=True)
    policy_is_ours = not SERVICE_POLICY.exists()
    if policy_is_ours:
        SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
        SERVICE_POLICY.chmod(0o755)
    try:
        for command in ("update",), ("install", "--yes", "--no-install-recommends", *packages):
            done = subprocess.run(
                ["apt-get", "--quiet", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                return f"apt-get {command[0]} failed: {done.stdout.strip().splitlines()[-1]}"
    finally:
        if policy_is_ours:
            SERVICE_POLICY.unlink()
    return ""
