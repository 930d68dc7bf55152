"""Sets that litdata 0.2.76 and 0.2.20 wrote: tests/golden/litdata/make.py."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from ipcl_core.images.decoding import read_image
from ipcl_core.images.litdata import export_pictures, fetch_litdata, read_samples

GOLDEN = Path(__file__).parents[1] / "golden/litdata"
SIZES = [file.stat().st_size for file in (GOLDEN / "pil").iterdir()]
SETS = ("pil", "pil_0.2.20", "bytes", "jpeg")


@pytest.fixture
def made(monkeypatch) -> dict:
    """What the script that wrote the sets defines."""
    monkeypatch.setitem(sys.modules, "litdata", ModuleType("litdata"))
    return runpy.run_path(str(GOLDEN / "make.py"))


@pytest.fixture
def place(tmp_path) -> Path:
    """A copy of the set of pixels, to be damaged."""
    return Path(shutil.copytree(GOLDEN / "pil", tmp_path / "set"))


def hash_set(name: str) -> str:
    """What the documentation says that the hash of a set is."""
    done = subprocess.run(
        "sha256sum * | sha256sum", shell=True, cwd=GOLDEN / name, capture_output=True, text=True, check=True
    )
    return f"sha256:{done.stdout.split()[0]}"


@pytest.mark.parametrize("name", SETS)
def test_samples_are_those_that_were_written(name, made):
    samples = list(read_samples(GOLDEN / name))
    assert len(samples) == 3
    for i, sample in enumerate(samples):
        wanted = made[f"make_{name.partition('_')[0]}"](i)
        wanted = wanted if isinstance(wanted, dict) else dict(zip("01", wanted, strict=True))
        assert list(sample) == list(wanted)
        for field, value in wanted.items():
            if "pil" in name and field == "image":
                assert_array_equal(np.asarray(sample[field]), np.asarray(value))
            elif not isinstance(value, int | Image.Image):
                assert sample[field] == value


@pytest.mark.parametrize("name", SETS)
def test_pictures_are_written_under_their_names(name, made, tmp_path):
    export_pictures(GOLDEN / name, tmp_path)
    suffix = ".jpg" if name == "jpeg" else ".png"
    assert {path.name for path in tmp_path.iterdir()} == {f"{stem}{suffix}" for stem in made["NAMES"]}
    for i, stem in enumerate(made["NAMES"]):
        wanted = np.asarray(made["make_jpeg"](i)[1] if name == "jpeg" else made["draw"](i))
        found = read_image(tmp_path / f"{stem}{suffix}").astype(int)
        assert np.abs(found - wanted).max() <= (2 if name == "jpeg" else 0)


def change_index(place: Path, change) -> None:
    index = json.loads((place / "index.json").read_text())
    change(index)
    (place / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index["config"].update(compression="zstd"), "compression zstd is not read"),
        (lambda index: index["config"].update(encryption={"level": "chunk"}), "encryption .* is not read"),
        (lambda index: index["config"]["data_format"].pop(), "is no index of a litdata set: ValueError"),
        (lambda index: index.pop("chunks"), "is no index of a litdata set: KeyError: 'chunks'"),
        (lambda index: index["chunks"][0].update(filename="../chunk-0-0.bin"), r"a chunk named \.\./chunk"),
        (lambda index: index["chunks"][1].update(chunk_bytes=176), "chunk-0-1.bin: is not the chunk that index.json"),
        (lambda index: index["chunks"][1].update(filename="lost.bin"), "lost.bin: is not the chunk that index.json"),
        (lambda index: index["config"].update(data_format=["int", "bytes", "int", "str"]), "Bike .* cannot be read"),
        (lambda index: index["config"].update(data_format=["int", "pil", "int", "int"]), "of which none name"),
        (lambda index: index["config"].update(data_format=["int", "int", "int", "str"]), "needs one field with a pict"),
    ],
)
def test_set_that_cannot_be_read_is_refused(place, tmp_path, change, message):
    change_index(place, change)
    with pytest.raises(ValueError, match=message):
        export_pictures(place, tmp_path / "pictures")


def test_torn_chunk_is_refused(place, tmp_path):
    chunk = place / "chunk-0-0.bin"
    chunk.write_bytes(chunk.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"chunk-0-0\.bin: is not the chunk that index.json describes: 344 bytes"):
        export_pictures(place, tmp_path / "pictures")


def fetch(url: str, folder: Path, digest: str | None, max_mb: int = 1) -> None:
    fetch_litdata(url, folder, digest=digest, key="stimuli_hash", max_mb=max_mb)


def test_set_is_fetched_and_a_broken_download_goes_on(site, tmp_path):
    """Of each file what came is kept; the hash is asked for, and the address is not asked again."""
    url = site.serve(GOLDEN / "pil", "objects")
    site.faults["/objects/chunk-0-1.bin"] = "cut"
    with pytest.raises(OSError, match=r"chunk-0-1.bin: the connection ended after 87 of 175 bytes"):
        fetch(url, tmp_path / "pictures", None)
    del site.faults["/objects/chunk-0-1.bin"]
    digest = hash_set("pil")
    with pytest.raises(ValueError, match=rf"has {sum(SIZES)} bytes and the SHA-256 .* write `stimuli_hash: {digest}`"):
        fetch(url, tmp_path / "pictures", None)
    assert not (tmp_path / "pictures").exists()
    assert [path for path, _ in site.asked] == [
        *("/objects/index.json", "/objects/chunk-0-0.bin"),
        *("/objects/chunk-0-1.bin", "/objects/chunk-0-1.bin", "/objects/chunk-0-1.bin"),
    ]
    site.files.clear()
    fetch(url, tmp_path / "pictures", digest[:20])
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
    assert len(list((tmp_path / "pictures").iterdir())) == 3


def test_set_that_cannot_be_read_is_refused_before_its_hash_is_asked_for(place, tmp_path):
    change_index(place, lambda index: index["chunks"][0].update(chunk_bytes=350))
    with pytest.raises(ValueError, match=r"chunk-0-0\.bin: is not the chunk that index.json describes: 351 bytes"):
        fetch(str(place), tmp_path / "pictures", None)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_changed_set_is_refused_and_deleted(site, tmp_path):
    url = site.serve(GOLDEN / "pil", "objects")
    changed = bytearray(site.files["/objects/chunk-0-0.bin"])
    changed[100] ^= 1
    site.files["/objects/chunk-0-0.bin"] = bytes(changed)
    with pytest.raises(ValueError, match=r"objects: its sha256 is [0-9a-f]+, not .*; it was deleted"):
        fetch(url, tmp_path / "pictures", hash_set("pil"))
    assert not list(tmp_path.iterdir())


def test_set_that_is_too_large_is_refused(site, tmp_path):
    """All its files together."""
    url = site.serve(GOLDEN / "pil", "objects")
    site.files["/objects/chunk-0-0.bin"] = bytes(700_000)
    site.files["/objects/chunk-0-1.bin"] = bytes(700_000)
    with pytest.raises(ValueError, match=r"chunk-0-1\.bin: has more than the \d+ bytes that max_mb allows"):
        fetch(url, tmp_path / "pictures", None)


def test_page_in_place_of_the_index_is_not_kept(site, tmp_path):
    site.files["/objects/index.json"] = b"<html>not here</html>"
    with pytest.raises(ValueError, match=r"index\.json: is no index of a litdata set"):
        fetch(f"{site.url}/objects/", tmp_path / "pictures", None)
    site.serve(GOLDEN / "pil", "objects")
    fetch(f"{site.url}/objects/", tmp_path / "pictures", hash_set("pil"))
