"""
The names and numbers that a file carries beside its values, compared with the order of the stimuli or the participants.
"""

import logging
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from ..images.decoding import IMAGE_SUFFIXES
from .labels import Labels
from .stimuli import drop_numbers, make_ascii, strip_suffix

logger = logging.getLogger(__name__)

PLURAL = {"stimulus": "stimuli", "participant": "participants"}


def find_order(labels: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """Return for each label the number of the name that it means, or None, by the first reading that leaves none over.

    Readings, from strict to loose: the name without its suffix, in one Unicode form; without regard to case, folders,
    separators and leading zeros; without accents; without what all labels, or all names, begin and end with; as a number that
    each name holds in the same place; as the one name that the label holds, or is held by. Where none fits all, that of the
    first four with the most is returned.
    """
    best: list[int | None] = [None] * len(labels)
    for read in (_read_strictly, _read_loosely, _read_without_accents, _read_core):
        found = _look_up(read(labels), read(names))
        if sum(i is not None for i in found) > sum(i is not None for i in best):
            best = found
        if None not in best:
            return best
    if len(labels) != len(names) or len(set(labels)) < len(labels):
        return best
    for a in _list_numbers(labels):
        for b in _list_numbers(names):
            if set(a) == set(b):
                return _look_up(a, b)
    held = _find_held(labels, names)
    return best if None in held or len(set(held)) < len(held) else held


def find_stimuli(labels: Sequence[str], stimuli: Sequence[str]) -> list[int | None]:
    """Return `find_order` of labels among names as in brain.h5, which begin with a number that the user's do not.

    The number counts where labels are just these names, or the names hold no other.
    """
    if set(_read_strictly(labels)) <= set(stimuli):
        return find_order(labels, stimuli)
    bare = drop_numbers(stimuli)
    readings = [find_order(labels, bare), _look_up([make_ascii(label) for label in _read_strictly(labels)], bare)]
    if not _list_numbers(bare):
        readings.append(find_order(labels, stimuli))
    return min(readings, key=lambda found: found.count(None))


def match_pictures(conditions: list[str], images: str | Path) -> list[tuple[str, list[str]]]:
    """Return each condition with the name of its picture, or folder of pictures; where none is found, with its own, which then
    is missed.
    """
    places = Path(images).glob("[!.]*")
    files = [path.name for path in places if path.suffix.lower() in IMAGE_SUFFIXES or path.is_dir()]
    pictures = sorted(set(map(strip_suffix, files)))
    found = find_order(conditions, pictures)
    pairs = [(name, name if i is None else pictures[i]) for name, i in zip(conditions, found, strict=True)]
    for condition, picture in pairs:
        logger.info("%s: condition %s is picture %s", images, condition, picture)
    return [(condition, [picture]) for condition, picture in pairs]


def check_order(lists: Sequence[Labels], names: Sequence[str], what: str, who: str, said: set) -> None:
    """Compare lists beside the values with the order of the names.

    What is found and cannot be compared is said by a warning, once for each list (`said` grows by it).

    Args:
        lists: of which those that belong to something else are passed over; numbers, and lists that stand apart, count only
            where no names beside the values show the order.
        names: in the order of the configuration.
        what: stimulus or participant.
        who: file, region and participant, which begins each message.

    Raises:
        ValueError: a list has all names, or counts them, in another order, or has some of the names and others; a table's row
            or column names one twice; RDMs of rsatoolbox give numbers alone, and the names hold none.
    """
    unused, partial, confirmed = [], [], False
    for labels in sorted(
        (one for one in lists if one.belongs in (None, what)), key=lambda one: (_is_numeric(one), one.apart)
    ):
        numeric, n = _is_numeric(labels), len(names)
        if (labels.where, labels.values, what) in said or (numeric and _is_default_index(labels)):
            continue
        if confirmed and (numeric or labels.apart):
            continue
        found = find_order(labels.values, names)
        if numeric and None in found:
            found = _find_counted(labels, names) or found
        is_complete = len(found) == n and None not in found
        if is_complete and len(set(found)) == n:
            if found != list(range(n)):
                _refuse_order(labels, found, names, what, who)
            confirmed = True
        elif is_complete and labels.axis is not None and not numeric:
            twice = next(value for value, i in zip(labels.values, found, strict=True) if found.count(i) > 1)
            raise ValueError(f"{who}: {labels.where} names {twice} more than once; each {what} stands once")
        elif numeric and labels.belongs and _is_shuffled_count(labels):
            raise ValueError(
                f"{who}: {labels.where} counts the {PLURAL[what]} in another order ({_show(labels.values)}); put the values "
                f"back into the order of the {n} names that the configuration gives, or names beside them, which are compared"
            )
        elif _is_meant(labels, found, n):
            strange = next((f"; {v} is no {what}" for v, i in zip(labels.values, found, strict=True) if i is None), "")
            partial.append(
                (labels.axis, f"{labels.where} names {len(found)} {PLURAL[what]}, the configuration {n}{strange}")
            )
        elif labels.belongs or (len(found) == n == len(set(labels.values)) and what == "stimulus"):
            unused.append(labels)
            if numeric and labels.where.startswith("pattern_descriptors/") and len(set(labels.values)) == n:
                partial.append((None, _explain_numbers(labels, names)))
    for axis, message in partial:
        if axis is not None or not confirmed:
            raise ValueError(f"{who}: {message}")
    for labels in [] if confirmed else unused:
        said.add((labels.where, labels.values, what))
        logger.warning(
            "%s: %s (%s) could not be compared with the names of the %s (%s); nothing else shows whether they stand in "
            "the order of the configuration",
            *(who, labels.where, _show(labels.values), PLURAL[what], _show(names)),
        )


def check_owner(lists: Sequence[Labels], name: str, names: Sequence[str], who: str) -> None:
    """Raise a ValueError where all values of a list beside those of a participant, or a region, name another one.

    A value may hold several names with bars between, as the RSA toolbox's `V1 | sub-01 | Session: 1`; the only one of `names`
    in it counts.
    """
    for labels in lists:
        if not labels.values or labels.belongs == "stimulus" or _is_numeric(labels):
            continue
        meant = _find_parts(labels.values[0], names)
        if (
            len(meant) == 1
            and name not in meant
            and all(_find_parts(value, names) == meant for value in set(labels.values))
        ):
            raise ValueError(f"{who}: by {labels.where} these are the values of {labels.values[0]}")


def _find_parts(value: str, names: Sequence[str]) -> set[str]:
    """Return the names that stand in a value between bars; a bare number there can be that of a session."""
    parts = [part.strip() for part in value.split("|")]
    found = [find_order([part], names)[0] for part in parts if len(parts) == 1 or not part.isdecimal()]
    return {names[i] for i in found if i is not None}


def refuse_names(lists: Sequence[Labels], names: Sequence[str], message: str) -> None:
    """Raise a ValueError with the message and the list's place where a list has all the names."""
    for labels in lists:
        found = [] if _is_numeric(labels) else find_order(labels.values, names)
        if len(found) == len(names) and set(found) == set(range(len(names))):
            raise ValueError(f"{message} ({labels.where}: {_show(labels.values)})")


def check_voxels(lists: Sequence[Labels], who: str) -> None:
    """Raise a ValueError where lists name the same voxels in another order, as of two runs, or patterns and reliabilities."""
    for labels in lists[1:]:
        first = lists[0].values
        if labels.values != first and sorted(labels.values) == sorted(first):
            place = next(i for i, value in enumerate(first) if value != labels.values[i])
            raise ValueError(
                f"{who}: the voxels of another run, of the reliability or the residuals stand in another order: number "
                f"{place + 1} is {labels.values[place]} there, and {first[place]} here"
            )


def _refuse_order(labels: Labels, found: Sequence[int | None], names: Sequence[str], what: str, who: str) -> None:
    i = next(i for i, number in enumerate(found) if i != number)
    raise ValueError(
        f"{who}: the {PLURAL[what]} stand in another order: by {labels.where} number {i + 1} is {labels.values[i]}, and "
        f"{names[i]} by the order that the configuration gives"
    )


def _explain_numbers(labels: Labels, names: Sequence[str]) -> str:
    """rsatoolbox sorts RDMs by such numbers, so that they say nothing of the order before."""
    return (
        f"{labels.where} gives the stimuli as numbers ({_show(labels.values)}), by which rsatoolbox sorts when it makes RDMs; "
        f"the names ({_show(names)}) do not say which number each is. Give order, a file with a line for each row of the "
        "RDMs: the number, a tab, the picture"
    )


def _is_meant(labels: Labels, found: list[int | None], n: int) -> bool:
    """Whether a list that has some of the names is one of them all: nothing stands twice, and it is no bare count."""
    if all(i is None for i in found) or len(set(labels.values)) < len(labels.values):
        return False
    if _is_numeric(labels) and _is_count(labels):
        return False
    return labels.belongs is not None or len(labels.values) == n


def _is_numeric(labels: Labels) -> bool:
    return all(re.fullmatch(r"\d+(\.0*)?", value) for value in labels.values)


def _to_numbers(labels: Labels) -> list[int]:
    return [int(float(value)) for value in labels.values]


def _is_count(labels: Labels) -> bool:
    numbers = sorted(_to_numbers(labels))
    return numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)))


