"""A stand-in for `cmd.exe /c`, run as a program of its own with a Windows command line as its only argument.

It knows `echo`, `set`, `type`, `copy`, `mkdir`, `cd`, `rem`, `exit`, `%VARIABLE%`, `&`, `&&`, `||`, and redirection of
output. Whatever else is asked of it fails, and says on stderr what it was. It imports nothing of the emulator.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

_CMD = re.compile(r'\s*"?(?:[^"\s]*[\\/])?cmd(?:\.exe)?"?((?:\s+/[sqdSQD])*)\s+/[cC]\s?(.*)', re.IGNORECASE | re.DOTALL)
_PART = re.compile(r'"[^"]*"?|\^.|&&|\|\||[12]?>>?(?:&[12])?|[&|<()]|\s+|[^"^&|<>()\s]+|.', re.DOTALL)
_REDIRECTION = re.compile(r"([12]?)(>>?)(?:&([12]))?")
_NOT_FOUND = 1  # cmd.exe has 9009; an exit code has eight bits here


class Unknown(Exception):
    """What the stand-in does not do."""


class Exit(Exception):
    """`exit` was reached, with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Command:
    """One simple command: its text, and where its output goes."""

    def __init__(self) -> None:
        self.text = ""
        self.outputs: list[tuple[str, str, str]] = []  # descriptor, "w", "a" or "&", file or descriptor

    @property
    def name(self) -> str:
        """The command's name in lower case; what is stuck to `echo` by a dot or colon is not a part of it."""
        found = re.match(r"\s*@?([^\s.:/=,;]+)", self.text)
        return found[1].lower() if found else ""

    @property
    def rest(self) -> str:
        """What follows the name."""
        return self.text.lstrip().removeprefix("@")[len(self.name) :]


def expanded(line: str) -> str:
    """The line with its %variables%; one that is not set is left as it is written, as cmd does for `/c`."""
    variables = {name.lower(): value for name, value in os.environ.items()} | {"cd": str(Path.cwd()), "errorlevel": "0"}
    return re.sub(r"%([^%\s]+)%", lambda found: variables.get(found[1].lower(), found[0]), line)


def parsed(line: str) -> list[tuple[str, Command]]:
    """The commands of a line, each with what stands before it: "", `&`, `&&` or `||`.

    Raises:
        Unknown: for syntax that the stand-in does not know.
    """
    commands = [("", Command())]
    awaiting = False  # the name of the file after `>`
    for part in _PART.findall(line):
        command = commands[-1][1]
        if part in ("&", "&&", "||"):
            commands.append((part, Command()))
            awaiting = False
        elif part in ("|", "<", "(", ")"):
            raise Unknown(f"{part!r}")
        elif redirection := _REDIRECTION.fullmatch(part):
            descriptor, arrow, other = redirection.groups()
            command.outputs.append((descriptor or "1", "&" if other else "a" if arrow == ">>" else "w", other or ""))
            awaiting = not other
        elif awaiting and not part.isspace():
            command.outputs[-1] = (*command.outputs[-1][:2], part)
            awaiting = False
        elif not awaiting:
            command.text += part[1] if part.startswith("^") and len(part) == 2 else part
    return commands


def _path(text: str) -> Path:
    return Path(text.strip().strip('"').replace("\\", "/"))


def _arguments(text: str) -> list[str]:
    return [found for found in re.findall(r'"[^"]*"|\S+', text) if not re.fullmatch(r"/[a-zA-Z]+", found)]


def echo(rest: str, output: TextIO) -> int:
    """Write a line."""
    text = rest[1:] if rest[:1] in (" ", ".", ":", "\t") else rest
    output.write(f"{text}\r\n")
    return 0


def set_variable(rest: str, output: TextIO) -> int:
    """Set a variable for what follows, or show those that begin so."""
    text = rest.strip().strip('"')
    name, equals, value = text.partition("=")
    if name.startswith("/"):
        raise Unknown(f"set {name.split()[0]}")
    if equals:
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)
        return 0
    shown = [f"{each}={os.environ[each]}\r\n" for each in sorted(os.environ) if each.lower().startswith(text.lower())]
    output.write("".join(shown))
    return 0 if shown else 1


