"""Every size has a way: what a training needs, for each checkpoint of the catalog and each tuning of the full studies."""

import argparse
import copy
import re
from pathlib import Path

import pytest
import torch
from catalog_models import CONFIGS
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForTextEncoding, PreTrainedConfig, PreTrainedModel

from retscale.cluster import show
from retscale.cluster import site as sites
from retscale.cluster.needs import needs
from retscale.cluster.resources import resources
from retscale.cluster.way import Training, ways
from retscale.errors import UserError
from retscale.finetune import memory
from retscale.finetune.adapt import adapt
from retscale.finetune.config import Recipe
from retscale.finetune.footprint import USABLE
from retscale.model.attention import use_fused
from retscale.model.params import count_params
from retscale.plan.costs import Costs
from retscale.plan.shapes import shape
from retscale.plan.sizes import catalog_sizes
from retscale.study import catalog, check, load

SITE = sites.read(Path("profiles/slurm/site.yaml"))
STUDIES = ["portes2025", "open-ladders", "luo2024"]
RECIPES = {"full": Recipe(), "lora": Recipe(tuning="lora")}


def meta(config: PreTrainedConfig, whole: bool = False) -> PreTrainedModel:
    """A model without its weights: what the stage finetune trains, or as its checkpoint is counted if `whole`."""
    encoder = config.model_type in ("bert", "modernbert", "t5")
    auto = AutoModelForTextEncoding if config.model_type == "t5" else AutoModel
    options = {"add_pooling_layer": False} if config.model_type == "bert" else {}
    with torch.device("meta"):
        model = (AutoModelForCausalLM if whole and not encoder else auto).from_config(
            config, attn_implementation="eager" if config.model_type == "mpt" else None, **options
        )
    use_fused(model)
    return model


def stated(id: str) -> int:
    return load._entry("checkpoint", id, "checkpoints.0", "here")[1].n_params


def test_the_catalog_has_the_shape_of_every_model():
    """Its parameters are those of a model of the shape, and so are those without embeddings, layers and width."""
    for id, config in CONFIGS.items():
        whole, trained, known = count_params(meta(config, whole=True)), count_params(meta(config)), shape(stated(id))
        assert (known.total, known.non_embedding) == (whole["total"], trained["non_embedding"]), id
        assert known.known and (known.layers, known.width) == (config.num_hidden_layers, config.hidden_size), id


def test_what_has_no_shape_is_known():
    """Of the whole catalog only what no class of transformers can load, which a study may not name."""
    known = catalog_sizes()["shapes"]
    without = [member for member in catalog.members().values() if member["n_params"] not in known]
    assert without and all(member["unsupported"] for member in without)


@pytest.mark.slow
@pytest.mark.parametrize("id", list({config.model_type: id for id, config in CONFIGS.items()}.values()))
def test_what_a_token_leaves_behind_is_that_of_the_model(id):
    """Of one model of each kind, by two layers of it: the catalog's figures within a tenth, or 2 kB."""
    known = shape(stated(id))
    for tuning, kept in (("full", known.kept), ("lora", known.kept_by_adapters)):
        per_token = []
        for layers in (2, 4):
            config = copy.deepcopy(CONFIGS[id])
            config.num_hidden_layers = layers
            if getattr(config, "layer_types", None):
                config.layer_types = config.layer_types[:layers]
            with torch.device("meta"):
                model = adapt(meta(config), RECIPES[tuning]).train()
            per_token.append(memory.per_token(model, torch.bfloat16, 128))
        layer = (per_token[1] - per_token[0]) / 2
        assert kept == pytest.approx(per_token[0] + (known.layers - 2) * layer, rel=0.1, abs=2000)


@pytest.mark.parametrize("id", ["pythia-160m", "llama-2-7b"])
def test_driver_and_training_reckon_alike(id):
    """With all its weights, which the driver takes to have a head: never less than the training, and at most a tenth more."""
    before = Training(shape(stated(id)), Recipe()).footprint()
    itself = memory.footprint(meta(CONFIGS[id]).train(), torch.bfloat16, 128)
    for shards in (1, 8):
        here, there = (part.peak(4 * 2176, 4 * 2176, False, shards) for part in (before, itself))
        assert there * 0.98 < here < there * 1.3


def ways_of(study: str, site: sites.Site = SITE):
    return [
        (need, given)
        for need, given in show.allotted(Costs(load.study(Path(f"config/{study}.yaml")), Path("results/none")), site)
        if need.training
    ]


@pytest.mark.parametrize("study", STUDIES)
def test_every_checkpoint_of_the_full_studies_has_a_way(study):
    parts = ways_of(study)
    assert parts and show.unfit(parts) == []
    for need, given in parts:
        recipe, total = need.training.recipe, need.training.shape.total
        assert need.training.shape.known and given.way.gpu_gb <= USABLE * SITE.gpu.gpu_memory_gb
        assert recipe.batch_queries % given.way.processes == 0 and given.minutes < 60 * SITE.gpu.hours
        assert given.nodes == (2 if recipe.tuning == "full" and total > 30e9 else 1)
        assert given.memory_mb / 1000 < 0.5 * SITE.gpu.memory_gb
        if given.gpus > 1:
            assert ("RETSCALE_PROCESSES=" + str(given.nodes * given.gpus)) in given.launch
            assert ("srun" in given.launch) == (given.nodes > 1)


@pytest.mark.parametrize("id", [id for id in CONFIGS if stated(id) < 15e9])
def test_full_tuning_up_to_14b_and_adapters_fit_one_node(id):
    for recipe in RECIPES.values():
        assert next(ways(Training(shape(stated(id)), recipe), 80, 8, 1), None)


