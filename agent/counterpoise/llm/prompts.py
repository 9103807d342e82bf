"""Load, check and render the templates of `prompts/`.

A prompt is data: one YAML file with `name`, `description`, `variables`, `kind` (chat or continuation),
`messages` (a list of `role` and `content`) or `text`, and where wanted `schema` (JSON schema of the reply)
or `choices`, and `sampling`. What is wrong with it is found when it is loaded, before a token is
spent. Values are put into the rendered text and never read as a template; `{{ text | quote_data }}` keeps a
record inside its line, whatever it contains. Where records have several lines, `{{ text | item(separator) }}` and
`{{ text | field(separator) }}` put them between lines that no record contains; without a separator they stay in one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict, Field, model_validator

from counterpoise.core.errors import JobError
from counterpoise.core.strict_yaml import read_mapping, suggest_files, validate
from counterpoise.llm.chat import ChatRequest, Message, Sampling
from counterpoise.llm.structured import check_schema

_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_EMPTY_LINES = re.compile(r"\n{3,}")
_CHAT_TOKENS = re.compile(
    r"<[|\uff5c]|[|\uff5c]>|\[\||\|\]|</?s>|\[/?(?:INST|SYSTEM_PROMPT)\]|</?(?:start|end)_of_turn>",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A checked prompt. `identity` is its name and 12 hex digits of the hash of all that reaches a model."""

    name: str
    description: str
    variables: tuple[str, ...]
    kind: Literal["chat", "continuation"]
    schema: dict[str, Any] | None
    choices: tuple[str, ...]
    sampling: Sampling
    identity: str
    _templates: tuple[tuple[str, Template], ...] = field(repr=False)

    def render(self, **variables: Any) -> ChatRequest:
        """Put values into the templates.

        The request asks for one completion and its purpose is the prompt's name; `dataclasses.replace` sets
        others.

        Args:
            **variables: exactly the declared variables.

        Raises:
            TypeError: a variable is missing, or is not declared.
            JobError: the template uses a part of a value that does not exist.
        """
        if wrong := set(variables) ^ set(self.variables):
            raise TypeError(
                f"prompt {self.name}: missing or undeclared variables: {', '.join(sorted(wrong))}"
            )
        try:
            parts = tuple((role, template.render(variables)) for role, template in self._templates)
        except TemplateError as error:
            raise JobError(f"cannot be rendered ({error})", where=f"prompt {self.name}") from error
        chat = self.kind == "chat"
        return ChatRequest(
            messages=tuple(Message(role, content) for role, content in parts) if chat else (),
            prompt="" if chat else parts[0][1],
            sampling=self.sampling,
            schema=self.schema,
            choices=self.choices,
            purpose=self.name,
        )


def load_prompt(name: str, folder: Path | None = None) -> Prompt:
    """Load and check `NAME.yaml`.

    Args:
        name: name of the prompt and of its file.
        folder: where to look; by default the prompts that come with the package.

    Raises:
        JobError: there is no such prompt, or its file breaks a rule: unknown keys, a template that does not
            parse, variables declared but not used or used but not declared.
    """
    return _load(name, folder or _find_folder())


def quote_data(value: object, delimiter: str = "") -> str:
    """Make a piece of data safe to stand in one line of a prompt; the filter of the same name.

    Line ends, control and direction characters become single spaces; the tokens that chat formats mark their
    turns with are broken by a space, so that a record can neither open a turn nor end its line.

    Args:
        value: the data.
        delimiter: text that ends the data in this prompt, such as `</review>`; it is taken out of the data.

    Returns:
        The text in one line, without space at either end.
    """
    text = _CONTROL.sub(" ", str(value))
    text = _CHAT_TOKENS.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    if delimiter:
        text = re.sub(re.escape(delimiter), " ", text, flags=re.IGNORECASE)
    return " ".join(text.split())


def quote_block(value: object, separator: str) -> str:
    r"""Make a piece of data of several lines safe to stand between two lines of `separator`.

    As `quote_data`, but line ends stay, one empty line in a row at most, and the separator is broken by a space
    wherever it stands in the data.

    >>> quote_block("Cold soup.\r\n\r\n\r\n### Rude  waiter.", "###")
    'Cold soup.\n\n# ## Rude waiter.'
    """
    lines = [quote_data(line) for line in _LINE_END.split(str(value))]
    text = _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()
    while separator in text:
        text = text.replace(separator, f"{separator[0]} {separator[1:]}")
    return text


