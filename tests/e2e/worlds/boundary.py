# SPDX-License-Identifier: Apache-2.0
"""The attacks that every public front faces: raw requests to the service of smpl-app-echo, whose Host is
"h"."""

SECRET = b"this-must-never-leave"  # what /internal/v1/secret says

HIDDEN = b"GET /internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"


def get(target, headers=b"", version=b"HTTP/1.1"):
    return b"GET " + target + b" " + version + b"\r\nHost: h\r\n" + headers + b"\r\n"


def post(headers, body=b""):
    return b"POST /api/v1/echo HTTP/1.1\r\nHost: h\r\n" + JSON_TYPE + headers + b"\r\n" + body


def put(key, length, more=b""):
    header = b"" if key is None else b"Authorization: Bearer " + key.encode() + b"\r\n"
    return (
        b"PUT /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n"
        + JSON_TYPE
        + header
        + b"Content-Length: %d\r\n" % length
        + more
        + b"\r\n"
    )


# Well-formed, and outside every rule of a public front.
OUTSIDE = [
    get(t)
    for t in (
        b"/",
        b"/internal/v1/secret",
        b"/internal/v1/health",
        b"/internal",
        b"/docs",
        b"/openapi.json",
        b"/favicon.ico",
        b"/docs/swagger-ui.css",
        b"/api",
        b"/api/v1",
        b"/api/v1/",
        b"/API/V1/echo/x",
        b"/Internal/v1/secret",
        b"/api/v2/echo/x",
        b"/api/v1x/echo/x",
        b"/%61pi/v1/echo/x",
        b"/%69nternal/v1/secret",
        b"/internal/",
        b"http://h/internal/v1/secret",
        b"/api/v1/echo/x/",
        b"/internal/v1/secret?/api/v1/echo/x",
    )
] + [
    b"POST /internal/v1/echo HTTP/1.1\r\nHost: h\r\n" + JSON_TYPE + b"Content-Length: 2\r\n\r\n{}",
    b"PATCH /internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS /internal/v1/secret HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\n\r\n",
    get(b"/internal/v1/secret", b"X-Original-URL: /api/v1/echo/x\r\n"),
    get(b"/internal/v1/secret", b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\n"),
    b"GET /internal/v1/secret HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /internal/v1/secret HTTP/1.1\r\nHost: app.internal.smplkit.local\r\n\r\n",
    b"GET /internal/v1/secret HTTP/1.0\r\nHost: h\r\n\r\n",
]

# Within the rules, without a route there.
UNROUTED = [
    get(t)
    for t in (b"/api/v1/nothing", b"/api/v1/ech%6f/x", b"/api/v1/echo/x/y", b"/api/v1/internal/v1/secret")
]

ABSENT = OUTSIDE + UNROUTED

# To be read in two ways, or in none.
MALFORMED = [
    get(t)
    for t in (
        b"/api/v1/../internal/v1/secret",
        b"/api/v1/echo/../../../internal/v1/secret",
        b"/api/v1/%2e%2e/%2e%2e/internal/v1/secret",
        b"/api/v1/.%2e/x",
        b"/api/v1/%2E./x",
        b"/api/v1/..%2finternal",
        b"/api/v1/..%5cinternal",
        b"/api/v1/..\\internal",
        b"/api/v1/%252e%252e/x",
        b"/api/v1/%c0%ae%c0%ae/x",
        b"/api/v1/%e0%80%ae/x",
        b"/api/v1/%uff0e/x",
        b"/api/v1/..;/internal",
        b"/api/v1/echo;a=b/x",
        b"//internal/v1/secret",
        b"/api//v1/echo/x",
        b"/api/v1//internal/v1/secret",
        b"/./internal/v1/secret",
        b"/api/v1/echo/x%00",
        b"/api/v1/echo/x%0d%0aX:y",
        b"/api/v1/echo/x%7f",
        b"/api/v1/echo/%zz",
        b"/api/v1/echo/%",
        b"/api/v1/echo/%4",
        b"/api/v1/echo/x#/internal",
        b"/api/v1/echo/x%23",
        b"/api/v1/echo/x%3f",
        b"/api/v1/echo/\xc3\xa9",
        b"/api/v1/echo/a b",
        b"/api/v1/echo/\tx",
        b"*",
        b"http://g/api/v1/echo/x",
        b"https://h/api/v1/echo/x",
        b"http://h",
        b"//h/api/v1/echo/x",
        b"http://h@g/api/v1/echo/x",
        b"api/v1/echo/x",
        b"?/api/v1/echo/x",
        b"/api/v1/echo/x?a=%00",
        b"/api/v1/echo/x?a=\xff",
        b"/" + b"a" * 8192,
    )
] + [
    # request line
    b"GET /api/v1/echo/x\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/0.9\r\nHost: h\r\n\r\n",
    b"GET  /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /api/v1/echo/x  HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.1 \r\nHost: h\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/2.0\r\nHost: h\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.10\r\nHost: h\r\n\r\n",
    b"GET\t/api/v1/echo/x\tHTTP/1.1\r\nHost: h\r\n\r\n",
    b"get /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"\r\nGET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b" GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"TRACE /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
    b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    # line ends and folding
    b"GET /api/v1/echo/x HTTP/1.1\nHost: h\n\n",
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h\n\r\n",
    get(b"/api/v1/echo/x", b"X: a\rb\r\n"),
    get(b"/api/v1/echo/x", b"X: a\r\n b\r\n"),
    get(b"/api/v1/echo/x", b"X: a\r\n\tTransfer-Encoding: chunked\r\n"),
    b"GET /api/v1/echo/x HTTP/1.1\r\n Host: h\r\n\r\n",
    get(b"/api/v1/echo/x", b"X: a\x00b\r\n"),
    get(b"/api/v1/echo/x", b"X: a\x01b\r\n"),
    # names
    get(b"/api/v1/echo/x", b"X : a\r\n"),
    get(b"/api/v1/echo/x", b": a\r\n"),
    get(b"/api/v1/echo/x", b"X\r\n"),
    get(b"/api/v1/echo/x", b"X_Y: a\r\n"),
    get(b"/api/v1/echo/x", b"Upgrade: h2c\r\nConnection: Upgrade\r\n"),
    get(b"/api/v1/echo/x", b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n"),
    get(b"/api/v1/echo/x", b"X: a\r\n" * 100),
    get(b"/api/v1/echo/x", b"X: " + b"a" * 33000 + b"\r\n"),
    # Host
    b"GET /api/v1/echo/x HTTP/1.1\r\n\r\n",
    get(b"/api/v1/echo/x", b"Host: h\r\n"),
    get(b"/api/v1/echo/x", b"Host: g\r\n"),
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost:\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost: a b\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h:99999\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h/internal\r\n\r\n",
    b"GET /api/v1/echo/x HTTP/1.1\r\nHo-st: h\r\n\r\n",
    # framing: each with a second request where another reader might see one
    post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"5c\r\n" + HIDDEN),
    post(b"Transfer-Encoding: identity\r\n", HIDDEN),
    post(b"Transfer-Encoding: xchunked\r\n", HIDDEN),
    post(b"Transfer-Encoding:\r\n", HIDDEN),
    post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Transfer_Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"TransferEncoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"X: y\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 2\r\nContent-Length: 60\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 2, 2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: +2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 02\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 0x2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: -2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length:\r\n", HIDDEN),
    post(b"Content-Length: 2 2\r\n", b"{}" + HIDDEN),
    post(b"Content_Length: 2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length-: 2\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 99999999999999999999\r\n", b"{}" + HIDDEN),
    post(b"Content-Length: 2\r\nExpect: 200-ok\r\n", b"{}" + HIDDEN),
    get(b"/api/v1/echo/x", b"Content-Length: 47\r\n") + HIDDEN,
    get(b"/api/v1/echo/x", b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n" + HIDDEN,
    b"DELETE /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nContent-Length: 47\r\n\r\n" + HIDDEN,
    b"HEAD /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"[5:],
    b"POST /api/v1/echo HTTP/1.0\r\nHost: h\r\n" + JSON_TYPE + b"Content-Length: 2\r\n\r\n{}" + HIDDEN,
    b"\x00" * 64,
    b"GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\nX: \xff\x00\r\n\r\n",
]
