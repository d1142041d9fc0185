"""One small language of arithmetic over named numbers and the fields of events. It always comes to an end.

    expression  = condition
    condition   = both { "or" both }
    both        = negation { "and" negation }
    negation    = "not" negation | comparison
    comparison  = sum [ ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) sum ]
    sum         = product { ( "+" | "-" ) product }
    product     = signed { ( "*" | "/" ) signed }
    signed      = "-" signed | atom
    atom        = number | text | name | call | "(" condition ")"
    call        = function "(" [ condition { "," condition } ] ")"
    number      = digit { digit } [ "." digit { digit } ]
    text        = '"' { any character but '"' } '"'
    name        = letter { letter | digit | "_" }

| function | what it gives |
|---|---|
| `if(condition, then, otherwise)` | one of the two; the other is not worked out |
| `min(a, …)`, `max(a, …)` | the least, the greatest |
| `ceil(a)`, `floor(a)` | the next whole number upwards, downwards |
| `round(a)`, `round(a, decimals)` | half away from zero; `decimals` is a whole number from -12 to 12 |
| `abs(a)` | without its sign |
| `event("/pointer")`, `event("/pointer", default)` | a field of the event, by JSON pointer (RFC 6901) |
| `sum(a)` | `a` worked out for each event, added up; nothing for no events |

Numbers are exact: `1 / 3 * 3` is 1, and nothing is rounded unless `ceil`, `floor` or `round` says so. What a field
holds is a JSON number, or text with a plain decimal, since exact quantities travel as text. Text is only
compared, with `==` and `!=`, and a field that is compared with text is read as text.

Where an expression is about totals, events are spoken of within `sum` only, and a `sum` holds no other; where it is
about one event there is no `sum`. Bounds: `LENGTH_MAX` characters, `DEPTH_MAX` levels of brackets, functions and
signs, and numbers of at most 200 digits at every step. There are no loops, no assignments and no calls out.
"""

from libs.common.expression.arithmetic import EXACTLY, OPERATIONS, Algebra, ExpressionFailed
from libs.common.expression.compiled import EventView, Expression, parse
from libs.common.expression.syntax import (
    DEPTH_MAX,
    LENGTH_MAX,
    ONE_EVENT,
    PRICE_TOTALS,
    InvalidExpression,
    Scope,
)

__all__ = [
    "DEPTH_MAX",
    "EXACTLY",
    "LENGTH_MAX",
    "ONE_EVENT",
    "OPERATIONS",
    "PRICE_TOTALS",
    "Algebra",
    "EventView",
    "Expression",
    "ExpressionFailed",
    "InvalidExpression",
    "Scope",
    "parse",
]
