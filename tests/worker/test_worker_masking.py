"""Secrets in all the forms that tools print, in pieces and in files; and what only looks like one."""

from __future__ import annotations

import base64
import json
import subprocess
import uuid
from hashlib import sha256, sha512
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.masking import HIDDEN, Secrets
from worker.tools import text as tool_text

SECRET = 'p+/ss "wörd\\ with_many-kinds/of=letters'
PLAIN = "known_0123456789abcdefghijklmnop"


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        json.dumps(SECRET)[1:-1],
        json.dumps({"key": SECRET}, ensure_ascii=False),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").replace("%2F", "%2f"),
        SECRET.encode().hex(),
        SECRET.encode().hex(" ").upper(),
        *(base64_of("x" * before + SECRET + "y" * after) for before in range(3) for after in range(3)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        "\n".join(base64_of(f"user:{SECRET}")[at : at + 19] for at in range(0, 60, 19)),
    ],
)
def test_a_known_secret_is_found_in_every_form(shown: str) -> None:
    secrets = Secrets(SECRET)
    masked = secrets.mask(f"before {shown} after")
    assert HIDDEN in masked
    letters = base64_of(SECRET)[6:-6]
    assert not any(part in masked.replace("\n", "") for part in ("wörd", "many-kinds", letters, quote(SECRET, safe="")))
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    stream = secrets.stream()
    bytewise = f"before {shown} after".encode().decode("latin-1")  # as the output of processes comes
    assert HIDDEN in (streamed := stream.feed(bytewise) + stream.close())
    assert "kinds" not in streamed


# Put together here, so that no scanner takes this file for a leak.
LETTERS = "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3" * 4
SHAPES = [
    "ghp_" + LETTERS[:36],
    "ghs_" + LETTERS[:36],
    "github_pat_" + LETTERS[:22] + "_" + LETTERS[:59],
    "AKIA" + "QWERTYUIOPASDFGH",
    "xoxb-" + "123456789012-1234567890123-" + LETTERS[:24],
    "sk-proj-" + LETTERS[:80],
    "ey" + "J" + LETTERS[:30] + ".ey" + "J" + LETTERS[:60] + "." + LETTERS[:43],
    "-----BEGIN RSA PRIVATE" + " KEY-----\n" + "\n".join([LETTERS[:64]] * 20) + "\n-----END RSA PRIVATE" + " KEY-----",
]
VALUES = [
    ("aws_secret_access_key = {}", LETTERS[:40]),
    ('"SecretAccessKey": "{}"', LETTERS[:40]),
    ("AccountName=a;AccountKey={};EndpointSuffix=core.windows.net", LETTERS[:86] + "=="),
    ("Endpoint=sb://x/;SharedAccessKey={}", LETTERS[:43] + "="),
    ("https://a.blob.core.windows.net/c?sv=2024-11-04&sr=c&sig={}&se=2026", LETTERS[:43] + "%3D"),
]


@pytest.mark.parametrize("token", SHAPES)
def test_credentials_are_known_by_their_shape(token: str) -> None:
    for around in ("{}", "token={}\n", '"{}"', "https://x:{}@host/", "Bearer {}\r\n"):
        assert Secrets().mask(around.format(token), found=True) == around.format(HIDDEN)
    assert Secrets().mask(token) == token, "the model's own words stay"


@pytest.mark.parametrize(("around", "value"), VALUES)
def test_a_value_is_known_by_its_name(around: str, value: str) -> None:
    assert Secrets().mask(around.format(value), found=True) == around.format(HIDDEN)


def test_what_git_and_package_managers_print_stays(tmp_path: Path) -> None:
    digest = sha512(b"x").digest()
    innocent = {
        "package-lock.json": json.dumps({"integrity": f"sha512-{base64.b64encode(digest).decode()}"}),
        "uuids.txt": "\n".join(str(uuid.uuid5(uuid.NAMESPACE_DNS, str(n))) for n in range(100)),
        "hashes.txt": "\n".join(sha256(str(n).encode()).hexdigest() for n in range(300)),
        "base64.txt": "\n".join(base64_of(sha512(str(n).encode()).hexdigest()) for n in range(100)),
        "code.py": "AKIA = 'AKIA'\nghp_ = sk-learn\nsig=None\nkey = AKIAIOSFODNN7EXAMPLE",
        "names.css": ".task-list-of-everything-that-is-long-enough-to-be-a-key-of-somebody { }",
        "cert.pem": "-----BEGIN CERTIFICATE-----\n" + LETTERS + "\n-----END CERTIFICATE-----",
        "id.pub": "ssh-ed25519 " + LETTERS[:68] + " me@host",
    }
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    for name, content in innocent.items():
        (tmp_path / name).write_text(content)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", f"Add {name}"], check=True)
    shown = subprocess.run(
        [*git, "log", "-p", "--raw", "--no-abbrev"], check=True, capture_output=True, text=True
    ).stdout
    assert len(shown) > 30_000
    assert Secrets(PLAIN).mask(shown, found=True) == shown


TEXTS = st.lists(st.sampled_from([PLAIN, SHAPES[0], SHAPES[-1], base64_of("ab" + PLAIN), " ", "\n", "word", "gh", "é"]))


@given(TEXTS, st.lists(st.integers(1, 60), min_size=1))
def test_no_boundary_of_pieces_lets_a_secret_through(parts: list[str], sizes: list[int]) -> None:
    secrets = Secrets(PLAIN)
    text, stream = "".join(parts), secrets.stream()
    shown, at, turn = "", 0, 0
    while at < len(text):
        size = sizes[turn % len(sizes)]
        shown += stream.feed(text[at : at + size])
        at, turn = at + size, turn + 1
    assert shown + stream.close() == secrets.mask(text, found=True)


def test_long_output_has_no_gap_between_its_pieces() -> None:
    text = "\n".join(f"{'x' * (n % 37)} {PLAIN if n % 3 else SHAPES[-1]}" for n in range(600))
    stream = Secrets(PLAIN).stream()
    content = "".join(stream.feed(text[at : at + 1000]) for at in range(0, len(text), 1000)) + stream.close()
    assert PLAIN not in content
    assert LETTERS[:20] not in content
    assert content.count(HIDDEN) == 600


def test_what_others_encrypted_is_passed_on_as_it_is() -> None:
    raw = {"type": "reasoning", "encrypted_content": SHAPES[0], "summary": [SHAPES[0]]}
    assert Secrets().mask(raw, found=True) == {**raw, "summary": [HIDDEN]}


@pytest.mark.parametrize("before", range(0, 60, 7))
def test_long_output_is_not_cut_inside_a_word(before: int) -> None:
    text = "a " * 30 + "b" * before + f" {PLAIN} " + "c " * 200
    assert PLAIN in text
    cut = tool_text.cut(text, "look", 130)
    assert len(cut) < 200
    assert not any(part in cut.replace(PLAIN, "") for part in (PLAIN[:8], PLAIN[-8:]))
