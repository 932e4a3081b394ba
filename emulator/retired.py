"""What later api-versions dropped, as models in the manner of the SDK's, so that bodies are read and listed alike."""

# Annotations are evaluated here: their types are read beside those of the SDK's own models.
from datetime import datetime
from enum import StrEnum

from azure.batch._utils.model_base import Model, rest_field
from azure.batch.models import BatchVmImageReference, NameValuePair

from emulator.body import objects_of


class NodeAgentSku(Model):
    """A node agent, and the images it was tried with; `/supportedimages` turned this round."""

    id: str = rest_field()
    verified_image_references: list[BatchVmImageReference] = rest_field(name="verifiedImageReferences")
    os_type: str = rest_field(name="osType")


class CertificateAddOptions(Model):
    """A certificate as it is added: a PFX file, with its password, or a CER file, in base 64."""

    thumbprint: str = rest_field()
    thumbprint_algorithm: str = rest_field(name="thumbprintAlgorithm")
    data: str = rest_field()
    certificate_format: str | None = rest_field(name="certificateFormat")
    password: str | None = rest_field()


class DeleteCertificateError(Model):
    """Why a certificate was not deleted."""

    code: str = rest_field()
    message: str = rest_field()
    error_values: list[NameValuePair] = rest_field(name="values")


class CertificateModel(Model):
    """A certificate as it is answered."""

    thumbprint: str = rest_field()
    thumbprint_algorithm: str = rest_field(name="thumbprintAlgorithm")
    url: str = rest_field()
    state: str = rest_field()
    state_transition_time: datetime = rest_field(name="stateTransitionTime", format="rfc3339")
    previous_state: str | None = rest_field(name="previousState")
    previous_state_transition_time: datetime | None = rest_field(name="previousStateTransitionTime", format="rfc3339")
    public_data: str = rest_field(name="publicData")
    delete_certificate_error: DeleteCertificateError | None = rest_field(name="deleteCertificateError")


class CertificateReference(Model):
    """A certificate that a pool's nodes are to have."""

    thumbprint: str = rest_field()
    thumbprint_algorithm: str = rest_field(name="thumbprintAlgorithm")
    store_location: str | None = rest_field(name="storeLocation")
    store_name: str | None = rest_field(name="storeName")
    visibility: list[str] | None = rest_field()


class CloudServiceConfiguration(Model):
    """The guest operating system of a Cloud Services pool: a Windows Server."""

    os_family: str = rest_field(name="osFamily")
    os_version: str | None = rest_field(name="osVersion")


class OlderPoolOptions(Model):
    """What a pool may be given beside its other options. (A subclass of the SDK's model would spoil that one: the
    fields of the two would be the same objects, and look for nested models in this module.)"""

    cloud_service_configuration: CloudServiceConfiguration | None = rest_field(name="cloudServiceConfiguration")
    certificate_references: list[CertificateReference] | None = rest_field(name="certificateReferences")


class CertificateState(StrEnum):
    """The states of a certificate."""

    ACTIVE = "active"
    DELETING = "deleting"
    DELETE_FAILED = "deletefailed"


_OF_POOLS: dict[str, type | None] = {
    **objects_of(OlderPoolOptions),
    **dict.fromkeys(("applicationLicenses", "resourceTags", "targetNodeCommunicationMode")),
}
PROPERTIES: dict[str, dict[str, type | None]] = {
    "BatchPool": {**_OF_POOLS, "currentNodeCommunicationMode": None},
    "BatchPoolSpecification": _OF_POOLS,
    "BatchNode": {"certificateReferences": None},
    "BatchTask": {"authenticationTokenSettings": None},
    "BatchJobManagerTask": {"authenticationTokenSettings": None},
}
"""What older api-versions know of a model beside its own properties, to be filtered by and selected: in the manner of
`emulator.body.objects_of`."""
