"""
What several test files share: small real pictures, their .beton files, a loader, a recipe.

The pictures are crops of one photograph that matplotlib carries. Unless `-m gpu` asks for the GPU's tests, everything runs
on the processor with one thread, so that the golden losses hold and results can be compared bit by bit.
"""

import gc
import hashlib
import logging
import os
import re
import signal
import sys
import tempfile
import weakref
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cut_demo import copy_workflow, cut_demo, run
from matplotlib.cbook import get_sample_data
from own_brains import Own, make_own
from PIL import Image
from sites import Site, make_certificate, start_site

from ipcl_core.accuracy.knn import TILE, vote_weighted_knn
from ipcl_core.config import Preprocessing, Recipe
from ipcl_core.distributed import ENDING
from ipcl_core.files import write_csv
from ipcl_core.images.datasets import list_split
from ipcl_core.images.shards import encode_shard
from ipcl_core.networks.architectures import NetworkSpec


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Hide the GPU from tests that do not ask for it, before CUDA looks for one; and keep quiet about numba.

    Its clean-up of a compiled FFCV pipeline raises an error that nobody can catch.
    """
    if not asks_for_gpu(config.option.markexpr):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    report = sys.unraisablehook

    def report_others(unraisable):
        if not (isinstance(unraisable.exc_value, KeyError) and isinstance(unraisable.object, weakref.finalize)):
            report(unraisable)

    sys.unraisablehook = report_others


def pytest_collection_finish():
    """Spare what the modules made the garbage collector's searches: nilearn asks for several a file, of a second each."""
    gc.collect()
    gc.freeze()


def asks_for_gpu(markers: str) -> bool:
    """Whether an expression of markers, as of `pytest -m`, takes tests that are marked gpu."""
    return re.search(r"(?<!not )\bgpu\b", " ".join(markers.split())) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a process whole files, whatever --dist says, and both of those that share the fixture `study`."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).replace("test_rebuilds.py", "test_workflow.py")

    return Scheduling(config, log)


LACKING = pytest.StashKey[dict[str, str]]()
FIRST = "test_workflow.py", "networks"
"""What takes longest, so that no other process waits for it at the end; beside it, what needs none of the kernels that it
compiles for all."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Put FIRST first. Leave out of the GPU's tests what needs a GPU where there is none, or a .beton file where there is no
    FFCV."""
    items.sort(key=lambda item: [part not in item.path.parts for part in FIRST])
    config.stash[LACKING] = lacking = {}
    for item in items:
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            lacking[item.nodeid] = "there is no GPU"
        elif item.get_closest_marker("gpu") and "raw_split" in item.fixturenames and find_spec("ffcv") is None:
            lacking[item.nodeid] = "FFCV is not installed"
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in lacking])
    items[:] = [item for item in items if item.nodeid not in lacking]


def pytest_terminal_summary(terminalreporter, config):
    """Say what could not be tested here."""
    counts = Counter((test.partition("[")[0], reason) for test, reason in config.stash.get(LACKING, {}).items())
    for (test, reason), n in counts.items():
        terminalreporter.write_line(f"not tested, as {reason}: {test} ({n})")


N_PICTURES = 23
BATCH_SIZE = 4  # 5 minibatches an epoch, 3 pictures left over


@pytest.fixture(scope="session")
def device() -> str:
    """The GPU where there is one and its tests are asked for (tests/gpu); else the processor, on which they run too."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def one_thread():
    """FFCV and some tests change torch's number of threads; every test starts with one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photo() -> Image.Image:
    """A photograph of 512 x 600 pixels, RGB."""
    with get_sample_data("grace_hopper.jpg") as file:
        return Image.open(file).convert("RGB")


