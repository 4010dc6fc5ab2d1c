"""Scores and rankings of an encoder, and of those kept during its training, on retrieval tasks.

given/: an encoder made elsewhere; step-N/: the encoder kept after N steps; length-N/: documents cut after N tokens.

requires: encoder.json, task.json and tokens of each task        writes: TASK.json, TASK.parquet, and so in step-N/ and length-N/

The tasks of a batch share one job, so that an encoder is loaded once and a process started once; a huge corpus is a batch
of its own. The results are marked `update`, so Snakemake leaves them in place and the job makes only those that no record
vouches for: adding a task to a batch runs that task only. Outputs depend on the steps that a recipe keeps and on the
further lengths of an encoder, so there is a rule for each batch and each group of encoders with the same outputs.
"""

scores = [
    results.evaluate(checkpoint, recipe, task)
    for checkpoint, recipe in study.evaluated_encoders
    for task in study.tasks
]
kept_scores = [
    results.evaluate(checkpoint, recipe, task, step)
    for checkpoint, recipe, step in study.kept_encoders
    for task in study.curve_tasks
]

length_scores = [
    results.evaluate(checkpoint, recipe, task, length=length)
    for checkpoint, recipe, task, length in study.encoders_at_lengths
]

for batch, tasks in study.batches.items():
    for group in rule_groups.of(study, tasks):

        rule:
            name:
                f"evaluate_{batch}{group.suffix}"
            input:
                # A training publishes its kept encoders together with the last one.
                encoder=lambda wildcards: results.encoder(wildcards.checkpoint, wildcards.recipe),
                tasks=[results.task(task) for task in tasks],
                tokens=[
                    results.tokens("{checkpoint}", "{recipe}", task, length)
                    for length, names in {None: tasks, **group.lengths}.items()
                    for task in names
                ],
            output:
                update([results.evaluate("{checkpoint}", "{recipe}", task) for task in tasks]),
                update(
                    [
                        results.evaluate("{checkpoint}", "{recipe}", task, step)
                        for step in group.steps
                        for task in study.in_curves(tasks)
                    ]
                ),
                update(
                    [
                        results.evaluate("{checkpoint}", "{recipe}", task, length=length)
                        for length, names in group.lengths.items()
                        for task in names
                    ]
                ),
            log:
                f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/{batch}.log",
            benchmark:
                f"{logs}/evaluate/{{checkpoint}}/{{recipe}}/{batch}.tsv"
            wildcard_constraints:
                **only(group),
            priority: given_first
            threads: threads("evaluate", "checkpoint", "recipe", about=tuple(tasks))
            resources:
                **resources("evaluate", "checkpoint", "recipe", about=tuple(tasks)),
                start=start("evaluate", "checkpoint", "recipe", about=tuple(tasks)),
            params:
                spec=spec(specs.evaluate(tasks), "checkpoint", "recipe"),
                code=digest("evaluate"),
            shell:
                "attempt {log:q}; {resources.start}retscale evaluate --spec @<(printf %s {params.spec:q}) --encoder {input.encoder:q}"
                " --tasks {input.tasks:q} --tokens {input.tokens:q} --out {output:q}"
