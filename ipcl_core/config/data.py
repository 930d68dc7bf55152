"""
Labelled images, and brain data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from .base import Color, Distinct, Hash, Line, Name, Place, Seed, Strict, Text
from .brain_sets import BOLD5000, NSD, BIDSMaps, Haxby2001, Paths, ThingsFMRI
from .templates import check_template, fill_template, find_suffix, split_reference

Averaged = Literal["activations", "rsms"]
CATEGORIES = "categories"
"""Name of the stimuli's categories among models."""
FOLDERS = "folders"
"""Categories are the folders that the pictures stand in."""
TRIPLET_SUFFIXES = (".csv", ".txt", ".npy", ".mat", ".h5", ".hdf5")
BUCKETS = "https://s3.amazonaws.com"
"""Where the authors' laboratory publishes the 72 objects (harvard-visionlab/datasets)."""


class Storage(Strict):
    """How images are written into a .beton file."""

    shortest_side: int | None = Field(256, ge=8, le=4096)
    """Images are resized to this shortest side in pixels before writing (never enlarged); null keeps their size."""
    write_mode: Literal["jpg", "raw", "smart"] = "jpg"
    """jpg: every image as JPEG; raw: uint8 pixels; smart: raw pixels for images up to 128 x 128 pixels, else JPEG."""
    jpeg_quality: int = Field(90, ge=1, le=100)
    """JPEG quality, 1 to 100."""


class Labelled(Strict):
    """What every labelled data set has."""

    storage: Storage = Storage()
    on_corrupt: Literal["error", "skip"] = "error"
    """error: an image that cannot be decoded stops the conversion; skip: it is left out and listed in the manifest."""
    n_shards: int = Field(1, ge=1, le=1000)
    """Jobs that encode the training images; one encodes the validation images. It changes no byte of the result."""


class ImageFolder(Labelled):
    """A labelled data set in folders, <split folder>/<class>/<image>, or in archives, see `images.archives`."""

    source: Literal["image_folder"] = "image_folder"
    train: str | None
    """Folder of the training images, one sub-folder a class; or archives (.tar, .parquet): a file, a folder of them, or a
    pattern such as /data/train-*.parquet. null: not on this machine."""
    val: str | None
    """Folder of the validation images, or archives, with the same classes."""
    val_labels: Text | None = None
    """File of the classes, where the validation images lie in one folder (or archive) without sub-folders, as ImageNet's are
    distributed: Kaggle's LOC_val_solution.csv, the development kit (ILSVRC2012_devkit_t12.tar.gz), or its
    ILSVRC2012_validation_ground_truth.txt, which is read with the meta.mat beside it."""

    @model_validator(mode="after")
    def _splits_are_apart(self):
        if self.train and self.val:
            train, val = Path(self.train).resolve(), Path(self.val).resolve()
            if train == val or train in val.parents or val in train.parents:
                outer = val if val in train.parents else train
                folder = outer.parent if outer.suffix in (".tar", ".parquet") else outer
                raise ValueError(
                    f"val: {self.val} is {self.train}, or one lies in the other; training and validation images need "
                    f"folders of their own, or archives' patterns, such as {folder}/train-*.parquet and "
                    f"{folder}/validation-*.parquet"
                )
        return self


class Twemoji(Labelled):
    """Twemoji object pictures (CC-BY 4.0) with the emoji categories as labels, from two packages."""

    source: Literal["twemoji"]
    val_fraction: float = Field(0.25, gt=0, lt=1)
    """Share of each category's concepts that are kept for validation."""
    seed: Seed = 0
    """Seed of the split by concept."""
    storage: Storage = Storage(shortest_side=64, write_mode="raw")


class Torchvision(Labelled):
    """One of torchvision's labelled data sets; its test split is the validation split here."""

    source: Literal["torchvision"]
    name: Literal["CIFAR10", "CIFAR100", "FashionMNIST", "Food101", "Imagenette", "MNIST", "STL10", "SVHN"]
    """Name of the class in torchvision.datasets."""
    root: Text
    """Folder that holds torchvision's files, or receives them."""
    download: bool = False
    """Fetch the files where they are not in root; torchvision checks them by MD5."""


