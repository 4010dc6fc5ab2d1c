"""The items of one in-context task that is not in a wheel or a folder; fetched once.

requires: a repository at a commit        writes: items.json, items.jsonl
"""

if study.items_to_fetch:

    rule items:
        output:
            results.items("{task}"),
        log:
            f"{logs}/items/{{task}}.log",
        benchmark:
            f"{logs}/items/{{task}}.tsv"
        localrule: fetched_here
        threads: threads("items", "task")
        resources:
            **resources("items", "task"),
        params:
            spec=spec(specs.items, "task"),
            code=digest("items"),
        shell:
            "attempt {log:q}; retscale items --spec @<(printf %s {params.spec:q}) --out {output:q}"
