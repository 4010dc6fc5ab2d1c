"""Generated programs that attack: they reach nothing, outlive nothing, use no more than their limits, score nothing."""

import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retscale.errors import UserError
from retscale.icl import sandbox
from retscale.icl.item import Program

pytestmark = pytest.mark.slow  # waits for programs that must be killed

PYTHON = [sys.executable, "-I", "t.py"]
WORKFLOW = str(Path(sandbox.__file__).parents[2])


def confined() -> bool:
    """Whether this machine gives its users namespaces."""
    try:
        return sandbox.run("x", "", ["true"])[0] == 0
    except UserError:
        return False


needs_namespaces = pytest.mark.skipif(not confined(), reason="this machine gives its users no namespaces")
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers and machine code of x86_64")


def eventually(condition, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(condition())


def processes(mark: str) -> list[int]:
    """Processes of this machine, in whatever namespace, that have `mark` as an argument."""
    with_mark = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                with_mark.append(int(path.parent.name))
        except OSError:
            continue
    return with_mark


@pytest.fixture
def mark(request):
    """An argument that only the processes of this test have; what is left of them is killed."""
    text = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    yield text
    for process in processes(text):
        os.kill(process, signal.SIGKILL)


# --- what lies outside


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """What lies outside the sandbox, by name: files, a place on a file system of its own, ports and sockets that
    answer, a pipe with a reader, a process, shared memory and a secret of the environment.
    """
    (tmp_path / "canary").write_text("alive")
    token = tmp_path / "home/.cache/huggingface/token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_secret")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SECRET", "known")
    library = ctypes.CDLL(None)
    segment = library.shmget(0, 16, 0o666)
    elsewhere = Path("/dev/shm", tmp_path.name)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as service,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        service.bind(str(tmp_path / "service"))
        service.listen()
        datagrams.bind(str(tmp_path / "datagrams"))
        for path in (tmp_path, *tmp_path.rglob("*")):
            path.chmod(0o777)  # whoever the program is, it would be let in
        yield {
            "folder": tmp_path,
            "canary": tmp_path / "canary",
            "token": token,
            "elsewhere": elsewhere,
            "port": server.getsockname()[1],
            "pid": os.getpid(),
            "segment": segment,
        }
    os.close(reader)
    elsewhere.unlink(missing_ok=True)
    library.shmctl(segment, 0, None)
    assert (tmp_path / "canary").read_text() == "alive"


def attacked(harm: str) -> str:
    code = f"try:\n    {harm}\n    print('done')\nexcept BaseException as error:\n    print(type(error).__name__)\n"
    status, output = sandbox.run("t.py", code, PYTHON)
    assert status == 0 and output.strip()
    return output


HARM = {
    "network": "import socket; socket.create_connection(('127.0.0.1', {port}), 2)",
    "write": "open('{canary}', 'w')",
    "remove": "import os; os.remove('{canary}')",
    "write elsewhere": "open('{elsewhere}', 'w')",
    "mount": "import ctypes; ctypes.CDLL(None).mount(None, b'/', None, 32 | 4096, None) == 0 or 1 / 0",
    "kill": "import os; os.kill({pid}, 0)",
    "shared memory": "import ctypes; ctypes.CDLL(None).shmctl({segment}, 0, None) == 0 or 1 / 0",
    "environment": "import os; os.environ['SECRET']",
    "memory": "bytearray(3 * 2**30)",
    "big file": "open('big', 'wb').write(bytes(2**25))",
    "disk": "[open(str(i), 'wb').write(bytes(15 * 2**20)) for i in range(6)]",
    "open files": "[open('/dev/null') for _ in range(500)]",
    "socket": "import socket; socket.socket(socket.AF_UNIX).connect('{folder}/service')",
    "datagram": "import socket as s; s.socketpair(s.AF_UNIX, s.SOCK_DGRAM)[0].sendto(b'x', '{folder}/datagrams')",
    "pipe": "import os; os.open('{folder}/pipe', os.O_WRONLY | os.O_NONBLOCK)",
    "token": "open('{token}').read()",
    "home": "import os; os.listdir('/home'), os.listdir('/var'), os.listdir('/run')",
    "process list": "open('/proc/{pid}/cmdline').read()",
    "terminal": "import os; os.stat('/dev/tty')",
    "new namespace": "import ctypes; ctypes.CDLL(None).unshare(0x10000000) == 0 or 1 / 0",
    "ptrace": "import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 or 1 / 0",
    "shared mapping": "import mmap; mmap.mmap(-1, 3 * 2**30)",
    "memory file": "import os; os.memfd_create('x')",
    "segment": "import ctypes; ctypes.CDLL(None).shmget(0, 2**20, 0o1666) != -1 or 1 / 0",
    "message queue": "import ctypes; ctypes.CDLL(None).msgget(0, 0o1666) != -1 or 1 / 0",
    "many files": "[open(str(i), 'w').close() for i in range(20000)]",
}