Dataset = Annotated[ImageFolder | Torchvision | Twemoji, Field(discriminator="source")]


class Kriegeskorte2008(Strict):
    """92 object images; human IT of four participants (fMRI); early visual cortex as one group matrix; judgments of the
    objects' similarity by 16 people."""

    source: Literal["kriegeskorte_2008"]
    title: Line
    """Name in figures and tables."""
    stimuli: Literal["all", "inanimate"] = "all"
    """all: 92 images; inanimate: the 44 inanimate ones."""

    has_patterns: ClassVar[bool] = False

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs: none."""
        return []


class MagriKonkle2019(Strict):
    """72 inanimate objects; voxel patterns of ten participants, from the public .mat file and the public set of stimuli.

    What has an address is fetched, and checked by its hash.
    """

    source: Literal["magri_konkle_2019"]
    title: Line
    """Name in figures and tables."""
    betas: Place = f"{BUCKETS}/visionlab-brain-data/konkle_72objects/rawdata/ExploringObjectsData_SECTORS.mat"
    """Address or path of ExploringObjectsData_SECTORS.mat or ..._GRADIENT.mat. null: the public address of the first."""
    betas_hash: Hash | None = None
    """Of the file that is fetched. null: not known; the download is kept, its SHA-256 printed, and the file not used until it
    is written here."""
    stimuli: Place = f"{BUCKETS}/visionlab-litdata/exploring-objects-images"
    """Address of a litdata set of the stimuli, or the path of one or of a folder of picture files. They have the names of the
    conditions in the .mat file, as `brains.names` reads names. null: the public address."""
    stimuli_hash: Hash | None = None
    """Of the set that is fetched, see `images.litdata`. null: as above."""
    max_mb: int = Field(2000, ge=1)
    """Larger downloads are refused, megabytes."""
    background: Color = "white"
    """Behind transparent pixels of the stimuli: what participants saw there."""
    regions: dict[Name, str] = Field(min_length=1)
    """Name of the region here -> its name in the .mat file, in hierarchical order."""
    reliability_threshold: float | None = Field(None, ge=-1, lt=1)
    """Only voxels whose split-half reliability in the .mat file is larger are used; null: all."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error; leave the participant or the region out then."""
    left_out: Distinct[Annotated[int, Field(ge=1)]] = []
    """Numbers of participants in the .mat file, from 1, that are left out in every region."""
    has_patterns: ClassVar[bool] = True

    @field_validator("betas", "stimuli", mode="before")
    @classmethod
    def _null_is_the_public_address(cls, place, info):
        return cls.model_fields[info.field_name].default if place is None else place

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        paths = [
            ("betas", self.betas, "the file ExploringObjectsData_SECTORS.mat"),
            ("stimuli", self.stimuli, "the folder of the 72 stimuli"),
        ]
        return [path for path in paths if not path[1].startswith("https://")]


