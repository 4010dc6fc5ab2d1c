"""What each job of a study costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from retscale.encoder.config import GIVEN
from retscale.plan.estimate import (
    ENCODE,
    NEGATIVE_BYTES,
    PRETRAIN,
    RANK_BYTES,
    TRAIN,
    WEIGHT_BYTES,
    Corpus,
    Cost,
    Prompts,
    Texts,
    product,
    prompt_tokens,
    tokens,
    total,
    training_tokens,
)
from retscale.plan.jobs import Job
from retscale.plan.shapes import shape
from retscale.plan.sizes import catalog_sizes, of_icl, of_pairs, of_task, read
from retscale.study.study import Study


@dataclass(frozen=True)
class Params:
    """Parameters of a checkpoint: `total`, and those that work on every token of an encoder, without embeddings where known.

    None: unknown.
    """

    total: int | None
    non_embedding: int | None


@dataclass(frozen=True)
class Costs:
    """The costs of a study's jobs, given what already lies in `results`."""

    study: Study
    results: Path

    @cached_property
    def tasks(self) -> dict[str, Corpus]:
        return {
            id: of_task(task, self.results / f"task/{id}/task.json") for id, task in self.study.tasks_to_read.items()
        }

    @cached_property
    def pairs(self) -> dict[str, Corpus]:
        return {id: of_pairs(pairs, self.results / f"pairs/{id}/pairs.json") for id, pairs in self.study.pairs.items()}

    @cached_property
    def icl(self) -> dict[str, Prompts]:
        return {name: of_icl(task) for name, task in self.study.icl.items()}

    @cached_property
    def params(self) -> dict[str, Params]:
        return {id: self._params(id) for id in self.study.checkpoints}

    def _params(self, id: str) -> Params:
        checkpoint = self.study.checkpoints[id]
        if measured := read(self.results / f"checkpoint/{id}/card.json").get("n_params"):
            return Params(measured["total"], measured["non_embedding"])
        source = checkpoint.source
        if source.kind == "random":
            return self._params(source.like)
        if source.kind == "pretrain":
            non_embedding = 12 * source.layers * source.hidden_size**2
            return Params(non_embedding + self.study.text.vocab_size * source.hidden_size, non_embedding)
        known = shape(checkpoint.n_params) if checkpoint.n_params else None
        return Params(checkpoint.n_params, known and known.non_embedding)

    def multiplied(self, job: Job) -> float | None:
        """The parameters that a job's model multiplies with each token, which decide how much of a peak it reaches."""
        params = self.params.get(job.name[0]) if job.name else None
        return params.non_embedding if params else None

    def of(self, job: Job) -> list[Cost]:
        return self.parts(job.stage, job.name)

    def parts(self, stage: str, name: tuple[str, ...]) -> list[Cost]:
        """The parts of the cost of the job of a stage that is about `name`; none for jobs that take a CPU minutes."""
        method = getattr(self, f"_{stage}", None)
        return method(*name) if method else []

    def _checkpoint(self, id: str) -> list[Cost]:
        source, n_params = self.study.checkpoints[id].source, self.params[id].total
        if source.kind == "local":
            return []
        weights = product(WEIGHT_BYTES, n_params)
        if source.kind == "pretrain":
            return [Cost(source.tokens, product(PRETRAIN, n_params, source.tokens), weights)]
        # In the cache of the hub, whose files all checkpoints of one revision share.
        return [Cost(bytes=weights, files=(source.repo, source.revision) if source.kind == "hub" else None)]

    def _pairs(self, id: str) -> list[Cost]:
        return [Cost(bytes=text_bytes(self.pairs[id]))]

    def _mine(self, id: str) -> list[Cost]:
        mine, pairs = self.study.file.mine, self.pairs[id].queries.count
        encode = None if mine.encoders() else 0  # they are of another study, so their sizes are not known here
        return [Cost(encode, encode, product(pairs, mine.negatives, NEGATIVE_BYTES))]

    def _task(self, id: str) -> list[Cost]:
        return [Cost(bytes=text_bytes(self.tasks[id]))]

    def _finetune(self, id: str, recipe: str) -> list[Cost]:
        config, n_params = self.study.recipes[recipe], self.params[id]
        mixture = [self.pairs[name] for name in self.study.mixture(recipe)]
        token_counts = [training_tokens(corpus, config, catalog_sizes()["characters_per_token"]) for corpus in mixture]
        weights = Cost(bytes=product(WEIGHT_BYTES * (1 + len(config.keep)), n_params.total))
        return [
            weights,
            *(
                Cost(n_tokens, product(TRAIN[config.tuning], n_params.non_embedding, n_tokens))
                for n_tokens in token_counts
            ),
        ]

    def _evaluate(self, id: str, recipe: str, *tasks: str) -> list[Cost]:
        if recipe == GIVEN:
            return [Cost(None, None, None)]
        kept_steps, curve_tasks = self.study.kept_steps(recipe, [*tasks]), self.study.in_curves([*tasks])
        costs = self._searched(id, recipe, tasks) + len(kept_steps) * self._searched(id, recipe, curve_tasks)
        for length, names in self.study.lengths(id, recipe, [*tasks]).items():
            costs += self._searched(id, recipe, names, length)
        return costs

    def _reference(self, id: str, *tasks: str) -> list[Cost]:
        k = self.study.file.evaluate.k
        return [Cost(bytes=product(self.tasks[name].queries.count, k, RANK_BYTES)) for name in tasks]

    def _searched(self, id: str, recipe: str, tasks: Sequence[str], length: int | None = None) -> list[Cost]:
        """`length`: of documents, if it is not the recipe's."""
        prompt, k = self.study.recipes[recipe].prompt, self.study.file.evaluate.k
        queries, shared = [], {}
        for name in tasks:
            corpus = self.tasks[name]
            rank_bytes = product(corpus.queries.count, k, RANK_BYTES)
            queries.append(self._encoded(id, corpus.queries, prompt.query_length, rank_bytes))
            documents = self._encoded(id, corpus.passages, length or prompt.passage_length)
            shared.setdefault(self.study.tasks[name].corpus or name, documents)
        return [*queries, *shared.values()]

    def _encoded(self, id: str, texts: Texts, limit: int, kept_bytes: float | None = 0) -> Cost:
        n_tokens = tokens(texts, limit, catalog_sizes()["characters_per_token"])
        return Cost(n_tokens, product(ENCODE, self.params[id].non_embedding, n_tokens), kept_bytes)

    def _items(self, task: str) -> list[Cost]:
        return [Cost(bytes=None)]

    def _icl(self, id: str) -> list[Cost]:
        costs = []
        for name, task in self.study.icl.items():
            n_tokens = prompt_tokens(
                self.icl[name], task.shots, task.max_length, catalog_sizes()["characters_per_token"]
            )
            costs.append(Cost(n_tokens, product(ENCODE, self.params[id].total, n_tokens)))
        return costs


def text_bytes(corpus: Corpus) -> float | None:
    """A character of English is a byte."""
    size = total(product(texts.count, texts.characters) for texts in (corpus.queries, corpus.passages))
    return None if size.unknown else size.known
