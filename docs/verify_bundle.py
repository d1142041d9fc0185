#!/usr/bin/env python3
"""Check a proof bundle of one invoice: python3 verify_bundle.py BUNDLE.json

One file, Python 3.11 or newer, nothing but its standard library, no network, nothing of Perennial's. It works every
amount out again, from the events to the ledger, and says of each step whether it holds, or where (a JSON pointer) it does
not. What it takes as given it says too. Exit code: 0 when all holds, 1 when something does not, 2 when the file cannot
be read. docs/proofs.md tells what a bundle is, and what it proves.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import itertools
import json
import re
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from math import ceil, floor
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

FORMAT = "perennial-proof-1"
ALGORITHM = "perennial-events-1"
NAMESPACE = bytes.fromhex(
    "6f1c8b0a5d535c6e9a5770657265006e"
)  # of ids that are derived from what they are about
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"
SHOWN_MAX = 50
REVISIONS_TRIED = 100  # of an event that was amended again and again
EMPTY_ROOT = hashlib.sha256(b"").hexdigest()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LISTS = ("lines", "charges", "earlier_charges", "manual_lines", "ledger", "usage")
UNHASHED = ("hashes", "root", "signature")
OF_EVENTS = ("leaves", "leaf_hashes")  # of a total of usage: pinned by its root
MINOR_UNITS = dict.fromkeys(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ],
    0,
)
MINOR_UNITS.update(dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3))
MINOR_UNITS.update(dict.fromkeys(["CLF", "UYW"], 4))
WORDS = {"minimum": "up to the minimum", "maximum": "beyond the maximum"}


class Unreadable(Exception):
    """The file is no bundle."""


class NotWorkedOut(Exception):
    """This script does not know how; what it concerns is taken as it is given."""


class Report:
    """What was found: a line for each step, and every difference with its place."""

    def __init__(self, quiet: bool = False) -> None:
        self.differences: list[tuple[str, str]] = []
        self.taken: list[str] = []
        self._quiet, self._before = quiet, 0

    def differ(self, pointer: str, told: str) -> None:
        self.differences.append((pointer, told))

    def same(self, pointer: str, given: object, found: object) -> None:
        if given != found:
            self.differ(pointer, f"is {shown(given)}, and comes to {shown(found)}")

    def take(self, told: str) -> None:
        if told not in self.taken:
            self.taken.append(told)

    def step(self, told: str) -> None:
        found = self.differences[self._before :]
        self._before = len(self.differences)
        if found:
            print(f"DIFFERS  {told}")
            for pointer, why in found[:SHOWN_MAX]:
                print(f"         {pointer}: {why}")
            if len(found) > SHOWN_MAX:
                print(f"         and {len(found) - SHOWN_MAX} more")
        elif not self._quiet:
            print(f"OK       {told}")


def shown(value: object) -> str:
    if isinstance(value, Fraction):
        return plain(value)
    told = json.dumps(value, ensure_ascii=False, default=str)
    return told if len(told) <= 200 else f"{told[:200]}…"


# Reading -------------------------------------------------------------------------------------------------------------


def read(text: str) -> dict:
    """Numbers that are not whole stand as text; a name that comes twice in one object is no name."""

    def pairs(found: list) -> dict:
        names = [name for name, _ in found]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise Unreadable(f"the name {twice!r} stands twice in one object")
        return dict(found)

    def no_number(told: str) -> None:
        raise Unreadable(f"{told} stands as a number; only whole numbers do")

    try:
        found = json.loads(text, object_pairs_hook=pairs, parse_float=no_number, parse_constant=no_number)
    except json.JSONDecodeError as error:
        raise Unreadable(f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    if not isinstance(found, dict) or found.get("bundle") != FORMAT:
        raise Unreadable(f'no bundle: "bundle" must be "{FORMAT}"')
    return found


def number(told: object) -> Fraction:
    """A decimal, or `2/3`, as text. Raises: Unreadable."""
    try:
        if isinstance(told, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", told):
            return Fraction(Decimal(told))
        if isinstance(told, str) and re.fullmatch(r"-?[0-9]+/[0-9]+", told):
            return Fraction(told)
        if isinstance(told, int) and not isinstance(told, bool):
            return Fraction(told)
    except (InvalidOperation, ZeroDivisionError):
        pass
    raise Unreadable(f"{told!r} is no number")


def instant(told: str) -> datetime:
    try:
        found = datetime.fromisoformat(told.replace("Z", "+00:00"))
        return found.astimezone(UTC)
    except (ValueError, AttributeError):
        raise Unreadable(f"{told!r} is no instant") from None


def day(told: str | None) -> date | None:
    try:
        return None if told is None else date.fromisoformat(told)
    except (ValueError, TypeError):
        raise Unreadable(f"{told!r} is no date") from None


def day_in(told: str, zone: str, report: Report) -> str | None:
    """The local date of an instant, where this machine knows the zone."""
    try:
        return instant(told).astimezone(ZoneInfo(zone)).date().isoformat()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        report.take(f"/invoice/zone: this machine does not know {zone}; dates are not held against instants")
        return None


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def plain(value: Fraction) -> str:
    """In plain digits, without zeros at the end; `2/3` where decimals do not hold it."""
    rest, places = value.denominator, 0
    while rest % 10 == 0:
        rest, places = rest // 10, places + 1
    twos = fives = 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places += max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    told = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".") if places else digits
    return f"-{told}" if value < 0 else told


def half_away(value: Fraction, decimals: int) -> Fraction:
    """Rounded to so many decimals, half away from zero: the one rounding there is."""
    scale = 10**decimals
    nearest = floor(abs(value) * scale + Fraction(1, 2))
    return Fraction(nearest if value >= 0 else -nearest, scale)


def derived_id(prefix: str, *parts: str) -> str:
    """The id of what has these natural keys."""
    name = "".join(f"{len(part)}:{part}" for part in (prefix, *parts))
    digest = hashlib.sha1(NAMESPACE + name.encode(), usedforsecurity=False).digest()
    bits = int.from_bytes(digest[:16], "big") & ((1 << 128) - 1 & ~(0xF << 76 | 0b11 << 62)) | (
        5 << 76 | 0b10 << 62
    )
    return f"{prefix}_{''.join(LETTERS[bits >> shift & 31] for shift in range(125, -1, -5))}"


# Hash trees (RFC 6962) -----------------------------------------------------------------------------------------------


def leaf_hash(told: bytes) -> str:
    return hashlib.sha256(b"\x00" + told).hexdigest()


def tree_root(hashes: list[str]) -> str:
    """Of leaves' hashes, in hex: a pair is hashed behind a one; what is left alone goes up as it is."""
    if not hashes:
        return EMPTY_ROOT
    level = [bytes.fromhex(told) for told in hashes]
    while len(level) > 1:
        pairs = [
            hashlib.sha256(b"\x01" + level[place] + level[place + 1]).digest()
            for place in range(0, len(level) - 1, 2)
        ]
        level = pairs + level[len(pairs) * 2 :]
    return level[0].hex()


def is_hex(told: object) -> bool:
    return isinstance(told, str) and re.fullmatch(r"[0-9a-f]{64}", told) is not None


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def parts_of(bundle: dict) -> dict[str, object]:
    """What is hashed, by its JSON pointer: each field of each part, without the events, which their roots pin."""
    found: dict[str, object] = {}
    for name, part in bundle.items():
        if name in UNHASHED:
            continue
        if name in LISTS and isinstance(part, list):
            for place, item in enumerate(part):
                for field, value in item.items():
                    if name != "usage" or field not in OF_EVENTS:
                        found[f"/{name}/{place}/{escaped(field)}"] = value
        elif isinstance(part, dict):
            for field, value in part.items():
                found[f"/{name}/{escaped(field)}"] = value
        else:
            found[f"/{escaped(name)}"] = part
    return found


