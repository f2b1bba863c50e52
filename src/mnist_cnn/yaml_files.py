"""YAML files as plain values, and in words of YAML what is wrong with them."""

import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mnist_cnn.errors import UserError

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

Model = TypeVar("Model", bound=BaseModel)


def read(path: Path) -> Any:
    """The content of a YAML 1.2 file as plain values. Raises `UserError` when it has none."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the root of the project") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    # The parser lets through what `int`, `datetime` and its tables raise, of 2001-99-99 for one.
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not plain YAML ({_one_line(error)})") from None


def check(path: Path, given: Any, model: type[Model]) -> Model:
    """A file's content as a model of pydantic. Raises `UserError` that names every wrong key."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error, given)}") from None


# Where those of pydantic speak of Python rather than of YAML.
_MESSAGES = {
    "missing": "missing",
    "extra_forbidden": "there is no such key",
    "model_type": "expected keys with values",
    "model_attributes_type": "expected keys with values",
    "union_tag_not_found": "needs a type: int, float or categorical",
}


def describe(error: ValidationError, given: Any) -> str:
    """One clause an error: the key's path, what was expected, what was there.

    Unknown keys come first, as one that is mistyped is also missing.
    """
    clauses = []
    details = error.errors(include_url=False, include_context=False)
    for detail in sorted(details, key=lambda detail: detail["type"] != "extra_forbidden"):
        names = [*_given(detail["loc"], given)]
        if detail["type"] == "missing":
            names.append(detail["loc"][-1])
        key = ".".join(part if (part := str(name)).isprintable() else repr(part) for name in names)
        message = _MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        message = message[0].lower() + message[1:]
        shown = "" if isinstance(detail["input"], dict) else f" (found {_shown(detail['input'])})"
        clauses.append(f"{key}: {message}{shown}" if key else f"{message}{shown}")
    return "; ".join(clauses)


def _shown(value: Any) -> str:
    """A value in short: a few lines of YAML with aliases can make a list of billions."""
    short = reprlib.Repr()
    short.maxlevel = 2
    short.maxstring = short.maxother = 80
    return short.repr(value)


def _given(location: Sequence[int | str], given: Any) -> Iterator[int | str]:
    """The keys that lead to an error, without the names of types that pydantic puts among them."""
    for part in location:
        if part in given if isinstance(given, dict) else isinstance(given, list):
            yield part
            given = given[part]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
