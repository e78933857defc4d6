"""`./hub lock`: requirements.in to requirements.txt, exact versions with the hashes of every platform's files.

pip's own configuration says which index answers; nothing of it is written down, so the files install from any index
that serves the same released files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = [
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-emit-trusted-host",
    "--no-emit-options",
    "--no-header",
    "--quiet",
]
HEADER = "# Made by `./hub lock` from {source}; do not edit.\n"


class NamesAServer(Exception):
    """A locked file would name an index or a folder of this machine."""


def main(arguments: list[str]) -> int:
    """Lock both files, run time first since the development file is held to its versions; 0 when both are written."""
    for source in ("requirements.in", "requirements-dev.in"):
        print(f"lock: {source} …", flush=True)
        target = ROOT / source.replace(".in", ".txt")
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, *arguments, "-o", target.name, source]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            return 1
        target.write_text(
            HEADER.format(source=source)
            + without_servers(target.read_text().removeprefix(HEADER.format(source=source)))
        )
        print(f"lock: {target.name}: {pinned(target)} packages", flush=True)
    return 0


def without_servers(locked: str) -> str:
    """The text itself, once it is sure to name no server and to pin and hash every line.

    Raises:
        NamesAServer: a URL, an index option or a path.
    """
    for line in locked.splitlines():
        bare = line.strip()
        if re.search(r"[a-z]+://|^-{1,2}(i|f|index|extra-index|find-links|trusted)|^file:", bare):
            raise NamesAServer(bare)
    return locked


def pinned(path: Path) -> int:
    """How many packages a locked file pins."""
    return sum(1 for line in path.read_text().splitlines() if re.match(r"[A-Za-z0-9]", line))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
