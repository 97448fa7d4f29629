"""Reading policies: structure, limits, complexity, and every fault in the words of AWS."""

from dataclasses import replace

import pytest

from services.filtering.dialect import EVENTBRIDGE, MAX_BRANCHES, MAX_POLICY_BYTES, SNS_ATTRIBUTES, SNS_BODY, Dialect
from services.filtering.faults import MAX_FINDINGS, Fault, PolicyError, member_path
from services.filtering.policy import parse_policy


def faults_of(text: str, dialect: Dialect = EVENTBRIDGE) -> tuple[Fault, ...]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, dialect)
    return caught.value.faults


@pytest.mark.parametrize("text", ["", "  \n", "{}"])
def test_blank_policy_accepts_every_message(text: str) -> None:
    """No text and no keys mean the same."""
    policy = parse_policy(text, SNS_ATTRIBUTES)
    assert not policy.rules
    assert list(policy.branches()) == [()]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ("[[1]]", "Match value must be String, number, true, false, or null"),
        ("[]", "Empty arrays are not allowed"),
        ("[{}]", "Match expression name not found"),
        ('[{"starts": "x"}]', "Unrecognized match type starts"),
        ('[{"prefix": "x", "suffix": "y"}]', "Only one key allowed in match expression"),
        ('[{"prefix": 1}]', "prefix match pattern must be a string"),
        ('[{"prefix": ["x"]}]', "prefix match pattern must be a string"),
        ('[{"prefix": {"wildcard": "x"}}]', "Unsupported prefix pattern: wildcard"),
        ('[{"suffix": null}]', "suffix match pattern must be a string"),
        ('[{"equals-ignore-case": true}]', "equals-ignore-case match pattern must be a string"),
        ('[{"exists": "true"}]', "exists match pattern must be either true or false."),
        ('[{"wildcard": "a**b"}]', "Consecutive wildcard characters at pos 2"),
        ('[{"wildcard": "a\\\\b"}]', "Invalid escape character at pos 2"),
        ('[{"wildcard": "a\\\\"}]', "Invalid escape character at pos 2"),
        ('[{"cidr": 5}]', "prefix match pattern must be a string"),
        ('[{"cidr": "10.0.0.0"}]', "Malformed CIDR, one '/' required"),
        ('[{"cidr": "10.0.0.0/8/8"}]', "Malformed CIDR, one '/' required"),
        ('[{"cidr": "10.0.0.0/x"}]', "Malformed CIDR, mask bits must be an integer"),
        ('[{"cidr": "10.0.0.256/8"}]', "Nonstandard IP address: 10.0.0.256"),
        ('[{"cidr": "fe80::1%eth0/64"}]', "Nonstandard IP address: fe80::1%eth0"),
        ('[{"cidr": "10.0.0.0/33"}]', "IPv4 mask bits must be <= 32"),
        ('[{"cidr": "::/99999"}]', "IPv6 mask bits must be <= 128"),
        ('[{"numeric": 5}]', "Value of numeric must be an array."),
        ('[{"numeric": []}]', "Invalid member in numeric match: ]"),
        ('[{"numeric": [5]}]', "Invalid member in numeric match: 5"),
        ('[{"numeric": [[">", 5]]}]', "Invalid member in numeric match: ["),
        ('[{"numeric": ["=="]}]', "Unrecognized numeric range operator: =="),
        ('[{"numeric": ["=", "5"]}]', "Value of equals must be numeric"),
        ('[{"numeric": [">"]}]', "Value of > must be numeric"),
        ('[{"numeric": ["<=", true]}]', "Value of <= must be numeric"),
        ('[{"numeric": ["=", 1, 2]}]', "Too many elements in numeric expression"),
        ('[{"numeric": ["<", 1, ">", 0]}]', "Too many elements in numeric expression"),
        ('[{"numeric": [">", 1, 2]}]', "Bad value in numeric range: 2"),
        ('[{"numeric": [">", 1, ">", 2]}]', "Bad numeric range operator: >"),
        ('[{"numeric": [">", 1, "<", "x"]}]', "Value of < must be numeric"),
        ('[{"numeric": [">", 1, "<", 2, "<"]}]', "Too many terms in numeric range expression"),
        ('[{"numeric": [">=", 2, "<=", 2]}]', "Bottom must be less than top"),
        ('[{"anything-but": []}]', "Empty arrays are not allowed"),
        ('[{"anything-but": null}]', "Value of anything-but must be an array or single string/number value."),
        ('[{"anything-but": [true]}]', "Inside anything but list, start|null|boolean is not supported."),
        ('[{"anything-but": [["x"]]}]', "Inside anything but list, start|null|boolean is not supported."),
        (
            '[{"anything-but": ["x", 1]}]',
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        ('[{"anything-but": {"numeric": ["=", 1]}}]', "Unsupported anything-but pattern: numeric"),
        ('[{"anything-but": {"prefix": ""}}]', "Null prefix/suffix not allowed"),
        ('[{"anything-but": {"suffix": ["a", ""]}}]', "Null prefix/suffix not allowed"),
        ('[{"anything-but": {"prefix": [1]}}]', "prefix/suffix match pattern must be a string"),
        ('[{"anything-but": {"prefix": []}}]', "Empty arrays are not allowed"),
        ('"x"', '"a" must be an object or an array'),
        ("{}", "Empty objects are not allowed"),
    ],
)
def test_fault_has_the_words_of_aws(conditions: str, message: str) -> None:
    """One fault per malformed condition."""
    assert [fault.message for fault in faults_of(f'{{"a": {conditions}}}')] == [message]


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("[]", "Filter is not an object", ("$", 1, 1)),
        ('{"a": [1}', "failed to parse JSON. expected `,` or `]`, found '}'", ("$", 1, 9)),
        ('{"a":\n [1],\n "a": [2]}', "Path `a` cannot be allowed multiple times", ("$.a", 3, 2)),
        ('{"a": {"b": [1]}, "a.b": [1]}', "Path `a.b` cannot be allowed multiple times", ("$['a.b']", 1, 19)),
        ('{"a": [1], "$or": [{"a": [2]}, {"b": [3]}]}', "Path `a` cannot be allowed multiple times",
         ("$.$or[0].a", 1, 21)),
        ('{"$or": [{"a": [2]}, {"b": [3]}], "a": [1]}', "Path `a` cannot be allowed multiple times",
         ("$.$or[0].a", 1, 11)),
        ('{"$or": [{"a": [1]}, {}]}', "Empty objects are not allowed", ("$.$or[1]", 1, 22)),
        ('{"$or": []}', "Empty arrays are not allowed", ("$.$or", 1, 9)),
        ('{"$or": [{"a": [1]}]}', "Unrecognized match type a", ("$.$or[0]", 1, 11)),
        ('{"$or": [{"a": [1]}, {"prefix": 2}]}', "Unrecognized match type a", ("$.$or[0]", 1, 11)),
    ],
)  # fmt: skip
def test_fault_of_the_structure_has_its_place(text: str, message: str, place: tuple[str, int, int]) -> None:
    """Message, JSON path, line and column."""
    first = faults_of(text)[0]
    assert (first.message, (first.path, first.line, first.column)) == (message, place)


