"""VAT identification numbers: checked by form and check digit, without asking anybody, and spelled one way."""

from __future__ import annotations

from functools import cache
from typing import Any

from stdnum.exceptions import InvalidChecksum, InvalidComponent, InvalidLength, ValidationError
from stdnum.util import clean, get_cc_module

from libs.common.errors import InvalidInput, RuleViolation

VAT_ID_LENGTH_MAX = 40

# Where the prefix of the number is not the country's code, or there is more than one.
_PREFIXES = {"GR": ("EL",), "GB": ("GB", "XI"), "MC": ("FR",), "IM": ("GB",)}
# Where the rules of a prefix stand under another code; and countries whose code is no prefix.
_RULES = {"EL": "gr", "XI": "gb"}
_NO_PREFIX = frozenset(("GR", "MC", "IM"))
# What the authorities want at the end of the number, which people leave out.
_SUFFIXES = {"CH": ("MWST", "TVA", "IVA", "TPV"), "NO": ("MVA",)}


class VatIdInvalid(InvalidInput):
    """No VAT id of its country looks like this, or its check digit is that of another."""

    code = "vat_id_invalid"
    title = "The VAT id is invalid"


class VatIdOfAnotherCountry(RuleViolation):
    """A VAT id is given by the country in which its owner is registered."""

    code = "vat_id_of_another_country"
    title = "The VAT id is another country's"


class VatIdNotCheckable(RuleViolation):
    """Either nothing says of which country it is, or that country's VAT ids are not known here."""

    code = "vat_id_not_checkable"
    title = "The VAT id cannot be checked"


def canonical_vat_id(text: str, *, country: str | None) -> str:
    """The number with its prefix, in capitals and without anything between: `ATU13585627`, `CHE107787577MWST`.

    The prefix may be left out where `country` is known. Nobody is asked whether the number has been given out.
    Raises: VatIdInvalid, VatIdOfAnotherCountry, VatIdNotCheckable, each pointing at /vat_id.
    """
    bare = clean(text, " -./·").upper()
    if country in ("GR", None) and bare.startswith("GR"):
        bare = "EL" + bare[2:]  # what people write, though the prefix is another
    given = bare[:2] if _rules(bare[:2]) is not None else None
    if country is None:
        if given is None:
            raise VatIdNotCheckable(
                "it does not begin with the prefix of a country whose VAT ids are known here",
                pointer="/vat_id",
                remedy="Give the customer's country, or begin the VAT id with its prefix, such as AT.",
            )
        return _checked(bare, given)
    prefixes = [prefix for prefix in _PREFIXES.get(country, (country,)) if _rules(prefix) is not None]
    if not prefixes:
        raise VatIdNotCheckable(
            f"VAT ids of {country} are not known here",
            pointer="/vat_id",
            remedy="Leave it out, and keep the number in metadata.",
            country=country,
        )
    own = given if given in prefixes else prefixes[0]
    try:
        return _checked(bare, own)
    except VatIdInvalid:
        if given is not None and given != own and _is_valid(bare, given):
            raise VatIdOfAnotherCountry(
                f"the VAT id is one of {given}, but the customer's country is {country}",
                pointer="/vat_id",
                remedy="Correct the country, or give the VAT id that this country has given out.",
                country=country,
                prefix=given,
            ) from None
        raise


@cache
def _rules(prefix: str) -> Any:
    """The rules of a prefix, or None if no VAT ids begin with it."""
    if not (len(prefix) == 2 and prefix.isascii() and prefix.isalpha()) or prefix in _NO_PREFIX:
        return None
    return get_cc_module(_RULES.get(prefix, prefix).lower(), "vat")


def _is_valid(bare: str, prefix: str) -> bool:
    try:
        _checked(bare, prefix)
    except VatIdInvalid:
        return False
    return True


def _checked(bare: str, prefix: str) -> str:
    # Without the prefix, since not all rules know of it, and with the end that they all want. The Swiss prefix is CHE.
    number = bare.removeprefix("CHE" if prefix == "CH" else prefix)
    suffixes = _SUFFIXES.get(prefix, ("",))
    number = (
        next((number.removesuffix(end) for end in suffixes if number.endswith(end)), number) + suffixes[0]
    )
    try:
        number = str(_rules(prefix).validate(f"CHE{number}" if prefix == "CH" else number))
    except ValidationError as wrong:
        raise VatIdInvalid(
            f"as a VAT id of {prefix}, it {_told(wrong)}",
            pointer="/vat_id",
            remedy="Compare it with the customer's papers; leave it out if there is none.",
            prefix=prefix,
        ) from None
    return number if prefix == "CH" else prefix + number


def _told(wrong: ValidationError) -> str:
    match wrong:
        case InvalidChecksum():
            return "has a check digit that does not fit: one of its characters is another"
        case InvalidLength():
            return "has too few or too many characters"
        case InvalidComponent():
            return "has a part that there is not"
        case _:
            return "is not written like one"
