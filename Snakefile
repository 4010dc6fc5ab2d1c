"""retscale: pretrained checkpoints -> encoders -> retrieval and in-context scores -> trends, each figure auditable.

snakemake --profile local                                    the embedded study, config/mini.yaml
snakemake --profile local --configfile config/smoke.yaml     another study
snakemake --profile slurm --configfile config/portes2025.yaml
"""

from snakemake.utils import min_version

min_version("9.27")

if not workflow.configfiles:

    configfile: "config/mini.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/messages.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/text.smk"
include: "workflow/rules/checkpoint.smk"
include: "workflow/rules/pairs.smk"
include: "workflow/rules/mine.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/encoder.smk"
include: "workflow/rules/task.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/reference.smk"
include: "workflow/rules/leakage.smk"
include: "workflow/rules/items.smk"
include: "workflow/rules/icl.smk"
include: "workflow/rules/collect.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/figure.smk"
include: "workflow/rules/report.smk"


# Every result is a target of its own: Snakemake does not miss a deleted file that only other outputs were made from.
rule all:
    default_target: True
    input:
        results.report(),
        figures,
        scores,
        kept_scores,
        reference_scores,
        length_scores,
        leaks,
        encoders,
        cards,
    message:
        "{out}/report.html is complete"


onstart:  # a dry run may plan what is not there yet
    preflight.check_files(study)
    overview.external(study)  # reads the published tables, so that an invalid one stops the run here
    remove_forced()


onsuccess:
    # Of a run for other targets the report is not part.
    if any(job.rule.name == "all" for job in workflow.dag.jobs):
        print(f"\nreport   {results.report()}\nfigures  {out}/figure/\naudit    retscale audit {figures[0]}\n")
