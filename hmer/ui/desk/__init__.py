"""The correction desk: a page of its own with one file a panel."""
