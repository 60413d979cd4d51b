"""One outside need per file: a Protocol and the value types that cross it. Library objects never cross a port."""
