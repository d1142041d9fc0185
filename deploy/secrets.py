"""`python -m deploy.secrets FOLDER`: the secrets of a deployment, made where they are missing.

- `FOLDER/processes/keys.json` signs tokens, `FOLDER/processes/database-password` lets the processes log in.
- `FOLDER/admin/database-password` belongs to the login that makes roles and databases: for the database server
  itself and for `deploy.migrate`, never for a process.

What is there stays as it is: a repeat changes nothing, and two at once end with the same secrets.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from libs.common.access.keys import KeyFile
from libs.common.errors import ServiceError

PASSWORD = "database-password"  # noqa: S105  # the name of a file
_PASSWORD_BYTES = 32


def make_secrets(folder: Path) -> list[str]:
    """Returns what was made, in words."""
    processes, admin = folder / "processes", folder / "admin"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    processes.mkdir(mode=0o700, exist_ok=True)
    admin.mkdir(mode=0o755, exist_ok=True)
    made = []
    if not (processes / "keys.json").exists():
        made.append("the keys that sign tokens")
    KeyFile.load_or_create(processes / "keys.json")
    if _make_password(processes / PASSWORD, mode=0o600):
        made.append("the database password of the processes")
    # The database server of an image reads it under an account of its own; only the folder keeps others out.
    if _make_password(admin / PASSWORD, mode=0o644):
        made.append("the database password of the administrator")
    return made


def _make_password(path: Path, *, mode: int) -> bool:
    """Whether it was missing. A file is whole or not there."""
    if path.exists():
        return False
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_PASSWORD_BYTES) + "\n")
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.link(temporary, path)  # unlike rename, it fails when somebody else was quicker
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def main() -> int:
    """Exit code 1: a secret that is there cannot be used, or none can be written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.secrets", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    try:
        made = make_secrets(folder)
    except (ServiceError, OSError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    print("\n".join(f"secrets: made {each}" for each in made) or "secrets: all there", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
