"""One retrieval task: queries, corpus, judgments; fetched once.

requires: a data source        writes: task.json, queries.parquet, corpus.parquet, qrels.parquet
"""


rule task:
    output:
        results.task("{task}"),
    log:
        f"{logs}/task/{{task}}.log",
    benchmark:
        f"{logs}/task/{{task}}.tsv"
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
