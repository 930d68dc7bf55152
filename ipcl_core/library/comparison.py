"""
A network against brain data: a table, and its figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..brains.labels import Labels
from ..brains.names import check_order
from ..brains.stimuli import drop_numbers
from ..config import NoiseCeiling, Statistics
from ..config.errors import check_block
from ..files import open_hdf5, read_csv, write_hdf5
from ..fits.fit_layers import fit_layers
from ..fits.rsms import make_rsms
from ..fits.statistics import measure_layers, measure_noise_ceilings
from ..rsa.noise_ceiling import SPLIT_HALF
from .arrays import check_keys, read_array
from .brains import BrainData
from .networks import Network, record

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

RESAMPLED = ("both", "stimuli", "participants")
"""What intervals are over, the first of these that there is: see `fits.statistics.measure_layers`."""
COLUMNS = [
    "brain", "model", "region", "layer", "layer_index", "participant", "r", "low", "high", "resampled", "p", "ceiling",
    "n_pairs", "note",
]  # fmt: skip


def compare(
    network: Network | Mapping[str, ArrayLike] | str | Path,
    brain: BrainData,
    *,
    layers: str | Sequence[str] = "all",
    participants: bool = False,
    name: str | None = None,
    statistics: Statistics | Mapping[str, Any] | None = None,
    noise_ceiling: NoiseCeiling | Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Compare every layer's RSM with every region's.

    Args:
        network: of `load_network`; or layer -> activations, (n_stimuli, ...) in the order of `brain.stimuli`: an array, a
            tensor, or a table of pandas, whose names of rows are compared; or the path of the workflow's RSMs,
            `results/rsm/BRAIN/MODEL.h5`.
        brain: of `load_brain`.
        layers: of a network, see `extract_activations`.
        participants: with a row for each participant besides the group's, the mean of their RSMs.
        name: of activations, in the column model; left out: activations.
        statistics: how often is resampled, and by which seed, as in a configuration; left out: its defaults. Distances and
            comparators are the paper's, which no other can take the place of here.
        noise_ceiling: into how many halves participants are split, and by which seed; left out: the defaults.

    Returns:
        One row a region and layer: brain, model, region, layer, layer_index (from 0), participant ("group", or a name), r
        (Pearson, in [-1, 1]), low and high (95% interval of the group's r over what resampled names: participants and
        stimuli, where there are enough), p (one-sided, over orders of the stimuli), ceiling (split-half noise ceiling of
        the region; NaN where there is none), n_pairs, note (why there is no r). r and ceiling are those of the workflow's
        `rsa/BRAIN/MODEL.csv` and `noise_ceilings.csv`.

    Raises:
        ValueError: network or brain is none of these; activations are of another number of stimuli, or in another order, or of
            one unit; layers are named where activations are given; RSMs are of other stimuli; statistics name another measure.

    Source: section 4.2, appendix C.2; intervals and p: docs/statistics.md.

    Example:
        >>> import numpy as np, ipcl_core as ipcl
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.standard_normal((12, 40))
        >>> people = [signal + rng.standard_normal((12, 40)) for _ in range(4)]
        >>> brain = ipcl.load_brain({"IT": np.stack([1 - np.corrcoef(one) for one in people])})
        >>> fits = ipcl.compare({"noise": rng.standard_normal((12, 40)), "signal": signal}, brain)
        >>> fits.loc[fits["r"].idxmax(), "layer"]
        'signal'
    """
    if not isinstance(brain, BrainData):
        raise ValueError(f"brain: found {type(brain).__name__}; give what load_brain returns for it")
    if not (isinstance(layers, str) and layers == "all") and not isinstance(network, Network):
        raise ValueError(
            "layers: are those of a network; leave it out, as all activations or RSMs that are given are compared"
        )
    how = check_block(Statistics, statistics or {}, "statistics")
    for key in ("distances", "comparators"):
        if getattr(how, key) != (paper := getattr(Statistics(), key)):
            raise ValueError(f"statistics.{key}: {', '.join(paper)} alone here; others are in a study's statistics.csv")
    halves = check_block(NoiseCeiling, noise_ceiling or {}, "noise_ceiling")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if isinstance(network, str | Path):
            rsms = _find_rsms(Path(network))
        else:
            rsms, activations = folder / "rsms.h5", folder / "activations.h5"
            if not isinstance(network, Mapping):
                record(network, brain, activations, layers)
                name = name or network.name
            else:
                _write_activations(network, brain, activations)
            make_rsms(activations, rsms, brain=brain.name, model=name or "activations", averaged=brain.averaged)
        tables = {part: folder / f"{part}.csv" for part in ("fits", "layers", "ceilings")}
        fit_layers(rsms, brain.file, tables["fits"])
        options = {key: getattr(how, key) for key in ("n_bootstrap", "n_permutations", "seed")}
        measure_layers(rsms, brain.file, tables["layers"], comparators=["pearson"], **options)
        measure_noise_ceilings(
            brain.file, tables["ceilings"], name=brain.name, n_splits=halves.n_splits, seed=halves.seed
        )
        fits, sure, ceilings = (read_csv(table) for table in tables.values())
    split_half = ceilings[ceilings["kind"] == SPLIT_HALF].set_index("region")["r"]
    fits["ceiling"] = fits["region"].map(split_half)
    return _add_intervals(fits if participants else fits[fits["participant"] == "group"], sure)


