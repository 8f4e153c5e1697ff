"""What a user passes, checked once and alike: 'field = value: must be …'.

A value may be anything at all: endless, deep, huge, or with methods that raise.
"""

import operator
import reprlib
from collections.abc import Iterable, Mapping
from itertools import islice
from numbers import Complex, Real
from typing import Any, NoReturn

MOST = 1_000_000  # values of a list, and experiments of one call
SHOWN = 300  # characters of a value in a message


class _Short(reprlib.Repr):
    """What repr gives, of long or deep values the ends."""

    def __init__(self):
        super().__init__()
        self.maxlevel, self.maxlong, self.maxstring, self.maxother = 3, 40, 100, 200
        for kind in ("tuple", "list", "array", "dict", "set", "frozenset", "deque"):
            setattr(self, f"max{kind}", 12)

    def repr_int(self, x, level):
        """An int of more digits than Python likes to write has its size told."""
        if x.bit_length() > 1000:
            return f"<int of {x.bit_length()} bits>"
        return super().repr_int(x, level)


_SHORT = _Short()


def show(value: Any) -> str:
    """Return value as it stands in a message, in one line of at most SHOWN characters.

    Of one that has no repr, its type.
    """
    try:
        text = _SHORT.repr(value)
    except Exception:  # the repr of a stranger may raise anything
        text = f"<{type(value).__name__}>"
    if "\n" in text:  # an array's; that of a str has none
        text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 20]} … {text[-15:]}"


def fail(field: str, value: Any, allowed: str) -> NoReturn:
    """Raises: ValueError naming field, value and what is allowed."""
    raise ValueError(f"{field} = {show(value)}: must be {allowed}")


def real(
    field: str, value: Any, low: float, high: float, open_high: bool = False
) -> float:
    """Return value as a float inside [low, high], or [low, high) if open_high.

    Raises: ValueError naming field, value and range.
    """
    infinite = high == float("inf")
    close = ")" if open_high or infinite else "]"
    number = _number(value, float)
    inside = number is not None and low <= number  # not NaN
    if not inside or not (number < high if close == ")" else number <= high):
        fail(field, value, f"a number in [{low:g}, {high:g}{close}")
    return number


def whole(field: str, value: Any, low: int, high: int | None = None) -> int:
    """Return value as an int in [low, high].

    Raises: ValueError naming field, value and range.
    """
    number = _number(value, operator.index)
    if number is None or number < low or (high is not None and number > high):
        span = f"≥ {low}" if high is None else f"in [{low}, {high}]"
        fail(field, value, f"a whole number {span}")
    return number


def choice(field: str, value: Any, options: Iterable[str]) -> str:
    """Return value, one of some strings, as a plain str.

    Raises: ValueError naming field, value and options.
    """
    name = str.__str__(value) if isinstance(value, str) else None
    if name not in options:
        fail(field, value, "one of " + ", ".join(map(repr, options)))
    return name


def flag(field: str, value: Any) -> bool:
    """Return True or False, for that or 1 or 0.

    Raises: ValueError naming field and value.
    """
    try:
        value = _scalar(value)
        if isinstance(value, Real) and value in (True, False):
            return bool(value)
    except Exception:  # as for numbers, below
        pass
    return fail(field, value, "True or False")


def several(
    field: str,
    values: Any,
    what: str = "a list of values",
    least: int = 0,
    most: int = MOST,
) -> list:
    """Return what is iterable and has an order as a list; text and mappings are not.

    Raises: ValueError naming field, values and `what` they must be, also for fewer
        than least or more than most.
    """
    found, unfit = [], str | bytes | bytearray | memoryview | Mapping | set | frozenset
    try:
        ok = not isinstance(values, unfit)
        found = list(islice(values, most + 1)) if ok else []
    except Exception:  # the iterator of a stranger may raise anything
        ok = False
    if not ok or len(found) < least:
        fail(field, values, what)
    if len(found) > most:
        fail(field, values, f"{what}, at most {most:,}")
    return found


def entries(field: str, values: Mapping, what: str) -> list[tuple[Any, Any]]:
    """Return the items of a mapping, as a list.

    Raises: ValueError naming field, values and `what` they must be.
    """
    try:
        return [(key, value) for key, value in islice(values.items(), MOST)]
    except Exception:  # the methods of a stranger may raise anything
        fail(field, values, what)


def texts(field: str, values: Any, what: str = "a list of names") -> tuple[str, ...]:
    """Return some strings as a tuple.

    Raises: ValueError naming field, values and `what` they must be.
    """
    found = several(field, values, what)
    if not all(isinstance(value, str) for value in found):
        fail(field, values, what)
    return tuple(map(str.__str__, found))


def optional(field: str, value: Any, kind: type, what: str) -> Any:
    """Return value if it is None or of a kind.

    Raises: ValueError naming field, value and `what` it must be.
    """
    if value is not None and not isinstance(value, kind):
        fail(field, value, f"None or {what}")
    return value


def not_too_many(field: str, count: int, what: str) -> None:
    """Raises: ValueError for more than MOST experiments."""
    if count > MOST:
        fail(field, count, f"at most {MOST:,} experiments, {what}")


def _scalar(value):
    """Turn a NumPy scalar, an array or a tensor without axes into Python's own.

    Raises: TypeError for one with axes, as a table's column is, too.
    """
    if isinstance(value, int | float) or not hasattr(value, "shape"):
        return value
    if tuple(value.shape):
        raise TypeError("has axes")
    return value.item()


def _number(value, convert):
    """Return what is a number as a float or an int; None for all else."""
    try:
        value = _scalar(value)
        text = isinstance(value, str | bytes | bytearray)  # which float would read
        if text or isinstance(value, bool):
            return None
        if isinstance(value, Complex) and not isinstance(value, Real):
            return None
        return convert(value)
    except Exception:  # the methods of a stranger may raise anything
        return None
