"""
Files that are not what their name says, and links to what is not there.
"""

from pathlib import Path

from ..files import BEGIN, say_kind

STARTS = (
    (b"\x93NUMPY", (".npy",), "an array of numpy; name it .npy"),
    (b"PK\x03\x04", (".npz",), "a zip archive, as .npz and .xlsx are; name it .npz, or save a table as CSV"),
    (
        b"\x89HDF\r\n\x1a\n",
        (".h5", ".hdf5"),
        "HDF5, without MATLAB's header; name it .h5, axes are then as h5py gives them",
    ),
    (b"MATLAB ", (".mat",), "a file of MATLAB; name it .mat"),
    (b"# created by octave", (), "text of Octave; save -v7 writes a file of MATLAB"),
    *(
        (b"\x80" + version, (), "a pickle, which can run code when it is read, and is not")
        for version in (b"\3", b"\4", b"\5")
    ),
    (b"\xff\xfe", (), "text in UTF-16; save it in UTF-8"),
    (b"\xfe\xff", (), "text in UTF-16; save it in UTF-8"),
)
"""How files begin, in whatever case; the suffixes that say so; what they are. See also `files.KINDS`."""


def refuse_kind(path: str | Path, suffix: str) -> None:
    """Raise a ValueError where a file begins as one of another kind does than its suffix says."""
    with open(path, "rb") as file:
        begin = file.read(BEGIN).lstrip()
    for start, suffixes, what in STARTS:
        if begin.lower().startswith(start.lower()) and suffix not in suffixes:
            raise ValueError(f"{path}: is {what}")
    is_right = suffix.endswith(".gz") and begin.startswith(b"\x1f\x8b")
    if not is_right and (kind := say_kind(begin)):
        raise ValueError(f"{path}: {kind}")


def refuse_broken_link(path: str | Path) -> None:
    """Raise a ValueError where a path is a link to what is not there: that is no lack of data, but of a download."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise ValueError(
            f"{path}: is a link to {path.readlink()}, which is not there; git annex get, or datalad get, fetches what DataLad "
            "has left out"
        )
