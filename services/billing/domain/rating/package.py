"""Package: units are sold in blocks; a block that is begun is paid whole."""

from decimal import Decimal
from fractions import Fraction

from services.billing.domain.rating.exact import text
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import TierPart


def package(price: Price, quantity: Decimal) -> tuple[TierPart, ...]:
    assert price.unit_amount is not None, "a price per package has an amount"
    assert price.package_size is not None, "a package has a size"
    packages = count_packages(quantity, price.package_size)
    counted = f"ceil({text(quantity)} / {text(price.package_size)})"
    return (TierPart(0, Decimal(packages), price.unit_amount, Decimal(0), bounds="", counted=counted),)


def count_packages(quantity: Decimal, package_size: Decimal) -> int:
    """How many packages hold `quantity`: none for nothing, one more for a part of one."""
    return -(-Fraction(quantity) // Fraction(package_size))
