"""What a job has used: measured, recorded, and summed in the report."""

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import record_of

from retscale.errors import UserError
from retscale.provenance import environment, nvml, record
from retscale.provenance.usage import Meter
from retscale.report.usage import total

USED = {"seconds": 3600.0, "cpu_seconds": 7200.0, "peak_bytes": 10**9, "gpus": 0, "joules": None}


class Nvml:
    """A driver whose GPUs have these counters, in J; None: without one. The last is also called GPU-abc."""

    def __init__(self, *counters: float | None):
        self.counters = {**dict(enumerate(counters)), "GPU-abc": counters[-1]}

    def nvmlDeviceGetCount_v2(self, number):
        number._obj.value = len(self.counters) - 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, device):
        return self._handle(index.value, device)

    def nvmlDeviceGetHandleByUUID(self, name, device):
        return self._handle(name.decode(), device)

    def _handle(self, key, device):
        device._obj.value = list(self.counters).index(key) + 1 if key in self.counters else 0
        return 0 if key in self.counters else 6

    def nvmlSystemGetDriverVersion(self, version, length):
        version.value = b"610.7"
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, device, millijoules):
        counter = list(self.counters.values())[device.value - 1]
        millijoules._obj.value = int(1000 * (counter or 0))
        return 0 if counter is not None else 3


