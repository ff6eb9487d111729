"""Recipe and settings → the parts of a run, each checked and built before anything is asked."""
