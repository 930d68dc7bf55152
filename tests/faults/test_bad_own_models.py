"""Networks of the user's own and of libraries that cannot be used: each is refused with a reason."""

import sys

import pytest
import torch
from own_models import make
from safetensors.torch import load_file

from ipcl_core.networks.own_builders import build_own_network


def test_timm_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm:resnet18: the package timm is not installed; pip install timm"):
        make(tmp_path, architecture="timm:resnet18")


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("torchvision:resnet_18", None, "torchvision has no such network; did you mean .*resnet18"),
        ("torchvision:resnet18", "IMAGENET1K_V9", "has no weights IMAGENET1K_V9; there are IMAGENET1K_V1"),
    ],
)
def test_unknown_names_of_torchvision(architecture, weights, message):
    with pytest.raises(ValueError, match=message):
        build_own_network(architecture, arguments={}, code=".", weights=weights)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (
            "import no_such_package",
            {},
            r"networks_\d+\.py: cannot be imported: ModuleNotFoundError: No module named 'no_such",
        ),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args([])",
            {},
            r"networks_\d+\.py: cannot be imported: SystemExit: 2",
        ),
        ("def build(): raise SystemExit('no')", {}, r"build\(\) failed: SystemExit: no"),
        ("def biuld(): pass", {}, r"networks_\d+\.py: has no function build; did you mean biuld"),
        ("build = 3", {}, r"build is an object of class int, no function"),
        ("def build(): return {}", {}, r"returns an object of class dict, not a torch\.nn\.Module"),
        (
            "def build(width): pass",
            {"widht": 3},
            r"build\(widht=3\) failed: TypeError: .*unexpected keyword argument 'widht'",
        ),
    ],
)
def test_functions_that_cannot_be_used(code, text, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_own_network(f"{code(text)}:build", arguments=arguments, code=".")


def test_module_with_the_name_of_another_is_refused(code):
    code("", "colorsys")
    import colorsys

    with pytest.raises(ValueError, match=rf"colorsys\.py: Python already has a module colorsys, {colorsys.__file__}"):
        build_own_network("colorsys:build", arguments={}, code=".")


def test_module_that_was_imported_from_another_folder_is_not_taken(code, tmp_path):
    name = code("def build(): return nn.Linear(2, 2)")
    build_own_network(f"{name}:build", arguments={}, code=".")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"there is no module {name} in .*empty, and none is installed"):
        build_own_network(f"{name}:build", arguments={}, code="empty")


NETWORK = """
class Network(nn.Module):
    def __init__(self, **given):
        super().__init__()
        self.conv, self.act, self.last = nn.Conv2d(3, 4, 5), nn.ReLU(), nn.Linear(4 * 60 * 60, 7)
        self.given = given
        if "buffer" in given:
            self.register_buffer("drawn", torch.rand(1), persistent=False)
    def forward(self, x):
        x = self.act(self.conv(x) + (self.drawn if "buffer" in self.given else 0))
        if "infinite" in self.given:
            x = x / 0
        return self.last(x.flatten(1))
"""


@pytest.mark.parametrize(
    ("block", "layers", "message"),
    [
        ({}, ["cnov"], "no layer 'cnov' in Network; there are, for example, conv"),
        (
            {"preprocessing": {"image_size": 32}},
            "all",
            r"input of 3 x 32 x 32; is its preprocessing .*last \(Linear\) failed",
        ),
        ({"arguments": {"infinite": 1}}, "all", "layer last gives non-finite activations to a picture of noise"),
        (
            {"arguments": {"buffer": 1}, "seed": 1},
            "all",
            "given its own state dict, the network returns something else",
        ),
    ],
)
def test_networks_that_cannot_be_used(code, tmp_path, block, layers, message):
    with pytest.raises(ValueError, match=message):
        make(tmp_path, layers=layers, architecture=f"{code(NETWORK)}:Network", **block)
    assert not (tmp_path / "weights.safetensors").exists()


