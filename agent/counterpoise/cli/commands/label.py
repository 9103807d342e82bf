"""`counterpoise label` and `counterpoise concepts`: ask for answers, label concepts, propose a list of them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import (
    DataArgument,
    KeepLabelOption,
    LabelOption,
    OverwriteOption,
    SpellingsOption,
    TextOption,
    make_task,
)
from counterpoise.core.errors import JobError

if TYPE_CHECKING:
    from counterpoise.core.schema import TextClassification
    from counterpoise.runs.labelling import Texts

N_TEXTS = 60
"""Texts whose topics a model is asked for one by one."""

ModelOption = Annotated[str, typer.Option(metavar="URL|embedded", help="A language model to ask, too.")]
EncoderOption = Annotated[str, typer.Option(metavar="DIR", help="An encoder instead of the pinned one.")]
AboutOption = Annotated[
    str,
    typer.Option(metavar="errors", help="With --ask: half of the rows from those whose label may be wrong."),
]


def label(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    concepts: Annotated[
        str,
        typer.Option(
            metavar="FILE|auto",
            help="YAML file of name: definition; auto writes concepts.yaml, then reads it.",
        ),
    ] = "",
    model: ModelOption = "",
    ask: Annotated[int, typer.Option(help="Write so many new rows to a file, for you to answer.", min=0)] = 0,
    pool: Annotated[
        str, typer.Option(metavar="DATA", help="With --ask: unlabelled rows, where labels are thin.")
    ] = "",
    about: AboutOption = "",
    answers: Annotated[
        Path, typer.Option(help="The file of answers: written by --ask, read otherwise.")
    ] = Path("answers.csv"),
    terminal: Annotated[bool, typer.Option("--terminal", help="With --ask: answer here and now.")] = False,
    output: Annotated[Path, typer.Option(help="Where labelled rows are written (CSV).")] = Path(
        "labelled.csv"
    ),
    seed: Annotated[int, typer.Option(help="Another seed asks about other rows.")] = 0,
    encoder: EncoderOption = "",
    overwrite: OverwriteOption = False,
    label_spellings: SpellingsOption = "",
    keep_label: KeepLabelOption = [],  # noqa: B006
) -> None:
    """Label the concepts of texts, or ask you about a few rows so that this can be measured.

    With --ask 40 a CSV is written: half of its rows at random, to audit with, half informative, to train on. Fill it in
    (yes or no; empty where unsure) and run the command again without --ask, or name it as `gold` in a job. Asked again,
    it gets new rows, and what you have filled in stays. Of more than two concepts those two that go most with the label
    are asked about first, and two more each time. With --terminal each answer is saved at once, and a call that was
    stopped goes on where it was. With --about errors rows are asked about their label: half are drawn from all, half
    from those whose label may be wrong, and `label-errors --answers` weighs by how likely each was asked for.

    With --concepts auto and no concepts.yaml here, one is written: what the model of --model names and two readings
    agree on, or without one the words of clusters. Strike out what should decide the label, and run the command again.
    With --model the model labels a sample where it passes on your answers, and a student that it teaches the rest.

    With --pool the rows are unlabelled ones: half at random, half like your rows of the labels that have few. Filled in
    and named as `answers` in a job that has this `pool`, they are training rows.
    """
    from counterpoise.data.encoder_choice import AUTO
    from counterpoise.data.outputs import check_outputs
    from counterpoise.runs import asking_models

    session: Session = context.obj
    task = make_task(text, label, (), label_spellings, keep_label)
    _check_ask(pool, about, ask, concepts)
    if concepts == AUTO:
        if not asking_models.CONCEPTS_FILE.exists():
            _propose(session, data, task, encoder, model, N_TEXTS, asking_models.CONCEPTS_FILE)
            return
        concepts = str(asking_models.CONCEPTS_FILE)
    if ask:
        _refuse_unused_output(context, output)
        check_outputs({"--answers": answers}, (data, concepts, pool), may_replace=True)
    else:
        check_outputs({"--output": output}, (data, concepts, answers), may_replace=overwrite)
    texts = _read(session, data, task, concepts, encoder, pool)
    if ask:
        more = ("--answers", str(answers), "--min-precision", "0.8")
        then = _write_command("label-errors", data, text, label, *more) if about else ""
        _ask(session, texts, ask, answers, is_terminal=terminal, seed=seed, then=then)
        return
    if not texts.concepts:
        propose = _write_command("concepts", data, text, label)
        raise JobError("missing", where="--concepts", hint=f"name a YAML file, or propose one: {propose}")
    lines = _label(texts, answers, model, output, session, seed)
    more = ("--concepts", concepts, "--ask", "40")
    _show_labelled(
        session, lines, len(texts.records), output, _write_command("label", data, text, label, *more)
    )


def _read(
    session: Session, data: str, task: TextClassification, concepts: str, encoder: str, pool: str = ""
) -> Texts:
    """The rows with their vectors and the listed concepts."""
    from counterpoise.runs import labelling

    return labelling.read_texts(
        data,
        task.text,
        task.label,
        concepts,
        encoder,
        session.open_screen,
        label_spellings=task.label_spellings,
        keep_labels=task.keep_labels,
        pool=pool,
    )


def _label(
    texts: Texts, answers: Path, model: str, output: Path, session: Session, seed: int
) -> list[dict[str, Any]]:
    """Label all rows and write them; the audits, a line each."""
    from counterpoise.runs import asking_models, labelling

    gold = labelling.read_answers(texts, answers, seed) if answers.is_file() else {}
    scores, pilot = None, None
    if model and any(name in gold for name in texts.concepts):
        scores, pilot = asking_models.label_with_model(texts, gold, model, seed, session.open_screen)
    labeller, columns = labelling.label_texts(texts, gold, scores)
    labelling.write_labels(output, texts, columns)
    audits = labeller.list_audits()
    return audits if pilot is None else [pilot.describe(model), *audits]


def _show_labelled(
    session: Session, lines: list[dict[str, Any]], n_rows: int, output: Path, ask: str
) -> None:
    """The audits as a table, what they say, and how to answer where nobody has."""
    from counterpoise.runs.labelling import make_audit_table

    if session.as_json:
        session.write_event("labelled", scorers=lines, output=str(output), rows=n_rows)
        return
    if not session.is_quiet:
        console = session.make_console()
        console.print(make_audit_table(lines))
        for note in dict.fromkeys(line["note"] for line in lines if line["note"] and line["role"] != "used"):
            console.print(note)
        if any(line["role"] != "used" and not line["n"] for line in lines):
            typer.echo(f"to answer some: {ask}")
    typer.echo(f"{n_rows} rows: {output}")


def _refuse_unused_output(context: typer.Context, output: Path) -> None:
    """With --ask nothing is labelled, so that a file named for labelled rows is a mistake."""
    source = context.get_parameter_source("output")
    if source is not None and source.name == "COMMANDLINE":
        raise JobError(
            f"found '{output}' beside --ask, which labels nothing",
            where="--output",
            hint="name the file of answers with --answers",
        )


def _check_ask(pool: str, about: str, ask: int, concepts: str) -> None:
    """Refuse a pool where nobody is asked for labels, and what rows cannot be asked about."""
    _check_about(about, ask, concepts, pool)
    if pool and not ask:
        hint = "say how many rows you want to label with --ask 20; in a job, name the answers under `answers`"
        raise JobError(f"found '{pool}' without --ask", where="--pool", hint=hint)
    if pool and concepts:
        hint = "leave one of them out"
        found = "its rows are asked about their label, and --concepts names other questions"
        raise JobError(found, where="--pool", hint=hint)


def _check_about(about: str, ask: int, concepts: str, pool: str) -> None:
    """Refuse what rows cannot be asked about."""
    if about not in ("", "errors"):
        raise JobError(f"found '{about}'", where="--about", hint="write errors, or leave it out")
    beside = next((name for name, value in (("--concepts", concepts), ("--pool", pool)) if value), "")
    if about and (beside or not ask):
        found = f"found 'errors' {f'beside {beside}' if beside else 'without --ask'}"
        hint = "rows of the data are asked about their own label: --ask 100 --about errors"
        raise JobError(found, where="--about", hint=hint)


def concepts(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    model: ModelOption = "",
    n: Annotated[int, typer.Option(help="Texts that the model is asked about.", min=1)] = N_TEXTS,
    output: Annotated[Path, typer.Option(help="The YAML file to write.")] = Path("concepts.yaml"),
    encoder: EncoderOption = "",
    overwrite: OverwriteOption = False,
    label_spellings: SpellingsOption = "",
    keep_label: KeepLabelOption = [],  # noqa: B006
) -> None:
    """Propose the concepts that texts mention, as a YAML list for you to edit."""
    from counterpoise.data.outputs import check_outputs

    session: Session = context.obj
    task = make_task(text, label, (), label_spellings, keep_label)
    check_outputs({"--output": output}, (data,), may_replace=overwrite)
    _propose(session, data, task, encoder, model, n, output)


def _propose(
    session: Session, data: str, task: TextClassification, encoder: str, model: str, n: int, output: Path
) -> None:
    """Propose concepts, write them, and say how to go on."""
    from counterpoise.runs import asking_models, labelling

    text, label = task.text, task.label
    texts = _read(session, data, task, "", encoder)
    proposed = asking_models.propose_concepts(texts, model, session.open_screen, n)
    found = asking_models.write_proposed(proposed)
    labelling.write_file(output, found)
    if session.as_json:
        session.write_event("concepts", output=str(output))
    else:
        if not session.is_quiet:
            typer.echo(found, nl=False)
        ask = _write_command("label", data, text, label, "--concepts", str(output), "--ask", "40")
        typer.echo(f"edit it, then: {ask}")


def _write_command(name: str, data: str, text: Sequence[str], label: str, *more: str) -> str:
    """A command on the same data, as a shell takes it."""
    columns = [part for column in text for part in ("--text", column)]
    return shlex.join(["counterpoise", name, data, *columns, "--label", label, *more])


def _ask(
    session: Session, texts: Texts, n: int, path: Path, *, is_terminal: bool, seed: int, then: str
) -> None:
    """Ask; `then` is the command that takes answers about errors, "" where others are asked for."""
    from counterpoise.report.screen import clean_text
    from counterpoise.runs import labelling
    from counterpoise.runs.asking_errors import prepare_doubtful

    prepare = prepare_doubtful if then else labelling.prepare_answers
    answers, n_new = prepare(texts, path, n, seed, goes_on=is_terminal)
    questions = [name for name in labelling.list_questions(texts) if name in answers.columns]
    if is_terminal:
        session.kept = f"; the answers are in {path}, and the same command goes on where you stopped"
        labelling.ask_here(
            texts,
            answers,
            lambda prompt: str(typer.prompt(clean_text(prompt), default="", show_default=False)),
            lambda line: typer.echo(f"\n{clean_text(line)}" if line.startswith("\n") else clean_text(line)),
        )
    if session.as_json:
        session.write_event("asked", path=str(path), rows=len(answers.rows), new=n_new, questions=questions)
        return
    new = "" if n_new == len(answers.rows) else f", {n_new} of them new"
    typer.echo(f"{len(answers.rows)} rows{new}: {path}")
    if not n_new and not is_terminal:
        source = "data" if texts.pool is None else "pool"
        typer.echo(f"every row of the {source} was asked about already")
    elif not is_terminal and not session.is_quiet:
        typer.echo(f"fill in {', '.join(questions)}; leave a cell empty where you are unsure")
        if then:
            typer.echo(f"then: {then}")
        if texts.pool is not None:
            typer.echo(f"then name them in a job, beside `pool`: `answers: {path}`")
