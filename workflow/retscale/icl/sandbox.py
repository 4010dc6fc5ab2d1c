"""Generated programs, run where they can do no harm (confine.py), and whether they pass their tests.

A program in Python cannot grade itself (grade.py). One in JavaScript or C++ shares its process with the comparison, so
one that prints what a right program would print passes.
"""

import contextlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from huggingface_hub import constants

from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.icl import confine, filesystem, grade
from retscale.icl.item import Program

SECONDS, WALL_SECONDS, MEMORY = 5, 15, 2**30  # for one test; compiling counts as well
PACKAGES = str(Path(__file__).parents[2])
START = f"""
import sys
sys.path.append({PACKAGES!r})
from {confine.__name__} import main
"""
GRADE = Path(grade.__file__).read_text()
TOOLS = {  # language: what runs it, a correct program, and an input for which it returns 2
    "python": (sys.executable, "def f(x):\n    return x + 1", "(1,)"),
    "javascript": ("node", "const f = (x) => x + 1", "1"),
    "c++": ("g++", "int f(int x) { return x + 1; }", "1"),
    "cpp": ("g++", "int f(int x) { return x + 1; }", "1"),
}

CPP = """
#include <cmath>
#include <iostream>
#include <map>
#include <math.h>
#include <string>
#include <vector>
using namespace std;
template <class T> bool issame(T a, T b) { return a == b; }
inline bool issame(float a, float b) { return fabs(a - b) < 1e-4; }
inline bool issame(double a, double b) { return fabs(a - b) < 1e-3; }
inline bool issame(vector<float> a, vector<float> b) {
    bool same = a.size() == b.size();
    for (size_t i = 0; same && i < a.size(); i++) same = fabs(a[i] - b[i]) <= 1e-4;
    return same;
}
"""


def passes(programs: list[tuple[str, str, Program]], label: str) -> list[bool]:
    """For each (prompt, generated text, tests): whether the program passes all of its tests.

    UserError if this machine cannot confine them, or lacks what a language needs.
    """
    require({tests.language for _, _, tests in programs})
    return [
        all(_passes(prompt + first_function(output), tests, i) for i in range(len(tests.inputs)))
        for prompt, output, tests in progress(programs, f"{label}: tests", unit="programs")
    ]


def require(languages: set[str]) -> None:
    """UserError if this machine cannot confine programs, or lacks what one of the languages needs."""
    for language in sorted(languages):
        _require_language(language)


def first_function(output: str) -> str:
    """The generated text up to the first line that is not indented: there a function ends."""
    return re.split(r"\n[A-Za-z0-9#`]", output)[0]


def _passes(code: str, tests: Program, i: int) -> bool:
    """Test number `i`, compared as the release does it in each language."""
    entry, arguments, expected = tests.entry_point, tests.inputs[i], tests.outputs[i]
    if tests.language == "python":
        test = json.dumps({"code": code, "entry_point": entry, "input": arguments, "output": expected})
        return run("test.json", test, [sys.executable, "-I", "-c", GRADE])[0] == grade.PASSED
    if tests.language == "javascript":
        code += f"\nconsole.log(JSON.stringify({entry}({arguments})) === JSON.stringify({expected}));"
        return run("test.js", code, ["node", "--max-old-space-size=512", "test.js"])[1] == "true\n"
    code = f"{CPP}{code}\nint main() {{ cout << issame({entry}({arguments}), {expected}); return 0; }}\n"
    return run("test.cpp", code, ["sh", "-c", "g++ -std=c++11 test.cpp -o test && ./test"])[1] == "1"


def run(name: str, content: str, command: list[str], seconds: int = SECONDS) -> tuple[int, str]:
    """Status and output of `command` beside the file `name`, confined; UserError if it cannot be."""
    job = {
        "name": name,
        "command": command,
        "seconds": seconds,
        "wall_seconds": WALL_SECONDS,
        "memory": MEMORY,
        "visible": _visible_folders(),
        "hidden": _hidden_paths(),
    }
    reading, report = os.pipe()
    call = [sys.executable, "-I", "-S", "-c", f"{START}main({report}, **{job!r})"]
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            call,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.DEVNULL,
            pass_fds=[report],
            start_new_session=True,
        ) as process,
        open(reading) as answers,  # closed first: then the program is killed
    ):
        os.close(report)
        with contextlib.suppress(BrokenPipeError), process.stdin:  # ty: ignore[invalid-context-manager] - it is a pipe
            process.stdin.write(content.encode("utf-8", "replace"))
        kind, _, answer = (answers.readline() or "error it was killed").strip().partition(" ")
        if kind == "error":
            raise UserError(
                "generated programs cannot be run safely here, for this machine does not let a user leave its network "
                f"and files ({answer}); leave `execute` off"
            )
        output.seek(0)
        return int(answer), output.read().decode("utf-8", "replace")


def _visible_folders() -> list[str]:
    """Folders of this Python, of node and of g++, wherever they are installed; none that holds a home folder."""
    folders = {sys.prefix, sys.base_prefix}
    for tool in filter(None, (sys.executable, shutil.which("node"), shutil.which("g++"))):
        folders |= {str(Path(tool).parent), str(Path(tool).resolve().parent.parent)}
    return sorted(folder for folder in folders if not any(home.is_relative_to(folder) for home in _homes()))


def _hidden_paths() -> list[str]:
    """What must not be seen even where it lies within a folder that is: home folders and tokens."""
    return sorted({*map(str, _homes()), constants.HF_HOME, constants.HF_TOKEN_PATH})


def _homes() -> set[Path]:
    """This user's home folder, by the environment and by the machine."""
    homes = {Path(os.path.expanduser("~"))}
    with contextlib.suppress(KeyError):  # a container may not know its user
        homes.add(Path(pwd.getpwuid(os.getuid()).pw_dir))
    return homes | {home.resolve() for home in homes}


def _require_language(language: str) -> None:
    """UserError unless a correct program of this language passes here; else every score would be 0."""
    if language not in TOOLS:
        raise UserError(f"programs in {language!r} cannot be run; known are {', '.join(TOOLS)}")
    tool, program, arguments = TOOLS[language]
    if shutil.which(tool) is None:
        raise UserError(f"programs in {language} need {tool}, which is not installed; leave `execute` off")
    if not _passes(program, Program("f", (arguments,), ("2",), language), 0):
        raise UserError(
            f"programs in {language} cannot be run here, for {tool} does not work in the sandbox; it must need files "
            f"that others may not read, or that lie outside of {', '.join([*filesystem.SYSTEM, *_visible_folders()])}; "
            "leave `execute` off"
        )
