r"""The methods that a worker offers, as the TOML files of g-multiworker define them; pure but for `read`.

A table is a method if it has settings of its own, and a namespace as far as it holds further tables: `[Test.Foo.echo]`
with a `command` defines `Test\Foo::echo`. `[config]` at the top is for the whole worker.

A file that is not TOML stops the worker (`ConfigError`). A method with a wrong setting is left out, and a remark says
which file, line and key is at fault; the others work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs

from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES
from gearbox.errors import ConfigError
from gearbox.work.runner import OUTPUT_LIMIT_BYTES, Command, Input, Output, refusal, warnings
from gearbox.work.toml import Source, load

__all__ = ["Config", "Method", "parse", "read"]

STOP_TIMEOUT = 30.0  # seconds that running jobs have after the worker was asked to stop


@attrs.frozen
class Method:
    r"""One method and how its jobs are run. The fields are the settings of the seed's README.

    `name` is the whole one (`Test\Foo::echo`). `output_limit` is in bytes of standard output.
    """

    name: str
    command: Command
    input: Input = Input.STDIN
    output: Output = Output.STRING
    log: str | None = None
    log_output: bool = False
    log_no_time: bool = False
    concurrency: int = 1
    disabled: bool = False
    output_limit: int = OUTPUT_LIMIT_BYTES


@attrs.frozen
class Config:
    """What several files say together. `remarks` are for the operator, one sentence each."""

    methods: tuple[Method, ...] = ()
    reload_worker: bool = False
    stop_timeout: float = STOP_TIMEOUT
    remarks: tuple[str, ...] = ()


def read(paths: Sequence[str]) -> Config:
    """The configuration in the files. Raises ConfigError if one cannot be read or is not TOML."""
    texts, faults = [], []
    for path in paths:
        try:
            texts.append((path, Path(path).read_text(encoding="utf-8")))
        except OSError as problem:
            faults.append(f"{path}: {problem.strerror}")
        except UnicodeDecodeError as problem:
            faults.append(f"{path}: not UTF-8 ({problem.reason} at byte {problem.start})")
    if faults:
        raise ConfigError(faults)
    return parse(texts)


def parse(texts: Sequence[tuple[str, str]]) -> Config:
    """The configuration in the texts, each after the name of its file. Raises ConfigError if one is not TOML."""
    documents, faults = [], []
    for path, text in texts:
        try:
            documents.append((Source(path, text), load(text)))
        except ValueError as problem:
            faults.append(f"{path}: {problem}")
    if faults:
        raise ConfigError(faults)

    remarks: list[str] = []
    general: dict[str, Any] = {}
    methods: dict[str, Method] = {}
    for source, document in documents:
        general |= _general(source, document.get("config", {}), remarks)
        tables = {key: value for key, value in document.items() if key != "config"}
        for method in _methods(source, (), tables, remarks):
            if method.name in methods:
                remarks.append(f"{method.name} is defined again ({source.path}), the first definition holds")
            else:
                methods[method.name] = method
    return Config(tuple(methods.values()), remarks=tuple(remarks), **general)


def _general(source: Source, table: Any, remarks: list[str]) -> dict[str, Any]:
    if not isinstance(table, dict):
        remarks.append(f"config is not a table ({source.where('config')})")
        return {}
    values = {}
    for key, value in table.items():
        try:
            values[key] = GENERAL_SETTINGS[key](value)
        except KeyError:
            remarks.append(f"config has an unknown setting: {key} ({source.where('config', key)})")
        except ValueError as problem:
            remarks.append(f"config has invalid {key} setting: {problem} ({source.where('config', key)})")
    return values


def _methods(source: Source, keys: tuple[str, ...], table: Mapping[str, Any], remarks: list[str]) -> Iterator[Method]:
    """The methods in `table`, which stands at `keys`."""
    settings = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if settings and not keys:
        remarks += [f"unknown setting outside of any table: {key} ({source.where(key)})" for key in settings]
    elif settings or (keys and not table):
        method = _method(source, keys, settings, remarks)
        if method is not None:
            yield method
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _methods(source, (*keys, key), value, remarks)


def _method(source: Source, keys: tuple[str, ...], settings: Mapping[str, Any], remarks: list[str]) -> Method | None:
    r"""The method, unless a setting is wrong or it is disabled; either is remarked."""
    name = "\\".join(keys[:-1]) + "::" + keys[-1]
    faults: list[str] = []

    def fault(text: str, *key: str) -> None:
        faults.append(f"{name} {text} ({source.where(*keys, *key)}), method skipped")

    values: dict[str, Any] = {}
    if not all(NAME_PART.fullmatch(key) for key in keys) or len(name.encode()) > MAX_FUNCTION_BYTES:
        fault("has a name that Gearman cannot carry")
    for key, value in settings.items():
        try:
            values[key] = METHOD_SETTINGS[key](value)
        except KeyError:
            fault(f"has an unknown setting: {key}", key)
        except ValueError as problem:
            fault("has invalid command syntax" if key == "command" else f"has invalid {key} setting: {problem}", key)
    if "command" not in settings:
        fault("has no command")
    if not faults:
        method = Method(name, **values)
        refused = refusal(method.command, method.input)
        if refused:
            fault(f"has invalid input setting: {refused}", "input" if "input" in settings else "command")
    if faults:
        remarks += faults
        return None
    remarks += [f"{name}: {text} ({source.where(*keys, 'command')})" for text in warnings(method.command, method.input)]
    if method.disabled:
        return None
    if method.concurrency < 1:
        remarks.append(f"{name} has concurrency < 1, assuming disabled=true")
        return None
    return method


NAME_PART = re.compile(r"[^\s\x00-\x1f\x7f:\\/]+")


def _command(value: Any) -> Command:
    match value:
        case str() if value.strip() and "\0" not in value:
            return value
        case [str(), *rest] if value[0] and all(
            isinstance(word, str) and "\0" not in word for word in (value[0], *rest)
        ):
            return tuple(value)
        case _:
            raise ValueError("neither text nor an array of texts")


def _choice(kind: type[Enum]) -> Callable[[Any], Enum]:
    def read(value: Any) -> Enum:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"{value} (choose from {', '.join(each.value for each in kind)})") from None

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not an integer")
    return value


def _size(value: Any) -> int:
    if _integer(value) < 1:
        raise ValueError(f"{value} is less than one byte")
    return int(value)


def _span(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f"{value!r} is not a number of seconds")
    return float(value)


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is not a path")
    return value


GENERAL_SETTINGS: Mapping[str, Callable[[Any], Any]] = {"reload_worker": _flag, "stop_timeout": _span}

METHOD_SETTINGS: Mapping[str, Callable[[Any], Any]] = {
    "command": _command,
    "input": _choice(Input),
    "output": _choice(Output),
    "log": _path,
    "log_output": _flag,
    "log_no_time": _flag,
    "concurrency": _integer,
    "disabled": _flag,
    "output_limit": _size,
}
