"""`python -m services.subscriptions.entrypoints.api`: the app of subscriptions as a process of its own."""

import sys

from libs.common.serving.process import run_api
from services.subscriptions.bootstrap import build

if __name__ == "__main__":
    sys.exit(run_api("subscriptions", build))
