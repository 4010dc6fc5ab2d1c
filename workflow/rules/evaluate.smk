"""Scores and rankings of an encoder on retrieval tasks.

given/: of an encoder made elsewhere; step-N/: of the encoder that was kept after N steps.

requires: encoder.json, task.json of each task        writes: TASK.json, TASK.parquet

A batch of tasks shares one job, so that the encoder is loaded once; a huge corpus is a batch of its own. The results
are marked `update`, so Snakemake leaves them in place and the job redoes only what its records do not vouch for:
a task added to a batch costs that task.
"""

scores = [
    results.evaluate(checkpoint, recipe, task)
    for checkpoint, recipe in study.evaluated_encoders
    for task in study.tasks
]

for batch, tasks in study.batches.items():

    rule:
        name:
            f"evaluate_{batch}"
        input:
            encoder=lambda wildcards: results.encoder(wildcards.checkpoint, wildcards.recipe),
            tasks=[results.task(task) for task in tasks],
        output:
            update([results.evaluate("{checkpoint}", "{recipe}", task) for task in tasks]),
        log:
            f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/{batch}.log",
        benchmark:
            f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/{batch}.tsv"
        threads: threads("evaluate", "checkpoint", "recipe", about=tuple(tasks))
        resources:
            **resources("evaluate", "checkpoint", "recipe", about=tuple(tasks)),
        params:
            spec=spec(specs.evaluate(tasks), "checkpoint", "recipe"),
            code=digest("evaluate"),
        shell:
            "retscale evaluate --spec @<(printf %s {params.spec:q}) --encoder {input.encoder:q} --tasks {input.tasks:q}"
            " --out {output:q} > {log:q} 2>&1"


kept_scores = [
    results.evaluate(checkpoint, recipe, task, step)
    for checkpoint, recipe, step in study.kept_encoders
    for task in study.curve_tasks
]


rule evaluate_kept:
    input:
        # With its last encoder a training publishes those that it kept.
        trained=results.finetune("{checkpoint}", "{recipe}"),
        tasks=[results.task(task) for task in study.curve_tasks],
    output:
        update([results.evaluate("{checkpoint}", "{recipe}", task, "{step}") for task in study.curve_tasks]),
    log:
        f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/step-{{step}}.log",
    benchmark:
        f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/step-{{step}}.tsv"
    threads: threads("evaluate", "checkpoint", "recipe", about=tuple(study.curve_tasks))
    resources:
        **resources("evaluate", "checkpoint", "recipe", about=tuple(study.curve_tasks)),
    params:
        spec=spec(specs.evaluate(study.curve_tasks), "checkpoint", "recipe", "step"),
        code=digest("evaluate"),
        encoder=results.finetune("{checkpoint}", "{recipe}", "{step}"),
    shell:
        "retscale evaluate --spec @<(printf %s {params.spec:q}) --encoder {params.encoder:q} --tasks {input.tasks:q}"
        " --out {output:q} > {log:q} 2>&1"
