"""What a run shows while it runs: a live table on a terminal, plain lines elsewhere, or JSON a line.

All three are listeners of the same events (`counterpoise.core.events`). `open_screen` chooses. Text that comes
from data sets is printed as text: no markup, and no character that a terminal would obey.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from counterpoise.core.event_kinds import (
    Audited,
    Downloading,
    EncodersCompared,
    EncoderTuned,
    Encoding,
    Examining,
    Forecasting,
    GoldMatched,
    JudgeAudited,
    Judged,
    Judging,
    Measured,
    ModelFound,
    Outlook,
    Planned,
    PrefixCache,
    Projected,
    Read,
    RoundEnded,
    ServerReady,
    Starting,
    Step,
    StudentsTrained,
    TokensUsed,
    TrainingsPriced,
    Warned,
)
from counterpoise.core.events import Event, Listener, ignore
from counterpoise.report.pages import clean_numbers, format_count, format_decimal, format_name

if TYPE_CHECKING:
    from rich.console import Console, Group

MOST_CELLS = 10
PLAIN_SECONDS = 10.0
"""Plain lines about progress come no faster than this."""

PACE_SECONDS = 120.0
"""Tokens per second are those of the last so many seconds."""

_OBEYED = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
    )
}
"""Characters that a terminal obeys instead of showing: controls, line ends, changes of direction."""


def clean_text(text: object) -> str:
    """One line that any terminal can show: white space as spaces, controls written out."""
    line = " ".join(str(text).split())
    return line.translate(_OBEYED).encode("utf-8", "backslashreplace").decode()


def make_console(file: IO[str], *, width: int | None = None) -> Console:
    """A console that takes nothing in a text for markup, emoji or a number to colour."""
    from rich.console import Console

    return Console(file=file, markup=False, emoji=False, highlight=False, width=width)


def write_json(file: IO[str], name: str, data: Mapping[str, Any]) -> None:
    """One event as one line; `event` is its name, the other keys are its data, undefined numbers are null."""
    line = json.dumps({"event": name, **clean_numbers(data)}, allow_nan=False, default=str)
    file.write(line + "\n")
    file.flush()


@contextlib.contextmanager
def open_screen(
    file: IO[str], *, as_json: bool = False, is_quiet: bool = False, minutes: float | None = None
) -> Iterator[Listener]:
    """A listener that shows a run.

    Args:
        file: where to.
        as_json: one JSON object a line, whatever `file` is.
        is_quiet: show nothing (with `as_json` this changes nothing: a program reads it).
        minutes: the job's limit, for the time that is left.
    """
    if as_json:
        lock = threading.Lock()

        def tell(event: Event) -> None:
            with lock:
                write_json(file, event.name, event.data)

        yield tell
    elif is_quiet:
        yield ignore
    elif (console := make_console(file)).is_terminal and not console.is_dumb_terminal:
        with _show_live(console, minutes) as listener:
            yield listener
    else:
        yield PlainLines(file)


@dataclass
class RunState:
    """What the events of a run have told so far.

    Args:
        clock: seconds, as `time.monotonic` gives them.
        minutes: the job's limit.
    """

    clock: Callable[[], float] = time.monotonic
    minutes: float | None = None
    step: str = "starting"
    round: int = 0
    cells: list[Mapping[str, Any]] = field(default_factory=list)
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    tokens_used: float = 0
    tokens_paid: float = 0
    limit: float | None = None
    tokens_per_second: float | None = None
    bars: dict[str, tuple[float, float]] = field(default_factory=dict)
    started: float = field(init=False)
    _paid: deque[tuple[float, float]] = field(default_factory=deque)
    _begun: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def apply(self, event: Event) -> None:
        """Take one event in; an unknown one changes nothing."""
        if isinstance(event, Step):
            self._move_bar(_name_bar(event), event.done, event.total)
        match event:
            case Outlook():
                self.cells = list(event.deficits)
            case Planned():
                self.round = event.round
                self.step = event.reason or "working"
                if not self.cells:
                    self.cells = [{"cell": item["cell"], "need": item["count"]} for item in event.items]
            case TokensUsed():
                self.tokens_used, self.tokens_paid = event.tokens_used, event.tokens_paid
                self.limit = event.limit
                self._measure_pace()
            case Judged():
                self.accepted += event.accepted
                self.rejected.update(event.rejected)
            case RoundEnded():
                self.cells, self.accepted = list(event.cells), event.accepted_total
            case Read():
                self.step = "measuring the simple ways"
            case Measured() | ServerReady():
                self.step = "asking the model what it can do"
            case ModelFound():
                self.step = "auditing scorers"
            case Starting():
                self.step = "starting the model server"

    def _move_bar(self, name: str, done: float, total: float) -> None:
        self.bars[name] = (done, total)
        self._begun.setdefault(name, (self.clock(), done))
        if done >= total:
            del self.bars[name], self._begun[name]

    def estimate_bar_seconds(self, name: str) -> float | None:
        """Seconds until a bar is full, at its pace so far; None where that cannot be told yet."""
        if name not in self.bars:
            return None
        (done, total), (begun, before) = self.bars[name], self._begun[name]
        if done <= before:
            return None
        return (self.clock() - begun) / (done - before) * (total - done)

    def _measure_pace(self) -> None:
        """Tokens that were paid for, over the time between the first and the last report of late."""
        now = self.clock()
        self._paid.append((now, self.tokens_paid))
        while len(self._paid) > 2 and self._paid[0][0] < now - PACE_SECONDS:
            self._paid.popleft()
        seconds = now - self._paid[0][0]
        self.tokens_per_second = (self.tokens_paid - self._paid[0][1]) / seconds if seconds > 0 else None

    def list_short_cells(self) -> list[Mapping[str, Any]]:
        """The cells that lack records, those that lack most first."""
        short = [cell for cell in self.cells if cell.get("need")]
        return sorted(short, key=lambda cell: (-cell["need"], cell["cell"]))

    def estimate_seconds_left(self) -> float | None:
        """Seconds until tokens or minutes are spent, whichever is first; None where neither can be told."""
        left = []
        if self.limit is not None and self.tokens_per_second:
            left.append(
                max(0.0, self.limit - max(self.tokens_used, self.tokens_paid)) / self.tokens_per_second
            )
        if self.minutes is not None:
            left.append(max(0.0, 60 * self.minutes - (self.clock() - self.started)))
        return min(left, default=None)


@contextlib.contextmanager
def _show_live(console: Console, minutes: float | None) -> Iterator[Listener]:
    from rich.live import Live

    state, lock = RunState(minutes=minutes), threading.Lock()

    def render() -> Group:
        with lock:
            return render_state(state)

    with Live(console=console, get_renderable=render, refresh_per_second=4, transient=True) as live:

        def listen(event: Event) -> None:
            with lock:
                state.apply(event)
            line = describe_event(event)
            if line and not isinstance(event, Step | TokensUsed | Planned):
                live.console.print(line)

        yield listen


def render_state(state: RunState) -> Group:
    """The live table."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    for name, (done, total) in state.bars.items():
        seconds = _describe_left(state.estimate_bar_seconds(name))
        bar = ProgressBar(total=total, completed=done, width=30)
        grid.add_row(clean_text(name), bar, f"{done / total:.0%}{seconds}")
    grid.add_row(f"round {state.round}" if state.round else "", Text(clean_text(state.step)))
    if state.round:
        grid.add_row("accepted", format_count(state.accepted))
        grid.add_row("rejected", Text(_describe_rejected(state.rejected)))
        spent = max(state.tokens_used, state.tokens_paid)
        limit = f" of {format_count(state.limit)}" if state.limit else ""
        grid.add_row(
            "tokens", f"{format_count(spent)}{limit}", f"{format_count(state.tokens_per_second)} a second"
        )
        if (left := state.estimate_seconds_left()) is not None:
            grid.add_row("time left", f"at most {_format_duration(left)}")
    short = state.list_short_cells()
    if not short:
        return Group(grid)
    table = Table(title="cells that are still short", title_justify="left", box=None, padding=(0, 2))
    table.add_column("cell")
    for heading in ("has", "wanted", "lacks"):
        table.add_column(heading, justify="right")
    for cell in short[:MOST_CELLS]:
        figures = (format_count(cell.get(name)) for name in ("have", "want", "need"))
        table.add_row(Text(clean_text(cell["cell"])), *figures)
    if len(short) > MOST_CELLS:
        table.add_row(f"… and {len(short) - MOST_CELLS} more")
    return Group(grid, table)


