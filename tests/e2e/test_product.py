# SPDX-License-Identifier: Apache-2.0
"""The whole path with real programs: names, tunnel, documentation page, calls among sisters, and kill -9."""

import signal
import socket

import pytest

import kit
from product import OUTSIDE, Product, build_folder


@pytest.fixture
def product(work, spawn):
    return Product(work, spawn)


CONFIG = {
    "data": {
        "id": "web",
        "type": "config",
        "attributes": {"name": "Web", "items": {"colour": {"value": "blue", "type": "STRING"}}},
    }
}


@pytest.mark.short
def test_the_five_commands_of_the_first_screen_do_what_they_say(product):
    assert "127.10.1.11" in product.dig("config.internal.smplkit.local", "+short").stdout.split()
    assert "status: REFUSED" in product.dig("config.internal.smplkit.local", source=OUTSIDE).stdout
    port = kit.free_port("127.0.0.1")
    tunnel = product.tunnel(f"{port}:config.internal")
    tunnel.wait_line(rf"http://localhost:{port}\b", stream="out")
    status, page = product.curl("127.0.0.1", "/docs", source="127.0.0.1", port=port)
    assert status == 200 and "swagger" in page.lower()
    status, health = product.api("GET", "127.10.1.11", "/internal/v1/health")
    assert status == 200 and health["service"] == "config" and health["storage"] == "ok"
    assert product.curl("127.20.1.11", "/internal/v1/health")[0] == 404
    assert product.curl("127.10.1.11", "/docs", source=OUTSIDE)[0] == 0
    tunnel.signal(signal.SIGINT)
    assert tunnel.wait(kit.PATIENCE) == 0
    assert not kit.port_open("127.0.0.1", port)


def test_a_new_account_is_known_to_every_sister_that_was_found_by_name(product):
    account, key = product.new_account()
    status, reply = product.api("POST", "127.20.1.11", "/api/v1/configs", CONFIG, key)
    assert status == 201, reply
    status, reply = product.api("GET", "127.20.1.11", "/api/v1/configs?meta[total]=true", key=key)
    assert status == 200
    assert {"common", "web"} <= {c["id"] for c in reply["data"]}
    status, reply = product.api(
        "POST",
        "127.20.1.12",
        "/api/v1/flags",
        {
            "data": {
                "id": "dark",
                "type": "flag",
                "attributes": {"name": "Dark", "type": "BOOLEAN", "default": False},
            }
        },
        key,
    )
    assert status == 201, reply
    assert product.api("GET", "127.20.1.12", "/api/v1/flags", key="sk_api_" + "0" * 36)[0] == 401
    assert product.api("GET", "127.20.1.12", "/api/v1/flags")[0] == 401


def test_moving_a_record_and_reloading_the_resolver_redirects_the_sisters_next_call(product):
    _, key = product.new_account()
    assert product.api("GET", "127.20.1.11", "/api/v1/configs", key=key)[0] == 200
    # Another account service, with a database of its own, which does not know this key.
    other = "127.10.1.13"
    text = (product.work / "accounts.yaml").read_text()
    text = (
        text.replace("127.10.1.10", other)
        .replace("127.20.1.10", "127.20.1.13")
        .replace("accounts.db", "other.db")
    )
    (product.work / "other.yaml").write_text(text)
    product.spawn(kit.binary("smpl-app"), "-c", "other.yaml").wait_ready()
    (product.work / "internal.zone").write_text(product.zone(app=other).replace(" 1 3600", " 2 3600"))
    product.reload_resolver()
    _, second = product.new_account(
        "Second"
    )  # a key that no service has looked up yet, known at the old address only
    assert product.api("GET", "127.20.1.11", "/api/v1/configs", key=second)[0] == 401
    (product.work / "internal.zone").write_text(product.zone().replace(" 1 3600", " 3 3600"))
    product.reload_resolver()
    _, third = product.new_account("Third")
    assert product.api("GET", "127.20.1.11", "/api/v1/configs", key=third)[0] == 200


