"""`python -m services.subscriptions.entrypoints.worker`: the workers of subscriptions as a process of their own."""

import sys

from libs.common.serving.process import run_worker
from services.subscriptions.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_worker("subscriptions", build))