def test_all_faults_are_reported_in_the_order_of_the_text() -> None:
    """Not only the first, as AWS does."""
    found = faults_of('{"b": ["x", {"p": 1}], "a": [],\n "c": {"d": 5}}')
    assert [(fault.path, fault.line, fault.column) for fault in found] == [
        ("$.b[1]", 1, 14),
        ("$.a", 1, 29),
        ("$.c.d", 2, 13),
    ]


def test_the_same_key_in_different_alternatives_is_no_repetition() -> None:
    """Only one of them is ever in force."""
    policy = parse_policy('{"$or": [{"a": [1]}, {"a": [2]}]}', SNS_ATTRIBUTES)
    assert [[rule.key for rule in branch] for branch in policy.branches()] == [["a"], ["a"]]


@pytest.mark.parametrize(
    "condition", ['"prefix": "x"', '"numeric": [">", 1]', '"exists": true', '"anything-but": "x"'], ids=str
)
def test_or_with_an_operator_name_inside_is_an_ordinary_field(condition: str) -> None:
    """As event-ruler reads it."""
    policy = parse_policy(f'{{"$or": [{{{condition}}}, {{{condition}}}]}}', EVENTBRIDGE)
    assert [rule.key for rule in policy.rules] == ["$or"]


def test_attributes_do_not_nest_but_may_have_dots_in_their_names() -> None:
    """A dotted attribute is one name."""
    assert parse_policy('{"a.b": ["x"]}', SNS_ATTRIBUTES).rules[0].key == "a.b"
    assert faults_of('{"a": {"b": ["x"]}}', SNS_ATTRIBUTES)[0].message == (
        "Filter policy scope MessageAttributes does not support nested filter policy"
    )


