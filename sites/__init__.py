"""Institutions: anatomy, physics, acquisition, and the federation they form."""
