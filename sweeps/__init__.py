"""Many federations: tables of methods and targets, searches of settings."""
