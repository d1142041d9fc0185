"""What is measured, and how good it has to be: the floor is promised, the goal is aimed at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`judged`: whether floor and goal are of the ratio or of the figure."""

    what: str
    compared_with: str
    floor: float
    goal: float
    more_is_better: bool = True
    judged: str = "ratio"


BARE_LOOP = "the same arithmetic as the barest loop over decimals"

TARGETS = {
    "P1": Target(
        "durable, de-duplicated ingest: HTTP batches of 100–1,000 → queryable sums, one process",
        "bare script: COPY → temp table → INSERT ON CONFLICT, same key, payload and sums",
        0.35,
        0.60,
    ),
    "P2": Target(
        "the same through the usage topic on real Kafka, separate processes",
        "the same bare script",
        0.20,
        0.40,
    ),
    "P3": Target("the ingest of P1", "FastAPI, Pydantic and an ORM insert for each event", 5, 15),
    "P4": Target(
        "POST of a single event, durable, authorised", "a Starlette route that does nothing", 0.25, 0.50
    ),
    "P5": Target(
        "event sent → visible in the usage answer, p99 at half of saturation",
        "",
        1_000,
        250,
        more_is_better=False,
        judged="figure",
    ),
    "P6": Target(
        "a month's usage of one subscription, with ten times as many events of others",
        "the same answer before those were there",
        2,
        1.1,
        more_is_better=False,
    ),
    "P7": Target(
        "renewal → finalized invoice, 10,000 subscriptions, whole pipeline, one process",
        "bare writer of the same finished rows",
        0.10,
        0.30,
    ),
    "P8": Target("two usage workers against one, backlog on Kafka", "one worker", 1.3, 1.7),
    "P9": Target(
        "a billing run repeated with nothing due", "the first run", 0.10, 0.02, more_is_better=False
    ),
    "run invoices": Target(
        "a billing run of 10,000 subscriptions with ten lines each: counted and finalized",
        "",
        100,
        300,
        judged="figure",
    ),
    "run memory": Target(
        "resident memory of the one process during that run, at most",
        "",
        1_000,
        600,
        more_is_better=False,
        judged="figure",
    ),
    "P10": Target("row policies on", "row policies off", 0.90, 0.97),
    "P11 idle": Target(
        "resident memory of the one process, idle", "", 350, 200, more_is_better=False, judged="figure"
    ),
    "P11 load": Target(
        "resident memory of the one process under the load of P1",
        "",
        600,
        350,
        more_is_better=False,
        judged="figure",
    ),
    "P12 accepting": Target(
        "kill -9 under load → accepting again", "", 10, 3, more_is_better=False, judged="figure"
    ),
    "P12 lag": Target("kill -9 under load → lag gone", "", 60, 20, more_is_better=False, judged="figure"),
    **{
        f"R {model}": Target(
            f"rating by the model {model.replace('_', ' ')}, one core", BARE_LOOP, 0.30, 0.50
        )
        for model in (
            "flat",
            "per_unit",
            "graduated",
            "volume",
            "package",
            "percentage",
            "graduated_percentage",
            "matrix",
            "dynamic",
            "capacity",
            "expression",
        )
    },
    "documents made": Target(
        "invoices of two pages as PDF/A, by the time of one core", "", 10, 30, judged="figure"
    ),
    "documents memory": Target(
        "resident memory of the process that sets them, while 1,000 are made, at most",
        "",
        200,
        120,
        more_is_better=False,
        judged="figure",
    ),
    "audit invoices": Target(
        "an audit of 100,000 invoices by the command line, all four services", "", 167, 1_000, judged="figure"
    ),
    "audit memory": Target(
        "resident memory of the one process during that audit, at most",
        "",
        1_000,
        600,
        more_is_better=False,
        judged="figure",
    ),
    "scale load": Target("ten million events loaded over HTTP", "", 10_000, 25_000, judged="figure"),
    "scale median": Target(
        "a month's usage of one subscription among ten million events, median",
        "",
        100,
        10,
        more_is_better=False,
        judged="figure",
    ),
    "scale p99": Target("the same, p99", "", 250, 25, more_is_better=False, judged="figure"),
    "scale tables": Target(
        "tables of events, identities and running sums on disk",
        "",
        1_000,
        500,
        more_is_better=False,
        judged="figure",
    ),
    "scale indexes": Target("their indexes", "", 1_000, 500, more_is_better=False, judged="figure"),
    "R lines": Target(
        "graduated lines rated by one core, explanations ready to be asked for",
        "",
        25_000,
        50_000,
        judged="figure",
    ),
}
