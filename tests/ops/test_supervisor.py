"""Nothing outlives the supervisor, and a child's death is an error that says which."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hie.ops import datafolder, processes
from hie.ops.ports import free_port, is_free
from hie.ops.processes import Child, ChildDied, NotReady, end_leftovers, note, stop_all

ROOT = Path(__file__).resolve().parents[2]
# Starts a helper of its own and ignores nothing; prints the helper's pid.
PARENT = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(p.pid, flush=True); time.sleep(60)"
SUPERVISE = """
import sys
from pathlib import Path
from hie.ops.processes import Child, ChildDied
from hie.ops.supervisor import Stop, Supervisor
data = Path(sys.argv[1])
try:
    with Supervisor(data) as supervisor:
        supervisor.start(
            Child(name="sleeper", argv=[sys.executable, "-c", "import time; time.sleep(60)"]),
            Child(name="mortal", argv=[sys.executable, "-c", sys.argv[2]]),
        )
        print(*(child.process.pid for child in supervisor.children), flush=True)
        supervisor.watch()
except Stop:
    sys.exit(0)
except ChildDied as error:
    print(error, *error.tail, sep="|", flush=True)
    sys.exit(1)
"""


def gone(pid: int, within_s: float = 8) -> bool:
    return holds(lambda: processes.started_at(pid) is None or state(pid) == "Z", within_s)


def state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def holds(question: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if question():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def data(tmp_path: Path) -> Path:
    datafolder.prepare(tmp_path / "data with spaces")
    return tmp_path / "data with spaces"


def supervised(data: Path, mortal: str) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SUPERVISE), str(data), mortal],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_stop_ends_every_child_and_is_no_error(data, how):
    process, pids = supervised(data, "import time; time.sleep(60)")
    process.send_signal(how)
    assert process.wait(20) == 0
    assert all(gone(pid, 1) for pid in pids)


def test_kill_9_of_the_supervisor_leaves_no_child(data):
    process, pids = supervised(data, "import time; time.sleep(60)")
    process.kill()
    process.wait(5)
    assert all(gone(pid) for pid in pids)


def test_a_child_that_dies_ends_the_hub_with_an_error_naming_it(data):
    process, pids = supervised(data, "import sys, time; time.sleep(0.4); print('out of luck'); sys.exit(3)")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "mortal ended (exit status 3)" in output
    assert "out of luck" in output
    assert all(gone(pid, 1) for pid in pids)


def test_stopping_a_child_ends_its_helpers_too(tmp_path):
    child = Child(name="parent", argv=[sys.executable, "-c", PARENT])
    child.start(tmp_path)
    assert holds(lambda: bool(child.tail()), 10)
    helper = int(child.tail()[0])
    stop_all([child])
    assert gone(helper)


def test_a_deaf_child_is_killed_after_its_time(tmp_path):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child(name="deaf", argv=[sys.executable, "-c", deaf], stop_timeout_s=0.3)
    child.start(tmp_path)
    assert holds(lambda: child.tail() == ["deaf"], 10)
    began = time.monotonic()
    stop_all([child])
    assert time.monotonic() - began < 3
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def test_a_child_that_never_becomes_ready_is_named(tmp_path):
    child = Child(
        name="slow", argv=[sys.executable, "-c", "import time; time.sleep(9)"], ready=lambda: False, ready_timeout_s=0.2
    )
    child.start(tmp_path)
    with pytest.raises(NotReady, match="slow"):
        child.wait_ready()
    stop_all([child])


def test_waiting_for_a_child_that_dies_says_so_at_once(tmp_path):
    child = Child(name="brief", argv=[sys.executable, "-c", "raise SystemExit(4)"], ready=lambda: False)
    child.start(tmp_path)
    with pytest.raises(ChildDied, match="exit status 4"):
        child.wait_ready()


def test_leftovers_of_a_killed_hub_are_ended_and_strangers_left_alone(tmp_path):
    leftover = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    path = tmp_path / "children.json"
    rows = [
        Child(name="leftover", argv=[], process=leftover),  # type: ignore[arg-type]
        Child(name="stranger", argv=[], process=stranger),  # type: ignore[arg-type]
    ]
    note(rows, path)
    # The pid was given to another process since: it started at another time.
    noted = json.loads(path.read_text())
    noted[1]["started"] = "1"
    path.write_text(json.dumps(noted))
    try:
        assert end_leftovers(path) == ["leftover"]
        assert leftover.wait(5) == -signal.SIGTERM
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_one_hub_a_data_folder(data):
    with datafolder.held(data):
        assert datafolder.is_held(data)
        with pytest.raises(datafolder.FolderRefused, match="already runs"), datafolder.held(data):
            pass
    assert not datafolder.is_held(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 999, "release": "9.0"}', "newer release"),
        ("not json", "cannot be read"),
        ("{}", "cannot be read"),
    ],
)
def test_a_data_folder_of_a_newer_release_is_refused(data, content, message):
    datafolder.note_version(data, "sandbox")
    datafolder.check_version(data)
    (data / "version.json").write_text(content)
    with pytest.raises(datafolder.FolderRefused, match=message):
        datafolder.check_version(data)


def test_a_free_port_is_below_those_of_outgoing_connections():
    port = free_port()
    assert port < 32_768
    assert is_free(port)
    assert free_port(port) == port
    assert free_port(port, but=frozenset({port})) != port
