"""What a run shows: every event as a line, the live table, and text that no terminal obeys."""

from __future__ import annotations

import io
import json

import pytest

from counterpoise.core.event_kinds import (
    Audited,
    Downloading,
    Encoding,
    Judged,
    Judging,
    Measured,
    ModelFound,
    Planned,
    Read,
    RoundEnded,
    TokensUsed,
    Warned,
)
from counterpoise.core.events import Event
from counterpoise.report.screen import (
    MOST_CELLS,
    PLAIN_SECONDS,
    PlainLines,
    RunState,
    clean_text,
    describe_event,
    make_console,
    open_screen,
    render_state,
)

HOSTILE = "[bold]neg[/bold] \x1b[2J\x07 \u202eevil\ud800\r\nnext"


class UnheardOf(Event):
    name = "unheard_of"


EVENTS: list[Event] = [
    Read(rows=315, held_out=500, pool=0, labels={"positive": 300, "negative": 15}),
    Downloading("minilm", 10, 40),
    Encoding(315, 315),
    Measured(
        rows=[
            {"arm": "nothing", "student": "vectors:minilm", "macro_f1": 0.37, "auroc": 0.969},
            {
                "arm": "logit_adjustment",
                "student": "vectors:minilm",
                "macro_f1": 0.898,
                "auroc": float("nan"),
            },
        ],
        best={"vectors:minilm": "logit_adjustment"},
    ),
    ModelFound("SmolLM2", follows_instructions=False),
    Audited([{"name": "classifier", "auc": 0.97}, {"name": "llm", "auc": None}]),
    Planned(
        round=1,
        reason="cells by what they lack",
        items=[{"action": "minority", "cell": "negative", "count": 285, "requests": 60}],
    ),
    TokensUsed(round=1, proposed=40, tokens_used=9000, tokens_paid=12000, limit=300_000),
    Warned("it was slow"),
    Judged(round=1, accepted=200, rejected={"too_short": 3, "copy_of_data": 20}),
    RoundEnded(1, [{"cell": "negative", "have": 215, "want": 300, "need": 85}], accepted_total=200),
]

LINES = [
    "read 315 rows (positive 300, negative 15); 500 held out",
    "downloading minilm: 25%",
    "encoded 315 of 315 texts",
    "best without tokens: logit adjustment for vectors:minilm (macro-F1 0.898, AUROC –)",
    "model SmolLM2 only continues texts",
    "audited classifier (AUROC 0.970); llm (AUROC –)",
    "round 1: minority 285 for negative (cells by what they lack)",
    "round 1: 40 proposed; 12,000 of 300,000 tokens, – a second",
    "warning: it was slow",
    "round 1: 200 accepted, rejected 23 (copy of data 20, too short 3)",
    "round 1: 200 accepted in all; negative lacks 85",
]


