"""Whatever is passed, a call returns or refuses clearly, soon: see tests/fuzz.py."""

import pytest

from tests import fuzz


@pytest.mark.parametrize("name", fuzz.ENTRIES)
def test_what_nobody_should_pass_is_refused_by_field_value_and_range(name):
    ends, wrong = fuzz.run(name, seed=0)
    assert not wrong
    assert ends.total() == fuzz.ENTRIES[name][1]
    assert ends["refused"] > 0 and ends["accepted"] > 0


def test_ten_thousand_are_tried():
    assert sum(count for _, count in fuzz.ENTRIES.values()) >= 10_000
