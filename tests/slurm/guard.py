"""Ends a cluster when whoever started it closes our stdin, be it on purpose or by being killed.

usage: guard.py FOLDER      processes are killed that have SLURM_CONF=FOLDER/slurm.conf; then FOLDER is removed
"""

import shutil
import subprocess
import sys
from pathlib import Path

import processes

folder = Path(sys.argv[1])
sys.stdin.read()
processes.kill(SLURM_CONF=str(folder / "slurm.conf"))
if (folder / "disk").is_mount():
    subprocess.run(["umount", "--lazy", str(folder / "disk")], check=True)  # the last process may still be ending
shutil.rmtree(folder)
