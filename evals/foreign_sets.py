"""Sets in other languages than English, from public repositories by commit and hash; none of them is kept here.

Each file is looked for in the folder `--data`, under the name that stands below. Where it is absent, one line says
which file of which repository and commit it is:

    git clone https://github.com/OWNER/NAME && git -C NAME show COMMIT:PATH > DIR/FILE

News topics in three languages, no reviews: Chinese headlines (THUCNews), Hausa headlines (MasakhaNEWS,
https://arxiv.org/abs/2304.09972), and the beginnings of German articles (10kGNAD).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from pathlib import Path

from counterpoise.core.splits import keyed_rank
from evals.common import MissingDataError
from evals.minority_text import Corpus

N_TEST = 400
N_CHARACTERS = 200
"""Of an article: what an encoder on a processor reads in a twentieth of a second."""


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file of a public repository.

    Args:
        name: in the folder of data.
        repository: `owner/name` on GitHub.
        commit: of the repository.
        path: in it.
        sha256: of the content.
    """

    name: str
    repository: str
    commit: str
    path: str
    sha256: str

    def read(self, folder: Path) -> str:
        """Its text.

        Raises:
            MissingDataError: it is absent, or another file.
        """
        origin = f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"
        path = folder / self.name
        if not path.is_file():
            raise MissingDataError(f"data set absent: {path}; it is {origin}")
        content = path.read_bytes()
        if sha256(content).hexdigest() != self.sha256:
            raise MissingDataError(f"{path} is another file than {origin} (sha256 {self.sha256[:12]}...)")
        return content.decode("utf-8")


_THUCNEWS = ("649453932/Chinese-Text-Classification-Pytorch", "6cb26819af7b646275aff8a4693676f2849e67f6")
_MASAKHANEWS = ("masakhane-io/masakhane-news", "819be052e79e0a600e0ed4a7356594681cb5c4f3")

CHINESE_TRAIN = PinnedFile(
    "thucnews_dev.txt",
    *_THUCNEWS,
    "THUCNews/data/dev.txt",
    "6ed73aa2c57ee1560c8f76570d48735c4b1c29ae4983fe3523d56e115813e175",
)
CHINESE_TEST = PinnedFile(
    "thucnews_test.txt",
    *_THUCNEWS,
    "THUCNews/data/test.txt",
    "ebecc8c896635ad69730083ca7b81d37c42c9a5779bc05c9d2479d894e34f026",
)
HAUSA_TRAIN = PinnedFile(
    "masakhanews_hau_dev.tsv",
    *_MASAKHANEWS,
    "data/hau/dev.tsv",
    "d117ca9ab9c61b2ea0a07b1aab7887597d4c10398eb2b3e02a4f1c87fa62f804",
)
HAUSA_TEST = PinnedFile(
    "masakhanews_hau_test.tsv",
    *_MASAKHANEWS,
    "data/hau/test.tsv",
    "7e88ffaf6a4744611c41e95df6a28c6eb3c7bb6d4f60a381e2f9d1021ef97c51",
)
GERMAN = PinnedFile(
    "10kgnad_test.csv",
    "tblock/10kGNAD",
    "da845fe4a16f02a8de10903ffbc636d1c8d21862",
    "test.csv",
    "68ba71a01919261f36b362b6a31e7fa34255dde102a5586db23d72eae2e41514",
)

CHINESE_TOPICS = {
    "finance": "财经",
    "realty": "房产",
    "stocks": "股票",
    "education": "教育",
    "science": "科技",
    "society": "社会",
    "politics": "时政",
    "sports": "体育",
    "game": "游戏",
    "entertainment": "娱乐",
}
"""In the order of the numbers of the files."""

HAUSA_TOPICS = {
    "business": "kasuwanci da tattalin arziki",
    "entertainment": "nishaɗi, fina-finai da mawaƙa",
    "health": "lafiya",
    "politics": "siyasa",
    "religion": "addini",
    "sports": "wasanni",
    "technology": "fasaha",
}
GERMAN_TOPICS = {
    "Etat": "Medien",
    "Inland": "österreichische Politik",
    "International": "Politik im Ausland",
    "Kultur": "Kunst und Kultur",
    "Panorama": "Vermischtes, Unfälle und Verbrechen",
    "Sport": "Sport",
    "Web": "Internet und Technik",
    "Wirtschaft": "Wirtschaft",
    "Wissenschaft": "Wissenschaft",
}


def load_chinese(folder: Path) -> Corpus:
    """Headlines by ten topics, four of them made rare."""
    names = list(CHINESE_TOPICS)

    def read(file: PinnedFile) -> list[tuple[str, str]]:
        rows = (line.rpartition("\t") for line in file.read(folder).splitlines() if line)
        return list(dict.fromkeys((text, names[int(number)]) for text, _, number in rows))

    lines = {name: f"关于{topic}的新闻标题" for name, topic in CHINESE_TOPICS.items()}
    return _make("thucnews_chinese", read(CHINESE_TRAIN), read(CHINESE_TEST), 60, lines)


def load_hausa(folder: Path) -> Corpus:
    """Headlines by seven topics, three of them made rare."""

    def read(file: PinnedFile) -> list[tuple[str, str]]:
        rows = csv.DictReader(StringIO(file.read(folder)), delimiter="\t")
        return list(dict.fromkeys((row["headline"], row["category"]) for row in rows))

    lines = {name: f"Kanun labarai game da {topic}" for name, topic in HAUSA_TOPICS.items()}
    return _make("masakhanews_hausa", read(HAUSA_TRAIN), read(HAUSA_TEST), 50, lines)


def load_german(folder: Path) -> Corpus:
    """The beginnings of articles by nine topics, three of them made rare."""
    rows = csv.reader(StringIO(GERMAN.read(folder)), delimiter=";", quotechar="'")
    pairs = list(dict.fromkeys((text[:N_CHARACTERS].rpartition(" ")[0], topic) for topic, text in rows))
    pairs = [pairs[row] for row in keyed_rank([text for text, _ in pairs], "10kgnad_german:test")]
    lines = {name: f"Nachrichten: {topic}" for name, topic in GERMAN_TOPICS.items()}
    return _make("10kgnad_german", pairs[N_TEST:], pairs[:N_TEST], 40, lines)


def _make(
    name: str, rows: list[tuple[str, str]], test: list[tuple[str, str]], full: int, lines: dict[str, str]
) -> Corpus:
    order = keyed_rank([text for text, _ in test], f"{name}:test")
    rare = frozenset(sorted(lines)[::3])
    return Corpus(name, rows, [test[row] for row in order[:N_TEST]], [], rare, full, lines, 5)


FOREIGN_SETS: dict[str, Callable[[Path], Corpus]] = {
    "thucnews_chinese": load_chinese,
    "masakhanews_hausa": load_hausa,
    "10kgnad_german": load_german,
}