def check_hashes(bundle: dict, report: Report) -> None:
    parts, hashes = parts_of(bundle), bundle.get("hashes")
    if not isinstance(hashes, dict):
        raise Unreadable("/hashes is no object")
    for pointer in sorted(parts.keys() | hashes.keys()):
        if pointer not in hashes:
            report.differ(pointer, "has no hash: it was put in afterwards, or its hash was taken away")
        elif pointer not in parts:
            report.differ(f"/hashes/{escaped(pointer)}", "is of nothing that is there")
        elif hashes[pointer] != leaf_hash(canonical([pointer, parts[pointer]])):
            report.differ(pointer, f"has another hash than /hashes/{escaped(pointer)} says")
    pointers = sorted(hashes)
    if all(is_hex(hashes[pointer]) for pointer in pointers):
        report.same("/root", bundle.get("root"), tree_root([hashes[pointer] for pointer in pointers]))
    else:
        wrong = next(pointer for pointer in pointers if not is_hex(hashes[pointer]))
        report.differ(f"/hashes/{escaped(wrong)}", "is no hash")
    report.step(f"{len(parts):,} parts have the hashes that the bundle's root stands for")


# Events → digests → quantities ---------------------------------------------------------------------------------------


def check_events(bundle: dict, report: Report) -> None:
    leaf_count = 0
    for place, total in enumerate(bundle["usage"]):
        leaf_count += check_leaves(f"/usage/{place}", bundle, total, report)
        about = (bundle["about"]["tenant"], total["subscription_id"], str(total["period_index"]))
        report.same(f"/usage/{place}/window_id", total["window_id"], derived_id("uwin", *about))
        for other in bundle["usage"]:
            if other["window_id"] == total["window_id"]:
                for name in ("window_start", "window_end", "zone", "seal", "revision"):
                    if other["seal"] == total["seal"] or name in ("window_start", "window_end", "zone"):
                        report.same(f"/usage/{place}/{name}", total[name], other[name])
    report.step(
        f"{leaf_count:,} events have the hashes, the order and the roots of {len(bundle['usage']):,} totals"
    )


def key_of(tenant: str, source: str, id: str, *revision: str) -> str:
    """The key of an event, which places it among those of one instant; of an amendment, that of its revision."""
    return hashlib.blake2b("\0".join((tenant, source, id, *revision)).encode(), digest_size=16).hexdigest()


def check_leaves(at: str, bundle: dict, total: dict, report: Report) -> int:
    hashes, leaves = total.get("leaf_hashes"), total.get("leaves")
    if total.get("algorithm") != ALGORITHM:
        report.differ(f"{at}/algorithm", f"is not {ALGORITHM}")
    if hashes is None:
        report.take(
            f"{at}: {total.get('not_shown', 'the events are not in the bundle')}; its quantity is taken as it is"
        )
        return 0
    for index, told in enumerate(hashes):
        if not is_hex(told):
            report.differ(f"{at}/leaf_hashes/{index}", "is no hash")
            return 0
    report.same(f"{at}/leaf_count", total["leaf_count"], len(hashes))
    if tree_root(hashes) != total["root"]:
        report.differ(
            f"{at}/root",
            f"is {shown(total['root'])}, and the hashes of the events come to {tree_root(hashes)}",
        )
    if leaves is None:
        report.take(f"{at}: of its events only the hashes are in the bundle; its quantity is taken as it is")
        return 0
    report.same(f"{at}/leaf_count", total["leaf_count"], len(leaves))
    before, tenant = ("", ""), bundle["about"]["tenant"]
    identities = set()
    start, end = instant(total["window_start"]), instant(total["window_end"])
    for index, leaf in enumerate(leaves):
        place = f"{at}/leaves/{index}"
        if index < len(hashes) and leaf_hash(canonical(leaf)) != hashes[index]:
            report.differ(place, f"has another hash than {at}/leaf_hashes/{index} says")
            continue
        when = instant(leaf["time"])
        order = (when.strftime("%Y-%m-%dT%H:%M:%S.%f"), leaf["key"])
        if order <= before and index:
            report.differ(place, "does not come after the event before it")
        before = order
        if "id" in leaf:
            identity = (leaf["source"], leaf["id"])
            if identity in identities:
                report.differ(place, "is there twice")
            identities.add(identity)
            keys = (key_of(tenant, *identity, *((str(n),) if n else ())) for n in range(REVISIONS_TRIED))
            if leaf["key"] not in keys:
                report.differ(f"{place}/key", "is not the key of this source and id")
        if when >= end or (when < start and not total["keeps"]):
            report.differ(f"{place}/time", "lies outside the window")
    return len(leaves)


def check_quantities(bundle: dict, report: Report) -> None:
    count = 0
    for place, total in enumerate(bundle["usage"]):
        at = f"/usage/{place}"
        if total.get("leaves") is None:
            continue
        try:
            found = quantity_of(total)
        except NotWorkedOut as error:
            report.take(f"{at}: {error}; its quantity is taken as it is")
            continue
        except (KeyError, TypeError) as error:
            report.differ(f"{at}/leaves", f"lack what the meter needs: {error}")
            continue
        report.same(f"{at}/quantity", number(total["quantity"]), found)
        if total["aggregation"] == "time_weighted":
            told = sum((number(leaf["contribution"]) for leaf in total["leaves"]), Fraction(0))
            report.same(f"{at}/leaves", told, found)
        start = instant(total["window_start"])
        events = sum("id" in leaf and instant(leaf["time"]) >= start for leaf in total["leaves"])
        report.same(f"{at}/event_count", total["event_count"], events)
        count += 1
    report.step(f"{count:,} quantities come of their events")


def quantity_of(total: dict) -> Fraction:
    """What the meter makes of the leaves: all nine kinds."""
    leaves, kind = total["leaves"], total["aggregation"]
    values = [number(leaf["value"]) for leaf in leaves if "value" in leaf]
    match kind:
        case "count":
            return Fraction(len(leaves))
        case "sum":
            return sum(values, Fraction(0))
        case "min":
            return min(values, default=Fraction(0))
        case "max":
            return max(values, default=Fraction(0))
        case "average":
            return half_away(sum(values, Fraction(0)) / max(len(values), 1), 12)
        case "latest":
            return values[-1] if values else Fraction(0)
        case "unique":
            is_in = {leaf["member"]: leaf["operation"] == "add" for leaf in leaves}
            return Fraction(sum(is_in.values()))
        case "peak":
            return peak_of(total, leaves)
        case "time_weighted":
            return level_of(total, leaves)
    raise NotWorkedOut(f"the kind of meter {kind!r} is not known here")


def peak_of(total: dict, leaves: list) -> Fraction:
    length_s = {"1h": 3600, "30m": 1800, "15m": 900, None: 900}[total["peak_of"]]
    sums: dict[int, Fraction] = {}
    for leaf in leaves:
        piece = (instant(leaf["time"]) - EPOCH) // timedelta(seconds=length_s)
        sums[piece] = sums.get(piece, Fraction(0)) + number(leaf["value"])
    return max(sums.values(), default=Fraction(0))


def level_of(total: dict, leaves: list) -> Fraction:
    """Each level by the time that it held, or each change by the days that it weighs for; all of it divided once."""
    area = Fraction(0)
    for leaf in leaves:
        if total["by_day"]:
            area += number(leaf["value"] if "id" in leaf else leaf["level"]) * number(leaf["days"])
        else:
            area += number(leaf["level"]) * number(leaf["seconds"]) * 1_000_000
    divisor = number(total["divisor"])
    lengths = {"second": 10**6, "minute": 60 * 10**6, "hour": 3600 * 10**6, "day": 86400 * 10**6}
    if not total["by_day"]:
        window = (instant(total["window_end"]) - instant(total["window_start"])) // MICROSECOND
        expected = window if total["per"] == "window" else lengths.get(total["per"])
        if divisor != expected:
            raise KeyError("a divisor that is the length of its unit")
    return half_away(area / divisor, 12)


