"""
The networks of this folder for timm: with FOLDER on the path (sys.path),

    import timm, timm_models
    network = timm.create_model("ipcl_alexnet_gn", pretrained=True)

Without `pretrained` the network has fresh weights. timm's further arguments, features and layouts of weights do not apply.
"""

import hubconf
from timm.models import register_model


def _register(name):
    def build(pretrained=False, **timm_words):
        network, spec = hubconf._load(name)
        if pretrained:
            return network
        from ipcl_core.networks.architectures import build_network

        return build_network(spec)

    build.__name__ = build.__qualname__ = name
    register_model(build)


for _name in hubconf.NAMES:
    _register(_name)
