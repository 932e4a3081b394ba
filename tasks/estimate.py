"""What a run would do and cost, before it does: `plan_only`, and `python -m flows.topn plan INPUT...`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.clients import Clients
from tasks.lease import LENGTH, Terms
from tasks.plan import Plan
from tasks.quotas import Usage, cores, exceeded, read_quotas, read_usage
from tasks.reduction import number_of_tasks

PLAN_ARTIFACT = "topn-plan"
WITHIN = ("quotas", "the run stays within them")

SHORT_TASK_SECONDS = 10  # "Batch tasks should run for at least ten seconds": Microsoft's guidance for many tasks
# What the estimate assumes; docs/operations.md says so too.
NODE_START_MINUTES = (2.0, 8.0)  # until a new node has booted and run its start task
TASK_OVERHEAD_SECONDS = (1.0, 5.0)  # Batch's scheduling and the fetching of a file (Azure/Batch#58: 2-5 s)
# By one process of the node task, on a core of its own or a shared one: by the native engine, and by the other one.
NATIVE_MIB_PER_SECOND = (100.0, 30.0)
STDLIB_MIB_PER_SECOND = (15.0, 5.0)


@dataclass(frozen=True)
class Estimate:
    """A run's work and price; pairs are (low, high)."""

    files: int
    bytes: int
    uploads: int  # of files that are not in Blob Storage yet, identical ones once
    kept: int  # counted by earlier runs: their results are taken from the cache
    batch_tasks: int
    seconds_per_file: float  # of counting, at the slower rate
    reduce_tasks: int  # that may be added, where the files' lists do not tell the top words of all
    engine: str  # that the nodes get, for people
    pool: str
    access: str  # of nodes to blobs, for people
    lease: str  # of the pool, for people
    nodes: int
    slots: int  # of all nodes together
    batch_calls: int
    storage_calls: int
    added: Usage  # to what the account has
    node_hours: tuple[float, float]
    cost: tuple[float, float] | None  # in the currency of the prices

    def lines(self) -> list[tuple[str, str]]:
        """The plan as (what, how much), for people."""
        low, high = self.node_hours
        rows = [
            ("files", f"{self.files:,} ({self.bytes:,} bytes)"),
            ("counted already", f"{self.kept:,} files"),
            ("to upload", f"{self.uploads:,} files"),
            ("Batch tasks to add", f"{self.batch_tasks:,}"),
            ("reduce tasks", f"{self.reduce_tasks:,} at the most" if self.reduce_tasks else "none"),
            ("engine", self.engine),
            ("pool", self.pool),
            ("nodes' access", self.access),
            ("lease", self.lease),
            ("task slots", f"{self.slots:,}"),
            ("API calls", f"about {self.batch_calls:,} to Batch, {self.storage_calls:,} to Storage"),
            ("node-hours", f"{low:.2f} to {high:.2f}"),
        ]
        if self.batch_tasks and self.seconds_per_file < SHORT_TASK_SECONDS:
            overhead = TASK_OVERHEAD_SECONDS[1]
            share = 100 * overhead / (overhead + self.seconds_per_file)
            rows.append(
                (
                    "short tasks",
                    f"about {self.seconds_per_file:.2g} s of counting a file, where Batch's guidance is "
                    f"{SHORT_TASK_SECONDS:g} s and more: up to {share:.0f} % of the node time is Batch's own work "
                    f"between tasks; larger files, or more task slots, use the nodes better",
                )
            )
        if self.cost:
            rows.append(("cost of the nodes", f"{self.cost[0]:.2f} to {self.cost[1]:.2f}"))
        return rows


