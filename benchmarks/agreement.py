"""
How far each measure is from independent computations of it: rsatoolbox, scikit-learn, himalaya, scipy, or loops over the
definition.

    PYTHONPATH=. python -m benchmarks.agreement > docs/agreement.md

Simulated data: 20 stimuli; the layers of a model; the voxels of five participants in three runs. `tests/test_agreement.py`
makes the same table, and fails where a difference is larger than the table allows.
"""

import datetime
import importlib.metadata
import platform

from benchmarks.agreement_encoding import list_encoding, list_triplets
from benchmarks.agreement_rsa import (
    list_ceilings,
    list_comparators,
    list_dimensions,
    list_intervals,
    list_matrices,
    list_noise,
)
from benchmarks.agreement_study import (
    N_LAYERS,
    N_PARTICIPANTS,
    N_RUNS,
    N_STIMULI,
    N_VOXELS,
    Row,
    simulate_study,
)

PACKAGES = ("numpy", "scipy", "scikit-learn", "himalaya", "rsatoolbox")


def list_rows() -> list[Row]:
    """Return the rows of the table."""
    study = simulate_study()
    lists = (
        list_matrices, list_noise, list_comparators, list_ceilings, list_intervals, list_dimensions, list_encoding,
        list_triplets,
    )  # fmt: skip
    return [row for rows in lists for row in rows(study)]


def main() -> None:
    rows = [f"| {row.measure} | {row.against} | {row.difference:.0e} | {row.allowed:.0e} |" for row in list_rows()]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    print(
        "# How far each measure is from other computations of it\n\n"
        f"Made by `PYTHONPATH=. python -m benchmarks.agreement > docs/agreement.md` on {datetime.date.today()}:\n"
        f"Python {platform.python_version()}, {versions}.\n\n"
        f"Simulated data: {N_STIMULI} stimuli, {N_LAYERS} layers, {N_PARTICIPANTS} participants of {N_VOXELS} voxels in "
        f"{N_RUNS} runs.\n"
        "Each row is one measure against one independent computation: rsatoolbox, scikit-learn, himalaya, scipy, numpy, or a\n"
        "loop over the definition. The difference is the largest of all numbers that were compared;\n"
        "`tests/test_agreement.py` makes the table anew and fails where one is larger than allowed.\n\n"
        "| measure | against | largest difference | allowed |\n|---|---|---|---|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
