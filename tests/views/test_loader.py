import itertools
import math
import threading

import cv2
import numba
import numpy as np
import pandas as pd
import pytest
import torch
import views_in_torch
from conftest import BATCH_SIZE, N_PICTURES, convert, stack
from ffcv.loader import Loader, OrderOption
from ffcv.loader.epoch_iterator import EpochIterator
from ffcv.reader import Reader
from numpy.testing import assert_allclose
from torch.testing import assert_close

from ipcl_core.config import Augmentation, Preprocessing
from ipcl_core.images.decoding import read_image
from ipcl_core.views.draws import draw_views, pack_policy
from ipcl_core.views.loader import RaggedRGBImageDecoder, ViewLoader, unpack
from ipcl_core.views.on_cpu import make_center_views, make_random_views, resize_images

N_BATCHES = N_PICTURES // BATCH_SIZE
TWO_THREADS = min(2, numba.config.NUMBA_NUM_THREADS)


def decode(beton, *, n_threads: int = 1) -> list[np.ndarray]:
    """Decode all images of a .beton file, (H, W, 3) uint8, in batches of 4 in the file's order."""
    options = {"batch_size": 4, "num_workers": n_threads, "order": OrderOption.SEQUENTIAL, "drop_last": False}
    loader = Loader(str(beton), pipelines={"image": [RaggedRGBImageDecoder(4)]}, **options)
    metadata, images = loader.reader.metadata["f0"], []
    for (rows, codes), labels in loader:
        assert not codes.any()
        shapes = [
            (int(row["height"]), int(row["width"]), 3) for row in metadata[len(images) : len(images) + len(labels)]
        ]
        sizes = [math.prod(shape) for shape in shapes]
        parts = np.split(unpack(rows, sum(sizes)), np.cumsum(sizes)[:-1])
        images += [part.reshape(shape).copy() for part, shape in zip(parts, shapes, strict=True)]
    return images


def read_jpegs(beton) -> list[np.ndarray]:
    """Return the bytes of the JPEG files inside a .beton file, in the file's order."""
    reader, content = Reader(str(beton)), beton.read_bytes()
    sizes = {int(row["ptr"]): int(row["size"]) for row in reader.alloc_table}
    starts = [int(start) for start in reader.metadata["f0"]["data_ptr"]]
    return [np.frombuffer(content[start : start + sizes[start]], np.uint8) for start in starts]


def iterate(loader: ViewLoader, **changes):
    settings = {"n_views": 2, "augmentation": Augmentation(), "seed": 3, "epoch": 1}
    return loader.iterate_random(**settings | changes)


def list_order(batches) -> list[int]:
    return [image for batch in batches for image in batch.images.tolist()]


# ---- decoding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [1, TWO_THREADS])
def test_raw_images_of_any_size_are_exact(raw_split, pixels, n_threads):
    assert len({image.shape for image in pixels}) > 20
    for image, expected in zip(decode(raw_split.beton, n_threads=n_threads), pixels, strict=True):
        assert_allclose(image, expected, rtol=0, atol=0)


def test_jpeg_images_are_decoded(jpg_split, image_folder):
    """Against OpenCV's decoder on the same bytes, and against the pictures before they were compressed."""
    paths = [image_folder / path for path in pd.read_csv(jpg_split.manifest)["path"][:N_PICTURES]]
    for image, content, path in zip(decode(jpg_split.beton), read_jpegs(jpg_split.beton), paths, strict=True):
        expected = cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1]
        difference = image.astype(int) - expected
        # FFCV asks turbojpeg for its fast transform: seen up to 7 levels and 1.15 on average, of them a shift of red by
        # -1.2 and of blue by -1.4
        assert np.abs(difference).max() <= 10
        assert np.abs(difference).mean() < 1.5
        assert np.abs(difference.mean((0, 1))).max() < 1.7
        source = read_image(path, 64)
        assert image.shape == source.shape
        assert np.abs(image.astype(int) - source).mean() < 6


