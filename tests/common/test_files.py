import errno
import signal

import numpy as np
import pytest
from PIL import Image

from common.errors import UserError
from common.files import atomic, read_json, write_text
from common.images import image_files, read_image
from tests.conftest import REPOSITORY, command, python


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)


def test_png_round_trip(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgb)


def test_all_kinds_of_images_become_rgb(tmp_path, rgb):
    image = Image.fromarray(rgb)
    grey = np.asarray(image.convert("L"))
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("RGBA").save(tmp_path / "alpha.png")
    image.convert("P").save(tmp_path / "palette.png")
    image.convert("CMYK").save(tmp_path / "cmyk.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, 2))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), rgb)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), np.repeat(grey[:, :, None], 3, 2))
    for name in ("palette.png", "cmyk.jpg"):
        assert read_image(tmp_path / name).shape == (20, 30, 3)
    assert abs(read_image(tmp_path / "cmyk.jpg").astype(int) - rgb).mean() < 60


def test_exif_orientation_is_applied(tmp_path, rgb):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(rgb).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(rgb, -1))


@pytest.mark.parametrize("write", [
    lambda path, rgb: path.write_bytes(b"no image"),
    lambda path, rgb: path.write_bytes(b""),
    lambda path, rgb: (Image.fromarray(np.tile(rgb, (9, 9, 1))).save(path), path.write_bytes(path.read_bytes()[:900])),
])
def test_a_damaged_image_is_an_error_with_the_file_and_a_remedy(tmp_path, rgb, write):
    path = tmp_path / "photo.jpg"
    write(path, rgb)
    with pytest.raises(UserError, match=r"photo\.jpg: cannot be read as an image .*replace") as error:
        read_image(path)
    assert "\n" not in str(error.value)


def test_a_missing_image_is_an_error(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_image(tmp_path / "gone.jpg")


def test_image_files_lists_the_images_of_a_folder(tmp_path, rgb):
    for name in ("b.JPG", "a.png"):
        Image.fromarray(rgb).save(tmp_path / name, format="PNG")
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPG"]
    assert image_files(tmp_path / "a.png") == [tmp_path / "a.png"]
    with pytest.raises(UserError, match="no such file or folder"):
        image_files(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image in this folder"):
        image_files(tmp_path / "empty")


def test_atomic_replaces_files_and_folders(tmp_path):
    write_text(tmp_path / "file", "old")
    write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    for content in ("old", "new"):
        with atomic(tmp_path / "folder") as folder:
            folder.mkdir()
            (folder / content).touch()
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError(errno.ENOSPC, "No space left on device")])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path, failure):
    write_text(tmp_path / "file", "old")
    with pytest.raises(BaseException) as raised, atomic(tmp_path / "file") as scratch:
        scratch.write_text("half")
        raise failure
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
    if isinstance(failure, OSError):
        assert raised.type is UserError and "No space left" in str(raised.value) and "free some space" in str(raised.value)


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "file", "old")
    code = ("import os, signal, sys; from common.files import atomic\n"
            "with atomic(sys.argv[1]) as scratch:\n"
            "    scratch.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)")
    process = python("-c", code, tmp_path / "file")
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "file", "new")  # the next writer removes the leftover of the killed one
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_restored_if_it_cannot_be_replaced(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").touch()

    def interrupted(self, target):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "folder") as scratch:
        scratch.mkdir()
        monkeypatch.setattr(type(tmp_path), "replace", interrupted)
    assert (tmp_path / "folder/old").exists()


def test_damaged_json_is_an_error_with_the_file(tmp_path):
    (tmp_path / "a.json").write_text('{"cut": ')
    with pytest.raises(UserError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(UserError, match=r"a\.json: holds a list"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("body, code, line", [
    ("raise UserError('cat.jpg: bad; replace it')", 1, "error: cat.jpg: bad; replace it"),
    ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130, "interrupted: "),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, "stopped: "),
    ("open('/no/such/file')", 1, "error: /no/such/file: No such file or directory; check the path"),
    ("open('/dev/full', 'w').write('x' * 99999)", 1, "error: the file being written: No space left on device; free"),
])
def test_errors_give_one_line_and_an_exit_code(body, code, line):
    script = f"import os, signal, time\nfrom common.errors import UserError, run\ndef main():\n    {body}\nrun(main)"
    process = python("-c", script)
    assert process.returncode == code
    assert process.stderr.startswith(line) and process.stderr.count("\n") == 1


def test_bugs_keep_their_traceback():
    script = "from common.errors import run\nrun(lambda: 1 / 0)"
    process = python("-c", script)
    assert process.returncode == 1 and "ZeroDivisionError" in process.stderr


def test_help_needs_no_heavy_imports():
    commands = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
                for folder in ("data", "shallow", "deep", "models", "evaluation", "bench")
                for path in sorted((REPOSITORY / folder).rglob("*.py"))
                if "peers" not in path.parts and 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")]
    assert len(commands) > 10
    code = ("import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
            "print([m for m in ('theano', 'caffe', 'cv2', 'h5py', 'scipy', 'joblib') if m in sys.modules])")
    process = python("-c", code, *(set(commands) - {"models.released.shallow"}))  # gets shapes from a module with cv2
    assert process.stdout.strip() == "[]"
    for name in commands:
        shown = command(name, "--help", COLUMNS="100")
        assert shown.returncode == 0 and shown.stdout.startswith("usage: python -m " + name), name
