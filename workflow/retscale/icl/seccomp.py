"""The system calls that a program which is not trusted does without.

A list of what is denied and not of what is allowed, so that the next version of Python, node or g++ still starts. It
holds what leaves the sandbox, what reaches other processes, what takes memory that no limit counts, and large parts of
the kernel that no test needs. Pairs of connected sockets stay, for event loops use them.
"""

import ctypes
import errno
import os
import struct

from retscale.icl.kernel import call

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # as the kernel's audit names them
# Several calls of one kind share a line.
# fmt: off
DENIED = {  # system call: its number on each of them
    # sockets, so also those of other users' services that are files
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # other namespaces and file systems
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # memory that outlives its mapping
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "mq_open": (240, 180),
    # a queue of which all users of the machine share a few
    "io_setup": (206, 0),
    # much of the kernel
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218),
}
# fmt: on
CLONE, CLONE3, SOCKETPAIR = (56, 220), (435, 435), (53, 199)
NEW_NAMESPACES = 0x7E020000  # clone's flags: mount, cgroup, uts, ipc, user, pid, net
X32 = 0x40000000  # numbers from here on are x86_64's second table
AF_UNIX, SOCK_STREAM, SOCK_TYPES = 1, 1, 0xF

LOAD, AND, RETURN, IF_EQUAL, IF_AT_LEAST, IF_ANY_BIT = 0x20, 0x54, 0x06, 0x15, 0x35, 0x45  # of a BPF machine
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24  # where it loads a call's number and arguments from
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
DENY, ABSENT = FAIL | errno.EPERM, FAIL | errno.ENOSYS
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2


def install() -> None:
    """Deny them to this process and to whatever it starts, for good; OSError if this machine cannot."""
    instructions = compiled(os.uname().machine)
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(code))
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0)


def compiled(machine: str) -> bytes:
    """The filter as the kernel reads it, 8 bytes an instruction; OSError for a machine whose calls are not known."""
    if machine not in ARCHITECTURES:
        raise OSError(f"system calls of {machine} are not known, only those of {' and '.join(ARCHITECTURES)}")
    column = list(ARCHITECTURES).index(machine)
    lines = [  # operation, lines to skip if true, lines to skip if false, value
        (LOAD, 0, 0, ARCHITECTURE),
        (IF_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (IF_AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, KILL),
    ]
    for numbers in DENIED.values():
        lines += [(IF_EQUAL, 0, 1, numbers[column]), (RETURN, 0, 0, DENY)]
    lines += [
        (IF_EQUAL, 0, 1, CLONE3[column]),  # its flags lie in memory; C falls back to clone
        (RETURN, 0, 0, ABSENT),
        (IF_EQUAL, 0, 4, CLONE[column]),
        (LOAD, 0, 0, FIRST),
        (IF_ANY_BIT, 0, 1, NEW_NAMESPACES),
        (RETURN, 0, 0, DENY),
        (RETURN, 0, 0, ALLOW),
        (IF_EQUAL, 0, 7, SOCKETPAIR[column]),  # only of a kind that stays connected to its other end
        (LOAD, 0, 0, FIRST),
        (IF_EQUAL, 0, 3, AF_UNIX),
        (LOAD, 0, 0, SECOND),
        (AND, 0, 0, SOCK_TYPES),
        (IF_EQUAL, 1, 0, SOCK_STREAM),
        (RETURN, 0, 0, DENY),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)
