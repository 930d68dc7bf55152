"""
Published brain data whose trials are repeated, as their downloads leave them: docs/brains.md.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator

from .base import Color, Distinct, Line, Name, Strict, Text

Paths = list[tuple[str, str | None, str]]
"""(key, path, what it should name) of files."""
VOXELS = r"[\w.-]+(=\d+(,\d+)*|>=\d+(\.\d+)?)?"
"""A term of a region of NSD."""


class NSD(Strict):
    """Natural Scenes Dataset: the shared images that all participants saw three times; voxel patterns (docs/brains.md)."""

    source: Literal["nsd"]
    title: Line
    """Name in figures and tables."""
    folder: str
    """Of the download: it holds nsddata, nsddata_betas and nsddata_stimuli."""
    participants: Distinct[Literal["subj01", "subj02", "subj03", "subj04", "subj05", "subj06", "subj07", "subj08"]] = (
        Field(min_length=1)
    )
    """The more of them did not finish all sessions, the fewer images are left: 1,000 of 1, 2, 5 and 7, 515 of all eight."""
    regions: dict[Name, Annotated[str, StringConstraints(pattern=rf"^{VOXELS}( [&|] {VOXELS})*$")]] = Field(
        min_length=1
    )
    """Name of the region here -> its voxels, in hierarchical order: a file below roi and the numbers in it, as in
    prf-visualrois=1,2 (without numbers all voxels above 0), or a volume beside roi and its least value, as in
    floc_facestval>=1; with & between, voxels that are in both, with | in either (& first)."""
    min_ncsnr: float | None = Field(None, ge=0)
    """Only voxels with a noise-ceiling signal-to-noise ratio (ncsnr) of at least this are used; null: all."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error."""
    halves: Literal["coco"] | None = None
    """Division for `encoding`. coco: in the order of COCO's numbers the first, third, fifth image ... are learnt from, the
    others held out, as DeepNSD does (Conwell et al. 2024); null: `encoding.n_folds`."""
    has_patterns: ClassVar[bool] = True

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        return [("folder", self.folder, "the folder of nsddata, nsddata_betas and nsddata_stimuli")]


class Repeated(Strict):
    """Voxel patterns of single trials, of which the images that were shown often enough are taken."""

    title: Line
    """Name in figures and tables."""
    folder: str
    stimuli: str
    repetitions: int = Field(ge=1)
    """Images that every participant saw at least this often are taken; the first so many trials of each are the runs, of which
    voxels' noise ceilings are made. 1: all images that all saw, without ceilings."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error."""
    background: Color = "white"
    """Behind transparent pixels of the stimuli: what participants saw there."""
    has_patterns: ClassVar[bool] = True
    holds: ClassVar[str]
    """What the folder holds."""

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        return [("folder", self.folder, self.holds), ("stimuli", self.stimuli, "the folder of the stimuli")]


class ThingsFMRI(Repeated):
    """THINGS-fMRI (Hebart et al. 2023): photographs of objects, responses of single trials in table format."""

    source: Literal["things_fmri"]
    folder: str
    """betas_csv of the download."""
    stimuli: str
    """Folder of THINGS' photographs, with or without a sub-folder a concept."""
    participants: Distinct[Literal["01", "02", "03"]] = Field(min_length=1)
    """As their folders and files are named."""
    regions: dict[Name, Distinct[str]] = Field(min_length=1)
    """Name of the region here -> columns of VoxelMetadata.csv, in one of which its voxels are marked; in hierarchical
    order."""
    min_nc: float | None = Field(None, ge=0, le=100)
    """Only voxels whose noise ceiling (nc_testset, %) is at least this are used; null: all."""
    repetitions: int = Field(12, ge=1)
    """See `Repeated`; the 100 images of the test set were shown twelve times, the others once."""
    holds: ClassVar[str] = "the folder betas_csv"


class BOLD5000(Repeated):
    """BOLD5000 (Chang et al. 2019), release 2.0: photographs of scenes and objects, betas by GLMsingle."""

    source: Literal["bold5000"]
    folder: str
    """Of the session's betas and <participant>_imgnames.txt."""
    stimuli: str
    """BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli of the stimuli's archive."""
    masks: str
    """derivatives/spm of OpenNeuro's ds001499."""
    participants: Distinct[Literal["CSI1", "CSI2", "CSI3", "CSI4"]] = Field(min_length=1)
    """CSI4 did nine of fifteen sessions."""
    regions: dict[Name, Literal["EarlyVis", "LOC", "OPA", "PPA", "RSC"]] = Field(min_length=1)
    """Name of the region here -> that of its masks, of both hemispheres, in hierarchical order."""
    repetitions: int = Field(4, ge=1)
    """See `Repeated`; of 4,916 images about 110 were shown four times."""
    holds: ClassVar[str] = "the folder of the betas"

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        return [*super().list_paths(), ("masks", self.masks, "the folder derivatives/spm of ds001499")]


class Haxby2001(Strict):
    """Haxby et al. 2001: blocks of seven categories of pictures (the scrambled ones are left out), in twelve runs."""

    source: Literal["haxby2001"]
    title: Line
    """Name in figures and tables."""
    folder: str
    """As nilearn.datasets.fetch_haxby leaves it: subj1 to subj6, and stimuli."""
    participants: Distinct[Literal["subj1", "subj2", "subj3", "subj4", "subj5", "subj6"]] = Field(min_length=1)
    """As their folders and files are named."""
    regions: dict[Name, str] = Field(min_length=1)
    """Name of the region here -> its mask, as mask4_vt or mask8b_face_vt."""
    min_voxels: int = Field(2, ge=2)
    """A participant with fewer voxels in a region is an error."""
    averaged: Literal["activations", "rsms"] = "activations"
    """What is averaged over the pictures of a category, see `config.OwnBrain`."""
    has_patterns: ClassVar[bool] = True

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        return [("folder", self.folder, "the folder of subj1 to subj6 and stimuli")]


class BIDSMaps(Repeated):
    """Beta maps in BIDS derivatives, of conditions or of the trials of the raw data's events."""

    source: Literal["bids"]
    folder: str
    """Of the derivatives, with a folder sub-<participant> each."""
    stimuli: str
    """Folder of the stimuli, such as that of the raw data set."""
    maps: str
    """Pattern of the maps below sub-<participant>, as **/*_stat-effect_statmap.nii.gz. A file whose name has contrast-<name>
    is one map, of that condition, whose picture has its name; another one has a map for each trial of its events."""
    events: Text | None = None
    """Raw data set with the events of maps of trials, paired by the entities sub, ses, task and run; null: of maps of
    conditions."""
    picture: str = "stim_file"
    """Column of the events with the picture of each trial, below the folder of the stimuli; n/a: no picture."""
    participants: Distinct[Name] = Field(min_length=1)
    """Without sub-."""
    regions: Distinct[Name] = Field(min_length=1)
    """In hierarchical order."""
    masks: str
    """Template of each region's mask with {participant} and {region}, in the space of the maps."""
    repetitions: int = Field(ge=1)
    """See `Repeated`; of maps of conditions each run's is one."""
    holds: ClassVar[str] = "the folder of the derivatives"

    @field_validator("masks")
    @classmethod
    def _region_is_named(cls, masks):
        if "{region}" not in masks:
            raise ValueError("{region} must stand in it, else all regions would be the same")
        return masks

    def list_paths(self) -> Paths:
        """Return (key, path, what it should name) of the user's own files that an import needs."""
        events = [("events", self.events, "the folder of the raw data")] if self.events else []
        return [*super().list_paths(), *events]
