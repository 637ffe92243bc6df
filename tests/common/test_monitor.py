import json

import numpy as np
import pytest

from common.errors import UserError
from common.monitor import Monitor, check_finite


def test_a_loss_that_is_not_finite_is_an_error():
    for value in ("nan", "inf"):
        with pytest.raises(UserError, match=f"run: loss is {value} in epoch 3: the learning diverged; lower the rate"):
            check_finite("run", "epoch 3", "lower the rate", loss=float(value))
    check_finite("run", "epoch 3", "lower the rate", loss=0.5)


def test_a_flat_loss_is_reported_once_until_it_falls_again():
    rng, monitor = np.random.default_rng(0), Monitor(40, "iterations")
    warnings = sum((monitor.flat_loss(1 + wiggle, "do this") for wiggle in rng.normal(0, 0.01, 120)), [])
    assert len(warnings) == 1 and "40 iterations" in warnings[0] and warnings[0].endswith("do this")
    assert not any(monitor.flat_loss(1 - 0.005 * step, "do this") for step in range(40))  # the loss falls
    assert any(monitor.flat_loss(0.8, "do this") for step in range(40))  # it is flat again


def test_state_survives_json():
    monitor, unbroken = Monitor(10, "epochs"), Monitor(10, "epochs")
    for _ in range(5):
        monitor.flat_loss(1.0, ""), unbroken.flat_loss(1.0, "")
    monitor = Monitor(10, "epochs", json.loads(json.dumps(monitor.state)))
    for _ in range(5):
        assert monitor.flat_loss(1.0, "") == unbroken.flat_loss(1.0, "")
    assert monitor.state == unbroken.state and monitor.once("flat", True, "again") == []
