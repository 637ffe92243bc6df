"""Fetch weights from a server on this machine that simulates faults."""
import errno
import hashlib
import http.server
import os
import pickle
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
    """Serve DATA with the fault that the path names; `server.requests` lists the faults and Range headers."""

    def do_GET(self):
        fault, requests = self.path.strip("/").split("/")[0], self.server.requests
        requests.append((fault, self.headers.get("Range")))
        if fault == "redirects":
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/redirects/"))
            return self.end_headers()
        if fault == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(DATA)
        if fault == "gone" or fault == "busy" and len(requests) < 3:
            return self.send_error(404 if fault == "gone" else 503)
        data, tag, start = DATA, '"one"', 0
        if fault == "wrong":
            data = DATA[:-1] + bytes([DATA[-1] ^ 1])
        if fault == "changed" and len(requests) > 1:
            tag = '"two"'
        if fault == "page":
            data = b"<html>sorry</html>"
        requested = self.headers.get("Range")
        if requested and fault != "norange" and self.headers.get("If-Range") == tag:
            start = int(requested.removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "text/html" if fault == "page" else "application/octet-stream")
        self.send_header("ETag", tag)
        if start:
            self.send_header("Content-Range", f"bytes {start + (fault == 'shifted')}-{len(data) - 1}/{len(data)}")
        body = data[start:]
        if fault != "lengthless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("drops", "norange", "changed", "shifted") and len(requests) < 4:
            body = body[:90_000]  # then the connection ends
        if fault == "stalls":
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
    server.requests, server.daemon_threads = [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


@pytest.fixture
def card(monkeypatch, tmp_path):
    """Return a function that writes a card with the given addresses and returns its name."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setattr(cards, "FOLDER", folder)

    def make(*urls, blob=BLOB, file="net.bin"):
        addresses = ", ".join(f'"{url}"' for url in urls)
        (folder / "toy.md").write_text(
            f'+++\ntitle = "toy"\nnet = "deep"\nfile = "{file}"\nurls = [{addresses}]\nsize = "0.3 MB"\nlicence = "none"\n'
            f'input = ""\nscored = ""\n' + (f'git_blob = "{blob}"\n' if blob else "") + "+++\nA toy.\n")
        return "toy"
    return make


@pytest.mark.parametrize("fault, requests", [("none", 1), ("drops", 4), ("norange", 4), ("changed", 4), ("busy", 3), ("lengthless", 1)])
def test_the_file_is_complete_whatever_the_server_does(server, card, tmp_path, fault, requests):
    path = fetch.fetch(card(f"{server.url}/{fault}"), out=tmp_path / "out", wait=0.01)
    assert path.read_bytes() == DATA and len(server.requests) == requests
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["net.bin"]
    if fault == "drops":
        assert [requested for _, requested in server.requests] == [None, "bytes=90000-", "bytes=180000-", "bytes=270000-"]
    fetch.fetch("toy", out=tmp_path / "out")
    assert len(server.requests) == requests  # no request: the file is present


def test_parts_left_by_a_kill_are_removed_at_the_next_start(server, card, tmp_path):
    path = fetch.fetch(card(f"{server.url}/none"), out=tmp_path / "out")
    for name in ("net.bin.part0", "net.bin.part1", "net.bin.part1.tag"):
        (path.parent / name).write_bytes(DATA)
    fetch.fetch("toy", out=tmp_path / "out")
    assert [file.name for file in path.parent.iterdir()] == ["net.bin"] and len(server.requests) == 1


def test_a_download_without_an_end_stops_at_the_limit(server, card, tmp_path, monkeypatch):
    monkeypatch.setenv("SALIENCY_DOWNLOAD_MB", "2")
    with pytest.raises(UserError, match="sends more than 2 MB; set SALIENCY_DOWNLOAD_MB to a higher limit"):
        fetch.fetch(card(f"{server.url}/endless"), out=tmp_path / "out", wait=0.01)
    assert list((tmp_path / "out").iterdir()) == []


def test_redirects_are_followed_but_not_to_a_weaker_protocol(server, card, tmp_path):
    name = card(f"{server.url}/redirects/ftp://127.0.0.1/x", f"{server.url}/redirects/file:///etc/passwd",
                f"{server.url}/redirects/{server.url}/none")
    assert fetch.fetch(name, out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert len(server.requests) == 4, "each redirect is requested once"
    redirect = fetch._SafeRedirects().redirect_request
    request = fetch.urllib.request.Request("https://a.org/x")
    assert redirect(request, None, 302, "", {}, "https://b.org/x").full_url == "https://b.org/x"
    for url in ("http://a.org/x", "HTTP://a.org/x", "ftp://a.org/x"):
        with pytest.raises(fetch.Unavailable, match="redirects from https to (http|ftp), which is not safe"):
            redirect(request, None, 302, "", {}, url)


def test_mirrors_are_tried_in_turn(server, card, tmp_path):
    name = card(*(f"{server.url}/{fault}" for fault in ("gone", "page", "wrong", "none")))
    assert fetch.fetch(name, out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert [fault for fault, _ in server.requests] == ["gone", "page", "wrong", "none"]


def test_the_error_names_where_to_put_the_file(server, card, tmp_path):
    name = card(f"{server.url}/gone", f"{server.url}/wrong", f"{server.url}/page", "http://127.0.0.1:9/closed")
    with pytest.raises(UserError) as error:
        fetch.fetch(name, out=tmp_path / "out", wait=0.001)
    text = str(error.value)
    for part in ("HTTP error 404", "is not the published file", "sends a web page", os.strerror(errno.ECONNREFUSED),
                 "python -m models.fetch toy --file path/to/net.bin", "put it at "):
        assert part in text, text
    assert "\n" not in text and list((tmp_path / "out").iterdir()) == []


def test_a_complete_part_is_not_downloaded_again(server, card, tmp_path, monkeypatch):
    """Stop between the last byte and the check."""
    def interrupt(*_):
        raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fetch, "_install", interrupt)
        fetch.fetch(card(f"{server.url}/none"), out=tmp_path / "out", wait=0.01)
    assert fetch.fetch("toy", out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert server.requests == [("none", None), ("none", "bytes=300000-")]


def test_a_full_disk_keeps_the_part_and_blames_no_source(server, card, tmp_path, monkeypatch):
    name = card(f"{server.url}/drops", f"{server.url}/none")
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_download", lambda url, part, wait: part.write_bytes(DATA))
        patch.setattr("shutil.disk_usage", lambda path: __import__("collections").namedtuple("usage", "free")(1000))
        with pytest.raises(UserError, match="free some space"):
            fetch.fetch(name, out=tmp_path / "out", wait=0.01)
    assert (tmp_path / "out/net.bin.part0").read_bytes() == DATA


@pytest.mark.parametrize("file, target, fault", [
    ("net.bin.part0", "/dev/full", "No space left on device; free some space"),
    ("net.bin.part0.tag", "/dev/full", "No space left on device; free some space"),
    ("net.bin.part0", "folder", "Is a directory; give a file"), ("net.bin.part0", "none/there", "No such file or directory"),
    ("net.bin.part0.tag", "folder", "Is a directory; give a file")])
def test_a_fault_of_the_disk_is_not_tried_again(server, card, tmp_path, file, target, fault):
    out = tmp_path / "out"
    (out / "folder").mkdir(parents=True)
    (out / file).symlink_to(target)
    with pytest.raises(UserError, match=f"{file}: {fault}") as raised:
        fetch.fetch(card(f"{server.url}/none", f"{server.url}/drops"), out=out, wait=0.01)
    assert len(server.requests) == 1 and "cannot be downloaded" not in str(raised.value)


@pytest.mark.parametrize("size", [1, 8000, 1 << 20])  # less and more than Python's buffer
def test_a_full_disk_is_an_error_for_blocks_of_any_size(size):
    with pytest.raises(UserError, match="^/dev/full: No space left on device; free some space"), \
            fetch._open_writer("/dev/full", "wb") as write:
        write(bytes(size))


def test_blocks_of_any_size_are_written_whole(tmp_path):
    with fetch._open_writer(tmp_path / "a", "wb") as write:
        for block in (b"a", b"", b"b" * 3_000_000):
            write(block)
    with fetch._open_writer(tmp_path / "a", "ab") as write:
        write(b"c")
    assert (tmp_path / "a").read_bytes() == b"a" + b"b" * 3_000_000 + b"c"


@pytest.mark.parametrize("tag", [b"\xff\xfe", b'"one"\r\nHost: other', b"", bytes(9)])
def test_a_damaged_tag_starts_the_download_again(server, card, tmp_path, tag):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/net.bin.part0").write_bytes(DATA[:1000])
    (tmp_path / "out/net.bin.part0.tag").write_bytes(tag)
    assert fetch.fetch(card(f"{server.url}/none"), out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert server.requests == [("none", None)]


def test_another_range_than_the_requested_one_is_an_error(server, card, tmp_path):
    with pytest.raises(UserError, match="another range of bytes than the requested one"):
        fetch.fetch(card(f"{server.url}/shifted"), out=tmp_path / "out", wait=0.01)


def test_a_file_put_in_its_place_by_hand_is_used(card, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/net.bin").write_bytes(DATA)
    assert fetch.fetch(card("http://127.0.0.1:9/closed"), out=tmp_path / "out").read_bytes() == DATA


def test_a_file_can_be_imported(card, tmp_path):
    (tmp_path / "mine").write_bytes(DATA)
    path = fetch.fetch(card("http://127.0.0.1:9/closed"), file=tmp_path / "mine", out=tmp_path / "out")
    assert path.read_bytes() == DATA and (tmp_path / "mine").is_file()
    (tmp_path / "mine").write_bytes(DATA[:-1])
    with pytest.raises(UserError, match="mine: is not the published file"):
        fetch.fetch("toy", file=tmp_path / "mine", out=tmp_path / "out2")
    with pytest.raises(UserError, match="nowhere: no such file"):
        fetch.fetch("toy", file=tmp_path / "nowhere", out=tmp_path / "out2")


def test_damage_of_a_file_in_place_is_an_error(server, card, tmp_path):
    path = fetch.fetch(card(f"{server.url}/none"), out=tmp_path / "out")
    path.write_bytes(DATA[:1000])
    with pytest.raises(UserError, match="is not the published file.*delete it"):
        fetch.fetch("toy", out=tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_resumes(server, card, tmp_path, number):
    name = card(f"{server.url}/stalls")
    code = ("import sys\nfrom pathlib import Path\nfrom common.errors import run\nfrom models import cards, fetch\n"
            "cards.FOLDER = Path(sys.argv[1])\nrun(lambda: fetch.fetch('toy', out=sys.argv[2]) and None)")
    process = begin("-c", code, cards.FOLDER, tmp_path / "out", stderr=subprocess.PIPE)
    part, until = tmp_path / "out/net.bin.part0", time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert "Traceback" not in errors
    size = part.stat().st_size
    card(f"{server.url}/none")
    assert fetch.fetch(name, out=tmp_path / "out", wait=0.01).read_bytes() == DATA
    assert server.requests[-1] == ("none", f"bytes={size}-")


def test_without_a_hash_the_layers_are_checked(server, card, tmp_path, deep_weights):
    shutil.copyfile(deep_weights, tmp_path / "right.caffemodel")
    name = card("http://127.0.0.1:9/closed", blob=None, file="net.caffemodel")
    assert fetch.fetch(name, file=tmp_path / "right.caffemodel", out=tmp_path / "out").is_file()
    (tmp_path / "wrong").write_bytes(DATA)
    with pytest.raises(UserError, match="wrong: cut off, or not a caffemodel"):
        fetch.fetch(name, file=tmp_path / "wrong", out=tmp_path / "out2")


def test_a_pickle_becomes_weights(server, card, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, ("touch bombed",)
    (tmp_path / "net.pickle").write_bytes(pickle.dumps(Bomb(), 2))
    with pytest.raises(UserError, match="nothing in it was executed"):
        fetch.fetch(card("http://127.0.0.1:9/closed", blob=None, file="net.pickle"), file=tmp_path / "net.pickle", out=tmp_path / "out")
    assert not (tmp_path / "out/weights.npz").exists()


def test_cards_are_complete_and_the_readme_has_their_table():
    for name in cards.model_names():
        card = cards.read_card(name)
        assert all(card[field] for field in cards.FIELDS) and card["text"]
    text = cards.README.read_text()
    assert cards.replace_table(text) == text, "run python -m models.cards"
    assert cards.read_card("salnet-released")["git_blob"] == "428ea6a292ec6f3ff6f258e08d53f63aa6ceb45f"
    assert "there is no model 'vgg'; choose one of: juntingnet-isun" in one_line(command("models.fetch", "vgg"))
    assert "is not distributed; deep/README.md" in one_line(command("models.fetch", "osie-deep"))
    with pytest.raises(UserError, match="there is no model"):
        cards.read_card("../README")