def show_item(value: object, separator: str) -> str:
    """A record in a list: a line of its own behind a mark, or a block below a line of `separator`."""
    return f"{separator}\n{quote_block(value, separator)}" if separator else f"- {quote_data(value)}"


def show_field(value: object, separator: str) -> str:
    """A record behind a name and a colon: on the same line, or a block between two lines of `separator`."""
    if not separator:
        return f" {quote_data(value)}"
    return f"\n{separator}\n{quote_block(value, separator)}\n{separator}"


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str


class _Sampling(BaseModel):
    model_config = ConfigDict(extra="forbid")
    temperature: float = Field(Sampling().temperature, ge=0, le=2)
    top_p: float = Field(Sampling().top_p, gt=0, le=1)
    max_tokens: int = Field(Sampling().max_tokens, ge=1)
    stop: list[str] = []


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    description: str
    variables: list[str]
    kind: Literal["chat", "continuation"]
    messages: list[_Message] = []
    text: str = ""
    reply_schema: dict[str, Any] | None = Field(None, alias="schema")
    choices: list[Annotated[str, Field(min_length=1, max_length=1)]] = []
    sampling: _Sampling = _Sampling()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.kind == "chat" and (not self.messages or self.text):
            raise ValueError("kind is chat; write `messages` and no `text`")
        if self.kind == "continuation" and (self.messages or not self.text):
            raise ValueError("kind is continuation; write `text` and no `messages`")
        if self.reply_schema and (self.choices or self.kind != "chat"):
            raise ValueError(
                "found `schema` with `choices` or a continuation; a schema stands alone, in a chat"
            )
        if self.reply_schema:
            check_schema(self.reply_schema)
        return self


def _find_folder() -> Path:
    """`prompts` beside the package (a wheel), else in the checkout."""
    here = Path(__file__).resolve()
    beside = here.parents[1] / "prompts"
    return beside if beside.is_dir() else here.parents[3] / "prompts"


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name, quote in (("quote_data", quote_data), ("item", show_item), ("field", show_field)):
        environment.filters[name] = quote
    return environment


@cache
def _load(name: str, folder: Path) -> Prompt:
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise JobError("no such prompt", where=str(path), hint=suggest_files(path))
    where = f"{folder.name}/{path.name}"
    file = validate(_PromptFile, read_mapping(path), where)
    if file.name != name:
        raise JobError(
            f"found '{file.name}'", where=f"{where}: key 'name'", hint=f"write {name}, as the file"
        )
    sources: list[tuple[str, str]] = [(message.role, message.content) for message in file.messages]
    sources = sources or [("", file.text)]
    templates = _compile([source for _, source in sources], file.variables, where)
    reaches_model = [file.kind, sources, file.reply_schema, file.choices, file.sampling.model_dump()]
    content = json.dumps(reaches_model, ensure_ascii=False, sort_keys=True)
    sampling = Sampling(**file.sampling.model_dump(exclude={"stop"}), stop=tuple(file.sampling.stop))
    return Prompt(
        name=name,
        description=file.description,
        variables=tuple(file.variables),
        kind=file.kind,
        schema=file.reply_schema,
        choices=tuple(file.choices),
        sampling=sampling,
        identity=f"{name}@{sha256(content.encode()).hexdigest()[:12]}",
        _templates=tuple(zip((role for role, _ in sources), templates, strict=True)),
    )


def _compile(sources: list[str], declared: list[str], where: str) -> list[Template]:
    """Compile the templates and compare the variables they use with the declared ones."""
    environment = _environment()
    used: set[str] = set()
    try:
        for source in sources:
            used |= meta.find_undeclared_variables(environment.parse(source))
        templates = [environment.from_string(source) for source in sources]
    except TemplateError as error:
        raise JobError(f"is no valid template ({error})", where=where) from error
    if undeclared := sorted(used - set(declared)):
        raise JobError(f"uses {', '.join(undeclared)}", where=where, hint="declare it under `variables`")
    if unused := sorted(set(declared) - used):
        raise JobError(f"never uses {', '.join(unused)}", where=where, hint="take it out of `variables`")
    return templates
