"""Encoders that read documents of further lengths: from the study to the table, and what no model can read."""

import shutil

import pytest
import yaml
from test_evaluate import encoder, spec, tasks  # noqa: F401 - pytest finds the fixtures by their names
from test_evaluate_kept import files, loaded, results  # noqa: F401 - the same
from test_study import refused, smoke, written
from transformers import (
    BertConfig,
    GPT2Config,
    GPTJConfig,
    LlamaConfig,
    ModernBertConfig,
    MptConfig,
    OPTConfig,
    RobertaConfig,
    T5Config,
)

from retscale import job
from retscale.collect.results import length_rows, score_rows
from retscale.errors import UserError
from retscale.evaluate.result import Result
from retscale.model.encoder import load_encoder
from retscale.model.kinds import positions
from retscale.model.load import max_length
from retscale.model.positions import extrapolates, learned_positions
from retscale.plan.jobs import jobs
from retscale.provenance import record
from retscale.study import load, rule_groups, specs

LENGTHS = {"10": ["one", "two"], "40": ["two"]}


def by_number(entry: tuple[str, list[str]]) -> int:
    return int(entry[0])


def run(results, lengths: dict = LENGTHS, **more) -> None:
    """The jobs of tokens and evaluations of the last encoder, with these lengths, which rules name in their order."""
    card = results / "finetune/c/r/encoder.json"
    folders = [("", ["one", "two"])] + [
        (f"length-{length}/", names) for length, names in sorted(lengths.items(), key=by_number)
    ]
    names = [f"{folder}{name}.json" for folder, members in folders for name in members]
    given = [results / f"task/{name}/task.json" for name in ("one", "two")]
    tokens = [results / "tokens/c/r" / name for name in names]
    job.run("tokens", {"tasks": {"one": {}, "two": {}}, "lengths": lengths}, {"encoder": card, "tasks": given}, tokens)
    inputs = {"encoder": card, "tasks": given, "tokens": tokens}
    whole = spec(["one", "two"], lengths=lengths, **more)
    job.run("evaluate", whole, inputs, [results / "evaluate/c/r" / name for name in names])


def test_one_job_reads_every_length_as_a_job_of_its_own_would(results):
    run(results, trained_length=16)
    together = files(results / "evaluate")
    shutil.rmtree(results / "evaluate/c/r/length-40")
    alone = spec(["two"], length=40, trained_length=16)
    read = {"encoder": results / "finetune/c/r/encoder.json", "tasks": [results / "task/two/task.json"]}
    read["tokens"] = [results / "tokens/c/r/length-40/two.json"]
    job.run("evaluate", alone, read, [results / "evaluate/c/r/length-40/two.json"])
    assert files(results / "evaluate") == together
    made = record.read(results / "evaluate/c/r/length-40/two.json")
    assert made["spec"] == alone and "lengths" not in record.read(results / "evaluate/c/r/two.json")["spec"]
    own, short, far = (
        Result.read(results / f"evaluate/c/r/{place}two.json") for place in ("", "length-10/", "length-40/")
    )
    assert (own.length, short.length, far.length) == (None, 10, 40)
    assert (own.extrapolates, short.extrapolates, far.extrapolates) == (None, False, True)
    # Documents have up to 16 words and are cut to 20 anyway, so that only the short length reads something else.
    assert own.contrastive_entropy == far.contrastive_entropy != short.contrastive_entropy


def test_lengths_are_sorted_as_words_in_a_spec_and_as_numbers_in_a_rule(results):
    run(results, {"10": ["two"], "9": ["two"]})
    assert [Result.read(results / f"evaluate/c/r/length-{n}/two.json").length for n in (9, 10)] == [9, 10]


def test_a_further_length_redoes_nothing(results, loaded):
    run(results, {"10": ["one"]})
    before = (results / "evaluate/c/r/length-10/one.record.json").read_bytes()
    loaded.clear()
    run(results)
    assert loaded == ["r", "r"] and (results / "evaluate/c/r/length-10/one.record.json").read_bytes() == before


def test_collect_takes_each_result_where_it_belongs(results):
    run(results)
    own, other = results / "evaluate/c/r/two.json", results / "evaluate/c/r/length-10/two.json"
    identity, rows, queries = length_rows(other)
    assert identity == {"checkpoint": "c", "recipe": "r", "task": "two", "length": 10}
    assert {row["length"] for row in rows} == set(queries["length"]) == {10} and not any(
        r["extrapolates"] for r in rows
    )
    with pytest.raises(UserError, match="length-10/two.json is of documents of 10 tokens.*pass it as --lengths"):
        score_rows(other)
    with pytest.raises(UserError, match="two.json is of documents of the encoder's own length; pass it as --scores"):
        length_rows(own)


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (BertConfig(max_position_embeddings=512), 512),
        (GPT2Config(n_positions=64), 64),
        (GPTJConfig(n_positions=64), 64),  # its rotary positions are a table
    ],
    ids=["bert", "gpt2", "gptj"],
)
def test_a_table_of_positions_ends(config, limit):
    assert not extrapolates(config, limit, None, "mine")
    assert extrapolates(config, limit, 32, "mine")  # rows that its pretraining never saw
    with pytest.raises(UserError, match=f"length {limit + 1}: mine has {limit} positions"):
        extrapolates(config, limit + 1, None, "mine")


