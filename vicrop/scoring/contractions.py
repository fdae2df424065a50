"""The contractions to which the VQA normalisation puts a missing apostrophe back.

visualqa.org's table, held as the full forms: its keys are each form with one of its
apostrophes left out. Of the 120 entries there, those that can change nothing are not
here: text is in lower case when the table is read (``Im``, ``Ive``, ``Id've``,
``I'dve``), and two map to themselves (``let's``, ``she's``).

>>> TABLE["dont"], TABLE["couldnt've"], TABLE["couldn'tve"], len(TABLE)
("don't", "couldn't've", "couldn't've", 114)

Source: GT-Vision-Lab/VQA, vqaEval.py; mmf and the authors' script have the same table.
"""

_STEMS = {
    "'d": "he how it someone something there they where who you",
    "'d've": "he it she somebody someone something there they we who y'all you",
    "'ll": "how it somebody someone something they what who why y'all you",
    "'re": "there they what why you",
    "'s": "he how somebody someone that there what when where who why",
    "'ve": "could might must not should they we what where who would you",
    "n't": "ai are ca could did does do had has have is might must need ought sha"
    " should was were wo would",
    "n't've": "could had might should would",
}
_OTHERS = "ma'am o'clock 'ow's'at 'twas y'all"


_FULL = [stem + end for end, stems in _STEMS.items() for stem in stems.split()]

# The official table has this one the wrong way round, and so have we.
TABLE = {"somebody'd": "somebodyd"} | {
    form[:place] + form[place + 1 :]: form
    for form in [*_FULL, *_OTHERS.split()]
    for place, letter in enumerate(form)
    if letter == "'"
}