@pytest.fixture(scope="session")
def image_folder(photo, tmp_path_factory) -> Path:
    """23 crops of 40 to 139 pixels a side in 3 classes, as PNG, and a file b/broken.png that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(N_PICTURES):
        width, height = (int(side) for side in rng.integers(40, 140, 2))
        left, top = int(rng.integers(photo.width - width)), int(rng.integers(photo.height - height))
        path = folder / "abc"[i % 3] / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        photo.crop((left, top, left + width, top + height)).save(path)
    (folder / "b" / "broken.png").write_bytes(b"not a picture")
    return folder


@dataclass
class Converted:
    """Paths of a converted split."""

    folder: Path
    beton: Path
    manifest: Path
    summary: Path


def list_labelled(place: str | Path) -> pd.DataFrame:
    """The images of one split, with the labels that `label_splits` gives those of a training split."""
    table = list_split(place)
    return table.assign(label=table["class"].astype("category").cat.codes.astype("int64"))


def save_picture(path: Path, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)


def convert(folder: Path, target: Path, *, n_shards: int = 1, on_corrupt: str = "skip", n_workers: int = 1, **changes):
    """Convert an image folder into `target`, by default raw, unresized and without the pictures that are corrupt."""
    from ipcl_core.images.beton import join_shards  # here, because it needs FFCV, which the GPU's tests do without

    paths = Converted(folder, target / "a.beton", target / "a.csv", target / "a.json")
    storage = {"shortest_side": None, "write_mode": "raw", "jpeg_quality": 90} | changes
    images, shards = target / "images.csv", [target / f"{shard}.bin" for shard in range(n_shards)]
    write_csv(list_labelled(folder), images)
    for shard, stored in enumerate(shards):
        encode_shard(
            folder,
            images,
            stored,
            stored.with_suffix(".csv"),
            shard=shard,
            n_shards=n_shards,
            storage=storage,
            on_corrupt=on_corrupt,
            n_workers=n_workers,
        )
    join_shards(images, shards, paths.beton, paths.manifest, paths.summary, train_images=images, storage=storage)
    return paths


@pytest.fixture(scope="session")
def raw_split(image_folder, tmp_path_factory) -> Converted:
    """The crops as raw pixels, of their own size; the broken file is left out."""
    return convert(image_folder, tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="session")
def jpg_split(image_folder, tmp_path_factory) -> Converted:
    """The crops as JPEG, shrunk to a shortest side of 64 pixels."""
    return convert(image_folder, tmp_path_factory.mktemp("jpg"), write_mode="jpg", shortest_side=64)


def open_loader(split: Converted, batch_size: int):
    """Views of 64 pixels a side, by one thread."""
    from ipcl_core.views.loader import ViewLoader

    return ViewLoader(split.beton, batch_size=batch_size, preprocessing=Preprocessing(image_size=64), n_threads=1)


@pytest.fixture(scope="session")
def loader(raw_split):
    """Batches of 4 of the raw crops, views of 64 pixels a side."""
    return open_loader(raw_split, BATCH_SIZE)


@pytest.fixture(scope="session")
def large_batches(raw_split):
    """Two batches of 11 pictures."""
    return open_loader(raw_split, 11)


@pytest.fixture
def pixels(image_folder) -> list[np.ndarray]:
    """The crops' pixels, (H, W, 3) uint8, in the order of the .beton file."""
    paths = sorted(path for path in image_folder.rglob("*.png") if path.stem != "broken")
    return [np.array(Image.open(path)) for path in paths]


