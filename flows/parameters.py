"""The parameters of the flow `topn`: what a person may choose, with bounds and defaults."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tasks.estimate import Estimate, estimate
from tasks.job import JOB_MARGIN
from tasks.lease import LENGTH, Terms
from tasks.plan import Plan
from tasks.policies import Policies, Retries, RetryWaits
from tasks.reduction import Exact
from tasks.release import Keep

SAMPLE_INPUTS = ["data/taskdata1.txt", "data/taskdata2.txt", "data/taskdata3.txt"]

MOST_INPUTS = 2000
# Characters that containers and Batch ids both take; 40 of them leave room for "topn-" and "-application".
RUN_KEY = r"^[a-z0-9](-?[a-z0-9])*$"
# The resource id of a user-assigned managed identity; Azure does not mind the case, and the CLI changes some of it.
IDENTITY = (
    r"^/subscriptions/[0-9a-fA-F-]{36}/resource[gG]roups/[^/\s]+"
    r"/providers/[mM]icrosoft\.[mM]anaged[iI]dentity/[uU]ser[aA]ssigned[iI]dentities/[A-Za-z0-9_-]+$"
)
# The longest SAS that a user-delegation key signs is seven days; preflight refuses a timeout whose margins do not fit.
LONGEST_TIMEOUT_MINUTES = 7 * 24 * 60
# The SAS outlive the job by this: a task that Batch still starts can always fetch its file and deliver its result.
SAS_MARGIN = timedelta(hours=1)


class Parameters(BaseModel):
    """What to count, on which nodes, and what to keep afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: list[str] = Field(
        default=SAMPLE_INPUTS,
        min_length=1,
        description="Files to count: paths, patterns such as 'texts/*.txt', az://CONTAINER/PREFIX for blobs, or "
        "@FILE for a file with one of these a line.",
    )
    words: int = Field(default=3, ge=1, le=10_000, description="How many top words of each file to list.")
    fold_case: bool = Field(default=False, description="Count The and the as one word.")
    min_length: int = Field(default=1, ge=1, le=1000, description="Leave out words of fewer characters.")
    stop_words: str | None = Field(
        default=None, description="A local file of words to leave out, in UTF-8, with white space between them."
    )
    exact: Exact = Field(
        default="when_needed",
        description="When the files' whole tables are merged on Batch, for the top words of all files: when_needed "
        "(when the lists of the files' most frequent words do not tell), always, or never.",
    )
    memory_mib: int = Field(
        default=256,
        ge=64,
        le=1_048_576,
        description="How much memory, in MiB, counts take on a node before they go to its disk.",
    )
    nodes: int = Field(default=1, ge=0, le=1000, description="How many dedicated nodes the run's own pool has.")
    spot_nodes: int = Field(
        default=0, ge=0, le=1000, description="How many spot nodes beside them: cheaper, and Azure may take them away."
    )
    max_node_hours: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="The most that the run's own nodes may be there for, in hours of all nodes together; then they "
        "leave, whatever becomes of the run. Without it: an hour for each node, or the timeout and 10 minutes if "
        "that is more.",
    )
    scale_in: bool = Field(
        default=False, description="Give up nodes that have nothing left to do, while others still count."
    )
    task_slots: int = Field(default=1, ge=1, le=256, description="How many files a node counts at a time.")
    vm_size: str = Field(default="STANDARD_D2S_V3", pattern=r"^\w+$", description="VM size of the nodes.")
    image: str = Field(
        default="canonical:ubuntu-24_04-lts:server",
        pattern=r"^[^:\s]+:[^:\s]+:[^:\s]+$",
        description="PUBLISHER:OFFER:SKU of the nodes' image; Batch must list it as verified.",
    )
    pool_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="An existing pool to use, which is left alone; without it the run makes a pool and deletes it.",
    )
    pool_identity: str | None = Field(
        default=None,
        max_length=500,
        json_schema_extra={"pattern": IDENTITY},  # for Prefect's UI and API; _resource_id says it in words
        description="The resource id of a user-assigned managed identity that the pool of pool_id has: its nodes reach "
        "Blob Storage as this identity, and no SAS is made for them.",
    )
    timeout_minutes: float = Field(
        default=20,
        gt=0,
        le=LONGEST_TIMEOUT_MINUTES,
        allow_inf_nan=False,
        description="How long to wait for all files to be counted.",
    )
    delay_seconds: float = Field(
        default=0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="Let each Batch task wait before it counts, to watch long tasks.",
    )
    keep: Keep = Field(
        default="nothing",
        description="What to leave in the cloud: nothing, results (the output container) or everything.",
    )
    retention_days: float = Field(
        default=7,
        ge=0,
        le=3650,
        description="How long containers stay that a crash or `keep` leaves, before topn-sweep deletes them.",
    )
    refresh: bool = Field(default=False, description="Count all files, also those whose results are kept already.")
    retries: Retries = Field(
        default=Retries(), description="How many more attempts a file gets after a failure of each class."
    )
    retry_waits: RetryWaits = Field(
        default=RetryWaits(), description="How many seconds a file waits for its next attempt, by class of failure."
    )
    never_retry: list[Annotated[int, Field(ge=1, le=255)]] = Field(
        default=[2, 3, 8, 10],
        description="Exit codes of the node task after which another attempt is never worth it "
        "(node_task/failures.py has the table).",
    )
    fail_when: float | Literal["any"] = Field(
        default="any",
        description="When the run fails although it went to its end: when any file failed, or more than this share of "
        "the files (0.05: one in twenty). What was counted is kept either way.",
    )
    run_key: str | None = Field(
        default=None,
        pattern=RUN_KEY,
        max_length=40,
        json_schema_extra={"not": {"const": "latest"}},  # as below, for Prefect's API, which refuses it before a run
        description="A name for the run, part of its resources' names; without it, one from the flow run's id.",
    )
    claim_seconds: int = Field(
        default=60,
        ge=15,
        le=60,
        description="How long a run that was killed still holds its run key: the next run with it waits for that.",
    )
    plan_only: bool = Field(default=False, description="Say what the run would do and cost, and create nothing.")
    price_per_hour: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Price of a dedicated node for an hour, for the cost in plan and report.",
    )
    spot_price_per_hour: float | None = Field(
        default=None, ge=0, allow_inf_nan=False, description="Price of a spot node for an hour."
    )
    credentials: str | None = Field(
        default=None, description="Name of an Azure Batch Credentials block; without it, environment variables."
    )
    storage_credentials: str | None = Field(
        default=None, description="Name of prefect-azure's Azure Blob Storage Credentials block, for the storage."
    )
    outputs: str = Field(default="outputs", min_length=1, description="Local folder for the results.")

    @field_validator("inputs")
    @classmethod
    def _few(cls, inputs: list[str]) -> list[str]:
        if len(inputs) > MOST_INPUTS:
            raise ValueError(
                f"{len(inputs):,} inputs are too many for parameters, which Prefect keeps with each run: name a "
                f"pattern, a prefix az://CONTAINER/PREFIX, or @FILE with one input a line"
            )
        return inputs

    @field_validator("never_retry", mode="before")
    @classmethod
    def _from_text(cls, codes: object) -> object:
        return [code for code in codes.split(",") if code.strip()] if isinstance(codes, str) else codes

    @field_validator("fail_when")
    @classmethod
    def _share(cls, share: float | str) -> float | str:
        if not isinstance(share, str) and not 0 <= share <= 1:
            raise ValueError("it should be any, or a share from 0 to 1")
        return share

    @property
    def policies(self) -> Policies:
        """What becomes of files that fail."""
        return Policies(retries=self.retries, waits=self.retry_waits, never_again=frozenset(self.never_retry))

    @field_validator("pool_identity")
    @classmethod
    def _resource_id(cls, identity: str | None) -> str | None:
        if identity is not None and not re.fullmatch(IDENTITY, identity):
            raise ValueError(
                "it should be the resource id of a user-assigned managed identity, /subscriptions/ID/resourceGroups/"
                "GROUP/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME"
            )
        return identity

    @field_validator("run_key")
    @classmethod
    def _not_latest(cls, run_key: str | None) -> str | None:
        if run_key == "latest":
            raise ValueError("outputs/latest is the name of the newest run: choose another")
        return run_key

    @model_validator(mode="after")
    def _some_node(self) -> Self:
        if self.pool_id is None and self.nodes + self.spot_nodes == 0:
            raise ValueError("nodes and spot_nodes are both 0, and no existing pool is named")
        return self

    @model_validator(mode="after")
    def _named_pool(self) -> Self:
        if self.pool_identity is not None and self.pool_id is None:
            raise ValueError(
                "pool_identity needs pool_id: the pool that a run makes has no identity, as only Azure's management "
                "plane makes pools with one"
            )
        return self


