"""Nested LiteRT files, in which every program's weights are views of shared payloads, and plain files made from them."""
