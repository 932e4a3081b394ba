"""The parameters of the flow `topn`: what a person may choose, with bounds and defaults."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tasks.release import Keep

SAMPLE_INPUTS = ["data/taskdata1.txt", "data/taskdata2.txt", "data/taskdata3.txt"]

# Characters that containers and Batch ids both take; 40 of them leave room for "topn-" and "-application".
RUN_KEY = r"^[a-z0-9](-?[a-z0-9])*$"
# The longest SAS that a user-delegation key signs is seven days; queueing, wall clock and margins must fit.
LONGEST_TIMEOUT_MINUTES = 6 * 24 * 60


class Parameters(BaseModel):
    """What to count, on which nodes, and what to keep afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: list[str] = Field(
        default=SAMPLE_INPUTS,
        min_length=1,
        description="Files to count: paths, or patterns such as 'texts/*.txt'.",
    )
    words: int = Field(default=3, ge=1, le=10_000, description="How many top words of each file to list.")
    pool_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="An existing pool to use, which is left alone; without it the run makes a pool and deletes it.",
    )
    image: str = Field(
        default="canonical:ubuntu-24_04-lts:server",
        pattern=r"^[^:\s]+:[^:\s]+:[^:\s]+$",
        description="PUBLISHER:OFFER:SKU of the nodes' image; Batch must list it as verified.",
    )
    vm_size: str = Field(default="STANDARD_D2S_V3", pattern=r"^\w+$", description="VM size of the nodes.")
    nodes: int = Field(default=1, ge=1, le=1000, description="How many nodes the run's own pool has.")
    timeout_minutes: float = Field(
        default=20,
        gt=0,
        le=LONGEST_TIMEOUT_MINUTES,
        description="How long to wait for all files to be counted.",
    )
    delay_seconds: float = Field(
        default=0,
        ge=0,
        le=86_400,
        description="Let each Batch task wait before it counts, to watch long tasks.",
    )
    keep: Keep = Field(
        default="nothing",
        description="What to leave in the cloud: nothing, results (the output container) or everything.",
    )
    run_key: str | None = Field(
        default=None,
        pattern=RUN_KEY,
        max_length=40,
        description="A name for the run, part of its resources' names; without it one is made from the flow run's id.",
    )
    outputs: str = Field(default="outputs", min_length=1, description="Local folder for the results.")
