"""All results as tidy tables.

requires: every card, encoder, evaluation and in-context score
writes: collect.json, checkpoints/training/scores/per_query/icl.parquet
"""


rule collect:
    input:
        cards=cards,
        encoders=encoders,
        scores=scores,
        icl=icl_scores,
    output:
        f"{out}/collect/collect.json",
    params:
        spec=spec(specs.collect),
        code=digest("collect"),
    log:
        f"{logs}/collect.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale collect --spec {params.spec:q} --cards {input.cards:q} --encoders {input.encoders:q}"
        " --scores {input.scores:q} --icl {input.icl:q} --out {output:q} > {log:q} 2>&1"
