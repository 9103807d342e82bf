"""Models as objects: LangChain's chat models and engines of the user's own, wherever Python asks for a model."""

from __future__ import annotations

import json
import random
import re
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

import counterpoise
from counterpoise.core.assets import ensure_asset, find_cache_dir
from counterpoise.core.errors import JobError, RunDirectoryError, ServerError
from counterpoise.core.events import ignore
from counterpoise.data.instances import Instance, Passage
from counterpoise.llm import (
    ChatRequest,
    Completion,
    Message,
    ReplyStore,
    ScriptedChatClient,
    TokenBudget,
    doctor,
)
from counterpoise.llm.config import LlmConfig, ModelObject, read_llm
from counterpoise.llm.connect import open_models
from counterpoise.llm.engines.langchain import LangChainEngine
from counterpoise.llm.model_objects import ObjectEngine, is_model, name_model
from counterpoise.runs import asking_models, labelling
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.text.job import Job, load_job
from tests.made_up import write_sentence, write_sentences
from tests.retrieval_judges import reply_first, reply_second

TEXTS, LABELS = write_sentences(12, 40, 21)
NAMES = ["bad" if label == 0 else "good" for label in LABELS]
ASK = ChatRequest((Message("user", "Which?"),))


class Writer(BaseChatModel):
    """A chat model that does what it is told, letter choices included."""

    model: str = "writer-1"
    mood: str = "calm"
    number: Any = None

    @property
    def _llm_type(self) -> str:
        return "writer"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "mood": self.mood}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        asked = str(messages[-1].content)
        word = re.search(r"nothing else: (\w+)$", asked)
        text = "A"
        if word:
            text = word[1].upper()
        elif "Records:" in asked:
            self.number = self.number or count()
            text = write_sentence(random.Random(next(self.number)), good=asked.startswith("good"))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Replies and vectors of the tests' own beside the weights that are there."""
    folder = tmp_path_factory.mktemp("cache")
    for name in ("minilm-l6-v2", "minilm-l6-v2-tokenizer"):
        ensure_asset(name)
    (folder / "assets").symlink_to(find_cache_dir(None) / "assets", target_is_directory=True)
    return folder


@pytest.mark.assets
def test_a_chat_model_of_langchain_writes_for_a_run(cache: Path, tmp_path: Path) -> None:
    writer = Writer()
    data = tmp_path / "data.jsonl"
    data.write_text(write_lines(), encoding="utf-8")
    keys: dict[str, Any] = {
        "text": "text",
        "label": "label",
        "budget": "40k",
        "rounds": 1,
        "cache_dir": str(cache),
    }
    done = counterpoise.rebalance(data, model=writer, output=str(tmp_path / "run"), **keys)
    models = {row["model"] for row in done.dataset["train"]["provenance"] if row["kind"] == "minority"}
    assert models == {name_model(writer)} and done.report_data["spend"]["used"] > 0
    assert f"llm: memory:{name_model(writer)}\n" in (tmp_path / "run" / "job.yaml").read_text(
        encoding="utf-8"
    )
    # A finished run is read back; one that is not finished has to be called from Python again.
    assert counterpoise.resume(tmp_path / "run").content_hash == done.content_hash
    (tmp_path / "run" / "FINISHED").unlink()
    with pytest.raises(RunDirectoryError) as caught:
        counterpoise.resume(tmp_path / "run")
    line = str(caught.value)
    assert "its model was an object in Python (langchain:Writer:writer-1@" in line and "\n" not in line
    assert "call it from Python again" in line
    assert name_model(Job(**keys | {"data": str(data), "llm": Writer()}).llm.instance) == name_model(writer)  # type: ignore[attr-defined]


def write_lines() -> str:
    rows = ({"text": text, "label": name} for text, name in zip(TEXTS, NAMES, strict=True))
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.assets
def test_wrong_labels_are_judged_by_a_chat_model(cache: Path) -> None:
    table = {"text": TEXTS, "label": NAMES}
    gold = {"text": TEXTS[6:30], "label": NAMES[6:30]}
    judge = FakeListChatModel(responses=["A", "B"])
    keys: dict[str, Any] = {"gold": gold, "cache_dir": str(cache)}
    found = counterpoise.find_label_errors(table, "text", "label", model=judge, **keys)
    assert len(found.decisions.outcomes) == len(TEXTS)
    for wrong in ("gpt-4o", 3, FakeListChatModel):
        with pytest.raises(JobError, match="model"):
            counterpoise.find_label_errors(table, "text", "label", model=wrong, **keys)


def test_negatives_are_judged_by_engines_of_the_users_own(tmp_path: Path) -> None:
    class Judge:
        """Neither async nor named, and asked first for flags, then for verdicts."""

        def generate(self, request: ChatRequest) -> list[Completion]:
            reply = reply_first if "better_or_equal" not in str(request.schema) else reply_second
            return [Completion(reply(request)) for _ in range(request.n)]

    instances = [
        Instance(
            query_id=f"q{place}",
            query=f"what is topic{place}",
            positives=(Passage(f"p{place}", f"all about topic{place}"),),
            negatives=(
                Passage(f"n{place}", f"more about topic{place}" if place % 2 else f"about nothing {place}"),
            ),
        )
        for place in range(40)
    ]
    scripted = ScriptedChatClient(lambda request, index: reply_second(request))
    keys: dict[str, Any] = {"budget": "400k", "cache_dir": str(tmp_path)}
    done = counterpoise.relabel_negatives(instances, model=Judge(), **keys)
    mixed = counterpoise.relabel_negatives(instances, model=Judge(), strong_model=scripted, **keys)
    assert done.outcomes == mixed.outcomes and scripted.n_calls > 0
    assert not done.failed_audits


