# SPDX-License-Identifier: Apache-2.0
"""What web pages of other origins can do to a developer's open tunnel: nothing. Headless Chromium loads a
page that tries, through a real tunnel and through the internal listener's own address; a link from a wiki to
/docs works."""

import http.server
import re
import threading

import pytest

import kit
from product import Product

EVIL, WIKI, REBOUND = "evil.example", "wiki.example", "rebound.example"


class Site:
    """A web server of somebody else's, for every name."""

    def __init__(self, address):
        outer = self
        self.pages = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = outer.pages.get(self.path, "<p>nothing</p>").encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.port = kit.free_port(address)
        self.server = http.server.ThreadingHTTPServer((address, self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site():
    site = Site("127.0.0.1")
    yield site
    site.close()


@pytest.fixture
def browser(work):
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = kit.tool("chromium")
    # The names of others lead here, and one has been bound anew to the tunnel's own address.
    rules = ", ".join(f"MAP {name} 127.0.0.1" for name in (EVIL, WIKI, REBOUND))
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        f"--host-resolver-rules={rules}",
        f"--user-data-dir={work}/chromium",
        # the browser's own wall between public pages and local addresses must not do our work
        "--disable-features=BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights,"
        "LocalNetworkAccessChecks,PrivateNetworkAccessRespectPreflightResults",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(service=Service(kit.tool("chromedriver")), options=options)
    driver.set_script_timeout(kit.PATIENCE)
    yield driver
    driver.quit()


@pytest.fixture
def tunnel(work, spawn):
    """http://localhost:PORT of a developer's tunnel to the config service, and that service's access log."""
    product = Product(work, spawn)
    port = kit.free_port("127.0.0.1")
    program = product.tunnel(f"{port}:config.internal:{product.http}")
    kit.wait_until(lambda: kit.port_open("127.0.0.1", port), "the tunnel listens")
    return port, product, program


ATTACKS = """
const done = arguments[arguments.length - 1], at = arguments[0], out = {};
const settle = (name, promise) => promise.then(v => out[name] = v, e => out[name] = 'refused');
const element = (tag, path) => new Promise((good, bad) => {
  const e = document.createElement(tag);
  e.onload = () => good('loaded'); e.onerror = bad;
  if (tag === 'link') { e.rel = 'stylesheet'; e.href = at + path; } else { e.src = at + path; }
  document.body.append(e);
});
const text = (path, options) => fetch(at + path, options).then(r => r.text());
Promise.all([
  settle('fetch', text('/internal/v1/health')),
  settle('fetch with cookies', text('/openapi.json', {credentials: 'include'})),
  settle('fetch put', text('/internal/v1/accounts/x',
    {method: 'PUT', headers: {'Content-Type': 'application/json'}, body: '{}'})),
  settle('fetch simple post', text('/internal/v1/accounts/x',
    {method: 'POST', headers: {'Content-Type': 'text/plain'}, body: '{}'})),
  settle('opaque post', fetch(at + '/internal/v1/accounts/opaque',
    {method: 'POST', mode: 'no-cors', body: '{}'}).then(r => r.type)),
  settle('image', element('img', '/docs/favicon-32x32.png')),
  settle('script', element('script', '/docs/swagger-ui-bundle.js')),
  settle('style', element('link', '/docs/swagger-ui.css')),
  settle('websocket', new Promise((good, bad) => {
    const w = new WebSocket(at.replace('http', 'ws') + '/internal/v1/health');
    w.onopen = () => good('open'); w.onerror = bad;
  })),
  settle('events', new Promise((good, bad) => {
    const e = new EventSource(at + '/internal/v1/health');
    e.onopen = () => good('open'); e.onerror = () => { e.close(); bad(); };
  })),
]).then(() => done(out));
"""


def log_of(product):
    import json

    return [json.loads(line) for line in product.programs["config"].out]


def test_pages_of_other_origins_are_refused_through_an_open_tunnel(browser, site, tunnel):
    port, product, _ = tunnel
    site.pages["/attack"] = "<body></body>"
    for at in (f"http://localhost:{port}", f"http://127.0.0.1:{port}"):
        browser.get(f"http://{EVIL}:{site.port}/attack")
        start = len(product.programs["config"].out)
        got = browser.execute_async_script(ATTACKS, at)
        opaque = got.pop("opaque post")  # the page cannot see what became of it: the log can
        assert opaque in ("opaque", "refused") and set(got.values()) == {"refused"} and len(got) == 9, got
        # what sister services ask in between has a caller
        told = lambda: [line for line in log_of(product)[start:] if not line.get("caller")]
        lines = kit.wait_until(
            lambda: any("accounts/opaque" in line["target"] for line in told()) and told(),
            "the log has the page's requests",
        )
        # a preflight gets no permission, a websocket is malformed, everything else is cross-site
        assert all(l["verdict"] == "refused" for l in lines), lines
        assert {l["reason"] for l in lines} <= {"cross-site", "upgrade"}, lines


def test_a_form_post_and_a_frame_of_another_origin_are_refused(browser, site, tunnel):
    port, product, _ = tunnel
    site.pages["/form"] = (
        f'<form id=f method=post enctype=text/plain action="http://localhost:{port}/internal/v1/accounts/x">'
        "<input name='{\"data\":' value='{}}'></form>"
    )
    browser.get(f"http://{EVIL}:{site.port}/form")
    browser.execute_script("document.getElementById('f').submit()")
    kit.wait_until(lambda: "pages of another site" in browser.page_source, "the refusal is shown")
    site.pages["/frame"] = f'<iframe src="http://localhost:{port}/docs"></iframe>'
    browser.get(f"http://{EVIL}:{site.port}/frame")
    line = kit.wait_until(
        lambda: [l for l in log_of(product) if l.get("target") == "/docs"], "the frame was asked for"
    )[0]
    assert line["reason"] == "cross-site" and line["status"] == 403
    assert [l for l in log_of(product) if l.get("method") == "POST"][0]["reason"] == "cross-site"


def test_a_name_bound_anew_to_the_tunnel_is_refused(browser, site, tunnel):
    """DNS rebinding: to the browser all of it is one origin, so only Host tells."""
    port, product, _ = tunnel
    browser.get(f"http://{REBOUND}:{port}/docs")
    assert "does not answer for that Host" in browser.page_source
    got = browser.execute_async_script(
        "const done = arguments[0]; fetch('/internal/v1/health').then(r => r.status + ' ' + "
        "r.statusText).then(done, e => done('' + e))"
    )
    assert got.startswith("421"), got
    assert {l["reason"] for l in log_of(product) if "rebound" not in l.get("target", "")} == {"host-unknown"}


def test_a_link_from_a_wiki_to_the_docs_works(browser, site, tunnel):
    port, product, _ = tunnel
    site.pages["/wiki"] = f'<a id=docs href="http://localhost:{port}/docs">the API</a>'
    browser.get(f"http://{WIKI}:{site.port}/wiki")
    browser.find_element("id", "docs").click()
    kit.wait_until(lambda: browser.title == "Smpl Config - Swagger UI", "the page opens")
    kit.wait_until(
        lambda: browser.find_elements("css selector", ".opblock-summary-control"), "and shows its operations"
    )
    assert re.search(rf"http://localhost:{port}/docs", browser.current_url)
    status = browser.execute_async_script(
        "const done = arguments[0]; fetch('/internal/v1/health').then(r => done(r.status))"
    )
    assert status == 200


STORED = (
    "return JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage), document.cookie])"
)
HAS = """const all = window.ui.authSelectors.authorized().toJS();
return Object.fromEntries(Object.entries(all).map(([name, entry]) => [name, entry.value]))"""


def open_docs(browser, port):
    browser.get(f"http://localhost:{port}/docs")
    kit.wait_until(
        lambda: browser.find_elements("css selector", ".opblock-summary-control"), "the operations are shown"
    )


def type_keys(browser, **keys):
    """Authorize, as somebody does it: one form a scheme, found by the scheme's name."""
    browser.find_element("css selector", ".auth-wrapper .authorize").click()
    for scheme, key in keys.items():
        form = kit.wait_until(
            lambda: next(
                (
                    c
                    for c in browser.find_elements("css selector", ".auth-container")
                    if c.find_element("css selector", "h4").text.startswith(scheme)
                ),
                None,
            ),
            f"{scheme} is asked for",
        )
        form.find_element("css selector", "input").send_keys(key)
        form.find_element("css selector", "button.authorize").click()
    browser.find_element("css selector", ".btn-done").click()


def test_keys_typed_into_the_docs_are_kept_for_the_tab_alone(browser, tunnel):
    """http://localhost:PORT is whatever runs there next, and localStorage outlives it."""
    port, product, _ = tunnel
    keys = {"HTTPBearer": "sk_api_" + "a" * 36, "InternalKey": product.internal_key}
    open_docs(browser, port)
    # what a page of before has left behind goes away
    browser.execute_script("localStorage.setItem('authorized', JSON.stringify({HTTPBearer: {value: 'old'}}))")
    browser.refresh()
    kit.wait_until(
        lambda: browser.find_elements("css selector", ".auth-wrapper .authorize"), "the page is back"
    )
    assert browser.execute_script(HAS) == {} and browser.execute_script(STORED) == '[[],[],""]'
    type_keys(browser, **keys)
    assert browser.execute_script(HAS) == keys
    assert (
        browser.execute_script("return localStorage.length") == 0
        and browser.execute_script("return document.cookie") == ""
    )
    browser.refresh()
    kit.wait_until(
        lambda: browser.find_elements("css selector", ".opblock-summary-control"), "the page is back"
    )
    kit.wait_until(lambda: browser.execute_script(HAS) == keys, "a reload keeps them")
    assert browser.execute_script("return localStorage.length") == 0
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    open_docs(browser, port)
    assert browser.execute_script(HAS) == {} and browser.execute_script(STORED) == '[[],[],""]'
    browser.close()
    browser.switch_to.window(first)
    browser.find_element("css selector", ".auth-wrapper .authorize").click()
    for _ in keys:
        kit.wait_until(
            lambda: browser.find_elements("css selector", ".auth-container .btn"), "the keys are shown"
        )
        next(
            b for b in browser.find_elements("css selector", ".auth-container .btn") if b.text == "Logout"
        ).click()
    assert browser.execute_script(HAS) == {}
    browser.refresh()
    kit.wait_until(
        lambda: browser.find_elements("css selector", ".opblock-summary-control"), "the page is back"
    )
    assert browser.execute_script(HAS) == {}
