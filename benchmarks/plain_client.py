"""`python -m benchmarks.plain_client FOLDER`: the tutorial's nine steps with the SDKs alone, the flow's yardstick.

No Prefect, no plan, no keys, no cache, no retries but the clients' own, no lease: containers, uploads, a pool with a
start task, a job, one Batch task per file, one listing per second until all have completed, downloads, and all of it
deleted again. The same SDKs as the flow's, the same node task, as many uploads and downloads at once, collections of
a hundred.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from azure.batch.aio import BatchClient
from azure.batch.models import (
    AutoUserScope,
    AutoUserSpecification,
    BatchJobCreateOptions,
    BatchPoolCreateOptions,
    BatchPoolInfo,
    BatchStartTask,
    BatchTaskCreateOptions,
    BatchTaskGroup,
    BatchVmImageReference,
    ElevationLevel,
    EnvironmentSetting,
    ResourceFile,
    UserIdentity,
    VirtualMachineConfiguration,
)
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import (
    BlobSasPermissions,
    ContainerSasPermissions,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobServiceClient

NODE_TASK = Path(__file__).parent.parent / "node_task"
PROGRAM = "top_words.py"
AT_ONCE = 16  # uploads, downloads
COLLECTION = 100  # Batch takes no more in one call
TICK = timedelta(seconds=1)
LIFETIME = timedelta(hours=4)  # of the SAS

Item = TypeVar("Item")


class PlainClient:
    """One run: containers, pool and job of this name."""

    def __init__(self, options: argparse.Namespace, batch: BatchClient, blobs: BlobServiceClient) -> None:
        self._options, self._batch, self._blobs = options, batch, blobs
        self._account, self._key = os.environ["AZURE_STORAGE_ACCOUNT"], os.environ["AZURE_STORAGE_KEY"]
        self._name = options.name
        self._application, self._input, self._output = (
            f"{self._name}-{what}" for what in ("application", "input", "output")
        )
        self._files = {f"task{number:06d}": path for number, path in enumerate(sorted(options.folder.iterdir()))}

    async def run(self) -> None:
        """All nine steps."""
        for container in (self._application, self._input, self._output):
            await self._blobs.create_container(container)
        await for_each(self._upload_program, application_files())
        await for_each(self._upload_input, self._files)
        await self._create_pool()
        await self._batch.create_job(BatchJobCreateOptions(id=self._name, pool_info=BatchPoolInfo(pool_id=self._name)))
        await self._add_tasks()
        await self._wait()
        self._options.outputs.mkdir(parents=True, exist_ok=True)
        await for_each(self._download, self._files)
        for container in (self._application, self._input, self._output):
            await self._blobs.delete_container(container)
        await self._batch.begin_delete_job(self._name)
        await self._batch.begin_delete_pool(self._name)

    async def _upload_program(self, path: Path) -> None:
        with path.open("rb") as stream:
            await self._blobs.get_blob_client(self._application, path.name).upload_blob(stream)

    async def _upload_input(self, task_id: str) -> None:
        with self._files[task_id].open("rb") as stream:
            await self._blobs.get_blob_client(self._input, task_id).upload_blob(stream)

    async def _create_pool(self) -> None:
        image = BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server", version="latest")
        sas = self._container_sas(self._application, ContainerSasPermissions(read=True, list=True))
        folder = "$AZ_BATCH_NODE_SHARED_DIR/application"
        elevated = AutoUserSpecification(scope=AutoUserScope.POOL, elevation_level=ElevationLevel.ADMIN)
        await self._batch.create_pool(
            BatchPoolCreateOptions(
                id=self._name,
                vm_size="STANDARD_D2S_V3",
                target_dedicated_nodes=self._options.nodes,
                task_slots_per_node=self._options.task_slots,
                virtual_machine_configuration=VirtualMachineConfiguration(
                    image_reference=image, node_agent_sku_id="batch.node.ubuntu 24.04"
                ),
                start_task=BatchStartTask(
                    command_line=f"/bin/bash -c 'mkdir -p {folder}; cp application/* {folder}; chmod -R 0755 {folder}'",
                    resource_files=[
                        ResourceFile(
                            storage_container_url=f"{self._blobs.get_container_client(self._application).url}?{sas}",
                            file_path="application",
                        )
                    ],
                    user_identity=UserIdentity(auto_user=elevated),
                    wait_for_success=True,
                ),
            )
        )

    async def _add_tasks(self) -> None:
        output_sas = self._container_sas(self._output, ContainerSasPermissions(create=True, write=True))
        environment = [
            EnvironmentSetting(name="TOPN_BLOB_ENDPOINT", value=os.environ["AZURE_STORAGE_BLOB_ENDPOINT"]),
            EnvironmentSetting(name="TOPN_OUTPUT_SAS", value=output_sas),
        ]
        ids = list(self._files)
        for start in range(0, len(ids), COLLECTION):
            tasks = [self._task(task_id, environment) for task_id in ids[start : start + COLLECTION]]
            answer = await self._batch.create_task_collection(self._name, BatchTaskGroup(task_values=tasks))
            if any(result.error for result in answer.result_values or ()):
                raise RuntimeError("Batch has not taken all tasks")

    def _task(self, task_id: str, environment: list[EnvironmentSetting]) -> BatchTaskCreateOptions:
        sas = generate_blob_sas(
            self._account,
            self._input,
            task_id,
            account_key=self._key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + LIFETIME,
        )
        url = f"{self._blobs.get_blob_client(self._input, task_id).url}?{sas}"
        program = f"$AZ_BATCH_NODE_SHARED_DIR/application/{PROGRAM}"
        return BatchTaskCreateOptions(
            id=task_id,
            command_line=f"/bin/bash -c 'python3 {program} input.txt --words {self._options.words} --key {task_id}"
            f" --output-container {self._output}'",
            resource_files=[ResourceFile(http_url=url, file_path="input.txt")],
            environment_settings=environment,
        )

    async def _wait(self) -> None:
        while True:
            tasks = [task async for task in self._batch.list_tasks(self._name, select=["id", "state", "executionInfo"])]
            if all(task.state == "completed" for task in tasks):
                break
            await asyncio.sleep(TICK.total_seconds())
        failed = [task.id for task in tasks if not task.execution_info or task.execution_info.result != "success"]
        if failed or len(tasks) != len(self._files):
            raise RuntimeError(f"{len(failed)} of {len(tasks)} tasks have failed")

    async def _download(self, task_id: str) -> None:
        blob = self._blobs.get_blob_client(self._output, f"{task_id}.txt")
        content = await (await blob.download_blob()).readall()
        (self._options.outputs / f"{self._files[task_id].name}_OUTPUT.txt").write_bytes(content)

    def _container_sas(self, container: str, permission: ContainerSasPermissions) -> str:
        expiry = datetime.now(UTC) + LIFETIME
        return generate_container_sas(
            self._account, container, account_key=self._key, permission=permission, expiry=expiry
        )


def application_files() -> list[Path]:
    """What the flow's nodes have, too: the programs, and the native engines where `make native` has built them."""
    return [*NODE_TASK.glob("*.py"), *(path for path in (NODE_TASK / "build").glob("*") if path.is_file())]


