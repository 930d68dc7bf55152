"""What the command says of folders of images."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import convert
from recorded_study import run_job

from ipcl_core.images import datasets
from ipcl_core.provenance import main


@pytest.fixture
def images(image_folder, tmp_path, monkeypatch, capsys):
    """A real folder of images, converted with one that cannot be decoded left out, and the records of that."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_folder, "pictures/train")
    converted = convert(Path("pictures/train"), tmp_path)
    lists, own = (
        {"data/crops/train/images.csv": "train", "data/crops/val/images.csv": "val"},
        {"train": "pictures/train"},
    )
    run_job("list_images", [], lists, folders=own, dataset="crops")
    manifest = {"data/crops/train.beton": "beton", "data/crops/train.csv": converted.manifest.read_text()}
    run_job("join_shards", ["results/data/crops/train/images.csv"], manifest, dataset="crops", split="train")

    def check(*flags: str) -> tuple[int, str]:
        code = main(["results/data/crops/train.beton", *flags])
        return code, "".join(capsys.readouterr())

    return check


def test_folder_of_images_is_named_and_not_read(images, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "hashlib", None)  # by which an image is compared
    code, said = images()
    assert code == 0 and f"<- {tmp_path}/pictures/train   [not read]\n" in said and "1 not read" in said
    shutil.rmtree("pictures")
    code, said = images("--images")
    assert code == 0 and "1 elsewhere" in said


def test_images_that_are_those_of_the_manifest(images, tmp_path):
    """Though they were copied since, beside a file that is no image."""
    shutil.move("pictures/train", "elsewhere")
    shutil.copytree("elsewhere", "pictures/train", copy_function=shutil.copyfile)
    Path("pictures/train/a/notes.txt").write_text("no image")
    code, said = images("--images")
    assert code == 0 and f"{tmp_path}/pictures/train   [source]" in said


def change_a_byte(path: Path) -> None:
    content, stat = path.read_bytes(), path.stat()
    path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("alter", "problem"),
    [
        (change_a_byte, "1 changed, among them b/01.png"),
        (Path.unlink, "1 not there, among them b/01.png"),
        (
            lambda path: path.rename(path.with_name("new.png")),
            "1 not there, among them b/01.png; 1 not in the manifest",
        ),
    ],
)
def test_images_that_changed_are_named(images, alter, problem):
    alter(Path("pictures/train/b/01.png"))
    assert images()[0] == 0
    code, said = images("--images")
    assert code == 1 and f"of 24 images of {Path('results/data/crops/train.csv').absolute()}: {problem}" in said
    assert "1 altered" in said
