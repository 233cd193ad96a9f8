"""Run bundles: sessions, one per runtime; image loading; dynamic and adaptive inference; predictions on image sets."""

from common.images import ImageError
from edge.runtime.adaptive import AdaptivePolicy, AdaptiveSettings
from edge.runtime.dynamic import Always, Answer, DynamicSession, PolicySource, open_dynamic
from edge.runtime.image_sets import ImageSet, Sample, open_images, open_labelled
from edge.runtime.images import Preprocessing
from edge.runtime.litert_session import LiteRtSession
from edge.runtime.open_session import available_runtimes, open_session
from edge.runtime.predict import predict_images
from edge.runtime.predictions import Predictions, load_predictions, save_predictions
from edge.runtime.session import Array, Session
from edge.runtime.simulate import SimulatedImage, simulate

__all__ = [
    "AdaptivePolicy",
    "AdaptiveSettings",
    "Always",
    "Answer",
    "Array",
    "DynamicSession",
    "ImageError",
    "ImageSet",
    "LiteRtSession",
    "PolicySource",
    "Predictions",
    "Preprocessing",
    "Sample",
    "Session",
    "SimulatedImage",
    "available_runtimes",
    "load_predictions",
    "open_dynamic",
    "open_images",
    "open_labelled",
    "open_session",
    "predict_images",
    "save_predictions",
    "simulate",
]
