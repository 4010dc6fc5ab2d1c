"""What the tests in this folder need of the machine: a Slurm that nobody else uses. Run as a program, installs it."""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # run as a program
import debian

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


def obstacle() -> str:
    """Why no Slurm of our own can run here, in one line; empty if one can."""
    if os.environ.get("SLURM_CONF") or SYSTEM_SLURM.exists():
        where = os.environ.get("SLURM_CONF") or SYSTEM_SLURM
        return f"this machine has a Slurm ({where}), which these tests leave alone"
    if os.geteuid() != 0:
        return "only root can start the daemons of Slurm"
    absent = debian.absent(PACKAGES)
    return f"not installed: {' '.join(absent)}; on Debian `make test-slurm` installs them" if absent else ""


if __name__ == "__main__":
    absent = debian.absent(PACKAGES)
    possible = absent and os.geteuid() == 0 and not SYSTEM_SLURM.exists()
    if failure := debian.install(absent) if possible else obstacle():
        print(f"the tests on a Slurm are skipped: {failure}", file=sys.stderr)
