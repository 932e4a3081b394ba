"""The errors Batch answers with: a class is its wire code, its docstring its message.

    BatchError
    ├── 400  InvalidPropertyValue, MissingRequiredProperty, InvalidRequestBody, ...
    ├── 403  AuthenticationFailed
    ├── 404  NotFound: PoolNotFound, JobNotFound, TaskNotFound, NodeNotFound, FileNotFound, ...
    ├── 409  Conflict: PoolExists, JobExists, TaskExists, PoolBeingDeleted, ...
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


class NotFound(BatchError):
    """A request for what is not there."""

    status = 404


class Conflict(BatchError):
    """A request that does not fit the state of things."""

    status = 409


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


class PoolNotFound(NotFound):
    """The specified pool does not exist."""


class NodeNotFound(NotFound):
    """The specified node does not exist."""


class JobNotFound(NotFound):
    """The specified job does not exist."""


class TaskNotFound(NotFound):
    """The specified task does not exist."""


class FileNotFound(NotFound):
    """The specified file does not exist."""


class NodeUserNotFound(NotFound):
    """The specified node user does not exist."""


class CertificateNotFound(NotFound):
    """The specified certificate does not exist."""


class CertificateExists(Conflict):
    """The specified certificate already exists."""


class CertificateBeingDeleted(Conflict):
    """The specified certificate is already in deleting state."""


class CertificateStateActive(Conflict):
    """The specified certificate is in an active state."""


class ApplicationNotFound(NotFound):
    """The specified application does not exist."""


class ResourceNotFound(NotFound):
    """The specified resource does not exist."""


class JobScheduleNotFound(NotFound):
    """The specified job schedule does not exist."""


class NodeUserExists(Conflict):
    """The specified node user already exists."""


class JobScheduleExists(Conflict):
    """The specified job schedule already exists."""


class JobScheduleBeingDeleted(Conflict):
    """The specified job schedule is being deleted."""


class JobScheduleCompleted(Conflict):
    """The specified job schedule is in a completed state."""


class JobScheduleDisabled(Conflict):
    """The specified job schedule is already disabled."""


class PoolExists(Conflict):
    """The specified pool already exists."""


class JobExists(Conflict):
    """The specified job already exists."""


class TaskExists(Conflict):
    """The specified task already exists."""


class PoolBeingDeleted(Conflict):
    """The specified pool is being deleted."""


class PoolBeingResized(Conflict):
    """The specified pool is being resized."""


class OperationNotValidOnPool(Conflict):
    """The specified operation is not valid on the pool."""


class PoolQuotaReached(Conflict):
    """The account has reached its quota of pools."""


class ActiveJobAndScheduleQuotaReached(Conflict):
    """The account has reached its quota of active jobs and job schedules."""


class JobBeingDeleted(Conflict):
    """The specified job is being deleted."""


class JobBeingTerminated(Conflict):
    """The specified job is being terminated."""


class JobCompleted(Conflict):
    """The specified job is in a completed state."""


class JobDisabled(Conflict):
    """The specified job is already disabled."""


class JobNotActive(Conflict):
    """The specified job is not in the active state."""


class JobPreparationTaskNotSpecified(Conflict):
    """The specified job does not have a Job Preparation task."""


class TaskIdSameAsJobPreparationTask(Conflict):
    """The specified task has the same id as the job's Job Preparation task."""


class TaskIdSameAsJobReleaseTask(Conflict):
    """The specified task has the same id as the job's Job Release task."""


class TaskCompleted(Conflict):
    """The specified task is already in a completed state."""


class TaskNotCompleted(Conflict):
    """The specified task is not in a completed state."""


class TaskSucceeded(Conflict):
    """The specified task completed with an exit code of 0 and cannot be reactivated."""


class OperationInvalidForCurrentState(Conflict):
    """The operation being requested is not allowed in the current state of the resource."""


class TaskFilesUnavailable(Conflict):
    """The files of the specified task are unavailable."""


class TaskFilesCleanedup(Conflict):
    """The files of the specified task have been cleaned up."""


class NodeBeingCreated(Conflict):
    """The specified node is being created."""


class NodeBeingStarted(Conflict):
    """The specified node is being started."""


class NodeBeingRebooted(Conflict):
    """The specified node is being rebooted."""


class NodeBeingReimaged(Conflict):
    """The specified node is being reimaged."""


class NodeStateUnusable(Conflict):
    """The specified node is unusable."""


class NodeAlreadyInTargetSchedulingState(Conflict):
    """The specified node is already in the target scheduling state."""


class OperationNotValidOnNode(Conflict):
    """The operation is not valid on the specified node."""


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