@pytest.mark.parametrize("n_threads", [1, TWO_THREADS])
@pytest.mark.parametrize("damage", ["all zeros", "a byte of the header", "second half zeros"])
def test_damaged_jpeg_is_refused(jpg_split, tmp_path, damage, n_threads):
    """The decoder would leave the picture that stood there before, or a part of it."""
    reader, content = Reader(str(jpg_split.beton)), bytearray(jpg_split.beton.read_bytes())
    (start,), (size,) = (reader.alloc_table[key][reader.alloc_table["sample_id"] == 13] for key in ("ptr", "size"))
    match damage:
        case "all zeros":
            content[start : start + size] = bytes(int(size))
        case "a byte of the header":
            content[start + 1] ^= 1
        case _:
            content[start + size // 2 : start + size] = bytes(int(size - size // 2))
    (tmp_path / "b.beton").write_bytes(content)
    options = {"batch_size": BATCH_SIZE, "preprocessing": Preprocessing(image_size=16), "n_threads": n_threads}
    loader = ViewLoader(tmp_path / "b.beton", **options)
    for batches in (iterate(loader, epoch=0), loader.iterate_center(fraction=1.0)):
        with pytest.raises(
            ValueError, match=r"b\.beton: image 13 \(from 0\) cannot be decoded; .*convert the images again"
        ):
            list(batches)


# ---- random views ----------------------------------------------------------------------------------------------------


def test_random_batches_have_the_stated_form(loader, raw_split):
    batches, labels = list(iterate(loader, n_views=3)), pd.read_csv(raw_split.manifest)["label"]
    assert len(batches) == N_BATCHES
    for batch in batches:
        assert batch.views.shape == (4, 3, 3, 64, 64)
        assert str(batch.views.dtype) == "torch.float32"
        assert batch.labels.tolist() == labels[batch.images.tolist()].tolist()


def test_random_views_are_those_of_the_images(loader, pixels):
    for batch in iterate(loader, seed=5, epoch=4):
        for b, image in enumerate(batch.images.tolist()):
            picture = pixels[image]
            expected = np.empty((1, 2, 64, 64, 3), np.float32)
            sizes = [np.array([side]) for side in picture.shape[:2]]
            drawn = draw_views(*sizes, np.array([image]), 2, 4, 5, pack_policy(Augmentation()))
            make_random_views(picture.reshape(-1), *sizes, drawn, loader.mean, loader.std, expected)
            assert_allclose(batch.views[b].movedim(1, 3), expected[0], rtol=0, atol=0)


def test_an_epoch_shows_every_image_at_most_once(loader):
    for epoch in range(5):
        order = list_order(iterate(loader, epoch=epoch))
        assert len(order) == len(set(order)) == N_BATCHES * BATCH_SIZE
        assert set(order) < set(range(N_PICTURES))


def test_images_that_are_left_out_differ_between_epochs(loader):
    shown = [set(list_order(iterate(loader, epoch=epoch))) for epoch in range(5)]
    assert len({frozenset(images) for images in shown}) > 1
    assert set().union(*shown) == set(range(N_PICTURES))


def test_order_depends_on_seed_and_epoch_alone(loader):
    order = list_order(iterate(loader))
    np.random.seed(4)  # noqa: NPY002, the generator that FFCV would use
    assert list_order(iterate(loader)) == order
    assert list_order(iterate(loader, seed=4)) != order
    assert list_order(iterate(loader, epoch=2)) != order
    assert order != sorted(order)
    # one seed's second epoch is not the next seed's first
    assert list_order(iterate(loader, seed=4, epoch=0)) != order


@pytest.mark.parametrize("first_batch", range(N_BATCHES + 1))
def test_first_batch_passes_over_exactly_those_before(loader, first_batch):
    expected, found = list(iterate(loader))[first_batch:], list(iterate(loader, first_batch=first_batch))
    assert len(found) == N_BATCHES - first_batch
    for a, b in zip(found, expected, strict=True):
        assert a.images.tolist() == b.images.tolist()
        assert a.labels.tolist() == b.labels.tolist()
        assert_close(a.views, b.views, rtol=0, atol=0)


def test_batches_stay_as_they_were_handed_over(loader):
    """FFCV uses its buffers again: what a batch holds must not change when later ones are read."""
    kept = [(batch, batch.views.clone(), batch.labels.clone(), batch.images.clone()) for batch in iterate(loader)]
    for batch, *copies in kept:
        for found, expected in zip((batch.views, batch.labels, batch.images), copies, strict=True):
            assert_close(found, expected, rtol=0, atol=0)


def test_views_do_not_depend_on_threads_or_batch_size(loader, raw_split):
    preprocessing = Preprocessing(image_size=64)
    other = ViewLoader(raw_split.beton, batch_size=6, preprocessing=preprocessing, n_threads=TWO_THREADS)
    found = {
        image: views
        for batch in iterate(other)
        for image, views in zip(batch.images.tolist(), batch.views, strict=True)
    }
    for batch in iterate(loader):
        for image, views in zip(batch.images.tolist(), batch.views, strict=True):
            if image in found:
                assert_close(found[image], views, rtol=0, atol=0)
    assert len(found) == 18


def test_views_of_a_device_are_those_of_the_processor(loader, raw_split):
    """By plain torch in the kernels' place; tests/gpu has those."""
    preprocessing = Preprocessing(image_size=64)
    options = {"batch_size": BATCH_SIZE, "preprocessing": preprocessing, "n_threads": 1}
    other = ViewLoader(raw_split.beton, device=torch.device("cpu"), **options)
    other._make_views = views_in_torch.make_views
    found, expected = list(iterate(other)), list(iterate(loader))
    for a, b in zip(found, expected, strict=True):
        assert a.images.tolist() == b.images.tolist()
        # on the normalised scale, 1 / .22 times that of pixels
        assert_close(a.views, b.views, rtol=0, atol=1e-4)


def test_released_order_resizes_the_images_first(jpg_split):
    """Images of shortest side 64 become 256 pixels; those that have it already are left alone."""
    options = {"batch_size": 2, "preprocessing": Preprocessing(image_size=16), "n_threads": 1}
    small = ViewLoader(jpg_split.beton, **options)
    augmentation = Augmentation(order="released_code", jitter_order="fixed")
    images = decode(jpg_split.beton)
    for batch in itertools.islice(iterate(small, augmentation=augmentation), 3):
        pictures = [images[image] for image in batch.images.tolist()]
        pixels, *sizes = resize_images(*stack(pictures), 256)
        assert np.minimum(*sizes).tolist() == [256, 256]
        drawn = draw_views(*sizes, batch.images.numpy(), 2, 1, 3, pack_policy(augmentation))
        expected = np.empty((2, 2, 16, 16, 3), np.float32)
        make_random_views(pixels, *sizes, drawn, small.mean, small.std, expected)
        assert_allclose(batch.views.movedim(2, 4), expected, rtol=0, atol=0)


def test_released_order_refuses_an_image_that_would_fill_the_memory(photo, tmp_path):
    """1 x 20000 pixels would be 256 x 5 million; the other order cuts views from it as it is."""
    for name, size in (("a/0", (50, 40)), ("a/1", (20_000, 1)), ("b/2", (40, 50)), ("b/3", (4000, 40))):
        path = tmp_path / f"pictures/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.resize(size).save(path)
    options = {"batch_size": 2, "preprocessing": Preprocessing(image_size=16), "n_threads": 1}
    loader = ViewLoader(convert(tmp_path / "pictures", tmp_path).beton, **options)
    assert len(list(iterate(loader, augmentation=Augmentation()))) == 2
    with pytest.raises(
        ValueError, match=r"a\.beton: image 1 \(from 0; .* has 20000 x 1 pixels; augmentation\.order: rel"
    ):
        next(iterate(loader, augmentation=Augmentation(order="released_code")))


# ---- central views ---------------------------------------------------------------------------------------------------


def test_central_views_come_in_the_files_order(loader, raw_split, pixels):
    batches = list(loader.iterate_center(fraction=0.875))
    assert [len(batch.images) for batch in batches] == [4, 4, 4, 4, 4, 3]
    assert list_order(batches) == list(range(N_PICTURES))
    labels = [label for batch in batches for label in batch.labels.tolist()]
    assert labels == pd.read_csv(raw_split.manifest)["label"][:N_PICTURES].tolist()
    found = [view for batch in batches for view in batch.views]
    for view, picture in zip(found, pixels, strict=True):
        expected = np.empty((1, 64, 64, 3), np.float32)
        sizes = (np.array([side]) for side in picture.shape[:2])
        make_center_views(picture.reshape(-1), *sizes, 0.875, loader.mean, loader.std, expected)
        assert view.shape == (1, 3, 64, 64)
        assert_allclose(view[0].permute(1, 2, 0), expected[0], rtol=0, atol=0)


def test_random_and_central_views_can_alternate(loader):
    order = list_order(iterate(loader))
    assert list_order(loader.iterate_center(fraction=1.0)) == list(range(N_PICTURES))
    assert list_order(iterate(loader)) == order


def test_more_threads_than_cores_are_as_many_as_there_are(raw_split, pixels):
    loader = ViewLoader(raw_split.beton, batch_size=4, preprocessing=Preprocessing(image_size=16), n_threads=1000)
    assert list_order(loader.iterate_center(fraction=1.0)) == list(range(N_PICTURES))


def test_the_buffer_holds_no_more_than_the_largest_batch(raw_split, pixels):
    pipelines = {"image": [RaggedRGBImageDecoder(4)], "label": None}
    loader = Loader(str(raw_split.beton), batch_size=4, pipelines=pipelines)
    largest = sum(sorted(image.size for image in pixels)[-4:])
    ((rows, _),) = loader.graph.allocate_memory(4, 1)["operation"].values()
    assert largest <= rows.size < largest + 4


# ---- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(raw_split) -> ViewLoader:
    """Batches of one image: more of them than FFCV and the loader read ahead."""
    return ViewLoader(raw_split.beton, batch_size=1, preprocessing=Preprocessing(image_size=16), n_threads=1)


def test_error_in_the_thread_reaches_the_caller(single, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("while cutting views")

    before = set(threading.enumerate())
    monkeypatch.setattr("ipcl_core.views.loader.make_random_views", fail)
    with pytest.raises(ZeroDivisionError, match="while cutting views"):
        list(iterate(single))
    assert set(threading.enumerate()) <= before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_error_in_ffcvs_own_thread_reaches_the_caller(single, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("while decoding")

    before = set(threading.enumerate())
    monkeypatch.setattr(EpochIterator, "run_pipeline", fail)
    with pytest.raises(RuntimeError, match="FFCV's reading thread ended with an error"):
        list(iterate(single))
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("n_taken", [0, 1, 5, N_PICTURES - 1, N_PICTURES])
def test_stopping_early_leaves_no_thread(single, n_taken):
    before = set(threading.enumerate())
    batches = iterate(single)
    for _ in range(n_taken):
        next(batches)
    batches.close()
    assert set(threading.enumerate()) <= before
    assert len(list_order(iterate(single))) == N_PICTURES


def test_error_of_the_caller_leaves_no_thread(single):
    before = set(threading.enumerate())
    with pytest.raises(KeyError):
        for _ in iterate(single):
            raise KeyError
    assert set(threading.enumerate()) <= before
