"""What pools, nodes, jobs, tasks and job schedules have in common: a model of the SDK's with an id and a state."""

from __future__ import annotations

from typing import Any


class Resource:
    """A resource of an account."""

    __slots__ = ()

    model: Any

    @property
    def id(self) -> str:
        """The id as its creator spelled it."""
        return self.model["id"]

    @property
    def state(self) -> str:
        """The state, as bodies spell it."""
        return self.model["state"]
