"""What must hold in an account at any moment, whatever clients did: the tests look after each of them."""

from __future__ import annotations

from collections import Counter

from emulator.account import Account
from emulator.job import Job
from emulator.pool import Pool


def violations(account: Account) -> list[str]:
    """One sentence for each thing that is wrong; this scans everything, so only tests ask for it."""
    found = list(account.broken)
    for job in account.jobs:
        found += _of_job(job)
    for pool in account.pools:
        found += _of_pool(pool)
    try:
        found += _of_machine(account)
    except OSError as error:  # such as too many open files
        found.append(f"processes and directories cannot be looked through: {error.strerror}")
    return found


def _of_machine(account: Account) -> list[str]:
    strays = [] if account.attempts else account.service.processes.strays_under(account.directory)
    live = {str(node.directory) for pool in account.pools for node in pool.nodes}
    on_disk = {str(path) for path in account.directory.glob("*/*")} if account.directory.is_dir() else set[str]()
    return [
        *(f"process {pid} runs though no command of the account does" for pid in strays),
        *(f"the directory {path} is of no node" for path in sorted(on_disk - live)),
    ]


def _of_job(job: Job) -> list[str]:
    counted: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    found: list[str] = []
    for task in job.tasks:
        state = "running" if task.state == "preparing" else task.state
        keys = [state]
        if state == "completed":
            keys.append("succeeded" if task.execution["result"] == "success" else "failed")
        for key in keys:
            counted[key] += 1
            slots[key] += task.slots
        on_node = task.node is not None and task in task.node.on_it
        if (state == "running") is not on_node or (task in job.on_nodes) is not on_node:
            found.append(f"task {job.id}/{task.id} is {task.state}, yet on a node: {on_node}")
        if state == "active" and not task.unmet and not task.ticket:
            found.append(f"task {job.id}/{task.id} is ready, yet not queued")
        if state != "active" and task.ticket:
            found.append(f"task {job.id}/{task.id} is {task.state}, yet queued")
    if job.state == "completed" and (counted["active"] or counted["running"]):
        found.append(
            f"job {job.id} is completed, with {counted['active']} active and {counted['running']} running tasks"
        )
    tickets = sum(bool(task.ticket) for task in job.tasks)
    if len(job.ready) != tickets:
        found.append(f"job {job.id} counts {len(job.ready)} ready tasks, not {tickets}")
    if +job.counts != counted:
        found.append(f"job {job.id} counts {dict(+job.counts)}, not {dict(counted)}")
    if +job.slot_counts != slots:
        found.append(f"job {job.id} counts slots {dict(+job.slot_counts)}, not {dict(slots)}")
    return found


def _of_pool(pool: Pool) -> list[str]:
    found: list[str] = []
    for dedicated, name in ((True, "currentDedicatedNodes"), (False, "currentLowPriorityNodes")):
        number = sum(node.model["isDedicated"] is dedicated for node in pool.nodes)
        if pool.model[name] != number:
            found.append(f"pool {pool.id} has {number} nodes, {name} says {pool.model[name]}")
    for node in pool.nodes:
        taken = sum(task.held_slots for task in node.on_it)
        if node.free_slots != node.slots - taken or node.free_slots < 0:
            found.append(f"node {node.id} has {node.free_slots} free slots of {node.slots}, {taken} taken")
        if node.model["runningTasksCount"] != len(node.on_it):
            found.append(f"node {node.id} counts {node.model['runningTasksCount']} tasks")
        if (node.state == "running") != bool(node.on_it) and node.state in ("idle", "running"):
            found.append(f"node {node.id} is {node.state} with {len(node.on_it)} tasks")
    return found
