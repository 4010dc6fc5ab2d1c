"""The study that faults interrupt: run once without Slurm, and on Slurm from copies of that with a part missing."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cluster import Cluster, wait_for
from conftest import Clone, copy_repository, folder_of_all_workers
from filelock import FileLock

STUDY = "tests/slurm/study.yaml"
SITE = "profiles/slurm/site.yaml"
RESULTS = "results/faults"
ENCODER = f"{RESULTS}/finetune/d16/own-mini/encoder.json"
SCORE = f"{RESULTS}/evaluate/d16/own-mini/consumer-contracts.json"
TRAINING = "faults/finetune/d16/own-mini"  # its job in Slurm
TRAINING_LOG = f"logs/{TRAINING}.log"
# Only what hangs takes so long, even where other programs use the processors.
PATIENCE_S = 500
TIMED = ".record.json"  # how a job went is no result


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Clone:
    """A copy of the repository in which the study has run without Slurm; one for all workers, only read."""
    folder = folder_of_all_workers(tmp_path_factory)
    clone, done = Clone(folder / "undisturbed" / "clone"), folder / "undisturbed" / "done"
    with FileLock(folder / "undisturbed.lock"):
        if not done.exists():
            assert not clone.folder.exists(), "the study has failed without Slurm, in another worker"
            copy_repository(clone.folder)
            shutil.copy(clone.folder / "tests/slurm/site.yaml", clone.folder / SITE)
            clone.snakemake(study=STUDY)
            done.touch()
    return clone


@pytest.fixture
def untrained(undisturbed: Clone, tmp_path: Path) -> Clone:
    """A copy of it whose encoder is still to be trained and evaluated, file times kept."""
    clone = Clone(tmp_path / "clone")
    shutil.copytree(undisturbed.folder, clone.folder, symlinks=True)
    for file in (ENCODER, SCORE):
        shutil.rmtree((clone.folder / file).parent)
    (clone.folder / TRAINING_LOG).unlink()
    return clone


def results(clone: Clone) -> dict[str, bytes]:
    """Every file below the results, without what holds times."""
    root = clone.folder / RESULTS
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(TIMED)
    }


def differences(clone: Clone, undisturbed: Clone) -> list[str]:
    """Names of the results that are in one only, or not the same bytes in both."""
    mine, theirs = results(clone), results(undisturbed)
    return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


class Driver:
    """Snakemake at work in `clone` with the jobs of the study on `cluster`, by default to evaluate the encoder."""

    def __init__(self, clone: Clone, cluster: Cluster, *options: str, target: str = SCORE, **environment: str):
        self.log = clone.folder / f"driver-{len(list(clone.folder.glob('driver-*')))}"
        command = ("snakemake", "--profile", "slurm", "--configfile", STUDY, *options, "--", target)
        # Results must not depend on what a user happens to have set.
        inherited = {name: value for name, value in clone.environment.items() if name != "OMP_NUM_THREADS"}
        slurm = {"SLURM_CONF": cluster.environment["SLURM_CONF"]}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=clone.folder,
                env=inherited | slurm | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, status: int = 0, seconds: float = PATIENCE_S) -> str:
        """What it has printed, once it has ended with `status`."""
        wait_for("the driver", lambda: self.process.poll() is not None, seconds)
        assert self.process.returncode == status, self.printed()[-4000:]
        return self.printed()


def training(clone: Clone, cluster: Cluster, attempt: int = 1) -> str:
    """The id of the training's job, stopped amid its steps in its `attempt`-th attempt."""
    log = clone.folder / TRAINING_LOG
    wait_for("the training", lambda: log.exists() and log.read_text().count("GiB predicted") == attempt, PATIENCE_S)
    job = cluster.job(TRAINING)["JobId"]
    cluster.hold(job)
    assert "steps in" not in log.read_text(), "it ended before it could be stopped"
    return job
