"""A model that is truly sharded: FSDP 2 over two processes, which here compute on the CPU."""

import gc
import json
import os
import signal
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import topics
import torch
import warm
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from topics import inputs, log, make, port, spec
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from transformers import LlamaConfig, LlamaModel, T5Config, T5EncoderModel
from transformers.modeling_layers import GradientCheckpointingLayer

from retscale.errors import UserError
from retscale.finetune import run as stage
from retscale.finetune import sharding, train
from retscale.finetune.adapt import adapt, arithmetic, merged, restored, round_frozen
from retscale.finetune.config import Recipe
from retscale.finetune.embed import Embedder
from retscale.finetune.log import Log
from retscale.study.catalog import merge

LORA = {"tuning": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.0}}
# Four steps. Little changes at this rate, so that what bfloat16 rounds otherwise in halves of a batch stays small.
GENTLE = {"max_pairs": 32, "lr": 1e-4, "temperature": 0.3}
CASES = {
    "llama full": ("llama", "fp32", {}),
    "llama lora": ("llama", "fp32", LORA),
    "llama full in parts": ("llama", "fp32", {"negatives": "global", "microbatch": 2, "gradient_checkpointing": True}),
    "mpt full": ("mpt", "fp32", {}),
    "mpt lora": ("mpt", "fp32", LORA),
    "t5 full": ("t5", "fp32", {}),
    "llama full rounded": ("llama", "bf16", {}),
    "llama lora rounded": ("llama", "bf16", LORA),
    "mpt full rounded": ("mpt", "bf16", {}),
    "mpt lora rounded": ("mpt", "bf16", LORA),
}


