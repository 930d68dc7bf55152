"""
The library: a network, brain data, and how alike their representations are.

    import ipcl_core as ipcl

    network = ipcl.load_network("results/models/ipcl_alexnet_gn_d128_run1")
    brain = ipcl.load_brain("objects72")
    fits = ipcl.compare(network, brain)
    ipcl.plot_layers(fits).savefig("layers.pdf")

These functions call those that the workflow's rules call, and give the same numbers to the bit. What is public stands in
`ipcl_core.__all__`; all else may change. A public name, argument or column that is to go works for one more minor version,
with a DeprecationWarning that says what takes its place, and CHANGELOG.md names both versions.
"""