PARTS = """
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 5, 2, 2), nn.Identity(), nn.Linear(8, 10)
        self.aux, self.state, self.built = nn.Identity(), None, True
        self.build()
    def build(self): pass
    def look(self, y): return y.mean((2, 3))
    def forward(self, x): return self.fc(self.look(self.norm(self.conv(x)).relu()))
def changed(**members): return type("Network", (Network,), members)()
"""
DEPENDENT = {  # what build() returns -> the layer whose answer depends on other pictures, on those before or on chance
    "changed(build=lambda s: setattr(s, 'norm', nn.BatchNorm2d(8, track_running_stats=False)))": "norm",
    "changed(build=lambda s: setattr(s, 'norm', nn.BatchNorm2d(8)), train=lambda s, mode=True: nn.Module.train(s, True))": (
        r"norm .*\(in training mode although it was asked for evaluation: conv, norm, fc\)"
    ),
    "changed(look=lambda s, y: s.aux(y + 0.01 * torch.randn_like(y)).mean((2, 3)))": "aux",
    "changed(forward=lambda s, x: (s.aux(torch.rand_like(y := s.conv(x))), s.fc(y.mean((2, 3))))[1])": "aux",
    "changed(look=lambda s, y: nn.functional.dropout(y.mean((2, 3))))": "fc",
    "changed(look=lambda s, y: s.aux((y - y.min()) / (y.max() - y.min())).mean((2, 3)))": "aux",
    "changed(look=lambda s, y: s.aux((y - y.mean(0))).mean((2, 3)))": "aux",
    "changed(build=lambda s: setattr(s, 'aux', nn.MultiheadAttention(8, 2)), "
    "look=lambda s, y: s.aux(*3 * [y.flatten(2).mT])[0].mean(1))": "aux",  # batch_first forgotten
    "changed(look=lambda s, y: s.aux(y - y.mean(0) if len(y) > 4 else y).mean((2, 3)))": "aux",
    "Remembers()": "aux",
    "Follows()": "aux",
    "Counts()": "aux",
}
STATES = """
class Remembers(Network):
    def look(self, y):
        now = y.mean((0, 2, 3))
        self.state = now if self.state is None else 0.99 * self.state + 0.01 * now
        return self.aux(y - self.state[:, None, None]).mean((2, 3))
class Counts(Network):
    def look(self, y):
        self.state = (self.state or 0) + (len(y) > 1)
        return self.aux(y.roll(self.state, 1)).mean((2, 3))
class Follows(Network):
    def build(self): self.register_buffer("level", torch.zeros(8))
    def look(self, y):
        self.level.mul_(0.95).add_(y.mean((0, 2, 3)), alpha=0.05)
        return self.aux(y - self.level[:, None, None]).mean((2, 3))
"""