def llama(words: int) -> LlamaModel:
    """One word more than two processes can share evenly, and norms whose weights bfloat16 cannot hold."""
    config = LlamaConfig(
        vocab_size=words + 1, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    model = LlamaModel(config)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data += 0.3 * torch.rand_like(weight)
    return model


def t5(words: int) -> T5EncoderModel:
    """Its embeddings are one tensor in two places."""
    return T5EncoderModel(
        T5Config(vocab_size=words, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, dropout_rate=0.0)
    )


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("studies")
    return {name: make(folder / name, model) for name, model in (("llama", llama), ("mpt", None), ("t5", t5))}


def start(
    case: str, studies: dict[str, Path], folder: Path, processes: int, sharded: bool = False, killed: int | None = None
) -> list[warm.Process]:
    """Processes that train the `case`, or all after one another, each in a folder of its name.

    killed: the rank that ends by SIGKILL as the third step is logged; a state is saved after every step then.
    """
    cases = [case] if case else list(CASES)
    for name in cases:
        (folder / name / "state").mkdir(parents=True, exist_ok=True)
        (folder / name / "out").mkdir(exist_ok=True)
    world = {"ACCELERATE_USE_CPU": "1", "RETSCALE_SHARDED": "true" if sharded else ""}
    if processes > 1:
        world |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    for study in studies.values():
        inputs(study)  # makes the tokens, which the processes share
    ports = [port() for _ in cases]
    return [
        warm.Process(
            _train, cases, studies, folder, ports, rank == killed, killed is not None,
            environment={**os.environ, **world, **({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {})},
        )
        for rank in range(processes)
    ]  # fmt: skip


def _train(
    cases: list[str], studies: dict[str, Path], folder: Path, ports: list[str], killed: bool, save: bool
) -> None:
    """In a process of its own: trains each case, and writes what it has seen of it at the third step."""
    prepared, logged, called = train.prepared, Log.step, Embedder.__call__
    current, forwards, dtypes = {}, [], defaultdict(set)

    def keep_both(*arguments):
        current["model"], current["optimizer"] = prepared(*arguments)
        for module in current["model"].modules():
            if any(True for _ in module.parameters(recurse=False)):
                module.register_forward_hook(lambda module, *_: dtypes[type(module).__name__].update(_dtypes(module)))
        return current["model"], current["optimizer"]

    def step(self, number, *rest):
        logged(self, number, *rest)
        if number == 3 and killed:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3 and any(isinstance(weight, DTensor) for weight in current["model"].parameters()):
            current["seen"] = seen(current["model"], getattr(current["optimizer"], "optimizer", current["optimizer"]))

    def call(self, rows, at_least=0):
        forwards.append(self.forwards(rows))
        return called(self, rows, at_least)

    train.prepared, Log.step, Embedder.__call__ = keep_both, step, call
    if save:
        topics.state.SAVE_EVERY_S, topics.state.SAVE_SHARE = 0.0, 1e9
    for case, free in zip(cases, ports):
        model, precision, recipe = CASES[case]
        os.environ["MASTER_PORT"] = free
        AcceleratorState._reset_state(reset_partial_state=True)
        # In float32 so few that the processes of a step need different numbers of forwards.
        stage.BUDGET = {"cpu": 64 if precision == "fp32" else 2048}
        stage.dtype = lambda precision: torch.bfloat16 if precision == "bf16" else torch.float32
        out, kept = folder / case / "out", folder / case / "state"
        job = spec(**GENTLE, **recipe) | {"precision": precision}
        notes = stage.run(job, inputs(studies[model]), out, kept)
        rank = os.environ.get("RANK", "0")
        (folder / case / f"{rank}.json").write_text(
            json.dumps(
                {
                    "notes": notes,
                    "forwards": forwards,
                    "dtypes": {kind: sorted(names) for kind, names in dtypes.items()},
                    "seen": current.pop("seen", None),
                }
            )
        )
        for collected in (forwards, current, dtypes):
            collected.clear()


def _dtypes(module: torch.nn.Module) -> set[str]:
    return {str(weight.dtype).removeprefix("torch.") for weight in module.parameters(recurse=False)}


def seen(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Of a sharded model: parameters that are not sharded, and plain tensors as large as a parameter is whole."""
    weights = list(model.parameters())
    moments = [moment for state in optimizer.state.values() for moment in state.values()]
    shards = [*weights, *(weight.grad for weight in weights if weight.grad is not None), *moments]
    own = {x.to_local().untyped_storage().data_ptr() for x in shards if isinstance(x, DTensor)}
    shapes = {weight.shape for weight in weights if weight.dim() > 1}
    gc.collect()
    whole = [
        list(x.shape)
        for x in gc.get_objects()
        if issubclass(type(x), torch.Tensor)
        and not isinstance(x, DTensor)
        and x.shape in shapes
        and x.device.type != "meta"
        and x.untyped_storage().nbytes() > 0  # FSDP keeps those that it has gathered as shells
        and x.untyped_storage().data_ptr() not in own
    ]
    return {
        "layers": [
            isinstance(layer, FSDPModule) for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)
        ],
        "plain": [name for name, weight in model.named_parameters() if not isinstance(weight, DTensor)],
        "whole": whole,
        "shares": sum(weight.to_local().numel() for weight in weights) / sum(weight.numel() for weight in weights),
    }


def ended(started: list[warm.Process]) -> None:
    errors = [process.communicate(timeout=180)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), errors


@pytest.fixture(scope="module")
def trained(studies, tmp_path_factory) -> dict[str, Path]:
    """Every case by one process, by two copies and by two shards; side by side."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "copies", "shards")}
    started = [
        *start("", studies, folders["one"], 1),
        *start("", studies, folders["copies"], 2),
        *start("", studies, folders["shards"], 2, sharded=True),
    ]
    ended(started)
    return folders


def read(folder: Path, case: str, rank: int = 0) -> dict:
    return json.loads((folder / case / f"{rank}.json").read_text())


def column(folder: Path, case: str, key: str) -> list[float]:
    return [line[key] for line in log(folder / case / "out")]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_is_sharded_and_no_whole_one_is_alive(trained, case):
    ranks = [read(trained["shards"], case, rank) for rank in (0, 1)]
    assert [rank["seen"]["plain"] for rank in ranks] == [[], []] and [rank["seen"]["whole"] for rank in ranks] == [
        [],
        [],
    ]
    assert all(rank["seen"]["layers"] and all(rank["seen"]["layers"]) for rank in ranks)  # gathered one at a time
    assert sum(rank["seen"]["shares"] for rank in ranks) == pytest.approx(1)
    assert ranks[0]["notes"]["sharded"] and not read(trained["copies"], case)["notes"]["sharded"]


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case, (_, precision, _) in CASES.items() if precision == "fp32"])
def test_shards_train_as_one_process(trained, case):
    whole, shards = (load_file(trained[name] / case / "out/model.safetensors") for name in ("one", "shards"))
    assert whole.keys() == shards.keys()
    assert max(float((whole[name] - shards[name]).abs().max()) for name in whole) < 1e-5
    assert column(trained["shards"], case, "loss") == pytest.approx(column(trained["one"], case, "loss"), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case, (_, precision, _) in CASES.items() if precision == "bf16"])
