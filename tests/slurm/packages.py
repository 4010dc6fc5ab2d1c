"""What the tests in this folder need of the machine: a Slurm that nobody else uses. Run as a program, installs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Debian's package of each program; those of the second part are for accounting.
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
}
SYSTEM_SLURM = Path("/etc/slurm/slurm.conf")
# Debian asks this program whether the service of a new package may start; 101 is no.
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


def obstacle() -> str:
    """Why no Slurm of our own can run here, in one line; empty if one can."""
    if os.environ.get("SLURM_CONF") or SYSTEM_SLURM.exists():
        where = os.environ.get("SLURM_CONF") or SYSTEM_SLURM
        return f"this machine has a Slurm ({where}), which these tests leave alone"
    if os.geteuid() != 0:
        return "only root can start the daemons of Slurm"
    absent = _absent()
    return f"not installed: {' '.join(absent)}; on Debian `make test-slurm` installs them" if absent else ""


def install() -> str:
    """Install what is absent, starting no service. Why that failed, in one line; empty if it did not."""
    absent = _absent()
    if not absent or os.geteuid() != 0 or SYSTEM_SLURM.exists():
        return obstacle()
    if not shutil.which("apt-get"):
        return f"not installed: {' '.join(absent)}; only Debian's apt-get is known here"
    print(f"installing {' '.join(absent)}", flush=True)
    policy_is_ours = not SERVICE_POLICY.exists()
    if policy_is_ours:
        SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
        SERVICE_POLICY.chmod(0o755)
    try:
        for command in ("update",), ("install", "--yes", "--no-install-recommends", *absent):
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


def _absent() -> list[str]:
    # Daemons lie in /usr/sbin, which is not on everybody's PATH.
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    return sorted({package for program, package in PACKAGES.items() if not shutil.which(program, path=path)})


if __name__ == "__main__":
    if failure := install():
        print(f"the tests on a Slurm are skipped: {failure}", file=sys.stderr)
