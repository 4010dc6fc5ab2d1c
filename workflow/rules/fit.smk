"""Trends, correlations and comparisons.

requires: collect.json        writes: fit.json, each table as csv and parquet
"""


rule fit:
    input:
        collect=rules.collect.output,
    output:
        results.fit(),
    log:
        f"{logs}/fit.log",
    benchmark:
        f"{logs}/fit.tsv"
    group:
        group_of_report
    threads: threads("fit")
    resources:
        **resources("fit"),
    params:
        spec=spec(specs.fit),
        code=digest("fit"),
    shell:
        "attempt {log:q}; retscale fit --spec @<(printf %s {params.spec:q}) --collect {input.collect:q} --out {output:q}"
