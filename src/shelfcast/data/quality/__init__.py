"""The quality of what was read: the table that counts it, and the checks that look across tables and rows."""
