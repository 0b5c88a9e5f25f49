"""The weekly adapter: supervised, then preference training in one child process. Heavy imports live here."""
