"""The sandbox tenant that a first run makes, so that there is something to try at once."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from libs.common.access.keys import KeyFile
from libs.common.access.scopes import OPERATE, SCOPES
from libs.common.access.token import sign_token
from libs.common.errors import ServiceError

TENANT = "00000000-0000-4000-8000-00000000d0e5"
NAME = "Sandbox"
DAY_S = 86_400
READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05

TENANT_SCOPES = tuple(scope for scope in SCOPES if scope != OPERATE)


class NotReady(ServiceError):
    code = "not_ready"
    title = "The services did not become ready"


def operator_token(key_path: Path, *, now: datetime, lifetime_s: int = 300) -> str:
    key = KeyFile.load(key_path).signing_key
    return sign_token(key, tenant=None, scopes=[OPERATE], now=now, lifetime_s=lifetime_s)


def tenant_token(key_path: Path, *, now: datetime, lifetime_s: int = 30 * DAY_S) -> str:
    key = KeyFile.load(key_path).signing_key
    return sign_token(key, tenant=TENANT, scopes=TENANT_SCOPES, now=now, lifetime_s=lifetime_s)


def write_token(path: Path, token: str) -> None:
    """Where the demo and the command line find it, for its owner only."""
    path.unlink(missing_ok=True)
    with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(token)


async def ensure_sandbox(base_url: str, key_path: Path, *, now: datetime) -> None:
    """Wait until the services are ready, and make the tenant through the public API if it is not there.

    Raises: NotReady.
    """
    headers = {
        "authorization": f"Bearer {operator_token(key_path, now=now)}",
        "idempotency-key": f"sandbox-{TENANT}",
    }
    async with httpx.AsyncClient(
        base_url=base_url, headers=headers, timeout=10, verify=urlsplit(base_url).scheme != "http"
    ) as client:
        await _until_ready(client)
        found = await client.get(f"/v1/tenants/{TENANT}")
        if found.status_code == 404:
            found = await client.post("/v1/tenants", json={"id": TENANT, "name": NAME, "mode": "sandbox"})
        found.raise_for_status()


async def _until_ready(client: httpx.AsyncClient) -> None:
    told = ""
    for _ in range(int(READY_WITHIN_S / LOOK_EVERY_S)):
        try:
            answer = await client.get("/health/ready")
        except httpx.TransportError as error:
            told = repr(error)
        else:
            if answer.status_code == 200:
                return
            told = answer.text
        await asyncio.sleep(LOOK_EVERY_S)
    raise NotReady(f"the services did not become ready: {told[:500]}")
