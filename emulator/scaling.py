"""A pool's automatic scaling: samples of its metrics, and its formula evaluated at its interval."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.batch.models import AutoScaleRun

from emulator.autoscale import Context, Evaluation, Formula, FormulaError, FormulaSyntaxError, Samples, parse
from emulator.clock import read_duration
from emulator.errors import (
    FormulaRefused,
    InvalidAutoScalingSettings,
    OperationNotValidOnPool,
    TooManyEnableAutoScaleRequests,
    invalid,
)

if TYPE_CHECKING:
    from emulator.pool import Pool

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=168)
BETWEEN_CHANGES = 30.0  # seconds of the service's time between two changes of one pool's scaling
_SAMPLE_PERIOD = timedelta(seconds=30)
_SAMPLED = (
    "$ActiveTasks",
    "$RunningTasks",
    "$PendingTasks",
    "$SucceededTasks",
    "$FailedTasks",
    "$SampleNodeCount",
)


def parsed(text: str) -> Formula:
    """The formula of a text.

    Raises:
        FormulaRefused: with the code that Batch gives.
    """
    try:
        return parse(text)
    except FormulaSyntaxError as error:
        raise FormulaRefused(error.code, error.message, **dict(error.values)) from None


def interval(text: str) -> timedelta:
    """An evaluation interval: from 5 minutes to a week."""
    length = read_duration(text)
    if not SHORTEST <= length <= LONGEST:
        raise invalid("autoScaleEvaluationInterval", text, "must be from 5 minutes to 168 hours")
    return length


class Scaling:
    """One pool's scaling. Samples follow the account's clock; the interval is the service's own delay."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._formula: Formula | None = None
        self._samples: dict[str, Samples] = {}
        self._woken = asyncio.Event()
        self._changed: float | None = None  # when the settings last were, in the event loop's time
        self._evaluating: asyncio.Task[None] | None = None
        self._sampling = pool.account.spawn(self._sample_on())

    @property
    def enabled(self) -> bool:
        """Whether a formula decides on the number of nodes."""
        return self._formula is not None

    def enable(self, formula: str | None, every: str | None) -> None:
        """Scale by a formula at an interval from now on; what is not given stays.

        Raises:
            PoolBeingResized, PoolBeingDeleted: while it cannot be changed.
            TooManyEnableAutoScaleRequests: when it was changed a moment ago.
            InvalidAutoScalingSettings, FormulaRefused, InvalidPropertyValue: for what cannot be.
        """
        model = self._pool.model
        if formula is None and self._formula is None:
            raise InvalidAutoScalingSettings(Reason="autoScaleFormula is needed to enable automatic scaling")
        new = self._formula if formula is None else parsed(formula)
        if every is not None:
            interval(every)
        self._pool.must_be_steady()
        now = asyncio.get_running_loop().time()
        speed = self._pool.account.clock.speed
        if self._changed is not None and (now - self._changed) * speed < BETWEEN_CHANGES:
            raise TooManyEnableAutoScaleRequests
        self._changed = now
        self._formula = new
        model["enableAutoScale"] = True
        if formula is not None:
            model["autoScaleFormula"] = formula
        model["autoScaleEvaluationInterval"] = every or model.get("autoScaleEvaluationInterval", "PT15M")
        self._stop()
        self._evaluating = self._pool.account.spawn(self._evaluate_on())

    def disable(self) -> None:
        """Leave the number of nodes as it is.

        Raises:
            OperationNotValidOnPool: when no formula decides on it.
        """
        if not self.enabled:
            raise OperationNotValidOnPool
        self._stop()
        self._formula = None
        model = self._pool.model
        model["enableAutoScale"] = False
        for name in ("autoScaleFormula", "autoScaleEvaluationInterval", "autoScaleRun"):
            model.pop(name, None)

    def close(self) -> None:
        """End all this."""
        self._stop()
        self._sampling.cancel()

    def _stop(self) -> None:
        if self._evaluating is not None:
            self._evaluating.cancel()
            self._evaluating = None

    def clock_moved(self) -> None:
        """The account's clock was set: what it makes due is done now."""
        self._sample()
        self._woken.set()

    # Evaluating

    async def _evaluate_on(self) -> None:
        while True:
            self._apply()
            length = read_duration(self._pool.model["autoScaleEvaluationInterval"]).total_seconds()
            self._woken.clear()
            try:
                async with asyncio.timeout(length / self._pool.account.clock.speed):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _apply(self) -> None:
        """Evaluate the formula and start towards its targets; not while an earlier resize goes on."""
        pool = self._pool
        if not pool.steady or pool.state == "deleting" or self._formula is None:
            return
        run, evaluation = self._run(self._formula)
        pool.model.auto_scale_run = run
        if evaluation is None:
            return
        dedicated, spot = pool.model["targetDedicatedNodes"], pool.model["targetLowPriorityNodes"]
        if evaluation.target_dedicated_nodes is not None:
            dedicated = evaluation.target_dedicated_nodes
        if evaluation.target_low_priority_nodes is not None:
            spot = evaluation.target_low_priority_nodes
        wanted = {"targetDedicatedNodes": dedicated, "targetLowPriorityNodes": spot}
        if wanted != {name: pool.model[name] for name in wanted} or not pool.at_target:
            assert pool.model.resize_timeout is not None, "every pool has it from its creation"
            pool.resize(dedicated, spot, pool.model.resize_timeout, evaluation.node_deallocation_option or "requeue")

    def evaluate(self, text: str) -> AutoScaleRun:
        """What a formula would give now, without doing it.

        Raises:
            OperationNotValidOnPool: when the pool does not scale by a formula.
            FormulaRefused: when it is not a formula.
        """
        if not self.enabled:
            raise OperationNotValidOnPool
        return self._run(parsed(text))[0]

    def _run(self, formula: Formula) -> tuple[AutoScaleRun, Evaluation | None]:
        now = self._pool.account.clock.stamp()
        try:
            evaluation = formula.evaluate(self._context())
        except FormulaError as error:
            values = [{"name": name, "value": value} for name, value in error.values]
            failure = {"code": error.code, "message": error.message, "values": values}
            results = getattr(error, "results", "")
            return AutoScaleRun({"timestamp": now, "results": results, "error": failure}), None
        return AutoScaleRun({"timestamp": now, "results": evaluation.results}), evaluation

    def _context(self) -> Context:
        model = self._pool.model
        states = Counter(node.state for node in self._pool.nodes)
        return Context(
            now=self._pool.account.clock.now(),
            target_dedicated_nodes=model["targetDedicatedNodes"],
            target_low_priority_nodes=model["targetLowPriorityNodes"],
            current_dedicated_nodes=model["currentDedicatedNodes"],
            current_low_priority_nodes=model["currentLowPriorityNodes"],
            preempted_nodes=states["preempted"],
            usable_nodes=states["idle"] + states["running"],
            task_slots_per_node=model["taskSlotsPerNode"],
            metrics=self._samples,
        )

    # Sampling

    async def _sample_on(self) -> None:
        while True:
            self._sample()
            await asyncio.sleep(_SAMPLE_PERIOD.total_seconds())

    def _sample(self) -> None:
        account = self._pool.account
        now = account.clock.now()
        values = self._metrics()
        for name in _SAMPLED:
            samples = self._samples.setdefault(name, Samples())
            try:
                samples.record(now, values[name])
            except ValueError:  # the clock was set back: that history never was
                self._samples[name] = Samples()
                self._samples[name].record(now, values[name])

    def _metrics(self) -> dict[str, Any]:
        """The tasks of all jobs on the pool, by state, and the nodes that are up."""
        counts: Counter[str] = Counter()
        ready = 0  # those that wait for other tasks do not count: more nodes would be of no use to them
        for job in self._pool.account.jobs:
            if job.pool_id.lower() == self._pool.id.lower():
                counts.update(job.counts)
                ready += len(job.ready)
        return {
            "$ActiveTasks": ready,
            "$RunningTasks": counts["running"],
            "$PendingTasks": ready + counts["running"],
            "$SucceededTasks": counts["succeeded"],
            "$FailedTasks": counts["failed"],
            "$SampleNodeCount": sum(node.up for node in self._pool.nodes),
        }
