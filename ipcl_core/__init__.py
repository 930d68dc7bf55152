"""
Instance-prototype contrastive learning and its comparison with human visual cortex.

Konkle and Alvarez 2020, "Instance-level contrastive learning yields human brain-like representation without
category-supervision". One module per stage, in data-flow order:

    config             what may stand in a configuration file
    files, logs        files that appear whole or not at all; one log a job
    provenance, crate  what every artifact was made from, and whether it is still what was made
    downloads          packages and weights from elsewhere, by hash
    datasets, images   labelled images in folders; image files of any kind -> RGB pixels
    conversion, beton  image folders -> encoded shards -> .beton, and whether it is whole
    brains, own_brain  published brain data, and one's own -> stimuli and participants' similarity vectors
    architectures      the networks (network_files: their weights in files)
    draws, views       random crops and colours as numbers; the views themselves, in compiled code (resizing, colors)
    device_views       the same on the device that trains (triton_views: as CUDA kernels)
    loading            .beton -> batches of views
    objectives         IPCL, indexed memory, cross entropy
    training           objective + recipe -> weights (optimizers, checkpoints, collapse, distributed)
    weights            weights that others trained -> weights (tf_checkpoint)
    own_models         the user's own networks -> weights (own_networks)
    embedding          weights -> features of a labelled data set
    accuracy           features -> accuracy by every protocol (knn, probes)
    activations        weights + stimuli -> every layer's activations (layers)
    rsa                activations -> RSMs; RSMs + brain -> r, noise ceiling
    tables, table1     r of every layer and participant; Table 1
    claims             Table 1 + r of every layer -> verdicts (claim_measures)
    statistics         intervals, tests, held-out best layers, noise ceilings (inference, weighting)
    figures, explorer  figures 1 to 3 and S1 to S3; the page
    costs, nodes       what a study costs; whether a cluster's nodes can do it
    simulation         a brain whose answer is known
"""

__version__ = "0.1.0"
