"""The words that prices have for what is counted, and the codes that e-invoices have for it."""

from __future__ import annotations

ONE = "C62"

_WORDS = {
    "SEC": "s sec secs second seconds",
    "MIN": "min mins minute minutes",
    "HUR": "h hr hrs hour hours",
    "DAY": "d day days",
    "WEE": "week weeks",
    "MON": "month months",
    "QAN": "quarter quarters",
    "ANN": "year years",
    "WHR": "wh watt-hour watt-hours",
    "KWH": "kwh kilowatt-hour kilowatt-hours",
    "MWH": "mwh megawatt-hour megawatt-hours",
    "KWT": "kw kilowatt kilowatts",
    "MAW": "mw megawatt megawatts",
    "AMH": "ah ampere-hour ampere-hours",
    "GRM": "g gram grams gramme grammes",
    "KGM": "kg kilogram kilograms kilogramme kilogrammes",
    "TNE": "t ton tons tonne tonnes",
    "LBR": "lb lbs pound pounds",
    "MMT": "mm millimetre millimetres millimeter millimeters",
    "CMT": "cm centimetre centimetres centimeter centimeters",
    "MTR": "m metre metres meter meters",
    "KMT": "km kilometre kilometres kilometer kilometers",
    "SMI": "mi mile miles",
    "FOT": "ft foot feet",
    "MTK": "m2 m² sqm square-metre square-metres square-meter square-meters",
    "MTQ": "m3 m³ cubic-metre cubic-metres cubic-meter cubic-meters",
    "MLT": "ml millilitre millilitres milliliter milliliters",
    "LTR": "l litre litres liter liters",
    "HLT": "hl hectolitre hectolitres hectoliter hectoliters",
    "AD": "byte bytes",
    "2P": "kb kilobyte kilobytes",
    "4L": "mb megabyte megabytes",
    "E34": "gb gigabyte gigabytes",
    "E35": "tb terabyte terabytes",
    "E36": "pb petabyte petabytes",
    "B62": "lm·h lmh lumen-hour lumen-hours",
    "H87": "piece pieces pc pcs",
    "ZP": "page pages",
    "SET": "set sets",
    "PR": "pair pairs",
    "XBX": "box boxes",
    ONE: "unit units one seat seats user users license licenses licence licences",
}
_CODES = {word: code for code, words in _WORDS.items() for word in words.split()}


def unit_code(word: str | None) -> str | None:
    """The code for a price's word, whatever its case; None where no code says the same. Without a word it is `C62`: one.

    A word that is one of these codes, written as a code, stands for itself.
    Source: UN/ECE Recommendation 20 and 21, as EN 16931 has them (BT-130).
    """
    if word is None or not word.strip():
        return ONE
    plain = word.strip()
    if plain in _WORDS:
        return plain
    return _CODES.get("-".join(plain.lower().split()))
