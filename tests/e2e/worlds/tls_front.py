# SPDX-License-Identifier: Apache-2.0
"""The echoing program with a listener that speaks TLS."""

import socket
import ssl

import kit
from echo_front import CLIENT, ECHO, INTERNAL, PUBLIC

NAME = "config.smplkit.test"


def certificate(work, name="server", subject=NAME, kind="ec", days=30):
    """A self-signed certificate and its key; returns their paths."""
    cert, key = work / f"{name}.pem", work / f"{name}.key"
    algorithm = {
        "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "rsa": ["-newkey", "rsa:2048"],
    }[kind]
    done = kit.run(
        kit.tool("openssl"),
        "req",
        "-x509",
        *algorithm,
        "-nodes",
        "-days",
        days,
        "-subj",
        f"/CN={subject}",
        "-addext",
        f"subjectAltName=DNS:{subject}",
        "-keyout",
        key,
        "-out",
        cert,
    )
    assert done.returncode == 0, done.stderr
    key.chmod(0o600)
    return cert, key


def settings(port, tls="{certificate: server.pem, key: server.key}", extra=""):
    return (
        "service: accounts\nlisteners:\n"
        f'  - {{name: public, address: "{PUBLIC}:{port}", rules: ["/api/v1/*"], tls: {tls}}}\n'
        f'  - {{name: internal, address: "{INTERNAL}:{port}", rules: ["/*"], clients: [127.44.0.0/16],\n'
        f"     hosts: [{NAME}], tls: {tls}}}\n"
        f"database: echo.db\n{extra}"
    )


class Front:
    def __init__(self, work, spawn, extra="", kind="ec"):
        self.work, self.port = work, kit.free_port(PUBLIC, INTERNAL)
        certificate(work, kind=kind)
        self.file = work / "echo.yaml"
        self.file.write_text(settings(self.port, extra=extra))
        self.program = spawn(ECHO, "-c", self.file).wait_ready()

    def tcp(self, address=PUBLIC, timeout=kit.PATIENCE):
        return socket.create_connection((address, self.port), timeout=timeout, source_address=(CLIENT, 0))

    def connect(self, address=PUBLIC, **kw):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(kw.pop("ca", self.work / "server.pem"))
        context.check_hostname = kw.pop("check", True)
        for name, value in kw.items():
            getattr(context, name)(value) if callable(getattr(context, name)) else setattr(
                context, name, value
            )
        return context.wrap_socket(self.tcp(address), server_hostname=NAME, suppress_ragged_eofs=False)

    def raw(self, data, address=PUBLIC):
        """Sends bytes, returns what comes until the front says that this was all."""
        with self.connect(address) as s:
            try:
                s.sendall(data)
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                pass
            return recv_all(s)


def recv_all(s):
    parts = []
    while part := s.recv(65536):  # an end without close_notify raises
        parts.append(part)
    return b"".join(parts)


LAST = b"Connection: close\r\n"
