"""A web host without TLS that serves files from memory, counts who asks, and can be silent."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class FileHost:
    """Serves `files` by path on loopback; a path in `silent` is not answered until the end."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._over = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """Give the URL of a path."""
        return f"http://{host}:{self._server.server_port}{path}"

    def put(self, path: str, data: bytes) -> str:
        """Serve a file; gives its URL."""
        self.files[path] = data
        return self.url(path)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = request.path
        self.asked[path] += 1
        if path in self.silent:
            self._over.wait()
            return
        data = self.files.get(path)
        request.send_response(302 if path in self.moved else 404 if data is None else 200)
        if path in self.moved:
            request.send_header("Location", self.moved[path])
        request.send_header("Content-Length", str(len(data or b"")))
        request.end_headers()
        request.wfile.write(data or b"")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
