"""The batch script of a job, and the file in which it leaves its exit status."""

import shlex
from pathlib import Path

from retscale.cluster.site import Site

# Before its time is up a job is asked to stop, so that a training can save its state: seconds, and at most this share
# of the time.
GRACE_S, GRACE_SHARE = 120, 0.1

# Slurm's SIGTERM at a preemption reaches every process; that before the time limit only the shell, which hands it on.
# The shell itself lives until its command has ended. A job that Slurm starts again forgets how the first start ended.
SCRIPT = """\
#!/bin/bash
status_file={status}/$SLURM_JOB_ID
rm -f "$status_file"
trap 'trap : TERM; kill -TERM 0' TERM
{setup}
( trap : TERM; {command} ) &
while :; do
  wait $!
  status=$?
  kill -0 $! 2> /dev/null || break
done
echo $status > "$status_file.new" && mv "$status_file.new" "$status_file"
exit $status
"""


def script(command: str, site: Site, status: Path) -> str:
    """The job that runs the shell `command`; its exit status goes to a file named after the job in the folder `status`."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()]
    if site.scratch:
        folder = f'"{site.scratch}"'  # may name variables of the job
        exports += [f"mkdir -p {folder}; export TMPDIR={folder} RETSCALE_SCRATCH={folder}"]
    return SCRIPT.format(status=shlex.quote(str(status)), setup="\n".join([site.setup, *exports]), command=command)


def options(name: str, comment: str, resources: dict, cores: int, site: Site, folder: Path, logs: Path) -> list[str]:
    """Options of sbatch for a job with Snakemake's `resources`, run in `folder`."""
    gpus, minutes = resources.get("gpu", 0), resources.get("runtime", 60)
    nodes = site.gpu if gpus and site.gpu else site.cpu
    grace = min(GRACE_S, round(60 * minutes * GRACE_SHARE))
    chosen = [
        f"--job-name={name}",
        f"--comment={comment}",
        f"--chdir={folder}",
        f"--output={logs}/%j.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=B:TERM@{grace}",
        f"--nodes={resources.get('nodes', 1)}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={min(cores, nodes.cores)}",
        f"--mem={min(resources.get('mem_mb', 2000), int(1000 * nodes.memory_gb))}",
        f"--time={minutes}",
    ]
    if gpus:
        chosen.append(f"--gpus-per-node={f'{site.gpu.model}:' if site.gpu and site.gpu.model else ''}{gpus}")
    if partition := resources.get("slurm_partition"):
        chosen.append(f"--partition={partition}")
    if site.account:
        chosen.append(f"--account={site.account}")
    return [*chosen, *site.options]
