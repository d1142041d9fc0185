"""`python -m services.catalog.entrypoints.api`: the app of catalog as a process of its own."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # until everything is built: nothing of it is garbage, and looking takes its time

from libs.common.serving.process import run_api
from services.catalog.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_api("catalog", build))
