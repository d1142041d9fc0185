"""Package: units are sold in blocks; a block that is begun is paid whole, or, rounded down, not at all."""

from __future__ import annotations

from decimal import Decimal

from libs.common.exact import EXACT, Number
from services.billing.domain.rating.price import PackageRounding, Price
from services.billing.domain.rating.rated_line import NOTHING, ONE, Part


def package(price: Price, billable: Number) -> tuple[Part, ...]:
    assert price.unit_amount is not None, "a price per package has an amount"
    assert price.package_size is not None, "a package has a size"
    packages = packages_of(billable, price.package_size, price.package_rounding)
    return ((0, packages, price.unit_amount, NOTHING, None, billable),)


def packages_of(quantity: Number, package_size: Decimal, rounding: PackageRounding) -> Decimal:
    """How many packages hold `quantity`: none for nothing, one more (or no more) for a part of one."""
    if isinstance(quantity, Decimal):
        whole, rest = EXACT.divmod(quantity, package_size)
        return EXACT.add(whole, ONE) if rest and rounding == "up" else whole
    numerator, denominator = quantity.as_integer_ratio()
    size, parts = package_size.as_integer_ratio()
    packages, left = divmod(numerator * parts, denominator * size)
    return Decimal(packages + 1 if left and rounding == "up" else packages)


def count_packages(quantity: Decimal, package_size: Decimal, rounding: PackageRounding = "up") -> int:
    """The same as a whole number."""
    return int(packages_of(quantity, package_size, rounding))
