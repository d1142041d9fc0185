"""The server to talk to: one that runs already, or one of our own for as long as the demo lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.local.child import Child, ChildFailed
from deploy.local.settings import LocalSettings
from examples.engines_by_the_minute.told import Stopped

URL, TOKEN = "PERENNIAL_URL", "PERENNIAL_TOKEN"
TOKEN_FILE = "sandbox-token"  # noqa: S105  # the name of a file
LOG_FILE = "demo-server.log"


@dataclass(frozen=True, slots=True)
class Server:
    """`is_ours` says that it was started for the demo and stops with it."""

    base_url: str
    token: str
    is_ours: bool


@contextmanager
def found_or_started() -> Iterator[Server]:
    """The server at PERENNIAL_URL, or else at the usual address; started there if nothing answers.

    Raises: Stopped.
    """
    settings = LocalSettings.from_environment(os.environ)
    url = os.environ.get(URL) or f"http://{settings.host}:{settings.port}"
    if _is_ready(url):
        yield Server(url, _token(settings.var_folder), is_ours=False)
        return
    if os.environ.get(URL):
        raise Stopped(
            f"no Perennial answers at {url}",
            remedy=f"Start it there, or leave {URL} out: the demo then starts one of its own.",
        )
    child = Child(log=settings.var_folder / LOG_FILE, environment={})
    try:
        child.start()
    except ChildFailed as error:
        raise Stopped(
            f"a server of the demo's own: {error}",
            remedy=f"If one is running elsewhere, name its address in {URL}.",
        ) from None
    try:
        yield Server(child.base_url, _token(settings.var_folder), is_ours=True)
    finally:
        child.stop()


def _is_ready(url: str) -> bool:
    """Whether a Perennial answers there. One that is still starting is left to whoever started it.

    Raises: Stopped when something else does.
    """
    try:
        answer = httpx.get(f"{url}/health/ready", timeout=5.0, trust_env=False)
    except httpx.TransportError:
        return False
    try:
        services = answer.json()["services"]
    except (ValueError, KeyError, TypeError):
        services = ()
    if "metering" not in services:
        raise Stopped(
            f"something else than Perennial answers at {url}",
            remedy=f"Name Perennial's address in {URL}, or start it at another port with PERENNIAL_PORT.",
        )
    if answer.status_code != 200:
        raise Stopped(f"Perennial at {url} is not ready", remedy="Wait a moment, and run the demo again.")
    return True


def _token(var_folder: Path) -> str:
    """PERENNIAL_TOKEN, or what `make run` wrote down. Raises: Stopped."""
    given = os.environ.get(TOKEN)
    if given:
        return given.strip()
    path = var_folder / TOKEN_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        raise Stopped(
            f"there is no token in {path}",
            remedy=f"Put the token that `make run` printed into {TOKEN}.",
        ) from None
