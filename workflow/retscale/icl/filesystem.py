"""The files that a program which is not trusted can see: none but what Python, node and g++ need.

Everything else does not exist for it, /proc, /tmp, /run, /var and the home folders among it: no file of this user, no
socket or pipe of a service, no other process.
"""

import ctypes
import os

from retscale.icl.kernel import call

FOLDER = "/program"  # the only one that can be written
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/etc/alternatives",
    "/etc/ld.so.cache",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
NEW_ROOT, OLD_ROOT = "/tmp", "/.old"  # where the new one is built, and where the old one lies in it until the end
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 2, 4, 4096, 16384, 1 << 18, 2
RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_SETATTR = 442  # the same on every machine, and the C library may be older


def enter(visible: list[str], hidden: list[str], size: int, files: int, owner: int) -> None:
    """See no more than SYSTEM and `visible`, all of it read-only, less `hidden`, and an empty FOLDER of `owner`.

    `size`: bytes of FOLDER, which lies in memory; `files`: how many it may hold. Of two paths that lie in each other
    the inner one decides. Needs a namespace of mounts of its own and the right to mount in it; OSError otherwise.
    """
    sources = {path: os.path.realpath(path) for path in (*DEVICES, *SYSTEM, *visible) if os.path.exists(path)}
    call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    memory(NEW_ROOT, "mode=755,size=1M")
    os.mkdir(NEW_ROOT + OLD_ROOT)
    call("pivot_root", NEW_ROOT.encode(), (NEW_ROOT + OLD_ROOT).encode())
    os.chdir("/")
    for path in DEVICES:
        show(OLD_ROOT + sources[path], path, NOEXEC)
    for path in sorted({*sources, *hidden} - {*DEVICES, "/"}, key=lambda path: path.count("/")):
        if path in hidden:
            hide(path)
        elif not os.path.exists(path):
            show(OLD_ROOT + sources[path], path, NODEV)
    os.mkdir(FOLDER)
    call("umount2", OLD_ROOT.encode(), MNT_DETACH)
    os.rmdir(OLD_ROOT)
    restrict("/", RDONLY | NOSUID)
    memory(FOLDER, f"mode=700,size={size},nr_inodes={files},uid={owner},gid={owner}")


def show(source: str, path: str, attributes: int) -> None:
    """What lies at `source`, a folder or a file, lies at `path` as well."""
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    call("mount", source.encode(), path.encode(), None, MS_BIND | MS_REC, None)
    restrict(path, attributes)


def hide(path: str) -> None:
    """What can be seen of `path` is empty."""
    if os.path.isdir(path):
        memory(path, "mode=755,size=1M")
    elif os.path.exists(path):
        call("mount", b"/dev/null", path.encode(), None, MS_BIND, None)


def memory(path: str, options: str) -> None:
    """An empty file system in memory at `path`."""
    call("mount", b"tmpfs", path.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options.encode())


def restrict(path: str, attributes: int) -> None:
    """Add mount `attributes` to `path` and to whatever is mounted below it."""
    attr = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    call("syscall", MOUNT_SETATTR, AT_FDCWD, path.encode(), AT_RECURSIVE, ctypes.byref(attr), ctypes.sizeof(attr))
