"""The emulator's own page, in headless Chromium. TOPN_SCREENSHOTS names a folder to keep a picture in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.emulator.conftest import KEY, Account, Emulator, start_emulator, stop
from tests.patience import PATIENCE

MARKUP = "<img src=x onerror=document.title='hurt'><b>bold</b>"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    emulator = start_emulator(tmp_path_factory.mktemp("window") / "root", "--speed", "20")
    yield emulator
    stop(emulator)


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Account]:
    with emulator.client("windowaccount") as client:
        account = Account("windowaccount", client)
        yield account
        account.control("POST", "/reset")


def found(browser: Chrome, selector: str, text: str = "") -> Any:
    """The first element of a selector that shows a text, waited for; the page makes elements anew meanwhile."""
    script = """
        return [...document.querySelectorAll(arguments[0])].find(each => each.textContent.includes(arguments[1]))
    """
    return WebDriverWait(browser, PATIENCE).until(
        lambda _: browser.execute_script(script, selector, text), f"no {selector} with {text!r}"
    )


def click(browser: Chrome, selector: str, text: str) -> None:
    browser.execute_script("arguments[0].click()", found(browser, selector, text))


def until(browser: Chrome, condition: Callable[[], bool]) -> None:
    WebDriverWait(browser, PATIENCE).until(lambda _: condition())


def test_the_page_shows_pools_jobs_tasks_and_requests_as_they_change(
    emulator: Emulator, account: Account, browser: Chrome
) -> None:
    browser.get(f"{emulator.url}/")
    found(browser, "#accounts", "No pools and no jobs yet")
    account.pool(nodes=3, taskSlotsPerNode=2)
    found(browser, ".pool", "3 idle")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".node.idle")) == 3

    account.job("counting")
    account.task("good", "/bin/bash -c 'echo counted; echo warned >&2'", "counting")
    account.task("bad", "/bin/bash -c 'exit 3'", "counting")
    account.task("long", "/bin/sleep 60", "counting")
    account.completed("good", "counting")
    account.completed("bad", "counting")
    row = "tr[data-job=counting]"
    until(browser, lambda: found(browser, row).text.split()[3:7] == ["0", "1", "1", "1"])
    found(browser, ".node.running", "1")

    click(browser, f"{row} button", "counting")
    assert found(browser, "tr[data-task=bad]", "failure").text.split()[2:4] == ["failure", "3"]
    found(browser, "tr[data-task=bad]", "FailureExitCode")
    click(browser, "tr[data-task=good] button", "good")
    found(browser, "#stdout", "counted")
    found(browser, "#stderr", "warned")
    assert "/jobs/counting/tasks" in found(browser, "#requests").text
    if folder := os.environ.get("TOPN_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / "emulator.png"))
    click(browser, "#detail button", "close")
    assert not browser.find_element(By.ID, "detail").is_displayed()

    account.client.begin_delete_job("counting")
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, row))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_shows_job_schedules_and_leads_to_their_recent_job(
    emulator: Emulator, account: Account, browser: Chrome
) -> None:
    account.pool()
    manager = {"id": "manager", "commandLine": "/bin/echo managed"}
    account.client.create_job_schedule(
        {
            "id": "nightly",
            "schedule": {"recurrenceInterval": "PT24H"},
            "jobSpecification": {"poolInfo": {"poolId": "pool"}, "jobManagerTask": manager},
        }
    )
    browser.get(f"{emulator.url}/")
    row = "tr[data-schedule=nightly]"
    due = account.client.get_job_schedule("nightly").execution_info.next_run_time
    until(
        browser,
        lambda: found(browser, row).text.split() == ["nightly", "active", *f"{due:%F %T}".split(), "nightly:job-1"],
    )
    account.completed("manager", "nightly:job-1")
    click(browser, f"{row} button", "nightly:job-1")
    click(browser, "tr[data-task=manager] button", "manager")
    found(browser, "#stdout", "managed")
    click(browser, "#detail button", "close")

    account.client.begin_delete_job("nightly:job-1")
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, f"{row} button"))
    assert "nightly:job-1" in found(browser, row).text
    account.client.disable_job_schedule("nightly")
    until(browser, lambda: found(browser, row).text.split()[1:3] == ["disabled", "none"])
    account.client.begin_delete_job_schedule("nightly")
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, row))
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_running_tasks_output_grows_on_the_page(emulator: Emulator, account: Account, browser: Chrome) -> None:
    account.pool()
    account.job()
    account.task(
        "grows", f"/bin/bash -c 'echo first; while [ ! -e {emulator.root}/go ]; do sleep 0.1; done; echo next'"
    )
    account.task_becomes("running", "grows")
    browser.get(f"{emulator.url}/")
    click(browser, "tr[data-job=job] button", "job")
    click(browser, "tr[data-task=grows] button", "grows")
    found(browser, "#stdout", "first")
    (emulator.root / "go").touch()
    found(browser, "#stdout", "next")
    found(browser, "tr[data-task=grows]", "success")


def test_no_value_is_taken_for_markup(emulator: Emulator, account: Account, browser: Chrome) -> None:
    account.pool(nodes=1, startTask={"commandLine": f'/bin/bash -c "exit 1" "{MARKUP}"'}, wait=False)
    account.job("markup")
    account.pool("output")
    account.job("output", "output")
    account.task("out", f'/bin/echo "{MARKUP}"', "output")
    account.task("name", f'"/bin/{MARKUP}"', "output")
    account.completed("out", "output")
    account.completed("name", "output")
    browser.get(f"{emulator.url}/")
    click(browser, "tr[data-job=output] button", "output")
    click(browser, "tr[data-task=out] button", "out")
    assert found(browser, "#stdout", "<b>bold</b>").text.strip() == MARKUP
    found(browser, ".node.starttaskfailed")
    assert browser.title == "Azure Batch emulator"
    assert not browser.find_elements(By.CSS_SELECTOR, "main b, #detail b, main img, #detail img")


def test_a_key_of_ones_own_is_asked_for(tmp_path: Path, browser: Chrome) -> None:
    key = KEY[:10] + "AAAA" + KEY[14:]
    emulator = start_emulator(tmp_path / "root", EMULATOR_KEY=key)
    try:
        browser.get(f"{emulator.url}/_emulator/window")
        assert "endpoint" not in browser.page_source
        address = emulator.url.replace("http://", "http://any:" + key.replace("/", "%2F").replace("=", "%3D") + "@")
        browser.get(f"{address}/_emulator/window")
        assert emulator.url in browser.page_source
    finally:
        stop(emulator)
