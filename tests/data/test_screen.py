"""From positions on a screen to pixels of an image."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from data.dataset import Swapped
from data.screen import IMAGE_FRACTION, Screen, check_points, merge, parse_screen

SHAPE = (48, 64)
POINTS = np.array([[0.0, 0], [32, 24], [27.5, 17.25], [63, 47]])


def convert(points, **options):
    return merge(Screen(), parse_screen(**options)).to_image(points, SHAPE)


@pytest.mark.parametrize("to_screen, options", [
    (lambda points: points, {}),
    (lambda points: points / (64, 48), {"unit": "fraction"}),
    (lambda points: (points + (480, 360)) / (1024, 768), {"unit": "fraction", "screen": "1024x768"}),  # in the centre
    (lambda points: points + (480, 360), {"screen": "1024x768"}),
    (lambda points: points + (10, 20), {"offset": "10,20"}),
    (lambda points: 2 * points, {"scale": 2.0}),
    (lambda points: 2 * points + (448, 336), {"scale": 2.0, "screen": "1024x768"}),
    (lambda points: points * (2, 1.5) + (7, 9), {"scale": "2,1.5", "offset": "7,9"}),
    (lambda points: (0, 47) + points * (1, -1), {"origin": "bottom"}),
    (lambda points: (0, 1) + points / (64, -48), {"origin": "bottom", "unit": "fraction"}),
    (lambda points: (0, 767) + (points + (480, 360)) * (1, -1), {"origin": "bottom", "screen": "1024x768"}),
    (lambda points: np.degrees(np.arctan((points + (480, 360) - (512, 384)) * 400 / 1024 / 600)),
     {"unit": "degrees", "screen": "1024x768", "width_mm": 400.0, "distance_mm": 600.0}),
])
def test_positions_on_the_screen_become_pixels_of_the_image(to_screen, options):
    np.testing.assert_allclose(convert(to_screen(POINTS), **options), POINTS, atol=1e-9)


@given(st.floats(1, 4), st.floats(-300, 300), st.floats(-300, 300), st.floats(0, 63), st.floats(0, 47))
def test_scale_and_offset_are_undone(scale, left, top, x, y):
    shown = np.array([[x, y]]) * scale + (left, top)
    np.testing.assert_allclose(convert(shown, scale=scale, offset=f"{left:.9f},{top:.9f}"), [[x, y]], atol=1e-6)


def test_a_fraction_of_1_is_the_last_pixel_and_more_is_outside():
    assert convert([[1, 1], [0.995, 0.5]], unit="fraction").tolist() == [[63, 47], [63, 24]]
    assert convert([[1.1, 0.5]], unit="fraction")[0, 0] > 64


def test_options_take_precedence_over_the_file():
    stated = Screen(unit="fraction", size=(1024, 768), centre=(512, 384))
    assert merge(stated, {}).to_image([[0.5, 0.5]], SHAPE).tolist() == [[32, 24]]
    assert merge(stated, parse_screen(unit="pixels", offset="5,6")).to_image([[6, 8]], SHAPE).tolist() == [[1, 2]]


def test_fractions_of_the_image_do_not_depend_on_the_screen():
    screen = merge(Screen(unit=IMAGE_FRACTION, origin="bottom"), parse_screen(screen="1920x1080"))
    assert screen.to_image([[0.5, 0.25]], SHAPE).tolist() == [[32, 36]]


@pytest.mark.parametrize("options, message", [
    ({"unit": "inches"}, "unit=inches: choose one of: pixels, fraction, degrees"),
    ({"origin": "left"}, "choose one of: top, bottom"),
    ({"screen": "wide"}, "write it as in screen=1920x1080"),
    ({"screen": "0x10"}, "write it as in screen=1920x1080"),
    ({"offset": 5.0}, "write it as in offset=448,156"),
    ({"scale": 0.0}, "write it as in scale=2"),
    ({"unit": "degrees"}, "needs the screen"),
    ({"unit": "degrees", "screen": "9x9", "width_mm": -1.0, "distance_mm": 3.0}, "millimetres above 0"),
    ({"unit": "fraction", "offset": "1,2"}, "needs the size of the screen"),
])
def test_a_wrong_option_is_an_error(options, message):
    with pytest.raises(UserError, match=message):
        parse_screen(**options)


def test_fractions_taken_for_pixels_are_an_error():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"20 positions lie between 0 and 1.*\+unit=fraction"):
        check_points(rng.random((20, 2)), SHAPE, Screen())
    with pytest.raises(UserError, match="20 positions"):  # trackers give a few beyond the border
        check_points(np.concatenate([rng.random((19, 2)), [[1.02, -0.01]]]), SHAPE, Screen())
    check_points(rng.random((20, 2)), SHAPE, Screen(unit=IMAGE_FRACTION))  # converted already
    check_points(rng.random((20, 2)), (5, 5), Screen())  # a tiny image
    check_points(np.ones((20, 2)), SHAPE, Screen())  # whole numbers can be pixels
    check_points(np.zeros((0, 2)), SHAPE, Screen())


def test_positions_on_the_screen_taken_for_pixels_are_an_error():
    rng = np.random.default_rng(0)
    points = rng.uniform((490, 365), (530, 395), (20, 2))
    with pytest.raises(UserError, match=r"20 of 20 fixations lie outside the 64x48 image: x from 4\d\d to 5.*\+offset=X,Y"):
        check_points(points, SHAPE, Screen())
    with pytest.raises(Swapped):
        check_points(rng.uniform((0, 50), (40, 60), (20, 2)), SHAPE, Screen())
    check_points(points[:5], SHAPE, Screen())  # too few to decide
