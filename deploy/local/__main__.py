"""`python -m deploy.local`: the time of the imports is part of the time to ready."""

import sys
import time

STARTED = time.monotonic()

from deploy.local.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(STARTED))
