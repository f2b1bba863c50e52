"""YAML files as plain values, validated by pydantic, with errors that name the file and the key."""

import io
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mnist_cnn.errors import UserError
from mnist_cnn.files import write_text

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

# Short, as YAML with aliases can make a list of billions from a few lines.
_shortened = reprlib.Repr()
_shortened.maxlevel = 2


class Section(BaseModel):
    """Part of a file: immutable, no unknown keys, no conversion of types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def read(path: Path) -> Any:
    """The content of a YAML 1.2 (or JSON) file. Raises `UserError` if it cannot be read."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run this in the root of the project") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    # The parser passes on what it meets while converting, such as the date 2001-99-99.
    except (YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None


def write(path: Path, content: Any) -> None:
    """Write plain values as a YAML file."""
    text = io.StringIO()
    YAML().dump(content, text)  # the kind that keeps the order of keys
    write_text(path, text.getvalue())


def validate(path: Path, content: Any, model: type[Model]) -> Model:
    """The content of a file as a pydantic model. Raises `UserError` that names every wrong key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error, content)}") from None


def describe(error: ValidationError, content: Any) -> str:
    """A validation error of `content` in one line: each wrong key, the reason and the value found.

    Unknown keys come first, because a mistyped key is reported as missing too.
    """
    details = error.errors(include_url=False, include_context=False)
    details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    return "; ".join(_describe(detail, content) for detail in details)


def _describe(detail: Any, content: Any) -> str:
    keys = [*_keys(detail["loc"], content)]
    if detail["type"] == "missing":
        keys.append(detail["loc"][-1])
    key = ".".join(map(str, keys))
    key = "".join(char if char.isprintable() else repr(char)[1:-1] for char in key)
    message = detail["msg"].removeprefix("Value error, ")
    value = detail["input"]
    found = "" if isinstance(value, dict) else f" (found {_shortened.repr(value)})"
    return f"{key}: {message}{found}" if key else f"{message}{found}"


def _is_index(part: int | str, content: Any) -> bool:
    return isinstance(part, int) and isinstance(content, list)


def _keys(location: Sequence[int | str], content: Any) -> Iterator[int | str]:
    """The keys in the file that lead to an error; pydantic puts names of types among them."""
    for part in location:
        if part in content if isinstance(content, dict) else _is_index(part, content):
            yield part
            content = content[part]
