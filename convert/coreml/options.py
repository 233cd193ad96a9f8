"""What a conversion for Core ML can be asked for beyond widths and precisions. Loads nothing heavy."""

from dataclasses import dataclass
from typing import Literal, get_args

from convert.errors import ConvertError

Precision = Literal["fp16", "fp32", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Target = Literal["iOS16", "iOS17", "iOS18", "iOS26"]
TARGETS: tuple[Target, ...] = get_args(Target)
"""Oldest system that the packages run on (macOS 13, 14, 15, 26 alike); from iOS18 on, one package has all programs."""
ImageInput = Literal["tensor", "pixels"]
IMAGE_INPUTS: tuple[ImageInput, ...] = get_args(ImageInput)


@dataclass(frozen=True)
class CoreMlOptions:
    """What the packages say about themselves and on what they run."""

    target: Target = "iOS18"
    image_input: ImageInput = "tensor"
    """tensor: `image` is float32, normalised, as in every runtime; pixels: an RGB image, which the package normalises
    itself."""
    author: str = ""
    licence: str = ""
    description: str = ""
    """The short description; empty: one that names the network and its programs."""

    def __post_init__(self) -> None:
        """Refuse what is not among the choices, in one line."""
        for flag, found, valid in (
            ("--deployment-target", self.target, TARGETS),
            ("--image-input", self.image_input, IMAGE_INPUTS),
        ):
            if found not in valid:
                raise ConvertError(f"unknown {flag} {found}; valid: {', '.join(valid)}")
        texts = (("--author", self.author), ("--licence", self.licence), ("--description", self.description))
        for flag, text in texts:
            if any("\ud800" <= char <= "\udfff" for char in text):
                raise ConvertError(f"{flag} is not text in UTF-8; give it in UTF-8")
