import pandas as pd
import pytest
import yaml

from ipcl_core.config import load_config
from ipcl_core.costs import count_network, estimate_beton, estimate_costs, estimate_speed, main, read_throughput

MODEL = {"dim": 128, "width": 1.0, "head": "linear", "layers": "all", "embedding_layer": None}
MODEL |= {"preprocessing": {"image_size": 224}}


def count(architecture: str, **changes):
    return count_network(MODEL | {"architecture": architecture} | changes, n_classes=1000, max_dim=4096)


def test_alexnet_is_counted_as_by_hand():
    """Two FLOPs a multiplication with addition; output side squared x outputs x inputs x kernel squared."""
    convolutions = [(55, 96, 3, 11), (27, 256, 96, 5), (13, 384, 256, 3), (13, 384, 384, 3), (13, 256, 384, 3)]
    flops = 2 * sum(side**2 * c_out * c_in * kernel**2 for side, c_out, c_in, kernel in convolutions)
    dense = 9216 * 4096 + 4096 * 4096 + 4096 * 128
    parameters = sum(c_out * c_in * kernel**2 + 2 * c_out for _, c_out, c_in, kernel in convolutions)
    parameters += dense + 2 * (4096 + 2 * 4096) + 128
    network = count("alexnet_gn")
    assert network.flops == flops + 2 * dense and network.n_parameters == parameters
    assert network.n_features == 128
    assert count("alexnet_gn", embedding_layer="fc7.2").n_features == 4096 + 128
    units = 3 * 55**2 * 96 + 27**2 * 96 + 3 * 27**2 * 256 + 13**2 * 256 + 13**2 * 384 * 6
    units += 3 * 13**2 * 256 + 2 * 36 * 256 + 6 * 4096 + 2 * 128
    assert network.n_units == units


def test_resnet50_has_torchvisions_published_size():
    network = count("resnet50", dim=None)
    assert network.n_parameters == 25_557_032
    assert network.flops / 2 == pytest.approx(4.09e9, rel=0.01)  # GMAC in torchvision's table of weights
    own = count("torchvision:resnet50", dim=None, layers="blocks", embedding_layer="avgpool")
    assert (own.flops, own.n_parameters, own.n_features) == (network.flops, network.n_parameters, 2048 + 1000)


def test_speed_is_scaled_by_flops():
    full, small = count("alexnet_gn"), count("alexnet_gn", preprocessing={"image_size": 112})
    model = MODEL | {"architecture": "alexnet_gn"}
    stated = read_throughput({})
    assert estimate_speed(model, full, stated) == (28_000, "alexnet_gn")
    speed, _ = estimate_speed(model, small, stated)
    assert speed == pytest.approx(28_000 * full.flops / small.flops) and speed > 60_000
    assert estimate_speed(model | {"architecture": "alexnet_bn"}, full, {**stated, "alexnet_gn": 5.0})[0] == 5
    wide = count("resnet50x2", dim=4096)
    speed, source = estimate_speed(MODEL | {"architecture": "resnet50x2"}, wide, stated)
    assert source == "resnet50" and 3200 / 4.2 < speed < 3200 / 3.5


RAW = """
title: a study
datasets: {imagenet: {train: null, val: null, storage: {shortest_side: 256, write_mode: jpg, jpeg_quality: 90}}}
brains: {objects: {source: kriegeskorte_2008, title: objects, stimuli: all}}
recipes:
  ipcl: &recipe
    objective: {name: ipcl, n_views: 5}
    epochs: 10
    batch_size: 128
    optimizer: {name: sgd, lr: 0.03}
    schedule: {name: one_cycle}
  supervised: {<<: *recipe, objective: {name: supervised}}
models:
  first: &model {framework: IPCL, architecture: alexnet_gn, dim: 128, dataset: imagenet, recipe: ipcl, seed: 1}
  second: {<<: *model, seed: 2}
  narrow: {<<: *model, width: 0.5}
  labelled: {framework: Supervised, architecture: alexnet_gn, dataset: imagenet, recipe: supervised, seed: 1}
  fresh: {source: untrained, framework: Untrained, architecture: alexnet_gn, dim: 128, dataset: imagenet, seed: 1}
  lost: {<<: *model, unavailable: nobody has it}
figure2_models: [first]
"""


def test_costs_by_hand(tmp_path):
    study = load_config(yaml.safe_load(RAW))
    costs = estimate_costs(study, tmp_path, images=(100_000, 1000)).set_index("model")
    assert list(costs.index) == ["first", "second", "narrow", "labelled", "fresh"]
    assert costs["views"].to_dict() == {"first": 5e6, "second": 5e6, "narrow": 5e6, "labelled": 1e6, "fresh": 0}
    assert costs.at["first", "train_hours"] == pytest.approx(5e6 / 28_000 / 3600)
    assert costs.at["first", "speed"] == "stated, alexnet_gn" and costs.at["fresh", "train_hours"] == 0
    assert costs.at["narrow", "train_hours"] < 0.5 * costs.at["first", "train_hours"]
    embed = 101_000 * max(1 / (3 * 28_000), 1.05e-3 / 16)
    assert costs.at["first", "embed_hours"] == pytest.approx(embed / 3600)
    n = count("alexnet_gn").n_parameters
    assert costs.at["first", "kept_gb"] == pytest.approx(4 * (n + 101_000 * 128) / 1e9)
    slow = estimate_costs(study, tmp_path, images=(100_000, 1000), n_cores=1, throughput={"alexnet_gn": 1e9})
    assert slow["train_hours"][0] == pytest.approx(1e6 * 0.58e-3 / 3600)  # one core decodes


