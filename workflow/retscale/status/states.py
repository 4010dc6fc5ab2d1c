"""The states of a job, in the order in which they are counted."""

STATES = {
    "done": "its outputs and their records are there; they are not read",
    "running": "a process holds its folder, its log grows, or Slurm runs it",
    "pending": "in Slurm's queue",
    "failed": "its last attempt ended with an error",
    "stopped": "its last attempt ended without an error of its own, such as one that was killed",
    "waiting": "not started, or to be started again",
}