# Quantities → charges → lines ----------------------------------------------------------------------------------------


class Line:
    """One line of a rating: least(quantity x unit + flat, cap) x fraction, rounded once to the minor unit."""

    def __init__(
        self, key, tier, quantity, unit, fraction, amount, words="", flat=Fraction(0), cap=None, kind="price"
    ):
        self.key, self.tier, self.kind = key, tier, kind
        self.quantity, self.unit, self.flat, self.cap, self.fraction = quantity, unit, flat, cap, fraction
        self.amount, self.words = amount, words
        self.corrects = None

    @property
    def whole(self) -> Fraction:
        """Before it is rounded, of a whole period."""
        return least(self.quantity * self.unit + self.flat, self.cap)


def least(amount: Fraction, cap: Fraction | None) -> Fraction:
    return amount if cap is None or amount < cap else cap


class Price:
    """A price as a charge keeps it; what is not there has its default."""

    def __init__(self, told: dict) -> None:
        self._told = told
        self.currency = told["currency"]
        self.decimals = MINOR_UNITS.get(self.currency, 2)
        self.model, self.tiers, self.cells = told["model"], told.get("tiers", []), told.get("cells", [])
        self.minimum, self.maximum = self.find("minimum_amount"), self.find("maximum_amount")

    def find(self, name: str) -> Fraction | None:
        told = self._told.get(name)
        return None if told is None else number(told)

    def get(self, name: str, default: object = None) -> object:
        return self._told.get(name, default)

    def unit(self) -> Fraction:
        found = self.find("unit_amount")
        if found is None:
            raise NotWorkedOut("the price has no unit amount")
        return found


def rated(price, quantity, fraction=Fraction(1), event_count=None, allowance=None) -> list[Line]:
    """What a quantity costs for a part of a period: a line for each part of the price that applies."""
    included = price.find("included_quantity") or Fraction(0)
    pool = None if allowance is None else allowance.get("pool")
    if allowance is None:
        billable = max(Fraction(0), quantity - included) if included else quantity
    elif pool is None:
        billable = max(Fraction(0), quantity - free_units(allowance))
    elif not pool["is_last"]:
        unit = number(price.tiers[0].get("unit_amount", "0")) if price.tiers else price.unit()
        tier = 1 if price.tiers else 0
        return [Line(str(tier), tier, Fraction(0), unit, fraction, Fraction(0))]
    else:
        billable = beyond_pool(allowance, quantity)
    lines = []
    for ordinal, units, unit, flat, cap in model_parts(price, quantity, billable, included, event_count):
        full = least(units * unit + flat, cap) * fraction
        tier = ordinal if price.tiers else 0
        amount = half_away(full, price.decimals)
        lines.append(Line(str(ordinal), tier, units, unit, fraction, amount, "", flat, cap))
    return bounded(price, lines, fraction)


def free_units(allowance: dict) -> Fraction:
    """All that is free is used up before anything is paid for, in whatever order."""
    entries = [*allowance["rolled_over"], *allowance["left_of_blocks"]]
    return number(allowance["included"]) + sum((number(units) for units, _ in entries), Fraction(0))


def beyond_pool(allowance: dict, quantity: Fraction) -> Fraction:
    """All that was used in the pool, without what was earned in it: so much for each interval that it was held."""
    pool = allowance["pool"]
    used = max(number(pool["used_before"]) + quantity, Fraction(0))
    return max(used - number(allowance["included"]) * number(pool["held"]) / pool["length"], Fraction(0))


def bounded(price: Price, lines: list[Line], fraction: Fraction) -> list[Line]:
    amount = sum((line.amount for line in lines), Fraction(0))
    for kind, bound in (("minimum", price.minimum), ("maximum", price.maximum)):
        if bound is None:
            continue
        difference = half_away(bound * fraction, price.decimals) - amount
        if (kind == "minimum" and difference > 0) or (kind == "maximum" and difference < 0):
            sign = Fraction(1 if difference > 0 else -1)
            lines.append(
                Line(kind, 0, sign, abs(difference), Fraction(1), difference, WORDS[kind], kind=kind)
            )
            break
    return lines


def model_parts(price, quantity, billable, included, event_count):
    """Of each tier: its ordinal, units, what a unit costs, what is added once, and the most that it comes to."""
    nothing = Fraction(0)
    match price.model:
        case "flat":
            return [(0, Fraction(1), price.unit(), nothing, None)]
        case "per_unit":
            return [(0, billable, price.unit(), nothing, None)]
        case "dynamic":
            multiple = price.find("unit_amount")
            return [(0, billable, Fraction(1) if multiple is None else multiple, nothing, None)]
        case "package":
            blocks = billable / price.find("package_size")
            whole = floor(blocks) if price.get("package_rounding", "up") == "down" else ceil(blocks)
            return [(0, Fraction(whole), price.unit(), nothing, None)]
        case "graduated":
            return graduated(price, billable, lambda tier: number(tier.get("unit_amount", "0")))
        case "graduated_percentage":
            return graduated(price, billable, lambda tier: number(tier["rate_percent"]) / 100)
        case "capacity":
            if price.tiers:
                return graduated(price, billable, lambda tier: number(tier.get("unit_amount", "0")))
            return [(0, billable, price.unit(), nothing, None)]
        case "volume":
            return volume(price, billable)
        case "percentage":
            return percentage(price, billable, event_count)
        case "expression":
            names = {"quantity": quantity, "billable": billable, "included": included}
            if event_count is not None:
                names["event_count"] = Fraction(event_count)
            return [(0, Fraction(1), worked_out(str(price.get("expression")), names), nothing, None)]
    raise NotWorkedOut(f"a price of the model {price.model!r} needs more than the quantity")


def tier_terms(price: Price, tier: dict, billable: Fraction) -> tuple[Fraction, Fraction | None]:
    is_waived = not billable and not price.get("charges_first_flat_at_zero", True)
    flat = Fraction(0) if is_waived or tier.get("flat_amount") is None else number(tier["flat_amount"])
    return flat, None if tier.get("cap_amount") is None else number(tier["cap_amount"])


def graduated(price, billable, unit_of):
    found, lower = [], Fraction(0)
    for ordinal, tier in enumerate(price.tiers, start=1):
        flat, cap = tier_terms(price, tier, billable)
        upper = None if tier.get("up_to") is None else number(tier["up_to"])
        if upper is None or billable <= upper:
            return [*found, (ordinal, billable - lower, unit_of(tier), flat, cap)]
        found.append((ordinal, upper - lower, unit_of(tier), flat, cap))
        lower = upper
    raise NotWorkedOut("the last tier of the price has an end")


def volume(price, billable):
    for ordinal, tier in enumerate(price.tiers, start=1):
        if tier.get("up_to") is None or billable <= number(tier["up_to"]):
            return [
                (ordinal, billable, number(tier.get("unit_amount", "0")), *tier_terms(price, tier, billable))
            ]
    raise NotWorkedOut("the last tier of the price has an end")


def percentage(price, billable, event_count):
    free, fixed = price.find("free_amount") or Fraction(0), price.find("fixed_amount_per_event")
    of_events = ("minimum_amount_per_event", "maximum_amount_per_event", "free_events")
    if any(price.get(name) for name in of_events) or (fixed and (free or price.find("included_quantity"))):
        raise NotWorkedOut("a percentage with rules for single events needs their amounts in order")
    if fixed and event_count is None:
        raise NotWorkedOut("a fixed part for each event needs their number")
    added = fixed * event_count if fixed else Fraction(0)
    return [(0, max(Fraction(0), billable - free), price.find("rate_percent") / 100, added, None)]


