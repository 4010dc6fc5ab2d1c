"""Which texts of the tasks also occur in the training data.

requires: pairs.json of each data set, task.json of each task        writes: TASK.json, TASK.parquet

One job for all tasks, so that the training data are read once. Its results are marked `update` like those of `evaluate`, so
adding a task runs that task only, and no training depends on it.
"""

leaks = [results.leakage(task) for task in sorted(study.tasks)] if study.pairs else []


rule leakage:
    input:
        pairs=expand(rules.pairs.output, pairs=sorted(study.pairs)),
        tasks=expand(rules.task.output, task=sorted(study.tasks)),
    output:
        update(leaks),
    log:
        f"{logs}/leakage.log",
    benchmark:
        f"{logs}/leakage.tsv"
    threads: threads("leakage")
    resources:
        **resources("leakage"),
    params:
        spec=spec(specs.leakage),
        code=digest("leakage"),
    shell:
        "attempt {log:q}; retscale leakage --spec @<(printf %s {params.spec:q}) --pairs {input.pairs:q} --tasks {input.tasks:q} --out {output:q}"
