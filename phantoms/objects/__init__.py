"""Quality-control objects and objects with closed forms."""