@needs_namespaces
@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_generated_programs_can_do_no_harm(harm, outside):
    assert "done" not in attacked(harm.format(**outside))


@needs_namespaces
@needs_root
def test_as_root_no_device_node_opens():
    discs = [path for path in Path("/dev").iterdir() if path.is_block_device() and opens(path)]
    if not discs:
        pytest.skip("root can open no disc here")
    assert "done" not in attacked(f"open('{discs[0]}', 'rb')")


def opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@needs_namespaces
@x86_64
@pytest.mark.parametrize(
    "number",
    {
        "io_uring_setup": 425,
        "bpf": 321,
        "perf_event_open": 298,
        "add_key": 248,
        "open_by_handle_at": 304,
        "io_setup": 206,
    }.items(),
    ids=lambda call: call[0],
)
def test_kernel_interfaces_are_closed(number):
    """Not permitted, whatever the arguments: invalid ones are an error of another kind where a call is allowed."""
    code = f"import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall({number[1]}, -1, 0, 0, 0, 0)\n"
    status, output = sandbox.run("t.py", code + "print(ctypes.get_errno())", PYTHON)
    assert (status, output) == (0, "1\n")


@needs_namespaces
@x86_64
@pytest.mark.parametrize(
    "code", [b"\xb8\x14\0\0\0\xcd\x80\xc3", b"\xb8\x27\0\0\x40\x0f\x05\xc3"], ids=["of 32 bits", "of x32"]
)
def test_other_tables_of_system_calls_end_the_program(code):
    """getpid by another table than the one that the filter knows."""
    program = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
        f"m.write({code!r})\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('alive')"
    )
    status, output = sandbox.run("t.py", program, PYTHON)
    assert (status, output) == (256 - signal.SIGSYS, "")


@needs_namespaces
def test_what_is_needed_is_seen_within_hidden_folders_and_secrets_are_hidden_within_needed_ones(outside, monkeypatch):
    folder = outside["folder"]
    environment = folder / "home/env"
    environment.mkdir()
    (environment / "library").write_text("needed")
    needed = [*sandbox._visible_folders(), str(folder), str(environment)]
    monkeypatch.setattr(sandbox, "_visible_folders", lambda: needed)
    code = f"import os; os.chdir('{folder}'); print(open('canary').read(), os.listdir('home'), os.listdir('home/env'))"
    assert sandbox.run("t.py", code, PYTHON) == (0, "alive ['env'] ['library']\n")
    for harm in ("open('{token}')", "open('{folder}/home/new', 'w')", "open('{folder}/home/env/new', 'w')"):
        assert "done" not in attacked(harm.format(**outside))


@needs_namespaces
def test_connected_sockets_threads_and_child_processes_still_work():
    code = "import asyncio, subprocess as s\nasync def f(): await asyncio.to_thread(print, s.check_output('true'))\n"
    assert sandbox.run("t.py", code + "asyncio.run(f())", PYTHON) == (0, "b''\n")


def test_the_filters_numbers_are_the_kernels():
    from retscale.icl import seccomp

    headers = {
        "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        "aarch64": Path("/usr/include/asm-generic/unistd.h"),
    }
    extra = {"clone": seccomp.CLONE, "clone3": seccomp.CLONE3, "socketpair": seccomp.SOCKETPAIR}
    calls = {**seccomp.DENIED, **extra}
    for which, machine in enumerate(seccomp.ARCHITECTURES):
        if not headers[machine].is_file():
            pytest.skip(f"no header of the kernel at {headers[machine]}")
        numbers = dict(re.findall(r"^#define __NR_(\w+)\s+(\d+)", headers[machine].read_text(), re.M))
        assert {name: int(numbers[name]) for name in calls} == {name: calls[name][which] for name in calls}


