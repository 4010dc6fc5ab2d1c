"""Results that others published, as points beside the study's own; no fit reads them.

requires: tables (csv)        writes: external.json, external.parquet
"""

external = [results.external()] if study.external_tables else []

if study.external_tables:

    rule external:
        output:
            results.external(),
        log:
            f"{logs}/external.log",
        benchmark:
            f"{logs}/external.tsv"
        group:
            group_of_report
        threads: threads("external")
        resources:
            **resources("external"),
        params:
            spec=spec(specs.external),
            files=lambda wildcards: source_files.digest(*map(Path, study.external_tables)),
            code=digest("external"),
            tables=lambda wildcards: study.external_tables,
        shell:
            "attempt {log:q}; retscale external --spec @<(printf %s {params.spec:q}) --tables {params.tables:q} --out {output:q}"