def worked_out(expression: str, names: dict[str, Fraction]) -> Fraction:
    """The small language of prices, read as the expression of Python that it nearly is; sums over events are not."""
    pieces = re.split(r'("[^"]*")', expression)
    pieces[::2] = [re.sub(r"\bif\s*\(", "if_(", piece) for piece in pieces[::2]]
    try:
        tree = ast.parse("".join(pieces).strip(), mode="eval").body
    except SyntaxError:
        raise NotWorkedOut("the expression cannot be read here") from None
    literals = re.compile(r"[0-9]+(?:\.[0-9]+)?")

    def value(node: ast.expr):
        match node:
            case ast.Constant(value=str() as told):
                return told
            case ast.Constant():
                told = literals.match("".join(pieces).strip()[node.col_offset :])
                return number(told.group()) if told else Fraction(0)
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not value(operand)
            case ast.BoolOp(op=ast.And(), values=values):
                return all(value(one) for one in values)
            case ast.BoolOp(op=ast.Or(), values=values):
                return any(value(one) for one in values)
            case ast.BinOp(left=left, op=operation, right=right):
                one, other = value(left), value(right)
                kinds = {ast.Add: one + other, ast.Sub: one - other, ast.Mult: one * other}
                if isinstance(operation, ast.Div):
                    return one / other
                if type(operation) in kinds:
                    return kinds[type(operation)]
            case ast.Compare(left=left, ops=[operation], comparators=[right]):
                one, other = value(left), value(right)
                compared = {
                    ast.Lt: lambda: one < other,
                    ast.LtE: lambda: one <= other,
                    ast.Gt: lambda: one > other,
                    ast.GtE: lambda: one >= other,
                    ast.Eq: lambda: one == other,
                    ast.NotEq: lambda: one != other,
                }
                return compared[type(operation)]()
            case ast.Call(func=ast.Name(id="if_"), args=[condition, then, otherwise]):
                return value(then) if value(condition) else value(otherwise)
            case ast.Call(func=ast.Name(id="min"), args=args):
                return min(value(one) for one in args)
            case ast.Call(func=ast.Name(id="max"), args=args):
                return max(value(one) for one in args)
            case ast.Call(func=ast.Name(id="abs"), args=[one]):
                return abs(value(one))
            case ast.Call(func=ast.Name(id="ceil"), args=[one]):
                return Fraction(ceil(value(one)))
            case ast.Call(func=ast.Name(id="floor"), args=[one]):
                return Fraction(floor(value(one)))
            case ast.Call(func=ast.Name(id="round"), args=[one]):
                return half_away(value(one), 0)
            case ast.Call(func=ast.Name(id="round"), args=[one, decimals]):
                scale = Fraction(10) ** int(value(decimals))
                return half_away(value(one) * scale, 0) / scale
        raise NotWorkedOut("the expression says more than totals do")

    try:
        return Fraction(value(tree))
    except (ZeroDivisionError, TypeError):
        raise NotWorkedOut("the expression cannot be worked out") from None


def line_key(price: Price, key: str) -> str:
    """By volume there is one line, whichever tier prices it."""
    return "0" if price.model == "volume" and key.isdigit() else key


def tier_of(price: Price, key: str) -> int:
    return int(key) if price.tiers and key.isdigit() else 0


def changed(price, before, after, fraction) -> list[Line]:
    """From one quantity to another, tier by tier, for a part of a period."""
    old = {line_key(price, line.key): line for line in rated(price, before)}
    new = {line_key(price, line.key): line for line in rated(price, after)}
    lines = []
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = old.get(key), new.get(key)
        units = (now.quantity if now else Fraction(0)) - (was.quantity if was else Fraction(0))
        unit = now.unit if now else was.unit
        difference = (now.whole if now else Fraction(0)) - (was.whole if was else Fraction(0))
        if units * unit != difference:
            units, unit = Fraction(-1 if difference < 0 else 1), abs(difference)
        amount = half_away(units * unit * fraction, price.decimals)
        if amount:
            lines.append(Line(key, tier_of(price, key), units, unit, fraction, amount, WORDS.get(key, "")))
    return lines


def given_back(price, quantity, fraction) -> list[Line]:
    lines = []
    for line in rated(price, quantity, fraction):
        if not line.amount:
            continue
        units, unit, part = line.quantity, line.unit, line.fraction
        if line.kind == "price" and (line.flat or line.cap is not None):
            units, unit = Fraction(1), line.whole
        lines.append(Line(line.key, line.tier, -units, unit, part, -line.amount, line.words))
    return lines


def capped(lines: list[Line], most: Fraction) -> list[Line]:
    """A credit of so much at the most: the last lines give back less."""
    excess = -sum((line.amount for line in lines), Fraction(0)) - most
    kept = []
    for line in reversed(lines):
        taken = min(excess, -line.amount)
        if taken > 0:
            excess -= taken
            amount = line.amount + taken
            if not amount:
                continue
            line = Line(line.key, line.tier, Fraction(-1), -amount, Fraction(1), amount, line.words)
        kept.append(line)
    return kept[::-1]


def pooled(price: Price, count: int) -> Price:
    """The price of so many periods in one: what it has for each period, it has so many times."""
    told = dict(price._told)
    once = ["included_quantity", "free_amount", "minimum_amount", "maximum_amount"]
    for name in once + (["unit_amount"] if price.model == "flat" else []):
        if told.get(name) is not None:
            told[name] = plain(number(told[name]) * count)
    many = ("up_to", "flat_amount", "cap_amount")
    told["tiers"] = [
        {
            name: plain(number(value) * count) if name in many and value is not None else value
            for name, value in t.items()
        }
        for t in price.tiers
    ]
    return Price(told)


def shared_by_pool(price: Price, pool: dict, own: list[Line]) -> list[Line]:
    """What one of several periods between two readings is charged: the last one what is left, the others no more."""
    quantity, scale = max(number(pool["quantity"]), Fraction(0)), 10**price.decimals
    together = rated(
        pooled(price, pool["period_count"]), quantity, Fraction(1), pool["event_count"], pool["allowance"]
    )
    elsewhere = {key: Fraction(minor, scale) for key, minor in pool["elsewhere"]}
    if pool["is_last"]:
        for line in together:
            line.key = line_key(price, line.key)
            line.amount -= elsewhere.pop(line.key, Fraction(0))
        back = [
            Line(key, 0, Fraction(0), Fraction(0), Fraction(1), -amount) for key, amount in elsewhere.items()
        ]
        return together + back
    left = sum((line.amount for line in together), Fraction(0)) - sum(elsewhere.values(), Fraction(0))
    excess = max(sum((line.amount for line in own), Fraction(0)) - left, Fraction(0))
    for line in reversed(own):
        taken = min(excess, max(line.amount, Fraction(0)))
        line.amount, excess = line.amount - taken, excess - taken
    return own


def in_units(amount: Fraction, line: Line | None) -> tuple[Fraction, Fraction]:
    """So many units at their price, where that comes out even; else the amount, once."""
    if line is not None and line.unit > 0 and (amount / line.unit * 10**6).denominator == 1:
        return amount / line.unit, line.unit
    return Fraction(1 if amount > 0 else -1), abs(amount)