async def for_each(call: Callable[[Item], Awaitable[None]], items: Iterable[Item]) -> None:
    """Await `call(item)` for all items, so many at a time."""
    remaining = iter(items)

    async def take() -> None:
        for item in remaining:
            await call(item)

    await asyncio.gather(*(take() for _ in range(AT_ONCE)))


async def run(options: argparse.Namespace) -> None:
    """Open the clients and run."""
    credential = AzureNamedKeyCredential(os.environ["AZURE_BATCH_ACCOUNT"], os.environ["AZURE_BATCH_ACCESS_KEY"])
    storage = AzureNamedKeyCredential(os.environ["AZURE_STORAGE_ACCOUNT"], os.environ["AZURE_STORAGE_KEY"])
    async with (
        BatchClient(os.environ["AZURE_BATCH_ENDPOINT"], credential) as batch,
        BlobServiceClient(os.environ["AZURE_STORAGE_BLOB_ENDPOINT"], storage) as blobs,
    ):
        await PlainClient(options, batch, blobs).run()


def main() -> int:
    """Count the files of a folder; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_client", description=__doc__)
    parser.add_argument("folder", type=Path, help="its files are the inputs")
    parser.add_argument("--outputs", type=Path, required=True, help="where FILE_OUTPUT.txt go")
    parser.add_argument("--name", default="plain", help="of containers, pool and job (%(default)s)")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--task-slots", type=int, default=1)
    parser.add_argument("--words", type=int, default=3)
    asyncio.run(run(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