def draw(state: RunState) -> str:
    console = make_console(io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(render_state(state))
    return capture.get()


def test_without_a_terminal_every_event_is_a_line() -> None:
    file = io.StringIO()
    with open_screen(file) as listener:
        for event in EVENTS:
            listener(event)
        listener(UnheardOf())
    assert file.getvalue().splitlines() == LINES


def test_of_many_labels_the_thinnest_and_the_largest_are_named() -> None:
    labels = {f"intent {place}": 100 + (37 * place) % 149 for place in range(149)} | {"none": 960}
    line = describe_event(Read(9, 5, 0, labels))
    assert line.startswith("read 9 rows (intent 0 100, intent 145 101, ")
    assert line.endswith(" 108, 140 more, none 960); 5 held out")


def test_lines_about_progress_come_now_and_then_and_the_last_always() -> None:
    file, now = io.StringIO(), [0.0]
    listener = PlainLines(file, clock=lambda: now[0])
    for done in range(0, 101, 10):
        listener(Encoding(done, 100))
        now[0] += PLAIN_SECONDS / 4
    told = [line.split()[1] for line in file.getvalue().splitlines()]
    assert told == ["0", "40", "80", "100"]


def test_json_is_strict_and_one_line_an_event() -> None:
    file = io.StringIO()
    with open_screen(file, as_json=True, is_quiet=True) as listener:
        for event in (*EVENTS, Warned(HOSTILE)):
            listener(event)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in file.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [event.name for event in EVENTS] + ["warning"]
    assert list(lines[1]) == ["event", "name", "done", "total"], "keys are in the order of the fields"
    assert lines[3]["rows"][1]["auroc"] is None and lines[-1]["message"] == HOSTILE
    assert "\x1b" not in file.getvalue()


def test_data_lack_only_what_may_be_lacking() -> None:
    assert Warned("slow").data == {"message": "slow"}
    assert Warned("slow", retryable=False, purpose="probe").data == {
        "message": "slow",
        "retryable": False,
        "purpose": "probe",
    }
    assert Judging("queries judged", 1, 2, tokens=9, limit=None).data == {
        "name": "queries judged",
        "done": 1,
        "total": 2,
        "tokens": 9,
        "limit": None,
    }


def test_quiet_says_nothing() -> None:
    file = io.StringIO()
    with open_screen(file, is_quiet=True) as listener:
        for event in EVENTS:
            listener(event)
    assert file.getvalue() == ""


def test_the_live_table_shows_cells_verdicts_tokens_pace_and_time_left() -> None:
    now = [0.0]
    state = RunState(clock=lambda: now[0], minutes=60)
    for event in EVENTS:
        state.apply(event)
    assert state.estimate_seconds_left() == 3600
    now[0] = 10.0
    state.apply(TokensUsed(1, 44, 13_000, 13_000, 300_000))
    assert state.tokens_per_second == 100 and state.estimate_seconds_left() == 2870
    shown = draw(state)
    for part in ("round 1", "cells by what they lack", "200", "23 (copy of data 20, too short 3)"):
        assert part in shown
    for part in ("13,000 of 300,000", "100 a second", "at most 47:50", "minilm", "25%"):
        assert part in shown
    assert shown.splitlines()[-1].split() == ["negative", "215", "300", "85"]

    now[0] = 3000.0
    assert state.estimate_seconds_left() == 600, "the minutes run out before the tokens"
    state.apply(Downloading("minilm", 40, 40))
    assert "minilm" not in draw(state)


def test_many_short_cells_are_cut_worst_first() -> None:
    cells = [{"cell": f"cell {n}", "have": 0, "want": n, "need": n} for n in range(MOST_CELLS + 3)]
    state = RunState()
    state.apply(RoundEnded(1, cells, 0))
    shown = draw(state)
    assert f"cell {MOST_CELLS + 2} " in shown and "cell 1 " not in shown and "… and 2 more" in shown


def test_a_terminal_shows_a_live_table_and_keeps_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    file = Terminal()
    with open_screen(file, minutes=5) as listener:
        for event in EVENTS:
            listener(event)
    shown = file.getvalue()
    assert "cells that are still short" in shown and "time left" in shown
    for line in (LINES[0], LINES[3], LINES[8], LINES[9]):
        assert line in shown


def test_text_from_data_is_shown_and_not_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clean_text(HOSTILE) == "[bold]neg[/bold] \\x1b[2J\\x07 \\u202eevil\\ud800 next"
    assert clean_text("परीक्षा 试验 👩‍🔬") == "परीक्षा 试验 👩‍🔬"
    state = RunState()
    cells = [{"cell": HOSTILE, "have": 1, "want": 2, "need": 1}]
    event = RoundEnded(1, cells, 0)
    state.apply(event)
    state.apply(Planned(1, HOSTILE, []))
    for shown in (draw(state), describe_event(event)):
        assert "[bold]neg[/bold]" in shown
        assert not {"\x1b", "\x07", "\u202e", "\ud800"} & set(shown)
