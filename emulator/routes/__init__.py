"""Every operation of Batch's data plane, by the name the SDK gives it.

The rows' paths are the SDK's own, so that one search finds client, route and documentation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import versions
from emulator.errors import InvalidUri
from emulator.routes import access, account, files, job_schedules, jobs, nodes, older, pools, tasks

Handler = Callable[[Request], Awaitable[Response]]


class Operation(NamedTuple):
    """One row of the table."""

    method: str
    path: str
    name: str
    handler: Handler


_POOL = "/pools/{poolId}"
_NODE = "/pools/{poolId}/nodes/{nodeId}"
_JOB = "/jobs/{jobId}"
_TASK = "/jobs/{jobId}/tasks/{taskId}"
_SCHEDULE = "/jobschedules/{jobScheduleId}"

OPERATIONS = [
    Operation("GET", "/applications", "list_applications", account.list_applications),
    Operation("GET", "/applications/{applicationId}", "get_application", account.get_application),
    Operation("GET", "/supportedimages", "list_supported_images", account.list_supported_images),
    Operation("GET", "/nodecounts", "list_pool_node_counts", account.list_pool_node_counts),
    Operation("GET", "/poolusagemetrics", "list_pool_usage_metrics", account.list_pool_usage_metrics),
    Operation("POST", "/pools", "create_pool", pools.create_pool),
    Operation("GET", "/pools", "list_pools", pools.list_pools),
    Operation("GET", _POOL, "get_pool", pools.get_pool),
    Operation("HEAD", _POOL, "pool_exists", pools.pool_exists),
    Operation("PATCH", _POOL, "update_pool", pools.update_pool),
    Operation("DELETE", _POOL, "delete_pool", pools.delete_pool),
    Operation("POST", f"{_POOL}/updateproperties", "replace_pool_properties", pools.replace_pool_properties),
    Operation("POST", f"{_POOL}/disableautoscale", "disable_pool_auto_scale", pools.disable_pool_auto_scale),
    Operation("POST", f"{_POOL}/enableautoscale", "enable_pool_auto_scale", pools.enable_pool_auto_scale),
    Operation("POST", f"{_POOL}/evaluateautoscale", "evaluate_pool_auto_scale", pools.evaluate_pool_auto_scale),
    Operation("POST", f"{_POOL}/resize", "resize_pool", pools.resize_pool),
    Operation("POST", f"{_POOL}/stopresize", "stop_pool_resize", pools.stop_pool_resize),
    Operation("POST", f"{_POOL}/removenodes", "remove_nodes", pools.remove_nodes),
    Operation("GET", f"{_POOL}/nodes", "list_nodes", nodes.list_nodes),
    Operation("GET", _NODE, "get_node", nodes.get_node),
    Operation("POST", f"{_NODE}/reboot", "reboot_node", nodes.reboot_node),
    Operation("POST", f"{_NODE}/start", "start_node", nodes.start_node),
    Operation("POST", f"{_NODE}/reimage", "reimage_node", nodes.reimage_node),
    Operation("POST", f"{_NODE}/deallocate", "deallocate_node", nodes.deallocate_node),
    Operation("POST", f"{_NODE}/disablescheduling", "disable_node_scheduling", nodes.disable_node_scheduling),
    Operation("POST", f"{_NODE}/enablescheduling", "enable_node_scheduling", nodes.enable_node_scheduling),
    Operation(
        "GET", f"{_NODE}/remoteloginsettings", "get_node_remote_login_settings", access.get_node_remote_login_settings
    ),
    Operation("POST", f"{_NODE}/uploadbatchservicelogs", "upload_node_logs", access.upload_node_logs),
    Operation("POST", f"{_NODE}/users", "create_node_user", access.create_node_user),
    Operation("PUT", f"{_NODE}/users/{{userName}}", "replace_node_user", access.replace_node_user),
    Operation("DELETE", f"{_NODE}/users/{{userName}}", "delete_node_user", access.delete_node_user),
    Operation("GET", f"{_NODE}/extensions", "list_node_extensions", access.list_node_extensions),
    Operation("GET", f"{_NODE}/extensions/{{extensionName}}", "get_node_extension", access.get_node_extension),
    Operation("GET", f"{_NODE}/files", "list_node_files", files.list_node_files),
    Operation("GET", f"{_NODE}/files/{{filePath:path}}", "download_node_file", files.download_node_file),
    Operation("HEAD", f"{_NODE}/files/{{filePath:path}}", "get_node_file_properties", files.get_node_file_properties),
    Operation("DELETE", f"{_NODE}/files/{{filePath:path}}", "delete_node_file", files.delete_node_file),
    Operation("POST", "/jobs", "create_job", jobs.create_job),
    Operation("GET", "/jobs", "list_jobs", jobs.list_jobs),
    Operation("GET", _JOB, "get_job", jobs.get_job),
    Operation("PATCH", _JOB, "update_job", jobs.update_job),
    Operation("PUT", _JOB, "replace_job", jobs.replace_job),
    Operation("DELETE", _JOB, "delete_job", jobs.delete_job),
    Operation("POST", f"{_JOB}/disable", "disable_job", jobs.disable_job),
    Operation("POST", f"{_JOB}/enable", "enable_job", jobs.enable_job),
    Operation("POST", f"{_JOB}/terminate", "terminate_job", jobs.terminate_job),
    Operation("GET", f"{_JOB}/taskcounts", "get_job_task_counts", jobs.get_job_task_counts),
    Operation(
        "GET",
        f"{_JOB}/jobpreparationandreleasetaskstatus",
        "list_job_preparation_and_release_task_status",
        jobs.list_job_preparation_and_release_task_status,
    ),
    Operation("POST", f"{_JOB}/tasks", "create_task", tasks.create_task),
    Operation("GET", f"{_JOB}/tasks", "list_tasks", tasks.list_tasks),
    Operation("POST", f"{_JOB}/addtaskcollection", "create_task_collection", tasks.create_task_collection),
    Operation("GET", _TASK, "get_task", tasks.get_task),
    Operation("PUT", _TASK, "replace_task", tasks.replace_task),
    Operation("DELETE", _TASK, "delete_task", tasks.delete_task),
    Operation("POST", f"{_TASK}/terminate", "terminate_task", tasks.terminate_task),
    Operation("POST", f"{_TASK}/reactivate", "reactivate_task", tasks.reactivate_task),
    Operation("GET", f"{_TASK}/subtasksinfo", "list_subtasks", tasks.list_subtasks),
    Operation("GET", f"{_TASK}/files", "list_task_files", files.list_task_files),
    Operation("GET", f"{_TASK}/files/{{filePath:path}}", "download_task_file", files.download_task_file),
    Operation("HEAD", f"{_TASK}/files/{{filePath:path}}", "get_task_file_properties", files.get_task_file_properties),
    Operation("DELETE", f"{_TASK}/files/{{filePath:path}}", "delete_task_file", files.delete_task_file),
    Operation("POST", "/jobschedules", "create_job_schedule", job_schedules.create_job_schedule),
    Operation("GET", "/jobschedules", "list_job_schedules", job_schedules.list_job_schedules),
    Operation("GET", _SCHEDULE, "get_job_schedule", job_schedules.get_job_schedule),
    Operation("HEAD", _SCHEDULE, "job_schedule_exists", job_schedules.job_schedule_exists),
    Operation("PATCH", _SCHEDULE, "update_job_schedule", job_schedules.update_job_schedule),
    Operation("PUT", _SCHEDULE, "replace_job_schedule", job_schedules.replace_job_schedule),
    Operation("DELETE", _SCHEDULE, "delete_job_schedule", job_schedules.delete_job_schedule),
    Operation("POST", f"{_SCHEDULE}/disable", "disable_job_schedule", job_schedules.disable_job_schedule),
    Operation("POST", f"{_SCHEDULE}/enable", "enable_job_schedule", job_schedules.enable_job_schedule),
    Operation("POST", f"{_SCHEDULE}/terminate", "terminate_job_schedule", job_schedules.terminate_job_schedule),
    Operation("GET", f"{_SCHEDULE}/jobs", "list_jobs_from_schedule", job_schedules.list_jobs_from_schedule),
]

_CERTIFICATE = "/certificates(thumbprintAlgorithm={thumbprintAlgorithm},thumbprint={thumbprint})"


class OlderOperation(NamedTuple):
    """One row of the table of operations that later api-versions dropped."""

    before: str
    method: str
    path: str
    name: str
    handler: Handler


_LISTED_SKUS, _HAD_CERTIFICATES = versions.SUPPORTED_IMAGES, versions.CERTIFICATES_UNTIL
_HAD_LIFETIMES = versions.LIFETIME_STATISTICS_UNTIL
OLDER_OPERATIONS = [
    OlderOperation(_LISTED_SKUS, "GET", "/nodeagentskus", "list_node_agent_skus", older.list_node_agent_skus),
    OlderOperation(
        _HAD_LIFETIMES, "GET", "/lifetimejobstats", "get_all_job_lifetime_statistics", older.get_job_statistics
    ),
    OlderOperation(
        _HAD_LIFETIMES, "GET", "/lifetimepoolstats", "get_all_pool_lifetime_statistics", older.get_pool_statistics
    ),
    OlderOperation(_HAD_CERTIFICATES, "POST", "/certificates", "add_certificate", older.add_certificate),
    OlderOperation(_HAD_CERTIFICATES, "GET", "/certificates", "list_certificates", older.list_certificates),
    OlderOperation(_HAD_CERTIFICATES, "GET", _CERTIFICATE, "get_certificate", older.get_certificate),
    OlderOperation(_HAD_CERTIFICATES, "DELETE", _CERTIFICATE, "delete_certificate", older.delete_certificate),
    OlderOperation(
        _HAD_CERTIFICATES,
        "POST",
        f"{_CERTIFICATE}/canceldelete",
        "cancel_certificate_deletion",
        older.cancel_certificate_deletion,
    ),
]


def routes() -> list[Route]:
    """The table as Starlette's routes; the last one answers what is no operation at all."""
    made = []
    for method, path, name, handler in OPERATIONS:
        route = Route(path, handler, methods=[method], name=name)
        route.methods = {method}  # Starlette would answer HEAD wherever it answers GET
        made.append(route)
    for row in OLDER_OPERATIONS:
        route = Route(row.path, _until(row.before, row.handler), methods=[row.method], name=row.name)
        route.methods = {row.method}
        made.append(route)
    every_method = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    return [*made, Route("/{path:path}", _no_such_operation, methods=every_method)]


def _until(version: str, handler: Handler) -> Handler:
    async def serve(request: Request) -> Response:
        return await (handler if versions.before(request, version) else _no_such_operation)(request)

    return serve


async def _no_such_operation(request: Request) -> Response:
    raise InvalidUri(Method=request.method, Path=request.url.path[:200])
