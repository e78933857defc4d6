"""The one door works from anywhere, says plainly what is missing, and never takes half an environment for a whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hie.ops import door, lock, testing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the door with an environment that counts as installed, in a folder with blanks."""
    root = tmp_path / "my hub"
    (root / "hie").mkdir(parents=True)
    shutil.copytree(ROOT / "hie" / "ops", root / "hie" / "ops", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("hub", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, root / name)
    return root


def make_ready(root: Path) -> None:
    (root / ".venv" / "bin").mkdir(parents=True)
    (root / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name, files in {"run": ["requirements.txt"], "dev": ["requirements.txt", "requirements-dev.txt"]}.items():
        content = b"".join((root / file).read_bytes() for file in files)
        stamp = subprocess.run(["cksum"], input=content, capture_output=True, check=True).stdout.decode()
        (root / ".venv" / f".hub-{name}").write_text(stamp)


def hub(root: Path, *arguments: str, cwd: Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"PATH": path} if path is not None else {})}
    return subprocess.run([str(root / "hub"), *arguments], cwd=cwd, env=env, capture_output=True, text=True)


def with_python(folder: Path, script: str) -> str:
    """A PATH whose python3 is this shell script."""
    folder.mkdir()
    for tool in ("sh", "dirname", "readlink", "cat", "cksum", "env"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    if script:
        (folder / "python3").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param("", "python3 is needed", id="no-python"),
        pytest.param("exit 127", "python3 is needed", id="a-name-that-answers-not-found"),
        pytest.param('case "$2" in *version_info*) exit 1;; *platform*) echo 3.9.2;; esac', "3.9.2", id="too-old"),
        pytest.param('case "$2" in *ensurepip*) exit 1;; esac', "python3-venv", id="no-venv-module"),
    ],
)
def test_what_is_missing_is_said_in_one_line(checkout, tmp_path, script, says):
    done = hub(checkout, "version", cwd=tmp_path, path=with_python(tmp_path / "bin", script))
    assert done.returncode != 0
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_door_opens_from_any_folder_and_through_a_link(checkout, tmp_path):
    make_ready(checkout)
    (tmp_path / "link").symlink_to(checkout / "hub")
    done = subprocess.run([str(tmp_path / "link"), "nothing-such"], cwd="/", capture_output=True, text=True)
    assert "manage.py" in done.stderr or "nothing-such" in done.stderr or done.returncode != 0
    assert "installing" not in done.stderr


def test_a_changed_lock_file_is_installed_again(checkout, tmp_path):
    make_ready(checkout)
    marker = tmp_path / "called"
    path = with_python(tmp_path / "bin", f'case "$*" in *bootstrap.py*) : >"{marker}"; exit 1;; esac')
    assert not marker.exists()
    (checkout / "requirements.txt").write_text("Django==9\n")
    assert hub(checkout, "version", cwd=tmp_path, path=path).returncode == 1
    assert marker.exists()


def test_without_a_command_the_door_lists_them():
    done = hub(ROOT, cwd=Path("/"))
    assert done.returncode == 2
    assert all(word in done.stdout for word in ("up", "demo", "test", "check", "lock", "verify_audit"))


def test_every_program_behind_the_door_exists():
    later = {"hie.ops.bench.main", "hie.ops.sandbox.demo"}
    assert all(door.present(module) for module in door.PROGRAMS.values() if module not in later)


@pytest.mark.parametrize(
    "line", ["--index-url https://pypi.example/simple", "--find-links /opt/wheels", "x @ file:///x.whl", "-i http://a"]
)
def test_a_lock_file_that_names_a_server_is_refused(line):
    good = "django==5.2.19 \\\n    --hash=sha256:00\n    # via -r requirements.in\n"
    assert lock.without_servers(good) == good
    with pytest.raises(lock.NamesAServer):
        lock.without_servers(good + line + "\n")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_an_exact_version_and_hashes(name):
    text = lock.without_servers((ROOT / name).read_text())
    blocks = text.replace("\\\n", " ").splitlines()
    packages = [block for block in blocks if block and not block.startswith((" ", "#"))]
    assert len(packages) > 50
    assert all("==" in package and "--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize(
    ("arguments", "slow", "expected"),
    [
        ([], False, ["-m", "not slow and not browser and not survival and not proxy"]),
        ([], True, ["-m", "not browser and not survival and not proxy"]),
        (["-m", "browser"], False, []),
    ],
)
def test_slow_and_browser_tests_run_only_when_asked_for(arguments, slow, expected):
    assert testing.selection(arguments, slow=slow) == expected
