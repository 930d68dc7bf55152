"""A disk that is full or may not be written to: a clear error, no torn file, and all goes on once there is room."""

import resource
import subprocess

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import convert, make_spec
from safetensors import SafetensorError
from trainings import assert_same_state, finish, make_training, resume

from ipcl_core.files import write_csv, write_hdf5, write_json
from ipcl_core.fits.activations import extract_activations
from ipcl_core.fits.rsms import make_rsms
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import save_network
from ipcl_core.training.checkpoints import name_previous


class Disk:
    """A file system of a few kilobytes in memory."""

    def __init__(self, folder):
        self.folder = folder

    def resize(self, kilobytes: int) -> None:
        self._mount(f"remount,size={kilobytes}k")

    def protect(self) -> None:
        self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True, capture_output=True)

    def list_files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path / "disk")
    found.folder.mkdir()
    try:
        found._mount("size=64k")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small file system cannot be mounted here (needs root): {error}")
    yield found
    subprocess.run(["umount", "--lazy", found.folder], check=True)


def says(error) -> str:
    """What the log of a job would hold."""
    return f"{error.value}\n" + "\n".join(error.value.__notes__)


# ---- each kind of file ---------------------------------------------------------------------------------------------


def write_rsms(path, n: int) -> None:
    """Many small arrays, which HDF5 writes at the very end, and would crash."""
    with write_hdf5(path) as file:
        for i in range(n):
            file[f"layers/{i}"] = np.full(1000, i, float)


def write_activations(path, n: int) -> None:
    """One array that grows."""
    with write_hdf5(path) as file:
        values = file.create_dataset("x", (n, 1000), "f4")
        for i in range(n):
            values[i] = i


def save_weights(path, n: int) -> None:
    save_network(initialize_network(make_spec(dim=n), 0), make_spec(dim=n), path)


WRITERS = {  # name of the file -> how it is written, a size that fits into 2 MB, one that does not
    "table.csv": (lambda path, n: write_csv(pd.DataFrame({"x": np.arange(n) / 7}), path), 1000, 200_000),
    "record.json": (lambda path, n: write_json(list(range(n)), path), 1000, 300_000),
    "rsm.h5": (write_rsms, 5, 500),
    "activations.h5": (write_activations, 5, 3000),
    "weights.safetensors": (save_weights, 8, 5000),
}


@pytest.mark.parametrize("old", [True, False], ids=["anew", "first"])
@pytest.mark.parametrize("name", WRITERS)
def test_file_that_does_not_fit(disk, name, old):
    """An old one stays as it was; nothing else is left; the new one appears once there is room."""
    disk.resize(2000)
    write, small, large = WRITERS[name]
    path = disk.folder / name
    if old:
        write(path, small)
    before = path.read_bytes() if old else None
    with pytest.raises((OSError, SafetensorError), match="No space left on device") as error:
        write(path, large)
    assert f"{path} was not written; 0.00 GB are free there" in says(error)
    assert disk.list_files() == ([name] if old else []) and (not old or path.read_bytes() == before)
    disk.resize(100_000)
    write(path, large)
    assert disk.list_files() == [name] and path.stat().st_size > 2_000_000


# ---- the steps of the pipeline -------------------------------------------------------------------------------------


def test_conversion(disk, image_folder, raw_split):
    """Twice: while a shard is written, and while the shards are joined."""
    size = raw_split.beton.stat().st_size
    for kilobytes in (100, 1000):
        disk.resize(kilobytes)
        with pytest.raises(OSError, match="No space left on device") as error:
            convert(image_folder, disk.folder)
        assert "0.bin was not written" in says(error) if kilobytes == 100 else "a.beton was not written" in says(error)
        assert not [name for name in disk.list_files() if name.endswith(".beton") or name.startswith(".")]
    disk.resize(2 * size // 1000)
    assert convert(image_folder, disk.folder).beton.read_bytes() == raw_split.beton.read_bytes()


def test_checkpoint(disk, loader):
    """The second checkpoint does not fit beside the first: the training stops, and ends with the same bits later."""
    whole, path = make_training(loader, checkpoint_steps=3), disk.folder / "checkpoint.pt"
    disk.resize(20_000)
    finish(whole, path)
    size = path.stat().st_size
    for file in disk.folder.iterdir():
        file.unlink()
    disk.resize(3 * size // 2000)
    stopped = make_training(loader, checkpoint_steps=3)
    with pytest.raises(OSError, match="No space left on device") as error:
        finish(stopped, path)
    assert f"{path} was not written" in says(error) and stopped.step == 6
    assert disk.list_files() == ["checkpoint.pt"] and torch.load(path, weights_only=True)["step"] == 3
    disk.resize(4 * size // 1000)
    resumed = make_training(loader, checkpoint_steps=3)
    resume(resumed, path)
    assert resumed.step == 3
    finish(resumed, path)
    assert_same_state(resumed, whole)
    assert disk.list_files() == sorted([path.name, name_previous(path).name])


def test_activations_and_rsms(disk, photo, tmp_path):
    weights, stimuli = tmp_path / "weights.safetensors", tmp_path / "stimuli"
    save_weights(weights, 8)
    stimuli.mkdir()
    for i in range(5):
        photo.crop((30 * i, 20 * i, 30 * i + 90, 20 * i + 90)).save(stimuli / f"{i:02d}.png")
    extract_activations(weights, stimuli, tmp_path / "activations.h5", layers="all")
    make_rsms(tmp_path / "activations.h5", tmp_path / "rsm.h5", brain="b", model="m")
    with pytest.raises(OSError, match="No space left on device"):
        extract_activations(weights, stimuli, disk.folder / "activations.h5", layers="all")
    disk.resize(8)
    with pytest.raises(OSError, match="No space left on device"):
        make_rsms(tmp_path / "activations.h5", disk.folder / "rsm.h5", brain="b", model="m")
    assert disk.list_files() == []
    disk.resize(100_000)
    extract_activations(weights, stimuli, disk.folder / "activations.h5", layers="all")
    make_rsms(disk.folder / "activations.h5", disk.folder / "rsm.h5", brain="b", model="m")
    for name in ("activations.h5", "rsm.h5"):
        assert (disk.folder / name).read_bytes() == (tmp_path / name).read_bytes()


# ---- without a mount -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_file_larger_than_the_system_allows(tmp_path, name):
    """RLIMIT_FSIZE, as a quota: another error of the system, treated alike."""
    write, small, large = WRITERS[name]
    write(tmp_path / name, small)
    before = (tmp_path / name).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        with pytest.raises((OSError, SafetensorError), match="File too large") as error:
            write(tmp_path / name, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert f"{name} was not written" in says(error)
    assert [path.name for path in tmp_path.iterdir()] == [name] and (tmp_path / name).read_bytes() == before


# ---- a folder that may not be written to ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_folder_that_may_only_be_read(disk, name):
    write, small, _ = WRITERS[name]
    disk.resize(1000)
    write(disk.folder / name, small)
    before = (disk.folder / name).read_bytes()
    disk.protect()
    with pytest.raises((OSError, SafetensorError), match="Read-only file system") as error:
        write(disk.folder / name, small)
    assert str(disk.folder) in says(error)
    assert disk.list_files() == [name] and (disk.folder / name).read_bytes() == before
