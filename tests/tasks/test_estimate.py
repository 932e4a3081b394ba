"""What a run would do and cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.application import Application
from tasks.counting import Counting
from tasks.estimate import estimate
from tasks.files import Blob
from tasks.lease import Terms
from tasks.plan import InputFile, Plan

PLAN = Plan(
    Application({}, "0"),
    Counting(3),
    (
        InputFile(Path("a"), "a", 100, "k1", "t1"),
        InputFile(Path("b"), "b", 100, "k1", "t2"),
        InputFile(Blob("c", "d", "e"), "d", 300, "k2", "t3"),
    ),
)


def made(plan: Plan = PLAN, **changes: object):
    choices = {
        "pool_id": None,
        "terms": Terms(2, 3, 10.0),
        "vm_size": "S",
        "nodes": 2,
        "spot_nodes": 3,
        "task_slots": 4,
        "price_per_hour": None,
        "spot_price_per_hour": None,
    }
    return estimate(plan, **{**choices, **changes})


def test_files_tasks_and_uploads_are_counted() -> None:
    planned = made()
    assert (planned.files, planned.bytes, planned.batch_tasks, planned.slots) == (3, 500, 3, 20)
    assert planned.uploads == 1  # the two alike once, the blob not at all
    assert planned.cost is None
    assert dict(planned.lines())["pool"] == "its own: 2 S and 3 spot"
    assert dict(planned.lines())["lease"] == "60 minutes at a time, at most 2.00 hours or 10.00 node-hours"


def test_the_cost_is_node_hours_times_their_prices() -> None:
    low, high = made().node_hours
    planned = made(price_per_hour=1.0, spot_price_per_hour=0.5)
    assert planned.cost == pytest.approx((low / 5 * 3.5, high / 5 * 3.5))
    assert 0 < low < high


def test_a_pool_that_the_user_named_costs_the_run_nothing() -> None:
    planned = made(pool_id="mine", terms=None, price_per_hour=1.0)
    assert (planned.node_hours, planned.cost) == ((0.0, 0.0), (0.0, 0.0))
    assert "mine (named: left alone" in planned.pool
    assert planned.lease == "none: the pool is not this run's"


def test_reduce_tasks_are_planned_where_tables_are_kept_and_files_are_more_than_one() -> None:
    plan = replace(PLAN, counting=Counting(3, table=True))
    assert dict(made(plan).lines())["reduce tasks"] == "1 at the most"
    assert dict(made(replace(plan, files=PLAN.files[:1])).lines())["reduce tasks"] == "none"
    assert dict(made().lines())["reduce tasks"] == "none"


def test_the_engines_that_the_nodes_get_make_it_quicker() -> None:
    engines = {"engines.json": b'{"count-x86_64-static": "0a", "count-aarch64-static": "0b"}'}
    native = made(replace(PLAN, application=Application(engines, "0")))
    assert dict(native.lines())["engine"] == "count-aarch64-static, count-x86_64-static"
    assert "Python counts" in dict(made().lines())["engine"]
    assert native.node_hours < made().node_hours
