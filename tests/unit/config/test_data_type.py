"""Which texts each data type accepts."""

import pytest

from services.config.data_type import DATA_TYPES


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("text", "anything {"),
        ("integer", "-12"),
        ("integer", "+0"),
        ("integer", "9" * 5000),
        ("float", "1"),
        ("float", "-1.5e-10"),
        ("float", ".5"),
        ("float", "1."),
        ("boolean", "true"),
        ("boolean", "false"),
        ("json", '{"a": [1, 2.5, null, "ü"]}'),
        ("json", "1"),
        ("url", "https://example.org/a?b=c"),
        ("url", "stomp://127.0.0.1:61613"),
    ],
)
def test_values_of_a_data_type_are_accepted(data_type: str, value: str) -> None:
    """The whole value has the form."""
    assert DATA_TYPES[data_type](value)


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        ("integer", "1.0"),
        ("integer", "1_000"),
        ("integer", " 1"),
        ("integer", "\u0661"),
        ("integer", ""),
        ("float", "nan"),
        ("float", "1e"),
        ("float", "."),
        ("boolean", "True"),
        ("boolean", "1"),
        ("json", "{'a': 1}"),
        ("json", "NaN"),
        ("json", "[" * 100_000),
        ("url", "example.org"),
        ("url", "https://"),
        ("url", "https://[::1"),
        ("url", "https://a b/"),
    ],
)
def test_other_values_are_refused(data_type: str, value: str) -> None:
    """Near misses, other scripts' digits, and what only Python reads."""
    assert not DATA_TYPES[data_type](value)
