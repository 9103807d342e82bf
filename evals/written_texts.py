"""What four bad writers give, made from a seed: gibberish, foreign language, copies, and cut or repeated texts."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

FOREIGN = {
    "de": (
        "Das Essen war leider kalt und der Kellner sehr unfreundlich zu uns",
        "Ich habe heute den ganzen Tag auf den Zug gewartet und bin jetzt müde",
        "Warum muss das Wetter am Wochenende immer so schlecht sein",
        "Die neue Regierung hat gestern ein Gesetz gegen hohe Mieten vorgestellt",
    ),
    "fr": (
        "La soupe était froide et le serveur ne nous a même pas regardés",
        "Je ne comprends pas pourquoi tout le monde parle encore de ce film",
        "Le gouvernement a annoncé hier de nouvelles mesures pour les écoles",
        "On a passé une soirée magnifique malgré la pluie et le froid",
    ),
    "es": (
        "La comida estaba fría y el camarero fue muy grosero con nosotros",
        "No puedo creer que hayan cancelado el concierto otra vez",
        "El equipo perdió el partido en el último minuto y nadie lo esperaba",
        "Mañana tengo que levantarme muy temprano para ir al trabajo",
    ),
    "ru": (
        "Суп был холодным, а официант даже не извинился перед нами",
        "Сегодня весь день идёт дождь и настроение совсем плохое",
        "Правительство обещало снизить налоги, но ничего не изменилось",
    ),
    "ar": (
        "كان الطعام باردا والنادل لم يكن لطيفا معنا أبدا",
        "لا أفهم لماذا يتحدث الجميع عن هذا الفيلم حتى الآن",
        "خسر الفريق المباراة في الدقيقة الأخيرة أمام جمهوره",
    ),
    "zh": (
        "汤是冷的服务员的态度也很差我们再也不会来了",
        "今天下了一整天的雨心情真的很不好什么都不想做",
        "政府昨天宣布了新的教育政策很多家长都不同意",
    ),
    "hi": (
        "खाना ठंडा था और वेटर का व्यवहार बहुत खराब था",
        "आज पूरे दिन बारिश होती रही और मन बहुत उदास है",
    ),
    "tr": (
        "Çorba soğuktu ve garson bize karşı çok kabaydı, bir daha gelmeyiz",
        "Bugün bütün gün yağmur yağdı ve hiçbir şey yapmak istemiyorum",
    ),
    "id": (
        "Makanannya dingin dan pelayannya kasar sekali kepada kami tadi malam",
        "Hari ini hujan terus dan aku tidak ingin melakukan apa pun",
    ),
    "en": (
        "The soup was cold and the waiter did not even look at us all evening",
        "I cannot believe they have cancelled the concert once again this year",
        "The government announced new measures for schools and hospitals yesterday",
        "We had a wonderful evening in spite of the rain and the cold wind",
        "Why does the weather always have to be so bad at the weekend",
    ),
}
"""Language -> sentences written for this evaluation."""

SEEN = ("11.2: 4.2:", "1.Ji,22.3", "2022 #2022 #2023...", "@user @user @user", "10. 11. 12. 13.", "1) 2) 3)")
"""Kinds of gibberish that a small model was seen to write."""

Maker = Callable[[random.Random, Sequence[str]], str]


def _mash(source: random.Random, _: Sequence[str]) -> str:
    letters = "asdfghjklqwertyuiopzxcvbnm"
    words = ("".join(source.choices(letters, k=source.randint(3, 9))) for _ in range(source.randint(4, 12)))
    return " ".join(words)


def _stir(source: random.Random, shown: Sequence[str]) -> str:
    letters = list(source.choice(shown))
    source.shuffle(letters)
    return "".join(letters)


def _number(source: random.Random, _: Sequence[str]) -> str:
    return " ".join(f"{source.random() * 100:.{source.randint(0, 2)}f}" for _ in range(source.randint(3, 12)))


def _encode(source: random.Random, _: Sequence[str]) -> str:
    return " ".join("".join(source.choices("0123456789abcdef", k=8)) for _ in range(source.randint(2, 6)))


def _sign(source: random.Random, _: Sequence[str]) -> str:
    return "".join(source.choices("|-=+#*/<>_[]{}%$ ", k=source.randint(15, 60))) + "x1"


def _tag(source: random.Random, _: Sequence[str]) -> str:
    return " ".join(
        source.choice(("@user", "#tag", "RT", "&amp;", "http://t.co/x")) for _ in range(source.randint(3, 8))
    )


def write_gibberish(source: random.Random, shown: Sequence[str]) -> str:
    """One of seven kinds."""
    makers: list[Maker] = [_mash, _stir, _number, _encode, _sign, _tag, lambda draw, _: draw.choice(SEEN)]
    return source.choice(makers)(source, shown)


def write_foreign(source: random.Random, languages: Sequence[str]) -> str:
    """One or two sentences of one of the languages."""
    sentences = FOREIGN[source.choice(languages)]
    return ". ".join(source.sample(sentences, source.randint(1, 2)))


def write_copy(source: random.Random, shown: Sequence[str]) -> str:
    """A shown row, whole or hardly changed, or halves of two."""
    text = source.choice(shown)
    words = text.split()
    kind = source.randrange(6)
    if kind == 0:
        return text
    if kind == 1:
        return text.upper().replace(",", " !")
    if kind == 2:
        words[source.randrange(len(words))] = source.choice(("really", "today", "something"))
        return " ".join(words)
    if kind == 3:
        kept = [word for word in words if source.random() > 0.15]
        return " ".join(kept or words)
    if kind == 4:
        return f"{source.choice(('Well', 'Honestly', 'So'))}, {text}"
    other = source.choice(shown).split()
    return " ".join([*words[: len(words) // 2], *other[len(other) // 2 :]])


def write_repeated(source: random.Random, real: Sequence[str]) -> str:
    """A real row that the writer cannot leave: its beginning again and again, or its last word."""
    words = source.choice(real).split()
    kind = source.randrange(3)
    if kind == 0:
        start = words[: source.randint(2, 6)]
        return " ".join(start * source.randint(4, 8))
    if kind == 1:
        return " ".join([*words[:10], *[words[min(len(words), 10) - 1]] * source.randint(8, 20)])
    return " ".join((words[:25]) * 3)
