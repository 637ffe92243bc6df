"""python -m models.fetch NAME: a model's weights, from the net or from a file that you have.

Downloads resume where they stopped, mirrors are tried in turn, and what came is verified: by the hash where one is
published, by its layers otherwise. Pickles of the shallow net become weights.npz, without running anything of them.
"""
import argparse
import contextlib
import glob
import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

from common.errors import UserError, WrongFile, os_error_message, run
from models.cards import names, read_card

STORE = Path("build/models")
TRIES = 5  # a source is asked so often without a byte of progress
WAIT = 1.0  # seconds before it is asked again, doubled each time
TIMEOUT = 60  # seconds without an answer
CHUNK = 1 << 20
RAW = "application/vnd.github.raw, */*"  # GitHub gives a blob itself for it, and not a description


def main():
    """Parse the command line and fetch."""
    parser = argparse.ArgumentParser(prog="python -m models.fetch", description=__doc__.split("\n\n")[0],
                                     epilog=__doc__.split("\n\n", 1)[1])
    parser.add_argument("name", help=f"one of: {', '.join(names())}")
    parser.add_argument("--file", help="take this file instead of downloading, got by other means")
    parser.add_argument("--allow", action="append", default=[], metavar="MODULE.NAME",
                        help="a name in a pickle that is no reason to refuse it (nothing of it is run, ever)")
    parser.add_argument("--out", help=f"folder to put it in (default: {STORE}/NAME)")
    args = parser.parse_args()
    path = fetch(args.name, args.file, args.out, args.allow)
    net = read_card(args.name)["net"]
    if net == "none":
        print(f"{path}\nnext: make train-deep VGG={path}")
    else:
        print(f"{path}\nnext: make predict NET={net} WEIGHTS={path} IMAGES=picture-or-folder OUT=maps")


def fetch(name, file=None, out=None, allow=(), wait=WAIT):
    """Have a model's weights on this disk.

    Parameters
    ----------
    name : str
        Of a card in models/cards.
    file : path or None
        A file to take instead of downloading.
    out : path of a folder, or None for build/models/NAME
    allow : collection of str
        Names in a pickle that are no reason to refuse it, see `models.released.pickled.read_pickle`.
    wait : float
        Seconds before a source that failed is asked again, doubled each time.

    Returns
    -------
    Path
        What a Predictor, or `--vgg`, takes: the file itself, or the weights.npz made of a pickle.

    Raises
    ------
    UserError
        There is no such model, no source gave it, or what came is something else. A part stays for the next try.
    """
    card = read_card(name)
    if "urls" not in card:
        raise UserError(f"{name} is not distributed; {card['make']} makes it")
    folder = Path(out or STORE / name)
    path = folder / card["file"]
    ready = path.with_name("weights.npz") if path.suffix == ".pickle" else path
    if ready.is_file() and file is None:
        if ready == path:
            _verify(path, card)
        return ready
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(os_error_message(error)) from error
    if file is None and path.is_file():
        file = path  # put there by hand
    if file is not None:
        if not Path(file).is_file():
            raise UserError(f"{file}: no such file; check the path")
        _accept(Path(file), path, ready, card, allow)
        return ready
    problems = []
    for index, url in enumerate(card["urls"]):
        part = path.with_name(f"{path.name}.part{index}")  # sources need not have the same bytes
        try:
            _download(url, part, wait)
            _accept(part, path, ready, card, allow)
            for other in folder.glob(f"{glob.escape(path.name)}.part*"):
                other.unlink()
            return ready
        except Unavailable as error:
            problems.append(f"{url}: {error}")
        except WrongFile as error:
            problems.append(f"{url}: {error}")
            if path.suffix != ".pickle":  # gigabytes that --allow may yet open
                _remove(part)
    raise UserError(f"{name}: no source gave it ({'; '.join(problems)}); get {card['file']} by other means and put it "
                    f"at {path}, or run: python -m models.fetch {name} --file path/to/{card['file']}")


