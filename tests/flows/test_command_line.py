"""`python -m flows.topn`: bad input is answered in one sentence, with status 2, before anything is created."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from flows import command_line
from flows.topn import topn
from tasks.blocks import AzureBatchCredentials

SAMPLE = "data/taskdata1.txt"


@pytest.fixture
def answer(capfd: pytest.CaptureFixture[str]):
    """Call the command line in this process: (exit status, what it says on stderr)."""

    def call(*arguments: str) -> tuple[int, str]:
        try:
            status = command_line.main(topn, arguments)
        except SystemExit as exit:
            status = int(exit.code or 0)
        return status, capfd.readouterr().err

    return call


@pytest.fixture
def answer_out(capfd: pytest.CaptureFixture[str]):
    """Call the command line in this process: (exit status, what it says on stdout)."""

    def call(*arguments: str) -> tuple[int, str]:
        return command_line.main(topn, arguments), capfd.readouterr().out

    return call


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.txt"], "missing.txt: there is no such file."),
        (["*.missing"], "*.missing: no file matches this pattern."),
        (["data"], "data is a folder"),
        ([SAMPLE, "--words", "0"], "--words 0: it should be greater than or equal to 1."),
        ([SAMPLE, "--words", "many"], "--words many: it should be a valid integer"),
        ([SAMPLE, "--keep", "some"], "--keep some: it should be 'nothing', 'results' or 'everything'."),
        ([SAMPLE, "--run-key", "No Key"], "--run-key No Key"),
        ([SAMPLE, "--run-key", "latest"], "--run-key latest: outputs/latest is the name of the newest run"),
        ([SAMPLE, "--nodes", "0"], "nodes and spot_nodes are both 0"),
        ([SAMPLE, "--pool-id", "nowhere"], "There is no pool nowhere"),
        ([SAMPLE, "--image", "a:b:c"], "no verified Linux image a:b:c"),
        ([SAMPLE, "--outputs", "README.md/x"], "README.md is not a folder"),
        (["x" * 300], "cannot be a file's name"),
        (["~nobody-of-that-name/x"], "cannot be a file's name"),
        (["caf\udce9.txt"], "is not UTF-8"),
        ([SAMPLE, "--wrods", "3"], "unrecognized arguments: --wrods"),
        ([SAMPLE, "--word", "3"], "unrecognized arguments: --word"),
        ([SAMPLE, "--price-per-hour", "inf"], "--price-per-hour inf: it should be a finite number."),
        ([SAMPLE, "--max-node-hours", "inf"], "--max-node-hours inf: it should be a finite number."),
        ([SAMPLE, "--timeout-minutes", "nan"], "--timeout-minutes nan: it should be a finite number."),
        ([SAMPLE, "--timeout-minutes", "10020"], "Nodes would need a SAS for 168.2 hours, and none lives longer"),
        ([], "the following arguments are required: INPUT"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(answer, arguments: list[str], sentence: str) -> None:
    status, said = answer(*arguments)
    assert status == 2
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"AZURE_BATCH_ENDPOINT": ""}, "AZURE_BATCH_ENDPOINT is not set"),
        ({"AZURE_BATCH_ACCOUNT": ""}, "AZURE_BATCH_ACCOUNT"),
        ({"AZURE_BATCH_ENDPOINT": "http://127.0.0.1:9"}, "Nobody answers for Azure Batch at http://127.0.0.1:9"),
        (
            {"AZURE_STORAGE_BLOB_ENDPOINT": "http://127.0.0.1:9/devstoreaccount1"},
            "Nobody answers for Blob Storage at http://127.0.0.1:9",
        ),
        ({"AZURE_BATCH_ACCESS_KEY": "d3Jvbmc="}, "Azure Batch at http"),
        ({"AZURE_STORAGE_KEY": "d3Jvbmc="}, "Blob Storage at http"),
        ({"AZURE_BATCH_ENDPOINT": "http://[::1"}, "AZURE_BATCH_ENDPOINT is http://[::1, which is no address"),
    ],
)
def test_bad_settings_are_one_sentence_and_status_2(
    answer, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, change: dict[str, str], sentence: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    status, said = answer(SAMPLE)
    assert status == 2
    assert sentence in said
    assert said.count("\n") == 1
    assert environment["AZURE_BATCH_ACCESS_KEY"] not in said


def test_help_names_each_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        command_line.parse(["--help"])
    assert exit.value.code == 0
    help = " ".join(capsys.readouterr().out.split())
    for name, field in command_line.Parameters.model_fields.items():
        if name == "plan_only":
            continue  # the word `plan`
        assert str(field.description) in help, name
    assert "(default: STANDARD_D2S_V3)" in help


def test_inputs_are_read_from_the_command_line() -> None:
    parameters = command_line.parse(["a", "b", "--words", "7", "--pool-id", "mine", "--delay-seconds", "0.5"])
    assert parameters.inputs == ["a", "b"]
    assert (parameters.words, parameters.pool_id, parameters.delay_seconds) == (7, "mine", 0.5)


def test_the_samples_are_there() -> None:
    assert all(Path(path).is_file() for path in command_line.Parameters().inputs)


@pytest.mark.usefixtures("environment")
def test_the_word_plan_says_what_a_run_would_do_and_creates_nothing(answer_out) -> None:
    status, said = answer_out("plan", SAMPLE, "data/taskdata2.txt", "--price-per-hour", "0.1", "--nodes", "2")
    assert status == 0
    for line in (
        "files",
        "2 (",
        "its own: 2 STANDARD_D2S_V3",
        "node-hours",
        "cost of the nodes",
        "Nothing was created",
    ):
        assert line in said, line


@pytest.mark.usefixtures("prefect_api")
def test_a_plan_with_a_credentials_block_asks_the_blocks_accounts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, answer_out
) -> None:
    block = AzureBatchCredentials(
        batch_endpoint=environment["AZURE_BATCH_ENDPOINT"],
        batch_account=environment["AZURE_BATCH_ACCOUNT"],
        batch_key=SecretStr(environment["AZURE_BATCH_ACCESS_KEY"]),
        storage_account=environment["AZURE_STORAGE_ACCOUNT"],
        storage_key=SecretStr(environment["AZURE_STORAGE_KEY"]),
        blob_endpoint=environment["AZURE_STORAGE_BLOB_ENDPOINT"],
    )
    block.save("planned", overwrite=True)
    for name in environment:
        monkeypatch.delenv(name)
    status, said = answer_out("plan", SAMPLE, "--credentials", "planned")
    assert status == 0
    assert "Nothing was created" in said
