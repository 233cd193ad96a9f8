"""The root of every error a user can cause or meet.

DsnetError
├── common.images.ImageError  an image that cannot be read, or none where some are needed
├── train.TrainError          checkpoints, specs, data, training configuration
├── convert.ConvertError      what cannot be converted, and why
└── edge.EdgeError            bundles, devices, latency tables, predictions, operating points
"""


class DsnetError(Exception):
    """A problem the user can act on: one line that says what is wrong, the valid choices and what to change.

    The command line prints it without a traceback and exits with status 2.
    """
