"""
How a configuration names the files of many participants and regions in one line.

    /data/{participant}/{region}.npy          a file for each participant and region
    /data/{participant}/{region}_{run}.npy    a file for each repetition of the measurement
    /data/betas.mat#{participant}/{region}    a variable of one file: what stands behind # is its name, / goes into a
                                              struct of a .mat file or a group of an HDF5 file
"""

import re
from pathlib import Path

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".csv", ".nii", ".nii.gz")
_WITH_SUFFIX = re.compile(rf"(.*?(?:{'|'.join(map(re.escape, (*SUFFIXES, '.txt')))}))(?:#(.*))?", re.IGNORECASE)
PLACEHOLDERS = ("{participant}", "{region}", "{run}")


def fill_template(template: str, participant: str, region: str, run: str = "{run}") -> str:
    """Put the names of a participant, a region and, where one is given, a run into a template."""
    return template.replace("{participant}", participant).replace("{region}", region).replace("{run}", run)


def split_reference(reference: str) -> tuple[Path, str | None]:
    """Return (path, name of the variable or None) of `path#name`."""
    if found := _WITH_SUFFIX.fullmatch(reference):  # a folder may have # in its name too
        return Path(found[1]), found[2] or None
    path, _, name = reference.partition("#")
    return Path(path), name or None


def find_suffix(path: str | Path) -> str:
    """Return the lower-case suffix of a path, .nii.gz as one."""
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def check_template(template: str) -> None:
    """Make sure that a template can name files that are read here.

    Raises:
        ValueError: another placeholder, or a kind of file that is not read.
    """
    for placeholder in re.findall(r"\{.*?\}|[{}]", template):
        if placeholder not in PLACEHOLDERS:
            hint = "; of MATLAB's cells write one as betas(1)" if re.fullmatch(r"\{[\d:, ]+\}", placeholder) else ""
            raise ValueError(f"found {placeholder} in {template}; only {', '.join(PLACEHOLDERS)} stand for names{hint}")
    suffix = find_suffix(split_reference(template)[0])
    if suffix in (".pkl", ".pickle"):
        raise ValueError(
            f"{template}: a pickle can run code when it is read, and is not; save the numbers as .npy or .h5"
        )
    if suffix not in SUFFIXES:
        raise ValueError(
            f"{template}: files of the kinds {', '.join(SUFFIXES)} are read, not {suffix or 'without a suffix'}"
        )
