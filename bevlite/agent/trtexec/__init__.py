"""trtexec: its commands by version, and what it writes."""