def corrected(price, owed: list[Line], billed: list, counted: bool = False) -> list[Line]:
    """One line for each that has changed: a quantity of 1 or -1 at what it comes to more, or less."""
    now = {line_key(price, line.key): line for line in owed}
    scale = 10**price.decimals
    was = {key: (Fraction(minor, scale), line_id) for key, minor, line_id in billed}
    first = next((line_id for _, line_id in was.values() if line_id is not None), None)
    lines = []
    for key in [*now, *(key for key in was if key not in now)]:
        before, line_id = was.get(key, (Fraction(0), None))
        difference = (now[key].amount if key in now else Fraction(0)) - before
        if not difference:
            continue
        tier = now[key].tier if key in now else tier_of(price, key)
        words = now[key].words if key in now else WORDS.get(key, "")
        units, unit = in_units(difference, now.get(key) if counted else None)
        line = Line(key, tier, units, unit, Fraction(1), difference, words)
        line.corrects = line_id if line_id is not None else first
        lines.append(line)
    return lines


def lines_of_charge(charge: dict) -> list[Line]:
    price, quantity = Price(charge["price"]), number(charge["quantity"])
    fraction = Fraction(number(charge["fraction_numerator"]), number(charge["fraction_denominator"]))
    pools, before = charge.get("pools") or [], charge.get("billed_before")
    if pools or before is not None:
        owed = []
        if not charge["is_end"]:
            owed = [] if any(pool["is_last"] for pool in pools) else usage_lines(price, charge, quantity)
            for pool in pools:
                owed = shared_by_pool(price, pool, owed)
        return corrected(price, owed, [billed_line(told) for told in before or ()], bool(pools))
    if charge["quantity_before"] is not None:
        before = number(charge["quantity_before"])
        lines = (
            given_back(price, before, fraction)
            if charge["is_end"]
            else changed(price, before, quantity, fraction)
        )
        if charge["most_minor"] is not None:
            lines = capped(lines, Fraction(charge["most_minor"], 10**price.decimals))
        return lines
    if charge["kind"] == "usage":
        return usage_lines(price, charge, quantity)
    return rated(price, quantity, fraction)


def billed_line(told) -> tuple[str, int, str | None]:
    if isinstance(told, dict):
        return told["key"], told["amount_minor"], told.get("line_id")
    key, minor, line_id = told
    return key, minor, line_id


def usage_lines(price: Price, charge: dict, quantity: Fraction) -> list[Line]:
    return rated(price, quantity, Fraction(1), charge["event_count"], charge["allowance"])


def check_charges(bundle: dict, report: Report) -> None:
    usage = {(total["window_id"], total["item_id"], total["price_id"]): total for total in bundle["usage"]}
    named = {id for total in bundle["usage"] for id in total["charges"]}
    for name in ("charges", "earlier_charges"):
        for place, charge in enumerate(bundle[name]):
            at = f"/{name}/{place}"
            parts = (charge["item_id"], charge["price_id"], str(charge["period_index"]), charge["kind"])
            report.same(f"{at}/id", charge["id"], derived_id("chg", *parts, str(charge["revision"])))
            report.same(f"{at}/price_id", charge["price_id"], charge["price"]["id"])
            report.same(f"{at}/currency", charge["currency"], charge["price"]["currency"])
            check_dates(at, charge, bundle, report)
            if name == "charges":
                check_pool(at, charge, report)
            if name == "charges" and bundle["invoice"]["status"] != "void":
                report.same(f"{at}/invoice_id", charge["invoice_id"], bundle["invoice"]["id"])
            if not charge["usage_window_id"] or name != "charges":
                continue
            if charge["id"] not in named:
                if not charge["is_end"]:
                    report.take(
                        f"{at}/quantity: no seal of its window has this quantity; it is taken as it is"
                    )
                continue
            for key in ((charge["price_id"]), None):
                total = usage.get((charge["usage_window_id"], charge["item_id"], key))
                if total is not None and charge["id"] in total["charges"]:
                    report.same(f"{at}/quantity", number(charge["quantity"]), number(total["quantity"]))
                    report.same(f"{at}/event_count", charge["event_count"], total["event_count"])
                    check_window(at, charge, total, report)
                    break
            else:
                report.differ(f"{at}/quantity", "the total that it was made from is not in the bundle")
    known = {charge["id"] for charge in bundle["charges"]}
    for place, total in enumerate(bundle["usage"]):
        for index, id in enumerate(total["charges"]):
            if id not in known:
                report.differ(f"/usage/{place}/charges/{index}", "is no charge of this invoice")
    check_billed_before(bundle, report)
    report.step(f"{len(bundle['charges']):,} charges have the quantities of their usage, and ids that fit")


def check_dates(at: str, charge: dict, bundle: dict, report: Report) -> None:
    zone = bundle["invoice"]["zone"]
    for name in ("service_start", "service_end"):
        on = day_in(charge[name], zone, report)
        if on is not None:
            report.same(f"{at}/{name}_on", charge[f"{name}_on"], on)
    if charge["kind"] == "usage":  # usage is charged whole, also of a part of a period
        for name in ("fraction_numerator", "fraction_denominator"):
            report.same(f"{at}/{name}", number(charge[name]), Fraction(1))


def pool_of(charge: dict) -> dict | None:
    """The pool of an allowance that is earned with time."""
    return (charge.get("allowance") or {}).get("pool")


def check_pool(at: str, charge: dict, report: Report) -> None:
    """What an interval earns is what the price includes, and the line that settles a pool is for all of its time."""
    pool = pool_of(charge)
    if pool is None:
        return
    included = Price(charge["price"]).find("included_quantity") or Fraction(0)
    report.same(f"{at}/allowance/included", number(charge["allowance"]["included"]), included)
    if pool["is_last"] and not charge["is_end"]:
        report.same(f"{at}/service_start", instant(charge["service_start"]), instant(pool["start"]))
        report.same(f"{at}/service_start_on", charge["service_start_on"], pool["start_on"])
        report.take(
            f"{at}/allowance/pool: what was used before in the pool, and for how long, is taken as it is"
        )


def check_window(at: str, charge: dict, total: dict, report: Report) -> None:
    for name, found in {
        "subscription_id": total["subscription_id"],
        "period_index": total["period_index"],
    }.items():
        report.same(f"{at}/{name}", charge[name], found)
    report.same(f"{at}/price/meter", charge["price"].get("meter"), total["meter"])
    start, end = instant(charge["service_start"]), instant(charge["service_end"])
    first, last = instant(total["window_start"]), instant(total["window_end"])
    is_whole = total["price_id"] is None
    pool = pool_of(charge)
    if pool is not None and pool["is_last"]:
        start = max(start, first)  # what settles a pool is for all of its time
    if (start != first) if is_whole else not first <= start <= last:
        report.differ(f"{at}/service_start", "is not when the usage began to count")
    if (end != last) if is_whole else not first <= end <= last:
        report.differ(f"{at}/service_end", "is not when the usage ceased to count")


def check_billed_before(bundle: dict, report: Report) -> None:
    """What a correction says was charged before is what the charges before it came to."""
    for place, charge in enumerate(bundle["charges"]):
        if charge.get("billed_before") is None:
            continue
        identity = ("item_id", "price_id", "period_index", "kind")
        before = [
            one
            for one in [*bundle["earlier_charges"], *bundle["charges"]]
            if all(one[name] == charge[name] for name in identity) and one["revision"] < charge["revision"]
        ]
        price = Price(charge["price"])
        sums: dict[str, Fraction] = {}
        try:
            for one in before:
                for line in lines_of_charge(one):
                    key = line_key(price, line.key)
                    sums[key] = sums.get(key, Fraction(0)) + line.amount
        except NotWorkedOut as error:
            report.take(f"/charges/{place}/billed_before: {error}; it is taken as it is")
            continue
        told = {}
        for key, minor, _ in map(billed_line, charge["billed_before"]):
            told[key] = Fraction(minor, 10**price.decimals)
        for key in sorted(told.keys() | sums.keys()):
            report.same(
                f"/charges/{place}/billed_before", told.get(key, Fraction(0)), sums.get(key, Fraction(0))
            )


