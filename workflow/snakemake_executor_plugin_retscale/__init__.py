"""Snakemake's executor for Slurm: `executor: retscale` in profiles/slurm/config.yaml.

The official plugin loses its jobs when the controller does not answer, names all jobs of a run alike, and tries again
what Slurm will always refuse. Here one thread submits and asks: what Slurm cannot answer now waits. A job leaves its exit
status in a file, so its end is noticed without accounting; squeue tells the jobs that end without a word. A job of an
earlier driver that still runs is adopted.
"""

import asyncio
import math
import shutil
import time
from collections import deque
from collections.abc import AsyncGenerator
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.logging import LoggerExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings
from snakemake_interface_executor_plugins.workflow import WorkflowExecutorInterface

from retscale.cluster import check, lines, names, script, site, slurm
from retscale.cluster.slurm import Row
from retscale.common.terminal import visible
from retscale.errors import UserError

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)

FILES_EVERY_S = 2.0  # looks for exit statuses
SLURM_EVERY_S = 20.0  # asks squeue
SILENT_S = 60.0  # how long a job may be away from squeue before it counts as failed
REMIND_S = 300.0  # says again that Slurm does not answer


class Executor(RemoteExecutor):
    def __init__(self, workflow: WorkflowExecutorInterface, logger: LoggerExecutorInterface):
        self.queue: deque[JobExecutorInterface] = deque()
        self.folder = Path(".snakemake/slurm").absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.workdir = Path(workflow.workdir_init)
        self.rows: dict[str, Row] = {}
        self.sites: dict[str, site.Site] = {}
        self.asked = self.ask_at = self.reminded = -math.inf
        self.unanswered_since: float | None = None
        self.urgent = False  # a job has failed, and squeue knows whether Slurm starts it again
        if lacking := [command for command in slurm.COMMANDS if not shutil.which(command)]:
            raise WorkflowError(f"{lacking[0]} is not on the PATH; start Snakemake on a node that submits to Slurm")
        super().__init__(workflow, logger)  # starts the waiting thread, so all of the above must be there

    def run_job(self, job: JobExecutorInterface) -> None:
        self.queue.append(job)  # the waiting thread alone talks to Slurm

    async def sleep(self) -> None:
        """Until the next look, or until there is a job to submit."""
        end = time.monotonic() + FILES_EVERY_S
        while self.wait and time.monotonic() < end and not (self.queue and self.unanswered_since is None):
            await asyncio.sleep(0.1)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        try:
            now = time.monotonic()
            if (self.queue or active_jobs) and (self.urgent or now >= self.ask_at):
                self.rows = {row.id: row for row in slurm.jobs()}
                self.asked, self.ask_at, self.urgent = now, now + SLURM_EVERY_S, False
                self._answered()
            while self.queue and self.wait and self.unanswered_since is None:
                self._submit(self.queue[0])
                self.queue.popleft()
        except slurm.Unanswered as error:
            self._unanswered(str(error))
        except (slurm.Refused, UserError) as error:  # of squeue, or the site file has become unreadable
            raise WorkflowError(str(error)) from None
        for info in active_jobs:
            if not self._ended(info):
                yield info

    def _submit(self, job: JobExecutorInterface) -> None:
        name, comment = self._name(job), self._comment(job)
        same = [row for row in self.rows.values() if row.queued and row.name == name and self._is_here(row)]
        adopted = next((row for row in same if row.comment == comment and row.state != "COMPLETING"), None)
        if adopted:
            self.logger.info(f"{name}: job {adopted.id} of an earlier driver still does this; it is adopted")
            self._report(job, adopted.id)
            return
        resources, cores = dict(job.resources.items()), job.threads
        site_file = str(resources.get("site", ""))
        try:
            cluster = self._site(site_file)
            options = script.options(name, comment, resources, cores, cluster, self.workdir, self.folder)
            if same:
                options.append(f"--dependency=afterany:{':'.join(row.id for row in same)}")
            id = slurm.submit(script.script(self.format_job_exec(job), cluster, self.folder), options)
        except slurm.Refused as error:
            self._fail(job, f"{name}: {lines.refusal(str(error), site_file, resources, cores)}", again=False)
            return
        waits = f"; it waits for {', '.join(row.id for row in same)}, an earlier one of this name" if same else ""
        self.logger.info(f"{name}: job {id} is submitted{waits}")
        self._report(job, id)

    def _report(self, job: JobExecutorInterface, id: str) -> None:
        aux = {"reported": time.monotonic(), "time": time.time(), "missing": None}
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=id, aux=aux))

    def _ended(self, info: SubmittedJobInfo) -> bool:
        """Whether the job has ended; if so, Snakemake is told how."""
        id, status = info.external_jobid, self._status(info.external_jobid)
        if status == 0:
            return self._succeed(info)
        if self.asked <= info.aux["reported"]:  # squeue has not been asked since
            self.urgent |= status is not None
            return False
        row = self.rows.get(id)
        state = row.state if row else ""
        if state in slurm.QUEUED:
            info.aux["missing"] = None
            self.urgent |= status is not None  # it ends, or Slurm starts it again
            return False
        if state == "COMPLETED":
            return self._succeed(info)
        if state in slurm.INTERRUPTED or (not row and status is None):
            info.aux["missing"] = info.aux["missing"] or self.asked
            if self.asked - info.aux["missing"] < SILENT_S:
                return False
        self._fail(info.job, f"{self._name(info.job)}: job {id} {self._reason(info, state, row, status)}", again=True)
        return True

    def _succeed(self, info: SubmittedJobInfo) -> bool:
        for path in (self.folder / info.external_jobid, self._log(info.external_jobid)):
            path.unlink(missing_ok=True)
        self.report_job_success(info)
        return True

    def _reason(self, info: SubmittedJobInfo, state: str, row: Row | None, status: int | None) -> str:
        """How a job failed: what Slurm says, the last line of its log, and where the log is."""
        how = {
            "TIMEOUT": "reached its time limit",
            "CANCELLED": "was cancelled (to stop the study, stop this Snakemake with Ctrl-C)",
            "OUT_OF_MEMORY": "ran out of memory",
            "NODE_FAIL": "lost its node",
        }.get(state, f"failed with status {status}" if status is not None else "vanished from Slurm without a status")
        node = f" on {row.node}" if row and row.node else ""
        logs = [Path(log) for log in info.job.log] if info.job.log else []
        for log in [*logs, self._log(info.external_jobid)]:
            if line := lines.last_line(log, info.aux["time"]):
                return f"{how}{node}: {visible(line)} (log: {log})"
        return f"{how}{node}"

    def _fail(self, job: JobExecutorInterface, message: str, again: bool) -> None:
        tries = job.restart_times + 1
        if not again:
            job.attempt = tries
        follows = f"; try {job.attempt + 1} of {tries} follows" if job.attempt < tries else ""
        self.logger.error(f"{message}{follows}")
        self.workflow.scheduler.error_callback(job)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        ids = [info.external_jobid for info in active_jobs]
        self.queue.clear()
        try:
            slurm.cancel(ids)
        except (slurm.Unanswered, slurm.Refused) as error:
            self.logger.error(f"could not cancel the jobs ({error}); do it with: scancel {' '.join(ids)}")

    def _unanswered(self, message: str) -> None:
        now = time.monotonic()
        self.ask_at, self.urgent = now + SLURM_EVERY_S / 2, False
        if self.unanswered_since is None:
            self.unanswered_since = now
        if now - self.reminded > REMIND_S:
            self.reminded = now
            self.logger.warning(
                f"Slurm does not answer ({message}); jobs that run go on, and submissions wait until it does"
            )

    def _answered(self) -> None:
        if self.unanswered_since is not None:
            self.logger.info(f"Slurm answers again after {time.monotonic() - self.unanswered_since:.0f} s")
            self.unanswered_since, self.reminded = None, -math.inf

    def _site(self, file: str) -> site.Site:
        """The site file, compared with Slurm as it is read; what Slurm would refuse is said before it does."""
        if file not in self.sites:
            self.sites[file] = site.read(Path(file))
            for problem in check.problems(self.sites[file], slurm.partitions(), file):
                self.logger.warning(f"{problem}; Slurm may refuse such jobs")
        return self.sites[file]

    def _status(self, id: str) -> int | None:
        try:
            return int((self.folder / id).read_text())
        except (OSError, ValueError):
            return None

    def _log(self, id: str) -> Path:
        return self.folder / f"{id}.log"

    def _name(self, job: JobExecutorInterface) -> str:
        """STUDY/STAGE/WILDCARDS, as the log is named; of a group the study and its stages."""
        logs = sorted(log.removeprefix("logs/").removesuffix(".log") for part in _parts(job) for log in part.log)
        if not job.is_group():
            return logs[0]
        return f"{logs[0].partition('/')[0]}/{'+'.join(sorted({part.rule.name for part in _parts(job)}))}"

    def _comment(self, job: JobExecutorInterface) -> str:
        """This clone and what the job does there: equal only for jobs that would make the same files in the same way."""
        work = sorted(f"{part.rule.name} {list(part.output)} {part.shellcmd}" for part in _parts(job))
        return names.place(self.workdir) + names.digest(*work)

    def _is_here(self, row: Row) -> bool:
        return row.comment.startswith(names.place(self.workdir))


def _parts(job: JobExecutorInterface) -> list[JobExecutorInterface]:
    return list(job.jobs) if job.is_group() else [job]