class OwnData(Strict):
    """Where one's own brain data are, and what they hold: all that their import depends on.

    `files`, `masks`, `reliability` and `residuals` are templates: {participant}, {region} and {run} stand for the names below,
    and what stands behind # is the name of a variable in the file, as in /data/{participant}.mat#betas/{region}.
    """

    source: Literal["own"]
    stimuli: str
    """Folder of the stimuli's images."""
    background: Color = "white"
    """Behind transparent pixels of the stimuli: what participants saw there."""
    order: Text | None = None
    """Text file with the name of one image a line, in the order of the data; null: sorted by name, where numbers in the names
    do not count in another order (10.png stands before 2.png). A line can name several pictures of one stimulus: a folder of
    them, or the stimulus and they, with tabs between."""
    participants: Distinct[Name] = Field(min_length=1)
    """A group average is one participant."""
    regions: Distinct[Name] = Field(min_length=1)
    """In hierarchical order."""
    runs: Distinct[Name] | None = Field(None, min_length=2)
    """Repetitions of the measurement with all stimuli, for patterns; {run} stands in `files`, and may stand in `residuals`.
    Their mean is compared; crossnobis distances (`statistics.distances`) are those between runs."""
    kind: Literal["patterns", "rdm", "rsm"]
    """What the files hold: voxel patterns; distances of the stimuli (RDM); their Pearson similarities (RSM)."""
    files: str
    """Template of .npy, .npz, .mat, .h5, .hdf5, .csv (a comma between cells), .nii or .nii.gz. Without {participant}: an
    array with the participants as its first axis, in the order above, or a cell array of one array each."""
    participants_axis: Literal["first", "last"] = "first"
    """Of an array of all participants."""
    axes: Literal["stimuli x voxels", "voxels x stimuli"] = "stimuli x voxels"
    """Of patterns."""
    masks: Text | None = None
    """Template of each region's mask, for patterns in NIfTI files with one volume a stimulus."""
    reliability: Text | None = None
    """Template of one number a voxel, for patterns; files as above."""
    reliability_threshold: float | None = Field(None, ge=-1, lt=1)
    """Only voxels whose reliability is larger are used."""
    residuals: Text | None = None
    """Template of the residuals that the patterns' regression left, samples x voxels where patterns are stimuli x voxels. The
    patterns are divided by their noise; null: they are not."""
    noise_normalization: Literal["univariate", "multivariate"] = "univariate"
    """By residuals: each voxel by their standard deviation, or all by their covariance, shrunk towards its diagonal."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error."""
    distance: Literal["correlation", "crossvalidated", "other"] = "correlation"
    """Of an RDM. correlation: 1 - r. crossvalidated: crossnobis and the like, which may be negative. other: all that are never
    negative. The last two are scaled to similarities, each participant's by their own range."""
    triangle: Literal["lower", "upper"] | None = None
    """Which triangle of the matrix a vector of pairs was read from, row by row; upper: as pdist of scipy and MATLAB and
    rsatoolbox do, and D(tril(true(n), -1)) in MATLAB, which counts down the columns. Square matrices need none."""
    triplets: Text | None = None
    """File of observers' odd-one-out judgments of the stimuli: .csv, .txt, .npy, .mat or .h5; null: none."""
    missing: Literal["error", "leave_out"] = "error"
    """What is done with a participant who lacks a region's file or variable; leave_out: the region is that of the others."""

    @field_validator("files", "masks", "reliability", "residuals")
    @classmethod
    def _template_can_be_filled(cls, template):
        if template is not None:
            check_template(template)
        return template

    @field_validator("triplets")
    @classmethod
    def _triplets_can_be_read(cls, reference):
        if reference and find_suffix(split_reference(reference)[0]) not in TRIPLET_SUFFIXES:
            raise ValueError(f"found {reference}; triplets are read from {', '.join(TRIPLET_SUFFIXES)}")
        return reference

    @field_validator("participants", "regions")
    @classmethod
    def _none_is_the_group(cls, names):
        if "group" in names:
            raise ValueError("the name group is that of the participants' mean; give another one")
        return names

    @model_validator(mode="after")
    def _keys_fit(self):
        nifti = find_suffix(split_reference(self.files)[0]) in (".nii", ".nii.gz")
        if nifti != (self.masks is not None):
            raise ValueError("masks: NIfTI files need the template of each region's mask, and no other files do")
        if nifti and (self.kind, self.axes) != ("patterns", "stimuli x voxels"):
            raise ValueError("files: NIfTI files hold patterns, one volume a stimulus; leave axes out")
        if nifti and len(self.participants) > 1 and "{participant}" not in self.files:
            raise ValueError("files: {participant} must stand in it, else all would be read from the same NIfTI file")
        for key in ("reliability", "residuals"):
            if self.kind != "patterns" and getattr(self, key):
                raise ValueError(f"{key}: are those of voxels; with kind: {self.kind} leave them out")
        if (self.reliability is None) != (self.reliability_threshold is None):
            raise ValueError("reliability: needs reliability_threshold, and the threshold needs the reliabilities")
        if self.runs and self.kind != "patterns":
            raise ValueError(f"runs: are those of patterns; with kind: {self.kind} leave them out")
        if self.runs and "{run}" not in self.files:
            raise ValueError("runs: {run} must stand in files, else all runs would be read from the same place")
        for key, template in self._list_templates():
            if "{run}" in template and (not self.runs or key in ("masks", "reliability")):
                found = "no runs are named" if not self.runs else "all runs have the same voxels"
                raise ValueError(f"{key}: {{run}} stands in it, and {found}")
        if self.participants_axis == "last" and all(
            "{participant}" in template for _, template in self._list_templates()
        ):
            raise ValueError(
                "participants_axis: is that of an array of all participants, and {participant} stands in files"
            )
        if len(self.regions) > 1 and "{region}" not in self.files + (self.masks or ""):
            raise ValueError("files: {region} must stand in it, else all regions would be read from the same place")
        return self

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs.

        Where a participant may lack a region, its files are left out as long as somebody has them.
        """
        paths = [("stimuli", self.stimuli, "the folder of the stimuli")]
        if self.order:
            paths.append(("order", self.order, "the file of the stimuli's order"))
        for region in self.regions:
            needed = [self._list_files(participant, region) for participant in self.participants]
            whole = [all(os.path.exists(path) for _, path, _ in files) for files in needed]  # noqa: PTH110
            if self.missing == "error" or not any(whole):
                for files in needed:
                    paths += files
        return list(dict.fromkeys(paths))

    def _list_files(self, participant: str, region: str) -> Paths:
        found = []
        for key, template in self._list_templates():
            for run in self.runs or [""]:
                path, _ = split_reference(fill_template(template, participant, region, run))
                found.append((key, str(path), f"a file of {region}"))
        return found

    def _list_templates(self) -> list[tuple[str, str]]:
        keys = ("files", "masks", "reliability", "residuals")
        return [(key, template) for key in keys if (template := getattr(self, key))]

    def find_files(self) -> list[str]:
        """Return the files that an import depends on, as far as they are there."""
        named = [path for _, path, _ in OwnData.list_paths(self.model_copy(update={"missing": "error"}))]
        images = sorted(str(path) for path in Path(self.stimuli).glob("**/[!.]*" if self.order else "[!.]*"))
        return [path for path in [*named[1:], *images] if Path(path).is_file()]


class OwnBrain(OwnData):
    """One's own brain data: voxel patterns, distances or similarities of every participant and region; docs/own_brain.md."""

    title: Line
    """Name in figures and tables."""
    averaged: Averaged = "activations"
    """What is averaged over the pictures of a stimulus that has several: activations, before the RSM; or rsms,
    the similarities of all pairs of two stimuli's pictures."""
    folds: Text | None = None
    """CSV with columns stimulus and fold, for `encoding`: the stimuli of one fold are held out together, those of a fold named
    train never. null: at random."""

    categories: Text | None = None
    """What `encoding.partitions` takes for categories, beside models: a CSV with columns stimulus and category, or folders,
    those that the pictures of `order` stand in; null: none."""

    @property
    def has_patterns(self) -> bool:
        return self.kind == "patterns"

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files, those that are read after the import too."""
        later = [
            ("triplets", self.triplets and str(split_reference(self.triplets)[0]), "the file of odd-one-out judgments"),
            ("folds", self.folds, "the CSV of the stimuli's folds"),
            ("categories", self.categories, f"the CSV of the stimuli's categories, or {FOLDERS}"),
        ]
        return [*super().list_paths(), *(each for each in later if each[1] and each[1] != FOLDERS)]


Brain = Annotated[
    Kriegeskorte2008 | MagriKonkle2019 | NSD | ThingsFMRI | BOLD5000 | Haxby2001 | BIDSMaps | OwnBrain,
    Field(discriminator="source"),
]