@pytest.mark.parametrize("made", DEPENDENT)
@pytest.mark.parametrize("layers", ["all", ["norm", "aux", "fc"]])
def test_answer_to_a_picture_must_be_its_own(code, tmp_path, made, layers):
    """Alone, among others, and once more: the first layer that answers otherwise is named."""
    name = code(f"{PARTS}{STATES}\ndef build(): return {made}")
    wanted = r" answers the same picture differently when it is alone, among others, or shown again"
    layer, _, more = DEPENDENT[made].partition(" ")
    layers = [layer] if layers != "all" else layers
    with pytest.raises(ValueError, match=rf"{name}:build: layer {layer}{wanted}{more and ' '}{more}"):
        make(tmp_path, layers=layers, architecture=f"{name}:build")
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            "changed(look=lambda s, y: s.aux(torch.fft.rfft2(y)).abs().mean((2, 3)))",
            "layer aux returns complex numbers",
        ),
        ("changed(forward=lambda s, x: torch.fft.fft(Network.forward(s, x)))", "layer output returns complex numbers"),
        (
            "changed(look=lambda s, y: s.aux(y.mean((2, 3)).to_sparse()).to_dense())",
            "layer aux returns a sparse or nested",
        ),
        (
            "changed(forward=lambda s, x: s.fc((y := s.conv(x).mean((2, 3)))[: 1 + (len(y) > 2)]))",
            "no axis counts|answers 2",
        ),
        (
            "changed(forward=lambda s, x: [Network.forward(s, x)][x.min() < 0])",
            r"could take a picture of zeros, but not 3 of noise, .*: Network failed: IndexError",
        ),
        (
            "changed(forward=lambda s, x: [Network.forward(s, x)][len(x) > 8])",
            r"could take a picture of zeros, but not 16 of noise, .* It is shown up to 16 at once",
        ),
        (
            "changed(build=lambda s: setattr(s, 'fc', nn.Linear(8, 0)))",
            r"layer fc returns no number \(shape \(0,\)\); give it",
        ),
        ("Network().half()", "are its weights, which are float16, to be float32.*conv .Conv2d. failed"),
        ("Network().double()", "are its weights, which are float64, to be float32"),
        (
            "changed(build=lambda s: setattr(s, 'norm', nn.LazyConv2d(4, 1)))",
            r"has lazy modules, .* 64 x 64 .*that pass failed",
        ),
        (
            "changed(build=lambda s: setattr(s, 'more', nn.LazyLinear(3)))",
            "more.weight is lazy and takes no part in a pass",
        ),
        (
            "changed(look=lambda s, y: s._modules.setdefault('late', nn.Linear(8, 8))(y.mean((2, 3))))",
            "late.weight is made in",
        ),
        ("Network().to('meta')", "conv.weight is on the device meta and holds no numbers"),
        ("nn.DataParallel(Network())", r"returns an object of class DataParallel .*its \.module"),
        ("nn.Sequential(nn.DataParallel(Network()))", r"class DataParallel as 0 around the network"),
        ("nn.Sequential(torch.compile(Network()))", "returns a compiled network as 0; return it before torch"),
        (
            "changed(build=lambda s: s.norm.compile())",
            r"returns a compiled network as norm; return it before its compile\(\)",
        ),
        (
            "changed(build=lambda s: s.conv.weight.data.uniform_(generator=(g := torch.Generator(), g.seed())[0]))",
            "conv.weight is drawn anew in each build, whatever the seed",
        ),
        (
            "changed(build=lambda s: s.conv.bias.data.fill_(torch.nan))",
            "conv.bias holds NaN",
        ),
        (
            "(torch.set_default_dtype(torch.float64), Network())[1]",
            "are its weights, which are float64, to be float32",
        ),
        ("changed(train=lambda s: s)", r"eval\(\) of the network failed: TypeError: .*positional argument"),
        ("torch.compile(Network())", r"returns a compiled network; return it before torch\.compile"),
        (
            "torch.jit.script(nn.Conv2d(3, 4, 5))",
            "returns TorchScript .*return the network as Python code, with the weights",
        ),
        (
            "torch.export.export(Network().eval(), (torch.zeros(1, 3, 64, 64),)).module()",
            r"returns an exported program \(Calling eval",
        ),
        (
            "changed(build=lambda s: setattr(s, 'norm', torch.jit.script(nn.BatchNorm2d(8))))",
            "layer norm is TorchScript, in which nothing can be recorded",
        ),
        ("torch.ao.quantization.quantize_dynamic(Network(), {nn.Linear})", r"fc\._packed.* is no tensor .*before that"),
        (
            "changed(build=lambda s: s.register_buffer('table', torch.quantize_per_tensor(torch.ones(2), 1, 0, torch.qint8)))",
            "table of its state dict is quantised: give the network as it was before that",
        ),
        (
            "changed(build=lambda s: s.register_buffer('mask', torch.eye(2).to_sparse()))",
            "mask of its state dict is sparse",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch's, of what it will remove
def test_networks_without_plain_layers_or_weights(code, tmp_path, made, message):
    name = code(f"{PARTS}\ndef build(): return {made}")
    with pytest.raises(ValueError, match=message):
        make(tmp_path, architecture=f"{name}:build")
    assert not (tmp_path / "weights.safetensors").exists()


HIDDEN = """
class Hides(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.heads = nn.Conv2d(3, 4, 5, 4), [nn.Linear(4, 3)]
    def forward(self, x): return self.heads[0](self.conv(x).mean((2, 3)))
"""


def test_modules_in_a_python_list_are_refused_whatever_the_seed(code, tmp_path):
    """Their weights are in no state dict: they would be drawn, also for a network whose other weights were trained."""
    name = code(HIDDEN)
    network = build_own_network(f"{name}:Hides", arguments={}, code=".")
    torch.save(network.state_dict(), tmp_path / "a.pth")
    for given in ({}, {"seed": 1}, {"state_dict": str(tmp_path / "a.pth")}):
        with pytest.raises(
            ValueError, match="given its own state dict, the network returns something else, first in layer"
        ):
            make(tmp_path, architecture=f"{name}:Hides", **given)


DRAWS = ("np.random.standard_normal((8, 3, 5, 5))", "[[[[random.gauss()] * 5] * 5] * 3] * 8")


@pytest.mark.parametrize("draw", DRAWS)
def test_what_numpy_and_random_draw_is_seeded(code, tmp_path, draw):
    build = f"setattr(s.conv.weight, 'data', torch.tensor({draw}, dtype=torch.float32))"
    name = code(f"import random\nimport numpy as np\n{PARTS}\ndef build(): return changed(build=lambda s: {build})")
    weights = []
    for seed in (3, 3, 4):
        make(tmp_path, architecture=f"{name}:build", seed=seed)
        weights.append(load_file(tmp_path / "weights.safetensors")["conv.weight"])
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_layer_that_some_pictures_do_not_reach_is_refused(code, tmp_path):
    """Zeros do, so that it seems to be a layer like all others."""
    text = """
class Exits(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat, self.fc, self.more = nn.Flatten(), nn.Linear(3 * 64 * 64, 4, bias=False), nn.Linear(4, 4)
    def forward(self, x):
        y = self.fc(self.flat(x))
        goes_on = y[:, 0] <= 0
        return y.index_put((goes_on,), self.more(y[goes_on]))
"""
    name = code(text)
    with pytest.raises(
        ValueError, match=r"Exits: layer more answers \d of 3 images: which ones it is given depends on them"
    ):
        make(tmp_path, architecture=f"{name}:Exits")
    make(tmp_path, layers=["fc"], architecture=f"{name}:Exits")