def estimate(
    plan: Plan,
    *,
    pool_id: str | None,
    pool_identity: str | None = None,
    terms: Terms | None,
    vm_size: str,
    nodes: int,
    spot_nodes: int,
    task_slots: int,
    price_per_hour: float | None,
    spot_price_per_hour: float | None,
) -> Estimate:
    """Estimate a run of this plan. The nodes of a pool that the user named are not counted as the run's cost."""
    to_count, all_nodes = plan.to_count, nodes + spot_nodes
    files, size_bytes = len(to_count), sum(file.size_bytes for file in to_count)
    slots = max(1, all_nodes * task_slots)
    rounds = -(-files // slots)
    engines = plan.application.engines
    speed = NATIVE_MIB_PER_SECOND if engines else STDLIB_MIB_PER_SECOND
    seconds = [
        rounds * overhead + size_bytes / 2**20 / rate / slots
        for overhead, rate in zip(TASK_OVERHEAD_SECONDS, speed, strict=True)
    ]
    hours = [0.0, 0.0]
    if not pool_id and to_count:
        hours = [start / 60 + second / 3600 for start, second in zip(NODE_START_MINUTES, seconds, strict=True)]
    cost = None
    if price_per_hour is not None or spot_price_per_hour is not None:
        rate = nodes * (price_per_hour or 0) + spot_nodes * (spot_price_per_hour or 0)
        cost = (hours[0] * rate, hours[1] * rate)
    uploads = len({file.key for file in to_count if isinstance(file.place, Path)})
    own_pool = f"its own: {nodes} {vm_size}" + (f" and {spot_nodes} spot" if spot_nodes else "")
    return Estimate(
        files=len(plan.files),
        bytes=plan.size_bytes,
        uploads=uploads,
        kept=len(plan.files) - files,
        batch_tasks=files,
        seconds_per_file=size_bytes / 2**20 / speed[1] / max(1, files),
        reduce_tasks=number_of_tasks(len(plan.files)) if plan.counting.table and len(plan.files) > 1 else 0,
        engine=", ".join(engines) or "none built for the nodes: Python counts, at a tenth of the speed",
        pool=f"{pool_id} (named: left alone, and it has no lease)" if pool_id else own_pool,
        access=f"as the identity {pool_identity}, with no SAS" if pool_identity else "by SAS, each for one thing",
        lease=lease_line(terms),
        nodes=all_nodes,
        slots=slots,
        # Images, pool, job, their release; collections; counts each second and a listing now and then.
        added=Usage(
            pools=0 if pool_id else 1,
            active_jobs=1,
            dedicated_cores=0 if pool_id else nodes * cores(vm_size),
            spot_cores=0 if pool_id else spot_nodes * cores(vm_size),
        ),
        batch_calls=12 + -(-files // 100) + int(seconds[1] * 1.5),
        # Containers and application; per file the node's fetch and four uploads, the result's download and keeping, and
        # its upload or a look at the blob; per kept result its download.
        storage_calls=12 + 8 * files + len(plan.files) - files,
        node_hours=(hours[0] * all_nodes, hours[1] * all_nodes),
        cost=cost,
    )


def lease_line(terms: Terms | None) -> str:
    """What bounds the life of the nodes."""
    if terms is None:
        return "none: the pool is not this run's"
    minutes, most = min(LENGTH, terms.longest) / timedelta(minutes=1), terms.longest / timedelta(hours=1)
    return f"{minutes:g} minutes at a time, at most {most:.2f} hours or {terms.max_node_hours:.2f} node-hours"


async def account_lines(clients: Clients, planned: Estimate) -> list[tuple[str, str]]:
    """What the account has now, and which of its quotas the run would exceed. Raises BadInput."""
    now = await read_usage(clients)
    lines = [("in the account now", f"{now.pools} pools, {now.active_jobs} active jobs")]
    if clients.management is None or clients.settings.batch_account_id is None:
        return [*lines, ("quotas", "unknown: AZURE_BATCH_ACCOUNT_ID does not name the account's resource")]
    quotas = await read_quotas(clients.management, clients.settings.batch_account_id)
    sentences = exceeded(quotas, now, planned.added)
    return [*lines, *(("quota exceeded", sentence) for sentence in sentences), *([] if sentences else [WITHIN])]


@task(name="log plan", cache_policy=NO_CACHE)
async def log_plan(clients: Clients, planned: Estimate) -> None:
    """Say the plan, and keep it as an artifact."""
    lines = [*planned.lines(), *await account_lines(clients, planned)]
    for what, much in lines:
        get_run_logger().info("  %-20s %s", what, much)
    rows = "".join(f"| {what} | {much} |\n" for what, much in lines)
    await acreate_markdown_artifact(
        key=PLAN_ARTIFACT, markdown=f"# Plan\n\nNothing was created.\n\n| what | how much |\n|---|---|\n{rows}"
    )
