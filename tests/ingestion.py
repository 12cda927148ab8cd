"""Where Azure Monitor's exporter sends: Application Insights, as far as it takes what comes."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightshift.telemetry import CONNECTION

Envelope = dict[str, Any]


@dataclass
class Ingestion:
    url: str
    came: list[Envelope] = field(default_factory=list[Envelope])

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to send here."""
        key = "00000000-0000-0000-0000-000000000001"
        return {CONNECTION: f"InstrumentationKey={key};IngestionEndpoint={self.url}"}

    @property
    def spans(self) -> list[Envelope]:
        return [each for each in self.came if each["data"]["baseType"] == "RemoteDependencyData"]


@contextmanager
def ingestion() -> Generator[Ingestion]:
    came: list[Envelope] = []

    class Track(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            entries: list[Envelope] = json.loads(body)
            came.extend(entries)
            answer = json.dumps({"itemsReceived": len(entries), "itemsAccepted": len(entries), "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Track)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield Ingestion(f"http://127.0.0.1:{server.server_port}/", came)
    finally:
        server.shutdown()
        server.server_close()
