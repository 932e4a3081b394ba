"""The images that pools may be made of, as the service lists them."""

from __future__ import annotations

from typing import Any

from azure.batch.models import VirtualMachineConfiguration

from emulator.errors import MissingRequiredProperty, invalid


def _image(publisher: str, offer: str, sku: str, agent: str, **more: Any) -> dict[str, Any]:
    return {
        "nodeAgentSKUId": agent,
        "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
        "osType": "linux",
        "verificationType": "verified",
        **more,
    }


SUPPORTED = [
    _image("canonical", "ubuntu-24_04-lts", "server", "batch.node.ubuntu 24.04"),
    _image("canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", "batch.node.ubuntu 22.04"),
    _image(
        "canonical",
        "0001-com-ubuntu-server-focal",
        "20_04-lts",
        "batch.node.ubuntu 20.04",
        batchSupportEndOfLife="2025-04-22T00:00:00Z",
        verificationType="unverified",
    ),
    _image("debian", "debian-12", "12", "batch.node.debian 12"),
    _image("debian", "debian-12", "12-gen2", "batch.node.debian 12"),
    _image("almalinux", "almalinux-x86_64", "9-gen2", "batch.node.el 9", verificationType="unverified"),
    _image(
        "microsoftwindowsserver",
        "windowsserver",
        "2022-datacenter-core",
        "batch.node.windows amd64",
        osType="windows",
    ),
]


def check(configuration: VirtualMachineConfiguration) -> None:
    """Refuse an image that is not in the list, or whose node agent is another's.

    Raises:
        InvalidPropertyValue: for an image that is not supported.
    """
    wanted = configuration.image_reference
    for name in ("publisher", "offer", "sku"):
        if not wanted.get(name):
            raise MissingRequiredProperty(PropertyName=f"virtualMachineConfiguration.imageReference.{name}")
    named = tuple(wanted[name].lower() for name in ("publisher", "offer", "sku"))
    agent = configuration.node_agent_sku_id
    for image in SUPPORTED:
        reference = image["imageReference"]
        if named == (reference["publisher"], reference["offer"], reference["sku"]):
            if agent.lower() != image["nodeAgentSKUId"]:
                raise invalid(
                    "virtualMachineConfiguration.nodeAgentSKUId",
                    agent,
                    f"the image needs {image['nodeAgentSKUId']!r}",
                )
            return
    raise invalid("virtualMachineConfiguration.imageReference", " ".join(named), "is not one of the supported images")
