"""Whether a package was signed by somebody who is trusted: `ssh-keygen -Y verify` with a file of allowed signers."""

from __future__ import annotations

import os
import subprocess

from bevlite.agent.fault import Fault
from bevlite.board.contents import MANIFEST, SIGNATURE

NAMESPACE = "bevlite-package"
LIMIT_S = 60.0


def verify(root: str, signers: str) -> str:
    """Who signed the package (raises Fault `package_damaged` where nobody of the signers' file did).

    Args:
        root: of the package.
        signers: a file of lines `IDENTITY namespaces="bevlite-package" KEY` (`man ssh-keygen`, ALLOWED SIGNERS). It
            must not come with the package.
    """
    signature, manifest = os.path.join(root, SIGNATURE), os.path.join(root, MANIFEST)
    if not os.path.isfile(signature):
        raise Fault("package_damaged", "the package is not signed; accepted: one with " + SIGNATURE)
    if not os.path.isfile(signers):
        raise Fault("bad_request", f"--signers: {signers}: no such file")
    place = ["-f", signers, "-n", NAMESPACE, "-s", signature]
    who = _keygen(["-Y", "find-principals", "-f", signers, "-s", signature], None).strip().splitlines()
    if not who:
        raise Fault("package_damaged", f"the package was signed by nobody of {signers}")
    with open(manifest, "rb") as stream:
        text = stream.read()
    _keygen(["-Y", "verify", "-I", who[0], *place], text)
    return who[0]


def _keygen(arguments: list[str], given: bytes | None) -> str:
    try:
        done = subprocess.run(
            ["ssh-keygen", *arguments],
            input=given,
            stdin=None if given is not None else subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Fault("bad_request", f"ssh-keygen cannot verify the signature ({error})") from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace").strip().splitlines()
        raise Fault("package_damaged", "the signature does not hold: {}".format(said[-1] if said else "no reason"))
    return done.stdout.decode("utf-8", "replace")
