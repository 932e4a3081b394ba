"""What a person sees in the Prefect UI, in headless Chromium. TOPN_SCREENSHOTS names a folder to keep pictures in."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import naive_top
from tests.local_stack import PREFECT, ROOT, LocalStack, inputs_on_nodes, start_stack
from tests.patience import PATIENCE

PATIENCE_SECONDS = 60
SAMPLE = ROOT / "data/taskdata2.txt"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    stack = start_stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.wait_until_up()
        yield stack
    finally:
        stack.process.send_signal(signal.SIGINT)
        stack.process.wait(timeout=PATIENCE)


class Page:
    """A page of the UI, waited for."""

    def __init__(self, browser: Chrome, url: str, shows: str) -> None:
        self._browser = browser
        browser.get(url)
        self.wait_for(shows)

    @property
    def text(self) -> str:
        return self._browser.find_element(By.TAG_NAME, "body").text

    def wait_for(self, text: str) -> None:
        WebDriverWait(self._browser, PATIENCE_SECONDS).until(
            lambda _: text in self.text, f"the page never shows {text!r}, but:\n{self.text}"
        )

    def pictures(self) -> list[tuple[str, int, int]]:
        """(alt, natural width, natural height) of the pictures that are loaded."""
        script = "return [...document.querySelectorAll('img[src^=\"data:\"]')].map(i => [i.alt, i.width, i.height])"
        WebDriverWait(self._browser, PATIENCE_SECONDS).until(
            lambda browser: all(width for _, width, _ in browser.execute_script(script)), "a picture is not shown"
        )
        return [tuple(one) for one in self._browser.execute_script(script)]

    def keep(self, name: str) -> None:
        """Take a picture of the whole page, for the README."""
        if folder := os.environ.get("TOPN_SCREENSHOTS"):
            size = self._browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 2000), "scale": 0.7}
            shot = self._browser.execute_cdp_cmd(
                "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True, "format": "png"}
            )
            path = ROOT / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(shot["data"]))


async def artifacts_of_last_run(stack: LocalStack) -> tuple[str, dict[str, str]]:
    """(id of the newest flow run that started, {artifact key: its page})."""
    async with PrefectClient(stack.api) as api:
        runs = [run for run in await api.read_flow_runs() if run.start_time]
        run = max(runs, key=lambda run: str(run.start_time))
        found = await api.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return str(run.id), {str(one.key): f"{stack.ui}/artifacts/artifact/{one.id}" for one in found}


@pytest.fixture(scope="module")
def nightly(stack: LocalStack) -> tuple[str, dict[str, str]]:
    """A run of topn/nightly that completed."""
    done = stack.prefect("deployment", "run", "topn/nightly", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr
    return asyncio.run(artifacts_of_last_run(stack))


@pytest.fixture(scope="module")
def failed(stack: LocalStack, nightly: object) -> tuple[str, dict[str, str]]:
    """A run whose one file vanished from its node before it was counted."""
    parameters = {"inputs": ["az://topn-inputs/nightly/"], "delay_seconds": 4}
    command = [PREFECT, "deployment", "run", "topn/adhoc", "--watch", "--param", f"parameters={json.dumps(parameters)}"]
    running = subprocess.Popen(command, cwd=stack.state, env=stack.environment, stdout=subprocess.DEVNULL)
    while running.poll() is None and not take_away(stack.state / "nodes", SAMPLE.read_bytes()):
        time.sleep(0.05)
    assert running.wait(timeout=PATIENCE) == 1
    return asyncio.run(artifacts_of_last_run(stack))


def take_away(nodes: Path, content: bytes) -> bool:
    """Delete the input with this content from whichever node has it; whether one had."""
    for path in inputs_on_nodes(nodes):
        try:
            if path.read_bytes() == content:
                path.unlink()
                return True
        except FileNotFoundError:
            continue
    return False


def test_the_flow_run_page_shows_the_run_and_its_steps(stack: LocalStack, browser: Chrome, nightly) -> None:
    page = Page(browser, f"{stack.ui}/runs/flow-run/{nightly[0]}", "Completed")
    page.wait_for("Creating pool [")
    page.wait_for("Task runs")
    for text in ("topn", "nightly", "local"):
        assert text in page.text
    page.keep("flow-run")


def test_the_report_shows_the_words_and_both_pictures(browser: Chrome, nightly) -> None:
    page = Page(browser, nightly[1]["topn-report"], "Top 10 words of all files")
    everything = naive_top(b" ".join(path.read_bytes() for path in sorted((ROOT / "data").glob("*.txt"))), 10)
    lines = page.text.splitlines()
    for word, count in everything:
        assert f"{word} {count}" in lines or (word in lines and str(count) in lines), (word, count)
    pictures = page.pictures()
    assert [alt for alt, _, _ in pictures] == ["top-words", "timeline"]
    assert all(width >= 400 and height >= 100 for _, width, height in pictures), pictures
    page.keep("report")


def test_the_results_table_shows_the_words_of_each_file(browser: Chrome, nightly) -> None:
    page = Page(browser, nightly[1]["topn-results"], SAMPLE.name)
    top = ", ".join(f"{word} ({count})" for word, count in naive_top(SAMPLE.read_bytes(), 10))
    assert top in page.text
    page.keep("results")


def test_names_and_words_are_shown_as_they_are_and_nothing_in_them_is_obeyed(
    stack: LocalStack, browser: Chrome
) -> None:
    folder = stack.state / "odd"
    folder.mkdir()
    (folder / "__init__.py").write_text("<img>x <img>x snake_case_word **bold**x C#x a|b")
    (folder / "_a_.txt").write_text("<img>x")
    given = json.dumps({"inputs": [str(folder / "*")], "words": 6})
    done = stack.prefect("deployment", "run", "topn/adhoc", "--watch", "--param", f"parameters={given}")
    assert done.returncode == 0, done.stdout + done.stderr
    _, artifacts = asyncio.run(artifacts_of_last_run(stack))
    shown = {
        "topn-results": ("__init__.py", "_a_.txt", "img>x (3)", "snake_case_word (1)", "bold**x (1)", "C#x (1)"),
        "topn-report": ("img>x", "snake_case_word", "bold**x", "C#x", "a|b"),
    }
    for artifact, texts in shown.items():
        page = Page(browser, artifacts[artifact], "snake_case_word")
        for text in texts:
            assert text in page.text, text


def test_the_parameter_form_explains_each_parameter(stack: LocalStack, browser: Chrome) -> None:
    async def deployment() -> str:
        async with PrefectClient(stack.api) as api:
            return str((await api.read_deployment_by_name("topn/adhoc")).id)

    page = Page(browser, f"{stack.ui}/deployments/deployment/{asyncio.run(deployment())}/run", "Spot Nodes")
    for text in ("How many top words of each file to list.", "VM size of the nodes.", "Task Slots", "Run Key", "Keep"):
        assert text in page.text, text
    page.keep("parameters")


def test_a_failed_file_is_named_with_its_cause(browser: Chrome, failed) -> None:
    page = Page(browser, failed[1]["topn-report"], "Failures")
    for text in (SAMPLE.name, "exit_code, exit code 3", "cannot read input.txt: No such file or directory"):
        assert text in page.text, text
    page.keep("failures")
    table = Page(browser, failed[1]["topn-failures"], SAMPLE.name)
    assert "cannot read input.txt" in table.text
