"""python -m models.fetch NAME: download the weights of a model, or import them from a file.

A download resumes where it stopped, mirrors are tried in turn, and the file is verified: by its hash if one is
published, by its layers otherwise. Pickles of the shallow net are converted to weights.npz without executing anything
in them.
"""
import contextlib
import glob
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from common.arguments import Parser
from common.errors import UserError, WrongFile, os_error_message, run
from common.files import atomic, need_space
from common.limits import limit
from common.progress import progress
from deep.prototxt import DEPLOY
from deep.weights import check_weights, net_shapes, read_caffemodel
from models.cards import model_names, read_card

STORE = Path("build/models")
TRIES = 5  # requests to one source in a row that bring no byte
WAIT = 1.0  # seconds before the next request, doubled each time
TIMEOUT = 60  # seconds without data
CHUNK = 1 << 20
RAW = "application/vnd.github.raw, */*"  # with it, GitHub sends the content of a blob instead of its description


def main():
    """Parse the command line and fetch."""
    parser = Parser("models.fetch", __doc__)
    parser.add_argument("name", help=f"one of: {', '.join(model_names())}")
    parser.add_argument("--file", help="import this file instead of downloading")
    parser.add_argument("--allow", action="append", default=[], metavar="MODULE.NAME",
                        help="accept this name in a pickle; nothing in it is ever executed")
    parser.add_argument("--out", help=f"folder to write to (default: {STORE}/NAME)")
    args = parser.parse_args()
    path = fetch(args.name, args.file, args.out, args.allow)
    net = read_card(args.name)["net"]
    if net == "none":
        print(f"{path}\nnext: make train-deep VGG={path}")
    else:
        print(f"{path}\nnext: make predict NET={net} WEIGHTS={path} IMAGES=file-or-folder OUT=maps")


def fetch(name, file=None, out=None, allow=(), wait=WAIT):
    """Download or import the weights of a model.

    Parameters
    ----------
    name : str
        Of a card in models/cards.
    file : path or None
        Import this file instead of downloading.
    out : path of a folder, or None for build/models/NAME
    allow : collection of str
        Names in a pickle to accept, see `models.released.pickled.read_pickle`.
    wait : float
        Seconds before a source that failed is tried again, doubled each time.

    Returns
    -------
    Path
        The weights, for a Predictor or `--vgg`: the file itself, or the weights.npz that a pickle was converted to.

    Raises
    ------
    UserError
        There is no such model, no source sent the file, or the file is another one. A partial download remains, and
        the next call resumes it.
    """
    card = read_card(name)
    if "urls" not in card:
        raise UserError(f"{name} is not distributed; {card['make']} makes it")
    folder = Path(out or STORE / name)
    path = folder / card["file"]
    weights = path.with_name("weights.npz") if path.suffix == ".pickle" else path
    if weights.is_file() and file is None:
        if weights == path:
            _verify(path, card)
        _remove_parts(path)  # of a download that was killed after it had installed the file
        return weights
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    if file is None and path.is_file():
        file = path  # the user has put it there
    if file is None:
        _download_from_mirrors(name, path, weights, card, allow, wait)
    elif Path(file).is_file():
        _install(Path(file), path, weights, card, allow)
    else:
        raise UserError(f"{file}: no such file; check the path")
    return weights


def _download_from_mirrors(name, path, weights, card, allow, wait):
    """Download a file from the first source that sends the right one, and install it; UserError if none does."""
    problems = []
    for index, url in enumerate(card["urls"]):
        part = path.with_name(f"{path.name}.part{index}")  # one per source, since their files may differ
        try:
            _download(url, part, wait)
            _install(part, path, weights, card, allow)
            _remove_parts(path)
            return
        except Unavailable as error:
            problems.append(f"{url}: {error}")
        except WrongFile as error:
            problems.append(f"{url}: {error}")
            if path.suffix != ".pickle":  # --allow may accept a pickle later; do not download gigabytes again
                _remove(part)
    raise UserError(f"{name}: cannot be downloaded ({'; '.join(problems)}); get {card['file']} in another way and put "
                    f"it at {path}, or run: python -m models.fetch {name} --file path/to/{card['file']}")


def _remove_parts(path):
    """Remove the partial downloads of a file from all sources."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.part*"):
        part.unlink()


def _remove(part):
    """Remove a partial download and its tag, which identifies the file it is part of."""
    for path in (part, _tag(part)):
        path.unlink(missing_ok=True)


def _tag(part):
    return part.with_name(f"{part.name}.tag")


class Unavailable(Exception):
    """A source does not send the file, or no more of it."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but not from https to a protocol that anyone on the way can change."""

    def redirect_request(self, request, file, code, message, headers, url):
        old, new = request.type, url.partition(":")[0].lower()
        if new not in ("https", "http" if old == "http" else "https"):
            raise Unavailable(f"redirects from {old} to {new}, which is not safe")
        return super().redirect_request(request, file, code, message, headers, url)


