"""Invoices of every model: derived again by the service, and by a script that knows nothing of it."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from libs.cli.bundle import canonical, compose, with_hashes
from libs.cli.deployment import Deployment
from libs.cli.main import app
from libs.cli.settings import CliSettings
from libs.common.merkle import is_included, leaf_hash, root_of
from tests.journeys.lifecycle.journey import Life, Thing
from tests.unit.docs.bundle_script import loaded

pytestmark = pytest.mark.asyncio(loop_scope="package")

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_bundle.py"


def checked(bundle: Thing | str, folder: Path) -> tuple[int, str]:
    """What the script says of it, in a Python that has nothing installed."""
    path = folder / "bundle.json"
    text = bundle if isinstance(bundle, str) else json.dumps(bundle, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(path)],
        cwd=folder,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


async def composed(life: Life, invoice_id: str, *, with_events: bool = True) -> Thing:
    token = life.client.headers["authorization"].removeprefix("Bearer ")
    settings = CliSettings(url=life.services.base_url, token=token)
    deployment = Deployment(settings, token=token)
    return await asyncio.to_thread(
        compose, deployment, invoice_id, with_events=with_events, made_at="2025-05-02T00:00:00Z"
    )


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def bundles(life: Life) -> list[Thing]:
    """Of all invoices, in the order of their boundaries."""
    return [await composed(life, invoice["id"]) for invoice in await life.invoices()]


async def test_the_service_derives_every_invoice_again(life: Life) -> None:
    invoices = await life.invoices()
    assert len(invoices) == 2
    for invoice in invoices:
        found = await life.get(f"/v1/invoices/{invoice['id']}/verification")
        assert (found["agrees"], found["differences"]) == (True, []), invoice["number"]
        assert found["posting_count"] >= 2


async def test_the_script_recomputes_every_invoice(life: Life, bundles: list[Thing], tmp_path: Path) -> None:
    for bundle in bundles:
        code, told = checked(bundle, tmp_path)
        assert code == 0, told
        assert "TAKEN" not in told, told
    assert sum(len(total["leaves"]) for total in bundles[1]["usage"]) > 500


async def test_without_the_events_their_hashes_are_checked_and_quantities_are_taken(
    life: Life, bundles: list[Thing], tmp_path: Path
) -> None:
    bundle = await composed(life, bundles[1]["invoice"]["id"], with_events=False)
    assert all(total["leaves"] is None and total["leaf_hashes"] for total in bundle["usage"])
    code, told = checked(bundle, tmp_path)
    assert (code, told.count("only the hashes")) == (0, len(bundle["usage"]))


def places(text: str) -> list[int]:
    """Where the digits of the file stand."""
    return [match.start() for match in re.finditer("[0-9]", text)]


async def test_one_changed_digit_anywhere_makes_it_fail_and_say_where(
    bundles: list[Thing], tmp_path: Path
) -> None:
    """Some of them here; all of them in the long form."""
    text = json.dumps(bundles[1], ensure_ascii=False)
    chosen = Random(8).sample(places(text), 12)
    for place in chosen:
        digit = str((int(text[place]) + 1) % 10)
        code, told = checked(text[:place] + digit + text[place + 1 :], tmp_path)
        assert code in (1, 2), text[place - 40 : place + 10]
        assert "differences; the first is at /" in told or "bundle.json: " in told, told


_EVERY_DIGIT = """
import contextlib, importlib.util, io, json, re, sys
spec = importlib.util.spec_from_file_location("script", sys.argv[1])
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
text = open(sys.argv[2], encoding="utf-8").read()
for match in re.finditer("[0-9]", text):
    at = match.start()
    try:
        bundle = script.read(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    except script.Unreadable:
        continue
    report = script.Report(quiet=True)
    with contextlib.redirect_stdout(io.StringIO()):
        script.check(bundle, report)
    if not report.differences or not report.differences[0][0].startswith("/"):
        sys.exit(f"not seen: {text[max(at - 60, 0) : at + 20]}")
"""


@pytest.mark.long
async def test_each_changed_digit_makes_it_fail(bundles: list[Thing], tmp_path: Path) -> None:
    """Of the smallest bundle all, in one process of a Python that has nothing installed."""
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(bundles[0], ensure_ascii=False), encoding="utf-8")
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _EVERY_DIGIT, str(SCRIPT), str(path), stderr=asyncio.subprocess.PIPE
    )
    _, told = await done.communicate()
    assert (done.returncode, told.decode()) == (0, "")


def forged(bundle: Thing, change: Callable[[Thing], None]) -> Thing:
    """With all hashes made anew, those of events and their totals as well."""
    other = copy.deepcopy(bundle)
    change(other)
    for total in other["usage"]:
        total["leaf_hashes"] = [leaf_hash(canonical(leaf)).hex() for leaf in total["leaves"]]
        total["root"] = root_of(bytes.fromhex(told) for told in total["leaf_hashes"]).hex()
    return with_hashes({name: part for name, part in other.items() if name not in ("hashes", "root")})


def _litres(bundle: Thing) -> Thing:
    total: Thing = next(total for total in bundle["usage"] if total["meter"] == "litres")
    return total


FORGERIES: list[tuple[str, Callable[[Thing], None], str]] = [
    ("an event", lambda b: _litres(b)["leaves"][3].update(value="99"), "/usage/"),
    ("an event left out", lambda b: _litres(b)["leaves"].pop(), "/usage/"),
    ("an event twice", lambda b: _litres(b)["leaves"].append(_litres(b)["leaves"][-1]), "/usage/"),
    ("a quantity", lambda b: _litres(b).update(quantity="1"), "/usage/"),
    (
        "a price",
        lambda b: [
            charge["price"].update(tiers=[{"unit_amount": "1"}], unit_amount="1") for charge in b["charges"]
        ],
        "/",
    ),
    ("a line", lambda b: b["lines"][1].update(amount_minor=b["lines"][1]["amount_minor"] + 1), "/lines/1/"),
    ("the total", lambda b: b["invoice"].update(total_minor=b["invoice"]["total_minor"] + 1), "/invoice/"),
    ("the tax", lambda b: b["lines"][1].update(tax_percent="9"), "/invoice/"),
    ("the ledger", lambda b: b["ledger"][0].update(amount_minor=7), "/ledger/"),
    ("whose it is", lambda b: b["invoice"].update(group_id=f"{b['invoice']['group_id']}0"), "/invoice/"),
]


@pytest.mark.parametrize(("name", "change", "place"), FORGERIES, ids=[name for name, _, _ in FORGERIES])
async def test_who_makes_the_hashes_anew_is_caught_by_the_arithmetic(
    name: str, change: Callable[[Thing], None], place: str, bundles: list[Thing]
) -> None:
    report = loaded().Report(quiet=True)
    loaded().check(forged(bundles[1], change), report)
    assert report.differences, name
    assert report.differences[0][0].startswith(place), report.differences[:3]


async def followed(life: Life, address: str) -> Thing:
    answer = await life.client.get(address)
    assert answer.status_code == 200, answer.text
    told: Thing = answer.json()
    return told


async def test_a_line_leads_to_its_events_and_to_the_proof_of_one(life: Life) -> None:
    invoice = (await life.invoices())[1]
    explained = [await life.get(line["explanation"]) for line in invoice["lines"]]
    assert all(one["agrees"] for one in explained)
    litres = next(one for one in explained if one["price"]["code"] == "litres")
    assert litres["price"]["plan_version"]["code"] == "everything"
    assert litres["derivation"]["lines"]
    usage = litres["usage"]
    events = (await followed(life, f"{usage['events']}&limit=200"))["data"]
    assert usage["digest"]["event_count"] == len(events) == 60
    event = events[41]
    proof = await followed(
        life, f"{usage['inclusion_proofs']}&source={quote(event['source'])}&event_id={event['id']}"
    )
    assert (proof["root"], proof["index"]) == (usage["digest"]["root"], 41)
    path = [bytes.fromhex(node) for node in proof["path"]]
    hashed = leaf_hash(canonical(proof["leaf"]))
    assert hashed.hex() == event["leaf_hash"]
    assert is_included(hashed, proof["index"], proof["leaf_count"], path, bytes.fromhex(proof["root"]))


async def test_the_commands_derive_all_again_and_write_a_bundle(life: Life, tmp_path: Path) -> None:
    token = life.client.headers["authorization"].removeprefix("Bearer ")
    environment = {"PERENNIAL_URL": life.services.base_url, "PERENNIAL_TOKEN": token}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env=environment)

    every = await asyncio.to_thread(run, "verify", "--all")
    assert (every.exit_code, "the same to the byte" in every.output) == (0, True), every.output
    number = (await life.invoices())[1]["number"]
    one = await asyncio.to_thread(run, "verify", number)
    assert (one.exit_code, "lines and 3 postings agree" in one.output) == (0, True), one.output
    path = tmp_path / "proof.json"
    written = await asyncio.to_thread(run, "proof", number, "--to", str(path))
    assert written.exit_code == 0, written.output
    assert checked(path.read_text(encoding="utf-8"), tmp_path)[0] == 0
    unknown = await asyncio.to_thread(run, "verify", "S-999999")
    assert unknown.exit_code == 2