def test_in_bf16_shards_compute_what_copies_do_and_nearly_what_one_process_does(trained, case):
    """One process rounds the gradient of a whole batch, two those of its halves; what they add up they do not round."""
    shards, copies, whole = (trained[name] for name in ("shards", "copies", "one"))
    assert column(shards, case, "loss") == pytest.approx(column(whole, case, "loss"), abs=1e-3)
    for key in ("loss", "grad_norm"):
        assert column(shards, case, key) == pytest.approx(column(copies, case, key), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["llama full rounded", "mpt lora rounded"])
def test_matrices_are_gathered_as_autocast_would_round_them_and_nothing_else(trained, case):
    """Gathered in float32, autocast would keep a rounded copy of each until the backward: of the whole model."""
    dtypes = read(trained["shards"], case)["dtypes"]
    assert dtypes.pop("Linear") == ["bfloat16"]
    assert "Embedding" in dtypes and all(names == ["float32"] for names in dtypes.values())


@pytest.mark.slow
def test_processes_have_needed_different_numbers_of_forwards(trained):
    """They have not waited for each other all the same."""
    for kind in ("shards", "copies"):
        first, second = (read(trained[kind], "llama full", rank)["forwards"] for rank in (0, 1))
        assert any(a != b for a, b in zip(first, second))


@pytest.mark.slow
@pytest.mark.parametrize(("case", "rank"), [("llama full", 0), ("mpt lora rounded", 1)])
def test_killed_shards_resume_to_the_same_bits(trained, studies, tmp_path, case, rank):
    stopped = start(case, studies, tmp_path, 2, sharded=True, killed=rank)
    for process in stopped:
        process.communicate(timeout=120)
    assert stopped[rank].returncode == -signal.SIGKILL and stopped[1 - rank].returncode not in (0, -signal.SIGKILL)
    assert [path.name for path in (tmp_path / case / "state").glob("step-*")] == ["step-2"]
    assert len(list((tmp_path / case / "state/step-2").glob("*.distcp"))) == 2  # each has written its own share
    resumed = start(case, studies, tmp_path, 2, sharded=True)
    printed = [process.communicate(timeout=120)[1] for process in resumed]
    assert "resumes after step 2 of 4" in printed[0]
    whole, again = (folder / case / "out/model.safetensors" for folder in (trained["shards"], tmp_path))
    assert whole.read_bytes() == again.read_bytes()


def _refused(study: Path, recipe: dict) -> None:
    """Prints what a sharded training says before it reads a token."""
    stage.examples = None
    try:
        stage.run(spec(**recipe), inputs(study), Path("out"), Path("state"))
    except UserError as error:
        print(error)


