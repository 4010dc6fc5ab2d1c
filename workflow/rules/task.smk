"""One retrieval task: queries, corpus, judgments; fetched once, or cut from a task that is.

requires: a data source; for a cut, task.json of the whole task, and the rankings of encoders on it
writes: task.json, queries.parquet, corpus.parquet, qrels.parquet
"""

from retscale.study import cuts


rule task:
    output:
        results.task("{task}"),
    log:
        f"{logs}/task/{{task}}.log",
    benchmark:
        f"{logs}/task/{{task}}.tsv"
    wildcard_constraints:
        task=one_of(study.tasks_to_read.keys() - study.pools.keys()),
    priority: 2  # they are short, and every evaluation waits for them
    localrule: fetched_here
    threads: threads("task", "task")
    resources:
        **resources("task", "task"),
    params:
        spec=spec(specs.task, "task"),
        files=files("task", specs.task, "task"),
        code=digest("task"),
    shell:
        "attempt {log:q}; retscale task --spec @<(printf %s {params.spec:q}) --out {output:q}"


if study.pools:

    rule task_cut:
        input:
            whole=lambda wildcards: cuts.whole(study, wildcards.task, results),
            runs=lambda wildcards: cuts.runs(study, wildcards.task, results),
        output:
            results.task("{task}"),
        log:
            f"{logs}/task/{{task}}.log",
        benchmark:
            f"{logs}/task/{{task}}.tsv"
        wildcard_constraints:
            task=one_of(study.pools),
        threads: threads("task", "task")
        resources:
            **resources("task", "task"),
        params:
            spec=spec(specs.task, "task"),
            code=digest("task"),
        shell:
            "attempt {log:q}; retscale task --spec @<(printf %s {params.spec:q}) --whole {input.whole:q} --runs {input.runs:q} --out {output:q}"
