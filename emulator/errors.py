"""The errors Batch answers with: a class is its wire code, its docstring its message.

    BatchError
    ├── 400  InvalidPropertyValue, MissingRequiredProperty, InvalidRequestBody, ...
    ├── 403  AuthenticationFailed
    ├── 404  PoolNotFound, JobNotFound, TaskNotFound, NodeNotFound, FileNotFound, ...
    ├── 409  PoolExists, JobExists, TaskExists, PoolBeingDeleted, ...
    ├── 412  ConditionNotMet
    └── 501  NotImplementedHere: what this emulator does not do

Codes, statuses and texts are those of "Batch Status and Error Codes" in Microsoft's documentation.
"""

from __future__ import annotations

from typing import ClassVar


class BatchError(Exception):
    """The request failed."""

    status: ClassVar[int] = 400

    def __init__(self, message: str | None = None, /, **values: object) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.values = {name: str(value) for name, value in values.items()}
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """What programs recognise the error by."""
        return type(self).__name__


def invalid(property_name: str, value: object, reason: str) -> InvalidPropertyValue:
    """The error for one property's value, with the details Batch gives."""
    return InvalidPropertyValue(PropertyName=property_name, PropertyValue=value, Reason=reason)


class InvalidPropertyValue(BatchError):
    """The value provided for one of the properties in the request body is invalid."""


class MissingRequiredProperty(BatchError):
    """A required property was not specified in the request body."""


class InvalidRequestBody(BatchError):
    """The specified Request Body is not syntactically valid."""


class InvalidQueryParameterValue(BatchError):
    """Value for one of the query parameters specified in the request URI is invalid"""


class MissingRequiredQueryParameter(BatchError):
    """A query parameter that's mandatory for this request is not specified."""


class InvalidHeaderValue(BatchError):
    """The value provided for one of the HTTP headers was not in the correct format."""


class InvalidHostHeader(BatchError):
    """The Host header does not name this machine: the emulator serves this machine only."""


class InvalidUri(BatchError):
    """The requested URI does not represent any resource on the server."""


class TaskDependenciesNotSpecifiedOnJob(BatchError):
    """The job must have usesTaskDependencies set to true before a task may specify dependencies."""


class TaskDependencyListTooLong(BatchError):
    """The list of task IDs on which the task depends is too long."""


class InvalidAutoScalingSettings(BatchError):
    """The settings specified for automatic scaling are invalid."""


class FormulaRefused(BatchError):
    """An autoscale formula cannot be used; the parser of formulas knows the code."""

    def __init__(self, code: str, message: str, /, **values: object) -> None:
        super().__init__(message, **values)
        self._code = code

    @property
    def code(self) -> str:
        """The parser's code."""
        return self._code


class AuthenticationFailed(BatchError):
    """Server failed to authenticate the request. Make sure the value of Authorization header is formed
    correctly including the signature."""

    status = 403


class PoolNotFound(BatchError):
    """The specified pool does not exist."""

    status = 404


class NodeNotFound(BatchError):
    """The specified node does not exist."""

    status = 404


class JobNotFound(BatchError):
    """The specified job does not exist."""

    status = 404


class TaskNotFound(BatchError):
    """The specified task does not exist."""

    status = 404


class FileNotFound(BatchError):
    """The specified file does not exist."""

    status = 404


class NodeUserNotFound(BatchError):
    """The specified node user does not exist."""

    status = 404


class ApplicationNotFound(BatchError):
    """The specified application does not exist."""

    status = 404


class ResourceNotFound(BatchError):
    """The specified resource does not exist."""

    status = 404


class JobScheduleNotFound(BatchError):
    """The specified job schedule does not exist."""

    status = 404


class NodeUserExists(BatchError):
    """The specified node user already exists."""

    status = 409


class JobScheduleExists(BatchError):
    """The specified job schedule already exists."""

    status = 409


class JobScheduleBeingDeleted(BatchError):
    """The specified job schedule is being deleted."""

    status = 409


class JobScheduleCompleted(BatchError):
    """The specified job schedule is in a completed state."""

    status = 409


class JobScheduleDisabled(BatchError):
    """The specified job schedule is already disabled."""

    status = 409


class PoolExists(BatchError):
    """The specified pool already exists."""

    status = 409


class JobExists(BatchError):
    """The specified job already exists."""

    status = 409


