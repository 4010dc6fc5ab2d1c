"""Run a command that is not trusted: python confine.py FOLDER NAME SECONDS MEMORY COMMAND...

In namespaces of its own for users, network, processes and mounts: without any network, out of reach of any other
process, with every file system read-only but FOLDER, which becomes an empty one in memory and receives standard input
as NAME. Time on the processor (s), memory (bytes), processes (unless root starts it, whose processes the kernel does not
count), and sizes and numbers of files are limited. A program by itself and not a function, since nothing else may run
between leaving the old namespaces and starting the command.

Status UNCONFINED: some protection cannot be had on this machine, and the command was not run.
"""

import ctypes
import os
import resource
import sys

UNCONFINED = 121
NEW_NAMESPACES = 0x10000000 | 0x40000000 | 0x20000000 | 0x00020000 | 0x08000000  # user, net, pid, mount, ipc
MS_NOSUID, MS_NODEV, MS_REC, MS_PRIVATE = 2, 4, 16384, 1 << 18
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
NOBODY = 65534
MEGABYTE = 2**20
DISK, OUTPUT = 64 * MEGABYTE, 16 * MEGABYTE
PROCESSES, FILES = 64, 128


def main(folder: str, name: str, seconds: int, memory: int, command: list[str]) -> None:
    program = sys.stdin.buffer.read()
    try:
        isolate()
        if pid := os.fork():  # only a child enters the new namespace of processes
            os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
        close_files(folder)
    except OSError as error:
        print(error, file=sys.stderr)
        os._exit(UNCONFINED)
    os.chdir(folder)
    with open(name, "wb") as file:
        file.write(program)
    limits = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_NPROC: PROCESSES,
        resource.RLIMIT_FSIZE: OUTPUT,
        resource.RLIMIT_NOFILE: FILES,
        resource.RLIMIT_CORE: 0,
    }
    for which, limit in limits.items():
        resource.setrlimit(which, (limit, limit))
    os.execvpe(command[0], command, {"PATH": os.environ["PATH"], "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"})


def isolate() -> None:
    """Leave every shared namespace, as nobody: a user without rights even in the new ones once a command starts."""
    user, group = os.getuid(), os.getgid()
    call("unshare", NEW_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {user} 1"), ("gid_map", f"{NOBODY} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def close_files(folder: str) -> None:
    """Every file system read-only, `folder` an empty one in memory."""
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
    call(
        "syscall", SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    call("mount", b"tmpfs", folder.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, f"size={DISK},mode=700".encode())


def call(function: str, *arguments) -> None:
    """A function of the C library that returns 0; OSError otherwise."""
    arguments = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments):
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