def _download(url, part, wait):
    """Download `part` to its full length, starting from the bytes it already has; Unavailable if that fails."""
    failures, delay, longest = 0, wait, _length(part)
    while True:
        try:
            if _transfer(url, part):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            reason = f"HTTP error {error.code} {error.reason}"
            if error.code == 416:  # no bytes beyond those: the part is complete, or of another file
                if error.headers.get("Content-Range", "").endswith(f"/{_length(part)}"):
                    return
                _remove(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise Unavailable(reason) from error
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        grown = _length(part) > longest
        longest = max(longest, _length(part))
        failures = 0 if grown else failures + 1
        if failures >= TRIES:
            raise Unavailable(reason)
        delay = wait if grown else 2 * delay
        time.sleep(delay)


def _length(part):
    return part.stat().st_size if part.is_file() else 0


def _transfer(url, part):
    """Try once to download the rest of a file, and append it to `part`.

    Returns
    -------
    bool
        True if the file is complete.

    Raises
    ------
    UserError
        `part` cannot be written.
    Unavailable
        The source sent something else.
    """
    tag, largest = _tag(part), limit("SALIENCY_DOWNLOAD_MB")
    size = _length(part) if (version := _read_tag(tag)) else 0
    headers = {"User-Agent": "saliency-2016", "Accept": RAW}
    if size:
        headers.update({"Range": f"bytes={size}-", "If-Range": version})  # the rest, if the file is the same
    opener = urllib.request.build_opener(_SafeRedirects)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        resumed = _check_response(response, size)
        size = size if resumed else 0
        length = response.headers.get("Content-Length", "")
        total = size + int(length) if length.isdecimal() else None
        if (total or 0) > largest << 20:
            raise Unavailable(f"has {total >> 20} MB, more than the limit; set SALIENCY_DOWNLOAD_MB to a higher one")
        with _local(part):
            need_space(part.parent, (total or size) - size)
        with _open_writer(part, "ab" if resumed else "wb") as write, \
                progress(total=total, initial=size, description=part.stem, unit="B") as bar:
            if not resumed:
                with _local(tag):
                    tag.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or '"none"')
            while block := response.read1(CHUNK):  # bytes that have arrived, without waiting for a full chunk
                write(block)
                size += len(block)
                bar.update(len(block))
                if size > largest << 20:
                    break
    if size > largest << 20:
        _remove(part)
        raise Unavailable(f"sends more than {largest} MB; set SALIENCY_DOWNLOAD_MB to a higher limit")
    return total is None or size >= total


def _check_response(response, size):
    """Return True if a response continues a file after `size` bytes, False if it sends the whole file."""
    if response.headers.get_content_type() == "text/html":
        raise Unavailable("sends a web page instead of the file")
    if response.status != 206:
        return False
    if not response.headers.get("Content-Range", "").startswith(f"bytes {size}-"):
        raise Unavailable("sends another range of bytes than the requested one")
    return True


@contextlib.contextmanager
def _open_writer(path, mode):
    """Give a function that writes bytes to a file; an error of the disk is a UserError, not the source's fault."""
    with _local(path):
        # unbuffered: closing a file would try to write the rest of a buffer again, outside `_local`
        file = open(path, mode, buffering=0)  # noqa: SIM115  closed below; errors inside that `with` can be the source's

    def write(block):
        rest = memoryview(block)
        with _local(path):
            while rest:
                rest = rest[file.write(rest):]

    with file:
        yield write


@contextlib.contextmanager
def _local(path):
    """Raise a UserError for an OSError of a file on this disk: another try of the source would not help."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise UserError(os_error_message(error)) from error


def _read_tag(tag):
    """Return what identifies the file that a partial download is part of; None if there is none, or it is damaged."""
    if not tag.is_file():
        return None
    with _local(tag):
        text = tag.read_text(errors="replace")
    return text if text and text.isascii() and text.isprintable() else None


def _install(source, path, weights, card, allow):
    """Verify the file `source` and copy it to `path`, or convert it to `weights` if it is a pickle."""
    if path.suffix == ".pickle":
        from models.released.shallow import convert

        convert(source, weights, allow)
        return
    _verify(source, card)
    if source != path:
        need_space(path.parent, source.stat().st_size)
        with atomic(path) as scratch:
            shutil.copyfile(source, scratch)


def _verify(path, card):
    """Raise WrongFile unless a file is that of its card: by its hash if the card has one, by its layers otherwise."""
    if "git_blob" in card:
        blob = git_blob(path)
        if blob != card["git_blob"]:
            raise WrongFile(f"{path}: is not the published file (git blob {blob[:12]}..., not "
                            f"{card['git_blob'][:12]}...); delete it and fetch it again")
    elif card["file"].endswith(".caffemodel"):
        from deep.surgery import read_vgg

        try:
            if card["net"] == "deep":
                check_weights(read_caffemodel(path), net_shapes(DEPLOY), path)
            else:
                read_vgg(path)
        except UserError as error:
            raise WrongFile(str(error)) from error


def git_blob(path):
    """Compute git's id of a file: SHA-1 of "blob ", its size in bytes, a zero byte and its bytes."""
    digest = hashlib.sha1(f"blob {Path(path).stat().st_size}\0".encode())
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