class PlainLines:
    """A listener that writes a line an event, and few of those that come often.

    Args:
        file: where to.
        clock: seconds, as `time.monotonic` gives them.
    """

    def __init__(self, file: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._state = RunState(clock)
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Write it."""
        with self._lock:
            self._state.apply(event)
            left = self._state.estimate_bar_seconds(_name_bar(event)) if isinstance(event, Step) else None
            line = describe_event(event, self._state.tokens_per_second, left)
            if line and self._is_due(event):
                self._file.write(line + "\n")
                self._file.flush()

    def _is_due(self, event: Event) -> bool:
        """Whether an event may be written: of kinds that come often, the last or one after a while."""
        if not isinstance(event, Step | TokensUsed):
            return True
        kind, is_last = event.name, False
        if isinstance(event, Step):
            kind, is_last = f"{event.name} {_name_bar(event)}", event.done >= event.total
        now = self._state.clock()
        if not is_last and now < self._next.get(kind, 0.0):
            return False
        self._next[kind] = now + PLAIN_SECONDS
        return True


def describe_event(event: Event, pace: float | None = None, seconds: float | None = None) -> str:
    """One line for people, "" for an event that says nothing to them.

    Args:
        event: what happened.
        pace: tokens a second, None where that cannot be told.
        seconds: until a step is done, None where that cannot be told.
    """
    return clean_text(_describe(event, pace, seconds))


def _describe(event: Event, pace: float | None, seconds: float | None) -> str:
    if isinstance(event, Step):
        return _describe_step(event) + _describe_left(seconds)
    match event:
        case Read():
            return _describe_read(event)
        case Outlook():
            return _describe_outlook(event)
        case JudgeAudited():
            return event.sentence
        case Projected():
            return _describe_projected(event)
        case Measured():
            return _describe_measured(event)
        case ModelFound():
            manner = "follows instructions" if event.follows_instructions else "only continues texts"
            return f"model {event.model} {manner}"
        case Audited():
            return _describe_audited(event)
        case Planned():
            return _describe_planned(event)
        case TokensUsed():
            return _describe_tokens(event, pace)
        case Judged():
            accepted = f"{format_count(event.accepted)} accepted"
            return f"round {event.round}: {accepted}, rejected {_describe_rejected(event.rejected)}"
        case RoundEnded():
            return _describe_round(event)
        case Examining():
            return f"asking {event.url or 'the server'} about {event.what}"
        case PrefixCache():
            return f"{100 * event.hit_ratio:.0f}% of the prompt tokens came from the server's prefix cache"
        case Warned():
            return f"warning: {event.message}"
        case Starting() | GoldMatched() | TrainingsPriced():
            return event.message
        case _:
            return ""


def _name_bar(event: Step) -> str:
    """What a step counts."""
    return "texts encoded" if isinstance(event, Encoding) else event.what


def _describe_step(event: Step) -> str:
    if isinstance(event, Downloading):
        return f"downloading {event.what}: {event.done / max(1, event.total):.0%}"
    verb, noun = _COUNTED[type(event)]
    return f"{verb} {format_count(event.done)} of {format_count(event.total)} {noun}"


def _describe_left(seconds: float | None) -> str:
    return "" if seconds is None else f", about {_format_duration(seconds)} left"


def _describe_outlook(event: Outlook) -> str:
    short = event.deficits
    if not short:
        return "no label and no attribute value lacks records"
    parts = [f"{one['cell']} lacks {format_count(one['need'])}" for one in short[:MOST_CELLS]]
    more = f" and {len(short) - MOST_CELLS} more" if len(short) > MOST_CELLS else ""
    told = (
        f"{format_count(event.short_labels)} of {format_count(event.labels)} labels lack "
        f"{format_count(event.records)} records ({', '.join(parts)}{more})"
    )
    price = f"to write all of them costs about {format_count(event.tokens)} tokens at most"
    if event.budget is None:
        return f"{told}; {price}"
    reach = "within" if event.tokens <= event.budget else "more than"
    return f"{told}; {price}, {reach} the budget of {format_count(event.budget)}"


def _describe_read(event: Read) -> str:
    counts = list(dict(event.labels).items())
    n_more = len(counts) - MOST_CELLS
    if n_more > 0:
        counts.sort(key=lambda item: item[1])
    parts = [f"{name} {format_count(count)}" for name, count in counts]
    if n_more > 0:  # the thinnest and the largest say what is wrong with it
        parts[MOST_CELLS - 1 : -1] = [f"{n_more} more"]
    labels = ", ".join(parts)
    pool = f", {format_count(event.pool)} in the pool" if event.pool else ""
    return f"read {format_count(event.rows)} rows ({labels}); {format_count(event.held_out)} held out{pool}"


def _describe_measured(event: Measured) -> str:
    parts = []
    for student, arm in event.best.items():
        row = next(row for row in event.rows if (row["arm"], row["student"]) == (arm, student))
        scores = f"macro-F1 {format_decimal(row['macro_f1'])}, AUROC {format_decimal(row['auroc'])}"
        parts.append(f"{format_name(arm)} for {student} ({scores})")
    return "best without tokens: " + "; ".join(parts)


def _describe_audited(event: Audited) -> str:
    parts = (f"{scorer['name']} (AUROC {format_decimal(scorer.get('auc'))})" for scorer in event.scorers)
    return "audited " + "; ".join(parts)


def _describe_planned(event: Planned) -> str:
    parts = (
        f"{format_name(item['action'])} {format_count(item['count'])} for {item['cell']}"
        for item in event.items
    )
    return f"round {event.round}: {', '.join(parts) or 'nothing planned'} ({event.reason})"


def _describe_projected(event: Projected) -> str:
    parts = (
        f"{source['source'] or 'all instances'} {format_count(source['projected_second_judge_tokens'])} tokens"
        for source in event.sources
        if not source["paused"]
    )
    return f"expected for the second judge: {', '.join(parts) or 'nothing'}"


def _describe_tokens(event: TokensUsed, pace: float | None) -> str:
    limit = f" of {format_count(event.limit)}" if event.limit else ""
    spent = format_count(max(event.tokens_used, event.tokens_paid))
    return (
        f"round {event.round}: {format_count(event.proposed)} proposed; {spent}{limit} tokens, "
        f"{format_count(pace)} a second"
    )


def _describe_round(event: RoundEnded) -> str:
    short = sorted((cell for cell in event.cells if cell["need"]), key=lambda cell: -cell["need"])
    parts = [f"{cell['cell']} lacks {format_count(cell['need'])}" for cell in short[:MOST_CELLS]]
    more = f" and {len(short) - MOST_CELLS} more" if len(short) > MOST_CELLS else ""
    lacking = ", ".join(parts) + more or "no cell is short"
    return f"round {event.round}: {format_count(event.accepted_total)} accepted in all; {lacking}"


def _describe_rejected(rejected: Mapping[str, int]) -> str:
    """`31 (copy of data 20, length 11)`, the most common reason first."""
    total = sum(rejected.values())
    reasons = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{format_name(reason)} {format_count(count)}" for reason, count in reasons if count)
    return f"{format_count(total)} ({clean_text(listed)})" if listed else "0"


def _format_duration(seconds: float) -> str:
    """`0:42`, `12:05`, `1:02:09`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


_COUNTED: dict[type[Event], tuple[str, str]] = {
    Encoding: ("encoded", "texts"),
    Judging: ("judged", "instances"),
    StudentsTrained: ("trained", "students"),
    EncoderTuned: ("trained on", "batches"),
    EncodersCompared: ("tried", "encoders"),
    Forecasting: ("measured", "halves of thin labels for the forecast"),
}
"""What was done to what, of steps that are told as counts."""