@pytest.mark.parametrize("victim", ["resolver", "accounts", "config", "flags", "bastion"])
def test_kill_9_of_one_program_loses_nothing_that_was_acknowledged(product, victim):
    _, key = product.new_account()
    assert product.api("POST", "127.20.1.11", "/api/v1/configs", CONFIG, key)[0] == 201
    port = kit.free_port("127.0.0.1")
    tunnel = product.tunnel(f"{port}:config.internal")
    tunnel.wait_line("http://localhost", stream="out")
    workers = kit.children(product.programs["bastion"].pid)
    product.programs[victim].kill9()
    if victim == "bastion":
        kit.wait_until(lambda: not any(kit.alive(p) for p in workers), "the bastion's processes end with it")
        tunnel.wait_line("local ports stay")
    product.start(victim)
    status, reply = product.api("GET", "127.20.1.11", "/api/v1/configs/web", key=key)
    assert status == 200 and reply["data"]["attributes"]["items"]["colour"]["value"] == "blue"
    assert kit.wait_until(
        lambda: product.curl("127.0.0.1", "/internal/v1/health", source="127.0.0.1", port=port)[0] == 200,
        "the tunnel carries again",
    )


def test_the_documentation_page_works_in_a_browser_through_the_tunnel(product):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By

    port = kit.free_port("127.0.0.1")
    product.tunnel(f"{port}:config.internal").wait_line("http://localhost", stream="out")
    options = webdriver.ChromeOptions()
    options.binary_location = kit.tool("chromium")
    profile = product.work / "chromium"
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--window-size=1280,1400",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(service=Service(kit.tool("chromedriver")), options=options)
    try:
        browser.get(f"http://localhost:{port}/docs")
        operation = kit.wait_until(
            lambda: next(
                (
                    o
                    for o in browser.find_elements(By.CSS_SELECTOR, ".opblock")
                    if "/internal/v1/health" in o.text.replace("\u200b", "")
                ),
                None,
            ),
            "the operations are shown",
        )
        operation.find_element(By.CSS_SELECTOR, ".opblock-summary").click()
        execute = kit.wait_until(
            lambda: next(iter(operation.find_elements(By.CSS_SELECTOR, "button.execute")), None)
            or try_it_out(operation, By),
            "the operation can be executed",
        )
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", execute)
        execute.click()
        code = kit.wait_until(
            lambda: next(
                (
                    c.text
                    for c in operation.find_elements(
                        By.CSS_SELECTOR, ".live-responses-table .response-col_status"
                    )
                    if c.text.strip().isdigit() or c.text.strip()[:3].isdigit()
                ),
                None,
            ),
            "the response is shown",
        )
        browser.save_screenshot(f"{build_folder()}/docs-through-tunnel.png")
        assert code.strip()[:3] == "200"
        severe = [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]
        assert not severe, severe
    finally:
        browser.quit()


def try_it_out(operation, by):
    """Presses "Try it out" where the page does not start in that mode; the execute button appears at the next
    look."""
    for button in operation.find_elements(by.CSS_SELECTOR, ".try-out__btn"):
        if "cancel" not in button.get_attribute("class"):
            button.click()
    return None


def test_stock_ssh_forwards_to_a_granted_target(product):
    port = kit.free_port("127.0.0.1")
    ssh = product.spawn(
        *product.ssh_args(
            "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{port}:config.internal:{product.http}"
        )
    )
    kit.wait_until(lambda: kit.port_open("127.0.0.1", port), "ssh listens")
    status, _ = product.curl("127.0.0.1", "/internal/v1/health", source="127.0.0.1", port=port)
    assert status == 200
    ssh.signal(signal.SIGTERM)
    ssh.wait()
    ends = kit.wait_until(
        lambda: [r for r in product.audit() if "session-end" in r.values()], "the session's end is audited"
    )
    assert ends


def test_sixty_four_connections_at_once_are_carried_while_one_is_stalled(product):
    port = kit.free_port("127.0.0.1")
    product.tunnel(f"{port}:config.internal").wait_line("http://localhost", stream="out")
    request = b"GET /internal/v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    stalled = socket.create_connection(("127.0.0.1", port))
    stalled.sendall(request[:20])
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=kit.PATIENCE) for _ in range(64)]
    for s in sockets:
        s.sendall(request)
    for s in sockets:
        assert kit.recv_all(s).startswith(b"HTTP/1.1 200")
        s.close()
    stalled.sendall(request[20:])
    stalled.settimeout(kit.PATIENCE)
    assert stalled.recv(12) == b"HTTP/1.1 200"
    stalled.close()


def test_sisters_are_asked_by_name_from_the_private_network_only(product):
    """A service whose resolver source is outside cannot find its sisters: nothing else leads to them."""
    _, key = product.new_account()
    text = (product.work / "config.yaml").read_text().replace("source: 127.10.1.11", f"source: {OUTSIDE}")
    product.programs["config"].stop()
    (product.work / "config.yaml").write_text(text)
    product.start("config")
    status, _ = product.api("GET", "127.20.1.11", "/api/v1/configs", key=key)
    assert status == 503
