"""The history of the schema, oldest first in versions/; annotations.store brings a database up to date."""
