"""Mails as files, `<folder>/<tenant>/<date>-<kind>-<customer>-<id>.eml`, for a machine that nothing is to leave."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from libs.common.ids import random_hex
from services.billing.application.mail_ports import Accepted, Delivery, OutgoingMail


class MailFolder:
    """A mail whose file is there already was sent: whoever writes it again, even after a crash, changes nothing."""

    recognises_repeats = True
    reaches_people = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, outgoing: OutgoingMail) -> Delivery:
        await asyncio.to_thread(self._write, outgoing)
        return Accepted()

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, outgoing: OutgoingMail) -> None:
        """It appears whole or not at all: written under another name, then linked, which never replaces anything."""
        folder = self._folder / outgoing.tenant
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / file_name(outgoing)
        if path.exists():
            return
        hidden = folder / f".{outgoing.mail.id}.{random_hex()}"
        try:
            with hidden.open("xb") as file:
                file.write(outgoing.message)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)
        for left in folder.glob(f".{outgoing.mail.id}.*"):  # of somebody who was killed
            left.unlink(missing_ok=True)
        _settle(folder)


def file_name(outgoing: OutgoingMail) -> str:
    mail = outgoing.mail
    return f"{outgoing.on.isoformat()}-{mail.kind}-{mail.customer_id}-{mail.id}.eml"


def _settle(folder: Path) -> None:
    """The name, too, outlives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
