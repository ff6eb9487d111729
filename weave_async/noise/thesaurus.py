"""Words with the same meaning: our own short list, of words that mostly have one sense."""

from __future__ import annotations

from functools import cache

from weave_async.noise.inflection import forms

# n: nouns, v: verbs with regular endings, x: words in one form. A word with a star may take the
# place of the others, but is itself left alone: it is another part of speech as well.
_SETS = """
x big large
x quick fast* rapid
x huge enormous gigantic
x tiny minuscule
x happy glad
x sad unhappy
x clever smart intelligent
x beautiful gorgeous
x difficult tough
x easy simple
x important significant
x essential crucial vital
x strange odd weird
x entire whole*
x wealthy rich
x scary frightening
x terrible awful horrible
x wonderful marvelous
x excellent superb outstanding
x delicious tasty
x expensive costly pricey
x inexpensive cheap
x famous renowned
x tired weary
x sick ill
x silent quiet
x noisy loud
x polite courteous
x rude impolite
x brave courageous
x fortunate lucky
x fortunately luckily
x additional extra
x various diverse
x suitable appropriate
x helpful useful
x dangerous hazardous risky
x accurate precise
x reliable dependable
x obvious evident clear*
x rare uncommon
x usually normally generally
x often frequently
x sometimes occasionally
x maybe perhaps
x immediately instantly
x suddenly abruptly
x almost nearly
x approximately roughly
x totally completely entirely
x mostly mainly
x especially particularly
x however nevertheless
x therefore thus hence
x finally eventually
x currently presently
x previously earlier
x soon shortly
x beneath underneath
x everybody everyone
x somebody someone
x anybody anyone
x children kids
x toward towards
x among amongst
n mistake error
n question query
n problem issue*
n car automobile
n photo picture
n shop* store*
n holiday vacation
x garbage trash
n sofa couch
n doctor physician
n lawyer attorney
n teacher instructor
n student pupil
n customer client
n employee worker
n salary wage
n method approach* technique
n purpose aim* goal
n outcome result*
n benefit* advantage
n drawback disadvantage
n danger risk*
n area region
n road street
n journey trip
n illness disease
n feature* characteristic
n amount* quantity
n summary overview
n author writer
n phone telephone
n parcel package
n discount reduction
n infant baby
n idea notion
n company firm*
x angry furious
n film movie
v hate loathe
v obtain acquire
v help* assist
v fix* repair* mend
v try attempt
v explain clarify
v love* adore
v allow permit
v collect gather
v change* alter modify
v improve enhance
v reduce decrease* lower*
v check* verify
v select pick*
v remember recall
v ensure guarantee*
v shout yell
v talk chat
v walk* stroll
v jump leap
v destroy ruin*
v examine inspect
v summarize outline*
v calculate compute
"""


@cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """What may stand for a word, by each of its forms."""
    others: dict[str, dict[str, None]] = {}
    for line in _SETS.strip().splitlines():
        part_of_speech, *words = line.split()
        inflected = [list(forms(word.rstrip("*"), part_of_speech)) for word in words]
        for same_form in zip(*inflected, strict=True):
            for word, form in zip(words, same_form, strict=True):
                if not word.endswith("*"):
                    others.setdefault(form, {}).update(dict.fromkeys(same_form))
    return {
        form: tuple(other for other in known if other != form) for form, known in others.items()
    }
