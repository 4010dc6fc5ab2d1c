"""Results that others published, as points beside the study's own; no fit reads them.

requires: tables (csv), and files of mteb        writes: external.json, external.parquet
"""

external = [results.external()] if study.external_tables else []
# Not inputs, since no rule makes these files.
external_files = source_files.external(study)

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
            files=lambda wildcards: source_files.digest(*external_files),
            code=digest("external"),
            tables=lambda wildcards: list(map(str, external_files)),
        shell:
            # As a list in a file, since the paths of a folder of mteb exceed a command line.
            "attempt {log:q}; retscale external --spec @<(printf %s {params.spec:q})"
            " --tables @<(printf '%s\\n' {params.tables:q}) --out {output:q}"
