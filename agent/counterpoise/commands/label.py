"""`counterpoise label` and `counterpoise concepts`: ask for answers, label concepts, propose a list of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.commands.session import Session, refuse_inputs
from counterpoise.errors import JobError
from counterpoise.job_options import DataArgument, LabelOption, TextOption

if TYPE_CHECKING:
    from counterpoise.labelling import Texts

ModelOption = Annotated[str, typer.Option(metavar="URL|embedded", help="A language model to ask, too.")]
EncoderOption = Annotated[str, typer.Option(metavar="DIR", help="An encoder instead of the pinned one.")]


def label(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    concepts: Annotated[str, typer.Option(metavar="FILE", help="YAML file of name: definition.")] = "",
    ask: Annotated[int, typer.Option(help="Write so many rows to a file, for you to answer.", min=0)] = 0,
    answers: Annotated[
        Path, typer.Option(help="The file of answers: written by --ask, read otherwise.")
    ] = Path("answers.csv"),
    terminal: Annotated[bool, typer.Option("--terminal", help="With --ask: answer here and now.")] = False,
    output: Annotated[Path, typer.Option(help="Where labelled rows are written (CSV).")] = Path(
        "labelled.csv"
    ),
    seed: Annotated[int, typer.Option(help="Another seed asks about other rows.")] = 0,
    encoder: EncoderOption = "",
) -> None:
    """Label the concepts of texts, or ask you about a few rows so that this can be measured.

    With --ask 40 a CSV is written: half of its rows at random, to audit with, half informative, to train on. Fill it in
    (yes or no; empty where unsure) and run the command again without --ask, or name it as `gold` in a job.
    """
    from counterpoise import labelling

    session: Session = context.obj
    refuse_inputs("--output", output, data, concepts, answers)
    texts = labelling.read_texts(data, tuple(text), label, concepts, encoder, session.open_screen)
    if ask:
        _ask(session, texts, ask, answers, is_terminal=terminal, seed=seed)
        return
    if not texts.concepts:
        raise JobError(
            "missing", where="--concepts", hint="name a YAML file, or propose one: counterpoise concepts"
        )
    gold = labelling.read_answers(texts, answers, seed) if answers.is_file() else {}
    labeller, columns = labelling.label_texts(texts, gold)
    labelling.write_labels(output, texts, columns)
    lines = labeller.list_audits()
    if session.as_json:
        session.write_event("labelled", scorers=lines, output=str(output), rows=len(texts.records))
        return
    from counterpoise.labelling import make_audit_table

    console = session.make_console()
    if not session.is_quiet:
        console.print(make_audit_table(lines))
        for note in dict.fromkeys(line["note"] for line in lines if line["note"] and line["role"] != "used"):
            console.print(note)
    typer.echo(f"{len(texts.records)} rows: {output}")


def concepts(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    model: ModelOption = "",
    n: Annotated[int, typer.Option(help="Texts that the model is asked about.", min=1)] = 60,
    output: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("concepts.yaml"),
    encoder: EncoderOption = "",
) -> None:
    """Propose the concepts that texts mention, as a YAML list for you to edit."""
    from counterpoise import labelling

    session: Session = context.obj
    texts = labelling.read_texts(data, tuple(text), label, "", encoder, session.open_screen)
    found = labelling.propose_concepts(texts, model, n, session.open_screen)
    labelling.write_new(output, found)
    if session.as_json:
        session.write_event("concepts", output=str(output))
    else:
        if not session.is_quiet:
            typer.echo(found, nl=False)
        typer.echo(f"edit it, then: counterpoise label {data} --concepts {output} --ask 40")


def _ask(session: Session, texts: Texts, n: int, path: Path, *, is_terminal: bool, seed: int) -> None:
    from counterpoise import labelling
    from counterpoise.screen import clean_text

    asked = labelling.choose_rows(texts, n, seed)
    questions = labelling.list_questions(texts)
    given: Any = None
    if is_terminal:
        given = labelling.ask_here(
            texts,
            asked,
            lambda prompt: str(typer.prompt(clean_text(prompt), default="", show_default=False)),
            lambda line: typer.echo(clean_text(line)),
        )
    labelling.write_questions(path, texts.records, asked, tuple(questions), given)
    if session.as_json:
        session.write_event("asked", path=str(path), rows=len(asked.rows), questions=list(questions))
        return
    typer.echo(f"{len(asked.rows)} rows: {path}")
    if not is_terminal and not session.is_quiet:
        typer.echo(f"fill in {', '.join(questions)}; leave a cell empty where you are unsure")