def to_tensor(image: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(H, W, 3) uint8 in 0-255 or float in 0-1 -> (3, H, W) in 0-1."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    return tensor.to(dtype) / 255 if image.dtype == np.uint8 else tensor.to(dtype)


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """(3, H, W) -> (H, W, 3)."""
    return tensor.permute(1, 2, 0).numpy()


def stack(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images one behind the other, then rubbish, as the loader has them; their heights and widths."""
    pixels = np.concatenate([image.ravel() for image in images] + [np.full(1000, 77, np.uint8)])
    return pixels, *(np.array([image.shape[axis] for image in images]) for axis in (0, 1))


def make_spec(**changes) -> NetworkSpec:
    """A tiny AlexNet-gn, 8 dimensions, 64 pixels a side."""
    values = {"architecture": "alexnet_gn", "dim": 8, "l2norm": True, "width": 1 / 32}
    return NetworkSpec(**values | {"preprocessing": Preprocessing(image_size=64)} | changes)


def make_recipe(**changes) -> Recipe:
    """A tiny recipe: IPCL with 3 views and a queue of 16, SGD, one cycle, 2 epochs of 5 minibatches."""
    values = {
        "objective": {"name": "ipcl", "n_views": 3, "queue_size": 16},
        "epochs": 2,
        "batch_size": BATCH_SIZE,
        "optimizer": {"name": "sgd", "lr": 0.03},
        "schedule": {"name": "one_cycle"},
    }
    return Recipe.model_validate(values | changes)


@pytest.fixture
def warnings_of(caplog):
    """Return the warnings that were logged so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.fixture
def own(tmp_path, photo) -> Own:
    """One's own brain data, their patterns in .npy files."""
    own = make_own(tmp_path, photo)
    own.write(np.save)
    return own


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> Path:
    """Key and certificate of an https server on this machine."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def site(certificate, monkeypatch) -> Iterator[Site]:
    """An https server whose certificate is trusted within the test, also by programs that it starts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with start_site(certificate) as site:
        yield site


@pytest.fixture
def make_wheel(tmp_path, monkeypatch):
    """Return a function that makes a wheel of version 1.0 and returns its SHA-256; pip finds it, and no other package."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    (tmp_path / "wheels").mkdir()

    def make(name: str, members: dict[str, bytes]) -> str:
        path = tmp_path / "wheels" / f"{name}-1.0-py3-none-any.whl"
        metadata = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        with zipfile.ZipFile(path, "w") as file:
            for member, content in members.items():
                file.writestr(member, content)
            for member, text in metadata.items():
                file.writestr(f"{name}-1.0.dist-info/{member}", text)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    return make


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A function that writes a module of a name that no other test has, and returns its name; imports are forgotten."""
    before, number = set(sys.modules), abs(hash(str(tmp_path)))

    def write(text: str, name: str = f"networks_{number}") -> str:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import torch\nfrom torch import nn\n{text}")
        return name

    monkeypatch.chdir(tmp_path)
    yield write
    for name in set(sys.modules) - before:
        if name.startswith(f"networks_{number}"):
            del sys.modules[name]


@pytest.fixture
def umask() -> Iterator[None]:
    """022, in which new files may be read by all."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def open_path(umask) -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def another_user() -> Iterator[None]:
    """Open files as a user who owns none of them; the tests may run as root, who may open all."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def compile_kernels(loader) -> None:
    """Let numba compile once what the jobs of a fresh checkout would each compile; its cache lies beside the sources."""
    next(loader.iterate_random(n_views=1, augmentation=make_recipe().augmentation, seed=0, epoch=0))
    next(loader.iterate_center(fraction=1.0))
    bank = torch.eye(TILE + 1)  # a whole tile and a part of one
    vote_weighted_knn(bank, torch.arange(len(bank)), bank, n_classes=len(bank), k=1, tau=1)


@pytest.fixture(scope="session")
def study(tmp_path_factory, loader):
    """A folder with a copy of the workflow, the demo cut down to three small models and one brain, and its results."""
    folder = tmp_path_factory.mktemp("study")
    compile_kernels(loader)
    copy_workflow(folder)
    (folder / "study.yaml").write_text(yaml.safe_dump(cut_demo("ipcl", "supervised", "untrained")))
    run(folder)
    return folder


@pytest.fixture
def heeded():
    """Signals to end have their usual handlers, in processes that a test starts too; behind nohup they would be ignored."""
    usual = {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, usual.get(number, signal.SIG_DFL)) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
