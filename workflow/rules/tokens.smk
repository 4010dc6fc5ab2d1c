"""The texts of tasks and of training data as token ids, which all later jobs map from disk.

requires: card.json, or encoder.json of an encoder made elsewhere; task.json of each task, or pairs.json
writes: TASK.json, TASK.passage.ids, and so in length-N/, for documents cut after N tokens;
training/PAIRS.json, training/PAIRS.{query,passage}.ids, training/PAIRS.copies.npy

Tokens depend on tokenizer, prompt and text only, but it is unknown which checkpoints share a tokenizer until they are
obtained. So each encoder has jobs of its own; of several with the same work the first does it, while the others wait and
then link to its files. Batches are those of `evaluate`, and results are marked `update` as there.
"""


rule tokens:
    input:
        card=results.checkpoint("{checkpoint}"),
        pairs=rules.pairs.output,
    output:
        results.training_tokens("{checkpoint}", "{recipe}", "{pairs}"),
    log:
        f"{logs}/tokens/{{checkpoint}}/{{recipe}}/{paths.TRAINING}/{{pairs}}.log",
    benchmark:
        f"{logs}/tokens/{{checkpoint}}/{{recipe}}/{paths.TRAINING}/{{pairs}}.tsv"
    priority: 1
    threads: threads("tokens", "checkpoint", "recipe")
    resources:
        **resources("tokens", "checkpoint", "recipe"),
    params:
        spec=spec(specs.training_tokens, "recipe", "pairs"),
        code=digest("tokens"),
    shell:
        "attempt {log:q}; retscale tokens --spec @<(printf %s {params.spec:q}) --card {input.card:q} --pairs {input.pairs:q}"
        " --out {output:q}"


for batch, tasks in study.batches.items():
    for group in rule_groups.of(study, tasks, steps=False):

        rule:
            name:
                f"tokens_{batch}{group.suffix}"
            input:
                card=lambda wildcards: [] if wildcards.recipe == GIVEN else results.checkpoint(wildcards.checkpoint),
                encoder=lambda wildcards: results.given(wildcards.checkpoint) if wildcards.recipe == GIVEN else [],
                tasks=[results.task(task) for task in tasks],
            output:
                update(
                    [
                        results.tokens("{checkpoint}", "{recipe}", task, length)
                        for length, names in {None: tasks, **group.lengths}.items()
                        for task in names
                    ]
                ),
            log:
                f"{logs}/tokens/{{checkpoint}}/{{recipe}}/{batch}.log",
            benchmark:
                f"{logs}/tokens/{{checkpoint}}/{{recipe}}/{batch}.tsv"
            wildcard_constraints:
                **only(group),
            priority: given_first
            threads: threads("tokens", "checkpoint", "recipe")
            resources:
                **resources("tokens", "checkpoint", "recipe"),
            params:
                spec=spec(specs.tokens(tasks), "checkpoint", "recipe"),
                code=digest("tokens"),
            shell:
                "attempt {log:q}; retscale tokens --spec @<(printf %s {params.spec:q}) --card {input.card:q}"
                " --encoder {input.encoder:q} --tasks {input.tasks:q} --out {output:q}"
