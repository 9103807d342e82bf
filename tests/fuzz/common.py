"""What the targets share: hostile values, ways to break bytes, and the boundary that maps errors to exit codes."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from counterpoise.cli import app as cli
from counterpoise.core.boundaries import explain
from counterpoise.llm import BudgetSpent
from counterpoise.report.screen import clean_text

DEEP = 60_000
"""Brackets of a value that is nested deeper than any parser goes."""

STRINGS = (
    *(
        "",
        " ",
        "\t",
        "\n",
        "\r\n",
        "a",
        "null",
        "None",
        "nan",
        "NaN",
        "inf",
        "-Infinity",
        "1e400",
        "1.0",
        "01",
        "-0",
    ),
    *(
        "9" * 30,
        "9" * 5000,
        "0x10",
        "1_000",
        "2021-02-30",
        "true",
        "=1+1",
        "@user",
        "a,b",
        "a;b",
        "a\tb",
        'a"b',
        '"',
    ),
    *(
        "'",
        "\\",
        "\\n",
        "{}",
        "[]",
        "<script>alert(1)</script>",
        "| a |",
        "](x)",
        "../../etc/passwd",
        "/dev/zero",
    ),
    *(
        "a\0b",
        "\0",
        "\ud800",
        "a\udcff",
        "\ufeff",
        "a\ufeffb",
        "\u202eabc",
        "\x1b[31mred",
        "\x9b31m",
        "\u2028",
        "\x85",
    ),
    *(
        "é",
        "e\u0301",
        "İ",
        "ß",
        "\U0001f600",
        "الجملة",
        "文字",
        "%s %d {0} {x}",
        "x" * 300,
        "word " * 4000,
        "x" * 70_000,
    ),
)

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40, 10**400),
    *(0.0, -0.0, 0.5, 1e308, 5e-324, float("inf"), float("-inf"), float("nan")),
)


class Source(random.Random):
    """A random source with the words of this grammar."""

    def pick_string(self) -> str:
        """Any text, hostile ones among them."""
        if self.random() < 0.3:
            blocks = (0x20, 0x41, 0xE9, 0x3B1, 0x5D0, 0x4E00, 0x1F600)
            return "".join(chr(self.choice(blocks) + self.randrange(20)) for _ in range(9))
        return self.choice(STRINGS)

    def pick_value(self, depth: int = 0) -> Any:
        """Any plain value."""
        draw = self.random()
        if draw < 0.45:
            return self.pick_string()
        if draw < 0.65:
            return self.choice(NUMBERS)
        if draw < 0.8 or depth > 2:
            return self.choice((None, True, False))
        if draw < 0.9:
            return [self.pick_value(depth + 1) for _ in range(self.randrange(4))]
        return {self.pick_string(): self.pick_value(depth + 1) for _ in range(self.randrange(4))}

    def is_hit(self, share: float) -> bool:
        """True with this probability."""
        return self.random() < share


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended: its exit code, what was said on standard error, and the trace of a fault."""

    code: int
    said: str = ""
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """An input that did what no input may do."""

    target: str
    number: int
    what: str
    detail: str


@dataclass
class Tally:
    """What came of the inputs of one target."""

    codes: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


Target = Callable[[Source, Path], Iterator[Ended]]
"""Builds one input in an empty folder and gives how each call with it ended; AssertionError for a broken promise."""


