"""How the executor for Slurm starts."""

import threading
from unittest.mock import MagicMock

from snakemake_executor_plugin_retscale import Executor


def test_its_thread_starts_when_all_that_it_reads_is_there(tmp_path, monkeypatch):
    """It would end with an error that nobody hears, and the driver would wait for ever."""
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(Executor, "_wait_thread", lambda self: seen.append((self.queue, self.rows, self.urgent)))
    monkeypatch.setattr(threading.Thread, "start", lambda thread: thread.run())
    workflow = MagicMock(workdir_init=tmp_path, main_snakefile="Snakefile")
    workflow.remote_execution_settings = MagicMock(jobscript=None, jobname="{jobid}", max_status_checks_per_second=1)
    Executor(workflow, MagicMock())
    assert len(seen) == 1
