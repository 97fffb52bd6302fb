"""Worker processes that share the stages of a sweep on this machine."""
