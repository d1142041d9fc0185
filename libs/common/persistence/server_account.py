"""The account of the embedded PostgreSQL when we are root, and what it must be allowed to enter."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from libs.common.errors import ServiceError

NAME = "embedded_postgres"
_READ_AND_ENTER = stat.S_IROTH | stat.S_IXOTH


class NoServerAccount(ServiceError):
    code: ClassVar[str] = "no_server_account"
    title: ClassVar[str] = "PostgreSQL does not run as root, and its account could not be made"


@dataclass(frozen=True, slots=True)
class ServerAccount:
    uid: int
    gid: int


def server_account() -> ServerAccount | None:
    """None unless we are root: then the system account, made if missing, with no password and no shell."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        entry = _make_account()
    return ServerAccount(entry.pw_uid, entry.pw_gid)


def _make_account() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/sbin/nologin", NAME]
    try:
        told = subprocess.run(command, check=False, capture_output=True, text=True).stderr  # noqa: S603
    except FileNotFoundError:
        told = "there is no useradd"
    try:
        return pwd.getpwnam(NAME)  # also when another process was faster
    except KeyError:
        raise NoServerAccount(
            f"could not make the account {NAME}: {told.strip()}",
            remedy=f"Make a system account named {NAME}, or run as an ordinary user.",
        ) from None


def open_to(account: ServerAccount, folder: Path, *, programs: Path) -> None:
    """Let the account walk through to the cluster's folder and to the programs, and run these.

    Others may then pass through the folders above, by name; nothing becomes listable or readable except the
    programs, which are no secret. What is already open is left alone.
    """
    if account.uid == os.geteuid():
        return
    for passage in (folder, *folder.parents, *programs.parents):
        _add(passage, stat.S_IXOTH)
    marker = programs / "bin" / "postgres"
    if marker.stat().st_mode & _READ_AND_ENTER != _READ_AND_ENTER:
        _open_programs(programs)


def _open_programs(programs: Path) -> None:
    for path in (programs, *programs.rglob("*")):
        if not path.is_symlink():
            _add(path, (path.stat().st_mode >> 6) & _READ_AND_ENTER)  # what the owner may, the others may


def _add(path: Path, permission: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & permission != permission:
        path.chmod(mode | permission)
