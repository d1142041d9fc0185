"""Mails over SMTP: encrypted outside of this machine, over connections that are used again, each step timed."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from services.billing.application.mail_ports import (
    Accepted,
    Delivery,
    Later,
    MailOutcomeUnknown,
    OutgoingMail,
    Refused,
)

if TYPE_CHECKING:
    from aiosmtplib import SMTP

IDLE_S = 20.0
IDLE_MAX = 4
MAILS_ON_ONE_MAX = 100
REASON_LENGTH_MAX = 500
PORTS = {"smtp": 587, "smtps": 465}
# Replies to RCPT that are about us and not about the mailbox: a policy, an authentication that is wanted.
_ABOUT_US = (530, 535, 538)


class SmtpUrlInvalid(ValueError):
    """It names no server, or holds what belongs into other settings."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """`smtps` encrypts from the first byte, `smtp` by STARTTLS, without which nothing is sent but to this machine."""

    host: str
    port: int
    is_tls: bool
    requires_starttls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 30.0


def smtp_server(
    url: str, *, user: str = "", password: str = "", allow_plaintext: bool = False, timeout_s: float = 30.0
) -> SmtpServer:
    """Read `smtp://mail.example:587` or `smtps://mail.example`. Raises: SmtpUrlInvalid, which never tells the address."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise SmtpUrlInvalid("must be smtp://HOST[:PORT] or smtps://HOST[:PORT]")
    if parts.password is not None:
        raise SmtpUrlInvalid("must not hold a password: that has a setting of its own")
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise SmtpUrlInvalid("must name a port between 1 and 65535") from None
    is_tls = parts.scheme == "smtps"
    name = user or unquote(parts.username or "")
    if bool(name) != bool(password):
        raise SmtpUrlInvalid("needs a user and a password, or neither")
    is_open = allow_plaintext or is_loopback(parts.hostname)
    if name and not is_tls and allow_plaintext and not is_loopback(parts.hostname):
        is_open = False  # a password is never sent in the clear
    return SmtpServer(
        parts.hostname,
        port,
        is_tls,
        requires_starttls=not is_tls and not is_open,
        user=name or None,
        password=password or None,
        timeout_s=timeout_s,
    )


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class _Connection:
    client: SMTP
    idle_since: float
    mails: int = 0


class SmtpTransport:
    """At-least-once is the caller's affair: here a mail is either taken, surely not taken, refused, or nobody knows."""

    recognises_repeats = False
    reaches_people = True

    def __init__(self, server: SmtpServer, *, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._tls = server, tls
        self._idle: list[_Connection] = []

    async def send(self, outgoing: OutgoingMail) -> Delivery:
        """Raises: MailOutcomeUnknown, and asyncio.CancelledError, after which nobody knows either."""
        from aiosmtplib import SMTPException

        try:
            connection = await self._connected()
        except (SMTPException, OSError, ssl.SSLError, TimeoutError) as error:
            return Later(told(error))
        try:
            answer = await self._hand_over(connection, outgoing)
        except BaseException:
            connection.client.close()
            raise
        if not connection.client.is_connected:
            return answer
        await self._keep(connection)
        return answer

    async def close(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await _leave(connection.client)

    async def _hand_over(self, connection: _Connection, outgoing: OutgoingMail) -> Delivery:
        from aiosmtplib import SMTPDataError, SMTPException, SMTPRecipientRefused, SMTPResponseException

        client = connection.client
        connection.mails += 1
        try:
            await client.mail(outgoing.sender)
            await client.rcpt(outgoing.recipient)
        except SMTPRecipientRefused as error:
            await _reset(client)
            if 500 <= error.code < 600 and error.code not in _ABOUT_US:
                return Refused(told(error), is_address=True)
            return Later(told(error))
        except SMTPResponseException as error:  # the sender, or the session, is not to its liking
            await _reset(client)
            return Later(told(error))
        except (SMTPException, OSError, TimeoutError) as error:
            client.close()
            return Later(told(error))
        try:
            await client.data(outgoing.message)
        except SMTPDataError as error:
            await _reset(client)
            if 500 <= error.code < 600:
                return Refused(told(error), is_address=False)
            return Later(told(error))
        except (SMTPException, OSError, TimeoutError) as error:
            client.close()
            raise MailOutcomeUnknown(told(error)) from error
        return Accepted()

    async def _connected(self) -> _Connection:
        """One that is idle, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.idle_since < IDLE_S
            if fresh and connection.client.is_connected and connection.mails < MAILS_ON_ONE_MAX:
                return connection
            await _leave(connection.client)
        from aiosmtplib import SMTP

        server = self._server
        client = SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.is_tls,
            start_tls=server.requires_starttls,
            timeout=server.timeout_s,
            username=server.user,
            password=server.password,
            tls_context=self._tls,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return _Connection(client, time.monotonic())

    async def _keep(self, connection: _Connection) -> None:
        connection.idle_since = time.monotonic()
        if len(self._idle) < IDLE_MAX:
            self._idle.append(connection)
        else:
            await _leave(connection.client)


def told(error: BaseException) -> str:
    """What the other side said, in one line; of anything else, what kind of thing went wrong, and nothing of ours."""
    code, message = getattr(error, "code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):
        return " ".join(f"{code} {message}".split())[:REASON_LENGTH_MAX]
    return type(error).__name__


async def _reset(client: SMTP) -> None:
    """Ready for the next mail, or closed."""
    from aiosmtplib import SMTPException

    try:
        await client.rset()
    except (SMTPException, OSError, TimeoutError):
        client.close()


async def _leave(client: SMTP) -> None:
    from aiosmtplib import SMTPException

    try:
        async with asyncio.timeout(5):
            await client.quit()
    except (SMTPException, OSError, TimeoutError):
        client.close()
