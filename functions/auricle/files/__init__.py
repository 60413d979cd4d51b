"""Files: what people put into the vault, and where its bytes are."""
