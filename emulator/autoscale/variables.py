"""The names that the Batch service gives to every autoscale formula."""

from emulator.autoscale.values import DeallocationOption, TimeInterval, Value

DEDICATED = "$TargetDedicatedNodes"
LOW_PRIORITY = "$TargetLowPriorityNodes"
DEALLOCATION = "$NodeDeallocationOption"

TARGET_ALIASES = {"$TargetDedicated": DEDICATED, "$TargetLowPriority": LOW_PRIORITY}
"""Older names of the targets; a value set by the full name takes precedence."""

SAMPLED = frozenset(
    {
        "$CPUPercent",
        "$WallClockSeconds",
        "$MemoryBytes",
        "$DiskBytes",
        "$DiskReadBytes",
        "$DiskWriteBytes",
        "$DiskReadOps",
        "$DiskWriteOps",
        "$NetworkInBytes",
        "$NetworkOutBytes",
        "$SampleNodeCount",
        "$ActiveTasks",
        "$RunningTasks",
        "$PendingTasks",
        "$SucceededTasks",
        "$FailedTasks",
    }
)
"""Metrics whose value is a history of samples."""

CURRENT_ALIASES = {"$CurrentDedicated": "$CurrentDedicatedNodes"}
"""An older name that the service's own examples still use."""

CURRENT = frozenset(
    {
        "$CurrentDedicatedNodes",
        "$CurrentLowPriorityNodes",
        "$PreemptedNodeCount",
        "$UsableNodeCount",
        "$TaskSlotsPerNode",
    }
)
"""Facts of the pool: read as a number they are the pool's now, and they have a history too."""

_TICKS = {
    "Zero": 0,
    "100ns": 1,
    "Microsecond": 10,
    "Millisecond": 10_000,
    "Second": 10_000_000,
    "Minute": 600_000_000,
    "Hour": 36_000_000_000,
    "Day": 864_000_000_000,
    "Week": 7 * 864_000_000_000,
    "Year": 365 * 864_000_000_000,
}

CONSTANTS: dict[str, Value] = {
    **{f"TimeInterval_{unit}": TimeInterval(ticks) for unit, ticks in _TICKS.items()},
    **{option.value: option for option in DeallocationOption},
}

READ_ONLY = SAMPLED | CURRENT | CURRENT_ALIASES.keys() | CONSTANTS.keys()
"""What a formula may read but never set."""