@pytest.fixture
def driver(monkeypatch):
    """Puts a driver with these counters in place."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda *counters: monkeypatch.setattr(nvml, "_nvml", lambda: Nvml(*counters))


@pytest.fixture
def gpu(monkeypatch):
    """As in a job that has computed on some of these GPUs: so many bytes are the most that it held on each."""

    def use(*held: int) -> None:
        cuda = SimpleNamespace(
            is_initialized=lambda: True,
            device_count=lambda: len(held),
            max_memory_allocated=lambda index: held[index],
            get_device_properties=lambda index: SimpleNamespace(name=f"GPU {index}", total_memory=2**34),
        )
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))

    return use


@pytest.mark.parametrize(
    "chosen, joules",
    [(None, [10, 20, 40, 80]), ("2", [40]), ("GPU-abc,0", [80, 10]), ("", []), ("9", [None])],
)
def test_counters_are_those_of_the_gpus_that_the_job_may_use(driver, monkeypatch, chosen, joules):
    driver(10, 20, 40, 80)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert nvml.joules() == joules


def test_without_a_driver_nothing_is_known_of_gpus(driver, monkeypatch):
    monkeypatch.setattr(nvml, "_nvml", lambda: None)
    assert nvml.joules() == [] and nvml.visible() == [] and nvml.driver() is None


def test_without_the_library_there_is_no_driver(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError(name)))
    nvml._nvml.cache_clear()
    assert nvml._nvml() is None
    nvml._nvml.cache_clear()


def test_a_record_names_the_accelerators_that_were_used_and_their_driver(driver, gpu):
    driver(1, 2)
    gpu(0, 5)
    seen = environment.machine()
    assert seen["accelerators"] == [{"name": "GPU 1", "bytes": 2**34, "peak_bytes": 5}] and seen["driver"] == "610.7"
    gpu(0, 0)
    assert environment.machine()["accelerators"] == [] and environment.machine()["driver"] is None


def test_a_record_says_how_the_job_was_started(monkeypatch):
    assert environment.threads({"OMP_NUM_THREADS": "3"}) == 3 and environment.threads({}) == environment.cores({})
    assert environment.attempt({"RETSCALE_ATTEMPT": "2"}) == 2 and environment.attempt({}) is None
    restarted = {"SLURM_JOB_ID": "7_1", "SLURM_RESTART_COUNT": "1", "SLURM_JOB_PARTITION": "long"}
    assert environment.slurm(restarted) == {"job": "7_1", "partition": "long", "restarts": 1}
    assert environment.slurm({"SLURM_JOB_ID": "7"}) == {"job": "7", "partition": None, "restarts": 0}
    assert environment.slurm({}) is None


def test_a_meter_counts_its_process_and_the_ended_ones_that_it_started(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "times", lambda: (1.0, 2.0, 3.0, 4.0, 99.0))
        meter = Meter()
        patch.setattr(os, "times", lambda: (1.5, 2.25, 13.0, 24.0, 999.0))
        used = meter.read()
    assert used["cpu_seconds"] == 30.75 and used["gpus"] == 0 and used["joules"] is None
    assert 0 <= used["seconds"] < 60 and used["peak_bytes"] > 10**7


@pytest.mark.parametrize(
    "held, now, gpus, joules",
    [
        ((9, 0), (17.5, 90), 1, 7.5),
        ((9, 9), (17.5, 90), 2, 77.5),
        ((9, 9), (17.5, None), 2, None),
        ((0, 0), (99, 99), 0, None),
    ],
)
def test_a_meter_counts_the_gpus_that_were_used_and_their_energy(driver, gpu, held, now, gpus, joules):
    driver(10, 20)
    meter = Meter()
    driver(*now)
    gpu(*held)
    assert (meter.read()["gpus"], meter.read()["joules"]) == (gpus, joules)


def test_the_first_of_several_processes_counts_the_gpus_of_all(driver, gpu, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    driver(10, 20, 40, 80)
    meter = Meter()
    driver(11, 22, 48, 96)
    gpu(9, 0, 0, 0)  # it sees its own alone
    assert (meter.read()["gpus"], meter.read()["joules"]) == (2, 3)
    monkeypatch.setenv("WORLD_SIZE", "4")  # on two nodes
    assert (meter.read()["gpus"], meter.read()["joules"]) == (4, None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    gpu(9)  # of four processes on this machine each sees its own alone
    assert (meter.read()["gpus"], meter.read()["joules"]) == (4, None)
    assert [device["name"] for device in environment.machine()["accelerators"]] == ["GPU 0"]


def test_energy_of_gpus_that_others_use_is_not_counted(driver):
    driver(10)
    meter = Meter()
    driver(20)
    assert meter.read()["joules"] is None


def save(folder: Path, name: str, makers: Sequence[str] = (), **parts) -> Path:
    """The record of the output `name`, made from those of `makers`."""
    rows = [{"path": maker, "sha256": "0" * 64, "record": str(record.path_of(Path(maker)))} for maker in makers]
    path = record.path_of(folder / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record_of(inputs=rows, **parts)))
    return folder / name


def test_older_records_are_whole_without_it(tmp_path):
    assert "usage" not in record.read(save(tmp_path, "a.json"))
    assert record.read(save(tmp_path, "a.json", usage=None))["usage"] is None
    assert record.read(save(tmp_path, "a.json", usage=USED))["usage"] == USED


@pytest.mark.parametrize("wrong", [{"seconds": -1}, {"gpus": "8"}, {"joules": float("inf")}, {"cpu_seconds": None}])
def test_a_record_with_impossible_amounts_is_damaged(tmp_path, wrong):
    with pytest.raises(UserError, match="the provenance record is damaged|the provenance record .* is damaged"):
        record.read(save(tmp_path, "a.json", usage=USED | wrong))


def test_every_record_behind_the_inputs_counts_once(tmp_path):
    save(tmp_path, "card.json", stage="checkpoint", usage=USED)
    gpus = USED | {"gpus": 4, "joules": 7.2e6}
    save(tmp_path, "encoder.json", ["card.json"], stage="finetune", usage=gpus)
    save(tmp_path, "step-8/encoder.json", stage="finetune", usage=None)  # of the same training
    for task in ("a", "b"):
        save(tmp_path, f"{task}.json", ["encoder.json", "step-8/encoder.json"], stage="evaluate", usage=USED)
    save(tmp_path, "old.json", stage="evaluate")
    inputs = [
        save(tmp_path, "collect.json", ["a.json", "b.json", "old.json", "gone.json"], stage="collect", usage=USED)
    ]
    usage = total([*inputs, tmp_path / "a.json", tmp_path / "given.json"])
    rows = [(row.stage, row.results, row.hours, row.cpu_hours, row.gpu_hours, row.kwh) for row in usage.rows]
    assert rows == [
        ("checkpoint", 1, 1, 2, 0, 0),
        ("finetune", 1, 1, 2, 4, 2),
        ("evaluate", 2, 2, 4, 0, 0),
        ("collect", 1, 1, 2, 0, 0),
        ("total", 5, 5, 10, 4, 2),
    ]
    assert usage.unknown == 3  # old.json, gone.json and given.json


def test_energy_of_a_stage_is_unknown_if_one_of_its_gpus_was_not_measured(tmp_path):
    gpus = USED | {"gpus": 1, "joules": 3.6e6}
    paths = [
        save(tmp_path, f"{i}.json", stage="icl", usage=gpus | {"joules": joules})
        for i, joules in enumerate([1, None, 1])
    ]
    assert total(paths).rows[0].kwh is None
