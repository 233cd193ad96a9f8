"""Measure bundles: interleaved blocks, adaptive stop, raw samples in a latency table; statistics and warnings."""

from edge.profiling.latency_table import Entry, LatencyTable, QualityWarning, Run, load_latency, save_latency
from edge.profiling.measure import Settings, measure
from edge.profiling.profile import plan_units, profile_bundle
from edge.profiling.quality import quality_warnings
from edge.profiling.statistics import Ratio, Summary, median_interval, paired_ratio, summarise

__all__ = [
    "Entry",
    "LatencyTable",
    "QualityWarning",
    "Ratio",
    "Run",
    "Settings",
    "Summary",
    "load_latency",
    "measure",
    "median_interval",
    "paired_ratio",
    "plan_units",
    "profile_bundle",
    "quality_warnings",
    "save_latency",
    "summarise",
]
