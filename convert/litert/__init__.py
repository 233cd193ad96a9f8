"""LiteRT: export the float graph, nest the weights, check the file against its plain counterparts."""
