"""Run a command that is not trusted; a program by itself, which sandbox.py starts.

Three processes, since each has to be out of the reach of the next:

- this one keeps the time. When that is up, or whoever started it is gone, it kills the second.
- the second is the first process of a namespace. With it ends every other there, whatever the command started.
- the third becomes the command. Its namespaces of users, network, processes and mounts are its own: it has no network,
  sees no other process, and of the files only those of filesystem.py. seccomp.py says what it may not ask the kernel
  for.

Started by root they become nobody once the files are in place; then no file of root is theirs, and the kernel counts
their processes. Where that user does not exist, root is one of a container; if its processes are not counted either,
nothing is run.

What is limited: for each process, time on its processor, private memory (`memory`), all memory (twice that, which
counts what it shares) and the size and number of files; for all together, the wall clock, processes and the size of
FOLDER. So the sum of memory is bounded by the number of processes alone; if the machine's runs out, the kernel ends
them first.
"""

import os
import resource
import select
import signal
import sys

from retscale.icl import filesystem, seccomp
from retscale.icl.kernel import call

NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
NEW_OTHERS = 0x40000000 | 0x20000000 | 0x08000000  # net, pid, ipc
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
NOBODY = 65534
MEGABYTE = 2**20
DISK, OUTPUT = 64 * MEGABYTE, 16 * MEGABYTE
PROCESSES, FILES, FILES_IN_FOLDER = 64, 128, 4096


def main(report: int, **job) -> None:
    """Run `job` (see `run`) with standard input in its file, and write one line to the descriptor `report`.

    "status N", the command's or -9 if its time was up, or "error WHY", and the command was not run.
    """
    os.set_inheritable(report, False)  # the command never has it
    try:
        answer = f"status {run(report, sys.stdin.buffer.read(), **job)}"
    except Exception as error:  # whatever it is, the command must not run
        answer = f"error {error}"
    os.write(report, f"{answer}\n".encode())
    os._exit(0)


def run(
    report: int,
    content: bytes,
    name: str,
    command: list[str],
    seconds: int,
    wall_seconds: float,
    memory: int,
    visible: list[str],
    hidden: list[str],
) -> int:
    """Status of `command` beside a file `name` of `content`; in the third process this does not return."""
    isolate(visible, hidden)
    with open(os.path.join(filesystem.FOLDER, name), "wb") as file:
        file.write(content)
    read_end, write_end = os.pipe()  # closed when this process ends
    if child := os.fork():
        return wait_for(child, report, wall_seconds)
    os.setsid()  # no signal to a group reaches the one that keeps the time
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.close(write_end)
    if select.select([read_end], [], [], 0)[0]:  # it ended before that was set
        os._exit(1)
    if grandchild := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) & 0xFF)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.chdir(filesystem.FOLDER)
    limit(seconds, memory)
    seccomp.install()
    folder = filesystem.FOLDER
    os.execvpe(command[0], command, {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"})


def wait_for(process: int, report: int, wall_seconds: float) -> int:
    """Status of `process`, which is killed after `wall_seconds` or when nobody reads `report` any more."""
    poll = select.poll()
    poll.register(os.pidfd_open(process), select.POLLIN)
    poll.register(report, 0)  # an error, once the other end is closed
    in_time = [fd for fd, _ in poll.poll(wall_seconds * 1000) if fd != report]
    if not in_time:
        os.kill(process, signal.SIGKILL)
    status = os.waitpid(process, 0)[1]
    return os.waitstatus_to_exitcode(status) if in_time else -signal.SIGKILL


def isolate(visible: list[str], hidden: list[str]) -> None:
    """Leave every shared namespace, as nobody: a user without rights even in the new ones once a command starts."""
    proc = os.open("/proc", os.O_PATH)  # it is in use after it is out of sight
    write(proc, "oom_score_adj", "1000")
    root = os.getuid() == 0 and nobody_exists()
    if root:
        call("unshare", NEW_MOUNTS)
    else:
        new_user(proc, NEW_MOUNTS)
    filesystem.enter(visible, hidden, size=DISK, files=FILES_IN_FOLDER, owner=NOBODY)
    if root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # or its entry of /proc stays root's
    new_user(proc, NEW_OTHERS)


def nobody_exists() -> bool:
    """Whether this namespace of users has that one; a container's may hold root alone."""
    with open("/proc/self/uid_map") as file:
        ranges = [line.split() for line in file]
    return any(int(first) <= NOBODY < int(first) + int(count) for first, _, count in ranges)


def new_user(proc: int, namespaces: int) -> None:
    """New `namespaces`, and one of users where this one is nobody; `proc` is /proc."""
    user, group = os.getuid(), os.getgid()
    call("unshare", NEW_USER | namespaces)
    write(proc, "setgroups", "deny")
    write(proc, "uid_map", f"{NOBODY} {user} 1")
    write(proc, "gid_map", f"{NOBODY} {group} 1")


def write(proc: int, name: str, text: str) -> None:
    with open(os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc), "w") as file:
        file.write(text)


def limit(seconds: int, memory: int) -> None:
    """Limit this process; OSError if the kernel does not count this user's processes, as it does not root's."""
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: 2 * memory,
        resource.RLIMIT_FSIZE: OUTPUT,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, PROCESSES))
    try:
        if os.fork() == 0:
            os._exit(0)
    except BlockingIOError:
        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
    else:
        raise OSError("the kernel does not count the processes of root, and there is no user nobody")