def type_files(rest: str, output: TextIO) -> int:
    """Write the content of files."""
    for argument in _arguments(rest):
        output.write(_path(argument).read_bytes().decode())  # with its own ends of lines
    return 0


def copy(rest: str, output: TextIO) -> int:
    """Copy a file."""
    arguments = _arguments(rest)
    if not 1 <= len(arguments) <= 2 or any("+" in each or "*" in each for each in arguments):
        raise Unknown("copy of other than one file to another")
    shutil.copy(_path(arguments[0]), _path(arguments[1]) if len(arguments) == 2 else Path.cwd())
    output.write("        1 file(s) copied.\r\n")
    return 0


def make_directories(rest: str, _output: TextIO) -> int:
    """Make directories with those above them."""
    for argument in _arguments(rest):
        _path(argument).mkdir(parents=True)
    return 0


def change_directory(rest: str, output: TextIO) -> int:
    """Go to a directory, or say which this is."""
    arguments = _arguments(rest)
    if arguments:
        os.chdir(_path(" ".join(arguments)))
    else:
        output.write(f"{Path.cwd()}\r\n")
    return 0


def leave(rest: str, _output: TextIO) -> int:
    """End, with an exit code."""
    code = "".join(_arguments(rest)) or "0"
    if not re.fullmatch(r"-?\d{1,10}", code):
        raise Unknown(f"exit {code}")
    raise Exit(int(code))


COMMANDS: dict[str, Callable[[str, TextIO], int]] = {
    "echo": echo,
    "set": set_variable,
    "type": type_files,
    "copy": copy,
    "md": make_directories,
    "mkdir": make_directories,
    "cd": change_directory,
    "rem": lambda _rest, _output: 0,
    "exit": leave,
}


def run(command: Command) -> int:
    """Run one command with its output where it is to go; its exit code."""
    with ExitStack() as opened:
        streams = {"1": sys.stdout, "2": sys.stderr}
        for descriptor, mode, name in command.outputs:
            if mode == "&":
                streams[descriptor] = streams[name]
            elif name.lower() == "nul":
                streams[descriptor] = opened.enter_context(Path(os.devnull).open("w"))
            else:
                streams[descriptor] = opened.enter_context(_path(name).open(mode, newline=""))
        try:
            known = COMMANDS.get(command.name)
            if known is None:
                raise Unknown(f"{command.name!r}")
            return known(command.rest, streams["1"])
        except Unknown as error:
            names = ", ".join(COMMANDS)
            streams["2"].write(f"{error} is not known to this stand-in for cmd.exe, which has {names}.\r\n")
            return _NOT_FOUND
        except (OSError, UnicodeDecodeError) as error:
            streams["2"].write(f"{error}\r\n")
            return 1


def interpret(line: str) -> int:
    """Run a Windows command line; its exit code."""
    found = _CMD.fullmatch(line)
    if not found:
        sys.stderr.write("Only `cmd /c ...` runs on a node that stands in for Windows.\r\n")
        return _NOT_FOUND
    inner = found[2].strip()
    if inner.startswith('"') and inner.endswith('"') and len(inner) > 1:
        inner = inner[1:-1]
    code = 0
    try:
        for before, command in parsed(expanded(inner)):
            if (before == "&&" and code) or (before == "||" and not code) or not command.text.strip():
                continue
            code = run(command)
            sys.stdout.flush()
    except Unknown as error:
        sys.stderr.write(f"{error} is not known to this stand-in for cmd.exe.\r\n")
        return _NOT_FOUND
    except Exit as ended:
        return ended.code
    return code


if __name__ == "__main__":
    sys.stdout.reconfigure(newline="")  # pyright: ignore[reportAttributeAccessIssue]
    sys.stderr.reconfigure(newline="")  # pyright: ignore[reportAttributeAccessIssue]
    sys.exit(interpret(sys.argv[1]) & 0xFF)