def test_images_that_nobody_reads_cost_nothing(tmp_path, monkeypatch, capsys):
    """No accuracy: a training reads its images, other models read none; nor are data sets counted that no model names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(RAW)
    (tmp_path / "fits.yaml").write_text("{accuracy: false, datasets: {spare: {train: null, val: null}}}")
    assert main(["study.yaml", "fits.yaml"]) == 0 and "imagenet: .beton" in capsys.readouterr().out
    (tmp_path / "fetched.yaml").write_text("{train: false, figure2_models: [fresh]}")
    assert main(["study.yaml", "fits.yaml", "fetched.yaml"]) == 0 and ".beton" not in capsys.readouterr().out
    study = load_config(yaml.safe_load(RAW) | {"accuracy": False})
    costs = estimate_costs(study, tmp_path, images=(100_000, 1000)).set_index("model")
    n = count("alexnet_gn").n_parameters
    assert (costs["embed_hours"] == 0).all() and costs.at["first", "views"] == 5e6
    assert costs.at["first", "kept_gb"] == costs.at["fresh", "kept_gb"] == pytest.approx(4 * n / 1e9)


def test_finished_trainings_are_measured(tmp_path):
    study = load_config(yaml.safe_load(RAW))
    (tmp_path / "models/first").mkdir(parents=True)
    log = pd.DataFrame({"images_per_s": [90.0, 100.0, 400.0], "seconds": [10.0, 20.0, 7200.0]})
    log.to_csv(tmp_path / "models/first/log.csv", index=False)
    costs = estimate_costs(study, tmp_path, images=(100_000, 1000)).set_index("model")
    assert costs.at["first", "train_hours"] == 2 and costs.at["first", "speed"] == "measured"
    assert costs.at["second", "train_hours"] == pytest.approx(1e6 / 100 / 3600)
    assert costs.at["second", "speed"] == "as first"
    assert costs.at["narrow", "speed"] == costs.at["labelled", "speed"] == "stated, alexnet_gn"  # other width, one view
    (tmp_path / "models/first/provenance.json").write_text('{"n_processes": 4}')
    costs = estimate_costs(study, tmp_path, images=(100_000, 1000)).set_index("model")
    assert costs.at["first", "train_hours"] == 8  # of one GPU
    assert costs.at["second", "train_hours"] == pytest.approx(1e6 / 25 / 3600)


def test_beton_is_estimated_until_it_is_there(tmp_path):
    study = load_config(yaml.safe_load(RAW))
    assert estimate_beton(study, "imagenet", 1_281_167, tmp_path) == (pytest.approx(42e9, rel=0.01), "stated")
    (tmp_path / "data/imagenet").mkdir(parents=True)
    for split, size in (("train", 700), ("val", 30)):
        (tmp_path / f"data/imagenet/{split}.beton").write_bytes(bytes(size))
    assert estimate_beton(study, "imagenet", 5, tmp_path) == (730, "measured")


@pytest.mark.parametrize(
    ("mode", "side", "n_bytes"),
    [
        ("raw", 256, 3 * 256 * 256 * 4 / 3),
        ("raw", 64, 3 * 64 * 64 * 4 / 3),
        ("smart", 64, 3 * 64 * 64 * 4 / 3),
        ("smart", 256, 32_800),
        ("smart", 128, 8_200),
        ("jpg", 64, 2_050),
    ],
)
def test_bytes_of_a_picture_by_the_form_of_its_storage(tmp_path, mode, side, n_bytes):
    """smart: raw pixels where a 4:3 picture of this shortest side has no more than 128 x 128, else JPEG."""
    raw = yaml.safe_load(RAW)
    raw["datasets"]["imagenet"]["storage"] |= {"write_mode": mode, "shortest_side": side}
    assert estimate_beton(load_config(raw), "imagenet", 10, tmp_path)[0] == pytest.approx(10 * n_bytes)


def test_command_lays_configurations_over_each_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(RAW)
    (tmp_path / "longer.yaml").write_text("recipes: {supervised: {epochs: 30}}")
    main(["study.yaml", "longer.yaml", "--images", "1000", "100", "--throughput", "alexnet_gn=100", "--gpus", "2"])
    said = capsys.readouterr().out
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in said.splitlines() if line.startswith("| ")}
    assert lines["labelled"][3] == f"{30_000 / 100 / 3600:.1f}" and lines["first"][2] == "0.1"
    assert (
        "wall-clock on 2 GPUs" in said
        and "not measured" in said
        and "imagenet: .beton files of 0.0 GB (stated)" in said
    )


def test_file_is_checked_as_the_workflow_does(tmp_path, capsys):
    (tmp_path / "study.yaml").write_text(RAW + "title: again\n")
    assert main([str(tmp_path / "study.yaml")]) == 2
    assert "title stands in line" in capsys.readouterr().err


def test_unknown_number_of_images_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(RAW.replace("imagenet", "pictures"))
    assert main(["study.yaml"]) == 2
    assert capsys.readouterr().err.startswith("datasets.pictures is not converted yet: say how many images it has")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--throughput resnet5=3000", "resnet5=3000: needs one of alexnet_gn, "),
        ("--throughput resnet50", "resnet50: needs one of"),
        ("--throughput resnet50=fast", "= and a number above 0, as resnet50=3000"),
        ("--throughput resnet50=0", "= and a number above 0, as resnet50=3000"),
        ("--gpus 0", "argument --gpus: needs a whole number, 1 or more, not 0"),
        ("--cores 0", "argument --cores: needs a whole number, 1 or more, not 0"),
        ("--cores x", "argument --cores: needs a whole number, 1 or more, not x"),
        ("--images 10 -1", "argument --images: needs a whole number, 1 or more, not -1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tmp_path, capsys, words, said):
    (tmp_path / "study.yaml").write_text(RAW)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "study.yaml"), *words.split()])
    assert said in capsys.readouterr().err
