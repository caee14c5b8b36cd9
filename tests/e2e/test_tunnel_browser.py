# SPDX-License-Identifier: Apache-2.0
"""A real browser that is set to smpl-tunnel's SOCKS5 proxy: names are looked up at the bastion."""

import re

import kit
import pytest

from product import Product

pytestmark = pytest.mark.full
SHOTS = kit.ROOT / "build" / "screenshots"


@pytest.fixture
def browser(work):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    started = []

    def start(proxy):
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
            "--window-size=1200,1000",
            f"--user-data-dir={work}/chromium",
            f"--proxy-server={proxy}",
        ):
            options.add_argument(flag)
        driver = webdriver.Chrome(service=Service(kit.tool("chromedriver")), options=options)
        driver.set_page_load_timeout(kit.PATIENCE)
        started.append(driver)
        return driver

    yield start
    for driver in started:
        driver.quit()


def test_a_browser_opens_services_by_name_through_the_proxy(work, spawn, browser):
    product = Product(work, spawn)
    program = product.tunnel("-D", "0")
    port = re.search(r":(\d+) ->", program.wait_line("^socks5h://", stream="out"))[1]
    driver = browser(f"socks5://127.0.0.1:{port}")
    for service in ("app", "config"):
        driver.get(f"http://{service}.internal.smplkit.local:{product.http}/docs")
        operations = lambda: driver.execute_script("return document.querySelectorAll('.opblock').length")
        kit.wait_until(lambda: operations() > 3, "the page shows the service's operations")
    SHOTS.mkdir(parents=True, exist_ok=True)
    driver.save_screenshot(str(SHOTS / "tunnel-socks-docs.png"))
    # What is not granted: an error page, and the reason on the tunnel's side.
    from selenium.common.exceptions import WebDriverException

    with pytest.raises(WebDriverException, match="ERR_SOCKS_CONNECTION_FAILED|ERR_PROXY_CONNECTION_FAILED"):
        driver.get(f"http://flags.internal.smplkit.local:{product.http}/docs")
    program.wait_line("flags.internal.smplkit.local:.*: no grant covers this target")
    assert program.running()
