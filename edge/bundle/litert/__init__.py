"""Nested LiteRT files, in which every program's weights are views of shared payloads; plain files made from them."""