def test_a_machine_whose_system_calls_are_not_known_is_refused():
    from retscale.icl import seccomp

    with pytest.raises(OSError, match="system calls of riscv64 are not known, only those of x86_64 and aarch64"):
        seccomp.compiled("riscv64")


# --- time


@needs_namespaces
@pytest.mark.parametrize("limit", ["processor", "clock"])
def test_programs_that_never_end_are_ended(monkeypatch, limit):
    seconds, wall = (1, 600) if limit == "processor" else (600, 2)
    monkeypatch.setattr(sandbox, "WALL_SECONDS", wall)
    code = "while True: pass" if limit == "processor" else "import time; time.sleep(600)"
    started = time.monotonic()
    status, _ = sandbox.run("t.py", code, PYTHON, seconds=seconds)
    assert status != 0 and time.monotonic() - started < 120  # neither the other limit nor the program's own end


ESCAPES = {
    "session": "os.setsid()",
    "double fork": "os.fork() and os._exit(0)\nos.setsid()\nos.fork() and os._exit(0)",
    "child": "os.fork() or os.setsid()",
    "signals ignored": "[signal.signal(s, signal.SIG_IGN) for s in range(1, 64) if s not in (9, 19, 32, 33)]",
    "signals sent": "os.kill(0, signal.SIGSTOP)",
    "death signal off": "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0); os.setsid()",
}


@needs_namespaces
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
def test_no_process_outlives_the_time_of_its_program(escape, monkeypatch, mark):
    monkeypatch.setattr(sandbox, "WALL_SECONDS", 1)
    code = f"import ctypes, os, signal, time\n{escape}\ntime.sleep(600)"
    started = time.monotonic()
    sandbox.run("t.py", code, [*PYTHON, mark])
    assert processes(mark) == [] and time.monotonic() - started < 60


@needs_namespaces
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("escape", ["pass", ESCAPES["death signal off"]], ids=["plain", "session"])
def test_a_killed_job_takes_its_program_along(sent, escape, mark):
    code = f"import ctypes, os, time\n{escape}\nprint('here', flush=True)\ntime.sleep(600)"
    job = "from retscale.icl import sandbox; sandbox.WALL_SECONDS = 300; "
    job += f"sandbox.run('t.py', {code!r}, {[*PYTHON, mark]})"
    with subprocess.Popen(
        [sys.executable, "-c", job], env=os.environ | {"PYTHONPATH": WORKFLOW}, stderr=subprocess.DEVNULL
    ) as process:
        assert eventually(lambda: processes(mark))
        time.sleep(0.3)  # it has come to its escape
        process.send_signal(sent)
    assert eventually(lambda: not processes(mark))


# --- limits


@needs_namespaces
def test_programs_cannot_multiply():
    code = "import os, time\nfor i in range(200):\n    os.fork() or time.sleep(9)\n    print(i, flush=True)\n"
    status, output = sandbox.run("t.py", code, PYTHON)
    assert status != 0 and 10 < len(output.split()) < 64


@needs_namespaces
def test_what_a_program_writes_to_standard_error_is_dropped():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = "import os\nfor _ in range(300): os.write(2, bytes(2**20))"
    assert sandbox.run("t.py", code, PYTHON)[0] == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@needs_namespaces
def test_memory_that_runs_out_is_taken_from_programs_first():
    code = "import time; print('ok', flush=True); time.sleep(2)"
    mark = f"mark-{os.getpid()}-oom"
    with subprocess.Popen(
        [sys.executable, "-c", f"from retscale.icl import sandbox; sandbox.run('t.py', {code!r}, {[*PYTHON, mark]})"],
        env=os.environ | {"PYTHONPATH": WORKFLOW},
    ):
        assert eventually(lambda: processes(mark))
        assert {Path(f"/proc/{process}/oom_score_adj").read_text() for process in processes(mark)} == {"1000\n"}


@needs_namespaces
@pytest.mark.parametrize("status", [1, 42, 121])
def test_no_status_of_a_program_is_taken_for_ours(status):
    code = f"import sys; print('[Errno 1] mine', file=sys.stderr); sys.exit({status})"
    assert sandbox.run("t.py", code, PYTHON) == (status, "")