@pytest.mark.slow
def test_an_adapters_target_that_a_sharded_model_lacks_is_refused_by_all(studies, tmp_path):
    world = {"ACCELERATE_USE_CPU": "1", "RETSCALE_SHARDED": "true", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    world |= {"MASTER_PORT": port()}
    recipe = {"tuning": "lora", "lora": {"targets": ["q_proj", "no_proj"]}}
    started = [
        warm.Process(
            _refused, studies["llama"], recipe, environment={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank}
        )
        for rank in ("0", "1")
    ]
    for process in started:
        printed = process.communicate(timeout=60)[0]
        assert printed.startswith("lora.targets: no linear layer of LlamaModel is named no_proj; it has down_proj, ")
        assert len(printed.splitlines()) == 1


def test_what_cannot_be_spread_over_processes_is_refused():
    model = llama(98)
    recipe = Recipe.model_validate(merge(topics.RECIPE, {"batch_queries": 12}))
    eight = SimpleNamespace(num_processes=8, distributed_type=DistributedType.MULTI_GPU)
    with pytest.raises(UserError, match="batch_queries .12. must be a multiple of the 8 processes"):
        stage.check(recipe, model, "tiny", eight)
    foreign = SimpleNamespace(num_processes=4, distributed_type=DistributedType.FSDP)
    with pytest.raises(UserError, match="accelerate's FSDP is not used here; unset .* set RETSCALE_SHARDED=true"):
        stage.check(recipe, model, "tiny", foreign)


def test_one_process_is_never_sharded(monkeypatch):
    monkeypatch.setenv("RETSCALE_SHARDED", "true")
    assert sharding.is_sharded(2) and not sharding.is_sharded(1)
    monkeypatch.delenv("RETSCALE_SHARDED")
    assert not sharding.is_sharded(2)


@pytest.fixture
def adapted() -> tuple[LlamaModel, torch.nn.Module, Recipe]:
    """A base, and the same one with adapters as if they had been trained."""
    torch.manual_seed(0)
    recipe, base = Recipe.model_validate(merge(topics.RECIPE, LORA)), llama(98).eval()
    again = llama(98)
    again.load_state_dict(base.state_dict())
    model = adapt(again, recipe).eval()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_()
    return base, model, recipe


def test_a_rounded_base_gives_the_bits_of_autocast(adapted):
    _, model, _ = adapted
    tokens = torch.arange(20).reshape(2, 10)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = model(input_ids=tokens).last_hidden_state
        round_frozen(model, torch.bfloat16)
        after = model(input_ids=tokens).last_hidden_state
    dtypes = {
        name.split(".")[-3] if "lora" in name else name.split(".")[-2]: w.dtype for name, w in model.named_parameters()
    }
    assert torch.equal(before, after) and before.dtype == torch.float32
    assert dtypes["base_layer"] == torch.bfloat16
    assert dtypes["lora_A"] == dtypes["norm"] == dtypes["embed_tokens"] == torch.float32


def test_adapters_are_merged_in_float32_though_the_base_was_rounded(adapted):
    base, model, recipe = adapted
    expected = {name: weight.clone() for name, weight in base.state_dict().items()}
    for name, layer in model.get_base_model().named_modules():
        if hasattr(layer, "lora_A"):
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            expected[f"{name}.weight"] += (8 / 4) * (b @ a).detach()
    round_frozen(model, torch.bfloat16)
    result = merged(restored(base, recipe, sharding.whole_weights(model, wanted=True))).state_dict()
    assert result.keys() == expected.keys() and all(weight.dtype == torch.float32 for weight in result.values())
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_weights_that_do_not_fit_are_never_left_out(adapted):
    base, model, recipe = adapted
    trained = sharding.whole_weights(model, wanted=True)
    trained.pop(next(name for name in trained if "lora_B" in name))
    with pytest.raises(AssertionError, match="missing .*lora_B"):
        restored(base, recipe, trained)


def test_the_arithmetic_is_said_in_plain_words():
    assert arithmetic(torch.float32, "lora") == "float32"
    assert arithmetic(torch.bfloat16, "full") == (
        "matrix products in bfloat16; trained weights, sums of gradients, optimizer, residual stream, norms, pooling, "
        "similarities and loss in float32"
    )
    assert arithmetic(torch.bfloat16, "lora").endswith("; matrices that are not trained are kept in bfloat16")
