"""Hard negatives for every query of a training data set.

requires: pairs.json, and encoder.json of another study if an encoder mines or guides        writes: negatives.parquet
"""


rule mine:
    input:
        pairs=rules.pairs.output,
        encoder=f"{study.file.mine.encoder}/encoder.json" if study.file.mine.encoder else [],
        guide=f"{study.file.mine.guide}/encoder.json" if study.file.mine.guide else [],
    output:
        f"{out}/mine/{{pairs}}/negatives.parquet",
    params:
        spec=spec(specs.mine),
        code=digest("mine"),
    log:
        f"{logs}/mine/{{pairs}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale mine --spec {params.spec:q} --pairs {input.pairs:q} --encoder {input.encoder:q} --guide {input.guide:q}"
        " --out {output:q} > {log:q} 2>&1"
