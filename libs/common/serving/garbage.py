"""How often the interpreter looks for garbage in circles, in a process that serves."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000  # the default, 700, is what a dozen requests leave behind
GENERATIONS = (20, 20)


def keep_what_is_built() -> None:
    """Call it once, when everything is built: that stays, and to look through it again would hold the loop.

    What comes later lives for a request or a batch and is freed without looking; circles are rare. A process that has
    not looked since its start (`gc.disable()`, before the imports) does not look here either: of 250,000 objects,
    two thousand are garbage.
    """
    if gc.isenabled():
        gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *GENERATIONS)
    gc.enable()
