"""
Brain data.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..brains.distances import make_rsv
from ..brains.labels import Labels
from ..brains.names import check_order
from ..brains.own import import_own_brain, refuse_alike
from ..brains.published import import_kriegeskorte_2008, import_magri_konkle_2019
from ..brains.store import Region, read_brain, write_brain
from ..config import Averaged, Brain, Kriegeskorte2008, MagriKonkle2019, OwnBrain, read_config
from ..config.errors import check_block
from ..config.templates import SUFFIXES
from ..downloads import PACKAGES, download_package
from .arrays import check_keys, make_plain, read_array, read_names

logger = logging.getLogger(__name__)

REGIONS, PARTICIPANTS = ("region", "roi"), ("participant", "subject", "subj", "sub")
"""Descriptors of rsatoolbox's RDMs; its own examples have subj."""
MEASURES = {"correlation": "correlation", "crossnobis": "crossvalidated", "poisson_cv": "crossvalidated"}
"""rsatoolbox's names of distances that are not `other`, see `config.OwnData`."""
DISTANCES = ("correlation", "crossvalidated", "other")
MAKE_IT = "is not imported yet: snakemake --cores 1 results/brain/{name}/brain.h5"


@dataclass(frozen=True)
class BrainData:
    """Similarity vectors of every region and participant to the same stimuli; see `load_brain`."""

    name: str
    file: Path
    """brain.h5, see `brains.store`."""
    stimuli: list[str]
    """Names, in order."""
    regions: list[Region] = field(repr=False)
    images: Path | None = None
    """Folder of the stimuli's pictures, whose names sort in that order; None where only numbers are known."""
    averaged: Averaged = "activations"
    """What is averaged over a stimulus's pictures, see `config.OwnBrain`."""
    _kept: TemporaryDirectory | None = field(default=None, repr=False)


def load_brain(
    source: str | Path | Mapping[str, Any] | Any,
    *,
    name: str | None = None,
    config: str | Path = "config.yaml",
    stimuli: Sequence[str] | None = None,
    distance: str | None = None,
) -> BrainData:
    """Return brain data.

    Args:
        source: a name under `brains` of the configuration; such a block, as a dictionary; the path of a brain.h5 that the
            workflow made; RDMs of rsatoolbox, whose descriptors region (or roi) and participant (subject, subj, sub) are
            taken; or region -> RDMs, (n_participants, n_stimuli, n_stimuli) correlation distances, or (n_stimuli, n_stimuli)
            of one: an array, a tensor, a table of pandas, whose names of rows and columns are compared, or a list of these.
        name: in tables and figures; left out: the one in the configuration, or brain.
        config: configuration in which `source` is a name. What the workflow has imported by it is taken from its results.
        stimuli: names of the stimuli in the order of RDMs; left out: those of rsatoolbox's descriptors, of the first table, or
            numbers.
        distance: what RDMs hold, correlation (1 - r), crossvalidated or other, see `config.OwnData`; left out: what
            rsatoolbox's RDMs say, else correlation.

    Raises:
        ValueError: there is no such name or file; a block or RDMs cannot be used, which the message explains; rsatoolbox's
            descriptors, or tables, name the stimuli in another order; stimuli or distance stand beside other than RDMs.
        OSError: a file cannot be read.

    Source of the similarities 1 - d: see `brains.distances.make_rsv`.

    Example:
        >>> import numpy as np, ipcl_core as ipcl
        >>> patterns = np.random.default_rng(0).standard_normal((3, 8, 50))
        >>> brain = ipcl.load_brain({"IT": np.stack([1 - np.corrcoef(one) for one in patterns])})
        >>> brain.stimuli[:2], brain.regions[0].rsvs.shape
        (['1', '2'], (3, 28))
    """
    is_block = isinstance(source, Mapping) and not {"source", "files"}.isdisjoint(source)
    is_rdms = hasattr(source, "dissimilarities") or (isinstance(source, Mapping) and not is_block)
    if not is_rdms and (stimuli is not None or distance is not None):
        raise ValueError(
            "stimuli and distance: are of RDMs in memory; a block says both by its keys, and a file holds its stimuli"
        )
    if distance not in (None, *DISTANCES):
        raise ValueError(f"distance: found {distance!r}; give {', '.join(DISTANCES)}")
    if hasattr(source, "dissimilarities"):
        names, parts, found = _read_rsatoolbox(source, stimuli)
        return _take_rdms(names, parts, distance or found, name or "brain")
    if isinstance(source, Mapping) and not is_block:
        regions = check_keys(source, "region", name or "brain")
        arrays = {region: read_array(rdms, region) for region, rdms in zip(regions, source.values(), strict=True)}
        for region, (rdms, _) in arrays.items():
            if rdms.ndim not in (2, 3) or rdms.shape[-1] != rdms.shape[-2] or not len(rdms):
                raise ValueError(
                    f"{region}: found an array of shape {rdms.shape}, needs (participants, stimuli, stimuli), or (stimuli, "
                    "stimuli) of one; scipy's squareform makes matrices of pairs"
                )
        parts = {region: (rdms.reshape(-1, *rdms.shape[-2:]), None) for region, (rdms, _) in arrays.items()}
        return _take_rdms(_name_rows(arrays, stimuli), parts, distance or "correlation", name or "brain")
    if isinstance(source, Mapping):
        block = check_block(Brain, {"title": "brain", **make_plain(source)}, name or "brain")
        return _import_brain(block, name or "brain")
    if not isinstance(source, str | Path):
        raise ValueError(f"brain data: found {type(source).__name__}; of RDMs give a dictionary, region -> RDMs")
    if Path(source).is_file():
        return _open_brain(Path(source), name or Path(source).resolve().parent.name)
    if isinstance(source, Path) or Path(source).suffix in SUFFIXES:
        raise ValueError(f"{source}: is no file; give the path of a brain.h5, or a name under brains of {config}")
    study = read_config(config)
    if source not in study.brains:
        raise ValueError(f"{config}: there is no brain {source}, but {', '.join(study.brains)}")
    file = Path(study.pathvars.get("results", "results")) / f"brain/{source}/brain.h5"
    block = study.brains[str(source)]
    if file.is_file():
        return _open_brain(file, name or str(source), block)
    return _import_brain(block, name or str(source))