def terms_of(parameters: Parameters) -> Terms | None:
    """The terms of the leases of the run's own pool; None for a pool that the user named: it has no lease."""
    if parameters.pool_id:
        return None
    nodes, timeout = parameters.nodes + parameters.spot_nodes, timedelta(minutes=parameters.timeout_minutes)
    hours = parameters.max_node_hours or nodes * (max(LENGTH, timeout + JOB_MARGIN) / timedelta(hours=1))
    return Terms(parameters.nodes, parameters.spot_nodes, hours, parameters.scale_in)


def sas_lifetime(timeout: timedelta) -> timedelta:
    """How long nodes need their SAS, for a job that is watched so long."""
    return timeout + JOB_MARGIN + SAS_MARGIN


def estimate_of(plan: Plan, parameters: Parameters) -> Estimate:
    """What a run with these parameters would do and cost."""
    return estimate(
        plan,
        pool_id=parameters.pool_id,
        pool_identity=parameters.pool_identity,
        terms=terms_of(parameters),
        vm_size=parameters.vm_size,
        nodes=parameters.nodes,
        spot_nodes=parameters.spot_nodes,
        task_slots=parameters.task_slots,
        price_per_hour=parameters.price_per_hour,
        spot_price_per_hour=parameters.spot_price_per_hour,
    )
