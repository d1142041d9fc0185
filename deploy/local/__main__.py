"""`python -m deploy.local`: the time of the imports is part of the time to ready."""

import gc
import sys
import time

STARTED = time.monotonic()
gc.disable()  # until everything is built (`keep_what_is_built`): nothing of it is garbage, and looking takes its time

from deploy.local.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(STARTED))
