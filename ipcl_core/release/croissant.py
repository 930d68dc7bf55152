"""
Croissant metadata of data sets: what machine-learning tools and data set searches read (http://mlcommons.org/croissant/1.0).

Of labelled images the manifests are described, one row an image with its class and SHA-256; the images are not given.
"""

from pathlib import Path

from ..files import compute_sha256
from .sources import Source

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
FIELDS = {
    "path": ("sc:Text", "Name of the image, relative to the folder of its split"),
    "class": ("sc:Text", "Its class"),
    "label": ("sc:Integer", "Number of the class, from 0"),
    "sha256": ("sc:Text", "SHA-256 of the image's file"),
    "refused": ("sc:Text", "Why the image was left out of the conversion, else empty"),
}
CROISSANT_TERMS = (
    "citeAs", "column", "data", "dataType", "equivalentProperty", "examples", "extract", "field", "fileProperty", "fileObject",
    "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform",
)  # fmt: skip
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{term: f"cr:{term}" for term in CROISSANT_TERMS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}


def describe_images(name: str, source: Source, manifests: dict[str, Path], time: str) -> dict:
    """Return the metadata of labelled images.

    Args:
        name: of the data set.
        source: what is known of it.
        manifests: split -> its CSV, with the columns of FIELDS, beside which the metadata will lie.
        time: when it was converted, ISO 8601.
    """
    files = [_describe_file(path, "text/csv", f"Images of the split {split}") for split, path in manifests.items()]
    records = [
        {
            "@type": "cr:RecordSet",
            "@id": split,
            "name": split,
            "description": f"One row an image of the split {split}",
            "key": {"@id": f"{split}/path"},
            "field": [_describe_field(split, path.name, *field) for field in FIELDS.items()],
        }
        for split, path in manifests.items()
    ]
    return _describe(name, source, time) | {"distribution": files, "recordSet": records}


def describe_brain(name: str, source: Source, file: Path, time: str) -> dict:
    """Return the metadata of brain data: an HDF5 file of `brains.store`; arguments as in `describe_images`."""
    about = "Similarities of the stimuli for every region and participant; datasets stimuli and regions/REGION (HDF5)"
    return _describe(name, source, time) | {"distribution": [_describe_file(file, "application/x-hdf5", about)]}


def _describe(name: str, source: Source, time: str) -> dict:
    found = {"license": source.licence, "url": source.url}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": " ".join(filter(None, [f"{source.title}.", source.note])),
        **{key: value for key, value in found.items() if value},
        "citeAs": source.citation,
        "datePublished": time,
        "version": "1.0.0",
    }


def _describe_file(path: Path, kind: str, about: str) -> dict:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "description": about,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": compute_sha256(path),
    }


def _describe_field(split: str, file: str, column: str, described: tuple[str, str]) -> dict:
    kind, about = described
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{column}",
        "name": f"{split}/{column}",
        "description": about,
        "dataType": kind,
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
