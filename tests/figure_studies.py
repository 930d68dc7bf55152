"""Tables of two studies as figures read them: one of the demo's size and one of the paper's."""

import functools

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ipcl_core.report.figures.accuracy import plot_figure3
from ipcl_core.report.figures.layers import plot_figure2, plot_figure_layers
from ipcl_core.report.figures.style import STYLE

BLOCKS = {"conv_block_1": 4, "conv_block_2": 4, "conv_block_3": 3, "conv_block_4": 3, "conv_block_5": 4}
BLOCKS |= {"ave_pool": 1, "fc6": 3, "fc7": 3, "fc8": 1, "l2norm": 1}
ALEXNET = [name if n == 1 else f"{name}.{i}" for name, n in BLOCKS.items() for i in range(n)]
RESNET = [f"resnet.{name}" for name in ("conv1", "bn1", "relu", "maxpool")]
RESNET += [
    f"resnet.layer{i}.{j}.{name}" for i in range(1, 5) for j in range(2) for name in ("conv1", "bn1", "conv2", "relu")
]
RESNET += ["resnet.avgpool", "resnet.fc", "l2norm"]
CEILING = "noise ceiling (split-half)"
TITLE = "72 objects that were shown to ten participants (Somebody and Somebody Else 2019)"


def model(name, framework, architecture, top1, **changes) -> dict:
    """One model as Table 1 describes it."""
    values = {"model": name, "framework": framework, "architecture": architecture, "dim": 128, "width": 1.0}
    return (
        values
        | {"origin": "trained here", "source": "trained", "dataset": "pictures", "top1": top1, "knn_top1": top1}
        | changes
    )


DEMO = [
    model("ipcl", "IPCL", "alexnet_gn", 41.2, width=0.25),
    model("wusnet", "Wusnet", "alexnet_gn", 44.8, width=0.25),
    model("twin", "Supervised", "alexnet_gn", 61.3, width=0.25, dim=None),
    model("other", "Supervised", "alexnet_bn", 63.1, width=0.25, dim=None),
    model("untrained", "Untrained", "alexnet_gn", 24.1, width=0.25, source="untrained"),
    model("efficientnet", "Pretrained", "efficientnet_lite0", 79.3, source="fetched", dim=1000),
]
PAPER = [model(f"ipcl{i}", "IPCL", "alexnet_gn", 36.7 + i) for i in range(3)]
for architecture in ("alexnet_gn", "alexnet_bn", "resnet18"):
    PAPER += [model(f"wusnet_{architecture}_{dim}", "Wusnet", architecture, 38.4, dim=dim) for dim in (128, 256, 1000)]
    PAPER += [model(f"supervised_{architecture}", "Supervised", architecture, 60.6, dim=None)]
    PAPER += [model(f"new_{architecture}", "A new one", architecture, 70.0)]
PAPER += [model(f"simclr_{n}", "SimCLR", f"resnet50x{n}", 70.0 + n, source="fetched", dim=2048 * n) for n in (1, 2, 4)]
PAPER += [model("supervised_resnet50", "Supervised", "resnet50", 75.0, dim=None)]
PAPER += [model("untrained_alexnet_gn", "Untrained", "alexnet_gn", 3.0, source="untrained")]
PAPER += [model("pixels", "Pixels", "pixels", 3.0, source="untrained", dim=3072)]


class Study:
    """Tables of some models; r of layer i of model m in region k is drawn at random, `missing` (model, region) have none."""

    def __init__(self, folder, models: list[dict], ceilings: dict[str, float], missing=()):
        rng = np.random.default_rng(0)
        self.table, self.fits, self.r = folder / "table1.csv", [], {}
        rows = []
        for row in models:
            layers = RESNET if row["architecture"].startswith("resnet") else ALEXNET
            layers = ["pixels"] if row["architecture"] == "pixels" else layers
            layers = layers[:-1] if row["framework"] == "Supervised" else layers
            fit, row = [], row | {"brain": "objects", "regions": ", ".join(ceilings)}
            for region, ceiling in ceilings.items():
                r = rng.uniform(-0.2, 0.5, len(layers)).round(4)
                r[3:5] = np.nan
                if (row["model"], region) in missing:
                    r[:] = np.nan
                self.r[row["model"], region] = r
                values = [("group", r), ("S1", r - 0.1), ("S2", r + 0.1)]
                fit += [
                    ("objects", row["model"], region, layer, i, name, value[i], 10)
                    for i, layer in enumerate(layers)
                    for name, value in values
                ]
                best = np.nan if np.isnan(r).all() else np.nanmax(r)
                row |= {f"{region}_r": best, f"{region}_layer": "", f"{region}_noise_ceiling": ceiling}
            rows.append(row)
            self.fits.append(folder / f"{row['model']}.csv")
            columns = ["brain", "model", "region", "layer", "layer_index", "participant", "r", "n_pairs"]
            pd.DataFrame(fit, columns=columns).sample(frac=1, random_state=0).to_csv(self.fits[-1], index=False)
        self.rows = pd.DataFrame(rows).set_index("model")
        other = self.rows.assign(
            brain="elsewhere", framework="Elsewhere", **{f"{region}_r": 9.0 for region in ceilings}
        )
        pd.concat([self.rows, other]).to_csv(self.table)

    @functools.cache  # noqa: B019, figures are only read
    def plot(self, name: str, **arguments) -> Figure:
        """The Figure of that name."""
        plot = {"figure2": plot_figure2, "figure3": plot_figure3, "layers": plot_figure_layers}[name]
        tables = [self.table] if name == "figure3" else [self.table, self.fits]
        with matplotlib.rc_context(STYLE):
            return plot(*tables, brain="objects", title=TITLE, **arguments)
