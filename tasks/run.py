"""The identity of a run: the names of all that it makes, and the mark that says whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from azure.batch.models import BatchMetadataItem

OWNER = "topn_owner"  # of job, pool and containers: the flow run that made them; a C# identifier, as Blob Storage asks


@dataclass(frozen=True)
class Run:
    """A run owns its resources by name: containers, job and pool carry its key, and its id as their owner."""

    key: str  # lower-case letters, digits and single dashes, at most 40
    owner: str  # id of the flow run
    generation: int = 1  # of job and pool: ids are never used again, as deleting takes minutes (tasks/recovery.py)

    @classmethod
    def of(cls, flow_run_id: UUID | str, run_key: str | None = None) -> Run:
        """The run of this flow run; its key is the given one, else from the flow run's id."""
        # The last digits: the first ones of Prefect's time-ordered ids are the clock's.
        return cls(key=run_key or UUID(str(flow_run_id)).hex[-12:], owner=str(flow_run_id))

    @property
    def application_container(self) -> str:
        """Holds the application files."""
        return f"topn-{self.key}-application"

    @property
    def input_container(self) -> str:
        """Holds the input files, by key."""
        return f"topn-{self.key}-input"

    @property
    def output_container(self) -> str:
        """The only one that nodes can write: results, by key."""
        return f"topn-{self.key}-output"

    @property
    def containers(self) -> tuple[str, str, str]:
        """All three."""
        return (self.application_container, self.input_container, self.output_container)

    @property
    def job_id(self) -> str:
        """Of this generation."""
        return f"{self.job_prefix}{self.generation}"

    @property
    def pool_id(self) -> str:
        """The same as the job's: pools and jobs have name spaces of their own."""
        return self.job_id

    @property
    def job_prefix(self) -> str:
        """What the ids of all generations of jobs and pools begin with."""
        return f"topn-{self.key}-g"

    @property
    def metadata(self) -> list[BatchMetadataItem]:
        """What marks a job or pool as this run's."""
        return [BatchMetadataItem(name=OWNER, value=self.owner)]

    def names(self, id: str) -> bool:
        """Whether a job or pool of this id is one of this run key's generations."""
        return id.startswith(self.job_prefix) and id.removeprefix(self.job_prefix).isdecimal()

    def owns(self, metadata: Iterable[BatchMetadataItem] | None) -> bool:
        """Whether a job or pool with this metadata is this run's."""
        return owner_of(metadata) == self.owner


def owner_of(metadata: Iterable[BatchMetadataItem] | None) -> str | None:
    """The flow run whose job or pool has this metadata; None where it carries no run's mark."""
    return next((item.value for item in metadata or () if item.name == OWNER), None)