def check_lines(bundle: dict, report: Report) -> None:
    invoice = bundle["invoice"]
    scale = 10 ** MINOR_UNITS.get(invoice["currency"], 2)
    given = {line["id"]: (place, line) for place, line in enumerate(bundle["lines"])}
    if len(given) < len(bundle["lines"]):
        report.differ("/lines", "two lines have one id")
    order: list[str] = []
    for place, charge in sorted(enumerate(bundle["charges"]), key=lambda found: order_of(found[1])):
        at = f"/charges/{place}"
        try:
            expected = lines_of_charge(charge)
        except NotWorkedOut as error:
            mine = [line for line in bundle["lines"] if line["charge_id"] == charge["id"]]
            report.take(f"{at}: {error}; its lines are taken as they are")
            report.same(
                f"{at}/amount_minor", charge["amount_minor"], sum(line["amount_minor"] for line in mine)
            )
            order += [line["id"] for line in mine]
            continue
        amount = sum((line.amount for line in expected), Fraction(0))
        report.same(f"{at}/amount_minor", charge["amount_minor"], int(amount * scale))
        for line in expected:
            if not line.amount and not line.quantity:
                continue
            id = derived_id("lin", invoice["id"], charge["id"], line.key)
            order.append(id)
            if id not in given:
                report.differ("/lines", f"has no line {id}, of {plain(line.amount)}, which {at} comes to")
                continue
            old = is_of_before(bundle)
            check_line(f"/lines/{given[id][0]}", given[id][1], line, charge, scale, report, old)
    for place, manual in enumerate(bundle["manual_lines"]):
        id = derived_id("lin", invoice["id"], manual["id"])
        order.append(id)
        if id not in given:
            report.differ("/lines", f"has no line {id}, which /manual_lines/{place} comes to")
        else:
            check_manual(f"/lines/{given[id][0]}", given[id][1], manual, scale, report)
    for id, (place, line) in given.items():
        if id not in order:
            report.differ(f"/lines/{place}", "comes of no charge, and of no manual line")
        else:
            report.same(f"/lines/{place}/ordinal", line["ordinal"], order.index(id) + 1)
            report.same(f"/lines/{place}/invoice_id", line["invoice_id"], invoice["id"])
            report.same(f"/lines/{place}/currency", line["currency"], invoice["currency"])
    report.step(f"{len(bundle['lines']):,} lines come of their prices, quantities and parts of a period")


def order_of(charge: dict) -> tuple:
    start = instant(charge["service_start"])
    return start, charge["kind"], charge["price"]["code"], charge["item_id"], charge["revision"]


def check_line(
    at: str, given: dict, line: Line, charge: dict, scale: int, report: Report, is_old: bool
) -> None:
    price = charge["price"]
    report.same(f"{at}/amount_minor", given["amount_minor"], int(line.amount * scale))
    report.same(f"{at}/quantity", number(given["quantity"]), half_away(line.quantity * line.fraction, 6))
    report.same(f"{at}/unit_amount", number(given["unit_amount"]), half_away(line.unit, 12))
    words = f"{price['description']}: {line.words}" if line.words else price["description"]
    kind_of_recurring = charge["kind"] in ("advance", "arrears")
    for name, found in {
        "charge_id": charge["id"],
        "tier": line.tier or None,
        "description": words,
        "item_id": charge["item_id"],
        "price_id": charge["price_id"],
        "product_id": price["product_id"] or None,
        "plan_code": charge["plan_code"],
        "subscription_id": charge["subscription_id"],
        "tax_behavior": price.get("tax_behavior", "exclusive"),
        "product_tax_category": price.get("tax_category"),
        "service_start_on": charge["service_start_on"],
        "service_end_on": charge["service_end_on"],
        "earned_until": charge["service_end_on"] if kind_of_recurring else None,
        "corrects_line_id": line.corrects,
        "manual_line_id": None,
        "income": "revenue",
    }.items():
        if not is_old or name not in ("tax_behavior", "product_tax_category", "earned_until", "income"):
            report.same(f"{at}/{name}", given[name], found)
    check_formula(at, given, scale, report)


def check_manual(at: str, given: dict, manual: dict, scale: int, report: Report) -> None:
    exact = number(manual["quantity"]) * number(manual["unit_amount"])
    report.same(f"{at}/amount_minor", given["amount_minor"], int(half_away(exact * scale, 0)))
    report.same(f"{at}/charge_id", given["charge_id"], None)
    for name in ("quantity", "unit_amount"):
        report.same(f"{at}/{name}", number(given[name]), number(manual[name]))
    for name, own in (
        ("description", "description"),
        ("tax_behavior", "tax_behavior"),
        ("product_id", "product_id"),
    ):
        report.same(f"{at}/{name}", given[name], manual[own])


def check_formula(at: str, given: dict, scale: int, report: Report) -> None:
    """The last sum that the formula tells, and that it comes to the amount of the line."""
    tier = re.match(r"tier ([0-9]+)[,:]", given["formula"])
    if tier is not None:
        report.same(f"{at}/formula", int(tier.group(1)), given["tier"])
    told = re.search(
        r"(?:^|[:;] |\) )([-0-9(cf][-+*/().0-9a-z ]*?) ([=≈]) (-?[0-9.]+) ([A-Z]{3})$", given["formula"]
    )
    if told is None:
        return
    product, equals, result, currency = told.groups()
    report.same(f"{at}/formula", number(result) * scale, Fraction(given["amount_minor"]))
    report.same(f"{at}/formula", currency, given["currency"])
    try:
        exact = worked_out(product, {})
    except NotWorkedOut:
        return
    if half_away(exact * scale, 0) != given["amount_minor"] or (equals == "=") != (exact == number(result)):
        report.differ(f"{at}/formula", f"{product} comes to {plain(exact)}, and not to {result}")


# Lines → totals ------------------------------------------------------------------------------------------------------


def shared_out(whole: int, weights: list) -> list[int]:
    """In whole minor units and in proportion: floored, and what is missing to the largest remainders, the first first."""
    total = sum(weights, Fraction(0))
    return apportioned(whole, [whole * Fraction(weight) / total for weight in weights])


def apportioned(whole: int, exact: list[Fraction]) -> list[int]:
    parts = [floor(share) for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda place: parts[place] - exact[place])
    for place in by_rest[: whole - sum(parts)]:
        parts[place] += 1
    return parts


