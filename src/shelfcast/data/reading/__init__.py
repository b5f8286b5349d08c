"""Raw files to checked tables in a temporary database."""