@pytest.mark.parametrize(
    ("config", "trained_length", "beyond"),
    [
        (LlamaConfig(max_position_embeddings=64), None, 65),
        (ModernBertConfig(max_position_embeddings=64), None, 65),
        (MptConfig(max_seq_len=64), None, 65),
        (MptConfig(max_seq_len=64), 32, 33),
        (T5Config(), None, None),
    ],
    ids=["llama", "modernbert", "mpt", "mpt pretrained on less", "t5"],
)
def test_other_positions_go_on_and_that_is_told(config, trained_length, beyond):
    assert extrapolates(config, 10**5, trained_length, "mine") is (beyond is not None)
    if beyond:
        assert not extrapolates(config, beyond - 1, trained_length, "mine")
        assert extrapolates(config, beyond, trained_length, "mine")


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(max_position_embeddings=512),
        RobertaConfig(max_position_embeddings=514, pad_token_id=1),
        GPT2Config(n_positions=64),
        GPTJConfig(n_positions=64),
        OPTConfig(max_position_embeddings=128),
        LlamaConfig(),
        ModernBertConfig(),
        MptConfig(),
        T5Config(),
    ],
    ids=lambda config: config.model_type,
)
def test_a_study_knows_a_table_of_positions_as_the_loaded_model_does(config):
    assert positions(config.to_dict()) == (max_length(config) if learned_positions(config) else None)


@pytest.mark.parametrize("section", ["checkpoints", "encoders"])
def test_a_table_is_known_of_what_lies_in_a_folder(section, tmp_path):
    folder = tmp_path / "mine"
    BertConfig(max_position_embeddings=512).save_pretrained(folder)
    entries = {
        "checkpoints": {
            "id": "mine",
            "family": "f",
            "size": "1",
            "tokens": 1,
            "source": {"kind": "local", "path": str(folder)},
        },
        "encoders": {"id": "mine", "path": str(folder)},
    }
    data = smoke() | {"lengths": {"tokens": [1024]}, "icl": []}
    data[section] = [*data.get(section, []), entries[section]]
    with pytest.raises(UserError, match="lengths: 1024 tokens are too long for mine, which has 512 positions"):
        load.study(written(tmp_path, data))
    data["lengths"]["tokens"] = [512]
    assert load.study(written(tmp_path, data)).encoders_at_lengths


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"tasks": ["fica"]}, "lengths.0.tasks: unknown task of this study 'fica'; did you mean 'fiqa'?"),
        ({"recipes": ["own"]}, "lengths.0.recipes: unknown recipe 'own'"),
        ({"checkpoints": ["d61"]}, "lengths.0.checkpoints: unknown checkpoint 'd61'"),
        ({"recipes": ["microbatch-mini"], "checkpoints": ["d16"]}, "lengths.0: no encoder of the study is of these"),
        ({"tokens": [128, 64]}, "tokens must name lengths in ascending order"),
        ({"tokens": [8]}, "lengths.0.tokens.0"),
        ({"tokens": [64]}, "lengths.0: asks for nothing but an encoder's own length"),
    ],
)
def test_lengths_of_nothing_are_refused(tmp_path, entry, expected):
    def change(study):
        study["lengths"] = {"tasks": ["fiqa"], "tokens": [128]} | entry

    assert expected in refused(tmp_path, change)


def test_a_length_beyond_a_known_table_is_refused_before_any_job(tmp_path):
    data = smoke()
    data["checkpoints"] = ["bert-base"]
    data["recipes"] = [{"use": "own-mini", "n_negatives": 2}]
    data["lengths"] = {"tasks": ["fiqa"], "tokens": [512, 1024]}
    for key in ("text", "icl"):
        del data[key]
    with pytest.raises(UserError, match="lengths: 1024 tokens are too long for bert-base, which has 512 positions"):
        load.study(written(tmp_path, data))
    data["lengths"]["tokens"] = [512]
    assert load.study(written(tmp_path, data)).encoders_at_lengths == [("bert-base", "own-mini", "fiqa", 512)]