@needs_namespaces
def test_a_program_has_no_descriptor_but_the_three():
    code = "import contextlib, os\nfor fd in range(3, 128):\n    with contextlib.suppress(OSError):\n"
    assert sandbox.run("t.py", f"{code}        print(os.fstat(fd))", PYTHON) == (0, "")


# --- scores


def program(language: str, given: list[str], expected: list[str]) -> Program:
    return Program("f", tuple(given), tuple(expected), language)


@needs_namespaces
@pytest.mark.parametrize(
    "cheat",
    [
        "import os; os._exit(42)",
        "return type('Any', (), {'__eq__': lambda *_: True})()",
        "return type('Any', (int,), {'__eq__': lambda *_: True})(4)",
        "import json; return eval(json.load(open('test.json'))['output'])",
        "import sys; return eval(sys._getframe(1).f_locals['test']['output'])",
        "import builtins; builtins.bool = lambda _: True; return 4",
        "import os, signal; os.kill(os.getppid(), signal.SIGKILL)",
        "import gc; return eval([d['output'] for d in gc.get_objects() if type(d) is dict and 'output' in d][0])",
    ],
)
def test_no_program_grades_itself(cheat):
    tests = program("python", ["(1,)"], ["'5 of 7'"])
    assert sandbox.passes([("def f(x):\n", f"    {cheat}\n", tests)], "t") == [False]


@needs_namespaces
@pytest.mark.parametrize(
    ("returned", "expected", "right"),
    [
        ("None", "None", True),
        ("[1, (2, 'é'), {3: {4}}]", "[1, (2, 'é'), {3: {4}}]", True),
        ("(1, 2)", "[1, 2]", False),
        ("'yes'", "yes", True),  # not quoted, as in the released data
        ("1.0", "1", True),
        ("True", "1", True),
        ("float('inf')", "float('inf')", True),
        ("float('nan')", "float('nan')", False),
        ("b'a\\xff'", "b'a\\xff'", True),
        ("1 + 2j", "1 + 2j", True),
        ("frozenset({1})", "{1}", True),
        ("__import__('collections').Counter('aab')", "{'a': 2, 'b': 1}", True),
        ("__import__('collections').OrderedDict(a=1)", "{'a': 1}", True),
        ("__import__('collections').namedtuple('P', 'x y')(1, 2)", "(1, 2)", True),
        ("__import__('collections').deque([1])", "[1]", False),
        ("__import__('fractions').Fraction(1, 2)", "0.5", True),
        ("{1: 2}.keys()", "{1}", True),
        ("map(int, '12')", "[1, 2]", False),
        ("__import__('enum').IntEnum('E', 'A').A", "1", True),
        ("type('S', (str,), {})('a')", "'a'", True),
        ("x / 0", "1", False),
        ("print('noise') or 3", "3", True),
    ],
)
def test_values_are_compared_as_python_compares_them(returned, expected, right):
    tests = program("python", ["(1,)"], [expected])
    assert sandbox.passes([("def f(x):\n", f"    return {returned}\n", tests)], "t") == [right]


@needs_namespaces
def test_programs_are_cut_where_their_function_ends_and_tested():
    head, tests = "def f(x):\n", program("python", ["(1,)", "(2,)"], ["2", "3"])
    outputs = ["    return x + 1\nprint('next')", "    return 2\n", "    return y\n", "    return (\n", "    exit(0)"]
    scores = sandbox.passes([(head, output, tests) for output in outputs], "t")
    assert scores == [True, False, False, False, False]
    assert sandbox.first_function("  a\n  b\n\n# c\nd") == "  a\n  b\n"


@needs_namespaces
@pytest.mark.parametrize(
    ("language", "needed", "head", "right"),
    [
        ("javascript", "node", "const f = (x) => {\n", "  return [x + 1, 1]\n}"),
        ("cpp", "g++", "vector<int> f(int x) {\n", "  return {x + 1, 1};\n}"),
    ],
)
def test_programs_in_other_languages(language, needed, head, right):
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    tests = program(language, ["1"], ["[2, 1]" if language == "javascript" else "{2, 1}"])
    assert sandbox.passes([(head, right, tests), (head, "  return 3\n}", tests)], "t") == [True, False]


@needs_namespaces
def test_a_tool_that_does_not_work_in_the_sandbox_is_named(tmp_path, monkeypatch):
    tool = tmp_path / "bin/node"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\nexec {tmp_path}/elsewhere/node\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="node does not work in the sandbox; it must need files that .*/usr"):
        sandbox.passes([("", "", program("javascript", ["1"], ["1"]))], "t")


