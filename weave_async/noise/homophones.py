"""English words that sound the same, for what listens: our own list.

Left out are all that would add or take away a number (``to``/``two``, ``won``/``one``), a negation
(``know``/``no``, ``not``/``knot``) or a unit (``sent``/``cent``), and those that nobody mishears.
"""

from __future__ import annotations

_SETS = """
there their they're
your you're
its it's
to too
then than
hear here
where wear
were we're
whether weather
knew new
right write
by buy bye
peace piece
week weak
see sea
meet meat
male mail
sale sail
sun son
whole hole
break brake
plain plane
pair pear
bare bear
fair fare
flower flour
great grate
hour our
who's whose
threw through
wait weight
way weigh
wood would
which witch
waste waist
stair stare
steal steel
tail tale
principal principle
affect effect
accept except
passed past
lead led
read red
heard herd
heel heal he'll
higher hire
made maid
mind mined
morning mourning
role roll
root route
sight site cite
sole soul
some sum
scene seen
seem seam
allowed aloud
aisle isle I'll
board bored
cell sell
check cheque
coarse course
complement compliment
council counsel
dear deer
die dye
due dew
fined find
guest guessed
knight night
loan lone
missed mist
ad add
alter altar
base bass
been bin
blue blew
creak creek
desert dessert
dual duel
ensure insure
foul fowl
gate gait
genes jeans
groan grown
hall haul
hair hare
high hi
hymn him
idle idol
key quay
need knead
lesson lessen
main mane
minor miner
muscle mussel
pause paws
patience patients
peak peek
pole poll
poor pour
pray prey
presence presents
profit prophet
rain reign
raise rays
wrap rap
ring wring
stationary stationery
straight strait
sweet suite
team teem
tide tied
toe tow
wore war
worn warn
""".strip()

HOMOPHONES: dict[str, tuple[str, ...]] = {}
"""What may be heard in place of a word. Keys are single words, in small letters."""
for _line in _SETS.splitlines():
    _words = _line.split()
    for _word in _words:
        _others = tuple(other for other in _words if other != _word)
        for _apostrophe in "'’":
            HOMOPHONES[_word.lower().replace("'", _apostrophe)] = _others
