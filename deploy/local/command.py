"""`make run`: everything on this machine, in one process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import datetime

import uvloop

from deploy.local.databases import Databases
from deploy.local.process import Running, serve
from deploy.local.run_lock import StillRunning, run_lock
from deploy.local.sandbox import tenant_token, write_token
from deploy.local.settings import LocalSettings
from deploy.local.welcome import what_to_try
from libs.common.clock import SystemClock
from libs.common.errors import ServiceError
from libs.common.serving.http import until_told
from libs.common.telemetry import setup_logging

TOKEN_FILE = "sandbox-token"  # noqa: S105  # the name of a file


def main(started: float) -> int:
    """Run until Ctrl-C. Exit code 1: it could not start; 3: it runs already.

    `started` is the monotonic second at which the process began, its imports included.
    """
    settings = LocalSettings.from_environment(os.environ)
    setup_logging(level=settings.log_level)
    address = f"http://{settings.host}:{settings.port}"
    try:
        with run_lock(settings.var_folder / "run.lock", address=address):
            databases = Databases(settings)
            print("perennial: starting PostgreSQL", flush=True)
            databases.start()
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_run(settings, databases, started))
            finally:
                print("perennial: stopping PostgreSQL", flush=True)
                databases.stop()
    except StillRunning as error:
        print(f"perennial: the first run is still running ({error.told}); stop it with Ctrl-C first")
        return 3
    except (ServiceError, OSError) as error:
        print(f"perennial: could not start: {error}", file=sys.stderr)
        if isinstance(error, ServiceError) and error.remedy:
            print(f"           {error.remedy}", file=sys.stderr)
        return 1
    return 0


async def _run(settings: LocalSettings, databases: Databases, started: float) -> None:
    async with until_told(lambda: print("\nperennial: stopping", flush=True)) as told_to_stop:
        print("perennial: migrating", flush=True)
        await databases.migrate()
        async with serve(settings, databases) as running:
            token = _token(settings, running, now=SystemClock().system_now())
            print(_welcome(settings, running, token, elapsed_s=time.monotonic() - started), flush=True)
            await told_to_stop.wait()


def _token(settings: LocalSettings, running: Running, *, now: datetime) -> str:
    """A new token of 30 days, also written where the demo and the command line find it."""
    token = tenant_token(running.key_path, now=now)
    write_token(settings.var_folder / TOKEN_FILE, token)
    return token


def _welcome(settings: LocalSettings, running: Running, token: str, *, elapsed_s: float) -> str:
    base, token_path = running.base_url, settings.var_folder / TOKEN_FILE
    tries = what_to_try(base, set_token=f"TOKEN=$(cat {token_path})")
    return f"""
Perennial is ready after {elapsed_s:.1f} s.

  address     {base}
  API docs    {base}/docs
  traces      {base}/ops/traces  (sign in with: .venv/bin/perennial token --operate)
  token       {token}
              (sandbox tenant, good for 30 days; also in {token_path})

{tries}
Or, in another terminal: make demo    (a year of 336,776 real flights becomes paid invoices)
Ctrl-C stops everything.
"""