def _is_shuffled_count(labels: Labels) -> bool:
    return _is_count(labels) and _to_numbers(labels) != sorted(_to_numbers(labels))


def _is_default_index(labels: Labels) -> bool:
    """rsatoolbox's and pandas' own count from 0, which they give to whatever has none."""
    return labels.where.split("/")[-1] == "index" and _to_numbers(labels) == list(range(len(labels.values)))


def _find_counted(labels: Labels, names: Sequence[str]) -> list[int | None] | None:
    """Return what numbers from 0 mean where names hold the same numbers from 1, or the reverse; None where they do not."""
    for step in (-1, 1):
        numbers = [number + step for number in _to_numbers(labels)]
        for there in _list_numbers(names):
            if sorted(there) == sorted(numbers):
                return _look_up(numbers, there)
    return None


def _show(values: Sequence[str]) -> str:
    return ", ".join(values[:3]) + (", ..." if len(values) > 3 else "")


# ---- readings --------------------------------------------------------------------------------------------------------


def _look_up(labels: Sequence, names: Sequence) -> list[int | None]:
    """Names that a reading makes equal mean nothing."""
    place = {name: i for i, name in enumerate(names)}
    if len(place) < len(names):
        return [None] * len(labels)
    return [place.get(label) if label != "" else None for label in labels]