def _open_brain(file: Path, name: str, block: Brain | None = None, kept: TemporaryDirectory | None = None) -> BrainData:
    stimuli, regions = read_brain(file)
    images = file.parent / "stimuli"
    averaged: Averaged = getattr(block, "averaged", "activations")
    return BrainData(name, file, stimuli, regions, images if images.is_dir() else None, averaged, kept)


def _import_brain(block: Brain, name: str) -> BrainData:
    """Import as the workflow does, into a folder that goes with the object."""
    kept = TemporaryDirectory()
    images, file = Path(kept.name) / "stimuli", Path(kept.name) / "brain.h5"
    if isinstance(block, Kriegeskorte2008):
        archive = Path(kept.name) / "rsatoolbox-0.0.4.tar.gz"
        download_package(*PACKAGES[archive.name], archive)
        import_kriegeskorte_2008(archive, block.stimuli, images, file)
    elif isinstance(block, MagriKonkle2019):
        if block.betas.startswith("https:") or block.stimuli.startswith("https:"):
            raise ValueError(f"{name}: {MAKE_IT.format(name=name)}, or give the paths of betas and stimuli")
        import_magri_konkle_2019(block, images, file)
    elif isinstance(block, OwnBrain):
        import_own_brain(block, images, file)
    else:
        raise ValueError(f"{name}: {MAKE_IT.format(name=name)}")
    return _open_brain(file, name, block, kept)


def _name_rows(arrays: dict[str, tuple[NDArray, list[Labels]]], stimuli: Sequence[str] | None) -> list[str]:
    """Return the names: those given, else of the first table's rows, else numbers; tables are compared with them."""
    if stimuli is not None:
        names = read_names(stimuli)
    else:
        tables = [labels[0].values for _, labels in arrays.values() if labels]
        n = next(iter(arrays.values()))[0].shape[-1]
        names = list(tables[0] if tables else map(str, range(1, n + 1)))
    for region, (_, labels) in arrays.items():
        check_order(labels, names, "stimulus", region, set())
    return names


def _read_rsatoolbox(rdms: Any, stimuli: Sequence[str] | None) -> tuple[list[str], dict, str]:
    """Return the stimuli's names, region -> (distances, participants), and which distance they are."""
    descriptors = {key.lower(): list(map(str, values)) for key, values in rdms.rdm_descriptors.items()}
    patterns = {key.lower(): list(map(str, values)) for key, values in rdms.pattern_descriptors.items()}
    keys = [key for key in ("stimuli", "stimulus", "conds", "conditions", "condition") if key in patterns]
    ranked = sorted(patterns, key=lambda key: (key == "index", len(set(patterns[key])) < len(patterns[key])))
    names = read_names(stimuli) if stimuli is not None else patterns[(keys or ranked)[0]]
    lists = [Labels(key, tuple(values), belongs="stimulus") for key, values in patterns.items()]
    check_order(lists, names, "stimulus", "the RDMs", set())
    n = len(rdms.dissimilarities)
    regions = next((descriptors[key] for key in REGIONS if key in descriptors), ["brain"] * n)
    people = next((descriptors[key] for key in PARTICIPANTS if key in descriptors), None)
    others = [key for key, values in descriptors.items() if key not in ("index", *REGIONS) and len(set(values)) > 1]
    if people is None and others:
        logger.warning(
            "the RDMs: rows of a region count as participants, since no descriptor is called %s; %s (%s) is not looked at",
            *(" or ".join(PARTICIPANTS), others[0], ", ".join(dict.fromkeys(descriptors[others[0]]))),
        )
    parts = {}
    for region in dict.fromkeys(regions):
        rows = [i for i, one in enumerate(regions) if one == region]
        parts[region] = np.asarray(rdms.dissimilarities)[rows], people and [people[i] for i in rows]
    measure = str(rdms.dissimilarity_measure).lower()
    return names, parts, MEASURES.get(measure, "other")


def _take_rdms(names: list[str], parts: dict, distance: str, name: str) -> BrainData:
    regions, kept = [], TemporaryDirectory()
    for region, (distances, participants) in parts.items():
        who = participants or [f"{i + 1:02d}" for i in range(len(distances))]
        pairs = zip(who, distances, strict=True)
        rsvs = [make_rsv(one, "rdm", distance, "upper", names, f"{region}, participant {i}") for i, one in pairs]
        regions.append(Region(region, rsvs, who, group=False))
    if len(set(names)) < len(names):
        twice = next(stimulus for stimulus in names if names.count(stimulus) > 1)
        raise ValueError(f"{name}: stimulus {twice} is named {names.count(twice)} times")
    if divided := [stimulus for stimulus in names if "/" in stimulus]:
        raise ValueError(
            f"{name}: stimulus {divided[0]}: / divides a stimulus from its pictures; give names without folders"
        )
    file = Path(kept.name) / "brain.h5"
    write_brain(file, names, refuse_alike(regions))
    return _open_brain(file, name, kept=kept)
