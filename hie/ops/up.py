"""`./hub up`: from whatever state the data folder is in to a running hub, and to nothing left running at its end."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

from hie import settings
from hie.ops import datafolder, services
from hie.ops.context import BLANK, ROOT, Context, answers, child_environment, listens, program
from hie.ops.ports import NoFreePort, is_free
from hie.ops.postgres import PostgresRefused
from hie.ops.processes import Child, ChildDied, NotReady, stop_all
from hie.ops.supervisor import Stop, Supervisor, report, say, tail_of

MANAGE = str(ROOT / "manage.py")


class StartFailed(Exception):
    """A step before the hub could serve failed; `tail` holds what it printed."""

    def __init__(self, message: str, tail: list[str] | None = None) -> None:
        super().__init__(message)
        self.tail = tail or []


FAILURES = (datafolder.FolderRefused, PostgresRefused, StartFailed, ChildDied, NotReady, NoFreePort)


def main(arguments: list[str]) -> int:
    """Run the hub until Ctrl-C (exit 0) or until one of its processes dies (exit 1)."""
    parser = ArgumentParser(prog="./hub up", description="Start the hub and its sandbox; Ctrl-C stops everything.")
    parser.add_argument("--no-sandbox", action="store_true", help="an empty hub, without sample people and communities")
    parser.add_argument("--check", action="store_true", help="stop again as soon as everything is ready")
    options = parser.parse_args(arguments)
    sandbox = settings.PROFILE == "sandbox" and not options.no_sandbox
    began = time.monotonic()
    data_dir = settings.DATA_DIR
    try:
        datafolder.prepare(data_dir)
        datafolder.check_version(data_dir)
        with datafolder.held(data_dir), Supervisor(data_dir) as supervisor:
            context = bring_up(supervisor, sandbox=sandbox)
            say(f"ready after {time.monotonic() - began:.1f} s")
            introduce(context)
            supervisor.start(*further_workers(data_dir))
            if not options.check:
                say("Ctrl-C stops the hub")
                supervisor.watch()
    except Stop as stop:
        say(f"stopped ({stop})")
        return 0
    except FAILURES as error:
        report(error, tail_of(error))
        return 1
    return 0


def bring_up(supervisor: Supervisor, *, sandbox: bool) -> Context:
    """Every step from services to a loaded sandbox.

    Raises:
        FAILURES: a step failed; what was started is the supervisor's to stop.
    """
    data_dir = settings.DATA_DIR
    ports_free()
    say("starting PostgreSQL and Valkey …" if not settings.DATABASE_URL_GIVEN else "connecting to the given database …")
    running = services.start(
        data_dir,
        database_url=settings.DATABASE_URL if settings.DATABASE_URL_GIVEN else "",
        redis_url=settings.REDIS_URL if settings.REDIS_URL_GIVEN else "",
        say=say,
        started=supervisor.children,
    )
    supervisor.noted()
    os.environ.update(child_environment(running.environment))
    prepare_database({}, "checking the database …")
    datafolder.note_version(data_dir, settings.PROFILE)
    context = Context(
        data_dir=str(data_dir),
        base_url=settings.BASE_URL,
        port=settings.PORT,
        mllp_port=settings.MLLP_PORT,
        home_community_id=settings.HOME_COMMUNITY_ID,
        repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
        assigning_authority=settings.HUB_ASSIGNING_AUTHORITY,
        database_url=running.database_url,
        redis_url=running.redis_url,
        services=running,
        taken={settings.PORT, settings.MLLP_PORT},
    )
    beside = sandbox_children(context, running) if sandbox else []
    say("starting " + ", ".join(child.name for child in [*hub_children(data_dir), *beside]) + " …")
    supervisor.start(*hub_children(data_dir), *beside)
    if sandbox:
        load_sandbox(supervisor, context)
    return context


def ports_free() -> None:
    for name, host, port in (
        ("HIE_PORT", settings.BIND, settings.PORT),
        ("HIE_MLLP_PORT", settings.MLLP_BIND, settings.MLLP_PORT),
    ):
        if not is_free(port, host):
            raise StartFailed(f"port {port} is taken by another program; set {name} to a free one")


def hub_children(data_dir: Path) -> list[Child]:
    """The hub's own processes, in the order of their start."""
    metrics = metrics_of(data_dir)
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)

    def child(name: str, argv: list[str], **how: object) -> Child:
        env = {"HIE_ROLE": name, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
        return Child(name=name, argv=argv, env=env, **how)  # type: ignore[arg-type]  # passed through as given

    host = "127.0.0.1" if settings.BIND in {"0.0.0.0", ""} else settings.BIND  # noqa: S104  # compared, not bound
    mllp_host = "127.0.0.1" if settings.MLLP_BIND in {"0.0.0.0", ""} else settings.MLLP_BIND  # noqa: S104  # as above
    return [
        child("web", program("hie.ops.web"), ready=answers(f"http://{host}:{settings.PORT}/readyz")),
        child("worker", program("hie.ops.worker"), ready=worker_is_up(data_dir)),
        child("beat", program("hie.ops.beat")),
        child("mllp", [sys.executable, MANAGE, "mllp"], ready=listens(mllp_host, settings.MLLP_PORT)),
        child("audit-sealer", [sys.executable, MANAGE, "audit_sealer"]),
    ]


def further_workers(data_dir: Path) -> list[Child]:
    """The workers beyond the first: they share bursts of questions, and nobody has to wait for their start."""
    env = {"HIE_ROLE": "worker", "PROMETHEUS_MULTIPROC_DIR": str(metrics_of(data_dir))}
    return [
        Child(name=f"worker-{number}", argv=program("hie.ops.worker", "-n", f"worker-{number}@%h"), env=env)
        for number in range(2, settings.WORKERS + 1)
    ]


def metrics_of(data_dir: Path) -> Path:
    """Where this hub's processes keep the figures they sum up."""
    return data_dir / "run" / "metrics"


def worker_is_up(data_dir: Path) -> Callable[[], bool]:
    """Whether the worker has reached its broker since now (`hie.celery.alive`)."""
    mark = data_dir / "run" / "worker.alive"
    mark.unlink(missing_ok=True)
    return mark.exists


def prepare_database(env: dict[str, str], what: str) -> None:
    """Migrate one database, or refuse it; its progress is shown as it comes.

    Raises:
        StartFailed: it is newer than this release, cannot be reached, or a setting is wrong.
    """
    say(what)
    lines: list[str] = []
    command = [sys.executable, MANAGE, "prepare"]
    with subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines = [*lines[-30:], line.rstrip()]
            if re.fullmatch(r"database: .*|  \d+/\d+", line.rstrip()):
                say(line.rstrip())
    if process.returncode != 0:
        raise StartFailed("the database could not be prepared", lines[-15:])


def sandbox_children(context: Context, running: services.Services) -> list[Child]:
    """The sandbox's further hubs and its faulty peer, where this release has them."""
    if not present("hie.ops.sandbox.world"):
        return []
    if not (Path(context.data_dir) / "sandbox.json").exists():
        # While it is still empty: what the further hubs' databases are copied from.
        running.clone_database(BLANK, template=Path(running.database_url).name)
    children = importlib.import_module("hie.ops.beside").children(context)
    for hub in context.hubs:
        if not same_migrations(running.database_url, hub.database_url):
            prepare_database(hub.environment, f"migrating the database of {hub.name} …")
    return list(children)


def same_migrations(one: str, other: str) -> bool:
    """Whether two databases stand at the same migrations; quicker than asking Django of each."""
    import psycopg

    found = []
    for url in (one, other):
        with psycopg.connect(url) as connection:
            found.append(connection.execute("SELECT app, name FROM django_migrations ORDER BY 1, 2").fetchall())
    return found[0] == found[1]


def load_sandbox(supervisor: Supervisor, context: Context) -> None:
    """Let the loader bring in what is missing; the hub is watched meanwhile.

    Raises:
        StartFailed: the loader failed.
        ChildDied: a process of the hub ended meanwhile.
    """
    if not present("hie.ops.sandbox.load"):
        return
    path = Path(context.data_dir) / "run" / "context.json"
    context.write(path)
    process = subprocess.Popen(program("hie.ops.beside", str(path)))
    try:
        while process.poll() is None:
            supervisor.check()
            time.sleep(0.1)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
    if process.returncode != 0:
        raise StartFailed("the sandbox could not be loaded; the lines above say why, and the next ./hub up tries again")


def introduce(context: Context) -> None:
    """Print where the hub answers, who may log in, and one exchange to try."""
    lines = [
        "",
        f"  administrators  {context.base_url}/admin/",
        f"  patients        {context.base_url}/my/",
        f"  FHIR            {context.base_url}/fhir/metadata",
        f"  HL7 v2          mllp://127.0.0.1:{context.mllp_port}",
        f"  health          {context.base_url}/readyz",
    ]
    try:
        sandbox = json.loads((Path(context.data_dir) / "sandbox.json").read_text())
    except (OSError, ValueError):
        sandbox = {}
    admin = sandbox.get("admin", {})
    if admin:
        lines += ["", f"  log in to /admin/ as {admin['username']} with {admin['password']}"]
        if admin.get("totp_secret"):
            lines += [f"    second factor (TOTP secret) {admin['totp_secret']}"]
    logins = [p for p in sandbox.get("patients", []) if p.get("portal_login")]
    for patient in logins[:3]:
        lines += [
            f"  log in to /my/ as {patient['portal_login']} with {patient['portal_password']} ({patient['story']})"
        ]
    if sandbox:
        lines += [f"  everybody else and all keys: {context.data_dir}/sandbox.json"]
    print("\n".join(lines), flush=True)
    print(flush=True)
    if sandbox:
        # One exchange, done now, for the newcomer to read; a hub that runs is not stopped by a peer that does not.
        with contextlib.suppress(subprocess.TimeoutExpired):
            path = str(Path(context.data_dir) / "sandbox.json")
            subprocess.run(program("hie.ops.sandbox.worked", path), check=False, timeout=60)
        print(flush=True)


def with_services(command: list[str]) -> int:
    """Run a command that needs the services: those of the running hub, or started for as long as it runs."""
    data_dir = settings.DATA_DIR
    env = {**os.environ, **child_environment({})}
    if (settings.DATABASE_URL_GIVEN and settings.REDIS_URL_GIVEN) or datafolder.is_held(data_dir):
        os.execve(command[0], command, env)
    try:
        datafolder.prepare(data_dir)
        datafolder.check_version(data_dir)
        with datafolder.held(data_dir), Supervisor(data_dir) as supervisor:
            print("hub: no hub runs here; starting its database for this command", file=sys.stderr, flush=True)
            running = services.start(
                data_dir,
                database_url=settings.DATABASE_URL if settings.DATABASE_URL_GIVEN else "",
                redis_url=settings.REDIS_URL if settings.REDIS_URL_GIVEN else "",
                started=supervisor.children,
            )
            supervisor.noted()
            env.update(running.environment)
            if command[2] not in {"prepare", "migrate"}:
                migrated = subprocess.run(
                    [sys.executable, MANAGE, "prepare", "--quiet"], env=env, stdout=sys.stderr, check=False
                )
                if migrated.returncode != 0:
                    return migrated.returncode
            process = subprocess.Popen(command, env=env)
            try:
                return process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait(30)
    except Stop:
        return 130
    except FAILURES as error:
        report(error, tail_of(error))
        return 1


def present(module: str) -> bool:
    """Whether this release has the module."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


__all__ = ["bring_up", "main", "stop_all", "with_services"]
