"""What administrators set: kept in the database, before whatever the environment says. One reader, no second source."""
