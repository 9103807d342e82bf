"""`counterpoise doctor --encoder`: what an encoder prefers to the answer, on the user's own corpus."""

from __future__ import annotations

from pathlib import Path

from counterpoise.cli.commands.session import Session
from counterpoise.core.errors import JobError


def examine_encoder(
    session: Session,
    encoder: str,
    corpus: Path | None,
    *,
    model: str = "",
    query_prefix: str = "",
    passage_prefix: str = "",
    api_key_env: str = "",
) -> None:
    """Run the five tests and print them: win share, paired t test, verdict, and what to do about it."""
    from rich.table import Table
    from rich.text import Text

    from counterpoise.data.encoders import open_encoders
    from counterpoise.data.instances import read_beir, read_passages
    from counterpoise.report.screen import clean_text
    from counterpoise.tasks.retrieval.encoder_audit import audit_encoder, describe_test, list_asked

    if corpus is None:
        raise JobError("an encoder is audited on a corpus", where="--encoder", hint="name one with --corpus")
    asked: list[tuple[str, int]] = []
    if corpus.is_dir():
        passages, asked = list_asked(read_beir(corpus))
    else:
        passages = [passage.full_text for passage in read_passages(corpus)]
    with session.open_screen():
        opened = open_encoders(
            encoder,
            model=model,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            api_key_env=api_key_env,
        )
        audit = audit_encoder(opened, passages, asked)
    if session.as_json:
        session.write_event("encoder_audit", **audit.to_dict())
        return
    console = session.make_console()
    table = Table("test", "first wins", "mean difference of the scores", "verdict", box=None, padding=(0, 2))
    for test in audit.tests:
        says, *cells = describe_test(test)
        table.add_row(Text(f"{test.name}: {says}"), *(Text(cell) for cell in cells))
    console.print(Text(clean_text(f"{audit.encoder}, {audit.n_items} queries: {audit.source}")))
    console.print(table)
    console.print(Text(clean_text(audit.advice)))
