"""Which failures are tried again, how often, and after which wait."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from tasks.policies import CLASSES, Policies, Retries, RetryWaits, failure_class


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("FailureExitCode", "exit_code"),
        ("TaskEnded", "wall_clock"),
        ("FileUploadContainerNotFound", "upload"),
        ("FileUploadMiscError", "upload"),
        ("BlobNotFound", "resource_file"),
        ("ResourceContainerListMiscError", "resource_file"),
        ("DiskFull", "resource_file"),
        ("CommandProgramNotFound", "scheduling"),
        ("", "scheduling"),
    ],
)
def test_batchs_codes_have_their_class(code: str, name: str) -> None:
    assert failure_class(code) == name


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_has_its_own_number_of_attempts_and_its_own_wait(name: str) -> None:
    policies = Policies(retries=Retries(**{name: 2}), waits=RetryWaits(**{name: 7}))
    assert policies.wait(name, None, 0) == policies.wait(name, None, 1) == timedelta(seconds=7)
    assert policies.wait(name, None, 2) is None


def test_an_exit_code_that_says_the_same_each_time_is_not_tried_again() -> None:
    policies = Policies(never_again=frozenset({3}))
    assert policies.wait("exit_code", 3, 0) is None
    assert policies.wait("exit_code", 4, 0) is not None
    assert policies.wait("upload", 3, 0) is not None


def test_what_is_no_class_is_not_tried_again() -> None:
    assert Policies().wait("timeout", None, 0) is None


def test_a_command_line_names_the_classes_that_differ() -> None:
    assert Retries.model_validate("upload=3, exit_code=0") == Retries(upload=3, exit_code=0)
    assert str(Retries()) == "exit_code=1,resource_file=2,upload=2,wall_clock=0,scheduling=2,result=1"


@pytest.mark.parametrize("text", ["upload", "uploads=3", "upload=x", "upload=-1"])
def test_a_command_line_that_names_no_class_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Retries.model_validate(text)
