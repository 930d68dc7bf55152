"""
Instance-prototype contrastive learning and its comparison with human visual cortex.

Konkle and Alvarez 2020, "Instance-level contrastive learning yields human brain-like representation without
category-supervision". One module per stage, in data-flow order:

    config         what may stand in a configuration file
    downloads      packages that carry data, by name and hash
    files          files that appear whole or not at all, and their checksums
    provenance     what every artifact was made from, and whether it is still what was made
    datasets       labelled images in folders
    images         image files of any kind -> RGB pixels
    conversion     image folders -> encoded shards
    beton          encoded shards -> .beton, and whether it is whole
    brains         published brain data -> stimuli and participants' similarity vectors
    architectures  the networks
    draws          random crops and colours, as numbers
    views          the views themselves, in compiled code (resizing, colors)
    device_views   the same on the device that trains (triton_views: as CUDA kernels)
    loading        .beton -> batches of views
    objectives     IPCL, indexed memory, cross entropy
    training       objective + recipe -> weights
    embedding      weights -> embeddings of a labelled data set
    knn            embeddings -> top-1 accuracy
    activations    weights + stimuli -> every layer's activations
    rsa            activations -> RSMs; RSMs + brain -> r, noise ceiling
    tables         Table 1
    figures        figures 2, 3, S1, S2
"""

__version__ = "0.1.0"