def test_an_entry_that_adds_nothing_is_refused(tmp_path):
    first = {"tasks": ["fiqa"], "tokens": [64, 128]}
    for second, number in ((first, 1), ({"tasks": ["fiqa"], "tokens": [128], "checkpoints": ["d16"]}, 1)):
        line = refused(tmp_path, lambda study, second=second: study.update(lengths=[first, second]))
        assert f"lengths.{number}: asks for nothing but" in line and "\n" not in line
    data = smoke() | {"lengths": [first, {"tasks": ["fiqa"], "tokens": [128, 256]}]}
    study = load.study(written(tmp_path, data))
    assert len(study.encoders_at_lengths) == 2 * len(study.evaluated_encoders)


@pytest.mark.parametrize("entry", [{}, {"recipes": ["own-mini"]}, {"checkpoints": ["d16"]}])
def test_repeats_with_further_seeds_are_read_at_their_own_length_alone(entry, tmp_path):
    """However the entry is written: what it names are the recipe and the checkpoint, not their repeats."""
    data = smoke() | {"lengths": {"tokens": [128], **entry}}
    data["checkpoints"][0]["seeds"] = data["recipes"][0]["seeds"] = [1, 2]
    study = load.study(written(tmp_path, data))
    assert {("d16", "own-mini.seed-2"), ("d16.seed-2", "own-mini")} <= set(study.evaluated_encoders)
    assert not any("seed-2" in checkpoint + recipe for checkpoint, recipe, *_ in study.encoders_at_lengths)


@pytest.mark.parametrize(
    ("id", "prompt", "limit"),
    [
        ("bert-base", {"passage_length": 1024}, 512),
        ("bert-base", {"query_length": 513}, 512),
        ("pythia-14m", {"passage_length": 4096}, 2048),
        ("t5-v1.1-base", {"passage_length": 4096}, None),
    ],
)
def test_texts_of_a_recipe_beyond_a_context_are_refused_before_any_job(id, prompt, limit, tmp_path):
    data = smoke() | {
        "checkpoints": [id, "qwen3-0.6b"],
        "recipes": [{"use": "own-mini", "n_negatives": 2, "prompt": prompt}],
    }
    for key in ("text", "icl", "lengths"):
        del data[key]
    if limit is None:
        assert load.study(written(tmp_path, data)).trained
        return
    expected = rf"recipes \(own-mini\): its texts have up to {max(prompt.values())} tokens, but the context of {id} is {limit}; "
    with pytest.raises(UserError, match=expected) as error:
        load.study(written(tmp_path, data))
    assert "\n" not in str(error.value)
    data["recipes"][0]["checkpoints"] = ["qwen3-0.6b"]
    data["recipes"].append({"use": "own-mini", "id": "short", "n_negatives": 2})
    assert load.study(written(tmp_path, data)).trained


def test_every_encoder_has_the_outputs_that_the_study_says(tmp_path):
    """Two entries, of which one is for some encoders; an encoder's own length is no further one."""
    data = smoke() | {
        "lengths": [
            {"tasks": ["fiqa"], "tokens": [64, 256]},
            {"tasks": ["consumer-contracts"], "tokens": [256], "checkpoints": ["d24"]},
        ]
    }
    study = load.study(written(tmp_path, yaml.safe_load(yaml.safe_dump(data))))
    groups = rule_groups.of(study, ["fiqa", "consumer-contracts"])
    assert [(group.suffix, group.lengths, group.encoders, group.whole) for group in groups] == [
        ("_at_256", {256: ["fiqa"]}, [("d16", "own-mini"), ("d24-long", "own-mini"), ("e24", "own-mini")], False),
        ("_at_256_or_1", {256: ["consumer-contracts", "fiqa"]}, [("d24", "own-mini")], False),
        ("_after_8", {256: ["consumer-contracts", "fiqa"]}, [("d24", "microbatch-mini")], True),
    ]
    made = {output for each in jobs(study) if each.stage in ("tokens", "evaluate") for output in each.makes}
    assert {place for place in made if "length" in place} == {
        f"{stage}/{encoder}/length-256/{task}.json"
        for stage in ("tokens", "evaluate")
        for encoder, names in {
            "d16/own-mini": ["fiqa"],
            "d24-long/own-mini": ["fiqa"],
            "e24/own-mini": ["fiqa"],
            "d24/own-mini": ["fiqa", "consumer-contracts"],
            "d24/microbatch-mini": ["fiqa", "consumer-contracts"],
        }.items()
        for task in names
    }
    told = specs.evaluate(["fiqa"])(study, "d16", "own-mini")
    assert told["lengths"] == {"256": ["fiqa"]} and told["trained_length"] == 128


def test_vectors_of_another_length_are_kept_apart(encoder):
    """Vectors lie under a digest of what they were made by, for all who need them."""
    own, short = (load_encoder(encoder, "fp32", 64, length) for length in (None, 10))
    assert own.sha256 != short.sha256 and own.sha256 == load_encoder(encoder, "fp32", 64).sha256
    assert (own.prompt.passage_length, short.prompt.passage_length) == (20, 10)
    assert own.prompt.query_length == short.prompt.query_length
