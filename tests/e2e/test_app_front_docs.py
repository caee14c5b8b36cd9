# SPDX-License-Identifier: Apache-2.0
"""/docs in a real browser: headless Chromium opens the page, tries an operation out and reads its 200."""

import time

import pytest

import kit
from echo_front import ECHO, INTERNAL

SHOTS = kit.ROOT / "build" / "screenshots"


@pytest.fixture
def browser(work):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = kit.tool("chromium")
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--window-size=1280,1600",
        f"--user-data-dir={work}/chromium",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(kit.tool("chromedriver")), options=options)
    yield driver
    driver.quit()


@pytest.fixture
def page(work, spawn):
    port = kit.free_port(INTERNAL)
    (work / "echo.yaml").write_text(
        "service: accounts\nlisteners:\n"
        f'  - {{name: internal, address: "{INTERNAL}:{port}", rules: ["/*"], clients: [127.0.0.0/8]}}\n'
        "database: echo.db\n"
    )
    spawn(ECHO, "-c", work / "echo.yaml").wait_ready()
    return f"http://{INTERNAL}:{port}"


def find(browser, css, timeout=kit.PATIENCE):
    return kit.wait_until(lambda: browser.find_elements("css selector", css), css, timeout)[0]


def click(browser, css):
    element = find(browser, css)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def run_operation(browser, operation):
    """Opens an operation, executes it, returns the status and body that the page shows."""
    block = f"#operations-{operation}"
    click(browser, f"{block} .opblock-summary-control")
    click(browser, f"{block} button.execute")
    status = find(browser, f"{block} .live-responses-table tbody .response-col_status").text
    body = find(browser, f"{block} .live-responses-table tbody .highlight-code").text
    return status, body


def test_try_it_out_executes_and_shows_the_answer(browser, page):
    browser.get(page + "/docs")
    kit.wait_until(lambda: "Echo - Swagger UI" == browser.title, "the page's title")
    status, body = run_operation(browser, "Health-health")
    SHOTS.mkdir(parents=True, exist_ok=True)
    browser.save_screenshot(str(SHOTS / "docs-health.png"))
    assert status.split()[0] == "200" and '"status": "ok"' in body
    status, body = run_operation(browser, "echo-post_echo")
    browser.save_screenshot(str(SHOTS / "docs-post.png"))
    assert status.split()[0] == "200" and '"a": 1' in body
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == [], severe


def test_the_page_loads_nothing_from_elsewhere(browser, page):
    browser.get(page + "/docs")
    find(browser, ".opblock-summary-control")
    time.sleep(0.5)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert any(url.endswith("/openapi.json") for url in loaded)
    assert [url for url in loaded if not url.startswith((page, "data:"))] == []
