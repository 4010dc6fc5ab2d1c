"""What is said of a job in one line: its name, and why it failed."""

import os
import re
from pathlib import Path

from retscale.common.phrase import counted

TAIL_BYTES = 65536

# What a refusal of sbatch is about, and the key of the site file that says it.
KEYS = {
    r"partition": "{kind}.partition",
    r"account": "account",
    r"time limit|timelimit": "{kind}.hours",
    r"memory": "{kind}.memory_gb",
    r"generic resource|gres": "gpu.model or gpu.gpus",
    r"node configuration|cpu count|more processors|nodes": "{kind}.memory_gb, {kind}.cores{gpus}",
    r"qos": "options",
}


def refusal(message: str, site_file: str, resources: dict, cores: int) -> str:
    """Why sbatch refused a job with these resources, and the line of the site file to edit."""
    gpus = resources.get("gpu", 0)
    keys = next((key for pattern, key in KEYS.items() if re.search(pattern, message, re.IGNORECASE)), "")
    key = keys.format(kind="gpu" if gpus else "cpu", gpus=" or gpu.gpus" if gpus else "")
    nodes = resources.get("nodes", 1)
    asked = [
        f"{nodes} nodes, of each" if nodes > 1 else "",
        counted(gpus, "GPU") if gpus else "",
        counted(cores, "core"),
        f"{resources.get('mem_mb', 0) / 1000:g} GB",
        f"{resources.get('runtime', 0)} minutes",
        f"partition {resources.get('slurm_partition') or '(default)'}",
    ]
    advice = f"; correct {key} in {site_file}" if key else ""
    return f"Slurm refuses it ({message}){advice}; it asks for {', '.join(filter(None, asked))}"


def last_line(log: Path, after: float) -> str:
    """The last line with text of a log that was written to `after` that time; empty without one."""
    try:
        if log.stat().st_mtime < after:
            return ""
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