@pytest.mark.parametrize(
    ("text", "dialect", "complexity"),
    [
        ('{"a": ["1", "2", "3"], "b": ["1"], "c": ["1", "2"]}', SNS_ATTRIBUTES, 6),
        ('{"a": {"b": {"c": [1, 2, 3, 4]}}, "d": {"e": [1, 2, 3]}}', SNS_BODY, 72),
        ('{"$or": [{"a": ["1", "2"]}, {"b": ["1", "2", "3"]}], "c": ["1", "2"]}', SNS_ATTRIBUTES, 10),
        ("{}", SNS_ATTRIBUTES, 1),
    ],
)
def test_complexity_counts_as_amazon_sns(text: str, dialect: Dialect, complexity: int) -> None:
    """The documented examples."""
    assert parse_policy(text, dialect).complexity == complexity


def test_150_combinations_are_allowed_and_152_are_not() -> None:
    """The documented limit, with alternatives that add up."""
    alternatives = '"$or": [{{"a": {a}}}, {{"b": {b}}}]'
    numbers = {count: str([str(number) for number in range(count)]).replace("'", '"') for count in (75, 76)}
    parse_policy("{" + alternatives.format(a=numbers[75], b=numbers[75]) + "}", SNS_ATTRIBUTES)
    found = faults_of("{" + alternatives.format(a=numbers[76], b=numbers[76]) + "}", SNS_ATTRIBUTES)
    assert [fault.message for fault in found] == ["Filter policy is too complex"]


def test_body_policies_count_their_outermost_keys_only() -> None:
    """Six keys below one parent are one key."""
    inner = ", ".join(f'"k{number}": ["x"]' for number in range(6))
    relaxed = replace(SNS_BODY, max_combinations=None)
    parse_policy(f'{{"parent": {{{inner}}}}}', relaxed)
    assert faults_of(f"{{{inner}}}", relaxed)[0].message == "Filter policy can not have more than 5 keys"


def test_expansion_of_alternatives_is_bounded_before_it_happens() -> None:
    """Nested alternatives multiply: a short text must not fill the memory."""
    alternatives = ", ".join(
        f'"k{number}": {{"$or": [{{"a": ["x"]}}, {{"b": ["x"]}}]}}' for number in range(MAX_BRANCHES.bit_length())
    )
    assert [fault.message for fault in faults_of(f"{{{alternatives}}}")] == ["Filter policy is too complex"]


def test_eventbridge_has_no_limit_on_combinations() -> None:
    """Arrays do not multiply branches there."""
    keys = ", ".join(f'"k{number}": [1, 2, 3, 4, 5, 6, 7, 8, 9]' for number in range(9))
    assert parse_policy(f"{{{keys}}}", EVENTBRIDGE).branch_count == 1


def test_policy_beyond_256_kib_is_refused() -> None:
    """Counted in bytes of UTF-8."""
    text = '{"a": ["' + "é" * (MAX_POLICY_BYTES // 2) + '"]}'
    assert faults_of(text)[0].message == f"Filter policy can not be larger than {MAX_POLICY_BYTES} bytes"


@pytest.mark.parametrize(
    ("number", "allowed"),
    [("1000000000", True), ("-1e9", True), ("1000000000.5", False), ("0.12345000", True), ("0.123456", False),
     ("1e-5", True), ("1e-6", False), ("0e-9", True), ("1e400", False)],
)  # fmt: skip
def test_numbers_of_sns_policies_are_limited(number: str, *, allowed: bool) -> None:
    """Range and digits after the point, wherever the number stands; trailing zeros do not count."""
    texts = [f"[{number}]", f'[{{"numeric": ["<", {number}]}}]', f'[{{"anything-but": [{number}]}}]']
    for text in texts:
        parse_policy(f'{{"a": {text}}}', EVENTBRIDGE)
        if allowed:
            parse_policy(f'{{"a": {text}}}', SNS_BODY)
        else:
            assert faults_of(f'{{"a": {text}}}', SNS_BODY)[0].message.startswith("Number must ")


def test_paths_quote_names_that_do_not_stand_alone() -> None:
    """A path can be read back."""
    assert member_path("$", "price") == "$.price"
    assert member_path("$.a", "it's") == r"$.a['it\'s']"


def test_faults_can_be_told_whatever_the_policy_holds() -> None:
    """Half a surrogate pair, which JSON may escape, in an operator and in a name."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(r'{"\ud800": [{"\udfff": 1}]}', SNS_ATTRIBUTES)
    (fault,) = caught.value.faults
    assert str(fault).encode()
    assert (fault.message, fault.path) == (r"Unrecognized match type \udfff", r"$['\ud800'][0]")


def test_thousands_of_faults_are_cut() -> None:
    """Each one costs a look through the text and room in the answer."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(f'{{"a": [{",".join(["{}"] * 5000)}]}}', SNS_ATTRIBUTES)
    assert len(caught.value.faults) == MAX_FINDINGS
