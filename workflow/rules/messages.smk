"""What a run says: the logs of its jobs, and the summary of a dry run."""

from snakemake.logging import get_event, logger
from snakemake_interface_logger_plugins.common import LogEvent

# Before each command: what it prints goes to its log, which keeps all attempts, each below a header, until one ends well.
# Snakemake removes the log before an attempt, so it has a second name, LOG~, which also says that the job is unfinished.
shell.prefix("""
set -euo pipefail
attempt() {{
    log=$1
    ln -f "$log~" "$log" 2> /dev/null || :
    exec >> "$log" 2>&1
    export RETSCALE_ATTEMPT=$(($(grep -c '^--- attempt ' "$log" || :) + 1))
    echo "--- attempt $RETSCALE_ATTEMPT, $(date -u +%FT%TZ),"\\
        "$HOSTNAME${{SLURM_JOB_ID:+, Slurm job $SLURM_JOB_ID}}"
    ln -f "$log" "$log~" 2> /dev/null || : > "$log~"
}}
""")
shell.suffix('&& rm -f "$log~"')


class Summary:
    """A filter of Snakemake's messages for a dry run: no jobs one by one, but how to see them, and nothing twice."""

    def __init__(self):
        self.said = set()

    def filter(self, record):
        record.msg = str(record.msg).replace("check individual jobs above for details", "for each job: snakemake -n -p")
        new = record.msg not in self.said
        self.said.add(record.msg)
        return new and get_event(record) not in (LogEvent.JOB_INFO, LogEvent.GROUP_INFO, LogEvent.SHELLCMD)


if workflow.output_settings.dryrun and not (
    workflow.output_settings.printshellcmds or workflow.output_settings.verbose
):
    logger.addFilter(Summary())
