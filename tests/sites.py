"""A real https server on this machine, and what can go wrong with one."""

import hashlib
import http.server
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Site:
    """What is served, and what is wrong with it.

    Faults of a path: cut (half of the content, then the end), silent (half, then nothing more), no size, no tag.
    """

    url: str

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        """Path and range of each request."""

    def serve(self, folder: Path, name: str) -> str:
        """Serve the files of a folder; return its address."""
        self.files |= {f"/{name}/{path.name}": path.read_bytes() for path in folder.iterdir() if path.is_file()}
        return f"{self.url}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self):
        site, asked = self.site, self.headers.get("Range")
        site.asked.append((self.path, asked))
        if self.path not in site.files:
            self.send_error(404)
            return
        content, fault = site.files[self.path], site.faults.get(self.path)
        tag, start = f'"{hashlib.sha256(content).hexdigest()[:16]}"', 0
        if asked and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if fault != "no tag":
            self.send_header("ETag", tag)
        if fault != "no size":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + (len(content) - start) // 2 if fault in ("cut", "silent", "no tag") else len(content)
        self.wfile.write(content[start:end])
        if fault == "silent":
            time.sleep(2)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Print what goes wrong, except of clients that were killed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_certificate(folder: Path) -> Path:
    """Write a key and a certificate of localhost into one file."""
    path = folder / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", path, "-out", folder / "public.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (folder / "public.pem").read_bytes())
    return path


@contextmanager
def start_site(certificate: Path) -> Iterator[Site]:
    """Serve on a free port; whoever trusts the certificate can ask."""
    site = Site()
    server = Server(("localhost", 0), type("SiteHandler", (Handler,), {"site": site}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site.url = f"https://localhost:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()
