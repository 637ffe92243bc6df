"""Fetching weights from a server on this machine that misbehaves."""
import hashlib
import http.server
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from common.errors import UserError
from models import cards, fetch
from tests.conftest import begin, command, one_line

DATA = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
BLOB = hashlib.sha1(f"blob {len(DATA)}\0".encode() + DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves DATA; the path says what goes wrong, and the server counts requests and keeps their Range."""

    def do_GET(self):
        how, seen = self.path.strip("/").split("/")[0], self.server.seen
        seen.append((how, self.headers.get("Range")))
        if how == "gone" or how == "busy" and len(seen) < 3:
            return self.send_error(404 if how == "gone" else 503)
        data, tag, start = DATA, '"one"', 0
        if how == "wrong":
            data = DATA[:-1] + bytes([DATA[-1] ^ 1])
        if how == "changed" and len(seen) > 1:
            tag = '"two"'
        if how == "page":
            data = b"<html>sorry</html>"
        given = self.headers.get("Range")
        if given and how not in ("norange",) and self.headers.get("If-Range") == tag:
            start = int(given.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if how == "page" else "application/octet-stream")
        self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start + (how == 'shifted')}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        if how != "lengthless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if how in ("drops", "norange", "changed", "shifted") and len(seen) < 4:
            body = body[:90_000]  # and the connection ends
        if how == "stalls":
            self.wfile.write(body[:200_000])
            self.wfile.flush()
            time.sleep(60)
        self.wfile.write(body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.daemon_threads = [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.at = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


@pytest.fixture
def card(monkeypatch, tmp_path):
    """Make a card: how(urls) -> its name."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setattr(cards, "FOLDER", folder)

    def make(*urls, blob=BLOB, file="net.bin"):
        listed = ", ".join(f'"{url}"' for url in urls)
        (folder / "toy.md").write_text(
            f'+++\ntitle = "toy"\nnet = "deep"\nfile = "{file}"\nurls = [{listed}]\nsize = "0.3 MB"\nlicence = "none"\n'
            f'input = ""\nscored = ""\n' + (f'git_blob = "{blob}"\n' if blob else "") + "+++\nA toy.\n")
        return "toy"
    return make


@pytest.mark.parametrize("how, requests", [("well", 1), ("drops", 4), ("norange", 4), ("changed", 4), ("busy", 3), ("lengthless", 1)])
def test_it_comes_whole_whatever_the_server_does(server, card, tmp_path, how, requests):
    path = fetch.fetch(card(f"{server.at}/{how}"), out=tmp_path / "out", wait=0.01)
    assert path.read_bytes() == DATA and len(server.seen) == requests
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["net.bin"]
    if how == "drops":
        assert [given for _, given in server.seen] == [None, "bytes=90000-", "bytes=180000-", "bytes=270000-"]
    fetch.fetch("toy", out=tmp_path / "out")
    assert len(server.seen) == requests  # it is there already


def test_mirrors_are_tried_in_turn(server, card, tmp_path):
    name = card(*(f"{server.at}/{how}" for how in ("gone", "page", "wrong", "well")))
    assert fetch.fetch(name, out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert [how for how, _ in server.seen] == ["gone", "page", "wrong", "well"]


def test_when_nothing_helps_it_says_where_to_put_the_file(server, card, tmp_path):
    name = card(f"{server.at}/gone", f"{server.at}/wrong", f"{server.at}/page", "http://127.0.0.1:9/refused")
    with pytest.raises(UserError) as error:
        fetch.fetch(name, out=tmp_path / "out", wait=0.001)
    text = str(error.value)
    for said in ("answers 404", "is not the published file", "answers with a page", "Connection refused",
                 "python -m models.fetch toy --file path/to/net.bin", "put it at "):
        assert said in text, text
    assert "\n" not in text and list((tmp_path / "out").iterdir()) == []


def test_a_part_that_is_whole_is_not_asked_for_again(server, card, tmp_path, monkeypatch):
    """Interrupted between the last byte and the check."""
    def die(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, "_accept", die)
        fetch.fetch(card(f"{server.at}/well"), out=tmp_path / "out", wait=0.01)
    assert fetch.fetch("toy", out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert server.seen == [("well", None), ("well", "bytes=300000-")]


def test_a_full_disk_keeps_the_part_and_blames_no_source(server, card, tmp_path, monkeypatch):
    name = card(f"{server.at}/drops", f"{server.at}/well")
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_download", lambda url, part, wait: part.write_bytes(DATA))
        patch.setattr("shutil.disk_usage", lambda path: __import__("collections").namedtuple("usage", "free")(1000))
        with pytest.raises(UserError, match="free some space"):
            fetch.fetch(name, out=tmp_path / "out", wait=0.01)
    assert (tmp_path / "out/net.bin.part0").read_bytes() == DATA


def test_another_range_than_the_one_asked_for_is_not_taken(server, card, tmp_path):
    with pytest.raises(UserError, match="another part than the one asked for"):
        fetch.fetch(card(f"{server.at}/shifted"), out=tmp_path / "out", wait=0.01)


def test_a_file_put_in_its_place_by_hand_is_taken(card, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/net.bin").write_bytes(DATA)
    assert fetch.fetch(card("http://127.0.0.1:9/refused"), out=tmp_path / "out").read_bytes() == DATA


def test_a_file_got_by_other_means(card, tmp_path):
    (tmp_path / "mine").write_bytes(DATA)
    path = fetch.fetch(card("http://127.0.0.1:9/refused"), file=tmp_path / "mine", out=tmp_path / "out")
    assert path.read_bytes() == DATA and (tmp_path / "mine").is_file()
    (tmp_path / "mine").write_bytes(DATA[:-1])
    with pytest.raises(UserError, match="mine: is not the published file"):
        fetch.fetch("toy", file=tmp_path / "mine", out=tmp_path / "out2")
    with pytest.raises(UserError, match="nowhere: no such file"):
        fetch.fetch("toy", file=tmp_path / "nowhere", out=tmp_path / "out2")


def test_damage_of_what_is_there_is_noticed(server, card, tmp_path):
    path = fetch.fetch(card(f"{server.at}/well"), out=tmp_path / "out")
    path.write_bytes(DATA[:1000])
    with pytest.raises(UserError, match="is not the published file.*delete it"):
        fetch.fetch("toy", out=tmp_path / "out")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_it_goes_on_where_it_was(server, card, tmp_path, sent):
    name = card(f"{server.at}/stalls")
    code = ("import sys\nfrom pathlib import Path\nfrom common.errors import run\nfrom models import cards, fetch\n"
            "cards.FOLDER = Path(sys.argv[1])\nrun(lambda: fetch.fetch('toy', out=sys.argv[2]) and None)")
    process = begin("-c", code, cards.FOLDER, tmp_path / "out", stderr=subprocess.PIPE)
    part, until = tmp_path / "out/net.bin.part0", time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(sent)
    errors = process.communicate(timeout=30)[1]
    assert "Traceback" not in errors
    have = part.stat().st_size
    card(f"{server.at}/well")
    assert fetch.fetch(name, out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert server.seen[-1] == ("well", f"bytes={have}-")


def test_without_a_hash_layers_are_looked_at(server, card, tmp_path, deep_weights):
    shutil.copyfile(deep_weights, tmp_path / "right.caffemodel")
    name = card("http://127.0.0.1:9/refused", blob=None, file="net.caffemodel")
    assert fetch.fetch(name, file=tmp_path / "right.caffemodel", out=tmp_path / "out").is_file()
    (tmp_path / "wrong").write_bytes(DATA)
    with pytest.raises(UserError, match="wrong: cut off, or not a caffemodel"):
        fetch.fetch(name, file=tmp_path / "wrong", out=tmp_path / "out2")


def test_a_pickle_becomes_weights(server, card, tmp_path):
    import os
    import pickle

    class Bomb:
        def __reduce__(self):
            return os.system, ("touch bombed",)
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(Bomb(), 2))
    with pytest.raises(UserError, match="nothing of it was run"):
        fetch.fetch(card("http://127.0.0.1:9/refused", blob=None, file="net.pickle"), file=tmp_path / "net.pickle", out=tmp_path / "out")
    assert not (tmp_path / "out/weights.npz").exists()


def test_cards_and_their_table():
    for name in cards.names():
        found = cards.read_card(name)
        assert all(found[field] for field in cards.FIELDS) and found["text"]
    text = cards.README.read_text()
    assert cards.with_table(text) == text, "run python -m models.cards"
    assert cards.read_card("salnet-released")["git_blob"] == "428ea6a292ec6f3ff6f258e08d53f63aa6ceb45f"
    assert "there is no model 'vgg'; choose one of: juntingnet-isun" in one_line(command("models.fetch", "vgg"))
    assert "is not distributed; deep/README.md" in one_line(command("models.fetch", "osie-deep"))
    with pytest.raises(UserError, match="there is no model"):
        cards.read_card("../README")