def _find_rsms(path: Path) -> Path:
    if path.is_file() and h5py.is_hdf5(path):
        with open_hdf5(path) as file:
            n = len(file["stimuli"]) if "stimuli" in file else 0
            if {file[f"layers/{layer}"].shape for layer in file.attrs.get("layers", ())} == {(n, n)}:
                return path
    raise ValueError(
        f"{path}: is no file of RSMs, as the workflow makes results/rsm/BRAIN/MODEL.h5; of a network's name or folder give "
        "what load_network returns for it"
    )


def _write_activations(activations: Mapping[str, ArrayLike], brain: BrainData, path: Path) -> None:
    n, layers = len(brain.stimuli), check_keys(activations, "layer", "network")
    with write_hdf5(path) as file:
        file["stimuli"] = brain.stimuli
        for layer, values in zip(layers, activations.values(), strict=True):
            array, labels = read_array(values, f"layer {layer}")
            if array.ndim < 2 or len(array) != n or array.dtype.kind not in "fiu":
                raise ValueError(
                    f"layer {layer}: found an array of shape {array.shape} and type {array.dtype}, needs numbers of {n} "
                    "stimuli x units"
                )
            finite = np.isfinite(array.reshape(n, -1)).all(1)
            if not finite.all() or array[0].size < 2:
                found = (
                    f"non-finite activations to {brain.stimuli[finite.argmin()]}" if array[0].size > 1 else "one unit"
                )
                raise ValueError(f"layer {layer}: found {found}; an RSM needs finite numbers of two or more units")
            _check_rows(labels, brain.stimuli, f"layer {layer}")
            file[f"layers/{layer}"] = array
        file.attrs["layers"], file.attrs["network"] = layers, "{}"


def _check_rows(labels: list[Labels], stimuli: list[str], who: str) -> None:
    """Compare the names of a table's rows with the stimuli, which may have their number before them."""
    for rows in (one for one in labels if one.axis == 0):
        numbered = set(rows.values) <= set(stimuli)
        check_order([rows], stimuli if numbered else drop_numbers(stimuli), "stimulus", who, set())


def _add_intervals(fits: pd.DataFrame, sure: pd.DataFrame) -> pd.DataFrame:
    """Add to the group's rows the interval and p of `measure_layers`, by region and layer."""
    keys = ["region", "layer_index"]
    columns = {kind: [f"{kind}_low", f"{kind}_high"] for kind in RESAMPLED}
    found = pd.DataFrame({key: sure[key] for key in [*keys, "p"]}).assign(low=np.nan, high=np.nan, resampled=None)
    for kind in reversed(RESAMPLED):
        there = sure[columns[kind][0]].notna()
        found.loc[there, ["low", "high"]] = sure.loc[there, columns[kind]].to_numpy(float)
        found.loc[there, "resampled"] = kind
    found["participant"] = "group"
    return fits.merge(found, on=[*keys, "participant"], how="left", validate="one_to_one")[COLUMNS]


def plot_layers(fits: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw r of every layer, with its interval, and the noise ceiling: one panel a region.

    Args:
        fits: of `compare`, or several of them joined by `pandas.concat`; the group's rows are drawn.
        title: heads the figure.

    Returns:
        A figure of matplotlib; a notebook shows it, `.savefig("layers.pdf")` writes it.

    Raises:
        ValueError: there are no rows of the group.

    Source: figure 2B.

    Example:
        >>> import pandas as pd, ipcl_core as ipcl
        >>> row = {"model": "a", "region": "IT", "participant": "group", "low": 0.1, "high": 0.3, "ceiling": 0.5}
        >>> fits = pd.DataFrame([row | {"layer": f"conv{i}", "layer_index": i, "r": 0.2} for i in range(3)])
        >>> ipcl.plot_layers(fits).axes[0].get_ylabel()
        'IT\\ncorrelation r'
    """
    from ..report.figures.layers import plot_fits

    return plot_fits(fits, title)