def check_totals(bundle: dict, report: Report) -> None:
    invoice, lines = bundle["invoice"], bundle["lines"]
    prepaid = [line["prepaid_minor"] for line in lines]
    left = [line["amount_minor"] - line["prepaid_minor"] for line in lines]
    taken = check_coupons(bundle, left, report)
    for place, (line, off) in enumerate(zip(lines, taken, strict=False)):
        report.same(f"/lines/{place}/discount_minor", line["discount_minor"], off)
    left = [amount - off for amount, off in zip(left, taken, strict=False)]
    nets, taxes = taxed(lines, left, (invoice["seller"] or {}).get("tax_rounding", "group"))
    for place, (line, net) in enumerate(zip(lines, nets, strict=False)):
        report.same(f"/lines/{place}/net_minor", line["net_minor"], net)
        by_line = (invoice["seller"] or {}).get("tax_rounding", "group") == "line"
        exclusive = line["tax_behavior"] == "exclusive"
        own = int(half_away(net * number(line["tax_percent"]) / 100, 0)) if by_line and exclusive else None
        report.same(f"/lines/{place}/line_tax_minor", line["line_tax_minor"], own)
    given = {
        (tax["category"], number(tax["percent"])): (place, tax) for place, tax in enumerate(invoice["taxes"])
    }
    for key, (taxable, tax) in taxes.items():
        if is_of_before(bundle) and not tax:
            continue
        if key not in given:
            report.differ("/invoice/taxes", f"has no group {key[0]} of {plain(key[1])} %")
            continue
        place, told = given[key]
        report.same(f"/invoice/taxes/{place}/taxable_minor", told["taxable_minor"], taxable)
        report.same(f"/invoice/taxes/{place}/tax_minor", told["tax_minor"], tax)
    if invoice["taxes"] or any(tax for _, tax in taxes.values()):
        report.same("/invoice/taxes", len(invoice["taxes"]), len(taxes))
    net, tax = sum(nets), sum(tax for _, tax in taxes.values())
    for name, found in {
        "subtotal_minor": sum(line["amount_minor"] for line in lines),
        "prepaid_minor": sum(prepaid),
        "discount_minor": sum(taken),
        "net_minor": net,
        "tax_minor": tax,
        "total_minor": net + tax,
    }.items():
        report.same(f"/invoice/{name}", invoice[name], found)
    due = (
        net
        + tax
        - sum(invoice[f"{name}_minor"] for name in ("credits_applied", "balance_applied", "paid", "credited"))
    )
    if invoice["status"] == "paid" and due:
        report.differ("/invoice/status", f"is paid, and {due} minor units are due")
    boundary = instant(invoice["boundary_at"]).isoformat()
    parts = (invoice["group_id"], boundary, invoice["document_kind"], str(invoice["issue"]))
    report.same("/invoice/id", invoice["id"], derived_id("inv", *parts))
    check_parties(invoice, report)
    report.step("discounts, taxes and totals come of the lines")


def check_parties(invoice: dict, report: Report) -> None:
    """What stands on the document twice is the same, and instants and dates are some."""
    customer, seller = invoice["customer"], invoice["seller"]
    report.same("/invoice/customer_id", invoice["customer_id"], customer["id"])
    report.same("/invoice/seller_id", invoice["seller_id"], seller["id"])
    report.same("/invoice/series", invoice["series"], invoice["clock_id"] or "main")
    if customer.get("clock_id") is not None:
        report.same("/invoice/customer/clock_id", customer["clock_id"], invoice["clock_id"])
    if invoice["subscription_id"] is not None and invoice["group_id"].startswith("sub_"):
        report.same("/invoice/subscription_id", invoice["subscription_id"], invoice["group_id"])
    for name in ("boundary_at", "issued_at", "created_at", "paid_at", "voided_at", "draft_until"):
        if invoice.get(name) is not None:
            instant(invoice[name])
    if invoice["paid_at"] is not None and instant(invoice["paid_at"]) < instant(invoice["issued_at"]):
        report.differ("/invoice/paid_at", "lies before it was issued")
    terms = invoice.get("payment_terms")
    days = customer.get("payment_terms_days")
    days = seller["payment_terms_days"] if days is None else days
    is_plain = terms is None and seller.get("payment_terms_from", "issue") == "issue"
    issued_on = day_in(invoice["issued_at"], invoice["zone"], report)
    if is_plain and issued_on is not None and seller.get("due_day_rule", "calendar") == "calendar":
        found = day(issued_on) + timedelta(days=days)
        report.same("/invoice/due_on", invoice["due_on"], found.isoformat())


def is_of_before(bundle: dict) -> bool:
    """Whether an early release issued it, which knew no taxes; its lines do not tell when they are earned."""
    return bool(bundle["lines"]) and not bundle["invoice"]["taxes"]


def check_coupons(bundle: dict, offered: list[int], report: Report) -> list[int]:
    """What the coupons take off each line, one after another, each off what the one before left."""
    lines, left, taken = bundle["lines"], list(offered), [0] * len(offered)
    discounts = bundle["invoice"]["discounts"]
    back = {id: minor for discount in discounts for id, minor in discount["coupon"].get("taken_back") or ()}
    order = [(discount["coupon"]["stacking_order"], discount["coupon"]["code"]) for discount in discounts]
    if order != sorted(order):
        report.differ("/invoice/discounts", "do not follow their stacking order")
    for count, discount in enumerate(discounts):
        at, coupon = f"/invoice/discounts/{count}", discount["coupon"]
        if coupon.get("taken_back"):
            places = [place for place, line in enumerate(lines) if line["id"] in back]
            parts = [back[lines[place]["id"]] for place in places]
            base, off = sum(offered[place] for place in places), sum(parts)
            report.take(f"{at}: what credits take back of earlier discounts is taken as it is")
        else:
            places = [
                place for place, line in enumerate(lines) if line["id"] not in back and is_for(coupon, line)
            ]
            base = sum(left[place] for place in places)
            off = worth(coupon, base, bundle["invoice"]["currency"])
            parts = shared_out(off, [left[place] for place in places]) if off else []
        report.same(f"{at}/base_minor", discount["base_minor"], base)
        report.same(f"{at}/amount_minor", discount["amount_minor"], off)
        for place, part in zip(places, parts, strict=False):
            left[place] -= part
            taken[place] += part
    return taken


def is_for(coupon: dict, line: dict) -> bool:
    """What follows from no agreement, or is no supply, is discounted only by a coupon for its product."""
    products, plans, subscriptions = (
        coupon["product_ids"],
        coupon["plan_codes"],
        coupon.get("subscription_ids"),
    )
    if not products and (line["charge_id"] is None or is_outside_scope(line)):
        return False
    if subscriptions is not None and line["subscription_id"] not in (None, *subscriptions):
        return False
    return (not products or line["product_id"] in products) and (not plans or line["plan_code"] in plans)


def is_outside_scope(line: dict) -> bool:
    return (line["product_tax_category"] or "").lower().replace("-", "_") == "outside_scope"


def worth(coupon: dict, base: int, currency: str) -> int:
    if base <= 0:
        return 0
    if coupon["percent"] is not None:
        return int(half_away(base * number(coupon["percent"]) / 100, 0))
    minor, of = coupon["amount"]
    if of != currency:
        return 0
    used = coupon["already_used"][0] if coupon["already_used"] else 0
    return min(max(minor - used, 0), base)


def taxed(lines: list, left: list[int], rounding: str) -> tuple[list[int], dict]:
    """The nets of the lines, and of each category and rate the net and the tax."""
    nets, groups, exact_on_top = list(left), {}, []
    for key in sorted({(number(line["tax_percent"]), line["tax_category"]) for line in lines}):
        percent, category = key
        places = [
            p for p, line in enumerate(lines) if (number(line["tax_percent"]), line["tax_category"]) == key
        ]
        inside = [place for place in places if lines[place]["tax_behavior"] == "inclusive"]
        outside = [place for place in places if lines[place]["tax_behavior"] != "inclusive"]
        gross = sum(left[place] for place in inside)
        included = int(half_away(gross * percent / (100 + percent), 0))
        exact = [left[place] * 100 / (100 + percent) for place in inside]
        for place, net in zip(inside, apportioned(gross - included, exact), strict=False):
            nets[place] = net
        exact_on_top.append(sum(left[place] for place in outside) * percent / 100)
        if rounding == "line":
            on_top = sum(int(half_away(left[place] * percent / 100, 0)) for place in outside)
        elif rounding == "document":
            on_top = 0  # all rates together, below
        else:
            on_top = int(half_away(sum(left[place] for place in outside) * percent / 100, 0))
        groups[category, percent] = (sum(nets[place] for place in places), on_top + included)
    if rounding == "document":
        parts = apportioned(int(half_away(sum(exact_on_top, Fraction(0)), 0)), exact_on_top)
        groups = {
            key: (net, tax + part) for (key, (net, tax)), part in zip(groups.items(), parts, strict=False)
        }
    return nets, groups


# Totals → ledger -----------------------------------------------------------------------------------------------------


