"""Whether a text is English: a guess, by the function words of it and of its neighbours.

Figures whose lexicons are English leave out what is not. Of sentences of six words and more in 26
languages (those of chatterbot-corpus), 97 % of the English ones pass, the others being code or
names for the most part; of German, French, Spanish, Italian and Dutch ones 0 to 4 %, of Portuguese
5 %, of Turkish 8 %.
"""

from __future__ import annotations

from collections.abc import Sequence

_WORDS_TO_TELL = 6
_LEAST = 0.1
"""Share of English function words in an English text; prose has 0.4, and questions 0.3."""
_ENGLISH = frozenset(
    """
    a about all an and any are as at be because been but by can could did do does don't for from get
    had has have he her him his how i i'm i've if in into is it it's just know like me more my no
    not of on one or our out please she should so some than that the their them then there they this
    think to up was we were what when which who why will with would yes you your
    """.split()  # noqa: SIM905 - read as words
)
# German, Dutch, Swedish, French, Spanish, Portuguese, Italian, Turkish, Polish, Indonesian: those
# of their most common words that are no English ones.
_OTHERS = frozenset(
    """
    ich der das und ist nicht ein eine du dir sie es wir mit auf für von zu dem sich wie bist hast
    kann im aber auch welche gerne
    het een dat niet ik je jij zijn voor wat hoe maar ook naar
    och att det är som jag på inte av ett har han hon vad hur
    le les des et est un une je tu vous il elle nous que qui ne pas dans avec ce au aux mon ton
    c'est j'ai
    de la los las del una por para como tu su lo se yo muy pero más qué cómo eres soy al
    os um uma não em na da dos das ao você eu é mas são isso meu minha
    gli che di non è sono mi ti hai cosa della
    ve bir bu için mı mi
    nie się jest czy jak
    yang dan apa saya anda itu ini tidak
    """.split()  # noqa: SIM905 - read as words
)


def looks_english(words: Sequence[str]) -> bool:
    """``words`` as of ``words_of``. Texts too short to say are English unless they look otherwise;
    so is one without words.
    """
    num_others = sum(word in _OTHERS for word in words)
    if len(words) < _WORDS_TO_TELL:
        return not num_others and all(word.isascii() for word in words)
    num_english = sum(word in _ENGLISH for word in words)
    return num_english > 2 * num_others and num_english >= _LEAST * len(words)