def _remove(part):
    """Remove a part and the note of which file it is of."""
    for path in (part, part.with_name(f"{part.name}.tag")):
        path.unlink(missing_ok=True)


class Unavailable(Exception):
    """A source that gives nothing, or nothing more."""


def _download(url, part, wait):
    """Bring `part` to its full length, going on from what is there."""
    failures, delay, longest = 0, wait, _length(part)
    while True:
        try:
            if _transfer(url, part):
                return
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing beyond what is there: all of it, or of another file
                if error.headers.get("Content-Range", "").endswith(f"/{_length(part)}"):
                    return
                _remove(part)
            elif error.code < 500 and error.code not in (408, 429):
                raise Unavailable(f"answers {error.code} {error.reason}") from error
            reason = f"answers {error.code} {error.reason}"
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
    """Ask once for the rest of the file; True if all of it came. UserError if it cannot be written."""
    from common.files import need_space
    from common.progress import progress

    tag = part.with_name(f"{part.name}.tag")
    have = _length(part) if tag.is_file() else 0
    headers = {"User-Agent": "saliency-2016", "Accept": RAW}
    if have:
        headers.update({"Range": f"bytes={have}-", "If-Range": tag.read_text()})  # the rest, of the same file only
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == "text/html":
            raise Unavailable("answers with a page, not a file")
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if answer.status == 206 and not resumed:
            raise Unavailable("answers with another part than the one asked for")
        have = have if resumed else 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        need_space(part.parent, (total or have) - have)
        with _writable(part, "ab" if resumed else "wb") as write, \
                progress(total=total, initial=have, description=part.stem, unit="B") as bar:
            if not resumed:
                tag.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or '"none"')
            while block := answer.read1(CHUNK):  # what has come, without waiting for more
                write(block)
                have += len(block)
                bar.update(len(block))
    return total is None or have >= total


@contextlib.contextmanager
def _writable(path, mode):
    """A function that writes bytes to a file; what goes wrong with the disk is a UserError, not the source's fault."""
    try:
        with open(path, mode) as file:
            def write(block):
                try:
                    file.write(block)
                    file.flush()
                except OSError as error:
                    error.filename = str(path)
                    raise UserError(os_error_message(error)) from error
            yield write
    except PermissionError as error:
        raise UserError(os_error_message(error)) from error


def _accept(found, path, ready, card, allow):
    """Verify a file and put it, or what it is turned into, in its place."""
    from common.files import atomic, need_space

    if path.suffix == ".pickle":
        from models.released.shallow import convert

        convert(found, ready, allow)
        return
    _verify(found, card)
    if found == path:
        return
    need_space(path.parent, found.stat().st_size)
    with atomic(path) as scratch:
        shutil.copyfile(found, scratch)


def _verify(path, card):
    """Raise WrongFile unless a file is what its card says: its hash where that is known, its layers otherwise."""
    if "git_blob" in card:
        found = git_blob(path)
        if found != card["git_blob"]:
            raise WrongFile(f"{path}: is not the published file (git blob {found[:12]}..., not "
                            f"{card['git_blob'][:12]}...); delete it and fetch it again")
    elif card["file"].endswith(".caffemodel"):
        from deep.prototxt import DEPLOY
        from deep.surgery import read_vgg
        from deep.weights import check_weights, net_shapes, read_caffemodel

        try:
            if card["net"] == "deep":
                check_weights(read_caffemodel(path), net_shapes(DEPLOY), path)
            else:
                read_vgg(path)
        except UserError as error:
            raise WrongFile(str(error)) from error


def git_blob(path):
    """The id that git gives a file: SHA-1 of "blob ", its size in bytes, a zero byte and its bytes."""
    digest = hashlib.sha1(f"blob {Path(path).stat().st_size}\0".encode())
    with open(path, "rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
