"""Errors of the conversion side.

ConvertError
├── SliceError            a program that cannot be cut from this supernet
├── ExportError           a front end's graph that is not understood
└── ParityError           an artifact that does not compute what its plain counterpart computes
"""

from common import DsnetError


class ConvertError(DsnetError):
    """Root of the conversion side's errors."""


class SliceError(ConvertError):
    """A program, width or layer that cannot be cut from this supernet as asked."""


class ExportError(ConvertError):
    """A front end that is missing, or whose graph is not understood."""


class ParityError(ConvertError):
    """An artifact that does not compute what its plain counterpart computes."""
