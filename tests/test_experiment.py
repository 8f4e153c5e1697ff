import dataclasses
import json
import math

import pytest

from utils import Augment, Experiment

BAD = {
    "data": ["iris", None, 3],
    "n_train": [0, 1001, 2.5, "100", True],
    "label_noise": [-0.1, 1.1, math.nan],
    "hidden": [(0,), (5, -1), 5, "50", (2.5,), (5000,)],
    "channels": [(0,), 5, "16", (2.5,), (5000,), (16,)],
    "activation": ["gelu"],
    "batch_norm": [2, "yes", None],
    "dropout": [1, 1.0, -0.01, math.nan, math.inf, "half", None],
    "dropout_input": [1, -1],
    "dropout_channels": [1, -0.1, math.nan, "half", 0.5],
    "input_noise": [-1, math.inf],
    "weight_noise": [math.nan],
    "activation_noise": [-1e-9],
    "augment": [3, {"blur": 1}, {"rotation": -1}, {"flip": 2}, {"rotation": 5}],
    "dropout_at": ["output", None],
    "dropconnect": [1, -0.1, math.nan],
    "init_scale": [0, -1, math.nan, math.inf],
    "optimizer": ["rmsprop"],
    "momentum": [1, -0.1, 0.9],
    "lr": [0, -1, math.nan, math.inf],
    "epochs": [0, 1.5, -3],
    "batch_size": [0, "32"],
    "l1": [-1, math.nan, math.inf],
    "l1_method": ["lasso"],
    "l2": [-1, -1e-300, math.nan, math.inf, "big"],
    "weight_decay": [-0.1],
    "penalize_bias": [None, 2],
    "patience": [0, 2.5],
    "fold": [3, (0, 1), (2, 2), (-1, 5), (0, 101), (0.5, 2), (0, 2, 3)],
    "split": [-1, 2**32, 0.5, "0", True],
    "seed": [-1, 2**32, 0.5, "0", True],
    "dtype": ["float16", None],
}


@pytest.mark.parametrize("field, value", [(f, v) for f in BAD for v in BAD[f]])
def test_bad_value_is_refused_by_name_value_and_range(field, value):
    with pytest.raises(ValueError) as error:
        Experiment(**{field: value})
    message = str(error.value)
    assert message.startswith(field)
    assert "must be" in message
    shown = value if not isinstance(value, dict) else next(iter(value))
    assert str(shown).strip("'") in message


def test_every_field_has_a_bad_value_above():
    assert set(BAD) == {field.name for field in dataclasses.fields(Experiment)}


@pytest.mark.parametrize("sizes", [(33, 32), (100, 1), (1, 32)])
def test_batch_norm_needs_more_than_one_point_in_a_batch(sizes):
    n_train, batch_size = sizes
    with pytest.raises(ValueError, match="batch_norm = True: must be False for"):
        Experiment(batch_norm=True, n_train=n_train, batch_size=batch_size)


def test_fields_are_normalised():
    e = Experiment(hidden=[5, 4], dropout=0, n_train=None, data="ring", l2=1)
    assert e.hidden == (5, 4)
    assert e.n_train == 1000
    assert isinstance(e.l2, float)
    assert hash(e) == hash(e.replace())


def test_images_shrink_to_no_less_than_one_pixel():
    e = Experiment(data="digits", channels=[2, 3, 4], dropout_channels=0.5)
    assert e.channels == (2, 3, 4)
    with pytest.raises(ValueError, match=r"channels = \(2, 3, 4, 5\).* length ≤ 3"):
        e.replace(channels=(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"channels = .* no images"):
        e.replace(data="moons")
    with pytest.raises(ValueError, match=r"dropout_channels = 0\.5: must be 0"):
        e.replace(channels=())


@pytest.mark.parametrize("data, size", [("diabetes", 242), ("breast_cancer", 309)])
def test_n_train_is_limited_by_the_pool(data, size):
    assert Experiment(data=data, n_train=None).n_train == size
    with pytest.raises(ValueError, match=rf"n_train = {size + 1}.*\[1, {size}\]"):
        Experiment(data=data, n_train=size + 1)


def test_experiment_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Experiment().l2 = 1.0


def test_replace_names_an_unknown_field():
    with pytest.raises(ValueError, match="unknown field 'lambda_'"):
        Experiment().replace(lambda_=1)
    with pytest.raises(ValueError, match="unknown field 'L2'"):
        Experiment().grid(L2=[1])


def test_grid_is_every_combination_last_axis_fastest():
    grid = Experiment().grid(l2=[0, 1], seed=range(3))
    assert [(e.l2, e.seed) for e in grid] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip


def test_json_round_trip():
    e = Experiment(data="digits", augment=Augment(rotation=10), hidden=(), patience=3)
    assert Experiment.from_json(e.to_json()) == e
    assert json.loads(e.to_json())["augment"]["rotation"] == 10


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not an experiment in JSON"),
        (None, "not an experiment in JSON"),
        ("[1]", "must be a JSON object"),
        ('{"lamda": 1}', "unknown field 'lamda'"),
        ('{"l2": -1}', "l2 = -1"),
        ('{"l2": NaN}', "l2 = nan"),
    ],
)
def test_corrupt_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        Experiment.from_json(text)
