"""The child process of `pattern`: a JSON line per question, a JSON line per answer, each in bounded processor time.

`["pattern", pattern, value]` → true, false, or the fault of the pattern. `["schema", schema, value]` → the list of what
the value violates, never with the value in it, or the fault of the schema. `value` null checks the schema alone. Runs
as a script without the product on its path. It ends with its input, and by SIGVTALRM when an answer takes too long.
"""

import json
import re
import signal
import sys
import warnings

_MAX_FAULTS = 5


def main() -> None:
    cpu_seconds = float(sys.argv[1])
    warnings.simplefilter("ignore")  # what a later Python may read differently is a matter of the caller
    for line in sys.stdin:
        kind, rule, value = json.loads(line)
        if kind == "schema":
            import jsonschema  # noqa: F401, PLC0415 - 0.2 s that patterns need not wait for, outside the bounded time
        # Not handled, so its default action ends the process even while the engine holds the interpreter.
        signal.setitimer(signal.ITIMER_VIRTUAL, cpu_seconds)
        answer = _matches(rule, value) if kind == "pattern" else _violations(rule, value)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


def _matches(pattern: str, value: str) -> bool | str:
    try:
        return re.fullmatch(pattern, value) is not None
    except (re.error, OverflowError, RecursionError) as error:
        return str(error)


def _violations(text: str, value: str | None) -> list[str] | str:
    import jsonschema  # noqa: PLC0415
    import referencing  # noqa: PLC0415

    validator = jsonschema.Draft202012Validator
    try:
        schema = json.loads(text)
        validator.check_schema(schema)
        if value is None:
            return []
        instance = json.loads(value)
    except jsonschema.SchemaError as error:
        return f"{error.json_path}: {error.message}"
    except (ValueError, RecursionError) as error:
        return ["$: is not JSON"] if value is not None and "schema" in locals() else f"is not JSON: {error}"
    try:
        # An empty registry: a schema must not make this service fetch what it refers to.
        errors = validator(schema, registry=referencing.Registry()).iter_errors(instance)
        return [_shown(error) for error, _ in zip(errors, range(_MAX_FAULTS), strict=False)]
    except (referencing.exceptions.Unresolvable, re.error, RecursionError) as error:
        return f"cannot be applied: {error}"


def _shown(error: "jsonschema.ValidationError") -> str:  # type: ignore[name-defined] # noqa: F821
    """Where and which rule, without the value: it may be a secret."""
    rule = json.dumps(error.validator_value)
    return f"{error.json_path}: violates {error.validator} {rule if len(rule) <= 200 else '…'}"  # noqa: PLR2004


if __name__ == "__main__":
    main()