def check_ledger(bundle: dict, report: Report) -> None:
    invoice, ledger = bundle["invoice"], bundle["ledger"]
    postings: dict[str, list[tuple[int, dict]]] = {}
    for place, entry in enumerate(ledger):
        postings.setdefault(entry["posting_key"], []).append((place, entry))
    for key, entries in postings.items():
        for currency in {entry["currency"] for _, entry in entries}:
            off = sum(entry["amount_minor"] for _, entry in entries if entry["currency"] == currency)
            if off:
                places = ", ".join(f"/ledger/{place}/amount_minor" for place, _ in entries)
                report.differ(places, f"the posting {key} does not sum to zero: {off} {currency}")
        for ordinal, (place, entry) in enumerate(sorted(entries, key=lambda found: found[1]["ordinal"])):
            report.same(f"/ledger/{place}/ordinal", entry["ordinal"], ordinal)
            report.same(f"/ledger/{place}/invoice_id", entry["invoice_id"], invoice["id"])
            on = day_in(entry["posted_at"], invoice["zone"], report)
            if on is not None:
                report.same(f"/ledger/{place}/posted_on", entry["posted_on"], on)
            if entry["attempt_id"] is not None and key.startswith("payment:"):
                report.same(f"/ledger/{place}/attempt_id", entry["attempt_id"], key.split(":")[1])
    base = f"invoice:{invoice['id']}"
    issued_on = first_on(postings.get(f"{base}:final"), invoice)
    expected = expected_postings(bundle, base, issued_on)
    for key, (amounts, on) in expected.items():
        found = postings.get(key, [])
        if not found and amounts:
            report.differ("/ledger", f"has no posting {key}")
        for place, entry in found:
            report.same(
                f"/ledger/{place}/amount_minor", entry["amount_minor"], amounts.pop(entry["account"], 0)
            )
            report.same(f"/ledger/{place}/posted_on", entry["posted_on"], on.isoformat())
        for account, minor in amounts.items():
            if found:
                report.differ(
                    f"/ledger/{found[0][0]}", f"{key} posts nothing on {account}, which {minor} belongs to"
                )
    for key, entries in postings.items():
        if (
            key.startswith((f"{base}:earned:", f"{base}:final"))
            and key not in expected
            and not is_of_before(bundle)
        ):
            report.differ(f"/ledger/{entries[0][0]}", f"{key} follows from no line")
    owed = "deposit_liability" if invoice["document_kind"] == "deposit" else "accounts_receivable"
    paid = -sum(
        e["amount_minor"] for e in ledger if e["posting_key"].startswith("payment:") and e["account"] == owed
    )
    report.same("/invoice/paid_minor", invoice["paid_minor"], paid)
    report.step(f"{len(postings):,} postings balance, and those of the document come of its lines")


def first_on(entries: list | None, invoice: dict) -> date:
    """The date of issue: that of the books, which is held against the instant where this machine knows the zone."""
    if entries:
        return day(entries[0][1]["posted_on"])
    return instant(invoice["issued_at"]).date()


def expected_postings(bundle: dict, base: str, issued_on: date) -> dict[str, tuple[dict[str, int], date]]:
    invoice = bundle["invoice"]
    found: dict[str, tuple[dict[str, int], date]] = {}
    if invoice["document_kind"] != "deposit":
        final: dict[str, int] = {
            "accounts_receivable": invoice["total_minor"],
            "tax_payable": -invoice["tax_minor"],
        }
        months: dict[tuple[int, int], tuple[date, dict[str, int]]] = {}
        for line in bundle["lines"]:
            at_issue, later = schedule_of(line, issued_on)
            final[line["income"]] = final.get(line["income"], 0) - at_issue
            for on, minor in later:
                final["contract_liability"] = final.get("contract_liability", 0) - minor
                last, accounts = months.get((on.year, on.month), (on, {}))
                accounts[line["income"]] = accounts.get(line["income"], 0) - minor
                months[on.year, on.month] = (max(last, on), accounts)
        final["rounding"] = -sum(final.values())
        found[f"{base}:final"] = ({name: minor for name, minor in final.items() if minor}, issued_on)
        for (year, month), (on, accounts) in ({} if is_of_before(bundle) else months).items():
            accounts["contract_liability"] = accounts.get("contract_liability", 0) - sum(accounts.values())
            accounts = {name: minor for name, minor in accounts.items() if minor}
            found[f"{base}:earned:{year:04d}-{month:02d}"] = (accounts, max(on, issued_on))
    applied = invoice["balance_applied_minor"]
    if applied:
        owed = "deposit_liability" if invoice["document_kind"] == "deposit" else "accounts_receivable"
        found[f"{base}:balance"] = ({"customer_credit": applied, owed: -applied}, issued_on)
    return {key: told for key, told in found.items() if told[0]}


def schedule_of(line: dict, issued_on: date) -> tuple[int, list[tuple[date, int]]]:
    """What of a line is earned at once, and what in each month after that, by days."""
    net, start, until = line["net_minor"], day(line["service_start_on"]), day(line["earned_until"])
    if start is None or until is None or until <= issued_on:
        return net, []
    if until <= start:
        until = start + timedelta(days=1)
    cuts = [start]
    if start < issued_on:
        cuts.append(issued_on)
    month = next_month(cuts[-1])
    while month < until:
        cuts.append(month)
        month = next_month(month)
    cuts.append(until)
    parts = shared_out(net, [(end - begin).days for begin, end in itertools.pairwise(cuts)])
    later = [(end - timedelta(days=1), part) for end, part in zip(cuts[1:], parts, strict=False)]
    return (parts[0], later[1:]) if start < issued_on else (0, later)


def next_month(on: date) -> date:
    return date(on.year + on.month // 12, on.month % 12 + 1, 1)


# ---------------------------------------------------------------------------------------------------------------------


def check(bundle: dict, report: Report) -> None:
    steps = (
        check_hashes,
        check_events,
        check_quantities,
        check_charges,
        check_lines,
        check_totals,
        check_ledger,
    )
    for step in steps:
        try:
            step(bundle, report)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as error:
            name = step.__name__.removeprefix("check_")
            report.differ(f"/{name}", f"cannot be checked: {type(error).__name__} {error}")
            report.step(f"{name} can be read")
        except Unreadable as error:
            report.differ("", str(error))
            report.step("everything can be read")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a proof bundle of an invoice, offline.")
    parser.add_argument("bundle", help="the file that `perennial proof` wrote; - reads standard input")
    parser.add_argument("--quiet", action="store_true", help="say only what does not hold")
    parser.add_argument("--root", help="the root that you were told by another way")
    arguments = parser.parse_args()
    try:
        if arguments.bundle == "-":
            bundle = read(sys.stdin.buffer.read().decode())
        else:
            with open(arguments.bundle, "rb") as file:
                bundle = read(file.read().decode())
    except (Unreadable, OSError, UnicodeDecodeError) as error:
        print(f"{arguments.bundle}: {error}", file=sys.stderr)
        return 2
    report = Report(arguments.quiet)
    check(bundle, report)
    if arguments.root is not None:
        report.same("/root", bundle.get("root"), arguments.root)
        report.step("the root is the one that you were told")
    for told in report.taken:
        print(f"TAKEN    {told}")
    if report.differences:
        print(
            f"{len(report.differences)} differences; the first is at {report.differences[0][0] or 'the file'}"
        )
        return 1
    if not arguments.quiet:
        invoice = bundle["invoice"]
        decimals = MINOR_UNITS.get(invoice["currency"], 2)
        total = f"{plain(Fraction(invoice['total_minor'], 10**decimals))} {invoice['currency']}"
        print(f"The invoice {invoice['number']} of {total} holds. Root: {bundle['root']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