def call(*arguments: object) -> Ended:
    """The command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), noted_fault() as fault:
        code = cli.execute([str(argument) for argument in arguments])
    return Ended(code, err.getvalue(), fault[0] if fault else "")


@contextmanager
def noted_fault() -> Iterator[list[str]]:
    """The trace of an error that the command line calls internal."""
    found: list[str] = []
    before = cli._explain_foreign

    def note(session: Any, error: Exception) -> int:
        if explain(error) is None:
            found.append("".join(traceback.format_exception(error)))
        return before(session, error)

    cli._explain_foreign = note
    try:
        yield found
    finally:
        cli._explain_foreign = before


def guard(act: Callable[[], object]) -> Ended:
    """A function under the boundary of the command line."""
    try:
        act()
    except AssertionError:
        raise
    except Exception as error:
        known = explain(error)
        if isinstance(error, BudgetSpent):
            return Ended(0)
        if known is None:
            return Ended(4, f"internal error: {error}", "".join(traceback.format_exception(error)))
        return Ended(known.exit_code, f"error: {clean_text(known)}\n")
    return Ended(0)


def check_end(ended: Ended, allowed: frozenset[int] = frozenset({0, 1, 2, 3})) -> str:
    """What is wrong with how a call ended, "" where nothing is."""
    if ended.trace or "internal error" in ended.said:
        return "internal error"
    if ended.code not in allowed:
        return f"exit code {ended.code}"
    if "Traceback" in ended.said:
        return "traceback"
    if ended.code >= 2 and (ended.said.count("\n") > 1 or not ended.said.strip()):
        return "not one line"
    if ended.code >= 2 and len(ended.said) > 2000:
        return "a line of more than 2,000 characters"
    if any(ord(mark) < 32 and mark != "\n" for mark in ended.said):
        return "a control character on the terminal"
    return ""


class HangError(BaseException):
    """An input that takes longer than any may."""


@contextmanager
def ending_hangs(seconds: int) -> Iterator[None]:
    """An input that hangs is a finding, not the end of the harness."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        raise HangError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_target(
    name: str, target: Target, seed: int, numbers: range, folder: Path, most_seconds: int = 60
) -> Tally:
    """Run a target on inputs; each has a source and an empty folder of its own, so that any can be run again alone."""
    tally = Tally()
    for number in numbers:
        place = folder / f"{name}-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            with ending_hangs(most_seconds):
                for ended in target(Source(f"{seed}:{name}:{number}"), place):
                    tally.codes[ended.code] = tally.codes.get(ended.code, 0) + 1
                    if wrong := check_end(ended):
                        tally.findings.append(Finding(name, number, wrong, ended.trace or ended.said[:2000]))
        except HangError as error:
            tally.findings.append(Finding(name, number, "hang", "".join(traceback.format_exception(error))))
        except AssertionError as error:
            tally.findings.append(
                Finding(name, number, "broken promise", f"{error}\n{traceback.format_exc()}")
            )
        except Exception:
            tally.findings.append(Finding(name, number, "the target itself failed", traceback.format_exc()))
        shutil.rmtree(place, ignore_errors=True)
    return tally


def dump_json(source: Source, value: Any) -> str:
    """JSON text of a value, in one of the spellings that programs write."""
    text = json.dumps(value, ensure_ascii=source.is_hit(0.5), default=str)
    if source.is_hit(0.002):
        text = text.replace(":", ":" + "[" * DEEP, 1)
    if source.is_hit(0.001):
        text = "[" * DEEP + "]" * DEEP
    if source.is_hit(0.004):
        text = text[:-1] + ', "text": 1}' if text.endswith("}") else text
    return text


def encode(source: Source, text: str) -> bytes:
    """Bytes of a text in some encoding, with some kind of line end."""
    ends = source.choice(("\n",) * 6 + ("\r\n", "\r\n", "\r"))
    if ends != "\n":
        text = text.replace("\n", ends)
    odd = ("utf-8-sig", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32")
    code = source.choice(("utf-8",) * 60 + odd)
    return text.encode(code, "surrogatepass" if code.startswith("utf") and source.is_hit(0.1) else "replace")


def break_bytes(source: Source, content: bytes) -> bytes:
    """The content, broken in one of the ways of disks, editors, downloads and enemies; half of the time not at all."""
    if source.is_hit(0.5) or not content:
        return content
    place = source.randrange(len(content))
    match source.randrange(12):
        case 0:
            return content[:place]
        case 1:
            return content[:place] + bytes([source.randrange(256)]) + content[place + 1 :]
        case 2:
            return content[:place] + b"\0" + content[place:]
        case 3:
            return content[:place] + b'"' + content[place:]
        case 4:
            return content.replace(b'"', b"", 1)
        case 5:
            return content + content
        case 6:
            return content[:place] + source.randbytes(40) + content[place:]
        case 7:
            return b"\xef\xbb\xbf" + content
        case 8:
            return b""
        case 9:
            return content[:place] + b"\xff\xfe" + content[place:]
        case 10:
            return content.replace(b"\n", b"\n\n")
        case _:
            return content[:place] + content[place + source.randrange(1, 40) :]


def pack(source: Source, content: bytes) -> bytes:
    """Gzip, whole or broken."""
    packed = gzip.compress(content, mtime=0)
    match source.randrange(20):
        case 0:
            return packed[: source.randrange(1, len(packed))]
        case 1:
            place = source.randrange(len(packed))
            return packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :]
        case 2:
            return packed + b"rubbish behind the end"
        case 3:
            return packed + gzip.compress(content)
        case 4:
            return content
        case _:
            return packed


def put(source: Source, path: Path, content: bytes) -> None:
    """Write a file, or something else where a file is expected."""
    match source.randrange(120):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to(path.name)
        case 2:
            path.symlink_to(source.choice(("/dev/zero", "/dev/null", "/proc/self/mem", "/nowhere/at/all")))
        case 3:
            import os

            os.mkfifo(path)
        case 4:
            path.write_bytes(b"")
        case 5:
            pass
        case _:
            path.write_bytes(content)
