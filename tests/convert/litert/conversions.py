"""Conversions that several tests look at, each made once per test process."""

import atexit
import shutil
import socket
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

from convert.artifacts import Request
from convert.build_bundle import build_bundle
from convert.images import CheckImages
from convert.litert.quantize import PRECISIONS
from edge.bundle.reader import Bundle, open_bundle
from tests.convert.supernets import images, trained_like, with_kernels
from train.spec import load_spec

TINY = load_spec("ds_mbv1_tiny")
CHECKPOINTS = {spec.name: trained_like(spec) for spec in (TINY, with_kernels(TINY, 2, (3, 3, 5, 7)))}
CHECKPOINT = CHECKPOINTS[TINY.name]
IMAGES = images(TINY, 12)
LABELS = [number % 10 for number in range(12)]


def _no_network(*_: Any, **__: Any) -> None:
    raise AssertionError("conversion touched the network")


@cache
def converted(frontend: str, network: str) -> Bundle:
    """Return a bundle of one of CHECKPOINTS, in every precision, made while every network connection fails."""
    out = Path(mkdtemp(prefix=f"bundle-{frontend}-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    request = Request((0, 1, 2, 3), "litert", PRECISIONS, tuple("abcdefghij"), frontend)
    with patch.object(socket.socket, "connect", _no_network), patch.object(socket, "getaddrinfo", _no_network):
        build_bundle(CHECKPOINTS[network], request, CheckImages("noise", IMAGES, LABELS), out)
    return open_bundle(out)