def test_jobs_name_a_model_and_are_read_back_without_it(tmp_path: Path) -> None:
    job = RetrievalJob(data="triples.jsonl", llm=Writer(), output="x")
    assert isinstance(job.llm, ModelObject) and job.llm.instance is not None
    (tmp_path / "job.yaml").write_text(job.dump(), encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="object in Python"):
        counterpoise.resume(tmp_path)
    other = RetrievalJob(data="triples.jsonl", llm=Writer(mood="wild"), output="x")
    assert job.fingerprint() != other.fingerprint()
    plain = tmp_path / "plain.yaml"
    plain.write_text("data: x.csv\ntext: a\nlabel: b\nllm: {engine: object}\n", encoding="utf-8")
    with pytest.raises(JobError, match=r"llm\.engine.*'embedded', 'server' or 'vllm'"):
        load_job(plain)
    with pytest.raises(JobError, match=r"job\.yaml|llm"):
        load_job(plain, llm=[1])


def test_what_is_a_model_and_what_it_is_called() -> None:
    writer = Writer()
    assert (
        is_model(writer) and is_model(writer.bind(stop=["x"])) and is_model(ScriptedChatClient(lambda *_: ""))
    )
    assert not is_model(Writer) and not is_model("embedded") and not is_model({}) and not is_model(None)
    names = {
        name_model(one) for one in (writer, Writer(mood="wild"), Writer(model="w"), writer.bind(stop=["x"]))
    }
    assert len(names) == 4, "other settings, another model"
    assert name_model(Writer(number=count())) == name_model(writer)
    assert name_model(ScriptedChatClient(lambda *_: "", name="mine")) == "mine"
    assert read_llm({"engine": "server", "url": "http://localhost:1/v1"}) == read_llm("http://localhost:1/v1")
    assert read_llm(LlmConfig()).engine == read_llm("embedded").engine == "embedded"


async def test_an_engine_without_a_name_is_asked_anew(tmp_path: Path) -> None:
    class Mine:
        n_asked, n_open = 0, 0

        async def __aenter__(self) -> Mine:
            self.n_open += 1
            return self

        async def __aexit__(self, *error: object) -> None:
            self.n_open -= 1

        async def generate(self, request: ChatRequest) -> list[Completion]:
            assert self.n_open == 1
            self.n_asked += 1
            return [Completion(f"reply {self.n_asked}")]

    class Named(Mine):
        name = "named"

    for kind, n_asked in ((Mine, 2), (Named, 1)):
        mine = kind()
        with ReplyStore(tmp_path / "replies.sqlite") as store:
            for _ in range(2):
                asking: dict[str, Any] = {"cache_dir": None, "store": store}
                async with open_models(read_llm(mine), budget=TokenBudget(None), **asking) as models:
                    assert (await models.chat.generate(ASK))[0].text.startswith("reply")
        assert (mine.n_asked, mine.n_open) == (n_asked, 0)


async def test_a_reply_of_another_kind_is_said() -> None:
    class Odd:
        def generate(self, request: ChatRequest) -> Any:
            return "just a text"

    with pytest.raises(
        ServerError, match=r"object:.*Odd: generate gave 'just a text'; it has to give a list"
    ) as caught:
        await ObjectEngine(Odd()).generate(ASK)
    assert not caught.value.retryable


async def test_a_refusal_of_a_chat_model_is_not_asked_again() -> None:
    class RefusedError(Exception):
        status_code = 401

    class BusyError(Exception):
        status_code = 429

    class Failing(FakeListChatModel):
        error: Any = None

        def _generate(self, *arguments: Any, **options: Any) -> ChatResult:
            raise self.error

    cases = [(RefusedError("key"), False), (BusyError("wait"), True), (ImportError("no tiktoken"), False)]
    for error, retryable in cases:
        with pytest.raises(ServerError, match=str(error)) as caught:
            await LangChainEngine(Failing(responses=["x"], error=error)).generate(ASK)
        assert caught.value.retryable is retryable
    assert "install the package" in str(caught.value)


async def test_a_model_that_shows_no_log_probabilities_is_asked_without() -> None:
    class Plain(FakeListChatModel):
        asked: ClassVar[list[bool]] = []

        def _call(self, *arguments: Any, **options: Any) -> str:
            self.asked.append("logprobs" in options)
            if "logprobs" in options:
                raise TypeError("unexpected keyword argument 'logprobs'")
            return "B"

    engine = LangChainEngine(Plain(responses=["B"]))
    choose = ChatRequest((Message("user", "Which?"),), choices=("A", "B"))
    for _ in range(2):
        (reply,) = await engine.generate(choose)
        assert reply.logprobs == pytest.approx({"A": 0.1, "B": 0.9})
    assert Plain.asked == [True, False, False]


@pytest.mark.assets
def test_concepts_are_proposed_by_a_model_that_is_an_object(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(cache))
    data = tmp_path / "data.jsonl"
    data.write_text(write_lines(), encoding="utf-8")

    def open_screen() -> Any:
        return nullcontext(ignore)

    texts = labelling.read_texts(str(data), ("text",), "label", "", "", open_screen)
    engine = ScriptedChatClient(
        lambda request, index: '{"concepts": [{"name": "soup", "definition": "a hot dish"}]}', name="namer"
    )
    proposed = asking_models.propose_concepts(texts, engine, open_screen, 12)
    assert engine.n_calls > 12 and not proposed.is_checked
    assert "soup" in asking_models.write_proposed(proposed)


async def test_a_model_that_is_an_object_is_examined() -> None:
    config = ModelObject(instance=Writer(), concurrency=2)
    (patient,) = doctor.make_patients(config, cache_dir=None)
    found = (await doctor.examine(patient)).capabilities
    assert found.model == name_model(Writer()) and found.chat and not found.continuation
