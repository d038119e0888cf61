"""The claims of this project as commands; each prints its figures with their kind."""