def test_32b_fits_one_node_with_adapters_and_two_without():
    for id in ("olmo-2-32b", "qwen1.5-32b"):
        training = {tuning: Training(shape(stated(id)), recipe) for tuning, recipe in RECIPES.items()}
        assert next(ways(training["lora"], 80, 8, 1), None)
        assert next(ways(training["full"], 80, 8, 1), None) is None
        assert next(ways(training["full"], 80, 8, 2)).nodes == 2


def test_by_hand():
    """Llama-2-7B on two GPUs: half of 16 bytes a parameter, two layers in bfloat16, one's gradients, embeddings, and what
    2,176 tokens leave."""
    training = Training(shape(6738415616), Recipe())
    way = next(way for way in ways(training, 200, 8, 1) if way.gpus == 2 and way.sharded)
    layer, embeddings = 6476271616 / 32, 6738415616 - 6476271616
    parts = 8 * 6738415616 + 10 * layer + 4 * embeddings + way.microbatch * 2176 * 7.329e6
    assert way.gpu_gb == pytest.approx(parts / 1e9, rel=0.01)
    [whole, *_] = [way for way in ways(training, 200, 8, 1) if way.gpus == 1]
    assert whole.gpu_gb == pytest.approx(
        (16 * 6738415616 + 2 * 6476271616 + whole.microbatch * 2176 * 7.329e6) / 1e9, rel=0.01
    )


def test_adapters_by_hand():
    """Qwen1.5-32B: its layers in bfloat16, its embeddings not, and 16 bytes of a parameter of the adapters, over eight."""
    total, non_embedding, adapters = 32512218112, 30955082752, 32 * shape(32512218112).adapter
    [way, *_] = ways(Training(shape(total), RECIPES["lora"]), 80, 8, 1, (1, 8))
    embeddings, tokens = total - non_embedding, 2176 * way.microbatch
    state = 2 * non_embedding + 4 * embeddings + 16 * adapters
    kept = 4 * 64 * 5120 * tokens + shape(total).kept_by_adapters * tokens / 64
    assert way.checkpointing and way.gpu_gb == pytest.approx(
        (state / 8 + 10 * non_embedding / 64 + 4 * embeddings + kept) / 1e9, rel=0.01
    )


def test_a_batch_must_divide_and_a_small_gpu_must_hold_one_query():
    odd = Training(shape(12853386240), Recipe(batch_queries=63))
    assert next(ways(odd, 80, 8, 1), None) is None
    assert next(ways(Training(shape(162322944), Recipe()), 2.5, 1, 1), None) is None
    assert next(ways(Training(shape(162322944), Recipe(microbatch=64)), 80, 8, 1)).microbatch == 64


def test_an_unknown_shape_needs_no_less_than_a_known_one():
    """Of a decoder; T5's encoders are far narrower than they are large, and small models are mostly embeddings."""
    for total in (stated(id) for id in CONFIGS if not id.startswith("t5") and stated(id) > 5e8):
        for recipe in RECIPES.values():
            known, guessed = (Training(shape(n), recipe).footprint() for n in (total, total + 1))
            assert guessed.peak(2176, 2176, False, 8) > 0.85 * known.peak(2176, 2176, False, 8), total


@pytest.mark.parametrize(
    "stage, name, partition, gpus, threads, memory",
    [
        ("finetune", ("pythia-160m", "portes2025"), "gpu", 1, 8, (25, 40)),
        ("finetune", ("olmo-2-7b", "portes2025"), "gpu", 4, 32, (80, 120)),
        ("finetune", ("olmo-2-13b", "portes2025"), "gpu", 8, 64, (120, 200)),
        ("evaluate", ("olmo-2-7b", "portes2025", "msmarco"), "gpu", 1, 8, (40, 120)),
        ("checkpoint", ("olmo-2-32b",), "cpu", 0, 4, (90, 120)),
        ("mine", ("msmarco",), "cpu", 0, 16, (30, 120)),
    ],
)
def test_what_the_rules_ask_for(stage, name, partition, gpus, threads, memory):
    given = resources(
        needs(Costs(load.study(Path("config/open-ladders.yaml")), Path("results/none")), stage, name), SITE
    )
    assert (given.partition, given.gpus, given.nodes, given.cores) == (partition, gpus, 1, threads)
    assert memory[0] < given.memory_mb / 1000 < memory[1] and not given.impossible


def profile(folder: Path, **gpu) -> str:
    text = Path("profiles/slurm/site.yaml").read_text()
    for key, value in gpu.items():
        text = re.sub(rf"^  {key}: \S+", f"  {key}: {value}", text, flags=re.M)
    (folder / "site.yaml").write_text(text)
    (folder / "config.yaml").write_text(f"default-resources:\n  site: {folder / 'site.yaml'}\n")
    return str(folder)


@pytest.mark.parametrize(
    "gpu, line",
    [
        (
            {"nodes": 1},
            r"finetune 32B tuning: full does not fit 1 x 8 GPUs of 80 GB; give it gpu\.nodes: 2 or tuning: lora, or",
        ),
        ({"gpu_memory_gb": 40}, r"icl 32B its weights take 64 GB of a GPU that has 40"),
    ],
)
def test_check_refuses_what_has_no_way_before_it_asks_anybody(tmp_path, monkeypatch, gpu, line):
    def asked(*_):
        raise AssertionError("somebody was asked")

    monkeypatch.setattr(check.slurm, "partitions", asked)
    monkeypatch.setattr(check, "check_revisions", asked)
    monkeypatch.setattr(check.preflight, "check_wheels", asked)
    study = argparse.Namespace(study=Path("config/open-ladders.yaml"), profile=profile(tmp_path, **gpu), why=False)
    with pytest.raises(UserError, match=line) as refused:
        check.main(study)
    assert len([text for text in str(refused.value).splitlines() if "finetune 32B" in text]) == 1
