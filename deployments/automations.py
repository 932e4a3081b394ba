"""`python -m deployments.automations`: registers deployments/automation.yaml with the server of PREFECT_API_URL.

Registered again, it is brought up to date, not doubled.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import yaml
from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import get_current_settings

FILE = Path(__file__).parent / "automation.yaml"
MISSED = 3  # heartbeats


async def register(api: PrefectClient, heartbeat: timedelta | None = None) -> str:
    """Register the automation, for runs whose heartbeats come in this interval (else: the file's); its name."""
    document = yaml.safe_load(FILE.read_text("utf-8"))
    if heartbeat is not None:
        document["trigger"]["within"] = MISSED * heartbeat.total_seconds()
    automation = AutomationCore.model_validate(document)
    known = await api.read_automations_by_name(automation.name)
    if known:
        await api.update_automation(known[0].id, automation)
    else:
        await api.create_automation(automation)
    return automation.name


async def _main() -> None:
    seconds = get_current_settings().flows.heartbeat_frequency
    async with get_client() as api:
        name = await register(api, timedelta(seconds=seconds) if seconds else None)
    print(f"The automation {name} is registered.")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_main())
