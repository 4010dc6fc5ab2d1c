"""What the tests share: the clone, a copy of it to change, and Snakemake in it."""

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import warm
import warm_jobs
from fault_table import pytest_terminal_summary  # noqa: F401
from filelock import FileLock

# Workers share the processors, and what is computed must not depend on how many there are.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = Path(__file__).resolve().parents[1]


QUICK_CPU_S = 10


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """The libraries stay until the end, so the garbage collector need not walk through them again and again."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever plans or runs a study is slow; a slow unit test says so itself."""
    for item in items:
        if item.path.parent.name != "unit":
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """A unit test that takes long fails unless it is marked, so that `make quick` stays quick."""
    before = sum(os.times()[:4])
    result = yield
    took = sum(os.times()[:4]) - before
    if took > QUICK_CPU_S and not (item.get_closest_marker("slow") or item.get_closest_marker("long")):
        pytest.fail(f"took {took:.0f} s of processor, {QUICK_CPU_S} are allowed: make it smaller, or mark it `slow`")
    return result


class Clone:
    """A copy of the repository that a test may change, and the commands that run in it.

    The jobs of its studies are forks (`warm_jobs`), or with `cold` the processes that they are anywhere.
    """

    def __init__(self, folder: Path, cold: bool = False):
        self.folder = folder
        programs = [*([] if cold else [warm_jobs.folder()]), Path(sys.executable).parent, os.environ["PATH"]]
        self.environment = {
            **os.environ,
            # The copy's package comes before the installed one, also for the `retscale` and `accelerate` commands.
            "PYTHONPATH": str(folder / "workflow"),
            "PATH": os.pathsep.join(map(str, programs)),
            "XDG_CACHE_HOME": str(folder / ".cache"),
        }

    def run(self, *command: str, status: int | None = 0) -> subprocess.CompletedProcess:
        """Run a command here; fail the test, showing the output, unless it ends with `status` (None: any).

        Its own process is a fork where there is one (`warm`).
        """
        if command[0] in warm.COMMANDS:
            process = warm.start(command, self.folder, self.environment)
            done = subprocess.CompletedProcess(command, process.wait(), *process.communicate())
        else:
            done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if status is not None and done.returncode != status:
            pytest.fail(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def snakemake(
        self, *arguments: str, study: str = "config/smoke.yaml", status: int | None = 0
    ) -> subprocess.CompletedProcess:
        return self.run("snakemake", *arguments, "--profile", "local", "--configfile", study, status=status)

    def plan(self, *arguments: str, study: str = "config/smoke.yaml") -> dict[str, int]:
        """Jobs that a dry run counts, by rule; without the target rule."""
        return counts(self.run("snakemake", "-n", "--configfile", study, *arguments).stdout)

    def pretend(self, *options: str, study: str = "config/smoke.yaml") -> None:
        """Let Snakemake take the study for finished as it stands, with empty files for results."""
        table = self.run("snakemake", "--summary", "--configfile", study).stdout
        for line in table.splitlines()[1:]:
            path = self.folder / line.split("\t")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        self.run("snakemake", "--touch", *options, "--cores", "1", "--configfile", study)

    def keep_figures(self, *names: str) -> None:
        """Let the finished smoke study have these figures alone: each costs a second whenever the tables change."""
        listed = ", ".join(f"{name}: {{}}" for name in names)
        self.edit("config/smoke.yaml", "fit: {}", f"fit: {{}}\nfigures: {{{listed}}}")
        self.run("retscale", "clean", "config/smoke.yaml", "--orphans", "--delete")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace `old`, which must stand in `file` exactly once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))


def retscale(*arguments: str, **environment: str) -> warm.Process:
    """The command of this repository at work, with further variables of the environment."""
    package = {"PYTHONPATH": str(ROOT / "workflow")}
    return warm.start(("retscale", *arguments), Path.cwd(), os.environ | package | environment)


def counts(dry_run: str) -> dict[str, int]:
    """Jobs by rule in the table that a dry run prints; without the target rule."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total ", dry_run, re.M | re.S)
    if not table:
        assert "Nothing to be done" in dry_run, dry_run
        return {}
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.M) if name != "all"}


def copy_repository(folder: Path) -> Clone:
    """The files of the repository that git knows or would know, copied to `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split("\n"):
        source = ROOT / name
        if name and (source.is_symlink() or source.is_file()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / name, follow_symlinks=False)
    return Clone(folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the repository, the only files outside of it that a test reads; where it is, all of it must be."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data of {folder}")
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh copy of the repository, without results."""
    return copy_repository(tmp_path / "clone")


@pytest.fixture(scope="session")
def dry_run(tmp_path_factory) -> Callable[..., str]:
    """What a dry run of a study of config/ prints in a fresh copy of the repository; many questions, one plan."""
    folder = folder_of_all_workers(tmp_path_factory) / "dry-runs"
    folder.mkdir(exist_ok=True)

    def printed(study: str, *options: str) -> str:
        kept = folder / " ".join((study, *options))
        with FileLock(f"{kept}.lock"):
            if not kept.exists():
                fresh = copy_repository(tmp_path_factory.mktemp("fresh") / "clone")
                command = ["snakemake", "-n", "-p", "--configfile", f"config/{study}.yaml", *options]
                kept.write_text(fresh.run(*command).stdout)
        return kept.read_text()

    return printed


def folder_of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what one worker of pytest-xdist makes serves the others."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Clone:
    """A copy of the repository in which the smoke study has run, one for all workers.

    Tests only read it: what they run there writes nothing; for all else they take `finished`.
    """
    folder = folder_of_all_workers(tmp_path_factory)
    clone, output = Clone(folder / "smoke" / "clone"), folder / "smoke" / "output"
    with FileLock(folder / "smoke.lock"):
        if not output.exists():
            copy_repository(clone.folder)
            output.write_text(clone.snakemake().stdout)
    clone.smoke_output = output.read_text()
    return clone


@pytest.fixture
def finished(smoke: Clone, tmp_path: Path) -> Clone:
    """A copy, to be changed, of the repository with the finished smoke study, file times kept."""
    shutil.copytree(smoke.folder, tmp_path / "clone", symlinks=True)
    return Clone(tmp_path / "clone")


@contextmanager
def drawn_as_svg() -> Iterator[None]:
    """Figures are drawn once, as the SVG that a report embeds; their PDF and PNG are empty files."""
    from matplotlib.figure import Figure

    drawn = Figure.savefig

    def savefig(figure, path: Path, **options):
        drawn(figure, path, **options) if path.suffix == ".svg" else path.touch()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        yield


@pytest.fixture(scope="module")
def svg_only() -> Iterator[None]:
    """`drawn_as_svg` in this module."""
    with drawn_as_svg():
        yield


@pytest.fixture
def loopback(tmp_path, monkeypatch):
    """An empty hub on loopback, asked by this process and its children, with an empty cache in tmp_path / cache."""
    from huggingface_hub import close_session, constants
    from loopback_hub import running

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with running() as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": tmp_path / "cache", "HF_HOME": tmp_path / "home"}
        for name, value in {**environment, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}.items():
            monkeypatch.setenv(name, str(value))
        files = "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": hub.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + files,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
            "HF_TOKEN_PATH": str(tmp_path / "home" / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield hub
        close_session()


@pytest.fixture
def soon():
    """What hangs fails."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(20)
    yield
    signal.alarm(0)
