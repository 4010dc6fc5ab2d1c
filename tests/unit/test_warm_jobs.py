"""The forks that stand in for the processes of a study's jobs."""

import os
import subprocess
import time

import pytest
import warm_jobs


def command(script: str) -> dict:
    """Of `subprocess`: a shell in which the commands come first."""
    path = f"{warm_jobs.folder()}{os.pathsep}{os.environ['PATH']}"
    return {"args": ["bash", "-c", script], "env": {**os.environ, "PATH": path, "WORD": "word"}}


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        ("", 0, []),
        ("sys.exit(3)", 3, []),
        ("sys.exit('why')", 1, ["why"]),
        ("1 / 0", 1, ["ZeroDivisionError: division by zero"]),
    ],
)
def test_a_fork_has_the_files_folder_and_environment_of_its_command_and_ends_it(tmp_path, end, status, said):
    (tmp_path / "job.py").write_text(
        f"import os, sys\nprint(os.getcwd(), os.environ['WORD'], open(sys.argv[1]).read(), sys.stdin.read())\n{end}"
    )
    script = "echo in | python job.py <(printf file) > out"
    done = subprocess.run(**command(script), cwd=tmp_path, capture_output=True, text=True)
    assert (tmp_path / "out").read_text() == f"{tmp_path} word file in\n\n" and done.returncode == status
    assert done.stderr.splitlines()[-1:] == said


def test_it_is_killed_with_its_command(tmp_path):
    (tmp_path / "job.py").write_text(
        "import os, pathlib, time\npathlib.Path('begun').write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    process = subprocess.Popen(**command("exec python job.py"), cwd=tmp_path)
    begun = tmp_path / "begun"
    while not begun.exists() or not begun.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while _runs(int(begun.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Not so of a process that has ended and that nobody has waited for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