# --- machines

BECOME = """
import ctypes, json, os, sys
user, namespaces, script = json.loads(sys.argv[1])
library = ctypes.CDLL(None, use_errno=True)
def check(failed):
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
if user != os.getuid():  # this Python may lie in a folder that only root can enter
    check(library.unshare(0x20000))
    check(library.mount(b"none", b"/", None, 16384 | (1 << 18), None))
    for prefix in (sys.base_prefix, sys.prefix):
        parent = next((p for p in sorted(__import__("pathlib").Path(prefix).parents) if not p.stat().st_mode & 1), None)
        if parent:
            place = os.open(prefix, os.O_PATH)
            check(library.mount(b"tmpfs", str(parent).encode(), b"tmpfs", 0, b"mode=755"))
            os.makedirs(prefix)
            check(library.mount(f"/proc/self/fd/{place}".encode(), prefix.encode(), None, 4096, None))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    library.prctl(4, 1, 0, 0, 0)
if not namespaces:  # a namespace of users, of whom all are here, in which no other can be made
    maps = {kind: [line.split() for line in open(f"/proc/self/{kind}_map")] for kind in ("uid", "gid")}
    (ready, left), (go, mapped) = os.pipe(), os.pipe()
    if child := os.fork():
        os.read(ready, 1)
        for kind, lines in maps.items():
            rows = [f"{first} {first} {count}" for first, _, count in lines] if user == 0 else [f"{user} {user} 1"]
            if user:
                open(f"/proc/{child}/setgroups", "w").write("deny")
            open(f"/proc/{child}/{kind}_map", "w").write("\\n".join(rows))
        os.write(mapped, b"x")
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    check(library.unshare(0x10000000))
    os.write(left, b"x")
    os.read(go, 1)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
os.execv(sys.executable, [sys.executable, "-c", script])
"""
RUN = f"""
import sys
from retscale.errors import UserError
from retscale.icl import sandbox
from retscale.icl.item import Program
try:
    print(sandbox.run("t.py", "import os; print(os.getuid(), os.listdir('/dev').__len__())", {PYTHON!r}))
    print(sandbox.passes([("def f(x):\\n", "    return x", Program("f", ("(1,)",), ("1",), "python"))], "t"))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize("user", ["root", "a user"])
@pytest.mark.parametrize("namespaces", [True, False], ids=["namespaces", "none"])
def test_as_root_and_as_a_user_with_and_without_namespaces(user, namespaces):
    if user == "root" and os.getuid() != 0:
        pytest.skip("only root is root")
    number = 0 if user == "root" else os.getuid() or 12345
    done = subprocess.run(
        [sys.executable, "-c", BECOME, json.dumps([number, namespaces, RUN])],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": WORKFLOW, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    if "Error" in done.stderr and "unshare" in done.stderr:
        pytest.skip("this machine gives its users no namespaces")
    if namespaces:
        assert done.stdout == "(0, '65534 5\\n')\n[True]\n", done.stderr
    else:
        assert "cannot be run safely here" in done.stdout and "unshare: No space left on device" in done.stdout
        assert len(done.stdout.splitlines()) == 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root has processes that are not counted")
@needs_namespaces
def test_root_without_a_user_nobody_is_refused_where_its_processes_are_not_counted():
    done = subprocess.run(
        ["unshare", "-Ur", sys.executable, "-c", RUN],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": WORKFLOW},
        capture_output=True,
        text=True,
    )
    assert "does not count the processes of root, and there is no user nobody" in done.stdout, done.stderr


def test_a_machine_without_namespaces_runs_no_program(monkeypatch):
    refusal = "from retscale.icl import confine\ndef refuse(*_): raise PermissionError(1, 'unshare: not permitted')\n"
    start = f"import sys; sys.path.append({WORKFLOW!r})\n{refusal}confine.call = refuse\n{sandbox.START}"
    monkeypatch.setattr(sandbox, "START", start)
    with pytest.raises(UserError, match="cannot be run safely here.*not permitted.*leave `execute` off"):
        sandbox.run("x", "", ["true"])
    with pytest.raises(UserError, match="programs in 'cobol' cannot be run"):
        sandbox.passes([("", "", program("cobol", ["1"], ["1"]))], "t")
