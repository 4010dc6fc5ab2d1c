"""A detached ssh signature of the root and the seal of an audit, by OpenSSH's `ssh-keygen -Y`."""

import subprocess
from pathlib import Path

from retscale.audit.walk import Walk
from retscale.common.files import atomic_write
from retscale.errors import UserError

NAMESPACE = "retscale-audit"  # so that no signature of another purpose counts


def message(walked: Walk) -> bytes:
    """What is signed. It names no path, so a study may be moved."""
    return f"root {walked.root}\nseal {walked.seal}\n".encode()


def sign(walked: Walk, key: Path, out: Path) -> None:
    """Write the signature by the private `key`, or by the agent for a public one; UserError if that cannot be done."""
    signature = _ssh_keygen(["sign", "-f", str(key), "-n", NAMESPACE], message(walked))
    with atomic_write(out) as file:
        file.write(signature.stdout)


def signer(walked: Walk, signature: Path, signers: Path) -> str:
    """Who of the allowed `signers` (in the format of ssh's ALLOWED_SIGNERS) signed; UserError if nobody did.

    That is so as well where root or seal are others than those that were signed.
    """
    for path in (signature, signers):
        if not path.is_file():
            raise UserError(f"there is no file {path}")
    common = ["-s", str(signature), "-f", str(signers)]
    names = _ssh_keygen(["find-principals", *common]).stdout.decode(errors="replace").splitlines()
    for name in names:
        _ssh_keygen(["verify", *common, "-I", name, "-n", NAMESPACE], message(walked))
        return name
    raise UserError(f"{signature} is not by a signer in {signers}")


def _ssh_keygen(arguments: list[str], text: bytes = b"") -> subprocess.CompletedProcess:
    try:
        done = subprocess.run(["ssh-keygen", "-Y", *arguments], input=text, capture_output=True)
    except FileNotFoundError:
        raise UserError("there is no ssh-keygen; install OpenSSH 8.9 or later") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise UserError(f"ssh-keygen -Y {arguments[0]}: {lines[-1] if lines else 'failed'}")
    return done