class TaskExists(BatchError):
    """The specified task already exists."""

    status = 409


class PoolBeingDeleted(BatchError):
    """The specified pool is being deleted."""

    status = 409


class PoolBeingResized(BatchError):
    """The specified pool is being resized."""

    status = 409


class OperationNotValidOnPool(BatchError):
    """The specified operation is not valid on the pool."""

    status = 409


class PoolQuotaReached(BatchError):
    """The account has reached its quota of pools."""

    status = 409


class ActiveJobAndScheduleQuotaReached(BatchError):
    """The account has reached its quota of active jobs and job schedules."""

    status = 409


class JobBeingDeleted(BatchError):
    """The specified job is being deleted."""

    status = 409


class JobBeingTerminated(BatchError):
    """The specified job is being terminated."""

    status = 409


class JobCompleted(BatchError):
    """The specified job is in a completed state."""

    status = 409


class JobDisabled(BatchError):
    """The specified job is already disabled."""

    status = 409


class JobNotActive(BatchError):
    """The specified job is not in the active state."""

    status = 409


class JobPreparationTaskNotSpecified(BatchError):
    """The specified job does not have a Job Preparation task."""

    status = 409


class TaskIdSameAsJobPreparationTask(BatchError):
    """The specified task has the same id as the job's Job Preparation task."""

    status = 409


class TaskIdSameAsJobReleaseTask(BatchError):
    """The specified task has the same id as the job's Job Release task."""

    status = 409


class TaskCompleted(BatchError):
    """The specified task is already in a completed state."""

    status = 409


class TaskNotCompleted(BatchError):
    """The specified task is not in a completed state."""

    status = 409


class TaskSucceeded(BatchError):
    """The specified task completed with an exit code of 0 and cannot be reactivated."""

    status = 409


class OperationInvalidForCurrentState(BatchError):
    """The operation being requested is not allowed in the current state of the resource."""

    status = 409


class TaskFilesUnavailable(BatchError):
    """The files of the specified task are unavailable."""

    status = 409


class TaskFilesCleanedup(BatchError):
    """The files of the specified task have been cleaned up."""

    status = 409


class NodeBeingCreated(BatchError):
    """The specified node is being created."""

    status = 409


class NodeBeingStarted(BatchError):
    """The specified node is being started."""

    status = 409


class NodeBeingRebooted(BatchError):
    """The specified node is being rebooted."""

    status = 409


class NodeBeingReimaged(BatchError):
    """The specified node is being reimaged."""

    status = 409


class NodeStateUnusable(BatchError):
    """The specified node is unusable."""

    status = 409


class NodeAlreadyInTargetSchedulingState(BatchError):
    """The specified node is already in the target scheduling state."""

    status = 409


class OperationNotValidOnNode(BatchError):
    """The operation is not valid on the specified node."""

    status = 409


class ConditionNotMet(BatchError):
    """The condition specified using HTTP conditional header(s) is not met."""

    status = 412


class NotModified(BatchError):
    """The condition specified using HTTP conditional header(s) is not met."""

    status = 304

    @property
    def code(self) -> str:
        """A read whose condition fails says so by its status."""
        return "ConditionNotMet"


class RequestBodyTooLarge(BatchError):
    """The size of the request body exceeds the maximum permitted."""

    status = 413


class InvalidRange(BatchError):
    """The range specified is invalid for the current size of the resource."""

    status = 416


class NodeFileError(BatchError):
    """The file could not be read or removed on the node."""

    status = 403

    @property
    def code(self) -> str:
        """Batch's code is the name of a Python built-in."""
        return "IOError"


class InternalError(BatchError):
    """The server encountered an internal error. Please retry the request."""

    status = 500


class ServerBusy(BatchError):
    """The server is currently unable to receive requests. Please retry your request."""

    status = 503


class TooManyRequests(BatchError):
    """Too many requests were sent to the account. Please retry your request."""

    status = 429


class TooManyEnableAutoScaleRequests(BatchError):
    """Too many Enable Pool AutoScale requests are issued on the pool."""

    status = 503


class NotImplementedHere(BatchError):
    """This emulator does not do it yet."""

    status = 501

    def __init__(self, what: str) -> None:
        super().__init__(f"The emulator does not support {what}: see docs/emulator.md.", NotSupported=what)

    @property
    def code(self) -> str:
        """Batch has no such code: nothing that works on Azure answers this."""
        return "NotImplemented"
