"""Boxoffice sells the seats of a concert: enter, wait, admit, hold, pay, settle."""

__version__ = "0.1.0"
