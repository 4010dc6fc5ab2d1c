"""Results that others published, as points beside the study's own; no fit reads them.

requires: tables (csv)        writes: external.json, external.parquet
"""

external = [results.external()] if study.external else []

if study.external:

    rule external:
        output:
            results.external(),
        log:
            f"{logs}/external.log",
        benchmark:
            f"{logs}/external.tsv"
        params:
            spec=spec(specs.external),
            files=lambda wildcards: outside.digest(*map(Path, study.external)),
            code=digest("external"),
            tables=lambda wildcards: study.external,
        shell:
            "retscale external --spec @<(printf %s {params.spec:q}) --tables {params.tables:q} --out {output:q} > {log:q} 2>&1"
