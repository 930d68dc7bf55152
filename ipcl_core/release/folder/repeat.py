"""
Numbers of Table 1, computed again from what lies in this folder.

    python repeat.py                          every r of a network with a region, of which the folder holds both RSMs
    python repeat.py --model NAME             of one network

r is that of the network's best layer: the RSM of each layer (rsm/) is correlated with the mean of people's (brain/), and the
largest is taken. The code is that of the study (code/). Needs h5py, pandas, pydantic and pyyaml. Exit code 1 where a
number differs, 2 where none can be computed.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER / "code"))

from ipcl_core.files import read_csv  # noqa: E402, whose place is known only now
from ipcl_core.fits.fit_layers import find_best_layers, fit_layers  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="row of Table 1")
    model = parser.parse_args().model
    equal = []
    for row in read_csv(FOLDER / "table1.csv").to_dict("records"):
        rsms = FOLDER / f"rsm/{row['brain']}/{row['model']}.h5"
        brain = FOLDER / f"brain/{row['brain']}/brain.h5"
        if not (rsms.exists() and brain.exists()) or model not in (None, row["model"]):
            continue
        with TemporaryDirectory() as temporary:
            fit_layers(rsms, brain, Path(temporary) / "fits.csv")
            best = find_best_layers(read_csv(Path(temporary) / "fits.csv"))
        for region, (layer, r) in best[["layer", "r"]].iterrows():
            if r != r:
                continue  # no layer has an r
            published = row[f"{region}_r"], row[f"{region}_layer"]
            equal.append((round(r, 4), layer) == published)
            said = "as in Table 1" if equal[-1] else f"Table 1 has {published[0]} at {published[1]}"
            print(f"{row['model']}, {row['brain']}, {region}: r {round(r, 4)} at {layer}: {said}")
    if not equal:
        print("no number can be computed again: this folder holds no brain data, or no such network")
        return 2
    print(f"{sum(equal)} of {len(equal)} numbers are those of Table 1")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
