"""Blocks of one's own brain that cannot be right: the key and what would be right are named before anything is read."""

import pytest
from pydantic import ValidationError

from ipcl_core.config import OwnBrain

BLOCKS = {
    "a pickle": ({"files": "{participant}_{region}.pkl"}, "a pickle can run code when it is read, and is not"),
    "another kind of file": ({"files": "{participant}_{region}.tsv"}, "files of the kinds .npy, .* are read, not .tsv"),
    "no suffix": ({"files": "{participant}_{region}"}, "are read, not without a suffix"),
    "another placeholder": (
        {"files": "{subject}_{region}.npy"},
        r"found \{subject\} in .*; only \{participant\}, \{region\}, \{run\} stand for names",
    ),
    "a cell of MATLAB": (
        {"files": "{participant}.mat#{region}{1}"},
        r"found \{1\} in .*; of MATLAB's cells write one as betas",
    ),
    "an attribute": ({"files": "{participant.__class__}_{region}.npy"}, r"found \{participant.__class__\}"),
    "a brace": ({"files": "{participant}_{region}_{.npy"}, r"found \{"),
    "no region": ({"files": "{participant}.npy"}, r"files: \{region\} must stand in it"),
    "a participant twice": ({"participants": ["a", "b", "a"]}, "a stands there 2 times"),
    "a run twice": ({"runs": ["1", "1"], "files": "{participant}_{region}_{run}.npy"}, "1 stands there 2 times"),
    "a region twice": ({"regions": ["IT", "IT"]}, "IT stands there 2 times"),
    "the group": ({"participants": ["group"]}, "the name group is that of the participants' mean"),
    "a path as participant": ({"participants": ["../a"]}, "should match pattern"),
    "nobody": ({"participants": []}, "at least 1 item"),
    "masks without NIfTI": (
        {"masks": "{region}.nii"},
        "masks: NIfTI files need the template of each region's mask, and no",
    ),
    "NIfTI without masks": ({"files": "{participant}_{region}.nii.gz"}, "masks: NIfTI files need the template"),
    "NIfTI of distances": (
        {"files": "{participant}.nii", "masks": "{region}.nii", "kind": "rdm"},
        "files: NIfTI files hold patterns, one volume a stimulus",
    ),
    "NIfTI of all participants": (
        {"files": "betas.nii", "masks": "{region}.nii"},
        r"files: \{participant\} must stand in it, else all would be read from the same NIfTI file",
    ),
    "residuals of distances": ({"kind": "rdm", "residuals": "{region}.npy"}, "residuals: are those of voxels"),
    "reliability of distances": (
        {"kind": "rdm", "reliability": "{region}.npy", "reliability_threshold": 0.3},
        "reliability: are those of voxels; with kind: rdm leave them out",
    ),
    "runs that no file names": ({"runs": ["1", "2"]}, r"runs: \{run\} must stand in files"),
    "files of runs without names": (
        {"files": "{participant}_{region}_{run}.npy"},
        r"files: \{run\} stands in it, and no runs are named",
    ),
    "a last axis of participants that is not there": (
        {"participants_axis": "last"},
        r"participants_axis: is that of an array of all participants, and \{participant\} stands in files",
    ),
    "a background that is no colour": ({"background": "see-through"}, r"background\n.*should match pattern"),
    "one run": ({"runs": ["1"], "files": "{participant}_{region}_{run}.npy"}, r"runs\n.*at least 2 items"),
    "runs of distances": (
        {"kind": "rdm", "runs": ["1", "2"], "files": "{participant}_{region}_{run}.npy"},
        "runs: are those of patterns; with kind: rdm leave them out",
    ),
    "reliability of one run": (
        {
            "runs": ["1", "2"],
            "files": "{participant}_{region}_{run}.npy",
            "reliability": "{region}_{run}.npy",
            "reliability_threshold": 0.1,
        },
        r"reliability: \{run\} stands in it, and all runs have the same voxels",
    ),
    "reliability without a threshold": ({"reliability": "{region}.npy"}, "reliability: needs reliability_threshold"),
    "a threshold without reliability": ({"reliability_threshold": 0.3}, "reliability: needs reliability_threshold"),
}


@pytest.mark.parametrize(("changes", "message"), BLOCKS.values(), ids=BLOCKS)
def test_block_that_cannot_be_right(own, changes, message):
    with pytest.raises(ValidationError, match=message):
        OwnBrain.model_validate(own.make_block().model_dump() | changes)
