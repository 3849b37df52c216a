"""Hosts, sizes, rates and origins; and what beyond loopback needs tokens."""

import pytest

from app.http.guard import Rate
from app.http.serve import checked
from app.http.settings import Settings, Tokens, read_tokens
from atlas.errors import ConfigError


def test_a_server_answers_to_its_own_names_only(client):
    for host in ("localhost", "127.0.0.1:8502", "[::1]:8502"):
        assert client.get("/models", headers={"Host": host}).status_code == 200
    reply = client.get("/models", headers={"Host": "evil.example"})
    assert (reply.status_code, reply.json()["error"]["kind"]) == (421, "WrongHost")


def test_a_body_may_be_so_large_and_no_larger(serve):
    client = serve(body_bytes=100)
    headers = {"Content-Type": "application/json"}
    said = client.post("/sql", content=b"x" * 101, headers=headers)
    streamed = client.post("/sql", content=iter([b"x" * 60] * 2), headers=headers)
    for reply in (said, streamed):
        assert (reply.status_code, reply.json()["error"]["kind"]) == (413, "TooLarge")
    assert client.post("/sql", json={"query": "SELECT 1 AS a"}).status_code == 200


def test_a_client_that_asks_too_often_waits(serve):
    client = serve(per_minute=2)
    replies = [client.get("/models") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2].json()["error"]["kind"] == "TooMany"
    assert replies[2].headers["Retry-After"]


def test_the_rate_refills_steadily_and_per_client():
    now = [0.0]
    rate = Rate(60, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(61)] == [0.0] * 60 + [1.0]
    assert rate.wait("b") == 0.0
    now[0] = 1.0
    assert (rate.wait("a"), rate.wait("a")) == (0.0, 1.0)


def test_only_named_origins_may_read_in_a_browser(serve):
    client = serve(origins=("https://good.example",))
    good = client.get("/models", headers={"Origin": "https://good.example"})
    bad = client.get("/models", headers={"Origin": "https://bad.example"})
    assert good.headers["Access-Control-Allow-Origin"] == "https://good.example"
    assert "Access-Control-Allow-Origin" not in bad.headers


def test_beyond_loopback_writing_needs_tokens():
    with pytest.raises(ConfigError, match="everybody could write notes under any name"):
        checked("0.0.0.0", Settings())
    assert checked("0.0.0.0", Settings(read_only=True)).hosts == ("*",)
    assert checked("0.0.0.0", Settings(tokens=Tokens.of({"x": "Ann"}))).hosts == ("*",)
    assert checked("10.0.0.1", Settings(read_only=True, hosts=("a",))).hosts == ("a",)
    assert checked("127.0.0.1", Settings()) == Settings(prompts=True)
    assert checked("0.0.0.0", Settings(read_only=True)).prompts is False


def test_tokens_are_read_with_their_authors(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# writers\n\n0123456789abcdef Ann Example\nfedcba9876543210  Zoë\n")
    tokens = read_tokens(path)
    assert tokens.author("0123456789abcdef") == "Ann Example"
    assert tokens.author("fedcba9876543210") == "Zoë"
    assert tokens.author("0123456789abcdeF") is None
    assert "0123456789abcdef" not in repr(tokens)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names nobody"),
        ("0123456789abcdef\n", "line 1: no token and author"),
        ("# x\nshort Ann\n", "line 2: a token of 5 characters"),
        ("0123456789abcdef A\n0123456789abcdef B\n", "line 2: this token is there twice"),
        ("0123456789abcdëf A\n", "line 1: no token and author"),
    ],
)
def test_a_token_file_that_is_wrong_says_where(tmp_path, text, message):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_tokens(path)


def test_a_token_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(tmp_path / "none")
