"""One retrieval task: queries, corpus, judgements; fetched once.

requires: a data source, of which a folder is watched for changes        writes: task.json, queries.parquet, corpus.parquet, qrels.parquet
"""


rule task:
    input:
        lambda wildcards: study.read[wildcards.task].watched(),
    output:
        f"{out}/task/{{task}}/task.json",
    params:
        spec=spec(specs.task, "task"),
        code=digest("task"),
    log:
        f"{logs}/task/{{task}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale task --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"
