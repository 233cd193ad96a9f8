"""Conversion of supernets into bundles. Importing this package loads neither torch nor an exporter."""

from convert.errors import ConvertError, ExportError, ParityError, SliceError

__all__ = ["ConvertError", "ExportError", "ParityError", "SliceError"]
