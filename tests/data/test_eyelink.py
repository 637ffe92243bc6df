"""EyeLink recordings, converted by edf2asc."""
import numpy as np
import pytest

from common.errors import UserError
from data.eyelink import NO_IMAGE, read_asc
from data.tables import NO_POSITION, OTHER_EYE

SHAPE = (48, 64)
HEAD = "** CONVERTED FROM x.edf\nMSG\t900 DISPLAY_COORDS 0 0 1023 767\n"


def trial(load, *positions, end=""):
    lines = ["MSG\t1000 TRIALID 1", load, *(f"EFIX L   1000\t1180\t181\t  {x}\t  {y}\t    900" for x, y in positions), end]
    return "\n".join(lines) + "\n"


def read(tmp_path, text):
    path = tmp_path / "s01.asc"
    path.write_text(text)
    return read_asc(path)


@pytest.mark.parametrize("load, position, expected", [
    ("MSG\t1000 !V IMGLOAD CENTER my images/p0.png 512 384", (482, 365), (2, 5)),
    ("MSG\t1000 !V IMGLOAD CENTER my images/p0.png 512 384 128 96", (452, 346), (2, 5)),
    ("MSG\t1000 !V IMGLOAD TOP_LEFT my images/p0.png 10 20", (12, 25), (2, 5)),
    ("MSG\t1000 !V IMGLOAD TOP_LEFT my images/p0.png 10 20 128 96", (14, 30), (2, 5)),
    ("MSG\t1000 !V IMGLOAD FILL my images/p0.png", (32, 80), (2, 5)),
])
def test_messages_place_the_image_on_the_screen(tmp_path, load, position, expected):
    table = read(tmp_path, HEAD + trial(load, position))
    assert table.images == ["my images/p0.png"]
    np.testing.assert_allclose(table.screens["my images/p0.png"].to_image(table.points, SHAPE), [expected])


def test_the_image_can_be_named_at_the_end_of_the_trial(tmp_path):
    text = HEAD + trial("", (512, 384), end="MSG\t1200 !V TRIAL_VAR image p3.png") + trial(
        "MSG\t1000 !V IMGLOAD CENTER p4.png 512 384", (480, 360), end="MSG\t1400 !V TRIAL_VAR image other.png")
    table = read(tmp_path, text)
    assert table.images == ["p3.png", "p4.png"]
    assert table.screens["p3.png"].to_image(table.points[:1], SHAPE).tolist() == [[32, 24]]  # in the centre of the screen


def test_lost_eyes_and_fixations_before_an_image_are_dropped_and_counted(tmp_path):
    text = HEAD + trial("", (5, 5)) + trial("MSG\t1 !V IMGLOAD CENTER p0.png 512 384", (512, 384), (".", "."), ("1e+08", "1e+08"))
    table = read(tmp_path, text)
    assert table.points.tolist() == [[512, 384]] and table.dropped == {NO_POSITION: 2, NO_IMAGE: 1}


def test_a_fixation_that_began_before_the_image_is_dropped_even_if_the_trial_names_the_image(tmp_path):
    text = HEAD + trial("EFIX L   990\t1090\t101\t  7\t  7\t    900\nMSG\t995 !V IMGLOAD CENTER p4.png 512 384", (480, 360),
                        end="MSG\t1400 !V TRIAL_VAR image p4.png")
    table = read(tmp_path, text)
    assert table.points.tolist() == [[480, 360]] and table.dropped == {NO_IMAGE: 1}


def test_of_two_eyes_the_left_one_is_used(tmp_path):
    text = HEAD + trial("MSG\t1 !V IMGLOAD CENTER p0.png 512 384", (512, 384), (520, 384),
                        end="EFIX R   1000\t1180\t181\t  514\t  384\t    900")
    table = read(tmp_path, text)
    assert table.points.tolist() == [[512, 384], [520, 384]] and table.dropped == {OTHER_EYE: 1}
    table = read(tmp_path, text.replace("EFIX L", "EFIX R"))
    assert len(table.points) == 3 and not table.dropped, "a recording of the right eye alone"


def test_fixations_after_the_trial_belong_to_no_image(tmp_path):
    text = HEAD + trial("MSG\t1000 !V IMGLOAD CENTER p0.png 512 384", (512, 384), end="MSG\t1100 TRIAL_RESULT 0\n"
                        "EFIX L   1150\t1300\t151\t  7\t  7\t    900")
    table = read(tmp_path, text)
    assert table.points.tolist() == [[512, 384]] and table.dropped == {NO_IMAGE: 1}


def test_messages_can_have_an_offset(tmp_path):
    text = HEAD + trial("MSG\t1005 5 !V IMGLOAD CENTER p0.png 512 384", (512, 384))
    assert read(tmp_path, text).images == ["p0.png"], "shown at 1005 - 5"
    assert read(tmp_path, HEAD + trial("", (5, 5), end="MSG\t1100 0 !V TRIAL_VAR image p0.png")).images == ["p0.png"]


@pytest.mark.parametrize("text, message", [
    (HEAD, "has no EFIX lines"),
    (HEAD + trial("", (5, 5)), "no message names an image"),
    (HEAD + trial("MSG\t1 !V IMGLOAD CENTER p0.png 512 384", ("five", 5)), "line 5 is a damaged EFIX line"),
    (HEAD + trial("MSG\t1 !V IMGLOAD CENTER p0.png", (5, 5)), "line 4 has an IMGLOAD message of an unknown form"),
    (trial("MSG\t1 !V IMGLOAD FILL p0.png", (5, 5)), "no DISPLAY_COORDS message"),
    ("MSG\t900 DISPLAY_COORDS a b c d\n", "line 1 has no numbers"),
])
def test_a_recording_that_cannot_be_used_is_an_error(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)
