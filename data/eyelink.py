"""Read fixations from EyeLink's ASC files, the text form of EDF files, which edf2asc writes.

Events and messages that are used (EyeLink user manual; Data Viewer's protocol of messages):

    MSG time DISPLAY_COORDS left top right bottom      size of the screen
    MSG time !V IMGLOAD FILL path                      an image that fills the screen
    MSG time !V IMGLOAD TOP_LEFT path x y [w h]        an image with its corner at x, y, in its own or another size
    MSG time !V IMGLOAD CENTER path x y [w h]          an image with its centre at x, y
    MSG time !V TRIAL_VAR image path                   the image of a trial without IMGLOAD; at the end of the trial
    MSG time TRIALID n / TRIAL_RESULT n                the borders of a trial
    MSG time offset text                               the same, at time - offset
    EFIX eye start end duration x y pupil              a fixation; x and y are "." or huge while the eye was lost

A fixation that began before the image was shown, or after the trial, belongs to no image. Of recordings of both eyes,
the left eye is used.
"""
import math
from collections import Counter
from dataclasses import replace

import numpy as np

from common.errors import UserError
from data.screen import Screen
from data.tables import NO_POSITION, OTHER_EYE, Table, open_text, report_damage

SUFFIX = ".asc"
LOST = 1e7  # pixels; a position beyond this is EyeLink's mark for a lost eye
IMAGE_VARIABLES = ("image", "img", "stimulus", "stim", "image_file", "filename")
NO_IMAGE = "began while no image was shown"


def read_asc(path):
    """Read all fixations of a recording.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data.tables.Table
        Without observers: a file is a recording of one person.

    Raises
    ------
    UserError
        The file has no fixation events, or its messages name no image.
    """
    rows, screens, screen, image, trial_start = [], {}, Screen(), None, 0
    onset, end = -math.inf, math.inf
    with report_damage(path), open_text(path) as file:
        for number, line in enumerate(file, 1):
            fields = line.split()
            if fields[:1] == ["EFIX"]:
                start, point = _fixation(fields, path, number)
                # None: TRIAL_VAR may name the image
                rows.append([fields[1], point, image if onset <= start < end else NO_IMAGE])
            elif fields[:1] == ["MSG"] and len(fields) > 2:
                time, words = _message(fields, path, number)
                if words[0] in ("DISPLAY_COORDS", "GAZE_COORDS") and len(words) >= 5:
                    screen = replace(screen, size=_screen_size(words, path, number))
                elif words[:2] == ["!V", "IMGLOAD"]:
                    image, screens[image] = _image_load(words[2:], screen, path, number)
                    onset = time
                elif words[:2] == ["!V", "TRIAL_VAR"] and len(words) > 3 and words[2].lower() in IMAGE_VARIABLES \
                        and image is None:
                    name = " ".join(words[3:])  # of the whole trial; IMGLOAD is more exact
                    rows[trial_start:] = [[eye, point, name if shown is None else shown]
                                          for eye, point, shown in rows[trial_start:]]
                    screens.setdefault(name, screen)
                elif words[0] == "TRIALID":
                    image, trial_start, onset, end = None, len(rows), time, math.inf
                elif words[0] == "TRIAL_RESULT":
                    end = time
    if not rows:
        raise UserError(f"{path}: has no EFIX lines; convert the recording with events: edf2asc -e")
    if not screens:
        raise UserError(f"{path}: no message names an image (!V IMGLOAD or !V TRIAL_VAR image); export a fixation "
                        "report with the column image from Data Viewer instead")
    return _select(rows, screen, screens)


def _select(rows, screen, screens):
    """Build the Table of the fixations of one eye that have a position and an image; count the others."""
    with_left = {image for eye, _, image in rows if eye == "L"}
    points, images, dropped = [], [], Counter()
    for eye, point, image in rows:
        if image in (None, NO_IMAGE):
            dropped[NO_IMAGE] += 1
        elif eye == "R" and image in with_left:
            dropped[OTHER_EYE] += 1
        elif point is None:
            dropped[NO_POSITION] += 1
        else:
            points.append(point)
            images.append(image)
    return Table(np.array(points, np.float64).reshape(-1, 2), images, None, screen, screens, dropped,
                 "EyeLink ASC: EFIX events, images placed as in its messages")


def _fixation(fields, path, number):
    """Return the start of an EFIX line, and its position, or None if the eye was lost."""
    try:
        start = float(fields[2])
        point = None if "." in fields[5:7] else (float(fields[5]), float(fields[6]))
    except (ValueError, IndexError) as error:
        raise UserError(f"{path}: line {number} is a damaged EFIX line; convert the recording again") from error
    return start, point if point and max(map(abs, point)) < LOST else None


def _message(fields, path, number):
    """Return the time of a message, and its words without the offset that may precede them."""
    time, words = _numbers(fields[1:2], path, number)[0], fields[2:]
    if len(words) > 1 and words[0].lstrip("-").isdecimal():
        return time - _numbers(words[:1], path, number)[0], words[1:]
    return time, words


def _screen_size(words, path, number):
    left, top, right, bottom = _numbers(words[1:5], path, number)
    return right - left + 1, bottom - top + 1


def _image_load(words, screen, path, number):
    """Return the name of the image that an IMGLOAD message shows, and its place on the screen."""
    place, *rest = words or [""]
    numbers = []
    while len(rest) > 1 and len(numbers) < 4 and rest[-1].lstrip("-").replace(".", "", 1).isdecimal():
        numbers[:0] = _numbers([rest.pop()], path, number)
    name = " ".join(rest)
    if place == "FILL":
        if screen.size is None:
            raise UserError(f"{path}: line {number} shows an image on the whole screen, but no DISPLAY_COORDS message "
                            "gives its size; add the option +screen=1920x1080")
        return name, replace(screen, offset=(0, 0), shown=screen.size)
    if place not in ("TOP_LEFT", "CENTER") or len(numbers) < 2:
        raise UserError(f"{path}: line {number} has an IMGLOAD message of an unknown form; export a fixation report "
                        "with the column image from Data Viewer instead")
    position, shown = tuple(numbers[:2]), tuple(numbers[2:4]) or None
    anchor = {"offset": position} if place == "TOP_LEFT" else {"centre": position}
    return name, replace(screen, shown=shown, **anchor)


def _numbers(words, path, number):
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"{path}: line {number} has no numbers where a time or the size of the screen is "
                        "expected; convert the recording again") from error
