"""The processes that a fork starts as forks too: `retscale` and `python FILE.py` in a folder for PATH.

They ask a server for a process with their own arguments, environment, folder and open files. It is killed when they are.
"""

import atexit
import fcntl
import functools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from multiprocessing.connection import wait
from pathlib import Path

import warm

HIGH = 300  # above any number of an open file that a command brings

COMMAND = """#!{python} -IS
import json, os, socket, sys

arguments = ["retscale", *sys.argv[1:]]
if sys.argv[0].endswith("python"):
    del arguments[0]
    if not arguments or not arguments[0].endswith(".py"):
        os.execv({python!r}, [{python!r}, *arguments])
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
files = [number for number in map(int, os.listdir("/dev/fd")) if os.path.exists("/dev/fd/%d" % number)]
files.remove(asked.fileno())
job = json.dumps([arguments, dict(os.environ), os.getcwd(), files]).encode()
socket.send_fds(asked, [len(job).to_bytes(8, "big")], files)
asked.sendall(job)
sys.exit(int(asked.recv(8) or 1))
"""


@functools.cache
def folder() -> Path:
    """The folder of the commands; their server lives as long as this process."""
    made = Path(tempfile.mkdtemp(prefix="warm-"))
    address = str(made / "socket")
    for name in ("retscale", "python"):
        (made / name).write_text(COMMAND.format(python=sys.executable, address=address))
        (made / name).chmod(0o755)
    server = warm.Process(_serve, address, environment=dict(os.environ))
    while not os.path.exists(address):
        assert server.poll() is None, "the server of forks has ended"
        time.sleep(0.01)
    atexit.register(server.kill)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def _serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}~")
        listener.listen()
        os.rename(f"{address}~", address)  # who finds it can connect
        parent = multiprocessing.parent_process().sentinel
        while parent not in wait([listener, parent]):
            command, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(command)
            command.close()
            while _reap():
                pass


def _reap() -> bool:
    """Whether a job has ended that had not been seen to end."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _run(command: socket.socket) -> None:
    """Be the job that `command` asks for, tell it the exit status, and end."""
    size, files, *_ = socket.recv_fds(command, 8, 64)
    with command.makefile("rb") as asked:
        arguments, environment, folder, numbers = json.loads(asked.read(int.from_bytes(size, "big")))
    files, command = [fcntl.fcntl(file, fcntl.F_DUPFD, HIGH) for file in files], _above(command)
    for file, number in zip(files, numbers):
        os.dup2(file, number)
        os.close(file)
    # Those of the server are of other files, which could be sought in, and multiprocessing has given it another stdin.
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    threading.Thread(target=_die_with, args=(command,), daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    status = 1
    try:
        warm.command(arguments)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        else:
            status = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        command.sendall(str(status).encode())
        os._exit(0)


def _above(command: socket.socket) -> socket.socket:
    return socket.socket(fileno=fcntl.fcntl(command.detach(), fcntl.F_DUPFD_CLOEXEC, HIGH))


def _die_with(command: socket.socket) -> None:
    command.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)
