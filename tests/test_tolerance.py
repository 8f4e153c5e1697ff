import base64
import copy

import numpy as np
import pytest

from tests.notebooks import CHAPTERS, code_cells, mutant, places
from tests.tolerance import agree


def typed(values, dtype="f8"):
    raw = np.asarray(values, dtype)
    return {"dtype": dtype, "bdata": base64.b64encode(raw.tobytes()).decode()}


SAME = [
    ("loss 0.123456", "loss 0.1234561"),
    ("1.0e-12", "2.0e-12"),
    ("a nan b", "a nan b"),
    ({"y": [0.1, 0.2]}, {"y": [0.1, 0.2 + 1e-9]}),
    ({"y": [1.0]}, {"y": [1]}),
    (typed([1.0, 2.0]), typed([1.0, 2.0 + 1e-8])),
    (float("nan"), float("nan")),
]
DIFFERENT = [
    ("loss 0.123456", "loss 0.12346"),
    ("3 of 5", "4 of 5"),
    ("epoch 1.5", "epoch 15"),
    ("-0.5", "0.5"),
    ("loss 0.5", "Loss 0.5"),
    ("v1.2", "v1.3"),
    ("0.5 nan", "nan 0.5"),
    ({"y": [0.1, 0.2]}, {"y": [0.1, 0.201]}),
    ({"y": [0.1, 0.2]}, {"y": [0.1]}),
    ({"y": 1}, {"z": 1}),
    ({"n": 3}, {"n": 4}),
    ({"on": True}, {"on": 1}),
    (typed([1.0, 2.0]), typed([1.0, 2.1])),
    (typed([1.0, 2.0]), typed([1.0, 2.0], "f4")),
    (typed([1, 2], "i4"), typed([1, 3], "i4")),
    (0.5, float("nan")),
]


@pytest.mark.parametrize("stored, new", SAME)
def test_last_digits_are_forgiven(stored, new):
    assert agree(stored, new) and agree(new, stored)


@pytest.mark.parametrize("stored, new", DIFFERENT)
def test_a_changed_output_is_not(stored, new):
    assert not agree(stored, new)
    assert not agree(new, stored)


def test_a_tagged_cell_may_differ_by_what_its_tag_says():
    assert not agree("0.5000", "0.5004")
    assert agree("0.5000", "0.5004", relative=1e-3)
    assert not agree("5", "6", relative=1)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_no_stored_number_can_change_unseen(chapter):
    """Numbers of every stored output, changed by 0.1 %, are a difference."""
    tried = 0
    for cell in code_cells(chapter):
        for output in cell.outputs:
            assert agree(output, copy.deepcopy(output))
            addresses = places(output)
            for place in addresses[:: len(addresses) // 50 + 1]:
                assert not agree(output, mutant(output, place)), place
                tried += 1
    assert tried > 500
