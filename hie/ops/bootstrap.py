"""Makes `.venv` from the locked requirements; run by `./hub` with the system's own python3.

Standard library only. Two hubs started at once take turns (a lock file), and
the stamp that says "ready" is written last: whatever interrupts an install,
the next call does it again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path


def main(root: Path, wanted: str, run_sum: str, dev_sum: str) -> int:
    """Bring `.venv` to what the two locked files say; 0 when it is there."""
    target = root / ".venv"
    with open(root / ".venv.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./hub is installing; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not usable(target):
            say(f"making the environment .venv (Python {sys.version.split()[0]}) …")
            shutil.rmtree(target, ignore_errors=True)
            venv.EnvBuilder(symlinks=True, with_pip=True).create(target)
        if stamp(target, "run") != run_sum and not install(target, "run", root / "requirements.txt", run_sum):
            return 1
        if wanted == "dev" and stamp(target, "dev") != dev_sum:
            return 0 if install(target, "dev", root / "requirements-dev.txt", dev_sum) else 1
    return 0


def usable(target: Path) -> bool:
    """Whether the environment's own Python runs, is new enough and has pip.

    An upgrade of the system's Python leaves an environment behind that points at nothing.
    """
    try:
        probe = subprocess.run(
            [target / "bin" / "python", "-I", "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"],
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return probe.returncode == 0


def stamp(target: Path, name: str) -> str:
    try:
        return (target / f".hub-{name}").read_text().strip()
    except OSError:
        return ""


def install(target: Path, name: str, requirements: Path, checksum: str) -> bool:
    """Install one locked file with hashes required; shows each package as it comes."""
    (target / f".hub-{name}").unlink(missing_ok=True)
    total = sum(1 for line in requirements.read_text().splitlines() if "==" in line and not line.startswith((" ", "#")))
    say(f"installing {total} locked packages from {requirements.name} (once; about half a minute) …")
    began = time.monotonic()
    command = [str(target / "bin" / "python"), "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-warn-script-location"]
    command += ["--no-compile", "--progress-bar", "off", "-r", str(requirements)]
    tail: list[str] = []
    seen = 0
    with subprocess.Popen(
        command, cwd=requirements.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            tail = [*tail[-30:], line]
            if line.startswith(("Collecting ", "Requirement already satisfied: ")):
                seen += 1
                if sys.stdout.isatty():
                    print(
                        f"\r  {seen}/{total} {line.split()[-1 if line[0] == 'C' else 3][:50]:<50}", end="", flush=True
                    )
                elif seen % 20 == 0:
                    say(f"  {seen}/{total} packages fetched")
            elif line.startswith("Installing collected"):
                if sys.stdout.isatty():
                    print()
                say("  unpacking …")
    if pip.returncode != 0:
        sys.stdout.writelines(tail)
        say("the installation failed; the lines above say why. Run the same command again to retry.")
        return False
    fresh = target / f".hub-{name}.new"
    fresh.write_text(checksum + "\n")
    os.replace(fresh, target / f".hub-{name}")
    say(f"  installed in {time.monotonic() - began:.0f} s")
    return True


def say(text: str) -> None:
    print(f"hub: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3].strip(), sys.argv[4].strip()))
