"""Privacy: pseudonyms, redaction before anything is stored, the vault of originals, and erasure with its proof."""
