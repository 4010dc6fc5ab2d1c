"""Hard negatives for every query of a training data set.

requires: pairs.json, and encoder.json of another study if an encoder mines or guides        writes: negatives.parquet
"""


rule mine:
    input:
        pairs=rules.pairs.output,
    output:
        results.mine("{pairs}"),
    log:
        f"{logs}/mine/{{pairs}}.log",
    benchmark:
        f"{logs}/mine/{{pairs}}.tsv"
    threads: threads("mine", "pairs")
    resources:
        **resources("mine", "pairs"),
        start=start("mine", "pairs"),
    params:
        spec=spec(specs.mine),
        files=files("mine", specs.mine),
        code=digest("mine"),
        encoder=lambda wildcards: str(study.file.mine.encoders().get("encoder", "")),
        guide=lambda wildcards: str(study.file.mine.encoders().get("guide", "")),
    shell:
        "attempt {log:q}; {resources.start}retscale mine --spec @<(printf %s {params.spec:q}) --pairs {input.pairs:q} --encoder {params.encoder:q}"
        " --guide {params.guide:q} --out {output:q}"
