"""The files of deploy/: they parse, they hold no secret, and their commands run."""
