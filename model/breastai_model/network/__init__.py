"""The network: streams, STAF blocks, affinity, heads, by their names in the paper."""
