"""A server on this machine that breaks off, shortens and refuses as it is told."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import huggingface_hub
from huggingface_hub import constants


class Handler(BaseHTTPRequestHandler):
    """Serves one content in the way that ``server.manner`` says."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        manner, span = self.server.manner, self.headers.get("Range")
        self.server.asked.append((self.command, span))
        self.server.packed.add(self.headers.get("Accept-Encoding"))
        status = manner.head_status if self.command == "HEAD" else manner.status
        content, end = manner.content, len(manner.content)
        start = 0
        if span and manner.ranges:
            first, last = span.removeprefix("bytes=").split("-")
            start, end = int(first), int(last or end - 1) + 1
        if status >= 400 or start > 0 and start >= len(content):
            status, content = max(status, 416) if status < 400 else status, b""
        elif span and manner.ranges:
            status = 206
        self.send_response(status)
        self.send_header("Content-Type", manner.kind)
        self.send_header("ETag", manner.tag)
        if status == 206:
            whole = len(content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{whole}")
        told = content[start:end]
        if body and manner.shorten:
            told = told[: manner.shorten]
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        if body and status < 400:
            self.send_some(told)

    def send_some(self, told):
        manner = self.server.manner
        if manner.cut is None:
            self.wfile.write(told)
        else:
            self.wfile.write(told[: manner.cut])
            manner.cut = manner.next_cut

    def log_message(self, *_):
        pass


@contextmanager
def serving(content, monkeypatch):
    """A running server: its ``url``, its ``manner`` and what was ``asked`` of it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # What is torn is kept but for the last block, which is 10 MB else.
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    huggingface_hub.close_session()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.packed = [], set()
    server.manner = SimpleNamespace(
        content=content,
        ranges=True,
        status=200,
        head_status=200,
        kind="application/zip",
        tag='"one"',
        shorten=0,
        cut=None,
        next_cut=None,
    )
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def one_line(raised):
    """What an error says, which is one line."""
    assert "\n" not in str(raised.value)
    return str(raised.value)
