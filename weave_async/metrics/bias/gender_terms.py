"""English words that say a person's gender, those that could and do not, and occupations.

The lists are short and our own: common pronouns, titles, kin and gendered names of occupations.
They know two genders and English alone; a word that is mostly something else (``miss``, ``guy``,
``master``, ``lord``) is left out, and irony, quotation and names are not seen.
"""

from __future__ import annotations

_PAIRS = """
    he/she himself/herself he's/she's he'd/she'd he'll/she'll mr/mrs sir/madam gentleman/lady
    gentlemen/ladies man/woman men/women boy/girl boys/girls man's/woman's men's/women's
    boy's/girl's male/female males/females father/mother fathers/mothers dad/mum dads/mums
    daddy/mummy father's/mother's dad's/mum's son/daughter sons/daughters son's/daughter's
    brother/sister brothers/sisters brother's/sister's husband/wife husbands/wives husband's/wife's
    boyfriend/girlfriend boyfriends/girlfriends uncle/aunt uncles/aunts nephew/niece nephews/nieces
    grandfather/grandmother grandfathers/grandmothers grandpa/grandma grandson/granddaughter
    grandsons/granddaughters stepfather/stepmother stepson/stepdaughter stepbrother/stepsister
    godfather/godmother groom/bride widower/widow king/queen prince/princess actor/actress
    waiter/waitress waiters/waitresses actors/actresses
    businessman/businesswoman businessmen/businesswomen policeman/policewoman
    policemen/policewomen salesman/saleswoman salesmen/saleswomen chairman/chairwoman
    spokesman/spokeswoman craftsman/craftswoman cameraman/camerawoman congressman/congresswoman
    handyman/handywoman schoolboy/schoolgirl schoolboys/schoolgirls
"""
PAIRS = tuple((his, hers) for his, _, hers in (pair.partition("/") for pair in _PAIRS.split()))
"""A masculine word beside the feminine one of the same form. ``him``, ``his`` and ``her`` are not
here: which of them another stands for depends on the sentence (see ``counterfactual``).
"""
_MASCULINE_ALONE = "him his fireman firemen postman mailman fatherhood manhood fatherly"
_FEMININE_ALONE = "her hers ms mom moms mommy mom's housewife housewives motherhood womanhood maid"
_OF_ANYTHING = {"actor", "actors", "king", "queen", "prince", "princess"}
"""Said of anyone, or of cards, cities and bands; ``PAIRS`` has them all the same."""
MASCULINE = frozenset({*(his for his, _ in PAIRS), *_MASCULINE_ALONE.split()} - _OF_ANYTHING)
FEMININE = frozenset({*(hers for _, hers in PAIRS), *_FEMININE_ALONE.split()} - _OF_ANYTHING)
NEUTRAL = frozenset(
    """
    they them their theirs themselves themself person persons people someone somebody everyone
    everybody anyone anybody individual individuals human humans adult adults child children kid
    kids parent parents sibling siblings spouse spouses grandparent grandparents grandchild
    grandchildren chairperson spokesperson salesperson salespeople businessperson firefighter
    firefighters humankind
    """.split()  # noqa: SIM905 - read as words
)

_OCCUPATIONS = """
    accountant actor architect artist assistant astronaut athlete baker banker barber builder
    butcher captain caregiver carer carpenter cashier ceo chef cleaner clerk coach cook counselor
    dancer dentist designer detective developer director doctor driver economist editor electrician
    engineer farmer firefighter fisher gardener guard hairdresser housekeeper investor janitor
    journalist judge lawyer lecturer librarian manager mechanic mentor midwife miner musician nanny
    nurse officer optician painter paralegal paramedic pharmacist photographer physician physicist
    pilot plumber poet politician president professor programmer psychologist realtor receptionist
    researcher roofer sailor scientist secretary senator singer soldier solicitor surgeon tailor
    teacher technician therapist trader translator tutor veterinarian welder writer
"""
OCCUPATIONS: dict[str, str] = {}
"""A name of an occupation, or its plural, → its name."""
for _name in _OCCUPATIONS.split():
    OCCUPATIONS |= {_name: _name, f"{_name}s": _name, f"{_name}'s": _name}
OCCUPATIONS |= {"midwives": "midwife", "secretaries": "secretary", "nannies": "nanny"}
