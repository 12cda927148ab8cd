"""What a file is, by its first bytes."""

from __future__ import annotations

import mimetypes

IMAGES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
NAMED = (
    (b"%PDF-", "a PDF. Use the shell: pdftotext FILE - (or a library) gives its text."),
    (b"PK\x03\x04", "a zip archive (jar, docx, xlsx and wheels are, too). Use the shell: unzip -l, or a library."),
    (b"\x1f\x8b", "compressed with gzip. Use the shell: zcat, or tar -tzf."),
    (b"\x7fELF", "a program for this machine. Use the shell: file, nm, strings."),
    (b"SQLite format 3\0", "an SQLite database. Use the shell: sqlite3, or Python's module of that name."),
    (b"\xff\xfe", "UTF-16 text. Use the shell: iconv -f UTF-16 -t UTF-8."),
    (b"\xfe\xff", "UTF-16 text. Use the shell: iconv -f UTF-16 -t UTF-8."),
)


def image(data: bytes) -> str | None:
    """The content type of an image that models can look at."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in IMAGES if data.startswith(begin)), None)


def binary(data: bytes) -> str | None:
    """What it is and what helps, if it is not text."""
    for begin, kind in NAMED:
        if data.startswith(begin):
            return kind
    if kind := image(data):
        return f"an image ({kind}): view shows it."
    return "a binary file. Use the shell: file, xxd." if b"\0" in data[:8000] else None


def content_type(name: str, data: bytes) -> str:
    return image(data) or mimetypes.guess_type(name)[0] or "application/octet-stream"