def _read_strictly(names: Sequence[str]) -> list[str]:
    return [strip_suffix(unicodedata.normalize("NFC", name.strip())) for name in names]


def _read_loosely(names: Sequence[str]) -> list[str]:
    return ["_".join(_split(name)) for name in names]


def _split(name: str) -> list[str]:
    """Return the words and numbers of a name, folded."""
    name = re.split(r"[/\\]", unicodedata.normalize("NFKC", unquote(name)).strip())[-1]
    while (shorter := strip_suffix(name)) != name:
        name = shorter
    words = re.findall(r"\d+(?:\.\d+)*|[^\W\d_]+|[^\w\s.,|:-]", unicodedata.normalize("NFC", name.casefold()))
    return [re.sub(r"(?<![\d.])0+(?=\d)", "", word) for word in words]


def _read_without_accents(names: Sequence[str]) -> list[str]:
    return [
        "".join(c for c in unicodedata.normalize("NFD", name) if not unicodedata.combining(c))
        for name in _read_loosely(names)
    ]


def _read_core(names: Sequence[str]) -> list[str]:
    """Without the words that all begin or end with; a beginning that is glued to a word goes too."""
    words = [_split(name) for name in names]
    while len(words) > 1 and all(len(one) > 1 for one in words) and len({one[0] for one in words}) == 1:
        words = [one[1:] for one in words]
    while len(words) > 1 and all(len(one) > 1 for one in words) and len({one[-1] for one in words}) == 1:
        words = [one[:-1] for one in words]
    return ["_".join(one) for one in words]


def _list_numbers(names: Sequence[str]) -> list[list[int]]:
    """Return, for each place where all names hold a number and no two the same, these numbers."""
    numbers = [
        [int(number) for number in re.findall(r"\d+", strip_suffix(name.strip().removesuffix(".0")))] for name in names
    ]
    places = range(min(map(len, numbers), default=0))
    columns = [[one[place] for one in numbers] for place in places]
    return [column for column in columns if len(set(column)) == len(column)]


def _find_held(labels: Sequence[str], names: Sequence[str]) -> list[int | None]:
    """Return for each label the one name whose words it holds, or which holds its words."""
    words, others = [_split(label) for label in labels], [_split(name) for name in names]
    with_word: dict[str, list[int]] = {}
    for i, other in enumerate(others):
        for word in set(other):
            with_word.setdefault(word, []).append(i)
    found: list[int | None] = []
    for one in words:
        # of words that many names hold it would take minutes
        near = {i for word in one if len(with_word.get(word, [])) <= 100 for i in with_word.get(word, [])}
        places = [i for i in near if _holds(one, others[i]) or _holds(others[i], one)]
        found.append(places[0] if len(places) == 1 else None)
    return found


def _holds(words: list[str], part: list[str]) -> bool:
    n = len(part)
    return n > 0 and any(words[i : i + n] == part for i in range(len(words) - n + 1))
