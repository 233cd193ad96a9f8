"""A bundle's report: one HTML file that needs no network, and its figures for slides (docs/report.md)."""
